-- What the record of opened fields costs a transaction that reads one sealed value, prepared, with a token: pgbench with it on and off.
CREATE TABLE sealed (org_id uuid, id int, v enc_text(equality), PRIMARY KEY (org_id, id));
SELECT immiiq.protect('sealed', 'clients') \gset ignored_
GRANT SELECT, INSERT ON sealed TO bench_app;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
INSERT INTO sealed (id, v) SELECT i, 'X' || i FROM generate_series(1, 10000) AS i;
COMMIT;
RESET SESSION AUTHORIZATION;
VACUUM ANALYZE sealed;
CREATE TABLE run (recorded bool, tps float8);
\setenv TOKEN :token
\set script `f=$(mktemp); printf '%s\n' '\set id random(1, 10000)' 'BEGIN;' "SELECT set_config('immiiq.token', '$TOKEN', true);" 'SELECT v FROM sealed WHERE id = :id;' 'COMMIT;' > $f; echo $f`
\setenv SCRIPT :script
\setenv DATABASE :DBNAME
-- Interleaved, four rounds; the first of them warms up.
\set run 'pgbench -n -U bench_app -M prepared -c 2 -T 2 -f $SCRIPT $DATABASE 2>/dev/null | sed -n "s/^tps = \\([0-9.]*\\).*/\\1/p"'
\setenv RUN :run
ALTER ROLE bench_app SET immiiq.record_field_access = on;
\set tps `eval "$RUN"`
ALTER ROLE bench_app SET immiiq.record_field_access = off;
\set tps `eval "$RUN"`
INSERT INTO run VALUES (false, :tps);
ALTER ROLE bench_app SET immiiq.record_field_access = on;
\set tps `eval "$RUN"`
INSERT INTO run VALUES (true, :tps);
ALTER ROLE bench_app SET immiiq.record_field_access = off;
\set tps `eval "$RUN"`
INSERT INTO run VALUES (false, :tps);
ALTER ROLE bench_app SET immiiq.record_field_access = on;
\set tps `eval "$RUN"`
INSERT INTO run VALUES (true, :tps);
ALTER ROLE bench_app SET immiiq.record_field_access = off;
\set tps `eval "$RUN"`
INSERT INTO run VALUES (false, :tps);
ALTER ROLE bench_app SET immiiq.record_field_access = on;
\set tps `eval "$RUN"`
INSERT INTO run VALUES (true, :tps);
ALTER ROLE bench_app RESET immiiq.record_field_access;
\! rm -f "$SCRIPT"
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY tps) FILTER (WHERE NOT recorded) / percentile_cont(0.5) WITHIN GROUP (ORDER BY tps) FILTER (WHERE recorded) AS ratio,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY tps) FILTER (WHERE recorded) AS tps FROM run \gset
-- 1 / 0.97 of the throughput without it
SELECT * FROM bench_line('journal', 'a transaction that opens a field, times the same unrecorded', :ratio, 1.031, ' x');
