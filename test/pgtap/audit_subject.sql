-- Whose key seals what: clients' keys, the organisation's where a table has no client, rules that leave columns out,
-- commitments, and the indexes by which the log is searched.
\i test/pgtap/setup.psql
-- What operate() and reading leave in the log would stand between the entries that are counted here; event.sql is about it.
ALTER TABLE immiiq.journal DISABLE TRIGGER log_journal;
ALTER TABLE immiiq.field_opened DISABLE TRIGGER log_opened;
CALL immiiq.seal();
SELECT plan(77);

\set one 'c1000000-0000-4000-8000-000000000001'
\set two 'c1000000-0000-4000-8000-000000000002'
CREATE TABLE visit (org_id uuid NOT NULL, visit_id int PRIMARY KEY, client_id uuid, passport enc_text(equality), secret text, phone text, what text);
SELECT FROM immiiq.protect('visit', 'cases', client => 'client_id') \gset
CREATE TABLE plain (org_id uuid NOT NULL, plain_id int PRIMARY KEY, what text);
SELECT FROM immiiq.protect('plain', 'cases') \gset
GRANT SELECT, INSERT, UPDATE, DELETE ON visit, plain TO regress_immiiq_app;
CALL immiiq.seal();
SELECT max(position) AS mark FROM immiiq.leaf WHERE org_id = :'alpha' \gset

-- The log of Alpha since the mark, as its owner reads it.
CREATE FUNCTION read(mark int8) RETURNS TABLE (n int8, client_id uuid, operation text, key jsonb, old_row jsonb, new_row jsonb) LANGUAGE sql AS $$
    SELECT position - mark, client_id, operation, key, old_row, new_row FROM immiiq.audit_log WHERE position > mark ORDER BY position
$$;

BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO visit VALUES (:'alpha', 1, :'one', 'P1', 's', 'p', 'first'), (:'alpha', 2, :'one', 'P2', 's', 'p', 'second'), (:'alpha', 3, :'two', 'P3', 's', 'p', 'third'), (:'alpha', 4, NULL, 'P4', 's', 'p', 'nobody');
INSERT INTO plain VALUES (:'alpha', 1, 'plain');
COMMIT;
CALL immiiq.seal();
SELECT is((SELECT count(*) FROM immiiq.subject_key WHERE org_id = :'alpha'), 2::bigint, 'each client has a key');
SELECT is((SELECT array_agg(l.key_id = k.key_id ORDER BY position) FROM immiiq.leaf l LEFT JOIN immiiq.subject_key k
    ON k.client_id = :'one' WHERE l.org_id = :'alpha' AND position > :mark), '{t,t,f,f,f}', 'and seals what names the client');
SELECT is((SELECT array_agg(purpose ORDER BY position) FROM immiiq.leaf l LEFT JOIN immiiq.wrapped_key k USING (key_id)
    WHERE l.org_id = :'alpha' AND position > :mark), '{NULL,NULL,NULL,audit,audit}', 'what names none is under the organisation''s audit key');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq(format('SELECT n, client_id, new_row ->> $$passport$$ FROM read(%s)', :mark),
    format($$VALUES (1::int8, %1$L::uuid, 'P1'), (2, %1$L, 'P2'), (3, %2$L, 'P3'), (4, NULL, 'P4'), (5, NULL, NULL)$$, :'one', :'two'), 'the log reads the same, and names the client');
COMMIT;

-- a savepoint that made a key and was rolled back
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SAVEPOINT s;
INSERT INTO visit VALUES (:'alpha', 5, 'c1000000-0000-4000-8000-000000000005');
ROLLBACK TO s;
INSERT INTO visit VALUES (:'alpha', 6, 'c1000000-0000-4000-8000-000000000005');
COMMIT;
CALL immiiq.seal();
SELECT is((SELECT count(*) FROM immiiq.subject_key WHERE client_id = 'c1000000-0000-4000-8000-000000000005'), 1::bigint, 'a key that a rollback took is made again');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT new_row ->> 'visit_id' FROM immiiq.audit_log ORDER BY position DESC LIMIT 1), '6', 'and opens');
COMMIT;

-- more clients in one statement than a backend keeps keys of
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'test') \gset
INSERT INTO visit SELECT :'beta', 1000 + n, ('c2000000-0000-4000-8000-' || lpad((n % 1500)::text, 12, '0'))::uuid FROM generate_series(0, 2999) n;
COMMIT;
SELECT is((SELECT count(*) FROM immiiq.subject_key WHERE org_id = :'beta'), 1500::bigint, 'a client has one key, however many clients a statement names');

-- a row that goes from one client to another: each one's values under that one's key
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE visit SET client_id = :'two', what = 'moved' WHERE visit_id = 1;
COMMIT;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT old_row FROM immiiq.audit_log ORDER BY position DESC LIMIT 1), jsonb_build_object('client_id', :'one', 'what', 'first'), 'a row that changes hands: its old values');
SELECT is((SELECT new_row ->> 'client_id' FROM immiiq.audit_log ORDER BY position DESC LIMIT 1), :'two', 'and its new ones');
COMMIT;
SELECT is_empty('SELECT * FROM immiiq.verify_audit()', 'all of it verifies');

-- without a client's key nothing of the client opens, and the rest does
BEGIN;
ALTER TABLE immiiq.subject_key DISABLE TRIGGER keyring_guard;
DELETE FROM immiiq.subject_key WHERE client_id = :'one';
ALTER TABLE immiiq.subject_key ENABLE ALWAYS TRIGGER keyring_guard;
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT results_eq(format('SELECT n, client_id, key, old_row, new_row ->> $$passport$$ FROM read(%s) WHERE n IN (1, 3)', :mark),
    format($$VALUES (1::int8, NULL::uuid, NULL::jsonb, NULL::jsonb, NULL), (3, %L, '{"visit_id": 3}', NULL, 'P3')$$, :'two'), 'a destroyed key takes the client''s images along');
SELECT is((SELECT ROW(old_row, new_row ->> 'what')::text FROM immiiq.audit_log ORDER BY position DESC LIMIT 1), '(,moved)', 'old values of a row that changed hands too, not the other client''s');
COMMIT;
SELECT results_eq('SELECT DISTINCT severity FROM immiiq.verify_audit()', ARRAY['warning'], 'the log still verifies, and says that a key is gone');

-- keys are for nobody
SELECT throws_ok('DELETE FROM immiiq.subject_key', '55000', NULL, 'nobody deletes a client''s key by hand');
SELECT throws_ok('UPDATE immiiq.subject_key SET client_id = org_id', '55000', NULL, 'nor moves it');

---- Rules

SELECT throws_ok($$INSERT INTO immiiq.audit_rule VALUES ('visit', 'gone', 'omit')$$, '42703', NULL, 'a rule names a column');
SELECT throws_ok($$INSERT INTO immiiq.audit_rule VALUES ('visit', 'visit_id', 'omit')$$, '42P10', NULL, 'not one of the key');
SELECT throws_ok($$INSERT INTO immiiq.audit_rule VALUES ('visit', 'what', 'forget')$$, '23514', NULL, 'and is omit or hash');
INSERT INTO immiiq.audit_rule VALUES ('visit', 'secret', 'omit'), ('visit', 'phone', 'hash');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO visit VALUES (:'alpha', 20, :'two', NULL, 'CANARY', '0123', 'x'), (:'alpha', 21, :'two', NULL, 'CANARY', '0123', 'y');
UPDATE visit SET secret = 'CANARY2', phone = '0124' WHERE visit_id = 20;
COMMIT;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE new_row ? 'secret' AND (key ->> 'visit_id')::int >= 20 AND table_name = 'visit'), 0::bigint, 'a column that a rule leaves out is not in the log');
SELECT is((SELECT count(DISTINCT new_row ->> 'phone') FROM immiiq.audit_log WHERE (key ->> 'visit_id')::int >= 20 AND operation = 'insert'), 1::bigint, 'a hashed one is the same for the same value');
SELECT matches((SELECT new_row ->> 'phone' FROM immiiq.audit_log ORDER BY position DESC LIMIT 1), '^[0-9a-f]{64}$', 'a keyed hash');
SELECT is((SELECT old_row - 'phone' FROM immiiq.audit_log ORDER BY position DESC LIMIT 1), '{}'::jsonb, 'of a column that is left out nothing is said to have changed');
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$INSERT INTO immiiq.audit_rule VALUES ('visit', 'what', 'omit')$$, '42501', NULL, 'the application makes no rules');
RESET SESSION AUTHORIZATION;
DELETE FROM immiiq.audit_rule;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE visit SET secret = 'seen' WHERE visit_id = 20;
COMMIT;
CALL immiiq.seal();
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT new_row ->> 'secret' FROM immiiq.audit_log ORDER BY position DESC LIMIT 1), 'seen', 'a rule that is gone binds nobody');
COMMIT;

---- Searches go by an index

CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; whole text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
        whole := whole || line || E'\n';
    END LOOP;
    RETURN whole;
END
$$;
GRANT EXECUTE ON FUNCTION plan_of(text) TO PUBLIC;
ANALYZE immiiq.leaf, immiiq.entry, immiiq.subject_key;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT unalike(plan_of('SELECT position FROM immiiq.audit_log ORDER BY position DESC LIMIT 20'), '%Sort%', 'the newest page is the end of an index');
SELECT alike(plan_of(format('SELECT * FROM immiiq.audit_log WHERE client_id = %L', 'c2000000-0000-4000-8000-000000000007')), '%leaf_key_idx%', 'a client''s entries');
SELECT alike(plan_of(format('SELECT * FROM immiiq.audit_log WHERE member_id = %L', :'one')), '%leaf_member_idx%', 'a member''s');
SELECT alike(plan_of(format('SELECT * FROM immiiq.audit_log WHERE session_id = %L', :'one')), '%leaf_session_idx%', 'a session''s');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE client_id = 'c2000000-0000-4000-8000-000000000007'), 2::bigint, 'a client''s are two');
SELECT alike(plan_of($$SELECT * FROM immiiq.audit_log WHERE row_tag = immiiq.row_tag('visit', '{"visit_id": 20}')$$), '%leaf_row_idx%', 'a row''s');
SELECT alike(plan_of($$SELECT * FROM immiiq.audit_log WHERE address_tag = immiiq.address_tag('192.0.2.7')$$), '%leaf_address_idx%', 'an address''s');
SET LOCAL enable_seqscan = off; -- a log this small is read whole otherwise
SET LOCAL enable_indexscan = off;
SELECT alike(plan_of($$SELECT * FROM immiiq.audit_log WHERE at >= now() - interval '1 minute'$$), '%leaf_at_idx%', 'those of a time');
COMMIT;
RESET SESSION AUTHORIZATION;

-- The views beside the log: for a member and for an auditor, every table below them is read by an index.
CREATE TABLE asked (view text, filter text);
INSERT INTO asked
SELECT view, filter
FROM unnest(ARRAY['denial', 'document_access', 'field_access', 'sign_in_log']) AS view,
    unnest(ARRAY['member_id', 'session_id', 'client_ip', 'at', 'client_id']) AS filter
WHERE NOT (view = 'field_access' AND filter = 'client_ip') AND NOT (view IN ('denial', 'field_access') AND filter = 'client_id');
GRANT SELECT ON asked TO PUBLIC;
CREATE FUNCTION read_whole(view text, filter text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce((SELECT string_agg(DISTINCT m[1], ' ') FROM regexp_matches(plan_of(format('SELECT * FROM immiiq.%I WHERE %I %s', view, filter,
        CASE filter WHEN 'at' THEN '>= now() - interval ''1 minute''' WHEN 'client_ip' THEN '= ''192.0.2.7''' ELSE '= ''c1000000-0000-4000-8000-000000000001''' END)),
        'Seq Scan on (journal|field_opened|document_event|sign_in_attempt)', 'g') AS m), 'none')
$$;
GRANT EXECUTE ON FUNCTION read_whole(text, text) TO PUBLIC;
SET enable_seqscan = off; -- they are small here
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is(read_whole(view, filter), 'none', format('%s by %s, for a member', view, filter)) FROM asked ORDER BY view, filter;
COMMIT;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT is(read_whole(view, filter), 'none', format('%s by %s, for an auditor', view, filter)) FROM asked ORDER BY view, filter;
RESET SESSION AUTHORIZATION;
RESET enable_seqscan;

---- Tags find what they should, and nobody else learns them

CREATE TABLE keyed (org_id uuid, a int, b timestamptz, c text, d numeric(10, 2), body text, PRIMARY KEY (org_id, a, b, c, d));
SELECT FROM immiiq.protect('keyed', 'cases') \gset
GRANT SELECT, INSERT ON keyed TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token', '192.0.2.7') \gset
INSERT INTO keyed (a, b, c, d, body) VALUES (7, '2026-01-02 03:04:05+02', 'ü"''', 1.5, 'x');
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SET LOCAL timezone = 'Asia/Tokyo';
SET LOCAL datestyle = 'German';
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT is((SELECT new_row ->> 'body' FROM immiiq.audit_log WHERE row_tag = immiiq.row_tag('keyed', '{"a": 7, "b": "2026-01-02 01:04:05+00", "c": "ü\"''", "d": 1.50}')), 'x',
    'a row by a key of five columns, whatever the session''s settings');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE address_tag = immiiq.address_tag('192.0.2.7') AND table_name = 'keyed'), 1::bigint, 'what came from an address');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE address_tag = immiiq.address_tag('192.0.2.8')), 0::bigint, 'and nothing from another');
SELECT is(immiiq.row_tag('keyed', '{"a": 7}'), NULL, 'a key that is not whole names no row');
SELECT is(immiiq.row_tag('pg_class', '{"oid": 1}'), NULL, 'nor does one of a table that is not captured');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token') \gset
SELECT is(immiiq.row_tag('visit', '{"visit_id": 20}'), NULL, 'who may not read the log learns no tag of a row');
SELECT is(immiiq.address_tag('192.0.2.7'), NULL, 'nor of an address');
COMMIT;
RESET SESSION AUTHORIZATION;

---- No table of the log has a person in clear

INSERT INTO immiiq.audit_rule VALUES ('visit', 'phone', 'hash');
SET SESSION AUTHORIZATION regress_immiiq_app;
SET application_name = 'CanaryApplication';
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token', '198.51.100.77', 'CanaryAgent') \gset
INSERT INTO visit (visit_id, client_id, passport, secret, phone, what) VALUES (77, :'one', 'CanaryPassport', 'CanarySecret', '+15550199', 'CanaryWhat');
UPDATE visit SET what = 'CanaryOther' WHERE visit_id = 77;
DELETE FROM visit WHERE visit_id = 77;
COMMIT;
RESET application_name;
RESET SESSION AUTHORIZATION;
SELECT FROM immiiq.record_event('canary', :'alpha', :'one', 'CanaryObject', '{"who": "CanaryDetail"}') \gset
CALL immiiq.seal();
CREATE FUNCTION stands_in(needle text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    t regclass;
    here boolean;
    found text;
BEGIN
    FOR t IN SELECT oid::regclass FROM pg_class WHERE relnamespace = 'immiiq'::regnamespace AND relkind = 'r'
            AND (relname ~ '^entry_' OR relname = ANY ('{layout,leaf,batch,tree_head,log_key,node,tree,seal_state,restored,pruned,kept_entry,subject_key,anchor_state,witness,cosignature}')) LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s AS t WHERE position($1 IN t::text) > 0 OR position($2 IN t::text) > 0)', t)
        INTO here USING needle, encode(convert_to(needle, 'UTF8'), 'hex');
        IF here THEN
            found := concat_ws(' ', found, t);
        END IF;
    END LOOP;
    RETURN found;
END
$$;
SELECT isnt(stands_in('visit'), NULL, 'the search finds what stands in the log in clear: the table''s name');
SELECT is((SELECT string_agg(stands_in(needle), ' ') FROM unnest('{CanaryApplication,198.51.100.77,CanaryAgent,CanaryPassport,CanarySecret,+15550199,CanaryWhat,CanaryOther,CanaryObject,CanaryDetail}'::text[]) AS needle),
    NULL, 'and nothing of a person: address, agent, application, values');
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE concat(new_row, old_row, key) ~ '15550199'), 0::bigint, 'a number that a rule hashes stands in no image either');
SELECT is((SELECT count(*) FROM immiiq.audit_log WHERE position(:'alpha_owner_token' IN concat(new_row, old_row)) > 0), 0::bigint, 'nor does a session''s token');
COMMIT;

SELECT * FROM finish();
