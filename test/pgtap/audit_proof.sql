-- Checkpoints, proofs, witnesses and exports: their shapes, and who may have them. test/t/061_audit_verify.pl verifies them.
\i test/pgtap/setup.psql
-- What operate() and reading leave in the log would stand between the entries that are counted here; event.sql is about it.
ALTER TABLE immiiq.journal DISABLE TRIGGER log_journal;
ALTER TABLE immiiq.field_opened DISABLE TRIGGER log_opened;
CALL immiiq.seal();
SELECT plan(32);

CREATE TABLE note (org_id uuid NOT NULL, note_id int PRIMARY KEY, body text);
SELECT FROM immiiq.protect('note', 'cases') \gset
GRANT SELECT, INSERT ON note TO regress_immiiq_app;
SELECT is(immiiq.prove_entry(:'alpha', NULL), NULL, 'no position, no proof');
INSERT INTO note SELECT :'alpha', n FROM generate_series(1, 700) n;
CALL immiiq.seal();
SELECT max(position) AS top FROM immiiq.leaf WHERE org_id = :'alpha' \gset
SELECT max(size) AS batches FROM immiiq.tree_head \gset

---- Checkpoints

SELECT matches(immiiq.checkpoint(), format(E'^(immiiq/[0-9a-f]{32})\n%s\n[A-Za-z0-9+/]{43}=\n\n\u2014 \\1 [A-Za-z0-9+/]{91}=\n$', :batches), 'a checkpoint is a signed note');
SELECT is(immiiq.checkpoint_of(:batches + 1), NULL, 'there is none of a size that nobody signed');
SELECT matches(immiiq.log_verifier(), '^immiiq/[0-9a-f]{32}\+[0-9a-f]{8}\+AQ?[A-Za-z0-9+/]+$', 'the verifier key reads name+hash+key');
SELECT ok(immiiq.verify_ed25519(k.public_key, convert_to(split_part(immiiq.checkpoint(), E'\n\n', 1) || E'\n', 'UTF8'), h.signature), 'its key verifies the note')
FROM immiiq.tree_head h JOIN immiiq.log_key k USING (key_hash) WHERE size = :batches;
SELECT ok(NOT immiiq.verify_ed25519(k.public_key, 'another', h.signature), 'and nothing else')
FROM immiiq.tree_head h JOIN immiiq.log_key k USING (key_hash) WHERE size = :batches;

---- Paths against a recursion in SQL

CREATE FUNCTION root_of(hashes bytea[]) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE n int := cardinality(hashes); k int := 1;
BEGIN
    IF n = 1 THEN RETURN hashes[1]; END IF;
    WHILE k * 2 < n LOOP k := k * 2; END LOOP;
    RETURN sha256('\x01'::bytea || root_of(hashes[1:k]) || root_of(hashes[k + 1:n]));
END
$$;
CREATE FUNCTION path_of(hashes bytea[], i int) RETURNS bytea[] LANGUAGE plpgsql AS $$
DECLARE n int := cardinality(hashes); k int := 1;
BEGIN
    IF n = 1 THEN RETURN '{}'; END IF;
    WHILE k * 2 < n LOOP k := k * 2; END LOOP;
    IF i < k THEN RETURN path_of(hashes[1:k], i) || root_of(hashes[k + 1:n]); END IF;
    RETURN path_of(hashes[k + 1:n], i - k) || root_of(hashes[1:k]);
END
$$;
SELECT array_agg(hash ORDER BY position) AS leaves FROM immiiq.leaf WHERE org_id = :'alpha' \gset
SELECT is(root_of(:'leaves'), (SELECT org_root FROM immiiq.batch WHERE org_id = :'alpha' AND last = :top), 'the recursion gives the signed root');
SELECT ok(bool_and(immiiq.tree_path(:'alpha', i, :top) = path_of(:'leaves', i)), 'paths are those of RFC 6962')
FROM unnest(ARRAY[0, 1, 255, 256, 511, 512, 699, :top - 1]) AS i;
SELECT is((SELECT count(*) FROM immiiq.node WHERE org_id = :'alpha'), (:top / 256)::bigint, 'every 256 leaves leave a node');
SELECT throws_ok(format('SELECT immiiq.tree_path(%L, %s, %s)', :'alpha', :top, :top), '22023', NULL, 'there is no path of a leaf that is not there');
SELECT throws_ok(format('SELECT immiiq.tree_path(%L, 0, %s)', :'alpha', :top + 5000), 'XX001', NULL, 'nor in a tree larger than there is');
SELECT throws_ok('SELECT immiiq.prove_consistency(0)', '22023', NULL, 'nothing is consistent with the empty log');
SELECT is(immiiq.prove_consistency(:batches), '', 'a log is consistent with itself');

---- Proofs of entries

SELECT matches(immiiq.prove_entry(:'alpha', 300), E'^c2sp.org/tlog-proof@v1\nextra [A-Za-z0-9+/=]+\nindex \\d+\n([A-Za-z0-9+/]{43}=\n)*\nimmiiq/[0-9a-f]{32}\n', 'the proof of an entry is a tlog-proof');
SELECT ok(octet_length(immiiq.prove_entry(:'alpha', 300)) <= 3072, 'within 3 KB');
SELECT throws_ok(format('SELECT immiiq.prove_entry(%L, %s)', :'alpha', p), '22023', NULL, 'not of position ' || p) FROM unnest(ARRAY[0, -1, :top + 1]) AS p;

---- Who may

SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok(format('SELECT immiiq.prove_entry(%L, 1)', :'alpha'), '42501', NULL, 'the application without identity proves nothing');
SELECT throws_ok(format('SELECT immiiq.export_audit(%L)', :'alpha'), '42501', NULL, 'nor exports');
SELECT throws_ok('SELECT immiiq.add_witness($$x$$)', '42501', NULL, 'nor names witnesses');
SELECT throws_ok('SELECT immiiq.add_cosignature($$x$$)', '42501', NULL, 'nor brings cosignatures');
SELECT throws_ok(format('SELECT immiiq.tree_path(%L, 0, 1)', :'alpha'), '42501', NULL, 'nor reads the trees');
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token') \gset
SELECT throws_ok(format('SELECT immiiq.prove_entry(%L, 1)', :'alpha'), '42501', NULL, 'another organisation''s owner proves nothing of Alpha''s');
SELECT throws_ok(format('SELECT immiiq.export_audit(%L)', :'alpha'), '42501', NULL, 'nor exports it');
SELECT ok(immiiq.prove_entry(:'beta', 1) IS NOT NULL, 'but of their own');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_lead_token') \gset
SELECT throws_ok(format('SELECT immiiq.export_audit(%L)', :'alpha'), '42501', NULL, 'a member with scope team exports nothing');
COMMIT;
RESET SESSION AUTHORIZATION;
SET ROLE regress_immiiq_auditor;
SELECT ok(immiiq.prove_entry(:'alpha', 1) IS NOT NULL, 'an auditor proves entries of any organisation');
SELECT is((SELECT count(*) FROM immiiq.export_audit(:'alpha') AS line WHERE line LIKE '%"columns":[%'), 0::bigint, 'and exports them unopened');
SELECT throws_ok('SELECT immiiq.add_witness($$x$$)', '42501', NULL, 'but names no witness');
RESET ROLE;

---- Witnesses

SELECT throws_ok('SELECT immiiq.add_witness($$example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k$$)', '22023', NULL, 'the key of a log is not that of a witness');
SELECT throws_ok('SELECT immiiq.add_witness($$example.com/foo+530d903a+BOkyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k$$)', '22023', NULL, 'a hash must be that of name and key');

SELECT * FROM finish();
