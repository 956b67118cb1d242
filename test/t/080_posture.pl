# immiiq.doctor(): what it says of a server: how it was started, its keys, its worker, its settings.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', streaming => 1, extension => 1, initdb => [ '--data-checksums' ]);

# What the doctor says of one check.
sub said
{
	my ($node, $check, $database) = @_;
	return $node->safe_psql($database // 'postgres', "SELECT status FROM immiiq.doctor() WHERE check_name = '$check'");
}

sub comes_to_say
{
	my ($node, $check, $status, $name) = @_;
	return ok($node->poll_query_until('postgres', "SELECT status = '$status' FROM immiiq.doctor() WHERE check_name = '$check'"), $name);
}

comes_to_say($node, 'worker', 'ok', 'a server that runs');
is(said($node, $_), 'ok', "$_ is ok") for ('preloaded', 'version', 'standby', 'root_key', 'journal');
$node->safe_psql('postgres', "SELECT immiiq.create_org('Alpha')");
is(said($node, 'organisation_keys'), 'ok', 'keys of an organisation open');

# Root keys.
append_to_file(root_key_file($node), "not a key\n");
$node->reload;
comes_to_say($node, 'root_key', 'warning', 'a reload that was refused is a warning');
is(said($node, 'organisation_keys'), 'ok', 'the old keys still open');
write_root_key($node, "test-1 " . 'ab' x 32);
$node->restart;
is(said($node, 'root_key'), 'fail', 'another key under the same name is a failure');
is(said($node, 'organisation_keys'), 'fail', 'with which no organisation opens');
unlink root_key_file($node);
$node->restart;
is(said($node, 'root_key'), 'fail', 'no root key is a failure');
write_root_key($node, "test-1 " . join('', map { sprintf '%02x', $_ } 0 .. 31));
$node->restart;
is(said($node, 'root_key'), 'ok', 'with the right key all is well again');
is(said($node, 'organisation_keys'), 'ok', 'for organisations too');

# The worker.
$node->append_conf('postgresql.conf', "immiiq.databases = 'elsewhere'");
$node->reload;
comes_to_say($node, 'worker', 'fail', 'a database that is not listed');
$node->append_conf('postgresql.conf', "immiiq.databases = '*'");
$node->reload;
comes_to_say($node, 'worker', 'ok', 'listed again');

# No room for it: PostgreSQL's own launcher takes the first place, ours the second.
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
comes_to_say($node, 'worker', 'fail', 'no place for a worker');
like($node->safe_psql('postgres', "SELECT detail FROM immiiq.doctor() WHERE check_name = 'worker'"), qr/has no worker/, 'which is said');
ok($node->poll_query_until('postgres', "SELECT launcher_pid IS NOT NULL FROM immiiq.journal_status()"), 'the launcher is there');
$node->append_conf('postgresql.conf', 'max_worker_processes = 1');
$node->restart;
is($node->safe_psql('postgres', "SELECT status || ' ' || detail FROM immiiq.doctor() WHERE check_name = 'worker'"),
	'fail the launcher does not run', 'no place for the launcher');
$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->restart;
comes_to_say($node, 'worker', 'ok', 'with places for all it runs');

# The ring: half full, then overflowing.
$node->safe_psql('postgres', "CREATE ROLE app LOGIN; SELECT immiiq.grant_application('app')");
is(said($node, 'application_roles'), 'ok', 'an application role without powers');
my $refusals = q(DO $$ BEGIN FOR i IN 1..%d LOOP
	BEGIN RAISE insufficient_privilege; EXCEPTION WHEN insufficient_privilege THEN NULL; END; END LOOP; END $$);
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE immiiq.journal IN ACCESS EXCLUSIVE MODE');
$node->safe_psql('postgres', sprintf($refusals, 600), extra_params => [ '-U', 'app' ]);
is(said($node, 'journal'), 'warning', 'a ring that is half full');
$node->safe_psql('postgres', sprintf($refusals, 400), extra_params => [ '-U', 'app' ]);
$holder->query_safe('ROLLBACK');
$holder->quit;
ok($node->poll_query_until('postgres', q(SELECT depth = 0 FROM immiiq.journal_status())), 'which empties');
is(said($node, 'journal'), 'warning', 'lost events are told until the server restarts');

# Settings of the server.
is(said($node, 'transport'), 'ok', 'local sockets need no TLS');
is(said($node, 'data_checksums'), 'ok', 'data checksums are on');
$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\nlog_statement = all\nlog_min_messages = panic\nfsync = off\n");
$node->stop;
$node->command_ok([ 'pg_checksums', '--disable', '-D', $node->data_dir ], 'checksums are switched off');
$node->start;
is(said($node, 'transport'), 'warning', 'a network address without TLS');
is(said($node, 'data_checksums'), 'warning', 'data checksums are off');
is(said($node, $_), 'warning', "$_ warns") for ('log_settings', 'log_level', 'durability');
is(said($node, 'journal'), 'ok', 'a new start has lost nothing');
$node->append_conf('postgresql.conf', "listen_addresses = ''\nlog_statement = none\nlog_min_messages = warning\nfsync = on\n");
$node->restart;

# A standby.
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is(said($standby, $_), 'warning', "on a standby $_ warns") for ('standby', 'worker');
is(said($standby, 'organisation_keys'), 'ok', 'keys open there');
$standby->stop;

# Without the library.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is(said($node, 'preloaded'), 'fail', 'a library that was not preloaded');
is( $node->safe_psql('postgres', "SELECT count(*) FROM immiiq.doctor() WHERE hint LIKE 'Add shared_preload_libraries = ''immiiq''%'"),
	'1', 'with the line to add');
$node->stop;
done_testing();
