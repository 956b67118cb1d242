# Leaf hashes leave the server in the WAL before anything is sealed: a consumer of logical decoding holds them against the sealed log,
# and finds what was taken out or changed before the sealer saw it.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $alpha = 'a1fa0000-0000-4000-8000-000000000000';
my $node = new_cluster('leaves', extension => 1, streaming => 'logical');
my $problems = q{SELECT coalesce(string_agg(severity || ': ' || problem, E'\n'), 'none') FROM immiiq.verify_audit()};
$node->safe_psql('postgres', "SELECT immiiq.create_org('Alpha', '$alpha');
	CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text); SELECT immiiq.protect('note', NULL)");
$node->safe_psql('postgres', 'CALL immiiq.seal()');
$node->safe_psql('postgres', q{SELECT pg_create_logical_replication_slot('witness', 'test_decoding')});

# What pg_recvlogical has received up to now, into table received.
my $file = $node->basedir . '/received';
sub receive
{
	my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
	$node->safe_psql('postgres', 'SELECT txid_current()'); # so that there is an end to stop at
	$node->command_ok([ 'pg_recvlogical', '-d', $node->connstr('postgres'), '-S', 'witness', '--start', '--no-loop', '-E', $end, '-f', $file, '-o', 'skip-empty-xacts=on' ],
		'pg_recvlogical');
	my @rows;
	for (grep { /prefix: immiiq-leaf,/ } split /\n/, slurp_file($file))
	{
		die "not a message: $_" if !/transactional: 1 .* content:v1 (-?\d+) (\d+)((?: \S+)+)$/;
		my ($incarnation, $txid, $list) = ($1, $2, $3);
		push @rows, "($incarnation, $txid, '$1', $2, '\\x$3')" while $list =~ m{ ([0-9a-f-]{36})/(\d+)/([0-9a-f]{64})}g;
	}
	$node->safe_psql('postgres', 'DROP TABLE IF EXISTS received; CREATE TABLE received (incarnation int, txid bigint, org_id uuid, seq int, hash bytea)');
	$node->safe_psql('postgres', 'INSERT INTO received VALUES ' . join(', ', @rows)) if @rows;
	return scalar @rows;
}
# What was received and is not in the log as it was received.
my $missing = q{SELECT count(*) FROM received r WHERE NOT EXISTS (SELECT FROM immiiq.leaf l
	WHERE (l.incarnation, l.txid, l.seq, l.org_id, l.hash) = (r.incarnation, r.txid, r.seq, r.org_id, r.hash))};
my $notes = q{SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'note'};

$node->safe_psql('postgres', "INSERT INTO note VALUES ('$alpha', 1, 'x')");
is(receive(), 0, 'nothing leaves while immiiq.leaf_messages is off');
like(($node->psql('postgres', 'SET immiiq.leaf_messages = on'))[2], qr/cannot be changed now/, 'no session turns it');
$node->append_conf('postgresql.conf', 'immiiq.leaf_messages = on');
$node->reload;
$node->poll_query_until('postgres', 'SHOW immiiq.leaf_messages', 'on') or die;

# Everything that commits, and nothing else.
$node->safe_psql('postgres', 'ALTER TABLE note ADD more text');
$node->safe_psql('postgres', "INSERT INTO note VALUES ('$alpha', 2, 'x')"); # the first row of a new layout, which this command does not see yet
$node->safe_psql('postgres', "INSERT INTO note SELECT '$alpha', n, 'x' FROM generate_series(3, 2500) n");
$node->safe_psql('postgres', "BEGIN; INSERT INTO note VALUES ('$alpha', 3001, 'x'); ROLLBACK");
$node->safe_psql('postgres', "BEGIN; INSERT INTO note VALUES ('$alpha', 3002, 'x'); SAVEPOINT s; INSERT INTO note SELECT '$alpha', n, 'x' FROM generate_series(4001, 5500) n;
	ROLLBACK TO s; UPDATE note SET body = 'y' WHERE note_id <= 5; COMMIT");
$node->safe_psql('postgres', "BEGIN; INSERT INTO note VALUES ('$alpha', 3003, 'x'); PREPARE TRANSACTION 'kept'");
$node->safe_psql('postgres', "BEGIN; INSERT INTO note VALUES ('$alpha', 3004, 'x'); PREPARE TRANSACTION 'gone'");
$node->safe_psql('postgres', "COMMIT PREPARED 'kept'");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'gone'");
receive();
$node->safe_psql('postgres', 'CALL immiiq.seal()');
is($node->safe_psql('postgres', $notes), 1 + 2499 + 1 + 5 + 1, 'the log has what committed');
is($node->safe_psql('postgres', 'SELECT count(*) FROM received r JOIN immiiq.leaf l USING (incarnation, txid, seq, org_id, hash) JOIN immiiq.audit_log a USING (org_id, position) WHERE table_name = $$note$$'),
	2499 + 1 + 5 + 1, 'the consumer has the leaf of each change');
is($node->safe_psql('postgres', $missing), 0, 'and none that is not in the log');
unlike(slurp_file($file), qr/content:.*note/, 'which say nothing of what it was');

# A superuser changes the log before the sealer sees it: it verifies, for the sealer knows nothing else.
my $holder = $node->background_psql('postgres');
$holder->query_safe("COPY immiiq.entry FROM PROGRAM 'true'");
$node->safe_psql('postgres', "INSERT INTO note VALUES ('$alpha', 6001, 'x'), ('$alpha', 6002, 'x')");
my $unguard = 'SET session_replication_role = origin; ALTER TABLE immiiq.entry DISABLE TRIGGER USER;' . join('',
	map { "ALTER TABLE $_ DISABLE TRIGGER USER;" } split /\n/, $node->safe_psql('postgres', q{SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'immiiq.entry'::regclass}));
$node->safe_psql('postgres', "ALTER TABLE note DISABLE TRIGGER USER; DELETE FROM note WHERE note_id = 6002; ALTER TABLE note ENABLE TRIGGER USER;
	ALTER TABLE note ENABLE ALWAYS TRIGGER \"00_immiiq_capture\"; $unguard
	DELETE FROM immiiq.entry e WHERE seq = 2 AND txid = (SELECT max(txid) FROM immiiq.entry WHERE org_id = '$alpha')");
receive();
$holder->quit;
$node->safe_psql('postgres', 'CALL immiiq.seal()');
is($node->safe_psql('postgres', $problems), 'none', 'an entry that was taken out before its seal: verification finds nothing');
is($node->safe_psql('postgres', $missing), 1, 'the consumer misses one');

# He cuts the log off, and has the server seal it anew.
$node->safe_psql('postgres', q{SELECT format('ALTER TABLE immiiq.%I DISABLE TRIGGER USER', t) FROM unnest(ARRAY['leaf', 'batch', 'tree_head', 'tree', 'seal_state', 'node']) t \gexec
	ALTER TABLE note DISABLE TRIGGER USER; DELETE FROM note WHERE note_id > 3000;
	DELETE FROM immiiq.entry WHERE txid >= (SELECT min(txid) FROM immiiq.entry WHERE octet_length(body) > 0 AND txid > (SELECT txid FROM received GROUP BY 1 HAVING count(*) > 2000));
	DELETE FROM immiiq.leaf; DELETE FROM immiiq.batch; DELETE FROM immiiq.tree_head; DELETE FROM immiiq.tree; DELETE FROM immiiq.seal_state; DELETE FROM immiiq.node;
	ALTER TABLE note ENABLE TRIGGER USER; ALTER TABLE note ENABLE ALWAYS TRIGGER "00_immiiq_capture"});
$node->safe_psql('postgres', 'CALL immiiq.seal()');
is($node->safe_psql('postgres', $notes), 2500, 'a log that was cut and sealed anew');
is($node->safe_psql('postgres', q{SELECT count(*) FROM immiiq.verify_audit(rows => false)}), 0, 'holds together');
cmp_ok($node->safe_psql('postgres', $missing), '>=', 9, 'the consumer misses what is gone');
$node->stop;

done_testing();
