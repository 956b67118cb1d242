-- Which rows who sees and writes: scopes, modules, plans across identities, protect() and unprotect().
\i test/pgtap/setup.psql
-- These tests PREPARE and make temporary tables as the application, which the firewall would refuse.
SET immiiq.firewall = off;
SELECT plan(139);

-- ---- three scopes × ten modules × four commands ----

-- A table for each module, with the same rows in two organisations.
CREATE TABLE module (name text PRIMARY KEY);
INSERT INTO module SELECT unnest(:'every_module'::text[]);
GRANT SELECT ON module TO PUBLIC;
\o /dev/null
SELECT format('CREATE TABLE in_%1$s (id int, org_id uuid, team_id uuid, assignee_id uuid, note text, PRIMARY KEY (org_id, id));
    GRANT SELECT, INSERT, UPDATE, DELETE ON in_%1$s TO regress_immiiq_app;
    SELECT immiiq.protect(''in_%1$s'', %1$L, team => ''team_id'', assignee => ''assignee_id'');', name)
FROM module \gexec
\o
-- One member for each scope and single module; those with scope team are in north.
CREATE TABLE person AS
SELECT scope, name AS granted, gen_random_uuid() AS member_id, NULL::text AS token
FROM module, unnest(ARRAY['all', 'team', 'assigned']) AS scope;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules)
SELECT :'alpha', member_id, scope || '.' || granted || '@alpha.example', 'Test', scope, ARRAY[granted] FROM person;
INSERT INTO immiiq.team_member (org_id, team_id, member_id) SELECT :'alpha', :'alpha_north', member_id FROM person WHERE scope = 'team';
UPDATE person SET token = immiiq.issue_session(member_id);
COMMIT;
-- Rows 1 to 3: north, south, no team; row 4: north, of the member himself; the same in Beta.
SELECT format('INSERT INTO in_%1$s VALUES (1, %2$L, %3$L, NULL, ''x''), (2, %2$L, %4$L, NULL, ''x''), (3, %2$L, NULL, NULL, ''x'');
    INSERT INTO in_%1$s SELECT 100 + row_number() OVER (ORDER BY scope), %2$L::uuid, %3$L::uuid, member_id, ''x'' FROM person WHERE granted = %1$L;
    INSERT INTO in_%1$s VALUES (1, %5$L, %6$L, NULL, ''x''), (2, %5$L, %6$L, %7$L, ''x''), (3, %5$L, NULL, NULL, ''x'');',
    name, :'alpha', :'alpha_north', :'alpha_south', :'beta', :'beta_team', :'beta_owner')
FROM module \gexec

CREATE TABLE outcome (scope text, granted text, module text, attempt text, result text);
GRANT INSERT ON outcome TO regress_immiiq_app;
-- Tries every command on every module's table, as whoever calls: a number of rows, or a SQLSTATE. Nothing stays.
CREATE FUNCTION try_all(scope text, granted text, alpha uuid, beta uuid, north uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    m text;
    attempt text;
    statement text;
    n text;
BEGIN
    FOR m IN SELECT name FROM module LOOP
        FOR attempt, statement IN VALUES
            ('select', format('SELECT * FROM in_%s', m)),
            ('select org', format('SELECT * FROM in_%s WHERE org_id = %L', m, beta)),
            ('update', format('UPDATE in_%s SET note = ''y''', m)),
            ('update org', format('UPDATE in_%s SET note = ''y'' WHERE org_id = %L', m, beta)),
            ('move', format('UPDATE in_%s SET org_id = %L, id = id + 1000', m, beta)),
            ('delete', format('DELETE FROM in_%s', m)),
            ('insert', format('INSERT INTO in_%s (id, team_id, assignee_id) VALUES (50, %L, immiiq.current_member())', m, north)),
            ('insert org', format('INSERT INTO in_%s (id, org_id, team_id, assignee_id) VALUES (50, %L, %L, immiiq.current_member())', m, beta, north)),
            ('upsert', format('INSERT INTO in_%s (id, org_id) VALUES (1, %L) ON CONFLICT (org_id, id) DO UPDATE SET note = ''y''', m, beta))
        LOOP
            BEGIN
                EXECUTE statement;
                GET DIAGNOSTICS n = ROW_COUNT;
                RAISE SQLSTATE 'XX999';
            EXCEPTION
                WHEN SQLSTATE 'XX999' THEN NULL;
                WHEN OTHERS THEN n := SQLSTATE;
            END;
            INSERT INTO outcome VALUES (scope, granted, m, attempt, n);
        END LOOP;
    END LOOP;
END
$$;
\o /dev/null
SELECT 'SET SESSION AUTHORIZATION regress_immiiq_app' UNION ALL
SELECT format('SELECT set_config(''immiiq.token'', %L, true); SELECT try_all(%L, %L, %L, %L, %L)',
    token, scope, granted, :'alpha', :'beta', :'alpha_north')
FROM person \gexec
\o
RESET SESSION AUTHORIZATION;
SELECT is(count(*), 30 * 10 * 9::bigint, 'every attempt has an outcome') FROM outcome;

-- What ought to have come, worked out from the rows alone.
CREATE FUNCTION expected(scope text, granted text, module text, attempt text) RETURNS text LANGUAGE sql AS $$
SELECT CASE
    WHEN attempt IN ('select org', 'update org') THEN '0'
    WHEN attempt IN ('insert org', 'upsert') THEN '42501'
    WHEN granted <> module THEN CASE attempt WHEN 'insert' THEN '42501' ELSE '0' END
    WHEN attempt = 'insert' THEN '1'
    WHEN attempt = 'move' THEN '42501'
    ELSE CASE scope WHEN 'all' THEN '6' WHEN 'team' THEN '4' WHEN 'assigned' THEN '1' END
END
$$;
SELECT is_empty(
    format($$SELECT scope, granted, module, attempt, result, expected(scope, granted, module, attempt) FROM outcome
             WHERE attempt = %L AND result IS DISTINCT FROM expected(scope, granted, module, attempt)$$, attempt),
    format('%s: every scope and module sees what it ought to', attempt))
FROM unnest(ARRAY['select', 'select org', 'update', 'update org', 'move', 'delete', 'insert', 'insert org', 'upsert']) AS attempt;

-- ---- clients, and what hangs on them ----

CREATE TABLE client (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, team_id uuid, assignee_id uuid, name text);
CREATE TABLE matter (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, client_id uuid CONSTRAINT matter_client REFERENCES client ON DELETE SET NULL, title text);
CREATE TABLE diary (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, assignee_id uuid, line text);
CREATE TABLE board (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, team_id uuid, line text);
CREATE TABLE notice (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id uuid, line text);
-- The child first: its key is bound when the parent comes.
SELECT lives_ok($$SELECT immiiq.protect('matter', 'cases', client => 'client_id')$$, 'a table with only a client is protected');
SELECT lives_ok($$SELECT immiiq.protect('client', 'clients', client => 'id', team => 'team_id', assignee => 'assignee_id')$$, 'a table with everything is protected');
SELECT lives_ok($$SELECT immiiq.protect('diary', 'communications', assignee => 'assignee_id')$$, 'a table with only an assignee is protected');
SELECT lives_ok($$SELECT immiiq.protect('board', NULL, team => 'team_id')$$, 'a table with only a team and no module is protected');
SELECT lives_ok($$SELECT immiiq.protect('notice', 'reports')$$, 'a table with none of them is protected');
GRANT SELECT, INSERT, UPDATE, DELETE ON client, matter, diary, board, notice TO regress_immiiq_app;

INSERT INTO client (id, org_id, team_id, assignee_id, name) VALUES
    ('00000000-0000-4000-8000-00000000000a', :'alpha', :'alpha_north', :'alpha_lead', 'same'),
    ('00000000-0000-4000-8000-00000000000b', :'alpha', :'alpha_south', :'alpha_clerk', 'same'),
    ('00000000-0000-4000-8000-00000000000c', :'alpha', NULL, NULL, 'same'),
    ('00000000-0000-4000-8000-00000000000d', :'beta', :'beta_team', :'beta_owner', 'same');
INSERT INTO matter (id, org_id, client_id, title) SELECT gen_random_uuid(), org_id, id, 'same' FROM client;
INSERT INTO matter (org_id, client_id, title) VALUES (:'alpha', NULL, 'of no client');
INSERT INTO diary (org_id, assignee_id, line) VALUES (:'alpha', :'alpha_lead', 'x'), (:'alpha', :'alpha_clerk', 'x'), (:'alpha', NULL, 'x'), (:'beta', :'beta_owner', 'x');
INSERT INTO board (org_id, team_id, line) VALUES (:'alpha', :'alpha_north', 'x'), (:'alpha', :'alpha_south', 'x'), (:'alpha', NULL, 'x'), (:'beta', :'beta_team', 'x');
INSERT INTO notice (org_id, line) VALUES (:'alpha', 'x'), (:'beta', 'x');
INSERT INTO immiiq.assignment (org_id, client_id, member_id, team_id) VALUES
    (:'alpha', '00000000-0000-4000-8000-00000000000a', NULL, :'alpha_north'),
    (:'alpha', '00000000-0000-4000-8000-00000000000b', :'alpha_clerk', NULL),
    -- An id of Beta's client in Alpha's assignments opens nothing of Beta's.
    (:'alpha', '00000000-0000-4000-8000-00000000000d', :'alpha_clerk', NULL);

CREATE FUNCTION counts() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', (SELECT count(*) FROM client), (SELECT count(*) FROM matter), (SELECT count(*) FROM diary),
                     (SELECT count(*) FROM board), (SELECT count(*) FROM notice))
$$;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT is(counts(), '0 0 0 0 0', 'nobody sees nothing');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT is(counts(), '3 4 3 3 1', 'scope all: the organisation');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT is(counts(), '1 1 1 1 1', 'scope team: the team, its clients, one''s own diary');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT is(counts(), '1 1 1 0 1', 'scope assigned: what is assigned, nothing of a team''s');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_idle_token', true) AS ignored \gset
SELECT is(counts(), '0 0 0 3 0', 'modules off: what needs no module');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) AS ignored \gset
SELECT is(counts(), '1 1 1 1 1', 'the other organisation: its own');
COMMIT;
SELECT is(counts(), '0 0 0 0 0', 'after the transaction: nothing again');
RESET SESSION AUTHORIZATION;

-- Without simplification visible() answers the same: called through what the planner cannot see into.
CREATE FUNCTION slowly(text, uuid, uuid, uuid, uuid) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN immiiq.visible($1, 'select', $2, $3, $4, $5, NULL);
END
$$;
CREATE FUNCTION slow_counts() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    found text;
BEGIN
    -- The arguments that a table has not are NULL constants in the call, as in a policy.
    SET LOCAL plan_cache_mode = force_generic_plan;
    SELECT concat_ws(' ',
        (SELECT count(*) FROM client WHERE CASE WHEN org_id IS NOT NULL THEN immiiq.visible(lower('CLIENTS'), 'select', org_id, id, team_id, assignee_id, NULL) END),
        (SELECT count(*) FROM matter WHERE CASE WHEN org_id IS NOT NULL THEN immiiq.visible((SELECT 'cases'), 'select', org_id, client_id, NULL, NULL, NULL) END),
        (SELECT count(*) FROM diary WHERE CASE WHEN org_id IS NOT NULL THEN immiiq.visible((SELECT 'communications'), 'select', org_id, NULL, NULL, assignee_id, NULL) END),
        (SELECT count(*) FROM board WHERE CASE WHEN org_id IS NOT NULL THEN immiiq.visible((SELECT NULL::text), 'select', org_id, NULL, team_id, NULL, NULL) END),
        (SELECT count(*) FROM notice WHERE CASE WHEN org_id IS NOT NULL THEN immiiq.visible((SELECT 'reports'), 'select', org_id, NULL, NULL, NULL, NULL) END)) INTO found;
    RETURN found;
END
$$;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT is(slow_counts(), '0 0 0 0 0', 'row by row: nobody');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT is(slow_counts(), '3 4 3 3 1', 'row by row: scope all');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT is(slow_counts(), '1 1 1 1 1', 'row by row: scope team');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT is(slow_counts(), '1 1 1 0 1', 'row by row: scope assigned');
SELECT ok(NOT slowly(NULL, :'alpha', NULL, NULL, NULL), 'a NULL of which it is not certain that the column is absent is closed');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_idle_token', true) AS ignored \gset
SELECT is(slow_counts(), '0 0 0 3 0', 'row by row: modules off');
COMMIT;
RESET SESSION AUTHORIZATION;

-- A member of two teams sees both; one team more or less within the transaction counts at once.
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO immiiq.team_member (org_id, team_id, member_id) VALUES (:'alpha', :'alpha_south', :'alpha_lead');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT is(counts(), '2 1 1 2 1', 'two teams');
COMMIT;
RESET SESSION AUTHORIZATION;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
DELETE FROM immiiq.team_member WHERE member_id = :'alpha_lead' AND team_id = :'alpha_south';
COMMIT;

-- ---- plans across identities ----

SET SESSION AUTHORIZATION regress_immiiq_app;
PREPARE clients AS SELECT count(*) FROM client;
PREPARE matters AS SELECT count(*) FROM matter;
PREPARE one(uuid) AS SELECT count(*) FROM client WHERE id = $1;
CREATE FUNCTION pg_temp.in_plpgsql() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT count(*) FROM client) || ' ' || (SELECT count(*) FROM matter);
END
$$;
CREATE TEMP TABLE run (mode text, who text, expected text, got text);
CREATE FUNCTION pg_temp.note(mode text, who text, expected text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    c text;
    m text;
    o text;
BEGIN
    EXECUTE 'EXECUTE clients' INTO c;
    EXECUTE 'EXECUTE matters' INTO m;
    EXECUTE 'EXECUTE one(''00000000-0000-4000-8000-00000000000b'')' INTO o;
    INSERT INTO run VALUES (mode, who, expected, concat_ws(' ', c, m, o, pg_temp.in_plpgsql()));
END
$$;
-- Every ordered pair of identities, with the plans of the first cached when the second comes, twice over.
\o /dev/null
SELECT CASE WHEN turn = 0 THEN format('SET plan_cache_mode = %s', mode)
            ELSE format('SELECT set_config(''immiiq.token'', %L, true); SELECT pg_temp.note(%L, %L, %L)', token, mode, who, expected)
       END
FROM unnest(ARRAY['force_generic_plan', 'force_custom_plan', 'auto']) WITH ORDINALITY AS m (mode, mode_no),
     LATERAL (
        SELECT 0 AS turn, NULL AS token, NULL AS who, NULL AS expected
        UNION ALL
        SELECT row_number() OVER (ORDER BY a.who, b.who, first) AS turn,
               CASE WHEN first THEN a.token ELSE b.token END, CASE WHEN first THEN a.who ELSE b.who END,
               CASE WHEN first THEN a.expected ELSE b.expected END
        FROM (VALUES ('owner', :'alpha_owner_token', '3 4 1 3 4'), ('lead', :'alpha_lead_token', '1 1 0 1 1'),
                     ('clerk', :'alpha_clerk_token', '1 1 1 1 1'), ('idle', :'alpha_idle_token', '0 0 0 0 0'),
                     ('beta', :'beta_owner_token', '1 1 0 1 1'), ('nobody', '', '0 0 0 0 0')) AS a (who, token, expected)
        CROSS JOIN (VALUES ('owner', :'alpha_owner_token', '3 4 1 3 4'), ('lead', :'alpha_lead_token', '1 1 0 1 1'),
                     ('clerk', :'alpha_clerk_token', '1 1 1 1 1'), ('idle', :'alpha_idle_token', '0 0 0 0 0'),
                     ('beta', :'beta_owner_token', '1 1 0 1 1'), ('nobody', '', '0 0 0 0 0')) AS b (who, token, expected)
        CROSS JOIN unnest(ARRAY[true, false]) AS first
     ) AS turns
ORDER BY mode_no, turn \gexec
\o
RESET plan_cache_mode;
SELECT is((SELECT count(*) FROM run WHERE mode = m), 72::bigint, m || ': every pair of identities ran')
FROM unnest(ARRAY['force_generic_plan', 'force_custom_plan', 'auto']) AS m;
SELECT is_empty('SELECT DISTINCT mode, who, expected, got FROM run WHERE got <> expected',
    'a plan cached under one identity answers rightly under every other');

-- A plan that is already running when somebody of another scope becomes active raises, rather than answers.
-- The plan is made for scope all (the last one here), the cursor's first row is fetched under scope team.
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT is(counts(), '3 4 3 3 1', 'plans are for scope all now');
COMMIT;
BEGIN;
DECLARE early CURSOR FOR SELECT name FROM client;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT throws_ok('FETCH ALL FROM early', 'IQ020', NULL, 'a cursor opened for another scope raises');
ROLLBACK;
SELECT throws_ok(format('WITH who AS MATERIALIZED (SELECT immiiq.authenticate(%L) AS i) SELECT count(*) FROM who, client WHERE (i).org_id IS NOT NULL', :'alpha_clerk_token'),
    'IQ020', NULL, 'a statement that authenticates somebody of another scope raises');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT is(counts(), '1 1 1 0 1', 'and the next one answers');
SELECT throws_ok($$SELECT immiiq.org_if('clients', 'select', 'all')$$, 'IQ020', NULL, 'org_if raises under another shape');
SELECT throws_ok($$SELECT immiiq.org_if('clients', 'select', 'wide')$$, '22023', NULL, 'org_if refuses an unknown shape');
SELECT throws_ok($$SELECT immiiq.org_if('everything', 'select', 'assigned')$$, '22023', NULL, 'org_if refuses an unknown module');
SELECT throws_ok($$SELECT immiiq.org_if('clients', 'select', NULL)$$, '22004', NULL, 'org_if refuses a null shape');
SELECT throws_ok($$SELECT immiiq.team_if('team')$$, 'IQ020', NULL, 'team_if raises under another shape');
SELECT throws_ok($$SELECT immiiq.teams_if('teams')$$, 'IQ020', NULL, 'teams_if raises under another shape');
SELECT throws_ok($$SELECT immiiq.clients_if('team')$$, 'IQ020', NULL, 'clients_if raises under another shape');
SELECT throws_ok($$SELECT immiiq.client_if(immiiq.current_org(), immiiq.current_org(), 'team')$$, 'IQ020', NULL, 'client_if raises under another shape');
SELECT throws_ok($$SELECT immiiq.member_if('team')$$, 'IQ020', NULL, 'member_if raises under another shape');
SELECT throws_ok($$SELECT immiiq.nothing_if('all')$$, 'IQ020', NULL, 'nothing_if raises under another shape');
COMMIT;

-- Parallel workers see as their leader does.
SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET :force_parallel = on;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT results_eq('SELECT (SELECT count(*) FROM client) || '' '' || (SELECT count(*) FROM matter)', ARRAY['1 1'], 'parallel workers: scope team');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_clerk_token', true) AS ignored \gset
SELECT results_eq('SELECT (SELECT count(*) FROM client) || '' '' || (SELECT count(*) FROM matter)', ARRAY['1 1'], 'parallel workers: scope assigned');
COMMIT;
RESET :force_parallel;
RESET min_parallel_table_scan_size;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;

-- ---- attempts ----

-- A cheap function that tells what it sees is not asked about rows that are not visible.
CREATE FUNCTION pg_temp.leak(text, uuid) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
    IF $2 <> current_setting('test.org')::uuid THEN
        RAISE EXCEPTION 'leaked';
    END IF;
    RETURN true;
END
$$;
CREATE OPERATOR pg_temp.<<< (FUNCTION = pg_temp.leak, LEFTARG = text, RIGHTARG = uuid);
SELECT set_config('test.org', :'alpha', false) AS ignored \gset
SELECT set_config('test.beta', :'beta', false) AS ignored \gset
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT lives_ok('SELECT * FROM client WHERE pg_temp.leak(name, org_id)', 'a leaky function in WHERE sees visible rows only');
SELECT lives_ok('SELECT * FROM client WHERE name OPERATOR(pg_temp.<<<) org_id', 'a leaky operator sees visible rows only');
SELECT lives_ok('SELECT * FROM client c JOIN matter m ON pg_temp.leak(c.name, m.org_id)', 'a leaky join condition sees visible rows only');
SELECT lives_ok('SELECT count(*) FILTER (WHERE pg_temp.leak(name, org_id)) FROM client', 'a leaky filter sees visible rows only');
SELECT lives_ok('SELECT * FROM matter m CROSS JOIN LATERAL (SELECT * FROM client c WHERE pg_temp.leak(c.name, c.org_id) AND c.id = m.client_id) l', 'a leaky LATERAL sees visible rows only');
SELECT lives_ok('SELECT * FROM client WHERE immiiq.visible(name, ''select'', org_id, NULL, NULL, NULL, NULL)', 'visible() itself, which is leakproof, raises for no argument');
SELECT ok(NOT immiiq.visible('everything', 'select', immiiq.current_org(), NULL, NULL, NULL, NULL), 'nobody has a module that there is not');
SELECT lives_ok('UPDATE client SET name = ''z'' WHERE pg_temp.leak(name, org_id)', 'a leaky UPDATE sees visible rows only');
SELECT lives_ok('DELETE FROM matter USING client c WHERE pg_temp.leak(c.name, matter.org_id)', 'a leaky DELETE USING sees visible rows only');
SELECT lives_ok('SELECT 1 / (CASE WHEN org_id = current_setting(''test.org'')::uuid THEN 1 ELSE 0 END) FROM client WHERE 1 / (CASE WHEN org_id = current_setting(''test.org'')::uuid THEN 1 ELSE 0 END) = 1', 'division by zero tells nothing of rows that are not visible');
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT throws_ok($$INSERT INTO client (org_id, name) VALUES (current_setting('test.beta')::uuid, 'x')$$, '42501', NULL, 'a foreign row is refused on INSERT');
SELECT throws_ok($$UPDATE client SET org_id = current_setting('test.beta')::uuid$$, '42501', NULL, 'a row cannot move to another organisation');
SELECT throws_ok($$INSERT INTO client (id, org_id) VALUES ('00000000-0000-4000-8000-00000000000d', current_setting('test.org')::uuid) ON CONFLICT (id) DO UPDATE SET name = 'mine'$$,
    '42501', NULL, 'ON CONFLICT DO UPDATE of a foreign row is refused');
SELECT throws_ok($$MERGE INTO client USING (SELECT '00000000-0000-4000-8000-00000000000d'::uuid AS id) s ON client.id = s.id
    WHEN MATCHED THEN UPDATE SET name = 'mine' WHEN NOT MATCHED THEN INSERT (id, org_id) VALUES (gen_random_uuid(), current_setting('test.beta')::uuid)$$, '42501', NULL, 'MERGE into another organisation is refused');
SELECT results_eq($$WITH u AS (UPDATE client SET name = 'mine' FROM (VALUES ('00000000-0000-4000-8000-00000000000d'::uuid)) v (id) WHERE client.id = v.id RETURNING client.*) SELECT count(*) FROM u$$,
    ARRAY[0::bigint], 'UPDATE … FROM … RETURNING does not reach a foreign row');
SELECT throws_ok('COPY client (name) FROM STDIN', '0A000', NULL, 'COPY FROM is refused by the server under row security');
SELECT throws_ok('TRUNCATE client', '42501', NULL, 'TRUNCATE is not granted');
SELECT throws_ok($$INSERT INTO matter (org_id, client_id) VALUES (current_setting('test.org')::uuid, '00000000-0000-4000-8000-00000000000d')$$, '23503',
    'insert or update on table "matter" violates foreign key constraint "matter_client"', 'a foreign client is refused');
SELECT throws_ok($$INSERT INTO matter (org_id, client_id) VALUES (current_setting('test.org')::uuid, '00000000-0000-4000-8000-0000000000ff')$$, '23503',
    'insert or update on table "matter" violates foreign key constraint "matter_client"', 'in the same words as one that does not exist');
ROLLBACK;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT lives_ok($$INSERT INTO client (name) VALUES ('new')$$, 'the organisation of a new row is that of who is asking');
SELECT results_eq($$SELECT count(*) FROM client WHERE name = 'new' AND org_id = current_setting('test.org')::uuid$$, ARRAY[1::bigint], 'and it is seen');
SELECT lives_ok($$DELETE FROM client WHERE id = '00000000-0000-4000-8000-00000000000a'$$, 'a client is deleted');
SELECT results_eq($$SELECT count(*) FROM matter WHERE client_id IS NULL AND org_id IS NOT NULL$$, ARRAY[2::bigint], 'ON DELETE SET NULL clears the client, not the organisation');
ROLLBACK;
-- The scope of writes is the scope of reads.
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT set_config('test.south', :'alpha_south', true) AS ignored \gset
SELECT set_config('test.north', :'alpha_north', true) AS ignored \gset
SELECT throws_ok($$INSERT INTO client (team_id) VALUES (current_setting('test.south')::uuid)$$, '42501', NULL, 'scope team: no row for another team');
SELECT throws_ok($$INSERT INTO client (team_id) VALUES (NULL)$$, '42501', NULL, 'scope team: no row for no team');
SELECT lives_ok($$INSERT INTO client (team_id) VALUES (current_setting('test.north')::uuid)$$, 'scope team: a row for the own team');
SELECT throws_ok($$UPDATE client SET team_id = current_setting('test.south')::uuid$$, '42501', NULL, 'scope team: a row is not handed to another team');
SELECT throws_ok($$INSERT INTO matter (client_id) VALUES ('00000000-0000-4000-8000-00000000000b')$$, '42501', NULL, 'scope team: no matter of a client that is not the team''s');
ROLLBACK;
RESET SESSION AUTHORIZATION;

-- What COPY TO writes is what is seen.
SET SESSION AUTHORIZATION regress_immiiq_app;
CREATE TEMP TABLE copied (line text);
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
\copy client (id) TO '/dev/null'
\if :{?ROW_COUNT}
\else
\set ROW_COUNT 0
\endif
SELECT is(:ROW_COUNT, 1, 'COPY TO writes visible rows only');
COMMIT;
RESET SESSION AUTHORIZATION;

-- ---- views ----

CREATE VIEW every_client WITH (security_invoker) AS SELECT * FROM client;
GRANT SELECT ON every_client TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) AS ignored \gset
SELECT results_eq('SELECT count(*) FROM every_client', ARRAY[1::bigint], 'a security_invoker view shows what the table shows');
COMMIT;
RESET SESSION AUTHORIZATION;

-- ---- partitions ----

CREATE TABLE message (id uuid DEFAULT gen_random_uuid(), org_id uuid, sent date, body text, PRIMARY KEY (id, sent)) PARTITION BY RANGE (sent);
CREATE TABLE message_2025 PARTITION OF message FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
SELECT lives_ok($$SELECT immiiq.protect('message', 'communications')$$, 'a partitioned table is protected');
CREATE TABLE message_2026 PARTITION OF message FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE message_2027 (junk int, sent date NOT NULL, body text, org_id uuid NOT NULL, id uuid NOT NULL);
ALTER TABLE message_2027 DROP COLUMN junk;
ALTER TABLE message ATTACH PARTITION message_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
GRANT SELECT, INSERT, UPDATE, DELETE ON message, message_2025, message_2026, message_2027 TO regress_immiiq_app;
INSERT INTO message (org_id, sent, body) SELECT o, d, 'x' FROM unnest(ARRAY[:'alpha', :'beta']::uuid[]) AS o, unnest(ARRAY['2025-05-05', '2026-05-05', '2027-05-05']::date[]) AS d;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT results_eq('SELECT count(*) FROM message', ARRAY[3::bigint], 'partitions are read through the table');
SELECT results_eq('SELECT (SELECT count(*) FROM message_2025) + (SELECT count(*) FROM message_2026) + (SELECT count(*) FROM message_2027)', ARRAY[0::bigint],
    'direct access to a partition, old, new or attached, shows nothing');
SELECT throws_ok($$INSERT INTO message_2026 (id, org_id, sent) VALUES (gen_random_uuid(), current_setting('test.org')::uuid, '2026-02-02')$$, '42501', NULL, 'and writes nothing');
SELECT results_eq($$WITH moved AS (UPDATE message SET sent = '2026-06-06' WHERE sent < '2026-01-01' RETURNING 1) SELECT count(*) FROM moved$$, ARRAY[1::bigint], 'a row moves between partitions');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM immiiq.protected_table WHERE relation::text LIKE 'message%'), 1::bigint, 'protected_table names the table, not its partitions');
SELECT is_empty($$SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'message%' AND tgname ~ '^(00_)?immiiq' AND tgenabled <> 'A'$$, 'the triggers of every partition fire always');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'message%' AND tgname ~ '^(00_)?immiiq'), 8::bigint, 'both of them on all of them');
SELECT throws_like('TRUNCATE message_2026', '%cannot be truncated', 'a partition is not truncated');
SELECT is((immiiq.protected_columns('message_2027')).org, 'org_id', 'a partition answers for its table, whatever its columns'' places');

-- ---- protect() refuses ----

CREATE TABLE keyless (org_id uuid);
CREATE TABLE typed (id int PRIMARY KEY, org_id text, client_id bigint, good uuid);
CREATE TABLE rowless (id int PRIMARY KEY, org_id uuid);
CREATE TABLE holed (id int PRIMARY KEY, org_id uuid);
INSERT INTO holed VALUES (1, NULL);
CREATE TABLE stray (id int PRIMARY KEY, org_id uuid);
INSERT INTO stray VALUES (1, gen_random_uuid());
CREATE TABLE parent (id int PRIMARY KEY, org_id uuid);
CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (parent);
CREATE TABLE widened (id int PRIMARY KEY, org_id uuid);
CREATE POLICY mine ON widened USING (true);
CREATE TEMP TABLE passing (id int PRIMARY KEY, org_id uuid);
SELECT throws_ok($$SELECT immiiq.protect('keyless', 'clients')$$, '42P16', NULL, 'protect refuses a table without a primary key');
SELECT throws_ok($$SELECT immiiq.protect('typed', 'clients')$$, '42804', NULL, 'protect refuses an organisation that is not uuid');
SELECT throws_ok($$SELECT immiiq.protect('typed', 'clients', org => 'good', client => 'client_id')$$, '42804', NULL, 'protect refuses a client that is not uuid');
SELECT throws_ok($$SELECT immiiq.protect('typed', 'clients', org => 'good', client => 'good')$$, '22023', NULL, 'protect refuses one column as two things');
SELECT throws_ok($$SELECT immiiq.protect('rowless', 'clients', team => 'team_id')$$, '42703', NULL, 'protect refuses a missing column');
SELECT throws_ok($$SELECT immiiq.protect('rowless', 'everything')$$, '22023', NULL, 'protect refuses an unknown module');
SELECT throws_ok($$SELECT immiiq.protect('rowless', 'clients', office => 'org_id')$$, '22023', NULL, 'protect refuses one column as two things');
SELECT throws_ok($$SELECT immiiq.protect('rowless', 'clients', portal => true)$$, '22023', NULL, 'protect opens no table without a client to the portal');
SELECT throws_ok($$SELECT immiiq.protect('rowless', 'clients', permissions => '{"truncate": "x"}')$$, '22023', NULL, 'protect refuses permissions for commands that there are not');
SELECT throws_ok($$SELECT immiiq.protect('every_client', 'clients')$$, '42809', NULL, 'protect refuses a view');
SELECT throws_ok($$SELECT immiiq.protect('passing', 'clients')$$, '42809', NULL, 'protect refuses a temporary table');
SELECT throws_ok($$SELECT immiiq.protect('message_2025', 'clients')$$, '42809', NULL, 'protect refuses a partition');
SELECT throws_ok($$SELECT immiiq.protect('parent', 'clients')$$, '0A000', NULL, 'protect refuses a table with heirs');
SELECT throws_ok($$SELECT immiiq.protect('heir', 'clients')$$, '0A000', NULL, 'protect refuses an heir');
SELECT throws_ok($$SELECT immiiq.protect('client', 'clients')$$, '42710', NULL, 'protect refuses what is protected already');
SELECT throws_ok($$SELECT immiiq.protect('widened', 'clients')$$, '42710', NULL, 'protect refuses a table with permissive policies');
SELECT throws_ok($$SELECT immiiq.protect('holed', 'clients')$$, '23502', NULL, 'protect refuses rows without an organisation');
SELECT throws_ok($$SELECT immiiq.protect('stray', 'clients')$$, '23503', NULL, 'protect refuses rows of an organisation that does not exist');
SELECT throws_ok($$CREATE POLICY wide ON client USING (true)$$, '42P17', NULL, 'a permissive policy on a protected table is refused');
SELECT lives_ok($$CREATE POLICY narrow ON client AS RESTRICTIVE USING (name <> 'hidden')$$, 'a restrictive one is not');
DROP POLICY narrow ON client;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$SELECT immiiq.protect('client', 'clients')$$, '42501', NULL, 'the application cannot protect');
SELECT throws_ok($$SELECT immiiq.unprotect('client')$$, '42501', NULL, 'the application cannot unprotect');
SELECT throws_ok($$SELECT immiiq.claim_domain('client', 'name')$$, '42501', NULL, 'the application cannot claim domains');
SELECT throws_ok($$DROP POLICY immiiq_select ON client$$, '42501', NULL, 'the application cannot drop policies');
SELECT throws_ok($$ALTER TABLE client DISABLE ROW LEVEL SECURITY$$, '42501', NULL, 'the application cannot end row security');
SET row_security = off;
SELECT throws_ok($$SELECT * FROM client$$, '42501', NULL, 'row_security = off opens nothing');
RESET row_security;
RESET SESSION AUTHORIZATION;

-- ---- what protect() makes, and unprotect() takes away ----

CREATE FUNCTION shape(target regclass) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT 'column ' || attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull || ' ' || coalesce(pg_get_expr(adbin, adrelid), '')
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = target AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = target
    UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = target
    UNION ALL SELECT 'statistics ' || pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = target
    UNION ALL SELECT 'trigger ' || tgname || tgenabled::text FROM pg_trigger WHERE tgrelid = target AND NOT tgisinternal
    UNION ALL SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = target
    UNION ALL SELECT 'security ' || relrowsecurity || relforcerowsecurity FROM pg_class WHERE oid = target
    ORDER BY 1
$$;
CREATE TABLE before_client (id uuid PRIMARY KEY, org_id uuid, team_id uuid, assignee_id uuid);
CREATE TABLE before_matter (id uuid PRIMARY KEY, org_id uuid NOT NULL, client_id uuid REFERENCES before_client ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE);
CREATE TABLE remembered AS SELECT t::text AS relation, shape(t::regclass) AS line FROM unnest(ARRAY['before_client', 'before_matter']) AS t;
SELECT immiiq.protect('before_client', 'clients', client => 'id', team => 'team_id', assignee => 'assignee_id') AS ignored \gset
SELECT immiiq.protect('before_matter', NULL, client => 'client_id') AS ignored \gset
SELECT set_eq($$SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'before_client'::regclass$$,
    ARRAY['before_client_pkey', 'before_client_id_immiiq', 'before_client_team_id_immiiq', 'before_client_assignee_id_immiiq', 'before_client_org_id_id_key'],
    'protect makes the indexes that scopes need');
SELECT is((SELECT count(*) FROM pg_statistic_ext WHERE stxrelid = 'before_client'::regclass), 3::bigint, 'and statistics on what implies the organisation');
SELECT is(pg_get_constraintdef(oid), 'FOREIGN KEY (org_id, client_id) REFERENCES before_client(org_id, id) ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE',
    'a foreign key is bound to the organisation and keeps its actions')
FROM pg_constraint WHERE conname = 'before_matter_client_id_fkey';
SELECT set_eq($$SELECT concat_ws(' ', relation, coalesce(module, '-'), org, client, coalesce(team, '-'), coalesce(assignee, '-'), forced) FROM immiiq.protected_table WHERE relation::text LIKE 'before%'$$,
    ARRAY['before_client clients org_id id team_id assignee_id t', 'before_matter - org_id client_id - - t'], 'protected_table shows it');
ALTER TABLE before_matter RENAME client_id TO person;
SELECT is((immiiq.protected_columns('before_matter')).client, 'person', 'a renamed column is followed');
ALTER TABLE before_matter RENAME person TO client_id;
SELECT immiiq.unprotect('before_matter') AS ignored \gset
SELECT immiiq.unprotect('before_client') AS ignored \gset
SELECT set_eq($$SELECT t || ' ' || shape(t::regclass) FROM unnest(ARRAY['before_client', 'before_matter']) AS t$$, $$SELECT relation || ' ' || line FROM remembered$$, 'unprotect leaves nothing behind');
-- An owner without superuser's powers, with rows and keys there already.
SELECT immiiq.grant_owner('regress_immiiq_nobody') AS ignored \gset
GRANT CREATE ON SCHEMA public TO regress_immiiq_nobody;
SET SESSION AUTHORIZATION regress_immiiq_nobody;
CREATE TABLE owned_client (id uuid PRIMARY KEY, org_id uuid, team_id uuid);
CREATE TABLE owned_matter (id uuid PRIMARY KEY, org_id uuid, client_id uuid REFERENCES owned_client);
INSERT INTO owned_client SELECT current_setting('test.org')::uuid, current_setting('test.org')::uuid;
INSERT INTO owned_matter SELECT current_setting('test.org')::uuid, current_setting('test.org')::uuid, current_setting('test.org')::uuid;
SELECT lives_ok($$SELECT immiiq.protect('owned_client', 'clients', client => 'id', team => 'team_id')$$, 'an owner protects a table with rows');
SELECT lives_ok($$SELECT immiiq.protect('owned_matter', 'cases', client => 'client_id')$$, 'and one that refers to it');
SELECT results_eq('SELECT (SELECT count(*) FROM owned_client) + (SELECT count(*) FROM owned_matter)', ARRAY[0::bigint], 'row security binds the owner, too');
SELECT throws_ok($$INSERT INTO owned_client (id, org_id) VALUES (gen_random_uuid(), current_setting('test.org')::uuid)$$, '42501', NULL, 'and its writes');
SELECT throws_ok($$SELECT immiiq.protect('client', 'clients')$$, '42501', NULL, 'an owner protects no table of others');
SELECT throws_ok($$SELECT immiiq.unprotect('client')$$, '42704', NULL, 'nor unprotects one');
SELECT throws_ok($$SELECT set_config('immiiq.token', 'iq_s_', true)$$, 'IQ013', NULL, 'the owner cannot act for a member');
SELECT throws_ok('TRUNCATE owned_matter', '42501', 'protected table "owned_matter" cannot be truncated', 'nor truncate');
SELECT lives_ok($$SELECT immiiq.unprotect('owned_client'), immiiq.unprotect('owned_matter')$$, 'it unprotects its own, in any order');
RESET SESSION AUTHORIZATION;

-- Sealed columns: a domain each, and no statistics: their operators estimate for themselves.
CREATE TABLE sealed (id uuid PRIMARY KEY, org_id uuid, name enc_text(equality, fold), born enc_date(equality), note enc_text(sealed), shared enc_text(7, equality));
SELECT lives_ok($$SELECT immiiq.protect('sealed', 'clients')$$, 'a table with sealed columns is protected');
SELECT is_empty($$SELECT attname FROM pg_attribute WHERE attrelid = 'sealed'::regclass AND attnum > 2 AND NOT EXISTS (SELECT FROM immiiq.column_domain WHERE relation = 'public.sealed' AND column_name = attname AND domain = atttypmod & 65535) AND attname <> 'shared'$$,
    'each has the domain that is recorded for it');
SELECT is((SELECT count(DISTINCT atttypmod & 65535) FROM pg_attribute WHERE attrelid = 'sealed'::regclass AND attnum > 2), 4::bigint, 'each its own');
SELECT is((SELECT atttypmod & 65535 FROM pg_attribute WHERE attrelid = 'sealed'::regclass AND attname = 'shared'), 7, 'but for one that was given');
SELECT is((SELECT count(*) FROM pg_statistic_ext WHERE stxrelid = 'sealed'::regclass), 0::bigint, 'and no statistics with the organisation');
SELECT immiiq.unprotect('sealed') AS ignored \gset
SELECT is((SELECT count(*) FROM pg_attribute WHERE attrelid = 'sealed'::regclass AND attnum > 2 AND atttypmod & 65535 <> 0), 1::bigint, 'unprotect takes the domains of an empty table');
CREATE TABLE filled (id uuid PRIMARY KEY, org_id uuid, name enc_text(equality));
INSERT INTO filled (id, org_id) VALUES (gen_random_uuid(), :'alpha');
SELECT throws_ok($$SELECT immiiq.protect('filled', 'clients')$$, '55000', NULL, 'a sealed column without a domain is refused when there are rows');

SELECT throws_ok($$SELECT immiiq.unprotect('before_client')$$, '42704', NULL, 'what is not protected cannot be unprotected');
SELECT immiiq.protect('before_client', 'clients') AS ignored \gset
DROP TABLE before_matter, before_client;
SELECT is_empty($$SELECT * FROM immiiq.protection WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = relid)$$, 'a dropped table is forgotten');

SELECT * FROM finish();
