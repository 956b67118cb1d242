# Capture that was off for a while: the worker's looks at the triggers stand in the log, and verify_audit() says when.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $alpha = 'a1fa0000-0000-4000-8000-000000000000';
my $node = new_cluster('coverage', extension => 1, config => "immiiq.coverage_interval = '1s'");
sub sql { my ($text) = @_; return $node->safe_psql('postgres', $text); }

my $looks = q{SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'coverage'};
my $told = q{SELECT coalesce(string_agg(severity || ': ' || regexp_replace(problem, '20\d\d-[^ ]* [0-9:.+]*\d', 'T', 'g'), E'\n' ORDER BY problem), 'none') FROM immiiq.verify_audit()};

# Waits until the worker has found what is there now, and it is sealed.
sub looked
{
	$node->poll_query_until('postgres', q{SELECT immiiq.coverage_now() = new_row->'state' FROM immiiq.audit_log
		WHERE table_name = 'coverage' ORDER BY position DESC LIMIT 1}) or die 'the worker does not look';
	return;
}

sql(qq{SELECT immiiq.create_org('Alpha', '$alpha');
	CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
	SELECT immiiq.protect('note', NULL)});
sql("INSERT INTO note VALUES ('$alpha', 1, 'one')");
looked();
is(sql($told), 'none', 'nothing was ever off');
my $before = sql($looks);
sql("CREATE TABLE other (org_id uuid NOT NULL, other_id int PRIMARY KEY); SELECT immiiq.protect('other', NULL); ALTER TABLE note ADD COLUMN more text");
looked();
is(sql($told), 'none', 'nor is it told of a table that is protected only now, or of other DDL');
is(sql($looks), $before + 1, 'what has changed is recorded once');

# Off for some time, by hand: from the look before to the look after.
my $start = sql('SELECT now()');
sql("ALTER TABLE note DISABLE TRIGGER \"00_immiiq_capture\"");
looked();
like(sql($told), qr/^error: capture of public\.note: its trigger is off, or not ALWAYS\nwarning: triggers of public\.note were off between T and now$/m, 'a trigger that is off, since when');
sql("INSERT INTO note VALUES ('$alpha', 2, 'past')");
sql("ALTER TABLE note ENABLE ALWAYS TRIGGER \"00_immiiq_capture\"");
looked();
like(sql($told), qr/row of public\.note with note_id 2 has no entry.*\nwarning: triggers of public\.note were off between T and T$/s, 'one that was off, and what was written meanwhile');
my ($since, $until) = split /\|/, sql("SELECT since, until FROM immiiq.coverage_gaps()");
ok(sql("SELECT '$since'::timestamptz BETWEEN '$start'::timestamptz - interval '30 s' AND now() AND '$until'::timestamptz BETWEEN '$start' AND now()"), 'the interval is that of the looks');
sql("DELETE FROM note WHERE note_id = 2");
sql('CALL immiiq.seal()');
unlike(sql($told), qr/note_id 2/, 'with the row gone, nothing tells of it');
like(sql($told), qr/triggers of public\.note were off/, 'but that it could have been');

# Between two looks: the row of the trigger in the catalog has another writer.
sql("CREATE TABLE brief (org_id uuid NOT NULL, brief_id int PRIMARY KEY); SELECT immiiq.protect('brief', NULL)");
looked();
sql("BEGIN; ALTER TABLE brief DISABLE TRIGGER \"00_immiiq_capture\"; INSERT INTO brief VALUES ('$alpha', 1); DELETE FROM brief; ALTER TABLE brief ENABLE ALWAYS TRIGGER \"00_immiiq_capture\"; COMMIT");
looked();
like(sql($told), qr/^warning: triggers of public\.brief were changed between T and T: they may have been off meanwhile$/m, 'off and on again between two looks');
sql("UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = 'other'::regclass AND tgname = '00_immiiq_capture'; UPDATE pg_trigger SET tgenabled = 'A' WHERE tgrelid = 'other'::regclass AND tgname = '00_immiiq_capture'");
looked();
like(sql($told), qr/^warning: triggers of public\.other were changed/m, 'in the catalog, too');

# The guards of the log itself, and the function.
sql("BEGIN; ALTER TABLE immiiq.leaf DISABLE TRIGGER guard_log; ALTER TABLE immiiq.leaf ENABLE ALWAYS TRIGGER guard_log; COMMIT");
sql("UPDATE pg_proc SET procost = procost + 1 WHERE oid = 'immiiq.capture()'::regprocedure");
looked();
like(sql($told), qr/^warning: triggers of immiiq\.leaf were changed/m, 'a guard of the log');
like(sql($told), qr/^warning: triggers of immiiq\.capture\(\) were changed/m, 'the function that captures');

# While no worker looks, and whatever the worker remembers.
my $warnings = sql("SELECT count(*) FROM immiiq.verify_audit() WHERE severity = 'warning'");
sql("ALTER SYSTEM SET immiiq.databases = ''; ALTER SYSTEM SET immiiq.coverage_interval = 0");
$node->restart;
sql("CREATE TABLE quiet (org_id uuid NOT NULL, quiet_id int PRIMARY KEY); SELECT immiiq.protect('quiet', NULL)");
sql("SELECT immiiq.record_coverage()");
sql('CALL immiiq.seal()');
is(sql("SELECT count(*) FROM immiiq.verify_audit() WHERE severity = 'warning'"), $warnings, 'recorded by hand');
sql("BEGIN; ALTER TABLE quiet DISABLE TRIGGER \"00_immiiq_capture\"; ALTER TABLE quiet ENABLE ALWAYS TRIGGER \"00_immiiq_capture\"; COMMIT");
sql("UPDATE immiiq.coverage_state SET state = immiiq.coverage_now()");
like(sql($told), qr/^warning: triggers of public\.quiet were changed between T and now/m, 'what nobody looked at differs from what the log has, though the worker be told otherwise');
sql(q{SELECT immiiq.record_event('coverage', NULL, NULL, 'capture', jsonb_build_object('incarnation', immiiq.audit_lineage(), 'since', now(), 'state', immiiq.coverage_now()))});
sql('CALL immiiq.seal()');
like(sql($told), qr/^warning: triggers of public\.quiet were changed between T and T/m, 'a look of the superuser\'s own does not hide it');

# Who may not.
sql("CREATE ROLE app LOGIN; SELECT immiiq.grant_application('app'); CREATE ROLE aud LOGIN; SELECT immiiq.grant_auditor('aud')");
for my $role (qw(app aud))
{
	for my $call ('immiiq.record_coverage()', 'immiiq.coverage_now()', 'immiiq.coverage_gaps()', q{immiiq.event_tag('coverage', 'capture')})
	{
		my ($rc, undef, $err) = $node->psql('postgres', "SET SESSION AUTHORIZATION $role; SELECT $call");
		like($err, qr/permission denied/, "$call is not for $role");
	}
}
like(sql("SET SESSION AUTHORIZATION aud; $told"), qr/triggers of public\.quiet were changed/, 'an auditor\'s verification says it');

# A copy is another life of the database: what was off in the other one stays said, and nothing is of its own.
$warnings = sql("SELECT count(*) FROM immiiq.verify_audit() WHERE severity = 'warning'");
sql('CREATE DATABASE copy TEMPLATE postgres');
$node->safe_psql('copy', 'SELECT immiiq.record_coverage()');
$node->safe_psql('copy', 'CALL immiiq.seal()');
is($node->safe_psql('copy', "SELECT count(*) FROM immiiq.verify_audit() WHERE severity = 'warning'"), $warnings, 'a copy of the database tells the same');
$node->stop;
done_testing();
