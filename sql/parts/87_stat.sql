-- What this database has done since its server started, and how its worker and its log are, in one row.

CREATE FUNCTION immiiq.stat_counters(OUT sealed bigint, OUT opened bigint, OUT tokens_checked bigint, OUT tokens_refused bigint, OUT denials bigint,
                                     OUT entries_captured bigint, OUT entries_sealed bigint, OUT since timestamptz) RETURNS record
    LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'immiiq_stat_counters';
COMMENT ON FUNCTION immiiq.stat_counters() IS 'counters of this database since the server started; used by immiiq.stat';

CREATE FUNCTION immiiq.read_stat(OUT sealed bigint, OUT opened bigint, OUT tokens_checked bigint, OUT tokens_refused bigint, OUT denials bigint,
                                 OUT entries_captured bigint, OUT entries_sealed bigint, OUT log_size bigint, OUT seal_lag interval,
                                 OUT ring_depth int, OUT ring_capacity int, OUT events_written bigint, OUT events_lost bigint,
                                 OUT worker_state text, OUT worker_pid int, OUT stats_since timestamptz) RETURNS record
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.sealed, c.opened, c.tokens_checked, c.tokens_refused, c.denials, c.entries_captured, c.entries_sealed,
        coalesce((SELECT sum(t.size)::bigint FROM immiiq.tree AS t WHERE t.org_id IS NOT NULL AND t.org_id <> '00000000-0000-0000-0000-000000000000'), 0),
        coalesce(clock_timestamp() - immiiq.oldest_unsealed(), interval '0'),
        j.depth, j.capacity, j.written, j.lost, j.state, j.worker_pid, c.since
    FROM immiiq.stat_counters() AS c, immiiq.journal_status() AS j
$$;
COMMENT ON FUNCTION immiiq.read_stat() IS 'one row for the view immiiq.stat';
REVOKE ALL ON FUNCTION immiiq.stat_counters(), immiiq.read_stat() FROM PUBLIC;

CREATE VIEW immiiq.stat AS SELECT * FROM immiiq.read_stat();
COMMENT ON VIEW immiiq.stat IS 'what this database has done since the server started, and how its worker and its log are';
COMMENT ON COLUMN immiiq.stat.opened IS 'values opened for whoever was active; what the audit and rotations open is not counted';
COMMENT ON COLUMN immiiq.stat.entries_captured IS 'entries made, those of rolled back transactions too';
COMMENT ON COLUMN immiiq.stat.log_size IS 'entries that have a place in the log, of all organisations';
COMMENT ON COLUMN immiiq.stat.seal_lag IS 'age of the oldest entry that has no place in the log yet';
REVOKE ALL ON immiiq.stat FROM PUBLIC;
INSERT INTO immiiq.privilege
SELECT kind, privileges, object
FROM pg_catalog.unnest(ARRAY['auditor', 'operator']) AS k (kind)
    CROSS JOIN (VALUES ('SELECT', 'TABLE immiiq.stat'), ('EXECUTE', 'FUNCTION immiiq.read_stat()')) AS p (privileges, object);
