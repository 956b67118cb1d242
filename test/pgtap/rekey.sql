-- Rotation of an organisation's keys: every value by key id, whatever holds it; nothing else changes; old keys are gone.
\i test/pgtap/setup.psql
SELECT plan(63);

-- The id of the data key that stands in a value's header; as nobody, text is armour.
CREATE FUNCTION key_of(armour text) RETURNS int8 LANGUAGE sql IMMUTABLE AS $$
    SELECT ('x' || encode(substr(decode(translate(substr(armour, 5, 12), '-_', '+/'), 'base64'), 5, 4), 'hex'))::bit(32)::int8
$$;
-- Bytes 8 to 23: the tag.
CREATE FUNCTION tag_of(armour text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT substr(decode(translate(substr(armour, 5, 32), '-_', '+/'), 'base64'), 9, 16)
$$;

CREATE TYPE inner_part AS (n int, secret enc_text(12, sealed));
CREATE TYPE part AS (label text, deep inner_part, many inner_part[]);
CREATE DOMAIN folded AS enc_text(14, equality, fold);
CREATE TABLE client (
    org_id uuid NOT NULL, client_id int NOT NULL, name enc_text(equality), born enc_date(equality), note enc_text(sealed), plain text,
    PRIMARY KEY (org_id, client_id), UNIQUE (org_id, name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON client TO regress_immiiq_app;
SELECT immiiq.protect('client', 'clients') \gset ignored_
CREATE TABLE loose (id int PRIMARY KEY, list enc_text(11, sealed)[], whole part, parts part[], word folded, words folded[],
    gone enc_text(16, sealed), twice folded GENERATED ALWAYS AS (word) STORED);
CREATE TABLE online (id int, v enc_text(15, sealed)) PARTITION BY LIST (id);
CREATE TABLE online_1 PARTITION OF online FOR VALUES IN (1);
CREATE TABLE online_rest PARTITION OF online DEFAULT;
CREATE SCHEMA elsewhere;
CREATE UNLOGGED TABLE elsewhere.hidden (v enc_text(15, sealed));

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO client SELECT :'alpha', i, 'name ' || i, date '2000-01-01' + i, repeat('note ', 1000) || i, 'plain ' || i FROM generate_series(1, 200) AS i;
INSERT INTO loose (id, list, whole, parts, word, words, gone)
SELECT i, ARRAY['l' || i, NULL], ROW('label', ROW(i, 'deep ' || i)::inner_part, ARRAY[ROW(i, 'many ' || i)::inner_part])::part,
    ARRAY[ROW('x', NULL, ARRAY[ROW(1, 'inside ' || i)::inner_part])::part], 'Word ' || i, ARRAY['Some ' || i]::folded[], 'gone'
FROM generate_series(1, 50) AS i;
INSERT INTO online SELECT i % 3, 'online ' || i FROM generate_series(1, 300) AS i;
INSERT INTO elsewhere.hidden VALUES ('hidden');
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'test') \gset
INSERT INTO client SELECT :'beta', i, 'name ' || i, date '2000-01-01' + i, 'note ' || i, 'plain ' || i FROM generate_series(1, 50) AS i;
COMMIT;
CREATE MATERIALIZED VIEW kept AS SELECT id, v FROM online;
ALTER TABLE loose DROP COLUMN gone;

-- Whatever would betray the walk
CREATE TABLE fired (what text);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO fired VALUES (TG_TABLE_NAME); RETURN NEW; END $$;
CREATE TRIGGER fire AFTER UPDATE ON client FOR EACH ROW EXECUTE FUNCTION fire();
CREATE TRIGGER fire AFTER UPDATE ON loose FOR EACH ROW EXECUTE FUNCTION fire();
ALTER TABLE loose ENABLE ALWAYS TRIGGER fire;
CREATE FUNCTION tell(plain text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF current_user <> 'regress_immiiq_nobody' THEN
        RAISE EXCEPTION 'runs as %', current_user;
    END IF;
    RETURN plain;
END
$$;
CREATE TABLE owned (id int, v enc_text(15, sealed));
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO owned VALUES (1, 'owned');
COMMIT;
GRANT CREATE ON SCHEMA public TO regress_immiiq_nobody;
ALTER TABLE owned OWNER TO regress_immiiq_nobody;
SET ROLE regress_immiiq_nobody;
CREATE INDEX ON owned ((tell(id::text)));
RESET ROLE;

-- Armour of this organisation that does not open, planted by somebody without identity.
SELECT v::text AS armour FROM online_1 LIMIT 1 \gset
INSERT INTO online_1 VALUES (1, left(:'armour', length(:'armour') - 6) || 'AAAAA' || right(:'armour', 1));

CREATE TEMP VIEW every_value AS
    SELECT org_id, name::text AS armour FROM client UNION ALL SELECT org_id, born::text FROM client UNION ALL SELECT org_id, note::text FROM client
    UNION ALL SELECT NULL, list[1]::text FROM loose UNION ALL SELECT NULL, ((whole).deep).secret::text FROM loose
    UNION ALL SELECT NULL, (((whole).many)[1]).secret::text FROM loose UNION ALL SELECT NULL, (((parts[1]).many)[1]).secret::text FROM loose
    UNION ALL SELECT NULL, word::text FROM loose UNION ALL SELECT NULL, words[1]::text FROM loose UNION ALL SELECT NULL, twice::text FROM loose
    UNION ALL SELECT NULL, v::text FROM online UNION ALL SELECT NULL, v::text FROM kept
    UNION ALL SELECT NULL, v::text FROM elsewhere.hidden UNION ALL SELECT NULL, v::text FROM owned;
CREATE TEMP TABLE before AS SELECT * FROM every_value;
CREATE TEMP TABLE keys_before AS SELECT * FROM immiiq.wrapped_key;
CREATE TEMP TABLE entries_before AS SELECT count(*) AS n FROM immiiq.entry WHERE get_byte(body, 0) & 7 <> 4; -- events aside

-- ---- who may ----
SELECT is(
    ARRAY(SELECT role || ' ' || f.oid::regprocedure::text
          FROM unnest(ARRAY['public', 'regress_immiiq_app', 'regress_immiiq_auditor']) AS role, pg_proc AS f
          WHERE f.pronamespace = 'immiiq'::regnamespace AND f.proname ~ '^(rekey_|rotate_key|rewrap|shred|holds_sealed)'
            AND f.proname <> 'rekey_state' AND has_function_privilege(role, f.oid, 'EXECUTE')),
    '{}', 'neither the application nor an auditor may execute anything of a rotation');
SELECT is(
    ARRAY(SELECT f.proname::text FROM pg_proc AS f
          WHERE f.pronamespace = 'immiiq'::regnamespace AND f.proname ~ '^(rekey_|rotate_key|rewrap|shred|holds_sealed)'
            AND has_function_privilege('regress_immiiq_operator', f.oid, 'EXECUTE') ORDER BY 1),
    '{rekey_await,rekey_start,rekey_state,rewrap_keys,rotate_key,shred_org}', 'an operator only what is meant for operators');
SELECT is(
    ARRAY(SELECT role || ' ' || privilege || ' ' || object
          FROM unnest(ARRAY['public', 'regress_immiiq_app', 'regress_immiiq_auditor', 'regress_immiiq_operator']) AS role,
               unnest(ARRAY['immiiq.rekey', 'immiiq.key_event', 'immiiq.sealed_relation']) AS object,
               unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
          WHERE has_table_privilege(role, object, privilege) ORDER BY 1),
    '{"regress_immiiq_app SELECT immiiq.key_event","regress_immiiq_operator SELECT immiiq.key_event"}',
    'nobody writes its tables, and only what was done is there to read');
SET ROLE regress_immiiq_app;
SELECT throws_ok(format('CALL immiiq.rotate_key(%L)', :'alpha'), '42501', NULL, 'the application cannot rotate keys');
SELECT throws_ok(format('SELECT immiiq.shred_org(%L, %L)', :'alpha', 'x'), '42501', NULL, 'nor destroy them');
SELECT throws_ok('SELECT immiiq.rewrap_keys()', '42501', NULL, 'nor wrap them');
SELECT throws_ok(format('SELECT immiiq.rekey_delete(%L, NULL)', :'alpha'), '42501', NULL, 'nor delete them');
SELECT throws_ok('SELECT immiiq.rekey_wipe()', '42501', NULL, 'nor overwrite them');
SELECT throws_ok('TABLE immiiq.rekey_progress', '42501', NULL, 'nor see how far a rotation is');
RESET ROLE;
SET ROLE regress_immiiq_auditor;
SELECT throws_ok(format('CALL immiiq.rotate_key(%L)', :'alpha'), '42501', NULL, 'nor can an auditor');
SELECT throws_ok(format('SELECT immiiq.shred_org(%L, %L)', :'alpha', 'x'), '42501', NULL, 'who cannot destroy any either');
SELECT is_empty('TABLE immiiq.rekey_progress', 'but sees that none runs');
RESET ROLE;

SET ROLE regress_immiiq_operator;
SELECT throws_ok($$CALL immiiq.rotate_key('00000000-0000-4000-8000-00000000dead')$$, 'IQ003', NULL, 'an organisation that is none has no keys');
SELECT throws_ok(format('SELECT immiiq.rekey_begin(%L)', :'alpha'), '42501', NULL, 'an operator cannot take a single step');
SELECT throws_ok(format('SELECT immiiq.rekey_step(%L)', :'alpha'), '42501', NULL, 'nor have one taken');
BEGIN;
SAVEPOINT s;
SELECT throws_ok(format('CALL immiiq.rotate_key(%L)', :'alpha'), '2D000', NULL, 'a rotation does not run in a transaction block');
ROLLBACK;
RESET ROLE;
SELECT is((SELECT count(*) FROM immiiq.wrapped_key), (SELECT count(*) FROM keys_before), 'which made no key');

-- ---- a rotation ----
-- A slot of logical decoding that nobody reads does not hold a rotation up.
SELECT pg_create_logical_replication_slot('regress_immiiq_rekey', 'pgoutput') AS slot \gset
SET SESSION AUTHORIZATION regress_immiiq_operator;
CALL immiiq.rotate_key(:'alpha');
RESET SESSION AUTHORIZATION;
SELECT pg_drop_replication_slot('regress_immiiq_rekey') AS slot \gset

SELECT is_empty('TABLE immiiq.rekey', 'a rotation ends');
SELECT is_empty(format($$SELECT * FROM immiiq.wrapped_key WHERE org_id = %L AND purpose IN ('data', 'index')
    AND key_id IN (SELECT key_id FROM keys_before)$$, :'alpha'), 'the data key and the index secret of before are gone');
SELECT results_eq(format('SELECT key_id, wrapped FROM immiiq.wrapped_key WHERE org_id IS DISTINCT FROM %L OR purpose = %L ORDER BY 1', :'alpha', 'audit'),
    format('SELECT key_id, wrapped FROM keys_before WHERE org_id IS DISTINCT FROM %L OR purpose = %L ORDER BY 1', :'alpha', 'audit'),
    'every other key is as it was');
SELECT is((SELECT count(*) FROM every_value), (SELECT count(*) FROM before), 'no value was lost');
SELECT is((SELECT array_agg(armour) FROM (SELECT armour FROM every_value WHERE org_id IS DISTINCT FROM :'beta' AND key_of(armour) IN (SELECT key_id FROM keys_before)) AS v),
    (SELECT array_agg(armour) FROM before WHERE right(armour, 6) LIKE 'AAAAA_'),
    'no value is under an old key, but the one that does not open');
SELECT is((SELECT count(*) FROM before AS b JOIN every_value AS e USING (armour) WHERE b.org_id = :'beta'), 150::bigint,
    'another organisation''s values are byte for byte as they were');
SELECT is((SELECT count(*) FROM before AS b JOIN client AS c ON tag_of(b.armour) = tag_of(c.name::text) WHERE c.org_id = :'alpha'), 0::bigint,
    'no tag is as it was');
SELECT is_empty('TABLE fired', 'no trigger fired, not even one that fires always');
SELECT results_eq(format('SELECT kind, started_by, keys_destroyed, values_sealed, values_damaged FROM immiiq.key_event WHERE org_id = %L', :'alpha'),
    $$VALUES ('rotate', 'regress_immiiq_operator', 2, 1552::bigint, 1::bigint)$$, 'what was done is written down, with by whom and how much');
SELECT is((SELECT count(*) FROM immiiq.entry WHERE get_byte(body, 0) & 7 <> 4), (SELECT n + 1 FROM entries_before), 'as one audit entry');
CALL immiiq.seal();
SELECT results_eq($$SELECT operation FROM immiiq.audit_log WHERE table_name = 'key_event'$$, $$VALUES ('insert')$$, 'which is of the whole');
SELECT is((SELECT count(*) FROM keys_before WHERE position(wrapped IN pg_read_binary_file(pg_relation_filepath('immiiq.wrapped_key'))) > 0
        AND org_id = :'alpha' AND purpose IN ('data', 'index')), 0::bigint, 'in the file of the table the old keys are overwritten');
SELECT is((SELECT count(*) FROM keys_before WHERE position(wrapped IN pg_read_binary_file(pg_relation_filepath('immiiq.wrapped_key'))) > 0), 7::bigint,
    'and the others stand there');

-- Everything opens, is found, and stays unique.
SET ROLE regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is((SELECT count(*) FROM client WHERE name::text = 'name ' || client_id AND born::date = date '2000-01-01' + client_id
    AND note::text = repeat('note ', 1000) || client_id), 200::bigint, 'every value opens');
SELECT is((SELECT count(*) FROM generate_series(1, 200) AS i JOIN client ON name = 'name ' || i AND client_id = i), 200::bigint, 'every one is found');
SELECT is((SELECT count(*) FROM client WHERE born IN ('2000-01-05', '2000-01-06')), 2::bigint, 'lists find theirs');
SELECT throws_ok(format($$INSERT INTO client VALUES (%L, 1000, 'name 7')$$, :'alpha'), '23505', NULL, 'a unique value stays unique');
SELECT lives_ok(format($$INSERT INTO client VALUES (%L, 1001, 'name 1001')$$, :'alpha'), 'a new one is taken');
ROLLBACK;
RESET ROLE;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT count(*) FROM loose WHERE list[1]::text = 'l' || id AND list[2] IS NULL AND ((whole).deep).secret::text = 'deep ' || id
    AND (((whole).many)[1]).secret::text = 'many ' || id AND (whole).label = 'label' AND (((parts[1]).many)[1]).secret::text = 'inside ' || id
    AND word = 'wORD ' || id AND words[1]::text = 'Some ' || id AND twice = word), 50::bigint, 'so do lists, composites, domains and copies');
SELECT is((SELECT count(*) FROM online WHERE v::text ~ '^online'), 300::bigint, 'partitions');
SELECT is((SELECT count(*) FROM kept WHERE v::text ~ '^online'), 300::bigint, 'materialized views');
SELECT is((SELECT v::text FROM elsewhere.hidden), 'hidden', 'and tables that nobody protected');
SELECT is((SELECT v::text FROM owned), 'owned', 'an index''s function ran as the table''s owner');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'test') \gset
SELECT is((SELECT client_id FROM client WHERE name = 'name 7'), 7, 'another organisation finds its own');
ROLLBACK;

-- Who may read what was done
SET ROLE regress_immiiq_app;
SELECT is_empty('TABLE immiiq.key_event', 'the application reads nothing of it as nobody');
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is((SELECT count(*) FROM immiiq.key_event), 1::bigint, 'a member with module settings reads it');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_idle_token') \gset
SELECT is_empty('TABLE immiiq.key_event', 'one without does not');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT is_empty('TABLE immiiq.key_event', 'nor does another organisation''s');
ROLLBACK;
RESET ROLE;
SELECT throws_like('TRUNCATE immiiq.key_event', '%cannot be truncated', 'nobody empties it, not even a superuser');

-- Once more, and at once again
CALL immiiq.rotate_key(:'alpha');
SELECT is((SELECT count(*) FROM immiiq.key_event WHERE org_id = :'alpha' AND kind = 'rotate'), 2::bigint, 'a second rotation');
SELECT is((SELECT keys_destroyed FROM immiiq.key_event ORDER BY finished_at DESC LIMIT 1), 3, 'destroys both data keys of the first and its index secret');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT count(*) FROM client WHERE name = 'name ' || client_id), 200::bigint, 'and everything is found again');
ROLLBACK;

SELECT is(immiiq.rewrap_keys(), 0::bigint, 'with one root key there is nothing to wrap anew');

-- ---- shredding ----
SET ROLE regress_immiiq_operator;
SELECT throws_ok(format('SELECT immiiq.shred_org(%L, %L)', :'alpha', ' '), '22023', NULL, 'keys are not destroyed without a reason');
SELECT throws_ok($$SELECT immiiq.shred_org('00000000-0000-4000-8000-00000000dead', 'x')$$, 'IQ003', NULL, 'nor those of nobody');
BEGIN;
SELECT immiiq.shred_org(:'alpha', 'changed their mind') \gset ignored_
ROLLBACK;
RESET ROLE;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT count(*) FROM client WHERE name = 'name ' || client_id), 200::bigint, 'what is rolled back destroys nothing');
ROLLBACK;
CREATE TEMP TABLE keys_alpha AS SELECT * FROM immiiq.wrapped_key WHERE org_id = :'alpha';
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT is(immiiq.shred_org(:'alpha', 'contract ended'), 5, 'shred_org destroys every key of an organisation');
RESET SESSION AUTHORIZATION;
SELECT is_empty(format('SELECT FROM immiiq.wrapped_key WHERE org_id = %L', :'alpha'), 'none is left');
SELECT is((SELECT reason FROM immiiq.key_event WHERE org_id = :'alpha' AND kind = 'shred'), 'contract ended', 'the reason is');
SELECT is((SELECT active FROM immiiq.org WHERE org_id = :'alpha'), false, 'and the organisation is closed');
SELECT is((SELECT count(*) FROM client WHERE org_id = :'alpha' AND name::text LIKE 'iq1:%'), 200::bigint, 'its values are envelopes for ever');
SET ROLE regress_immiiq_app;
SELECT throws_ok(format('SELECT FROM immiiq.authenticate(%L)', :'alpha_owner_token'), 'IQ010', NULL, 'nobody signs in there');
RESET ROLE;
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'test') \gset
SELECT is((SELECT count(*) FROM client WHERE name = 'name ' || client_id), 50::bigint, 'another organisation notices nothing');
ROLLBACK;
DO $$
BEGIN
    FOR i IN 1..400 LOOP
        COMMIT;
        EXIT WHEN NOT EXISTS (SELECT FROM immiiq.rekey);
        PERFORM pg_sleep(0.05);
    END LOOP;
END
$$;
SELECT is((SELECT count(*) FROM keys_alpha WHERE position(wrapped IN pg_read_binary_file(pg_relation_filepath('immiiq.wrapped_key'))) > 0), 0::bigint,
    'the worker has overwritten the keys in the file');

-- ---- ten thousand organisations in one backend ----
CREATE TEMP TABLE crowd AS SELECT gen_random_uuid() AS org FROM generate_series(1, 10000);
SELECT count(immiiq.create_org_keys(org)) AS ignored FROM crowd \gset
-- What this process has for itself, in kB, whoever allocated it.
CREATE FUNCTION own_memory() RETURNS int LANGUAGE sql VOLATILE AS $$
    SELECT sum(m[1]::int)::int FROM regexp_matches(pg_read_file('/proc/self/status'), '(?:RssAnon|VmLck):\s+(\d+)', 'g') AS m
$$;
\setenv PGDATABASE :DBNAME
\set crowd `psql -X -q -A -t -c "SELECT own_memory()" -c "SELECT immiiq.open_org_keys(org_id) FROM immiiq.org WHERE active LIMIT 1" -c "CREATE TEMP TABLE few AS SELECT own_memory() AS n" -c "SELECT count(*) FROM (SELECT immiiq.open_org_keys(org_id) FROM immiiq.wrapped_key WHERE purpose = 'data' AND org_id IS NOT NULL OFFSET 0) AS o" -c "SELECT own_memory() - n FROM few" | tail -2 | tr '\n' ' '`
SELECT is(split_part(:'crowd', ' ', 1), '10001', 'a backend opens the keys of ten thousand organisations');
SELECT cmp_ok(split_part(:'crowd', ' ', 2)::int, '<', 8192, 'and holds less than 8 MB more for it');
\echo # :crowd kB

SELECT * FROM finish();
