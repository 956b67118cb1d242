-- Organisations, members, teams, roles and assignments: plain tables under their own protection.
-- C reads member and team_member by position (context.c, policy.c): append, never reorder.

CREATE TABLE immiiq.org (
    org_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid() PRIMARY KEY,
    name text NOT NULL CHECK (name OPERATOR(pg_catalog.<>) ''),
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);

CREATE TABLE immiiq.team (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    team_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    name text NOT NULL CHECK (name OPERATOR(pg_catalog.<>) ''),
    kind text NOT NULL DEFAULT 'team' CHECK (kind IN ('team', 'office')),
    parent_id uuid,
    PRIMARY KEY (org_id, team_id),
    UNIQUE (org_id, name),
    FOREIGN KEY (org_id, parent_id) REFERENCES immiiq.team (org_id, team_id)
);

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
    PRIMARY KEY (org_id, member_id)
);
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

CREATE TABLE immiiq.role_template (
    org_id uuid NOT NULL REFERENCES immiiq.org,
    role_template_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    name text NOT NULL CHECK (name OPERATOR(pg_catalog.<>) ''),
    scope text NOT NULL CHECK (scope IN ('all', 'team', 'assigned')),
    modules text[] NOT NULL DEFAULT '{}' CHECK (modules OPERATOR(pg_catalog.<@) ARRAY['clients', 'cases', 'communications', 'ai',
        'documents', 'invoices', 'reports', 'billing', 'settings', 'team_management']),
    permissions text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (org_id, role_template_id),
    UNIQUE (org_id, name)
);

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
COMMENT ON TABLE immiiq.role_template IS 'named roles: scope and modules that apply_role gives to members';
COMMENT ON TABLE immiiq.assignment IS 'which members or teams a client is assigned to';

SELECT pg_catalog.pg_extension_config_dump('immiiq.org', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.team', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.member', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.team_member', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.role_template', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.assignment', '');

-- ---- what members see of it, and who writes ----

-- Every member reads the organisation, its teams, roles and colleagues; writing needs the module team_management.
-- An organisation is made by create_org and never deleted by SQL.
CREATE POLICY immiiq_select ON immiiq.org FOR SELECT
    USING (immiiq.visible(NULL, 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_update ON immiiq.org FOR UPDATE
    USING (immiiq.visible('team_management', 'update', org_id, NULL, NULL, NULL, NULL))
    WITH CHECK (immiiq.visible('team_management', 'update', org_id, NULL, NULL, NULL, NULL));

-- With scope team one writes one's own teams only.
CREATE POLICY immiiq_select ON immiiq.team FOR SELECT
    USING (immiiq.visible(NULL, 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_insert ON immiiq.team FOR INSERT
    WITH CHECK (immiiq.visible('team_management', 'insert', org_id, NULL, team_id, NULL, NULL));
CREATE POLICY immiiq_update ON immiiq.team FOR UPDATE
    USING (immiiq.visible('team_management', 'update', org_id, NULL, team_id, NULL, NULL))
    WITH CHECK (immiiq.visible('team_management', 'update', org_id, NULL, team_id, NULL, NULL));
CREATE POLICY immiiq_delete ON immiiq.team FOR DELETE
    USING (immiiq.visible('team_management', 'delete', org_id, NULL, team_id, NULL, NULL));

CREATE POLICY immiiq_select ON immiiq.member FOR SELECT
    USING (immiiq.visible(NULL, 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_insert ON immiiq.member FOR INSERT
    WITH CHECK (immiiq.visible('team_management', 'insert', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_update ON immiiq.member FOR UPDATE
    USING (immiiq.visible('team_management', 'update', org_id, NULL, NULL, NULL, NULL))
    WITH CHECK (immiiq.visible('team_management', 'update', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_delete ON immiiq.member FOR DELETE
    USING (immiiq.visible('team_management', 'delete', org_id, NULL, NULL, NULL, NULL));

CREATE POLICY immiiq_select ON immiiq.role_template FOR SELECT
    USING (immiiq.visible(NULL, 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_insert ON immiiq.role_template FOR INSERT
    WITH CHECK (immiiq.visible('team_management', 'insert', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_update ON immiiq.role_template FOR UPDATE
    USING (immiiq.visible('team_management', 'update', org_id, NULL, NULL, NULL, NULL))
    WITH CHECK (immiiq.visible('team_management', 'update', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_delete ON immiiq.role_template FOR DELETE
    USING (immiiq.visible('team_management', 'delete', org_id, NULL, NULL, NULL, NULL));

-- Who is in which team is for everybody to read; with scope team, only one's own teams may be filled or emptied.
CREATE POLICY immiiq_select ON immiiq.team_member FOR SELECT
    USING (immiiq.visible(NULL, 'select', org_id, NULL, NULL, NULL, NULL));
CREATE POLICY immiiq_insert ON immiiq.team_member FOR INSERT
    WITH CHECK (immiiq.visible('team_management', 'insert', org_id, NULL, team_id, NULL, NULL));
CREATE POLICY immiiq_update ON immiiq.team_member FOR UPDATE
    USING (immiiq.visible('team_management', 'update', org_id, NULL, team_id, NULL, NULL))
    WITH CHECK (immiiq.visible('team_management', 'update', org_id, NULL, team_id, NULL, NULL));
CREATE POLICY immiiq_delete ON immiiq.team_member FOR DELETE
    USING (immiiq.visible('team_management', 'delete', org_id, NULL, team_id, NULL, NULL));

-- An assignment shows a client's id: it is seen, and written, by those whose scope has that client already.
CREATE POLICY immiiq_select ON immiiq.assignment FOR SELECT
    USING (immiiq.visible(NULL, 'select', org_id, client_id, NULL, NULL, NULL));
CREATE POLICY immiiq_insert ON immiiq.assignment FOR INSERT
    WITH CHECK (immiiq.visible('team_management', 'insert', org_id, client_id, NULL, NULL, NULL));
CREATE POLICY immiiq_update ON immiiq.assignment FOR UPDATE
    USING (immiiq.visible('team_management', 'update', org_id, client_id, NULL, NULL, NULL))
    WITH CHECK (immiiq.visible('team_management', 'update', org_id, client_id, NULL, NULL, NULL));
CREATE POLICY immiiq_delete ON immiiq.assignment FOR DELETE
    USING (immiiq.visible('team_management', 'delete', org_id, client_id, NULL, NULL, NULL));
CREATE INDEX assignment_client_idx ON immiiq.assignment (org_id, client_id);

-- Nobody hands out, or takes over, more than they have: with team_management alone one could otherwise make
-- oneself, or whose e-mail address one changes, an owner.
CREATE FUNCTION immiiq.check_rights_given() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own record;
    width constant jsonb := '{"assigned": 1, "team": 2, "all": 3}';
    given record;
BEGIN
    -- Operators, and owners outside any identity, are not members: nothing to compare with.
    IF immiiq.current_member() IS NULL THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    SELECT scope, modules INTO own FROM immiiq.member
    WHERE org_id = immiiq.current_org() AND member_id = immiiq.current_member();
    IF TG_OP IN ('UPDATE', 'DELETE') AND NOT coalesce(
        (width ->> OLD.scope)::integer <= (width ->> own.scope)::integer AND OLD.modules <@ own.modules, false)
    THEN
        RAISE EXCEPTION 'cannot change what has more rights than the active member'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Ask a member who has them, or an operator.';
    END IF;
    -- Who has a narrower scope does not see what a colleague sees, and so cannot take a colleague over.
    IF TG_TABLE_NAME = 'member' AND TG_OP IN ('UPDATE', 'DELETE') THEN
        IF own.scope <> 'all' AND OLD.member_id <> immiiq.current_member() THEN
            RAISE EXCEPTION 'scope all is needed to change other members'
                USING ERRCODE = 'insufficient_privilege', HINT = 'Ask a member who has it, or an operator.';
        END IF;
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') AND NOT coalesce(
        (width ->> NEW.scope)::integer <= (width ->> own.scope)::integer AND NEW.modules <@ own.modules, false)
    THEN
        RAISE EXCEPTION 'cannot give more rights than the active member has'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Ask a member who has them, or an operator.';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION immiiq.check_rights_given() IS 'trigger: a member gives and changes no more rights than their own';
REVOKE ALL ON FUNCTION immiiq.check_rights_given() FROM PUBLIC;
CREATE TRIGGER check_rights_given BEFORE INSERT OR UPDATE OR DELETE ON immiiq.member
    FOR EACH ROW EXECUTE FUNCTION immiiq.check_rights_given();
CREATE TRIGGER check_rights_given BEFORE INSERT OR UPDATE OR DELETE ON immiiq.role_template
    FOR EACH ROW EXECUTE FUNCTION immiiq.check_rights_given();

-- Row security and audit, as protect() gives them to other tables.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['org', 'team', 'member', 'team_member', 'role_template', 'assignment'] LOOP
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format('REVOKE ALL ON immiiq.%I FROM PUBLIC', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ALTER COLUMN org_id SET DEFAULT %s', name,
            CASE WHEN name OPERATOR(pg_catalog.=) 'org' THEN 'pg_catalog.gen_random_uuid()' ELSE 'immiiq.current_org()' END);
        EXECUTE pg_catalog.format('CREATE TRIGGER immiiq_capture AFTER INSERT OR UPDATE OR DELETE ON immiiq.%I
            FOR EACH ROW EXECUTE FUNCTION immiiq.capture()', name);
        EXECUTE pg_catalog.format('ALTER TABLE immiiq.%I ENABLE ALWAYS TRIGGER immiiq_capture', name);
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
    CROSS JOIN pg_catalog.unnest(ARRAY['org', 'team', 'member', 'team_member', 'role_template', 'assignment']) AS t (name);
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
    UPDATE immiiq.member AS m SET scope = template.scope, modules = template.modules
    WHERE m.org_id = template.org_id AND m.member_id = ANY (apply_role.members);
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION immiiq.apply_role(text, uuid[]) IS 'gives members the scope and modules of a role; returns how many there were';
REVOKE ALL ON FUNCTION immiiq.apply_role(text, uuid[]) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.apply_role(text, uuid[])'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.apply_role(text, uuid[])');

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
