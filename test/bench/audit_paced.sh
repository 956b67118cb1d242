#!/bin/bash
# audit_paced.sh TOKEN …: each token's organisation writes its share of 1,000 transactions a second, of five rows, for eight seconds.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
scripts=()
for token; do
	scripts+=(-f "$work/${#scripts[@]}")
	cat > "${scripts[-1]}" <<-SQL
		BEGIN;
		SELECT set_config('immiiq.token', '$token', true);
		INSERT INTO paced (org_id, note) SELECT immiiq.current_org(), 'a note' FROM generate_series(1, 5);
		COMMIT;
	SQL
done
pgbench -n -U bench_app -c 8 -j 2 -R 1000 -T 8 "${scripts[@]}" > /dev/null
