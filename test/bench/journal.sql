-- What the records of opened fields and of denials cost who makes no use of them, and what the time of verify_access tells.
CREATE TABLE sealed (org_id uuid, id int, v enc_text(equality), PRIMARY KEY (org_id, id));
CREATE TABLE plain (org_id uuid, id int, line text, PRIMARY KEY (org_id, id));
CREATE TABLE refused (id int);
SELECT immiiq.protect('sealed', 'clients'), immiiq.protect('plain', 'clients') \gset ignored_
GRANT SELECT, INSERT ON sealed, plain TO bench_app;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
INSERT INTO sealed (id, v) SELECT i, 'X' || i FROM generate_series(1, 10000) AS i;
INSERT INTO plain (id, line) SELECT i, repeat('x', 100) FROM generate_series(1, 1000) AS i;
COMMIT;
RESET SESSION AUTHORIZATION;
VACUUM ANALYZE sealed, plain;
-- In CPU time, as the two are near to each other: statements as short as they come, errors that are no denials.
CREATE FUNCTION look_up(n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    FOR i IN 1..n LOOP SELECT p.line INTO found FROM bare AS p WHERE p.id = 1 + i % 1000; END LOOP;
END $$;
CREATE FUNCTION fail(n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    FOR i IN 1..n LOOP
        BEGIN SELECT p.line INTO found FROM bare AS p WHERE p.id = 1 / (i - i); EXCEPTION WHEN division_by_zero THEN NULL; END;
    END LOOP;
END $$;
CREATE TABLE bare AS SELECT id, line FROM plain;
ALTER TABLE bare ADD PRIMARY KEY (id);
VACUUM ANALYZE bare;
SELECT * FROM bench_pair_cpu('SELECT set_config(''immiiq.record_denials'', ''on'', false), look_up(5000)', 'SELECT set_config(''immiiq.record_denials'', ''off'', false), look_up(5000)', 60) \gset ordinary_
SELECT * FROM bench_pair_cpu('SELECT set_config(''immiiq.record_denials'', ''on'', false), fail(1000)', 'SELECT set_config(''immiiq.record_denials'', ''off'', false), fail(1000)', 60) \gset errors_
RESET immiiq.record_denials;
SELECT * FROM bench_line('journal', 'ordinary statements, times the same while immiiq.record_denials is off', :ordinary_a_ms / :ordinary_b_ms, 1.0101, ' x'); -- 1 / 0.99 of the throughput
SELECT * FROM bench_line('journal', 'statements with errors that are no denials, the same', :errors_a_ms / :errors_b_ms, 1.0101, ' x'); -- 1 / 0.99 of the throughput

-- Another organisation's rows, one's own that nobody may see, and ids that there are not, in turn: the best of five calls each.
CREATE TABLE matter (org_id uuid, id uuid PRIMARY KEY, client_id uuid, line text);
SELECT immiiq.protect('matter', 'clients', client => 'client_id') \gset ignored_
GRANT SELECT ON matter TO bench_app;
SET SESSION AUTHORIZATION bench_operator;
SELECT immiiq.create_org('Other') AS other \gset
RESET SESSION AUTHORIZATION;
SET session_replication_role = replica;
INSERT INTO matter SELECT CASE WHEN i % 2 = 0 THEN :'org' ELSE :'other' END::uuid, md5(i::text)::uuid, gen_random_uuid(), repeat('x', 200) FROM generate_series(1, 20000) AS i;
SET session_replication_role = origin;
VACUUM ANALYZE matter;
CREATE TABLE asked (kind int, us float8);
GRANT INSERT ON asked TO bench_app;
SET SESSION AUTHORIZATION bench_operator;
BEGIN;
SELECT FROM immiiq.operate(:'org', 'bench') \gset
INSERT INTO immiiq.member (org_id, email, name, scope, modules) VALUES (:'org', 'clerk@bench.example', 'Clerk', 'assigned', '{clients}') RETURNING member_id AS clerk \gset
SELECT immiiq.issue_session(:'clerk') AS clerk_token \gset
COMMIT;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'clerk_token', true) \gset ignored_
DO $$
DECLARE
    t timestamptz;
    id uuid;
    us float8;
BEGIN
    FOR i IN 1..1500 LOOP
        id := md5(CASE i % 3 WHEN 0 THEN 2 * i - 1 WHEN 1 THEN 2 * i ELSE 1000000 + i END::text)::uuid;
        us := 'Infinity';
        FOR again IN 1..5 LOOP
            t := clock_timestamp();
            PERFORM immiiq.verify_access('matter', id);
            us := least(us, extract(epoch FROM clock_timestamp() - t) * 1e6);
        END LOOP;
        IF i > 300 THEN INSERT INTO asked VALUES (i % 3, us); END IF;
    END LOOP;
END $$;
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT l.* FROM (VALUES ('another organisation''s', 0), ('one''s own, out of scope,', 1)) AS v (whose, kind)
    CROSS JOIN LATERAL (SELECT avg(CASE WHEN x.us > y.us THEN 1 WHEN x.us = y.us THEN 0.5 ELSE 0 END)::float8 AS auc FROM asked AS x, asked AS y WHERE x.kind = v.kind AND y.kind = 2) AS a
    CROSS JOIN LATERAL bench_line('journal', format('a row, %s told from none by the time of verify_access', v.whose), greatest(a.auc, 1 - a.auc), 0.6, '') AS l;

\setenv TOKEN :token
\setenv DATABASE :DBNAME
ALTER SYSTEM SET fsync = on;
SELECT pg_reload_conf() \gset ignored_
\! ./journal_client.sh "$DATABASE" "$TOKEN"
ALTER SYSTEM RESET fsync;
SELECT pg_reload_conf() \gset ignored_
