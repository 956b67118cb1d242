-- Holes in this database's schema, roles and settings, each with the SQL that closes it.

-- Names of columns that a remedy lists, in order.
CREATE FUNCTION immiiq.column_list(relation regclass, numbers smallint[]) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.pos)
        FROM unnest(numbers) WITH ORDINALITY AS u (num, pos) JOIN pg_attribute AS a ON a.attrelid = column_list.relation AND a.attnum = u.num
    $$;
COMMENT ON FUNCTION immiiq.column_list(regclass, smallint[]) IS 'names of columns by number; used by immiiq.advise';
REVOKE ALL ON FUNCTION immiiq.column_list(regclass, smallint[]) FROM PUBLIC;

CREATE FUNCTION immiiq.advise() RETURNS TABLE (severity text, object text, finding text, remedy text)
    LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Roles as which the application connects, or can become.
    app constant oid[] := ARRAY(
        SELECT DISTINCT r.oid FROM immiiq.role_grant AS g JOIN pg_roles AS r ON pg_has_role(r.oid, g.role::oid, 'MEMBER')
        WHERE g.kind = 'application' AND (NOT r.rolsuper OR r.oid = g.role::oid));
    sealed constant oid[] := ARRAY(SELECT t.oid FROM pg_type AS t
        WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typname LIKE 'enc\_%' AND t.typname NOT LIKE '%\_base' AND t.typelem = 0);
    -- An owner whom row security does not bind: what runs as them sees everything.
    unbound constant oid[] := ARRAY(SELECT r.oid FROM pg_roles AS r WHERE r.rolsuper OR r.rolbypassrls);
BEGIN
    -- ---- tables ----

    RETURN QUERY SELECT 'critical', t.relation::text, 'names an organisation and is not protected',
            format('SELECT immiiq.protect(%L, NULL, org => %L);', t.relation, a.attname)
        FROM immiiq.advisor_table AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE NOT t.protected AND NOT t.recorded AND NOT t.relispartition AND a.atttypid = 'uuid'::regtype
            AND (a.attname IN ('org_id', 'organisation_id', 'organization_id', 'tenant_id')
                 OR EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = t.oid AND k.confrelid = 'immiiq.org'::regclass AND k.conkey = ARRAY[a.attnum]));
    RETURN QUERY SELECT 'critical', t.relation::text, 'is recorded as protected, and row security is off or its policies are not immiiq''s',
            format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;', t.relation)
        FROM immiiq.advisor_table AS t WHERE t.recorded AND (NOT t.protected OR NOT t.relrowsecurity);
    RETURN QUERY SELECT 'critical', t.relation::text, 'row security is not forced: its owner sees everything',
            format('ALTER TABLE %s FORCE ROW LEVEL SECURITY;', t.relation)
        FROM immiiq.advisor_table AS t WHERE t.protected AND NOT t.relforcerowsecurity;
    RETURN QUERY SELECT 'critical', t.relation::text, 'is a partition of a protected table, open to direct access',
            format('ALTER TABLE %1$s ENABLE ROW LEVEL SECURITY; ALTER TABLE %1$s FORCE ROW LEVEL SECURITY;', t.relation)
        FROM immiiq.advisor_table AS t
        WHERE t.relispartition AND NOT (t.relrowsecurity AND t.relforcerowsecurity)
            AND EXISTS (SELECT FROM immiiq.advisor_table AS r WHERE r.protected AND r.oid = pg_partition_root(t.oid));
    RETURN QUERY SELECT 'critical', t.relation::text, format('permissive policy %I widens what members see', p.polname),
            format('DROP POLICY %I ON %s;', p.polname, t.relation)
        FROM immiiq.advisor_table AS t JOIN pg_policy AS p ON p.polrelid = t.oid
        WHERE (t.protected OR t.recorded) AND p.polpermissive AND p.polname NOT LIKE 'immiiq\_%';
    RETURN QUERY SELECT 'warning', t.relation::text, 'one of its four policies is gone: the command is refused to everybody',
            format('SELECT immiiq.unprotect(%1$L); SELECT immiiq.protect(%1$L, %2$L, org => %3$L%4$s%5$s%6$s%7$s%8$s%9$s%10$s);', t.relation, t.module, t.org,
                ', client => ' || quote_literal(t.client), ', team => ' || quote_literal(t.team), ', assignee => ' || quote_literal(t.assignee), ', office => ' || quote_literal(t.office),
                (SELECT ', portal => true' FROM immiiq.protection AS m WHERE m.relid = t.oid AND (m.made ->> 'portal')::boolean),
                (SELECT ', permissions => ' || quote_literal(m.made -> 'permissions') FROM immiiq.protection AS m WHERE m.relid = t.oid AND jsonb_typeof(m.made -> 'permissions') = 'object'),
                (SELECT ', new_clients => true' FROM immiiq.protection AS m WHERE m.relid = t.oid AND (m.made ->> 'new_clients')::boolean))
        FROM immiiq.advisor_table AS t
        WHERE t.protected AND 4 <> (SELECT count(*) FROM pg_policy AS p WHERE p.polrelid = t.oid AND p.polname IN ('immiiq_select', 'immiiq_insert', 'immiiq_update', 'immiiq_delete'));
    RETURN QUERY SELECT 'critical', t.relation::text, 'changes are not audited: trigger 00_immiiq_capture is gone or not ENABLE ALWAYS',
            CASE WHEN g.oid IS NULL THEN format('CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION immiiq.capture(); ', t.relation) ELSE '' END
            || format('ALTER TABLE %s ENABLE ALWAYS TRIGGER "00_immiiq_capture";', t.relation)
        FROM immiiq.advisor_table AS t LEFT JOIN pg_trigger AS g ON g.tgrelid = t.oid AND g.tgname = '00_immiiq_capture'
        WHERE t.protected AND g.tgenabled IS DISTINCT FROM 'A';
    RETURN QUERY SELECT 'warning', t.relation::text, format('trigger %I fires before the change that set it off is captured: what it changes stands in the log first', g.tgname),
            format('ALTER TRIGGER %I ON %s RENAME TO %I;', g.tgname, t.relation, left('after_' || g.tgname, 63))
        FROM immiiq.advisor_table AS t JOIN pg_trigger AS g ON g.tgrelid = t.oid
        WHERE t.protected AND NOT g.tgisinternal AND g.tgtype & 67 = 1 AND g.tgname < '00_immiiq_capture' AND g.tgparentid = 0;
    RETURN QUERY SELECT 'warning', t.relation::text, 'TRUNCATE would go past the audit: trigger immiiq_truncate is gone or not ENABLE ALWAYS',
            CASE WHEN g.oid IS NULL THEN format('CREATE TRIGGER immiiq_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_truncate(); ', t.relation) ELSE '' END
            || format('ALTER TABLE %s ENABLE ALWAYS TRIGGER immiiq_truncate;', t.relation)
        FROM immiiq.advisor_table AS t LEFT JOIN pg_trigger AS g ON g.tgrelid = t.oid AND g.tgname = 'immiiq_truncate'
        WHERE t.protected AND g.tgenabled IS DISTINCT FROM 'A';
    RETURN QUERY SELECT 'warning', t.relation::text, 'a rule rewrites what is done to a protected table',
            format('DROP RULE %I ON %s;', r.rulename, t.relation)
        FROM immiiq.advisor_table AS t JOIN pg_rewrite AS r ON r.ev_class = t.oid WHERE t.protected;
    RETURN QUERY SELECT 'warning', t.relation::text, format('column %I holds the organisation and may be NULL', t.org),
            format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL;', t.relation, t.org)
        FROM immiiq.advisor_table AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attname = t.org
        WHERE t.protected AND NOT a.attnotnull;
    RETURN QUERY SELECT 'warning', t.relation::text, format('column %I has no key to the directory', u.col),
            format('ALTER TABLE %s ADD FOREIGN KEY (%s%I) REFERENCES %s;', t.relation, CASE WHEN u.col = t.org THEN '' ELSE quote_ident(t.org) || ', ' END, u.col, u.parent)
        FROM immiiq.advisor_table AS t
            CROSS JOIN LATERAL (VALUES (t.org, 'immiiq.org'::regclass), (t.team, 'immiiq.team'), (t.assignee, 'immiiq.member'), (t.office, 'immiiq.team')) AS u (col, parent)
        WHERE t.protected AND u.col IS NOT NULL
            AND NOT EXISTS (SELECT FROM pg_constraint AS k JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attname = u.col
                            WHERE k.conrelid = t.oid AND k.contype = 'f' AND k.confrelid = u.parent AND a.attnum = ANY (k.conkey)
                                AND cardinality(k.conkey) = CASE WHEN u.col = t.org THEN 1 ELSE 2 END);

    -- ---- keys that tell of other organisations ----

    RETURN QUERY SELECT 'warning', i.indexrelid::regclass::text, 'is unique over all organisations: a duplicate tells of another''s value',
            format('CREATE UNIQUE INDEX ON %s (%I, %s);', t.relation, t.org, immiiq.column_list(t.oid, i.indkey::smallint[]))
            || CASE WHEN i.indisprimary OR EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.contype = 'u')
               THEN (SELECT format(' ALTER TABLE %s DROP CONSTRAINT %I;', t.relation, k.conname) FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u') LIMIT 1)
               ELSE format(' DROP INDEX %s;', i.indexrelid::regclass) END
        FROM immiiq.advisor_table AS t JOIN pg_index AS i ON i.indrelid = t.oid AND i.indisunique
        WHERE t.protected
            AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = t.oid AND a.attnum = ANY (i.indkey) AND a.attname = t.org)
            AND EXISTS (SELECT FROM unnest(i.indkey) AS u (num) LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = u.num
                        WHERE a.atttypid IS DISTINCT FROM 'uuid'::regtype);
    RETURN QUERY SELECT 'warning', t.relation::text, format('its key %I counts up: ids are guessed, and tell how many rows others have', a.attname),
            format('ALTER TABLE %1$s ADD COLUMN new_id uuid NOT NULL DEFAULT gen_random_uuid(), DROP CONSTRAINT %2$I, ADD PRIMARY KEY (%3$I, new_id), ADD UNIQUE (%3$I, %4$I);',
                t.relation, (SELECT c.relname FROM pg_class AS c WHERE c.oid = i.indexrelid), t.org, a.attname)
        FROM immiiq.advisor_table AS t
            JOIN pg_index AS i ON i.indrelid = t.oid AND i.indisprimary
            JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = ANY (i.indkey)
        WHERE t.protected AND (a.attidentity <> '' OR pg_get_serial_sequence(t.relation::text, a.attname) IS NOT NULL);
    RETURN QUERY SELECT 'critical', k.conname::text, format('is a foreign key of %s that may refer to another organisation''s rows', t.relation),
            format('ALTER TABLE %1$s DROP CONSTRAINT %2$I; ALTER TABLE %1$s ADD FOREIGN KEY (%3$I, %4$s) REFERENCES %5$s (%6$I, %7$s);', t.relation, k.conname,
                t.org, immiiq.column_list(t.oid, k.conkey), p.relation, p.org, immiiq.column_list(p.oid, k.confkey))
        FROM pg_constraint AS k JOIN immiiq.advisor_table AS t ON t.oid = k.conrelid JOIN immiiq.advisor_table AS p ON p.oid = k.confrelid
        WHERE k.contype = 'f' AND k.conparentid = 0 AND t.protected AND p.protected
            AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = t.oid AND a.attnum = ANY (k.conkey) AND a.attname = t.org);
    RETURN QUERY SELECT 'warning', t.relation::text, format('is not protected and refers to %s, whose ids it shows and tests', p.relation),
            CASE WHEN EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = t.oid AND a.attname = 'org_id' AND NOT a.attisdropped) THEN ''
                 ELSE format('ALTER TABLE %s ADD COLUMN org_id uuid; ', t.relation) END || format('SELECT immiiq.protect(%L, %L);', t.relation, p.module)
        FROM pg_constraint AS k JOIN immiiq.advisor_table AS t ON t.oid = k.conrelid JOIN immiiq.advisor_table AS p ON p.oid = k.confrelid
        WHERE k.contype = 'f' AND NOT t.protected AND NOT t.relispartition AND p.protected;

    -- ---- what plans need ----

    RETURN QUERY SELECT 'info', t.relation::text, format('no index serves the policy on %I', u.col), format('CREATE INDEX ON %s (%s);', t.relation, u.list)
        FROM immiiq.advisor_table AS t
            CROSS JOIN LATERAL (SELECT c.col, CASE WHEN c.col = t.org THEN quote_ident(t.org) ELSE format('%I, %I', t.org, c.col) END AS list,
                                       CASE WHEN c.col = t.org THEN ARRAY[t.org] ELSE ARRAY[t.org, c.col] END AS names
                                FROM unnest(ARRAY[t.org, t.client, t.team, t.assignee, t.office]) AS c (col) WHERE c.col IS NOT NULL) AS u
        WHERE t.protected AND NOT EXISTS (
            SELECT FROM pg_index AS i WHERE i.indrelid = t.oid AND i.indisvalid AND i.indpred IS NULL
                AND u.names = (ARRAY(SELECT a.attname FROM unnest(i.indkey) WITH ORDINALITY AS n (num, pos)
                                     LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = n.num ORDER BY n.pos))[1:cardinality(u.names)]);
    RETURN QUERY SELECT 'info', t.relation::text, format('no statistics say that %I implies the organisation: estimates are far too low', a.attname),
            format('CREATE STATISTICS %s.%I (dependencies) ON %I, %I FROM %s;', t.schema, immiiq.made_name(t.relname, a.attname), t.org, a.attname, t.relation)
        FROM immiiq.advisor_table AS t
            JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
            JOIN pg_attribute AS o ON o.attrelid = t.oid AND o.attname = t.org
        WHERE t.protected AND a.attname IN (t.client, t.team, t.assignee, t.office)
            AND NOT EXISTS (SELECT FROM pg_statistic_ext AS s WHERE s.stxrelid = t.oid AND 'f' = ANY (s.stxkind) AND s.stxkeys @> ARRAY[a.attnum, o.attnum]::int2vector);

    -- ---- sealed columns ----

    RETURN QUERY SELECT 'critical', t.relation::text, format('sealed column %I stands in a table that is not protected', a.attname),
            format('SELECT immiiq.protect(%L, NULL);', t.relation)
        FROM immiiq.advisor_table AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND NOT a.attisdropped AND a.atttypid = ANY (sealed)
        WHERE NOT t.protected AND NOT t.relispartition;
    RETURN QUERY SELECT 'warning', p.relation::text, format('column %I looks personal and is not sealed', p.column_name),
            format('ALTER TABLE %1$s ALTER COLUMN %2$I TYPE %3$s USING %2$I::text::%3$s; -- with rows: SELECT immiiq.sealing_plan(%1$L);', p.relation, p.column_name, p.declaration)
        FROM immiiq.personal_columns() AS p;
    RETURN QUERY SELECT 'warning', string_agg(format('%s.%I', t.relation, a.attname), ', ' ORDER BY t.relation::text, a.attname),
            format('sealed columns share domain %s: equal values show across them', a.atttypmod & 65535),
            string_agg(format('ALTER TABLE %s ALTER COLUMN %I TYPE %s;', t.relation, a.attname,
                regexp_replace(format_type(a.atttypid, a.atttypmod), '\((domain=)?[0-9]+', '(' || ((a.atttypmod & 65535) + 20000 + t.oid::bigint % 10000))), ' ' ORDER BY t.relation::text, a.attname)
        FROM immiiq.advisor_table AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = ANY (sealed)
        WHERE NOT t.relispartition AND a.atttypmod >= 0 AND a.atttypmod & 65535 > 0
        GROUP BY a.atttypmod & 65535, a.atttypid HAVING count(*) > 1;

    -- ---- views and functions ----

    RETURN QUERY SELECT DISTINCT 'critical', v.oid::regclass::text, format('shows rows of %s as its owner sees them', t.relation),
            format('ALTER VIEW %s SET (security_invoker = true);', v.oid::regclass)
        FROM pg_class AS v
            JOIN pg_rewrite AS r ON r.ev_class = v.oid
            JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
            JOIN immiiq.advisor_table AS t ON t.oid = d.refobjid AND t.protected
        WHERE v.relkind = 'v' AND NOT EXISTS (SELECT FROM unnest(v.reloptions) AS o (option) WHERE o.option ~ '^security_invoker=(true|on|1|yes)$');
    RETURN QUERY SELECT DISTINCT 'critical', v.oid::regclass::text, format('is a materialized copy of %s without row security', t.relation),
            format('DROP MATERIALIZED VIEW %s;', v.oid::regclass)
        FROM pg_class AS v
            JOIN pg_rewrite AS r ON r.ev_class = v.oid
            JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
            JOIN immiiq.advisor_table AS t ON t.oid = d.refobjid AND t.protected
        WHERE v.relkind = 'm';
    RETURN QUERY
        WITH own AS (
            SELECT p.*, p.oid::regprocedure::text AS signature, l.lanname FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
            WHERE p.pronamespace <> ALL (ARRAY['pg_catalog', 'information_schema', 'immiiq']::regnamespace[]) AND p.prokind IN ('f', 'p')
                AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))
        SELECT 'critical', o.signature, 'SECURITY DEFINER without a pinned search_path: its caller chooses what it runs',
                format('ALTER ROUTINE %s SET search_path = pg_catalog, pg_temp;', o.signature)
            FROM own AS o WHERE o.prosecdef AND NOT EXISTS (SELECT FROM unnest(o.proconfig) AS s (setting) WHERE s.setting LIKE 'search\_path=%')
        UNION ALL
        SELECT 'critical', o.signature, 'SECURITY DEFINER of an owner whom row security does not bind, and the application may call it',
                format('ALTER ROUTINE %s SECURITY INVOKER;', o.signature)
            FROM own AS o WHERE o.prosecdef AND o.proowner = ANY (unbound)
                AND (EXISTS (SELECT FROM aclexplode(coalesce(o.proacl, acldefault('f', o.proowner))) AS x WHERE x.grantee = 0)
                     OR EXISTS (SELECT FROM unnest(app) AS a (role) WHERE has_function_privilege(a.role, o.oid, 'EXECUTE')))
        UNION ALL
        SELECT 'critical', o.signature, 'puts its input into SQL without quoting it',
                format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC; -- until it uses format() with %%I and %%L, or EXECUTE … USING', o.signature)
            FROM own AS o
            WHERE o.lanname = 'plpgsql' AND o.pronargs > 0
                AND EXISTS (SELECT FROM regexp_matches(o.prosrc, '\mexecute\s+([^;]*)', 'gi') AS m (statement)
                            WHERE regexp_replace(m.statement[1], 'quote_(ident|literal|nullable)\s*\([^()]*(\([^()]*\))?[^()]*\)', '', 'gi') ~ '\|\|\s*[a-z_$]'
                                OR m.statement[1] ~* 'format\s*\(.*%s')
                AND (o.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(o.proacl) AS x WHERE x.grantee = 0 OR x.grantee = ANY (app)));

    -- ---- roles ----

    RETURN QUERY SELECT 'critical', r.rolname::text, w.finding, format(w.remedy, r.rolname)
        FROM pg_roles AS r
            CROSS JOIN LATERAL (VALUES
                (r.rolsuper, 'the application is superuser', 'ALTER ROLE %I NOSUPERUSER;'),
                (r.rolbypassrls, 'the application bypasses row security', 'ALTER ROLE %I NOBYPASSRLS;'),
                (r.rolcreaterole, 'the application may create roles, and so become any of them', 'ALTER ROLE %I NOCREATEROLE;'),
                (r.rolreplication, 'the application may replicate, and so read every byte', 'ALTER ROLE %I NOREPLICATION;'),
                (r.rolcreatedb, 'the application may make databases, where nothing is protected', 'ALTER ROLE %I NOCREATEDB;')) AS w (holds, finding, remedy)
        WHERE r.oid = ANY (app) AND w.holds;
    RETURN QUERY SELECT 'critical', r.rolname::text, format('the application is member of %s', g.name), format('REVOKE %I FROM %I;', g.name, r.rolname)
        FROM pg_roles AS r CROSS JOIN unnest(ARRAY['pg_read_all_data', 'pg_write_all_data', 'pg_execute_server_program', 'pg_read_server_files',
                'pg_write_server_files', 'pg_monitor', 'pg_read_all_stats', 'pg_read_all_settings', 'pg_stat_scan_tables', 'pg_signal_backend', 'pg_database_owner']) AS g (name)
        WHERE r.oid = ANY (app) AND NOT r.rolsuper AND pg_has_role(r.oid, g.name, 'MEMBER');
    RETURN QUERY SELECT 'critical', r.rolname::text, format('the application has the rights of %s, too', g.kind),
            CASE WHEN o.oid = r.oid THEN format('SELECT immiiq.revoke_kind(%L, %L);', g.kind, g.role) ELSE format('REVOKE %I FROM %I;', o.rolname, r.rolname) END
        FROM immiiq.role_grant AS g JOIN pg_roles AS o ON o.oid = g.role::oid
            JOIN pg_roles AS r ON r.oid = ANY (app) AND NOT r.rolsuper AND pg_has_role(r.oid, o.oid, 'MEMBER')
        WHERE g.kind <> 'application';
    RETURN QUERY SELECT 'warning', g.role::text, format('has the rights of %s and does not exist any more', g.kind), format('SELECT immiiq.revoke_kind(%L, %L);', g.kind, g.role)
        FROM immiiq.role_grant AS g WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = g.role::oid);
    RETURN QUERY SELECT 'critical', t.relation::text, format('the application (%s) has the powers of its owner', r.rolname),
            CASE WHEN r.oid = t.relowner THEN format('ALTER TABLE %s OWNER TO CURRENT_USER;', t.relation) ELSE format('REVOKE %I FROM %I;', pg_get_userbyid(t.relowner), r.rolname) END
        FROM immiiq.advisor_table AS t JOIN pg_roles AS r ON r.oid = ANY (app) AND NOT r.rolsuper AND pg_has_role(r.oid, t.relowner, 'MEMBER')
        WHERE t.protected;
    RETURN QUERY SELECT 'critical', t.relation::text, format('PUBLIC has %s on it', string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type)),
            format('REVOKE ALL ON %s FROM PUBLIC;', t.relation)
        FROM immiiq.advisor_table AS t CROSS JOIN LATERAL aclexplode(t.relacl) AS x
        WHERE (t.protected OR t.relispartition) AND x.grantee = 0 GROUP BY t.relation;
    RETURN QUERY SELECT 'warning', t.relation::text, format('the application (%s) has %s on it', r.rolname, string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type)),
            format('REVOKE %s ON %s FROM %I;', string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type), t.relation, r.rolname)
        FROM immiiq.advisor_table AS t CROSS JOIN LATERAL aclexplode(t.relacl) AS x JOIN pg_roles AS r ON r.oid = x.grantee AND r.oid = ANY (app) AND r.oid <> t.relowner
        WHERE t.protected AND x.privilege_type IN ('TRUNCATE', 'REFERENCES', 'TRIGGER') GROUP BY t.relation, r.rolname;
    RETURN QUERY SELECT 'critical', n.nspname::text, format('the application (%s) may make objects in it, for others to stumble upon', coalesce(r.rolname, 'PUBLIC')),
            format('REVOKE CREATE ON SCHEMA %I FROM %s;', n.nspname, coalesce(quote_ident(r.rolname), 'PUBLIC'))
        FROM pg_namespace AS n CROSS JOIN LATERAL aclexplode(n.nspacl) AS x LEFT JOIN pg_roles AS r ON r.oid = x.grantee
        WHERE x.privilege_type = 'CREATE' AND (x.grantee = 0 OR x.grantee = ANY (app)) AND n.nspname NOT LIKE 'pg\_%';
    RETURN QUERY SELECT 'warning', d.datname::text, format('the application (%s) may make schemas in this database', coalesce(r.rolname, 'PUBLIC')),
            format('REVOKE CREATE ON DATABASE %I FROM %s;', d.datname, coalesce(quote_ident(r.rolname), 'PUBLIC'))
        FROM pg_database AS d CROSS JOIN LATERAL aclexplode(d.datacl) AS x LEFT JOIN pg_roles AS r ON r.oid = x.grantee
        WHERE d.datname = current_database() AND x.privilege_type = 'CREATE' AND (x.grantee = 0 OR x.grantee = ANY (app));
    RETURN QUERY SELECT 'critical', pg_get_userbyid(a.defaclrole)::text, 'gives PUBLIC privileges on tables that it will make',
            format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s REVOKE ALL ON TABLES FROM PUBLIC;', pg_get_userbyid(a.defaclrole),
                coalesce(' IN SCHEMA ' || nullif(a.defaclnamespace, 0)::regnamespace::text, ''))
        FROM pg_default_acl AS a WHERE a.defaclobjtype = 'r' AND EXISTS (SELECT FROM aclexplode(a.defaclacl) AS x WHERE x.grantee = 0);
    RETURN QUERY SELECT 'warning', coalesce(r.rolname, 'every role')::text, format('has %s set for it', s.setting),
            format(CASE WHEN r.oid IS NULL THEN 'ALTER DATABASE %2$I RESET %3$I;' ELSE 'ALTER ROLE %1$I%4$s RESET %3$I;' END, r.rolname, current_database(), split_part(s.setting, '=', 1),
                CASE WHEN d.setdatabase <> 0 THEN format(' IN DATABASE %I', current_database()) ELSE '' END)
        FROM pg_db_role_setting AS d LEFT JOIN pg_roles AS r ON r.oid = d.setrole CROSS JOIN LATERAL unnest(d.setconfig) AS s (setting)
        WHERE d.setdatabase IN (0, (SELECT b.oid FROM pg_database AS b WHERE b.datname = current_database())) AND (r.oid IS NULL OR r.oid = ANY (app))
            AND s.setting ~ '^(session_replication_role=(replica|local)|row_security=off|log_statement=(all|mod)|log_min_duration_statement=[0-9]|log_parameter_max_length|debug_print|session_preload_libraries|local_preload_libraries|lo_compat_privileges=on)';
    RETURN QUERY SELECT 'critical', p.parname, format('the application (%s) may change this setting', coalesce(r.rolname, 'PUBLIC')),
            format('REVOKE SET, ALTER SYSTEM ON PARAMETER %s FROM %s;', p.parname, coalesce(quote_ident(r.rolname), 'PUBLIC'))
        FROM pg_parameter_acl AS p CROSS JOIN LATERAL aclexplode(p.paracl) AS x LEFT JOIN pg_roles AS r ON r.oid = x.grantee
        WHERE x.grantee = 0 OR x.grantee = ANY (app) GROUP BY p.parname, r.rolname;

    -- ---- ways out ----

    RETURN QUERY SELECT 'warning', e.extname::text, 'this extension opens a way out of the database, or past row security', format('DROP EXTENSION %I;', e.extname)
        FROM pg_extension AS e
        WHERE e.extname IN ('dblink', 'postgres_fdw', 'file_fdw', 'adminpack', 'pageinspect', 'pg_walinspect', 'pg_surgery', 'pg_freespacemap', 'pg_buffercache',
            'pg_stat_statements', 'plpython3u', 'plperlu', 'pltclu', 'plsh', 'http', 'pg_net', 'pg_cron', 'pgstattuple', 'pg_visibility', 'pgrowlocks', 'oracle_fdw', 'mysql_fdw', 'tds_fdw', 'multicorn');
    RETURN QUERY SELECT 'warning', l.lanname::text, 'functions in this language run outside the database''s rules', format('DROP LANGUAGE %I CASCADE;', l.lanname)
        FROM pg_language AS l WHERE NOT l.lanpltrusted AND l.lanispl;
    RETURN QUERY SELECT 'warning', s.srvname::text, format('the application (%s) may use this foreign server', coalesce(r.rolname, 'PUBLIC')),
            format('REVOKE USAGE ON FOREIGN SERVER %I FROM %s;', s.srvname, coalesce(quote_ident(r.rolname), 'PUBLIC'))
        FROM pg_foreign_server AS s CROSS JOIN LATERAL aclexplode(s.srvacl) AS x LEFT JOIN pg_roles AS r ON r.oid = x.grantee
        WHERE x.grantee = 0 OR x.grantee = ANY (app);
    RETURN QUERY SELECT 'warning', p.pubname::text, 'publishes protected tables: their plain columns leave this server',
            CASE WHEN p.puballtables THEN format('DROP PUBLICATION %I;', p.pubname)
                 ELSE format('ALTER PUBLICATION %I DROP TABLE %s;', p.pubname, (SELECT string_agg(r.prrelid::regclass::text, ', ') FROM pg_publication_rel AS r JOIN immiiq.advisor_table AS t ON t.oid = r.prrelid AND t.protected WHERE r.prpubid = p.oid)) END
        FROM pg_publication AS p
        WHERE p.puballtables OR EXISTS (SELECT FROM pg_publication_rel AS r JOIN immiiq.advisor_table AS t ON t.oid = r.prrelid AND t.protected WHERE r.prpubid = p.oid);
    RETURN QUERY SELECT 'critical', v.evtname::text, 'this event trigger is off: DDL can undo protection in silence', format('ALTER EVENT TRIGGER %I ENABLE;', v.evtname)
        FROM pg_event_trigger AS v JOIN pg_depend AS d ON d.classid = 'pg_event_trigger'::regclass AND d.objid = v.oid AND d.deptype = 'e'
            JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'immiiq'
        WHERE v.evtenabled = 'D';

    -- ---- settings ----

    RETURN QUERY SELECT 'warning', s.name, w.finding, format('ALTER SYSTEM SET %I = %L; SELECT pg_reload_conf();', s.name, w.better)
        FROM (VALUES
            ('log_statement', '^(none|ddl)$', 'none', 'statements are logged, with the values that stand in them'),
            ('log_min_duration_statement', '^-1$', '-1', 'slow statements are logged, with the values that stand in them and their parameters'),
            ('log_min_duration_sample', '^-1$', '-1', 'a sample of statements is logged, with their parameters'),
            ('log_transaction_sample_rate', '^0$', '0', 'a sample of transactions is logged, with their parameters'),
            ('log_parameter_max_length_on_error', '^0$', '0', 'parameters are logged with errors'),
            ('debug_print_parse', '^off$', 'off', 'parse trees are logged, with constants'),
            ('debug_print_rewritten', '^off$', 'off', 'rewritten queries are logged, with constants'),
            ('debug_print_plan', '^off$', 'off', 'plans are logged, with constants'),
            ('lo_compat_privileges', '^off$', 'off', 'every role reads every large object'),
            ('allow_system_table_mods', '^off$', 'off', 'system tables can be written'),
            ('session_replication_role', '^origin$', 'origin', 'triggers and rules do not fire as they should')
        ) AS w (name, good, better, finding) JOIN pg_settings AS s ON s.name = w.name
        WHERE current_setting(s.name) !~ w.good;
END
$$;
COMMENT ON FUNCTION immiiq.advise() IS 'holes in schema, roles and settings of this database; the view immiiq.advisor shows them';
REVOKE ALL ON FUNCTION immiiq.advise() FROM PUBLIC;

CREATE VIEW immiiq.advisor AS
SELECT a.severity, a.object, a.finding, a.remedy FROM immiiq.advise() AS a
ORDER BY pg_catalog.array_position(ARRAY['critical', 'warning', 'info'], a.severity), a.object, a.finding;
COMMENT ON VIEW immiiq.advisor IS 'holes in this database''s schema, roles and settings, each with the SQL that closes it';
REVOKE ALL ON immiiq.advisor FROM PUBLIC;
INSERT INTO immiiq.privilege
SELECT kind, privileges, object
FROM pg_catalog.unnest(ARRAY['auditor', 'operator', 'owner']) AS k (kind)
    CROSS JOIN (VALUES ('SELECT', 'TABLE immiiq.advisor'), ('EXECUTE', 'FUNCTION immiiq.advise()')) AS p (privileges, object);
