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
-- case refused_token_is_recorded (none, says /recorded/, no control): offers a wrong token and aborts
BEGIN; SELECT set_config('immiiq.token', 'iq_s_wrong', true); ROLLBACK; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT 'nothing of it here' FROM immiiq.denial WHERE action = 'token' AND backend_pid = pg_backend_pid() AND org_id IS NOT NULL; COMMIT;
\! psql -X -q -A -t -U postgres -d "$ATTACK_DATABASE" -c "SELECT 'recorded' FROM immiiq.denial WHERE action = 'token' AND sqlstate = 'IQ010' ORDER BY at DESC LIMIT 1"
-- case second_identity_is_recorded (alpha_owner, says /recorded/, no control): sets another organisation's token and swallows the refusal
SAVEPOINT s; SELECT set_config('immiiq.token', :'beta_owner_token', true); ROLLBACK TO s; COMMIT;
\! psql -X -q -A -t -U postgres -d "$ATTACK_DATABASE" -c "SELECT 'recorded' FROM immiiq.denial WHERE sqlstate = 'IQ012' AND at > now() - interval '10 s' LIMIT 1"
-- case verify_access_foreign (alpha_owner, says /^f f$/, no control): asks of a foreign row and of none
SELECT immiiq.verify_access('matter', 'be7aca4a-0000-4000-8000-000000000001'::uuid) || ' ' || immiiq.verify_access('matter', gen_random_uuid()) AS said \gset
SELECT replace(:'said', 'false', 'f');
-- case verify_access_is_recorded (alpha_owner, says /recorded/, no control): asks of a foreign row and rolls back
SELECT immiiq.verify_access('matter', 'be7aca4a-0000-4000-8000-000000000001'::uuid); ROLLBACK; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT 'recorded' FROM immiiq.denial WHERE action = 'verify_access' AND backend_pid = pg_backend_pid();
-- case verify_access_outside_scope (alpha_lead, says /^f$/, no control): asks of a colleague's row
SELECT immiiq.verify_access('client', :'mine_hidden'::uuid);
-- case verify_access_system_table (alpha_owner, refused 42501, no control): asks of a table that it may not read
SELECT immiiq.verify_access('immiiq.session', gen_random_uuid());
-- case foreign_argument_is_recorded (alpha_owner, says /recorded/, no control): names another organisation's member in an argument
SELECT immiiq.apply_role('none', ARRAY[]::uuid[]); ROLLBACK; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT immiiq.revoke_session(gen_random_uuid()); ROLLBACK; BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT 'recorded' FROM immiiq.denial WHERE action = 'revoke_session' AND backend_pid = pg_backend_pid();
-- case forge_denial (alpha_owner, refused 42501, no control): writes refusals of its own
SELECT immiiq.record_denial('insert', 'client', 'it was somebody else', :'beta');
-- case forge_unreachable (alpha_owner, refused 22023, no control): writes words of its own into the journal
SELECT immiiq.note_unreachable('it was somebody else');
-- case foreign_id_in_tool_call (alpha_owner, says /^f$/, no control): lets the assistant ask for a foreign row
SELECT immiiq.act_as_assistant('lookup') \gset a_
SELECT immiiq.verify_access('client', :'canary'::uuid);
-- case assistant_writes (alpha_owner, refused 42501, no control): lets the assistant write where the role does not allow it
SELECT immiiq.act_as_assistant('lookup') \gset a_
INSERT INTO client (note) VALUES ('by the assistant');
-- case assistant_signs_out (alpha_owner, refused 42501, no control): lets a prompt put the member out, everywhere
SELECT immiiq.act_as_assistant('lookup') \gset a_
SELECT immiiq.sign_out_everywhere();
-- case assistant_ends_session (alpha_owner, refused 42501, no control): the same by the session's id
SELECT immiiq.act_as_assistant('lookup') \gset a_
SELECT immiiq.revoke_session(immiiq.current_session());
-- case assistant_signs_out_here (alpha_owner, refused 42501, no control): the same for this session
SELECT immiiq.act_as_assistant('lookup') \gset a_
SELECT immiiq.sign_out();
-- case assistant_by_cursor (alpha_owner, says /^UPDATE 0$/, no control): writes as the assistant where the member's cursor stands
\set QUIET off
DECLARE c CURSOR FOR SELECT note FROM client WHERE client_id = :'mine' FOR UPDATE;
FETCH 1 FROM c;
SELECT immiiq.act_as_assistant('lookup') \gset a_
UPDATE client SET note = 'by the assistant' WHERE CURRENT OF c;
-- case read_journal_sequence (alpha_owner, refused 42501): reads how much was recorded from a sequence
SELECT last_value FROM immiiq.journal_journal_id_seq;
-- case second_identity_is_ones_own (alpha_owner, says /^1 of one's own$/, no control): sets another organisation's token: the entry is of who did it
SAVEPOINT s; SELECT set_config('immiiq.token', :'beta_owner_token', true); ROLLBACK TO s; COMMIT;
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SELECT count(*) || ' of one''s own' FROM immiiq.denial
    WHERE sqlstate = 'IQ012' AND backend_pid = pg_backend_pid() AND org_id = :'alpha' AND member_id = :'alpha_owner';
-- case second_identity_not_theirs (none, says /^nothing$/, no control): lets another organisation's auditors read who tried with its token
BEGIN; SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset a_
SAVEPOINT s; SELECT set_config('immiiq.token', :'beta_owner_token', true); ROLLBACK TO s; COMMIT;
BEGIN; SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset a_
SELECT coalesce(min(member_id::text), 'nothing') FROM immiiq.denial WHERE backend_pid = pg_backend_pid(); COMMIT;
