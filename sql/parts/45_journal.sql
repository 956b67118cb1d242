-- What outlives a rollback: refusals, and every way in that is not a member's own.

-- Only the worker writes here, through the ring in shared memory (writer.c names the columns).
CREATE TABLE immiiq.journal (
    journal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('denial', 'operate', 'impersonate', 'assistant', 'document', 'export', 'other')),
    org_id uuid,
    member_id uuid,
    session_id uuid,
    actor text,
    login_name text,
    role_name text,
    user_name text,
    action text NOT NULL,
    object text,
    reason text,
    sqlstate text,
    client_ip inet,
    user_agent text,
    application_name text,
    backend_pid int NOT NULL
);
COMMENT ON TABLE immiiq.journal IS 'events that outlive a rollback: refusals, operator access, impersonation; append-only, written by the worker';
COMMENT ON COLUMN immiiq.journal.login_name IS 'role as which the client connected';
COMMENT ON COLUMN immiiq.journal.role_name IS 'session user';
COMMENT ON COLUMN immiiq.journal.user_name IS 'role after SET ROLE';
CREATE INDEX journal_org_idx ON immiiq.journal (org_id, journal_id);
CREATE INDEX journal_at_idx ON immiiq.journal USING brin (at);
-- Operators' entries are few among many denials.
CREATE INDEX journal_operator_idx ON immiiq.journal (org_id, journal_id) WHERE kind OPERATOR(pg_catalog.=) ANY (ARRAY['operate', 'impersonate']);
CREATE INDEX journal_member_idx ON immiiq.journal (member_id) WHERE member_id IS NOT NULL;
CREATE INDEX journal_session_idx ON immiiq.journal (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX journal_address_idx ON immiiq.journal (client_ip) WHERE client_ip IS NOT NULL;
REVOKE ALL ON immiiq.journal FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.journal', '');
SELECT pg_catalog.pg_extension_config_dump('immiiq.journal_journal_id_seq', '');
INSERT INTO immiiq.privilege VALUES ('auditor', 'SELECT', 'TABLE immiiq.journal');

CREATE FUNCTION immiiq.refuse_change() RETURNS trigger
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'immiiq_refuse_change';
COMMENT ON FUNCTION immiiq.refuse_change() IS 'trigger of append-only tables: refuses whatever fired it (IQ040)';
REVOKE ALL ON FUNCTION immiiq.refuse_change() FROM PUBLIC;

CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.journal
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_change();
ALTER TABLE immiiq.journal ENABLE ALWAYS TRIGGER journal_append_only;

-- True when a role has been granted something of immiiq's: refusals of other roles are not recorded.
CREATE FUNCTION immiiq.journal_role_is_granted(role oid) RETURNS boolean
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT EXISTS (
            SELECT FROM immiiq.role_grant AS g
            WHERE pg_catalog.pg_has_role(journal_role_is_granted.role, g.role::pg_catalog.oid, 'MEMBER')
        )
    $$;
COMMENT ON FUNCTION immiiq.journal_role_is_granted(oid) IS 'true for roles given by immiiq.grant_application and its sisters, and their members';
REVOKE ALL ON FUNCTION immiiq.journal_role_is_granted(oid) FROM PUBLIC;

-- Who reads what, as two branches: each is a constant to the planner, and a member's is served by the index.
CREATE FUNCTION immiiq.journal_reader() RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_journal_reader';
COMMENT ON FUNCTION immiiq.journal_reader() IS 'true for who may read the whole of immiiq.journal';
CREATE FUNCTION immiiq.journal_org() RETURNS uuid
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_journal_org';
COMMENT ON FUNCTION immiiq.journal_org() IS 'the active organisation for members with scope all and the module reports, else null';

CREATE VIEW immiiq.journal_visible WITH (security_barrier) AS
    SELECT j.* FROM immiiq.journal AS j WHERE immiiq.journal_reader()
    UNION ALL
    SELECT j.* FROM immiiq.journal AS j WHERE NOT immiiq.journal_reader() AND j.org_id OPERATOR(pg_catalog.=) immiiq.journal_org();
COMMENT ON VIEW immiiq.journal_visible IS 'entries of immiiq.journal that the caller may read';
REVOKE ALL ON immiiq.journal_visible FROM PUBLIC;

CREATE VIEW immiiq.denial AS
    SELECT j.journal_id, j.at, j.org_id, j.member_id, j.session_id, j.actor, j.login_name, j.role_name, j.user_name,
           j.action, j.object, j.reason, j.sqlstate, j.client_ip, j.user_agent, j.application_name, j.backend_pid
    FROM immiiq.journal_visible AS j
    WHERE j.kind OPERATOR(pg_catalog.=) 'denial';
COMMENT ON VIEW immiiq.denial IS 'what was refused, rolled back or not';

CREATE VIEW immiiq.operator_access AS
    SELECT j.journal_id, j.at, j.kind, j.org_id, j.member_id, j.login_name, j.role_name, j.user_name,
           j.reason, j.client_ip, j.user_agent, j.application_name, j.backend_pid
    FROM immiiq.journal_visible AS j
    WHERE j.kind OPERATOR(pg_catalog.=) ANY (ARRAY['operate', 'impersonate']);
COMMENT ON VIEW immiiq.operator_access IS 'every use of operate and issue_session, with who and why';
REVOKE ALL ON immiiq.denial, immiiq.operator_access FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT', 'TABLE immiiq.denial'),
    ('application', 'SELECT', 'TABLE immiiq.operator_access'),
    ('auditor', 'SELECT', 'TABLE immiiq.denial'),
    ('auditor', 'SELECT', 'TABLE immiiq.operator_access');

-- The ring and the worker of this database, for immiiq.doctor().
CREATE FUNCTION immiiq.journal_status(OUT state text, OUT worker_pid int, OUT depth int, OUT capacity int,
                                      OUT enqueued bigint, OUT written bigint, OUT lost bigint,
                                      OUT written_at timestamptz, OUT launcher_pid int) RETURNS record
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_journal_status';
COMMENT ON FUNCTION immiiq.journal_status() IS 'state of the ring in shared memory and of the worker of this database';
REVOKE ALL ON FUNCTION immiiq.journal_status() FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.journal_status()'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.journal_status()');

-- Who opened how many values: one row for each column that a transaction has read in clear. Written by the worker (opened.c names the columns).
CREATE TABLE immiiq.field_opened (
    at timestamptz NOT NULL,
    org_id uuid NOT NULL,
    member_id uuid,
    session_id uuid,
    actor text NOT NULL,
    login_name text,
    type_code int NOT NULL,
    domain int NOT NULL,
    opened bigint NOT NULL,
    backend_pid int NOT NULL
);
COMMENT ON TABLE immiiq.field_opened IS 'sealed values that were read in clear, counted by transaction and column; written by the worker';
COMMENT ON COLUMN immiiq.field_opened.at IS 'start of the transaction';
CREATE INDEX field_opened_org_idx ON immiiq.field_opened (org_id, at);
CREATE INDEX field_opened_at_idx ON immiiq.field_opened USING brin (at);
CREATE INDEX field_opened_member_idx ON immiiq.field_opened (member_id) WHERE member_id IS NOT NULL;
CREATE INDEX field_opened_session_idx ON immiiq.field_opened (session_id) WHERE session_id IS NOT NULL;
REVOKE ALL ON immiiq.field_opened FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.field_opened', '');
CREATE TRIGGER field_opened_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON immiiq.field_opened
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.refuse_change();
ALTER TABLE immiiq.field_opened ENABLE ALWAYS TRIGGER field_opened_append_only;

-- The columns of each type and domain, by name; several where columns share a domain.
CREATE VIEW immiiq.sealed_column WITH (security_barrier) AS
    SELECT t.code AS type_code, a.atttypmod OPERATOR(pg_catalog.&) 65535 AS domain,
           pg_catalog.string_agg(pg_catalog.format('%I.%I.%I', n.nspname, c.relname, a.attname), ', '
               ORDER BY n.nspname, c.relname, a.attname) AS column_name
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) a.atttypid
    JOIN (VALUES (1, 'enc_text'), (2, 'enc_bytea'), (3, 'enc_int8'), (4, 'enc_numeric'), (5, 'enc_date'), (6, 'enc_timestamptz'), (7, 'enc_jsonb'))
        AS t (code, name) ON t.name OPERATOR(pg_catalog.=) y.typname::text
    WHERE y.typnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::regnamespace AND a.atttypmod OPERATOR(pg_catalog.>=) 0
      AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::"char"[]) AND NOT c.relispartition AND NOT a.attisdropped
    GROUP BY t.code, a.atttypmod OPERATOR(pg_catalog.&) 65535;
COMMENT ON VIEW immiiq.sealed_column IS 'sealed columns of this database by type and column domain';
REVOKE ALL ON immiiq.sealed_column FROM PUBLIC;

CREATE VIEW immiiq.field_access WITH (security_barrier) AS
    SELECT f.at, f.org_id, f.member_id, f.session_id, f.actor, f.login_name,
           COALESCE(s.column_name, pg_catalog.format('type %s, domain %s', f.type_code, f.domain)) AS column_name, f.opened, f.backend_pid
    FROM (
        SELECT o.* FROM immiiq.field_opened AS o WHERE immiiq.journal_reader()
        UNION ALL
        SELECT o.* FROM immiiq.field_opened AS o WHERE NOT immiiq.journal_reader() AND o.org_id OPERATOR(pg_catalog.=) immiiq.journal_org()
    ) AS f
    LEFT JOIN immiiq.sealed_column AS s ON s.type_code OPERATOR(pg_catalog.=) f.type_code AND s.domain OPERATOR(pg_catalog.=) f.domain;
COMMENT ON VIEW immiiq.field_access IS 'who opened how many values of which sealed column, by transaction';
REVOKE ALL ON immiiq.field_access FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'SELECT', 'TABLE immiiq.field_access'),
    ('auditor', 'SELECT', 'TABLE immiiq.field_access');

-- ---- the end of what is kept ----

CREATE FUNCTION immiiq.can_log(org uuid) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'immiiq_can_log';
COMMENT ON FUNCTION immiiq.can_log(uuid) IS 'true while there are keys with which the log of an organisation can be written';
REVOKE ALL ON FUNCTION immiiq.can_log(uuid) FROM PUBLIC;

-- Called by prune_journal and the worker alone: anybody else is stopped by the guards. Organisations are few at a time, as each is locked against new holds.
CREATE FUNCTION immiiq.prune_journal_rows(keep interval, batch int4, OUT journal int8, OUT sign_in_attempt int8, OUT field_opened int8,
                                          OUT known_device int8, OUT document_event int8, OUT session int8, OUT more boolean)
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Sessions last: the others name them, and nothing of a session is younger than its end. Each of the last two that goes is an entry of the log.
    old constant text[] := ARRAY[
        ['journal', 't.at < $1'],
        ['sign_in_attempt', 't.at < $1'],
        ['field_opened', 't.at < $1'],
        ['known_device', 't.last_seen_at < $1'],
        ['document_event', 't.at < $1 AND immiiq.can_log(t.org_id)'],
        ['session', 't.expires_at < $1 AND immiiq.can_log(t.org_id)']];
    before constant timestamptz := clock_timestamp() - keep;
    days constant int4 := extract(epoch FROM keep) / 86400 - 0.5; -- rounded down
    held constant uuid[] := ARRAY(SELECT DISTINCT h.org_id FROM immiiq.active_hold AS h);
    name text;
    rows tid[];
    orgs uuid[];
    one record;
    total int8[] := '{0,0,0,0,0,0}';
BEGIN
    more := false;
    -- While a restore brings rows, their holds may still be to come.
    IF NOT EXISTS (SELECT FROM immiiq.restored) THEN
        FOR i IN 1 .. cardinality(total) LOOP
            name := old[i][1];
            EXIT WHEN name = 'session' AND more;
            EXECUTE format('SELECT array_agg(r.ctid), array_agg(DISTINCT r.org_id) FROM (SELECT t.ctid, t.org_id FROM immiiq.%I AS t '
                'WHERE %s AND (t.org_id IS NULL OR t.org_id <> ALL ($2)) LIMIT $3) AS r', name, old[i][2])
                INTO rows, orgs USING before, held, batch;
            more := more OR coalesce(cardinality(rows) = batch OR cardinality(orgs) > 500, false);
            FOR one IN EXECUTE format('WITH gone AS (DELETE FROM immiiq.%I AS t WHERE t.ctid = ANY ($2) AND %s AND (t.org_id IS NULL OR t.org_id = ANY ($3)) '
                'RETURNING t.org_id, %s AS at) SELECT g.org_id, count(*) AS number, min(g.at) AS first, max(g.at) AS last FROM gone AS g GROUP BY g.org_id',
                name, old[i][2], split_part(old[i][2], ' ', 1))
                USING before, rows, ARRAY(SELECT o.org FROM unnest(orgs[1:500]) AS o (org) WHERE NOT immiiq.has_hold(o.org))
            LOOP
                IF NOT immiiq.record_event_of('prune-journal', one.org_id, NULL, name,
                    jsonb_build_object('rows', one.number, 'first', one.first, 'last', one.last, 'keep-days', days), NULL, NULL, NULL, NULL, session_user, NULL, NULL, NULL)
                THEN
                    RAISE EXCEPTION 'the log cannot record what would go' USING ERRCODE = 'object_not_in_prerequisite_state';
                END IF;
                total[i] := total[i] + one.number;
            END LOOP;
        END LOOP;
    END IF;
    journal := total[1]; sign_in_attempt := total[2]; field_opened := total[3]; known_device := total[4];
    document_event := total[5]; session := total[6];
END
$$;
COMMENT ON FUNCTION immiiq.prune_journal_rows(interval, int4) IS 'for prune_journal: takes a batch of what is older than this away, and states it in the log of each organisation';

CREATE FUNCTION immiiq.prune_journal(keep interval DEFAULT NULL, batch int4 DEFAULT 5000,
                                     OUT journal int8, OUT sign_in_attempt int8, OUT field_opened int8,
                                     OUT known_device int8, OUT document_event int8, OUT session int8, OUT more boolean) RETURNS record
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_prune_journal';
COMMENT ON FUNCTION immiiq.prune_journal(interval, int4) IS
    'takes rows that are older than this (null: immiiq.journal_keep) away, a batch of each table, and says how many and whether there are more; holds stop it; the worker does the same';
REVOKE ALL ON FUNCTION immiiq.prune_journal_rows(interval, int4), immiiq.prune_journal(interval, int4) FROM PUBLIC;
