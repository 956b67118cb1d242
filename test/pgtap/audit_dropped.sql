-- Rows whose table was dropped are not looked for, and verify_audit() says how many; those of a table made anew under the name are, and no event
-- that somebody records takes the place of the drop.
\i test/pgtap/setup.psql
SELECT plan(23);

CREATE FUNCTION problems(wanted uuid DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(regexp_replace(format('%s: %s', severity, problem), 'dropped at [^:]*:[^:]*:[^:]*:', 'dropped:'), E'\n' ORDER BY problem)
    FROM immiiq.verify_audit(wanted) WHERE problem !~ '^triggers of'
$$;
CREATE FUNCTION gone(name text, number int) RETURNS text LANGUAGE sql AS $$
    SELECT format('warning: table %s was dropped: %s rows whose last entry is from before were not looked for', name, number)
$$;
CREATE FUNCTION make(name text, number int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text)', name);
    PERFORM immiiq.protect(quote_ident(name)::regclass, 'cases');
    EXECUTE format('INSERT INTO %I SELECT %L, n, ''body '' || n FROM generate_series(1, %s) n', name, 'a1fa0000-0000-4000-8000-000000000000', number);
END
$$;
SELECT make('note', 10), make('Odd "name', 3) \gset ignored_
DELETE FROM note WHERE note_id = 10;
CALL immiiq.seal();
SELECT is(problems(), NULL, 'whole');

---- Dropped

DROP TABLE "Odd ""name";
SELECT is(problems(), gone('public."Odd ""name"', 3), 'a dropped table: its rows are counted, while the drop waits for its seal');
CALL immiiq.seal();
SELECT is(problems(), gone('public."Odd ""name"', 3), 'and afterwards');
SELECT is(problems(:'alpha'), gone('public."Odd ""name"', 3), 'in the organisation whose rows they were');
SELECT is(problems(:'beta'), NULL, 'not in another one');
SELECT results_eq('SELECT f.org_id, l.row_tag FROM immiiq.verify_audit() AS f JOIN immiiq.leaf AS l USING (org_id, "position") WHERE f.problem ~ ''was dropped''',
    $$SELECT uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff', immiiq.event_tag('ddl', 'public."Odd ""name"')$$, 'at the place of the event, in the installation''s log');

---- Made anew

DROP TABLE note;
SELECT make('note', 4) \gset ignored_
SELECT is(problems(), gone('public."Odd ""name"', 3) || E'\n' || gone('public.note', 5), 'a table made anew: nothing is missing in it, while all waits for its seal');
CALL immiiq.seal();
SELECT is(problems(), gone('public."Odd ""name"', 3) || E'\n' || gone('public.note', 5), 'nor afterwards; neither a row that was deleted before the drop counts, nor one whose key came again');
BEGIN;
ALTER TABLE note DISABLE TRIGGER "00_immiiq_capture";
DELETE FROM note WHERE note_id = 2;
INSERT INTO note VALUES (:'alpha', 7, 'body 7');
UPDATE note SET body = 'forged' WHERE note_id = 3;
ALTER TABLE note ENABLE ALWAYS TRIGGER "00_immiiq_capture";
SELECT ok(problems() ~ 'error: row of public.note with note_id 2 is gone without an entry: it was taken out past the triggers', 'a row of the new table taken out past the triggers is missing');
SELECT ok(problems() ~ 'error: row of public.note with note_id 7 has no entry: it was put in past the triggers', 'one put in, as the old table had it, has no entry');
SELECT ok(problems() ~ 'error: row of public.note with note_id 3 is not as its last entry has it: body', 'one that was changed is found');
ROLLBACK;
BEGIN;
DELETE FROM note WHERE note_id = 4;
DROP TABLE note;
SELECT make('note', 2) \gset ignored_
DELETE FROM note WHERE note_id = 2;
COMMIT;
CALL immiiq.seal();
SELECT is(problems(), gone('public."Odd ""name"', 3) || E'\n' || gone('public.note', 6), 'dropped and made again in one transaction, with changes on both sides');
BEGIN;
ALTER TABLE note DISABLE TRIGGER "00_immiiq_capture";
DELETE FROM note;
ALTER TABLE note ENABLE ALWAYS TRIGGER "00_immiiq_capture";
SELECT ok(problems() ~ 'error: row of public.note with note_id 1 is gone without an entry', 'its row is looked for');
ROLLBACK;
BEGIN;
DROP TABLE note;
ROLLBACK;
BEGIN;
SAVEPOINT a;
DROP TABLE note;
ROLLBACK TO a;
UPDATE note SET body = 'still there';
COMMIT;
CALL immiiq.seal();
SELECT is(problems(), gone('public."Odd ""name"', 3) || E'\n' || gone('public.note', 6), 'a drop that was taken back is none');
BEGIN;
ALTER TABLE note RENAME TO memo;
SELECT ok(problems() ~ 'error: row of public.memo with note_id 1 has no entry', 'a renamed table has no entries under its new name');
ROLLBACK;
BEGIN;
CREATE TABLE part (org_id uuid NOT NULL, part_id int PRIMARY KEY) PARTITION BY LIST (part_id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
SELECT FROM immiiq.protect('part', 'cases') \gset
INSERT INTO part VALUES (:'alpha', 1), (:'alpha', 2);
COMMIT;
CALL immiiq.seal();
BEGIN;
DROP TABLE part_1;
SELECT ok(problems() ~ 'error: row of public.part with part_id 1 is gone', 'a partition that is dropped excuses no row of its table');
ROLLBACK;
DROP TABLE part;
CALL immiiq.seal();
SELECT ok(problems() ~ 'warning: table public.part was dropped: 2 rows', 'a table with partitions that is dropped');
CREATE SCHEMA more;
SELECT make('later', 2) \gset ignored_
ALTER TABLE later SET SCHEMA more;
DROP SCHEMA more CASCADE;
CREATE TABLE before (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
SELECT FROM immiiq.protect('before', 'cases') \gset
INSERT INTO before VALUES (:'alpha', 1, 'old');
DROP TABLE before;
CREATE TABLE before (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
INSERT INTO before VALUES (:'alpha', 1, 'loaded before the protection');
SELECT FROM immiiq.protect('before', 'cases') \gset
CALL immiiq.seal();
SELECT ok(problems() ~ 'table public.before was dropped: 1 rows' AND problems() !~ 'error', 'rows loaded before protect() need no entry, under a key that the old table had neither');

---- Forged

SELECT throws_ok($$SELECT immiiq.record_event('ddl', NULL, NULL, 'public.note', '{"access": "drop", "type": "table"}')$$, '22023',
    'events of kind "ddl" are recorded by the server alone', 'nobody records a drop by hand');
SELECT throws_ok($$SELECT immiiq.record_event_of('ddl', NULL, NULL, 'public.note', '{"access": "drop", "type": "table"}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)$$, '22023',
    NULL, 'nor in another way');
BEGIN;
SELECT immiiq.record_event('ddlx', NULL, NULL, 'public.note', '{"access": "drop", "type": "table"}'),
    immiiq.record_event('ddl-drop', :'alpha', NULL, 'public.note', '{"access": "drop", "type": "table"}') \gset ignored_
COMMIT;
ALTER TABLE note ADD more int;
COMMENT ON TABLE note IS 'drop';
CREATE INDEX note_idx ON note (body);
DROP INDEX note_idx;
CALL immiiq.seal();
BEGIN;
ALTER TABLE note DISABLE TRIGGER "00_immiiq_capture";
DELETE FROM note;
ALTER TABLE note ENABLE ALWAYS TRIGGER "00_immiiq_capture";
SELECT ok(problems() ~ 'error: row of public.note with note_id 1 is gone without an entry', 'other events of the table, and of other kinds, excuse nothing');
ROLLBACK;
BEGIN;
ALTER TABLE immiiq.entry DISABLE TRIGGER USER;
SELECT format('ALTER TABLE %s DISABLE TRIGGER USER', inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'immiiq.entry'::regclass \gexec
UPDATE immiiq.entry AS e SET at = e.at + interval '1 day' FROM immiiq.leaf AS l WHERE l.row_tag = immiiq.event_tag('ddl', 'public.note') AND l.org_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    AND (e.incarnation, e.txid, e.seq) = (l.incarnation, l.txid, l.seq);
SELECT ok(problems() ~ 'row of public.note with note_id [3-9] is gone without an entry' AND problems() !~ 'table public.note was dropped', 'an event that was edited excuses nothing');
ROLLBACK;
SELECT ok(problems() ~ 'table public.note was dropped: 6 rows', 'the event as it was does');

SELECT * FROM finish();
