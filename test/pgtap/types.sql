-- The sealed column types: what goes in, what comes out for whom, declarations, casts, and what DDL refuses.
\i test/pgtap/setup.psql
-- These tests PREPARE and make temporary tables as the application, which the firewall would refuse.
SET immiiq.firewall = off;
SELECT plan(123);

CREATE TABLE vault (
    id int,
    org_id uuid NOT NULL DEFAULT immiiq.current_org(),
    name enc_text(7,equality,fold),
    born enc_date(8,equality),
    note enc_text(9,sealed)
);
CREATE TABLE twin (LIKE vault);
CREATE TABLE plain (t text, v varchar, c char(10), n name, d date);
GRANT ALL ON vault, twin, plain TO regress_immiiq_app;

-- ---- declarations ----
SELECT is(format_type('enc_text'::regtype, 7 + (1 << 17) + (1 << 18)), 'enc_text(7,equality,fold)', 'a modifier prints as it is written');
SELECT is((SELECT array_agg(format_type(atttypid, atttypmod) ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = 'vault'::regclass AND attname IN ('name', 'born', 'note')),
    '{"enc_text(7,equality,fold)","enc_date(8,equality)","enc_text(9,sealed)"}', 'declarations print whole');
CREATE TABLE modifiers (a enc_text('domain=7',equality), b enc_text(fold), c enc_text(65535), d enc_text(EQUALITY,3), e enc_date('domain=12'));
SELECT is((SELECT array_agg(format_type(atttypid, atttypmod) ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = 'modifiers'::regclass AND attnum > 0),
    '{"enc_text(7,equality)","enc_text(equality,fold)","enc_text(65535,sealed)","enc_text(3,equality)","enc_date(12,sealed)"}',
    'a domain is a number or ''domain=N'', fold means equality, a domain alone means sealed');
SELECT throws_ok($$CREATE TABLE bad (a enc_text(equalty))$$, '22023', NULL, 'a misspelt word is an error');
SELECT throws_ok($$CREATE TABLE bad (a enc_text(equality,equality))$$, '22023', NULL, 'a word given twice is an error');
SELECT throws_ok($$CREATE TABLE bad (a enc_text(1,2,equality))$$, '22023', NULL, 'two domains are an error');
SELECT throws_ok($$CREATE TABLE bad (a enc_text(0,equality))$$, '22023', NULL, 'domain 0 is an error');
SELECT throws_ok($$CREATE TABLE bad (a enc_text(65536,equality))$$, '22023', NULL, 'a domain beyond 65535 is an error');
SELECT throws_ok($$CREATE TABLE bad (a enc_text(-1,equality))$$, '22023', NULL, 'a negative domain is an error');
SELECT throws_ok($$CREATE TABLE bad (a enc_text('domain=7x',equality))$$, '22023', NULL, 'trailing characters are an error');
SELECT throws_ok($$CREATE TABLE bad (a enc_text('domain=99999999999999999999',equality))$$, '22023', NULL, 'an overflowing domain is an error');
SELECT throws_ok($$CREATE TABLE bad (a enc_text(sealed,equality))$$, '22023', NULL, 'sealed excludes search words');
SELECT throws_ok($$CREATE TABLE bad (a enc_date(fold))$$, '22023', NULL, 'dates are not folded');
SELECT is((SELECT count(*) FROM pg_type WHERE typname IN ('enc_text', 'enc_date') AND typnamespace = 'pg_catalog'::regnamespace), 2::bigint,
    'the types are in pg_catalog');
SELECT throws_ok($$SELECT enc_text_typmodin('{{a},{b}}')$$, '2202E', NULL, 'modifiers are one list');
SET search_path = '';
CREATE TEMP TABLE anywhere (a enc_text(equality));
RESET search_path;
SELECT pass('every search_path finds them');

-- ---- nobody active ----
SELECT throws_ok($$INSERT INTO vault (id, org_id, name) VALUES (1, gen_random_uuid(), 'Ada')$$, 'IQ011', NULL, 'a literal is not sealed for nobody');
SELECT throws_ok($$INSERT INTO vault (id, org_id, name) SELECT 1, gen_random_uuid(), 'Ada'::text$$, 'IQ011', NULL, 'text is not sealed for nobody');
SELECT throws_ok($$INSERT INTO vault (id, org_id, born) VALUES (1, gen_random_uuid(), date '2000-01-01')$$, 'IQ011', NULL, 'a date is not sealed for nobody');
SELECT throws_ok($$SELECT 'Ada'::enc_text(7,equality)$$, 'IQ011', NULL, 'a cast is not sealed for nobody');
SELECT throws_ok($$INSERT INTO vault (id, org_id, name) VALUES (1, gen_random_uuid(), 'iq1:')$$, 'IQ031', NULL, 'half an armour is malformed');
SELECT throws_ok($$INSERT INTO vault (id, org_id, name) VALUES (1, gen_random_uuid(), 'iq1:!!!!')$$, 'IQ031', NULL, 'no base64url is malformed');
SELECT throws_ok($$INSERT INTO vault (id, org_id, name) VALUES (1, gen_random_uuid(), 'iq1:ERMABw')$$, 'IQ031', NULL, 'a cut envelope is malformed');
PREPARE early AS INSERT INTO vault (id, name) VALUES (90, 'Early');
CREATE FUNCTION insert_early() RETURNS void LANGUAGE sql AS $$INSERT INTO public.vault (id, name) VALUES (91, 'Function')$$;
SELECT pass('statements with literals can be prepared, and functions made, while nobody is active');

-- ---- in ----
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
INSERT INTO vault (id, name, born, note) VALUES (1, 'Ada', '1815-12-10', 'first'), (2, NULL, NULL, NULL), (3, '', 'infinity', '');
INSERT INTO vault (id, name, born) SELECT 4, 'Grace'::text, date '1906-12-09';
INSERT INTO vault (id, name, born) SELECT 5, 'Edsger'::varchar, date '1930-05-11';
EXECUTE early;
SELECT insert_early() \gset ignored_
PREPARE typed(text, date) AS INSERT INTO vault (id, name, born) VALUES (6, $1, $2);
EXECUTE typed('Alan', '1912-06-23');
PREPARE untyped AS INSERT INTO vault (id, name, born) VALUES ($1, $2, $3);
EXECUTE untyped(7, 'Barbara', '1939-11-07');
SET LOCAL plan_cache_mode = force_generic_plan;
EXECUTE untyped(8, 'Donald', '1938-01-10');
RESET plan_cache_mode;
DO $$
DECLARE
    t text := 'Tony';
    e enc_text := 'Niklaus';
    d enc_text(7,equality,fold) := 'Frances';
    b date := '1934-01-11';
BEGIN
    INSERT INTO vault (id, name, born) VALUES (9, t, b);
    INSERT INTO vault (id, name) VALUES (10, e), (11, d);
END
$$;
INSERT INTO vault (id, name) VALUES (12, 'iq1:this is how the text begins');
INSERT INTO twin SELECT * FROM vault;
UPDATE vault SET note = 'changed' WHERE id = 4;
SELECT results_eq($$SELECT id, name::text FROM vault WHERE name::text <> '' ORDER BY id$$,
    $$VALUES (1, 'Ada'), (4, 'Grace'), (5, 'Edsger'), (6, 'Alan'), (7, 'Barbara'), (8, 'Donald'), (9, 'Tony'), (10, 'Niklaus'),
        (11, 'Frances'), (12, 'iq1:this is how the text begins'), (90, 'Early'), (91, 'Function')$$,
    'literals, parameters, columns and variables are sealed and opened; with somebody active every text is plaintext');
SELECT results_eq($$SELECT id, born::date FROM vault WHERE born IS NOT NULL ORDER BY id$$,
    $$VALUES (1, date '1815-12-10'), (3, 'infinity'), (4, '1906-12-09'), (5, '1930-05-11'), (6, '1912-06-23'), (7, '1939-11-07'),
        (8, '1938-01-10'), (9, '1934-01-11')$$, 'dates too');
SELECT is((SELECT format('%s %s %s', name, born, note) FROM vault WHERE id = 1), 'Ada 1815-12-10 first', 'output is plaintext');
SET LOCAL DateStyle = 'German';
SELECT is((SELECT born::text FROM vault WHERE id = 1), '10.12.1815', 'dates come out in the session''s DateStyle');
SELECT lives_ok($$INSERT INTO vault (id, born) VALUES (13, '24.12.1999')$$, 'and go in so');
RESET DateStyle;
SELECT throws_ok($$INSERT INTO vault (id, born) VALUES (14, 'Secret Person')$$, '22007', 'value cannot be read as a date',
    'a bad date keeps its SQLSTATE and is not named');
SELECT throws_ok($$INSERT INTO vault (id, born) VALUES (14, '1999-02-31')$$, '22008', 'value cannot be read as a date',
    'a date out of range too');
SELECT throws_ok($$SELECT 1 FROM vault WHERE born = 'Secret Person'$$, '22007', 'value cannot be read as a date', 'in a search as well');
SELECT throws_ok(format('SELECT 1 FROM vault WHERE born IN (%L, %L)', '1999-01-01', 'Secret Person'), '22007', 'value cannot be read as a date', 'and in a list');

-- What is stored is what was meant: header, tag, size (docs/format.md).
SELECT is((SELECT count(DISTINCT name::enc_text_base) FROM vault WHERE id IN (1, 4)), 2::bigint, 'values differ');
COMMIT;
SELECT is((SELECT octet_length(decode(translate(substr(name::text, 5), '-_', '+/') || repeat('=', (4 - length(substr(name::text, 5)) % 4) % 4), 'base64'))
    FROM vault WHERE id = 1), 64 + 3, 'an envelope with a tag is 64 bytes over the plaintext');
SELECT is((SELECT octet_length(decode(translate(substr(note::text, 5), '-_', '+/') || repeat('=', (4 - length(substr(note::text, 5)) % 4) % 4), 'base64'))
    FROM vault WHERE id = 1), 48 + 5, 'one without is 48');
SELECT is((SELECT encode(substr(decode(translate(substr(name::text, 5), '-_', '+/') || repeat('=', (4 - length(substr(name::text, 5)) % 4) % 4), 'base64'), 1, 4), 'hex')
    FROM vault WHERE id = 1), '11130007', 'its header says version, algorithm, type, flags and domain');

-- ---- out ----
SELECT ok((SELECT bool_and(name::text LIKE 'iq1:%' AND born::text LIKE 'iq1:%' AND note::text LIKE 'iq1:%') FROM vault WHERE id = 1),
    'nobody active sees armour');
SELECT throws_ok($$SELECT born::date FROM vault WHERE id = 1$$, 'IQ011', NULL, 'armour is no date');
SELECT ok((SELECT name::text LIKE 'iq1:%' AND name::varchar LIKE 'iq1:%' AND format('%s', name) LIKE 'iq1:%' AND to_json(name)::text LIKE '"iq1:%'
    AND row_to_json(vault)::text LIKE '%iq1:%' AND concat(name) LIKE 'iq1:%' FROM vault WHERE id = 1), 'by every way out');
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
SELECT ok((SELECT bool_and(name::text LIKE 'iq1:%') FROM vault WHERE id = 1), 'another organisation sees armour');
SELECT throws_ok($$SELECT born::date FROM vault WHERE id = 1$$, 'IQ032', NULL, 'another organisation''s date cannot be cast');
SELECT throws_ok($$INSERT INTO vault (id, name) SELECT 20, name FROM vault WHERE id = 1 UNION ALL SELECT 21, 'x'$$, 'IQ032', NULL,
    'a value of another organisation is not sealed anew');
SELECT throws_ok($$SELECT name::enc_text(7,equality) FROM vault WHERE id = 1$$, 'IQ032', NULL, 'nor by a cast');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
PREPARE read_one AS SELECT name::text FROM vault WHERE id = 1;
SELECT is((SELECT name::text FROM vault WHERE id = 1), 'Ada', 'its own member sees plaintext');
COMMIT;
SELECT ok((SELECT count(*) = 0 FROM vault WHERE name::text = 'Ada'), 'and nobody after the transaction');

-- ---- assignments out are never silent ----
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT throws_ok($$INSERT INTO plain (t) SELECT name FROM vault$$, '42804', NULL, 'no assignment to text');
SELECT throws_ok($$INSERT INTO plain (v) SELECT name FROM vault$$, '42804', NULL, 'no assignment to varchar');
SELECT throws_ok($$INSERT INTO plain (c) SELECT name FROM vault$$, '42804', NULL, 'no assignment to char');
SELECT throws_ok($$INSERT INTO plain (n) SELECT name FROM vault$$, '42804', NULL, 'no assignment to name');
SELECT throws_ok($$INSERT INTO plain (d) SELECT born FROM vault$$, '42804', NULL, 'no assignment to date');
SELECT throws_ok($$INSERT INTO plain (t) SELECT NULLIF(name, 'x') FROM vault$$, '42804', NULL, 'no assignment by way of the hidden type');
SELECT lives_ok($$INSERT INTO plain (t, v, d) SELECT name::text, name::varchar, born::date FROM vault WHERE id = 1$$, 'a cast that is written is done');
ROLLBACK;

-- ---- values that move ----
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
CREATE TEMP TABLE elsewhere (name enc_text(30,equality), same enc_text(7,equality,fold));
INSERT INTO elsewhere SELECT name, name FROM vault WHERE id = 1;
SELECT is((SELECT name::text || same::text FROM elsewhere), 'AdaAda', 'a value moves to a column of another domain');
SELECT is((SELECT count(*) FROM elsewhere, vault WHERE id = 1 AND same = vault.name), 1::bigint, 'the same declaration keeps the envelope''s tag');
COMMIT;
SELECT is((SELECT (same::text = vault.name::text)::text || (elsewhere.name::text = vault.name::text)::text FROM elsewhere, vault WHERE id = 1),
    'truefalse', 'byte for byte in the same declaration, sealed anew in another');

-- ---- COPY, text and binary ----
RESET SESSION AUTHORIZATION;
\set out `mktemp -u /tmp/immiiq_types_XXXXXX`
COPY vault TO :'out';
CREATE TABLE restored (LIKE vault);
COPY restored FROM :'out';
SELECT is((SELECT count(*) FROM (SELECT name::text, born::text, note::text FROM vault EXCEPT SELECT name::text, born::text, note::text FROM restored) d),
    0::bigint, 'COPY out and in while nobody is active keeps every envelope');
COPY vault TO :'out' (FORMAT binary);
TRUNCATE restored;
COPY restored FROM :'out' (FORMAT binary);
SELECT is((SELECT count(*) FROM (SELECT name::text, born::text, note::text FROM vault EXCEPT SELECT name::text, born::text, note::text FROM restored) d),
    0::bigint, 'in binary too');
BEGIN;
GRANT ALL ON restored TO regress_immiiq_operator;
SET LOCAL SESSION AUTHORIZATION regress_immiiq_operator;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT count(*) FROM restored WHERE name = 'ada' AND born = '1815-12-10'), 1::bigint, 'what was restored is found');
RESET SESSION AUTHORIZATION;
COMMIT;
SELECT throws_ok(format('COPY twin FROM PROGRAM %L', $$printf '1\ta1fa0000-0000-4000-8000-000000000000\tplaintext\t\\N\t\\N\n'$$), 'IQ011', NULL,
    'COPY takes no plaintext for nobody');
-- An envelope cannot be moved to where it does not belong.
SELECT is((SELECT name::text FROM vault WHERE id = 1) LIKE 'iq1:%', true, 'armour');
SELECT name::text AS name_armour, note::text AS note_armour, born::text AS born_armour FROM vault WHERE id = 1 \gset
SELECT throws_ok(format('INSERT INTO vault (id, org_id, note) VALUES (30, %L, %L)', :'alpha', :'name_armour'), 'IQ032', NULL, 'armour of another column domain is refused');
SELECT throws_ok(format('INSERT INTO vault (id, org_id, name) VALUES (30, %L, %L)', :'alpha', :'born_armour'), 'IQ032', NULL, 'armour of another type is refused');
SELECT throws_ok(format('INSERT INTO vault (id, org_id, born) VALUES (30, %L, %L)', :'alpha', :'name_armour'), 'IQ032', NULL, 'armour of a text is no date');
SELECT lives_ok(format('INSERT INTO vault (id, org_id, name) VALUES (30, %L, %L)', :'alpha', :'name_armour'), 'armour of the same column is taken');
SELECT is((SELECT name::text FROM vault WHERE id = 30), :'name_armour', 'as it was');
SELECT throws_ok(format('INSERT INTO vault (id, org_id, name) VALUES (31, %L, %L)', :'alpha', :'name_armour' || E'\n'), 'IQ031', NULL, 'armour with something behind it is malformed');
DELETE FROM vault WHERE id = 30;

-- A tampered envelope does not open, and nothing of it comes out.
INSERT INTO vault (id, org_id, note) VALUES (32, :'alpha', left(:'note_armour', -4) || CASE WHEN :'note_armour' LIKE '%AAAA' THEN 'AAAQ' ELSE 'AAAA' END);
BEGIN;
GRANT ALL ON vault TO regress_immiiq_operator;
SET LOCAL SESSION AUTHORIZATION regress_immiiq_operator;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT throws_ok($$SELECT note::text FROM vault WHERE id = 32$$, 'IQ031', 'sealed value does not open', 'a tampered envelope does not open');
RESET SESSION AUTHORIZATION;
COMMIT;
DELETE FROM vault WHERE id = 32;

-- ---- what DDL refuses ----
SELECT throws_ok($$CREATE TABLE bad (a enc_text)$$, 'IQ030', NULL, 'a column needs a declaration');
SELECT throws_ok($$CREATE TABLE bad (a enc_text[])$$, 'IQ030', NULL, 'an array too');
SELECT throws_ok($$CREATE TABLE bad (a enc_text_base)$$, 'IQ030', NULL, 'the hidden type is not for columns');
SELECT throws_ok($$ALTER TABLE plain ADD COLUMN a enc_date$$, 'IQ030', NULL, 'ADD COLUMN');
SELECT throws_ok($$ALTER TABLE plain ALTER COLUMN t TYPE enc_text$$, 'IQ030', NULL, 'ALTER COLUMN TYPE');
SELECT throws_ok($$CREATE TYPE bad AS (a enc_text)$$, 'IQ030', NULL, 'a composite type');
SELECT throws_ok($$CREATE DOMAIN bad AS enc_text$$, 'IQ030', NULL, 'a domain');
SELECT throws_ok($$CREATE TABLE bad AS SELECT CASE WHEN id = 1 THEN name ELSE note END AS x FROM vault$$, 'IQ030', NULL, 'CREATE TABLE AS of mixed declarations');
SELECT throws_ok($$SELECT name::enc_text_base AS x INTO bad FROM vault$$, 'IQ030', NULL, 'SELECT INTO of the hidden type');
SELECT throws_ok($$CREATE TABLE bad AS SELECT 'x'::enc_text AS x$$, 'IQ030', NULL, 'CREATE TABLE AS of what is not bound');
SELECT throws_ok($$CREATE MATERIALIZED VIEW bad AS SELECT 'x'::enc_text AS x$$, 'IQ030', NULL, 'a materialized view of it');
PREPARE unbound AS SELECT 'x'::enc_text AS x;
SELECT throws_ok($$CREATE TABLE bad AS EXECUTE unbound$$, 'IQ030', NULL, 'CREATE TABLE AS EXECUTE of it');
SELECT lives_ok($$CREATE TABLE good AS SELECT name, note FROM vault$$, 'declarations come along with the columns');
SELECT is((SELECT count(*) FROM good JOIN vault ON good.name::text = vault.name::text AND vault.id = 1), 1::bigint, 'as do the envelopes');
SELECT throws_ok($$CREATE INDEX ON vault (note)$$, 'IQ030', NULL, 'no index on a column that is not declared for equality');
SELECT throws_ok($$CREATE INDEX ON vault USING hash (note)$$, 'IQ030', NULL, 'no hash index either');
SELECT throws_ok($$ALTER TABLE vault ADD UNIQUE (note)$$, 'IQ030', NULL, 'no unique constraint');
SELECT throws_ok($$CREATE INDEX ON vault ((note::enc_text_base))$$, 'IQ030', NULL, 'no index on the hidden type');
SELECT lives_ok($$CREATE INDEX ON vault (id) INCLUDE (note)$$, 'an included column needs no order');
SELECT throws_ok($$CREATE TABLE bad (a enc_text(1,equality)) PARTITION BY HASH (a)$$, 'IQ030', NULL, 'no partitioning by a sealed column');
SELECT throws_ok($$ALTER TABLE vault ADD CHECK (name <> '')$$, 'IQ030', NULL, 'no check that a restore without keys could not make');
SELECT throws_ok($$ALTER TABLE vault ADD CHECK (length(name::text) > 2)$$, 'IQ030', NULL, 'not by a cast either');
SELECT throws_ok($$ALTER TABLE vault ADD CHECK (name IN ('a', 'b'))$$, 'IQ030', NULL, 'nor by a list');
SELECT lives_ok($$ALTER TABLE vault ADD CONSTRAINT null_only CHECK (name IS NOT NULL OR num_nonnulls(name, born) < 3)$$, 'being NULL may be checked');
ALTER TABLE vault DROP CONSTRAINT null_only;
SELECT throws_ok(format('ALTER TABLE vault ALTER COLUMN name SET DEFAULT %L', :'name_armour'), 'IQ030', NULL, 'no default that is one organisation''s');
SELECT throws_ok(format('CREATE VIEW bad AS SELECT 1 AS one FROM vault WHERE name = %L::enc_text', :'name_armour'), 'IQ030', NULL, 'nor a view');
SELECT throws_ok($$CREATE TABLE child (n enc_text(8,equality) REFERENCES keyed)$$, '42P01', NULL, 'no such table');
CREATE TABLE keyed (n enc_text(7,equality) PRIMARY KEY);
SELECT throws_ok($$CREATE TABLE child (n enc_text(8,equality) REFERENCES keyed)$$, 'IQ030', NULL, 'no foreign key across domains');
SELECT throws_ok($$CREATE TABLE child (n enc_text(7,equality,fold) REFERENCES keyed)$$, 'IQ030', NULL, 'nor across search words');
SELECT throws_ok($$CREATE TABLE gen (n enc_text(7,equality), g enc_text(8,equality) GENERATED ALWAYS AS (n) STORED)$$, 'IQ030', NULL, 'a generated column cannot seal');

SELECT throws_ok($$CREATE TABLE gen (t text, g enc_text(8,equality) GENERATED ALWAYS AS (t) STORED)$$, 'IQ030', NULL, 'not text either');
SELECT throws_ok($$CREATE TABLE gen (n enc_text(7,equality), t text GENERATED ALWAYS AS (n::text) STORED)$$, '42P17', NULL, 'nor open');
SELECT lives_ok($$CREATE TABLE gen (n enc_text(7,equality), g enc_text(7,equality) GENERATED ALWAYS AS (n) STORED)$$, 'it can copy');

-- ---- defaults, domains, arrays, composites ----
ALTER TABLE vault ALTER COLUMN note SET DEFAULT 'nothing yet';
CREATE DOMAIN passport AS enc_text(11,equality);
CREATE TYPE pair AS (a enc_text(12,equality), b enc_date(13,sealed));
CREATE TABLE shapes (id int, p passport, names enc_text(14,equality)[], pr pair);
GRANT ALL ON shapes TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
INSERT INTO vault (id) VALUES (40);
SELECT is((SELECT note::text FROM vault WHERE id = 40), 'nothing yet', 'a default is sealed for the organisation that uses it');
INSERT INTO shapes VALUES (1, 'X1', '{Ada,"Grace Hopper"}', ROW('a', '2000-01-01'));
INSERT INTO shapes VALUES (2, 'X2', ARRAY['Ada', NULL], NULL);
INSERT INTO shapes SELECT 3, 'X3'::text, ARRAY['x']::text[]::enc_text[], NULL;
SELECT is((SELECT format('%s %s %s', p, names, pr) FROM shapes WHERE id = 1), 'X1 {Ada,"Grace Hopper"} (a,2000-01-01)', 'domains, arrays and composites are sealed and opened');
COMMIT;
SELECT ok((SELECT p::text LIKE 'iq1:%' AND names[1]::text LIKE 'iq1:%' AND names::text NOT LIKE '%Ada%' AND (pr).a::text LIKE 'iq1:%' AND pr::text NOT LIKE '%2000%' FROM shapes WHERE id = 1),
    'and armour for nobody');

-- Every way of writing seals: nothing that is not bound reaches a table.
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
UPDATE shapes SET names[2] = 'element', pr.a = 'field' WHERE id = 1;
UPDATE shapes SET names = array_append(names, 'appended') WHERE id = 1;
UPDATE shapes SET names = names || ARRAY['joined'::enc_text] WHERE id = 1;
INSERT INTO shapes SELECT (jsonb_populate_record(NULL::shapes, '{"id": 4, "p": "json", "names": ["in json"], "pr": {"a": "in json"}}')).*;
INSERT INTO shapes SELECT * FROM json_to_recordset('[{"id": 5, "p": "set"}]') AS r (id int, p passport);
INSERT INTO shapes VALUES (6, coalesce(NULL, 'coalesced'), NULL, ROW('row', NULL)::pair);
CREATE FUNCTION pg_temp.row_of_shape() RETURNS SETOF shapes LANGUAGE plpgsql AS $$
DECLARE r shapes;
BEGIN
    r.id := 7; r.p := 'variable'; r.names := '{variable}'; r.pr.a := 'variable';
    RETURN NEXT r;
    RETURN QUERY SELECT 8, 'query'::passport, '{query}'::enc_text(14,equality)[], NULL::pair;
    RETURN QUERY EXECUTE 'SELECT 9, ''execute''::passport, NULL::enc_text(14,equality)[], ROW(''execute'', NULL)::pair';
END
$$;
INSERT INTO shapes SELECT * FROM pg_temp.row_of_shape();
CREATE FUNCTION pg_temp.record_of_shape() RETURNS SETOF record LANGUAGE sql AS $$ SELECT 10, 'record'::enc_text $$;
INSERT INTO shapes (id, p) SELECT id, v FROM pg_temp.record_of_shape() AS t (id int, v enc_text);
INSERT INTO shapes (id, p) VALUES (11, 'first'), (12, (SELECT 'second'::enc_text)), (13, CASE WHEN true THEN 'third'::enc_text END);
INSERT INTO shapes (id, p) SELECT 14, v FROM (SELECT 'union'::enc_text AS v UNION ALL SELECT NULL) u WHERE v IS NOT NULL;
WITH w AS (INSERT INTO shapes (id, p) VALUES (15, 'returned') RETURNING p) INSERT INTO shapes (id, names) SELECT 16, ARRAY[p::enc_text] FROM w;
SELECT is((SELECT string_agg(p::text, ' ' ORDER BY id) FROM shapes WHERE id > 3),
    'json set coalesced variable query execute record first second third union returned', 'every way of writing is read again');
SELECT is((SELECT names::text || pr::text FROM shapes WHERE id = 1), '{Ada,element,appended,joined}(field,2000-01-01)', 'parts of arrays and composites too');
COMMIT;
SELECT is((SELECT count(*) FROM (SELECT p::text AS v FROM shapes UNION ALL SELECT unnest(names)::text FROM shapes UNION ALL SELECT (pr).a::text FROM shapes) a WHERE v NOT LIKE 'iq1:%'),
    0::bigint, 'and all of it was sealed');
RESET SESSION AUTHORIZATION;
COPY shapes TO :'out';
CREATE TABLE shapes2 (LIKE shapes);
COPY shapes2 FROM :'out';
SELECT is((SELECT count(*) FROM shapes a JOIN shapes2 b ON a::text = b::text), 16::bigint, 'COPY keeps them byte for byte');
\! rm -f /tmp/immiiq_types_*

-- ---- numbers that are no modifiers ----
BEGIN;
GRANT ALL ON vault TO regress_immiiq_operator;
SET LOCAL SESSION AUTHORIZATION regress_immiiq_operator;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT throws_ok(format('SELECT enc_text(%L::text, %s, false)', 'x', n), '22023', NULL, format('%s is no modifier', n))
FROM unnest(ARRAY[0, 7, 1 << 18, 1 << 21, (1 << 16) + (1 << 17), 2147483647]) n;
SELECT throws_ok($$SELECT enc_date('2000-01-01'::date, (1 << 17) + (1 << 18), false)$$, '22023', NULL, 'dates are not folded');
SELECT throws_ok($$SELECT enc_date_probe('2000-01-01'::date, (1 << 17) + (1 << 18))$$, 'IQ030', NULL, 'nor in probes');
SELECT throws_ok($$SELECT 1 FROM vault, generate_series(1, 7) n WHERE enc_text_probe('x'::text, 131072 + n) = name$$, 'IQ032', NULL, 'a probe of another domain is of no use');
SELECT is((SELECT count(DISTINCT enc_text_hash(enc_text_probe('Ada'::text, 393216 + n))) FROM generate_series(1, 9) n), 9::bigint, 'the memory of a probe minds the modifier');
RESET SESSION AUTHORIZATION;
COMMIT;
SELECT throws_ok($$CREATE STATISTICS frequencies ON org_id, name FROM vault$$, 'IQ030', NULL, 'no statistics that keep common values');
SELECT lives_ok($$CREATE STATISTICS dependent (dependencies, ndistinct) ON org_id, name FROM vault; ANALYZE vault$$, 'others are made');

-- ---- contracts ----
SELECT is((SELECT count(*) FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^enc_' AND (proparallel <> 's' OR NOT proisstrict)), 0::bigint,
    'every function is parallel safe and strict');
SELECT results_eq($$SELECT DISTINCT proname::text COLLATE "default" FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^enc_(text|date)_' AND proleakproof
    AND prorettype NOT IN ('int4'::regtype, 'int8'::regtype) AND proname !~ '_(lt|le|gt|ge)$' ORDER BY 1$$,
    $$VALUES ('enc_date_eq'), ('enc_date_matches'), ('enc_date_ne'), ('enc_text_eq'), ('enc_text_matches'), ('enc_text_ne'), ('enc_text_probe')$$, 'what is leakproof');
SELECT is((SELECT count(*) FROM pg_proc p WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^enc_' AND proleakproof
    AND EXISTS (SELECT FROM unnest(proargtypes) a WHERE a = 'date'::regtype)), 0::bigint, 'nothing that reads text as a date is leakproof');

SELECT * FROM finish();
