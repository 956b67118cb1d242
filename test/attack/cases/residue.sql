Residue: attempts to leave something for the next user of a pooled connection, or to reach other sessions.

-- case temp_table_shadow (none, hidden, no control): leaves a temporary table of the name of a real one
CREATE TEMP TABLE client AS SELECT 'CANARY' || 'planted' AS note; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT note FROM client; COMMIT;
-- case temp_table_refused (alpha_owner, refused 42501): leaves a temporary table
CREATE TEMP TABLE left_over AS SELECT note FROM client;
-- case temp_select_into (alpha_owner, refused 42501): leaves one by SELECT INTO
SELECT note INTO TEMP left_over FROM client;
-- case temp_explain_ctas (alpha_owner, refused 42501): leaves one by EXPLAIN ANALYZE
EXPLAIN ANALYZE CREATE TEMP TABLE left_over AS SELECT note FROM client;
-- case temp_preserve (alpha_owner, refused 42501): leaves one that keeps its rows
CREATE TEMP TABLE left_over (a text) ON COMMIT PRESERVE ROWS;
-- case temp_delete_rows (alpha_owner, refused 42501): leaves one that loses its rows
CREATE TEMP TABLE left_over (a text) ON COMMIT DELETE ROWS;
-- case temp_view (alpha_owner, refused 42501): leaves a temporary view
CREATE TEMP VIEW left_over AS SELECT * FROM client;
-- case temp_sequence (alpha_owner, refused 42501): leaves a temporary sequence
CREATE TEMP SEQUENCE left_over;
-- case temp_function (alpha_owner, refused 42501): leaves a function
CREATE FUNCTION pg_temp.left_over() RETURNS text LANGUAGE sql AS $$ SELECT note FROM client LIMIT 1 $$;
-- case temp_type (alpha_owner, refused 42501): leaves a type
CREATE TYPE pg_temp.left_over AS ENUM ('a');
-- case temp_domain (alpha_owner, refused 42501): leaves a domain
CREATE DOMAIN pg_temp.left_over AS text CHECK (VALUE <> '');
-- case temp_by_path (alpha_owner, refused 42501): leaves something temporary by search_path
SET LOCAL search_path = pg_temp, public; CREATE TABLE left_over (a int);
-- case temp_by_real_name (none, refused 42501, no control): names the temporary schema as it is really called
BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP; SELECT nspname AS s FROM pg_namespace WHERE oid = pg_my_temp_schema() \gset
CREATE FUNCTION :"s".left_over() RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMIT;
-- case temp_drop_allowed (alpha_owner, says /^20$/, no control): may use a table that ends with the transaction
CREATE TEMP TABLE passing ON COMMIT DROP AS SELECT note FROM client WHERE note LIKE 'open%'; SELECT count(*) FROM passing;
-- case temp_drop_is_gone (none, refused 42P01, no control): looks for such a table in the next transaction
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
CREATE TEMP TABLE passing ON COMMIT DROP AS SELECT note FROM client; COMMIT; SELECT note FROM passing LIMIT 1;
-- case with_hold (alpha_owner, refused 42501): keeps a cursor over the transaction's end
DECLARE kept CURSOR WITH HOLD FOR SELECT note FROM client;
-- case with_hold_of_beta (none, hidden, no control): reads a cursor that beta kept
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
DECLARE kept CURSOR WITH HOLD FOR SELECT note FROM client; COMMIT; FETCH 3 FROM kept;
-- case with_hold_in_block (alpha_owner, refused 42501): keeps a cursor from a block
DO $$ BEGIN EXECUTE 'DECLARE kept CURSOR WITH HOLD FOR SELECT note FROM client'; END $$;
-- case prepare_statement (alpha_owner, refused 42501): leaves a prepared statement
PREPARE left_over AS SELECT note FROM client;
-- case prepare_in_block (alpha_owner, refused 42501): the same from a block
DO $$ BEGIN EXECUTE 'PREPARE left_over AS SELECT 1'; END $$;
-- case set_search_path (none, says /^"\$user", public$/, no control): leaves a search_path
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SET search_path = pg_temp; COMMIT; SHOW search_path;
-- case set_config_session (none, says /^\[\]$/, no control): leaves a value for others by set_config
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
SELECT set_config('app.note', note, false) FROM client LIMIT 1 \gset a_
COMMIT; SELECT '[' || coalesce(current_setting('app.note', true), '') || ']';
-- case set_timeout (none, says /^20s$/, no control): leaves a timeout that ends every statement
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SET statement_timeout = 1; COMMIT; SHOW statement_timeout;
-- case set_then_local (none, says /^4MB$/, no control): leaves a setting below a local one
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SET work_mem = '1GB'; SET LOCAL work_mem = '2GB'; COMMIT; SHOW work_mem;
-- case set_in_savepoint (none, says /^4MB$/, no control): leaves a setting from a released savepoint
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SAVEPOINT s; SET work_mem = '1GB'; RELEASE s; COMMIT; SHOW work_mem;
-- case set_read_only (none, says /^off$/, no control): leaves the session read-only
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; COMMIT; SHOW default_transaction_read_only;
-- case alone_search_path (none, refused 42501, no control): leaves a search_path for the next user, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; SET search_path = pg_catalog;
-- case alone_set_config (none, refused 42501, no control): leaves one by set_config, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; SELECT set_config('search_path', 'pg_catalog', false);
-- case alone_in_block (none, refused 42501, no control): leaves one from a block, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; DO $$ BEGIN PERFORM set_config('search_path', 'pg_catalog', false); END $$;
-- case alone_in_transaction (none, refused 42501, no control): leaves one from a transaction with a savepoint, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; BEGIN; SAVEPOINT s; SET search_path = pg_catalog; RELEASE s; COMMIT;
-- case alone_below_local (none, refused 42501, no control): hides one below a local value, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; BEGIN; SET search_path = pg_catalog; SET LOCAL search_path = public; COMMIT;
-- case alone_timeout (none, refused 42501, no control): leaves a timeout that ends every statement, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; SET statement_timeout = 1;
-- case alone_read_only (none, refused 42501, no control): leaves the session read-only, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;
-- case alone_role (none, refused 42501, no control): leaves a role, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; SET ROLE regress_immiiq_app;
-- case alone_quotes (none, refused 42501, no control): leaves strings in which a backslash ends a literal, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; SET standard_conforming_strings = off;
-- case alone_row_security (none, refused 42501, no control): leaves row_security off, so that every query fails, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; SET row_security = off;
-- case alone_planner (none, refused 42501, no control): leaves the planner without indexes, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; SET enable_indexscan = off;
-- case alone_made_up (none, refused 42501, no control): leaves a value for others in a setting that it makes up, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; SELECT set_config('app.note', 'a', false);
-- case alone_prepare (none, refused 42501, no control): leaves a statement under a name that a driver knows, in a transaction of nobody after its own
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; DEALLOCATE ALL; PREPARE q1 AS SELECT 1;
-- case alone_after_failure (none, refused 42501, no control): leaves a search_path after a transaction that failed
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT 1 / 0; ROLLBACK; SET search_path = pg_catalog;
-- case alone_is_not_left (none, says /^"\$user", public 20s$/, no control): looks what the refused ones left
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; SET search_path = pg_catalog; SET statement_timeout = 1; SELECT current_setting('search_path') || ' ' || current_setting('statement_timeout');
-- case alone_of_pooler (none, says /^UTF8 ISO, DMY Asia\/Tokyo serializable$/, no control): sets what poolers and drivers set between transactions, as they may
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, DMY'; SET TimeZone = 'Asia/Tokyo'; SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE; RESET ALL;
SET application_name = 'x'; SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, DMY'; SET TimeZone = 'Asia/Tokyo'; SET default_transaction_isolation = serializable; SET TRANSACTION READ ONLY;
SELECT concat_ws(' ', current_setting('client_encoding'), current_setting('DateStyle'), current_setting('TimeZone'), current_setting('default_transaction_isolation'));
-- case alone_local (none, says /^20$/, no control): sets for one transaction what it may not leave
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
COMMIT; BEGIN; SET LOCAL work_mem = '8MB'; SET LOCAL ROLE regress_immiiq_app; SELECT 20; COMMIT;
-- case session_lock (alpha_owner, refused 42501): leaves a lock
SELECT pg_advisory_lock(1);
-- case try_lock (alpha_owner, refused 42501): tries whether another holds a lock
SELECT pg_try_advisory_lock(1);
-- case shared_lock (alpha_owner, refused 42501): takes a shared lock
SELECT pg_try_advisory_xact_lock_shared(1);
-- case unlock_all (alpha_owner, refused 42501): gives up the locks of others on this connection
SELECT pg_advisory_unlock_all();
-- case listen (alpha_owner, refused 42501): listens to everybody
LISTEN everything;
-- case listen_alone (none, refused 42501, no control): listens without an identity
LISTEN everything;
-- case notify (alpha_owner, refused 42501): tells everybody
NOTIFY everything, 'forged';
-- case notify_function (alpha_owner, refused 42501): the same by the function
SELECT pg_notify('everything', note) FROM client;
-- case notify_queue (alpha_owner, refused 42501): asks how much is told
SELECT pg_notification_queue_usage();
-- case export_snapshot (alpha_owner, refused 42501): hands out a snapshot
SELECT pg_export_snapshot();
-- case import_snapshot (none, refused 42501, no control): takes a snapshot of another's
BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '00000003-00000001-1';
-- case large_object (alpha_owner, refused 42501): stores rows in a large object
SELECT lo_from_bytea(4711, convert_to(string_agg(note, ','), 'UTF8')) FROM client;
-- case large_object_create (alpha_owner, refused 42501): makes a large object
SELECT lo_create(4712);
-- case large_object_read (alpha_owner, refused 42501, no control): reads a large object
SELECT lo_get(4711);
-- case large_object_open (alpha_owner, refused 42501, no control): opens a large object
SELECT lo_open(4711, 393216);
-- case wal_message (alpha_owner, refused 42501): forges a message in the log
SELECT pg_logical_emit_message(false, 'immiiq', 'forged');
-- case wal_message_transactional (alpha_owner, refused 42501): the same with the transaction
SELECT pg_logical_emit_message(true, 'immiiq', '\x00'::bytea);
-- case replication_slot (alpha_owner, refused 42501, no control): makes a replication slot
SELECT pg_create_logical_replication_slot('spy', 'pgoutput');
-- case slot_changes (alpha_owner, refused 42501, no control): reads changes from a slot
SELECT pg_logical_slot_peek_changes('spy', NULL, NULL);
-- case publication (alpha_owner, refused 42501, no control): publishes a table
CREATE PUBLICATION spy FOR TABLE client;
-- case listen_swallowed (alpha_owner, says /refused/, no control): listens inside a block that swallows the error
DO $$ BEGIN EXECUTE 'LISTEN everything'; EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE 'refused'; END $$;
