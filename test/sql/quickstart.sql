-- The README's example, from an empty database to a search on sealed values, as psql shows it.
SELECT extversion FROM pg_extension WHERE extname = 'immiiq';

SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_immiiq_web;
DROP ROLE IF EXISTS regress_immiiq_ops;
RESET client_min_messages;
CREATE ROLE regress_immiiq_web LOGIN;
CREATE ROLE regress_immiiq_ops LOGIN;

CREATE TABLE client (org_id uuid, client_id uuid DEFAULT gen_random_uuid(), team_id uuid, assignee_id uuid,
                     name enc_text(equality, fold), born enc_date(equality), passport enc_text(equality), PRIMARY KEY (org_id, client_id));
SELECT immiiq.protect('client', 'clients', client => 'client_id', team => 'team_id', assignee => 'assignee_id');
CREATE INDEX ON client (org_id, passport);
SELECT immiiq.grant_application('regress_immiiq_web');
GRANT SELECT, INSERT, UPDATE, DELETE ON client TO regress_immiiq_web;
SELECT immiiq.grant_operator('regress_immiiq_ops');

-- The first organisation and its first member.
SET SESSION AUTHORIZATION regress_immiiq_ops;
SELECT immiiq.create_org('Harbour Migration') AS org \gset
BEGIN;
SELECT FROM immiiq.operate(:'org', 'first member') \gset
INSERT INTO immiiq.member (org_id, email, name, scope, modules)
VALUES (:'org', 'ana@harbour.example', 'Ana', 'all', '{clients,cases,communications,documents,invoices,reports,settings,team_management}')
RETURNING member_id \gset
COMMIT;
SELECT immiiq.issue_session(:'member_id') AS token \gset
RESET SESSION AUTHORIZATION;

-- The web tier.
SET SESSION AUTHORIZATION regress_immiiq_web;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
INSERT INTO client (name, born, passport) VALUES ('Zoë Nuñez', '1990-04-01', 'X1234567');
SELECT name, born FROM client WHERE passport = 'X1234567';
SET LOCAL enable_seqscan = off;  -- there is one row
EXPLAIN (COSTS OFF) SELECT name, born FROM client WHERE passport = 'X1234567';
SELECT name, born FROM client WHERE name = 'ZOE NUNEZ';
COMMIT;

-- Without a token there is nothing to see, and the superuser sees sealed values only.
SELECT count(*) FROM client;
RESET SESSION AUTHORIZATION;
SELECT left(name::text, 4) AS name, left(born::text, 4) AS born FROM client;

DROP TABLE client;
