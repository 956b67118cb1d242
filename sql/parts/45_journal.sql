-- What outlives a rollback: refusals, and every way in that is not a member's own.

-- Only the worker writes here, through the ring in shared memory (writer.c names the columns).
CREATE TABLE immiiq.journal (
    journal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('denial', 'operate', 'impersonate', 'assistant', 'document', 'other')),
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
-- Operators' entries are few among many denials.
CREATE INDEX journal_operator_idx ON immiiq.journal (org_id, journal_id) WHERE kind OPERATOR(pg_catalog.=) ANY (ARRAY['operate', 'impersonate']);
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

-- Who reads what, as two branches: each is a constant to the planner, and a member's is served by the index.
CREATE FUNCTION immiiq.journal_reader() RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_journal_reader';
COMMENT ON FUNCTION immiiq.journal_reader() IS 'true for who may read the whole of immiiq.journal';
CREATE FUNCTION immiiq.journal_org() RETURNS uuid
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_journal_org';
COMMENT ON FUNCTION immiiq.journal_org() IS 'the active organisation for members with scope all and the module reports, else null';

CREATE VIEW immiiq.journal_visible WITH (security_barrier) AS
    SELECT j.* FROM immiiq.journal AS j WHERE immiiq.journal_reader()
    UNION ALL
    SELECT j.* FROM immiiq.journal AS j WHERE NOT immiiq.journal_reader() AND j.org_id OPERATOR(pg_catalog.=) immiiq.journal_org();
COMMENT ON VIEW immiiq.journal_visible IS 'entries of immiiq.journal that the caller may read';
REVOKE ALL ON immiiq.journal_visible FROM PUBLIC;

CREATE VIEW immiiq.denial AS
    SELECT j.journal_id, j.at, j.org_id, j.member_id, j.session_id, j.actor, j.login_name, j.role_name, j.user_name,
           j.action, j.object, j.reason, j.sqlstate, j.client_ip, j.user_agent, j.application_name, j.backend_pid
    FROM immiiq.journal_visible AS j
    WHERE j.kind OPERATOR(pg_catalog.=) 'denial';
COMMENT ON VIEW immiiq.denial IS 'what was refused, rolled back or not';

CREATE VIEW immiiq.operator_access AS
    SELECT j.journal_id, j.at, j.kind, j.org_id, j.member_id, j.login_name, j.role_name, j.user_name,
           j.reason, j.client_ip, j.user_agent, j.application_name, j.backend_pid
    FROM immiiq.journal_visible AS j
    WHERE j.kind OPERATOR(pg_catalog.=) ANY (ARRAY['operate', 'impersonate']);
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
