-- The practices' people and files: same seed, same data, whatever the machine. Run once, before load.sql.
-- Nothing here is random: every choice is a hash of the seed, the client's number and the question.

CREATE FUNCTION generator.draw(who bigint, question int, choices int) RETURNS int
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 1 + (hashint8extended(who, question) & 9223372036854775807) % choices;
COMMENT ON FUNCTION generator.draw(bigint, int, int) IS 'a number from 1 to choices, always the same for the same who and question';

CREATE FUNCTION generator.id(kind text, who bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN overlay(overlay(md5(kind || who) PLACING '4' FROM 13) PLACING 'a' FROM 17)::uuid;
COMMENT ON FUNCTION generator.id(text, bigint) IS 'the key of the who-th thing of a kind, in the shape of a random uuid';

CREATE FUNCTION generator.latin(name text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN regexp_replace(normalize(translate(name, 'łŁđĐøØıİ', 'lLdDoOiI'), NFKD), '[\u0300-\u036f]', '', 'g');
COMMENT ON FUNCTION generator.latin(text) IS 'a name in Latin script without its accents';

-- One row for each nation and sex, with the names as arrays: the native form and the passport's.
CREATE TABLE generator.pool AS
SELECT n.code, n.country, n.weight, n.dial, n.passport_prefix, n.passport_digits, n.family_first, n.joiner, s.sex,
       g.native AS given, g.latin AS given_latin, f.native AS family, f.latin AS family_latin
FROM generator.nation n
CROSS JOIN LATERAL (VALUES ('m', n.given_m, n.family_m), ('f', n.given_f, coalesce(nullif(n.family_f, ''), n.family_m))) s (sex, given, family)
CROSS JOIN LATERAL (SELECT array_agg(split_part(x, '=', 1) ORDER BY k) AS native,
                           array_agg(coalesce(nullif(split_part(x, '=', 2), ''), generator.latin(x)) ORDER BY k) AS latin
                    FROM unnest(string_to_array(s.given, ', ')) WITH ORDINALITY u (x, k)) g
CROSS JOIN LATERAL (SELECT array_agg(split_part(x, '=', 1) ORDER BY k) AS native,
                           array_agg(coalesce(nullif(split_part(x, '=', 2), ''), generator.latin(x)) ORDER BY k) AS latin
                    FROM unnest(string_to_array(s.family, ', ')) WITH ORDINALITY u (x, k)) f;

CREATE TABLE generator.practice (
    number int PRIMARY KEY,
    org_id uuid NOT NULL,
    name text NOT NULL,
    domain text NOT NULL,
    dial text NOT NULL,
    people text[] NOT NULL          -- owner, four leads, eight caseworkers two a team, accountant, reception
);
INSERT INTO generator.practice VALUES
(1, generator.id('org', 1), 'Aldgate Immigration Law', 'aldgate.example', '+44',
 '{Ifeoma Okafor, Tomasz Wrona, Leila Haddad, Samuel Price, Grace Adeyemi, Hannah Clarke, Omar Siddiqui, Yuki Tanaka, Peter Lindqvist,
   Amina Warsame, David Rosen, Chloe Bennett, Rajesh Iyer, Margaret Doyle, Ben Whitfield}'),
(2, generator.id('org', 2), 'Kanzlei Nordlicht', 'nordlicht.example', '+49',
 '{Katrin Petersen, Jens Brandt, Aylin Yıldız, Piotr Zieliński, Sabine Krüger, Lukas Böhm, Nele Hansen, Emre Şahin, Franziska Groß,
   Tarek Mansour, Wiebke Jöns, Jonas Weiß, Mei Schröder, Heike Möller, Finn Claußen}'),
(3, generator.id('org', 3), 'Cabinet Lumière', 'lumiere.example', '+33',
 '{Camille Lefèvre, Hugo Béranger, Salimata Diallo, Margaux Noël, Youssef Amrani, Léa Fontaine, Antoine Garçon, Inès Belkacem, Baptiste Guérin,
   Fatou Ndiaye, Clément Rouzès, Linh Nguyễn, Mathilde Forêt, Sylvie Maçon, Théo Desprès}');

-- Who works there: the login is the first name in plain letters, ifeoma@aldgate.example.
CREATE VIEW generator.staff AS
SELECT p.number, p.org_id, p.number * 100 + k AS who, generator.id('member', p.number * 100 + k) AS member_id, x AS name,
       lower(generator.latin(split_part(x, ' ', 1))) || '@' || p.domain AS email,
       CASE WHEN k = 1 THEN 'owner' WHEN k <= 5 THEN 'team lead' WHEN k <= 13 THEN 'caseworker' WHEN k = 14 THEN 'accountant' ELSE 'reception' END AS role,
       CASE WHEN k BETWEEN 2 AND 5 THEN k - 1 WHEN k BETWEEN 6 AND 13 THEN (k - 4) / 2 END AS team,
       CASE WHEN k BETWEEN 6 AND 13 THEN 1 + k % 2 END AS desk
FROM generator.practice p CROSS JOIN LATERAL unnest(p.people) WITH ORDINALITY u (x, k);

CREATE TABLE generator.role (name text PRIMARY KEY, scope text NOT NULL, modules text[] NOT NULL);
INSERT INTO generator.role VALUES
('owner', 'all', '{clients, cases, communications, ai, documents, invoices, reports, billing, settings, team_management}'),
('team lead', 'team', '{clients, cases, communications, ai, documents, invoices, reports}'),
('caseworker', 'assigned', '{clients, cases, communications, ai, documents}'),
('accountant', 'all', '{invoices, billing}'),
('reception', 'all', '{clients, communications}');

CREATE TABLE generator.team (team int PRIMARY KEY, name text NOT NULL);
INSERT INTO generator.team VALUES (1, 'Work and study'), (2, 'Family'), (3, 'Asylum'), (4, 'Nationality');

-- The clients of one practice, numbered from 1. The first hundred went to every practice for advice: same people, same passports.
CREATE FUNCTION generator.client(practice int, seed int, clients int)
    RETURNS TABLE (i int, client_id uuid, name text, latin_name text, birth_date date, nationality text, passport_no text, phone text,
                   email text, family text, status text, since date, team int, kind text, desk int, who bigint)
    LANGUAGE sql STABLE STRICT
BEGIN ATOMIC
    WITH bag AS (
        SELECT array_agg(code ORDER BY code, k) AS codes
        FROM (SELECT DISTINCT p.code, k FROM generator.pool p, generate_series(1, p.weight) k) x
    ), person AS MATERIALIZED (
        SELECT i, seed * 1000000000::bigint + practice * 1000000 + i AS mine,
               seed * 1000000000::bigint + CASE WHEN i <= 100 THEN 0 ELSE practice * 1000000 END + i AS who
        FROM generate_series(1, clients) i
    ), chosen AS MATERIALIZED (
        SELECT p.i, p.mine, p.who, n.*, o.given AS other_given,
               generator.draw(p.who, 3, cardinality(n.given)) AS g, generator.draw(p.who, 4, cardinality(n.family)) AS f,
               CASE WHEN generator.draw(p.who, 5, 100) <= 7 THEN date '2025-12-31' - generator.draw(p.who, 6, 6300)
                    ELSE date '2007-12-31' - generator.draw(p.who, 7, 11000) - generator.draw(p.who, 8, 9000) END AS born,
               generator.draw(p.who, 9, 100) AS luck,
               (p.i::bigint * 7919 + 104729 * seed) AS serial
        FROM person p CROSS JOIN bag
        JOIN generator.pool n ON n.code = bag.codes[generator.draw(p.who, 1, cardinality(bag.codes))]
                             AND n.sex = (ARRAY['m', 'f'])[generator.draw(p.who, 2, 2)]
        JOIN generator.pool o ON o.code = n.code AND o.sex <> n.sex
    ), matter AS MATERIALIZED (
        SELECT c.*, (date '2025-12-31' - c.born) / 365 AS age,
               CASE WHEN c.code IN ('SY', 'IR', 'ET', 'UA', 'NG', 'PK', 'LK', 'RU', 'BD', 'AM') AND c.luck <= 55 THEN 3
                    WHEN (date '2025-12-31' - c.born) / 365 < 18 THEN 2
                    ELSE (ARRAY[1, 1, 2, 2, 4])[generator.draw(c.who, 10, 5)] END AS team
        FROM chosen c
    )
    SELECT m.i, generator.id('client', m.mine),
           CASE WHEN m.family_first THEN m.family[m.f] || m.joiner || m.given[m.g] ELSE m.given[m.g] || m.joiner || m.family[m.f] END,
           m.family_latin[m.f] || ', ' || m.given_latin[m.g],
           m.born, m.country,
           m.passport_prefix || lpad((m.serial % (10::numeric ^ m.passport_digits)::bigint)::text, m.passport_digits, '0'),
           CASE WHEN generator.draw(m.who, 11, 3) = 1 THEN m.dial ELSE x.dial END || ' ' || (600 + generator.draw(m.who, 12, 199))
               || ' ' || lpad((generator.draw(m.who, 13, 1000) - 1)::text, 3, '0') || ' ' || lpad((m.i % 1000)::text, 3, '0'),
           lower(regexp_replace(m.given_latin[m.g], '[^A-Za-z]', '', 'g') || '.' || regexp_replace(m.family_latin[m.f], '[^A-Za-z]', '', 'g'))
               || m.i || '@example.' || (ARRAY['org', 'net', 'com'])[generator.draw(m.who, 14, 3)],
           CASE WHEN m.age < 18 THEN 'minor; mother ' || (CASE m.sex WHEN 'f' THEN m.given ELSE m.other_given END)[1 + m.g % 10]
                WHEN generator.draw(m.who, 15, 10) <= 4 THEN 'single'
                ELSE 'married to ' || m.other_given[1 + (m.g + m.f) % 10]
                     || CASE WHEN m.age < 24 THEN '' ELSE ', children '
                     || m.given[1 + (m.g + 3) % 10] || ' (' || (extract(year FROM m.born)::int + 22 + generator.draw(m.who, 16, 2)) || ')'
                     || CASE WHEN m.age > 28 THEN ', ' || m.other_given[1 + (m.f + 5) % 10] || ' (' || (extract(year FROM m.born)::int + 25 + generator.draw(m.who, 17, 3)) || ')' ELSE '' END
                     END END,
           CASE WHEN generator.draw(m.mine, 18, 10) <= 3 THEN 'open' ELSE 'closed' END,
           date '2025-12-31' - generator.draw(m.mine, 19, 1800),
           m.team,
           CASE m.team WHEN 1 THEN CASE WHEN m.age < 26 THEN 'student visa' ELSE 'work permit' END
                       WHEN 2 THEN CASE WHEN m.age < 18 THEN 'child of a resident' ELSE 'family reunion' END
                       WHEN 3 THEN 'asylum'
                       ELSE CASE WHEN m.luck % 2 = 0 THEN 'naturalisation' ELSE 'permanent residence' END END,
           generator.draw(m.mine, 20, 2), m.mine
    FROM matter m JOIN generator.practice x ON x.number = practice
    ORDER BY m.i;
END;
COMMENT ON FUNCTION generator.client(int, int, int) IS 'the clients of one practice, in plain; the same for the same seed';

GRANT USAGE ON SCHEMA generator TO practice_operator;
GRANT SELECT ON ALL TABLES IN SCHEMA generator TO practice_operator;

-- The payment provider, as the tour plays it: the header Stripe-Signature of a body, by a secret that the practice shares with it.
CREATE FUNCTION generator.stripe_signature(secret text, body text, at timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (WITH said AS (SELECT floor(extract(epoch FROM at))::bigint AS t),
        pad AS (SELECT string_agg(set_byte('\x00', 0, x # 54), '' ORDER BY i) AS inner_pad, string_agg(set_byte('\x00', 0, x # 92), '' ORDER BY i) AS outer_pad
                FROM generate_series(0, 63) AS i,
                    LATERAL (SELECT CASE WHEN i < length(convert_to(secret, 'UTF8')) THEN get_byte(convert_to(secret, 'UTF8'), i) ELSE 0 END) AS byte (x))
        SELECT 't=' || t || ',v1=' || encode(sha256(outer_pad || sha256(inner_pad || convert_to(t || '.' || body, 'UTF8'))), 'hex') FROM said, pad);
COMMENT ON FUNCTION generator.stripe_signature(text, text, timestamptz) IS 'HMAC-SHA256 of time and body, as Stripe signs; for secrets of up to 64 bytes';
