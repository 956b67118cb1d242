#!/bin/bash
# sqlsmith.sh SECONDS: random statements by Debian's sqlsmith for so long, as the application role with alpha's owner active, on the
# database of the attack suite: no canary may show, nothing of beta's may change, and the server must stay up. Prints TAP.
set -eu
. test/attack/debian.sh
debian sqlsmith sqlsmith libpqxx-6.4
seconds=$1
database=regress_sqlsmith_$$
folder=$(mktemp -d "$SCRATCH/sqlsmith.XXXX")
createdb "$database"
trap 'dropdb --force "$database" > /dev/null; rm -rf "$folder"' EXIT
psql -X -q -A -t -d "$database" -v ON_ERROR_STOP=1 -f test/attack/setup.sql > "$folder/variables"
token=$(sed -n 's/^alpha_owner_token=//p' "$folder/variables")
state=$(psql -X -q -A -t -d "$database" -f test/attack/state.sql)
started=$(psql -X -A -t -c 'SELECT pg_postmaster_start_time()')

canary='CANARY|canary-[0-9]|be7aca4a'
statements=0 leaks=0 end=$((SECONDS + seconds)) seed=${SEED:-$RANDOM} round=0
echo "# seed $seed"
while [ $SECONDS -lt $end ]; do
	round=$((round + 1))
	# Only generated here: sqlsmith itself knows no token. Statements end with a semicolon at a line's end.
	sqlsmith --dry-run --max-queries=200 --seed=$((seed + round)) \
		--target="host=$PGHOST dbname=$database user=regress_immiiq_app" > "$folder/generated" 2> "$folder/log" || true
	awk -v token="$token" '
		BEGIN { print "SET statement_timeout = \x271s\x27;" }
		{ text = text $0 "\n" }
		/;$/ { n++; printf "BEGIN;\nSELECT set_config(\x27immiiq.token\x27, \x27%s\x27, true) \\g /dev/null\n%sROLLBACK;\n", token, text; text = "" }
		END { print n > "/dev/stderr" }' "$folder/generated" > "$folder/sql" 2> "$folder/count"
	statements=$((statements + $(cat "$folder/count" | tail -1 || echo 0)))
	psql -X -q -A -t -U regress_immiiq_app -d "$database" -f "$folder/sql" > "$folder/said" 2>&1 || true
	if grep -vE '^LINE [0-9]+:' "$folder/said" | grep -qE "$canary"; then
		leaks=$((leaks + 1))
		grep -E -m 3 -B 2 "$canary" "$folder/said" | cut -c 1-300 | sed 's/^/# /'
	fi
done
errors=$(grep -c ERROR "$folder/said" || true)
verdict() { [ "$2" = 1 ] && echo "ok - $1" || echo "not ok - $1"; }
verdict "$statements random statements ran" $((statements >= 100 && errors < 190))
verdict "no canary shows" $((leaks == 0))
verdict "nothing of beta's has changed" $([ "$(psql -X -q -A -t -d "$database" -f test/attack/state.sql)" = "$state" ] && echo 1 || echo 0)
verdict "the server has not crashed" $([ -z "$(grep -a 'terminated by signal' "${SERVER_LOG:-/dev/null}")" ] && [ "$(psql -X -A -t -c 'SELECT pg_postmaster_start_time()')" = "$started" ] && echo 1 || echo 0)
echo 1..4
