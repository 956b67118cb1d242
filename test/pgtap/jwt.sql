-- JWTs of our own, access tokens, ID tokens of others.
\i test/pgtap/setup.psql
SELECT plan(194);

CREATE FUNCTION use_token(token text) RETURNS text LANGUAGE sql
    RETURN format('SELECT set_config(''immiiq.token'', %L, true)', token);
CREATE FUNCTION b64(data text) RETURNS text LANGUAGE sql
    RETURN translate(encode(convert_to(data, 'UTF8'), 'base64'), E'+/=\n', '-_');
CREATE FUNCTION unb64(data text) RETURNS text LANGUAGE sql
    RETURN convert_from(decode(rpad(translate(data, '-_', '+/'), (length(data) + 3) / 4 * 4, '='), 'base64'), 'UTF8');
-- A segment of a token, as JSON.
CREATE FUNCTION part(token text, n int) RETURNS jsonb LANGUAGE sql RETURN unb64(split_part(token, '.', n))::jsonb;
CREATE FUNCTION now_s(more int DEFAULT 0) RETURNS bigint LANGUAGE sql RETURN floor(extract(epoch FROM clock_timestamp()))::bigint + more;
CREATE FUNCTION last_reason() RETURNS text LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT concat_ws(' ', method, verdict, reason) FROM immiiq.sign_in_attempt ORDER BY attempt_id DESC LIMIT 1 $$;
-- A session as a sign-in makes it, with its access token.
CREATE FUNCTION signed_in(org uuid, member uuid, client uuid DEFAULT NULL) RETURNS immiiq.sign_in_result LANGUAGE sql
    AS $$ SELECT immiiq.open_session(immiiq.begin_sign_in('link', NULL, '192.0.2.1', NULL, NULL, NULL), org, member, client) $$;

---------------------------------------------------------------- who may what
SET ROLE regress_immiiq_app;
SELECT throws_ok('SELECT * FROM immiiq.' || t, '42501', NULL, 'the application cannot read ' || t)
    FROM unnest(ARRAY['jwt_key', 'identity_provider', 'external_identity', 'used_id_token']) AS t;
SELECT throws_ok('SELECT immiiq.' || f, '42501', NULL, 'the application cannot call ' || f)
    FROM unnest(ARRAY['sign_jwt(1, ''{"alg":"EdDSA"}'', ''{}'')', 'jwt_public_key(1)', 'issue_access_token(gen_random_uuid())',
        'session_claims(gen_random_uuid(), ''1 minute'')', 'rotate_jwt_key()', 'add_jwt_key(now())', 'signing_jwt_key()',
        'check_id_token('''', '''')', 'verify_id_token('''', '''', '''', '''', ''{}'')', 'read_id_token('''')', 'jwks_problem('''')']) AS f;
SELECT is(immiiq.jwks(), '{"keys": []}', 'at first there is no key');
SELECT throws_ok($$SELECT immiiq.issue_jwt('{"aud":"a"}')$$, '42501', NULL, 'nobody gets no token');
RESET ROLE;

---------------------------------------------------------------- access tokens
SELECT * FROM signed_in(:'alpha', :'alpha_owner') \gset owner_
SELECT * FROM signed_in(:'alpha', NULL, 'c11e0000-0000-4000-8000-000000000001') \gset portal_
SELECT is(part(:'owner_access_token', 1), jsonb_build_object('alg', 'EdDSA', 'typ', 'at+jwt', 'kid', k.kid), 'an access token says what it is')
    FROM immiiq.jwt_key AS k;
SELECT is(part(:'owner_access_token', 2) - '{iat,exp,jti}'::text[],
    jsonb_build_object('iss', 'immiiq', 'aud', 'immiiq', 'sub', :'alpha_owner', 'org', :'alpha', 'sid', :'owner_session_id', 'actor', 'member'),
    'and whose it is');
SELECT is((part(:'owner_access_token', 2) ->> 'exp')::int - (part(:'owner_access_token', 2) ->> 'iat')::int, 900, 'for fifteen minutes');
SELECT is((SELECT count(*) FROM immiiq.jwt_key)::int, 1, 'the first token made the first key');
SELECT is(immiiq.jwks() #>> '{keys,0,kid}', part(:'owner_access_token', 1) ->> 'kid', 'which is published');
SELECT is(immiiq.jwks() #>> '{keys,0,kid}',
    immiiq.base64url(sha256(convert_to(format('{"crv":"Ed25519","kty":"OKP","x":"%s"}', immiiq.jwks() #>> '{keys,0,x}'), 'UTF8'))),
    'under its thumbprint');
SELECT is(immiiq.base64url(sha256('{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}')),
    'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k', 'as RFC 8037 A.3 makes it');

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT lives_ok(use_token(:'owner_access_token'), 'immiiq.token takes an access token');
SELECT is(immiiq.current_member(), :'alpha_owner'::uuid, 'its member is active');
SELECT unalike(current_setting('immiiq.token'), '%ey%', 'and the setting does not keep it');
SELECT lives_ok(use_token(:'owner_session_token'), 'the session''s own token may follow');
SELECT throws_ok(use_token(:'portal_access_token'), 'IQ012', NULL, 'another session''s may not');
ROLLBACK;
BEGIN;
SELECT lives_ok(format('SELECT immiiq.authenticate(%L)', :'portal_access_token'), 'authenticate takes one, too');
SELECT is(immiiq.current_actor() || ' ' || immiiq.current_client(), 'portal c11e0000-0000-4000-8000-000000000001', 'a client''s opens the portal');
ROLLBACK;
SELECT is(immiiq.verify_jwt(:'owner_access_token', 'immiiq') ->> 'sid', :'owner_session_id', 'verify_jwt reads it');
SELECT throws_ok(format('SELECT immiiq.verify_jwt(%L, %L)', t, a), 'IQ010', 'token refused', d)
    FROM (VALUES (:'owner_access_token', 'immiiq-portal', 'a member''s token is none for the portal'),
                 (:'portal_access_token', 'immiiq', 'a client''s is none for staff'),
                 (:'owner_access_token', 'other', 'and none for anybody else'),
                 (:'owner_session_token', 'immiiq', 'an opaque token is no JWT'),
                 ('', 'immiiq', 'nothing is no JWT')) AS v (t, a, d);
RESET SESSION AUTHORIZATION;

---------------------------------------------------------------- issue_jwt
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'owner_session_token', true) AS ignored \gset
SELECT immiiq.issue_jwt('{"aud":"reports","colour":["blue",{"deep":true}]}', '5 minutes') AS jwt,
       immiiq.issue_jwt('{"aud":["reports","mail"]}') AS jwt2 \gset
SELECT throws_ok(format('SELECT immiiq.issue_jwt(%L)', jsonb_build_object('aud', 'a', c, 'x')), '22023', NULL, c || ' is reserved')
    FROM unnest('{iss,sub,exp,nbf,iat,jti,sid,org,actor,azp,act,cnf,nonce,scope,email,email_verified}'::text[]) AS c;
SELECT throws_ok(format('SELECT immiiq.issue_jwt(%L)', c), '22023', NULL, 'claims are refused: ' || left(c, 40))
    FROM unnest(ARRAY['{}', '[]', '"a"', '{"aud":1}', '{"aud":[]}', '{"aud":""}', '{"aud":["a",1]}', '{"aud":"immiiq"}', '{"aud":["a","immiiq-portal"]}',
        '{"aud":"a","x":1e400}', '{"aud":"a","x":[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}', '{"aud":"a","x":"' || repeat('x', 4096) || '"}']) AS c;
SELECT throws_ok(format('SELECT immiiq.issue_jwt(''{"aud":"a"}'', %L)', t), '22023', NULL, 'no token lasts ' || t)
    FROM unnest(ARRAY['0', '-1 hour', '15 minutes 1 second', '100 years']) AS t;
SELECT FROM immiiq.act_as_assistant('drafts') \gset
SELECT throws_ok($$SELECT immiiq.issue_jwt('{"aud":"a"}')$$, '42501', NULL, 'the assistant gets no token');
ROLLBACK;
SELECT is(immiiq.verify_jwt(:'jwt', 'reports') - '{iat,exp,jti}'::text[],
    jsonb_build_object('iss', 'immiiq', 'aud', 'reports', 'sub', :'alpha_owner', 'org', :'alpha', 'sid', :'owner_session_id', 'actor', 'member',
                       'colour', '["blue",{"deep":true}]'::jsonb), 'a token comes back with its claims');
SELECT is(immiiq.verify_jwt(:'jwt2', 'mail') -> 'aud', '["reports","mail"]', 'one of several audiences does');
SELECT throws_ok(format('SELECT immiiq.verify_jwt(%L, ''mail'')', :'jwt'), 'IQ010', NULL, 'another audience does not');
SELECT throws_ok(format('SELECT immiiq.verify_jwt(%L, ''immiiq'')', :'jwt'), 'IQ010', NULL, 'least of all ours');
BEGIN;
SELECT throws_ok(use_token(:'jwt'), 'IQ010', NULL, 'what is issued for others opens no database');
ROLLBACK;
RESET SESSION AUTHORIZATION;

---------------------------------------------------------------- forgeries
-- Signed by our own key, so that nothing is wrong but what is tested.
CREATE FUNCTION forged(header text, payload text) RETURNS text LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT immiiq.sign_jwt(k.number, replace(header, 'KID', k.kid), payload) FROM immiiq.jwt_key AS k ORDER BY k.number LIMIT 1 $$;
CREATE FUNCTION claims_of(session text, more jsonb DEFAULT '{}') RETURNS text LANGUAGE sql
    AS $$ SELECT jsonb_strip_nulls(jsonb_build_object('iss', 'immiiq', 'aud', 'a', 'sid', session, 'iat', now_s(), 'exp', now_s(60)) || more)::text $$;
CREATE TABLE forgery (name text, token text);
GRANT SELECT ON forgery TO regress_immiiq_app;
INSERT INTO forgery
SELECT name, forged(header, payload)
FROM (VALUES
    ('no exp', '{"alg":"EdDSA","kid":"KID"}', claims_of(:'owner_session_id', '{"exp":null}')),
    ('exp as a string', '{"alg":"EdDSA","kid":"KID"}', claims_of(:'owner_session_id', '{"exp":"4102444800"}')),
    ('exp as a fraction', '{"alg":"EdDSA","kid":"KID"}', claims_of(:'owner_session_id', '{"exp":4102444800.5}')),
    ('exp past', '{"alg":"EdDSA","kid":"KID"}', claims_of(:'owner_session_id', jsonb_build_object('exp', now_s(-1)))),
    ('nbf to come', '{"alg":"EdDSA","kid":"KID"}', claims_of(:'owner_session_id', jsonb_build_object('nbf', now_s(60)))),
    ('iat to come', '{"alg":"EdDSA","kid":"KID"}', claims_of(:'owner_session_id', jsonb_build_object('iat', now_s(60)))),
    ('no audience', '{"alg":"EdDSA","kid":"KID"}', claims_of(:'owner_session_id', '{"aud":null}')),
    ('an audience in an object', '{"alg":"EdDSA","kid":"KID"}', claims_of(:'owner_session_id', '{"aud":{"a":"a"}}')),
    ('another issuer', '{"alg":"EdDSA","kid":"KID"}', claims_of(:'owner_session_id', '{"iss":"https://idp.example"}')),
    ('no session', '{"alg":"EdDSA","kid":"KID"}', claims_of(NULL)),
    ('a session that is none', '{"alg":"EdDSA","kid":"KID"}', claims_of('x')),
    ('an unknown session', '{"alg":"EdDSA","kid":"KID"}', claims_of(gen_random_uuid()::text)),
    ('no kid', '{"alg":"EdDSA"}', claims_of(:'owner_session_id')),
    ('an unknown kid', '{"alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}', claims_of(:'owner_session_id')),
    ('a kid that is SQL', '{"alg":"EdDSA","kid":"x'' OR true --"}', claims_of(:'owner_session_id')),
    ('alg none', '{"alg":"none","kid":"KID"}', claims_of(:'owner_session_id')),
    ('alg None', '{"alg":"None","kid":"KID"}', claims_of(:'owner_session_id')),
    ('alg HS256', '{"alg":"HS256","kid":"KID"}', claims_of(:'owner_session_id')),
    ('alg RS256', '{"alg":"RS256","kid":"KID"}', claims_of(:'owner_session_id')),
    ('alg ES256', '{"alg":"ES256","kid":"KID"}', claims_of(:'owner_session_id')),
    ('a type of ours for others', '{"alg":"EdDSA","typ":"at+jwt","kid":"KID"}', claims_of(:'owner_session_id'))) AS f (name, header, payload);
INSERT INTO forgery VALUES
    ('no signature', split_part(:'jwt', '.', 1) || '.' || split_part(:'jwt', '.', 2) || '.'),
    ('alg none without one', b64('{"alg":"none"}') || '.' || b64(claims_of(:'owner_session_id')) || '.'),
    ('two segments', split_part(:'jwt', '.', 1) || '.' || split_part(:'jwt', '.', 2)),
    ('four segments', :'jwt' || '.AA'),
    ('padding', :'jwt' || '=='),
    ('a blank', :'jwt' || ' '),
    ('a NUL escaped', b64('{"alg":"EdDSA","kid":"a\u0000"}') || '.' || split_part(:'jwt', '.', 2) || '.' || split_part(:'jwt', '.', 3)),
    ('16,385 bytes', rpad(:'jwt', 16385, 'A')),
    ('another payload', split_part(:'jwt', '.', 1) || '.' || b64(claims_of(:'owner_session_id')) || '.' || split_part(:'jwt', '.', 3)),
    ('another signature', split_part(:'jwt', '.', 1) || '.' || split_part(:'jwt', '.', 2) || '.' || split_part(:'jwt2', '.', 3)),
    ('the key inside that signed', immiiq.sign_jwt(900001, format('{"alg":"EdDSA","kid":"mine","jwk":{"kty":"OKP","crv":"Ed25519","kid":"mine","x":"%s"}}',
        immiiq.base64url(immiiq.jwt_public_key(900001))), claims_of(:'owner_session_id'))),
    ('addresses of keys', immiiq.sign_jwt(900001, '{"alg":"EdDSA","kid":"mine","jku":"https://x.example/jwks","x5u":"https://x.example/key"}', claims_of(:'owner_session_id'))),
    ('a key inside', b64('{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}') || '.'
        || split_part(:'jwt', '.', 2) || '.' || split_part(:'jwt', '.', 3));
-- What the signer itself refuses to write.
SELECT throws_ok(format('SELECT forged(%L, %L)', h, p), '22023', NULL, 'never written: ' || h || ' ' || p)
    FROM (VALUES ('{"alg":"EdDSA","crit":["x"],"x":1}', '{}'), ('{"alg":"EdDSA","alg":"EdDSA"}', '{}'), ('{"alg":"EdDSA"}', '{"exp":1,"exp":2}'),
                 ('{"alg":"EdDSA"}', '[]'), ('{"alg":"EdDSA"}', '{"a":"\u0000"}')) AS v (h, p);
SELECT forged('{"alg":"EdDSA","kid":"KID"}', claims_of(:'owner_session_id')) AS good,
       forged('{"alg":"EdDSA","typ":"at+jwt","kid":"KID"}', claims_of(:'portal_session_id', '{"aud":"immiiq"}')) AS crossed,
       forged('{"alg":"EdDSA","typ":"at+jwt","kid":"KID"}', claims_of(:'owner_session_id', jsonb_build_object('aud', 'immiiq', 'exp', now_s(-1)))) AS late \gset
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT is(immiiq.verify_jwt(:'good', 'a') ->> 'sid', :'owner_session_id', 'a token with nothing wrong is taken');
SELECT throws_ok(format('SELECT immiiq.verify_jwt(%L, ''a'')', token), 'IQ010', 'token refused', 'refused: ' || name) FROM forgery;
BEGIN;
SELECT throws_ok(use_token(:'crossed'), 'IQ010', NULL, 'a client''s session is none for staff, whatever a token says');
SELECT throws_ok(use_token(:'late'), 'IQ010', NULL, 'an expired access token is refused');
SELECT throws_ok(use_token(replace(:'owner_access_token', '.', '..')), 'IQ010', NULL, 'so is a malformed one');
ROLLBACK;
RESET SESSION AUTHORIZATION;
BEGIN;
SELECT throws_ok(use_token(:'owner_access_token'), 'IQ013', NULL, 'a superuser cannot use one');
ROLLBACK;

---------------------------------------------------------------- the end of a session
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'owner_access_token', true) AS ignored \gset
SELECT ok(immiiq.sign_out(), 'the access token signs its session out');
COMMIT;
SELECT throws_ok(format('SELECT immiiq.verify_jwt(%L, ''reports'')', :'jwt'), 'IQ010', NULL, 'its tokens are dead now, not in fifteen minutes');
BEGIN;
SELECT throws_ok(use_token(:'owner_access_token'), 'IQ010', NULL, 'the access token, too');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT is(immiiq.issue_access_token(:'owner_session_id'), NULL, 'a dead session gets no more');
SELECT * FROM signed_in(:'alpha', :'alpha_owner') \gset owner_
UPDATE immiiq.member SET active = false WHERE member_id = :'alpha_owner';
SELECT throws_ok(format('SELECT immiiq.verify_jwt(%L, ''immiiq'')', :'owner_access_token'), 'IQ010', NULL, 'a member''s tokens end with the membership');
UPDATE immiiq.member SET active = true WHERE member_id = :'alpha_owner';
UPDATE immiiq.session SET expires_at = clock_timestamp() + interval '100 seconds' WHERE session_id = :'owner_session_id';
SELECT ok((part(immiiq.issue_access_token(:'owner_session_id'), 2) ->> 'exp')::int BETWEEN now_s() AND now_s(100), 'no token outlives its session');
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT matches((immiiq.rotate_refresh(:'owner_refresh_token')).access_token, '^eyJ', 'rotate_refresh gives another');
RESET SESSION AUTHORIZATION;

---------------------------------------------------------------- rotation
SELECT * FROM signed_in(:'alpha', :'alpha_owner') \gset owner_
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT immiiq.rotate_jwt_key() AS next_kid \gset
SELECT throws_ok('SELECT immiiq.rotate_jwt_key(''-1 s'')', '22023', NULL, 'no key signs from the past');
RESET SESSION AUTHORIZATION;
SELECT is(jsonb_array_length(immiiq.jwks() -> 'keys'), 2, 'the next key is published at once');
SELECT isnt(part(immiiq.issue_access_token(:'owner_session_id'), 1) ->> 'kid', :'next_kid', 'and does not sign yet');
UPDATE immiiq.jwt_key SET signs_from = clock_timestamp() WHERE kid = :'next_kid';
SELECT immiiq.issue_access_token(:'owner_session_id') AS by_next \gset
SELECT is(part(:'by_next', 1) ->> 'kid', :'next_kid', 'later it does');
SELECT is(immiiq.verify_jwt(t, 'immiiq') ->> 'sid', :'owner_session_id', 'tokens of both verify') FROM unnest(ARRAY[:'by_next', :'owner_access_token']) AS t;
SELECT immiiq.rotate_jwt_key(distrust => true) AS last_kid \gset
SELECT throws_ok(format('SELECT immiiq.verify_jwt(%L, ''immiiq'')', t), 'IQ010', NULL, 'a key that is distrusted verifies no more')
    FROM unnest(ARRAY[:'by_next', :'owner_access_token']) AS t;
SELECT is(jsonb_path_query_array(immiiq.jwks(), '$.keys[*].kid'), jsonb_build_array(:'last_kid'), 'and is published no more');
SELECT is(part(immiiq.issue_access_token(:'owner_session_id'), 1) ->> 'kid', :'last_kid', 'the new one signs at once');

---------------------------------------------------------------- key sets of others
SELECT throws_ok(format('INSERT INTO immiiq.identity_provider (issuer, audience, jwks) VALUES (''https://x.example'', ''c'', %L)', j), '22023', NULL, 'refused: ' || j)
    FROM unnest(ARRAY['{}', '{"keys":[]}', '{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}',
        '{"keys":[{"kty":"RSA","kid":"a","n":"gQ","e":"AQAB"}]}']) AS j;
\set set '{"keys":[{"kty":"RSA","kid":"r1","use":"sig","alg":"RS256","n":"vfQ-aqtS4-zA7_rtLDIHdzIN2bO-zCphvCURZ8-fYcYPZiI1BHZql4G7zmhEOxfoZUO5PG91PPmvTLMUxSfyIYOjEA5Pd4adW2mXRNzi7XjaG515qdTjiakSiqudrDxMAiVcKQg_-el6vbNDa9IplSGrV_XFWBiKQYogjubBW34Sqds7s9QbxlX7d2EpST02jHMaljkc7GqmkOqLP4WMAGjTsR1IzVE2PLmXLWXBIL9NdMswOeudiBm4od4Sl8ox3HLk9ak6w3qCdZCF3ElBQ9jBnYDfuI9pH5NgWaDRnrizlvUKAmRqGpcoMeioC-Y_ubduSfHGrZOJNm_PzNooww","e":"AQAB"},{"kty":"EC","kid":"e1","use":"sig","crv":"P-256","x":"pDRFdRbA5in6BdhubDVpdwDjySwNFVyq-U6xKBYxuIw","y":"n7GHpCBfCYzK1G2lk1DFlsUYWUFOTao5Sq4Of4yfrHo"}]}'
\set rs256 'eyJhbGciOiJSUzI1NiIsImtpZCI6InIxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIiwiYXVkIjoiY2xpZW50LTEiLCJzdWIiOiJzdWJqZWN0LTEiLCJub25jZSI6Im4tMDEyMzQ1Njc4OWFiY2RlZiIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.sYVDLHj_m60Qt9RGYXFTiCTH91IOKaCWy5ngdTFj5eL3fI_oOv9G-8rdPL4Wmf4U1jCnQJsNbuCdhF_9dFgLmUKPj8UhE853qHPE1xaFxfsOtW3UbU_bZ6gm0o6ERMMfo-b3cM_cDmYAZjMtn-g57paWHADMmapUQwsJq8uQxI6qc9dImdL6SYqH5AdPIQK4rYuHTrQKzj2U2dsGRtrNtqIfRrJOIaCp4Je4JEx8Oqtdp3J2x1YRPeWwNjJzlSe0aWE4gQA_4vnY3cg-9ir_m-Fv0db4Lut39ggpOK-XLq-m-p3c0FZiWj4LRM7xRv-1hBFlxNUEBiU_a77HeUyz6g'
\set es256 'eyJhbGciOiJFUzI1NiIsImtpZCI6ImUxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIiwiYXVkIjoiY2xpZW50LTEiLCJzdWIiOiJzdWJqZWN0LTEiLCJub25jZSI6Im4tMDEyMzQ1Njc4OWFiY2RlZiIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.sPXPwgMYoMgbHd9_2pO_-SpBmL0z1o-GdzVQ7_4a7pA039gkLWnnElmtoWYiBSSBwZ81aPejrr5ORsZ0ZT8NCw'
SELECT throws_ok(format($$INSERT INTO immiiq.identity_provider (issuer, audience, jwks, algorithms) VALUES ('https://x.example', 'c', %L, '{HS256}')$$, :'set'), '23514', NULL,
    'no shared secrets');
SELECT is((immiiq.verify_id_token(t, 'https://idp.example', 'client-1', :'set', '{RS256,ES256}')).claims ->> 'sub', 'subject-1', d || ' by openssl verifies')
    FROM (VALUES (:'rs256', 'RS256'), (:'es256', 'ES256')) AS v (t, d);
SELECT is((immiiq.verify_id_token(t, i, a, s, g)).reason, r, d) FROM (VALUES
    (:'rs256', 'https://other.example', 'client-1', :'set', '{RS256}'::text[], 'another issuer', 'another issuer is refused'),
    (:'rs256', 'https://idp.example', 'client-2', :'set', '{RS256}', 'another audience', 'another audience is refused'),
    (:'rs256', 'https://idp.example', 'client-1', :'set', '{ES256,EdDSA}', 'algorithm not allowed', 'an algorithm that the DBA did not allow is refused'),
    (:'rs256', 'https://idp.example', 'client-1', '{"keys":[]}', '{RS256}', 'unknown key', 'an unknown key is refused'),
    (replace(:'es256', split_part(:'es256', '.', 3), repeat('A', 86)), 'https://idp.example', 'client-1', :'set', '{ES256}', 'wrong signature', 'a signature of zeros is refused'),
    (replace(:'rs256', split_part(:'rs256', '.', 3), split_part(:'es256', '.', 3)), 'https://idp.example', 'client-1', :'set', '{RS256}', 'wrong signature', 'so is one of another key')
    ) AS v (t, i, a, s, g, r, d);

---------------------------------------------------------------- signing in by an ID token
-- An issuer whose key we have: one of our own derived keys, which is in no table.
INSERT INTO immiiq.identity_provider (issuer, audience, jwks)
SELECT 'https://idp.example', a, jsonb_build_object('keys', jsonb_build_array(
    jsonb_build_object('kty', 'OKP', 'crv', 'Ed25519', 'kid', 'idp', 'x', immiiq.base64url(immiiq.jwt_public_key(900001)))))
FROM unnest('{client-1,client-2}'::text[]) AS a;
CREATE FUNCTION id_token(more jsonb DEFAULT '{}', header text DEFAULT '{"alg":"EdDSA","kid":"idp"}') RETURNS text LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT immiiq.sign_jwt(900001, header, jsonb_strip_nulls(jsonb_build_object('iss', 'https://idp.example', 'aud', 'client-1', 'sub', 'ana',
        'nonce', 'a nonce of enough', 'iat', now_s(), 'exp', now_s(300), 'jti', gen_random_uuid()) || more)::text) $$;
CREATE FUNCTION linked() RETURNS text LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT string_agg(member_id || ' ' || subject, ', ') FROM immiiq.external_identity $$;
-- The verdict of an attempt, and what the log says of it.
CREATE FUNCTION attempted(token text, nonce text, org uuid DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    verdict text := (immiiq.sign_in_identity(token, nonce, org)).verdict;
BEGIN
    RETURN verdict || ': ' || last_reason();
END
$$;
SELECT * FROM signed_in(:'alpha', :'alpha_owner') \gset owner_
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$SELECT immiiq.link_identity(id_token(), 'a nonce of enough')$$, '42501', NULL, 'nobody links nothing');
SELECT is(attempted(id_token('{"email":"owner@alpha.example","email_verified":true}'), 'a nonce of enough'), 'denied: identity denied not linked',
    'an e-mail address at an issuer signs nobody in');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT throws_ok($$SELECT immiiq.link_identity(id_token(), 'a nonce of enough')$$, '42501', NULL, 'an operator''s impersonation cannot link');
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'owner_session_token', true) AS ignored \gset
SELECT is(immiiq.link_identity(id_token('{"nonce":"the nonce of another"}'), 'a nonce of enough'), 'denied', 'nor does a token that somebody else asked for');
SELECT is(linked(), NULL, 'nothing is linked yet');
SELECT id_token() AS linking \gset
SELECT is(immiiq.link_identity(:'linking', 'a nonce of enough'), 'ok', 'a member who has just signed in links an account');
SELECT is(linked(), :'alpha_owner' || ' ana', 'which is kept by its subject');
COMMIT;
SELECT is(attempted(:'linking', 'a nonce of enough'), 'denied: identity denied used', 'the token that linked does not sign in');
SELECT id_token() AS token \gset
SELECT * FROM immiiq.sign_in_identity(:'token', 'a nonce of enough', ip => '192.0.2.9') \gset id_
SELECT is(:'id_verdict' || ' ' || :'id_member_id', 'ok ' || :'alpha_owner', 'a token of the account signs the member in');
SELECT is(last_reason(), 'identity ok', 'which the log says');
SELECT is(immiiq.verify_jwt(:'id_access_token', 'immiiq') ->> 'sid', :'id_session_id', 'with an access token');
SELECT is(attempted(:'token', 'a nonce of enough'), 'denied: identity denied used', 'once');
SELECT is(attempted(token, nonce), 'denied: identity denied ' || reason, 'refused: ' || name) FROM (VALUES
    ('another nonce', id_token(), 'another nonce of enough', 'another nonce'),
    ('no nonce asked', id_token(), NULL, 'another nonce'),
    ('a short nonce', id_token('{"nonce":"short"}'), 'short', 'another nonce'),
    ('no nonce inside', id_token('{"nonce":null}'), 'a nonce of enough', 'another nonce'),
    ('another subject', id_token('{"sub":"eve"}'), 'a nonce of enough', 'not linked'),
    ('no subject', id_token('{"sub":null}'), 'a nonce of enough', 'no subject'),
    ('a subject that is a number', id_token('{"sub":1}'), 'a nonce of enough', 'no subject'),
    ('another audience', id_token('{"aud":"client-3"}'), 'a nonce of enough', 'another audience'),
    ('two audiences and no party', id_token('{"aud":["client-2","x"]}'), 'a nonce of enough', 'another authorised party'),
    ('another party', id_token('{"aud":"client-2","azp":"client-3"}'), 'a nonce of enough', 'another authorised party'),
    ('another issuer', id_token('{"iss":"https://idp.example/"}'), 'a nonce of enough', 'unknown issuer'),
    ('expired', id_token('{"aud":"client-2"}' || jsonb_build_object('exp', now_s(-61))), 'a nonce of enough', 'expired'),
    ('no exp', id_token('{"aud":"client-2","exp":null}'), 'a nonce of enough', 'malformed'),
    ('no iat', id_token('{"aud":"client-2","iat":null}'), 'a nonce of enough', 'malformed'),
    ('from the future', id_token('{"aud":"client-2"}' || jsonb_build_object('iat', now_s(120))), 'a nonce of enough', 'not valid yet'),
    ('of an hour ago', id_token(jsonb_build_object('iat', now_s(-3600))), 'a nonce of enough', 'too old'),
    ('an access token', id_token(header => '{"alg":"EdDSA","kid":"idp","typ":"at+jwt"}'), 'a nonce of enough', 'another type'),
    ('no kid', id_token(header => '{"alg":"EdDSA"}'), 'a nonce of enough', 'unknown key'),
    ('alg none', id_token(header => '{"alg":"none","kid":"idp"}'), 'a nonce of enough', 'algorithm not allowed'),
    ('RS256 by an Ed25519 key', id_token(header => '{"alg":"RS256","kid":"idp"}'), 'a nonce of enough', 'unknown key'),
    ('no token', 'x', 'a nonce of enough', 'malformed'),
    ('null', NULL, 'a nonce of enough', 'malformed'),
    ('a digit behind', id_token() || 'A', 'a nonce of enough', 'wrong signature')) AS v (name, token, nonce, reason);
SELECT is(attempted(id_token('{"aud":["client-2","x"],"azp":"client-2"}'), 'a nonce of enough'), 'ok: identity ok', 'two audiences and the right party do');
SELECT is(attempted(id_token(), 'a nonce of enough', :'beta'), 'denied: identity denied not linked', 'not into an organisation where it is not linked');
RESET SESSION AUTHORIZATION;
UPDATE immiiq.identity_provider SET active = false;
SELECT is(attempted(id_token(), 'a nonce of enough'), 'denied: identity denied unknown issuer', 'an issuer that is switched off signs nobody in');
UPDATE immiiq.identity_provider SET active = true;
UPDATE immiiq.member SET active = false WHERE member_id = :'alpha_owner';
SELECT is(attempted(id_token(), 'a nonce of enough'), 'denied: identity denied not active', 'nor does a member who has left');
UPDATE immiiq.member SET active = true WHERE member_id = :'alpha_owner';
SELECT * FROM signed_in(:'alpha', :'alpha_lead') \gset lead_
SELECT * FROM signed_in(:'alpha', :'alpha_owner') \gset owner_
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'lead_session_token', true) AS ignored \gset
SELECT is(immiiq.link_identity(id_token(), 'a nonce of enough'), 'denied', 'an account is one member''s');
SELECT is(last_reason(), 'link-identity denied linked to somebody else', 'which the log says');
SELECT ok(NOT immiiq.unlink_identity('https://idp.example'), 'nobody unlinks another''s');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'owner_session_token', true) AS ignored \gset
SELECT ok(immiiq.unlink_identity('https://idp.example'), 'a member unlinks their own');
COMMIT;
SELECT is(attempted(id_token(), 'a nonce of enough'), 'denied: identity denied not linked', 'and it signs in no more');
RESET SESSION AUTHORIZATION;
UPDATE immiiq.session SET issued_at = issued_at - interval '11 minutes', expires_at = expires_at - interval '11 minutes'
    WHERE session_id = :'owner_session_id';
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'owner_session_token', true) AS ignored \gset
SELECT throws_ok($$SELECT immiiq.link_identity(id_token(), 'a nonce of enough')$$, '42501', NULL, 'eleven minutes after a sign-in nothing is linked');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT finish();
