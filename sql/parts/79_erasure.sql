-- Erasure of a client, closing of an organisation, retention, and what becomes of backups.

-- ---- what touches keys (src/erasure) ----

CREATE FUNCTION immiiq.commit_client_keys(org uuid, client uuid) RETURNS bytea[]
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_commit_client_keys';
COMMENT ON FUNCTION immiiq.commit_client_keys(uuid, uuid) IS 'a commitment (32 bytes) to each key of a client, from which nothing of the key is learnt';
CREATE FUNCTION immiiq.destroy_client_keys(org uuid, client uuid, in_place boolean) RETURNS int4
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_destroy_client_keys';
COMMENT ON FUNCTION immiiq.destroy_client_keys(uuid, uuid, boolean) IS 'destroys the keys of a client, in place: even when the transaction rolls back; how many';
CREATE FUNCTION immiiq.lock_org_writers(org uuid) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_lock_org_writers';
COMMENT ON FUNCTION immiiq.lock_org_writers(uuid) IS 'waits for who may write for an organisation, and keeps others out until the transaction ends';
CREATE FUNCTION immiiq.rotate_client_keys(org uuid) RETURNS int8
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_rotate_client_keys';
COMMENT ON FUNCTION immiiq.rotate_client_keys(uuid) IS 'a new subject-wrapping key for an organisation; how many clients'' keys it wraps';
CREATE FUNCTION immiiq.presign_erased(org uuid, document uuid, store uuid, key text, version text, ttl interval,
        OUT url text, OUT expires_at timestamptz, OUT grant_id uuid)
    RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_presign_erased';
COMMENT ON FUNCTION immiiq.presign_erased(uuid, uuid, uuid, text, text, interval) IS 'URL to delete an object that an erasure has listed; used by immiiq.erasure_objects';
REVOKE ALL ON FUNCTION immiiq.commit_client_keys(uuid, uuid), immiiq.destroy_client_keys(uuid, uuid, boolean), immiiq.lock_org_writers(uuid),
    immiiq.rotate_client_keys(uuid), immiiq.presign_erased(uuid, uuid, uuid, text, text, interval) FROM PUBLIC;

-- ---- rules ----

-- What erasure does to a table's rows; a table without a rule loses them. For owners of the database.
CREATE TABLE immiiq.erasure_rule (
    target regclass NOT NULL CONSTRAINT erasure_rule_pkey PRIMARY KEY,
    action text NOT NULL CHECK (action IN ('delete', 'anonymise', 'retain')),
    changes jsonb CHECK (pg_catalog.jsonb_typeof(changes) OPERATOR(pg_catalog.=) 'object'),
    basis text CHECK (pg_catalog.btrim(basis) OPERATOR(pg_catalog.<>) ''),
    keep interval,
    from_column name,
    CHECK ((changes IS NOT NULL) OPERATOR(pg_catalog.=) (action OPERATOR(pg_catalog.=) 'anonymise')),
    CHECK (basis IS NOT NULL OR action OPERATOR(pg_catalog.=) 'delete'),
    CHECK ((keep IS NULL) OPERATOR(pg_catalog.=) (from_column IS NULL)),
    CHECK (keep IS NULL OR action OPERATOR(pg_catalog.=) 'retain')
);
COMMENT ON TABLE immiiq.erasure_rule IS 'what an erasure does to the rows of a protected table: delete (the default), anonymise, retain';
COMMENT ON COLUMN immiiq.erasure_rule.changes IS 'anonymise: column → what it becomes, null or a text; a sealed column can become null alone';
COMMENT ON COLUMN immiiq.erasure_rule.basis IS 'the law by which rows stay; the certificate says it';
COMMENT ON COLUMN immiiq.erasure_rule.keep IS 'retain: as long as from_column and this are ahead; later the rows go';
REVOKE ALL ON immiiq.erasure_rule FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.erasure_rule', '');

CREATE FUNCTION immiiq.has_column(target regclass, name name) RETURNS boolean
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid OPERATOR(pg_catalog.=) target
        AND a.attname OPERATOR(pg_catalog.=) name AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped);
COMMENT ON FUNCTION immiiq.has_column(regclass, name) IS 'whether a table has a column';
REVOKE ALL ON FUNCTION immiiq.has_column(regclass, name) FROM PUBLIC;

CREATE FUNCTION immiiq.check_changes(target regclass, changes jsonb) RETURNS void
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    change record;
BEGIN
    FOR change IN SELECT c.key, c.value, a.atttypid, a.attname = p.org OR a.attname = p.client AS names
        FROM jsonb_each(changes) AS c CROSS JOIN LATERAL immiiq.protected_columns(target) AS p
            LEFT JOIN pg_attribute AS a ON a.attrelid = target AND a.attname = c.key AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        IF change.atttypid IS NULL THEN
            RAISE EXCEPTION '% has no column %', target, quote_ident(change.key) USING ERRCODE = 'undefined_column';
        ELSIF change.names THEN
            RAISE EXCEPTION 'column % of % says whose the row is', quote_ident(change.key), target USING ERRCODE = 'invalid_column_reference';
        ELSIF jsonb_typeof(change.value) NOT IN ('null', 'string') OR (jsonb_typeof(change.value) <> 'null' AND immiiq.holds_sealed(change.atttypid)) THEN
            RAISE EXCEPTION 'column % of % cannot become that', quote_ident(change.key), target USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Write null or a text; a sealed column can become null alone.';
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.check_changes(regclass, jsonb) IS 'refuses what anonymising cannot do to a table';
REVOKE ALL ON FUNCTION immiiq.check_changes(regclass, jsonb) FROM PUBLIC;

CREATE FUNCTION immiiq.check_erasure_rule() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.from_column IS NOT NULL AND NOT immiiq.has_column(NEW.target, NEW.from_column) THEN
        RAISE EXCEPTION '% has no column %', NEW.target, quote_ident(NEW.from_column) USING ERRCODE = 'undefined_column';
    END IF;
    PERFORM immiiq.check_changes(NEW.target, NEW.changes);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION immiiq.check_erasure_rule() IS 'trigger: a rule names columns that are there';
REVOKE ALL ON FUNCTION immiiq.check_erasure_rule() FROM PUBLIC;
CREATE TRIGGER check_erasure_rule BEFORE INSERT OR UPDATE ON immiiq.erasure_rule FOR EACH ROW EXECUTE FUNCTION immiiq.check_erasure_rule();

-- ---- requests ----

CREATE TABLE immiiq.erasure (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    erasure_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    kind text NOT NULL CHECK (kind IN ('client', 'org')),
    client_id uuid,
    reason text NOT NULL CHECK (pg_catalog.btrim(reason) OPERATOR(pg_catalog.<>) ''),
    phase text NOT NULL DEFAULT 'scheduled' CHECK (phase IN ('scheduled', 'rows', 'key', 'tidy', 'done', 'held', 'cancelled')),
    due_at timestamptz NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    requested_by uuid,
    requested_role name NOT NULL DEFAULT session_user,
    confirmed_at timestamptz,
    confirmed_by uuid,
    started_at timestamptz,
    counts jsonb NOT NULL DEFAULT '{}',
    commitments text[] NOT NULL DEFAULT '{}',
    key_ids int8[] NOT NULL DEFAULT '{}',
    last_xid int8,
    head_before text,
    erased_at timestamptz,
    wal_horizon pg_lsn,
    rotate_by timestamptz,
    rotated_at timestamptz,
    finished_at timestamptz,
    certificate text,
    waits_for_hold boolean NOT NULL DEFAULT false,
    cancel_reason text,
    problem text,
    retry_at timestamptz,
    replayed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (org_id, erasure_id),
    CHECK ((client_id IS NOT NULL) OPERATOR(pg_catalog.=) (kind OPERATOR(pg_catalog.=) 'client'))
);
CREATE INDEX erasure_client_idx ON immiiq.erasure (org_id, client_id);
COMMENT ON TABLE immiiq.erasure IS 'erasures of clients and closings of organisations: where each stands';
COMMENT ON COLUMN immiiq.erasure.counts IS 'table → rows deleted and rows anonymised';
COMMENT ON COLUMN immiiq.erasure.waits_for_hold IS 'something stayed because of a hold; its release lets the rest go';
COMMENT ON COLUMN immiiq.erasure.key_ids IS 'the client''s keys that are gone: entries of the log name them';
COMMENT ON COLUMN immiiq.erasure.replayed IS 'replay_erasures has brought its line of the ledger';
COMMENT ON COLUMN immiiq.erasure.wal_horizon IS 'WAL before this place may hold what was erased';

-- Objects of documents whose rows are gone: to be deleted by whoever holds the store.
CREATE TABLE immiiq.erasure_object (
    org_id uuid NOT NULL,
    erasure_id uuid NOT NULL,
    document_id uuid NOT NULL,
    object_store_id uuid NOT NULL,
    key text NOT NULL,
    object_version text,
    listed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    deleted_at timestamptz,
    PRIMARY KEY (org_id, erasure_id, document_id)
);
COMMENT ON TABLE immiiq.erasure_object IS 'objects in buckets that an erasure leaves to be deleted, and which of them are';

-- What was erased and what is kept, in the order in which it was done: what a restored database must be told.
CREATE TABLE immiiq.erasure_ledger (
    org_id uuid NOT NULL,
    seq int8 NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('erase', 'close', 'hold', 'release')),
    detail jsonb NOT NULL,
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT erasure_ledger_pkey PRIMARY KEY (org_id, seq)
);
COMMENT ON TABLE immiiq.erasure_ledger IS 'erasures, closings and holds of each organisation: a signed chain; append-only';
COMMENT ON COLUMN immiiq.erasure_ledger.hash IS 'SHA-256 of the line as export_erasures shows it, without hash and signature';
CREATE TRIGGER erasure_ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.erasure_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_change();
ALTER TABLE immiiq.erasure_ledger ENABLE ALWAYS TRIGGER erasure_ledger_append_only;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['erasure', 'erasure_object'] LOOP
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format('CREATE POLICY immiiq_select ON immiiq.%I FOR SELECT
            USING (immiiq.visible(''settings'', ''select'', org_id, NULL, NULL, NULL, NULL))', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON immiiq.%I
            FOR EACH ROW EXECUTE FUNCTION immiiq.capture()', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER immiiq_truncate BEFORE TRUNCATE ON immiiq.%I
            FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_truncate()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER "00_immiiq_capture"', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER immiiq_truncate', name);
        INSERT INTO immiiq.privilege VALUES ('application', 'SELECT', 'immiiq.' OPERATOR(pg_catalog.||) name),
            ('operator', 'SELECT', 'immiiq.' OPERATOR(pg_catalog.||) name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['erasure', 'erasure_object', 'erasure_ledger'] LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON immiiq.%I FROM PUBLIC', name);
        PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('immiiq.%I', name)::pg_catalog.regclass, '');
    END LOOP;
END
$$;

-- ---- the ledger ----

-- Organisations whose head is not yet kept beside the root key; nothing that a dump must carry.
CREATE TABLE immiiq.ledger_pending (
    org_id uuid NOT NULL CONSTRAINT ledger_pending_pkey PRIMARY KEY,
    problem text,
    retry_at timestamptz
);
COMMENT ON TABLE immiiq.ledger_pending IS 'organisations with erasures of which the file beside the root key does not know yet';
REVOKE ALL ON immiiq.ledger_pending FROM PUBLIC;

CREATE FUNCTION immiiq.ledger_line(l immiiq.erasure_ledger) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN pg_catalog.concat('{"immiiq":"erasure-ledger/v1","org":"', (l).org_id, '","seq":', (l).seq, ',"at":"',
        pg_catalog.to_char((l).at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.USZ'), '","kind":"', (l).kind, '","detail":', (l).detail::text,
        ',"previous":"', pg_catalog.encode((l).previous, 'hex'), '"}');
COMMENT ON FUNCTION immiiq.ledger_line(immiiq.erasure_ledger) IS 'what a line of the ledger''s hash and signature are over';
REVOKE ALL ON FUNCTION immiiq.ledger_line(immiiq.erasure_ledger) FROM PUBLIC;

CREATE FUNCTION immiiq.add_ledger(org uuid, kind text, detail jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    l immiiq.erasure_ledger;
BEGIN
    LOCK TABLE immiiq.erasure_ledger IN SHARE ROW EXCLUSIVE MODE;
    SELECT g.seq, g.hash INTO l.seq, l.previous FROM immiiq.erasure_ledger AS g WHERE g.org_id = org ORDER BY g.seq DESC LIMIT 1;
    l.org_id := org;
    l.seq := coalesce(l.seq, 0) + 1;
    l.at := clock_timestamp();
    l.kind := add_ledger.kind;
    l.detail := add_ledger.detail;
    l.previous := coalesce(l.previous, ''::bytea);
    l.hash := sha256(convert_to(immiiq.ledger_line(l), 'UTF8'));
    l.signature := immiiq.sign_statement(immiiq.ledger_line(l));
    INSERT INTO immiiq.erasure_ledger SELECT l.*;
    IF l.kind IN ('erase', 'close') THEN
        INSERT INTO immiiq.ledger_pending AS p (org_id) VALUES (org) ON CONFLICT ON CONSTRAINT ledger_pending_pkey DO UPDATE SET problem = NULL, retry_at = NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.add_ledger(uuid, text, jsonb) IS 'appends to an organisation''s ledger';
REVOKE ALL ON FUNCTION immiiq.add_ledger(uuid, text, jsonb) FROM PUBLIC;

-- After the commit of what the ledger says: the file never knows of what was rolled back.
CREATE FUNCTION immiiq.keep_ledger(org uuid) RETURNS void
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM immiiq.ledger_pending AS p WHERE p.org_id = org;
    SELECT immiiq.keep_ledger_head(org, l.seq, l.hash) FROM immiiq.erasure_ledger AS l
    WHERE l.org_id = org AND l.kind IN ('erase', 'close') ORDER BY l.seq DESC LIMIT 1;
$$;
COMMENT ON FUNCTION immiiq.keep_ledger(uuid) IS 'keeps the place of an organisation''s last erasure beside the root key';
REVOKE ALL ON FUNCTION immiiq.keep_ledger(uuid) FROM PUBLIC;

CREATE FUNCTION immiiq.keep_ledgers() RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    org uuid;
BEGIN
    FOR org IN SELECT p.org_id FROM immiiq.ledger_pending AS p WHERE p.retry_at IS NULL OR p.retry_at <= clock_timestamp() LOOP
        BEGIN
            PERFORM immiiq.keep_ledger(org);
        EXCEPTION WHEN OTHERS THEN
            UPDATE immiiq.ledger_pending AS p SET problem = SQLSTATE || ': ' || SQLERRM, retry_at = clock_timestamp() + interval '30 seconds' WHERE p.org_id = org;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.keep_ledgers() IS 'keep_ledger for every organisation that waits for it';
REVOKE ALL ON FUNCTION immiiq.keep_ledgers() FROM PUBLIC;

CREATE FUNCTION immiiq.recall_ledgers() RETURNS void
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO immiiq.ledger_pending (org_id) SELECT DISTINCT l.org_id FROM immiiq.erasure_ledger AS l WHERE l.kind IN ('erase', 'close')
    ON CONFLICT ON CONSTRAINT ledger_pending_pkey DO UPDATE SET retry_at = NULL
$$;
COMMENT ON FUNCTION immiiq.recall_ledgers() IS 'has every organisation''s head looked at again: what a worker does first, after a promotion, too';
REVOKE ALL ON FUNCTION immiiq.recall_ledgers() FROM PUBLIC;

CREATE FUNCTION immiiq.record_hold() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- replay_erasures brings the line first.
    IF EXISTS (SELECT FROM immiiq.erasure_ledger AS l WHERE l.org_id = NEW.org_id AND l.kind = CASE TG_OP WHEN 'UPDATE' THEN 'release' ELSE 'hold' END
        AND l.detail ->> 'hold' = NEW.hold_id::text)
    THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        PERFORM immiiq.add_ledger(NEW.org_id, 'release', jsonb_build_object('hold', NEW.hold_id, 'reason', NEW.release_reason));
    ELSE
        PERFORM immiiq.add_ledger(NEW.org_id, 'hold', jsonb_strip_nulls(jsonb_build_object('hold', NEW.hold_id, 'kind', NEW.kind, 'client', NEW.client_id,
            'matter', NEW.matter_id, 'until', NEW.until, 'reason', NEW.reason)));
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.record_hold() IS 'trigger: holds stand in the ledger, so that a restored database learns of them';
REVOKE ALL ON FUNCTION immiiq.record_hold() FROM PUBLIC;
CREATE TRIGGER record_hold AFTER INSERT OR UPDATE ON immiiq.hold FOR EACH ROW EXECUTE FUNCTION immiiq.record_hold();

CREATE FUNCTION immiiq.export_erasures() RETURNS SETOF text
    LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT pg_catalog.left(immiiq.ledger_line(l), -1) OPERATOR(pg_catalog.||) ',"hash":"' OPERATOR(pg_catalog.||) pg_catalog.encode(l.hash, 'hex')
        OPERATOR(pg_catalog.||) '","signature":"' OPERATOR(pg_catalog.||) immiiq.base64(l.signature) OPERATOR(pg_catalog.||) '"}'
    FROM immiiq.erasure_ledger AS l ORDER BY l.org_id, l.seq;
END;
COMMENT ON FUNCTION immiiq.export_erasures() IS 'the whole ledger, a signed line each: keep it where backups are not';
REVOKE ALL ON FUNCTION immiiq.export_erasures() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', 'FUNCTION immiiq.export_erasures()'), ('auditor', 'EXECUTE', 'FUNCTION immiiq.export_erasures()');

-- ---- what would go ----

-- Tables in the order in which rows can go: who refers before who is referred to.
CREATE FUNCTION immiiq.erasure_plan(whole boolean)
    RETURNS TABLE (relation regclass, org name, client name, matter name, action text, changes jsonb, basis text, keep interval, from_column name, at_once boolean)
    LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE planned AS (
        SELECT t.relation, t.org, t.client FROM immiiq.protected_table AS t JOIN pg_class AS c ON c.oid = t.relation
        WHERE CASE WHEN c.relnamespace = 'immiiq'::regnamespace
            THEN c.relname IN ('document_share', 'document', 'assignment') ELSE whole OR t.client IS NOT NULL END
    ), refers AS (
        SELECT DISTINCT k.conrelid AS child, k.confrelid AS parent FROM pg_constraint AS k
        WHERE k.contype = 'f' AND k.conrelid <> k.confrelid AND k.conparentid = 0
            AND k.conrelid IN (SELECT p.relation FROM planned AS p) AND k.confrelid IN (SELECT p.relation FROM planned AS p)
    ), depth AS (
        SELECT p.relation::oid AS relid, 0 AS depth FROM planned AS p
        UNION -- longest chains; a cycle ends at as many steps as there are tables
        SELECT r.child, d.depth + 1 FROM depth AS d JOIN refers AS r ON r.parent = d.relid
        WHERE d.depth < (SELECT count(*) FROM planned)
    )
    SELECT p.relation, p.org, p.client, m."column", coalesce(CASE WHEN whole THEN 'delete' END, r.action, 'delete'), r.changes, r.basis, r.keep, r.from_column,
        EXISTS (SELECT FROM pg_constraint AS k WHERE k.contype = 'f' AND k.conrelid = p.relation AND k.confrelid = p.relation)
    FROM planned AS p LEFT JOIN immiiq.erasure_rule AS r ON r.target = p.relation LEFT JOIN immiiq.matter_column AS m ON m.target = p.relation
    ORDER BY (SELECT max(d.depth) FROM depth AS d WHERE d.relid = p.relation) DESC, p.relation;
END
$$;
COMMENT ON FUNCTION immiiq.erasure_plan(boolean) IS 'the tables of which an erasure takes rows, in order, and what it does there';
REVOKE ALL ON FUNCTION immiiq.erasure_plan(boolean) FROM PUBLIC;

-- The condition on the rows r of one table: $1 the organisation, $2 the client. wanted: 'all', 'go', 'held', 'kept'.
CREATE FUNCTION immiiq.erasure_condition(plan record, e immiiq.erasure, wanted text, with_holds boolean) RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    condition text := format('r.%I = $1', plan.org) || CASE WHEN e.kind = 'org' THEN ' AND $2::uuid IS NULL' ELSE format(' AND r.%I = $2', plan.client) END;
    held text := CASE WHEN with_holds THEN immiiq.held_condition(plan.org, plan.client, plan.matter, e.org_id) ELSE 'false' END
        || CASE WHEN plan.relation = 'immiiq.document'::regclass THEN ' OR r.hold' ELSE '' END;
    kept text := CASE WHEN plan.action <> 'retain' THEN 'false' WHEN plan.keep IS NULL THEN 'true'
        ELSE format('coalesce(r.%I + %L::interval > clock_timestamp(), true)', plan.from_column, plan.keep) END;
BEGIN
    RETURN condition || CASE wanted WHEN 'go' THEN format(' AND NOT (%s) AND NOT (%s)', kept, held)
        WHEN 'held' THEN format(' AND (%s)', held) WHEN 'kept' THEN format(' AND (%s) AND NOT (%s)', kept, held) ELSE '' END
        || CASE WHEN plan.action = 'anonymise' AND wanted = 'go' THEN (SELECT ' AND (' || string_agg(
            CASE WHEN jsonb_typeof(c.value) = 'null' THEN format('r.%I IS NOT NULL', c.key) ELSE format('r.%I IS DISTINCT FROM %L', c.key, c.value #>> '{}') END, ' OR ') || ')'
            FROM jsonb_each(plan.changes) AS c) ELSE '' END;
END
$$;
COMMENT ON FUNCTION immiiq.erasure_condition(record, immiiq.erasure, text, boolean) IS 'which rows of a table an erasure takes, or which stay and why';
REVOKE ALL ON FUNCTION immiiq.erasure_condition(record, immiiq.erasure, text, boolean) FROM PUBLIC;

CREATE FUNCTION immiiq.count_planned(plan record, e immiiq.erasure, wanted text, with_holds boolean) RETURNS int8
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT o.rows FROM immiiq.as_owner(plan.relation, format('SELECT count(*) FROM %s AS r WHERE %s', plan.relation,
        immiiq.erasure_condition(plan, e, wanted, with_holds)), e.org_id, e.client_id) AS o (rows int8));
END
$$;
COMMENT ON FUNCTION immiiq.count_planned(record, immiiq.erasure, text, boolean) IS 'how many rows of a table an erasure takes, or stay';
REVOKE ALL ON FUNCTION immiiq.count_planned(record, immiiq.erasure, text, boolean) FROM PUBLIC;

-- Deletes one by one what no row refers to; how many. Raises where nothing that stays explains it.
CREATE FUNCTION immiiq.erase_singly(target regclass, condition text, e immiiq.erasure, at_most int8) RETURNS int8
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spot record;
    one int8;
    done int8 := 0;
BEGIN
    IF NOT immiiq.has_hold(e.org_id) AND NOT EXISTS (SELECT FROM immiiq.erasure_rule AS r WHERE r.action <> 'delete') THEN
        RAISE EXCEPTION 'rows of % do not go: others refer to them', target USING ERRCODE = 'foreign_key_violation',
            HINT = 'Protect the table that refers to them with its client, or let its foreign key cascade.';
    END IF;
    FOR spot IN
        SELECT u.relid, u.place
        FROM immiiq.as_owner(target, format('SELECT array_agg(q.tableoid), array_agg(q.ctid) FROM (SELECT r.tableoid, r.ctid FROM %s AS r WHERE %s LIMIT %s) AS q',
                target, condition, at_most), e.org_id, e.client_id) AS o (relids oid[], places tid[]),
            unnest(o.relids, o.places) AS u (relid, place)
    LOOP
        BEGIN
            SELECT o.rows INTO one FROM immiiq.as_owner(target, format('DELETE FROM %s AS r WHERE r.tableoid = $1 AND r.ctid = $2', target),
                spot.relid, spot.place) AS o (rows int8);
            done := done + one;
        EXCEPTION WHEN foreign_key_violation THEN
            CONTINUE;
        END;
    END LOOP;
    RETURN done;
END
$$;
COMMENT ON FUNCTION immiiq.erase_singly(regclass, text, immiiq.erasure, int8) IS 'deletes rows to which nothing that stays refers';
REVOKE ALL ON FUNCTION immiiq.erase_singly(regclass, text, immiiq.erasure, int8) FROM PUBLIC;

-- Takes rows, at most so many; how many. Where it may not, the rows that stay are not touched.
CREATE FUNCTION immiiq.erase_rows(e immiiq.erasure, at_most int8, OUT counts jsonb, OUT left_over int8)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    whole boolean := e.kind = 'org';
    with_holds boolean := immiiq.has_hold(e.org_id);
    plan record;
    condition text;
    found_rows int8;
    done int8;
    assignments text;
BEGIN
    counts := e.counts;
    left_over := at_most;
    FOR plan IN SELECT * FROM immiiq.erasure_plan(whole) LOOP
        CONTINUE WHEN plan.action = 'retain' AND plan.keep IS NULL;
        condition := immiiq.erasure_condition(plan, e, 'go', with_holds);
        SELECT o.rows INTO found_rows FROM immiiq.as_owner(plan.relation, format('SELECT count(*) FROM (SELECT FROM %s AS r WHERE %s LIMIT %s) AS q',
            plan.relation, condition, left_over + 1), e.org_id, e.client_id) AS o (rows int8);
        CONTINUE WHEN found_rows = 0;
        IF found_rows > left_over AND NOT plan.at_once THEN
            -- Rows of another partition with the same place meet the condition, too.
            condition := format('%s AND r.ctid = ANY (ARRAY(SELECT r.ctid FROM %s AS r WHERE %s LIMIT %s))', condition, plan.relation, condition, left_over);
        END IF;
        IF plan.relation = 'immiiq.document'::regclass THEN
            EXECUTE format('INSERT INTO immiiq.erasure_object (org_id, erasure_id, document_id, object_store_id, key, object_version)
                SELECT r.org_id, %L, r.document_id, r.object_store_id, r.key, r.object_version FROM immiiq.document AS r WHERE %s ON CONFLICT DO NOTHING',
                e.erasure_id, condition) USING e.org_id, e.client_id;
        END IF;
        IF plan.action = 'anonymise' THEN
            SELECT string_agg(format('%I = %L', c.key, c.value #>> '{}'), ', ') INTO assignments FROM jsonb_each(plan.changes) AS c;
            SELECT o.rows INTO done FROM immiiq.as_owner(plan.relation, format('UPDATE %s AS r SET %s WHERE %s', plan.relation, assignments, condition),
                e.org_id, e.client_id) AS o (rows int8);
        ELSE
            BEGIN
                SELECT o.rows INTO done FROM immiiq.as_owner(plan.relation, format('DELETE FROM %s AS r WHERE %s', plan.relation, condition),
                    e.org_id, e.client_id) AS o (rows int8);
            EXCEPTION WHEN foreign_key_violation THEN
                -- Rows that stay, by law or under hold, refer to some of them: those stay, too.
                done := immiiq.erase_singly(plan.relation, condition, e, left_over);
                CONTINUE WHEN done = 0;
            END;
        END IF;
        IF done = 0 THEN
            RAISE EXCEPTION 'rows of % do not go', plan.relation USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'A trigger of the table keeps them.';
        END IF;
        counts := counts || jsonb_build_object(plan.relation::text, jsonb_build_object(
            CASE plan.action WHEN 'anonymise' THEN 'anonymised' ELSE 'deleted' END,
            coalesce((counts -> plan.relation::text ->> CASE plan.action WHEN 'anonymise' THEN 'anonymised' ELSE 'deleted' END)::int8, 0) + done));
        left_over := left_over - done;
        EXIT WHEN left_over <= 0;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.erase_rows(immiiq.erasure, int8) IS 'deletes or anonymises rows of an erasure, at most so many';
REVOKE ALL ON FUNCTION immiiq.erase_rows(immiiq.erasure, int8) FROM PUBLIC;

CREATE FUNCTION immiiq.known_key_ids(e immiiq.erasure) RETURNS int8[]
    LANGUAGE sql STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(DISTINCT k), '{}') FROM (SELECT unnest(e.key_ids) UNION ALL
        SELECT s.key_id FROM immiiq.subject_key AS s WHERE s.org_id = e.org_id AND s.client_id = e.client_id) AS a (k)
$$;
COMMENT ON FUNCTION immiiq.known_key_ids(immiiq.erasure) IS 'the keys that a client has, and had';
REVOKE ALL ON FUNCTION immiiq.known_key_ids(immiiq.erasure) FROM PUBLIC;

-- What stays and why: by law, under hold, and what is append-only.
CREATE FUNCTION immiiq.erasure_retained(e immiiq.erasure) RETURNS TABLE (item text, rows int8, reason text, basis text)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    whole boolean := e.kind = 'org';
    with_holds boolean := immiiq.has_hold(e.org_id);
    plan record;
BEGIN
    FOR plan IN SELECT * FROM immiiq.erasure_plan(whole) LOOP
        item := plan.relation;
        IF with_holds OR plan.relation = 'immiiq.document'::regclass THEN
            rows := immiiq.count_planned(plan, e, 'held', with_holds);
            reason := 'hold';
            basis := (SELECT string_agg(format('hold %s: %s', h.hold_id, h.reason), '; ') FROM immiiq.active_hold AS h WHERE h.org_id = e.org_id);
            IF rows > 0 THEN
                RETURN NEXT;
            END IF;
        END IF;
        IF plan.action <> 'anonymise' AND e.erased_at IS NOT NULL THEN
            rows := immiiq.count_planned(plan, e, 'go', with_holds);
            reason := CASE WHEN with_holds THEN 'hold' ELSE 'law' END;
            basis := 'rows that stay refer to them';
            IF rows > 0 THEN
                RETURN NEXT;
            END IF;
        END IF;
        IF plan.action <> 'delete' THEN
            rows := immiiq.count_planned(plan, e, CASE plan.action WHEN 'retain' THEN 'kept' ELSE 'all' END, with_holds);
            reason := CASE plan.action WHEN 'retain' THEN 'law' ELSE 'anonymised' END;
            basis := plan.basis;
            IF rows > 0 THEN
                RETURN NEXT;
            END IF;
        END IF;
    END LOOP;
    reason := 'pseudonymous';
    FOR item, rows, basis IN
        SELECT 'immiiq.leaf', CASE WHEN whole THEN (SELECT count(*) FROM immiiq.leaf AS l WHERE l.org_id = e.org_id)
            ELSE (SELECT count(*) FROM immiiq.leaf AS l WHERE l.org_id = e.org_id AND l.key_id = ANY (immiiq.known_key_ids(e))) END,
            'positions, times and hashes of the log, without its images'
        UNION ALL SELECT 'immiiq.document_event', count(*), 'who opened documents: append-only' FROM immiiq.document_event AS d
            WHERE d.org_id = e.org_id AND (whole OR d.client_id = e.client_id)
        UNION ALL SELECT 'immiiq.sign_in_attempt', count(*), 'attempts to sign in: append-only, ended by their own retention' FROM immiiq.sign_in_attempt AS s
            WHERE s.org_id = e.org_id AND (whole OR s.client_id = e.client_id)
    LOOP
        IF rows > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.erasure_retained(immiiq.erasure) IS 'what an erasure leaves, and by which right';
REVOKE ALL ON FUNCTION immiiq.erasure_retained(immiiq.erasure) FROM PUBLIC;

-- ---- the steps ----

-- True once what a transaction captured has its place in the log.
CREATE FUNCTION immiiq.is_sealed(xid int8) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT xid IS NULL OR EXISTS (SELECT FROM immiiq.seal_state AS s
        WHERE s.incarnation = immiiq.audit_lineage() AND s.horizon > xid AND NOT xid = ANY (s.open))
        OR NOT EXISTS (SELECT FROM immiiq.entry AS n WHERE n.incarnation = ANY (immiiq.audit_incarnations()) AND n.txid = xid)
$$;
COMMENT ON FUNCTION immiiq.is_sealed(int8) IS 'true once the entries of a transaction are sealed';
REVOKE ALL ON FUNCTION immiiq.is_sealed(int8) FROM PUBLIC;

-- Entries of held matters stay readable under the holds' own keys.
CREATE FUNCTION immiiq.keep_images(org uuid, client uuid) RETURNS int8
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*) FILTER (WHERE immiiq.keep_image(immiiq.entry_bytes(n), h.hold_id, m."column"::text, h.matter_id))
    FROM immiiq.active_hold AS h CROSS JOIN (SELECT DISTINCT c."column" FROM immiiq.matter_column AS c) AS m
        CROSS JOIN immiiq.leaf AS l
        JOIN immiiq.entry AS n ON n.incarnation = l.incarnation AND n.txid = l.txid AND n.seq = l.seq
    WHERE h.org_id = org AND h.kind = 'matter' AND l.org_id = org
        AND l.key_id IN (SELECT k.key_id FROM immiiq.subject_key AS k WHERE k.org_id = org AND k.client_id = client)
$$;
COMMENT ON FUNCTION immiiq.keep_images(uuid, uuid) IS 'keeps the entries of held matters of a client readable; how many';
REVOKE ALL ON FUNCTION immiiq.keep_images(uuid, uuid) FROM PUBLIC;

-- Takes what identified the people of an organisation from its directory.
CREATE FUNCTION immiiq.empty_directory(org uuid) RETURNS void
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM immiiq.session AS s WHERE s.org_id = org;
    DELETE FROM immiiq.link AS l WHERE l.org_id = org;
    UPDATE immiiq.member AS m SET email = m.member_id || '@closed.invalid', name = 'closed', active = false WHERE m.org_id = org AND m.name <> 'closed';
    UPDATE immiiq.org AS o SET name = 'closed', active = false WHERE o.org_id = org AND o.name <> 'closed';
$$;
COMMENT ON FUNCTION immiiq.empty_directory(uuid) IS 'names, addresses and sessions of the members of an organisation that is closed';
REVOKE ALL ON FUNCTION immiiq.empty_directory(uuid) FROM PUBLIC;

-- Columns of tables that were touched in which values stood in clear: pages keep them until the table is rewritten.
CREATE FUNCTION immiiq.plain_columns(counts jsonb) RETURNS jsonb
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('table', p.relation::text, 'columns', p.columns, 'remedy', format('VACUUM FULL %s', p.relation))
        ORDER BY p.relation::text), '[]')
        || CASE WHEN count(*) > 0 THEN '[{"table": "pg_catalog.pg_statistic", "columns": ["stavalues1"], "remedy": "VACUUM FULL pg_catalog.pg_statistic"}]'::jsonb ELSE '[]' END
    FROM (SELECT to_regclass(c.key) AS relation, jsonb_agg(a.attname ORDER BY a.attnum) AS columns
        FROM jsonb_each(counts) AS c JOIN pg_attribute AS a ON a.attrelid = to_regclass(c.key)
        WHERE c.value ?| ARRAY['deleted', 'anonymised'] AND a.attnum > 0 AND NOT a.attisdropped AND NOT immiiq.holds_sealed(a.atttypid) GROUP BY c.key) AS p
$$;
COMMENT ON FUNCTION immiiq.plain_columns(jsonb) IS 'where erased values stood in clear, and what rewrites the pages';
REVOKE ALL ON FUNCTION immiiq.plain_columns(jsonb) FROM PUBLIC;

CREATE FUNCTION immiiq.purge_statistics(counts jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target regclass;
BEGIN
    FOR target IN SELECT to_regclass(c.key) FROM jsonb_each(counts) AS c WHERE c.value ?| ARRAY['deleted', 'anonymised'] AND to_regclass(c.key) IS NOT NULL LOOP
        DELETE FROM pg_statistic WHERE starelid IN (SELECT t.relid FROM pg_partition_tree(target) AS t UNION SELECT target
            UNION SELECT i.indexrelid FROM pg_index AS i WHERE i.indrelid = target);
        DELETE FROM pg_statistic_ext_data WHERE stxoid IN (SELECT x.oid FROM pg_statistic_ext AS x WHERE x.stxrelid = target);
        EXECUTE format('ANALYZE %s', target);
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.purge_statistics(jsonb) IS 'makes the planner''s statistics of these tables anew, from the rows that are left';
REVOKE ALL ON FUNCTION immiiq.purge_statistics(jsonb) FROM PUBLIC;

CREATE FUNCTION immiiq.make_certificate(e immiiq.erasure) RETURNS text
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    statement text;
BEGIN
    statement := jsonb_build_object(
        'immiiq', 'erasure-certificate/v1', 'kind', e.kind, 'request', e.erasure_id, 'org', e.org_id, 'client', e.client_id,
        'requested_at', e.requested_at, 'erased_at', e.erased_at, 'certified_at', clock_timestamp(),
        'rows', e.counts, 'key_commitments', to_jsonb(e.commitments),
        'retained', coalesce((SELECT jsonb_agg(to_jsonb(r)) FROM immiiq.erasure_retained(e) AS r), '[]'),
        'objects', jsonb_build_object(
            'to_delete', (SELECT count(*) FROM immiiq.erasure_object AS o WHERE o.org_id = e.org_id AND o.erasure_id = e.erasure_id AND o.deleted_at IS NULL),
            'deleted', (SELECT count(*) FROM immiiq.erasure_object AS o WHERE o.org_id = e.org_id AND o.erasure_id = e.erasure_id AND o.deleted_at IS NOT NULL)),
        'log_head_before', e.head_before, 'log_head_after', immiiq.checkpoint(),
        'wal_horizon', e.wal_horizon,
        'pages_in_clear', immiiq.plain_columns(e.counts),
        'keys_rotated_by', e.rotate_by,
        'backups_unreadable_by', e.erased_at + make_interval(days => current_setting('immiiq.backup_window')::int),
        'backups_condition', 'the organisation''s keys were rotated and the root keys of before are destroyed by then'
    )::text;
    RETURN statement || E'\n' || immiiq.base64(immiiq.sign_statement(statement)) || E'\n' || immiiq.base64(immiiq.sign_off_key()) || E'\n';
END
$$;
COMMENT ON FUNCTION immiiq.make_certificate(immiiq.erasure) IS 'what was erased, signed: a line of JSON, its signature and the public key in base64';
REVOKE ALL ON FUNCTION immiiq.make_certificate(immiiq.erasure) FROM PUBLIC;

CREATE FUNCTION immiiq.known_commitments(e immiiq.erasure) RETURNS text[]
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(DISTINCT c), '{}') FROM unnest(e.commitments
        || (SELECT coalesce(array_agg(encode(k, 'hex')), '{}') FROM unnest(immiiq.commit_client_keys(e.org_id, e.client_id)) AS k)) AS c
$$;
COMMENT ON FUNCTION immiiq.known_commitments(immiiq.erasure) IS 'commitments to the keys that a client has, and had';
REVOKE ALL ON FUNCTION immiiq.known_commitments(immiiq.erasure) FROM PUBLIC;

-- One step, in the transaction of whoever calls: 'more', 'wait' or 'done'. A crash leaves what the last step committed.
--   scheduled  waits for its date
--   rows       deletes or anonymises, 5,000 rows a transaction
--   key        writers paused: what came in the meantime, then the client's keys; no way back
--   tidy       statistics, overwritten pages of keys, the log's head, the certificate
CREATE FUNCTION immiiq.erasure_step(org uuid, request uuid) RETURNS text
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e immiiq.erasure;
    batch CONSTANT int8 := 5000;
    left_over int8 := batch;
    said text := 'more';
    goes boolean := false;
BEGIN
    SELECT * INTO e FROM immiiq.erasure AS r WHERE r.org_id = org AND r.erasure_id = request FOR UPDATE;
    IF NOT FOUND OR e.phase IN ('done', 'held', 'cancelled')
        OR (e.phase = 'scheduled' AND (e.due_at > clock_timestamp() OR (e.kind = 'org' AND e.confirmed_at IS NULL)))
    THEN
        RETURN 'done';
    END IF;
    -- All of it is held: it waits, also in the middle, as long as the keys are there.
    IF e.phase <> 'tidy' AND (CASE e.kind WHEN 'org' THEN immiiq.has_hold(org) ELSE immiiq.is_held(org, e.client_id, NULL) END) THEN
        UPDATE immiiq.erasure AS r SET phase = 'held', waits_for_hold = true, problem = NULL WHERE r.org_id = org AND r.erasure_id = request;
        PERFORM immiiq.record_denial('erase', 'erasure ' || request, 'under hold', org);
        RETURN 'done';
    END IF;
    CASE e.phase
    WHEN 'scheduled' THEN
        e.phase := 'rows';
        e.started_at := coalesce(e.started_at, clock_timestamp());
        e.head_before := coalesce(e.head_before, immiiq.checkpoint());
        SELECT r.counts, r.left_over INTO e.counts, left_over FROM immiiq.erase_rows(e, batch) AS r;
    WHEN 'rows' THEN
        SELECT r.counts, r.left_over INTO e.counts, left_over FROM immiiq.erase_rows(e, batch) AS r;
    WHEN 'key' THEN
        PERFORM immiiq.lock_org_writers(org);
        SELECT r.counts, r.left_over INTO e.counts, left_over FROM immiiq.erase_rows(e, batch) AS r;
        IF left_over <= 0 THEN
            e.phase := 'rows';
        ELSIF e.kind = 'org' THEN
            PERFORM immiiq.empty_directory(org);
            PERFORM immiiq.add_ledger(org, 'close', jsonb_build_object('request', request)) WHERE NOT e.replayed;
            -- Written first: afterwards there is no key under which the log could seal it.
            PERFORM immiiq.purge_statistics(e.counts);
            e.erased_at := clock_timestamp();
            e.wal_horizon := pg_current_wal_insert_lsn();
            UPDATE immiiq.erasure AS r
            SET phase = 'done', counts = e.counts, erased_at = e.erased_at, wal_horizon = e.wal_horizon, finished_at = e.erased_at,
                certificate = immiiq.make_certificate(e), problem = NULL, retry_at = NULL
            WHERE r.org_id = org AND r.erasure_id = request;
            PERFORM immiiq.shred_org(org, e.reason);
            DELETE FROM immiiq.kept_entry AS k WHERE k.org_id = org;
            PERFORM immiiq.destroy_client_keys(org, k.client_id, false) FROM (SELECT DISTINCT s.client_id FROM immiiq.subject_key AS s WHERE s.org_id = org) AS k;
            RETURN 'done';
        ELSE
            IF EXISTS (SELECT FROM immiiq.active_hold AS h WHERE h.org_id = org AND h.kind = 'matter') THEN
                -- What the log has of a held matter must have its place first.
                IF NOT immiiq.is_sealed(e.last_xid) THEN
                    RETURN 'wait';
                END IF;
                e.counts := e.counts || jsonb_build_object('immiiq.kept_entry', jsonb_build_object('kept', immiiq.keep_images(org, e.client_id)));
            END IF;
            DELETE FROM immiiq.session AS s WHERE s.org_id = org AND s.client_id = e.client_id;
            DELETE FROM immiiq.link AS l WHERE l.org_id = org AND l.client_id = e.client_id;
            e.commitments := immiiq.known_commitments(e);
            e.key_ids := immiiq.known_key_ids(e);
            PERFORM immiiq.add_ledger(org, 'erase', jsonb_build_object('request', request, 'client', e.client_id)) WHERE NOT e.replayed;
            e.replayed := false;
        END IF;
        IF left_over > 0 THEN
            e.phase := 'tidy';
            goes := true;
            e.rotated_at := NULL;
            e.erased_at := clock_timestamp();
            e.rotate_by := CASE e.kind WHEN 'client' THEN e.erased_at + make_interval(days => current_setting('immiiq.erasure_rotation')::int) END;
        END IF;
    WHEN 'tidy' THEN
        IF NOT immiiq.is_sealed(e.last_xid) THEN
            RETURN 'wait';
        END IF;
        -- No certificate before the place beside the root key knows of it.
        PERFORM immiiq.keep_ledger(org);
        PERFORM immiiq.purge_statistics(e.counts);
        PERFORM immiiq.rekey_want_wipe();
        e.finished_at := clock_timestamp();
        e.certificate := immiiq.make_certificate(e);
        e.waits_for_hold := split_part(e.certificate, E'\n', 1)::jsonb -> 'retained' @> '[{"reason": "hold"}]';
        e.phase := 'done';
        said := 'done';
    END CASE;
    IF e.phase = 'rows' AND left_over > 0 THEN
        e.phase := 'key';
        -- Before they go: their going cannot be rolled back.
        IF e.kind = 'client' THEN
            e.commitments := immiiq.known_commitments(e);
            e.key_ids := immiiq.known_key_ids(e);
        END IF;
    END IF;
    IF e.phase <> 'done' THEN
        e.last_xid := pg_current_xact_id()::text::int8;
    END IF;
    IF goes THEN
        -- In place and at once: a crash before the commit finds the phase key again, and nothing left to destroy.
        IF e.kind = 'client' THEN
            PERFORM immiiq.destroy_client_keys(org, e.client_id, true);
        END IF;
        e.wal_horizon := pg_current_wal_insert_lsn();
    END IF;
    UPDATE immiiq.erasure AS r
    SET phase = e.phase, started_at = e.started_at, head_before = e.head_before, counts = e.counts, commitments = e.commitments, key_ids = e.key_ids, last_xid = e.last_xid,
        erased_at = e.erased_at, wal_horizon = e.wal_horizon, rotate_by = e.rotate_by, rotated_at = e.rotated_at, waits_for_hold = e.waits_for_hold, finished_at = e.finished_at,
        certificate = e.certificate, replayed = e.replayed, problem = NULL, retry_at = NULL
    WHERE r.org_id = org AND r.erasure_id = request;
    RETURN said;
END
$$;
COMMENT ON FUNCTION immiiq.erasure_step(uuid, uuid) IS 'one step of an erasure that is due; each in a transaction of its own';
REVOKE ALL ON FUNCTION immiiq.erasure_step(uuid, uuid) FROM PUBLIC;

-- ---- for members with the permission erase, and operators ----

CREATE FUNCTION immiiq.require_eraser(client uuid, permission text) RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF immiiq.current_actor() IS NULL THEN
        RAISE EXCEPTION 'nobody is active in this transaction' USING ERRCODE = 'IQ011';
    END IF;
    IF immiiq.current_org() IS NULL OR immiiq.current_actor() NOT IN ('member', 'operator') OR NOT immiiq.has_permission(permission)
        OR NOT immiiq.visible(CASE WHEN client IS NULL THEN 'settings' ELSE 'clients' END, 'delete', immiiq.current_org(), client, NULL, NULL, NULL)
    THEN
        RAISE EXCEPTION 'permission % is needed, for a client within reach', permission USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN immiiq.current_org();
END
$$;
COMMENT ON FUNCTION immiiq.require_eraser(uuid, text) IS 'the active organisation; 42501 for who may not have this erased there';
REVOKE ALL ON FUNCTION immiiq.require_eraser(uuid, text) FROM PUBLIC;

CREATE FUNCTION immiiq.put_erasure(kind text, client uuid, reason text, after interval) RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    org uuid := immiiq.require_eraser(client, CASE kind WHEN 'org' THEN 'close' ELSE 'erase' END);
    id uuid;
BEGIN
    IF reason IS NULL OR btrim(reason) = '' THEN
        RAISE EXCEPTION 'a reason must be given' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF after IS NULL OR after < interval '0' THEN
        RAISE EXCEPTION 'the date must be ahead' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- One at a time: who asks again gets the one that is under way.
    PERFORM pg_advisory_xact_lock(hashtextextended(concat('erasure ', org, client), 0));
    SELECT e.erasure_id INTO id FROM immiiq.erasure AS e
    WHERE e.org_id = org AND e.kind = put_erasure.kind AND e.client_id IS NOT DISTINCT FROM client AND e.phase NOT IN ('done', 'cancelled');
    IF id IS NULL THEN
        INSERT INTO immiiq.erasure (org_id, kind, client_id, reason, due_at, requested_by)
        VALUES (org, put_erasure.kind, client, put_erasure.reason, clock_timestamp() + after, immiiq.current_member())
        RETURNING erasure_id INTO id;
    END IF;
    RETURN id;
END
$$;
COMMENT ON FUNCTION immiiq.put_erasure(text, uuid, text, interval) IS 'used by request_erasure and request_closure';
REVOKE ALL ON FUNCTION immiiq.put_erasure(text, uuid, text, interval) FROM PUBLIC;

CREATE FUNCTION immiiq.request_erasure(client uuid, reason text, after interval DEFAULT '30 days') RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF client IS NULL THEN
        RAISE EXCEPTION 'client must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    RETURN immiiq.put_erasure('client', client, reason, after);
END
$$;
COMMENT ON FUNCTION immiiq.request_erasure(uuid, text, interval) IS 'asks for everything of a client to be erased, after 30 days unless told otherwise; the request, or the one that is under way';

CREATE FUNCTION immiiq.request_closure(reason text, after interval DEFAULT '30 days') RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN immiiq.put_erasure('org', NULL, reason, after);
END
$$;
COMMENT ON FUNCTION immiiq.request_closure(text, interval) IS 'asks for the active organisation to be closed and shredded; it must be confirmed, and waits 30 days unless told otherwise';

-- The request of the active organisation, which the caller may have carried out.
CREATE FUNCTION immiiq.own_erasure(request uuid) RETURNS immiiq.erasure
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e immiiq.erasure;
BEGIN
    SELECT * INTO e FROM immiiq.erasure AS r WHERE r.org_id = immiiq.current_org() AND r.erasure_id = request;
    IF NOT FOUND THEN
        PERFORM immiiq.require_eraser(NULL, 'erase');
        RAISE EXCEPTION 'no such request' USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM immiiq.require_eraser(e.client_id, CASE e.kind WHEN 'org' THEN 'close' ELSE 'erase' END);
    RETURN e;
END
$$;
COMMENT ON FUNCTION immiiq.own_erasure(uuid) IS 'a request of the active organisation; 42501 and P0002';
REVOKE ALL ON FUNCTION immiiq.own_erasure(uuid) FROM PUBLIC;

CREATE FUNCTION immiiq.review_erasure(request uuid) RETURNS TABLE (item text, action text, rows int8, basis text)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e immiiq.erasure := immiiq.own_erasure(request);
    whole boolean := e.kind = 'org';
    with_holds boolean := immiiq.has_hold(e.org_id);
    plan record;
BEGIN
    FOR plan IN SELECT * FROM immiiq.erasure_plan(whole) LOOP
        CONTINUE WHEN plan.action = 'retain' AND plan.keep IS NULL;
        rows := immiiq.count_planned(plan, e, 'go', with_holds);
        item := plan.relation;
        action := CASE plan.action WHEN 'anonymise' THEN 'anonymise' ELSE 'delete' END;
        IF rows > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
    RETURN QUERY SELECT r.item, 'retain: ' || r.reason, r.rows, r.basis FROM immiiq.erasure_retained(e) AS r WHERE r.reason <> 'anonymised';
    item := 'keys';
    action := 'destroy';
    basis := NULL;
    SELECT count(*) INTO rows FROM immiiq.subject_key AS k WHERE k.org_id = e.org_id AND (whole OR k.client_id = e.client_id);
    RETURN NEXT;
    IF whole THEN
        item := 'immiiq.export_org()';
        action := 'export first';
        rows := NULL;
        RETURN NEXT;
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.review_erasure(uuid) IS 'what an erasure would take now, and what a hold or a law retains';

CREATE FUNCTION immiiq.schedule_erasure(request uuid, due timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e immiiq.erasure := immiiq.own_erasure(request);
BEGIN
    IF due IS NULL THEN
        RAISE EXCEPTION 'the date must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    UPDATE immiiq.erasure AS r SET due_at = due WHERE r.org_id = e.org_id AND r.erasure_id = request AND r.phase = 'scheduled';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the erasure has begun, or has ended' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.schedule_erasure(uuid, timestamptz) IS 'gives an erasure another date; the worker, or execute_erasure, carries it out from then on';

CREATE FUNCTION immiiq.confirm_closure(request uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e immiiq.erasure := immiiq.own_erasure(request);
BEGIN
    UPDATE immiiq.erasure AS r SET confirmed_at = clock_timestamp(), confirmed_by = immiiq.current_member()
    WHERE r.org_id = e.org_id AND r.erasure_id = request AND r.kind = 'org' AND r.phase = 'scheduled' AND r.confirmed_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'nothing is there to confirm' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.confirm_closure(uuid) IS 'confirms the closing of the active organisation; without it nothing goes';

CREATE FUNCTION immiiq.cancel_erasure(request uuid, reason text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e immiiq.erasure := immiiq.own_erasure(request);
BEGIN
    IF reason IS NULL OR btrim(reason) = '' THEN
        RAISE EXCEPTION 'a reason must be given' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE immiiq.erasure AS r SET phase = 'cancelled', cancel_reason = cancel_erasure.reason
    WHERE r.org_id = e.org_id AND r.erasure_id = request AND (r.phase = 'scheduled' OR (r.phase = 'held' AND r.erased_at IS NULL));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the erasure has begun, or has ended' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.cancel_erasure(uuid, text) IS 'takes a request back that has not begun';

CREATE FUNCTION immiiq.erasure_objects(request uuid, ttl interval DEFAULT NULL)
    RETURNS TABLE (document_id uuid, url text, expires_at timestamptz)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e immiiq.erasure := immiiq.own_erasure(request);
BEGIN
    RETURN QUERY
    SELECT o.document_id, p.url, p.expires_at
    FROM immiiq.erasure_object AS o CROSS JOIN LATERAL immiiq.presign_erased(o.org_id, o.document_id, o.object_store_id, o.key, o.object_version, ttl) AS p
    WHERE o.org_id = e.org_id AND o.erasure_id = request AND o.deleted_at IS NULL;
END
$$;
COMMENT ON FUNCTION immiiq.erasure_objects(uuid, interval) IS 'signed URLs (DELETE) of the objects that an erasure leaves to be deleted, with their versions';

CREATE FUNCTION immiiq.confirm_object(request uuid, document uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e immiiq.erasure := immiiq.own_erasure(request);
BEGIN
    UPDATE immiiq.erasure_object AS o SET deleted_at = clock_timestamp(), key = o.document_id::text
    WHERE o.org_id = e.org_id AND o.erasure_id = request AND o.document_id = document AND o.deleted_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such object, or it is deleted already' USING ERRCODE = 'no_data_found';
    END IF;
    -- The certificate says how many are left.
    UPDATE immiiq.erasure AS r SET certificate = immiiq.make_certificate(r) WHERE r.org_id = e.org_id AND r.erasure_id = request AND r.phase = 'done';
END
$$;
COMMENT ON FUNCTION immiiq.confirm_object(uuid, uuid) IS 'notes that an object was deleted; the certificate is made anew';

CREATE FUNCTION immiiq.erasure_certificate(request uuid) RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e immiiq.erasure;
BEGIN
    SELECT * INTO e FROM immiiq.erasure AS r
    WHERE r.erasure_id = request AND (r.org_id = immiiq.current_org() OR immiiq.current_org() IS NULL);
    -- A closed organisation has no members left: its certificate is the operator's to hand out.
    IF e.kind = 'org' AND e.erased_at IS NOT NULL AND immiiq.journal_role_is_operator() THEN
        RETURN e.certificate;
    END IF;
    e := immiiq.own_erasure(request);
    IF e.certificate IS NULL THEN
        RAISE EXCEPTION 'the erasure has not ended' USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'immiiq.erasure says where it stands.';
    END IF;
    RETURN e.certificate;
END
$$;
COMMENT ON FUNCTION immiiq.erasure_certificate(uuid) IS 'what was erased: a line of JSON, its signature (Ed25519) and the public key in base64; 55000 until it has ended';

CREATE FUNCTION immiiq.journal_role_is_operator() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM immiiq.role_grant AS g WHERE g.kind = 'operator' AND pg_has_role(session_user, g.role::oid, 'MEMBER'))
$$;
COMMENT ON FUNCTION immiiq.journal_role_is_operator() IS 'whether the session is of a role given by grant_operator';
REVOKE ALL ON FUNCTION immiiq.journal_role_is_operator() FROM PUBLIC;

CREATE FUNCTION immiiq.verify_certificate(certificate text) RETURNS boolean
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce(certificate ~ E'^[^\n]+\n[A-Za-z0-9+/]{86}==\n[A-Za-z0-9+/]{43}=\n?$' AND split_part(certificate, E'\n', 1) LIKE '{%"immiiq": "erasure-certificate/v1"%}'
        AND decode(split_part(certificate, E'\n', 3), 'base64') = immiiq.sign_off_key()
        AND immiiq.verify_ed25519(immiiq.sign_off_key(), convert_to(split_part(certificate, E'\n', 1), 'UTF8'), decode(split_part(certificate, E'\n', 2), 'base64')), false);
END
$$;
COMMENT ON FUNCTION immiiq.verify_certificate(text) IS 'true when a certificate is whole and this database signed it';

CREATE FUNCTION immiiq.certificate_key() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT E'-----BEGIN PUBLIC KEY-----\n' || immiiq.base64('\x302a300506032b6570032100'::bytea || immiiq.sign_off_key()) || E'\n-----END PUBLIC KEY-----\n'
$$;
COMMENT ON FUNCTION immiiq.certificate_key() IS 'the public key of certificates, as openssl reads it';

CREATE FUNCTION immiiq.start_erasure(request uuid) RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e immiiq.erasure;
BEGIN
    SELECT * INTO e FROM immiiq.erasure AS r WHERE r.erasure_id = request;
    IF NOT FOUND OR e.phase = 'cancelled' THEN
        RAISE EXCEPTION 'no such request' USING ERRCODE = 'no_data_found';
    ELSIF e.phase = 'scheduled' AND e.due_at > clock_timestamp() THEN
        RAISE EXCEPTION 'the erasure is not due' USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'immiiq.schedule_erasure gives it another date.';
    ELSIF e.phase = 'scheduled' AND e.kind = 'org' AND e.confirmed_at IS NULL THEN
        RAISE EXCEPTION 'the closing is not confirmed' USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'immiiq.confirm_closure confirms it.';
    END IF;
    RETURN e.org_id;
END
$$;
COMMENT ON FUNCTION immiiq.start_erasure(uuid) IS 'the organisation of a request that is due; 55000 when it is not';

CREATE FUNCTION immiiq.step_erasure(org uuid, request uuid) RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    said text := immiiq.erasure_step(org, request);
BEGIN
    IF (SELECT r.phase FROM immiiq.erasure AS r WHERE r.org_id = org AND r.erasure_id = request) = 'held' THEN
        RETURN 'held';
    END IF;
    RETURN said;
END
$$;
COMMENT ON FUNCTION immiiq.step_erasure(uuid, uuid) IS 'one step of an erasure that is due; used by execute_erasure';

CREATE PROCEDURE immiiq.execute_erasure(request uuid)
    LANGUAGE plpgsql
AS $$
DECLARE
    org uuid := immiiq.start_erasure(request);
    said text;
BEGIN
    LOOP
        said := immiiq.step_erasure(org, request);
        COMMIT;
        EXIT WHEN said IN ('done', 'held');
        IF said = 'wait' THEN
            CALL immiiq.seal();
        END IF;
    END LOOP;
    IF said = 'held' THEN
        RAISE EXCEPTION 'what is under hold cannot be removed' USING ERRCODE = 'IQ050', HINT = 'The erasure goes on once the hold is released.';
    END IF;
END
$$;
COMMENT ON PROCEDURE immiiq.execute_erasure(uuid) IS 'carries out an erasure that is due, a transaction a batch; the worker goes on with what is interrupted';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['FUNCTION immiiq.request_erasure(uuid, text, interval)', 'FUNCTION immiiq.request_closure(text, interval)',
        'FUNCTION immiiq.review_erasure(uuid)', 'FUNCTION immiiq.schedule_erasure(uuid, timestamptz)', 'FUNCTION immiiq.confirm_closure(uuid)',
        'FUNCTION immiiq.cancel_erasure(uuid, text)', 'FUNCTION immiiq.erasure_objects(uuid, interval)', 'FUNCTION immiiq.confirm_object(uuid, uuid)',
        'FUNCTION immiiq.erasure_certificate(uuid)', 'FUNCTION immiiq.verify_certificate(text)', 'FUNCTION immiiq.certificate_key()']
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC', name);
        INSERT INTO immiiq.privilege VALUES ('application', 'EXECUTE', name), ('operator', 'EXECUTE', name);
    END LOOP;
    INSERT INTO immiiq.privilege VALUES ('auditor', 'EXECUTE', 'FUNCTION immiiq.verify_certificate(text)'), ('auditor', 'EXECUTE', 'FUNCTION immiiq.certificate_key()');
    -- It commits between steps, so that it can act for nobody: not the application's. The worker does the same.
    FOREACH name IN ARRAY ARRAY['FUNCTION immiiq.start_erasure(uuid)', 'FUNCTION immiiq.step_erasure(uuid, uuid)', 'PROCEDURE immiiq.execute_erasure(uuid)'] LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC', name);
        INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', name);
    END LOOP;
END
$$;

-- What waited for a hold goes on; release_hold calls it.
CREATE FUNCTION immiiq.resume_erasures(org uuid) RETURNS void
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE immiiq.erasure AS r SET phase = CASE WHEN r.started_at IS NULL THEN 'scheduled' ELSE 'rows' END, waits_for_hold = false
    WHERE r.org_id = org AND r.waits_for_hold AND r.phase IN ('held', 'done')
$$;
COMMENT ON FUNCTION immiiq.resume_erasures(uuid) IS 'lets erasures go on that waited for a hold';
REVOKE ALL ON FUNCTION immiiq.resume_erasures(uuid) FROM PUBLIC;

-- ---- a database that was restored from before an erasure ----

CREATE FUNCTION immiiq.read_ledger(ledger text) RETURNS SETOF immiiq.erasure_ledger
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts text[];
    j jsonb;
    number int8;
    line text;
    l immiiq.erasure_ledger;
BEGIN
    FOR line, number IN SELECT t.line, t.number FROM regexp_split_to_table(ledger, '\r?\n') WITH ORDINALITY AS t (line, number) WHERE t.line <> '' LOOP
        parts := regexp_match(line, '^(\{"immiiq":"erasure-ledger/v1",.*),"hash":"([0-9a-f]{64})","signature":"([A-Za-z0-9+/]{86}==)"\}$');
        IF parts IS NOT NULL THEN
            BEGIN
                j := (parts[1] || '}')::jsonb;
                l.org_id := j ->> 'org';
                l.seq := j ->> 'seq';
                l.at := j ->> 'at';
                l.kind := j ->> 'kind';
                l.detail := j -> 'detail';
                l.previous := decode(j ->> 'previous', 'hex');
                l.hash := decode(parts[2], 'hex');
                l.signature := decode(parts[3], 'base64');
            EXCEPTION WHEN data_exception THEN
                parts := NULL;
            END;
        END IF;
        IF (immiiq.ledger_line(l) = parts[1] || '}' AND l.hash = sha256(convert_to(parts[1] || '}', 'UTF8'))
            AND immiiq.verify_ed25519(immiiq.sign_off_key(), convert_to(parts[1] || '}', 'UTF8'), l.signature)) IS NOT TRUE
        THEN
            RAISE EXCEPTION 'line % of the ledger is not what this database would have signed', number USING ERRCODE = 'data_corrupted';
        END IF;
        RETURN NEXT l;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.read_ledger(text) IS 'the lines of export_erasures, each verified; XX001 for one that does not';
REVOKE ALL ON FUNCTION immiiq.read_ledger(text) FROM PUBLIC;

-- One transaction: until it commits, everybody else finds the organisation's values shut.
CREATE FUNCTION immiiq.replay_erasures(ledger text) RETURNS int8
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    fresh immiiq.erasure_ledger[] := '{}';
    l immiiq.erasure_ledger;
    known immiiq.erasure_ledger;
    request uuid;
    said text;
BEGIN
    LOCK TABLE immiiq.erasure_ledger IN SHARE ROW EXCLUSIVE MODE;
    FOR l IN SELECT r.* FROM immiiq.read_ledger(ledger) AS r JOIN immiiq.org AS o USING (org_id) ORDER BY r.org_id, r.seq LOOP
        SELECT * INTO known FROM immiiq.erasure_ledger AS g WHERE g.org_id = l.org_id AND g.seq = l.seq;
        IF NOT FOUND THEN
            SELECT * INTO known FROM immiiq.erasure_ledger AS g WHERE g.org_id = l.org_id ORDER BY g.seq DESC LIMIT 1;
            IF l.seq <> coalesce(known.seq, 0) + 1 OR l.previous <> coalesce(known.hash, ''::bytea) THEN
                RAISE EXCEPTION 'the ledger of organisation % does not go on where this database''s ends, at %', l.org_id, coalesce(known.seq, 0)
                    USING ERRCODE = 'data_corrupted';
            END IF;
            INSERT INTO immiiq.erasure_ledger SELECT l.*;
            fresh := fresh || l;
        ELSIF known.hash <> l.hash THEN
            RAISE EXCEPTION 'the ledger of organisation % is another one from line %', l.org_id, l.seq USING ERRCODE = 'data_corrupted';
        END IF;
    END LOOP;

    FOREACH l IN ARRAY fresh LOOP
        IF l.kind = 'release' THEN
            UPDATE immiiq.hold AS h SET released_at = clock_timestamp(), released_role = session_user, release_reason = l.detail ->> 'reason'
            WHERE h.org_id = l.org_id AND h.hold_id = (l.detail ->> 'hold')::uuid AND h.released_at IS NULL;
            IF FOUND THEN
                PERFORM immiiq.end_hold(l.org_id, (l.detail ->> 'hold')::uuid);
            END IF;
        END IF;
    END LOOP;

    FOREACH l IN ARRAY fresh LOOP
        CONTINUE WHEN l.kind NOT IN ('erase', 'close');
        request := l.detail ->> 'request';
        INSERT INTO immiiq.erasure AS r (org_id, erasure_id, kind, client_id, reason, due_at, confirmed_at, replayed)
        VALUES (l.org_id, request, CASE l.kind WHEN 'close' THEN 'org' ELSE 'client' END, (l.detail ->> 'client')::uuid,
            format('the database was restored from before line %s of the ledger', l.seq), clock_timestamp(), clock_timestamp(), true)
        ON CONFLICT ON CONSTRAINT erasure_pkey DO UPDATE SET due_at = least(r.due_at, clock_timestamp()), confirmed_at = coalesce(r.confirmed_at, clock_timestamp()),
            phase = CASE WHEN r.started_at IS NULL THEN 'scheduled' ELSE 'rows' END, last_xid = NULL, replayed = true;
        LOOP
            said := immiiq.erasure_step(l.org_id, request);
            EXIT WHEN (SELECT r.phase IN ('tidy', 'done') FROM immiiq.erasure AS r WHERE r.org_id = l.org_id AND r.erasure_id = request);
            IF said <> 'more' THEN
                RAISE EXCEPTION 'line % of the ledger of organisation % could not be carried out', l.seq, l.org_id USING ERRCODE = 'IQ050',
                    HINT = 'A hold that the ledger does not know keeps the client: release it first.';
            END IF;
            -- What it captured has no place in the log before the commit; it is of rows that go.
            UPDATE immiiq.erasure AS r SET last_xid = NULL WHERE r.org_id = l.org_id AND r.erasure_id = request;
        END LOOP;
    END LOOP;

    FOREACH l IN ARRAY fresh LOOP
        IF l.kind = 'hold' AND NOT EXISTS (SELECT FROM unnest(fresh) AS f WHERE f.org_id = l.org_id AND f.kind = 'release' AND f.detail ->> 'hold' = l.detail ->> 'hold') THEN
            INSERT INTO immiiq.hold (org_id, hold_id, kind, client_id, matter_id, until, reason)
            VALUES (l.org_id, (l.detail ->> 'hold')::uuid, l.detail ->> 'kind', (l.detail ->> 'client')::uuid, (l.detail ->> 'matter')::uuid,
                (l.detail ->> 'until')::timestamptz, l.detail ->> 'reason')
            ON CONFLICT DO NOTHING;
        END IF;
    END LOOP;
    RETURN cardinality(fresh);
END
$$;
COMMENT ON FUNCTION immiiq.replay_erasures(text) IS 'brings a restored database up to an exported ledger: erases anew whom it names, and ends the quarantine; how many lines were new';
REVOKE ALL ON FUNCTION immiiq.replay_erasures(text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', 'FUNCTION immiiq.replay_erasures(text)');

-- ---- retention ----

CREATE TABLE immiiq.retention_rule (
    retention_rule_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target regclass NOT NULL,
    from_column name NOT NULL,
    period interval NOT NULL CHECK (period OPERATOR(pg_catalog.>) interval '0'),
    action text NOT NULL CHECK (action IN ('delete', 'anonymise')),
    changes jsonb CHECK (pg_catalog.jsonb_typeof(changes) OPERATOR(pg_catalog.=) 'object'),
    basis text CHECK (pg_catalog.btrim(basis) OPERATOR(pg_catalog.<>) ''),
    org_id uuid REFERENCES immiiq.org,
    batch int4 NOT NULL DEFAULT 1000 CHECK (batch BETWEEN 1 AND 100000),
    every interval NOT NULL DEFAULT '1 day' CHECK (every OPERATOR(pg_catalog.>) interval '0'),
    active boolean NOT NULL DEFAULT true,
    CHECK ((changes IS NOT NULL) OPERATOR(pg_catalog.=) (action OPERATOR(pg_catalog.=) 'anonymise'))
);
COMMENT ON TABLE immiiq.retention_rule IS 'how long rows of a protected table are kept, counted from which column, and what happens then; for owners of the database';
COMMENT ON COLUMN immiiq.retention_rule.org_id IS 'the organisation for which it holds, null for every one';
CREATE TABLE immiiq.retention_run (
    retention_run_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    retention_rule_id int8 NOT NULL REFERENCES immiiq.retention_rule ON DELETE CASCADE,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    before timestamptz NOT NULL,
    batches int4 NOT NULL DEFAULT 0,
    rows int8 NOT NULL DEFAULT 0,
    held int8,
    finished_at timestamptz,
    problem text
);
COMMENT ON TABLE immiiq.retention_run IS 'what retention has done, and how far it is';
COMMENT ON COLUMN immiiq.retention_run.held IS 'rows that were due and stayed because of a hold';
CREATE INDEX retention_run_rule_idx ON immiiq.retention_run (retention_rule_id, retention_run_id);
REVOKE ALL ON immiiq.retention_rule, immiiq.retention_run FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.retention_rule', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.retention_rule_retention_rule_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.retention_run', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.retention_run_retention_run_id_seq', '');
INSERT INTO immiiq.privilege
SELECT role, 'SELECT', object
FROM pg_catalog.unnest(ARRAY['auditor', 'operator']) AS role, pg_catalog.unnest(ARRAY['immiiq.retention_rule', 'immiiq.retention_run']) AS object;

CREATE FUNCTION immiiq.check_retention_rule() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (immiiq.protected_columns(NEW.target)).org IS NULL AND NOT EXISTS (SELECT FROM immiiq.protection AS p WHERE p.relid = NEW.target) THEN
        RAISE EXCEPTION '% is not protected', NEW.target USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call immiiq.protect first.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = NEW.target AND a.attname = NEW.from_column AND NOT a.attisdropped
                   AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype))
    THEN
        RAISE EXCEPTION '% has no column % with a date or time in clear', NEW.target, quote_ident(NEW.from_column) USING ERRCODE = 'undefined_column';
    END IF;
    PERFORM immiiq.check_changes(NEW.target, NEW.changes);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION immiiq.check_retention_rule() IS 'trigger: a rule names a protected table and columns that are there';
REVOKE ALL ON FUNCTION immiiq.check_retention_rule() FROM PUBLIC;
CREATE TRIGGER check_retention_rule BEFORE INSERT OR UPDATE ON immiiq.retention_rule FOR EACH ROW EXECUTE FUNCTION immiiq.check_retention_rule();

-- The rows r that are due by a rule: $1 the time before which they are.
CREATE FUNCTION immiiq.retention_condition(rule immiiq.retention_rule, held boolean) RETURNS text
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p record;
    matter name;
    keeps text;
BEGIN
    SELECT * INTO p FROM immiiq.protected_columns(rule.target);
    SELECT m."column" INTO matter FROM immiiq.matter_column AS m WHERE m.target = rule.target;
    keeps := immiiq.held_condition(p.org, p.client, matter, rule.org_id)
        || CASE WHEN rule.target = 'immiiq.document'::regclass THEN ' OR r.hold' ELSE '' END;
    RETURN format('r.%I < $1', rule.from_column) || CASE WHEN rule.org_id IS NULL THEN '' ELSE format(' AND r.%I = %L', p.org, rule.org_id) END
        || CASE WHEN rule.action = 'anonymise' THEN (SELECT ' AND (' || string_agg(
            CASE WHEN jsonb_typeof(c.value) = 'null' THEN format('r.%I IS NOT NULL', c.key) ELSE format('r.%I IS DISTINCT FROM %L', c.key, c.value #>> '{}') END, ' OR ') || ')'
            FROM jsonb_each(rule.changes) AS c) ELSE '' END
        || CASE WHEN held THEN ' AND (' ELSE ' AND NOT (' END || keeps || ')';
END
$$;
COMMENT ON FUNCTION immiiq.retention_condition(immiiq.retention_rule, boolean) IS 'which rows a rule takes, or which stay under hold';
REVOKE ALL ON FUNCTION immiiq.retention_condition(immiiq.retention_rule, boolean) FROM PUBLIC;

CREATE FUNCTION immiiq.review_retention() RETURNS TABLE (retention_rule_id int8, target regclass, action text, before timestamptz, rows int8, held int8)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rule immiiq.retention_rule;
BEGIN
    FOR rule IN SELECT * FROM immiiq.retention_rule AS r WHERE r.active ORDER BY r.retention_rule_id LOOP
        retention_rule_id := rule.retention_rule_id;
        target := rule.target;
        action := rule.action;
        before := clock_timestamp() - rule.period;
        SELECT o.rows, o.held INTO rows, held FROM immiiq.as_owner(rule.target, format('SELECT (SELECT count(*) FROM %1$s AS r WHERE %2$s), (SELECT count(*) FROM %1$s AS r WHERE %3$s)',
            rule.target, immiiq.retention_condition(rule, false), immiiq.retention_condition(rule, true)), before) AS o (rows int8, held int8);
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.review_retention() IS 'a dry run: how many rows each rule would take now, and how many a hold keeps';
REVOKE ALL ON FUNCTION immiiq.review_retention() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', 'FUNCTION immiiq.review_retention()'), ('auditor', 'EXECUTE', 'FUNCTION immiiq.review_retention()');

-- One batch of one rule that is due: 'more' or 'done'.
CREATE FUNCTION immiiq.retention_step() RETURNS text
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rule immiiq.retention_rule;
    run immiiq.retention_run;
    done int8;
    condition text;
BEGIN
    SELECT r.* INTO rule FROM immiiq.retention_rule AS r
    WHERE r.active AND NOT EXISTS (SELECT FROM immiiq.retention_run AS u
        WHERE u.retention_rule_id = r.retention_rule_id AND u.finished_at IS NOT NULL AND u.started_at > clock_timestamp() - r.every)
    ORDER BY r.retention_rule_id LIMIT 1;
    IF NOT FOUND THEN
        RETURN 'done';
    END IF;
    SELECT * INTO run FROM immiiq.retention_run AS u WHERE u.retention_rule_id = rule.retention_rule_id AND u.finished_at IS NULL;
    IF NOT FOUND THEN
        INSERT INTO immiiq.retention_run (retention_rule_id, before) VALUES (rule.retention_rule_id, clock_timestamp() - rule.period) RETURNING * INTO run;
    END IF;
    BEGIN
        condition := immiiq.retention_condition(rule, false);
        condition := format('%s AND r.ctid = ANY (ARRAY(SELECT r.ctid FROM %s AS r WHERE %s LIMIT %s))', condition, rule.target, condition, rule.batch);
        SELECT o.rows INTO done FROM immiiq.as_owner(rule.target, CASE rule.action
            WHEN 'anonymise' THEN format('UPDATE %s AS r SET %s WHERE %s', rule.target,
                (SELECT string_agg(format('%I = %L', c.key, c.value #>> '{}'), ', ') FROM jsonb_each(rule.changes) AS c), condition)
            ELSE format('DELETE FROM %s AS r WHERE %s', rule.target, condition) END, run.before) AS o (rows int8);
        IF done = 0 THEN
            SELECT o.rows INTO run.held FROM immiiq.as_owner(rule.target, format('SELECT count(*) FROM %s AS r WHERE %s', rule.target,
                immiiq.retention_condition(rule, true)), run.before) AS o (rows int8);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        -- The next run tries again; what was taken before this batch is gone.
        UPDATE immiiq.retention_run AS u SET problem = SQLSTATE || ': ' || SQLERRM, finished_at = clock_timestamp() WHERE u.retention_run_id = run.retention_run_id;
        RETURN 'more';
    END;
    UPDATE immiiq.retention_run AS u
    SET batches = u.batches + CASE WHEN done > 0 THEN 1 ELSE 0 END, rows = u.rows + done, held = run.held,
        finished_at = CASE WHEN done = 0 THEN clock_timestamp() END
    WHERE u.retention_run_id = run.retention_run_id;
    RETURN 'more';
END
$$;
COMMENT ON FUNCTION immiiq.retention_step() IS 'one batch of a retention rule that is due; each in a transaction of its own';
REVOKE ALL ON FUNCTION immiiq.retention_step() FROM PUBLIC;

-- ---- the worker's round ----

CREATE FUNCTION immiiq.erasure_is_due() RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM immiiq.erasure AS e
            WHERE (e.phase IN ('rows', 'key', 'tidy') OR (e.phase = 'scheduled' AND e.due_at <= clock_timestamp() AND (e.kind = 'client' OR e.confirmed_at IS NOT NULL))
                OR (e.phase = 'done' AND e.rotate_by <= clock_timestamp() AND e.rotated_at IS NULL))
                AND (e.retry_at IS NULL OR e.retry_at <= clock_timestamp()))
        OR EXISTS (SELECT FROM immiiq.ledger_pending AS p WHERE p.retry_at IS NULL OR p.retry_at <= clock_timestamp())
        OR EXISTS (SELECT FROM immiiq.erasure AS e WHERE e.phase = 'held' AND NOT EXISTS (SELECT FROM immiiq.active_hold AS h
            WHERE h.org_id = e.org_id AND (e.kind = 'org' OR h.kind = 'org' OR h.client_id = e.client_id)))
        OR EXISTS (SELECT FROM immiiq.retention_rule AS r WHERE r.active AND NOT EXISTS (SELECT FROM immiiq.retention_run AS u
            WHERE u.retention_rule_id = r.retention_rule_id AND u.finished_at IS NOT NULL AND u.started_at > clock_timestamp() - r.every))
$$;
COMMENT ON FUNCTION immiiq.erasure_is_due() IS 'whether the worker has anything to erase, to rotate or to retain';
REVOKE ALL ON FUNCTION immiiq.erasure_is_due() FROM PUBLIC;

CREATE FUNCTION immiiq.erasure_tick() RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e immiiq.erasure;
    said text;
BEGIN
    PERFORM immiiq.keep_ledgers();
    -- Holds that ended by themselves let what waited go on, too.
    UPDATE immiiq.erasure AS r SET phase = CASE WHEN r.started_at IS NULL THEN 'scheduled' ELSE 'rows' END, waits_for_hold = false
    WHERE r.phase = 'held' AND NOT EXISTS (SELECT FROM immiiq.active_hold AS h
        WHERE h.org_id = r.org_id AND (r.kind = 'org' OR h.kind = 'org' OR h.client_id = r.client_id));
    SELECT * INTO e FROM immiiq.erasure AS r
    WHERE (r.phase IN ('rows', 'key', 'tidy') OR (r.phase = 'scheduled' AND r.due_at <= clock_timestamp() AND (r.kind = 'client' OR r.confirmed_at IS NOT NULL))
            OR (r.phase = 'done' AND r.rotate_by <= clock_timestamp() AND r.rotated_at IS NULL))
        AND (r.retry_at IS NULL OR r.retry_at <= clock_timestamp())
    ORDER BY r.phase = 'done', r.due_at LIMIT 1;
    IF NOT FOUND THEN
        RETURN immiiq.retention_step();
    END IF;
    BEGIN
        IF e.phase = 'done' THEN
            PERFORM immiiq.rotate_after_erasure(e.org_id);
            RETURN 'more';
        END IF;
        said := immiiq.erasure_step(e.org_id, e.erasure_id);
        RETURN CASE said WHEN 'wait' THEN 'wait' ELSE 'more' END;
    EXCEPTION WHEN OTHERS THEN
        UPDATE immiiq.erasure AS r SET problem = SQLSTATE || ': ' || SQLERRM, retry_at = clock_timestamp() + interval '30 seconds'
        WHERE r.org_id = e.org_id AND r.erasure_id = e.erasure_id;
        RETURN 'more';
    END;
END
$$;
COMMENT ON FUNCTION immiiq.erasure_tick() IS 'one step of whatever is due: more, wait or done';
REVOKE ALL ON FUNCTION immiiq.erasure_tick() FROM PUBLIC;

-- New keys for an organisation from which somebody was erased: backups of before open under no key that is left.
CREATE FUNCTION immiiq.rotate_after_erasure(org uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF immiiq.has_hold(org) THEN
        RAISE EXCEPTION 'what is under hold cannot be removed' USING ERRCODE = 'IQ050';
    END IF;
    PERFORM immiiq.rekey_start(org);
    PERFORM immiiq.rotate_client_keys(org);
    UPDATE immiiq.erasure AS r SET rotated_at = clock_timestamp() WHERE r.org_id = org AND r.erased_at IS NOT NULL AND r.rotated_at IS NULL;
END
$$;
COMMENT ON FUNCTION immiiq.rotate_after_erasure(uuid) IS 'starts the rotation of data key, index secret and subject-wrapping key that erasures have scheduled';
REVOKE ALL ON FUNCTION immiiq.rotate_after_erasure(uuid) FROM PUBLIC;

-- ---- epochs of the root key; backups are recorded with immiiq.record_backup (90_promises.sql) ----

CREATE TABLE immiiq.root_clearance (
    root_id text COLLATE "C" NOT NULL REFERENCES immiiq.root_key,
    database name NOT NULL,
    cleared_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    cleared_role name NOT NULL DEFAULT session_user,
    PRIMARY KEY (root_id, database)
);
COMMENT ON TABLE immiiq.root_clearance IS 'databases of this server in which somebody has looked: nothing is under this root key there';
REVOKE ALL ON immiiq.root_clearance FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.root_clearance', '');

CREATE FUNCTION immiiq.clear_root(root_id text, database name) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM immiiq.root_key AS r WHERE r.root_id = clear_root.root_id)
        OR NOT EXISTS (SELECT FROM pg_database AS d WHERE d.datname = database AND d.datname <> current_database())
    THEN
        RAISE EXCEPTION 'no such root key, or no such other database' USING ERRCODE = 'no_data_found';
    END IF;
    INSERT INTO immiiq.root_clearance AS c (root_id, database) VALUES (clear_root.root_id, clear_root.database)
    ON CONFLICT ON CONSTRAINT root_clearance_pkey DO UPDATE SET cleared_at = clock_timestamp(), cleared_role = session_user;
END
$$;
COMMENT ON FUNCTION immiiq.clear_root(text, name) IS 'notes that another database of this server holds nothing under a root key: look at its own immiiq.root_epoch first';

CREATE FUNCTION immiiq.root_epochs() RETURNS TABLE (root_id text, first_used timestamptz, left_at timestamptz, is_current boolean, loaded boolean, keys int8, retirable boolean, reasons text[])
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept CONSTANT interval := make_interval(days => current_setting('immiiq.backup_window')::int);
    horizon pg_lsn;
BEGIN
    FOR root_id, first_used, is_current, loaded IN
        SELECT r.root_id, r.first_used, coalesce(s."current", false), coalesce(s.loaded, false)
        FROM immiiq.root_key AS r LEFT JOIN immiiq.keyring_status() AS s ON s.root_id = r.root_id ORDER BY r.first_used
    LOOP
        reasons := '{}';
        SELECT count(*) INTO keys FROM immiiq.wrapped_key AS k WHERE k.root_id = root_epochs.root_id;
        SELECT w.at, w.lsn INTO left_at, horizon FROM immiiq.rewrap AS w WHERE root_epochs.root_id = ANY (w.root_ids) ORDER BY w.rewrap_id DESC LIMIT 1;
        IF is_current THEN
            reasons := reasons || 'it is the current root key'::text;
        END IF;
        IF keys > 0 THEN
            left_at := NULL;
            reasons := reasons || format('%s keys of this database are under it: immiiq.rewrap_keys()', keys);
        ELSIF left_at IS NULL THEN
            reasons := reasons || 'when its keys were wrapped anew is not known'::text;
        ELSE
            IF EXISTS (SELECT FROM immiiq.rekey) THEN
                reasons := reasons || 'keys wait to be overwritten: immiiq.rekey_progress'::text;
            END IF;
            reasons := reasons || ARRAY(SELECT format('slot %s reads WAL of before', s.slot_name) FROM pg_replication_slots AS s
                WHERE s.restart_lsn < horizon ORDER BY s.slot_name);
            reasons := reasons || ARRAY(SELECT format('standby %s is behind', coalesce(nullif(r.application_name, ''), r.pid::text)) FROM pg_stat_replication AS r
                WHERE coalesce(r.replay_lsn < horizon, true) ORDER BY 1);
            IF clock_timestamp() < left_at + kept THEN
                reasons := reasons || format('backups and WAL of before are kept until %s', to_char(left_at + kept, 'YYYY-MM-DD'));
            END IF;
            IF NOT EXISTS (SELECT FROM immiiq.backup AS b WHERE b.finished > left_at AND b.restore_tested) THEN
                reasons := reasons || 'no backup of since then was restored as a test: immiiq.record_backup'::text;
            END IF;
        END IF;
        -- What they have made keys with is not visible here.
        reasons := reasons || ARRAY(SELECT format('prepared transaction %s is open', x.gid) FROM pg_prepared_xacts AS x WHERE x.database = current_database() ORDER BY x.gid);
        reasons := reasons || ARRAY(SELECT format('database %s may need it: see its immiiq.root_epoch, then immiiq.clear_root', d.datname) FROM pg_database AS d
            WHERE d.datname <> current_database() AND d.datallowconn AND NOT d.datistemplate
                AND NOT EXISTS (SELECT FROM immiiq.root_clearance AS c WHERE c.root_id = root_epochs.root_id AND c.database = d.datname AND c.cleared_at >= left_at)
            ORDER BY d.datname);
        retirable := cardinality(reasons) = 0;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.root_epochs() IS 'immiiq.root_epoch, computed';
CREATE VIEW immiiq.root_epoch AS SELECT * FROM immiiq.root_epochs();
COMMENT ON VIEW immiiq.root_epoch IS 'root keys that this database has used: which may be destroyed by whoever holds them, and why another not yet';
COMMENT ON COLUMN immiiq.root_epoch.keys IS 'how many keys of this database are under it';
COMMENT ON COLUMN immiiq.root_epoch.left_at IS 'when the last of its keys was wrapped under another';
REVOKE ALL ON immiiq.root_epoch FROM PUBLIC;
REVOKE ALL ON FUNCTION immiiq.clear_root(text, name), immiiq.root_epochs() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('operator', 'EXECUTE', 'FUNCTION immiiq.clear_root(text, name)');
INSERT INTO immiiq.privilege
SELECT role, privilege, object
FROM pg_catalog.unnest(ARRAY['operator', 'auditor']) AS role,
    (VALUES ('EXECUTE', 'FUNCTION immiiq.root_epochs()'), ('SELECT', 'immiiq.root_epoch')) AS v (privilege, object);
