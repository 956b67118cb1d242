#!/bin/bash
# regress2tap.sh FOLDER: turns what pg_regress says into TAP; adds FOLDER/regression.diffs when a test failed.
# PostgreSQL 16 and later say "ok 1 - name  5 ms" where 15 says "test name ... ok  5 ms".
set -u
output=$(sed -E 's/^ok [0-9]+ +[-+] +([^ ]+) .*/test \1 ... ok/; s/^not ok [0-9]+ +[-+] +([^ ]+) .*/test \1 ... FAILED/')
grep -E '^test .*\.\.\. ' <<< "$output" | sed -E 's/^test ([^ ]+) +\.\.\. ok.*/ok - \1/; s/^test ([^ ]+) +\.\.\. (.*)/not ok - \1: \2/'
count=$(grep -cE '^test .*\.\.\. ' <<< "$output")
echo "1..$count"
if grep -qE '^test .*\.\.\. FAILED' <<< "$output" || [ "$count" = 0 ]; then
	sed 's/^/# /' <<< "$output"
	[ ! -e "$1/regression.diffs" ] || sed 's/^/# /' "$1/regression.diffs"
	exit 1
fi
