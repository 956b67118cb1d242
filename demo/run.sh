#!/bin/bash
# run.sh: loads the practices and takes the tour; ends with an error when the tour does not see what it must.
# Needs PGHOST and PGDATABASE of an empty database on a server that has immiiq preloaded, as its superuser.
set -eu -o pipefail
cd "$(dirname "$0")"

start=$(date +%s%N)
./load.sh
load_ms=$((($(date +%s%N) - start) / 1000000))
psql -X -q -v ON_ERROR_STOP=1 -v seed="${SEED:-1}" -v clients="${CLIENTS:-10000}" -v load_ms=$load_ms < tour.sql 2>&1
