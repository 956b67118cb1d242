#!/bin/bash
# load.sh: makes the practices' database in $PGDATABASE of the server at $PGHOST, empty so far, as its superuser.
# SEED chooses other people, CLIENTS how many a practice has.
set -eu
cd "$(dirname "$0")"
SEED=${SEED:-1} CLIENTS=${CLIENTS:-10000}
run() { psql -X -q -v ON_ERROR_STOP=1 -o /dev/null "$@"; }

export PGOPTIONS='-c client_min_messages=warning'
run -f schema.sql -f names.sql -f generate.sql

# As many practices at a time as there are processors to spare: they do not wait for each other.
pids=()
for practice in 1 2 3; do
	run -v practice=$practice -v seed="$SEED" -v clients="$CLIENTS" -U practice_operator -f load.sql &
	pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
# Every row is in the audit already; this waits until each has its place in the tree.
run -c 'VACUUM ANALYZE' -c 'CALL immiiq.seal()'
