-- The log: what was changed, by whom, sealed into trees. C writes these tables (src/audit); it reads columns by
-- position: append, never reorder. No role changes a row by SQL; a superuser's COPY FROM passes, for restores.

CREATE FUNCTION immiiq.capture() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'immiiq_capture';
COMMENT ON FUNCTION immiiq.capture() IS 'AFTER ROW trigger of protected tables: records the change in immiiq.entry';
REVOKE ALL ON FUNCTION immiiq.capture() FROM PUBLIC;

CREATE FUNCTION immiiq.refuse_truncate() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'immiiq_refuse_truncate';
COMMENT ON FUNCTION immiiq.refuse_truncate() IS 'BEFORE TRUNCATE trigger of protected tables: refuses';
REVOKE ALL ON FUNCTION immiiq.refuse_truncate() FROM PUBLIC;

CREATE FUNCTION immiiq.guard_log() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'immiiq_guard_log';
COMMENT ON FUNCTION immiiq.guard_log() IS 'trigger of the log''s tables: refuses every change by SQL but a superuser''s COPY FROM';
REVOKE ALL ON FUNCTION immiiq.guard_log() FROM PUBLIC;

-- One row a change. The body is what is hashed; the other columns repeat what it says, for the sealer and the views.
CREATE TABLE immiiq.entry (
    txid int8 NOT NULL,
    at timestamptz NOT NULL,
    org_id uuid NOT NULL,
    incarnation int4 NOT NULL,
    seq int4 NOT NULL,
    context int4 NOT NULL,
    body bytea NOT NULL,
    CONSTRAINT entry_pkey PRIMARY KEY (incarnation, txid, seq)
) USING heap;
ALTER TABLE immiiq.entry ALTER body SET STORAGE EXTERNAL;
COMMENT ON TABLE immiiq.entry IS 'changes of protected rows as canonical bytes, in the order of capture';

-- One row an entry, once it is sealed: its place in the tree of its organisation.
CREATE TABLE immiiq.leaf (
    org_id uuid NOT NULL,
    position int8 NOT NULL,
    txid int8 NOT NULL,
    incarnation int4 NOT NULL,
    seq int4 NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT leaf_pkey PRIMARY KEY (org_id, position)
) USING heap;
COMMENT ON TABLE immiiq.leaf IS 'leaves of each organisation''s tree (RFC 6962), positions from 1';

-- One row for the entries of one organisation in one round: a leaf of the database's tree.
CREATE TABLE immiiq.batch (
    batch_no int8 NOT NULL,
    first int8 NOT NULL,
    last int8 NOT NULL,
    at timestamptz NOT NULL,
    org_id uuid NOT NULL,
    org_root bytea NOT NULL,
    previous bytea NOT NULL,
    CONSTRAINT batch_pkey PRIMARY KEY (batch_no),
    CONSTRAINT batch_org_key UNIQUE (org_id, last)
) USING heap;
COMMENT ON TABLE immiiq.batch IS 'leaves of the database''s tree: what one round sealed of one organisation';

-- Signed heads of the database's tree.
CREATE TABLE immiiq.tree_head (
    size int8 NOT NULL,
    signed_at timestamptz NOT NULL,
    key_hash int4 NOT NULL,
    root bytea NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT tree_head_pkey PRIMARY KEY (size)
) USING heap;
COMMENT ON TABLE immiiq.tree_head IS 'signed heads of the database''s tree (Ed25519 over a checkpoint body)';

-- The keys that signed, and the log's name. The first row is the log's beginning.
CREATE TABLE immiiq.log_key (
    key_hash int4 NOT NULL,
    public_key bytea NOT NULL,
    origin text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT log_key_pkey PRIMARY KEY (key_hash)
) USING heap;
COMMENT ON TABLE immiiq.log_key IS 'public keys of signed heads, and the log''s origin';

-- What the sealer remembers; made anew from the tables above when it is missing, so no dump carries it.
CREATE TABLE immiiq.tree (
    org_id uuid NOT NULL,
    size int8 NOT NULL,
    frontier bytea NOT NULL,
    CONSTRAINT tree_pkey PRIMARY KEY (org_id)
) USING heap WITH (fillfactor = 50);
COMMENT ON TABLE immiiq.tree IS 'frontier of each organisation''s tree; that of the database under the nil uuid';
CREATE TABLE immiiq.seal_state (
    incarnation int4 NOT NULL,
    horizon int8 NOT NULL,
    open int8[] NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT seal_state_pkey PRIMARY KEY (incarnation)
) USING heap WITH (fillfactor = 50);
COMMENT ON TABLE immiiq.seal_state IS 'the snapshot up to which entries are sealed';
CREATE TABLE immiiq.restored (
    txid int8 NOT NULL,
    at timestamptz NOT NULL
) USING heap;
COMMENT ON TABLE immiiq.restored IS 'marks of a restore: the next round looks for entries without a leaf';

-- Guards, on every table above. ALWAYS: session_replication_role does not switch them off.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['entry', 'leaf', 'batch', 'tree_head', 'log_key', 'tree', 'seal_state', 'restored'] LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON immiiq.%I FROM PUBLIC', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER guard_log BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON immiiq.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION immiiq.guard_log(%s)', name,
            CASE WHEN name IN ('tree', 'seal_state', 'restored') THEN '''never''' ELSE '' END);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER guard_log', name);
        IF name NOT IN ('tree', 'seal_state', 'restored') THEN
            PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('immiiq.%I', name)::pg_catalog.regclass, '');
        END IF;
    END LOOP;
END
$$;

CREATE PROCEDURE immiiq.seal()
    LANGUAGE c AS 'MODULE_PATHNAME', 'immiiq_seal';
COMMENT ON PROCEDURE immiiq.seal() IS 'seals, now, every captured entry whose transaction has ended; the worker does the same every immiiq.seal_interval';
REVOKE ALL ON PROCEDURE immiiq.seal() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('auditor', 'EXECUTE', 'PROCEDURE immiiq.seal()');
