-- Equality on sealed columns: every form of argument and its plan under row security, keys and joins, what is refused, what leaks.
\i test/pgtap/setup.psql
-- These tests PREPARE and make temporary tables as the application, which the firewall would refuse.
SET immiiq.firewall = off;
SELECT plan(157);

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

-- A long list is bound as a whole, and remembered.
SELECT is((SELECT count(*) FROM client WHERE passport IN ('p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'p7', 'p8', 'p9', 'p10', 'none')), 10::bigint, 'a long list');
SET LOCAL enable_indexscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT is((SELECT count(*) FROM client WHERE passport IN ('p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'p7', 'p8', 'p9', 'p10', 'none')), 10::bigint, 'in a sequential scan');
SELECT is((SELECT count(*) FROM client c, (VALUES ('{p1,p2}'::text[]), ('{p2,p3}'), ('{p2,p4}'), ('{p2,p4}')) v (a) WHERE passport = ANY(a)), 8::bigint, 'arrays that change from row to row');
RESET enable_indexscan;
RESET enable_bitmapscan;

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

-- ---- keys ----
CREATE TABLE person (org_id uuid NOT NULL DEFAULT immiiq.current_org(), passport enc_text(7,equality,fold), born enc_date(8,equality), n int DEFAULT 1,
    PRIMARY KEY (org_id, passport), UNIQUE (org_id, born));
CREATE TABLE trip (id int, org_id uuid NOT NULL DEFAULT immiiq.current_org(), passport enc_text(7,equality,fold),
    FOREIGN KEY (org_id, passport) REFERENCES person ON UPDATE CASCADE ON DELETE SET NULL (passport));
GRANT ALL ON person, trip TO regress_immiiq_app, regress_immiiq_operator;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
INSERT INTO person (passport) VALUES ('P1');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
INSERT INTO person (passport, born) VALUES ('P1', '2000-01-01'), ('P2', '2000-01-02');
SELECT pass('the same key in two organisations is two keys');
SELECT throws_ok($$INSERT INTO person (passport) VALUES ('p-1')$$, '23505', NULL, 'PRIMARY KEY, folded');
SELECT throws_ok($$INSERT INTO person (passport, born) VALUES ('P3', '2000-01-01')$$, '23505', NULL, 'UNIQUE');
INSERT INTO person (passport, n) VALUES ('p 1', 5) ON CONFLICT (org_id, passport) DO UPDATE SET n = person.n + excluded.n;
INSERT INTO person (passport, n) VALUES ('p 2', 5) ON CONFLICT DO NOTHING;
SELECT results_eq($$SELECT passport::text, n FROM person WHERE org_id = immiiq.current_org() ORDER BY 1$$, $$VALUES ('P1', 6), ('P2', 1)$$, 'ON CONFLICT');
MERGE INTO person USING (VALUES ('P.2', 7), ('P4', 8)) v (x, n) ON person.passport = v.x AND org_id = immiiq.current_org()
    WHEN MATCHED THEN UPDATE SET n = v.n WHEN NOT MATCHED THEN INSERT (passport, n) VALUES (v.x, v.n);
SELECT results_eq($$SELECT passport::text, n FROM person WHERE org_id = immiiq.current_org() ORDER BY 1$$, $$VALUES ('P1', 6), ('P2', 7), ('P4', 8)$$, 'MERGE');
INSERT INTO trip (id, passport) VALUES (1, 'p1'), (2, 'P2');
SELECT throws_ok($$INSERT INTO trip (id, passport) VALUES (3, 'P3')$$, '23503', NULL, 'a foreign key refuses what is not there');
UPDATE person SET passport = 'P9' WHERE passport = 'P1' AND org_id = immiiq.current_org();
SELECT is((SELECT passport::text FROM trip WHERE id = 1), 'P9', 'ON UPDATE CASCADE');
DELETE FROM person WHERE passport = 'P2' AND org_id = immiiq.current_org();
SELECT is((SELECT passport IS NULL FROM trip WHERE id = 2), true, 'ON DELETE SET NULL');
SELECT throws_ok($$UPDATE person SET passport = 'x' || repeat('1', 3000) WHERE passport = 'P9'$$, '54000', NULL, 'an index row has its limit');
COMMIT;
RESET SESSION AUTHORIZATION;
-- Nobody active: keys are checked by tags alone.
SELECT passport::text AS armour FROM trip WHERE id = 1 \gset
SELECT lives_ok(format('INSERT INTO trip VALUES (4, %L, %L)', :'alpha', :'armour'), 'a foreign key is checked while nobody is active');
SELECT throws_ok(format('INSERT INTO trip VALUES (5, %L, %L)', :'beta', :'armour'), '23503', NULL, 'and refuses');
SELECT lives_ok($$ALTER TABLE trip DROP CONSTRAINT trip_org_id_passport_fkey, ADD FOREIGN KEY (org_id, passport) REFERENCES person$$, 'and checked anew as a whole');
SELECT throws_ok($$DELETE FROM person WHERE org_id = 'a1fa0000-0000-4000-8000-000000000000'$$, '23503', NULL, 'and holds');
SELECT lives_ok($$UPDATE trip SET id = id$$, 'rows can be updated while nobody is active');
SELECT lives_ok($$REINDEX TABLE person; CLUSTER person USING person_pkey$$, 'and tables rewritten');

-- ---- triggers that compare ----
CREATE FUNCTION count_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.passport IS DISTINCT FROM OLD.passport OR NEW.born <> OLD.born THEN NEW.n := OLD.n + 1; END IF;
    IF NEW.passport = 'stop' THEN RETURN NULL; END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER t BEFORE UPDATE ON person FOR EACH ROW EXECUTE FUNCTION count_changes();
CREATE TRIGGER w AFTER UPDATE ON person FOR EACH ROW WHEN (NEW.passport IS DISTINCT FROM OLD.passport) EXECUTE FUNCTION count_changes();
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
UPDATE trip SET passport = NULL;
UPDATE person SET n = 0 WHERE passport = 'P4';
UPDATE person SET passport = 'p-4' WHERE passport = 'P4';
SELECT is((SELECT n FROM person WHERE passport = 'P4'), 0, 'a value that folds the same has not changed');
UPDATE person SET passport = 'P5' WHERE passport = 'P4';
UPDATE person SET passport = 'stop' WHERE passport = 'P9' AND n > 100;
SELECT is((SELECT n FROM person WHERE passport = 'P5'), 1, 'another has');
COMMIT;
RESET SESSION AUTHORIZATION;
DROP TRIGGER t ON person;
DROP TRIGGER w ON person;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
CREATE TRIGGER l BEFORE UPDATE ON person FOR EACH ROW WHEN (NEW.passport IN ('stop', 'halt') OR NEW.passport IS NOT DISTINCT FROM 'ende') EXECUTE FUNCTION refuse();
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT lives_ok($$UPDATE person SET passport = 'go' WHERE passport = 'P5'$$, 'a trigger with a list lets others by');
SELECT throws_ok($$UPDATE person SET passport = 'Halt!' WHERE passport = 'go'$$, 'P0001', 'refused', 'and fires for what is listed');
SELECT throws_ok($$UPDATE person SET passport = 'E-n-d-e' WHERE passport = 'go'$$, 'P0001', 'refused', 'and for a single value');
SELECT is((SELECT 'a'::enc_text = 'a'::enc_text AND 'a'::enc_text <> 'b'::enc_text), true, 'values that were never bound are compared as they are');
SELECT throws_ok($$SELECT 1 FROM (VALUES ('a'::enc_text), ('b')) v (x) GROUP BY x$$, 'IQ030', NULL, 'but not grouped');
COMMIT;
RESET SESSION AUTHORIZATION;
DROP TRIGGER l ON person;

-- ---- long values, domains, parallel workers ----
CREATE DOMAIN permit_no AS enc_text(21,equality);
CREATE TABLE long (id int, body enc_text(20,equality), no permit_no, tags enc_text(22,equality)[]);
GRANT ALL ON long TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
INSERT INTO long SELECT i, repeat('long ' || i || ' ', 5000), 'N' || i, ARRAY['t' || i, 'all'] FROM generate_series(1, 20) i;
SELECT is((SELECT array_agg(id) FROM long WHERE body = repeat('long 7 ', 5000)), ARRAY[7], 'a toasted value is found');
SELECT is((SELECT count(*) FROM long a JOIN long b ON a.body = b.body), 20::bigint, 'and joined');
SELECT is((SELECT count(*) FROM (SELECT body FROM long GROUP BY body) g), 20::bigint, 'and grouped');
SELECT is((SELECT length(body::text) FROM long WHERE id = 1), 35000, 'and opened');
SELECT is((SELECT array_agg(id) FROM long WHERE no = 'N3'), ARRAY[3], 'a column of a domain is searched');
SELECT is((SELECT array_agg(id) FROM long WHERE no IN ('N3', 'N4')), ARRAY[3, 4], 'by a list too');
SELECT is((SELECT array_agg(id) FROM long WHERE 't3' = ANY(tags)), ARRAY[3], 'an array column is searched');
SELECT is((SELECT count(*) FROM long WHERE 'all' = ANY(tags)), 20::bigint, 'in every row');
SELECT is((SELECT count(*) FROM long a JOIN long b ON a.no = b.no), 20::bigint, 'domains are joined');
COMMIT;
RESET SESSION AUTHORIZATION;
ANALYZE long;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL :force_parallel = on;
SET LOCAL enable_indexscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT ok(plan_of($$SELECT id FROM client WHERE passport = 'P100' AND passport::text = 'P100'$$) ~ 'Gather', 'a parallel plan');
SELECT is((SELECT array_agg(id) FROM client WHERE passport = 'P100' AND passport::text = 'P100'), ARRAY[100], 'a parallel worker searches and opens');
SELECT is((SELECT count(*) FROM client WHERE passport IN ('P100', 'P7') AND note::text LIKE 'n%'), 2::bigint, 'with a list as well');
COMMIT;
RESET SESSION AUTHORIZATION;

-- ---- partitions and recursion ----
CREATE TABLE dossier (org_id uuid NOT NULL DEFAULT immiiq.current_org(), passport enc_text(7,equality,fold), UNIQUE (org_id, passport)) PARTITION BY HASH (org_id);
CREATE TABLE dossier_0 PARTITION OF dossier FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE dossier_1 PARTITION OF dossier FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE dossier ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON dossier USING (org_id = immiiq.current_org());
GRANT ALL ON dossier TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
INSERT INTO dossier (passport) SELECT 'P' || i FROM generate_series(1, 1000) i;
SET LOCAL enable_seqscan = off;
SELECT ok(plan_of($$SELECT 1 FROM dossier WHERE passport IN ('P1', 'P2')$$) ~ 'Index Cond: [^>]*org_id[^>]*enc_text_probe', 'partitions are searched by their indexes');
SELECT is((SELECT count(*) FROM dossier WHERE passport IN ('p1', 'p2')), 2::bigint, 'and give what is there');
SELECT is((WITH RECURSIVE chain AS (SELECT passport, 1 AS n FROM dossier WHERE passport = 'p1'
    UNION SELECT d.passport, n + 1 FROM chain JOIN dossier d ON d.passport = 'p' || (n + 1) WHERE n < 5) SELECT count(*) FROM chain), 5::bigint, 'a recursive query');
COMMIT;
RESET SESSION AUTHORIZATION;

-- ---- attacks ----
-- A function that tells what it sees, cheap enough to run first, must not see rows of others in front of a leakproof operator.
CREATE TABLE seen (t text);
GRANT ALL ON seen TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
CREATE FUNCTION pg_temp.tell(v enc_text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN INSERT INTO seen VALUES (v::text); RETURN true; END $$;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT count(*) AS ignored FROM client WHERE pg_temp.tell(passport) AND passport = 'P100' \gset
SELECT is((SELECT count(*) FROM seen WHERE t LIKE 'iq1:%'), 0::bigint, 'a leaky function sees no row of another organisation');
-- Stored values never make the leakproof operators raise: each kind of value against each.
SELECT lives_ok($$SELECT count(*) FROM client a, client b WHERE a.id < 50 AND b.id < 50 AND a.passport = b.passport$$, 'the operators do not raise on stored data');
COMMIT;
-- A probe of another's tag cannot be made, and one's own says nothing.
SELECT throws_ok($$SELECT enc_text_probe('P100'::text, 7 + (1 << 17) + (1 << 18))$$, 'IQ011', NULL, 'no probe for nobody');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT is(enc_text_probe('P100'::text, 7 + (1 << 17) + (1 << 18))::text, '(probe)', 'a probe is not printed');
SELECT throws_ok($$SELECT enc_text_probe('P100'::text, 7)$$, 'IQ030', NULL, 'a probe is only for what is declared');
SELECT throws_ok($$CREATE TEMP TABLE stolen AS SELECT enc_text_probe('P100'::text, 7 + (1 << 17))$$, 'IQ030', NULL, 'and is not stored');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM client a JOIN client b ON a.passport = b.passport WHERE a.id = 1), 2::bigint, 'columns are compared by tags while nobody is active, and organisations never meet');
SELECT is((SELECT count(DISTINCT v) FROM (SELECT passport AS v FROM client WHERE id = 1) s), 2::bigint, 'the same text in two organisations has two tags');

-- ---- estimates ----
CREATE FUNCTION rows_of(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE plan json; BEGIN EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan; RETURN plan->0->'Plan'->>'Plan Rows'; END $$;
GRANT ALL ON client TO regress_immiiq_operator;
BEGIN;
SET LOCAL SESSION AUTHORIZATION regress_immiiq_operator;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT cmp_ok(rows_of($$SELECT 1 FROM client WHERE passport = 'P100'$$), '<=', 2, 'an equality is estimated by distinct values');
SELECT cmp_ok(rows_of($$SELECT 1 FROM client WHERE passport IN ('P1', 'P2', 'P3', 'P4')$$), '<=', 8, 'a list by its length');
COMMIT;

SELECT * FROM finish();
