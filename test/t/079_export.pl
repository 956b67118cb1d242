# The script that writes an export: one snapshot while others write, a signature that openssl verifies, going on after a failure,
# no temporary file, and everything read in again in an empty database.
use strict;
use warnings;
use Immiiq;
use Digest::SHA;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $alpha = 'a1fa0000-0000-4000-8000-000000000000';
my $owner = 'a1fa0000-0000-4000-8000-000000000001';
my $zoe   = '11111111-1111-4111-8111-111111111111';
my $schema = q{
	CREATE TABLE client (org_id uuid, client_id uuid DEFAULT gen_random_uuid(), name enc_text(equality, fold), born enc_date(equality), income enc_numeric(sealed),
		fee enc_int8(sealed), photo enc_bytea(sealed), seen enc_timestamptz(sealed), notes enc_jsonb(sealed), tags text[], span interval, at timestamptz, raw bytea,
		PRIMARY KEY (org_id, client_id));
	CREATE TABLE matter (org_id uuid, id uuid DEFAULT gen_random_uuid(), client_id uuid, title text, PRIMARY KEY (org_id, id), FOREIGN KEY (org_id, client_id) REFERENCES client);
	SELECT immiiq.protect('client', 'clients', client => 'client_id');
	SELECT immiiq.protect('matter', 'cases', client => 'client_id');
	INSERT INTO immiiq.export_rule (target, "column", rule) SELECT relation, column_name, 'export' FROM immiiq.export_column WHERE rule IS NULL;
	CREATE ROLE operator LOGIN;
	CREATE ROLE app LOGIN;
	SELECT immiiq.grant_operator('operator'), immiiq.grant_application('app');
	GRANT SELECT, INSERT ON client, matter TO operator, app;
};
my $node = new_cluster('firm', extension => 1);
my $shared = $node->config_data('--sharedir');
my $script = "$shared/extension/immiiq-export.psql";
$node->safe_psql('postgres', $schema);
$node->safe_psql('postgres', "SELECT immiiq.create_org('Alpha', '$alpha')", extra_params => ['-U', 'operator']);
my $token = $node->safe_psql('postgres', qq{
	BEGIN;
	SELECT FROM immiiq.operate('$alpha', 'test');
	INSERT INTO immiiq.member (member_id, email, name, scope, modules, permissions) VALUES ('$owner', 'o\@example', 'Owner', 'all', '{reports}', '{export}');
	INSERT INTO client (client_id, name, born, income, fee, photo, seen, notes, tags, span, at, raw)
		VALUES ('$zoe', E'Zo\\u00eb "Q"\\n\\\\', '1990-04-01', '12.50', '-3', '\\x00ff', '2026-01-02 03:04:05.678+00', '{"a": [1, null]}', '{a,"b c",NULL}', '1 day 02:03', '2026-01-02 03:04:05.678901+00', '\\xdead');
	INSERT INTO matter (client_id, title) VALUES ('$zoe', NULL), ('$zoe', '');
	INSERT INTO client (name, notes) SELECT 'Client ' || n, jsonb_build_object('n', repeat(n::text, 40)) FROM generate_series(1, 3000) AS n;
	SELECT immiiq.issue_session('$owner');
	COMMIT});
$token =~ s/\s//g;

my $dir = PostgreSQL::Test::Utils::tempdir() . '/an export';
sub run_script
{
	my (@arguments) = @_;
	local %ENV = ($node->_get_env(), IMMIIQ_TOKEN => $token);
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'psql', '-X', '-d', 'postgres', @arguments, '-f', $script ], '>', \$out, '2>', \$err);
	return ($ok, $out . $err);
}
sub manifest
{
	return decode_json(slurp_file("$dir/manifest.json"));
}
# Names of files whose count of lines or hash is not what the manifest says.
sub wrong_files
{
	my @wrong;
	for my $file (@{ manifest()->{files} })
	{
		my $sha = Digest::SHA->new(256)->addfile("$dir/$file->{path}", 'b')->hexdigest;
		push @wrong, $file->{path} if $sha ne $file->{sha256} || -s "$dir/$file->{path}" != $file->{bytes};
	}
	return "@wrong";
}
sub verifies
{
	my $pem = $node->safe_psql('postgres', 'SELECT immiiq.statement_key()');
	my $tmp = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$tmp/key.pem", "$pem\n");
	system("base64 -d '$dir/manifest.json.sig' > '$tmp/sig'") == 0 or die;
	my $out = '';
	return IPC::Run::run([ 'openssl', 'pkeyutl', '-verify', '-pubin', '-inkey', "$tmp/key.pem", '-rawin', '-in', "$dir/manifest.json", '-sigfile', "$tmp/sig" ], '>&', \$out);
}

# What is kept whole, sorted or hashed would spill: the export must have none of it.
$node->safe_psql('postgres', q{ALTER ROLE app SET work_mem = '1MB'; ALTER ROLE app SET log_temp_files = 0});
$node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT FROM generate_series(1, 100000) AS g ORDER BY md5(g::text) OFFSET 1) AS s', extra_params => [ '-U', 'app' ]);
like(slurp_file($node->logfile), qr/temporary file:/, 'the log tells of temporary files');
my $log_before = -s $node->logfile;
my ($ok, $said) = run_script('-U', 'app', '-v', "dir=$dir");
ok($ok, 'the organisation is written by a member') or diag($said);
is($said, '', 'nothing is said');
is(wrong_files(), '', 'every file is as the manifest says');
ok(verifies(), 'openssl verifies the signature');
ok(manifest()->{consistent}, 'one snapshot');
my ($clients) = grep { $_->{path} eq 'tables/public.client.jsonl' } @{ manifest()->{files} };
is($clients->{records}, 3001, 'every client');
is((stat $dir)[2] & 0077, 0, 'the folder is the owner\'s');
unlike(slurp_file($node->logfile, $log_before), qr/temporary file:/, 'no temporary file');
ok(!-e "$dir/receipts/.steps.psql", 'the script cleans up');

# A file that is missing is fetched, the others are left; a new snapshot is said.
append_to_file("$dir/manifest.json", ' ');
ok(!verifies(), 'a manifest that was changed does not verify');
unlink "$dir/receipts/tables/public.matter.jsonl";
my $before = (stat "$dir/tables/public.client.jsonl")[9];
utime 1, 1, "$dir/tables/public.client.jsonl";
$node->safe_psql('postgres', "BEGIN; SELECT FROM immiiq.operate('$alpha', 'test'); INSERT INTO matter (client_id, title) VALUES ('$zoe', 'later'); COMMIT");
($ok, $said) = run_script('-U', 'app', '-v', "dir=$dir");
ok($ok, 'a second run goes on') or diag($said);
is((stat "$dir/tables/public.client.jsonl")[9], 1, 'what was there is not fetched again');
is(wrong_files(), '', 'the manifest covers both runs');
ok(!manifest()->{consistent} && @{ manifest()->{snapshots} } == 2, 'and says that they saw two snapshots');
ok(verifies(), 'under a signature');

# Others write while it runs.
$dir = PostgreSQL::Test::Utils::tempdir() . '/during';
$node->safe_psql('postgres', qq{
	CREATE PROCEDURE write_matters() LANGUAGE plpgsql AS \$\$
	BEGIN
		FOR n IN 1 .. 300 LOOP
			PERFORM immiiq.operate('$alpha', 'test');
			INSERT INTO matter (client_id, title) VALUES ('$zoe', 'during');
			COMMIT;
		END LOOP;
	END \$\$});
my $busy = IPC::Run::start([ 'psql', '-X', '-q', '-h', $node->host, '-p', $node->port, '-d', 'postgres', '-c', 'CALL write_matters()' ], '>', \my $o, '2>', \my $e);
($ok, $said) = run_script('-U', 'operator', '-v', "dir=$dir", '-v', "org=$alpha", '-v', 'reason=moves', '-v', 'format=csv');
ok($ok, 'an operator writes CSV while others write') or diag($said);
$busy->finish;
ok(manifest()->{consistent}, 'from one snapshot');
is(wrong_files(), '', 'as the manifest says');

# One client, and nobody else.
$dir = PostgreSQL::Test::Utils::tempdir() . '/client';
($ok, $said) = run_script('-U', 'app', '-v', "dir=$dir", '-v', "client=$zoe");
ok($ok, 'a client is written') or diag($said);
is(manifest()->{client_id}, $zoe, 'the manifest names it');
is(scalar(() = slurp_file("$dir/tables/public.client.jsonl") =~ /\n/g), 1, 'one row');
($ok, $said) = run_script('-U', 'app', '-v', "dir=$dir x", '-v', "org=$alpha", '-v', 'reason=no');
ok(!$ok, 'the application\'s role does not operate');
unlike($said, qr/\Q$token\E/, 'no token is said');

# Read in again: an empty database of another cluster with other keys.
$dir = PostgreSQL::Test::Utils::tempdir() . '/whole';
($ok, $said) = run_script('-U', 'app', '-v', "dir=$dir");
my $other = new_cluster('other', extension => 1, root_key => 'other-1 ' . ('ab' x 32));
$other->safe_psql('postgres', $schema);
$other->safe_psql('postgres', "SELECT immiiq.create_org('Alpha', '$alpha')", extra_params => ['-U', 'operator']);
for my $table (qw(public.client public.matter))
{
	# Control characters do not occur in JSON: a line is one value.
	$other->safe_psql('postgres', qq{
		CREATE TABLE line (j json);
		\\copy line FROM '$dir/tables/$table.jsonl' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')
		BEGIN;
		SELECT FROM immiiq.operate('$alpha', 'import');
		INSERT INTO $table SELECT r.* FROM line, json_populate_record(NULL::$table, j) AS r;
		COMMIT;
		DROP TABLE line});
}
my $content = qq{
	BEGIN;
	SELECT FROM immiiq.operate('$alpha', 'test');
	SELECT c.client_id, name, born, income, fee, photo, seen, notes, tags, span, at, raw, m.id, m.title IS NULL, m.title
	FROM client AS c LEFT JOIN matter AS m USING (org_id, client_id) ORDER BY 1, m.id;
	COMMIT};
is(md5_of($other, $content), md5_of($node, $content), 'what is read in again is what was there');
is($other->safe_psql('postgres', "BEGIN; SELECT FROM immiiq.operate('$alpha', 'test'); SELECT count(*) FROM client WHERE name = 'client 777'; COMMIT"), "1", 'and found by index');

sub md5_of
{
	my ($target, $sql) = @_;
	return Digest::SHA::sha256_hex($target->safe_psql('postgres', $sql));
}
done_testing();
