-- Rows against the log: what a superuser changes, puts in or takes out with the triggers off is found and named by its key.
-- Each attack is committed with the triggers on again, or rolled back; verify_audit() must say this much and no more.
\i test/pgtap/setup.psql
SELECT plan(45);

CREATE TABLE legacy (org_id uuid NOT NULL, legacy_id int PRIMARY KEY, body text);
INSERT INTO legacy VALUES (:'alpha', 1, 'from before');
SELECT FROM immiiq.protect('legacy', 'cases') \gset
CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, client_id uuid, body text, amount numeric, at timestamptz, secret enc_text(sealed), pin text, tag text);
SELECT FROM immiiq.protect('note', 'cases', client => 'client_id') \gset
CREATE TABLE person (org_id uuid NOT NULL, email text PRIMARY KEY, name text);
SELECT FROM immiiq.protect('person', 'cases') \gset
CREATE TABLE part (org_id uuid NOT NULL, part_id int, year int, body text, PRIMARY KEY (part_id, year)) PARTITION BY LIST (year);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
SELECT FROM immiiq.protect('part', 'cases') \gset
CREATE TABLE child (org_id uuid NOT NULL, child_id int PRIMARY KEY, note_id int REFERENCES note ON DELETE CASCADE ON UPDATE CASCADE);
SELECT FROM immiiq.protect('child', 'cases') \gset
INSERT INTO immiiq.audit_rule VALUES ('note', 'pin', 'hash'), ('note', 'tag', 'omit');

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO note SELECT :'alpha', n, gen_random_uuid(), 'body ' || n, n / 3.0, now(), 'secret ' || n, 'pin', 'tag' FROM generate_series(1, 40) n;
INSERT INTO person VALUES (:'alpha', 'canary@example.com', 'C');
INSERT INTO part VALUES (:'alpha', 1, 1, 'x'), (:'alpha', 2, 2, 'y');
INSERT INTO child VALUES (:'alpha', 1, 1), (:'alpha', 2, 2);
COMMIT;
CALL immiiq.seal();

CREATE FUNCTION problems(wanted uuid DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s: %s', severity, coalesce("position"::text, '-'), problem), E'\n' ORDER BY problem)
    FROM immiiq.verify_audit(wanted)
$$;
-- Runs statements as somebody who has switched every trigger off.
CREATE FUNCTION unseen(VARIADIC statements text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE statement text; name regclass;
BEGIN
    FOREACH name IN ARRAY ARRAY['note', 'person', 'part', 'child', 'legacy', 'immiiq.member']::regclass[] LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', name);
    END LOOP;
    FOREACH statement IN ARRAY statements LOOP EXECUTE statement; END LOOP;
    FOREACH name IN ARRAY ARRAY['note', 'person', 'part', 'child', 'legacy', 'immiiq.member']::regclass[] LOOP
        EXECUTE format('ALTER TABLE %s ENABLE TRIGGER USER', name);
        IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = name AND tgname = '00_immiiq_capture') THEN
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER "00_immiiq_capture"', name);
        END IF;
    END LOOP;
END
$$;
SELECT max(position) AS top FROM immiiq.leaf WHERE org_id = :'alpha' \gset

---- What is as it should be

SELECT is(problems(), NULL, 'all rows are as the log has them; one from before the protection needs no entry');
BEGIN;
UPDATE legacy SET body = 'now it has an entry';
UPDATE note SET note_id = 101 WHERE note_id = 1;
UPDATE note SET client_id = gen_random_uuid(), body = 'another client''s' WHERE note_id = 2;
DELETE FROM note WHERE note_id = 3;
INSERT INTO note VALUES (:'alpha', 3, NULL, 'the same key again');
UPDATE part SET year = 2 WHERE part_id = 1;
DELETE FROM person;
COMMIT;
SELECT is(problems(), NULL, 'nor is anything wrong with changed keys, clients, partitions, and keys that come again, while they wait for their seal');
CALL immiiq.seal();
SELECT is(problems(), NULL, 'nor afterwards');
SELECT is(problems(:'alpha'), NULL, 'nor of one organisation');
ALTER TABLE note ADD COLUMN more text DEFAULT 'more';
SELECT is(problems(), NULL, 'a column that is younger than the entries is no difference');
DELETE FROM immiiq.audit_rule WHERE target = 'note'::regclass;
SELECT is(problems(), NULL, 'nor is a rule that went');
BEGIN;
UPDATE note SET body = 'mine' WHERE note_id = 9;
SELECT is(problems(), 'warning -: rows were not compared: this transaction has changed some itself', 'what the transaction itself has changed is not judged');
ROLLBACK;

---- Attacks

BEGIN;
SELECT unseen($$UPDATE note SET body = 'forged' WHERE note_id = 5$$) \gset ignored_
SELECT matches(problems(), '^error \d+: row of public.note with note_id 5 is not as its last entry has it: body$', 'a value changed');
SELECT unalike(problems(), '%forged%', 'which is not said');
SELECT is((SELECT count(*) FROM immiiq.verify_audit(:'beta')), 0::bigint, 'and nothing of it to another organisation');
SELECT is((SELECT count(*) FROM immiiq.verify_audit(rows => false)), 0::bigint, 'nor where rows are not asked for');
SELECT is((SELECT count(*) FROM immiiq.verify_audit(images => false)), 0::bigint, 'as where images are not');
SELECT is((SELECT count(*) FROM immiiq.verify_audit(images => false, rows => true)), 1::bigint, 'but both can be had apart');
ROLLBACK;
BEGIN;
SELECT unseen($$UPDATE note SET body = NULL, amount = 7, at = NULL WHERE note_id = 5$$) \gset ignored_
SELECT matches(problems(), '^error \d+: row of public.note with note_id 5 is not as its last entry has it: body, amount, at$', 'several values, to NULL and from');
ROLLBACK;
BEGIN;
SELECT unseen($$UPDATE note SET amount = 2.00 WHERE note_id = 6$$) \gset ignored_
SELECT matches(problems(), 'note_id 6 is not as its last entry has it: amount$', '2.00 is not 2.0000000000000000');
ROLLBACK;
BEGIN;
SELECT unseen($$UPDATE note SET secret = (SELECT secret FROM note WHERE note_id = 8) WHERE note_id = 7$$) \gset ignored_
SELECT matches(problems(), 'note_id 7 is not as its last entry has it: secret$', 'another row''s sealed value');
ROLLBACK;
BEGIN;
SELECT unseen(format($$UPDATE note SET org_id = %L WHERE note_id = 5$$, :'beta')) \gset ignored_
SELECT matches(problems(), 'row of public.note with note_id 5 is gone without an entry', 'a row given to another organisation is missing in the one');
SELECT ok(problems() ~ 'row of public.note with note_id 5 has no entry' OR problems() ~ 'row of public.note at .* is not as it can be stored', 'and has no entry in the other');
ROLLBACK;
BEGIN;
SELECT unseen($$INSERT INTO note SELECT org_id, 900, client_id, body FROM note WHERE note_id = 5$$) \gset ignored_
SELECT matches(problems(), '^error -: row of public.note with note_id 900 has no entry: it was put in past the triggers$', 'a row put in');
ROLLBACK;
BEGIN;
SELECT unseen($$DELETE FROM note WHERE note_id = 5$$) \gset ignored_
SELECT matches(problems(), '^error \d+: row of public.note with note_id 5 is gone without an entry: it was taken out past the triggers$', 'a row taken out');
ROLLBACK;
BEGIN;
SELECT unseen($$DELETE FROM note WHERE note_id = 5$$, $$INSERT INTO note SELECT org_id, 5 FROM legacy$$) \gset ignored_
SELECT matches(problems(), 'row of public.note with note_id 5 is not as its last entry has it: client_id, body, amount, at, secret', 'a row taken out and another put in its place');
ROLLBACK;
BEGIN;
SELECT unseen($$UPDATE note SET note_id = 905 WHERE note_id = 5$$) \gset ignored_
SELECT matches(problems(), 'row of public.note with note_id 905 has no entry', 'another key: the new row has none');
SELECT matches(problems(), 'row of public.note with note_id 5 is gone without an entry', 'and the old one is gone');
ROLLBACK;
BEGIN;
SELECT unseen($$INSERT INTO person SELECT org_id, 'canary@example.com', 'back' FROM legacy$$) \gset ignored_
SELECT matches(problems(), '^error \d+: row of public.person with email \(not shown\) is there, though its last entry is its deletion$', 'a deleted row put back; a key that is text is not shown');
ROLLBACK;
BEGIN;
SELECT unseen($$TRUNCATE child$$) \gset ignored_
SELECT is((SELECT count(*) FROM immiiq.verify_audit() WHERE problem ~ 'row of public.child with child_id [12] is gone'), 2::bigint, 'a table emptied');
ROLLBACK;
BEGIN;
SELECT unseen($$UPDATE part_2 SET body = 'forged' WHERE part_id = 2$$) \gset ignored_
SELECT matches(problems(), 'row of public.part_2 with part_id 2, year 2 is not as its last entry has it: body', 'a row of a partition changed');
ROLLBACK;
BEGIN;
SELECT unseen($$INSERT INTO part_2 SELECT org_id, 77, 2 FROM legacy$$) \gset ignored_
SELECT matches(problems(), '^error -: row of public.part_2 with part_id 77, year 2 has no entry', 'a row put into a partition');
ROLLBACK;
BEGIN;
SELECT unseen($$UPDATE immiiq.member SET scope = 'all'$$) \gset ignored_
SELECT matches(problems(), 'row of immiiq.member with org_id [0-9a-f-]{36}, member_id [0-9a-f-]{36} is not as its last entry has it: scope', 'a member given more than they had');
ROLLBACK;
SELECT client_id AS client_five FROM note WHERE note_id = 5 \gset
BEGIN;
SELECT unseen($$DELETE FROM note WHERE note_id = 5$$) \gset ignored_
ALTER TABLE immiiq.subject_key DISABLE TRIGGER USER;
DELETE FROM immiiq.subject_key WHERE client_id = :'client_five';
SELECT matches(problems(), 'warning \d+: row of public.note is gone without an entry, and so is its key: it may have been erased', 'a row taken out whose client''s key is gone, too');
SELECT matches(problems(), 'warning -: key \d+ is gone: whether its entries open was not checked', 'which is said');
ROLLBACK;
BEGIN;
ALTER TABLE immiiq.seal_state DISABLE TRIGGER USER;
DELETE FROM immiiq.seal_state;
SELECT matches(problems(), 'warning -: rows were not compared: the log waits for its first round of sealing', 'what the sealer remembers taken out: rows are not judged, and that is said');
ROLLBACK;
BEGIN;
SELECT unseen($$UPDATE legacy SET body = 'forged'$$) \gset ignored_
SELECT matches(problems(), 'row of public.legacy with legacy_id 1 is not as its last entry has it: body', 'a row from before, which has an entry now');
ROLLBACK;
BEGIN;
ALTER TABLE note ALTER body TYPE text USING 'forged';
SELECT is((SELECT count(*) FROM immiiq.verify_audit() WHERE problem ~ 'is not as its last entry has it: body'), (SELECT count(*) FROM note), 'ALTER … USING, which fires no trigger');
ROLLBACK;
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE note SET body = 'seen' WHERE note_id = 5;
COMMIT;
CALL immiiq.seal();
SELECT is(problems(), NULL, 'session_replication_role does not keep capture from it');

---- Triggers

BEGIN;
ALTER TABLE note DISABLE TRIGGER "00_immiiq_capture";
SELECT is(problems(), 'error -: capture of public.note: its trigger is off, or not ALWAYS', 'a trigger that is off');
ROLLBACK;
BEGIN;
ALTER TABLE note ENABLE TRIGGER "00_immiiq_capture";
SELECT is(problems(), 'error -: capture of public.note: its trigger is off, or not ALWAYS', 'a trigger that a replica''s role switches off');
ROLLBACK;
BEGIN;
UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = 'note'::regclass AND tgname = '00_immiiq_capture';
SELECT is(problems(), 'error -: capture of public.note: its trigger is off, or not ALWAYS', 'a trigger switched off in the catalog');
ROLLBACK;
BEGIN;
UPDATE pg_trigger SET tgtype = 13 WHERE tgrelid = 'note'::regclass AND tgname = '00_immiiq_capture';
SELECT is(problems(), 'error -: capture of public.note: its trigger does not fire for every change', 'a trigger without UPDATE, in the catalog');
ROLLBACK;
BEGIN;
UPDATE pg_trigger SET tgfoid = 'suppress_redundant_updates_trigger'::regproc WHERE tgrelid = 'note'::regclass AND tgname = '00_immiiq_capture';
SELECT matches(problems(), 'capture of public.note: its trigger calls another function', 'a trigger that calls something else');
ROLLBACK;
BEGIN;
DELETE FROM pg_trigger WHERE tgrelid = 'child'::regclass AND tgname = '00_immiiq_capture';
SELECT matches(problems(), 'error -: capture of public.child: its trigger is gone', 'a trigger taken out of the catalog');
ROLLBACK;
BEGIN;
UPDATE pg_proc SET prosrc = 'immiiq_refuse_truncate' WHERE oid = 'immiiq.capture()'::regprocedure;
SELECT matches(problems(), 'capture of immiiq.capture\(\): the function is not the one that captures', 'another function under the name');
ROLLBACK;
BEGIN;
UPDATE pg_proc SET probin = '$libdir/other' WHERE oid = 'immiiq.capture()'::regprocedure;
SELECT matches(problems(), 'capture of immiiq.capture\(\): the function is not the one that captures', 'another library behind it');
ROLLBACK;
BEGIN;
UPDATE pg_proc SET prolang = (SELECT oid FROM pg_language WHERE lanname = 'internal') WHERE oid = 'immiiq.capture()'::regprocedure;
SELECT matches(problems(), 'capture of immiiq.capture\(\): the function is not the one that captures', 'another language');
ROLLBACK;
SELECT is(problems(), NULL, 'in the end all is whole');
SET ROLE regress_immiiq_auditor;
SELECT is(problems(), NULL, 'to an auditor too');
RESET ROLE;

SELECT * FROM finish();
