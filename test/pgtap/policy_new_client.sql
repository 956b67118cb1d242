-- new_clients: a member whose clients are assigned makes one, and has it; nobody claims a client that there is.
\i test/pgtap/setup.psql
SELECT plan(41);

SELECT count(set_config('test.' || name, value, false)) AS ignored FROM (VALUES ('lead', :'alpha_lead'), ('clerk', :'alpha_clerk'), ('alpha', :'alpha'), ('beta', :'beta'),
    ('north', :'alpha_north'), ('one', '00000000-0000-4000-8000-00000000000a'), ('two', '00000000-0000-4000-8000-00000000000b'), ('new', '00000000-0000-4000-8000-00000000000c'),
    ('orphan', '00000000-0000-4000-8000-00000000000e'), ('foreign', '00000000-0000-4000-8000-00000000000d')) AS v (name, value) \gset
CREATE FUNCTION id(name text) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT current_setting('test.' || name)::uuid $$;
CREATE TABLE client (org_id uuid, id uuid DEFAULT gen_random_uuid(), name text, email text, PRIMARY KEY (org_id, id), UNIQUE (org_id, email));
CREATE TABLE profile (org_id uuid, client_id uuid, line text, PRIMARY KEY (org_id, client_id));
CREATE TABLE note (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, client_id uuid, line text);
CREATE TABLE direct (client_id uuid PRIMARY KEY, org_id uuid, assignee_id uuid);
CREATE TABLE part (org_id uuid, client_id uuid, year int, PRIMARY KEY (org_id, client_id, year)) PARTITION BY LIST (year);

SELECT throws_ok($$SELECT immiiq.protect('note', 'cases', new_clients => true)$$, '22023', NULL, 'a table without a client has no new ones');
SELECT throws_ok($$SELECT immiiq.protect('note', 'cases', client => 'client_id', new_clients => true)$$, '22023', NULL, 'nor has one whose key is not the client');
SELECT throws_ok($$SELECT immiiq.protect('part', 'cases', client => 'client_id', new_clients => true)$$, '22023', NULL, 'or not the client alone');
SELECT immiiq.protect('client', 'clients', client => 'id', new_clients => true), immiiq.protect('profile', 'clients', client => 'client_id', new_clients => true),
    immiiq.protect('note', 'cases', client => 'client_id'), immiiq.protect('direct', 'clients', client => 'client_id', assignee => 'assignee_id', new_clients => true) \gset ignored_
GRANT SELECT, INSERT, UPDATE, DELETE ON client, profile, note, direct TO regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO client (id, name, email) VALUES (id('one'), 'One', 'one@example'), (id('two'), 'Two', 'two@example');
INSERT INTO note (client_id, line) VALUES (id('orphan'), 'of a client whose row is elsewhere');
INSERT INTO immiiq.assignment (client_id, member_id) VALUES (id('one'), id('clerk'));
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'test') \gset
INSERT INTO client (id, name) VALUES (id('foreign'), 'Foreign');
COMMIT;
SELECT is((SELECT count(*) FROM immiiq.assignment), 1::bigint, 'an operator''s clients are nobody''s');

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$INSERT INTO client (org_id, name) VALUES (id('alpha'), 'x')$$, '42501', NULL, 'nobody makes a client');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT results_eq('SELECT id FROM client', $$SELECT id('one')$$, 'scope assigned: what is assigned');
SELECT lives_ok($$INSERT INTO client (id, name, email) VALUES (id('new'), 'New', 'new@example') RETURNING id, name$$, 'a new client, with RETURNING');
SELECT is((SELECT count(*) FROM client), 2::bigint, 'it is seen');
SELECT results_eq($$SELECT member_id FROM immiiq.assignment WHERE client_id = id('new')$$, $$SELECT id('clerk')$$, 'because it is assigned to who made it');
SELECT lives_ok($$INSERT INTO note (client_id, line) VALUES (id('new'), 'first')$$, 'what hangs on it may follow');
SELECT lives_ok($$INSERT INTO profile VALUES (immiiq.current_org(), id('new'), 'x')$$, 'in another such table, too');
SELECT lives_ok($$INSERT INTO client (name) SELECT 'Many ' || i FROM generate_series(1, 20) AS i$$, 'many at once');
SELECT is((SELECT count(*) FROM client), 22::bigint, 'are seen');
SELECT lives_ok($$WITH c AS (INSERT INTO client (name) VALUES ('Chain') RETURNING id) SELECT count(*) FROM c$$, 'in a WITH');
-- Claims.
SELECT throws_ok($$INSERT INTO client (id, name) VALUES (id('two'), 'mine now')$$, '42501', 'new row violates row-level security policy for table "client"', 'a colleague''s client');
SELECT throws_ok($$INSERT INTO client (id, name) VALUES (id('two'), 'mine now') ON CONFLICT DO NOTHING$$, '42501', NULL, 'nor with DO NOTHING');
SELECT throws_ok($$INSERT INTO client (id, name) VALUES (id('two'), 'mine now') ON CONFLICT (org_id, id) DO UPDATE SET name = 'x'$$, '42501', NULL, 'nor with DO UPDATE');
SELECT throws_ok($$INSERT INTO client (name, email) VALUES ('x', 'two@example') ON CONFLICT (org_id, email) DO UPDATE SET name = 'x'$$, '42501', NULL, 'nor by another unique key');
SELECT throws_ok($$MERGE INTO client AS c USING (SELECT id('two') AS id) AS s ON c.id = s.id WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, 'x')$$, '42501', NULL, 'nor by MERGE');
SELECT throws_ok($$INSERT INTO profile VALUES (immiiq.current_org(), id('two'), 'x')$$, '42501', NULL, 'a colleague''s client has no row in the other table: it is not new all the same');
SELECT throws_ok($$INSERT INTO client (id, name) VALUES (id('orphan'), 'x')$$, '42501', NULL, 'nor is one that only a note names');
SELECT throws_ok($$INSERT INTO client (org_id, name) VALUES (id('beta'), 'x')$$, '42501', NULL, 'nor in another organisation');
SELECT lives_ok($$INSERT INTO client (id, name) VALUES (id('foreign'), 'mine')$$, 'another organisation''s id is an id like any');
SELECT results_eq($$SELECT name FROM client WHERE id = id('foreign')$$, ARRAY['mine'], 'and shows nothing of the other''s row');
SELECT throws_ok($$UPDATE client SET id = id('two') WHERE id = id('new')$$, '42501', NULL, 'a client does not become another');
INSERT INTO client (id, email) VALUES ('00000000-0000-4000-8000-0000000000f1', 'new@example') ON CONFLICT DO NOTHING;
SELECT is((SELECT count(*) FROM immiiq.assignment WHERE client_id = '00000000-0000-4000-8000-0000000000f1'), 0::bigint, 'a row that conflicts is not assigned');
SELECT throws_ok($$INSERT INTO note (client_id) VALUES ('00000000-0000-4000-8000-0000000000f1')$$, '42501', NULL, 'nor in scope afterwards');
SAVEPOINT a;
INSERT INTO client (id, name) VALUES ('00000000-0000-4000-8000-0000000000f2', 'x');
ROLLBACK TO a;
SELECT throws_ok($$INSERT INTO note (client_id) VALUES ('00000000-0000-4000-8000-0000000000f2')$$, '42501', NULL, 'nor is one that was rolled back');
SELECT lives_ok($$INSERT INTO client (id, name) VALUES (id('one'), 'x') ON CONFLICT (org_id, id) DO UPDATE SET name = 'One, changed'$$, 'one''s own client is changed as before');
SELECT lives_ok($$INSERT INTO direct VALUES (gen_random_uuid(), immiiq.current_org(), id('clerk')) RETURNING client_id$$, 'where an assignee decides, it does');
SELECT lives_ok($$INSERT INTO note (client_id) SELECT client_id FROM direct$$, 'and the client is assigned, too');
SELECT throws_ok($$INSERT INTO direct VALUES (gen_random_uuid(), immiiq.current_org(), id('lead'))$$, '42501', NULL, 'not for a colleague');
SELECT throws_ok($$SELECT immiiq.find_new_client()$$, NULL, NULL, 'the trigger is not called');
COMMIT;
-- What was committed after the snapshot counts, too.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT count(*) AS ignored FROM client \gset
\setenv DATABASE :DBNAME
\setenv ORG :alpha
\! psql -X -q -U postgres -d "$DATABASE" -c "BEGIN; SELECT FROM immiiq.operate('$ORG', 'test'); INSERT INTO note (client_id) VALUES ('00000000-0000-4000-8000-0000000000f3'); COMMIT" > /dev/null
SELECT throws_ok($$INSERT INTO client (id, name) VALUES ('00000000-0000-4000-8000-0000000000f3', 'x')$$, '42501', NULL, 'a client that a colleague has made meanwhile is not new in an old snapshot');
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT lives_ok($$INSERT INTO client (name) VALUES ('The team''s') RETURNING id$$, 'scope team: likewise');
SELECT results_eq('SELECT name FROM client', ARRAY['The team''s'], 'and only that');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT lives_ok($$INSERT INTO client (id, name) VALUES ('00000000-0000-4000-8000-0000000000f4', 'The owner''s')$$, 'scope all: as before');
SELECT is((SELECT count(*) FROM immiiq.assignment WHERE client_id = '00000000-0000-4000-8000-0000000000f4'), 0::bigint, 'assigned to nobody');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM immiiq.denial WHERE member_id = id('clerk') AND sqlstate = '42501' AND action IN ('insert', 'merge', 'update')) > 8, true, 'every claim is on record');
SELECT immiiq.unprotect('profile') AS ignored \gset
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = 'profile'::regclass AND NOT tgisinternal), 0::bigint, 'unprotect takes the triggers away');
SELECT throws_ok($$CREATE TRIGGER t BEFORE INSERT ON profile FOR EACH ROW EXECUTE FUNCTION immiiq.find_new_client(); INSERT INTO profile VALUES (id('alpha'), id('one'))$$, '42P16', NULL, 'and they are of no use elsewhere');
SELECT * FROM finish();
