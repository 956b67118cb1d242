-- A foreign identifier in an argument of immiiq's functions: answered as one that is not there, and on record.
\i test/pgtap/setup.psql
SELECT plan(47);

\set store  '51000000-0000-4000-8000-0000000000b1'
\set paper  'd1000000-0000-4000-8000-0000000000b1'
\set absent 'd1000000-0000-4000-8000-ffffffffffff'
\set client 'c1000000-0000-4000-8000-0000000000b1'
CREATE TABLE client (org_id uuid, client_id uuid, team_id uuid, assignee_id uuid, name text, PRIMARY KEY (org_id, client_id));
SELECT immiiq.protect('client', 'clients', client => 'client_id', team => 'team_id', assignee => 'assignee_id') AS ignored \gset
GRANT SELECT, INSERT, UPDATE, DELETE ON client TO regress_immiiq_app;
UPDATE immiiq.member SET permissions = '{*}' WHERE member_id = :'alpha_owner';

-- Beta's: a client, a store, a document, a share, a hold.
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
INSERT INTO client (client_id, name) VALUES (:'client', 'Beta''s');
INSERT INTO immiiq.object_store (object_store_id, name, endpoint, region, bucket) VALUES (:'store', 'main', 'https://s3.eu-west-1.amazonaws.com', 'eu-west-1', 'beta-papers');
SELECT FROM immiiq.set_store_credentials(:'store', 'AKIAEXAMPLE', 'secret') \gset
INSERT INTO immiiq.document (document_id, object_store_id, client_id, key, filename) VALUES (:'paper', :'store', :'client', 'beta/1.pdf', '1.pdf');
SELECT share_id AS share FROM immiiq.share_document(:'paper', 'them@example') \gset
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
INSERT INTO client (client_id, team_id, name) VALUES ('a1fa1111-0000-4000-8000-000000000001', :'alpha_north', 'Alpha''s');
INSERT INTO immiiq.role_template (name, scope) VALUES ('Clerk', 'assigned');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT session_id AS session FROM immiiq.session WHERE member_id = :'beta_owner' LIMIT 1 \gset

CREATE TABLE attempt (n int GENERATED ALWAYS AS IDENTITY, action text, call text, foreign_id text);
INSERT INTO attempt (action, call, foreign_id) VALUES
    ('verify_access', 'immiiq.verify_access(''client'', %L::uuid)', :'client'),
    ('reassign', 'immiiq.reassign(%L, member => ''a1fa0000-0000-4000-8000-000000000003'')', :'client'),
    ('reassign', 'immiiq.reassign(''a1fa1111-0000-4000-8000-000000000001'', member => %L)', :'beta_owner'),
    ('reassign', 'immiiq.reassign(''a1fa1111-0000-4000-8000-000000000001'', team => %L)', :'beta_team'),
    ('apply_role', 'immiiq.apply_role(''Clerk'', ARRAY[%L]::uuid[])', :'beta_owner'),
    ('revoke_session', 'immiiq.revoke_session(%L)', :'session'),
    ('presign_get', 'immiiq.presign_get(%L)', :'paper'),
    ('presign_head', 'immiiq.presign_head(%L)', :'paper'),
    ('presign_delete', 'immiiq.presign_delete(%L)', :'paper'),
    ('presign_put', 'immiiq.presign_put(%L, ''application/pdf'', 1)', :'paper'),
    ('presign_post', 'immiiq.presign_post(%L, ''application/pdf'', 1, 2)', :'paper'),
    ('share_document', 'immiiq.share_document(%L, ''me@example'')', :'paper'),
    ('revoke_share', 'immiiq.revoke_share(%L)', :'share'),
    ('open_shared', 'immiiq.open_shared(%L)', :'share'),
    ('set_store_credentials', 'immiiq.set_store_credentials(%L, ''AKIA'', ''x'')', :'store'),
    ('history', 'immiiq.history(''client'', %L)', :'client'),
    ('restore_version', 'immiiq.restore_version(''client'', %L, 1)', :'client'),
    ('sign_off_status', 'immiiq.sign_off_status(''client'', %L)', :'client'),
    ('prove_entry', 'immiiq.prove_entry(%L, 1)', :'beta'),
    ('export_audit', 'immiiq.export_audit(%L)', :'beta'),
    ('release_hold', 'immiiq.release_hold(%L, ''over'')', :'client');
GRANT SELECT ON attempt TO regress_immiiq_app;
-- What a call says: SQLSTATE and message, or its rows.
CREATE FUNCTION said(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
    EXECUTE format('SELECT coalesce(string_agg(t::text, '','' ORDER BY t::text), '''') FROM (SELECT %s) AS t', call) INTO answer;
    RETURN answer;
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
CREATE TABLE answer (n int, started timestamptz, of_foreign text, of_absent text, ended timestamptz);
GRANT INSERT, SELECT ON answer TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
\o /dev/null
SELECT 'BEGIN', format('SELECT immiiq.authenticate(%L)', :'alpha_owner_token'),
    format('INSERT INTO answer SELECT %s, clock_timestamp(), said(%L), said(%L), clock_timestamp()', n, format(call, foreign_id), format(call, :'absent')), 'COMMIT'
FROM attempt ORDER BY n \gexec
\o
RESET SESSION AUTHORIZATION;
SELECT is(w.of_foreign, w.of_absent, format('%s: a foreign id is answered as one that is not there', a.call)) FROM attempt AS a JOIN answer AS w USING (n) ORDER BY n;
SELECT is((SELECT count(*) FROM immiiq.denial AS d WHERE d.member_id = :'alpha_owner' AND d.at BETWEEN w.started AND w.ended), 2::bigint,
    format('%s: both are on record (%s)', a.call, left(w.of_foreign, 60))) FROM attempt AS a JOIN answer AS w USING (n) ORDER BY n;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token') \gset
SELECT throws_ok(format(call, id), '42501', 'no such client', format('%s with a client outside the scope', call))
FROM unnest(ARRAY['SELECT immiiq.issue_portal_link(%L, ''me@example'')', 'SELECT immiiq.revoke_portal(%L)']) AS c (call), unnest(ARRAY[:'client', :'absent']) AS i (id);
COMMIT;
SELECT throws_ok($$SELECT immiiq.note_unreachable('whatever I like')$$, '22023', NULL, 'nobody writes words of their own into the journal');
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
