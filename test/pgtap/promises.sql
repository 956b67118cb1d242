-- immiiq.posture: each control is broken in turn, its promises fail, and hold again (test/t/081_promises.pl has those of the server).
\i test/pgtap/setup.psql
SELECT plan(97);

CREATE TABLE public.client (client_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid NOT NULL, assignee_id uuid, office_id uuid, passport enc_text(equality));
CREATE INDEX ON public.client (org_id, passport);
SELECT immiiq.protect('public.client', 'clients', client => 'client_id', assignee => 'assignee_id', office => 'office_id') AS ignored \gset
CREATE TABLE public.plain (note text);

-- What has to be there before it can hold.
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
INSERT INTO immiiq.object_store (org_id, name, endpoint, region, bucket, url_ttl) VALUES (:'alpha', 'papers', 'https://s3.example', 'here', 'alpha-papers', 600);
COMMIT;
SELECT immiiq.add_jwt_key(now()) AS ignored \gset
INSERT INTO immiiq.identity_provider (issuer, audience, jwks) VALUES ('https://id.example', 'us',
    '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "alg": "EdDSA", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}');
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT immiiq.record_verification() AS problems \gset
SELECT is(:problems, 0, 'a verification is recorded');
SELECT immiiq.record_backup('full', now() - interval '1 hour', true, '40 minutes', true) AS ignored,
       immiiq.attest('edge', 'a proxy <b>stands</b> in front', now() + interval '90 days') AS ignored2 \gset
SELECT throws_ok($$SELECT immiiq.attest('tls', 'believe me', now() + interval '1 day')$$, '22023', NULL, 'what the database can see is not for anybody to attest');
SELECT throws_ok($$SELECT immiiq.attest('edge', 'for ever', now() + interval '500 days')$$, '23514', NULL, 'nobody attests for ever');
SELECT throws_ok($$SELECT immiiq.attest('edge', ' ', now() + interval '1 day')$$, '23514', NULL, 'or without a word');
SELECT throws_ok($$SELECT immiiq.record_backup('full', now() + interval '1 day', false)$$, '23514', NULL, 'no backup ends tomorrow');
SELECT throws_ok($$SELECT immiiq.record_backup('full', now(), false, '1 hour')$$, '23514', NULL, 'no restore took time that was not made');
SELECT count(immiiq.attest(c.control, 'seen', now() + interval '90 days')) AS ignored FROM immiiq.attested_control AS c WHERE c.control <> 'edge' \gset
RESET SESSION AUTHORIZATION;
SET immiiq.require_reveal = on;
SET synchronous_commit = on;

-- The state of all controls, and of all promises.
CREATE FUNCTION pg_temp.controls() RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_object_agg(control, status) FROM immiiq.posture_control $$;
CREATE FUNCTION pg_temp.promises() RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_object_agg(claim, status) FROM immiiq.posture $$;
SELECT pg_temp.controls() AS controls, pg_temp.promises() AS promises \gset
CREATE TEMPORARY TABLE before AS SELECT :'controls'::jsonb AS controls, :'promises'::jsonb AS promises;

-- ---- the shape ----

SELECT results_eq('SELECT claim FROM immiiq.posture', $$SELECT 'I' || n FROM generate_series(1, 31) AS n UNION ALL SELECT 'E' || n FROM generate_series(1, 22) AS n$$, 'a row for every promise');
SELECT is_empty($$SELECT claim FROM immiiq.posture WHERE kind NOT IN ('enforced', 'provided', 'attested', 'web tier') OR status NOT IN ('holds', 'fails', 'unknown') OR evidence = '' OR control = ''$$, 'each whole');
SELECT is_empty($$SELECT DISTINCT u.name FROM immiiq.promise AS p, unnest(p.controls) AS u (name) WHERE NOT EXISTS (SELECT FROM immiiq.posture_control AS c WHERE c.control = u.name)$$, 'no promise stands on a control that nobody looks at');
SELECT is_empty($$SELECT c.control FROM immiiq.posture_control AS c WHERE NOT EXISTS (SELECT FROM immiiq.promise AS p WHERE c.control = ANY (p.controls))$$, 'no control is looked at for nothing');

SELECT is((SELECT evidence FROM immiiq.posture WHERE claim = 'E22'), (SELECT string_agg(format('%s: regress_immiiq_operator said on %s, until %s: %s', a.title, now()::date, (now() + interval '90 days')::date,
        CASE a.control WHEN 'edge' THEN 'a proxy <b>stands</b> in front' ELSE 'seen' END), E'\n' ORDER BY a.ord) FROM (SELECT *, row_number() OVER () AS ord FROM immiiq.attested_control) AS a WHERE a.control IN ('cors', 'headers', 'edge')),
    'evidence of what is attested says what, by whom, and until when');

-- ---- every control, broken ----

CREATE TEMPORARY TABLE break (control text, sql text, becomes text);
INSERT INTO break VALUES
    ('loaded', $$UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'immiiq'$$, 'fails'),
    ('root_key', $$INSERT INTO immiiq.root_key VALUES ('elsewhere', decode(repeat('00', 16), 'hex'), now())$$, 'fails'),
    ('organisation_keys', $$ALTER TABLE immiiq.org DISABLE TRIGGER USER; INSERT INTO immiiq.org (name, active) VALUES ('without keys', false)$$, 'fails'),
    ('own_keys', $$ALTER TABLE immiiq.wrapped_key DISABLE TRIGGER USER; DELETE FROM immiiq.wrapped_key WHERE key_id = (SELECT max(key_id) FROM immiiq.wrapped_key WHERE purpose = 'index')$$, 'fails'),
    ('worker', $$SET LOCAL log_min_messages = panic$$, 'fails'),
    ('sealing', $$ALTER TABLE immiiq.entry DISABLE TRIGGER USER; INSERT INTO immiiq.entry (txid, at, org_id, incarnation, seq, context, month, body)
        SELECT 9000000000000000000, clock_timestamp() - interval '2 hours', e.org_id, s.incarnation, 1, 0, e.month, '' FROM immiiq.entry AS e, immiiq.seal_state AS s LIMIT 1$$, 'fails'),
    ('row_security', $$ALTER TABLE immiiq.member DISABLE ROW LEVEL SECURITY$$, 'fails'),
    ('capture', $$ALTER TABLE public.client ENABLE TRIGGER "00_immiiq_capture"$$, 'fails'),
    ('guards', $$ALTER TABLE immiiq.backup DISABLE TRIGGER append_only$$, 'fails'),
    ('application_roles', $$ALTER ROLE regress_immiiq_app BYPASSRLS$$, 'fails'),
    ('application_roles', $$DELETE FROM immiiq.role_grant WHERE kind = 'application'$$, 'unknown'),
    ('server_log', $$SET LOCAL log_statement = 'all'$$, 'fails'),
    ('schema', $$CREATE TABLE public.matter (matter_id uuid, org_id uuid)$$, 'fails'),
    ('personal_columns', $$ALTER TABLE public.plain ADD COLUMN passport_number text$$, 'fails'),
    ('coverage', $$SELECT immiiq.unprotect('public.client')$$, 'unknown'),
    ('scopes', $$SELECT immiiq.unprotect('public.client'); SELECT immiiq.protect('public.client', 'clients')$$, 'unknown'),
    ('modules', $$SELECT immiiq.unprotect('public.client'); SELECT immiiq.protect('public.client', NULL)$$, 'unknown'),
    ('offices', $$SELECT immiiq.unprotect('public.client'); SELECT immiiq.protect('public.client', 'clients')$$, 'unknown'),
    ('sealed_columns', $$ALTER TABLE public.plain ADD COLUMN secret enc_text(sealed)$$, 'fails'),
    ('sealed_columns', $$ALTER TABLE public.client DROP COLUMN passport$$, 'unknown'),
    ('search_indexes', $$DROP INDEX public.client_org_id_passport_idx$$, 'fails'),
    ('search_indexes', $$ALTER FUNCTION pg_catalog.enc_text_eq(enc_text_base, enc_text_base) NOT LEAKPROOF$$, 'fails'),
    ('rotation', $$INSERT INTO immiiq.rekey (org_id, phase, started_at, started_by, phase_at, problem) SELECT org_id, 'rest', now(), 'somebody', now(), 'stuck' FROM immiiq.org LIMIT 1$$, 'fails'),
    ('root_epoch', $$ALTER TABLE immiiq.wrapped_key DISABLE TRIGGER USER; INSERT INTO immiiq.root_key VALUES ('old', decode(repeat('00', 16), 'hex'), now());
        UPDATE immiiq.wrapped_key SET root_id = 'old' WHERE key_id = (SELECT min(key_id) FROM immiiq.wrapped_key)$$, 'fails'),
    ('secrets', $$ALTER TABLE immiiq.session DROP CONSTRAINT session_token_hash_check$$, 'fails'),
    ('session_age', $$ALTER TABLE immiiq.session DROP CONSTRAINT session_ttl_check$$, 'fails'),
    ('session_age', $$ALTER TABLE immiiq.session DROP CONSTRAINT session_ttl_check; ALTER TABLE immiiq.session ADD CONSTRAINT session_ttl_check CHECK (true); UPDATE immiiq.session SET expires_at = now() + interval '3 days'$$, 'fails'),
    ('one_session', $$DROP INDEX immiiq.session_one_member_key$$, 'fails'),
    ('link_age', $$INSERT INTO immiiq.link (link_id, kind, purpose, identifier, token_hash, code_hash, issued_at, expires_at)
        VALUES (gen_random_uuid(), 'member', 'sign-in', sha256('a'), sha256('b'), sha256('c'), now(), now() + interval '1 hour')$$, 'fails'),
    ('attempts', $$ALTER TABLE immiiq.journal DISABLE TRIGGER USER$$, 'fails'),
    ('password_hashes', $$ALTER TABLE immiiq.password DROP CONSTRAINT password_hash_check; ALTER TABLE immiiq.password DISABLE TRIGGER USER;
        INSERT INTO immiiq.password (org_id, member_id, hash) SELECT org_id, member_id, 'password1' FROM immiiq.member LIMIT 1$$, 'fails'),
    ('refresh_tokens', $$INSERT INTO immiiq.refresh_token (token_hash, session_id, counter, issued_at) SELECT sha256(n::text::bytea), s.session_id, n, now()
        FROM generate_series(1001, 1002) AS n, (SELECT session_id FROM immiiq.session WHERE revoked_at IS NULL LIMIT 1) AS s$$, 'fails'),
    ('providers', $$ALTER TABLE immiiq.identity_provider DISABLE TRIGGER USER; UPDATE immiiq.identity_provider SET updated_at = now() - interval '100 days'$$, 'fails'),
    ('providers', $$UPDATE immiiq.identity_provider SET active = false$$, 'unknown'),
    ('jwt_keys', $$UPDATE immiiq.jwt_key SET verifies_until = now()$$, 'unknown'),
    ('firewall', $$SET LOCAL immiiq.firewall = off$$, 'fails'),
    ('denials', $$SET LOCAL immiiq.record_denials = off$$, 'fails'),
    ('denials', $$ALTER ROLE regress_immiiq_app SET immiiq.record_denials = off$$, 'fails'),
    ('field_access', $$SET LOCAL immiiq.record_field_access = off$$, 'fails'),
    ('field_access', $$ALTER ROLE ALL SET immiiq.record_field_access = 'no'$$, 'fails'),
    ('reveal', $$SET LOCAL immiiq.require_reveal = off$$, 'fails'),
    ('store_url_age', $$ALTER TABLE immiiq.object_store DISABLE TRIGGER USER; UPDATE immiiq.object_store SET url_ttl = 1800$$, 'fails'),
    ('store_url_age', $$ALTER TABLE immiiq.object_store DISABLE TRIGGER USER; UPDATE immiiq.object_store SET active = false$$, 'unknown'),
    ('own_buckets', $$DELETE FROM immiiq.bucket$$, 'fails'),
    ('verified', $$INSERT INTO immiiq.verification (started_at, finished_at, size, problems) VALUES (now(), now(), 1, 3)$$, 'fails'),
    ('verified', $$INSERT INTO immiiq.verification (started_at, finished_at, size, problems) VALUES (now(), now() - interval '40 days', 1, 0)$$, 'fails'),
    ('verified', $$ALTER TABLE immiiq.entry DISABLE TRIGGER USER; UPDATE immiiq.entry SET at = at - interval '1 minute'; SELECT immiiq.record_verification()$$, 'fails'),
    ('log_age', $$ALTER TABLE immiiq.entry DISABLE TRIGGER USER; INSERT INTO immiiq.entry (txid, at, org_id, incarnation, seq, context, month, body)
        SELECT 1, now() - interval '8 years', e.org_id, e.incarnation, 999, 0, date_trunc('month', now() - interval '7 years 3 months'), '' FROM immiiq.entry AS e JOIN immiiq.org AS o ON o.org_id = e.org_id LIMIT 1$$, 'fails'),
    ('break_glass', $$ALTER TABLE immiiq.journal DISABLE TRIGGER USER; INSERT INTO immiiq.journal (at, kind, action, backend_pid) VALUES (now(), 'operate', 'operate', 1)$$, 'fails'),
    ('superusers', $$ALTER ROLE regress_immiiq_nobody SUPERUSER$$, 'fails'),
    ('erasures', $$ALTER TABLE immiiq.erasure DISABLE TRIGGER USER; INSERT INTO immiiq.erasure (org_id, erasure_id, kind, client_id, reason, due_at, requested_at)
        SELECT org_id, gen_random_uuid(), 'client', gen_random_uuid(), 'asked', now(), now() - interval '31 days' FROM immiiq.org LIMIT 1$$, 'fails'),
    ('backups', $$INSERT INTO immiiq.backup (kind, finished, restore_tested, encrypted) VALUES ('full', now(), false, false);
        ALTER TABLE immiiq.backup DISABLE TRIGGER append_only; UPDATE immiiq.backup SET finished = now() - interval '2 days' WHERE encrypted$$, 'fails'),
    ('rehearsal', $$INSERT INTO immiiq.backup (kind, finished, restore_tested, restore_took, encrypted) VALUES ('full', now(), true, '3 hours', true)$$, 'fails'),
    ('rehearsal', $$ALTER TABLE immiiq.backup DISABLE TRIGGER append_only; UPDATE immiiq.backup SET recorded_at = now() - interval '91 days', finished = now() - interval '92 days'$$, 'fails'),
    ('rehearsal', $$INSERT INTO immiiq.backup (kind, finished, restore_tested, encrypted) VALUES ('full', now(), true, true)$$, 'fails'),
    ('backups', $$ALTER TABLE immiiq.backup DISABLE TRIGGER append_only; UPDATE immiiq.backup SET encrypted = false$$, 'fails'),
    ('functions', $$ALTER FUNCTION immiiq.base64(bytea) COST 1 CALLED ON NULL INPUT$$, 'fails'),
    ('functions', $$GRANT EXECUTE ON FUNCTION immiiq.doctor() TO PUBLIC$$, 'fails');
INSERT INTO break VALUES ('headers', $$ALTER TABLE immiiq.attestation DISABLE TRIGGER append_only; UPDATE immiiq.attestation SET until = now() - interval '1 second'$$, 'unknown');

-- Those of the server, which the other file breaks.
CREATE TEMPORARY TABLE elsewhere (control text);
INSERT INTO elsewhere VALUES ('durability'), ('checksums'), ('tls'), ('hba'), ('archiver'), ('replicas'), ('url_age'), ('backup_window');

SELECT results_eq($$SELECT control FROM break UNION SELECT control FROM elsewhere UNION SELECT control FROM immiiq.attested_control ORDER BY 1$$, $$SELECT control FROM immiiq.posture_control ORDER BY 1$$, 'every control is broken here or there');
SELECT is((SELECT string_agg(DISTINCT format('%s %s', b.control, s.controls ->> b.control), ', ') FROM break AS b, before AS s WHERE s.controls ->> b.control <> 'holds'), NULL, 'and holds before');

-- Breaks one, looks, and takes it back: each promise that stands on it has one more line that says so, and does not hold.
CREATE TEMPORARY TABLE evidence AS SELECT claim, regexp_count(evidence, '^FAILS: ', 1, 'n') AS fails, regexp_count(evidence, '^UNKNOWN: ', 1, 'n') AS unknown FROM immiiq.posture;
CREATE FUNCTION pg_temp.broken(control text, sql text, becomes text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    other text;
BEGIN
    BEGIN
        SET LOCAL client_min_messages = error;
        EXECUTE sql;
        SELECT string_agg(format('%s %s', p.claim, n.status), ', ') INTO other
            FROM immiiq.promise AS p JOIN immiiq.posture AS n ON n.claim = p.claim JOIN evidence AS e ON e.claim = p.claim
            WHERE broken.control = ANY (p.controls) AND NOT (n.status = becomes OR n.status = 'fails')
                OR broken.control = ANY (p.controls) AND regexp_count(n.evidence, format('^%s: ', upper(becomes)), 1, 'n') <= CASE becomes WHEN 'fails' THEN e.fails ELSE e.unknown END;
        RAISE EXCEPTION USING ERRCODE = 'P9999', MESSAGE = 'back';
    EXCEPTION WHEN SQLSTATE 'P9999' THEN NULL;
    END;
    RETURN other;
END
$$;
SELECT is(pg_temp.broken(b.control, b.sql, b.becomes), NULL, format('%s broken: its promises are seen as %s', b.control, b.becomes)) FROM break AS b;

BEGIN;
SET LOCAL client_min_messages = error;
ALTER TABLE immiiq.hold DISABLE TRIGGER USER;
INSERT INTO immiiq.hold (org_id, kind, reason) SELECT o.org_id, 'org', 'court' FROM immiiq.org AS o;
SELECT sql AS old_entry FROM break WHERE control = 'log_age' \gset
:old_entry;
SELECT ok(status = 'holds' AND evidence LIKE '%: under hold only, since %', 'entries under hold may be older') FROM immiiq.posture_control WHERE control = 'log_age';
ROLLBACK;

BEGIN;
INSERT INTO immiiq.attestation (control, holds, statement, until) SELECT control, false, 'gone', now() + interval '1 day' FROM immiiq.attested_control;
SELECT is_empty($$SELECT n.claim FROM immiiq.posture AS n JOIN evidence AS e ON e.claim = n.claim
        JOIN (SELECT p.claim, count(*) AS attested FROM immiiq.promise AS p JOIN immiiq.attested_control AS a ON a.control = ANY (p.controls) GROUP BY p.claim) AS w ON w.claim = n.claim
        WHERE n.status <> 'fails' OR regexp_count(n.evidence, '^FAILS: ', 1, 'n') <> e.fails + w.attested$$, 'what is attested can be withdrawn: every promise on it fails, once for each');
ROLLBACK;

-- Every function on which a promise stands: changed, gone, or withheld.
CREATE FUNCTION pg_temp.broken_function(claim text, function text, change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    status text;
BEGIN
    BEGIN
        EXECUTE format(change, (SELECT signature FROM immiiq.installed_function WHERE name = function ORDER BY 1 LIMIT 1));
        status := (SELECT p.status FROM immiiq.posture AS p WHERE p.claim = broken_function.claim AND p.evidence ~ function);
        RAISE EXCEPTION USING ERRCODE = 'P9999', MESSAGE = 'back';
    EXCEPTION WHEN SQLSTATE 'P9999' THEN NULL;
    END;
    RETURN status;
END
$$;
BEGIN;
SELECT format('ALTER ROUTINE %s SET work_mem = 65536', f.signature) FROM immiiq.installed_function AS f WHERE f.name IN (SELECT unnest(p.functions) FROM immiiq.promise AS p) \gexec
SELECT is_empty($$SELECT n.claim FROM immiiq.posture AS n JOIN immiiq.promise AS p ON p.claim = n.claim JOIN evidence AS e ON e.claim = n.claim
        WHERE p.functions <> '{}' AND (n.status <> 'fails' OR EXISTS (SELECT FROM unnest(p.functions) AS u (name) WHERE n.evidence !~ format('%s\([^\n]* is not as installed', u.name)))$$,
    'a promise fails when one of its functions is not as installed, and says which');
ROLLBACK;
SELECT is(pg_temp.broken_function('I16', 'authenticate', 'REVOKE EXECUTE ON ROUTINE %s FROM regress_immiiq_app, PUBLIC'), 'fails', 'or withheld from who needs it');
SELECT is(pg_temp.broken_function('E18', 'verify_stripe', 'ALTER ROUTINE %s RENAME TO other'), 'fails', 'or gone');

SELECT is(pg_temp.controls(), (SELECT controls FROM before), 'all is as before');
SELECT is(pg_temp.promises(), (SELECT promises FROM before), 'promises, too');

-- ---- the page, and what is signed ----

CREATE TABLE public."<script>alert(1)</script>" (org_id uuid);
SELECT immiiq.posture_report() AS page \gset
SELECT unalike(:'page'::text, '%<script>%', 'no name of a table becomes part of the page');
SELECT unalike(:'page'::text, '%<b>stands</b>%', 'nor what somebody attested');
SELECT alike(:'page'::text, '%&lt;script&gt;alert%', 'they stand there as text');
DROP TABLE public."<script>alert(1)</script>";
SELECT immiiq.posture_statement() AS statement \gset
SELECT ok(immiiq.verify_posture(:'statement'::text), 'a statement verifies');
SELECT ok(NOT immiiq.verify_posture(replace(:'statement', '"status": "fails"', '"status": "holds"')), 'another status does not');
SELECT ok(NOT immiiq.verify_posture(immiiq.base64(immiiq.sign_statement('{"x": 1}'))), 'nor another text');

-- ---- who may ----

SELECT throws_ok_unguarded('UPDATE immiiq.attestation SET holds = true', 'IQ040', NULL, 'nobody changes what was attested');
SELECT throws_ok_unguarded('DELETE FROM immiiq.verification', 'IQ040', NULL, 'nor forgets a verification');
SET SESSION AUTHORIZATION regress_immiiq_auditor;
SELECT is((SELECT count(*)::int FROM immiiq.posture), 53, 'an auditor reads the posture');
SELECT lives_ok('SELECT immiiq.posture_report()', 'and the page');
SELECT throws_ok($$SELECT immiiq.attest('edge', 'a', now())$$, '42501', NULL, 'but attests nothing');
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok('SELECT * FROM immiiq.posture', '42501', NULL, 'the application reads no posture');
SELECT throws_ok('SELECT * FROM immiiq.inspect_controls()', '42501', NULL, 'nor controls');
SELECT throws_ok('SELECT immiiq.posture_report()', '42501', NULL, 'nor the page');
SELECT throws_ok('SELECT immiiq.posture_statement()', '42501', NULL, 'nor the statement');
SELECT throws_ok($$SELECT immiiq.record_backup('full', now(), true)$$, '42501', NULL, 'records no backup');
SELECT throws_ok('SELECT immiiq.record_verification()', '42501', NULL, 'no verification');
SELECT throws_ok('SELECT immiiq.note_functions()', '42501', NULL, 'and does not say what functions are');
RESET SESSION AUTHORIZATION;
SELECT finish();
