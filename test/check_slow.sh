#!/bin/bash
# check_slow.sh: what takes longer than make check should: fuzzers of every parser that needs no server, for
# FUZZ_SECONDS each, and the unit tests under valgrind. Runs inside a scratch area.
set -u
seconds=${FUZZ_SECONDS:-30}
build=$SCRATCH/fuzz
mkdir "$build"
sources=$(grep -L '"postgres.h"' src/*/*.c)
passed=0 failed=0

# One thing that must succeed; what it said is shown when it does not.
must() {	# name, command …
	local name=$1 log=$build/log
	shift
	if "$@" > "$log" 2>&1; then
		passed=$((passed + 1))
		echo "ok - $name"
	else
		failed=$((failed + 1))
		echo "not ok - $name"
		tail -n 60 "$log" | sed 's/^/# /'
	fi
}

for target in test/fuzz/*_fuzz.c; do
	name=$(basename "$target" .c)
	mkdir "$build/$name.corpus"
	cp "test/fuzz/$name.seed" "$build/$name.corpus/" 2>/dev/null
	must "$name builds" clang-14 -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		-Isrc "$target" $sources -lsodium -lcrypto -o "$build/$name"
	must "$name finds nothing in $seconds s" "$build/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-max_len=4096 -artifact_prefix="$build/" "$build/$name.corpus"
done
for test in test/unit/*_test.c; do
	name=$(basename "$test" .c)
	must "$name builds" gcc -std=gnu11 -g -O1 -Isrc -Itest/unit "$test" $sources -lsodium -lcrypto -o "$build/$name"
	must "$name under valgrind" valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite "$build/$name"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
