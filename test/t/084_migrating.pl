# A plain schema is sealed while three clients read and write it, with the conversion killed in the middle: no write is lost, none fails.
use strict;
use warnings;
use Immiiq;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('migrating', extension => 1, config => 'fsync = off');
my $sql = sub { $node->safe_psql('postgres', $_[0], extra_params => [ '-U', $_[1] // 'postgres' ]) };
$node->safe_psql('postgres', q{
	CREATE ROLE web LOGIN; CREATE ROLE dba LOGIN; GRANT CREATE ON SCHEMA public TO dba;
	SELECT immiiq.grant_application('web'), immiiq.grant_owner('dba'), immiiq.grant_operator('dba')});

# The schema as it was, on which nobody thought of sealing; "shadow" is the test's own copy of what was written last.
$sql->(q{
	CREATE TABLE practice (practice_id uuid PRIMARY KEY, name text NOT NULL);
	CREATE TABLE client (client_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), practice_id uuid NOT NULL REFERENCES practice,
		family_name varchar(80) NOT NULL, passport text, birth_date date, shadow text, UNIQUE (practice_id, passport));
	CREATE INDEX client_name ON client (practice_id, family_name);
	COMMENT ON COLUMN client.passport IS 'as printed';
	INSERT INTO practice SELECT ('00000000-0000-4000-8000-00000000000' || i)::uuid, 'Practice ' || i FROM generate_series(1, 3) AS i;
	INSERT INTO client (practice_id, family_name, passport, birth_date, shadow)
	SELECT ('00000000-0000-4000-8000-00000000000' || 1 + i % 3)::uuid, 'Canary-' || i, CASE WHEN i % 9 > 0 THEN 'P-' || i END,
		CASE WHEN i % 5 > 0 THEN date '1950-01-01' + i END, CASE WHEN i % 9 > 0 THEN 'P-' || i END
	FROM generate_series(1, 6000) AS i}, 'dba');
like($sql->('SELECT immiiq.sealing_plan()', 'dba'), qr/^-- not as it is: public.client is not protected: .*immiiq.protect/m, 'the plan says what comes first');

# First step: organisations, members, protection. The application sets its token from here on.
$sql->(q{SELECT immiiq.create_org(name, practice_id) FROM practice}, 'dba');
$sql->(qq{
	BEGIN;
	SELECT immiiq.operate('00000000-0000-4000-8000-00000000000$_', 'first member');
	INSERT INTO immiiq.member (org_id, email, name, scope, modules)
	VALUES ('00000000-0000-4000-8000-00000000000$_', 'm\@$_.example', 'M', 'all', '{clients}');
	COMMIT}, 'dba') for 1 .. 3;
$sql->(q{SELECT immiiq.protect('client', 'clients', org => 'practice_id', client => 'client_id');
	GRANT SELECT, INSERT, UPDATE, DELETE ON client TO web}, 'dba');
$sql->(q{CREATE TABLE token AS SELECT row_number() OVER () AS i, immiiq.issue_session(member_id) AS token FROM immiiq.member; GRANT SELECT ON token TO web});
my @plan = grep { !/^--/ } split /\n/, $sql->('SELECT immiiq.sealing_plan()', 'dba');
is(scalar(grep { /^CALL immiiq.seal_column/ } @plan), 3, 'the plan seals three columns');

# Clients that do not know of it. Their statements name no sealed column's type and stay the same throughout.
my $script = $node->basedir . '/writer.sql';
append_to_file($script, q{
\set i random(1, 3)
\set n random(1, 1000000000)
\set p random(1, 6000)
BEGIN;
SELECT set_config('immiiq.token', (SELECT token FROM token WHERE i = :i), true);
UPDATE client SET passport = 'W-' || :n, shadow = 'W-' || :n WHERE client_id = (SELECT client_id FROM client WHERE family_name = 'Canary-' || :p);
INSERT INTO client (family_name, passport, birth_date, shadow) VALUES ('New-' || :n, 'N-' || :n, '1999-12-31', 'N-' || :n);
SELECT family_name, birth_date FROM client WHERE passport = 'N-' || :n;
COMMIT;
});
my ($said, $ended) = ('', 0);
my $pgbench = IPC::Run::start([ 'pgbench', '-n', '-c', '3', '-T', '600', '-R', '100', '-f', $script, '-h', $node->host, '-p', $node->port, '-U', 'web', 'postgres' ],
	'>&', \$said, IPC::Run::timeout(300));
ok($node->poll_query_until('postgres', q{SELECT count(*) > 20 FROM client WHERE shadow LIKE 'N-%'}), 'writers write');

# Killed in the middle.
my ($first) = grep { /seal_column\('public.client', 'passport'/ } @plan;
(my $small = $first) =~ s/\);$/, 50);/;
my $killed = IPC::Run::start([ 'psql', '-XqAt', '-h', $node->host, '-p', $node->port, '-U', 'dba', '-c', $small, 'postgres' ], '>&', \my $last, IPC::Run::timeout(300));
ok($node->poll_query_until('postgres', q{SELECT count(passport_sealed) > 500 FROM client}), 'a conversion begins');
is($sql->(q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'dba'}), '1', 'and is killed');
$killed->finish;
like($last, qr/terminating connection/, 'it says so');
cmp_ok($sql->(q{SELECT count(*) FROM client WHERE passport IS NOT NULL AND passport_sealed IS NULL}), '>', 1000, 'with most of its rows to do');
my ($refused, undef, $why) = $node->psql('postgres', q{CALL immiiq.finish_sealing('client', 'passport')}, extra_params => [ '-U', 'dba' ]);
isnt($refused, 0, 'the columns are not exchanged now');
like($why, qr/has no sealed successor yet|are not sealed yet/, 'and it says what is missing');

# The whole plan, as printed, but for VACUUM, which comes at the end.
for my $statement (grep { !/^VACUUM/ } @plan)
{
	my ($status, undef, $stderr) = $node->psql('postgres', $statement, extra_params => [ '-U', 'dba' ]);
	is($status, 0, $statement) or diag($stderr);
}
my $writes = $sql->(q{SELECT count(*) FROM client WHERE shadow LIKE 'N-%'});
ok($node->poll_query_until('postgres', qq{SELECT count(*) > $writes + 20 FROM client WHERE shadow LIKE 'N-%'}), 'writers write on');
$pgbench->signal('INT');
$pgbench->finish;
unlike($said, qr/ERROR|aborted/, 'and none of them ever failed') or diag($said);

is($sql->(q{SELECT string_agg(format('%s %s %s', attname, atttypid::regtype, attnotnull), ', ' ORDER BY attname)
	FROM pg_attribute WHERE attrelid = 'client'::regclass AND attnum > 0 AND NOT attisdropped AND atttypid::regtype::text LIKE 'enc_%'}),
	'birth_date enc_date f, family_name enc_text t, passport enc_text f', 'the columns are sealed, and as nullable as they were');
is($sql->(q{SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = 'client'::regclass AND attname = 'passport'}), 'as printed', 'comments stay');
is($sql->(q{SELECT conname FROM pg_constraint WHERE conrelid = 'client'::regclass AND contype = 'u' AND conkey @> ARRAY[(SELECT attnum FROM pg_attribute
	WHERE attrelid = 'client'::regclass AND attname = 'passport')]}), 'client_practice_id_passport_key', 'so do constraints');
is($sql->(q{SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname LIKE '%immiiq%'}), '0', 'no function is left behind');

my $wrong = 0;
for my $i (1 .. 3)
{
	my ($rows, $differ, $names, $births) = split /\|/, (split /\n/, $sql->(qq{BEGIN; SELECT immiiq.operate('00000000-0000-4000-8000-00000000000$i', 'look');
		SELECT count(*), count(*) FILTER (WHERE passport::text IS DISTINCT FROM shadow), count(*) FILTER (WHERE family_name::text !~ '^(Canary|New)-[0-9]+\$'),
			count(*) FILTER (WHERE family_name::text LIKE 'Canary-%' AND birth_date::date IS DISTINCT FROM
				CASE WHEN split_part(family_name::text, '-', 2)::int % 5 > 0 THEN date '1950-01-01' + split_part(family_name::text, '-', 2)::int END)
		FROM client; COMMIT}, 'dba'))[-1];
	cmp_ok($rows, '>=', 2000, "practice $i has its rows");
	$wrong += $differ + $names + $births;
}
is($wrong, 0, 'every value is what was written last');
my $found = $sql->(q{BEGIN; SELECT set_config('immiiq.token', (SELECT token FROM token WHERE i = 1), true); SET LOCAL enable_seqscan = off;
	EXPLAIN (COSTS OFF) SELECT * FROM client WHERE passport = 'P-1'; COMMIT}, 'web');
like($found, qr/Index Scan using client_practice_id_passport_key/, 'and found by index');

# Nothing of the plaintext in the table's file once it is rewritten.
my $file = sub { $node->data_dir . '/' . $sql->(q{SELECT pg_relation_filepath('client')}) };
$sql->('CHECKPOINT');
like(slurp_file($file->()), qr/Canary-17/, 'before it is rewritten the file holds the plaintext');
$sql->($_, 'dba') for (grep { /^VACUUM/ } @plan)[0];
$sql->('CHECKPOINT');
unlike(slurp_file($file->()), qr/Canary-/, 'afterwards it does not');

$sql->('CALL immiiq.seal()');
is($sql->('SELECT * FROM immiiq.verify_audit()'), '', 'the log is whole and agrees with the rows');
is($sql->(q{SELECT object, finding FROM immiiq.advisor WHERE object LIKE '%client' AND severity <> 'info'}), '', 'the advisor has nothing to say');

$node->stop;
done_testing();
