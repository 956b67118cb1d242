-- Signing in, each figure beside its floor. The floors commit as often as what they are compared with.
-- A million sessions; ten million with BENCH_SCALE=10.
\set sessions 'greatest(1000, 1000000 * ':scale')::int'
CREATE TABLE bench_time (what text, us float8);
GRANT INSERT ON bench_time TO bench_app;

-- Many sessions, of one member; audit and references apart, as nothing here is about them.
ALTER TABLE immiiq.session DISABLE TRIGGER ALL;
CREATE TABLE token_of AS SELECT i, immiiq.derive_token('s', int4send(i)) AS token FROM generate_series(1, :sessions) AS i;
-- In the order of both keys: ten million in random order would be a measurement of the disk.
INSERT INTO immiiq.session (session_id, org_id, member_id, token_hash, impersonated, expires_at)
SELECT lpad(to_hex(row_number() OVER (ORDER BY t.hash)), 32, '0')::uuid, :'org', :'member_id', t.hash, true, now() + interval '24 hours'
FROM (SELECT immiiq.token_digest('s', token) AS hash FROM token_of) AS t;
ALTER TABLE immiiq.session ENABLE TRIGGER ALL;
ALTER TABLE immiiq.session ENABLE ALWAYS TRIGGER "00_immiiq_capture";
CREATE TABLE plain_session AS SELECT i AS session_id, token, now() AS expires_at, :'org'::uuid AS org_id, NULL::timestamptz AS ended_at FROM token_of;
ALTER TABLE plain_session ADD PRIMARY KEY (token);
CREATE TABLE sample AS SELECT row_number() OVER () AS n, token FROM (SELECT token FROM token_of ORDER BY random() LIMIT 2000) AS s;
VACUUM ANALYZE immiiq.session;
VACUUM ANALYZE plain_session;
GRANT SELECT ON plain_session, sample TO bench_app;

-- Time of one statement a transaction, two in turn, blocks of a hundred.
CREATE PROCEDURE bench_sessions() LANGUAGE plpgsql AS $$
DECLARE
    tokens text[] := ARRAY(SELECT token FROM sample ORDER BY n);
    t timestamptz;
    found plain_session;
BEGIN
    FOR block IN 0..19 LOOP
        t := clock_timestamp();
        FOR i IN block * 100 + 1 .. block * 100 + 100 LOOP
            PERFORM set_config('immiiq.token', tokens[i], true);
            COMMIT;
        END LOOP;
        INSERT INTO bench_time VALUES ('check', extract(epoch FROM clock_timestamp() - t) * 10000);
        COMMIT;
        t := clock_timestamp();
        FOR i IN block * 100 + 1 .. block * 100 + 100 LOOP
            SELECT * INTO found FROM plain_session WHERE token = tokens[i];
            COMMIT;
        END LOOP;
        INSERT INTO bench_time VALUES ('lookup', extract(epoch FROM clock_timestamp() - t) * 10000);
        COMMIT;
    END LOOP;
END
$$;
SET SESSION AUTHORIZATION bench_app;
CALL bench_sessions();
CALL bench_sessions();
RESET SESSION AUTHORIZATION;
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'check') AS check_us,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'lookup') AS lookup_us FROM bench_time \gset
SELECT * FROM bench_line('identity', 'session check at ' || :sessions || ' sessions (' || round(:check_us::numeric, 1) || ' us) beside a lookup by key (' ||
                         round(:lookup_us::numeric, 1) || ' us)', :check_us / :lookup_us, 2, 'x');

-- Links and refresh tokens, beside one UPDATE … RETURNING by key in a table of as many rows as there are sessions. Both begin
-- after a checkpoint, when the first change of a page writes all of it.
INSERT INTO immiiq.member (org_id, email, name) SELECT :'org', 'm' || i || '@bench.example', 'M' FROM generate_series(1, 600) AS i;
INSERT INTO immiiq.password (org_id, member_id, hash) SELECT org_id, member_id, h FROM immiiq.member, immiiq.hash_password('right') AS h WHERE name = 'M';
SELECT immiiq.put_link('member', 'sign-in', immiiq.sign_in_identifier(email), org_id, member_id, NULL, NULL, NULL, interval '10 minutes') AS ignored
FROM immiiq.member WHERE name = 'M' \g /dev/null
CREATE TABLE bench_link AS SELECT row_number() OVER () AS n, token FROM immiiq.read_outbox();
CREATE PROCEDURE bench_links(first int) LANGUAGE plpgsql AS $$
DECLARE
    tokens text[] := ARRAY(SELECT token FROM bench_link ORDER BY n);
    plain text[] := ARRAY(SELECT token FROM sample ORDER BY n);
    t timestamptz;
    refresh text;
    x record;
BEGIN
    DELETE FROM bench_time;
    CHECKPOINT;
    FOR block IN first .. first + 9 LOOP
        t := clock_timestamp();
        FOR i IN block * 20 + 1 .. block * 20 + 20 LOOP
            SELECT * INTO x FROM immiiq.redeem_link(tokens[i]);
            COMMIT;
        END LOOP;
        INSERT INTO bench_time VALUES ('redeem', extract(epoch FROM clock_timestamp() - t) * 50000);
        refresh := x.refresh_token;
        t := clock_timestamp();
        FOR i IN block * 20 + 1 .. block * 20 + 20 LOOP
            SELECT r.refresh_token INTO refresh FROM immiiq.rotate_refresh(refresh) AS r;
            COMMIT;
        END LOOP;
        INSERT INTO bench_time VALUES ('rotate', extract(epoch FROM clock_timestamp() - t) * 50000);
        t := clock_timestamp();
        FOR i IN block * 20 + 1 .. block * 20 + 20 LOOP
            UPDATE plain_session SET ended_at = now() WHERE token = plain[i] AND ended_at IS NULL RETURNING * INTO STRICT x;
            COMMIT;
        END LOOP;
        INSERT INTO bench_time VALUES ('update', extract(epoch FROM clock_timestamp() - t) * 50000);
        COMMIT;
    END LOOP;
END
$$;
CALL bench_links(0);
CREATE VIEW bench_link_time AS
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'redeem') AS redeem_us,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'rotate') AS rotate_us,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'update') AS update_us FROM bench_time;
SELECT * FROM bench_link_time \gset
SELECT * FROM bench_line('identity', 'redeem_link (' || round(:redeem_us::numeric) || ' us) beside one UPDATE (' || round(:update_us::numeric) || ' us)', :redeem_us / :update_us, 3, 'x');
SELECT * FROM bench_line('identity', 'rotate_refresh (' || round(:rotate_us::numeric) || ' us) beside it', :rotate_us / :update_us, 3, 'x');

-- The same with commits that reach the disk, as a server in earnest has them: the scratch server's do not.
ALTER SYSTEM SET fsync = on;
SELECT pg_reload_conf() AS ignored \g /dev/null
\c
CALL bench_links(10);
ALTER SYSTEM RESET fsync;
SELECT pg_reload_conf() AS ignored \g /dev/null
SELECT * FROM bench_link_time \gset
SELECT * FROM bench_line('identity', 'redeem_link committed to disk (' || round(:redeem_us::numeric) || ' us) beside one UPDATE (' || round(:update_us::numeric) || ' us)', :redeem_us / :update_us, 3, 'x');
SELECT * FROM bench_line('identity', 'rotate_refresh committed to disk (' || round(:rotate_us::numeric) || ' us) beside it', :rotate_us / :update_us, 3, 'x');

-- Throttling: a reservation and its return, less what two calls of C functions cost.
SELECT * FROM bench_pair(
    $$DO 'BEGIN FOR i IN 1..50000 LOOP PERFORM immiiq.throttle_reserve(''{account}'', ARRAY[int4send(i)]); PERFORM immiiq.throttle_settle(false); END LOOP; END'$$,
    $$DO 'BEGIN FOR i IN 1..50000 LOOP PERFORM array_cat(''{}'', ARRAY[int4send(i)]); PERFORM int4send(i); END LOOP; END'$$, 5) \gset throttle_
SELECT * FROM bench_line('identity', 'throttle decision', (:throttle_a_ms - :throttle_b_ms) * 1000 / 50000, 2, ' us');

-- Passwords of members and of nobody, in both orders.
CREATE PROCEDURE bench_passwords(rounds int) LANGUAGE plpgsql AS $$
DECLARE
    t timestamptz;
    x record;
    mails text[] := ARRAY(SELECT email FROM immiiq.member WHERE name = 'M' ORDER BY email);
BEGIN
    DELETE FROM bench_time;
    FOR i IN 1 .. rounds LOOP
        FOR j IN 0..1 LOOP
            t := clock_timestamp();
            SELECT * INTO x FROM immiiq.sign_in_password(CASE WHEN (i + j) % 2 = 0 THEN mails[i] ELSE 'nobody' || i END, 'wrong');
            COMMIT;
            INSERT INTO bench_time VALUES (CASE WHEN (i + j) % 2 = 0 THEN 'known' ELSE 'unknown' END,
                                           extract(epoch FROM clock_timestamp() - t) * 1e6);
            COMMIT;
        END LOOP;
    END LOOP;
    -- Of an address of each kind, in both orders; half of the known ones have a former link.
    DELETE FROM immiiq.link;
    PERFORM immiiq.put_link('member', 'sign-in', immiiq.sign_in_identifier(email), org_id, member_id, NULL, NULL, NULL, interval '10 minutes')
    FROM immiiq.member WHERE name = 'M' AND member_id::text < '8';
    COMMIT;
    FOR i IN 1..200 LOOP
        FOR j IN 0..1 LOOP
            t := clock_timestamp();
            SELECT * INTO x FROM immiiq.issue_link(CASE WHEN (i + j) % 2 = 0 THEN mails[i] ELSE 'nobody' || i END);
            COMMIT;
            INSERT INTO bench_time VALUES (CASE WHEN (i + j) % 2 = 0 THEN 'link known' ELSE 'link unknown' END,
                                           extract(epoch FROM clock_timestamp() - t) * 1e6);
            COMMIT;
        END LOOP;
    END LOOP;
END
$$;
\setenv BENCH_DATABASE :DBNAME
\! ./identity_client.sh "$BENCH_DATABASE"
CALL bench_passwords(200);

-- How well one can tell from a time which of two it was: 0.5 is not at all, 1 always (the area under the ROC curve).
CREATE FUNCTION bench_told_apart(a text, b text) RETURNS float8 LANGUAGE sql AS $$
    SELECT greatest(v, 1 - v) FROM (
        SELECT avg(CASE WHEN x.us > y.us THEN 1 WHEN x.us = y.us THEN 0.5 ELSE 0 END)::float8 AS v
        FROM bench_time AS x, bench_time AS y WHERE x.what = a AND y.what = b) AS s
$$;
SELECT * FROM bench_line('identity', 'addresses told apart by the time of a wrong password', bench_told_apart('known', 'unknown'), 0.6, '');
UPDATE immiiq.password SET hash = '$2b$08$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW' WHERE member_id::text < '8';
CALL bench_passwords(400);
SELECT * FROM bench_line('identity', 'the same where half of the accounts have bcrypt', bench_told_apart('known', 'unknown'), 0.6, '');
SELECT * FROM bench_line('identity', 'addresses told apart by the time of issue_link, half of the known ones with a former link', bench_told_apart('link known', 'link unknown'), 0.6, '');

-- Throttling with every bucket in use (a million: goal.sh says so): what an attacker could do to find one given up.
SELECT current_setting('immiiq.throttle_buckets') AS buckets \gset
DO $$ BEGIN FOR i IN 1 .. 1500000 LOOP PERFORM immiiq.throttle_reserve('{account}', ARRAY[int4send(-i)]); PERFORM immiiq.throttle_settle(true); END LOOP; END $$;
SELECT * FROM bench_pair(
    $$DO 'BEGIN FOR i IN 1..50000 LOOP PERFORM immiiq.throttle_reserve(''{account}'', ARRAY[int4send(-i * 20)]); PERFORM immiiq.throttle_settle(false); END LOOP; END'$$,
    $$DO 'BEGIN FOR i IN 1..50000 LOOP PERFORM array_cat(''{}'', ARRAY[int4send(-i * 20)]); PERFORM int4send(i); END LOOP; END'$$, 5) \gset full_
SELECT * FROM bench_line('identity', 'throttle decision with ' || :buckets || ' buckets full', (:full_a_ms - :full_b_ms) * 1000 / 50000, 2, ' us');
