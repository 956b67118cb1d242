-- Permissions for commands, sub-teams, offices, what the assistant may write, and the portal.
\i test/pgtap/setup.psql
SELECT plan(49);

SELECT count(set_config('test.' || name, value, false)) AS ignored FROM (VALUES ('owner', :'alpha_owner'), ('idle', :'alpha_idle'), ('lead', :'alpha_lead'), ('clerk', :'alpha_clerk'),
    ('north', :'alpha_north'), ('south', :'alpha_south'), ('alpha', :'alpha'), ('beta', :'beta')) AS v (name, value) \gset
CREATE FUNCTION id(name text) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT current_setting('test.' || name)::uuid $$;
-- Rows that a statement touches, or its SQLSTATE; nothing stays.
CREATE FUNCTION attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n text;
BEGIN
    EXECUTE statement;
    GET DIAGNOSTICS n = ROW_COUNT;
    RAISE SQLSTATE 'XX999';
EXCEPTION
    WHEN SQLSTATE 'XX999' THEN RETURN n;
    WHEN OTHERS THEN RETURN SQLSTATE;
END
$$;
CREATE FUNCTION attempts(name text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', attempt(format('SELECT FROM %I', name)), attempt(format('INSERT INTO %I (note) VALUES (''x'')', name)),
        attempt(format('UPDATE %I SET note = ''y''', name)), attempt(format('DELETE FROM %I', name)))
$$;

-- The text of a statement's plan.
CREATE FUNCTION plan_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    whole text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
        whole := whole || line || E'\n';
    END LOOP;
    RETURN whole;
END
$$;

-- ---- permissions for commands ----

CREATE TABLE guarded (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, note text);
SELECT immiiq.protect('guarded', 'cases', permissions => '{"read": "g.read", "write": "g.write", "delete": "g.delete"}') AS ignored \gset
CREATE TABLE half (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, note text);
SELECT immiiq.protect('half', 'cases', permissions => '{"delete": "g.delete", "update": "g.write"}') AS ignored \gset
GRANT SELECT, INSERT, UPDATE, DELETE ON guarded, half TO regress_immiiq_app;
INSERT INTO guarded (org_id, note) VALUES (:'alpha', 'x'), (:'alpha', 'x'), (:'beta', 'x');
INSERT INTO half (org_id, note) VALUES (:'alpha', 'x'), (:'alpha', 'x'), (:'beta', 'x');
CREATE TABLE got (names text, guarded text, half text);
GRANT INSERT ON got TO regress_immiiq_app;
\o /dev/null
SELECT format('UPDATE immiiq.member SET permissions = %L WHERE member_id = id(''owner'')', names), 'SET SESSION AUTHORIZATION regress_immiiq_app',
    format('SELECT set_config(''immiiq.token'', %L, true); INSERT INTO got VALUES (%L, attempts(''guarded''), attempts(''half''))', :'alpha_owner_token', names),
    'RESET SESSION AUTHORIZATION'
FROM unnest(ARRAY['{}', '{g.read}', '{g.read,g.write}', '{g.read,g.delete}', '{g.write,g.delete}', '{*}']) AS names \gexec
\o
SELECT results_eq($$SELECT guarded, half FROM got WHERE names = '{}'$$, $$VALUES ('0 42501 0 0', '2 1 0 0')$$, 'without a permission nothing that asks for one');
SELECT results_eq($$SELECT guarded, half FROM got WHERE names = '{g.read}'$$, $$VALUES ('2 42501 0 0', '2 1 0 0')$$, 'read');
SELECT results_eq($$SELECT guarded, half FROM got WHERE names = '{g.read,g.write}'$$, $$VALUES ('2 1 2 0', '2 1 2 0')$$, 'read and write');
SELECT results_eq($$SELECT guarded, half FROM got WHERE names = '{g.read,g.delete}'$$, $$VALUES ('2 42501 0 2', '2 1 0 2')$$, 'read and delete');
SELECT results_eq($$SELECT guarded, half FROM got WHERE names = '{g.write,g.delete}'$$, $$VALUES ('0 1 0 0', '2 1 2 2')$$, 'who may not read changes nothing, and still adds');
SELECT results_eq($$SELECT guarded, half FROM got WHERE names = '{*}'$$, $$VALUES ('2 1 2 2', '2 1 2 2')$$, 'every permission: and never another organisation''s rows');
SELECT is((SELECT module || ' ' || org FROM immiiq.protected_table WHERE relation = 'guarded'::regclass), 'cases org_id', 'a table with permissions is listed as protected');
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT is(attempt('SELECT FROM guarded'), '0', 'another member''s permissions are their own');
SELECT ok(plan_of('SELECT FROM guarded') ~ 'InitPlan 1' AND plan_of('SELECT FROM guarded') !~ 'Filter:.*has_permission', 'a permission is asked once a statement');
COMMIT;
RESET SESSION AUTHORIZATION;
CREATE TABLE bad (id int PRIMARY KEY, org_id uuid);
SELECT throws_ok(format($$SELECT immiiq.protect('bad', 'cases', permissions => %L)$$, wrong), '22023', NULL, format('%s is refused', wrong))
FROM unnest(ARRAY['[]', '{"read": 1}', '{"read": "A"}', '{"read": "x'' OR true --"}', '{"select": "x"}', '"read"']) AS wrong;

-- ---- sub-teams ----

CREATE TABLE board (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, team_id uuid, note text);
SELECT immiiq.protect('board', 'cases', team => 'team_id') AS ignored \gset
CREATE TABLE file (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, client_id uuid, note text);
SELECT immiiq.protect('file', 'cases', client => 'client_id') AS ignored \gset
GRANT SELECT, INSERT, UPDATE, DELETE ON board, file TO regress_immiiq_app;
\set below1 'a1fa0000-0000-4000-8000-0000000000c1'
\set below2 'a1fa0000-0000-4000-8000-0000000000c2'
\set below3 'a1fa0000-0000-4000-8000-0000000000c3'
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO immiiq.team (team_id, name, parent_id) VALUES (:'below1', 'Below 1', :'alpha_north'), (:'below2', 'Below 2', :'below1'), (:'below3', 'Below 3', :'below2');
INSERT INTO immiiq.assignment (client_id, team_id) VALUES ('00000000-0000-4000-8000-0000000000f3', :'below3');
COMMIT;
INSERT INTO board (org_id, team_id, note) VALUES (:'alpha', :'alpha_north', 'x'), (:'alpha', :'below1', 'x'), (:'alpha', :'below3', 'x'), (:'alpha', :'alpha_south', 'x');
INSERT INTO file (org_id, client_id) VALUES (:'alpha', '00000000-0000-4000-8000-0000000000f3'), (:'alpha', '00000000-0000-4000-8000-0000000000f4');
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT is(attempt('SELECT FROM board'), '3', 'the teams below one''s own are one''s own, at any depth');
SELECT is(attempt('SELECT FROM file'), '1', 'and so are their clients');
SELECT is(attempt('SELECT FROM board WHERE immiiq.visible(lower(''CASES''), ''select'', org_id, NULL, team_id, NULL, NULL)'), '3', 'row by row, too');
SELECT is(attempt('UPDATE board SET team_id = NULL'), '42501', 'and no row leaves them');
COMMIT;
RESET SESSION AUTHORIZATION;
-- From below nothing above is seen; a circle, which only a superuser can make, ends.
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
DELETE FROM immiiq.team_member WHERE member_id = :'alpha_lead';
INSERT INTO immiiq.team_member (team_id, member_id) VALUES (:'below2', :'alpha_lead');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT is(attempt('SELECT FROM board'), '1', 'from below nothing above is seen');
COMMIT;
RESET SESSION AUTHORIZATION;
BEGIN;
ALTER TABLE immiiq.team DISABLE TRIGGER check_team_parent;
UPDATE immiiq.team SET parent_id = :'below3' WHERE team_id = :'alpha_north';
ALTER TABLE immiiq.team ENABLE TRIGGER check_team_parent;
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT is(attempt('SELECT FROM board'), '3', 'a circle of teams ends');
COMMIT;
RESET SESSION AUTHORIZATION;
UPDATE immiiq.team SET parent_id = NULL WHERE team_id = :'alpha_north';

-- ---- offices ----

\set toronto 'a1fa0000-0000-4000-8000-0000000000e1'
\set leeds 'a1fa0000-0000-4000-8000-0000000000e2'
\set desk 'a1fa0000-0000-4000-8000-0000000000e3'
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO immiiq.team (team_id, name, kind, parent_id) VALUES (:'toronto', 'Toronto', 'office', NULL), (:'leeds', 'Leeds', 'office', NULL), (:'desk', 'Desk', 'team', :'toronto');
-- The owner and the idle one are in an office; the clerk in a team that lies in one; the lead in none.
INSERT INTO immiiq.team_member (team_id, member_id) VALUES (:'toronto', :'alpha_owner'), (:'leeds', :'alpha_idle'), (:'desk', :'alpha_clerk');
UPDATE immiiq.member SET permissions = '{}' WHERE member_id = :'alpha_owner';
UPDATE immiiq.member SET modules = '{cases}', permissions = '{cross_office}' WHERE member_id = :'alpha_idle';
COMMIT;
CREATE TABLE lease (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, office_id uuid, note text);
SELECT immiiq.protect('lease', 'cases', office => 'office_id') AS ignored \gset
CREATE TABLE permit (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, office_id uuid, assignee_id uuid, note text);
SELECT immiiq.protect('permit', 'cases', assignee => 'assignee_id', office => 'office_id') AS ignored \gset
GRANT SELECT, INSERT, UPDATE, DELETE ON lease, permit TO regress_immiiq_app;
INSERT INTO lease (org_id, office_id) VALUES (:'alpha', :'toronto'), (:'alpha', :'toronto'), (:'alpha', :'leeds'), (:'alpha', NULL), (:'beta', NULL);
INSERT INTO permit (org_id, office_id, assignee_id) VALUES (:'alpha', :'toronto', :'alpha_clerk'), (:'alpha', :'leeds', :'alpha_clerk'), (:'alpha', :'toronto', :'alpha_owner');
SELECT is((SELECT office::text FROM immiiq.protected_table WHERE relation = 'lease'::regclass), 'office_id', 'the office is listed');
SET SESSION AUTHORIZATION regress_immiiq_app;
PREPARE leases AS SELECT count(*) FROM lease;
PREPARE permits AS SELECT count(*) FROM permit;
SET plan_cache_mode = force_generic_plan;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT results_eq('leases', ARRAY[2::bigint], 'scope all sees its office''s rows');
SELECT results_eq('permits', ARRAY[2::bigint], 'whoever''s they are');
SELECT is(attempt($$INSERT INTO lease (office_id) VALUES (id('south'))$$), '42501', 'no row for another office');
SELECT is(attempt($$INSERT INTO lease (office_id) VALUES (NULL)$$), '42501', 'nor for none');
SELECT is(attempt($$UPDATE lease SET office_id = 'a1fa0000-0000-4000-8000-0000000000e2'$$), '42501', 'and none handed over');
SELECT is(attempt($$INSERT INTO lease (office_id) VALUES ('a1fa0000-0000-4000-8000-0000000000e1')$$), '1', 'but for one''s own');
SELECT is(attempt('SELECT FROM lease WHERE immiiq.visible(lower(''CASES''), ''select'', org_id, NULL, NULL, NULL, office_id)'), '2', 'row by row the same');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_idle_token', true) AS ignored \gset
SELECT results_eq('leases', ARRAY[4::bigint], 'cross_office sees every office, with the plans of another cached');
SELECT doesnt_match(plan_of('SELECT FROM lease'), 'offices_if', 'and has no condition on it');
SELECT is(attempt('SELECT FROM lease WHERE immiiq.visible(lower(''CASES''), ''select'', org_id, NULL, NULL, NULL, office_id)'), '4', 'row by row, too');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT results_eq('leases', ARRAY[2::bigint], 'a team that lies in an office brings it along');
SELECT results_eq('permits', ARRAY[1::bigint], 'and within it the scope counts');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT results_eq('leases', ARRAY[0::bigint], 'who is in no office sees no office''s rows');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT results_eq('leases', ARRAY[2::bigint], 'and the first one what they saw before');
SELECT throws_ok($$SELECT immiiq.offices_if('all crossing')$$, 'IQ020', NULL, 'a plan that sees every office raises for who may not');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_idle_token', true) AS ignored \gset
SELECT throws_ok($$SELECT immiiq.org_if('cases', 'select', 'all offices')$$, 'IQ020', NULL, 'and one that keeps to offices for who may cross');
COMMIT;
RESET plan_cache_mode;
DEALLOCATE ALL;
RESET SESSION AUTHORIZATION;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq('SELECT count(*) FROM lease WHERE immiiq.visible(''cases'', ''select'', org_id, NULL, NULL, NULL, office_id)', ARRAY[4::bigint], 'operators cross offices');
COMMIT;

-- ---- what the assistant writes ----

CREATE TABLE memo (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, note text);
SELECT immiiq.protect('memo', 'communications') AS ignored \gset
CREATE TABLE free (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, note text);
SELECT immiiq.protect('free', NULL) AS ignored \gset
GRANT SELECT, INSERT, UPDATE, DELETE ON memo, free TO regress_immiiq_app;
INSERT INTO memo (org_id, note) VALUES (:'alpha', 'x'), (:'beta', 'x');
INSERT INTO free (org_id, note) VALUES (:'alpha', 'x');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO immiiq.role_template (name, scope, modules, assistant_modules) VALUES ('Helped', 'all', '{cases,communications,ai}', '{communications}');
SELECT throws_ok($$INSERT INTO immiiq.role_template (name, scope, assistant_modules) VALUES ('Wrong', 'all', '{cases}')$$, '23514', NULL, 'the assistant writes in no module that the role has not');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT is(attempts('memo'), '1 1 1 1', 'the member writes');
SELECT immiiq.act_as_assistant('test') AS ignored \gset
SELECT is(attempts('memo'), '1 42501 0 0', 'the assistant of a member without a role reads only');
SELECT is(attempt('UPDATE immiiq.member SET modules = ''{}'''), '0', 'the directory, too');
COMMIT;
RESET SESSION AUTHORIZATION;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT immiiq.apply_role('Helped', ARRAY[id('owner')]) AS ignored \gset
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT immiiq.act_as_assistant('test') AS ignored \gset
SELECT is(attempts('memo'), '1 1 1 1', 'where the role lets it the assistant writes');
SELECT is(attempts('guarded'), '0 42501 0 0', 'and elsewhere not');
SELECT is(attempts('free'), '1 42501 0 0', 'nor in tables of no module');
SELECT is(attempt('DELETE FROM memo WHERE immiiq.visible(lower(''COMMUNICATIONS''), ''delete'', org_id, NULL, NULL, NULL, NULL)'), '1', 'row by row the same');
SELECT is(attempt('DELETE FROM memo WHERE immiiq.visible(lower(''CASES''), ''delete'', org_id, NULL, NULL, NULL, NULL)'), '0', 'both ways');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT is(attempt('SELECT FROM memo'), '2', 'the tables are as they were');
SELECT * FROM finish();
