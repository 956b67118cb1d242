# Launcher and workers: they come back, they make room, and nothing that waits is lost.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_cluster('main', extension => 1, config => 'restart_after_crash = on');
my $running = q(SELECT state = 'running' FROM immiiq.journal_status());

sub running
{
	my ($database, $name) = @_;
	return ok($node->poll_query_until($database, $running), $name);
}

# A denial of the application, and how many there are.
sub deny
{
	my ($database) = @_;
	return $node->psql($database, "SELECT set_config('immiiq.token', 'iq_s_wrong', true)", extra_params => [ '-U', 'app' ]);
}

sub denials
{
	my ($database) = @_;
	return $node->safe_psql($database, "SELECT count(*) FROM immiiq.journal WHERE action = 'token'");
}

$node->safe_psql('postgres', q(CREATE ROLE app LOGIN; SELECT immiiq.grant_application('app')));
running('postgres', 'CREATE EXTENSION brings a worker');
deny('postgres');
is(denials('postgres'), '1', 'which writes');

# Terminated.
my $pid = $node->safe_psql('postgres', 'SELECT worker_pid FROM immiiq.journal_status()');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok( $node->poll_query_until('postgres', "SELECT state = 'running' AND worker_pid <> $pid FROM immiiq.journal_status()"),
	'a terminated worker is replaced');
$pid = $node->safe_psql('postgres', 'SELECT launcher_pid FROM immiiq.journal_status()');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok( $node->poll_query_until('postgres', "SELECT launcher_pid <> $pid FROM immiiq.journal_status()"),
	'so is the launcher');
running('postgres', 'and the worker stays');
deny('postgres');
is(denials('postgres'), '2', 'events go on');
is( $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'immiiq worker'"),
	'1', 'there is one worker');

# What waits in the ring outlives its worker.
my $holder = $node->background_psql('postgres');
my $lock = 'BEGIN; LOCK TABLE immiiq.journal IN ACCESS EXCLUSIVE MODE';
$holder->query_safe($lock);
my $started = time;
my $then = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
deny('postgres');
is($node->safe_psql('postgres', "SELECT xact_start >= '$then' FROM pg_stat_activity WHERE backend_type = 'immiiq worker'"), 't', 'what time it is, the worker knows for each transaction');
cmp_ok(time - $started, '<', 2, 'with the table locked a denial waits for its deadline only');
like( ($node->psql('postgres', "SELECT immiiq.operate(gen_random_uuid(), 'x')"))[2], qr/ERROR/, 'operate is refused');
$pid = $node->safe_psql('postgres', 'SELECT worker_pid FROM immiiq.journal_status()');
ok($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)"), 'its worker is terminated');
ok( $node->poll_query_until('postgres', "SELECT worker_pid <> $pid AND state = 'running' FROM immiiq.journal_status()"),
	'another comes');
$holder->query_safe('ROLLBACK');
ok($node->poll_query_until('postgres', q(SELECT depth = 0 FROM immiiq.journal_status())), 'once the lock is gone the ring empties');
is(denials('postgres'), '3', 'and the denial is there');

# A round of sealing that takes long, or hangs, keeps no event waiting.
my $org = 'a1fa0000-0000-4000-8000-000000000000';
$holder->query_safe('BEGIN; LOCK TABLE immiiq.leaf IN ACCESS EXCLUSIVE MODE');
$node->safe_psql('postgres', "SELECT immiiq.create_org('Alpha', '$org')");
ok( $node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'immiiq sealer' AND wait_event_type = 'Lock')"),
	'the sealer waits for a lock');
$started = time;
$node->safe_psql('postgres', "SELECT immiiq.operate('$org', 'while sealing')");
cmp_ok(time - $started, '<', 1, 'operate is acknowledged meanwhile');
$holder->query_safe('ROLLBACK');
ok($node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM immiiq.leaf'), 'then the entries are sealed');

# A task that fails keeps its events and tries again.
$node->safe_psql('postgres', 'ALTER TABLE immiiq.journal ADD CONSTRAINT broken CHECK (false) NOT VALID');
deny('postgres');
deny('postgres');
is($node->safe_psql('postgres', 'SELECT depth > 0 AND state = \'running\' FROM immiiq.journal_status()'), 't',
	'events that cannot be written wait');
$node->safe_psql('postgres', 'ALTER TABLE immiiq.journal DROP CONSTRAINT broken');
ok($node->poll_query_until('postgres', q(SELECT depth = 0 FROM immiiq.journal_status())), 'until they can');
is(denials('postgres'), '5', 'none is missing, none is doubled');

# A flood: full is full, and the journal says how many found no room.
$holder->query_safe($lock);
$node->safe_psql('postgres', q(DO $$ BEGIN FOR i IN 1..1100 LOOP
	BEGIN RAISE insufficient_privilege; EXCEPTION WHEN insufficient_privilege THEN NULL; END; END LOOP; END $$),
	extra_params => [ '-U', 'app' ]);
is($node->safe_psql('postgres', 'SELECT depth FROM immiiq.journal_status()'), '896', 'denials fill the ring but for the part that is kept');
cmp_ok($node->safe_psql('postgres', 'SELECT lost FROM immiiq.journal_status()'), '>', 0, 'the rest is counted');
my $same = q(SELECT s.ring_depth = j.depth AND s.ring_capacity = j.capacity AND s.events_written = j.written AND s.events_lost = j.lost AND s.worker_state = j.state AND s.worker_pid = j.worker_pid
	FROM immiiq.stat AS s, immiiq.journal_status() AS j);
is($node->safe_psql('postgres', 'SELECT ring_depth || $$ of $$ || ring_capacity FROM immiiq.stat'), '896 of 1024', 'immiiq.stat has the depth of the ring');
is($node->safe_psql('postgres', "SELECT events_lost > 0 AND events_written > 0 AND worker_state = 'running' FROM immiiq.stat"), 't', 'and what was lost');
is($node->safe_psql('postgres', $same), 't', 'as journal_status()');
$holder->query_safe('ROLLBACK');
ok( $node->poll_query_until('postgres', q(SELECT depth = 0 AND EXISTS (SELECT FROM immiiq.journal WHERE action = 'lost') FROM immiiq.journal_status())), 'the worker catches up');
is( $node->safe_psql('postgres', q(
	SELECT (SELECT count(*) FROM immiiq.journal WHERE action = 'do')
		+ (SELECT sum(substring(reason FROM '^[0-9]+')::int) FROM immiiq.journal WHERE action = 'lost'))),
	'1100', 'what is written and what is told to be lost make the whole');
is($node->safe_psql('postgres', $same), 't', 'immiiq.stat says so, too');
$holder->quit;

# What somebody sets for the database binds neither worker nor sealer.
$node->safe_psql('postgres', join ';', map { "ALTER DATABASE postgres SET $_" } "statement_timeout = '1ms'",
	"default_transaction_isolation = 'serializable'", 'search_path = pg_temp, public', 'session_replication_role = replica',
	'synchronous_commit = off', 'default_transaction_read_only = on');
{
	local $ENV{PGOPTIONS} = '-c statement_timeout=0 -c default_transaction_read_only=off';
	my $refused = denials('postgres');
	$pid = $node->safe_psql('postgres', 'SELECT worker_pid FROM immiiq.journal_status()');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	ok( $node->poll_query_until('postgres', "SELECT state = 'running' AND worker_pid <> $pid FROM immiiq.journal_status()"),
		'a worker starts under strange settings');
	deny('postgres');
	is(denials('postgres'), $refused + 1, 'and writes');
	$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL');
}

# Databases come and go.
$node->safe_psql('postgres', 'CREATE DATABASE tenant');
$node->safe_psql('tenant', 'CREATE EXTENSION immiiq; SELECT immiiq.grant_application(\'app\')');
running('tenant', 'a second database has a worker of its own');
$started = time;
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE tenant');
cmp_ok(time - $started, '<', 4, 'a database with a worker serves as template at once');
running('copy', 'the copy has a worker');
running('tenant', 'and the template has its worker again');
deny('copy');
is(denials('copy'), '1', 'the copy records');
$node->safe_psql('postgres', 'ALTER DATABASE copy RENAME TO moved');
running('moved', 'a renamed database too');
deny('moved');
is(denials('moved'), '2', 'and goes on');
$started = time;
$node->safe_psql('postgres', 'DROP DATABASE moved');
cmp_ok(time - $started, '<', 4, 'DROP DATABASE does not wait for the worker');
my ($status, $out, $err) = $node->psql('postgres', 'DROP DATABASE tenant', extra_params => [ '-U', 'app' ]);
isnt($status, 0, 'who may not drop a database');
$pid = $node->safe_psql('tenant', 'SELECT worker_pid FROM immiiq.journal_status()');
($status, $out, $err) = $node->psql('postgres', 'DROP DATABASE tenant', extra_params => [ '-U', 'app' ]);
is($node->safe_psql('tenant', 'SELECT worker_pid FROM immiiq.journal_status()'), $pid, 'cannot send its worker away either');

# The sealer makes room like the worker.
$node->safe_psql('tenant', "SELECT immiiq.create_org('Alpha', '$org')");
ok($node->poll_query_until('tenant', 'SELECT count(*) > 0 FROM immiiq.leaf'), 'the second database seals');
$started = time;
$node->safe_psql('postgres', 'CREATE DATABASE second_copy TEMPLATE tenant');
cmp_ok(time - $started, '<', 4, 'with a sealer it serves as template at once too');
running('tenant', 'and goes on');
$node->safe_psql('postgres', 'DROP DATABASE second_copy');

# The extension goes.
$node->safe_psql('tenant', 'DROP EXTENSION immiiq CASCADE');
ok( $node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'immiiq worker' AND datname = 'tenant')"),
	'DROP EXTENSION sends the worker home');
$node->safe_psql('tenant', 'CREATE EXTENSION immiiq');
running('tenant', 'CREATE EXTENSION brings it back');

# The list of databases.
$node->append_conf('postgresql.conf', "immiiq.databases = 'postgres'");
$node->reload;
ok( $node->poll_query_until('tenant', q(SELECT state = 'not listed' FROM immiiq.journal_status())),
	'a database that is not listed has no worker');
deny('tenant');
like(slurp_file($node->logfile), qr/immiiq denial: action token/, 'its denials are in the server log');
$node->append_conf('postgresql.conf', "immiiq.databases = '*'");
$node->reload;
running('tenant', 'listed again, it has one');

# Killed: PostgreSQL restarts everything, and what was acknowledged is there.
my $before = denials('postgres');
deny('postgres');
$pid = $node->safe_psql('postgres', 'SELECT worker_pid FROM immiiq.journal_status()');
kill 'KILL', $pid;
ok( $node->poll_query_until('postgres', "SELECT worker_pid <> $pid AND state = 'running' FROM immiiq.journal_status()"),
	'after kill -9 the server and the worker come back');
is(denials('postgres'), $before + 1, 'with everything that was acknowledged');

# Shutdown does not wait.
$started = time;
$node->stop('fast');
cmp_ok(time - $started, '<', 20, 'a fast stop is fast');
unlike(slurp_file($node->logfile), qr/TRAP|could not start immiiq/, 'and the log is clean');
done_testing();
