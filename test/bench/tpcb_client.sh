#!/bin/bash
# tpcb_client.sh DATABASE TOKEN ORGANISATION ACCOUNTS: transactions in a second with protection, audit and a token in each, as bench_app,
# beside those without, as a superuser with the organisation in every condition; in turn, the ratio of the medians. Then what each part
# leaves of them; a part has no target of its own.
set -eu -o pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

script() {	# name, schema, how a transaction begins, condition
	cat > "$folder/$1" <<-SQL
		\\set aid random(1, $accounts * 10)
		\\set bid random(1, 10)
		\\set tid random(1, 100)
		\\set delta random(-5000, 5000)
		$3
		UPDATE $2.account SET balance = balance + :delta WHERE $4 aid = :aid;
		SELECT balance FROM $2.account WHERE $4 aid = :aid;
		UPDATE $2.teller SET balance = balance + :delta WHERE $4 tid = :tid;
		UPDATE $2.branch SET balance = balance + :delta WHERE $4 bid = :bid;
		INSERT INTO $2.history (org_id, tid, bid, aid, delta, at) VALUES ('$org', :tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
		END;
	SQL
}
rate() {	# name, schema, user; the small tables start without dead rows, as pgbench sees to with its own
	psql -X -q -d "$database" -c "VACUUM $2.branch, $2.teller"
	pgbench -U "$3" -n -M prepared -D "token=$token" -c 4 -j "$(nproc)" -T "${BENCH_SECONDS:-3}" -f "$folder/$1" "$database" 2> "$folder/said" | awk -v name="$1" '/^tps/ { print name, $3 }'
	! grep -qE 'ERROR|aborted' "$folder/said" || { cat "$folder/said" >&2; exit 1; }
}

database=$1 token=$2 org=$3 accounts=$4
# A transaction and what it needs set begin in one round trip.
begins() {
	printf '%s\n' '\startpipeline' 'BEGIN;' "SELECT set_config('$1', :token, true);" '\endpipeline'
}
active=$(begins immiiq.token) mine="org_id = '$org' AND"
script guarded guarded "$active" ''
script plain plain 'BEGIN;' "$mine"
script sent plain "$(begins application_name)" "$mine"
script token plain "$active" "$mine"
script policies unaudited "$active" ''
script audit guarded 'BEGIN;' "$mine"
super=$(psql -X -q -At -d "$database" -c 'SELECT current_user')
for round in 1 2 3; do
	rate guarded guarded bench_app
	rate plain plain "$super"
	rate sent plain bench_app
	rate token plain bench_app
	rate policies unaudited bench_app
	rate audit guarded "$super"
done | sort -k1,1 -k2,2n | awk '
	function part(name, figure) {
		printf "tpcb\t%s\t%.2f\tnone\tpart\n", figure, v[name, 2] / v["plain", 2]
	}
	{ v[$1, ++n[$1]] = $2 }
	END {
		ratio = v["guarded", 2] / v["plain", 2]
		printf "tpcb\ttransactions in a second with protection, audit and a token in each (%.0f), of those without (%.0f)\t%.2f\tat least 0.85\t%s\n",
			v["guarded", 2], v["plain", 2], ratio, (ratio >= 0.85 ? "ok" : "short")
		part("sent", "of it: a setting sent with BEGIN, as a token is")
		part("token", "the token, on tables without protection")
		part("policies", "the token and policies, without audit")
		part("audit", "audit alone, without token and policies")
	}'
