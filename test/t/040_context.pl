# Who is asking, as a whole server sees it: connections, stored settings, texts of statements, restart, crash.
use strict;
use warnings;
use lib 'test/t';
use Immiiq;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster(
	'context',
	config => "shared_preload_libraries = 'immiiq,pg_stat_statements'\nlog_statement = all\nlog_min_duration_statement = 0\nrestart_after_crash = on",
	extension => 1);
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_stat_statements;
	CREATE ROLE regress_immiiq_app LOGIN;
	CREATE ROLE regress_immiiq_reader LOGIN IN ROLE pg_read_all_stats;
	SELECT immiiq.grant_application('regress_immiiq_app');
	GRANT EXECUTE ON FUNCTION pg_stat_statements TO regress_immiiq_app;
});
my $org = $node->safe_psql('postgres', "SELECT immiiq.create_org('Harbour')");
my $member = $node->safe_psql('postgres', qq{
	BEGIN;
	SELECT FROM immiiq.operate('$org', 'test');
	INSERT INTO immiiq.member (org_id, email, name, scope, modules) VALUES ('$org', 'a\@harbour.example', 'A', 'all', '{clients,ai}') RETURNING member_id;
	COMMIT;
});
my $token = $node->safe_psql('postgres', "SELECT immiiq.issue_session('$member')");
like($token, qr/^iq_s_[0-9A-Za-z]{49}$/, 'a token has its form');

my $as_app = "host=" . $node->host . " port=" . $node->port . " dbname=postgres user=regress_immiiq_app";

# Runs SQL as the application in a session of its own; what it printed and what it said.
sub app
{
	my ($sql, %env) = @_;
	local %ENV = (%ENV, %env);
	my ($out, $err);
	my $ok = IPC::Run::run([ 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', $as_app, '-c', $sql ],
		'>', \$out, '2>', \$err);
	chomp $out;
	return ($ok ? 0 : 1, $out, $err);
}

#### Where a value may come from

my ($status, $out, $err) = app('SELECT 1', PGOPTIONS => "-c immiiq.token=$token");
isnt($status, 0, 'PGOPTIONS with a token: no connection');
like($err, qr/cannot be stored or given at connection/, 'and a clear message');
unlike($err, qr/\Q$token\E/, 'without the token');

$node->psql('postgres', "ALTER SYSTEM SET immiiq.token = '$token'", stderr => \$err);
like($err, qr/cannot be changed|cannot be stored/, 'ALTER SYSTEM is refused');
$node->append_conf('postgresql.conf', "immiiq.token = '$token'\nimmiiq.client_ip = '192.0.2.1'");
$node->restart;
is((app('SELECT immiiq.current_actor() IS NULL'))[1], 't', 'a token in postgresql.conf is nobody');
$node->reload;
is((app('SELECT immiiq.current_actor() IS NULL'))[1], 't', 'after a reload, too');
$node->adjust_conf('postgresql.conf', 'immiiq.token', undef);
$node->adjust_conf('postgresql.conf', 'immiiq.client_ip', undef);
$node->reload;

# What ALTER ROLE refuses, written into the catalog behind its back.
$node->safe_psql('postgres', qq{
	INSERT INTO pg_db_role_setting VALUES (0, 'regress_immiiq_app'::regrole, ARRAY['immiiq.token=$token'])});
is((app('SELECT immiiq.current_actor() IS NULL'))[1], 't', 'a token stored with the role is nobody');
$node->safe_psql('postgres', "DELETE FROM pg_db_role_setting WHERE setrole = 'regress_immiiq_app'::regrole");

#### What others see of a literal

my $forms = {
	'SET LOCAL' => "SET LOCAL immiiq.token = '$token'",
	'SET TO, in capitals' => "SET LOCAL \"IMMIIQ\".\"Token\" TO '$token'",
	'set_config' => "SELECT set_config('immiiq.token', '$token', true)",
	'authenticate' => "SELECT immiiq.authenticate('$token')",
	'DO' => "DO \$\$ BEGIN PERFORM immiiq.authenticate('$token'); END \$\$",
	'EXECUTE' => "PREPARE p(text) AS SELECT set_config('immiiq.token', \$1, true); EXECUTE p('$token')",
	'DECLARE' => "DECLARE c CURSOR FOR SELECT immiiq.authenticate('$token'); FETCH c",
};
for my $form (sort keys %$forms)
{
	my ($in, $seen) = ('', '');
	my $timer = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	my $session = IPC::Run::start([ 'psql', '-X', '-q', '-A', '-t', '-d', $as_app ], '<', \$in, '>', \$seen, '2>&1', $timer);
	$in .= "BEGIN;\n$forms->{$form};\n";
	$in .= "\\echo ready\n";
	$session->pump until $seen =~ /ready/;
	unlike($seen, qr/ERROR/, "$form: works");
	my $query = $node->safe_psql('postgres',
		"SELECT query FROM pg_stat_activity WHERE usename = 'regress_immiiq_app' AND state = 'idle in transaction'");
	isnt($query, '', "$form: the session is seen");
	unlike($query, qr/\Q$token\E/, "$form: pg_stat_activity does not show the token");
	$in .= "SELECT 'who ' || immiiq.current_actor();\n";
	$session->pump until $seen =~ /who member|ERROR/;
	like($seen, qr/who member/, "$form: and somebody is active");
	$in .= "COMMIT;\n\\q\n";
	$session->finish;
}
(undef, $out) = app("BEGIN; SET LOCAL immiiq.token = '$token'; SELECT immiiq.current_actor(); COMMIT");
is($out, 'member', 'several statements in one message');

is($node->safe_psql('postgres', "SELECT count(*) > 0 FROM pg_stat_statements WHERE query ~ 'immiiq'"),
	't', 'pg_stat_statements has the statements');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_statements WHERE strpos(query, '$token') > 0"),
	'0', 'and no token, although it was loaded after immiiq');
($status, undef, $err) = app('SELECT query FROM pg_stat_statements');
like($err, qr/permission denied for function pg_stat_statements/, 'and is not for application roles');
$out = $node->safe_psql('postgres', 'SELECT count(*) > 0 FROM pg_stat_statements', connstr => undef,
	extra_params => [ '-U', 'regress_immiiq_reader' ]);
is($out, 't', 'a role that reads statistics may');

# The prepared statement of one session, and the cursor, keep no token either.
(undef, $out) = app("PREPARE p AS SELECT set_config('immiiq.token', '$token', true); SELECT statement FROM pg_prepared_statements");
like($out, qr/PREPARE p/, 'pg_prepared_statements shows the statement');
unlike($out, qr/\Q$token\E/, 'without the token');

# With the libraries named the other way round.
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'pg_stat_statements,immiiq'");
$node->safe_psql('postgres', 'SELECT pg_stat_statements_reset()');
$node->restart;
for my $form (sort keys %$forms)
{
	($status) = app("BEGIN; $forms->{$form}; COMMIT");
	is($status, 0, "$form: works");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_statements WHERE strpos(query, '$token') > 0"),
	'0', 'no token in pg_stat_statements when it is loaded before immiiq');

is((app("BEGIN; SET LOCAL immiiq.token = '$token'; SELECT immiiq.current_member(); COMMIT"))[1], $member, 'sessions outlive a restart');

#### Another database of the same server

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', "CREATE EXTENSION immiiq; SELECT immiiq.grant_application('regress_immiiq_app')");
(undef, undef, $err) = $node->psql('other', "\\set VERBOSITY verbose\nSELECT FROM immiiq.authenticate('$token')",
	extra_params => [ '-U', 'regress_immiiq_app' ]);
like($err, qr/IQ010: token refused/, "another database's token is refused");

#### A crash

my ($in, $seen) = ('', '');
my $session = IPC::Run::start([ 'psql', '-X', '-q', '-A', '-t', '-d', $as_app ], '<', \$in, '>', \$seen, '2>&1');
$in .= "BEGIN;\nSELECT (immiiq.authenticate('$token')).actor;\nSELECT 'pid ' || pg_backend_pid();\n";
$session->pump until $seen =~ /pid (\d+)/;
$seen =~ /pid (\d+)/;
kill 'KILL', $1;
$session->finish;
$node->poll_query_until('postgres', 'SELECT 1', '1') or die 'the server did not come back';
is((app('SELECT immiiq.current_actor() IS NULL'))[1], 't', 'after a crash nobody is active');
is((app("BEGIN; SET LOCAL immiiq.token = '$token'; SELECT immiiq.current_member(); COMMIT"))[1], $member, 'and the token works');

#### A dump

my ($dump) = run_command([ 'pg_dump', '-d', $node->connstr('postgres') ]);
like($dump, qr/COPY immiiq\.session/, 'a dump carries sessions');
unlike($dump, qr/\Q$token\E/, 'and no token');

unlike(slurp_file($node->logfile), qr/\Q$token\E/, 'the server log never held the token');
$node->stop;

#### Without a worker nobody operates

my $alone = new_cluster('no_worker', databases => 'elsewhere', extension => 1);
my $shore = $alone->safe_psql('postgres', "SELECT immiiq.create_org('Shore')");
($status, $out, $err) = $alone->psql('postgres', qq{
	\\set VERBOSITY verbose
	BEGIN;
	SAVEPOINT a;
	SELECT immiiq.operate('$shore', 'test');
	ROLLBACK TO a;
	SELECT immiiq.current_actor() IS NULL;
	COMMIT;
}, on_error_stop => 0);
like($err, qr/IQ041: the journal did not acknowledge in time/, 'operate is refused when it cannot be written down');
is($out, 't', 'and nobody is active');
$alone->stop;

#### Not preloaded: no identity, and a placeholder is thrown away

my $plain = new_cluster('plain_context', preload => 0);
($status, $out, $err) = $plain->psql('postgres', q{
	CREATE EXTENSION immiiq;
	SET immiiq.token = 'canary-of-a-placeholder';
	LOAD 'immiiq';
	SHOW immiiq.token;
	SELECT immiiq.current_actor() IS NULL;
}, on_error_stop => 0);
unlike($out, qr/canary/, 'what a placeholder held is not shown after LOAD');
like($out, qr/^t$/m, 'and nobody is active');
for my $sql ("SELECT immiiq.authenticate('x')", "SET immiiq.token = 'x'",
	"SELECT immiiq.operate(gen_random_uuid(), 'x')", "SELECT immiiq.issue_session(gen_random_uuid())")
{
	(undef, undef, $err) = $plain->psql('postgres', "LOAD 'immiiq'; \\set VERBOSITY verbose\n$sql", on_error_stop => 0);
	like($err, qr/immiiq must be loaded when the server starts/, "refused without preload: $sql");
	like($err, qr/shared_preload_libraries = 'immiiq'/, 'with the line to add');
}
$plain->stop;

done_testing();
