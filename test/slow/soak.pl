# Years, in MINUTES (30): CLIENTS (64) that come and go among ORGS (10000) organisations, with everything that they do in a day.
# After a third of the time nothing may grow any more but what keeps rows: memory and open files of every process that
# stays, the ring, WAL, temporary files, age of snapshots, lag of the seal, bytes a row after VACUUM. Every series is judged by the
# line through it, and printed.
use strict;
use warnings;
use Immiiq;
use File::Find;
use List::Util qw(max sum0);
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $minutes = $ENV{MINUTES} || 30;
my $clients = $ENV{CLIENTS} || 64;
my $orgs = $ENV{ORGS} || 10_000;
my $stay = 8;           # of the clients, those that keep their connection
my $pace = 0.6;         # seconds between two transactions of a client, on average half of it
my $every = $minutes < 10 ? 1 : 5;    # seconds between two samples

$| = 1;
my $node = new_cluster('soak', start => 0, config => join "\n", 'max_connections = 120', 'log_min_messages = warning', 'autovacuum_naptime = 5s',
	'max_wal_size = 256MB', 'checkpoint_timeout = 60s', 'immiiq.coverage_interval = 10s', 'max_files_per_process = 150');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION immiiq; CREATE EXTENSION pg_freespacemap; CREATE ROLE app LOGIN; SELECT immiiq.grant_application('app') \gset
	CREATE TABLE closed (id int);
	CREATE TABLE client (org_id uuid, client_id uuid, name enc_text(1, equality, fold), born enc_date(2, equality, range), PRIMARY KEY (org_id, client_id));
	CREATE TABLE note (org_id uuid, id uuid DEFAULT gen_random_uuid(), client_id uuid, made timestamptz DEFAULT clock_timestamp(), title enc_text(3, match), body enc_text(4, sealed), PRIMARY KEY (org_id, id));
	CREATE INDEX ON client (org_id, name); CREATE INDEX ON note USING gin (title); CREATE INDEX ON note (org_id, client_id, made);
	SELECT immiiq.protect('client', 'clients', client => 'client_id'), immiiq.protect('note', 'clients', client => 'client_id') \gset
	GRANT SELECT, INSERT, UPDATE, DELETE ON client, note TO app;
	INSERT INTO immiiq.export_rule (target, "column", rule) SELECT relation, column_name, 'export' FROM immiiq.export_column WHERE rule IS NULL;
	CREATE TABLE token (org int, member int, token text); CREATE INDEX ON token (member);
	-- The mailer's: what it sent to an address.
	CREATE TABLE mail (email text, token text, at timestamptz DEFAULT clock_timestamp());
	CREATE FUNCTION mailed(address text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
	DECLARE found text;
	BEGIN
		INSERT INTO mail (email, token) SELECT o.email, o.token FROM immiiq.take_outbox(100) AS o;
		DELETE FROM mail WHERE at < clock_timestamp() - interval '1 minute';
		DELETE FROM mail WHERE email = address RETURNING token INTO found;
		RETURN coalesce(found, '');
	END $$;
	CREATE FUNCTION numbered(kind text, i int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('a1f' || kind || '0000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid $$;
	-- An organisation: who sees everything, who sees two clients of four; two notes for each.
	CREATE PROCEDURE fill(first int, last int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN first .. last LOOP
			PERFORM immiiq.create_org('Organisation ' || i, numbered('a', i));
			COMMIT;
			PERFORM immiiq.operate(numbered('a', i), 'soak');
			INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules, permissions)
				SELECT numbered('a', i), numbered(k, i), k || i || '@soak.example', 'Member', s, '{clients,reports,documents,settings}', '{export}' FROM (VALUES ('b', 'all'), ('c', 'assigned')) AS m (k, s);
			INSERT INTO client SELECT numbered('a', i), numbered(k, i), 'Client ' || k, date '1980-01-01' + i % 9000 FROM unnest('{1,2,3,4}'::text[]) AS k;
			INSERT INTO immiiq.assignment (org_id, client_id, member_id) SELECT numbered('a', i), numbered(k, i), numbered('c', i) FROM unnest('{1,2}'::text[]) AS k;
			INSERT INTO note (org_id, client_id, title, body) SELECT numbered('a', i), numbered(k, i), 'Letter ' || n, repeat('body ', 20) FROM unnest('{1,2,3,4}'::text[]) AS k, generate_series(1, 2) AS n;
			IF i % 10 = 0 THEN
				INSERT INTO immiiq.object_store (object_store_id, name, endpoint, region, bucket) VALUES (numbered('d', i), 'main', 'https://s3.eu-west-1.amazonaws.com', 'eu-west-1', 'soak-' || i);
				PERFORM immiiq.set_store_credentials(numbered('d', i), 'AKIA', 'secret');
				INSERT INTO immiiq.document (document_id, client_id, object_store_id, filename, content_type) VALUES (numbered('e', i), numbered('1', i), numbered('d', i), 'passport.pdf', 'application/pdf');
			END IF;
			IF i % 4 = 0 THEN
				INSERT INTO token SELECT i, n, immiiq.issue_session(numbered(k, i)) FROM (VALUES (0, 'b'), (1, 'c')) AS m (n, k);
			END IF;
			COMMIT;
		END LOOP;
	END $$});
my $start = time;
{
	my @fill = map { IPC::Run::start([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-c', sprintf('CALL fill(%d, %d)', $orgs * ($_ - 1) / 4 + 1, $orgs * $_ / 4), 'postgres' ]) } 1 .. 4;
	$_->finish or die 'could not make the organisations' for @fill;
}
$node->safe_psql('postgres', 'CALL immiiq.seal(); VACUUM ANALYZE');
note sprintf '%d organisations made in %d s', $node->safe_psql('postgres', 'SELECT count(*) FROM immiiq.org'), time - $start;
my %tokens;    # member → [number of the organisation, token]
push @{ $tokens{ $_->[1] } }, [ @{$_}[ 0, 2 ] ] for map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres', 'SELECT org, member, token FROM token');

#### What clients do

sub numbered { my ($kind, $i) = @_; return sprintf 'a1f%s0000-0000-4000-8000-%012x', $kind, $i }
sub address { return join '.', 10, map { int rand 256 } 1 .. 3 }
sub one_of { return $_[ rand @_ ] }
# A transaction of somebody with the token of now; SAID is what its last statement came to.
sub as_member { my ($kind, @statements) = @_; return join "\n", 'BEGIN;', q{SET LOCAL immiiq.token = :'token';}, (map { "$_;" } @statements), "\\echo $kind :SQLSTATE", "COMMIT;\n" }

# Kind → [how often, the SQLSTATE that it means, its SQL]; $org and $member are numbers, $own a client that every member of the organisation sees.
my %does = (
	read => [ 30, '00000', sub { my ($org, $member, $own) = @_; as_member('read',
		one_of(q{SELECT count(*), min(name::text) FROM client WHERE name = 'client 1'}, q{SELECT title, body FROM note WHERE title ILIKE '%etter%' LIMIT 20},
			q{SELECT name FROM client WHERE born BETWEEN '1980-01-01' AND '1990-01-01' ORDER BY name::text}, qq{SELECT c.name, n.body FROM client AS c JOIN note AS n USING (org_id, client_id) WHERE c.client_id = '$own'},
			q{SELECT count(*) FROM immiiq.audit_log}, q{SELECT * FROM immiiq.field_access ORDER BY at DESC LIMIT 5})) } ],
	write => [ 30, '00000', sub { my ($org, $member, $own) = @_; as_member('write',
		qq{INSERT INTO note (client_id, title, body) VALUES ('$own', 'Letter } . int(rand 1000) . qq{', repeat('body ', } . int(rand 40) . '))',
		qq{UPDATE note SET body = 'changed' WHERE id = (SELECT id FROM note WHERE client_id = '$own' ORDER BY made DESC LIMIT 1)},
		qq{DELETE FROM note WHERE client_id = '$own' AND id NOT IN (SELECT id FROM note WHERE client_id = '$own' ORDER BY made DESC LIMIT 2)}) } ],
	rename => [ 4, '00000', sub { my ($org, $member, $own) = @_; as_member('rename', qq{UPDATE client SET name = name::text, born = born::date + 0 WHERE client_id = '$own'}) } ],
	savepoint => [ 6, '00000', sub { my ($org, $member, $own) = @_; as_member('savepoint', 'SAVEPOINT a', qq{INSERT INTO note (client_id, title) VALUES ('$own', 'gone')}, 'SAVEPOINT b', 'SELECT 1 / 0', 'ROLLBACK TO b',
		q{SELECT immiiq.act_as_assistant('soak')}, 'SELECT count(*) FROM note', 'ROLLBACK TO a', qq{SELECT name FROM client WHERE client_id = '$own'}) } ],
	denied => [ 6, '42501', sub { as_member('denied', 'INSERT INTO closed VALUES (1)') } ],
	foreign => [ 2, '42501', sub { my ($org) = @_; as_member('foreign', "INSERT INTO note (org_id, client_id) VALUES ('" . numbered('a', $org % $orgs + 1) . "', '" . numbered('1', $org) . "')") } ],
	badtoken => [ 2, 'IQ010', sub { return "BEGIN;\nSET LOCAL immiiq.token = 'iq_s_nonsense';\n\\echo badtoken :SQLSTATE\nROLLBACK;\n" } ],
	wrong => [ 5, undef, sub { my ($org, $member, $own) = @_; as_member('wrong', one_of('SELECT 1 / 0', 'SELEC 1', 'TABLE nothing', "SELECT name::text::int FROM client WHERE client_id = '$own'",
		qq{INSERT INTO client (client_id, name) VALUES ('$own', 'twice')}, "SET LOCAL statement_timeout = 5; SELECT count(title::text) FROM note, pg_sleep(1)")) } ],
	temporary => [ 2, '00000', sub { as_member('temporary', 'CREATE TEMP TABLE t ON COMMIT DROP AS SELECT n FROM generate_series(1, 20000) AS n', 'SELECT count(*) FROM (SELECT n FROM t ORDER BY random()) AS s') } ],
	cursor => [ 3, '00000', sub { as_member('cursor', 'DECLARE c CURSOR FOR SELECT title, body FROM note', 'FETCH 2 FROM c', 'CLOSE c') } ],
	export => [ 1, '00000', sub { my ($org, $member, $own) = @_; $member ? '' : as_member('export', one_of('SELECT immiiq.export_org()', "SELECT immiiq.export_client('$own')", "SELECT * FROM immiiq.access_report('$own')")) } ],
	link => [ 3, '00000', sub { my ($org) = @_; $org % 10 ? '' : as_member('link', "SELECT url FROM immiiq.presign_get('" . numbered('e', $org) . "')") } ],
	signin => [ 4, '00000', sub {
		my ($org, $member, $address) = (1 + int(rand $orgs), $_[1], address());
		my $email = ($member ? 'c' : 'b') . "$org\@soak.example";
		$_[0] = $org;
		return "SELECT verdict FROM immiiq.issue_link('$email', ip => '$address', device => 'device $org');\nSELECT mailed('$email') AS mailed \\gset\n"
			. "SELECT coalesce(session_token, :'token') AS token FROM immiiq.redeem_link(:'mailed', ip => '$address', user_agent => 'soak', device => 'device $org') \\gset\n\\echo signin :SQLSTATE\n" } ],
);
# What one keeper does from time to time, as a superuser.
my %keeps = (
	rotate => sub { return sprintf "CALL immiiq.rotate_key('%s');\n\\echo rotate :SQLSTATE\n", numbered('a', 1 + int rand $orgs) },
	erase => sub { my $org = numbered('a', 1 + int rand $orgs); my $client = sprintf '%08x-0000-4000-8000-%012x', rand 2**32, rand 2**48;
		return "BEGIN;\nSELECT FROM immiiq.operate('$org', 'to go') \\gset\nINSERT INTO client VALUES ('$org', '$client', 'To go');\nINSERT INTO note (org_id, client_id, title) SELECT '$org', '$client', 'title' FROM generate_series(1, 50);\nCOMMIT;\n"
			. "BEGIN;\nSELECT FROM immiiq.operate('$org', 'erase') \\gset\nSELECT immiiq.request_erasure('$client', 'letter', '0') \\gset\n\\echo erase :SQLSTATE\nCOMMIT;\n" },
	export => sub { my $org = numbered('a', 1 + int rand $orgs); return "BEGIN;\nSELECT FROM immiiq.operate('$org', 'export') \\gset\nSELECT count(*) FROM (SELECT immiiq.export_org()) AS e;\n\\echo export :SQLSTATE\nCOMMIT;\n" },
	verify => sub { return "SELECT count(*) FROM immiiq.verify_audit('" . numbered('a', 1 + int rand $orgs) . "');\n\\echo verify :SQLSTATE\n" },
	look => sub { return "SELECT count(*) FROM " . one_of('immiiq.doctor()', 'immiiq.posture', 'immiiq.advisor', 'immiiq.prune_journal()', 'immiiq.stat') . ";\n\\echo look :SQLSTATE\n" },
);

my $deadline = time + 60 * $minutes;
my $psql = "psql -X -q -A -t -v ON_ERROR_STOP=0 -v VERBOSITY=sqlstate -h '" . $node->host . "' -p " . $node->port;
my @lots = map { ($_) x $does{$_}[0] } sort keys %does;
# Opens a psql that works on what it is sent; what it says of kinds and errors is kept in files.
sub connection { my ($name, $user) = @_; open my $pipe, '|-', "PGAPPNAME='$name' $psql -U $user postgres 2>> '" . $node->basedir . "/$name.err' | grep -aE '^[a-z]+ [0-9A-Z]{5}\$' >> '" . $node->basedir . "/$name.out'" or die; $pipe->autoflush; return $pipe }
sub client
{
	my ($n) = @_;
	my $stays = $n < $stay;
	my ($name, $member) = ($stays ? "stays$n" : "comes$n", $n % 2);
	my @mine = grep { $_->[0] / 4 % ($clients / 2) == int($n / 2) } @{ $tokens{$member} };
	@mine = @{ $tokens{$member} } if !@mine;
	srand($n * 7919 + time);
	while (time < $deadline)
	{
		my $pipe = connection($name, 'app');
		for (1 .. ($stays ? 1e9 : 1 + rand 60))
		{
			last if time > $deadline;
			my ($org, $token) = @{ one_of(@mine) };
			print $pipe "\\set token $token\n";
			# A few transactions of one who has come
			for (1 .. 1 + rand 8) { print $pipe $does{ one_of(@lots) }[2]->($org, $member, numbered(1 + int(rand 2), $org)); sleep rand $pace }
		}
		close $pipe;
	}
}
sub keeper
{
	my $pipe = connection('keeper', $ENV{USER} // scalar getpwuid $<);
	my $mark = $node->basedir . '/keeper.done';
	while (time < $deadline)
	{
		# one after the other: each is asked for when the last has ended
		print $pipe $keeps{ one_of(sort keys %keeps) }->() . "\\! touch '$mark'\n";
		sleep 0.2 until -e $mark;
		unlink $mark;
		sleep rand 4;
	}
	close $pipe;
}

#### What is looked at

my %longest;   # transaction, by whose it was
my %series;    # name → [[seconds, value], …]
sub sample { my ($name, $value) = @_; push @{ $series{$name} }, [ time - $start, $value ]; return }
sub sql { return $node->safe_psql('postgres', $_[0]) }
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
# Processes that stay: clients by their application's name, the server's own by what they are.
sub processes { return map { [ split /\|/ ] } split /\n/, sql(q{SELECT pid, CASE backend_type WHEN 'client backend' THEN application_name ELSE backend_type END FROM pg_stat_activity
	WHERE application_name ~ '^(stays|keeper)' OR backend_type NOT IN ('client backend', 'autovacuum worker', 'parallel worker', 'immiiq rekey', 'immiiq erasure')}) }
sub look
{
	my @processes = ([ $postmaster, 'postmaster' ], processes());
	for (@processes)
	{
		my ($pid, $name) = @$_;
		my $smaps = eval { slurp_file("/proc/$pid/smaps_rollup") } // next;
		sample("memory of $name $pid", $smaps =~ /^Anonymous:\s+(\d+) kB/m) if $smaps =~ /Anonymous/;
		sample("open files of $name $pid", scalar(() = glob "/proc/$pid/fd/*"));
	}
	my ($ring, $lag, $lost, $xmin, $sessions, $oldest, $whose) = split /\|/, sql(q{SELECT ring_depth, round(extract(epoch FROM seal_lag), 1), events_lost,
		(SELECT coalesce(max(age(backend_xmin)), 0) FROM pg_stat_activity), (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
		coalesce(round(extract(epoch FROM clock_timestamp() - a.xact_start), 1), 0), a.backend_type || ' ' || left(a.query, 60)
		FROM immiiq.stat LEFT JOIN (SELECT * FROM pg_stat_activity WHERE backend_type NOT LIKE 'autovacuum%' ORDER BY xact_start LIMIT 1) AS a ON true});
	sample('ring depth', $ring); sample('seal lag, s', $lag); sample('events lost', $lost); sample('oldest xmin, transactions', $xmin); sample('longest transaction, s', $oldest);
	$longest{ $whose // '' } = max($oldest, $longest{ $whose // '' } // 0); sample('connections', $sessions);
	my %size = map { $_ => 0 } qw(wal temporary other files relations);
	find({ no_chdir => 1, wanted => sub {
		my $bytes = -f $_ ? -s _ : undef;
		return if !defined $bytes;
		my $what = m{/pg_wal/} ? 'wal' : m{pgsql_tmp} ? 'temporary' : m{/(base|global)/} ? 'relations' : 'other';
		$size{$what} += $bytes / 1024;
		$size{files}++ if $what ne 'wal';
	} }, $node->data_dir);
	sample('WAL kept, kB', $size{wal}); sample('temporary files, kB', $size{temporary}); sample('other files of the cluster, kB', $size{other}); sample('number of files', $size{files});
	sample('relations, kB', $size{relations});
	return @processes;
}
# Bytes that memory contexts hold, as each process has said in the log since the last time; and asks anew.
my ($read, %name) = (0);
sub contexts
{
	my (@processes) = @_;
	open my $log, '<', $node->logfile or die;
	seek $log, $read, 0;
	while (my $line = <$log>)
	{
		sample("contexts of $name{$1} $1", $2 / 1024) if $line =~ /\[(\d+)\] .*Grand total: .* (\d+) used$/ && $name{$1};
	}
	$read = tell $log;
	%name = map { $_->[0] => $_->[1] } grep { $_->[1] =~ /^(stays|keeper|immiiq)/ } @processes;
	sql('SELECT ' . join ', ', map { "pg_log_backend_memory_contexts($_)" } sort keys %name);
	return;
}
# Tables and indexes after VACUUM: name → [bytes that it does not give back for new rows, rows of its table]
sub sizes
{
	sql('VACUUM ANALYZE');
	return map { my ($name, $bytes, $rows) = split /\|/; ($name => [ $bytes, $rows ]) } split /\n/, sql(q{
		SELECT c.oid::regclass, CASE c.relkind WHEN 'i' THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END - (SELECT coalesce(sum(avail), 0) FROM pg_freespace(c.oid)), greatest(coalesce(t.reltuples, c.reltuples), 0)
		FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid LEFT JOIN pg_class AS t ON t.oid = i.indrelid
		WHERE c.relkind IN ('r', 'm', 'i') AND c.relpersistence = 'p' AND (t.relkind IS NULL OR t.relkind <> 't')});
}

#### The run

my @children;
$start = time;
$deadline = $start + 60 * $minutes;
for my $n (0 .. $clients)
{
	my $pid = fork // die;
	if (!$pid) { eval { $n < $clients ? client($n) : keeper() }; print STDERR $@ if $@; POSIX::_exit($@ ? 1 : 0) }
	push @children, $pid;
}
my $warm = 20 * $minutes;    # seconds
my (%before, @processes);
for (my $n = 0; time < $deadline; $n++)
{
	@processes = look();
	contexts(@processes) if $n % 5 == 2;
	%before = sizes() if !%before && time - $start > $warm;
	my $next = $start + ($n + 1) * $every;
	sleep($next - time) if $next > time;
}
my $badly = 0;
waitpid($_, 0) == $_ && $? == 0 or $badly++ for @children;
is($badly, 0, 'clients end');

#### The verdict

# The line through a series after the warm-up: how much it grows over that time, and its mean.
sub line
{
	my @points = grep { $_->[0] > $warm } @{ $_[0] };
	return if @points < 5 || $points[-1][0] - $points[0][0] < 20 * $minutes;
	my ($x, $y) = map { my $k = $_; sum0(map { $_->[$k] } @points) / @points } 0, 1;
	my $slope = sum0(map { ($_->[0] - $x) * ($_->[1] - $y) } @points) / sum0(map { ($_->[0] - $x)**2 } @points);
	return ($y, $slope * ($points[-1][0] - $points[0][0]), max(map { $_->[1] } @points));
}
# Pattern → growth that is allowed: at least, and as a share of the mean.
my @allowed = (
	[ qr/^memory of postmaster/ => 256, 0.05 ],
	# its caches fill slowly: it does something every ten seconds
	[ qr/^memory of keeper/ => 1024, 0.25 ], [ qr/^contexts of keeper/ => 512, 0.25 ],
	[ qr/^memory of / => 1024, 0.10 ], [ qr/^contexts of / => 512, 0.05 ], [ qr/^open files of / => 8, 0.15 ],
	[ qr/^ring depth/ => 32, 0 ], [ qr/^seal lag/ => 5, 0 ], [ qr/^oldest xmin/ => 2000, 0.5 ], [ qr/^longest transaction/ => 30, 0 ], [ qr/^WAL kept/ => 65536, 0.2 ],
	[ qr/^temporary files/ => 4096, 0 ], [ qr/^other files/ => 8192, 0.1 ], [ qr/^number of files/ => 50, 0.05 ], [ qr/^connections/ => 8, 0 ], [ qr/^events lost/ => 0, 0 ]);
# Means of six parts of the whole time, for who reads.
sub parts { my ($points) = @_; my @of; push @{ $of[ int(6 * $_->[0] / (60 * $minutes + 60)) ] }, $_->[1] for @$points; return join ' ', map { $_ ? sprintf '%.0f', sum0(@$_) / @$_ : '-' } @of }
note sprintf '%-44s %12s %12s %12s %12s   %s', 'after the warm-up', 'mean', 'highest', 'growth', 'allowed', 'means of six parts of all the time';
note "longest transaction: $longest{$_} s, $_" for (sort { $longest{$b} <=> $longest{$a} } keys %longest)[ 0 .. 2 ];
my %judged;
for my $name (sort keys %series)
{
	my ($mean, $growth, $highest) = line($series{$name}) or next;
	my ($rule) = grep { $name =~ $_->[0] } @allowed;
	my $allowed = $rule ? max($rule->[1], $rule->[2] * $mean) : 'inf';
	note sprintf '%-44s %12.1f %12.1f %12.1f %12.1f   %s', $name, $mean, $highest, $growth, $allowed, parts($series{$name});
	next if !$rule;
	cmp_ok($growth, '<=', $allowed, "$name does not grow")
	  or diag('second=value: ' . join ' ', map { sprintf '%d=%d', @$_ } @{ $series{$name} });
	$judged{ $name =~ s/[\d ]+$//r }++;
}
cmp_ok($judged{$_} // 0, '>', 0, "$_: judged") for 'memory of stays', 'contexts of stays', 'open files of stays', map { ("memory of immiiq $_", "contexts of immiiq $_") } qw(launcher worker sealer);

my %tally;
for my $file (glob $node->basedir . '/*.out') { $tally{$_}++ for split /\n/, slurp_file($file) }
for my $kind (sort keys %does)
{
	my %states = map { /^$kind (\w+)$/ ? ($1 => $tally{$_}) : () } keys %tally;
	my ($all, $meant) = (sum0(values %states), $does{$kind}[1]);
	note "$kind: " . join ', ', map { "$_ $states{$_}" } sort keys %states;
	cmp_ok($all, '>', $minutes / 2, "$kind: done");
	cmp_ok($states{$meant} // 0, '>=', 0.9 * $all, "$kind: comes to $meant") if defined $meant;
}
for my $kind (sort keys %keeps) { cmp_ok($tally{"$kind 00000"} // 0, '>', $minutes / 10, "$kind: done " . ($tally{"$kind 00000"} // 0) . ' times') }
my %errors;
for my $file (glob $node->basedir . '/*.err') { $errors{$_}++ for grep { !/^ERROR: +[0-9A-Z]{5}$|^WARNING|^NOTICE/ || /(XX|53|57P|58|F0)\w+$/ } split /\n/, slurp_file($file) }
is(join("\n", map { "$_ $errors{$_} times" } sort keys %errors), '', 'no error of the server\'s own');
unlike(slurp_file($node->logfile), qr/terminated by signal|TRAP:|PANIC|out of memory|leak/, 'nor in its log');

ok($node->poll_query_until('postgres', 'SELECT (SELECT count(*) FROM immiiq.rekey) = 0 AND (SELECT count(*) FROM immiiq.erasure WHERE finished_at IS NULL) = 0'), 'rotations and erasures have come to their end');
ok($node->poll_query_until('postgres', "SELECT ring_depth = 0 AND seal_lag < '5 s' FROM immiiq.stat"), 'ring and seal are at rest');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"), '0', 'no connection is left');
is(sql("SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid() AND pid IN (SELECT pid FROM pg_stat_activity WHERE state = 'idle')"), '0', 'no lock');
is(scalar(() = glob $node->data_dir . '/base/pgsql_tmp/*'), 0, 'no temporary file');
note join ', ', split /\|/, sql(q{SELECT sealed || ' sealed', opened || ' opened', tokens_checked || ' tokens', denials || ' denials', entries_sealed || ' entries sealed', events_written || ' events written', pg_size_pretty(pg_database_size('postgres')) FROM immiiq.stat});

my %after = sizes();
note sprintf '%-60s %12s %12s %10s %10s', 'after VACUUM', 'kB warm', 'kB at end', 'rows warm', 'rows';
my @grown;
for my $name (sort { $after{$b}[0] <=> $after{$a}[0] } grep { $before{$_} } keys %after)
{
	my ($was, $had, $is, $has) = (@{ $before{$name} }, @{ $after{$name} });
	note sprintf '%-60s %12d %12d %10d %10d', $name, $was / 1024, $is / 1024, $had, $has if $is > 2**20;
	push @grown, "$name from $was to $is bytes, from $had to $has rows" if $is > 2**20 + 1.15 * $was * max(1, $has / ($had || 1));
}
is(join("\n", @grown), '', 'tables and indexes have no more bytes a row after VACUUM than before');
is(sql("SELECT * FROM immiiq.verify_audit() WHERE severity <> 'warning' OR problem !~ '^key \\d+ is gone'"), '', 'the log verifies');
is(sql("SELECT check_name || ': ' || detail FROM immiiq.doctor() WHERE status = 'fail'"), '', 'the doctor finds nothing that fails');
$node->stop;
done_testing();
