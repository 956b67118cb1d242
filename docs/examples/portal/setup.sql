-- What the portal wants of the practices' database, by its DBA: once, before it starts. Variables: bucket (its address), secret.

-- The mail server's role: reads the outbox, which the portal's own role cannot.
CREATE ROLE practice_mailer LOGIN;
SELECT immiiq.grant_mailer('practice_mailer');

-- The search looks at these, too (the others have their indexes in demo/schema.sql).
CREATE INDEX ON clients (org_id, name);
CREATE INDEX ON clients (org_id, phone);
CREATE INDEX ON clients (org_id, email);
CREATE INDEX ON documents (org_id, number);

-- Posture is read by an auditor's job, since application roles read no statistics of the server; whom its last look is shown is said here,
-- as for the log: scope all and the module reports.
CREATE SCHEMA portal;
CREATE TABLE portal.posture_seen AS SELECT p.*, now() AS seen_at FROM immiiq.posture AS p WITH NO DATA;
CREATE FUNCTION portal.look() RETURNS void LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    DELETE FROM portal.posture_seen;
    INSERT INTO portal.posture_seen SELECT p.*, now() FROM immiiq.posture AS p;
END;
CREATE FUNCTION portal.posture() RETURNS SETOF portal.posture_seen
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT p.* FROM portal.posture_seen AS p WHERE immiiq.audit_org() IS NOT NULL';
ALTER FUNCTION portal.posture() OWNER TO practice_auditor;
REVOKE ALL ON FUNCTION portal.look(), portal.posture() FROM PUBLIC;
GRANT USAGE ON SCHEMA portal TO practice_app, practice_auditor;
GRANT EXECUTE ON FUNCTION portal.posture() TO practice_app;
GRANT EXECUTE ON FUNCTION portal.look() TO practice_auditor;
GRANT SELECT, INSERT, DELETE ON portal.posture_seen TO practice_auditor;
-- A bucket for each practice, and a file for each document of a client who is open.
\connect - practice_operator
CREATE TEMPORARY TABLE practice AS SELECT number, org_id FROM generator.practice;
SELECT format($$
    BEGIN;
    SELECT immiiq.operate(%1$L, 'setting up the portal');
    INSERT INTO immiiq.object_store (object_store_id, name, endpoint, region, bucket, style, url_ttl) VALUES (generator.id('store', %2$s), 'papers', %3$L, 'local', 'papers-%2$s', 'path', 60);
    SELECT immiiq.set_store_credentials(generator.id('store', %2$s), 'portal', %4$L);
    INSERT INTO immiiq.document (document_id, client_id, object_store_id, filename, content_type)
        SELECT document_id, client_id, generator.id('store', %2$s), d.title::text || '.pdf', 'application/pdf'
        FROM documents d JOIN clients c USING (org_id, client_id) WHERE c.status = 'open';
    COMMIT;$$, org_id, number, :'bucket', :'secret')
FROM practice ORDER BY number \gexec

-- The generator of the demo's data has done its work; then the first look at what holds.
\connect - postgres
SET client_min_messages = warning;
DROP SCHEMA generator CASCADE;
\connect - practice_auditor
SELECT portal.look();
