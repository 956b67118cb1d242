Writes: attempts to change, block or name rows of another organisation.

-- case insert_foreign (alpha_owner, refused 42501): inserts for another organisation
INSERT INTO client (org_id, note) VALUES (:'beta', 'planted');
-- case insert_foreign_team (alpha_lead, refused 42501): inserts for a team one is not in
INSERT INTO client (note, team_id) VALUES ('planted', :'alpha_south');
-- case insert_team_of_beta (alpha_owner, refused 23503, no control): names another organisation's team
INSERT INTO client (note, team_id) VALUES ('planted', :'beta_team');
-- case update_foreign (alpha_owner, says /^UPDATE 0$/, no control): changes a foreign row
\set QUIET off
UPDATE client SET note = 'defaced' WHERE client_id = :'canary';
-- case update_all (alpha_owner, says /^UPDATE 40$/, no control): changes every row
\set QUIET off
UPDATE client SET fee = fee;
-- case delete_foreign (alpha_owner, says /^DELETE 0$/, no control): deletes foreign rows
\set QUIET off
DELETE FROM client WHERE org_id = :'beta';
-- case delete_matters (alpha_lead, says /^DELETE 0$/, no control): deletes matters of clients of another team
\set QUIET off
DELETE FROM matter WHERE client_id = :'mine_hidden';
-- case move_row_out (alpha_owner, refused 42501, no control): gives a row to another organisation
UPDATE client SET org_id = :'beta' WHERE client_id = :'mine';
-- case move_row_to_team (alpha_lead, refused 42501): hands a row to another team
UPDATE client SET team_id = :'alpha_south' WHERE client_id = :'mine';
-- case update_from_returning (alpha_owner, hidden): returns hidden rows from UPDATE … FROM
UPDATE matter AS m SET title = c.note FROM client AS c WHERE c.org_id = :'beta' AND m.client_id = c.client_id RETURNING m.title, c.note;
-- case delete_using_returning (alpha_owner, hidden): returns hidden rows from DELETE … USING
DELETE FROM event AS e USING client AS c WHERE c.org_id = :'beta' AND e.org_id = :'beta' RETURNING c.note;
-- case merge_update (alpha_owner, hidden): merges into hidden rows
MERGE INTO client AS c USING (SELECT :'canary'::uuid AS id) AS s ON c.client_id = s.id WHEN MATCHED THEN UPDATE SET note = 'defaced'; SELECT note FROM client WHERE org_id = :'beta' LIMIT 1;
-- case merge_insert (alpha_owner, refused 42501): merges a foreign row in
MERGE INTO client AS c USING (SELECT 1) AS s ON false WHEN NOT MATCHED THEN INSERT (org_id, note) VALUES (:'beta', 'planted');
-- case upsert_foreign (alpha_owner, refused 42501, no control): upserts a foreign row by its key
INSERT INTO client (org_id, client_id, note) VALUES (:'beta', :'canary', 'x') ON CONFLICT (org_id, client_id) DO UPDATE SET note = 'defaced' RETURNING note;
-- case upsert_nothing_foreign (alpha_owner, refused 42501, no control): learns of a foreign row by DO NOTHING
INSERT INTO client (org_id, client_id, note) VALUES (:'beta', :'canary', 'x') ON CONFLICT DO NOTHING;
-- case upsert_nothing_absent (alpha_owner, refused 42501, no control): the same for a row that does not exist, to the same answer
INSERT INTO client (org_id, client_id, note) VALUES (:'beta', gen_random_uuid(), 'x') ON CONFLICT DO NOTHING;
-- case unique_probe (alpha_owner, says /^INSERT 0 1$/, no control): learns of a foreign value by a unique key
\set QUIET off
INSERT INTO client (email) VALUES ('canary-1' || '@beta.example');
ROLLBACK
-- case key_probe (alpha_owner, says /^INSERT 0 1$/, no control): learns of a foreign key by the primary key
\set QUIET off
INSERT INTO client (client_id, note) VALUES (:'canary', 'x');
ROLLBACK
-- case foreign_key_probe (alpha_owner, refused 23503, no control): refers to a foreign row that exists
INSERT INTO matter (client_id, title) VALUES ('be7aca4b-0000-4000-8000-000000000001', 'x');
-- case foreign_key_hidden (alpha_owner, says /violates foreign key/, no control): the same with one that exists: same words
DO $$ BEGIN INSERT INTO matter (client_id, title) VALUES (('be7a' || 'ca4a-0000-4000-8000-000000000001')::uuid, 'x');
EXCEPTION WHEN foreign_key_violation THEN RAISE NOTICE '%', SQLERRM; END $$;
-- case foreign_key_swap (alpha_owner, refused 23503, no control): moves a child under a foreign parent
UPDATE matter SET client_id = 'be7aca4b-0000-4000-8000-000000000001' WHERE id = :'mine';
-- case partition_insert (alpha_owner, refused 42501): writes into a partition
INSERT INTO event_2025 (org_id, year, what) VALUES (:'beta', 2025, 'planted');
-- case partition_update (alpha_owner, says /^UPDATE 0$/, no control): updates a partition
\set QUIET off
UPDATE event_2025 SET what = 'defaced';
-- case truncate (alpha_owner, refused 42501, no control): truncates
TRUNCATE client CASCADE;
-- case copy_in (alpha_owner, refused 0A000, no control): loads rows in bulk
COPY client (org_id, note) FROM STDIN;
\.
-- case lock_exclusive (alpha_owner, refused 42501): locks everybody out of a table
LOCK TABLE client IN ACCESS EXCLUSIVE MODE;
-- case lock_share (alpha_owner, refused 42501): stops everybody's writes
LOCK TABLE client IN SHARE MODE;
-- case lock_row_blocks (alpha_owner, says /beta works/, no control): locks what it can and looks whether beta still works
LOCK TABLE client IN ROW EXCLUSIVE MODE; SELECT count(*) > 0 FROM client FOR UPDATE; UPDATE client SET fee = 2;
\! test/attack/beta.sh "UPDATE client SET fee = 1; INSERT INTO matter (client_id, title) SELECT client_id, 'x' FROM client LIMIT 1"
ROLLBACK
-- case unique_blocks (alpha_owner, says /beta works/, no control): holds a unique value that beta inserts
INSERT INTO client (client_id, email) VALUES ('be7aca4b-0000-4000-8000-000000000001', 'same@value.example');
\! test/attack/beta.sh "INSERT INTO client (client_id, email) VALUES ('be7aca4b-0000-4000-8000-000000000001', 'same@value.example')"
ROLLBACK
-- case trigger_queues (alpha_owner, says /^42501$/, no control): asks for a trigger, and with it for a lock behind which beta waits, while its own writes go on
UPDATE client SET fee = fee;
\! test/attack/queue.sh "CREATE TRIGGER x BEFORE INSERT ON client FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
ROLLBACK
-- case rule_queues (alpha_owner, says /^42501$/, no control): the same with a rule
UPDATE client SET fee = fee;
\! test/attack/queue.sh "CREATE RULE x AS ON INSERT TO client DO ALSO SELECT 1"
ROLLBACK
-- case foreign_key_queues (alpha_owner, says /^42501$/, no control): the same with a foreign key
UPDATE client SET fee = fee;
\! test/attack/queue.sh "CREATE TEMP TABLE x (o uuid, c uuid, FOREIGN KEY (o, c) REFERENCES client (org_id, client_id)) ON COMMIT DROP"
ROLLBACK
-- case column_key_queues (alpha_owner, says /^42501$/, no control): the same with one of a column, of which sign-ins are the queue
\! test/attack/queue.sh "CREATE TEMP TABLE x (s uuid REFERENCES immiiq.session) ON COMMIT DROP"
-- case added_key_queues (alpha_owner, says /^42501$/, no control): the same with one that is added
UPDATE client SET fee = fee;
\! test/attack/queue.sh "CREATE TEMP TABLE x (o uuid, c uuid) ON COMMIT DROP; ALTER TABLE x ADD FOREIGN KEY (o, c) REFERENCES client (org_id, client_id)"
ROLLBACK
-- case added_column_key_queues (alpha_owner, says /^42501$/, no control): the same with one of a column that is added
UPDATE client SET fee = fee;
\! test/attack/queue.sh "CREATE TEMP TABLE x (o uuid) ON COMMIT DROP; ALTER TABLE x ADD COLUMN c uuid REFERENCES profile"
ROLLBACK
-- case other_ddl_queues (alpha_owner, says /^(42501 ){9}$/, no control): the same with whatever else asks for a lock
UPDATE client SET fee = fee;
\! for s in "DROP TABLE client CASCADE" "TRUNCATE client" "ALTER TABLE client ADD COLUMN x int" 'DROP TRIGGER "00_immiiq_capture" ON client' "DROP POLICY immiiq_select ON client" "CREATE POLICY x ON client" "CREATE INDEX ON client (note)" "CLUSTER client USING client_pkey" "REINDEX TABLE client"; do echo -n "$(test/attack/queue.sh "$s") "; done; echo
ROLLBACK
-- case advisory_blocks (alpha_owner, refused 42501): holds an advisory lock
SELECT pg_advisory_xact_lock(4711);
-- case plant_probe (alpha_owner, refused 42804, no control): stores the tag of a guess
INSERT INTO client (name) SELECT enc_text_probe('CAN' || 'ARY name 1', (SELECT atttypmod FROM pg_attribute WHERE attrelid = 'client'::regclass AND attname = 'name'));
-- case member_of_beta (alpha_owner, refused 42501): makes a member in another organisation
INSERT INTO immiiq.member (org_id, email, name, scope) VALUES (:'beta', 'spy@beta.example', 'Spy', 'all');
-- case promote_self (alpha_lead, refused 42501, no control): widens its own scope
UPDATE immiiq.member SET scope = 'all' WHERE member_id = :'alpha_lead';
-- case assign_foreign (alpha_owner, refused 42501, no control): assigns a foreign client to itself
INSERT INTO immiiq.assignment (org_id, client_id, member_id) VALUES (:'beta', :'canary', :'alpha_owner');
-- case rename_org (alpha_owner, says /^UPDATE 0$/, no control): renames another organisation
\set QUIET off
UPDATE immiiq.org SET name = 'Owned' WHERE org_id = :'beta';
-- case claim_foreign_client (alpha_lead, says /^0$/, no control): makes a client with another organisation's id, and looks what comes with it
INSERT INTO profile (client_id, line) VALUES (:'canary', 'mine');
SELECT count(*) FROM matter WHERE client_id = :'canary';
DELETE FROM profile WHERE client_id = :'canary';
-- case claim_hidden_client (alpha_lead, refused 42501, no control): makes a profile of a colleague's client, to have it assigned
INSERT INTO profile (client_id, line) VALUES (:'mine_hidden', 'mine');
-- case claim_by_do_nothing (alpha_lead, refused 42501, no control): the same with ON CONFLICT DO NOTHING
INSERT INTO profile (client_id, line) VALUES (:'mine_hidden', 'mine') ON CONFLICT DO NOTHING;
-- case claim_by_merge (alpha_lead, refused 42501, no control): the same by MERGE
MERGE INTO profile AS p USING (SELECT :'mine_hidden'::uuid AS id) AS s ON p.client_id = s.id WHEN NOT MATCHED THEN INSERT (client_id, line) VALUES (s.id, 'mine');
-- case claim_rolled_back (alpha_lead, says /^0$/, no control): keeps a client in scope whose row it has rolled back
SAVEPOINT s;
INSERT INTO profile (client_id, line) VALUES ('a1fa1111-0000-4000-8000-00000000ffff', 'mine');
ROLLBACK TO s;
SELECT count(*) FROM immiiq.assignment WHERE client_id = 'a1fa1111-0000-4000-8000-00000000ffff';
-- case claim_in_old_snapshot (none, refused 42501, no control): makes a client that a colleague has made since its snapshot
BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT set_config('immiiq.token', :'alpha_lead_token', true) \gset a_
SELECT count(*) FROM profile \gset a_
\setenv ATTACK_OWNER_TOKEN :alpha_owner_token
\! psql -X -q -U regress_immiiq_app -d "$ATTACK_DATABASE" -c "BEGIN; SELECT set_config('immiiq.token', '$ATTACK_OWNER_TOKEN', true); INSERT INTO matter (client_id, title) SELECT client_id, 'x' FROM client LIMIT 1; INSERT INTO profile (client_id, line) VALUES ('a1fa1111-0000-4000-8000-00000000eeee', 'x'); COMMIT" > /dev/null
INSERT INTO profile (client_id, line) VALUES ('a1fa1111-0000-4000-8000-00000000eeee', 'mine');
-- case call_new_client (alpha_owner, refused 42501, no control): makes a trigger of what assigns new clients
CREATE TEMP TABLE t (org_id uuid, client_id uuid) ON COMMIT DROP; CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION immiiq.assign_new_client();
-- case assign_directly (alpha_clerk, refused 42501, no control): assigns a colleague's client to itself
INSERT INTO immiiq.assignment (client_id, member_id) VALUES (:'mine_hidden', immiiq.current_member());
-- case exclusion_probe (alpha_owner, says /^INSERT 0 1$/, no control): learns of a foreign value by an exclusion constraint
\set QUIET off
INSERT INTO room (name) VALUES ('Corner room');
\set QUIET on
DELETE FROM room;
-- case write_without_read_policy (alpha_lead, hidden): relies on a write's policy to stand for the read's
UPDATE client SET note = note WHERE note LIKE '%HIDDEN%' RETURNING note; SELECT note FROM client;
-- case update_returning_all (alpha_lead, hidden): returns what it changes, of every organisation
WITH u AS (UPDATE client SET fee = fee RETURNING *) SELECT count(*), max(note) FROM u; SELECT max(note) FROM client;
-- case delete_in_cte (alpha_lead, hidden): deletes in a WITH and returns what went
WITH d AS (DELETE FROM client RETURNING note) SELECT * FROM d; ROLLBACK; SELECT note FROM client LIMIT 9000;
-- case trigger_rewrites_org (alpha_owner, refused 42501): has a trigger of the application's put its row into another organisation
SELECT set_config('app.org_id', :'beta', true) \gset a_
INSERT INTO tagged (tag) VALUES ('x');
-- case trigger_rewrites_org_on_update (alpha_owner, refused 42501): the same by UPDATE
INSERT INTO tagged (tag) VALUES ('x'); SELECT set_config('app.org_id', :'beta', true) \gset a_
UPDATE tagged SET tag = 'y';
