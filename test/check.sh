#!/bin/bash
# check.sh: runs every suite inside a scratch area (see scratch.sh) and ends with "N passed, N failed".
# check.sh SUITE: prints that suite's TAP, the only thing that is counted. A suite that ends badly without
# saying why, or that runs nothing, counts as a failure of its own.
# SUITES="unit pgtap" runs only those, TESTS="context policy" only these files of them; LIMIT=3600 has patience with a busy machine.
set -u -o pipefail
. test/server.sh
. test/release.sh

LIMIT=${LIMIT:-900}			# seconds that one suite may take
# Files of a suite: all that match, or those that TESTS names.
files() {	# folder, extension
	local file
	for file in "$1"/*"$2"; do
		[ -e "$file" ] || continue
		[ -z "${TESTS:-}" ] || case " $TESTS " in *" $(basename "$file" "$2") "*) ;; *) continue ;; esac
		echo "$file"
	done
}

# Runs a command as one TAP test; its output follows as diagnostics when it fails.
tap() {	# name, command …
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "ok - $name"
	else
		echo "not ok - $name"
		sed 's/^/# /' <<< "$out"
	fi
}

#### Suites

# What can be said of the files alone: layers, versions, habits, format.
suite_static() {
	test/static.sh
}

# The whole library without a warning under clang; gcc has built the one that is installed.
suite_clang() {
	local copy=$SCRATCH/clang
	mkdir "$copy" && cp -R Makefile immiiq.control src sql verify "$copy" && find "$copy" -name '*.[od]' -delete
	tap "clang builds without a warning" make -s -C "$copy" CC=$CLANG COPT=-Werror all
	echo 1..1
}

# C unit tests, plain and under the address and undefined-behaviour sanitizers.
suite_unit() {
	local list
	list=$(files test/unit _test.c)
	[ -z "$list" ] || test/unit.sh $list
}

# What a user sees in psql; the DBA's own make installcheck, first part.
suite_regress() {
	make -s installcheck ISOLATION= TAP_TESTS= ${TESTS:+REGRESS="$TESTS"} 2>&1 | test/regress2tap.sh . 
}

# Sessions that meet.
suite_isolation() {
	make -s installcheck REGRESS= TAP_TESTS= ${TESTS:+ISOLATION="$TESTS"} 2>&1 | test/regress2tap.sh output_iso
}

# The guard in database.psql does its work: a denial test that runs as a superuser fails, and the same as
# a role under row security passes.
suite_guard() {
	local file=$SCRATCH/guard.sql
	cat > "$file" <<-'SQL'
		BEGIN;
		SELECT plan(1);
		CREATE TABLE closed (v text);
		:role
		SELECT throws_ok($$DO 'BEGIN RAISE insufficient_privilege; END'$$, '42501', NULL, 'denied');
		SELECT * FROM finish();
	SQL
	tap "a denial test that runs as a superuser fails" denial_is "$file" 'RESET ROLE;' '^not ok 1'
	tap "the same passes as a role under row security" denial_is "$file" 'SET ROLE regress_immiiq_nobody;' '^ok 1'
	echo 1..2
}
denial_is() {	# file, statement that sets the role, pattern of the result
	local named=$SCRATCH/guard_named.sql
	{ echo "\\set role '$2'"; cat "$1"; } > "$named"
	test/pgtap.sh "$named" 2>&1 | tee /dev/stderr | grep "$3" > /dev/null
}

# Contracts, privileges, SQLSTATEs: each file in a database of its own.
suite_pgtap() {
	local list
	list=$(files test/pgtap .sql)
	[ -z "$list" ] || prove -v --exec test/pgtap.sh $list
}

# Any SQL as the application's role, against another organisation's canary rows.
suite_attack() {
	[ -z "$(files test/attack/cases .sql)" ] || test/attack/run.pl ${TESTS:-}
}

# Whole servers: restarts, dumps, workers, logs.
suite_tap() {
	local list
	list=$(files test/t .pl)
	[ -z "$list" ] || make -s installcheck REGRESS= ISOLATION= PROVE_FLAGS="-j2 -v --merge -I test/t" PROVE_TESTS="${list//$'\n'/ }"
}

# The same, at length: not part of make check unless SUITES names it.
suite_slow() {
	local list
	list=$(files test/slow .pl)
	[ -z "$list" ] || make -s installcheck REGRESS= ISOLATION= PROVE_FLAGS="-v --merge -I test/t" PROVE_TESTS="${list//$'\n'/ }"
}

#### Running

if [ $# = 1 ]; then
	"suite_$1"
	exit
fi

results=$SCRATCH/results
mkdir "$results"

# Runs suites one after the other; each leaves NAME.tap and NAME.status, and says that it has ended.
lane() {
	local suite start status
	for suite in "$@"; do
		case " ${SUITES:-$suite} " in *" $suite "*) ;; *) continue ;; esac
		start=$(date +%s)
		timeout -k 10 "$LIMIT" test/check.sh "$suite" > "$results/$suite.tap" 2>&1
		status=$?
		report "$suite" "$status" $(($(date +%s) - start))
	done
}

# Of what prove says, only the files in which something went wrong; all of it where there are no files.
only_failures() {
	awk '
		/^[^ #].*\.+ *$/ && /^(test\/|\/)/ { flush() }
		/^(Test Summary Report|All tests successful)/ { flush() }
		{ section = section $0 "\n" }
		/^not ok|^Dubious|^Failed|^No subtests/ { bad = 1 }
		function flush() { if (bad) printf "%s", section; section = ""; bad = 0 }
		END { bad = 1; flush() }' "$1"
}

# Counts one suite; shows what it said when it failed.
report() {	# suite, exit status, seconds
	local tap=$results/$1.tap passed failed skipped
	skipped=$(grep -cE '^ok .*# *skip' -i "$tap")
	passed=$(($(grep -cE '^ok (-|[0-9])' "$tap") - skipped))
	failed=$(grep -E '^not ok' "$tap" | grep -cviE '# *todo')
	[ "$2" = 0 ] || [ "$failed" -gt 0 ] || failed=1
	[ "$passed" -gt 0 ] || [ "$failed" -gt 0 ] || [ -n "${TESTS:-}" ] || failed=1
	echo "$passed $failed" > "$results/$1.count"
	{
		flock 8
		if [ "$failed" -gt 0 ]; then
			echo "---- $1: what it said (exit status $2)"
			only_failures "$tap"
			echo "----"
		fi
		printf '%-10s %4d passed, %d failed%s  (%d s)\n' "$1" "$passed" "$failed" \
			"$([ "$skipped" = 0 ] || echo ", $skipped skipped")" "$3"
	} 8> "$results/lock"
}

start=$(date +%s)
start_server && test/roles.sh || exit 1

# Three lanes that share nothing but the processors, and the first of them the server.
lane regress isolation guard pgtap attack &
lane tap &
lane static unit clang &
wait
case " ${SUITES:-} " in *" slow "*) LIMIT=14400 lane slow ;; esac

# A backend that crashed, or an assertion, is a failure even where every test passed.
if grep -E 'terminated by signal|TRAP:|server process .* was terminated|could not (open|write) .*: No space' "$SERVER_LOG"; then
	echo "0 1" > "$results/crash.count"
fi
pg_ctl -D "$DATA" -m fast -w stop > /dev/null || echo "0 1" > "$results/stop.count"

echo "$(($(date +%s) - start)) s"
awk '{ passed += $1; failed += $2 } END { printf "%d passed, %d failed\n", passed, failed; exit failed > 0 || passed == 0 }' \
	"$results"/*.count
