# Anchors and signers: the worker hands each new checkpoint to a command (a git repository, a witness), which shows a log that was
# rewritten and signed anew; heads signed by a command; commands that misbehave.
use strict;
use warnings;
use Digest::SHA qw(sha256);
use Immiiq;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $alpha = 'a1fa0000-0000-4000-8000-000000000000';
my $node = new_cluster('anchor', extension => 1, config => "immiiq.anchor_interval = 1");
my $dir = $node->basedir;
my $problems = q{SELECT coalesce(string_agg(severity || ': ' || problem, E'\n'), 'none') FROM immiiq.verify_audit()};
$node->safe_psql('postgres', "SELECT immiiq.create_org('Alpha', '$alpha');
	CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text); SELECT immiiq.protect('note', NULL)");
$node->safe_psql('postgres', 'CREATE ROLE auditor; CREATE ROLE nobody; SELECT immiiq.grant_auditor($$auditor$$)');

sub put { $node->safe_psql('postgres', "INSERT INTO note VALUES ('$alpha', $_[0], 'x')"); $node->safe_psql('postgres', 'CALL immiiq.seal()'); return }
sub set
{
	my (%to) = @_;
	$node->append_conf('postgresql.conf', "$_ = '" . ($to{$_} =~ s/'/''/gr) . "'") for keys %to;
	$node->reload;
	return;
}
sub status_ok
{
	my ($like, $name) = @_;
	$node->poll_query_until('postgres', qq{SELECT coalesce(status || ' ' || coalesce(failure, '-') || ' ' || batches_waiting, '?') ~ '$like' FROM immiiq.anchor_status})
	  ? pass($name) : is($node->safe_psql('postgres', 'SELECT * FROM immiiq.anchor_status'), $like, $name);
	return;
}
sub script
{
	my ($name, $text) = @_;
	append_to_file("$dir/$name", "#!/bin/sh\nset -e\n$text");
	chmod 0755, "$dir/$name";
	return "$dir/$name";
}

put(1);
is($node->safe_psql('postgres', 'SELECT status FROM immiiq.anchor_status'), 'never', 'without a command nothing is anchored');
is($node->safe_psql('postgres', q{SELECT count(*) FROM immiiq.doctor() WHERE check_name = 'anchor'}), 0, 'and the doctor says nothing of it');
like(($node->psql('postgres', 'SET ROLE nobody; SELECT * FROM immiiq.anchor_status'))[2], qr/permission denied/, 'a role without rights reads no status');
like(($node->psql('postgres', 'SET ROLE auditor; SELECT immiiq.record_anchor($$$$, $$$$, NULL)'))[2], qr/permission denied/, 'nor does an auditor write it');
like(($node->psql('postgres', q{SET immiiq.anchor_command = 'true'}))[2], qr/cannot be changed now/, 'no session sets the command');

# A git repository elsewhere.
system_or_bail('sh', '-c', "git init -q --bare '$dir/elsewhere.git' && git clone -q '$dir/elsewhere.git' '$dir/anchor' 2>/dev/null && chmod -R a+rwX '$dir/anchor' '$dir/elsewhere.git'");
my $git = script('git-anchor', "cd '$dir/anchor'\ncat > checkpoint\ngit add checkpoint\n"
	  . "git -c user.name=anchor -c user.email=anchor\@example.com commit -q -m \"\$(sed -n 2p checkpoint)\"\ngit push -q origin HEAD:main\n");
set('immiiq.anchor_command' => $git);
status_ok('^ok - 0$', 'the worker anchors');
put(2);
status_ok('^ok - 0$', 'and anchors again when the log has grown');
my $kept = run_log_text('git', '--git-dir', "$dir/elsewhere.git", 'show', 'main:checkpoint');
is($kept, $node->safe_psql('postgres', q{SELECT rtrim(immiiq.checkpoint(), E'\n')}) . "\n", 'what stands elsewhere is the checkpoint');
cmp_ok(scalar(split /\n/, run_log_text('git', '--git-dir', "$dir/elsewhere.git", 'log', '--format=%s', 'main')), '>=', 2, 'after the earlier ones');
like($node->safe_psql('postgres', q{SELECT status || detail FROM immiiq.doctor() WHERE check_name = 'anchor'}), qr/^oklast anchored 2.*, 0 batches wait$/, 'the doctor says so');
is($node->safe_psql('postgres', 'SET ROLE auditor; SELECT status FROM immiiq.anchor_status'), 'ok', 'and the view, to auditors');

sub run_log_text { my ($out, $err); IPC::Run::run(\@_, '>', \$out, '2>', \$err) or die $err; return $out }

# A superuser with the root key cuts the log off before the last batch, while the sealer is kept out, and has the server sign another in its place: only the anchor shows it.
my $size = (split /\n/, $kept)[1];
$node->safe_psql('postgres', qq{
	BEGIN;
	SELECT format('ALTER TABLE immiiq.%I DISABLE TRIGGER USER', t) FROM unnest(ARRAY['entry', 'leaf', 'batch', 'tree_head', 'tree', 'seal_state', 'node']) t \\gexec
	ALTER TABLE note DISABLE TRIGGER USER;
	DELETE FROM note WHERE note_id = 2;
	DELETE FROM immiiq.entry e USING immiiq.leaf l, immiiq.batch b WHERE b.batch_no >= $size AND l.org_id = b.org_id
		AND l.position BETWEEN b.first AND b.last AND (e.incarnation, e.txid, e.seq) = (l.incarnation, l.txid, l.seq);
	DELETE FROM immiiq.leaf l USING immiiq.batch b WHERE b.batch_no >= $size AND l.org_id = b.org_id AND l.position BETWEEN b.first AND b.last;
	DELETE FROM immiiq.batch WHERE batch_no >= $size;
	DELETE FROM immiiq.tree_head WHERE size >= $size;
	TRUNCATE immiiq.tree;
	SELECT format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER guard_log', t) FROM unnest(ARRAY['entry', 'leaf', 'batch', 'tree_head', 'tree', 'seal_state', 'node']) t \\gexec
	ALTER TABLE note ENABLE TRIGGER USER; ALTER TABLE note ENABLE ALWAYS TRIGGER "00_immiiq_capture";
	COMMIT});
put(3 + $_) for 1 .. 3;
unlike($node->safe_psql('postgres', $problems), qr/batch|head/, 'a log that was cut and signed anew holds together');
like($node->safe_psql('postgres', qq{SELECT problem FROM immiiq.verify_audit(since => \$note\$$kept\$note\$) WHERE problem ~ 'checkpoint'}),
	qr/^log is not a continuation of the checkpoint of $size batches: it was rewritten$/m, 'and is found out by the checkpoint in the repository');

# A witness answers with its cosignature, which goes under the checkpoint.
system_or_bail('sh', '-c', "umask 022; openssl genpkey -algorithm ed25519 -out '$dir/witness.pem' && chmod a+r '$dir/witness.pem'");
my $public = substr(run_log_text('openssl', 'pkey', '-in', "$dir/witness.pem", '-pubout', '-outform', 'DER'), -32);
my $id = substr(sha256("witness.example/w1\n\x04$public"), 0, 4);
$node->safe_psql('postgres', sprintf q{SELECT immiiq.add_witness('witness.example/w1+%s+%s')}, unpack('H*', $id), encode_base64("\x04$public", ''));
append_to_file("$dir/witness.pl", sprintf <<'P', "$dir", $alpha ? unpack('H*', $id) : '');
use MIME::Base64; my ($dir, $id) = ('%s', '%s'); my $time = $ENV{WITNESS_TIME} || time;
local $/; my ($body) = <STDIN> =~ /^(.*?\n)\n/s; my $file = "$dir/to-sign.$$";
open my $f, '>', $file or die; print $f "cosignature/v1\ntime $time\n$body"; close $f;
my $signature = `openssl pkeyutl -sign -rawin -inkey $dir/witness.pem -in $file`; unlink $file;
print "\xe2\x80\x94 witness.example/w1 ", encode_base64(pack('H8 Q> a64', $id, $time + ($ENV{WITNESS_LIES} || 0), $signature), ''), "\n";
P
set('immiiq.anchor_command' => "perl $dir/witness.pl");
put(20);
status_ok('^ok - 0$', 'a witness takes the checkpoint');
like($node->safe_psql('postgres', 'SELECT immiiq.checkpoint()'), qr/\x{2014} witness.example\/w1 |\xe2\x80\x94 witness.example\/w1 /, 'its cosignature stands under it');
set('immiiq.anchor_command' => "WITNESS_LIES=1 perl $dir/witness.pl");
put(21);
status_ok('^failed cosignature does not hold 1$', 'one that does not hold is a failure');

# Commands that misbehave.
my $canary = 'said-by-the-command';
for my $case ([ "echo $canary; exit 3", 'it failed' ], [ '/nonexistent', 'it failed' ], [ "yes $canary", 'its output is longer than 16 kB' ], [ 'kill -9 $$', 'it failed' ])
{
	set('immiiq.anchor_command' => $case->[0]);
	status_ok("^failed $case->[1] [1-9]", "$case->[0]: $case->[1]");
}
unlike(slurp_file($node->logfile) =~ s/.*parameter.*//gr, qr/$canary/, 'what a command says is not in the server log');
set('immiiq.anchor_command' => "echo \$\$ > $dir/pid; sleep 1000");
$node->poll_query_until('postgres', "SELECT (pg_stat_file('$dir/pid', true)).size > 1") or die;
put(22);
is($node->safe_psql('postgres', q{SELECT count(*) FROM immiiq.audit_waiting}), 0, 'a command that hangs keeps nothing waiting');
$node->append_conf('postgresql.conf', "immiiq.anchor_command = 'cat > /dev/null'"); # from the restart on
$node->restart;
my $pid = slurp_file("$dir/pid");
is(kill(0, $pid + 0), 0, 'and goes when the worker goes');
status_ok('^ok .* 0$', 'what waited is anchored when the command works again');

# Heads signed by a command.
set('immiiq.anchor_command' => '');
system_or_bail('sh', '-c', "umask 022; for k in a b; do openssl genpkey -algorithm ed25519 -out $dir/\$k.pem; done; chmod a+r $dir/*.pem");
my %key = map { $_ => unpack('H*', substr(run_log_text('openssl', 'pkey', '-in', "$dir/$_.pem", '-pubout', '-outform', 'DER'), -32)) } qw(a b);
my $signer = script('signer', "t=\$(mktemp)\ncat > \$t\nopenssl pkeyutl -sign -rawin -inkey $dir/\$1.pem -in \$t | base64 -w0\nrm \$t\n");
sub seal_says { return ($node->psql('postgres', 'CALL immiiq.seal()'))[2] }
sub pending { $node->safe_psql('postgres', "INSERT INTO note VALUES ('$alpha', $_[0], 'x')"); return }

my $before = $node->safe_psql('postgres', $problems);
set('immiiq.signer_command' => "$signer a");
$node->poll_query_until('postgres', q{SELECT current_setting('immiiq.signer_command') <> ''}) or die;
pending(30);
like(seal_says(), qr/immiiq.signer_command is set and immiiq.signer_key is not/, 'a signer without a key: nothing is sealed');
set('immiiq.signer_key' => $key{b});
$node->poll_query_until('postgres', q{SELECT current_setting('immiiq.signer_key') <> ''}) or die;
like(seal_says(), qr/its signature does not hold under immiiq.signer_key/, 'the signature of another key is refused');
is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM immiiq.audit_waiting'), 't', 'entries wait');
for my $bad ([ 'echo', 'it gave no signature' ], [ 'false', 'it failed' ], [ "$signer a | cut -c1-80", 'it gave no signature' ], [ "$signer a | tr A-Z a-z", 'its signature does not hold' ])
{
	set('immiiq.signer_command' => $bad->[0], 'immiiq.signer_key' => $key{a});
	$node->poll_query_until('postgres', sprintf q{SELECT current_setting('immiiq.signer_command') = '%s'}, $bad->[0]) or die;
	like(seal_says(), qr/$bad->[1]/, "$bad->[0]: $bad->[1]");
}
set('immiiq.signer_command' => "$signer a", 'immiiq.signer_key' => $key{a});
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM immiiq.audit_waiting') ? pass('with the signature of the right key they are sealed, by the worker') : fail('sealed');
my ($verifier) = $node->safe_psql('postgres', 'SELECT immiiq.log_verifier()') =~ /^[^+]+\+[0-9a-f]{8}\+(.+)$/;
is(unpack('H*', substr(decode_base64($verifier), 1)), $key{a}, 'heads name the signer\'s key');
is($node->safe_psql('postgres', $problems), $before, 'and verify, those of before too');
set('immiiq.signer_command' => "$signer b", 'immiiq.signer_key' => "$key{b}, $key{a}");
$node->poll_query_until('postgres', sprintf q{SELECT current_setting('immiiq.signer_command') = '%s'}, "$signer b") or die;
put(31);
is($node->safe_psql('postgres', $problems), $before, 'after a change of keys the former one is still known');
set('immiiq.signer_key' => $key{b});
$node->poll_query_until('postgres', sprintf q{SELECT current_setting('immiiq.signer_key') = '%s'}, $key{b}) or die;
like($node->safe_psql('postgres', $problems), qr/is signed by a key that is not this installation's/, 'and not when it is taken off the list');
# Somebody who controls the server alone, not the signer, signs with the key that the database has.
set('immiiq.signer_command' => '', 'immiiq.signer_key' => "$key{b}, $key{a}");
$node->poll_query_until('postgres', q{SELECT current_setting('immiiq.signer_command') = ''}) or die;
put(32);
is($node->safe_psql('postgres', $problems), $before, 'the installation\'s own key signs again when no signer is set');
set('immiiq.signer_command' => "$signer b");
$node->poll_query_until('postgres', sprintf q{SELECT current_setting('immiiq.signer_command') = '%s'}, "$signer b") or die;
like($node->safe_psql('postgres', $problems), qr/is not signed by immiiq.signer_command, which signed before it/, 'while one is, that is found');
like(($node->psql('postgres', q{ALTER SYSTEM SET immiiq.signer_key = 'abc'}))[2], qr/invalid value/, 'what is no key is no setting');
$node->stop;

done_testing();
