# immiiq.posture: controls of the server, each broken by its settings: checksums, TLS, pg_hba.conf, archive, standby, what lasts how long.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', streaming => 1, extension => 1, initdb => ['--data-checksums'], config => <<'C');
fsync = on
archive_mode = on
archive_command = 'true'
archive_timeout = 60
C

# What the posture says of a control, and of the promises that stand on it: "fails" when each of them does.
sub said
{
	my ($node, $control) = @_;
	return $node->safe_psql('postgres', "SELECT status FROM immiiq.posture_control WHERE control = '$control'");
}

sub comes_to
{
	my ($node, $control, $status, $name) = @_;
	ok($node->poll_query_until('postgres', "SELECT status = '$status' FROM immiiq.posture_control WHERE control = '$control'"), "$control $status: $name")
		or diag($node->safe_psql('postgres', "SELECT evidence FROM immiiq.posture_control WHERE control = '$control'"));
	return if $status ne 'fails';
	is( $node->safe_psql('postgres', "SELECT count(*) FROM immiiq.posture AS p JOIN immiiq.promise AS m ON m.claim = p.claim
			WHERE '$control' = ANY (m.controls) AND p.status <> 'fails'"), '0', '  and so do its promises');
}

sub set
{
	my ($node, %setting) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET $_ = '$setting{$_}'") for sort keys %setting;
	$node->reload;
}

comes_to($node, 'checksums', 'holds', 'made with checksums');
comes_to($node, 'durability', 'holds', 'fsync is on');

# What lasts how long.
for ([ 'url_age', 'immiiq.url_ttl', '2h', '1h' ], [ 'session_age', 'immiiq.session_ttl', undef, '8h' ], [ 'backup_window', 'immiiq.backup_window', '200', '60' ])
{
	my ($control, $name, $long, $short) = @$_;
	if (defined $long)
	{
		set($node, $name, $long);
		comes_to($node, $control, 'fails', "$name = $long");
	}
	set($node, $name, $short);
	comes_to($node, $control, 'holds', "$name = $short");
}

# Shorter than the promise, longer, for ever.
for my $keep ('6 years', '8 years', '')
{
	set($node, 'immiiq.audit_keep', $keep);
	comes_to($node, 'log_age', 'fails', "immiiq.audit_keep = '$keep'");
	set($node, 'immiiq.audit_keep', '7 years');
	comes_to($node, 'log_age', 'holds', 'seven years');
}

# What is no interval is refused when it is set; in a file the server says so and goes on with what it had.
for my $keep ('seven', '7', '-7 years', '3 hours', '7 years and a bit', 'infinity', '999999999999 years', '7 years ' x 100)
{
	my ($code, undef, $error) = $node->psql('postgres', "ALTER SYSTEM SET immiiq.audit_keep = '$keep'");
	like($error, qr/invalid value for parameter "immiiq.audit_keep".*\n.*(DETAIL:  It takes an interval|a day at least)/, 'immiiq.audit_keep = ' . substr($keep, 0, 30) . ' is refused');
}
for my $keep ('P7Y', '84 mons', '@ 7 years') { set($node, 'immiiq.audit_keep', $keep); comes_to($node, 'log_age', 'holds', "immiiq.audit_keep = '$keep'"); }
$node->safe_psql('postgres', 'ALTER SYSTEM RESET immiiq.audit_keep');
my $offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "immiiq.audit_keep = 'seven'");
$node->reload;
$node->wait_for_log(qr/invalid value for parameter "immiiq.audit_keep": "seven"/, $offset);
is($node->safe_psql('postgres', 'SHOW immiiq.audit_keep'), '@ 7 years', 'a malformed line in the file changes nothing');
$node->append_conf('postgresql.conf', "immiiq.audit_keep = '7 years'");
$node->reload;

# The archive.
$node->safe_psql('postgres', 'CREATE TABLE t (); SELECT pg_switch_wal()');
comes_to($node, 'archiver', 'holds', 'a segment was archived');
set($node, 'archive_command', 'false');
$node->safe_psql('postgres', 'CREATE TABLE t2 (); SELECT pg_switch_wal()');
comes_to($node, 'archiver', 'fails', 'a segment was not');
set($node, 'archive_command', 'true');
$node->safe_psql('postgres', 'CREATE TABLE t3 (); SELECT pg_switch_wal()');
comes_to($node, 'archiver', 'holds', 'it was after all');
my $stuck = $node->basedir . '/stuck';
append_to_file($stuck, '');
set($node, 'archive_command', "while [ -e $stuck ]; do sleep 0.1; done");
$node->safe_psql('postgres', 'CREATE TABLE t4 (); SELECT pg_switch_wal()');
ok($node->poll_query_until('postgres', q(SELECT EXISTS (SELECT FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'))), 'a segment waits');
comes_to($node, 'archiver', 'holds', 'not for long');
utime time - 600, time - 600, glob($node->data_dir . '/pg_wal/archive_status/*.ready');
comes_to($node, 'archiver', 'fails', 'for ten minutes');
unlink $stuck;
comes_to($node, 'archiver', 'holds', 'not any more');
set($node, 'archive_timeout', '0');
comes_to($node, 'archiver', 'fails', 'a quiet server would never archive');
set($node, 'archive_timeout', '60');
comes_to($node, 'archiver', 'holds', 'in a minute');

# A standby.
comes_to($node, 'replicas', 'fails', 'nobody follows');
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
comes_to($node, 'replicas', 'holds', 'a standby follows');
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT count(*) FROM immiiq.posture'), '53', 'a standby can be asked, too');
$standby->stop;
comes_to($node, 'replicas', 'fails', 'it went away');

# The wire.
comes_to($node, $_, 'holds', 'local sockets only') for ('tls', 'hba');
my $dir = $node->data_dir;
is(system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout $dir/server.key -out $dir/server.crt 2>/dev/null"), 0, 'a certificate');
chmod 0600, "$dir/server.key";
my $hba = slurp_file("$dir/pg_hba.conf");

sub hba
{
	my (@lines) = @_;
	unlink "$dir/pg_hba.conf";
	append_to_file("$dir/pg_hba.conf", join('', map { "$_\n" } 'local all all trust', 'local replication all trust', @lines));
	$node->reload;
}
$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\n");
hba('hostssl all all 127.0.0.1/32 scram-sha-256');
$node->restart;
comes_to($node, 'tls', 'fails', 'a network without TLS');
set($node, 'ssl', 'on');
comes_to($node, 'tls', 'fails', 'TLS 1.2 would do');
my @by_network;

# A session by network with the one version of TLS, which stays.
sub come_by_network
{
	my ($version) = @_;
	my %session = (in => "SELECT 'here';\n", out => '', err => '');
	my $where = 'host=127.0.0.1 user=by_network password=secret dbname=postgres sslmode=require ssl_max_protocol_version=' . $version . ' port=' . $node->port;
	$session{psql} = IPC::Run::start([ 'psql', '-X', '-A', '-t', $where ], '<', \$session{in}, '>', \$session{out}, '2>', \$session{err}, IPC::Run::timeout(60));
	$session{psql}->pump until $session{out} =~ /here/ || $session{err} ne '';
	is($session{err}, '', "a session with $version");
	push @by_network, \%session;
	return;
}
$node->safe_psql('postgres', q(CREATE ROLE by_network LOGIN PASSWORD 'secret'));
come_by_network('TLSv1.2');
set($node, 'ssl_min_protocol_version', 'TLSv1.3');
ok($node->poll_query_until('postgres', q(SELECT current_setting('ssl_min_protocol_version') = 'TLSv1.3')), 'TLS 1.3 is asked for');
comes_to($node, 'tls', 'fails', 'a session of before has TLS 1.2');
$by_network[0]{psql}->finish;
comes_to($node, 'tls', 'holds', 'TLS 1.3 only');
come_by_network('TLSv1.3');
comes_to($node, 'tls', 'holds', 'a session with it');
like($node->safe_psql('postgres', q(SELECT evidence FROM immiiq.posture_control WHERE control = 'tls')), qr/; 1 connections by network with TLSv1\.3$/, '  is counted');
$by_network[1]{psql}->finish;
comes_to($node, 'hba', 'holds', 'hostssl and SCRAM');
hba('host all all 127.0.0.1/32 scram-sha-256');
comes_to($node, 'hba', 'fails', 'a line that wants no TLS');
hba('hostssl all all 127.0.0.1/32 md5');
comes_to($node, 'hba', 'fails', 'a password that binds to no channel');
hba('hostssl all all 127.0.0.1/32 trust');
comes_to($node, 'hba', 'fails', 'no password at all');
hba('hostssl all all nonsense');
comes_to($node, 'hba', 'fails', 'a line that cannot be read');
hba('hostssl all all 127.0.0.1/32 scram-sha-256', 'hostnossl all all all reject');
comes_to($node, 'hba', 'holds', 'a line that refuses');

# A page for a customer: openssl checks what it carries.
my $tmp = PostgreSQL::Test::Utils::tempdir;
my $statement = $node->safe_psql('postgres', 'SELECT immiiq.posture_statement()');
my ($page_statement) = $node->safe_psql('postgres', 'SELECT immiiq.posture_report()') =~ m{<pre id="statement">(.*?)</pre>}s;
$page_statement =~ s/&lt;/</g, $page_statement =~ s/&gt;/>/g, $page_statement =~ s/&quot;/"/g, $page_statement =~ s/&#39;/'/g, $page_statement =~ s/&amp;/&/g;

sub openssl_verifies
{
	my ($text) = @_;
	my $out = '';
	unlink "$tmp/posture.txt";
	append_to_file("$tmp/posture.txt", $text);
	system("cd $tmp && head -n 1 posture.txt | tr -d '\\n' > posture.json && sed -n 2p posture.txt | base64 -d > posture.sig");
	return IPC::Run::run([ 'openssl', 'pkeyutl', '-verify', '-pubin', '-inkey', "$tmp/key.pem", '-rawin', '-in', "$tmp/posture.json", '-sigfile', "$tmp/posture.sig" ], '>&', \$out);
}
append_to_file("$tmp/key.pem", $node->safe_psql('postgres', 'SELECT immiiq.statement_key()') . "\n");
ok(openssl_verifies($statement), 'openssl verifies the statement');
ok(openssl_verifies($page_statement), 'and that of the page');
(my $forged = $statement) =~ s/"status": "fails"/"status": "holds"/;
isnt($forged, $statement, 'somebody changes a status');
ok(!openssl_verifies($forged), 'which openssl finds');

# Durability and checksums.
set($node, 'full_page_writes', 'off');
comes_to($node, 'durability', 'fails', 'a torn page would stay torn');
set($node, 'full_page_writes', 'on');
$node->stop;
$node->command_ok([ 'pg_checksums', '--disable', '-D', $node->data_dir ], 'checksums are switched off');
$node->start;
comes_to($node, 'checksums', 'fails', 'without');

# What a dump carries.
$node->safe_psql('postgres', q(SELECT immiiq.attest('edge', 'a proxy', now() + interval '30 days'), immiiq.record_backup('full', now(), false), immiiq.record_verification()));
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$tmp/dump", $node->connstr('postgres') ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE again');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('again'), "$tmp/dump" ], 'is restored');
is($node->safe_psql('again', q(SELECT status FROM immiiq.posture_control WHERE control = 'edge')), 'holds', 'with attestations');
is($node->safe_psql('again', 'SELECT (SELECT count(*) FROM immiiq.backup), (SELECT count(*) FROM immiiq.verification)'), '1|1', 'backups and verifications');
is($node->safe_psql('again', q(SELECT status FROM immiiq.posture_control WHERE control = 'functions')), 'holds', 'and functions are those of the new database');
$node->stop;
done_testing();
