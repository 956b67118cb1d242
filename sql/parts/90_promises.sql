-- immiiq.posture: every promise, and whether it holds now. What doctor() and the advisor find is taken from them; the rest is read here.

-- ---- what the database cannot see: who says so, and until when ----

CREATE TABLE immiiq.attestation (
    attestation_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    control text NOT NULL,
    holds boolean NOT NULL,
    statement text NOT NULL CHECK (pg_catalog.btrim(statement) OPERATOR(pg_catalog.<>) ''),
    until timestamptz NOT NULL,
    attested_by name NOT NULL DEFAULT session_user,
    attested_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    CHECK (until OPERATOR(pg_catalog.<=) (attested_at OPERATOR(pg_catalog.+) interval '400 days'))
);
COMMENT ON TABLE immiiq.attestation IS 'what an operator says of controls that the database cannot see; the last row of a control counts, until it ends';

CREATE TABLE immiiq.backup (
    backup_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (pg_catalog.btrim(kind) OPERATOR(pg_catalog.<>) ''),
    finished timestamptz NOT NULL,
    restore_tested boolean NOT NULL,
    restore_took interval CHECK (restore_took OPERATOR(pg_catalog.>) interval '0'),
    encrypted boolean NOT NULL,
    recorded_by name NOT NULL DEFAULT session_user,
    recorded_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    CHECK (finished OPERATOR(pg_catalog.<=) recorded_at),
    CHECK (restore_took IS NULL OR restore_tested)
);
COMMENT ON TABLE immiiq.backup IS 'backups that were made, and restores that were rehearsed, as whoever makes them recorded';
COMMENT ON COLUMN immiiq.backup.restore_took IS 'from the order to restore until the database answered';

CREATE TABLE immiiq.verification (
    verification_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    size int8 NOT NULL,
    problems int8 NOT NULL,
    warnings int8 NOT NULL DEFAULT 0,
    worst text,
    verified_by name NOT NULL DEFAULT session_user
);
COMMENT ON TABLE immiiq.verification IS 'runs of immiiq.record_verification: how large the log was, and what was found in it';
COMMENT ON COLUMN immiiq.verification.problems IS 'findings of severity error';
COMMENT ON COLUMN immiiq.verification.warnings IS 'what could not be checked or is late: keys that were destroyed, tables that were dropped';
COMMENT ON COLUMN immiiq.verification.worst IS 'the first error, or else the first warning';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['attestation', 'backup', 'verification'] LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON immiiq.%I FROM PUBLIC', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.%I
            FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_change()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER append_only', name);
        PERFORM pg_catalog.pg_extension_config_dump('immiiq.' OPERATOR(pg_catalog.||) name, '');
        PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('immiiq.%1$s_%1$s_id_seq', name), '');
        INSERT INTO immiiq.privilege
        SELECT kind, 'SELECT', 'TABLE immiiq.' OPERATOR(pg_catalog.||) name FROM pg_catalog.unnest(ARRAY['auditor', 'operator']) AS kind;
    END LOOP;
END
$$;

CREATE FUNCTION immiiq.attest(control text, statement text, until timestamptz, holds boolean DEFAULT true) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM immiiq.attested_control AS c WHERE c.control = attest.control) THEN
        RAISE EXCEPTION 'no such control' USING ERRCODE = 'invalid_parameter_value', HINT = 'immiiq.attested_control lists what can be attested.';
    END IF;
    INSERT INTO immiiq.attestation (control, statement, until, holds) VALUES (control, statement, until, holds) RETURNING attestation_id INTO id;
    PERFORM immiiq.record_event('attest', NULL, NULL, control, jsonb_build_object('attestation_id', id, 'holds', holds, 'until', until));
    RETURN id;
END
$$;
COMMENT ON FUNCTION immiiq.attest(text, text, timestamptz, boolean) IS 'an operator''s word on a control that the database cannot see; at most for 400 days, and recorded in the log';

CREATE FUNCTION immiiq.record_backup(kind text, finished timestamptz, restore_tested boolean, restore_took interval DEFAULT NULL, encrypted boolean DEFAULT false)
    RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id bigint;
BEGIN
    INSERT INTO immiiq.backup (kind, finished, restore_tested, restore_took, encrypted)
    VALUES (kind, finished, restore_tested, restore_took, encrypted) RETURNING backup_id INTO id;
    PERFORM immiiq.record_event('backup', NULL, NULL, kind, jsonb_build_object('backup_id', id, 'finished', finished, 'restore_tested', restore_tested));
    RETURN id;
END
$$;
COMMENT ON FUNCTION immiiq.record_backup(text, timestamptz, boolean, interval, boolean) IS
    'notes a backup, whether a restore of it was rehearsed and how long that took; for the script that makes backups';

CREATE FUNCTION immiiq.record_verification() RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    began constant timestamptz := clock_timestamp();
    large constant bigint := coalesce((SELECT max(h.size) FROM immiiq.tree_head AS h), 0);
    errors bigint;
    warnings bigint;
    worst text;
BEGIN
    SELECT count(*) FILTER (WHERE v.severity = 'error'), count(*) FILTER (WHERE v.severity <> 'error'), (array_agg(v.problem ORDER BY v.severity <> 'error', v.ord))[1]
        INTO errors, warnings, worst FROM immiiq.verify_audit() WITH ORDINALITY AS v (severity, org_id, "position", problem, ord);
    INSERT INTO immiiq.verification (started_at, finished_at, size, problems, warnings, worst) VALUES (began, clock_timestamp(), large, errors, warnings, worst);
    RETURN errors;
END
$$;
COMMENT ON FUNCTION immiiq.record_verification() IS 'verifies the whole log, notes when and what was found, and returns the number of errors; verify_audit() shows them, and warnings';
REVOKE ALL ON FUNCTION immiiq.attest(text, text, timestamptz, boolean), immiiq.record_backup(text, timestamptz, boolean, interval, boolean),
    immiiq.record_verification() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('operator', 'EXECUTE', 'FUNCTION immiiq.attest(text, text, timestamptz, boolean)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.record_backup(text, timestamptz, boolean, interval, boolean)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.record_verification()'),
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.record_verification()');

CREATE VIEW immiiq.attested_control AS
SELECT c.control, c.title FROM (VALUES
    ('storage_encryption', 'volumes, WAL archive and backups are encrypted at rest'),
    ('region', 'data stays in the region that was promised'),
    ('zones', 'standby servers run in another zone'),
    ('channel_binding', 'clients connect with channel_binding=require and verify the server''s certificate'),
    ('snapshots', 'volumes are snapshot daily'),
    ('backup_retention', 'backups are deleted after 30 days, and within the backup window that erasure counts on'),
    ('private_buckets', 'buckets refuse every request that is not signed'),
    ('breach_plan', 'somebody is named who notifies those affected, and has rehearsed it'),
    ('identity_clients', 'redirect addresses and secrets at the identity providers are the tier''s own'),
    ('cors', 'the web tier answers other origins only where it must'),
    ('headers', 'the web tier sets Content-Security-Policy, HSTS and the other security headers, Permissions-Policy too'),
    ('edge', 'something in front of the web tier absorbs floods and refuses known attacks')
) AS c (control, title);
COMMENT ON VIEW immiiq.attested_control IS 'controls that no database can see; immiiq.attest tells of them';

-- ---- functions are as they were installed ----

CREATE TABLE immiiq.installed_function (
    signature text COLLATE "C" NOT NULL PRIMARY KEY,
    name name NOT NULL,
    digest bytea NOT NULL
);
COMMENT ON TABLE immiiq.installed_function IS 'immiiq''s functions as the install script made them';
REVOKE ALL ON immiiq.installed_function FROM PUBLIC;

-- Whom a function runs for, and what it does; not its privileges, which are looked at by themselves.
CREATE FUNCTION immiiq.function_digest(function oid) RETURNS bytea
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sha256(convert_to(jsonb_build_array(p.proname, p.prosrc, p.probin, pg_get_function_sqlbody(p.oid), l.lanname, p.prosecdef, p.proleakproof, p.proisstrict, p.provolatile, p.proparallel,
        p.proconfig, pg_get_userbyid(p.proowner) = pg_get_userbyid(e.extowner))::text, 'UTF8'))
    FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang, pg_extension AS e
    WHERE p.oid = function AND e.extname = 'immiiq'
$$;
COMMENT ON FUNCTION immiiq.function_digest(oid) IS 'SHA-256 of what a function is and does';

CREATE FUNCTION immiiq.note_functions() RETURNS void
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM immiiq.installed_function;
    INSERT INTO immiiq.installed_function
    SELECT p.oid::regprocedure::text, p.proname, immiiq.function_digest(p.oid)
    FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'immiiq';
$$;
COMMENT ON FUNCTION immiiq.note_functions() IS 'the last step of the install script and of every update: notes what immiiq''s functions are';
REVOKE ALL ON FUNCTION immiiq.function_digest(oid), immiiq.note_functions() FROM PUBLIC;

-- What is wrong with functions: gone, other than installed, for everybody, or withheld from a role that was given them.
CREATE FUNCTION immiiq.function_problems() RETURNS TABLE (name text, problem text)
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    WITH installed AS MATERIALIZED (SELECT f.name::text AS name, f.digest, to_regprocedure(f.signature)::oid AS oid, f.signature FROM immiiq.installed_function AS f)
    SELECT i.name, format('%s is missing', i.signature) FROM installed AS i WHERE i.oid IS NULL
    UNION ALL
    SELECT i.name, format('%s is not as installed', i.signature) FROM installed AS i WHERE immiiq.function_digest(i.oid) <> i.digest
    UNION ALL
    SELECT i.name, format('PUBLIC may call %s', i.signature)
    FROM installed AS i JOIN pg_proc AS p ON p.oid = i.oid
    WHERE p.prosecdef AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a WHERE a.grantee = 0)
    UNION ALL
    SELECT i.name, format('%s may not call %s', r.rolname, i.signature)
    FROM (SELECT v.kind, to_regprocedure(substr(v.object, 10))::oid AS oid FROM immiiq.privilege AS v WHERE v.object LIKE 'FUNCTION %' OFFSET 0) AS v
        JOIN installed AS i ON i.oid = v.oid
        JOIN immiiq.role_grant AS g ON g.kind = v.kind
        JOIN pg_roles AS r ON r.oid = g.role::oid
    WHERE NOT has_function_privilege(r.oid, i.oid, 'EXECUTE')
$$;
COMMENT ON FUNCTION immiiq.function_problems() IS 'what is wrong with immiiq''s functions; used by immiiq.posture';
REVOKE ALL ON FUNCTION immiiq.function_problems() FROM PUBLIC;

-- ---- controls: one row each, read from the live database ----

CREATE FUNCTION immiiq.inspect_controls() RETURNS TABLE (control text, title text, status text, evidence text)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this constant timestamptz := clock_timestamp();
    checks constant jsonb := (SELECT jsonb_object_agg(d.check_name, jsonb_build_array(d.status, d.detail)) FROM immiiq.doctor() AS d);
    -- Sockets of this machine are no network.
    networked constant boolean := current_setting('listen_addresses') <> '';
    number bigint;
    total bigint;
    found text;
    other text;
    seen record;
BEGIN
    -- Of the installation.
    RETURN QUERY SELECT c.control, c.title,
            CASE WHEN bool_and(checks -> k.name ->> 0 = 'ok') THEN 'holds'
                 WHEN bool_or(checks -> k.name ->> 0 = 'fail' OR checks -> k.name ->> 0 = 'warning' AND k.name NOT IN ('application_roles', 'worker')) THEN 'fails'
                 ELSE 'unknown' END,
            string_agg(coalesce(checks -> k.name ->> 1, format('immiiq.doctor() did not look at %s', k.name)), '; ' ORDER BY k.ord)
        FROM (VALUES
            ('loaded', 'the server runs the library that the extension is of', ARRAY['preloaded', 'version']),
            ('root_key', 'the root keys in use are loaded', ARRAY['root_key']),
            ('organisation_keys', 'keys of organisations open', ARRAY['organisation_keys']),
            ('worker', 'refusals outlive a rollback and are written', ARRAY['worker', 'journal', 'log_level']),
            ('sealing', 'entries get their place in the log at once', ARRAY['sealing']),
            ('row_security', 'row security is forced with immiiq''s policies only', ARRAY['row_security', 'policies']),
            ('capture', 'every change of a protected table is captured', ARRAY['capture']),
            ('guards', 'append-only tables and DDL are guarded', ARRAY['guards']),
            ('application_roles', 'no role of the application stands above row security', ARRAY['application_roles']),
            ('checksums', 'pages carry checksums', ARRAY['data_checksums']),
            ('durability', 'what was acknowledged survives a crash', ARRAY['durability']),
            ('server_log', 'the server log gets no statements or parameters', ARRAY['log_settings'])
        ) AS c (control, title, names) CROSS JOIN unnest(c.names) WITH ORDINALITY AS k (name, ord)
        GROUP BY c.control, c.title;

    -- Of the schema.
    SELECT count(*) FILTER (WHERE a.severity = 'critical') AS critical, count(*) FILTER (WHERE a.severity = 'warning') AS warning,
           count(*) FILTER (WHERE a.finding LIKE '%looks personal and is not sealed') AS personal,
           string_agg(format('%s: %s', a.object, a.finding), '; ') FILTER (WHERE a.severity = 'critical') AS worst,
           string_agg(DISTINCT format('%s: %s', a.object, a.finding), '; ') FILTER (WHERE a.finding LIKE '%looks personal and is not sealed') AS columns
        INTO seen FROM immiiq.advise() AS a;
    RETURN QUERY VALUES
        ('schema', 'the schema has no hole', CASE WHEN seen.critical = 0 THEN 'holds' ELSE 'fails' END,
            format('immiiq.advisor: %s critical, %s warnings', seen.critical, seen.warning) || coalesce(': ' || left(seen.worst, 400), '')),
        ('personal_columns', 'columns that look personal are sealed', CASE WHEN seen.personal = 0 THEN 'holds' ELSE 'fails' END,
            coalesce(left(seen.columns, 400), 'no column looks personal and is not sealed'));
    SELECT count(*) FILTER (WHERE t.protected) AS protected, count(*) AS every, count(*) FILTER (WHERE t.module IS NOT NULL) AS modules,
           count(*) FILTER (WHERE t.client IS NOT NULL OR t.team IS NOT NULL OR t.assignee IS NOT NULL) AS scoped, count(*) FILTER (WHERE t.office IS NOT NULL) AS offices
        INTO seen FROM immiiq.advisor_table AS t WHERE NOT t.relispartition;
    RETURN QUERY VALUES
        ('coverage', 'tables of organisations are protected', CASE WHEN seen.protected > 0 THEN 'holds' ELSE 'unknown' END,
            format('%s of %s tables are protected', seen.protected, seen.every)),
        ('scopes', 'tables name whose a row is: client, team or assignee', CASE WHEN seen.scoped > 0 THEN 'holds' ELSE 'unknown' END,
            format('%s of %s protected tables narrow by scope; members: %s', seen.scoped, seen.protected,
                coalesce((SELECT string_agg(format('%s %s', m.n, m.scope), ', ' ORDER BY m.scope) FROM (SELECT e.scope, count(*) AS n FROM immiiq.member AS e WHERE e.active GROUP BY e.scope) AS m), 'none'))),
        ('modules', 'tables belong to modules', CASE WHEN seen.modules > 0 THEN 'holds' ELSE 'unknown' END,
            format('%s of %s protected tables belong to a module', seen.modules, seen.protected)),
        ('offices', 'tables name the office', CASE WHEN seen.offices > 0 THEN 'holds' ELSE 'unknown' END,
            format('%s protected tables name an office; %s offices', seen.offices, (SELECT count(*) FROM immiiq.team AS t WHERE t.kind = 'office')));

    -- Keys and sealed columns.
    SELECT count(*), string_agg(format('%s', o.org_id), ', ' ORDER BY o.org_id) FILTER (WHERE k.purposes IS NULL OR NOT k.purposes @> ARRAY['data', 'index', 'audit'])
        INTO total, found
        FROM immiiq.org AS o
            LEFT JOIN (SELECT w.org_id, array_agg(w.purpose) AS purposes FROM immiiq.wrapped_key AS w GROUP BY w.org_id) AS k ON k.org_id = o.org_id
        WHERE o.active;
    RETURN QUERY SELECT 'own_keys', 'every organisation has a data, index and audit key of its own',
        CASE WHEN found IS NOT NULL THEN 'fails' WHEN total > 0 THEN 'holds' ELSE 'unknown' END,
        CASE WHEN found IS NULL THEN format('%s organisations, each with its keys', total) ELSE format('without all of their keys: %s', left(found, 400)) END;
    SELECT count(*), count(*) FILTER (WHERE NOT t.protected) INTO total, number
        FROM immiiq.advisor_table AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE immiiq.holds_sealed(a.atttypid) AND NOT t.relispartition;
    RETURN QUERY SELECT 'sealed_columns', 'sensitive columns are of sealed types, on protected tables',
        CASE WHEN number > 0 THEN 'fails' WHEN total > 0 THEN 'holds' ELSE 'unknown' END,
        format('%s sealed columns, %s on tables that are not protected', total, number);
    SELECT string_agg(DISTINCT format('%s.%I', t.relation, a.attname), ', ') FILTER (WHERE NOT EXISTS (
               SELECT FROM pg_index AS i WHERE i.indrelid = t.oid AND i.indisvalid AND a.attnum = ANY (i.indkey))), count(*)
        INTO found, total
        FROM immiiq.advisor_table AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE t.protected AND immiiq.holds_sealed(a.atttypid) AND format_type(a.atttypid, a.atttypmod) ~ '\m(equality|fold|prefix|match|range|contains)\M';
    SELECT count(*) INTO number
        FROM pg_operator AS o JOIN pg_proc AS p ON p.oid = o.oprcode
            JOIN pg_type AS t ON t.oid = o.oprleft AND t.oid = o.oprright AND t.typnamespace = 'pg_catalog'::regnamespace AND t.typname LIKE 'enc\_%\_base'
        WHERE o.oprname IN ('=', '<>') AND NOT p.proleakproof;
    RETURN QUERY SELECT 'search_indexes', 'searches of sealed columns go by an index, under row security too',
        CASE WHEN found IS NOT NULL OR number > 0 THEN 'fails' WHEN total > 0 THEN 'holds' ELSE 'unknown' END,
        CASE WHEN number > 0 THEN format('%s operators of sealed types are not leakproof', number)
             ELSE coalesce('searchable and without an index: ' || left(found, 400), format('%s searchable columns, each in an index', total)) END;
    SELECT count(*) FILTER (WHERE r.problem IS NOT NULL), count(*), max(r.problem) INTO number, total, found FROM immiiq.rekey AS r;
    RETURN QUERY SELECT 'rotation', 'rotations of keys end, and destroy the old key',
        CASE WHEN number > 0 THEN 'fails' ELSE 'holds' END,
        format('%s rotations ended, the last %s; %s run%s', count(*), coalesce(max(e.finished_at)::text, 'never'), total, coalesce(': ' || found, ''))
        FROM immiiq.key_event AS e WHERE e.kind = 'rotate';
    SELECT coalesce(sum(r.keys) FILTER (WHERE NOT (r.is_current AND r.loaded)), 0), coalesce(sum(r.keys), 0), max(r.root_id) FILTER (WHERE r.is_current AND r.loaded),
            string_agg(r.root_id, ', ' ORDER BY r.first_used) FILTER (WHERE r.retirable)
        INTO number, total, found, other FROM immiiq.root_epoch AS r;
    RETURN QUERY SELECT 'root_epoch', 'no key is wrapped under a root key that was replaced', CASE WHEN number = 0 THEN 'holds' ELSE 'fails' END,
        format('%s of %s keys are wrapped under another root key than the current one (%s); may be destroyed: %s', number, total, coalesce(found, 'none'), coalesce(left(other, 400), 'none'));
    SELECT string_agg(format('%s.%s', c.relname, w.col), ', ') INTO found
        FROM (VALUES ('secret_version', 'value', 'enc_text'), ('store_credential', 'credentials', 'enc_text'), ('session', 'token_hash', 'bytea'),
                     ('refresh_token', 'token_hash', 'bytea'), ('link', 'token_hash', 'bytea'), ('document_share', 'token_hash', 'bytea')) AS w (rel, col, type)
            LEFT JOIN pg_class AS c ON c.relname = w.rel AND c.relnamespace = 'immiiq'::regnamespace
            LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = w.col AND NOT a.attisdropped
        WHERE a.atttypid::regtype::text IS DISTINCT FROM w.type
            OR w.rel IN ('session', 'refresh_token') AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated
                AND k.conkey = ARRAY[a.attnum] AND pg_get_constraintdef(k.oid) LIKE '%octet_length(token_hash) = 32%');
    RETURN QUERY SELECT 'secrets', 'credentials are sealed, tokens stand there as hashes only', CASE WHEN found IS NULL THEN 'holds' ELSE 'fails' END,
        coalesce('not what they should be: ' || found, format('%s secrets and %s store credentials sealed, %s live sessions as SHA-256',
            (SELECT count(*) FROM immiiq.secret), (SELECT count(*) FROM immiiq.store_credential),
            (SELECT count(*) FROM immiiq.session AS s WHERE s.revoked_at IS NULL AND s.expires_at > this)));

    -- Signing in.
    SELECT count(*), count(*) FILTER (WHERE s.issued_at < this - interval '24 hours' OR s.expires_at > s.issued_at + interval '24 hours'), max(this - s.issued_at)::interval(0)::text
        INTO total, number, found FROM immiiq.session AS s WHERE s.revoked_at IS NULL AND s.expires_at > this;
    RETURN QUERY SELECT 'session_age', 'sessions end after 24 hours',
        CASE WHEN number = 0 AND current_setting('immiiq.session_ttl')::interval <= interval '24 hours'
             AND EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = 'immiiq.session'::regclass AND k.conname = 'session_ttl_check' AND k.convalidated) THEN 'holds' ELSE 'fails' END,
        format('immiiq.session_ttl is %s; %s live sessions, the oldest %s, %s over age', current_setting('immiiq.session_ttl'), total, coalesce(found, 'none'), number);
    SELECT count(*) INTO number FROM (SELECT FROM immiiq.session AS s WHERE s.revoked_at IS NULL AND NOT s.impersonated AND s.member_id IS NOT NULL
        GROUP BY s.org_id, s.member_id HAVING count(*) > 1) AS m;
    RETURN QUERY SELECT 'one_session', 'a member has one session',
        CASE WHEN number = 0 AND EXISTS (SELECT FROM pg_index AS i WHERE i.indexrelid = to_regclass('immiiq.session_one_member_key') AND i.indisunique AND i.indisvalid) THEN 'holds' ELSE 'fails' END,
        format('%s members have more than one', number);
    SELECT count(*), count(*) FILTER (WHERE l.expires_at > l.issued_at + interval '10 minutes') INTO total, number
        FROM immiiq.link AS l WHERE l.kind = 'member' AND l.purpose = 'sign-in' AND l.ended_at IS NULL AND l.expires_at > this;
    RETURN QUERY SELECT 'link_age', 'links to sign in last ten minutes',
        CASE WHEN number = 0 AND current_setting('immiiq.link_ttl')::interval <= interval '10 minutes' THEN 'holds' ELSE 'fails' END,
        format('immiiq.link_ttl is %s; %s live links, %s that last longer', current_setting('immiiq.link_ttl'), total, number);
    SELECT count(*) FILTER (WHERE a.verdict = 'throttled') AS throttled, count(*) FILTER (WHERE a.verdict = 'denied') AS denied, count(*) FILTER (WHERE a.verdict = 'ok') AS ok
        INTO seen FROM immiiq.sign_in_attempt AS a WHERE a.at > this - interval '24 hours';
    RETURN QUERY SELECT 'attempts', 'attempts to sign in are recorded',
        CASE WHEN (SELECT count(*) FROM pg_trigger AS t WHERE t.tgrelid = 'immiiq.journal'::regclass AND NOT t.tgisinternal AND t.tgenabled = 'A'
            AND pg_get_triggerdef(t.oid) LIKE '% INSERT %') >= 2 THEN 'holds' ELSE 'fails' END,
        format('in 24 hours %s succeeded, %s were denied, %s throttled', seen.ok, seen.denied, seen.throttled);
    SELECT count(*) AS every, count(*) FILTER (WHERE immiiq.password_kind(p.hash) = 'argon2id') AS argon, count(*) FILTER (WHERE immiiq.password_kind(p.hash) IS NULL) AS other
        INTO seen FROM immiiq.password AS p;
    RETURN QUERY SELECT 'password_hashes', 'passwords are hashed one way', CASE WHEN seen.other = 0 THEN 'holds' ELSE 'fails' END,
        format('%s passwords, %s of them Argon2id, %s of no known kind', seen.every, seen.argon, seen.other);
    SELECT count(*) INTO number FROM (SELECT FROM immiiq.refresh_token AS r JOIN immiiq.session AS s ON s.session_id = r.session_id
        WHERE r.used_at IS NULL AND s.revoked_at IS NULL GROUP BY r.session_id HAVING count(*) > 1) AS t;
    RETURN QUERY SELECT 'refresh_tokens', 'a session has one refresh token that still works', CASE WHEN number = 0 THEN 'holds' ELSE 'fails' END,
        format('%s sessions have more', number);
    SELECT count(*), count(*) FILTER (WHERE p.updated_at < this - interval '90 days') INTO total, number FROM immiiq.identity_provider AS p WHERE p.active;
    RETURN QUERY SELECT 'providers', 'key sets of identity providers are fresh', CASE WHEN total = 0 THEN 'unknown' WHEN number = 0 THEN 'holds' ELSE 'fails' END,
        format('%s providers, %s with a key set older than 90 days', total, number);
    SELECT count(*) FILTER (WHERE k.signs_from <= this AND k.verifies_until > this), max(k.signs_from)::text INTO number, found FROM immiiq.jwt_key AS k;
    RETURN QUERY SELECT 'jwt_keys', 'a key signs access tokens', CASE WHEN number > 0 THEN 'holds' ELSE 'unknown' END,
        format('%s keys in use, the newest of %s', number, coalesce(found, 'never'));
    RETURN QUERY SELECT 'firewall', 'what PostgreSQL lets everybody do is closed to application roles',
        CASE WHEN current_setting('immiiq.firewall') = 'on' THEN 'holds' ELSE 'fails' END, format('immiiq.firewall is %s', current_setting('immiiq.firewall'));
    RETURN QUERY SELECT 'denials', 'what is refused is recorded',
        CASE WHEN immiiq.where_off('immiiq.record_denials') IS NULL THEN 'holds' ELSE 'fails' END,
        format('immiiq.record_denials is %s; %s denials in 24 hours', coalesce('off ' || immiiq.where_off('immiiq.record_denials'), 'on'),
            (SELECT count(*) FROM immiiq.journal AS j WHERE j.kind = 'denial' AND j.at > this - interval '24 hours'));
    RETURN QUERY SELECT 'field_access', 'who opens sealed values is recorded',
        CASE WHEN immiiq.where_off('immiiq.record_field_access') IS NULL THEN 'holds' ELSE 'fails' END,
        format('immiiq.record_field_access is %s; %s records in 24 hours', coalesce('off ' || immiiq.where_off('immiiq.record_field_access'), 'on'),
            (SELECT count(*) FROM immiiq.field_opened AS f WHERE f.at > this - interval '24 hours'));
    RETURN QUERY SELECT 'reveal', 'sealed fields are masked for who may not reveal them',
        CASE WHEN current_setting('immiiq.require_reveal') = 'on' THEN 'holds' ELSE 'fails' END, format('immiiq.require_reveal is %s', current_setting('immiiq.require_reveal'));

    -- Documents.
    SELECT count(*), max(least(coalesce(s.url_ttl, 1000000), extract(epoch FROM current_setting('immiiq.url_ttl')::interval)))::text,
           count(*) FILTER (WHERE least(coalesce(s.url_ttl, 1000000), extract(epoch FROM current_setting('immiiq.url_ttl')::interval)) > 900)
        INTO total, found, number FROM immiiq.object_store AS s WHERE s.active;
    RETURN QUERY VALUES ('url_age', 'signed URLs last an hour at most',
            CASE WHEN current_setting('immiiq.url_ttl')::interval <= interval '1 hour' THEN 'holds' ELSE 'fails' END, format('immiiq.url_ttl is %s', current_setting('immiiq.url_ttl'))),
        ('store_url_age', 'URLs of every store last 15 minutes at most', CASE WHEN total = 0 THEN 'unknown' WHEN number = 0 THEN 'holds' ELSE 'fails' END,
            format('%s stores; URLs last up to %s seconds, over 15 minutes in %s', total, coalesce(found, '0'), number));
    SELECT count(*), count(*) FILTER (WHERE b.org_id IS DISTINCT FROM s.org_id) INTO total, number
        FROM immiiq.object_store AS s LEFT JOIN immiiq.bucket AS b ON b.place = immiiq.bucket_place(s.endpoint, s.bucket);
    RETURN QUERY SELECT 'own_buckets', 'a bucket belongs to one organisation', CASE WHEN number = 0 THEN 'holds' ELSE 'fails' END,
        format('%s stores, %s with a bucket that is not claimed for their organisation', total, number);

    -- The log.
    RETURN QUERY SELECT 'verified', 'the log was verified within a month, and is whole',
        CASE WHEN v.finished_at IS NULL THEN 'unknown' WHEN v.problems > 0 OR v.finished_at < this - interval '31 days' THEN 'fails' ELSE 'holds' END,
        CASE WHEN v.finished_at IS NULL THEN 'never verified with immiiq.record_verification()'
             ELSE format('last verified %s up to entry %s by %s: %s errors, %s warnings%s', v.finished_at, v.size, v.verified_by, v.problems, v.warnings, ', such as: ' || left(v.worst, 200)) END
        FROM (SELECT) AS one LEFT JOIN LATERAL (SELECT * FROM immiiq.verification AS r ORDER BY r.verification_id DESC LIMIT 1) AS v ON true;
    -- Whole months are pruned, and what was sealed behind a newer month goes a month later; what is under hold stays.
    found := current_setting('immiiq.audit_keep');
    SELECT min(e.month) AS month, min(e.month) FILTER (WHERE NOT EXISTS (SELECT FROM immiiq.active_hold AS h WHERE h.org_id = e.org_id)) AS free
        INTO seen FROM immiiq.entry AS e WHERE found <> '' AND e.month < date_trunc('month', this AT TIME ZONE 'UTC' - nullif(found, '')::interval - interval '1 month');
    RETURN QUERY SELECT 'log_age', 'the log is kept for seven years, and nothing in it is two months older than immiiq.audit_keep',
        CASE WHEN seen.free IS NOT NULL OR found = '' OR this - found::interval NOT BETWEEN this - interval '7 years 1 month' AND this - interval '7 years' THEN 'fails' ELSE 'holds' END,
        format('immiiq.audit_keep is %s; entries that should be gone: %s', coalesce(nullif(found, ''), 'empty, so that nothing ever goes'),
            CASE WHEN seen.free IS NOT NULL THEN format('since %s', seen.free) WHEN seen.month IS NOT NULL THEN format('under hold only, since %s', seen.month) ELSE 'none' END);
    SELECT count(*) FILTER (WHERE j.reason IS NULL OR btrim(j.reason) = ''), count(*) INTO number, total
        FROM immiiq.journal AS j WHERE j.kind = 'operate' AND j.at > this - interval '90 days';
    RETURN QUERY SELECT 'break_glass', 'operators say why, before they see anything', CASE WHEN number = 0 THEN 'holds' ELSE 'fails' END,
        format('in 90 days %s ways in by operators, %s without a reason', total, number);
    SELECT count(*), string_agg(r.rolname, ', ' ORDER BY r.rolname) INTO number, found
        FROM pg_roles AS r WHERE r.rolcanlogin AND (r.rolsuper OR r.rolbypassrls) AND r.oid <> 10;
    RETURN QUERY SELECT 'superusers', 'nobody but the server''s own account stands above row security', CASE WHEN number = 0 THEN 'holds' ELSE 'fails' END,
        coalesce('these may log in: ' || left(found, 400), 'no other role that logs in is superuser or bypasses row security');

    -- Leaving.
    SELECT count(*) FILTER (WHERE e.phase NOT IN ('done', 'cancelled', 'held') AND (e.requested_at < this - interval '30 days' OR e.problem IS NOT NULL)),
           count(*) FILTER (WHERE e.phase = 'done'), string_agg(DISTINCT e.problem, '; ') INTO number, total, found FROM immiiq.erasure AS e;
    RETURN QUERY SELECT 'erasures', 'erasures end within 30 days', CASE WHEN number = 0 THEN 'holds' ELSE 'fails' END,
        format('%s ended, %s are late or stuck', total, number) || coalesce(': ' || left(found, 200), '');
    RETURN QUERY SELECT 'backup_window', 'what was erased is unreadable in backups after 90 days', CASE WHEN current_setting('immiiq.backup_window')::int <= 90 THEN 'holds' ELSE 'fails' END,
        format('immiiq.backup_window is %s days', current_setting('immiiq.backup_window'));

    -- The wire.
    SELECT count(*) FILTER (WHERE s.version IS DISTINCT FROM 'TLSv1.3'), count(*), string_agg(DISTINCT coalesce(s.version, 'none'), ', ') INTO number, total, found
        FROM pg_stat_activity AS a LEFT JOIN pg_stat_ssl AS s ON s.pid = a.pid AND s.ssl WHERE a.client_addr IS NOT NULL;
    RETURN QUERY SELECT 'tls', 'connections by network are TLS 1.3',
        CASE WHEN NOT networked OR number = 0 AND current_setting('ssl')::boolean AND current_setting('ssl_min_protocol_version') = 'TLSv1.3' THEN 'holds' ELSE 'fails' END,
        CASE WHEN networked THEN format('ssl is %s, ssl_min_protocol_version %s; %s connections by network%s', current_setting('ssl'), current_setting('ssl_min_protocol_version'), total, coalesce(' with ' || found, ''))
             ELSE 'the server listens on local sockets only' END;
    SELECT count(*) FILTER (WHERE h.error IS NOT NULL OR h.type IN ('host', 'hostnossl') AND h.auth_method <> 'reject'
               OR h.type LIKE 'host%' AND h.auth_method NOT IN ('scram-sha-256', 'cert', 'reject')), count(*) FILTER (WHERE h.type LIKE 'host%'),
           string_agg(DISTINCT h.line_number::text, ', ') FILTER (WHERE h.error IS NOT NULL OR h.type IN ('host', 'hostnossl') AND h.auth_method <> 'reject'
               OR h.type LIKE 'host%' AND h.auth_method NOT IN ('scram-sha-256', 'cert', 'reject'))
        INTO number, total, found FROM pg_hba_file_rules AS h;
    RETURN QUERY SELECT 'hba', 'who comes by network needs TLS, and a certificate or a password that can be bound to the channel',
        CASE WHEN NOT networked OR number = 0 THEN 'holds' ELSE 'fails' END,
        CASE WHEN NOT networked THEN 'the server listens on local sockets only'
             ELSE format('%s rules for networks, %s that let others in', total, number) || coalesce(' (pg_hba.conf, lines ' || found || ')', '') END;

    -- Recovery: five minutes may be lost, an hour may pass.
    SELECT * INTO seen FROM pg_stat_archiver;
    SELECT count(*) INTO number FROM pg_ls_archive_statusdir() AS f WHERE f.name LIKE '%.ready' AND f.modification < this - interval '5 minutes';
    RETURN QUERY SELECT 'archiver', 'the WAL archive is at most five minutes behind',
        CASE WHEN current_setting('archive_mode') = 'off' OR number > 0 OR seen.last_failed_time > coalesce(seen.last_archived_time, '-infinity')
                  OR extract(epoch FROM current_setting('archive_timeout')::interval) NOT BETWEEN 1 AND 300 THEN 'fails'
             WHEN seen.last_archived_time IS NULL THEN 'unknown' ELSE 'holds' END,
        format('archive_mode is %s, archive_timeout %s; last archived %s, last failed %s; %s segments wait for longer', current_setting('archive_mode'), current_setting('archive_timeout'),
            coalesce(seen.last_archived_time::text, 'never'), coalesce(seen.last_failed_time::text, 'never'), number);
    SELECT count(*), max(r.replay_lag)::interval(0)::text, count(*) FILTER (WHERE r.replay_lag > interval '5 minutes') INTO total, found, number FROM pg_stat_replication AS r WHERE r.state = 'streaming';
    RETURN QUERY SELECT 'replicas', 'a standby follows, at most five minutes behind', CASE WHEN total > number THEN 'holds' ELSE 'fails' END,
        format('%s standbys follow, %s of them late; the most is %s', total, number, coalesce(found, 'nothing'));
    RETURN QUERY SELECT 'backups', 'an encrypted backup was made within a day',
        CASE WHEN count(*) = 0 THEN 'unknown' WHEN max(b.finished) FILTER (WHERE b.encrypted) > this - interval '25 hours' THEN 'holds' ELSE 'fails' END,
        format('%s backups recorded, %s encrypted, the last %s', count(*), count(*) FILTER (WHERE b.encrypted), coalesce(max(b.finished)::text, 'never')) FROM immiiq.backup AS b;
    RETURN QUERY SELECT 'rehearsal', 'a restore was rehearsed within 90 days and took an hour at most',
        CASE WHEN b.finished IS NULL THEN 'unknown' WHEN b.recorded_at > this - interval '90 days' AND b.restore_took <= interval '1 hour' THEN 'holds' ELSE 'fails' END,
        CASE WHEN b.finished IS NULL THEN 'no rehearsal is recorded'
             ELSE format('last rehearsed with the backup of %s; it took %s', b.finished, coalesce(b.restore_took::text, 'a time that nobody noted')) END
        FROM (SELECT) AS one LEFT JOIN LATERAL (SELECT * FROM immiiq.backup AS r WHERE r.restore_tested ORDER BY r.backup_id DESC LIMIT 1) AS b ON true;

    -- All of the functions; promises look at their own once more.
    SELECT string_agg(f.problem, ', ' ORDER BY f.problem) INTO found FROM immiiq.function_problems() AS f;
    SELECT count(*) INTO total FROM immiiq.installed_function;
    RETURN QUERY SELECT 'functions', 'immiiq''s functions are as installed, and no privileged one is for everybody', CASE WHEN found IS NULL AND total > 0 THEN 'holds' ELSE 'fails' END,
        CASE WHEN total = 0 THEN 'nothing was noted at installation' ELSE coalesce(left(found, 400), format('%s functions are as installed', total)) END;

    -- What is only said.
    RETURN QUERY SELECT c.control, c.title,
            CASE WHEN a.until > this AND a.holds THEN 'holds' WHEN NOT a.holds THEN 'fails' ELSE 'unknown' END,
            c.title || ': ' || CASE WHEN a.control IS NULL THEN 'nobody attested it' ELSE format('%s said on %s, until %s: %s', a.attested_by, a.attested_at::date, a.until::date, a.statement) END
        FROM immiiq.attested_control AS c
            LEFT JOIN LATERAL (SELECT * FROM immiiq.attestation AS t WHERE t.control = c.control ORDER BY t.attestation_id DESC LIMIT 1) AS a ON true;
END
$$;
COMMENT ON FUNCTION immiiq.inspect_controls() IS 'every control on which a promise stands: holds, fails or unknown, with what was seen; used by immiiq.posture';
REVOKE ALL ON FUNCTION immiiq.inspect_controls() FROM PUBLIC;

-- ---- promises, and the controls and functions on which each stands ----

CREATE VIEW immiiq.promise AS
SELECT p.number, p.claim, p.kind, p.promise, p.controls, p.functions FROM (VALUES
    (1, 'I1', 'enforced', 'Every organisation has a key of its own; what is sealed cannot be changed unnoticed', '{own_keys,organisation_keys,root_key,loaded}'::text[], '{create_org_keys,create_org}'::text[]),
    (2, 'I2', 'enforced', 'Sensitive fields are encrypted at rest under that key', '{sealed_columns,personal_columns,own_keys}', '{}'),
    (3, 'I3', 'enforced', 'The vendor''s staff cannot read sensitive fields by querying the database', '{sealed_columns,application_roles,superusers,server_log,loaded}', '{}'),
    (4, 'I4', 'enforced', 'Search stays fast on encrypted records', '{search_indexes}', '{visible}'),
    (5, 'I5', 'enforced', 'Credentials of integrations and session tokens are sealed', '{secrets,own_keys}', '{set_secret,use_secret,set_store_credentials}'),
    (6, 'I6', 'provided', 'After a rotation nothing opens what was sealed before; in older dumps once their root key is gone', '{rotation,root_epoch}', '{rotate_key,rewrap_keys,rekey_delete}'),
    (7, 'I7', 'enforced', 'Rows of an organisation are for its members alone, in every statement', '{row_security,coverage,schema,application_roles,loaded}', '{visible,org_if}'),
    (8, 'I8', 'enforced', 'A member sees all clients, those of the team, or those assigned', '{scopes,row_security}', '{team_if,member_if,clients_if,every_if}'),
    (9, 'I9', 'enforced', 'Ten modules are switched for each member', '{modules,row_security}', '{org_if,nothing_if}'),
    (10, 'I10', 'provided', 'Named roles are applied to many members at once', '{row_security}', '{apply_role}'),
    (11, 'I11', 'provided', 'Teams have a default role, and members keep in step with it', '{row_security}', '{refresh_added_rights}'),
    (12, 'I12', 'enforced', 'Restrictions hold in the database: a direct call returns the same rows', '{row_security,firewall,denials,application_roles,schema}', '{visible}'),
    (13, 'I13', 'enforced', 'The assistant has its member''s scope at every call; what it tries elsewhere is refused and recorded', '{worker,denials,row_security}', '{act_as_assistant,verify_access}'),
    (14, 'I14', 'provided', 'No statement is built from what somebody typed; privileged functions pin their search_path', '{functions}', '{verify_access}'),
    (15, 'I15', 'provided', 'Links to sign in last ten minutes and work once', '{link_age}', '{issue_link,redeem_link}'),
    (16, 'I16', 'enforced', 'Sessions end after 24 hours', '{session_age}', '{open_session,authenticate}'),
    (17, 'I17', 'enforced', 'A member has one session and can sign out everywhere', '{one_session}', '{sign_out_everywhere,revoke_session}'),
    (18, 'I18', 'enforced', 'Guessing is throttled for every account; accounts lock', '{attempts,worker}', '{throttle_reserve,throttle_settle,throttle_sign_in,unlock_sign_in}'),
    (19, 'I19', 'provided', 'Every member sees sign-ins with device and country', '{attempts}', '{country_of,report_sign_in}'),
    (20, 'I20', 'enforced', 'An organisation''s allowlist of addresses is kept; others are refused and recorded', '{worker,denials,guards}', '{address_allowed,authenticate}'),
    (21, 'I21', 'provided', 'Members sign in with an identity provider, linked safely', '{providers,identity_clients}', '{sign_in_identity,link_identity,verify_id_token}'),
    (22, 'I22', 'enforced', 'Documents have no public address: a URL is signed after a check and dead within the hour', '{url_age,private_buckets,secrets}', '{presign_get,presign_put}'),
    (23, 'I23', 'enforced', 'Nobody gets a URL for another organisation''s document', '{row_security,own_buckets}', '{presign_get,open_shared}'),
    (24, 'I24', 'enforced', 'Opening, download and sharing of documents is logged, and admins read it', '{sealing,guards,worker}', '{presign_get,share_document,open_shared}'),
    (25, 'I25', 'enforced', 'Admins and members have different rights; organisations are apart wherever a request enters', '{row_security,application_roles}', '{require_permission,has_permission,authenticate}'),
    (26, 'I26', 'provided', 'Owners export every record, document and log entry at any time', '{sealing,organisation_keys}', '{export_org,export_client,export_audit}'),
    (27, 'I27', 'provided', 'What is to be deleted is gone within 30 days, from backups in a further 90', '{erasures,backup_window,backup_retention}', '{request_erasure,schedule_erasure,execute_erasure,erasure_certificate}'),
    (28, 'I28', 'enforced', 'Entries of the log are kept for seven years and then deleted', '{log_age,guards,verified}', '{}'),
    (29, 'I29', 'enforced', 'Access to production is least-privilege, and recorded before it begins', '{break_glass,superusers,application_roles,worker}', '{operate,operate_all}'),
    (30, 'I30', 'provided', 'The log answers who was affected by a breach, and when', '{sealing,verified,breach_plan}', '{breach_report,access_report}'),
    (31, 'I31', 'attested', 'TLS 1.3 bound to the channel, encrypted storage, point-in-time recovery, daily snapshots, the region', '{tls,hba,channel_binding,storage_encryption,archiver,snapshots,region,checksums,durability}', '{}'),
    (32, 'E1', 'provided', 'Passwords are hashed one way; old bcrypt hashes are replaced at sign-in', '{password_hashes}', '{sign_in_password,set_password,import_password}'),
    (33, 'E2', 'enforced', 'Refresh tokens stand in the database as SHA-256 and change at every use', '{refresh_tokens,secrets}', '{rotate_refresh}'),
    (34, 'E3', 'provided', 'Members sign in with identity providers, single sign-on too', '{providers,identity_clients}', '{sign_in_identity}'),
    (35, 'E4', 'provided', 'Short-lived signed access tokens beside refresh tokens', '{jwt_keys,root_key}', '{issue_jwt,verify_jwt,rotate_jwt_key}'),
    (36, 'E5', 'provided', 'Sessions show address and agent; odd ones can be revoked', '{session_age,attempts}', '{revoke_session}'),
    (37, 'E6', 'enforced', 'The client portal is apart from the staff; its links expire', '{row_security,one_session}', '{issue_portal_link,redeem_portal_link,revoke_portal,portal_client_if}'),
    (38, 'E7', 'enforced', 'Roles and groups of permissions of one''s own; every way in asks for one', '{firewall,row_security}', '{require_permission,has_permission,may_give}'),
    (39, 'E8', 'enforced', 'Offices of a firm are apart; crossing needs a permission', '{offices,row_security}', '{offices_if}'),
    (40, 'E9', 'provided', 'A named person signs every filing, with signature on file', '{sealing,root_key}', '{sign_off,sign_off_status,sign_statement}'),
    (41, 'E10', 'provided', 'A plan gives new members its roles and groups', '{row_security}', '{create_org}'),
    (42, 'E11', 'enforced', 'Every change of everything is recorded: who, from where, before and after', '{capture,sealing,worker}', '{capture}'),
    (43, 'E12', 'enforced', 'Sensitive fields are kept out of what the log shows', '{own_keys,server_log,sealed_columns}', '{capture}'),
    (44, 'E13', 'enforced', 'The log is append-only for everybody, and a superuser''s change is found', '{guards,verified,functions,sealing}', '{refuse_change,verify_audit}'),
    (45, 'E14', 'provided', 'Reports for regulators, and holds for litigation', '{sealing}', '{place_hold,release_hold,breach_report}'),
    (46, 'E15', 'enforced', 'A bucket for every firm; URLs last 15 minutes', '{own_buckets,store_url_age,private_buckets}', '{presign_get,bucket_place}'),
    (47, 'E16', 'provided', 'Documents and forms have versions; any earlier state comes back', '{capture,organisation_keys}', '{history,restore_version}'),
    (48, 'E17', 'enforced', 'Signing in is throttled by address', '{attempts}', '{throttle_reserve,network_of}'),
    (49, 'E18', 'provided', 'Webhooks are verified over their raw bytes; nobody takes the client''s word for a payment', '{secrets}', '{verify_stripe,verify_webhook}'),
    (50, 'E19', 'provided', 'Access requests, erasure where the law allows, portability', '{erasures,organisation_keys}', '{export_client,access_report,request_erasure}'),
    (51, 'E20', 'enforced', 'Reading of personal data is logged, and fields are masked for who may not reveal them', '{field_access,reveal}', '{}'),
    (52, 'E21', 'attested', 'Daily encrypted backups kept for 30 days; five minutes may be lost, an hour may pass; more than one zone', '{backups,backup_retention,rehearsal,archiver,replicas,zones,durability}', '{}'),
    (53, 'E22', 'web tier', 'CORS, security headers, permissions policy, protection against floods', '{cors,headers,edge}', '{}')
) AS p (number, claim, kind, promise, controls, functions);
COMMENT ON VIEW immiiq.promise IS 'what is promised, and the controls and functions on which each promise stands';

-- A promise holds when all of its controls hold and its functions are as installed; it fails when one fails.
CREATE FUNCTION immiiq.inspect_promises() RETURNS TABLE (claim text, promise text, control text, kind text, status text, evidence text)
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH inspected AS MATERIALIZED (SELECT * FROM immiiq.inspect_controls()),
    wrong AS MATERIALIZED (
        SELECT w.name, w.problem FROM immiiq.function_problems() AS w
        UNION ALL
        SELECT n.name, format('%s is missing', n.name) FROM (SELECT DISTINCT unnest(p.functions) AS name FROM immiiq.promise AS p) AS n
        WHERE NOT EXISTS (SELECT FROM immiiq.installed_function AS f WHERE f.name = n.name)
    ),
    stands AS (
        SELECT p.number, u.ord, coalesce(i.title, u.name) AS title, coalesce(i.status, 'unknown') AS status, coalesce(i.evidence, 'not looked at') AS evidence
        FROM immiiq.promise AS p CROSS JOIN unnest(p.controls) WITH ORDINALITY AS u (name, ord) LEFT JOIN inspected AS i ON i.control = u.name
        UNION ALL
        SELECT p.number, 100, 'its functions are as installed, and those who need them may call them', CASE WHEN f.problem IS NULL THEN 'holds' ELSE 'fails' END,
            coalesce(f.problem, format('as installed: %s', array_to_string(p.functions, ', ')))
        FROM immiiq.promise AS p CROSS JOIN LATERAL (SELECT string_agg(w.problem, ', ' ORDER BY w.problem) AS problem FROM wrong AS w WHERE w.name = ANY (p.functions)) AS f WHERE p.functions <> '{}'
    )
    SELECT p.claim, p.promise, string_agg(s.title, '; ' ORDER BY s.ord), p.kind,
        CASE WHEN bool_or(s.status = 'fails') THEN 'fails' WHEN bool_and(s.status = 'holds') THEN 'holds' ELSE 'unknown' END,
        string_agg(CASE s.status WHEN 'holds' THEN '' ELSE upper(s.status) || ': ' END || s.evidence, E'\n' ORDER BY s.status = 'holds', s.status = 'unknown', s.ord)
    FROM immiiq.promise AS p JOIN stands AS s ON s.number = p.number
    GROUP BY p.number, p.claim, p.promise, p.kind
    ORDER BY p.number
$$;
COMMENT ON FUNCTION immiiq.inspect_promises() IS 'every promise with its controls and what was seen; the view immiiq.posture shows it';
REVOKE ALL ON FUNCTION immiiq.inspect_promises() FROM PUBLIC;

CREATE VIEW immiiq.posture AS SELECT p.claim, p.control, p.kind, p.status, p.evidence, p.promise FROM immiiq.inspect_promises() AS p;
COMMENT ON VIEW immiiq.posture IS 'every promise, the controls that keep it, and whether it holds now: read from the live database at every look';
COMMENT ON COLUMN immiiq.posture.evidence IS 'a line for each control, what does not hold first';
CREATE VIEW immiiq.posture_control AS SELECT c.control, c.title, c.status, c.evidence FROM immiiq.inspect_controls() AS c;
COMMENT ON VIEW immiiq.posture_control IS 'the controls on which promises stand, one by one';
REVOKE ALL ON immiiq.posture, immiiq.posture_control, immiiq.promise, immiiq.attested_control FROM PUBLIC;
INSERT INTO immiiq.privilege
SELECT kind, privileges, object
FROM pg_catalog.unnest(ARRAY['auditor', 'operator']) AS k (kind)
    CROSS JOIN (VALUES ('SELECT', 'TABLE immiiq.posture'), ('SELECT', 'TABLE immiiq.posture_control'), ('SELECT', 'TABLE immiiq.promise'),
        ('SELECT', 'TABLE immiiq.attested_control'), ('EXECUTE', 'FUNCTION immiiq.inspect_promises()'), ('EXECUTE', 'FUNCTION immiiq.inspect_controls()')) AS p (privileges, object);

-- ---- for people outside: a signed statement, and a page ----

CREATE FUNCTION immiiq.posture_statement() RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    line text;
BEGIN
    SELECT jsonb_build_object('immiiq', 'posture/v1', 'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'database', current_database(), 'system', (SELECT s.system_identifier::text FROM pg_control_system() AS s),
            'server', current_setting('server_version'), 'immiiq_version', (SELECT e.extversion FROM pg_extension AS e WHERE e.extname = 'immiiq'),
            'promises', jsonb_agg(jsonb_build_object('claim', p.claim, 'promise', p.promise, 'control', p.control, 'kind', p.kind, 'status', p.status, 'evidence', p.evidence)))::text
        INTO line FROM immiiq.inspect_promises() AS p;
    -- No name of a role or table turns a line round; and the page shows exactly what is signed.
    line := regexp_replace(line, '[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\ufeff\u007f-\u009f]', chr(65533), 'g');
    RETURN concat(line, E'\n', immiiq.base64(immiiq.sign_statement(line)), E'\n', immiiq.base64(immiiq.sign_off_key()), E'\n');
END
$$;
COMMENT ON FUNCTION immiiq.posture_statement() IS 'the posture as a line of JSON, its signature (Ed25519) and the public key in base64';

CREATE FUNCTION immiiq.verify_posture(statement text) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN statement ~ E'^{[^\n]+\n[A-Za-z0-9+/]{86}==\n[A-Za-z0-9+/]{43}=\n?$' AND split_part(statement, E'\n', 1) LIKE '{%"immiiq": "posture/v1"%}'
        THEN decode(split_part(statement, E'\n', 3), 'base64') = immiiq.sign_off_key()
            AND immiiq.verify_ed25519(immiiq.sign_off_key(), convert_to(split_part(statement, E'\n', 1), 'UTF8'), decode(split_part(statement, E'\n', 2), 'base64'))
        ELSE false END
$$;
COMMENT ON FUNCTION immiiq.verify_posture(text) IS 'true when a statement of the posture is whole and this database signed it';

-- One look, one statement: the page shows what is signed.
CREATE FUNCTION immiiq.posture_report() RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    statement constant text := immiiq.posture_statement();
    said constant jsonb := split_part(statement, E'\n', 1)::jsonb;
    counts jsonb;
    body text;
BEGIN
    SELECT jsonb_object_agg(w.status, (SELECT count(*) FROM jsonb_array_elements(said -> 'promises') AS p WHERE p ->> 'status' = w.status)) INTO counts
        FROM unnest(ARRAY['holds', 'fails', 'unknown']) AS w (status);
    SELECT string_agg(format(
        '<tr role="row" id="%1$s" class="%2$s"><th role="rowheader" scope="row">%1$s</th><td role="cell"><p class="promise">%3$s</p><p class="control">%4$s</p></td><td role="cell">%5$s</td><td role="cell" class="status"><span>%6$s</span></td><td role="cell"><ul>%7$s</ul></td></tr>',
        immiiq.html(p.value ->> 'claim'), immiiq.html(p.value ->> 'status'), immiiq.html(p.value ->> 'promise'), immiiq.html(p.value ->> 'control'),
        immiiq.html(p.value ->> 'kind'), CASE p.value ->> 'status' WHEN 'holds' THEN '✓ holds' WHEN 'fails' THEN '✕ fails' ELSE '? unknown' END,
        (SELECT string_agg(format('<li>%s</li>', immiiq.html(e.line)), '' ORDER BY e.n) FROM string_to_table(p.value ->> 'evidence', E'\n') WITH ORDINALITY AS e (line, n))),
        E'\n' ORDER BY p.n)
        INTO body FROM jsonb_array_elements(said -> 'promises') WITH ORDINALITY AS p (value, n);
    RETURN concat($page$<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Security posture of $page$, immiiq.html(said ->> 'database'), $page$</title>
<style>
:root { --ink: #16202b; --soft: #4a5766; --line: #d5dce4; --good: #0b6b3a; --bad: #a3171f; --open: #7a4b00; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2.5rem 1.5rem 4rem; color: var(--ink); background: #fff; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .6rem; }
p { margin: 0 0 .4rem; max-width: 48rem; }
.soft, .control, caption { color: var(--soft); }
.counts { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.5rem 0 0; padding: 0; list-style: none; }
.counts li { border: 1px solid var(--line); border-left: .4rem solid currentColor; border-radius: .3rem; padding: .5rem 1.1rem .6rem .9rem; min-width: 9rem; }
.counts b { display: block; font-size: 1.8rem; line-height: 1.15; }
.holds .status, li.holds { color: var(--good); }
.fails .status, li.fails { color: var(--bad); }
.unknown .status, li.unknown { color: var(--open); }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { text-align: left; vertical-align: top; padding: .7rem .8rem; border-top: 1px solid var(--line); font-size: .9rem; }
thead th { border-top: 0; border-bottom: 2px solid var(--ink); white-space: nowrap; }
tbody th { font-variant-numeric: tabular-nums; white-space: nowrap; }
td:nth-child(3) { white-space: nowrap; }
.promise { font-weight: 600; font-size: 1rem; }
.status { white-space: nowrap; font-weight: 700; }
tr.fails .status span, tr.unknown .status span { border: 1.5px solid currentColor; border-radius: .25rem; padding: .1rem .4rem; }
td ul { margin: 0; padding-left: 1.1rem; overflow-wrap: anywhere; }
td:last-child { width: 40%; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 1rem 0 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
pre { background: #f4f6f8; border: 1px solid var(--line); border-radius: .3rem; padding: .8rem; font-size: .78rem; white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; }
summary:focus-visible { outline: 3px solid #1a5fb4; outline-offset: 2px; }
@media (max-width: 50rem) {
  body { padding: 1.5rem 1rem 3rem; }
  table, caption, tbody, tr, tbody th, td { display: block; }
  thead { display: block; position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { border-top: 1px solid var(--line); padding: .8rem 0; }
  tbody th, td { border: 0; padding: .15rem 0; }
  td:last-child { width: auto; }
}
@media print {
  @page { size: A4 landscape; margin: 14mm; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  tr { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
</style>
</head>
<body>
<header>
<h1>Security posture of $page$, immiiq.html(said ->> 'database'), $page$</h1>
<p class="soft">What the database promises about the papers in it, and whether it held when this page was made. Every status was read from the live server. What the server cannot see, somebody vouched for: the evidence says who, and until when.</p>
<dl>
<dt>Made</dt><dd>$page$, immiiq.html(said ->> 'at'), $page$</dd>
<dt>System</dt><dd>$page$, immiiq.html(said ->> 'system'), ' · PostgreSQL ', immiiq.html(said ->> 'server'), ' · immiiq ', immiiq.html(said ->> 'immiiq_version'), $page$</dd>
<dt>Signed with</dt><dd>Ed25519 $page$, immiiq.html(split_part(statement, E'\n', 3)), $page$</dd>
</dl>
<ul class="counts" aria-label="Summary">
<li class="holds"><b>$page$, counts ->> 'holds', $page$</b>✓ hold</li>
<li class="fails"><b>$page$, counts ->> 'fails', $page$</b>✕ fail</li>
<li class="unknown"><b>$page$, counts ->> 'unknown', $page$</b>? unknown</li>
</ul>
</header>
<main>
<h2>How to read it</h2>
<p><b>Enforced</b>: no statement that the application can send breaks it. <b>Provided</b>: the database does the work, and the web tier calls it. <b>Attested</b>: it belongs to the platform; the server's own state shows part of it. <b>Web tier</b>: not the database's.</p>
<p>A promise <b>holds</b> when every control under it does, and <b>fails</b> when one does not. It is <b>unknown</b> when something cannot be seen and nobody vouches for it, or when there is nothing yet to look at.</p>
<h2>Promises</h2>
<table role="table">
<caption>$page$, jsonb_array_length(said -> 'promises'), $page$ promises. In each list of evidence, what does not hold comes first.</caption>
<thead><tr><th scope="col">No.</th><th scope="col">Promise, and what keeps it</th><th scope="col">Kind</th><th scope="col">Status</th><th scope="col">Evidence</th></tr></thead>
<tbody>
$page$, body, $page$
</tbody>
</table>
<h2>Check the signature</h2>
<p>The three lines below are this page's content, its signature and the public key. Copy them into a file <code>posture.txt</code>. Get the key, <code>key.pem</code>, by another way than this page.</p>
<pre>head -n 1 posture.txt | tr -d '\n' &gt; posture.json
sed -n 2p posture.txt | base64 -d &gt; posture.sig
openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in posture.json -sigfile posture.sig</pre>
<details><summary>The signed statement</summary>
<pre id="statement">$page$, immiiq.html(statement), $page$</pre></details>
</main>
</body>
</html>
$page$);
END
$$;
COMMENT ON FUNCTION immiiq.posture_report() IS 'the posture as a printable page (HTML, self-contained) that carries its own signed statement';
REVOKE ALL ON FUNCTION immiiq.posture_statement(), immiiq.verify_posture(text), immiiq.posture_report() FROM PUBLIC;
INSERT INTO immiiq.privilege
SELECT kind, 'EXECUTE', 'FUNCTION immiiq.' OPERATOR(pg_catalog.||) name
FROM pg_catalog.unnest(ARRAY['auditor', 'operator']) AS k (kind)
    CROSS JOIN pg_catalog.unnest(ARRAY['posture_statement()', 'verify_posture(text)', 'posture_report()', 'statement_key()']) AS f (name)
ON CONFLICT DO NOTHING;

-- The last statement of all.
SELECT immiiq.note_functions();
