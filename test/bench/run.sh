#!/bin/bash
# run.sh: measures on the server that PGHOST names and prints one line a figure:
#   capability <tab> figure <tab> measured <tab> target <tab> ok or short
# BENCH=capability runs only that one, BENCH_SCALE=10 with ten times the rows. Each figure compares with a floor that is
# measured in the same minute and interleaved with it, so that a slow machine does not change the verdict.
set -eu
cd "$(dirname "$0")"
export BENCH_SCALE=${BENCH_SCALE:-1}

printf 'capability\tfigure\tmeasured\ttarget\tverdict\n'
for file in *.sql; do
	capability=$(basename "$file" .sql)
	[ -z "${BENCH:-}" ] || [ "$BENCH" = "$capability" ] || continue
	createdb "bench_$capability"
	psql -X -q -A -t -F "$(printf '\t')" -d "bench_$capability" -v ON_ERROR_STOP=1 -v scale="$BENCH_SCALE" \
		-f setup.psql -f "$file"
	dropdb --force "bench_$capability"
done
