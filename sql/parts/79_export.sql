-- Everything of a client or of an organisation, as files with a signed manifest; who has seen a client's data; whose records somebody touched.

-- ---- what becomes of each column ----

CREATE TABLE immiiq.export_rule (
    target regclass NOT NULL,
    "column" name NOT NULL,
    rule text NOT NULL CHECK (rule IN ('export', 'redact', 'omit')),
    reason text,
    shipped boolean NOT NULL DEFAULT false,
    CONSTRAINT export_rule_pkey PRIMARY KEY (target, "column"),
    CHECK (rule OPERATOR(pg_catalog.=) 'export' OR COALESCE(pg_catalog.length(reason), 0) OPERATOR(pg_catalog.>) 0)
);
COMMENT ON TABLE immiiq.export_rule IS 'for each column of a protected table: export; redact (third parties: hidden in what a client gets); omit (never leaves)';
COMMENT ON COLUMN immiiq.export_rule.reason IS 'why it is redacted or omitted: stands in the manifest';
COMMENT ON COLUMN immiiq.export_rule.shipped IS 'of immiiq''s own tables';
REVOKE ALL ON immiiq.export_rule FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('immiiq.export_rule', 'WHERE NOT shipped');
-- Owners classify the columns of their own tables.
ALTER TABLE immiiq.export_rule ENABLE ROW LEVEL SECURITY;
CREATE POLICY immiiq_owner ON immiiq.export_rule USING (NOT shipped AND EXISTS (SELECT FROM pg_catalog.pg_class AS c
    WHERE c.oid OPERATOR(pg_catalog.=) target AND pg_catalog.pg_has_role(c.relowner, 'MEMBER')));
COMMENT ON POLICY immiiq_owner ON immiiq.export_rule IS 'rules of the tables that one owns';
INSERT INTO immiiq.privilege VALUES ('owner', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE immiiq.export_rule');

CREATE FUNCTION immiiq.check_export_rule() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = NEW.target AND a.attname = NEW."column" AND a.attnum > 0 AND NOT a.attisdropped) THEN
        RAISE EXCEPTION 'table % has no column "%"', NEW.target, NEW."column" USING ERRCODE = 'undefined_column';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION immiiq.check_export_rule() IS 'trigger of export_rule: the column exists';
REVOKE ALL ON FUNCTION immiiq.check_export_rule() FROM PUBLIC;
CREATE TRIGGER check_export_rule BEFORE INSERT OR UPDATE ON immiiq.export_rule FOR EACH ROW EXECUTE FUNCTION immiiq.check_export_rule();

CREATE VIEW immiiq.export_column AS
    SELECT t.relation, t.org, t.client, a.attnum, a.attname AS column_name, a.atttypid, a.atttypmod, r.rule, r.reason
    FROM immiiq.protected_table AS t
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) t.relation AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
    LEFT JOIN immiiq.export_rule AS r ON r.target OPERATOR(pg_catalog.=) t.relation AND r."column" OPERATOR(pg_catalog.=) a.attname;
COMMENT ON VIEW immiiq.export_column IS 'columns of protected tables and their rule; a null rule lets every export fail';
REVOKE ALL ON immiiq.export_column FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('operator', 'SELECT', 'TABLE immiiq.export_column'),
    ('auditor', 'SELECT', 'TABLE immiiq.export_column');

-- Of immiiq's own tables, by name: a new column of theirs is classified here by hand.
INSERT INTO immiiq.export_rule (target, "column", rule, reason, shipped)
SELECT pg_catalog.format('immiiq.%I', t.name)::pg_catalog.regclass, c.name, 'export', NULL, true
FROM (VALUES
    ('org', '{org_id,name,active,created_at,plan}'),
    ('team', '{org_id,team_id,name,kind,parent_id,default_role_id}'),
    ('member', '{org_id,member_id,email,name,scope,modules,active,created_at,permissions,role_template_id,assistant_modules,added_scope,added_modules,added_permissions,added_assistant_modules}'),
    ('role_template', '{org_id,role_template_id,name,scope,modules,permissions,assistant_modules,follow}'),
    ('permission_group', '{org_id,permission_group_id,name,permissions}'),
    ('member_permission_group', '{org_id,member_id,permission_group_id}'),
    ('team_member', '{org_id,team_id,member_id}'),
    ('assignment', '{org_id,assignment_id,client_id,member_id,team_id}'),
    ('key_event', '{org_id,event_id,kind,started_at,finished_at,started_by,reason,keys_destroyed,values_sealed,values_damaged}'),
    ('ip_rule', '{org_id,ip_rule_id,network,note,created_at}'),
    ('object_store', '{org_id,object_store_id,name,endpoint,region,bucket,style,url_ttl,active,created_at}'),
    ('document', '{org_id,document_id,client_id,object_store_id,key,object_version,filename,content_type,content_length,content_sha256,hold,created_at}'),
    ('document_share', '{org_id,share_id,document_id,client_id,recipient,expires_at,uses_left,revoked_at,shared_by,shared_at,portal_client_id}'),
    ('document_event', '{org_id,event_id,at,action,document_id,client_id,share_id,expires_at,member_id,session_id,actor,login_name,client_ip,user_agent}'),
    ('secret', '{org_id,name,version,set_at,set_by}'),
    ('hold', '{org_id,hold_id,kind,client_id,matter_id,until,released_at,placed_at,placed_by,placed_role,released_by,released_role}'),
    ('erasure', '{org_id,erasure_id,kind,client_id,phase,due_at,requested_at,requested_by,requested_role,confirmed_at,confirmed_by,started_at,counts,commitments,head_before,erased_at,rotate_by,rotated_at,finished_at,certificate,waits_for_hold}'),
    ('erasure_object', '{org_id,erasure_id,document_id,object_store_id,key,object_version,listed_at,deleted_at}'),
    ('webhook', '{org_id,webhook_id,provider,secret,active}'),
    ('webhook_event', '{org_id,webhook_id,event_id,type,object_id,object_status,payload,received_at}'),
    ('signature_on_file', '{org_id,member_id,document_id,filed_at}'),
    ('sign_off', '{org_id,sign_off_id,table_schema,table_name,row_id,step,meaning,member_id,document_id,signed_at,digest,previous,signature}')
) AS t (name, columns), pg_catalog.unnest(t.columns::name[]) AS c (name);
INSERT INTO immiiq.export_rule VALUES ('immiiq.document_share', 'token_hash', 'omit', 'a secret', true),
    ('immiiq.hold', 'reason', 'redact', 'why something is kept is between the firm and who asked for it', true),
    ('immiiq.hold', 'release_reason', 'redact', 'why something is kept is between the firm and who asked for it', true),
    ('immiiq.erasure', 'reason', 'redact', 'what the firm wrote for itself', true),
    ('immiiq.erasure', 'cancel_reason', 'redact', 'what the firm wrote for itself', true),
    ('immiiq.erasure', 'problem', 'omit', 'of this server alone', true),
    ('immiiq.erasure', 'last_xid', 'omit', 'of this server alone', true),
    ('immiiq.erasure', 'wal_horizon', 'omit', 'of this server alone', true),
    ('immiiq.erasure', 'retry_at', 'omit', 'of this server alone', true),
    ('immiiq.erasure', 'replayed', 'omit', 'of this server alone', true),
    ('immiiq.erasure', 'key_ids', 'omit', 'of this server alone', true);

-- ---- who may ----

CREATE FUNCTION immiiq.require_export() RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF immiiq.current_org() IS NULL THEN
        RAISE EXCEPTION 'nobody is active in this transaction' USING ERRCODE = 'IQ011';
    END IF;
    -- All of the data, the log included: who sees less would get an export that is not whole.
    IF immiiq.current_actor() NOT IN ('member', 'operator') OR immiiq.audit_org() IS DISTINCT FROM immiiq.current_org()
        OR NOT immiiq.has_permission('export')
        OR current_setting('immiiq.require_reveal')::boolean AND NOT immiiq.has_permission('reveal')
    THEN
        RAISE EXCEPTION 'permission denied to export' USING ERRCODE = 'insufficient_privilege',
            HINT = 'It takes a member with scope all, the module reports and the permission export, or an operator.';
    END IF;
    IF current_setting('immiiq.output') <> 'auto' THEN
        RAISE EXCEPTION 'sealed values are not shown whole in this session' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'It takes the setting immiiq.output = auto.';
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.require_export() IS 'error unless the active identity may have everything of its organisation';
REVOKE ALL ON FUNCTION immiiq.require_export() FROM PUBLIC;

-- ---- who has seen what ----

-- One query for the report and for the export. 'possible': the transaction opened values of such a column, of one client or another.
CREATE FUNCTION immiiq.access_query(org uuid, client uuid, since timestamptz, until timestamptz) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format($query$
        SELECT d.at, 'document' AS source, 'certain' AS certainty, d.actor, d.member_id, d.session_id, host(d.client_ip) AS client_ip,
               d.user_agent, d.action, 'document ' || d.document_id AS object, 1::bigint AS count
        FROM immiiq.document_event AS d
        WHERE d.org_id = %1$L AND d.client_id = %2$L AND d.at >= %3$L AND d.at < %4$L
        UNION ALL
        SELECT j.at, 'document', 'certain', j.actor, j.member_id, j.session_id, host(j.client_ip), j.user_agent, substring(j.reason, '^[a-z]+'), j.object, 1
        FROM immiiq.journal AS j
        WHERE j.kind = 'document' AND j.org_id = %1$L AND j.at >= %3$L AND j.at < %4$L
            AND EXISTS (SELECT FROM immiiq.document AS d WHERE d.org_id = %1$L AND d.client_id = %2$L AND j.object = 'document ' || d.document_id)
        UNION ALL
        SELECT j.at, 'export', 'certain', j.actor, j.member_id, j.session_id, host(j.client_ip), j.user_agent, j.action, j.object, 1
        FROM immiiq.journal AS j
        WHERE j.kind = 'export' AND j.org_id = %1$L AND j.at >= %3$L AND j.at < %4$L AND j.object IN ('client %2$s', 'organisation')
        UNION ALL
        SELECT a.at, 'change', 'certain', a.actor, a.member_id, a.session_id, a.client_ip, a.user_agent, lower(a.operation),
               format('%%I.%%I', a.table_schema, a.table_name), 1
        FROM immiiq.audit_log AS a
        WHERE a.org_id = %1$L AND a.client_id = %2$L AND a.at >= %3$L AND a.at < %4$L
        UNION ALL
        SELECT f.at, 'field', CASE WHEN s.client_id IS NULL THEN 'possible' ELSE 'certain' END, f.actor, f.member_id, f.session_id, host(s.client_ip),
               s.user_agent, 'open', c.column_name, f.opened
        FROM immiiq.field_opened AS f
        JOIN immiiq.sealed_column AS c ON c.type_code = f.type_code AND c.domain = f.domain
        LEFT JOIN immiiq.session AS s ON s.session_id = f.session_id
        WHERE f.org_id = %1$L AND f.at >= %3$L AND f.at < %4$L AND (s.client_id IS NULL OR s.client_id = %2$L)
            AND EXISTS (SELECT FROM immiiq.protected_table AS t JOIN pg_attribute AS b ON b.attrelid = t.relation AND NOT b.attisdropped
                        JOIN pg_type AS y ON y.oid = b.atttypid
                        WHERE t.client IS NOT NULL AND y.typname LIKE 'enc\_%%' AND b.atttypmod >= 0 AND (b.atttypmod & 65535) = f.domain)
    $query$, org, client, since, until)
$$;
COMMENT ON FUNCTION immiiq.access_query(uuid, uuid, timestamptz, timestamptz) IS 'the query behind access_report, and behind access in an export';
REVOKE ALL ON FUNCTION immiiq.access_query(uuid, uuid, timestamptz, timestamptz) FROM PUBLIC;

CREATE FUNCTION immiiq.access_report(client uuid, since timestamptz DEFAULT '-infinity', until timestamptz DEFAULT 'infinity')
    RETURNS TABLE (at timestamptz, source text, certainty text, actor text, member_id uuid, session_id uuid, client_ip text, user_agent text,
                   action text, object text, count bigint)
    LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM immiiq.require_log(immiiq.current_org());
    RETURN QUERY EXECUTE immiiq.access_query(immiiq.current_org(), client, since, until) || ' ORDER BY 1';
END
$$;
COMMENT ON FUNCTION immiiq.access_report(uuid, timestamptz, timestamptz) IS 'who has seen, changed or exported this client''s data';
REVOKE ALL ON FUNCTION immiiq.access_report(uuid, timestamptz, timestamptz) FROM PUBLIC;

CREATE FUNCTION immiiq.breach_report(session uuid DEFAULT NULL, member uuid DEFAULT NULL, address inet DEFAULT NULL,
        since timestamptz DEFAULT '-infinity', until timestamptz DEFAULT 'infinity')
    RETURNS TABLE (client_id uuid, source text, certainty text, object text, records bigint, first_at timestamptz, last_at timestamptz)
    LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    org constant uuid := immiiq.current_org();
    place constant inet := immiiq.plain_address(address);
    sessions uuid[];
BEGIN
    PERFORM immiiq.require_log(org);
    IF session IS NULL AND member IS NULL AND address IS NULL AND since = '-infinity' AND until = 'infinity' THEN
        RAISE EXCEPTION 'neither a session, a member, an address nor a period is given' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Sessions that were taken away (immiiq.journal_keep) are in the log, whole.
    IF place IS NOT NULL THEN
        SELECT array_agg(s.session_id) INTO sessions FROM (
            SELECT s.session_id FROM immiiq.session AS s WHERE s.org_id = org AND immiiq.plain_address(s.client_ip) = place
            UNION ALL
            SELECT (a.key ->> 'session_id')::uuid FROM immiiq.audit_log AS a
            WHERE a.org_id = org AND a.table_schema = 'immiiq' AND a.table_name = 'session' AND a.operation = 'delete'
                AND immiiq.plain_address((a.old_row ->> 'client_ip')::inet) = place) AS s;
    END IF;
    RETURN QUERY
    SELECT h.client_id, h.source, h.certainty, h.object, sum(h.records)::bigint, min(h.at), max(h.at)
    FROM (
        SELECT a.client_id, 'change'::text AS source, 'certain'::text AS certainty, format('%I.%I', a.table_schema, a.table_name) AS object, 1::bigint AS records, a.at
        FROM immiiq.audit_log AS a
        WHERE a.org_id = org AND (breach_report.session IS NULL OR a.session_id = breach_report.session) AND (member IS NULL OR a.member_id = member)
            AND a.at >= since AND a.at < until AND (place IS NULL OR a.session_id = ANY (sessions)
                OR a.address_tag IN (immiiq.address_tag(host(place)), immiiq.address_tag(place::text)))
        UNION ALL
        SELECT d.client_id, 'document', 'certain', 'document ' || d.document_id, 1, d.at
        FROM immiiq.document_event AS d
        WHERE d.org_id = org AND (breach_report.session IS NULL OR d.session_id = breach_report.session) AND (member IS NULL OR d.member_id = member)
            AND d.at >= since AND d.at < until AND (place IS NULL OR d.session_id = ANY (sessions) OR immiiq.plain_address(d.client_ip) = place)
        UNION ALL -- what was rolled back, and whole exports
        SELECT CASE WHEN j.kind = 'export' THEN substring(j.object, '^client ([0-9a-f-]{36})$')::uuid
                    ELSE (SELECT d.client_id FROM immiiq.document AS d WHERE d.org_id = org AND j.object = 'document ' || d.document_id) END,
               j.kind, 'certain', j.object, 1, j.at
        FROM immiiq.journal AS j
        WHERE j.kind IN ('document', 'export') AND j.org_id = org AND (breach_report.session IS NULL OR j.session_id = breach_report.session)
            AND (member IS NULL OR j.member_id = member)
            AND j.at >= since AND j.at < until AND (place IS NULL OR j.session_id = ANY (sessions) OR immiiq.plain_address(j.client_ip) = place)
        UNION ALL
        SELECT s.client_id, 'field', CASE WHEN s.client_id IS NULL THEN 'possible' ELSE 'certain' END,
               coalesce(c.column_name, format('type %s, domain %s', f.type_code, f.domain)), f.opened, f.at
        FROM immiiq.field_opened AS f
        LEFT JOIN immiiq.sealed_column AS c ON c.type_code = f.type_code AND c.domain = f.domain
        LEFT JOIN immiiq.session AS s ON s.session_id = f.session_id
        WHERE f.org_id = org AND (breach_report.session IS NULL OR f.session_id = breach_report.session) AND (member IS NULL OR f.member_id = member)
            AND f.at >= since AND f.at < until AND (place IS NULL OR f.session_id = ANY (sessions))
    ) AS h
    GROUP BY h.client_id, h.source, h.certainty, h.object
    ORDER BY h.client_id, h.source, h.object;
END
$$;
COMMENT ON FUNCTION immiiq.breach_report(uuid, uuid, inet, timestamptz, timestamptz)
    IS 'whose records a session, a member or an address touched in a period; a null client with certainty possible: any within reach';
REVOKE ALL ON FUNCTION immiiq.breach_report(uuid, uuid, inet, timestamptz, timestamptz) FROM PUBLIC;

-- ---- the plan ----

CREATE FUNCTION immiiq.export_path_name(name text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(CASE WHEN c ~ '^[A-Za-z0-9_-]$' THEN c ELSE regexp_replace(encode(convert_to(c, 'UTF8'), 'hex'), '(..)', '%\1', 'g') END, '' ORDER BY n)
    FROM regexp_split_to_table(name, '') WITH ORDINALITY AS s (c, n)
$$;
COMMENT ON FUNCTION immiiq.export_path_name(text) IS 'a name as part of a path: letters, digits, _ and - stay, other bytes become %xx';
REVOKE ALL ON FUNCTION immiiq.export_path_name(text) FROM PUBLIC;

-- An image of the log as its subject may have it: columns by the rules of today, what has none as redacted.
CREATE FUNCTION immiiq.export_image(image jsonb, table_schema text, table_name text) RETURNS jsonb
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_object_agg(e.key, CASE WHEN r.rule = 'export' THEN e.value ELSE to_jsonb('[redacted]'::text) END)
    FROM jsonb_each(image) AS e
    LEFT JOIN immiiq.export_rule AS r ON r.target = to_regclass(format('%I.%I', table_schema, table_name)) AND r."column" = e.key
    WHERE r.rule IS DISTINCT FROM 'omit'
$$;
COMMENT ON FUNCTION immiiq.export_image(jsonb, text, text) IS 'what of a row''s image its subject may have';
REVOKE ALL ON FUNCTION immiiq.export_image(jsonb, text, text) FROM PUBLIC;

CREATE FUNCTION immiiq.export_plan(client uuid, format text) RETURNS TABLE (place int, path text, query text, columns jsonb)
    LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    active constant uuid := immiiq.current_org();
    missing text;
BEGIN
    SELECT string_agg(format('%s.%I', c.relation, c.column_name), ', ' ORDER BY c.relation::text, c.attnum) INTO missing
    FROM immiiq.export_column AS c WHERE c.rule IS NULL AND (export_plan.client IS NULL OR c.client IS NOT NULL);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'not classified for export: %', missing USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Say in immiiq.export_rule whether they are exported, redacted or omitted.';
    END IF;
    -- In the order of foreign keys, so that files can be read in again one after the other.
    RETURN QUERY
    WITH RECURSIVE below AS (
        SELECT t.relation::oid AS relation, 0 AS depth FROM immiiq.protected_table AS t
        UNION
        SELECT k.conrelid, b.depth + 1 FROM below AS b JOIN pg_constraint AS k ON k.confrelid = b.relation AND k.contype = 'f' AND k.conrelid <> k.confrelid
        WHERE b.depth < 12
    ), depth AS (
        SELECT b.relation, max(b.depth) AS depth FROM below AS b GROUP BY b.relation
    )
    SELECT row_number() OVER (ORDER BY d.depth, n.nspname, r.relname)::int,
           format('tables/%s.%s.%s', immiiq.export_path_name(n.nspname), immiiq.export_path_name(r.relname), export_plan.format),
           format('SELECT %s FROM %I.%I AS t WHERE t.%I = %L::uuid', x.selected, n.nspname, r.relname, t.org, active)
               || CASE WHEN export_plan.client IS NULL THEN '' ELSE format(' AND t.%I = %L::uuid', t.client, export_plan.client) END,
           x.columns
    FROM immiiq.protected_table AS t
    JOIN pg_class AS r ON r.oid = t.relation
    JOIN pg_namespace AS n ON n.oid = r.relnamespace
    JOIN depth AS d ON d.relation = t.relation
    CROSS JOIN LATERAL (
        SELECT string_agg(CASE WHEN c.rule = 'redact' AND export_plan.client IS NOT NULL
                                   THEN format('CASE WHEN t.%1$I IS NOT NULL THEN ''[redacted]'' END AS %1$I', c.column_name)
                               WHEN e.typnamespace = 'pg_catalog'::regnamespace AND e.typname NOT LIKE 'enc\_%' AND export_plan.format = 'jsonl'
                                   THEN format('to_json(t.%1$I) AS %1$I', c.column_name)
                               ELSE format('t.%I', c.column_name) END, ', ' ORDER BY c.attnum) FILTER (WHERE c.rule <> 'omit') AS selected,
               jsonb_agg(jsonb_strip_nulls(jsonb_build_object('name', c.column_name, 'type', format_type(c.atttypid, c.atttypmod), 'rule', c.rule,
                                                              'reason', c.reason)) ORDER BY c.attnum) AS columns
        FROM immiiq.export_column AS c
        JOIN pg_type AS y ON y.oid = c.atttypid
        LEFT JOIN pg_type AS e ON e.oid = y.typelem AND y.typcategory = 'A'
        WHERE c.relation = t.relation
    ) AS x
    WHERE export_plan.client IS NULL OR t.client IS NOT NULL;

    IF export_plan.client IS NOT NULL THEN
        RETURN QUERY VALUES
        (100001, 'access.' || export_plan.format, -- colleagues' addresses are not the client's to know
         format('SELECT q.at, q.source, q.certainty, q.actor, q.member_id, q.action, q.object, q.count FROM (%s) AS q',
                immiiq.access_query(active, export_plan.client, '-infinity', 'infinity')), NULL::jsonb),
        (100002, 'sign_in.' || export_plan.format,
         format('SELECT a.at, a.method, a.verdict, a.reason, a.country, a.client_ip, a.user_agent, a.session_id FROM immiiq.sign_in_attempt AS a
                 WHERE a.org_id = %L AND a.client_id = %L', active, export_plan.client), NULL),
        (100003, 'audit.' || export_plan.format,
         format('SELECT a.position, a.at, a.actor, a.member_id, a.table_schema, a.table_name, a.operation,
                        immiiq.export_image(a.old_row, a.table_schema, a.table_name) AS old_row,
                        immiiq.export_image(a.new_row, a.table_schema, a.table_name) AS new_row
                 FROM immiiq.audit_log AS a WHERE a.org_id = %L AND a.client_id = %L', active, export_plan.client), NULL);
    ELSE
        RETURN QUERY VALUES
        (100001, 'access.' || export_plan.format,
         format('SELECT f.at, f.actor, f.member_id, f.session_id, f.login_name, c.column_name, f.opened
                 FROM immiiq.field_opened AS f LEFT JOIN immiiq.sealed_column AS c ON c.type_code = f.type_code AND c.domain = f.domain
                 WHERE f.org_id = %L', active), NULL::jsonb),
        (100002, 'sign_in.' || export_plan.format,
         format('SELECT a.at, a.member_id, a.client_id, a.session_id, a.method, a.verdict, a.reason, a.known_device, a.country, a.client_ip, a.user_agent
                 FROM immiiq.sign_in_attempt AS a WHERE a.org_id = %L', active), NULL),
        (100003, 'journal.' || export_plan.format,
         format('SELECT j.at, j.kind, j.actor, j.member_id, j.session_id, j.login_name, j.action, j.object, j.reason, j.sqlstate, j.client_ip, j.user_agent
                 FROM immiiq.journal AS j WHERE j.org_id = %L', active), NULL),
        (100004, 'secrets.' || export_plan.format,
         format('SELECT ''secret'' AS kind, s.name, s.version::text AS detail, s.set_at AS at FROM immiiq.secret AS s WHERE s.org_id = %1$L
                 UNION ALL SELECT ''credentials of a store'', o.name, NULL, NULL FROM immiiq.object_store AS o JOIN immiiq.store_credential AS c
                     ON c.org_id = o.org_id AND c.object_store_id = o.object_store_id WHERE o.org_id = %1$L
                 UNION ALL SELECT ''password'', p.member_id::text, NULL, NULL FROM immiiq.password AS p WHERE p.org_id = %1$L
                 UNION ALL SELECT ''identity elsewhere'', i.member_id::text, i.issuer, NULL FROM immiiq.external_identity AS i WHERE i.org_id = %1$L', active), NULL),
        (100005, 'audit.jsonl', -- of columns that are omitted the commitment only, in every table that has one of this name
         format('SELECT immiiq.export_audit(%L, redact => %L)', active, (SELECT coalesce(array_agg(DISTINCT c.column_name::text), '{}')
                                                                          FROM immiiq.export_column AS c WHERE c.rule = 'omit')), '[]'::jsonb);
    END IF;
    RETURN QUERY VALUES (200001, 'manifest.json', NULL::text, NULL::jsonb), (200002, 'manifest.json.sig', NULL, NULL);
END
$$;
COMMENT ON FUNCTION immiiq.export_plan(uuid, text) IS 'the files of an export and the query of each; a client of null: the whole organisation';
REVOKE ALL ON FUNCTION immiiq.export_plan(uuid, text) FROM PUBLIC;

-- Files that were finished in an earlier transaction: signed by this database, for the same export.
CREATE FUNCTION immiiq.read_receipts(client uuid, format text, receipts text[]) RETURNS jsonb
    LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    receipt text;
    statement text;
    signature text;
    content jsonb;
    result jsonb := '[]';
BEGIN
    FOREACH receipt IN ARRAY coalesce(receipts, '{}') LOOP
        statement := split_part(receipt, E'\t', 1);
        signature := split_part(receipt, E'\t', 2);
        IF receipt IS NULL OR signature !~ '^[A-Za-z0-9+/]{86}==$' OR NOT immiiq.verify_ed25519(immiiq.sign_off_key(), convert_to(statement, 'UTF8'), decode(signature, 'base64')) THEN
            RAISE EXCEPTION 'receipt of a file is not of this database' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        content := statement::jsonb;
        IF content ->> 'immiiq' IS DISTINCT FROM 'export-receipt/v1' OR content -> 'org_id' IS DISTINCT FROM to_jsonb(immiiq.current_org())
            OR content -> 'client_id' IS DISTINCT FROM coalesce(to_jsonb(client), 'null') OR content ->> 'format' IS DISTINCT FROM format
        THEN
            RAISE EXCEPTION 'receipt of a file is of another export' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        result := result || (content -> 'file');
    END LOOP;
    RETURN result;
END
$$;
COMMENT ON FUNCTION immiiq.read_receipts(uuid, text, text[]) IS 'what receipts of export_receipt say, once their signatures hold';
REVOKE ALL ON FUNCTION immiiq.read_receipts(uuid, text, text[]) FROM PUBLIC;

CREATE FUNCTION immiiq.export_begin(client uuid, format text, files text[], receipts text[])
    RETURNS TABLE (place int, path text, query text, columns jsonb, receipts_read jsonb, snapshot text)
    LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    unknown text;
BEGIN
    PERFORM immiiq.require_export();
    RETURN QUERY
    SELECT p.place, p.path, p.query, p.columns, immiiq.read_receipts(client, format, receipts), pg_current_snapshot()::text
    FROM immiiq.export_plan(client, format) AS p WHERE files IS NULL OR p.path = ANY (files);
    SELECT o.path INTO unknown FROM unnest(files) AS o (path)
    WHERE NOT EXISTS (SELECT FROM immiiq.export_plan(client, format) AS p WHERE p.path = o.path) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the export has no file of this name' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'See immiiq.export_files().';
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.export_begin(uuid, text, text[], text[]) IS 'checks who asks, and gives the files that are asked for; used by export_client and export_org';
REVOKE ALL ON FUNCTION immiiq.export_begin(uuid, text, text[], text[]) FROM PUBLIC;

-- ---- the manifest ----

CREATE FUNCTION immiiq.export_manifest(client uuid, format text, files text, receipts text) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    done jsonb;
    missing text;
    snapshots jsonb;
    org constant uuid := immiiq.current_org();
BEGIN
    -- The last of each: a file may have been asked for twice.
    SELECT jsonb_agg(f.file ORDER BY p.place), jsonb_agg(DISTINCT f.file -> 'snapshot'),
           string_agg(p.path, ', ' ORDER BY p.place) FILTER (WHERE f.file IS NULL)
    INTO done, snapshots, missing
    FROM immiiq.export_plan(client, format) AS p
    LEFT JOIN LATERAL (SELECT e.file FROM jsonb_array_elements(coalesce(receipts::jsonb, '[]') || files::jsonb) WITH ORDINALITY AS e (file, n)
                       WHERE e.file ->> 'path' = p.path ORDER BY e.n DESC LIMIT 1) AS f ON true
    WHERE p.query IS NOT NULL;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'export is not complete: % missing', missing USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Ask for these files in the same transaction first, or give their receipts.';
    END IF;
    RETURN jsonb_pretty(jsonb_build_object(
        'immiiq', 'export/v1',
        'kind', CASE WHEN client IS NULL THEN 'organisation' ELSE 'client' END,
        'org_id', org, 'client_id', client, 'format', format,
        'database', (SELECT k.origin FROM immiiq.log_key AS k ORDER BY k.created_at LIMIT 1),
        'schema_version', (SELECT e.extversion FROM pg_extension AS e WHERE e.extname = 'immiiq'),
        'schema_sha256', (SELECT encode(sha256(convert_to(string_agg(format('%s %s', f ->> 'path', f -> 'columns'), E'\n' ORDER BY f ->> 'path'), 'UTF8')), 'hex')
                          FROM jsonb_array_elements(done) AS f),
        'taken_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'taken_by', jsonb_build_object('actor', immiiq.current_actor(), 'member_id', immiiq.current_member(), 'role', session_user),
        'consistent', jsonb_array_length(snapshots) = 1,
        'snapshots', snapshots,
        'checkpoint', immiiq.checkpoint(),
        'files', done,
        'not_exported', (SELECT coalesce(jsonb_agg(jsonb_build_object('table', c.relation::text, 'column', c.column_name, 'rule', c.rule, 'reason', c.reason)
                                                   ORDER BY c.relation::text, c.attnum), '[]')
                         FROM immiiq.export_column AS c
                         WHERE (c.rule = 'omit' OR c.rule = 'redact' AND export_manifest.client IS NOT NULL) AND (export_manifest.client IS NULL OR c.client IS NOT NULL)),
        'organisation_wide', CASE WHEN export_manifest.client IS NOT NULL THEN (SELECT jsonb_agg(t.relation::text ORDER BY t.relation::text) FROM immiiq.protected_table AS t
                                                               WHERE t.client IS NULL) END,
        'secrets', 'passwords, tokens, credentials and keys never leave the database'
    ));
END
$$;
COMMENT ON FUNCTION immiiq.export_manifest(uuid, text, text, text) IS 'the manifest of an export whose files are all there';
REVOKE ALL ON FUNCTION immiiq.export_manifest(uuid, text, text, text) FROM PUBLIC;

CREATE FUNCTION immiiq.export_signature(manifest text) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN immiiq.base64(immiiq.sign_statement(manifest OPERATOR(pg_catalog.||) E'\n'));
COMMENT ON FUNCTION immiiq.export_signature(text) IS 'Ed25519 over the bytes of manifest.json, in base64';
REVOKE ALL ON FUNCTION immiiq.export_signature(text) FROM PUBLIC;

CREATE FUNCTION immiiq.statement_key() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    RETURN E'-----BEGIN PUBLIC KEY-----\n' OPERATOR(pg_catalog.||)
        immiiq.base64('\x302a300506032b6570032100'::bytea OPERATOR(pg_catalog.||) immiiq.sign_off_key()) OPERATOR(pg_catalog.||) E'\n-----END PUBLIC KEY-----';
COMMENT ON FUNCTION immiiq.statement_key() IS 'the public key (PEM) of manifests and sign-offs, for openssl';
REVOKE ALL ON FUNCTION immiiq.statement_key() FROM PUBLIC;

-- ---- what is called ----

CREATE TYPE immiiq.export_line AS (path text, line text);
COMMENT ON TYPE immiiq.export_line IS 'a line of one file of an export, without its newline';

CREATE FUNCTION immiiq.export_client(client uuid, format text DEFAULT 'jsonl', files text[] DEFAULT NULL, receipts text[] DEFAULT NULL)
    RETURNS SETOF immiiq.export_line
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_export_client';
COMMENT ON FUNCTION immiiq.export_client(uuid, text, text[], text[])
    IS 'everything of a client, line by line: call it in the target list, in FROM it would be kept whole; files: these alone; receipts: of files that are there already';
REVOKE ALL ON FUNCTION immiiq.export_client(uuid, text, text[], text[]) FROM PUBLIC;

CREATE FUNCTION immiiq.export_org(format text DEFAULT 'jsonl', files text[] DEFAULT NULL, receipts text[] DEFAULT NULL)
    RETURNS SETOF immiiq.export_line
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_export_org';
COMMENT ON FUNCTION immiiq.export_org(text, text[], text[]) IS 'everything of the active organisation, as export_client';
REVOKE ALL ON FUNCTION immiiq.export_org(text, text[], text[]) FROM PUBLIC;

CREATE FUNCTION immiiq.export_done(client uuid, format text, path text) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'immiiq_export_done';
COMMENT ON FUNCTION immiiq.export_done(uuid, text, text) IS 'count and hash of a file that this transaction has exported';
REVOKE ALL ON FUNCTION immiiq.export_done(uuid, text, text) FROM PUBLIC;

CREATE FUNCTION immiiq.export_files(client uuid DEFAULT NULL, format text DEFAULT 'jsonl') RETURNS TABLE (path text)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM immiiq.require_export();
    RETURN QUERY SELECT p.path FROM immiiq.export_plan(client, format) AS p ORDER BY p.place;
END
$$;
COMMENT ON FUNCTION immiiq.export_files(uuid, text) IS 'the files of an export, in the order in which they can be read in again';
REVOKE ALL ON FUNCTION immiiq.export_files(uuid, text) FROM PUBLIC;

CREATE FUNCTION immiiq.export_receipt(path text, client uuid DEFAULT NULL, format text DEFAULT 'jsonl') RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statement text;
BEGIN
    PERFORM immiiq.require_export();
    SELECT jsonb_build_object('immiiq', 'export-receipt/v1', 'org_id', immiiq.current_org(), 'client_id', client, 'format', format, 'file', d::jsonb)::text
    INTO statement FROM immiiq.export_done(client, format, path) AS d WHERE d IS NOT NULL;
    RETURN statement || E'\t' || immiiq.base64(immiiq.sign_statement(statement));
END
$$;
COMMENT ON FUNCTION immiiq.export_receipt(text, uuid, text) IS 'proof for a later export_client or export_org that this transaction has exported a file; null when it has not';
REVOKE ALL ON FUNCTION immiiq.export_receipt(text, uuid, text) FROM PUBLIC;

CREATE VIEW immiiq.export_log AS
    SELECT j.journal_id, j.at, j.org_id, j.member_id, j.session_id, j.actor, j.login_name, j.action, j.object, j.reason AS format,
           j.client_ip, j.user_agent, j.application_name
    FROM immiiq.journal_visible AS j
    WHERE j.kind OPERATOR(pg_catalog.=) 'export';
COMMENT ON VIEW immiiq.export_log IS 'every export, rolled back or not';
REVOKE ALL ON immiiq.export_log FROM PUBLIC;

INSERT INTO immiiq.privilege
SELECT kind, CASE WHEN object LIKE 'TABLE %' THEN 'SELECT' ELSE 'EXECUTE' END, object
FROM pg_catalog.unnest(ARRAY['application', 'operator']) AS kind,
    pg_catalog.unnest(ARRAY['FUNCTION immiiq.export_client(uuid, text, text[], text[])', 'FUNCTION immiiq.export_org(text, text[], text[])',
        'FUNCTION immiiq.export_files(uuid, text)', 'FUNCTION immiiq.export_receipt(text, uuid, text)', 'FUNCTION immiiq.statement_key()',
        'FUNCTION immiiq.access_report(uuid, timestamptz, timestamptz)', 'FUNCTION immiiq.breach_report(uuid, uuid, inet, timestamptz, timestamptz)',
        'TABLE immiiq.export_log']) AS object;
INSERT INTO immiiq.privilege VALUES
    ('auditor', 'SELECT', 'TABLE immiiq.export_log'),
    ('auditor', 'EXECUTE', 'FUNCTION immiiq.statement_key()');
