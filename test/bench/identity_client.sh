#!/bin/bash
# identity_client.sh DATABASE: how many sign in by password in a second, with four connections a processor, beside how many
# hashes immiiq computes from as many connections, in turn; the ratio of the medians. Needs members m1 … m600 with the password "right".
set -eu
database=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/sign-in" <<-'SQL'
	\set i random(1, 600)
	SELECT 1 / (verdict = 'ok')::int FROM immiiq.sign_in_password('m' || :i || '@bench.example', 'right');
SQL
echo "SELECT immiiq.hash_password('right');" > "$folder/hash"
clients=$(($(nproc) * 4))

# Transactions in a second.
rate() {	# file
	pgbench -n -M prepared -c "$clients" -j "$(nproc)" -T 5 -f "$folder/$1" "$database" 2> "$folder/said" |
		awk -v name="$1" '/^tps/ { print name, $3 }'
	! grep -qE 'ERROR|aborted' "$folder/said" || { cat "$folder/said" >&2; exit 1; }
}

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
