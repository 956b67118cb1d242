#!/bin/bash
# goal.sh GOAL: what scratch.sh runs as the unprivileged user, inside the scratch area: builds the copy
# of the tree, installs it into the private PostgreSQL, and runs the goal.
set -eu
. test/server.sh

build_and_install
case $1 in
check) exec test/check.sh ;;
attack)
	start_server && test/roles.sh
	test/attack/run.pl ${CASES:-} ;;
mutants) exec test/mutants.sh ;;
soak) exec make -s installcheck REGRESS= ISOLATION= PROVE_FLAGS='-v --merge -I test/t' PROVE_TESTS=test/slow/soak.pl ;;
carry) exec test/carry.sh ;;
check-slow) exec test/check_slow.sh ;;
valgrind) exec test/valgrind.sh ;;
s3) exec test/oracle/s3.sh ;;
demo)
	start_server
	createdb demo
	PGDATABASE=demo demo/run.sh ;;
psql)
	start_server
	createdb demo
	PGDATABASE=demo demo/psql.sh ;;
portal)
	start_server
	createdb demo
	PGDATABASE=demo docs/examples/portal/start.sh ;;
bench)
	# Tables of a million rows stay in the server's memory, sealed or plain.
	start_server $'immiiq.throttle_buckets = 1048576\ntrack_commit_timestamp = on\nshared_buffers = '$(awk '/^MemTotal/ { print int($2 / 8192) }' /proc/meminfo)MB
	test/bench/run.sh ;;
esac
