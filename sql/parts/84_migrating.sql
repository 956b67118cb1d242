-- From plain columns to sealed ones while the application works: what looks personal, what stands in the way, a plan, the conversion.

-- Tables of the application: not immiiq's, not the system's, not an extension's.
CREATE VIEW immiiq.advisor_table AS
SELECT c.oid, c.oid::pg_catalog.regclass AS relation, c.relnamespace::pg_catalog.regnamespace::text AS schema, c.relname, c.relkind, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relispartition, c.relacl,
       p.module, p.org, p.client, p.team, p.assignee, p.office, m.relid IS NOT NULL AS recorded,
       p.org IS NOT NULL AND NOT c.relispartition AS protected
FROM pg_catalog.pg_class AS c
    CROSS JOIN LATERAL immiiq.protected_columns(c.oid) AS p
    LEFT JOIN immiiq.protection AS m ON m.relid OPERATOR(pg_catalog.=) c.oid
WHERE c.relkind IN ('r', 'p') AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
    AND c.relnamespace OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema', 'immiiq']::pg_catalog.regnamespace[])
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
                        AND d.objid OPERATOR(pg_catalog.=) c.oid AND d.deptype OPERATOR(pg_catalog.=) 'e');
COMMENT ON VIEW immiiq.advisor_table IS 'tables of the application and how they are protected; used by immiiq.advise and immiiq.personal_columns';
REVOKE ALL ON immiiq.advisor_table FROM PUBLIC;

CREATE FUNCTION immiiq.sealed_type(plain regtype) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT CASE WHEN plain IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype) THEN 'enc_text'
                    WHEN plain = 'date'::regtype THEN 'enc_date'
                    WHEN plain IN ('int8'::regtype, 'int4'::regtype, 'int2'::regtype) THEN 'enc_int8'
                    WHEN plain = 'numeric'::regtype THEN 'enc_numeric'
                    WHEN plain = 'timestamptz'::regtype THEN 'enc_timestamptz'
                    WHEN plain = 'bytea'::regtype THEN 'enc_bytea'
                    WHEN plain IN ('jsonb'::regtype, 'json'::regtype) THEN 'enc_jsonb' END
    $$;
COMMENT ON FUNCTION immiiq.sealed_type(regtype) IS 'the sealed type that holds what a plain type holds; null where there is none';

CREATE FUNCTION immiiq.personal_columns() RETURNS TABLE (relation regclass, column_name name, type text, declaration text)
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT t.relation, a.attname, format_type(a.atttypid, a.atttypmod), s.name || CASE
                WHEN s.name IN ('enc_jsonb', 'enc_bytea') OR a.attname ~* '(medical|religion)' THEN '(sealed)'
                WHEN s.name IN ('enc_date', 'enc_timestamptz') THEN '(equality,range)'
                WHEN a.attname ~* '(name|address)' THEN '(fold)'
                ELSE '(equality)' END
        FROM immiiq.advisor_table AS t
            JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
            CROSS JOIN LATERAL immiiq.sealed_type(a.atttypid) AS s (name)
        WHERE NOT t.relispartition AND s.name IS NOT NULL
            AND a.attname ~* '(passport|birth|\mdob\M|(^|_)dob(_|$)|(^|_)(ssn|sin|nino|iban)(_|$)|national_id|identity_number|visa_number|uci_number|tax_(id|number|file)|social_(security|insurance)|medical|religion|bank_account|card_number|driver_?licen[cs]e|surname|(given|family|first|last|maiden)_?name)'
        ORDER BY t.relation::text, a.attnum
    $$;
COMMENT ON FUNCTION immiiq.personal_columns() IS 'columns whose names look personal and which are not sealed, and a declaration for each';
REVOKE ALL ON FUNCTION immiiq.personal_columns() FROM PUBLIC;

-- What a conversion calls the sealed column beside the plain one, and the trigger that keeps the two in step.
CREATE FUNCTION immiiq.sealing_name(column_name name) RETURNS name
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN pg_catalog.octet_length(column_name) OPERATOR(pg_catalog.<=) 56 THEN column_name OPERATOR(pg_catalog.||) '_sealed'
    ELSE 'sealed_' OPERATOR(pg_catalog.||) pg_catalog.md5(column_name) END::name;
COMMENT ON FUNCTION immiiq.sealing_name(name) IS 'name of the sealed column, or index, that is to take the place of a plain one';

CREATE FUNCTION immiiq.sealing_trigger(target regclass, column_name name) RETURNS pg_catalog.pg_trigger
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT t FROM pg_trigger AS t
        WHERE t.tgrelid = target AND t.tgname = 'zzz_immiiq_' || immiiq.sealing_name(column_name) AND NOT t.tgisinternal
    $$;
COMMENT ON FUNCTION immiiq.sealing_trigger(regclass, name) IS 'the trigger of a conversion that has begun; null when none has';

-- The indexes that go with a plain column, and what is made in their place.
CREATE FUNCTION immiiq.sealing_indexes(target regclass, column_name name)
    RETURNS TABLE (index regclass, constraint_name name, is_primary boolean, plain boolean, successor name, statement text)
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT i.indexrelid, k.conname, i.indisprimary,
            m.amname = 'btree' AND i.indexprs IS NULL AND i.indpred IS NULL AND i.indnatts = i.indnkeyatts AND NOT i.indisexclusion
                AND NOT coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AND 0 = ALL (i.indoption)
                AND NOT EXISTS (SELECT FROM unnest(i.indclass) AS o (oid) JOIN pg_opclass AS p ON p.oid = o.oid WHERE NOT p.opcdefault)
                AND (k.oid IS NULL OR (k.contype = 'u' AND NOT k.condeferrable)),
            immiiq.sealing_name(c.relname),
            format('CREATE %sINDEX CONCURRENTLY %I ON %s (%s);', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, immiiq.sealing_name(c.relname), target,
                (SELECT string_agg(quote_ident(CASE WHEN b.attnum = a.attnum THEN immiiq.sealing_name(b.attname) ELSE b.attname END), ', ' ORDER BY u.pos)
                 FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS u (num, pos) JOIN pg_attribute AS b ON b.attrelid = target AND b.attnum = u.num))
        FROM pg_attribute AS a
            JOIN pg_index AS i ON i.indrelid = a.attrelid
            JOIN pg_class AS c ON c.oid = i.indexrelid
            JOIN pg_am AS m ON m.oid = c.relam
            LEFT JOIN pg_constraint AS k ON k.conindid = i.indexrelid AND k.conrelid = target AND k.contype IN ('p', 'u', 'x')
        WHERE a.attrelid = target AND a.attname = sealing_indexes.column_name
            AND (a.attnum = ANY (i.indkey) OR EXISTS (
                SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = target AND d.refobjsubid = a.attnum))
        ORDER BY c.relname
    $$;
COMMENT ON FUNCTION immiiq.sealing_indexes(regclass, name) IS 'the indexes of a plain column and the statements that make their sealed successors';

CREATE FUNCTION immiiq.sealing_obstacle(target regclass, column_name name, declaration text) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    class pg_class;
    col pg_attribute;
    sealed text;
    found text;
BEGIN
    SELECT * INTO STRICT class FROM pg_class WHERE oid = target;
    SELECT * INTO col FROM pg_attribute AS a WHERE a.attrelid = target AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped;
    IF col.attnum IS NULL THEN
        RETURN format('%s has no column %I', target, column_name);
    ELSIF class.relkind <> 'r' OR class.relispartition THEN
        RETURN format('%s is no plain table: partitions are converted by hand', target);
    ELSIF (immiiq.protected_columns(target)).org IS NULL THEN
        RETURN format('%s is not protected: a value is sealed for the organisation of its row, so SELECT immiiq.protect(%L, …) first', target, target);
    END IF;
    sealed := immiiq.sealed_type(col.atttypid);
    IF sealed IS NULL THEN
        RETURN format('type %s has no sealed form', format_type(col.atttypid, col.atttypmod))
            || CASE WHEN col.atttypid = 'timestamp'::regtype THEN ': say of which time zone it is, ALTER COLUMN … TYPE timestamptz USING … AT TIME ZONE …' ELSE '' END;
    ELSIF declaration !~ ('^' || sealed || '\([a-z0-9_,= '']+\)$') THEN
        RETURN format('a column of type %s becomes %s(…)', format_type(col.atttypid, col.atttypmod), sealed);
    ELSIF col.attgenerated <> '' OR col.attidentity <> '' THEN
        RETURN 'the column is generated';
    END IF;
    SELECT string_agg(i.index::text, ', ') INTO found FROM immiiq.sealing_indexes(target, column_name) AS i WHERE i.is_primary;
    IF found IS NOT NULL THEN
        RETURN 'the column is part of the primary key';
    END IF;
    SELECT string_agg(i.index::text, ', ') INTO found FROM immiiq.sealing_indexes(target, column_name) AS i WHERE NOT i.plain;
    IF found IS NOT NULL THEN
        RETURN format('no sealed column can have indexes like %s (an expression, a condition, an order, INCLUDE, another method): drop them, look at docs/search.md for what serves instead', found);
    END IF;
    IF declaration !~ '(equality|fold)' THEN
        SELECT string_agg(i.index::text, ', ') INTO found FROM immiiq.sealing_indexes(target, column_name) AS i;
        IF found IS NOT NULL THEN
            RETURN format('%s need a declaration with equality: add it, or drop them', found);
        END IF;
    END IF;
    -- Whatever else hangs on the column: keys, checks, views, rules, policies, triggers, statistics, publications, generated columns.
    SELECT string_agg(DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), ', ') INTO found
    FROM pg_depend AS d
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = target AND d.refobjsubid = col.attnum
        AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid = d.objid AND c.relkind IN ('i', 't')))
        AND NOT (d.classid = 'pg_constraint'::regclass AND EXISTS (
            SELECT FROM pg_constraint AS k WHERE k.oid = d.objid AND (k.contype IN ('u', 'n') OR k.conname = 'zzz_immiiq_' || immiiq.sealing_name(column_name))))
        AND NOT (d.classid = 'pg_attrdef'::regclass AND EXISTS (SELECT FROM pg_attrdef AS f WHERE f.oid = d.objid AND f.adrelid = target AND f.adnum = col.attnum));
    IF found IS NOT NULL THEN
        RETURN format('%s would be lost: drop it, and make it anew for the sealed column', found);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION immiiq.sealing_obstacle(regclass, name, text) IS 'why a plain column cannot be converted to a declaration as things are; null when it can';

CREATE FUNCTION immiiq.sealing_plan(target regclass DEFAULT NULL) RETURNS SETOF text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    col record;
    obstacle text;
    successor record;
    fires text;
BEGIN
    FOR col IN SELECT * FROM immiiq.personal_columns() AS p WHERE target IS NULL OR p.relation = target LOOP
        RETURN NEXT format('-- %s.%I, %s', col.relation, col.column_name, col.type);
        obstacle := immiiq.sealing_obstacle(col.relation, col.column_name, col.declaration);
        IF obstacle IS NOT NULL THEN
            RETURN NEXT '-- not as it is: ' || obstacle;
            CONTINUE;
        END IF;
        SELECT string_agg(quote_ident(t.tgname), ', ') INTO fires FROM pg_trigger AS t
        WHERE t.tgrelid = col.relation AND NOT t.tgisinternal AND t.tgtype & 17 = 17 AND t.tgname NOT LIKE '%immiiq\_%' AND t.tgenabled <> 'D' AND t.tgattr = '';
        IF fires IS NOT NULL THEN
            RETURN NEXT format('-- each row is updated once: mind the triggers %s', fires);
        END IF;
        RETURN NEXT format('CALL immiiq.seal_column(%L, %L, %L);', col.relation, col.column_name, col.declaration);
        FOR successor IN SELECT * FROM immiiq.sealing_indexes(col.relation, col.column_name) LOOP
            RETURN NEXT successor.statement;
        END LOOP;
        IF col.declaration ~ '(range|prefix|match|contains)' THEN
            RETURN NEXT format('CREATE INDEX CONCURRENTLY ON %s USING gin (%I);', col.relation, immiiq.sealing_name(col.column_name));
        END IF;
        RETURN NEXT format('CALL immiiq.finish_sealing(%L, %L);', col.relation, col.column_name);
        RETURN NEXT format('VACUUM (FULL, ANALYZE) %s;  -- locks the table: until then its file holds the plaintext', col.relation);
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.sealing_plan(regclass) IS 'the SQL that seals the columns that look personal, to be read before it is run';

-- ACCESS EXCLUSIVE without a queue of waiting statements behind it: tries for a second, lets the others pass, tries again.
CREATE FUNCTION immiiq.lock_briefly(target regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '1s'
AS $$
BEGIN
    FOR attempt IN 1 .. 30 LOOP
        BEGIN
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', target);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(1);
        END;
    END LOOP;
    RAISE EXCEPTION 'could not lock % in thirty attempts', target USING ERRCODE = 'lock_not_available',
        HINT = 'A transaction holds it for long: see pg_stat_activity. Call again; what is done stays done.';
END
$$;
COMMENT ON FUNCTION immiiq.lock_briefly(regclass) IS 'locks a table for a moment''s change without holding up others; used by conversions';

CREATE FUNCTION immiiq.begin_sealing(target regclass, column_name name, declaration text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sealed constant name := immiiq.sealing_name(column_name);
    step constant name := 'zzz_immiiq_' || sealed;
    owner_schema text;
    short_name name;
    words text := declaration;
    obstacle text;
    value text;
BEGIN
    IF declaration IS NULL THEN
        SELECT p.declaration INTO words FROM immiiq.personal_columns() AS p WHERE p.relation = target AND p.column_name = begin_sealing.column_name;
        SELECT coalesce(words, immiiq.sealed_type(a.atttypid) || '(equality)') INTO words
        FROM pg_attribute AS a WHERE a.attrelid = target AND a.attname = column_name AND a.attnum > 0;
    END IF;
    obstacle := immiiq.sealing_obstacle(target, column_name, coalesce(words, ''));
    IF obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'cannot seal %.%', target, quote_ident(column_name) USING ERRCODE = 'feature_not_supported', DETAIL = obstacle || '.';
    END IF;
    IF (immiiq.sealing_trigger(target, column_name)).oid IS NOT NULL THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attname = sealed AND NOT attisdropped) THEN
        RAISE EXCEPTION '% has a column % already', target, quote_ident(sealed) USING ERRCODE = 'duplicate_column';
    END IF;
    IF words !~ '\([^a-z]*[0-9]|domain' THEN
        words := replace(words, '(', format('(%s,', immiiq.claim_domain(target, column_name)));
    END IF;
    SELECT relnamespace::regnamespace::text, relname INTO owner_schema, short_name FROM pg_class WHERE oid = target;
    SELECT format(CASE a.atttypid WHEN 'bpchar'::regtype THEN 'NEW.%I::text' WHEN 'json'::regtype THEN 'NEW.%I::jsonb' ELSE 'NEW.%I' END, column_name)
        INTO value FROM pg_attribute AS a WHERE a.attrelid = target AND a.attname = column_name;
    PERFORM immiiq.lock_briefly(target);
    EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', target, sealed, words);
    -- A writer who is active in the row's organisation seals; what anybody else writes is sealed by the next pass.
    EXECUTE format($function$
        CREATE FUNCTION %1$s.%2$I() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            IF TG_OP = 'UPDATE' AND NEW.%3$I::text IS NOT DISTINCT FROM OLD.%3$I::text AND OLD.%4$I IS NOT NULL THEN
                NEW.%4$I := OLD.%4$I;
            ELSIF NEW.%5$I = immiiq.current_org() THEN
                NEW.%4$I := %6$s;
            ELSE
                NEW.%4$I := NULL;
            END IF;
            RETURN NEW;
        END $body$ $function$, owner_schema, immiiq.made_name(short_name, sealed), column_name, sealed, (immiiq.protected_columns(target)).org, value);
    EXECUTE format('CREATE TRIGGER %I BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s.%I()', step, target, owner_schema,
        immiiq.made_name(short_name, sealed));
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', target, step);
END
$$;
COMMENT ON FUNCTION immiiq.begin_sealing(regclass, name, text) IS 'adds the sealed column and the trigger that keeps it in step; used by immiiq.seal_column';

-- Rows that are not locked by somebody else: the application never waits for more than a batch, and a batch for nobody.
CREATE FUNCTION immiiq.seal_rows(target regclass, column_name name, org uuid, rows tid[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sealed constant name := immiiq.sealing_name(column_name);
    free tid[];
    done bigint;
BEGIN
    PERFORM immiiq.operate(org, format('sealing of %s.%I', target, column_name));
    EXECUTE format('SELECT array_agg(ctid) FROM (SELECT ctid FROM %s WHERE ctid = ANY ($1) AND %I IS NULL AND %I IS NOT NULL FOR NO KEY UPDATE SKIP LOCKED) AS f',
        target, sealed, column_name) INTO free USING rows;
    EXECUTE format('UPDATE %1$s SET %2$I = %2$I WHERE ctid = ANY ($1)', target, column_name) USING free;
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN done;
END
$$;
COMMENT ON FUNCTION immiiq.seal_rows(regclass, name, uuid, tid[]) IS 'has the trigger seal a batch of one organisation''s rows; used by immiiq.seal_column';

CREATE PROCEDURE immiiq.seal_column(target regclass, column_name name, declaration text DEFAULT NULL, batch integer DEFAULT 5000)
    LANGUAGE plpgsql
AS $$
DECLARE
    part record;
    todo bigint;
    done bigint;
    idle integer := 0;
    said integer := 0;
BEGIN
    IF batch IS NULL OR batch OPERATOR(pg_catalog.<) 1 THEN
        RAISE EXCEPTION 'a batch has one row at least' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM immiiq.begin_sealing(target, column_name, declaration);
    COMMIT;
    LOOP
        done := 0;
        todo := 0;
        PERFORM immiiq.operate_all(pg_catalog.format('sealing of %s.%I', target, column_name));
        FOR part IN EXECUTE pg_catalog.format(
            'SELECT %1$I AS org, pg_catalog.array_agg(ctid) AS rows, pg_catalog.sum(pg_catalog.count(*)) OVER () AS total
             FROM (SELECT %1$I, ctid, (pg_catalog.row_number() OVER (PARTITION BY %1$I ORDER BY ctid) OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog./) $1 AS part
                   FROM %2$s WHERE %3$I IS NULL AND %4$I IS NOT NULL) AS s
             GROUP BY %1$I, part', (immiiq.protected_columns(target)).org, target, immiiq.sealing_name(column_name), column_name) USING batch
        LOOP
            COMMIT;
            todo := part.total;
            done := done OPERATOR(pg_catalog.+) immiiq.seal_rows(target, column_name, part.org, part.rows);
            COMMIT;
            IF done OPERATOR(pg_catalog.*) 20 OPERATOR(pg_catalog./) todo OPERATOR(pg_catalog.>) said THEN
                said := done OPERATOR(pg_catalog.*) 20 OPERATOR(pg_catalog./) todo;
                RAISE NOTICE '%.%: % of % rows', target, pg_catalog.quote_ident(column_name), done, todo;
            END IF;
        END LOOP;
        COMMIT;
        EXIT WHEN todo OPERATOR(pg_catalog.=) 0;
        -- Rows that stay are locked by somebody, or hidden.
        IF done OPERATOR(pg_catalog.>) 0 THEN
            idle := 0;
        ELSE
            idle := idle OPERATOR(pg_catalog.+) 1;
            PERFORM pg_catalog.pg_sleep(0.1);
        END IF;
        IF idle OPERATOR(pg_catalog.=) 100 THEN
            RAISE EXCEPTION '% rows of % could not be reached', todo, target USING ERRCODE = 'lock_not_available',
                HINT = 'Other transactions hold them, or a policy of yours hides them. Call again; what is done stays done.';
        END IF;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE immiiq.seal_column(regclass, name, text, integer) IS
    'adds a sealed column beside a plain one, keeps the two in step and fills it, a transaction a batch; called again, it goes on where it was stopped';

-- What the new column needs before it can take the plain one's place: every value, and a proof of it that takes no lock later.
CREATE FUNCTION immiiq.prove_sealing(target regclass, column_name name) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sealed constant name := immiiq.sealing_name(column_name);
    proof constant name := 'zzz_immiiq_' || sealed;
    missing bigint;
    successor record;
    obstacle text;
    not_null boolean;
BEGIN
    IF (immiiq.sealing_trigger(target, column_name)).oid IS NULL THEN
        RAISE EXCEPTION '%.% is not being sealed', target, quote_ident(column_name) USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'CALL immiiq.seal_column first.';
    END IF;
    -- What came to hang on the column in the meantime.
    SELECT immiiq.sealing_obstacle(target, column_name, regexp_replace(format_type(a.atttypid, a.atttypmod), '\s', '', 'g')), b.attnotnull
        INTO obstacle, not_null
    FROM pg_attribute AS a JOIN pg_attribute AS b ON b.attrelid = target AND b.attname = column_name
    WHERE a.attrelid = target AND a.attname = sealed;
    IF obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'cannot seal %.%', target, quote_ident(column_name) USING ERRCODE = 'feature_not_supported', DETAIL = obstacle || '.';
    END IF;
    FOR successor IN SELECT * FROM immiiq.sealing_indexes(target, column_name) LOOP
        IF NOT EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
                       WHERE i.indrelid = target AND c.relname = successor.successor AND i.indisvalid) THEN
            RAISE EXCEPTION 'index % has no sealed successor yet', successor.index USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = successor.statement;
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = target AND conname = proof) THEN
        RETURN;
    END IF;
    PERFORM immiiq.operate_all(format('sealing of %s.%I', target, column_name));
    EXECUTE format('SELECT count(*) FROM %s WHERE %I IS NULL AND %I IS NOT NULL', target, sealed, column_name) INTO missing;
    IF missing > 0 THEN
        RAISE EXCEPTION '% values of %.% are not sealed yet', missing, target, quote_ident(column_name)
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'CALL immiiq.seal_column again.';
    END IF;
    PERFORM immiiq.lock_briefly(target);
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (%I IS NOT NULL%s) NOT VALID', target, proof, sealed,
        CASE WHEN not_null THEN '' ELSE format(' OR %I IS NULL', column_name) END);
END
$$;
COMMENT ON FUNCTION immiiq.prove_sealing(regclass, name) IS 'checks that a conversion is complete and keeps it so; used by immiiq.finish_sealing';

CREATE FUNCTION immiiq.swap_sealed(target regclass, column_name name) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sealed constant name := immiiq.sealing_name(column_name);
    step constant name := 'zzz_immiiq_' || sealed;
    successors jsonb;
    successor record;
    privilege record;
    said text;
    was record;
BEGIN
    PERFORM immiiq.lock_briefly(target);
    SELECT a.attnotnull, a.attacl, pg_get_expr(f.adbin, f.adrelid) AS value, col_description(target, a.attnum) AS comment INTO was
    FROM pg_attribute AS a LEFT JOIN pg_attrdef AS f ON f.adrelid = target AND f.adnum = a.attnum
    WHERE a.attrelid = target AND a.attname = column_name;
    SELECT jsonb_agg(jsonb_build_object('index', c.relname, 'schema', c.relnamespace::regnamespace::text, 'constraint_name', i.constraint_name, 'successor', i.successor))
        INTO successors
    FROM immiiq.sealing_indexes(target, column_name) AS i JOIN pg_class AS c ON c.oid = i.index;
    IF was.attnotnull THEN
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', target, sealed);
    END IF;
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', target, step);
    said := ((immiiq.sealing_trigger(target, column_name)).tgfoid)::regprocedure::text;
    EXECUTE format('DROP TRIGGER %I ON %s', step, target);
    EXECUTE format('DROP FUNCTION %s', said);
    FOR privilege IN SELECT x.privilege_type, x.grantee, x.is_grantable FROM aclexplode(was.attacl) AS x LOOP
        EXECUTE format('GRANT %s (%I) ON %s TO %s%s', privilege.privilege_type, sealed, target,
            CASE privilege.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(privilege.grantee)) END,
            CASE WHEN privilege.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
    EXECUTE format('ALTER TABLE %s DROP COLUMN %I', target, column_name);
    EXECUTE format('ALTER TABLE %s RENAME COLUMN %I TO %I', target, sealed, column_name);
    IF was.value IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', target, column_name, was.value);
    END IF;
    IF was.comment IS NOT NULL THEN
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', target, column_name, was.comment);
    END IF;
    FOR successor IN SELECT * FROM jsonb_to_recordset(successors) AS s (index name, schema text, constraint_name name, successor name) LOOP
        IF successor.constraint_name IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I UNIQUE USING INDEX %I', target, successor.constraint_name, successor.successor);
        ELSE
            EXECUTE format('ALTER INDEX %s.%I RENAME TO %I', successor.schema, successor.successor, successor.index);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION immiiq.swap_sealed(regclass, name) IS 'puts the sealed column in the place of the plain one; used by immiiq.finish_sealing';

CREATE PROCEDURE immiiq.finish_sealing(target regclass, column_name name)
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM immiiq.prove_sealing(target, column_name);
    COMMIT;
    EXECUTE pg_catalog.format('ALTER TABLE %s VALIDATE CONSTRAINT %I', target,
        ('zzz_immiiq_' OPERATOR(pg_catalog.||) immiiq.sealing_name(column_name)));
    COMMIT;
    PERFORM immiiq.swap_sealed(target, column_name);
    COMMIT;
    RAISE NOTICE 'the file of % holds the plaintext until the table is rewritten, as do WAL and backups', target
        USING HINT = pg_catalog.format('VACUUM (FULL, ANALYZE) %s;', target);
END
$$;
COMMENT ON PROCEDURE immiiq.finish_sealing(regclass, name) IS 'puts the sealed column, its indexes and constraints in the place of the plain one, in a short lock; called again, it goes on where it was stopped';

CREATE FUNCTION immiiq.cancel_sealing(target regclass, column_name name) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    step pg_trigger := immiiq.sealing_trigger(target, column_name);
BEGIN
    IF step.oid IS NULL THEN
        RAISE EXCEPTION '%.% is not being sealed', target, quote_ident(column_name) USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM immiiq.lock_briefly(target);
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', target, step.tgname);
    EXECUTE format('DROP TRIGGER %I ON %s', step.tgname, target);
    EXECUTE format('DROP FUNCTION %s', step.tgfoid::regprocedure);
    EXECUTE format('ALTER TABLE %s DROP COLUMN %I', target, immiiq.sealing_name(column_name));
END
$$;
COMMENT ON FUNCTION immiiq.cancel_sealing(regclass, name) IS 'takes away what immiiq.seal_column added; the plain column was never changed';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['FUNCTION immiiq.sealed_type(regtype)', 'FUNCTION immiiq.personal_columns()', 'FUNCTION immiiq.sealing_name(name)',
        'FUNCTION immiiq.sealing_trigger(regclass, name)', 'FUNCTION immiiq.sealing_indexes(regclass, name)',
        'FUNCTION immiiq.sealing_obstacle(regclass, name, text)', 'FUNCTION immiiq.sealing_plan(regclass)', 'FUNCTION immiiq.lock_briefly(regclass)',
        'FUNCTION immiiq.begin_sealing(regclass, name, text)', 'FUNCTION immiiq.seal_rows(regclass, name, uuid, tid[])',
        'PROCEDURE immiiq.seal_column(regclass, name, text, integer)', 'FUNCTION immiiq.prove_sealing(regclass, name)',
        'FUNCTION immiiq.swap_sealed(regclass, name)', 'PROCEDURE immiiq.finish_sealing(regclass, name)', 'FUNCTION immiiq.cancel_sealing(regclass, name)']
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC', name);
        INSERT INTO immiiq.privilege VALUES ('owner', 'EXECUTE', name);
    END LOOP;
END
$$;
