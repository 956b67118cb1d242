-- What a value costs on its way in and out, beside the same statement on text.
\set rows 'greatest(1000, 100000 * ':scale')::int'
CREATE TABLE sealed (org_id uuid DEFAULT immiiq.current_org(), v enc_text(1, equality));
CREATE TABLE plain AS SELECT 'passport ' || i AS v FROM generate_series(1, :rows) AS i;
GRANT SELECT, INSERT ON sealed, plain TO bench_app;
GRANT CREATE ON SCHEMA public TO bench_app;

SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
INSERT INTO sealed (v) SELECT v FROM plain;
SELECT * FROM bench_pair('SELECT count(v::enc_text(1, equality)) FROM plain',
                         'SELECT count((v || '''')::varchar(100)) FROM plain', 5) \gset seal_
SELECT * FROM bench_pair('SELECT sum(length(v::text)) FROM sealed',
                         'SELECT sum(length(v)) FROM plain', 5) \gset open_
COMMIT;
SELECT * FROM bench_line('types', 'seal a text of 15 characters with a tag', (:seal_a_ms - :seal_b_ms) * 1000 / :rows, 2, ' us');
SELECT * FROM bench_line('types', 'open it', (:open_a_ms - :open_b_ms) * 1000 / :rows, 1, ' us');
RESET SESSION AUTHORIZATION;
