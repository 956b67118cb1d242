# ALTER EXTENSION immiiq UPDATE, under load, by the project's own method (docs/upgrading.md): an update script brings the catalogs
# to where a new installation has them. The next version is made here, of the installed one and of changes of every kind.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', extension => 1);
my $folder = $node->config_data('--sharedir') . '/extension';
if (!-w $folder)
{
	plan skip_all => "$folder cannot be written";
}
my $version = $node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'immiiq'");
my $next = "${version}next$$";
my @made = map { "$folder/immiiq--$_.sql" } ($next, "$version--$next", "$version--${next}x");
END { unlink @made if @made }

#### The next version: what a new installation runs, and what brings an old one there.

my $install = slurp_file("$folder/immiiq--$version.sql");
my $update = "\\echo Use \"ALTER EXTENSION immiiq UPDATE\" to load this file. \\quit\n";

# One change of both: in the install script, and as statements of the update.
sub change
{
	my ($from, $to, $statements) = @_;
	my $count = $install =~ s/$from/$to/;
	die "the install script has no $from" if !$count;
	$update .= "$statements\n";
}

# A body, with its comment; a column at the end of a table; a view; a trigger of another kind.
my ($function) = $install =~ /^CREATE( FUNCTION immiiq\.oldest_unsealed\(\).*?\$\$;\n)/ms;
$function =~ s/LIMIT 1000/LIMIT 2000/;
change(qr/LIMIT 1000\)/, 'LIMIT 2000)', "CREATE OR REPLACE$function");
change(qr/'when the oldest entry was made[^']*'/, "'another comment'", "COMMENT ON FUNCTION immiiq.oldest_unsealed() IS 'another comment';");
$install =~ s/(CREATE TABLE immiiq\.witness \(.*?)(\n\);\n)/$1,\n    note text$2/s or die;
$update .= "ALTER TABLE immiiq.witness ADD COLUMN note text;\n";
change(qr/CREATE VIEW immiiq\.stat AS SELECT \* FROM immiiq\.read_stat\(\);/, 'CREATE VIEW immiiq.stat AS SELECT * FROM immiiq.read_stat() WHERE true;',
	'CREATE OR REPLACE VIEW immiiq.stat AS SELECT * FROM immiiq.read_stat() WHERE true;');
# New objects, with privileges, rows of a dump and rows of the install script; a function that goes.
my $added = <<'SQL';
CREATE TABLE immiiq.novelty (id int8 PRIMARY KEY, said text NOT NULL DEFAULT 'so' CHECK (said <> ''));
COMMENT ON TABLE immiiq.novelty IS 'what is new';
REVOKE ALL ON immiiq.novelty FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.novelty', 'WHERE id > 0');
CREATE FUNCTION immiiq.novelties() RETURNS int8 LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT count(*) FROM immiiq.novelty $$;
COMMENT ON FUNCTION immiiq.novelties() IS 'how much is new';
REVOKE ALL ON FUNCTION immiiq.novelties() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', 'FUNCTION immiiq.novelties()');
SQL
my $last = "\n-- The last statement of all.\nSELECT immiiq.note_functions();\n";
$install =~ s/\Q$last\E/$added$last/ or die;
$install =~ s/^CREATE FUNCTION immiiq\.library_status\(.*?;\nCOMMENT ON FUNCTION immiiq\.library_status[^\n]*\n//ms or die;
$update .= $added . "DROP FUNCTION immiiq.library_status();\n";
append_to_file($made[0], $install);
append_to_file($made[1], $update . $last);
# The same with one comment forgotten and without the last step.
(my $wrong = $update) =~ s/COMMENT ON TABLE immiiq\.novelty[^\n]*\n//;
append_to_file($made[2], $wrong);

#### An installation with data, and clients that never stop

sub as_alpha
{
	my ($statement) = @_;
	return $node->safe_psql('postgres', "BEGIN; SELECT immiiq.operate('a1fa0000-0000-4000-8000-000000000000', 'test') \\gset\n$statement; COMMIT");
}
$node->safe_psql('postgres', q{CREATE ROLE app LOGIN; SELECT immiiq.grant_application('app');
	SELECT immiiq.create_org('Alpha', 'a1fa0000-0000-4000-8000-000000000000');
	CREATE TABLE note (org_id uuid NOT NULL, id uuid DEFAULT gen_random_uuid(), body enc_text(equality), PRIMARY KEY (org_id, id));
	SELECT immiiq.protect('note', 'clients'); CREATE INDEX ON note (org_id, body); GRANT SELECT, INSERT, UPDATE, DELETE ON note TO app});
my $token = as_alpha(q{INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules)
		VALUES (immiiq.current_org(), 'a1fa0000-0000-4000-8000-000000000001', 'a@alpha.example', 'A', 'all', '{clients}');
	INSERT INTO note (body) VALUES ('before');
	SELECT immiiq.issue_session('a1fa0000-0000-4000-8000-000000000001')});
my $script = $node->basedir . '/load.sql';
append_to_file($script, <<"SQL");
BEGIN;
SET LOCAL immiiq.token = '$token';
INSERT INTO note (body) VALUES ('during');
SELECT body FROM note WHERE body = 'before';
UPDATE note SET body = 'changed' WHERE id = (SELECT id FROM note WHERE body = 'during' LIMIT 1);
COMMIT;
SQL
my ($load_out, $load_err) = ('', '');
my $load = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-j', '1', '-T', '8', '-M', 'prepared', '-f', $script, '-h', $node->host, '-p', $node->port, '-U', 'app', 'postgres' ],
	'>', \$load_out, '2>', \$load_err);
$node->poll_query_until('postgres', 'SELECT count(*) > 50 FROM note') or die 'no load';
my ($status, $out, $err) = $node->psql('postgres', "ALTER EXTENSION immiiq UPDATE TO '$next'");
is($err, '', 'the update runs under load');
IPC::Run::finish($load);
like($load_out, qr/number of failed transactions: 0 /, 'whose clients see nothing of it') or diag $load_err;
unlike($load_err, qr/ERROR/, 'in their logs either');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM immiiq.journal WHERE kind = \'denial\''), '==', 0, 'nobody was denied anything');

#### Afterwards

is($node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'immiiq'"), $next, 'the extension is the next version');
is(as_alpha(q{SELECT body FROM note WHERE body = 'before'}), 'before', 'what was sealed before is found and opened');
$node->safe_psql('postgres', 'CALL immiiq.seal()');
is($node->safe_psql('postgres', 'SELECT count(*) FROM immiiq.verify_audit()'), '0', 'the log verifies');
is($node->safe_psql('postgres', "SELECT problem FROM immiiq.function_problems()"), 'app may not call immiiq.novelties()', 'the posture names what roles do not have yet');
$node->safe_psql('postgres', 'SELECT immiiq.grant_kind(kind, role) FROM immiiq.role_grant');
is($node->safe_psql('postgres', 'SELECT count(*) FROM immiiq.function_problems()'), '0', 'and nothing once they have it');
$node->psql('postgres', 'REVOKE EXECUTE ON FUNCTION immiiq.novelties() FROM app');

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', "CREATE EXTENSION immiiq VERSION '$next'");
# Roles of the application are no part of the extension; without them both are alike.
$node->safe_psql('postgres', 'DROP OWNED BY app');
my @compare = ('test/catalog_diff.sh', 'postgres', 'fresh');
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
my ($same, $diff);
$same = IPC::Run::run([@compare], '>', \$diff, '2>&1');
ok($same, 'the catalogs of an update and of a new installation are alike') or diag join("\n", map { substr $_, 0, 300 } grep { /^[-+]/ } split /\n/, $diff);

# The comparison sees what a script forgets.
$node->safe_psql('postgres', 'CREATE DATABASE forgetful');
$node->safe_psql('forgetful', "CREATE EXTENSION immiiq VERSION '$version'; ALTER EXTENSION immiiq UPDATE TO '${next}x'");
ok(!IPC::Run::run([ 'test/catalog_diff.sh', 'forgetful', 'fresh' ], '>', \$diff, '2>&1'), 'an update that forgets is found');
like($diff, qr/^-table immiiq\.novelty: owner bootstrap comment none$/m, 'a comment');
like($diff, qr/^\+.*immiiq\.novelties\(\)<\/signature>/m, 'and what the last step notes');

$node->stop;
done_testing();
