Planner and executor: attempts to see rows that a policy hides.

-- case plain_select (alpha_owner, hidden): reads everything
SELECT note, name::text, email FROM client;
-- case count_all (alpha_owner, hidden): counts everything
SELECT count(*) FROM client; SELECT count(*) FROM matter;
-- case by_key (alpha_owner, hidden): reads a row whose key is known
SELECT note FROM client WHERE client_id = :'canary';
-- case by_both_keys (alpha_owner, hidden): reads a row by its whole key
SELECT note FROM client WHERE org_id = :'beta' AND client_id = :'canary';
-- case or_true (alpha_owner, hidden): injects OR true
SELECT note FROM client WHERE client_id = :'mine' OR true;
-- case union_all (alpha_owner, hidden): injects a UNION
SELECT note FROM client WHERE false UNION ALL SELECT title FROM matter;
-- case team_of_others (alpha_lead, hidden): reads the rows of a team one is not in
SELECT note, name::text FROM client; SELECT note FROM client WHERE team_id = :'alpha_south';
-- case scope_assigned (alpha_clerk, hidden): reads rows that are not assigned
SELECT note, name::text FROM client;
-- case module_off (alpha_idle, hidden): reads without a module
SELECT note FROM client; SELECT title FROM matter;
-- case child_of_hidden (alpha_lead, says /^0$/, no control): counts matters of clients of another team
SELECT count(*) FROM matter WHERE client_id IN (SELECT client_id FROM client); SELECT 'HIDDEN' FROM matter WHERE client_id = :'mine_hidden';
-- case leaky_function (alpha_owner, refused 42501): makes a cheap function that prints what it is given
CREATE FUNCTION pg_temp.leak(text) RETURNS bool COST 0.0000001 LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$;
SELECT count(*) FROM client WHERE pg_temp.leak(note);
-- case leaky_operator (alpha_owner, refused 42501): makes an operator of a leaky function
CREATE OPERATOR pg_temp.<<<< (FUNCTION = textlt, LEFTARG = text, RIGHTARG = text, RESTRICT = scalarltsel);
-- case leaky_sql_block (alpha_owner, hidden, no control): calls a function in the WHERE clause that tells of every row
SELECT count(*) > 100 FROM client WHERE length(find_note(note)) > 0 OR true;
-- case division_by_zero (alpha_owner, says /^no error$/, no control): divides by zero where a hidden row is met
SELECT 1 / fee, note FROM client WHERE fee = 0; SELECT 'no error';
-- case division_oracle (alpha_owner, says /^40$/, no control): learns of hidden rows from an error
SELECT count(*) FROM client WHERE 1 / fee > 0;
-- case cast_error (alpha_owner, hidden): casts hidden text so that the error shows it
SELECT count(*) FROM client WHERE note::int > 0 AND note LIKE 'CANARY%';
-- case cast_case (alpha_owner, hidden): the same inside CASE
SELECT CASE WHEN note LIKE 'CANARY%' THEN note::int END FROM client;
-- case lateral (alpha_owner, hidden): reads through LATERAL
SELECT l.note FROM (SELECT 1) AS s, LATERAL (SELECT note FROM client WHERE org_id = :'beta' LIMIT 3) AS l;
-- case correlated (alpha_owner, hidden): reads through a correlated subquery
SELECT (SELECT c.note FROM client AS c WHERE c.client_id = x.id) FROM (VALUES (:'canary'::uuid)) AS x (id);
-- case aggregate_filter (alpha_owner, hidden): reads through an aggregate with FILTER
SELECT min(note) FILTER (WHERE org_id = :'beta'), string_agg(left(email, 9), ',') FILTER (WHERE note LIKE 'CANARY note 1_') FROM client;
-- case window_function (alpha_owner, hidden): reads neighbours by a window function
SELECT lead(note) OVER (ORDER BY org_id, client_id), lag(note, 3) OVER (ORDER BY org_id) FROM client;
-- case recursive_cte (alpha_owner, hidden): walks with WITH RECURSIVE
WITH RECURSIVE r AS (SELECT note, 1 AS n FROM client WHERE org_id = :'beta' UNION ALL SELECT note, n + 1 FROM r WHERE n < 2) SELECT note FROM r LIMIT 3;
-- case exists_probe (alpha_owner, says /^f$/, no control): asks whether a row exists
SELECT EXISTS (SELECT FROM client WHERE client_id = :'canary');
-- case join_using (alpha_owner, hidden): joins to hidden rows
SELECT c.note, m.title FROM matter AS m JOIN client AS c USING (client_id) WHERE m.id = :'canary';
-- case full_join (alpha_owner, hidden): finds hidden rows by an outer join
SELECT m.title FROM client AS c FULL JOIN matter AS m ON false WHERE c.client_id IS NULL;
-- case ctid_scan (alpha_owner, refused 42501): reads by physical place
SELECT note FROM client WHERE ctid = ANY (ARRAY(SELECT format('(%s,%s)', p, i)::tid FROM generate_series(0, 9) AS p, generate_series(1, 20) AS i));
-- case ctid_range (alpha_owner, refused 42501): reads a range of physical places
SELECT note FROM client WHERE ctid < '(3,1)' AND note LIKE 'CAN%';
-- case tablesample (alpha_owner, hidden): samples the table
SELECT note FROM client TABLESAMPLE SYSTEM (100); SELECT count(*) FROM client TABLESAMPLE BERNOULLI (100);
-- case whole_row (alpha_owner, hidden): reads whole rows
SELECT c FROM client AS c WHERE c.note LIKE 'CAN%'; SELECT to_jsonb(c) FROM client AS c WHERE c.org_id = :'beta' LIMIT 2;
-- case only_parent (alpha_owner, hidden): reads ONLY the parent, and its children
SELECT what FROM ONLY event; SELECT what FROM event WHERE what LIKE 'CANARY%';
-- case partition_direct (alpha_owner, hidden): reads a partition directly
SELECT what FROM event_2025; SELECT what FROM event_2026;
-- case view_invoker (alpha_owner, hidden): reads through a view
SELECT note FROM client_view WHERE note LIKE 'CAN%';
-- case function_in_between (alpha_owner, hidden): reads through a function
SELECT find_note('CANARY%');
-- case do_block (alpha_owner, hidden): reads in a block and raises what it finds
DO $$ DECLARE r record; BEGIN FOR r IN SELECT note FROM client LOOP IF r.note LIKE 'CAN%' THEN RAISE NOTICE '%', r.note; EXIT; END IF; END LOOP; END $$;
-- case dynamic_sql (alpha_owner, hidden): reads by dynamic SQL
DO $$ DECLARE r text; BEGIN EXECUTE 'SELECT note FROM client WHERE note LIKE ''CAN%'' LIMIT 1' INTO r; RAISE NOTICE '%', r; END $$;
-- case copy_out (alpha_owner, hidden): copies the table out
COPY (SELECT note FROM client) TO STDOUT;
-- case copy_table (alpha_owner, hidden): copies the table by name
COPY client (note, email) TO STDOUT;
-- case xml_export (alpha_owner, hidden): exports by query_to_xml
SELECT query_to_xml('SELECT note FROM client', true, false, '');
-- case schema_export (alpha_owner, hidden): exports the whole schema as XML
SELECT table_to_xml('client', true, false, '');
-- case ts_stat (alpha_owner, hidden): reads words by ts_stat
SELECT word, ndoc FROM ts_stat('SELECT to_tsvector(''simple'', upper(note)) FROM client WHERE note LIKE ''CANARY%''') UNION ALL SELECT note, 1 FROM client;
-- case cursor_moves (alpha_owner, hidden): moves over hidden rows
DECLARE c SCROLL CURSOR FOR SELECT note FROM client; MOVE FORWARD ALL IN c; FETCH BACKWARD 45 FROM c; SELECT count(*) FROM client;
-- case for_update (alpha_owner, hidden): locks and returns rows
SELECT note FROM client FOR UPDATE; SELECT note FROM client WHERE org_id = :'beta' FOR SHARE SKIP LOCKED;
-- case sealed_by_guess (alpha_owner, hidden): looks for a sealed value of another organisation
SELECT email FROM client WHERE name = 'CANARY name 1'; SELECT email FROM client WHERE name IN ('CANARY name 1', 'CANARY name 2');
-- case sealed_join (alpha_owner, hidden): joins on a sealed column
SELECT a.note FROM client AS a JOIN client AS b ON a.name = b.name WHERE b.org_id = :'beta';
-- case enable_paths (alpha_owner, hidden): tries every access path
SET LOCAL enable_seqscan = off; SELECT note FROM client WHERE org_id = :'beta'; SET LOCAL enable_indexscan = off; SELECT note FROM client WHERE org_id = :'beta';
SET LOCAL enable_bitmapscan = off; SELECT count(*) FROM client;
-- case generic_plan (alpha_owner, hidden): uses a generic plan
SET LOCAL plan_cache_mode = force_generic_plan; SELECT find_note('CAN%'); SELECT count(*) FROM client;
-- case jit (alpha_owner, hidden): compiles the filter
SET LOCAL jit = on; SET LOCAL jit_above_cost = 0; SELECT note FROM client WHERE note LIKE 'CAN%';
-- case call_visible (alpha_owner, says /^f$/, no control): asks the policy itself about a row of another organisation
SELECT coalesce(immiiq.visible('clients', 'select', :'beta', NULL, NULL, NULL, NULL), false);
-- case org_if (alpha_owner, says /^40$/, no control): joins by the policy's own function
SELECT count(*) FROM client WHERE org_id = immiiq.current_org();
-- case set_timezone_error (alpha_owner, hidden): provokes errors whose DETAIL would name a row
INSERT INTO client (client_id, note, email) VALUES (:'mine', 'x', 'y'); SELECT note FROM client WHERE org_id = :'beta';
-- case directory_members (alpha_owner, hidden): reads the members of another organisation
SELECT email || ' canary-0' FROM immiiq.member WHERE email LIKE '%beta%';
-- case directory_orgs (alpha_owner, hidden): reads the names of organisations
SELECT name || ' canary-0' FROM immiiq.org WHERE name = 'Beta';
-- case directory_teams (alpha_owner, hidden): reads teams
SELECT name || ' canary-0' FROM immiiq.team WHERE org_id = :'beta';
-- case audit_of_others (alpha_owner, hidden, no control): reads another organisation's entries of the log
SELECT 'CANARY', org_id FROM immiiq.audit_log WHERE org_id = :'beta' LIMIT 1;
-- case denials_of_others (alpha_owner, hidden, no control): reads another organisation's denials
SELECT 'CANARY', org_id FROM immiiq.denial WHERE org_id = :'beta' LIMIT 1; SELECT 'CANARY' FROM immiiq.operator_access WHERE org_id = :'beta';
-- case partition_statistics (alpha_owner, hidden): reads statistics of partitions
SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE tablename LIKE 'event%' OR tablename = 'client'; SELECT what FROM event;
-- case leaky_estimate (alpha_owner, says /^no error$/, no control): has a leaky operator run over statistics while planning
DO $$ BEGIN PERFORM FROM event WHERE what ~ '^CANARY event ([0-9]+)$' AND what::jsonb IS NOT NULL AND org_id <> immiiq.current_org(); RAISE NOTICE 'no error'; EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'no error %', CASE WHEN SQLERRM LIKE '%CAN%ARY%' THEN 'but a row' ELSE '' END; END $$; SELECT 'no error';
-- case leaky_estimate_inherited (alpha_owner, hidden): the same through the partitions
EXPLAIN SELECT FROM event_2025 WHERE what::int > 1; EXPLAIN SELECT FROM event WHERE what::int > 1; SELECT what FROM event_2025; SELECT what FROM event;
-- case extended_statistics_data (alpha_owner, refused 42501): reads what extended statistics hold
SELECT * FROM pg_statistic_ext_data;
-- case merge_source (alpha_owner, hidden): reads through the source of a MERGE
MERGE INTO room AS r USING (SELECT note FROM client) AS s ON r.name = s.note WHEN NOT MATCHED THEN INSERT (name) VALUES (s.note); SELECT name FROM room;
-- case order_by_random (alpha_owner, hidden): sorts, limits and skips
SELECT note FROM client ORDER BY random() OFFSET 0 LIMIT 7000;
-- case grouping_sets (alpha_owner, hidden): groups by everything
SELECT note, count(*) FROM client GROUP BY CUBE (note, fee);
-- case json_export (alpha_owner, hidden): exports rows as JSON
SELECT json_agg(c) FROM client AS c;
-- case string_agg_all (alpha_owner, hidden): joins every value into one
SELECT string_agg(note, ',') FROM client;
-- case tableoid_join (alpha_owner, hidden): finds rows by their table
SELECT note FROM client WHERE tableoid = 'client'::regclass AND xmin IS NOT NULL;
-- case set_operations (alpha_owner, hidden): takes the difference from nothing
SELECT note FROM client EXCEPT SELECT 'x'; SELECT note FROM client INTERSECT ALL SELECT note FROM client;
-- case function_in_from (alpha_owner, hidden): reads by a set-returning function of a row
SELECT (jsonb_each(to_jsonb(c))).* FROM client AS c;
-- case assistant_reads (alpha_owner, hidden, no control): reads as the assistant
SELECT immiiq.act_as_assistant('t') \gset a_
SELECT note FROM client;
