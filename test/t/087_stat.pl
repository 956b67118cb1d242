# immiiq.stat over a restart, and what docs/stat.md gives to the Prometheus exporter, as the role that monitors.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', extension => 1);
$node->safe_psql('postgres', q(CREATE ROLE monitor LOGIN; SELECT immiiq.grant_auditor('monitor'); CREATE ROLE app LOGIN; SELECT immiiq.grant_application('app')));

sub refused
{
	my ($database) = @_;
	return $node->safe_psql($database, 'SELECT tokens_checked, tokens_refused FROM immiiq.stat');
}

my @as_app = (extra_params => [ '-U', 'app' ]);
my ($code) = $node->psql('postgres', q(BEGIN; SET LOCAL immiiq.token = 'iq_s_nonsense'), @as_app);
isnt($code, 0, 'a token is refused');
ok($node->poll_query_until('postgres', q(SELECT tokens_checked = 1 AND tokens_refused = 1 AND denials >= 1 FROM immiiq.stat)), 'and counted');

# Sets are of databases: another one starts at zero, and so does one that is made again.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION immiiq');
is(refused('other'), '0|0', 'another database has its own');
$node->psql('other', q(BEGIN; SET LOCAL immiiq.token = 'iq_s_nonsense'), @as_app);
$node->safe_psql('other', 'SELECT 1');
$node->safe_psql('postgres', 'DROP DATABASE other');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION immiiq');
is(refused('other'), '0|0', 'which goes with it');

# The queries of the documentation.
my ($yaml) = slurp_file('docs/stat.md') =~ /```yaml\n(immiiq:.*?)```/s;
my $blocks = 0;
for my $block (split /^(?=\w)/m, $yaml)
{
	my ($query) = $block =~ /^  query: \|\n((?: {4}.*\n)+)/m;
	($query) = $block =~ /^  query: (.+)$/m if !defined $query;
	my @metrics = $block =~ /^    - (\w+): \{usage/mg;
	$query =~ s/;?\s*$//;
	$blocks++;
	my ($result, $out, $err) = $node->psql('postgres', "SELECT " . join(', ', @metrics) . " FROM ($query) AS q", extra_params => [ '-U', 'monitor' ]);
	is("$result $err", '0 ', 'a query of docs/stat.md has its ' . @metrics . ' metrics');
	isnt($out, '', 'and rows');
}
is($blocks, 2, 'both were found');

$node->restart;
is(refused('postgres'), '0|0', 'a restart starts from zero');
$node->stop;
done_testing();
