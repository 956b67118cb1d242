-- Roles that follow, teams' default roles, permission groups, plans: who gets which rights, and what nobody can give.
\i test/pgtap/setup.psql
SELECT plan(60);

SELECT count(set_config('test.' || name, value, false)) AS ignored FROM (VALUES ('owner', :'alpha_owner'), ('idle', :'alpha_idle'), ('lead', :'alpha_lead'), ('clerk', :'alpha_clerk'),
    ('north', :'alpha_north'), ('south', :'alpha_south'), ('beta_owner', :'beta_owner'), ('alpha', :'alpha'), ('beta', :'beta')) AS v (name, value) \gset
CREATE FUNCTION id(name text) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT current_setting('test.' || name)::uuid $$;
-- Everything that a member has, by themselves and added.
CREATE FUNCTION rights(who uuid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat_ws(' ', scope, modules, permissions, '+', added_scope, added_modules, added_permissions) FROM immiiq.member WHERE member_id = who
$$;
CREATE FUNCTION role_id(role text) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT role_template_id FROM immiiq.role_template WHERE name = role $$;
-- The owner may give everything from here on; a manager has scope all, team_management and one permission.
\set alpha_manager 'a1fa0000-0000-4000-8000-000000000005'
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE immiiq.member SET permissions = '{*}' WHERE member_id = :'alpha_owner';
INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules, permissions)
VALUES (:'alpha', :'alpha_manager', 'manager@alpha.example', 'Alpha Manager', 'all', '{clients,team_management}', '{clients.export}');
SELECT immiiq.issue_session(:'alpha_manager') AS alpha_manager_token \gset
COMMIT;
SELECT set_config('test.manager', :'alpha_manager', false) AS ignored \gset

-- ---- has_permission, require_permission ----

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT ok(NOT immiiq.has_permission('clients.export'), 'nobody has a permission');
SELECT throws_ok($$SELECT immiiq.require_permission('clients.export')$$, 'IQ011', NULL, 'and nobody is asked for one');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_manager_token', true) AS ignored \gset
SELECT ok(immiiq.has_permission('clients.export'), 'a member has what stands in their row');
SELECT lives_ok($$SELECT immiiq.require_permission('clients.export')$$, 'and may go on');
SELECT ok(NOT immiiq.has_permission('clients.delete') AND NOT immiiq.has_permission('*') AND NOT immiiq.has_permission(''), 'and nothing else');
SELECT ok(NOT immiiq.has_permission(repeat('x', 100000)), 'whatever its length');
SELECT throws_ok($$SELECT immiiq.require_permission('clients.delete')$$, '42501', 'a permission is missing', 'a missing permission is an error');
SELECT throws_ok($$SELECT immiiq.require_permission('Clients; DROP')$$, '22023', NULL, 'what is no name is another');
SELECT throws_ok($$SELECT immiiq.require_permission('*')$$, '22023', NULL, 'and the star is not to be asked for');
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT ok(immiiq.has_permission('anything.at.all'), 'the star is every permission');
SELECT ok(NOT immiiq.has_permission('NOT A NAME'), 'of those that are names');
SELECT immiiq.act_as_assistant('test') AS ignored \gset
SELECT ok(immiiq.has_permission('anything.at.all'), 'the assistant has the member''s');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM immiiq.journal WHERE kind = 'denial' AND action = 'permission' AND object = 'clients.delete' AND member_id = :'alpha_manager'), 1::bigint,
    'a missing permission is on record, rolled back or not');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT ok(immiiq.has_permission('anything.at.all'), 'operators have every permission');
ROLLBACK;

-- ---- names ----

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT throws_ok(format($$UPDATE immiiq.member SET permissions = ARRAY[%L] WHERE member_id = id('idle')$$, name), '23514', NULL, format('%s is no name', name))
FROM unnest(ARRAY['', 'Upper', 'a b', '1a', '**', repeat('a', 64)]) AS name;
SELECT throws_ok($$UPDATE immiiq.member SET permissions = ARRAY[NULL] WHERE member_id = id('idle')$$, '23514', NULL, 'nor is NULL');
ROLLBACK;

-- ---- roles ----

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
INSERT INTO immiiq.role_template (name, scope, modules, permissions, follow) VALUES
    ('Finance', 'all', '{invoices,billing}', '{invoices.void}', true), ('Fixed', 'team', '{cases}', '{cases.close}', false);
SELECT is(immiiq.apply_role('Finance', ARRAY[id('idle'), id('clerk')]), 2, 'a role is applied to two');
SELECT is(rights(id('idle')), 'all {invoices,billing} {invoices.void} + {} {}', 'they have scope, modules and permissions');
SELECT is(immiiq.apply_role('Fixed', ARRAY[id('lead')]), 1, 'another role to a third');
UPDATE immiiq.role_template SET modules = '{invoices}', permissions = '{invoices.void,invoices.send}';
SELECT is(rights(id('clerk')), 'all {invoices} {invoices.void,invoices.send} + {} {}', 'who carries a role that follows changes with it');
SELECT is(rights(id('lead')), 'team {cases} {cases.close} + {} {}', 'who carries one that does not stays');
UPDATE immiiq.member SET modules = '{clients}' WHERE member_id = id('clerk');
SELECT is((SELECT role_template_id FROM immiiq.member WHERE member_id = id('clerk')), NULL, 'changed by hand, a member carries the role no longer');
UPDATE immiiq.role_template SET modules = '{billing}' WHERE name = 'Finance';
SELECT is(rights(id('clerk')), 'all {clients} {invoices.void,invoices.send} + {} {}', 'and does not follow');
UPDATE immiiq.member SET role_template_id = role_id('Finance') WHERE member_id = id('clerk');
SELECT is(rights(id('clerk')), 'all {billing} {invoices.void,invoices.send} + {} {}', 'a role is also taken by naming it');
UPDATE immiiq.member SET name = 'Renamed' WHERE member_id = id('clerk');
SELECT is((SELECT role_template_id FROM immiiq.member WHERE member_id = id('clerk')), role_id('Finance'), 'another name is no change of rights');
DELETE FROM immiiq.role_template WHERE name = 'Finance';
SELECT is(rights(id('clerk')), 'all {billing} {invoices.void,invoices.send} + {} {}', 'a role that goes leaves the rights');
SELECT throws_ok($$UPDATE immiiq.member SET added_permissions = '{x}' WHERE member_id = id('idle')$$, '42501', NULL, 'what is added is not written by hand, not even by who has everything');
INSERT INTO immiiq.member (member_id, email, name, added_scope, added_modules) VALUES (gen_random_uuid(), 'sly@alpha.example', 'Sly', 'all', '{billing}');
SELECT is((SELECT rights(member_id) FROM immiiq.member WHERE email = 'sly@alpha.example'), 'assigned {} {} + {} {}', 'nor brought along');
ROLLBACK;

-- ---- teams' default roles ----

BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
INSERT INTO immiiq.role_template (name, scope, modules, permissions, assistant_modules) VALUES
    ('Northerner', 'team', '{clients,cases}', '{cases.close}', '{cases}'), ('Southerner', 'assigned', '{billing}', '{cross_office}', '{}');
UPDATE immiiq.team SET default_role_id = role_id(name || 'erner') WHERE team_id IN (id('north'), id('south'));
SELECT is(rights(id('lead')), 'team {clients,cases,communications,ai,documents,invoices,reports,billing,settings,team_management} {} + team {cases,clients} {cases.close}', 'who is in the team has its role from then on');
INSERT INTO immiiq.team_member (team_id, member_id) VALUES (id('north'), id('idle')), (id('south'), id('idle'));
SELECT is(rights(id('idle')), 'all {} {} + team {billing,cases,clients} {cases.close,cross_office}', 'who joins two teams has both roles beside their own');
UPDATE immiiq.role_template SET permissions = '{cases.open}' WHERE name = 'Northerner';
SELECT is(rights(id('idle')), 'all {} {} + team {billing,cases,clients} {cases.open,cross_office}', 'a changed role changes those in its teams');
DELETE FROM immiiq.team_member WHERE member_id = id('idle') AND team_id = id('north');
SELECT is(rights(id('idle')), 'all {} {} + assigned {billing} {cross_office}', 'who leaves first loses what that team gave');
UPDATE immiiq.team SET default_role_id = NULL WHERE team_id = id('south');
SELECT is(rights(id('idle')), 'all {} {} + {} {}', 'a team without a default role gives nothing');
INSERT INTO immiiq.team_member (team_id, member_id) VALUES (id('north'), id('idle'));
DELETE FROM immiiq.team_member WHERE team_id = id('north');
DELETE FROM immiiq.team WHERE team_id = id('north');
SELECT is(rights(id('idle')), 'all {} {} + {} {}', 'nor one that is gone');
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
INSERT INTO immiiq.role_template (name, scope, modules, permissions) VALUES ('Wide', 'all', '{clients}', '{clients.delete}');
UPDATE immiiq.team SET default_role_id = role_id('Wide') WHERE team_id = id('north');
INSERT INTO immiiq.permission_group (name, permissions) VALUES ('Openers', '{clients.open}'), ('Exporters', '{clients.export}');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_manager_token', true) AS ignored \gset
SELECT throws_ok($$INSERT INTO immiiq.team_member (team_id, member_id) VALUES (id('north'), id('manager'))$$, '42501', 'cannot give more rights than the active member has', 'nobody joins a team whose role has more than they');
SELECT throws_ok($$UPDATE immiiq.team SET default_role_id = role_id('Wide') WHERE team_id = id('south')$$, '42501', NULL, 'nor makes such a role a team''s');
SELECT throws_ok($$UPDATE immiiq.role_template SET permissions = '{}' WHERE name = 'Wide'$$, '42501', NULL, 'nor takes it away from others');
SELECT throws_ok($$DELETE FROM immiiq.team_member WHERE team_id = id('north')$$, '42501', NULL, 'nor puts them out of the team');
SELECT throws_ok($$UPDATE immiiq.member SET role_template_id = role_id('Wide') WHERE member_id = id('manager')$$, '42501', NULL, 'nor takes the role');
SELECT throws_ok($$UPDATE immiiq.member SET permissions = '{*}' WHERE member_id = id('manager')$$, '42501', NULL, 'nor every permission');
SELECT throws_ok($$INSERT INTO immiiq.member_permission_group SELECT org_id, id('manager'), permission_group_id FROM immiiq.permission_group WHERE name = 'Openers'$$, '42501', NULL, 'nor a group with a permission that they have not');
SELECT throws_ok($$INSERT INTO immiiq.permission_group (name, permissions) VALUES ('All', '{*}')$$, '42501', NULL, 'nor makes one');
SELECT lives_ok($$INSERT INTO immiiq.member_permission_group SELECT org_id, id('idle'), permission_group_id FROM immiiq.permission_group WHERE name = 'Exporters'$$, 'a group with what they have is given');
SELECT is(rights(id('idle')), 'all {} {} + {} {clients.export}', 'and adds its permissions');
UPDATE immiiq.permission_group SET permissions = '{}' WHERE name = 'Exporters';
SELECT is(rights(id('idle')), 'all {} {} + {} {}', 'and takes them away again');
SELECT throws_ok($$UPDATE immiiq.org SET plan = NULL, active = false$$, '42501', NULL, 'plan and state of the organisation are not a member''s to change');
SELECT throws_ok($$SELECT immiiq.refresh_added_rights(id('alpha'), ARRAY[id('manager')])$$, '42501', NULL, 'what keeps rights up to date is not called from outside');
SELECT throws_ok('SELECT * FROM immiiq.plan', '42501', NULL, 'plans are the vendor''s');
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT throws_ok($$DELETE FROM immiiq.permission_group WHERE name = 'Exporters'$$, '42501', NULL, 'with a narrower scope nobody changes what colleagues carry');
ROLLBACK;

-- ---- plans ----

RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_operator;
INSERT INTO immiiq.plan (plan, role_name, scope, modules, permissions, permission_groups)
VALUES ('starter', 'Newcomer', 'assigned', '{clients}', '{clients.open}', '{"Basics": ["basics.read", "basics.write"], "Exporters": ["never.used"]}');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE immiiq.org SET plan = 'starter';
COMMIT;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
INSERT INTO immiiq.member (email, name) VALUES ('fresh@alpha.example', 'Fresh');
SELECT is((SELECT rights(member_id) FROM immiiq.member WHERE email = 'fresh@alpha.example'), 'assigned {clients} {clients.open} + {} {basics.read,basics.write,clients.export}',
    'a new member has the plan''s role and its groups, of which the organisation''s own stay as they are');
INSERT INTO immiiq.member (email, name, scope, modules) VALUES ('other@alpha.example', 'Other', 'team', '{cases}');
SELECT is((SELECT rights(member_id) FROM immiiq.member WHERE email = 'other@alpha.example'), 'team {cases} {} + {} {basics.read,basics.write,clients.export}',
    'who is given rights keeps them, beside the groups');
SELECT set_config('immiiq.token', '', true) AS ignored \gset
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_manager_token', true) AS ignored \gset
SELECT throws_ok($$INSERT INTO immiiq.member (email, name) VALUES ('friend@alpha.example', 'Friend')$$, '42501', NULL, 'a plan lets nobody give more than they have');
ROLLBACK;
RESET SESSION AUTHORIZATION;

-- ---- sub-teams cannot go round ----

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE immiiq.team SET parent_id = :'alpha_north' WHERE team_id = :'alpha_south';
SELECT throws_ok($$UPDATE immiiq.team SET parent_id = id('south') WHERE team_id = id('north')$$, '22023', NULL, 'a team does not lie below its own sub-team');
SELECT throws_ok($$UPDATE immiiq.team SET parent_id = team_id WHERE team_id = id('north')$$, '22023', NULL, 'nor below itself');
ROLLBACK;
SELECT is(rights(id('idle')), 'all {} {} + {} {}', 'what was rolled back gave nothing');
SELECT * FROM finish();
