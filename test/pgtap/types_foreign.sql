-- Foreign tables: none has a sealed column; what comes by text is sealed or taken as armour as COPY does; no condition on a sealed column leaves.
\i test/pgtap/setup.psql
SELECT plan(29);

CREATE EXTENSION postgres_fdw;
CREATE EXTENSION file_fdw;
CREATE TABLE client (id int, org_id uuid NOT NULL DEFAULT immiiq.current_org(), name enc_text(7,equality,fold), born enc_date(8,equality,range), doc enc_jsonb(9,contains));
CREATE INDEX ON client (org_id, name);
CREATE TABLE elsewhere (LIKE client);
CREATE TABLE hidden (LIKE client, PRIMARY KEY (org_id, id));
SELECT immiiq.protect('hidden', 'clients') \gset ignored_
-- The other server is this one, by a connection of its own, on which nobody is active.
SELECT format('CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L, extensions %L)',
    split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), 'immiiq') \gexec
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE USER MAPPING FOR CURRENT_USER SERVER other;
CREATE USER MAPPING FOR regress_immiiq_operator SERVER other OPTIONS (user 'regress_immiiq_app', password_required 'false');
CREATE DOMAIN passport AS enc_text(11,equality);
CREATE TYPE pair AS (n int, name enc_text(12,equality));
CREATE TYPE pairs AS (p pair[]);

-- ---- what DDL refuses ----
CREATE FUNCTION foreign_column(declaration text) RETURNS text LANGUAGE sql AS $$
    SELECT format('CREATE FOREIGN TABLE bad (id int, x %s) SERVER other', declaration)
$$;
SELECT throws_ok(foreign_column(declaration), 'IQ030', 'column "x" of a foreign table cannot be sealed', declaration || ' in a foreign table')
FROM unnest(ARRAY['enc_text', 'enc_text(7,equality)', 'enc_bytea(sealed)', 'enc_int8(range)', 'enc_numeric(equality)', 'enc_date(8,equality)', 'enc_timestamptz(range)', 'enc_jsonb(contains)',
    'enc_text(7,equality)[]', 'passport', 'passport[]', 'pair', 'pairs', 'enc_text_base']) AS declaration;
SELECT throws_ok($$IMPORT FOREIGN SCHEMA public LIMIT TO (client) FROM SERVER other INTO pg_temp$$, 'IQ030', NULL, 'IMPORT FOREIGN SCHEMA');
CREATE TABLE parted (id int, name enc_text(7,equality)) PARTITION BY LIST (id);
SELECT throws_ok($$CREATE FOREIGN TABLE bad PARTITION OF parted DEFAULT SERVER other$$, 'IQ030', NULL, 'a foreign partition');
CREATE FOREIGN TABLE remote (id int, org_id uuid, name text, born text, doc text) SERVER other OPTIONS (table_name 'elsewhere');
CREATE FOREIGN TABLE remote_hidden (id int, org_id uuid, name text) SERVER other OPTIONS (table_name 'hidden');
SELECT throws_ok($$ALTER FOREIGN TABLE remote ADD COLUMN x enc_text(7,equality)$$, 'IQ030', 'column "x" of a foreign table cannot be sealed', 'ADD COLUMN');
SELECT throws_ok($$ALTER FOREIGN TABLE remote ALTER COLUMN name TYPE enc_text(7,equality,fold)$$, 'IQ030', 'column "name" of a foreign table cannot be sealed', 'ALTER COLUMN TYPE');

-- ---- a file of plaintext: sealed by whoever is active, by nobody else ----
CREATE FOREIGN TABLE file (id int, name text, born date, doc jsonb) SERVER files
    OPTIONS (program $$printf '1\tAda\t1815-12-10\t{"k": 1}\n2\tGrace\t1906-12-09\t{"k": 2}\n'$$);
GRANT ALL ON client, elsewhere, hidden, file, remote, remote_hidden TO regress_immiiq_operator, regress_immiiq_app;
SELECT throws_ok(format('INSERT INTO client SELECT id, %L, name FROM file', :'alpha'), 'IQ011', NULL, 'a file of plaintext is not sealed for nobody');
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO client SELECT id, :'alpha', name, born, doc FROM file;
INSERT INTO hidden SELECT * FROM client;
SELECT results_eq($$SELECT c.id FROM client c JOIN file f ON c.name = f.name AND c.born = f.born AND c.doc @> f.doc ORDER BY 1$$, 'VALUES (1), (2)',
    'what was read from a file is found, and joined with the file');
COMMIT;
RESET SESSION AUTHORIZATION;

-- ---- another database: armour crosses, plaintext is not taken ----
INSERT INTO remote SELECT id, org_id, name::text, born::text, doc::text FROM client;
SELECT is((SELECT count(*) FROM client c JOIN elsewhere e USING (id) WHERE c.name::text = e.name::text AND c.born::text = e.born::text AND c.doc::text = e.doc::text), 2::bigint, 'armour arrives byte for byte');
INSERT INTO elsewhere (id, org_id, name) SELECT id + 10, org_id, name FROM remote;
SELECT is((SELECT array_agg(r.id ORDER BY r.id) FROM remote r JOIN client c ON r.name = c.name::text), '{1,2,11,12}', 'and comes back so');
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT count(*) FROM elsewhere WHERE name IN ('ADA', 'GRACE')), 4::bigint, 'whoever owns it finds it there');
SELECT is((SELECT count(*) FROM (SELECT name FROM remote OFFSET 0) AS r WHERE name LIKE 'iq1:%'), 4::bigint, 'the other server shows armour to somebody who is active here');
SELECT throws_ok($$INSERT INTO remote (id, org_id, name) VALUES (3, 'a1fa0000-0000-4000-8000-000000000000', 'Barbara')$$, 'IQ011', NULL, 'and seals nothing for them');
SELECT throws_ok($$SELECT id FROM remote WHERE name = 'Ada'$$, 'IQ011', NULL, 'nor searches');
ROLLBACK;
SELECT is((SELECT count(*) FROM remote_hidden), 0::bigint, 'its row security shows nobody''s rows');

-- ---- no condition on a sealed column is sent ----
CREATE FUNCTION pg_temp.sent(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; result text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS off) ' || query LOOP
        IF line ~ 'Remote SQL' THEN result := result || regexp_replace(line, '.*FROM', 'FROM'); END IF;
    END LOOP;
    RETURN result;
END
$$;
RESET SESSION AUTHORIZATION;
ALTER SERVER other OPTIONS (ADD use_remote_estimate 'true');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is(pg_temp.sent(query), 'FROM public.elsewhere', query)
FROM unnest(ARRAY[$$SELECT r.id FROM remote r JOIN client c ON c.name = r.name WHERE c.name = 'Ada'$$,
    $$SELECT r.id FROM remote r WHERE r.name::enc_text(7,equality,fold) = 'Ada'$$]) AS query;
COMMIT;
SELECT * FROM finish();
