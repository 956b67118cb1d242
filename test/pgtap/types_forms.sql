-- Sealed columns in the rarer forms of SQL: grouping sets, cursors, and the work of a table's owner on every organisation.
\i test/pgtap/setup.psql
-- The firewall refuses an application role cursors and temporary tables.
SET immiiq.firewall = off;
SELECT plan(37);

CREATE TABLE client (
    org_id uuid NOT NULL DEFAULT immiiq.current_org(), id int, town enc_text(71,equality), born enc_date(72,equality,range), note enc_text(73,match), n int DEFAULT 0,
    PRIMARY KEY (org_id, id)
);
SELECT immiiq.protect('client', 'clients') AS ignored \gset
GRANT ALL ON client TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) AS ignored \gset
INSERT INTO client (id, town, born, note) SELECT i, 'town ' || i % 3, date '1950-01-01' + i % 2, 'beta ' || i FROM generate_series(1, 30) AS i;
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
INSERT INTO client (id, town, born, note) SELECT i, 'town ' || i % 3, date '1950-01-01' + i % 2, 'alpha ' || i FROM generate_series(1, 12) AS i;

-- ---- grouping sets ----
SELECT results_eq($$SELECT town::text, born::text, count(*)::int FROM client GROUP BY GROUPING SETS ((town), (born), ()) ORDER BY 1 NULLS LAST, 2 NULLS LAST$$,
    $$VALUES ('town 0', NULL::text, 4), ('town 1', NULL, 4), ('town 2', NULL, 4), (NULL, '1950-01-01', 6), (NULL, '1950-01-02', 6), (NULL, NULL, 12)$$, 'GROUPING SETS');
SELECT is((SELECT count(*) FROM (SELECT town, born, count(*) FROM client GROUP BY ROLLUP (town, born)) AS r), 10::bigint, 'ROLLUP');
SELECT is((SELECT count(*) FROM (SELECT town, born, count(*) FROM client GROUP BY CUBE (town, born)) AS r), 12::bigint, 'CUBE');
SELECT results_eq($$SELECT grouping(town, born), count(*)::int FROM client GROUP BY CUBE (town, born) HAVING grouping(town) = 1 ORDER BY 1, 2$$, $$VALUES (2, 6), (2, 6), (3, 12)$$, 'grouping() says which');
SELECT results_eq($$SELECT born::text, count(*) FILTER (WHERE town = 'town 1')::int FROM client GROUP BY GROUPING SETS (born, ()) ORDER BY 1 NULLS LAST$$,
    $$VALUES ('1950-01-01', 2), ('1950-01-02', 2), (NULL, 4)$$, 'with a search in FILTER');
SELECT throws_ok('SELECT note, count(*) FROM client GROUP BY ROLLUP (note)', 'IQ030', NULL, 'a column without equality is refused in ROLLUP');
SELECT throws_ok('SELECT town, count(*) FROM client GROUP BY GROUPING SETS ((town), (note))', 'IQ030', NULL, 'and in any of the sets');
SET LOCAL enable_hashagg = off;
SELECT is((SELECT count(*) FROM (SELECT town, born FROM client GROUP BY CUBE (town, born)) AS r), 12::bigint, 'the same by sorting');
RESET enable_hashagg;

-- ---- cursors ----
DECLARE found SCROLL CURSOR FOR SELECT id, town, note FROM client WHERE town = 'town 1' ORDER BY id;
FETCH FROM found \gset
SELECT is((:'id' || :'town' || :'note')::text, '1town 1alpha 1', 'a cursor finds and opens');
MOVE 2 FROM found;
FETCH FROM found \gset
SELECT is(:'note'::text, 'alpha 10', 'moves');
FETCH BACKWARD 1 FROM found \gset
SELECT is(:'note'::text, 'alpha 7', 'and goes back');
CLOSE found;
DECLARE changed CURSOR FOR SELECT id, town, note FROM client WHERE note LIKE '%pha 1%' ORDER BY id FOR UPDATE;
FETCH FROM changed \gset
UPDATE client SET town = 'town of ' || :'note', n = 7 WHERE CURRENT OF changed;
CLOSE changed;
SELECT is((SELECT id FROM client WHERE town = 'town of alpha 1'), 1, 'WHERE CURRENT OF changes what the cursor stands on');
DECLARE kept CURSOR WITH HOLD FOR SELECT id, note FROM client WHERE born = '1950-01-01' ORDER BY id;
COMMIT;
FETCH FROM kept \gset
SELECT ok(:'note' ~ '^(alpha 2|iq1:)', 'a cursor that outlives its transaction');
FETCH FROM kept \gset
SELECT matches(:'note'::text, '^iq1:', 'opens nothing afterwards');
CLOSE kept;
RESET SESSION AUTHORIZATION;

-- ---- the owner on every organisation ----
CREATE ROLE regress_types_owner LOGIN;
SELECT immiiq.grant_owner('regress_types_owner') AS ignored \gset
ALTER TABLE client OWNER TO regress_types_owner;
SET SESSION AUTHORIZATION regress_types_owner;
SELECT is((SELECT count(*) FROM client), 0::bigint, 'the owner sees nothing');
BEGIN;
SELECT immiiq.operate_all('a backfill') AS ignored \gset
SELECT is((SELECT count(*) FROM client), 42::bigint, 'with operate_all every row');
SELECT is((SELECT count(*) FROM client WHERE town::text LIKE 'iq1:%' AND note::text LIKE 'iq1:%'), 42::bigint, 'and armour in it');
SELECT is((SELECT count(*) FROM (SELECT town FROM client GROUP BY town) AS g), 7::bigint, 'groups of two organisations do not meet');
SELECT throws_ok($$SELECT count(*) FROM client WHERE town = 'town 1'$$, 'IQ003', NULL, 'there is no organisation whose tags could be searched');
SELECT throws_ok($$UPDATE client SET town = 'Rome'$$, 'IQ003', NULL, 'nor one under whose key to seal');
SELECT lives_ok($$UPDATE client SET n = n + 1, town = town$$, 'other columns change, and sealed ones stay');
SELECT throws_ok($$UPDATE client AS a SET note = b.note FROM client AS b WHERE a.org_id <> b.org_id AND a.id = b.id$$, 'IQ032', NULL, 'no value moves to another organisation');
COMMIT;
RESET SESSION AUTHORIZATION;
ALTER TABLE client OWNER TO postgres;
DROP OWNED BY regress_types_owner;
DROP ROLE regress_types_owner;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT is((SELECT count(*) FROM client WHERE town = 'town 2' AND n = 1 AND note LIKE 'alpha%'), 4::bigint, 'and afterwards each opens and is found as before');
COMMIT;
RESET SESSION AUTHORIZATION;

-- ---- what is pasted: text while somebody is active; else refused, or whole and never opened for whom it is not ----
CREATE TABLE pasted (id serial, org_id uuid, kind text, v enc_text(90,equality), w enc_text(91,equality));
CREATE TABLE source (kind text, v text);
GRANT ALL ON pasted, pasted_id_seq, source TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) AS ignored \gset
INSERT INTO pasted (kind, v) VALUES ('beta', 'their secret');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
INSERT INTO pasted (kind, v, w) VALUES ('alpha', 'my secret', 'my other secret');
COMMIT;
INSERT INTO source
SELECT x.* FROM pasted a, pasted b, LATERAL (VALUES ('whole', a.v::text), ('of another column', a.w::text), ('of another organisation', b.v::text),
    ('cut', left(a.v::text, 40)), ('with a bit flipped', left(a.v::text, -4) || CASE WHEN a.v::text LIKE '%AAAA' THEN 'AAAQ' ELSE 'AAAA' END),
    ('with bytes behind', a.v::text || 'AAAA'), ('with a character behind', a.v::text || '!'), ('with a blank behind', a.v::text || ' ')) AS x
WHERE a.kind = 'alpha' AND b.kind = 'beta';
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
INSERT INTO pasted (kind, v, w) SELECT kind, v, v FROM source;
SELECT results_eq('SELECT p.v::text, p.w::text FROM pasted p JOIN source s USING (kind) ORDER BY kind', 'SELECT v, v FROM source ORDER BY kind', 'pasted by somebody it is plain text, whatever it is');
SELECT is((SELECT count(*) FROM source s, pasted p WHERE p.v = s.v), 8::bigint, 'and found as such');
DELETE FROM pasted WHERE kind NOT IN ('alpha', 'beta');
COMMIT;
SELECT lives_ok('INSERT INTO pasted (kind, v) SELECT kind, v FROM source WHERE kind = ''whole''', 'pasted by nobody it is taken whole');
SELECT lives_ok('INSERT INTO pasted (kind, v) SELECT kind, v FROM source WHERE kind = ''of another organisation''', 'whosever it is');
SELECT throws_ok(format('INSERT INTO pasted (kind, v) SELECT kind, v FROM source WHERE kind = %L', kind), code, NULL, 'pasted by nobody, refused ' || kind)
FROM (VALUES ('of another column', 'IQ032'), ('cut', 'IQ031'), ('with a character behind', 'IQ031'), ('with a blank behind', 'IQ031')) AS c (kind, code);
SELECT lives_ok('INSERT INTO pasted (kind, v) SELECT kind, v FROM source WHERE kind IN (''with a bit flipped'', ''with bytes behind'')', 'what is well formed cannot be told without the key');
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) AS ignored \gset
SELECT results_eq($$SELECT kind, v::text = 'my secret', v::text LIKE 'iq1:%' FROM pasted WHERE kind NOT IN ('with a bit flipped', 'with bytes behind') ORDER BY id$$,
    $$VALUES ('beta', false, true), ('alpha', true, false), ('whole', true, false), ('of another organisation', false, true)$$, 'one''s own opens, another''s does not');
-- What was opened a moment ago is opened no other way.
SELECT is((SELECT count(v::text) FROM pasted WHERE kind IN ('alpha', 'whole') AND v::text > '' AND v::text < 'n'), 2::bigint, 'opened several times in a row');
SELECT throws_ok(format($$SELECT v::text FROM pasted WHERE kind IN ('whole', %L) AND v::text > ''$$, kind), 'IQ031', NULL, 'and not what was pasted ' || kind)
FROM (VALUES ('with a bit flipped'), ('with bytes behind')) AS k (kind);
COMMIT;
RESET SESSION AUTHORIZATION;

-- ---- sealing and opening keep no memory ----
CREATE FUNCTION own_memory() RETURNS int LANGUAGE sql VOLATILE AS $$
    SELECT sum(m[1]::int)::int FROM regexp_matches(pg_read_file('/proc/self/status'), '(?:RssAnon|VmLck):\s+(\d+)', 'g') AS m
$$;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT count(('n ' || i)::enc_text(90,equality,match)::text) AS ignored FROM generate_series(1, 100000) AS i \gset
SELECT own_memory() AS before \gset
SELECT count(('n ' || i)::enc_text(90,equality,match)::text) AS ignored FROM generate_series(1, 100000) AS i \gset
SELECT cmp_ok(own_memory() - :before, '<', 1024, 'a hundred thousand values sealed and opened once more leave less than a megabyte');
COMMIT;
SELECT * FROM finish();
