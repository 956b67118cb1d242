-- Shares: who may make one, who may use it, how often, and what is on record.
\i test/pgtap/setup.psql
SELECT plan(32);

\set store '51000000-0000-4000-8000-000000000001'
\set c1    'c1000000-0000-4000-8000-000000000001'
\set c2    'c1000000-0000-4000-8000-000000000002'
\set d1    'd1000000-0000-4000-8000-000000000001'
\set d2    'd1000000-0000-4000-8000-000000000002'
\set phone '2001:db8::7'

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
INSERT INTO immiiq.object_store (object_store_id, name, endpoint, region, bucket)
    VALUES (:'store', 'main', 'https://s3.eu-west-1.amazonaws.com', 'eu-west-1', 'alpha-papers');
SELECT immiiq.set_store_credentials(:'store', 'AKIAEXAMPLE', 'verysecret') \gset ignored_
INSERT INTO immiiq.assignment (client_id, member_id) VALUES (:'c1', :'alpha_clerk');
INSERT INTO immiiq.document (document_id, client_id, object_store_id, filename, content_type) VALUES
    (:'d1', :'c1', :'store', 'passport.pdf', 'application/pdf'),
    (:'d2', :'c2', :'store', 'visa.pdf', 'application/pdf');
SELECT share_id, token FROM immiiq.share_document(:'d1', 'embassy@example.org', '2 days', 2) \gset one_
SELECT share_id, token FROM immiiq.share_document(:'d1', 'other@example.org') \gset two_
SELECT share_id FROM immiiq.share_document(:'d1', 'the client', uses => 3, portal_client => :'c1') \gset portal_
SELECT throws_ok(format('SELECT immiiq.share_document(%L, %L, portal_client => %L)', :'d1', 'x', :'c2'), '42501', 'document is another client''s',
    'a client''s document is not for another client''s portal');
SELECT throws_ok(format('SELECT immiiq.share_document(%L, %L, %L, %L)', :'d1', r, v, u), '22023', NULL, format('refused: %s %s', v, u))
FROM (VALUES ('', '1 day', 1), ('a', '91 days', 1), ('a', '0', 1), ('a', '1 day', 0), ('a', '1 day', 101)) AS bad (r, v, u);
SELECT throws_ok('SELECT token_hash FROM immiiq.document_share', '42501', NULL, 'hashes of tokens are not shown');
SELECT throws_ok('UPDATE immiiq.document_share SET uses_left = 100', '42501', NULL, 'uses are not given back');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token') \gset
SELECT lives_ok(format('SELECT immiiq.share_document(%L, %L)', :'d1', 'a@example.org'), 'scope assigned shares what it sees');
SELECT throws_ok(format('SELECT immiiq.share_document(%L, %L)', :'d2', 'a@example.org'), '42501', NULL, 'and nothing else');
SELECT throws_ok(format('INSERT INTO immiiq.document_share (document_id, client_id, recipient, token_hash, expires_at, uses_left)
    VALUES (%L, %L, %L, sha256(%L), now(), 1)', :'d2', :'c1', 'x', 'x'), '42501', NULL, 'by no way around: a client that is not the document''s');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT throws_ok(format('SELECT immiiq.share_document(%L, %L)', :'d1', 'x'), '42501', NULL, 'another organisation shares nothing of it');
SELECT is(immiiq.revoke_share(:'one_share_id'), false, 'nor ends a share');
SELECT is((SELECT count(*) FROM immiiq.document_share), 0::bigint, 'nor sees one');
COMMIT;

-- Nobody is active when a share is redeemed.
SELECT verdict, url, expires_at FROM immiiq.redeem_share(:'one_token') \gset use_
SELECT is(:'use_verdict'::text, 'ok', 'who has the token gets a URL');
SELECT matches(:'use_url'::text, 'X-Amz-Expires=60&.*response-content-disposition=attachment', 'of sixty seconds, as an attachment');
SELECT is((immiiq.redeem_share(:'one_token')).verdict, 'ok', 'a second time, as agreed');
SELECT results_eq(format('SELECT * FROM immiiq.redeem_share(%L)', :'one_token'), $$VALUES ('denied', NULL::text, NULL::timestamptz)$$, 'not a third');
SELECT results_eq(format('SELECT * FROM immiiq.redeem_share(%L)', t), $$VALUES ('denied', NULL::text, NULL::timestamptz)$$, 'no token')
FROM unnest(ARRAY['', 'iq_d_0000000000000000000000000000000000000000000000000', :'alpha_owner_token', NULL]) AS t;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is(immiiq.revoke_share(:'two_share_id'), true, 'a share is revoked');
COMMIT;
SELECT is((immiiq.redeem_share(:'two_token')).verdict, 'denied', 'and is dead');
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
UPDATE immiiq.document_share SET revoked_at = NULL;
SELECT isnt((SELECT revoked_at FROM immiiq.document_share WHERE share_id = :'two_share_id'), NULL, 'for good');
COMMIT;

-- The portal.
SELECT throws_ok(format('SELECT immiiq.open_shared(%L)', :'portal_share_id'), '42501', NULL, 'with nobody active the portal''s share opens nothing');
RESET SESSION AUTHORIZATION;
-- A portal session, as redeem_portal_link makes it.
\set portal_token `true`
SELECT token AS portal_token, immiiq.token_digest('p', token) AS hash FROM immiiq.new_token('p') AS token \gset
INSERT INTO immiiq.session (org_id, client_id, token_hash, expires_at) VALUES (:'alpha', :'c1', :'hash', now() + interval '1 hour');
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'portal_token') \gset
SELECT is((SELECT array_agg(filename::text) FROM immiiq.shared_document), ARRAY['passport.pdf'], 'the client finds what is shared with them');
SELECT matches((immiiq.open_shared(:'portal_share_id')).url, '^https://alpha-papers\.', 'and opens it');
SELECT throws_ok(format('SELECT immiiq.open_shared(%L)', :'one_share_id'), '42501', NULL, 'no share that is another''s');
SELECT throws_ok(format('SELECT immiiq.presign_get(%L)', :'d1'), '42501', NULL, 'nor the document without a share');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(action || coalesce(' ' || actor, '') ORDER BY at) FROM immiiq.document_access WHERE document_id = :'d1' AND remark IS NULL),
    ARRAY['share member', 'share member', 'share member', 'redeem', 'redeem', 'revoke member', 'redeem portal'], 'every share and use is on record');
SELECT ok(NOT EXISTS (SELECT FROM immiiq.document_share AS s WHERE s::text LIKE '%iq\_d\_%' OR s::text LIKE '%embassy%'), 'tokens and recipients are not in clear');

SELECT * FROM finish();
