# Root keys that are absent, malformed, readable by others, misplaced or wrong: the server starts, plain columns
# work, sealed ones fail with one clear error, nothing is written; with the right key again everything works.
use strict;
use warnings;
use File::Copy qw(copy);
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $right = join('', map { sprintf '%02x', $_ } 0 .. 31);
my $wrong = 'f' x 64;
my $other = '5a' x 32;

my $node = new_cluster('keyring', extension => 1, root_key => "test-1 $right");
my $file = root_key_file($node);
my $elsewhere = $node->basedir . '/elsewhere';
mkdir $elsewhere, 0700 or die;

my $org = $node->safe_psql('postgres', "SELECT immiiq.create_org('Harbour')");
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE plain (v text);
INSERT INTO plain VALUES ('plain');
CREATE TABLE sealed (org_id uuid NOT NULL, name enc_text(equality), born enc_date(equality));
BEGIN;
SELECT immiiq.operate('$org', 'test');
INSERT INTO sealed VALUES ('$org', 'Ada Lovelace', '1815-12-10');
COMMIT;
SQL
my $read = "SELECT immiiq.operate('$org', 'test') IS NOT NULL; SELECT name, born FROM sealed WHERE name = 'Ada Lovelace'";

# Runs a script in one transaction; its output and its error.
sub try_sql
{
	my ($sql) = @_;
	my ($out, $err);
	my $status = $node->psql('postgres', "BEGIN; $sql; COMMIT", stdout => \$out, stderr => \$err,
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return ($status, $out, $err);
}

my $stored = "SELECT count(*) FROM immiiq.wrapped_key; SELECT count(*) FROM immiiq.root_key; SELECT count(*) FROM sealed";
my $unchanged = $node->safe_psql('postgres', $stored);

# What holds without a usable root key, whatever the reason.
sub refuses
{
	my ($what) = @_;
	subtest "$what: sealed operations are refused" => sub {
		is($node->safe_psql('postgres', "INSERT INTO plain VALUES ('again') RETURNING v"), 'again',
			'plain columns work');
		for my $sql ($read, "SELECT immiiq.create_org('Other')",
			"SELECT immiiq.operate('$org', 'test'); INSERT INTO sealed VALUES ('$org', 'Mary', '1780-12-26')",
			"SELECT immiiq.operate('$org', 'test'); UPDATE sealed SET name = 'Mary'")
		{
			my ($status, $out, $err) = try_sql($sql);
			isnt($status, 0, 'is refused');
			like($err, qr/IQ002: root key is missing or wrong/, 'with the one error');
			like($err, qr/HINT:.*immiiq\.doctor\(\)/, 'and its hint');
			unlike($out . $err, qr/Ada|Mary|1780/, 'that says no value');
		}
		is($node->safe_psql('postgres', 'SELECT count(*) FROM sealed WHERE name::text ~ \'^iq1:\''), '1',
			'without an identity the envelope is still there');
		is($node->safe_psql('postgres', $stored), $unchanged, 'nothing was written');
	};
}

sub works
{
	my ($what) = @_;
	my ($status, $out, $err) = try_sql($read);
	like($out, qr/Ada Lovelace\|1815-12-10/, "$what: sealed values open and are found");
}

# Restarts with these settings; the log of that start.
sub restart_with
{
	my (%setting) = @_;
	my $offset = -s $node->logfile;
	$node->append_conf('postgresql.conf', "immiiq.root_key_file = '" . ($setting{file} // '') . "'");
	$node->append_conf('postgresql.conf', "immiiq.root_key_command = '" . ($setting{command} // '') . "'");
	$node->restart;
	return substr(slurp_file($node->logfile), $offset);
}

sub bad_file
{
	my ($what, $path, $why) = @_;
	my $log = restart_with(file => $path);
	like($log, qr/WARNING:  could not load root keys, sealed columns cannot be used: immiiq\.root_key_file: .*$why/,
		"$what: the log says why");
	unlike($log, qr/$right|$other/i, "$what: and not the key");
	like($node->safe_psql('postgres', 'SELECT immiiq.keyring_problem()'), qr/$why/, "$what: so does keyring_problem");
	refuses($what);
}

works('right key');

# Where root keys are in memory: shared, locked, and out of core dumps.
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
my @guarded = grep { /^[0-9a-f]+-[0-9a-f]+ rw-s/ && /^VmFlags:.* sh .*\bdd\b/m && /^VmFlags:.*\blo\b/m }
  split /^(?=[0-9a-f]+-[0-9a-f]+ )/m, slurp_file("/proc/$postmaster/smaps");
is(scalar(@guarded), 1, 'one shared mapping is locked and kept out of core dumps');

# Where the file is, and whose
bad_file('absent', "$elsewhere/none", 'it does not exist');
bad_file('relative', 'root-key', 'its path is not absolute');
chmod 0644, $file;
bad_file('readable by all', $file, 'its mode is neither 0600 nor 0400');
chmod 0640, $file;
bad_file('readable by the group', $file, 'its mode is neither 0600 nor 0400');
chmod 0700, $file;
bad_file('executable', $file, 'its mode is neither 0600 nor 0400');
chmod 0400, $file;
restart_with(file => $file);
works('mode 0400');

symlink $file, "$elsewhere/link" or die;
bad_file('a symbolic link', "$elsewhere/link", 'it is a symbolic link');
link $file, "$elsewhere/hard" or die;
bad_file('a hard link', "$elsewhere/hard", 'it has more than one name');
unlink "$elsewhere/hard";
copy($file, $node->data_dir . '/root-key') or die;
chmod 0600, $node->data_dir . '/root-key';
bad_file('in the data directory', $node->data_dir . '/root-key', 'it lies in the data directory');
symlink $node->data_dir, "$elsewhere/innocent" or die;
bad_file('in the data directory through a linked folder', "$elsewhere/innocent/root-key", 'it lies in the data directory');
unlink $node->data_dir . '/root-key';

my $space = $node->basedir . '/space';
mkdir $space, 0700 or die;
restart_with(file => $file);
$node->safe_psql('postgres', "CREATE TABLESPACE space LOCATION '$space'");
copy($file, "$space/root-key") or die;
chmod 0600, "$space/root-key";
bad_file('in a tablespace', "$space/root-key", 'it lies in a tablespace');
unlink "$space/root-key";
system_or_bail('mkfifo', '-m', '600', "$elsewhere/fifo");
bad_file('a pipe', "$elsewhere/fifo", 'it is not a regular file');
bad_file('a folder', $elsewhere, 'it is not a regular file');

# What is in it
sub bad_content
{
	my ($what, $content, $why) = @_;
	my $path = "$elsewhere/bad";
	unlink $path;
	my $umask = umask 0077;
	append_to_file($path, $content);
	umask $umask;
	bad_file($what, $path, $why);
}
bad_content('empty', '', 'there is no root key in it');
bad_content('malformed', "test-1 $right\ntest-2 $right$right\n", 'line 2: a root key must be 64 hexadecimal digits');
bad_content('without an id', "$right\n", "line 1: a line must be a key's id");
bad_content('an id twice', "test-1 $right\ntest-1 $other\n", "line 2: a root key's id stands there twice");
bad_content('too long', '#' x 16385, 'it is longer than 16 kB');

like(restart_with(), qr/neither immiiq\.root_key_file nor immiiq\.root_key_command is set/, 'neither setting: the log says so');
refuses('neither setting');
like(restart_with(file => $file, command => "cat /dev/null"),
	qr/both immiiq\.root_key_file and immiiq\.root_key_command are set/, 'both settings: the log says so');
refuses('both settings');

# A wrong key
sub with_keys
{
	write_root_key($node, @_);
	return restart_with(file => $file);
}
unlike(with_keys("test-1 $wrong"), qr/WARNING.*root key/, 'another key under the same id loads');
refuses('another key under the same id');
is($node->safe_psql('postgres', 'SELECT * FROM immiiq.keyring_status()'), 'test-1|t|t|t|f',
	'keyring_status shows that it does not match');
with_keys("test-9 $other");
refuses('only another id');
is($node->safe_psql('postgres', 'SELECT * FROM immiiq.keyring_status()'), "test-9|t|t|f|\ntest-1|f|f|t|",
	'keyring_status shows what is loaded and what is missing');
with_keys("test-1 $wrong", "test-9 $other");
refuses('a new id beside a wrong key');
with_keys("test-1 $right", "test-1b $other", "test-9 $wrong");
works('several ids');

# A new current key: what is new is wrapped under it, what was there still opens.
my $second = $node->safe_psql('postgres', "SELECT immiiq.create_org('Second')");
is($node->safe_psql('postgres', "SELECT DISTINCT root_id FROM immiiq.wrapped_key WHERE org_id = '$second'"), 'test-9',
	'a new organisation is wrapped under the last key');
is($node->safe_psql('postgres', "SELECT DISTINCT root_id FROM immiiq.wrapped_key WHERE org_id = '$org'"), 'test-1',
	'the others as they were');
is($node->safe_psql('postgres', 'SELECT root_id FROM immiiq.root_key ORDER BY 1'), "test-1\ntest-9",
	'a loaded key that nothing was wrapped under is not recorded');
$unchanged = $node->safe_psql('postgres', $stored);
works('the old organisation');
with_keys("test-9 $wrong");
refuses('the new key alone');
with_keys("test-1 $right", "test-9 $other");
my ($status, $out, $err) = try_sql("SELECT immiiq.create_org('Third')");
like($err, qr/IQ002/, 'a key under an id that the database knows otherwise is refused for new keys');
works('while what the other key wraps');

# Reload
with_keys("test-1 $right");

sub reload
{
	my ($what, $expect) = @_;
	my $offset = -s $node->logfile;
	$node->reload;
	ok($node->wait_for_log($expect, $offset), "reload, $what: the log says so");
	return substr(slurp_file($node->logfile), $offset);
}
my $kept = qr/WARNING:  could not load root keys, those already loaded stay in use: /;
write_root_key($node, "test-1 $right", 'test-2 abc');
unlike(reload('malformed', qr/${kept}immiiq\.root_key_file: line 2/), qr/abc/, 'and not what stands there');
works('after it');
write_root_key($node, "test-1 $wrong");
reload('other bytes under a loaded id', qr/${kept}root key "test-1" is not the one that is loaded under this id/);
works('after it');
unlink $file;
reload('absent', qr/${kept}immiiq\.root_key_file: it does not exist/);
works('after it');
is($node->safe_psql('postgres', 'SELECT "current", loaded, known, matches FROM immiiq.keyring_status() WHERE root_id = \'test-1\''), 't|t|t|t',
	'nothing changed');
write_root_key($node, "test-1 $right", "test-9 $wrong");
reload('a new key', qr/LOG:  loaded 2 root key\(s\), the current one is "test-9"/);
works('with it');
is($node->safe_psql('postgres', 'SELECT immiiq.keyring_problem() IS NULL'), 't', 'and no problem is left');

# A backend that holds keys forgets them when their root key goes.
my $session = $node->background_psql('postgres', on_error_stop => 0);
like($session->query("BEGIN; $read; COMMIT"), qr/Ada Lovelace/, 'a session has read');
write_root_key($node, "test-9 $wrong");
reload('a key fewer', qr/loaded 1 root key/);
unlike($session->query("BEGIN; $read; COMMIT"), qr/Ada Lovelace/, 'its next statement reads no more');
like($session->{stderr}, qr/root key is missing or wrong/, 'for lack of the root key');
$session->quit;

# A crash of a backend restarts the server's processes: root keys are there again, or still.
with_keys("test-1 $right", "test-9 $wrong");
$node->safe_psql('postgres', 'ALTER SYSTEM SET restart_after_crash = on');
$node->reload;
my $victim = $node->background_psql('postgres', on_error_stop => 0);
my $victim_pid = $victim->query('SELECT pg_backend_pid()');
my $offset = -s $node->logfile;
unlink $file;
kill 'KILL', $victim_pid;
ok($node->wait_for_log(qr/database system is ready to accept connections/, $offset), 'the server comes back from a crash');
$node->poll_query_until('postgres', 'SELECT true');
works('after a crash, although the file is gone');
eval { $victim->quit };

# No trace of a root key on disk, as text or as bytes.
$node->stop;
$ENV{LC_ALL} = 'C';
for my $key ($right, $other)
{
	(my $bytes = $key) =~ s/(..)/\\x$1/g;
	my @found = split /\n/, `grep -rlaPi -e '$key' -e '$bytes' '@{[ $node->data_dir ]}'`;
	is("@found", '', 'no file of the data directory holds the root key');
}
done_testing();
