-- What the audit adds to a bulk INSERT, beside the PL/pgSQL trigger that people write by hand.
\set rows 'greatest(1000, 20000 * ':scale')::int'
CREATE TABLE bare (org_id uuid, id int GENERATED ALWAYS AS IDENTITY, name text, note text, at timestamptz DEFAULT now(), PRIMARY KEY (org_id, id));
CREATE TABLE byhand (LIKE bare INCLUDING ALL);
CREATE TABLE captured (LIKE bare INCLUDING ALL);
CREATE TABLE byhand_log (id bigserial PRIMARY KEY, tab text, actor text, at timestamptz DEFAULT clock_timestamp(), old jsonb, new jsonb);
CREATE FUNCTION log_by_hand() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO byhand_log (tab, actor, new) VALUES (TG_TABLE_NAME, session_user, to_jsonb(NEW));
    RETURN NEW;
END $$;
CREATE TRIGGER log_by_hand AFTER INSERT ON byhand FOR EACH ROW EXECUTE FUNCTION log_by_hand();
SELECT immiiq.protect('captured', 'clients') \gset ignored_
GRANT ALL ON bare, byhand, captured TO bench_app;

SET SESSION AUTHORIZATION bench_app;
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
SELECT format($$INSERT INTO %%s (org_id, name, note) SELECT %L, 'name ' || i, repeat('note ', 10) FROM generate_series(1, %s) AS i$$,
              :'org', :rows) AS insert \gset
-- Interleaved: bare and by hand, bare and captured.
SELECT * FROM bench_pair(format(:'insert', 'byhand'), format(:'insert', 'bare'), 5) \gset byhand_
SELECT * FROM bench_pair(format(:'insert', 'captured'), format(:'insert', 'bare'), 5) \gset captured_
COMMIT;
SELECT * FROM bench_line('audit', 'added to an inserted row, times a PL/pgSQL trigger',
                         (:captured_a_ms - :captured_b_ms) / (:byhand_a_ms - :byhand_b_ms), 1, ' x');
SELECT * FROM bench_line('audit', 'added to an inserted row', (:captured_a_ms - :captured_b_ms) * 1000 / :rows, 20, ' us');
RESET SESSION AUTHORIZATION;
