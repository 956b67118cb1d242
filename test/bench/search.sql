-- An equality search on a sealed column under row security, beside one on text under a policy written by hand.
\set rows 'greatest(3000, 30000 * ':scale')::int'
CREATE TABLE sealed (org_id uuid, id int, v enc_text(equality), PRIMARY KEY (org_id, id));
SELECT immiiq.protect('sealed', 'clients') \gset ignored_
CREATE INDEX ON sealed (org_id, v);
CREATE TABLE plain (org_id uuid, id int, v text, PRIMARY KEY (org_id, id));
CREATE INDEX ON plain (org_id, v);
ALTER TABLE plain ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON plain USING (org_id = current_setting('bench.org')::uuid);
GRANT SELECT, INSERT ON sealed, plain TO bench_app;

INSERT INTO plain SELECT CASE i % 3 WHEN 0 THEN :'org'::uuid ELSE gen_random_uuid() END, i, 'X' || i FROM generate_series(1, :rows) AS i;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true), set_config('bench.org', :'org', true) \gset ignored_
INSERT INTO sealed (id, v) SELECT i, 'X' || i FROM generate_series(1, :rows) AS i;
COMMIT;
RESET SESSION AUTHORIZATION;
VACUUM ANALYZE sealed, plain;

CREATE FUNCTION find_sealed() RETURNS void LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
    FOR i IN 1..2000 LOOP
        SELECT id INTO n FROM sealed WHERE v = 'X' || (i * 3);
        IF n IS DISTINCT FROM i * 3 THEN RAISE EXCEPTION 'found %, not %', n, i * 3; END IF;
    END LOOP;
END $$;
CREATE FUNCTION find_plain() RETURNS void LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
    FOR i IN 1..2000 LOOP
        SELECT id INTO n FROM plain WHERE v = 'X' || (i * 3);
        IF n IS DISTINCT FROM i * 3 THEN RAISE EXCEPTION 'found %, not %', n, i * 3; END IF;
    END LOOP;
END $$;
SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true), set_config('bench.org', :'org', true) \gset ignored_
SELECT * FROM bench_pair('SELECT find_sealed()', 'SELECT find_plain()', 5) \gset find_
COMMIT;
SELECT * FROM bench_line('search', 'find one of 30,000 by a sealed value, times the same on text', :find_a_ms / :find_b_ms, 1.5, ' x');
SELECT * FROM bench_line('search', 'find one of 30,000 by a sealed value', :find_a_ms / 2000, 0.1, ' ms');
RESET SESSION AUTHORIZATION;
