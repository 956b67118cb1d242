#!/bin/bash
# beta.sh SQL: another session, of beta's owner, does its work; says whether it could. For cases that try to block it.
psql -X -q -A -t -U regress_immiiq_app -d "$ATTACK_DATABASE" -v ON_ERROR_STOP=1 -v token="$ATTACK_BETA_TOKEN" > /dev/null 2>&1 <<SQL && echo beta works || echo beta is blocked
SET lock_timeout = '1s';
BEGIN;
SELECT set_config('immiiq.token', :'token', true);
$1;
ROLLBACK;
SQL
