-- Sessions, and the functions that say who is asking.

-- One row a session. Only the SHA-256 of a token is stored. C reads the columns by position (context.c): append, never reorder.
CREATE TABLE immiiq.session (
    session_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid() PRIMARY KEY,
    org_id uuid NOT NULL,
    member_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    impersonated boolean NOT NULL DEFAULT false,
    issued_by name NOT NULL DEFAULT session_user,
    issued_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT session_token_hash_key UNIQUE (token_hash),
    CHECK (pg_catalog.octet_length(token_hash) OPERATOR(pg_catalog.=) 32)
);
COMMENT ON TABLE immiiq.session IS 'sessions of members; a token is stored as its SHA-256 only';
CREATE INDEX session_member_idx ON immiiq.session (org_id, member_id);
REVOKE ALL ON immiiq.session FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.session', '');
