Who is asking: attempts to become somebody else, or to stay.

-- case no_identity (none, hidden): reads without any identity
SELECT note FROM client LIMIT 5; SELECT count(*) FROM client;
-- case nil_organisation (alpha_owner, hidden): asks for the rows of organisation nil, and of all but one's own
SELECT count(*) FROM client WHERE org_id = '00000000-0000-0000-0000-000000000000'; SELECT note FROM client WHERE org_id <> :'alpha' LIMIT 3;
-- case second_identity (alpha_owner, refused IQ012, no control): sets another organisation's token in the same transaction
SELECT set_config('immiiq.token', :'beta_owner_token', true); SELECT note FROM client LIMIT 1;
-- case second_after_savepoint (none, refused IQ012, no control): rolls a savepoint back and enters another organisation
BEGIN; SAVEPOINT s; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
ROLLBACK TO s; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
SELECT note FROM client LIMIT 1; COMMIT;
-- case second_after_reset (alpha_owner, refused IQ012, no control): resets the token and sets another
RESET immiiq.token; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
SELECT note FROM client LIMIT 1;
-- case second_in_exception_block (alpha_owner, hidden, no control): swallows the refusal of another identity and reads on
DO $$ BEGIN PERFORM set_config('immiiq.token', 'x', true); EXCEPTION WHEN OTHERS THEN NULL; END $$;
SELECT note FROM client WHERE org_id = :'beta' LIMIT 1;
-- case expired_token (none, refused IQ010, no control): uses a session that has expired
SELECT set_config('immiiq.token', :'expired_token', false);
-- case revoked_token (none, refused IQ010, no control): uses a session that was revoked
SELECT set_config('immiiq.token', :'revoked_token', false);
-- case forged_token (none, refused IQ010, no control): makes a token up
SELECT set_config('immiiq.token', 'iq_s_' || repeat('A', 49), true);
-- case token_of_hash (none, refused IQ010, no control): offers a hash for a token
SELECT set_config('immiiq.token', encode(sha256('x'), 'hex'), true);
-- case token_huge (none, refused IQ010, no control): offers a token of a megabyte
SELECT set_config('immiiq.token', repeat('x', 1000000), true);
-- case jwt_alg_none (none, refused IQ010, no control): offers an unsigned JWT
SELECT set_config('immiiq.token', 'eyJhbGciOiJub25lIn0.eyJvcmciOiJiZTdhIn0.', true);
-- case identity_outlives_commit (none, hidden, no control): reads after the transaction of the identity has ended
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', false) \gset a_
COMMIT; SELECT note FROM client LIMIT 3; SELECT count(*) FROM client;
-- case identity_outlives_chain (none, hidden, no control): reads after COMMIT AND CHAIN
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', false) \gset a_
COMMIT AND CHAIN; SELECT note FROM client LIMIT 3; COMMIT;
-- case identity_outlives_procedure (none, hidden, no control): reads after a commit inside a procedure
SELECT set_config('immiiq.token', :'beta_owner_token', false) \gset a_
CALL commit_between('%');
-- case identity_session_wide (none, hidden, no control): sets a token for the session
SET immiiq.token = 'x'; SELECT set_config('immiiq.token', :'beta_owner_token', false) \gset a_
SELECT note FROM client LIMIT 1;
-- case token_shown (alpha_owner, says /^\[\]$/, no control): reads the token back
SELECT '[' || current_setting('immiiq.token') || ']'; SHOW immiiq.token; SELECT setting FROM pg_settings WHERE name = 'immiiq.token';
-- case token_in_alter_role (none, refused 42501, no control): stores a token with the role
ALTER ROLE regress_immiiq_app SET immiiq.token = 'x';
-- case token_in_function (none, refused 55P02, no control): sets a token by a function's SET clause
BEGIN; CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET immiiq.token = 'x' AS 'SELECT 1'; ROLLBACK;
BEGIN; SET immiiq.token TO DEFAULT; COMMIT; SET immiiq.session_ttl = 1;
-- case org_setting (alpha_owner, hidden): makes up settings that could name an organisation
SET LOCAL app.org_id = 'be7a0000-0000-4000-8000-000000000000'; SELECT set_config('request.jwt.claims', '{"org_id":"be7a"}', true) \gset a_
SELECT note FROM client WHERE org_id = current_setting('app.org_id')::uuid LIMIT 3;
-- case operate_as_application (alpha_owner, refused 42501): calls an operator's function
SELECT immiiq.operate(:'beta', 'let me in');
-- case issue_session_as_application (alpha_owner, refused 42501): makes a session for another organisation's member
SELECT immiiq.issue_session(:'beta_owner');
-- case authenticate_twice (alpha_owner, refused IQ012, no control): authenticates as another in the same transaction
SELECT immiiq.authenticate(:'beta_owner_token'); SELECT note FROM client LIMIT 1;
-- case prepare_transaction (alpha_owner, refused 42501, no control): parks a transaction with its locks
PREPARE TRANSACTION 'parked';
-- case prepare_transaction_alone (none, refused 42501, no control): parks a transaction without identity
BEGIN; LOCK TABLE client IN ROW SHARE MODE; PREPARE TRANSACTION 'parked';
-- case pooled_next_client (none, hidden, no control): is the next user of the connection that beta had
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
SELECT count(*) > 0 FROM client; COMMIT;
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT note FROM client WHERE note LIKE 'CAN%'; SELECT count(*) FROM client; COMMIT;
-- case pooled_prepared_plan (none, hidden, no control): executes a statement whose plan was made under beta
PREPARE p AS SELECT count(*) FROM client; SET plan_cache_mode = force_generic_plan;
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
EXECUTE p \gset a_
COMMIT; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
EXECUTE p; COMMIT; EXECUTE p;
-- case pooled_plpgsql_plan (none, hidden, no control): calls a function whose plans were made under beta
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
SELECT count(*) AS n FROM find_note('%') \gset a_
COMMIT; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT find_note('CAN%'); COMMIT; SELECT find_note('CAN%');
-- case pooled_cursor (none, refused 34000, no control): fetches from a cursor that beta opened
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
DECLARE c CURSOR FOR SELECT note FROM client; COMMIT; FETCH 3 FROM c;
-- case cursor_after_identity (none, hidden, no control): fetches beta's cursor once the savepoint of the identity is gone
BEGIN; SAVEPOINT s; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
DECLARE c CURSOR FOR SELECT note FROM client; ROLLBACK TO s; FETCH 3 FROM c; COMMIT;
-- case parallel_workers (alpha_owner, hidden): forces parallel plans
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL :force_parallel = on;
SELECT count(*) FROM client; SELECT note FROM client WHERE note LIKE 'CANARY%' LIMIT 2;
-- case deferred_trigger (alpha_owner, hidden, no control): lets constraints fail at commit
SET CONSTRAINTS ALL DEFERRED; INSERT INTO matter (client_id, title) VALUES (:'mine', 'x'); SELECT note FROM client WHERE org_id = :'beta' LIMIT 1;
-- case client_ip_twice (alpha_owner, refused 55P02, no control): reports two addresses
SET LOCAL immiiq.client_ip = '192.0.2.1'; SET LOCAL immiiq.client_ip = '192.0.2.2';
-- case assistant_widens (alpha_owner, says /assistant/, no control): leaves the assistant by rolling back to before it
SAVEPOINT s; SELECT actor FROM immiiq.act_as_assistant('tool') \gset a_
ROLLBACK TO s; SELECT immiiq.current_actor();
-- case assistant_prompt (alpha_owner, hidden, no control): lets a prompt name the organisation
SELECT FROM immiiq.act_as_assistant('tool') \gset a_
SELECT note FROM client WHERE org_id = :'beta' LIMIT 1;
-- case mcp_commit (alpha_owner, hidden, no control): commits out of a read-only tool call and names an organisation
COMMIT; SELECT set_config('app.org', :'beta', false), set_config('immiiq.org', :'beta', false); SELECT note FROM client LIMIT 1;
-- case every_setting (alpha_owner, hidden): sets every setting of immiiq's to another organisation, and to off
DO $$ DECLARE name text; value text; BEGIN
    FOR name IN SELECT s.name FROM pg_settings AS s WHERE s.name LIKE 'immiiq.%' AND s.name <> 'immiiq.token' LOOP
        FOREACH value IN ARRAY ARRAY['be7a0000-0000-4000-8000-000000000000', 'off', 'all', ''] LOOP
            BEGIN PERFORM set_config(name, value, true); EXCEPTION WHEN OTHERS THEN NULL; END;
        END LOOP;
    END LOOP; END $$;
SELECT note FROM client WHERE org_id <> immiiq.current_org() OR note LIKE 'CANARY%';
-- case token_in_pgoptions (none, says /refused|no such|cannot|0/, no control): sets a token while it connects
\setenv PGOPTIONS '-c immiiq.token=iq_s_0000000000000000000000000000000000000000000000000'
\! psql -X -q -A -t -U regress_immiiq_app -d "$ATTACK_DATABASE" -c 'SELECT count(*) FROM client' 2>&1
-- case setting_in_pgoptions (none, says /^0$/, no control): turns the firewall and row security off while it connects
\setenv PGOPTIONS '-c row_security=on -c search_path=pg_temp,immiiq,public'
\! psql -X -q -A -t -U regress_immiiq_app -d "$ATTACK_DATABASE" -c 'SELECT count(*) FROM public.client' 2>&1
-- case firewall_in_pgoptions (none, says /permission denied/, no control): turns the firewall off while it connects
\setenv PGOPTIONS '-c immiiq.firewall=off'
\! psql -X -q -A -t -U regress_immiiq_app -d "$ATTACK_DATABASE" -c "SELECT pg_relation_size('client')" 2>&1
-- case token_of_another_kind (none, refused IQ010, no control): offers a link's token, or a refresh token, for a session's
SELECT set_config('immiiq.token', replace(:'alpha_owner_token', 'iq_s_', 'iq_r_'), true);
-- case token_with_wrong_checksum (none, refused IQ010, no control): changes one character of a good token
SELECT set_config('immiiq.token', overlay(:'beta_owner_token' PLACING CASE substr(:'beta_owner_token', 20, 1) WHEN 'x' THEN 'y' ELSE 'x' END FROM 20 FOR 1), true);
-- case token_with_spaces (none, refused IQ010, no control): puts spaces and line ends around a good token
SELECT set_config('immiiq.token', E' \t' || :'beta_owner_token' || E'\n', true);
-- case token_in_other_case (none, refused IQ010, no control): offers a token in capitals
SELECT set_config('immiiq.token', upper(:'beta_owner_token'), true);
-- case jwt_unknown_key (none, refused IQ010, no control): offers a JWT under a key that there is not
SELECT set_config('immiiq.token', 'eyJhbGciOiJFZERTQSIsImtpZCI6Im5vbmUifQ.eyJzdWIiOiJ4IiwiZXhwIjo0MTAyNDQ0ODAwfQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', true);
-- case jwt_symmetric (none, refused IQ010, no control): offers a JWT that is signed with a hash instead of a key
SELECT set_config('immiiq.token', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4IiwiZXhwIjo0MTAyNDQ0ODAwfQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', true);
-- case jwt_duplicate_claims (none, refused IQ010, no control): offers a JWT that names two algorithms
SELECT set_config('immiiq.token', rtrim(translate(encode('{"alg":"EdDSA","alg":"none"}', 'base64'), '+/', '-_'), '=') || '.e30.', true);
-- case jwt_four_segments (none, refused IQ010, no control): offers a JWT of four parts
SELECT set_config('immiiq.token', 'eyJhbGciOiJFZERTQSJ9.e30.AA.AA', true);
-- case jwt_odd_base64 (none, refused IQ010, no control): offers a JWT with padding and stray bits
SELECT set_config('immiiq.token', 'eyJhbGciOiJFZERTQSJ9==.e31.AB==', true);
-- case error_inside_authenticate (none, hidden, no control): swallows the error of authenticate and reads on
BEGIN; DO $$ BEGIN PERFORM immiiq.authenticate('iq_s_x'); EXCEPTION WHEN OTHERS THEN NULL; END $$; SELECT note FROM client; COMMIT;
-- case discard_all (none, hidden, no control): discards everything between two users of the connection
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
SELECT count(*) AS n FROM event WHERE what LIKE 'x%' \gset
COMMIT; DISCARD ALL; SELECT note FROM client;
-- case reset_all (alpha_owner, hidden): resets every setting inside the transaction
RESET ALL; SELECT note FROM client;
-- case revoked_between (none, refused IQ010, no control): goes on with a token whose session ended meanwhile
SELECT set_config('immiiq.token', :'revoked_token', true);
-- case subquery_plan (none, hidden, no control): executes a statement with a subquery whose plan was made under beta
PREPARE p AS WITH c AS MATERIALIZED (SELECT * FROM client) SELECT note FROM matter JOIN c USING (client_id) WHERE EXISTS (SELECT FROM event);
SET plan_cache_mode = force_generic_plan;
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1; EXPLAIN EXECUTE p; ROLLBACK;
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
EXECUTE p; ROLLBACK; EXECUTE p;
-- case update_plan_of_other_shape (none, says /^(UPDATE 40|ERROR.*IQ020.*)$/, no control): executes an UPDATE whose plan was made for another scope
PREPARE u AS UPDATE client SET fee = fee;
SET plan_cache_mode = force_generic_plan;
BEGIN; SELECT set_config('immiiq.token', :'alpha_lead_token', true) \gset a_
EXECUTE u; ROLLBACK;
\set QUIET off
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
EXECUTE u; ROLLBACK;
-- case token_with_nul (none, refused 22021, no control): offers a token with a NUL byte
SELECT set_config('immiiq.token', convert_from('\x69715f735f00', 'UTF8'), true);
-- case session_revoked_meanwhile (none, says /(?s)^40\n.*ERROR:  IQ010/, no control): goes on with a session that was revoked while its transaction ran
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
\! psql -X -q -U postgres -d "$ATTACK_DATABASE" -c "UPDATE immiiq.session SET revoked_at = '2026-01-01' WHERE member_id = 'a1fa0000-0000-4000-8000-000000000001'"
SELECT count(*) FROM client; COMMIT; SELECT set_config('immiiq.token', :'alpha_owner_token', true);
\! psql -X -q -U postgres -d "$ATTACK_DATABASE" -c "UPDATE immiiq.session SET revoked_at = NULL WHERE member_id = 'a1fa0000-0000-4000-8000-000000000001'"
-- case session_revoked_set_again (none, refused IQ010, no control): sets the token of such a session again within the transaction
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
\! psql -X -q -U postgres -d "$ATTACK_DATABASE" -c "UPDATE immiiq.session SET revoked_at = '2026-01-01' WHERE member_id = 'a1fa0000-0000-4000-8000-000000000001'"
SELECT set_config('immiiq.token', :'alpha_owner_token', true); ROLLBACK;
\! psql -X -q -U postgres -d "$ATTACK_DATABASE" -c "UPDATE immiiq.session SET revoked_at = NULL WHERE member_id = 'a1fa0000-0000-4000-8000-000000000001'"
-- case member_removed_meanwhile (none, refused IQ010, no control): goes on as a member who was deactivated
\! psql -X -q -U postgres -d "$ATTACK_DATABASE" -c "UPDATE immiiq.member SET active = false WHERE member_id = 'a1fa0000-0000-4000-8000-000000000001'"
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true); SELECT count(*) FROM client; COMMIT;
\! psql -X -q -U postgres -d "$ATTACK_DATABASE" -c "UPDATE immiiq.member SET active = true WHERE member_id = 'a1fa0000-0000-4000-8000-000000000001'"
-- case member_narrowed_meanwhile (none, says /^40 then 0$/, no control): goes on with a token whose owner's scope was narrowed
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
\! psql -X -q -U postgres -d "$ATTACK_DATABASE" -c "UPDATE immiiq.member SET scope = 'team' WHERE member_id = 'a1fa0000-0000-4000-8000-000000000001'"
SELECT count(*) AS first FROM client \gset
COMMIT; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT :first || ' then ' || count(*) FROM client; COMMIT;
\! psql -X -q -U postgres -d "$ATTACK_DATABASE" -c "UPDATE immiiq.member SET scope = 'all' WHERE member_id = 'a1fa0000-0000-4000-8000-000000000001'"
-- case token_then_set_role (none, says /^40 then 0$/, no control): takes another role after the token, one that may read the table as well
\! test/attack/other_role.sh
-- case token_of_another_database (none, says /^IQ010 IQ010$/, no control): offers a session's token and a JWT of another database, for a member of the same ids
\! test/attack/other_database.sh
