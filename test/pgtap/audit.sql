-- The log: what is captured, in whose name, who may read it.
\i test/pgtap/setup.psql
-- What operate() and reading leave in the log would stand between the entries that are counted here; event.sql is about it.
ALTER TABLE immiiq.journal DISABLE TRIGGER log_journal;
ALTER TABLE immiiq.field_opened DISABLE TRIGGER log_opened;
CALL immiiq.seal();
SELECT plan(85);

---- A practice in small

CREATE TABLE note (
    org_id uuid NOT NULL,
    note_id int PRIMARY KEY,
    body text,
    passport enc_text(equality),
    born enc_date(equality),
    amount numeric,
    done boolean,
    at timestamptz,
    extra jsonb,
    raw bytea,
    span interval
);
SELECT FROM immiiq.protect('note', 'cases') \gset
CREATE TABLE line (
    org_id uuid NOT NULL,
    line_id int PRIMARY KEY,
    note_id int REFERENCES note ON DELETE CASCADE ON UPDATE CASCADE,
    label text
);
SELECT FROM immiiq.protect('line', 'cases') \gset
CREATE TABLE visit (org_id uuid NOT NULL, visit_id int, day date, note text, PRIMARY KEY (visit_id, day)) PARTITION BY RANGE (day);
CREATE TABLE visit_2024 PARTITION OF visit FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE visit_2025 (note text, gone int, day date NOT NULL, visit_id int NOT NULL, org_id uuid NOT NULL);
ALTER TABLE visit_2025 DROP COLUMN gone;
ALTER TABLE visit ATTACH PARTITION visit_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
SELECT FROM immiiq.protect('visit', 'cases') \gset
GRANT SELECT, INSERT, UPDATE, DELETE ON note, line, visit TO regress_immiiq_app;

-- What has been sealed of an organisation since its position mark, as 'operation table key', in order.
CREATE FUNCTION since(mark int8) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT operation || ' ' || table_name || ' ' || key::text FROM immiiq.audit_log WHERE position > mark ORDER BY position
$$;
GRANT EXECUTE ON FUNCTION since(int8) TO PUBLIC;
CREATE FUNCTION top(org uuid) RETURNS int8 LANGUAGE sql AS $$
    SELECT coalesce(max(position), 0) FROM immiiq.leaf WHERE org_id = org
$$;

---- Capture: what is written, exactly once, and nothing that was rolled back

CALL immiiq.seal();
SELECT top(:'alpha') AS mark \gset
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token', '203.0.113.7', 'CANARY-agent/1') \gset
INSERT INTO note VALUES (:'alpha', 1, 'CANARY-body', 'CANARY-passport', '1980-02-03', 1.50, true,
    '2024-05-06 07:08:09.25+02', '{"a": [1, null]}', '\xdeadbeef', '1 day 02:00');
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SET LOCAL DateStyle = 'German';
SET LOCAL TimeZone = 'Asia/Tokyo';
SET LOCAL bytea_output = 'escape';
SET LOCAL IntervalStyle = 'sql_standard';
SELECT results_eq(
    format('SELECT operation, table_schema, table_name, key, old_row, new_row, state FROM immiiq.audit_log WHERE position > %s', :mark),
    $$VALUES ('insert', 'public', 'note', '{"note_id": 1}'::jsonb, NULL::jsonb, jsonb_build_object(
        'org_id', 'a1fa0000-0000-4000-8000-000000000000', 'note_id', 1, 'body', 'CANARY-body', 'passport', 'CANARY-passport',
        'born', '1980-02-03', 'amount', 1.50, 'done', true, 'at', '2024-05-06 05:08:09.25+00', 'extra', '{"a": [1, null]}'::jsonb,
        'raw', '\xdeadbeef', 'span', 'P1DT2H'), 'signed')$$,
    'a member reads the whole row that was inserted, sealed columns opened, whatever the session settings');
SELECT results_eq(
    format('SELECT org_id, actor, member_id, session_id IS NOT NULL, role_name, tool, impersonated, client_ip, user_agent FROM immiiq.audit_log WHERE position > %s', :mark),
    format($$VALUES (%L::uuid, 'member', %L::uuid, true, 'regress_immiiq_app', NULL, true, '203.0.113.7', 'CANARY-agent/1')$$, :'alpha', :'alpha_owner'),
    'and who wrote it, from where, in a session that an operator issued');
SELECT ok((SELECT at BETWEEN now() - interval '1 minute' AND clock_timestamp() FROM immiiq.audit_log ORDER BY position DESC LIMIT 1),
    'and when');
COMMIT;
RESET SESSION AUTHORIZATION;

SELECT is((SELECT count(*) FROM immiiq.entry AS e WHERE position('CANARY'::bytea IN immiiq.entry_bytes(e)) > 0), 0::bigint,
    'no value, agent or address stands in a body in clear');
SELECT is((SELECT count(*) FROM immiiq.entry AS e WHERE position('203.0.113'::bytea IN immiiq.entry_bytes(e)) > 0), 0::bigint,
    'nor does an address');
SELECT isnt((SELECT count(*) FROM immiiq.entry AS e WHERE position('note'::bytea IN immiiq.entry_bytes(e)) > 0), 0::bigint,
    'the search above does find what stands there in clear: the table''s name');

SELECT top(:'alpha') AS mark \gset
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
UPDATE note SET body = 'other', passport = 'P2' WHERE note_id = 1;
UPDATE note SET body = NULL WHERE note_id = 1;
UPDATE note SET note_id = 2 WHERE note_id = 1;
UPDATE note SET body = body;
DELETE FROM note;
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq(
    format($$SELECT operation, key, CASE operation WHEN 'update' THEN old_row ELSE old_row -> 'passport' END, new_row -> 'note_id', new_row -> 'body', new_row -> 'passport'
             FROM immiiq.audit_log WHERE position > %s ORDER BY position$$, :mark),
    $$VALUES ('update', '{"note_id": 1}'::jsonb, '{"body": "CANARY-body", "passport": "CANARY-passport"}'::jsonb, '1'::jsonb, '"other"'::jsonb, '"P2"'::jsonb),
             ('update', '{"note_id": 1}', '{"body": "other"}', '1', 'null', '"P2"'),
             ('update', '{"note_id": 2}', '{"note_id": 1}', '2', 'null', '"P2"'),
             ('update', '{"note_id": 2}', NULL, '2', 'null', '"P2"'),
             ('delete', '{"note_id": 2}', '"P2"', NULL, NULL, NULL)$$,
    'an update carries the new row and the old values of what changed; a delete the old row');
COMMIT;

-- savepoints and swallowed errors
SELECT top(:'alpha') AS mark \gset
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SAVEPOINT a;
INSERT INTO note VALUES (:'alpha', 10);                 -- the first of the transaction, and rolled back
ROLLBACK TO a;
INSERT INTO note VALUES (:'alpha', 11);
SAVEPOINT b;
INSERT INTO note VALUES (:'alpha', 12);
SAVEPOINT c;
INSERT INTO note VALUES (:'alpha', 13);
RELEASE c;
INSERT INTO note VALUES (:'alpha', 14);
ROLLBACK TO b;
INSERT INTO note VALUES (:'alpha', 15);
RELEASE b;
DO $$
BEGIN
    INSERT INTO note VALUES ('a1fa0000-0000-4000-8000-000000000000', 16);
    BEGIN
        INSERT INTO note VALUES ('a1fa0000-0000-4000-8000-000000000000', 17);
        INSERT INTO note VALUES ('a1fa0000-0000-4000-8000-000000000000', 11);
    EXCEPTION WHEN unique_violation THEN
        INSERT INTO note VALUES ('a1fa0000-0000-4000-8000-000000000000', 18);
    END;
END
$$;
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq(format('SELECT since(%s)', :mark),
    ARRAY['insert note {"note_id": 11}', 'insert note {"note_id": 15}', 'insert note {"note_id": 16}', 'insert note {"note_id": 18}'],
    'savepoints and swallowed errors: what was rolled back is not there, everything else is, once');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE position > :mark AND actor = 'member'), 4::bigint,
    'who wrote is known although the first entry of the transaction was rolled back');
COMMIT;

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO note SELECT :'alpha', g FROM generate_series(100, 120) g;
ROLLBACK;
SELECT top(:'alpha') AS mark \gset
CALL immiiq.seal();
SELECT is(top(:'alpha'), :mark::int8, 'a transaction that rolls back leaves nothing');

-- more than the buffer holds, across levels
SELECT top(:'alpha') AS mark \gset
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO line SELECT :'alpha', g, NULL, repeat('x', 100) FROM generate_series(1, 2500) g;
SAVEPOINT a;
INSERT INTO line SELECT :'alpha', g, NULL, 'gone' FROM generate_series(3001, 5500) g;
ROLLBACK TO a;
INSERT INTO line SELECT :'alpha', g, NULL, 'kept' FROM generate_series(5501, 5510) g;
DO $$
BEGIN
    FOR i IN 6001 .. 8200 LOOP
        BEGIN
            INSERT INTO line VALUES ('a1fa0000-0000-4000-8000-000000000000', i);
            IF i % 2 = 0 THEN
                RAISE SQLSTATE 'TTTTT';
            END IF;
        EXCEPTION WHEN SQLSTATE 'TTTTT' THEN
            NULL;
        END;
    END LOOP;
END
$$;
COMMIT;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq(format($$SELECT (key ->> 'line_id')::int FROM immiiq.audit_log WHERE position > %s ORDER BY position$$, :mark),
    'SELECT line_id FROM line ORDER BY line_id',
    'thousands of rows in one transaction, under savepoints that end either way: each once, in order');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE position > :mark AND actor = 'operator' AND role_name = 'postgres'), 3610::bigint,
    'and who wrote is known of each');
COMMIT;
SELECT is_empty('SELECT * FROM immiiq.verify_audit()', 'the log is whole');

-- cascades, MERGE, ON CONFLICT, COPY, partitions, triggers of others
SELECT top(:'alpha') AS mark \gset
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
DELETE FROM line;
INSERT INTO note VALUES (:'alpha', 20), (:'alpha', 21);
INSERT INTO line VALUES (:'alpha', 1, 20), (:'alpha', 2, 20), (:'alpha', 3, 21);
COMMIT;
CALL immiiq.seal();
SELECT top(:'alpha') AS mark \gset
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
DELETE FROM note WHERE note_id = 20;
UPDATE note SET note_id = 22 WHERE note_id = 21;
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq(format('SELECT since(%s)', :mark),
    ARRAY['delete note {"note_id": 20}', 'delete line {"line_id": 1}', 'delete line {"line_id": 2}',
          'update note {"note_id": 22}', 'update line {"line_id": 3}'],
    'what a foreign key cascades to is captured');
COMMIT;

SELECT top(:'alpha') AS mark \gset
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
MERGE INTO note USING (VALUES (11), (15), (30)) AS v (id) ON note_id = id AND org_id = 'a1fa0000-0000-4000-8000-000000000000'
WHEN MATCHED AND id = 11 THEN UPDATE SET body = 'merged'
WHEN MATCHED THEN DELETE
WHEN NOT MATCHED THEN INSERT (org_id, note_id) VALUES ('a1fa0000-0000-4000-8000-000000000000', id);
INSERT INTO note (org_id, note_id, body) VALUES (:'alpha', 30, 'again'), (:'alpha', 31, 'new')
ON CONFLICT (note_id) DO UPDATE SET body = excluded.body;
INSERT INTO note (org_id, note_id) VALUES (:'alpha', 30) ON CONFLICT DO NOTHING;
COMMIT;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT bag_eq(format('SELECT since(%s)', :mark),
    ARRAY['update note {"note_id": 11}', 'delete note {"note_id": 15}', 'insert note {"note_id": 30}',
          'insert note {"note_id": 31}', 'update note {"note_id": 30}'],
    'MERGE and ON CONFLICT: what happened, nothing for DO NOTHING');
COMMIT;

SELECT top(:'alpha') AS mark \gset
COPY note (org_id, note_id, body) FROM stdin;
a1fa0000-0000-4000-8000-000000000000	40	copied
a1fa0000-0000-4000-8000-000000000000	41	copied too
\.
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq(format('SELECT since(%s)', :mark), ARRAY['insert note {"note_id": 40}', 'insert note {"note_id": 41}'], 'COPY is captured');
SELECT results_eq(format('SELECT DISTINCT actor, member_id, role_name FROM immiiq.audit_log WHERE position > %s', :mark),
    $$VALUES ('database', NULL::uuid, 'postgres')$$, 'where nobody was active the actor is the database, with the login role');
COMMIT;

SELECT top(:'alpha') AS mark \gset
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
INSERT INTO visit VALUES (:'alpha', 1, '2024-03-01', 'first');
UPDATE visit SET note = 'second' WHERE visit_id = 1;
UPDATE visit SET day = '2025-03-01' WHERE visit_id = 1;
UPDATE visit SET note = 'third' WHERE visit_id = 1;
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq(format($$SELECT operation, table_name, key, new_row ->> 'note' FROM immiiq.audit_log WHERE position > %s ORDER BY position$$, :mark),
    $$VALUES ('insert', 'visit', '{"visit_id": 1, "day": "2024-03-01"}'::jsonb, 'first'),
             ('update', 'visit', '{"visit_id": 1, "day": "2024-03-01"}', 'second'),
             ('update', 'visit', '{"visit_id": 1, "day": "2025-03-01"}', 'second'),
             ('update', 'visit', '{"visit_id": 1, "day": "2025-03-01"}', 'third')$$,
    'a row that moves to a partition with other column numbers: an update, under the table''s own name');
COMMIT;

CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO line VALUES (NEW.org_id, NEW.note_id + 10000, NEW.note_id);
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER follow AFTER INSERT ON note DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION follow();
SELECT top(:'alpha') AS mark \gset
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
INSERT INTO note (org_id, note_id) VALUES (:'alpha', 50);
COMMIT;
RESET SESSION AUTHORIZATION;
DROP TRIGGER follow ON note;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq(format('SELECT since(%s)', :mark), ARRAY['insert note {"note_id": 50}', 'insert line {"line_id": 10050}'],
    'what another trigger writes at commit is captured');
COMMIT;

-- session_replication_role does not switch capture off
SELECT top(:'alpha') AS mark \gset
SET session_replication_role = replica;
INSERT INTO note (org_id, note_id) VALUES (:'alpha', 60);
RESET session_replication_role;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq(format('SELECT since(%s)', :mark), ARRAY['insert note {"note_id": 60}'], 'session_replication_role does not switch capture off');
COMMIT;

-- the directory is captured as any table
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT ok(EXISTS (SELECT FROM immiiq.audit_log WHERE table_schema = 'immiiq' AND table_name = 'member' AND actor = 'operator'
    AND new_row ->> 'name' = 'Alpha Lead' AND role_name = 'regress_immiiq_operator'), 'members are captured');
COMMIT;

-- one transaction, several organisations
SELECT top(:'alpha') AS mark, top(:'beta') AS beta_mark \gset
INSERT INTO note (org_id, note_id) VALUES (:'alpha', 70), (:'beta', 71), (:'alpha', 72);
CALL immiiq.seal();
SELECT is(ARRAY[top(:'alpha') - :mark, top(:'beta') - :beta_mark], '{2,1}'::int8[], 'each organisation has a log of its own');
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'test') \gset
SELECT results_eq(format('SELECT since(%s)', :beta_mark), ARRAY['insert note {"note_id": 71}'], 'Beta reads Beta''s');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE org_id <> :'beta'), 0::bigint, 'and nobody else''s');
COMMIT;

-- states
BEGIN;
INSERT INTO note (org_id, note_id) VALUES (:'alpha', 73);
COMMIT;
CALL immiiq.seal();
SELECT is((SELECT count(*) FROM immiiq.audit_waiting), 0::bigint, 'after a round nothing waits');
SELECT is((SELECT array_agg(DISTINCT state) FROM immiiq.audit_log), '{signed}', 'after a round every entry is signed');

---- Refusals of capture

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO note (org_id, note_id, passport) VALUES (:'alpha', 80, 'P80');
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT throws_ok_unguarded(format('UPDATE note SET org_id = %L WHERE note_id = 70', :'beta'), '42501',
    'the organisation of a row cannot be changed', 'the organisation of a row is frozen, for a superuser too');
ROLLBACK;
SELECT throws_ok(format('INSERT INTO note (org_id, note_id, passport) SELECT %L, 998, passport FROM note WHERE note_id = 80', :'beta'), 'IQ032', NULL,
    'a value sealed for another organisation is refused, also where nobody is active');
CREATE TABLE loose (org_id uuid, id int PRIMARY KEY);
CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON loose FOR EACH ROW EXECUTE FUNCTION immiiq.capture();
SELECT throws_ok('INSERT INTO loose VALUES (NULL, 1)', '23502', NULL, 'a row that names no organisation is refused');
SELECT throws_ok('INSERT INTO loose VALUES (gen_random_uuid(), 1)', 'IQ003', NULL, 'a row of an organisation without keys is refused');
CREATE TABLE rootless (id int);
CREATE TRIGGER "00_immiiq_capture" AFTER INSERT ON rootless FOR EACH ROW EXECUTE FUNCTION immiiq.capture();
SELECT throws_ok('INSERT INTO rootless VALUES (1)', '42P16', NULL, 'a table without a column for the organisation is refused');
GRANT USAGE ON SCHEMA immiiq TO regress_immiiq_nobody;
GRANT EXECUTE ON FUNCTION immiiq.capture() TO regress_immiiq_nobody;
SET ROLE regress_immiiq_nobody;
CREATE TEMPORARY TABLE forged (org_id uuid, id int PRIMARY KEY);
CREATE TRIGGER "00_immiiq_capture" AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION immiiq.capture();
SELECT throws_ok(format('INSERT INTO forged VALUES (%L, 1)', :'alpha'), '42501', NULL, 'a table that nobody protected is not captured into an organisation''s log');
RESET ROLE;
REVOKE ALL ON SCHEMA immiiq FROM regress_immiiq_nobody;
REVOKE ALL ON FUNCTION immiiq.capture() FROM regress_immiiq_nobody;
DROP TABLE loose, rootless, forged;
SELECT throws_ok('CREATE TRIGGER t BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION immiiq.capture(); INSERT INTO note VALUES (gen_random_uuid(), 999)',
    '39P01', NULL, 'capture is no BEFORE trigger');
SELECT throws_ok('SELECT immiiq.capture()', '39P01', NULL, 'capture is no plain function');
SELECT throws_ok_unguarded('TRUNCATE note CASCADE', '42501', NULL, 'TRUNCATE of a protected table is refused, for a superuser too');
SELECT throws_ok_unguarded('TRUNCATE visit_2024', '42501', NULL, 'of a partition too');
SET session_replication_role = replica;
SELECT throws_ok_unguarded('TRUNCATE note CASCADE', '42501', NULL, 'and under session_replication_role');
RESET session_replication_role;

---- Who may read

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT is((SELECT count(*) FROM immiiq.audit_log), 0::bigint, 'the application without identity sees nothing');
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_lead_token') \gset
SELECT is((SELECT count(*) FROM immiiq.audit_log), 0::bigint, 'a member with scope team sees nothing');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_idle_token') \gset
SELECT is((SELECT count(*) FROM immiiq.audit_log), 0::bigint, 'a member without module reports sees nothing');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE org_id = :'alpha'), 0::bigint, 'another organisation''s owner sees none of Alpha''s');
SELECT isnt((SELECT count(*) FROM immiiq.audit_log), 0::bigint, 'but their own');
COMMIT;
SELECT is((SELECT count(*) FROM immiiq.entry), 0::bigint, 'the application without identity reads no entry');
SELECT is((SELECT count(*) FROM immiiq.leaf), 0::bigint, 'nor a leaf');
SELECT is((SELECT count(*) FROM immiiq.subject_key), 0::bigint, 'nor whose a key is');
SELECT throws_ok('SELECT wrapped FROM immiiq.subject_key', '42501', NULL, 'and never a wrapped key');
SELECT is((SELECT count(*) FROM immiiq.waiting()), 0::bigint, 'nor what waits for its seal');
SELECT throws_ok('SELECT FROM immiiq.verify_audit()', '42501', NULL, 'nor verify');
SELECT throws_ok('CALL immiiq.seal()', '42501', NULL, 'nor seal');
SELECT throws_ok('INSERT INTO immiiq.entry DEFAULT VALUES', '42501', NULL, 'nor write immiiq.entry');
SELECT throws_ok('DELETE FROM immiiq.entry', '42501', NULL, 'nor delete from it');
BEGIN;
CREATE TEMPORARY TABLE mine (org_id uuid, id int) ON COMMIT DROP;
SELECT throws_ok('CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION immiiq.capture()', '42501', NULL,
    'nor capture a table of its own into anybody''s log');
ROLLBACK;
RESET SESSION AUTHORIZATION;

SET ROLE regress_immiiq_auditor;
SELECT isnt((SELECT count(*) FROM immiiq.audit_log WHERE org_id = :'alpha'), 0::bigint, 'an auditor sees Alpha''s log');
SELECT isnt((SELECT count(*) FROM immiiq.audit_log WHERE org_id = :'beta'), 0::bigint, 'and Beta''s');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE org_id IN (:'alpha', :'beta') AND (coalesce(key, old_row, new_row) IS NOT NULL
    OR coalesce(client_ip, user_agent, application_name) IS NOT NULL)), 0::bigint, 'without a key, an image, an address or an agent');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE actor IS NULL OR role_name IS NULL OR operation IS NULL OR table_name IS NULL OR at IS NULL),
    0::bigint, 'with who, what and when');
SELECT is_empty('SELECT * FROM immiiq.verify_audit()', 'an auditor verifies');
SELECT throws_ok('SELECT wrapped FROM immiiq.subject_key', '42501', NULL, 'an auditor cannot read wrapped keys of clients');
SELECT throws_ok('UPDATE immiiq.audit_log SET actor = $$x$$', '55000', NULL, 'the view cannot be written');
CALL immiiq.seal();
SELECT pass('an auditor may seal');
RESET ROLE;
SET ROLE regress_immiiq_nobody;
SELECT throws_ok('SELECT FROM immiiq.audit_log', '42501', NULL, 'a role that was granted nothing cannot read the log');
SELECT throws_ok('SELECT immiiq.verify_audit()', '42501', NULL, 'nor verify it');
RESET ROLE;

---- Append-only, for a superuser too

BEGIN;
SELECT throws_ok('CALL immiiq.seal()', '25001', NULL, 'seal refuses a transaction block');
ROLLBACK;
SELECT throws_ok(format(statement, name), 'IQ040', NULL, format(statement, name))
FROM unnest(ARRAY['entry', 'leaf', 'batch', 'tree_head', 'log_key', 'node', 'tree', 'seal_state', 'restored']) AS name,
     unnest(ARRAY['DELETE FROM immiiq.%I', 'TRUNCATE immiiq.%I', 'INSERT INTO immiiq.%1$I SELECT * FROM immiiq.%1$I']) AS statement
WHERE name IN ('entry', 'leaf') OR statement !~ 'TRUNCATE';
SELECT throws_ok('UPDATE immiiq.entry SET at = now()', 'IQ040', NULL, 'UPDATE of entries');
SET session_replication_role = replica;
SELECT throws_ok('DELETE FROM immiiq.entry', 'IQ040', NULL, 'session_replication_role does not open it');
RESET session_replication_role;

SELECT * FROM finish();
