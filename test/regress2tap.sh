#!/bin/bash
# regress2tap.sh FOLDER: turns what pg_regress says into TAP; adds FOLDER/regression.diffs when a test failed.
set -u
output=$(cat)
grep -E '^test .*\.\.\. ' <<< "$output" | sed -E 's/^test ([^ ]+) +\.\.\. ok.*/ok - \1/; s/^test ([^ ]+) +\.\.\. (.*)/not ok - \1: \2/'
count=$(grep -cE '^test .*\.\.\. ' <<< "$output")
echo "1..$count"
if grep -qE '^test .*\.\.\. FAILED' <<< "$output" || [ "$count" = 0 ]; then
	sed 's/^/# /' <<< "$output"
	[ ! -e "$1/regression.diffs" ] || sed 's/^/# /' "$1/regression.diffs"
	exit 1
fi
