-- The end of what the journal keeps: old rows go in batches, under holds they stay, the log says so, and nobody else takes any.
\i test/pgtap/setup.psql
SELECT plan(35);

-- Rows of three tables and three owners, some old: 8 years, 14 months, yesterday.
CREATE FUNCTION public.put(age interval, org uuid, n int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO immiiq.journal (at, kind, org_id, action, backend_pid) SELECT now() - age, 'denial', org, 'pruned', i FROM generate_series(1, n) AS i;
    INSERT INTO immiiq.sign_in_attempt (at, method, verdict, org_id) SELECT now() - age, 'pruned', 'denied', org FROM generate_series(1, n) AS i;
    INSERT INTO immiiq.field_opened (at, org_id, actor, type_code, domain, opened, backend_pid)
    SELECT now() - age, coalesce(org, 'ffffffff-ffff-ffff-ffff-ffffffffffff'), 'pruned', 1, 1, 1, i FROM generate_series(1, n) AS i;
$$;
CREATE FUNCTION public.left_of(org uuid) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws('/', (SELECT count(*) FROM immiiq.journal AS j WHERE j.action = 'pruned' AND j.org_id IS NOT DISTINCT FROM org),
        (SELECT count(*) FROM immiiq.sign_in_attempt AS a WHERE a.method = 'pruned' AND a.org_id IS NOT DISTINCT FROM org),
        (SELECT count(*) FROM immiiq.field_opened AS o WHERE o.actor = 'pruned' AND o.org_id = coalesce(org, 'ffffffff-ffff-ffff-ffff-ffffffffffff')))
$$;
SELECT put('14 months', :'alpha', 10), put('14 months', :'beta', 5), put('14 months', NULL, 3), put('1 day', :'alpha', 2) \gset ignored_

SELECT is(current_setting('immiiq.journal_keep'), '13 months', 'rows are kept for 13 months');
SELECT matches((SELECT concat_ws('/', status, detail) FROM immiiq.doctor() WHERE check_name = 'journal'), '^warning/rows are a day older than immiiq.journal_keep \(13 months\) allows$',
    'doctor says that there are older ones');

-- Who may not.
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SELECT * FROM immiiq.prune_journal(''1 day'')', '42501', NULL, 'the application may not prune');
SELECT throws_ok('SELECT * FROM immiiq.prune_journal_rows(''1 day'', 10)', '42501', NULL, 'nor call what does it');
SELECT throws_ok('SET immiiq.journal_keep = ''1 day''', '55P02', NULL, 'nor change how long rows are kept');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT throws_ok('SELECT * FROM immiiq.prune_journal(''1 day'')', '42501', NULL, 'nor may who is active there');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok('SELECT * FROM immiiq.prune_journal(''1 day'')', '42501', NULL, 'an operator may not');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT throws_ok('SELECT * FROM immiiq.prune_journal(''1 day'')', '42501', NULL, 'an auditor may not');
RESET SESSION AUTHORIZATION;
SELECT throws_ok_unguarded('SELECT * FROM immiiq.prune_journal_rows(''1 day'', 10)', 'IQ040', NULL, 'past prune_journal the guards hold, for a superuser too');
SELECT throws_ok_unguarded($$DELETE FROM immiiq.field_opened$$, 'IQ040', NULL, 'opened fields are not deleted by hand');
SELECT throws_ok_unguarded($$TRUNCATE immiiq.field_opened$$, 'IQ040', NULL, 'nor is their table emptied');
SET session_replication_role = replica;
SELECT throws_ok_unguarded($$DELETE FROM immiiq.field_opened$$, 'IQ040', NULL, 'nor as a replica');
RESET session_replication_role;
SELECT throws_ok_unguarded('SELECT immiiq.prune_journal(''23 hours'')', '22023', NULL, 'less than a day is refused');
SELECT throws_ok_unguarded('SELECT immiiq.prune_journal(''1 day'', 0)', '22023', NULL, 'so is a batch of nothing');
SELECT throws_ok_unguarded('SELECT immiiq.prune_journal(''1 day'', NULL)', '22023', NULL, 'and none');
SELECT is(left_of(:'alpha') || ' ' || left_of(:'beta') || ' ' || left_of(NULL), '12/12/12 5/5/5 3/3/3', 'all of that took nothing');

-- A hold on anything of an organisation keeps all its rows.
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'a dispute') \gset ignored_
SELECT immiiq.place_hold('be7a0000-0000-4000-8000-0000000000c1', 'regulator') AS hold \gset
COMMIT;
SELECT is((SELECT p::text FROM immiiq.prune_journal(batch => 4) AS p), '(4,4,4,0,0,0,t)', 'a batch goes, and there is more');
SELECT is((SELECT p::text FROM immiiq.prune_journal(batch => 9) AS p), '(9,9,9,0,0,0,t)', 'and the next');
SELECT is((SELECT p::text FROM immiiq.prune_journal() AS p), '(0,0,0,0,0,0,f)', 'then there is none');
SELECT is(left_of(:'alpha'), '2/2/2', 'what is younger stays');
SELECT is(left_of(NULL), '0/0/0', 'what is of nobody goes as well');
SELECT is(left_of(:'beta'), '5/5/5', 'what is under hold stays');
SELECT is((SELECT status FROM immiiq.doctor() WHERE check_name = 'journal'), 'ok', 'doctor has nothing against what a hold keeps');

-- The log says what went, and for how long it had been kept.
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'look') \gset ignored_
SELECT is((SELECT string_agg(n || ' ' || t, ', ' ORDER BY t) FROM (SELECT key->>'object' AS t, sum((new_row->>'rows')::int) AS n FROM immiiq.audit_log WHERE table_name = 'prune-journal' GROUP BY 1) AS e),
    '10 field_opened, 10 journal, 10 sign_in_attempt', 'the organisation''s log has the events');
SELECT is((SELECT DISTINCT (new_row->>'keep-days')::int BETWEEN 380 AND 400 AND (new_row->>'last')::timestamptz < now() - interval '13 months' FROM immiiq.audit_log WHERE table_name = 'prune-journal'), true,
    'with the time for which rows are kept, and that of the last');
ROLLBACK;
SELECT is((SELECT sum((new_row->>'rows')::int)::int FROM immiiq.audit_log WHERE table_name = 'prune-journal' AND org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff'), 9,
    'what was nobody''s stands in the installation''s');
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'look') \gset ignored_
SELECT is((SELECT count(*)::int FROM immiiq.audit_log WHERE table_name = 'prune-journal'), 0, 'of what is held nothing is said');
SELECT immiiq.release_hold(:'hold', 'settled') \gset ignored_
COMMIT;
SELECT is((SELECT p::text FROM immiiq.prune_journal('13 months') AS p), '(5,5,5,0,0,0,f)', 'when the hold ends, the rows do');
SELECT is((SELECT count(*)::int FROM immiiq.verify_audit() WHERE severity = 'error'), 0, 'the log is whole');

-- All or nothing: a rollback brings the rows back, and the guards are closed after an error.
SELECT put('2 years', :'alpha', 1) \gset ignored_
BEGIN;
COPY immiiq.pruned FROM '/dev/null';
SELECT is((SELECT p::text FROM immiiq.prune_journal() AS p), '(0,0,0,0,0,0,f)', 'while a dump is restored nothing goes');
ROLLBACK;
BEGIN;
SELECT is((SELECT p.journal FROM immiiq.prune_journal() AS p), 1::bigint, 'a row goes');
ROLLBACK;
SELECT is(left_of(:'alpha'), '3/3/3', 'and is back after a rollback');
SELECT throws_ok_unguarded($$DO 'BEGIN PERFORM immiiq.prune_journal(''infinity''::timestamptz - now()); END'$$, NULL, NULL, 'an error in between');
SELECT throws_ok_unguarded($$DELETE FROM immiiq.journal$$, 'IQ040', NULL, 'leaves the guards closed');
SELECT throws_ok_unguarded($$UPDATE immiiq.field_opened SET opened = 0$$, 'IQ040', NULL, 'and never opens them to an UPDATE');
SELECT * FROM finish();
