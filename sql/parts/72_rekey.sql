-- Rotation of an organisation's keys, one step a transaction; C walks the tables and drives the steps (src/rekey).

-- Where each unfinished rotation stands. The nil uuid stands for keys that only wait to be overwritten.
CREATE TABLE immiiq.rekey (
    org_id uuid NOT NULL CONSTRAINT rekey_pkey PRIMARY KEY,
    phase text NOT NULL CHECK (phase IN ('settle', 'sweep', 'index', 'drain', 'rest', 'wipe')),
    data_key int8,
    tag_key int8,
    relation regclass,
    block int8 NOT NULL DEFAULT 0,
    pass int4 NOT NULL DEFAULT 1,
    pass_changed int8 NOT NULL DEFAULT 0,
    changed int8 NOT NULL DEFAULT 0,
    damaged int8 NOT NULL DEFAULT 0,
    horizon xid8,
    started_at timestamptz NOT NULL,
    started_by text NOT NULL,
    phase_at timestamptz NOT NULL,
    problem text,
    failed_at timestamptz
);
COMMENT ON TABLE immiiq.rekey IS 'where each unfinished rotation of keys stands; immiiq.rekey_progress is for reading';
COMMENT ON COLUMN immiiq.rekey.data_key IS 'values under an earlier data key are sealed anew';
COMMENT ON COLUMN immiiq.rekey.tag_key IS 'the same for values with tokens, once there is a new index secret';
COMMENT ON COLUMN immiiq.rekey.horizon IS 'old keys go once every snapshot in use sees this transaction';
REVOKE ALL ON immiiq.rekey FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.rekey', '');

-- What was done to whose keys: one row, and so one audit entry, for a whole rotation.
CREATE TABLE immiiq.key_event (
    org_id uuid NOT NULL,
    event_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    kind text NOT NULL CHECK (kind IN ('rotate', 'shred')),
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    started_by text NOT NULL,
    reason text,
    keys_destroyed int4 NOT NULL,
    values_sealed int8 NOT NULL,
    values_damaged int8 NOT NULL,
    PRIMARY KEY (org_id, event_id)
);
COMMENT ON TABLE immiiq.key_event IS 'keys that were rotated or shredded; one row and one audit entry for the whole';
COMMENT ON COLUMN immiiq.key_event.values_damaged IS 'values that did not open under their key, and so were left as they are';
REVOKE ALL ON immiiq.key_event FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.key_event', '');
ALTER TABLE immiiq.key_event ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY immiiq_select ON immiiq.key_event FOR SELECT
    USING (immiiq.visible('settings', 'select', org_id, NULL, NULL, NULL, NULL));
COMMENT ON POLICY immiiq_select ON immiiq.key_event IS 'members with module settings read their organisation''s';
CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON immiiq.key_event
    FOR EACH ROW EXECUTE FUNCTION immiiq.capture();
CREATE TRIGGER immiiq_truncate BEFORE TRUNCATE ON immiiq.key_event
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_truncate();
ALTER TABLE immiiq.key_event ENABLE ALWAYS TRIGGER "00_immiiq_capture";
ALTER TABLE immiiq.key_event ENABLE ALWAYS TRIGGER immiiq_truncate;
COMMENT ON TRIGGER "00_immiiq_capture" ON immiiq.key_event IS 'the audit entry of a rotation';
COMMENT ON TRIGGER immiiq_truncate ON immiiq.key_event IS 'refuses TRUNCATE';
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT', 'immiiq.key_event'),
    ('operator', 'SELECT', 'immiiq.key_event');

-- ---- what the steps are made of ----

CREATE FUNCTION immiiq.holds_sealed(type oid) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rekey_type_holds';
COMMENT ON FUNCTION immiiq.holds_sealed(oid) IS 'true for an enc type, and for a domain, array or composite with one in it';
CREATE FUNCTION immiiq.rekey_drive() RETURNS boolean
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rekey_drive';
COMMENT ON FUNCTION immiiq.rekey_drive() IS 'starts the process that takes rotations forward, unless it runs';
CREATE FUNCTION immiiq.rekey_begin(org uuid) RETURNS int8
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rekey_begin';
COMMENT ON FUNCTION immiiq.rekey_begin(uuid) IS 'makes the organisation''s next data key';
CREATE FUNCTION immiiq.rekey_settle(org uuid) RETURNS void
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rekey_settle';
COMMENT ON FUNCTION immiiq.rekey_settle(uuid) IS 'waits for transactions that may still seal under an earlier data key';
CREATE FUNCTION immiiq.rekey_walk(org uuid, relation oid, from_block int8, data_key int8, tag_key int8, change boolean, max_values int8,
    OUT next_block int8, OUT changed int8, OUT remaining int8, OUT damaged int8) RETURNS record
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rekey_walk';
COMMENT ON FUNCTION immiiq.rekey_walk(uuid, oid, int8, int8, int8, boolean, int8) IS 'seals a table''s values of an organisation anew, from a block on, or counts what is left';
CREATE FUNCTION immiiq.rekey_turn(org uuid) RETURNS int8
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rekey_turn';
COMMENT ON FUNCTION immiiq.rekey_turn(uuid) IS 'locks writers out and makes the organisation''s next index secret, and a data key that goes with it';
CREATE FUNCTION immiiq.rekey_drained(horizon xid8) RETURNS boolean
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rekey_drained';
COMMENT ON FUNCTION immiiq.rekey_drained(xid8) IS 'true once every snapshot in use sees this transaction';
CREATE FUNCTION immiiq.rekey_delete(org uuid, data_key int8) RETURNS int4
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rekey_delete';
COMMENT ON FUNCTION immiiq.rekey_delete(uuid, int8) IS 'deletes an organisation''s earlier keys; with data_key null, all it has';
CREATE FUNCTION immiiq.rekey_wipe() RETURNS boolean
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rekey_wipe';
COMMENT ON FUNCTION immiiq.rekey_wipe() IS 'overwrites deleted keys in their pages; false while older snapshots may see some';
CREATE FUNCTION immiiq.rekey_rewrap() RETURNS int8
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rekey_rewrap';
COMMENT ON FUNCTION immiiq.rekey_rewrap() IS 'wraps every key under the current root key';
CREATE FUNCTION immiiq.rekey_live(OUT blocks int8, OUT changed int8) RETURNS record
    LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'rekey_live';
COMMENT ON FUNCTION immiiq.rekey_live() IS 'how far the driver''s open transaction is';
REVOKE ALL ON FUNCTION immiiq.holds_sealed(oid), immiiq.rekey_drive(), immiiq.rekey_begin(uuid), immiiq.rekey_settle(uuid),
    immiiq.rekey_walk(uuid, oid, int8, int8, int8, boolean, int8), immiiq.rekey_turn(uuid), immiiq.rekey_drained(xid8),
    immiiq.rekey_delete(uuid, int8), immiiq.rekey_wipe(), immiiq.rekey_rewrap(), immiiq.rekey_live() FROM PUBLIC;

-- Tables and materialized views in which sealed values may stand. Temporary ones end with their session and are nobody else's to read.
CREATE VIEW immiiq.sealed_relation AS
    SELECT c.oid AS relid, c.relpages::int8 AS pages
    FROM pg_catalog.pg_class AS c
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
        AND c.relnamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace
        AND EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0
                AND NOT a.attisdropped AND immiiq.holds_sealed(a.atttypid));
COMMENT ON VIEW immiiq.sealed_relation IS 'tables, partitions and materialized views in which sealed values may stand, protected or not';
REVOKE ALL ON immiiq.sealed_relation FROM PUBLIC;

-- ---- the steps ----

-- One batch over the tables. The relation is null at the end of a pass.
CREATE FUNCTION immiiq.rekey_batch(r immiiq.rekey, max_values int8) RETURNS immiiq.rekey
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target oid;
    walked record;
    left_over int8 := max_values;
BEGIN
    LOOP
        SELECT min(s.relid) INTO target FROM immiiq.sealed_relation AS s WHERE r.relation IS NULL OR s.relid >= r.relation;
        IF target IS NULL THEN
            r.relation := NULL;
            RETURN r;
        END IF;
        IF target IS DISTINCT FROM r.relation::oid THEN
            r.relation := target;
            r.block := 0;
        END IF;
        SELECT * INTO walked FROM immiiq.rekey_walk(r.org_id, target, r.block, r.data_key, r.tag_key, true, left_over);
        r.changed := r.changed + walked.changed;
        r.pass_changed := r.pass_changed + walked.changed;
        r.damaged := greatest(r.damaged, walked.damaged);
        r.block := COALESCE(walked.next_block, 0);
        IF walked.next_block IS NULL THEN
            r.relation := (target::int8 + 1)::oid;
        END IF;
        CONTINUE WHEN max_values = 0;
        left_over := left_over - walked.changed;
        IF left_over <= 0 THEN
            RETURN r;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.rekey_batch(immiiq.rekey, int8) IS 'takes the walk of a rotation forward by so many values, 0 for all that are left';
REVOKE ALL ON FUNCTION immiiq.rekey_batch(immiiq.rekey, int8) FROM PUBLIC;

-- One step, in the transaction of whoever calls: 'more', 'wait' or 'done'. A crash leaves what the last step committed.
--   settle  waits for transactions that may still seal under the key before
--   sweep   seals values without tokens anew, online, until a pass finds none
--   index   one transaction, writers paused: a new index secret, and everything with tokens
--   drain   waits for older snapshots, then looks everywhere whether a value is left, and deletes the old keys
--   rest    what somebody without identity has copied in the meantime
--   wipe    overwrites the deleted keys in their pages
CREATE FUNCTION immiiq.rekey_step(org uuid) RETURNS text
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r immiiq.rekey;
    remaining int8;
    destroyed int4;
    batch CONSTANT int8 := 10000;
BEGIN
    SELECT * INTO r FROM immiiq.rekey AS k WHERE k.org_id = org FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'done';
    END IF;
    CASE r.phase
    WHEN 'settle' THEN
        PERFORM immiiq.rekey_settle(org);
        r.phase := 'sweep';
    WHEN 'sweep', 'rest' THEN
        r := immiiq.rekey_batch(r, batch);
        IF r.relation IS NULL AND r.phase = 'rest' THEN
            r.phase := 'drain';
            r.horizon := pg_current_xact_id();
        ELSIF r.relation IS NULL THEN
            -- Rows that change during a pass are met in the next one; what is left after some is done with writers paused.
            r.phase := CASE WHEN r.pass_changed = 0 OR r.pass >= 5 THEN 'index' ELSE 'sweep' END;
            r.pass := r.pass + 1;
            r.pass_changed := 0;
        END IF;
    WHEN 'index' THEN
        r.tag_key := immiiq.rekey_turn(org);
        r.relation := NULL;
        r.block := 0;
        r := immiiq.rekey_batch(r, 0);
        r.phase := 'drain';
        r.horizon := pg_current_xact_id();
    WHEN 'drain' THEN
        IF NOT immiiq.rekey_drained(r.horizon) THEN
            RETURN 'wait';
        END IF;
        SELECT sum(w.remaining) INTO remaining
        FROM immiiq.sealed_relation AS s, immiiq.rekey_walk(org, s.relid, 0, r.data_key, r.tag_key, false, 0) AS w;
        IF remaining = 0 AND immiiq.has_hold(org) THEN
            -- What was sealed outside of these tables, or stands in an older dump, opens under the old keys alone.
            PERFORM immiiq.refuse_held(org, 'rotate_key', 'earlier keys');
        ELSIF remaining > 0 THEN
            r.phase := 'rest';
            r.relation := NULL;
            r.block := 0;
        ELSE
            destroyed := immiiq.rekey_delete(org, r.data_key);
            INSERT INTO immiiq.key_event (org_id, kind, started_at, finished_at, started_by, keys_destroyed, values_sealed, values_damaged)
            VALUES (org, 'rotate', r.started_at, clock_timestamp(), r.started_by, destroyed, r.changed, r.damaged);
            r.phase := 'wipe';
        END IF;
    WHEN 'wipe' THEN
        IF NOT immiiq.rekey_wipe() THEN
            RETURN 'wait';
        END IF;
        DELETE FROM immiiq.rekey AS k WHERE k.org_id = org;
        RETURN 'done';
    END CASE;
    UPDATE immiiq.rekey AS k
    SET phase = r.phase, tag_key = r.tag_key, relation = r.relation, block = r.block, pass = r.pass, pass_changed = r.pass_changed,
        changed = r.changed, damaged = r.damaged, horizon = r.horizon,
        phase_at = CASE WHEN k.phase = r.phase THEN k.phase_at ELSE clock_timestamp() END
    WHERE k.org_id = org;
    RETURN 'more';
END
$$;
COMMENT ON FUNCTION immiiq.rekey_step(uuid) IS 'one step of an organisation''s rotation; the driver calls it, each time in a transaction of its own';
REVOKE ALL ON FUNCTION immiiq.rekey_step(uuid) FROM PUBLIC;

-- ---- for operators ----

CREATE FUNCTION immiiq.rekey_start(org uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    LOCK TABLE immiiq.rekey IN SHARE ROW EXCLUSIVE MODE;
    UPDATE immiiq.rekey AS k SET problem = NULL WHERE k.org_id = org AND k.phase <> 'wipe';
    IF NOT FOUND THEN
        DELETE FROM immiiq.rekey AS k WHERE k.org_id = org;
        INSERT INTO immiiq.rekey (org_id, phase, data_key, started_at, started_by, phase_at)
        VALUES (org, 'settle', immiiq.rekey_begin(org), clock_timestamp(), session_user, clock_timestamp());
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.rekey_start(uuid) IS 'begins the rotation of an organisation''s keys, or lets one that stopped go on';
REVOKE ALL ON FUNCTION immiiq.rekey_start(uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', 'FUNCTION immiiq.rekey_start(uuid)');

CREATE FUNCTION immiiq.rekey_await(org uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text;
BEGIN
    SELECT k.problem INTO problem FROM immiiq.rekey AS k WHERE k.org_id = org;
    IF NOT FOUND THEN
        RETURN false;
    ELSIF problem IS NOT NULL THEN
        RAISE EXCEPTION 'the rotation waits: %', problem
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'It is tried again every 30 seconds, and by another CALL immiiq.rotate_key().';
    END IF;
    PERFORM immiiq.rekey_drive();
    RETURN true;
END
$$;
COMMENT ON FUNCTION immiiq.rekey_await(uuid) IS 'false once the rotation of an organisation''s keys has ended; 55000 when it cannot go on';
REVOKE ALL ON FUNCTION immiiq.rekey_await(uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', 'FUNCTION immiiq.rekey_await(uuid)');

CREATE PROCEDURE immiiq.rotate_key(org uuid)
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM immiiq.rekey_start(org);
    COMMIT;
    WHILE immiiq.rekey_await(org) LOOP
        COMMIT;
        PERFORM pg_catalog.pg_sleep(0.05);
    END LOOP;
END
$$;
COMMENT ON PROCEDURE immiiq.rotate_key(uuid) IS 'new data key and index secret for an organisation: begins the rotation and waits for its end; it goes on without whoever called';
REVOKE ALL ON PROCEDURE immiiq.rotate_key(uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', 'PROCEDURE immiiq.rotate_key(uuid)');

-- Keys that were deleted or replaced outside a rotation wait to be overwritten, too.
CREATE FUNCTION immiiq.rekey_want_wipe() RETURNS void
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO immiiq.rekey (org_id, phase, started_at, started_by, phase_at)
    VALUES ('00000000-0000-0000-0000-000000000000', 'wipe', clock_timestamp(), session_user, clock_timestamp())
    ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION immiiq.rekey_want_wipe() IS 'asks the worker to overwrite deleted keys';
REVOKE ALL ON FUNCTION immiiq.rekey_want_wipe() FROM PUBLIC;

-- When keys left a root key, and where WAL was: what is older may still need it.
CREATE TABLE immiiq.rewrap (
    rewrap_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    lsn pg_lsn NOT NULL,
    root_ids text[] COLLATE "C" NOT NULL,
    keys int8 NOT NULL
);
COMMENT ON TABLE immiiq.rewrap IS 'runs of rewrap_keys that wrapped anything';
COMMENT ON COLUMN immiiq.rewrap.root_ids IS 'the root keys that wrapped keys until then';
REVOKE ALL ON immiiq.rewrap FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.rewrap', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.rewrap_rewrap_id_seq', '');

CREATE FUNCTION immiiq.rewrap_keys() RETURNS int8
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    roots text[] := ARRAY(SELECT DISTINCT k.root_id FROM immiiq.wrapped_key AS k);
    changed int8 := immiiq.rekey_rewrap();
BEGIN
    IF changed > 0 THEN
        INSERT INTO immiiq.rewrap (lsn, root_ids, keys) VALUES (pg_current_wal_insert_lsn(), roots, changed);
        PERFORM immiiq.rekey_want_wipe();
    END IF;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION immiiq.rewrap_keys() IS 'wraps every key that is under another root key under the current one; returns how many';
REVOKE ALL ON FUNCTION immiiq.rewrap_keys() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', 'FUNCTION immiiq.rewrap_keys()');

CREATE FUNCTION immiiq.shred_org(org uuid, reason text) RETURNS int4
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    destroyed int4;
BEGIN
    IF reason IS NULL OR btrim(reason) = '' THEN
        RAISE EXCEPTION 'a reason must be given' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT count(*) INTO destroyed FROM immiiq.wrapped_key AS k WHERE k.org_id = org;
    IF destroyed = 0 THEN
        RAISE EXCEPTION 'the organisation has no keys' USING ERRCODE = 'IQ003';
    END IF;
    IF immiiq.has_hold(org) THEN
        PERFORM immiiq.refuse_held(org, 'shred_org', 'keys');
    END IF;
    -- Written down first: the entries are sealed under the key that goes.
    UPDATE immiiq.org AS o SET active = false WHERE o.org_id = org AND o.active;
    INSERT INTO immiiq.key_event (org_id, kind, started_at, finished_at, started_by, reason, keys_destroyed, values_sealed, values_damaged)
    VALUES (org, 'shred', clock_timestamp(), clock_timestamp(), session_user, reason, destroyed, 0, 0);
    destroyed := immiiq.rekey_delete(org, NULL);
    DELETE FROM immiiq.rekey AS k WHERE k.org_id = org;
    PERFORM immiiq.rekey_want_wipe();
    RETURN destroyed;
END
$$;
COMMENT ON FUNCTION immiiq.shred_org(uuid, text) IS 'destroys every key of an organisation: nothing that was sealed for it can be opened again; returns how many';
REVOKE ALL ON FUNCTION immiiq.shred_org(uuid, text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', 'FUNCTION immiiq.shred_org(uuid, text)');

CREATE FUNCTION immiiq.rekey_state(
    OUT org_id uuid, OUT phase text, OUT started_at timestamptz, OUT started_by text, OUT sealed int8, OUT damaged int8,
    OUT done float8, OUT remaining interval, OUT problem text
) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT q.org_id, q.phase, q.started_at, q.started_by, q.sealed, q.damaged, q.part,
        CASE WHEN q.part > 0 THEN (clock_timestamp() - q.phase_at) * ((1 - q.part) / q.part) END, q.problem
    FROM (
        SELECT k.org_id, k.phase, k.started_at, k.started_by, k.phase_at, k.damaged, k.problem,
            k.changed + COALESCE(CASE WHEN k.phase = 'index' THEN live.changed END, 0) AS sealed,
            CASE WHEN k.phase IN ('sweep', 'index', 'rest') THEN least(1, (
                COALESCE((SELECT sum(s.pages) FROM immiiq.sealed_relation AS s WHERE k.phase <> 'index' AND s.relid < k.relation), 0)
                + k.block + COALESCE(live.blocks, 0)) / greatest(1, total.pages)::float8)::float8
            WHEN k.phase = 'settle' THEN 0::float8 ELSE 1::float8 END AS part
        FROM immiiq.rekey AS k, immiiq.rekey_live() AS live,
            (SELECT sum(s.pages)::float8 AS pages FROM immiiq.sealed_relation AS s) AS total
        WHERE k.org_id <> '00000000-0000-0000-0000-000000000000'
    ) AS q;
END
$$;
COMMENT ON FUNCTION immiiq.rekey_state() IS 'immiiq.rekey_progress, computed';
REVOKE ALL ON FUNCTION immiiq.rekey_state() FROM PUBLIC;
CREATE VIEW immiiq.rekey_progress AS SELECT * FROM immiiq.rekey_state();
COMMENT ON VIEW immiiq.rekey_progress IS 'unfinished rotations of keys: phase, how much of it is done, and how long the rest may take';
COMMENT ON COLUMN immiiq.rekey_progress.done IS 'part of this phase, 0 to 1, by pages';
COMMENT ON COLUMN immiiq.rekey_progress.remaining IS 'of this phase at its pace so far';
REVOKE ALL ON immiiq.rekey_progress FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('operator', 'SELECT', 'immiiq.rekey_progress'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.rekey_state()'),
    ('auditor', 'SELECT', 'immiiq.rekey_progress'),
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.rekey_state()');
