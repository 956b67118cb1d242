#!/bin/bash
# roles.sh: the login roles that every suite's databases share; made once, before suites run side by side.
set -eu
psql -X -q -v ON_ERROR_STOP=1 <<'SQL'
CREATE ROLE regress_immiiq_nobody LOGIN;
CREATE ROLE regress_immiiq_app LOGIN;
CREATE ROLE regress_immiiq_auditor LOGIN;
CREATE ROLE regress_immiiq_operator LOGIN;
CREATE ROLE regress_immiiq_mailer LOGIN;
SQL
