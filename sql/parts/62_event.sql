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
