-- What a value costs on its way in and out: added to COPY and to a scan, beside loops in C that do nothing but the cryptography
-- on the same bytes, and beside pgcrypto; all in CPU time.
\! gcc -std=gnu11 -O2 -I../../src types_floor.c ../../src/crypto/crypto.c -lsodium -lcrypto -o types_floor.tmp
\set rows 'greatest(1000, 100000 * ':scale')::int'
CREATE EXTENSION pgcrypto;
CREATE TABLE sealed (org_id uuid DEFAULT immiiq.current_org(), v enc_text(1, equality));
CREATE TABLE plain AS SELECT :'org'::uuid AS org_id, 'passport ' || i AS v FROM generate_series(1, :rows) AS i;
CREATE TABLE copied_sealed (a enc_text(1, equality), b enc_text(2, equality), c enc_text(3, equality));
CREATE TABLE copied_plain (a text, b text, c text);
\getenv scratch SCRATCH
\set file :scratch '/bench_types.copy'
COPY (SELECT left(v || ' of the sea', 15), left(v || ' of the sea', 15), left(v || ' of the sea', 15) FROM plain) TO :'file';
GRANT SELECT, INSERT ON sealed, plain TO bench_app;
GRANT CREATE ON SCHEMA public TO bench_app;

SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
INSERT INTO sealed (v) SELECT v FROM plain;
\set floor_open_1 `./types_floor.tmp open 15 24`
SELECT * FROM bench_pair_cpu('SELECT count(v::enc_text(1, equality)) FROM plain',
                         'SELECT count((v || '''')::varchar(100)) FROM plain', 5) \gset seal_
SELECT * FROM bench_pair_cpu('SELECT sum(length(v::text)) FROM sealed',
                         'SELECT sum(length(v)) FROM plain', 9) \gset open_
\set floor_open_2 `./types_floor.tmp open 15 24`
COMMIT;
RESET SESSION AUTHORIZATION;
BEGIN;
SELECT FROM immiiq.operate(:'org', 'bench') \gset
\set floor_tagged_1 `./types_floor.tmp tagged 15 24`
SELECT * FROM bench_pair_cpu(format('TRUNCATE copied_sealed; COPY copied_sealed FROM %L', :'file'), format('TRUNCATE copied_plain; COPY copied_plain FROM %L', :'file'), 7) \gset copy_
SELECT * FROM bench_pair_cpu($$SELECT count(encrypt_iv(v::bytea, 'a key of 32 bytes for AES-256 ..', gen_random_bytes(16), 'aes-cbc')), count(hmac(v::bytea, 'a key of 32 bytes for AES-256 ..', 'sha256')) FROM plain$$,
                         'SELECT count(v::bytea), count(v::bytea) FROM plain', 5) \gset pgcrypto_
\set floor_tagged_2 `./types_floor.tmp tagged 15 24`
COMMIT;
\! rm -f types_floor.tmp "$SCRATCH/bench_types.copy"
SELECT * FROM bench_line('types', 'seal a text of 15 characters with a tag', (:seal_a_ms - :seal_b_ms) * 1000 / :rows, 2, ' us');
SELECT * FROM bench_line('types', 'open it', (:open_a_ms - :open_b_ms) * 1000 / :rows, 1, ' us');
SELECT * FROM bench_line('types', 'COPY, added for a value, times XAES and HMAC in a C loop (' || round((:floor_tagged_1 + :floor_tagged_2) / 2) || ' ns)',
    (:copy_a_ms - :copy_b_ms) * 1000000 / 3 / :rows / ((:floor_tagged_1 + :floor_tagged_2) / 2), 1.5, ' x');
SELECT * FROM bench_line('types', 'the same, times what pgcrypto''s encrypt_iv and hmac add',
    (:copy_a_ms - :copy_b_ms) / 3 / (:pgcrypto_a_ms - :pgcrypto_b_ms), 0.2, ' x');
SELECT * FROM bench_line('types', 'opening in a scan, added for a value, times XAES in a C loop (' || round((:floor_open_1 + :floor_open_2) / 2) || ' ns)',
    (:open_a_ms - :open_b_ms) * 1000000 / :rows / ((:floor_open_1 + :floor_open_2) / 2), 1.3, ' x');
