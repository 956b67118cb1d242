-- Rotating an organisation's keys beside what no rotation can do without: open and seal each value, and update its row.
\set rows 'greatest(1000, 100000 * ':scale')::int'
CREATE TABLE sealed (id int, org_id uuid DEFAULT immiiq.current_org(), v enc_text(1, equality));
CREATE TABLE plain AS SELECT i AS id, 'passport ' || i AS v FROM generate_series(1, :rows) AS i;
CREATE INDEX ON sealed (v);
CREATE INDEX ON plain (v);
GRANT SELECT, INSERT ON sealed, plain TO bench_app;
SELECT set_config('bench.org', :'org', false) \gset ignored_
-- Procedures commit, so what is measured beside them does, too. New tags stand in no order, and so do the new texts of the plain update.
CREATE TABLE took (what text, ms float8);
CREATE PROCEDURE rounds() LANGUAGE plpgsql AS $$
DECLARE
    t timestamptz;
BEGIN
    FOR i IN 1..3 LOOP
        t := clock_timestamp();
        UPDATE plain SET v = md5(v);
        COMMIT;
        INSERT INTO took VALUES ('update', extract(epoch FROM clock_timestamp() - t) * 1000);
        COMMIT;
        t := clock_timestamp();
        CALL immiiq.rotate_key(current_setting('bench.org')::uuid);
        INSERT INTO took VALUES ('rotate', extract(epoch FROM clock_timestamp() - t) * 1000);
        COMMIT;
    END LOOP;
END
$$;

SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
INSERT INTO sealed (id, v) SELECT id, v FROM plain;
SELECT * FROM bench_pair('SELECT count(v::enc_text(1, equality)) FROM plain',
                         'SELECT count((v || '''')::varchar(100)) FROM plain', 3) \gset seal_
SELECT * FROM bench_pair('SELECT sum(length(v::text)) FROM sealed',
                         'SELECT sum(length(v)) FROM plain', 3) \gset open_
COMMIT;
RESET SESSION AUTHORIZATION;
CALL rounds();
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'rotate') AS rotate_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'update') AS update_ms FROM took \gset
SELECT * FROM bench_line('rekey', 'rotate_key, over seal, open and a plain UPDATE of the same rows',
    :rotate_ms / (:update_ms + :seal_a_ms - :seal_b_ms + :open_a_ms - :open_b_ms), 1.5, ' x');
