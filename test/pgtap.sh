#!/bin/bash
# pgtap.sh FILE: runs one pgTAP file in a fresh database of the server that PGHOST names, as its superuser.
# An error that the file does not expect ends it, as under pg_prove.
set -eu
database=regress_$(basename "$1" .sql)_$$
export PGOPTIONS="--client-min-messages=warning ${PGTAP_OPTIONS:-}"

createdb "$database"
trap 'dropdb --force "$database" > /dev/null' EXIT
psql -X -q -d "$database" -v ON_ERROR_STOP=1 -f test/pgtap/database.psql
# What PostgreSQL 16 calls debug_parallel_query.
setting=$(psql -X -A -t -d "$database" -c "SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')")
psql -X -q -A -t -P pager=off -d "$database" -v ON_ERROR_STOP=1 -v force_parallel="$setting" -f "$1" 2>&1
