-- immiiq.doctor(): is this installation sound?

CREATE FUNCTION immiiq.library_status(OUT version text, OUT preloaded boolean) RETURNS record
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_library_status';
COMMENT ON FUNCTION immiiq.library_status() IS 'version of the loaded library, and whether the server loaded it at its start';

CREATE FUNCTION immiiq.open_org_keys(org uuid) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_open_org_keys';
COMMENT ON FUNCTION immiiq.open_org_keys(uuid) IS 'opens every current key of an organisation, or raises IQ002 or IQ003; for immiiq.doctor()';
REVOKE ALL ON FUNCTION immiiq.open_org_keys(uuid) FROM PUBLIC;

-- The oldest entry behind the sealer's snapshot, found by index.
CREATE FUNCTION immiiq.oldest_unsealed() RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM immiiq.seal_state)
        THEN (SELECT min(e.at) FROM immiiq.seal_state AS s
                JOIN immiiq.entry AS e ON e.incarnation = s.incarnation AND (e.txid >= s.horizon OR e.txid = ANY (s.open)))
        ELSE (SELECT min(e.at) FROM (SELECT l.at FROM immiiq.entry AS l LIMIT 1000) AS e) END
$$;
COMMENT ON FUNCTION immiiq.oldest_unsealed() IS 'when the oldest entry was made that has no place in the log yet; null when all have';
REVOKE ALL ON FUNCTION immiiq.oldest_unsealed() FROM PUBLIC;

-- One row a check. Every query here reads catalogs or small tables: no check grows with the data.
-- Settings of a role or of the database count, too: whoever looks here has others.
CREATE FUNCTION immiiq.where_off(setting text) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT string_agg(w.place, ', ' ORDER BY w.place) FROM (
            SELECT 'in this session' AS place WHERE NOT current_setting(setting)::boolean
            UNION ALL
            SELECT coalesce(nullif(concat_ws(' ', 'for ' || r.rolname, 'in database ' || b.datname), ''), 'for every role')
            FROM pg_db_role_setting AS d LEFT JOIN pg_roles AS r ON r.oid = d.setrole LEFT JOIN pg_database AS b ON b.oid = d.setdatabase
                CROSS JOIN LATERAL unnest(d.setconfig) AS s (setting)
            WHERE (d.setdatabase = 0 OR b.datname = current_database()) AND split_part(s.setting, '=', 1) = where_off.setting AND NOT split_part(s.setting, '=', 2)::boolean
        ) AS w
    $$;
COMMENT ON FUNCTION immiiq.where_off(text) IS 'where a setting of immiiq''s is off: in this session, for which roles, in which database; null when nowhere';
REVOKE ALL ON FUNCTION immiiq.where_off(text) FROM PUBLIC;

CREATE FUNCTION immiiq.doctor() RETURNS TABLE (check_name text, status text, detail text, hint text)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standby constant boolean := pg_is_in_recovery();
    library record;
    installed text;
    ring record;
    org uuid;
    found text;
    worst text;
    number bigint;
    total bigint;
    oldest timestamptz;
    -- Whatever protect() knows, whatever has its policies, and the directory.
    guarded constant oid[] := ARRAY(
        SELECT p.relid::oid FROM immiiq.protection AS p JOIN pg_class AS c ON c.oid = p.relid
        UNION SELECT l.polrelid FROM pg_policy AS l WHERE l.polname = 'immiiq_select'
        UNION SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'immiiq'::regnamespace
            AND c.relname IN ('org', 'team', 'member', 'team_member', 'role_template', 'permission_group', 'member_permission_group', 'assignment'));
BEGIN
    -- The library.
    SELECT * INTO library FROM immiiq.library_status();
    IF library.preloaded THEN
        RETURN QUERY SELECT 'preloaded', 'ok', 'the server loaded immiiq at its start', NULL;
    ELSE
        RETURN QUERY SELECT 'preloaded', 'fail', 'immiiq was not loaded when the server started',
            'Add shared_preload_libraries = ''immiiq'' to postgresql.conf and restart the server.';
    END IF;

    SELECT e.extversion INTO installed FROM pg_extension AS e WHERE e.extname = 'immiiq';
    IF installed = library.version THEN
        RETURN QUERY SELECT 'version', 'ok', format('library and extension are %s', installed), NULL;
    ELSE
        RETURN QUERY SELECT 'version', 'fail', format('the library is %s, the extension %s', library.version, installed),
            'Install the library of the same version and restart the server, or run ALTER EXTENSION immiiq UPDATE.';
    END IF;

    IF standby THEN
        RETURN QUERY SELECT 'standby', 'warning', 'this server is a hot standby: it records denials in the server log only',
            'Collect the server log of every standby; operate() and everything that writes need the primary.';
    ELSE
        RETURN QUERY SELECT 'standby', 'ok', 'this server is a primary', NULL;
    END IF;

    -- Keys.
    IF library.preloaded THEN
        SELECT string_agg(CASE WHEN NOT k.loaded THEN format('root key %s has been used here and is not loaded', k.root_id)
                               WHEN NOT k.matches THEN format('root key %s is not the one that was used here', k.root_id) END, '; ')
            INTO found
            FROM immiiq.keyring_status() AS k WHERE k.known AND k.matches IS NOT TRUE;
        IF NOT EXISTS (SELECT FROM immiiq.keyring_status() AS k WHERE k.loaded AND k.current) THEN
            RETURN QUERY SELECT 'root_key', 'fail', coalesce(immiiq.keyring_problem(), 'no root key is loaded'),
                'Set immiiq.root_key_file or immiiq.root_key_command, then run SELECT pg_reload_conf().';
        ELSIF found IS NOT NULL THEN
            RETURN QUERY SELECT 'root_key', 'fail', found, 'Put the missing root key back into the key file, above the current one.';
        ELSIF immiiq.keyring_problem() IS NOT NULL THEN
            RETURN QUERY SELECT 'root_key', 'warning', format('the last reload was refused: %s', immiiq.keyring_problem()),
                'The server works with the root keys that it had; mend the file before it restarts.';
        ELSE
            RETURN QUERY SELECT 'root_key', 'ok', format('root key %s is loaded and current', k.root_id), NULL
                FROM immiiq.keyring_status() AS k WHERE k.loaded AND k.current;
        END IF;

        number := 0;
        total := 0;
        FOR org IN SELECT o.org_id FROM immiiq.org AS o ORDER BY o.org_id LIMIT 1000 LOOP
            total := total + 1;
            BEGIN
                PERFORM immiiq.open_org_keys(org);
            EXCEPTION WHEN OTHERS THEN
                number := number + 1;
                worst := coalesce(worst, format('%s (%s)', org, SQLSTATE));
            END;
        END LOOP;
        IF number = 0 THEN
            RETURN QUERY SELECT 'organisation_keys', 'ok', format('the keys of %s organisations open%s', total,
                CASE WHEN total = 1000 THEN ', the first thousand' ELSE '' END), NULL;
        ELSE
            RETURN QUERY SELECT 'organisation_keys', 'fail', format('the keys of %s of %s organisations do not open, first %s', number, total, worst),
                'IQ002 and IQ003: load the root key under which they were wrapped; make organisations with immiiq.create_org(). IQ004: immiiq.replay_erasures().';
        END IF;

        -- What would tell that this database was restored from before an erasure.
        found := immiiq.ledger_file_problem();
        SELECT coalesce(min(p.problem), found) INTO found FROM immiiq.ledger_pending AS p;
        RETURN QUERY SELECT 'ledger', CASE WHEN found IS NULL THEN 'ok' ELSE 'warning' END, coalesce(found, 'heads of the ledger of erasures are kept beside the root key'),
            CASE WHEN found IS NOT NULL THEN 'Set immiiq.ledger_file to a file in a folder of the server''s user, outside of backups: without it a restored database is not noticed.' END;

        -- The worker and its ring.
        SELECT * INTO ring FROM immiiq.journal_status();
        IF standby THEN
            RETURN QUERY SELECT 'worker', 'warning', 'no worker runs on a standby', 'It starts after promotion.';
        ELSIF ring.launcher_pid IS NULL THEN
            RETURN QUERY SELECT 'worker', 'fail', 'the launcher does not run', 'See the server log; max_worker_processes may be too small.';
        ELSIF ring.worker_pid IS NOT NULL THEN
            RETURN QUERY SELECT 'worker', 'ok', format('the worker of this database runs as process %s', ring.worker_pid), NULL;
        ELSIF ring.state = 'not listed' THEN
            RETURN QUERY SELECT 'worker', 'fail', 'immiiq.databases does not name this database: nothing is sealed, operate() refuses',
                'Add the database to immiiq.databases, or set it to *, and run SELECT pg_reload_conf().';
        ELSE
            RETURN QUERY SELECT 'worker', 'fail', format('this database has no worker (state %s)', ring.state),
                'It should start within a second; see the server log, and raise max_worker_processes if it is exhausted.';
        END IF;

        IF ring.lost > 0 THEN
            RETURN QUERY SELECT 'journal', 'warning', format('%s events found no room since the server started; %s wait now', ring.lost, ring.depth),
                'The journal has rows with action ''lost'' that say when. Look for a lock on immiiq.journal, or for who floods it.';
        ELSIF ring.depth > ring.capacity / 2 THEN
            RETURN QUERY SELECT 'journal', 'warning', format('%s of %s places in the ring are taken', ring.depth, ring.capacity),
                'The worker does not keep up: look for a lock on immiiq.journal, or for errors in the server log.';
        ELSIF EXISTS (
            SELECT FROM (SELECT clock_timestamp() - nullif(current_setting('immiiq.journal_keep'), '')::interval - interval '1 day' AS at) AS due,
                LATERAL (SELECT j.org_id FROM immiiq.journal AS j WHERE j.at < due.at
                    UNION ALL SELECT a.org_id FROM immiiq.sign_in_attempt AS a WHERE a.at < due.at
                    UNION ALL SELECT o.org_id FROM immiiq.field_opened AS o WHERE o.at < due.at
                    UNION ALL SELECT d.org_id FROM immiiq.known_device AS d WHERE d.last_seen_at < due.at
                    UNION ALL SELECT e.org_id FROM immiiq.document_event AS e WHERE e.at < due.at AND immiiq.can_log(e.org_id)
                    UNION ALL SELECT s.org_id FROM immiiq.session AS s WHERE s.expires_at < due.at AND immiiq.can_log(s.org_id)) AS r
            WHERE NOT EXISTS (SELECT FROM immiiq.active_hold AS h WHERE h.org_id = r.org_id))
        THEN
            RETURN QUERY SELECT 'journal', 'warning', format('rows are a day older than immiiq.journal_keep (%s) allows', current_setting('immiiq.journal_keep')),
                'The worker takes them away within hours; see the server log, or run SELECT * FROM immiiq.prune_journal().';
        ELSE
            RETURN QUERY SELECT 'journal', 'ok', format('%s events written since the server started, %s wait, none lost', ring.written, ring.depth), NULL;
        END IF;
    END IF;

    -- Sealing.
    oldest := immiiq.oldest_unsealed();
    IF oldest IS NULL OR oldest > clock_timestamp() - interval '1 minute' THEN
        RETURN QUERY SELECT 'sealing', 'ok', CASE WHEN oldest IS NULL THEN 'every entry is sealed'
                ELSE 'entries without a place in the log are less than a minute old' END, NULL;
    ELSE
        RETURN QUERY SELECT 'sealing', CASE WHEN oldest > clock_timestamp() - interval '1 hour' THEN 'warning' ELSE 'fail' END,
            format('an entry of %s is not sealed', oldest),
            'Run CALL immiiq.seal() and see what it says; a prepared transaction or a restore may hold entries back.';
    END IF;

    -- Anchors: what shows a rewritten log when the superuser has the keys, too.
    IF current_setting('immiiq.anchor_command', true) <> '' THEN
        RETURN QUERY SELECT 'anchor', CASE WHEN s.status = 'failed' THEN 'fail' WHEN s.status = 'never' THEN 'warning' ELSE 'ok' END,
                format('last anchored %s, %s batches wait%s', coalesce(s.succeeded_at::text, 'never'), coalesce(s.batches_waiting, 0),
                    CASE WHEN s.status = 'failed' THEN format('; immiiq.anchor_command: %s', s.failure) ELSE '' END),
                CASE WHEN s.status = 'failed' THEN 'Run the command by hand with a checkpoint on its standard input, as the server''s user.' END
            FROM immiiq.anchor_status AS s;
    END IF;

    -- Tables under protection.
    SELECT count(*), string_agg(format('%s', c.oid::regclass), ', ' ORDER BY c.oid::regclass::text)
        FILTER (WHERE NOT c.relrowsecurity OR NOT c.relforcerowsecurity)
        INTO number, found
        FROM pg_class AS c WHERE c.oid = ANY (guarded);
    IF found IS NULL THEN
        RETURN QUERY SELECT 'row_security', 'ok', format('row security is forced on %s protected tables', number), NULL;
    ELSE
        RETURN QUERY SELECT 'row_security', 'fail', format('row security is off or not forced on %s', found),
            'Run ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY for each.';
    END IF;

    SELECT string_agg(format('%s lacks %s', p.relid, w.name), ', ' ORDER BY p.relid::text, w.name) INTO found
        FROM immiiq.protection AS p
            CROSS JOIN unnest(ARRAY['immiiq_select', 'immiiq_insert', 'immiiq_update', 'immiiq_delete']) AS w (name)
        WHERE EXISTS (SELECT FROM pg_class AS c WHERE c.oid = p.relid)
            AND NOT EXISTS (SELECT FROM pg_policy AS l WHERE l.polrelid = p.relid AND l.polname = w.name);
    SELECT string_agg(format('%s on %s', quote_ident(l.polname), l.polrelid::regclass), ', ' ORDER BY l.polname) INTO worst
        FROM pg_policy AS l
        WHERE l.polrelid = ANY (guarded) AND l.polpermissive
            AND l.polname NOT IN ('immiiq_select', 'immiiq_insert', 'immiiq_update', 'immiiq_delete');
    IF worst IS NOT NULL THEN
        RETURN QUERY SELECT 'policies', 'fail', format('policies that let through more than immiiq''s: %s', worst),
            'Drop them, or make them with AS RESTRICTIVE.';
    ELSIF found IS NOT NULL THEN
        RETURN QUERY SELECT 'policies', 'warning', format('%s: nobody can do this there', found),
            'Run immiiq.unprotect and immiiq.protect again on the table.';
    ELSE
        RETURN QUERY SELECT 'policies', 'ok', 'every protected table has its four policies and no other permissive one', NULL;
    END IF;

    SELECT string_agg(format('%s', g.relid::regclass), ', ' ORDER BY g.relid::regclass::text) INTO found
        FROM unnest(guarded) AS g (relid)
        WHERE NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = g.relid AND t.tgname = '00_immiiq_capture' AND t.tgenabled = 'A'
                              AND t.tgfoid = to_regprocedure('immiiq.capture()'));
    IF found IS NULL THEN
        RETURN QUERY SELECT 'capture', 'ok', 'changes of every protected table are captured, always', NULL;
    ELSE
        RETURN QUERY SELECT 'capture', 'fail', format('changes are not always captured on %s', found),
            'Run ALTER TABLE … ENABLE ALWAYS TRIGGER "00_immiiq_capture" for each.';
    END IF;

    SELECT string_agg(DISTINCT format('%s on %s', t.tgname, t.tgrelid::regclass), ', ') INTO found
        FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE c.relnamespace = 'immiiq'::regnamespace AND NOT t.tgisinternal AND t.tgenabled <> 'A'
            AND t.tgname IN ('guard_log', 'guard_log_row', 'journal_append_only', 'keyring_guard', 'role_grant_changed', 'append_only');
    SELECT concat_ws(', ', found, string_agg(format('event trigger %s', v.evtname), ', ')) INTO found
        FROM pg_event_trigger AS v JOIN pg_depend AS d ON d.classid = 'pg_event_trigger'::regclass AND d.objid = v.oid AND d.deptype = 'e'
            JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'immiiq'
        WHERE v.evtenabled = 'D';
    IF found = '' THEN
        RETURN QUERY SELECT 'guards', 'ok', 'the guards of immiiq''s own tables and of DDL are on', NULL;
    ELSE
        RETURN QUERY SELECT 'guards', 'fail', format('switched off: %s', found),
            'Run ALTER TABLE … ENABLE ALWAYS TRIGGER, or ALTER EVENT TRIGGER … ENABLE.';
    END IF;

    -- Roles that were given to the application.
    SELECT count(DISTINCT r.oid), string_agg(DISTINCT format('%s %s', r.rolname, w.power), ', ') FILTER (WHERE w.power IS NOT NULL)
        INTO number, found
        FROM immiiq.role_grant AS g
            JOIN pg_roles AS r ON pg_has_role(r.oid, g.role::oid, 'MEMBER') AND (NOT r.rolsuper OR r.oid = g.role::oid) AND r.rolcanlogin
            CROSS JOIN LATERAL (SELECT CASE
                WHEN r.rolsuper THEN 'is superuser'
                WHEN r.rolbypassrls THEN 'bypasses row security'
                WHEN r.rolcreaterole THEN 'may create roles, and so become any of them'
                WHEN r.rolreplication THEN 'may replicate, and so read every byte'
                WHEN EXISTS (SELECT FROM pg_class AS c WHERE c.oid = ANY (guarded) AND pg_has_role(r.oid, c.relowner, 'MEMBER'))
                    THEN 'has the powers of an owner of protected tables'
                WHEN EXISTS (SELECT FROM unnest(ARRAY['pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files',
                        'pg_read_all_stats', 'pg_monitor']) AS m (name) WHERE pg_has_role(r.oid, m.name, 'MEMBER'))
                    THEN 'is member of a role that sees past the tables'
                END AS power) AS w
        WHERE g.kind = 'application';
    IF found IS NOT NULL THEN
        RETURN QUERY SELECT 'application_roles', 'fail', found, 'Let the application connect as a role that has none of these powers.';
    ELSIF number = 0 THEN
        RETURN QUERY SELECT 'application_roles', 'warning', 'no role was given to an application',
            'Run SELECT immiiq.grant_application(''role'').';
    ELSE
        RETURN QUERY SELECT 'application_roles', 'ok', format('%s roles, none with powers that row security does not bind', number), NULL;
    END IF;

    -- The server.
    RETURN QUERY SELECT 'data_checksums',
        CASE WHEN current_setting('data_checksums')::boolean THEN 'ok' ELSE 'warning' END,
        format('data checksums are %s', current_setting('data_checksums')),
        CASE WHEN NOT current_setting('data_checksums')::boolean THEN 'Stop the server and run pg_checksums --enable.' END;

    SELECT string_agg(format('%s = off', s), ', ') INTO found
        FROM unnest(ARRAY['fsync', 'full_page_writes', 'synchronous_commit']) AS s
        WHERE current_setting(s) = 'off';
    RETURN QUERY SELECT 'durability', CASE WHEN found IS NULL THEN 'ok' ELSE 'warning' END,
        coalesce(found, 'a commit is on disk when it is answered'),
        CASE WHEN found IS NOT NULL THEN 'Set them to on: what was acknowledged may be lost in a crash.' END;

    RETURN QUERY SELECT 'transport',
        CASE WHEN current_setting('listen_addresses') = '' OR current_setting('ssl')::boolean THEN 'ok' ELSE 'warning' END,
        CASE WHEN current_setting('listen_addresses') = '' THEN 'the server listens on local sockets only'
             WHEN current_setting('ssl')::boolean THEN 'TLS is on'
             ELSE format('the server listens on %s without TLS', current_setting('listen_addresses')) END,
        CASE WHEN current_setting('listen_addresses') <> '' AND NOT current_setting('ssl')::boolean
             THEN 'Set ssl = on, and use hostssl lines in pg_hba.conf: tokens and values pass in clear.' END;

    SELECT string_agg(format('%s = %s', s.name, current_setting(s.name)), ', ') INTO found
        FROM (VALUES ('log_parameter_max_length_on_error', '0'), ('log_statement', 'none,ddl'), ('debug_print_parse', 'off'),
                     ('debug_print_rewritten', 'off'), ('debug_print_plan', 'off'), ('log_min_duration_statement', '-1'),
                     ('log_min_duration_sample', '-1'), ('log_transaction_sample_rate', '0')) AS s (name, quiet)
        WHERE current_setting(s.name) <> ALL (string_to_array(s.quiet, ','));
    RETURN QUERY SELECT 'log_settings', CASE WHEN found IS NULL THEN 'ok' ELSE 'warning' END,
        coalesce('statements or parameters may be logged: ' || found, 'the server log gets neither statements nor parameters by itself'),
        CASE WHEN found IS NOT NULL THEN 'Transactions with an identity are redacted; statements outside of one are not.' END;

    IF current_setting('log_min_messages') IN ('fatal', 'panic', 'log') THEN
        RETURN QUERY SELECT 'log_level', 'warning', format('log_min_messages = %s: a client may hear of an error before the journal has it',
            current_setting('log_min_messages')), 'Set log_min_messages to error or lower.';
    ELSE
        RETURN QUERY SELECT 'log_level', 'ok', 'a denial is in the journal before the client hears of it', NULL;
    END IF;

    SELECT string_agg(format('%s is off %s', s.name, immiiq.where_off(s.name)), '; ') INTO found
        FROM unnest(ARRAY['immiiq.record_denials', 'immiiq.record_field_access']) AS s (name) WHERE immiiq.where_off(s.name) IS NOT NULL;
    RETURN QUERY SELECT 'recording', CASE WHEN found IS NULL THEN 'ok' ELSE 'warning' END, coalesce(found, 'denials and opened fields are recorded everywhere'),
        CASE WHEN found IS NOT NULL THEN 'What happens there leaves no trace: RESET the setting with ALTER SYSTEM, ALTER DATABASE or ALTER ROLE.' END;
END
$$;
COMMENT ON FUNCTION immiiq.doctor() IS 'one row a check: ok, warning or fail, what was found and what to do';
REVOKE ALL ON FUNCTION immiiq.doctor() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.doctor()'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.doctor()');

-- A restore takes rows as they are (docs/posture.md): this looks at every foreign key to immiiq's own tables, and so grows with the data.
CREATE FUNCTION immiiq.verify_references() RETURNS TABLE (target regclass, "constraint" name, missing bigint)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reference record;
BEGIN
    FOR reference IN
        SELECT c.conrelid::regclass AS relation, c.confrelid::regclass AS referenced, c.conname,
            string_agg(format('r.%I OPERATOR(pg_catalog.=) f.%I', f.attname, a.attname), ' AND ' ORDER BY k.n) AS same,
            string_agg(format('f.%I IS NOT NULL', a.attname), ' AND ' ORDER BY k.n) AS whole
        FROM pg_constraint AS c
            CROSS JOIN unnest(c.conkey, c.confkey) WITH ORDINALITY AS k (col, referenced, n)
            JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.col
            JOIN pg_attribute AS f ON f.attrelid = c.confrelid AND f.attnum = k.referenced
        JOIN pg_class AS p ON p.oid = c.confrelid
        WHERE c.contype = 'f' AND c.conparentid = 0 AND p.relnamespace = 'immiiq'::regnamespace
        GROUP BY c.oid, c.conrelid, c.confrelid, c.conname
        ORDER BY c.conrelid::regclass::text, c.conname
    LOOP
        target := reference.relation;
        "constraint" := reference.conname;
        EXECUTE format('SELECT count(*) FROM %s AS f WHERE %s AND NOT EXISTS (SELECT FROM %s AS r WHERE %s)',
            reference.relation, reference.whole, reference.referenced, reference.same) INTO missing;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.verify_references() IS 'for each foreign key to immiiq''s tables, how many rows refer to what is not there';
REVOKE ALL ON FUNCTION immiiq.verify_references() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.verify_references()'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.verify_references()');

-- ---- DROP EXTENSION ----

-- Columns of an enc type, of an array or a domain of one, or of a composite type that has one; partitions follow their table.
CREATE FUNCTION immiiq.sealed_columns() RETURNS TABLE (relation regclass, column_name name)
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE own AS (
        SELECT d.classid, d.objid FROM pg_depend AS d JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
        WHERE e.extname = 'immiiq' AND d.deptype = 'e'
    ), sealed AS (
        SELECT o.objid AS oid FROM own AS o JOIN pg_type AS t ON t.oid = o.objid WHERE o.classid = 'pg_type'::regclass AND t.typname LIKE 'enc\_%' AND t.typtype = 'b'
        UNION
        SELECT t.oid FROM sealed AS s CROSS JOIN pg_type AS t
        WHERE (t.typtype = 'b' AND t.typelem = s.oid) OR (t.typtype = 'd' AND t.typbasetype = s.oid)
            OR (t.typtype = 'c' AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.atttypid = s.oid AND NOT a.attisdropped))
    )
    SELECT a.attrelid::regclass, a.attname
    FROM sealed AS s JOIN pg_attribute AS a ON a.atttypid = s.oid JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition
        AND NOT EXISTS (SELECT FROM own AS o WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid)
    ORDER BY c.oid::regclass::text, a.attnum
$$;
COMMENT ON FUNCTION immiiq.sealed_columns() IS 'the application''s columns that hold sealed values';
REVOKE ALL ON FUNCTION immiiq.sealed_columns() FROM PUBLIC;

CREATE FUNCTION immiiq.before_drop(by_force boolean) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shown constant int := 50;
    columns text[] := ARRAY(SELECT format('%s.%I', c.relation, c.column_name) FROM immiiq.sealed_columns() AS c);
    lost text;
BEGIN
    SELECT format('organisations: %s, with their keys: what is sealed under them, in backups and exports too, can be opened by nobody then; log entries: %s; members: %s; sessions: %s; holds: %s.',
            (SELECT count(*) FROM immiiq.org), (SELECT coalesce(sum(t.size), 0) FROM immiiq.tree AS t WHERE t.org_id <> '00000000-0000-0000-0000-000000000000'), (SELECT count(*) FROM immiiq.member),
            (SELECT count(*) FROM immiiq.session), (SELECT count(*) FROM immiiq.hold AS h WHERE h.released_at IS NULL)) INTO lost;
    IF cardinality(columns) > 0 THEN
        lost := format('sealed columns: %s (%s); ', cardinality(columns),
            array_to_string(columns[:shown], ', ') || CASE WHEN cardinality(columns) > shown THEN ', …' ELSE '' END) || lost;
    END IF;
    IF cardinality(columns) > 0 AND NOT by_force THEN
        RAISE EXCEPTION 'extension immiiq cannot be dropped while columns hold sealed values'
            USING ERRCODE = 'dependent_objects_still_exist', DETAIL = 'Lost with it: ' || lost,
                HINT = 'To keep the values, copy them into plain columns, organisation by organisation (immiiq.operate), and drop the sealed ones. DROP EXTENSION immiiq CASCADE drops them with their values.';
    ELSIF cardinality(columns) > 0 OR EXISTS (SELECT FROM immiiq.org) THEN
        RAISE WARNING 'extension immiiq is dropped with everything that it holds'
            USING DETAIL = 'Lost with it: ' || lost, HINT = 'Only a dump or a backup from before brings it back, together with the root key.';
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.before_drop(boolean) IS 'DROP EXTENSION: says what would be lost, and refuses sealed columns unless CASCADE was said';
REVOKE ALL ON FUNCTION immiiq.before_drop(boolean) FROM PUBLIC;
