-- Everything that belongs to extension immiiq, as lines of text without OIDs, in a fixed order (see catalog_diff.sh).
SET search_path = pg_catalog;
WITH RECURSIVE own AS (
    SELECT d.classid, d.objid FROM pg_depend AS d JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE e.extname = 'immiiq' AND d.deptype = 'e'
), whole AS (   -- with what goes when they go: indexes, constraints, triggers, defaults, members of operator families
    SELECT classid, objid FROM own
    UNION
    SELECT d.classid, d.objid FROM whole AS w JOIN pg_depend AS d ON d.refclassid = w.classid AND d.refobjid = w.objid
    WHERE d.deptype IN ('i', 'a', 'P', 'S') AND d.objid >= 16384
), relation AS (
    SELECT c.* FROM whole AS w JOIN pg_class AS c ON w.classid = 'pg_class'::regclass AND c.oid = w.objid
        -- those of pg_toast carry OIDs in their names, partitions of the log come with the months
        WHERE c.relnamespace <> 'pg_toast'::regnamespace AND c.relname !~ '^entry_\d'
), line AS (
    SELECT format('%s %s', i.type, i.identity) AS object, format('owner %s comment %s',
            CASE WHEN EXISTS (SELECT FROM pg_shdepend AS s WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.classid = w.classid AND s.objid = w.objid AND s.deptype = 'o') THEN 'other' ELSE 'bootstrap' END,
            coalesce(quote_literal(obj_description(w.objid, w.classid::regclass::name)), 'none')) AS says
    FROM own AS w CROSS JOIN pg_identify_object(w.classid, w.objid, 0) AS i WHERE i.identity !~ 'entry_\d'
    UNION ALL
    SELECT format('function %s', p.oid::regprocedure), CASE p.prokind WHEN 'a' THEN (SELECT to_jsonb(a) - 'aggfnoid' FROM pg_aggregate AS a WHERE a.aggfnoid = p.oid)::text ELSE pg_get_functiondef(p.oid) END
        || format(' acl %s', ARRAY(SELECT a::text FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) AS a ORDER BY 1))
    FROM own AS w JOIN pg_proc AS p ON w.classid = 'pg_proc'::regclass AND p.oid = w.objid
    UNION ALL
    SELECT format('relation %s', c.oid::regclass), format('kind %s am %s options %s security %s %s replica %s persistence %s acl %s', c.relkind,
        (SELECT m.amname FROM pg_am AS m WHERE m.oid = c.relam), c.reloptions, c.relrowsecurity, c.relforcerowsecurity, c.relreplident, c.relpersistence,
        ARRAY(SELECT a::text FROM unnest(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) AS a ORDER BY 1))
        || CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) WHEN 'i' THEN pg_get_indexdef(c.oid) ELSE coalesce(pg_get_partkeydef(c.oid), '') END
    FROM relation AS c
    UNION ALL
    SELECT format('column %s %s %s', c.oid::regclass, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname),
        format('%s %s %s%s default %s identity %s generated %s storage %s statistics %s acl %s comment %s', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
            (SELECT l.collname FROM pg_collation AS l WHERE l.oid = a.attcollation), ARRAY(SELECT o FROM unnest(a.attoptions) AS o WHERE o NOT LIKE 'pg\_attver=%'), pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attstorage,
            nullif(a.attstattarget, -1), a.attacl, quote_literal(col_description(c.oid, a.attnum)))
    FROM relation AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    UNION ALL
    SELECT format('constraint %s on %s', n.conname, nullif(n.conrelid, 0)::regclass), format('%s validated %s local %s', pg_get_constraintdef(n.oid), n.convalidated, n.conislocal)
    FROM pg_constraint AS n JOIN relation AS c ON c.oid = n.conrelid
    UNION ALL
    SELECT format('trigger %s on %s', t.tgname, c.oid::regclass), format('%s enabled %s', pg_get_triggerdef(t.oid), t.tgenabled)
    FROM pg_trigger AS t JOIN relation AS c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT format('policy %s on %s', l.polname, c.oid::regclass), format('%s %s %s using %s check %s', l.polcmd, l.polpermissive, l.polroles::regrole[], pg_get_expr(l.polqual, l.polrelid), pg_get_expr(l.polwithcheck, l.polrelid))
    FROM pg_policy AS l JOIN relation AS c ON c.oid = l.polrelid
    UNION ALL
    SELECT format('statistics %s', s.stxname), pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext AS s JOIN relation AS c ON c.oid = s.stxrelid
    UNION ALL
    SELECT format('sequence %s', s.seqrelid::regclass), (to_jsonb(s) - 'seqrelid' - 'seqtypid')::text FROM pg_sequence AS s JOIN relation AS c ON c.oid = s.seqrelid
    UNION ALL
    SELECT format('event trigger %s', v.evtname), format('%s %s %s %s', v.evtevent, v.evttags, v.evtfoid::regproc, v.evtenabled)
    FROM own AS w JOIN pg_event_trigger AS v ON w.classid = 'pg_event_trigger'::regclass AND v.oid = w.objid
    UNION ALL
    SELECT format('type %s', t.oid::regtype), format('%s %s %s %s %s %s %s %s %s %s %s %s', t.typlen, t.typbyval, t.typtype, t.typcategory, t.typispreferred, t.typdelim, t.typinput, t.typoutput, t.typreceive, t.typsend, t.typstorage, t.typmodin)
        || format(' %s %s %s %s acl %s', t.typmodout, t.typanalyze, t.typalign, t.typcollation, t.typacl)
    FROM own AS w JOIN pg_type AS t ON w.classid = 'pg_type'::regclass AND t.oid = w.objid
    UNION ALL
    SELECT format('cast %s as %s', s.castsource::regtype, s.casttarget::regtype), format('%s %s %s', nullif(s.castfunc, 0)::regprocedure, s.castcontext, s.castmethod)
    FROM own AS w JOIN pg_cast AS s ON w.classid = 'pg_cast'::regclass AND s.oid = w.objid
    UNION ALL
    SELECT format('operator %s', o.oid::regoperator), format('%s %s %s commutator %s negator %s merge %s hash %s', o.oprcode, o.oprrest, o.oprjoin, nullif(o.oprcom, 0)::regoperator, nullif(o.oprnegate, 0)::regoperator, o.oprcanmerge, o.oprcanhash)
    FROM own AS w JOIN pg_operator AS o ON w.classid = 'pg_operator'::regclass AND o.oid = w.objid
    UNION ALL
    SELECT format('operator class %s using %s', k.opcname, k.opcmethod), format('%s default %s key %s family %s', k.opcintype::regtype, k.opcdefault, nullif(k.opckeytype, 0)::regtype, f.opfname)
    FROM own AS w JOIN pg_opclass AS k ON w.classid = 'pg_opclass'::regclass AND k.oid = w.objid JOIN pg_opfamily AS f ON f.oid = k.opcfamily
    UNION ALL
    SELECT format('operator family %s', f.opfname), format('strategy %s %s %s', o.amopstrategy, o.amopopr::regoperator, o.amoppurpose)
    FROM own AS w JOIN pg_opfamily AS f ON w.classid = 'pg_opfamily'::regclass AND f.oid = w.objid JOIN pg_amop AS o ON o.amopfamily = f.oid
    UNION ALL
    SELECT format('operator family %s', f.opfname), format('function %s %s', o.amprocnum, o.amproc::regprocedure)
    FROM own AS w JOIN pg_opfamily AS f ON w.classid = 'pg_opfamily'::regclass AND f.oid = w.objid JOIN pg_amproc AS o ON o.amprocfamily = f.oid
    UNION ALL
    SELECT 'dependency', format('%s %s %s', i.identity, d.deptype, r.identity)
    FROM whole AS w JOIN pg_depend AS d ON d.classid = w.classid AND d.objid = w.objid
        CROSS JOIN pg_identify_object(d.classid, d.objid, d.objsubid) AS i CROSS JOIN pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) AS r
    WHERE concat(i.identity, r.identity) !~ '(entry_|pg_toast_|ConstraintTrigger_[ac]_)\d'
    UNION ALL
    SELECT 'initial privileges', format('%s %s', i.identity, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(p.initprivs) AS a))
    FROM own AS w JOIN pg_init_privs AS p ON p.classoid = w.classid AND p.objoid = w.objid CROSS JOIN pg_identify_object(p.classoid, p.objoid, p.objsubid) AS i
    WHERE i.identity !~ 'entry_\d'
    UNION ALL
    SELECT 'dumped', format('%s %s', c.oid::regclass, x.condition)
    FROM pg_extension AS e CROSS JOIN unnest(e.extconfig, e.extcondition) AS x (relation, condition) JOIN relation AS c ON c.oid = x.relation WHERE e.extname = 'immiiq'
    UNION ALL
    SELECT 'extension', format('%s relocatable %s schema %s', e.extversion, e.extrelocatable, e.extnamespace::regnamespace) FROM pg_extension AS e WHERE e.extname = 'immiiq'
    UNION ALL
    -- What the install script writes: all rows but those of a running installation.
    SELECT 'row', r.value FROM relation AS c CROSS JOIN LATERAL (
        SELECT unnest(xpath('/*/*', table_to_xml(c.oid, true, false, '')))::text AS value WHERE c.relname IN
            ('privilege', 'export_rule', 'erasure_rule', 'audit_rule', 'retention_rule', 'plan', 'installed_function')) AS r
    WHERE c.relkind = 'r'
)
SELECT object || ': ' || says FROM line ORDER BY (object || ': ' || says) COLLATE "C";
