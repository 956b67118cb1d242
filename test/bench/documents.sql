-- A URL with its authorisation and record, beside an INSERT … RETURNING of the same row into a table that is protected and audited alike.
UPDATE immiiq.member SET modules = '{clients,cases,documents,settings}';
CREATE TABLE event_alike (LIKE immiiq.document_event INCLUDING ALL);
SELECT immiiq.protect('event_alike', 'documents') \gset ignored_
GRANT ALL ON event_alike TO bench_app;

SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
INSERT INTO immiiq.object_store (name, endpoint, region, bucket) VALUES ('main', 'https://s3.example', 'r', 'papers') RETURNING object_store_id AS store \gset
SELECT immiiq.set_store_credentials(:'store', 'AKIAIOSFODNN7EXAMPLE', 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY') \gset ignored_
INSERT INTO immiiq.document (object_store_id, filename, content_type)
    SELECT :'store', 'passport.pdf', 'application/pdf' FROM generate_series(1, 1000);
SELECT document_id AS document FROM immiiq.document LIMIT 1 \gset
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
SELECT format($f$DO $d$DECLARE r record; BEGIN FOR i IN 1..200 LOOP SELECT * INTO r FROM immiiq.presign_get(%L); END LOOP; END$d$$f$, :'document') AS presign,
       format($f$DO $d$DECLARE r record; BEGIN FOR i IN 1..200 LOOP INSERT INTO event_alike (event_id, at, action, document_id, expires_at, member_id,
                  session_id, actor, login_name) VALUES (gen_random_uuid(), now(), 'download', %L, now(), %L, %L, 'member', session_user)
                  RETURNING * INTO r; END LOOP; END$d$$f$, :'document', :'member_id', :'member_id') AS insert \gset
SELECT * FROM bench_pair(:'presign', :'insert', 9) \gset
SELECT * FROM bench_line('documents', 'presign_get with its record, times an INSERT … RETURNING of the record', :a_ms / :b_ms, 3, ' x');
SELECT * FROM bench_line('documents', 'presign_get with its record', :a_ms / 200 * 1000, 300, ' us');
COMMIT;
RESET SESSION AUTHORIZATION;
-- Signing alone needs no server.
\! gcc -std=gnu11 -O2 -I../../src documents_sign.c ../../src/documents/sigv4.c ../../src/crypto/crypto.c -lsodium -lcrypto -o documents_sign.tmp && ./documents_sign.tmp; rm -f documents_sign.tmp
