-- Erasing a client beside a plain DELETE of the same rows, and the destruction of a key beside the length of the log under it.
SELECT greatest(1000, 1000 * :scale)::int AS rows \gset
CREATE TABLE client (org_id uuid DEFAULT immiiq.current_org(), client_id uuid, PRIMARY KEY (org_id, client_id));
CREATE TABLE visit (org_id uuid DEFAULT immiiq.current_org(), visit_id int, client_id uuid, passport enc_text(sealed), note text, PRIMARY KEY (org_id, visit_id));
SELECT immiiq.protect('client', 'clients', client => 'client_id'), immiiq.protect('visit', 'clients', client => 'client_id') \gset ignored_
GRANT ALL ON client, visit TO bench_operator;
SELECT set_config('bench.org', :'org', false), set_config('bench.rows', :'rows', false) \gset ignored_

-- A client of :rows visits, each changed until the log has so many entries of it.
CREATE FUNCTION fill(client uuid, rows int, entries int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    start int := coalesce((SELECT max(visit_id) FROM visit), 0);
BEGIN
    INSERT INTO client (client_id) VALUES (client);
    INSERT INTO visit (visit_id, client_id, passport, note) SELECT start + i, client, 'passport ' || i, 'note' FROM generate_series(1, rows) AS i;
    FOR i IN 2..entries / rows LOOP
        UPDATE visit SET note = 'note ' || i WHERE client_id = client;
    END LOOP;
END
$$;
CREATE TABLE took (what text, ms float8);
CREATE FUNCTION note_time(what text, since timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO took VALUES (what, extract(epoch FROM clock_timestamp() - since) * 1000)
$$;

-- Both are captured. What comes after the key is gone waits for the worker to seal: statistics, dead keys and the certificate.
CREATE PROCEDURE rounds() LANGUAGE plpgsql AS $$
DECLARE
    org uuid := current_setting('bench.org');
    rows int := current_setting('bench.rows');
    clients uuid[];
    request uuid;
    said text;
    gone boolean;
    t timestamptz;
BEGIN
    FOR i IN 0..5 LOOP
        clients := ARRAY[gen_random_uuid(), gen_random_uuid()];
        PERFORM immiiq.operate(org, 'bench');
        PERFORM fill(c, rows, 10 * rows) FROM unnest(clients) AS c;
        COMMIT;
        CALL immiiq.seal();
        COMMIT;
        PERFORM immiiq.operate(org, 'bench');
        request := immiiq.request_erasure(clients[1], 'bench');
        COMMIT;
        t := clock_timestamp();
        PERFORM immiiq.operate(org, 'bench');
        DELETE FROM visit WHERE client_id = clients[2];
        DELETE FROM client WHERE client_id = clients[2];
        COMMIT;
        PERFORM note_time('delete', t) WHERE i > 0;
        COMMIT;
        t := clock_timestamp();
        gone := false;
        PERFORM immiiq.operate(org, 'bench');
        PERFORM immiiq.schedule_erasure(request, t);
        LOOP
            said := immiiq.step_erasure(org, request);
            COMMIT;
            IF NOT gone AND EXISTS (SELECT FROM immiiq.erasure AS e WHERE e.erasure_id = request AND e.erased_at IS NOT NULL) THEN
                gone := true;
                PERFORM note_time('erase', t) WHERE i > 0;
            END IF;
            EXIT WHEN said = 'done';
            IF said = 'wait' THEN
                CALL immiiq.seal();
            END IF;
        END LOOP;
        PERFORM note_time('certificate', t) WHERE i > 0;
        COMMIT;
        IF EXISTS (SELECT FROM visit WHERE client_id = ANY (clients)) OR NOT EXISTS (SELECT FROM immiiq.erasure AS e WHERE e.erasure_id = request AND e.certificate IS NOT NULL) THEN
            RAISE EXCEPTION 'not all is gone';
        END IF;
    END LOOP;

    -- The key alone, destroyed and brought back by a rollback; of clients with as many rows and not as many entries.
    clients := ARRAY[gen_random_uuid(), gen_random_uuid()];
    PERFORM immiiq.operate(org, 'bench');
    PERFORM fill(clients[1], rows, rows), fill(clients[2], rows, 100 * rows);
    COMMIT;
    CALL immiiq.seal();
    COMMIT;
    FOR i IN 0..200 LOOP
        FOR n IN 1..2 LOOP
            t := clock_timestamp();
            IF immiiq.destroy_client_keys(org, clients[n], false) <> 1 THEN
                RAISE EXCEPTION 'the client has no key';
            END IF;
            ROLLBACK;
            PERFORM note_time('key ' || n, t) WHERE i > 0;
            COMMIT;
        END LOOP;
    END LOOP;
END
$$;
CALL rounds();
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'delete') AS delete_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'erase') AS erase_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'certificate') AS certificate_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'key 1') AS few_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'key 2') AS many_ms FROM took \gset
SELECT * FROM bench_line('erasure', format('a client of %s rows and %s entries is gone, rows and key (%s ms), times DELETE of as many rows (%s ms)',
    :rows, 10 * :rows, round(:erase_ms), round(:delete_ms)), :erase_ms / :delete_ms, 2, ' x');
SELECT * FROM bench_line('erasure', format('the same until the certificate is signed (%s ms)', round(:certificate_ms)), :certificate_ms / :delete_ms, 2, ' x');
SELECT * FROM bench_line('erasure', format('a key with %s entries under it destroyed (%s us), times one with %s',
    100 * :rows, round(:many_ms * 1000), :rows), :many_ms / :few_ms, 1.2, ' x');
