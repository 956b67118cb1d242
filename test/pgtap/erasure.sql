-- Erasure: who may ask, what goes, what stays and why, keys, certificates, holds in the middle, closing, retention.
\i test/pgtap/setup.psql
SELECT plan(110);

\set one 'c1000000-0000-4000-8000-000000000001'
\set two 'c1000000-0000-4000-8000-000000000002'
\set three 'c1000000-0000-4000-8000-000000000003'
\set case_a 'ca5e0000-0000-4000-8000-00000000000a'
CREATE TABLE client (org_id uuid, client_id uuid, name enc_text(equality), born text, PRIMARY KEY (org_id, client_id));
SELECT immiiq.protect('client', 'clients', client => 'client_id') AS ignored \gset
CREATE TABLE visit (org_id uuid, visit_id int, client_id uuid, case_id uuid, passport enc_text(sealed), note text, PRIMARY KEY (org_id, visit_id),
    FOREIGN KEY (org_id, client_id) REFERENCES client);
SELECT immiiq.protect('visit', 'clients', client => 'client_id') AS ignored \gset
CREATE TABLE remark (org_id uuid, remark_id int, visit_id int, client_id uuid, text text, PRIMARY KEY (org_id, remark_id), FOREIGN KEY (org_id, visit_id) REFERENCES visit);
SELECT immiiq.protect('remark', 'clients', client => 'client_id') AS ignored \gset
CREATE TABLE invoice (org_id uuid, invoice_id int, client_id uuid, payer text, amount int, issued date, PRIMARY KEY (org_id, invoice_id));
SELECT immiiq.protect('invoice', 'invoices', client => 'client_id') AS ignored \gset
CREATE TABLE letter (org_id uuid, letter_id int, client_id uuid, body enc_text(sealed), town text, PRIMARY KEY (org_id, letter_id));
SELECT immiiq.protect('letter', 'communications', client => 'client_id') AS ignored \gset
GRANT ALL ON client, visit, remark, invoice, letter TO regress_immiiq_app, regress_immiiq_operator;
INSERT INTO immiiq.matter_column VALUES ('visit', 'case_id');
INSERT INTO immiiq.erasure_rule VALUES
    ('invoice', 'retain', NULL, 'tax law, 7 years', '7 years', 'issued'),
    ('letter', 'anonymise', '{"body": null, "town": "[erased]"}', 'statistics of correspondence', NULL, NULL);

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO client SELECT :'alpha', ('c1000000-0000-4000-8000-00000000000' || i)::uuid, 'Name ' || i, '1980-01-0' || i FROM generate_series(1, 3) AS i;
INSERT INTO visit SELECT :'alpha', i, CASE WHEN i <= 6 THEN :'one' ELSE :'two' END::uuid, CASE WHEN i % 2 = 0 THEN :'case_a'::uuid END, 'P' || i, 'CANARY' FROM generate_series(1, 10) AS i;
INSERT INTO remark SELECT :'alpha', i, i, CASE WHEN i <= 6 THEN :'one' ELSE :'two' END::uuid, 'r' FROM generate_series(1, 10) AS i;
INSERT INTO invoice VALUES (:'alpha', 1, :'one', 'CANARY', 10, current_date - 100), (:'alpha', 2, :'one', 'CANARY', 20, current_date - 4000), (:'alpha', 3, :'two', 'x', 5, current_date);
INSERT INTO letter VALUES (:'alpha', 1, :'one', 'CANARY letter', 'Town'), (:'alpha', 2, :'two', 'letter', 'Town');
UPDATE immiiq.member SET permissions = '{erase,close}' WHERE member_id IN (:'alpha_owner', :'alpha_clerk');
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'test') \gset
INSERT INTO client VALUES (:'beta', :'one', 'Beta', '1');
UPDATE immiiq.member SET permissions = '{erase,close}' WHERE member_id = :'beta_owner';
COMMIT;
CALL immiiq.seal();

---- Rules

SELECT throws_ok($$INSERT INTO immiiq.erasure_rule VALUES ('remark', 'anonymise', '{"gone": null}', 'b')$$, '42703', NULL, 'a rule names columns that are there');
SELECT throws_ok($$INSERT INTO immiiq.erasure_rule VALUES ('visit', 'anonymise', '{"passport": "x"}', 'b')$$, '22023', NULL, 'a sealed column can become null alone');
SELECT throws_ok($$INSERT INTO immiiq.erasure_rule VALUES ('visit', 'anonymise', '{"client_id": null}', 'b')$$, '42P10', NULL, 'whose a row is stays');
SELECT throws_ok($$INSERT INTO immiiq.erasure_rule VALUES ('visit', 'retain')$$, '23514', NULL, 'to retain needs a law');

---- Who may ask

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok(format('SELECT immiiq.request_erasure(%L, %L)', :'one', 'r'), 'IQ011', NULL, 'nobody asks for nothing');
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_lead_token') \gset
SELECT throws_ok(format('SELECT immiiq.request_erasure(%L, %L)', :'one', 'r'), '42501', NULL, 'a member without the permission erase may not ask');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token') \gset
SELECT throws_ok(format('SELECT immiiq.request_erasure(%L, %L)', :'one', 'r'), '42501', NULL, 'nor one with it, for a client beyond their scope');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT FROM immiiq.act_as_assistant('tool') \gset
SELECT throws_ok(format('SELECT immiiq.request_erasure(%L, %L)', :'one', 'r'), '42501', NULL, 'nor the assistant');
COMMIT;
SELECT throws_ok(format('SELECT immiiq.erasure_step(%L, %L)', :'alpha', :'one'), '42501', NULL, 'steps are for no role');
SELECT throws_ok(format('SELECT immiiq.destroy_client_keys(%L, %L, true)', :'alpha', :'one'), '42501', NULL, 'nor is the destruction of keys');
SELECT throws_ok(format('SELECT immiiq.presign_erased(%L, %L, %L, %L, NULL, NULL)', :'alpha', :'one', :'one', 'k'), '42501', NULL, 'nor URLs without a document');
SELECT throws_ok(s, '42501', NULL, 'nor is ' || s)
FROM unnest(ARRAY['SELECT immiiq.replay_erasures($$$$)', 'SELECT immiiq.read_ledger($$$$)', 'SELECT immiiq.keep_ledgers()', 'SELECT immiiq.in_quarantine(gen_random_uuid())',
    'SELECT immiiq.keep_ledger_head(gen_random_uuid(), 1, $$$$)', 'INSERT INTO immiiq.erasure_ledger DEFAULT VALUES', 'DELETE FROM immiiq.ledger_pending']) AS s;
SELECT throws_ok($$UPDATE immiiq.erasure SET due_at = now()$$, '42501', NULL, 'requests are not written by hand');
SELECT throws_ok('SELECT immiiq.export_erasures()', '42501', NULL, 'nor is the ledger the application''s');
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT throws_ok(format('SELECT immiiq.request_erasure(%L, %L)', :'one', ''), '22023', NULL, 'a request has a reason');
SELECT immiiq.request_erasure(:'one', 'letter of 3 May') AS request \gset
SELECT is(immiiq.request_erasure(:'one', 'again'), :'request'::uuid, 'who asks again gets the request that is under way');
SELECT ok((SELECT due_at - requested_at BETWEEN interval '29 days 23 hours' AND interval '30 days 1 hour' FROM immiiq.erasure), 'it is due in 30 days');
SELECT results_eq(format('SELECT item, action, rows FROM immiiq.review_erasure(%L) WHERE item NOT LIKE %L', :'request', 'immiiq.%'),
    $$VALUES ('public.remark', 'delete', 6::bigint), ('public.visit', 'delete', 6), ('public.client', 'delete', 1), ('public.invoice', 'delete', 1),
        ('public.letter', 'anonymise', 1), ('public.invoice', 'retain: law', 1), ('keys', 'destroy', 1)$$, 'the review says what would go, in order, and what a law retains');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok(format('SELECT immiiq.start_erasure(%L)', :'request'), '55000', NULL, 'before its date nothing goes');
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT is_empty('SELECT * FROM immiiq.erasure', 'another organisation does not see the request');
SELECT throws_ok(format('SELECT immiiq.schedule_erasure(%L, now())', :'request'), 'P0002', NULL, 'nor can it give it another date');
SELECT throws_ok(format('SELECT immiiq.cancel_erasure(%L, %L)', :'request', 'r'), 'P0002', NULL, 'nor take it back');
SELECT throws_ok(format('SELECT * FROM immiiq.review_erasure(%L)', :'request'), 'P0002', NULL, 'nor review it');
SELECT throws_ok(format('SELECT immiiq.erasure_certificate(%L)', :'request'), 'P0002', NULL, 'nor read its certificate');
COMMIT;

---- A hold outranks it

BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT immiiq.place_hold(:'one', 'regulator') AS hold \gset
SELECT immiiq.schedule_erasure(:'request', now()) AS ignored \gset
COMMIT;
-- Due, and nobody but operators and the worker carries it out: whoever the application acts for, it learns neither organisation nor hold.
SELECT throws_ok(format(s, :'request', :'alpha'), '42501', NULL, 'without an identity: ' || s)
FROM unnest(ARRAY['SELECT immiiq.start_erasure(%1$L)', 'SELECT immiiq.step_erasure(%2$L, %1$L)', 'CALL immiiq.execute_erasure(%1$L)']) AS s;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT throws_ok(format(s, :'request', :'alpha'), '42501', NULL, 'as a member of another organisation: ' || s)
FROM unnest(ARRAY['SELECT immiiq.start_erasure(%1$L)', 'SELECT immiiq.step_erasure(%2$L, %1$L)', 'CALL immiiq.execute_erasure(%1$L)']) AS s;
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_lead_token') \gset
SELECT throws_ok(format(s, :'request', :'alpha'), '42501', NULL, 'as a member without the permission: ' || s)
FROM unnest(ARRAY['SELECT immiiq.start_erasure(%1$L)', 'SELECT immiiq.step_erasure(%2$L, %1$L)', 'CALL immiiq.execute_erasure(%1$L)', 'SELECT immiiq.schedule_erasure(%1$L, now())']) AS s;
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT is(immiiq.start_erasure(:'request'), :'alpha'::uuid, 'an operator begins with one that is due');
SELECT is(immiiq.step_erasure(:'alpha', :'request'), 'held', 'an erasure that is due waits for a hold');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM visit WHERE client_id = :'one'), 6::bigint, 'nothing is gone');
SELECT is((SELECT count(*) FROM immiiq.denial WHERE action = 'erase' AND org_id = :'alpha'), 1::bigint, 'the attempt is written down');

---- A matter's hold: the rest goes

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT immiiq.place_matter_hold(:'case_a', 'court') AS matter_hold \gset
SELECT immiiq.release_hold(:'hold', 'settled') AS ignored \gset
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT count(*) AS verified_before FROM immiiq.verify_audit() \gset

CREATE PROCEDURE until_done(org uuid, request uuid) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN (SELECT e.phase IN ('done', 'held') AND NOT (e.phase = 'done' AND immiiq.erasure_is_due()) FROM immiiq.erasure AS e WHERE e.erasure_id = request);
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END
$$;
CALL until_done(:'alpha', :'request');
SELECT is((SELECT phase FROM immiiq.erasure WHERE erasure_id = :'request'), 'done', 'the release lets it go on: the worker carries it out');
SELECT is((SELECT array_agg(visit_id ORDER BY visit_id) FROM visit WHERE client_id = :'one'), '{2,4,6}', 'rows of the held matter stay, the others of the client are gone');
SELECT is((SELECT count(*) FROM remark WHERE client_id = :'one'), 0::bigint, 'so are rows that belong to no matter');
SELECT is((SELECT count(*) FROM client WHERE client_id = :'one' AND org_id = :'alpha'), 1::bigint, 'a row to which a held one refers stays');
SELECT results_eq(format('SELECT item, reason FROM immiiq.erasure_retained((SELECT e FROM immiiq.erasure AS e WHERE e.erasure_id = %L)) WHERE item LIKE %L ORDER BY 1, 2', :'request', 'public.%'),
    $$VALUES ('public.client', 'hold'), ('public.invoice', 'law'), ('public.letter', 'anonymised'), ('public.visit', 'hold')$$, 'what stays, and why');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq('SELECT invoice_id FROM invoice WHERE client_id IS NOT NULL ORDER BY 1', '{1,3}'::int[], 'a retained row stays as long as the law says, an older one is gone');
SELECT results_eq(format('SELECT body::text, town FROM letter WHERE client_id = %L', :'one'), $$VALUES (NULL, '[erased]')$$, 'an anonymised row says nothing');
SELECT results_eq(format('SELECT DISTINCT new_row IS NOT NULL FROM immiiq.audit_log WHERE table_name = %L AND key ->> %L IN (%L, %L, %L)', 'visit', 'visit_id', '2', '4', '6'), '{true}'::boolean[], 'the log of the held matter stays readable');
SELECT is_empty(format('SELECT * FROM immiiq.audit_log WHERE client_id = %L', :'one'), 'no entry opens under the client''s key');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'visit' AND operation = 'insert' AND new_row IS NULL), 3::bigint, 'images of the others open for nobody');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'remark' AND operation = 'delete' AND old_row IS NULL), 6::bigint, 'nor do those of their deletion');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'visit' AND new_row ->> 'passport' = 'P8'), 1::bigint, 'another client''s log is as it was');
SELECT is((SELECT (certificate::json)::text FROM (SELECT split_part(immiiq.erasure_certificate(:'request'), E'\n', 1) AS certificate) AS c) IS NOT NULL, true, 'the certificate''s first line is JSON');
SELECT split_part(immiiq.erasure_certificate(:'request'), E'\n', 1) AS certificate, immiiq.erasure_certificate(:'request') AS signed \gset
SELECT is(:'certificate'::jsonb -> 'rows' -> 'public.remark' ->> 'deleted', '6', 'it counts rows');
SELECT is(jsonb_array_length(:'certificate'::jsonb -> 'key_commitments'), 1, 'commits to the key that is gone');
SELECT is((SELECT (r ->> 'rows')::int FROM jsonb_array_elements(:'certificate'::jsonb -> 'retained') AS r WHERE r ->> 'item' = 'immiiq.leaf'), 27,
    'and the entries of the log that stay, which nobody can open');
SELECT ok(:'certificate'::jsonb -> 'retained' @> '[{"item": "public.invoice", "rows": 1, "basis": "tax law, 7 years", "reason": "law"}]', 'says by which law something stays');
SELECT ok((:'certificate'::jsonb ->> 'log_head_before') LIKE 'immiiq/%' AND (:'certificate'::jsonb ->> 'log_head_after') LIKE 'immiiq/%'
    AND :'certificate'::jsonb ->> 'log_head_before' <> :'certificate'::jsonb ->> 'log_head_after', 'names the log''s head before and after');
SELECT ok(:'certificate'::jsonb -> 'pages_in_clear' @> '[{"table": "public.remark", "remedy": "VACUUM FULL public.remark"}]', 'names tables whose pages keep values in clear, and the remedy');
SELECT is((:'certificate'::jsonb ->> 'backups_unreadable_by')::timestamptz - (:'certificate'::jsonb ->> 'erased_at')::timestamptz, interval '90 days', 'and when backups are unreadable');
SELECT ok(:'certificate'::text NOT LIKE '%CANARY%', 'and holds nothing of what was erased');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT ok(immiiq.verify_certificate(:'signed'), 'the certificate verifies');
SELECT ok(NOT immiiq.verify_certificate(replace(:'signed', '"deleted": 6', '"deleted": 7')), 'a changed one does not');
SELECT ok(NOT immiiq.verify_certificate(''), 'nor an empty one');
SELECT matches(immiiq.certificate_key(), E'^-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA', 'its key is there for openssl');
SELECT throws_ok(format('SELECT immiiq.erasure_certificate(%L)', :'request'), 'IQ011', NULL, 'a certificate is for members alone');
RESET SESSION AUTHORIZATION;
SELECT is_empty('SELECT * FROM immiiq.verify_audit() WHERE severity = $$error$$', 'the log of everybody, and of the erased, verifies');
SELECT is((SELECT count(*) FROM immiiq.subject_key WHERE client_id = :'one' AND org_id = :'alpha'), 0::bigint, 'the client has no key');
SELECT is((SELECT count(*) FROM immiiq.erasure_ledger WHERE org_id = :'alpha' AND kind = 'erase'), 1::bigint, 'the ledger has it');
SELECT is((SELECT count(*) FROM pg_statistic WHERE starelid = 'remark'::regclass AND stavalues1::text LIKE '%c1000000-0000-4000-8000-000000000001%'), 0::bigint, 'the planner''s statistics know nothing of the client');

---- The matter is released: what waited goes, and the log with it

SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT immiiq.release_hold(:'matter_hold', 'judgment') AS ignored \gset
COMMIT;
RESET SESSION AUTHORIZATION;
CALL until_done(:'alpha', :'request');
SELECT is((SELECT count(*) FROM visit WHERE client_id = :'one') + (SELECT count(*) FROM client WHERE client_id = :'one' AND org_id = :'alpha'), 0::bigint, 'released, the rest goes');
SELECT is((SELECT count(*) FROM immiiq.kept_entry), 0::bigint, 'with what kept its log readable');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is_empty(format('SELECT * FROM immiiq.audit_log WHERE table_name = %L AND (old_row ->> %L = %L OR new_row ->> %L = %L)', 'visit', 'client_id', :'one', 'client_id', :'one'), 'no image of the client opens');
COMMIT;
SELECT is((SELECT count(*) FROM client WHERE org_id = :'beta'), 1::bigint, 'a client of the same id elsewhere is as before');
SELECT is(immiiq.record_verification(), 0::bigint, 'and the log verifies');
SELECT matches((SELECT status || ': ' || evidence FROM immiiq.posture_control WHERE control = 'verified'), '^holds: .*: 0 errors, [1-9][0-9]* warnings, such as: .*key', 'a key that was destroyed is no broken promise');

---- Twice, and in between

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT immiiq.request_erasure(:'one', 'again', '0') AS again \gset
SELECT isnt(:'again'::text, :'request', 'who was erased can be erased again');
SELECT immiiq.request_erasure(:'two', 'mistake') AS taken_back \gset
SELECT lives_ok(format('SELECT immiiq.cancel_erasure(%L, %L)', :'taken_back', 'not meant'), 'a request can be taken back before it begins');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok(format('SELECT immiiq.start_erasure(%L)', :'taken_back'), 'P0002', NULL, 'then it is not carried out');
CALL immiiq.execute_erasure(:'again');
RESET SESSION AUTHORIZATION;
SELECT results_eq(format('SELECT phase, counts, cardinality(commitments) FROM immiiq.erasure WHERE erasure_id = %L', :'again'), $$VALUES ('done', '{}'::jsonb, 0)$$, 'by hand, and harmless: nothing was left');
SELECT is((SELECT count(*) FROM visit WHERE client_id = :'two'), 4::bigint, 'nobody else lost a row');
UPDATE immiiq.erasure SET rotate_by = now() WHERE erasure_id = :'request';
DO $$
BEGIN
    FOR i IN 1..1500 LOOP
        EXIT WHEN EXISTS (SELECT FROM immiiq.erasure WHERE rotated_at IS NOT NULL) AND NOT EXISTS (SELECT FROM immiiq.rekey);
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END
$$;
SELECT is((SELECT count(*) FROM immiiq.erasure WHERE rotated_at IS NULL AND erased_at IS NOT NULL), 0::bigint, 'erasures share the rotation that they have scheduled');
SELECT ok((SELECT min(version) > 1 FROM immiiq.wrapped_key WHERE org_id = :'alpha' AND purpose IN ('data', 'index', 'subject')), 'earlier data keys, index secrets and subject-wrapping keys are gone');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'visit' AND new_row ->> 'passport' = 'P8'), 1::bigint, 'another client''s log opens under the new one');
SELECT results_eq(format('SELECT name::text FROM client WHERE org_id = %L ORDER BY 1', :'alpha'), $$VALUES ('Name 2'), ('Name 3')$$, 'and values do');
COMMIT;

---- Retention

SELECT throws_ok($$INSERT INTO immiiq.retention_rule (target, from_column, period, action) VALUES ('invoice', 'amount', '1 year', 'delete')$$, '42703', NULL, 'retention counts from a date in clear');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO invoice SELECT :'alpha', 100 + i, CASE WHEN i <= 2 THEN :'two' ELSE :'three' END::uuid, 'old', i, current_date - 800 FROM generate_series(1, 5) AS i;
SELECT immiiq.place_hold(:'two', 'court') AS two_hold \gset
COMMIT;
BEGIN;
INSERT INTO immiiq.retention_rule (target, from_column, period, action, basis, batch) VALUES ('invoice', 'issued', '2 years', 'delete', 'policy', 2);
SELECT results_eq('SELECT rows, held FROM immiiq.review_retention()', 'VALUES (3::bigint, 2::bigint)', 'a dry run says what would go, and what a hold keeps');
COMMIT;
DO $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN EXISTS (SELECT FROM immiiq.retention_run WHERE finished_at IS NOT NULL);
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END
$$;
SELECT results_eq('SELECT batches, rows, held, problem FROM immiiq.retention_run', 'VALUES (2, 3::bigint, 2::bigint, NULL::text)', 'the worker takes them in batches; what is held stays, and is counted');
SELECT is((SELECT array_agg(invoice_id ORDER BY invoice_id) FROM invoice WHERE invoice_id > 100), '{101,102}', 'held rows are there');
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SELECT * FROM immiiq.review_retention()', '42501', NULL, 'retention is not the application''s');
RESET SESSION AUTHORIZATION;

---- Closing an organisation

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_lead_token') \gset
SELECT throws_ok($$SELECT immiiq.request_closure('r')$$, '42501', NULL, 'a member without the permission close does not close an organisation');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT immiiq.request_closure('contract ended', '0') AS closing \gset
SELECT is((SELECT count(*) FROM immiiq.review_erasure(:'closing') WHERE item = 'immiiq.export_org()'), 1::bigint, 'an export is offered');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok(format('SELECT immiiq.start_erasure(%L)', :'closing'), '55000', NULL, 'without confirmation nothing goes');
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT lives_ok(format('SELECT immiiq.confirm_closure(%L)', :'closing'), 'who may close confirms it');
COMMIT;
RESET SESSION AUTHORIZATION;
CALL until_done(:'beta', :'closing');
SELECT is((SELECT phase || coalesce(problem, '') FROM immiiq.erasure WHERE erasure_id = :'closing'), 'done', 'the organisation is closed');
SELECT ok(immiiq.verify_certificate((SELECT certificate FROM immiiq.erasure WHERE erasure_id = :'closing')), 'its certificate verifies');
SELECT is((SELECT count(*) FROM client WHERE org_id = :'beta') + (SELECT count(*) FROM immiiq.wrapped_key WHERE org_id = :'beta')
    + (SELECT count(*) FROM immiiq.subject_key WHERE org_id = :'beta'), 0::bigint, 'its rows and its keys are gone');
SELECT results_eq(format('SELECT DISTINCT name FROM immiiq.member WHERE org_id = %L', :'beta'), $$VALUES ('closed')$$, 'its people have no names');
SELECT is((SELECT count(*) FROM visit WHERE org_id = :'alpha'), 4::bigint, 'another organisation is as before');
SELECT is_empty('SELECT * FROM immiiq.verify_audit() WHERE severity = $$error$$', 'the log verifies');

---- Backups and epochs

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$SELECT immiiq.clear_root('test', 'postgres')$$, '42501', NULL, 'the application clears no root key');
SELECT throws_ok('SELECT * FROM immiiq.root_epoch', '42501', NULL, 'nor does it read epochs');
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok($$SELECT immiiq.clear_root('none', 'postgres')$$, 'P0002', NULL, 'what is no root key needs no clearance');
SELECT is((SELECT count(*) FROM immiiq.root_epoch WHERE is_current AND NOT retirable), 1::bigint, 'the current root key is never named');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM pg_attribute WHERE attrelid IN ('immiiq.wrapped_key'::regclass, 'immiiq.subject_key'::regclass) AND attname = 'wrapped' AND attstattarget IS DISTINCT FROM 0), 0::bigint,
    'the planner keeps no statistics of keys');
SELECT is((SELECT count(*) FROM immiiq.export_erasures() AS l WHERE (l::jsonb ->> 'hash') = encode(sha256(convert_to(regexp_replace(l, ',"hash":"[0-9a-f]+","signature":"[^"]+"}$', '}'), 'UTF8')), 'hex')
    AND immiiq.verify_ed25519(immiiq.sign_off_key(), convert_to(regexp_replace(l, ',"hash":"[0-9a-f]+","signature":"[^"]+"}$', '}'), 'UTF8'), decode(l::jsonb ->> 'signature', 'base64'))),
    (SELECT count(*) FROM immiiq.erasure_ledger), 'every line of the ledger has its hash and a signature that verifies');

SELECT * FROM finish();
