-- An equality search on a sealed column under row security, beside one on text under a policy written by hand.
\set rows 'greatest(3000, 30000 * ':scale')::int'
CREATE TABLE sealed (org_id uuid, id int, v enc_text(equality), PRIMARY KEY (org_id, id));
SELECT immiiq.protect('sealed', 'clients') \gset ignored_
CREATE INDEX ON sealed (org_id, v);
CREATE TABLE plain (org_id uuid, id int, v text, PRIMARY KEY (org_id, id));
CREATE INDEX ON plain (org_id, v);
ALTER TABLE plain ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON plain USING (org_id = current_setting('bench.org')::uuid);
GRANT SELECT, INSERT ON sealed, plain TO bench_app;

INSERT INTO plain SELECT CASE i % 3 WHEN 0 THEN :'org'::uuid ELSE gen_random_uuid() END, i, 'X' || i FROM generate_series(1, :rows) AS i;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true), set_config('bench.org', :'org', true) \gset ignored_
INSERT INTO sealed (id, v) SELECT i, 'X' || i FROM generate_series(1, :rows) AS i;
COMMIT;
RESET SESSION AUTHORIZATION;
VACUUM ANALYZE sealed, plain;

CREATE FUNCTION find_sealed() RETURNS void LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
    FOR i IN 1..2000 LOOP
        SELECT id INTO n FROM sealed WHERE v = 'X' || (i * 3);
        IF n IS DISTINCT FROM i * 3 THEN RAISE EXCEPTION 'found %, not %', n, i * 3; END IF;
    END LOOP;
END $$;
CREATE FUNCTION find_plain() RETURNS void LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
    FOR i IN 1..2000 LOOP
        SELECT id INTO n FROM plain WHERE v = 'X' || (i * 3);
        IF n IS DISTINCT FROM i * 3 THEN RAISE EXCEPTION 'found %, not %', n, i * 3; END IF;
    END LOOP;
END $$;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true), set_config('bench.org', :'org', true) \gset ignored_
SELECT * FROM bench_pair('SELECT find_sealed()', 'SELECT find_plain()', 5) \gset find_
COMMIT;
SELECT * FROM bench_line('search', 'find one of 30,000 by a sealed value, times the same on text', :find_a_ms / :find_b_ms, 1.5, ' x');
SELECT * FROM bench_line('search', 'find one of 30,000 by a sealed value', :find_a_ms / 2000, 0.1, ' ms');
RESET SESSION AUTHORIZATION;

-- Patterns, ranges and documents by GIN under row security, beside trigrams, B-tree and jsonb_path_ops on plain columns:
-- a table without row security, and for patterns the same under a policy written by hand, where LIKE is not leakproof.
CREATE EXTENSION pg_trgm;
CREATE FUNCTION bench_name(i int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT initcap(substr('bacedifoguhajekilomunapereso', 1 + i * 7 % 25, 4) || substr('tarvenshilkodrumbelcasdo', 1 + i / 25 % 20, 5)) || ' '
        || initcap(substr(md5(i::text), 1, 6)) || ' ' || initcap(substr('northsouthwestereasterncentral', 1 + i / 7 % 24, 6))
$$;
CREATE TABLE found (org_id uuid, id int, name text, day date, doc jsonb, amount int);
INSERT INTO found SELECT :'org', i, bench_name(i), date '1940-01-01' + (i::int8 * 7919 % 27000)::int,
    jsonb_build_object('kind', 'k' || i % 200, 'owner', jsonb_build_object('id', i % 1000, 'vip', i % 2 = 0), 'tags', jsonb_build_array(i % 17, 't' || i % 31)), i
FROM generate_series(1, greatest(10000, 100000 * :scale)::int) AS i;
CREATE TABLE found_policy AS SELECT * FROM found;
CREATE TABLE found_sealed (org_id uuid, id int, name enc_text(match), day enc_date(range), doc enc_jsonb(contains), amount int, PRIMARY KEY (org_id, id));
SELECT immiiq.protect('found_sealed', 'clients') \gset ignored_
ALTER TABLE found_policy ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON found_policy USING (org_id = current_setting('bench.org')::uuid);
GRANT SELECT, INSERT ON found, found_policy, found_sealed TO bench_app;
ALTER TABLE found_sealed DISABLE TRIGGER "00_immiiq_capture";
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
INSERT INTO found_sealed (id, name, day, doc, amount) SELECT id, name, day, doc, amount FROM found;
COMMIT;
RESET SESSION AUTHORIZATION;
ALTER TABLE found_sealed ENABLE ALWAYS TRIGGER "00_immiiq_capture";
CREATE INDEX ON found USING gin (name gin_trgm_ops);
CREATE INDEX ON found_policy USING gin (name gin_trgm_ops);
CREATE INDEX ON found (day);
CREATE INDEX ON found USING gin (doc jsonb_path_ops);
CREATE INDEX ON found_sealed USING gin (name);
CREATE INDEX ON found_sealed USING gin (day);
CREATE INDEX ON found_sealed USING gin (doc);
VACUUM ANALYZE found, found_policy, found_sealed;

SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true), set_config('bench.org', :'org', true) \gset ignored_
SELECT (SELECT count(*) FROM found_sealed WHERE name ILIKE '%vensh%') = (SELECT count(*) FROM found WHERE name ILIKE '%vensh%')
    AND (SELECT sum(amount) FROM found_sealed WHERE day BETWEEN '1960-01-01' AND '1960-09-26') = (SELECT sum(amount) FROM found WHERE day BETWEEN '1960-01-01' AND '1960-09-26')
    AND (SELECT count(*) FROM found_sealed WHERE doc @> '{"owner": {"id": 77}}') = (SELECT count(*) FROM found WHERE doc @> '{"owner": {"id": 77}}') AS same \gset
\if :same
\else
    \echo 'the sealed columns find other rows'
    \quit 3
\endif
SELECT * FROM bench_pair($$SELECT sum(amount) FROM found_sealed WHERE name ILIKE '%a1b%'$$, $$SELECT sum(amount) FROM found WHERE name ILIKE '%a1b%'$$, 9) \gset like_
SELECT * FROM bench_pair($$SELECT sum(amount) FROM found_sealed WHERE name ILIKE '%a1b%'$$, $$SELECT sum(amount) FROM found_policy WHERE name ILIKE '%a1b%'$$, 9) \gset policy_
SELECT * FROM bench_pair($$SELECT sum(amount) FROM found_sealed WHERE day BETWEEN '1960-01-01' AND '1960-09-26'$$,
    $$SELECT sum(amount) FROM found WHERE day BETWEEN '1960-01-01' AND '1960-09-26'$$, 9) \gset between_
SELECT * FROM bench_pair($$SELECT sum(amount) FROM found_sealed WHERE doc @> '{"owner": {"id": 77}}'$$,
    $$SELECT sum(amount) FROM found WHERE doc @> '{"owner": {"id": 77}}'$$, 9) \gset contains_
SELECT * FROM bench_pair($$EXPLAIN SELECT id FROM found_sealed WHERE name ILIKE '%abc%' AND day > '1960-01-01' AND doc @> '{}'$$,
    $$EXPLAIN SELECT id FROM found WHERE name ILIKE '%abc%' AND day > '1960-01-01' AND doc @> '{}'$$, 99) \gset plan_
COMMIT;
SELECT * FROM bench_line('search', 'ILIKE under row security, times pg_trgm on text without', :like_a_ms / :like_b_ms, 1.7, ' x');
SELECT * FROM bench_line('search', 'the same, times pg_trgm on text under row security', :policy_a_ms / :policy_b_ms, 0.6, ' x');
SELECT * FROM bench_line('search', 'BETWEEN, 1 % of the rows, times B-tree on dates', :between_a_ms / :between_b_ms, 2.7, ' x');
SELECT * FROM bench_line('search', '@> on documents, times jsonb_path_ops on jsonb', :contains_a_ms / :contains_b_ms, 2.0, ' x');
SELECT * FROM bench_line('search', 'planning of three sealed conditions, times plain ones', :plan_a_ms / :plan_b_ms, 1.3, ' x');
RESET SESSION AUTHORIZATION;

-- Pages in order among 10,000 and 100,000 visible rows, on tables that differ in nothing but the column's type; in CPU time, and for the
-- first page of many as long as it takes, with whatever plan PostgreSQL chooses.
\! gcc -std=gnu11 -O2 -I../../src types_floor.c ../../src/crypto/crypto.c -lsodium -lcrypto -o types_floor.tmp
CREATE TABLE page_sealed (org_id uuid NOT NULL DEFAULT immiiq.current_org(), id int, many bool, name enc_text(sealed), PRIMARY KEY (org_id, id));
CREATE TABLE page_plain (org_id uuid NOT NULL DEFAULT immiiq.current_org(), id int, many bool, name text, PRIMARY KEY (org_id, id));
SELECT count(immiiq.protect(t, 'clients')) FROM unnest(ARRAY['page_sealed', 'page_plain']::regclass[]) AS t \gset ignored_
GRANT SELECT, INSERT ON page_sealed, page_plain TO bench_app;
ALTER TABLE page_sealed DISABLE TRIGGER "00_immiiq_capture";
ALTER TABLE page_plain DISABLE TRIGGER "00_immiiq_capture";
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
INSERT INTO page_sealed (id, many, name) SELECT id, id > 10000, name FROM found WHERE id <= 100000;
INSERT INTO page_plain (id, many, name) SELECT id, id > 10000, name FROM found WHERE id <= 100000;
COMMIT;
RESET SESSION AUTHORIZATION;
ALTER TABLE page_sealed ENABLE ALWAYS TRIGGER "00_immiiq_capture";
ALTER TABLE page_plain ENABLE ALWAYS TRIGGER "00_immiiq_capture";
VACUUM ANALYZE page_sealed, page_plain;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
SELECT avg(length(name))::int AS letters FROM page_plain \gset
\setenv BENCH_LETTERS :letters
\set floor_1 `./types_floor.tmp open "$BENCH_LETTERS" 8`
SELECT name AS last FROM page_plain ORDER BY name OFFSET 19 LIMIT 1 \gset
SELECT * FROM bench_pair_cpu('SELECT name::text FROM page_sealed ORDER BY name::text LIMIT 20', 'SELECT name FROM page_plain ORDER BY name LIMIT 20', 9) \gset first_
SELECT * FROM bench_pair_cpu(format('SELECT name::text FROM page_sealed WHERE name::text > %L ORDER BY name::text LIMIT 20', :'last'),
    format('SELECT name FROM page_plain WHERE name > %L ORDER BY name LIMIT 20', :'last'), 9) \gset next_
SELECT * FROM bench_pair('SELECT name::text FROM page_sealed ORDER BY name::text LIMIT 20', 'SELECT name FROM page_plain ORDER BY name LIMIT 20', 19) \gset elapsed_
\set floor_2 `./types_floor.tmp open "$BENCH_LETTERS" 8`
SELECT name AS last FROM page_plain WHERE NOT many ORDER BY name OFFSET 19 LIMIT 1 \gset
SELECT * FROM bench_pair_cpu('SELECT name::text FROM page_sealed WHERE NOT many ORDER BY name::text LIMIT 20', 'SELECT name FROM page_plain WHERE NOT many ORDER BY name LIMIT 20', 19) \gset first_few_
SELECT * FROM bench_pair_cpu(format('SELECT name::text FROM page_sealed WHERE NOT many AND name::text > %L ORDER BY name::text LIMIT 20', :'last'),
    format('SELECT name FROM page_plain WHERE NOT many AND name > %L ORDER BY name LIMIT 20', :'last'), 19) \gset next_few_
COMMIT;
RESET SESSION AUTHORIZATION;
\! rm -f types_floor.tmp
SELECT * FROM bench_line('search', 'ORDER BY name::text LIMIT 20 among 10,000 rows, times text without an index', :first_few_a_ms / :first_few_b_ms, 2.0, ' x');
SELECT * FROM bench_line('search', 'the next page', :next_few_a_ms / :next_few_b_ms, 2.0, ' x');
SELECT * FROM bench_line('search', 'ORDER BY name::text LIMIT 20 among 100,000 rows, times text without an index', :first_a_ms / :first_b_ms, 2.0, ' x');
SELECT * FROM bench_line('search', 'the next page', :next_a_ms / :next_b_ms, 2.0, ' x');
SELECT * FROM bench_line('search', 'the first page, times text and XAES of each value in a C loop (' || round((:floor_1 + :floor_2) / 2) || ' ns)',
    :first_a_ms / (:first_b_ms + (:floor_1 + :floor_2) / 2 * 100000 / 1e6), 1.5, ' x');
SELECT * FROM bench_line('search', 'the first page, in elapsed time', :elapsed_a_ms / :elapsed_b_ms, 2.0, ' x');
