-- Every sealed type the same way: in, out, casts, arrays, domains, composites, copies, ALTER TABLE, large values.
\i test/pgtap/setup.psql
SELECT plan(61);

CREATE TYPE pair AS (a enc_int8(31,equality), b enc_text(32,sealed));
CREATE DOMAIN amount AS enc_numeric(33,equality);
CREATE TABLE vault (
    id int,
    org_id uuid NOT NULL DEFAULT immiiq.current_org(),
    t enc_text(1,equality,fold,prefix,match), b enc_bytea(2,equality), i enc_int8(3,equality,range), n enc_numeric(4,equality,range),
    d enc_date(5,equality,range), z enc_timestamptz(6,equality,range), j enc_jsonb(7,contains),
    many enc_int8(8,equality)[], two pair, money amount, copy enc_bytea(2,equality) GENERATED ALWAYS AS (b) STORED
);
CREATE TABLE plain (id int, t text, b bytea, i int8, n numeric, d date, z timestamptz, j jsonb);
GRANT ALL ON vault, plain TO regress_immiiq_app;
SELECT is((SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'vault'::regclass AND attnum BETWEEN 3 AND 9),
    'enc_text(1,equality,fold,prefix,match) enc_bytea(2,equality) enc_int8(3,equality,range) enc_numeric(4,equality,range) '
    || 'enc_date(5,equality,range) enc_timestamptz(6,equality,range) enc_jsonb(7,contains)', 'declarations print as they are written');
SELECT throws_ok(format('CREATE TABLE bad (a %s)', declaration), '22023', NULL, declaration || ' is refused')
FROM unnest(ARRAY['enc_text(range)', 'enc_text(contains)', 'enc_bytea(match)', 'enc_bytea(range)', 'enc_int8(match)', 'enc_numeric(fold)', 'enc_date(prefix)',
    'enc_timestamptz(contains)', 'enc_jsonb(equality)', 'enc_jsonb(sealed,contains)', 'enc_int8(rnage)']) AS declaration;
CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    d text;
    h text;
    c text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT, c = PG_EXCEPTION_CONTEXT;
    RETURN SQLSTATE || CASE WHEN SQLERRM || d || h ~ 'rabbit' OR regexp_replace(c, 'SQL statement ".*"', '') ~ 'rabbit' THEN ' and tells it' ELSE '' END;
END
$$;
CREATE FUNCTION hint(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN hint;
END
$$;
SELECT is(hint('CREATE TABLE bad (a enc_int8(match))'), 'Modifiers are a domain number and of the words sealed, equality, range.', 'and the choices are named');

-- Row 1 by literals, 2 by typed values, 3 by text parameters, 4 of extremes, 5 of nothing.
PREPARE untyped AS INSERT INTO vault (id, t, b, i, n, d, z, j) VALUES (3, $1, $2, $3, $4, $5, $6, $7);
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
INSERT INTO vault (id, t, b, i, n, d, z, j, many, two, money) VALUES
    (1, 'Ada', '\x00ff', 42, 1.50, '1815-12-10', '2024-02-29 12:00+00', '{"b": 1, "a": [null]}', '{1,NULL,3}', '(7,x)', 9.99);
INSERT INTO vault (id, t, b, i, n, d, z, j, many)
VALUES (2, 'Bob'::text, '\xdead'::bytea, 7::int8, 2.25::numeric, date '2000-01-01', timestamptz '2000-01-01 00:00+00', '[1]'::jsonb, ARRAY[5, 6]::int8[]::enc_int8(8,equality)[]);
EXECUTE untyped('Cy', '\x', '-1', '0.00', 'infinity', '-infinity', 'null');
INSERT INTO vault (id, i, n, d, z) VALUES (4, '9223372036854775807', 'NaN', '5874897-12-31', '294276-12-31 23:59:59.999999+00'), (5, NULL, NULL, NULL, NULL);
INSERT INTO vault (id, i, n, z) VALUES (6, 3::smallint, 4, current_date), (7, 3::int4, 4::bigint, localtimestamp);
SELECT is((SELECT format('%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s', t, b, i, n, d, z AT TIME ZONE 'UTC', j, many, two, money, copy)
    FROM (SELECT t, b, i, n, d, z::timestamptz AS z, j, many, two, money, copy FROM vault WHERE id = 1) AS v),
    'Ada|\x00ff|42|1.50|1815-12-10|2024-02-29 12:00:00|{"a": [null], "b": 1}|{1,NULL,3}|(7,x)|9.99|\x00ff', 'literals of every type, and what is made of them');
INSERT INTO plain SELECT id, t::text, b::bytea, i::int8, n::numeric, d::date, z::timestamptz, j::jsonb FROM vault;
SELECT results_eq('SELECT * FROM plain WHERE id BETWEEN 2 AND 4 ORDER BY id', $$VALUES
    (2, 'Bob', '\xdead'::bytea, 7::int8, 2.25, date '2000-01-01', timestamptz '2000-01-01 00:00+00', '[1]'::jsonb),
    (3, 'Cy', '\x', -1, 0.00, 'infinity', '-infinity', 'null'),
    (4, NULL, NULL, 9223372036854775807, 'NaN', '5874897-12-31', '294276-12-31 23:59:59.999999+00', NULL)$$, 'values, parameters and extremes come back as the plain types');
SELECT is((SELECT array_agg(n::text ORDER BY id) FROM vault WHERE id IN (1, 3)), '{1.50,0.00}', 'a numeric keeps the digits it shows');
SELECT is((SELECT count(*) FROM vault WHERE i::int8 = 3 AND n::numeric = 4 AND z IS NOT NULL AND id > 5), 2::bigint, 'what the plain types take by assignment is taken');
SELECT is((SELECT count(*) FROM vault WHERE n = 1.5 AND b = '\x00ff' AND i = 42 AND z = '2024-02-29 13:00+01'), 1::bigint, 'equality is that of the plain type');
SELECT is((SELECT count(*) FROM vault WHERE n IN (1.500, 2.250) AND i = ANY ('{7,42}'::int8[]) AND b <> '\x'::bytea), 2::bigint, 'in lists, too');
SELECT throws_ok($$SELECT 1 FROM vault WHERE j = '{}'$$, 'IQ030', NULL, 'jsonb has no equality');
SELECT throws_ok('SELECT DISTINCT j FROM vault', 'IQ030', NULL, 'nor DISTINCT');
SELECT throws_ok('SELECT 1 FROM vault ORDER BY i', 'IQ030', NULL, 'nor has any type an order of tags');

-- What the plain type refuses is refused with its SQLSTATE, and not repeated.
SELECT is(refusal(format('INSERT INTO vault (id, %s) VALUES (9, %L)', col, bad)), state, format('%s refuses as the plain type does', col))
FROM (VALUES ('b', '\xrabbit', '22023'), ('i', 'rabbit', '22P02'), ('i', '9223372036854775808', '22003'), ('n', 'rabbit', '22P02'), ('d', 'rabbit', '22007'),
    ('z', 'rabbit', '22007'), ('j', '{"rabbit": }', '22P02')) AS bad (col, bad, state);
SELECT is(refusal(format('SELECT 1 FROM vault WHERE %s', condition)), state, condition || ' too')
FROM (VALUES ($$i < 'rabbit'$$, '22P02'), ($$n = 'rabbit'$$, '22P02'), ($$d BETWEEN 'rabbit' AND '2000-01-01'$$, '22007'), ($$j @> '{rabbit'$$, '22P02'),
    ($$t LIKE 'rabbit\'$$, '22025')) AS bad (condition, state);

-- ---- nobody and others see armour, in every type ----
COMMIT;
SELECT is((SELECT count(*) FROM vault, LATERAL (VALUES (t::text), (b::text), (i::text), (n::text), (d::text), (z::text), (j::text), (copy::text)) AS v (x)
    WHERE id IN (1, 2) AND x LIKE 'iq1:%'), 16::bigint, 'nobody sees armour');
SELECT throws_ok(format('SELECT %s FROM vault WHERE id = 1', expression), 'IQ011', NULL, expression || ' needs somebody')
FROM unnest(ARRAY['b::bytea', 'i::int8', 'n::numeric', 'z::timestamptz', 'j::jsonb']) AS expression;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
SELECT throws_ok('SELECT n::numeric FROM vault WHERE id = 1', 'IQ032', NULL, 'another organisation''s value is not cast');
SELECT is((SELECT count(*) FROM vault WHERE t LIKE '%a%' OR i > -100 OR n < 100 OR d > '1000-01-01' OR j @> '{}' OR t ^@ 'A'), 0::bigint, 'nor found');
COMMIT;
RESET SESSION AUTHORIZATION;

-- ---- COPY, both formats, both ways: with somebody as plaintext, without as armour ----
GRANT pg_read_server_files, pg_write_server_files, pg_execute_server_program TO regress_immiiq_operator;
CREATE TABLE again (LIKE vault);
GRANT ALL ON vault, again TO regress_immiiq_operator;
CREATE FUNCTION copied(options text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    file text := format('/tmp/regress_immiiq_%s.copy', pg_backend_pid());
    result bigint;
BEGIN
    DELETE FROM again;
    EXECUTE format('COPY (SELECT id, org_id, t, b, i, n, d, z, j, many FROM vault) TO %L %s', file, options);
    EXECUTE format('COPY again (id, org_id, t, b, i, n, d, z, j, many) FROM %L %s', file, options);
    EXECUTE format('COPY (SELECT) TO PROGRAM %L', 'cat > /dev/null; rm ' || file);
    SELECT count(*) INTO result FROM again a JOIN vault v USING (id)
    WHERE a.t IS NOT DISTINCT FROM v.t AND a.b IS NOT DISTINCT FROM v.b AND a.i IS NOT DISTINCT FROM v.i AND a.n IS NOT DISTINCT FROM v.n
    AND a.d IS NOT DISTINCT FROM v.d AND a.z IS NOT DISTINCT FROM v.z AND a.j::text IS NOT DISTINCT FROM v.j::text AND a.many::text IS NOT DISTINCT FROM v.many::text;
    RETURN result;
END
$$;
SELECT is(copied(format('(FORMAT %s)', name)), 7::bigint, format('COPY as %s carries armour while nobody is active', name)) FROM unnest(ARRAY['text', 'csv', 'binary']) AS name;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is(copied(format('(FORMAT %s)', name)), 7::bigint, format('COPY as %s carries plaintext while somebody is', name)) FROM unnest(ARRAY['text', 'csv', 'binary']) AS name;
COMMIT;
RESET SESSION AUTHORIZATION;

-- ---- ALTER TABLE: from plain, between declarations, to plain ----
GRANT ALL ON SCHEMA public TO regress_immiiq_operator;
ALTER TABLE plain OWNER TO regress_immiiq_operator;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
CREATE TEMP TABLE before AS SELECT * FROM plain;
SELECT lives_ok($$ALTER TABLE plain ALTER t TYPE enc_text(1,match) USING t::enc_text(1,match), ALTER b TYPE enc_bytea(2,equality) USING b::enc_bytea(2,equality),
    ALTER i TYPE enc_int8(3,equality), ALTER n TYPE enc_numeric(4,range), ALTER d TYPE enc_date(5,range), ALTER z TYPE enc_timestamptz(6,equality),
    ALTER j TYPE enc_jsonb(7,contains)$$, 'plain columns become sealed');
CREATE INDEX ON plain USING gin (t);
SELECT is((SELECT array_agg(id ORDER BY id) FROM plain WHERE t LIKE '%da%' OR n < 1 OR i = 7), '{1,2,3}', 'and are searched');
SELECT lives_ok($$ALTER TABLE plain ALTER t TYPE enc_text(11,prefix), ALTER i TYPE enc_int8(3,range), ALTER d TYPE enc_date(equality)$$, 'declarations change');
SELECT is((SELECT array_agg(id ORDER BY id) FROM plain WHERE t ^@ 'A' OR i BETWEEN 5 AND 9 OR d = 'infinity'), '{1,2,3}', 'and what is searched with them');
DROP INDEX plain_t_idx;
SELECT lives_ok($$ALTER TABLE plain ALTER t TYPE text USING t::text, ALTER b TYPE bytea USING b::bytea, ALTER i TYPE int8 USING i::int8,
    ALTER n TYPE numeric USING n::numeric, ALTER d TYPE date USING d::date, ALTER z TYPE timestamptz USING z::timestamptz, ALTER j TYPE jsonb USING j::jsonb$$, 'sealed columns become plain');
SELECT results_eq('SELECT * FROM plain ORDER BY id', 'SELECT * FROM before ORDER BY id', 'with the same values');

-- ---- size ----
CREATE TEMP TABLE large (b enc_bytea(1,equality), t enc_text(2,match));
SELECT lives_ok($$INSERT INTO large VALUES (decode(repeat('5aff', 50 * 1024 * 1024), 'hex'), repeat('needle in hay ', 1000000))$$, '100 MB are sealed');
SELECT is((SELECT octet_length(b::bytea) FROM large), 100 * 1024 * 1024, 'and opened');
SELECT is((SELECT count(*) FROM large WHERE t LIKE '%dle in hay need%' AND b = decode(repeat('5aff', 50 * 1024 * 1024), 'hex')), 1::bigint, 'and found');
-- Comparing and grouping read the header alone: of 51,200 chunks no more than the first few.
CREATE FUNCTION pg_temp.read_by(query text) RETURNS int8 LANGUAGE plpgsql AS $$
DECLARE
    toast constant oid := (SELECT reltoastrelid FROM pg_class WHERE oid = 'large'::regclass);
    was constant int8 := pg_stat_get_xact_blocks_fetched(toast);
BEGIN
    EXECUTE query;
    RETURN pg_stat_get_xact_blocks_fetched(toast) - was;
END
$$;
SELECT cmp_ok(pg_temp.read_by($$SELECT count(*) FROM large AS a JOIN large AS b USING (b) WHERE a.b <> '\x00'$$), '<=', 30::int8, 'comparing reads the header only');
SELECT cmp_ok(pg_temp.read_by($$SELECT count(*), count(DISTINCT b) FROM large GROUP BY b$$), '<=', 30::int8, 'grouping, too');
SELECT cmp_ok(pg_temp.read_by($$SELECT octet_length(b::bytea) FROM large$$), '>', 10000::int8, 'and opening all of it');
SELECT throws_ok($$INSERT INTO large (t) SELECT string_agg(md5(i::text) || chr(20000 + i % 20000), '') FROM generate_series(1, 600000) i$$, '54000', NULL,
    'a text of too many different trigrams is refused');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
