# Values of every type, through every feature, and then the search for them in every byte that is left behind: tables, indexes,
# WAL, temporary files of sorts and hashes, statistics, pg_stat_statements, server log, catalogs, audit, dumps. The same values
# in plain columns are found by the same search.
use strict;
use warnings;
use File::Find;
use IPC::Run;
use Immiiq;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $org = 'a1fa0000-0000-4000-8000-000000000000';
my %mark = (
	t => 'Quillfeather-7731', b => '\x51c0ffee0ddba11d5eedf00dcafed00d', i => '7391550284619355', x => '739155028.46193558',
	d => '93171-04-19', z => '95138-11-16 09:46:40.123457+00', j => '{"Oxbridge-key-5512": ["Oxbridge-value-5512", 6174839201]}');
my @columns = sort keys %mark;
my %plain = (t => 'text', b => 'bytea', i => 'int8', x => 'numeric', d => 'date', z => 'timestamptz', j => 'jsonb');

my $node = new_cluster('canary', extension => 1, streaming => 'logical',
	config => "shared_preload_libraries = 'immiiq,pg_stat_statements'\npg_stat_statements.track = all\nlog_statement = all\nlog_min_duration_statement = 0\n"
	  . "log_error_verbosity = verbose\nlog_parameter_max_length = -1\nlog_parameter_max_length_on_error = -1\nlog_temp_files = 0\nlog_lock_waits = on\n"
	  . "work_mem = 64kB\nmaintenance_work_mem = 1MB\nhash_mem_multiplier = 1\nautovacuum = off\nmax_parallel_workers_per_gather = 0\n");
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_stat_statements;
	CREATE TABLE client (org_id uuid NOT NULL DEFAULT immiiq.current_org(), id int, n int CHECK (n < 1000000),
		t enc_text(100,equality,fold,prefix,match), b enc_bytea(equality), i enc_int8(equality,range), x enc_numeric(equality,range), d enc_date(equality,range),
		z enc_timestamptz(equality,range), j enc_jsonb(contains), many enc_text(equality)[], long enc_text(sealed), copy enc_text(100,equality,fold,prefix,match) GENERATED ALWAYS AS (t) STORED,
		PRIMARY KEY (org_id, id));
	CREATE UNIQUE INDEX client_unique ON client (t) WHERE id < 0;
	CREATE INDEX client_tags ON client (t, b, i, x, d, z);
	CREATE INDEX client_hash ON client USING hash (t);
	CREATE INDEX client_tokens ON client USING gin (t, i, x, d, z, j);
	CREATE STATISTICS client_pairs (ndistinct, dependencies) ON t, i FROM client;
	SELECT immiiq.protect('client', NULL);
	CREATE PROCEDURE keep(v text) LANGUAGE sql AS 'INSERT INTO client (id, t) VALUES (3005, v)';
	CREATE ROLE app LOGIN;
	SELECT immiiq.grant_application('app');
	GRANT ALL ON client TO app;
	CREATE PUBLICATION all_of_it FOR TABLE client;
	SELECT immiiq.create_org('Alpha', '} . $org . q{')});
$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('canary', 'pgoutput')");
my $token = $node->safe_psql('postgres', qq{
	BEGIN;
	SELECT FROM immiiq.operate('$org', 'test');
	INSERT INTO immiiq.member (member_id, email, name, scope, modules) VALUES ('$org', 'o\@example', 'Owner', 'all', '{clients,settings}');
	SELECT immiiq.issue_session('$org');
	COMMIT});
$token =~ s/\s//g;
my $enter = "BEGIN; SELECT set_config('immiiq.token', '$token', true) IS NULL;\n";
my @app = ('-U', 'app');

# ---- what is searched for: each value as text, folded, in hexadecimal, base64 and UTF-16, and as PostgreSQL keeps and sends it ----
my @patterns;
sub look_for
{
	my ($what, $bytes, $least) = @_;
	push @patterns, [ $what, $bytes, $least // 1 ];
}
sub look_for_text
{
	my ($what, $text) = @_;
	look_for("$what", $text);
	look_for("$what in lower case", lc $text) if lc $text ne $text;
	look_for("$what in hexadecimal", unpack 'H*', $text);
	look_for("$what in UTF-16, little end first", pack 'v*', unpack 'C*', $text);
	look_for("$what in UTF-16, big end first", pack 'n*', unpack 'C*', $text);
	for my $shift (0 .. 2)
	{
		my $encoded = encode_base64('x' x $shift . $text, '');
		look_for("$what in base64, shifted by $shift", substr $encoded, 4 * ($shift > 0), 4 * int((length($text) - 3) / 3));
	}
}
look_for_text('the text', $mark{t});
look_for('the text, folded', 'quillfeather7731');
look_for_text('a key of the document', 'Oxbridge-key-5512');
look_for_text('a value of the document', 'Oxbridge-value-5512');
look_for('a number of the document', '6174839201');
look_for_text($plain{$_}, $mark{$_}) for qw(i x d);
look_for_text('timestamptz', '95138-11-16');
look_for('bytea in hexadecimal', substr $mark{b}, 2);
look_for_text('bytea', pack 'H*', substr $mark{b}, 2);
# As PostgreSQL sends them; a query that asked it would leave them in the log.
my %sent = (i => pack('q>', 7391550284619355), d => pack('N', 33299632), z => pack('q>', 2939178995200123457));
for my $c (sort keys %sent)
{
	# The four bytes of a date are met by chance now and then, but not three times in one file.
	my $least = length $sent{$c} == 4 ? 3 : 1;
	look_for("$plain{$c} as it is sent", $sent{$c}, $least);
	look_for("$plain{$c} as it is kept", scalar reverse($sent{$c}), $least);
}
my @digits = (7, 3915, 5028, 4619, 3558);
look_for('numeric as it is sent', pack 'n*', @digits);
look_for('numeric as it is kept', pack 'v*', @digits);

# Every file of the server, and what else is given.
sub found
{
	my (%in) = @_;
	my %found;
	my $scan = sub {
		my ($where, $content) = @_;
		for my $pattern (@patterns)
		{
			my ($at, $times) = (-1, 0);
			$times++ while $times < $pattern->[2] && ($at = index($content, $pattern->[1], $at + 1)) >= 0;
			$found{ $pattern->[0] }{$where} = 1 if $times == $pattern->[2];
		}
	};
	find({ no_chdir => 1, wanted => sub { $scan->(substr($_, length $node->data_dir), slurp_file($_)) if -f $_ } }, $node->data_dir);
	$scan->('log', slurp_file($node->logfile));
	$scan->($_, $in{$_}) for keys %in;
	return \%found;
}
sub describe
{
	my ($found) = @_;
	return join "\n", map { my $what = $_; "$what in " . join ', ', sort keys %{ $found->{$what} } } sort keys %$found;
}
is(describe(found()), '', 'before anything is stored nothing is found');

# ---- the values, by every way in ----
my $values = join ', ', map { "'$mark{$_}'" } @columns;
my $typed = join ', ', map { "'$mark{$_}'::$plain{$_}" } @columns;
my $list = join ', ', @columns;
sub app_ok
{
	my ($sql, $name) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $enter . $sql . ";\nCOMMIT;\n", extra_params => \@app);
	return is($err, '', $name);
}
app_ok("INSERT INTO client (id, $list, many) VALUES (1, $values, ARRAY['$mark{t}'])", 'literals');
app_ok("INSERT INTO client (id, $list) SELECT g, $typed FROM generate_series(2, 3000) AS g", 'typed values');
my $row = join "\t", map { s/\\/\\\\/r } map { $mark{$_} } @columns;
$node->safe_psql('postgres', "BEGIN; SELECT FROM immiiq.operate('$org', 'test');\nCOPY client (id, $list) FROM stdin;\n3001\t$row\n\\.\nCOMMIT;\n");
app_ok("INSERT INTO client (id, long) VALUES (3002, repeat('$mark{t} ', 5000)); UPDATE client SET j = j, t = '$mark{t}!', x = x WHERE id = 7", 'long values, and changes');
app_ok("DO \$\$ DECLARE v enc_text := '$mark{t}'; w text := '$mark{t}'; BEGIN INSERT INTO client (id, t) VALUES (3003, v), (3004, w); END \$\$", 'PL/pgSQL');
app_ok("CALL keep('$mark{t}')", 'CALL');
$node->safe_psql('postgres', "BEGIN; SELECT FROM immiiq.operate('$org', 'test'); PREPARE p AS SELECT '$mark{t}', count(*) FROM client WHERE t = '$mark{t}'; EXECUTE p; PREPARE q(text) AS SELECT count(*) FROM client WHERE t = \$1; EXECUTE q('$mark{t}')");
app_ok("EXPLAIN SELECT * FROM client WHERE t = '$mark{t}' AND i = $mark{i} AND j @> '$mark{j}'; COPY (SELECT '$mark{t}', id FROM client WHERE t = '$mark{t}' AND d = '$mark{d}') TO stdout", 'EXPLAIN and COPY of a query');
app_ok("DECLARE c CURSOR FOR SELECT * FROM client WHERE t = '$mark{t}' OR i = $mark{i} OR z = '$mark{z}'; FETCH 10 FROM c", 'a cursor');
my $script = PostgreSQL::Test::Utils::tempdir() . '/bound.sql';
my %conditions = (t => "t = V OR t LIKE '%' || V || '%' OR t ^@ V", b => 'b = V', i => 'i = V OR i BETWEEN V AND V', x => 'x = V OR x > V', d => 'd IN (V) OR d <= V', z => 'z = V OR z >= V', j => 'j @> V');
append_to_file($script, "BEGIN;\nSELECT set_config('immiiq.token', :token, true);\nINSERT INTO client (id, $list) VALUES (:id, " . join(', ', map { ":$_" } @columns) . ");\n"
	  . join('', map { my $c = $_; "SELECT count(*) FROM client WHERE " . ($conditions{$c} =~ s/\bV\b/:$c/gr) . ";\n" } @columns) . "COMMIT;\n");
for my $mode ('extended', 'prepared')
{
	my @variables = map { ('-D', "$_=$mark{$_}") } @columns;
	command_ok([ 'pgbench', '-n', '-t', '1', '-M', $mode, '-f', $script, '-D', "token=$token", '-D', 'id=' . ($mode eq 'extended' ? 4001 : 4002), @variables, '-U', 'app', '-h', $node->host, '-p', $node->port, 'postgres' ],
		"bound parameters, $mode");
}
app_ok(join(";\n", map { my $c = $_; 'SELECT count(*) FROM client WHERE ' . ($conditions{$c} =~ s/\bV\b/'$mark{$c}'/gr) } @columns), 'literals in searches');

# ---- errors that would repeat a row or a key ----
for my $wrong ("INSERT INTO client (id, n, $list) VALUES (5001, 2000000, $values)", "INSERT INTO client (id, t) VALUES (-1, '$mark{t}'), (-2, '$mark{t}')",
	"INSERT INTO client (org_id, id, $list) VALUES (NULL, 1, $values)", "SELECT 1 / (id - id) FROM client WHERE t = '$mark{t}'", "SELECT t::text::int FROM client", "SELECT j::text::date FROM client")
{
	my ($status, $out, $err) = $node->psql('postgres', $enter . $wrong, extra_params => \@app);
	like($err, qr/ERROR/, 'an error: ' . substr $wrong, 0, 40);
}

# ---- what sorts and hashes write while they are at work ----
my @cursors = ('SELECT * FROM client ORDER BY id DESC', 'SELECT a.id, b.* FROM client AS a JOIN client AS b ON a.t = b.t AND a.id = b.id', 'SELECT t, b, i, x, d, z, id, count(*) FROM client GROUP BY t, b, i, x, d, z, id',
	'SELECT *, row_number() OVER (PARTITION BY t, i) FROM client', 'WITH all_of_it AS MATERIALIZED (SELECT * FROM client) SELECT * FROM all_of_it AS a, all_of_it AS b', 'SELECT DISTINCT id, t, b, i, x, d, z FROM client');
my ($in, $out, $err) = ('', '', '');
my $session = IPC::Run::start([ 'psql', '-X', '-q', '-A', '-t', '-d', $node->connstr('postgres'), '-U', 'app' ], '<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
$in = $enter . "SET enable_mergejoin = off; SET enable_nestloop = off; SET enable_indexscan = off;\n" . join('', map { "DECLARE c$_ CURSOR FOR $cursors[$_];\n" } 0 .. $#cursors)
  . join('', map { "MOVE 600 FROM c$_;\n" } 0 .. $#cursors) . "SELECT 'ready';\n";
$session->pump until $out =~ /ready/ || $err;
is($err, '', 'cursors over sorts, hashes, windows and stored results are open');
my $temporary = `find '@{[$node->data_dir]}/base/pgsql_tmp' -type f | wc -l`;
cmp_ok($temporary, '>=', 4, 'and have written temporary files');
is(describe(found()), '', 'nothing is in any file now');
$in = "COMMIT;\n\\q\n";
$session->finish;

# ---- maintenance, rotation, decoding, dumps ----
$node->safe_psql('postgres', 'ANALYZE; REINDEX TABLE client; CREATE INDEX client_sorted ON client (z, d, x, i, b, t)');
$node->safe_psql('postgres', "CALL immiiq.rotate_key('$org')");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM immiiq.rekey'), 'the keys are rotated');
$node->safe_psql('postgres', 'VACUUM FULL client; ANALYZE client; CHECKPOINT');
my %more = (
	decoded => $node->safe_psql('postgres', "SELECT encode(data, 'escape') FROM pg_logical_slot_peek_binary_changes('canary', NULL, NULL, 'proto_version', '1', 'publication_names', 'all_of_it')"),
	statements => $node->safe_psql('postgres', 'SELECT string_agg(query, chr(10)) FROM pg_stat_statements'),
	dump => (run_command([ 'pg_dump', '-d', $node->connstr('postgres') ]))[0],
	statistics => $node->safe_psql('postgres', "SELECT string_agg(s::text, '') FROM pg_stats AS s"),
	entries => $node->safe_psql('postgres', "SELECT string_agg(e::text, '') FROM immiiq.entry AS e"));
cmp_ok(length $more{decoded}, '>', 1000000, 'there is something to look at in what is decoded');
like($more{statements}, qr/FROM client WHERE/, 'and in pg_stat_statements');
like($more{dump}, qr/iq1:/, 'and in the dump');
is(describe(found(%more)), '', 'nothing is found, in no table, index, WAL, statistics, log, dump or audit');
$node->stop('immediate');
is(describe(found(%more)), '', 'nor after a crash');
$node->start;

# ---- the same values in plain columns ----
$node->safe_psql('postgres', 'CREATE TABLE plain (' . join(', ', map { "$_ $plain{$_}" } @columns) . ", folded text);
	INSERT INTO plain ($list, folded) SELECT $values, 'quillfeather7731' FROM generate_series(1, 3);
	CREATE TABLE forms (v bytea)");
$node->safe_psql('postgres', 'INSERT INTO forms VALUES ' . join ', ', map { "('\\x" . unpack('H*', $_->[1] x $_->[2]) . "')" } @patterns);
$node->safe_psql('postgres', 'CHECKPOINT');
my $plainly = found(dump => (run_command([ 'pg_dump', '-d', $node->connstr('postgres'), '-t', 'plain' ]))[0]);
is(scalar(grep { !$plainly->{ $_->[0] } } @patterns), 0, 'in plain columns every form is found');
my $heap = $node->safe_psql('postgres', "SELECT pg_relation_filepath('plain')");
for my $what ('the text', 'a key of the document', 'bytea', 'int8 as it is kept', 'numeric as it is kept', 'date as it is kept', 'timestamptz as it is kept')
{
	ok($plainly->{$what}{"/$heap"}, "$what in the plain table's own file");
}
ok($plainly->{'the text'}{log} && $plainly->{'the text'}{dump} && grep({ /pg_wal/ } keys %{ $plainly->{'the text'} }), 'and in log, dump and WAL');
$node->stop;
done_testing();
