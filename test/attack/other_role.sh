#!/bin/bash
# other_role.sh: the application takes another role that it was given, after the token of alpha's owner. All of it is rolled back.
psql -X -q -A -t -U postgres -d "$ATTACK_DATABASE" -v token="$ATTACK_ALPHA_TOKEN" <<'SQL' 2>&1
BEGIN;
CREATE ROLE regress_attack_hat;
GRANT regress_attack_hat TO regress_immiiq_app;
GRANT SELECT ON client TO regress_attack_hat;
SELECT immiiq.grant_application('regress_attack_hat') \gset ignored_
SET LOCAL SESSION AUTHORIZATION regress_immiiq_app;
SELECT set_config('immiiq.token', :'token', true) \gset ignored_
SELECT count(*) AS before FROM client \gset
SET LOCAL ROLE regress_attack_hat;
SELECT :before || ' then ' || count(*) FROM client;
ROLLBACK;
SQL
