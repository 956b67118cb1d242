# A dump carries documents with everything that guards them; nothing of a secret or a signature is in the server's log.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Utils;
use Test::More;

my $org = 'a1fa0000-0000-4000-8000-000000000000';
my $owner = 'a1fa0000-0000-4000-8000-000000000001';
my $document = 'd1000000-0000-4000-8000-000000000001';

my $node = new_cluster('source', extension => 1, config => "log_statement = 'all'\nlog_min_duration_statement = 0\nlog_parameter_max_length = -1\nimmiiq.url_ttl = 1800");
$node->safe_psql('postgres', qq{
	CREATE ROLE app LOGIN;
	SELECT immiiq.grant_application('app');
	SELECT immiiq.create_org('Alpha', '$org')});
my $token = $node->safe_psql('postgres', qq{
	BEGIN;
	SELECT FROM immiiq.operate('$org', 'test');
	INSERT INTO immiiq.member (member_id, email, name, scope, modules, permissions) VALUES ('$owner', 'o\@example', 'Owner', 'all', '{documents,settings,reports,billing}', '{sign_off}');
	SELECT immiiq.issue_session('$owner');
	COMMIT});
$token =~ s/\s//g;

# What a member gets of a statement.
sub member
{
	my ($on, $sql, %option) = @_;
	my ($out, $err);
	$on->psql('postgres', "BEGIN; SELECT FROM immiiq.authenticate('$token'); $sql; COMMIT",
		extra_params => [ '-U', 'app' ], stdout => \$out, stderr => \$err, on_error_stop => 1);
	return $option{error} ? $err : $out;
}

member($node, qq{
	INSERT INTO immiiq.object_store (object_store_id, name, endpoint, region, bucket) VALUES ('$document', 'main', 'https://s3.example', 'r', 'papers');
	SELECT immiiq.set_store_credentials('$document', 'AKIAEXAMPLE', 'verySecretKey');
	SELECT immiiq.set_secret('hook', 'whsec_verySecretHook');
	INSERT INTO immiiq.webhook (provider, secret) VALUES ('stripe', 'hook');
	INSERT INTO immiiq.document (document_id, object_store_id, key, filename) VALUES ('$document', '$document', 'a/b', 'passport.pdf');
	INSERT INTO immiiq.document (object_store_id, key) VALUES ('$document', 'gone');
	DELETE FROM immiiq.document WHERE key = 'gone';
	INSERT INTO immiiq.signature_on_file (document_id) VALUES ('$document');
	SELECT immiiq.sign_off('immiiq.document', '$document', 'checked')});
my $shared = member($node, "SELECT token FROM immiiq.share_document('$document', 'x\@example')");
$shared =~ s/\s//g;
my $url = member($node, "SELECT url FROM immiiq.presign_get('$document')");
like($url, qr/X-Amz-Expires=1800&/, 'immiiq.url_ttl is how long a URL lasts');
like(member($node, "SELECT immiiq.presign_get('$org')", error => 1), qr/not within reach/, 'a refusal');
member($node, "SELECT immiiq.set_store_credentials('$document', 'bad key', 'verySecretKey')", error => 1);
my ($signature) = $url =~ /X-Amz-Signature=([0-9a-f]+)/;

my $tables = 'object_store bucket store_credential document document_key document_share document_event secret secret_version webhook webhook_event signature_on_file sign_off';
my $contents = join ' UNION ALL ', map { "SELECT '$_ ' || count(*) || md5(coalesce(string_agg(t::text, ' ' ORDER BY t::text), '')) FROM immiiq.$_ AS t" } split ' ', $tables;
my $before = $node->safe_psql('postgres', $contents);

my $copy = new_cluster('copy');
my $file = $node->basedir . '/dump';
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('postgres') ], 'a dump');
$copy->safe_psql('postgres', 'CREATE ROLE app LOGIN');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $copy->connstr('postgres'), $file ], 'restores without an error');
is($copy->safe_psql('postgres', $contents), $before, 'and brings every row');
$copy->safe_psql('postgres', "SELECT immiiq.grant_application('app')");
like(member($copy, "SELECT url FROM immiiq.presign_get('$document')"), qr/^https:\/\/papers\.s3\.example\/a\/b\?/m, 'URLs are made from it');
like(member($copy, "INSERT INTO immiiq.document (object_store_id, key) VALUES ('$document', 'gone')", error => 1), qr/belongs to another document/,
	'a deleted document\'s key is still nobody else\'s');
is($copy->safe_psql('postgres', "SELECT verdict FROM immiiq.redeem_share('$shared')", extra_params => [ '-U', 'app' ]), 'ok', 'a share is still good');
like(member($copy, "SELECT holds FROM immiiq.sign_off_status('immiiq.document', '$document')"), qr/^t$/m, 'a signature still holds');
is($copy->safe_psql('postgres', "SELECT count(*) FROM immiiq.verify_audit()"), '0', 'and the audit is whole');

# New keys: credentials, secrets and signatures go on.
my $keys = "SELECT string_agg(DISTINCT key_id::text, ' ') FROM immiiq.wrapped_key WHERE org_id = '$org'";
my $old_keys = $copy->safe_psql('postgres', $keys);
$copy->safe_psql('postgres', "CALL immiiq.rotate_key('$org')");
isnt($copy->safe_psql('postgres', $keys), $old_keys, 'the keys are rotated');
like(member($copy, "SELECT url FROM immiiq.presign_get('$document')"), qr/filename%3D%22passport\.pdf%22/m, 'URLs are made under new keys');
like(member($copy, "SELECT holds FROM immiiq.sign_off_status('immiiq.document', '$document')"), qr/^t$/m, 'and signatures hold');

my $log = slurp_file($node->logfile);
unlike($log, qr/verySecret|AKIAEXAMPLE/, 'no secret is in the log');
unlike($log, qr/$signature|X-Amz-Signature/, 'nor a signature');
unlike($log . slurp_file($copy->logfile), qr/$shared/, 'nor the token of a share');
$node->safe_psql('postgres', 'CALL immiiq.seal()');
is($node->safe_psql('postgres', qq{
	BEGIN;
	SELECT FROM immiiq.operate('$org', 'test');
	SELECT (count(*) > 10) || ' ' || count(*) FILTER (WHERE l::text ~ 'verySecret|AKIAEXAMPLE|X-Amz-Signature') FROM immiiq.audit_log AS l;
	COMMIT}) =~ s/\s*(.*)\s*/$1/r, 'true 0', 'nor in the audit');

done_testing();
