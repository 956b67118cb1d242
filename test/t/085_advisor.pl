# immiiq.advisor on settings: each that would write values down is found, and gone once its remedy has run.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', extension => 1);
$node->append_conf('postgresql.conf', $_) for (
	"log_statement = 'all'", 'log_min_duration_statement = 100', 'log_min_duration_sample = 100', 'log_transaction_sample_rate = 0.5',
	'log_parameter_max_length_on_error = -1', 'debug_print_parse = on', 'debug_print_rewritten = on', 'debug_print_plan = on',
	'lo_compat_privileges = on', 'allow_system_table_mods = on', 'session_replication_role = replica');
$node->reload;
my $settings = "FROM immiiq.advisor WHERE remedy LIKE 'ALTER SYSTEM %'";
$node->poll_query_until('postgres', "SELECT count(*) = 11 $settings") or diag($node->safe_psql('postgres', "SELECT object $settings"));
my %remedy = map { split /\|/, $_, 2 } split /\n/, $node->safe_psql('postgres', "SELECT object, remedy $settings");
is(scalar(keys %remedy), 11, 'eleven settings are found');
for my $setting (sort keys %remedy)
{
	$node->safe_psql('postgres', "$_;") for split /; /, $remedy{$setting} =~ s/;$//r;
	ok($node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT $settings AND object = '$setting')"), "$setting: closed by its remedy");
}
is($node->safe_psql('postgres', "SELECT count(*) $settings"), '0', 'and none is left');
done_testing();
