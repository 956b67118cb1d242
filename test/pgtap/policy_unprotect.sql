-- unprotect() restores exactly: everything that the catalog says of tables of many kinds is the same before protect() and after unprotect().
\i test/pgtap/setup.psql
SELECT plan(8);

CREATE SCHEMA firm;
CREATE FUNCTION firm.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
-- With things of its own: options, a restrictive policy, a trigger for replicas, rights on columns, comments, statistics, an identity for replication.
CREATE TABLE firm.client (id uuid PRIMARY KEY, org_id uuid DEFAULT immiiq.current_org(), team_id uuid, assignee_id uuid, office_id uuid, name text NOT NULL, email text UNIQUE) WITH (fillfactor = 70);
CREATE INDEX ON firm.client (org_id, team_id);
CREATE STATISTICS firm.of_its_own ON name, email FROM firm.client;
ALTER TABLE firm.client ENABLE ROW LEVEL SECURITY, REPLICA IDENTITY FULL;
CREATE POLICY no_ghosts ON firm.client AS RESTRICTIVE FOR SELECT TO regress_immiiq_app USING (name <> 'ghost');
CREATE TRIGGER stamp BEFORE UPDATE ON firm.client FOR EACH ROW EXECUTE FUNCTION firm.stamp();
ALTER TABLE firm.client ENABLE REPLICA TRIGGER stamp;
COMMENT ON TABLE firm.client IS 'who we act for';
COMMENT ON COLUMN firm.client.org_id IS 'whose it is';
GRANT SELECT (id, name), UPDATE (name) ON firm.client TO regress_immiiq_app WITH GRANT OPTION;
-- Keys of each type; foreign keys with all that one can say of them.
CREATE TABLE firm.matter (id bigint PRIMARY KEY, org_id uuid NOT NULL, client_id uuid CONSTRAINT acts_for REFERENCES firm.client ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    above bigint REFERENCES firm.matter ON DELETE CASCADE, title text CHECK (title <> ''));
ALTER TABLE firm.matter ADD CONSTRAINT referred_by FOREIGN KEY (client_id) REFERENCES firm.client NOT VALID;
COMMENT ON CONSTRAINT acts_for ON firm.matter IS 'nobody acts for nobody';
CREATE TABLE firm.form (org_id uuid, code text COLLATE "C", client_id uuid, passport enc_text(equality), note enc_text(11, sealed), PRIMARY KEY (org_id, code));
CREATE TABLE firm.profile (org_id uuid, client_id uuid, line text, PRIMARY KEY (org_id, client_id));
CREATE TABLE firm.message (org_id uuid, id uuid, sent date, kind int, client_id uuid, PRIMARY KEY (org_id, id, sent, kind)) PARTITION BY RANGE (sent);
CREATE TABLE firm.message_2026 PARTITION OF firm.message FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (kind);
CREATE TABLE firm.message_2026_1 PARTITION OF firm.message_2026 FOR VALUES IN (1);
CREATE TABLE firm.message_2025 PARTITION OF firm.message FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
-- One of the partitions was closed by its owner already.
ALTER TABLE firm.message_2025 ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY of_last_year ON firm.message_2025 AS RESTRICTIVE USING (kind > 1);
CREATE VIEW firm.clients WITH (security_invoker) AS SELECT * FROM firm.client;

-- Every catalog's rows about these tables, with names in place of OIDs; without what VACUUM counts or finds out. The numbers of domains are
-- never handed out twice, so that immiiq.column_domain keeps them.
CREATE FUNCTION firm.catalog() RETURNS SETOF text LANGUAGE sql AS $$
    WITH relation AS (SELECT c.*, c.oid AS relation FROM pg_class AS c WHERE c.relnamespace = 'firm'::regnamespace),
    key AS (SELECT n.*, n.oid AS key FROM pg_constraint AS n JOIN relation AS c ON c.oid = n.conrelid)
    SELECT 'relation ' || relation::regclass || (to_jsonb(c) - ARRAY['oid', 'relation', 'relfilenode', 'relpages', 'reltuples', 'relallvisible', 'relfrozenxid', 'relminmxid', 'reltype', 'reltoastrelid', 'relhasrules', 'relhastriggers']) FROM relation AS c
    UNION ALL SELECT 'column ' || relation::regclass || (to_jsonb(a) - ARRAY['attrelid', 'attcacheoff', 'attoptions']) || ARRAY(SELECT o FROM unnest(a.attoptions) AS o WHERE o NOT LIKE 'pg\_attver=%')::text
    FROM relation AS c JOIN pg_attribute AS a ON a.attrelid = c.relation
    UNION ALL SELECT concat_ws(' ', 'default', relation::regclass, d.adnum, pg_get_expr(d.adbin, d.adrelid)) FROM relation AS c JOIN pg_attrdef AS d ON d.adrelid = c.relation
    UNION ALL SELECT 'constraint ' || conrelid::regclass || pg_get_constraintdef(key) || conindid::regclass || (to_jsonb(k) - ARRAY['oid', 'key', 'conrelid', 'conparentid', 'conindid', 'conbin', 'confrelid', 'conpfeqop', 'conppeqop', 'conffeqop']) FROM key AS k
    UNION ALL SELECT 'index ' || pg_get_indexdef(i.indexrelid) || (to_jsonb(i) - ARRAY['indexrelid', 'indrelid']) FROM relation AS c JOIN pg_index AS i ON i.indrelid = c.relation
    UNION ALL SELECT 'statistics ' || pg_get_statisticsobjdef(s.oid) FROM relation AS c JOIN pg_statistic_ext AS s ON s.stxrelid = c.relation
    UNION ALL SELECT 'trigger ' || concat_ws(' ', relation::regclass, t.tgfoid::regproc, t.tgenabled, t.tgisinternal, t.tgdeferrable, t.tginitdeferred, t.tgtype, k.conname) || CASE WHEN t.tgisinternal THEN '' ELSE pg_get_triggerdef(t.oid) END
    FROM relation AS c JOIN pg_trigger AS t ON t.tgrelid = c.relation LEFT JOIN key AS k ON k.key = t.tgconstraint
    UNION ALL SELECT 'policy ' || relation::regclass || (to_jsonb(p) - ARRAY['oid', 'polrelid', 'polqual', 'polwithcheck']) || concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
    FROM relation AS c JOIN pg_policy AS p ON p.polrelid = c.relation
    UNION ALL SELECT 'comment ' || i.identity || d.objsubid || d.description FROM pg_description AS d CROSS JOIN pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i WHERE i.identity ~ '\mfirm\.'
    UNION ALL SELECT 'dependency ' || regexp_replace(pg_describe_object(d.classid, d.objid, d.objsubid) || ' ' || d.deptype::text || ' ' || pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid), '_[ac]_\d+|pg_toast_\d+', '', 'g')
    FROM pg_depend AS d WHERE pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) ~ '\mfirm\.' OR pg_describe_object(d.classid, d.objid, d.objsubid) ~ '\mfirm\.'
    UNION ALL SELECT 'protection ' || relid::regclass FROM immiiq.protection WHERE relid IN (SELECT relation FROM relation)
    ORDER BY 1
$$;
CREATE TABLE before AS SELECT line FROM firm.catalog() AS line;
SELECT cmp_ok((SELECT count(*) FROM before), '>', 200::bigint, 'there is a catalog to compare');
SELECT lives_ok($$SELECT immiiq.protect('firm.client', 'clients', client => 'id', team => 'team_id', assignee => 'assignee_id', office => 'office_id', portal => true, permissions => '{"delete": "clients.delete"}'),
    immiiq.protect('firm.matter', 'cases', client => 'client_id'), immiiq.protect('firm.form', 'cases', client => 'client_id'),
    immiiq.protect('firm.profile', 'clients', client => 'client_id', new_clients => true), immiiq.protect('firm.message', NULL, client => 'client_id')$$, 'tables of many kinds are protected');
SELECT cmp_ok((SELECT count(*) FROM firm.catalog()), '>', (SELECT count(*) + 100 FROM before), 'which the catalog tells');
SELECT lives_ok($$SELECT immiiq.unprotect(t) FROM unnest('{firm.message,firm.client,firm.profile,firm.form,firm.matter}'::regclass[]) AS t$$, 'and unprotected in another order');
SELECT is_empty('SELECT line FROM firm.catalog() AS line EXCEPT ALL SELECT line FROM before', 'nothing is left of it');
SELECT is_empty('SELECT line FROM before EXCEPT ALL SELECT line FROM firm.catalog() AS line', 'and nothing is gone');
-- Again, with rows, in one transaction that fails, and in one that does not.
BEGIN;
SELECT immiiq.protect('firm.client', 'clients', client => 'id', team => 'team_id') AS ignored \gset
ROLLBACK;
SELECT is_empty('SELECT line FROM before EXCEPT ALL SELECT line FROM firm.catalog() AS line', 'what was rolled back has changed nothing');
INSERT INTO firm.client (id, org_id, name) VALUES (gen_random_uuid(), :'alpha', 'one');
BEGIN;
SELECT immiiq.protect('firm.client', 'clients', client => 'id', team => 'team_id') AS ignored \gset
SELECT immiiq.unprotect('firm.client') AS ignored \gset
COMMIT;
SELECT is_empty('(SELECT line FROM firm.catalog() AS line EXCEPT ALL SELECT line FROM before) UNION ALL (SELECT line FROM before EXCEPT ALL SELECT line FROM firm.catalog() AS line)', 'nor one that did both, around a row');
SELECT * FROM finish();
