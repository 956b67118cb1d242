-- pgbench's TPC-B-like transaction, prepared, with protection and a token in each, beside the same without: the same columns, keys and
-- foreign keys; commits reach the disk on both sides. Then each part of it alone. BENCH_SCALE=1: ten branches with 10,000 accounts each.
SELECT greatest(1000, 10000 * :scale)::int AS accounts \gset
CREATE PROCEDURE make_bank(name text, org uuid, accounts int) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE SCHEMA %1$I;
        CREATE TABLE %1$I.branch (org_id uuid NOT NULL REFERENCES immiiq.org, bid int, balance int DEFAULT 0, filler char(88), PRIMARY KEY (org_id, bid));
        CREATE TABLE %1$I.teller (org_id uuid NOT NULL REFERENCES immiiq.org, tid int, bid int, balance int DEFAULT 0, filler char(84), PRIMARY KEY (org_id, tid));
        CREATE TABLE %1$I.account (org_id uuid NOT NULL REFERENCES immiiq.org, aid int, bid int, balance int DEFAULT 0, filler char(84), PRIMARY KEY (org_id, aid));
        CREATE TABLE %1$I.history (org_id uuid NOT NULL REFERENCES immiiq.org, id uuid DEFAULT gen_random_uuid(), tid int, bid int, aid int, delta int, at timestamp, filler char(22), PRIMARY KEY (org_id, id));
        INSERT INTO %1$I.branch SELECT %2$L, i FROM generate_series(1, 10) AS i;
        INSERT INTO %1$I.teller SELECT %2$L, i, 1 + i %% 10 FROM generate_series(1, 100) AS i;
        INSERT INTO %1$I.account SELECT %2$L, i, 1 + i %% 10 FROM generate_series(1, %3$s) AS i', name, org, accounts * 10);
END $$;
CALL make_bank('plain', :'org', :accounts);
CALL make_bank('guarded', :'org', :accounts);
CALL make_bank('unaudited', :'org', :accounts);
SELECT immiiq.protect(s || '.' || t, 'clients') FROM unnest(ARRAY['guarded', 'unaudited']) AS s, unnest(ARRAY['branch', 'teller', 'account', 'history']) AS t \g /dev/null
SELECT format('DROP TRIGGER "00_immiiq_capture" ON unaudited.%I', t) FROM unnest(ARRAY['branch', 'teller', 'account', 'history']) AS t \gexec
GRANT USAGE ON SCHEMA plain, guarded, unaudited TO bench_app;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA plain, guarded, unaudited TO bench_app;
VACUUM ANALYZE;
ALTER SYSTEM SET fsync = on;
SELECT pg_reload_conf() AS ignored \g /dev/null
\setenv BENCH_DATABASE :DBNAME
\setenv BENCH_TOKEN :token
\setenv BENCH_ORG :org
\setenv BENCH_ACCOUNTS :accounts
\! ./tpcb_client.sh "$BENCH_DATABASE" "$BENCH_TOKEN" "$BENCH_ORG" "$BENCH_ACCOUNTS"
ALTER SYSTEM RESET fsync;
SELECT pg_reload_conf() AS ignored \g /dev/null
