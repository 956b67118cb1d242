Views of immiiq's own that read with their owner's rights: each must ask who is asking before anything else sees a row.

-- case view_protected_table (alpha_owner, says /^client$/, no control): reads the list of protected tables, which is the same for all
SELECT relation FROM immiiq.protected_table WHERE tell(relation::text);
-- case view_active_session (alpha_owner, hidden): reads immiiq.active_session, lets a condition tell of every row, and fails on one
SELECT x FROM immiiq.active_session AS x; SELECT count(*) FROM immiiq.active_session AS x WHERE tell(x::text); SELECT count(*) FROM immiiq.active_session AS x WHERE x::text::int = 0;
-- case view_denial (alpha_owner, hidden): the same with immiiq.denial, in which alpha's own entries name ids that earlier cases have typed
SELECT replace(x::text, :'canary', '') FROM immiiq.denial AS x WHERE x.org_id <> :'alpha'; SELECT count(*) FROM immiiq.denial AS x WHERE tell(replace(x::text, :'canary', ''));
SELECT count(*) FROM immiiq.denial AS x WHERE replace(x::text, :'canary', '')::int = 0;
-- case view_document_access (alpha_owner, hidden): reads immiiq.document_access, lets a condition tell of every row, and fails on one
SELECT x FROM immiiq.document_access AS x; SELECT count(*) FROM immiiq.document_access AS x WHERE tell(x::text); SELECT count(*) FROM immiiq.document_access AS x WHERE x::text::int = 0;
-- case view_export_log (alpha_owner, hidden): reads immiiq.export_log, lets a condition tell of every row, and fails on one
SELECT x FROM immiiq.export_log AS x; SELECT count(*) FROM immiiq.export_log AS x WHERE tell(x::text); SELECT count(*) FROM immiiq.export_log AS x WHERE x::text::int = 0;
-- case view_field_access (alpha_owner, hidden): reads immiiq.field_access, lets a condition tell of every row, and fails on one
SELECT x FROM immiiq.field_access AS x; SELECT count(*) FROM immiiq.field_access AS x WHERE tell(x::text); SELECT count(*) FROM immiiq.field_access AS x WHERE x::text::int = 0;
-- case view_operator_access (alpha_owner, hidden): reads immiiq.operator_access, lets a condition tell of every row, and fails on one
SELECT x FROM immiiq.operator_access AS x; SELECT count(*) FROM immiiq.operator_access AS x WHERE tell(x::text); SELECT count(*) FROM immiiq.operator_access AS x WHERE x::text::int = 0;
-- case view_secret_status (alpha_owner, hidden): reads immiiq.secret_status, lets a condition tell of every row, and fails on one
SELECT x FROM immiiq.secret_status AS x; SELECT count(*) FROM immiiq.secret_status AS x WHERE tell(x::text); SELECT count(*) FROM immiiq.secret_status AS x WHERE x::text::int = 0;
-- case view_session_anomaly (alpha_owner, hidden): reads immiiq.session_anomaly, lets a condition tell of every row, and fails on one
SELECT x FROM immiiq.session_anomaly AS x; SELECT count(*) FROM immiiq.session_anomaly AS x WHERE tell(x::text); SELECT count(*) FROM immiiq.session_anomaly AS x WHERE x::text::int = 0;
-- case view_sign_in_log (alpha_owner, hidden): reads immiiq.sign_in_log, lets a condition tell of every row, and fails on one
SELECT x FROM immiiq.sign_in_log AS x; SELECT count(*) FROM immiiq.sign_in_log AS x WHERE tell(x::text); SELECT count(*) FROM immiiq.sign_in_log AS x WHERE x::text::int = 0;
-- case view_shared_document (alpha_portal, says /mine.pdf/, no control): reads immiiq.shared_document in the portal
SELECT x FROM immiiq.shared_document AS x; SELECT count(*) FROM immiiq.shared_document AS x WHERE tell(x::text); SELECT count(*) FROM immiiq.shared_document AS x WHERE x::text::int = 0;
-- case view_every_one (none, says /^14 views$/, no control): reads every view without an identity
DO $$ DECLARE name text; n int := 0; said text; BEGIN
    FOR name IN SELECT c.oid::regclass FROM pg_class AS c WHERE c.relkind = 'v' AND c.relnamespace = 'immiiq'::regnamespace AND has_table_privilege(c.oid, 'SELECT') LOOP
        n := n + 1;
        EXECUTE format('SELECT count(*) FILTER (WHERE tell(x::text))::text FROM %s AS x', name) INTO said;
        IF said <> '0' AND name <> 'immiiq.protected_table' THEN RAISE NOTICE 'CANARY: % has % rows', name, said; END IF;
    END LOOP;
    PERFORM set_config('app.views', n || ' views', false); END $$;
SELECT current_setting('app.views');
