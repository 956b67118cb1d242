# Signing in with many connections at a time, over restarts, in dumps and in the log.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', extension => 1, config => "max_connections = 150\nlog_statement = 'none'");
my @app = (extra_params => [ '-U', 'app' ]);
my @mailer = (extra_params => [ '-U', 'mailer' ]);

$node->safe_psql('postgres', q(
	CREATE ROLE app LOGIN; SELECT immiiq.grant_application('app');
	CREATE ROLE mailer LOGIN; SELECT immiiq.grant_mailer('mailer');
	CREATE TABLE got (verdict text, token text); GRANT INSERT, SELECT ON got TO app;
	CREATE TABLE secret (v text); GRANT SELECT ON secret TO app));
my $org = $node->safe_psql('postgres', q(SELECT immiiq.create_org('Alpha')));
$node->safe_psql('postgres', qq(
	INSERT INTO immiiq.member (org_id, email, name, scope, modules)
	SELECT '$org', n || '\@alpha.example', n, 'all', '{clients,reports,settings}' FROM unnest(ARRAY['ana', 'bob', 'cem', 'dia']) AS n;
	INSERT INTO immiiq.password (org_id, member_id, hash) SELECT org_id, member_id, immiiq.hash_password('password of ' || name) FROM immiiq.member));

# Runs a script of the application's in many connections at a time, each once.
sub at_once
{
	my ($clients, $script) = @_;
	my $file = $node->basedir . '/script.sql';
	unlink $file;
	append_to_file($file, $script);
	run_log([ 'pgbench', '-n', '-t', '1', '-c', $clients, '-j', '2', '-U', 'app', '-h', $node->host, '-p', $node->port, '-f', $file, 'postgres' ]);
	return;
}

# A link for a member, as the mailer gets it.
sub link_for
{
	my ($name) = @_;
	$node->safe_psql('postgres', qq(SELECT immiiq.unlock_sign_in('$name\@alpha.example')));
	$node->safe_psql('postgres', qq(SELECT immiiq.issue_link('$name\@alpha.example')), @app);
	return $node->safe_psql('postgres', qq(SELECT token FROM immiiq.take_outbox() WHERE email = '$name\@alpha.example'), @mailer);
}

sub one
{
	my ($query) = @_;
	return $node->safe_psql('postgres', $query);
}

sub sign_in
{
	my ($name) = @_;
	return split /\|/, $node->safe_psql('postgres',
		"SELECT session_token, refresh_token, session_id FROM immiiq.redeem_link('" . link_for($name) . "')", @app);
}

my $active = q(SELECT count(*) FROM immiiq.session WHERE revoked_at IS NULL AND member_id = (SELECT member_id FROM immiiq.member WHERE name = '%s'));

# One link, many uses.
my $token = link_for('ana');
at_once(64, "INSERT INTO got SELECT verdict, session_token FROM immiiq.redeem_link('$token');\n");
is(one(q(SELECT count(*) FROM got WHERE verdict = 'ok')), '1', 'of 64 uses of a link at the same time one gets a session');
is(one(q(SELECT count(*) FROM got WHERE verdict = 'denied')), '63', 'and the others are denied');
is(one(sprintf $active, 'ana'), '1', 'one session is active');

one('TRUNCATE got');
$token = link_for('ana');
at_once(64, "BEGIN ISOLATION LEVEL REPEATABLE READ;\nINSERT INTO got SELECT verdict, session_token FROM immiiq.redeem_link('$token');\nCOMMIT;\n");
is(one(q(SELECT count(*) FROM got WHERE verdict = 'ok')), '1', 'at REPEATABLE READ, too');
is(one(sprintf $active, 'ana'), '1', 'one session is active');

# One code, many uses.
one('TRUNCATE got');
$node->safe_psql('postgres', q(SELECT immiiq.issue_link('bob@alpha.example')), @app);
my $code = $node->safe_psql('postgres', q(SELECT code FROM immiiq.take_outbox()), @mailer);
at_once(20, "INSERT INTO got SELECT verdict, session_token FROM immiiq.redeem_link('$code', email => 'bob\@alpha.example');\n");
is(one(q(SELECT count(*) FROM got WHERE verdict = 'ok')), '1', 'a code gives one session, too');

# One member, many sign-ins.
one('TRUNCATE got');
at_once(64, "INSERT INTO got SELECT verdict, session_token FROM immiiq.sign_in_password('bob\@alpha.example', 'password of bob');\n");
is(one(q(SELECT count(*) FROM got WHERE verdict = 'ok')), '64', '64 valid sign-ins at the same time all pass');
is(one(sprintf $active, 'bob'), '1', 'and leave one session');
is(one('SELECT count(*) FROM got, immiiq.session AS s WHERE s.token_hash = sha256(got.token::bytea) AND s.revoked_at IS NULL'), '1',
	'which is one of them');
one('TRUNCATE got');
at_once(32, "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT pg_sleep(0.05);\nINSERT INTO got SELECT verdict, session_token FROM immiiq.sign_in_password('bob\@alpha.example', 'password of bob');\nCOMMIT;\n");
cmp_ok(one(q(SELECT count(*) FROM got WHERE verdict = 'ok')), '>=', 1, 'at REPEATABLE READ some pass');
is(one(sprintf $active, 'bob'), '1', 'and leave one session');

# Guesses.
one('TRUNCATE got');
at_once(100, "\\set n random(1, 1000000)\nINSERT INTO got SELECT verdict FROM immiiq.sign_in_password('cem\@alpha.example', 'guess ' || :n);\n"
	. "INSERT INTO got SELECT verdict FROM immiiq.sign_in_password('cem\@alpha.example', 'guess ' || :n);\n");
is(one(q(SELECT count(*) FROM got WHERE verdict = 'denied')), '5', 'of 200 guesses at the same time five are looked at');
is(one(q(SELECT count(*) FROM got WHERE verdict = 'throttled')), '195', 'the others are throttled');
my $until = one(q(SELECT retry_after FROM immiiq.sign_in_password('cem@alpha.example', 'password of cem')));
$node->safe_psql('postgres', q(SELECT immiiq.sign_in_password('cem@alpha.example', 'x') FROM generate_series(1, 20)), @app);
cmp_ok(one(q(SELECT retry_after FROM immiiq.sign_in_password('cem@alpha.example', 'password of cem'))), 'le', $until, 'attempts while locked extend nothing');
is(one(q(SELECT count(*) FROM immiiq.sign_in_attempt WHERE verdict = 'denied' AND method = 'password')), '5', 'each of the five is in the log');

# A backend that goes away in the middle counts as failed.
my $holder = $node->background_psql('postgres');
my $pid = $holder->query_safe('SELECT pg_backend_pid()');
$holder->query_safe(q(BEGIN; SELECT immiiq.throttle_reserve('{account}', ARRAY[immiiq.sign_in_identifier('dia@alpha.example')])));
one("SELECT pg_terminate_backend($pid, 5000)");
eval { $holder->quit };
$node->safe_psql('postgres', q(SELECT immiiq.sign_in_password('dia@alpha.example', 'x') FROM generate_series(1, 4)), @app);
is(one(q(SELECT verdict FROM immiiq.sign_in_password('dia@alpha.example', 'password of dia'))), 'throttled', 'a reservation of a backend that was terminated counts');

# A restart forgets no lock.
$node->restart;
is(one(q(SELECT verdict FROM immiiq.sign_in_password('cem@alpha.example', 'password of cem'))), 'throttled', 'a lock outlives a restart');
is(one(q(SELECT verdict FROM immiiq.sign_in_password('bob@alpha.example', 'password of bob'))), 'ok', 'nobody else is locked');

# Many tabs refresh.
one('TRUNCATE got');
my ($session, $refresh, $id) = sign_in('ana');
at_once(32, "INSERT INTO got SELECT verdict, refresh_token FROM immiiq.rotate_refresh('$refresh');\n");
is(one(q(SELECT count(*) || ' ' || count(DISTINCT token) FROM got WHERE verdict = 'ok')), '32 1', '32 uses at the same time give the same successor');
is(one(sprintf $active, 'ana'), '1', 'and the session stands');

# A token that comes twice ends the session even while somebody holds its row.
my $next = one('SELECT DISTINCT token FROM got');
one("SELECT immiiq.rotate_refresh('$next')");
$holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; SELECT FROM immiiq.session WHERE session_id = '$id' FOR UPDATE");
$node->safe_psql('postgres', "BEGIN; SELECT immiiq.rotate_refresh('$refresh'); ROLLBACK", @app);
is(one(sprintf $active, 'ana'), '1', 'while its row is locked the session stands');
is(one('SELECT state FROM immiiq.journal_status()'), 'running', 'and the journal does not wait for it');
$holder->query_safe('ROLLBACK');
$holder->quit;
ok($node->poll_query_until('postgres', "SELECT revoked_at IS NOT NULL FROM immiiq.session WHERE session_id = '$id'"), 'then it is revoked');
is(one("SELECT revoked_reason FROM immiiq.session WHERE session_id = '$id'"), 'refresh token used again', 'for this reason');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM immiiq.pending_revocation'), 'and nothing is pending');

# A stolen token and the good one at the same time, from many sides: the stolen one gets nothing, and the family ends.
one('TRUNCATE got');
($session, $refresh, $id) = sign_in('ana');
$next = one("SELECT refresh_token FROM immiiq.rotate_refresh('$refresh')");
$next = one("SELECT refresh_token FROM immiiq.rotate_refresh('$next')");
at_once(32, "INSERT INTO got SELECT verdict || :client_id % 2, refresh_token FROM immiiq.rotate_refresh(CASE :client_id % 2 WHEN 0 THEN '$refresh' ELSE '$next' END);\n");
is(one(q(SELECT count(*) FROM got WHERE verdict IN ('ok0', 'denied0') HAVING max(verdict) = 'denied0')), '16', 'of uses of a stolen token beside the good one none gets anything');
ok($node->poll_query_until('postgres', "SELECT revoked_at IS NOT NULL FROM immiiq.session WHERE session_id = '$id'"), 'the session ends');
is(one(q(SELECT string_agg(DISTINCT r.verdict, ',') FROM (SELECT token FROM got WHERE token IS NOT NULL UNION VALUES ('x')) AS g, immiiq.rotate_refresh(g.token) AS r)), 'denied', 'and nothing that was given in between is good for anything');
is(one("SELECT count(*) FROM immiiq.session WHERE session_id = '$id' AND revoked_reason = 'refresh token used again'"), '1', 'for that reason');

# As many passwords are hashed at a time as the setting says; the others wait.
one('ALTER SYSTEM SET immiiq.password_hashers = 1');
one('SELECT pg_reload_conf()');
$node->safe_psql('postgres', 'SELECT 1');
my $slow = $node->basedir . '/slow.sql';
append_to_file($slow, q(SELECT immiiq.verify_password('$2b$14$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'x')) . ";\n");
my $hashing = IPC::Run::start([ 'pgbench', '-n', '-t', '1', '-c', '3', '-h', $node->host, '-p', $node->port, '-f', $slow, 'postgres' ], '>', \my $said, '2>', \my $complained);
ok($node->poll_query_until('postgres', q(SELECT count(*) = 3 AND count(*) FILTER (WHERE wait_event_type = 'Extension') = 2 FROM pg_stat_activity WHERE query LIKE '%$2b$14$%' AND state = 'active' AND pid <> pg_backend_pid())),
	'with a cap of one, one of three is hashed and two wait');
IPC::Run::finish($hashing);
one('ALTER SYSTEM RESET immiiq.password_hashers');
one('SELECT pg_reload_conf()');

# Nothing that is of use to anybody stands in a dump.
($session, $refresh) = sign_in('ana');
$node->safe_psql('postgres', q(SELECT immiiq.issue_link('ana@alpha.example', 'confirm')), @app);
my ($link_token, $link_code) = split /\|/, $node->safe_psql('postgres', q(SELECT token, code FROM immiiq.outbox), @mailer);
one('TRUNCATE got');
my ($stdout, $stderr);
IPC::Run::run([ 'pg_dump', '-h', $node->host, '-p', $node->port, 'postgres' ], '>', \$stdout, '2>', \$stderr);
like($stdout, qr/COPY immiiq\.session/, 'a dump has the sessions');
like($stdout, qr/COPY immiiq\.link /, 'and the links');
unlike($stdout, qr/iq_[a-z]_[0-9A-Za-z]{20}/, 'but no token');
unlike($stdout, qr/\b\Q$link_code\E\b/, 'no code') if defined $link_code;
unlike($stdout, qr/password of/, 'no password');
unlike($stdout, qr/\Q@\Ealpha\.example.*alpha\.example/, 'addresses stand with the members only');

# Restored, everything goes on.
one('CREATE DATABASE restored');
my $file = $node->basedir . '/dump.sql';
append_to_file($file, $stdout);
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-d', 'restored', '-f', $file ],
	'the dump is restored');
is($node->safe_psql('restored', "SELECT verdict FROM immiiq.rotate_refresh('$refresh')"), 'ok', 'a refresh token works on');
is($node->safe_psql('restored', "SELECT verdict FROM immiiq.redeem_link('$link_token', purpose => 'confirm')"), 'ok', 'a link, too');
is($node->safe_psql('restored', q(SELECT verdict FROM immiiq.sign_in_password('bob@alpha.example', 'password of bob'))), 'ok', 'and passwords');

# Nor in the log, even where literals were written and the statement failed.
$node->psql('postgres', q(SELECT immiiq.sign_in_password('bob@alpha.example', 'a very secret literal'), 1 / 0), @app);
$node->psql('postgres', "SELECT immiiq.redeem_link('$link_token'), 1 / 0", @app);
$node->psql('postgres', "SELECT immiiq.rotate_refresh('$refresh'), 1 / 0", @app);
my $log = slurp_file($node->logfile);
like($log, qr/division by zero/, 'the errors are in the log');
unlike($log, qr/a very secret literal/, 'without the password');
unlike($log, qr/iq_[a-z]_[0-9A-Za-z]{20}/, 'without tokens');

# A flood of attempts leaves room in the ring for what operators do.
$holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE immiiq.journal IN ACCESS EXCLUSIVE MODE');
$node->safe_psql('postgres', q(SELECT count(immiiq.sign_in_password('dia@alpha.example', 'x')) FROM generate_series(1, 1100)), @app);
is(one('SELECT depth FROM immiiq.journal_status()'), '896', 'a flood of attempts does not fill the ring');
$holder->query_safe('ROLLBACK');
$holder->quit;
ok($node->poll_query_until('postgres', 'SELECT depth = 0 FROM immiiq.journal_status()'), 'and is written when it can be');

# Without a worker what must not be lost is done in the transaction.
($session, $refresh, $id) = sign_in('dia');
$next = $node->safe_psql('postgres', "SELECT refresh_token FROM immiiq.rotate_refresh('$refresh')", @app);
$node->safe_psql('postgres', "SELECT immiiq.rotate_refresh('$next')", @app);
$node->append_conf('postgresql.conf', "immiiq.databases = 'template1'");
$node->restart;
is($node->safe_psql('postgres', "SELECT verdict FROM immiiq.rotate_refresh('$refresh')", @app), 'denied', 'without a worker a token that comes twice is denied');
is(one("SELECT revoked_reason FROM immiiq.session WHERE session_id = '$id'"), 'refresh token used again', 'and ends the session');
# Whoever fills every bucket makes none forgotten, and locks no known device.
sub attempts_fail
{
	my ($class, $from, $to) = @_;
	return $node->safe_psql('restored', qq(DO \$\$ BEGIN FOR i IN $from..$to LOOP
		IF immiiq.throttle_reserve('{$class}', ARRAY[int4send(i)]) IS NULL THEN PERFORM immiiq.throttle_settle(true); END IF;
	END LOOP; END \$\$));
}
sub locked
{
	my ($class, $key) = @_;
	return $node->safe_psql('restored', "SELECT immiiq.throttle_reserve('{$class}', ARRAY[int4send($key)]) IS NOT NULL");
}
attempts_fail('account', 1, 1) for 1 .. 5;
attempts_fail('device', 1, 1) for 1 .. 5;
is(locked('account', 1) . locked('device', 1), 'tt', 'an account and a device are locked');
attempts_fail('account', 1000, 90000);
is(locked('account', 1) . locked('device', 1), 'tt', 'after 89,000 other accounts they still are');
is(locked('device', 2), 'f', 'and another known device is not');
is($node->safe_psql('restored', q(SELECT count(*) FILTER (WHERE immiiq.throttle_reserve('{account}', ARRAY[int4send(i)]) IS NOT NULL) > 0
	FROM generate_series(100001, 100005) AS i)), 't', 'what finds no room is counted together');
$node->stop;
done_testing();
