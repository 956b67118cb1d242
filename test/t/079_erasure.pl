# Erasure with PostgreSQL's own tools: killed in the middle and taken up again; every file of the cluster is searched for what
# was erased; dumps and base backups of before are opened with everything that is left.
use strict;
use warnings;
use Immiiq;
use File::Find;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $org = 'a1fa0000-0000-4000-8000-000000000000';
my $zoe = '11111111-1111-4111-8111-111111111111';
my $max = '22222222-2222-4222-8222-222222222222';
my ($first, $second) = ('11' x 32, '22' x 32);
my $rows = 12000;

my $node = new_cluster('firm', streaming => 1, start => 0, root_key => "first $first",
	config => "restart_after_crash = on\nwal_recycle = off\nmin_wal_size = 32MB\nautovacuum = off");
$node->enable_archiving;
$node->start;
my $dir = $node->basedir;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION immiiq;
	CREATE TABLE client (org_id uuid, client_id uuid, name enc_text(equality), born text, PRIMARY KEY (org_id, client_id));
	CREATE TABLE visit (org_id uuid, visit_id int, client_id uuid, passport enc_text(sealed), note text, PRIMARY KEY (org_id, visit_id));
	CREATE INDEX ON visit (note);
	SELECT immiiq.protect('client', 'clients', client => 'client_id'), immiiq.protect('visit', 'clients', client => 'client_id');
	SELECT immiiq.create_org('Alpha', '$org');
	BEGIN;
	SELECT immiiq.operate('$org', 'test');
	INSERT INTO client VALUES ('$org', '$zoe', 'Zoe Canary', 'PLAINCANARY-born'), ('$org', '$max', 'Max Other', 'PLAINOTHER-born');
	INSERT INTO visit SELECT '$org', i, '$zoe', 'passport ' || i, 'PLAINCANARY-' || i FROM generate_series(1, $rows) AS i;
	INSERT INTO visit SELECT '$org', $rows + i, '$max', 'passport ' || i, 'PLAINOTHER-' || i FROM generate_series(1, 100) AS i;
	COMMIT;
	CALL immiiq.seal();
	ANALYZE});

# What is looked for afterwards, as it stands in files: 24 bytes of each of some envelopes, images of the log, keys.
my $envelope = q{decode(rpad(translate(substr(v, 5), '-_', '+/'), (length(v) - 4 + 3) / 4 * 4, '='), 'base64')};
my @envelopes = split /\n/, $node->safe_psql('postgres', qq{
	SELECT encode(substr($envelope, 1, 48), 'hex') FROM (SELECT name::text AS v FROM client WHERE client_id = '$zoe'
		UNION ALL SELECT passport::text FROM visit WHERE client_id = '$zoe' AND visit_id % 1000 = 1) AS a});
my ($other) = $node->safe_psql('postgres', qq{SELECT encode(substr($envelope, 1, 48), 'hex') FROM (SELECT passport::text AS v FROM visit WHERE visit_id = $rows + 7) AS a});
my @wrapped = split /\n/, $node->safe_psql('postgres', qq{
	SELECT encode(wrapped, 'hex') FROM immiiq.subject_key WHERE client_id = '$zoe'
	UNION ALL SELECT encode(wrapped, 'hex') FROM immiiq.wrapped_key WHERE org_id = '$org' AND purpose IN ('data', 'index', 'subject')});
is(scalar @envelopes, 13, 'envelopes to look for');
is(scalar @wrapped, 4, 'and the keys that open them');
$node->safe_psql('postgres', qq{CREATE TABLE armour AS SELECT name::text AS v, 'name' AS what FROM client WHERE client_id = '$zoe'
	UNION ALL SELECT passport::text, 'passport' FROM visit WHERE client_id = '$zoe' AND visit_id % 1000 = 1});

# How many of the copies open now for a member of the organisation, of how many.
sub opened_copies
{
	return $node->safe_psql('postgres', qq{
		CREATE TABLE names AS SELECT name AS v FROM client WHERE false;
		CREATE TABLE passports AS SELECT passport AS v FROM visit WHERE false;
		INSERT INTO names SELECT v FROM armour WHERE what = 'name';
		INSERT INTO passports SELECT v FROM armour WHERE what = 'passport';
		BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset
		SELECT (SELECT count(*) FROM names WHERE v::text NOT LIKE 'iq1:%') + (SELECT count(*) FROM passports WHERE v::text NOT LIKE 'iq1:%'),
			(SELECT count(*) FROM names) + (SELECT count(*) FROM passports);
		COMMIT;
		DROP TABLE names, passports});
}
is(opened_copies(), '13|13', 'they open as long as the keys are there');

# How many of these texts (hex for bytes) are in a file below a folder; names of the files with them.
sub files_with
{
	my ($where, @texts) = @_;
	my @found;
	my $pattern = join '|', map { quotemeta(/^[0-9a-f]{40,}$/ ? pack('H*', $_) : $_) } @texts;
	find({ no_chdir => 1, wanted => sub {
		return unless -f $_;
		my $content = do { local $/; open my $fh, '<:raw', $_ or return; <$fh> } // '';
		push @found, $_ if $content =~ /$pattern/;
	} }, $where);
	s/^\Q$where\E\/?// for @found;
	return @found;
}
my $data = $node->data_dir;
$node->safe_psql('postgres', 'CHECKPOINT');
isnt(scalar files_with($data, 'PLAINCANARY'), 0, 'plain values are found before');
isnt(scalar(grep { /^base/ } files_with($data, @envelopes)), 0, 'and envelopes');
isnt(scalar(grep { /^base/ } files_with($data, $wrapped[0])), 0, 'and the client\'s key');

# ---- what is kept of before ----
my $dump = "$dir/before.dump";
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'a dump is taken before');
$node->backup('before');
my $before = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');

# ---- killed in the middle, twice ----
$node->safe_psql('postgres', qq{
	CREATE TABLE stop (at text);
	CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS \$\$
	BEGIN
		IF EXISTS (SELECT FROM public.stop WHERE at = TG_ARGV[0]) THEN
			PERFORM pg_catalog.pg_sleep(600);
		END IF;
		RETURN COALESCE(NEW, OLD);
	END \$\$;
	CREATE TRIGGER stop_rows BEFORE UPDATE ON immiiq.erasure FOR EACH ROW WHEN ((NEW.counts #>> '{public.visit,deleted}')::int > 5000) EXECUTE FUNCTION stop('rows');
	CREATE TRIGGER stop BEFORE UPDATE ON immiiq.erasure FOR EACH ROW WHEN (NEW.phase = 'tidy') EXECUTE FUNCTION stop('key')});
my $request = $node->safe_psql('postgres', qq{INSERT INTO stop VALUES ('rows');
	BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset
	SELECT immiiq.request_erasure('$zoe', 'letter of 3 May', '0'); COMMIT});
sub kill_driver
{
	my ($what, $next) = @_;
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'immiiq erasure' AND wait_event = 'PgSleep'"), "$what: it is at work");
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'immiiq erasure'");
	my $offset = -s $node->logfile;
	# Who takes it up stops at the next place.
	$node->safe_psql('postgres', "UPDATE stop SET at = '$next'");
	kill 'KILL', $pid;
	ok($node->wait_for_log(qr/database system is ready to accept connections/, $offset), "$what: killed, the server comes back");
	$node->poll_query_until('postgres', 'SELECT true');
}
kill_driver('between batches', 'rows');
is($node->safe_psql('postgres', "SELECT phase, counts #>> '{public.visit,deleted}' FROM immiiq.erasure"), 'rows|4999', 'what was committed stays done');
is($node->safe_psql('postgres', "SELECT count(*) FROM visit WHERE client_id = '$zoe'"), '7001', 'the rest is there');
is($node->safe_psql('postgres', "SELECT count(*) FROM immiiq.subject_key WHERE client_id = '$zoe'"), '1', 'so is the key');
$node->safe_psql('postgres', "UPDATE stop SET at = 'key'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'immiiq erasure'");
$node->poll_query_until('postgres', "SELECT phase = 'key' FROM immiiq.erasure");
kill_driver('after the key', 'none');
is($node->safe_psql('postgres', "SELECT count(*) FROM immiiq.subject_key WHERE encode(wrapped, 'hex') = '$wrapped[0]'"), '0', 'the step was not committed, but the key is overwritten for good');
ok($node->poll_query_until('postgres', "SELECT phase = 'done' FROM immiiq.erasure"), 'the worker takes it up and it ends');
$node->safe_psql('postgres', 'DROP TRIGGER stop_rows ON immiiq.erasure; DROP TRIGGER stop ON immiiq.erasure; DROP FUNCTION stop(); DROP TABLE stop');
my $certificate = $node->safe_psql('postgres', qq{BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset
	SELECT immiiq.erasure_certificate('$request'); COMMIT});
my $statement = decode_json((split /\n/, $certificate)[0]);
is($statement->{rows}{'public.visit'}{deleted}, $rows, 'the certificate counts every row once');
is(scalar @{ $statement->{key_commitments} }, 1, 'and the key, though it was killed in between');
is($node->safe_psql('postgres', "SELECT count(*) FROM immiiq.erasure_ledger"), '1', 'the ledger has it once');
is($node->safe_psql('postgres', "SELECT count(*) FROM immiiq.verify_audit() WHERE severity = 'error'"), '0', 'the log verifies');

# ---- openssl, as documented ----
append_to_file("$dir/certificate", $certificate);
append_to_file("$dir/key.pem", $node->safe_psql('postgres', 'SELECT immiiq.certificate_key()'));
my $openssl = "cd '$dir' && head -1 certificate | tr -d '\\n' > statement; sed -n 2p certificate | base64 -d > signature && "
	. 'openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in statement -sigfile signature';
command_ok([ 'sh', '-c', $openssl ], 'openssl verifies the certificate');
command_fails([ 'sh', '-c', "sed -i 's/\"deleted\": 12000/\"deleted\": 11999/' '$dir/certificate'; $openssl" ], 'but not a changed one');

# ---- every file of the cluster ----
$node->safe_psql('postgres', 'UPDATE immiiq.erasure SET rotate_by = now()');
ok($node->poll_query_until('postgres', 'SELECT NOT EXISTS (SELECT FROM immiiq.erasure WHERE rotated_at IS NULL) AND NOT EXISTS (SELECT FROM immiiq.rekey)'), 'the organisation\'s keys are rotated');
$node->safe_psql('postgres', 'VACUUM');
$node->safe_psql('postgres', 'CHECKPOINT');
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->safe_psql('postgres', 'CHECKPOINT');
my @files = grep { !/^pg_wal/ } files_with($data, @wrapped);
is("@files", '', 'no file but WAL has the client\'s key, nor those that were rotated');
is(opened_copies(), '0|13', 'envelopes, wherever a copy is, open under no key that is left');
is($node->safe_psql('postgres', qq{BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset
	SELECT count(*) FROM visit WHERE passport::text = 'passport ' || (visit_id - $rows); COMMIT}), '100', 'everybody else\'s values open');
my %listed = map { $_->{table} => $_->{remedy} } @{ $statement->{pages_in_clear} };
is_deeply([ sort keys %listed ], [ 'pg_catalog.pg_statistic', 'public.client', 'public.visit' ], 'the certificate lists tables with plain columns');

# Files with plain values outside WAL belong to relations that the certificate lists.
my %relation = map { split /\|/ } split /\n/, $node->safe_psql('postgres', q{
	SELECT pg_relation_filepath(c.oid), COALESCE(i.indrelid, c.oid)::regclass FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid WHERE pg_relation_filepath(c.oid) IS NOT NULL});
my @plain = grep { !/^pg_wal/ } files_with($data, 'PLAINCANARY');
isnt(scalar @plain, 0, 'page holes keep plain values');
my @unlisted = grep { my $r = $relation{$_} // $_; !$listed{"public.$r"} && !$listed{"pg_catalog.$r"} } @plain;
is("@unlisted", '', 'in no table that the certificate does not list');

$node->safe_psql('postgres', $_) for sort values %listed;
$node->safe_psql('postgres', 'DROP TABLE armour');
# WAL of before the horizon goes once it is archived.
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->poll_query_until('postgres', "SELECT last_archived_wal >= pg_walfile_name('$statement->{wal_horizon}') FROM pg_stat_archiver");
for (1 .. 3)
{
	$node->safe_psql('postgres', "SELECT pg_logical_emit_message(false, '', ''); SELECT pg_switch_wal()");
	$node->safe_psql('postgres', 'CHECKPOINT');
}
is(join(' ', files_with($data, 'PLAINCANARY')), '', 'after the remedies no file of the cluster has a plain value');
is(join(' ', files_with($data, @wrapped)), '', 'nor a key');
is(join(' ', files_with($data, @envelopes)), '', 'nor an envelope of a row');
isnt(scalar files_with($data, 'PLAINOTHER'), 0, 'another client\'s are there');
unlike(slurp_file($node->logfile), qr/PLAINCANARY|Zoe Canary/, 'and the server\'s log never had any');

# ---- what a dump and a base backup of before are worth ----
sub reload_keys
{
	my $offset = -s $node->logfile;
	write_root_key($node, @_);
	$node->reload;
	ok($node->wait_for_log(qr/loaded \d root key/, $offset), 'root keys are reloaded');
}
my $reads = qq{BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset
	SELECT 'read ' || name::text FROM client WHERE client_id = '$zoe'; SELECT 'found ' || count(*) FROM client WHERE org_id = '$org' AND name = 'Zoe Canary';
	SELECT 'log ' || count(new_row) FROM immiiq.audit_log WHERE client_id = '$zoe'; COMMIT};
sub tried
{
	my ($where, $database) = @_;
	my ($out, $err) = ('', '');
	$where->psql($database, $reads, stdout => \$out, stderr => \$err, on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return "$out\n$err";
}
sub reasons { return $node->safe_psql('postgres', "SELECT retirable, array_to_string(reasons, '; ') FROM immiiq.root_epoch WHERE root_id = '$_[0]'"); }
like(reasons('first'), qr/^f\|it is the current root key; \d+ keys of this database are under it/, 'the root key in use may not be retired');
reload_keys("first $first", "second $second");
$node->safe_psql('postgres', "BEGIN; CREATE TABLE prepared (); PREPARE TRANSACTION 'waits'");
$node->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('late', true); CREATE DATABASE another");
$node->safe_psql('postgres', 'SELECT immiiq.rewrap_keys()');
like(reasons('first'), qr/^f\|keys wait to be overwritten: \S+; slot late reads WAL of before; backups and WAL of before are kept until [-0-9]+; no backup of since then was restored as a test: \S+; prepared transaction waits is open; database another may need it/,
	'slots, backups, prepared transactions and databases keep the one of before');
$node->safe_psql('postgres', "COMMIT PREPARED 'waits'");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM immiiq.rekey'), 'what was replaced is overwritten');
$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('late'); SELECT immiiq.clear_root('first', 'another')");
like(reasons('first'), qr/^f\|backups and WAL of before are kept until [-0-9]+; no backup of since then was restored as a test: \S+$/, 'backups remain');
$node->safe_psql('postgres', "UPDATE immiiq.rewrap SET at = at - interval '91 days'");
like(reasons('first'), qr/^f\|no backup of since then was restored as a test: \S+$/, 'a backup that nobody has restored is none');
$node->safe_psql('postgres', "SELECT immiiq.record_backup('base', now(), false)");
like(reasons('first'), qr/^f\|no backup/, 'nor one that was recorded only');
$node->safe_psql('postgres', "SELECT immiiq.record_backup('base', now(), true)");
is(reasons('first'), 't|', 'then it may be retired');
like(reasons('second'), qr/^f\|it is the current root key/, 'never the last');
reload_keys("second $second");
is($node->safe_psql('postgres', "SELECT count(*) FROM immiiq.wrapped_key WHERE root_id <> 'second'"), '0', 'the epoch of before is over');
$node->safe_psql('postgres', 'CREATE DATABASE old');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('old'), $dump ], 'the dump is restored');
my $said = tried($node, 'old');
like($said, qr/IQ002/, 'its keys do not open without the root key of then');
unlike($said, qr/read Zoe|found [1-9]|log [1-9]/, 'nothing of the client is read or found');
# Everything that is left: today's keys in place of then's.
for my $table (qw(root_key wrapped_key subject_key))
{
	$node->safe_psql('postgres', "COPY immiiq.$table TO '$dir/$table'");
	$node->safe_psql('old', "SET session_replication_role = replica; ALTER TABLE immiiq.$table DISABLE TRIGGER ALL; DELETE FROM immiiq.$table; COPY immiiq.$table FROM '$dir/$table'; ALTER TABLE immiiq.$table ENABLE TRIGGER ALL");
}
$said = tried($node, 'old');
unlike($said, qr/read Zoe|found [1-9]|log [1-9]/, 'nor with every key of today in their place');
$node->safe_psql('postgres', 'DROP DATABASE old');

my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($node, 'before', has_restoring => 1, standby => 0);
my $file = write_root_key($restored, "second $second");
$restored->append_conf('postgresql.conf', "archive_mode = off\nimmiiq.root_key_file = '$file'\nrecovery_target_lsn = '$before'\nrecovery_target_action = promote");
$restored->start;
$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is($restored->safe_psql('postgres', "SELECT count(*) FROM visit WHERE client_id = '$zoe'"), "$rows", 'a base backup and archived WAL bring the rows back');
$said = tried($restored, 'postgres');
unlike($said, qr/read Zoe|found [1-9]|log [1-9]/, 'but their sealed values stay shut');
$restored->stop;

done_testing();
