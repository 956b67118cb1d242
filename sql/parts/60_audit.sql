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

-- Every entry with its place and the body that says who wrote it. In arms, so that each one is an index range: what is
-- sealed, and what the sealer's last snapshot did not see as over.
CREATE VIEW immiiq.entry_placed AS
    SELECT l.org_id, l.position, 'signed' AS state, e.at, e.txid, e.body, c.body AS context
    FROM immiiq.leaf AS l
    LEFT JOIN immiiq.entry AS e ON e.incarnation OPERATOR(pg_catalog.=) l.incarnation
        AND e.txid OPERATOR(pg_catalog.=) l.txid AND e.seq OPERATOR(pg_catalog.=) l.seq
    LEFT JOIN immiiq.entry AS c ON c.incarnation OPERATOR(pg_catalog.=) e.incarnation
        AND c.txid OPERATOR(pg_catalog.=) e.txid AND c.seq OPERATOR(pg_catalog.=) e.context
    UNION ALL
    SELECT e.org_id, NULL, 'captured', e.at, e.txid, e.body, c.body
    FROM immiiq.entry AS e
    LEFT JOIN immiiq.entry AS c ON c.incarnation OPERATOR(pg_catalog.=) e.incarnation
        AND c.txid OPERATOR(pg_catalog.=) e.txid AND c.seq OPERATOR(pg_catalog.=) e.context
    WHERE e.incarnation OPERATOR(pg_catalog.=) (SELECT immiiq.audit_incarnation())
        AND e.txid OPERATOR(pg_catalog.>=) COALESCE((SELECT s.horizon FROM immiiq.seal_state AS s
            WHERE s.incarnation OPERATOR(pg_catalog.=) immiiq.audit_incarnation()), 0)
    UNION ALL
    SELECT e.org_id, NULL, 'captured', e.at, e.txid, e.body, c.body
    FROM immiiq.entry AS e
    LEFT JOIN immiiq.entry AS c ON c.incarnation OPERATOR(pg_catalog.=) e.incarnation
        AND c.txid OPERATOR(pg_catalog.=) e.txid AND c.seq OPERATOR(pg_catalog.=) e.context
    WHERE e.incarnation OPERATOR(pg_catalog.=) (SELECT immiiq.audit_incarnation())
        AND e.txid OPERATOR(pg_catalog.=) ANY ((SELECT s.open FROM immiiq.seal_state AS s
            WHERE s.incarnation OPERATOR(pg_catalog.=) immiiq.audit_incarnation())::int8[])
    UNION ALL -- after a restore, until the next round: entries of another life of the database that have no leaf
    SELECT e.org_id, NULL, 'captured', e.at, e.txid, e.body, c.body
    FROM immiiq.entry AS e
    LEFT JOIN immiiq.entry AS c ON c.incarnation OPERATOR(pg_catalog.=) e.incarnation
        AND c.txid OPERATOR(pg_catalog.=) e.txid AND c.seq OPERATOR(pg_catalog.=) e.context
    WHERE (EXISTS (SELECT FROM immiiq.restored) OR NOT EXISTS (SELECT FROM immiiq.seal_state AS s
            WHERE s.incarnation OPERATOR(pg_catalog.=) immiiq.audit_incarnation()))
        AND e.incarnation OPERATOR(pg_catalog.<>) (SELECT immiiq.audit_incarnation())
        AND NOT EXISTS (SELECT FROM immiiq.leaf AS l WHERE l.incarnation OPERATOR(pg_catalog.=) e.incarnation
            AND l.txid OPERATOR(pg_catalog.=) e.txid AND l.seq OPERATOR(pg_catalog.=) e.seq);
COMMENT ON VIEW immiiq.entry_placed IS 'entries with their place in the tree, bodies undecoded';
REVOKE ALL ON immiiq.entry_placed FROM PUBLIC;

-- The log. Whoever is active reads their organisation's, decrypted, with module reports and scope all; an auditor without
-- identity reads who, what and when of every organisation.
CREATE VIEW immiiq.audit_log WITH (security_barrier) AS
    SELECT p.org_id, p.position, p.at, f.actor, f.member_id, f.session_id, f.role_name, f.tool, f.impersonated,
        f.client_ip, f.user_agent, f.application_name, f.table_schema, f.table_name, f.operation, f.key, f.old_row, f.new_row,
        p.state, p.txid
    FROM immiiq.entry_placed AS p
    CROSS JOIN LATERAL immiiq.entry_fields(p.body, p.context) AS f
    WHERE p.org_id OPERATOR(pg_catalog.=) immiiq.audit_org()
    UNION ALL
    SELECT p.org_id, p.position, p.at, f.actor, f.member_id, f.session_id, f.role_name, f.tool, f.impersonated,
        f.client_ip, f.user_agent, f.application_name, f.table_schema, f.table_name, f.operation, f.key, f.old_row, f.new_row,
        p.state, p.txid
    FROM immiiq.entry_placed AS p
    CROSS JOIN LATERAL immiiq.entry_fields(p.body, p.context) AS f
    WHERE immiiq.audit_all();
COMMENT ON VIEW immiiq.audit_log IS 'who changed what and when; position is the place in the organisation''s tree, state captured or signed';
COMMENT ON COLUMN immiiq.audit_log.actor IS 'member, assistant, portal, operator; database, replication, restore where nobody was active';
COMMENT ON COLUMN immiiq.audit_log.old_row IS 'DELETE: the whole row; UPDATE: the old values of what changed';
REVOKE ALL ON immiiq.audit_log FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT', 'immiiq.audit_log'),
    ('auditor', 'SELECT', 'immiiq.audit_log'),
    ('operator', 'SELECT', 'immiiq.audit_log');
