# kill -9 of backends, of immiiq's processes and of the postmaster, at random moments of a mixed load; ROUNDS of them (200).
# Nothing that a client was told is lost, the log verifies, no key is orphaned, rotations and erasures come to their end.
# SEED repeats the choices of a run, not its timing.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = $ENV{ROUNDS} || 200;
my $seed = $ENV{SEED} || time ^ $$;
srand $seed;
note "SEED=" . int($seed) . " ROUNDS=$rounds";

my $org = 'a1fa0000-0000-4000-8000-000000000000';
my $member = 'a1fa0000-0000-4000-8000-000000000001';
my $node = new_cluster('crash', extension => 1, streaming => 'logical',
	config => "restart_after_crash = on\nlog_min_messages = warning\nimmiiq.audit_keep = '7 years'\nautovacuum_naptime = 1s");
my $token = $node->safe_psql('postgres', qq{
	CREATE ROLE app LOGIN; SELECT immiiq.grant_application('app') \\gset
	SELECT immiiq.create_org('Alpha', '$org') \\gset
	CREATE TABLE closed (id int);
	CREATE TABLE client (org_id uuid, client_id uuid, name enc_text(1,equality), PRIMARY KEY (org_id, client_id));
	CREATE TABLE note (org_id uuid, id uuid, client_id uuid, body enc_text(2,sealed), title enc_text(3,match), PRIMARY KEY (org_id, id));
	CREATE INDEX ON note USING gin (title);
	SELECT immiiq.protect('client', 'clients', client => 'client_id'), immiiq.protect('note', 'clients', client => 'client_id') \\gset
	GRANT SELECT, INSERT, UPDATE, DELETE ON client, note TO app;
	BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset
	INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules) VALUES ('$org', '$member', 'a\@alpha.example', 'A', 'all', '{clients}');
	INSERT INTO client VALUES ('$org', '$org', 'Kept');
	SELECT immiiq.issue_session('$member'); COMMIT});

# What each kind of client does; it says a line for what the server has acknowledged.
my %work = (
	writer => sub { my ($id) = @_; my $uuid = uuid();
		return "BEGIN;\nSET LOCAL immiiq.token = '$token';\nINSERT INTO note (id, client_id, body, title) VALUES ('$uuid', '$org', 'body $uuid', 'title $id');\n"
			. "UPDATE note SET title = title WHERE id = (SELECT id FROM note WHERE title LIKE '%itle $id%' LIMIT 1);\nCOMMIT;\n\\echo W $uuid\n" },
	operator => sub { my ($id) = @_;
		return "BEGIN;\nSELECT FROM immiiq.operate('$org', 'O $id') \\gset\nROLLBACK;\n\\echo O O $id\n" },
	denied => sub { my ($id) = @_;
		return "SET application_name = 'D $id';\n\\set ON_ERROR_STOP off\n\\echo D D $id\n\\timing on\nINSERT INTO closed VALUES (1);\n\\timing off\n\\echo S :SQLSTATE\n\\set ON_ERROR_STOP on\n" },
	founder => sub { my ($id) = @_; my $uuid = uuid();
		return "SELECT immiiq.create_org('C $id', '$uuid') \\gset\n\\echo C $uuid\nSELECT pg_sleep(0.2) \\gset\n" },
);
my %repeat = (writer => 400, operator => 200, denied => 200, founder => 10);

sub uuid { return sprintf '%08x-%04x-4%03x-8%03x-%012x', rand 2**32, rand 2**16, rand 2**12, rand 2**12, rand 2**48 }

# A psql that works on its script until it is done or the connection is lost.
sub start_client
{
	my ($kind, $id, $script) = @_;
	my $base = $node->basedir . "/$id";
	unlink "$base.sql", "$base.out";
	append_to_file("$base.sql", $script // join '', map { $work{$kind}->("$id-$_") } 1 .. $repeat{$kind});
	my $user = $kind =~ /^(writer|denied)$/ ? 'app' : $ENV{USER} // getpwuid $<;
	return { out => "$base.out", run => IPC::Run::start(
		[ 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-U', $user, '-f', "$base.sql", 'postgres' ],
		'>', "$base.out", '2>', "$base.err") };
}

# Process ids below the postmaster: client backends, immiiq's own, others.
sub processes
{
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my %found = (postmaster => [$postmaster]);
	for (split /\n/, `ps -o pid=,args= --ppid $postmaster`)
	{
		my ($pid, $what) = /^\s*(\d+)\s+(.*)/ or next;
		push @{ $found{ $what =~ /immiiq/ ? 'immiiq' : $what =~ /\[local\]/ ? 'backend' : 'other' } }, $pid;
	}
	return \%found;
}

sub wait_until_up
{
	for (1 .. 600)
	{
		return 1 if system('psql', '-X', '-q', '-o', '/dev/null', '-h', $node->host, '-p', $node->port, '-c', 'SELECT 1', 'postgres') == 0;
		sleep 0.1;
	}
	return 0;
}

my (%told, %lost);
my $slow_denials = 0;
# Everything that clients were told of, by kind, must be there.
sub look
{
	my ($kind, $query, @ids) = @_;
	return if !@ids;
	my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', sprintf $query, join ',', map { "'$_'" } @ids);
	push @{ $lost{$kind} }, grep { !$there{$_} } @ids;
	$told{$kind} += @ids;
}

# The log as a whole, and keys.
sub verify
{
	my ($when) = @_;
	$node->safe_psql('postgres', 'CALL immiiq.seal()');
	# the keys of clients that were erased are gone, and it says so
	is($node->safe_psql('postgres', "SELECT * FROM immiiq.verify_audit() WHERE severity <> 'warning' OR problem !~ '^key \\d+ is gone'"), '',
		"$when: the log verifies, rows and images");
	is($node->safe_psql('postgres', q{SELECT k.org_id FROM immiiq.wrapped_key AS k WHERE k.org_id IS NOT NULL AND NOT EXISTS (SELECT FROM immiiq.org AS o WHERE o.org_id = k.org_id)
		UNION ALL SELECT o.org_id FROM immiiq.org AS o WHERE (SELECT count(DISTINCT purpose) FROM immiiq.wrapped_key AS k WHERE k.org_id = o.org_id AND purpose IN ('data', 'index', 'audit')) <> 3}),
		'', "$when: every key has its organisation, and every organisation its keys");
	is($node->safe_psql('postgres', qq{BEGIN; SELECT FROM immiiq.operate('$org', 'verify') \\gset
		SELECT id FROM note WHERE client_id = '$org' AND (body::text <> 'body ' || id OR title::text NOT LIKE 'title %'); COMMIT}), '', "$when: every value opens");
}

my %killed;
my @erasures;
for my $round (1 .. $rounds)
{
	my @clients = map { start_client($_, "r$round$_") } qw(writer operator denied founder);
	push @clients, start_client('writer', "r${round}second");
	push @clients, start_client('rotate', "r${round}rotate", "CALL immiiq.rotate_key('$org');\n") if rand() < 0.5;
	if (rand() < 0.3)
	{
		my $client = uuid();
		push @clients, start_client('erase', "r${round}erase", "BEGIN;\nSELECT FROM immiiq.operate('$org', 'erase') \\gset\nINSERT INTO client VALUES ('$org', '$client', 'To go');\n"
			. "INSERT INTO note SELECT '$org', gen_random_uuid(), '$client', 'x', 'title' FROM generate_series(1, 50);\nCOMMIT;\n"
			. "BEGIN;\nSELECT FROM immiiq.operate('$org', 'erase') \\gset\nSELECT immiiq.request_erasure('$client', 'letter', '0') AS request \\gset\nCOMMIT;\n\\echo E :request $client\n");
	}
	sleep 0.3 + rand 1.0;
	my $running = processes();
	my $dice = rand();
	my $kind = $dice < 0.2 ? 'postmaster' : $dice < 0.6 && $running->{immiiq} ? 'immiiq' : $dice < 0.95 && $running->{backend} ? 'backend' : 'postmaster';
	my $victim = $running->{$kind}[ rand @{ $running->{$kind} } ];
	$killed{$kind}++;
	if ($kind eq 'postmaster')
	{
		$node->kill9;
		my $up = 0;
		for (1 .. 200)
		{
			$node->{_pid} = undef;    # that of the file it left, when its processes are not gone yet
			last if $up = $node->start(fail_ok => 1);
			sleep 0.1;
		}
		BAIL_OUT("round $round: the server does not start") if !$up;
	}
	else
	{
		# until the postmaster has noticed and starts anew, unless the victim was gone already
		my $offset = -s $node->logfile;
		my $hit = kill 'KILL', $victim;
		for (1 .. ($hit ? 300 : 0))
		{
			last if substr(slurp_file($node->logfile), $offset) =~ /database system is ready to accept connections/;
			sleep 0.1;
		}
	}
	if (!wait_until_up()) { BAIL_OUT("round $round: the server does not come back after a $kind was killed") }
	for my $client (@clients)
	{
		# What the crash did not end has another second.
		eval { local $SIG{ALRM} = sub { die }; alarm 2; $client->{run}->finish; alarm 0; 1 } or do { alarm 0; $client->{run}->kill_kill(grace => 2) };
	}
	wait_until_up();
	my (@written, @operated, @denied, @founded);
	for my $client (@clients)
	{
		my $said = -e $client->{out} ? slurp_file($client->{out}) : '';
		push @written, $said =~ /^W (\S+)$/mg;
		push @operated, $said =~ /^O (O \S+)$/mg;
		push @founded, $said =~ /^C (\S+)$/mg;
		push @erasures, $said =~ /^E (\S+) \S+$/mg;
		# A denial whose record is not there within 200 ms goes out without it; a lost connection is no denial.
		while ($said =~ /^D (D \S+)\nTime: ([\d.]+) ms.*\nS 42501$/mg) { if ($2 < 190) { push @denied, $1 } else { $slow_denials++ } }
	}
	look('written', "SELECT id FROM note WHERE id IN (%s)", @written);
	look('operated', "SELECT reason FROM immiiq.journal WHERE kind = 'operate' AND reason IN (%s)", @operated);
	look('denied', "SELECT application_name FROM immiiq.journal WHERE kind = 'denial' AND application_name IN (%s)", @denied);
	look('founded', "SELECT org_id FROM immiiq.org WHERE org_id IN (%s)", @founded);
	unlink map { ($_->{out}, $_->{out} =~ s/out$/sql/r, $_->{out} =~ s/out$/err/r) } @clients;
	verify("round $round, $kind killed") if $round % 20 == 0 || $round == $rounds;
}
note join ', ', map { "$_ killed $killed{$_} times" } sort keys %killed;
note join ', ', map { "$_ $told{$_}" } sort keys %told;
note "erasures asked for " . @erasures . ", denials without a record in time $slow_denials";

for my $kind (qw(written operated denied founded))
{
	cmp_ok($told{$kind} // 0, '>', $rounds, "$kind: clients were told of many");
	is(join(' ', @{ $lost{$kind} // [] }), '', "$kind: none is lost");
}
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM immiiq.rekey'), 'rotations have come to their end')
	or diag $node->safe_psql('postgres', 'SELECT * FROM immiiq.rekey');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM immiiq.erasure WHERE finished_at IS NULL"), 'erasures too')
	or diag $node->safe_psql('postgres', 'SELECT * FROM immiiq.erasure WHERE finished_at IS NULL');
is($node->safe_psql('postgres', 'SELECT count(*) FROM immiiq.erasure WHERE erasure_id IN (' . join(',', map { "'$_'" } @erasures, $org) . ')'), scalar @erasures, 'all that were asked for');
is($node->safe_psql('postgres', 'SELECT count(*) FROM note AS n WHERE NOT EXISTS (SELECT FROM client AS c WHERE c.client_id = n.client_id)'), '0', 'and left nothing of theirs');
verify('at the end');
is($node->safe_psql('postgres', "SELECT check_name || ': ' || detail FROM immiiq.doctor() WHERE status = 'fail'"), '', 'the doctor finds nothing that fails');
is($node->safe_psql('postgres', "SELECT depth FROM immiiq.journal_status()"), '0', 'the ring is empty');
$node->stop;
done_testing();
