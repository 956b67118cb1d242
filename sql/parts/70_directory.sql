-- Organisations, members, teams, roles and assignments: plain tables under their own protection.
-- C reads org, team, member, team_member and assignment by position (session.c, scope.c): append, never reorder.

-- Names of permissions are the application's own; '*' is every one. immiiq knows cross_office, reassign and reveal.
CREATE FUNCTION immiiq.are_permission_names(names text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN NOT EXISTS (SELECT FROM pg_catalog.unnest(names) AS u (name)
                   WHERE name IS NULL OR name OPERATOR(pg_catalog.!~) '^([a-z][a-z0-9_.:-]{0,62}|\*)$');
COMMENT ON FUNCTION immiiq.are_permission_names(text[])
    IS 'true when each is 1 to 63 of a-z, 0-9, _ . : - and begins with a letter, or is *; used by checks';

-- What the vendor sells: the default role and permission groups of an organisation's new members.
CREATE TABLE immiiq.plan (
    plan text NOT NULL PRIMARY KEY CHECK (plan OPERATOR(pg_catalog.<>) ''),
    role_name text NOT NULL CHECK (role_name OPERATOR(pg_catalog.<>) ''),
    scope text NOT NULL CHECK (scope IN ('all', 'team', 'assigned')),
    modules text[] NOT NULL DEFAULT '{}' CHECK (modules OPERATOR(pg_catalog.<@) ARRAY['clients', 'cases', 'communications', 'ai',
        'documents', 'invoices', 'reports', 'billing', 'settings', 'team_management']),
    permissions text[] NOT NULL DEFAULT '{}' CHECK (immiiq.are_permission_names(permissions)),
    assistant_modules text[] NOT NULL DEFAULT '{}',
    permission_groups jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(permission_groups) OPERATOR(pg_catalog.=) 'object')
);
COMMENT ON TABLE immiiq.plan IS 'default role and permission groups that organisations with this plan give to new members';
COMMENT ON COLUMN immiiq.plan.permission_groups IS 'name of a group → array of permission names';
REVOKE ALL ON immiiq.plan FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.plan', '');
INSERT INTO immiiq.privilege VALUES ('operator', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE immiiq.plan');

CREATE TABLE immiiq.org (
    org_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid() PRIMARY KEY,
    name text NOT NULL CHECK (name OPERATOR(pg_catalog.<>) ''),
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    plan text REFERENCES immiiq.plan
);

-- A role that follows changes the members who carry it when it is changed.
CREATE TABLE immiiq.role_template (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    role_template_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    name text NOT NULL CHECK (name OPERATOR(pg_catalog.<>) ''),
    scope text NOT NULL CHECK (scope IN ('all', 'team', 'assigned')),
    modules text[] NOT NULL DEFAULT '{}' CHECK (modules OPERATOR(pg_catalog.<@) ARRAY['clients', 'cases', 'communications', 'ai',
        'documents', 'invoices', 'reports', 'billing', 'settings', 'team_management']),
    permissions text[] NOT NULL DEFAULT '{}' CHECK (immiiq.are_permission_names(permissions)),
    assistant_modules text[] NOT NULL DEFAULT '{}' CHECK (assistant_modules OPERATOR(pg_catalog.<@) modules),
    follow boolean NOT NULL DEFAULT true,
    PRIMARY KEY (org_id, role_template_id),
    UNIQUE (org_id, name)
);

CREATE TABLE immiiq.team (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    team_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    name text NOT NULL CHECK (name OPERATOR(pg_catalog.<>) ''),
    kind text NOT NULL DEFAULT 'team' CHECK (kind IN ('team', 'office')),
    parent_id uuid,
    default_role_id uuid,
    PRIMARY KEY (org_id, team_id),
    UNIQUE (org_id, name),
    FOREIGN KEY (org_id, parent_id) REFERENCES immiiq.team (org_id, team_id),
    FOREIGN KEY (org_id, default_role_id) REFERENCES immiiq.role_template (org_id, role_template_id) ON DELETE SET NULL (default_role_id)
);
CREATE INDEX team_parent_idx ON immiiq.team (org_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX team_default_role_idx ON immiiq.team (org_id, default_role_id) WHERE default_role_id IS NOT NULL;

CREATE TABLE immiiq.member (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    member_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    email text NOT NULL CHECK (email OPERATOR(pg_catalog.<>) ''),
    name text NOT NULL,
    scope text NOT NULL DEFAULT 'assigned' CHECK (scope IN ('all', 'team', 'assigned')),
    modules text[] NOT NULL DEFAULT '{}' CHECK (modules OPERATOR(pg_catalog.<@) ARRAY['clients', 'cases', 'communications', 'ai',
        'documents', 'invoices', 'reports', 'billing', 'settings', 'team_management']),
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    permissions text[] NOT NULL DEFAULT '{}' CHECK (immiiq.are_permission_names(permissions)),
    role_template_id uuid,
    assistant_modules text[] NOT NULL DEFAULT '{}' CHECK (assistant_modules OPERATOR(pg_catalog.<@) ARRAY['clients', 'cases', 'communications', 'ai',
        'documents', 'invoices', 'reports', 'billing', 'settings', 'team_management']),
    added_scope text CHECK (added_scope IN ('all', 'team', 'assigned')),
    added_modules text[] NOT NULL DEFAULT '{}',
    added_permissions text[] NOT NULL DEFAULT '{}',
    added_assistant_modules text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (org_id, member_id),
    FOREIGN KEY (org_id, role_template_id) REFERENCES immiiq.role_template (org_id, role_template_id) ON DELETE SET NULL (role_template_id)
);
CREATE INDEX member_role_idx ON immiiq.member (org_id, role_template_id) WHERE role_template_id IS NOT NULL;
CREATE UNIQUE INDEX member_email_key ON immiiq.member (org_id, pg_catalog.lower(email));

CREATE TABLE immiiq.team_member (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    team_id uuid NOT NULL,
    member_id uuid NOT NULL,
    PRIMARY KEY (org_id, member_id, team_id),
    FOREIGN KEY (org_id, team_id) REFERENCES immiiq.team (org_id, team_id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, member_id) REFERENCES immiiq.member (org_id, member_id) ON DELETE CASCADE
);
CREATE INDEX team_member_team_idx ON immiiq.team_member (org_id, team_id);

CREATE TABLE immiiq.permission_group (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    permission_group_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    name text NOT NULL CHECK (name OPERATOR(pg_catalog.<>) ''),
    permissions text[] NOT NULL DEFAULT '{}' CHECK (immiiq.are_permission_names(permissions)),
    PRIMARY KEY (org_id, permission_group_id),
    UNIQUE (org_id, name)
);

CREATE TABLE immiiq.member_permission_group (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    member_id uuid NOT NULL,
    permission_group_id uuid NOT NULL,
    PRIMARY KEY (org_id, member_id, permission_group_id),
    FOREIGN KEY (org_id, member_id) REFERENCES immiiq.member (org_id, member_id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, permission_group_id) REFERENCES immiiq.permission_group (org_id, permission_group_id) ON DELETE CASCADE
);
CREATE INDEX member_permission_group_group_idx ON immiiq.member_permission_group (org_id, permission_group_id);

-- Which member or team a client is assigned to. client_id is the application's own key: no foreign key can be given here.
CREATE TABLE immiiq.assignment (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    assignment_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    client_id uuid NOT NULL,
    member_id uuid,
    team_id uuid,
    PRIMARY KEY (org_id, assignment_id),
    UNIQUE NULLS NOT DISTINCT (org_id, client_id, member_id, team_id),
    CHECK ((member_id IS NULL) OPERATOR(pg_catalog.<>) (team_id IS NULL)),
    FOREIGN KEY (org_id, member_id) REFERENCES immiiq.member (org_id, member_id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, team_id) REFERENCES immiiq.team (org_id, team_id) ON DELETE CASCADE
);
CREATE INDEX assignment_member_idx ON immiiq.assignment (org_id, member_id, client_id);
CREATE INDEX assignment_team_idx ON immiiq.assignment (org_id, team_id, client_id);

ALTER TABLE immiiq.session ADD FOREIGN KEY (org_id, member_id) REFERENCES immiiq.member (org_id, member_id) ON DELETE CASCADE;

COMMENT ON TABLE immiiq.org IS 'organisations';
COMMENT ON TABLE immiiq.team IS 'teams and offices of an organisation';
COMMENT ON TABLE immiiq.member IS 'members of an organisation: data scope and module switches';
COMMENT ON TABLE immiiq.team_member IS 'who is in which team';
COMMENT ON TABLE immiiq.role_template IS 'named roles: scope, modules and permissions that apply_role gives to members';
COMMENT ON COLUMN immiiq.role_template.follow IS 'true: who carries the role changes with it';
COMMENT ON COLUMN immiiq.role_template.assistant_modules IS 'modules in which the assistant may write for who carries the role';
COMMENT ON COLUMN immiiq.team.default_role_id IS 'role whose rights the team''s members have as long as they are in it';
COMMENT ON COLUMN immiiq.member.role_template_id IS 'role that the member carries; empty again when their rights are changed by hand';
COMMENT ON COLUMN immiiq.member.added_scope IS 'widest scope of the default roles of their teams; added_… are kept by immiiq';
COMMENT ON TABLE immiiq.permission_group IS 'permissions that are given together';
COMMENT ON TABLE immiiq.member_permission_group IS 'who has which permission group';
COMMENT ON TABLE immiiq.assignment IS 'which members or teams a client is assigned to';

SELECT pg_catalog.pg_extension_config_dump('immiiq.org', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.team', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.member', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.team_member', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.role_template', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.permission_group', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.member_permission_group', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.assignment', '');

-- ---- what members see of it, and who writes ----

-- Every member reads the organisation, its teams, roles and colleagues; writing needs the module team_management.
-- An organisation is made by create_org and never deleted by SQL.
CREATE POLICY immiiq_select ON immiiq.org FOR SELECT
    USING (immiiq.visible(NULL, 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_update ON immiiq.org FOR UPDATE
    USING (immiiq.visible('team_management', 'update', org_id, NULL, NULL, NULL, NULL))
    WITH CHECK (immiiq.visible('team_management', 'update', org_id, NULL, NULL, NULL, NULL));

-- With scope team one writes one's own teams and who is in them; an assignment shows a client's id: it is seen, and
-- written, by those whose scope has that client already.
DO $$
DECLARE
    rule record;
    command text;
BEGIN
    FOR rule IN SELECT * FROM (VALUES
        ('team', 'NULL', 'team_id'),
        ('member', 'NULL', 'NULL'),
        ('role_template', 'NULL', 'NULL'),
        ('permission_group', 'NULL', 'NULL'),
        ('member_permission_group', 'NULL', 'NULL'),
        ('team_member', 'NULL', 'team_id'),
        ('assignment', 'client_id', 'NULL')) AS r (relation, client, team) LOOP
        EXECUTE pg_catalog.format('CREATE POLICY immiiq_select ON immiiq.%I FOR SELECT
            USING (immiiq.visible(NULL, ''select'', org_id, %s, NULL, NULL, NULL))', rule.relation, rule.client);
        FOREACH command IN ARRAY ARRAY['insert', 'update', 'delete'] LOOP
            EXECUTE pg_catalog.format('CREATE POLICY immiiq_%1$s ON immiiq.%2$I FOR %1$s %3$s (immiiq.visible(''team_management'', %1$L, org_id, %4$s, %5$s, NULL, NULL))',
                command, rule.relation, CASE command WHEN 'insert' THEN 'WITH CHECK' ELSE 'USING' END, rule.client, rule.team);
        END LOOP;
    END LOOP;
END
$$;
CREATE INDEX assignment_client_idx ON immiiq.assignment (org_id, client_id);

-- ---- rights: nobody gives more than they have, and what follows what ----

CREATE FUNCTION immiiq.scope_width(scope text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE scope WHEN 'all' THEN 3 WHEN 'team' THEN 2 WHEN 'assigned' THEN 1 ELSE 0 END;
COMMENT ON FUNCTION immiiq.scope_width(text) IS 'scopes in order: assigned 1, team 2, all 3, none 0';

-- With team_management alone one could otherwise make oneself, or whose e-mail address one changes, an owner.
CREATE FUNCTION immiiq.may_give(scope text, modules text[], permissions text[]) RETURNS boolean
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own record;
BEGIN
    -- Operators, and owners outside any identity, are not members: nothing to compare with.
    IF immiiq.current_member() IS NULL THEN
        RETURN immiiq.current_actor() IS DISTINCT FROM 'portal';
    END IF;
    SELECT greatest(immiiq.scope_width(m.scope), immiiq.scope_width(m.added_scope)) AS width,
           m.modules || m.added_modules AS modules, m.permissions || m.added_permissions AS permissions INTO own
    FROM immiiq.member AS m
    WHERE m.org_id = immiiq.current_org() AND m.member_id = immiiq.current_member();
    RETURN coalesce(immiiq.scope_width(may_give.scope) <= own.width AND may_give.modules <@ own.modules
        AND ('*' = ANY (own.permissions) OR may_give.permissions <@ own.permissions), false);
END
$$;
COMMENT ON FUNCTION immiiq.may_give(text, text[], text[]) IS 'true when the active member has these rights; always for operators';
REVOKE ALL ON FUNCTION immiiq.may_give(text, text[], text[]) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.may_give(text, text[], text[])'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.may_give(text, text[], text[])');

-- A member's rights come from a role where one is named, or from the organisation's plan where nothing is given.
-- Rows that a restore brings, with nobody active, stay as they are.
CREATE FUNCTION immiiq.take_role() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    role immiiq.role_template;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF immiiq.current_org() IS NULL THEN
            RETURN NEW;
        END IF;
        IF NEW.role_template_id IS NULL AND NEW.scope = 'assigned' AND NEW.modules = '{}' AND NEW.permissions = '{}' THEN
            NEW.role_template_id := (SELECT t.role_template_id
                FROM immiiq.org AS o
                    JOIN immiiq.plan AS p ON p.plan = o.plan
                    JOIN immiiq.role_template AS t ON t.org_id = o.org_id AND t.name = p.role_name
                WHERE o.org_id = NEW.org_id);
        END IF;
    ELSIF NEW.role_template_id IS NOT DISTINCT FROM OLD.role_template_id THEN
        -- Changed by hand, the member carries the role no longer.
        IF NEW.role_template_id IS NOT NULL
            AND (NEW.scope, NEW.modules, NEW.permissions, NEW.assistant_modules)
                IS DISTINCT FROM (OLD.scope, OLD.modules, OLD.permissions, OLD.assistant_modules)
            AND NOT EXISTS (SELECT FROM immiiq.role_template AS t
                            WHERE t.org_id = NEW.org_id AND t.role_template_id = NEW.role_template_id
                                AND (t.scope, t.modules, t.permissions, t.assistant_modules)
                                    = (NEW.scope, NEW.modules, NEW.permissions, NEW.assistant_modules))
        THEN
            NEW.role_template_id := NULL;
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.role_template_id IS NOT NULL THEN
        SELECT * INTO role FROM immiiq.role_template AS t WHERE t.org_id = NEW.org_id AND t.role_template_id = NEW.role_template_id;
        IF FOUND THEN
            NEW.scope := role.scope;
            NEW.modules := role.modules;
            NEW.permissions := role.permissions;
            NEW.assistant_modules := role.assistant_modules;
        END IF;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION immiiq.take_role() IS 'trigger: a member has the rights of the role that they carry';
REVOKE ALL ON FUNCTION immiiq.take_role() FROM PUBLIC;
-- Triggers fire by name: this one before check_rights_given.
CREATE TRIGGER a_take_role BEFORE INSERT OR UPDATE ON immiiq.member FOR EACH ROW EXECUTE FUNCTION immiiq.take_role();

-- The rights that stand in a row of the directory, by what it refers to; all NULL when it gives none.
CREATE FUNCTION immiiq.rights_of_row(table_name name, changed jsonb, OUT scope text, OUT modules text[], OUT permissions text[]) RETURNS record
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    org constant uuid := changed ->> 'org_id';
    role uuid;
BEGIN
    IF table_name IN ('member', 'role_template') THEN
        scope := changed ->> 'scope';
        modules := ARRAY(SELECT jsonb_array_elements_text(changed -> 'modules'));
        permissions := ARRAY(SELECT jsonb_array_elements_text(changed -> 'permissions'));
        IF table_name = 'member' THEN
            IF immiiq.scope_width(changed ->> 'added_scope') > immiiq.scope_width(scope) THEN
                scope := changed ->> 'added_scope';
            END IF;
            modules := modules || ARRAY(SELECT jsonb_array_elements_text(changed -> 'added_modules'));
            permissions := permissions || ARRAY(SELECT jsonb_array_elements_text(changed -> 'added_permissions'));
        END IF;
    ELSIF table_name = 'permission_group' THEN
        scope := 'assigned';
        modules := '{}';
        permissions := ARRAY(SELECT jsonb_array_elements_text(changed -> 'permissions'));
    ELSIF table_name = 'member_permission_group' THEN
        SELECT 'assigned', '{}', g.permissions INTO scope, modules, permissions
        FROM immiiq.permission_group AS g
        WHERE g.org_id = org AND g.permission_group_id = (changed ->> 'permission_group_id')::uuid;
    ELSE
        IF table_name = 'team' THEN
            role := changed ->> 'default_role_id';
        ELSE
            SELECT t.default_role_id INTO role FROM immiiq.team AS t WHERE t.org_id = org AND t.team_id = (changed ->> 'team_id')::uuid;
        END IF;
        SELECT r.scope, r.modules, r.permissions INTO scope, modules, permissions
        FROM immiiq.role_template AS r WHERE r.org_id = org AND r.role_template_id = role;
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.rights_of_row(name, jsonb) IS 'rights that a row of the directory holds or hands on; used by check_rights_given';
REVOKE ALL ON FUNCTION immiiq.rights_of_row(name, jsonb) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.rights_of_row(name, jsonb)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.rights_of_row(name, jsonb)');

CREATE FUNCTION immiiq.check_rights_given() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rights record;
    narrow boolean;
BEGIN
    -- What immiiq's own functions bring up to date was checked where it began.
    IF current_user = (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID) THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_TABLE_NAME = 'member' THEN
        IF TG_OP = 'INSERT' THEN
            NEW.added_scope := NULL;
            NEW.added_modules := '{}';
            NEW.added_permissions := '{}';
            NEW.added_assistant_modules := '{}';
        ELSIF TG_OP = 'UPDATE' THEN
            IF (NEW.added_scope, NEW.added_modules, NEW.added_permissions, NEW.added_assistant_modules)
                IS DISTINCT FROM (OLD.added_scope, OLD.added_modules, OLD.added_permissions, OLD.added_assistant_modules)
            THEN
                RAISE EXCEPTION 'what teams and permission groups add is not for SQL to change' USING ERRCODE = 'insufficient_privilege',
                    HINT = 'Change the team''s default role, the permission group, or who is in them.';
            END IF;
        END IF;
    ELSIF TG_TABLE_NAME = 'org' THEN
        IF TG_OP = 'UPDATE' AND immiiq.current_actor() IS DISTINCT FROM 'operator' THEN
            IF NEW.plan IS DISTINCT FROM OLD.plan OR NEW.active IS DISTINCT FROM OLD.active THEN
                RAISE EXCEPTION 'plan and state of an organisation are an operator''s to change' USING ERRCODE = 'insufficient_privilege';
            END IF;
        END IF;
        RETURN NEW;
    END IF;
    IF immiiq.current_member() IS NULL THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;

    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        rights := immiiq.rights_of_row(TG_TABLE_NAME, to_jsonb(OLD));
        IF rights.scope IS NOT NULL AND NOT immiiq.may_give(rights.scope, rights.modules, rights.permissions) THEN
            RAISE EXCEPTION 'cannot change what has more rights than the active member'
                USING ERRCODE = 'insufficient_privilege', HINT = 'Ask a member who has them, or an operator.';
        END IF;
        -- Who has a narrower scope does not see what a colleague sees, and so cannot take a colleague over,
        -- nor change what colleagues carry.
        narrow := NOT immiiq.may_give('all', '{}', '{}');
        IF narrow AND TG_TABLE_NAME = 'member' THEN
            IF OLD.member_id <> immiiq.current_member() THEN
                RAISE EXCEPTION 'scope all is needed to change other members'
                    USING ERRCODE = 'insufficient_privilege', HINT = 'Ask a member who has it, or an operator.';
            END IF;
        ELSIF narrow AND TG_TABLE_NAME IN ('role_template', 'permission_group', 'member_permission_group') THEN
            RAISE EXCEPTION 'scope all is needed to change what other members carry'
                USING ERRCODE = 'insufficient_privilege', HINT = 'Ask a member who has it, or an operator.';
        END IF;
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        rights := immiiq.rights_of_row(TG_TABLE_NAME, to_jsonb(NEW));
        IF rights.scope IS NOT NULL AND NOT immiiq.may_give(rights.scope, rights.modules, rights.permissions) THEN
            RAISE EXCEPTION 'cannot give more rights than the active member has'
                USING ERRCODE = 'insufficient_privilege', HINT = 'Ask a member who has them, or an operator.';
        END IF;
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION immiiq.check_rights_given() IS 'trigger: a member gives and changes no more rights than their own';
REVOKE ALL ON FUNCTION immiiq.check_rights_given() FROM PUBLIC;
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['member', 'role_template', 'permission_group', 'member_permission_group', 'team', 'team_member'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER check_rights_given BEFORE INSERT OR UPDATE OR DELETE ON immiiq.%I
            FOR EACH ROW EXECUTE FUNCTION immiiq.check_rights_given()', name);
    END LOOP;
END
$$;
CREATE TRIGGER check_rights_given BEFORE UPDATE ON immiiq.org FOR EACH ROW EXECUTE FUNCTION immiiq.check_rights_given();

-- No team lies below itself.
CREATE FUNCTION immiiq.check_team_parent() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (
        WITH RECURSIVE above (team_id) AS (
            SELECT NEW.parent_id
            UNION
            SELECT t.parent_id FROM above AS a JOIN immiiq.team AS t ON t.org_id = NEW.org_id AND t.team_id = a.team_id
        )
        SELECT FROM above WHERE team_id = NEW.team_id)
    THEN
        RAISE EXCEPTION 'a team cannot lie below itself' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION immiiq.check_team_parent() IS 'trigger: teams form trees';
REVOKE ALL ON FUNCTION immiiq.check_team_parent() FROM PUBLIC;
CREATE TRIGGER check_team_parent BEFORE INSERT OR UPDATE OF parent_id ON immiiq.team
    FOR EACH ROW WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION immiiq.check_team_parent();

-- What teams' default roles and permission groups add to members, brought up to date.
CREATE FUNCTION immiiq.refresh_added_rights(org uuid, members uuid[]) RETURNS void
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH source AS (
        SELECT tm.member_id, r.scope, r.modules, r.permissions, r.assistant_modules
        FROM immiiq.team_member AS tm
            JOIN immiiq.team AS t ON t.org_id = tm.org_id AND t.team_id = tm.team_id
            JOIN immiiq.role_template AS r ON r.org_id = t.org_id AND r.role_template_id = t.default_role_id
        WHERE tm.org_id = refresh_added_rights.org AND tm.member_id = ANY (members)
        UNION ALL
        SELECT mg.member_id, NULL, '{}', g.permissions, '{}'
        FROM immiiq.member_permission_group AS mg
            JOIN immiiq.permission_group AS g ON g.org_id = mg.org_id AND g.permission_group_id = mg.permission_group_id
        WHERE mg.org_id = refresh_added_rights.org AND mg.member_id = ANY (members)
    ), added AS (
        SELECT m.member_id,
            (SELECT s.scope FROM source AS s WHERE s.member_id = m.member_id ORDER BY immiiq.scope_width(s.scope) DESC LIMIT 1) AS scope,
            ARRAY(SELECT DISTINCT unnest(s.modules) AS name FROM source AS s WHERE s.member_id = m.member_id ORDER BY name) AS modules,
            ARRAY(SELECT DISTINCT unnest(s.permissions) AS name FROM source AS s WHERE s.member_id = m.member_id ORDER BY name) AS permissions,
            ARRAY(SELECT DISTINCT unnest(s.assistant_modules) AS name FROM source AS s WHERE s.member_id = m.member_id ORDER BY name) AS assistant_modules
        FROM immiiq.member AS m
        WHERE m.org_id = refresh_added_rights.org AND m.member_id = ANY (members)
    )
    UPDATE immiiq.member AS m
    SET added_scope = a.scope, added_modules = a.modules, added_permissions = a.permissions, added_assistant_modules = a.assistant_modules
    FROM added AS a
    WHERE m.org_id = refresh_added_rights.org AND m.member_id = a.member_id
        AND (m.added_scope, m.added_modules, m.added_permissions, m.added_assistant_modules)
            IS DISTINCT FROM (a.scope, a.modules, a.permissions, a.assistant_modules)
$$;
COMMENT ON FUNCTION immiiq.refresh_added_rights(uuid, uuid[]) IS 'brings up to date what teams and permission groups add to members; used by triggers';
REVOKE ALL ON FUNCTION immiiq.refresh_added_rights(uuid, uuid[]) FROM PUBLIC;

CREATE FUNCTION immiiq.follow_rights() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    org uuid;
    members uuid[];
BEGIN
    IF TG_OP = 'DELETE' THEN
        org := OLD.org_id;
    ELSE
        org := NEW.org_id;
    END IF;
    -- Rows that a dump restores bring along what was added; an organisation's keys come last, as for capture().
    IF immiiq.current_actor() IS NULL AND NOT EXISTS (SELECT FROM immiiq.wrapped_key AS k WHERE k.org_id = org) THEN
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME IN ('team_member', 'member_permission_group') THEN
        IF TG_OP = 'DELETE' THEN
            members := ARRAY[OLD.member_id];
        ELSIF TG_OP = 'INSERT' THEN
            members := ARRAY[NEW.member_id];
        ELSE
            members := ARRAY[OLD.member_id, NEW.member_id];
        END IF;
    ELSIF TG_TABLE_NAME = 'team' THEN
        members := ARRAY(SELECT member_id FROM immiiq.team_member WHERE org_id = org AND team_id = NEW.team_id);
    ELSIF TG_TABLE_NAME = 'permission_group' THEN
        members := ARRAY(SELECT member_id FROM immiiq.member_permission_group WHERE org_id = org AND permission_group_id = NEW.permission_group_id);
    ELSE
        IF NEW.follow THEN
            UPDATE immiiq.member AS m
            SET scope = NEW.scope, modules = NEW.modules, permissions = NEW.permissions, assistant_modules = NEW.assistant_modules
            WHERE m.org_id = org AND m.role_template_id = NEW.role_template_id
                AND (m.scope, m.modules, m.permissions, m.assistant_modules)
                    IS DISTINCT FROM (NEW.scope, NEW.modules, NEW.permissions, NEW.assistant_modules);
        END IF;
        members := ARRAY(SELECT DISTINCT tm.member_id
                         FROM immiiq.team AS t JOIN immiiq.team_member AS tm ON tm.org_id = t.org_id AND tm.team_id = t.team_id
                         WHERE t.org_id = org AND t.default_role_id = NEW.role_template_id);
    END IF;
    IF members <> '{}' THEN
        PERFORM immiiq.refresh_added_rights(org, members);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.follow_rights() IS 'trigger: members keep up with roles, teams and permission groups';
REVOKE ALL ON FUNCTION immiiq.follow_rights() FROM PUBLIC;
CREATE TRIGGER follow_rights AFTER INSERT OR UPDATE OR DELETE ON immiiq.team_member
    FOR EACH ROW EXECUTE FUNCTION immiiq.follow_rights();
CREATE TRIGGER follow_rights AFTER INSERT OR UPDATE OR DELETE ON immiiq.member_permission_group
    FOR EACH ROW EXECUTE FUNCTION immiiq.follow_rights();
CREATE TRIGGER follow_rights AFTER UPDATE ON immiiq.team
    FOR EACH ROW WHEN (OLD.default_role_id IS DISTINCT FROM NEW.default_role_id) EXECUTE FUNCTION immiiq.follow_rights();
CREATE TRIGGER follow_rights AFTER UPDATE ON immiiq.permission_group
    FOR EACH ROW WHEN (OLD.permissions IS DISTINCT FROM NEW.permissions) EXECUTE FUNCTION immiiq.follow_rights();
CREATE TRIGGER follow_rights AFTER UPDATE ON immiiq.role_template
    FOR EACH ROW WHEN (OLD IS DISTINCT FROM NEW) EXECUTE FUNCTION immiiq.follow_rights();

-- A plan's role and groups are there as soon as the organisation has the plan; what has their names already stays.
CREATE FUNCTION immiiq.take_plan() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO immiiq.role_template (org_id, name, scope, modules, permissions, assistant_modules)
    SELECT NEW.org_id, p.role_name, p.scope, p.modules, p.permissions, p.assistant_modules
    FROM immiiq.plan AS p WHERE p.plan = NEW.plan
    ON CONFLICT (org_id, name) DO NOTHING;
    INSERT INTO immiiq.permission_group (org_id, name, permissions)
    SELECT NEW.org_id, g.key, ARRAY(SELECT jsonb_array_elements_text(g.value))
    FROM immiiq.plan AS p CROSS JOIN LATERAL jsonb_each(p.permission_groups) AS g
    WHERE p.plan = NEW.plan
    ON CONFLICT (org_id, name) DO NOTHING;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.take_plan() IS 'trigger: an organisation gets its plan''s role and permission groups';
REVOKE ALL ON FUNCTION immiiq.take_plan() FROM PUBLIC;
CREATE TRIGGER take_plan AFTER UPDATE ON immiiq.org
    FOR EACH ROW WHEN (NEW.plan IS NOT NULL AND OLD.plan IS DISTINCT FROM NEW.plan) EXECUTE FUNCTION immiiq.take_plan();

CREATE FUNCTION immiiq.take_plan_groups() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    groups uuid[];
    given text[];
BEGIN
    -- Restored rows bring their groups along.
    IF immiiq.current_org() IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(g.permission_group_id) INTO groups
    FROM immiiq.org AS o
        JOIN immiiq.plan AS p ON p.plan = o.plan
        CROSS JOIN LATERAL jsonb_object_keys(p.permission_groups) AS k (name)
        JOIN immiiq.permission_group AS g ON g.org_id = o.org_id AND g.name = k.name
    WHERE o.org_id = NEW.org_id;
    IF groups IS NULL THEN
        RETURN NULL;
    END IF;
    given := ARRAY(SELECT unnest(g.permissions) FROM immiiq.permission_group AS g
                   WHERE g.org_id = NEW.org_id AND g.permission_group_id = ANY (groups));
    IF NOT immiiq.may_give('assigned', '{}', given) THEN
        RAISE EXCEPTION 'cannot give more rights than the active member has'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Ask a member who has them, or an operator.';
    END IF;
    INSERT INTO immiiq.member_permission_group (org_id, member_id, permission_group_id)
    SELECT NEW.org_id, NEW.member_id, unnest(groups);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.take_plan_groups() IS 'trigger: a new member has the permission groups of the organisation''s plan';
REVOKE ALL ON FUNCTION immiiq.take_plan_groups() FROM PUBLIC;
CREATE TRIGGER take_plan_groups AFTER INSERT ON immiiq.member FOR EACH ROW EXECUTE FUNCTION immiiq.take_plan_groups();

-- Row security and audit, as protect() gives them to other tables.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['org', 'team', 'member', 'team_member', 'role_template', 'permission_group', 'member_permission_group', 'assignment'] LOOP
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format('REVOKE ALL ON immiiq.%I FROM PUBLIC', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ALTER COLUMN org_id SET DEFAULT %s', name,
            CASE WHEN name OPERATOR(pg_catalog.=) 'org' THEN 'pg_catalog.gen_random_uuid()' ELSE 'immiiq.current_org()' END);
        EXECUTE pg_catalog.format('CREATE TRIGGER "00_immiiq_capture" AFTER INSERT OR UPDATE OR DELETE ON immiiq.%I
            FOR EACH ROW EXECUTE FUNCTION immiiq.capture()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER "00_immiiq_capture"', name);
        EXECUTE pg_catalog.format('CREATE TRIGGER immiiq_truncate BEFORE TRUNCATE ON immiiq.%I
            FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_truncate()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER immiiq_truncate', name);
    END LOOP;
END
$$;

INSERT INTO immiiq.privilege
SELECT kind, CASE name WHEN 'org' THEN 'SELECT, UPDATE' ELSE 'SELECT, INSERT, UPDATE, DELETE' END,
    pg_catalog.format('TABLE immiiq.%I', name)
FROM pg_catalog.unnest(ARRAY['application', 'operator']) AS k (kind)
    CROSS JOIN pg_catalog.unnest(ARRAY['org', 'team', 'member', 'team_member', 'role_template', 'permission_group', 'member_permission_group', 'assignment']) AS t (name);
INSERT INTO immiiq.privilege VALUES
    ('owner', 'REFERENCES', 'TABLE immiiq.org'),
    ('owner', 'REFERENCES', 'TABLE immiiq.team'),
    ('owner', 'REFERENCES', 'TABLE immiiq.member'),
    ('owner', 'EXECUTE', 'FUNCTION immiiq.capture()'),
    ('owner', 'EXECUTE', 'FUNCTION immiiq.refuse_truncate()'),
    ('application', 'SELECT', 'TABLE immiiq.protected_table'),
    ('operator', 'SELECT', 'TABLE immiiq.protected_table'),
    ('auditor', 'SELECT', 'TABLE immiiq.protected_table');

-- ---- functions ----

CREATE FUNCTION immiiq.create_org(name text, org_id uuid DEFAULT pg_catalog.gen_random_uuid()) RETURNS uuid
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Partitions before the first entry: the worker makes those of later months.
    PERFORM immiiq.make_partitions();
    -- Keys first: the row's own audit entry is sealed under them.
    PERFORM immiiq.create_org_keys(create_org.org_id);
    INSERT INTO immiiq.org (org_id, name) VALUES (create_org.org_id, create_org.name);
    RETURN create_org.org_id;
END
$$;
COMMENT ON FUNCTION immiiq.create_org(text, uuid) IS 'makes an organisation and its keys; returns its id';
REVOKE ALL ON FUNCTION immiiq.create_org(text, uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES ('operator', 'EXECUTE', 'FUNCTION immiiq.create_org(text, uuid)');

CREATE FUNCTION immiiq.apply_role(role text, members uuid[]) RETURNS integer
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    template immiiq.role_template;
    changed integer;
BEGIN
    SELECT * INTO template FROM immiiq.role_template AS t WHERE t.name = apply_role.role AND t.org_id = immiiq.current_org();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such role' USING ERRCODE = 'undefined_object';
    END IF;
    -- Without team_management the policy would update nothing in silence.
    IF NOT immiiq.visible('team_management', 'update', immiiq.current_org(), NULL, NULL, NULL, NULL) THEN
        RAISE EXCEPTION 'module team_management is needed to apply a role' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE immiiq.member AS m
    SET role_template_id = template.role_template_id, scope = template.scope, modules = template.modules,
        permissions = template.permissions, assistant_modules = template.assistant_modules
    WHERE m.org_id = template.org_id AND m.member_id = ANY (apply_role.members);
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed < (SELECT count(DISTINCT u.id) FROM unnest(apply_role.members) AS u (id)) THEN
        PERFORM immiiq.note_unreachable('apply_role');
    END IF;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION immiiq.apply_role(text, uuid[]) IS 'gives members a role with its scope, modules and permissions; returns how many there were';
REVOKE ALL ON FUNCTION immiiq.apply_role(text, uuid[]) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.apply_role(text, uuid[])'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.apply_role(text, uuid[])');

-- ---- may I see it, and handing over ----

-- The caller's own SELECT and row security decide: these tell nobody more than a SELECT would, and record what was asked.
CREATE FUNCTION immiiq.verify_access(target regclass, id anyelement) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT AS 'MODULE_PATHNAME', 'immiiq_verify_access';
COMMENT ON FUNCTION immiiq.verify_access(regclass, anyelement)
    IS 'true when who is asking sees the row with this id; false alike for absent and foreign rows, which is recorded';
CREATE FUNCTION immiiq.verify_access(target regclass, id text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT AS 'MODULE_PATHNAME', 'immiiq_verify_access';
COMMENT ON FUNCTION immiiq.verify_access(regclass, text) IS 'the same for an id as text';
REVOKE ALL ON FUNCTION immiiq.verify_access(regclass, anyelement), immiiq.verify_access(regclass, text) FROM PUBLIC;

CREATE FUNCTION immiiq.note_unreachable(called text) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_note_unreachable';
COMMENT ON FUNCTION immiiq.note_unreachable(text)
    IS 'records that an id given to one of immiiq''s functions was out of reach; called by those that answer without an error';
REVOKE ALL ON FUNCTION immiiq.note_unreachable(text) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.note_unreachable(text)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.note_unreachable(text)');

CREATE FUNCTION immiiq.reassign(client uuid, member uuid DEFAULT NULL, team uuid DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'immiiq_reassign';
COMMENT ON FUNCTION immiiq.reassign(uuid, uuid, uuid)
    IS 'hands a client''s rows and assignments, as far as who is asking may update them, to a member or a team; returns how many';
REVOKE ALL ON FUNCTION immiiq.reassign(uuid, uuid, uuid) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.verify_access(regclass, anyelement)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.verify_access(regclass, text)'),
    ('application', 'EXECUTE', 'FUNCTION immiiq.reassign(uuid, uuid, uuid)'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.reassign(uuid, uuid, uuid)');

-- ---- roles of the server ----

CREATE FUNCTION immiiq.grant_kind(kind text, role regrole) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given record;
BEGIN
    IF kind = 'application' THEN
        IF EXISTS (SELECT FROM pg_roles WHERE oid = role AND (rolsuper OR rolbypassrls)) THEN
            RAISE EXCEPTION 'role % bypasses row security', role USING ERRCODE = 'IQ013',
                HINT = 'Use a role that is neither superuser nor BYPASSRLS.';
        END IF;
        IF EXISTS (SELECT FROM pg_class AS c
                   WHERE (c.oid IN (SELECT relation FROM immiiq.protected_table) OR c.relnamespace = 'immiiq'::regnamespace)
                       AND pg_has_role(role, c.relowner, 'MEMBER'))
        THEN
            RAISE EXCEPTION 'role % has the powers of an owner of protected tables', role USING ERRCODE = 'IQ013',
                HINT = 'Let another role own the tables.';
        END IF;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA immiiq TO %s', role);
    FOR given IN SELECT p.privileges, p.object FROM immiiq.privilege AS p WHERE p.kind = grant_kind.kind ORDER BY p.object LOOP
        EXECUTE format('GRANT %s ON %s TO %s', given.privileges, given.object, role);
    END LOOP;
    INSERT INTO immiiq.role_grant (kind, role) VALUES (grant_kind.kind, grant_kind.role) ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION immiiq.grant_kind(text, regrole) IS 'grants what immiiq.privilege lists for a kind of role; used by immiiq.grant_application and its sisters';
REVOKE ALL ON FUNCTION immiiq.grant_kind(text, regrole) FROM PUBLIC;

-- Takes a kind back; what another kind of the same role lists as well stays. A role that is gone is given as its number.
CREATE FUNCTION immiiq.revoke_kind(kind text, role regrole) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given record;
BEGIN
    DELETE FROM immiiq.role_grant AS g WHERE g.kind = revoke_kind.kind AND g.role = revoke_kind.role;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE oid = role) THEN
        RETURN;
    END IF;
    FOR given IN SELECT p.kind = revoke_kind.kind AS taken, p.privileges, p.object FROM immiiq.privilege AS p
        WHERE p.kind = revoke_kind.kind OR EXISTS (SELECT FROM immiiq.role_grant AS g WHERE g.kind = p.kind AND g.role = revoke_kind.role)
        ORDER BY taken DESC, p.object
    LOOP
        EXECUTE format(CASE WHEN given.taken THEN 'REVOKE %s ON %s FROM %s' ELSE 'GRANT %s ON %s TO %s' END, given.privileges, given.object, role);
    END LOOP;
    IF NOT EXISTS (SELECT FROM immiiq.role_grant AS g WHERE g.role = revoke_kind.role) THEN
        EXECUTE format('REVOKE USAGE ON SCHEMA immiiq FROM %s', role);
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.revoke_kind(text, regrole) IS 'takes back what grant_application or a sister of it gave: application, auditor, operator, mailer or owner';
REVOKE ALL ON FUNCTION immiiq.revoke_kind(text, regrole) FROM PUBLIC;

CREATE FUNCTION immiiq.grant_application(role regrole) RETURNS void
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE AS $$ SELECT immiiq.grant_kind('application', role) $$;
COMMENT ON FUNCTION immiiq.grant_application(regrole) IS 'makes a role the web tier''s: it sees what the active member may see';
REVOKE ALL ON FUNCTION immiiq.grant_application(regrole) FROM PUBLIC;

CREATE FUNCTION immiiq.grant_auditor(role regrole) RETURNS void
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE AS $$ SELECT immiiq.grant_kind('auditor', role) $$;
COMMENT ON FUNCTION immiiq.grant_auditor(regrole) IS 'lets a role read, verify and export the audit';
REVOKE ALL ON FUNCTION immiiq.grant_auditor(regrole) FROM PUBLIC;

CREATE FUNCTION immiiq.grant_operator(role regrole) RETURNS void
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE AS $$ SELECT immiiq.grant_kind('operator', role) $$;
COMMENT ON FUNCTION immiiq.grant_operator(regrole) IS 'lets a role create organisations and break glass with operate()';
REVOKE ALL ON FUNCTION immiiq.grant_operator(regrole) FROM PUBLIC;

CREATE FUNCTION immiiq.grant_mailer(role regrole) RETURNS void
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE AS $$ SELECT immiiq.grant_kind('mailer', role) $$;
COMMENT ON FUNCTION immiiq.grant_mailer(regrole) IS 'lets a role read the outbox of links to send';
REVOKE ALL ON FUNCTION immiiq.grant_mailer(regrole) FROM PUBLIC;

CREATE FUNCTION immiiq.grant_owner(role regrole) RETURNS void
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE AS $$ SELECT immiiq.grant_kind('owner', role) $$;
COMMENT ON FUNCTION immiiq.grant_owner(regrole) IS 'lets a role that owns tables protect them';
REVOKE ALL ON FUNCTION immiiq.grant_owner(regrole) FROM PUBLIC;
