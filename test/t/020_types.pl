# Sealed values across servers: dump and restore without a key, logical replication, and what stands on the disk.
use strict;
use warnings;
use File::Find;
use Immiiq;
use PostgreSQL::Test::Utils;
use Test::More;

my $org = 'a1fa0000-0000-4000-8000-000000000000';
my $marker = 'Zwiebelfisch';
my $operate = "BEGIN; SELECT FROM immiiq.operate('$org', 'test');";

my $node = new_cluster('origin', extension => 1, streaming => 'logical');
$node->safe_psql('postgres', qq(
	CREATE TABLE client (org_id uuid NOT NULL DEFAULT immiiq.current_org(), id int, name enc_text(7,equality,fold,match), born enc_date(8,equality,range),
		note enc_text('domain=9',sealed) DEFAULT 'none', tags enc_text(10,equality)[], doc enc_jsonb(12,contains), amount enc_numeric(13,range),
		PRIMARY KEY (org_id, name));
	CREATE TABLE trip (org_id uuid NOT NULL DEFAULT immiiq.current_org(), id int PRIMARY KEY, name enc_text(7,equality,fold,match),
		FOREIGN KEY (org_id, name) REFERENCES client);
	CREATE INDEX ON client USING hash (born);
	CREATE INDEX ON client USING gin (name, born, doc, amount);
	CREATE DOMAIN passport AS enc_text(11,equality);
	CREATE TABLE holder (id int, p passport UNIQUE);
	CREATE VIEW listed WITH (security_invoker) AS SELECT * FROM client WHERE name IN ('$marker 1', '$marker 2');
	GRANT ALL ON client, trip, holder, listed TO PUBLIC;
	CREATE ROLE ops LOGIN;
	SELECT immiiq.grant_operator('ops');
	SET SESSION AUTHORIZATION ops;
	SELECT immiiq.create_org('Alpha', '$org');
	$operate
	INSERT INTO client (id, name, born, note, tags, doc, amount) SELECT i, '$marker ' || i, date '1980-01-01' + i, 'note of $marker ' || repeat('x', i * 40), ARRAY['$marker', 't' || i],
		jsonb_build_object('text', 'note of $marker', 'id', i), i / 8.0
		FROM generate_series(1, 200) i;
	INSERT INTO client (id, name) VALUES (201, 'default');
	INSERT INTO trip (id, name) SELECT i, 'zwiebel-fisch' || i FROM generate_series(1, 50) i;
	INSERT INTO holder SELECT i, '$marker' || i FROM generate_series(1, 10) i;
	COMMIT;));

my $counts = qq(SET ROLE ops; $operate
	SELECT count(*) FROM client WHERE name = 'ZWIEBELFISCH 7' AND note::text LIKE 'note of %';
	SELECT count(*) FROM client WHERE born IN ('1980-01-08', '1980-01-09');
	SELECT count(*) FROM client JOIN trip USING (org_id, name);
	SELECT count(*) FROM listed;
	SELECT count(*) FROM holder WHERE p = '${marker}3';
	SELECT note FROM client WHERE name = 'default';
	SET enable_seqscan = off;
	SELECT count(*) FROM client WHERE name LIKE '%fisch 19%' AND born BETWEEN '1980-01-01' AND '1980-07-12';
	SELECT count(*) FROM client WHERE doc \@> '{"id": 77}' AND amount < 10;
	RESET enable_seqscan;
	COMMIT;);
is($node->safe_psql('postgres', $counts), "1\n2\n50\n2\n1\nnone\n5\n1", 'values are sealed, searched and opened');

# ---- the disk ----
$node->safe_psql('postgres', 'CHECKPOINT; VACUUM ANALYZE client');
my @found;
find(
	{
		no_chdir => 1,
		wanted => sub {
			return unless -f $_;
			my $content = slurp_file($_);
			push @found, $_ if index($content, "note of $marker") >= 0;
		}
	},
	$node->data_dir);
is("@found", '', 'no file of the data directory holds plaintext, WAL and statistics included');
unlike(slurp_file($node->logfile), qr/note of $marker/, 'nor does the log');

# ---- dump, and restore where there is no key ----
my $all = 'COPY (SELECT * FROM client ORDER BY id) TO STDOUT; COPY (SELECT * FROM trip ORDER BY id) TO STDOUT; COPY (SELECT * FROM holder ORDER BY id) TO STDOUT';
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '--no-owner', '-f', $dump ], 'pg_dump');
my $text = slurp_file($dump);
unlike($text, qr/note of $marker/, 'a dump holds no plaintext');
like($text, qr/name enc_text\(7,equality,fold,match\)/, 'it holds declarations that can be read back');

my $restored = new_cluster('restored', root_key => 0);
$restored->safe_psql('postgres', 'CREATE ROLE ops LOGIN');
$restored->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $restored->connstr('postgres'), '-f', $dump ],
	'restore without a key');
is($restored->safe_psql('postgres', $all), $node->safe_psql('postgres', $all), 'every envelope is byte-identical');
is( $restored->safe_psql('postgres',
		"SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated AND conrelid = 'trip'::regclass"),
	'1', 'the foreign key was checked by tags alone');
my ($status, $out, $err) = $restored->psql('postgres', "SET ROLE ops; $operate SELECT count(*) FROM client WHERE name = 'x'; COMMIT");
isnt($status, 0, 'a search without the key is refused');
my $second = $restored->basedir . '/dump.sql';
$restored->command_ok([ 'pg_dump', '-d', $restored->connstr('postgres'), '--no-owner', '--data-only', '-t', 'client', '-f', $second ], 'pg_dump again');
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '--no-owner', '--data-only', '-t', 'client', '-f', $dump ], 'pg_dump of the same');
is(join("\n", grep { /iq1:/ } split /\n/, slurp_file($second)), join("\n", grep { /iq1:/ } split /\n/, slurp_file($dump)), 'both dumps are the same');

my $file = write_root_key($restored, 'test-1 ' . join('', map { sprintf '%02x', $_ } 0 .. 31));
$restored->append_conf('postgresql.conf', "immiiq.root_key_file = '$file'");
$restored->restart;
is($restored->safe_psql('postgres', $counts), "1\n2\n50\n2\n1\nnone\n5\n1", 'with the key, searches work on what was restored');

# ---- pg_restore from the custom format ----
my $custom = $node->basedir . '/dump.custom';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-Fc', '--no-owner', '-f', $custom ], 'pg_dump -Fc');
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('second'), '--no-owner', '--exit-on-error', $custom ], 'pg_restore');
is($node->safe_psql('second', $all), $node->safe_psql('postgres', $all), 'every envelope is byte-identical');

# ---- logical replication ----
my $subscriber = new_cluster('subscriber', root_key => 0, extension => 1);
$subscriber->safe_psql('postgres', 'CREATE TABLE client (org_id uuid NOT NULL, id int, name enc_text(7,equality,fold,match), born enc_date(8,equality,range),
	note enc_text(9,sealed), tags enc_text(10,equality)[], doc enc_jsonb(12,contains), amount enc_numeric(13,range), PRIMARY KEY (org_id, name));
	CREATE INDEX ON client USING gin (name, born, doc, amount)');
$node->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE client');
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '" . $node->connstr . " dbname=postgres' PUBLICATION p");
$subscriber->wait_for_subscription_sync($node, 's');
$node->safe_psql('postgres', "SET SESSION AUTHORIZATION ops; $operate UPDATE client SET note = 'changed' WHERE name = 'default'; DELETE FROM client WHERE name = '$marker 200'; COMMIT");
$node->wait_for_catchup('s');
my $copy = 'COPY (SELECT id, name, born, note, tags, doc, amount FROM client ORDER BY id) TO STDOUT';
is($subscriber->safe_psql('postgres', $copy), $node->safe_psql('postgres', $copy), 'logical replication carries every envelope as it is');
$subscriber->stop;
$restored->stop;
$node->stop;

# ---- a server that has not loaded the library at its start ----
my $late = new_cluster('late', preload => 0);
$late->safe_psql('postgres', 'CREATE EXTENSION immiiq; CREATE TABLE t (v enc_text(7,equality))');
($status, $out, $err) = $late->psql('postgres', "INSERT INTO t VALUES ('x')");
like($err, qr/immiiq must be loaded when the server starts/, 'without preload nothing is sealed');
($status, $out, $err) = $late->psql('postgres', "SELECT * FROM t WHERE v = 'x'");
like($err, qr/immiiq must be loaded when the server starts/, 'nor searched');
$late->stop;

done_testing();
