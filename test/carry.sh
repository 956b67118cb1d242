#!/bin/bash
# carry.sh: a database that goes from one major of PostgreSQL to the next as a dump, in folder $CARRY. Without a dump there it
# makes the database; otherwise it restores it, with the root key, and sees that everything holds that held before. Then it
# goes on: more rows, a rotation, a new dump. Runs inside a scratch area (goal.sh); prints TAP.
set -eu -o pipefail
. test/server.sh
number=0 failed=0
org=a1fa0000-0000-4000-8000-000000000000

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d carry "$@"; }
# As an operator in the organisation, so that values are sealed and opened.
inside() { printf "BEGIN;\nSELECT FROM immiiq.operate('%s', 'carry') \\\\gset\n%s;\nCOMMIT;\n" "$org" "$1" | sql; }
is() {	# got, wanted, name
	number=$((number + 1))
	if [ "$1" = "$2" ]; then
		echo "ok $number - $major: $3"
	else
		failed=1
		printf 'not ok %s - %s: %s\n# got:    %s\n# wanted: %s\n' "$number" "$major" "$3" "$1" "$2"
	fi
}
# Without an identity: the envelopes as they are stored.
envelopes() { sql -c "SELECT md5(string_agg(concat(name, born, seen, paid, note, doc, photo), ',' ORDER BY id)) FROM person"; }
# Each kind of search, by index and without.
searches() {
	local scan
	for scan in on off; do
		inside "SET LOCAL enable_seqscan = $scan; SELECT string_agg(s, ' ' ORDER BY s) FROM (
			SELECT 'equal ' || string_agg(id::text, ',' ORDER BY id) AS s FROM person WHERE name = 'Zoë 77'
			UNION ALL SELECT 'like ' || count(*) FROM person WHERE note ILIKE '%LETTER 1%'
			UNION ALL SELECT 'between ' || count(*) FROM person WHERE born BETWEEN '1950-02-01' AND '1950-02-28'
			UNION ALL SELECT 'above ' || count(*) FROM person WHERE paid > 1990
			UNION ALL SELECT 'contains ' || count(*) FROM person WHERE doc @> '{\"kind\": 3}'
			UNION ALL SELECT 'opened ' || md5(string_agg(concat(name, born, seen, paid, note, doc, photo), ',' ORDER BY id)) FROM person) AS all_of_them"
	done
}

if [ ! -e "$CARRY/dump" ]; then
	start_server && test/roles.sh
	major=$(psql -X -A -t -c 'SHOW server_version_num' | cut -c1-2)
	createdb carry
	sql -c 'CREATE EXTENSION immiiq' -o /dev/null -c "SELECT immiiq.grant_application('regress_immiiq_app'), immiiq.grant_auditor('regress_immiiq_auditor'),
		immiiq.create_org('Alpha', '$org'), immiiq.create_org('Beta')" -c "CREATE TABLE person (org_id uuid, id int, name enc_text(1, equality), born enc_date(2, equality, range), seen enc_timestamptz(3, sealed),
		paid enc_numeric(4, range), note enc_text(5, match), doc enc_jsonb(6, contains), photo enc_bytea(7, sealed), PRIMARY KEY (org_id, id))" \
		-c "SELECT immiiq.protect('person', 'clients')" -c 'CREATE INDEX ON person (org_id, name)' -c 'CREATE INDEX ON person USING gin (born, paid, note, doc)' \
		-c 'GRANT SELECT, INSERT, UPDATE, DELETE ON person TO regress_immiiq_app'
	inside "INSERT INTO person SELECT '$org', i, 'Zoë ' || i, date '1950-01-01' + i, timestamptz '2000-01-01 00:00+00' + i * interval '1 hour', i, 'Letter ' || i, jsonb_build_object('id', i, 'kind', i % 7), decode(md5(i::text), 'hex')
		FROM generate_series(1, 2000) AS i"
	size=0
else
	make_cluster
	cp "$CARRY/root-key" "$SCRATCH/keys/root"
	pg_ctl -D "$DATA" -l "$SERVER_LOG" -w start > /dev/null
	test/roles.sh
	major=$(psql -X -A -t -c 'SHOW server_version_num' | cut -c1-2)
	createdb -T template0 carry
	quietly pg_restore -j2 -d carry --exit-on-error "$CARRY/dump" && status=0 || status=$?
	is "$status" 0 'the dump is restored, in parallel'
	is "$(sql -c 'SELECT * FROM immiiq.verify_references() WHERE missing > 0')" '' 'whole'
	is "$(envelopes)" "$(cat "$CARRY/envelopes")" 'every envelope is the same, byte for byte'
	is "$(searches)" "$(cat "$CARRY/searches")" 'every search finds the same, by index and without, and every value opens'
	is "$(sql -c "SELECT 'error' FROM immiiq.verify_audit() WHERE severity = 'error' LIMIT 1")" '' 'the log verifies'
	is "$(psql -X -q -A -t -d carry -U regress_immiiq_app -c 'SELECT count(*) FROM person')" 0 'who is nobody sees no row'
	size=$(cat "$CARRY/size")
fi
inside "INSERT INTO person (org_id, id, name, born, note) VALUES ('$org', 1000000 + $major, 'On $major', '1999-09-09', 'added')"
inside "UPDATE person SET note = 'Letter changed on $major' WHERE id = $major"
[ "$major" = 15 ] || sql -c "CALL immiiq.rotate_key('$org')"
sql -c 'CALL immiiq.seal()'
is "$(sql -c "SELECT * FROM immiiq.verify_audit()")" '' 'the log goes on and verifies'
is "$(sql -c "SELECT max(size) > $size FROM immiiq.tree_head")" t 'and has grown'
is "$(sql -c "SELECT check_name || ': ' || detail FROM immiiq.doctor() WHERE status = 'fail'")" '' 'the doctor finds nothing that fails'
searches > "$CARRY/searches"
is "$(sort -u "$CARRY/searches" | wc -l)" 1 'indexes and scans agree'
envelopes > "$CARRY/envelopes"
sql -c 'SELECT max(size) FROM immiiq.tree_head' > "$CARRY/size"
cp "$SCRATCH/keys/root" "$CARRY/root-key"
pg_dump -Fc -d carry -f "$CARRY/dump.new" && mv "$CARRY/dump.new" "$CARRY/dump"
echo "1..$number"
pg_ctl -D "$DATA" -m fast -w stop > /dev/null
exit "$failed"
