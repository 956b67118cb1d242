#!/bin/bash
# other_database.sh: makes another database with members of the same ids, and offers here what it gave out there: an opaque token and a JWT.
other=${ATTACK_DATABASE}_other
createdb "$other" || exit 1
trap 'dropdb --force "$other"' EXIT
tokens=$(psql -X -q -A -t -U postgres -d "$other" -v ON_ERROR_STOP=1 <<'SQL'
CREATE EXTENSION immiiq;
\i test/pgtap/setup.psql
SELECT immiiq.issue_access_token(session_id) AS jwt FROM immiiq.session WHERE member_id = :'alpha_owner' \gset
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'jwt') \gset
COMMIT;
SELECT :'alpha_owner_token', :'jwt';
SQL
) || exit 1
for token in ${tokens/|/ }; do
	psql -X -q -A -t -U regress_immiiq_app -d "$ATTACK_DATABASE" -v VERBOSITY=sqlstate -v token="$token" <<-'SQL' 2>&1 | grep -o 'IQ010' || echo taken
		BEGIN; SELECT set_config('immiiq.token', :'token', true); COMMIT;
	SQL
done | paste -sd ' '
