# JWTs over connections that meet, restarts, dumps and the log.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', extension => 1, config => "log_statement = 'none'");
my @app = (extra_params => [ '-U', 'app' ]);

sub one { return $node->safe_psql('postgres', $_[0]); }

one(q(CREATE ROLE app LOGIN; SELECT immiiq.grant_application('app'); CREATE TABLE got (token text)));
my $org = one(q(SELECT immiiq.create_org('Alpha')));
one(qq(INSERT INTO immiiq.member (org_id, email, name, scope, modules)
	SELECT '$org', n || '\@alpha.example', n, 'all', '{clients}' FROM unnest(ARRAY['ana', 'bob', 'cem', 'dia', 'eve', 'fay', 'gus', 'hal']) AS n));

# Of eight first sign-ins at a time each gets a token, and one made the key.
my $script = $node->basedir . '/script.sql';
append_to_file($script, qq(INSERT INTO got SELECT (immiiq.open_session(immiiq.begin_sign_in('link', NULL, NULL, NULL, NULL, NULL), '$org', member_id, NULL)).access_token
	FROM (SELECT member_id FROM immiiq.member WHERE org_id = '$org' ORDER BY email OFFSET :client_id LIMIT 1) AS m;\n));
run_log([ 'pgbench', '-n', '-t', '1', '-c', '8', '-j', '2', '-h', $node->host, '-p', $node->port, '-f', $script, 'postgres' ]);
is(one('SELECT count(DISTINCT token) FROM got'), '8', 'eight sign-ins at a time get eight tokens');
is(one('SELECT count(*) FROM immiiq.jwt_key'), '1', 'by one key');
my $token = one('SELECT min(token) FROM got');
my $secret = (split /\./, $token)[2];
my $sub = "SELECT immiiq.verify_jwt('$token', 'immiiq') ->> 'sub'";
my $member = $node->safe_psql('postgres', $sub, @app);
like($member, qr/^[0-9a-f-]{36}$/, 'the application reads one');

$node->restart;
is($node->safe_psql('postgres', $sub, @app), $member, 'after a restart, too');

# A dump has public keys only; restored where the root key is, tokens and the key go on.
one('TRUNCATE got');
my ($stdout, $stderr);
IPC::Run::run([ 'pg_dump', '-h', $node->host, '-p', $node->port, 'postgres' ], '>', \$stdout, '2>', \$stderr);
like($stdout, qr/COPY immiiq\.jwt_key/, 'a dump has the public keys');
unlike($stdout, qr/eyJ/, 'and no token');
one('CREATE DATABASE restored');
my $file = $node->basedir . '/dump.sql';
append_to_file($file, $stdout);
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-d', 'restored', '-f', $file ], 'it is restored');
is($node->safe_psql('restored', $sub, @app), $member, 'where a token is taken');
is($node->safe_psql('restored', q(SELECT immiiq.issue_access_token(session_id) IS NOT NULL FROM immiiq.session LIMIT 1)), 't', 'and made');
is($node->safe_psql('restored', 'SELECT immiiq.jwks()'), one('SELECT immiiq.jwks()'), 'by the same key');

# Revoked in one connection, refused in the next statement of another.
my $other = $node->background_psql('postgres', @app);
is($other->query_safe($sub), $member, 'a connection stays open');
one("UPDATE immiiq.session SET revoked_at = now() WHERE member_id = '$member'");
my ($code, undef, $error) = $node->psql('postgres', $sub, @app);
isnt($code, 0, 'revoked, a token is refused');
like($error, qr/token refused/, 'with the one message');
my $caught = $other->query_safe("DO \$\$ BEGIN PERFORM immiiq.verify_jwt('$token', 'immiiq'); RAISE EXCEPTION 'taken';
	EXCEPTION WHEN SQLSTATE 'IQ010' THEN PERFORM set_config('app.refused', 'yes', false); END \$\$; SELECT current_setting('app.refused')");
is($caught, 'yes', 'in the other connection, too');
$other->quit;

# Nothing of a token reaches the log, even as a literal in a statement that fails.
$node->psql('postgres', "SELECT 1 / 0, '$token'", @app);
$node->psql('postgres', "SET immiiq.token = '$token'", @app);
$node->psql('postgres', "SELECT immiiq.sign_in_identity('$token', 'x'), 1 / 0", @app);
$node->psql('postgres', "SELECT immiiq.verify_jwt('$token', 'other')", @app);
my $log = slurp_file($node->logfile);
like($log, qr/division by zero/, 'the errors are in the log');
unlike($log, qr/\Q$secret\E/, 'without the signature');
unlike($log, qr/eyJ[A-Za-z0-9_-]{20}/, 'without any part of a token');
is(one(q(SELECT count(*) > 0 FROM immiiq.denial WHERE reason IN ('another audience', 'revoked'))), 't', 'refusals stand in immiiq.denial');

done_testing();
