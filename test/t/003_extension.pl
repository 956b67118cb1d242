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

# What would be lost is said, and columns of sealed values are dropped only when CASCADE says so.
$node->safe_psql('postgres', q{CREATE EXTENSION immiiq;
	SELECT immiiq.create_org('Alpha', 'a1fa0000-0000-4000-8000-000000000000');
	CREATE ROLE owner_of_app; GRANT CREATE ON SCHEMA public TO owner_of_app; SET ROLE owner_of_app;
	CREATE DOMAIN secret AS enc_text(match); CREATE TYPE pair AS (a int, b secret);
	CREATE TABLE client (id int, name enc_text(1,equality), born enc_date(2,range)[], both_of_it pair, plain text);
	CREATE TABLE paper (id int, body enc_text(3,sealed)) PARTITION BY RANGE (id); CREATE TABLE paper_1 PARTITION OF paper DEFAULT});
for my $statement ('DROP EXTENSION immiiq', 'DROP EXTENSION IF EXISTS pgcrypto, immiiq RESTRICT')
{
	($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	like($err, qr/ERROR:  2BP01: extension immiiq cannot be dropped while columns hold sealed values/, "$statement is refused");
	like($err, qr/sealed columns: 4 \(public\.client\.name, public\.client\.born, public\.client\.both_of_it, public\.paper\.body\); organisations: 1, /, 'and names what would be lost');
	like($err, qr/HINT: .*DROP EXTENSION immiiq CASCADE/, 'and the way');
}
for my $statement ('DROP EXTENSION immiiq', 'DROP EXTENSION immiiq CASCADE')
{
	($status, $out, $err) = $node->psql('postgres', "SET ROLE owner_of_app; $statement");
	like($err, qr/^\S*\s*ERROR:  must be owner of extension immiiq$/, "$statement: the application's owner learns nothing");
}
($status, $out, $err) = $node->psql('postgres', 'DROP EXTENSION immiiq CASCADE');
like($err, qr/WARNING:  extension immiiq is dropped with everything that it holds.*sealed columns: 4 \(/s, 'CASCADE drops them and says so');
is($node->safe_psql('postgres', q{SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'client'::regclass AND attnum > 0 AND NOT attisdropped}),
	'id both_of_it plain', 'the columns are gone, and nothing else');
is(traces('postgres'), '', 'the rest too');
$node->safe_psql('postgres', q{CREATE EXTENSION immiiq; SELECT immiiq.create_org('Alpha')});
($status, $out, $err) = $node->psql('postgres', 'DROP EXTENSION immiiq');
like($err, qr/WARNING: .*DETAIL:  Lost with it: organisations: 1, with their keys/s, 'keys without columns are dropped, with a warning');
is($status, 0, 'because a restore with --clean does that');

$node->safe_psql('postgres', q{CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'});
($status, $out, $err) = $node->psql('ascii', 'CREATE EXTENSION immiiq');
like($err, qr/ERROR:  immiiq needs a database in UTF8\n.*HINT:  Create the database with ENCODING 'UTF8'/ms, 'another encoding is refused by its name');

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
# The copy opens what was sealed in the template, and both go on, each with a worker and a log that verify; neither sees the other.
sub sealed_in
{
	my ($database, $statement) = @_;
	return $node->safe_psql($database, "BEGIN; SELECT immiiq.operate('a1fa0000-0000-4000-8000-000000000000', 'test') \\gset\n$statement; COMMIT");
}
$node->safe_psql('one', 'CREATE TABLE note (org_id uuid NOT NULL, id int, body enc_text(equality), PRIMARY KEY (org_id, id)); SELECT immiiq.protect(\'note\', \'clients\')');
sealed_in('one', "INSERT INTO note (id, body) VALUES (1, 'before')");
$node->safe_psql('one', 'CALL immiiq.seal()');
my $head = $node->safe_psql('one', 'SELECT max(size) FROM immiiq.tree_head');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE one');
for my $database (qw(one copy))
{
	is(sealed_in($database, "SELECT id FROM note WHERE body = 'before'"), '1', "$database finds what was sealed before the copy");
	sealed_in($database, "INSERT INTO note (id, body) VALUES (2, '$database')");
	is(sealed_in($database, 'SELECT body FROM note WHERE id = 2'), $database, "$database seals and opens");
	ok($node->poll_query_until($database, q{SELECT bool_and(status = 'ok') FROM immiiq.doctor() WHERE check_name IN ('root_key', 'organisation_keys', 'worker', 'journal', 'version')}),
		"keys and worker of $database are sound");
	$node->safe_psql($database, 'CALL immiiq.seal()');
	is($node->safe_psql($database, 'SELECT count(*) FROM immiiq.verify_audit()'), '0', "the log of $database verifies");
	cmp_ok($node->safe_psql($database, 'SELECT max(size) FROM immiiq.tree_head'), '>', $head, 'and has grown');
}
isnt($node->safe_psql('one', 'SELECT root FROM immiiq.tree_head ORDER BY size DESC LIMIT 1'),
	$node->safe_psql('copy', 'SELECT root FROM immiiq.tree_head ORDER BY size DESC LIMIT 1'), 'two logs of one name, told apart by their heads');
$node->safe_psql('postgres', 'DROP DATABASE copy');
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
