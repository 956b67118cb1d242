-- Root keys by fingerprint, and every other key wrapped under one of them. C reads both tables by position (keyring.c): append, never reorder.

CREATE TABLE immiiq.root_key (
    root_id text COLLATE "C" NOT NULL CONSTRAINT root_key_pkey PRIMARY KEY,
    fingerprint bytea NOT NULL CHECK (pg_catalog.octet_length(fingerprint) OPERATOR(pg_catalog.=) 16),
    first_used timestamptz NOT NULL
);
COMMENT ON TABLE immiiq.root_key IS 'root keys that this database has used: a fingerprint each, never a key';
COMMENT ON COLUMN immiiq.root_key.fingerprint IS '16 bytes of HKDF of the root key, label fingerprint';
REVOKE ALL ON immiiq.root_key FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.root_key', '');

CREATE SEQUENCE immiiq.wrapped_key_key_id_seq AS int8 MINVALUE 1 MAXVALUE 4294967295 NO CYCLE;
COMMENT ON SEQUENCE immiiq.wrapped_key_key_id_seq IS 'ids of wrapped keys: 32 bits, never given twice';
REVOKE ALL ON SEQUENCE immiiq.wrapped_key_key_id_seq FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.wrapped_key_key_id_seq', '');

CREATE TABLE immiiq.wrapped_key (
    key_id int8 NOT NULL CONSTRAINT wrapped_key_pkey PRIMARY KEY CHECK (key_id BETWEEN 1 AND 4294967295),
    org_id uuid,
    purpose text NOT NULL CHECK (purpose IN ('installation', 'data', 'index', 'audit', 'subject')),
    version int4 NOT NULL CHECK (version OPERATOR(pg_catalog.>) 0),
    root_id text COLLATE "C" NOT NULL REFERENCES immiiq.root_key,
    wrapped bytea NOT NULL CHECK (pg_catalog.octet_length(wrapped) OPERATOR(pg_catalog.=) 88),
    created_at timestamptz NOT NULL,
    CONSTRAINT wrapped_key_org_id_purpose_version_key UNIQUE NULLS NOT DISTINCT (org_id, purpose, version),
    CHECK ((org_id IS NULL) OPERATOR(pg_catalog.=) (purpose OPERATOR(pg_catalog.=) 'installation'))
);
COMMENT ON TABLE immiiq.wrapped_key IS 'the keys of the installation and of every organisation, wrapped under a root key';
COMMENT ON COLUMN immiiq.wrapped_key.org_id IS 'the organisation, null for the installation';
COMMENT ON COLUMN immiiq.wrapped_key.version IS 'counts within organisation and purpose; the highest one seals';
COMMENT ON COLUMN immiiq.wrapped_key.wrapped IS '88 bytes: nonce, ciphertext, MAC, check value (docs/format.md)';
REVOKE ALL ON immiiq.wrapped_key FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.wrapped_key', '');

-- One row a client: images of the log that name the client are sealed under it. Nothing makes a client's row unique but habit:
-- two transactions that make one at once have one each. Without its rows, a client's images cannot be opened by anyone.
CREATE TABLE immiiq.subject_key (
    key_id int8 NOT NULL CONSTRAINT subject_key_pkey PRIMARY KEY,
    org_id uuid NOT NULL,
    client_id uuid NOT NULL,
    parent int8 NOT NULL,
    wrapped bytea NOT NULL CHECK (pg_catalog.octet_length(wrapped) OPERATOR(pg_catalog.=) 88),
    created_at timestamptz NOT NULL
);
CREATE INDEX subject_key_client_idx ON immiiq.subject_key (org_id, client_id);
COMMENT ON TABLE immiiq.subject_key IS 'keys of clients, wrapped under the subject-wrapping key of their organisation';
COMMENT ON COLUMN immiiq.subject_key.key_id IS 'counts together with immiiq.wrapped_key.key_id';
COMMENT ON COLUMN immiiq.subject_key.parent IS 'the subject-wrapping key: immiiq.wrapped_key.key_id';
REVOKE ALL ON immiiq.subject_key FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.subject_key', '');

-- A destroyed key must not stay in the planner's statistics.
ALTER TABLE immiiq.wrapped_key ALTER wrapped SET STATISTICS 0;
ALTER TABLE immiiq.subject_key ALTER wrapped SET STATISTICS 0;

CREATE FUNCTION immiiq.keyring_guard() RETURNS trigger
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keyring_guard';
COMMENT ON FUNCTION immiiq.keyring_guard() IS 'refuses UPDATE, DELETE and TRUNCATE of keys; makes every backend forget cached keys after INSERT';
REVOKE ALL ON FUNCTION immiiq.keyring_guard() FROM PUBLIC;
CREATE TRIGGER keyring_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.root_key
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.keyring_guard();
CREATE TRIGGER keyring_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.wrapped_key
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.keyring_guard();
CREATE TRIGGER keyring_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.subject_key
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.keyring_guard();
ALTER TABLE immiiq.subject_key ENABLE ALWAYS TRIGGER keyring_guard;
CREATE TRIGGER keyring_forget AFTER INSERT ON immiiq.subject_key
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.keyring_guard();
ALTER TABLE immiiq.subject_key ENABLE ALWAYS TRIGGER keyring_forget;
COMMENT ON TRIGGER keyring_forget ON immiiq.subject_key IS 'restored keys are used at once';
COMMENT ON TRIGGER keyring_guard ON immiiq.subject_key IS 'no role edits keys by hand';
CREATE TRIGGER keyring_forget AFTER INSERT ON immiiq.wrapped_key
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.keyring_guard();
ALTER TABLE immiiq.root_key ENABLE ALWAYS TRIGGER keyring_guard;
ALTER TABLE immiiq.wrapped_key ENABLE ALWAYS TRIGGER keyring_guard;
ALTER TABLE immiiq.wrapped_key ENABLE ALWAYS TRIGGER keyring_forget;
COMMENT ON TRIGGER keyring_guard ON immiiq.root_key IS 'no role edits keys by hand';
COMMENT ON TRIGGER keyring_guard ON immiiq.wrapped_key IS 'no role edits keys by hand';
COMMENT ON TRIGGER keyring_forget ON immiiq.wrapped_key IS 'restored keys are used at once';

CREATE FUNCTION immiiq.create_org_keys(org uuid) RETURNS void
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keyring_create_org_keys';
COMMENT ON FUNCTION immiiq.create_org_keys(uuid) IS 'makes and wraps the data key, index secret and audit key of a new organisation; create_org calls it';
REVOKE ALL ON FUNCTION immiiq.create_org_keys(uuid) FROM PUBLIC;

CREATE FUNCTION immiiq.keyring_status(
    OUT root_id text, OUT "current" boolean, OUT loaded boolean, OUT known boolean, OUT matches boolean
) RETURNS SETOF record
    LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keyring_status';
COMMENT ON FUNCTION immiiq.keyring_status() IS 'root keys that are loaded or that this database has used; matches is null unless both';
REVOKE ALL ON FUNCTION immiiq.keyring_status() FROM PUBLIC;

CREATE FUNCTION immiiq.keyring_problem() RETURNS text
    LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keyring_problem';
COMMENT ON FUNCTION immiiq.keyring_problem() IS 'what was wrong when root keys were last loaded, null when nothing';
REVOKE ALL ON FUNCTION immiiq.keyring_problem() FROM PUBLIC;

-- ---- the head of each organisation's ledger of erasures, beside the root key (heads.c) ----

CREATE FUNCTION immiiq.in_quarantine(org uuid) RETURNS boolean
    LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keyring_quarantine';
COMMENT ON FUNCTION immiiq.in_quarantine(uuid) IS 'true when this database was restored from before an erasure of the organisation: its sealed values stay shut';
CREATE FUNCTION immiiq.keep_ledger_head(org uuid, seq int8, hash bytea) RETURNS boolean
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keyring_keep_head';
COMMENT ON FUNCTION immiiq.keep_ledger_head(uuid, int8, bytea) IS 'writes the head of an organisation''s ledger beside the root key; false when no setting names a file';
CREATE FUNCTION immiiq.ledger_file_problem() RETURNS text
    LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keyring_heads_problem';
COMMENT ON FUNCTION immiiq.ledger_file_problem() IS 'what keeps heads of the ledger from being kept beside the root key, null when nothing';
REVOKE ALL ON FUNCTION immiiq.in_quarantine(uuid), immiiq.keep_ledger_head(uuid, int8, bytea), immiiq.ledger_file_problem() FROM PUBLIC;
