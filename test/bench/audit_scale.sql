-- The log when it is long: 500,000 entries, 50 million with BENCH_SCALE=100 (about 35 GB and an hour). Rows of four columns, written
-- by sessions of their own, 1,000 in a transaction; ten organisations, half of all entries in the first. How far it is goes to stderr.
\set organisations 10
\set batch 1000
SELECT 10 * ceil(50000 * :scale / :batch)::int AS transactions \gset
ALTER SYSTEM SET max_wal_size = '4GB';
ALTER SYSTEM SET checkpoint_timeout = '20min';
SELECT pg_reload_conf() \gset ignored_
SELECT format('CREATE ROLE bench_auditor LOGIN') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bench_auditor') \gexec
SELECT immiiq.grant_auditor('bench_auditor') \gset ignored_
CREATE TABLE ledger (org_id uuid, id int8, client_id uuid, note text, PRIMARY KEY (org_id, id));
SELECT immiiq.protect('ledger', 'clients', client => 'client_id') \gset ignored_
GRANT ALL ON ledger TO bench_app;

-- A session for every five transactions, of 200 members in each organisation.
CREATE TABLE token (n int PRIMARY KEY, org_no int, token text);
GRANT ALL ON token TO bench_operator, bench_app;
CREATE PROCEDURE make_sessions(organisations int, wanted int) LANGUAGE plpgsql AS $$
DECLARE
    org uuid;
    members uuid[];
BEGIN
    FOR o IN 0 .. organisations - 1 LOOP
        org := immiiq.create_org('Scale ' || o);
        COMMIT;
        PERFORM immiiq.operate(org, 'bench');
        INSERT INTO immiiq.member (org_id, email, name, scope, modules)
        SELECT org, 'm' || o || '.' || i || '@bench.example', 'Member', 'all', '{clients,reports}' FROM generate_series(1, 200) AS i;
        SELECT array_agg(m.member_id) INTO members FROM immiiq.member AS m WHERE m.org_id = org;
        INSERT INTO token SELECT s, o, immiiq.issue_session(members[1 + s / 2 % 200])
        FROM generate_series(0, wanted - 1) AS s WHERE CASE WHEN s % 2 = 0 THEN 0 ELSE 1 + s / 2 % (organisations - 1) END = o;
        COMMIT;
    END LOOP;
END
$$;
GRANT EXECUTE ON PROCEDURE make_sessions(int, int) TO bench_operator;
SET SESSION AUTHORIZATION bench_operator;
CALL make_sessions(:organisations, greatest(:transactions / 5, 2 * :organisations));
RESET SESSION AUTHORIZATION;
ANALYZE token;

-- One tenth: 1,000 clients of each organisation, 4,096 addresses. The sealer works beside it, and is waited for.
CREATE PROCEDURE fill(first int, last int, batch int) LANGUAGE plpgsql AS $$
DECLARE
    sessions int := (SELECT count(*) FROM token);
    one record;
BEGIN
    FOR t IN first .. last LOOP
        SELECT * INTO one FROM token WHERE n = t % sessions;
        PERFORM immiiq.authenticate(one.token, '10.0.0.0'::inet + one.n % 4096, 'bench');
        INSERT INTO ledger SELECT immiiq.current_org(), t::int8 * batch + i,
            ('c0000000-0000-4000-8000-' || lpad((one.org_no * 1000 + (t * 7 + i) % 1000)::text, 12, '0'))::uuid, 'note ' || i
        FROM generate_series(1, batch) AS i;
        COMMIT;
    END LOOP;
END
$$;
GRANT EXECUTE ON PROCEDURE fill(int, int, int) TO bench_app;
-- CPU time of the worker that seals, in milliseconds.
CREATE FUNCTION sealer_cpu() RETURNS float8 LANGUAGE sql AS $$
    SELECT sum(split_part(pg_read_file(format('/proc/%s/schedstat', pid)), ' ', 1)::float8 / 1e6)
    FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'immiiq sealer'
$$;
CREATE TABLE progress (tenth int, entries int8, at timestamptz, sealer_ms float8, bytes int8);
CREATE PROCEDURE note_progress(tenth int) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO progress SELECT tenth, (SELECT sum(size) FROM immiiq.tree WHERE org_id <> '00000000-0000-0000-0000-000000000000'), clock_timestamp(), sealer_cpu(),
        (SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c WHERE c.oid IN ('immiiq.leaf'::regclass, 'immiiq.node'::regclass, 'immiiq.batch'::regclass)
            OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'immiiq.entry'::regclass));
    RAISE WARNING '%', (SELECT format('%s entries, %s, %s s', p.entries, pg_size_pretty(p.bytes), extract(epoch FROM p.at - b.at)::int)
        FROM progress AS p, progress AS b WHERE p.tenth = note_progress.tenth AND b.tenth = 0);
END
$$;
CREATE PROCEDURE wait_sealed() LANGUAGE plpgsql AS $$
BEGIN
    WHILE EXISTS (SELECT FROM immiiq.waiting()) LOOP
        COMMIT;
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;
CREATE FUNCTION fill_steps(first int, last int, transactions int, batch int) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT step FROM generate_series(first, last) AS t, LATERAL (VALUES
        (1, 'SET SESSION AUTHORIZATION bench_app'),
        (2, format('CALL fill(%s, %s, %s)', (t - 1) * transactions / 10, t * transactions / 10 - 1, batch)),
        (3, 'RESET SESSION AUTHORIZATION'),
        (4, 'CALL wait_sealed()'),
        (5, format('CALL note_progress(%s)', t))) AS s (n, step)
    ORDER BY t, n
$$;
CREATE FUNCTION bench_at_least(figure text, measured float8, target float8, unit text)
RETURNS TABLE (a text, b text, c text, d text, e text) LANGUAGE sql AS $$
    SELECT 'audit', figure, round(measured::numeric, CASE WHEN target < 10 THEN 2 ELSE 0 END) || unit, 'at least ' || target || unit,
           CASE WHEN measured >= target THEN 'ok' ELSE 'short' END
$$;
-- CPU time of this backend, the median of three when it takes under a minute.
CREATE FUNCTION verify_ms() RETURNS float8 LANGUAGE plpgsql SET max_parallel_workers_per_gather = 0 AS $$
DECLARE
    t float8;
    all_ms float8[] := '{}';
    problems bigint;
BEGIN
    LOOP
        t := bench_cpu();
        SELECT count(*) INTO problems FROM immiiq.verify_audit(images => false, workers => 0);
        all_ms := all_ms || bench_cpu() - t;
        IF problems > 0 THEN
            RAISE '% problems', problems;
        END IF;
        EXIT WHEN cardinality(all_ms) = 3 OR all_ms[1] > 60000;
    END LOOP;
    RETURN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY v) FROM unnest(all_ms) AS v);
END
$$;

CALL wait_sealed();
CALL note_progress(0);
SELECT fill_steps(1, 1, :transactions, :batch) \gexec
SELECT entries AS few, verify_ms() AS few_ms FROM progress WHERE tenth = 1 \gset
SELECT * FROM bench_at_least(format('verified in a second on a core, %s entries', :few), :few / :few_ms * 1000, 700000, '');
SELECT fill_steps(2, 10, :transactions, :batch) \gexec
SELECT entries AS many, verify_ms() AS many_ms FROM progress WHERE tenth = 10 \gset
SELECT * FROM bench_at_least(format('verified in a second on a core, %s entries', :many), :many / :many_ms * 1000, 700000, '');
VACUUM ANALYZE immiiq.leaf, immiiq.entry, immiiq.subject_key;

SELECT b.* FROM (SELECT entries, bytes, entries - lag(entries) OVER w AS more, sealer_ms - lag(sealer_ms) OVER w AS ms, tenth FROM progress WINDOW w AS (ORDER BY tenth)) AS p
JOIN (SELECT (entries - lag(entries) OVER w) / (sealer_ms - lag(sealer_ms) OVER w) AS rate, tenth FROM progress WINDOW w AS (ORDER BY tenth)) AS first ON first.tenth = 1
CROSS JOIN LATERAL (
    SELECT 1 AS n, x.* FROM bench_at_least(format('sealed in a second of the sealer''s CPU, the last tenth of %s entries', p.entries), p.more / p.ms * 1000, 150000, '') AS x
    UNION ALL SELECT 2, x.* FROM bench_at_least('of what it was in the first tenth', p.more / p.ms / first.rate, 0.8, '') AS x
    UNION ALL SELECT 3, x.* FROM bench_line('audit', 'bytes of an entry of four columns, all in all, among them', p.bytes::float8 / p.entries, 650, '') AS x) AS l (n, a, b, c, d, e)
CROSS JOIN LATERAL (SELECT l.a, l.b, l.c, l.d, l.e) AS b
WHERE p.tenth = 10 ORDER BY l.n;
SELECT * FROM bench_line('audit', format('CPU time for an entry, times the same among %s', :few), (:many_ms / :many) / (:few_ms / :few), 1.2, ' x');

-- Proofs, of entries all over the largest tree.
SELECT org_id AS largest, size AS last FROM immiiq.tree WHERE org_id <> '00000000-0000-0000-0000-000000000000' ORDER BY size DESC LIMIT 1 \gset
SELECT * FROM bench_pair_cpu(format('SELECT max(length(immiiq.prove_entry(%L, 1 + (i * 7919::int8 * 7919) %% %s))) FROM generate_series(1, 200) AS i', :'largest', :last), 'SELECT 1', 3) \gset proof_
SELECT max(length(immiiq.prove_entry(:'largest', 1 + (i * 7919::int8 * 7919) % :last))) AS proof FROM generate_series(1, 200) AS i \gset
SELECT * FROM bench_line('audit', format('a proof among %s entries', :many), :proof_a_ms / 200, 1, ' ms');
SELECT * FROM bench_line('audit', 'its bytes', :proof, 3072, '');

-- What auditors and members look for, each the newest fifty: milliseconds until they are there, the median of nine different ones.
-- It is short above a second, too, and where the plan reads a table of the log of over 1,000 pages whole.
CREATE FUNCTION bench_filter(figure text, queries text[]) RETURNS TABLE (a text, b text, c text, d text, e text) LANGUAGE plpgsql AS $$
DECLARE
    query text;
    t timestamptz;
    plan json;
    all_ms float8[] := '{}';
    whole boolean := false;
    ms float8;
    n bigint;
BEGIN
    FOREACH query IN ARRAY queries LOOP
        EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
        whole := whole OR EXISTS (SELECT FROM regexp_matches(plan::text, '"Node Type": "Seq Scan",[^}]*"Relation Name": "([^"]+)"', 'g') AS m
            WHERE m[1] IN (SELECT name FROM large));
        t := clock_timestamp();
        EXECUTE format('SELECT count(new_row) FROM (%s) AS q', query) INTO n;
        all_ms := all_ms || extract(epoch FROM clock_timestamp() - t)::float8 * 1000;
        IF n = 0 AND current_user <> 'bench_auditor' THEN
            RAISE '% finds nothing', figure;
        END IF;
    END LOOP;
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY v) INTO ms FROM unnest(all_ms) AS v;
    RETURN QUERY SELECT 'audit', figure, round(ms::numeric, 2) || ' ms', 'by index, at most 1000 ms', CASE WHEN whole OR ms > 1000 THEN 'short' ELSE 'ok' END;
END
$$;
CREATE TABLE large AS SELECT relname AS name FROM pg_class WHERE relnamespace = 'immiiq'::regnamespace AND relpages > 1000;
-- Nine entries all over the largest organisation say what is looked for.
CREATE TABLE wanted AS
SELECT i, l.at, l.member_id, l.session_id, k.client_id, l.row_tag, l.address_tag
FROM generate_series(1, 9) AS i
JOIN immiiq.leaf AS l ON l.org_id = :'largest' AND l.position = i * (:last / 10) LEFT JOIN immiiq.subject_key AS k ON k.key_id = l.key_id AND k.org_id = l.org_id;
CREATE FUNCTION bench_filters(reader text) RETURNS TABLE (a text, b text, c text, d text, e text) LANGUAGE sql AS $$
    SELECT f.* FROM (VALUES
        (1, 'the newest', '(SELECT true)'),
        (2, 'of a member', 'member_id = $member_id$'), (3, 'of a session', 'session_id = $session_id$'),
        (4, 'of a client', 'client_id = $client_id$'), (5, 'from an address', 'address_tag = $address_tag$'),
        (6, 'of a row', 'row_tag = $row_tag$'),
        (7, 'of a second, by time', $q$at >= $at$ AND at < $at$::timestamptz + interval '1 second'$q$),
        (8, 'of a second, by position', $q$at >= $at$ AND at < $at$::timestamptz + interval '1 second'$q$)) AS q (n, name, condition)
    CROSS JOIN LATERAL (SELECT array_agg('SELECT * FROM immiiq.audit_log WHERE ' || replace(replace(replace(replace(replace(replace(q.condition, '$member_id$', quote_literal(w.member_id)),
        '$session_id$', quote_literal(w.session_id)), '$client_id$', quote_literal(w.client_id)), '$address_tag$', quote_literal(w.address_tag)),
        '$row_tag$', quote_literal(w.row_tag)), '$at$', quote_literal(w.at)) || ' ORDER BY ' || CASE WHEN q.n = 7 THEN 'at DESC, ' ELSE '' END || CASE WHEN reader = 'an auditor' THEN 'org_id DESC, ' ELSE '' END || 'position DESC LIMIT 50') AS queries
        FROM wanted AS w) AS w
    CROSS JOIN LATERAL bench_filter(format('audit_log for %s: entries %s', reader, q.name), w.queries) AS f
    ORDER BY q.n
$$;
GRANT SELECT ON wanted, large TO bench_app, bench_auditor;
SELECT token AS reader FROM token WHERE org_no = 0 ORDER BY n LIMIT 1 \gset
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'reader') \gset
SELECT * FROM bench_filters('a member');
COMMIT;
SET SESSION AUTHORIZATION bench_auditor;
SELECT * FROM bench_filters('an auditor');
RESET SESSION AUTHORIZATION;
ALTER SYSTEM RESET max_wal_size;
ALTER SYSTEM RESET checkpoint_timeout;
SELECT pg_reload_conf() \gset ignored_
