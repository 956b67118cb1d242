-- A change stands in the log before what its triggers and foreign keys do about it, whatever the triggers are called.
\i test/pgtap/setup.psql
SELECT plan(6);

CREATE FUNCTION problems() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s: %s', severity, problem), E'\n' ORDER BY problem) FROM immiiq.verify_audit() WHERE problem !~ '^triggers of'
$$;
-- What the log says of a row, oldest first.
CREATE FUNCTION told(relation regclass, id text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', h.operation, h.row_image ->> 'body', h.row_image ->> 'part_of'), ', ' ORDER BY h.at, h.version) FROM immiiq.history(relation, id) AS h
$$;

CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
SELECT FROM immiiq.protect('note', 'cases') \gset
CREATE FUNCTION say_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF length(NEW.body) < 4 THEN
        UPDATE note SET body = NEW.body || '+' WHERE note_id = NEW.note_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER a AFTER INSERT OR UPDATE ON note FOR EACH ROW EXECUTE FUNCTION say_more();
SELECT is((SELECT tgname FROM pg_trigger WHERE tgrelid = 'note'::regclass AND tgtype & 67 = 1 ORDER BY tgname LIMIT 1), '00_immiiq_capture', 'the trigger that captures is the first, before those of foreign keys');
INSERT INTO note VALUES (:'alpha', 1, 'x');
UPDATE note SET body = 'y' WHERE note_id = 1;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is(told('note', '1'), 'insert x, update x+, update x++, update x+++, update y, update y+, update y++, update y+++', 'a trigger named a that changes the same row: each entry follows the one that set it off');
COMMIT;
SELECT is(problems(), NULL, 'and the last one is what the row is');

-- A foreign key that cascades to the very row.
CREATE TABLE file (org_id uuid NOT NULL, file_id int PRIMARY KEY, part_of int, body text);
ALTER TABLE file ADD FOREIGN KEY (part_of) REFERENCES file ON UPDATE CASCADE ON DELETE SET NULL;
SELECT FROM immiiq.protect('file', 'cases') \gset
INSERT INTO file VALUES (:'alpha', 1, 1), (:'alpha', 2, 1);
UPDATE file SET file_id = 7 WHERE file_id = 1;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is(told('file', '7'), 'update 1, update 7', 'a cascade to the row itself is told after the change of its key');
COMMIT;
SELECT is(problems(), NULL, 'and is what the row is');
DELETE FROM file WHERE file_id = 7;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq($$SELECT operation, key ->> 'file_id' FROM immiiq.audit_log WHERE table_name = 'file' ORDER BY position DESC LIMIT 2$$, $$VALUES ('update', '2'), ('delete', '7')$$, 'a deletion is told before what it cascades to');
COMMIT;

SELECT * FROM finish();
