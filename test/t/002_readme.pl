# What the README tells a newcomer to type works as it stands there.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Utils;
use Test::More;

my $readme = slurp_file('README.md');
my @blocks = $readme =~ /```sql\n(.*?)```/gs;
s/^   //mg for @blocks;
is(scalar @blocks, 2, 'the README has an example and the first steps');
my ($example, $first_steps) = @blocks;
my ($define, $use) = split /^-- in the web tier[^\n]*\n/m, $example;
ok($use, 'the example says what the web tier sends');
cmp_ok(scalar(() = $example =~ /^\s*[A-Z]/mg), '<=', 10, 'in ten lines');

# The settings are those of step 3; only the path differs.
my ($settings) = $readme =~ /```\n(\s*shared_preload_libraries.*?)```/s;
# PostgreSQL::Test turns off what a real server has on.
my $node = new_cluster('readme', preload => 0, start => 0, initdb => ['--data-checksums'],
	config => "fsync = on\nlog_statement = none\nlog_min_duration_statement = -1");
my ($make) = $readme =~ /^\s*\(umask 077; (echo .*?) >/m;
my ($line) = `$make`;
chomp $line;
my $key = write_root_key($node, $line);
$settings =~ s{/etc/immiiq/root-key}{$key};
$settings =~ s/^\s+//mg;
$node->append_conf('postgresql.conf', $settings);
$node->start;

$node->safe_psql('postgres', 'CREATE ROLE web LOGIN; CREATE ROLE ops LOGIN');
$node->safe_psql('postgres', $define);
is($node->safe_psql('postgres', "SELECT check_name, status, detail FROM immiiq.doctor() WHERE status <> 'ok'"),
	'', 'doctor() finds the installation sound');

$node->safe_psql('postgres', "SELECT immiiq.grant_operator('ops')");
my ($token) = $node->safe_psql('postgres', $first_steps, extra_params => [ '-U', 'ops' ]) =~ /^(iq_\S+)$/m;
ok($token, 'the first steps end with a token');

$use =~ s/\$1/'$token'/;
is((split /\n/, $node->safe_psql('postgres', "BEGIN; $use COMMIT;", extra_params => [ '-U', 'web' ]))[-1],
	'Zoë Nuñez|1990-04-01', 'the web tier finds its row');
is($node->safe_psql('postgres', 'SELECT count(*) FROM client', extra_params => [ '-U', 'web' ]),
	'0', 'and nothing without the token');
my $log = slurp_file($node->logfile);
unlike($log, qr/\Q$token\E/, 'the token is not in the server log');

$node->stop;
done_testing();
