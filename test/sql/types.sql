-- Sealed columns as psql shows them: declarations, plaintext and armour, plans, and what every refusal says.
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_immiiq_sealer;
RESET client_min_messages;
CREATE ROLE regress_immiiq_sealer LOGIN;
SELECT immiiq.grant_operator('regress_immiiq_sealer');

CREATE TABLE patient (
    id int PRIMARY KEY,
    name enc_text(equality, fold),
    passport enc_text('domain=7', equality) UNIQUE,
    born enc_date(8, equality),
    note enc_text(sealed)
);
\d patient
GRANT ALL ON patient TO regress_immiiq_sealer;

SET SESSION AUTHORIZATION regress_immiiq_sealer;
SELECT immiiq.create_org('Sealed Values') AS org \gset
BEGIN;
SELECT FROM immiiq.operate(:'org', 'first patients') \gset
INSERT INTO patient VALUES
    (1, 'José Müller', 'C01X00T47', '1964-08-12', 'prefers mornings'),
    (2, 'Łucja Ångström', 'F9876543', '1989-01-27', NULL);
SELECT * FROM patient ORDER BY id;
SELECT id FROM patient WHERE name = 'JOSE MULLER';
SELECT id FROM patient WHERE name IN ('lucja angstrom', 'nobody');
SELECT id FROM patient WHERE born = '1989-01-27';
SET LOCAL enable_seqscan = off;
EXPLAIN (COSTS off) SELECT id FROM patient WHERE passport = 'F9876543';
EXPLAIN (COSTS off) SELECT id FROM patient WHERE passport = ANY ('{F9876543,C01X00T47}');
RESET enable_seqscan;
COMMIT;

-- Nobody active: armour, and no search.
SELECT id, left(name::text, 4) AS name, left(born::text, 4) AS born FROM patient ORDER BY id;
SELECT id FROM patient WHERE passport = 'F9876543';
INSERT INTO patient (id, name) VALUES (3, 'Nobody');
SELECT born::date FROM patient;
INSERT INTO patient (id, name) VALUES (3, 'iq1:AAAA');

-- What is refused, and what to write instead.
BEGIN;
SELECT FROM immiiq.operate(:'org', 'refusals') \gset
\set ON_ERROR_ROLLBACK on
INSERT INTO patient VALUES (3, 'Ana', 'F9876543');
INSERT INTO patient (id, born) VALUES (3, 'yesterday or so');
SELECT * FROM patient WHERE note = 'prefers mornings';
SELECT * FROM patient WHERE name = passport;
SELECT * FROM patient WHERE born < '1970-01-01';
SELECT * FROM patient ORDER BY name;
SELECT note, count(*) FROM patient GROUP BY note;
SELECT name FROM patient UNION SELECT passport FROM patient;
SELECT id FROM patient WHERE born::date < '1970-01-01' ORDER BY name::text;
COMMIT;
RESET SESSION AUTHORIZATION;

CREATE TABLE bad (v enc_text);
CREATE TABLE bad (v enc_text(equalty));
CREATE TABLE bad (v enc_text(sealed, equality));
CREATE TABLE bad (v enc_date(fold));
CREATE TABLE bad AS SELECT coalesce(name, passport) AS v FROM patient;
CREATE INDEX ON patient (note);
ALTER TABLE patient ADD CHECK (name <> '');
CREATE TABLE visit (passport enc_text(9, equality) REFERENCES patient (passport));
CREATE TABLE parted (v enc_text(9, equality)) PARTITION BY LIST (v);

DROP TABLE patient;
REVOKE ALL ON SCHEMA immiiq FROM regress_immiiq_sealer;
DROP OWNED BY regress_immiiq_sealer;
DROP ROLE regress_immiiq_sealer;
