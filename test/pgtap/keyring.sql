-- Keys: who may touch them, what is made, what a changed row or a rolled-back transaction does, and the bounded cache.
\i test/pgtap/setup.psql
SELECT plan(48);

-- Nobody but the owner
SELECT is(
    ARRAY(SELECT role || ' ' || privilege || ' ' || object
          FROM unnest(ARRAY['public', 'regress_immiiq_app', 'regress_immiiq_auditor', 'regress_immiiq_operator']) AS role,
               unnest(ARRAY['immiiq.root_key', 'immiiq.wrapped_key']) AS object,
               unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
          WHERE has_table_privilege(role, object, privilege) OR has_any_column_privilege(role, object, 'SELECT, INSERT, UPDATE')),
    '{}', 'no role has any privilege on the tables of keys');
SELECT is(
    ARRAY(SELECT role || ' ' || f.oid::regprocedure::text
          FROM unnest(ARRAY['public', 'regress_immiiq_app', 'regress_immiiq_auditor', 'regress_immiiq_operator']) AS role,
               pg_proc AS f
          WHERE f.pronamespace = 'immiiq'::regnamespace
            AND f.proname IN ('create_org_keys', 'keyring_status', 'keyring_problem', 'keyring_guard')
            AND has_function_privilege(role, f.oid, 'EXECUTE')),
    '{}', 'nor may any execute a function of the keyring');
SET ROLE regress_immiiq_app;
SELECT throws_ok('TABLE immiiq.wrapped_key', '42501', NULL, 'the application cannot read wrapped keys');
SELECT throws_ok('TABLE immiiq.root_key', '42501', NULL, 'nor fingerprints');
SELECT throws_ok($$SELECT nextval('immiiq.wrapped_key_key_id_seq')$$, '42501', NULL, 'nor use up key ids');
SELECT throws_ok('SELECT immiiq.create_org_keys(gen_random_uuid())', '42501', NULL, 'nor make keys');
SELECT throws_ok('SELECT * FROM immiiq.keyring_status()', '42501', NULL, 'nor see which root keys there are');
SELECT throws_ok('SELECT immiiq.keyring_problem()', '42501', NULL, 'nor what is wrong with them');
SELECT throws_ok('SHOW immiiq.root_key_file', '42501', NULL, 'nor where they are');
SELECT throws_ok($$SELECT current_setting('immiiq.root_key_command')$$, '42501', NULL, 'nor how they are fetched');
SELECT is((SELECT count(*) FROM pg_settings WHERE name LIKE 'immiiq.root%'), 0::bigint, 'nor anything of it in pg_settings');
SELECT throws_ok($$SET immiiq.root_key_file = '/tmp/x'$$, '55P02', NULL, 'nor set it');
RESET ROLE;
SET ROLE regress_immiiq_operator;
SELECT throws_ok('TABLE immiiq.wrapped_key', '42501', NULL, 'an operator cannot read wrapped keys');
SELECT throws_ok('SELECT immiiq.create_org_keys(gen_random_uuid())', '42501', NULL, 'nor make keys without an organisation');
RESET ROLE;
SET ROLE regress_immiiq_auditor;
SELECT throws_ok('TABLE immiiq.wrapped_key', '42501', NULL, 'an auditor cannot read wrapped keys');
RESET ROLE;

-- What is made
SELECT results_eq(
    format('SELECT purpose, version, octet_length(wrapped) FROM immiiq.wrapped_key WHERE org_id = %L ORDER BY purpose', :'alpha'),
    $$VALUES ('audit', 1, 88), ('data', 1, 88), ('index', 1, 88), ('subject', 1, 88)$$,
    'an organisation has four keys, wrapped in 88 bytes');
SELECT is((SELECT count(*) FROM immiiq.wrapped_key WHERE org_id IS NULL AND purpose = 'installation'), 1::bigint,
    'the installation has one');
SELECT is((SELECT count(*) FROM immiiq.wrapped_key), (SELECT count(DISTINCT wrapped) FROM immiiq.wrapped_key), 'no two wraps are alike');
SELECT is((SELECT count(*) FROM immiiq.wrapped_key),
    (SELECT count(DISTINCT substr(wrapped, 73)) FROM immiiq.wrapped_key), 'nor two check values: every key is another');
SELECT results_eq('SELECT known, matches, "current", loaded FROM immiiq.keyring_status()', 'VALUES (true, true, true, true)',
    'the root key is known, and matches');
SELECT is((SELECT octet_length(fingerprint) FROM immiiq.root_key), 16, 'by a fingerprint of 16 bytes');
SELECT is(immiiq.keyring_problem(), NULL, 'no problem is noted');
SELECT throws_ok(format('SELECT immiiq.create_org_keys(%L)', :'alpha'), '42710', 'the organisation already has keys',
    'keys are made once');
SELECT throws_ok($$SELECT immiiq.create_org_keys('00000000-0000-0000-0000-000000000000')$$, '22023', NULL,
    'the nil uuid is nobody: it stands for the installation in a wrap');
SELECT lives_ok('SELECT immiiq.create_org_keys(NULL)', 'null makes nothing');

-- Not even a superuser by accident
SELECT throws_ok('DELETE FROM immiiq.wrapped_key', '55000', 'cannot change immiiq.wrapped_key by hand', 'DELETE of keys is refused');
SELECT throws_ok('UPDATE immiiq.wrapped_key SET version = 2', '55000', NULL, 'UPDATE is');
SELECT throws_ok('TRUNCATE immiiq.wrapped_key', '55000', NULL, 'TRUNCATE is');
SELECT throws_ok('DELETE FROM immiiq.root_key', '55000', NULL, 'and of fingerprints too');
SELECT throws_ok('SELECT immiiq.keyring_guard()', '39P01', NULL, 'the guard is a trigger and nothing else');

-- A transaction that made keys and rolled back leaves nothing to seal under.
CREATE TABLE word (org_id uuid NOT NULL, v enc_text(equality));
\set gamma '9a33a000-0000-4000-8000-000000000000'
BEGIN;
SELECT immiiq.create_org('Gamma', :'gamma') \gset ignored_
SELECT FROM immiiq.operate(:'gamma', 'test') \gset
INSERT INTO word VALUES (:'gamma', 'rolled back');
ROLLBACK;
SELECT immiiq.create_org('Gamma', :'gamma') \gset ignored_
BEGIN;
SELECT FROM immiiq.operate(:'gamma', 'test') \gset
INSERT INTO word VALUES (:'gamma', 'kept');
COMMIT;
\set delta 'de17a000-0000-4000-8000-000000000000'
BEGIN;
SAVEPOINT one;
SELECT immiiq.create_org('Delta', :'delta') \gset ignored_
SAVEPOINT two;
SELECT FROM immiiq.operate(:'delta', 'test') \gset
INSERT INTO word VALUES (:'delta', 'rolled back');
ROLLBACK TO one;
SELECT immiiq.create_org('Delta', :'delta') \gset ignored_
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'delta', 'test') \gset
INSERT INTO word VALUES (:'delta', 'kept');
COMMIT;
-- Whatever alters the table makes a backend forget its keys (the tests below see it): what was sealed opens with those that were committed.
ALTER TABLE immiiq.wrapped_key DISABLE TRIGGER keyring_forget;
ALTER TABLE immiiq.wrapped_key ENABLE TRIGGER keyring_forget;
BEGIN;
SELECT FROM immiiq.operate(:'gamma', 'test') \gset
SELECT is(ARRAY(SELECT v::text FROM word WHERE v = 'kept'), '{kept}', 'after a rollback the organisation made again seals under its own keys');
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'delta', 'test') \gset
SELECT is(ARRAY(SELECT v::text FROM word WHERE v = 'kept'), '{kept}', 'after ROLLBACK TO SAVEPOINT as well');
COMMIT;

-- What a superuser with the triggers off changes in a row does not open: each field is bound.
CREATE FUNCTION pg_temp.reads() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM immiiq.operate('9a33a000-0000-4000-8000-000000000000', 'test');
    RETURN (SELECT string_agg(v::text, ',') FROM public.word WHERE v = 'kept');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
CREATE FUNCTION pg_temp.writes() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM immiiq.operate('9a33a000-0000-4000-8000-000000000000', 'test');
    INSERT INTO public.word VALUES ('9a33a000-0000-4000-8000-000000000000', 'written');
    RETURN 'written';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SELECT is(pg_temp.reads(), 'kept', 'before any change it reads');
ALTER TABLE immiiq.wrapped_key DISABLE TRIGGER USER;
CREATE TEMP TABLE saved AS SELECT * FROM immiiq.wrapped_key;
-- Tries one change (the triggers are off; altering them makes the backend forget its keys): what reading and writing say with it, and reading after the rows are as they were.
CREATE PROCEDURE pg_temp.change(sql text, INOUT reads text DEFAULT NULL, INOUT writes text DEFAULT NULL, INOUT after text DEFAULT NULL)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE sql;
    ALTER TABLE immiiq.wrapped_key ENABLE TRIGGER keyring_forget;
    ALTER TABLE immiiq.wrapped_key DISABLE TRIGGER keyring_forget;
    COMMIT;
    reads := pg_temp.reads();
    COMMIT;
    writes := pg_temp.writes();
    COMMIT;
    DELETE FROM immiiq.wrapped_key;
    INSERT INTO immiiq.wrapped_key SELECT * FROM pg_temp.saved;
    ALTER TABLE immiiq.wrapped_key ENABLE TRIGGER keyring_forget;
    ALTER TABLE immiiq.wrapped_key DISABLE TRIGGER keyring_forget;
    COMMIT;
    after := pg_temp.reads();
END
$$;
\set wrong 'IQ002 root key is missing or wrong'
CALL pg_temp.change($$UPDATE immiiq.wrapped_key SET wrapped = set_byte(wrapped, 30, get_byte(wrapped, 30) # 1)
                      WHERE org_id = '9a33a000-0000-4000-8000-000000000000'$$) \gset
SELECT is(ARRAY[:'reads', :'writes', :'after'], ARRAY[:'wrong', :'wrong', 'kept'], 'a changed byte of the ciphertext is refused');
CALL pg_temp.change($$UPDATE immiiq.wrapped_key SET wrapped = set_byte(wrapped, 80, get_byte(wrapped, 80) # 1)
                      WHERE org_id = '9a33a000-0000-4000-8000-000000000000'$$) \gset
SELECT is(ARRAY[:'reads', :'writes', :'after'], ARRAY[:'wrong', :'wrong', 'kept'], 'so is a changed check value');
CALL pg_temp.change($$UPDATE immiiq.wrapped_key SET wrapped =
                          (SELECT wrapped FROM immiiq.wrapped_key WHERE org_id = 'a1fa0000-0000-4000-8000-000000000000' AND purpose = 'data')
                      WHERE org_id = '9a33a000-0000-4000-8000-000000000000' AND purpose = 'data'$$) \gset
SELECT is(ARRAY[:'reads', :'writes', :'after'], ARRAY[:'wrong', :'wrong', 'kept'], 'another organisation''s wrap in this row is refused');
CALL pg_temp.change($$UPDATE immiiq.wrapped_key SET version = 2 WHERE org_id = '9a33a000-0000-4000-8000-000000000000'$$) \gset
SELECT is(ARRAY[:'reads', :'writes', :'after'], ARRAY[:'wrong', :'wrong', 'kept'], 'another version is refused');
CALL pg_temp.change($$UPDATE immiiq.wrapped_key SET version = version + 1,
                          purpose = CASE purpose WHEN 'data' THEN 'index' WHEN 'index' THEN 'data' ELSE purpose END
                      WHERE org_id = '9a33a000-0000-4000-8000-000000000000'$$) \gset
SELECT is(ARRAY[:'reads', :'writes', :'after'], ARRAY[:'wrong', :'wrong', 'kept'], 'keys that changed their purpose are refused');
CALL pg_temp.change($$INSERT INTO immiiq.root_key SELECT 'no-such-root', fingerprint, now() FROM immiiq.root_key LIMIT 1;
                      UPDATE immiiq.wrapped_key SET root_id = 'no-such-root' WHERE org_id = '9a33a000-0000-4000-8000-000000000000'$$) \gset
SELECT is(ARRAY[:'reads', :'writes', :'after'], ARRAY[:'wrong', :'wrong', 'kept'], 'a root key that is not loaded is missing');
CALL pg_temp.change($$UPDATE immiiq.wrapped_key SET key_id = key_id + 1000000 WHERE org_id = '9a33a000-0000-4000-8000-000000000000'$$) \gset
SELECT is(ARRAY[:'writes', :'after'], ARRAY[:'wrong', 'kept'], 'another key id is refused');
CALL pg_temp.change($$DELETE FROM immiiq.wrapped_key WHERE org_id = '9a33a000-0000-4000-8000-000000000000'$$) \gset
SELECT is(ARRAY[:'writes', :'after'], ARRAY['IQ003 the organisation has no keys', 'kept'], 'without the rows there is no key');
ALTER TABLE immiiq.wrapped_key ENABLE TRIGGER USER;
SELECT is((SELECT count(*) FROM word WHERE org_id = :'gamma'), 1::bigint, 'nothing was written meanwhile');

-- More organisations than the cache has places for: all of them open, and the backend does not grow. Its own memory is what
-- is anonymous: a page of shared_buffers that no other process has touched yet counts as private, too.
CREATE TABLE many (org_id uuid NOT NULL, n int, name enc_text(equality), born enc_date(equality));
DO $$
DECLARE org uuid;
BEGIN
    FOR n IN 1 .. 300 LOOP
        org := immiiq.create_org('Organisation ' || n);
        PERFORM immiiq.operate(org, 'test');
        INSERT INTO public.many VALUES (org, n, 'Name ' || n, '2000-01-01'::date + n);
        COMMIT;
    END LOOP;
END
$$;
CREATE TEMP TABLE opened (n int, name text, born date);
CREATE PROCEDURE pg_temp.open_all() LANGUAGE plpgsql AS $$
DECLARE o record;
BEGIN
    FOR o IN SELECT org_id FROM public.many ORDER BY n LOOP
        PERFORM immiiq.operate(o.org_id, 'test');
        INSERT INTO pg_temp.opened SELECT n, name::text, born::text::date FROM public.many
        WHERE org_id = o.org_id AND name = 'Name ' || n;
        COMMIT;
    END LOOP;
END
$$;
CREATE FUNCTION pg_temp.anonymous_kb() RETURNS int LANGUAGE sql AS
    $$SELECT substring(pg_read_file('/proc/self/smaps_rollup') FROM 'Anonymous: +([0-9]+)')::int$$;
CALL pg_temp.open_all();
SELECT is((SELECT count(*) FROM opened WHERE name = 'Name ' || n AND born = '2000-01-01'::date + n), 300::bigint,
    '300 organisations are read in one backend');
SELECT is((SELECT count(DISTINCT substring(name::text, 1, 40)) FROM many), 300::bigint, 'each under keys of its own');
SELECT pg_temp.anonymous_kb() AS before \gset
CALL pg_temp.open_all();
CALL pg_temp.open_all();
SELECT pg_temp.anonymous_kb() AS after \gset
SELECT is((SELECT count(*) FROM opened WHERE name = 'Name ' || n), 900::bigint, 'twice more');
SELECT cmp_ok(:after - :before, '<', 2048, 'without growing');

-- A new value under a key that was evicted since still finds the old one.
BEGIN;
SELECT FROM immiiq.operate((SELECT org_id FROM many WHERE n = 1), 'test') \gset
SELECT is(ARRAY(SELECT n FROM many WHERE name = 'Name 1'), '{1}', 'the first organisation is found again');
SELECT is(ARRAY(SELECT n FROM many WHERE name IN ('Name 1', 'Name 2')), '{1}', 'and only what is its own');
COMMIT;

SELECT * FROM finish();
