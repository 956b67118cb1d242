-- A report on an organisation's log for people: one HTML page that prints, needs nothing else and runs nothing.

-- Text as HTML. Letters that steer the text around them are spelled out, so that no name can turn a line of the report round.
CREATE FUNCTION immiiq.html(t text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN regexp_replace(regexp_replace(replace(replace(replace(replace(replace(t, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
        '[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\ufeff]', '<span class="odd">&#9676;</span>', 'g'),
        '[\u0001-\u0008\u000b-\u001f\u007f-\u009f]', '<span class="odd">&#9676;</span>', 'g');
COMMENT ON FUNCTION immiiq.html(text) IS 'text as it stands in an HTML page; control characters and letters that turn the direction of text are shown as marks';

CREATE FUNCTION immiiq.html_time(t timestamptz) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN isfinite(t) THEN format('<time datetime="%s">%s</time>', to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')) ELSE t::text END;
COMMENT ON FUNCTION immiiq.html_time(timestamptz) IS 'a time in UTC as it stands in an HTML page';

-- How every page of immiiq begins: nothing runs there, nothing is fetched.
CREATE FUNCTION immiiq.html_head(title text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN concat('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''">',
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>', immiiq.html(title), '</title><style>',
        '@page{size:A4;margin:18mm 16mm}'
        'body{font:10.5pt/1.45 "DejaVu Sans","Helvetica Neue",Arial,sans-serif;color:#1a1a1a;background:#fff;max-width:62rem;margin:0 auto;padding:1.5rem}'
        'h1{font-size:1.7rem;margin:0}h2{font-size:1.2rem;margin:2rem 0 .5rem;border-bottom:2px solid #1a1a1a;padding-bottom:.2rem}'
        'h1,h2,caption{break-after:avoid}.lead{font-size:1.1rem;margin:.2rem 0 1rem}'
        'table{border-collapse:collapse;width:100%;margin:.5rem 0}caption{text-align:left;color:#444;padding-bottom:.3rem}'
        'th,td{text-align:left;vertical-align:top;padding:.3rem .5rem .3rem 0;border-bottom:1px solid #bbb}thead{display:table-header-group}thead th{border-bottom:1.5px solid #1a1a1a}'
        'tr{break-inside:avoid}td.n,th.n{text-align:right;padding-right:1rem}'
        'dl.facts{display:grid;grid-template-columns:12rem 1fr;gap:.25rem 1rem;margin:0}dl.facts dt{font-weight:bold}dl.facts dd{margin:0}'
        'td dl{margin:0}td dl div{display:flex;gap:.6rem}td dt{color:#444;width:9rem;flex:none;overflow-wrap:anywhere}.leaf code{font-size:.85em}#entries+p+table,#entries+table{table-layout:fixed}col.n{width:4.5rem}col.who{width:11rem}td dd{margin:0;overflow-wrap:anywhere;white-space:pre-wrap}'
        'code,pre{font:8.5pt/1.4 "DejaVu Sans Mono",monospace;overflow-wrap:anywhere;white-space:pre-wrap}pre{border:1px solid #bbb;padding:.6rem;break-inside:avoid}'
        'del{text-decoration:line-through;color:#7a1f1f}ins{text-decoration:none;font-weight:bold;color:#12501f}.to,.small{color:#444;font-size:.9em}'
        '.ok,.bad{border:2px solid;padding:.6rem .8rem;font-weight:bold}.ok{color:#12501f}.bad{color:#8a1010}.odd{color:#8a1010}'
        '@media print{body{padding:0;max-width:none;font-size:9pt}}',
        '</style></head>');
COMMENT ON FUNCTION immiiq.html_head(text) IS 'a page up to its body: title, style, and that it may fetch and run nothing';

-- What an entry changed, a line a column, but for the key, which stands above; NULL when the caller opens no image.
CREATE FUNCTION immiiq.html_changes(operation text, old_row jsonb, new_row jsonb, redact text[], key jsonb) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT '<dl>' || string_agg(format('<div><dt>%s</dt><dd>%s</dd></div>', immiiq.html(c.name),
            CASE WHEN c.name = ANY (redact) OR '*' = ANY (redact) THEN '<i>kept back</i>'
            WHEN operation = 'update' THEN format('<del>%s</del> <span class="to">became</span> <ins>%s</ins>', c.old, c.new)
            WHEN operation = 'delete' THEN format('<del>%s</del>', c.old)
            ELSE c.new END), '' ORDER BY c.name) || '</dl>'
        FROM (SELECT k.name, v.old, v.new
            FROM jsonb_object_keys(CASE WHEN operation IN ('update', 'delete') THEN old_row ELSE new_row END) AS k (name)
            CROSS JOIN LATERAL (SELECT coalesce('<bdi>' || nullif(immiiq.html(left(old_row ->> k.name, 400)), '') || '</bdi>'
                        || CASE WHEN length(old_row ->> k.name) > 400 THEN '&#8230;' ELSE '' END,
                    CASE WHEN old_row ->> k.name = '' THEN '<i>empty</i>' ELSE '<i>nothing</i>' END) AS old,
                coalesce('<bdi>' || nullif(immiiq.html(left(new_row ->> k.name, 400)), '') || '</bdi>'
                        || CASE WHEN length(new_row ->> k.name) > 400 THEN '&#8230;' ELSE '' END,
                    CASE WHEN new_row ->> k.name = '' THEN '<i>empty</i>' ELSE '<i>nothing</i>' END) AS new) AS v
            WHERE operation = 'update' OR NOT coalesce(key ? k.name, false) AND coalesce(new_row ->> k.name, old_row ->> k.name) IS NOT NULL) AS c);
COMMENT ON FUNCTION immiiq.html_changes(text, jsonb, jsonb, text[], jsonb) IS 'what an entry of the log changed, as HTML';

-- Whether the version of a row that was signed is the one that stands there now. NULL client: any.
CREATE FUNCTION immiiq.report_sign_off(s immiiq.sign_off, client uuid, OUT of_client boolean, OUT signature text, OUT present text)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target constant regclass := to_regclass(format('%I.%I', s.table_schema, s.table_name));
    client_column constant name := (immiiq.protected_columns(target)).client;
    digest bytea;
BEGIN
    of_client := client IS NULL;
    IF client IS NOT NULL AND client_column IS NOT NULL THEN
        SELECT o.found INTO of_client
        FROM immiiq.as_owner(target, format('SELECT true FROM %s WHERE %I::text = $1 AND %I = $2 AND %I = $3', target, immiiq.id_column(target),
                client_column, (immiiq.protected_columns(target)).org), s.row_id, client, s.org_id) AS o (found boolean);
    END IF;
    BEGIN
        signature := CASE WHEN immiiq.verify_ed25519(immiiq.sign_off_key(), convert_to(immiiq.sign_off_statement(s), 'UTF8'), s.signature)
            THEN 'holds' ELSE 'DOES NOT HOLD' END;
    EXCEPTION WHEN SQLSTATE 'IQ002' OR SQLSTATE 'IQ003' THEN
        signature := 'not checked: the key cannot be had';
    END;
    IF immiiq.current_org() IS NULL THEN
        present := 'not compared: nobody is active';
    ELSE
        digest := CASE WHEN target IS NOT NULL THEN immiiq.digest_of(target, s.row_id) END;
        present := CASE WHEN digest IS NULL THEN 'gone, or out of reach' WHEN digest = s.digest THEN 'unchanged since' ELSE 'CHANGED SINCE' END;
    END IF;
END
$$;
COMMENT ON FUNCTION immiiq.report_sign_off(immiiq.sign_off, uuid) IS 'whether a signature holds, and for the row as it is; for immiiq.audit_report()';
REVOKE ALL ON FUNCTION immiiq.report_sign_off(immiiq.sign_off, uuid) FROM PUBLIC;

CREATE FUNCTION immiiq.audit_report(org uuid, since timestamptz DEFAULT '-infinity', until timestamptz DEFAULT 'infinity', client uuid DEFAULT NULL,
        member uuid DEFAULT NULL, redact text[] DEFAULT '{}', most int4 DEFAULT 1000) RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    names constant boolean := coalesce(org = immiiq.audit_org(), false); -- who is active knows whose names they are
    title text;
    total bigint;
    shown bigint;
    errors bigint;
    warnings bigint;
    findings text;
    facts text;
    part text;
    head int8;
    page text;
BEGIN
    PERFORM immiiq.require_log(org);
    IF since IS NULL OR until IS NULL OR redact IS NULL OR most IS NULL OR most < 0 OR most > 100000 THEN
        RAISE EXCEPTION 'since, until and redact must be given, and most be between 0 and 100000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    title := coalesce((SELECT o.name FROM immiiq.org AS o WHERE o.org_id = org AND names), org::text);
    SELECT max(h.size) INTO head FROM immiiq.tree_head AS h;

    -- What verification says of this organisation's log and rows, now.
    SELECT count(*) FILTER (WHERE v.severity = 'error'), count(*) FILTER (WHERE v.severity <> 'error'),
        string_agg(format('<tr><td>%s</td><td class="n">%s</td><td>%s</td></tr>', immiiq.html(v.severity), v.position, immiiq.html(v.problem)), '' ORDER BY v.severity, v.position, v.problem)
    INTO errors, warnings, findings
    FROM immiiq.verify_audit(org) AS v;

    SELECT count(*) INTO total FROM immiiq.leaf AS l LEFT JOIN immiiq.subject_key AS k ON k.org_id = l.org_id AND k.key_id = l.key_id
    WHERE l.org_id = org AND l.at >= since AND l.at < until AND (client IS NULL OR k.client_id = client) AND (member IS NULL OR l.member_id = member);
    shown := least(total, most);

    facts := concat('<dt>Organisation</dt><dd><bdi>', immiiq.html(title), '</bdi> <code>', org, '</code></dd>',
        '<dt>Period</dt><dd>', CASE WHEN isfinite(since) THEN 'from ' || immiiq.html_time(since) ELSE 'from the beginning' END,
        CASE WHEN isfinite(until) THEN ' up to ' || immiiq.html_time(until) || ', not included' ELSE ' to now' END, '</dd>',
        CASE WHEN client IS NOT NULL THEN format('<dt>Client</dt><dd>entries of <code>%s</code> alone</dd>', client) END,
        CASE WHEN member IS NOT NULL THEN concat('<dt>Member</dt><dd>entries by ',
            (SELECT '<bdi>' || immiiq.html(m.name) || '</bdi> ' FROM immiiq.member AS m WHERE m.org_id = org AND m.member_id = member AND names), '<code>', member, '</code> alone</dd>') END,
        '<dt>Entries</dt><dd>', total, ' in this report''s period and selection; ', (SELECT coalesce(max(l.position), 0) FROM immiiq.leaf AS l WHERE l.org_id = org),
        ' in the organisation''s log</dd>',
        CASE WHEN redact <> '{}' THEN '<dt>Kept back</dt><dd>' || immiiq.html(array_to_string(redact, ', ')) || '</dd>' END,
        '<dt>Made</dt><dd>', immiiq.html_time(clock_timestamp()), ' by ', immiiq.html(coalesce(immiiq.current_actor(), 'database')), ', login role <bdi>',
        immiiq.html(session_user), '</bdi></dd>');
    page := concat(immiiq.html_head('Audit report: ' || title), '<body>',
        '<header><h1>Audit report</h1><p class="lead"><bdi>', immiiq.html(title), '</bdi></p></header><main>',
        '<section aria-labelledby="summary"><h2 id="summary">Summary</h2>',
        CASE WHEN errors > 0 THEN format('<p class="bad">Verification found %s %s. See Findings.</p>', errors, CASE WHEN errors = 1 THEN 'error' ELSE 'errors' END)
            WHEN warnings > 0 THEN format('<p class="ok">Verification found no error, and %s %s. See Findings.</p>', warnings, CASE WHEN warnings = 1 THEN 'warning' ELSE 'warnings' END)
            ELSE '<p class="ok">Verification found nothing: the log is whole, and the rows are as it says.</p>' END,
        '<dl class="facts">', facts, '</dl><p class="small">All times are UTC.</p></section>');

    -- Coverage.
    SELECT string_agg(format('<tr><th scope="row"><bdi>%s</bdi></th><td>%s</td><td>%s</td><td>%s</td><td class="n">%s</td></tr>', immiiq.html(t.relation::text), immiiq.html(coalesce(t.module, 'none')),
            CASE WHEN t.captured THEN 'yes' ELSE 'NO' END, CASE WHEN t.forced THEN 'forced' ELSE 'NOT FORCED' END, t.sealed), '' ORDER BY t.relation::text)
    INTO part
    FROM (SELECT p.relation, p.module, p.forced,
            EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = p.relation AND g.tgname = '00_immiiq_capture' AND g.tgenabled = 'A') AS captured,
            c.relnamespace = 'immiiq'::regnamespace AS own,
            (SELECT count(*) FROM pg_attribute AS a JOIN pg_type AS y ON y.oid = a.atttypid
                WHERE a.attrelid = p.relation AND a.attnum > 0 AND NOT a.attisdropped AND y.typname LIKE 'enc\_%') AS sealed
        FROM immiiq.protected_table AS p JOIN pg_class AS c ON c.oid = p.relation) AS t
    WHERE NOT (t.own AND t.captured AND t.forced);
    page := concat(page, '<section aria-labelledby="coverage"><h2 id="coverage">Coverage of protection</h2><table><caption>Protected tables</caption><thead><tr><th scope="col">Table</th><th scope="col">Module</th>',
        '<th scope="col">Changes captured</th><th scope="col">Row security</th><th scope="col" class="n">Sealed columns</th></tr></thead><tbody>', coalesce(part, '<tr><td colspan="5">none</td></tr>'), '</tbody></table><p>immiiq''s own tables stand here only if one of them is not captured, or its row security is not forced.</p>');
    SELECT string_agg('<bdi>' || immiiq.html(c.oid::regclass::text) || '</bdi>', ', ' ORDER BY c.oid::regclass::text) INTO part
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'm') AND NOT c.relispartition AND n.nspname <> ALL ('{pg_catalog,information_schema,immiiq}') AND n.nspname !~ '^pg_(toast|temp)'
        AND NOT EXISTS (SELECT FROM immiiq.protected_table AS p WHERE p.relation = c.oid)
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');
    page := concat(page, '<p>Tables without protection, of which the log says nothing: ', coalesce(part, 'none'), '.</p></section>');

    -- Checkpoints.
    SELECT format('<p>The newest signed head covers %s batches of entries, signed %s%s.</p><pre>%s</pre><p>Key that verifies it:</p><pre>%s</pre>', h.size, immiiq.html_time(h.signed_at),
            coalesce((SELECT ', cosigned by ' || string_agg('<bdi>' || immiiq.html(c.name) || '</bdi>', ', ' ORDER BY c.name) FROM immiiq.cosignature AS c WHERE c.size = h.size), ', without a witness'),
            immiiq.html(immiiq.checkpoint_of(h.size)), immiiq.html(immiiq.log_verifier()))
        || format('<p>%s heads were signed in this period.</p>', (SELECT count(*) FROM immiiq.tree_head AS t WHERE t.signed_at >= since AND t.signed_at < until))
    INTO part FROM immiiq.tree_head AS h WHERE h.size = head;
    page := concat(page, '<section aria-labelledby="checkpoints"><h2 id="checkpoints">Checkpoints</h2>', coalesce(part, '<p>Nothing has been signed yet.</p>'),
        '<p class="small">This page proves nothing by itself. Hold the checkpoint against one that was kept elsewhere, and an export of this period against the key, with immiiq-verify.</p></section>');

    -- Findings.
    page := concat(page, '<section aria-labelledby="findings"><h2 id="findings">Findings</h2>', CASE WHEN findings IS NULL THEN '<p>None.</p>' ELSE
        concat('<table><caption>What verification found</caption><thead><tr><th scope="col">Severity</th><th scope="col" class="n">Position</th><th scope="col">Problem</th></tr></thead><tbody>', findings, '</tbody></table>') END, '</section>');

    -- Signatures of people.
    SELECT string_agg(format('<tr><td><bdi>%s</bdi> <code><bdi>%s</bdi></code></td><td class="n">%s</td><td><bdi>%s</bdi></td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>', immiiq.html(format('%I.%I', s.table_schema, s.table_name)), immiiq.html(s.row_id), s.step, immiiq.html(s.meaning),
            coalesce((SELECT '<bdi>' || immiiq.html(m.name) || '</bdi>' FROM immiiq.member AS m WHERE m.org_id = s.org_id AND m.member_id = s.member_id AND names), '<code>' || s.member_id || '</code>'),
            immiiq.html_time(s.signed_at), r.signature, r.present), '' ORDER BY s.signed_at)
    INTO part
    FROM immiiq.sign_off AS s CROSS JOIN LATERAL immiiq.report_sign_off(s, client) AS r
    WHERE s.org_id = org AND s.signed_at >= since AND s.signed_at < until AND (member IS NULL OR s.member_id = member) AND r.of_client;
    page := concat(page, '<section aria-labelledby="signatures"><h2 id="signatures">Signatures</h2>', CASE WHEN part IS NULL THEN '<p>Nothing was signed in this period.</p>' ELSE
        concat('<table><caption>Rows that members signed</caption><thead><tr><th scope="col">Row</th><th scope="col" class="n">Step</th><th scope="col">Meaning</th><th scope="col">Who</th><th scope="col">When</th>',
            '<th scope="col">Signature</th><th scope="col">Row</th></tr></thead><tbody>', part, '</tbody></table>') END, '</section>');

    -- Entries.
    SELECT string_agg(format('<tr><td class="n">%s</td><td>%s<br>%s<br><span class="small">%s%s</span></td><td>%s <bdi>%s</bdi>%s%s<span class="small leaf">Batch %s, leaf <code>%s</code></span></td></tr>',
            e.position, immiiq.html_time(e.at),
            CASE WHEN e.member_id IS NULL THEN '<bdi>' || immiiq.html(coalesce(e.role_name, '')) || '</bdi>'
                ELSE coalesce((SELECT '<bdi>' || immiiq.html(m.name) || '</bdi>' FROM immiiq.member AS m WHERE m.org_id = org AND m.member_id = e.member_id AND names), '<code>' || e.member_id || '</code>') END,
            immiiq.html(coalesce(e.actor, '')), coalesce(', ' || immiiq.html(CASE WHEN NOT redact && '{origin,*}' THEN e.client_ip END), ''),
            immiiq.html(coalesce(e.operation, 'missing')), immiiq.html(CASE WHEN e.table_schema = 'immiiq' AND e.operation = 'event' THEN e.table_name ELSE concat_ws('.', e.table_schema, e.table_name) END),
            coalesce(' <code><bdi>' || immiiq.html(CASE WHEN redact && (ARRAY(SELECT jsonb_object_keys(e.key)) || '*'::text) THEN NULL
                ELSE (SELECT string_agg(concat(k.key, ' ', k.value), ', ' ORDER BY k.key) FROM jsonb_each_text(e.key) AS k) END) || '</bdi></code>', ''),
            coalesce(immiiq.html_changes(e.operation, e.old_row, e.new_row, redact, e.key), CASE WHEN e.key IS NULL THEN '<br><i>sealed</i><br>' END), b.batch_no, encode(e.hash, 'hex')), '' ORDER BY e.position)
    INTO part
    FROM (SELECT a.*, l.hash FROM immiiq.audit_log AS a JOIN immiiq.leaf AS l ON l.org_id = a.org_id AND l.position = a.position
        WHERE a.org_id = org AND l.org_id = org AND a.at >= since AND a.at < until AND (client IS NULL OR a.client_id = client) AND (member IS NULL OR a.member_id = member)
        ORDER BY a.position LIMIT most) AS e
    CROSS JOIN LATERAL (SELECT x.batch_no FROM immiiq.batch AS x WHERE x.org_id = org AND x.last >= e.position ORDER BY x.last LIMIT 1) AS b;
    page := concat(page, '<section aria-labelledby="entries"><h2 id="entries">Entries</h2>', CASE WHEN part IS NULL THEN '<p>None.</p>' ELSE
        concat(CASE WHEN shown < total THEN format('<p class="bad">Of %s entries the first %s are here. The rest needs a later beginning, or an export.</p>', total, shown) END,
            '<table><caption>Changes and events, in the order of the log</caption><colgroup><col class="n"><col class="who"><col></colgroup><thead><tr><th scope="col" class="n">Position</th><th scope="col">When and who</th><th scope="col">What</th></tr></thead><tbody>',
            part, '</tbody></table>') END,
        '<p class="small">Proof of one entry: <code>SELECT immiiq.prove_entry(''', org, ''', </code>position<code>)</code>. The leaf is the SHA-256 hash of 00 and the entry''s bytes; the batch is its place in the signed tree.</p></section></main></body></html>');
    RETURN page;
END
$$;
COMMENT ON FUNCTION immiiq.audit_report(uuid, timestamptz, timestamptz, uuid, uuid, text[], int4) IS
    'an organisation''s log of a period as one HTML page to print: verification, coverage, checkpoint, signatures, entries of a client or member; redact: columns kept back, * for all; most: how many entries';
REVOKE ALL ON FUNCTION immiiq.audit_report(uuid, timestamptz, timestamptz, uuid, uuid, text[], int4) FROM PUBLIC;
INSERT INTO immiiq.privilege
SELECT role, 'EXECUTE', 'FUNCTION immiiq.audit_report(uuid, timestamptz, timestamptz, uuid, uuid, text[], int4)'
FROM unnest(ARRAY['application', 'auditor', 'operator']) AS role;

-- The history of one row. Who may read the log may read it.
CREATE FUNCTION immiiq.history_page(target regclass, id text, redact text[] DEFAULT '{}') RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    org constant uuid := immiiq.audit_org();
    id_name constant name := immiiq.id_column(target);
    versions bigint;
    rows text;
BEGIN
    IF org IS NULL THEN
        PERFORM immiiq.note_unreachable('history');
        RAISE EXCEPTION 'permission denied for the log of this organisation' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF target IS NULL OR id IS NULL OR redact IS NULL THEN
        RAISE EXCEPTION 'table, id and redact must be given' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT count(*), string_agg(format('<tr><th scope="row" class="n">%s</th><td>%s<br>%s<br><span class="small">%s%s</span></td><td>%s%s</td></tr>',
            v.number, immiiq.html_time(v.at),
            coalesce('<bdi>' || immiiq.html(m.name) || '</bdi>', '<code>' || v.member_id || '</code>', '<bdi>' || immiiq.html(v.role_name) || '</bdi>'),
            immiiq.html(coalesce(v.actor, '')), coalesce(', ' || immiiq.html(CASE WHEN NOT redact && '{origin,*}' THEN v.client_ip END), ''),
            CASE v.operation WHEN 'insert' THEN 'Created' WHEN 'update' THEN 'Changed' WHEN 'delete' THEN 'Deleted' ELSE immiiq.html(coalesce(v.operation, 'missing')) END,
            coalesce(immiiq.html_changes(v.operation, v.old_row, v.new_row, redact, v.key),
                CASE WHEN v.new_row IS NULL AND v.old_row IS NULL THEN ' <i>sealed: the client''s key is gone</i>' ELSE ' <i>nothing</i>' END)), '' ORDER BY v.number)
    INTO versions, rows
    FROM (SELECT l.*, row_number() OVER (ORDER BY l.at, l.position) AS number
        FROM immiiq.audit_log AS l JOIN pg_class AS c ON c.oid = target JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE l.org_id = org AND l.row_tag = immiiq.row_tag(target, jsonb_build_object(id_name, id))
            AND l.table_schema = n.nspname AND l.table_name = c.relname) AS v
    LEFT JOIN immiiq.member AS m ON m.org_id = org AND m.member_id = v.member_id;
    IF versions = 0 THEN
        PERFORM immiiq.note_unreachable('history');
    END IF;
    RETURN concat(immiiq.html_head(format('History of %s %s', target, CASE WHEN redact && ARRAY[id_name::text, '*'] THEN '' ELSE id END)),
        '<body><header><h1>History of a row</h1><p class="lead"><bdi>', immiiq.html(target::text), '</bdi> <code><bdi>',
        CASE WHEN redact && ARRAY[id_name::text, '*'] THEN '' ELSE immiiq.html(id) END, '</bdi></code></p></header><main>',
        '<section aria-labelledby="versions"><h2 id="versions">Versions</h2>',
        CASE WHEN versions = 0 THEN '<p>The log has none that you may read.</p>' ELSE
            concat('<table><caption>', versions, CASE WHEN versions = 1 THEN ' version' ELSE ' versions' END, ', the oldest first; of a change, each column that became another</caption><colgroup><col class="n"><col class="who"><col></colgroup>',
                '<thead><tr><th scope="col" class="n">Version</th><th scope="col">When and who</th><th scope="col">What</th></tr></thead><tbody>', rows, '</tbody></table>') END,
        '<p class="small">From the log of ', (SELECT '<bdi>' || immiiq.html(o.name) || '</bdi>' FROM immiiq.org AS o WHERE o.org_id = org), ', up to what is sealed, ', immiiq.html_time(clock_timestamp()),
        CASE WHEN redact <> '{}' THEN '; kept back: ' || immiiq.html(array_to_string(redact, ', ')) END, '. All times are UTC.</p></section></main></body></html>');
END
$$;
COMMENT ON FUNCTION immiiq.history_page(regclass, text, text[]) IS
    'the versions of a row as one HTML page: when, who, what became of which column; redact: columns kept back, * for all; for members with scope all and the module reports, and operators';
REVOKE ALL ON FUNCTION immiiq.history_page(regclass, text, text[]) FROM PUBLIC;
INSERT INTO immiiq.privilege VALUES
    ('application', 'EXECUTE', 'FUNCTION immiiq.history_page(regclass, text, text[])'),
    ('operator', 'EXECUTE', 'FUNCTION immiiq.history_page(regclass, text, text[])');
