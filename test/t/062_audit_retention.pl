# Entries that are old enough go, month by month, under a statement in their own log: a server that thinks it is eight and a half years
# ago writes them, and the same server with the right clock prunes them.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($alpha, $beta) = ('a1fa0000-0000-4000-8000-000000000000', 'be7a0000-0000-4000-8000-000000000000');
my $clock = PostgreSQL::Test::Utils::tempdir . '/clock.so';
system('cc', '-shared', '-fPIC', '-o', $clock, 'test/t/clock.c', '-ldl') == 0 or die 'could not build the clock';

my $node = new_cluster('retention', start => 0, config => "immiiq.audit_keep = ''\nimmiiq.seal_interval = '60s'");

# Starts the server with a clock that goes wrong by so many days.
sub start_at
{
	my ($days) = @_;
	local $ENV{LD_PRELOAD} = $clock;
	local $ENV{IMMIIQ_CLOCK_OFFSET} = $days * 86400;
	$node->start;
	return;
}

sub sql { my ($text) = @_; return $node->safe_psql('postgres', $text); }
sub act { my ($org, $text) = @_; return sql("BEGIN; SELECT FROM immiiq.operate('$org', 'test'); $text; COMMIT"); }
sub put { my ($org, $from, $to) = @_; return sql("INSERT INTO note SELECT '$org', n, 'note ' || n FROM generate_series($from, $to) n"); }
sub refused { my ($text, $want, $name) = @_; my ($rc, undef, $err) = $node->psql('postgres', $text); like($err, $want, $name); return; }

my $problems = q{SELECT coalesce(string_agg(severity || ': ' || problem, E'\n' ORDER BY org_id, position, problem), 'none') FROM immiiq.verify_audit()};
my $old = q{SELECT count(*) FROM immiiq.entry WHERE month < now() - interval '7 years' AND org_id = };
my $statements = q{SELECT coalesce(string_agg(org_id || ' ' || (new_row->>'first') || ' ' || (new_row->>'last') || ' ' || actor, ',' ORDER BY org_id, position), '')
	FROM immiiq.audit_log WHERE table_name = 'prune'};

start_at(-3103);
sql('CREATE EXTENSION immiiq');
sql(qq{SELECT immiiq.create_org('Alpha', '$alpha'), immiiq.create_org('Beta', '$beta');
	CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
	SELECT immiiq.protect('note', NULL)});
put($alpha, 1, 20);
put($beta, 101, 105);
my $hold = (split /\n/, act($beta, "SELECT immiiq.place_org_hold('a matter')"))[-1];
sql("BEGIN; INSERT INTO note VALUES ('$alpha', 50, 'prepared'); PREPARE TRANSACTION 'long'");
sql('CALL immiiq.seal()');
my ($month) = sql("SELECT to_char(min(month), 'YYYY_MM') FROM immiiq.entry");

# Another database, for an organisation that is closed later on.
my $gamma = '9a33a000-0000-4000-8000-000000000000';
sql('CREATE DATABASE closing');
sub closing { my ($text) = @_; return $node->safe_psql('closing', $text); }
closing(qq{CREATE EXTENSION immiiq; SELECT immiiq.create_org('Gamma', '$gamma'), immiiq.create_org('Beta', '$beta');
	CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
	SELECT immiiq.protect('note', NULL);
	INSERT INTO note SELECT '$gamma', n FROM generate_series(1, 10) n});
my $held = (split /\n/, closing("BEGIN; SELECT FROM immiiq.operate('$gamma', 'test'); SELECT immiiq.place_org_hold('a matter'); COMMIT"))[-1];
closing('CALL immiiq.seal()');
$node->stop;

$node->start;
my $before = sql("$old '$alpha'");
cmp_ok($before, '>', 19, "$before entries of an organisation are of long ago");
put($alpha, 21, 30);
sql('CALL immiiq.seal()');
is(sql($problems), 'none', 'the log is whole before');

# Who may not, and what does not.
sql(q{CREATE ROLE app LOGIN; CREATE ROLE aud LOGIN; CREATE ROLE oper LOGIN;
	SELECT immiiq.grant_application('app'), immiiq.grant_auditor('aud'), immiiq.grant_operator('oper')});
for my $role (qw(app aud oper))
{
	refused("SET SESSION AUTHORIZATION $role; CALL immiiq.prune_audit('7 years')", qr/permission denied/, "no pruning for $role");
	refused("SET SESSION AUTHORIZATION $role; SELECT immiiq.prune_log('7 years')", qr/permission denied/, "no way in beside it for $role");
}
refused(q{SELECT immiiq.prune_log('7 years')}, qr/append-only|log/, 'the log\'s guards stop it, for a superuser too');
refused(q{CALL immiiq.prune_audit('1 hour')}, qr/kept for a day at least/, 'not less than a day');
refused(q{DELETE FROM immiiq.pruned}, qr/immiiq\.pruned|log/, 'what was pruned cannot be taken back');
sql('CALL immiiq.prune_audit()');
is(sql("$old '$alpha'"), $before, 'an empty setting keeps everything');

# A transaction that is still open; then one whose entries of long ago stand behind newer ones.
like(sql("COMMIT PREPARED 'long'; $problems"), qr/^warning: 1 entries have waited for their seal for over five minutes$/m, 'an entry that waits for its seal for too long is told of');
sql("CALL immiiq.seal()");
my $last = sql("SELECT max(position) FROM immiiq.leaf WHERE org_id = '$alpha' AND position < (SELECT min(position) FROM immiiq.leaf
	WHERE org_id = '$alpha' AND month > now() - interval '1 year')");
sql(q{CALL immiiq.prune_audit('7 years')});
is(sql("$old '$alpha'"), '1', 'what stands behind newer entries stays');
is(sql("SELECT count(*) FROM immiiq.entry_rest WHERE month < now() - interval '7 years' AND org_id = '$alpha'"), '1', 'among the rest');
cmp_ok(sql("$old '$beta'"), '>', 5, 'a hold keeps its organisation\'s');
is(sql("SELECT count(*) FROM pg_class WHERE relname = 'entry_$month'"), '0', 'the month\'s partition is gone');
is(sql("SELECT count(*) FROM immiiq.leaf WHERE org_id = '$alpha' AND position <= $last AND (at, key_id, member_id, session_id, row_tag, address_tag) IS NULL"),
	$last, 'leaves say nothing but their hash');
sql('CALL immiiq.seal()');
is(sql($problems), 'none', 'what remains verifies');
is(sql("SELECT to_jsonb(p) - 'txid' - 'seq' - 'incarnation' - 'before' - 'month' FROM immiiq.pruned AS p WHERE org_id = '$alpha'"),
	qq({"last": $last, "org_id": "$alpha", "keep_days": 2556}), 'and is stated');
like(act($alpha, $statements), qr/\A\n?$alpha 1 $last \w+\n?\z/, 'in the organisation\'s own log');
sql(q{CALL immiiq.prune_audit('7 years')});
sql('CALL immiiq.seal()');
is(sql("SELECT count(*) FROM immiiq.pruned WHERE org_id = '$alpha'"), '1', 'a second time there is nothing to prune');

# An export of what is left proves itself.
my $export = join '', map { "$_\n" } grep { /^\{/ } split /\n/, act($alpha, "SELECT immiiq.export_audit('$alpha')");
append_to_file("$clock.export", $export);
my $key = sql('SELECT immiiq.log_verifier()');
my $first = $last + 1;
like(`immiiq-verify -k '$key' $clock.export`, qr/whole: \d+ entries, positions $first to/, 'an export of what remains holds');
like($export, qr/"name":"last","value":"$last"/, 'with the statement in it');
like(sql("SELECT immiiq.prove_entry('$alpha', $last)"), qr/tlog-proof/, 'that the pruned entry was there can still be proven');

# Rows are held against what is left of the log.
sql(q{UPDATE note SET body = 'again' WHERE note_id IN (1, 22)});
sql('CALL immiiq.seal()');
is(sql($problems), 'none', 'rows whose entries were pruned are no finding');

# The worker, once the hold is released.
act($beta, "SELECT immiiq.release_hold('$hold', 'over')");
sql(q{ALTER SYSTEM SET immiiq.audit_keep = '7 years'});
$node->restart;
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM immiiq.pruned WHERE org_id = '$beta'") or die 'the worker prunes nothing';
is(sql("$old '$beta'"), '0', 'the worker prunes once the hold is released');
sql('CALL immiiq.seal()');
is(sql($problems), 'none', 'and what remains verifies');
is(sql("SELECT count(*) FROM immiiq.verify_audit('$beta')"), '0', 'one organisation alone, too');

sql("ALTER TABLE note DISABLE TRIGGER \"00_immiiq_capture\"; INSERT INTO note VALUES ('$alpha', 60, 'past'); ALTER TABLE note ENABLE ALWAYS TRIGGER \"00_immiiq_capture\"");
like(sql($problems), qr/row of public\.note with note_id 60 has no entry/, 'one put in past the triggers is');
sql("DELETE FROM note WHERE note_id = 60");

# A dump carries it.
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('copy'), $dump ], 'pg_restore');
$node->safe_psql('copy', 'CALL immiiq.seal()');
is($node->safe_psql('copy', $problems), 'none', 'a restored log verifies');
$node->safe_psql('postgres', 'DROP DATABASE copy');

# Forgeries, each in a transaction that is taken back.
my $guards = q{SET LOCAL client_min_messages = error; ALTER TABLE immiiq.pruned DISABLE TRIGGER USER; ALTER TABLE immiiq.entry DISABLE TRIGGER USER;
	DO $$ DECLARE p regclass; BEGIN FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'immiiq.entry'::regclass
		LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', p); END LOOP; END $$};
my $found = "SELECT string_agg(DISTINCT problem, E'\\n') FROM immiiq.verify_audit(rows => false) WHERE severity = 'error'";

sub forged
{
	my ($text, $want, $name) = @_;
	like(sql("BEGIN; $guards; $text; $found; ROLLBACK"), $want, $name);
	return;
}
forged("DELETE FROM immiiq.pruned WHERE org_id = '$alpha'", qr/entry of transaction \d+, number \d+ is missing/, 'pruned without a statement');
forged("UPDATE immiiq.pruned SET last = last + 1; DELETE FROM immiiq.entry AS e USING immiiq.leaf AS l WHERE l.org_id = '$alpha' AND l.position = $first
	AND (e.incarnation, e.txid, e.seq) = (l.incarnation, l.txid, l.seq)", qr/under a statement which says something else/, 'one entry more than the statement says');
forged("UPDATE immiiq.pruned SET before = before - 31", qr/under a statement which says something else/, 'another month');
forged("UPDATE immiiq.pruned SET keep_days = 4000", qr/under a statement which says something else/, 'another time');
forged("UPDATE immiiq.pruned SET seq = seq + 1000", qr/under a statement which is not in the log/, 'a statement that is not there');
forged("UPDATE immiiq.pruned AS p SET (incarnation, txid, seq, month) = (SELECT l.incarnation, l.txid, l.seq, l.month FROM immiiq.leaf AS l
	WHERE l.org_id = '$alpha' AND l.position = $first)", qr/under a statement which is none/, 'an entry that is no statement');
forged("UPDATE immiiq.pruned AS p SET (incarnation, txid, seq, month) = (SELECT o.incarnation, o.txid, o.seq, o.month FROM immiiq.pruned AS o
	WHERE o.org_id = '$beta') WHERE p.org_id = '$alpha'", qr/under a statement which is none/, 'the statement of another organisation');
forged("DELETE FROM immiiq.entry WHERE table_name(body) = 'prune'" =~ s/table_name\(body\) = 'prune'/(incarnation, txid, seq) IN (SELECT incarnation, txid, seq FROM immiiq.pruned)/r,
	qr/under a statement which is not in the log/, 'the statement taken out of the log');
# Statements of a superuser's own, to which the row of what was pruned is made to point.
my $month_before = sql("SELECT before FROM immiiq.pruned WHERE org_id = '$alpha'");
sub stated
{
	my ($kind, $org, $object, $last_text, $set, $want, $name) = @_;
	my ($at) = grep { /^ROW/ } split /\n/, sql(qq{BEGIN;
		SELECT immiiq.record_event('$kind', $org, NULL, '$object', '{"first": 1, "last": $last_text, "before": "$month_before", "keep-days": 2556}');
		SELECT format('ROW(%s, %s, %s, %L::date)', immiiq.audit_incarnation(), pg_current_xact_id()::text::int8, immiiq.last_entry(), immiiq.entry_month()); COMMIT; CALL immiiq.seal()});
	my $said = sql("BEGIN; $guards; UPDATE immiiq.pruned SET (incarnation, txid, seq, month) = $at $set WHERE org_id = '$alpha'; $found; ROLLBACK");
	like($said, $want, $name);
	return;
}
stated('prune', "'$alpha'", $alpha, $last, '', qr/^(?!.*under a statement)/s, 'a statement that says the same is one');
stated('prun', "'$alpha'", $alpha, $last, '', qr/under a statement which is none/, 'an event of a shorter name');
stated('prunf', "'$alpha'", $alpha, $last, '', qr/under a statement which is none/, 'an event of another name');
stated('prune', 'NULL', $beta, $last, '', qr/under a statement which says something else/, 'a statement in the installation\'s log of another organisation');
stated('prune', 'NULL', $alpha, $last, '', qr/^(?!.*under a statement)/s, 'but of this one');
stated('prune', "'$alpha'", $alpha, substr($last, 0, 1), '', qr/under a statement which says something else/, 'a statement whose number is the beginning of the other');
stated('prune', "'$alpha'", $alpha, 'null', '', qr/under a statement which says something else/, 'a statement without the number');
stated('prune', "'$alpha'", $alpha, 999999, ', last = 999999', qr/under a statement which were sealed after the month/, 'positions that no batch has');
my $newest = sql("SELECT max(position) FROM immiiq.leaf WHERE org_id = '$alpha'");
stated('prune', "'$alpha'", $alpha, $newest, ", last = $newest", qr/under a statement which were sealed after the month/, 'positions that were sealed long after the month');
my $statement = "FROM immiiq.pruned AS p WHERE p.org_id = '$alpha' AND (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq)";
forged("UPDATE immiiq.entry AS e SET body = set_byte(body, 0, 255) $statement", qr/under a statement which is none/, 'nonsense in the place of the statement');
forged("UPDATE immiiq.entry AS e SET body = set_byte(body, length(body) - 20, get_byte(body, length(body) - 20) # 1) $statement",
	qr/under a statement which says something else/, 'a statement that does not open');
# a row of a table of that name, which says what the statement does
sql(q{CREATE TABLE prune (org_id uuid NOT NULL, object text PRIMARY KEY, first int, last int, before date, "keep-days" int); SELECT immiiq.protect('prune', NULL)});
my ($row) = grep { /^ROW/ } split /\n/, sql(qq{BEGIN; INSERT INTO prune VALUES ('$alpha', '$alpha', 1, $last, '$month_before', 2556);
	SELECT format('ROW(%s, %s, %s, %L::date)', immiiq.audit_incarnation(), pg_current_xact_id()::text::int8, immiiq.last_entry(), immiiq.entry_month()); COMMIT; CALL immiiq.seal()});
forged("UPDATE immiiq.pruned SET (incarnation, txid, seq, month) = $row WHERE org_id = '$alpha'", qr/under a statement which is none/, 'a row that says what a statement does');
# a superuser who lets the server state what was not so: the statement's own time shows it
sql(qq{BEGIN; $guards;
	SELECT immiiq.record_event('prune', '$alpha', NULL, '$alpha', jsonb_build_object('first', $first, 'last', $first,
		'before', date_trunc('month', now() + interval '1 month')::date, 'keep-days', 2556));
	INSERT INTO immiiq.pruned VALUES ('$alpha', $first, date_trunc('month', now() + interval '1 month'), 2556, immiiq.audit_incarnation(),
		pg_current_xact_id()::text::int8, immiiq.last_entry(), immiiq.entry_month());
	DELETE FROM immiiq.entry AS e USING immiiq.leaf AS l WHERE l.org_id = '$alpha' AND l.position = $first
		AND (e.incarnation, e.txid, e.seq) = (l.incarnation, l.txid, l.seq);
	COMMIT; CALL immiiq.seal()});
like(sql($found), qr/under a statement before their time was over/, 'pruned before its time, with a statement');
sql(q{ALTER SYSTEM SET immiiq.audit_keep = ''});
$node->stop;

# An organisation whose keys are destroyed: the installation's log states what went of it.
my $told = qq{SELECT coalesce(string_agg(concat_ws(' ', f.new_row->>'first', f.new_row->>'last'), ', ' ORDER BY l.position), 'nothing')
	FROM immiiq.leaf AS l JOIN immiiq.entry AS e USING (month, incarnation, txid, seq), immiiq.entry_fields(immiiq.entry_bytes(e), immiiq.entry_bytes(e)) AS f
	WHERE l.org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' AND l.row_tag = immiiq.event_tag('prune', '$gamma')};
my $known = "SELECT last, before, keep_days FROM immiiq.pruned WHERE org_id = '$gamma'";
my $errors = q{SELECT coalesce(string_agg(problem, E'\n'), 'none') FROM immiiq.verify_audit() WHERE severity = 'error'};
$node->start;
closing("BEGIN; SELECT FROM immiiq.operate('$gamma', 'test'); SELECT immiiq.release_hold('$held', 'over'); COMMIT");
closing("INSERT INTO note VALUES ('$gamma', 11)");
closing("DELETE FROM note WHERE note_id > 3");
closing("SELECT immiiq.shred_org('$gamma', 'the account was closed')");
closing('CALL immiiq.seal()');
my ($old_last, $new_last) = split /\|/, closing("SELECT max(position) FILTER (WHERE month < now() - interval '1 year'), max(position) FROM immiiq.leaf WHERE org_id = '$gamma'");
cmp_ok($old_last, '>', 10, 'a closed organisation has entries of long ago');
cmp_ok($new_last, '>', $old_last, 'and of today');
is(closing($errors), 'none', 'its log is whole');
closing(q{CALL immiiq.prune_audit('7 years')});
is(closing("SELECT count(*) FROM immiiq.entry WHERE org_id = '$gamma'"), $new_last - $old_last, 'those of long ago are pruned');
like(closing($known), qr/^$old_last\|\d{4}-\d\d-01\|2556$/, 'which is known');
closing('CALL immiiq.seal()');
is(closing($told), "1 $old_last", 'and stated in the installation\'s log');
is(closing($errors), 'none', 'what remains verifies');
is(closing("SELECT count(*) FROM immiiq.verify_audit() WHERE problem ~ 'statement'"), '0', 'the statement was looked at');
closing("CALL immiiq.prune_audit('7 years')");
like(closing($known), qr/^$old_last\|[^\n]*$/, 'a second time there is nothing to prune');

# One whose keys are destroyed after it was pruned.
closing("SELECT immiiq.shred_org('$beta', 'another account was closed')");
closing('CALL immiiq.seal()');
is(closing($errors), 'none', 'a statement whose key is gone is no tampering');
is(closing("SELECT severity FROM immiiq.verify_audit() WHERE org_id = '$beta' AND problem ~ '^key cannot be had: what the statement says'"), 'warning', 'but that it was not looked at is said');
$node->stop;

# Whoever prunes earlier than the seven years is named by a warning.
start_at(400);
sql(q{CALL immiiq.prune_audit('30 days')});
sql('CALL immiiq.seal()');
like(sql($problems), qr/warning: entries up to here were kept for less than seven years/, 'kept for less than seven years');
is(sql(qq{$errors AND org_id = '$alpha' AND problem !~ 'before their time was over'}), 'none', 'statements that were pruned themselves are no finding');

closing(q{CALL immiiq.prune_audit('30 days')});
closing('CALL immiiq.seal()');
is(closing("SELECT count(*) FROM immiiq.entry WHERE org_id = '$gamma'"), '0', 'of the closed organisation nothing is left');
like(closing($known), qr/^$new_last\|\d{4}-\d\d-01\|30$/, 'which is known');
my $statement_now = ($old_last + 1) . " $new_last";
is(closing($told), "1 $old_last, $statement_now", 'and stated, the former statement anew before it went');
is(closing('SELECT count(*) FROM immiiq.pruned WHERE org_id = ' . "'$beta'"), '1', 'the last statement stands for all');
is(closing($errors), 'none', 'what remains verifies');
$node->stop;
start_at(800);
closing(q{CALL immiiq.prune_audit('30 days')});
closing('CALL immiiq.seal()');
is(closing($told), $statement_now, 'when that is pruned itself, it has been stated anew');
is(closing($errors), 'none', 'and the log verifies');

# Without a root key it is said what could not be looked at, and nothing is called wrong that may be right.
sql(q{ALTER SYSTEM SET immiiq.root_key_file = ''});
$node->restart;
my $unkeyed = sql($problems);
like($unkeyed, qr/warning: key cannot be had: what the statement says under which entries up to here were taken away was not checked/, 'without a root key: the statement');
like($unkeyed, qr/warning: \d+ rows of public\.note could not be compared: the keys of their organisation cannot be had/, 'the rows');
like($unkeyed, qr/warning: installation key cannot be had/, 'whose key signs');
unlike($unkeyed, qr/is gone/, 'but no row is said to be gone');
$node->stop;

done_testing();
