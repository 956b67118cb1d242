-- Versions of rows, from the audit: each of 50 comes back as it was, and restoring is one more change.
\i test/pgtap/setup.psql
SELECT plan(20);

-- A column of each sealed type that there is, and of plain ones that are written in more ways than one.
SELECT format('CREATE TABLE public.form (org_id uuid, form_id uuid DEFAULT gen_random_uuid(), client_id uuid, n int, list text[], body jsonb, raw bytea,
    amount numeric, made timestamptz, twice int GENERATED ALWAYS AS (n * 2) STORED, %s, PRIMARY KEY (org_id, form_id))',
    string_agg(format('v_%1$s %1$s(sealed)', typname), ', ')) AS make,
    string_agg('v_' || typname, ', ' ORDER BY typname) AS columns,
    string_agg('(' || CASE typname WHEN 'enc_text' THEN $q$'name ' || i$q$ WHEN 'enc_date' THEN $q$(date '2000-01-01' + i)::text$q$
                            WHEN 'enc_int8' THEN 'i::text' WHEN 'enc_numeric' THEN $q$i || '.50'$q$ WHEN 'enc_bytea' THEN $q$'\x00' || lpad(i::text, 4, '0')$q$
                            WHEN 'enc_timestamptz' THEN $q$(timestamptz '2000-01-01 00:00:00.123456+00' + i * interval '1 day')::text$q$
                            WHEN 'enc_jsonb' THEN $q$'{"i": ' || i || '}'$q$ END || ')::' || typname, ', ' ORDER BY typname) AS values
FROM pg_type WHERE typname LIKE 'enc\_%' AND typname NOT LIKE '%\_base' AND typname <> 'enc_query' AND typtype = 'b' AND typelem = 0 AND typnamespace = 'pg_catalog'::regnamespace \gset
:make;
SELECT immiiq.protect('public.form', 'cases', client => 'client_id') \gset ignored_
GRANT SELECT, INSERT, UPDATE, DELETE ON public.form TO regress_immiiq_app;
CREATE TABLE public.loose (id int PRIMARY KEY);
CREATE TABLE public.original (i int, image jsonb);
GRANT SELECT, INSERT ON public.original TO regress_immiiq_app;
\set id 'f0000000-0000-4000-8000-000000000001'

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
INSERT INTO public.form (form_id, n) VALUES (:'id', 0);
SELECT format('UPDATE public.form SET (n, list, body, raw, amount, made, %s) = (SELECT i, ARRAY[''a'', NULL, ''b"'' || i], jsonb_build_object(''i'', i),
    decode(lpad(to_hex(i), 4, ''0''), ''hex''), i + 0.10, now() + i * interval ''1 hour'', %s FROM (VALUES (%%s)) AS g (i))', :'columns', :'values') AS change \gset
SELECT format(:'change', i), format('INSERT INTO public.original SELECT %s, to_jsonb(f) FROM public.form AS f', i) FROM generate_series(1, 50) AS i \gexec
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_app;

BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is((SELECT array_agg(operation ORDER BY version) FROM immiiq.history('public.form', :'id')), ARRAY['insert'] || array_fill('update'::text, ARRAY[50]),
    'a history of 51 versions');
SELECT is((SELECT count(DISTINCT member_id) FROM immiiq.history('public.form', :'id') WHERE member_id = :'alpha_owner' AND actor = 'member'), 1::bigint,
    'with who made them');
-- Every version, in turn, last one first.
CREATE TEMPORARY TABLE outcome (i int, image jsonb) ON COMMIT DROP;
SELECT format('SELECT immiiq.restore_version(''public.form'', %L, %s)', :'id', version),
       format('INSERT INTO outcome SELECT %s, to_jsonb(f) FROM public.form AS f', row_number() OVER (ORDER BY version) - 1)
FROM immiiq.history('public.form', :'id') ORDER BY version DESC \gexec
SELECT is((SELECT count(*) FROM outcome JOIN public.original USING (i, image)), 50::bigint, 'each of 50 versions is restored as it was');
SELECT is((SELECT count(*) FROM outcome WHERE i = 0 AND image ->> 'n' = '0' AND image ->> 'body' IS NULL), 1::bigint, 'and the first');
SELECT min(version) + 7 AS seventh, max(version) AS last FROM immiiq.history('public.form', :'id') \gset
DELETE FROM public.form;
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is((SELECT count(*) FROM immiiq.history('public.form', :'id')), 103::bigint, 'restoring is on record, and so is the deletion');
SELECT is((SELECT count(*) FROM (SELECT version, row_image, row_number() OVER (ORDER BY at, version) AS n, at, lead(at) OVER (ORDER BY at, version) AS next, operation
    FROM immiiq.history('public.form', :'id')) AS h WHERE next > at AND operation <> 'delete' AND immiiq.row_as_of('public.form', :'id', at) = row_image
    AND immiiq.row_as_of('public.form', upper(:'id'), next - interval '1 microsecond') = row_image), 102::bigint, 'the row as it was at any time');
SELECT is(immiiq.row_as_of('public.form', :'id', now()), NULL, 'which is not there any more');
SELECT is(immiiq.row_as_of('public.form', :'id', '2000-01-01'), NULL, 'and was not then');
SELECT throws_ok(format('SELECT immiiq.restore_version(''public.form'', %L, %s)', :'id', max(version)), '22023', NULL, 'a deletion is not restored')
FROM immiiq.history('public.form', :'id');
SELECT lives_ok(format('SELECT immiiq.restore_version(''public.form'', %L, %s)', :'id', :seventh), 'a deleted row comes back');
SELECT is((SELECT to_jsonb(f) FROM public.form AS f), (SELECT image FROM public.original WHERE i = 7), 'as it was in that version');
SELECT throws_ok(format('SELECT immiiq.restore_version(''public.form'', %L, 1000000)', :'id'), '42704', 'no such version', 'no such version');
SELECT throws_ok(format('SELECT immiiq.restore_version(''public.form'', %L, %s)', :'alpha', :seventh), '42704', NULL, 'nor one of another row');
SELECT throws_ok($$SELECT * FROM immiiq.history('public.loose', '1')$$, '55000', NULL, 'a table that is not protected has no history');
COMMIT;

-- Who may not.
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT is((SELECT count(*) FROM immiiq.history('public.form', :'id')), 0::bigint, 'another organisation has no history of it');
SELECT throws_ok(format('SELECT immiiq.restore_version(''public.form'', %L, %s)', :'id', :seventh), '42704', NULL, 'and restores nothing');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token') \gset
SELECT is((SELECT count(*) FROM immiiq.history('public.form', :'id')), 0::bigint, 'nor has scope assigned, which may not read the audit');
ROLLBACK;
SELECT is((SELECT count(*) FROM immiiq.history('public.form', :'id')), 0::bigint, 'nor nobody');
RESET SESSION AUTHORIZATION;
REVOKE UPDATE ON public.form FROM regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT throws_ok(format('SELECT immiiq.restore_version(''public.form'', %L, %s)', :'id', :seventh), '42501', NULL, 'restoring is an UPDATE of the caller''s own');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM immiiq.verify_audit()), 0::bigint, 'the audit is whole');

SELECT * FROM finish();
