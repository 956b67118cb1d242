-- Whoever rewrites the log with every right there is, the root key apart, is found, and where.
-- Each attack runs as a superuser with the guards switched off, in a transaction that is rolled back.
\i test/pgtap/setup.psql
-- What operate() and reading leave in the log would stand between the entries that are counted here; event.sql is about it.
ALTER TABLE immiiq.journal DISABLE TRIGGER log_journal;
ALTER TABLE immiiq.field_opened DISABLE TRIGGER log_opened;
CALL immiiq.seal();
SELECT plan(71);

CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
SELECT FROM immiiq.protect('note', 'cases') \gset
GRANT INSERT ON note TO regress_immiiq_app;
\set gamma 'ca3a0000-0000-4000-8000-000000000000'
CALL immiiq.seal(); -- the DDL, so that nothing follows Gamma's batch in its round
SELECT immiiq.create_org('Gamma', :'gamma') AS ignored \gset
CALL immiiq.seal();
-- Four batches of Alpha from here on, of 3, 2, 1 and 1 entries; one of Beta between them.
SELECT max(position) AS base FROM immiiq.leaf WHERE org_id = :'alpha' \gset
INSERT INTO note VALUES (:'alpha', 1, 'one'), (:'alpha', 2, 'two'), (:'alpha', 3, 'three');
CALL immiiq.seal();
INSERT INTO note VALUES (:'alpha', 4, 'four'), (:'alpha', 5, 'five');
CALL immiiq.seal();
SET SESSION AUTHORIZATION regress_immiiq_app; -- with a member, a session and an address
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token', '192.0.2.7', 'agent') \gset
INSERT INTO note VALUES (:'beta', 6, 'six');
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
INSERT INTO note VALUES (:'alpha', 7, 'seven');
CALL immiiq.seal();
INSERT INTO note VALUES (:'alpha', 8, 'eight');
CALL immiiq.seal();

-- The entry at the n-th position of Alpha after the base.
CREATE TEMPORARY TABLE place AS
SELECT l.position - :base AS n, l.org_id, l.position, l.txid, l.incarnation, l.seq FROM immiiq.leaf l WHERE org_id = :'alpha' AND position > :base;
SELECT is((SELECT count(*) FROM place), 7::bigint, 'seven entries are sealed');
SELECT is((SELECT count(*) FROM immiiq.batch WHERE org_id = :'alpha' AND last > :base), 4::bigint, 'in four batches');
SELECT batch_no AS batch2 FROM immiiq.batch WHERE org_id = :'alpha' AND first = :base + 4 \gset
SELECT max(batch_no) AS batches FROM immiiq.batch \gset

-- Every problem, positions counted from the base: 'error alpha 3: entry …'.
CREATE FUNCTION problems(wanted uuid DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    base int8 := current_setting('test.base');
BEGIN
    RETURN (SELECT string_agg(format('%s %s %s: %s', severity,
                CASE org_id::text WHEN 'a1fa0000-0000-4000-8000-000000000000' THEN 'alpha'
                    WHEN 'be7a0000-0000-4000-8000-000000000000' THEN 'beta'
                    WHEN 'ca3a0000-0000-4000-8000-000000000000' THEN 'gamma' ELSE coalesce(org_id::text, '-') END,
                coalesce(CASE org_id::text WHEN 'a1fa0000-0000-4000-8000-000000000000' THEN "position" - base ELSE "position" END::text, '-'),
                problem), E'\n' ORDER BY ordinality)
            FROM immiiq.verify_audit(wanted, rows => false) WITH ORDINALITY);
END
$$;
SELECT set_config('test.base', :base::text, false) \gset ignored_
CREATE FUNCTION unguard() RETURNS void LANGUAGE plpgsql AS $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['entry', 'leaf', 'batch', 'tree_head', 'log_key', 'tree', 'seal_state', 'node'] LOOP
        EXECUTE format('ALTER TABLE immiiq.%I DISABLE TRIGGER USER', name);
    END LOOP;
END
$$;
-- SHA-256(0x00 || body), as a superuser who recomputes hashes has it.
CREATE FUNCTION leaf_hash(body bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT sha256('\x00'::bytea || body) $$;

-- Makes the leaf of the n-th entry fit what stands in its row now.
CREATE FUNCTION forge_leaf(place int8) RETURNS void LANGUAGE sql AS $$
    UPDATE immiiq.leaf l SET hash = leaf_hash(immiiq.entry_bytes(e)) FROM immiiq.entry e, place p
    WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND l.org_id = p.org_id AND l.position = p.position AND n = place
$$;
-- Changes one byte of the body of the n-th entry, and its leaf so that it fits. A body is, from 0: operation, layout (8), key (4), row (8),
-- commitment (32), who with its length, origin with its length, image.
CREATE FUNCTION forge(place int8, byte int) RETURNS void LANGUAGE sql AS $$
    UPDATE immiiq.entry e SET body = set_byte(body, byte, get_byte(body, byte) # 1)
    FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = place;
    SELECT forge_leaf(place)
$$;

SELECT is(problems(), NULL, 'the log is whole before');

---- One entry

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET body = set_byte(body, length(body) - 20, get_byte(body, length(body) - 20) # 1)
FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 2;
SELECT is(problems(), 'error alpha 2: entry is not the one that was sealed: its hash differs from the leaf', 'an edited body');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET body = set_byte(body, length(body) - 20, get_byte(body, length(body) - 20) # 1)
FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 2;
UPDATE immiiq.leaf l SET hash = leaf_hash(immiiq.entry_bytes(e)) FROM immiiq.entry e, place p
WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND l.org_id = e.org_id AND l.position = p.position AND n = 2;
SELECT matches(problems(), '^error alpha 2: image of the entry does not open under the organisation''s audit key
error alpha 1: leaves \d+ to \d+ do not give the root of batch \d+; later roots of this organisation were not checked$',
    'an edited body and its leaf made to fit: the image does not open and the root does not fit');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET at = at - interval '1 day' FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 5;
SELECT is(problems(), 'error alpha 5: entry is not the one that was sealed: its hash differs from the leaf', 'another time');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET org_id = :'beta' FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 5;
SELECT is(problems(), 'error alpha 5: entry is not the one that was sealed: its hash differs from the leaf', 'another organisation');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET context = 7 FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 5;
SELECT is(problems(), 'error alpha 5: entry is not the one that was sealed: its hash differs from the leaf', 'another context');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.entry e USING place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 5;
SELECT matches(problems(), '^error alpha 5: entry of transaction \d+, number 2 is missing$', 'a deleted entry');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.entry e USING place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 4;
SELECT matches(problems(), '^error alpha 4: entry of transaction \d+, number 1 is missing
error alpha 5: entry of the same transaction that says who is missing$', 'a deleted entry that says who');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
WITH two AS (
    SELECT e.*, p.n FROM immiiq.entry e JOIN place p ON (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) WHERE n IN (2, 5)
)
UPDATE immiiq.entry e SET body = (SELECT o.body FROM two o WHERE o.n <> t.n)
FROM two t WHERE (e.incarnation, e.txid, e.seq) = (t.incarnation, t.txid, t.seq);
SELECT is(problems(), 'error alpha 2: entry is not the one that was sealed: its hash differs from the leaf
error alpha 5: entry is not the one that was sealed: its hash differs from the leaf', 'two bodies swapped');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET txid = e.txid + 1000000 FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT matches(problems(), '^error alpha 7: entry of transaction \d+, number 1 is missing
error alpha -: entry of transaction \d+, number 1 that waits for its seal: image of the entry does not open under the organisation''s audit key$',
    'an entry moved to another transaction');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf l SET txid = e.txid + 1000000 FROM immiiq.entry e, place p
WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND l.org_id = e.org_id AND l.position = p.position AND n = 7;
UPDATE immiiq.entry e SET txid = e.txid + 1000000 FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT is(problems(), 'error alpha 7: entry is not the one that was sealed: its hash differs from the leaf', 'an entry and its leaf moved to another transaction');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf l SET seq = 99 FROM place p WHERE l.org_id = :'alpha' AND l.position = p.position AND n = 5;
UPDATE immiiq.entry e SET seq = 99 FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 5;
SELECT is(problems(), 'error alpha 5: entry is not the one that was sealed: its hash differs from the leaf', 'an entry and its leaf moved within the transaction');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf l SET incarnation = 7 FROM place p WHERE l.org_id = :'alpha' AND l.position = p.position AND n = 7;
UPDATE immiiq.entry e SET incarnation = 7 FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT is(problems(), 'error alpha 7: entry is not the one that was sealed: its hash differs from the leaf', 'an entry and its leaf moved to another life of the database');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf l SET month = l.month + interval '1 month' FROM place p WHERE l.org_id = :'alpha' AND l.position = p.position AND n = 7;
UPDATE immiiq.entry e SET month = e.month + interval '1 month' FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT is(problems(), 'error alpha 7: entry stands in a later month than that of its change', 'an entry moved to a later month, so that it be pruned later');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
ALTER TABLE immiiq.entry ALTER body DROP NOT NULL;
UPDATE immiiq.entry e SET body = NULL FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 4;
SELECT is(problems(), 'error alpha 4: entry has no body, a malformed one or no layout
error alpha 5: entry of the same transaction that says who is missing', 'a body taken out, of an entry that says who');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET body = body || '\x00' FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 4;
SELECT is(problems(), 'error alpha 4: entry is not the one that was sealed: its hash differs from the leaf', 'a byte behind a body');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET body = (SELECT o.body FROM immiiq.entry o JOIN place q ON (o.incarnation, o.txid, o.seq) = (q.incarnation, q.txid, q.seq) WHERE q.n = 5)
FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 4;
SELECT is(problems(), 'error alpha 4: entry is not the one that was sealed: its hash differs from the leaf
error alpha 5: entry of the same transaction that says who is missing', 'a body that does not say who in the place of the one that does');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET body = (SELECT o.body FROM immiiq.entry o JOIN immiiq.leaf q ON (o.incarnation, o.txid, o.seq) = (q.incarnation, q.txid, q.seq)
    WHERE q.org_id = :'beta' ORDER BY q.position DESC LIMIT 1)
FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 4;
SELECT is(problems(), 'error alpha 4: entry is not the one that was sealed: its hash differs from the leaf
error alpha 5: columns of the leaf differ from its entry', 'somebody of another organisation in the place of who wrote');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
SELECT forge(7, 53 + 1 + get_byte(e.body, 53) + 1 + 5) FROM immiiq.entry e JOIN place p USING (incarnation, txid, seq) WHERE n = 7 \gset ignored_
SELECT matches(problems(), '^error alpha 7: origin of the entry does not open under the organisation''s audit key
error alpha 7: leaves \d+ to \d+ do not give the root', 'another origin: address, agent, application');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
SELECT forge(7, 53 + 1 + 5) \gset ignored_
SELECT matches(problems(), '^error alpha 7: image of the entry does not open', 'another member, session or role');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
SELECT forge(7, 21 + 3) \gset ignored_
SELECT matches(problems(), '^error alpha 7: image of the entry does not open', 'another commitment of the columns: the image is bound to it');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
SELECT forge(7, 13 + 3) \gset ignored_
SELECT matches(problems(), '^error alpha 7: image of the entry does not open', 'another row named in the body');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET at = at - interval '1 day' FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT forge_leaf(7) \gset ignored_
SELECT matches(problems(), '^error alpha 7: image of the entry does not open', 'another time, and a leaf made to fit');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET org_id = :'beta' FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT forge_leaf(7) \gset ignored_
SELECT matches(problems(), '^error alpha 7: entry is of another organisation', 'another organisation, and a leaf made to fit');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET context = 2 FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 3;
SELECT forge_leaf(3) \gset ignored_
SELECT matches(problems(), '^error alpha 3: entry of the same transaction that says who is missing', 'another context, and a leaf made to fit');
ROLLBACK;

---- What an entry leaves to its layout

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET body = set_byte(body, 4, get_byte(body, 4) # 1) FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT is(problems(), 'error alpha 7: entry has no body, a malformed one or no layout', 'a layout that is not there');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET body = overlay(e.body PLACING (SELECT name FROM immiiq.layout WHERE bytes LIKE '\x06'::bytea || 'immiiq'::bytea || '%' LIMIT 1) FROM 2)
FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT is(problems(), 'error alpha 7: entry is not the one that was sealed: its hash differs from the leaf', 'the layout of another table');
SELECT forge_leaf(7) \gset ignored_
SELECT matches(problems(), '^error alpha 7: image of the entry does not open', 'and a leaf made to fit');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
ALTER TABLE immiiq.layout DISABLE TRIGGER USER;
UPDATE immiiq.layout SET bytes = overlay(bytes PLACING 'vote'::bytea FROM position('note'::bytea IN bytes)) WHERE position('note'::bytea IN bytes) > 0;
SELECT matches(problems(), '^(error (alpha|beta) \d+: entry has no body, a malformed one or no layout\n?){8}$', 'a layout that names another table or column');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
ALTER TABLE immiiq.layout DISABLE TRIGGER USER;
WITH other AS (
    UPDATE immiiq.layout SET bytes = overlay(bytes PLACING 'vote'::bytea FROM position('note'::bytea IN bytes)), name = substr(sha256(overlay(bytes PLACING 'vote'::bytea FROM position('note'::bytea IN bytes))), 1, 8)
    WHERE position('note'::bytea IN bytes) > 0 RETURNING name
)
UPDATE immiiq.entry e SET body = overlay(e.body PLACING other.name FROM 2) FROM place p, other WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq);
SELECT matches(problems(), '^(error alpha \d+: entry is not the one that was sealed: its hash differs from the leaf\n?){7}error beta \d+: entry has no body', 'and every entry with it');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry e SET body = immiiq.entry_bytes(e) FROM place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT is(problems(), 'error alpha 7: entry is not the one that was sealed: its hash differs from the leaf', 'the very bytes that were hashed, in the place of the body');
ROLLBACK;

---- An entry put in

BEGIN;
SELECT unguard() \gset ignored_
INSERT INTO immiiq.entry SELECT e.txid, e.at, e.org_id, e.incarnation, 99, e.context, e.month, e.body
FROM immiiq.entry e, place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 5;
SELECT matches(problems(), '^error alpha -: entry of transaction \d+, number 99 was never sealed and never will be: it was put in, or its leaf taken out$',
    'an entry put in among old ones');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
INSERT INTO immiiq.entry SELECT e.txid + 1000000, e.at, e.org_id, e.incarnation, e.seq, e.context, e.month, e.body
FROM immiiq.entry e, place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT matches(problems(), '^error alpha -: entry of transaction \d+, number 1 that waits for its seal: image of the entry does not open under the organisation''s audit key$',
    'a copy put in ahead of the sealer');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
INSERT INTO immiiq.entry SELECT e.txid + 1000000, e.at, :'beta', e.incarnation, e.seq, e.context, e.month, e.body
FROM immiiq.entry e, place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT matches(problems(), '^error beta -: entry of transaction \d+, number 1 that waits for its seal: entry is sealed under a key that is not the organisation''s$',
    'an entry of Alpha put into Beta''s log: its key is not Beta''s');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
INSERT INTO immiiq.entry VALUES (1::int8 << 40, now(), :'alpha', immiiq.audit_incarnation(), 1, 1, date_trunc('month', now()), '\x01');
SELECT matches(problems(), '^error alpha -: entry of transaction \d+, number 1 that waits for its seal: entry has no body, a malformed one or no layout$', 'nonsense put in');
ROLLBACK;

---- Leaves

BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.leaf l USING place p WHERE l.org_id = :'alpha' AND l.position = p.position AND n = 5;
SELECT matches(problems(), '^error alpha 5: leaves \d+ to \d+ are missing
error alpha -: entry of transaction \d+, number 2 was never sealed and never will be: it was put in, or its leaf taken out$', 'a leaf taken out');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf SET position = -position WHERE org_id = :'alpha' AND position IN (:base + 4, :base + 5);
UPDATE immiiq.leaf SET position = 2 * :base + 9 + position WHERE org_id = :'alpha' AND position < 0;
SELECT matches(problems(), format('^error alpha 4: leaves \d+ to \d+ do not give the root of batch %s; later roots of this organisation were not checked$', :batch2),
    'two leaves swapped');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf l SET (txid, seq, hash) = (SELECT txid, seq, hash FROM immiiq.leaf WHERE org_id = :'alpha' AND position = :base + 1)
WHERE org_id = :'alpha' AND position = :base + 2;
SELECT matches(problems(), 'error alpha 1: leaves \d+ to \d+ do not give the root of batch \d+', 'a leaf that stands for another entry: the root');
SELECT matches(problems(), 'error alpha 2: leaf stands for the same entry as the one at position \d+', 'and that it stands for it twice');
SELECT matches(problems(), 'error alpha -: entry of transaction \d+, number 2 was never sealed', 'and the entry that has lost its leaf');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf SET org_id = :'beta', position = (SELECT max(position) + 1 FROM immiiq.leaf WHERE org_id = :'beta')
WHERE org_id = :'alpha' AND position = :base + 7;
SELECT matches(problems(), '^error alpha 7: log was cut: batch \d+ ends at position \d+, the last leaf is \d+
error beta \d+: entry is of another organisation
error beta \d+: leaves \d+ to \d+ are in no batch$', 'a leaf moved to another organisation');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf SET member_id = :'gamma' WHERE org_id = :'alpha' AND position = :base + 2;
UPDATE immiiq.leaf SET session_id = :'gamma' WHERE org_id = :'alpha' AND position = :base + 3;
UPDATE immiiq.leaf SET address_tag = 7 WHERE org_id = :'alpha' AND position = :base + 4;
UPDATE immiiq.leaf SET row_tag = 7 WHERE org_id = :'alpha' AND position = :base + 5;
UPDATE immiiq.leaf SET key_id = 7 WHERE org_id = :'alpha' AND position = :base + 6;
UPDATE immiiq.leaf SET at = at - interval '1 day' WHERE org_id = :'alpha' AND position = :base + 7;
SELECT is(problems(), (SELECT string_agg(format('error alpha %s: columns of the leaf differ from its entry', n), E'\n') FROM generate_series(2, 7) n),
    'what searches go by, changed: the member, the session, the address, the row, the client, the time');
ROLLBACK;

SELECT max(position) AS beta_last FROM immiiq.leaf WHERE org_id = :'beta' \gset
BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf SET member_id = :'gamma' WHERE org_id = :'beta' AND position = :beta_last;
SELECT is(problems(), format('error beta %s: columns of the leaf differ from its entry', :beta_last), 'another member in a leaf that names one');
UPDATE immiiq.leaf SET member_id = :'beta_owner', session_id = :'gamma' WHERE org_id = :'beta' AND position = :beta_last;
SELECT is(problems(), format('error beta %s: columns of the leaf differ from its entry', :beta_last), 'another session');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf SET address_tag = address_tag # 1 WHERE org_id = :'beta' AND position = :beta_last;
SELECT is(problems(), format('error beta %s: columns of the leaf differ from its entry', :beta_last), 'another address');
UPDATE immiiq.leaf SET address_tag = NULL WHERE org_id = :'beta' AND position = :beta_last;
SELECT is(problems(), format('error beta %s: columns of the leaf differ from its entry', :beta_last), 'no address');
ROLLBACK;
BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.leaf SET member_id = NULL WHERE org_id = :'beta' AND position = :beta_last;
SELECT is(problems(), format('error beta %s: columns of the leaf differ from its entry', :beta_last), 'no member');
UPDATE immiiq.leaf SET member_id = :'beta_owner', session_id = NULL WHERE org_id = :'beta' AND position = :beta_last;
SELECT is(problems(), format('error beta %s: columns of the leaf differ from its entry', :beta_last), 'no session');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
INSERT INTO immiiq.leaf SELECT org_id, -position, txid, incarnation, seq, month, hash FROM immiiq.leaf WHERE org_id = :'alpha' AND position = :base + 1;
SELECT matches(problems(), 'error alpha -: leaf has the impossible position -\d+', 'a leaf before the first');
ROLLBACK;

---- The tail

BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.leaf WHERE org_id = :'alpha' AND position = :base + 7;
DELETE FROM immiiq.entry e USING place p WHERE (e.incarnation, e.txid, e.seq) = (p.incarnation, p.txid, p.seq) AND n = 7;
SELECT matches(problems(), '^error alpha 7: log was cut: batch \d+ ends at position \d+, the last leaf is \d+$', 'a tail cut off entries and leaves');
DELETE FROM immiiq.batch WHERE org_id = :'alpha' AND last = :base + 7;
SELECT is(problems(), format('error - -: log was cut: a signed head covers %s batches, the last one is %s', :batches, :batches - 1), 'a tail cut off batches too');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.batch WHERE batch_no = :batch2;
SELECT matches(problems(), format('error alpha 4: batch %s begins at position \d+ instead of \d+', :batch2 + 2), 'a batch taken out: the organisation''s next one');
SELECT matches(problems(), format('error - -: batches %s to %s are missing', :batch2, :batch2), 'and the gap');
ROLLBACK;

-- Gamma's log is one entry: its root is its leaf, so that a superuser can recompute it all
BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.entry SET body = set_byte(body, length(body) - 1, get_byte(body, length(body) - 1) # 1) WHERE org_id = :'gamma';
UPDATE immiiq.leaf l SET hash = leaf_hash(immiiq.entry_bytes(e)) FROM immiiq.entry e WHERE e.org_id = :'gamma' AND l.org_id = :'gamma';
UPDATE immiiq.batch b SET org_root = l.hash FROM immiiq.leaf l WHERE l.org_id = :'gamma' AND b.org_id = :'gamma';
SELECT batch_no AS gamma_batch, batch_no + 1 AS next_batch FROM immiiq.batch WHERE org_id = :'gamma' \gset
SELECT matches(problems(), format('^error gamma 1: image of the entry does not open under the organisation''s audit key
error - -: batches \d+ to %s do not give the signed root of %s batches; later roots were not checked$', :gamma_batch, :gamma_batch),
    'a log rewritten with all its hashes: the signed root does not fit');
SELECT alike(problems(:'alpha'), '%do not give the signed root%', 'the database''s tree is checked for one organisation too');
SELECT unalike(problems(:'alpha'), '%gamma%', 'but another organisation''s entries are not');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.batch SET at = at - interval '1 day' WHERE batch_no = :batch2;
SELECT matches(problems(), format('^error - -: batches %s to %s do not give the signed root of %s batches; later roots were not checked$', :batch2, :batch2, :batch2),
    'another time in a batch');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.tree_head WHERE size >= :batch2;
UPDATE immiiq.batch SET at = at - interval '1 day' WHERE batch_no = :batch2;
SELECT matches(problems(), format('^error beta \d+: batch %s does not name the root of the batches before it; later roots were not checked
error - -: batches %s to %s are under no signed head$', :batch2 + 1, :batch2, :batches), 'another time in a batch, the heads above it taken out');
ROLLBACK;

---- Heads and keys

BEGIN;
SELECT unguard() \gset ignored_
DELETE FROM immiiq.tree_head WHERE size = :batches;
SELECT is(problems(), format('error - -: batches %s to %s are under no signed head', :batches, :batches), 'the last head taken out');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.tree_head SET root = sha256(root) WHERE size = :batches;
SELECT is(problems(), format('error - -: head of %1$s batches has a signature that does not hold
error - -: batches %1$s to %1$s do not give the signed root of %1$s batches; later roots were not checked', :batches), 'another root in a head');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.tree_head h SET signature = (SELECT signature FROM immiiq.tree_head WHERE size = :batches - 1) WHERE size = :batches;
SELECT is(problems(), format('error - -: head of %s batches has a signature that does not hold', :batches), 'the signature of another head');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.tree_head SET key_hash = key_hash + 1 WHERE size = :batches;
SELECT is(problems(), format('error - -: head of %s batches is signed by a key that the log does not know', :batches), 'a head under an unknown key');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.tree_head SET signature = signature || '\x00' WHERE size = :batches;
SELECT is(problems(), format('error - -: head of %s batches has a signature that does not hold', :batches), 'a signature with a byte behind it');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.log_key SET public_key = set_byte(public_key, 0, get_byte(public_key, 0) # 1);
SELECT matches(problems(), format('head of %s batches is signed by a key that the log does not know', :batches), 'another public key under the same hash');
ROLLBACK;

BEGIN;
SELECT unguard() \gset ignored_
UPDATE immiiq.log_key SET origin = 'example.com/log';
SELECT matches(problems(), format('head of %s batches is signed by a key that the log does not know', :batches), 'another name of the log');
ROLLBACK;

-- a key of the attacker's own: RFC 8037's, with the name that C2SP gives it
BEGIN;
SELECT unguard() \gset ignored_
WITH k AS (
    SELECT origin, '\xd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'::bytea AS public FROM immiiq.log_key
), h AS (
    SELECT *, ('x' || encode(substr(sha256(convert_to(origin, 'UTF8') || '\x0a01' || public), 1, 4), 'hex'))::bit(32)::int4 AS hash FROM k
), i AS (
    INSERT INTO immiiq.log_key SELECT hash, public, origin, now() FROM h RETURNING key_hash
)
UPDATE immiiq.tree_head SET key_hash = i.key_hash FROM i WHERE size = :batches;
SELECT is(problems(), format('error - -: head of %s batches is signed by a key that is not this installation''s', :batches), 'a head under a key of the attacker''s own');
ROLLBACK;

---- What the sealer remembers

BEGIN;
ALTER TABLE immiiq.seal_state DISABLE TRIGGER USER;
UPDATE immiiq.seal_state SET horizon = horizon + 1000000;
ALTER TABLE immiiq.seal_state ENABLE ALWAYS TRIGGER guard_log;
COMMIT;
INSERT INTO note VALUES (:'alpha', 91);
SELECT matches(problems(), 'error alpha -: entry of transaction \d+, number 1 was never sealed and never will be', 'a horizon pushed ahead, so that entries be passed over');
CALL immiiq.seal();
SELECT is(problems(), NULL, 'the next round notices and seals what was passed over');
BEGIN;
ALTER TABLE immiiq.tree DISABLE TRIGGER USER;
DELETE FROM immiiq.tree;
ALTER TABLE immiiq.tree ENABLE ALWAYS TRIGGER guard_log;
COMMIT;
INSERT INTO note VALUES (:'alpha', 92), (:'beta', 93);
CALL immiiq.seal();
SELECT is(problems(), NULL, 'frontiers that are gone are made anew');

SELECT * FROM finish();
