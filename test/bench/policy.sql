-- Row security beside the same conditions written by hand, as a superuser whom it does not bind: the same tables,
-- indexes, statistics and foreign keys; every statement planned anew; the two in turn.
-- BENCH_SCALE=1: 100,000 clients in 50 organisations and 300,000 rows below them; 10: a million and three.
\set clients 'greatest(10000, 100000 * ':scale')::int'
SET SESSION AUTHORIZATION bench_operator;
SELECT count(immiiq.create_org('Bench ' || i)) AS ignored FROM generate_series(1, 49) AS i \gset
RESET SESSION AUTHORIZATION;
CREATE TABLE client (client_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid NOT NULL, team_id uuid, assignee_id uuid, created timestamptz NOT NULL, name text);
CREATE TABLE matter (matter_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid NOT NULL, client_id uuid REFERENCES client, team_id uuid, assignee_id uuid, created timestamptz NOT NULL, title text);
CREATE TABLE document (document_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid NOT NULL, matter_id uuid REFERENCES matter, team_id uuid, assignee_id uuid, created timestamptz NOT NULL, title text);
CREATE TABLE note (note_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid NOT NULL, client_id uuid REFERENCES client, created timestamptz NOT NULL, line text);

-- Ten teams of ten members in each organisation; the members that ask are in :org, in the first, and in five teams.
SET session_replication_role = replica;
INSERT INTO immiiq.team (org_id, name) SELECT org_id, 'Team ' || i FROM immiiq.org, generate_series(1, 10) AS i;
INSERT INTO immiiq.member (org_id, email, name, scope, modules)
SELECT org_id, i || '@bench.example', 'Member ' || i, CASE WHEN i < 40 THEN 'assigned' ELSE 'team' END, '{clients,cases}' FROM immiiq.org, generate_series(1, 100) AS i;
SET session_replication_role = origin;
CREATE TABLE place AS
SELECT org_id, row_number() OVER (ORDER BY org_id) AS n, ARRAY(SELECT team_id FROM immiiq.team AS t WHERE t.org_id = o.org_id ORDER BY name) AS teams,
    ARRAY(SELECT member_id FROM immiiq.member AS m WHERE m.org_id = o.org_id ORDER BY email) AS members FROM immiiq.org AS o;
INSERT INTO client (org_id, team_id, assignee_id, created, name)
SELECT p.org_id, p.teams[1 + i / 50 % 10], p.members[1 + i / 50 % 100], timestamptz '2026-01-01' - i * interval '1 minute', 'Client ' || i
FROM generate_series(1, :clients) AS i JOIN place AS p ON p.n = 1 + i % 50;
INSERT INTO matter (org_id, client_id, team_id, assignee_id, created, title) SELECT org_id, client_id, team_id, assignee_id, created, 'Matter' FROM client;
INSERT INTO document (org_id, matter_id, team_id, assignee_id, created, title) SELECT org_id, matter_id, team_id, assignee_id, created, 'Document' FROM matter;
INSERT INTO note (org_id, client_id, created, line) SELECT org_id, client_id, created, 'Note' FROM client;
SELECT immiiq.protect('client', 'clients', client => 'client_id', team => 'team_id', assignee => 'assignee_id'),
    immiiq.protect('matter', 'cases', client => 'client_id', team => 'team_id', assignee => 'assignee_id'),
    immiiq.protect('document', 'cases', team => 'team_id', assignee => 'assignee_id'), immiiq.protect('note', 'cases', client => 'client_id') \gset ignored_
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['client', 'matter', 'document'] LOOP
        EXECUTE format('CREATE INDEX ON %1$I (org_id, created); CREATE INDEX ON %1$I (org_id, team_id, created); CREATE INDEX ON %1$I (org_id, assignee_id, created)', name);
    END LOOP;
END
$$;
CREATE INDEX ON document (matter_id);
CREATE INDEX ON note (org_id, created);
GRANT SELECT, INSERT, UPDATE, DELETE ON client, matter, document, note TO bench_app;

SELECT teams[1] AS team, teams[1:5] AS teams, members[1] AS clerk, members[60] AS lead, members[61] AS lead5,
    members[2] AS with20, members[3] AS with200, members[4] AS with2000 FROM place WHERE org_id = :'org' \gset
UPDATE immiiq.member SET scope = 'assigned' WHERE org_id = :'org' AND member_id IN (:'clerk', :'with20', :'with200', :'with2000');
UPDATE immiiq.member SET scope = 'team' WHERE org_id = :'org' AND member_id IN (:'lead', :'lead5');
INSERT INTO immiiq.team_member (org_id, team_id, member_id) VALUES (:'org', :'team', :'lead');
INSERT INTO immiiq.team_member (org_id, team_id, member_id) SELECT :'org', unnest(:'teams'::uuid[]), :'lead5';
INSERT INTO immiiq.assignment (org_id, client_id, member_id)
SELECT :'org', client_id, member_id FROM (VALUES (:'with20'::uuid, 20), (:'with200', 200), (:'with2000', 2000)) AS m (member_id, wanted)
    CROSS JOIN LATERAL (SELECT client_id FROM client WHERE org_id = :'org' ORDER BY md5(client_id::text) LIMIT m.wanted) AS c;
VACUUM ANALYZE client, matter, document, note, immiiq.assignment, immiiq.team_member, immiiq.member, immiiq.session;
SET SESSION AUTHORIZATION bench_operator;
BEGIN;
SELECT FROM immiiq.operate(:'org', 'bench') \gset
SELECT immiiq.issue_session(:'clerk') AS clerk_token, immiiq.issue_session(:'lead') AS lead_token, immiiq.issue_session(:'lead5') AS lead5_token,
    immiiq.issue_session(:'with20') AS with20_token, immiiq.issue_session(:'with200') AS with200_token, immiiq.issue_session(:'with2000') AS with2000_token \gset
COMMIT;
RESET SESSION AUTHORIZATION;
CREATE TABLE some_client AS SELECT client_id FROM client WHERE org_id = :'org' AND team_id = :'team' AND assignee_id = :'clerk' LIMIT 50;


-- What is measured; $ stands for a table in the condition written by hand.
CREATE TABLE figure (n int GENERATED ALWAYS AS IDENTITY, figure text, protocol text, target float8, token text, statement text, by_hand text);
CREATE FUNCTION add_figures(scope text, token text, condition text, limit_target float8) RETURNS void LANGUAGE sql AS $$
    INSERT INTO figure (figure, protocol, target, token, statement, by_hand)
    SELECT format('scope %s: %s', scope, v.what), v.protocol, v.target, token,
        replace(replace(replace(v.statement, '{client}', 'true'), '{matter}', 'true'), '{document}', 'true'),
        replace(replace(replace(v.statement, '{client}', replace(condition, '$', 'client')), '{matter}', replace(condition, '$', 'matter')), '{document}', replace(condition, '$', 'document'))
    FROM (VALUES
        ('count', 'simple', 'SELECT count(*) FROM client WHERE {client}', 1.15::float8),
        ('ORDER BY … LIMIT 20', 'simple', 'SELECT * FROM client WHERE {client} ORDER BY created LIMIT 20', limit_target),
        ('key lookup', 'simple', 'SELECT * FROM client WHERE {client} AND client_id = ''<id>''', 1.15),
        ('key lookup, prepared', 'prepared', 'SELECT * FROM client WHERE {client} AND client_id = ''<id>''', 1.15),
        ('join of three', 'simple', 'SELECT count(*) FROM client JOIN matter ON matter.org_id = client.org_id AND matter.client_id = client.client_id AND {matter} JOIN document ON document.org_id = matter.org_id AND document.matter_id = matter.matter_id AND {document} WHERE {client} AND client.client_id = ''<id>''', 1.15),
        ('UPDATE of a row', 'simple', 'UPDATE client SET name = ''x'' WHERE {client} AND client_id = ''<id>''', 1.15)
    ) AS v (what, protocol, statement, target)
$$;
SELECT add_figures('all', :'token', format('$.org_id = %L', :'org'), 1.15),
    add_figures('team', :'lead_token', format('$.org_id = %L AND $.team_id = %L', :'org', :'team'), 1.15),
    add_figures('five teams', :'lead5_token', format('$.org_id = %L AND $.team_id = ANY (%L::uuid[])', :'org', :'teams'), 1.5),
    add_figures('assigned', :'clerk_token', format('$.org_id = %L AND $.assignee_id = %L', :'org', :'clerk'), 1.15) \gset ignored_
-- Tables that name only the client, by assignment.
INSERT INTO figure (figure, protocol, target, token, statement, by_hand)
SELECT format('%s clients assigned: %s', m.clients, v.what), 'simple', 1.5, m.token, format(v.statement, 'true'),
    format(v.statement, format('note.org_id = %L AND note.client_id IN (SELECT client_id FROM immiiq.assignment AS a WHERE a.org_id = %1$L AND a.member_id = %2$L)', :'org', m.member))
FROM (VALUES (20, :'with20_token', :'with20'), (200, :'with200_token', :'with200'), (2000, :'with2000_token', :'with2000')) AS m (clients, token, member),
    (VALUES ('count', 'SELECT count(*) FROM note WHERE %s'), ('ORDER BY … LIMIT 20', 'SELECT * FROM note WHERE %s ORDER BY created LIMIT 20')) AS v (what, statement);
\setenv BENCH_DATABASE :DBNAME
\! ./policy_client.sh "$BENCH_DATABASE"

-- A statement n times, planned each time.
CREATE FUNCTION run(statement text, n int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..n LOOP EXECUTE statement; END LOOP; END $$;

-- The first statement of a transaction of who has 2,000 clients assigned, which loads them and counts their rows.
CREATE PROCEDURE first_touch(token text) LANGUAGE plpgsql AS $$
DECLARE
    t float8;
BEGIN
    FOR i IN 1..21 LOOP
        PERFORM set_config('immiiq.token', token, true);
        t := bench_cpu();
        PERFORM count(*) FROM note;
        INSERT INTO touched VALUES (bench_cpu() - t);
        COMMIT;
    END LOOP;
END $$;
CREATE TABLE touched (ms float8);
GRANT INSERT ON touched TO bench_app;
SET SESSION AUTHORIZATION bench_app;
CALL first_touch(:'with2000_token');
RESET SESSION AUTHORIZATION;
SELECT l.* FROM (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS ms FROM touched) AS t CROSS JOIN LATERAL bench_line('policy', '2000 clients assigned: the first statement of a transaction', t.ms, 4, ' ms') AS l;

-- In CPU time, as the two are near to each other. The guide's table: a row of one of 1,000 teams, a user in many; its wrapped and indexed form beside ours.
CREATE TABLE guide (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), team_id uuid, line text);
CREATE TABLE ours (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, team_id uuid, line text);
SET session_replication_role = replica;
INSERT INTO immiiq.team (org_id, name) SELECT :'org', 'Guide ' || i FROM generate_series(1, 1000) AS i;
SET session_replication_role = origin;
CREATE TABLE guide_team AS SELECT team_id, row_number() OVER () AS n FROM immiiq.team WHERE name LIKE 'Guide %';
INSERT INTO guide (team_id, line) SELECT t.team_id, 'x' FROM generate_series(1, :clients) AS i JOIN guide_team AS t ON t.n = 1 + i % 1000;
INSERT INTO ours (org_id, team_id, line) SELECT :'org', team_id, line FROM guide;
CREATE TABLE guide_user (user_id uuid, team_id uuid, PRIMARY KEY (user_id, team_id));
CREATE FUNCTION guide_teams() RETURNS SETOF uuid LANGUAGE sql STABLE SECURITY DEFINER AS $$ SELECT team_id FROM guide_user WHERE user_id = current_setting('bench.user')::uuid $$;
CREATE INDEX ON guide (team_id);
ALTER TABLE guide ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON guide USING (team_id = ANY (ARRAY(SELECT guide_teams())));
SELECT immiiq.protect('ours', 'clients', team => 'team_id') AS ignored \gset
GRANT SELECT ON guide, ours TO bench_app;
CREATE FUNCTION guide_figure(teams int, org uuid, member uuid) RETURNS void LANGUAGE sql AS $$
    DELETE FROM immiiq.team_member AS tm WHERE tm.member_id = guide_figure.member;
    DELETE FROM guide_user;
    INSERT INTO immiiq.team_member (org_id, team_id, member_id) SELECT org, team_id, member FROM guide_team WHERE n <= teams;
    INSERT INTO guide_user SELECT member, team_id FROM guide_team WHERE n <= teams;
$$;
SELECT guide_figure(10, :'org', :'lead') \gset ignored_
VACUUM ANALYZE guide, ours, guide_user, immiiq.team_member, immiiq.team;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'lead_token', true), set_config('bench.user', :'lead', true) \gset ignored_
SELECT * FROM bench_pair_cpu('SELECT run(''SELECT count(*) FROM ours'', 5)', 'SELECT run(''SELECT count(*) FROM guide'', 5)', 15) \gset g10_
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT guide_figure(100, :'org', :'lead') \gset ignored_
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'lead_token', true), set_config('bench.user', :'lead', true) \gset ignored_
SELECT * FROM bench_pair_cpu('SELECT run(''SELECT count(*) FROM ours'', 5)', 'SELECT run(''SELECT count(*) FROM guide'', 5)', 15) \gset g100_
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT guide_figure(500, :'org', :'lead') \gset ignored_
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'lead_token', true), set_config('bench.user', :'lead', true) \gset ignored_
SELECT * FROM bench_pair_cpu('SELECT run(''SELECT count(*) FROM ours'', 5)', 'SELECT run(''SELECT count(*) FROM guide'', 5)', 15) \gset g500_
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT * FROM bench_line('policy', '1,000 teams, user in 10: times the wrapped and indexed policy of Supabase''s guide', :g10_a_ms / :g10_b_ms, 1, ' x');
SELECT * FROM bench_line('policy', '1,000 teams, user in 100: the same', :g100_a_ms / :g100_b_ms, 1, ' x');
SELECT * FROM bench_line('policy', '1,000 teams, user in 500: the same', :g500_a_ms / :g500_b_ms, 1, ' x');

-- A token, beside an indexed SELECT by primary key: prepared, through a client.
\setenv BENCH_TOKEN :token
\! printf '\\set t 1\nSELECT set_config($$immiiq.token$$, $$%s$$, true);\n' "$BENCH_TOKEN" > bench_token.pgbench
\! printf 'SELECT * FROM key_lookup WHERE id = 500;\n' > bench_select.pgbench
CREATE TABLE key_lookup AS SELECT i AS id, repeat('x', 100) AS v FROM generate_series(1, 1000) AS i;
ALTER TABLE key_lookup ADD PRIMARY KEY (id);
GRANT SELECT ON key_lookup TO bench_app;
VACUUM ANALYZE key_lookup;
\set pair `for i in 1 2 3 4 5; do for f in token select; do echo $f $(pgbench -U bench_app -n -M prepared -T 1 -f bench_$f.pgbench "$BENCH_DATABASE" 2>/dev/null | sed -n 's/^latency average = \(.*\) ms/\1/p'); done; done | sort -k1,1 -k2,2n | awk '{v[$1, ++n[$1]] = $2} END {print v["token", 3] / v["select", 3]}'; rm -f bench_token.pgbench bench_select.pgbench`
SELECT * FROM bench_line('policy', 'a token made active, times an indexed SELECT by key', :pair, 1.3, ' x');
