#!/bin/bash
# psql.sh: loads the practices and opens psql as one of their members: MEMBER=amina, or else the owner of the first.
# A sign-in lasts for one transaction: psqlrc opens one, and :save commits it and opens the next.
set -eu -o pipefail
cd "$(dirname "$0")"
MEMBER=${MEMBER:-ifeoma}
login=${MEMBER%%@*}
interactive=$([ -t 0 ] && echo true || echo false)

private=$(mktemp -d)
trap 'rm -rf "$private"' EXIT

! $interactive || echo "Loading three practices with 10,000 clients each; this takes some seconds."
./load.sh
for practice in 1 2 3; do
	psql -X -q -At -F '|' -v ON_ERROR_STOP=1 -v practice=$practice -U practice_operator -f tokens.sql
done > "$private/tokens"
awk -F '|' '{ printf "  %-10s %s\n", $1, $2 }' "$private/tokens" > "$private/members"
if ! grep -q "^$login|" "$private/tokens"; then
	{ echo "no member $MEMBER; there are:"; cat "$private/members"; } >&2
	exit 2
fi

{
	cat psqlrc
	echo "\\set interactive $interactive"
	echo "\\set members '\\\\! cat $private/members'"
	while IFS='|' read -r name who token; do
		echo "\\set $name '\\\\set token $token \\\\set who ''$who'' \\\\set login $name \\\\\\\\ :enter'"
	done < "$private/tokens"
	echo ":$login"
} > "$private/psqlrc"

! $interactive || cat <<'BANNER'

This psql stands for the web tier: it signs in as a member at the start of every transaction.
  SELECT name, birth_date, nationality, family FROM clients WHERE status = 'open' LIMIT 5;   \dt   \d clients
  :amina  :leila  :margaret  :katrin     look with another member's eyes; :members lists them all; :nobody signs out
  :save                                  commits, and signs in again
Whatever you do here, the cluster goes away with psql.

BANNER
PSQLRC=$private/psqlrc psql -q -U practice_app
