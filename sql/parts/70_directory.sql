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
