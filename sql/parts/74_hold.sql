-- Holds: what a regulator or a court wants kept. C reads hold and matter_column by position (hold.c): append, never reorder.

CREATE TABLE immiiq.hold (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    hold_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    kind text NOT NULL CHECK (kind IN ('client', 'org', 'matter')),
    client_id uuid,
    matter_id uuid,
    until timestamptz,
    released_at timestamptz,
    reason text NOT NULL CHECK (pg_catalog.btrim(reason) OPERATOR(pg_catalog.<>) ''),
    placed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    placed_by uuid,
    placed_role name NOT NULL DEFAULT session_user,
    released_by uuid,
    released_role name,
    release_reason text CHECK (pg_catalog.btrim(release_reason) OPERATOR(pg_catalog.<>) ''),
    PRIMARY KEY (org_id, hold_id),
    CHECK ((client_id IS NOT NULL) OPERATOR(pg_catalog.=) (kind OPERATOR(pg_catalog.=) 'client')),
    CHECK ((matter_id IS NOT NULL) OPERATOR(pg_catalog.=) (kind OPERATOR(pg_catalog.=) 'matter')),
    CHECK ((released_at IS NULL) OPERATOR(pg_catalog.=) (release_reason IS NULL))
);
COMMENT ON TABLE immiiq.hold IS 'what must be kept: a client, a matter, or all of an organisation; never deleted, released once';
COMMENT ON COLUMN immiiq.hold.until IS 'the hold ends by itself then; null: only by release_hold';
COMMENT ON COLUMN immiiq.hold.placed_by IS 'the member, null for an operator';

-- Where a table says to which matter a row belongs. For owners of the database.
CREATE TABLE immiiq.matter_column (
    target regclass NOT NULL CONSTRAINT matter_column_pkey PRIMARY KEY,
    "column" name NOT NULL
);
COMMENT ON TABLE immiiq.matter_column IS 'the column (uuid) of a protected table that names the matter to which a row belongs';

CREATE FUNCTION immiiq.hold_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_hold_changed';
COMMENT ON FUNCTION immiiq.hold_changed() IS 'trigger: every backend reads the holds again';
REVOKE ALL ON FUNCTION immiiq.hold_changed() FROM PUBLIC;

CREATE FUNCTION immiiq.check_matter_column() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (immiiq.protected_columns(NEW.target)).org IS NULL THEN
        RAISE EXCEPTION '% is not protected', NEW.target USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call immiiq.protect first.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = NEW.target AND a.attname = NEW."column"
                   AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'uuid'::regtype)
    THEN
        RAISE EXCEPTION '% has no column % of type uuid', NEW.target, quote_ident(NEW."column") USING ERRCODE = 'undefined_column';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION immiiq.check_matter_column() IS 'trigger: the column is there';
REVOKE ALL ON FUNCTION immiiq.check_matter_column() FROM PUBLIC;
CREATE TRIGGER check_matter_column BEFORE INSERT OR UPDATE ON immiiq.matter_column
    FOR EACH ROW EXECUTE FUNCTION immiiq.check_matter_column();

-- A hold changes once: when it is released.
CREATE FUNCTION immiiq.keep_hold() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.released_at IS NULL AND NEW.released_at IS NOT NULL
        AND to_jsonb(NEW) - '{released_at,released_by,released_role,release_reason}'::text[]
            = to_jsonb(OLD) - '{released_at,released_by,released_role,release_reason}'::text[]
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a hold is released once, and never changed otherwise' USING ERRCODE = 'IQ040';
END
$$;
COMMENT ON FUNCTION immiiq.keep_hold() IS 'trigger: holds are released, and never changed or deleted';
REVOKE ALL ON FUNCTION immiiq.keep_hold() FROM PUBLIC;
CREATE TRIGGER keep_hold BEFORE UPDATE OR DELETE ON immiiq.hold FOR EACH ROW EXECUTE FUNCTION immiiq.keep_hold();

ALTER TABLE immiiq.hold ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY immiiq_select ON immiiq.hold FOR SELECT
    USING (immiiq.visible('settings', 'select', org_id, NULL, NULL, NULL, NULL));
COMMENT ON POLICY immiiq_select ON immiiq.hold IS 'members with module settings read their organisation''s';
DO $$
DECLARE
    name text;
BEGIN
    EXECUTE 'CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON immiiq.hold FOR EACH ROW EXECUTE FUNCTION immiiq.capture()';
    EXECUTE 'CREATE TRIGGER immiiq_truncate BEFORE TRUNCATE ON immiiq.hold FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_truncate()';
    FOREACH name IN ARRAY ARRAY['00_immiiq_capture', 'immiiq_truncate', 'keep_hold'] LOOP
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.hold ENABLE ALWAYS TRIGGER %I', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['hold', 'matter_column'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER hold_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON immiiq.%I
            FOR EACH STATEMENT EXECUTE FUNCTION immiiq.hold_changed()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER hold_changed', name);
        EXECUTE pg_catalog.format('REVOKE ALL ON immiiq.%I FROM PUBLIC', name);
        PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('immiiq.%I', name)::pg_catalog.regclass, '');
    END LOOP;
END
$$;
COMMENT ON TRIGGER "00_immiiq_capture" ON immiiq.hold IS 'the audit entry of a hold';
COMMENT ON TRIGGER immiiq_truncate ON immiiq.hold IS 'refuses TRUNCATE';

CREATE VIEW immiiq.active_hold WITH (security_invoker) AS
    SELECT h.org_id, h.hold_id, h.kind, h.client_id, h.matter_id, h.reason, h.until, h.placed_at, h.placed_by, h.placed_role
    FROM immiiq.hold AS h
    WHERE h.released_at IS NULL AND (h.until IS NULL OR h.until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp());
COMMENT ON VIEW immiiq.active_hold IS 'holds that keep something now: who placed them, why, until when';
REVOKE ALL ON immiiq.active_hold FROM PUBLIC;
INSERT INTO immiiq.privilege
SELECT role, 'SELECT', object
FROM pg_catalog.unnest(ARRAY['application', 'operator']) AS role, pg_catalog.unnest(ARRAY['immiiq.hold', 'immiiq.active_hold']) AS object;

-- The message key of each entry of a held matter whose client is erased, sealed under a key of the hold's own (kept.c: append, never reorder).
CREATE TABLE immiiq.kept_entry (
    incarnation int4 NOT NULL,
    txid int8 NOT NULL,
    seq int4 NOT NULL,
    org_id uuid NOT NULL,
    hold_id uuid NOT NULL,
    key_id int8 NOT NULL,
    sealed bytea NOT NULL,
    CONSTRAINT kept_entry_pkey PRIMARY KEY (incarnation, txid, seq, hold_id)
);
CREATE INDEX kept_entry_hold_idx ON immiiq.kept_entry (org_id, hold_id);
COMMENT ON TABLE immiiq.kept_entry IS 'entries of the log that a hold keeps readable while the rest of their client is erased';
COMMENT ON COLUMN immiiq.kept_entry.key_id IS 'the hold''s key: immiiq.subject_key, with the hold in the place of the client';
REVOKE ALL ON immiiq.kept_entry FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.kept_entry', '');
ALTER TABLE immiiq.kept_entry ALTER sealed SET STATISTICS 0;
CREATE FUNCTION immiiq.keep_image(body bytea, hold uuid, "column" text, matter uuid) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_keep_image';
COMMENT ON FUNCTION immiiq.keep_image(bytea, uuid, text, uuid) IS 'keeps an entry readable under a hold, when its image names the matter';
REVOKE ALL ON FUNCTION immiiq.keep_image(bytea, uuid, text, uuid) FROM PUBLIC;

-- ---- what the paths that remove ask ----

CREATE FUNCTION immiiq.lock_holds(org uuid) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_lock_holds';
COMMENT ON FUNCTION immiiq.lock_holds(uuid) IS 'waits for who removes rows of an organisation; nobody begins to until the transaction ends';
CREATE FUNCTION immiiq.is_held(org uuid, client uuid, matter uuid) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_is_held';
COMMENT ON FUNCTION immiiq.is_held(uuid, uuid, uuid) IS 'true when a hold keeps what is of this client and matter; none is placed then until the transaction ends';
CREATE FUNCTION immiiq.has_hold(org uuid) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_has_hold';
COMMENT ON FUNCTION immiiq.has_hold(uuid) IS 'true when anything of the organisation is under hold; none is placed then until the transaction ends';
CREATE FUNCTION immiiq.refuse_held(org uuid, action text, object text) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_refuse_held';
COMMENT ON FUNCTION immiiq.refuse_held(uuid, text, text) IS 'refuses what would remove something under hold (IQ050), and writes the attempt down';
CREATE FUNCTION immiiq.note_held(noted text) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_note_held';
COMMENT ON FUNCTION immiiq.note_held(text) IS 'remembers what a statement of DDL must leave as it is';
CREATE FUNCTION immiiq.noted_held() RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_noted_held';
COMMENT ON FUNCTION immiiq.noted_held() IS 'what note_held remembers of this transaction';
REVOKE ALL ON FUNCTION immiiq.lock_holds(uuid), immiiq.is_held(uuid, uuid, uuid), immiiq.has_hold(uuid), immiiq.refuse_held(uuid, text, text),
    immiiq.note_held(text), immiiq.noted_held() FROM PUBLIC;

-- The condition on the rows r of a table that are under hold now, with nothing in it that its owner may not call: it runs with the
-- owner's rights. Holds placed later are the row triggers' to find.
CREATE FUNCTION immiiq.held_condition(org name, client name, matter name, only_org uuid DEFAULT NULL) RETURNS text
    LANGUAGE sql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(string_agg(CASE g.kind WHEN 'org' THEN format('r.%I = ANY (%L::uuid[])', held_condition.org, g.orgs)
        ELSE format('coalesce((r.%I, r.%I) IN (SELECT * FROM unnest(%L::uuid[], %L::uuid[])), false)', held_condition.org, g.named, g.orgs, g.ids) END, ' OR '), 'false')
    FROM (SELECT h.kind, n.named, array_agg(h.org_id) AS orgs, array_agg(coalesce(h.client_id, h.matter_id)) AS ids
          FROM immiiq.active_hold AS h,
              LATERAL (SELECT CASE h.kind WHEN 'client' THEN held_condition.client WHEN 'matter' THEN held_condition.matter END AS named) AS n
          WHERE (h.kind = 'org' OR n.named IS NOT NULL) AND (only_org IS NULL OR h.org_id = only_org)
          GROUP BY h.kind, n.named) AS g
$$;
COMMENT ON FUNCTION immiiq.held_condition(name, name, name, uuid) IS 'which rows of a table are under hold, as a condition; of one organisation or all';
REVOKE ALL ON FUNCTION immiiq.held_condition(name, name, name, uuid) FROM PUBLIC;

-- Tables and partitions with rows under hold, and how many columns each has.
CREATE FUNCTION immiiq.held_tables() RETURNS TABLE (relid oid, columns int8)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held record;
BEGIN
    FOR held IN
        SELECT t.relation, t.org, t.client, m."column" AS matter, p.relid AS part
        FROM immiiq.protected_table AS t LEFT JOIN immiiq.matter_column AS m ON m.target = t.relation,
            LATERAL (SELECT t.relation AS relid UNION SELECT l.relid FROM pg_partition_tree(t.relation) AS l WHERE l.isleaf) AS p
        WHERE EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = t.relation AND g.tgname = '00_immiiq_capture' AND g.tgenabled = 'A')
    LOOP
        CONTINUE WHEN NOT (SELECT o.held FROM immiiq.as_owner(held.part, format('SELECT EXISTS (SELECT FROM ONLY %s AS r WHERE %s)', held.part,
            immiiq.held_condition(held.org, held.client, held.matter))) AS o (held boolean));
        RETURN QUERY SELECT a.attrelid, count(*) FROM pg_attribute AS a
            WHERE a.attrelid IN (held.part, held.relation) AND a.attnum > 0 AND NOT a.attisdropped GROUP BY a.attrelid;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.held_tables() IS 'tables and partitions with rows under hold, and the number of their columns';
REVOKE ALL ON FUNCTION immiiq.held_tables() FROM PUBLIC;

-- Before DDL that may remove: which tables must be there afterwards, protected and captured, with as many columns.
CREATE FUNCTION immiiq.note_held_tables() RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM immiiq.hold AS h WHERE h.released_at IS NULL) THEN
        PERFORM immiiq.note_held((coalesce((SELECT jsonb_object_agg(t.relid, t.columns) FROM immiiq.held_tables() AS t), '{}')
            || coalesce(immiiq.noted_held()::jsonb, '{}'))::text);
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.note_held_tables() IS 'remembers the tables that hold rows under hold; used by note_holds';
-- What only adds or closes, as a restore does in parallel, is left alone: the look at the tables locks them.
CREATE FUNCTION immiiq.note_holds() RETURNS event_trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'immiiq_note_holds';
COMMENT ON FUNCTION immiiq.note_holds() IS 'event trigger: remembers the tables that hold rows under hold';
REVOKE ALL ON FUNCTION immiiq.note_held_tables(), immiiq.note_holds() FROM PUBLIC;

CREATE FUNCTION immiiq.check_noted() RETURNS event_trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept record;
    root oid;
BEGIN
    IF to_regclass('immiiq.hold') IS NULL OR NOT EXISTS (SELECT FROM immiiq.active_hold) THEN
        RETURN;
    END IF;
    FOR kept IN SELECT n.key::oid AS relid, n.value::int8 AS columns FROM jsonb_each_text(coalesce(immiiq.noted_held()::jsonb, '{}')) AS n LOOP
        root := coalesce(pg_partition_root(kept.relid), kept.relid);
        IF (SELECT count(*) FROM pg_attribute AS a WHERE a.attrelid = kept.relid AND a.attnum > 0 AND NOT a.attisdropped) < kept.columns
            OR NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = root AND c.relrowsecurity AND c.relforcerowsecurity)
            OR (immiiq.protected_columns(root)).org IS NULL
            OR NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = kept.relid AND t.tgname = '00_immiiq_capture' AND t.tgenabled = 'A')
            OR NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = kept.relid AND t.tgname = 'immiiq_truncate' AND t.tgenabled = 'A')
        THEN
            PERFORM immiiq.refuse_held((SELECT h.org_id FROM immiiq.active_hold AS h LIMIT 1), lower(TG_TAG),
                coalesce((SELECT c.relname FROM pg_class AS c WHERE c.oid = kept.relid), 'table ' || kept.relid));
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.check_noted() IS 'event trigger: tables with rows under hold are there, captured, with all columns';
REVOKE ALL ON FUNCTION immiiq.check_noted() FROM PUBLIC;

CREATE EVENT TRIGGER immiiq_note_holds ON ddl_command_start
    WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP TYPE', 'DROP POLICY', 'DROP TRIGGER', 'DROP EXTENSION', 'ALTER TABLE')
    EXECUTE FUNCTION immiiq.note_holds();
CREATE EVENT TRIGGER immiiq_check_noted ON ddl_command_end
    WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP TYPE', 'DROP POLICY', 'DROP TRIGGER', 'DROP EXTENSION', 'ALTER TABLE')
    EXECUTE FUNCTION immiiq.check_noted();
ALTER EVENT TRIGGER immiiq_note_holds ENABLE ALWAYS;
ALTER EVENT TRIGGER immiiq_check_noted ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER immiiq_note_holds IS 'remembers the tables that hold rows under hold';
COMMENT ON EVENT TRIGGER immiiq_check_noted IS 'refuses DDL that takes rows under hold away, or the guard of such rows';

-- ---- for members with module settings, and operators ----

CREATE FUNCTION immiiq.require_keeper() RETURNS uuid
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF immiiq.current_actor() IS NULL THEN
        RAISE EXCEPTION 'nobody is active in this transaction' USING ERRCODE = 'IQ011';
    END IF;
    IF immiiq.current_org() IS NULL OR immiiq.current_actor() NOT IN ('member', 'operator')
        OR NOT immiiq.visible('settings', 'update', immiiq.current_org(), NULL, NULL, NULL, NULL)
    THEN
        RAISE EXCEPTION 'module settings is needed to place or release a hold' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN immiiq.current_org();
END
$$;
COMMENT ON FUNCTION immiiq.require_keeper() IS 'the active organisation; 42501 for who may not place holds there';
REVOKE ALL ON FUNCTION immiiq.require_keeper() FROM PUBLIC;

CREATE FUNCTION immiiq.put_hold(kind text, client uuid, matter uuid, reason text, until timestamptz) RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    org uuid := immiiq.require_keeper();
    id uuid;
BEGIN
    IF reason IS NULL OR btrim(reason) = '' THEN
        RAISE EXCEPTION 'a reason must be given' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF until <= clock_timestamp() THEN
        RAISE EXCEPTION 'the hold would end in the past' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM immiiq.lock_holds(org);
    INSERT INTO immiiq.hold (org_id, kind, client_id, matter_id, reason, until, placed_by)
    VALUES (org, put_hold.kind, client, matter, put_hold.reason, put_hold.until, immiiq.current_member())
    RETURNING hold_id INTO id;
    RETURN id;
END
$$;
COMMENT ON FUNCTION immiiq.put_hold(text, uuid, uuid, text, timestamptz) IS 'used by place_hold and its sisters';
REVOKE ALL ON FUNCTION immiiq.put_hold(text, uuid, uuid, text, timestamptz) FROM PUBLIC;

CREATE FUNCTION immiiq.place_hold(client uuid, reason text, until timestamptz DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF client IS NULL THEN
        RAISE EXCEPTION 'client must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    RETURN immiiq.put_hold('client', client, NULL, reason, until);
END
$$;
COMMENT ON FUNCTION immiiq.place_hold(uuid, text, timestamptz) IS 'keeps everything of a client, whoever asks for it to go, until then or until it is released';

CREATE FUNCTION immiiq.place_org_hold(reason text, until timestamptz DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN immiiq.put_hold('org', NULL, NULL, reason, until);
END
$$;
COMMENT ON FUNCTION immiiq.place_org_hold(text, timestamptz) IS 'keeps everything of the active organisation';

CREATE FUNCTION immiiq.place_matter_hold(matter uuid, reason text, until timestamptz DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF matter IS NULL THEN
        RAISE EXCEPTION 'matter must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    RETURN immiiq.put_hold('matter', NULL, matter, reason, until);
END
$$;
COMMENT ON FUNCTION immiiq.place_matter_hold(uuid, text, timestamptz) IS 'keeps the rows of a matter, in the tables where immiiq.matter_column says which';

CREATE FUNCTION immiiq.end_hold(org uuid, hold uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- What the hold alone kept of clients who are erased goes with it; their erasure takes the rows.
    DELETE FROM immiiq.kept_entry AS k WHERE k.org_id = org AND k.hold_id = hold;
    IF immiiq.destroy_client_keys(org, hold, false) > 0 THEN
        PERFORM immiiq.rekey_want_wipe();
    END IF;
    PERFORM immiiq.resume_erasures(org);
    UPDATE immiiq.rekey AS k SET problem = NULL WHERE k.org_id = org AND k.problem LIKE 'IQ050:%';
END
$$;
COMMENT ON FUNCTION immiiq.end_hold(uuid, uuid) IS 'lets what waited for a hold go on, once it is released';
REVOKE ALL ON FUNCTION immiiq.end_hold(uuid, uuid) FROM PUBLIC;

CREATE FUNCTION immiiq.release_hold(hold uuid, reason text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    org uuid := immiiq.require_keeper();
BEGIN
    IF reason IS NULL OR btrim(reason) = '' THEN
        RAISE EXCEPTION 'a reason must be given' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE immiiq.hold AS h
    SET released_at = clock_timestamp(), released_by = immiiq.current_member(), released_role = session_user, release_reason = release_hold.reason
    WHERE h.org_id = org AND h.hold_id = hold AND h.released_at IS NULL;
    IF NOT FOUND THEN
        PERFORM immiiq.note_unreachable('release_hold');
        RAISE EXCEPTION 'no such hold, or it is released already' USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM immiiq.end_hold(org, hold);
END
$$;
COMMENT ON FUNCTION immiiq.release_hold(uuid, text) IS 'ends a hold; what waited for it goes on';
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['place_hold(uuid, text, timestamptz)', 'place_org_hold(text, timestamptz)',
        'place_matter_hold(uuid, text, timestamptz)', 'release_hold(uuid, text)']
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION immiiq.%s FROM PUBLIC', name);
        INSERT INTO immiiq.privilege VALUES
            ('application', 'EXECUTE', pg_catalog.format('FUNCTION immiiq.%s', name)),
            ('operator', 'EXECUTE', pg_catalog.format('FUNCTION immiiq.%s', name));
    END LOOP;
END
$$;
