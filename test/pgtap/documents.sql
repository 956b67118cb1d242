-- Stores, documents, URLs and their records: what members get, and what nobody does.
\i test/pgtap/setup.psql
SELECT plan(85);

\set store  '51000000-0000-4000-8000-000000000001'
\set bstore '51000000-0000-4000-8000-0000000000b1'
\set c1     'c1000000-0000-4000-8000-000000000001'
\set c2     'c1000000-0000-4000-8000-000000000002'
\set d1     'd1000000-0000-4000-8000-000000000001'
\set d2     'd1000000-0000-4000-8000-000000000002'
\set d3     'd1000000-0000-4000-8000-000000000003'
\set bd     'd1000000-0000-4000-8000-0000000000b1'
\set absent 'd1000000-0000-4000-8000-ffffffffffff'

-- Looks at a URL's part.
CREATE FUNCTION pg_temp.parameter(url text, name text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN substring(url FROM '[?&]' || name || '=([^&]*)');
CREATE FUNCTION pg_temp.as_json(url text) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN convert_from(decode(url, 'base64'), 'UTF8')::jsonb;
GRANT TEMPORARY ON DATABASE :"DBNAME" TO regress_immiiq_app;

SET SESSION AUTHORIZATION regress_immiiq_app;

-- ---- stores ----
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token', '192.0.2.7', 'tests') \gset
INSERT INTO immiiq.object_store (object_store_id, name, endpoint, region, bucket)
    VALUES (:'store', 'main', 'https://s3.eu-west-1.amazonaws.com', 'eu-west-1', 'alpha-papers');
SELECT lives_ok(format('SELECT immiiq.set_store_credentials(%L, %L, %L)', :'store', 'AKIAEXAMPLE', 'wJalrXUtnFEMI/secret'),
    'a member with settings gives a store its credentials');

SELECT throws_ok('SELECT credentials FROM immiiq.store_credential', '42501', NULL, 'nobody reads credentials back');
SELECT throws_ok(format('SELECT immiiq.set_store_credentials(%L, %L, %L)', :'store', 'AK IA', 'x'), '22023', NULL,
    'credentials have no spaces');
SELECT throws_ok(format('SELECT immiiq.set_store_credentials(%L, %L, %L)', :'store', 'AKIA', E'x\ny'), '22023', NULL,
    'credentials have no line ends');
SELECT throws_ok($$UPDATE immiiq.object_store SET bucket = 'other-papers'$$, '42501', 'a store''s endpoint and bucket stay as they are',
    'a store stays at its bucket');
SELECT throws_ok(format('INSERT INTO immiiq.object_store (name, endpoint, region, bucket) VALUES (%L, %L, %L, %L)',
    'bad', e.endpoint, e.region, e.bucket), '23514', NULL, 'refused: ' || e.endpoint || ' ' || e.bucket)
FROM (VALUES ('http://s3.example', 'r', 'bucket'),
             ('https://S3.example', 'r', 'bucket'),
             ('https://s3.example/', 'r', 'bucket'),
             ('https://s3.example:443', 'r', 'bucket'),
             ('https://user@s3.example', 'r', 'bucket'),
             ('https://alpha-papers.s3.eu-west-1.amazonaws.com', 'eu-west-1', 'bucket'),
             ('https://account.r2.cloudflarestorage.com', 'auto', 'bucket'),
             ('https://s3.example', 'r', 'a/b'),
             ('https://s3.example', 'r', 'dotted.bucket')) AS e (endpoint, region, bucket);
COMMIT;

BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT throws_ok($$INSERT INTO immiiq.object_store (name, endpoint, region, bucket)
    VALUES ('mine', 'https://s3.eu-west-1.amazonaws.com', 'eu-west-1', 'alpha-papers')$$, '42501', 'bucket cannot be used',
    'another organisation''s bucket is refused');
SELECT throws_ok($$INSERT INTO immiiq.object_store (name, endpoint, region, bucket, style)
    VALUES ('mine', 'https://s3.dualstack.us-east-1.amazonaws.com', 'us-east-1', 'alpha-papers', 'path')$$, '42501', 'bucket cannot be used',
    'by another of its names, too');
INSERT INTO immiiq.object_store (object_store_id, name, endpoint, region, bucket, style)
    VALUES (:'bstore', 'main', 'https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com', 'auto', 'alpha-papers', 'path');
SELECT immiiq.set_store_credentials(:'bstore', 'AK+IA', 'betasecret', 'session/token==', now() + interval '10 minutes') \gset ignored_
INSERT INTO immiiq.document (document_id, object_store_id, key, filename) VALUES (:'bd', :'bstore', 'b', 'b.txt');
SELECT throws_ok(format('SELECT immiiq.set_store_credentials(%L, %L, %L)', :'store', 'AKIA', 'x'), '42501', NULL,
    'credentials of another organisation''s store cannot be set');
COMMIT;

-- ---- documents ----
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
INSERT INTO immiiq.assignment (client_id, member_id) VALUES (:'c1', :'alpha_clerk');
INSERT INTO immiiq.document (document_id, client_id, object_store_id, key, filename, content_type) VALUES
    (:'d1', :'c1', :'store', 'clients/Zoë Äß/passport (1)+.pdf', 'Zoë "Z" passport.pdf', 'application/pdf'),
    (:'d2', :'c2', :'store', NULL, E'evil\r\nX-Header: 1.html', 'text/html'),
    (:'d3', NULL, :'store', 'org/terms.txt', 'terms.txt', 'text/plain');
SELECT is((SELECT key FROM immiiq.document WHERE document_id = :'d2'), :'d2', 'a key is made of the id');
SELECT throws_ok(format('INSERT INTO immiiq.document (object_store_id, key) VALUES (%L, %L)', :'store', k), '23514', NULL, 'key refused')
FROM unnest(ARRAY['/a', 'a//b', 'a/../b', '.', E'a\nb', E'a\u0085b', '']) AS k;
SELECT throws_ok(format('INSERT INTO immiiq.document (object_store_id, key) VALUES (%L, %L)', :'store', 'org/terms.txt'), '23505', NULL,
    'a key belongs to one document');
SELECT throws_ok(format('UPDATE immiiq.document SET key = %L WHERE document_id = %L', 'other', :'d1'), '42501', NULL,
    'a document stays at its key');
SELECT throws_ok(format('INSERT INTO immiiq.document (object_store_id, key) VALUES (%L, %L)', :'bstore', 'x'), '23503', NULL,
    'a store of another organisation is none');
COMMIT;

-- ---- GET ----
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token', '192.0.2.7', 'tests') \gset
SELECT url, expires_at, grant_id FROM immiiq.presign_get(:'d1') \gset get_
SELECT matches(:'get_url'::text,
    '^https://alpha-papers\.s3\.eu-west-1\.amazonaws\.com/clients/Zo%C3%AB%20%C3%84%C3%9F/passport%20%281%29%2B\.pdf\?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEXAMPLE%2F\d{8}%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=\d{8}T\d{6}Z&X-Amz-Expires=3600&X-Amz-Signature=[0-9a-f]{64}&X-Amz-SignedHeaders=host&response-cache-control=',
    'a URL of virtual-host style, an hour long');
SELECT is(pg_temp.parameter(:'get_url', 'x-immiiq-grant'), :'get_grant_id', 'it carries its grant');
SELECT is(pg_temp.parameter(:'get_url', 'response-content-type'), 'application%2Fpdf', 'a PDF is a PDF');
SELECT matches(pg_temp.parameter(:'get_url', 'response-content-disposition'), '^attachment%3B%20filename%3D%22Zo_%20_Z_%20passport\.pdf%22%3B%20filename%2A%3DUTF-8%27%27Zo%25C3%25AB%2520%2522Z%2522%2520passport\.pdf$',
    'attachment, with the file''s name by RFC 6266');
SELECT ok(:'get_expires_at'::timestamptz BETWEEN clock_timestamp() + interval '59 minutes' AND clock_timestamp() + interval '1 hour',
    'the expiry is reported');
SELECT isnt((SELECT url FROM immiiq.presign_get(:'d1')), :'get_url', 'each URL is another');
SELECT matches((SELECT url FROM immiiq.presign_get(:'d1', shown => true)), 'content-disposition=inline', 'a PDF may be shown');
SELECT matches((SELECT url FROM immiiq.presign_get(:'d2', shown => true)),
    'content-disposition=attachment%3B%20filename%3D%22evil__X-Header%3A%201\.html%22&response-content-type=application%2Foctet-stream',
    'HTML is an attachment, whatever is asked, and no line end gets through');
SELECT is(pg_temp.parameter((SELECT url FROM immiiq.presign_get(:'d1', '90 seconds')), 'X-Amz-Expires'), '90', 'a shorter time');
SELECT is(pg_temp.parameter((SELECT url FROM immiiq.presign_get(:'d1', '7 days')), 'X-Amz-Expires'), '3600', 'a longer one ends at the policy');
SELECT throws_ok(format('SELECT immiiq.presign_get(%L, %L)', :'d1', ttl), '22023', NULL, 'refused: ' || ttl)
FROM unnest(ARRAY['0 seconds', '604801 seconds', '-1 second', '0.9 seconds']) AS ttl;
UPDATE immiiq.object_store SET url_ttl = 900;
SELECT is(pg_temp.parameter((SELECT url FROM immiiq.presign_get(:'d1')), 'X-Amz-Expires'), '900', 'an organisation''s own policy of 15 minutes');
UPDATE immiiq.object_store SET url_ttl = NULL;
SELECT is((SELECT array_agg(DISTINCT action ORDER BY action) FROM immiiq.document_access WHERE document_id = :'d1'),
    ARRAY['download', 'open'], 'opens and downloads are on record');
SELECT is((SELECT format('%s %s %s %s %s', a.action, a.member_id, a.client_id, a.client_ip, a.user_agent)
           FROM immiiq.document_access AS a WHERE grant_id = :'get_grant_id'),
    format('download %s %s 192.0.2.7 tests', :'alpha_owner', :'c1'), 'with who, whose and from where');
COMMIT;
SELECT throws_ok(format('SELECT immiiq.presign_get(%L)', :'d1'), 'IQ011', NULL, 'with nobody active there is no URL');

-- ---- who gets none ----
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT throws_ok(format('SELECT immiiq.presign_get(%L)', :'d1'), '42501', 'document is not within reach of who is active',
    'no URL of another organisation''s document');
SELECT throws_ok(format('SELECT immiiq.presign_get(%L)', :'absent'), '42501', 'document is not within reach of who is active',
    'and the same words for one that does not exist');
SELECT url, expires_at FROM immiiq.presign_get(:'bd') \gset beta_
SELECT matches(:'beta_url'::text, '^https://0123456789abcdef0123456789abcdef\.r2\.cloudflarestorage\.com/alpha-papers/b\?.*Credential=AK%2BIA%2F.*&X-Amz-Security-Token=session%2Ftoken%3D%3D&',
    'path style, ''+'' in the access key, a session token');
SELECT ok(:'beta_expires_at'::timestamptz <= now() + interval '10 minutes' AND pg_temp.parameter(:'beta_url', 'X-Amz-Expires')::int BETWEEN 500 AND 600,
    'a URL ends with the session token');
SELECT throws_ok(format('SELECT immiiq.presign_post(%L, %L, 0, 10)', :'bd', 'image/png'), '0A000', NULL, 'R2 takes no forms');
SELECT immiiq.set_store_credentials(:'bstore', 'AKIA', 'betasecret', 'token', now() - interval '1 second') \gset ignored_
SELECT throws_ok(format('SELECT immiiq.presign_get(%L)', :'bd'), '55000', 'credentials of the store have expired', 'none once it has expired');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token') \gset
SELECT lives_ok(format('SELECT immiiq.presign_get(%L)', :'d1'), 'scope assigned: of one''s client');
SELECT throws_ok(format('SELECT immiiq.presign_get(%L)', :'d2'), '42501', NULL, 'but of no other');
SELECT throws_ok(format('INSERT INTO immiiq.document (client_id, object_store_id, key) VALUES (%L, %L, %L)', :'c1', :'store', 'import/guess.pdf'),
    '42501', NULL, 'a key of one''s choice would reach what others left there');
SELECT throws_ok(format('INSERT INTO immiiq.document (client_id, object_store_id, key) VALUES (%L, %L, %L)', :'c1', :'store', :'d2'),
    '42501', NULL, 'and so would another document''s');
SELECT lives_ok($$INSERT INTO immiiq.document (document_id, client_id, object_store_id, key)
    VALUES ('d1000000-0000-4000-8000-00000000000c', 'c1000000-0000-4000-8000-000000000001', '51000000-0000-4000-8000-000000000001',
            'uploads/d1000000-0000-4000-8000-00000000000c/a.pdf')$$, 'one with the document''s id does not');
SELECT is((SELECT count(*) FROM immiiq.document_access), 0::bigint, 'scope assigned sees no access records');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_idle_token') \gset
SELECT throws_ok(format('SELECT immiiq.presign_get(%L)', :'d1'), '42501', NULL, 'without the module documents there is no URL');
SELECT throws_ok(format('SELECT immiiq.set_store_credentials(%L, %L, %L)', :'store', 'AKIA', 'x'), '42501', NULL,
    'without the module settings no credentials');
ROLLBACK;
SELECT throws_ok(format('SELECT immiiq.presign_share(%L, %L, %L)', :'alpha', :'d1', :'d1'), '42501', NULL, 'the signer of shares is not for the application');
SELECT throws_ok($$INSERT INTO immiiq.document_event (org_id, event_id, at, action, document_id, login_name) SELECT gen_random_uuid(), gen_random_uuid(), now(), 'open', gen_random_uuid(), 'x'$$,
    '42501', NULL, 'nobody writes records by hand');

-- ---- PUT, POST, HEAD, DELETE ----
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT url, headers FROM immiiq.presign_put(:'d1', 'application/pdf', 1234) \gset put_
SELECT matches(:'put_url'::text, 'X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost&', 'type and length of an upload are signed');
SELECT is(:'put_headers'::jsonb, '{"content-type": "application/pdf", "content-length": "1234"}', 'and said');
SELECT throws_ok(format('SELECT immiiq.presign_put(%L, %L, 1)', :'d1', t), '22023', 'not a content type', 'content type refused')
FROM unnest(ARRAY['', 'pdf', E'a/b\r\nx: y']) AS t;
SELECT throws_ok(format('SELECT immiiq.presign_put(%L, %L, -1)', :'d1', 'a/b'), '22023', NULL, 'a negative length is refused');
SELECT url, fields, expires_at FROM immiiq.presign_post(:'d1', 'image/*', 1, 5000000, '5 minutes') \gset post_
SELECT is(:'post_url'::text, 'https://alpha-papers.s3.eu-west-1.amazonaws.com/', 'a form goes to the bucket');
SELECT is(pg_temp.as_json(:'post_fields'::jsonb ->> 'policy') -> 'conditions' @> '[["content-length-range", 1, 5000000], ["starts-with", "$Content-Type", "image/"], {"bucket": "alpha-papers"}, {"key": "clients/Zoë Äß/passport (1)+.pdf"}]', true,
    'with size, family of types, bucket and key in its policy');
SELECT is((pg_temp.as_json(:'post_fields'::jsonb ->> 'policy') ->> 'expiration')::timestamptz, :'post_expires_at'::timestamptz, 'and its expiry');
SELECT matches((SELECT url FROM immiiq.presign_delete(:'d1')), 'X-Amz-Expires=60&', 'a DELETE lasts a minute');
SELECT matches((SELECT url FROM immiiq.presign_head(:'d1')), '^https://.*x-immiiq-grant=', 'a HEAD is signed');
UPDATE immiiq.document SET hold = true WHERE document_id = :'d1';
SELECT throws_ok(format('SELECT immiiq.presign_delete(%L)', :'d1'), '42501', NULL, 'no DELETE under hold');
SELECT throws_ok(format('SELECT immiiq.presign_put(%L, %L, 1)', :'d1', 'a/b'), '42501', NULL, 'nor an upload in its place');
SELECT throws_ok(format('DELETE FROM immiiq.document WHERE document_id = %L', :'d1'), '42501', 'document is under hold', 'nor is the row deleted');
SELECT lives_ok(format('SELECT immiiq.presign_get(%L)', :'d1'), 'reading goes on');
COMMIT;

-- The object of a deleted document is out of reach for good.
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
DELETE FROM immiiq.document WHERE document_id = :'d3';
SELECT throws_ok(format('INSERT INTO immiiq.document (object_store_id, key) VALUES (%L, %L)', :'store', 'org/terms.txt'), '23505', NULL,
    'a deleted document''s key goes to no other');
COMMIT;

-- ---- the record outlives a rollback ----
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT grant_id FROM immiiq.presign_get(:'d1') \gset gone_
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SAVEPOINT s;
SELECT grant_id FROM immiiq.presign_get(:'d2') \gset sub_
ROLLBACK TO s;
SAVEPOINT t;
SELECT grant_id FROM immiiq.presign_get(:'d2') \gset kept_
RELEASE t;
COMMIT;
RESET SESSION AUTHORIZATION;
-- The worker writes soon after.
DO $$
BEGIN
    FOR i IN 1..500 LOOP
        EXIT WHEN (SELECT count(*) >= 2 FROM immiiq.journal WHERE kind = 'document');
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;
SELECT is((SELECT format('%s %s %s', org_id, document_id, remark) FROM immiiq.document_access WHERE grant_id = :'gone_grant_id'),
    format('%s %s download: grant %s, member %s; its transaction was rolled back', :'alpha', :'d1', :'gone_grant_id', :'alpha_owner'),
    'a URL whose transaction was rolled back is on record');
SELECT is((SELECT count(*) FROM immiiq.document_access WHERE grant_id = :'sub_grant_id' AND remark IS NOT NULL), 1::bigint, 'so is one of a savepoint');
SELECT is((SELECT count(*) FROM immiiq.document_access WHERE grant_id = :'kept_grant_id' AND remark IS NULL), 1::bigint, 'what was kept is on record once');
SELECT ok(EXISTS (SELECT FROM immiiq.denial WHERE action = 'presign_get' AND object = 'document ' || :'d1' AND org_id = :'beta'
                  AND reason = 'absent, or not visible'), 'a refusal is on record, with the document that was asked for');
SELECT ok(NOT EXISTS (SELECT FROM immiiq.journal AS j WHERE j::text ~ '[0-9a-f]{64}|AKIA|secret'), 'no signature and no credential is in the journal');
SELECT ok(NOT EXISTS (SELECT FROM immiiq.store_credential AS c WHERE c::text LIKE '%secret%'), 'credentials are sealed');
SELECT throws_ok_unguarded('UPDATE immiiq.document_event SET action = ''head''', 'IQ040', NULL, 'records are not changed, by a superuser either');

SELECT * FROM finish();
