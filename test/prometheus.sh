#!/bin/bash
# prometheus.sh: promtool reads the alert rules of docs/stat.md and tries each of them; Debian's postgres exporter serves every metric of its
# queries, as a role that only monitors. Needs a server (PGHOST …). Prints TAP.
set -u
: "${PGHOST:?}"
work=$(mktemp -d)
database=regress_prometheus_$$
exporter=
clean_up() {
	[ -z "$exporter" ] || kill "$exporter"
	psql -XqAt -d postgres -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" -c "DROP ROLE IF EXISTS $database"
	rm -rf "$work"
}
trap clean_up EXIT
count=0
ok() {	# name, command …
	local name=$1
	shift
	count=$((count + 1))
	if "$@" > "$work/said" 2>&1; then echo "ok $count - $name"; else echo "not ok $count - $name"; sed 's/^/# /' "$work/said"; fi
}

perl -0ne 'print $1 if /```yaml\n(immiiq:.*?)```/s' docs/stat.md > "$work/queries.yaml"
perl -0ne 'print $1 if /```yaml\n(groups:.*?)```/s' docs/stat.md > "$work/rules.yaml"
# Each rule fires when it should, and neither before nor where all is well.
cat > "$work/test.yaml" <<'YAML'
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {series: immiiq_worker_running, values: "1 1 0x8"}
  - {series: immiiq_seal_lag_seconds, values: "0 61x8"}
  - {series: immiiq_events_lost, values: "3 3 4x8"}
  - {series: immiiq_ring_depth, values: "512 513x8"}
  - {series: immiiq_ring_capacity, values: "1024x9"}
  - {series: immiiq_tokens_refused, values: "0+90x11"}
  - {series: 'immiiq_posture_promises{status="fails"}', values: "1x9"}
  - {series: 'immiiq_posture_promises{status="holds"}', values: "52x9"}
  alert_rule_test:
  - {eval_time: 1m, alertname: ImmiiqWorkerDown}
  - {eval_time: 4m, alertname: ImmiiqWorkerDown, exp_alerts: [{exp_annotations: {summary: "Refusals are not written and entries are not sealed"}}]}
  - {eval_time: 2m, alertname: ImmiiqSealLag}
  - {eval_time: 4m, alertname: ImmiiqSealLag, exp_alerts: [{exp_annotations: {summary: "Audit entries wait for their place in the log"}}]}
  - {eval_time: 1m, alertname: ImmiiqEventsLost}
  - {eval_time: 2m, alertname: ImmiiqEventsLost, exp_alerts: [{exp_annotations: {summary: "Events found no room in the ring"}}]}
  - {eval_time: 1m, alertname: ImmiiqRingFilling}
  - {eval_time: 3m, alertname: ImmiiqRingFilling, exp_alerts: [{exp_annotations: {summary: "The worker does not keep up"}}]}
  - {eval_time: 7m, alertname: ImmiiqTokensRefused}
  - {eval_time: 10m, alertname: ImmiiqTokensRefused, exp_alerts: [{exp_annotations: {summary: "Somebody tries tokens"}}]}
  - {eval_time: 4m, alertname: ImmiiqPromiseFails}
  - {eval_time: 7m, alertname: ImmiiqPromiseFails, exp_alerts: [{exp_labels: {status: fails}, exp_annotations: {summary: "A promise does not hold: SELECT * FROM immiiq.posture"}}]}
- interval: 1m
  input_series:
  - {series: immiiq_worker_running, values: "1x9"}
  - {series: immiiq_seal_lag_seconds, values: "0 59x8"}
  - {series: immiiq_events_lost, values: "3x9"}
  - {series: immiiq_ring_depth, values: "512x9"}
  - {series: immiiq_ring_capacity, values: "1024x9"}
  - {series: immiiq_tokens_refused, values: "0+30x9"}
  - {series: 'immiiq_posture_promises{status="holds"}', values: "53x9"}
  alert_rule_test:
  - {eval_time: 9m, alertname: ImmiiqWorkerDown}
  - {eval_time: 9m, alertname: ImmiiqSealLag}
  - {eval_time: 9m, alertname: ImmiiqEventsLost}
  - {eval_time: 9m, alertname: ImmiiqRingFilling}
  - {eval_time: 9m, alertname: ImmiiqTokensRefused}
  - {eval_time: 9m, alertname: ImmiiqPromiseFails}
YAML
ok "promtool takes the alert rules" promtool check rules "$work/rules.yaml"
ok "they fire when they should, and not before" promtool test rules "$work/test.yaml"

psql -XqAt -v ON_ERROR_STOP=1 -d postgres -c "CREATE DATABASE $database" -c "CREATE ROLE $database LOGIN" > /dev/null
psql -XqAt -v ON_ERROR_STOP=1 -d "$database" -c 'CREATE EXTENSION immiiq' -c "SELECT immiiq.grant_auditor('$database')" > /dev/null
port=$((20000 + RANDOM % 40000))
DATA_SOURCE_NAME="user=$database dbname=$database host=$PGHOST sslmode=disable" prometheus-postgres-exporter --extend.query-path="$work/queries.yaml" \
	--disable-default-metrics --web.listen-address="127.0.0.1:$port" > "$work/exporter.log" 2>&1 &
exporter=$!
for ((tries = 0; tries < 100; tries++)); do
	curl -sf "http://127.0.0.1:$port/metrics" > "$work/metrics" && grep -q ^immiiq_ "$work/metrics" && break
	sleep 0.1
done
for metric in $(awk '/^immiiq/ { family = $1; sub(":", "", family) } /^    - / { name = $2; sub(":", "", name); if (!/LABEL/) print family "_" name }' "$work/queries.yaml"); do
	ok "the exporter serves $metric" grep -E "^$metric[{ ]" "$work/metrics"
done
ok "without an error of its own" grep -qx 'pg_exporter_last_scrape_error 0' "$work/metrics"
echo "1..$count"
