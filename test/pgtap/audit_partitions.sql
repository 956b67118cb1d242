-- The months of the log: partitions that are made ahead, their guards, and the rest.
\i test/pgtap/setup.psql
SELECT plan(13);

CREATE FUNCTION months(ahead int) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n), '"entry_"YYYY_MM') FROM generate_series(0, ahead) n
$$;
CREATE FUNCTION partitions() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE inhparent = 'immiiq.entry'::regclass AND c.relname <> 'entry_rest'
$$;
SELECT set_eq('SELECT partitions()', 'SELECT months(2)', 'create_org makes this month and the two after it');
SELECT is(immiiq.make_partitions(), 0, 'then there is nothing to make');
SELECT is(immiiq.make_partitions(12), 10, 'a year''s by hand');
SELECT set_eq('SELECT partitions()', 'SELECT months(12)', 'are there');
SELECT is(immiiq.make_partitions(-5), 0, 'none before this month');
SELECT is_empty($$SELECT name FROM partitions() AS name
    WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = format('immiiq.%I', name)::regclass AND tgname = 'guard_log' AND tgenabled = 'A')$$, 'each has its guard');
SELECT throws_ok(format('DELETE FROM immiiq.%I', name), 'IQ040', NULL, 'which refuses a superuser') FROM (SELECT max(name) AS name FROM months(12) name) AS last;
SELECT is((SELECT count(*) FROM immiiq.entry_rest), 0::bigint, 'nothing stands among the rest');

-- An entry of a month for which there was no partition stays where it is.
CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY);
SELECT FROM immiiq.protect('note', 'cases') \gset
INSERT INTO note VALUES (:'alpha', 1);
CALL immiiq.seal();
BEGIN;
ALTER TABLE immiiq.entry DISABLE TRIGGER USER;
INSERT INTO immiiq.entry SELECT txid + 1000000, at, org_id, incarnation, seq, context, (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '14 months')::date, body
FROM immiiq.entry WHERE org_id = :'alpha' ORDER BY txid DESC, seq DESC LIMIT 1;
SELECT is((SELECT count(*) FROM immiiq.entry_rest), 1::bigint, 'a month without a partition: among the rest');
SELECT is(immiiq.make_partitions(15), 2, 'the months around it are made');
SELECT set_eq('SELECT partitions()', 'SELECT name FROM months(15) AS name EXCEPT SELECT max(name) FROM months(14) AS name', 'that one is not');
ROLLBACK;

SET ROLE regress_immiiq_app;
SELECT throws_ok('SELECT immiiq.make_partitions()', '42501', NULL, 'the application makes none');
SET ROLE regress_immiiq_auditor;
SELECT throws_ok('SELECT immiiq.make_partitions()', '42501', NULL, 'nor an auditor');
RESET ROLE;

SELECT * FROM finish();
