-- Sessions, and the functions that say who is asking.

-- One row a session. Only the SHA-256 of a token is stored. C reads the columns by position (context.c): append, never reorder.
CREATE TABLE immiiq.session (
    session_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid() PRIMARY KEY,
    org_id uuid NOT NULL,
    member_id uuid,
    token_hash bytea NOT NULL,
    impersonated boolean NOT NULL DEFAULT false,
    issued_by name NOT NULL DEFAULT session_user,
    issued_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_reason text,
    client_id uuid,
    method text NOT NULL DEFAULT 'issued',
    client_ip inet,
    user_agent text,
    device bytea,
    country text,
    CONSTRAINT session_token_hash_key UNIQUE (token_hash),
    CHECK ((member_id IS NULL) OPERATOR(pg_catalog.<>) (client_id IS NULL)),
    CHECK (pg_catalog.octet_length(token_hash) OPERATOR(pg_catalog.=) 32)
);
COMMENT ON TABLE immiiq.session IS 'sessions of members, and of clients in the portal; a token is stored as its SHA-256 only';
COMMENT ON COLUMN immiiq.session.client_id IS 'the client of a portal session; such a session has no member';
COMMENT ON COLUMN immiiq.session.device IS 'keyed hash of what the browser was known by';
CREATE INDEX session_member_idx ON immiiq.session (org_id, member_id);
CREATE INDEX session_expires_idx ON immiiq.session USING brin (expires_at);
REVOKE ALL ON immiiq.session FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.session', '');

-- Nobody makes a session longer than a day, whatever writes it.
ALTER TABLE immiiq.session ADD CONSTRAINT session_ttl_check
    CHECK (expires_at OPERATOR(pg_catalog.<=) (issued_at OPERATOR(pg_catalog.+) interval '24 hours'));

-- Who was given what by immiiq.grant_application and its sisters. C reads it by position (guard.c): append, never reorder.
CREATE TABLE immiiq.role_grant (
    kind text NOT NULL CHECK (kind IN ('application', 'auditor', 'operator', 'mailer', 'owner')),
    role regrole NOT NULL,
    granted_by name NOT NULL DEFAULT session_user,
    granted_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (kind, role)
);
COMMENT ON TABLE immiiq.role_grant IS 'roles given by immiiq.grant_application, grant_auditor, grant_operator and grant_mailer';
REVOKE ALL ON immiiq.role_grant FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.role_grant', '');

CREATE FUNCTION immiiq.role_grant_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'immiiq_role_grant_changed';
COMMENT ON FUNCTION immiiq.role_grant_changed() IS 'tells every session that the list of application roles is another';
REVOKE ALL ON FUNCTION immiiq.role_grant_changed() FROM PUBLIC;
CREATE TRIGGER role_grant_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON immiiq.role_grant
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.role_grant_changed();
ALTER TABLE immiiq.role_grant ENABLE ALWAYS TRIGGER role_grant_changed;

CREATE TYPE immiiq.identity AS (
    org_id uuid,
    member_id uuid,
    session_id uuid,
    actor text,
    scope text,
    modules text[],
    expires_at timestamptz
);
COMMENT ON TYPE immiiq.identity IS 'who is active in a transaction';

CREATE FUNCTION immiiq.authenticate(token text, ip inet DEFAULT NULL, user_agent text DEFAULT NULL) RETURNS immiiq.identity
    LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT
    AS 'MODULE_PATHNAME', 'immiiq_authenticate';
COMMENT ON FUNCTION immiiq.authenticate(text, inet, text) IS 'makes the owner of a session token active until the transaction ends';
REVOKE ALL ON FUNCTION immiiq.authenticate(text, inet, text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', 'FUNCTION immiiq.authenticate(text, inet, text)');

CREATE FUNCTION immiiq.operate(org uuid, reason text) RETURNS immiiq.identity
    LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
    AS 'MODULE_PATHNAME', 'immiiq_operate';
COMMENT ON FUNCTION immiiq.operate(uuid, text) IS 'an operator''s way into one organisation until the transaction ends, written down first';
REVOKE ALL ON FUNCTION immiiq.operate(uuid, text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', 'FUNCTION immiiq.operate(uuid, text)');

CREATE FUNCTION immiiq.operate_all(reason text) RETURNS immiiq.identity
    LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
    AS 'MODULE_PATHNAME', 'immiiq_operate_all';
COMMENT ON FUNCTION immiiq.operate_all(text) IS 'the owner''s way into every organisation, for migrations, until the transaction ends, written down first';
REVOKE ALL ON FUNCTION immiiq.operate_all(text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('owner', 'EXECUTE', 'FUNCTION immiiq.operate_all(text)');

CREATE FUNCTION immiiq.issue_session(member uuid) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'immiiq_issue_session';
COMMENT ON FUNCTION immiiq.issue_session(uuid) IS 'token of a new session of a member, flagged as impersonation';
REVOKE ALL ON FUNCTION immiiq.issue_session(uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', 'FUNCTION immiiq.issue_session(uuid)');

CREATE FUNCTION immiiq.act_as_assistant(tool text) RETURNS immiiq.identity
    LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
    AS 'MODULE_PATHNAME', 'immiiq_act_as_assistant';
COMMENT ON FUNCTION immiiq.act_as_assistant(text) IS 'narrows the active member to the assistant until the transaction ends';
REVOKE ALL ON FUNCTION immiiq.act_as_assistant(text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', 'FUNCTION immiiq.act_as_assistant(text)');

-- For everybody: they tell a session about itself, and defaults and policies call them.
CREATE FUNCTION immiiq.current_org() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE STRICT
    AS 'MODULE_PATHNAME', 'immiiq_current_org';
COMMENT ON FUNCTION immiiq.current_org() IS 'the active organisation, null when nobody is active and after operate_all';

CREATE FUNCTION immiiq.current_member() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE STRICT
    AS 'MODULE_PATHNAME', 'immiiq_current_member';
COMMENT ON FUNCTION immiiq.current_member() IS 'the active member, null for operators and when nobody is active';

CREATE FUNCTION immiiq.current_actor() RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE STRICT
    AS 'MODULE_PATHNAME', 'immiiq_current_actor';
COMMENT ON FUNCTION immiiq.current_actor() IS 'member, assistant, portal or operator, null when nobody is active';
