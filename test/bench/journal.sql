-- What the records of opened fields and of denials cost who makes no use of them.
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
SELECT * FROM bench_line('journal', 'ordinary statements, times the same while immiiq.record_denials is off', :ordinary_a_ms / :ordinary_b_ms, 1.01, ' x');
SELECT * FROM bench_line('journal', 'statements with errors that are no denials, the same', :errors_a_ms / :errors_b_ms, 1.01, ' x');

\setenv TOKEN :token
\setenv DATABASE :DBNAME
ALTER SYSTEM SET fsync = on;
SELECT pg_reload_conf() \gset ignored_
\! ./journal_client.sh "$DATABASE" "$TOKEN"
ALTER SYSTEM RESET fsync;
SELECT pg_reload_conf() \gset ignored_
