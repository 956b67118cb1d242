-- Sign-off: who may sign, what is bound, and that any later change shows.
\i test/pgtap/setup.psql
SELECT plan(24);

CREATE TABLE public.filing (org_id uuid, filing_id uuid DEFAULT gen_random_uuid(), client_id uuid, name enc_text(equality), born enc_date(sealed),
                            filed timestamptz DEFAULT now(), amount float8, PRIMARY KEY (org_id, filing_id));
SELECT immiiq.protect('public.filing', 'cases', client => 'client_id') \gset ignored_
GRANT SELECT, INSERT, UPDATE, DELETE ON public.filing TO regress_immiiq_app;
\set f1    'f1000000-0000-4000-8000-000000000001'
\set f2    'f1000000-0000-4000-8000-000000000002'
\set c1    'c1000000-0000-4000-8000-000000000001'
\set c2    'c1000000-0000-4000-8000-000000000002'
\set store '51000000-0000-4000-8000-000000000001'
\set d1    'd1000000-0000-4000-8000-000000000001'
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE immiiq.member SET permissions = '{sign_off}' WHERE member_id IN (:'alpha_owner', :'alpha_clerk');
INSERT INTO immiiq.assignment (org_id, client_id, member_id) VALUES (:'alpha', :'c1', :'alpha_clerk');
INSERT INTO immiiq.object_store (object_store_id, name, endpoint, region, bucket) VALUES (:'store', 'main', 'https://s3.example', 'r', 'papers');
INSERT INTO immiiq.document (document_id, client_id, object_store_id) VALUES (:'d1', :'c1', :'store');
INSERT INTO public.filing (filing_id, client_id, name, born, amount) VALUES (:'f1', :'c1', 'Ana', '1990-01-01', 1.1), (:'f2', :'c2', 'Ben', '1991-01-01', 2);
COMMIT;

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT throws_ok(format('SELECT immiiq.sign_off(%L, %L, %L)', 'public.filing', :'f1', 'prepared'), '55000', 'no signature of this member is on file',
    'without a signature on file nobody signs');
SELECT throws_ok(format('INSERT INTO immiiq.signature_on_file (member_id, document_id) VALUES (%L, %L)', :'alpha_clerk', :'d1'), '42501', NULL,
    'nobody files another''s');
INSERT INTO immiiq.signature_on_file (document_id) VALUES (:'d1');
SELECT lives_ok(format('SELECT immiiq.sign_off(%L, %L, %L)', 'public.filing', :'f1', 'prepared'), 'with one, a member who has the permission signs');
SELECT throws_ok(format('SELECT immiiq.sign_off(%L, %L, %L)', 'public.filing', :'f1', 'approved'), '23505', NULL, 'one member signs a version once');
SELECT throws_ok(format('SELECT immiiq.sign_off(%L, %L, %L)', 'public.filing', :'alpha', 'prepared'), '42501', NULL, 'there is nothing to sign that does not exist');
SELECT throws_ok($$UPDATE immiiq.sign_off SET meaning = 'x'$$, '42501', NULL, 'what is signed is not written anew');
SELECT throws_ok(format('INSERT INTO immiiq.sign_off (table_schema, table_name, row_id, meaning, member_id) VALUES (%L, %L, %L, %L, %L)',
    'public', 'filing', :'f1', 'approved', :'alpha_clerk'), '42501', NULL, 'nobody signs in another''s name');
SELECT throws_ok($$SELECT immiiq.sign_statement('x')$$, '42501', NULL, 'the signature is not to be had for anything else');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_lead_token') \gset
SELECT throws_ok(format('SELECT immiiq.sign_off(%L, %L, %L)', 'public.filing', :'f1', 'approved'), '42501', 'permission sign_off is needed to sign',
    'without the permission nobody signs');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token') \gset
INSERT INTO immiiq.signature_on_file (document_id) VALUES (:'d1');
SELECT throws_ok(format('SELECT immiiq.sign_off(%L, %L, %L)', 'public.filing', :'f2', 'approved'), '42501', 'row is not within reach of who is active',
    'nor what one does not see');
SELECT throws_ok(format('INSERT INTO immiiq.sign_off (table_schema, table_name, row_id, meaning) VALUES (%L, %L, %L, %L)', 'public', 'filing', :'f2', 'approved'),
    '42501', 'row is not within reach of who is active', 'by hand neither');
SELECT is((SELECT count(*) FROM immiiq.sign_off_status('public.filing', :'f2')), 0::bigint, 'its status is not shown');
SELECT lives_ok(format('SELECT immiiq.sign_off(%L, %L, %L)', 'public.filing', :'f1', 'approved'), 'a second person approves');
SET LOCAL timezone = 'Asia/Tokyo';
SET LOCAL extra_float_digits = -10;
SELECT results_eq(format('SELECT step, member_id, meaning, holds FROM immiiq.sign_off_status(%L, %L)', 'public.filing', :'f1'),
    format('VALUES (1, %L::uuid, ''prepared'', true), (2, %L::uuid, ''approved'', true)', :'alpha_owner', :'alpha_clerk'),
    'two steps, and both hold, in any session''s settings');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token') \gset
SELECT immiiq.act_as_assistant('tool') \gset ignored_
SELECT throws_ok(format('SELECT immiiq.sign_off(%L, %L, %L)', 'public.filing', :'f1', 'approved'), '42501', NULL, 'the assistant signs nothing');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT is((SELECT count(*) FROM immiiq.sign_off) + (SELECT count(*) FROM immiiq.sign_off_status('public.filing', :'f1')), 0::bigint, 'another organisation sees none of it');
ROLLBACK;

-- Any change shows, whoever makes it, a sealed one too; and what is changed back holds again.
SELECT format('SELECT is((SELECT array_agg(holds) FROM immiiq.sign_off_status(''public.filing'', %L)), ARRAY[%%s, %%s], %%L);', :'f1') AS holds \gset
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
UPDATE public.filing SET name = 'Anna' WHERE filing_id = :'f1';
SELECT format(:'holds', 'false', 'false', 'a sealed column is changed: no signature holds') \gexec
UPDATE public.filing SET name = 'Ana' WHERE filing_id = :'f1';
SELECT format(:'holds', 'true', 'true', 'sealed anew, with the same content: they do') \gexec
UPDATE public.filing SET filed = filed + interval '1 microsecond' WHERE filing_id = :'f1';
SELECT format(:'holds', 'false', 'false', 'a microsecond is a change') \gexec
SELECT lives_ok(format('SELECT immiiq.sign_off(%L, %L, %L)', 'public.filing', :'f1', 'prepared again'), 'the new version is signed for itself');
SELECT is((SELECT array_agg(step || ' ' || holds ORDER BY signed_at) FROM immiiq.sign_off_status('public.filing', :'f1')), ARRAY['1 false', '2 false', '1 true'],
    'from the first step on');
COMMIT;

-- A superuser who writes history has not the key.
RESET SESSION AUTHORIZATION;
SELECT throws_ok_unguarded('DELETE FROM immiiq.sign_off', 'IQ040', NULL, 'signatures are not deleted');
ALTER TABLE immiiq.sign_off DISABLE TRIGGER sign_off_append_only;
UPDATE immiiq.sign_off SET meaning = 'rejected' WHERE meaning = 'prepared again';
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT holds FROM immiiq.sign_off_status('public.filing', :'f1') WHERE meaning = 'rejected'), false, 'a meaning that was rewritten does not hold');
COMMIT;
SELECT ok((SELECT bool_and(immiiq.verify_ed25519(immiiq.sign_off_key(), convert_to(immiiq.sign_off_statement(s), 'UTF8'), s.signature)) FROM immiiq.sign_off AS s WHERE s.meaning <> 'rejected'),
    'signatures are checked with the public key alone');

SELECT * FROM finish();
