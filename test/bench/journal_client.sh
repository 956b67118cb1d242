#!/bin/bash
# journal_client.sh DATABASE TOKEN: what the record of opened fields costs, through a client on a local socket: the same transactions with
# it and without, in turn, and the ratio of the medians over all transactions; then what a flood of denials does to others, and to who makes it.
set -eu -o pipefail
database=$1 token=$2
folder=$(mktemp -d)
flood=
trap '[ -z "$flood" ] || kill $flood 2> /dev/null; rm -rf "$folder"' EXIT

sql() { psql -X -q -At -d "$database" -c "$1"; }
switch() { sql "ALTER ROLE bench_app SET $1"; }
# A line for each transaction: the name, and how long it took.
measure() {	# name, script, transactions
	rm -f "$folder"/log.*
	pgbench -U bench_app -n -M prepared -t "$3" -l --log-prefix="$folder/log" -f "$2" "$database" > /dev/null 2> "$folder/said"
	! grep -qE 'aborted' "$folder/said" || { cat "$folder/said" >&2; exit 1; }
	awk -v name="$1" '{ print name, $3 }' "$folder"/log.*
}
repeat() { for ((i = 0; i < $1; i++)); do echo "$2"; done; }
active="SELECT set_config('immiiq.token', '$token', true);"
{ echo '\set id random(1, 10000)'; echo "BEGIN; $active"; echo 'SELECT v FROM sealed WHERE id = :id;'; echo 'COMMIT;'; } > "$folder/opened"
{ echo "BEGIN; $active"; repeat 50 'SELECT line FROM plain WHERE id = 500;'; echo 'COMMIT;'; } > "$folder/ordinary"
{ echo "DO \$\$ BEGIN PERFORM FROM refused; EXCEPTION WHEN insufficient_privilege THEN NULL; END \$\$;"; } > "$folder/denied"

for ((round = 0; round < 15; round++)); do
	for state in on off; do
		switch "immiiq.record_field_access = $state"
		measure $state "$folder/opened" 400
	done
done | sort -k1,1 -k2,2n | awk '
	{ v[$1, ++n[$1]] = $2 }
	END {
		ratio = v["off", int(n["off"] / 2)] / v["on", int(n["on"] / 2)]
		printf "journal\ttransactions that open a field, of those while immiiq.record_field_access is off\t%.2f\tat least 0.97\t%s\n", ratio, (ratio >= 0.97 ? "ok" : "short")
	}'
sql 'ALTER ROLE bench_app RESET immiiq.record_field_access'

# Eight sessions do nothing but what is refused.
start_flood() {
	pgbench -U bench_app -n -c 8 -j 1 -T 100 -f "$folder/denied" "$database" > /dev/null 2>&1 &
	flood=$!
}
stop_flood() {
	kill $flood
	wait $flood 2> /dev/null || true
	flood=
}
for ((round = 0; round < 5; round++)); do
	for state in on off; do
		switch "immiiq.record_denials = $state"
		start_flood
		sleep 0.3
		measure $state "$folder/ordinary" 40
		stop_flood
	done
	measure alone "$folder/ordinary" 40
done | sort -k1,1 -k2,2n | awk '
	{ v[$1, ++n[$1]] = $2 }
	END {
		on = v["on", int(n["on"] / 2)]; off = v["off", int(n["off"] / 2)]; alone = v["alone", int(n["alone"] / 2)]
		printf "journal\tordinary statements beside eight sessions that flood with denials (%.2f of those alone), of those beside the flood unrecorded (%.2f)\t%.2f\tat least 0.99\t%s\n",
			alone / on, alone / off, off / on, (off / on >= 0.99 ? "ok" : "short")
	}'
sql 'ALTER ROLE bench_app RESET immiiq.record_denials'
measure denied "$folder/denied" 200 | sort -k2,2n | awk '
	{ v[++n] = $2 / 1000 }
	END { printf "journal\ta denial, until its transaction ends\t%.2f ms\tat most 20 ms\t%s\n", v[int(n / 2)], (v[int(n / 2)] <= 20 ? "ok" : "short") }'
