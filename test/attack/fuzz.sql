-- call_everything(): every function of immiiq's that the application may call, with NULLs and with arguments made of foreign ids, names and
-- extremes. It says what comes back, results and errors, without the arguments that an echo repeats and without long random strings.

-- One digest of all that is beta's, whoever asks: of places and versions of rows. What the worker writes is left out.
CREATE FUNCTION beta_state() RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
    part text;
    said text := '';
BEGIN
    FOR name IN SELECT a.attrelid::regclass::text FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        WHERE a.attname = 'org_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND a.attrelid::regclass::text !~ '^immiiq\.(batch|entry|leaf|node|tree|audit_.*|journal|field_opened|sign_in_attempt)$' ORDER BY 1
    LOOP
        EXECUTE format('SELECT concat(count(*), sum(hashtextextended(t.ctid::text, t.xmin::text::bigint))) FROM %s AS t WHERE org_id = $1', name)
            INTO part USING 'be7a0000-0000-4000-8000-000000000000'::uuid;
        said := said || part || ' ';
    END LOOP;
    RETURN md5(said);
END $$;

-- How many rows this transaction has written, rolled back or not: where it has written none, nothing of beta's can be another.
CREATE FUNCTION rows_written() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    $$ SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables $$;

-- A literal of a type: NULL, a foreign id, a name of something, an extreme.
CREATE FUNCTION any_value(type oid, ids text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    element oid := (SELECT t.typelem FROM pg_type AS t WHERE t.oid = any_value.type AND t.typlen = -1);
    category text := (SELECT t.typcategory FROM pg_type AS t WHERE t.oid = any_value.type);
    name text := format_type(type, NULL);
    choice text[];
BEGIN
    IF name = 'internal' OR random() < 0.1 THEN RETURN 'NULL'; END IF;
    IF element <> 0 AND category = 'A' THEN
        RETURN CASE WHEN random() < 0.3 THEN format('%L::%s', '{}', name)
            ELSE format('ARRAY[%s, %s]::%s', any_value(element, ids), any_value(element, ids), name) END;
    END IF;
    choice := CASE
        WHEN name IN ('uuid', 'anyelement', 'anynonarray', '"any"') THEN ids
        WHEN name = 'regclass' THEN ARRAY['client', 'matter', 'event', 'profile', 'immiiq.member', 'immiiq.session', 'immiiq.wrapped_key', 'pg_authid', '0', '4294967295']
        WHEN name IN ('oid', 'regrole', 'regproc', 'regprocedure', 'regtype') THEN ARRAY['0', '10', '1259', '4294967295', 'client'::regclass::oid::text]
        WHEN name = 'boolean' THEN ARRAY['true', 'false']
        WHEN name IN ('smallint', 'integer', 'bigint', 'numeric', 'double precision') THEN ARRAY['0', '1', '2', '-1', '32767', '2147483647', '-2147483648', '9223372036854775807']
        WHEN name = 'bytea' THEN ARRAY['', '\x00', '\xffffffff', '\x' || repeat('5a', 32), '\x' || repeat('00', 5000)]
        WHEN category = 'D' THEN ARRAY['now', 'infinity', '-infinity', '4713-01-01 BC', '1999-12-31', '294276-01-01']
        WHEN category = 'T' THEN ARRAY['0', '1 day', '-1 second', '100000 years']
        WHEN category = 'I' THEN ARRAY['192.0.2.1', '::1', '0.0.0.0/0']
        WHEN name IN ('json', 'jsonb') THEN ARRAY['{}', '[]', 'null', '{"org_id": "be7a0000-0000-4000-8000-000000000000"}', '{"sub": "x", "exp": 1e400}', '[[[[1]]]]']
        ELSE ids || ARRAY['', 'x', 'client', 'immiiq.session', 'name', 'note', 'clients', 'select', 'team', 'all', 'member', 'json', 'csv', 'link', 'link:x', '{}', '%s%n', '../../x',
            '*', '1', 'owner@alpha.example', 'canary-1@beta.example', 'canary-1', 'https://example.com/cb', 'eyJhbGciOiJFZERTQSJ9.e30.AA', 'iq1:AAAA', repeat('x', 3000), E'\u00e9\u202e', E'a\nb']
    END;
    RETURN format('%L::%s', choice[1 + floor(random() * array_length(choice, 1))::int], CASE WHEN name LIKE '%any%' THEN 'uuid' ELSE name END);
END $$;

CREATE FUNCTION call_everything(calls int, ids text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before text := beta_state();
    f record;
    arguments text;
    said text;
    detail text;
    hint text;
    echo text;
    functions int := 0;
    written bigint;
    made int := 0;
    answered int := 0;
BEGIN
    PERFORM setseed(0.25);
    FOR f IN SELECT p.oid, p.prokind, format('%I.%I', n.nspname, p.proname) AS name, p.proargtypes::oid[] AS types
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
            JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
            JOIN pg_extension AS e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'immiiq'
        WHERE has_function_privilege('regress_immiiq_app', p.oid, 'EXECUTE')
        ORDER BY p.proname = 'act_as_assistant', p.oid::regprocedure::text    -- who narrows stays narrowed
    LOOP
        functions := functions + 1;
        written := rows_written();
        BEGIN
            FOR i IN 1 .. CASE WHEN cardinality(f.types) = 0 THEN 1 WHEN f.name LIKE 'immiiq.%' THEN calls ELSE calls / 3 END LOOP
                SELECT coalesce(string_agg(CASE WHEN i > 1 THEN any_value(t.type, ids) WHEN t.type = 'internal'::regtype THEN 'NULL'
                           ELSE 'NULL::' || format_type(t.type, NULL) END, ', ' ORDER BY t.n), '') INTO arguments
                FROM unnest(f.types) WITH ORDINALITY AS t (type, n);
                made := made + 1;
                BEGIN
                    IF f.prokind = 'p' THEN
                        EXECUTE format('CALL %s(%s)', f.name, arguments);
                        said := '';
                    ELSE
                        EXECUTE format('SELECT string_agg(y.x::text, '' '') FROM (SELECT %s(%s) AS x LIMIT 100) AS y', f.name, arguments) INTO said;
                    END IF;
                    answered := answered + 1;
                EXCEPTION WHEN OTHERS THEN
                    GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
                    said := concat_ws(' ', SQLSTATE, said, detail, hint);
                END;
                FOREACH echo IN ARRAY ids || ARRAY['canary-1@beta.example', 'canary-1'] LOOP
                    said := CASE WHEN arguments LIKE '%' || echo || '%' THEN replace(said, echo, '…') ELSE said END;
                END LOOP;
                IF said <> '' THEN
                    RAISE NOTICE '% %', f.name, left(regexp_replace(said, '[0-9A-Za-z+/_-]{37,}|[0-9a-f]{16,}', '…', 'g'), 5000);
                END IF;
            END LOOP;
            IF rows_written() <> written AND beta_state() <> before THEN RAISE NOTICE '% changed something of beta: CANARY', f.name; END IF;
            RAISE SQLSTATE 'UNDO1';
        EXCEPTION WHEN SQLSTATE 'UNDO1' THEN NULL;
        END;
    END LOOP;
    RETURN format('%s functions called, %s', functions, CASE WHEN answered > made / 10 THEN 'often answered' ELSE format('%s of %s answered', answered, made) END);
END $$;
