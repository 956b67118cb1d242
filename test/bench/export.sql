-- An export beside COPY of the same rows, both in clear and to the client. Medians of three rounds in turn.
UPDATE immiiq.member SET modules = '{clients,reports}', permissions = '{export}';
CREATE TABLE client (org_id uuid, client_id uuid DEFAULT gen_random_uuid(), name enc_text(equality, fold), born enc_date(equality), passport enc_text(equality),
    street text, city text, tags text[], vip boolean, score numeric, opened timestamptz DEFAULT now(), PRIMARY KEY (org_id, client_id));
SELECT immiiq.protect('client', 'clients', client => 'client_id') \gset ignored_
INSERT INTO immiiq.export_rule (target, "column", rule) SELECT relation, column_name, 'export' FROM immiiq.export_column WHERE rule IS NULL;
GRANT SELECT, INSERT ON client TO bench_app;
CREATE TABLE took (what text, ms float8);
GRANT INSERT ON took TO bench_app;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
INSERT INTO client (name, born, passport, street, city, tags, vip, score)
SELECT 'Zoe Nunez ' || n, '1990-04-01', 'X' || n, 'Long Street ' || n, 'Harbour', '{a,b}', true, n FROM generate_series(1, 30000) AS n;
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
\o /dev/null
SELECT clock_timestamp() AS t \gset
COPY (SELECT * FROM client) TO STDOUT;
\o
INSERT INTO took VALUES ('copy', extract(epoch FROM clock_timestamp() - :'t'::timestamptz) * 1000);
\o /dev/null
SELECT clock_timestamp() AS t \gset
COPY (SELECT immiiq.export_org(files => '{tables/public.client.jsonl}')) TO STDOUT;
\o
INSERT INTO took VALUES ('export', extract(epoch FROM clock_timestamp() - :'t'::timestamptz) * 1000);
\o /dev/null
SELECT clock_timestamp() AS t \gset
COPY (SELECT * FROM client) TO STDOUT;
\o
INSERT INTO took VALUES ('copy', extract(epoch FROM clock_timestamp() - :'t'::timestamptz) * 1000);
\o /dev/null
SELECT clock_timestamp() AS t \gset
COPY (SELECT immiiq.export_org(files => '{tables/public.client.jsonl}')) TO STDOUT;
\o
INSERT INTO took VALUES ('export', extract(epoch FROM clock_timestamp() - :'t'::timestamptz) * 1000);
\o /dev/null
SELECT clock_timestamp() AS t \gset
COPY (SELECT * FROM client) TO STDOUT;
\o
INSERT INTO took VALUES ('copy', extract(epoch FROM clock_timestamp() - :'t'::timestamptz) * 1000);
\o /dev/null
SELECT clock_timestamp() AS t \gset
COPY (SELECT immiiq.export_org(files => '{tables/public.client.jsonl}')) TO STDOUT;
\o
INSERT INTO took VALUES ('export', extract(epoch FROM clock_timestamp() - :'t'::timestamptz) * 1000);
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'export') / percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'copy') AS ratio FROM took \gset
SELECT * FROM bench_line('export', 'time of export_org, times COPY of the same rows', :ratio, 2, ' x');

-- What a session has of its own while it exports many rows; they are there before the table is protected.
CREATE TABLE visit (org_id uuid, visit_id int8, client_id uuid, note text);
INSERT INTO visit SELECT :'org', n, gen_random_uuid(), 'note ' || n FROM generate_series(1, 1000000 * :scale) AS n;
ALTER TABLE visit ADD PRIMARY KEY (org_id, visit_id);
SELECT immiiq.protect('visit', 'clients', client => 'client_id') \gset ignored_
INSERT INTO immiiq.export_rule (target, "column", rule) SELECT relation, column_name, 'export' FROM immiiq.export_column WHERE rule IS NULL;
SELECT pg_stat_force_next_flush() \gset ignored_
\setenv PGDATABASE :DBNAME
\setenv BENCH_TOKEN :token
\! ./export_client.sh "$BENCH_TOKEN"
