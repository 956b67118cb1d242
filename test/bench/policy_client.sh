#!/bin/bash
# policy_client.sh DATABASE: the statements of table figure, through a client on a local socket: as bench_app with a
# token, and as a superuser with the condition written by hand, in turn; the ratio of the medians over all transactions, a line for each.
set -eu
database=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# A line for each transaction of fifty statements: the name, and how long it took.
measure() {	# name, user, file, protocol
	rm -f "$folder"/log.*
	pgbench -U "$2" -n -M "$4" -t 8 -l --log-prefix="$folder/log" -f "$3" "$database" > /dev/null 2> "$folder/said"
	! grep -qE 'ERROR|aborted' "$folder/said" || { cat "$folder/said" >&2; exit 1; }
	awk -v name="$1" '{ print name, $3 }' "$folder"/log.*
}

# A row of its own for each statement: one that is updated again and again would measure its versions.
script() {	# file, first statement, statement
	{ echo 'BEGIN;'; echo "$2;"; for ((i = 0; i < 50; i++)); do echo "${3//<id>/${ids[i % ${#ids[@]}]}};"; done; echo 'ROLLBACK;'; } > "$1"
}

mapfile -t ids < <(psql -X -q -At -d "$database" -c 'SELECT client_id FROM some_client')
super=$(psql -X -q -At -d "$database" -c 'SELECT current_user')
psql -X -q -At -F '|' -d "$database" -c 'SELECT figure, protocol, target, token, statement, by_hand FROM figure ORDER BY n' |
	while IFS='|' read -r figure protocol target token statement by_hand; do
		script "$folder/policy" "SELECT set_config('immiiq.token', '$token', true)" "$statement"
		script "$folder/hand" "SELECT set_config('bench.token', '$token', true)" "$by_hand"
		for round in 1 2 3 4 5 6 7; do
			measure policy bench_app "$folder/policy" "$protocol"
			measure hand "$super" "$folder/hand" "$protocol"
		done | sort -k1,1 -k2,2n | awk -v figure="$figure" -v target="$target" '
			{ v[$1, ++n[$1]] = $2 }
			END {
				ratio = v["policy", int(n["policy"] / 2)] / v["hand", int(n["hand"] / 2)]
				printf "policy\t%s, times the same by hand\t%.2f x\tat most %s x\t%s\n", figure, ratio, target, ratio <= target ? "ok" : "short"
			}'
	done
