-- verify_jwt with its session's row, beside libsodium's verification alone of a text as long: in turn, medians.
\! gcc -std=gnu11 -O2 jwt_verify.c -lsodium -o jwt_verify.tmp
CREATE TABLE bench_time (what text, us float8);
GRANT INSERT ON bench_time TO bench_app;
SELECT (immiiq.open_session(immiiq.begin_sign_in('link', NULL, NULL, NULL, NULL, NULL), :'org', :'member_id', NULL)).access_token AS jwt \gset
SELECT length(:'jwt') - 87 AS signed_len \gset
CREATE PROCEDURE bench_verify(token text) LANGUAGE plpgsql AS $$
DECLARE
    t constant timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1 .. 2000 LOOP
        PERFORM immiiq.verify_jwt(token, 'immiiq');
    END LOOP;
    INSERT INTO bench_time VALUES ('verify_jwt', extract(epoch FROM clock_timestamp() - t) * 500);
END
$$;
SET SESSION AUTHORIZATION bench_app;
\setenv SIGNED_LEN :signed_len
\set us `./jwt_verify.tmp $SIGNED_LEN`
INSERT INTO bench_time VALUES ('libsodium', :us);
CALL bench_verify(:'jwt');
\set us `./jwt_verify.tmp $SIGNED_LEN`
INSERT INTO bench_time VALUES ('libsodium', :us);
CALL bench_verify(:'jwt');
\set us `./jwt_verify.tmp $SIGNED_LEN`
INSERT INTO bench_time VALUES ('libsodium', :us);
CALL bench_verify(:'jwt');
\set us `./jwt_verify.tmp $SIGNED_LEN`
INSERT INTO bench_time VALUES ('libsodium', :us);
CALL bench_verify(:'jwt');
\set us `./jwt_verify.tmp $SIGNED_LEN`
INSERT INTO bench_time VALUES ('libsodium', :us);
CALL bench_verify(:'jwt');
\set us `./jwt_verify.tmp $SIGNED_LEN`
INSERT INTO bench_time VALUES ('libsodium', :us);
CALL bench_verify(:'jwt');
\set us `./jwt_verify.tmp $SIGNED_LEN`
INSERT INTO bench_time VALUES ('libsodium', :us);
CALL bench_verify(:'jwt');
RESET SESSION AUTHORIZATION;
\! rm -f jwt_verify.tmp
SELECT bench_line.* FROM (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'verify_jwt') AS ours,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE what = 'libsodium') AS floor
    FROM bench_time) AS t, bench_line('jwt', 'verify_jwt, beside libsodium''s verify in a C loop', ours / floor, 1.3, ' x');
