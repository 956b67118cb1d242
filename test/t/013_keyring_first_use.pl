# The installation key is made once, whoever comes first; keys survive a dump; a crash does not lose or repeat them.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('first', extension => 1);

sub installation_keys
{
	my ($database) = @_;
	return $node->safe_psql($database, 'SELECT count(*) FROM immiiq.wrapped_key WHERE org_id IS NULL; SELECT count(*) FROM immiiq.root_key');
}

# Two sessions make the first organisation of a database at the same time: the second waits for the first.
sub race
{
	my ($database, $ending) = @_;
	my $first = $node->background_psql($database);
	my $second = $node->background_psql($database);
	$first->query_safe("BEGIN; SELECT immiiq.create_org('One')");
	my $pid = $second->query_safe('SELECT pg_backend_pid()');
	$second->query_until(qr/begun/, "\\echo begun\nSELECT immiiq.create_org('Two');\n");
	$node->poll_query_until($database, "SELECT count(*) = 1 FROM pg_locks WHERE pid = $pid AND NOT granted")
	  or die 'the second session does not wait';
	$first->query_safe($ending);
	$first->quit;
	$second->query_safe('SELECT 1');
	$second->quit;
	return installation_keys($database);
}
is(race('postgres', 'COMMIT'), "1\n1", 'the second session uses the installation key of the first');
is($node->safe_psql('postgres', 'SELECT count(*) FROM immiiq.org'), '2', 'and both organisations are there');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION immiiq');
is(race('other', 'ROLLBACK'), "1\n1", 'when the first rolls back the second makes it');
is($node->safe_psql('other', 'SELECT count(*) FROM immiiq.org'), '1', 'and its organisation alone is there');

# A read-only transaction makes nothing.
$node->safe_psql('postgres', 'CREATE DATABASE quiet');
$node->safe_psql('quiet', 'CREATE EXTENSION immiiq');
my ($status, $out, $err) = $node->psql('quiet', 'BEGIN READ ONLY; SELECT immiiq.create_org_keys(gen_random_uuid())');
like($err, qr/cannot execute immiiq\.create_org_keys\(\) in a read-only transaction/, 'a read-only transaction makes no keys');

# A prepared transaction that made keys
my $org = '01890a5d-ac96-774b-bcce-b302099a8057';
$node->safe_psql('postgres', 'CREATE TABLE word (org_id uuid NOT NULL, v enc_text(equality))');
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query("BEGIN; SELECT immiiq.create_org_keys('$org'); PREPARE TRANSACTION 'keys'");
$session->query("ROLLBACK PREPARED 'keys'");
$session->query("SELECT immiiq.create_org('Prepared', '$org')");
$session->query("BEGIN; SELECT immiiq.operate('$org', 'test'); INSERT INTO word VALUES ('$org', 'sealed after'); COMMIT");
$session->quit;
my $read = "SELECT FROM immiiq.operate('$org', 'test'); SELECT v FROM word WHERE v = 'sealed after'";
is($node->safe_psql('postgres', "BEGIN; $read; COMMIT"), 'sealed after', 'keys of a prepared transaction that rolled back are forgotten');

# Dump without a key, restore, use: the same keys, and no id given twice.
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', $dump ], 'pg_restore');
my $keys = 'SELECT * FROM immiiq.wrapped_key ORDER BY key_id';
is($node->safe_psql('restored', $keys), $node->safe_psql('postgres', $keys), 'the wrapped keys are the same');
is($node->safe_psql('restored', 'SELECT matches FROM immiiq.keyring_status()'), 't', 'the root key is known there');
is($node->safe_psql('restored', "BEGIN; $read; COMMIT"), 'sealed after', 'values are found and open');
my $last = $node->safe_psql('restored', 'SELECT max(key_id) FROM immiiq.wrapped_key');
$node->safe_psql('restored', "SELECT immiiq.create_org('After')");
cmp_ok($node->safe_psql('restored', "SELECT min(key_id) FROM immiiq.wrapped_key WHERE key_id > $last"), '>', $last, 'new keys get new ids');
is(installation_keys('restored'), "1\n1", 'under the same installation key');

# A restore into a session that has looked for keys before: the rows are used at once.
$node->safe_psql('postgres', 'CREATE DATABASE later');
$node->safe_psql('later', 'CREATE EXTENSION immiiq; CREATE TABLE word (org_id uuid NOT NULL, v enc_text(equality))');
my $early = $node->background_psql('later', on_error_stop => 0);
$early->query("SELECT immiiq.keyring_status()");
$node->command_ok([ 'pg_restore', '--exit-on-error', '--data-only', '-t', 'root_key', '-t', 'wrapped_key', '-t', 'org', '-t', 'word', '-d', 'later', $dump ],
	'pg_restore --data-only');
like($early->query("BEGIN; $read; COMMIT"), qr/sealed after/, 'a session that was there before opens what came');
$early->quit;

# After a crash nothing that was committed is missing, and no key id comes again.
$node->safe_psql('postgres', "SELECT immiiq.create_org('Before the crash')");
$last = $node->safe_psql('postgres', 'SELECT max(key_id) FROM immiiq.wrapped_key');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', "BEGIN; $read; COMMIT"), 'sealed after', 'after a crash values open');
$node->safe_psql('postgres', "SELECT immiiq.create_org('After the crash')");
is($node->safe_psql('postgres', "SELECT count(*), count(*) = count(DISTINCT wrapped) FROM immiiq.wrapped_key WHERE key_id > $last"), '4|t', 'new keys have new ids');
$node->stop;
done_testing();
