# The journal across servers: acknowledged events survive, standbys and the server log keep their promises.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(gettimeofday tv_interval);

my $canary = 'Quillfeather-7731';
my $node = new_cluster('primary',
	streaming => 1,
	extension => 1,
	config => "restart_after_crash = on\nlog_statement = all\nlog_min_duration_statement = 0\nlog_duration = on\n"
	  . "log_error_verbosity = verbose\nlog_parameter_max_length_on_error = -1\nlog_lock_waits = on\ndeadlock_timeout = 50ms\n");
ok( $node->poll_query_until('postgres', q(SELECT state = 'running' FROM immiiq.journal_status())),
	'the worker runs');

$node->safe_psql('postgres', q(
	CREATE ROLE app LOGIN; CREATE ROLE operator LOGIN;
	SELECT immiiq.grant_application('app'), immiiq.grant_operator('operator');
	CREATE TABLE secret_plan (a int);));
my $org = 'a1fa0000-0000-4000-8000-000000000000';
my $member = 'a1fa0000-0000-4000-8000-000000000001';
$node->safe_psql('postgres', "SELECT immiiq.create_org('Alpha', '$org')", extra_params => [ '-U', 'operator' ]);
$node->safe_psql('postgres', qq(
	BEGIN;
	SELECT immiiq.operate('$org', 'setup');
	INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules)
		VALUES ('$org', '$member', 'owner\@alpha.example', 'Owner', 'all', '{clients,reports}');
	COMMIT), extra_params => [ '-U', 'operator' ]);
my $token = $node->safe_psql('postgres',
	"BEGIN; SELECT FROM immiiq.operate('$org', 'setup'); SELECT immiiq.issue_session('$member'); COMMIT",
	extra_params => [ '-U', 'operator' ]);
$token =~ s/\s//g;
like($token, qr/^iq_s_/, 'a token');
$node->safe_psql('postgres', q(
	CREATE TABLE client (client_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid NOT NULL,
		passport enc_text(equality) UNIQUE, note text, born date, CHECK (note <> 'never'));
	SELECT immiiq.protect('client', 'clients');
	GRANT SELECT, INSERT, UPDATE ON client TO app;));

# What a session of the application does to the log.
sub log_of
{
	my ($sql) = @_;
	my $from = -s $node->logfile;
	my ($status, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', 'app' ]);
	return (slurp_file($node->logfile, $from), $err);
}

my $begin = "BEGIN;\nSELECT set_config('immiiq.token', '$token', true);\n";
my ($log, $err) = log_of($begin . "INSERT INTO client (passport) VALUES ('$canary');\n"
	  . "SELECT count(*) FROM client WHERE passport = '$canary';\nCOMMIT");
unlike($log, qr/$canary/, 'with every statement logged, no value of a transaction with an identity is in the log');
unlike($log, qr/$token/, 'nor is the token');
like($log, qr/duration: [0-9.]+ ms/, 'durations are');

($log, $err) = log_of($begin . "INSERT INTO client (passport, note) VALUES ('$canary', 'row of $canary')");
unlike($log, qr/$canary/, 'a unique violation keeps its values away from the log');
like($log, qr/duplicate key value violates unique constraint "client_passport_key"/, 'and names the constraint there');
like($err, qr/duplicate key value/, 'the client is told');

# Under row security PostgreSQL gives no detail to anybody; of other tables it does.
$node->safe_psql('postgres', 'CREATE TABLE plain (v text UNIQUE, CHECK (v <> \'never\'), w text); GRANT ALL ON plain TO app');
($log, $err) = log_of($begin . "INSERT INTO plain VALUES ('$canary'), ('$canary')");
unlike($log, qr/$canary/, 'the same of a plain table');
like($err, qr/DETAIL:  Key \(v\)=\($canary\) already exists/, 'of which the client has the detail');
($log, $err) = log_of($begin . "INSERT INTO plain VALUES ('never', '$canary')");
unlike($log, qr/$canary/, 'and a failing row does not reach the log');
like($err, qr/DETAIL:  Failing row contains \(never, $canary\)/, 'which the client sees');

($log, $err) = log_of($begin . "SELECT '$canary'::uuid");
unlike($log, qr/$canary/, 'a message that quotes a value does not reach the log');
like($log, qr/invalid input syntax for type %s/, 'its format does');
like($err, qr/invalid input syntax for type uuid: "$canary"/, 'and the client has the whole message');

($log, $err) = log_of($begin . "DO \$\$ BEGIN RAISE EXCEPTION 'client $canary' USING DETAIL = '$canary', HINT = '$canary'; END \$\$");
unlike($log, qr/$canary/, 'nor does what RAISE says');
like($err, qr/ERROR: .*client $canary/, 'except to the client');
like($err, qr/HINT:  $canary/, 'with its hint');

($log, $err) = log_of($begin . "DO \$\$ BEGIN EXECUTE 'SELECT 1 FROM ''$canary'''; END \$\$");
unlike($log, qr/$canary/, 'nor the query of a syntax error inside a function');
like($err, qr/QUERY: .*$canary/, 'which the client sees');

($log, $err) = log_of($begin . "SELECT 1/0;\nSELECT '$canary';\nROLLBACK");
unlike($log, qr/$canary/, 'nor a statement in the aborted transaction');

$node->safe_psql('postgres', "INSERT INTO plain VALUES ('$canary')");
($log, $err) = log_of("SET " . force_parallel($node) . " = on;\n" . $begin . 'SELECT v::uuid FROM plain');
like($log, qr/ERROR/, 'an error in a parallel worker');
unlike($log, qr/$canary/, 'reaches the log without its text, from the worker and from the leader');
like($err, qr/invalid input syntax for type uuid: "$canary"/, 'and the client with it');

($log, $err) = log_of("SELECT immiiq.authenticate('$token'), '$canary'");
unlike($log, qr/$canary|$token/, 'nor a statement with a token that ends with its own transaction');

($log, $err) = log_of("SELECT 'visible-5512'");
like($log, qr/visible-5512/, 'other statements are logged as before');

($log, $err) = log_of("SET client_min_messages = log;\n" . $begin . "SELECT '$canary'");
unlike($log, qr/$canary/, 'a client that asks for log lines does not change the log');

# The bound parameters of the extended protocol.
my ($out_file, $err_file) = (PostgreSQL::Test::Utils::tempdir() . '/out', PostgreSQL::Test::Utils::tempdir() . '/err');
my $script = PostgreSQL::Test::Utils::tempdir() . '/bound.sql';
append_to_file($script, "BEGIN;\n"
	  . "SELECT immiiq.authenticate(:token);\nSELECT :canary;\nSELECT :canary::uuid;\n");
my $from = -s $node->logfile;
$node->run_log([ 'pgbench', '-n', '-t', '1', '-M', 'extended', '-f', $script, '-D', "token=$token", '-D', "canary=$canary", '-U', 'app', '-h', $node->host, '-p', $node->port, 'postgres' ]);
$log = slurp_file($node->logfile, $from);
like($log, qr/invalid input syntax for type %s/, 'pgbench came to its last statement');
unlike($log, qr/$canary|$token/, 'bound parameters are not in the log');

# A deadlock report names the other session's statement.
$node->safe_psql('postgres', "CREATE TABLE pair (id int PRIMARY KEY, v text); INSERT INTO pair VALUES (1), (2); GRANT SELECT, UPDATE ON pair TO app");
my $one = $node->background_psql('postgres', on_error_stop => 0);
my $two = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
$from = -s $node->logfile;
$one->query_safe("SET deadlock_timeout = '10ms'; BEGIN; UPDATE pair SET v = 'a' WHERE id = 1");
$two->query_safe("BEGIN; SELECT set_config('immiiq.token', '$token', true); UPDATE pair SET v = '$canary' WHERE id = 2");
$two->query_until(qr/start/, "\\echo start\nUPDATE pair SET v = '$canary' WHERE id = 1;\n");
ok($node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"), 'one waits for the other');
$one->query("UPDATE pair SET v = 'b' WHERE id = 2");
$log = slurp_file($node->logfile, $from);
like($log, qr/deadlock detected/, 'a deadlock is reported');
unlike($log, qr/$canary/, 'without the other session\'s statement');
$one->quit;
$two->quit;

# The postmaster's report of a crash.
my $victim = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
$victim->query_safe("BEGIN; SELECT set_config('immiiq.token', '$token', true)");
my $pid = $victim->query_safe('SELECT pg_backend_pid()');
$pid =~ s/\D//g;
$victim->query_until(qr/begun/, "\\echo begun\nSELECT pg_sleep(60), '$canary';\n");
ok( $node->poll_query_until('postgres', "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $pid"),
	'a statement runs');
$from = -s $node->logfile;
kill 'KILL', $pid;
ok($node->poll_query_until('postgres', q(SELECT state = 'running' FROM immiiq.journal_status())), 'the server comes back from a crash');
$log = slurp_file($node->logfile, $from);
like($log, qr/was terminated by signal 9/, 'which the log has');
unlike($log, qr/$canary/, 'without the statement that was running');
$victim->{run}->finish;

# Acknowledged means durable. A denial waits for it 200 ms: one that took less time was acknowledged, and all before it.
my ($denials, $took) = (0, 1);
while ($took >= 0.2 && $denials < 100)
{
	my $start = [gettimeofday];
	$node->psql('postgres', 'SELECT * FROM secret_plan', extra_params => [ '-U', 'app' ]);
	$took = tv_interval($start);
	$denials++;
}
$node->stop('immediate');
$node->start;
is( $node->safe_psql('postgres', "SELECT count(*) FROM immiiq.denial WHERE object = 'secret_plan'"),
	$denials, 'a denial that was answered survives an immediate stop');

# With errors kept out of the log there is no hook before the client; the entry is still made.
$node->safe_psql('postgres', "ALTER SYSTEM SET log_min_messages = panic; SELECT pg_reload_conf()");
$node->psql('postgres', 'SELECT * FROM secret_plan', extra_params => [ '-U', 'app' ]);
ok( $node->poll_query_until('postgres', "SELECT count(*) = $denials + 1 FROM immiiq.denial WHERE object = 'secret_plan'"),
	'log_min_messages = panic does not silence the journal');
$node->safe_psql('postgres', "ALTER SYSTEM RESET log_min_messages; SELECT pg_reload_conf()");

# A standby writes nothing; its denials are in its log.
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT state FROM immiiq.journal_status()'), 'none', 'no worker runs on a standby');
$standby->psql('postgres', "SELECT set_config('immiiq.token', 'iq_s_wrong', true)", extra_params => [ '-U', 'app' ]);
like(slurp_file($standby->logfile), qr/LOG:.* immiiq denial: action token/, 'a denial there goes to the server log');
my ($status, $out);
($status, $out, $err) = $standby->psql('postgres', "SELECT immiiq.operate('$org', 'x')", extra_params => [ '-U', 'operator' ]);
isnt($status, 0, 'operate is refused there');
$standby->promote;
ok( $standby->poll_query_until('postgres', q(SELECT state = 'running' FROM immiiq.journal_status())),
	'after promotion the worker runs');
$standby->psql('postgres', "SELECT set_config('immiiq.token', 'iq_s_wrong', true)", extra_params => [ '-U', 'app' ]);
is( $standby->safe_psql('postgres', "SELECT count(*) FROM immiiq.denial WHERE action = 'token'"),
	'1', 'and writes');
$standby->stop;

# Dump and restore carry the entries, and new ones follow.
$node->safe_psql('postgres', $_) for ('CREATE DATABASE source TEMPLATE template0', 'CREATE DATABASE restored TEMPLATE template0');
$node->safe_psql('source', "CREATE EXTENSION immiiq; SELECT immiiq.grant_application('app')");
$node->psql('source', "SELECT set_config('immiiq.token', 'iq_s_wrong', true)", extra_params => [ '-U', 'app' ]) for 1 .. 3;
ok( $node->poll_query_until('source', q(SELECT count(*) = 3 FROM immiiq.denial)), 'three entries');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('source') ], 'pg_dump beside the worker');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'restore');
my $entries = q(SELECT md5(string_agg(j::text, ',' ORDER BY journal_id)) FROM immiiq.journal AS j WHERE journal_id <= 3);
is($node->safe_psql('restored', $entries), $node->safe_psql('source', $entries), 'every entry is there as it was');
ok( $node->poll_query_until('restored', q(SELECT state = 'running' FROM immiiq.journal_status())),
	'the restored database has a worker');
$node->psql('restored', "SELECT set_config('immiiq.token', 'iq_s_wrong', true)", extra_params => [ '-U', 'app' ]);
is($node->safe_psql('restored', 'SELECT count(*) FROM immiiq.denial'), '4', 'and new entries follow the old');

# The worker takes away what is too old; a setting that is no time is refused.
for my $keep ('forever', '23 hours', '-1 day')
{
	my ($rc, undef, $why) = $node->psql('postgres', "ALTER SYSTEM SET immiiq.journal_keep = '$keep'");
	like($why, qr/invalid value for parameter "immiiq.journal_keep"/, "journal_keep = '$keep' is refused");
}
my $old = q(SELECT count(*) FROM immiiq.journal WHERE action = 'old');
$node->safe_psql('postgres', q(ALTER SYSTEM SET immiiq.journal_keep = ''));
$node->safe_psql('postgres', q(INSERT INTO immiiq.journal (at, kind, action, backend_pid) SELECT now() - interval '3 days', 'denial', 'old', i FROM generate_series(1, 12000) AS i));
# … and so are sessions that ended as long ago.
$node->safe_psql('postgres', qq(
	BEGIN; SELECT immiiq.operate('$org', 'sessions');
	INSERT INTO immiiq.member (org_id, member_id, email, name) VALUES ('$org', 'c0ffee00-0000-4000-8000-000000000001', 'old\@example.org', 'Old'); COMMIT;
	INSERT INTO immiiq.session (org_id, member_id, token_hash, issued_at, expires_at, revoked_at)
	SELECT '$org', 'c0ffee00-0000-4000-8000-000000000001', sha256(i::text::bytea), now() - interval '3 days', now() - interval '3 days' + interval '1 hour', now() - interval '3 days'
	FROM generate_series(1, 6000) AS i));
$node->restart;
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
ok($node->poll_query_until('postgres', q(SELECT state = 'running' FROM immiiq.journal_status())), 'the worker runs again');
is($node->safe_psql('postgres', q(SELECT * FROM immiiq.prune_journal())), '0|0|0|0|0|0|f', 'without a time rows are kept for ever');
is($node->safe_psql('postgres', $old), 12000, 'all are there');
$node->safe_psql('postgres', q(ALTER SYSTEM SET immiiq.journal_keep = '2 days'));
$node->restart;
ok($node->poll_query_until('postgres', "SELECT ($old) = 0"), 'a worker that starts takes them away, batch by batch');
ok( $node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM immiiq.session WHERE member_id = 'c0ffee00-0000-4000-8000-000000000001')),
	'and sessions after them');
ok($node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM immiiq.audit_waiting)), 'its events are sealed');
is($node->safe_psql('postgres', q(SELECT sum((new_row->>'rows')::int) || ' in ' || count(*) || ' as ' || string_agg(DISTINCT role_name, ',') FROM immiiq.audit_log WHERE table_name = 'prune-journal' AND key->>'object' = 'journal')),
	'12000 in 3 as postgres', 'and says so in the log');

$node->stop;
done_testing();
