-- What a conversion refuses, and what it leaves as it was. Whole conversions under load: test/t/084_migrating.pl.
\i test/pgtap/setup.psql
SELECT plan(51);

CREATE ROLE regress_immiiq_dba;
SELECT immiiq.grant_owner('regress_immiiq_dba'), immiiq.grant_operator('regress_immiiq_dba') \gset ignored_
GRANT CREATE ON SCHEMA public TO regress_immiiq_dba;
GRANT regress_immiiq_dba TO CURRENT_USER;
SET ROLE regress_immiiq_dba;

CREATE TABLE place (org_id uuid NOT NULL, code text NOT NULL, PRIMARY KEY (org_id, code));
CREATE TABLE person (org_id uuid NOT NULL, person_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    passport text NOT NULL DEFAULT 'none', birth_date date, seen timestamp, born_at timestamptz, code text, lower_name text, kind text CHECK (kind <> 'x'),
    twice text GENERATED ALWAYS AS (kind || kind) STORED, shown text, watched text, counted text, medical json, letter char(8), sum numeric, n int, file bytea,
    FOREIGN KEY (org_id, code) REFERENCES place, UNIQUE (org_id, passport));
CREATE INDEX person_lower ON person (lower(lower_name));
CREATE INDEX person_covering ON person (org_id) INCLUDE (letter);
CREATE VIEW shown AS SELECT shown FROM person;
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER watch BEFORE UPDATE OF watched ON person FOR EACH ROW EXECUTE FUNCTION watch();
CREATE STATISTICS counted ON org_id, counted FROM person;
CREATE TABLE parts (org_id uuid, part_id uuid, passport text, PRIMARY KEY (org_id, part_id)) PARTITION BY LIST (org_id);
COMMENT ON COLUMN person.passport IS 'the number';
GRANT SELECT (passport), UPDATE (passport) ON person TO regress_immiiq_app;
GRANT INSERT ON person TO regress_immiiq_app;

INSERT INTO person (org_id, passport, birth_date, medical, letter, sum, n, file)
SELECT CASE WHEN i % 2 = 0 THEN :'alpha'::uuid ELSE :'beta'::uuid END, 'P' || i, date '1970-01-01' + i, '{"b": 1, "a": 2}', 'L' || i, i * 1.50, i, '\x00ff'
FROM generate_series(1, 20) AS i;

SELECT is((SELECT array_agg(column_name || ' ' || declaration ORDER BY column_name) FROM immiiq.personal_columns() WHERE relation = 'person'::regclass),
    '{"birth_date enc_date(equality,range)","medical enc_jsonb(sealed)","passport enc_text(equality)"}', 'what looks personal, with a declaration');
SELECT throws_ok($$CALL immiiq.seal_column('person', 'passport')$$, '0A000', 'cannot seal public.person.passport', 'not before the table is protected');
SELECT is((SELECT count(*) FROM immiiq.sealing_plan('person') AS p WHERE p LIKE 'CALL%'), 0::bigint, 'nor does the plan say so');
SELECT immiiq.protect('person', 'clients'), immiiq.protect('parts', 'clients'), immiiq.protect('place', NULL) \gset ignored_

-- Obstacles, each in its own words.
SELECT matches(immiiq.sealing_obstacle(relation::regclass, name, declaration), said, format('%s.%s %s: %s', relation, name, declaration, said))
FROM (VALUES
    ('person', 'nothing', 'enc_text(equality)', 'has no column nothing'),
    ('parts', 'passport', 'enc_text(equality)', 'partitions are converted by hand'),
    ('immiiq.role_grant', 'kind', 'enc_text(equality)', 'is not protected'),
    ('person', 'seen', 'enc_timestamptz(equality)', '^type timestamp without time zone has no sealed form: say of which time zone'),
    ('person', 'org_id', 'enc_text(equality)', '^type uuid has no sealed form'),
    ('person', 'birth_date', 'enc_text(equality)', '^a column of type date becomes enc_date'),
    ('person', 'passport', 'enc_text(equality); DROP TABLE person', '^a column of type text becomes enc_text'),
    ('person', 'passport', 'enc_text', '^a column of type text becomes enc_text'),
    ('place', 'code', 'enc_text(equality)', 'part of the primary key'),
    ('person', 'code', 'enc_text(equality)', 'person_org_id_code_fkey.* would be lost'),
    ('person', 'lower_name', 'enc_text(equality)', 'no sealed column can have indexes like public.person_lower'),
    ('person', 'letter', 'enc_text(equality)', 'no sealed column can have indexes like public.person_covering'),
    ('person', 'kind', 'enc_text(equality)', 'person_kind_check.* would be lost'),
    ('person', 'twice', 'enc_text(equality)', 'the column is generated'),
    ('person', 'shown', 'enc_text(equality)', 'view public.shown would be lost'),
    ('person', 'watched', 'enc_text(equality)', 'trigger watch on table public.person would be lost'),
    ('person', 'counted', 'enc_text(equality)', 'statistics object public.counted would be lost'),
    ('person', 'passport', 'enc_text(sealed)', 'public.person_org_id_passport_key need a declaration with equality')
) AS v (relation, name, declaration, said);
SELECT is(immiiq.sealing_obstacle('person', 'passport', 'enc_text(9,equality)'), NULL, 'and none where there is none');

-- Columns of every type, nobody writing.
CREATE FUNCTION steps(name text, declaration text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('CALL immiiq.seal_column(''person'', %L, %L, 3)', name, declaration)
    UNION ALL SELECT replace(statement, 'CONCURRENTLY ', '') FROM immiiq.sealing_indexes('person', name)
    UNION ALL SELECT format('CALL immiiq.finish_sealing(''person'', %L)', name) $$;
SET client_min_messages = error;
DROP INDEX person_covering;
CREATE TEMPORARY TABLE todo (n int GENERATED ALWAYS AS IDENTITY, statement text);
INSERT INTO todo (statement) SELECT s FROM (VALUES ('medical', 'enc_jsonb(contains)'), ('letter', 'enc_text(prefix)'), ('sum', 'enc_numeric(equality)'), ('n', 'enc_int8(range)'),
    ('file', 'enc_bytea(sealed)'), ('birth_date', 'enc_date(range)'), ('passport', 'enc_text(77,equality)')) AS v (name, declaration), steps(v.name, v.declaration) AS s;
SELECT statement FROM todo ORDER BY n \gexec
RESET client_min_messages;

SELECT is((SELECT array_agg(attname || ' ' || atttypid::regtype ORDER BY attname) FROM pg_attribute WHERE attrelid = 'person'::regclass AND NOT attisdropped AND atttypid::regtype::text LIKE 'enc_%'),
    '{"birth_date enc_date","file enc_bytea","letter enc_text","medical enc_jsonb","n enc_int8","passport enc_text","sum enc_numeric"}', 'a column of every type is sealed');
SELECT ok((SELECT attnotnull FROM pg_attribute WHERE attrelid = 'person'::regclass AND attname = 'passport'), 'NOT NULL stays');
SELECT is((SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'person'::regclass AND adnum = (SELECT attnum FROM pg_attribute WHERE attrelid = 'person'::regclass AND attname = 'passport')),
    $$'none'::text$$, 'so does the default');
SELECT is((SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = 'person'::regclass AND attname = 'passport'), 'the number', 'and the comment');
SELECT ok(has_column_privilege('regress_immiiq_app', 'person', 'passport', 'UPDATE') AND NOT has_column_privilege('regress_immiiq_app', 'person', 'birth_date', 'SELECT'), 'and privileges on the column');
SELECT is((SELECT atttypmod & 65535 FROM pg_attribute WHERE attrelid = 'person'::regclass AND attname = 'passport'), 77, 'a domain that is given is taken');
SELECT ok((SELECT bool_and(atttypmod & 65535 >= 1024) FROM pg_attribute WHERE attrelid = 'person'::regclass AND attname IN ('medical', 'letter', 'sum')), 'else one is claimed');
SELECT isnt_empty($$SELECT FROM pg_constraint WHERE conrelid = 'person'::regclass AND contype = 'u' AND conname = 'person_org_id_passport_key'$$, 'the unique constraint is there again');
BEGIN;
SELECT immiiq.operate(:'alpha', 'look') \gset ignored_
SELECT results_eq($$SELECT passport::text, birth_date::date, medical::jsonb, letter::text, sum::numeric, n::int8, file::bytea FROM person ORDER BY n::int8$$,
    $$SELECT 'P' || i, date '1970-01-01' + i, '{"a": 2, "b": 1}'::jsonb, 'L' || i, i * 1.50, i::int8, '\x00ff'::bytea FROM generate_series(2, 20, 2) AS i$$, 'values are what they were');
SELECT throws_ok($$INSERT INTO person (passport) VALUES ('P2')$$, '23505', NULL, 'and unique as before');
ROLLBACK;

-- In the middle: who is active seals what they write; what others write waits for the next pass; nothing is finished before its time.
SELECT throws_ok($$CALL immiiq.seal_column('person', 'shown')$$, '0A000', 'cannot seal public.person.shown', 'an obstacle stops it before anything changes');
SELECT throws_ok($$CALL immiiq.seal_column('person', 'passport')$$, '0A000', NULL, 'what is sealed is not sealed again');
SELECT throws_ok($$CALL immiiq.seal_column('person', 'code', NULL, 0)$$, '22023', NULL, 'a batch has rows');
DROP INDEX person_lower;
CALL immiiq.seal_column('person', 'lower_name', 'enc_text(fold)');
BEGIN;
SELECT immiiq.operate(:'alpha', 'write') \gset ignored_
UPDATE person SET lower_name = 'Zoë' WHERE sum = 3;
UPDATE person SET watched = 'w' WHERE sum = 3;
SELECT is((SELECT lower_name_sealed::text FROM person WHERE lower_name_sealed = 'ZOE'), 'Zoë', 'a writer of the organisation seals');
UPDATE person SET lower_name = NULL WHERE sum = 6;
COMMIT;
RESET ROLE;
UPDATE person SET lower_name = 'Bo' WHERE org_id = :'beta';
SELECT is((SELECT count(lower_name_sealed) FROM person WHERE org_id = :'beta'), 0::bigint, 'who is nobody does not');
SET ROLE regress_immiiq_dba;
SELECT throws_ok($$CALL immiiq.finish_sealing('person', 'lower_name')$$, '55000', '10 values of public.person.lower_name are not sealed yet', 'and nothing is finished with a value missing');
SELECT throws_ok($$CALL immiiq.finish_sealing('person', 'sum')$$, '55000', 'public.person.sum is not being sealed', 'nothing is finished that was not begun');
SELECT throws_ok($$SELECT immiiq.cancel_sealing('person', 'sum')$$, '55000', 'public.person.sum is not being sealed', 'nor cancelled');
SET client_min_messages = error;
CALL immiiq.seal_column('person', 'lower_name');
RESET client_min_messages;
BEGIN;
SELECT immiiq.operate_all('look') \gset ignored_
SELECT is((SELECT count(*) FROM person WHERE lower_name IS NOT NULL AND lower_name_sealed IS NULL), 0::bigint, 'called again it goes on with what is left');
COMMIT;
SELECT immiiq.prove_sealing('person', 'lower_name');
RESET ROLE;
SELECT throws_ok($$UPDATE person SET lower_name = 'Cy' WHERE lower_name = 'Bo'$$, '23514', NULL, 'once proven it stays complete');
SET ROLE regress_immiiq_dba;
SELECT immiiq.cancel_sealing('person', 'lower_name') \gset ignored_
SELECT is((SELECT count(*) FROM pg_attribute AS a WHERE attrelid = 'person'::regclass AND attname LIKE 'lower\_name%' AND NOT attisdropped)
    + (SELECT count(*) FROM pg_trigger WHERE tgrelid = 'person'::regclass AND tgname LIKE 'zzz%') + (SELECT count(*) FROM pg_constraint WHERE conname LIKE 'zzz%')
    + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'person%immiiq' AND pronamespace = 'public'::regnamespace), 1::bigint, 'cancelled, it leaves nothing but the plain column');

-- Who may not.
SET ROLE regress_immiiq_app;
SELECT throws_ok(call, '42501', NULL, format('the application cannot %s', call))
FROM unnest(ARRAY['SELECT immiiq.sealing_plan()', 'SELECT immiiq.personal_columns()', $$CALL immiiq.seal_column('person', 'kind')$$,
    $$CALL immiiq.finish_sealing('person', 'kind')$$, $$SELECT immiiq.cancel_sealing('person', 'kind')$$, $$SELECT immiiq.lock_briefly('person')$$,
    $$SELECT immiiq.begin_sealing('person', 'kind', NULL)$$, $$SELECT immiiq.seal_rows('person', 'kind', NULL, NULL)$$]) AS call;
SELECT * FROM finish();
