-- verify_access, reassign, operate_all, and the portal.
\i test/pgtap/setup.psql
SELECT plan(68);

SELECT count(set_config('test.' || name, value, false)) AS ignored FROM (VALUES ('owner', :'alpha_owner'), ('idle', :'alpha_idle'), ('lead', :'alpha_lead'), ('clerk', :'alpha_clerk'),
    ('north', :'alpha_north'), ('south', :'alpha_south'), ('alpha', :'alpha'), ('beta', :'beta'), ('beta_owner', :'beta_owner'), ('beta_team', :'beta_team'),
    ('one', '00000000-0000-4000-8000-00000000000a'), ('two', '00000000-0000-4000-8000-00000000000b'), ('three', '00000000-0000-4000-8000-00000000000c'),
    ('foreign', '00000000-0000-4000-8000-00000000000d'), ('absent', '00000000-0000-4000-8000-0000000000ff')) AS v (name, value) \gset
CREATE FUNCTION id(name text) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT current_setting('test.' || name)::uuid $$;
CREATE TABLE client (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, team_id uuid, assignee_id uuid, name text);
CREATE TABLE matter (org_id uuid, id bigint, client_id uuid, title text, PRIMARY KEY (org_id, id));
CREATE TABLE tag (org_id uuid, name text, PRIMARY KEY (org_id, name));
CREATE TABLE pair (org_id uuid, a int, b int, PRIMARY KEY (org_id, a, b));
CREATE TABLE bare (id int PRIMARY KEY, org_id uuid);
CREATE TABLE task (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, client_id uuid, assignee_id uuid);
CREATE TABLE letter (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, client_id uuid, line text);
SELECT immiiq.protect('client', 'clients', client => 'id', team => 'team_id', assignee => 'assignee_id'), immiiq.protect('matter', 'cases', client => 'client_id'),
    immiiq.protect('task', NULL, client => 'client_id', assignee => 'assignee_id', permissions => '{"update": "tasks.update"}'), immiiq.protect('tag', NULL), immiiq.protect('pair', NULL), immiiq.protect('letter', 'communications', client => 'client_id', portal => true, permissions => '{"read": "letters.read"}') \gset ignored_
GRANT SELECT, INSERT, UPDATE, DELETE ON client, matter, tag, pair, bare, letter TO regress_immiiq_app;
INSERT INTO client (id, org_id, team_id, assignee_id, name) VALUES (id('one'), id('alpha'), id('north'), id('lead'), 'x'), (id('two'), id('alpha'), id('south'), id('clerk'), 'x'),
    (id('three'), id('alpha'), NULL, NULL, 'x'), (id('foreign'), id('beta'), id('beta_team'), id('beta_owner'), 'x');
INSERT INTO matter VALUES (id('alpha'), 1, id('one'), 'x'), (id('alpha'), 2, id('two'), 'x'), (id('beta'), 3, id('foreign'), 'x');
INSERT INTO task (org_id, client_id, assignee_id) VALUES (id('alpha'), id('two'), id('clerk'));
INSERT INTO tag VALUES (id('alpha'), 'x'), (id('beta'), 'y');
INSERT INTO letter (org_id, client_id, line) VALUES (id('alpha'), id('one'), 'x'), (id('alpha'), id('two'), 'x'), (id('beta'), id('foreign'), 'x');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO immiiq.assignment (client_id, member_id, team_id) VALUES (id('one'), NULL, id('north')), (id('two'), id('clerk'), NULL), (id('two'), id('idle'), NULL);
COMMIT;

-- ---- verify_access ----

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$SELECT immiiq.verify_access('client', id('one'))$$, 'IQ011', NULL, 'nobody is told nothing');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT ok(immiiq.verify_access('client', id('two')), 'a row that is seen');
SELECT ok(immiiq.verify_access('client', '00000000-0000-4000-8000-00000000000b'), 'its id as a literal');
SELECT ok(immiiq.verify_access('matter', 2) AND immiiq.verify_access('matter', 2::bigint) AND immiiq.verify_access('matter', '2'), 'a bigint key, however it is given');
SELECT ok(immiiq.verify_access('tag', 'x'), 'a text key');
SELECT is(immiiq.verify_access('client', id('one')), false, 'a row outside the scope');
SELECT is(immiiq.verify_access('client', id('foreign')), false, 'another organisation''s row');
SELECT is(immiiq.verify_access('client', id('absent')), false, 'no row');
SELECT is(immiiq.verify_access('client', NULL::uuid), false, 'NULL is no row, not NULL');
SELECT is(immiiq.verify_access('matter', 1), false, 'a bigint key outside the scope');
SELECT is(immiiq.verify_access('matter', 3), false, 'a bigint key of another organisation');
SELECT is(immiiq.verify_access('tag', 'y'), false, 'a text key of another organisation');
SELECT throws_ok($$SELECT immiiq.verify_access('client', 'no uuid')$$, '22P02', NULL, 'what is no id is an error');
SELECT throws_ok($$SELECT immiiq.verify_access('pair', 1)$$, '0A000', NULL, 'a key of two columns cannot be asked for');
SELECT throws_ok($$SELECT immiiq.verify_access('bare', 1)$$, '22023', NULL, 'nor a table that is not protected');
SELECT throws_ok($$SELECT immiiq.verify_access('client', ARRAY[1])$$, '42804', NULL, 'nor an id of another kind');
SELECT throws_ok($$SELECT immiiq.verify_access('immiiq.session', id('absent'))$$, '42501', NULL, 'nor a table that one may not read');
SELECT throws_ok($$SELECT immiiq.verify_access('immiiq.denial', id('absent'))$$, NULL, NULL, 'nor a view');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT results_eq($$SELECT object, reason FROM immiiq.journal WHERE action = 'verify_access' AND member_id = id('clerk') ORDER BY journal_id$$,
    format($$VALUES ('client %s', 'outside the data scope'), ('client %s', 'another organisation''s row'), ('client %s', 'no such row'), ('matter', 'outside the data scope'), ('matter', 'no such row'), ('tag', 'no such row')$$,
        id('one'), id('foreign'), id('absent')), 'each is on record with its reason, although the transaction rolled back');
-- The time that a foreign and an absent row take, in turn: their medians differ by less than the quartiles of one do.
CREATE TABLE took (kind text, ms float8);
GRANT INSERT ON took TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
\o /dev/null
SELECT format('BEGIN; SELECT set_config(''immiiq.token'', %L, true); INSERT INTO took SELECT kind, extract(epoch FROM after - before) * 1000
    FROM (VALUES (''foreign'', id(''foreign'')), (''absent'', gen_random_uuid())) AS v (kind, id), LATERAL (SELECT clock_timestamp() AS before, CASE WHEN NOT immiiq.verify_access(''client'', v.id) THEN clock_timestamp() END AS after) AS t; COMMIT', :'alpha_owner_token')
FROM generate_series(1, 60) \gexec
\o
RESET SESSION AUTHORIZATION;
SELECT ok((SELECT abs(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE kind = 'foreign') - percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE kind = 'absent'))
    <= 2 * (percentile_cont(0.75) WITHIN GROUP (ORDER BY ms) - percentile_cont(0.25) WITHIN GROUP (ORDER BY ms)) FROM took), 'a foreign and an absent row take the same time');

-- ---- reassign ----

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$SELECT immiiq.reassign(id('two'), member => id('lead'))$$, 'IQ011', NULL, 'nobody hands over');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT throws_ok($$SELECT immiiq.reassign(id('two'), member => id('lead'))$$, '42501', 'permission reassign is missing', 'nor who has not the permission');
ROLLBACK;
RESET SESSION AUTHORIZATION;
UPDATE immiiq.member SET permissions = '{reassign}' WHERE member_id IN (id('clerk'), id('lead'));
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT throws_ok($$SELECT immiiq.reassign(id('one'), member => id('clerk'))$$, '42501', 'nothing of this client is yours to hand over', 'a client outside the scope');
SELECT throws_ok($$SELECT immiiq.reassign(id('foreign'), member => id('clerk'))$$, '42501', 'nothing of this client is yours to hand over', 'another organisation''s');
SELECT throws_ok($$SELECT immiiq.reassign(id('absent'), member => id('clerk'))$$, '42501', 'nothing of this client is yours to hand over', 'and one that is not there: the same words');
SELECT throws_ok($$SELECT immiiq.reassign(id('two'), member => id('beta_owner'))$$, '22023', 'no such active member or team', 'to nobody of another organisation');
SELECT throws_ok($$SELECT immiiq.reassign(id('two'), team => id('beta_team'))$$, '22023', 'no such active member or team', 'nor to its teams');
SELECT throws_ok($$SELECT immiiq.reassign(id('two'), id('lead'), id('north'))$$, '22023', NULL, 'nor to two');
SELECT throws_ok($$SELECT immiiq.reassign(id('two'))$$, '22023', NULL, 'nor to none');
SELECT throws_ok($$UPDATE client SET assignee_id = id('lead') WHERE id = id('two')$$, '42501', NULL, 'by UPDATE the client is not handed over');
SELECT is(immiiq.reassign(id('two'), member => id('lead')), 2::bigint, 'by reassign it is: the client''s row and the assignment');
SELECT results_eq('SELECT (SELECT count(*) FROM client) + (SELECT count(*) FROM matter)', ARRAY[0::bigint], 'and who did it sees it no longer');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT throws_ok($$SELECT immiiq.reassign(id('two'), member => id('clerk'))$$, '42501', NULL, 'nor takes it back');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT results_eq($$SELECT member_id FROM immiiq.assignment WHERE client_id = id('two') ORDER BY member_id$$, $$SELECT unnest(ARRAY[id('lead'), id('idle')])$$, 'a colleague''s assignment stays');
SELECT is((SELECT assignee_id FROM client WHERE id = id('two')), id('lead'), 'the row is the other''s');
SELECT is((SELECT assignee_id FROM task), id('clerk'), 'what one has no permission to update stays');
BEGIN;
UPDATE immiiq.member SET permissions = '{reassign,tasks.update}' WHERE member_id = id('clerk');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT is(immiiq.reassign(id('two'), member => id('lead')), 1::bigint, 'and goes over with it');
COMMIT;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT is(immiiq.reassign(id('one'), team => id('south')), 2::bigint, 'a team''s client goes to another team');
SELECT is(immiiq.verify_access('client', id('one')), false, 'out of sight');
SELECT immiiq.act_as_assistant('test') AS ignored \gset
SELECT throws_ok($$SELECT immiiq.reassign(id('two'), member => id('clerk'))$$, '42501', NULL, 'the assistant hands nothing over');
ROLLBACK;
RESET SESSION AUTHORIZATION;

-- ---- operate_all ----

SELECT 'CREATE ROLE regress_immiiq_owner LOGIN' WHERE to_regrole('regress_immiiq_owner') IS NULL \gexec
SELECT immiiq.grant_owner('regress_immiiq_owner') AS ignored \gset
ALTER TABLE client OWNER TO regress_immiiq_owner;
GRANT REFERENCES ON immiiq.org TO regress_immiiq_owner;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$SELECT immiiq.operate_all('test')$$, '42501', NULL, 'the application does not operate');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok($$SELECT immiiq.operate_all('test')$$, '42501', NULL, 'nor do operators on every organisation');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_owner;
WITH u AS (UPDATE client SET name = 'y' RETURNING 1) SELECT is(count(*), 0::bigint, 'forced row security: an owner''s migration changes nothing') FROM u;
BEGIN;
SELECT throws_ok($$SELECT immiiq.operate_all('  ')$$, '22023', NULL, 'there is a reason');
SELECT ok((i).org_id IS NULL AND (i).actor = 'operator', 'an operator of no organisation') FROM (SELECT immiiq.operate_all('fill in names') AS i) AS t;
SELECT is(immiiq.current_org(), NULL, 'there is no current organisation');
WITH u AS (UPDATE client SET name = 'y' RETURNING 1) SELECT is(count(*), 4::bigint, 'with operate_all it changes all') FROM u;
SELECT results_eq('SELECT count(*) FROM client WHERE immiiq.visible(lower(''CLIENTS''), ''select'', org_id, id, team_id, assignee_id, NULL)', ARRAY[4::bigint], 'row by row, too');
SELECT throws_ok($$INSERT INTO client (name) VALUES ('of nobody')$$, '23502', NULL, 'a row of no organisation is refused');
SELECT throws_ok($$INSERT INTO client (org_id, name) VALUES (id('absent'), 'of nobody')$$, 'IQ003', NULL, 'and one of an organisation that there is not');
SELECT throws_ok($$UPDATE client SET org_id = id('alpha'), team_id = NULL, assignee_id = NULL$$, '42501', NULL, 'and none moves');
SELECT throws_ok($$SELECT immiiq.operate(id('alpha'), 'test')$$, '42501', NULL, 'an owner is no operator of one');
COMMIT;
SELECT is((SELECT count(*) FROM client), 0::bigint, 'afterwards nothing is seen again');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM immiiq.journal WHERE kind = 'operate' AND action = 'operate_all' AND reason = 'fill in names' AND org_id IS NULL AND login_name IS NOT NULL), 1::bigint, 'it is on record, with the reason');

-- ---- a bulk load, as docs/policy.md writes it ----

CREATE UNLOGGED TABLE staging (line bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, client_id uuid, title text);
\copy staging (client_id, title) FROM PROGRAM 'for i in 1 2 3 4 5; do echo 00000000-0000-4000-8000-00000000000a,Title $i; done' (FORMAT csv)
ALTER TABLE matter ALTER COLUMN id SET DEFAULT floor(random() * 1e15)::bigint;
GRANT SELECT, DELETE ON staging TO regress_immiiq_operator;
GRANT SELECT, INSERT ON matter TO regress_immiiq_operator;
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok('COPY matter FROM STDIN', '0A000', NULL, 'COPY does not go into a protected table');
\o /dev/null
SELECT 'BEGIN', format('SELECT immiiq.operate(%L, ''import'')', id('alpha')),
    'WITH batch AS (DELETE FROM staging WHERE line IN (SELECT line FROM staging ORDER BY line LIMIT 2) RETURNING *) INSERT INTO matter (client_id, title) SELECT client_id, title FROM batch', 'COMMIT'
FROM generate_series(1, 3) \gexec
\o
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM matter WHERE org_id = id('alpha') AND title LIKE 'Title %'), 5::bigint, 'batches come through the policies, each in a transaction of its own');
SELECT is((SELECT count(*) FROM staging), 0::bigint, 'and staging says how far it is');

-- ---- the portal ----

-- A session of a client in the portal, made of a member's: the portal's own sign-in is tested with identity.
UPDATE immiiq.session SET member_id = NULL, client_id = id('one')
WHERE member_id = id('idle');
SET SESSION AUTHORIZATION regress_immiiq_app;
PREPARE letters AS SELECT count(*) FROM letter;
SET plan_cache_mode = force_generic_plan;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_idle_token', true) AS ignored \gset
SELECT is(immiiq.current_actor() || coalesce(immiiq.current_member()::text, ''), 'portal', 'a client in the portal is no member');
SELECT results_eq('letters', ARRAY[1::bigint], 'sees their own rows of what is open to the portal');
SELECT results_eq('SELECT count(*) FROM letter WHERE immiiq.visible(lower(''CASES''), ''select portal'', org_id, client_id, NULL, NULL, NULL)', ARRAY[1::bigint], 'row by row, too');
SELECT results_eq('SELECT (SELECT count(*) FROM client) + (SELECT count(*) FROM matter) + (SELECT count(*) FROM tag) + (SELECT count(*) FROM immiiq.member) + (SELECT count(*) FROM immiiq.org) + (SELECT count(*) FROM immiiq.assignment)',
    ARRAY[0::bigint], 'and nothing else, of the directory neither');
SELECT throws_ok($$INSERT INTO letter (client_id, line) VALUES (id('one'), 'y')$$, '42501', NULL, 'nothing is written through the portal');
SELECT results_eq($$WITH u AS (UPDATE letter SET line = 'y' RETURNING 1), d AS (DELETE FROM letter RETURNING 1) SELECT (SELECT count(*) FROM u) + (SELECT count(*) FROM d)$$, ARRAY[0::bigint], 'nor changed');
SELECT ok(NOT immiiq.has_permission('letters.read') AND NOT immiiq.may_give('assigned', '{}', '{}'), 'the portal has no permission and gives none');
SELECT throws_ok($$SELECT immiiq.act_as_assistant('test')$$, '42501', NULL, 'there is no assistant');
SELECT throws_ok($$SELECT immiiq.reassign(id('one'), member => id('lead'))$$, '42501', NULL, 'and nothing to hand over');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT results_eq('letters', ARRAY[0::bigint], 'staff needs the permission that the table asks for');
SELECT throws_ok($$SELECT immiiq.portal_client_if('portal')$$, 'IQ020', NULL, 'a plan of the portal raises for staff');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
