-- What a developer sees in psql when the token is wrong, late, second, or set by the wrong role.
\set VERBOSITY default
SELECT FROM immiiq.grant_application('regress_immiiq_app');
SELECT immiiq.create_org('Context') AS org \gset
BEGIN;
SELECT FROM immiiq.operate(:'org', 'pg_regress');
INSERT INTO immiiq.member (org_id, email, name, scope, modules) VALUES
    (:'org', 'first@context.example', 'First', 'all', '{clients,cases}'),
    (:'org', 'second@context.example', 'Second', 'assigned', '{clients}');
SELECT immiiq.issue_session(member_id) AS first FROM immiiq.member WHERE org_id = :'org' AND name = 'First' \gset
SELECT immiiq.issue_session(member_id) AS second FROM immiiq.member WHERE org_id = :'org' AND name = 'Second' \gset
COMMIT;

SELECT set_config('immiiq.token', :'first', true);
SET ROLE regress_immiiq_app;
SELECT immiiq.act_as_assistant('summary');
BEGIN;
SELECT actor, scope, modules, org_id = :'org' AS here FROM immiiq.authenticate(:'first', '192.0.2.7', 'psql');
SHOW immiiq.token;
SELECT immiiq.current_org() = :'org' AS org, immiiq.current_member() IS NOT NULL AS member, immiiq.current_actor();
SAVEPOINT a;
SELECT immiiq.authenticate(:'second');
ROLLBACK TO a;
SELECT immiiq.act_as_assistant('summary');
ROLLBACK TO a;
PREPARE TRANSACTION 'context';
SELECT immiiq.current_actor();
SELECT immiiq.authenticate('iq_s_something_else');
SET immiiq.token = 'x';
SET immiiq.client_ip = 'somewhere';
ALTER ROLE regress_immiiq_app SET immiiq.token = 'x';
RESET ROLE;
ALTER ROLE regress_immiiq_app SET immiiq.token = 'x';
SELECT immiiq.operate(:'org', '');
SELECT immiiq.operate('00000000-0000-0000-0000-000000000000', 'nil');
