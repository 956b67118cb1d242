# The log across servers: the worker seals, prepared transactions and crashes lose nothing, dumps carry it on, copies and
# standbys verify, and logical apply is captured.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $alpha = 'a1fa0000-0000-4000-8000-000000000000';
my $node = new_cluster('main', extension => 1, streaming => 'logical', config => 'restart_after_crash = on');

my $schema = qq{
	CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text, secret enc_text(equality));
	SELECT immiiq.protect('note', NULL)};
$node->safe_psql('postgres', "$schema; SELECT immiiq.create_org('Alpha', '$alpha')");

# Notes in the table, entries about them, and leaves of those: alike once everything is sealed.
my $whole = q{SELECT (SELECT count(*) FROM note) || ' ' || (SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'note') ||
	' ' || (SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'note' AND state = 'signed')};
my $problems = q{SELECT coalesce(string_agg(severity || ': ' || problem, E'\n'), 'none') FROM immiiq.verify_audit()};

sub put
{
	my ($target, $database, $from, $to) = @_;
	$target->safe_psql($database, "INSERT INTO note SELECT '$alpha', n, 'note ' || n FROM generate_series($from, $to) n");
	return;
}

# Everything that was written is sealed, by the worker, and the log is whole.
sub sealed_ok
{
	my ($target, $database, $count, $name) = @_;
	$target->poll_query_until($database, $whole, "$count $count $count")
	  or diag($target->safe_psql($database, $whole));
	is($target->safe_psql($database, $problems), 'none', $name);
	return;
}

put($node, 'postgres', 1, 4);
$node->safe_psql('postgres', "BEGIN; SELECT FROM immiiq.operate('$alpha', 'test'); INSERT INTO note VALUES ('$alpha', 5, 'x', 'sealed'); COMMIT");
sealed_ok($node, 'postgres', 5, 'the worker seals');

# An idle round assigns no transaction id.
my $next = 'SELECT pg_snapshot_xmax(pg_current_snapshot())';
my $before = $node->safe_psql('postgres', $next);
$node->safe_psql('postgres', 'CALL immiiq.seal()') for 1 .. 3;
is($node->safe_psql('postgres', $next), $before, 'an empty round assigns no transaction id');

# Prepared, and decided after a restart.
$node->safe_psql('postgres', "BEGIN; INSERT INTO note VALUES ('$alpha', 6, 'kept'); PREPARE TRANSACTION 'kept'");
$node->safe_psql('postgres', "BEGIN; INSERT INTO note VALUES ('$alpha', 7, 'gone'); PREPARE TRANSACTION 'gone'");
put($node, 'postgres', 8, 9);
$node->safe_psql('postgres', 'CALL immiiq.seal()');
is($node->safe_psql('postgres', $whole), '7 7 7', 'prepared transactions delay nobody else');
$node->restart;
is($node->safe_psql('postgres', $problems), 'none', 'their entries are waited for');
$node->safe_psql('postgres', "COMMIT PREPARED 'kept'");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'gone'");
sealed_ok($node, 'postgres', 8, 'what was prepared before a restart is sealed after it');

# The worker is killed while others write: the server restarts, nothing is lost and nothing is sealed twice.
for my $round (1 .. 2)
{
	my @writers = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
	my $loop = sub { my $base = $_[0]; return "DO \$\$ BEGIN FOR i IN $base .. $base + 400 LOOP INSERT INTO note VALUES ('$alpha', i, 'x'); COMMIT; END LOOP; END \$\$;\n" };
	$writers[$_]->{stdin} .= $loop->($round * 10000 + $_ * 1000) for 0 .. 1;
	$writers[$_]->{run}->pump_nb for 0 .. 1;
	my $pid = $node->safe_psql('postgres', 'SELECT worker_pid FROM immiiq.journal_status()');
	kill 'KILL', $pid if $pid;
	$node->poll_query_until('postgres', "SELECT coalesce((SELECT worker_pid FROM immiiq.journal_status()), 0) NOT IN (0, $pid)")
	  or die 'no worker came back';
	eval { $_->quit } for @writers;
	my $count = $node->safe_psql('postgres', 'SELECT count(*) FROM note');
	sealed_ok($node, 'postgres', $count, "a worker killed with others writing ($count rows)");
}
$node->stop('immediate');
$node->start;
put($node, 'postgres', 100, 109);
my $count = $node->safe_psql('postgres', 'SELECT count(*) FROM note');
sealed_ok($node, 'postgres', $count, 'after a crash of the server');

# A dump with entries that no sealer has seen; restored beside it, and elsewhere without a root key.
my $holder = $node->background_psql('postgres');
$holder->query_safe("COPY immiiq.entry FROM PROGRAM 'true'");
put($node, 'postgres', 200, 204);
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fd', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
is($node->safe_psql('postgres', "SELECT count(*) FROM immiiq.audit_waiting"), '5', 'a session that loads the log keeps sealers out');
$holder->quit;
my $total = $count + 5;
sealed_ok($node, 'postgres', $total, 'until it ends');

$node->safe_psql('postgres', 'CREATE DATABASE restored');
{
	my $said = '';
	ok(IPC::Run::run([ 'pg_restore', '-j', '3', '-d', $node->connstr('restored'), $dump ], '2>', \$said), 'pg_restore by three sessions') or diag($said);
}
sealed_ok($node, 'restored', $total, 'what was not sealed in the dump is sealed in the restored database');
put($node, 'restored', 300, 302);
sealed_ok($node, 'restored', $total + 3, 'and the log goes on');
is($node->safe_psql('restored', 'SELECT count(DISTINCT incarnation) || $$ $$ || (SELECT count(*) FROM immiiq.log_key) FROM immiiq.entry'),
	'2 1', 'under another incarnation and the same key');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE restored');
put($node, 'copy', 400, 401);
sealed_ok($node, 'copy', $total + 5, 'a copied database goes on');

# Sessions of a parallel restore record DDL as soon as the keys are there; were it sealed, the log of the dump could not be loaded any more.
$node->safe_psql('postgres', 'CREATE DATABASE early');
$node->command_ok([ 'pg_restore', '--section=pre-data', '-d', $node->connstr('early'), $dump ], 'pg_restore of what comes before the data');
my $keys = $node->background_psql('early');
my $restored = PostgreSQL::Test::Utils::tempdir . '/wrapped_key';
$node->safe_psql('postgres', "COPY immiiq.wrapped_key TO '$restored'");
$keys->query_safe("COPY immiiq.wrapped_key FROM '$restored'");
$node->safe_psql('early', 'ALTER TABLE immiiq.node SET (fillfactor = 90)');
is($node->safe_psql('early', 'SELECT count(*) > 0 FROM immiiq.entry'), 't', 'DDL after the keys came back is captured');
like(($node->psql('early', q(SET lock_timeout = '300ms'; CALL immiiq.seal())))[2], qr/lock timeout/, 'and is not sealed before the log is back');
$keys->quit;

my $keyless = new_cluster('keyless', root_key => 0);
$keyless->safe_psql('postgres', 'CREATE DATABASE restored');
$keyless->command_ok([ 'pg_restore', '-d', $keyless->connstr('restored'), $dump ], 'pg_restore without a root key');
is( $keyless->safe_psql('restored', $whole), "$total $count $count", 'it has every entry');
is( $keyless->safe_psql('restored', 'SELECT count(*) FROM immiiq.audit_waiting'), $total - $count, 'and shows which ones the dump had not sealed');
is( $keyless->safe_psql('restored', q(SELECT string_agg(DISTINCT severity, ' ') FROM immiiq.verify_audit())),
	'warning', 'it verifies but for what needs keys');
is( $keyless->safe_psql('restored', q(SELECT count(*) FROM immiiq.verify_audit() WHERE problem ~ 'cannot be had')),
	'3', 'and says so: the audit key, for images and for origins, and the installation key');
$keyless->safe_psql('restored', 'ALTER TABLE immiiq.entry DISABLE TRIGGER USER; UPDATE immiiq.entry SET body = set_byte(body, length(body) - 5, get_byte(body, length(body) - 5) # 1) WHERE seq = 3');
unlike($keyless->safe_psql('restored', $problems), qr/is gone/, 'but calls no row gone that it cannot look at');
like($keyless->safe_psql('restored', $problems), qr/error: entry is not the one that was sealed/, 'and still finds an edited entry');
$keyless->stop;

# The log's tables are written past the executor: every row is in its indexes, and what is not known in none of those for searches.
is( $node->safe_psql('postgres', q(CREATE EXTENSION amcheck; SELECT count(bt_index_check(c.oid, true)) >= 12 FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid AND c.relkind = 'i'
		JOIN pg_am AS a ON a.oid = c.relam AND a.amname = 'btree' WHERE i.indrelid IN ('immiiq.leaf'::regclass, 'immiiq.batch'::regclass, 'immiiq.node'::regclass, 'immiiq.tree_head'::regclass)
		OR i.indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'immiiq.entry'::regclass))), 't', 'amcheck finds each row in each index');
for my $column (qw(member_id session_id address_tag)) {
	is( $node->safe_psql('postgres', "SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM immiiq.leaf WHERE $column IS NOT NULL"),
		$node->safe_psql('postgres', "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SELECT count($column) FROM immiiq.leaf WHERE position > 0"),
		"$column: the index has those that are known");
}
ok($node->safe_psql('postgres', 'SELECT count(*) > count(member_id) FROM immiiq.leaf') eq 't', 'and there are others');

# On a standby the log is read and verified, not sealed.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $problems), 'none', 'a standby verifies');
is($standby->safe_psql('postgres', $whole), "$total $total $total", 'and shows the log');
like(($standby->psql('postgres', 'CALL immiiq.seal()'))[2], qr/cannot execute CALL immiiq.seal\(\)/, 'and does not seal');
$standby->stop;

# Logical apply, whose rows fire no statement triggers.
$node->safe_psql('postgres', 'CREATE DATABASE publisher');
$node->safe_psql('publisher', 'CREATE TABLE note (org_id uuid, note_id int PRIMARY KEY, body text);
	CREATE TABLE visit (org_id uuid, visit_id int, year int, PRIMARY KEY (visit_id, year)); CREATE PUBLICATION p FOR TABLE note, visit');
$node->safe_psql('publisher', q(SELECT pg_create_logical_replication_slot('s', 'pgoutput')));
$node->safe_psql('postgres', 'CREATE DATABASE subscriber');
$node->safe_psql('subscriber', "CREATE EXTENSION immiiq; CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
	CREATE TABLE visit (org_id uuid NOT NULL, visit_id int, year int, PRIMARY KEY (visit_id, year)) PARTITION BY LIST (year);
	CREATE TABLE visit_1 PARTITION OF visit FOR VALUES IN (1); CREATE TABLE visit_2 PARTITION OF visit FOR VALUES IN (2);
	SELECT immiiq.protect('note', NULL), immiiq.protect('visit', NULL); SELECT immiiq.create_org('Alpha', '$alpha')");
$node->safe_psql('subscriber', sprintf q(CREATE SUBSCRIPTION s CONNECTION '%s' PUBLICATION p WITH (create_slot = false, slot_name = 's', copy_data = false)),
	$node->connstr('publisher') =~ s/'/''/gr);
$node->safe_psql('publisher', "INSERT INTO note VALUES ('$alpha', 1, 'a'), ('$alpha', 2, 'b'); UPDATE note SET body = 'c' WHERE note_id = 1; DELETE FROM note WHERE note_id = 2");
$node->poll_query_until('subscriber', q(SELECT count(*) = 4 FROM immiiq.audit_log WHERE state = 'signed' AND table_name = 'note'))
  or diag($node->safe_psql('subscriber', 'SELECT * FROM immiiq.audit_log'));
is( $node->safe_psql('subscriber', q(SELECT string_agg(operation || ' ' || actor, ', ' ORDER BY position) FROM immiiq.audit_log WHERE table_name = 'note')),
	'insert replication, insert replication, update replication, delete replication', 'logical apply is captured');
$node->safe_psql('publisher', "BEGIN; INSERT INTO visit VALUES ('$alpha', 1, 1), ('$alpha', 2, 1), ('$alpha', 3, 1); UPDATE visit SET year = 2 WHERE visit_id < 3;
	DELETE FROM visit WHERE visit_id = 3; INSERT INTO visit VALUES ('$alpha', 3, 2); UPDATE visit SET year = 1 WHERE visit_id = 2; DELETE FROM visit WHERE visit_id = 1; COMMIT");
$node->poll_query_until('subscriber', q(SELECT count(*) = 9 FROM immiiq.audit_log WHERE state = 'signed' AND table_name = 'visit'));
is( $node->safe_psql('subscriber', "BEGIN; SELECT FROM immiiq.operate('$alpha', 'test') \\gset\nSELECT string_agg(concat_ws(' ', operation, key ->> 'visit_id', old_row ->> 'tableoid', new_row ->> 'tableoid'), ', ' ORDER BY position)
	FROM immiiq.audit_log WHERE table_name = 'visit'"),
	'insert 1, insert 2, insert 3, update 1 public.visit_1 public.visit_2, update 2 public.visit_1 public.visit_2, delete 3, insert 3, update 2 public.visit_2 public.visit_1, delete 1',
	'a row that the publisher updates and that moves between partitions here: one entry; one that it deletes and inserts: two');
is($node->safe_psql('subscriber', $problems), 'none', 'and the log there is whole');
$node->safe_psql('subscriber', 'DROP SUBSCRIPTION s');
$node->stop;

done_testing();
