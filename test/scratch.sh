#!/bin/bash
# scratch.sh GOAL: runs a goal of the Makefile in a scratch area of its own, as an unprivileged user.
# The area holds a copy of this tree, a private copy of PostgreSQL into which it is installed, and all
# servers; it goes away at the end, whatever the end. Two runs never share anything.
set -eu
umask 022

goal=$1
tree=$(cd "$(dirname "$0")/.." && pwd)

"$tree/test/packages.sh" "$goal"
. "$tree/test/release.sh"

PG_CONFIG=${PG_CONFIG:-}
[ -n "$PG_CONFIG" ] || PG_CONFIG=/usr/lib/postgresql/$MAJOR/bin/pg_config
[ -x "$PG_CONFIG" ] || PG_CONFIG=$(command -v "$PG_CONFIG" || command -v pg_config)

# Socket paths end at about 107 bytes, and PGXS breaks on a blank.
tmp=${TMPDIR:-/tmp}
case $tmp in *[[:space:]]*) tmp=/tmp ;; esac
[ ${#tmp} -le 40 ] || tmp=/tmp
scratch=$(mktemp -d "$tmp/iq.XXXXXX")

child=
# Prints the processes that work inside the area: ours by what they do, not by what they are called.
ours() {
	local process
	for process in /proc/[0-9]*; do
		case $(readlink "$process/cwd" 2>/dev/null)/ in "$scratch"/*) echo "${process#/proc/}" ;; esac
	done
}
# Ends what still runs, servers first and cleanly enough to give back their shared memory; removes the area.
clean_up() {
	trap '' EXIT INT TERM HUP
	set +e
	cd /
	local signal tries
	for signal in TERM QUIT KILL; do
		[ -n "$(ours)" ] || break
		kill -$signal $(ours) 2>/dev/null
		for tries in {1..40}; do
			[ -n "$(ours)" ] || break
			sleep 0.05
		done
	done
	rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# PostgreSQL's programs find their files relative to themselves: a copy of the tree is a server of its own.
mkdir "$scratch/pg"
for part in bindir sharedir pkglibdir pkgincludedir includedir-server; do
	dir=$("$PG_CONFIG" --$part)
	if [ ! -d "$scratch/pg$dir" ]; then
		mkdir -p "$scratch/pg$(dirname "$dir")"
		cp -a "$dir" "$scratch/pg$(dirname "$dir")/"
	fi
done
if [ -d /usr/share/postgresql-common ]; then
	mkdir -p "$scratch/pg/usr/share"
	cp -a /usr/share/postgresql-common "$scratch/pg/usr/share/"
fi

mkdir "$scratch/tree" "$scratch/tmp" "$scratch/home"
tar -C "$tree" --exclude=./.git --exclude=./build --exclude=node_modules --exclude='*.o' --exclude='*.d' --exclude='*.so' \
	--exclude=./sql/immiiq--*.sql --exclude=./tmp_check -cf - . | tar -C "$scratch/tree" --no-same-owner -xf -

as_user=()
if [ "$(id -u)" = 0 ]; then
	user=nobody
	! id postgres >/dev/null 2>&1 || user=postgres
	chown -R "$user" "$scratch" ${CARRY:+"$CARRY"}
	as_user=(runuser -u "$user" --)
fi

# Nothing of the caller's environment reaches the run but what is named here.
vars=(
	"PATH=$scratch/pg$("$PG_CONFIG" --bindir):/usr/local/bin:/usr/bin:/bin"
	"HOME=$scratch/home" "TMPDIR=$scratch/tmp" "SCRATCH=$scratch" LC_ALL=C.UTF-8 TZ=UTC
)
for name in TERM COLUMNS CI BENCH BENCH_SCALE MEMBER PORT SEED CLIENTS FUZZ_SECONDS VALGRIND SUITES TESTS LIMIT CASES KINDS CHECKS SQLSMITH_SECONDS ROUNDS MINUTES ORGS SANITIZE CARRY \
	S3_ENDPOINT S3_ACCESS_KEY S3_SECRET S3_ANCHOR_SECRET NODE_EXTRA_CA_CERTS; do
	[ -z "${!name:-}" ] || vars+=("$name=${!name}")
done

cd "$scratch/tree"
if [ "$goal" = psql ]; then
	# Ctrl-C cancels a query; psql stays.
	trap : INT
	"${as_user[@]}" env -i "${vars[@]}" test/goal.sh "$goal"
else
	"${as_user[@]}" env -i "${vars[@]}" test/goal.sh "$goal" < /dev/null &
	child=$!
	wait "$child" && status=0 || status=$?
	child=
	# ACCEPT=yes takes what regress and isolation gave as what they must give; look at git diff then.
	if [ "${ACCEPT:-}" = yes ]; then
		cp results/*.out "$tree/test/expected/" 2>/dev/null || true
		cp output_iso/results/*.out "$tree/test/isolation/expected/" 2>/dev/null || true
	fi
	exit "$status"
fi
