-- Organisations, members, teams, roles, assignments: who reads and writes them, and what nobody can give away.
\i test/pgtap/setup.psql
SELECT plan(74);

-- Members of Alpha who manage, with less than the owner: scope all and three modules.
\set alpha_manager 'a1fa0000-0000-4000-8000-000000000005'
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules)
VALUES (:'alpha', :'alpha_manager', 'manager@alpha.example', 'Alpha Manager', 'all', '{clients,cases,team_management}');
SELECT immiiq.issue_session(:'alpha_manager') AS alpha_manager_token \gset
COMMIT;
SELECT set_config('test.alpha', :'alpha', false), set_config('test.beta', :'beta', false), set_config('test.owner', :'alpha_owner', false),
    set_config('test.idle', :'alpha_idle', false), set_config('test.lead', :'alpha_lead', false), set_config('test.clerk', :'alpha_clerk', false),
    set_config('test.manager', :'alpha_manager', false), set_config('test.north', :'alpha_north', false), set_config('test.south', :'alpha_south', false),
    set_config('test.beta_owner', :'beta_owner', false), set_config('test.beta_team', :'beta_team', false) \gset ignored_
CREATE FUNCTION id(name text) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT current_setting('test.' || name)::uuid $$;

-- ---- reading ----

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT results_eq('SELECT (SELECT count(*) FROM immiiq.org) + (SELECT count(*) FROM immiiq.member) + (SELECT count(*) FROM immiiq.team)
    + (SELECT count(*) FROM immiiq.team_member) + (SELECT count(*) FROM immiiq.role_template) + (SELECT count(*) FROM immiiq.assignment)',
    ARRAY[0::bigint], 'nobody reads nothing');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_idle_token', true) AS ignored \gset
SELECT results_eq('SELECT name FROM immiiq.org', ARRAY['Alpha'], 'a member reads the own organisation only');
SELECT results_eq('SELECT count(*) FROM immiiq.member', ARRAY[5::bigint], 'every member reads all colleagues');
SELECT results_eq('SELECT count(*) FROM immiiq.team', ARRAY[2::bigint], 'and all teams');
SELECT results_eq('SELECT count(*) FROM immiiq.team_member', ARRAY[1::bigint], 'and who is in them');
-- Without team_management nothing is written.
SELECT results_eq($$WITH u AS (UPDATE immiiq.member SET name = 'x' RETURNING 1) SELECT count(*) FROM u$$, ARRAY[0::bigint], 'without team_management no member is changed');
SELECT results_eq($$WITH u AS (UPDATE immiiq.member SET modules = '{clients}' WHERE member_id = id('idle') RETURNING 1) SELECT count(*) FROM u$$, ARRAY[0::bigint], 'not even oneself');
SELECT results_eq($$WITH u AS (UPDATE immiiq.org SET name = 'x' RETURNING 1) SELECT count(*) FROM u$$, ARRAY[0::bigint], 'nor the organisation');
SELECT results_eq($$WITH d AS (DELETE FROM immiiq.team_member RETURNING 1) SELECT count(*) FROM d$$, ARRAY[0::bigint], 'nor who is in a team');
SELECT throws_ok($$INSERT INTO immiiq.member (email, name) VALUES ('x@alpha.example', 'x')$$, '42501', NULL, 'nor is one added');
SELECT throws_ok($$INSERT INTO immiiq.team (name) VALUES ('x')$$, '42501', NULL, 'nor a team');
SELECT throws_ok($$INSERT INTO immiiq.role_template (name, scope) VALUES ('x', 'assigned')$$, '42501', NULL, 'nor a role');
SELECT throws_ok($$INSERT INTO immiiq.assignment (client_id, member_id) VALUES (gen_random_uuid(), id('idle'))$$, '42501', NULL, 'nor an assignment');
SELECT throws_ok($$SELECT immiiq.apply_role('x', ARRAY[id('idle')])$$, '42704', NULL, 'an unknown role cannot be applied');
ROLLBACK;

-- ---- writing, with team_management ----

BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT lives_ok($$UPDATE immiiq.org SET name = 'Alpha & Co'$$, 'the organisation is renamed');
SELECT lives_ok($$INSERT INTO immiiq.team (name) VALUES ('East')$$, 'a team is made');
SELECT lives_ok($$INSERT INTO immiiq.member (email, name, scope, modules) VALUES ('new@alpha.example', 'New', 'all', '{clients,team_management}')$$, 'a member is made');
SELECT throws_ok($$INSERT INTO immiiq.member (email, name) VALUES ('NEW@alpha.example', 'Again')$$, '23505', NULL, 'e-mail is unique within the organisation, whatever the case');
SELECT lives_ok($$INSERT INTO immiiq.member (email, name) VALUES ('owner@beta.example', 'Two memberships')$$, 'and free in another one');
SELECT throws_ok($$INSERT INTO immiiq.member (org_id, email, name) VALUES (id('beta'), 'x@beta.example', 'x')$$, '42501', NULL, 'no member is made in another organisation');
SELECT throws_ok($$UPDATE immiiq.member SET org_id = id('beta') WHERE member_id = id('idle')$$, '42501', NULL, 'no member moves to another organisation');
SELECT throws_ok($$INSERT INTO immiiq.team_member (team_id, member_id) VALUES (id('beta_team'), id('idle'))$$, '23503', NULL, 'no member comes into another organisation''s team');
SELECT throws_ok($$INSERT INTO immiiq.team_member (team_id, member_id) VALUES (id('north'), id('beta_owner'))$$, '23503', NULL, 'no other organisation''s member comes into a team');
SELECT throws_ok('DELETE FROM immiiq.org', '42501', NULL, 'no organisation is deleted by SQL');
SELECT throws_ok($$INSERT INTO immiiq.org (name) VALUES ('Gamma')$$, '42501', NULL, 'nor made');
SELECT throws_ok($$SELECT immiiq.create_org('Gamma')$$, '42501', NULL, 'nor made by a member through create_org');
SELECT throws_ok($$SELECT immiiq.create_org_keys(id('alpha'))$$, '42501', NULL, 'nor its keys');
ROLLBACK;

-- ---- nobody gives more than they have ----

BEGIN;
SELECT set_config('immiiq.token', :'alpha_manager_token', true) AS ignored \gset
SELECT lives_ok($$INSERT INTO immiiq.member (email, name, scope, modules) VALUES ('less@alpha.example', 'Less', 'all', '{clients}')$$, 'a manager gives what they have');
SELECT throws_ok($$INSERT INTO immiiq.member (email, name, scope, modules) VALUES ('more@alpha.example', 'More', 'all', '{invoices}')$$, '42501',
    'cannot give more rights than the active member has', 'and no module that they have not');
SELECT throws_ok($$UPDATE immiiq.member SET modules = modules || '{invoices}' WHERE member_id = id('manager')$$, '42501', NULL, 'not to themselves');
SELECT throws_ok($$UPDATE immiiq.member SET modules = '{invoices}' WHERE member_id = id('idle')$$, '42501', NULL, 'not to a colleague');
SELECT throws_ok($$UPDATE immiiq.member SET email = 'manager2@alpha.example' WHERE member_id = id('owner')$$, '42501',
    'cannot change what has more rights than the active member', 'who has more is not changed: not even the e-mail address');
SELECT throws_ok($$DELETE FROM immiiq.member WHERE member_id = id('owner')$$, '42501', NULL, 'nor deleted');
SELECT throws_ok($$UPDATE immiiq.member SET member_id = id('owner') WHERE member_id = id('idle')$$, '23505', NULL, 'nor replaced');
SELECT throws_ok($$INSERT INTO immiiq.role_template (name, scope, modules) VALUES ('Finance', 'all', '{invoices}')$$, '42501', NULL, 'a role holds no more than its maker has');
SELECT lives_ok($$INSERT INTO immiiq.role_template (name, scope, modules) VALUES ('Service', 'team', '{clients,cases}')$$, 'a role with less is made');
SELECT is(immiiq.apply_role('Service', ARRAY[id('idle'), id('idle'), id('beta_owner'), gen_random_uuid()]), 1, 'it is applied to the organisation''s members only');
SELECT results_eq($$SELECT scope || ' ' || modules::text FROM immiiq.member WHERE member_id = id('idle')$$, ARRAY['team {clients,cases}'], 'and they have it');
SELECT throws_ok($$SELECT immiiq.apply_role('Service', ARRAY[id('idle'), id('owner')])$$, '42501', NULL, 'not to who has more');
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT throws_ok($$UPDATE immiiq.member SET scope = 'all' WHERE member_id = id('lead')$$, '42501', NULL, 'scope team does not become all by itself');
SELECT throws_ok($$UPDATE immiiq.member SET email = 'lead2@alpha.example' WHERE member_id = id('clerk')$$, '42501',
    'scope all is needed to change other members', 'scope team takes over nobody whose clients it may not see');
SELECT throws_ok($$DELETE FROM immiiq.member WHERE member_id = id('clerk')$$, '42501', NULL, 'nor deletes them');
SELECT lives_ok($$UPDATE immiiq.member SET name = 'Alpha Leader' WHERE member_id = id('lead')$$, 'scope team changes its own name');
SELECT lives_ok($$INSERT INTO immiiq.member (email, name, scope, modules) VALUES ('under@alpha.example', 'Under', 'team', '{clients}')$$, 'scope team makes a member with no more than its own');
SELECT throws_ok($$INSERT INTO immiiq.member (email, name, scope, modules) VALUES ('over@alpha.example', 'Over', 'all', '{clients}')$$, '42501', NULL, 'and none with scope all');
SELECT throws_ok($$INSERT INTO immiiq.team_member (team_id, member_id) VALUES (id('south'), id('lead'))$$, '42501', NULL, 'scope team fills no other team');
SELECT lives_ok($$INSERT INTO immiiq.team_member (team_id, member_id) VALUES (id('north'), id('clerk'))$$, 'but its own');
SELECT throws_ok($$INSERT INTO immiiq.team (name) VALUES ('West')$$, '42501', NULL, 'scope team makes no team');
SELECT results_eq($$WITH u AS (UPDATE immiiq.team SET name = name || '!' RETURNING name) SELECT name FROM u$$, ARRAY['North!'], 'and renames its own only');
SELECT results_eq($$WITH d AS (DELETE FROM immiiq.team WHERE team_id = id('south') RETURNING 1) SELECT count(*) FROM d$$, ARRAY[0::bigint], 'and deletes no other');
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT throws_ok($$INSERT INTO immiiq.team_member (team_id, member_id) VALUES (id('north'), id('clerk'))$$, '42501', NULL, 'scope assigned fills none');
SELECT throws_ok($$INSERT INTO immiiq.assignment (client_id, member_id) VALUES (gen_random_uuid(), id('clerk'))$$, '42501', NULL, 'scope assigned assigns itself no client');
ROLLBACK;
RESET SESSION AUTHORIZATION;

-- ---- assignments show to whose scope they belong ----

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO immiiq.assignment (client_id, member_id, team_id) VALUES
    ('00000000-0000-4000-8000-000000000001', :'alpha_clerk', NULL), ('00000000-0000-4000-8000-000000000001', :'alpha_owner', NULL),
    ('00000000-0000-4000-8000-000000000002', NULL, :'alpha_north'), ('00000000-0000-4000-8000-000000000003', NULL, :'alpha_south');
SELECT throws_ok($$INSERT INTO immiiq.member (email, name, modules) VALUES ('y@alpha.example', 'y', '{everything}')$$, '23514', NULL, 'a module that there is not is refused');
SELECT throws_ok($$INSERT INTO immiiq.member (email, name, scope) VALUES ('y@alpha.example', 'y', 'wide')$$, '23514', NULL, 'a scope that there is not is refused');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT results_eq('SELECT count(*) FROM immiiq.assignment', ARRAY[4::bigint], 'scope all reads every assignment');
SELECT throws_ok($$INSERT INTO immiiq.assignment (client_id) VALUES (gen_random_uuid())$$, '23514', NULL, 'an assignment is to somebody');
SELECT throws_ok($$INSERT INTO immiiq.assignment (client_id, member_id, team_id) VALUES (gen_random_uuid(), id('clerk'), id('north'))$$, '23514', NULL, 'to a member or a team, not both');
SELECT throws_ok($$INSERT INTO immiiq.assignment (client_id, member_id) VALUES ('00000000-0000-4000-8000-000000000001', id('clerk'))$$, '23505', NULL, 'and once');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT results_eq('SELECT count(*) FROM immiiq.assignment', ARRAY[2::bigint], 'scope assigned reads those of its clients');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT results_eq('SELECT count(*) FROM immiiq.assignment', ARRAY[1::bigint], 'scope team likewise');
COMMIT;
RESET SESSION AUTHORIZATION;

-- ---- roles of the server ----

CREATE TEMP TABLE given AS SELECT grantee, privilege_type, table_name FROM information_schema.role_table_grants WHERE table_schema = 'immiiq' AND grantee = 'regress_immiiq_app';
SELECT is_empty($$SELECT * FROM given WHERE table_name IN ('session', 'wrapped_key', 'privilege', 'role_grant', 'protection', 'column_domain')$$, 'the application has no privilege on what is not its own');
SELECT throws_ok($$SELECT immiiq.grant_application('postgres'::regrole)$$, 'IQ013', NULL, 'a superuser cannot be the application')
WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = 'postgres' AND rolsuper)
UNION ALL SELECT pass('a superuser cannot be the application') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'postgres' AND rolsuper);
CREATE TABLE owned (id int PRIMARY KEY, org_id uuid);
SELECT immiiq.protect('owned', NULL) AS ignored \gset
BEGIN;
CREATE ROLE regress_immiiq_policy_owner;
ALTER TABLE owned OWNER TO regress_immiiq_policy_owner;
SELECT throws_ok($$SELECT immiiq.grant_application('regress_immiiq_policy_owner')$$, 'IQ013', NULL, 'an owner of protected tables cannot be the application');
CREATE ROLE regress_immiiq_policy_heir IN ROLE regress_immiiq_policy_owner;
SELECT throws_ok($$SELECT immiiq.grant_application('regress_immiiq_policy_heir')$$, 'IQ013', NULL, 'nor a member of its owner');
CREATE ROLE regress_immiiq_policy_bypass BYPASSRLS;
SELECT throws_ok($$SELECT immiiq.grant_application('regress_immiiq_policy_bypass')$$, 'IQ013', NULL, 'nor a role that bypasses row security');
-- An owner that is no superuser protects what it owns.
SELECT immiiq.grant_owner('regress_immiiq_policy_owner') AS ignored \gset
GRANT CREATE ON SCHEMA public TO regress_immiiq_policy_owner;
SET LOCAL ROLE regress_immiiq_policy_owner;
CREATE TABLE mine (id uuid PRIMARY KEY, org_id uuid, team_id uuid, boss uuid);
SELECT lives_ok($$SELECT immiiq.protect('mine', 'clients', team => 'team_id', assignee => 'boss')$$, 'an owner protects a table');
SELECT throws_ok($$SELECT immiiq.protect('public.id_of_another', 'clients')$$, '42P01', NULL, 'not one that is not there');
SELECT is((SELECT count(*) FROM immiiq.protection), 2::bigint, 'and sees the records of its own tables');
SELECT lives_ok($$SELECT immiiq.unprotect('mine')$$, 'and unprotects it');
ROLLBACK;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$SELECT immiiq.grant_kind('operator', 'regress_immiiq_app')$$, '42501', NULL, 'the application grants itself nothing');
SELECT throws_ok($$SELECT immiiq.grant_operator('regress_immiiq_app')$$, '42501', NULL, 'by no name');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok($$SELECT immiiq.create_org('Alpha again', id('alpha'))$$, NULL, NULL, 'an organisation is made once');
SELECT lives_ok($$SELECT immiiq.create_org('Gamma')$$, 'an operator makes one');
SELECT results_eq('SELECT count(*) FROM immiiq.org', ARRAY[0::bigint], 'and reads none without operate()');
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
