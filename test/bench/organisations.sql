-- Many organisations beside fifty: the same statements of the same member in a copy of the database that others come to, and in one that they do not,
-- in turn, each time in a new session. In CPU time of one process.
-- BENCH_SCALE=10: 10,000 organisations with 200,000 members; 1: a tenth of them.
\set more 'greatest(100, 1000 * ':scale')::int - 50'
CREATE TABLE client (org_id uuid, client_id uuid DEFAULT gen_random_uuid(), team_id uuid, created int, name text, PRIMARY KEY (org_id, client_id));
SELECT immiiq.protect('client', 'clients', client => 'client_id', team => 'team_id') AS ignored \gset
CREATE INDEX ON client (org_id, created);
GRANT SELECT, INSERT, UPDATE, DELETE ON client TO bench_app;
-- Organisations with twenty members and ten clients each.
CREATE PROCEDURE add_organisations(n int) LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE made AS SELECT immiiq.create_org('Other ' || i) AS org_id FROM generate_series(1, n) AS i;
    SET LOCAL session_replication_role = replica;
    INSERT INTO immiiq.team (org_id, name) SELECT org_id, 'Team ' || i FROM made, generate_series(1, 2) AS i;
    INSERT INTO immiiq.member (org_id, email, name, scope, modules)
        SELECT org_id, i || '@bench.example', 'Member ' || i, 'team', '{clients}' FROM made, generate_series(1, 20) AS i;
    INSERT INTO immiiq.team_member (org_id, team_id, member_id)
        SELECT t.org_id, t.team_id, m.member_id FROM made JOIN immiiq.team AS t USING (org_id) JOIN immiiq.member AS m USING (org_id) WHERE t.name = 'Team 1';
    INSERT INTO immiiq.session (org_id, member_id, token_hash, expires_at)
        SELECT org_id, member_id, sha256(member_id::text::bytea), now() + interval '8 hours' FROM made JOIN immiiq.member USING (org_id);
    INSERT INTO client (org_id, client_id, created, name) SELECT org_id, gen_random_uuid(), i, 'Client' FROM made, generate_series(1, 10) AS i;
    DROP TABLE made;
END $$;
CALL add_organisations(49);
BEGIN;
SELECT FROM immiiq.operate(:'org', 'bench') \gset
INSERT INTO client (created, name) SELECT i, 'Client ' || i FROM generate_series(1, 2000) AS i;
COMMIT;
SELECT client_id AS some FROM client WHERE org_id = :'org' LIMIT 1 \gset
CREATE TABLE statement (n int, what text, times int, statement text);
INSERT INTO statement VALUES
    (1, 'a token made active', 300, format('DO %L', format('BEGIN PERFORM set_config(%L, %L, true); PERFORM set_config(%1$L, '''', true); END', 'immiiq.token', :'token'))),
    (2, 'count', 20, 'SELECT count(*) FROM client'), (3, 'ORDER BY … LIMIT 20', 300, 'SELECT * FROM client ORDER BY created LIMIT 20'),
    (4, 'key lookup', 300, format('SELECT * FROM client WHERE client_id = %L', :'some')),
    (5, 'UPDATE of a row', 100, format('UPDATE client SET name = name WHERE client_id = %L', :'some')),
    (6, 'members read', 100, 'SELECT count(*) FROM immiiq.member');
GRANT SELECT ON statement TO bench_app;
CREATE TABLE took (n int, ms float8);
GRANT INSERT ON took TO bench_app;
CREATE PROCEDURE measure(token text) LANGUAGE plpgsql AS $$
DECLARE
    s record;
    t float8;
BEGIN
    FOR round IN 1..3 LOOP
        FOR k IN 1..6 LOOP
            SELECT * INTO s FROM statement WHERE n = k;
            IF s.n > 1 THEN PERFORM set_config('immiiq.token', token, true); END IF;
            t := bench_cpu();
            FOR i IN 1..s.times LOOP EXECUTE s.statement; END LOOP;
            INSERT INTO took VALUES (s.n, bench_cpu() - t);
            COMMIT;
        END LOOP;
    END LOOP;
END $$;
SELECT current_database() AS many, current_database() || '_few' AS few \gset
\c postgres
CREATE DATABASE :few TEMPLATE :many;
\c :few
VACUUM ANALYZE;
\c :many
CALL add_organisations(:more);
VACUUM ANALYZE;
\c :few
SET SESSION AUTHORIZATION bench_app;
CALL measure(:'token');
\c :many
SET SESSION AUTHORIZATION bench_app;
CALL measure(:'token');
\c :few
SET SESSION AUTHORIZATION bench_app;
CALL measure(:'token');
\c :many
SET SESSION AUTHORIZATION bench_app;
CALL measure(:'token');
\c :few
SET SESSION AUTHORIZATION bench_app;
CALL measure(:'token');
\c :many
SET SESSION AUTHORIZATION bench_app;
CALL measure(:'token');
\c :few
SELECT jsonb_object_agg(n, ms) AS alone FROM (SELECT n, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS ms FROM took GROUP BY n) AS t \gset
\c :many
SELECT l.* FROM (SELECT s.n, s.what, percentile_cont(0.5) WITHIN GROUP (ORDER BY t.ms) / ((:'alone'::jsonb) ->> s.n::text)::float8 AS ratio
    FROM took AS t JOIN statement AS s USING (n) GROUP BY s.n, s.what) AS r
    CROSS JOIN LATERAL bench_line('organisations', r.what || ' among ' || (SELECT count(*) FROM immiiq.org) || ' organisations with ' || (SELECT count(*) FROM immiiq.member)
        || ' members, times the same among 50', r.ratio, 1.2, ' x') AS l
ORDER BY r.n;
DROP DATABASE :few (FORCE);
