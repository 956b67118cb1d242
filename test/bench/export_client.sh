#!/bin/bash
# export_client.sh TOKEN: the most memory of its own that a session takes while it exports PGDATABASE's organisation, and whether it
# writes temporary files.
set -eu
token=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

files() { psql -X -A -t -c "SELECT temp_files FROM pg_stat_database WHERE datname = current_database()"; }
before=$(files)
psql -X -q -A -t -U bench_app -v token="$token" > "$folder/lines" <<'SQL' &
SET application_name = 'export_client';
BEGIN;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
COPY (SELECT immiiq.export_org()) TO STDOUT;
COMMIT;
SQL
client=$!
most=0
until pid=$(psql -X -A -t -c "SELECT pid FROM pg_stat_activity WHERE application_name = 'export_client'") && [ -n "$pid" ]; do
	kill -0 "$client" 2> /dev/null || break
done
while kill -0 "$client" 2> /dev/null; do
	own=$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status" 2> /dev/null || true)
	[ "${own:-0}" -le "$most" ] || most=$own
	sleep 0.05
done
wait "$client"
rows=$(grep -c '^(tables/public.visit.jsonl' "$folder/lines" || true)
awk -v most="$most" -v rows="$rows" -v files="$(($(files) - before))" 'BEGIN {
	printf "export\tmemory of its own of a session that exports %d rows\t%.1f MB\tat most 32 MB\t%s\n", rows, most / 1024, (rows > 0 && most > 0 && most <= 32768 ? "ok" : "short")
	printf "export\ttemporary files of it\t%d\tat most 0\t%s\n", files, (files == 0 ? "ok" : "short")
}'
