# Root keys from a command: a real age file, a real PKCS #11 token, and commands that misbehave.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $key = join('', map { sprintf '%02x', $_ } 0 .. 31);
my $node = new_cluster('command', root_key => 0);
my $dir = $node->basedir . '/secrets';
mkdir $dir, 0700 or die;

# Restarts with this command; the log of that start.
sub restart_with
{
	my ($command) = @_;
	my $offset = -s $node->logfile;
	$command =~ s/'/''/g;
	$node->append_conf('postgresql.conf', "immiiq.root_key_command = '$command'");
	$node->restart;
	return substr(slurp_file($node->logfile), $offset);
}

my $loaded = qr/LOG:  loaded 1 root key\(s\), the current one is "vault-1"/;
$node->safe_psql('postgres', 'CREATE EXTENSION immiiq');

# age
SKIP:
{
	skip 'age is not installed', 3 if system('age --version > /dev/null 2>&1') != 0;
	system_or_bail('sh', '-c', "age-keygen -o '$dir/identity' 2>/dev/null && chmod 600 '$dir/identity'");
	open my $age, '|-', "age -e -i '$dir/identity' -o '$dir/root.age'" or die;
	print $age "# made for a test\nvault-1 $key\n";
	close $age or die 'age failed';
	like(restart_with("age -d -i '$dir/identity' '$dir/root.age'"), $loaded, 'age -d gives the root key');
	$node->safe_psql('postgres', "SELECT immiiq.create_org('age')");
	is($node->safe_psql('postgres', 'SELECT * FROM immiiq.keyring_status()'), 'vault-1|t|t|t|t', 'which is used');
	my $log = restart_with("age -d -i '$dir/none' '$dir/root.age'");
	like($log, qr/immiiq\.root_key_command: it failed/, 'without its identity the command fails, and the log says so');
}

# softhsm2 through PKCS #11
my ($module) = glob '/usr/lib/*/softhsm/libsofthsm2.so /usr/lib/softhsm/libsofthsm2.so';
SKIP:
{
	skip 'softhsm2 or opensc is not installed', 3
	  if !defined $module || !-e $module || system('command -v pkcs11-tool softhsm2-util > /dev/null') != 0;
	mkdir "$dir/tokens", 0700 or die;
	append_to_file("$dir/softhsm2.conf", "directories.tokendir = $dir/tokens\nlog.level = ERROR\n");
	append_to_file("$dir/root.txt", "vault-1 $key\n");
	my $env = "SOFTHSM2_CONF='$dir/softhsm2.conf'";
	my $tool = "pkcs11-tool --module '$module' --token-label vault --login --pin 1234";
	system_or_bail('sh', '-c',
		"$env softhsm2-util --init-token --free --label vault --so-pin 5678 --pin 1234 > /dev/null && "
		  . "$env $tool --write-object '$dir/root.txt' --type data --label rootkey --private > /dev/null 2>&1");
	unlink "$dir/root.txt";
	like(restart_with("$env $tool --read-object --type data --label rootkey 2>/dev/null"), $loaded,
		'a PKCS #11 token gives the root key');
	my ($status, $out, $err) = $node->psql('postgres', "SELECT immiiq.create_org('token')");
	is($status, 0, 'which is used');
	like(restart_with("$env $tool --read-object --type data --label nothing 2>/dev/null"), qr/root_key_command: it failed|no root key/,
		'without the object the log says so');
}

# Commands that misbehave
sub bad
{
	my ($what, $command, $why) = @_;
	my $log = restart_with($command);
	like($log, qr/could not load root keys, sealed columns cannot be used: immiiq\.root_key_command: $why/, $what);
	unlike($log, qr/$key/, "$what: and not the key");
	my ($status, $out, $err) = $node->psql('postgres', "SELECT immiiq.create_org('none')");
	like($err, qr/root key is missing or wrong/, "$what: sealed operations are refused");
}
bad('a command that is not there', '/nonexistent/command', 'it failed');
bad('a command that prints the key and fails', "echo vault-1 $key; exit 3", 'it failed');
bad('a command that a signal ends', "echo vault-1 $key; kill -9 \$\$", 'it failed');
bad('a command that prints nothing', 'true', 'there is no root key in it');
bad('a command that prints too much', 'yes', 'its output is longer than 16 kB');
bad('a command that prints something else', 'echo Sign in at https://vault.example', 'line 1: a root key must be 64 hexadecimal digits');

# The command neither inherits the server's input and files, nor keeps signals blocked.
like(restart_with("ls -l /proc/self/fd > '$dir/fds'; grep SigBlk /proc/self/status > '$dir/signals'; cat > '$dir/input'; echo vault-1 $key"),
	$loaded, 'a command that looks around');
unlike(slurp_file("$dir/fds"), qr/socket:|\.s\.PGSQL|pg_wal/, 'finds no socket or file of the server');
like(slurp_file("$dir/signals"), qr/SigBlk:\s+0+$/m, 'no blocked signal');
is(-s "$dir/input", 0, 'and no input');

# Reload runs it again; one that hangs does not keep the server from stopping.
append_to_file("$dir/keys", "vault-1 $key\n");
chmod 0600, "$dir/keys";
restart_with("cat '$dir/keys'");
append_to_file("$dir/keys", 'vault-2 ' . 'ab' x 32 . "\n");
my $offset = -s $node->logfile;
$node->reload;
ok($node->wait_for_log(qr/loaded 2 root key\(s\), the current one is "vault-2"/, $offset), 'reload runs the command again');
$node->append_conf('postgresql.conf', "immiiq.root_key_command = 'touch $dir/hanging; sleep 600'");
$node->reload;
my $tries = 0;
select undef, undef, undef, 0.1 while !-e "$dir/hanging" && $tries++ < 600;
ok(-e "$dir/hanging", 'a command hangs');
my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 20, 'the server stops all the same');
my $left = `ps -eo args | grep -c '[s]leep 600'`;
is($left + 0, 0, 'and leaves no command behind');
done_testing();
