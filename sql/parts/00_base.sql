-- What every part stands on: the schema's privileges and the list from which the grant functions work.

DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION 'immiiq needs a database in UTF8'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Create the database with ENCODING ''UTF8''.';
    END IF;
END
$$;

-- Made here and not by the control file: a schema of this name that somebody else made first is refused, not adopted.
CREATE SCHEMA immiiq;
COMMENT ON SCHEMA immiiq IS 'immiiq: tables, functions and views; its types live in pg_catalog';

-- Which privilege each kind of role gets from immiiq.grant_<kind>(role); every part adds its own rows.
CREATE TABLE immiiq.privilege (
    kind text NOT NULL CHECK (kind IN ('application', 'auditor', 'operator', 'mailer', 'owner')),
    privileges text NOT NULL,
    object text NOT NULL,
    PRIMARY KEY (kind, object)
);
COMMENT ON TABLE immiiq.privilege IS 'what immiiq.grant_application, grant_auditor, grant_operator, grant_mailer and grant_owner grant';
