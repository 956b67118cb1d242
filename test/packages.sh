#!/bin/bash
# packages.sh GOAL: installs the Debian packages that GOAL needs and that are missing.
# As root or through sudo; otherwise prints the list and exits with 3. Leaves no cluster behind.
set -eu
export LC_ALL=C

goal=$1
. "$(dirname "$0")/release.sh"
case $goal in
docs) packages=pandoc ;;
*) packages="gcc libc6-dev libcrypt-dev make libsodium-dev libssl-dev postgresql-$MAJOR postgresql-server-dev-$MAJOR" ;;
esac
case $goal in
check | check-slow | cassert | valgrind)
	packages+=" $CLANG $CLANG_FORMAT git libipc-run-perl perl postgresql-$MAJOR-pgtap age nodejs opensc softhsm2" ;;
esac
case $goal in
cassert)
	packages+=" dpkg-dev libreadline-dev libxml2-dev zlib1g-dev valgrind" ;;
soak)
	packages+=" libipc-run-perl perl" ;;
valgrind)
	packages+=" valgrind" ;;
package)
	packages+=" build-essential debhelper dpkg-dev git lintian postgresql-server-dev-all unzip" ;;
portal)
	command -v node > /dev/null && command -v npm > /dev/null || packages+=" nodejs npm" ;;
check-slow)
	packages+=" awscli chromium curl debootstrap gcc-s390x-linux-gnu golang-github-jackc-pgx-v4-dev golang-go libc6-dev-s390x-cross libclang-rt-14-dev memcached pgbackrest pandoc poppler-utils prometheus prometheus-postgres-exporter python3-django python3-psycopg2 python3-sqlalchemy qemu-user ruby-activerecord ruby-pg swift-account swift-container swift-object swift-proxy valgrind"
	command -v node > /dev/null && command -v npm > /dev/null || packages+=" nodejs npm" ;;
esac

# Another server chosen by PG_CONFIG brings its own packages.
if [ -n "${PG_CONFIG:-}" ]; then
	packages=${packages// postgresql-$MAJOR postgresql-server-dev-$MAJOR/}
fi

missing() {
	local package
	for package in $packages; do
		[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
	done
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	command -v "${PG_CONFIG:-pg_config}" >/dev/null && exit 0
	echo "make $goal installs what it needs on Debian only; elsewhere install the equivalents of: $packages" >&2
	exit 3
fi
[ -n "$(missing)" ] || exit 0

if [ "$(id -u)" = 0 ]; then
	as_root=()
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo true; }; }; then
	as_root=(sudo)
else
	echo "make $goal needs these packages; install them as root and run it again:" >&2
	echo "  apt-get install --no-install-recommends" $(missing) >&2
	exit 3
fi

# From here on as root and one at a time: what is missing is asked again under the lock.
if [ "${PACKAGES_LOCKED:-}" != yes ]; then
	exec "${as_root[@]}" env PACKAGES_LOCKED=yes PG_CONFIG="${PG_CONFIG:-}" flock /var/lock/immiiq-packages "$0" "$goal"
fi

# Installing a PostgreSQL server creates and starts a cluster unless this file says no.
conf=/etc/postgresql-common/createcluster.conf
saved=
# Puts the DBA's setting back.
restore_conf() {
	if [ -n "$saved" ]; then
		cat "$saved" > "$conf"
		rm -f "$saved"
	fi
}
trap restore_conf EXIT
trap 'exit 1' INT TERM HUP

log=$(mktemp)
# Runs apt-get in silence; shows what it said when it fails.
apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 "$@" < /dev/null > "$log" 2>&1
}
install() {
	apt install --no-install-recommends "$@" || { apt update && apt install --no-install-recommends "$@"; } ||
		{ cat "$log" >&2; echo "could not install: $*" >&2; exit 1; }
}

list=$(missing)
[ -n "$list" ] || exit 0
echo "installing:" $list
case $list in
*postgresql-$MAJOR*)
	[ -e "$conf" ] || install postgresql-common
	saved=$(mktemp)
	cat "$conf" > "$saved"
	echo 'create_main_cluster = false' >> "$conf" ;;
esac
install $list
rm -f "$log"
