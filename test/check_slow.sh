#!/bin/bash
# check_slow.sh: what takes longer than make check should: fuzzers of every parser that needs no server, for
# FUZZ_SECONDS each, the unit tests under valgrind, a browser that signs in, and one in the portal. Runs inside a scratch area.
set -u
. test/server.sh
. test/release.sh
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
		tail -n 300 "$log" | sed 's/^/# /'
	fi
}

must "make docs: every page is whole in itself, every link and anchor leads somewhere" dist/html.sh

for target in test/fuzz/*_fuzz.c; do
	name=$(basename "$target" .c)
	mkdir "$build/$name.corpus"
	cp "test/fuzz/$name.seed" "$build/$name.corpus/" 2>/dev/null
	must "$name builds" "$CLANG" -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		-Isrc "$target" $sources -lsodium -lcrypto -lcrypt -o "$build/$name"
	must "$name finds nothing in $seconds s" "$build/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-max_len=4096 -artifact_prefix="$build/" "$build/$name.corpus"
done
for test in test/unit/*_test.c; do
	name=$(basename "$test" .c)
	must "$name builds" gcc -std=gnu11 -g -O1 -Isrc -Itest/unit "$test" $sources -lsodium -lcrypto -lcrypt -o "$build/$name"
	must "$name under valgrind" valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite "$build/$name"
done
must "the unit tests on big-endian s390x, with the vectors of the documentation" test/big_endian.sh test/unit/*_test.c
# A web tier and a browser that signs in (test/web), on a server of their own.
web() {
	SCRATCH=$SCRATCH/web
	mkdir "$SCRATCH" && cp -R test/web "$SCRATCH/tier" || return
	. test/server.sh
	(cd "$SCRATCH/tier" && npm ci --no-audit --no-fund) && start_server && psql -X -q -c 'CREATE EXTENSION immiiq' || return
	(cd "$SCRATCH/tier" && timeout 300 node browse.mjs)
	local status=$?
	pg_ctl -D "$DATA" -m fast -w stop > /dev/null
	return "$status"
}
in_browser() { (web); }
must "a browser signs in by link, code and password, on two devices, and into the portal" in_browser
# The portal of docs/examples/portal on the demo's data, as its members and as attackers.
portal() {
	SCRATCH=$SCRATCH/portal
	mkdir "$SCRATCH" || return
	. test/server.sh
	npm ci --prefix docs/examples/portal --no-audit --no-fund && npm ci --prefix test/portal --no-audit --no-fund && start_server && createdb demo || return
	export PGDATABASE=demo CLIENTS=1200
	demo/load.sh && timeout 400 node test/portal/browse.mjs
	local status=$?
	pg_ctl -D "$DATA" -m fast -w stop > /dev/null
	return "$status"
}
portal_in_browser() { (portal); }
must "a browser in the portal: four members of different scope, another practice, attackers" portal_in_browser
# What make portal starts: the portal, its mailbox, and a link that arrives there.
portal_start() {
	SCRATCH=$SCRATCH/start
	mkdir "$SCRATCH" || return
	. test/server.sh
	export PGDATABASE=demo CLIENTS=400 PORT=$((20000 + RANDOM % 40000))
	start_server && createdb demo || return
	setsid docs/examples/portal/start.sh &
	local group=$! status=1 tries
	for ((tries = 0; tries < 600; tries++)); do
		! curl -sf "http://localhost:$PORT/sign-in" | grep -q 'Send me a link' || break
		sleep 0.2
	done
	curl -sS -H 'Sec-Fetch-Site: same-origin' -d email=ifeoma@aldgate.example "http://localhost:$PORT/sign-in" > /dev/null
	for ((tries = 0; tries < 50 && status; tries++)); do
		curl -sS "http://localhost:$((PORT + 1))/" | grep -q "To ifeoma@aldgate.example.*http://localhost:$PORT/link?t=" && status=0
		sleep 0.2
	done
	kill -- "-$group"
	pg_ctl -D "$DATA" -m fast -w stop > /dev/null
	return "$status"
}
portal_starts() { (portal_start); }
must "make portal: the portal answers, and a link arrives in the mailbox" portal_starts

# Our signatures beside those of others, and a real S3 server. npm's packages come from its registry.
must "the oracle builds" gcc -std=gnu11 -D_GNU_SOURCE -g -O1 -Isrc test/oracle/oracle.c $sources -lsodium -lcrypto -lcrypt -o "$build/oracle"
mkdir "$build/npm" "$SCRATCH/s3"
cp test/oracle/package.json test/oracle/*.mjs "$build/npm"
must "npm installs what ours is compared with" npm --prefix "$build/npm" --cache "$build/npm/cache" install --no-audit --no-fund
must "URLs, forms and webhooks are signed as by others" node "$build/npm/oracle.mjs" "$build/oracle"
must "a real S3 server takes our URLs and no others" env SCRATCH="$SCRATCH/s3" test/oracle/s3.sh
# Clients that Debian has, on an ordinary server: what they print is TAP, and any line "not ok" is a failure.
tap_of() { "$@" > "$build/tap" 2>&1; cat "$build/tap"; grep -q '^ok' "$build/tap" && ! grep -q '^not ok' "$build/tap"; }
if start_server && test/roles.sh; then
	must "the report on a log, printed by Chromium" tap_of test/print_report.sh
	createdb jose && psql -X -q -d jose -c 'CREATE EXTENSION immiiq'
	must "jose and immiiq take each other's tokens, and refuse what is forged" tap_of env DATABASE=jose node "$build/npm/jose.mjs"
	must "10,000 transactions of 50 organisations through PgBouncer" tap_of test/attack/pgbouncer.sh
	mkdir "$build/clients" && cp test/clients/package.json "$build/clients"
	must "npm installs clients" npm --prefix "$build/clients" --cache "$build/npm/cache" install --ignore-scripts --no-audit --no-fund
	must "node-postgres: every sealed type, prepared statements, a pool, cursors" tap_of node test/clients/node_postgres.mjs "$build/clients"
	must "pgx: two organisations over one pool" tap_of env GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$build/go" go run test/clients/pgx.go
	must "Prometheus takes the rules, Debian's exporter the queries of docs/stat.md" tap_of test/prometheus.sh
	must "PostGraphile and an MCP server: members of different scope" tap_of node test/clients/clients.mjs "$build/clients"
	must "Django, SQLAlchemy, Rails, TypeORM and Prisma: members of different scope" tap_of node test/clients/orms.mjs "$build/clients"
	must "every function that the application may call, 100 times, by four identities" tap_of env ATTACK_CALLS=100 test/attack/run.pl with_any_argument
	must "sqlsmith for ${SQLSMITH_SECONDS:-600} s" tap_of env SERVER_LOG="$SERVER_LOG" test/attack/sqlsmith.sh "${SQLSMITH_SECONDS:-600}"
	pg_ctl -D "$DATA" -m fast -w stop > /dev/null
	rm -rf "$DATA" "$SCRATCH/sock" "$SCRATCH/keys"
else
	must "a server starts" false
fi
must "kill -9 of backends, workers and postmaster, ${ROUNDS:-200} rounds; pgBackRest full, incremental, to a point in time" \
	make -s installcheck REGRESS= ISOLATION= PROVE_FLAGS='-v --merge -I test/t' PROVE_TESTS='test/slow/crash.pl test/slow/pgbackrest.pl'
# Last: it installs a library that can lack a check.
must "the verifiers of the log without one of their checks are found out" test/mutants.sh
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
