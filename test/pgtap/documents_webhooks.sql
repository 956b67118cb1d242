-- Secrets, and webhooks signed with them.
\i test/pgtap/setup.psql
CREATE EXTENSION pgcrypto;
SELECT plan(48);

-- What Stripe and Standard Webhooks send.
CREATE FUNCTION pg_temp.stripe(body text, secret text, at bigint) RETURNS text LANGUAGE sql
RETURN format('t=%s,v1=%s', at, encode(public.hmac(at || '.' || body, secret, 'sha256'), 'hex'));
CREATE FUNCTION pg_temp.standard(id text, body text, secret text, at bigint) RETURNS text LANGUAGE sql
RETURN 'v1,' || encode(public.hmac(convert_to(format('%s.%s.%s', id, at, body), 'UTF8'), decode(substr(secret, 7), 'base64'), 'sha256'), 'base64');
CREATE FUNCTION pg_temp.now() RETURNS bigint LANGUAGE sql RETURN floor(extract(epoch FROM clock_timestamp()))::bigint;
GRANT TEMPORARY ON DATABASE :"DBNAME" TO regress_immiiq_app;

\set stripe_secret   'whsec_k3FnA1cJ7'
\set stripe_next     'whsec_next000'
\set standard_secret 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
\set hook  '4e000000-0000-4000-8000-000000000001'
\set hook2 '4e000000-0000-4000-8000-000000000002'
\set none  '4e000000-0000-4000-8000-0000000000ff'

SET SESSION AUTHORIZATION regress_immiiq_app;

-- ---- secrets ----
SELECT throws_ok($$SELECT immiiq.set_secret('stripe', 'x')$$, '42501', NULL, 'nobody active, no secret');
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_idle_token') \gset
SELECT throws_ok($$SELECT immiiq.set_secret('stripe', 'x')$$, '42501', NULL, 'without the module settings neither');
SELECT throws_ok($$SELECT immiiq.drop_secret('stripe')$$, '42501', NULL, 'nor is one dropped');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is(immiiq.set_secret('stripe', :'stripe_secret'), 1, 'the first version');
SELECT is(immiiq.set_secret('standard', :'standard_secret'), 1, 'another secret');
SELECT throws_ok(format('SELECT immiiq.set_secret(%L, %L)', n, v), '22023', NULL, 'refused') FROM (VALUES ('', 'x'), ('A', 'x'), ('a b', 'x'), ('ok', '')) AS b (n, v);
SELECT throws_ok('SELECT value FROM immiiq.secret_version', '42501', NULL, 'values are not for reading');
SELECT throws_ok($$SELECT immiiq.use_secret('stripe')$$, '42501', NULL, 'nor for using, by the application itself');
SELECT is((SELECT count(*) FROM unnest(ARRAY['open_for(uuid, enc_text)', 'check_stripe(uuid, enc_text, bytea, text)', 'verify_event(text, uuid, bytea, text, text, text)',
    'claim_event(uuid, uuid, text, bytea, jsonb)', 'seal_for(uuid, text, integer)', 'record_denial(text, text, text, uuid)']) AS f
    WHERE has_function_privilege('immiiq.' || f, 'EXECUTE')), 0::bigint, 'nor is there a way around');
SELECT is((SELECT array_agg(name || ' ' || version ORDER BY name) FROM immiiq.secret_status), ARRAY['standard 1', 'stripe 1'], 'names and versions are');
INSERT INTO immiiq.webhook (webhook_id, provider, secret) VALUES (:'hook', 'stripe', 'stripe'), (:'hook2', 'standard', 'standard');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT is((SELECT count(*) FROM immiiq.secret_status), 0::bigint, 'another organisation sees none');
SELECT throws_ok($$INSERT INTO immiiq.webhook (provider, secret) VALUES ('stripe', 'stripe')$$, '23503', NULL, 'and uses none');
ROLLBACK;

-- A function of the DBA's that needs one.
RESET SESSION AUTHORIZATION;
CREATE FUNCTION public.length_of_secret() RETURNS int LANGUAGE sql SECURITY DEFINER AS $$ SELECT length(immiiq.use_secret('stripe')) $$;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is(public.length_of_secret(), length(:'stripe_secret'), 'a function that needs a secret uses it by name');
SELECT isnt((SELECT last_used_at FROM immiiq.secret_status WHERE name = 'stripe'), NULL, 'and its last use is known');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT throws_ok('SELECT public.length_of_secret()', '42704', 'no such secret', 'each organisation its own');
ROLLBACK;

-- ---- Stripe ----
\set body '{"id": "evt_1", "type": "checkout.session.completed", "data": {"object": {"id": "cs_1", "payment_status": "paid", "email": "ana@example.com"}}}'
SELECT pg_temp.now() AS t \gset
SELECT results_eq(format('SELECT * FROM immiiq.verify_stripe(%L, %L, %L)', convert_to(:'body', 'UTF8'), pg_temp.stripe(:'body', :'stripe_secret', :t), :'hook'),
    $$VALUES ('ok', 'evt_1')$$, 'an event is verified, with nobody active');
SELECT is((immiiq.verify_stripe(convert_to(:'body', 'UTF8'), pg_temp.stripe(:'body', :'stripe_secret', :t), :'hook')).verdict, 'duplicate', 'and claimed once');
SELECT is((immiiq.verify_stripe(convert_to(:'body', 'UTF8'), pg_temp.stripe(:'body', :'stripe_secret', :t + delta), h::uuid)).verdict, 'denied', why)
FROM (VALUES (-301, :'hook', '301 s ago'), (400, :'hook', '400 s ahead'), (0, :'none', 'unknown webhook'), (0, :'hook2', 'the other''s webhook'), (0, NULL, 'no webhook')) AS bad (delta, h, why);
SELECT is((immiiq.verify_stripe(convert_to((:'body'::jsonb)::text, 'UTF8'), pg_temp.stripe(:'body', :'stripe_secret', :t), :'hook')).verdict, 'denied',
    'JSON written anew is not what was signed');
SELECT is((immiiq.verify_stripe(convert_to('{}', 'UTF8'), pg_temp.stripe('{}', :'stripe_secret', :t), :'hook')).verdict, 'denied', 'an event without id');
SELECT is((immiiq.verify_stripe('\xff00', pg_temp.stripe('x', :'stripe_secret', :t), :'hook')).verdict, 'denied', 'bytes that are no text');
SELECT is((immiiq.verify_stripe(NULL, NULL, :'hook')).verdict, 'denied', 'nothing');

-- Rotation: both are good for as long as the overlap says.
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is(immiiq.set_secret('stripe', :'stripe_next', '1 day'), 2, 'a second version');
COMMIT;
SELECT is((immiiq.verify_stripe(convert_to(b, 'UTF8'), pg_temp.stripe(b, s, :t), :'hook')).verdict, 'ok', 'signed with ' || s)
FROM (VALUES ('{"id": "evt_2"}', :'stripe_secret'), ('{"id": "evt_3"}', :'stripe_next')) AS good (b, s);
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is(immiiq.set_secret('stripe', 'whsec_third'), 3, 'a third, without overlap');
COMMIT;
SELECT is((immiiq.verify_stripe(convert_to('{"id": "evt_4"}', 'UTF8'), pg_temp.stripe('{"id": "evt_4"}', :'stripe_next', :t), :'hook')).verdict, 'denied',
    'the second is no longer good');

-- ---- Standard Webhooks ----
SELECT is((immiiq.verify_webhook(convert_to('{"type": "contact.created", "data": {"id": "7"}}', 'UTF8'), 'msg_1', :'t',
    'v1,AAAA ' || pg_temp.standard('msg_1', '{"type": "contact.created", "data": {"id": "7"}}', :'standard_secret', :t), :'hook2')).verdict, 'ok', 'Standard Webhooks');
SELECT is((immiiq.verify_webhook('\x00ff', 'msg_2', :'t', 'v1,' || encode(public.hmac(convert_to(format('msg_2.%s.', :'t'), 'UTF8') || '\x00ff'::bytea,
    decode(substr(:'standard_secret', 7), 'base64'), 'sha256'), 'base64'), :'hook2')).verdict, 'ok', 'a body need not be text');
SELECT is((immiiq.verify_webhook('{}', 'msg_1', :'t', pg_temp.standard('msg_2', '{}', :'standard_secret', :t), :'hook2')).verdict, 'denied', 'another id');

-- ---- a payment whose status only a verified event changes (docs/documents.md) ----
RESET SESSION AUTHORIZATION;
CREATE TABLE public.payment (org_id uuid, payment_id uuid DEFAULT gen_random_uuid(), session text NOT NULL, amount numeric NOT NULL,
                             status text NOT NULL DEFAULT 'open', PRIMARY KEY (org_id, payment_id));
SELECT immiiq.protect('public.payment', 'billing') \gset ignored_
GRANT SELECT, INSERT (session, amount) ON public.payment TO regress_immiiq_app;
CREATE FUNCTION public.settle_payment() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.payment AS p SET status = 'paid'
    WHERE p.org_id = NEW.org_id AND p.session = NEW.object_id AND NEW.type = 'checkout.session.completed' AND NEW.object_status = 'paid';
    RETURN NULL;
END $$;
CREATE TRIGGER settle_payment AFTER INSERT ON immiiq.webhook_event FOR EACH ROW EXECUTE FUNCTION public.settle_payment();
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
INSERT INTO public.payment (session, amount) VALUES ('cs_2', 10);
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
INSERT INTO public.payment (session, amount) VALUES ('cs_2', 10);
SELECT throws_ok($$UPDATE public.payment SET status = 'paid'$$, '42501', NULL, 'a member does not say that a payment was made');
SELECT throws_ok($$INSERT INTO public.payment (session, amount, status) VALUES ('cs_3', 1, 'paid')$$, '42501', NULL, 'nor make one that was');
COMMIT;
SELECT is((immiiq.verify_stripe(convert_to(b, 'UTF8'), pg_temp.stripe(b, s, :t), :'hook')).verdict, v, 'event ' || v)
FROM (VALUES ('{"id": "evt_5", "type": "checkout.session.completed", "data": {"object": {"id": "cs_2", "payment_status": "paid"}}}', 'whsec_forged', 'denied'),
             ('{"id": "evt_5", "type": "checkout.session.completed", "data": {"object": {"id": "cs_2", "payment_status": "paid"}}}', 'whsec_third', 'ok')) AS e (b, s, v);
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(org_id || ' ' || status ORDER BY status DESC) FROM public.payment), ARRAY[:'alpha' || ' paid', :'beta' || ' open'],
    'a verified event does, for its organisation alone');
SET SESSION AUTHORIZATION regress_immiiq_app;

-- ---- what is kept ----
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token') \gset
SELECT is((SELECT format('%s %s %s', type, object_id, object_status) FROM immiiq.webhook_event WHERE event_id = 'evt_1'),
    'checkout.session.completed cs_1 paid', 'type, object and status of an event');
SELECT is((SELECT payload::text::jsonb FROM immiiq.webhook_event WHERE event_id = 'evt_1'), :'body'::jsonb, 'and all of it, sealed');
SELECT throws_ok($$INSERT INTO immiiq.webhook_event (org_id, webhook_id, event_id, payload) SELECT org_id, webhook_id, 'evt_9', payload FROM immiiq.webhook_event$$,
    '42501', NULL, 'nobody writes an event by hand');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT ok(NOT EXISTS (SELECT FROM immiiq.webhook_event AS e WHERE e::text LIKE '%ana@%') AND NOT EXISTS (SELECT FROM immiiq.secret_version AS s WHERE s::text LIKE '%whsec%'),
    'neither payloads nor secrets are in clear');
DO $$
BEGIN
    FOR i IN 1..500 LOOP
        EXIT WHEN (SELECT count(*) >= 9 FROM immiiq.journal WHERE action = 'verify_stripe');
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;
SELECT ok((SELECT array_agg(DISTINCT reason) @> ARRAY['outside of tolerance', 'wrong signature', 'unknown webhook', 'event without id', 'malformed request']
           FROM immiiq.journal WHERE action = 'verify_stripe'), 'refusals are on record, with why');
SELECT ok(NOT EXISTS (SELECT FROM immiiq.journal AS j WHERE j::text ~ 'whsec|[0-9a-f]{64}'), 'and no signature or secret');

SELECT * FROM finish();
