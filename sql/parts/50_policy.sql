-- visible(), what the planner makes of it, and protect().

-- ---- what policies read ----

CREATE FUNCTION immiiq.visible_support(internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_visible_support';
COMMENT ON FUNCTION immiiq.visible_support(internal) IS 'planner support of immiiq.visible';

CREATE FUNCTION immiiq.client_support(internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_client_support';
COMMENT ON FUNCTION immiiq.client_support(internal) IS 'planner support of immiiq.client_if';

-- Everybody may execute these: policies run them as whoever queries, and they tell of nobody but who is asking.
CREATE FUNCTION immiiq.visible(module text, command text, org_id uuid, client_id uuid, team_id uuid, assignee_id uuid, office_id uuid)
    RETURNS boolean
    LANGUAGE c STABLE LEAKPROOF PARALLEL SAFE COST 10 SUPPORT immiiq.visible_support
    AS 'MODULE_PATHNAME', 'immiiq_visible';
COMMENT ON FUNCTION immiiq.visible(text, text, uuid, uuid, uuid, uuid, uuid)
    IS 'true when who is asking may do the command on a row with these columns; write NULL for a column that the table has not';

CREATE FUNCTION immiiq.org_if(modules text, command text, shape text) RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_org_if';
COMMENT ON FUNCTION immiiq.org_if(text, text, text)
    IS 'in plans: the organisation of who is asking, NULL when nobody is or one of the modules is off; IQ020 when the plan was made for another scope';

CREATE FUNCTION immiiq.nothing_if(shape text) RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_nothing_if';
COMMENT ON FUNCTION immiiq.nothing_if(text) IS 'in plans: always NULL; IQ020 when the plan was made for another scope';

CREATE FUNCTION immiiq.team_if(shape text) RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_team_if';
COMMENT ON FUNCTION immiiq.team_if(text) IS 'in plans: the only team of who is asking; IQ020 when the plan was made for another scope';

CREATE FUNCTION immiiq.teams_if(shape text) RETURNS uuid[]
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_teams_if';
COMMENT ON FUNCTION immiiq.teams_if(text) IS 'in plans: the teams of who is asking; IQ020 when the plan was made for another scope';

CREATE FUNCTION immiiq.member_if(shape text) RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_member_if';
COMMENT ON FUNCTION immiiq.member_if(text) IS 'in plans: the member who is asking; IQ020 when the plan was made for another scope';

CREATE FUNCTION immiiq.offices_if(shape text) RETURNS uuid[]
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_offices_if';
COMMENT ON FUNCTION immiiq.offices_if(text) IS 'in plans: the offices of who is asking; IQ020 when the plan was made for another scope';

CREATE FUNCTION immiiq.portal_client_if(shape text) RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_portal_client_if';
COMMENT ON FUNCTION immiiq.portal_client_if(text) IS 'in plans: the client who is asking through the portal; IQ020 when the plan was made for another scope';

CREATE FUNCTION immiiq.every_if(shape text) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_every_if';
COMMENT ON FUNCTION immiiq.every_if(text) IS 'in plans: true for who operates on every organisation; IQ020 when the plan was made for another scope';

CREATE FUNCTION immiiq.client_if(org_id uuid, client_id uuid, shape text) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE COST 10 SUPPORT immiiq.client_support
    AS 'MODULE_PATHNAME', 'immiiq_client_if';
COMMENT ON FUNCTION immiiq.client_if(uuid, uuid, text)
    IS 'in plans: true when the client is assigned to who is asking; IQ020 when the plan was made for another scope';

CREATE FUNCTION immiiq.clients_if(shape text) RETURNS uuid[]
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_clients_if';
COMMENT ON FUNCTION immiiq.clients_if(text)
    IS 'in plans: the clients assigned to who is asking; IQ020 when the plan was made for another scope';

-- ---- work on tables of others ----

-- Whatever a function with rights of its own does to a table that it did not make, it does through this.
CREATE FUNCTION immiiq.as_owner(target regclass, command text, VARIADIC parameters "any") RETURNS record
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_as_owner';
CREATE FUNCTION immiiq.as_owner(target regclass, command text) RETURNS record
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_as_owner';
COMMENT ON FUNCTION immiiq.as_owner(regclass, text, "any")
    IS 'runs a command with the rights of a table''s owner alone: a SELECT''s first row, or how many rows it changed';
COMMENT ON FUNCTION immiiq.as_owner(regclass, text) IS 'the same for a command without parameters';
REVOKE ALL ON FUNCTION immiiq.as_owner(regclass, text, "any"), immiiq.as_owner(regclass, text) FROM PUBLIC;

-- ---- permissions by name ----

CREATE FUNCTION immiiq.has_permission(name text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_has_permission';
COMMENT ON FUNCTION immiiq.has_permission(text) IS 'true when the active member has the permission; operators have every one';

CREATE FUNCTION immiiq.require_permission(name text) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_require_permission';
COMMENT ON FUNCTION immiiq.require_permission(text) IS '42501, recorded, unless the active member has the permission';

-- ---- what is protected ----

-- What protect() made, so that unprotect() takes away exactly that. What is enforced stands in the tables' own policies.
CREATE TABLE immiiq.protection (
    relid regclass NOT NULL PRIMARY KEY,
    made jsonb NOT NULL,
    protected_by name NOT NULL DEFAULT session_user,
    protected_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE immiiq.protection IS 'what immiiq.protect made for each table';
REVOKE ALL ON immiiq.protection FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.protection', '');
-- Owners of tables record and forget their own.
ALTER TABLE immiiq.protection ENABLE ROW LEVEL SECURITY;
CREATE POLICY immiiq_owner ON immiiq.protection USING (
    EXISTS (SELECT FROM pg_catalog.pg_class c
            WHERE c.oid OPERATOR(pg_catalog.=) relid AND pg_catalog.pg_has_role(c.relowner, 'MEMBER')));
INSERT INTO immiiq.privilege VALUES ('owner', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE immiiq.protection');

-- Column domains that are taken: a domain is what keeps tags of two columns apart.
CREATE TABLE immiiq.column_domain (
    domain integer NOT NULL PRIMARY KEY CHECK (domain OPERATOR(pg_catalog.>=) 1 AND domain OPERATOR(pg_catalog.<=) 65535),
    relation text NOT NULL,
    column_name name NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE immiiq.column_domain IS 'domains that immiiq.protect has handed out to sealed columns; never handed out twice';
REVOKE ALL ON immiiq.column_domain FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.column_domain', '');

CREATE FUNCTION immiiq.protected_columns(target regclass, OUT module text, OUT org name, OUT client name, OUT team name,
        OUT assignee name, OUT office name)
    RETURNS record LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_protected_columns';
COMMENT ON FUNCTION immiiq.protected_columns(regclass)
    IS 'module and columns that a table''s policies name; all NULL when it is not protected';

CREATE VIEW immiiq.protected_table AS
SELECT c.oid::pg_catalog.regclass AS relation, p.module, p.org, p.client, p.team, p.assignee, p.office,
       c.relforcerowsecurity AS forced, m.protected_by, m.protected_at
FROM pg_catalog.pg_class AS c
    CROSS JOIN LATERAL immiiq.protected_columns(c.oid) AS p
    LEFT JOIN immiiq.protection AS m ON m.relid OPERATOR(pg_catalog.=) c.oid
WHERE c.relrowsecurity AND NOT c.relispartition AND p.org IS NOT NULL
    AND EXISTS (SELECT FROM pg_catalog.pg_policy AS l
                WHERE l.polrelid OPERATOR(pg_catalog.=) c.oid AND l.polname OPERATOR(pg_catalog.=) 'immiiq_select');
COMMENT ON VIEW immiiq.protected_table IS 'tables under immiiq''s row security, as their own policies say';

-- The next free domain, or the wanted one; recorded for the column.
CREATE FUNCTION immiiq.claim_domain(target regclass, column_name name) RETURNS integer
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    claimed integer;
BEGIN
    LOCK TABLE immiiq.column_domain IN SHARE ROW EXCLUSIVE MODE;
    -- Domains below 1024 are left to those who write them themselves; what they took above is skipped, too.
    SELECT GREATEST(max(taken), 1023) + 1 INTO claimed
    FROM (SELECT domain AS taken FROM immiiq.column_domain
          UNION ALL
          SELECT atttypmod & 65535
          FROM pg_attribute
          WHERE atttypmod >= 0 AND NOT attisdropped
              AND atttypid = ANY (ARRAY(SELECT oid FROM pg_type WHERE typname LIKE 'enc\_%' AND typnamespace = 'pg_catalog'::regnamespace))
         ) AS used;
    IF claimed > 65535 THEN
        RAISE EXCEPTION 'no column domain is left'
            USING ERRCODE = 'program_limit_exceeded', HINT = 'Give the column a domain of your own, a number before its words.';
    END IF;
    INSERT INTO immiiq.column_domain (domain, relation, column_name) VALUES (claimed, target::text, claim_domain.column_name);
    RETURN claimed;
END
$$;
COMMENT ON FUNCTION immiiq.claim_domain(regclass, name) IS 'hands out a column domain that no sealed column has; used by immiiq.protect';
REVOKE ALL ON FUNCTION immiiq.claim_domain(regclass, name) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('owner', 'EXECUTE', 'FUNCTION immiiq.claim_domain(regclass, name)');

-- ---- protect ----

-- What protect() calls an index, constraint or statistics object.
CREATE FUNCTION immiiq.made_name(table_name name, column_name name) RETURNS name
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN pg_catalog.octet_length(pg_catalog.format('%s_%s_immiiq', table_name, column_name)) OPERATOR(pg_catalog.<=) 63
    THEN pg_catalog.format('%s_%s_immiiq', table_name, column_name)
    ELSE 'immiiq_' OPERATOR(pg_catalog.||) pg_catalog.md5(pg_catalog.format('%s_%s', table_name, column_name)) END::name;
COMMENT ON FUNCTION immiiq.made_name(name, name) IS 'name of what immiiq.protect makes for a column; used by immiiq.protect';

-- The policies of a table. Who may not read may change nothing either. A permission stands in a SELECT of its own, so
-- that it is asked once a statement.
CREATE FUNCTION immiiq.create_policies(target regclass, module text, org name, client name, team name, assignee name, office name,
        portal boolean, permissions jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    command text;
    permission text;
    condition text;
BEGIN
    FOREACH command IN ARRAY ARRAY['select', 'insert', 'update', 'delete'] LOOP
        condition := format('immiiq.visible(%L, %L, %I, %s, %s, %s, %s)', module,
            command || CASE WHEN portal AND command = 'select' THEN ' portal' ELSE '' END, org,
            coalesce(quote_ident(client), 'NULL'), coalesce(quote_ident(team), 'NULL'), coalesce(quote_ident(assignee), 'NULL'),
            coalesce(quote_ident(office), 'NULL'));
        FOR permission IN
            SELECT DISTINCT p.value FROM jsonb_each_text(permissions) AS p
            WHERE p.key = command OR (p.key = 'read' AND command <> 'insert') OR (p.key = 'write' AND command IN ('insert', 'update'))
            ORDER BY p.value
        LOOP
            condition := CASE WHEN portal AND command = 'select'
                THEN format('%s AND (SELECT immiiq.current_actor() = ''portal'' OR immiiq.has_permission(%L))', condition, permission)
                ELSE format('%s AND (SELECT immiiq.has_permission(%L))', condition, permission) END;
        END LOOP;
        EXECUTE format('CREATE POLICY %I ON %s FOR %s', 'immiiq_' || command, target, command)
            || CASE WHEN command <> 'insert' THEN format(' USING (%s)', condition) ELSE '' END
            || CASE WHEN command IN ('insert', 'update') THEN format(' WITH CHECK (%s)', condition) ELSE '' END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.create_policies(regclass, text, name, name, name, name, name, boolean, jsonb)
    IS 'creates the four policies of a protected table; used by immiiq.protect';
REVOKE ALL ON FUNCTION immiiq.create_policies(regclass, text, name, name, name, name, name, boolean, jsonb) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('owner', 'EXECUTE', 'FUNCTION immiiq.create_policies(regclass, text, name, name, name, name, name, boolean, jsonb)');

-- Row security and the truncate guard on a table that is a partition, and on every partition below: no policy there, so direct
-- access shows nothing.
CREATE FUNCTION immiiq.close_partitions(target regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT t.relid FROM pg_partition_tree(target) AS t WHERE t.parentrelid IS NOT NULL LOOP
        IF NOT (SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = part) THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
        END IF;
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = part AND tgname = 'immiiq_truncate') THEN
            EXECUTE format('CREATE TRIGGER immiiq_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_truncate()', part);
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER immiiq_truncate', part);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.close_partitions(regclass)
    IS 'row security without policies on each partition of a protected table; used by immiiq.protect and an event trigger';
REVOKE ALL ON FUNCTION immiiq.close_partitions(regclass) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('owner', 'EXECUTE', 'FUNCTION immiiq.close_partitions(regclass)');

-- Foreign keys of one column between protected tables become keys over (organisation, column), under the same name:
-- a row can then refer to its own organisation's rows only, and a refused one tells nothing of foreign ids.
-- Returns what it made and replaced, as immiiq.protection.made has it.
-- A constraint's comment goes with it.
CREATE FUNCTION immiiq.replace_constraint(target regclass, constraint_name name, definition text) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    said constant text := (SELECT obj_description(k.oid, 'pg_constraint') FROM pg_constraint AS k WHERE k.conrelid = target AND k.conname = constraint_name);
BEGIN
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', target, constraint_name);
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', target, constraint_name, definition);
    IF said IS NOT NULL THEN
        EXECUTE format('COMMENT ON CONSTRAINT %I ON %s IS %L', constraint_name, target, said);
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.replace_constraint(regclass, name, text) IS 'puts another definition in a constraint''s place, under its name and comment; used by immiiq.protect and unprotect';
REVOKE ALL ON FUNCTION immiiq.replace_constraint(regclass, name, text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('owner', 'EXECUTE', 'FUNCTION immiiq.replace_constraint(regclass, name, text)');

CREATE FUNCTION immiiq.bind_foreign_keys(target regclass) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    fk record;
    made jsonb := '{"replaced": [], "constraints": []}';
    key_name name;
    actions constant jsonb := '{"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}';
BEGIN
    FOR fk IN
        SELECT k.conname, k.conrelid::regclass AS child, k.confrelid::regclass AS parent, pg_get_constraintdef(k.oid) AS definition,
               k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update, k.condeferrable, k.condeferred, k.confmatchtype,
               a.attname AS child_column, b.attname AS parent_column, c.org AS child_org, p.org AS parent_org
        FROM pg_constraint AS k
            JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
            JOIN pg_attribute AS b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
            CROSS JOIN LATERAL immiiq.protected_columns(k.conrelid) AS c
            CROSS JOIN LATERAL immiiq.protected_columns(k.confrelid) AS p
        WHERE k.contype = 'f' AND target IN (k.conrelid, k.confrelid) AND k.conparentid = 0
            AND cardinality(k.conkey) = 1
            AND c.org IS NOT NULL AND p.org IS NOT NULL
            AND a.attname <> c.org AND b.attname <> p.org
        ORDER BY k.conrelid, k.conname
    LOOP
        -- The key that it will refer to.
        IF NOT EXISTS (
            SELECT FROM pg_constraint AS u
            WHERE u.conrelid = fk.parent AND u.contype IN ('p', 'u') AND NOT u.condeferrable AND cardinality(u.conkey) = 2
                AND (SELECT array_agg(a.attname) FROM pg_attribute AS a WHERE a.attrelid = fk.parent AND a.attnum = ANY (u.conkey))
                    @> ARRAY[fk.parent_org, fk.parent_column])
        THEN
            BEGIN
                EXECUTE format('ALTER TABLE %s ADD UNIQUE (%I, %I)', fk.parent, fk.parent_org, fk.parent_column);
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE NOTICE 'foreign key % of % stays as it is: % has no unique key over (%, %)',
                    fk.conname, fk.child, fk.parent, fk.parent_org, fk.parent_column
                    USING HINT = 'Add that key, then a foreign key over the organisation and the column, and drop the old one.';
                CONTINUE;
            END;
            SELECT u.conname INTO STRICT key_name FROM pg_constraint AS u
            WHERE u.conrelid = fk.parent AND u.contype = 'u' ORDER BY u.oid DESC LIMIT 1;
            made := jsonb_set(made, '{constraints}', made -> 'constraints'
                || jsonb_build_array(jsonb_build_object('table', fk.parent::text, 'name', key_name)));
        END IF;
        BEGIN
            PERFORM immiiq.replace_constraint(fk.child, fk.conname, format('FOREIGN KEY (%I, %I) REFERENCES %s (%I, %I) ON DELETE %s ON UPDATE %s%s%s', fk.child_org, fk.child_column, fk.parent, fk.parent_org, fk.parent_column,
                (actions ->> fk.on_delete) || CASE WHEN fk.on_delete IN ('n', 'd') THEN format(' (%I)', fk.child_column) ELSE '' END,
                -- SET NULL on update would clear the organisation with it, which never changes: nothing is left to do.
                CASE WHEN fk.on_update IN ('n', 'd') THEN 'NO ACTION' ELSE actions ->> fk.on_update END,
                CASE WHEN fk.condeferrable THEN ' DEFERRABLE' ELSE '' END,
                CASE WHEN fk.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END));
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'foreign key % of % stays as it is: it is not yours to change', fk.conname, fk.child
                USING HINT = 'Let the owner replace it by a key over the organisation and the column.';
            CONTINUE;
        END;
        made := jsonb_set(made, '{replaced}', made -> 'replaced'
            || jsonb_build_array(jsonb_build_object('table', fk.child::text, 'name', fk.conname, 'definition', fk.definition)));
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION immiiq.bind_foreign_keys(regclass)
    IS 'binds foreign keys between protected tables to the organisation; used by immiiq.protect';
REVOKE ALL ON FUNCTION immiiq.bind_foreign_keys(regclass) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('owner', 'EXECUTE', 'FUNCTION immiiq.bind_foreign_keys(regclass)');

CREATE FUNCTION immiiq.find_new_client() RETURNS trigger
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'immiiq_find_new_client';
COMMENT ON FUNCTION immiiq.find_new_client() IS 'trigger: a client that nothing names yet is in scope while its row is inserted; immiiq.protect makes it';
CREATE FUNCTION immiiq.assign_new_client() RETURNS trigger
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'immiiq_assign_new_client';
COMMENT ON FUNCTION immiiq.assign_new_client() IS 'trigger: assigns a new client to the member who made it; immiiq.protect makes it';
REVOKE ALL ON FUNCTION immiiq.find_new_client(), immiiq.assign_new_client() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('owner', 'EXECUTE', 'FUNCTION immiiq.find_new_client()'),
    ('owner', 'EXECUTE', 'FUNCTION immiiq.assign_new_client()');

CREATE FUNCTION immiiq.protect(target regclass, module text, org name DEFAULT 'org_id', client name DEFAULT NULL, team name DEFAULT NULL,
        assignee name DEFAULT NULL, office name DEFAULT NULL, portal boolean DEFAULT false, permissions jsonb DEFAULT NULL,
        new_clients boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    class pg_class;
    col record;
    part text;
    short_name name;
    made jsonb;
    bound jsonb;
    new_domain integer;
    sealed name[] := '{}';
    has_rows boolean;
    sealed_types constant oid[] := ARRAY(SELECT oid FROM pg_type WHERE typname LIKE 'enc\_%' AND typname NOT LIKE '%\_base'
        AND typtype = 'b' AND typelem = 0 AND typnamespace = 'pg_catalog'::regnamespace);
BEGIN
    -- What cannot be honoured is refused, first of all.
    IF target IS NULL OR org IS NULL THEN
        RAISE EXCEPTION 'table and organisation column must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF coalesce(portal, false) AND client IS NULL THEN
        RAISE EXCEPTION 'a table without a client cannot be opened to the portal' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Say which column holds the client.';
    END IF;
    IF coalesce(new_clients, false) AND client IS NULL THEN
        RAISE EXCEPTION 'new clients cannot come to a table without a client' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Say which column holds the client.';
    END IF;
    IF jsonb_typeof(permissions) <> 'object' OR EXISTS (
        SELECT FROM jsonb_each(CASE jsonb_typeof(permissions) WHEN 'object' THEN permissions ELSE '{}' END) AS p
        WHERE p.key NOT IN ('read', 'insert', 'update', 'write', 'delete') OR jsonb_typeof(p.value) <> 'string'
            OR p.value #>> '{}' !~ '^[a-z][a-z0-9_.:-]{0,62}$')
    THEN
        RAISE EXCEPTION 'permissions are not as they should be' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Write an object of read, insert, update, write (which is insert and update) and delete with a permission''s name each.';
    END IF;
    IF module IS NOT NULL AND module NOT IN ('clients', 'cases', 'communications', 'ai', 'documents', 'invoices', 'reports', 'billing',
        'settings', 'team_management')
    THEN
        RAISE EXCEPTION 'unknown module' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Modules are clients, cases, communications, ai, documents, invoices, reports, billing, settings and team_management.';
    END IF;
    SELECT * INTO STRICT class FROM pg_class WHERE oid = target;
    short_name := class.relname;
    IF class.relkind NOT IN ('r', 'p') OR class.relpersistence = 't' THEN
        RAISE EXCEPTION '% is not a table that can be protected', target USING ERRCODE = 'wrong_object_type',
            HINT = 'Protect the permanent tables below a view; views see what their tables show when made WITH (security_invoker).';
    END IF;
    IF class.relnamespace IN ('immiiq'::regnamespace, 'pg_catalog'::regnamespace) THEN
        RAISE EXCEPTION '% is not a table of yours', target USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT pg_has_role(class.relowner, 'MEMBER') THEN
        RAISE EXCEPTION 'must be owner of table %', target USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF class.relispartition THEN
        RAISE EXCEPTION '% is a partition', target USING ERRCODE = 'wrong_object_type',
            HINT = format('Protect %s, to which it belongs.', pg_partition_root(target));
    END IF;
    IF class.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE target IN (inhrelid, inhparent)) THEN
        RAISE EXCEPTION '% has parents or children by inheritance', target USING ERRCODE = 'feature_not_supported',
            HINT = 'Use partitions, or end the inheritance.';
    END IF;
    IF EXISTS (SELECT FROM immiiq.protection WHERE relid = target) OR (immiiq.protected_columns(target)).org IS NOT NULL THEN
        RAISE EXCEPTION '% is protected already', target USING ERRCODE = 'duplicate_object',
            HINT = 'Call immiiq.unprotect first.';
    END IF;
    IF EXISTS (SELECT FROM pg_policy WHERE polrelid = target AND polpermissive) THEN
        RAISE EXCEPTION '% has permissive policies, which would widen what members see', target USING ERRCODE = 'duplicate_object',
            HINT = 'Drop them, or make them AS RESTRICTIVE.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = target AND contype = 'p') THEN
        RAISE EXCEPTION '% has no primary key', target USING ERRCODE = 'invalid_table_definition',
            HINT = 'Add one: the audit names rows by it.';
    END IF;
    FOR col IN
        SELECT want.name, a.attnum, a.atttypid
        FROM unnest(ARRAY[org, client, team, assignee, office]) AS want (name)
            LEFT JOIN pg_attribute AS a ON a.attrelid = target AND a.attname = want.name AND a.attnum > 0 AND NOT a.attisdropped
        WHERE want.name IS NOT NULL
    LOOP
        IF col.attnum IS NULL THEN
            RAISE EXCEPTION '% has no column %', target, quote_ident(col.name) USING ERRCODE = 'undefined_column';
        END IF;
        IF col.atttypid <> 'uuid'::regtype THEN
            RAISE EXCEPTION 'column % of % is not of type uuid', quote_ident(col.name), target USING ERRCODE = 'datatype_mismatch',
                HINT = 'Ids of organisations, clients, teams and members are uuid.';
        END IF;
    END LOOP;
    IF (SELECT count(DISTINCT name) <> count(name) FROM unnest(ARRAY[org, client, team, assignee, office]) AS c (name)) THEN
        RAISE EXCEPTION 'one column cannot be two things' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF coalesce(new_clients, false) AND NOT EXISTS (
        SELECT FROM pg_constraint AS k
        WHERE k.conrelid = target AND k.contype = 'p'
            AND (SELECT array_agg(a.attname) FROM pg_attribute AS a WHERE a.attrelid = target AND a.attnum = ANY (k.conkey)) <@ ARRAY[org, client]
            AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = target AND a.attnum = ANY (k.conkey) AND a.attname = client))
    THEN
        RAISE EXCEPTION 'new clients cannot come to %: its primary key is not the client', target USING ERRCODE = 'invalid_parameter_value';
    END IF;

    made := jsonb_build_object('portal', coalesce(portal, false), 'permissions', permissions, 'new_clients', coalesce(new_clients, false),
        'row_security', class.relrowsecurity, 'forced', class.relforcerowsecurity,
        'closed_parts', (SELECT coalesce(jsonb_agg(t.relid::text), '[]') FROM pg_partition_tree(target) AS t JOIN pg_class AS p ON p.oid = t.relid WHERE t.level > 0 AND p.relrowsecurity),
        'forced_parts', (SELECT coalesce(jsonb_agg(t.relid::text), '[]') FROM pg_partition_tree(target) AS t JOIN pg_class AS p ON p.oid = t.relid WHERE t.level > 0 AND p.relforcerowsecurity),
        'constraints', '[]'::jsonb, 'replaced', '[]'::jsonb, 'indexes', '[]'::jsonb, 'statistics', '[]'::jsonb, 'domains', '[]'::jsonb);

    -- The organisation: never null, by default that of who is asking, one that there is.
    SELECT a.attnotnull, a.atthasdef INTO col FROM pg_attribute AS a WHERE a.attrelid = target AND a.attname = org;
    made := made || jsonb_build_object('org', org, 'not_null', NOT col.attnotnull, 'default', NOT col.atthasdef);
    IF NOT col.attnotnull THEN
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', target, org);
    END IF;
    IF NOT col.atthasdef THEN
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT immiiq.current_org()', target, org);
    END IF;
    FOR col IN
        SELECT * FROM (VALUES
            (ARRAY[org], 'immiiq.org'::regclass, ARRAY['org_id']::name[]),
            (ARRAY[org, team], 'immiiq.team'::regclass, ARRAY['org_id', 'team_id']::name[]),
            (ARRAY[org, office], 'immiiq.team'::regclass, ARRAY['org_id', 'team_id']::name[]),
            (ARRAY[org, assignee], 'immiiq.member'::regclass, ARRAY['org_id', 'member_id']::name[])
        ) AS keys (own, parent, parent_columns)
        WHERE array_position(own, NULL) IS NULL
    LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_constraint AS k
            WHERE k.conrelid = target AND k.contype = 'f' AND k.confrelid = col.parent
                AND col.own = ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY AS u (num, pos)
                                    JOIN pg_attribute AS a ON a.attrelid = target AND a.attnum = u.num ORDER BY u.pos));
        part := immiiq.made_name(short_name, col.own[cardinality(col.own)]);
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I FOREIGN KEY (%s) REFERENCES %s (%s)', target, part,
            (SELECT string_agg(quote_ident(c), ', ') FROM unnest(col.own) AS c), col.parent,
            (SELECT string_agg(quote_ident(c), ', ') FROM unnest(col.parent_columns) AS c));
        made := jsonb_set(made, '{constraints}', made -> 'constraints'
            || jsonb_build_array(jsonb_build_object('table', target::text, 'name', part)));
    END LOOP;

    -- A domain of its own for each sealed column that has none.
    FOR col IN
        SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type,
               substring(format_type(a.atttypid, a.atttypmod) FROM '\((.*)\)') AS words, a.atttypmod & 65535 AS domain
        FROM pg_attribute AS a
        WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = ANY (sealed_types)
    LOOP
        IF col.words ~ '\m(equality|fold)\M' THEN
            sealed := sealed || col.attname;
        END IF;
        CONTINUE WHEN col.domain <> 0;
        IF has_rows IS NULL THEN
            -- An error rather than no row, should row security hide them from the owner already.
            part := current_setting('row_security');
            PERFORM set_config('row_security', 'off', true);
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', target) INTO has_rows;
            PERFORM set_config('row_security', part, true);
        END IF;
        IF has_rows THEN
            RAISE EXCEPTION 'sealed column % of % has no domain, and the table has rows', quote_ident(col.attname), target
                USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Protect the table while it is empty, or declare the column with a domain of its own, a number before its words.';
        END IF;
        new_domain := immiiq.claim_domain(target, col.attname);
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s', target, col.attname,
            regexp_replace(col.type, '\(', format('(%s,', new_domain)));
        made := jsonb_set(made, '{domains}', made -> 'domains'
            || jsonb_build_array(jsonb_build_object('column', col.attname, 'type', col.type, 'domain', new_domain)));
    END LOOP;

    -- Indexes that the scopes' conditions need.
    FOR col IN
        SELECT own FROM (VALUES (1, ARRAY[org, client]), (2, ARRAY[org, team]), (3, ARRAY[org, assignee]), (4, ARRAY[org, office]), (5, ARRAY[org])) AS want (pos, own)
        WHERE array_position(own, NULL) IS NULL
        ORDER BY pos
    LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_index AS i
                JOIN pg_class AS c ON c.oid = i.indexrelid
                JOIN pg_am AS m ON m.oid = c.relam AND m.amname = 'btree'
            WHERE i.indrelid = target AND i.indisvalid AND i.indpred IS NULL
                AND col.own = (ARRAY(SELECT a.attname FROM unnest(i.indkey) WITH ORDINALITY AS u (num, pos)
                                     LEFT JOIN pg_attribute AS a ON a.attrelid = target AND a.attnum = u.num
                                     ORDER BY u.pos))[1:cardinality(col.own)]);
        part := immiiq.made_name(short_name, col.own[cardinality(col.own)]);
        EXECUTE format('CREATE INDEX %I ON %s (%s)', part, target, (SELECT string_agg(quote_ident(c), ', ') FROM unnest(col.own) AS c));
        made := jsonb_set(made, '{indexes}', made -> 'indexes'
            || to_jsonb(format('%I.%I', class.relnamespace::regnamespace::text, part)));
    END LOOP;

    -- A duplicate that no member of the organisation sees would tell of another's rows; a random uuid cannot be guessed.
    FOR col IN
        SELECT i.indexrelid::regclass AS index FROM pg_index AS i
        WHERE i.indrelid = target AND i.indisunique
            AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = target AND a.attnum = ANY (i.indkey) AND a.attname = org)
            AND EXISTS (SELECT FROM unnest(i.indkey) AS u (num) LEFT JOIN pg_attribute AS a ON a.attrelid = target AND a.attnum = u.num
                        WHERE a.atttypid IS DISTINCT FROM 'uuid'::regtype)
    LOOP
        RAISE NOTICE 'unique index % does not hold the organisation: a duplicate tells that another organisation has the value', col.index
            USING HINT = format('Make it unique over %I and its columns, or use random uuids.', org);
    END LOOP;

    -- A team, an assignee and a client imply the organisation: without statistics that say so, estimates are far too low.
    FOREACH part IN ARRAY array_remove(ARRAY[client, team, assignee, office], NULL) LOOP
        EXECUTE format('CREATE STATISTICS %I.%I (dependencies) ON %I, %I FROM %s', class.relnamespace::regnamespace::text,
            immiiq.made_name(short_name, part::name), org, part, target);
        made := jsonb_set(made, '{statistics}', made -> 'statistics'
            || to_jsonb(format('%I.%I', class.relnamespace::regnamespace::text, immiiq.made_name(short_name, part::name))));
    END LOOP;

    -- The audit, and the guard that keeps TRUNCATE from going past it.
    EXECUTE format('CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION immiiq.capture()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER "00_immiiq_capture"', target);
    EXECUTE format('CREATE TRIGGER immiiq_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_truncate()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER immiiq_truncate', target);

    -- Who makes a client has it: of members whose clients are assigned.
    IF new_clients THEN
        EXECUTE format('CREATE TRIGGER immiiq_find_new_client BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION immiiq.find_new_client()', target);
        EXECUTE format('CREATE TRIGGER immiiq_assign_new_client AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION immiiq.assign_new_client()', target);
    END IF;

    PERFORM immiiq.create_policies(target, module, org, client, team, assignee, office, coalesce(portal, false), coalesce(permissions, '{}'));
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    PERFORM immiiq.close_partitions(target);

    bound := immiiq.bind_foreign_keys(target);
    made := made || jsonb_build_object('constraints', (made -> 'constraints') || (bound -> 'constraints'), 'replaced', bound -> 'replaced');
    INSERT INTO immiiq.protection (relid, made) VALUES (target, made);
END
$$;
COMMENT ON FUNCTION immiiq.protect(regclass, text, name, name, name, name, name, boolean, jsonb, boolean)
    IS 'puts a table under row security and audit: module, the columns that hold organisation, client, team, assignee and office, whether the portal may read, permissions for commands, and whether members with a narrow scope make clients here';
REVOKE ALL ON FUNCTION immiiq.protect(regclass, text, name, name, name, name, name, boolean, jsonb, boolean) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('owner', 'EXECUTE', 'FUNCTION immiiq.protect(regclass, text, name, name, name, name, name, boolean, jsonb, boolean)');

CREATE FUNCTION immiiq.unprotect(target regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was jsonb;
    item jsonb;
    part regclass;
    command text;
    has_rows boolean;
BEGIN
    SELECT made INTO was FROM immiiq.protection WHERE relid = target;
    IF was IS NULL THEN
        RAISE EXCEPTION '% is not protected by immiiq.protect', target USING ERRCODE = 'undefined_object';
    END IF;
    FOREACH command IN ARRAY ARRAY['select', 'insert', 'update', 'delete'] LOOP
        EXECUTE format('DROP POLICY IF EXISTS %I ON %s', 'immiiq_' || command, target);
    END LOOP;
    EXECUTE format('DROP TRIGGER IF EXISTS "00_immiiq_capture" ON %s', target);
    IF (was ->> 'new_clients')::boolean THEN
        EXECUTE format('DROP TRIGGER IF EXISTS immiiq_find_new_client ON %s', target);
        EXECUTE format('DROP TRIGGER IF EXISTS immiiq_assign_new_client ON %s', target);
    END IF;
    FOR part IN SELECT t.relid FROM pg_partition_tree(target) AS t UNION SELECT target LOOP
        EXECUTE format('DROP TRIGGER IF EXISTS immiiq_truncate ON %s', part);
        IF NOT (CASE WHEN part = target THEN (was ->> 'forced')::boolean ELSE was -> 'forced_parts' ? part::text END) THEN
            EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', part);
        END IF;
        IF NOT (CASE WHEN part = target THEN (was ->> 'row_security')::boolean ELSE was -> 'closed_parts' ? part::text END) THEN
            EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', part);
        END IF;
    END LOOP;
    -- Foreign keys as they were, then the keys that they needed.
    FOR item IN SELECT * FROM jsonb_array_elements(was -> 'replaced') LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_constraint
                                  WHERE conrelid = to_regclass(item ->> 'table') AND conname = item ->> 'name' AND cardinality(conkey) = 2);
        PERFORM immiiq.replace_constraint((item ->> 'table')::regclass, (item ->> 'name')::name, item ->> 'definition');
    END LOOP;
    FOR item IN SELECT * FROM jsonb_array_elements(was -> 'constraints') LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_constraint
                                  WHERE conrelid = to_regclass(item ->> 'table') AND conname = item ->> 'name');
        BEGIN
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', item ->> 'table', item ->> 'name');
        EXCEPTION WHEN dependent_objects_still_exist THEN
            RAISE NOTICE 'constraint % of % stays: other foreign keys refer to it', item ->> 'name', item ->> 'table';
        END;
    END LOOP;
    FOR command IN SELECT * FROM jsonb_array_elements_text(was -> 'statistics') LOOP
        EXECUTE format('DROP STATISTICS IF EXISTS %s', command);
    END LOOP;
    FOR command IN SELECT * FROM jsonb_array_elements_text(was -> 'indexes') LOOP
        EXECUTE format('DROP INDEX IF EXISTS %s', command);
    END LOOP;
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attname = was ->> 'org' AND NOT attisdropped) THEN
        IF (was ->> 'default')::boolean THEN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', target, was ->> 'org');
        END IF;
        IF (was ->> 'not_null')::boolean THEN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', target, was ->> 'org');
        END IF;
    END IF;
    -- Values are bound to their column's domain: it goes only while there are none.
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', target) INTO has_rows;
    FOR item IN SELECT * FROM jsonb_array_elements(was -> 'domains') WHERE NOT has_rows LOOP
        IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attname = item ->> 'column' AND NOT attisdropped) THEN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s', target, item ->> 'column', item ->> 'type');
        END IF;
    END LOOP;
    DELETE FROM immiiq.protection WHERE relid = target;
END
$$;
COMMENT ON FUNCTION immiiq.unprotect(regclass) IS 'takes away what immiiq.protect made; sealed columns that hold values keep their domain';
REVOKE ALL ON FUNCTION immiiq.unprotect(regclass) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('owner', 'EXECUTE', 'FUNCTION immiiq.unprotect(regclass)');

-- ---- what DDL may not undo in silence ----

CREATE FUNCTION immiiq.may_open_partition(command pg_ddl_command) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_may_open_partition';
COMMENT ON FUNCTION immiiq.may_open_partition(pg_ddl_command)
    IS 'whether a collected command makes or attaches a table, or takes row security away; used by an event trigger';
REVOKE ALL ON FUNCTION immiiq.may_open_partition(pg_ddl_command) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('owner', 'EXECUTE', 'FUNCTION immiiq.may_open_partition(pg_ddl_command)');

-- New partitions of protected tables are closed at once; permissive policies beside immiiq's are refused.
CREATE FUNCTION immiiq.keep_protected() RETURNS event_trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed record;
    root regclass;
BEGIN
    FOR changed IN
        SELECT classid, objid, command FROM pg_event_trigger_ddl_commands()
        WHERE classid IN ('pg_class'::regclass, 'pg_policy'::regclass) AND NOT in_extension
    LOOP
        IF changed.classid = 'pg_policy'::regclass THEN
            IF EXISTS (SELECT FROM pg_policy AS p
                       WHERE p.oid = changed.objid AND p.polpermissive AND p.polname NOT LIKE 'immiiq\_%'
                           AND (immiiq.protected_columns(p.polrelid)).org IS NOT NULL)
            THEN
                RAISE EXCEPTION 'a permissive policy would widen what members see of a protected table'
                    USING ERRCODE = 'invalid_object_definition', HINT = 'Make it AS RESTRICTIVE.';
            END IF;
        ELSIF immiiq.may_open_partition(changed.command) THEN
            root := pg_partition_root(changed.objid);
            IF root IS NOT NULL AND (immiiq.protected_columns(root)).org IS NOT NULL THEN
                PERFORM immiiq.close_partitions(changed.objid);
            END IF;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.keep_protected() IS 'event trigger: closes new partitions of protected tables, refuses permissive policies on them';
REVOKE ALL ON FUNCTION immiiq.keep_protected() FROM PUBLIC;
CREATE EVENT TRIGGER immiiq_keep_protected ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE POLICY', 'CREATE TABLE AS')
    EXECUTE FUNCTION immiiq.keep_protected();
COMMENT ON EVENT TRIGGER immiiq_keep_protected IS 'closes new partitions of protected tables, refuses permissive policies on them';

-- A dropped table leaves no record behind that another table with its OID, or a dump, could meet.
CREATE FUNCTION immiiq.forget_dropped() RETURNS event_trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regclass('immiiq.protection') IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM immiiq.protection AS p
    USING pg_event_trigger_dropped_objects() AS d
    WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND p.relid = d.objid;
END
$$;
COMMENT ON FUNCTION immiiq.forget_dropped() IS 'event trigger: forgets dropped protected tables';
REVOKE ALL ON FUNCTION immiiq.forget_dropped() FROM PUBLIC;
CREATE EVENT TRIGGER immiiq_forget_dropped ON sql_drop WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED')
    EXECUTE FUNCTION immiiq.forget_dropped();
COMMENT ON EVENT TRIGGER immiiq_forget_dropped IS 'forgets dropped protected tables';
