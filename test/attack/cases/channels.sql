Side channels: attempts to count, estimate or notice what cannot be read.

-- case explain_estimate (alpha_owner, hidden): reads the planner's estimate for the whole table
EXPLAIN SELECT * FROM client; EXPLAIN SELECT * FROM client WHERE org_id = 'be7a0000-0000-4000-8000-000000000000';
-- case explain_costs_on (alpha_owner, hidden): asks for costs
EXPLAIN (COSTS on, VERBOSE, BUFFERS) SELECT * FROM matter WHERE org_id = 'be7a0000-0000-4000-8000-000000000000'; EXPLAIN (COSTS on) SELECT * FROM client;
-- case explain_json (alpha_owner, hidden): reads the estimate as JSON
EXPLAIN (FORMAT json) SELECT * FROM client;
-- case explain_in_block (alpha_owner, hidden): reads the estimate inside a block
DO $$ DECLARE l text; BEGIN FOR l IN EXECUTE 'EXPLAIN SELECT * FROM client' LOOP RAISE NOTICE '%', l; END LOOP; END $$;
-- case explain_catalog (alpha_owner, hidden): reads the estimate for a table without row security
EXPLAIN SELECT * FROM client AS a, client AS b WHERE a.org_id = b.org_id; EXPLAIN SELECT FROM client;
-- case explain_analyze (alpha_owner, refused 42501): counts the rows that a filter removed
EXPLAIN ANALYZE SELECT * FROM client WHERE note LIKE 'x';
-- case explain_analyze_muted (alpha_owner, refused 42501): the same with everything off
EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, FORMAT yaml) SELECT * FROM client;
-- case explain_analyze_write (alpha_owner, refused 42501): analyses a write
EXPLAIN ANALYZE DELETE FROM client;
-- case explain_analyze_execute (none, refused 42501, no control): analyses a prepared statement
PREPARE p AS SELECT * FROM client; EXPLAIN ANALYZE EXECUTE p;
-- case debug_print_plan (alpha_owner, says /^40$/, no control): prints plans, with their estimates, to itself
SET LOCAL client_min_messages = log; SET LOCAL debug_print_plan = on; SELECT count(*) FROM client; SELECT note FROM client WHERE org_id = 'be7a0000-0000-4000-8000-000000000000';
-- case reltuples (alpha_owner, refused 42501): reads the number of rows in the catalog
SELECT reltuples FROM pg_class WHERE relname = 'client';
-- case reltuples_star (alpha_owner, refused 42501): reads all columns
SELECT * FROM pg_class WHERE relname = 'client';
-- case reltuples_row (alpha_owner, refused 42501): reads the row as one value
SELECT to_json(c) FROM pg_class AS c WHERE relname = 'client';
-- case reltuples_where (alpha_owner, refused 42501): uses it in a condition only
SELECT relname FROM pg_class WHERE reltuples BETWEEN 7000 AND 8000;
-- case reltuples_copy (alpha_owner, refused 42501): copies it out
COPY (SELECT relname, reltuples FROM pg_class) TO STDOUT;
-- case reltuples_copy_table (alpha_owner, refused 42501): copies the catalog table out
COPY pg_class TO STDOUT;
-- case reltuples_block (alpha_owner, refused 42501): reads it in a block
DO $$ DECLARE n real; BEGIN SELECT reltuples INTO n FROM pg_class WHERE relname = 'client'; RAISE NOTICE '%', n; END $$;
-- case reltuples_partition (alpha_owner, refused 42501): reads it of partitions
SELECT sum(c.relpages) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid;
-- case relation_size (alpha_owner, refused 42501): reads a table's size
SELECT pg_relation_size('client');
-- case total_size (alpha_owner, refused 42501): reads a table's size with its indexes
SELECT pg_total_relation_size('client'), pg_size_pretty(pg_table_size('client'));
-- case index_size (alpha_owner, refused 42501): reads the size of indexes
SELECT pg_indexes_size('client');
-- case database_size (alpha_owner, refused 42501): reads the database's size
SELECT pg_database_size(current_database());
-- case stat_user_tables (alpha_owner, refused 42501): reads live rows from the statistics
SELECT relname, n_live_tup FROM pg_stat_user_tables;
-- case stat_function (alpha_owner, refused 42501): the same by the function
SELECT pg_stat_get_live_tuples('client'::regclass);
-- case stat_index (alpha_owner, refused 42501): reads how much an index returned
SELECT idx_tup_read FROM pg_stat_user_indexes;
-- case stat_xact (alpha_owner, refused 42501): reads how many rows its own scan met
SELECT count(*) FROM client; SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'client';
-- case stat_io (alpha_owner, refused 42501): reads blocks
SELECT heap_blks_read FROM pg_statio_user_tables;
-- case stat_database (alpha_owner, refused 42501): reads the database's counters
SELECT tup_returned FROM pg_stat_database;
-- case stat_functions (alpha_owner, refused 42501): reads how often functions ran
SELECT pg_stat_get_function_calls('find_note'::regproc);
-- case stat_wal (alpha_owner, refused 42501): reads how much is written
SELECT wal_bytes FROM pg_stat_wal;
-- case stat_slru (alpha_owner, refused 42501): reads the counters of transactions
SELECT * FROM pg_stat_slru;
-- case wal_position (alpha_owner, refused 42501): reads the log's position
SELECT pg_current_wal_lsn();
-- case stats_view (alpha_owner, hidden): reads common values
SELECT tablename, attname, most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE tablename IN ('client', 'matter', 'event', 'event_2025');
-- case stats_ext_view (alpha_owner, hidden, no control): reads extended statistics
SELECT most_common_vals::text, n_distinct, dependencies::text FROM pg_stats_ext; SELECT * FROM pg_stats_ext_exprs;
-- case activity (alpha_owner, refused 42501): reads what others do
SELECT query FROM pg_stat_activity;
-- case activity_function (alpha_owner, refused 42501): the same by the function
SELECT pg_stat_get_activity(NULL);
-- case locks (alpha_owner, refused 42501): reads what others lock
SELECT * FROM pg_locks;
-- case blocking_pids (alpha_owner, refused 42501): asks who blocks whom
SELECT pg_blocking_pids(1);
-- case cancel_backend (alpha_owner, refused 42501, no control): cancels another's statement
SELECT pg_cancel_backend(1);
-- case terminate_backend (alpha_owner, refused 42501, no control): ends another's session
SELECT pg_terminate_backend(1);
-- case prepared_xacts (alpha_owner, refused 42501): reads prepared transactions
SELECT * FROM pg_prepared_xacts;
-- case row_place (alpha_owner, refused 42501): reads how many pages come before its own row
INSERT INTO client (note) VALUES ('last') RETURNING ctid;
-- case row_place_elsewhere (alpha_owner, refused 42501): reads the same of other tables, and of a partition
SELECT max(ctid) FROM matter; SELECT ctid FROM event_2025;
-- case row_place_where (alpha_owner, refused 42501): asks whether its rows are on a page
SELECT count(*) > 0 FROM client WHERE ctid > '(100,1)';
-- case row_place_copy (alpha_owner, refused 42501): copies places out
COPY (SELECT c.ctid FROM client AS c) TO STDOUT;
-- case latest_version (alpha_owner, refused 42501, no control): finds the last page by the error of a page that there is not
SELECT currtid2('client', '(1000000,1)');
-- case checkpoint_position (alpha_owner, refused 42501): reads how far the log was at the last checkpoint
SELECT redo_lsn FROM pg_control_checkpoint();
-- case recovery_position (alpha_owner, refused 42501): reads how far it must be for recovery
SELECT min_recovery_end_lsn FROM pg_control_recovery();
-- case slot_position (alpha_owner, refused 42501): reads how far it is for replication
SELECT confirmed_flush_lsn FROM pg_replication_slots;
-- case commit_timestamps (alpha_owner, refused 42501, no control): reads when others committed
SELECT pg_last_committed_xact();
-- case size_in_where (alpha_owner, refused 42501): asks for a size in a condition
SELECT relname FROM pg_class WHERE relname = 'client' AND pg_relation_size(oid) > 100000;
-- case size_by_aggregate (alpha_owner, refused 42501): asks for a size inside an aggregate
SELECT max(pg_relation_size(oid)) FROM pg_class WHERE relkind = 'r';
-- case size_by_default (alpha_owner, refused 42501): hides the call in a temporary table's default
CREATE TEMP TABLE t (n bigint DEFAULT pg_relation_size('client')) ON COMMIT DROP; INSERT INTO t VALUES (DEFAULT); SELECT n FROM t;
-- case size_by_index (alpha_owner, refused 42501): hides the call in a check
CREATE TEMP TABLE t (n bigint CHECK (pg_relation_size('client') < n)) ON COMMIT DROP; INSERT INTO t VALUES (1);
-- case size_by_aggregate_function (alpha_owner, refused 42501): makes an aggregate of a denied function
CREATE AGGREGATE pg_temp.a (oid) (SFUNC = pg_stat_get_live_tuples, STYPE = bigint);
-- case error_detail (alpha_owner, says /duplicate key value/, no control): provokes a duplicate of its own
INSERT INTO client (client_id, email) VALUES (:'mine', 'x');
-- case error_row (alpha_owner, hidden): provokes a failing row with hidden values
UPDATE client SET org_id = NULL WHERE note LIKE 'CANARY%'; SELECT note FROM client WHERE note LIKE 'CANARY%' LIMIT 1;
