# The log as a file that proves itself: immiiq-verify against exports that were changed, byte by byte, and against
# logs that were; checkpoints kept elsewhere; a witness.

use strict;
use warnings;
use Digest::SHA;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Immiiq;

my $alpha = 'a1fa0000-0000-4000-8000-000000000000';
my $beta = 'be7a0000-0000-4000-8000-000000000000';
my $node = new_cluster("verify", extension => 1);
my $dir = PostgreSQL::Test::Utils::tempdir;
$node->safe_psql('postgres', <<"SQL");
SELECT immiiq.create_org('Alpha', '$alpha');
SELECT immiiq.create_org('Beta', '$beta');
ALTER TABLE immiiq.journal DISABLE TRIGGER log_journal; -- operate()'s own entries would stand between those that are counted here
CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, client_id uuid, body text, passport enc_text(equality));
SELECT immiiq.protect('note', 'cases', client => 'client_id');
SQL

sub act { my ($org, $sql) = @_; $node->safe_psql('postgres', "BEGIN; SELECT FROM immiiq.operate('$org', 'test'); $sql; COMMIT"); }
sub seal { $node->safe_psql('postgres', 'CALL immiiq.seal()'); }

# An export as the organisation's operator makes it.
sub export
{
	my ($org, $rest) = @_;
	my $text = $node->safe_psql('postgres', "BEGIN; SELECT FROM immiiq.operate('$org', 'test'); SELECT immiiq.export_audit('$org'" . ($rest // '') . "); COMMIT");
	return join('', map { "$_\n" } grep { /^\{/ } split /\n/, $text);
}

sub put_file { my ($name, $text) = @_; open(my $f, '>:raw', "$dir/$name") or die; print $f $text; close $f; return "$dir/$name"; }

# What the verifier says of a text, and whether it accepts.
our $key;
sub verdict
{
	my ($text, @more) = @_;
	my $file = put_file('export', $text);
	my $said = `immiiq-verify -k '$key' @more $file 2>&1`;
	return ($? == 0, $said =~ s/^\Q$dir\E\/[a-z]+(: whole|, line )/$1/r =~ s/\A: //r);
}
sub refused { my ($text, $why, $name, @more) = @_; my ($ok, $said) = verdict($text, @more); ok(!$ok && $said =~ $why, $name) or diag $said; }
sub accepted { my ($text, $why, $name, @more) = @_; my ($ok, $said) = verdict($text, @more); ok($ok && $said =~ $why, $name) or diag $said; }

act($alpha, "INSERT INTO note VALUES ('$alpha', 1, gen_random_uuid(), E'a \"quote\" \\\\ and \\n\\t\\u00e9', 'P1'), ('$alpha', 2, NULL, NULL, NULL)");
act($alpha, "UPDATE note SET body = 'CANARY', client_id = gen_random_uuid() WHERE note_id = 1");
seal();
act($beta, "INSERT INTO note VALUES ('$beta', 3)");
seal();
my $note1 = $node->safe_psql('postgres', 'SELECT immiiq.checkpoint()');
my ($size1) = $note1 =~ /\A[^\n]+\n(\d+)\n/;
act($alpha, "DELETE FROM note WHERE note_id = 2");
seal();
$key = $node->safe_psql('postgres', 'SELECT immiiq.log_verifier()');
my $note2 = $node->safe_psql('postgres', 'SELECT immiiq.checkpoint()');
my $consistency = $node->safe_psql('postgres', "SELECT immiiq.prove_consistency($size1)");

my $whole = export($alpha);
accepted($whole, qr/^whole: 5 entries, positions 1 to 5,/, 'an export is whole');
like($whole, qr/CANARY/, 'it can be read');
my $kept = export($alpha, q(, redact => '{body,origin}'));
accepted($kept, qr/^whole: 5 entries.* [1-9]\d* kept back/, 'with columns kept back it is whole, too');
unlike($kept, qr/CANARY/, 'and they are not in it');
accepted(export($alpha, q(, redact => '{*}')), qr/ 0 columns shown/, 'with all of them kept back');
accepted(export($alpha, ', after => 3'), qr/positions 4 to 5/, 'what follows a position');
accepted(export($alpha, ', after => 2'), qr/^whole: 4 entries, positions 3 to 5/, 'a range that begins within a transaction');
accepted(export($beta), qr/positions 1 to 2/, 'another organisation');
my $bare = $node->safe_psql('postgres', "SELECT immiiq.export_audit('$alpha')") . "\n";
accepted($bare, qr/ 0 columns shown, 0 kept back/, 'an auditor, who opens nothing, exports what proves itself');

# A checkpoint that was kept elsewhere.
my @old = ('-c', put_file('before', $note1), '-p', put_file('proof', $consistency));
accepted($whole, qr/^whole/, 'the log continues the checkpoint of before', @old);
my ($hash) = $consistency =~ /\A([^\n]+)/;
refused($whole, qr/rewritten/, 'not with another proof', '-c', "$dir/before", '-p', put_file('other', $consistency =~ s/\A[^\n]+\n//r));
refused($whole, qr/malformed/, 'nor with half a hash', '-c', "$dir/before", '-p', put_file('other', substr($consistency, 5)));
put_file('later', $note2);
my ($early) = grep { 1 } export($beta);
refused($whole, qr/does not hold/, 'nor with a checkpoint that nobody signed', '-c', put_file('forged', $note1 =~ s/\n$size1\n/"\n" . ($size1 + 1) . "\n"/er), '-p', "$dir/proof");

# Every byte of a small export.
my $small = export($alpha, ', after => 4');
accepted($small, qr/positions 5 to 5/, 'a small export');
my @mutants;
for my $i (0 .. length($small) - 1)
{
	my $text = $small;
	substr($text, $i, 1) = chr(ord(substr($text, $i, 1)) ^ (1 << ($i % 7)));
	push @mutants, put_file("byte$i", $text);
}
push @mutants, map { put_file("cut$_", substr($small, 0, int($_ * length($small) / 100))) } 0 .. 99;
put_file('list', join("\n", @mutants));
my @said = split /\n/, `xargs immiiq-verify -k '$key' < $dir/list`;
is(scalar @said, scalar @mutants, 'each of ' . @mutants . ' changed copies is judged');
is(join("\n", grep { /: whole/ } @said), '', 'no byte can be changed, and nothing cut off');

# Lines.
my @lines = map { "$_\n" } split /\n/, $whole;
refused(join('', @lines[0, 2 .. 6]), qr/missing/, 'the first entry taken out');
refused(join('', @lines[0 .. 2, 4 .. 6]), qr/missing/, 'an entry taken out');
refused(join('', @lines[0 .. 4, 6]), qr/missing/, 'the last entry taken out');
refused(join('', @lines[0 .. 5]), qr/cut off/, 'the end taken out');
refused(join('', @lines[0 .. 3, 3 .. 6]), qr/not in order/, 'an entry doubled');
refused(join('', @lines[0, 2, 1, 3 .. 6]), qr/missing/, 'two entries swapped');
refused(join('', @lines[1 .. 6]), qr/header is malformed/, 'the header taken out');
refused(join('', @lines, $lines[3]), qr/after the end/, 'an entry after the end');
refused(join('', @lines, "\n"), qr/after the end/, 'an empty line after the end');
my @others = map { "$_\n" } split /\n/, export($beta);
refused(join('', @lines[0 .. 2], $others[1] =~ s/"position":1/"position":3/r, @lines[4 .. 6]), qr/not in the organisation's tree/, 'an entry of another organisation');
refused(join('', $others[0], @lines[1 .. 6]), qr/past the batch|not in the organisation's tree|missing/, 'another organisation\'s header');
refused($whole =~ s/"position":2,/"position":2, /r, qr/malformed/, 'a blank');
refused($whole =~ s/"columns":\[/"columns":null,"more":[/r, qr/malformed/, 'something more');
refused($whole =~ s/CANARY/CANARX/r, qr/columns are not those/, 'another value');
refused($whole =~ s/"name":"body"/"name":"bode"/r, qr/columns are not those/, 'another name');
refused($whole =~ s/"value":null/"value":"x"/r, qr/malformed/, 'a value in the place of NULL');
refused($whole =~ s/,\{"part":0,[^}]*\}//r, qr/columns are not those/, 'a column left out');
refused($whole =~ s/(\{"part":0,[^}]*\}),(\{"part":0,[^}]*\})/$2,$1/r, qr/columns are not those/, 'two columns swapped');
refused($kept =~ s/(\{"commitment":")(.)/$1 . ($2 eq 'A' ? 'B' : 'A')/er, qr/columns are not those/, 'another commitment');
my $foreign = $key =~ s/\+[^+]+\z//r;
my $other_key = do { my ($name) = $key =~ /\A([^+]+)/; "$name+00000000+" . encode_base64("\x01" . ("\x07" x 32), '') };
{
	local $key = $other_key;
	refused($whole, qr/hash in the verifier key/, 'a key with another key\'s hash');
}

# The log is rewritten by a superuser who lets the server sign anew: the database alone cannot tell, the checkpoint kept elsewhere can.
$node->safe_psql('postgres', <<"SQL");
DO \$\$ DECLARE name text; BEGIN FOREACH name IN ARRAY ARRAY['entry', 'leaf', 'batch', 'tree_head', 'node', 'tree', 'seal_state'] LOOP
	EXECUTE format('ALTER TABLE immiiq.%I DISABLE TRIGGER USER', name); END LOOP; END \$\$;
DELETE FROM immiiq.leaf; DELETE FROM immiiq.batch; DELETE FROM immiiq.tree_head; DELETE FROM immiiq.tree; DELETE FROM immiiq.seal_state;
DELETE FROM immiiq.entry WHERE org_id = '$beta';
SQL
seal();
is($node->safe_psql('postgres', 'SELECT count(*) FROM immiiq.verify_audit(rows => false)'), '0', 'a log that its superuser has signed anew looks whole from inside');
my $forged = export($alpha);
accepted($forged, qr/^whole/, 'and its export does, by itself');
refused($forged, qr/shorter than it was|rewritten/, 'but not against the checkpoint of before', @old);

# A witness cosigns: Ed25519 by openssl.
SKIP:
{
	skip 'openssl signs no Ed25519', 5 if system("openssl genpkey -algorithm ed25519 -out $dir/w.pem 2>/dev/null") != 0;
	my $public = substr(`openssl pkey -in $dir/w.pem -pubout -outform DER`, -32);
	my $checkpoint = $node->safe_psql('postgres', 'SELECT immiiq.checkpoint()');
	my ($body) = $checkpoint =~ /\A(.*?\n)\n/s;
	my $id = substr(Digest::SHA::sha256("witness.example\n\x04" . $public), 0, 4);
	my $time = pack('Q>', 1700000000);
	put_file('message', "cosignature/v1\ntime 1700000000\n$body");
	my $signature = `openssl pkeyutl -sign -inkey $dir/w.pem -rawin -in $dir/message`;
	my $line = "\xe2\x80\x94 witness.example " . encode_base64($id . $time . $signature, '');
	my $add = sub { $node->psql('postgres', "SELECT immiiq.add_cosignature(\$note\$$_[0]\$note\$)") };
	is(($add->("$checkpoint$line\n"))[1], '0', 'nobody\'s cosignature is taken');
	$node->safe_psql('postgres', "SELECT immiiq.add_witness('witness.example+" . unpack('H*', $id) . '+' . encode_base64("\x04$public", '') . "')");
	like(($add->("$checkpoint$line\n" =~ s/\n\d+\n/\n99\n/r))[2], qr/not a checkpoint of this log/, 'nor one of another checkpoint');
	my $bad = "\xe2\x80\x94 witness.example " . encode_base64($id . pack('Q>', 1700000001) . $signature, '');
	like(($add->("$checkpoint$bad\n"))[2], qr/does not hold/, 'nor one of another time');
	is(($add->("$checkpoint$line\n"))[1], '1', 'a known witness\'s is');
	like($node->safe_psql('postgres', 'SELECT immiiq.checkpoint()'), qr/witness\.example /, 'and stands under the checkpoint');
	accepted(export($alpha), qr/^whole/, 'with which exports are whole');
}

$node->stop;
done_testing();
