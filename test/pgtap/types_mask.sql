-- Masks: immiiq.output narrows a session, immiiq.require_reveal everybody without the permission.
\i test/pgtap/setup.psql
SELECT plan(25);
CREATE TABLE vault (id int, org_id uuid NOT NULL DEFAULT immiiq.current_org(), card enc_text(1,equality,match), n enc_int8(2,equality), d enc_date(3,equality),
    x enc_numeric(4,sealed), j enc_jsonb(5,contains), b enc_bytea(6,sealed), z enc_timestamptz(7,sealed), many enc_text(8,sealed)[]);
GRANT ALL ON vault TO regress_immiiq_app;
CREATE FUNCTION sees() RETURNS text LANGUAGE sql STABLE AS 'SELECT format(''%s|%s|%s|%s|%s|%s|%s|%s'', card, n, d, x, j, b, z, many) FROM vault WHERE id = 1';
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
INSERT INTO vault (id, card, n, d, x, j, b, z, many) VALUES (1, '4111 1111 1111 1234', 987654321, '2001-02-03', 1.5, '{"a": 1}', '\x00ff', '2001-02-03 00:00+00', '{short,Zürich-Höngg}'),
    (2, 'ab', 7, NULL, NULL, NULL, NULL, NULL, NULL), (3, '', -1, NULL, NULL, NULL, NULL, NULL, NULL);
SET LOCAL immiiq.output = 'mask';
SELECT is(sees(), '***1234|***321|***|***|***|***|***|{***t,***öngg}', 'a masked session sees the last characters');
SELECT is((SELECT array_agg(card::text ORDER BY id) FROM vault), '{***1234,***,***}', 'of short values nothing');
SELECT is((SELECT array_agg(row_to_json(v)->>'card' ORDER BY id) FROM vault v), '{***1234,***,***}', 'in json too');
SELECT is((SELECT card::varchar || to_json(card)::text || concat(card) FROM vault WHERE id = 1), '***1234"***1234"***1234', 'by every way out');
SELECT is(convert_from(enc_text_send(card), 'UTF8') || convert_from(enc_date_send(d), 'UTF8'), '***1234***', 'in binary form too') FROM vault WHERE id = 1;
SELECT throws_ok(format('SELECT %s FROM vault WHERE id = 1', expression), '42501', NULL, expression || ' cannot be masked')
FROM unnest(ARRAY['n::int8', 'd::date', 'x::numeric', 'j::jsonb', 'b::bytea', 'z::timestamptz']) AS expression;
SELECT is((SELECT id FROM vault WHERE card LIKE '%1111%' AND n = 987654321), 1, 'search answers as ever');
SELECT is('plain'::enc_text::text, 'plain', 'what was never sealed is the session''s own');
UPDATE vault SET card = card WHERE id = 1;
SET LOCAL immiiq.output = 'envelope';
SELECT ok((SELECT bool_and(part LIKE 'iq1:%') FROM vault, unnest(ARRAY[card::text, n::text, d::text]) AS part WHERE id = 1), 'a session that wants armour gets it');
SELECT throws_ok('SELECT d::date FROM vault WHERE id = 1', '42501', NULL, 'and casts nothing');
SET LOCAL immiiq.output = 'auto';
SELECT ok(sees() LIKE '4111 1111 1111 1234|987654321|2001-02-03|1.5|%', 'and plaintext again; what was moved while masked is whole');
SELECT throws_ok('SET immiiq.require_reveal = off', '42501', NULL, 'the other setting is not the application''s');
SELECT throws_ok('SET immiiq.output = plain', '22023', NULL, 'there is no other output');
COMMIT;

-- ---- the permission ----
RESET SESSION AUTHORIZATION;
SET immiiq.require_reveal = on;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE immiiq.member SET permissions = '{reveal}' WHERE member_id = :'alpha_lead';
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT ok(sees() LIKE '***1234|***321|***|%', 'a member without reveal sees masks');
SET LOCAL immiiq.output = 'auto';
SELECT ok(sees() LIKE '***1234|%', 'whatever the session asks for');
SELECT throws_ok('SELECT d::date FROM vault WHERE id = 1', '42501', NULL, 'and casts nothing');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_lead_token', true) \gset
SELECT ok(sees() LIKE '4111 1111 1111 1234|987654321|2001-02-03|%', 'a member with it sees plaintext');
SELECT immiiq.act_as_assistant('test') \gset ignored_
SELECT ok(sees() LIKE '4111 1111 1111 1234|%', 'and so does their assistant, within what assistants may read');
COMMIT;
SELECT ok(sees() LIKE 'iq1:%', 'nobody sees armour, as ever');
RESET SESSION AUTHORIZATION;
GRANT ALL ON vault TO regress_immiiq_operator;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT ok(sees() LIKE '4111 1111 1111 1234|%', 'operators see whole values');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
