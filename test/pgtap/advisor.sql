-- immiiq.advisor: a clean schema is silent; every hole is built, found, and closed by the SQL that the advisor gives.
\i test/pgtap/setup.psql
SELECT plan(145);

-- ---- a clean schema ----

CREATE SCHEMA firm;
CREATE TABLE firm.client (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, team_id uuid, assignee_id uuid, passport enc_text(equality), name text);
CREATE TABLE firm.matter (org_id uuid, id uuid DEFAULT gen_random_uuid(), client_id uuid REFERENCES firm.client, office_id uuid, title text, PRIMARY KEY (org_id, id));
CREATE TABLE firm.message (org_id uuid, id uuid, sent date, line text, PRIMARY KEY (org_id, id, sent)) PARTITION BY RANGE (sent);
CREATE TABLE firm.message_2026 PARTITION OF firm.message FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE firm.country (code text PRIMARY KEY, name text);
SELECT immiiq.protect('firm.client', 'clients', client => 'id', team => 'team_id', assignee => 'assignee_id'),
    immiiq.protect('firm.matter', 'cases', client => 'client_id', office => 'office_id'), immiiq.protect('firm.message', 'communications') \gset ignored_
CREATE VIEW firm.matters WITH (security_invoker) AS SELECT id, title FROM firm.matter;
CREATE FUNCTION firm.careful(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT %I', name);
    EXECUTE 'SELECT ' || quote_ident(name);
    EXECUTE 'SELECT $1' USING name;
END
$$;
CREATE FUNCTION firm.definer() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT 1';
REVOKE ALL ON FUNCTION firm.definer() FROM PUBLIC;
GRANT USAGE ON SCHEMA firm TO regress_immiiq_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA firm TO regress_immiiq_app;
-- The runner's own extension: pgTAP has what would be findings, were it not an extension's.
SET log_min_duration_statement = -1;
SET log_parameter_max_length_on_error = 0;
SET log_statement = 'none';
SELECT is_empty('SELECT * FROM immiiq.advisor', 'a clean schema has nothing to report');
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT lives_ok('SELECT * FROM immiiq.advisor', 'auditors read it');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT lives_ok('SELECT * FROM immiiq.advisor', 'and operators');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SELECT * FROM immiiq.advisor', '42501', NULL, 'the application does not');
SELECT throws_ok('SELECT * FROM immiiq.advise()', '42501', NULL, 'by no name');
RESET SESSION AUTHORIZATION;

-- ---- holes ----

CREATE TABLE hole (n int GENERATED ALWAYS AS IDENTITY, finding text, build text, remedy boolean DEFAULT true);
INSERT INTO hole (finding, build) VALUES
    ('names an organisation and is not protected', 'CREATE TABLE firm.loose (id uuid PRIMARY KEY, org_id uuid)'),
    ('names an organisation and is not protected', 'CREATE TABLE firm.loose (id uuid PRIMARY KEY, owner uuid NOT NULL REFERENCES immiiq.org)'),
    ('is recorded as protected, and row security is off or its policies are not immiiq''s', 'ALTER TABLE firm.client DISABLE ROW LEVEL SECURITY'),
    ('row security is not forced: its owner sees everything', 'ALTER TABLE firm.client NO FORCE ROW LEVEL SECURITY'),
    ('is a partition of a protected table, open to direct access', 'ALTER EVENT TRIGGER immiiq_keep_protected DISABLE; ALTER TABLE firm.message_2026 DISABLE ROW LEVEL SECURITY; ALTER EVENT TRIGGER immiiq_keep_protected ENABLE'),
    ('permissive policy everybody widens what members see', 'ALTER EVENT TRIGGER immiiq_keep_protected DISABLE; CREATE POLICY everybody ON firm.client USING (true); ALTER EVENT TRIGGER immiiq_keep_protected ENABLE'),
    ('one of its four policies is gone: the command is refused to everybody', 'DROP POLICY immiiq_update ON firm.client'),
    ('changes are not audited: trigger 00_immiiq_capture is gone or not ENABLE ALWAYS', 'DROP TRIGGER "00_immiiq_capture" ON firm.client'),
    ('changes are not audited: trigger 00_immiiq_capture is gone or not ENABLE ALWAYS', 'ALTER TABLE firm.client ENABLE TRIGGER "00_immiiq_capture"'),
    ('trigger "00" fires before the change that set it off is captured: what it changes stands in the log first', 'CREATE TRIGGER "00" AFTER UPDATE ON firm.client FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()'),
    ('TRUNCATE would go past the audit: trigger immiiq_truncate is gone or not ENABLE ALWAYS', 'DROP TRIGGER immiiq_truncate ON firm.client'),
    ('a rule rewrites what is done to a protected table', 'CREATE RULE r AS ON INSERT TO firm.client DO ALSO NOTIFY x'),
    ('column org_id holds the organisation and may be NULL', 'ALTER TABLE firm.client ALTER COLUMN org_id DROP NOT NULL'),
    ('column team_id has no key to the directory', 'ALTER TABLE firm.client DROP CONSTRAINT client_team_id_immiiq'),
    ('column org_id has no key to the directory', 'ALTER TABLE firm.client DROP CONSTRAINT client_org_id_immiiq'),
    ('is unique over all organisations: a duplicate tells of another''s value', 'CREATE UNIQUE INDEX ON firm.client (name)'),
    ('is unique over all organisations: a duplicate tells of another''s value', 'ALTER TABLE firm.client ADD UNIQUE (name)'),
    ('is a foreign key of firm.matter that may refer to another organisation''s rows', 'ALTER TABLE firm.matter ADD COLUMN other uuid REFERENCES firm.client'),
    ('is not protected and refers to firm.client, whose ids it shows and tests', 'CREATE TABLE firm.child (id uuid PRIMARY KEY, client uuid REFERENCES firm.client)'),
    ('no index serves the policy on team_id', 'DROP INDEX firm.client_team_id_immiiq'),
    ('no index serves the policy on office_id', 'DROP INDEX firm.matter_office_id_immiiq'),
    ('no statistics say that team_id implies the organisation: estimates are far too low', 'DROP STATISTICS firm.client_team_id_immiiq'),
    ('sealed column secret stands in a table that is not protected', 'CREATE TABLE firm.vault (id uuid PRIMARY KEY, org_id uuid, secret enc_text(7, sealed))'),
    ('column passport_number looks personal and is not sealed', 'ALTER TABLE firm.client ADD COLUMN passport_number text'),
    ('column date_of_birth looks personal and is not sealed', 'ALTER TABLE firm.client ADD COLUMN date_of_birth date'),
    ('sealed columns share domain 9: equal values show across them', 'ALTER TABLE firm.client ADD COLUMN a enc_text(9, equality), ADD COLUMN b enc_text(9, equality)'),
    ('shows rows of firm.client as its owner sees them', 'CREATE VIEW firm.clients AS SELECT id FROM firm.client'),
    ('is a materialized copy of firm.client without row security', 'CREATE MATERIALIZED VIEW firm.copy AS SELECT id FROM firm.client'),
    ('SECURITY DEFINER without a pinned search_path: its caller chooses what it runs', 'CREATE FUNCTION firm.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS ''SELECT 1'''),
    ('SECURITY DEFINER of an owner whom row security does not bind, and the application may call it', 'GRANT EXECUTE ON FUNCTION firm.definer() TO regress_immiiq_app'),
    ('SECURITY DEFINER of an owner whom row security does not bind, and the application may call it', 'GRANT EXECUTE ON FUNCTION firm.definer() TO PUBLIC'),
    ('puts its input into SQL without quoting it', 'CREATE FUNCTION firm.f(name text) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN EXECUTE ''SELECT '' || name; END $f$'),
    ('puts its input into SQL without quoting it', 'CREATE FUNCTION firm.f(name text) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN EXECUTE format(''SELECT %s'', name); END $f$'),
    ('the application is superuser', 'ALTER ROLE regress_immiiq_app SUPERUSER'),
    ('the application bypasses row security', 'ALTER ROLE regress_immiiq_app BYPASSRLS'),
    ('the application may create roles, and so become any of them', 'ALTER ROLE regress_immiiq_app CREATEROLE'),
    ('the application may replicate, and so read every byte', 'ALTER ROLE regress_immiiq_app REPLICATION'),
    ('the application may make databases, where nothing is protected', 'ALTER ROLE regress_immiiq_app CREATEDB'),
    ('the application is member of pg_read_all_data', 'GRANT pg_read_all_data TO regress_immiiq_app'),
    ('the application is member of pg_read_server_files', 'GRANT pg_read_server_files TO regress_immiiq_app'),
    ('the application is member of pg_execute_server_program', 'GRANT pg_execute_server_program TO regress_immiiq_app'),
    ('the application (regress_immiiq_app) has the powers of its owner', 'ALTER TABLE firm.client OWNER TO regress_immiiq_app'),
    ('the application (regress_immiiq_app) has the powers of its owner', 'ALTER TABLE firm.client OWNER TO regress_immiiq_nobody; GRANT regress_immiiq_nobody TO regress_immiiq_app'),
    ('the application has the rights of operator, too', 'SELECT immiiq.grant_operator(''regress_immiiq_app'')'),
    ('the application has the rights of auditor, too', 'SELECT immiiq.grant_auditor(''regress_immiiq_app'')'),
    ('the application has the rights of mailer, too', 'GRANT regress_immiiq_mailer TO regress_immiiq_app'),
    ('has the rights of auditor and does not exist any more', 'CREATE ROLE regress_immiiq_gone; SELECT immiiq.grant_auditor(''regress_immiiq_gone''); DROP OWNED BY regress_immiiq_gone; DROP ROLE regress_immiiq_gone'),
    ('PUBLIC has SELECT on it', 'GRANT SELECT ON firm.client TO PUBLIC'),
    ('the application (regress_immiiq_app) has TRIGGER, TRUNCATE on it', 'GRANT TRUNCATE, TRIGGER ON firm.client TO regress_immiiq_app'),
    ('the application (regress_immiiq_app) may make objects in it, for others to stumble upon', 'GRANT CREATE ON SCHEMA firm TO regress_immiiq_app'),
    ('the application (PUBLIC) may make objects in it, for others to stumble upon', 'GRANT CREATE ON SCHEMA firm TO PUBLIC'),
    ('the application (regress_immiiq_app) may make schemas in this database', 'DO $d$ BEGIN EXECUTE format(''GRANT CREATE ON DATABASE %I TO regress_immiiq_app'', current_database()); END $d$'),
    ('gives PUBLIC privileges on tables that it will make', 'ALTER DEFAULT PRIVILEGES IN SCHEMA firm GRANT SELECT ON TABLES TO PUBLIC'),
    ('has session_replication_role=replica set for it', 'ALTER ROLE regress_immiiq_app SET session_replication_role = replica'),
    ('has row_security=off set for it', 'DO $d$ BEGIN EXECUTE format(''ALTER DATABASE %I SET row_security = off'', current_database()); END $d$'),
    ('the application (regress_immiiq_app) may change this setting', 'GRANT SET, ALTER SYSTEM ON PARAMETER immiiq.firewall TO regress_immiiq_app'),
    ('the application (PUBLIC) may change this setting', 'GRANT SET ON PARAMETER immiiq.record_denials TO PUBLIC'),
    ('this extension opens a way out of the database, or past row security', 'CREATE EXTENSION dblink'),
    ('functions in this language run outside the database''s rules', 'CREATE LANGUAGE untrusted_again HANDLER plpgsql_call_handler'),
    ('the application (regress_immiiq_app) may use this foreign server', 'CREATE FOREIGN DATA WRAPPER w; CREATE SERVER elsewhere FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN SERVER elsewhere TO regress_immiiq_app'),
    ('publishes protected tables: their plain columns leave this server', 'CREATE PUBLICATION few FOR TABLE firm.client'),
    ('publishes protected tables: their plain columns leave this server', 'CREATE PUBLICATION every FOR ALL TABLES'),
    ('its key number counts up: ids are guessed, and tell how many rows others have', 'CREATE TABLE firm.counted (org_id uuid, number int GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (org_id, number)); SELECT immiiq.protect(''firm.counted'', NULL)'),
    ('this event trigger is off: DDL can undo protection in silence', 'ALTER EVENT TRIGGER immiiq_keep_protected DISABLE');
-- ALTER SYSTEM cannot run inside a function: t/085_advisor.pl runs these remedies.
INSERT INTO hole (finding, build, remedy) VALUES
    ('statements are logged, with the values that stand in them', 'SET LOCAL log_statement = ''all''', false),
    ('slow statements are logged, with the values that stand in them and their parameters', 'SET LOCAL log_min_duration_statement = 100', false),
    ('parameters are logged with errors', 'SET LOCAL log_parameter_max_length_on_error = -1', false),
    ('plans are logged, with constants', 'SET LOCAL debug_print_plan = on', false),
    ('every role reads every large object', 'SET LOCAL lo_compat_privileges = on', false);
CREATE TABLE outcome (n int, found boolean, closed boolean, said text);
-- Builds a hole, looks, runs the remedy, looks again. Nothing of it stays.
CREATE FUNCTION try(h hole) RETURNS outcome LANGUAGE plpgsql AS $$
DECLARE
    got outcome;
    cure text;
BEGIN
    got.n := h.n;
    BEGIN
        EXECUTE h.build;
        got.found := EXISTS (SELECT FROM immiiq.advisor WHERE finding = h.finding);
        got.said := (SELECT string_agg(finding, '; ') FROM immiiq.advisor);
        IF h.remedy THEN
            FOR cure IN SELECT remedy FROM immiiq.advisor WHERE finding = h.finding LOOP
                got.said := got.said || ' → ' || cure;
                EXECUTE cure;
            END LOOP;
            got.closed := NOT EXISTS (SELECT FROM immiiq.advisor WHERE finding = h.finding);
        END IF;
        RAISE SQLSTATE 'XX999';
    EXCEPTION
        WHEN SQLSTATE 'XX999' THEN NULL;
        WHEN OTHERS THEN got.said := coalesce(got.said, '') || ' ! ' || SQLERRM;
    END;
    RETURN got;
END
$$;
INSERT INTO outcome SELECT (t).* FROM (SELECT try(h) AS t FROM hole AS h ORDER BY n) AS s;
SELECT ok(coalesce(o.found, false), format('found: %s (%s)', h.finding, left(h.build, 60))) || coalesce(E'\n' || CASE WHEN o.found IS NOT TRUE THEN diag(o.said) END, '')
FROM hole AS h JOIN outcome AS o USING (n) ORDER BY n;
SELECT ok(coalesce(o.closed, false), format('closed by its remedy: %s', h.finding)) || coalesce(E'\n' || CASE WHEN o.closed IS NOT TRUE THEN diag(o.said) END, '')
FROM hole AS h JOIN outcome AS o USING (n) WHERE h.remedy ORDER BY n;
SELECT cmp_ok((SELECT count(DISTINCT regexp_replace(finding, '(column|on|that|domain|has|of|policy) [a-z_.0-9()=]+', '\1 …', 'g')) FROM hole)::int, '>=', 30, 'these are thirty kinds and more');
SELECT is_empty('SELECT * FROM immiiq.advisor', 'and afterwards the schema is clean');

-- ---- kinds of roles, taken back ----

CREATE ROLE regress_immiiq_several;
SELECT immiiq.grant_operator('regress_immiiq_several'), immiiq.grant_auditor('regress_immiiq_several') \gset ignored_
SELECT lives_ok($$SELECT immiiq.revoke_kind('operator', 'regress_immiiq_several')$$, 'a kind is taken back');
SELECT ok(NOT has_function_privilege('regress_immiiq_several', 'immiiq.operate(uuid, text)', 'EXECUTE'), 'and what it gave');
SELECT ok(NOT EXISTS (SELECT FROM immiiq.privilege AS p WHERE p.kind = 'auditor' AND p.object LIKE 'FUNCTION %'
    AND NOT has_function_privilege('regress_immiiq_several', substr(p.object, 10), 'EXECUTE')), 'not what the role''s other kind gives as well');
SELECT immiiq.revoke_kind('auditor', 'regress_immiiq_several') \gset ignored_
SELECT is((SELECT count(*)::int FROM pg_shdepend WHERE refobjid = 'regress_immiiq_several'::regrole AND deptype = 'a'
    AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())), 0, 'after the last kind nothing is left');
DROP ROLE regress_immiiq_several;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$SELECT immiiq.revoke_kind('application', 'regress_immiiq_app')$$, '42501', NULL, 'the application takes nothing from itself: it would be out of the firewall');
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
