# Logical replication to another server that began with a dump and has the same root key: what is sealed on the one is found, opened and
# recorded on the other, under its own row security and in its own log.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($org, $member) = map { "a1fa0000-0000-4000-8000-00000000000$_" } 0, 1;
my $node = new_cluster('publisher', extension => 1, streaming => 'logical');
my $token = $node->safe_psql('postgres', qq{
	CREATE ROLE app LOGIN; SELECT immiiq.grant_application('app') \\gset
	SELECT immiiq.create_org('Harbour', '$org') \\gset
	CREATE TABLE client (org_id uuid, client_id int, name enc_text(1, equality, fold), born enc_date(2, equality, range), note enc_text(3, match), PRIMARY KEY (org_id, client_id));
	CREATE INDEX ON client (org_id, name); CREATE INDEX ON client (org_id, born); CREATE INDEX ON client USING gin (note);
	SELECT immiiq.protect('client', 'clients') \\gset
	GRANT SELECT, INSERT, UPDATE, DELETE ON client TO app;
	BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset
	INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules) VALUES ('$org', '$member', 'a\@harbour.example', 'A', 'all', '{clients}');
	INSERT INTO client SELECT '$org', i, 'Zoë ' || i, date '1960-01-01' + i, 'Letter ' || i FROM generate_series(1, 200) AS i;
	SELECT immiiq.issue_session('$member'); COMMIT; CALL immiiq.seal();
	CREATE PUBLICATION clients FOR TABLE client;
	SELECT FROM pg_create_logical_replication_slot('clients', 'pgoutput')});
my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'a dump');
my $other = new_cluster('subscriber');
$other->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE DATABASE practice');
$other->command_ok([ 'pg_restore', '-j2', '-d', $other->connstr('practice'), $dump ], 'is where the other server begins');
my $kept = $other->safe_psql('practice', 'SELECT immiiq.checkpoint()');
my $where = $node->connstr('postgres') =~ s/'/''/gr;
$other->safe_psql('practice', "CREATE SUBSCRIPTION clients CONNECTION '$where' PUBLICATION clients WITH (create_slot = false, copy_data = false)");

# A statement of the member, by the token that the publisher gave.
sub as_member
{
	my ($server, $database, $sql) = @_;
	return $server->safe_psql($database, "BEGIN; SELECT set_config('immiiq.token', '$token', true) IS NOT NULL AS ignored \\gset\n$sql; COMMIT", extra_params => [ '-U', 'app' ]);
}
as_member($node, 'postgres', q{INSERT INTO client (client_id, name, born, note) SELECT i, 'José ' || i, date '1990-01-01' + i, 'Parcel ' || i FROM generate_series(201, 300) AS i;
	UPDATE client SET name = 'Renamed 7' WHERE client_id = 7; DELETE FROM client WHERE client_id = 8});
$node->wait_for_catchup('clients');

my $envelopes = 'SELECT md5(string_agg(concat(name, born, note), $$,$$ ORDER BY client_id)) FROM client';
is($other->safe_psql('practice', $envelopes), $node->safe_psql('postgres', $envelopes), 'every envelope is the same, byte for byte');
for my $scan ('on', 'off')
{
	my $searches = "SET LOCAL enable_seqscan = $scan; SELECT concat_ws(' ', (SELECT count(*) FROM client), (SELECT client_id FROM client WHERE name = 'JOSE 250'), (SELECT client_id FROM client WHERE name = 'renamed 7'),
		(SELECT count(*) FROM client WHERE name IN ('Zoë 7', 'Zoë 8')), (SELECT count(*) FROM client WHERE born BETWEEN '1990-07-21' AND '1990-07-30'), (SELECT count(*) FROM client WHERE note ILIKE '%parcel 29%'),
		(SELECT md5(string_agg(concat(name::text, born::date, note::text), ',' ORDER BY client_id)) FROM client))";
	my $wanted = as_member($node, 'postgres', $searches);
	like($wanted, qr/^299 250 7 0 10 10 [0-9a-f]{32}$/, "searches, enable_seqscan = $scan");
	is(as_member($other, 'practice', $searches), $wanted, '  find and open the same on the other server');
}
is($other->safe_psql('practice', 'SELECT count(*) FROM client', extra_params => [ '-U', 'app' ]), '0', 'where nobody sees no row');
ok($other->poll_query_until('practice', q{SELECT count(*) = 102 FROM immiiq.audit_log WHERE state = 'signed' AND actor = 'replication'}), 'each change is in its own log, as replication\'s');
is($other->safe_psql('practice', 'SELECT * FROM immiiq.verify_audit()'), '', 'which verifies');
is($other->safe_psql('practice', "SELECT * FROM immiiq.verify_audit(since => \$kept\$$kept\$kept\$)"), '', 'and goes on from the head that came with the dump');
is($node->safe_psql('postgres', 'SELECT * FROM immiiq.verify_audit()'), '', 'as that of the publisher does');
is($other->safe_psql('practice', q{SELECT * FROM immiiq.doctor() WHERE status = 'fail'}), '', 'the doctor is content');
as_member($other, 'practice', "INSERT INTO client (client_id, name) VALUES (1000, 'Of the other server')");
is(as_member($other, 'practice', "SELECT client_id FROM client WHERE name = 'of the other server'"), '1000', 'members work there, too');
$other->safe_psql('practice', 'DROP SUBSCRIPTION clients');
done_testing();
