Objects: attempts to make something that runs later, as another.

-- case create_function (alpha_owner, refused 42501): makes a function
CREATE FUNCTION public.spy() RETURNS int LANGUAGE sql AS 'SELECT 1';
-- case create_in_immiiq (alpha_owner, refused 42501): makes a function in immiiq's schema
CREATE FUNCTION immiiq.spy() RETURNS int LANGUAGE sql AS 'SELECT 1';
-- case replace_function (alpha_owner, refused 42501, no control): replaces a function of immiiq's
CREATE OR REPLACE FUNCTION immiiq.current_org() RETURNS uuid LANGUAGE sql STABLE STRICT PARALLEL SAFE AS 'SELECT NULL::uuid';
-- case create_operator (alpha_owner, refused 42501): makes an operator
CREATE OPERATOR public.=== (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text);
-- case create_cast (alpha_owner, refused 42501, no control): makes a cast
CREATE CAST (enc_text AS bytea) WITHOUT FUNCTION;
-- case create_view (alpha_owner, refused 42501): makes a view
CREATE VIEW public.spy AS SELECT * FROM client;
-- case create_rule (alpha_owner, refused 42501, no control): makes a rule
CREATE RULE spy AS ON INSERT TO client DO ALSO NOTIFY spy;
-- case create_trigger (alpha_owner, refused 42501, no control): makes a trigger
CREATE TRIGGER spy BEFORE INSERT ON client FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
-- case create_index (alpha_owner, refused 42501): makes an index on a protected table
CREATE INDEX ON client (note);
-- case create_statistics (alpha_owner, refused 42501): makes statistics
CREATE STATISTICS spy ON note, email FROM client;
-- case references (alpha_owner, refused 42501, no control): refers to a protected table from its own
CREATE TEMP TABLE spy (org_id uuid, client_id uuid, FOREIGN KEY (org_id, client_id) REFERENCES client (org_id, client_id)) ON COMMIT DROP;
-- case inherits (alpha_owner, refused 42501, no control): inherits from a protected table
CREATE TEMP TABLE spy () INHERITS (client) ON COMMIT DROP;
-- case attach_partition (alpha_owner, refused 42501, no control): attaches a partition of its own
CREATE TEMP TABLE spy (LIKE event) ON COMMIT DROP; ALTER TABLE event ATTACH PARTITION spy FOR VALUES IN (2027);
-- case like_defaults (alpha_owner, hidden): copies a table's shape, and rows
CREATE TEMP TABLE spy (LIKE client INCLUDING ALL) ON COMMIT DROP; INSERT INTO spy SELECT * FROM client WHERE org_id = :'beta'; SELECT note FROM spy;
-- case event_trigger (alpha_owner, refused 42501, no control): makes an event trigger
CREATE EVENT TRIGGER spy ON ddl_command_start EXECUTE FUNCTION immiiq.refuse_change();
-- case comment (alpha_owner, refused 42501): comments on a table
COMMENT ON TABLE client IS 'defaced';
-- case create_schema (alpha_owner, refused 42501): makes a schema
CREATE SCHEMA spy;
-- case matview (alpha_owner, refused 42501): makes a materialized view
CREATE MATERIALIZED VIEW spy AS SELECT * FROM client;
-- case foreign_server (alpha_owner, refused 42501, no control): makes a foreign server
CREATE FOREIGN DATA WRAPPER spy;
-- case security_label (alpha_owner, refused 42501, no control): alters a column
ALTER TABLE client ALTER COLUMN note SET DEFAULT 'x';
-- case analyze_table (alpha_owner, hidden): analyses a table to read its messages
SET LOCAL client_min_messages = debug1; ANALYZE VERBOSE client; SELECT note FROM client WHERE org_id = :'beta';
-- case vacuum_table (none, says /skipping "client"|permission denied to vacuum "client"/, no control): vacuums a table to read its messages
VACUUM VERBOSE client;
-- case call_capture (alpha_owner, refused 42501, no control): calls internal functions of immiiq's
SELECT immiiq.bind_foreign_keys('client');
-- case call_seal (none, refused 42501, no control): seals the log
CALL immiiq.seal();
-- case call_doctor (alpha_owner, refused 42501): asks the doctor
SELECT * FROM immiiq.doctor();
-- case call_status (alpha_owner, refused 42501): asks for the journal's state
SELECT * FROM immiiq.journal_status();
-- case every_function (alpha_owner, hidden): calls every function of immiiq's that it may with another organisation's id
DO $$ DECLARE f record; r text; BEGIN
FOR f IN SELECT p.oid::regproc::text AS name FROM pg_proc AS p WHERE p.pronamespace = 'immiiq'::regnamespace AND p.prokind = 'f' AND p.pronargs = 1
    AND p.proargtypes[0] = 'uuid'::regtype AND has_function_privilege(p.oid, 'EXECUTE') LOOP
    BEGIN EXECUTE format('SELECT x::text FROM %s(%L::uuid) AS x LIMIT 1', f.name, 'be7a0000-0000-4000-8000-000000000000') INTO r; RAISE NOTICE '% %', f.name, r;
    EXCEPTION WHEN OTHERS THEN RAISE NOTICE '% %', f.name, SQLSTATE; END;
END LOOP; END $$;
SELECT note FROM client WHERE org_id = :'beta' LIMIT 1;
-- case create_aggregate (alpha_owner, refused 42501): makes an aggregate
CREATE AGGREGATE public.leak (text) (sfunc = textcat, stype = text);
-- case create_domain (alpha_owner, refused 42501): makes a domain
CREATE DOMAIN public.leak AS text CHECK (VALUE <> '');
-- case create_sequence (alpha_owner, refused 42501): makes a sequence
CREATE SEQUENCE public.leak;
-- case create_collation (alpha_owner, refused 42501): makes a collation
CREATE COLLATION public.leak FROM "C";
-- case create_text_search (alpha_owner, refused 42501): makes a text search configuration
CREATE TEXT SEARCH CONFIGURATION public.leak (COPY = simple);
-- case create_extended_table (alpha_owner, refused 42501): makes a table
CREATE TABLE public.leak (id int);
-- case create_subscription (alpha_owner, refused 42501, no control): subscribes to another server
CREATE SUBSCRIPTION leak CONNECTION 'dbname=postgres' PUBLICATION p WITH (connect = false);
-- case create_access_method (alpha_owner, refused 42501, no control): makes an access method
CREATE ACCESS METHOD leak TYPE TABLE HANDLER heap_tableam_handler;
-- case create_transform (alpha_owner, refused 42501, no control): makes a transform
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION abs(int));
-- case create_server_language (alpha_owner, refused 42501, no control): makes a language
CREATE LANGUAGE leak HANDLER plpgsql_call_handler;
-- case alter_function (alpha_owner, refused 42501): changes a function of the application's
ALTER FUNCTION find_note(text) SECURITY DEFINER;
-- case alter_view (alpha_owner, refused 42501): lets a view run as its owner
ALTER VIEW client_view SET (security_invoker = false);
-- case alter_column (alpha_owner, refused 42501, no control): changes a column's type
ALTER TABLE client ALTER COLUMN note TYPE varchar;
-- case drop_table (alpha_owner, refused 42501, no control): drops a protected table
DROP TABLE client CASCADE;
-- case rename_table (alpha_owner, refused 42501): puts another table in a protected one's place
ALTER TABLE client RENAME TO client_old;
-- case default_privileges (alpha_owner, says /^0$/, no control): gives others its own future objects, which it cannot make
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; SELECT count(*) FROM pg_class WHERE relowner = 'regress_immiiq_app'::regrole; ROLLBACK;
-- case refresh_matview (alpha_owner, refused 42P01, no control): refreshes what it could have made
REFRESH MATERIALIZED VIEW leak;
-- case import_schema (alpha_owner, refused 42704, no control): imports a foreign schema
IMPORT FOREIGN SCHEMA public FROM SERVER nowhere INTO public;
-- case drop_schema (alpha_owner, refused 42501, no control): drops immiiq's schema
SET LOCAL lock_timeout = '2s'; DROP SCHEMA immiiq CASCADE;
-- case drop_extension (alpha_owner, refused 42501): drops immiiq
SET LOCAL lock_timeout = '2s'; DROP EXTENSION immiiq CASCADE;
