#!/bin/bash
# valgrind.sh: runs pgTAP files (all, or those that VALGRIND names) on a server under valgrind; ends with what it found in
# our code. Runs inside a scratch area. Some tests have deadlines of their own, so only what valgrind says counts.
set -u
. test/server.sh

start_server_under_valgrind && test/roles.sh || exit 1
for file in test/pgtap/*.sql; do
	name=$(basename "$file" .sql)
	case " ${VALGRIND:-$name} " in *" $name "*) ;; *) continue ;; esac
	test/pgtap.sh "$file" > "$SCRATCH/$name.tap" 2>&1
	echo "# $name under valgrind: $(grep -c '^ok' "$SCRATCH/$name.tap") tests passed, $(grep -c '^not ok' "$SCRATCH/$name.tap") failed"
	grep -A 3 '^not ok' "$SCRATCH/$name.tap" | sed 's/^/#   /'
done
pg_ctl -D "$DATA" -m fast -w stop > /dev/null

# PostgreSQL and the dynamic loader have reports of their own; ours have our sources near the top of the stack (the hooks that
# only pass a call on are in every stack).
awk '
	/^==[0-9]+== [A-Z]/ { report = ""; line = 0; ours = 0 }
	/Syscall param pwrite64/ { line = 9 }		# WAL pages have padding
	{ report = report $0 "\n"; line++ }
	line <= 8 && /\/tree\/src\// && !/: hooks_/ { ours = 1 }
	/^==[0-9]+== *$/ && ours { printf "%s", report; ours = 0 }' "$SCRATCH"/valgrind.* > "$SCRATCH/found"
cat "$SCRATCH/found"
if [ -s "$SCRATCH/found" ]; then
	echo "not ok - valgrind finds nothing of ours in the server"
	exit 1
fi
echo "ok - valgrind finds nothing of ours in the server"
