#!/bin/bash
# queue.sh SQL: a session of the application's runs a statement beside the case's own open transaction; says with which SQLSTATE it is refused.
# 55P03: it had asked for a lock first, behind which everybody's writes queue.
psql -X -q -A -t -U regress_immiiq_app -d "$ATTACK_DATABASE" -v VERBOSITY=sqlstate -v token="$ATTACK_ALPHA_TOKEN" 2>&1 > /dev/null <<SQL | grep -oE '[0-9A-Z]{5}$' | head -1
SET lock_timeout = '300ms';
BEGIN;
SELECT set_config('immiiq.token', :'token', true);
$1;
SQL
