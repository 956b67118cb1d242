-- What compares tags, on a million rows (BENCH_SCALE=10: ten million) of tables that differ in nothing but the columns' types: B-tree
-- build and GROUP BY in CPU time, and one row by its value, prepared, through a client. Tags stand in no order, so texts do not either.
CREATE TABLE tag_sealed (org_id uuid NOT NULL DEFAULT immiiq.current_org(), id int, v enc_text(equality), kind enc_text(equality), PRIMARY KEY (org_id, id));
CREATE TABLE tag_plain (org_id uuid NOT NULL DEFAULT immiiq.current_org(), id int, v text, kind text, PRIMARY KEY (org_id, id));
SELECT count(immiiq.protect(t, 'clients')) FROM unnest(ARRAY['tag_sealed', 'tag_plain']::regclass[]) AS t \gset ignored_
GRANT SELECT, INSERT ON tag_sealed, tag_plain TO bench_app;
ALTER TABLE tag_sealed DISABLE TRIGGER "00_immiiq_capture";
ALTER TABLE tag_plain DISABLE TRIGGER "00_immiiq_capture";
\set tags 'greatest(10000, 1000000 * ':scale')::int'
SELECT :tags AS tags \gset
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
INSERT INTO tag_sealed (id, v, kind) SELECT i, 'X' || i * 2654435761 % :tags + 1, 'kind ' || i * 7919::int8 % 1000 FROM generate_series(1, :tags) AS i;
INSERT INTO tag_plain (id, v, kind) SELECT i, 'X' || i * 2654435761 % :tags + 1, 'kind ' || i * 7919::int8 % 1000 FROM generate_series(1, :tags) AS i;
COMMIT;
RESET SESSION AUTHORIZATION;
ALTER TABLE tag_sealed ENABLE ALWAYS TRIGGER "00_immiiq_capture";
ALTER TABLE tag_plain ENABLE ALWAYS TRIGGER "00_immiiq_capture";
-- Whoever builds an index: a tag is compared without a key.
SELECT * FROM bench_pair_cpu('CREATE INDEX built ON tag_sealed (v); DROP INDEX built', 'CREATE INDEX built ON tag_plain (v); DROP INDEX built', 3) \gset build_
CREATE INDEX ON tag_sealed (org_id, v);
CREATE INDEX ON tag_plain (org_id, v);
VACUUM ANALYZE tag_sealed, tag_plain;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
SELECT * FROM bench_pair_cpu('SELECT count(*) FROM (SELECT kind, count(*) FROM tag_sealed GROUP BY kind) AS g', 'SELECT count(*) FROM (SELECT kind, count(*) FROM tag_plain GROUP BY kind) AS g', 5) \gset group_
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT * FROM bench_line('search', 'B-tree build, ' || :tags || ' rows, times text', :build_a_ms / :build_b_ms, 1.3, ' x');
SELECT * FROM bench_line('search', 'GROUP BY, ' || :tags || ' rows, times text', :group_a_ms / :group_b_ms, 1.2, ' x');

-- One row by its value, prepared, through a client.
\! gcc -std=gnu11 -O2 -I"$(pg_config --includedir)" -I/usr/include/postgresql search_client.c -L"$(pg_config --libdir)" -lpq -o search_client.tmp
\setenv BENCH_TOKEN :token
\setenv BENCH_TAGS :tags
\set text `PGDATABASE=bench_tags PGUSER=bench_app ./search_client.tmp 'SELECT id FROM tag_sealed WHERE v = $1' 'SELECT id FROM tag_plain WHERE v = $1' "$BENCH_TAGS"`
\set binary `BENCH_BINARY=1 PGDATABASE=bench_tags PGUSER=bench_app ./search_client.tmp 'SELECT id FROM tag_sealed WHERE v = $1' 'SELECT id FROM tag_plain WHERE v = $1' "$BENCH_TAGS"`
\! rm -f search_client.tmp
SELECT * FROM bench_line('search', 'equality by index, prepared, through a client, ' || :tags || ' rows, times text under the same policies', :text, 1.15, ' x');
SELECT * FROM bench_line('search', 'the same in binary', :binary, 1.15, ' x');
