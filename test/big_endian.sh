#!/bin/bash
# big_endian.sh FILE…: the C unit tests on big-endian s390x, under qemu. They read the vectors of docs/format.md and
# docs/audit-format.md, which amd64 wrote, and make them again. Debian's libraries for s390x are unpacked, not installed.
set -eu

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
mkdir -p "$build/apt/lists/partial" "$build/apt/cache/archives/partial" "$build/root"
touch "$build/apt/status"
apt_get() {
	apt-get -q -o APT::Architecture=s390x -o APT::Architectures=s390x -o Dir::State="$build/apt" -o Dir::State::status="$build/apt/status" \
		-o Dir::Cache="$build/apt/cache" "$@"
}
(cd "$build" && apt_get update && apt_get download libc6 libcrypt1 libcrypt-dev libsodium23 libsodium-dev libssl3 libssl-dev) > "$build/log" 2>&1 ||
	{ tail -n 20 "$build/log"; exit 1; }
for deb in "$build"/*.deb; do
	dpkg -x "$deb" "$build/root"
done

libraries=$build/root/usr/lib/s390x-linux-gnu
sources=$(grep -L '"postgres.h"' src/*/*.c)
tests=()
for test in "$@"; do
	name=$(basename "$test" .c)
	s390x-linux-gnu-gcc -std=gnu11 -O2 -Isrc -Itest/unit -isystem "$build/root/usr/include/s390x-linux-gnu" -isystem "$build/root/usr/include" \
		"$test" $sources -L"$libraries" -Wl,-rpath-link,"$libraries" -lsodium -lcrypto -lcrypt -o "$build/$name"
	tests+=("$build/$name")
done
prove -j2 -v --exec "qemu-s390x -L $build/root -E LD_LIBRARY_PATH=$libraries" "${tests[@]}"
