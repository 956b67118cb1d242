-- Parallel workers see who is active in their leader, and nobody otherwise. Every query here runs in workers
-- alone: the leader takes no part, and the plans are read.
\i test/pgtap/setup.psql
SELECT plan(20);

CREATE TABLE big (n int);
INSERT INTO big SELECT generate_series(1, 20000);
ANALYZE big;
GRANT SELECT ON big TO regress_immiiq_app;
-- What the workers see. The arguments of a partial aggregate are computed below Gather.
\set query 'SELECT CASE WHEN min(who) = max(who) THEN min(who) ELSE min(who) || $$ and $$ || max(who) END FROM (SELECT concat_ws($$ $$, coalesce(immiiq.current_actor(), $$nobody$$), immiiq.current_member(), nullif(n, n)) AS who FROM public.big) AS s'
CREATE FUNCTION seen_by_workers() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    seen text;
BEGIN
    EXECUTE current_setting('test.query') INTO seen;
    RETURN seen;
END
$$;
SELECT set_config('test.query', :'query', false) AS ignored \gset
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    lines text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, COSTS off, TIMING off, SUMMARY off) ' || query LOOP
        lines := lines || line || E'\n';
    END LOOP;
    RETURN lines;
END
$$;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET parallel_leader_participation = off;
SET max_parallel_workers_per_gather = 2;

SET ROLE regress_immiiq_app;
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SELECT matches(plan_of(:'query'), 'Workers Launched: [12]', 'the query runs in workers');
SELECT matches(plan_of(:'query'), 'Gather.*Partial Aggregate.*Output: PARTIAL min.*current_actor.*Parallel Seq Scan', 'which call the function');
SELECT is(seen_by_workers(), 'member ' || :'alpha_owner', 'workers see who is active');
COMMIT;
SELECT is(seen_by_workers(), 'nobody', 'and nobody when nobody is');

-- A plain SET of an earlier transaction is still in the settings that workers are given.
SET immiiq.token = :'alpha_owner_token';
SELECT is(seen_by_workers(), 'nobody', 'a plain SET of an earlier transaction does not come alive in them');
BEGIN;
SET immiiq.token = :'alpha_owner_token';
COMMIT;
BEGIN;
SELECT is(seen_by_workers(), 'nobody', 'nor one that was active in an earlier transaction');
SELECT immiiq.authenticate(:'beta_owner_token') AS ignored \gset
SELECT is(seen_by_workers(), 'member ' || :'beta_owner', 'the one of this transaction does');
ROLLBACK;
SELECT is(seen_by_workers(), 'nobody', 'until it rolls back');

BEGIN;
SAVEPOINT a;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SELECT is(seen_by_workers(), 'member ' || :'alpha_owner', 'inside a savepoint');
ROLLBACK TO a;
SELECT is(seen_by_workers(), 'nobody', 'and nobody when it rolled back');
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SELECT is(seen_by_workers(), 'member ' || :'alpha_owner', 'and the same again');
SELECT immiiq.act_as_assistant('summary') AS ignored \gset
SELECT is(seen_by_workers(), 'assistant ' || :'alpha_owner', 'workers are the assistant''s, too');
SELECT throws_ok($$SELECT count(immiiq.authenticate('x')) FROM big$$, 'IQ010', NULL, 'a token is never resolved in workers');
COMMIT;

BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SET LOCAL ROLE regress_immiiq_auditor;
SELECT is((SELECT count(*)::int FROM generate_series(1, 3) WHERE immiiq.current_actor() IS NULL), 3, 'another role is nobody');
COMMIT;
RESET ROLE;

-- Every plan that may run in a worker does.
SET :force_parallel = on;
SET ROLE regress_immiiq_app;
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SELECT matches(plan_of('SELECT immiiq.current_member()'), 'Workers Launched: 1.*Single Copy: true.*Output:.*current_member', 'a forced parallel plan calls it in its worker');
SELECT immiiq.current_member() AS forced, immiiq.current_org() AS forced_org \gset
SELECT is(:'forced' || ' ' || :'forced_org', :'alpha_owner' || ' ' || :'alpha', 'which sees who is active');
COMMIT;
SELECT immiiq.current_member() IS NULL AS forced \gset
SELECT ok(:'forced', 'and nobody afterwards');
RESET ROLE;
RESET :force_parallel;

-- The identity of a SECURITY DEFINER function's caller.
ALTER FUNCTION seen_by_workers() SECURITY DEFINER;
SET ROLE regress_immiiq_app;
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SELECT is(seen_by_workers(), 'member ' || :'alpha_owner', 'inside a SECURITY DEFINER function as well');
COMMIT;
RESET ROLE;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT immiiq.operate(:'alpha', 'parallel test') AS ignored \gset
SELECT is(seen_by_workers(), 'operator', 'an operator''s workers');
COMMIT;
SELECT is(seen_by_workers(), 'nobody', 'and afterwards');
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
