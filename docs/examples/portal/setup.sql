-- What the portal wants of the practices' database, by its DBA: once, before it starts. Variables: bucket (its address), secret.

-- The mail server's role: reads the outbox, which the portal's own role cannot.
CREATE ROLE practice_mailer LOGIN;
SELECT immiiq.grant_mailer('practice_mailer');

-- The search looks at these, too (the others have their indexes in demo/schema.sql).
CREATE INDEX ON clients (org_id, name);
CREATE INDEX ON clients (org_id, phone);
CREATE INDEX ON clients (org_id, email);

-- Posture is read as whoever may read all of it; whom it is shown is said here, as for the log: scope all and the module reports.
CREATE SCHEMA portal;
CREATE FUNCTION portal.posture() RETURNS TABLE (check_name text, status text, detail text, hint text)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT d.* FROM immiiq.doctor() AS d WHERE immiiq.audit_org() IS NOT NULL';
REVOKE ALL ON FUNCTION portal.posture() FROM PUBLIC;
GRANT USAGE ON SCHEMA portal TO practice_app;
GRANT EXECUTE ON FUNCTION portal.posture() TO practice_app;

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
