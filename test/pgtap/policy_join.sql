-- Joins of tables with different modules, which ask for all of them at once: the same rows as when each table is read by itself.
\i test/pgtap/setup.psql
SET immiiq.firewall = off;
SELECT plan(11);

CREATE TABLE a (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, assignee_id uuid, n int);
CREATE TABLE b (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, assignee_id uuid, n int);
CREATE TABLE c (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, client_id uuid, n int);
CREATE TABLE d (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, client_id uuid, n int);
CREATE TABLE e (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, n int);
SELECT immiiq.protect('a', 'clients', assignee => 'assignee_id'), immiiq.protect('b', 'cases', assignee => 'assignee_id'),
    immiiq.protect('c', 'invoices', client => 'client_id', portal => true), immiiq.protect('d', 'documents', client => 'client_id', portal => true), immiiq.protect('e', NULL) \gset ignored_
CREATE POLICY small ON b AS RESTRICTIVE FOR SELECT USING (n < 4);
GRANT SELECT, INSERT, UPDATE, DELETE ON a, b, c, d, e TO regress_immiiq_app;
CREATE VIEW ab WITH (security_invoker) AS SELECT a.org_id, a.n, b.n AS m FROM a JOIN b USING (org_id, n);
GRANT SELECT ON ab TO regress_immiiq_app;

-- A member for each subset of four modules, with scope all and with scope assigned.
CREATE TABLE person AS
SELECT gen_random_uuid() AS member_id, scope, ARRAY(SELECT name FROM unnest('{clients,cases,invoices,documents}'::text[]) WITH ORDINALITY AS m (name, i) WHERE set & (1 << i::int - 1) > 0) AS modules, NULL::text AS token
FROM generate_series(0, 15) AS set, unnest('{all,assigned}'::text[]) AS scope;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules) SELECT :'alpha', member_id, member_id || '@alpha.example', 'Test', scope, modules FROM person;
UPDATE person SET token = immiiq.issue_session(member_id);
COMMIT;
\set one '00000000-0000-4000-8000-00000000000a'
DO $$
DECLARE
    t text;
    columns text;
    o uuid;
BEGIN
    FOREACH o IN ARRAY ARRAY['a1fa0000-0000-4000-8000-000000000000', 'be7a0000-0000-4000-8000-000000000000']::uuid[] LOOP
        INSERT INTO a (org_id, assignee_id, n) SELECT o, CASE WHEN i % 2 = 0 THEN (SELECT member_id FROM immiiq.member AS m WHERE m.org_id = o LIMIT 1) END, i FROM generate_series(1, 5) AS i;
        INSERT INTO b (org_id, n) SELECT o, i FROM generate_series(1, 5) AS i;
        INSERT INTO c (org_id, client_id, n) SELECT o, '00000000-0000-4000-8000-00000000000a', i FROM generate_series(1, 5) AS i;
        INSERT INTO d (org_id, client_id, n) SELECT o, CASE WHEN i > 2 THEN '00000000-0000-4000-8000-00000000000a' ELSE gen_random_uuid() END, i FROM generate_series(1, 5) AS i;
        INSERT INTO e (org_id, n) SELECT o, i FROM generate_series(1, 5) AS i;
    END LOOP;
END
$$;
INSERT INTO a (org_id, assignee_id, n) SELECT :'alpha', member_id, 3 FROM person WHERE scope = 'assigned';
INSERT INTO b (org_id, assignee_id, n) SELECT :'alpha', member_id, 3 FROM person WHERE scope = 'assigned';
INSERT INTO person VALUES (NULL, 'nobody', NULL, '');
-- A client in the portal: a session of one, made of a member's.
SELECT token AS portal_token, member_id AS portal_member FROM person WHERE scope = 'all' AND modules = '{}' \gset
SET session_replication_role = replica;
UPDATE immiiq.session SET member_id = NULL, client_id = :'one' WHERE member_id = :'portal_member';
SET session_replication_role = origin;
UPDATE person SET scope = 'portal' WHERE token = :'portal_token';

CREATE TABLE form (n int GENERATED ALWAYS AS IDENTITY, query text);
GRANT SELECT ON form TO regress_immiiq_app;
INSERT INTO form (query) VALUES
    ('SELECT count(*), sum(a.n) FROM a JOIN b USING (org_id, n)'), ('SELECT count(*), sum(a.n) FROM a, b, c, d, e WHERE a.n = b.n AND b.n = c.n AND c.n = d.n AND d.n = e.n'),
    ('SELECT count(*), count(b.n) FROM a LEFT JOIN b ON b.n = a.n'), ('SELECT count(*), count(a.n) FROM a RIGHT JOIN b ON b.n = a.n'),
    ('SELECT count(*), count(a.n), count(b.n) FROM a FULL JOIN b ON b.n = a.n'), ('SELECT count(*), count(c.n) FROM a JOIN b USING (n) LEFT JOIN (c JOIN d USING (n)) USING (n)'),
    ('SELECT count(*), count(a.n) FROM (a JOIN b USING (n)) RIGHT JOIN (c LEFT JOIN d USING (n)) USING (n)'), ('SELECT count(*), count(b.n) FROM (a LEFT JOIN b USING (n)) JOIN c USING (n)'),
    ('SELECT count(*) FROM a WHERE n IN (SELECT n FROM b)'), ('SELECT count(*) FROM a WHERE n NOT IN (SELECT n FROM b)'), ('SELECT count(*) FROM a JOIN e USING (n) WHERE NOT EXISTS (SELECT FROM b JOIN c USING (n) WHERE b.n = a.n)'),
    ('SELECT count(*), count(x) FROM a, LATERAL (SELECT max(b.n) AS x FROM b JOIN c USING (n) WHERE b.n >= a.n) AS l'), ('SELECT count(*) FROM (SELECT n FROM a JOIN b USING (n) UNION ALL SELECT n FROM c JOIN d USING (n)) AS u'),
    ('SELECT count(*), (SELECT count(*) FROM b JOIN c USING (n)) FROM a JOIN d USING (n)'), ('WITH w AS (SELECT n FROM a JOIN b USING (n)) SELECT count(*) FROM w FULL JOIN c USING (n)'),
    ('SELECT count(*) FROM c JOIN d USING (n)'), ('SELECT count(*), count(d.n) FROM c LEFT JOIN d USING (n)'), ('SELECT count(*) FROM c JOIN e USING (n) JOIN d USING (n)'),
    ('SELECT count(*), sum(x.n) FROM a AS x JOIN a AS y USING (n) JOIN c USING (n)'), ('SELECT coalesce(max(b.n), 0) FROM b GROUP BY () HAVING (SELECT count(*) FROM a JOIN c USING (n)) > 0'),
    ('WITH RECURSIVE r AS (SELECT n FROM a JOIN b USING (n) WHERE n = 1 UNION SELECT c.n FROM r JOIN c ON c.n = r.n + 1) SELECT count(*) FROM r');
-- What each table shows by itself, under the same names.
CREATE FUNCTION apart(query text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN query LIKE 'WITH %' THEN regexp_replace(query, '^WITH( RECURSIVE)?', 'WITH RECURSIVE ' || tables || ',') ELSE 'WITH ' || tables || ' ' || query END
    FROM (SELECT string_agg(format('%1$s AS MATERIALIZED (SELECT * FROM public.%1$s)', t), ', ') AS tables FROM unnest('{a,b,c,d,e}'::text[]) AS t) AS v $$;
CREATE TABLE answer (n int, who text, joined text, apart text);
GRANT INSERT ON answer TO regress_immiiq_app;
CREATE FUNCTION answer_all(who text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    f form;
    x text;
    y text;
BEGIN
    FOR f IN SELECT * FROM form LOOP
        EXECUTE format('SELECT string_agg(r::text, '' '') FROM (%s) AS r', f.query) INTO x;
        EXECUTE format('SELECT string_agg(r::text, '' '') FROM (%s) AS r', apart(f.query)) INTO y;
        INSERT INTO answer VALUES (f.n, who, x, y);
    END LOOP;
END $$;
\o /dev/null
SELECT 'SET SESSION AUTHORIZATION regress_immiiq_app', 'BEGIN', format('SELECT set_config(''immiiq.token'', %L, true)', token), format('SELECT answer_all(%L)', scope || ' ' || coalesce(modules::text, '')), 'COMMIT', 'RESET SESSION AUTHORIZATION' FROM person \gexec
\o
SELECT is((SELECT count(*) FROM answer), 33 * 21::bigint, 'every form of query was asked by members with each set of modules, by the portal and by nobody');
SELECT is_empty('SELECT * FROM answer WHERE joined IS DISTINCT FROM apart', 'each shows what its tables show by themselves');
SELECT ok((SELECT count(DISTINCT joined) FROM answer WHERE n = 7) = 3 AND (SELECT count(DISTINCT joined) FROM answer WHERE n = 16) = 3, 'which differs from one to the next');
SELECT is((SELECT joined FROM answer WHERE n = 16 AND who LIKE 'portal%'), '(3)', 'the portal joins what is open to it');

-- The plan asks once, and keeps its word when another member of the same scope comes.
SELECT token AS both_token FROM person WHERE scope = 'all' AND modules = '{clients,cases}' \gset
SELECT token AS one_token FROM person WHERE scope = 'all' AND modules = '{clients}' \gset
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS off) ' || query; END $$;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'both_token', true) AS ignored \gset
PREPARE joined AS SELECT count(*) FROM a JOIN b USING (org_id, n);
SELECT is((SELECT count(*) FROM plan_of('SELECT count(*) FROM a JOIN b USING (org_id, n)') AS line WHERE line LIKE '%One-Time Filter%' OR line LIKE '%org_if(''cases''%' OR line LIKE '%org_if(''clients''%'), 0::bigint, 'no module is compared with another in the plan');
SELECT results_eq('joined', ARRAY[291::bigint], 'who has both modules sees the join');
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'one_token', true) AS ignored \gset
SELECT results_eq('joined', ARRAY[0::bigint], 'who has one sees nothing of it, in a plan made for the other');
SELECT is((SELECT count(*) FROM a), 21::bigint, 'and the table of that module as before');
WITH gone AS (DELETE FROM a USING e WHERE a.n = e.n AND a.n < 3 RETURNING a.n) SELECT count(*) AS deleted FROM gone \gset
SELECT is(:deleted, 2, 'a write joined with a table that needs no module');
WITH changed AS (UPDATE a SET n = 9 FROM b WHERE a.n = b.n RETURNING a.n) SELECT count(*) AS changed FROM changed \gset
SELECT is(:changed, 0, 'and with one whose module is off');
SELECT throws_ok($$SELECT immiiq.org_if('clients,nothing', 'select', 'all')$$, '22023', NULL, 'a list with an unknown module is refused');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
