-- What outlives a rollback: refusals, and every way in that is not a member's own.

-- Only the worker writes here, through the ring in shared memory (writer.c names the columns).
CREATE TABLE immiiq.journal (
    journal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('denial', 'operate', 'impersonate', 'assistant', 'other')),
    org_id uuid,
    member_id uuid,
    session_id uuid,
    actor text,
    login_name text,
    role_name text,
    user_name text,
    action text NOT NULL,
    object text,
    reason text,
    sqlstate text,
    client_ip inet,
    user_agent text,
    application_name text,
    backend_pid int NOT NULL
);
COMMENT ON TABLE immiiq.journal IS 'events that outlive a rollback: refusals, operator access, impersonation; append-only, written by the worker';
COMMENT ON COLUMN immiiq.journal.login_name IS 'role as which the client connected';
COMMENT ON COLUMN immiiq.journal.role_name IS 'session user';
COMMENT ON COLUMN immiiq.journal.user_name IS 'role after SET ROLE';
CREATE INDEX journal_org_idx ON immiiq.journal (org_id, journal_id);
REVOKE ALL ON immiiq.journal FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.journal', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.journal_journal_id_seq', '');
INSERT INTO immiiq.privilege VALUES ('auditor', 'SELECT', 'TABLE immiiq.journal');

CREATE FUNCTION immiiq.refuse_change() RETURNS trigger
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'immiiq_refuse_change';
COMMENT ON FUNCTION immiiq.refuse_change() IS 'trigger of append-only tables: refuses whatever fired it (IQ040)';
REVOKE ALL ON FUNCTION immiiq.refuse_change() FROM PUBLIC;

CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.journal
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_change();
ALTER TABLE immiiq.journal ENABLE ALWAYS TRIGGER journal_append_only;

-- True when a role has been granted something of immiiq's: refusals of other roles are not recorded.
CREATE FUNCTION immiiq.journal_role_is_granted(role oid) RETURNS boolean
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT EXISTS (
            SELECT FROM immiiq.role_grant AS g
            WHERE pg_catalog.pg_has_role(journal_role_is_granted.role, g.role::pg_catalog.oid, 'MEMBER')
        )
    $$;
COMMENT ON FUNCTION immiiq.journal_role_is_granted(oid) IS 'true for roles given by immiiq.grant_application and its sisters, and their members';
REVOKE ALL ON FUNCTION immiiq.journal_role_is_granted(oid) FROM PUBLIC;

-- True when the caller may read entries of this organisation.
CREATE FUNCTION immiiq.journal_is_visible(org_id uuid) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_journal_is_visible';
COMMENT ON FUNCTION immiiq.journal_is_visible(uuid) IS 'true for who may read immiiq.journal, and for members of that organisation with scope all and the module reports';

CREATE VIEW immiiq.denial WITH (security_barrier) AS
    SELECT j.journal_id, j.at, j.org_id, j.member_id, j.session_id, j.actor, j.login_name, j.role_name, j.user_name,
           j.action, j.object, j.reason, j.sqlstate, j.client_ip, j.user_agent, j.application_name, j.backend_pid
    FROM immiiq.journal AS j
    WHERE j.kind OPERATOR(pg_catalog.=) 'denial' AND immiiq.journal_is_visible(j.org_id);
COMMENT ON VIEW immiiq.denial IS 'what was refused, rolled back or not';

CREATE VIEW immiiq.operator_access WITH (security_barrier) AS
    SELECT j.journal_id, j.at, j.kind, j.org_id, j.member_id, j.login_name, j.role_name, j.user_name,
           j.reason, j.client_ip, j.user_agent, j.application_name, j.backend_pid
    FROM immiiq.journal AS j
    WHERE j.kind OPERATOR(pg_catalog.=) ANY (ARRAY['operate', 'impersonate']) AND immiiq.journal_is_visible(j.org_id);
COMMENT ON VIEW immiiq.operator_access IS 'every use of operate and issue_session, with who and why';
REVOKE ALL ON immiiq.denial, immiiq.operator_access FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT', 'TABLE immiiq.denial'),
    ('application', 'SELECT', 'TABLE immiiq.operator_access'),
    ('auditor', 'SELECT', 'TABLE immiiq.denial'),
    ('auditor', 'SELECT', 'TABLE immiiq.operator_access');

-- The ring and the worker of this database, for immiiq.doctor().
CREATE FUNCTION immiiq.journal_status(OUT state text, OUT worker_pid int, OUT depth int, OUT capacity int,
                                      OUT enqueued bigint, OUT written bigint, OUT lost bigint,
                                      OUT written_at timestamptz, OUT launcher_pid int) RETURNS record
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_journal_status';
COMMENT ON FUNCTION immiiq.journal_status() IS 'state of the ring in shared memory and of the worker of this database';
REVOKE ALL ON FUNCTION immiiq.journal_status() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.journal_status()'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.journal_status()');
