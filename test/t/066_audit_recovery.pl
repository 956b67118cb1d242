# The log where a server goes on from a copy of another: promotion of a standby, recovery to a point in time; and with a clock
# that was set back. Nothing is lost or sealed twice, and a kept checkpoint tells what went on from what was taken back.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $alpha = 'a1fa0000-0000-4000-8000-000000000000';
my $problems = q{SELECT coalesce(string_agg(severity || ': ' || problem, E'\n' ORDER BY org_id, position, problem), 'none') FROM immiiq.verify_audit(%s)};
my $primary = new_cluster('primary_audit', streaming => 1, start => 0);
$primary->enable_archiving;
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION immiiq');
$primary->safe_psql('postgres', qq{SELECT immiiq.create_org('Alpha', '$alpha');
	CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
	SELECT immiiq.protect('note', NULL)});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby_audit');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub put { my ($node, @n) = @_; $node->safe_psql('postgres', "INSERT INTO note VALUES ('$alpha', $_)") for @n; return; }
sub seal { my ($node) = @_; $node->safe_psql('postgres', 'CALL immiiq.seal()'); return $node->safe_psql('postgres', 'SELECT immiiq.checkpoint()'); }
sub verdict { my ($node, $since) = @_; return $node->safe_psql('postgres', sprintf($problems, defined $since ? "since => '$since'" : '')); }
sub notes { my ($node) = @_; return $node->safe_psql('postgres', q{SELECT string_agg(note_id::text, ' ' ORDER BY note_id) || ' of ' || (SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'note') FROM note}); }

# What the installation's log says of lives of the database that began, and how many lives wrote entries.
sub lives
{
	my ($node) = @_;
	return $node->safe_psql('postgres', q{SELECT coalesce(string_agg(concat_ws(' ', new_row ->> 'timeline', new_row ->> 'batches',
		(new_row ->> 'root') = (SELECT encode(b.previous, 'base64') FROM immiiq.batch AS b WHERE b.batch_no = (new_row ->> 'batches')::int8 + 1),
		(new_row ->> 'object')::int4 = immiiq.audit_incarnation(), (new_row ->> 'system') = (SELECT system_identifier::text FROM pg_control_system())), ', ' ORDER BY position), 'none')
		|| ' of ' || (SELECT count(DISTINCT incarnation) FROM immiiq.entry) FROM immiiq.audit_log WHERE table_name = 'incarnation'});
}

# An export of the organisation's log under immiiq-verify, with an earlier checkpoint and the proof that it is continued.
sub offline
{
	my ($node, $kept) = @_;
	my $size = (split /\n/, $kept)[1];
	my $dir = PostgreSQL::Test::Utils::tempdir;
	append_to_file("$dir/$$." . ++$main::files, $node->safe_psql('postgres', "SELECT immiiq.export_audit('$alpha')") . "\n");
	append_to_file("$dir/kept.$main::files", $kept);
	my $proof = ($node->psql('postgres', "SELECT immiiq.prove_consistency($size)"))[1];
	append_to_file("$dir/proof.$main::files", $proof);
	my $key = $node->safe_psql('postgres', 'SELECT immiiq.log_verifier()');
	my $said = `immiiq-verify -k '$key' -c $dir/kept.$main::files -p $dir/proof.$main::files $dir/$$.$main::files 2>&1`;
	return ($? >> 8) . " $said";
}

# Waits until the worker has sealed everything.
sub sealed_by_worker
{
	my ($node) = @_;
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM immiiq.audit_waiting}) or die 'the worker does not seal';
	return;
}

put($primary, 1, 2);
my $early = seal($primary);
# what waits for its seal at the point: no worker seals until then
$primary->safe_psql('postgres', q{ALTER SYSTEM SET immiiq.seal_interval = '60s'});
$primary->safe_psql('postgres', q{ALTER SYSTEM SET immiiq.databases = ''});
$primary->restart;
put($primary, 3, 4);
$primary->safe_psql('postgres', "BEGIN; INSERT INTO note VALUES ('$alpha', 5); PREPARE TRANSACTION 'open'");
is($primary->safe_psql('postgres', 'SELECT count(*) FROM immiiq.audit_waiting'), '2', 'two entries wait at the point');
$primary->safe_psql('postgres', "SELECT pg_create_restore_point('here')");
put($primary, 6);
my $late = seal($primary);
put($primary, 7);
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
$primary->wait_for_catchup($standby);
is(verdict($primary), 'none', 'the log of the first server is whole');
is(notes($standby), notes($primary), 'a standby has it');

#### Promotion

$primary->stop('immediate');
$standby->promote;
$standby->safe_psql('postgres', "ALTER SYSTEM SET immiiq.databases = '*'; ALTER SYSTEM SET immiiq.seal_interval = 250; SELECT pg_reload_conf()");
put($standby, 8);
sealed_by_worker($standby);
is(notes($standby), '1 2 3 4 6 7 8 of 7', 'once it is promoted, its worker seals what waited, and what is new');
$standby->safe_psql('postgres', "COMMIT PREPARED 'open'");
sealed_by_worker($standby);
is(notes($standby), '1 2 3 4 5 6 7 8 of 8', 'and what was prepared on the first server');
is(verdict($standby), 'none', 'the log is whole');
is(verdict($standby, $early), 'none', 'it goes on from an early checkpoint of the first server');
is(verdict($standby, $late), 'none', 'and from its last one');
my $size = (split /\n/, $late)[1];
is(lives($standby), "2 $size t t t of 2", 'another life of the database began: the log says so, on which timeline and after which head');
like(offline($standby, $early), qr/^0 .*: whole: /, 'an export proves itself, under a checkpoint of the first server too');

# The first server comes back and goes on: two logs of one name.
$primary->start;
put($primary, 20, 21);
my $forked = seal($primary);
is(verdict($primary), 'none', 'a first server that goes on all the same has a log that is whole');
is(lives($primary), 'none of 1', 'of its own life');
isnt($primary->safe_psql('postgres', 'SELECT immiiq.audit_incarnation()'), $standby->safe_psql('postgres', 'SELECT immiiq.audit_incarnation()'), 'by which its entries are told from those of the other');
like(verdict($standby, $forked), qr/^error: log is (?:shorter than|not a continuation of) the checkpoint/m, 'the other does not go on from its checkpoint');
like(verdict($primary, seal($standby)), qr/^error: log is (?:shorter than|not a continuation of) the checkpoint/m, 'nor it from that of the other');
like(offline($standby, $forked), qr/^1 (?!.*malformed).*(?:kept|proof)\.\d+: /s, 'and no proof says so');
$primary->stop;

#### A clock that is set back

my $clock = PostgreSQL::Test::Utils::tempdir . '/clock.so';
system('cc', '-shared', '-fPIC', '-o', $clock, 'test/t/clock.c', '-ldl') == 0 or die 'could not build the clock';
$standby->stop;
{
	local $ENV{LD_PRELOAD} = $clock;
	local $ENV{IMMIIQ_CLOCK_OFFSET} = -40 * 86400;
	$standby->start;
}
$standby->safe_psql('postgres', "UPDATE note SET body = 'back' WHERE note_id = 1");
sealed_by_worker($standby);
is(verdict($standby), 'none', 'with a clock set back by forty days the log goes on, and is whole');
is($standby->safe_psql('postgres', q{SELECT operation FROM immiiq.audit_log WHERE table_name = 'note' ORDER BY position DESC LIMIT 1}), 'update', 'in the order of the seal');
$standby->stop;
$standby->start;
is(verdict($standby), 'none', 'and with the right one again');
$standby->stop;

#### Recovery to a point in time

my $recovered = PostgreSQL::Test::Cluster->new('recovered_audit');
$recovered->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
$recovered->append_conf('postgresql.conf', "recovery_target_name = 'here'\nrecovery_target_action = 'promote'");
$recovered->start;
$recovered->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'recovery does not end';
put($recovered, 9);
sealed_by_worker($recovered);
is(notes($recovered), '1 2 3 4 9 of 5', 'recovered to a point, the worker seals what waited there, and what is new');
$recovered->safe_psql('postgres', "COMMIT PREPARED 'open'");
sealed_by_worker($recovered);
is(notes($recovered), '1 2 3 4 5 9 of 6', 'and what was prepared before');
is(verdict($recovered), 'none', 'the log is whole');
is(verdict($recovered, $early), 'none', 'it goes on from a checkpoint of before the point');
like(verdict($recovered, $late), qr/^error: log is (?:shorter than|not a continuation of) the checkpoint/m, 'but not from one of after it: whoever has kept that sees what was taken back');
like(lives($recovered), qr/^\d+ \d+ t t t of 2$/, 'another life of the database began');
like(offline($recovered, $early), qr/^0 .*: whole: /, 'an export proves itself, under a checkpoint of before the point too');
like(offline($recovered, $late), qr/^1 (?!.*malformed).*(?:kept|proof)\.\d+: /s, 'but not under one of after it');
$recovered->stop;
done_testing();
