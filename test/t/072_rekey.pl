# Rotation under load: killed in the sweep and in the index phase, the server's crash in between; searches, unique
# values and writes stay right. Then what a dump of before is worth: nothing without its wrapped keys, and nothing at all
# once its root key is gone.
use strict;
use warnings;
use Immiiq;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $first = '11' x 32;
my $second = '22' x 32;
my $rows = 5000;
my $deeds = 1000;
my $node = new_cluster('rekey', extension => 1, root_key => "first $first", config => "restart_after_crash = on\nfsync = on");
my $org = $node->safe_psql('postgres', "SELECT immiiq.create_org('Harbour')");
my $other = $node->safe_psql('postgres', "SELECT immiiq.create_org('Other')");
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE person (org_id uuid NOT NULL, id int, name enc_text(1, equality), note enc_text(2, sealed), n int DEFAULT 0, PRIMARY KEY (org_id, id), UNIQUE (org_id, name));
CREATE TABLE letter (id int PRIMARY KEY, body enc_text(3, sealed), n int DEFAULT 0);
CREATE TABLE deed (org_id uuid NOT NULL, id int PRIMARY KEY, name enc_text(4, prefix, match), day enc_date(5, range), amount enc_int8(6, equality, range), doc enc_jsonb(7, contains), n int DEFAULT 0);
CREATE INDEX ON deed USING gin (name, day, amount, doc);
CREATE TABLE wrong (at timestamptz DEFAULT now(), what text);
CREATE TABLE right_ (what text);
CREATE FUNCTION key_of(armour text) RETURNS int8 LANGUAGE sql IMMUTABLE AS \$\$
    SELECT ('x' || encode(substr(decode(translate(substr(armour, 5, 12), '-_', '+/'), 'base64'), 5, 4), 'hex'))::bit(32)::int8 \$\$;
CREATE FUNCTION tag_of(armour text) RETURNS bytea LANGUAGE sql IMMUTABLE AS \$\$
    SELECT substr(decode(translate(substr(armour, 5, 32), '-_', '+/'), 'base64'), 9, 16) \$\$;
-- Of a value without a tag: its list of tokens.
CREATE FUNCTION tokens_of(armour text) RETURNS SETOF bytea LANGUAGE sql IMMUTABLE AS \$\$
    SELECT substr(b, 13 + 4 * i, 4) FROM (SELECT decode(translate(rpad(substr(armour, 5), (length(armour) - 4 + 3) / 4 * 4, '='), '-_', '+/'), 'base64') AS b) AS v,
        generate_series(0, (get_byte(b, 9) << 16 | get_byte(b, 10) << 8 | get_byte(b, 11)) - 1) AS i \$\$;
BEGIN;
SELECT immiiq.operate('$org', 'test');
INSERT INTO person SELECT '$org', i, 'name ' || i, 'note ' || i FROM generate_series(1, $rows) AS i;
INSERT INTO letter SELECT i, 'letter ' || i FROM generate_series(1, $rows) AS i;
INSERT INTO deed SELECT '$org', i, 'deed ' || i || ' of the harbour', date '1950-01-01' + i, i * 1000::int8, jsonb_build_object('id', i, 'kind', 'deed') FROM generate_series(1, $deeds) AS i;
INSERT INTO person VALUES ('$org', $rows + 1, 'held');
INSERT INTO deed VALUES ('$org', $rows + 1, 'held', '1900-01-01', -1, '{}');
INSERT INTO letter VALUES ($rows + 1, 'letter held');
COMMIT;
BEGIN;
SELECT immiiq.operate('$other', 'test');
INSERT INTO person SELECT '$other', i, 'name ' || i, 'note ' || i FROM generate_series(1, 100) AS i;
COMMIT;
SQL

# One client at work, until it is told to stop: every transaction searches, writes, and tries to write twice.
my $load = sub {
	my ($client) = @_;
	return <<"SQL";
DO \$\$
DECLARE
    k int;
    found int;
    ids int[];
    read text;
BEGIN
    SET enable_seqscan = off;
    FOR i IN 1..100000 LOOP
        PERFORM immiiq.operate('$org', 'load');
        k := 1 + floor(random() * $rows);
        SELECT count(*) INTO found FROM person WHERE org_id = '$org' AND name = 'name ' || k;
        IF found <> 1 THEN
            INSERT INTO wrong (what) VALUES ('found ' || found || ' of ' || k);
        END IF;
        UPDATE person SET n = n + 1 WHERE org_id = '$org' AND name = 'name ' || k RETURNING note::text INTO read;
        IF read IS DISTINCT FROM 'note ' || k THEN
            INSERT INTO wrong (what) VALUES ('changed ' || coalesce(read, 'nothing'));
        END IF;
        UPDATE letter SET n = n + 1, body = CASE WHEN k % 2 = 0 THEN body ELSE ('letter ' || k)::enc_text(3, sealed) END WHERE id = k RETURNING body::text INTO read;
        IF read IS DISTINCT FROM 'letter ' || k THEN
            INSERT INTO wrong (what) VALUES ('letter ' || coalesce(read, 'none'));
        END IF;
        k := 1 + k % $deeds;
        CASE i % 5
            WHEN 0 THEN SELECT array_agg(id) INTO ids FROM deed WHERE name LIKE '%eed ' || k || ' of%';
            WHEN 1 THEN SELECT array_agg(id) INTO ids FROM deed WHERE name ^@ ('deed ' || k || ' ');
            WHEN 2 THEN SELECT array_agg(id) INTO ids FROM deed WHERE day BETWEEN date '1950-01-01' + k AND date '1950-01-01' + k;
            WHEN 3 THEN SELECT array_agg(id) INTO ids FROM deed WHERE amount BETWEEN k * 1000::int8 - 999 AND k * 1000::int8 + 999;
            ELSE SELECT array_agg(id) INTO ids FROM deed WHERE doc @> jsonb_build_object('id', k);
        END CASE;
        IF ids IS DISTINCT FROM ARRAY[k] THEN
            INSERT INTO wrong (what) VALUES ('deed ' || k || ' by ' || i % 5 || ': ' || coalesce(ids::text, 'none'));
        END IF;
        UPDATE deed SET n = n + 1, name = CASE WHEN k % 2 = 0 THEN name ELSE ('deed ' || k || ' of the harbour')::enc_text(4, prefix, match) END,
            day = CASE WHEN k % 3 = 0 THEN day ELSE (date '1950-01-01' + k)::enc_date(5, range) END WHERE id = k;
        BEGIN
            k := 1 + floor(random() * $rows);
            INSERT INTO person VALUES ('$org', -k, 'name ' || k);
            INSERT INTO wrong (what) VALUES ('twice ' || k);
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
        INSERT INTO person VALUES ('$org', nextval('next_id'), 'new $client ' || i || clock_timestamp());
        INSERT INTO right_ VALUES ('$client');
        COMMIT;
        EXIT WHEN EXISTS (SELECT FROM pg_class WHERE relname = 'stop');
    END LOOP;
END
\$\$;
SQL
};
$node->safe_psql('postgres', "CREATE SEQUENCE next_id START 1000000");
my @clients;
sub start_load
{
	for my $client (1 .. 2)
	{
		my $session = { out => '', err => '' };
		$session->{run} = IPC::Run::start(
			[ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', $load->($client) ],
			'>', \$session->{out}, '2>', \$session->{err});
		push @clients, $session;
	}
}

my $dump = $node->basedir . '/before.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'a dump is taken before');
$node->safe_psql('postgres', "CREATE TABLE before AS SELECT id, name::text AS armour FROM person WHERE org_id = '$org';
	CREATE TABLE deed_before AS SELECT id, name::text AS name, day::text AS day, doc::text AS doc FROM deed");

sub driver { return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'immiiq rekey'"); }

# Rotates under load, kills the driver while it waits for a row of this table that somebody holds, and waits for the end.
sub rotate_and_kill
{
	my ($what, $phase, $table) = @_;
	my ($held, $held_err) = ('', '');
	my $holder = IPC::Run::start(
		[ 'psql', '-X', '-q', '-A', '-t', '-d', $node->connstr('postgres'), '-c', "BEGIN", '-c', "SELECT 'held' FROM $table WHERE id = $rows + 1 FOR UPDATE", '-c', 'SELECT pg_sleep(600)' ],
		'>', \$held, '2>', \$held_err);
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'") or die;
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM right_');
	start_load();
	$node->poll_query_until('postgres', "SELECT count(*) > $before + 20 FROM right_") or die;
	$node->safe_psql('postgres', "SELECT immiiq.rekey_start('$org'); SELECT immiiq.rekey_drive()");
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM immiiq.rekey_state() AS s, pg_stat_activity AS a WHERE s.phase = '$phase' AND a.backend_type = 'immiiq rekey' AND a.wait_event_type = 'Lock' AND a.wait_event <> 'object'"),
		"$what: it is at work");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM immiiq.rekey'), '1', "$what: the rotation is not over");
	my $offset = -s $node->logfile;
	kill 'KILL', driver();
	ok($node->wait_for_log(qr/database system is ready to accept connections/, $offset), "$what: killed, the server comes back");
	$_->finish for $holder, map { $_->{run} } @clients;
	@clients = ();
	$node->poll_query_until('postgres', 'SELECT true');
	$before = $node->safe_psql('postgres', 'SELECT count(*) FROM right_');
	start_load();
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM immiiq.rekey'), "$what: the worker takes it up and it ends");
	ok($node->poll_query_until('postgres', "SELECT count(*) > $before + 20 FROM right_"), "$what: the load goes on");
	$node->safe_psql('postgres', 'CREATE TABLE stop ()');
	for my $session (@clients)
	{
		$session->{run}->finish;
		is($session->{err}, '', "$what: no client met an error");
	}
	@clients = ();
	$node->safe_psql('postgres', 'DROP TABLE stop');
	is($node->safe_psql('postgres', 'SELECT what, count(*) FROM wrong GROUP BY 1 LIMIT 5'), '', "$what: nobody read or wrote anything wrong");
	is($node->safe_psql('postgres', <<"SQL"), "0", "$what: no value is under a key that is gone");
SELECT count(*) FROM (SELECT name::text AS v FROM person UNION ALL SELECT note::text FROM person UNION ALL SELECT body::text FROM letter
    UNION ALL SELECT unnest(ARRAY[name::text, day::text, amount::text, doc::text]) FROM deed) AS a
WHERE v IS NOT NULL AND key_of(v) NOT IN (SELECT key_id FROM immiiq.wrapped_key)
SQL
	is($node->safe_psql('postgres', <<"SQL"), "$rows|$rows|100|$deeds|$deeds|$deeds|$deeds|$deeds", "$what: every value opens and is found");
SET enable_seqscan = off;
BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset
SELECT (SELECT count(*) FROM generate_series(1, $rows) AS i JOIN person AS p ON p.org_id = '$org' AND p.name = 'name ' || i WHERE p.note::text = 'note ' || i),
    (SELECT count(*) FROM letter WHERE body::text = 'letter ' || id),
    (SELECT count(*) FROM person WHERE org_id = '$other' AND name::text LIKE 'iq1:%'),
    (SELECT count(*) FROM generate_series(1, $deeds) AS i, LATERAL (SELECT id FROM deed WHERE name LIKE '%eed ' || i || ' of%') AS d WHERE d.id = i),
    (SELECT count(*) FROM generate_series(1, $deeds) AS i, LATERAL (SELECT id FROM deed WHERE name ^@ ('deed ' || i || ' ')) AS d WHERE d.id = i),
    (SELECT count(*) FROM generate_series(1, $deeds) AS i, LATERAL (SELECT id FROM deed WHERE day BETWEEN date '1950-01-01' + i AND date '1950-01-01' + i) AS d WHERE d.id = i),
    (SELECT count(*) FROM generate_series(1, $deeds) AS i, LATERAL (SELECT id FROM deed WHERE amount > i * 1000::int8 - 1 AND amount < i * 1000::int8 + 1) AS d WHERE d.id = i),
    (SELECT count(*) FROM generate_series(1, $deeds) AS i, LATERAL (SELECT id FROM deed WHERE doc @> jsonb_build_object('id', i)) AS d WHERE d.id = i);
COMMIT;
SQL
}

rotate_and_kill('in the sweep', 'sweep', 'letter');
rotate_and_kill('in the index phase', 'index', 'deed');
is($node->safe_psql('postgres', "SELECT count(*) FROM immiiq.key_event WHERE org_id = '$org'"), '2', 'two rotations, two events');
is($node->safe_psql('postgres', "SELECT count(*) FROM before AS b JOIN person AS p ON tag_of(b.armour) = tag_of(p.name::text) WHERE p.org_id = '$org'"), '0',
	'no tag of before is a tag of now');
for my $column ('name', 'day', 'doc')
{
	my $shared = "(SELECT tokens_of(b.$column) INTERSECT SELECT tokens_of(d.$column\::text))";
	is($node->safe_psql('postgres', "SELECT count(*) FROM deed_before AS b JOIN deed AS d USING (id) WHERE EXISTS $shared"), '0', "no value of $column has a token that it had before");
	is($node->safe_psql('postgres', "SELECT count(*) FROM deed AS b JOIN deed AS d USING (id) WHERE EXISTS " . $shared =~ s/b\.$column/b.$column\::text/r), $deeds + ($column ne 'doc'),
		"beside those that it has");
}

# ---- the dump, without its wrapped keys ----
$node->safe_psql('postgres', "CREATE TABLE pasted (id int, name enc_text(1, equality)); INSERT INTO pasted SELECT id, armour FROM before WHERE id <= 100");
is($node->safe_psql('postgres', <<"SQL"), '100|0', 'envelopes of before neither open nor are found, although the root key of then is there');
BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset
SELECT (SELECT count(*) FROM pasted WHERE name::text LIKE 'iq1:%'), (SELECT count(*) FROM pasted AS d, generate_series(1, $rows) AS i WHERE d.name = 'name ' || i);
COMMIT;
SQL

# ---- the dump, with its wrapped keys ----
sub reload_keys
{
	my $offset = -s $node->logfile;
	write_root_key($node, @_);
	$node->reload;
	ok($node->wait_for_log(qr/loaded \d root key/, $offset), 'root keys are reloaded');
}
sub restored
{
	my ($database) = @_;
	my ($out, $err);
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->command_ok([ 'pg_restore', '-d', $node->connstr($database), $dump ], 'the dump is restored');
	$node->psql($database, "BEGIN; SELECT FROM immiiq.operate('$org', 'test'); SELECT count(*) FROM person WHERE org_id = '$org' AND name = 'name 7' AND note::text = 'note 7'; COMMIT",
		stdout => \$out, stderr => \$err, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return ($out // '') . ($err // '');
}
like(restored('early'), qr/^1$/m, 'with the root key of then a dump opens');
reload_keys("first $first", "second $second");
my $wrapped = $node->safe_psql('postgres', "SELECT count(*) FROM immiiq.wrapped_key WHERE root_id = 'first'");
is($node->safe_psql('postgres', 'SELECT immiiq.rewrap_keys()'), $wrapped, 'rewrap_keys wraps every key');
is($node->safe_psql('postgres', "SELECT count(*) FROM immiiq.wrapped_key WHERE root_id <> 'second'"), '0', 'none is left under the old root key');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM immiiq.rekey'), 'what was replaced is overwritten');
reload_keys("second $second");
like(restored('late'), qr/IQ002: root key is missing or wrong/, 'without it, it does not');
$node->safe_psql('late', "ALTER TABLE immiiq.wrapped_key DISABLE TRIGGER ALL");
$node->safe_psql('postgres', "COPY (SELECT * FROM immiiq.wrapped_key WHERE org_id = '$org' AND purpose IN ('data', 'index')) TO '" . $node->basedir . "/keys'");
$node->safe_psql('postgres', "COPY (SELECT * FROM immiiq.root_key WHERE root_id = 'second') TO '" . $node->basedir . "/roots'");
$node->safe_psql('late', "COPY immiiq.root_key FROM '" . $node->basedir . "/roots'; COPY immiiq.wrapped_key FROM '" . $node->basedir . "/keys'");
my ($out, $err) = ('', '');
$node->psql('late', "BEGIN; SELECT FROM immiiq.operate('$org', 'test'); SELECT 'found', count(*) FROM person WHERE org_id = '$org' AND name = 'name 7'; SET LOCAL enable_seqscan = off;
	SELECT 'found', count(*) FROM deed WHERE name LIKE '%harbour%'; SELECT 'found', count(*) FROM deed WHERE name ^@ 'deed'; SELECT 'found', count(*) FROM deed WHERE doc @> '{\"kind\": \"deed\"}';
	SELECT 'found', count(*) FROM deed, generate_series(1, $deeds) AS i WHERE amount = (i * 1000)::int8;
	SELECT note FROM person WHERE org_id = '$org' AND id = 7; COMMIT",
	stdout => \$out, stderr => \$err);
unlike($out . $err, qr/found\|[1-9]|note 7/, 'and with the keys of today neither opens nor is anything found');
is(scalar(() = $out =~ /^found\|0$/mg), 5, 'by equality, LIKE, ^@, @> and every number that there may be') or diag($err);
is($node->safe_psql('postgres', "BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset\nSELECT count(*) FROM person WHERE org_id = '$org' AND name = 'name 7'; COMMIT"), '1',
	'the living database works under the new root key');

# A root key that goes too early: everything says so, rewrap_keys changes nothing, and it comes back.
reload_keys("third " . '33' x 32);
($out, $err) = ('', '');
$node->psql('postgres', 'SELECT immiiq.rewrap_keys()', stdout => \$out, stderr => \$err, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($err, qr/IQ002/, 'a root key dropped too early is missed by rewrap_keys');
is($node->safe_psql('postgres', "SELECT count(*) FROM immiiq.wrapped_key WHERE root_id <> 'second'"), '0', 'which changes nothing');
reload_keys("second $second", "third " . '33' x 32);
$node->safe_psql('postgres', 'SELECT immiiq.rewrap_keys()');
is($node->safe_psql('postgres', "SELECT count(*) FROM immiiq.wrapped_key WHERE root_id <> 'third'"), '0', 'and back again, all are wrapped anew');
done_testing();
