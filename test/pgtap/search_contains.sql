-- @> on sealed documents, which are read as text where they are rechecked: every document against every other, as jsonb says.
\i test/pgtap/setup.psql
SELECT plan(19);

CREATE TABLE vault (id int PRIMARY KEY, org_id uuid NOT NULL DEFAULT immiiq.current_org(), doc enc_jsonb(contains), plain jsonb, shut enc_jsonb(9));
CREATE INDEX vault_doc ON vault USING gin (doc);
CREATE TABLE wanted (id int PRIMARY KEY, doc jsonb);
GRANT ALL ON vault, wanted TO regress_immiiq_app;
INSERT INTO wanted SELECT row_number() OVER (), d::jsonb FROM unnest(ARRAY[
    'null', 'true', 'false', '0', '-0', '1', '1.0', '1.00', '-1', '10', '1e2', '100', '0.1', '123456789012345678901234567890', '1e-20', '1e100',
    '""', '"a"', '"1"', '"null"', '"a\"b"', '"a\\b"', '"a/b"', '"\b\f\n\r\t"', '"\u0001"', '"Zoë 🙂"', '"},{"', '"]"', '": "', '"\\\""',
    '[]', '[[]]', '[{}]', '[null]', '[1]', '[1, 1]', '[1, 2]', '[2, 1]', '["1"]', '["a"]', '[true]', '[[1]]', '[[1], [2]]', '[[1, 2]]', '[[1, 2], 3]', '[1, [2, [3, [4]]]]',
    '[[[4]]]', '[2, [3]]', '[{"a": 1}]', '[{"a": 1, "b": 2}]', '[{"a": 1}, {"b": 2}]', '[{"b": 2}, "a"]', '["},{", "]"]', '["\u0001", "\n"]',
    '{}', '{"a": 1}', '{"a": 1.0}', '{"a": "1"}', '{"a": null}', '{"a": []}', '{"a": {}}', '{"a": [1]}', '{"a": [1, 2]}', '{"a": {"a": 1}}', '{"a": {"b": 1}}',
    '{"a": {"a": {"a": 1}}}', '{"a": 1, "b": 2}', '{"b": 2, "a": 1}', '{"b": 2}', '{"aa": 1}', '{"": 1}', '{"\"": 1}', '{"\\": 1}', '{"\n": 1}', '{"\u0001": 1}',
    '{"a": [{"b": [1, 2, {"c": null}]}, 3]}', '{"a": [{"b": [{"c": null}]}]}', '{"a": [{"b": [{}]}]}', '{"a": [[]]}', '{"a": [3]}', '{"a": "},{"}', '{"},{": "a", "a": "x"}',
    '{"a": {"b": 1, "c": {"d": [1, "x"]}}, "z": false}', '{"a": {"c": {"d": ["x"]}}}', '{"a": {"c": {}}}', '{"a": {"c": []}}', '{"z": false}', '{"z": true}',
    '{"a": 123456789012345678901234567890.5, "b": 1e100}', '{"b": 1e100}']) AS d;
INSERT INTO wanted SELECT 1000 + i, jsonb_build_object('kind', 'k' || i % 3, 'owner', jsonb_build_object('id', i % 5, 'vip', i % 2 = 0), 'tags', jsonb_build_array(i % 3, 't' || i % 4))
FROM generate_series(1, 20) AS i;
INSERT INTO wanted SELECT 2000 + i, jsonb_build_object('owner', jsonb_build_object('id', i % 5 + 0.0), 'tags', jsonb_build_array('t' || i % 4)) FROM generate_series(1, 20) AS i;

CREATE FUNCTION holding(asked enc_jsonb) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RETURN (SELECT count(*) FROM vault WHERE doc @> asked); END$$;
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP plan := plan || line || chr(10); END LOOP;
    RETURN plan;
END $$;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
INSERT INTO vault (id, doc, plain, shut) SELECT id, doc, doc, doc FROM wanted;
SELECT results_eq(
    'SELECT v.id, w.id FROM vault v, wanted w WHERE v.doc @> w.doc ORDER BY 1, 2',
    'SELECT v.id, w.id FROM vault v, wanted w WHERE v.plain @> w.doc ORDER BY 1, 2', 'the same documents contain the same');
SELECT cmp_ok((SELECT count(*) FROM vault v, wanted w WHERE v.plain @> w.doc), '>', 300::bigint, 'and not few of them');
SELECT is((SELECT count(*) FROM vault WHERE doc @> '{"owner": {"id": 2.00}}'), 8::bigint, 'equal numbers are equal, whatever they are written like');
SELECT throws_ok('SELECT count(*) FROM vault WHERE doc @> ''{"a"''', '22P02', NULL, 'what is no document is refused as jsonb does');

-- A sealed value on the other side, of whatever column.
SELECT results_eq(
    'SELECT v.id, w.id FROM vault v, vault w WHERE v.doc @> w.shut AND w.id < 2000 ORDER BY 1, 2',
    'SELECT v.id, w.id FROM vault v, vault w WHERE v.plain @> w.plain AND w.id < 2000 ORDER BY 1, 2', 'a sealed document in a sealed document');
SELECT results_eq(
    'SELECT v.id, w.id FROM vault v, vault w WHERE w.doc <@ v.doc AND w.id < 2000 ORDER BY 1, 2',
    'SELECT v.id, w.id FROM vault v, vault w WHERE v.plain @> w.plain AND w.id < 2000 ORDER BY 1, 2', 'and the other way round');
SET LOCAL enable_seqscan = off;
SELECT matches(plan_of('SELECT id FROM vault WHERE doc @> (SELECT w.shut FROM vault w WHERE w.id = 2003)'), 'Bitmap Index Scan on vault_doc', 'an index serves it');
SELECT results_eq('SELECT id FROM vault WHERE doc @> (SELECT w.shut FROM vault w WHERE w.id = 2003) ORDER BY id',
    'SELECT id FROM vault WHERE plain @> (SELECT w.plain FROM vault w WHERE w.id = 2003) ORDER BY id', 'and finds the same');
RESET enable_seqscan;
SELECT is(holding('{"owner": {"id": 2.0}}'), 8::bigint, 'a parameter of the sealed type');
SELECT is((SELECT count(*) FROM vault WHERE doc @> '{"owner": {"id": 2}}'::enc_jsonb(contains)), 8::bigint, 'a literal that was sealed');
SELECT is((SELECT count(*) FROM vault WHERE doc @> ANY (ARRAY(SELECT w.shut FROM vault w WHERE w.id IN (2002, 2003)))),
    (SELECT count(*) FROM vault WHERE plain @> ANY (ARRAY(SELECT w.plain FROM vault w WHERE w.id IN (2002, 2003)))), 'a list of sealed documents');
SELECT throws_ok('SELECT count(*) FROM vault WHERE shut @> doc', 'IQ030', NULL, 'the column that contains needs the word');
SELECT throws_like('SELECT count(*) FROM vault WHERE doc <@ shut', '%column "shut"%', 'and is named');
SELECT results_eq($$SELECT id FROM vault WHERE doc <@ '{"a": [1, 2], "b": 2}' ORDER BY id$$, $$SELECT id FROM vault WHERE plain <@ '{"a": [1, 2], "b": 2}' ORDER BY id$$,
    'a literal in which the column is: what is looked for is the column, and nothing of it is known to the planner');
SELECT results_eq($$SELECT id FROM vault WHERE '[1, "a"]' @> doc ORDER BY id$$, $$SELECT id FROM vault WHERE '[1, "a"]' @> plain ORDER BY id$$, 'on the left as well');
SELECT is((SELECT count(*) FROM vault WHERE doc @> NULL::enc_jsonb), 0::bigint, 'nothing contains nothing known');
COMMIT;
SELECT throws_ok($$SELECT holding('{}')$$, 'IQ011', NULL, 'not while nobody is active');

-- What another organisation sealed is in no document, and is no error.
RESET SESSION AUTHORIZATION;
CREATE TABLE foreign_doc AS SELECT shut FROM vault WHERE id = 2003;
GRANT SELECT ON foreign_doc TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
INSERT INTO vault (id, doc) VALUES (9000, '{"owner": {"id": 3}, "tags": ["t3"]}');
SELECT is((SELECT count(*) FROM vault v, foreign_doc f WHERE v.doc @> f.shut), 0::bigint, 'another organisation''s document is in none');
SELECT is((SELECT count(*) FROM vault v, foreign_doc f WHERE NOT v.doc @> f.shut), 0::bigint, 'nor is it in none for certain');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
