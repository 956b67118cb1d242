-- The log: what was changed, by whom, sealed into trees. C writes these tables (src/audit); it reads columns by
-- position: append, never reorder. No role changes a row by SQL; a superuser's COPY FROM passes, for restores.

CREATE FUNCTION immiiq.capture() RETURNS trigger
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_capture';
COMMENT ON FUNCTION immiiq.capture() IS 'AFTER ROW trigger of protected tables: records the change in immiiq.entry';
REVOKE ALL ON FUNCTION immiiq.capture() FROM PUBLIC;

CREATE FUNCTION immiiq.refuse_truncate() RETURNS trigger
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_refuse_truncate';
COMMENT ON FUNCTION immiiq.refuse_truncate() IS 'BEFORE TRUNCATE trigger of protected tables: refuses';
REVOKE ALL ON FUNCTION immiiq.refuse_truncate() FROM PUBLIC;

CREATE FUNCTION immiiq.guard_log() RETURNS trigger
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_guard_log';
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
    at timestamptz,
    key_id int8,
    member_id uuid,
    session_id uuid,
    row_tag int8,
    address_tag int8,
    CONSTRAINT leaf_pkey PRIMARY KEY (org_id, position)
) USING heap;
COMMENT ON TABLE immiiq.leaf IS 'leaves of each organisation''s tree (RFC 6962), positions from 1; from at on, what searches go by';
COMMENT ON COLUMN immiiq.leaf.key_id IS 'the key of the image: immiiq.subject_key names its client';
COMMENT ON COLUMN immiiq.leaf.row_tag IS 'keyed tag of table and primary key';
COMMENT ON COLUMN immiiq.leaf.address_tag IS 'keyed tag of the address that the change came from';
CREATE INDEX leaf_at_idx ON immiiq.leaf USING brin (at) WITH (autosummarize);
CREATE INDEX leaf_member_idx ON immiiq.leaf (org_id, member_id, position);
CREATE INDEX leaf_session_idx ON immiiq.leaf (org_id, session_id, position);
CREATE INDEX leaf_key_idx ON immiiq.leaf (org_id, key_id, position);
CREATE INDEX leaf_row_idx ON immiiq.leaf (org_id, row_tag, position);
CREATE INDEX leaf_address_idx ON immiiq.leaf (org_id, address_tag, position);

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

-- Columns that the log leaves out, or keeps as a keyed hash. For owners of the database alone.
CREATE TABLE immiiq.audit_rule (
    target regclass NOT NULL,
    "column" name NOT NULL,
    rule text NOT NULL CHECK (rule IN ('omit', 'hash')),
    CONSTRAINT audit_rule_pkey PRIMARY KEY (target, "column")
);
COMMENT ON TABLE immiiq.audit_rule IS 'columns of protected tables that the log leaves out (omit) or keeps as a keyed hash (hash)';
REVOKE ALL ON immiiq.audit_rule FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.audit_rule', '');
CREATE FUNCTION immiiq.check_audit_rule() RETURNS trigger
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_check_audit_rule';
COMMENT ON FUNCTION immiiq.check_audit_rule() IS 'trigger of audit_rule: the column exists and is no key; every backend learns of the change';
REVOKE ALL ON FUNCTION immiiq.check_audit_rule() FROM PUBLIC;
CREATE TRIGGER check_audit_rule AFTER INSERT OR UPDATE OR DELETE ON immiiq.audit_rule
    FOR EACH ROW EXECUTE FUNCTION immiiq.check_audit_rule();
ALTER TABLE immiiq.audit_rule ENABLE ALWAYS TRIGGER check_audit_rule;

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
    LANGUAGE C AS 'MODULE_PATHNAME', 'immiiq_seal';
COMMENT ON PROCEDURE immiiq.seal() IS 'seals, now, every captured entry whose transaction has ended; the worker does the same every immiiq.seal_interval';
REVOKE ALL ON PROCEDURE immiiq.seal() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('auditor', 'EXECUTE', 'PROCEDURE immiiq.seal()');

CREATE FUNCTION immiiq.verify_audit(org uuid DEFAULT NULL)
    RETURNS TABLE (severity text, org_id uuid, "position" int8, problem text)
    LANGUAGE C STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'immiiq_verify_audit';
COMMENT ON FUNCTION immiiq.verify_audit(uuid) IS 'one row for everything in which the log does not hold together; none: it is whole';
REVOKE ALL ON FUNCTION immiiq.verify_audit(uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('auditor', 'EXECUTE', 'FUNCTION immiiq.verify_audit(uuid)');

CREATE FUNCTION immiiq.audit_org() RETURNS uuid
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_audit_org';
COMMENT ON FUNCTION immiiq.audit_org() IS 'the organisation whose log the active identity may read: module reports and scope all, or an operator';
CREATE FUNCTION immiiq.audit_all() RETURNS boolean
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_audit_all';
COMMENT ON FUNCTION immiiq.audit_all() IS 'true for auditors and superusers while nobody is active';
CREATE FUNCTION immiiq.audit_incarnation() RETURNS int4
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_audit_incarnation';
COMMENT ON FUNCTION immiiq.audit_incarnation() IS 'names the life of this database in which its transaction ids mean something';

CREATE FUNCTION immiiq.entry_fields(body bytea, context bytea,
    OUT actor text, OUT member_id uuid, OUT session_id uuid, OUT role_name text, OUT tool text, OUT impersonated boolean,
    OUT client_ip text, OUT user_agent text, OUT application_name text,
    OUT table_schema text, OUT table_name text, OUT operation text, OUT key jsonb, OUT old_row jsonb, OUT new_row jsonb)
    RETURNS record
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_entry_fields';
COMMENT ON FUNCTION immiiq.entry_fields(bytea, bytea) IS 'what the body of an entry says; images for whom the context allows';

-- Who reads: row security of the log's tables says it once, so that the views are plain joins and their filters reach the indexes.
CREATE FUNCTION immiiq.audit_sees_support(internal) RETURNS internal
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_audit_sees_support';
COMMENT ON FUNCTION immiiq.audit_sees_support(internal) IS 'planner support: audit_sees becomes an equality, or a constant of the query';
REVOKE ALL ON FUNCTION immiiq.audit_sees_support(internal) FROM PUBLIC;
CREATE FUNCTION immiiq.audit_sees(org uuid) RETURNS boolean
    LANGUAGE C STABLE LEAKPROOF PARALLEL SAFE SUPPORT immiiq.audit_sees_support AS 'MODULE_PATHNAME', 'immiiq_audit_sees';
COMMENT ON FUNCTION immiiq.audit_sees(uuid) IS 'true for the organisation of audit_org(), and for every organisation where audit_all()';

ALTER TABLE immiiq.leaf ENABLE ROW LEVEL SECURITY;
ALTER TABLE immiiq.entry ENABLE ROW LEVEL SECURITY;
ALTER TABLE immiiq.subject_key ENABLE ROW LEVEL SECURITY;
CREATE POLICY audit_sees ON immiiq.leaf FOR SELECT USING (immiiq.audit_sees(org_id));
CREATE POLICY audit_sees ON immiiq.entry FOR SELECT USING (immiiq.audit_sees(org_id));
CREATE POLICY audit_sees ON immiiq.subject_key FOR SELECT USING (immiiq.audit_sees(org_id));
COMMENT ON POLICY audit_sees ON immiiq.leaf IS 'whose log the active identity, or an auditor, may read';
COMMENT ON POLICY audit_sees ON immiiq.entry IS 'whose log the active identity, or an auditor, may read';
COMMENT ON POLICY audit_sees ON immiiq.subject_key IS 'whose log the active identity, or an auditor, may read';

-- Names of the entries that wait, for every organisation: numbers alone. In arms, so that each is a range of the index.
CREATE FUNCTION immiiq.waiting() RETURNS TABLE (incarnation int4, txid int8, seq int4)
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT e.incarnation, e.txid, e.seq
    FROM immiiq.entry AS e
    WHERE e.incarnation OPERATOR(pg_catalog.=) (SELECT immiiq.audit_incarnation())
        AND e.txid OPERATOR(pg_catalog.>=) COALESCE((SELECT s.horizon FROM immiiq.seal_state AS s
            WHERE s.incarnation OPERATOR(pg_catalog.=) immiiq.audit_incarnation()), 0)
        AND immiiq.audit_sees(e.org_id)
    UNION ALL
    SELECT e.incarnation, e.txid, e.seq
    FROM immiiq.entry AS e
    WHERE e.incarnation OPERATOR(pg_catalog.=) (SELECT immiiq.audit_incarnation())
        AND e.txid OPERATOR(pg_catalog.=) ANY ((SELECT s.open FROM immiiq.seal_state AS s
            WHERE s.incarnation OPERATOR(pg_catalog.=) immiiq.audit_incarnation())::int8[])
        AND immiiq.audit_sees(e.org_id)
    UNION ALL -- after a restore, until the next round: entries of another life of the database that have no leaf
    SELECT e.incarnation, e.txid, e.seq
    FROM immiiq.entry AS e
    WHERE (EXISTS (SELECT FROM immiiq.restored) OR NOT EXISTS (SELECT FROM immiiq.seal_state AS s
            WHERE s.incarnation OPERATOR(pg_catalog.=) immiiq.audit_incarnation()))
        AND e.incarnation OPERATOR(pg_catalog.<>) (SELECT immiiq.audit_incarnation())
        AND immiiq.audit_sees(e.org_id)
        AND NOT EXISTS (SELECT FROM immiiq.leaf AS l WHERE l.incarnation OPERATOR(pg_catalog.=) e.incarnation
            AND l.txid OPERATOR(pg_catalog.=) e.txid AND l.seq OPERATOR(pg_catalog.=) e.seq);
END;
COMMENT ON FUNCTION immiiq.waiting() IS 'entries of whose log the caller may read that no round has sealed yet';
REVOKE ALL ON FUNCTION immiiq.waiting() FROM PUBLIC;

-- The log: what is sealed, each entry at its place. Every filter below is a range of an index: org_id and position, member_id,
-- session_id, client_id, at.
CREATE VIEW immiiq.audit_log WITH (security_invoker) AS
    SELECT l.org_id, l.position, l.at, f.actor, l.member_id, l.session_id, f.role_name, f.tool, f.impersonated,
        f.client_ip, f.user_agent, f.application_name, f.table_schema, f.table_name, f.operation, k.client_id, f.key, f.old_row, f.new_row,
        'signed' AS state, l.txid
    FROM immiiq.leaf AS l
    LEFT JOIN immiiq.entry AS e ON e.incarnation OPERATOR(pg_catalog.=) l.incarnation
        AND e.txid OPERATOR(pg_catalog.=) l.txid AND e.seq OPERATOR(pg_catalog.=) l.seq
    LEFT JOIN immiiq.entry AS c ON c.incarnation OPERATOR(pg_catalog.=) e.incarnation
        AND c.txid OPERATOR(pg_catalog.=) e.txid AND c.seq OPERATOR(pg_catalog.=) e.context
    LEFT JOIN immiiq.subject_key AS k ON k.key_id OPERATOR(pg_catalog.=) l.key_id AND k.org_id OPERATOR(pg_catalog.=) l.org_id
    LEFT JOIN LATERAL immiiq.entry_fields(e.body, c.body) AS f ON true
    WHERE immiiq.audit_sees(l.org_id); -- again, for who is above row security
COMMENT ON VIEW immiiq.audit_log IS 'who changed what and when, of what is sealed; position is the place in the organisation''s tree';
COMMENT ON COLUMN immiiq.audit_log.actor IS 'member, assistant, portal, operator; database, replication, restore where nobody was active';
COMMENT ON COLUMN immiiq.audit_log.client_id IS 'the client whose key seals the image, null where the table has none or the client is erased';
COMMENT ON COLUMN immiiq.audit_log.old_row IS 'DELETE: the whole row; UPDATE: the old values of what changed';

-- What is captured and waits for a sealer: what its last snapshot did not see as over; after a restore, whatever has no leaf.
CREATE VIEW immiiq.audit_waiting WITH (security_invoker) AS
    SELECT e.org_id, e.at, f.actor, f.member_id, f.session_id, f.role_name, f.tool, f.impersonated,
        f.client_ip, f.user_agent, f.application_name, f.table_schema, f.table_name, f.operation, f.key, f.old_row, f.new_row,
        'captured' AS state, e.txid
    FROM immiiq.entry AS e
    LEFT JOIN immiiq.entry AS c ON c.incarnation OPERATOR(pg_catalog.=) e.incarnation
        AND c.txid OPERATOR(pg_catalog.=) e.txid AND c.seq OPERATOR(pg_catalog.=) e.context
    CROSS JOIN LATERAL immiiq.entry_fields(e.body, c.body) AS f
    WHERE immiiq.audit_sees(e.org_id) AND (e.incarnation, e.txid, e.seq) IN (SELECT w.incarnation, w.txid, w.seq FROM immiiq.waiting() AS w);
COMMENT ON VIEW immiiq.audit_waiting IS 'who changed what and when, of what is captured and not sealed yet';
REVOKE ALL ON immiiq.audit_log, immiiq.audit_waiting FROM PUBLIC;
INSERT INTO immiiq.privilege
SELECT role, 'SELECT', object
FROM pg_catalog.unnest(ARRAY['application', 'auditor', 'operator']) AS role,
    pg_catalog.unnest(ARRAY['immiiq.audit_log', 'immiiq.audit_waiting', 'immiiq.leaf', 'immiiq.entry']) AS object
UNION ALL
SELECT role, 'SELECT (key_id, org_id, client_id)', 'immiiq.subject_key'
FROM pg_catalog.unnest(ARRAY['application', 'auditor', 'operator']) AS role
UNION ALL
SELECT role, 'EXECUTE', 'FUNCTION immiiq.waiting()'
FROM pg_catalog.unnest(ARRAY['application', 'auditor', 'operator']) AS role;
