-- The end of ended sessions, of what they opened, and of devices that nobody uses: when they are due, never before what names them, and what is still known of them.
\i test/pgtap/setup.psql
SELECT plan(33);

CREATE FUNCTION mailed(address text) RETURNS text LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT o.token FROM immiiq.outbox AS o WHERE o.email = address ORDER BY o.issued_at DESC LIMIT 1 $$;
CREATE FUNCTION sessions(org uuid) RETURNS int LANGUAGE sql SECURITY DEFINER AS $$ SELECT count(*)::int FROM immiiq.session AS s WHERE s.org_id = org $$;
-- As if a session had been long ago.
CREATE FUNCTION long_ago(session uuid, by interval) RETURNS void LANGUAGE sql AS $$
    UPDATE immiiq.session AS s SET issued_at = s.issued_at - by, expires_at = s.expires_at - by, revoked_at = s.revoked_at - by WHERE s.session_id = session;
$$;
CREATE FUNCTION sign_in(address text, ip inet, device text DEFAULT NULL) RETURNS immiiq.sign_in_result LANGUAGE plpgsql AS $$
BEGIN
    PERFORM immiiq.issue_link(address);
    RETURN immiiq.redeem_link(mailed(address), ip => ip, device => device);
END $$;

-- Two former sessions of the owner, from two addresses; in the first a row was made, and the tier told no address with it.
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT * FROM sign_in('owner@alpha.example', '203.0.113.9', 'an old notebook') \gset first_
BEGIN;
SELECT set_config('immiiq.token', :'first_session_token', true) AS ignored \gset
INSERT INTO immiiq.team (org_id, name) VALUES (:'alpha', 'West');
COMMIT;
SELECT * FROM sign_in('owner@alpha.example', '203.0.113.10', 'a new notebook') \gset second_
SELECT * FROM sign_in('owner@alpha.example', '203.0.113.11', 'a new notebook') \gset third_
SELECT * FROM sign_in('owner@beta.example', '203.0.113.12') \gset beta_
RESET SESSION AUTHORIZATION;
SELECT sessions(:'alpha') AS alpha_before, sessions(:'beta') AS beta_before \gset
SELECT long_ago(:'first_session_id', '14 months'), long_ago(:'second_session_id', '12 months'), long_ago(:'beta_session_id', '14 months') \gset ignored_
UPDATE immiiq.known_device SET last_seen_at = now() - interval '14 months' WHERE device = (SELECT device FROM immiiq.session WHERE session_id = :'first_session_id');
INSERT INTO immiiq.field_opened (at, org_id, member_id, session_id, actor, type_code, domain, opened, backend_pid)
SELECT now() - interval '14 months', :'alpha', :'alpha_owner', :'first_session_id', 'member', 1, 1, 1, i FROM generate_series(1, 5) AS i;
INSERT INTO immiiq.document_event (org_id, event_id, at, action, document_id, session_id, actor, login_name)
SELECT org, gen_random_uuid(), now() - age, 'open', gen_random_uuid(), :'first_session_id', 'member', 'opened'
FROM (VALUES (:'alpha'::uuid, interval '14 months', 4), (:'alpha', interval '12 months', 2), (:'beta', interval '14 months', 1)) AS v (org, age, n), generate_series(1, n);
SELECT is((SELECT count(*)::int FROM immiiq.known_device WHERE org_id = :'alpha'), 2, 'two devices are known');
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT isnt_empty($$SELECT FROM immiiq.breach_report(address => '203.0.113.9') WHERE source = 'change' AND object = 'immiiq.team'$$, 'what an address has touched is found by its session');
COMMIT;
RESET SESSION AUTHORIZATION;

SELECT matches((SELECT concat_ws('/', status, detail) FROM immiiq.doctor() WHERE check_name = 'journal'), '^warning/rows are a day older', 'doctor says that there are older ones');
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SELECT immiiq.can_log(gen_random_uuid())', '42501', NULL, 'the application does not learn whose keys are there');
SELECT throws_ok('DELETE FROM immiiq.session', '42501', NULL, 'nor ends what is kept of a session');
SELECT throws_ok('DELETE FROM immiiq.known_device', '42501', NULL, 'nor of a device');
RESET SESSION AUTHORIZATION;

-- Beta is under hold.
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'a dispute') \gset ignored_
SELECT immiiq.place_hold('be7a0000-0000-4000-8000-0000000000c1', 'regulator') AS hold \gset
COMMIT;
SELECT is((SELECT p::text FROM immiiq.prune_journal(batch => 3) AS p), '(0,0,3,1,3,0,t)', 'a session stays while opened fields and documents name it');
SELECT is((SELECT p::text FROM immiiq.prune_journal(batch => 3) AS p), '(0,0,2,0,1,1,f)', 'and goes after the last of them');
SELECT is((SELECT p::text FROM immiiq.prune_journal() AS p), '(0,0,0,0,0,0,f)', 'then there is none');
SELECT is(sessions(:'alpha'), :alpha_before - 1, 'one session went');
SELECT is((SELECT count(*)::int FROM immiiq.session WHERE session_id IN (:'second_session_id', :'third_session_id')), 2, 'not one that ended twelve months ago, nor one that lives');
SELECT is(sessions(:'beta'), :beta_before::int, 'what is under hold stays');
SELECT results_eq($$SELECT org_id::text, count(*)::int FROM immiiq.document_event WHERE login_name = 'opened' GROUP BY 1 ORDER BY 1$$, format('VALUES (%L, 2), (%L, 1)', :'alpha', :'beta'), 'of opened documents what is younger, or under hold');
SELECT throws_ok_unguarded('DELETE FROM immiiq.document_event', 'IQ040', NULL, 'which nobody takes away by hand');
SELECT is((SELECT count(*)::int FROM immiiq.refresh_token WHERE session_id = :'first_session_id'), 0, 'its refresh tokens went with it');
SELECT is((SELECT count(*)::int FROM immiiq.known_device WHERE org_id = :'alpha'), 1, 'so did the device that was not used for as long');
SELECT is((SELECT status FROM immiiq.doctor() WHERE check_name = 'journal'), 'ok', 'doctor has nothing against what a hold keeps');

-- What came of it signs nobody in.
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN; SELECT throws_ok(format('SELECT set_config(''immiiq.token'', %L, true)', :'first_session_token'), 'IQ010', NULL, 'its token is refused'); ROLLBACK;
BEGIN; SELECT throws_ok(format('SELECT set_config(''immiiq.token'', %L, true)', :'first_access_token'), 'IQ010', NULL, 'its access token as well'); ROLLBACK;
SELECT is((immiiq.rotate_refresh(:'first_refresh_token')).verdict, 'denied', 'and its refresh token');
BEGIN; SELECT lives_ok(format('SELECT set_config(''immiiq.token'', %L, true)', :'third_session_token'), 'the live one serves'); ROLLBACK;
SELECT is((immiiq.rotate_refresh(:'third_refresh_token')).verdict, 'ok', 'and its refresh token does');
SELECT is((immiiq.rotate_refresh(:'second_refresh_token')).verdict, 'denied', 'one that was kept longer is refused as ever');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT reason FROM immiiq.sign_in_attempt ORDER BY attempt_id DESC LIMIT 1), 'session ended', 'as one whose session has ended');

-- What is still known of it.
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'look') \gset ignored_
SELECT is((SELECT concat_ws(' ', key ->> 'object', new_row ->> 'rows') FROM immiiq.audit_log WHERE table_name = 'prune-journal' AND key ->> 'object' = 'session'), 'session 1', 'the organisation''s log has the event');
SELECT is((SELECT concat_ws(' ', old_row ->> 'client_ip', old_row ->> 'member_id') FROM immiiq.audit_log WHERE table_name = 'session' AND operation = 'delete' AND key ->> 'session_id' = :'first_session_id'),
    '203.0.113.9 ' || :'alpha_owner', 'and whose session it was, and from where');
SELECT is((SELECT count(*)::int FROM immiiq.audit_log WHERE table_name = 'document_event' AND operation = 'delete' AND old_row ->> 'session_id' = :'first_session_id'), 4, 'and what was opened in it');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT isnt_empty($$SELECT FROM immiiq.breach_report(address => '203.0.113.9') WHERE source = 'change' AND object = 'immiiq.team'$$, 'what its address has touched is still found');
SELECT isnt_empty(format($$SELECT FROM immiiq.breach_report(session => %L) WHERE source = 'change' AND object = 'immiiq.team'$$, :'first_session_id'), 'and what it has touched');
SELECT is((SELECT count(*)::int FROM immiiq.sign_in_log WHERE session_id = :'first_session_id'), 1, 'its sign-in stands in the log of attempts for as long as that is kept');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*)::int FROM immiiq.verify_audit() WHERE severity = 'error'), 0, 'the log is whole');

-- Without keys nothing could say that it went.
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'settled') \gset ignored_
SELECT immiiq.release_hold(:'hold', 'settled') \gset ignored_
COMMIT;
BEGIN;
ALTER TABLE immiiq.wrapped_key DISABLE TRIGGER USER;
DELETE FROM immiiq.wrapped_key WHERE org_id = :'beta';
SELECT is((SELECT p::text FROM immiiq.prune_journal() AS p), '(0,0,0,0,0,0,f)', 'the sessions and document events of an organisation without keys stay');
ROLLBACK;
SELECT is((SELECT p::text FROM immiiq.prune_journal() AS p), '(0,0,0,0,1,1,f)', 'when the hold ends, its session goes');
SELECT * FROM finish();
