-- verify_audit over several units of work: with parallel workers, from a checkpoint on, at the seams of units; its progress; who may.
\i test/pgtap/setup.psql
SELECT plan(35);

CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
SELECT FROM immiiq.protect('note', 'cases') \gset
-- more than two units of 16,384 leaves, in five batches of Alpha; one of Beta
INSERT INTO note SELECT :'alpha', n FROM generate_series(1, 10000) n;
CALL immiiq.seal();
INSERT INTO note SELECT :'alpha', n FROM generate_series(10001, 16300) n;
CALL immiiq.seal();
SELECT immiiq.checkpoint() AS early \gset
INSERT INTO note SELECT :'alpha', n FROM generate_series(16301, 16400) n;
CALL immiiq.seal();
INSERT INTO note VALUES (:'beta', 99001);
CALL immiiq.seal();
SELECT immiiq.checkpoint() AS kept \gset
SELECT max(position) AS known FROM immiiq.leaf WHERE org_id = :'alpha' \gset
SELECT max(size) AS known_size FROM immiiq.tree_head \gset
INSERT INTO note SELECT :'alpha', n FROM generate_series(16401, 35000) n;
CALL immiiq.seal();
SELECT max(position) AS top FROM immiiq.leaf WHERE org_id = :'alpha' \gset
SELECT ok(:top > 32768, 'the log has three units');

CREATE FUNCTION problems(since text DEFAULT NULL, workers int DEFAULT 0, images boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s: %s', severity, coalesce("position"::text, '-'), problem), E'\n' ORDER BY ordinality)
    FROM immiiq.verify_audit(NULL, since, images, workers, false) WITH ORDINALITY
$$;
CREATE FUNCTION unguard() RETURNS void LANGUAGE plpgsql AS $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['entry', 'leaf', 'batch', 'tree_head', 'node'] LOOP
        EXECUTE format('ALTER TABLE immiiq.%I DISABLE TRIGGER USER', name);
    END LOOP;
END
$$;
CREATE FUNCTION edit_entry(place int8) RETURNS void LANGUAGE sql AS $$
    UPDATE immiiq.entry e SET body = set_byte(body, length(body) - 20, get_byte(body, length(body) - 20) # 1)
    FROM immiiq.leaf l WHERE l.org_id = 'a1fa0000-0000-4000-8000-000000000000' AND l.position = place
        AND (e.incarnation, e.txid, e.seq) = (l.incarnation, l.txid, l.seq)
$$;

SELECT is(problems(images => true), NULL, 'whole, in the session alone');
SELECT is(problems(images => true, workers => 2), NULL, 'whole, with two workers');
SELECT is(problems(workers => 2), NULL, 'whole, without opening images');
SELECT is(problems(:'kept'), NULL, 'whole behind a checkpoint');
SELECT is(problems(:'kept', 2), NULL, 'the same with two workers');
SELECT is(problems(:'early'), NULL, 'whole behind a checkpoint that ends within the first unit');
SELECT is(problems(immiiq.checkpoint()), NULL, 'nothing follows the newest checkpoint');
SELECT is_empty('SELECT FROM immiiq.verify_progress', 'nothing is left in the progress');

-- The same findings in the same order, whoever does the work.
BEGIN;
SELECT unguard() \gset ignored_
SELECT count(edit_entry(n)) FROM unnest(ARRAY[1, 16384, 16385, 32768, 32769, :top]) n \gset ignored_
SELECT is(problems(), (SELECT string_agg(format('error %s: entry is not the one that was sealed: its hash differs from the leaf', n), E'\n' ORDER BY n)
    FROM unnest(ARRAY[1, 16384, 16385, 32768, 32769, :top]) n), 'edited entries at the seams of units');
SELECT is(problems(workers => 2), problems(), 'the same with two workers');
SELECT is(problems(:'kept'), (SELECT string_agg(format('error %s: entry is not the one that was sealed: its hash differs from the leaf', n), E'\n' ORDER BY n)
    FROM unnest(ARRAY[32768, 32769, :top]) n), 'behind a checkpoint what lies before it is not read');
SELECT is((SELECT count(*) FROM immiiq.verify_audit(:'beta')), 0::bigint, 'another organisation''s verification says nothing of them');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.leaf WHERE org_id = :'alpha' AND position = 16385;
SELECT is(split_part(problems(), E'\n', 1), 'error 16385: leaves 16385 to 16385 are missing', 'the first leaf of a unit taken out');
SELECT is(problems(workers => 2), problems(), 'the same with two workers');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.leaf WHERE org_id = :'alpha' AND position = 16384;
SELECT is(split_part(problems(), E'\n', 1), 'error 16384: leaves 16384 to 16384 are missing', 'the last leaf of a unit taken out');
SELECT is(problems(workers => 2), problems(), 'the same with two workers');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.leaf WHERE org_id = :'alpha' AND position BETWEEN 16385 AND 32768;
SELECT is(split_part(problems(images => false), E'\n', 1), 'error 16385: leaves 16385 to 32768 are missing', 'a whole unit taken out');
SELECT is(problems(workers => 2, images => false), problems(images => false), 'the same with two workers');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.leaf WHERE org_id = :'alpha' AND position <= 16384;
SELECT is(split_part(problems(images => false), E'\n', 1), 'error 1: leaves 1 to 16384 are missing', 'the first unit taken out');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf SET hash = sha256(hash) WHERE org_id = :'alpha' AND position = 32768;
SELECT matches(problems(images => false), '^error 32768: entry is not the one that was sealed: its hash differs from the leaf
error \d+: leaves \d+ to \d+ do not give the root of batch \d+; later roots of this organisation were not checked$', 'another hash in the last leaf of a unit: the entry and the root');
SELECT is(problems(workers => 2, images => false), problems(images => false), 'the same with two workers');
ROLLBACK;

---- Behind a checkpoint

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf SET hash = sha256(hash) WHERE org_id = :'alpha' AND position = :known - 1;
SELECT matches(problems(:'kept'), '^error \d+: leaves 1 to \d+ do not give the root of batch \d+; later roots', 'a leaf before the checkpoint that its root is made of');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.batch SET at = at - interval '1 day' WHERE batch_no = :known_size;
SELECT matches(problems(:'kept'), 'log is not a continuation of the checkpoint of \d+ batches: it was rewritten', 'a batch before the checkpoint, rewritten');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.batch SET at = at - interval '1 day' WHERE org_id = :'alpha' AND last = :known;
SELECT matches(problems(:'kept'), 'batch \d+ is not under the checkpoint', 'the batch that the organisation goes on from');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.batch WHERE batch_no >= :known_size;
DELETE FROM immiiq.tree_head WHERE size >= :known_size;
SELECT matches(problems(:'kept'), 'log is shorter than the checkpoint of \d+ batches', 'a log cut behind the checkpoint''s back');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.node WHERE org_id = :'alpha';
SELECT matches(problems(:'kept'), '^error \d+: hashes before position \d+ are missing; roots of this organisation were not checked', 'hashes that the organisation''s tree goes on from, taken out');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf SET position = position + 1000000 WHERE org_id = :'alpha' AND position = :top;
SELECT matches(problems(), 'leaves \d+ to \d+ are missing', 'the last leaf moved far behind');
ROLLBACK;
SELECT throws_ok($$SELECT FROM immiiq.verify_audit(since => 'example.com/log' || chr(10) || '1' || chr(10))$$, '22023', 'checkpoint is of another log', 'a checkpoint of another log is refused');
SELECT throws_ok(format('SELECT FROM immiiq.verify_audit(since => %L)', replace(:'kept', E'\n' || :known_size || E'\n', E'\n' || :known_size + 1 || E'\n')), '22023',
    'signature of the checkpoint does not hold', 'nor one that nobody signed');
SELECT throws_ok($$SELECT FROM immiiq.verify_audit(since => '')$$, '22023', NULL, 'nor nothing');

---- Who may

SET ROLE regress_immiiq_auditor;
SELECT is(problems(workers => 1, images => false), NULL, 'an auditor verifies with workers');
SELECT is_empty('SELECT * FROM immiiq.verify_progress', 'and sees the progress');
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SELECT FROM immiiq.verify_audit(workers => 1)', '42501', NULL, 'the application does not verify');
SELECT throws_ok('SELECT FROM immiiq.verify_progress', '42501', NULL, 'nor see how far others are');
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
