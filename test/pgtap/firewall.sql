-- The firewall: what it refuses application roles, what it leaves them, whom it leaves alone, and what ends with a transaction.
\i test/pgtap/setup.psql
SELECT plan(97);

CREATE TABLE public.paper (org_id uuid NOT NULL, id uuid DEFAULT gen_random_uuid(), note text, PRIMARY KEY (org_id, id));
SELECT immiiq.protect('public.paper', 'clients') AS ignored \gset
CREATE TABLE public.free (a int);
CREATE FUNCTION public.size_for_all() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT pg_relation_size('public.free') $$;
CREATE VIEW public.counters AS SELECT relname, reltuples FROM pg_class WHERE relname = 'free';
GRANT SELECT, INSERT, UPDATE, DELETE ON public.paper, public.free, public.counters TO regress_immiiq_app;
DROP ROLE IF EXISTS regress_immiiq_firewall;
CREATE ROLE regress_immiiq_firewall LOGIN IN ROLE regress_immiiq_app;
-- Lines of an EXPLAIN.
CREATE FUNCTION public.explained(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE query LOOP RETURN NEXT line; END LOOP;
END
$$;

---------------------------------------------------------------- functions
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SELECT ' || call, '42501', NULL, 'denied: ' || call)
FROM unnest(ARRAY['pg_relation_size(''public.paper'')', 'pg_table_size(''public.paper'')', 'pg_indexes_size(''public.paper'')',
    'pg_total_relation_size(''public.paper'')', 'pg_database_size(current_database())', 'pg_tablespace_size(''pg_default'')',
    'pg_stat_get_live_tuples(''public.paper''::regclass)', 'pg_stat_get_numscans(''public.paper''::regclass)',
    'pg_stat_get_xact_tuples_returned(''public.paper''::regclass)', 'pg_stat_get_db_xact_commit(1)',
    '* FROM pg_stat_user_tables', '* FROM pg_statio_user_tables', '* FROM pg_stat_database', '* FROM pg_stat_xact_user_tables',
    'pg_advisory_lock(1)', 'pg_advisory_xact_lock(1)', 'pg_try_advisory_lock(1)', 'pg_try_advisory_xact_lock_shared(1, 2)',
    'pg_advisory_unlock_all()', 'pg_notify(''a'', ''b'')', 'pg_notification_queue_usage()', 'pg_export_snapshot()',
    'lo_create(0)', 'lo_from_bytea(0, ''a'')', 'lo_get(1)', 'lo_unlink(1)', 'lo_put(1, 0, ''a'')', 'lo_open(1, 131072)',
    'pg_logical_emit_message(true, ''a'', ''b'')', 'pg_current_wal_lsn()', 'pg_current_wal_insert_lsn()',
    'count(*) FROM pg_locks']) AS call;
SELECT throws_ok($$SELECT 1 WHERE 'public.paper'::regclass OPERATOR(pg_catalog.=) 0 OR (SELECT max(pg_relation_size(c.oid)) FROM pg_class AS c) > 0$$,
    '42501', NULL, 'nor in any place of a query');
SELECT throws_ok($q$DO $b$BEGIN PERFORM pg_total_relation_size('public.paper'); END$b$$q$, '42501', NULL, 'nor inside a block');
SELECT lives_ok($$SELECT pg_column_size('a'::text), pg_get_viewdef('public.counters'::regclass), pg_table_is_visible('public.free'::regclass), txid_current()$$,
    'functions that tell nothing of others stay');
SELECT is(public.size_for_all(), 0::bigint, 'a SECURITY DEFINER function of somebody else''s may call them');

---------------------------------------------------------------- the catalog
SELECT throws_ok('SELECT ' || part, '42501', NULL, 'denied: ' || part)
FROM unnest(ARRAY['reltuples FROM pg_class', 'relpages FROM pg_class', 'relallvisible FROM pg_class', '* FROM pg_class', 'c FROM pg_class AS c',
    'relname FROM pg_class WHERE reltuples > 10', 'count(*) FROM pg_class GROUP BY reltuples', '1 FROM pg_class AS a JOIN pg_class AS b USING (reltuples)']) AS part;
SELECT lives_ok($$SELECT oid, relname, relkind, relnatts FROM pg_class$$, 'the other columns of pg_class are for everybody');
SELECT lives_ok($$SELECT * FROM information_schema.columns$$, 'and so is the information schema');
SELECT lives_ok($$SELECT reltuples FROM public.counters$$, 'a view answers for what its owner shows');

---------------------------------------------------------------- statements
SELECT throws_ok(statement, '42501', NULL, 'refused: ' || statement)
FROM unnest(ARRAY['LISTEN a', 'NOTIFY a', 'LOCK TABLE public.free IN ACCESS EXCLUSIVE MODE', 'LOCK TABLE public.free IN SHARE MODE',
    'DECLARE kept CURSOR WITH HOLD FOR SELECT 1', 'ALTER ROLE regress_immiiq_app PASSWORD ''a''', 'ALTER ROLE regress_immiiq_app VALID UNTIL ''2000-01-01''',
    'GRANT regress_immiiq_app TO regress_immiiq_nobody', 'REVOKE regress_immiiq_app FROM regress_immiiq_firewall',
    'DROP OWNED BY regress_immiiq_app', 'REASSIGN OWNED BY regress_immiiq_app TO regress_immiiq_app', 'LOAD ''plpgsql''',
    'CREATE TEMP TABLE left_over (a int)', 'CREATE TEMP TABLE left_over AS SELECT 1', 'SELECT 1 INTO TEMP left_over', 'CREATE TABLE pg_temp.left_over (a int)',
    'CREATE TEMP VIEW left_over AS SELECT 1', 'CREATE TEMP SEQUENCE left_over', 'CREATE FUNCTION pg_temp.left_over() RETURNS int LANGUAGE sql AS ''SELECT 1''',
    'CREATE TYPE pg_temp.left_over AS (a int)', 'CREATE TYPE pg_temp.left_over AS ENUM ()', 'CREATE DOMAIN pg_temp.left_over AS int',
    'CREATE AGGREGATE pg_temp.left_over (int) (SFUNC = int4pl, STYPE = int)', 'CREATE OPERATOR pg_temp.<<<< (FUNCTION = int4lt, LEFTARG = int, RIGHTARG = int)']) AS statement;
SELECT lives_ok('LOCK TABLE public.free IN ROW EXCLUSIVE MODE', 'a lock that an UPDATE takes as well is taken');
SELECT lives_ok('CREATE TEMP TABLE gone (a int) ON COMMIT DROP; INSERT INTO gone VALUES (1); CREATE INDEX ON gone (a)', 'a temporary table that ends with the transaction');
BEGIN;
SET LOCAL search_path = pg_temp, public;
SELECT public.throws_ok('CREATE FUNCTION left_over() RETURNS int LANGUAGE sql AS ''SELECT 1''', '42501', NULL, 'refused: temporary by search_path');
ROLLBACK;

---------------------------------------------------------------- EXPLAIN
SELECT throws_ok('EXPLAIN ANALYZE SELECT 1', '42501', NULL, 'EXPLAIN ANALYZE is refused');
SELECT throws_ok('EXPLAIN (ANALYZE false, ANALYZE) SELECT 1', '42501', NULL, 'however it is written');
SELECT throws_ok('EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) DELETE FROM public.free', '42501', NULL, 'and without costs');
SELECT is((SELECT count(*) FROM public.explained('EXPLAIN (COSTS on, BUFFERS, VERBOSE) SELECT * FROM public.paper') AS line WHERE line ~ 'rows=|cost=|Buffers'), 0::bigint,
    'EXPLAIN says no estimate, though asked to');
SELECT is((SELECT count(*) FROM public.explained('EXPLAIN (FORMAT json) SELECT * FROM public.paper') AS line WHERE line ~ 'Plan Rows|Cost'), 0::bigint, 'in no format');
SELECT isnt((SELECT count(*) FROM public.explained('EXPLAIN SELECT * FROM public.paper') AS line WHERE line ~ 'Result|Scan'), 0::bigint, 'it shows the plan');

---------------------------------------------------------------- what ends with the transaction
SET work_mem = '5MB';
PREPARE early AS SELECT 1;
SELECT results_eq('early', ARRAY[1], 'a connection on which nobody was active yet keeps what is set and prepared');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT throws_ok('PREPARE left_over AS SELECT 1', '42501', NULL, 'PREPARE is refused while somebody is active');
SET work_mem = '6MB';
SELECT set_config('immiiq_test.note', 'left over', false) AS ignored \gset
SET statement_timeout = '1h';
SET LOCAL statement_timeout = '2h';
SET ROLE regress_immiiq_app;
COMMIT;
SELECT is(current_setting('work_mem'), '5MB', 'what was SET while somebody was active is as it was before');
SELECT is(coalesce(current_setting('immiiq_test.note', true), ''), '', 'and so is what set_config set');
SELECT is(current_setting('statement_timeout'), '0', 'and what was SET and then SET LOCAL');
SELECT is(current_setting('role'), 'none', 'and the role');
BEGIN;
SET work_mem = '7MB';
\set ON_ERROR_STOP off
COMMIT;
\set ON_ERROR_STOP on
SELECT is(:'LAST_ERROR_SQLSTATE' || ' ' || current_setting('work_mem'), '42501 5MB', 'once somebody was active, nothing stays that is SET without anybody');
RESET work_mem;
SELECT is(current_setting('work_mem'), '4MB', 'a RESET does');
SET TimeZone = 'Asia/Tokyo';
SELECT is(current_setting('TimeZone'), 'Asia/Tokyo', 'and a time zone');
RESET TimeZone;
SELECT throws_ok('SET immiiq.firewall = off', '42501', NULL, 'an application role cannot turn the firewall off');

---------------------------------------------------------------- for whom
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_firewall;
SELECT throws_ok('SELECT pg_advisory_lock(1)', '42501', NULL, 'members of an application role are application roles');
RESET SESSION AUTHORIZATION;
SELECT lives_ok('SELECT pg_relation_size(''public.free''), reltuples FROM pg_class', 'superusers are left alone');
SET SESSION AUTHORIZATION regress_immiiq_nobody;
SELECT lives_ok('SELECT pg_relation_size(''public.free''), reltuples FROM pg_class', 'and so are roles that were granted nothing');
RESET SESSION AUTHORIZATION;
SET immiiq.firewall = off;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT lives_ok('SELECT pg_relation_size(''public.free''), reltuples FROM pg_class', 'off is off');
SELECT throws_ok('SELECT * FROM pg_stat_activity', '42501', NULL, 'but other sessions stay hidden');
RESET SESSION AUTHORIZATION;
RESET immiiq.firewall;

---------------------------------------------------------------- on record
SELECT is((SELECT count(*) FROM immiiq.denial WHERE object = 'LISTEN' AND reason LIKE 'application roles cannot use%' AND role_name = 'regress_immiiq_app'), 1::bigint,
    'what the firewall refuses is in immiiq.denial');
SELECT isnt((SELECT count(*) FROM immiiq.denial WHERE object = 'pg_relation_size'), 0::bigint, 'denied functions, too');

DROP ROLE regress_immiiq_firewall;
SELECT * FROM finish();
