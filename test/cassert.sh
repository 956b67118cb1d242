#!/bin/bash
# cassert.sh: builds Debian's source of PostgreSQL with assertions, knowing valgrind, and runs make check and
# make valgrind on it. As root, for what a build needs; SUITES, TESTS and VALGRIND choose as they do there.
set -eu
tree=$(cd "$(dirname "$0")/.." && pwd)
"$tree/test/packages.sh" cassert
. "$tree/test/release.sh"

area=$(mktemp -d)
trap 'cd /; rm -rf "$area"' EXIT
trap 'exit 1' INT TERM HUP
chmod 755 "$area"
mkdir -p "$area/apt/lists/partial" "$area/apt/cache/archives/partial"
cd "$area"

# The sources beside the packages that apt has, in a list and a state of our own.
apt-get indextargets --format 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(REPO_URI) $(RELEASE) $(COMPONENT)' \
	'Created-By: Packages' 'Origin: Debian' | sort -u > apt/sources.list
apt_get() {
	apt-get -q -o Dir::Etc::SourceList="$area/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State="$area/apt" -o Dir::Cache="$area/apt/cache" -o APT::Sandbox::User=root "$@"
}
# Mirrors do not have the sources of every update: the release's own will do. Debian's patches would install into /usr.
fetch() { apt_get source --download-only "$1"; }
{ apt_get update && { fetch "postgresql-$MAJOR" || fetch "postgresql-$MAJOR/$(. /etc/os-release && echo "$VERSION_CODENAME")"; }; } > apt.log 2>&1 ||
	{ tail -n 20 apt.log; exit 1; }
tar -xf "postgresql-$MAJOR"_*.orig.tar.*
cd "postgresql-$MAJOR".*/
echo "== $(basename "$PWD") with assertions"
cat > build.sh <<-BUILD
	set -e
	unset MAKELEVEL MAKEFLAGS # or the headers are not made
	CFLAGS='-O1 -g -fno-omit-frame-pointer' CPPFLAGS=-DUSE_VALGRIND ./configure --prefix='$area/pg' --enable-cassert \
		--enable-debug --enable-tap-tests --without-icu --with-libxml --with-openssl
	make -s -j2 world-bin
	make -s install-world-bin
BUILD
as_user=()
if [ "$(id -u)" = 0 ]; then
	chown -R nobody "$area"
	as_user=(runuser -u nobody --)
fi
"${as_user[@]}" bash build.sh > "$area/make.log" 2>&1 || { tail -n 20 "$area/make.log"; exit 1; }
cp /usr/share/postgresql/"$MAJOR"/extension/pgtap* "$("$area/pg/bin/pg_config" --sharedir)/extension/"
cd "$tree"
rm -rf "$area"/postgresql-*

failed=0
for goal in check valgrind; do
	echo "== make $goal"
	make "$goal" PG_CONFIG="$area/pg/bin/pg_config" || failed=1
done
exit "$failed"
