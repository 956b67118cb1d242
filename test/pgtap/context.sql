-- Who is asking: one token, one transaction, one identity. Each sentence of docs/context.md is tested here,
-- in context_parallel.sql, in test/isolation/specs/context_*.spec or in test/t/*_context.pl.
\i test/pgtap/setup.psql
SELECT plan(159);

-- Everything that an error says, or 'no error'.
CREATE FUNCTION said(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    a text; b text; c text; d text;
BEGIN
    EXECUTE query;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS a = RETURNED_SQLSTATE, b = MESSAGE_TEXT, c = PG_EXCEPTION_DETAIL, d = PG_EXCEPTION_HINT;
    RETURN concat_ws('|', a, b, c, d);
END
$$;
CREATE FUNCTION use_token(token text) RETURNS text LANGUAGE sql
    RETURN format('SELECT set_config(''immiiq.token'', %L, true)', token);

-- Sessions that must not work: expired, revoked, of a member or an organisation that is not active.
SELECT immiiq.issue_session(:'alpha_owner') AS expired_token,
       immiiq.issue_session(:'alpha_owner') AS revoked_token,
       immiiq.issue_session(:'alpha_idle') AS removed_token \gset
UPDATE immiiq.session SET issued_at = now() - interval '24 hours', expires_at = now()
    WHERE token_hash = sha256(convert_to(:'expired_token', 'UTF8'));
UPDATE immiiq.session SET revoked_at = now() WHERE token_hash = sha256(convert_to(:'revoked_token', 'UTF8'));
SELECT set_config('test.unknown', (SELECT immiiq.issue_session(:'alpha_owner')), false) AS unknown_token \gset
DELETE FROM immiiq.session WHERE token_hash = sha256(convert_to(:'unknown_token', 'UTF8'));

---------------------------------------------------------------- one setting is the whole integration
SET ROLE regress_immiiq_app;
SELECT is(immiiq.current_org(), NULL, 'nobody is active at first');
SELECT is(immiiq.current_member(), NULL, 'no member either');
SELECT is(immiiq.current_actor(), NULL, 'and no actor');

BEGIN;
SELECT is(set_config('immiiq.token', :'alpha_owner_token', true), '', 'set_config does not give the token back');
SELECT is(immiiq.current_org(), :'alpha'::uuid, 'the organisation is that of the token');
SELECT is(immiiq.current_member(), :'alpha_owner'::uuid, 'the member, too');
SELECT is(immiiq.current_actor(), 'member', 'and a member is who acts');
SELECT is(current_setting('immiiq.token'), '', 'current_setting does not show the token');
SELECT is_empty($$SELECT FROM pg_settings WHERE name = 'immiiq.token'$$, 'nor does pg_settings');
COMMIT;
SELECT is(immiiq.current_actor(), NULL, 'it dies with its transaction');

BEGIN;
SET LOCAL immiiq.token = :'alpha_lead_token';
SELECT is(immiiq.current_member(), :'alpha_lead'::uuid, 'SET LOCAL does the same');
ROLLBACK;
SELECT is(immiiq.current_actor(), NULL, 'it dies with a rollback');

BEGIN;
SELECT is(
    (SELECT (a).actor || ' ' || (a).scope || ' ' || (a).org_id || ' ' || array_to_string((a).modules, ' ')
     FROM immiiq.authenticate(:'alpha_lead_token', '192.0.2.7', 'test agent') AS a),
    'member team ' || :'alpha' || ' clients cases communications ai documents invoices reports billing settings team_management',
    'authenticate says who it is');
SELECT ok((SELECT (a).session_id IS NOT NULL AND (a).expires_at > now() + interval '23 hours'
           FROM immiiq.authenticate(:'alpha_lead_token') AS a),
    'with the session and its end');
COMMIT;
BEGIN;
SELECT is((SELECT (a).modules FROM immiiq.authenticate(:'alpha_idle_token') AS a), '{}', 'a member may have no module');
COMMIT;

---------------------------------------------------------------- it dies with its transaction, however it was set
SET immiiq.token = :'alpha_owner_token';
SELECT is(immiiq.current_actor(), NULL, 'plain SET ends with its own transaction');
BEGIN;
SET immiiq.token = :'alpha_owner_token';
SELECT is(immiiq.current_actor(), 'member', 'plain SET holds inside a transaction');
COMMIT;
SELECT is(immiiq.current_actor(), NULL, 'and not after it');
BEGIN;
SELECT is(immiiq.current_actor(), NULL, 'nor in the next one');
SAVEPOINT a;
SET LOCAL immiiq.token = :'beta_owner_token';
ROLLBACK TO a;
SELECT is(immiiq.current_actor(), NULL, 'nor when a savepoint puts the older value back');
COMMIT;
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
COMMIT AND CHAIN;
SELECT is(immiiq.current_actor(), NULL, 'COMMIT AND CHAIN ends it');
SET immiiq.token = :'alpha_owner_token';
ROLLBACK AND CHAIN;
SELECT is(immiiq.current_actor(), NULL, 'ROLLBACK AND CHAIN ends it');
COMMIT;
RESET ROLE;

CREATE TABLE seen (step text, actor text, member uuid);
GRANT ALL ON seen TO regress_immiiq_app;
CREATE PROCEDURE commits_between(token text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM immiiq.authenticate(token);
    INSERT INTO seen VALUES ('before', immiiq.current_actor(), immiiq.current_member());
    COMMIT;
    INSERT INTO seen VALUES ('after', immiiq.current_actor(), immiiq.current_member());
    ROLLBACK;
    PERFORM set_config('immiiq.token', token, false);
    COMMIT;
    INSERT INTO seen VALUES ('plain', immiiq.current_actor(), immiiq.current_member());
END
$$;
SET ROLE regress_immiiq_app;
CALL commits_between(:'alpha_owner_token');
SELECT results_eq($$SELECT step, actor FROM seen$$, $$VALUES ('before', 'member'), ('plain', NULL)$$,
    'a procedure that commits loses it');
RESET ROLE;
TRUNCATE seen;

CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.step = 'fails' THEN
        RAISE EXCEPTION 'deferred' USING ERRCODE = 'P0001';
    END IF;
    INSERT INTO seen VALUES ('deferred', immiiq.current_actor(), immiiq.current_member());
    RETURN NULL;
END
$$;
CREATE TABLE deferred (step text);
GRANT ALL ON deferred TO regress_immiiq_app;
CREATE CONSTRAINT TRIGGER deferred_notes AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION notes();
SET ROLE regress_immiiq_app;
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
INSERT INTO deferred VALUES ('works');
COMMIT;
SELECT results_eq($$SELECT step, actor FROM seen$$, $$VALUES ('deferred', 'member')$$,
    'a deferred trigger runs as who was active');
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
INSERT INTO deferred VALUES ('fails');
\set ON_ERROR_STOP off
\o /dev/null
\set VERBOSITY sqlstate
\set QUIET on
COMMIT;
\o
\set ON_ERROR_STOP on
\set VERBOSITY default
SELECT is(immiiq.current_actor(), NULL, 'a commit that fails in a deferred trigger leaves nobody behind');

BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
RESET immiiq.token;
SELECT is(immiiq.current_actor(), NULL, 'RESET leaves nobody active');
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SET LOCAL immiiq.token TO DEFAULT;
SELECT is(immiiq.current_actor(), NULL, 'SET TO DEFAULT leaves nobody active');
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
RESET ALL;
SELECT is(immiiq.current_actor(), NULL, 'RESET ALL leaves nobody active');
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SET LOCAL immiiq.token = '';
SELECT is(immiiq.current_actor(), NULL, 'an empty setting leaves nobody active');
COMMIT;

---------------------------------------------------------------- the first identity wins
BEGIN;
SELECT immiiq.authenticate(:'alpha_lead_token') AS ignored \gset
SELECT throws_ok(use_token(:'beta_owner_token'), 'IQ012', 'another identity was first in this transaction',
    'another organisation''s member is refused in the same transaction');
SELECT throws_ok(use_token(:'alpha_owner_token'), 'IQ012', NULL, 'another member of the same organisation, too');
SELECT is(immiiq.current_member(), :'alpha_lead'::uuid, 'and the first one stays active');
SELECT lives_ok(use_token(:'alpha_lead_token'), 'the same session may be set again');
SET LOCAL immiiq.token = '';
SELECT throws_ok(use_token(:'beta_owner_token'), 'IQ012', NULL, 'another is refused when nobody is active any more');
COMMIT;

BEGIN;
SAVEPOINT a;
SELECT immiiq.authenticate(:'alpha_lead_token') AS ignored \gset
ROLLBACK TO a;
SELECT is(immiiq.current_actor(), NULL, 'when its savepoint rolls back nobody is active');
SELECT throws_ok(use_token(:'beta_owner_token'), 'IQ012', NULL, 'but it stays the only one');
SELECT lives_ok(use_token(:'alpha_lead_token'), 'which may be set again');
SELECT is(immiiq.current_member(), :'alpha_lead'::uuid, 'and is active then');
COMMIT;

BEGIN;
SAVEPOINT a;
SELECT immiiq.authenticate(:'alpha_lead_token') AS ignored \gset
SAVEPOINT b;
SET LOCAL immiiq.token = '';
SELECT is(immiiq.current_actor(), NULL, 'nobody inside the inner savepoint');
ROLLBACK TO b;
SELECT is(immiiq.current_actor(), 'member', 'somebody again when it rolls back');
RELEASE a;
SELECT is(immiiq.current_actor(), 'member', 'a released savepoint keeps who is active');
COMMIT;

BEGIN;
SELECT is(split_part(said($$SELECT immiiq.authenticate('iq_s_wrong')$$), '|', 1), 'IQ010', 'an error inside authenticate');
SELECT is(immiiq.current_actor(), NULL, 'leaves nobody active');
SELECT lives_ok(use_token(:'beta_owner_token'), 'and does not count as the first identity');
COMMIT;

---------------------------------------------------------------- what is refused, and what is said of it
CREATE TEMPORARY TABLE refused (reason text, token text);
INSERT INTO refused VALUES
    ('malformed', 'x'),
    ('malformed', '-'),
    ('malformed', 'iq_s_'),
    ('malformed', :'alpha_owner_token' || 'x'),
    ('malformed', left(:'alpha_owner_token', -1)),
    ('malformed', ' ' || :'alpha_owner_token'),
    ('malformed', overlay(:'alpha_owner_token' PLACING 'iq_p_' FROM 1)),
    ('malformed', lower(:'alpha_owner_token')),
    ('malformed', repeat('iq_s_', 100000)),
    ('malformed', :'alpha_owner'),
    ('unknown', :'unknown_token'),
    ('expired', :'expired_token'),
    ('revoked', :'revoked_token');
SELECT throws_ok(use_token(token), 'IQ010', 'token refused', 'refused as any other: ' || reason || ' ' || row_number() OVER ())
    FROM refused;
SELECT throws_ok($$SELECT immiiq.authenticate(NULL)$$, 'IQ010', 'token refused', 'authenticate refuses a null token');
SELECT throws_ok($$SELECT immiiq.authenticate('')$$, 'IQ010', 'token refused', 'and an empty one');
SELECT is(count(DISTINCT said(use_token(token)))::int, 1, 'all refusals say the same, word for word') FROM refused WHERE reason <> 'malformed';
SELECT is_empty(
    $$SELECT reason FROM refused WHERE length(token) > 5 AND strpos(said(format('SET LOCAL immiiq.token = %L', token)), token) > 0$$,
    'no message holds the token');
RESET ROLE;

UPDATE immiiq.member SET active = false WHERE member_id = :'alpha_idle';
SET ROLE regress_immiiq_app;
SELECT throws_ok(use_token(:'alpha_idle_token'), 'IQ010', 'token refused', 'a member who is not active is refused');
RESET ROLE;
DELETE FROM immiiq.member WHERE member_id = :'alpha_idle';
SET ROLE regress_immiiq_app;
SELECT throws_ok(use_token(:'removed_token'), 'IQ010', 'token refused', 'a removed member is refused');
RESET ROLE;
UPDATE immiiq.org SET active = false WHERE org_id = :'beta';
SET ROLE regress_immiiq_app;
SELECT throws_ok(use_token(:'beta_owner_token'), 'IQ010', 'token refused', 'an organisation that is not active is refused');
RESET ROLE;
UPDATE immiiq.org SET active = true WHERE org_id = :'beta';

SELECT set_eq(
    $$SELECT DISTINCT reason FROM immiiq.denial WHERE action = 'token' AND sqlstate = 'IQ010'$$,
    ARRAY['malformed', 'unknown', 'expired', 'revoked', 'member not active', 'organisation not active'],
    'the reason of each refusal is in the journal, and only there');

-- A session that ends while its transaction runs.
SELECT immiiq.issue_session(:'alpha_owner') AS short_token \gset
UPDATE immiiq.session SET expires_at = clock_timestamp() + interval '700 ms'
    WHERE token_hash = sha256(convert_to(:'short_token', 'UTF8'));
SET ROLE regress_immiiq_app;
BEGIN;
SELECT (immiiq.authenticate(:'short_token')).expires_at AS short_end \gset
SELECT is(immiiq.current_actor(), 'member', 'a session holds until its end');
SELECT pg_sleep_until(:'short_end') AS ignored \gset
SELECT is(immiiq.current_actor(), NULL, 'and not in the statements after it, inside a transaction either');
COMMIT;

---------------------------------------------------------------- roles for which row security would not hold
RESET ROLE;
SELECT throws_ok(use_token(:'alpha_owner_token'), 'IQ013', 'this role cannot act for a member', 'a superuser is refused');
DROP ROLE IF EXISTS regress_context_bypass, regress_context_owner, regress_context_friend, regress_context_pooled;
CREATE ROLE regress_context_bypass BYPASSRLS;
CREATE ROLE regress_context_owner;
CREATE ROLE regress_context_friend IN ROLE regress_context_owner;
CREATE TABLE owned (org_id uuid NOT NULL, id uuid PRIMARY KEY);
ALTER TABLE owned OWNER TO regress_context_owner;
SELECT immiiq.protect('owned', NULL) AS ignored \gset
GRANT EXECUTE ON FUNCTION immiiq.authenticate TO regress_context_bypass, regress_context_owner;
GRANT USAGE ON SCHEMA immiiq TO regress_context_bypass, regress_context_owner;
SET ROLE regress_context_bypass;
SELECT throws_ok(use_token(:'alpha_owner_token'), 'IQ013', NULL, 'a role with BYPASSRLS is refused');
SELECT throws_ok($$SELECT immiiq.authenticate('x')$$, 'IQ013', NULL, 'before anything is said of the token');
RESET ROLE;
SET ROLE regress_context_owner;
SELECT throws_ok(use_token(:'alpha_owner_token'), 'IQ013', NULL, 'the owner of a protected table is refused');
RESET ROLE;
SET ROLE regress_context_friend;
SELECT throws_ok(use_token(:'alpha_owner_token'), 'IQ013', NULL, 'so is who has the owner''s powers');
RESET ROLE;
SELECT isnt_empty($$SELECT FROM immiiq.denial WHERE action = 'token' AND sqlstate = 'IQ013' AND reason = 'role is a superuser'$$,
    'a refused role is in the journal');
-- The outer user counts: inside a SECURITY DEFINER function it is still the application.
CREATE FUNCTION enters(token text) RETURNS text LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT (immiiq.authenticate(token)).actor $$;
SET ROLE regress_immiiq_app;
BEGIN;
SELECT is(enters(:'alpha_owner_token'), 'member', 'a superuser''s SECURITY DEFINER function may authenticate for the application');
RESET ROLE;
SELECT is(immiiq.current_actor(), NULL, 'an identity belongs to the role that it was given to: not to the superuser behind');
SET ROLE regress_immiiq_auditor;
SELECT is(immiiq.current_actor(), NULL, 'nor to another role');
SET ROLE regress_immiiq_app;
SELECT is(immiiq.current_actor(), 'member', 'but to that role again');
COMMIT;
RESET ROLE;
CREATE FUNCTION enters_as_app(token text) RETURNS text LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT (immiiq.authenticate(token)).actor $$;
ALTER FUNCTION enters_as_app(text) OWNER TO regress_immiiq_app;
SELECT throws_ok(format('SELECT enters_as_app(%L)', :'alpha_owner_token'), 'IQ013', NULL,
    'a superuser does not slip in through the application''s function');

---------------------------------------------------------------- where a value may come from
SELECT throws_ok($$ALTER ROLE regress_immiiq_app SET immiiq.token = 'x'$$, '55P02', NULL, 'not from ALTER ROLE');
SELECT throws_ok($$ALTER ROLE regress_immiiq_app SET immiiq.token FROM CURRENT$$, '55P02', NULL, 'not FROM CURRENT');
SELECT throws_ok(format($$ALTER DATABASE %I SET immiiq.token = 'x'$$, current_database()), '55P02', NULL, 'not from ALTER DATABASE');
SELECT throws_ok($$CREATE FUNCTION f() RETURNS int LANGUAGE sql SET immiiq.token = 'x' AS 'SELECT 1'$$, '55P02', NULL,
    'not from a function''s SET clause');
SELECT throws_ok($$ALTER FUNCTION enters(text) SET immiiq.token = 'x'$$, '55P02', NULL, 'not from ALTER FUNCTION');
SELECT throws_ok($$ALTER ROLE regress_immiiq_app SET immiiq.client_ip = '192.0.2.1'$$, '55P02', NULL, 'nor does the address');
SELECT throws_ok($$SET immiiq.session_ttl = 86400$$, '55P02', NULL, 'how long sessions last is not for users to set');
SELECT set_eq($$SELECT name FROM pg_settings WHERE name LIKE 'immiiq.%' AND context = 'user' AND name <> 'immiiq.output'$$,
    ARRAY['immiiq.client_ip', 'immiiq.user_agent'], 'apart from the token users set nothing but address and agent');
SELECT throws_ok($$SET immiiq.anything = 'x'$$, '42602', NULL, 'no other setting can be made up');
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$ALTER ROLE regress_immiiq_app SET work_mem = '1MB'$$, '42501', 'application roles cannot store settings',
    'an application role stores no setting for itself');
SELECT throws_ok($$ALTER ROLE regress_immiiq_app SET search_path = public$$, '42501', NULL, 'search_path neither');
SELECT throws_ok($$ALTER ROLE regress_immiiq_app RESET ALL$$, '42501', NULL, 'nor takes one away');

RESET SESSION AUTHORIZATION;
-- What somebody else may run as us (REINDEX, REFRESH, ANALYZE) does not choose who we are.
CREATE FUNCTION enters_quietly(token text) RETURNS text LANGUAGE plpgsql VOLATILE
    AS $$ BEGIN RETURN set_config('immiiq.token', token, true); END $$;
CREATE TABLE trap (token text);
INSERT INTO trap VALUES (:'alpha_owner_token');
CREATE MATERIALIZED VIEW trapped AS SELECT enters_quietly(token) FROM trap WITH NO DATA;
ALTER TABLE trap OWNER TO regress_immiiq_app;
ALTER MATERIALIZED VIEW trapped OWNER TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$REFRESH MATERIALIZED VIEW trapped$$, '42501', 'this setting cannot be set within a security-restricted operation',
    'a token is not taken inside a security-restricted operation');

---------------------------------------------------------------- other sessions are not for application roles
SELECT throws_ok('SELECT * FROM ' || v, '42501', NULL, v)
    FROM unnest(ARRAY['pg_stat_activity', 'pg_stat_replication', 'pg_stat_wal_receiver', 'pg_stat_subscription', 'pg_stat_ssl', 'pg_stat_gssapi',
        'pg_stat_progress_vacuum', 'pg_stat_progress_copy', 'pg_locks', 'pg_prepared_xacts', 'pg_stat_get_backend_idset()',
        'pg_stat_get_backend_activity(1)', 'pg_stat_get_backend_activity_start(1)', 'pg_stat_get_backend_xact_start(1)', 'pg_stat_get_backend_start(1)',
        'pg_stat_get_backend_client_addr(1)', 'pg_stat_get_backend_client_port(1)', 'pg_stat_get_backend_wait_event(1)',
        'pg_stat_get_backend_wait_event_type(1)', 'pg_stat_get_backend_pid(1)', 'pg_stat_get_backend_dbid(1)', 'pg_stat_get_backend_userid(1)',
        'pg_blocking_pids(1)', 'pg_safe_snapshot_blocking_pids(1)', 'pg_cancel_backend(0)', 'pg_terminate_backend(0)']) AS v;
SELECT lives_ok('SELECT pg_backend_pid(), pg_my_temp_schema()', 'what tells of the session itself stays');
RESET SESSION AUTHORIZATION;
CREATE ROLE regress_context_pooled IN ROLE regress_immiiq_app;
SET SESSION AUTHORIZATION regress_context_pooled;
SELECT throws_ok($$SELECT * FROM pg_stat_activity$$, '42501', NULL, 'pg_stat_activity for a member of the application role');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT lives_ok($$SELECT * FROM pg_stat_activity$$, 'an operator may look');
RESET SESSION AUTHORIZATION;
SELECT lives_ok($$SELECT * FROM pg_stat_activity$$, 'a superuser may look');

---------------------------------------------------------------- the assistant narrows, for good
SET ROLE regress_immiiq_app;
SELECT throws_ok($$SELECT immiiq.act_as_assistant('summary')$$, 'IQ011', NULL, 'nobody cannot act as the assistant');
BEGIN;
SELECT immiiq.authenticate(:'alpha_lead_token') AS ignored \gset
SELECT throws_ok($$SELECT immiiq.act_as_assistant('')$$, '22023', NULL, 'a tool has a name');
SELECT throws_ok($$SELECT immiiq.act_as_assistant('a tool; DROP')$$, '22023', NULL, 'of letters and digits');
SAVEPOINT a;
SELECT is((immiiq.act_as_assistant('summary')).actor, 'assistant', 'a member with the module ai acts as the assistant');
ROLLBACK TO a;
SELECT is(immiiq.current_actor(), 'assistant', 'and stays it when the savepoint rolls back');
SELECT immiiq.authenticate(:'alpha_lead_token') AS ignored \gset
SELECT is(immiiq.current_actor(), 'assistant', 'and when the token is set again');
SET LOCAL immiiq.token = '';
SELECT immiiq.authenticate(:'alpha_lead_token') AS ignored \gset
SELECT is(immiiq.current_actor(), 'assistant', 'and after nobody was active');
COMMIT;
BEGIN;
SELECT immiiq.authenticate(:'alpha_lead_token') AS ignored \gset
SELECT is(immiiq.current_actor(), 'member', 'until the transaction ends');
COMMIT;
RESET ROLE;
UPDATE immiiq.member SET modules = '{clients}' WHERE member_id = :'alpha_clerk';
SET ROLE regress_immiiq_app;
BEGIN;
SELECT immiiq.authenticate(:'alpha_clerk_token') AS ignored \gset
SELECT throws_ok($$SELECT immiiq.act_as_assistant('summary')$$, '42501', 'cannot act as the assistant', 'without the module ai there is no assistant');
SELECT is(immiiq.current_actor(), 'member', 'and the member stays who acts');
COMMIT;
RESET ROLE;

---------------------------------------------------------------- an operator's way in
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok(format('SELECT immiiq.operate(%L, ''x'')', :'alpha'), '42501', NULL, 'operate is not for the application');
SELECT throws_ok(format('SELECT immiiq.issue_session(%L)', :'alpha_owner'), '42501', NULL, 'nor is issue_session');
SELECT throws_ok($$SELECT * FROM immiiq.session$$, '42501', NULL, 'nor are the sessions');
SELECT throws_ok($$SELECT * FROM immiiq.role_grant$$, '42501', NULL, 'nor is the list of roles');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok(format('SELECT immiiq.operate(%L, '' '')', :'alpha'), '22023', 'reason must not be empty', 'a reason is needed');
SELECT throws_ok($$SELECT immiiq.operate('00000000-0000-0000-0000-000000000000', 'x')$$, '22023', 'organisation does not exist',
    'the nil organisation is none');
BEGIN;
SELECT is((SELECT concat_ws(' ', (o).org_id, (o).member_id, (o).session_id, (o).actor, (o).scope, cardinality((o).modules), (o).expires_at)
           FROM immiiq.operate(:'alpha', 'ticket 4711 of the context test') AS o),
    :'alpha' || ' operator all 10', 'an operator has the whole of one organisation');
SELECT throws_ok(format('SELECT immiiq.operate(%L, ''x'')', :'beta'), 'IQ012', NULL, 'and not of two in one transaction');
SELECT throws_ok(use_token(:'alpha_owner_token'), 'IQ012', NULL, 'nor becomes a member in it');
SELECT throws_ok($$SELECT immiiq.act_as_assistant('x')$$, '42501', NULL, 'nor an assistant')
    FROM (SELECT set_config('role', 'regress_immiiq_operator', true)) AS s;
SAVEPOINT a;
ROLLBACK TO a;
SELECT is(immiiq.current_actor(), 'operator', 'the operator stays until the end');
ROLLBACK;
SELECT is(immiiq.current_actor(), NULL, 'and no longer');
RESET SESSION AUTHORIZATION;
SELECT results_eq(
    $$SELECT org_id::text, role_name::text, count(*)::int FROM immiiq.operator_access WHERE reason = 'ticket 4711 of the context test' GROUP BY 1, 2$$,
    format($$VALUES (%L, 'regress_immiiq_operator', 1)$$, :'alpha'),
    'it is written down although its transaction rolled back');
BEGIN;
SELECT is((immiiq.operate(:'alpha', 'superuser in the context test')).actor, 'operator', 'a superuser may operate');
ROLLBACK;

---------------------------------------------------------------- issue_session is impersonation
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok($$SELECT immiiq.issue_session('00000000-0000-0000-0000-000000000000')$$, '22023', NULL, 'there is no session for nobody');
BEGIN;
SELECT immiiq.operate(:'alpha', 'test') AS ignored \gset
SELECT throws_ok(format('SELECT immiiq.issue_session(%L)', :'beta_owner'), '22023', NULL, 'after operate only for a member of that organisation');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT results_eq(
    format($$SELECT impersonated, issued_by::text COLLATE "default", member_id::text FROM immiiq.session WHERE token_hash = sha256(%L)$$, :'alpha_lead_token'),
    format($$VALUES (true, 'regress_immiiq_operator', %L)$$, :'alpha_lead'),
    'it is flagged, and says who issued it');
SELECT is_empty($$SELECT FROM immiiq.session WHERE expires_at - issued_at > interval '24 hours'$$, 'no session is longer than a day');
SELECT throws_ok($$UPDATE immiiq.session SET expires_at = issued_at + interval '24 hours 1 second'$$, '23514', NULL, 'nor can be made so');
SELECT is_empty(format($$SELECT FROM immiiq.session AS s WHERE s::text LIKE '%%' || %L || '%%'$$, substr(:'alpha_lead_token', 6)),
    'the token itself is not stored');

---------------------------------------------------------------- the client, as the tier reports it
SET ROLE regress_immiiq_app;
BEGIN;
SELECT throws_ok($$SET LOCAL immiiq.client_ip = 'x'$$, '22023', NULL, 'an address is one');
SELECT set_config('immiiq.client_ip', '2001:db8::7', true), set_config('immiiq.user_agent', E'agent\n' || repeat('é', 300), true) \gset ignored_
SELECT throws_ok($$SET LOCAL immiiq.client_ip = '2001:db8::8'$$, '55P02', NULL, 'it is said once in a transaction');
RESET immiiq.client_ip;
SELECT throws_ok($$SET LOCAL immiiq.client_ip = '2001:db8::8'$$, '55P02', NULL, 'RESET does not unsay it');
SELECT throws_ok($$SELECT immiiq.authenticate('said once')$$, 'IQ010', NULL, 'a refusal, for its entry');
ROLLBACK;
SET immiiq.client_ip = '192.0.2.99';
SELECT throws_ok($$SELECT immiiq.authenticate('said before')$$, 'IQ010', NULL, 'another one, in a later transaction');
RESET ROLE;
SELECT results_eq(
    $$SELECT host(client_ip), left(user_agent, 6), length(user_agent) FROM immiiq.denial WHERE action = 'token' ORDER BY journal_id DESC LIMIT 2$$,
    $$VALUES (NULL, NULL, NULL), ('2001:db8::7', 'agent?', 130)$$,
    'address and agent stand in the entry of their own transaction only, the agent clipped and cleaned');

---------------------------------------------------------------- PREPARE TRANSACTION
SET ROLE regress_immiiq_app;
BEGIN;
SAVEPOINT a;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
ROLLBACK TO a;
\set ON_ERROR_STOP off
\o /dev/null
PREPARE TRANSACTION 'regress_context';
\set prepare_state :LAST_ERROR_SQLSTATE
\o
\set ON_ERROR_STOP on
SELECT is(:'prepare_state'::text, '0A000', 'a transaction in which somebody was active is not prepared');
SELECT is_empty($$SELECT FROM pg_prepared_xacts WHERE gid = 'regress_context'$$, 'and is gone');
RESET ROLE;

DROP TABLE owned;
DROP OWNED BY regress_context_bypass, regress_context_owner, regress_context_friend, regress_context_pooled;
DROP ROLE regress_context_bypass, regress_context_friend, regress_context_owner, regress_context_pooled;
SELECT * FROM finish();
