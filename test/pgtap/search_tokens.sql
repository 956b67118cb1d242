-- Search beyond equality: range, prefix, match and contains, against the same queries on plain columns.
\i test/pgtap/setup.psql
SELECT plan(106);

CREATE TABLE vault (
    id int PRIMARY KEY,
    org_id uuid NOT NULL DEFAULT immiiq.current_org(),
    day enc_date(1,equality,range), p_day date,
    at enc_timestamptz(2,range), p_at timestamptz,
    n enc_int8(3,equality,range), p_n int8,
    x enc_numeric(4,equality,range), p_x numeric,
    name enc_text(5,equality,fold,match), p_name text,
    code enc_text(6,prefix), p_code text,
    doc enc_jsonb(7,contains), p_doc jsonb,
    plain_name enc_text(8,equality), plain_day enc_date(9,equality), shut enc_jsonb(10,sealed)
);
GRANT ALL ON vault TO regress_immiiq_app;

CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || coalesce(' ' || (regexp_match(hint, 'with the word (\w+)'))[1], '');
END
$$;
CREATE FUNCTION fill(id int, day date, at timestamptz, n int8, x numeric, name text, code text, doc jsonb) RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO public.vault (id, day, p_day, at, p_at, n, p_n, x, p_x, name, p_name, code, p_code, doc, p_doc, plain_name, plain_day, shut)
    VALUES (id, day, day, at, at, n, n, x, x, name, name, code, code, doc, doc, name, day, doc)$$;
-- What every condition is tried on: edges, infinities, numbers beyond what floating point tells apart, and 3,000 ordinary rows.
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT count(fill(i, date '1920-01-01' + (i * 7919) % 40000, timestamptz '1999-12-31 00:00+00' + i * interval '37 minutes 11.5 seconds',
    (i::int8 * 7919 % 1000003) * (CASE i % 3 WHEN 0 THEN -1 ELSE 1 END), ((i * 7919) % 20011)::numeric / 100 - 50,
    (ARRAY['Anna', 'Bjørn', 'Zoë', 'Müller', 'O''Neill', 'van der Berg', 'Łukasz', 'İpek', 'ΣΊΣΥΦΟΣ', 'straße'])[i % 10 + 1] || ' ' ||
    (ARRAY['Smith', 'Andersen', 'Schmidt', 'García'])[i % 4 + 1] || '-' || i,
    'AB-' || lpad((i * 31 % 5000)::text, 5, '0'),
    jsonb_build_object('tags', jsonb_build_array('t' || i % 7, i % 5), 'owner', jsonb_build_object('id', i % 50, 'vip', i % 2 = 0), 'size', (i % 10) * 1.50)))
FROM generate_series(1, 3000) AS i \gset ignored_
SELECT fill(3001, 'infinity', 'infinity', 9223372036854775807, 'NaN', '', '', '[]'),
    fill(3002, '-infinity', '-infinity', -9223372036854775808, 'Infinity', 'x', 'A', '"tags"'),
    fill(3003, '4713-01-01 BC', '4713-01-01 BC', 9007199254740993, '-Infinity', '%_\', '%', '{"tags": []}'),
    fill(3004, '5874897-12-31', '294276-12-31', 9007199254740992, 1e300, 'ann', 'AB-', '{"a": {"b": [1, {"c": null}]}}'),
    fill(3005, '1699-12-31', '1699-12-31 23:59:59.999999+00', 0, 1e-300, 'ANNA', 'ab-00001', '{"size": 1.5}'),
    fill(3006, '2417-09-23', '2210-05-20', -1, 0.30000000000000001, repeat('Anna ', 4000), repeat('AB-', 300), '{"size": "1.5"}'),
    fill(3007, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    fill(3008, '1700-01-01', '1700-01-01 00:00+00', 1, 0.3, 'França' || chr(10) || 'A' || U&'\0308' || 'nna', 'AB' || chr(1), '[[1, 2], [3, {"tags": ["t1"]}]]') \gset ignored_
COMMIT;
RESET SESSION AUTHORIZATION;
CREATE INDEX ON vault USING gin (day);
CREATE INDEX ON vault USING gin (at);
CREATE INDEX ON vault USING gin (n);
CREATE INDEX ON vault USING gin (x);
CREATE INDEX ON vault USING gin (name);
CREATE INDEX ON vault USING gin (code);
CREATE INDEX ON vault USING gin (doc);
ANALYZE vault;
SELECT pass('indexes are made by whoever, without a key');
CREATE VIEW opclass_problem AS
SELECT opc.oid FROM pg_opclass opc JOIN pg_am am ON am.oid = opc.opcmethod WHERE opc.opcname LIKE 'enc\_%' AND am.amname IN ('gin', 'btree', 'hash') AND NOT amvalidate(opc.oid);
SELECT is_empty('SELECT * FROM opclass_problem', 'the operator classes are valid');

-- The same condition on the sealed and on the plain column, by index and without: the rows have to be the same.
CREATE FUNCTION same(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plain text := regexp_replace(condition, '\m(day|at|n|x|name|code|doc)\M', 'p_\1', 'g');
    want int[];
    got int[];
    by_index boolean := false;
    line text;
BEGIN
    EXECUTE 'SELECT array_agg(id ORDER BY id) FROM vault WHERE ' || plain INTO want;
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_bitmapscan = off;
    EXECUTE 'SELECT array_agg(id ORDER BY id) FROM vault WHERE ' || condition INTO got;
    IF got IS DISTINCT FROM want THEN
        RETURN format('%s: without index %s rows instead of %s', condition, cardinality(got), cardinality(want));
    END IF;
    SET LOCAL enable_bitmapscan = on;
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_indexscan = off;   -- 16 and later would read the primary key in the order of the aggregate
    FOR line IN EXECUTE 'EXPLAIN (COSTS off) SELECT array_agg(id ORDER BY id) FROM vault WHERE ' || condition LOOP
        by_index := by_index OR line LIKE '%Bitmap Index Scan%';
    END LOOP;
    EXECUTE 'SELECT array_agg(id ORDER BY id) FROM vault WHERE ' || condition INTO got;
    IF got IS DISTINCT FROM want THEN
        RETURN format('%s: by index %s rows instead of %s', condition, cardinality(got), cardinality(want));
    END IF;
    RETURN CASE WHEN by_index THEN 'index' ELSE 'scan' END || CASE WHEN want IS NULL THEN ', none' ELSE '' END;
END
$$;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset

-- ---- range ----
SELECT is(same($$day BETWEEN '1950-01-01' AND '1950-12-31'$$), 'index', 'BETWEEN on dates');
SELECT is(same($$day >= '1699-12-31' AND day < '1700-01-01'$$), 'index', 'dates at the first day of the line');
SELECT is(same($$day > '2417-09-22'$$), 'index', 'dates beyond the last');
SELECT is(same($$day >= 'infinity'$$), 'index', 'infinity');
SELECT is(same($$day < '-infinity'$$), 'index, none', 'nothing is below -infinity');
SELECT is(same($$day <= date '1700-01-01'$$), 'index', 'a typed date');
SELECT is(same($$'1990-01-01' < day AND date '1990-06-01' >= day$$), 'index', 'the column on the right');
SELECT is(same($$day BETWEEN '1960-01-01' AND '1950-01-01'$$), 'index, none', 'an empty range');
SELECT is(same($$day BETWEEN SYMMETRIC '1960-01-01' AND '1950-01-01'$$), 'index', 'BETWEEN SYMMETRIC');
SELECT is(same($$day NOT BETWEEN '1930-01-01' AND '2020-01-01'$$), 'index', 'NOT BETWEEN');
SELECT is(same($$day > '1950-01-01' AND day >= '1949-01-01' AND day < '1950-03-01' AND day <= '1950-03-01'$$), 'index', 'more than two halves');
SELECT is(same($$day > NULL$$), 'scan, none', 'NULL is never in a range');
SELECT is(same($$at BETWEEN '2000-01-02 03:04:05+00' AND '2000-01-03 00:00+00'$$), 'index', 'BETWEEN on timestamps');
SELECT is(same($$at < '1700-01-01 00:00+00' AND at > '-infinity'$$), 'index', 'timestamps before the line');
SELECT is(same($$at >= date '2000-02-01' AND at < timestamp '2000-02-02 12:00'$$), 'index', 'other types that timestamps are compared with');
SELECT is(same($$n BETWEEN 1000 AND 20000$$), 'index', 'BETWEEN on integers');
SELECT is(same($$n > 9007199254740992$$), 'index', 'integers that floating point does not tell apart');
SELECT is(same($$n >= -5000 AND n <= 5000$$), 'index', 'across zero');
SELECT is(same($$n <= -9223372036854775808$$), 'index', 'the smallest');
SELECT is(same($$x BETWEEN -1.005 AND 1.005$$), 'index', 'BETWEEN on numerics');
SELECT is(same($$x > 0.3 AND x < 0.31$$), 'index', 'numerics that floating point does not tell apart');
SELECT is(same($$x >= 'NaN'$$), 'index', 'NaN is above all');
SELECT is(same($$x > 1e100 AND x < 'Infinity'$$), 'index', 'numerics beyond single precision');
SELECT is(same($$x < 0$$), 'index', 'below zero');
SELECT is(same($$x = 0.30$$), 'scan', 'equal numbers are equal however many digits they show');

-- ---- match and prefix ----
SELECT is(same($$name LIKE '%Smith%'$$), 'index', 'LIKE with wildcards around');
SELECT is(same($$name LIKE 'Anna%'$$), 'index', 'LIKE with a wildcard behind');
SELECT is(same($$name LIKE '%-123'$$), 'index', 'LIKE with a wildcard before');
SELECT is(same($$name LIKE 'Anna Smith-10'$$), 'index, none', 'LIKE without a wildcard');
SELECT is(same($$name ILIKE '%müller%'$$), 'index', 'ILIKE');
SELECT is(same($$name ILIKE '%ŁUKASZ%sch%'$$), 'index', 'ILIKE in several parts');
SELECT is(same($$name ILIKE '%σίσυφοσ%'$$), 'index', 'ILIKE of Greek');
SELECT is(same($$name ILIKE '%STRASSE%'$$), 'index, none', 'what folding makes alike is told apart again');
SELECT is(same($$name LIKE '%n_a S%'$$), 'index', 'LIKE with one character open');
SELECT is(same($$name LIKE '%a%' AND name LIKE '%B%'$$), 'index', 'patterns too short to index');
SELECT is(same($$name LIKE ''$$), 'index', 'the empty pattern');
SELECT is(same($$name LIKE '\%\_\\'$$), 'index', 'escaped wildcards');
SELECT is(same($$name LIKE '%~%%' ESCAPE '~'$$), 'index', 'another escape character');
SELECT is(same($$name NOT LIKE '%a%'$$), 'scan', 'NOT LIKE');
SELECT is(same($$name NOT ILIKE '%A%'$$), 'scan', 'NOT ILIKE');
SELECT is(same($$name LIKE ANY (ARRAY['%Smith-1_', '%García-2%', NULL])$$), 'index', 'LIKE ANY');
SELECT is(same($$name ILIKE ALL (ARRAY['%smith%', '%anna%'])$$), 'index', 'ILIKE ALL');
SELECT is(same($$name NOT LIKE ALL (ARRAY['%a%', '%i%'])$$), 'scan', 'NOT LIKE ALL');
SELECT is(same($$name NOT LIKE ANY (ARRAY['%a%', '%i%'])$$), 'scan', 'NOT LIKE ANY');
SELECT is(same($$name ^@ 'Zoë'$$), 'index', '^@ by the word match');
SELECT is(same($$code ^@ 'AB-0012'$$), 'index', '^@ by the word prefix');
SELECT is(same($$code LIKE 'AB-0012%4'$$), 'index', 'LIKE by the word prefix');
SELECT is(same($$code ILIKE 'ab-00001%'$$), 'index', 'ILIKE by the word prefix');
SELECT is(same($$code LIKE '%12'$$), 'index', 'a pattern without a beginning, by the word prefix');
SELECT is(same($$code ^@ ''$$), 'index', 'every text begins with nothing');
SELECT is(same($$code ^@ 'AB-AB-AB-AB-'$$), 'index', 'a start longer than the longest token');

-- ---- contains ----
SELECT is(same($$doc @> '{"owner": {"id": 7}}'$$), 'index', '@> with a path');
SELECT is(same($$doc @> '{"tags": ["t3"], "size": 1.5}'$$), 'index', '@> with several, numbers as they are equal');
SELECT is(same($$doc @> '{"size": "1.5"}'$$), 'index', 'a string is no number');
SELECT is(same($$doc @> '{}'$$), 'index', 'every document has nothing');
SELECT is(same($$doc @> '[[3]]'$$), 'index', '@> in nested arrays');
SELECT is(same($$doc @> '{"a": {"b": [{"c": null}]}}'$$), 'index', '@> with null');
SELECT is(same($$jsonb '{"tags": ["t1", 2]}' <@ doc$$), 'index', '<@');
SELECT is(same($$doc @> '"tags"'$$), 'index', 'a scalar');
COMMIT;

-- ---- what was not declared for it is refused before the first row, and the word is named ----
SELECT is(refusal('SELECT 1 FROM vault WHERE ' || condition), 'IQ030 ' || word, condition || ' names the word')
FROM (VALUES ($$plain_name LIKE 'a%'$$, 'match'), ($$plain_name NOT LIKE ALL ('{a,b}')$$, 'match'), ($$plain_name ^@ 'a'$$, 'match'), ($$plain_day < '2000-01-01'$$, 'range'),
    ($$'2000-01-01' >= plain_day$$, 'range'), ($$shut @> '{}'$$, 'contains'), ($$at = now()$$, 'equality')) AS c (condition, word);
SELECT throws_ok(format('CREATE INDEX ON vault USING gin (%s)', name), '42501', NULL, 'indexes are the owner''s') FROM unnest(ARRAY['day']) AS name;
RESET SESSION AUTHORIZATION;
SELECT throws_ok('CREATE INDEX ON vault USING gin (plain_name)', 'IQ030', NULL, 'a column without tokens is not indexed by gin');
SELECT throws_ok('CREATE INDEX ON vault (doc)', 'IQ030', NULL, 'nor one without a tag by btree');
SELECT throws_ok('CREATE TABLE kept (q enc_query)', 'IQ030', NULL, 'queries are not stored');
SELECT throws_ok($$SELECT 'x'::enc_query$$, '0A000', NULL, 'nor read');
SELECT throws_ok($$SELECT enc_query('x'::text, -1, 6 + 256)$$, 'IQ011', NULL, 'nor made for nobody');
SELECT throws_ok($$SELECT count(*) FROM vault WHERE name LIKE '%a%'$$, 'IQ011', NULL, 'nobody searches');

-- Rows and arrays are compared by what they consist of.
CREATE TABLE whole (id int, a enc_text(1,equality));
CREATE TABLE listed (id int, many enc_text(1,sealed)[], same enc_text(2,equality)[]);
SELECT throws_ok(statement, 'IQ030', NULL, statement)
FROM unnest(ARRAY['SELECT v FROM vault v ORDER BY v', 'SELECT DISTINCT v FROM vault v', 'SELECT count(*) FROM vault v GROUP BY v', 'SELECT count(DISTINCT v) FROM vault v',
    'SELECT 1 FROM vault v, vault w WHERE v = w', 'SELECT 1 FROM vault v, vault w WHERE v IS DISTINCT FROM w', 'SELECT v FROM vault v UNION SELECT v FROM vault v',
    'SELECT s FROM (SELECT id, doc FROM vault) s ORDER BY s', 'SELECT DISTINCT ROW(id, doc) FROM vault', 'SELECT row_number() OVER (PARTITION BY v) FROM vault v',
    'SELECT w FROM whole w ORDER BY w', 'SELECT 1 FROM whole v, whole w WHERE v < w', 'SELECT DISTINCT many FROM listed', 'SELECT 1 FROM listed WHERE many && many',
    'SELECT same FROM listed ORDER BY same', 'SELECT array_agg(v ORDER BY v) FROM vault v']) AS statement;
SELECT lives_ok(statement, statement)
FROM unnest(ARRAY['SELECT DISTINCT w FROM whole w', 'SELECT 1 FROM whole v, whole w WHERE v = w', 'SELECT DISTINCT same FROM listed', 'SELECT DISTINCT p FROM pg_class p',
    'SELECT v FROM vault v ORDER BY v.id', 'SELECT v FROM vault v UNION ALL SELECT v FROM vault v']) AS statement;

-- ---- under row security, in generic plans, across organisations ----
CREATE TABLE client (org_id uuid NOT NULL, id int, name enc_text(match), born enc_date(range), PRIMARY KEY (org_id, id));
SELECT immiiq.protect('client', 'clients') \gset ignored_
GRANT ALL ON client TO regress_immiiq_app;
CREATE INDEX client_name ON client USING gin (name);
CREATE INDEX client_born ON client USING gin (born);
CREATE FUNCTION plan(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    result text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || statement LOOP
        result := result || coalesce((regexp_match(line, 'Bitmap Index Scan on (\w+)'))[1], '');
    END LOOP;
    RETURN result;
END
$$;
PREPARE find(text) AS SELECT array_agg(id ORDER BY id) FROM client WHERE name ILIKE $1;
PREPARE born(date, date) AS SELECT array_agg(id ORDER BY id) FROM client WHERE born BETWEEN $1 AND $2;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
INSERT INTO client (id, name, born) SELECT i, 'Alpha ' || i, date '1950-01-01' + i FROM generate_series(1, 2000) i;
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
INSERT INTO client (id, name, born) SELECT i, 'Beta ' || i, date '1950-01-01' + i FROM generate_series(1, 2000) i;
COMMIT;
RESET SESSION AUTHORIZATION;
VACUUM ANALYZE client;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT is(plan($$SELECT id FROM client WHERE name ILIKE '%alpha 77%'$$), 'client_name', 'an index serves ILIKE under row security');
SELECT is(plan($$SELECT id FROM client WHERE born BETWEEN '1950-02-01' AND '1950-02-03'$$), 'client_born', 'and BETWEEN');
SELECT is(plan($$SELECT c.id FROM client c WHERE EXISTS (SELECT FROM client d WHERE d.name LIKE '%a 77%' AND d.id = c.id)$$), 'client_name', 'and in a subquery');
SET LOCAL plan_cache_mode = force_generic_plan;
EXECUTE find('%A 77') \gset alpha_
EXECUTE born('1950-01-02', '1950-01-04') \gset between_
SELECT is(:'alpha_array_agg'::text || ' ' || :'between_array_agg', '{77} {1,2,3}'::text, 'generic plans find');
SELECT is(plan('EXECUTE find(''%beta 7%'')'), 'client_name', 'by index');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
SET LOCAL plan_cache_mode = force_generic_plan;
EXECUTE find('%A 77') \gset beta_
SELECT is(:'beta_array_agg'::text, '{77}', 'the same plan finds the next organisation''s rows');
EXECUTE find('alpha%') \gset other_
SELECT is(:{?other_array_agg}, false, 'and none of the other''s');
COMMIT;
RESET SESSION AUTHORIZATION;
SET enable_seqscan = off;
SELECT is((SELECT count(*) FROM client WHERE id = 77), 2::bigint, 'both are there');
REINDEX TABLE CONCURRENTLY client;
VACUUM FULL client;
CLUSTER client USING client_pkey;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT is((SELECT array_agg(id) FROM client WHERE name LIKE '%a 77' AND born > '1950-01-01'), '{77}', 'indexes are rebuilt without a key');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
