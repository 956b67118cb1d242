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

-- One row a change. What is hashed is made of the whole row and its layout (entry_bytes): the body has what nothing else says.
CREATE TABLE immiiq.entry (
    txid int8 NOT NULL,
    at timestamptz NOT NULL,
    org_id uuid NOT NULL,
    incarnation int4 NOT NULL,
    seq int4 NOT NULL,
    context int4 NOT NULL,
    month date NOT NULL,
    body bytea NOT NULL
) PARTITION BY RANGE (month);
ALTER TABLE immiiq.entry ALTER body SET STORAGE EXTERNAL;
COMMENT ON TABLE immiiq.entry IS 'changes of protected rows, in the order of capture; one partition a month';
COMMENT ON COLUMN immiiq.entry.body IS 'of the bytes of the entry what neither the other columns nor its layout say: immiiq.entry_bytes() has them all';
COMMENT ON COLUMN immiiq.entry.month IS 'first day of the month (UTC) in which the transaction captured its first change';

-- The parent has no index: pg_dump carries partitions as tables of their own, with their keys, and attaches them to it.
CREATE TABLE immiiq.entry_rest PARTITION OF immiiq.entry (CONSTRAINT entry_rest_pkey PRIMARY KEY (txid, incarnation, seq)) DEFAULT USING heap;
COMMENT ON TABLE immiiq.entry_rest IS 'entries of months for which there was no partition';

-- Names of tables and of their columns, which entries leave out.
CREATE TABLE immiiq.layout (
    name bytea NOT NULL,
    bytes bytea NOT NULL
) USING heap;
COMMENT ON TABLE immiiq.layout IS 'which table an entry is of and what columns its image has: named by its hash, so that a second row of the same is no harm';
CREATE INDEX layout_name_idx ON immiiq.layout (name);

-- One row an entry, once it is sealed: its place in the tree of its organisation.
CREATE TABLE immiiq.leaf (
    org_id uuid NOT NULL,
    position int8 NOT NULL,
    txid int8 NOT NULL,
    incarnation int4 NOT NULL,
    seq int4 NOT NULL,
    month date NOT NULL,
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
-- Without the organisation, which each of these has but one of, and the position: equal ones are stored once. What nobody knows, or was pruned, is in none.
CREATE INDEX leaf_member_idx ON immiiq.leaf (member_id) WHERE member_id IS NOT NULL;
CREATE INDEX leaf_session_idx ON immiiq.leaf (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX leaf_key_idx ON immiiq.leaf (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX leaf_row_idx ON immiiq.leaf (row_tag) WHERE row_tag IS NOT NULL;
CREATE INDEX leaf_address_idx ON immiiq.leaf (address_tag) WHERE address_tag IS NOT NULL;

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

-- Roots of full subtrees of 256, 65536, … leaves: what proofs are made of without reading every leaf. No proof rests on them: a wrong one gives
-- a proof that does not hold.
CREATE TABLE immiiq.node (
    org_id uuid NOT NULL,
    level int4 NOT NULL,
    number int8 NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT node_pkey PRIMARY KEY (org_id, level, number)
) USING heap;
COMMENT ON TABLE immiiq.node IS 'every eighth level of the trees; that of the database under the nil uuid';

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
    timeline int8 NOT NULL,
    began int8 NOT NULL,
    CONSTRAINT seal_state_pkey PRIMARY KEY (incarnation)
) USING heap WITH (fillfactor = 50);
COMMENT ON TABLE immiiq.seal_state IS 'the snapshot up to which entries are sealed, by immiiq.audit_lineage(); the timeline of the last incarnation, and no transaction of an earlier one is as late as began';
CREATE TABLE immiiq.restored (
    txid int8 NOT NULL,
    at timestamptz NOT NULL
) USING heap;
COMMENT ON TABLE immiiq.restored IS 'marks of a restore: the next round looks for entries without a leaf';

-- Which entries retention has taken: of each organisation a beginning of its log. Their leaves stay, with nothing but the hash. Each row points to
-- the statement, an event of the organisation's own log, which says the same under the signed head.
CREATE TABLE immiiq.pruned (
    org_id uuid NOT NULL,
    last int8 NOT NULL,
    before date NOT NULL,
    keep_days int4 NOT NULL,
    incarnation int4 NOT NULL,
    txid int8 NOT NULL,
    seq int4 NOT NULL,
    month date NOT NULL,
    CONSTRAINT pruned_pkey PRIMARY KEY (org_id, last)
) USING heap;
COMMENT ON TABLE immiiq.pruned IS 'up to which position entries of each organisation were pruned, and the entry that states it';
COMMENT ON COLUMN immiiq.pruned.before IS 'entries whose transaction began to be captured before this month';

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
    FOREACH name IN ARRAY ARRAY['entry', 'entry_rest', 'layout', 'leaf', 'batch', 'tree_head', 'log_key', 'node', 'tree', 'seal_state', 'restored', 'pruned'] LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON immiiq.%I FROM PUBLIC', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER guard_log BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON immiiq.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION immiiq.guard_log(%s)', name,
            CASE WHEN name IN ('tree', 'seal_state', 'restored') THEN '''never''' ELSE '' END);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER guard_log', name);
        IF name NOT IN ('tree', 'seal_state', 'restored') THEN
            PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('immiiq.%I', name)::pg_catalog.regclass, '');
        END IF;
    END LOOP;
    -- the partitions that pg_dump brings have this one before their own
    CREATE TRIGGER guard_log_row BEFORE INSERT OR UPDATE OR DELETE ON immiiq.entry FOR EACH ROW EXECUTE FUNCTION immiiq.guard_log();
    ALTER TABLE immiiq.entry ENABLE ALWAYS TRIGGER guard_log_row;
END
$$;

CREATE FUNCTION immiiq.make_partitions(ahead int4 DEFAULT 2) RETURNS int4
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first date := pg_catalog.date_trunc('month', pg_catalog.clock_timestamp() AT TIME ZONE 'UTC');
    wanted date;
    name text;
    made int4 := 0;
BEGIN
    FOR i IN 0 .. LEAST(GREATEST(ahead, 0), 120) LOOP
        wanted := first OPERATOR(pg_catalog.+) pg_catalog.make_interval(months => i);
        name := pg_catalog.to_char(wanted, '"entry_"YYYY_MM');
        CONTINUE WHEN pg_catalog.to_regclass(pg_catalog.format('immiiq.%I', name)) IS NOT NULL;
        LOCK TABLE ONLY immiiq.entry IN SHARE UPDATE EXCLUSIVE MODE; -- one at a time
        CONTINUE WHEN pg_catalog.to_regclass(pg_catalog.format('immiiq.%I', name)) IS NOT NULL
            OR EXISTS (SELECT FROM immiiq.entry_rest AS r WHERE r.month OPERATOR(pg_catalog.=) wanted);
        EXECUTE pg_catalog.format('CREATE TABLE immiiq.%I PARTITION OF immiiq.entry (CONSTRAINT %I PRIMARY KEY (txid, incarnation, seq)) FOR VALUES FROM (%L) TO (%L) USING heap',
            name, name OPERATOR(pg_catalog.||) '_pkey', wanted, (wanted OPERATOR(pg_catalog.+) '1 month'::interval)::date);
        EXECUTE pg_catalog.format('REVOKE ALL ON immiiq.%I FROM PUBLIC', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER guard_log BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON immiiq.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION immiiq.guard_log()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER guard_log', name);
        made := made OPERATOR(pg_catalog.+) 1;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION immiiq.make_partitions(int4) IS
    'makes the partitions of immiiq.entry for this month and so many after it that are missing; a month whose entries already stand in entry_rest stays there';
REVOKE ALL ON FUNCTION immiiq.make_partitions(int4) FROM PUBLIC;

CREATE FUNCTION immiiq.last_entry() RETURNS int4
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_last_entry';
COMMENT ON FUNCTION immiiq.last_entry() IS 'number of the entry that this transaction captured last';
REVOKE ALL ON FUNCTION immiiq.last_entry() FROM PUBLIC;

CREATE FUNCTION immiiq.entry_month() RETURNS date
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_entry_month';
COMMENT ON FUNCTION immiiq.entry_month() IS 'the partition in which this transaction''s entries stand';
REVOKE ALL ON FUNCTION immiiq.entry_month() FROM PUBLIC;

CREATE VIEW immiiq.unpruned_leaf WITH (security_invoker) AS
    SELECT l.* FROM immiiq.leaf AS l
    WHERE l.position OPERATOR(pg_catalog.>) COALESCE((SELECT pg_catalog.max(p.last) FROM immiiq.pruned AS p WHERE p.org_id OPERATOR(pg_catalog.=) l.org_id), 0);
COMMENT ON VIEW immiiq.unpruned_leaf IS 'leaves whose entries are there';
REVOKE ALL ON immiiq.unpruned_leaf FROM PUBLIC;

-- Called by prune_audit alone: anybody else is stopped by the log's guards.
CREATE FUNCTION immiiq.prune_log(keep interval) RETURNS int8
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before date := date_trunc('month', (clock_timestamp() AT TIME ZONE 'UTC') - keep);
    one record;
    installation constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    days int4 := extract(epoch FROM keep) / 86400 - 0.5; -- rounded down
    gone int8;
    until int8;
    total int8 := 0;
    kept uuid[] := '{}';  -- organisations whose entries all stay
    mixed uuid[] := '{}'; -- whose entries stay behind the pruned beginning
BEGIN
    LOCK TABLE ONLY immiiq.entry IN SHARE UPDATE EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM immiiq.entry AS e WHERE e.month < before) THEN
        RETURN 0;
    END IF;
    IF EXISTS (SELECT FROM immiiq.restored) OR NOT EXISTS (SELECT FROM immiiq.seal_state AS s WHERE s.incarnation = immiiq.audit_lineage())
        OR EXISTS (SELECT FROM immiiq.seal_state AS s
            JOIN immiiq.entry AS e ON e.incarnation = ANY (immiiq.audit_incarnations()) AND (e.txid >= s.horizon OR e.txid = ANY (s.open))
            WHERE s.incarnation = immiiq.audit_lineage() AND e.month < before) THEN
        RAISE WARNING 'entries of before % are not sealed yet: nothing was pruned', before;
        RETURN 0;
    END IF;
    -- What the installation's log states of others is stated anew before it goes, if it is as the log has it: there may be nothing left of them to prune.
    FOR one IN
        SELECT p.org_id, p.last, f.new_row - 'object' AS details FROM immiiq.pruned AS p (org_id, last, until_month)
        JOIN immiiq.leaf AS l ON l.org_id = installation AND l.row_tag = immiiq.event_tag('prune', p.org_id::text)
            AND (l.month, l.incarnation, l.txid, l.seq) = (p.month, p.incarnation, p.txid, p.seq)
        JOIN immiiq.entry AS e ON (e.month, e.incarnation, e.txid, e.seq) = (p.month, p.incarnation, p.txid, p.seq)
        CROSS JOIN LATERAL immiiq.entry_fields(immiiq.entry_bytes(e), immiiq.entry_bytes(e)) AS f
        WHERE p.month < before AND p.org_id <> installation AND f.table_name = 'prune' AND sha256('\x00'::bytea || immiiq.entry_bytes(e)) = l.hash
            AND (f.new_row ->> 'object', f.new_row ->> 'last', f.new_row ->> 'before', f.new_row ->> 'keep-days')
                = (p.org_id::text, p.last::text, p.until_month::text, p.keep_days::text)
    LOOP
        PERFORM immiiq.record_event('prune', NULL, NULL, one.org_id::text, one.details);
        UPDATE immiiq.pruned AS p SET (incarnation, txid, seq, month) = (immiiq.audit_incarnation(), pg_current_xact_id()::text::int8,
            immiiq.last_entry(), immiiq.entry_month()) WHERE p.org_id = one.org_id AND p.last = one.last;
    END LOOP;
    FOR one IN SELECT e.org_id, count(*) AS entries FROM immiiq.entry AS e WHERE e.month < before GROUP BY e.org_id ORDER BY e.org_id LOOP
        gone := coalesce((SELECT max(p.last) FROM immiiq.pruned AS p WHERE p.org_id = one.org_id), 0);
        until := coalesce((SELECT l.position - 1 FROM immiiq.leaf AS l
                WHERE l.org_id = one.org_id AND l.position > gone AND l.month >= before ORDER BY l.position LIMIT 1),
            (SELECT max(l.position) FROM immiiq.leaf AS l WHERE l.org_id = one.org_id), gone);
        IF until <= gone OR immiiq.has_hold(one.org_id) THEN
            kept := kept || one.org_id;
            CONTINUE;
        END IF;
        IF until - gone <> one.entries THEN
            mixed := mixed || one.org_id;
        END IF;
        -- of an organisation whose keys are gone the installation's log says it; the last statement stands for all
        PERFORM immiiq.record_event_of('prune', one.org_id, NULL, one.org_id::text,
            jsonb_build_object('first', gone + 1, 'last', until, 'before', before, 'keep-days', days), NULL, NULL, NULL, NULL, session_user, NULL, NULL, NULL);
        INSERT INTO immiiq.pruned VALUES (one.org_id, until, before, days, immiiq.audit_incarnation(), pg_current_xact_id()::text::int8,
            immiiq.last_entry(), immiiq.entry_month());
        DELETE FROM immiiq.pruned AS p WHERE p.org_id = one.org_id AND p.last < until;
        UPDATE immiiq.leaf AS l SET at = NULL, key_id = NULL, member_id = NULL, session_id = NULL, row_tag = NULL, address_tag = NULL
        WHERE l.org_id = one.org_id AND l.position > gone AND l.position <= until;
        total := total + until - gone;
    END LOOP;

    -- What stays moves to the partition for the rest; the others go as a whole.
    FOR one IN
        SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'immiiq.entry'::regclass AND c.relname ~ '^entry_[0-9]{4}_[0-9]{2}$'
            AND to_date(substr(c.relname, 7), 'YYYY_MM') < before
        ORDER BY 1
    LOOP
        EXECUTE format('ALTER TABLE immiiq.entry DETACH PARTITION immiiq.%I', one.name);
        EXECUTE format('INSERT INTO immiiq.entry_rest SELECT e.* FROM immiiq.%I AS e WHERE e.org_id = ANY ($1) '
            'OR (e.org_id = ANY ($2) AND (e.incarnation, e.txid, e.seq) IN (SELECT s.incarnation, s.txid, s.seq FROM immiiq.unpruned_leaf AS s WHERE s.month < $3))', one.name)
            USING kept, mixed, before;
        EXECUTE format('DROP TABLE immiiq.%I', one.name);
    END LOOP;
    DELETE FROM immiiq.entry_rest AS e WHERE e.month < before AND NOT (e.org_id = ANY (kept)
        OR (e.org_id = ANY (mixed) AND (e.incarnation, e.txid, e.seq) IN (SELECT s.incarnation, s.txid, s.seq FROM immiiq.unpruned_leaf AS s WHERE s.month < before)));
    RETURN total;
END
$$;
COMMENT ON FUNCTION immiiq.prune_log(interval) IS 'for prune_audit: states and takes away what is older than this';
REVOKE ALL ON FUNCTION immiiq.prune_log(interval) FROM PUBLIC;

CREATE PROCEDURE immiiq.prune_audit(keep interval DEFAULT NULL)
    LANGUAGE C AS 'MODULE_PATHNAME', 'immiiq_prune_audit';
COMMENT ON PROCEDURE immiiq.prune_audit(interval) IS
    'takes entries of whole months away that are older than this (null: immiiq.audit_keep), and states it in each organisation''s log; holds stop it; the worker does the same';
REVOKE ALL ON PROCEDURE immiiq.prune_audit(interval) FROM PUBLIC;

CREATE PROCEDURE immiiq.seal()
    LANGUAGE C AS 'MODULE_PATHNAME', 'immiiq_seal';
COMMENT ON PROCEDURE immiiq.seal() IS 'seals, now, every captured entry whose transaction has ended; the worker does the same every immiiq.seal_interval';
REVOKE ALL ON PROCEDURE immiiq.seal() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('auditor', 'EXECUTE', 'PROCEDURE immiiq.seal()'), ('operator', 'EXECUTE', 'PROCEDURE immiiq.seal()');

CREATE FUNCTION immiiq.verify_audit(org uuid DEFAULT NULL, since text DEFAULT NULL, images boolean DEFAULT true, workers int4 DEFAULT NULL, rows boolean DEFAULT NULL)
    RETURNS TABLE (severity text, org_id uuid, "position" int8, problem text)
    LANGUAGE C STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off -- linear without statistics too
    AS 'MODULE_PATHNAME', 'immiiq_verify_audit';
COMMENT ON FUNCTION immiiq.verify_audit(uuid, text, boolean, int4, boolean) IS
    'one row for everything in which the log does not hold together; none: it is whole. since: only what follows a checkpoint that was kept; images: open every image too; rows: hold live rows against their last entries';
REVOKE ALL ON FUNCTION immiiq.verify_audit(uuid, text, boolean, int4, boolean) FROM PUBLIC;
CREATE FUNCTION immiiq.read_verify_progress()
    RETURNS TABLE (pid int4, started_at timestamptz, workers int4, units_total int8, units_done int8, entries_done int8, problems int8)
    LANGUAGE C VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_verify_progress';
COMMENT ON FUNCTION immiiq.read_verify_progress() IS 'verifications of this database that run now';
REVOKE ALL ON FUNCTION immiiq.read_verify_progress() FROM PUBLIC;
CREATE VIEW immiiq.verify_progress AS
    SELECT p.pid, p.started_at, p.workers, p.units_total, p.units_done, p.entries_done, p.problems FROM immiiq.read_verify_progress() AS p;
COMMENT ON VIEW immiiq.verify_progress IS 'how far verify_audit() is, in units of up to 16,384 entries; entries_done counts those of finished units';
REVOKE ALL ON immiiq.verify_progress FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.verify_audit(uuid, text, boolean, int4, boolean)'),
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.read_verify_progress()'),
    ('auditor', 'SELECT', 'TABLE immiiq.verify_progress');

CREATE FUNCTION immiiq.audit_org() RETURNS uuid
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_audit_org';
COMMENT ON FUNCTION immiiq.audit_org() IS 'the organisation whose log the active identity may read: module reports and scope all, or an operator';
CREATE FUNCTION immiiq.audit_all() RETURNS boolean
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_audit_all';
COMMENT ON FUNCTION immiiq.audit_all() IS 'true for auditors and superusers while nobody is active';
CREATE FUNCTION immiiq.audit_incarnation() RETURNS int4
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_audit_incarnation';
COMMENT ON FUNCTION immiiq.audit_incarnation() IS 'names the life of this database on this timeline of its cluster; every entry carries it';
CREATE FUNCTION immiiq.audit_lineage() RETURNS int4
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_audit_lineage';
COMMENT ON FUNCTION immiiq.audit_lineage() IS 'names this database of this cluster, on whatever timeline: its transaction ids go on';
CREATE FUNCTION immiiq.audit_incarnations() RETURNS int4[]
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_audit_incarnations';
COMMENT ON FUNCTION immiiq.audit_incarnations() IS 'audit_incarnation() of each timeline up to this one';

CREATE FUNCTION immiiq.entry_bytes(entry immiiq.entry) RETURNS bytea
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_entry_bytes';
COMMENT ON FUNCTION immiiq.entry_bytes(immiiq.entry) IS 'the bytes of an entry, as they are hashed and exported; null for a row that stands for none';

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
COMMENT ON FUNCTION immiiq.audit_sees_support(internal) IS 'planner support: audit_sees becomes an equality while someone is active';
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
    WHERE e.incarnation OPERATOR(pg_catalog.=) ANY ((SELECT immiiq.audit_incarnations())::int4[])
        AND e.txid OPERATOR(pg_catalog.>=) COALESCE((SELECT s.horizon FROM immiiq.seal_state AS s
            WHERE s.incarnation OPERATOR(pg_catalog.=) immiiq.audit_lineage()), 0)
        AND immiiq.audit_sees(e.org_id)
    UNION ALL
    SELECT e.incarnation, e.txid, e.seq
    FROM immiiq.entry AS e
    WHERE e.incarnation OPERATOR(pg_catalog.=) ANY ((SELECT immiiq.audit_incarnations())::int4[])
        AND e.txid OPERATOR(pg_catalog.=) ANY ((SELECT s.open FROM immiiq.seal_state AS s
            WHERE s.incarnation OPERATOR(pg_catalog.=) immiiq.audit_lineage())::int8[])
        AND immiiq.audit_sees(e.org_id)
    UNION ALL -- after a restore, until the next round: entries of another life of the database that have no leaf
    SELECT e.incarnation, e.txid, e.seq
    FROM immiiq.entry AS e
    WHERE (EXISTS (SELECT FROM immiiq.restored) OR NOT EXISTS (SELECT FROM immiiq.seal_state AS s
            WHERE s.incarnation OPERATOR(pg_catalog.=) immiiq.audit_lineage()))
        AND e.incarnation OPERATOR(pg_catalog.<>) ALL ((SELECT immiiq.audit_incarnations())::int4[])
        AND immiiq.audit_sees(e.org_id)
        AND NOT EXISTS (SELECT FROM immiiq.leaf AS l WHERE l.incarnation OPERATOR(pg_catalog.=) e.incarnation
            AND l.txid OPERATOR(pg_catalog.=) e.txid AND l.seq OPERATOR(pg_catalog.=) e.seq);
END;
COMMENT ON FUNCTION immiiq.waiting() IS 'entries of whose log the caller may read that no round has sealed yet';
REVOKE ALL ON FUNCTION immiiq.waiting() FROM PUBLIC;

CREATE FUNCTION immiiq.row_tag(target regclass, key jsonb) RETURNS int8
    LANGUAGE C STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_row_tag';
COMMENT ON FUNCTION immiiq.row_tag(regclass, jsonb) IS 'what audit_log.row_tag is for a row of the active organisation: an index serves it; null for whom may not read the log';
CREATE FUNCTION immiiq.address_tag(address text) RETURNS int8
    LANGUAGE C STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_address_tag';
COMMENT ON FUNCTION immiiq.address_tag(text) IS 'what audit_log.address_tag is for an address of the active organisation: an index serves it; null for whom may not read the log';

-- The log: what is sealed, each entry at its place. Every filter below is a range of an index: org_id and position, member_id,
-- session_id, client_id, at, row_tag, address_tag.
CREATE VIEW immiiq.audit_log WITH (security_invoker) AS
    SELECT l.org_id, l.position, l.at, f.actor, l.member_id, l.session_id, f.role_name, f.tool, f.impersonated,
        f.client_ip, f.user_agent, f.application_name, f.table_schema, f.table_name, f.operation, k.client_id, f.key, f.old_row, f.new_row,
        'signed' AS state, l.txid, l.row_tag, l.address_tag
    FROM immiiq.leaf AS l
    LEFT JOIN immiiq.entry AS e ON e.month OPERATOR(pg_catalog.=) l.month AND e.incarnation OPERATOR(pg_catalog.=) l.incarnation
        AND e.txid OPERATOR(pg_catalog.=) l.txid AND e.seq OPERATOR(pg_catalog.=) l.seq
    LEFT JOIN immiiq.entry AS c ON c.month OPERATOR(pg_catalog.=) e.month AND c.incarnation OPERATOR(pg_catalog.=) e.incarnation
        AND c.txid OPERATOR(pg_catalog.=) e.txid AND c.seq OPERATOR(pg_catalog.=) e.context
    LEFT JOIN immiiq.subject_key AS k ON k.key_id OPERATOR(pg_catalog.=) l.key_id AND k.org_id OPERATOR(pg_catalog.=) l.org_id
    LEFT JOIN LATERAL immiiq.entry_fields(immiiq.entry_bytes(e), immiiq.entry_bytes(c)) AS f ON true
    WHERE immiiq.audit_sees(l.org_id) -- again, for who is above row security
        AND l.at IS NOT NULL; -- not pruned
COMMENT ON VIEW immiiq.audit_log IS 'who changed what and when, of what is sealed; position is the place in the organisation''s tree';
COMMENT ON COLUMN immiiq.audit_log.actor IS 'member, assistant, portal, operator; database, replication, restore where nobody was active';
COMMENT ON COLUMN immiiq.audit_log.client_id IS 'the client whose key seals the image, null where the table has none or the client is erased';
COMMENT ON COLUMN immiiq.audit_log.row_tag IS 'what immiiq.row_tag() says of the row';
COMMENT ON COLUMN immiiq.audit_log.address_tag IS 'what immiiq.address_tag() says of client_ip';
COMMENT ON COLUMN immiiq.audit_log.old_row IS 'DELETE: the whole row; UPDATE: the old values of what changed';

-- What is captured and waits for a sealer: what its last snapshot did not see as over; after a restore, whatever has no leaf.
CREATE VIEW immiiq.audit_waiting WITH (security_invoker) AS
    SELECT e.org_id, e.at, f.actor, f.member_id, f.session_id, f.role_name, f.tool, f.impersonated,
        f.client_ip, f.user_agent, f.application_name, f.table_schema, f.table_name, f.operation, f.key, f.old_row, f.new_row,
        'captured' AS state, e.txid
    FROM immiiq.entry AS e
    LEFT JOIN immiiq.entry AS c ON c.month OPERATOR(pg_catalog.=) e.month AND c.incarnation OPERATOR(pg_catalog.=) e.incarnation
        AND c.txid OPERATOR(pg_catalog.=) e.txid AND c.seq OPERATOR(pg_catalog.=) e.context
    CROSS JOIN LATERAL immiiq.entry_fields(immiiq.entry_bytes(e), immiiq.entry_bytes(c)) AS f
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

-- Proofs, as text in the formats of C2SP: checkpoint (signed note), tlog-proof, cosignatures of witnesses.
CREATE FUNCTION immiiq.tree_path(org uuid, index int8, size int8) RETURNS bytea[]
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_tree_path';
COMMENT ON FUNCTION immiiq.tree_path(uuid, int8, int8) IS 'RFC 6962 path of a leaf (index from 0) in a tree of that size; nil uuid: the database''s tree';
REVOKE ALL ON FUNCTION immiiq.tree_path(uuid, int8, int8) FROM PUBLIC;
CREATE FUNCTION immiiq.tree_consistency(org uuid, old_size int8, new_size int8) RETURNS bytea[]
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_tree_consistency';
COMMENT ON FUNCTION immiiq.tree_consistency(uuid, int8, int8) IS 'RFC 6962 proof that one tree is the beginning of another; nil uuid: the database''s tree';
REVOKE ALL ON FUNCTION immiiq.tree_consistency(uuid, int8, int8) FROM PUBLIC;
CREATE FUNCTION immiiq.verify_ed25519(public_key bytea, message bytea, signature bytea) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_verify_ed25519';
COMMENT ON FUNCTION immiiq.verify_ed25519(bytea, bytea, bytea) IS 'whether an Ed25519 signature (RFC 8032) holds';

CREATE FUNCTION immiiq.base64(data bytea) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN pg_catalog.translate(pg_catalog.encode(data, 'base64'), E'\n', '');
COMMENT ON FUNCTION immiiq.base64(bytea) IS 'base64 in one line (RFC 4648, section 4)';

CREATE TABLE immiiq.witness (
    name text NOT NULL CONSTRAINT witness_pkey PRIMARY KEY
        CHECK (name OPERATOR(pg_catalog.~) '^[^[:space:]+[:cntrl:]]+$'),
    key_id bytea NOT NULL CHECK (pg_catalog.octet_length(key_id) OPERATOR(pg_catalog.=) 4),
    public_key bytea NOT NULL CHECK (pg_catalog.octet_length(public_key) OPERATOR(pg_catalog.=) 32)
);
COMMENT ON TABLE immiiq.witness IS 'witnesses whose cosignatures are taken';
COMMENT ON COLUMN immiiq.witness.key_id IS 'first four bytes of SHA-256(name, newline, 04, public key)';
REVOKE ALL ON immiiq.witness FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.witness', '');
CREATE TABLE immiiq.cosignature (
    size int8 NOT NULL,
    name text NOT NULL,
    signed_at timestamptz NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT cosignature_pkey PRIMARY KEY (size, name)
);
COMMENT ON TABLE immiiq.cosignature IS 'signatures of witnesses under heads of the database''s tree (C2SP tlog-cosignature)';
COMMENT ON COLUMN immiiq.cosignature.signature IS '72 bytes: time in seconds, then Ed25519';
REVOKE ALL ON immiiq.cosignature FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.cosignature', '');

CREATE FUNCTION immiiq.add_witness(verifier_key text) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts text[] := pg_catalog.regexp_match(verifier_key, '^([^[:space:]+[:cntrl:]]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})$');
    public_key bytea;
BEGIN
    IF parts IS NULL OR pg_catalog.get_byte(pg_catalog.decode(parts[3], 'base64'), 0) OPERATOR(pg_catalog.<>) 4 THEN
        RAISE EXCEPTION 'not the verifier key of a witness' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'It reads name+hash+key, the key being of type 04 (C2SP tlog-cosignature).';
    END IF;
    public_key := pg_catalog.substr(pg_catalog.decode(parts[3], 'base64'), 2);
    IF pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to(parts[1], 'UTF8') OPERATOR(pg_catalog.||) '\x0a04'::bytea OPERATOR(pg_catalog.||) public_key), 1, 4)
        OPERATOR(pg_catalog.<>) pg_catalog.decode(parts[2], 'hex') THEN
        RAISE EXCEPTION 'hash in the verifier key is not that of its name and key' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO immiiq.witness VALUES (parts[1], pg_catalog.decode(parts[2], 'hex'), public_key);
END
$$;
COMMENT ON FUNCTION immiiq.add_witness(text) IS 'takes cosignatures of this witness from now on; its verifier key as name+hash+key';
REVOKE ALL ON FUNCTION immiiq.add_witness(text) FROM PUBLIC;

-- The signed note of the head of this size.
CREATE FUNCTION immiiq.checkpoint_of(head_size int8) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT k.origin OPERATOR(pg_catalog.||) E'\n' OPERATOR(pg_catalog.||) h.size::text OPERATOR(pg_catalog.||) E'\n' OPERATOR(pg_catalog.||) immiiq.base64(h.root)
        OPERATOR(pg_catalog.||) E'\n\n— ' OPERATOR(pg_catalog.||) k.origin OPERATOR(pg_catalog.||) ' '
        OPERATOR(pg_catalog.||) immiiq.base64(pg_catalog.int4send(h.key_hash) OPERATOR(pg_catalog.||) h.signature) OPERATOR(pg_catalog.||) E'\n'
        OPERATOR(pg_catalog.||) COALESCE((SELECT pg_catalog.string_agg('— ' OPERATOR(pg_catalog.||) c.name OPERATOR(pg_catalog.||) ' '
                OPERATOR(pg_catalog.||) immiiq.base64(w.key_id OPERATOR(pg_catalog.||) c.signature) OPERATOR(pg_catalog.||) E'\n', '' ORDER BY c.name)
            FROM immiiq.cosignature AS c JOIN immiiq.witness AS w ON w.name OPERATOR(pg_catalog.=) c.name
            WHERE c.size OPERATOR(pg_catalog.=) h.size), '')
    FROM immiiq.tree_head AS h JOIN immiiq.log_key AS k ON k.key_hash OPERATOR(pg_catalog.=) h.key_hash
    WHERE h.size OPERATOR(pg_catalog.=) head_size;
END;
COMMENT ON FUNCTION immiiq.checkpoint_of(int8) IS 'the signed note of the head of this size, null when there is none';
REVOKE ALL ON FUNCTION immiiq.checkpoint_of(int8) FROM PUBLIC;

CREATE FUNCTION immiiq.checkpoint() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT immiiq.checkpoint_of((SELECT pg_catalog.max(h.size) FROM immiiq.tree_head AS h));
END;
COMMENT ON FUNCTION immiiq.checkpoint() IS 'the newest signed head of the whole log, with cosignatures: keep it elsewhere (C2SP tlog-checkpoint)';
REVOKE ALL ON FUNCTION immiiq.checkpoint() FROM PUBLIC;

CREATE FUNCTION immiiq.log_verifier() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT k.origin OPERATOR(pg_catalog.||) '+' OPERATOR(pg_catalog.||) pg_catalog.encode(pg_catalog.int4send(k.key_hash), 'hex') OPERATOR(pg_catalog.||) '+'
        OPERATOR(pg_catalog.||) immiiq.base64('\x01'::bytea OPERATOR(pg_catalog.||) k.public_key)
    FROM immiiq.log_key AS k WHERE k.key_hash OPERATOR(pg_catalog.=) (SELECT h.key_hash FROM immiiq.tree_head AS h ORDER BY h.size DESC LIMIT 1);
END;
COMMENT ON FUNCTION immiiq.log_verifier() IS 'the public key that signs heads now, as name+hash+key (C2SP signed-note)';
REVOKE ALL ON FUNCTION immiiq.log_verifier() FROM PUBLIC;

CREATE FUNCTION immiiq.prove_consistency(old_size int8) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT COALESCE((SELECT pg_catalog.string_agg(immiiq.base64(p.hash) OPERATOR(pg_catalog.||) E'\n', '' ORDER BY p.n)
        FROM pg_catalog.unnest(immiiq.tree_consistency('00000000-0000-0000-0000-000000000000', old_size,
            (SELECT pg_catalog.max(h.size) FROM immiiq.tree_head AS h))) WITH ORDINALITY AS p (hash, n)), '');
END;
COMMENT ON FUNCTION immiiq.prove_consistency(int8) IS 'that the tree of an earlier checkpoint is the beginning of that of checkpoint(): hashes in base64, a line each';
REVOKE ALL ON FUNCTION immiiq.prove_consistency(int8) FROM PUBLIC;

-- The bytes of a batch, as they are hashed.
CREATE FUNCTION immiiq.batch_bytes(batch immiiq.batch) RETURNS bytea
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN '\x696d6d6969712f76312f62617463680001'::bytea OPERATOR(pg_catalog.||) pg_catalog.int8send((batch).batch_no) OPERATOR(pg_catalog.||) pg_catalog.uuid_send((batch).org_id)
        OPERATOR(pg_catalog.||) pg_catalog.int8send((batch).first) OPERATOR(pg_catalog.||) pg_catalog.int8send((batch).last)
        OPERATOR(pg_catalog.||) pg_catalog.timestamptz_send((batch).at) OPERATOR(pg_catalog.||) (batch).org_root OPERATOR(pg_catalog.||) (batch).previous;
COMMENT ON FUNCTION immiiq.batch_bytes(immiiq.batch) IS 'the 129 bytes that are a leaf of the database''s tree';
REVOKE ALL ON FUNCTION immiiq.batch_bytes(immiiq.batch) FROM PUBLIC;

CREATE FUNCTION immiiq.prove_entry(org uuid, "position" int8) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    batch immiiq.batch;
    head int8;
    inner_path bytea;
    outer_path text;
BEGIN
    PERFORM immiiq.require_log(org);
    SELECT b.* INTO batch FROM immiiq.batch AS b
    WHERE b.org_id OPERATOR(pg_catalog.=) org AND b.last OPERATOR(pg_catalog.>=) "position" ORDER BY b.last LIMIT 1;
    SELECT pg_catalog.max(h.size) INTO head FROM immiiq.tree_head AS h;
    IF batch.batch_no IS NULL OR "position" OPERATOR(pg_catalog.<) 1 OR head IS NULL OR head OPERATOR(pg_catalog.<) batch.batch_no THEN
        RAISE EXCEPTION 'the log has no sealed entry at this position' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT pg_catalog.string_agg(p.hash, ''::bytea ORDER BY p.n) INTO inner_path
    FROM pg_catalog.unnest(immiiq.tree_path(org, "position" OPERATOR(pg_catalog.-) 1, batch.last)) WITH ORDINALITY AS p (hash, n);
    SELECT pg_catalog.string_agg(immiiq.base64(p.hash) OPERATOR(pg_catalog.||) E'\n', '' ORDER BY p.n) INTO outer_path
    FROM pg_catalog.unnest(immiiq.tree_path('00000000-0000-0000-0000-000000000000', batch.batch_no OPERATOR(pg_catalog.-) 1, head)) WITH ORDINALITY AS p (hash, n);
    RETURN pg_catalog.concat(E'c2sp.org/tlog-proof@v1\nextra ',
        immiiq.base64(pg_catalog.int8send("position") OPERATOR(pg_catalog.||) immiiq.batch_bytes(batch) OPERATOR(pg_catalog.||) COALESCE(inner_path, ''::bytea)),
        E'\nindex ', batch.batch_no OPERATOR(pg_catalog.-) 1, E'\n', outer_path, E'\n', immiiq.checkpoint_of(head));
END
$$;
COMMENT ON FUNCTION immiiq.prove_entry(uuid, int8) IS 'proof that an entry stands in the log under the newest checkpoint (C2SP tlog-proof; extra: its path in the organisation''s tree)';
REVOKE ALL ON FUNCTION immiiq.prove_entry(uuid, int8) FROM PUBLIC;

CREATE FUNCTION immiiq.add_cosignature(note text) RETURNS int4
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    split int4 := pg_catalog.strpos(note, E'\n\n');
    body text := pg_catalog.left(note, split);
    head int8;
    line text;
    parts text[];
    signed bytea;
    key bytea;
    taken int4 := 0;
    n int4;
BEGIN
    SELECT h.size INTO head FROM immiiq.tree_head AS h JOIN immiiq.log_key AS k ON k.key_hash OPERATOR(pg_catalog.=) h.key_hash
    WHERE body OPERATOR(pg_catalog.=) pg_catalog.concat(k.origin, E'\n', h.size, E'\n', immiiq.base64(h.root), E'\n')
        AND h.size::text OPERATOR(pg_catalog.=) pg_catalog.split_part(body, E'\n', 2);
    IF split OPERATOR(pg_catalog.=) 0 OR head IS NULL THEN
        RAISE EXCEPTION 'not a checkpoint of this log' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOREACH line IN ARRAY pg_catalog.string_to_array(pg_catalog.substr(note, split OPERATOR(pg_catalog.+) 2), E'\n') LOOP
        parts := pg_catalog.regexp_match(line, '^— ([^ ]+) ([A-Za-z0-9+/]{102}==|[A-Za-z0-9+/]{103}=|[A-Za-z0-9+/]{104})$');
        CONTINUE WHEN parts IS NULL;
        signed := pg_catalog.decode(parts[2], 'base64');
        CONTINUE WHEN pg_catalog.octet_length(signed) OPERATOR(pg_catalog.<>) 76;
        SELECT w.public_key INTO key FROM immiiq.witness AS w
        WHERE w.name OPERATOR(pg_catalog.=) parts[1] AND w.key_id OPERATOR(pg_catalog.=) pg_catalog.substr(signed, 1, 4);
        CONTINUE WHEN NOT FOUND;
        IF NOT immiiq.verify_ed25519(key, pg_catalog.convert_to(pg_catalog.concat(E'cosignature/v1\ntime ',
                ('x' OPERATOR(pg_catalog.||) pg_catalog.encode(pg_catalog.substr(signed, 5, 8), 'hex'))::bit(64)::int8, E'\n', body), 'UTF8'), pg_catalog.substr(signed, 13)) THEN
            RAISE EXCEPTION 'cosignature does not hold' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        INSERT INTO immiiq.cosignature VALUES (head, parts[1],
            pg_catalog.to_timestamp((('x' OPERATOR(pg_catalog.||) pg_catalog.encode(pg_catalog.substr(signed, 5, 8), 'hex'))::bit(64)::int8)::float8), pg_catalog.substr(signed, 5))
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS n = ROW_COUNT;
        taken := taken OPERATOR(pg_catalog.+) n;
    END LOOP;
    RETURN taken;
END
$$;
COMMENT ON FUNCTION immiiq.add_cosignature(text) IS 'takes the cosignatures of known witnesses from a checkpoint that came back; how many were new';
REVOKE ALL ON FUNCTION immiiq.add_cosignature(text) FROM PUBLIC;

INSERT INTO immiiq.privilege VALUES
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.checkpoint()'),
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.prove_entry(uuid, int8)'),
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.prove_consistency(int8)'),
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.add_cosignature(text)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.checkpoint()'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.prove_entry(uuid, int8)');

-- What immiiq.anchor_command did last; the worker writes it.
CREATE TABLE immiiq.anchor_state (
    tried_at timestamptz NOT NULL,
    anchored int8,
    succeeded_at timestamptz,
    failed_at timestamptz,
    failure text
);
COMMENT ON TABLE immiiq.anchor_state IS 'how immiiq.anchor_command went, in one row; anchored: the batches under the last checkpoint that it took';
REVOKE ALL ON immiiq.anchor_state FROM PUBLIC;

CREATE FUNCTION immiiq.record_anchor(note text, said text, failure text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lines constant text := (SELECT string_agg(l || E'\n', '') FROM string_to_table(said, E'\n') AS l WHERE l LIKE '— %');
    now constant timestamptz := clock_timestamp();
BEGIN
    IF failure IS NULL AND lines IS NOT NULL THEN
        BEGIN
            PERFORM immiiq.add_cosignature(note || lines);
        EXCEPTION WHEN invalid_parameter_value THEN
            failure := SQLERRM;
        END;
    END IF;
    UPDATE immiiq.anchor_state AS a SET tried_at = now,
        anchored = CASE WHEN record_anchor.failure IS NULL THEN split_part(note, E'\n', 2)::int8 ELSE a.anchored END,
        succeeded_at = CASE WHEN record_anchor.failure IS NULL THEN now ELSE a.succeeded_at END,
        failed_at = CASE WHEN record_anchor.failure IS NULL THEN a.failed_at ELSE now END,
        failure = coalesce(record_anchor.failure, a.failure);
    IF NOT FOUND THEN
        INSERT INTO immiiq.anchor_state VALUES (now, CASE WHEN failure IS NULL THEN split_part(note, E'\n', 2)::int8 END,
            CASE WHEN failure IS NULL THEN now END, CASE WHEN failure IS NOT NULL THEN now END, failure);
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.record_anchor(text, text, text) IS 'notes how immiiq.anchor_command went with a checkpoint, and takes the cosignatures that it answered with';
REVOKE ALL ON FUNCTION immiiq.record_anchor(text, text, text) FROM PUBLIC;

CREATE VIEW immiiq.anchor_status AS
    SELECT CASE WHEN a.tried_at IS NULL THEN 'never' WHEN a.failed_at > a.succeeded_at OR a.succeeded_at IS NULL THEN 'failed' ELSE 'ok' END AS status,
        a.anchored AS batches_anchored, h.size - coalesce(a.anchored, 0) AS batches_waiting, a.succeeded_at, a.failed_at, a.failure
    FROM (SELECT max(t.size) AS size FROM immiiq.tree_head AS t) AS h LEFT JOIN immiiq.anchor_state AS a ON true;
COMMENT ON VIEW immiiq.anchor_status IS 'when immiiq.anchor_command last succeeded and failed, why, and how many batches no anchor covers';
REVOKE ALL ON immiiq.anchor_status FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('auditor', 'SELECT', 'TABLE immiiq.anchor_status'),
    ('operator', 'SELECT', 'TABLE immiiq.anchor_status');

-- The log as a file that proves itself.
CREATE FUNCTION immiiq.entry_columns(body bytea)
    RETURNS TABLE (part int4, flags int4, name text, value text, origin bytea, salt bytea, commitment bytea)
    LANGUAGE C STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_entry_columns';
COMMENT ON FUNCTION immiiq.entry_columns(bytea) IS 'the columns of an entry with salt and commitment, for whom the context allows';
REVOKE ALL ON FUNCTION immiiq.entry_columns(bytea) FROM PUBLIC;

CREATE FUNCTION immiiq.require_log(org uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- not audit_sees(): a plan that is kept would remember who was active when it was made
    IF NOT (COALESCE(org OPERATOR(pg_catalog.=) immiiq.audit_org(), false) OR immiiq.audit_all()) THEN
        RAISE EXCEPTION 'permission denied for the log of this organisation' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION immiiq.require_log(uuid) IS 'error 42501 unless the caller may read the log of this organisation';

-- The columns of one entry as JSON, those that are redacted as their commitments.
CREATE FUNCTION immiiq.export_columns(body bytea, redact text[]) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT COALESCE('[' OPERATOR(pg_catalog.||) pg_catalog.string_agg(
        CASE WHEN c.name OPERATOR(pg_catalog.=) ANY (redact) OR '*' OPERATOR(pg_catalog.=) ANY (redact)
            THEN pg_catalog.concat('{"commitment":"', immiiq.base64(c.commitment), '"}')
        WHEN c.part OPERATOR(pg_catalog.=) 2
            THEN pg_catalog.concat('{"part":2,"origin":"', immiiq.base64(c.origin), '","salt":"', immiiq.base64(c.salt), '"}')
        ELSE pg_catalog.concat('{"part":', c.part, ',"flags":', c.flags, ',"name":', pg_catalog.to_json(c.name)::text,
            ',"value":', COALESCE(pg_catalog.to_json(c.value)::text, 'null'), ',"salt":"', immiiq.base64(c.salt), '"}') END, ',' ORDER BY c.n)
        OPERATOR(pg_catalog.||) ']', 'null')
    FROM ROWS FROM (immiiq.entry_columns(body)) WITH ORDINALITY AS c (part, flags, name, value, origin, salt, commitment, n);
END;
COMMENT ON FUNCTION immiiq.export_columns(bytea, text[]) IS 'the columns of an entry for an export';
REVOKE ALL ON FUNCTION immiiq.export_columns(bytea, text[]) FROM PUBLIC;

CREATE FUNCTION immiiq.export_path(org uuid, index int8, size int8) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT '[' OPERATOR(pg_catalog.||) COALESCE(pg_catalog.string_agg(pg_catalog.concat('"', immiiq.base64(p.hash), '"'), ',' ORDER BY p.n), '') OPERATOR(pg_catalog.||) ']'
    FROM pg_catalog.unnest(immiiq.tree_path(org, index, size)) WITH ORDINALITY AS p (hash, n);
END;
COMMENT ON FUNCTION immiiq.export_path(uuid, int8, int8) IS 'a path in a tree for an export';
REVOKE ALL ON FUNCTION immiiq.export_path(uuid, int8, int8) FROM PUBLIC;

-- Call it in the target list: SELECT immiiq.export_audit(…). In FROM PostgreSQL would keep the whole of it in a temporary file.
CREATE FUNCTION immiiq.export_audit(org uuid, since timestamptz DEFAULT '-infinity', until timestamptz DEFAULT 'infinity',
        redact text[] DEFAULT '{}', after int8 DEFAULT 0) RETURNS SETOF text
    LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH range AS MATERIALIZED (
        SELECT r.first, r.last, b.*, h.size AS head
        FROM (SELECT pg_catalog.min(l.position) AS first, pg_catalog.max(l.position) AS last FROM immiiq.leaf AS l
            WHERE immiiq.require_log(org) AND l.org_id OPERATOR(pg_catalog.=) org AND l.position OPERATOR(pg_catalog.>) after
                AND l.at OPERATOR(pg_catalog.>=) since AND l.at OPERATOR(pg_catalog.<) until) AS r
        CROSS JOIN (SELECT pg_catalog.max(t.size) AS size FROM immiiq.tree_head AS t) AS h
        CROSS JOIN LATERAL (SELECT x AS batch, x.batch_no, x.last AS size FROM immiiq.batch AS x
            WHERE x.org_id OPERATOR(pg_catalog.=) org AND x.last OPERATOR(pg_catalog.>=) r.last ORDER BY x.last LIMIT 1) AS b
    ), bodies AS (
        SELECT l.position, l.incarnation, l.txid, l.seq, e.context, immiiq.entry_bytes(e) AS body
        FROM immiiq.leaf AS l JOIN immiiq.entry AS e ON e.month OPERATOR(pg_catalog.=) l.month AND e.incarnation OPERATOR(pg_catalog.=) l.incarnation
            AND e.txid OPERATOR(pg_catalog.=) l.txid AND e.seq OPERATOR(pg_catalog.=) l.seq
        WHERE l.org_id OPERATOR(pg_catalog.=) org AND l.position OPERATOR(pg_catalog.>=) (SELECT first FROM range)
            AND l.position OPERATOR(pg_catalog.<=) (SELECT last FROM range)
        ORDER BY l.position
    )
    SELECT pg_catalog.concat('{"immiiq":"export/v1","org":"', org, '","first":', r.first, ',"last":', r.last,
        ',"batch":"', immiiq.base64(immiiq.batch_bytes(r.batch)),
        '","path":', immiiq.export_path('00000000-0000-0000-0000-000000000000', r.batch_no OPERATOR(pg_catalog.-) 1, r.head),
        ',"checkpoint":', pg_catalog.to_json(immiiq.checkpoint_of(r.head))::text, '}')
    FROM range AS r
    UNION ALL -- entries of the first transaction before the range that say who wrote
    (SELECT pg_catalog.concat('{"context":', l.position, ',"body":"', immiiq.base64(immiiq.entry_bytes(e)), '","path":',
        immiiq.export_path(org, l.position OPERATOR(pg_catalog.-) 1, r.size), ',"columns":', immiiq.export_columns(immiiq.entry_bytes(e), redact), '}')
    FROM range AS r
    JOIN immiiq.leaf AS f ON f.org_id OPERATOR(pg_catalog.=) org AND f.position OPERATOR(pg_catalog.=) r.first
    JOIN immiiq.entry AS e ON e.month OPERATOR(pg_catalog.=) f.month AND e.incarnation OPERATOR(pg_catalog.=) f.incarnation AND e.txid OPERATOR(pg_catalog.=) f.txid
        AND e.seq OPERATOR(pg_catalog.<) f.seq AND e.context OPERATOR(pg_catalog.=) e.seq AND e.org_id OPERATOR(pg_catalog.=) org
    JOIN immiiq.leaf AS l ON l.org_id OPERATOR(pg_catalog.=) org AND l.position OPERATOR(pg_catalog.<) r.first
        AND l.incarnation OPERATOR(pg_catalog.=) e.incarnation AND l.txid OPERATOR(pg_catalog.=) e.txid AND l.seq OPERATOR(pg_catalog.=) e.seq
    ORDER BY l.position)
    UNION ALL
    SELECT pg_catalog.concat('{"position":', b.position, ',"body":"', immiiq.base64(b.body), '","path":',
        immiiq.export_path(org, b.position OPERATOR(pg_catalog.-) 1, r.size), ',"columns":', immiiq.export_columns(b.body, redact), '}')
    FROM range AS r CROSS JOIN bodies AS b
    UNION ALL
    SELECT pg_catalog.concat('{"end":', r.last OPERATOR(pg_catalog.-) r.first OPERATOR(pg_catalog.+) 1 OPERATOR(pg_catalog.+)
        (SELECT pg_catalog.count(*) FROM immiiq.leaf AS f
            JOIN immiiq.entry AS e ON e.month OPERATOR(pg_catalog.=) f.month AND e.incarnation OPERATOR(pg_catalog.=) f.incarnation AND e.txid OPERATOR(pg_catalog.=) f.txid
                AND e.seq OPERATOR(pg_catalog.<) f.seq AND e.context OPERATOR(pg_catalog.=) e.seq AND e.org_id OPERATOR(pg_catalog.=) org
            WHERE f.org_id OPERATOR(pg_catalog.=) org AND f.position OPERATOR(pg_catalog.=) r.first), '}')
    FROM range AS r;
END;
COMMENT ON FUNCTION immiiq.export_audit(uuid, timestamptz, timestamptz, text[], int8) IS
    'the log of an organisation as JSON lines that immiiq-verify holds against the public key; redact: columns of which only the commitment goes in; after: go on behind this position';
REVOKE ALL ON FUNCTION immiiq.export_audit(uuid, timestamptz, timestamptz, text[], int8) FROM PUBLIC;
INSERT INTO immiiq.privilege
SELECT role, 'EXECUTE', object
FROM pg_catalog.unnest(ARRAY['application', 'auditor', 'operator']) AS role,
    pg_catalog.unnest(ARRAY['FUNCTION immiiq.export_audit(uuid, timestamptz, timestamptz, text[], int8)', 'FUNCTION immiiq.log_verifier()']) AS object;
