-- Links, codes, sessions and the log of attempts. Passwords, refresh tokens and the portal: identity_password.sql, identity_refresh.sql,
-- identity_portal.sql; what needs several connections, a restart or a clock: test/t/06*.pl.
\i test/pgtap/setup.psql
SELECT plan(133);

-- The mailer's last message to an address.
CREATE FUNCTION mailed(address text, OUT token text, OUT code text) LANGUAGE sql
    AS $$ SELECT o.token, o.code FROM immiiq.outbox AS o WHERE o.email = address ORDER BY o.issued_at DESC LIMIT 1 $$;
GRANT EXECUTE ON FUNCTION mailed(text) TO regress_immiiq_mailer;
CREATE FUNCTION use_token(token text) RETURNS text LANGUAGE sql
    RETURN format('SELECT set_config(''immiiq.token'', %L, true)', token);
-- One attempt's newest reason.
CREATE FUNCTION last_reason() RETURNS text LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT concat_ws(' ', method, verdict, reason) FROM immiiq.sign_in_attempt ORDER BY attempt_id DESC LIMIT 1 $$;

---------------------------------------------------------------- who may what
SET ROLE regress_immiiq_app;
SELECT throws_ok('SELECT * FROM immiiq.' || t, '42501', NULL, 'the application cannot read ' || t)
    FROM unnest(ARRAY['session', 'link', 'refresh_token', 'known_device', 'sign_in_attempt', 'outbox', 'pending_revocation', 'ip_country']) AS t;
SELECT throws_ok('SELECT immiiq.' || f, '42501', NULL, 'the application cannot call ' || f)
    FROM unnest(ARRAY['read_outbox()', 'take_outbox()', 'new_token(''s'')', 'derive_token(''l'', '''')', 'keyed_hash(''identifier'', '''')',
        'token_digest(''s'', '''')', 'throttle_reserve(''{}'', ''{}'')', 'throttle_settle(false)', 'throttle_forget(''account'', '''')',
        'end_session(gen_random_uuid(), '''')', 'open_session(NULL, NULL, NULL, NULL)', 'link_code(gen_random_uuid())',
        'put_link(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)', 'revoke_pending()', 'hash_password('''')',
        'verify_password('''', '''')', 'sign_in_identifier('''')', 'report_sign_in(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)']) AS f;
RESET ROLE;
SET ROLE regress_immiiq_mailer;
SELECT throws_ok('SELECT * FROM immiiq.' || t, '42501', NULL, 'the mailer cannot read ' || t)
    FROM unnest(ARRAY['session', 'link', 'member', 'sign_in_log']) AS t;
SELECT throws_ok($$SELECT immiiq.redeem_link('')$$, '42501', NULL, 'the mailer cannot redeem');
RESET ROLE;

---------------------------------------------------------------- a link
SET ROLE regress_immiiq_app;
SELECT results_eq($$SELECT * FROM immiiq.issue_link('Owner@Alpha.example ', nonce => 'browser 1', ip => '192.0.2.1')$$,
    $$VALUES ('ok', NULL::interval)$$, 'issue_link answers with a verdict');
SELECT results_eq($$SELECT * FROM immiiq.issue_link('nobody@alpha.example', nonce => 'browser 1', ip => '192.0.2.1')$$,
    $$VALUES ('ok', NULL::interval)$$, 'and with the same one for an address that nobody has');
SELECT throws_ok($$SELECT immiiq.issue_link('owner@alpha.example', 'reset')$$, '22023', NULL, 'there are two purposes only');
RESET ROLE;
SELECT is((SELECT count(*) FROM immiiq.link)::int, 2, 'what is stored for an unknown address looks alike');
SET ROLE regress_immiiq_mailer;
SELECT results_eq('SELECT email, org_name, name, kind, purpose FROM immiiq.outbox',
    $$VALUES ('owner@alpha.example', 'Alpha', 'Alpha Owner', 'member', 'sign-in')$$, 'the outbox has the one link for a member');
SELECT * FROM mailed('owner@alpha.example') \gset
SELECT matches(:'token'::text, '^iq_l_[0-9A-Za-z]{49}$', 'the link has a token');
SELECT matches(:'code'::text, '^[0-9]{6}$', 'and a code of six digits');
RESET ROLE;
SELECT is_empty(format($$SELECT FROM immiiq.link AS l WHERE l::text LIKE '%%' || %L || '%%' OR l::text LIKE '%%"' || %L || '"%%'
    OR code_hash = sha256(%L) $$, substr(:'token', 6, 43), :'code', :'code'), 'neither stands in the table');
SELECT is_empty('SELECT FROM immiiq.link WHERE email IS NOT NULL OR identifier = sha256(''owner@alpha.example'')', 'nor does the address');
SET ROLE regress_immiiq_app;
SELECT results_eq(format('SELECT verdict, kind, purpose, needs_nonce FROM immiiq.peek_link(%L), generate_series(1, 100)', :'token'),
    $$SELECT 'ok', 'member', 'sign-in', true FROM generate_series(1, 100)$$, 'a hundred looks do not use a link');
SELECT is((immiiq.peek_link('iq_l_')).verdict, 'denied', 'a look at nothing is denied');
SELECT is((immiiq.redeem_link(:'token')).verdict, 'denied', 'the link alone does not do');
SELECT is(last_reason(), 'link denied another browser', 'because it was asked for by another browser');
SELECT is((immiiq.redeem_link(:'token', 'browser 2')).verdict, 'denied', 'another browser''s nonce does not either');
SELECT is((immiiq.redeem_link(:'token', 'browser 1', purpose => 'confirm')).verdict, 'denied', 'nor does another purpose');
SELECT is(last_reason(), 'link denied another purpose', 'which the log says');
SELECT * FROM immiiq.redeem_link(:'token', 'browser 1', ip => '192.0.2.1', user_agent => E'Agent\t1', device => 'laptop', country => 'de') \gset one_
SELECT is(:'one_verdict'::text, 'ok', 'the browser that asked gets in');
SELECT is(:'one_org_id'::text || :'one_member_id', :'alpha'::text || :'alpha_owner', 'as whom the link was for');
SELECT matches(:'one_session_token'::text, '^iq_s_[0-9A-Za-z]{49}$', 'with a session token');
SELECT matches(:'one_refresh_token'::text, '^iq_r_[0-9A-Za-z]{49}$', 'and a refresh token');
SELECT cmp_ok(:'one_expires_at'::timestamptz, '<=', clock_timestamp() + interval '24 hours', 'for a day at most');
SELECT results_eq(format('SELECT * FROM immiiq.redeem_link(%L, ''browser 1'')', :'token'),
    $$SELECT 'denied', NULL::interval, NULL::uuid, NULL::uuid, NULL::uuid, NULL::uuid, NULL, NULL, NULL, NULL::timestamptz$$,
    'a second use is denied, and says nothing');
SELECT is(last_reason(), 'link denied used', 'but the log does');
SELECT is((immiiq.peek_link(:'token')).verdict, 'denied', 'a look at a used link is denied');
BEGIN;
SELECT is((immiiq.authenticate(:'one_session_token')).member_id, :'alpha_owner'::uuid, 'the session token is one for immiiq.token');
SELECT is(immiiq.current_session(), :'one_session_id'::uuid, 'of the session that was answered');
SELECT results_eq($$SELECT method, impersonated, host(client_ip), user_agent, country FROM immiiq.active_session WHERE is_current$$,
    $$VALUES ('link', false, '192.0.2.1', 'Agent?1', 'DE')$$, 'the session has address, agent and country');
COMMIT;
SELECT throws_ok(use_token(:'one_refresh_token'), 'IQ010', NULL, 'a refresh token is none for immiiq.token');
SELECT throws_ok(use_token(:'token'), 'IQ010', NULL, 'nor is that of a link');
SELECT throws_ok(use_token(replace(:'one_refresh_token', 'iq_r_', 'iq_s_')), 'IQ010', NULL, 'nor with another kind written in front');
RESET ROLE;

---------------------------------------------------------------- codes
SET ROLE regress_immiiq_app;
SELECT is((immiiq.issue_link('lead@alpha.example', nonce => 'b')).verdict, 'ok', 'a link for another member');
SET ROLE regress_immiiq_mailer;
SELECT code AS former_code, token AS former_token FROM mailed('lead@alpha.example') \gset
SELECT lpad(((:'former_code'::int + 1) % 1000000)::text, 6, '0') AS wrong_code \gset
SET ROLE regress_immiiq_app;
SELECT is((immiiq.redeem_link(:'former_code')).verdict, 'denied', 'a code needs its address');
SELECT is((immiiq.redeem_link(:'former_code', email => 'clerk@alpha.example')).verdict, 'denied', 'another one''s does not do');
SELECT is((immiiq.issue_link('lead@alpha.example', nonce => 'b')).verdict, 'ok', 'the link is issued anew');
SELECT is((immiiq.redeem_link(:'former_token', 'b')).verdict, 'denied', 'the former link is dead');
SELECT is((immiiq.redeem_link(:'former_code', email => 'lead@alpha.example')).verdict, 'denied', 'and so is the former code');
SET ROLE regress_immiiq_mailer;
SELECT code, token FROM mailed('lead@alpha.example') \gset
SET ROLE regress_immiiq_app;
BEGIN;
SELECT is((immiiq.redeem_link(:'wrong_code', email => 'lead@alpha.example')).verdict, 'denied', 'a wrong code')
    FROM generate_series(1, 3);
ROLLBACK;
SELECT is((immiiq.redeem_link(:'code', email => 'LEAD@alpha.example')).verdict, 'ok', 'four wrong ones leave a fifth try, from any browser');
SELECT is(last_reason(), 'code ok', 'which is in the log');
SELECT is((immiiq.redeem_link(:'token', 'b')).verdict, 'denied', 'the code has used the link, too');
SELECT is((immiiq.issue_link('lead@alpha.example')).verdict, 'ok', 'another link');
SELECT is((immiiq.redeem_link(:'wrong_code', email => 'lead@alpha.example')).verdict, 'denied', 'the fifth wrong code');
SET ROLE regress_immiiq_mailer;
SELECT code, token FROM mailed('lead@alpha.example') \gset
SET ROLE regress_immiiq_app;
SELECT ok(verdict = 'throttled' AND retry_after BETWEEN interval '59 min' AND interval '60 min' AND session_token IS NULL,
    'then even the right one of another link is not looked at, for an hour')
    FROM immiiq.redeem_link(:'code', email => 'lead@alpha.example');
SELECT is((immiiq.redeem_link(:'token')).verdict, 'ok', 'the link itself works all the same: nobody can lock it');
SELECT is((immiiq.redeem_link('000000', email => 'nobody@alpha.example')).verdict, 'denied', 'codes for an address that nobody has')
    FROM generate_series(1, 5);
SELECT is((immiiq.redeem_link('000000', email => 'nobody@alpha.example')).verdict, 'throttled', 'are throttled alike');
SELECT results_eq($$SELECT (immiiq.issue_link('nobody2@alpha.example')).verdict FROM generate_series(1, 6)$$,
    $$SELECT unnest(ARRAY['ok', 'ok', 'ok', 'ok', 'ok', 'throttled'])$$, 'links are throttled for an unknown address');
SELECT results_eq($$SELECT (immiiq.issue_link('clerk@alpha.example')).verdict FROM generate_series(1, 6)$$,
    $$SELECT unnest(ARRAY['ok', 'ok', 'ok', 'ok', 'ok', 'throttled'])$$, 'as for a known one');
SELECT results_eq($$SELECT (immiiq.issue_link('owner@alpha.example', device => 'laptop')).verdict FROM generate_series(1, 5)$$,
    $$SELECT 'ok' FROM generate_series(1, 5)$$, 'a known device has a budget of its own');
RESET ROLE;

---------------------------------------------------------------- times
SET ROLE regress_immiiq_app;
SELECT immiiq.issue_link('owner@beta.example') AS ignored \gset
SET ROLE regress_immiiq_mailer;
SELECT token, code FROM mailed('owner@beta.example') \gset
RESET ROLE;
SELECT is((SELECT expires_at - issued_at FROM immiiq.link WHERE org_id = :'beta'), interval '10 minutes', 'a link lasts ten minutes');
UPDATE immiiq.link SET expires_at = clock_timestamp() WHERE org_id = :'beta';
SET ROLE regress_immiiq_app;
SELECT is((immiiq.redeem_link(:'token')).verdict, 'denied', 'and not one moment longer');
SELECT is(last_reason(), 'link denied expired', 'says the log');
SELECT is((immiiq.redeem_link(:'code', email => 'owner@beta.example')).verdict, 'denied', 'nor does its code');
SELECT is((immiiq.peek_link(:'token')).verdict, 'denied', 'nor a look');
SET ROLE regress_immiiq_mailer;
SELECT is_empty($$SELECT FROM immiiq.outbox WHERE email = 'owner@beta.example'$$, 'it is not sent any more');
RESET ROLE;

---------------------------------------------------------------- the mailer takes
SET ROLE regress_immiiq_app;
SELECT immiiq.issue_link('owner@beta.example', 'confirm') AS ignored \gset
SET ROLE regress_immiiq_mailer;
SELECT is((SELECT count(*)::int FROM immiiq.take_outbox(1000) WHERE email = 'owner@beta.example' AND purpose = 'confirm'), 1, 'the mailer takes a message');
SELECT is_empty('SELECT FROM immiiq.take_outbox()', 'once');
SELECT is_empty('SELECT FROM immiiq.outbox', 'and the outbox is empty');
RESET ROLE;
SET ROLE regress_immiiq_app;
SELECT immiiq.issue_link('owner@beta.example', 'confirm') AS ignored \gset
SET ROLE regress_immiiq_mailer;
SELECT token FROM mailed('owner@beta.example') \gset
SET ROLE regress_immiiq_app;
SELECT results_eq(format($$SELECT verdict, member_id, session_token FROM immiiq.redeem_link(%L, purpose => 'confirm')$$, :'token'),
    format('SELECT ''ok'', %L::uuid, NULL::text', :'beta_owner'), 'a link to confirm an address gives no session');

---------------------------------------------------------------- one session, and its end
SELECT immiiq.issue_link('owner@beta.example', device => 'laptop') AS ignored \gset
SET ROLE regress_immiiq_mailer;
SELECT token FROM mailed('owner@beta.example') \gset
SET ROLE regress_immiiq_app;
SELECT * FROM immiiq.redeem_link(:'token') \gset first_
SELECT immiiq.issue_link('owner@beta.example') AS ignored \gset
SET ROLE regress_immiiq_mailer;
SELECT token FROM mailed('owner@beta.example') \gset
SET ROLE regress_immiiq_app;
SELECT * FROM immiiq.redeem_link(:'token') \gset second_
SELECT throws_ok(use_token(:'first_session_token'), 'IQ010', NULL, 'another sign-in ends the session before');
SELECT lives_ok(use_token(:'second_session_token'), 'the last one is the active one');
SELECT throws_ok('SELECT immiiq.sign_out()', 'IQ011', NULL, 'nobody cannot sign out');
SELECT throws_ok('SELECT immiiq.sign_out_everywhere()', 'IQ011', NULL, 'nor everywhere');
SELECT throws_ok('SELECT immiiq.revoke_session(gen_random_uuid())', 'IQ011', NULL, 'nor revoke a session');
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SELECT is(immiiq.revoke_session(:'second_session_id'), false, 'another organisation''s session is as if there were none');
SELECT is_empty(format('SELECT FROM immiiq.active_session WHERE org_id = %L', :'beta'), 'and is not seen');
SELECT is_empty(format('SELECT FROM immiiq.sign_in_log WHERE org_id = %L OR org_id IS NULL', :'beta'), 'nor are its attempts, nor those of nobody');
COMMIT;
BEGIN;
SELECT immiiq.authenticate(:'alpha_idle_token') AS ignored \gset
SELECT is(immiiq.revoke_session(:'one_session_id'), false, 'without team_management a colleague''s session stays');
SELECT is((SELECT count(*)::int FROM immiiq.active_session WHERE member_id <> :'alpha_idle'), 0, 'without reports one sees one''s own sessions');
SELECT is((SELECT count(*)::int FROM immiiq.sign_in_log WHERE member_id IS DISTINCT FROM :'alpha_idle'), 0, 'and one''s own attempts');
COMMIT;
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SELECT is(immiiq.revoke_session((SELECT session_id FROM immiiq.active_session WHERE member_id = :'alpha_lead' AND NOT impersonated)), true,
    'with it a colleague''s session can be revoked');
SELECT cmp_ok((SELECT count(*)::int FROM immiiq.sign_in_log WHERE member_id = :'alpha_lead'), '>', 5, 'with scope all and reports all attempts are seen');
SELECT is(immiiq.revoke_session(:'one_session_id'), true, 'and one''s own');
SELECT is(immiiq.revoke_session(:'one_session_id'), false, 'once');
COMMIT;
SELECT throws_ok(use_token(:'one_session_token'), 'IQ010', NULL, 'a revoked session is none');
BEGIN;
SELECT immiiq.authenticate(:'second_session_token') AS ignored \gset
SELECT is(immiiq.sign_out(), true, 'signing out ends the session');
SELECT is(immiiq.current_member(), :'beta_owner'::uuid, 'from the next transaction on');
COMMIT;
SELECT throws_ok(use_token(:'second_session_token'), 'IQ010', NULL, 'in which the token is refused');
BEGIN;
SELECT immiiq.authenticate(:'beta_owner_token') AS ignored \gset
SELECT immiiq.issue_link('owner@beta.example', device => 'x') AS ignored \gset
SELECT is(immiiq.sign_out_everywhere(), 1, 'signing out everywhere ends impersonations, too');
COMMIT;
SELECT throws_ok(use_token(:'beta_owner_token'), 'IQ010', NULL, 'with their tokens');
RESET ROLE;
SELECT is_empty(format('SELECT FROM immiiq.link WHERE org_id = %L AND ended_at IS NULL', :'beta'), 'and links that are on their way');
SELECT is_empty($$SELECT org_id, member_id FROM immiiq.session WHERE revoked_at IS NULL AND NOT impersonated GROUP BY 1, 2 HAVING count(*) > 1$$,
    'nobody has two sessions');

---------------------------------------------------------------- members who may not
SELECT immiiq.unlock_sign_in('clerk@alpha.example') AS ignored \gset
SET ROLE regress_immiiq_app;
SELECT immiiq.issue_link('clerk@alpha.example') AS ignored \gset
SET ROLE regress_immiiq_mailer;
SELECT token FROM mailed('clerk@alpha.example') \gset
RESET ROLE;
UPDATE immiiq.member SET email = 'other@alpha.example' WHERE member_id = :'alpha_clerk';
SET ROLE regress_immiiq_app;
SELECT is((immiiq.redeem_link(:'token')).verdict, 'denied', 'a link to a former address is none');
SELECT is(last_reason(), 'link denied not active', 'says the log');
RESET ROLE;
UPDATE immiiq.member SET active = false WHERE member_id = :'beta_owner';
SET ROLE regress_immiiq_app;
SELECT is((immiiq.issue_link('owner@beta.example', device => 'y')).verdict, 'throttled', 'its budget is used up');
RESET ROLE;
SELECT throws_ok_unguarded($$DELETE FROM immiiq.sign_in_attempt$$, 'IQ040', NULL, 'attempts are never deleted');
SELECT throws_ok_unguarded($$UPDATE immiiq.sign_in_attempt SET verdict = 'ok'$$, 'IQ040', NULL, 'nor changed');
SELECT throws_ok_unguarded($$INSERT INTO immiiq.session (org_id, member_id, token_hash, expires_at)
    SELECT org_id, member_id, sha256(x::text::bytea), now() FROM immiiq.member, generate_series(1, 2) x WHERE email = 'owner@alpha.example'$$,
    '23505', NULL, 'two active sessions of one member cannot be stored');
SELECT cmp_ok((SELECT count(*)::int FROM immiiq.audit_log WHERE table_name = 'session'), '>', 0, 'sessions are in the audit');
CALL immiiq.seal();
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE operation = 'event' AND table_name = 'sign-in'), (SELECT count(*) FROM immiiq.sign_in_attempt),
    'and every attempt is, as an event');
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'what the log has of sign-in') \gset
CREATE TEMPORARY TABLE logged AS
    SELECT (a.new_row ->> 'attempt_id')::bigint AS attempt_id, a.new_row ->> 'method' AS method, a.new_row ->> 'verdict' AS verdict,
        a.new_row ->> 'reason' AS reason, a.member_id, a.key ->> 'object' AS object, a.new_row ->> 'session_id' AS session
    FROM immiiq.audit_log AS a WHERE a.operation = 'event' AND a.table_name = 'sign-in';
GRANT SELECT ON logged TO PUBLIC;
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT isnt((SELECT count(*) FROM logged), 0::bigint, 'the organisation reads its own');
SELECT is_empty(format($$SELECT attempt_id, method, verdict, reason, member_id, session_id::text FROM immiiq.sign_in_attempt WHERE org_id = %L
    EXCEPT SELECT attempt_id, method, verdict, reason, object::uuid, session FROM logged$$, :'alpha'), 'each with method, verdict, reason, member and session');
SELECT is_empty(format($$SELECT FROM logged WHERE attempt_id NOT IN (SELECT attempt_id FROM immiiq.sign_in_attempt WHERE org_id = %L)$$, :'alpha'),
    'none of another organisation or of an address that nobody has');
-- What a restart counts again: attempts with accounts of other issuers, too.
INSERT INTO immiiq.sign_in_attempt (method, verdict, reason, network) VALUES ('identity', 'denied', 'wrong signature', '198.51.100.7/32');
SELECT is((SELECT class FROM immiiq.throttled_failures() WHERE key = convert_to('198.51.100.7/32', 'UTF8')), 'network', 'a forged ID token counts for its network after a restart');
-- What a redemption costs: no index of the links.
SELECT immiiq.unlock_sign_in('owner@alpha.example') AS ignored \gset
SELECT immiiq.issue_link('owner@alpha.example') AS ignored \gset
SELECT token FROM mailed('owner@alpha.example') \gset
BEGIN;
SELECT pg_stat_get_xact_tuples_updated('immiiq.link'::regclass) AS updated, pg_stat_get_xact_tuples_hot_updated('immiiq.link'::regclass) AS hot \gset
SELECT is((immiiq.redeem_link(:'token')).verdict, 'ok', 'a link is used');
SELECT is((pg_stat_get_xact_tuples_updated('immiiq.link'::regclass) - :updated) || ' ' || (pg_stat_get_xact_tuples_hot_updated('immiiq.link'::regclass) - :hot), '1 1',
    'which changes no index');
COMMIT;
SELECT * FROM finish();
