#!/bin/bash
# identity_client.sh DATABASE: how many sign in by password in a second, with four connections a processor and a hash on each, beside how many
# hashes immiiq computes from as many connections, in turn; then what another client's lookups lose while so many sign in under the cap that
# immiiq sets by itself. Ratios of medians. Needs members m1 … m600 with the password "right", and plain_session.
set -eu
database=$1
folder=$(mktemp -d)
awake=
trap 'kill $awake 2> /dev/null || true; rm -rf "$folder"' EXIT

cat > "$folder/sign-in" <<-'SQL'
	\set i random(1, 600)
	SELECT 1 / (verdict = 'ok')::int FROM immiiq.sign_in_password('m' || :i || '@bench.example', 'right');
SQL
echo "SELECT immiiq.hash_password('right');" > "$folder/hash"
echo 'SELECT ended_at FROM plain_session WHERE token = $$none$$;' > "$folder/lookup"
clients=$(($(nproc) * 4))

# How many passwords are hashed at the same time; 0: as many as immiiq thinks right.
cap() { psql -X -q -d "$database" -c "ALTER SYSTEM SET immiiq.password_hashers = $1" -c 'SELECT pg_reload_conf()' > /dev/null; }

# Transactions in a second, of connections that last, as a pool's do: the first second, in which they plan everything, does not count.
rate() {	# file
	pgbench -n -M prepared -c "$clients" -j "$(nproc)" -T 4 -P 1 -f "$folder/$1" "$database" > /dev/null 2> "$folder/said"
	! grep -qE 'ERROR|aborted' "$folder/said" || { cat "$folder/said" >&2; exit 1; }
	awk -v name="$1" '/^progress/ && n++ { tps += $4 } END { print name, tps / (n - 1) }' "$folder/said"
}

cap "$(nproc)"
for round in 1 2 3 4 5; do
	rate sign-in
	rate hash
done | sort -k1,1 -k2,2n | awk '
	{ v[$1, ++n[$1]] = $2 }
	END {
		ratio = v["sign-in", 3] / v["hash", 3]
		printf "identity\tpassword sign-ins in a second on all cores (%.0f), of Argon2id alone (%.0f)\t%.3f\tat least 0.97\t%s\n",
			v["sign-in", 3], v["hash", 3], ratio, (ratio >= 0.97 ? "ok" : "short")
	}'

# Lookups in a second by one client. A processor that sleeps answers late, and one that hashes never sleeps: so none sleeps in either case,
# for something that runs only while nothing else wants to.
for processor in $(seq "$(nproc)"); do
	chrt --idle 0 sh -c 'while :; do :; done' &
	awake="$awake $!"
done
lookups() { pgbench -n -M prepared -c 1 -T 2 -f "$folder/lookup" "$database" 2>> "$folder/said" | awk -v name="$1" '/^tps/ { print name, $3 }'; }

cap 0
for round in 1 2 3; do
	lookups alone
	pgbench -n -M prepared -c "$clients" -j "$(nproc)" -T 4 -f "$folder/sign-in" "$database" > "$folder/flood" 2>&1 &
	flood=$!
	sleep 1
	lookups flooded
	wait "$flood"
	awk '/^tps/ { print "flood", $3 }' "$folder/flood"
done | sort -k1,1 -k2,2n | awk '
	{ v[$1, ++n[$1]] = $2 }
	END {
		ratio = v["flooded", 2] / v["alone", 2]
		printf "identity\ta client%ss lookups in a second while %.0f sign in by password (%.0f), of those while nobody does (%.0f)\t%.2f\tat least 0.9\t%s\n",
			"\047", v["flood", 2], v["flooded", 2], v["alone", 2], ratio, (ratio >= 0.9 ? "ok" : "short")
	}'
