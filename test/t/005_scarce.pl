# When something runs out, or the clock steps: clear errors, recovery, and nothing that a client was told is lost.
# Volumes that fill up and turn read-only are small tmpfs in a namespace of their own; where that is forbidden, they are skipped.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $org = 'a1fa0000-0000-4000-8000-000000000000';
my $member = 'a1fa0000-0000-4000-8000-000000000001';
my $setup = qq{
	CREATE EXTENSION immiiq; SELECT immiiq.grant_application('app') \\gset
	SELECT immiiq.create_org('Alpha', '$org') \\gset
	CREATE TABLE closed (id int); CREATE TABLE note (org_id uuid, id int, body enc_text(1,equality), PRIMARY KEY (org_id, id));
	SELECT immiiq.protect('note', 'clients') \\gset
	GRANT SELECT, INSERT, UPDATE, DELETE ON note TO app;
	BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset
	INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules) VALUES ('$org', '$member', 'a\@alpha.example', 'A', 'all', '{clients}');
	SELECT immiiq.issue_session('$member'); COMMIT};
my ($node, $database, $token);
my $written = 0;

sub sql { my ($text) = @_; return $node->safe_psql($database, $text) }
# One row as the member; true when the server says that it is committed, and then it counts.
sub put
{
	my ($more) = @_;
	my $id = $written + 1;
	my ($status, undef, $err) = $node->psql($database,
		"BEGIN; SET LOCAL immiiq.token = '$token'; INSERT INTO note (id, body) VALUES ($id, 'body $id'); " . ($more // '') . '; COMMIT', extra_params => [ '-U', 'app' ]);
	$written++ if $status == 0;
	return $status == 0 ? '' : $err;
}
# Everything that was committed is there, opens, is found, and is in a log that verifies.
sub whole
{
	my ($name) = @_;
	sql('CALL immiiq.seal()');
	is(sql(qq{BEGIN; SELECT FROM immiiq.operate('$org', 'look') \\gset
		SELECT count(*), max(id) FROM note WHERE body::text = 'body ' || id; SELECT count(*) FROM note WHERE body = 'body $written'; COMMIT}), "$written|$written\n1", "$name: all rows are there, open and are found");
	is(sql('SELECT * FROM immiiq.verify_audit()'), '', "$name: the log verifies");
	return ok($node->poll_query_until($database, q{SELECT count(*) = 0 FROM immiiq.doctor() WHERE status = 'fail'}), "$name: the doctor is content");
}
sub set_up
{
	($node, $database) = @_;
	$written = 0;
	return $token = sql($setup);
}
sub denials { return sql("SELECT count(*) FROM immiiq.journal WHERE kind = 'denial'") }
sub deny { return ($node->psql($database, 'INSERT INTO closed VALUES (1)', extra_params => [ '-U', 'app' ]))[2] }

#### Places of workers, locks, locked memory

my $few = new_cluster('few', start => 0, config => "max_worker_processes = 1\nmax_wal_senders = 0\nmax_prepared_transactions = 0");
# No memory may be locked; some kernels of containers let it be locked all the same.
system('prlimit', '--pid', $$, '--memlock=0:') == 0 or die 'prlimit';
my $probe = PostgreSQL::Test::Utils::tempdir . '/probe';
append_to_file("$probe.c", '#include <sys/mman.h>' . "\nint main(void) { static char page[8192]; return mlock(page, sizeof(page)) == 0; }\n");
system('cc', '-o', $probe, "$probe.c") == 0 or die 'could not build the probe';
my $limited = system($probe) == 0;
$few->start;
$few->safe_psql('postgres', $_) for ('CREATE ROLE app LOGIN', 'CREATE DATABASE d', 'CREATE DATABASE e');
SKIP:
{
	skip 'the limit on locked memory means nothing here', 1 if !$limited;
	like(slurp_file($few->logfile), qr/WARNING:  could not lock root keys in memory: .*\n.*HINT:  Raise the limit on locked memory/, 'memory that cannot be locked is told of');
}
my ($status, undef, $err) = $few->psql('d', "CREATE EXTENSION immiiq; SELECT immiiq.create_org('Alpha', '$org'); SELECT immiiq.operate('$org', 'x')");
like($err, qr/ERROR:  the journal did not acknowledge in time\n.*HINT:  See immiiq\.doctor\(\)/, 'without a place for the worker nobody becomes operator');
like($few->safe_psql('d', "SELECT status || ' ' || detail FROM immiiq.doctor() WHERE check_name = 'worker'"), qr/^fail /, 'and the doctor says why');
($status, undef, $err) = $few->psql('d', "CALL immiiq.rotate_key('$org')");
like($err, qr/ERROR:  out of background workers for the rotation of keys\n.*HINT:  Raise max_worker_processes/, 'a rotation says what it lacks');
$few->append_conf('postgresql.conf', 'max_worker_processes = 16');
$few->restart;
ok($few->poll_query_until('d', 'SELECT count(*) = 0 FROM immiiq.rekey'), 'and ends by itself once there are places');
set_up($few, 'e');
$few->append_conf('postgresql.conf', "max_locks_per_transaction = 10\nmax_connections = 15");
$few->restart;
is(put(), '', 'with 10 locks a transaction rows are written');
($status, undef, $err) = $few->psql('e', "BEGIN; SELECT FROM immiiq.operate('$org', 'many locks') \\gset\nINSERT INTO note (id, body) VALUES (0, 'gone'); SELECT pg_advisory_xact_lock(i) FROM generate_series(1, 20000) AS i");
like($err, qr/out of shared memory/, 'a transaction runs out of locks');
is(put(), '', 'and the next has them again');
whole('few');
$few->stop;

#### The clock steps while the server runs

my $clock = PostgreSQL::Test::Utils::tempdir . '/clock';
system('cc', '-shared', '-fPIC', '-o', "$clock.so", 'test/t/clock.c', '-ldl') == 0 or die 'could not build the clock';
sub step { my ($seconds) = @_; unlink "$clock.new"; append_to_file("$clock.new", $seconds); return rename "$clock.new", $clock }
my $late = new_cluster('late', start => 0);
step(0);
{
	local $ENV{LD_PRELOAD} = "$clock.so";
	local $ENV{IMMIIQ_CLOCK_FILE} = $clock;
	$late->start;
}
$late->safe_psql('postgres', 'CREATE ROLE app LOGIN');
set_up($late, 'postgres');
is(put(), '', 'before the clock steps');
for my $case ([ -3600, 'an hour back' ], [ -86400 * 40, 'a month back' ], [ 7200, 'two hours forth' ])
{
	step($case->[0]);
	cmp_ok(abs(sql('SELECT extract(epoch FROM clock_timestamp())::int8') - time - $case->[0]), '<', 30, "$case->[1]: the server sees it");
	is(put(), '', "$case->[1]: rows are written, and the session lasts");
	my $before = denials();
	deny();
	ok($late->poll_query_until('postgres', "SELECT count(*) > $before FROM immiiq.journal WHERE kind = 'denial'"), "$case->[1]: a denial is written down");
	whole($case->[1]);
}
step(86400 * 2);
like(put(), qr/IQ010|not accepted|refused|token/, 'two days forth: the session is over');
step(0);
is(put(), '', 'and is not, once the clock is right');
whole('the right clock');
$late->stop;

#### Volumes

my $volume = PostgreSQL::Test::Utils::tempdir . '/volume';
mkdir $volume;
# A shell that holds the namespace, and may mount there what it is told to.
my ($holder_in, $holder_out) = ("-t tmpfs -o size=40m tmpfs\n", '');
my $holder = IPC::Run::start([ 'unshare', '--user', '--map-current-user', '--keep-caps', '--mount', 'sh', '-c',
	"while read -r options; do mount \$options $volume && echo mounted || echo refused; done" ], '<', \$holder_in, '>', \$holder_out, '2>', '/dev/null');
sub mounted { eval { $holder->pump until $holder_out =~ /\n/ || !$holder->pumpable }; return $holder_out =~ /mounted/ }
sub mount_again { my ($options) = @_; $holder_out = ''; $holder_in .= "-o remount,$options\n"; return mounted() }
SKIP:
{
	skip 'no namespaces with mounts here', 1 if !mounted();
	my ($pid) = map { $_->{PID} } @{ $holder->{KIDS} };
	my @inside = ('nsenter', '--preserve-credentials', '--user', '--mount', '--target', $pid);
	system(@inside, 'mkdir', "$volume/data");
	my $full = new_cluster('full', start => 0, config => "restart_after_crash = on\nautovacuum = off");
	# The server lives in the namespace; its socket is where everybody sees it.
	system(@inside, 'pg_ctl', '-w', '-s', '-D', $full->data_dir, '-l', $full->logfile, 'start') == 0 or die 'no server in the namespace';
	$full->_update_pid(1);
	$full->safe_psql('postgres', "CREATE ROLE app LOGIN; CREATE TABLESPACE small LOCATION '$volume/data'");
	$full->safe_psql('postgres', 'CREATE DATABASE small TABLESPACE small');
	set_up($full, 'small');
	is(put(), '', 'a database on a small volume');
	sub ballast { return system(@inside, 'sh', '-c', "cat /dev/zero > $volume/ballast 2>/dev/null; test -s $volume/ballast") }
	ballast();
	my ($refusal, $tries) = ('', 0);
	$refusal = put(q{INSERT INTO note SELECT current_setting('immiiq.nothing', true)::uuid WHERE false}) while $refusal eq '' && $tries++ < 400;
	like($refusal, qr/No space left on device/, 'a full disk is told to who writes');
	my $before = denials();
	like(deny(), qr/permission denied/, 'refusals go on');
	system(@inside, 'rm', "$volume/ballast");
	is(put(), '', 'with room again rows are written');
	ok($full->poll_query_until('small', "SELECT count(*) > $before FROM immiiq.journal WHERE kind = 'denial'"), 'the refusal of meanwhile is in the journal');
	whole('full disk');

	# No volume with open files can be made read-only; an administrator meets one after a start.
	system(@inside, 'pg_ctl', '-w', '-s', '-D', $full->data_dir, '-m', 'fast', 'stop');
	ok(mount_again('ro'), 'the volume is read-only');
	system(@inside, 'pg_ctl', '-w', '-s', '-D', $full->data_dir, '-l', $full->logfile, 'start');
	$full->_update_pid(1);
	($status, undef, $err) = $full->psql('small', 'SELECT count(*) FROM note');
	like($err, qr/Read-only file system/, 'a read-only file system is told of');
	is($full->safe_psql('postgres', 'SELECT 1'), '1', 'and other databases go on');
	ok(mount_again('rw'), 'and is writable again');
	is(put(), '', 'writable again');
	whole('read-only file system');
	$full->stop('immediate');
	system(@inside, 'pg_ctl', '-w', '-s', '-D', $full->data_dir, '-l', $full->logfile, 'start');
	$full->_update_pid(1);
	whole('after a crash');
	$full->stop;

	# WAL has a volume of its own: without room for it PostgreSQL stops, and starts once there is some.
	my $wal = new_cluster('wal', start => 0, initdb => ['--wal-segsize=1'], config => "restart_after_crash = off\nmin_wal_size = 2MB\nmax_wal_size = 8MB");
	my $folder = $wal->data_dir . '/pg_wal';
	system(@inside, 'sh', '-c', "rm -rf $volume/data && mv $folder $volume/wal && ln -s $volume/wal $folder") == 0 or die 'could not move WAL';
	system(@inside, 'pg_ctl', '-w', '-s', '-D', $wal->data_dir, '-l', $wal->logfile, 'start') == 0 or die 'no server in the namespace';
	$wal->_update_pid(1);
	$wal->safe_psql('postgres', 'CREATE ROLE app LOGIN');
	set_up($wal, 'postgres');
	is(put(), '', 'WAL on a small volume');
	ballast();
	($refusal, $tries) = ('', 0);
	while ($refusal eq '' && $tries++ < 400)
	{
		$wal->psql('postgres', q{SELECT pg_logical_emit_message(true, 'x', repeat('x', 200000))});
		$refusal = put();
	}
	isnt($refusal, '', 'a full volume ends it');
	like(slurp_file($wal->logfile), qr/PANIC:  could not write to file "pg_wal\/.*No space left on device/, 'and the log says why');
	system(@inside, 'rm', "$volume/ballast");
	system(@inside, 'pg_ctl', '-w', '-s', '-D', $wal->data_dir, '-l', $wal->logfile, 'start');
	$wal->_update_pid(1);
	is(put(), '', 'with room again it starts, and rows are written');
	deny();
	ok($wal->poll_query_until('postgres', "SELECT count(*) > 0 FROM immiiq.journal WHERE kind = 'denial'"), 'and denials');
	whole('full WAL');
	$wal->stop;
}
$holder->kill_kill if $holder;

done_testing();
