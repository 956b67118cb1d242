#!/bin/bash
# catalog_diff.sh DATABASE DATABASE: how what belongs to extension immiiq differs between two databases of the server that
# PGHOST names: bodies, privileges, comments, dependencies, rows that the install script writes. Prints a diff, and
# exits with 1, when it does. With one database it prints what is compared.
# An installed and an updated extension of one version have to be the same: test/t/004_update.pl.
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd)

catalog() {	# database
	psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$1" -f "$here/catalog.sql"
}
if [ $# = 1 ]; then
	catalog "$1"
else
	diff -u --label "$1" --label "$2" <(catalog "$1") <(catalog "$2")
fi
