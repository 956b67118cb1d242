#!/bin/bash
# package.sh: builds the Debian package twice, in two folders at two times, wants the same bytes, installs it with apt, runs its
# autopkgtests and removes it again; then the PGXN archive and the SBOM. It installs on the system it runs on: fresh.sh runs it in a chroot.
set -eu
[ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] || { echo "package.sh installs packages: run it by make package, in a fresh Debian" >&2; exit 3; }
cd "$(dirname "$0")/.."
tree=$PWD
test/packages.sh package
. test/release.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
# Shows what a command said only when it fails.
quietly() {
	"$@" > "$work/log" 2>&1 || { tail -n 60 "$work/log"; echo "not ok - $*"; exit 1; }
}

build() {	# folder, environment …
	local folder=$1
	shift
	mkdir -p "$folder"
	git -c safe.directory='*' clone -q --no-local "$tree" "$folder/immiiq-1.0"
	cd "$folder/immiiq-1.0"
	quietly pg_buildext updatecontrol
	quietly env "$@" dpkg-buildpackage -us -uc -b
	cd "$tree"
}
build "$work/one" TZ=UTC LC_ALL=C.UTF-8
build "$work/another/place" TZ=Pacific/Auckland LC_ALL=C
for deb in "$work"/one/*.deb; do
	cmp "$deb" "$work/another/place/$(basename "$deb")" || { echo "not ok - two builds differ"; exit 1; }
	echo "ok - two builds of $(basename "$deb") are the same $(stat -c %s "$deb") bytes, $(sha256sum < "$deb" | cut -c 1-16)…"
done
quietly env TMPDIR="$work" lintian --fail-on error --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog \
	"$work"/one/postgresql-"$MAJOR"-immiiq_*.deb
echo "ok - lintian finds no error"

quietly env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$work"/one/postgresql-"$MAJOR"-immiiq_*.deb
cp -r "$work/one/immiiq-1.0" "$work/tests"
cd "$work/tests"
for name in $(sed -n 's/^Tests: //p' debian/tests/control); do
	quietly debian/tests/"$name"
	echo "ok - autopkgtest $name"
done
cd "$tree"
quietly apt-get purge -y postgresql-"$MAJOR"-immiiq

# The archive for PGXN, and the bill of materials of what it builds.
cd "$work/one/immiiq-1.0"
quietly make PG_CONFIG=/usr/lib/postgresql/"$MAJOR"/bin/pg_config dist
mv immiiq-1.0.zip "$work/1.zip"
quietly make PG_CONFIG=/usr/lib/postgresql/"$MAJOR"/bin/pg_config dist
cmp immiiq-1.0.zip "$work/1.zip"
quietly unzip -q immiiq-1.0.zip -d "$work/unpacked"
cd "$work/unpacked/immiiq-1.0"
quietly make -j2 PG_CONFIG=/usr/lib/postgresql/"$MAJOR"/bin/pg_config all
echo "ok - make dist packs a tree that builds"
quietly make PG_CONFIG=/usr/lib/postgresql/"$MAJOR"/bin/pg_config sbom
quietly test/sbom.pl immiiq-1.0.spdx.json
grep -q '"libsodium"' immiiq-1.0.spdx.json && grep -q '"openssl"' immiiq-1.0.spdx.json || { echo "not ok - the SBOM names its libraries"; exit 1; }
echo "ok - the SBOM is as SPDX 2.3 wants it: $(grep -c '"SPDXID"' immiiq-1.0.spdx.json) elements"
