-- What a table's owner wrote runs with the owner's rights, whichever function of immiiq's touches the table.
\i test/pgtap/setup.psql
SELECT plan(15);

CREATE ROLE regress_immiiq_author NOLOGIN;
SELECT immiiq.grant_owner('regress_immiiq_author') AS ignored \gset
CREATE SCHEMA author AUTHORIZATION regress_immiiq_author;
GRANT USAGE ON SCHEMA author TO PUBLIC;

---- The application's own temporary table, with a policy that reads what superusers read

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$SELECT * FROM immiiq.as_owner('pg_class', 'SELECT 1') AS o (one int)$$, '42501', NULL, 'nobody works as an owner by hand');
SELECT throws_ok($$SELECT * FROM immiiq.as_owner('pg_class', 'SELECT $1', 1) AS o (one int)$$, '42501', NULL, 'nor with parameters');
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
CREATE TEMP TABLE own (org_id uuid, id text PRIMARY KEY, remark text) ON COMMIT DROP;
ALTER TABLE own ENABLE ROW LEVEL SECURITY;
CREATE POLICY immiiq_select ON own FOR SELECT USING (immiiq.visible(NULL, 'select', org_id, NULL, NULL, NULL, NULL)
    AND set_config('test.acted', current_user || pg_read_file('PG_VERSION'), true) IS NOT NULL);
INSERT INTO own VALUES (:'alpha', '1');
SELECT throws_ok($$SELECT * FROM immiiq.sign_off_status('own', '1')$$, '42501', 'permission denied for function pg_read_file', 'its policies read no file');
SELECT is(current_setting('test.acted', true), NULL, 'nor act as anybody else');
COMMIT;
RESET SESSION AUTHORIZATION;

---- A table of an owner who is no superuser

SET ROLE regress_immiiq_author;
CREATE TABLE author.acted (who name, what text);
CREATE FUNCTION author.act() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO author.acted VALUES (current_user, TG_TABLE_NAME || ' ' || TG_OP);
    RETURN coalesce(NEW, OLD);
END
$$;
CREATE FUNCTION author.look(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO author.acted VALUES (current_user, 'policy');
    RETURN true;
END
$$;
CREATE TABLE author.client (org_id uuid, client_id uuid, name text, PRIMARY KEY (org_id, client_id));
CREATE TABLE author.visit (org_id uuid, visit_id int, client_id uuid, note text, on_day date, PRIMARY KEY (org_id, visit_id));
CREATE TABLE author.letter (org_id uuid, letter_id int, client_id uuid, body text, PRIMARY KEY (org_id, letter_id));
SELECT immiiq.protect('author.client', 'clients', client => 'client_id'), immiiq.protect('author.visit', 'clients', client => 'client_id'),
    immiiq.protect('author.letter', 'clients', client => 'client_id') \gset ignored_
ALTER POLICY immiiq_select ON author.letter USING (immiiq.visible('clients', 'select', org_id, client_id, NULL, NULL, NULL) AND author.look(body));
CREATE TRIGGER act BEFORE UPDATE OR DELETE ON author.client FOR EACH ROW EXECUTE FUNCTION author.act();
CREATE TRIGGER act AFTER UPDATE OR DELETE ON author.visit FOR EACH ROW EXECUTE FUNCTION author.act();
CREATE TRIGGER act BEFORE UPDATE OR DELETE ON author.letter FOR EACH ROW EXECUTE FUNCTION author.act();
GRANT SELECT, INSERT, UPDATE, DELETE ON author.client, author.visit, author.letter TO regress_immiiq_app, regress_immiiq_operator;
RESET ROLE;
INSERT INTO immiiq.erasure_rule VALUES ('author.letter', 'anonymise', '{"body": null}', 'statistics', NULL, NULL);

\set one 'c1000000-0000-4000-8000-000000000001'
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO author.client VALUES (:'alpha', :'one', 'n');
INSERT INTO author.visit VALUES (:'alpha', 1, :'one', 'n', current_date), (:'alpha', 2, :'one', 'n', '1990-01-01');
INSERT INTO author.letter VALUES (:'alpha', 1, :'one', 'b');
UPDATE immiiq.member SET permissions = '{erase,sign_off}' WHERE member_id = :'alpha_owner';
COMMIT;
RESET SESSION AUTHORIZATION;

SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT lives_ok($$SELECT * FROM immiiq.sign_off_status('author.letter', '1')$$, 'a row under the owner''s own policy can be signed');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT DISTINCT who, what FROM author.acted', $$VALUES ('regress_immiiq_author'::name, 'policy')$$, 'the policy ran as the owner');
DELETE FROM author.acted;

-- Retention.
INSERT INTO immiiq.retention_rule (target, from_column, period, action, basis) VALUES ('author.visit', 'on_day', '2 years', 'delete', 'policy')
RETURNING retention_rule_id AS rule \gset
CREATE FUNCTION retained() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    WHILE immiiq.retention_step() <> 'done' LOOP END LOOP;
    RETURN (SELECT problem FROM immiiq.retention_run ORDER BY retention_run_id DESC LIMIT 1);
END
$$;
SELECT is(retained(), NULL, 'retention takes rows of the table');
SELECT results_eq('SELECT who, what FROM author.acted', $$VALUES ('regress_immiiq_author'::name, 'visit DELETE')$$, 'its trigger ran as the owner');
DELETE FROM author.acted;

-- Erasure.
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT immiiq.request_erasure(:'one', 'letter') AS request \gset
SELECT immiiq.schedule_erasure(:'request', now()) AS ignored \gset
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.execute_erasure(:'request');
SELECT is((SELECT count(*) FROM author.client) + (SELECT count(*) FROM author.visit) + (SELECT count(body) FROM author.letter), 0::bigint, 'an erasure takes what it finds');
SELECT results_eq('SELECT DISTINCT who, what FROM author.acted ORDER BY 2',
    $$VALUES ('regress_immiiq_author'::name, 'client DELETE'), ('regress_immiiq_author', 'letter UPDATE'), ('regress_immiiq_author', 'visit DELETE')$$, 'every trigger ran as the owner');

-- What waits for the end of the transaction would run as who ends it.
SET ROLE regress_immiiq_author;
CREATE CONSTRAINT TRIGGER wait AFTER DELETE ON author.visit DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION author.act();
RESET ROLE;
DELETE FROM author.acted;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO author.visit VALUES (:'alpha', 3, :'one', 'n', '1990-01-01');
COMMIT;
RESET SESSION AUTHORIZATION;
UPDATE immiiq.retention_run SET started_at = started_at - interval '1 year';
SELECT is(retained(), NULL, 'a deferred trigger is no obstacle');
SELECT results_eq('SELECT DISTINCT who, what FROM author.acted', $$VALUES ('regress_immiiq_author'::name, 'visit DELETE')$$, 'it ran at once, as the owner');
SET ROLE regress_immiiq_author;
CREATE FUNCTION author.lend() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'SET CONSTRAINTS ALL DEFERRED';
    DELETE FROM author.visit WHERE visit_id = 5;
    RETURN OLD;
END
$$;
CREATE TRIGGER lend BEFORE DELETE ON author.visit FOR EACH ROW WHEN (OLD.visit_id = 4) EXECUTE FUNCTION author.lend();
RESET ROLE;
SET SESSION AUTHORIZATION regress_immiiq_operator;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO author.visit VALUES (:'alpha', 4, :'one', 'n', '1990-01-01'), (:'alpha', 5, :'one', 'n', current_date);
COMMIT;
RESET SESSION AUTHORIZATION;
DELETE FROM author.acted;
UPDATE immiiq.retention_run SET started_at = started_at - interval '1 year';
SELECT matches(retained(), 'security-restricted operation', 'who defers it again is refused');
SELECT is_empty('SELECT * FROM author.acted', 'and runs nothing');
SELECT is((SELECT count(*) FROM author.visit), 2::bigint, 'the rows stay');
SELECT * FROM finish();
