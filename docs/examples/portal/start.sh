#!/bin/bash
# start.sh: loads the demo's practices into $PGDATABASE and starts the portal, with a mailbox and a bucket beside it. Until Ctrl-C.
set -eu -o pipefail
cd "$(dirname "$0")"
export PORT=${PORT:-8080} NODE_ENV=production
BUCKET_SECRET=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
export BUCKET_SECRET

echo "Loading three practices; this takes some seconds."
../../../demo/load.sh
psql -X -q -o /dev/null -v ON_ERROR_STOP=1 -v bucket="http://localhost:$((PORT + 1))" -v secret="$BUCKET_SECRET" -f setup.sql
npm ci --silent --no-audit --no-fund --omit=dev

node outside.mjs &
while sleep 60; do psql -X -q -o /dev/null -U practice_auditor -c 'SELECT portal.look()'; done &
trap 'kill %1 %2' EXIT
cat <<TEXT

  The portal     http://localhost:$PORT
  The mailbox    http://localhost:$((PORT + 1))

  Sign in as ifeoma@aldgate.example (owner), leila@aldgate.example (team lead), amina@aldgate.example (caseworker),
  margaret@aldgate.example (accountant) or katrin@nordlicht.example (owner of another practice).
  The link comes to the mailbox, and is printed here. Ctrl-C ends it; the cluster goes away with it.

TEXT
node server.mjs
