-- What an erasure leaves in buckets: who gets which signed URL, and what the certificate says of it.
\i test/pgtap/setup.psql
SELECT plan(17);

\set one 'c1000000-0000-4000-8000-000000000001'
\set two 'c1000000-0000-4000-8000-000000000002'
\set store '57000000-0000-4000-8000-000000000001'
\set plain 'd0000000-0000-4000-8000-000000000001'
\set versioned 'd0000000-0000-4000-8000-000000000002'
\set kept 'd0000000-0000-4000-8000-000000000003'
\set others 'd0000000-0000-4000-8000-000000000004'
CREATE TABLE client (org_id uuid, client_id uuid, name text, PRIMARY KEY (org_id, client_id));
SELECT immiiq.protect('client', 'clients', client => 'client_id') AS ignored \gset
GRANT ALL ON client TO regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE immiiq.member SET permissions = '{erase}' WHERE member_id = :'alpha_owner';
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'test') \gset
UPDATE immiiq.member SET permissions = '{erase}' WHERE member_id = :'beta_owner';
COMMIT;

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
INSERT INTO client VALUES (:'alpha', :'one', 'One'), (:'alpha', :'two', 'Two');
INSERT INTO immiiq.object_store (object_store_id, name, endpoint, region, bucket)
    VALUES (:'store', 'papers', 'https://s3.ap-southeast-2.amazonaws.com', 'ap-southeast-2', 'alpha-papers');
SELECT immiiq.set_store_credentials(:'store', 'AKIAEXAMPLE', 'wJalrXUtnFEMI/secret') AS ignored \gset
INSERT INTO immiiq.document (document_id, client_id, object_store_id, object_version, hold) VALUES
    (:'plain', :'one', :'store', NULL, false), (:'versioned', :'one', :'store', 'v.1+x', false), (:'kept', :'one', :'store', NULL, true),
    (:'others', :'two', :'store', NULL, false);
SELECT immiiq.request_erasure(:'one', 'letter', '0') AS request \gset
SELECT is_empty(format('SELECT FROM immiiq.erasure_objects(%L)', :'request'), 'before anything has gone there is nothing to delete');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_operator;
CALL immiiq.execute_erasure(:'request');
SET SESSION AUTHORIZATION regress_immiiq_app;

SELECT throws_ok(format('SELECT * FROM immiiq.erasure_objects(%L)', :'request'), 'IQ011', NULL, 'nobody gets no URL');
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT throws_ok(format('SELECT * FROM immiiq.erasure_objects(%L)', :'request'), 'P0002', NULL, 'nor does another organisation');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT throws_ok(format('SELECT immiiq.confirm_object(%L, %L)', :'request', :'plain'), 'P0002', NULL, 'or confirm one');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token') \gset
SELECT throws_ok(format('SELECT * FROM immiiq.erasure_objects(%L)', :'request'), '42501', NULL, 'or a colleague without the permission');
ROLLBACK;
SELECT throws_ok(format('SELECT * FROM immiiq.presign_erased(%L, %L, %L, %L, NULL, NULL)', :'alpha', :'plain', :'store', 'k'), '42501', NULL, 'URLs for any key are nobody''s');

BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT results_eq('SELECT document_id FROM immiiq.document ORDER BY 1', ARRAY[:'kept', :'others']::uuid[], 'documents are gone, but for another client''s and one under hold');
CREATE TEMP TABLE got ON COMMIT DROP AS SELECT * FROM immiiq.erasure_objects(:'request', '10 minutes');
SELECT results_eq('SELECT document_id FROM got ORDER BY 1', ARRAY[:'plain', :'versioned']::uuid[], 'each of them has an object to delete');
SELECT ok((SELECT bool_and(url LIKE 'https://alpha-papers.s3.ap-southeast-2.amazonaws.com/' || document_id || '?%' AND url ~ '[?&]X-Amz-Signature=[0-9a-f]{64}') FROM got), 'by a signed URL of its own');
SELECT ok((SELECT url ~ '[?&]versionId=v\.1%2Bx(&|$)' FROM got WHERE document_id = :'versioned'), 'of the very version');
SELECT ok((SELECT url !~ 'versionId' FROM got WHERE document_id = :'plain'), 'or without one');
SELECT ok((SELECT bool_and(expires_at BETWEEN clock_timestamp() AND clock_timestamp() + interval '10 minutes') FROM got), 'that ends');
SELECT is(split_part(immiiq.erasure_certificate(:'request'), E'\n', 1)::jsonb -> 'objects', '{"to_delete": 2, "deleted": 0}', 'the certificate says what is left to do');
SELECT immiiq.confirm_object(:'request', :'versioned') AS ignored \gset
SELECT is(split_part(immiiq.erasure_certificate(:'request'), E'\n', 1)::jsonb -> 'objects', '{"to_delete": 1, "deleted": 1}', 'and, made anew, what was done');
SELECT ok(immiiq.verify_certificate(immiiq.erasure_certificate(:'request')), 'signed');
SELECT results_eq(format('SELECT document_id FROM immiiq.erasure_objects(%L)', :'request'), ARRAY[:'plain']::uuid[], 'one is left');
SELECT throws_ok(format('SELECT immiiq.confirm_object(%L, %L)', :'request', :'versioned'), 'P0002', NULL, 'what is confirmed is not confirmed again');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
