-- The same queries on plain columns and on sealed ones: the same answers, with scans, joins and grouping forced one way and another. And a refusal is the same whatever is stored.
\i test/pgtap/setup.psql
-- The queries are run by EXECUTE, which the firewall would refuse.
SET immiiq.firewall = off;
-- Where scans are forbidden costs are so high that all would be compiled.
SET jit = off;
SELECT plan(18);

CREATE SCHEMA plain;
CREATE SCHEMA sealed;
CREATE SCHEMA empty;
CREATE TABLE plain.t (id int, org_id uuid NOT NULL DEFAULT immiiq.current_org(), a text, f text, p text, m text, n int8, r numeric, d date, s timestamptz, j jsonb, b bytea);
CREATE TABLE sealed.t (id int, org_id uuid NOT NULL DEFAULT immiiq.current_org(), a enc_text(21,equality), f enc_text(22,equality,fold), p enc_text(prefix), m enc_text(match),
    n enc_int8(23,equality,range), r enc_numeric(24,equality,range), d enc_date(25,equality,range), s enc_timestamptz(26,equality,range), j enc_jsonb(contains), b enc_bytea(27,equality));
CREATE TABLE plain.u (LIKE plain.t INCLUDING DEFAULTS);
CREATE TABLE sealed.u (LIKE sealed.t INCLUDING DEFAULTS);
CREATE TABLE empty.t (LIKE sealed.t INCLUDING DEFAULTS);
CREATE TABLE empty.u (LIKE sealed.t INCLUDING DEFAULTS);
CREATE INDEX ON sealed.t (org_id, a);
CREATE INDEX ON sealed.t (org_id, n) INCLUDE (id);
CREATE INDEX ON sealed.t USING hash (f);
CREATE INDEX ON sealed.t USING gin (p);
CREATE INDEX ON sealed.t USING gin (m);
CREATE INDEX ON sealed.t USING gin (n);
CREATE INDEX ON sealed.t USING gin (r);
CREATE INDEX ON sealed.t USING gin (d);
CREATE INDEX ON sealed.t USING gin (s);
CREATE INDEX ON sealed.t USING gin (j);
CREATE INDEX ON plain.t (org_id, a);
-- What folds alike: the plain column holds what remains, and asks for that.
CREATE TABLE public.word (raw text PRIMARY KEY, folded text NOT NULL);
INSERT INTO public.word VALUES ('Straße', 'strasse'), ('STRASSE', 'strasse'), ('stra-sse', 'strasse'), ('Strase', 'strase'), ('İstanbul', 'istanbul'), ('ISTANBUL', 'istanbul'), ('ıstanbul', 'istanbul'),
    ('istanbul', 'istanbul'), (U&'\00E9', 'e'), (U&'e\0301', 'e'), ('E', 'e'), (U&'\00C5', 'a'), (U&'\212B', 'a'), (U&'A\030A', 'a'), ('O’Brien', 'obrien'), ('o brien', 'obrien'), ('Łukasz', 'lukasz'), ('LUKASZ', 'lukasz'),
    (U&'\FB01x', 'fix'), ('FIX', 'fix'), ('٠٤٩', '049'), ('049', '049'), ('ΣΑΣ', 'σασ'), ('σας', 'σασ'), ('', ''), ('---', '---'), ('…', '…'), ('..', '..'), (' ', ' '), ('ガ', U&'\30AB\3099'), (U&'\30AB\3099', U&'\30AB\3099');
CREATE TABLE plain.folded (id int, org_id uuid NOT NULL DEFAULT immiiq.current_org(), v text);
CREATE TABLE sealed.folded (id int, org_id uuid NOT NULL DEFAULT immiiq.current_org(), v enc_text(28,fold));
SELECT format('ALTER TABLE %1$s ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON %1$s USING (org_id = immiiq.current_org())', x)
FROM unnest('{plain.t,plain.u,plain.folded,sealed.t,sealed.u,sealed.folded,empty.t,empty.u}'::text[]) x \gexec
CREATE INDEX ON sealed.folded (org_id, v);
CREATE FUNCTION plain.asked(text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT folded FROM public.word WHERE raw = $1 $$;
CREATE FUNCTION sealed.asked(text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT $1 $$;
GRANT SELECT ON public.word TO regress_immiiq_app;
GRANT USAGE ON SCHEMA plain, sealed, empty TO regress_immiiq_app;
GRANT ALL ON ALL TABLES IN SCHEMA plain, sealed, empty TO regress_immiiq_app;

-- What is stored: repeated values, NULLs, empty strings, accents, wildcards, negative and large numbers, the ends of dates.
CREATE FUNCTION fill(target text, org text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($q$INSERT INTO %s (id, a, f, p, m, n, r, d, s, j, b)
    SELECT i, (ARRAY['', 'x', 'X', 'é', 'e', NULL, 'P_1', 'P%%1', 'back\slash', 'Zoë'])[1 + i %% 10] || CASE WHEN i %% 3 = 0 AND i %% 10 > 0 THEN i %% 7 || '' ELSE '' END,
        'f' || i %% 12, (ARRAY['Harbour', 'harbour', 'Hafen', 'ha', '', 'Ölberg', 'a_b', 'a%%b', NULL])[1 + i %% 9] || i %% 4,
        (ARRAY['Harbour street ', 'HARBOUR STR. ', 'ab', '', 'Straße ', 'a_b%%c', 'x\y', NULL])[1 + i %% 8] || i %% 5 || %L,
        (ARRAY[-9223372036854775808, -1, 0, 1, 9223372036854775807, NULL, i])[1 + i %% 7], (ARRAY[-1e20, -1.5, 0, 1.5, 0.0000001, NULL, 12345678901234567890.5, i])[1 + i %% 8],
        (ARRAY['4713-11-24 BC', '5874897-12-31', 'infinity', '-infinity', '2000-01-01', NULL, date '1990-01-01' + i]::date[])[1 + i %% 7],
        (ARRAY['4713-11-24 00:00:00+00 BC', '294276-12-31 23:59:59.999999+00', 'infinity', '-infinity', NULL, timestamptz '2020-01-01 00:00+00' + i * interval '7 hours 1 microsecond']::timestamptz[])[1 + i %% 6],
        CASE i %% 4 WHEN 0 THEN NULL ELSE jsonb_build_object('k', i %% 5, 't', jsonb_build_array(i %% 3, 'é')) END, decode(lpad(to_hex(i %% 9), 4, '0'), 'hex')
    FROM generate_series(1, CASE WHEN %L LIKE '%%t' THEN 120 ELSE 30 END) i$q$, target, org, target);
END
$$;

-- The answer as sorted text, or the SQLSTATE.
CREATE FUNCTION answer(place text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
    PERFORM set_config('search_path', place || ', public', true);
    EXECUTE format('SELECT count(*) || coalesce(string_agg(x, chr(10) ORDER BY x COLLATE "C"), '''') FROM (SELECT q::text AS x FROM (%s) q) y', query) INTO result;
    RETURN result;
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
END
$$;
CREATE TABLE public.form (id serial, query text, wanted text);
-- What differs from the plain columns' answer, and where these give an error, by query; NULL when nothing does.
CREATE FUNCTION differing(every int DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s: %s', query, left(got, 200)), chr(10))
    FROM (SELECT query, wanted, answer('sealed', query) AS got FROM public.form WHERE id % every = 0 OFFSET 0) q
    WHERE got IS DISTINCT FROM wanted OR wanted IS NULL OR wanted ~ '^[0-9A-Z]{5}$'
$$;
-- The same of statements that were prepared before, and are run as they are.
CREATE FUNCTION prepared(query text, id int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'same_' || id) THEN
        EXECUTE format('PREPARE same_%s AS SELECT count(*) || coalesce(string_agg(x, chr(10) ORDER BY x COLLATE "C"), '''') FROM (SELECT q::text AS x FROM (%s) q) y', id, query);
    END IF;
    EXECUTE format('EXECUTE same_%s', id) INTO result;
    RETURN result;
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
END
$$;
CREATE FUNCTION differing_prepared() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s: %s', query, left(got, 200)), chr(10)) FROM (SELECT query, wanted, prepared(query, id) AS got FROM public.form OFFSET 0) q WHERE got IS DISTINCT FROM wanted
$$;
CREATE FUNCTION plan_of(query text, options text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; result text := '';
BEGIN
    FOR line IN EXECUTE format('EXPLAIN (%s) %s', options, query) LOOP result := result || trim(line) || ' '; END LOOP;
    RETURN result;
END
$$;

INSERT INTO public.form (query)
SELECT 'SELECT id FROM t WHERE ' || c FROM unnest(ARRAY[
    $$a = 'x'$$, $$a = ''$$, $$a = 'é'$$, $$a <> 'x'$$, $$'X' = a$$, $$a IN ('x', 'e', '')$$, $$a NOT IN ('x', 'e')$$, $$a NOT IN ('x', NULL)$$, $$a = ANY ('{x,NULL,P_1}')$$,
    $$a <> ALL (ARRAY['x', 'é'])$$, $$a = ANY ('{}')$$, $$a IS DISTINCT FROM 'x'$$, $$a IS NOT DISTINCT FROM 'x'$$, $$a IS NOT DISTINCT FROM NULL$$, $$a IS NULL$$, $$NOT a = 'x'$$, $$(a = 'x') IS NOT TRUE$$,
    $$a = 'x' OR n = 0$$, $$a = 'x' AND n = ANY ('{0,1,-1}')$$, $$a = 'back\slash'$$, $$f = 'f3'$$, $$f IN ('f3', 'f4')$$, $$b = '\x0003'$$, $$b <> '\x0003'$$,
    $$n = -9223372036854775808$$, $$n = 9223372036854775807$$, $$n = 0$$, $$n <> 1$$, $$n < 0$$, $$n <= 0$$, $$n > 0$$, $$n >= 9223372036854775807$$, $$n BETWEEN -1 AND 100$$, $$n NOT BETWEEN -1 AND 100$$, $$0 < n$$, $$n BETWEEN SYMMETRIC 10 AND 0$$,
    $$r = 1.5$$, $$r = 1.50$$, $$r < 0$$, $$r > 1e18$$, $$r BETWEEN 0 AND 0.0000001$$, $$r <= -1e20$$, $$r > 0 AND r < 1.5$$,
    $$d = '2000-01-01'$$, $$d = 'infinity'$$, $$d < '2000-01-01'$$, $$d <= '4713-11-24 BC'$$, $$d >= '5874897-12-31'$$, $$d > '5874897-12-31'$$, $$d BETWEEN '1990-01-01' AND '1990-06-01'$$, $$d < '-infinity'$$, $$d BETWEEN '1991-01-01' AND '1990-01-01'$$,
    $$s < '2020-02-01 00:00+00'$$, $$s >= '294276-12-31 23:59:59.999999+00'$$, $$s = 'infinity'$$, $$s < now()$$, $$s BETWEEN '2020-01-05 00:00+00' AND '2020-01-25 12:00+00'$$, $$s <= '4713-11-24 00:00:00+00 BC'$$,
    $$d < now()::date$$, $$d::date < now()$$,
    $$p LIKE 'Har%'$$, $$p LIKE 'h%'$$, $$p LIKE '%'$$, $$p LIKE ''$$, $$p LIKE '2'$$, $$p LIKE 'a\_b%'$$, $$p LIKE 'a_b%'$$, $$p LIKE 'a\%b%'$$, $$p NOT LIKE 'Har%'$$, $$p ILIKE 'HAR%'$$, $$p ILIKE 'öl%'$$, $$p ^@ 'Haf'$$, $$p ^@ ''$$, $$p LIKE 'Har%2'$$, $$p LIKE ANY ('{Har%,ha%}')$$, $$p NOT LIKE ALL ('{Har%,ha%}')$$,
    $$m LIKE '%str%'$$, $$m ILIKE '%STR%'$$, $$m LIKE '%ab%'$$, $$m LIKE '%a%'$$, $$m LIKE '_b%'$$, $$m LIKE '%a\_b\%c%'$$, $$m LIKE '%x\\y%'$$, $$m LIKE '%a!_b%' ESCAPE '!'$$, $$m NOT ILIKE '%harbour%'$$, $$m ILIKE '%straße%'$$, $$m ILIKE ANY ('{%harb%,%ß%}')$$, $$m LIKE ALL ('{%Harb%,%3%}')$$, $$m ILIKE '%harbour%str%2%'$$,
    $$m LIKE 'Harbour street 2%'$$, $$m ^@ 'Harbour'$$, $$m ILIKE '%harbour%' AND n > 0 AND d > '1990-01-01'$$,
    $$j @> '{"k": 1}'$$, $$j @> '{"k": 1.0, "t": ["é"]}'$$, $$j @> '{}'$$, $$j @> '[]'$$, $$j @> '{"t": []}'$$, $$j <@ '{"k": 1, "t": [0, 1, 2, "é"], "z": 1}'$$, $$'{"t": [2]}' <@ j$$, $$NOT j @> '{"k": 1}'$$,
    $$EXISTS (SELECT FROM u WHERE u.a = t.a)$$, $$NOT EXISTS (SELECT FROM u WHERE u.a = t.a)$$, $$a IN (SELECT a FROM u WHERE n > 0)$$, $$a NOT IN (SELECT a FROM u WHERE a IS NOT NULL)$$, $$a = (SELECT a FROM u WHERE id = 1)$$, $$n = (SELECT max(n::int8) FROM u)$$,
    $$CASE WHEN n = 0 THEN a = 'x' ELSE f = 'f1' END$$, $$nullif(a, 'x') IS NULL$$, $$coalesce(a::text, 'none') = 'none'$$, $$greatest(n::int8, 5) = 5$$]) c;
INSERT INTO public.form (query) VALUES
    ($$SELECT t.id, u.id FROM t JOIN u USING (a)$$), ($$SELECT t.id, u.id FROM t JOIN u ON t.n = u.n AND t.f = u.f$$), ($$SELECT t.id, u.id FROM t LEFT JOIN u USING (d)$$),
    ($$SELECT t.id, u.id FROM t FULL JOIN u ON t.r = u.r$$), ($$SELECT t.id, u.id FROM t RIGHT JOIN u ON t.s = u.s AND t.a = 'x'$$), ($$SELECT t.id, v.x FROM t JOIN (VALUES ('x'), ('é')) v (x) ON t.a = v.x$$),
    ($$SELECT a, count(*) FROM t GROUP BY a$$), ($$SELECT n, f, count(*) FROM t GROUP BY n, f$$), ($$SELECT a, n, count(*) FROM t GROUP BY GROUPING SETS ((a), (n), ())$$), ($$SELECT a, count(*) FROM t GROUP BY a HAVING a = 'x' OR count(*) > 9$$),
    ($$SELECT DISTINCT d FROM t$$), ($$SELECT DISTINCT a, r::numeric::float8 FROM t$$), ($$SELECT count(DISTINCT a), count(DISTINCT s), count(DISTINCT b) FROM t$$), ($$SELECT cardinality(array_agg(DISTINCT a::text)) FROM t$$),
    ($$SELECT a FROM t UNION SELECT a FROM u$$), ($$SELECT n FROM t UNION ALL SELECT n FROM u$$), ($$SELECT f FROM t INTERSECT SELECT f FROM u WHERE id < 5$$), ($$SELECT d FROM t EXCEPT SELECT d FROM u$$), ($$SELECT a FROM t EXCEPT ALL SELECT a FROM u$$),
    ($$SELECT id FROM t ORDER BY a::text, id LIMIT 20 OFFSET 10$$), ($$SELECT d FROM t ORDER BY d::date DESC NULLS LAST LIMIT 9$$), ($$SELECT n FROM t ORDER BY n::int8 FETCH FIRST 7 ROWS WITH TIES$$),
    ($$SELECT id, rank() OVER (PARTITION BY a ORDER BY n::int8) FROM t$$), ($$SELECT id, sum(n::int8::numeric) OVER (ORDER BY id ROWS 3 PRECEDING) FROM t$$), ($$SELECT min(d::date), max(s::timestamptz), sum(r::numeric) FROM t$$),
    ($$SELECT t.id, x.id FROM t, LATERAL (SELECT id FROM u WHERE u.a = t.a ORDER BY id LIMIT 2) x$$), ($$WITH c AS MATERIALIZED (SELECT * FROM t WHERE n > 0) SELECT id, a FROM c WHERE a = 'x'$$),
    ($$WITH RECURSIVE c AS (SELECT id, f FROM t WHERE id = 1 UNION SELECT t.id, t.f FROM t JOIN c USING (f) WHERE t.id < 50) SELECT id FROM c$$), ($$SELECT id FROM t WHERE (a, n) IN (SELECT a, n FROM u)$$),
    ($$SELECT t.id, (SELECT count(*) FROM u WHERE u.f = t.f AND u.n >= 0) FROM t$$), ($$SELECT id, a, f, p, m, n, r, d, s, j, b FROM t$$);
INSERT INTO public.form (query) SELECT format('SELECT id FROM folded WHERE v = asked(%L)', raw) FROM public.word;
INSERT INTO public.form (query) VALUES ($$SELECT id FROM folded WHERE v IN (asked('STRASSE'), asked(U&'\00E9'))$$), ($$SELECT id FROM folded WHERE v = ANY (ARRAY[asked('ISTANBUL'), asked('…'), NULL])$$),
    ($$SELECT id FROM folded WHERE v NOT IN (asked('Straße'), asked('---'))$$), ($$SELECT id FROM folded WHERE v <> asked('İstanbul')$$), ($$SELECT id FROM folded WHERE v IS DISTINCT FROM asked('')$$),
    ($$SELECT count(*) FROM folded GROUP BY v$$), ($$SELECT count(DISTINCT v) FROM folded$$), ($$SELECT a.id, b.id FROM folded a JOIN folded b USING (v)$$), ($$SELECT a.id FROM folded a WHERE NOT EXISTS (SELECT FROM folded b WHERE a.v = b.v AND a.id <> b.id)$$),
    ($$SELECT id, row_number() OVER (PARTITION BY v ORDER BY id) FROM folded$$), ($$SELECT count(*) FROM (SELECT v FROM folded UNION SELECT v FROM folded WHERE id < 9) u$$);

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
INSERT INTO plain.folded (id, v) SELECT row_number() OVER (ORDER BY raw), folded FROM public.word WHERE raw < 'm';
INSERT INTO sealed.folded (id, v) SELECT row_number() OVER (ORDER BY raw), raw FROM public.word WHERE raw < 'm';
SELECT count(fill(x, 'beta')) FROM unnest('{plain.t,sealed.t,plain.u,sealed.u}'::text[]) x \gset ignored_
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
INSERT INTO plain.folded (id, v) SELECT row_number() OVER (ORDER BY raw), folded FROM public.word;
INSERT INTO sealed.folded (id, v) SELECT row_number() OVER (ORDER BY raw), raw FROM public.word;
SELECT count(fill(x, '')) FROM unnest('{plain.t,sealed.t,plain.u,sealed.u}'::text[]) x \gset ignored_
COMMIT;
RESET SESSION AUTHORIZATION;
GRANT SELECT, UPDATE ON public.form TO regress_immiiq_app;
ANALYZE sealed.t, sealed.u, sealed.folded, plain.t, plain.u, plain.folded;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
UPDATE public.form SET wanted = answer('plain', query);
SELECT cmp_ok((SELECT count(*) FROM public.form WHERE wanted = '0'), '<=', 6::bigint, 'next to no answer is empty');
SELECT is(differing(), NULL, 'plans as they come');
SET LOCAL enable_seqscan = off;
SELECT is(differing(), NULL, 'indexes');
SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexonlyscan = off;
SELECT is(differing(), NULL, 'no indexes');
SET LOCAL enable_hashjoin = off; SET LOCAL enable_hashagg = off;
SELECT is(differing(), NULL, 'sorting and merging');
SET LOCAL enable_mergejoin = off; SET LOCAL enable_sort = off; SET LOCAL enable_hashagg = on;
SELECT is(differing(), NULL, 'nested loops');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL min_parallel_index_scan_size = 0;
SELECT is(differing(), NULL, 'parallel');
SELECT matches(plan_of('SELECT id FROM sealed.t WHERE b = ''\x0003''', 'COSTS off'), 'Gather', 'which it is');
COMMIT;
-- Compiled: every third query is enough, and takes long enough.
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SET LOCAL jit = on; SET LOCAL jit_above_cost = 0; SET LOCAL jit_inline_above_cost = -1; SET LOCAL jit_optimize_above_cost = -1;
SELECT is(differing(3), NULL, 'compiled');
SELECT matches(plan_of('SELECT id FROM sealed.t WHERE b = ''\x0003''', 'ANALYZE, TIMING off'), CASE WHEN pg_jit_available() THEN 'JIT:' ELSE '' END, 'which it is, where the server can');
COMMIT;
-- Prepared in one organisation, run in another, with the plans of the first.
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true), set_config('search_path', 'sealed, public', true), set_config('plan_cache_mode', 'force_generic_plan', true) \gset
SELECT is(differing_prepared(), NULL, 'prepared, with generic plans');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
UPDATE public.form SET wanted = answer('plain', query);
SELECT is(differing(), NULL, 'the other organisation');
SELECT set_config('search_path', 'sealed, public', true), set_config('plan_cache_mode', 'force_generic_plan', true) \gset
SELECT is(differing_prepared(), NULL, 'with the plans that were prepared for the first');
SELECT cmp_ok((SELECT sum(generic_plans)::bigint FROM pg_prepared_statements WHERE name LIKE 'same%'), '>=', 2 * (SELECT count(*) FROM public.form), 'which were those');
SET LOCAL plan_cache_mode = force_custom_plan;
SELECT is(differing_prepared(), NULL, 'and with new ones');
COMMIT;

-- A refusal is the same in an empty table and in a full one.
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT is((SELECT string_agg(q || ' ' || answer('empty', q) || ' ' || left(answer('sealed', q), 5), chr(10)) FROM unnest(refused) q
    WHERE answer('empty', q) <> answer('sealed', q) OR answer('empty', q) <> state), NULL, state)
FROM (VALUES ('IQ030', ARRAY[$$SELECT id FROM t ORDER BY a$$, $$SELECT greatest(a, f) FROM t$$, $$SELECT rank() OVER (ORDER BY n) FROM t$$, $$SELECT id FROM t WHERE a LIKE 'x%'$$,
        $$SELECT id FROM t WHERE p = 'x'$$, $$SELECT id FROM t WHERE a = f$$, $$SELECT t.id FROM t JOIN u ON t.p = u.p$$, $$SELECT DISTINCT m FROM t$$, $$SELECT p FROM t UNION SELECT p FROM u$$,
        $$SELECT a FROM t UNION SELECT f FROM u$$, $$SELECT count(*) FROM t GROUP BY m$$, $$SELECT DISTINCT t FROM t$$, $$SELECT t.id FROM t, u WHERE t.n < u.n$$]),
    ('42883', ARRAY[$$SELECT id FROM t WHERE d < now()$$, $$SELECT id FROM t WHERE d >= timestamp '1990-03-01 12:00'$$]),
    ('0A000', ARRAY[$$SELECT id FROM t WHERE (id, a) = (1, 'x')$$, $$SELECT id FROM t WHERE (id, a) IN ((1, 'x'))$$])) v (state, refused);
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
