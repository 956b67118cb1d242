The journal: attempts to be refused without a trace, or to drown it.

-- case swallowed (alpha_owner, says /recorded/, no control): swallows the refusal in a block
DO $$ BEGIN INSERT INTO client (org_id, note) VALUES ('be7a0000-0000-4000-8000-000000000000', 'x'); EXCEPTION WHEN OTHERS THEN NULL; END $$;
COMMIT; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT 'recorded' FROM immiiq.denial WHERE object = 'client' AND action = 'insert' AND at > now() - interval '1 minute' AND backend_pid = pg_backend_pid() LIMIT 1;
-- case rolled_back (alpha_owner, says /recorded/, no control): rolls the refusal back
SAVEPOINT s; LISTEN x; ROLLBACK TO s; ROLLBACK; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT 'recorded' FROM immiiq.denial WHERE object = 'LISTEN' AND backend_pid = pg_backend_pid();
-- case denied_function_is_recorded (alpha_owner, says /recorded/, no control): calls a denied function in a block that swallows it
DO $$ BEGIN PERFORM pg_export_snapshot(); EXCEPTION WHEN OTHERS THEN NULL; END $$;
COMMIT; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT 'recorded' FROM immiiq.denial WHERE object = 'pg_export_snapshot' AND backend_pid = pg_backend_pid();
-- case operate_is_recorded (alpha_owner, says /recorded/, no control): tries an operator's function and aborts
SAVEPOINT s; SELECT immiiq.operate(:'beta', 'x'); ROLLBACK TO s; COMMIT; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT 'recorded' FROM immiiq.denial WHERE object = 'operate' AND backend_pid = pg_backend_pid();
-- case flood (alpha_owner, says /^all on record$/, no control): drowns the journal in 2,000 refusals
DO $$ BEGIN FOR i IN 1..2000 LOOP BEGIN PERFORM pg_export_snapshot(); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$;
COMMIT; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT CASE WHEN count(*) >= 2000 THEN 'all on record' ELSE count(*) || ' on record' END FROM immiiq.denial WHERE object = 'pg_export_snapshot' AND backend_pid = pg_backend_pid();
-- case flood_blocks (alpha_owner, says /beta works/, no control): floods the journal and looks whether beta still works
DO $$ BEGIN FOR i IN 1..300 LOOP BEGIN PERFORM pg_export_snapshot(); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$;
\! test/attack/beta.sh "UPDATE client SET fee = 1 WHERE client_id = 'be7aca4a-0000-4000-8000-000000000001'"
-- case no_values_recorded (alpha_owner, hidden, no control): gets hidden values recorded and reads them there
DO $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'CAN' || 'ARY', DETAIL = 'CAN' || 'ARY'; EXCEPTION WHEN OTHERS THEN NULL; END $$;
COMMIT; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT d::text FROM immiiq.denial AS d WHERE backend_pid = pg_backend_pid();
-- case delete_denials (alpha_owner, refused 55000, no control): deletes its traces
DELETE FROM immiiq.denial;
