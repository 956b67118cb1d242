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
DROP TRIGGER immiiq_capture ON bare;
DROP TRIGGER immiiq_capture ON byhand;
GRANT ALL ON bare, byhand, captured TO bench_app;

SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
SELECT format($$INSERT INTO %%s (org_id, name, email, phone, note, amount, opened, active, status) SELECT %L, 'Jane Q. Client ' || i, 'jane' || i || '@example.com',
              '+1 202 555 0' || i %%%% 1000, repeat('note ', 10), i * 1.25, date '2020-01-01' + i %%%% 1000, i %%%% 2 = 0, 'open' FROM generate_series(1, %s) AS i$$,
              :'org', :rows) AS insert,
    format('UPDATE %%s SET status = $$closed $$ || id, amount = amount + 1 WHERE id <= %s', :rows) AS update \gset
-- Interleaved: bare and by hand, bare and captured.
SELECT * FROM bench_pair(format(:'insert', 'byhand'), format(:'insert', 'bare'), 5) \gset byhand_
SELECT * FROM bench_pair(format(:'insert', 'captured'), format(:'insert', 'bare'), 5) \gset captured_
SELECT * FROM bench_pair(format(:'update', 'byhand'), format(:'update', 'bare'), 5) \gset ubyhand_
SELECT * FROM bench_pair(format(:'update', 'captured'), format(:'update', 'bare'), 5) \gset ucaptured_
COMMIT;
SELECT * FROM bench_line('audit', 'added to an inserted row, times a PL/pgSQL trigger',
                         (:captured_a_ms - :captured_b_ms) / (:byhand_a_ms - :byhand_b_ms), 0.5, ' x');
SELECT * FROM bench_line('audit', 'added to an updated row, times the trigger',
                         (:ucaptured_a_ms - :ucaptured_b_ms) / (:ubyhand_a_ms - :ubyhand_b_ms), 0.4, ' x');
SELECT * FROM bench_line('audit', 'added to an inserted row', (:captured_a_ms - :captured_b_ms) * 1000 / :rows, 20, ' us');
RESET SESSION AUTHORIZATION;
