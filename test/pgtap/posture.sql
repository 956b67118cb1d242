-- immiiq.doctor(): every status that it can show inside one database (test/t/080_posture.pl has the server's).
\i test/pgtap/setup.psql
SELECT plan(49);

CREATE TABLE public.client (client_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid NOT NULL, note text);
SELECT immiiq.protect('public.client', 'clients') AS ignored \gset
CREATE FUNCTION pg_temp.said(wanted text) RETURNS text LANGUAGE sql AS
    $$ SELECT status FROM immiiq.doctor() WHERE check_name = wanted $$;
CREATE FUNCTION pg_temp.detail(wanted text) RETURNS text LANGUAGE sql AS
    $$ SELECT detail FROM immiiq.doctor() WHERE check_name = wanted $$;

-- Nothing is wrong.
SELECT results_eq($$SELECT check_name FROM immiiq.doctor() WHERE status <> 'ok' AND check_name NOT IN
    ('data_checksums', 'durability', 'log_settings', 'application_roles')$$, ARRAY[]::text[], 'a sound database has nothing to report');
SELECT results_eq($$SELECT count(*)::int, count(DISTINCT check_name)::int FROM immiiq.doctor()$$, 'VALUES (20, 20)', 'twenty checks, one row each');
SELECT is_empty($$SELECT check_name FROM immiiq.doctor() WHERE status NOT IN ('ok', 'warning', 'fail') OR detail IS NULL$$, 'each with a status and a detail');
SELECT is_empty($$SELECT check_name FROM immiiq.doctor() WHERE (status = 'ok') <> (hint IS NULL)$$, 'and a hint exactly where something is wrong');
SELECT is(pg_temp.said('organisation_keys'), 'ok', 'keys of organisations open');
SELECT matches(pg_temp.detail('row_security'), format(' %s protected', (SELECT count(*) FROM pg_policy WHERE polname = 'immiiq_select')), 'the directory is looked at with the protected table');

-- The library.
BEGIN;
UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'immiiq';
SELECT is(pg_temp.said('version'), 'fail', 'an extension of another version than the library');
ROLLBACK;

-- Keys.
BEGIN;
ALTER TABLE immiiq.org DISABLE TRIGGER USER;
INSERT INTO immiiq.org (name) VALUES ('without keys');
SELECT is(pg_temp.said('organisation_keys'), 'fail', 'an organisation without keys');
SELECT matches(pg_temp.detail('organisation_keys'), '1 of 3 .*IQ003', 'which is counted and named');
ROLLBACK;
BEGIN;
ALTER TABLE immiiq.root_key DISABLE TRIGGER USER;
UPDATE immiiq.root_key SET fingerprint = decode(repeat('00', 16), 'hex');
SELECT is(pg_temp.said('root_key'), 'fail', 'a root key that is not the one that was used');
ROLLBACK;
BEGIN;
INSERT INTO immiiq.root_key VALUES ('elsewhere-1', decode(repeat('00', 16), 'hex'), now());
SELECT is(pg_temp.said('root_key'), 'fail', 'a root key that was used and is not loaded');
SELECT matches(pg_temp.detail('root_key'), 'elsewhere-1', 'which is named');
ROLLBACK;

-- Protected tables.
BEGIN;
ALTER TABLE public.client NO FORCE ROW LEVEL SECURITY;
SELECT is(pg_temp.said('row_security'), 'fail', 'row security that is not forced');
SELECT matches(pg_temp.detail('row_security'), 'client', 'names the table');
ROLLBACK;
BEGIN;
ALTER TABLE immiiq.member DISABLE ROW LEVEL SECURITY;
SELECT is(pg_temp.said('row_security'), 'fail', 'row security that is off, on the directory too');
ROLLBACK;
BEGIN;
DROP POLICY immiiq_update ON public.client;
SELECT is(pg_temp.said('policies'), 'warning', 'a missing policy');
ROLLBACK;
BEGIN;
ALTER EVENT TRIGGER immiiq_keep_protected DISABLE;
CREATE POLICY everybody ON public.client USING (true);
SELECT is(pg_temp.said('policies'), 'fail', 'a policy that lets through more');
SELECT is(pg_temp.said('guards'), 'fail', 'an event trigger that is off');
ROLLBACK;
BEGIN;
ALTER TABLE public.client ENABLE TRIGGER "00_immiiq_capture";
SELECT is(pg_temp.said('capture'), 'fail', 'a capture trigger that replicas do not fire');
ROLLBACK;
BEGIN;
DROP TRIGGER "00_immiiq_capture" ON public.client;
SELECT is(pg_temp.said('capture'), 'fail', 'a capture trigger that is gone');
ROLLBACK;
BEGIN;
ALTER TABLE immiiq.journal DISABLE TRIGGER journal_append_only;
SELECT is(pg_temp.said('guards'), 'fail', 'a guard that is off');
SELECT matches(pg_temp.detail('guards'), 'journal_append_only', 'is named');
ROLLBACK;

-- Sealing.
SELECT lives_ok('SELECT 1', 'entries exist') FROM immiiq.entry LIMIT 1;
CALL immiiq.seal();
BEGIN;
ALTER TABLE immiiq.entry DISABLE TRIGGER USER;
INSERT INTO immiiq.entry (txid, at, org_id, incarnation, seq, context, month, body)
    SELECT 9000000000000000000, clock_timestamp() - interval '5 minutes', e.org_id, s.incarnation, 1, 0, e.month, ''
    FROM immiiq.entry AS e, immiiq.seal_state AS s LIMIT 1;
SELECT is(pg_temp.said('sealing'), 'warning', 'an entry that waits for five minutes');
UPDATE immiiq.entry SET at = clock_timestamp() - interval '2 hours' WHERE txid = 9000000000000000000;
SELECT is(pg_temp.said('sealing'), 'fail', 'or for two hours');
ROLLBACK;

-- Roles.
BEGIN;
ALTER ROLE regress_immiiq_app CREATEROLE;
SELECT is(pg_temp.said('application_roles'), 'fail', 'an application that may create roles');
ALTER ROLE regress_immiiq_app NOCREATEROLE BYPASSRLS;
SELECT is(pg_temp.said('application_roles'), 'fail', 'or bypasses row security');
ALTER ROLE regress_immiiq_app NOBYPASSRLS;
GRANT pg_read_server_files TO regress_immiiq_app;
SELECT is(pg_temp.said('application_roles'), 'fail', 'or reads the server''s files');
REVOKE pg_read_server_files FROM regress_immiiq_app;
ALTER TABLE public.client OWNER TO regress_immiiq_app;
SELECT is(pg_temp.said('application_roles'), 'fail', 'or owns a protected table');
ROLLBACK;
BEGIN;
DELETE FROM immiiq.role_grant;
SELECT is(pg_temp.said('application_roles'), 'warning', 'no application at all');
ROLLBACK;

-- Settings of this session.
BEGIN;
SET LOCAL log_parameter_max_length_on_error = -1;
SELECT is(pg_temp.said('log_settings'), 'warning', 'parameters in the log');
SET LOCAL synchronous_commit = off;
SELECT matches(pg_temp.detail('durability'), 'synchronous_commit = off', 'commits that are not on disk');
SET LOCAL log_min_messages = panic;
SELECT is(pg_temp.said('log_level'), 'warning', 'a log level that silences the hook');
ROLLBACK;
BEGIN;
SET LOCAL immiiq.record_denials = off;
SELECT is(pg_temp.detail('recording'), 'immiiq.record_denials is off in this session', 'denials that are not recorded');
ALTER ROLE regress_immiiq_app SET immiiq.record_field_access = off;
ALTER DATABASE :DBNAME SET immiiq.record_denials = 'false';
SELECT is(pg_temp.detail('recording'), format('immiiq.record_denials is off in database %s, in this session; immiiq.record_field_access is off for regress_immiiq_app', current_database()),
    'nor for a role, or in a database');
SELECT is(pg_temp.said('recording'), 'warning', 'is a warning');
ROLLBACK;

-- Who may ask.
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT is((SELECT count(*)::int FROM immiiq.doctor()), 20, 'an auditor may');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SELECT * FROM immiiq.doctor()', '42501', NULL, 'the application may not');
SELECT throws_ok('SELECT * FROM immiiq.verify_references()', '42501', NULL, 'nor look at references');
SELECT throws_ok('SELECT immiiq.open_org_keys(gen_random_uuid())', '42501', NULL, 'nor open keys');
RESET SESSION AUTHORIZATION;

-- ---- restores: only a superuser's COPY while nobody is active takes rows as they are ----
SELECT ok((SELECT count(*) > 20 AND sum(missing) = 0 FROM immiiq.verify_references()), 'every foreign key of immiiq''s tables is looked at, and nothing is missing');
\set file `mktemp -u "${TMPDIR:-/tmp}/posture_XXXXXX"`
COPY (SELECT gen_random_uuid(), 'Nowhere') TO :'file';
SELECT format('COPY immiiq.team (org_id, name) FROM %L', :'file') AS copy \gset
SELECT throws_ok(format('INSERT INTO immiiq.team (org_id, name) VALUES (%L, %L)', gen_random_uuid(), 'Nowhere'), 'IQ003', NULL, 'an organisation that is not there has no keys');
\set members `mktemp -u "${TMPDIR:-/tmp}/posture_XXXXXX"`
COPY (SELECT :'alpha', gen_random_uuid(), :'alpha_owner') TO :'members';
SELECT format('COPY immiiq.team_member (org_id, team_id, member_id) FROM %L', :'members') AS copy_member \gset
SELECT throws_ok(format('INSERT INTO immiiq.team_member VALUES (%L, %L, %L)', :'alpha', gen_random_uuid(), :'alpha_owner'), '23503', NULL, 'a superuser''s INSERT is checked');
BEGIN;
GRANT INSERT ON immiiq.team_member TO regress_immiiq_operator;
GRANT pg_read_server_files TO regress_immiiq_operator;
ALTER TABLE immiiq.team_member NO FORCE ROW LEVEL SECURITY;
ALTER TABLE immiiq.team_member DISABLE ROW LEVEL SECURITY;
SET LOCAL SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok_unguarded(:'copy_member', '23503', NULL, 'another''s COPY is checked, even where row security is off');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT throws_ok(:'copy_member', '23503', NULL, 'a COPY while somebody is active is checked');
ROLLBACK;
BEGIN;
:copy;
SELECT is((SELECT string_agg(format('%s %s %s', target, "constraint", missing), ', ') FROM immiiq.verify_references() WHERE missing > 0), 'immiiq.team team_org_id_fkey 1', 'a superuser''s COPY is not, and what is missing is found');
SELECT is(current_setting('session_replication_role'), 'origin', 'the setting is back');
SELECT throws_ok_unguarded(format('UPDATE immiiq.team SET org_id = %L WHERE name = %L', :'alpha', 'Nowhere'), '42501', NULL, 'guards hold as before');
ROLLBACK;
SELECT is((SELECT sum(missing) FROM immiiq.verify_references()), 0::numeric, 'and nothing of it stays');
SELECT finish();
