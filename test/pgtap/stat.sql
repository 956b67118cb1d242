-- immiiq.stat: what was done is counted when its transaction ends, and only for those who may know.
\i test/pgtap/setup.psql
SELECT plan(20);

CREATE TABLE public.client (client_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid NOT NULL, passport enc_text(equality));
SELECT immiiq.protect('public.client', 'clients') AS ignored \gset
GRANT SELECT, INSERT ON public.client TO regress_immiiq_app;
CALL immiiq.seal();
CREATE TEMPORARY TABLE before AS SELECT s.*, (SELECT count(*) FROM immiiq.entry) AS entries FROM immiiq.stat AS s;
-- How much a counter has risen.
CREATE FUNCTION pg_temp.risen(counter text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    EXECUTE format('SELECT s.%1$I - b.%1$I FROM immiiq.stat AS s, before AS b', counter) INTO n;
    RETURN n;
END
$$;

SELECT results_eq('SELECT count(*)::int FROM immiiq.stat', 'VALUES (1)', 'one row');
SELECT ok((SELECT stats_since <= now() AND worker_state = 'running' AND worker_pid IS NOT NULL AND ring_capacity > 0 FROM immiiq.stat), 'with the worker''s state');
SELECT is((SELECT log_size FROM immiiq.stat), (SELECT count(*) FROM immiiq.leaf), 'the size of the log is that of its leaves');
SELECT is((SELECT sealed || ' ' || opened FROM immiiq.stat), '0 0', 'another database''s work is not counted here');

SET ROLE regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) IS NOT NULL AS ignored \gset
INSERT INTO public.client (passport) SELECT 'P' || n FROM generate_series(1, 50) AS n;
SELECT count(passport::text) AS ignored FROM public.client \gset
RESET ROLE;
SELECT is(pg_temp.risen('sealed'), 0::bigint, 'nothing is counted before the transaction ends');
COMMIT;
SELECT is(pg_temp.risen('sealed'), 50::bigint, 'fifty values sealed');
SELECT is(pg_temp.risen('opened'), 50::bigint, 'and opened');
SELECT is(pg_temp.risen('tokens_checked'), 1::bigint, 'by one token');
SELECT is(pg_temp.risen('tokens_refused'), 0::bigint, 'that was good');
-- The worker may enter something of its own meanwhile, which counts when its transaction ends.
DO $$ BEGIN FOR i IN 1..500 LOOP EXIT WHEN (SELECT pg_temp.risen('entries_captured')) = (SELECT count(*) FROM immiiq.entry) - (SELECT entries FROM before);
    PERFORM pg_sleep(0.02); END LOOP; END $$;
SELECT ok(pg_temp.risen('entries_captured') >= 50 AND pg_temp.risen('entries_captured') = (SELECT count(*) FROM immiiq.entry) - (SELECT entries FROM before),
    'fifty entries captured, each counted once');
CALL immiiq.seal();
-- The worker seals, too, and its own transaction may end a moment later.
DO $$ BEGIN FOR i IN 1..500 LOOP EXIT WHEN (SELECT pg_temp.risen('entries_sealed')) >= 50; PERFORM pg_sleep(0.02); END LOOP; END $$;
SELECT cmp_ok(pg_temp.risen('entries_sealed'), '>=', 50::bigint, 'which are sealed');
SELECT is((SELECT log_size FROM immiiq.stat), (SELECT count(*) FROM immiiq.leaf), 'and stand in the log');

-- What was refused counts, though its transaction did not happen.
SET ROLE regress_immiiq_app;
SELECT throws_ok($$SELECT set_config('immiiq.token', 'iq_s_nonsense', true)$$, 'IQ010', NULL, 'a token that is none');
SELECT throws_ok('SELECT * FROM immiiq.session', '42501', NULL, 'a table that is not for it');
RESET ROLE;
SELECT is(pg_temp.risen('tokens_refused'), 1::bigint, 'a refused token is counted');
SELECT cmp_ok(pg_temp.risen('denials'), '>=', 2::bigint, 'and denials');

-- A lag is an entry that waits.
BEGIN;
ALTER TABLE immiiq.entry DISABLE TRIGGER USER;
INSERT INTO immiiq.entry (txid, at, org_id, incarnation, seq, context, month, body)
    SELECT 9000000000000000000, clock_timestamp() - interval '5 minutes', e.org_id, s.incarnation, 1, 0, e.month, ''
    FROM immiiq.entry AS e, immiiq.seal_state AS s LIMIT 1;
SELECT cmp_ok((SELECT seal_lag FROM immiiq.stat), '>=', interval '5 minutes', 'an entry that waits is a lag');
ROLLBACK;

SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT lives_ok('SELECT * FROM immiiq.stat', 'an auditor may look');
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SELECT * FROM immiiq.stat', '42501', NULL, 'the application may not');
SELECT throws_ok('SELECT * FROM immiiq.stat_counters()', '42501', NULL, 'nor read counters');
RESET SESSION AUTHORIZATION;
SELECT finish();
