# Sealed columns of every type with every kind of token, under the tools of a DBA who has no key: indexes, maintenance,
# checks, dumps in every format, base backup, standby, pg_upgrade. Afterwards, with the key, every search finds what it found before.
use strict;
use warnings;
use Immiiq;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $org = 'a1fa0000-0000-4000-8000-000000000000';
my $root = 'test-1 ' . join('', map { sprintf '%02x', $_ } 0 .. 31);
my $node = new_cluster('keyless_primary', extension => 1, streaming => 1, root_key => $root,
	config => "autovacuum = off\nautovacuum_naptime = 1s\nlog_autovacuum_min_duration = 0\n");
$node->safe_psql('postgres', q{
	CREATE EXTENSION amcheck;
	CREATE TABLE client (
		org_id uuid NOT NULL DEFAULT immiiq.current_org(), id int, n int,
		t enc_text(equality), f enc_text(equality,fold), p enc_text(prefix), m enc_text(match), b enc_bytea(equality),
		i enc_int8(equality,range), x enc_numeric(equality,range), d enc_date(equality,range), z enc_timestamptz(equality,range), j enc_jsonb(contains),
		PRIMARY KEY (org_id, id), UNIQUE (org_id, t));
	CREATE TABLE plain AS SELECT NULL::int AS id, NULL::text AS t, NULL::text AS f, NULL::text AS p, NULL::text AS m, NULL::bytea AS b, NULL::int8 AS i,
		NULL::numeric AS x, NULL::date AS d, NULL::timestamptz AS z, NULL::jsonb AS j WHERE false;
	SELECT immiiq.protect('client', NULL);
	CREATE ROLE app LOGIN;
	SELECT immiiq.grant_application('app');
	GRANT ALL ON client, plain TO app;
	SELECT immiiq.create_org('Alpha', '} . $org . q{');
	INSERT INTO plain SELECT k, 'text ' || k, 'Földed-' || k, 'AB-' || lpad(k::text, 5, '0'), 'matched ' || k || ' ' || md5(k::text), int4send(k), k * 7919 - 100000, k / 8.0,
		date '1950-01-01' + k, timestamptz '2000-01-01 00:00+00' + k * interval '7 hours', jsonb_build_object('id', k, 'tags', jsonb_build_array('t' || k % 7))
		FROM generate_series(1, 2000) AS k});
my $token = $node->safe_psql('postgres', qq{
	BEGIN;
	SELECT FROM immiiq.operate('$org', 'test');
	INSERT INTO immiiq.member (member_id, email, name, scope, modules) VALUES ('$org', 'o\@example', 'Owner', 'all', '{clients}');
	INSERT INTO client SELECT '$org', id, id, t, f, p, m, b, i, x, d, z, j FROM plain;
	SELECT immiiq.issue_session('$org');
	COMMIT});
$token =~ s/\s//g;

# What is searched for, by every word of every type; as it is asked of the plain twin where that differs.
my @conditions = (
	[ "t = 'text 7'" ], [ "t IN ('text 8', 'text 9', 'none')" ], [ "f = 'FOLDED 77'", "f = 'Földed-77'" ], [ "p ^\@ 'AB-0012'" ], [ "p LIKE 'AB-0039%'" ],
	[ "m LIKE '%tched 39%'" ], [ "m ILIKE '%ED 123 %'" ], [ "b = '\\x00000011'" ], [ "i = '7919' OR i = '-92081'" ], [ "i BETWEEN 0 AND 30000" ], [ "x = 12.50" ], [ "x > 49 AND x <= 49.5" ],
	[ "d = '1950-02-01'" ], [ "d > '1950-01-01' AND d < '1950-01-09'" ], [ "z = '2000-01-01 14:00+00'" ], [ "z BETWEEN '2000-02-01' AND '2000-02-03'" ], [ "j \@> '{\"id\": 99}'" ], [ "j \@> '{\"tags\": [\"t3\"]}'" ]);
my $enter = "BEGIN; SELECT set_config('immiiq.token', '$token', true) IS NULL;";
my $want = join "\n", 'f', map { my $c = $_->[1] // $_->[0]; $node->safe_psql('postgres', "SELECT array_agg(id ORDER BY id) FROM plain WHERE $c") } @conditions;

# All of them by index, as a member; and once more whether an index was used for each.
sub finds
{
	my ($node, $database, $name) = @_;
	my @app = (extra_params => [ '-U', 'app' ]);
	my $found = $node->safe_psql($database, "$enter SET LOCAL enable_seqscan = off;"
		  . join('', map { "SELECT array_agg(id ORDER BY id) FROM client WHERE $_->[0];" } @conditions) . 'COMMIT', @app);
	is($found, $want, "$name: every search finds what it found before");
	$node->safe_psql($database, 'ANALYZE client') if $node->safe_psql($database, 'SELECT NOT pg_is_in_recovery()') eq 't';
	my $plans = $node->safe_psql($database, "$enter SET LOCAL enable_seqscan = off; SET LOCAL enable_indexonlyscan = off;"
		  . join('', map { "EXPLAIN (COSTS off) SELECT id FROM client WHERE $_->[0]; SELECT '#';" } @conditions) . 'COMMIT', @app);
	my @without = grep { (split /^#$/m, $plans)[$_] !~ /Index Scan (using|on) client_(t|f|p|m|b|i|x|d|z|j|org_id_t)_/ } 0 .. $#conditions;
	return is(join(', ', map { $conditions[$_]->[0] } @without), '', "$name: each by an index of its column");
}
# Runs a client program against a node; what it complains of follows when it fails.
sub runs_ok
{
	my ($target, $command, $name) = @_;
	local %ENV = $target->_get_env();
	my $said = '';
	return ok(IPC::Run::run($command, '>&', \$said), $name) || diag($said);
}
sub statement_ok
{
	my ($sql, $name) = @_;
	my ($status, undef, $err) = $node->psql('postgres', $sql);
	return is($err, '', $name);
}

# ---- from here on the server has no root key ----
sub use_key
{
	my ($target, $file) = @_;
	$target->append_conf('postgresql.conf', "immiiq.root_key_file = '$file'");
	$target->restart;
}
use_key($node, '');
my (undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$enter SELECT count(*) FROM client WHERE t = 'text 7'; COMMIT", extra_params => [ '-U', 'app' ]);
like($err, qr/IQ002/, 'without the root key nothing is searched');
my $armour = 'SELECT md5(string_agg(c::text, chr(10) ORDER BY id)), bool_and(concat(t, f, p, m, b, i, x, d, z, j) ~ \'^(iq1:[A-Za-z0-9_-]+){10}$\') FROM client AS c';
my $envelopes = $node->safe_psql('postgres', $armour);
like($envelopes, qr/\|t$/, 'and nothing is opened');

my %columns = (btree => [qw(t f b i x d z)], hash => [qw(t f b i x d z)], gin => [qw(p m i x d z j)]);
for my $method (sort keys %columns)
{
	statement_ok(join(';', map { "CREATE INDEX client_${_}_$method ON client USING $method ($_)" } @{ $columns{$method} }), "CREATE INDEX by $method");
}
statement_ok('CREATE INDEX CONCURRENTLY client_t_wide ON client (org_id, t) INCLUDE (m, j)', 'CREATE INDEX CONCURRENTLY with covered columns');
statement_ok('REINDEX TABLE CONCURRENTLY client', 'REINDEX CONCURRENTLY');
statement_ok('CREATE TABLE loose (LIKE client); INSERT INTO loose SELECT * FROM client; CREATE INDEX ON loose USING gin (m, j); CREATE UNIQUE INDEX ON loose (org_id, t);
	UPDATE loose SET n = n + 1; DELETE FROM loose WHERE id > 1900', 'rows copied, changed and deleted where nothing is audited');
statement_ok('VACUUM FULL client', 'VACUUM FULL');
statement_ok('CLUSTER client USING client_f_btree', 'CLUSTER by an index of tags');
statement_ok('ANALYZE client', 'ANALYZE');
is($node->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE most_common_vals IS NOT NULL OR histogram_bounds IS NOT NULL OR correlation IS NOT NULL OR most_common_elems IS NOT NULL)
	FROM pg_stats WHERE tablename = 'client' AND length(attname) = 1 AND attname <> 'n'}), '10|0', 'which keeps no value and no order of any sealed column');
$node->append_conf('postgresql.conf', 'autovacuum = on');
$node->reload;
ok($node->poll_query_until('postgres', "SELECT autovacuum_count > 0 AND autoanalyze_count > 0 FROM pg_stat_user_tables WHERE relname = 'loose'"), 'autovacuum and autoanalyze');
runs_ok($node, [ 'pg_amcheck', '-d', 'postgres', '-t', 'client', '-t', 'loose', '--heapallindexed', '--parent-check', '--rootdescend', '--no-strict-names' ], 'pg_amcheck, with every row looked up in every index');
is($node->safe_psql('postgres', $armour), $envelopes, 'every envelope is as it was');

# ---- dumps in every format, restored into a database without a key ----
my $file = $node->basedir . '/dump';
my %jobs = (c => ['-j3'], d => ['-j3'], t => [], p => []);
for my $format (sort keys %jobs)
{
	runs_ok($node, [ 'pg_dump', "-F$format", ($format eq 'd' ? '-j2' : ()), '-f', "$file.$format", 'postgres' ], "pg_dump -F$format");
	$node->safe_psql('postgres', "CREATE DATABASE from_$format");
	runs_ok($node, $format eq 'p' ? [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', "from_$format", '-f', "$file.p" ]
		: [ 'pg_restore', '--exit-on-error', @{ $jobs{$format} }, '-d', "from_$format", "$file.$format" ], "restored from -F$format @{$jobs{$format}}");
	is($node->safe_psql("from_$format", $armour), $envelopes, "with every envelope as it was");
}
(undef, undef, $err) = $node->psql('from_c', "\\set VERBOSITY verbose\n$enter SELECT id FROM client WHERE t = 'text 7'; COMMIT", extra_params => [ '-U', 'app' ]);
like($err, qr/IQ002/, 'what was restored is not searched without the key');

# ---- base backup, standby ----
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('keyless_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->safe_psql('postgres', 'UPDATE loose SET n = n + 1; REINDEX INDEX client_m_gin');
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $armour), $node->safe_psql('postgres', $armour), 'a standby without a key replays');

# ---- with the key ----
use_key($node, root_key_file($node));
finds($node, 'postgres', 'primary');
finds($node, "from_$_", "restored from -F$_") for sort keys %jobs;
use_key($standby, root_key_file($node));
$node->wait_for_catchup($standby);
finds($standby, 'postgres', 'standby');
$standby->stop;

# ---- pg_upgrade, to the same major version ----
$node->safe_psql('postgres', "DROP DATABASE from_$_") for sort keys %jobs;
$node->stop;
my $upgraded = new_cluster('keyless_upgraded', root_key => 0, start => 0, streaming => 1);
my $bin = $node->config_data('--bindir');
my $here = $upgraded->basedir;
runs_ok($node, [ 'sh', '-c', "cd '$here' && pg_upgrade --no-sync -U postgres -b '$bin' -B '$bin' -d '" . $node->data_dir . "' -D '" . $upgraded->data_dir . "' -s '" . $node->host . "'" ], 'pg_upgrade without a key')
	or diag(map { slurp_file($_) } glob($upgraded->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_dump_*.log'));
$upgraded->start;
is($upgraded->safe_psql('postgres', $armour), do { $node->start; my $r = $node->safe_psql('postgres', $armour); $node->stop; $r }, 'every envelope is as it was');
use_key($upgraded, root_key_file($node));
finds($upgraded, 'postgres', 'upgraded');
runs_ok($upgraded, [ 'pg_dump', '-Fc', '-f', "$file.upgraded", 'postgres' ], 'and can be dumped');
$upgraded->safe_psql('postgres', 'CREATE DATABASE again');
runs_ok($upgraded, [ 'pg_restore', '--exit-on-error', '-j3', '-d', 'again', "$file.upgraded" ], 'and restored');
finds($upgraded, 'again', 'restored from the upgraded');
$upgraded->stop;

done_testing();
