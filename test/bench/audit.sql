-- What the audit adds to bulk writes of rows of 12 columns, beside the PL/pgSQL trigger that people write by hand.
\set rows 'greatest(1000, 20000 * ':scale')::int'
CREATE TABLE bare (org_id uuid, id int GENERATED ALWAYS AS IDENTITY, client_id uuid, name text, email text, phone text, note text, amount numeric,
    opened date, updated timestamptz DEFAULT now(), active boolean, status text, PRIMARY KEY (org_id, id));
CREATE TABLE byhand (LIKE bare INCLUDING ALL);
CREATE TABLE captured (LIKE bare INCLUDING ALL);
CREATE TABLE byhand_log (id bigserial PRIMARY KEY, tab text, op text, actor text, at timestamptz DEFAULT clock_timestamp(), old jsonb, new jsonb);
CREATE FUNCTION log_by_hand() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO byhand_log (tab, op, actor, old, new) VALUES (TG_TABLE_NAME, TG_OP, session_user, to_jsonb(OLD), to_jsonb(NEW));
    RETURN NEW;
END $$;
CREATE TRIGGER log_by_hand AFTER INSERT OR UPDATE ON byhand FOR EACH ROW EXECUTE FUNCTION log_by_hand();
-- All three are protected, so that foreign keys and policies cost each the same; one of them is captured.
SELECT immiiq.protect('captured', 'clients'), immiiq.protect('bare', 'clients'), immiiq.protect('byhand', 'clients') \gset ignored_
DROP TRIGGER "00_immiiq_capture" ON bare;
DROP TRIGGER "00_immiiq_capture" ON byhand;
GRANT ALL ON bare, byhand, captured TO bench_app;

SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
SELECT format($$INSERT INTO %%s (org_id, name, email, phone, note, amount, opened, active, status) SELECT %L, 'Jane Q. Client ' || i, 'jane' || i || '@example.com',
              '+1 202 555 0' || i %%%% 1000, repeat('note ', 10), i * 1.25, date '2020-01-01' + i %%%% 1000, i %%%% 2 = 0, 'open' FROM generate_series(1, %s) AS i$$,
              :'org', :rows) AS insert,
    format('UPDATE %%s SET status = $$closed $$ || id, amount = amount + 1 WHERE id <= %s', :rows) AS update \gset
-- Interleaved, in CPU time: bare and by hand, bare and captured.
SELECT * FROM bench_pair_cpu(format(:'insert', 'byhand'), format(:'insert', 'bare'), 5) \gset byhand_
SELECT * FROM bench_pair_cpu(format(:'insert', 'captured'), format(:'insert', 'bare'), 5) \gset captured_
RESET SESSION AUTHORIZATION;
SELECT pg_total_relation_size('byhand_log')::float8 / count(*) AS byhand_bytes, pg_total_relation_size('byhand_log') AS byhand_size, count(*) AS byhand_rows FROM byhand_log \gset
SELECT sum(pg_total_relation_size(inhrelid)) AS entry_size, sum(pg_total_relation_size(inhrelid))::float8 / (SELECT count(*) FROM immiiq.entry) AS entry_bytes,
    (SELECT count(*) FROM immiiq.entry) AS entry_rows
FROM pg_inherits WHERE inhparent = 'immiiq.entry'::regclass \gset
SET SESSION AUTHORIZATION bench_app;
SELECT * FROM bench_pair_cpu(format(:'update', 'byhand'), format(:'update', 'bare'), 5) \gset ubyhand_
SELECT * FROM bench_pair_cpu(format(:'update', 'captured'), format(:'update', 'bare'), 5) \gset ucaptured_
SELECT clock_timestamp() AS began \gset
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal(); -- waits for the worker, if it is at it already
SELECT clock_timestamp() AS sealed \gset
SELECT * FROM bench_line('audit', 'added to an inserted row, times a PL/pgSQL trigger',
                         (:captured_a_ms - :captured_b_ms) / (:byhand_a_ms - :byhand_b_ms), 0.5, ' x');
SELECT * FROM bench_line('audit', 'added to an updated row, times the trigger',
                         (:ucaptured_a_ms - :ucaptured_b_ms) / (:ubyhand_a_ms - :ubyhand_b_ms), 0.4, ' x');
SELECT * FROM bench_line('audit', 'added to an inserted row', (:captured_a_ms - :captured_b_ms) * 1000 / :rows, 20, ' us');
RESET SESSION AUTHORIZATION;
CREATE FUNCTION bench_at_least(figure text, measured float8, target float8, unit text)
RETURNS TABLE (a text, b text, c text, d text, e text) LANGUAGE sql AS $$
    SELECT 'audit', figure, round(measured::numeric, CASE WHEN target < 10 THEN 2 ELSE 0 END) || unit, 'at least ' || target || unit,
           CASE WHEN measured >= target THEN 'ok' ELSE 'short' END
$$;

-- Bytes, at capture and with leaves and their indexes.
SELECT count(*) AS entries FROM immiiq.entry \gset
SELECT * FROM bench_line('audit', format('bytes of an inserted row''s entry at capture (%s), times the trigger''s (%s)', round(:entry_bytes::numeric), round(:byhand_bytes::numeric)),
                         :entry_bytes / :byhand_bytes, 0.8, ' x');
SELECT b.* FROM (SELECT ((SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'immiiq.entry'::regclass) - :entry_size)::float8 / (:entries - :entry_rows) AS ours,
    (SELECT (pg_total_relation_size('byhand_log') - :byhand_size)::float8 / (count(*) - :byhand_rows) FROM byhand_log) AS theirs) AS u
CROSS JOIN LATERAL bench_line('audit', format('of an updated row''s (%s), times the trigger''s (%s)', round(u.ours::numeric), round(u.theirs::numeric)), u.ours / u.theirs, 0.5, ' x') AS b;
SELECT b.* FROM (SELECT sum(pg_total_relation_size(c.oid))::float8 / :entries AS bytes FROM pg_class AS c
    WHERE c.oid IN ('immiiq.leaf'::regclass, 'immiiq.node'::regclass, 'immiiq.batch'::regclass) OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'immiiq.entry'::regclass)) AS t
CROSS JOIN LATERAL bench_line('audit', 'bytes of an entry, all in all', t.bytes, 650, '') AS b;

-- Sealing of what that transaction captured, verification on one core beside the hash of the same bytes, proofs.
SELECT * FROM bench_at_least('entries sealed in a second, in bulk', :entries / extract(epoch FROM :'sealed'::timestamptz - :'began'::timestamptz), 150000, '');
CREATE TEMP TABLE hashed AS SELECT immiiq.entry_bytes(e) AS bytes FROM immiiq.entry AS e;
SELECT * FROM bench_pair_cpu('SELECT count(*) FROM immiiq.verify_audit(images => false, workers => 0)', 'SELECT sum(get_byte(sha256(bytes), 0)) FROM hashed', 3) \gset verify_
SELECT * FROM bench_at_least('entries verified in a second on a core', :entries / :verify_a_ms * 1000, 700000, '');
SELECT * FROM bench_line('audit', 'verification, times the SHA-256 of the same bytes', :verify_a_ms / :verify_b_ms, 10, ' x');
SELECT * FROM bench_pair_cpu('SELECT count(*) FROM immiiq.verify_audit(images => true, workers => 0, rows => false)', 'SELECT 1', 1) \gset opened_
SELECT * FROM bench_at_least('the same with every image opened', :entries / :opened_a_ms * 1000, 100000, '');
SELECT max(position) AS last FROM immiiq.leaf WHERE org_id = :'org' \gset
SELECT * FROM bench_pair_cpu(format('SELECT max(length(immiiq.prove_entry(%L, 1 + (i * 7919) %% %s))) FROM generate_series(1, 200) AS i', :'org', :last), 'SELECT 1', 3) \gset proof_
SELECT max(length(immiiq.prove_entry(:'org', 1 + (i * 7919) % :last))) AS proof FROM generate_series(1, 200) AS i \gset
SELECT * FROM bench_line('audit', format('a proof among %s entries', :entries), :proof_a_ms / 200, 1, ' ms');
SELECT * FROM bench_line('audit', 'its bytes', :proof, 3072, '');

-- Organisations that write few rows now and then.
SELECT greatest(100, (10000 * :scale)::int) AS quiet \gset
CREATE TABLE quiet (org_id uuid, id int, note text, PRIMARY KEY (org_id, id));
SELECT immiiq.protect('quiet', 'clients') \gset ignored_
GRANT ALL ON quiet TO bench_operator;
SET SESSION AUTHORIZATION bench_operator;
CREATE TEMP TABLE orgs AS SELECT immiiq.create_org('Quiet ' || i) AS org_id FROM generate_series(1, :quiet) AS i;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
BEGIN;
INSERT INTO quiet SELECT o.org_id, i, 'a note' FROM orgs AS o, generate_series(1, 4) AS i;
SELECT clock_timestamp() AS began \gset
COMMIT;
CALL immiiq.seal();
SELECT * FROM bench_at_least(format('entries sealed in a second, over %s organisations', :quiet), 4 * :quiet / extract(epoch FROM clock_timestamp() - :'began'::timestamptz), 40000, '');

-- Many connections.
\o /dev/null
SELECT format('CREATE TABLE %s_%s (org_id uuid, id int GENERATED ALWAYS AS IDENTITY, balance int DEFAULT 0, filler text DEFAULT repeat(''x'', 60), note text, PRIMARY KEY (org_id, id))', name, kind),
    format('SELECT immiiq.protect(%L, ''clients'')', name || '_' || kind),
    CASE WHEN kind = 'plain' THEN format('DROP TRIGGER "00_immiiq_capture" ON %s_plain', name) ELSE 'SELECT' END,
    format('GRANT ALL ON %s_%s TO bench_app', name, kind)
FROM unnest(ARRAY['account', 'teller', 'branch', 'one']) AS name, unnest(ARRAY['plain', 'audited']) AS kind \gexec
CREATE TABLE journal_of_all (org_id uuid, tid int, bid int, aid int, delta int, at timestamptz DEFAULT now());
GRANT ALL ON journal_of_all TO bench_app;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
SELECT format('INSERT INTO %s_%s (org_id) SELECT %L FROM generate_series(1, %s)', name, kind, :'org', size)
FROM (VALUES ('account', 10000), ('teller', 1000), ('branch', 100)) AS t (name, size), unnest(ARRAY['plain', 'audited']) AS kind \gexec
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
\o
SELECT current_database() AS bench_database \gset
\setenv PGDATABASE :bench_database
\setenv BENCH_TOKEN :token
-- Here commits reach the disk, on both sides.
ALTER SYSTEM SET fsync = on;
SELECT pg_reload_conf() AS ignored \gset
\! ./audit_client.sh "$BENCH_TOKEN"

-- From commit to sealed, of each entry: what PostgreSQL noted as the times of the commits that made the entry and its leaf visible
-- (track_commit_timestamp). Eight organisations write 5,000 rows a second, five in a transaction.
CREATE TABLE paced (org_id uuid, id int GENERATED ALWAYS AS IDENTITY, note text, PRIMARY KEY (org_id, id));
SELECT immiiq.protect('paced', 'clients') \gset ignored_
GRANT ALL ON paced TO bench_app;
CREATE PROCEDURE make_tokens(n int, INOUT tokens text DEFAULT '') LANGUAGE plpgsql AS $$
DECLARE
    org uuid;
    member uuid;
BEGIN
    FOR i IN 1 .. n LOOP
        org := immiiq.create_org('Paced ' || i);
        COMMIT;
        PERFORM immiiq.operate(org, 'bench');
        INSERT INTO immiiq.member (org_id, email, name, scope, modules)
        VALUES (org, 'paced' || i || '@bench.example', 'Member', 'all', '{clients}') RETURNING member_id INTO member;
        tokens := concat_ws(' ', nullif(tokens, ''), immiiq.issue_session(member));
        COMMIT;
    END LOOP;
END
$$;
GRANT EXECUTE ON PROCEDURE make_tokens(int, text) TO bench_operator;
SET SESSION AUTHORIZATION bench_operator;
CALL make_tokens(8) \gset
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
SELECT max(batch_no) AS mark FROM immiiq.batch \gset
\setenv BENCH_TOKENS :tokens
\! ./audit_paced.sh $BENCH_TOKENS
SELECT pg_sleep(1) \gset ignored_
SELECT b.* FROM (SELECT count(*) AS entries, extract(epoch FROM max(committed) - min(committed)) AS seconds,
        percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM sealed - committed)) * 1000 AS ms
    FROM (SELECT pg_xact_commit_timestamp(e.xmin) AS committed, pg_xact_commit_timestamp(l.xmin) AS sealed
        FROM immiiq.batch AS b JOIN immiiq.leaf AS l ON l.org_id = b.org_id AND l.position BETWEEN b.first AND b.last
        JOIN immiiq.entry AS e ON e.month = l.month AND e.incarnation = l.incarnation AND e.txid = l.txid AND e.seq = l.seq
        WHERE b.batch_no > :mark) AS t) AS t
CROSS JOIN LATERAL bench_line('audit', format('from commit to sealed, 99 of 100 entries, at %s a second', round(t.entries / t.seconds)), t.ms, 1000, ' ms') AS b;
ALTER SYSTEM RESET fsync;
SELECT pg_reload_conf() AS ignored \gset
