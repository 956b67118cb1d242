# pgBackRest: a full and an incremental backup, restored to the end and to a point in time. What comes back opens and is found with
# the root key, its log verifies and goes on, the doctor is content.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'pgbackrest is not installed' if system('which pgbackrest > /dev/null') != 0;
my $org = 'a1fa0000-0000-4000-8000-000000000000';
my $node = new_cluster('main', streaming => 1, start => 0);
my $dir = $node->basedir;
my $conf = "$dir/pgbackrest.conf";
append_to_file($conf, "[global]\nrepo1-path=$dir/repo\nlog-path=$dir\nlock-path=$dir/lock\nspool-path=$dir\nlog-level-console=warn\nlog-level-file=off\nstart-fast=y\ncompress-level=1\n"
	. "[main]\npg1-path=" . $node->data_dir . "\npg1-socket-path=" . $node->host . "\npg1-port=" . $node->port . "\npg1-user=" . getpwuid($<) . "\n");
my @pgbackrest = ('pgbackrest', "--config=$conf", '--stanza=main');
$node->append_conf('postgresql.conf', "archive_mode = on\narchive_command = '@pgbackrest archive-push %p'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION IF NOT EXISTS immiiq');
$node->command_ok([ @pgbackrest, 'stanza-create' ], 'a repository');
$node->safe_psql('postgres', qq{SELECT immiiq.create_org('Alpha', '$org');
	CREATE TABLE note (org_id uuid, id int, body enc_text(1,equality), PRIMARY KEY (org_id, id)); SELECT immiiq.protect('note', 'clients'); CREATE INDEX ON note (org_id, body)});

sub put
{
	my ($from, $to) = @_;
	return $node->safe_psql('postgres', qq{BEGIN; SELECT FROM immiiq.operate('$org', 'put') \\gset
		INSERT INTO note (id, body) SELECT i, 'body ' || i FROM generate_series($from, $to) AS i; COMMIT; CALL immiiq.seal()});
}
put(1, 500);
$node->command_ok([ @pgbackrest, '--type=full', 'backup' ], 'a full backup');
put(501, 700);
$node->command_ok([ @pgbackrest, '--type=incr', 'backup' ], 'an incremental one');
put(701, 800);
my $point = $node->safe_psql('postgres', 'SELECT now()');
put(801, 900);
$node->safe_psql('postgres', "CALL immiiq.rotate_key('$org')");
put(901, 1000);
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->poll_query_until('postgres', "SELECT last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1) OR archived_count > 3 FROM pg_stat_archiver") or die 'nothing is archived';
$node->stop;

# Restores into a new folder, with the same root key beside it, and looks at everything.
sub restored
{
	my ($name, $rows, @how) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);
	mkdir $copy->data_dir, 0700;
	$node->command_ok([ 'pgbackrest', "--config=$conf", '--stanza=main', '--pg1-path=' . $copy->data_dir, @how, 'restore' ], "$name: restored");
	$copy->append_conf('postgresql.conf', "port = " . $copy->port . "\nunix_socket_directories = '" . $copy->host . "'\narchive_mode = off");
	$copy->start;
	$copy->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die "$name does not come up";
	my $look = qq{BEGIN; SELECT FROM immiiq.operate('$org', 'look') \\gset
		SELECT count(*), max(id) FROM note WHERE body::text = 'body ' || id;
		SET LOCAL enable_seqscan = off; SELECT id FROM note WHERE body = 'body 450'; COMMIT};
	ok($copy->poll_query_until('postgres', q{SELECT count(*) = 0 FROM immiiq.doctor() WHERE status = 'fail'}), "$name: the doctor is content");
	is($copy->safe_psql('postgres', $look), "$rows|$rows\n450", "$name: all rows up to there open, and are found");
	is($copy->safe_psql('postgres', 'SELECT * FROM immiiq.verify_audit()'), '', "$name: the log verifies");
	$copy->safe_psql('postgres', qq{BEGIN; SELECT FROM immiiq.operate('$org', 'put') \\gset
		INSERT INTO note (id, body) VALUES (5000, 'body 5000'); COMMIT; CALL immiiq.seal()});
	is($copy->safe_psql('postgres', 'SELECT * FROM immiiq.verify_audit()'), '', "$name: and goes on");
	$copy->stop;
}
restored('latest', 1000);
restored('incremental', 700, '--type=immediate', '--target-action=promote');
restored('point', 800, '--type=time', "--target=$point", '--target-action=promote');
my ($full) = `@pgbackrest info` =~ /full backup: (\S+)/;
restored('full', 500, "--set=$full", '--type=immediate', '--target-action=promote');
done_testing();
