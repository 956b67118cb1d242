-- immiiq.leakage(): what tags and tokens tell, in numbers that can be counted by hand.
\i test/pgtap/setup.psql
SELECT plan(14);
CREATE DOMAIN sex AS enc_text(3,equality);
CREATE TABLE vault (id int, org_id uuid NOT NULL DEFAULT immiiq.current_org(), plain text, grade enc_text(1,equality), unique_id enc_int8(2,equality,range),
    sex sex, note enc_bytea(4,sealed), name enc_text(5,match), many enc_text(6,equality)[], empty enc_date(7,equality));
GRANT ALL ON vault TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
-- 50 × A, 30 × B, 20 × C, 20 × D, and NULLs.
INSERT INTO vault (id, grade, unique_id, sex, note, name, many)
SELECT i, CASE WHEN i <= 50 THEN 'A' WHEN i <= 80 THEN 'B' WHEN i <= 100 THEN 'C' WHEN i <= 120 THEN 'D' END, i, CASE i % 2 WHEN 0 THEN 'f' ELSE 'm' END, '\x00',
    CASE WHEN i <= 10 THEN 'abcd' WHEN i = 11 THEN 'abc' END, CASE WHEN i <= 2 THEN ARRAY['x', 'y'] END
FROM generate_series(1, 130) AS i;
SELECT throws_ok($$SELECT * FROM immiiq.leakage('vault')$$, '42501', NULL, 'not for the application');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
INSERT INTO vault (id, grade) SELECT i, 'A' FROM generate_series(1, 5) i;
COMMIT;
RESET SESSION AUTHORIZATION;

CREATE TEMP TABLE told AS SELECT * FROM immiiq.leakage('vault');
SELECT is((SELECT string_agg(column_name || ' ' || kind, ', ') FROM told),
    'grade equality, unique_id equality, unique_id range, sex equality, note sealed, name match, many equality, empty equality', 'every sealed column, every kind');
SELECT is((SELECT (t."values", t.tokens, t.named)::text FROM told t WHERE column_name = 'grade'), '(125,5,3)', 'A and B of one organisation and A of the other are told by their number');
SELECT is((SELECT most_frequent FROM told WHERE column_name = 'grade'), 0.4000, 'the most frequent of all values');
SELECT is((SELECT entropy FROM told WHERE column_name = 'grade'), round(-(SELECT sum(p * log(2, p)) FROM unnest(ARRAY[50, 30, 20, 20, 5]::numeric[]) n, LATERAL (SELECT n / 125 AS p) q), 2), 'entropy in bits');
SELECT is((SELECT (t."values", t.tokens, t.named)::text FROM told t WHERE column_name = 'unique_id' AND kind = 'equality'), '(130,130,0)', 'a key names nobody');
SELECT ok((SELECT t.advice ~ 'once' FROM told t WHERE column_name = 'unique_id' AND kind = 'equality'), 'and the advice says so');
SELECT is((SELECT (t.tokens, t.named)::text FROM told t WHERE column_name = 'sex'), '(2,0)', 'two values of one frequency are not told apart');
SELECT is((SELECT (t."values", t.tokens, t.most_frequent, t.named)::text FROM told t WHERE column_name = 'name'), '(11,2,1.0000,2)', 'trigrams: abc eleven times, bcd ten times');
SELECT is((SELECT (t."values", t.tokens)::text FROM told t WHERE column_name = 'many'), '(4,2)', 'elements of arrays count');
SELECT is((SELECT (t."values", t.tokens, t.advice)::text FROM told t WHERE column_name = 'empty'), '(0,0,"no values yet")', 'an empty column');
SELECT is((SELECT (t."values", t.named)::text FROM told t WHERE column_name = 'note'), '(130,0)', 'a column without search tells nothing');
SELECT is_empty($$SELECT * FROM immiiq.leakage('pg_class')$$, 'a table without sealed columns has no row');
-- The owner of a protected table sees no row of it without an identity, and is told so instead of a wrong answer.
CREATE TABLE guarded (org_id uuid NOT NULL, id int, v enc_text(1,equality), PRIMARY KEY (org_id, id));
SELECT immiiq.protect('guarded', 'clients') \gset ignored_
GRANT SELECT ON guarded TO regress_immiiq_auditor;
GRANT EXECUTE ON FUNCTION immiiq.leakage(regclass) TO regress_immiiq_auditor;
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT throws_ok($$SELECT * FROM immiiq.leakage('guarded')$$, '42501', NULL, 'who does not see every row gets no numbers');
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
