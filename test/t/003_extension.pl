# The extension comes and goes without a trace, in several databases, and a crash of one backend is survived.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('extension');

# What pg_dump and a DBA would see of a database.
sub traces
{
	my ($database) = @_;
	return $node->safe_psql($database, q{
		SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname LIKE '%immiiq%'
		UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger
		UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typname LIKE 'enc\_%'
		UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE probin LIKE '%immiiq%'
		UNION ALL SELECT 'operator class ' || opcname FROM pg_opclass WHERE opcname LIKE '%enc\_%'});
}

is(traces('postgres'), '', 'a database without the extension has none of it');
$node->safe_psql('postgres', 'CREATE EXTENSION immiiq');
isnt(traces('postgres'), '', 'with it the traces are seen');
my ($status, $out, $err) = $node->psql('postgres', 'DROP EXTENSION immiiq');
is($err, '', 'it can be dropped');
is(traces('postgres'), '', 'and leaves nothing behind');

# Whoever may create schemas could wait for the extension with one of its name.
$node->safe_psql('postgres', 'CREATE ROLE squatter; CREATE SCHEMA immiiq AUTHORIZATION squatter');
($status, $out, $err) = $node->psql('postgres', 'CREATE EXTENSION immiiq');
like($err, qr/schema "immiiq" already exists/, 'a schema that waits for the extension is refused');
$node->safe_psql('postgres', 'DROP SCHEMA immiiq');

# Several databases, each with its own organisations; one becomes a template and goes away while a worker may be in it.
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(one two);
$node->safe_psql($_, 'CREATE EXTENSION immiiq') for qw(one two);
$node->safe_psql('one', "SELECT immiiq.create_org('In one', 'a1fa0000-0000-4000-8000-000000000000')");
is($node->safe_psql('two', 'SELECT count(*) FROM immiiq.org'), '0', 'databases do not see each other');
($status, $out, $err) = $node->psql('postgres', 'CREATE DATABASE three TEMPLATE one');
is($err, '', 'a database with the extension can be a template');
is($node->safe_psql('three', 'SELECT name FROM immiiq.org'), 'In one', 'and the copy has its organisations');
for my $database (qw(one two three))
{
	($status, $out, $err) = $node->psql('postgres', "DROP DATABASE $database");
	is($err, '', "database $database can be dropped");
}

# A crash of one backend: the server recovers with its root keys and workers.
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
$node->safe_psql('postgres', 'CREATE EXTENSION immiiq');
$node->psql('postgres', q{COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'});
$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
is($node->safe_psql('postgres', "SELECT immiiq.create_org('After', 'a1fa0000-0000-4000-8000-000000000001')"),
	'a1fa0000-0000-4000-8000-000000000001', 'after a crash of a backend keys are there again');

$node->stop;
done_testing();
