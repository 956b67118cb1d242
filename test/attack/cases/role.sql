Roles and privileges: attempts to be somebody whom row security does not bind.

-- case set_role_postgres (alpha_owner, refused 42501): takes the superuser's role
SET ROLE postgres;
-- case set_session_authorization (alpha_owner, refused 42501, no control): takes the superuser's session
SET SESSION AUTHORIZATION postgres;
-- case set_config_role (alpha_owner, refused 42501): takes a role through set_config
SELECT set_config('role', 'regress_immiiq_operator', true);
-- case reset_role (alpha_owner, hidden): resets the role
RESET ROLE; SELECT note FROM client WHERE org_id = :'beta' LIMIT 1;
-- case row_security_off (alpha_owner, refused 42501): turns row security off
SET LOCAL row_security = off; SELECT note FROM client LIMIT 1;
-- case replication_role (alpha_owner, refused 42501): turns triggers off
SET LOCAL session_replication_role = replica;
-- case firewall_off (alpha_owner, refused 42501): turns the firewall off
SET LOCAL immiiq.firewall = off;
-- case firewall_set_config (alpha_owner, refused 42501): turns the firewall off through set_config
SELECT set_config('immiiq.firewall', 'off', true);
-- case create_role (alpha_owner, refused 42501): makes a role
CREATE ROLE attacker SUPERUSER;
-- case alter_own_password (alpha_owner, refused 42501): changes the tier's password
ALTER ROLE CURRENT_USER PASSWORD 'mine now';
-- case alter_own_bypass (alpha_owner, refused 42501): gives itself BYPASSRLS
ALTER ROLE regress_immiiq_app BYPASSRLS;
-- case grant_self_away (alpha_owner, refused 42501): lends the tier's role to another
GRANT regress_immiiq_app TO regress_immiiq_nobody;
-- case grant_self_operator (alpha_owner, refused 42501): makes itself an operator
GRANT regress_immiiq_operator TO regress_immiiq_app;
-- case grant_functions (alpha_owner, refused 42501): calls the functions that make operators
SELECT immiiq.grant_operator('regress_immiiq_app');
-- case drop_owned (alpha_owner, refused 42501): gives the tier's privileges up, for everybody
DROP OWNED BY CURRENT_USER;
-- case reassign_owned (alpha_owner, refused 42501): moves what the tier owns
REASSIGN OWNED BY CURRENT_USER TO CURRENT_USER;
-- case disable_row_security (alpha_owner, refused 42501): disables row security
ALTER TABLE client DISABLE ROW LEVEL SECURITY;
-- case no_force (alpha_owner, refused 42501): takes FORCE away
ALTER TABLE client NO FORCE ROW LEVEL SECURITY;
-- case create_policy (alpha_owner, refused 42501, no control): adds a policy of its own
CREATE POLICY open ON client USING (true);
-- case drop_policy (alpha_owner, refused 42501, no control): drops immiiq's
DROP POLICY immiiq_select ON client;
-- case disable_trigger (alpha_owner, refused 42501, no control): disables the capture
ALTER TABLE client DISABLE TRIGGER ALL;
-- case unprotect (alpha_owner, refused 42501, no control): unprotects a table
SELECT immiiq.unprotect('client');
-- case alter_system (none, refused 42501, no control): changes the server's configuration
ALTER SYSTEM SET shared_preload_libraries = '';
-- case alter_database (alpha_owner, refused 42501): stores a setting with the database
ALTER DATABASE :"DBNAME" SET search_path = pg_temp;
-- case load_library (alpha_owner, refused 42501): loads a library
LOAD 'plpgsql';
-- case copy_program (alpha_owner, refused 42501, no control): runs a program
COPY client TO PROGRAM 'cat';
-- case copy_file (alpha_owner, refused 42501, no control): writes a file
COPY client TO '/tmp/immiiq_attack';
-- case read_file (alpha_owner, refused 42501, no control): reads a file of the server
SELECT pg_read_file('postgresql.conf');
-- case read_root_key (alpha_owner, refused 42501, no control): asks where the root key is, and reads it
SELECT pg_read_binary_file(current_setting('immiiq.root_key_file'));
-- case list_files (alpha_owner, refused 42501): lists the data directory
SELECT pg_ls_dir('.');
-- case untrusted_language (alpha_owner, refused 42501, no control): makes an extension
CREATE EXTENSION dblink;
-- case reload (alpha_owner, refused 42501, no control): reloads the server
SELECT pg_reload_conf();
-- case read_wrapped_keys (alpha_owner, refused 42501): reads the wrapped keys
SELECT * FROM immiiq.wrapped_key;
-- case read_sessions (alpha_owner, refused 42501): reads the sessions
SELECT * FROM immiiq.session;
-- case write_sessions (alpha_owner, refused 42501, no control): makes a session row
INSERT INTO immiiq.session (org_id, member_id, token_hash, expires_at) VALUES (:'beta', :'beta_owner', sha256('x'), now() + interval '1 hour');
-- case read_audit_tables (alpha_owner, refused 42501): reads the journal's table
SELECT * FROM immiiq.journal;
-- case forge_journal (alpha_owner, refused 42501, no control): writes the journal
INSERT INTO immiiq.journal (at, kind, action, backend_pid) VALUES (now(), 'denial', 'x', 1);
-- case read_passwords (alpha_owner, refused 42501): reads pg_authid
SELECT rolpassword FROM pg_authid;
-- case read_statistics (alpha_owner, refused 42501): reads pg_statistic
SELECT stavalues1 FROM pg_statistic;
