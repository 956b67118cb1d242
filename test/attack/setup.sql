-- A database with two organisations. Beta's rows are the canaries: 7,319 clients, 6,367 matters. Alpha has 40 clients, half of them in the
-- team that its lead is not in (HIDDEN). Ends by printing what cases use as variables.
\set QUIET on
CREATE EXTENSION immiiq;
\i test/pgtap/setup.psql
CREATE TABLE client (
    org_id uuid, client_id uuid DEFAULT gen_random_uuid(), team_id uuid, assignee_id uuid,
    name enc_text(equality), email text, note text, fee int DEFAULT 1, PRIMARY KEY (org_id, client_id), UNIQUE (org_id, email)
);
SELECT immiiq.protect('client', 'clients', client => 'client_id', team => 'team_id', assignee => 'assignee_id') AS ignored \gset
CREATE TABLE matter (org_id uuid, id uuid DEFAULT gen_random_uuid(), client_id uuid, title text, PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, client_id) REFERENCES client (org_id, client_id));
SELECT immiiq.protect('matter', 'cases', client => 'client_id') AS ignored \gset
CREATE TABLE event (org_id uuid, id uuid DEFAULT gen_random_uuid(), year int, what text, PRIMARY KEY (org_id, id, year)) PARTITION BY LIST (year);
CREATE TABLE event_2025 PARTITION OF event FOR VALUES IN (2025);
CREATE TABLE event_2026 PARTITION OF event FOR VALUES IN (2026);
SELECT immiiq.protect('event', 'cases') AS ignored \gset
-- New clients come to it, and it names nothing but the client; and one whose rows exclude each other.
CREATE TABLE profile (org_id uuid, client_id uuid, line text, PRIMARY KEY (org_id, client_id));
CREATE TABLE room (org_id uuid, id uuid DEFAULT gen_random_uuid(), name text, PRIMARY KEY (org_id, id), EXCLUDE (org_id WITH =, name WITH =));
SELECT immiiq.protect('profile', 'clients', client => 'client_id', new_clients => true), immiiq.protect('room', 'cases') \gset ignored_
-- One whose rows a trigger of the application's gives to whoever a setting names.
CREATE TABLE tagged (org_id uuid, id uuid DEFAULT gen_random_uuid(), tag text, PRIMARY KEY (org_id, id));
SELECT immiiq.protect('tagged', 'cases') AS ignored \gset
CREATE FUNCTION retag() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.org_id := coalesce(nullif(current_setting('app.org_id', true), '')::uuid, NEW.org_id); RETURN NEW; END $$;
CREATE TRIGGER retag BEFORE INSERT OR UPDATE ON tagged FOR EACH ROW EXECUTE FUNCTION retag();
CREATE VIEW client_view WITH (security_invoker) AS SELECT * FROM client;
CREATE FUNCTION find_note(pattern text) RETURNS SETOF text LANGUAGE plpgsql STABLE AS
    $$ BEGIN RETURN QUERY SELECT note FROM client WHERE note LIKE pattern; END $$;
CREATE PROCEDURE commit_between(pattern text) LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
    COMMIT;
    FOR found IN SELECT note FROM client WHERE note LIKE pattern LOOP RAISE NOTICE '%', found; END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON client, matter, event, event_2025, event_2026, profile, room, tagged, client_view TO regress_immiiq_app;

CREATE FUNCTION id_of(prefix text, i int) RETURNS uuid LANGUAGE sql AS
    $$ SELECT (prefix || '-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid $$;
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'CANARY reason') \gset
INSERT INTO client (client_id, name, email, note, fee)
    SELECT id_of('be7aca4a', i), 'CANARY name ' || i, 'canary-' || i || '@beta.example', 'CANARY note ' || i, 0 FROM generate_series(1, 7319) AS i;
INSERT INTO matter (id, client_id, title) SELECT id_of('be7aca4a', i), id_of('be7aca4a', i), 'CANARY matter ' || i FROM generate_series(1, 6367) AS i;
INSERT INTO profile (client_id, line) SELECT id_of('be7aca4a', i), 'CANARY profile ' || i FROM generate_series(1, 100) AS i;
INSERT INTO room (name) VALUES ('Corner room');
INSERT INTO event (id, year, what) SELECT id_of('be7aca4a', i), 2025 + i % 2, 'CANARY event ' || i FROM generate_series(1, 500) AS i;
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'rows of their own') \gset
INSERT INTO client (client_id, team_id, name, email, note)
    SELECT id_of('a1fa1111', i), CASE i % 2 WHEN 0 THEN :'alpha_north'::uuid ELSE :'alpha_south'::uuid END,
        CASE i % 2 WHEN 0 THEN 'open name ' ELSE 'HIDDEN name ' END || i, 'mine-' || i || '@alpha.example',
        CASE i % 2 WHEN 0 THEN 'open note ' ELSE 'HIDDEN note ' END || i FROM generate_series(1, 40) AS i;
INSERT INTO matter (id, client_id, title) SELECT id_of('a1fa1111', i), id_of('a1fa1111', i), 'matter ' || i FROM generate_series(1, 40) AS i;
INSERT INTO event (id, year, what) SELECT id_of('a1fa1111', i), 2026, 'event ' || i FROM generate_series(1, 10) AS i;
COMMIT;
-- What stands behind immiiq's own views, of beta; and a document that beta and alpha each share with a client.
CREATE PROCEDURE share_with_portal(client uuid, bucket text, filename text) LANGUAGE plpgsql AS $$
DECLARE
    store uuid := gen_random_uuid();
    document uuid := gen_random_uuid();
BEGIN
    INSERT INTO immiiq.object_store (object_store_id, name, endpoint, region, bucket)
        VALUES (store, bucket, 'https://s3.eu-west-1.amazonaws.com', 'eu-west-1', bucket);
    INSERT INTO immiiq.document (document_id, client_id, object_store_id, key, filename) VALUES (document, client, store, 'k/' || document, filename);
    PERFORM immiiq.share_document(document, 'the client', portal_client => client);
END $$;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
CALL share_with_portal(id_of('a1fa1111', 2), 'alpha-papers', 'mine.pdf');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
CALL share_with_portal(id_of('be7aca4a', 2), 'beta-papers', 'CANARY.pdf');
SELECT immiiq.set_secret('canary-1', 'CANARY secret') AS ignored \gset
COMMIT;
RESET SESSION AUTHORIZATION;
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'CANARY reason') \gset
SELECT token AS alpha_portal_token, immiiq.token_digest('p', token) AS hash FROM immiiq.new_token('p') AS token \gset
INSERT INTO immiiq.session (org_id, client_id, token_hash, expires_at) VALUES (:'alpha', id_of('a1fa1111', 2), :'hash', now() + interval '8 hours');
UPDATE immiiq.session SET user_agent = 'CANARY agent', impersonated = false WHERE org_id = :'beta';
INSERT INTO immiiq.sign_in_attempt (at, method, verdict, org_id, member_id, session_id, user_agent, country)
    VALUES (now() - interval '1 day', 'link', 'ok', :'beta', :'beta_owner', gen_random_uuid(), 'CANARY agent', 'NL');
INSERT INTO immiiq.journal (at, kind, org_id, action, object, reason, backend_pid)
    SELECT now(), kind, :'beta', 'CANARY action', 'document ' || id_of('be7aca4a', 1), 'CANARY reason', 0 FROM unnest(ARRAY['denial', 'export', 'document']) AS kind;
INSERT INTO immiiq.field_opened (at, org_id, member_id, actor, login_name, type_code, domain, opened, backend_pid)
    VALUES (now(), :'beta', :'beta_owner', 'CANARY actor', 'web', 1, 1, 7319, 0);
COMMIT;
-- Says what it is given, cheaply enough to be asked first: what an attacker would make, were it allowed to.
CREATE FUNCTION tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$;
\i test/attack/fuzz.sql
VACUUM ANALYZE client, matter, event, profile, room;
-- A session of beta's that has expired, and one that was revoked.
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'dead sessions') \gset
SELECT immiiq.issue_session(:'alpha_idle') AS expired_token \gset
UPDATE immiiq.session SET issued_at = now() - interval '20 hours', expires_at = now() - interval '1 hour'
    WHERE member_id = :'alpha_idle' AND issued_at = (SELECT max(issued_at) FROM immiiq.session);
SELECT immiiq.issue_session(:'alpha_idle') AS revoked_token \gset
UPDATE immiiq.session SET revoked_at = now() WHERE token_hash = sha256(convert_to(:'revoked_token', 'UTF8'));
COMMIT;
SELECT v.name || '=' || v.value FROM (VALUES
    ('alpha', :'alpha'), ('beta', :'beta'), ('alpha_owner', :'alpha_owner'), ('alpha_lead', :'alpha_lead'), ('beta_owner', :'beta_owner'),
    ('alpha_north', :'alpha_north'), ('alpha_south', :'alpha_south'), ('beta_team', :'beta_team'),
    ('alpha_owner_token', :'alpha_owner_token'), ('alpha_lead_token', :'alpha_lead_token'), ('alpha_clerk_token', :'alpha_clerk_token'),
    ('alpha_idle_token', :'alpha_idle_token'), ('alpha_portal_token', :'alpha_portal_token'), ('beta_owner_token', :'beta_owner_token'),
    ('force_parallel', (SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query'))),
    ('expired_token', :'expired_token'), ('revoked_token', :'revoked_token'),
    ('canary', id_of('be7aca4a', 1)::text), ('mine', id_of('a1fa1111', 2)::text), ('mine_hidden', id_of('a1fa1111', 1)::text)
) AS v (name, value);
