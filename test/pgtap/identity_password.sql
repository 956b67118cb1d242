-- Passwords: vectors, what is accepted, sign-in, throttling, decoys. docs/identity.md says what holds.
\i test/pgtap/setup.psql
SELECT plan(110);

CREATE FUNCTION mailed(address text) RETURNS text LANGUAGE sql
    AS $$ SELECT o.token FROM immiiq.outbox AS o WHERE o.email = address ORDER BY o.issued_at DESC LIMIT 1 $$;
CREATE FUNCTION use_token(token text) RETURNS text LANGUAGE sql
    RETURN format('SELECT set_config(''immiiq.token'', %L, true)', token);
CREATE FUNCTION last_reason() RETURNS text LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT concat_ws(' ', method, verdict, reason) FROM immiiq.sign_in_attempt ORDER BY attempt_id DESC LIMIT 1 $$;
-- A sign-in by link, without a mailer.
CREATE FUNCTION by_link(address text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM immiiq.issue_link(address);
    RETURN (immiiq.redeem_link(mailed(address))).session_token;
END $$;

---------------------------------------------------------------- published vectors
SELECT ok(immiiq.verify_password('$argon2id$v=19$m=256,t=3,p=1$MDEyMzQ1Njc$G5ajKFCoUzaXRLdz7UJb5wGkb2Xt+X5/GQjUYtS2+TE', 'password'),
    'Argon2id of "password"');
SELECT ok(NOT immiiq.verify_password('$argon2id$v=19$m=256,t=3,p=1$MDEyMzQ1Njc$G5ajKFCoUzaXRLdz7UJb5wGkb2Xt+X5/GQjUYtS2+TE', 'Password'),
    'and of nothing else');
SELECT ok(immiiq.verify_password(replace(hash, '$2a$', prefix), plain), format('bcrypt of "%s" as %s', plain, prefix))
FROM (VALUES ('', '$2a$10$k1wbIrmNyFAPwPVPSVa/zecw2BCEnBwVS2GbrmgzxFUOqW9dk4TCW'),
             ('a', '$2a$10$k87L/MF28Q673VKh8/cPi.SUl7MU/rWuSiIDDFayrKk/1tBsSQu4u'),
             ('abc', '$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i'),
             ('U*U', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW')) AS v (plain, hash),
     unnest(ARRAY['$2a$', '$2b$', '$2y$']) AS prefix;
SELECT ok(NOT immiiq.verify_password('$2b$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i', 'abd'), 'bcrypt of another password');

---------------------------------------------------------------- what is no hash
SELECT is(immiiq.password_kind(hash), NULL, 'no hash: ' || why)
FROM (VALUES ('$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', '$2x$'), ('*0', '*0'), ('*1', '*1'), ('', 'empty'),
             ('rl.3StKT.4T8M', 'DES'), ('$1$abcdefgh$G//4keteveJp0qb8z2DxG/', 'MD5'), ('$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'cost 31'),
             ('$2b$17$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'cost 17'), ('$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'cost 3'),
             ('$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe', '59 characters'), ('$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWW', '61'),
             ('$2b$05$CCCCCCCCCCCCCCCCCCCCC-E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'another alphabet'),
             ('$argon2i$v=19$m=256,t=3,p=1$MDEyMzQ1Njc$G5ajKFCoUzaXRLdz7UJb5wGkb2Xt+X5/GQjUYtS2+TE', 'Argon2i'),
             ('$argon2id$v=19$m=4194304,t=3,p=1$MDEyMzQ1Njc$G5ajKFCoUzaXRLdz7UJb5wGkb2Xt+X5/GQjUYtS2+TE', 'memory for an attack'),
             ('$argon2id$v=19$m=256,t=99999,p=1$MDEyMzQ1Njc$G5ajKFCoUzaXRLdz7UJb5wGkb2Xt+X5/GQjUYtS2+TE', 'time for an attack'),
             ('$argon2id$v=19$m=00256,t=3,p=1$MDEyMzQ1Njc$G5ajKFCoUzaXRLdz7UJb5wGkb2Xt+X5/GQjUYtS2+TE', 'a leading zero'),
             ('$argon2id$v=19$m=256,t=3,p=1$MDEyMzQ1Njc', 'half')) AS v (hash, why);
SELECT ok(NOT immiiq.verify_password(hash, ''), 'which verifies nothing: ' || hash) FROM unnest(ARRAY['*0', '*1', '', '$2x$05$']) AS hash;
SELECT is(immiiq.password_kind(immiiq.hash_password('x')), 'argon2id', 'a new hash is Argon2id');
SELECT matches(immiiq.hash_password('x'), '^\$argon2id\$v=19\$m=19456,t=2,p=1\$', 'with OWASP''s parameters');
SELECT isnt(immiiq.hash_password('x'), immiiq.hash_password('x'), 'and a salt of its own');
-- 72 bytes is all that bcrypt reads.
SELECT ok(immiiq.verify_password('$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe', repeat('a', 72)), 'bcrypt of 72 bytes');
SELECT ok(NOT immiiq.verify_password('$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe', repeat('a', 73)), 'is not cut out of 73');

---------------------------------------------------------------- setting one
SET ROLE regress_immiiq_app;
SELECT by_link('owner@alpha.example') AS owner_token \gset
BEGIN;
SELECT immiiq.authenticate(:'alpha_owner_token') AS ignored \gset
SELECT throws_ok($$SELECT immiiq.set_password('correct horse battery')$$, '42501', NULL, 'not in a session that an operator issued');
ROLLBACK;
SELECT throws_ok($$SELECT immiiq.set_password('correct horse battery')$$, '42501', NULL, 'nor for nobody');
BEGIN;
SELECT immiiq.authenticate(:'owner_token') AS ignored \gset
SELECT throws_ok(format('SELECT immiiq.set_password(%L)', bad), '22023', NULL, 'not accepted: ' || why)
FROM (VALUES ('', 'nothing'), ('short77', 'seven characters'), (repeat('x', 1025), '1025 bytes'), ('aaaaaaaaaaaa', 'one character'),
             ('12345678', 'a sequence'), ('qwertyuiop', 'a row of keys'), ('owner@alpha.example', 'the address'), ('Alpha Owner', 'the name'),
             ('immiiq2026', 'this software')) AS v (bad, why);
SELECT throws_ok($$SELECT immiiq.set_password(NULL)$$, '22023', NULL, 'no password at all');
SELECT lives_ok($$SELECT immiiq.set_password('correct horse battery')$$, 'within ten minutes of a link no former one is needed');
SELECT immiiq.act_as_assistant('x') AS ignored \gset
SELECT throws_ok($$SELECT immiiq.set_password('another horse battery')$$, '42501', NULL, 'the assistant sets none');
COMMIT;
RESET ROLE;
INSERT INTO immiiq.password_blocklist VALUES ('tr0ub4dor&3');
SELECT is(immiiq.check_password('Tr0ub4dor&3', 'a@b', 'c', 'd'), 'is on the list of known passwords', 'the DBA''s list counts, whatever the case');
SELECT is(immiiq.check_password('ünïcödé!', 'a@b', 'c', 'd'), NULL, 'characters are counted, not bytes');
SET ROLE regress_immiiq_app;

---------------------------------------------------------------- signing in
SELECT * FROM immiiq.sign_in_password('OWNER@alpha.example', 'correct horse battery', device => 'laptop', ip => '192.0.2.1') \gset good_
SELECT is(:'good_verdict'::text, 'ok', 'the right password gets in');
SELECT lives_ok(use_token(:'good_session_token'), 'with a session');
SELECT throws_ok(use_token(:'owner_token'), 'IQ010', NULL, 'that ends the one before');
SELECT results_eq($$SELECT * FROM immiiq.sign_in_password('owner@alpha.example', 'Correct horse battery')$$,
    $$SELECT 'denied', NULL::interval, NULL::uuid, NULL::uuid, NULL::uuid, NULL::uuid, NULL, NULL, NULL, NULL::timestamptz$$,
    'a wrong password is denied');
SELECT is(last_reason(), 'password denied wrong password', 'which only the log says');
SELECT results_eq(format($$SELECT * FROM immiiq.sign_in_password(%L, 'x', ip => '198.51.100.1')$$, email),
    $$SELECT 'denied', NULL::interval, NULL::uuid, NULL::uuid, NULL::uuid, NULL::uuid, NULL, NULL, NULL, NULL::timestamptz$$,
    'so is ' || email) FROM unnest(ARRAY['nobody@alpha.example', 'lead@alpha.example', '']) AS email;
SELECT is((immiiq.sign_in_password(NULL, NULL)).verdict, 'denied', 'nothing is denied');
SELECT is((immiiq.sign_in_password('owner@alpha.example', 'correct horse battery', org => :'beta')).verdict, 'denied', 'in another organisation it is none');
SELECT is(last_reason(), 'password denied unknown', 'where nobody has this address');

---------------------------------------------------------------- guesses
BEGIN;
SELECT is((immiiq.sign_in_password('owner@alpha.example', 'guess ' || n)).verdict, 'denied', 'guess ' || n) FROM generate_series(2, 4) AS n;
ROLLBACK;
SELECT ok(verdict = 'throttled' AND retry_after BETWEEN interval '50 s' AND interval '60 s', 'five wrong ones lock, rolled back or not')
    FROM immiiq.sign_in_password('owner@alpha.example', 'correct horse battery');
SELECT is(last_reason(), 'password throttled too many attempts', 'which is in the log');
SELECT is((immiiq.sign_in_password('owner@alpha.example', 'correct horse battery', device => 'tablet')).verdict, 'throttled', 'for unknown devices');
SELECT is((immiiq.sign_in_password('owner@alpha.example', 'correct horse battery', device => 'laptop')).verdict, 'ok', 'not for a known one');
SELECT is((immiiq.sign_in_password('lead@alpha.example', 'x', device => 'laptop', ip => '198.51.100.2')).verdict, 'denied', 'it is known for its member only');
SELECT isnt(by_link('owner@alpha.example'), NULL, 'the link path stays open');
RESET ROLE;
SELECT is(immiiq.unlock_sign_in('owner@alpha.example'), true, 'an operator unlocks');
SELECT is(immiiq.unlock_sign_in('owner@alpha.example'), false, 'once');
SET ROLE regress_immiiq_app;
SELECT is((immiiq.sign_in_password('owner@alpha.example', 'correct horse battery')).verdict, 'ok', 'and then any device gets in');
SELECT throws_ok($$SELECT immiiq.unlock_sign_in('owner@alpha.example')$$, '42501', NULL, 'the application does not unlock');
SELECT results_eq($$SELECT (immiiq.sign_in_password('unknown@alpha.example', 'x')).verdict FROM generate_series(1, 6)$$,
    $$SELECT unnest(ARRAY['denied', 'denied', 'denied', 'denied', 'denied', 'throttled'])$$, 'an address that nobody has is throttled alike');
-- Many accounts from one network.
SELECT is((SELECT count(*)::int FROM generate_series(1, 40) AS n
           WHERE (immiiq.sign_in_password('spray' || n || '@alpha.example', 'x', ip => ('2001:db8::' || n)::inet)).verdict = 'denied'), 30,
    'thirty wrong ones from an IPv6 /64 lock it');
SELECT is((immiiq.sign_in_password('owner@alpha.example', 'correct horse battery', ip => '2001:db8::ffff')).verdict, 'throttled', 'for all of it');
SELECT is((immiiq.sign_in_password('owner@alpha.example', 'correct horse battery', ip => '2001:db8::ffff', device => 'laptop')).verdict, 'ok',
    'but not for a known device in it');
SELECT is((immiiq.sign_in_password('owner@alpha.example', 'correct horse battery', ip => '2001:db8:0:1::1')).verdict, 'ok', 'nor for the next /64');

---------------------------------------------------------------- changing it
SELECT * FROM immiiq.sign_in_password('owner@alpha.example', 'correct horse battery', device => 'laptop') \gset good_
BEGIN;
SELECT immiiq.authenticate(:'good_session_token') AS ignored \gset
SELECT throws_ok($$SELECT immiiq.set_password('another horse battery')$$, '42501', 'the former password is needed', 'a session alone changes no password');
SELECT throws_ok($$SELECT immiiq.set_password('another horse battery', 'wrong')$$, '42501', 'the former password is needed', 'nor with a wrong former one');
SELECT is(last_reason(), 'set-password denied wrong former password', 'which the log has');
SELECT lives_ok($$SELECT immiiq.set_password('another horse battery', 'correct horse battery')$$, 'with the former one it does');
COMMIT;
SELECT is((immiiq.sign_in_password('owner@alpha.example', 'correct horse battery', device => 'laptop')).verdict, 'denied', 'the former one is none any more');
SELECT is((immiiq.sign_in_password('owner@alpha.example', 'another horse battery', device => 'laptop')).verdict, 'ok', 'the new one is');
SELECT throws_ok(use_token(:'alpha_owner_token'), 'IQ010', NULL, 'the change ended other sessions');

---------------------------------------------------------------- what another system brought
SELECT throws_ok(format('SELECT immiiq.import_password(%L, ''*0'')', :'alpha_lead'), '42501', NULL, 'the application imports none');
SET SESSION AUTHORIZATION regress_immiiq_operator;
SELECT throws_ok(format('SELECT immiiq.import_password(%L, ''$2b$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i'')', :'alpha_lead'), '22023', NULL,
    'an operator says where first');
BEGIN;
SELECT immiiq.operate(:'alpha', 'import') AS ignored \gset
SELECT throws_ok(format('SELECT immiiq.import_password(%L, ''*0'')', :'alpha_lead'), '22023', NULL, 'what is no hash is refused');
SELECT throws_ok(format('SELECT immiiq.import_password(%L, ''$2b$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i'')', :'beta_owner'), '22023', NULL,
    'another organisation''s member is none');
SELECT throws_ok(format('SELECT immiiq.import_password(%L, ''$2b$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i'')', :'alpha_owner'), '22023', NULL,
    'who has a password keeps it');
SELECT lives_ok(format('SELECT immiiq.import_password(%L, ''$2b$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i'')', :'alpha_lead'), 'bcrypt is taken');
COMMIT;
RESET SESSION AUTHORIZATION;
SET ROLE regress_immiiq_app;
SELECT is((immiiq.sign_in_password('lead@alpha.example', 'abd', ip => '203.0.113.1')).verdict, 'denied', 'a wrong password');
SELECT is((immiiq.sign_in_password('lead@alpha.example', 'abc', ip => '203.0.113.1')).verdict, 'ok', 'the right one');
RESET ROLE;
SELECT is((SELECT immiiq.password_kind(hash) FROM immiiq.password WHERE member_id = :'alpha_lead'), 'argon2id', 'is hashed anew at its sign-in');
SET ROLE regress_immiiq_app;
SELECT is((immiiq.sign_in_password('lead@alpha.example', 'abc', ip => '203.0.113.1')).verdict, 'ok', 'and stays the right one');
RESET ROLE;
SELECT throws_ok_unguarded($$UPDATE immiiq.password SET hash = '*0'$$, '23514', NULL, 'no other hash can be stored');
INSERT INTO immiiq.member (org_id, member_id, email, name)
SELECT :'alpha', format('%s0000000-0000-4000-8000-000000000000', x)::uuid, x || '@decoy.example', x FROM unnest(ARRAY['3', '5', '8', 'c', 'f']) AS x;
INSERT INTO immiiq.password (org_id, member_id, hash)
SELECT org_id, member_id, CASE WHEN name < '9' THEN '$2b$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW' ELSE immiiq.hash_password(name) END
FROM immiiq.member WHERE email LIKE '%@decoy.example';
SELECT set_eq($$SELECT immiiq.password_kind(immiiq.decoy_hash(decode(md5(n::text), 'hex'))) FROM generate_series(1, 50) AS n$$,
    ARRAY['argon2id', 'bcrypt'], 'an address that nobody has takes the time of some account, bcrypt included');
SELECT is(immiiq.decoy_hash(decode(md5('a'), 'hex')), immiiq.decoy_hash(decode(md5('a'), 'hex')), 'always of the same one');

---------------------------------------------------------------- members who may not
UPDATE immiiq.member SET active = false WHERE member_id = :'alpha_lead';
UPDATE immiiq.password SET hash = immiiq.hash_password('abc') WHERE member_id = :'alpha_lead';
SET ROLE regress_immiiq_app;
SELECT is((immiiq.sign_in_password('lead@alpha.example', 'abc', ip => '203.0.113.2')).verdict, 'denied', 'who is not active does not get in');
SELECT is(last_reason(), 'password denied not active', 'says the log');
SELECT throws_ok($$SELECT * FROM immiiq.password$$, '42501', NULL, 'hashes are not for the application');
RESET ROLE;
SET ROLE regress_immiiq_operator;
SELECT throws_ok($$SELECT * FROM immiiq.password$$, '42501', NULL, 'nor for operators');
RESET ROLE;
SELECT * FROM finish();
