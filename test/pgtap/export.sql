-- Exports: who may, what is in them, that the manifest says so; who has seen a client; whose records were touched.
\i test/pgtap/setup.psql
SELECT plan(79);

\set zoe  '11111111-1111-4111-8111-111111111111'
\set max  '22222222-2222-4222-8222-222222222222'
\set bea  '33333333-3333-4333-8333-333333333333'
CREATE TABLE client (org_id uuid, client_id uuid DEFAULT gen_random_uuid(), team_id uuid, name enc_text(equality, fold), born enc_date(equality),
    income enc_numeric(sealed), notes enc_jsonb(sealed), tags text[], meta json, vip boolean, score numeric, mother text, memo text, PRIMARY KEY (org_id, client_id));
CREATE TABLE "we/ird ""t" (org_id uuid, id uuid DEFAULT gen_random_uuid(), client_id uuid, "a b" text, PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, client_id) REFERENCES client);
CREATE TABLE message (org_id uuid, id uuid DEFAULT gen_random_uuid(), client_id uuid, sent date, body enc_text(sealed), PRIMARY KEY (org_id, id, sent)) PARTITION BY RANGE (sent);
CREATE TABLE message_2026 PARTITION OF message FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE price (org_id uuid, id uuid DEFAULT gen_random_uuid(), amount numeric, PRIMARY KEY (org_id, id));
SELECT immiiq.protect('client', 'clients', client => 'client_id', team => 'team_id'), immiiq.protect('"we/ird ""t"', 'cases', client => 'client_id'),
       immiiq.protect('message', 'communications', client => 'client_id'), immiiq.protect('price', 'billing') \gset ignored_
GRANT SELECT, INSERT, UPDATE, DELETE ON client, "we/ird ""t", message, price TO regress_immiiq_app, regress_immiiq_operator;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test data') \gset
INSERT INTO client (org_id, client_id, team_id, name, born, income, notes, tags, meta, vip, score, mother, memo) VALUES
    (:'alpha', :'zoe', :'alpha_north', E'Zoë "Q"\nNuñez, \\', '1990-04-01', '12.50', '{"a": [1]}', '{a,"b c"}', E'{"x":\n1}', true, 'NaN', 'Ana', 'memo of ours'),
    (:'alpha', :'max', NULL, 'Max', NULL, NULL, NULL, NULL, NULL, NULL, 1.5, NULL, '');
INSERT INTO "we/ird ""t" (org_id, client_id, "a b") VALUES (:'alpha', :'zoe', ''), (:'alpha', :'max', NULL);
INSERT INTO message (org_id, client_id, sent, body) VALUES (:'alpha', :'zoe', '2026-05-01', 'hello');
INSERT INTO price (org_id, amount) VALUES (:'alpha', 3);
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'test data') \gset
INSERT INTO client (org_id, client_id, name, memo) VALUES (:'beta', :'bea', 'CANARY Bea', 'CANARY');
COMMIT;
RESET SESSION AUTHORIZATION;

-- ---- rules ----
SELECT is_empty($$SELECT relation, column_name FROM immiiq.export_column WHERE rule IS NULL AND relation::text LIKE 'immiiq.%'$$, 'every column of immiiq''s own tables is classified');
SELECT throws_ok($$INSERT INTO immiiq.export_rule (target, "column", rule) VALUES ('client', 'nome', 'export')$$, '42703', NULL, 'a rule for no column');
SELECT throws_ok($$INSERT INTO immiiq.export_rule (target, "column", rule) VALUES ('client', 'memo', 'omit')$$, '23514', NULL, 'to omit takes a reason');
SELECT throws_ok($$INSERT INTO immiiq.export_rule (target, "column", rule, reason) VALUES ('client', 'memo', 'hide', 'x')$$, '23514', NULL, 'no other rule');
UPDATE immiiq.member SET permissions = '{export}' WHERE member_id IN (:'alpha_owner', :'alpha_lead', :'alpha_idle', :'beta_owner');
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT throws_like($$SELECT immiiq.export_org()$$, 'not classified for export: %public.client.org_id, public.client.client_id%', 'a column without a rule fails, with its name');
ROLLBACK;
RESET SESSION AUTHORIZATION;
INSERT INTO immiiq.export_rule (target, "column", rule, reason)
SELECT c.relation, c.column_name, CASE c.column_name WHEN 'mother' THEN 'redact' WHEN 'memo' THEN 'omit' ELSE 'export' END,
       CASE c.column_name WHEN 'mother' THEN 'another person' WHEN 'memo' THEN 'privileged' END
FROM immiiq.export_column AS c WHERE c.rule IS NULL AND NOT (c.relation = 'price'::regclass AND c.column_name = 'amount');
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT lives_ok(format('SELECT immiiq.export_client(%L)', :'zoe'), 'a column of a table without clients does not matter to a client''s export');
SELECT throws_ok($$SELECT immiiq.export_org()$$, '55000', 'not classified for export: public.price.amount', 'it does to the organisation''s');
ROLLBACK;
RESET SESSION AUTHORIZATION;
INSERT INTO immiiq.export_rule (target, "column", rule) VALUES ('price', 'amount', 'export');
CALL immiiq.seal();

-- ---- who may ----
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok(format('SELECT immiiq.export_client(%L)', :'zoe'), 'IQ011', NULL, 'nobody is active');
SELECT throws_ok($$SELECT immiiq.export_files()$$, 'IQ011', NULL, 'nobody is active: not even the names of files');
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_lead_token') \gset
SELECT throws_ok(format('SELECT immiiq.export_client(%L)', :'zoe'), '42501', 'permission denied to export', 'scope team, with the permission');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_idle_token') \gset
SELECT throws_ok(format('SELECT immiiq.export_client(%L)', :'zoe'), '42501', 'permission denied to export', 'scope all without the module reports');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token') \gset
SELECT throws_ok($$SELECT immiiq.export_org()$$, '42501', 'permission denied to export', 'scope assigned');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT FROM immiiq.act_as_assistant('tool') \gset
SELECT throws_ok($$SELECT immiiq.export_org()$$, '42501', 'permission denied to export', 'the assistant');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SET LOCAL immiiq.output = 'mask';
SELECT throws_ok($$SELECT immiiq.export_org()$$, '55000', NULL, 'a session that shows masks gets no export of masks');
ROLLBACK;
RESET SESSION AUTHORIZATION;
UPDATE immiiq.member SET permissions = '{}' WHERE member_id = :'alpha_owner';
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT throws_ok($$SELECT immiiq.export_org()$$, '42501', 'permission denied to export', 'without the permission');
ROLLBACK;
RESET SESSION AUTHORIZATION;
UPDATE immiiq.member SET permissions = '{export}' WHERE member_id = :'alpha_owner';
SET immiiq.require_reveal = on;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT throws_ok($$SELECT immiiq.export_org()$$, '42501', 'permission denied to export', 'who would be shown masks');
ROLLBACK;
RESET SESSION AUTHORIZATION;
RESET immiiq.require_reveal;
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT throws_ok($$SELECT immiiq.export_org()$$, '42501', NULL, 'an auditor');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT gen_random_uuid() AS guest \gset
SELECT verdict AS ignored FROM immiiq.issue_portal_link(:'guest', 'guest@example.org') \gset
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_mailer;
SELECT token AS portal_link FROM immiiq.take_outbox() WHERE kind = 'portal' \gset
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT session_token AS portal_token FROM immiiq.redeem_portal_link(:'portal_link') \gset
BEGIN;
SELECT FROM immiiq.authenticate(:'portal_token') \gset
SELECT throws_ok(format('SELECT immiiq.export_client(%L)', :'guest'), '42501', 'permission denied to export', 'a client in the portal, of themselves even');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'portal_token') \gset
SELECT throws_ok('SELECT immiiq.export_org()', '42501', 'permission denied to export', 'nor of the organisation');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$SELECT * FROM immiiq.export_plan(NULL, 'csv')$$, '42501', NULL, 'the plan is not for the application');
SELECT throws_ok($$SELECT immiiq.export_signature('{}')$$, '42501', NULL, 'nor is the signature');
SELECT throws_ok($$SELECT immiiq.export_manifest(NULL, 'csv', '[]', NULL)$$, '42501', NULL, 'nor the manifest');
SELECT throws_ok($$SELECT immiiq.export_done(NULL, 'csv', 'x')$$, '42501', NULL, 'nor what is done');
SELECT throws_ok($$SELECT * FROM immiiq.export_begin(NULL, 'csv', NULL, NULL)$$, '42501', NULL, 'nor the beginning');
SELECT throws_ok($$SELECT * FROM immiiq.export_rule$$, '42501', NULL, 'nor the rules');

-- ---- a client ----
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
CREATE TEMP TABLE got ON COMMIT DROP AS
    SELECT (l).path, (l).line, row_number() OVER () AS n FROM (SELECT immiiq.export_client(:'zoe') AS l OFFSET 0) AS s;
SELECT is((SELECT count(*) FROM got WHERE path = 'tables/public.client.jsonl'), 1::bigint, 'one client');
SELECT is((SELECT line FROM got WHERE path = 'tables/public.client.jsonl'), format('{"org_id":"%s","client_id":"%s","team_id":"%s","name":"Zoë \"Q\"\nNuñez, \\","born":"1990-04-01","income":12.50,"notes":{"a": [1]},"tags":["a","b c"],"meta":{"x": 1},"vip":true,"score":"NaN","mother":"[redacted]"}',
    :'alpha', :'zoe', :'alpha_north'), 'sealed values in clear, types of JSON, the third party redacted, the memo not there');
SELECT is((SELECT line::jsonb ->> 'body' FROM got WHERE path = 'tables/public.message.jsonl'), 'hello', 'a partitioned table, once');
SELECT is((SELECT count(*) FROM got WHERE path = 'tables/public.we%2fird%20%22t.jsonl'), 1::bigint, 'a name that is no path');
SELECT is_empty($$SELECT FROM got WHERE path LIKE '%price%' OR line ~ 'CANARY|memo of ours|Ana"'$$, 'nothing else');
SELECT ok((SELECT bool_and(line::jsonb IS NOT NULL) FROM got WHERE path LIKE '%.jsonl'), 'every line is JSON');
SELECT is((SELECT line::jsonb -> 'new_row' ->> 'mother' FROM got WHERE path = 'audit.jsonl' AND line::jsonb ->> 'table_name' = 'client'), '[redacted]', 'the log''s images are redacted, too');
SELECT ok((SELECT count(*) FROM got WHERE path = 'audit.jsonl') >= 3, 'the log is there');
CREATE TEMP TABLE manifest ON COMMIT DROP AS SELECT string_agg(line, E'\n' ORDER BY n)::jsonb AS m, string_agg(line, E'\n' ORDER BY n) || E'\n' AS bytes FROM got WHERE path = 'manifest.json';
SELECT is((SELECT m ->> 'kind' FROM manifest), 'client', 'the manifest says what it is');
SELECT ok((SELECT (m -> 'consistent')::boolean AND jsonb_array_length(m -> 'snapshots') = 1 FROM manifest), 'one snapshot, by name');
SELECT is((SELECT jsonb_object_agg(f ->> 'path', f - 'columns' - 'snapshot') FROM manifest, jsonb_array_elements(m -> 'files') AS f),
    (SELECT jsonb_object_agg(x.path, to_jsonb(x)) FROM (SELECT p.path, count(g.path) AS records, encode(sha256(coalesce(string_agg(convert_to(g.line || E'\n', 'UTF8'), '' ORDER BY g.n), '')), 'hex') AS sha256,
            coalesce(sum(octet_length(g.line) + 1), 0) AS bytes
        FROM immiiq.export_files(:'zoe') AS p LEFT JOIN got AS g USING (path) WHERE p.path NOT LIKE 'manifest%' GROUP BY p.path) AS x),
    'counts, sizes and hashes of every file');
SELECT ok((SELECT m -> 'not_exported' @> '[{"table": "public.client", "column": "memo", "rule": "omit", "reason": "privileged"}, {"column": "mother", "rule": "redact"}]' FROM manifest),
    'what is left out, and why');
SELECT ok((SELECT m -> 'organisation_wide' ? 'public.price' FROM manifest), 'tables that know no clients');
SELECT ok((SELECT immiiq.verify_ed25519(substr(decode(split_part(immiiq.statement_key(), E'\n', 2), 'base64'), 13), convert_to(m.bytes, 'UTF8'), decode(g.line, 'base64'))
           FROM manifest AS m, got AS g WHERE g.path = 'manifest.json.sig'), 'the signature holds');
SELECT ok(NOT (SELECT immiiq.verify_ed25519(substr(decode(split_part(immiiq.statement_key(), E'\n', 2), 'base64'), 13), convert_to(replace(m.bytes, '"records": 1', '"records": 2'), 'UTF8'), decode(g.line, 'base64'))
           FROM manifest AS m, got AS g WHERE g.path = 'manifest.json.sig'), 'and not over other counts');
SELECT is((SELECT count(*) FROM pg_cursors WHERE name !~ 'portal'), 0::bigint, 'no cursor that SQL could read is left or was there');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is((SELECT sum((f ->> 'records')::int) FROM (SELECT string_agg((l).line, E'\n')::jsonb AS m FROM (SELECT immiiq.export_client(:'bea') AS l OFFSET 0) AS s WHERE (l).path = 'manifest.json') AS x,
    jsonb_array_elements(m -> 'files') AS f WHERE f ->> 'path' <> 'access.jsonl'), 0::bigint, 'of another organisation''s client nothing');
SELECT is_empty(format('SELECT FROM (SELECT immiiq.export_client(%L) AS l OFFSET 0) AS s WHERE (l).line ~ ''CANARY''', :'bea'), 'not a word');
SELECT is((SELECT string_agg((l).line, '|') FROM (SELECT immiiq.export_client(:'zoe', 'csv', '{tables/public.client.csv}') AS l OFFSET 0) AS s),
    format(E'org_id,client_id,team_id,name,born,income,notes,tags,meta,vip,score,mother|%s,%s,%s,"Zoë ""Q""\nNuñez, \\",1990-04-01,12.50,"{""a"": [1]}","{a,""b c""}","{""x"":\n1}",t,NaN,[redacted]',
    :'alpha', :'zoe', :'alpha_north'), 'CSV');
SELECT is((SELECT (l).line FROM (SELECT immiiq.export_client(:'max', 'csv', '{tables/public.client.csv}') AS l OFFSET 0) AS s OFFSET 1), format('%s,%s,,Max,,,,,,,1.5,', :'alpha', :'max'), 'nulls are empty in CSV');
SELECT is((SELECT count(*) FROM (SELECT immiiq.export_org() LIMIT 1) AS x), 1::bigint, 'an export may stop early');
SELECT throws_ok(format('SELECT immiiq.export_client(%L, ''xml'')', :'zoe'), '22023', NULL, 'no other format');
SELECT throws_ok($$SELECT immiiq.export_client(NULL)$$, '22004', NULL, 'no client is not every client');
SELECT throws_ok(format('SELECT immiiq.export_client(%L, files => ARRAY[%L])', :'zoe', 'tables/public.client.jsonl'' OR true --'), '22023', NULL, 'a file that is none');
ROLLBACK;

-- ---- file by file ----
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT throws_like(format('SELECT immiiq.export_client(%L, files => ''{manifest.json}'')', :'zoe'), 'export is not complete: tables/%', 'no manifest before all files are there');
SELECT is(immiiq.export_receipt('audit.jsonl', :'zoe'), NULL, 'no receipt for what was not exported');
SELECT count(*) AS ignored FROM (SELECT immiiq.export_client(:'zoe', files => (SELECT array_agg(f.path) FROM immiiq.export_files(:'zoe') AS f WHERE f.path NOT LIKE 'manifest%'))) AS x \gset
SELECT array_agg(immiiq.export_receipt(f.path, :'zoe')) AS receipts, array_agg(f.path) AS files FROM immiiq.export_files(:'zoe') AS f WHERE f.path NOT LIKE 'manifest%' \gset
SELECT isnt_empty(format('SELECT immiiq.export_client(%L, files => ''{manifest.json}'')', :'zoe'), 'afterwards there is one, in the same transaction');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT isnt_empty(format('SELECT immiiq.export_client(%L, files => ''{manifest.json}'', receipts => %L)', :'zoe', :'receipts'), 'and in a later one, from receipts');
SELECT throws_ok(format('SELECT immiiq.export_client(%L, files => ''{manifest.json}'', receipts => %L)', :'max', :'receipts'), '22023', 'receipt of a file is of another export', 'receipts of another client');
SELECT throws_ok(format('SELECT immiiq.export_org(files => ''{manifest.json}'', receipts => %L)', :'receipts'), '22023', 'receipt of a file is of another export', 'or of a client for the organisation');
SELECT throws_ok(format('SELECT immiiq.export_client(%L, ''csv'', ''{manifest.json}'', %L)', :'zoe', :'receipts'), '22023', 'receipt of a file is of another export', 'or of another format');
SELECT throws_ok(format('SELECT immiiq.export_client(%L, files => ''{manifest.json}'', receipts => %L)', :'zoe', replace(:'receipts', '\"records\": 1', '\"records\": 7')), '22023', 'receipt of a file is not of this database', 'or forged');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT throws_ok(format('SELECT immiiq.export_client(%L, files => ''{manifest.json}'', receipts => %L)', :'zoe', :'receipts'), '22023', 'receipt of a file is of another export', 'or of another organisation');
ROLLBACK;

-- ---- while it runs ----
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
DECLARE c CURSOR FOR SELECT immiiq.export_org(files => '{tables/public.client.jsonl}');
FETCH 1 FROM c \gset ignored_
SELECT is((SELECT count(*) FROM pg_cursors), 1::bigint, 'no cursor but one''s own');
INSERT INTO client (name) VALUES ('later');
MOVE ALL FROM c;
SELECT is((immiiq.export_receipt('tables/public.client.jsonl')::text LIKE '%"records": 2,%'), true, 'what is written meanwhile is not in it');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
DECLARE c CURSOR FOR SELECT immiiq.export_org();
FETCH 1 FROM c \gset ignored_
SELECT FROM immiiq.act_as_assistant('tool') \gset
SELECT throws_ok('FETCH ALL FROM c', '42501', 'permission denied to export', 'who began goes on: not the assistant');
ROLLBACK;

-- ---- on record ----
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT isnt_empty(format('SELECT FROM immiiq.export_log WHERE action = ''export_client'' AND object = ''client %s'' AND member_id = %L', :'max', :'alpha_owner'), 'an export that was rolled back is on record');
SELECT isnt_empty(format('SELECT FROM immiiq.denial WHERE sqlstate = ''42501'' AND member_id = %L', :'alpha_idle'), 'so is one that was refused');
SELECT is((SELECT array_agg(DISTINCT concat_ws(' ', source, certainty, action)) FROM immiiq.access_report(:'zoe')),
    '{change certain insert,export certain export_client,export certain export_org,field possible open}', 'who has seen a client''s data');
SELECT is_empty(format('SELECT FROM immiiq.access_report(%L) WHERE source = ''change''', :'bea'), 'not of another organisation''s');
SELECT throws_ok('SELECT * FROM immiiq.breach_report()', '22023', NULL, 'a breach report takes a question');
SELECT isnt_empty(format('SELECT FROM immiiq.breach_report(member => %L) WHERE client_id = %L AND source = ''export''', :'alpha_owner', :'zoe'), 'whose records a member has touched');
SELECT is_empty(format('SELECT FROM immiiq.breach_report(member => %L)', :'beta_owner'), 'not one of another organisation');
SELECT is_empty('SELECT FROM immiiq.breach_report(address => ''198.51.100.99'')', 'none by an address from which nobody came');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_lead_token') \gset
SELECT throws_ok(format('SELECT * FROM immiiq.access_report(%L)', :'zoe'), '42501', NULL, 'reports are for who may read the log');
SELECT throws_ok(format('SELECT * FROM immiiq.breach_report(member => %L)', :'alpha_owner'), '42501', NULL, 'that on breaches, too');
ROLLBACK;

RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
SELECT isnt_empty(format('SELECT FROM immiiq.audit_log WHERE table_name = ''export'' AND operation = ''event'' AND org_id = %L AND member_id = %L', :'alpha', :'alpha_owner'),
    'the log has exports as events');

-- ---- the organisation, by an operator ----
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT immiiq.set_secret('payments', 'CANARY of a secret') AS ignored \gset
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'leaves us') \gset
CREATE TEMP TABLE got ON COMMIT DROP AS SELECT (l).path, (l).line FROM (SELECT immiiq.export_org() AS l OFFSET 0) AS s;
SELECT is((SELECT line::jsonb ->> 'mother' FROM got WHERE path = 'tables/public.client.jsonl' AND line LIKE '%Zo%'), 'Ana', 'an organisation gets third parties whole');
SELECT is((SELECT line::jsonb ->> 'name' FROM got WHERE path = 'secrets.jsonl'), 'payments', 'secrets are listed');
SELECT is_empty($$SELECT FROM got WHERE line ~ 'CANARY|memo of ours' OR line LIKE '%' || encode('memo of ours', 'base64') || '%'$$, 'but nothing that is omitted, the log included, and nothing of others');
ROLLBACK;
RESET SESSION AUTHORIZATION;
-- by an address
RESET ROLE;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT session_id AS session FROM immiiq.authenticate(:'alpha_owner_token', '198.51.100.7', 'agent') \gset
INSERT INTO price (amount) VALUES (7);
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is((SELECT string_agg(source || ' ' || object || ' ' || records, ', ') FROM immiiq.breach_report(address => '198.51.100.7')), 'change public.price 1', 'what an address has touched');
SELECT is((SELECT string_agg(source || ' ' || object || ' ' || records, ', ') FROM immiiq.breach_report(address => '::ffff:198.51.100.7')), 'change public.price 1', 'however it is written');
SELECT isnt_empty(format($$SELECT FROM immiiq.breach_report(session => %L) WHERE source = 'change' AND object = 'public.price'$$, :'session'), 'what a session has touched');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT is_empty(format('SELECT FROM immiiq.breach_report(session => %L)', :'session'), 'no other organisation learns of it');
COMMIT;
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
