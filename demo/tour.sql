-- The tour: real queries on the practices' data, and what they answer. Ends at the first answer that is not what it must be.
-- Input of psql (not -f, or messages have file names in front). Variables: seed, clients (a practice), load_ms.
\set ON_ERROR_STOP on
\pset footer off
\pset null '·'
SET client_min_messages = warning;
SELECT clock_timestamp() AS tour_start \gset

-- What must hold, and a message when it does not. Called as the DBA, on variables that the steps left.
CREATE OR REPLACE FUNCTION generator.expect(holds boolean, what text) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN IF holds IS NOT TRUE THEN RAISE EXCEPTION 'the tour expected: %', what; END IF; END $$;
\set expect 'SELECT generator.expect'

SELECT count(*) AS all_clients, to_char(count(*), 'FM999,999') AS clients_text, to_char(:load_ms / 1000.0, 'FM990.0') AS load_s,
       to_char((SELECT count(*) FROM cases) + (SELECT count(*) FROM communications) + (SELECT count(*) FROM documents)
               + (SELECT count(*) FROM invoices), 'FM999,999') AS children_text FROM clients \gset
:expect(:all_clients = 3 * :clients, 'three practices full of clients') \g /dev/null

\echo 'immiiq: a tour of three immigration practices in one database'
\echo '============================================================='
\echo :clients_text 'clients and' :children_text 'cases, messages, documents and invoices, loaded in' :load_s 's by plain INSERTs (demo/load.sql).'
\echo 'Names, birth dates, passports, phones, addresses and families are sealed under their practice''s own key (demo/schema.sql).'

-- Tokens, as a sign-in would give them.
SELECT org_id AS aldgate FROM generator.practice WHERE number = 1 \gset
SELECT org_id AS nordlicht, generator.id('member', 201) AS katrin_id FROM generator.practice WHERE number = 2 \gset
\connect - practice_operator
BEGIN;
SELECT immiiq.operate(:'aldgate', 'tokens for the tour') \g /dev/null
SELECT immiiq.issue_session(generator.id('member', 101)) AS ifeoma, immiiq.issue_session(generator.id('member', 103)) AS leila,
       immiiq.issue_session(generator.id('member', 110)) AS amina, immiiq.issue_session(generator.id('member', 114)) AS margaret \gset
COMMIT;
BEGIN;
SELECT immiiq.operate(:'nordlicht', 'tokens for the tour') \g /dev/null
SELECT immiiq.issue_session(generator.id('member', 201)) AS katrin \gset
COMMIT;

\echo
\echo '1. The same SELECT, four people'
\echo '-------------------------------'
\echo 'The web tier begins a transaction, says SELECT immiiq.authenticate($1) with the signed-in user''s token, and sends plain SQL:'
\set counts 'SELECT (SELECT count(*) FROM clients) AS clients, (SELECT count(*) FROM cases) AS cases, (SELECT count(*) FROM communications) AS messages,\n       (SELECT count(*) FROM documents) AS documents, (SELECT count(*) FROM invoices) AS invoices'
\echo :counts
\echo
\connect - practice_app
:counts \gset nobody_
BEGIN;
SELECT immiiq.authenticate(:'ifeoma') \g /dev/null
:counts \gset ifeoma_
COMMIT;
BEGIN;
SELECT immiiq.authenticate(:'leila') \g /dev/null
:counts \gset leila_
COMMIT;
BEGIN;
SELECT immiiq.authenticate(:'margaret') \g /dev/null
:counts \gset margaret_
COMMIT;
BEGIN;
SELECT immiiq.authenticate(:'amina') \g /dev/null
:counts \gset amina_
SELECT client_id AS target FROM clients ORDER BY since DESC, client_id LIMIT 1 \gset
COMMIT;
\connect - postgres
SELECT concat_ws(', ', m.name, t.role) AS who, m.scope, cardinality(m.modules) || ' of 10' AS modules, clients, cases, messages, documents, invoices
FROM (VALUES (1, 101, 'owner', :ifeoma_clients, :ifeoma_cases, :ifeoma_messages, :ifeoma_documents, :ifeoma_invoices),
             (2, 103, 'leads team Family', :leila_clients, :leila_cases, :leila_messages, :leila_documents, :leila_invoices),
             (3, 110, 'caseworker', :amina_clients, :amina_cases, :amina_messages, :amina_documents, :amina_invoices),
             (4, 114, 'accountant', :margaret_clients, :margaret_cases, :margaret_messages, :margaret_documents, :margaret_invoices),
             (5, 0, 'nobody signed in', :nobody_clients, :nobody_cases, :nobody_messages, :nobody_documents, :nobody_invoices))
     AS t (k, member, role, clients, cases, messages, documents, invoices)
LEFT JOIN immiiq.member m ON m.member_id = generator.id('member', t.member) ORDER BY k;

-- The generator knows how many each must see.
SELECT count(*) FILTER (WHERE team = 2) AS family, count(*) FILTER (WHERE team = 3 AND desk = 1 AND status = 'open') AS caseload,
       count(*) FILTER (WHERE generator.draw(who, 62, 2) = 1) AS billed, count(*) FILTER (WHERE team = 2 AND generator.draw(who, 62, 2) = 1) AS family_billed,
       count(*) FILTER (WHERE team = 3 AND desk = 1 AND status = 'open' AND generator.draw(who, 52, 2) = 1) AS caseload_documents
FROM generator.client(1, :seed, :clients) \gset
:expect(:ifeoma_clients = :clients AND :ifeoma_cases = :clients AND :ifeoma_invoices = :billed, 'the owner sees the whole practice and nothing else') \g /dev/null
:expect(:leila_clients = :family AND :leila_cases = :family AND :leila_invoices = :family_billed, 'a team lead sees the team''s') \g /dev/null
:expect(:amina_clients = :caseload AND :amina_cases = :caseload AND :amina_documents = :caseload_documents AND :amina_invoices = 0, 'a caseworker sees her own') \g /dev/null
:expect(:margaret_clients + :margaret_cases + :margaret_messages + :margaret_documents = 0 AND :margaret_invoices = :billed, 'modules switched off show nothing') \g /dev/null
:expect(:nobody_clients + :nobody_cases + :nobody_messages + :nobody_documents + :nobody_invoices = 0, 'nobody sees nothing') \g /dev/null

\echo 'Amina''s newest clients:'
\connect - practice_app
BEGIN;
SELECT immiiq.authenticate(:'amina') \g /dev/null
\set ECHO queries
SELECT name, latin_name, birth_date, nationality, passport_no, family FROM clients ORDER BY since DESC, client_id LIMIT 6;
\set ECHO none
COMMIT;

\echo '2. Another practice tries'
\echo '-------------------------'
\echo 'Katrin owns Kanzlei Nordlicht. She knows the key of one of Amina''s clients.'
BEGIN;
SELECT immiiq.authenticate(:'katrin') \g /dev/null
\set ECHO queries
SELECT name FROM clients WHERE client_id = :'target';
\set ECHO none
SELECT count(*) AS foreign_rows FROM clients WHERE client_id = :'target' \gset
\set ECHO queries
UPDATE clients SET status = 'closed' WHERE client_id = :'target';
\set ECHO none
\set foreign_updated :ROW_COUNT
\echo UPDATE :foreign_updated
\set ECHO queries
\set ON_ERROR_STOP off
INSERT INTO invoices (org_id, client_id, number, issued_on, amount, payer) VALUES (:'aldgate', :'target', 'R-1', '2026-01-15', 9999, 'x');
\set ON_ERROR_STOP on
\set ECHO none
\set foreign_insert :LAST_ERROR_SQLSTATE
ROLLBACK;
\connect - practice_auditor
\echo 'Her transaction rolled back; the attempt stays:'
\set ECHO queries
SELECT at, actor, role_name, action, object, sqlstate FROM immiiq.denial ORDER BY at DESC LIMIT 1;
\set ECHO none
SELECT count(*) AS denials FROM immiiq.denial WHERE org_id = :'nordlicht' AND member_id = :'katrin_id' AND sqlstate = '42501' AND at >= :'tour_start' \gset
\connect - postgres
:expect(:foreign_rows = 0 AND :foreign_updated = 0, 'another practice''s rows do not exist') \g /dev/null
:expect(:'foreign_insert' = '42501' AND :denials = 1, 'a foreign INSERT is refused and recorded') \g /dev/null

\echo '3. What the DBA sees'
\echo '--------------------'
\echo 'A superuser reads every row, dumps and backups too. This person went to all three practices with one passport:'
SELECT array_agg(generator.id('client', :seed * 1000000000::bigint + n * 1000000 + 7)) AS same_person FROM generate_series(1, 3) n \gset
\set ECHO queries
SELECT o.name AS practice, left(c.name::text, 22) AS name, left(c.birth_date::text, 22) AS birth_date, left(c.passport_no::text, 60) AS passport_no
FROM clients c JOIN immiiq.org o USING (org_id)
WHERE c.client_id = ANY (:'same_person') ORDER BY 1;
\set ECHO none
SELECT count(DISTINCT left(passport_no::text, 70)) AS different, bool_and(name::text LIKE 'iq1:%' AND birth_date::text LIKE 'iq1:%') AS armoured
FROM clients WHERE client_id = ANY (:'same_person') \gset
SELECT name AS same_name, passport_no AS same_passport, lower(regexp_replace(replace(passport_no, ' ', ''), '^(...)(...)', '\1-\2 ')) AS typed FROM generator.client(1, :seed, :clients) WHERE i = 7 \gset
:expect(:different = 3 AND :'armoured', 'the superuser sees envelopes, and cannot link them') \g /dev/null

-- Tables, indexes, the log, WAL: where the server's files can be read, look for what must not be there, and for what is there.
SELECT current_setting('data_directory') AS data \gset
\set readable `test -r :'data'/global/pg_control && echo true || echo false`
\if :readable
CHECKPOINT;
\set hits `grep -raFl -e :'same_passport' -e :'same_name' :'data' | wc -l`
\set controls `grep -raFl 'Kanzlei Nordlicht' :'data' | wc -l`
\echo 'Files of the data directory, WAL included, in which grep finds this passport or name:' :hits '(and the practice''s own name, which is plain:' :controls')'
:expect(:hits = 0 AND :controls > 0, 'no file holds what is sealed') \g /dev/null
\endif
\echo 'Whoever is given immiiq.operate() can come in, as this demo''s loader did, and is on record first:'
\connect - practice_auditor
\set ECHO queries
SELECT kind, login_name, reason, count(*) FROM immiiq.operator_access GROUP BY 1, 2, 3 ORDER BY min(at);
\set ECHO none
SELECT count(*) FILTER (WHERE kind = 'operate') AS operated, count(*) FILTER (WHERE kind = 'impersonate') AS impersonated FROM immiiq.operator_access \gset
\connect - postgres
:expect(:operated >= 5 AND :impersonated >= 5, 'every way in of an operator is on record') \g /dev/null

\echo '4. A passport search among' :clients_text 'clients, however it is typed'
\echo '--------------------------------------------------------------'
\connect - practice_app
BEGIN;
SELECT immiiq.authenticate(:'ifeoma') \g /dev/null
-- As on a connection that has been at work: catalogs and keys are at hand.
SELECT name, birth_date, passport_no, phone FROM clients WHERE passport_no = 'another' \g /dev/null
SELECT name, birth_date, passport_no, phone FROM clients WHERE passport_no = 'a third' \g /dev/null
\set ECHO queries
\timing on
SELECT name, birth_date, passport_no, phone FROM clients WHERE passport_no = :'typed';
\timing off
\pset tuples_only on
EXPLAIN (COSTS OFF) SELECT name, birth_date, passport_no, phone FROM clients WHERE passport_no = :'typed';
\pset tuples_only off
\set ECHO none
SELECT count(*) AS found, min(name::text) AS found_name FROM clients WHERE passport_no = :'typed' \gset
CREATE TEMPORARY TABLE plan (line text) ON COMMIT DROP;
DO $$ DECLARE line text; BEGIN FOR line IN EXPLAIN SELECT 1 FROM clients WHERE passport_no = 'x' LOOP INSERT INTO plan VALUES (line); END LOOP; END $$;
SELECT count(*) AS by_index FROM plan WHERE line LIKE '%Index%clients_org_id_passport_no_key%' \gset
COMMIT;
\connect - postgres
:expect(:found = 1 AND :'found_name' = :'same_name', 'the passport is found, however it is typed') \g /dev/null
:expect(:by_index = 1, 'the search uses the index') \g /dev/null

\echo '5. The audit of a change'
\echo '------------------------'
\connect - practice_app
BEGIN;
SELECT immiiq.authenticate(:'amina') \g /dev/null
\set ECHO queries
UPDATE clients SET phone = '+44 7700 900123' WHERE client_id = :'target';
\set ECHO none
COMMIT;
\connect - postgres
CALL immiiq.seal();
\connect - practice_app
BEGIN;
SELECT immiiq.authenticate(:'ifeoma') \g /dev/null
\echo 'Amina wrote; the owner reads:'
\set ECHO queries
SELECT a.position, m.name AS who, a.table_name, a.operation, a.old_row ->> 'phone' AS before, a.new_row ->> 'phone' AS after, a.state
FROM immiiq.audit_log a LEFT JOIN immiiq.member m USING (member_id) WHERE a.operation <> 'event' ORDER BY a.position DESC LIMIT 1;
\set ECHO none
SELECT a.position AS changed, m.name AS changed_by, a.new_row ->> 'phone' AS changed_to
FROM immiiq.audit_log a LEFT JOIN immiiq.member m USING (member_id) WHERE a.operation <> 'event' ORDER BY a.position DESC LIMIT 1 \gset
COMMIT;
\connect - postgres
:expect(:'changed_by' = 'Amina Warsame' AND :'changed_to' = '+44 7700 900123', 'the audit names who changed what') \g /dev/null

\echo '6. A superuser rewrites history'
\echo '-------------------------------'
SELECT to_char(count(*), 'FM999,999') AS entries_text FROM immiiq.entry \gset
\echo :entries_text 'entries. He switches the guard off and edits the one above; an auditor verifies.'
SELECT e.incarnation, e.txid, e.seq, encode(e.body, 'hex') AS saved, encode(l.hash, 'hex') AS saved_hash FROM immiiq.entry e JOIN immiiq.leaf l USING (org_id, incarnation, txid, seq)
WHERE l.org_id = :'aldgate' AND l.position = :changed \gset
\set ECHO queries
ALTER TABLE immiiq.entry DISABLE TRIGGER ALL;
UPDATE immiiq.entry SET body = set_byte(body, 40, get_byte(body, 40) # 1) WHERE incarnation = :incarnation AND txid = :txid AND seq = :seq;
\set ECHO none
\connect - practice_auditor
\timing on
\set ECHO queries
SELECT * FROM immiiq.verify_audit();
\set ECHO none
\timing off
SELECT count(*) AS found, count(*) FILTER (WHERE org_id = :'aldgate' AND position = :changed) AS found_there FROM immiiq.verify_audit(:'aldgate') \gset
\connect - postgres
\echo 'He corrects the hash, too:'
ALTER TABLE immiiq.leaf DISABLE TRIGGER ALL;
\set ECHO queries
UPDATE immiiq.leaf l SET hash = sha256('\x00' || immiiq.entry_bytes(e)) FROM immiiq.entry e WHERE (e.incarnation, e.txid, e.seq) = (l.incarnation, l.txid, l.seq) AND l.org_id = :'aldgate' AND l.position = :changed;
\set ECHO none
\connect - practice_auditor
\set ECHO queries
SELECT * FROM immiiq.verify_audit(:'aldgate');
\set ECHO none
SELECT count(*) AS found_again FROM immiiq.verify_audit(:'aldgate') \gset
\connect - postgres
UPDATE immiiq.entry SET body = decode(:'saved', 'hex') WHERE incarnation = :incarnation AND txid = :txid AND seq = :seq;
UPDATE immiiq.leaf SET hash = decode(:'saved_hash', 'hex') WHERE org_id = :'aldgate' AND position = :changed;
ALTER TABLE immiiq.entry ENABLE ALWAYS TRIGGER guard_log;
ALTER TABLE immiiq.leaf ENABLE ALWAYS TRIGGER guard_log;
\connect - practice_auditor
\echo 'Put back as it was:'
\set ECHO queries
SELECT count(*) AS problems FROM immiiq.verify_audit();
\set ECHO none
SELECT count(*) AS left_over FROM immiiq.verify_audit(:'aldgate') \gset
\connect - postgres
:expect(:found > 0 AND :found_there > 0, 'verification finds the edited entry and says where') \g /dev/null
:expect(:found_again > 0, 'verification finds that the tree is another') \g /dev/null
:expect(:left_over = 0, 'the log put back is whole') \g /dev/null

\echo '7. Paid is what the payment provider says'
\echo '-----------------------------------------'
\echo 'Ifeoma keeps the secret that her practice shares with the provider, and sends a client to the checkout:'
SELECT 'whsec_' || md5(random()::text) AS secret, 'cs_' || md5(random()::text) AS checkout \gset
\connect - practice_app
BEGIN;
SELECT immiiq.authenticate(:'ifeoma') \g /dev/null
SELECT immiiq.set_secret('stripe', :'secret') \g /dev/null
INSERT INTO immiiq.webhook (provider, secret) VALUES ('stripe', 'stripe') RETURNING webhook_id AS webhook \gset
SELECT invoice_id AS invoice FROM invoices WHERE NOT paid ORDER BY number LIMIT 1 \gset
\set ECHO queries
INSERT INTO payments (invoice_id, checkout) VALUES (:'invoice', :'checkout') RETURNING status;
\set ECHO none
COMMIT;
\echo 'She cannot call it paid, although she owns the practice:'
BEGIN;
SELECT immiiq.authenticate(:'ifeoma') \g /dev/null
\set ECHO queries
\set ON_ERROR_STOP off
UPDATE payments SET status = 'paid' WHERE checkout = :'checkout';
\set ON_ERROR_STOP on
\set ECHO none
\set paid_by_hand :SQLSTATE
ROLLBACK;
\echo 'Nor can who sends an event but has not the secret. The provider can, and once: nobody is signed in here.'
SELECT format('{"id": "evt_%s", "type": "checkout.session.completed", "data": {"object": {"id": "%s", "payment_status": "paid"}}}', :'checkout', :'checkout') AS event \gset
\connect - postgres
SELECT generator.stripe_signature('whsec_of_somebody_else', :'event', now()) AS forged, generator.stripe_signature(:'secret', :'event', now()) AS signed,
       generator.stripe_signature(:'secret', :'event', now() - interval '1 hour') AS late \gset
SELECT status AS at_first FROM payments WHERE checkout = :'checkout' \gset
\connect - practice_app
SELECT verdict AS forged_verdict FROM immiiq.verify_stripe(convert_to(:'event', 'UTF8'), :'forged', :'webhook') \gset
SELECT verdict AS late_verdict FROM immiiq.verify_stripe(convert_to(:'event', 'UTF8'), :'late', :'webhook') \gset
\connect - postgres
SELECT status AS still FROM payments WHERE checkout = :'checkout' \gset
\connect - practice_app
SELECT verdict AS signed_verdict FROM immiiq.verify_stripe(convert_to(:'event', 'UTF8'), :'signed', :'webhook') \gset
SELECT verdict AS again_verdict FROM immiiq.verify_stripe(convert_to(:'event', 'UTF8'), :'signed', :'webhook') \gset
BEGIN;
SELECT immiiq.authenticate(:'ifeoma') \g /dev/null
SELECT status AS at_last FROM payments WHERE checkout = :'checkout' \gset
COMMIT;
\connect - postgres
SELECT event, verdict, status FROM (VALUES (1, 'signed by somebody else', :'forged_verdict', :'still'), (2, 'of an hour ago', :'late_verdict', :'still'),
    (3, 'signed by the provider', :'signed_verdict', :'at_last'), (4, 'the same once more', :'again_verdict', :'at_last')) AS t (k, event, verdict, status) ORDER BY k;
:expect(:'paid_by_hand' = '42501', 'nobody of the practice writes the status of a payment') \g /dev/null
:expect(:'at_first' = 'open' AND :'forged_verdict' = 'denied' AND :'late_verdict' = 'denied' AND :'still' = 'open', 'an event that is not verified changes no payment') \g /dev/null
:expect(:'signed_verdict' = 'ok' AND :'again_verdict' = 'duplicate' AND :'at_last' = 'paid', 'a verified event settles the payment, once') \g /dev/null

SELECT to_char(extract(epoch FROM clock_timestamp() - :'tour_start'::timestamptz), 'FM990.0') AS tour_s \gset
\echo
\echo 'Loaded in' :load_s 's, toured in' :tour_s 's. Every answer above was checked.'
\echo
\echo 'Look further:'
\echo '  make psql                  the same data, as Ifeoma; make psql MEMBER=amina, as somebody else'
\echo '  demo/schema.sql            how the practice''s tables are written'
\echo '  docs/architecture.md, docs/threat-model.md          how it holds, and what it does not hold'
\echo '  make check                 every test'
