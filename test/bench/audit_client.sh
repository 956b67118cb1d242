#!/bin/bash
# audit_client.sh TOKEN: what many connections do to tables whose changes are captured, beside the same tables without the trigger;
# interleaved, the median of the rounds. Prints lines of the report. BENCH_SECONDS is how long a run is.
set -eu
token=$1 seconds=${BENCH_SECONDS:-2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
head="BEGIN;
SELECT set_config('immiiq.token', '$token', true);"

# kind, branches
tpcb() {
	cat <<-SQL
		\set aid random(1, 10000)
		\set tid random(1, 10 * $2)
		\set bid random(1, $2)
		\set delta random(-5000, 5000)
		$head
		UPDATE account_$1 SET balance = balance + :delta WHERE id = :aid;
		SELECT balance FROM account_$1 WHERE id = :aid;
		UPDATE teller_$1 SET balance = balance + :delta WHERE id = :tid;
		UPDATE branch_$1 SET balance = balance + :delta WHERE id = :bid;
		INSERT INTO journal_of_all (org_id, tid, bid, aid, delta) VALUES (immiiq.current_org(), :tid, :bid, :aid, :delta);
		COMMIT;
	SQL
}
# Of pgbench it is said that a scale below the number of clients measures waiting for rows: 100 branches, and ten to see what waiting adds.
for kind in plain audited; do
	tpcb $kind 100 > "$work/tpcb.$kind"
	tpcb $kind 10 > "$work/crowded.$kind"
	cat > "$work/one.$kind" <<-SQL
		$head
		INSERT INTO one_$kind (org_id, note) VALUES (immiiq.current_org(), 'one row and no more');
		COMMIT;
	SQL
done

# The small tables start without dead rows, as pgbench sees to with its own.
tps() {
	psql -X -q -c "VACUUM branch_${1#*.}, teller_${1#*.}"
	PGOPTIONS="-c synchronous_commit=$3" pgbench -n -U bench_app -c "$2" -j 2 -T "$seconds" -f "$work/$1" | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}
median() { sort -g | sed -n 2p; }
# figure, script, clients, synchronous_commit, target or none
pair() {
	for _ in 1 2 3; do
		echo "$(tps "$2.audited" "$3" "$4") $(tps "$2.plain" "$3" "$4")"
	done | awk '{ printf "%.3f\n", $1 / $2 }' | median |
		awk -F '\t' -v figure="$1" -v target="$5" '{ printf "audit\t%s\t%.2f\t%s\t%s\n", figure, $1, (target == "none" ? target : "at least " target), (target == "none" ? "part" : $1 >= target ? "ok" : "short") }'
}
pair 'TPC-B-like on three audited tables, 8 clients, beside none' tpcb 8 on 0.90
pair 'the same without synchronous commit' tpcb 8 off 0.82
pair 'the same with ten branches, for whose rows clients wait' crowded 8 off none
# While 64 write, which of them waits for a lock, and for which? Every writer, audited or not, waits for its turn to extend the table that all write to.
(while :; do
	psql -XAtqc "SELECT count(*) FILTER (WHERE locktype <> 'extend' OR relation NOT IN ('one_plain'::regclass, 'one_audited'::regclass)),
		count(*) FILTER (WHERE locktype = 'extend' AND relation = 'one_audited'::regclass), count(*) FILTER (WHERE locktype = 'extend' AND relation = 'one_plain'::regclass)
		FROM pg_locks WHERE NOT granted AND coalesce(database, 0) IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))" || exit 0
	sleep 0.05
done) > "$work/waits" &
sampler=$!
pair '64 writers of one organisation, a row each, beside no audit' one 64 on 0.65
kill "$sampler" && wait "$sampler" || true
awk -F '|' '{ n += $1; audited += $2; plain += $3 }
	END { printf "audit\tof them seen waiting for a lock that the audit causes, in %d looks (to extend their own table: %d, and %d without audit)\t%d\tat most 0\t%s\n", NR, audited, plain, n, (n == 0 ? "ok" : "short") }' "$work/waits"
