-- Equality on sealed columns: every form of argument and its plan under row security, keys and joins, what is refused, what leaks.
\i test/pgtap/setup.psql
SELECT plan(107);

CREATE TABLE client (
    id int,
    org_id uuid NOT NULL DEFAULT immiiq.current_org(),
    passport enc_text(7,equality,fold),
    born enc_date(8,equality),
    code enc_text(9,equality),
    note enc_text(10,sealed)
);
CREATE TABLE permit (LIKE client INCLUDING DEFAULTS);
ALTER TABLE client ENABLE ROW LEVEL SECURITY;
ALTER TABLE permit ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON client USING (org_id = immiiq.current_org());
CREATE POLICY own ON permit USING (org_id = immiiq.current_org());
CREATE INDEX client_passport ON client (org_id, passport);
CREATE INDEX client_born ON client (org_id, born);
CREATE INDEX client_code ON client USING hash (code);
GRANT ALL ON client, permit TO regress_immiiq_app;
CREATE FUNCTION by_passport(p text) RETURNS SETOF client LANGUAGE sql STABLE AS $$ SELECT * FROM client WHERE passport = p $$;
CREATE FUNCTION by_list() RETURNS SETOF client LANGUAGE sql STABLE AS $$ SELECT * FROM client WHERE passport IN ('P100', 'P200') $$;
CREATE FUNCTION by_array(p text[]) RETURNS SETOF client LANGUAGE sql STABLE AS $$ SELECT * FROM client WHERE passport = ANY(p) $$;
CREATE FUNCTION is_listed(v enc_text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT v IN ('P100', 'P200') $$;
CREATE FUNCTION is_same(v enc_text, w text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT v = w $$;
CREATE VIEW listed WITH (security_invoker) AS SELECT * FROM client WHERE passport IN ('P100', 'P200');
CREATE FUNCTION by_variable(p text) RETURNS int LANGUAGE plpgsql STABLE AS $$
DECLARE n int; BEGIN SELECT id INTO n FROM client WHERE passport = p; RETURN n; END $$;
CREATE FUNCTION by_sealed_variable(p enc_text) RETURNS int LANGUAGE plpgsql STABLE AS $$
DECLARE n int; BEGIN SELECT id INTO n FROM client WHERE passport = p; RETURN n; END $$;
GRANT SELECT ON listed TO regress_immiiq_app;

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
INSERT INTO client (id, passport, born, code, note) SELECT i, 'P' || i, date '1950-01-01' + i, 'c' || i, 'n' || i FROM generate_series(1, 2000) i;
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
INSERT INTO client (id, passport, born, code, note) SELECT i, 'P' || i, date '1950-01-01' + i, 'c' || i % 100, 'n' || i FROM generate_series(1, 2000) i;
INSERT INTO client (id, passport) VALUES (2001, 'Müller-Lüdenscheidt'), (2002, 'STRASSE 1'), (2003, NULL), (2004, '---'), (2005, '');
INSERT INTO permit (id, passport, born, code) SELECT i, 'p-' || i * 10, date '1950-01-01' + i, 'c' || i FROM generate_series(1, 100) i;
COMMIT;
RESET SESSION AUTHORIZATION;
ANALYZE client;
ANALYZE permit;

-- ---- statistics ----
SELECT is((SELECT count(*) FROM pg_statistic s JOIN pg_attribute a ON a.attrelid = s.starelid AND a.attnum = s.staattnum
    WHERE starelid = 'client'::regclass AND attname IN ('passport', 'born', 'code', 'note')
      AND (stakind1 <> 0 OR stavalues1 IS NOT NULL OR stanumbers1 IS NOT NULL)), 0::bigint, 'ANALYZE keeps no values and no frequencies');
SELECT is((SELECT n_distinct FROM pg_stats WHERE tablename = 'permit' AND attname = 'passport'), -1::real, 'it counts distinct values');
SELECT is((SELECT n_distinct > 2000 AND n_distinct < 2200 OR n_distinct BETWEEN -0.6 AND -0.5 FROM pg_stats WHERE tablename = 'client' AND attname = 'code'), true, 'tags of two organisations are distinct');
SELECT ok((SELECT null_frac BETWEEN 0.0002 AND 0.0003 AND avg_width BETWEEN 65 AND 75 FROM pg_stats WHERE tablename = 'client' AND attname = 'passport'), 'and NULLs and width');

-- ---- every form of argument: the answer, and the index under row security ----
-- The plan of a query, without costs, on one line.
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; result text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP result := result || trim(line) || ' '; END LOOP;
    RETURN result;
END
$$;
-- Passes when the query gives these ids and its plan looks up the passport (or what is named) in an index.
CREATE FUNCTION served(query text, ids int[], description text, condition text DEFAULT 'Index Cond: [^>]*passport[^>]*enc_text_probe') RETURNS text LANGUAGE plpgsql AS $$
DECLARE got int[]; plan text;
BEGIN
    EXECUTE format(CASE WHEN query LIKE 'EXECUTE%' THEN '%s' ELSE 'SELECT array_agg(id ORDER BY id) FROM (%s) q' END, query) INTO got;
    plan := plan_of(query);
    RETURN ok(got = ids AND plan ~ condition AND plan !~ 'Seq Scan on client', description)
        || CASE WHEN got = ids AND plan ~ condition AND plan !~ 'Seq Scan on client' THEN '' ELSE E'\n' || diag(format('%s %s', got, plan)) END;
END
$$;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT served($$SELECT id FROM client WHERE passport = 'p 100'$$, '{100}', 'a literal');
SELECT served($$SELECT id FROM client WHERE 'p-100' = passport$$, '{100}', 'a literal on the left');
SELECT served($$SELECT id FROM client WHERE passport = 'P100'::varchar$$, '{100}', 'varchar');
SELECT served($$SELECT id FROM client WHERE passport = 'P100'::enc_text$$, '{100}', 'a literal of the sealed type');
SELECT served($$SELECT id FROM client WHERE passport IN ('P100', 'P200')$$, '{100,200}', 'IN');
SELECT served($$SELECT id FROM client WHERE passport IN ('P100')$$, '{100}', 'IN of one');
SELECT served($$SELECT id FROM client WHERE passport IN ('P1','P2','P3','P4','P5','P6','P7','P8','P9','P10','P11','P12')$$, '{1,2,3,4,5,6,7,8,9,10,11,12}', 'IN of many');
SELECT served($$SELECT id FROM client WHERE passport = ANY('{P100,P200}')$$, '{100,200}', '= ANY of a literal');
SELECT served($$SELECT id FROM client WHERE passport = ANY(ARRAY['P100', 'P200'])$$, '{100,200}', '= ANY of ARRAY');
SELECT served($$SELECT id FROM client WHERE passport = ANY('{P100,P200}'::varchar[])$$, '{100,200}', '= ANY of varchar[]');
SELECT served($$SELECT id FROM client WHERE passport = ANY('{P100,P200}'::enc_text[])$$, '{100,200}', '= ANY of the sealed type');
SELECT served($$SELECT id FROM client WHERE passport = ANY('{P100,NULL}'::text[])$$, '{100}', '= ANY with a NULL');
SELECT served($$SELECT id FROM client WHERE born = '1950-04-11'$$, '{100}', 'a date as a literal', 'Index Cond: [^>]*born[^>]*enc_date_probe');
SELECT served($$SELECT id FROM client WHERE born = date '1950-04-11'$$, '{100}', 'a date', 'Index Cond: [^>]*born[^>]*enc_date_probe');
SELECT served($$SELECT id FROM client WHERE born IN ('1950-04-11', '1950-04-12')$$, '{100,101}', 'dates as literals', 'Index Cond: [^>]*born[^>]*enc_date_probe');
SELECT served($$SELECT id FROM client WHERE born = ANY('{1950-04-11}'::date[])$$, '{100}', 'an array of dates', 'Index Cond: [^>]*born[^>]*enc_date_probe');
SELECT served($$SELECT id FROM client WHERE passport = (SELECT 'P100')$$, '{100}', 'a scalar subquery of text');
SELECT served($$SELECT id FROM client WHERE passport = (SELECT passport FROM permit WHERE id = 10)$$, '{100}', 'a scalar subquery of a sealed column', 'Index Cond: [^>]*passport');
SELECT served($$SELECT id FROM client WHERE passport IN (SELECT passport FROM permit WHERE id < 3)$$, '{10,20}', 'IN of a subquery', 'Index Cond: [^>]*passport');
SELECT served($$SELECT c.id FROM client c JOIN permit p USING (passport) WHERE p.id = 10$$, '{100}', 'a join', 'Index Cond: [^>]*passport');
SELECT served($$SELECT c.id FROM client c JOIN (VALUES ('P1'), ('P2')) v (x) ON c.passport = v.x$$, '{1,2}', 'a join with plain text');
SELECT served($$SELECT id FROM by_passport('p100')$$, '{100}', 'an inlined function');
SELECT served($$SELECT id FROM by_list()$$, '{100,200}', 'an inlined function with a list');
SELECT served($$SELECT id FROM by_array('{P100,P200}')$$, '{100,200}', 'an inlined function with an array');
SELECT served($$SELECT id FROM client WHERE is_listed(passport)$$, '{100,200}', 'an inlined condition with a list');
SELECT served($$SELECT id FROM client WHERE is_same(passport, 'P100')$$, '{100}', 'an inlined condition');
SELECT served($$SELECT id FROM listed$$, '{100,200}', 'a view with a list');
PREPARE of_text(text) AS SELECT array_agg(id ORDER BY id) FROM client WHERE passport = $1;
PREPARE untyped AS SELECT array_agg(id ORDER BY id) FROM client WHERE passport = $1;
PREPARE of_array(text[]) AS SELECT array_agg(id ORDER BY id) FROM client WHERE passport = ANY($1);
PREPARE untyped_array AS SELECT array_agg(id ORDER BY id) FROM client WHERE passport = ANY($1);
PREPARE untyped_list AS SELECT array_agg(id ORDER BY id) FROM client WHERE passport IN ($1, $2);
PREPARE of_sealed(enc_text) AS SELECT array_agg(id ORDER BY id) FROM client WHERE passport = $1;
PREPARE of_varchars(varchar[]) AS SELECT array_agg(id ORDER BY id) FROM client WHERE passport = ANY($1);
PREPARE of_date(date) AS SELECT array_agg(id ORDER BY id) FROM client WHERE born = $1;
PREPARE untyped_date AS SELECT array_agg(id ORDER BY id) FROM client WHERE born = $1;
SELECT served(query, ids, format('%s: %s', mode, query), condition)
FROM (VALUES ('force_custom_plan'), ('force_generic_plan')) m (mode),
    LATERAL (SELECT set_config('plan_cache_mode', mode, true)) s,
    (VALUES ($$EXECUTE of_text('P100')$$, '{100}'::int[], 'passport'), ($$EXECUTE untyped('P100')$$, '{100}', 'passport'),
        ($$EXECUTE of_array('{P100,P200}')$$, '{100,200}', 'passport'), ($$EXECUTE untyped_array('{P100,P200}')$$, '{100,200}', 'passport'),
        ($$EXECUTE untyped_list('P100', 'P200')$$, '{100,200}', 'passport'), ($$EXECUTE of_sealed('P100')$$, '{100}', 'passport'),
        ($$EXECUTE of_varchars('{P100,P200}')$$, '{100,200}', 'passport'),
        ($$EXECUTE of_date('1950-04-11')$$, '{100}', 'born'), ($$EXECUTE untyped_date('1950-04-11')$$, '{100}', 'born')) q (query, ids, col),
    LATERAL (SELECT 'Index Cond: [^>]*' || col || '[^>]*_probe' AS condition) c;
SELECT set_config('plan_cache_mode', 'auto', true) \gset ignored_
SELECT is(by_variable('P100') || '/' || by_sealed_variable('P100'), '100/100', 'PL/pgSQL variables');
SET LOCAL plan_cache_mode = force_generic_plan;
SELECT is(by_variable('P101') || '/' || by_sealed_variable('P101'), '101/101', 'PL/pgSQL variables in generic plans');
RESET plan_cache_mode;
SELECT ok(plan_of($$SELECT id FROM client WHERE code = 'c7'$$) ~ 'client_code.*Index Cond|Index Cond.*code', 'a hash index serves too');
SELECT is((SELECT count(*) FROM client WHERE code = 'c7'), 20::bigint, 'and finds all');
COMMIT;

-- Cached plans are right for whoever runs them.
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
SET LOCAL plan_cache_mode = force_generic_plan;
EXECUTE of_text('P100') \gset beta_
SELECT is(:'beta_array_agg'::text, '{100}', 'a cached plan searches with the tags of who runs it');
SELECT is((SELECT count(*) FROM client WHERE code = 'c7'), 1::bigint, 'another organisation finds its own');
COMMIT;
SELECT throws_ok($$EXECUTE of_text('P100')$$, 'IQ011', NULL, 'and of nobody else');
SELECT throws_ok($$SELECT id FROM client WHERE passport = 'P100'$$, 'IQ011', NULL, 'a search needs somebody active');
SELECT throws_ok($$SELECT id FROM client WHERE passport IN ('P100', 'P200')$$, 'IQ011', NULL, 'in a list');
SELECT throws_ok($$SELECT id FROM client WHERE passport = ANY('{}'::text[])$$, 'IQ011', NULL, 'in an empty array');

-- ---- fold and equality ----
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT is((SELECT array_agg(id) FROM client WHERE passport = 'MULLER LUDENSCHEIDT'), ARRAY[2001], 'case, accents and punctuation are folded');
SELECT is((SELECT array_agg(id) FROM client WHERE passport = 'Straße-1'), ARRAY[2002], 'sharp s is folded');
SELECT is((SELECT array_agg(id) FROM client WHERE passport = '---'), ARRAY[2004], 'what folds to nothing is itself');
SELECT is((SELECT array_agg(id) FROM client WHERE passport = ''), ARRAY[2005], 'the empty string too');
SELECT is((SELECT count(*) FROM client WHERE code = 'C7'), 0::bigint, 'without fold, case counts');
SELECT is((SELECT count(*) FROM client WHERE passport <> 'p1'), 2003::bigint, '<> leaves out one and NULL');
SELECT is((SELECT count(*) FROM client WHERE passport IS DISTINCT FROM 'p1'), 2004::bigint, 'IS DISTINCT FROM leaves out one');
SELECT is((SELECT count(*) FROM client WHERE passport NOT IN ('p1', 'p2')), 2002::bigint, 'NOT IN leaves out two and NULL');
SELECT is((SELECT count(*) FROM client WHERE passport <> ALL('{p1,p2}')), 2002::bigint, '<> ALL too');
SELECT is((SELECT count(*) FROM client WHERE NOT (passport = 'p1')), 2003::bigint, 'NOT = is <>');
SELECT is((SELECT (id, passport) = (9, 'P9'::enc_text) FROM client WHERE id = 9), true, 'a row comparison with a value of the sealed type');
SELECT is((SELECT CASE passport WHEN 'p9' THEN 'nine' END FROM client WHERE id = 9), 'nine', 'CASE');
SELECT is((SELECT NULLIF(passport, 'p9')::text FROM client WHERE id = 9), NULL::text, 'NULLIF');
SELECT is((SELECT 'p9' = ANY(ARRAY[passport, code]) FROM client WHERE id = 9), true, 'a list of columns of different declarations, value by value');

-- ---- joins, grouping, sets ----
SELECT is((SELECT count(*) FROM client c JOIN permit p ON c.passport = p.passport), 100::bigint, 'a join');
SET LOCAL enable_hashjoin = off; SET LOCAL enable_nestloop = off;
SELECT ok(plan_of($$SELECT 1 FROM client c JOIN permit p ON c.passport = p.passport$$) ~ 'Merge Join', 'a merge join is planned');
SELECT is((SELECT count(*) FROM client c JOIN permit p ON c.passport = p.passport), 100::bigint, 'and right');
SET LOCAL enable_mergejoin = off; RESET enable_hashjoin;
SELECT ok(plan_of($$SELECT 1 FROM client c JOIN permit p ON c.passport = p.passport$$) ~ 'Hash Cond', 'a hash join is planned');
SELECT is((SELECT count(*) FROM client c JOIN permit p ON c.passport = p.passport), 100::bigint, 'and right');
RESET enable_nestloop; RESET enable_mergejoin;
SELECT is((SELECT count(*) FROM client c LEFT JOIN permit p USING (passport) WHERE p.id IS NULL), 1905::bigint, 'an anti join');
SELECT is((SELECT count(*) FROM client WHERE passport NOT IN (SELECT passport FROM permit)), 1904::bigint, 'a hashed subplan');
SELECT is((SELECT array_agg(n ORDER BY n) FROM (SELECT count(*) AS n FROM client WHERE id <= 200 GROUP BY code) g), array_fill(2::bigint, '{100}'), 'GROUP BY by hash');
SET LOCAL enable_hashagg = off;
SELECT is((SELECT array_agg(n ORDER BY n) FROM (SELECT count(*) AS n FROM client WHERE id <= 200 GROUP BY code) g), array_fill(2::bigint, '{100}'), 'and by sorting');
RESET enable_hashagg;
SELECT is((SELECT count(DISTINCT code) || '/' || count(DISTINCT born) FROM client WHERE id <= 2000), '100/2000', 'count(DISTINCT)');
SELECT is((SELECT count(*) FROM (SELECT code FROM client UNION SELECT code FROM permit) u), 102::bigint, 'UNION (100 codes, NULL, and c100)');
SELECT is((SELECT count(*) FROM (SELECT code FROM client INTERSECT SELECT code FROM permit) u), 99::bigint, 'INTERSECT');
SELECT is((SELECT count(*) FROM (SELECT DISTINCT ON (code) code, id FROM client WHERE id <= 2000 ORDER BY code, id DESC) d WHERE id > 1900), 100::bigint, 'DISTINCT ON takes the last of each');
SELECT is((SELECT max(n) FROM (SELECT row_number() OVER (PARTITION BY code) AS n FROM client WHERE id <= 2000) w), 20::bigint, 'PARTITION BY');

-- ---- what is refused, and what is said ----
SELECT throws_ok($$SELECT 1 FROM client WHERE note = 'x'$$, 'IQ030', '= cannot be used on column "note" (enc_text(10,sealed))', '= on a column not declared for it');
SELECT throws_ok($$SELECT 1 FROM client WHERE note IN ('x', 'y')$$, 'IQ030', NULL, 'IN too');
SELECT throws_ok($$SELECT 1 FROM client c JOIN permit p ON c.note = p.note$$, 'IQ030', NULL, 'a join too');
SELECT throws_ok($$SELECT 1 FROM client c JOIN permit p ON c.passport = p.code$$, 'IQ030', NULL, 'a join across declarations');
SELECT throws_ok($$SELECT 1 FROM client WHERE passport IN (SELECT code FROM permit)$$, 'IQ030', NULL, 'IN across declarations');
SELECT throws_ok($$SELECT 1 FROM client ORDER BY passport$$, 'IQ030', NULL, 'ORDER BY');
SELECT throws_ok($$SELECT array_agg(id ORDER BY passport) FROM client$$, 'IQ030', NULL, 'ORDER BY in an aggregate');
SELECT throws_ok($$SELECT rank() OVER (ORDER BY passport) FROM client$$, 'IQ030', NULL, 'ORDER BY in a window');
SELECT throws_ok($$SELECT greatest(passport, 'x') FROM client$$, 'IQ030', NULL, 'greatest');
SELECT throws_ok($$SELECT 1 FROM client WHERE passport < 'x'$$, 'IQ030', NULL, 'less than');
SELECT throws_ok($$SELECT 1 FROM client WHERE (id, passport) < (1, 'x')$$, 'IQ030', NULL, 'a row that is less');
SELECT throws_ok($$SELECT note, count(*) FROM client GROUP BY note$$, 'IQ030', NULL, 'GROUP BY of an undeclared column');
SELECT throws_ok($$SELECT DISTINCT note FROM client$$, 'IQ030', NULL, 'DISTINCT');
SELECT throws_ok($$SELECT count(DISTINCT note) FROM client$$, 'IQ030', NULL, 'count(DISTINCT)');
SELECT throws_ok($$SELECT 1 FROM (SELECT row_number() OVER (PARTITION BY note) FROM client) w$$, 'IQ030', NULL, 'PARTITION BY');
SELECT throws_ok($$SELECT note FROM client UNION SELECT note FROM client$$, 'IQ030', NULL, 'UNION');
SELECT throws_ok($$SELECT passport FROM client UNION SELECT code FROM client$$, 'IQ030', NULL, 'UNION across declarations');
SELECT throws_ok($$SELECT DISTINCT CASE WHEN id = 1 THEN passport ELSE code END FROM client$$, 'IQ030', NULL, 'DISTINCT of what has no declaration');
SELECT lives_ok($$SELECT passport FROM client UNION ALL SELECT code FROM client$$, 'UNION ALL compares nothing');
SELECT lives_ok($$SELECT passport::text FROM client ORDER BY passport::text$$, 'ORDER BY of the cast');
COMMIT;
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
