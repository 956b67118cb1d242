-- Holds: every path that removes asks, row by row; who places one and who may not; what is written down.
\i test/pgtap/setup.psql
SELECT plan(48);

\set one 'c1000000-0000-4000-8000-000000000001'
\set two 'c1000000-0000-4000-8000-000000000002'
\set case_a 'ca5e0000-0000-4000-8000-00000000000a'
\set case_b 'ca5e0000-0000-4000-8000-00000000000b'
CREATE TABLE visit (org_id uuid, visit_id int, client_id uuid, case_id uuid, passport enc_text(sealed), note text, PRIMARY KEY (org_id, visit_id));
SELECT immiiq.protect('visit', 'clients', client => 'client_id') AS ignored \gset
CREATE TABLE paper (org_id uuid, paper_id int, client_id uuid, PRIMARY KEY (org_id, paper_id)) PARTITION BY RANGE (paper_id);
CREATE TABLE paper_low PARTITION OF paper FOR VALUES FROM (0) TO (100);
CREATE TABLE paper_high PARTITION OF paper FOR VALUES FROM (100) TO (200);
SELECT immiiq.protect('paper', 'clients', client => 'client_id') AS ignored \gset
INSERT INTO immiiq.matter_column VALUES ('visit', 'case_id');
GRANT ALL ON visit, paper TO regress_immiiq_app, regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO visit SELECT :'alpha', i, CASE WHEN i <= 5 THEN :'one' ELSE :'two' END::uuid, CASE WHEN i % 2 = 0 THEN :'case_a' ELSE :'case_b' END::uuid, 'P' || i, 'n' FROM generate_series(1, 10) AS i;
INSERT INTO paper VALUES (:'alpha', 1, :'one'), (:'alpha', 101, :'two');
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'test') \gset
INSERT INTO visit VALUES (:'beta', 1, :'one', :'case_a', 'B1', 'n');
COMMIT;

---- Who may place one

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok(format('SELECT immiiq.place_hold(%L, %L)', :'one', 'r'), 'IQ011', NULL, 'nobody places no hold');
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_idle_token') \gset
SELECT throws_ok(format('SELECT immiiq.place_hold(%L, %L)', :'one', 'r'), '42501', NULL, 'a member without module settings places none');
SELECT throws_ok($$SELECT immiiq.place_org_hold('r')$$, '42501', NULL, 'nor for the organisation');
SELECT throws_ok(format('SELECT immiiq.place_matter_hold(%L, %L)', :'case_a', 'r'), '42501', NULL, 'nor for a matter');
SELECT throws_ok(format('SELECT immiiq.release_hold(%L, %L)', :'one', 'r'), '42501', NULL, 'nor releases one');
SELECT is_empty('SELECT * FROM immiiq.hold', 'nor reads them');
COMMIT;
SELECT throws_ok(format('SELECT immiiq.put_hold(%L, %L, NULL, %L, NULL)', 'client', :'one', 'r'), '42501', NULL, 'what is behind them is for no role');
SELECT throws_ok(format('INSERT INTO immiiq.hold (org_id, kind, reason) VALUES (%L, %L, %L)', :'alpha', 'org', 'r'), '42501', NULL, 'the table is not written by hand');
SELECT throws_ok($$UPDATE immiiq.hold SET released_at = now()$$, '42501', NULL, 'nor changed');
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT FROM immiiq.act_as_assistant('tool') \gset
SELECT throws_ok(format('SELECT immiiq.place_hold(%L, %L)', :'one', 'r'), '42501', NULL, 'the assistant places none');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT throws_ok(format('SELECT immiiq.place_hold(%L, %L)', :'one', ' '), '22023', NULL, 'a hold has a reason');
SELECT throws_ok(format('SELECT immiiq.place_hold(%L, %L, now())', :'one', 'r'), '22023', NULL, 'and does not end in the past');
SELECT throws_ok(format('SELECT immiiq.place_hold(NULL, %L)', 'r'), '22004', NULL, 'and names somebody');
SELECT lives_ok(format('SELECT immiiq.place_hold(%L, %L)', :'one', 'regulator 17'), 'a member with module settings places one');
SELECT results_eq('SELECT kind, client_id, reason, placed_by, placed_role FROM immiiq.active_hold',
    format($$VALUES ('client', %L::uuid, 'regulator 17', %L::uuid, 'regress_immiiq_app'::name)$$, :'one', :'alpha_owner'), 'who, why, whose');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT is_empty('SELECT * FROM immiiq.hold', 'another organisation sees none of it');
SELECT lives_ok('DELETE FROM visit', 'and is not bound by it, with a client of the same id');
SELECT throws_ok(format('SELECT immiiq.release_hold(%L, %L)', (SELECT h.hold_id FROM immiiq.hold h LIMIT 1), 'r'), 'P0002', NULL, 'nor can it release one');
ROLLBACK;

---- Rows

BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT throws_ok('DELETE FROM visit', 'IQ050', NULL, 'a DELETE that meets a held row is refused');
SELECT throws_ok('DELETE FROM visit WHERE visit_id = 1', 'IQ050', NULL, 'by row');
SELECT lives_ok('DELETE FROM visit WHERE visit_id = 6', 'another client''s rows go');
SELECT throws_ok(format('UPDATE visit SET client_id = %L WHERE visit_id = 1', :'two'), 'IQ050', NULL, 'a row does not leave its hold');
SELECT lives_ok('UPDATE visit SET note = note || ''!'' WHERE visit_id = 1', 'work on it goes on: the audit keeps what was');
SELECT throws_ok('DELETE FROM paper', 'IQ050', NULL, 'rows of partitions, too');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT throws_ok('DELETE FROM visit WHERE visit_id = 2', 'IQ050', NULL, 'a superuser is refused');
SET session_replication_role = replica;
SELECT throws_ok('DELETE FROM visit WHERE visit_id = 2', 'IQ050', NULL, 'in replica mode, too');
RESET session_replication_role;
SELECT is((SELECT count(*) FROM immiiq.denial WHERE sqlstate = 'IQ050' AND action = 'delete' AND object = 'visit' AND org_id = :'alpha'), 4::bigint, 'every attempt is written down');

---- Tables

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('TRUNCATE visit', '42501', NULL, 'TRUNCATE is refused');
RESET SESSION AUTHORIZATION;
SELECT throws_ok('DROP TABLE visit', 'IQ050', NULL, 'DROP TABLE is refused');
SELECT throws_ok('ALTER TABLE visit DROP COLUMN note', 'IQ050', NULL, 'and to drop a column');
SELECT throws_ok('DROP TABLE paper_low', 'IQ050', NULL, 'and a partition with a held row');
SELECT throws_ok('ALTER TABLE paper DETACH PARTITION paper_low', 'IQ050', NULL, 'and to detach it');
SELECT lives_ok('DROP TABLE paper_high', 'a partition without one goes');
SELECT throws_ok($$SELECT immiiq.unprotect('visit')$$, 'IQ050', NULL, 'and to take the protection away');
SELECT throws_ok('ALTER TABLE visit DISABLE TRIGGER ALL', 'IQ050', NULL, 'and to switch the guard off');
SELECT throws_ok('DROP EXTENSION immiiq CASCADE', 'IQ050', NULL, 'and the extension with the holds');
SELECT lives_ok('ALTER TABLE visit ADD COLUMN more int', 'DDL that takes nothing away goes on');

---- Keys

SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok(format('SELECT immiiq.shred_org(%L, %L)', :'alpha', 'contract ended'), 'IQ050', NULL, 'keys of an organisation with a hold are not shredded');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT lives_ok(format('SELECT immiiq.place_matter_hold(%L, %L, now() + interval %L)', :'case_a', 'court', '1 day'), 'an operator holds a matter');
SELECT lives_ok(format('SELECT immiiq.release_hold((SELECT hold_id FROM immiiq.active_hold WHERE kind = %L), %L)', 'client', 'settled'), 'and releases the client''s hold');
SELECT throws_ok('DELETE FROM visit WHERE visit_id = 2', 'IQ050', NULL, 'the matter''s rows stay');
SELECT lives_ok('DELETE FROM visit WHERE visit_id = 1', 'others of the same client go');
SELECT throws_ok(format('UPDATE visit SET case_id = %L WHERE visit_id = 2', :'case_b'), 'IQ050', NULL, 'nor do they leave the matter');
COMMIT;
RESET SESSION AUTHORIZATION;

SELECT immiiq.rekey_start(:'alpha') AS ignored \gset
DO $$
BEGIN
    FOR i IN 1..600 LOOP
        EXIT WHEN EXISTS (SELECT FROM immiiq.rekey WHERE problem IS NOT NULL);
        PERFORM pg_sleep(0.05);
        COMMIT;
    END LOOP;
END
$$;
SELECT matches((SELECT problem FROM immiiq.rekey WHERE org_id = :'alpha'), '^IQ050:', 'a rotation does not destroy earlier keys under a hold');
SELECT is((SELECT count(*) FROM immiiq.wrapped_key WHERE org_id = :'alpha' AND purpose = 'data'), 3::bigint, 'they are there');
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT immiiq.release_hold(hold_id, 'closed') AS ignored FROM immiiq.active_hold \gset
COMMIT;
RESET SESSION AUTHORIZATION;
DO $$
BEGIN
    FOR i IN 1..600 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM immiiq.rekey);
        PERFORM pg_sleep(0.05);
        COMMIT;
    END LOOP;
END
$$;
SELECT is((SELECT count(*) FROM immiiq.wrapped_key WHERE org_id = :'alpha' AND purpose = 'data'), 2::bigint, 'the release lets it go on');

---- A hold itself

SELECT throws_ok('DELETE FROM immiiq.hold', 'IQ040', NULL, 'a hold is not deleted, by a superuser neither');
SELECT throws_ok($$UPDATE immiiq.hold SET until = now()$$, 'IQ040', NULL, 'nor cut short but by its release');

SELECT * FROM finish();
