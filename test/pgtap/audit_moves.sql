-- Rows that move between partitions: one entry with both ends, whatever moves them, and no more than what happened.
\i test/pgtap/setup.psql
ALTER TABLE immiiq.journal DISABLE TRIGGER log_journal;
ALTER TABLE immiiq.field_opened DISABLE TRIGGER log_opened;
SELECT plan(21);

CREATE TABLE region (org_id uuid NOT NULL, region_id int, code int, PRIMARY KEY (org_id, region_id), UNIQUE (org_id, code));
SELECT FROM immiiq.protect('region', 'cases') \gset
CREATE TABLE visit (
    org_id uuid NOT NULL, visit_id int, code int, note text, client_id uuid, PRIMARY KEY (org_id, visit_id, code),
    FOREIGN KEY (org_id, code) REFERENCES region (org_id, code) ON UPDATE CASCADE
) PARTITION BY RANGE (code);
CREATE TABLE visit_low PARTITION OF visit FOR VALUES FROM (0) TO (100);
CREATE TABLE visit_mid (note text, gone int, code int NOT NULL, visit_id int NOT NULL, org_id uuid NOT NULL, client_id uuid);
ALTER TABLE visit_mid DROP COLUMN gone;
ALTER TABLE visit ATTACH PARTITION visit_mid FOR VALUES FROM (100) TO (200);
CREATE TABLE visit_high PARTITION OF visit FOR VALUES FROM (200) TO (300) PARTITION BY LIST (code);
CREATE TABLE visit_high_1 PARTITION OF visit_high FOR VALUES IN (201);
CREATE TABLE visit_high_2 PARTITION OF visit_high DEFAULT;
SELECT FROM immiiq.protect('visit', 'cases', client => 'client_id') \gset
CREATE TABLE tally (org_id uuid NOT NULL, tally_id int PRIMARY KEY, n int);
SELECT FROM immiiq.protect('tally', 'cases') \gset
GRANT SELECT, INSERT, UPDATE, DELETE ON region, visit, tally TO regress_immiiq_app;

-- What the transactions since the last call have left in the log: operation, both ends, key and note.
CREATE TABLE mark AS SELECT 0::int8 AS at;
CREATE FUNCTION told() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    was int8 := (SELECT at FROM mark);
BEGIN
    PERFORM FROM immiiq.operate('a1fa0000-0000-4000-8000-000000000000', 'test');
    UPDATE mark SET at = (SELECT max(position) FROM immiiq.leaf WHERE org_id = 'a1fa0000-0000-4000-8000-000000000000');
    RETURN QUERY SELECT concat_ws(' ', l.operation, l.table_name, coalesce(l.old_row ->> 'tableoid', '') || coalesce('>' || (l.new_row ->> 'tableoid'), ''),
            l.key ->> 'visit_id', coalesce(l.old_row ->> 'code', '') || coalesce('>' || (l.new_row ->> 'code'), ''))
        FROM immiiq.audit_log AS l WHERE l.position > was AND l.table_name <> 'mark' ORDER BY l.position;
END
$$;

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO region SELECT :'alpha', g, g FROM generate_series(1, 299) AS g;
INSERT INTO visit SELECT :'alpha', g, g, 'first' FROM generate_series(1, 20) AS g;
INSERT INTO tally VALUES (:'alpha', 1, 0);
COMMIT;
CALL immiiq.seal();
SELECT count(*) FROM told() \gset

---- One statement

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq($$UPDATE visit SET code = code + 100, note = 'second' WHERE visit_id = 1 RETURNING tableoid::regclass::text, visit_id, code, note$$,
    $$VALUES ('visit_mid', 1, 101, 'second')$$, 'RETURNING gives the row that moved');
COMMIT;
CALL immiiq.seal();
SELECT results_eq('SELECT told()', ARRAY['update visit public.visit_low>public.visit_mid 1 1>101'], 'one entry: an update, with both partitions');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq($$SELECT old_row, new_row FROM immiiq.audit_log WHERE position = (SELECT at FROM mark)$$,
    $$VALUES ('{"code": 1, "note": "first", "tableoid": "public.visit_low"}'::jsonb,
              '{"org_id": "a1fa0000-0000-4000-8000-000000000000", "visit_id": 1, "code": 101, "note": "second", "client_id": null, "tableoid": "public.visit_mid"}'::jsonb)$$,
    'what changed as it was, and the row as it is, though the partitions number their columns differently');
COMMIT;

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE visit SET code = CASE WHEN visit_id < 4 THEN code + 200 WHEN visit_id = 4 THEN 201 ELSE code + 1 END WHERE visit_id BETWEEN 2 AND 5;
UPDATE visit SET code = 202 WHERE code = 201;
COMMIT;
CALL immiiq.seal();
SELECT results_eq('SELECT told()',
    ARRAY['update visit public.visit_low>public.visit_high_2 2 2>202', 'update visit public.visit_low>public.visit_high_2 3 3>203',
          'update visit public.visit_low>public.visit_high_1 4 4>201', 'update visit  5 5>6',
          'update visit public.visit_high_1>public.visit_high_2 4 201>202'],
    'several in one statement, beside rows that stay; partitions of partitions');

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
WITH gone AS (DELETE FROM visit WHERE visit_id = 6 RETURNING org_id, visit_id, note)
INSERT INTO visit SELECT org_id, visit_id, 106, note FROM gone;
DELETE FROM visit WHERE visit_id = 7;
INSERT INTO visit VALUES (:'alpha', 7, 107);
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
SELECT results_eq('SELECT told()', ARRAY['delete visit  6 6', 'insert visit  6 >106', 'delete visit  7 7', 'insert visit  7 >107'],
    'a row that somebody deletes and inserts elsewhere is deleted and inserted');

---- Savepoints

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SAVEPOINT a;
UPDATE visit SET code = 108 WHERE visit_id = 8;
ROLLBACK TO a;
UPDATE visit SET code = 109 WHERE visit_id = 9;
SAVEPOINT b;
UPDATE visit SET code = 209 WHERE visit_id = 9;
RELEASE b;
DO $$
BEGIN
    UPDATE visit SET code = 110 WHERE visit_id = 10;
    RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
    UPDATE visit SET code = 111 WHERE visit_id = 11;
END
$$;
COMMIT;
CALL immiiq.seal();
SELECT results_eq('SELECT told()', ARRAY['update visit public.visit_low>public.visit_mid 9 9>109', 'update visit public.visit_mid>public.visit_high_2 9 109>209',
    'update visit public.visit_low>public.visit_mid 11 11>111'], 'savepoints and swallowed errors: what committed, once');

---- Foreign keys, MERGE, triggers

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO visit VALUES (:'alpha', 30, 12), (:'alpha', 31, 12);
DELETE FROM region WHERE code = 112;
UPDATE region SET code = 112 WHERE code = 12;
COMMIT;
CALL immiiq.seal();
SELECT bag_eq($$SELECT told FROM told() WHERE told LIKE '% visit %'$$,
    ARRAY['insert visit  30 >12', 'insert visit  31 >12', 'update visit public.visit_low>public.visit_mid 12 12>112',
          'update visit public.visit_low>public.visit_mid 30 12>112', 'update visit public.visit_low>public.visit_mid 31 12>112'], 'a cascade that moves rows');

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
MERGE INTO visit AS v USING (VALUES (13), (14), (15), (40)) AS s (id) ON v.visit_id = s.id AND v.org_id = 'a1fa0000-0000-4000-8000-000000000000'
WHEN MATCHED AND id = 14 THEN DELETE
WHEN MATCHED THEN UPDATE SET code = v.code + 100
WHEN NOT MATCHED THEN INSERT (org_id, visit_id, code) VALUES ('a1fa0000-0000-4000-8000-000000000000', s.id, 140);
COMMIT;
CALL immiiq.seal();
SELECT bag_eq('SELECT told()', ARRAY['update visit public.visit_low>public.visit_mid 13 13>113', 'delete visit  14 14',
    'update visit public.visit_low>public.visit_mid 15 15>115', 'insert visit  40 >140'], 'MERGE that moves, deletes and inserts');

CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.code := 116; RETURN NEW; END$$;
CREATE TRIGGER elsewhere BEFORE UPDATE ON visit FOR EACH ROW WHEN (NEW.note = 'elsewhere') EXECUTE FUNCTION elsewhere();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE visit SET note = 'elsewhere' WHERE visit_id = 16;
COMMIT;
CALL immiiq.seal();
SELECT results_eq('SELECT told()', ARRAY['update visit public.visit_low>public.visit_mid 16 16>116'], 'a BEFORE trigger that gives the row another partition');

-- A trigger that keeps the row out: then it was deleted.
CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER keep_out BEFORE INSERT ON visit FOR EACH ROW WHEN (NEW.note = 'out') EXECUTE FUNCTION keep_out();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE visit SET note = 'out', code = code + 100 WHERE visit_id = 17;
COMMIT;
CALL immiiq.seal();
SELECT results_eq('SELECT told()', ARRAY['delete visit  17 17'], 'a BEFORE trigger that keeps the moved row out: a deletion');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
MERGE INTO visit AS v USING (VALUES (18, 118), (41, 141), (19, 119)) AS s (id, code) ON v.visit_id = s.id AND v.org_id = 'a1fa0000-0000-4000-8000-000000000000'
WHEN MATCHED THEN UPDATE SET note = 'out', code = s.code
WHEN NOT MATCHED THEN INSERT (org_id, visit_id, code) VALUES ('a1fa0000-0000-4000-8000-000000000000', s.id, s.code);
SELECT immiiq.last_entry() > 0 AS asked \gset
COMMIT;
CALL immiiq.seal();
SELECT bag_eq('SELECT told()', ARRAY['delete visit  18 18', 'insert visit  41 >141', 'delete visit  19 19'],
    'and an insertion that comes next in the statement is not its other end');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SAVEPOINT a;
UPDATE visit SET note = 'out', code = 120 WHERE visit_id = 20;
RELEASE a;
INSERT INTO visit VALUES (:'alpha', 20, 121);
COMMIT;
CALL immiiq.seal();
SELECT results_eq('SELECT told()', ARRAY['delete visit  20 20', 'insert visit  20 >121'], 'nor is one of the next statement, of the same key');
DROP TRIGGER keep_out ON visit;

-- What triggers write between the two halves.
CREATE FUNCTION count_visits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        UPDATE tally SET n = n + 1;
        IF TG_OP = 'DELETE' THEN
            RAISE division_by_zero;
        END IF;
    EXCEPTION WHEN division_by_zero THEN
        UPDATE tally SET n = n + 10;
    END;
    RETURN NULL;
END
$$;
CREATE TRIGGER tally AFTER INSERT OR DELETE ON visit FOR EACH ROW EXECUTE FUNCTION count_visits();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE visit SET code = code + 100 WHERE visit_id IN (1, 5);
COMMIT;
CALL immiiq.seal();
SELECT bag_eq('SELECT told()', ARRAY['update tally  ', 'update tally  ', 'update visit public.visit_mid>public.visit_high_1 1 101>201',
    'update visit public.visit_low>public.visit_mid 5 6>106', 'update tally  ', 'update tally  '],
    'triggers that write audited rows for each half: still one entry, and theirs');
DROP TRIGGER tally ON visit;
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE visit SET note = 'again' WHERE visit_id = OLD.visit_id; RETURN NULL; END$$;
CREATE TRIGGER later AFTER DELETE ON visit FOR EACH ROW EXECUTE FUNCTION again();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE visit SET code = 206 WHERE visit_id = 5;
COMMIT;
DROP TRIGGER later ON visit;
CALL immiiq.seal();
SELECT results_eq('SELECT told()', ARRAY['update visit public.visit_mid>public.visit_high_2 5 106>206', 'update visit  5 >206'],
    'a trigger on the deletion that changes the moved row itself: the move, then its change');

CREATE FUNCTION at_the_end() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE visit SET code = 13 WHERE visit_id = 13; RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER at_the_end AFTER UPDATE ON tally DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_the_end();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE tally SET n = 0;
COMMIT;
DROP TRIGGER at_the_end ON tally;
CALL immiiq.seal();
SELECT results_eq('SELECT told()', ARRAY['update tally  ', 'update visit public.visit_mid>public.visit_low 13 113>13'], 'a trigger at commit');

---- Many, and what must not move

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO visit SELECT :'alpha', 1000 + g, g % 100, repeat('x', 600) FROM generate_series(1, 3000) AS g WHERE g % 100 > 0 AND g % 100 <> 12;
COMMIT;
CALL immiiq.seal();
SELECT count(*) FROM told() \gset
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE visit SET code = code + 100 WHERE visit_id > 1000;
COMMIT;
CALL immiiq.seal();
SELECT results_eq($$SELECT count(*), count(*) FILTER (WHERE told LIKE 'update visit public.visit_low>public.visit_mid %') FROM told()$$, 'VALUES (2940::bigint, 2940::bigint)',
    'thousands in one statement');

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO visit VALUES (:'alpha', 50, 50, 'hers', 'c0000000-0000-4000-8000-000000000001');
UPDATE visit SET code = 150, client_id = 'c0000000-0000-4000-8000-000000000002' WHERE visit_id = 50;
COMMIT;
CALL immiiq.seal();
SELECT results_eq('SELECT told()', ARRAY['insert visit  50 >50', 'update visit public.visit_low>public.visit_mid 50 50>150'], 'from one client to another');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq('SELECT old_row ->> ''client_id'', new_row ->> ''client_id'', client_id FROM immiiq.audit_log WHERE position = (SELECT at FROM mark)',
    $$VALUES ('c0000000-0000-4000-8000-000000000001', 'c0000000-0000-4000-8000-000000000002', 'c0000000-0000-4000-8000-000000000002'::uuid)$$, 'each has their own values');
SELECT results_eq($$SELECT count(*) FROM immiiq.audit_log WHERE row_tag = immiiq.row_tag('visit', '{"visit_id": 50, "code": 150}')$$, 'VALUES (1::bigint)',
    'the entry is found by the row''s new key, whatever the order of its partition''s columns');
COMMIT;

CREATE TABLE dossier (org_id uuid NOT NULL, dossier_id int, PRIMARY KEY (org_id, dossier_id)) PARTITION BY LIST (org_id);
CREATE TABLE dossier_alpha PARTITION OF dossier FOR VALUES IN ('a1fa0000-0000-4000-8000-000000000000');
CREATE TABLE dossier_rest PARTITION OF dossier DEFAULT;
SELECT FROM immiiq.protect('dossier', 'cases') \gset
INSERT INTO dossier VALUES (:'alpha', 1);
SELECT throws_ok_unguarded($$UPDATE dossier SET org_id = 'be7a0000-0000-4000-8000-000000000000'$$, '42501', 'the organisation of a row cannot be changed',
    'a move cannot take a row to another organisation, not for a superuser either');

---- Together

CALL immiiq.seal();
SELECT is_empty('SELECT * FROM immiiq.verify_audit()', 'the log is whole, and live rows are as it says');
SELECT * FROM finish();
