-- Events: what is no change of a row, in the same log. immiiq's own functions record them; no role may.

CREATE FUNCTION immiiq.record_event(kind text, org uuid, client uuid DEFAULT NULL, object text DEFAULT NULL, details jsonb DEFAULT NULL) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_record_event';
COMMENT ON FUNCTION immiiq.record_event(text, uuid, uuid, text, jsonb) IS
    'for immiiq''s own functions: records in the log that whoever is active did this, in this transaction; org null: the installation''s log';
REVOKE ALL ON FUNCTION immiiq.record_event(text, uuid, uuid, text, jsonb) FROM PUBLIC;

CREATE FUNCTION immiiq.record_event_of(kind text, org uuid, client uuid, object text, details jsonb, at timestamptz, actor text, member uuid,
        session uuid, role text, ip text, user_agent text, application_name text) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_record_event_of';
COMMENT ON FUNCTION immiiq.record_event_of(text, uuid, uuid, text, jsonb, timestamptz, text, uuid, uuid, text, text, text, text) IS
    'for the worker''s triggers: records what somebody else did; in any other process, that the caller did it';
REVOKE ALL ON FUNCTION immiiq.record_event_of(text, uuid, uuid, text, jsonb, timestamptz, text, uuid, uuid, text, text, text, text) FROM PUBLIC;

-- Whether capture was on. The triggers that capture and those that guard the log, with what ALTER TABLE cannot put back: the transaction that wrote
-- their row of the catalog. The worker records this in the log when it changes; what it remembers is no evidence, the log is.
CREATE TABLE immiiq.coverage_state (
    incarnation int4 NOT NULL CONSTRAINT coverage_state_pkey PRIMARY KEY,
    at timestamptz NOT NULL,
    state jsonb NOT NULL
);
COMMENT ON TABLE immiiq.coverage_state IS 'by immiiq.audit_lineage(): how the worker last found the triggers that capture';
REVOKE ALL ON immiiq.coverage_state FROM PUBLIC;

CREATE FUNCTION immiiq.coverage_now() RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE(pg_catalog.jsonb_object_agg(s.object::text, pg_catalog.jsonb_build_object('name', s.name, 'on', s.active, 'version', s.version)), '{}')
    FROM (
        SELECT c.oid AS object, pg_catalog.concat(n.nspname, '.', c.relname) AS name,
            COALESCE(c.relhastriggers AND pg_catalog.bool_and(t.tgenabled OPERATOR(pg_catalog.=) 'A'), false) AS active,
            pg_catalog.string_agg(pg_catalog.concat(t.oid, ' ', t.xmin), ', ' ORDER BY t.oid) AS version
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        LEFT JOIN pg_catalog.pg_trigger AS t ON t.tgrelid OPERATOR(pg_catalog.=) c.oid
            AND t.tgname OPERATOR(pg_catalog.=) ANY ('{00_immiiq_capture,immiiq_truncate,guard_log,guard_log_row}'::name[])
        WHERE t.oid IS NOT NULL OR EXISTS (SELECT FROM pg_catalog.pg_policy AS p
            WHERE p.polrelid OPERATOR(pg_catalog.=) c.oid AND p.polname OPERATOR(pg_catalog.=) 'immiiq_select')
        GROUP BY c.oid, n.nspname
        UNION ALL
        SELECT f.oid, 'immiiq.capture()', true, f.xmin::text
        FROM pg_catalog.pg_proc AS f
        WHERE f.oid OPERATOR(pg_catalog.=) 'immiiq.capture()'::pg_catalog.regprocedure
    ) AS s;
$$;
COMMENT ON FUNCTION immiiq.coverage_now() IS 'the triggers that capture and those that guard the log, as they are, by the oid of their table';
REVOKE ALL ON FUNCTION immiiq.coverage_now() FROM PUBLIC;

CREATE FUNCTION immiiq.record_coverage(since timestamptz DEFAULT NULL) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now constant timestamptz := clock_timestamp();
    found constant jsonb := immiiq.coverage_now();
    last immiiq.coverage_state;
BEGIN
    SELECT * INTO last FROM immiiq.coverage_state AS s WHERE s.incarnation = immiiq.audit_lineage();
    IF last.state = found OR NOT immiiq.record_event_of('coverage', NULL, NULL, 'capture',
            jsonb_build_object('incarnation', immiiq.audit_lineage(), 'since', coalesce(since, last.at), 'state', found),
            now, 'database', NULL, NULL, session_user, NULL, NULL, NULL) THEN
        RETURN false;
    END IF;
    DELETE FROM immiiq.coverage_state;
    INSERT INTO immiiq.coverage_state VALUES (immiiq.audit_lineage(), now, found);
    RETURN true;
END
$$;
COMMENT ON FUNCTION immiiq.record_coverage(timestamptz) IS 'records in the log how the triggers that capture are, when that has changed; since: when somebody last looked';
REVOKE ALL ON FUNCTION immiiq.record_coverage(timestamptz) FROM PUBLIC;

CREATE FUNCTION immiiq.event_tag(kind text, object text) RETURNS int8
    LANGUAGE C STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_event_tag';
COMMENT ON FUNCTION immiiq.event_tag(text, text) IS 'what audit_log.row_tag is for such an event of the installation''s log';
REVOKE ALL ON FUNCTION immiiq.event_tag(text, text) FROM PUBLIC;

-- Between two states that the log has of one life of the database, and between the last of them and now.
CREATE FUNCTION immiiq.coverage_gaps() RETURNS TABLE (name text, what text, since timestamptz, until timestamptz)
    LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
    WITH event AS MATERIALIZED (
        SELECT l.position, l.at, (f.new_row OPERATOR(pg_catalog.->>) 'since')::timestamptz AS since,
            f.new_row OPERATOR(pg_catalog.->) 'state' AS state, (f.new_row OPERATOR(pg_catalog.->>) 'incarnation')::int4 AS incarnation
        FROM immiiq.leaf AS l
        JOIN immiiq.entry AS e ON e.month OPERATOR(pg_catalog.=) l.month AND e.incarnation OPERATOR(pg_catalog.=) l.incarnation
            AND e.txid OPERATOR(pg_catalog.=) l.txid AND e.seq OPERATOR(pg_catalog.=) l.seq
        CROSS JOIN LATERAL immiiq.entry_fields(immiiq.entry_bytes(e), immiiq.entry_bytes(e)) AS f
        WHERE l.org_id OPERATOR(pg_catalog.=) 'ffffffff-ffff-ffff-ffff-ffffffffffff'
            AND l.row_tag OPERATOR(pg_catalog.=) immiiq.event_tag('coverage', 'capture')
    ), state AS (
        SELECT pg_catalog.row_number() OVER (PARTITION BY e.incarnation ORDER BY e.position) AS n, e.incarnation, e.at, e.since, e.state
        FROM event AS e
        WHERE e.state IS NOT NULL
        UNION ALL
        SELECT pg_catalog.count(*) OPERATOR(pg_catalog.+) 1, e.incarnation, NULL, pg_catalog.max(e.at), immiiq.coverage_now()
        FROM event AS e
        WHERE e.state IS NOT NULL AND e.incarnation OPERATOR(pg_catalog.=) immiiq.audit_lineage()
        GROUP BY e.incarnation
    ), seen AS (
        SELECT s.n, s.at, s.since, o.value OPERATOR(pg_catalog.->>) 'name' AS name, (o.value OPERATOR(pg_catalog.->>) 'on')::boolean AS active,
            pg_catalog.lag((o.value OPERATOR(pg_catalog.->>) 'on')::boolean) OVER w AS was_active,
            o.value OPERATOR(pg_catalog.->>) 'version' AS version, pg_catalog.lag(o.value OPERATOR(pg_catalog.->>) 'version') OVER w AS was,
            pg_catalog.lag(s.n) OVER w AS was_n, pg_catalog.lag(s.at) OVER w AS was_at,
            pg_catalog.min(s.at) FILTER (WHERE (o.value OPERATOR(pg_catalog.->>) 'on')::boolean)
                OVER (PARTITION BY s.incarnation, o.key ORDER BY s.n ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS on_again
        FROM state AS s CROSS JOIN LATERAL pg_catalog.jsonb_each(s.state) AS o
        WINDOW w AS (PARTITION BY s.incarnation, o.key ORDER BY s.n)
    )
    SELECT s.name, 'off', CASE WHEN s.was_n OPERATOR(pg_catalog.=) (s.n OPERATOR(pg_catalog.-) 1) AND s.was_active THEN s.since ELSE s.at END, s.on_again
    FROM seen AS s
    WHERE NOT s.active AND s.was_active IS DISTINCT FROM false
    UNION ALL
    SELECT s.name, 'changed', CASE WHEN s.was_n OPERATOR(pg_catalog.=) (s.n OPERATOR(pg_catalog.-) 1) THEN s.since ELSE s.was_at END, s.at
    FROM seen AS s
    WHERE s.active AND s.was_active AND s.version OPERATOR(pg_catalog.<>) s.was
    ORDER BY 3, 1;
$$;
COMMENT ON FUNCTION immiiq.coverage_gaps() IS 'when capture, or a guard of the log, was off, or may have been: what changed between two looks; until null: up to now';
REVOKE ALL ON FUNCTION immiiq.coverage_gaps() FROM PUBLIC;

-- What the worker writes to the journal is in the log by the same commit.
CREATE FUNCTION immiiq.log_journal() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM immiiq.record_event_of(CASE NEW.kind WHEN 'document' THEN 'document-rolled-back' WHEN 'other' THEN 'journal' ELSE NEW.kind END,
        NEW.org_id, NULL, nullif(NEW.object, ''),
        jsonb_strip_nulls(jsonb_build_object('journal_id', NEW.journal_id, 'action', NEW.action, 'reason', NEW.reason, 'sqlstate', NEW.sqlstate,
            'login_name', NEW.login_name, 'user_name', NEW.user_name, 'backend_pid', NEW.backend_pid)),
        NEW.at, NEW.actor, NEW.member_id, NEW.session_id, NEW.role_name, host(NEW.client_ip), NEW.user_agent, NEW.application_name);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.log_journal() IS 'trigger of immiiq.journal: denials and operators'' ways in are events of the log';
REVOKE ALL ON FUNCTION immiiq.log_journal() FROM PUBLIC;
CREATE TRIGGER log_journal AFTER INSERT ON immiiq.journal FOR EACH ROW EXECUTE FUNCTION immiiq.log_journal();
ALTER TABLE immiiq.journal ENABLE ALWAYS TRIGGER log_journal;

-- One event for what a session opened between two turns of the worker: an entry for every transaction would cost more than the reading.
CREATE FUNCTION immiiq.log_opened() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM immiiq.record_event_of('field-access', g.org_id, NULL, NULL,
            jsonb_build_object('since', min(g.since), 'until', max(g.at), 'transactions', max(g.transactions),
                'opened', jsonb_object_agg(concat(g.type_code, ':', g.domain), g.opened)),
            max(g.at), g.actor, g.member_id, g.session_id, g.login_name, NULL, NULL, NULL)
    FROM (SELECT o.org_id, o.member_id, o.session_id, o.actor, o.login_name, o.type_code, o.domain, min(o.at) AS since, max(o.at) AS at,
              sum(o.opened) AS opened, count(DISTINCT (o.backend_pid, o.at)) AS transactions
          FROM opened_now AS o
          GROUP BY o.org_id, o.member_id, o.session_id, o.actor, o.login_name, o.type_code, o.domain) AS g
    GROUP BY g.org_id, g.member_id, g.session_id, g.actor, g.login_name;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.log_opened() IS 'trigger of immiiq.field_opened: what each session has opened is an event of the log';
REVOKE ALL ON FUNCTION immiiq.log_opened() FROM PUBLIC;
CREATE TRIGGER log_opened AFTER INSERT ON immiiq.field_opened REFERENCING NEW TABLE AS opened_now
    FOR EACH STATEMENT EXECUTE FUNCTION immiiq.log_opened();
ALTER TABLE immiiq.field_opened ENABLE ALWAYS TRIGGER log_opened;
