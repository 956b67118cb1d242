-- Whatever an attack must not change, as one digest: beta's rows and members, sessions, roles, privileges, objects, stored settings.
SELECT md5(concat_ws('|',
    (SELECT md5(string_agg(c::text, ',' ORDER BY c.client_id)) FROM client AS c WHERE c.org_id = 'be7a0000-0000-4000-8000-000000000000'),
    (SELECT md5(string_agg(m::text, ',' ORDER BY m.id)) FROM matter AS m WHERE m.org_id = 'be7a0000-0000-4000-8000-000000000000'),
    (SELECT md5(string_agg(e::text, ',' ORDER BY e.id)) FROM event AS e WHERE e.org_id = 'be7a0000-0000-4000-8000-000000000000'),
    (SELECT md5(string_agg(m::text, ',' ORDER BY m.member_id)) FROM immiiq.member AS m),
    (SELECT md5(string_agg(s::text, ',' ORDER BY s.session_id)) FROM immiiq.session AS s),
    (SELECT md5(string_agg(o::text, ',' ORDER BY o.org_id)) FROM immiiq.org AS o),
    (SELECT count(*) FROM immiiq.journal WHERE kind IN ('operate', 'impersonate') AND login_name = 'regress_immiiq_app'),
    (SELECT string_agg(concat(r.rolname, r.rolsuper, r.rolbypassrls, r.rolpassword, r.rolvaliduntil), ',' ORDER BY r.oid) FROM pg_authid AS r WHERE r.rolname = 'regress_immiiq_app'),
    (SELECT string_agg(concat(m.roleid, m.member), ',' ORDER BY m.roleid, m.member) FROM pg_auth_members AS m JOIN pg_authid AS r ON r.oid = m.member OR r.oid = m.roleid WHERE r.rolname = 'regress_immiiq_app'),
    (SELECT md5(string_agg(concat(oid, relname, relacl::text, relowner, relrowsecurity, relforcerowsecurity, relnamespace), ',' ORDER BY oid)) FROM pg_class
        WHERE oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace),
    (SELECT md5(string_agg(concat(oid, proname, proacl::text, prosrc), ',' ORDER BY oid)) FROM pg_proc WHERE oid >= 16384),
    (SELECT md5(string_agg(concat(oid, polname, polqual::text), ',' ORDER BY oid)) FROM pg_policy),
    (SELECT md5(string_agg(concat(oid, tgname, tgenabled), ',' ORDER BY oid)) FROM pg_trigger),
    (SELECT count(*) FROM pg_largeobject_metadata),
    (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()),
    (SELECT string_agg(s::text, ',' ORDER BY s::text) FROM pg_db_role_setting AS s WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))
));
