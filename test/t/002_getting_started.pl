# Every line of docs/getting-started.md works, and prints what stands there.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = slurp_file('docs/getting-started.md');

# The key is made by the page's own line, in another folder; the settings are the page's.
my $node = new_cluster('started', preload => 0, start => 0, initdb => ['--data-checksums'], config => "fsync = on\nlog_statement = none\nlog_min_duration_statement = -1");
my $folder = $node->basedir . '/etc';
mkdir $folder, 0700;
my ($make_key) = $page =~ /^(\(umask .*?\)) && chown/m;
$make_key =~ s{/etc/immiiq}{$folder};
system($make_key) == 0 or die 'no key';
my ($settings) = $page =~ /```\n(shared_preload_libraries.*?)```/s;
$settings =~ s{/etc/immiiq}{$folder};
$node->append_conf('postgresql.conf', $settings);
$node->start;

# One session of psql, a mark before each block.
my @blocks = $page =~ /```sql\n(.*?)```\n(?:\n```\n(.*?)```)?/gs;
my ($script, $count) = ('', 0);
for (my $i = 0; $i < @blocks; $i += 2)
{
	$script .= "\\echo \@\@" . $count++ . "\n$blocks[$i]";
}
my ($status, $out, $err) = $node->psql('postgres', $script, extra_params => [ '-P', 'format=aligned', '-P', 'tuples_only=off', '-v', 'ON_ERROR_STOP=1' ]);
is("$status $err", '0 ', 'every statement of the page runs without a word of error');
my (undef, @said) = split /^\@\@\d+\n/m, "$out\n";
is(scalar @said, $count, "$count blocks");
for my $i (0 .. $count - 1)
{
	(my $wanted = $blocks[ 2 * $i + 1 ] // '') =~ s/\s+$//;
	(my $have = $said[$i] // '') =~ s/\s+$//;
	$have =~ s/^You are now connected.*\n?//mg;
	is($have, $wanted, 'block ' . ($i + 1) . ' prints what stands below it');
}
unlike(slurp_file($node->logfile), qr/iq_s_\w{40}/, 'no token is in the server log');
$node->stop;
done_testing();
