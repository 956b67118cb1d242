cho Use "CREATE EXTENSION immiiq" to load this file. \quit
-- What every part stands on: the schema's privileges and the list from which the grant functions work.

DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION 'immiiq needs a database in UTF8'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Create the database with ENCODING ''UTF8''.';
    END IF;
END
$$;

-- Which privilege each kind of role gets from immiiq.grant_<kind>(role); every part adds its own rows.
CREATE TABLE immiiq.privilege (
    kind text NOT NULL CHECK (kind IN ('application', 'auditor', 'operator', 'mailer')),
    privileges text NOT NULL,
    object text NOT NULL,
    PRIMARY KEY (kind, object)
);
COMMENT ON TABLE immiiq.privilege IS 'what immiiq.grant_application, grant_auditor, grant_operator and grant_mailer grant';
-- keyring
-- types
-- search
-- Sessions, and the functions that say who is asking.

-- One row a session. Only the SHA-256 of a token is stored. C reads the columns by position (context.c): append, never reorder.
CREATE TABLE immiiq.session (
    session_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid() PRIMARY KEY,
    org_id uuid NOT NULL,
    member_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    impersonated boolean NOT NULL DEFAULT false,
    issued_by name NOT NULL DEFAULT session_user,
    issued_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT session_token_hash_key UNIQUE (token_hash),
    CHECK (pg_catalog.octet_length(token_hash) OPERATOR(pg_catalog.=) 32)
);
COMMENT ON TABLE immiiq.session IS 'sessions of members; a token is stored as its SHA-256 only';
CREATE INDEX session_member_idx ON immiiq.session (org_id, member_id);
REVOKE ALL ON immiiq.session FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.session', '');
-- journal
-- policy
-- audit
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
-- posture
