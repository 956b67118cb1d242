-- Opened fields: who read how many values of which column, by transaction, rolled back or not, and who reads that record.
\i test/pgtap/setup.psql
SELECT plan(20);

CREATE TABLE public.vault (org_id uuid, id int, name enc_text(equality), born enc_date(equality), PRIMARY KEY (org_id, id));
SELECT immiiq.protect('public.vault', 'clients') AS ignored \gset
GRANT SELECT, INSERT ON public.vault TO regress_immiiq_app;
CREATE TABLE public.seen (at timestamptz PRIMARY KEY);
-- What is new in the record of this session's transactions, once n rows are there; an end is set by the clock, not by luck.
CREATE FUNCTION public.opened(n int) RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE until timestamptz := clock_timestamp() + interval '10 seconds';
BEGIN
    WHILE (SELECT count(*) FROM immiiq.field_opened AS f WHERE backend_pid = pg_backend_pid() AND f.at NOT IN (SELECT s.at FROM public.seen AS s)) < n
        AND clock_timestamp() < until LOOP
        PERFORM pg_sleep(0.02);
    END LOOP;
    RETURN QUERY SELECT concat_ws('/', actor, column_name, opened) FROM immiiq.field_access AS f
        WHERE backend_pid = pg_backend_pid() AND f.at NOT IN (SELECT s.at FROM public.seen AS s) ORDER BY 1;
    INSERT INTO public.seen SELECT DISTINCT f.at FROM immiiq.field_opened AS f WHERE backend_pid = pg_backend_pid() ON CONFLICT DO NOTHING;
END
$$;

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
INSERT INTO public.vault (id, name, born) SELECT i, 'name ' || i, date '1990-01-01' + i FROM generate_series(1, 30) AS i;
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT count(name::text) AS ignored, count(born::date) AS ignored2 FROM public.vault WHERE id <= 20 \gset
SELECT name AS ignored FROM public.vault WHERE id = 1 \gset
COMMIT;
SELECT results_eq('SELECT opened(2)', ARRAY['member/public.vault.born/20', 'member/public.vault.name/21'], 'values are counted by column, casts and output alike; writing opens none');

BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SAVEPOINT s;
SELECT count(name::text) AS ignored FROM public.vault \gset
ROLLBACK TO s;
ROLLBACK;
SELECT results_eq('SELECT opened(1)', ARRAY['member/public.vault.name/30'], 'a rollback takes nothing back');

BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT count(name::text) AS ignored FROM public.vault \gset
\set ON_ERROR_STOP off
SELECT 1 / 0;
\set ON_ERROR_STOP on
ROLLBACK;
SELECT results_eq('SELECT opened(1)', ARRAY['member/public.vault.name/30'], 'nor does an error');

BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT count(name::text) AS ignored FROM public.vault WHERE id <= 3 \gset
SELECT FROM immiiq.act_as_assistant('tool') \gset ignored_
SELECT count(name::text) AS ignored FROM public.vault WHERE id <= 5 \gset
COMMIT;
SELECT results_eq('SELECT opened(2)', ARRAY['assistant/public.vault.name/5', 'member/public.vault.name/3'], 'the assistant''s reads are not the member''s');

BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) AS ignored \gset
SELECT count(name::text) AS ignored FROM public.vault \gset
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT count(*) AS ignored FROM public.vault WHERE name = 'name 1' \gset
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT count(name::text) AS ignored FROM public.vault WHERE id = 7 \gset
COMMIT;
SELECT results_eq('SELECT opened(1)', ARRAY['member/public.vault.name/1'], 'who sees no row opens none; a search by value opens none');

BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SET LOCAL :force_parallel = on;
SELECT sum(length(name::text)) AS ignored FROM public.vault \gset
COMMIT;
RESET SESSION AUTHORIZATION;
CREATE FUNCTION public.opened_by_all(want bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE until timestamptz := clock_timestamp() + interval '10 seconds'; n bigint;
BEGIN
    LOOP
        SELECT sum(opened) INTO n FROM immiiq.field_opened WHERE org_id = 'a1fa0000-0000-4000-8000-000000000000'
            AND at NOT IN (SELECT s.at FROM public.seen AS s);
        EXIT WHEN n >= want OR clock_timestamp() > until;
        PERFORM pg_sleep(0.02);
    END LOOP;
    RETURN n;
END
$$;
SELECT is(opened_by_all(30), 30::bigint, 'what parallel workers open is counted, once');

---------------------------------------------------------------- what it says
SELECT is((SELECT DISTINCT org_id || '/' || member_id || '/' || login_name FROM immiiq.field_access WHERE org_id = :'alpha'), :'alpha' || '/' || :'alpha_owner' || '/regress_immiiq_app',
    'organisation, member and role are named');
SELECT isnt((SELECT count(*) FROM immiiq.field_opened AS f WHERE f.session_id IS NULL), (SELECT count(*) FROM immiiq.field_opened), 'and the session');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'look at one') \gset
SELECT name AS ignored FROM public.vault WHERE id = 1 \gset
COMMIT;
SELECT results_eq('SELECT opened(1)', ARRAY['operator/public.vault.name/1'], 'an operator''s reads are recorded');
SET immiiq.record_field_access = off;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'look at one') \gset
SELECT name AS ignored FROM public.vault WHERE id = 1 \gset
COMMIT;
RESET immiiq.record_field_access;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'look at two') \gset
SELECT count(born::date) AS ignored FROM public.vault WHERE id <= 2 \gset
COMMIT;
SELECT results_eq('SELECT opened(1)', ARRAY['operator/public.vault.born/2'], 'a superuser can turn it off');

---------------------------------------------------------------- who reads it
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SET immiiq.record_field_access = off', '42501', NULL, 'the application cannot turn it off');
SELECT throws_ok('SELECT * FROM immiiq.field_opened', '42501', NULL, 'the application does not read the table');
SELECT throws_ok('DELETE FROM immiiq.field_opened', '42501', NULL, 'nor delete from it');
SELECT is((SELECT count(*) FROM immiiq.field_access), 0::bigint, 'without an identity there is nothing to see');
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) AS ignored \gset
SELECT is((SELECT count(*) FROM immiiq.field_access), 0::bigint, 'another organisation sees nothing of it');
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT is((SELECT count(*) FROM immiiq.field_access), 0::bigint, 'nor does a member with a narrower scope');
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT isnt((SELECT count(*) FROM immiiq.field_access WHERE column_name = 'public.vault.name'), 0::bigint, 'who sees everything and has reports reads the organisation''s');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT isnt((SELECT count(*) FROM immiiq.field_access), 0::bigint, 'auditors read everything');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_nobody;
SELECT throws_ok('SELECT * FROM immiiq.field_access', '42501', NULL, 'others read nothing');
RESET SESSION AUTHORIZATION;
SELECT throws_ok('UPDATE immiiq.field_opened SET opened = 0', 'IQ040', NULL, 'no row is changed');
SELECT * FROM finish();
