-- Refresh tokens, the portal, allowlists, addresses, anomalies.
\i test/pgtap/setup.psql
SELECT plan(129);

CREATE FUNCTION mailed(address text) RETURNS text LANGUAGE sql
    AS $$ SELECT o.token FROM immiiq.outbox AS o WHERE o.email = address ORDER BY o.issued_at DESC LIMIT 1 $$;
CREATE FUNCTION use_token(token text) RETURNS text LANGUAGE sql
    RETURN format('SELECT set_config(''immiiq.token'', %L, true)', token);
CREATE FUNCTION last_reason() RETURNS text LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT concat_ws(' ', method, verdict, reason) FROM immiiq.sign_in_attempt ORDER BY attempt_id DESC LIMIT 1 $$;
CREATE FUNCTION by_link(address text, ip inet DEFAULT NULL, device text DEFAULT NULL, country text DEFAULT NULL) RETURNS immiiq.sign_in_result
    LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM immiiq.issue_link(address);
    PERFORM immiiq.unlock_sign_in(address);
    RETURN immiiq.redeem_link(mailed(address), ip => ip, device => device, country => country);
END $$;
-- As if a refresh token had been used longer ago.
CREATE FUNCTION make_older(by interval) RETURNS void LANGUAGE sql SECURITY DEFINER
    AS $$ UPDATE immiiq.refresh_token SET used_at = used_at - by $$;

---------------------------------------------------------------- refresh tokens
SET ROLE regress_immiiq_app;
SELECT * FROM by_link('owner@alpha.example') \gset s_
SELECT * FROM immiiq.rotate_refresh(:'s_refresh_token') \gset r1_
SELECT is(:'r1_verdict'::text, 'ok', 'a refresh token is good for the next one');
SELECT matches(:'r1_refresh_token'::text, '^iq_r_[0-9A-Za-z]{49}$', 'which is a token');
SELECT isnt(:'r1_refresh_token'::text, :'s_refresh_token', 'another one');
SELECT is(:'r1_expires_at'::timestamptz, :'s_expires_at'::timestamptz, 'and the session lasts no longer for it');
SELECT is(refresh_token, :'r1_refresh_token', 'within the grace the former one gives the same successor') FROM immiiq.rotate_refresh(:'s_refresh_token');
SELECT * FROM immiiq.rotate_refresh(:'r1_refresh_token') \gset r2_
SELECT is(:'r2_verdict'::text, 'ok', 'the successor is used');
SELECT lives_ok(use_token(:'s_session_token'), 'all the while the session stands');
BEGIN;
SELECT is((immiiq.rotate_refresh(:'s_refresh_token')).verdict, 'denied', 'then the grandparent is dead, grace or not');
ROLLBACK;
SELECT is(last_reason(), 'refresh denied refresh token used again', 'as the log says');
SELECT throws_ok(use_token(:'s_session_token'), 'IQ010', NULL, 'and the session is revoked, whatever became of the transaction');
SELECT is((immiiq.rotate_refresh(:'r2_refresh_token')).verdict, 'denied', 'with the whole family');
SELECT is(last_reason(), 'refresh denied session ended', 'which has ended');

SELECT * FROM by_link('owner@alpha.example') \gset s_
SELECT * FROM immiiq.rotate_refresh(:'s_refresh_token') \gset r1_
SELECT make_older('9 seconds') AS ignored \gset
SELECT is(refresh_token, :'r1_refresh_token', 'nine seconds are within the grace') FROM immiiq.rotate_refresh(:'s_refresh_token');
SELECT make_older('1 second') AS ignored \gset
SELECT is((immiiq.rotate_refresh(:'s_refresh_token')).verdict, 'denied', 'ten are not');
SELECT throws_ok(use_token(:'s_session_token'), 'IQ010', NULL, 'and revoke the session');
SELECT is((immiiq.rotate_refresh(t)).verdict, 'denied', 'no refresh token: ' || why)
FROM (VALUES (NULL, 'null'), ('', 'empty'), ('iq_r_', 'a prefix'), (:'s_session_token', 'a session''s'),
             (replace(:'s_session_token', 'iq_s_', 'iq_r_'), 'a session''s with another kind')) AS v (t, why);
RESET ROLE;
SELECT is((immiiq.rotate_refresh(immiiq.derive_token('r', uuid_send(:'s_session_id') || int8send(7)))).verdict, 'denied', 'a counter of the future');
SELECT is(last_reason(), 'refresh denied unknown', 'was never issued');
SELECT is_empty(format('SELECT FROM immiiq.refresh_token AS r WHERE r::text LIKE %L', '%' || substr(:'r1_refresh_token', 6, 43) || '%'), 'only hashes are stored');
SET ROLE regress_immiiq_app;
SELECT * FROM by_link('owner@alpha.example') \gset s_
RESET ROLE;
UPDATE immiiq.session SET issued_at = issued_at - interval '24 hours', expires_at = expires_at - interval '24 hours' WHERE session_id = :'s_session_id';
SET ROLE regress_immiiq_app;
SELECT is((immiiq.rotate_refresh(:'s_refresh_token')).verdict, 'denied', 'after 24 hours nothing is refreshed');
SELECT * FROM by_link('owner@alpha.example') \gset s_
BEGIN;
SELECT immiiq.authenticate(:'s_session_token') AS ignored \gset
SELECT immiiq.sign_out() AS ignored \gset
COMMIT;
SELECT is((immiiq.rotate_refresh(:'s_refresh_token')).verdict, 'denied', 'nor after signing out');
RESET ROLE;

---------------------------------------------------------------- the portal
CREATE TABLE matter (org_id uuid NOT NULL, client_id uuid NOT NULL, title text, PRIMARY KEY (org_id, client_id));
SELECT immiiq.protect('matter', 'clients', client => 'client_id') AS ignored \gset
GRANT SELECT, INSERT, UPDATE, DELETE ON matter TO regress_immiiq_app;
\set client 'c11e0000-0000-4000-8000-000000000001'
\set other  'c11e0000-0000-4000-8000-000000000002'
SET ROLE regress_immiiq_app;
SELECT throws_ok(format($$SELECT immiiq.issue_portal_link(%L, 'client@example.org')$$, :'client'), '42501', NULL, 'nobody opens the portal');
BEGIN;
SELECT immiiq.authenticate(:'alpha_idle_token') AS ignored \gset
SELECT throws_ok(format($$SELECT immiiq.issue_portal_link(%L, 'client@example.org')$$, :'client'), '42501', NULL, 'nor who has not the module clients');
ROLLBACK;
BEGIN;
SELECT immiiq.authenticate(:'alpha_clerk_token') AS ignored \gset
SELECT throws_ok(format($$SELECT immiiq.issue_portal_link(%L, 'client@example.org')$$, :'client'), '42501', NULL, 'nor for a client out of scope');
SELECT throws_ok(format($$SELECT immiiq.revoke_portal(%L)$$, :'client'), '42501', NULL, 'whose portal is not theirs to close either');
ROLLBACK;
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
INSERT INTO matter (client_id, title) VALUES (:'client', 'A'), (:'other', 'B');
SELECT throws_ok(format($$SELECT immiiq.issue_portal_link(%L, 'nonsense')$$, :'client'), '22023', NULL, 'an address is needed');
SELECT throws_ok(format($$SELECT immiiq.issue_portal_link(%L, 'client@example.org', '8 days')$$, :'client'), '22023', NULL, 'a link lasts seven days at most');
SELECT results_eq(format($$SELECT verdict, expires_at > now() + interval '23 hours' FROM immiiq.issue_portal_link(%L, 'client@example.org')$$, :'client'),
    $$VALUES ('ok', true)$$, 'who may see the client does');
COMMIT;
RESET ROLE;
SET ROLE regress_immiiq_mailer;
SELECT token AS portal_link FROM immiiq.outbox WHERE kind = 'portal' AND email = 'client@example.org' AND code IS NULL \gset
SELECT matches(:'portal_link'::text, '^iq_h_', 'the link goes to the mailer, without a code');
RESET ROLE;
SET ROLE regress_immiiq_app;
SELECT is((immiiq.redeem_link(:'portal_link')).verdict, 'denied', 'it is none for staff');
SELECT is((immiiq.redeem_link(replace(:'portal_link', 'iq_h_', 'iq_l_'))).verdict, 'denied', 'whatever is written in front');
SELECT is((immiiq.peek_link(:'portal_link')).verdict, 'ok', 'and not used by that');
SELECT is((immiiq.redeem_portal_link(mailed)).verdict, 'denied', 'a link for staff is none for the portal')
    FROM (SELECT 'iq_h_' || substr(refresh_token, 6) AS mailed FROM by_link('lead@alpha.example')) AS s;
SELECT * FROM immiiq.redeem_portal_link(:'portal_link', ip => '192.0.2.9') \gset p_
SELECT is(:'p_verdict'::text, 'ok', 'the client gets in');
SELECT matches(:'p_session_token'::text, '^iq_p_', 'with a token of the portal');
SELECT is(:'p_client_id'::text, :'client'::text, 'for this client');
SELECT is((immiiq.redeem_portal_link(:'portal_link')).verdict, 'denied', 'once');
SELECT throws_ok(use_token(replace(:'p_session_token', 'iq_p_', 'iq_s_')), 'IQ010', NULL, 'its token is none of a member');
BEGIN;
SELECT results_eq(format($$SELECT org_id, member_id, actor, scope, modules, session_id FROM immiiq.authenticate(%L)$$, :'p_session_token'),
    format($$VALUES (%L::uuid, NULL::uuid, 'portal', 'none', '{}'::text[], %L::uuid)$$, :'alpha', :'p_session_id'), 'who acts is the portal, without scope or module');
SELECT is(immiiq.current_client(), :'client'::uuid, 'for one client');
SELECT is_empty($$SELECT FROM matter$$, 'it sees no row of what was not opened to it');
SELECT is_empty('SELECT FROM immiiq.' || t, 'nor of ' || t)
    FROM unnest(ARRAY['member', 'team', 'org', 'assignment', 'ip_rule', 'denial', 'audit_log', 'sign_in_log']) AS t;
SELECT throws_ok(format($$INSERT INTO matter (client_id) VALUES (%L)$$, gen_random_uuid()), '42501', NULL, 'writes none');
SELECT throws_ok(format($$INSERT INTO immiiq.member (email, name) VALUES ('x@x', 'x')$$), '42501', NULL, 'nor a member');
SELECT throws_ok($$SELECT immiiq.act_as_assistant('x')$$, '42501', NULL, 'is no assistant');
SELECT throws_ok($$SELECT immiiq.set_password('correct horse battery')$$, '42501', NULL, 'sets no password');
SELECT throws_ok(format($$SELECT immiiq.issue_portal_link(%L, 'client@example.org')$$, :'client'), '42501', NULL, 'issues no link');
SELECT is(immiiq.revoke_session(:'s_session_id'), false, 'revokes no session of a member');
SELECT results_eq('SELECT session_id, client_id FROM immiiq.active_session', format('VALUES (%L::uuid, %L::uuid)', :'p_session_id', :'client'), 'and sees its own session only');
SELECT throws_ok(use_token(:'alpha_owner_token'), 'IQ012', NULL, 'nor becomes a member');
COMMIT;
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SELECT throws_ok(use_token(:'p_session_token'), 'IQ012', NULL, 'nor a member the portal');
SELECT is(immiiq.revoke_portal(:'client'), 1, 'a member closes it');
COMMIT;
SELECT throws_ok(use_token(:'p_session_token'), 'IQ010', NULL, 'and it is closed');
RESET ROLE;
SELECT throws_ok_unguarded(format($$UPDATE immiiq.session SET member_id = %L WHERE session_id = %L$$, :'alpha_owner', :'p_session_id'), '23514', NULL,
    'no session is of a member and of a client');

---------------------------------------------------------------- the allowlist
SET ROLE regress_immiiq_app;
BEGIN;
SELECT immiiq.authenticate(:'alpha_idle_token') AS ignored \gset
SELECT throws_ok($$INSERT INTO immiiq.ip_rule (network) VALUES ('192.0.2.0/24')$$, '42501', NULL, 'without the module settings nobody writes rules');
ROLLBACK;
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token', '192.0.2.5') AS ignored \gset
SELECT throws_ok($$INSERT INTO immiiq.ip_rule (network) VALUES ('198.51.100.0/24')$$, '23514', 'the allowlist would lock out who changes it', 'nobody locks themselves out');
SELECT throws_ok($$INSERT INTO immiiq.ip_rule (network) VALUES ('::ffff:192.0.2.0/120')$$, '23514', NULL, 'IPv4 is written as IPv4');
SELECT throws_ok(format($$INSERT INTO immiiq.ip_rule (org_id, network) VALUES (%L, '192.0.2.0/24')$$, :'beta'), '42501', NULL, 'nor for another organisation');
SELECT lives_ok($$INSERT INTO immiiq.ip_rule (network, note) VALUES ('192.0.2.0/24', 'office'), ('2001:db8::/32', 'office')$$, 'a list with one''s own address is taken');
SELECT throws_ok($$DELETE FROM immiiq.ip_rule WHERE network = '192.0.2.0/24'$$, '23514', NULL, 'and stays on it');
SELECT throws_ok($$UPDATE immiiq.ip_rule SET network = '203.0.113.0/24' WHERE network = '192.0.2.0/24'$$, '23514', NULL, 'while it is changed');
COMMIT;
SELECT throws_ok(use_token(:'alpha_owner_token'), 'IQ010', NULL, 'without an address the token is refused');
BEGIN;
SELECT throws_ok(format($$SELECT immiiq.authenticate(%L, '203.0.113.1')$$, :'alpha_owner_token'), 'IQ010', NULL, 'so it is from another address');
ROLLBACK;
BEGIN; SELECT lives_ok(format($$SELECT immiiq.authenticate(%L, '192.0.2.255')$$, :'alpha_owner_token'), 'not from one on the list'); COMMIT;
BEGIN; SELECT lives_ok(format($$SELECT immiiq.authenticate(%L, '2001:db8:1::1')$$, :'alpha_owner_token'), 'IPv6 too'); COMMIT;
BEGIN; SELECT lives_ok(format($$SELECT immiiq.authenticate(%L, '::ffff:192.0.2.7')$$, :'alpha_owner_token'), 'nor IPv4 in IPv6'); COMMIT;
RESET ROLE;
SELECT is((SELECT count(*)::int FROM immiiq.denial WHERE reason = 'address not allowed' AND org_id = :'alpha'), 2, 'refusals are recorded');
SET ROLE regress_immiiq_app;
SELECT is((by_link('owner@alpha.example', '203.0.113.1')).verdict, 'denied', 'nor does a sign-in');
SELECT is(last_reason(), 'link denied address not allowed', 'as the log says');
SELECT is((by_link('owner@alpha.example')).verdict, 'denied', 'nor without an address');
SELECT * FROM by_link('owner@alpha.example', '::ffff:192.0.2.8') \gset s_
SELECT is(:'s_verdict'::text, 'ok', 'from the list it does');
SELECT lives_ok(use_token(:'s_session_token'), 'and then its own address counts where none is said');
SELECT is((immiiq.rotate_refresh(:'s_refresh_token', ip => '203.0.113.1')).verdict, 'denied', 'nothing is refreshed from elsewhere');
SELECT is((SELECT (authenticate).org_id FROM immiiq.authenticate(:'beta_owner_token', '203.0.113.1')), :'beta'::uuid, 'another organisation is not concerned');
RESET ROLE;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT immiiq.operate(:'alpha', 'locked out') AS ignored \gset
SELECT lives_ok('DELETE FROM immiiq.ip_rule', 'an operator is not bound');
COMMIT;
RESET SESSION AUTHORIZATION;

---------------------------------------------------------------- addresses
SELECT is(immiiq.client_ip(peer::inet, said, '{10.0.0.0/8,2001:db8::/32}'), want::inet, why)
FROM (VALUES
    ('192.0.2.1', ARRAY['203.0.113.7'], '192.0.2.1', 'a peer that is no proxy is the client, whatever it says'),
    ('10.0.0.1', ARRAY['203.0.113.7'], '203.0.113.7', 'a proxy says who the client is'),
    ('10.0.0.1', ARRAY['1.1.1.1, 203.0.113.7'], '203.0.113.7', 'what stands before a hop that is not trusted is made up'),
    ('10.0.0.1', ARRAY['1.1.1.1, 203.0.113.7, 10.2.2.2'], '203.0.113.7', 'proxies behind proxies'),
    ('10.0.0.1', ARRAY['1.1.1.1', '203.0.113.7', '10.2.2.2'], '203.0.113.7', 'a header for each'),
    ('10.0.0.1', NULL, '10.0.0.1', 'no header'),
    ('10.0.0.1', '{}', '10.0.0.1', 'no element'),
    ('10.0.0.1', ARRAY[''], '10.0.0.1', 'an empty one'),
    ('10.0.0.1', ARRAY['unknown'], '10.0.0.1', 'a word'),
    ('10.0.0.1', ARRAY['203.0.113.7, unknown'], '10.0.0.1', 'a word ends the walk'),
    ('10.0.0.1', ARRAY['203.0.113.7/8'], '10.0.0.1', 'a network is no address'),
    ('10.0.0.1', ARRAY['999.1.1.1'], '10.0.0.1', 'nor is a number too large'),
    ('10.0.0.1', ARRAY['203.0.113.7:4711'], '203.0.113.7', 'a port'),
    ('10.0.0.1', ARRAY['[2001:db9::1]:443'], '2001:db9::1', 'IPv6 with a port'),
    ('10.0.0.1', ARRAY['2001:db9::1'], '2001:db9::1', 'IPv6 without'),
    ('::ffff:10.0.0.1', ARRAY['::ffff:203.0.113.7'], '203.0.113.7', 'IPv4 in IPv6 is IPv4'),
    ('2001:db8::1', ARRAY['10.1.1.1'], '10.1.1.1', 'all trusted: the first of them'),
    ('10.0.0.1', ARRAY['203.0.113.7'';DROP'], '10.0.0.1', 'what somebody else would like it to be')
) AS v (peer, said, want, why);
SELECT is(immiiq.client_ip(NULL, ARRAY['203.0.113.7'], '{10.0.0.0/8}'), NULL, 'no peer, no address');
SELECT is(immiiq.client_ip('10.0.0.1', ARRAY['203.0.113.7'], NULL), '10.0.0.1', 'nothing is trusted by itself');

---------------------------------------------------------------- country and anomalies
INSERT INTO immiiq.ip_country VALUES ('192.0.2.0', '192.0.2.127', 'DE'), ('192.0.2.128', '192.0.2.255', 'FR'), ('2001:db8::', '2001:db8::ffff', 'SE');
SELECT is(immiiq.country_of(ip::inet, told), want, format('country of %s, told %s', ip, told))
FROM (VALUES ('192.0.2.5', NULL, 'DE'), ('192.0.2.200', NULL, 'FR'), ('::ffff:192.0.2.5', NULL, 'DE'), ('198.51.100.1', NULL, NULL), ('2001:db8::5', NULL, 'SE'),
             ('2001:db9::5', NULL, NULL), ('192.0.2.5', 'us', 'US'), ('192.0.2.5', 'nonsense', 'DE'), (NULL, NULL, NULL)) AS v (ip, told, want);
SELECT throws_ok_unguarded($$INSERT INTO immiiq.ip_country VALUES ('192.0.2.9', '192.0.2.1', 'DE')$$, '23514', NULL, 'a range has an order');
SET ROLE regress_immiiq_app;
SELECT by_link('clerk@alpha.example', '192.0.2.5', 'laptop') AS ignored \gset
SELECT by_link('clerk@alpha.example', '192.0.2.6', 'laptop') AS ignored \gset
RESET ROLE;
SELECT results_eq(format($$SELECT reasons FROM immiiq.session_anomaly WHERE member_id = %L$$, :'alpha_clerk'), $$VALUES ('{}'::text[])$$, 'the same place and device is no anomaly');
SET ROLE regress_immiiq_app;
SELECT (by_link('clerk@alpha.example', '192.0.2.200', 'tablet')).session_token AS clerk_token \gset
BEGIN;
SELECT immiiq.authenticate(:'clerk_token') AS ignored \gset
SELECT results_eq('SELECT reasons FROM immiiq.session_anomaly', $$VALUES ('{new country,new device,impossible pace}'::text[])$$, 'another country, device, at once: who is concerned sees it');
COMMIT;
BEGIN;
SELECT immiiq.authenticate(:'beta_owner_token') AS ignored \gset
SELECT is_empty(format('SELECT FROM immiiq.session_anomaly WHERE org_id = %L', :'alpha'), 'another organisation does not');
COMMIT;
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SELECT is((SELECT bool_and(immiiq.revoke_session(session_id)) FROM immiiq.session_anomaly WHERE reasons && '{new country}'), true, 'who manages the team revokes it');
COMMIT;
SELECT throws_ok(use_token(:'clerk_token'), 'IQ010', NULL, 'and it is revoked');
RESET ROLE;
-- What is throttled as one, and how an address is written.
SELECT is(immiiq.network_of(a)::text, network, 'the network of ' || a) FROM (VALUES
    ('192.0.2.7'::inet, '192.0.2.7/32'), ('192.0.2.7/24', '192.0.2.7/32'), ('::ffff:192.0.2.7', '192.0.2.7/32'),
    ('2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'), ('::1', '::/64')) AS v (a, network);
SELECT is(immiiq.plain_address(a), plain::inet, 'the address of ' || a) FROM (VALUES
    ('192.0.2.7/24'::inet, '192.0.2.7'), ('::ffff:192.0.2.7/120', '192.0.2.7'), ('2001:db8::1/64', '2001:db8::1')) AS v (a, plain);
SELECT * FROM finish();
