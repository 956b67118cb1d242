# A database that was restored from before an erasure: its sealed values stay shut until the ledger is replayed; standbys,
# promotions, crashes and files that cannot be written are told apart from it.
use strict;
use warnings;
use lib 'test/t';
use Immiiq;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $alpha = 'a1fa0000-0000-4000-8000-000000000000';
my $beta = 'be7a0000-0000-4000-8000-000000000000';
my %id = (zoe => '11111111-1111-4111-8111-111111111111', yan => '22222222-2222-4222-8222-222222222222',
	max => '33333333-3333-4333-8333-333333333333', bob => '44444444-4444-4444-8444-444444444444');

my $node = new_cluster('firm', streaming => 1, start => 0, config => "autovacuum = off");
$node->enable_archiving;
my $dir = $node->basedir;
mkdir "$dir/heads";
my $heads = "$dir/heads/ledger";
$node->append_conf('postgresql.conf', "immiiq.ledger_file = '$heads'");
$node->start;
my %token;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION immiiq;
	CREATE ROLE regress_immiiq_app LOGIN;
	SELECT immiiq.grant_application('regress_immiiq_app');
	CREATE TABLE client (org_id uuid, client_id uuid, name enc_text(equality), PRIMARY KEY (org_id, client_id));
	SELECT immiiq.protect('client', 'clients', client => 'client_id');
	GRANT ALL ON client TO regress_immiiq_app});
for my $org ([ $alpha, qw(zoe yan max) ], [ $beta, 'bob' ])
{
	my ($o, @clients) = @$org;
	my $values = join ', ', map { "('$o', '$id{$_}', '$_')" } @clients;
	my $member = $node->safe_psql('postgres', qq{SELECT FROM immiiq.create_org('Org', '$o') \\gset
		BEGIN; SELECT FROM immiiq.operate('$o', 'test') \\gset
		INSERT INTO client VALUES $values;
		INSERT INTO immiiq.member (org_id, email, name, scope, modules) VALUES ('$o', 'a\@example.org', 'A', 'all', '{clients,settings}') RETURNING member_id; COMMIT});
	$token{$o} = $node->safe_psql('postgres', "SELECT immiiq.issue_session('$member')");
}
$node->safe_psql('postgres', 'CALL immiiq.seal()');

# What a member of an organisation reads, or the SQLSTATE and message.
sub reads
{
	my ($where, $org, $database) = @_;
	my ($status, $out, $err) = $where->psql($database // 'postgres', "\\set VERBOSITY verbose\nBEGIN; SELECT FROM immiiq.authenticate('$token{$org}') \\gset\nSELECT string_agg(name::text, ' ' ORDER BY client_id) FROM client; COMMIT",
		extra_params => [ '-U', 'regress_immiiq_app' ]);
	return $1 if $err =~ /ERROR:\s+(.*)/;
	return $out;
}
my $shut = 'IQ004: this database is from before an erasure: the organisation\'s sealed values stay shut';
sub erase
{
	my ($where, $who) = @_;
	return $where->safe_psql('postgres', qq{BEGIN; SELECT FROM immiiq.operate('$alpha', 'test') \\gset
		SELECT immiiq.request_erasure('$id{$who}', 'asked', '0'); COMMIT});
}
sub ledger_check { return $_[0]->safe_psql('postgres', "SELECT status, detail FROM immiiq.doctor() WHERE check_name = 'ledger'"); }
sub restart_from
{
	my ($name, $action) = @_;
	my $restored = PostgreSQL::Test::Cluster->new($name);
	$restored->init_from_backup($node, 'before', has_restoring => 1, standby => 0);
	$restored->append_conf('postgresql.conf', "archive_mode = off\nrecovery_target_lsn = '$_[2]'\nrecovery_target_action = $action");
	$restored->start;
	return $restored;
}

sub heads_say
{
	my ($pattern) = @_;
	for (1 .. 600)
	{
		return 1 if -e $heads && slurp_file($heads) =~ $pattern;
		select undef, undef, undef, 0.05;
	}
	return 0;
}

# ---- what is kept of before ----
my $dump = "$dir/before.dump";
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'a dump is taken');
$node->backup('before');
$node->safe_psql('postgres', q{SELECT FROM pg_logical_emit_message(false, 'immiiq', 'here')});
my $before = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
$node->safe_psql('postgres', q{SELECT FROM pg_logical_emit_message(false, 'immiiq', 'here')});
my $segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
$node->poll_query_until('postgres', "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver");
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'before', has_streaming => 1);
$standby->start;
is(reads($standby, $alpha), 'zoe yan max', 'a standby reads');
$node->wait_for_catchup($standby);
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');

# ---- the file cannot be written; the server is killed before it is ----
chmod 0500, "$dir/heads";
like(ledger_check($node), qr/^warning\|the server's user may not write/, 'doctor says so when heads cannot be kept');
my $first = erase($node, 'zoe');
ok($node->poll_query_until('postgres', "SELECT phase = 'tidy' AND problem LIKE '%could not be kept%' FROM immiiq.erasure"), 'an erasure waits before its certificate, and says why');
is($node->safe_psql('postgres', "SELECT count(*) FROM immiiq.subject_key WHERE client_id = '$id{zoe}'"), '0', 'the key is gone all the same');
ok(!-e $heads, 'the file is not there');
$node->stop('immediate');
chmod 0700, "$dir/heads";
$node->start;
$node->safe_psql('postgres', 'UPDATE immiiq.erasure SET retry_at = NULL');
ok($node->poll_query_until('postgres', "SELECT phase = 'done' FROM immiiq.erasure"), 'killed in between, it goes on once the file can be written');
my $content = slurp_file($heads);
like($content, qr/\A.{172}\n[0-9a-f]{32} $alpha 0{19}1 [0-9a-f]{64} [0-9a-f]{16}\n\z/, 'the file has the head');
is((stat $heads)[2] & 07777, 0600, 'for the server\'s user alone');
unlike($content, qr/$id{zoe}/, 'and names nobody');
is(reads($node, $alpha), 'yan max', 'the database itself reads on');
is($node->safe_psql('postgres', 'SELECT count(*) FROM immiiq.ledger_pending'), '0', 'nothing waits');
is(ledger_check($node), 'ok|heads of the ledger of erasures are kept beside the root key', 'doctor agrees');
erase($node, 'yan');
ok($node->poll_query_until('postgres', "SELECT count(*) FILTER (WHERE phase = 'done') = 2 FROM immiiq.erasure"), 'a second client is erased');
like(slurp_file($heads), qr/ 0{19}2 /, 'the head moves on');
my $ledger = $node->safe_psql('postgres', 'SELECT immiiq.export_erasures()');

# ---- a standby that is behind is no restored database; nor is one that is promoted ----
is(reads($standby, $alpha), 'zoe yan max', 'a standby that is behind reads on');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$node->wait_for_catchup($standby);
is(reads($standby, $alpha), 'max', 'and follows');

# ---- recovery to a point before: paused on its way, then promoted ----
my $restored = restart_from('restored', 'pause', $before);
$restored->poll_query_until('postgres', "SELECT pg_get_wal_replay_pause_state() = 'paused'");
is(reads($restored, $alpha), $shut, 'recovered to before, its values are shut while it waits');
is(reads($restored, $beta), 'bob', 'another organisation\'s open');
$restored->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is(reads($restored, $alpha), $shut, 'and afterwards');
is(reads($restored, $beta), 'bob', 'another organisation\'s open');
like($restored->safe_psql('postgres', q{SELECT detail FROM immiiq.doctor() WHERE check_name = 'organisation_keys'}), qr/1 of 2 organisations do not open, first $alpha \(IQ004\)/, 'doctor says which');
my ($status, $out, $err) = $restored->psql('postgres', qq{\\set VERBOSITY verbose\nBEGIN; SELECT FROM immiiq.operate('$alpha', 'test'); SELECT new_row FROM immiiq.audit_log});
like("$out$err", qr/IQ004/, 'nor does the log open');
(undef, undef, $err) = $restored->psql('postgres', qq{\\set VERBOSITY verbose\nBEGIN; SELECT FROM immiiq.operate('$alpha', 'test'); INSERT INTO client VALUES ('$alpha', gen_random_uuid(), 'new')});
like($err, qr/IQ004/, 'nothing is sealed there either');
like(slurp_file($heads), qr/ 0{19}2 /, 'the restored database does not move the head');

sub replay
{
	my ($where, $database, $lines) = @_;
	my ($status, $out, $err) = $where->psql($database, "\\set VERBOSITY verbose\nSELECT immiiq.replay_erasures(\$L\$$lines\$L\$)");
	return $err =~ /ERROR:\s+(.*)/ ? $1 : $out;
}
my @lines = split /\n/, $ledger;
my $forged = $ledger =~ s/$id{yan}/$id{max}/r;
like(replay($restored, 'postgres', $forged), qr/^XX001: line 2 of the ledger/, 'a changed ledger is refused');
like(replay($restored, 'postgres', $lines[1]), qr/^XX001: the ledger of organisation \S+ does not go on/, 'one with a gap is');
like(replay($restored, 'postgres', $lines[0]), qr/^IQ004/, 'one that ends before the head does not lift the quarantine');
is(reads($restored, $alpha), $shut, 'nothing of it stays');
is($restored->safe_psql('postgres', 'SELECT count(*) FROM client'), '4', 'nor has any row gone');
is(replay($restored, 'postgres', $ledger), '2', 'the whole ledger is replayed');
is(reads($restored, $alpha), 'max', 'then the values open again, without those who were erased');
is($restored->safe_psql('postgres', "SELECT count(*) FROM immiiq.subject_key WHERE client_id IN ('$id{zoe}', '$id{yan}')"), '0', 'whose keys are gone');
ok($restored->poll_query_until('postgres', "SELECT count(*) FILTER (WHERE phase = 'done' AND certificate IS NOT NULL) = 2 FROM immiiq.erasure"), 'with certificates anew');
is($restored->safe_psql('postgres', "SELECT count(*) FROM immiiq.verify_audit() WHERE severity = 'error'"), '0', 'the log verifies');
is(replay($restored, 'postgres', $ledger), '0', 'twice is harmless');
is($restored->safe_psql('postgres', 'SELECT immiiq.export_erasures()'), $ledger, 'the ledger is the same as where it came from');
$restored->stop;
is(reads($node, $alpha), 'max', 'and the database that was restored from is not disturbed');
unlink $heads;
append_to_file($heads, $content);
$node->restart;
ok(heads_say(qr/ 0{19}2 /), 'a worker that starts brings a file that is behind up to the database');

# ---- the dump, beside the database that it was taken of ----
$node->safe_psql('postgres', 'CREATE DATABASE old');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('old'), $dump ], 'the dump is restored');
is(reads($node, $alpha, 'old'), $shut, 'its values are shut');
is(reads($node, $beta, 'old'), 'bob', 'another organisation\'s open');
is(reads($node, $alpha), 'max', 'and those of the database beside it');
is(replay($node, 'old', $ledger), '2', 'the ledger is replayed');
is(reads($node, $alpha, 'old'), 'max', 'and they open');
is(reads($node, $alpha), 'max', 'in both');
$node->safe_psql('postgres', 'DROP DATABASE old WITH (FORCE)');

# ---- a damaged file shuts everything that it could tell about ----
my $whole = slurp_file($heads);
for my $damage ([ 'a changed digit', sub { $_[0] =~ s/ 0{19}2 / 00000000000000000001 /r } ], [ 'an end cut off', sub { substr $_[0], 0, -5 } ],
	[ 'a line cut off', sub { substr $_[0], 0, 173 } ], [ 'nothing in it', sub { '' } ])
{
	my ($what, $change) = @$damage;
	unlink $heads;
	append_to_file($heads, $change->($whole));
	is(reads($node, $alpha), 'IQ004: the file of ledger heads is damaged', "$what: values stay shut, with the reason");
}
unlink $heads;
append_to_file($heads, $content);
is(reads($node, $alpha), 'max', 'put back, or an older one that is whole, they open');

# ---- failover ----
$node->stop;
$standby->promote;
is(reads($standby, $alpha), 'max', 'a promoted standby reads on');
ok(heads_say(qr/ 0{19}2 /), 'its worker brings a file that was behind up');
erase($standby, 'max');
ok($standby->poll_query_until('postgres', "SELECT count(*) FILTER (WHERE phase = 'done') = 3 FROM immiiq.erasure"), 'it erases');
like(slurp_file($heads), qr/ 0{19}3 /, 'and keeps the head');

# ---- holds that were placed and released since ----
my %held = (ned => '55555555-5555-4555-8555-555555555555', nan => '66666666-6666-4666-8666-666666666666');
my $ended = $standby->safe_psql('postgres', qq{BEGIN; SELECT FROM immiiq.operate('$alpha', 'test') \\gset
	INSERT INTO client VALUES ('$alpha', '$held{ned}', 'ned'), ('$alpha', '$held{nan}', 'nan');
	SELECT immiiq.place_hold('$held{ned}', 'court'); COMMIT});
my $later = "$dir/later.dump";
$standby->command_ok([ 'pg_dump', '-Fc', '-f', $later, $standby->connstr('postgres') ], 'a dump is taken while a client is held');
my $placed = $standby->safe_psql('postgres', qq{BEGIN; SELECT FROM immiiq.operate('$alpha', 'test') \\gset
	SELECT immiiq.release_hold('$ended', 'settled') \\gset ignored_
	SELECT immiiq.request_erasure('$held{ned}', 'asked', '0') \\gset ignored_
	SELECT immiiq.release_hold(immiiq.place_hold('$held{nan}', 'a mistake'), 'a mistake') \\gset ignored_
	SELECT immiiq.place_hold('$held{nan}', 'regulator'); COMMIT});
ok($standby->poll_query_until('postgres', "SELECT count(*) FILTER (WHERE phase = 'done') = 4 FROM immiiq.erasure"), 'the release lets the erasure be');
$standby->poll_query_until('postgres', 'SELECT count(*) = 0 FROM immiiq.ledger_pending');
$ledger = $standby->safe_psql('postgres', 'SELECT immiiq.export_erasures()');
$standby->safe_psql('postgres', 'CREATE DATABASE later');
$standby->command_ok([ 'pg_restore', '-d', $standby->connstr('later'), $later ], 'the dump is restored');
is(reads($standby, $alpha, 'later'), $shut, 'its values are shut');
like(replay($standby, 'later', $ledger), qr/^[1-9]\d*$/, 'the ledger is replayed over the hold that it ends');
is(reads($standby, $alpha, 'later'), 'nan', 'who was erased is gone, who is held is there');
is($standby->safe_psql('later', 'SELECT hold_id, client_id, reason FROM immiiq.active_hold'), "$placed|$held{nan}|regulator", 'the hold that is left is placed again, under its name');
is($standby->safe_psql('later', 'SELECT immiiq.export_erasures()'), $ledger, 'and the ledger is the same');
$standby->safe_psql('postgres', 'DROP DATABASE later WITH (FORCE)');

# ---- a closed organisation; no file at all ----
$standby->safe_psql('postgres', qq{BEGIN; SELECT FROM immiiq.operate('$beta', 'test') \\gset
	SELECT immiiq.request_closure('ended', '0') AS request \\gset
	SELECT immiiq.confirm_closure(:'request'); COMMIT});
ok($standby->poll_query_until('postgres', "SELECT phase = 'done' FROM immiiq.erasure WHERE kind = 'org'"), 'an organisation is closed');
ok($standby->poll_query_until('postgres', "SELECT count(*) = 0 FROM immiiq.ledger_pending"), 'and its head kept');
like(slurp_file($heads), qr/ $beta 0{19}1 /, 'beside the other');
$standby->stop;
$restored = restart_from('closed', 'promote', $before);
$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is(reads($restored, $beta), $shut, 'restored from before the closing, its values are shut');
$restored->append_conf('postgresql.conf', "immiiq.ledger_file = ''\nimmiiq.root_key_file = ''\nimmiiq.root_key_command = 'cat " . root_key_file($node) . "'");
$restored->restart;
like(ledger_check($restored), qr/^warning\|neither immiiq.ledger_file nor immiiq.root_key_file is set/, 'with root keys by command and no file, doctor warns');
$restored->stop;

done_testing();
