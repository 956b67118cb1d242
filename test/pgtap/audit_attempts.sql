-- Attempts on the log that are made with DDL, and values that are written in more ways than one.
\i test/pgtap/setup.psql
SELECT plan(22);

CREATE FUNCTION problems() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s: %s', severity, problem), E'\n' ORDER BY problem) FROM immiiq.verify_audit() WHERE problem !~ '^triggers of'
$$;

---- One value, one text, whatever the session writes

CREATE TABLE figure (org_id uuid NOT NULL, figure_id int PRIMARY KEY, real8 float8, exact numeric, day date, moment timestamptz, span interval, bytes bytea);
SELECT FROM immiiq.protect('figure', 'cases') \gset
CREATE FUNCTION put(base int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO figure VALUES
        ('a1fa0000-0000-4000-8000-000000000000', base + 1, 'NaN', 'NaN', 'infinity', 'infinity', '1 mon 2 days', '\x00ff'),
        ('a1fa0000-0000-4000-8000-000000000000', base + 2, '-0', '1.0', '-infinity', '-infinity', '-1 day', ''),
        ('a1fa0000-0000-4000-8000-000000000000', base + 3, 'infinity', '1.00', '2026-02-03', '2026-02-03 04:05:06.7+09', '0', '\x5c'),
        ('a1fa0000-0000-4000-8000-000000000000', base + 4, '-infinity', 'infinity', '0044-03-15 BC', '2026-10-25 01:30:00+01', '1 year', '\x'),
        ('a1fa0000-0000-4000-8000-000000000000', base + 5, '9007199254740993', 9007199254740993, '10000-01-01', '10000-01-01 00:00:00+00', '25:00', NULL),
        ('a1fa0000-0000-4000-8000-000000000000', base + 6, '0.1', '1e-20', NULL, NULL, NULL, NULL)
$$;
SELECT put(0) \gset ignored_
SET DateStyle = 'German, DMY';
SET IntervalStyle = sql_standard;
SET TimeZone = 'Asia/Kolkata';
SET extra_float_digits = -15;
SET bytea_output = escape;
SET lc_numeric = 'C';
SET lc_monetary = 'C';
SELECT put(10) \gset ignored_
RESET ALL;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
CREATE TEMPORARY TABLE told AS SELECT (key ->> 'figure_id')::int AS id, new_row - 'figure_id' AS image FROM immiiq.audit_log WHERE table_name = 'figure' AND operation = 'insert';
SELECT is((SELECT count(*) FROM told), 12::bigint, 'twelve rows are in the log');
SELECT is_empty('SELECT a.id, a.image, b.image FROM told AS a JOIN told AS b ON b.id = a.id + 10 WHERE a.image::text <> b.image::text', 'each value is one text under every DateStyle, IntervalStyle, time zone, and number of digits');
SELECT is((SELECT string_agg(image ->> 'real8', ' ' ORDER BY id) FROM told WHERE id < 10), 'NaN 0 Infinity -Infinity 9007199254740992 0.1', 'NaN, infinities, 2^53 + 1 as a float8 has it; -0 is 0 as a number of JSON');
SELECT is((SELECT string_agg(image ->> 'exact', ' ' ORDER BY id) FROM told WHERE id < 10), 'NaN 1.0 1.00 Infinity 9007199254740993 0.00000000000000000001', '1.0 is not 1.00, and 2^53 + 1 is exact in numeric');
SELECT is((SELECT string_agg(image ->> 'day', ', ' ORDER BY id) FROM told WHERE id < 10), 'infinity, -infinity, 2026-02-03, 0044-03-15 BC, 10000-01-01', 'dates');
COMMIT;
SELECT is(problems(), NULL, 'the rows are what the log says');
UPDATE figure SET exact = '1.00' WHERE figure_id = 2;
UPDATE figure SET real8 = 0 WHERE figure_id = 12;
CALL immiiq.seal();
SELECT is(problems(), NULL, 'changes that compare equal are changes of the image');
BEGIN;
ALTER TABLE figure DISABLE TRIGGER "00_immiiq_capture";
UPDATE figure SET exact = '1.0' WHERE figure_id = 2;
UPDATE figure SET real8 = '-0' WHERE figure_id = 12;
ALTER TABLE figure ENABLE ALWAYS TRIGGER "00_immiiq_capture";
SELECT ok(problems() ~ 'figure_id 2 is not as its last entry has it: exact' AND problems() ~ 'figure_id 12 is not as its last entry has it: real8', 'past the triggers they are found, though they compare equal');
ROLLBACK;

---- DDL on a protected table

CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
SELECT FROM immiiq.protect('note', 'cases') \gset
INSERT INTO note VALUES (:'alpha', 1, 'one'), (:'alpha', 2, 'two');
CALL immiiq.seal();
BEGIN;
CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON note FOR EACH ROW EXECUTE FUNCTION keep_out();
INSERT INTO note VALUES (:'alpha', 3, 'three');
UPDATE note SET body = 'other';
DELETE FROM note;
DROP TRIGGER b ON note;
COMMIT;
CALL immiiq.seal();
SELECT is(problems(), NULL, 'what a BEFORE trigger keeps out has no entry, and leaves the rows as they were');
BEGIN;
CREATE RULE r AS ON DELETE TO note DO INSTEAD NOTHING;
DELETE FROM note;
COMMIT;
DROP RULE r ON note;
CALL immiiq.seal();
SELECT is(problems(), NULL, 'nor has what a rule keeps out');
ALTER TABLE note ADD CONSTRAINT never CHECK (false) NOT VALID;
SELECT throws_ok(format('INSERT INTO note VALUES (%L, 4, ''x'')', :'alpha'), '23514', NULL, 'CHECK (false) refuses rows');
ALTER TABLE note DROP CONSTRAINT never;
CALL immiiq.seal();
SELECT is(problems(), NULL, 'and those have no entry');
BEGIN;
ALTER TABLE note ALTER COLUMN body TYPE text USING 'forged';
SELECT ok(problems() ~ 'note_id 1 is not as its last entry has it: body' AND problems() ~ 'note_id 2 is not', 'ALTER TYPE … USING shows as a difference in every row');
ROLLBACK;
ALTER TABLE note DROP COLUMN body;
CALL immiiq.seal();
SELECT is(problems(), NULL, 'a column that is dropped is not compared');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'note' AND org_id = :'alpha'), 2::bigint, 'and its entries stay');

---- DDL on the log

BEGIN;
CREATE RULE r AS ON INSERT TO immiiq.entry DO INSTEAD NOTHING;
INSERT INTO note VALUES (:'alpha', 5);
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'note') + (SELECT count(*) FROM immiiq.audit_waiting WHERE table_name = 'note'), 2::bigint, 'not yet written, before the end of the transaction');
COMMIT;
DROP RULE r ON immiiq.entry;
CALL immiiq.seal();
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'note'), 3::bigint, 'a rule on the log keeps no entry out');
SELECT is(problems(), NULL, 'and nothing is missing');
BEGIN;
DO $$ BEGIN EXECUTE 'DROP TABLE immiiq.leaf CASCADE'; EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END $$;
SELECT ok(to_regclass('immiiq.leaf') IS NOT NULL, 'DROP … CASCADE does not take a piece of the log out of the extension');
ROLLBACK;
SELECT throws_ok('DROP FUNCTION immiiq.capture() CASCADE', '2BP01', NULL, 'nor the function that captures');
BEGIN;
CREATE OR REPLACE FUNCTION immiiq.capture() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
DELETE FROM note WHERE note_id = 1;
SELECT ok(problems() ~ 'capture of immiiq.capture\(\): the function is not the one that captures', 'a function put in its place is named');
SELECT ok(problems() ~ 'note with note_id 1 is gone without an entry', 'and so are rows that it let go');
ROLLBACK;

SELECT * FROM finish();
