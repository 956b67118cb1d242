#!/bin/bash
# tpcb_client.sh DATABASE TOKEN ORGANISATION ACCOUNTS: transactions in a second with protection and a token in each, as bench_app, and without
# either, as a superuser with the organisation in every condition; in turn, the ratio of the medians.
set -eu -o pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

script() {	# schema, how a transaction begins, condition, organisation of a new row
	cat <<-SQL
		\\set aid random(1, $accounts * 10)
		\\set bid random(1, 10)
		\\set tid random(1, 100)
		\\set delta random(-5000, 5000)
		BEGIN;
		$2
		UPDATE $1.account SET balance = balance + :delta WHERE $3 aid = :aid;
		SELECT balance FROM $1.account WHERE $3 aid = :aid;
		UPDATE $1.teller SET balance = balance + :delta WHERE $3 tid = :tid;
		UPDATE $1.branch SET balance = balance + :delta WHERE $3 bid = :bid;
		INSERT INTO $1.history (org_id, tid, bid, aid, delta, at) VALUES ('$4', :tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
		END;
	SQL
}
rate() {	# name, user
	pgbench -U "$2" -n -M prepared -D "token=$token" -c 4 -j "$(nproc)" -T "${BENCH_SECONDS:-4}" -f "$folder/$1" "$database" 2> "$folder/said" | awk -v name="$1" '/^tps/ { print name, $3 }'
	! grep -qE 'ERROR|aborted' "$folder/said" || { cat "$folder/said" >&2; exit 1; }
}

database=$1 token=$2 org=$3 accounts=$4
script guarded "SELECT set_config('immiiq.token', :token, true);" '' "$org" > "$folder/guarded"
script plain '' "org_id = '$org' AND" "$org" > "$folder/plain"
super=$(psql -X -q -At -d "$database" -c 'SELECT current_user')
for round in 1 2 3 4 5; do
	rate guarded bench_app
	rate plain "$super"
done | sort -k1,1 -k2,2n | awk '
	{ v[$1, ++n[$1]] = $2 }
	END {
		ratio = v["guarded", 3] / v["plain", 3]
		printf "tpcb\ttransactions in a second with protection, audit and a token in each (%.0f), of those without (%.0f)\t%.2f\tat least 0.85\t%s\n",
			v["guarded", 3], v["plain", 3], ratio, (ratio >= 0.85 ? "ok" : "short")
	}'
