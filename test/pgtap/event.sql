-- Events in the log: what immiiq's functions record, what the worker records of refusals, reading and sign-in, and that nobody else can.
\i test/pgtap/setup.psql
SELECT plan(53);

-- Events of the organisation whose log is being read, once they are sealed.
CREATE FUNCTION events(wanted text) RETURNS TABLE (object text, actor text, member_id uuid, client_ip text, details jsonb) LANGUAGE sql AS $$
    SELECT key ->> 'object', actor, member_id, client_ip, new_row - 'object'
    FROM immiiq.audit_log WHERE operation = 'event' AND table_schema = 'immiiq' AND table_name = wanted ORDER BY position
$$;
GRANT EXECUTE ON FUNCTION events(text) TO PUBLIC;
\set client 'c1000000-0000-4000-8000-000000000001'
\set none 'ffffffff-ffff-ffff-ffff-ffffffffffff'

---- recorded by a function, as immiiq's own do it

CREATE FUNCTION record(kind text, org uuid, client uuid DEFAULT NULL, object text DEFAULT NULL, details jsonb DEFAULT NULL) RETURNS void
    LANGUAGE sql SECURITY DEFINER AS 'SELECT immiiq.record_event(kind, org, client, object, details)';
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token', '203.0.113.7', 'CANARY-agent') \gset
SELECT record('export', :'alpha', :'client', 'CANARY-object', '{"n": 1.50, "ok": true, "not": null, "list": [1, {"a": "b"}], "text": "CANARY-text"}') AS ignored \gset
SELECT record('hold', :'alpha') AS ignored \gset
SAVEPOINT s;
SELECT record('erasure', :'alpha', NULL, 'undone') AS ignored \gset
ROLLBACK TO s;
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT results_eq($$SELECT * FROM events('export')$$,
    format($$VALUES ('CANARY-object', 'member', %L::uuid, '203.0.113.7', '{"n": 1.50, "ok": true, "not": null, "list": [1, {"a": "b"}], "text": "CANARY-text"}'::jsonb)$$, :'alpha_owner'),
    'an event says who, from where, to what and what');
SELECT results_eq($$SELECT object, details FROM events('hold')$$, $$VALUES (NULL::text, NULL::jsonb)$$, 'nothing but its kind, if need be');
SELECT is_empty($$SELECT * FROM events('erasure')$$, 'what is rolled back did not happen');
SELECT results_eq(format('SELECT client_id, old_row FROM immiiq.audit_log WHERE table_name = %L AND operation = %L', 'export', 'event'),
    format('VALUES (%L::uuid, NULL::jsonb)', :'client'), 'a client''s event is under the client''s key');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM immiiq.entry AS e WHERE position('CANARY'::bytea IN immiiq.entry_bytes(e)) > 0), 0::bigint, 'none of it stands in clear');
SELECT is_empty('SELECT * FROM immiiq.verify_audit()', 'the log with events is whole');
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT is_empty($$SELECT * FROM events('export')$$, 'another organisation''s owner sees nothing of it');
COMMIT;
RESET SESSION AUTHORIZATION;

---- of no organisation: the installation's log, for auditors

SELECT immiiq.record_event('maintenance', NULL, NULL, 'disk', '{"reason": "CANARY-reason"}') AS ignored \gset
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT results_eq($$SELECT object, actor, details FROM events('maintenance')$$, $$VALUES ('disk', 'database', '{"reason": "CANARY-reason"}'::jsonb)$$, 'auditors read the installation''s log');
SELECT results_eq(format($$SELECT DISTINCT org_id FROM immiiq.audit_log WHERE table_name = 'maintenance'$$), format('VALUES (%L::uuid)', :'none'), 'which stands under the max uuid');
SELECT is_empty($$SELECT * FROM events('export') WHERE details IS NOT NULL$$, 'and an organisation''s they read without what was sealed');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is_empty($$SELECT * FROM events('maintenance')$$, 'no member reads it');
COMMIT;
BEGIN;
SELECT is_empty($$SELECT * FROM events('maintenance')$$, 'nor the application without identity');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT throws_ok(format('SELECT immiiq.create_org(%L, %L)', 'Trap', :'none'), '22023', 'the max uuid cannot be an organisation', 'no organisation can take its name');
SELECT throws_ok(format('SELECT immiiq.create_org_keys(%L)', :'none'), '22023', 'the max uuid cannot be an organisation', 'nor get keys under it');

---- what is refused

SELECT throws_ok(format('SELECT immiiq.record_event(%L, %L)', kind, :'alpha'), '22023', 'an event''s kind must be lower-case words with hyphens between', what)
FROM (VALUES ('', 'an empty kind'), ('Export', 'a kind with a capital'), ('a b', 'a kind with a blank'), ('-a', 'a kind that begins with a hyphen'), ('a--b', 'a kind with two hyphens'),
    ('a-', 'a kind that ends with a hyphen'), ('a1', 'a kind with a digit'), (repeat('a', 64), 'a kind of 64 bytes')) AS k (kind, what);
SELECT throws_ok(format('SELECT immiiq.record_event(NULL, %L)', :'alpha'), '22023', NULL, 'no kind');
SELECT throws_ok(format('SELECT immiiq.record_event(%L, %L, NULL, NULL, %L)', 'x', :'alpha', '[1]'), '22023', 'an event''s details must be a json object', 'details that are a list');
SELECT throws_ok(format('SELECT immiiq.record_event(%L, %L, NULL, NULL, %L)', 'x', :'alpha', '{"object": 1}'), '22023', NULL, 'details that pose as the object');
SELECT throws_ok(format('SELECT immiiq.record_event(%L, %L, NULL, NULL, %L)', 'x', :'alpha', '{"": 1}'), '22023', NULL, 'a detail without a name');
SELECT throws_ok(format('SELECT immiiq.record_event(%L, NULL, %L)', 'x', :'client'), '22023', NULL, 'a client without an organisation');
SELECT throws_ok(format('SELECT immiiq.record_event(%L, %L)', 'x', gen_random_uuid()), 'IQ003', NULL, 'an organisation without keys');
BEGIN READ ONLY;
SELECT throws_ok(format('SELECT immiiq.record_event(%L, %L)', 'x', :'alpha'), '25006', NULL, 'a read-only transaction');
ROLLBACK;

---- nobody else

SELECT is((SELECT array_agg(r) FROM unnest(ARRAY['regress_immiiq_app', 'regress_immiiq_auditor', 'regress_immiiq_operator', 'regress_immiiq_mailer', 'public']) AS r,
        pg_proc AS p WHERE p.pronamespace = 'immiiq'::regnamespace AND p.proname IN ('record_event', 'record_event_of', 'log_journal', 'log_opened', 'log_sign_in')
        AND has_function_privilege(r, p.oid, 'EXECUTE')), NULL, 'no role has any of these functions');
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT throws_ok(format('SELECT immiiq.record_event(%L, %L)', 'export', :'alpha'), '42501', NULL, 'the application cannot record an event');
SELECT throws_ok(format('SELECT immiiq.record_event_of(%L, %L, NULL, NULL, NULL, now(), %L, %L, NULL, NULL, NULL, NULL, NULL)', 'export', :'alpha', 'member', :'alpha_lead'), '42501', NULL,
    'nor one of somebody else');
SELECT throws_ok(format('INSERT INTO immiiq.journal (at, kind, org_id, action, backend_pid) VALUES (now(), %L, %L, %L, 1)', 'denial', :'alpha', 'x'), '42501', NULL, 'nor through the journal');
SELECT throws_ok(format('INSERT INTO immiiq.sign_in_attempt (method, verdict, org_id) VALUES (%L, %L, %L)', 'password', 'ok', :'alpha'), '42501', NULL, 'nor through the attempts');
SELECT throws_ok(format('INSERT INTO immiiq.field_opened VALUES (now(), %L, NULL, NULL, %L, NULL, 1, 1, 1, 1)', :'alpha', 'member'), '42501', NULL, 'nor through opened fields');
CREATE TEMP TABLE trap (org_id uuid, kind text) ON COMMIT DROP;
SELECT throws_ok('CREATE TRIGGER t AFTER INSERT ON trap FOR EACH ROW EXECUTE FUNCTION immiiq.log_journal()', '42501', NULL, 'nor by a trigger of their own');
ROLLBACK;
RESET SESSION AUTHORIZATION;
-- a superuser who writes the journal by hand is who the log says it was
INSERT INTO immiiq.journal (at, kind, org_id, member_id, actor, action, reason, client_ip, backend_pid)
VALUES ('2020-01-01', 'denial', :'alpha', :'alpha_owner', 'member', 'forged', 'by hand', '198.51.100.1', 1);
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT results_eq($$SELECT actor, member_id, client_ip FROM events('denial') WHERE details ->> 'action' = 'forged'$$, $$VALUES ('database', NULL::uuid, NULL::text)$$,
    'a superuser''s row in the journal is the superuser''s');
SELECT ok((SELECT at > now() - interval '1 hour' FROM immiiq.audit_log WHERE operation = 'event' AND new_row ->> 'action' = 'forged'), 'and of now');
COMMIT;
RESET SESSION AUTHORIZATION;
CREATE TEMP TABLE copied AS SELECT count(*) AS n FROM immiiq.entry;
COPY immiiq.journal (at, kind, action, backend_pid) FROM stdin;
2020-01-01	denial	x	1
\.
SELECT is((SELECT count(*) FROM immiiq.entry), (SELECT n FROM copied), 'rows of the journal that a restore loads are not events again');

---- refusals, reading, sign-in and ways in, which the worker writes

CREATE TABLE client (org_id uuid NOT NULL, client_id uuid PRIMARY KEY, name enc_text(equality), phone enc_text(sealed));
SELECT FROM immiiq.protect('client', 'clients', client => 'client_id') \gset
GRANT SELECT, INSERT ON client TO regress_immiiq_app;

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_lead_token', '203.0.113.9', 'browser') \gset
SELECT throws_ok('SELECT * FROM immiiq.wrapped_key', '42501', NULL, 'a refusal');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
INSERT INTO client SELECT :'alpha', gen_random_uuid(), 'name' || n, 'phone' || n FROM generate_series(1, 5) AS n;
SELECT count(name::text), count(phone::text) FROM client \gset ignored_
COMMIT;
SELECT (immiiq.sign_in_password('owner@alpha.example', 'CANARY-wrong', ip => '192.0.2.1')).verdict AS ignored \gset
BEGIN;
SELECT throws_ok($$SELECT immiiq.authenticate('iq_s_nonsense')$$, 'IQ010', NULL, 'a token that is none');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'CANARY-why') \gset
ROLLBACK;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'again: what was opened is written in the turn after') \gset
ROLLBACK;
RESET SESSION AUTHORIZATION;
-- operate() returns when the worker has committed what came before it
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT results_eq($$SELECT actor, member_id, client_ip, details ->> 'sqlstate' FROM events('denial') WHERE details ->> 'object' IS NULL AND details ->> 'sqlstate' = '42501' AND client_ip = '203.0.113.9'$$,
    format($$VALUES ('member', %L::uuid, '203.0.113.9', '42501')$$, :'alpha_lead'), 'a refusal that was rolled back is in the log, in the member''s name');
SELECT results_eq($$SELECT actor, member_id, (SELECT sum(n::int8) FROM jsonb_each_text(details -> 'opened') AS o (c, n)) FROM events('field-access')$$,
    format($$VALUES ('member', %L::uuid, 10::numeric)$$, :'alpha_owner'), 'what a session has opened is one event');
SELECT results_eq($$SELECT object, actor, member_id, client_ip, details - 'attempt_id' FROM events('sign-in')$$,
    format($$VALUES (%L, 'database', NULL::uuid, '192.0.2.1', '{"method": "password", "verdict": "denied", "reason": "no password", "known_device": false}'::jsonb)$$, :'alpha_owner'),
    'an attempt to sign in that failed is nobody''s doing yet');
SELECT is((SELECT count(*) FROM events('operate') WHERE details ->> 'reason' = 'CANARY-why'), 1::bigint, 'so is an operator''s way in, with its reason');
COMMIT;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT isnt((SELECT count(*) FROM events('denial') WHERE details ->> 'sqlstate' = 'IQ010'), 0::bigint, 'a token that named nobody is in the installation''s');
RESET SESSION AUTHORIZATION;
---- DDL on protected tables and immiiq's objects

CREATE TABLE plain (a int PRIMARY KEY, b text);
ALTER TABLE plain ADD c int;
ALTER TABLE client ADD note text;
ALTER TABLE client ALTER note TYPE int USING length('CANARY-value' || note);
ALTER TABLE client NO FORCE ROW LEVEL SECURITY;
ALTER TABLE client FORCE ROW LEVEL SECURITY;
ALTER TABLE client DISABLE TRIGGER "00_immiiq_capture";
ALTER TABLE client ENABLE ALWAYS TRIGGER "00_immiiq_capture";
GRANT UPDATE (note) ON client TO regress_immiiq_app;
REVOKE EXECUTE ON FUNCTION immiiq.current_org() FROM regress_immiiq_auditor;
CREATE POLICY narrow ON client AS RESTRICTIVE USING (true);
DROP POLICY narrow ON client;
DO $$
BEGIN
    BEGIN
        ALTER TABLE client ADD undone int;
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
    ALTER TABLE client ADD done int;
END
$$;
DROP TABLE client;
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT results_eq($$SELECT details ->> 'command', details ->> 'access', object, details ->> 'details' FROM events('ddl')
        WHERE details ->> 'relation' = 'public.client' AND details ->> 'type' IN ('table column', 'table', 'policy') AND object !~ '^"?(00_)?immiiq_'$$,
    $$VALUES ('ALTER TABLE', 'alter', 'public.client', 'enable always trigger 00_immiiq_capture'), ('ALTER TABLE', 'alter', 'public.client', 'enable always trigger immiiq_truncate'),
        ('ALTER TABLE', 'alter', 'public.client', 'enable row security'), ('ALTER TABLE', 'alter', 'public.client', 'force row security'),
        ('GRANT', 'alter', 'public.client', 'select, insert to regress_immiiq_app'),
        ('ALTER TABLE', 'create', 'public.client.note', 'add column note'), ('ALTER TABLE', 'alter', 'public.client', 'add column note'),
        ('ALTER TABLE', 'alter', 'public.client.note', 'alter type of column note'), ('ALTER TABLE', 'alter', 'public.client', 'alter type of column note'),
        ('ALTER TABLE', 'alter', 'public.client', 'no force row security'), ('ALTER TABLE', 'alter', 'public.client', 'force row security'),
        ('ALTER TABLE', 'alter', 'public.client', 'disable trigger 00_immiiq_capture'), ('ALTER TABLE', 'alter', 'public.client', 'enable always trigger 00_immiiq_capture'),
        ('GRANT', 'alter', 'public.client', 'update (note) to regress_immiiq_app'),
        ('CREATE POLICY', 'create', 'narrow on public.client', NULL), ('DROP POLICY', 'drop', 'narrow on public.client', NULL),
        ('ALTER TABLE', 'create', 'public.client.done', 'add column done'), ('ALTER TABLE', 'alter', 'public.client', 'add column done'),
        ('DROP TABLE', 'drop', 'public.client', NULL)$$,
    'DDL on a protected table: what was done to what, but nothing that was rolled back');
SELECT is((SELECT count(*) FROM events('ddl') WHERE object LIKE '%plain%'), 0::bigint, 'a table that is not protected is nobody''s business');
SELECT is((SELECT string_agg(details ->> 'command', ',') FROM events('ddl') WHERE object = 'immiiq.current_org()'), 'REVOKE', 'immiiq''s own functions count');
SELECT is((SELECT count(*) FROM events('ddl') WHERE object = '"00_immiiq_capture" on public.client' AND details ->> 'details' = 'disable trigger 00_immiiq_capture'), 1::bigint,
    'a trigger that was switched off is named');
SELECT is((SELECT count(*) FROM events('ddl') WHERE details::text LIKE '%CANARY%'), 0::bigint, 'no statement''s text is kept');
RESET SESSION AUTHORIZATION;

SELECT is((SELECT count(*) FROM immiiq.entry AS e WHERE position('CANARY'::bytea IN immiiq.entry_bytes(e)) > 0), 0::bigint, 'none of it in clear');
SELECT results_eq($$SELECT severity, split_part(problem, ' at ', 1) FROM immiiq.verify_audit()$$, $$VALUES ('warning', 'table public.client was dropped')$$,
    'and the log is whole');
SELECT * FROM finish();
