-- The journal: what it records, that a rollback does not take it back, who reads it, that nobody changes it.
\i test/pgtap/setup.psql
SELECT plan(71);

SELECT current_user AS me \gset
CREATE TABLE public.secret_plan (a int);
CREATE TABLE public.client (client_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid NOT NULL, note text);
SELECT immiiq.protect('public.client', 'clients') AS ignored \gset
GRANT SELECT, INSERT, UPDATE, DELETE ON public.client TO regress_immiiq_app;
-- Denials since the last call, as action/object/reason/sqlstate.
CREATE TEMP TABLE mark AS SELECT coalesce(max(journal_id), 0) AS journal_id FROM immiiq.journal;
CREATE FUNCTION pg_temp.denials() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT concat_ws('/', action, object, reason, sqlstate) FROM immiiq.journal
        WHERE kind = 'denial' AND journal_id > (SELECT journal_id FROM mark) ORDER BY journal_id;
    UPDATE mark SET journal_id = (SELECT max(journal_id) FROM immiiq.journal);
END
$$;
-- The application tries a statement, as its own session user.
CREATE FUNCTION pg_temp.attempt(token text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF token IS NOT NULL THEN
        PERFORM set_config('immiiq.token', token, true);
    END IF;
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;

CREATE FUNCTION pg_temp.plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    plan text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
        plan := plan || line || E'\n';
    END LOOP;
    RETURN plan;
END
$$;

-- 1. Refusals that the server itself makes.
SET SESSION AUTHORIZATION regress_immiiq_app;
\set ON_ERROR_STOP off
\set QUIET on
\o /dev/null
SELECT * FROM public.secret_plan;
\o
\set ON_ERROR_STOP on
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT * FROM pg_temp.denials()', ARRAY['select/secret_plan/privilege/42501'],
    'a refused SELECT of a session of its own is recorded once');

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT is(pg_temp.attempt(NULL, 'SELECT * FROM public.secret_plan'), '42501', 'a swallowed refusal');
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT * FROM pg_temp.denials()', ARRAY['select/secret_plan/privilege/42501'],
    'is recorded once, although its transaction committed without an error');

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT is(pg_temp.attempt(NULL, 'DROP TABLE public.secret_plan'), '42501', 'a refusal in a transaction');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT * FROM pg_temp.denials()', ARRAY['drop table/secret_plan/ownership/42501'],
    'is recorded although the transaction rolled back');

SET SESSION AUTHORIZATION regress_immiiq_app;
DO $$
BEGIN
    FOR i IN 1..200 LOOP
        BEGIN
            PERFORM * FROM public.secret_plan;
        EXCEPTION WHEN insufficient_privilege THEN NULL;
        END;
    END LOOP;
END
$$;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*)::int FROM pg_temp.denials()), 200, 'two hundred swallowed refusals of one DO block are all recorded');

SET SESSION AUTHORIZATION regress_immiiq_app;
DO $$
BEGIN
    FOR i IN 1..200 LOOP
        BEGIN
            RAISE insufficient_privilege USING MESSAGE = 'canary-8f21 of nobody';
        EXCEPTION WHEN insufficient_privilege THEN NULL;
        END;
    END LOOP;
END
$$;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*)::int FROM pg_temp.denials() AS d WHERE d = 'do/raised by a function/42501'), 200,
    'so are two hundred of a block that runs no statement, without their texts');

-- 2. Tokens and roles.
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT is(pg_temp.attempt('iq_s_wrong', 'SELECT 1'), 'IQ010', 'a wrong token is refused');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*)::int FROM pg_temp.denials() AS d WHERE d LIKE 'token/%/IQ010'), 1, 'and recorded once, with its reason');
SELECT throws_ok('SELECT set_config(''immiiq.token'', ''iq_s_wrong'', true)', 'IQ013', NULL, 'a superuser cannot take an identity');
SELECT is((SELECT count(*)::int FROM pg_temp.denials() AS d WHERE d LIKE 'token/%/IQ013'), 1, 'and the attempt is recorded');

-- 3. A foreign row.
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT is(pg_temp.attempt(:'alpha_owner_token', format('INSERT INTO public.client (org_id, note) VALUES (%L, ''x'')', :'beta')),
    '42501', 'a row of another organisation is refused');
RESET SESSION AUTHORIZATION;
SELECT results_eq(
    $$SELECT action || '/' || object || '/' || reason || '/' || sqlstate || '/' || org_id || '/' || member_id || '/' || actor
      FROM immiiq.journal ORDER BY journal_id DESC LIMIT 1$$,
    ARRAY[format('insert/client/row security/42501/%s/%s/member', :'alpha', :'alpha_owner')],
    'and recorded with the organisation and the member who tried');
SELECT is((SELECT count(*)::int FROM pg_temp.denials()), 1, 'once');

BEGIN;
SET LOCAL ROLE regress_immiiq_app;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
\set ON_ERROR_STOP off
\o /dev/null
INSERT INTO public.client (org_id, note) VALUES (:'beta', 'x');
\o
\set ON_ERROR_STOP on
ROLLBACK;
SELECT is((SELECT count(*)::int FROM pg_temp.denials() AS d WHERE d = 'insert/client/row security/42501'), 1,
    'the same after the whole transaction rolled back');

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
INSERT INTO public.client (org_id, note) VALUES (:'alpha', 'own');
SELECT is(pg_temp.attempt(NULL, format('UPDATE public.client SET org_id = %L', :'beta')), '42501', 'a row that is moved to another organisation');
SELECT is(pg_temp.attempt(:'beta_owner_token', 'SELECT 1'), 'IQ012', 'and a second identity');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(split_part(d, '/', 1) || ' ' || reverse(split_part(reverse(d), '/', 1)) ORDER BY d) FROM pg_temp.denials() AS d),
    ARRAY['token IQ012', 'update 42501'], 'are recorded once each, in a transaction that commits');

-- Switched off, and on again.
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SET immiiq.record_denials = off', '42501', NULL, 'the application cannot switch the record of denials off');
SELECT throws_ok($$SELECT set_config('immiiq.record_denials', 'off', true)$$, '42501', NULL, 'by no way');
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT * FROM pg_temp.denials()', ARRAY['set/immiiq.record_denials/privilege/42501', 'select/immiiq.record_denials/privilege/42501'], 'and trying to is recorded');
SET immiiq.record_denials = off;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT is(pg_temp.attempt(NULL, 'SELECT * FROM public.secret_plan'), '42501', 'what a superuser switched off');
SELECT is(pg_temp.attempt('iq_s_wrong', 'SELECT 1'), 'IQ010', 'refuses as before');
\set ON_ERROR_STOP off
\o /dev/null
SELECT * FROM public.secret_plan;
SELECT * FROM nowhere.plan;
\o
\set ON_ERROR_STOP on
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'unrecorded denials') \gset
COMMIT;
RESET SESSION AUTHORIZATION;
RESET immiiq.record_denials;
SELECT is_empty('SELECT * FROM pg_temp.denials()', 'and records none');
SELECT isnt_empty($$SELECT FROM immiiq.operator_access WHERE reason = 'unrecorded denials'$$, 'operators'' events are written all the same');
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT is(pg_temp.attempt(NULL, 'SELECT * FROM public.secret_plan'), '42501', 'on again');
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT * FROM pg_temp.denials()', ARRAY['select/secret_plan/privilege/42501'], 'it records');

-- 4. Every road by which a statement comes.
CREATE SCHEMA hidden CREATE TABLE plan (a int);
CREATE TABLE public.deferred (a int);
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE insufficient_privilege; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON public.deferred DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.refuse();
GRANT INSERT ON public.deferred TO regress_immiiq_app;
CREATE FUNCTION public.refuse_in_parallel(a int) RETURNS int LANGUAGE plpgsql PARALLEL SAFE AS
    $$ BEGIN RAISE insufficient_privilege; END $$;
SET SESSION AUTHORIZATION regress_immiiq_app;
\set ON_ERROR_STOP off
\o /dev/null
SELECT * FROM hidden.plan;
INSERT INTO public.deferred VALUES (1);
COPY public.secret_plan TO STDOUT;
BEGIN;
DECLARE c CURSOR FOR SELECT CASE WHEN g > 1 THEN public.refuse_in_parallel(g) END FROM generate_series(1, 3) AS g;
FETCH 1 FROM c;
FETCH 1 FROM c;
ROLLBACK;
PREPARE later AS SELECT * FROM public.secret_plan;
EXECUTE later;
DEALLOCATE later;
SET :force_parallel = on;
SELECT public.refuse_in_parallel(1);
RESET :force_parallel;
\o
\set ON_ERROR_STOP on
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT * FROM pg_temp.denials()', ARRAY[
    'parse/hidden/privilege/42501',
    'parse/raised by a function/42501',
    'copy/secret_plan/privilege/42501',
    'select/raised by a function/42501',
    'select/secret_plan/privilege/42501',
    'select/reported by a parallel worker/42501'],
    'parse analysis, deferred triggers, COPY, cursors, prepared statements and parallel workers: each once');
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT is(pg_temp.attempt(NULL, 'SELECT * FROM hidden.plan'), '42501', 'a refusal at parse analysis that a function swallows');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*)::int FROM pg_temp.denials() AS d WHERE d LIKE '%/hidden/privilege/42501'), 1, 'is recorded');
SET SESSION AUTHORIZATION regress_immiiq_app;
DO $$
BEGIN
    BEGIN
        PERFORM * FROM public.secret_plan;
    EXCEPTION WHEN insufficient_privilege THEN RAISE;
    END;
EXCEPTION WHEN insufficient_privilege THEN NULL;
END
$$;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*)::int FROM pg_temp.denials()), 1, 'an error that is raised again counts once');

-- 5. Sealed values of others.
CREATE TABLE public.sealed (client_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid NOT NULL, name enc_text(equality));
SELECT immiiq.protect('public.sealed', 'clients') AS ignored \gset
GRANT SELECT, INSERT, UPDATE ON public.sealed TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT immiiq.operate(:'beta', 'test of the journal') AS ignored \gset
COMMIT;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) AS ignored \gset
INSERT INTO public.sealed (org_id, name) VALUES (:'beta', 'canary-8f21');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT name::text AS armour FROM public.sealed \gset
SELECT matches(:'armour'::text, '^iq1:', 'a value of another organisation, as the superuser sees it');
SELECT throws_ok(format($$INSERT INTO public.sealed (org_id, name) VALUES (%L, %L)$$, :'alpha'::text, :'armour'::text), 'IQ032', NULL,
    'is refused in a row of this one, from the superuser too');
SELECT is((SELECT count(*)::int FROM pg_temp.denials() AS d WHERE d LIKE 'insert/%IQ032'), 1, 'and recorded');

-- 6. What is not a refusal, or not ours to record.
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT is(pg_temp.attempt(NULL, 'SELECT 1/0'), '22012', 'another error');
RESET SESSION AUTHORIZATION;
SELECT is_empty('SELECT * FROM pg_temp.denials()', 'is not recorded');
SET SESSION AUTHORIZATION regress_immiiq_nobody;
SELECT is(pg_temp.attempt(NULL, 'SELECT * FROM public.secret_plan'), '42501', 'a refusal of a role to which nothing of immiiq was granted');
RESET SESSION AUTHORIZATION;
SELECT is_empty('SELECT * FROM pg_temp.denials()', 'is not recorded either');

-- 7. Who and from where.
SET SESSION AUTHORIZATION regress_immiiq_app;
SET application_name = 'case desk';
SELECT is(pg_temp.attempt(NULL, format(
    'DO $do$BEGIN PERFORM immiiq.authenticate(%L, ''203.0.113.9'', ''Firefox''); PERFORM * FROM public.secret_plan; END$do$',
    :'alpha_clerk_token')), '42501', 'a refusal after authenticate with an address');
RESET SESSION AUTHORIZATION;
RESET application_name;
SELECT results_eq(
    $$SELECT host(client_ip) || '/' || user_agent || '/' || application_name || '/' || login_name || '/' || role_name || '/' || user_name
      FROM immiiq.journal ORDER BY journal_id DESC LIMIT 1$$,
    ARRAY['203.0.113.9/Firefox/case desk/' || :'me' || '/regress_immiiq_app/regress_immiiq_app'],
    'address, agent, application and all three roles are in the entry');
SELECT isnt((SELECT session_id FROM immiiq.journal ORDER BY journal_id DESC LIMIT 1), NULL, 'the session too');
SELECT is((SELECT count(*)::int FROM pg_temp.denials()), 1, 'one entry');

-- 8. Operators.
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT immiiq.operate(:'alpha', 'ticket 4711: wrong team') AS ignored \gset
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT results_eq(
    $$SELECT kind || '/' || org_id || '/' || role_name || '/' || reason FROM immiiq.operator_access ORDER BY journal_id DESC LIMIT 1$$,
    ARRAY[format('operate/%s/regress_immiiq_operator/ticket 4711: wrong team', :'alpha')],
    'operate is recorded with its reason, although nothing was committed');
SELECT is((SELECT count(*)::int FROM immiiq.operator_access WHERE kind = 'impersonate'), 5, 'so is every issued session');

-- 9. Who reads.
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SELECT * FROM immiiq.journal', '42501', NULL, 'the application does not read the journal itself');
SELECT is((SELECT count(*)::int FROM immiiq.denial), 0, 'nor a denial without an identity');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT isnt((SELECT count(*)::int FROM immiiq.denial), 0, 'a member with scope all and reports sees denials');
SELECT is((SELECT count(*)::int FROM immiiq.denial WHERE org_id IS DISTINCT FROM :'alpha'), 0, 'of their own organisation only');
SELECT isnt((SELECT count(*)::int FROM immiiq.operator_access), 0, 'and who came in as operator');
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT matches(pg_temp.plan_of('SELECT * FROM immiiq.denial'), 'journal_org_idx', 'by an index on their organisation');
SELECT matches(pg_temp.plan_of('SELECT * FROM immiiq.denial'), 'One-Time Filter: immiiq.journal_reader', 'and without a look at the rest');
SELECT throws_ok('SELECT * FROM immiiq.journal_visible', '42501', NULL, 'the view below is not theirs');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) AS ignored \gset
SELECT is((SELECT count(*)::int FROM immiiq.denial WHERE org_id = :'alpha'), 0, 'another organisation sees none of them');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT is((SELECT count(*)::int FROM immiiq.denial), 0, 'nor does a member with scope team');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT immiiq.act_as_assistant('summary') AS ignored \gset
SELECT is((SELECT count(*)::int FROM immiiq.denial), 0, 'nor does the assistant of one who would');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_idle_token', true) AS ignored \gset
SELECT is((SELECT count(*)::int FROM immiiq.denial), 0, 'nor a member without the module reports');
COMMIT;
SELECT throws_ok('SELECT immiiq.journal_role_is_granted(10)', '42501', NULL, 'nor may the application ask who was granted what');
SELECT throws_ok('SELECT immiiq.journal_status()', '42501', NULL, 'or for the state of the ring');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT isnt((SELECT count(*)::int FROM immiiq.denial WHERE org_id IS NULL), 0, 'an auditor sees denials of all, also without an organisation');
SELECT is((SELECT count(*)::int FROM immiiq.denial WHERE sqlstate = 'IQ010'), 1, 'the refused token among them');
SELECT throws_ok('INSERT INTO immiiq.journal (at, kind, action, backend_pid) VALUES (now(), ''denial'', ''x'', 1)',
    '42501', NULL, 'an auditor cannot write');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_nobody;
SELECT throws_ok('SELECT * FROM immiiq.denial', '42501', NULL, 'others read nothing');
RESET SESSION AUTHORIZATION;

-- 10. Append-only, for the superuser too.
SELECT throws_ok('UPDATE immiiq.journal SET reason = NULL', 'IQ040', NULL, 'no row is changed');
SELECT throws_ok('DELETE FROM immiiq.journal', 'IQ040', NULL, 'none is deleted');
SELECT throws_ok('TRUNCATE immiiq.journal', 'IQ040', NULL, 'the table is not emptied');
SET session_replication_role = replica;
SELECT throws_ok('DELETE FROM immiiq.journal', 'IQ040', NULL, 'nor as a replica');
RESET session_replication_role;
SELECT isnt((SELECT count(*)::int FROM pg_temp.denials() AS d WHERE d LIKE '%/append-only table/IQ040'), 0, 'and each attempt is recorded');

-- 11. Nothing that the user wrote.
SELECT is((SELECT count(*)::int FROM immiiq.journal AS j WHERE j::text LIKE '%canary%' OR j::text LIKE '%iq_s_%'), 0,
    'no message and no token is in the journal');

-- 12. The ring is empty and whole.
SELECT is((SELECT state || '/' || depth || '/' || (enqueued - written) || '/' || lost FROM immiiq.journal_status()), 'running/0/0/0',
    'the worker runs, nothing waits, nothing was lost');
SELECT throws_ok('SELECT immiiq.refuse_change()', '39P01', NULL, 'the guard is a trigger and nothing else');
SELECT is((SELECT tgenabled FROM pg_trigger WHERE tgname = 'journal_append_only'), 'A', 'and fires always');

SELECT finish();
