#!/bin/bash
# versions.sh: make check on PostgreSQL 17 (Debian 13) and 18 (forky), each in a fresh chroot, and a database that goes from the
# PostgreSQL here through both of them, as a dump and by pg_upgrade. As root.
set -eu
tree=$(cd "$(dirname "$0")/.." && pwd)
CARRY=$(mktemp -d)
export CARRY
trap 'rm -rf "$CARRY"' EXIT
chmod 755 "$CARRY"
failed=0
"$tree/test/scratch.sh" carry || failed=1
for release in trixie forky; do
	RELEASE=$release "$tree/test/fresh.sh" check carry || failed=1
done
exit "$failed"
