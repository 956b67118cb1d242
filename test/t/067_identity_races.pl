# Sign-in where many come at the same moment: portal links, codes, ID tokens, old hashes, a grace of nothing, the end of everything.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', extension => 1,
	config => "shared_preload_libraries = 'immiiq,pg_stat_statements'\nmax_connections = 150\npg_stat_statements.track = all\npg_stat_statements.track_utility = on");
my @app = (extra_params => [ '-U', 'app' ]);

sub one { return $node->safe_psql('postgres', $_[0]); }
sub app { return $node->safe_psql('postgres', $_[0], @app); }

one(q(CREATE EXTENSION pg_stat_statements; CREATE ROLE app LOGIN; SELECT immiiq.grant_application('app');
	CREATE TABLE got (verdict text, token text); GRANT INSERT, SELECT ON got TO app));
my $org = one(q(SELECT immiiq.create_org('Alpha')));
one(qq(INSERT INTO immiiq.member (org_id, email, name, scope, modules)
	SELECT '$org', n || '\@alpha.example', n, 'all', '{clients,reports}' FROM unnest(ARRAY['ana', 'bob', 'cem', 'dia', 'eve', 'fay']) AS n));

# Runs a script in many connections at a time, each once; what they got stands in got.
sub at_once
{
	my ($clients, $script) = @_;
	my $file = $node->basedir . '/script.sql';
	one('TRUNCATE got');
	unlink $file;
	append_to_file($file, $script);
	run_log([ 'pgbench', '-n', '-t', '1', '-c', $clients, '-j', '2', '-U', 'app', '-h', $node->host, '-p', $node->port, '-f', $file, 'postgres' ]);
	return;
}
sub got { return one(q(SELECT coalesce(string_agg(n || ' ' || verdict, ', ' ORDER BY verdict), '') FROM (SELECT verdict, count(*) AS n FROM got GROUP BY 1) AS v)); }
sub member { return one("SELECT member_id FROM immiiq.member WHERE name = '$_[0]'"); }
sub live { return one("SELECT count(*) FROM immiiq.session WHERE revoked_at IS NULL AND (member_id = '$_[0]' OR client_id = '$_[0]')"); }
sub mailed { return split /\|/, one("SELECT token, code FROM immiiq.read_outbox() WHERE email = '$_[0]' ORDER BY issued_at DESC LIMIT 1"); }
sub sign_in
{
	my ($name) = @_;
	one("SELECT immiiq.unlock_sign_in('$name\@alpha.example')");
	app("SELECT immiiq.issue_link('$name\@alpha.example')");
	my ($token) = mailed("$name\@alpha.example");
	return split /\|/, app("SELECT session_token, refresh_token, access_token FROM immiiq.redeem_link('$token')");
}

# One portal link, many uses; then two links, each many.
my $client = 'c11e0000-0000-4000-8000-000000000001';
my $portal = sub {
	return one("SELECT immiiq.put_link('portal', 'portal', immiiq.sign_in_identifier('$_[0]'), '$org', NULL, '$client', '$_[0]', NULL, interval '1 hour')") && (mailed($_[0]))[0];
};
my $first = $portal->('client@example.org');
at_once(64, "INSERT INTO got SELECT verdict, session_token FROM immiiq.redeem_portal_link('$first');\n");
is(got(), '63 denied, 1 ok', 'of 64 uses of a portal link at the same time one gets a session');
is(live($client), '1', 'which is active');
($first, my $second) = ($portal->('client@example.org'), $portal->('partner@example.org'));
at_once(32, "INSERT INTO got SELECT verdict, session_token FROM immiiq.redeem_portal_link(CASE :client_id % 2 WHEN 0 THEN '$first' ELSE '$second' END);\n");
is(got(), '30 denied, 2 ok', 'two links of a client give two');
is(live($client), '1', 'of which one stays');

# Codes, guessed from many sides.
app(q(SELECT immiiq.issue_link('cem@alpha.example')));
my ($token, $code) = mailed('cem@alpha.example');
my $wrong = sprintf '%06d', ($code + 1) % 1000000;
at_once(100, "INSERT INTO got SELECT verdict FROM immiiq.redeem_link('$wrong', email => 'cem\@alpha.example');\n" x 2);
is(got(), '5 denied, 195 throttled', 'of 200 wrong codes at the same time five are looked at');
is(app("SELECT verdict FROM immiiq.redeem_link('$code', email => 'cem\@alpha.example')"), 'throttled', 'after which the right one is not');
is(app("SELECT verdict FROM immiiq.redeem_link('$token')"), 'ok', 'and the link works all the same');

# Links, asked for from many sides: of a member and of nobody.
for my $address ('dia@alpha.example', 'nobody@alpha.example')
{
	at_once(64, "INSERT INTO got SELECT verdict FROM immiiq.issue_link('$address');\n");
	is(got(), '5 ok, 59 throttled', "of 64 requests for links at the same time five count: $address");
}
is(one(q(SELECT count(*) FROM immiiq.read_outbox() WHERE email = 'dia@alpha.example')), '1', 'one link goes out');
($token) = mailed('dia@alpha.example');
is(app("SELECT verdict FROM immiiq.redeem_link('$token')"), 'ok', 'which works');

# Who asks for links and never ends their transaction holds up nobody: neither the next who asks, nor who uses what came before.
for my $address ('eve@alpha.example', 'somebody@alpha.example')
{
	app("SELECT immiiq.issue_link('$address')");
	my ($mailed) = mailed($address);
	my $holder = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
	$holder->query_safe("BEGIN; SELECT immiiq.issue_link('$address');");
	is(app("SET statement_timeout = '5s'; SELECT verdict FROM immiiq.issue_link('$address')"), 'ok', "a link is asked for beside an open transaction that did: $address");
	if ($mailed)
	{
		is(app("SELECT verdict FROM immiiq.peek_link('$mailed')"), 'denied', 'the former one is dead');
		($mailed) = mailed($address);
		is(app("SET statement_timeout = '5s'; SELECT verdict FROM immiiq.redeem_link('$mailed')"), 'ok', 'the last one that was committed works');
	}
	$holder->query_safe('COMMIT');
	is(one("SELECT count(*) FROM immiiq.outbox WHERE email = '$address'"), '0', 'what is committed afterwards, but was made before, is not sent');
	$holder->quit;
}
{
	my $third = $portal->('client@example.org');
	my $holder = $node->background_psql('postgres');
	$holder->query_safe("BEGIN; SELECT immiiq.put_link('portal', 'portal', immiiq.sign_in_identifier('client\@example.org'), '$org', NULL, '$client', 'client\@example.org', NULL, interval '1 hour');");
	is(app("SET statement_timeout = '5s'; SELECT verdict FROM immiiq.redeem_portal_link('$third')"), 'ok', 'a portal link works beside an open transaction that makes the next one');
	$holder->query_safe('COMMIT');
	$holder->quit;
}
# Links that have expired are taken away, but no newer one before an older one that has not.
one(qq(DELETE FROM immiiq.link; SELECT immiiq.put_link('portal', 'portal', 'x', '$org', NULL, '$client', 'x', NULL, v) FROM unnest(ARRAY['7 days', '1 minute']::interval[]) AS v));
for my $days (3, 7)
{
	one("UPDATE immiiq.link SET issued_at = issued_at - interval '$days days', expires_at = expires_at - interval '$days days'; SELECT immiiq.purge_sign_in()");
	is(one('SELECT (SELECT count(*) FROM immiiq.outbox), count(*) FROM immiiq.link'), $days == 3 ? '0|2' : '0|0', "no older link lives again when a newer one is taken away, $days days later");
}

# One ID token, many uses.
one(q(INSERT INTO immiiq.identity_provider (issuer, audience, jwks)
	SELECT 'https://idp.example', 'client-1', jsonb_build_object('keys', jsonb_build_array(
		jsonb_build_object('kty', 'OKP', 'crv', 'Ed25519', 'kid', 'idp', 'x', immiiq.base64url(immiiq.jwt_public_key(900001)))))));
one("INSERT INTO immiiq.external_identity (org_id, member_id, issuer, subject) VALUES ('$org', '" . member('eve') . "', 'https://idp.example', 'eve')");
my $id_token = one(q(SELECT immiiq.sign_jwt(900001, '{"alg":"EdDSA","kid":"idp"}', jsonb_build_object('iss', 'https://idp.example', 'aud', 'client-1', 'sub', 'eve',
	'nonce', 'a nonce of enough', 'iat', extract(epoch FROM now())::bigint, 'exp', extract(epoch FROM now())::bigint + 300)::text)));
at_once(32, "INSERT INTO got SELECT verdict FROM immiiq.sign_in_identity('$id_token', 'a nonce of enough');\n");
is(got(), '31 denied, 1 ok', 'of 32 uses of an ID token at the same time one gets a session');
is(live(member('eve')), '1', 'which is active');

# A bcrypt hash, hashed anew by many.
one(sprintf q(INSERT INTO immiiq.password (org_id, member_id, hash) VALUES ('%s', '%s', '$2b$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i')), $org, member('fay'));
at_once(16, "INSERT INTO got SELECT verdict FROM immiiq.sign_in_password('fay\@alpha.example', 'abc');\n");
is(got(), '16 ok', '16 sign-ins with a bcrypt hash at the same time all pass');
is(one('SELECT immiiq.password_kind(hash) FROM immiiq.password'), 'argon2id', 'and leave one of Argon2id');
is(live(member('fay')), '1', 'and one session');

# A grace of nothing: of many tabs one gets the successor, and the family ends.
my (undef, undef, $why) = $node->psql('postgres', 'ALTER SYSTEM SET immiiq.refresh_grace = 61');
like($why, qr/61 s is outside the valid range/, 'a grace of more than a minute is refused');
one('ALTER SYSTEM SET immiiq.refresh_grace = 0');
one('SELECT pg_reload_conf()');
ok($node->poll_query_until('postgres', q(SELECT current_setting('immiiq.refresh_grace') = '0')), 'one of nothing is not');
my ($session, $refresh, $access) = sign_in('ana');
at_once(16, "INSERT INTO got SELECT verdict, refresh_token FROM immiiq.rotate_refresh('$refresh');\n");
is(got(), '15 denied, 1 ok', 'without a grace one of 16 uses gets the successor');
ok($node->poll_query_until('postgres', sprintf q(SELECT revoked_reason = 'refresh token used again' FROM immiiq.session WHERE token_hash = sha256('%s'::bytea)), $session), 'and the family ends');
is(app(q(SELECT r.verdict FROM got, immiiq.rotate_refresh(got.token) AS r WHERE got.verdict = 'ok')), 'denied', 'the successor with it');
one('ALTER SYSTEM RESET immiiq.refresh_grace');
one('SELECT pg_reload_conf()');

# Everything ends while tokens are refreshed and used: what comes after is refused, JWTs included.
($session, $refresh, $access) = sign_in('bob');
at_once(33, "SELECT CASE :client_id WHEN 16 THEN 1 ELSE 0 END AS ends \\gset\n\\if :ends\nBEGIN;\nSELECT set_config('immiiq.token', '$access', true);\n"
	. "INSERT INTO got SELECT 'ended ' || immiiq.sign_out_everywhere();\nCOMMIT;\n\\else\nINSERT INTO got SELECT verdict, refresh_token FROM immiiq.rotate_refresh('$refresh');\n\\endif\n");
is(one(q(SELECT string_agg(verdict, ',') FROM got WHERE verdict LIKE 'ended%')), 'ended 1', 'signing out everywhere ends the one session');
is(live(member('bob')), '0', 'no refresh brings it back');
is(app(q(SELECT coalesce(string_agg(DISTINCT r.verdict, ','), 'denied') FROM (SELECT DISTINCT token FROM got WHERE token IS NOT NULL) AS g, immiiq.rotate_refresh(g.token) AS r)), 'denied', 'what was refreshed is dead');
for my $dead ($session, $access)
{
	my (undef, undef, $error) = $node->psql('postgres', "BEGIN; SELECT set_config('immiiq.token', '$dead', true)", @app);
	like($error, qr/token refused/, 'so is its token');
}

# Old rows are taken away while others sign in.
one("UPDATE immiiq.session SET issued_at = issued_at - interval '14 months', expires_at = expires_at - interval '14 months' WHERE revoked_at IS NOT NULL");
my $before = one(q(SELECT count(*) FROM immiiq.session WHERE expires_at < now() - interval '13 months'));
cmp_ok($before, '>', 0, 'there are sessions of long ago');
one(q(INSERT INTO immiiq.password (org_id, member_id, hash) SELECT org_id, member_id, immiiq.hash_password('password of ' || name) FROM immiiq.member ON CONFLICT (member_id) DO UPDATE SET hash = excluded.hash));
my $pruning = IPC::Run::start([ 'psql', '-X', '-h', $node->host, '-p', $node->port, '-d', 'postgres', map { ('-c', 'SELECT * FROM immiiq.prune_journal(batch => 3)') } 1 .. 20 ], '>', \my $said, '2>', \my $complained);
at_once(32, "\\set i random(0, 5)\nINSERT INTO got SELECT verdict FROM immiiq.sign_in_password(split_part('ana bob cem dia eve fay', ' ', :i + 1) || '\@alpha.example',\n"
	. "  'password of ' || split_part('ana bob cem dia eve fay', ' ', :i + 1));\n");
IPC::Run::finish($pruning);
is(got(), '32 ok', 'sign-ins go on beside pruning');
is($complained, '', 'and pruning beside them');
one('SELECT immiiq.prune_journal()');
is(one(q(SELECT count(*) FROM immiiq.session WHERE expires_at < now() - interval '13 months')), '0', 'all of long ago are gone');
is(one(q(SELECT count(*) FROM (SELECT FROM immiiq.session WHERE revoked_at IS NULL AND member_id IS NOT NULL GROUP BY member_id HAVING count(*) > 1) AS s)), '0', 'and nobody has two sessions');

# Statements as pg_stat_statements keeps them: no token, no password, no code, were they written as literals.
($session, $refresh) = sign_in('ana');
$node->psql('postgres', $_, @app) for ("SELECT immiiq.rotate_refresh('$refresh')", "SELECT immiiq.sign_in_password('ana\@alpha.example', 'a literal password')",
	"SELECT immiiq.redeem_link('918273', email => 'ana\@alpha.example')", "SELECT set_config('immiiq.token', '$session', true)");
cmp_ok(one(q(SELECT count(*) FROM pg_stat_statements WHERE query ~ 'rotate_refresh|sign_in_password|redeem_link')), '>', 3, 'pg_stat_statements has the calls');
is(one(qq(SELECT count(*) FROM pg_stat_statements WHERE query ~ 'iq_[a-z]_[0-9A-Za-z]{20}|a literal password|918273|eyJ[A-Za-z0-9_-]{20}')), '0', 'without a secret');

$node->stop;
done_testing();
