-- Plans under row security, as psql shows them: every scope is served by an index, and so are prepared statements.
-- Plans are measured as the application, which the firewall would refuse.
SET immiiq.firewall = off;
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_immiiq_plans;
RESET client_min_messages;
CREATE ROLE regress_immiiq_plans LOGIN;
SELECT immiiq.grant_application('regress_immiiq_plans');
CREATE FUNCTION nth(kind text, n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5(kind || n)::uuid $$;

CREATE TABLE plan_client (id uuid PRIMARY KEY, org_id uuid, team_id uuid, assignee_id uuid, name text);
CREATE TABLE plan_matter (id uuid PRIMARY KEY, org_id uuid, client_id uuid REFERENCES plan_client, title text);
CREATE TABLE plan_note (id uuid PRIMARY KEY, org_id uuid, body text);
SELECT immiiq.protect('plan_client', 'clients', client => 'id', team => 'team_id', assignee => 'assignee_id');
SELECT immiiq.protect('plan_matter', 'cases', client => 'client_id');
SELECT immiiq.protect('plan_note', 'communications');
GRANT SELECT, INSERT, UPDATE, DELETE ON plan_client, plan_matter, plan_note TO regress_immiiq_plans;

-- 20 organisations of 300 clients, with four teams; members of the first one in every scope.
\o /dev/null
SELECT immiiq.create_org('Organisation ' || n, nth('org', n)) FROM generate_series(1, 20) AS n;
\o
INSERT INTO immiiq.team (org_id, team_id, name) SELECT nth('org', o), nth('team', o * 10 + t), 'Team ' || t FROM generate_series(1, 20) AS o, generate_series(1, 4) AS t;
INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules)
SELECT nth('org', o), nth('member', o * 10 + m), m || '@example', 'Member ' || m, scope, modules::text[]
FROM generate_series(1, 20) AS o,
    (VALUES (1, 'all', '{clients,cases,communications}'), (2, 'team', '{clients,cases,communications}'), (3, 'team', '{clients,cases,communications}'),
            (4, 'assigned', '{clients,cases,communications}'), (5, 'all', '{}'), (6, 'assigned', '{clients,cases,communications}')) AS v (m, scope, modules);
INSERT INTO immiiq.team_member (org_id, team_id, member_id) VALUES
    (nth('org', 1), nth('team', 11), nth('member', 12)), (nth('org', 1), nth('team', 11), nth('member', 13)), (nth('org', 1), nth('team', 12), nth('member', 13));
INSERT INTO plan_client SELECT nth('client', c), nth('org', c % 20 + 1), nth('team', (c % 20 + 1) * 10 + c / 20 % 4 + 1), nth('member', (c % 20 + 1) * 10 + c / 20 % 25 % 6 + 1), 'Client ' || c
FROM generate_series(1, 6000) AS c;
INSERT INTO plan_matter SELECT nth('matter', m * 6000 + c), nth('org', c % 20 + 1), nth('client', c), 'Matter ' || m FROM generate_series(1, 6000) AS c, generate_series(1, 2) AS m;
INSERT INTO plan_note SELECT nth('note', c), nth('org', c % 20 + 1), 'Note' FROM generate_series(1, 6000) AS c;
INSERT INTO immiiq.assignment (org_id, assignment_id, client_id, member_id)
SELECT org_id, nth('by member', row_number() OVER (ORDER BY id)::int), id, nth('member', 14) FROM plan_client WHERE org_id = nth('org', 1) AND assignee_id = nth('member', 14);
INSERT INTO immiiq.assignment (org_id, assignment_id, client_id, team_id)
SELECT org_id, nth('by team', row_number() OVER (ORDER BY id)::int), id, team_id FROM plan_client WHERE org_id = nth('org', 1) AND team_id IN (nth('team', 11), nth('team', 12));
-- One member has more clients than an index condition should list.
INSERT INTO immiiq.assignment (org_id, assignment_id, client_id, member_id)
SELECT nth('org', 1), nth('many', c), nth('client', c), nth('member', 16) FROM generate_series(1, 600) AS c;
ANALYZE plan_client, plan_matter, plan_note, immiiq.assignment, immiiq.team_member;

BEGIN;
SELECT FROM immiiq.operate(nth('org', 1), 'test of plans') \gset
SELECT immiiq.issue_session(nth('member', 11)) AS all_token, immiiq.issue_session(nth('member', 12)) AS team_token,
    immiiq.issue_session(nth('member', 13)) AS teams_token, immiiq.issue_session(nth('member', 14)) AS assigned_token,
    immiiq.issue_session(nth('member', 15)) AS off_token, immiiq.issue_session(nth('member', 16)) AS many_token \gset
COMMIT;
SELECT nth('client', 20) AS client \gset

SET SESSION AUTHORIZATION regress_immiiq_plans;
-- The tables are small, and whether to scan them, by bitmap or in parallel, is the planner's choice: what matters
-- here is which conditions an index serves.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET max_parallel_workers_per_gather = 0;

-- Scope all
BEGIN;
SELECT set_config('immiiq.token', :'all_token', true) AS ignored \gset
EXPLAIN (COSTS OFF) SELECT * FROM plan_client LIMIT 20;
EXPLAIN (COSTS OFF) SELECT count(name) FROM plan_client;
EXPLAIN (COSTS OFF) SELECT * FROM plan_client WHERE id = :'client';
EXPLAIN (COSTS OFF) SELECT c.name, m.title FROM plan_client c JOIN plan_matter m ON m.client_id = c.id WHERE c.id = :'client';
EXPLAIN (COSTS OFF) SELECT count(title) FROM plan_matter;
EXPLAIN (COSTS OFF) SELECT count(body) FROM plan_note;
EXPLAIN (COSTS OFF) UPDATE plan_client SET name = 'x' WHERE id = :'client';
EXPLAIN (COSTS OFF) DELETE FROM plan_client WHERE id = :'client';
EXPLAIN (COSTS OFF) INSERT INTO plan_note VALUES (gen_random_uuid());
COMMIT;

-- Scope team, one team
BEGIN;
SELECT set_config('immiiq.token', :'team_token', true) AS ignored \gset
EXPLAIN (COSTS OFF) SELECT * FROM plan_client LIMIT 20;
EXPLAIN (COSTS OFF) SELECT count(name) FROM plan_client;
EXPLAIN (COSTS OFF) SELECT * FROM plan_client WHERE id = :'client';
EXPLAIN (COSTS OFF) SELECT c.name, m.title FROM plan_client c JOIN plan_matter m ON m.client_id = c.id WHERE c.id = :'client';
EXPLAIN (COSTS OFF) SELECT count(title) FROM plan_matter;
EXPLAIN (COSTS OFF) UPDATE plan_client SET name = 'x' WHERE id = :'client';
COMMIT;

-- Scope team, two teams
BEGIN;
SELECT set_config('immiiq.token', :'teams_token', true) AS ignored \gset
EXPLAIN (COSTS OFF) SELECT count(name) FROM plan_client;
EXPLAIN (COSTS OFF) SELECT count(title) FROM plan_matter;
COMMIT;

-- Scope assigned
BEGIN;
SELECT set_config('immiiq.token', :'assigned_token', true) AS ignored \gset
EXPLAIN (COSTS OFF) SELECT * FROM plan_client LIMIT 20;
EXPLAIN (COSTS OFF) SELECT count(name) FROM plan_client;
EXPLAIN (COSTS OFF) SELECT * FROM plan_client WHERE id = :'client';
EXPLAIN (COSTS OFF) SELECT count(title) FROM plan_matter;
EXPLAIN (COSTS OFF) UPDATE plan_client SET name = 'x' WHERE id = :'client';
COMMIT;

-- Scope assigned, with more clients than an index condition lists
BEGIN;
SELECT set_config('immiiq.token', :'many_token', true) AS ignored \gset
EXPLAIN (COSTS OFF) SELECT count(title) FROM plan_matter;
SELECT count(title) FROM plan_matter;
COMMIT;

-- Modules off: an index scan that reads nothing, not even the index.
CREATE FUNCTION pg_temp.blocks(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
    RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
END
$$;
BEGIN;
SELECT set_config('immiiq.token', :'off_token', true) AS ignored \gset
EXPLAIN (COSTS OFF) SELECT count(name) FROM plan_client;
SELECT pg_temp.blocks('SELECT count(name) FROM plan_client') AS client, pg_temp.blocks('SELECT count(title) FROM plan_matter') AS matter,
    pg_temp.blocks('SELECT count(body) FROM plan_note') AS note;
COMMIT;
-- The same for nobody.
SELECT pg_temp.blocks('SELECT count(name) FROM plan_client') AS client, pg_temp.blocks('SELECT count(title) FROM plan_matter') AS matter,
    pg_temp.blocks('SELECT count(body) FROM plan_note') AS note;

-- Prepared statements: generic plans keep the shape of the scope, and go when another comes.
SET plan_cache_mode = force_generic_plan;
PREPARE by_client(uuid) AS SELECT count(title) FROM plan_matter WHERE client_id = $1;
BEGIN;
SELECT set_config('immiiq.token', :'all_token', true) AS ignored \gset
EXPLAIN (COSTS OFF) EXECUTE by_client(:'client');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'assigned_token', true) AS ignored \gset
EXPLAIN (COSTS OFF) EXECUTE by_client(:'client');
COMMIT;
-- What was planned for nobody, or while modules were off, does not stay for those who see rows.
PREPARE of_client(uuid) AS SELECT name FROM plan_client WHERE id = $1;
EXPLAIN (COSTS OFF) EXECUTE of_client(:'client');
BEGIN;
SELECT set_config('immiiq.token', :'off_token', true) AS ignored \gset
EXPLAIN (COSTS OFF) EXECUTE of_client(:'client');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'all_token', true) AS ignored \gset
EXPLAIN (COSTS OFF) EXECUTE of_client(:'client');
COMMIT;
RESET SESSION AUTHORIZATION;
