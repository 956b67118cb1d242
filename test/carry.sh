#!/bin/bash
# carry.sh: a database that goes from one major of PostgreSQL to the next as a dump, and its cluster by pg_upgrade, in folder
# $CARRY. Without a dump there it makes the database; otherwise it restores it, with the root key, and sees that everything
# holds that held before. Then it goes on: more rows, a rotation, a new dump. For pg_upgrade it leaves cluster and server
# programs. Runs inside a scratch area (goal.sh); prints TAP.
set -eu -o pipefail
. test/server.sh
number=0 failed=0
major=$(postgres -V | grep -oE '[0-9]+' | head -n 1)
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

# Tables, functions, operators of the extension. (pg_upgrade makes row and array types its members, too.)
members() {
	sql -c "SELECT classid::regclass, count(*) FROM pg_depend WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'immiiq')
		AND classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass) GROUP BY 1 ORDER BY 1"
}
# Promises that hold.
promises() { sql -c "SELECT claim FROM immiiq.posture WHERE status = 'holds' ORDER BY claim"; }
# Everything that must hold of a database that came from another major.
arrived() {
	is "$(envelopes)" "$(cat "$CARRY/envelopes")" "$1every envelope is the same, byte for byte"
	is "$(searches)" "$(cat "$CARRY/searches")" "$1every search finds the same, by index and without, and every value opens"
	is "$(sql -c "SELECT 'error' FROM immiiq.verify_audit() WHERE severity = 'error' LIMIT 1")" '' "$1the log verifies"
	is "$(psql -X -q -A -t -d carry -U regress_immiiq_app -c 'SELECT count(*) FROM person')" 0 "$1who is nobody sees no row"
}
# The same, and it goes on from there.
goes_on() {	# prefix of names, number of the row
	inside "INSERT INTO person (org_id, id, name, born, note) VALUES ('$org', $2, 'On $major', '1999-09-09', 'added')"
	inside "UPDATE person SET note = 'Letter changed on $major' WHERE id = $major"
	[ "$major" = 15 ] || sql -c "CALL immiiq.rotate_key('$org')"
	sql -c 'CALL immiiq.seal()'
	is "$(sql -c "SELECT * FROM immiiq.verify_audit()")" '' "$1the log goes on and verifies"
	is "$(sql -c "SELECT max(size) > $size FROM immiiq.tree_head")" t "$1and has grown"
	is "$(sql -c "SELECT check_name || ': ' || detail FROM immiiq.doctor() WHERE status = 'fail'")" '' "$1the doctor finds nothing that fails"
}
# Server programs of the major here, with what they load and this Debian's successor may not have: each runs by a script of its name.
pack_server() {
	local old=$SCRATCH/server program library
	mkdir -p "$old/libraries" "$old/programs"
	(cd "$SCRATCH/pg" && tar -cf - --exclude=include --exclude=pgxs usr/lib/postgresql usr/share/postgresql) | tar -C "$old" -xf -
	for program in "$old"/usr/lib/postgresql/"$major"/bin/*; do
		mv "$program" "$old/programs/"
		printf '#!/bin/bash\nold=$(cd "$(dirname "$0")/../../../../.." && pwd)\nexport LD_LIBRARY_PATH=$old/libraries\nexec -a "$0" "$old/programs/%s" "$@"\n' \
			"$(basename "$program")" > "$program"
		chmod 755 "$program"
	done
	ldd "$old"/programs/{postgres,pg_ctl,pg_controldata,pg_resetwal,psql,pg_dump} "$old"/usr/lib/postgresql/"$major"/lib/immiiq.so |
		awk '$3 ~ /^\// { print $3 }' | sort -u | grep -vE '/(libc|libm|libdl|librt|libpthread|libresolv)\.so' |
		while read -r library; do cp -L "$library" "$old/libraries/"; done
	tar -C "$old" -cf "$CARRY/server.new" . && mv "$CARRY/server.new" "$CARRY/server.tar"
	tar -C "$DATA" -cf "$CARRY/cluster.new" . && mv "$CARRY/cluster.new" "$CARRY/cluster.tar"
	echo "$major" > "$CARRY/major"
}
# The cluster of the older major goes to this one by pg_upgrade.
upgrade() {	# --copy or --link
	local area=$SCRATCH/upgrade$1 old from data
	from=$(cat "$CARRY/major")
	mkdir -p "$area/old" "$area/work"
	mkdir -m 700 "$area/data"
	tar -C "$area/old" -xf "$CARRY/server.tar"
	tar -C "$area/data" -xf "$CARRY/cluster.tar"
	data=$DATA
	# The new cluster: as any here, with the key of the old one.
	DATA=$area/new
	rm -rf "$SCRATCH/sock" "$SCRATCH/keys"
	make_cluster $([ "$major" -lt 18 ] || echo --no-data-checksums)
	cp "$CARRY/root-key" "$SCRATCH/keys/root"
	# Of the old cluster's settings these paths are another area's.
	printf '%s\n' "unix_socket_directories = '$PGHOST'" "immiiq.root_key_file = '$SCRATCH/keys/root'" >> "$area/data/postgresql.conf"
	(cd "$area/work" && pg_upgrade -U postgres -b "$area/old/usr/lib/postgresql/$from/bin" -B "$(dirname "$(command -v postgres)")" \
		-d "$area/data" -D "$DATA" -s "$PGHOST" "$1") > "$area/log" 2>&1 && status=0 || status=$?
	[ "$status" = 0 ] || { tail -n 8 "$area/log"; grep -hE -A 6 'error:|ERROR:|FATAL:' "$DATA"/pg_upgrade_output.d/*/log/*.log; } | sed 's/^/# /'
	if grep -qs 'ERROR:  unrecognized parameter "pg_' "$DATA"/pg_upgrade_output.d/*/log/*.log; then
		number=$((number + 1))
		echo "ok $number # SKIP pg_upgrade $1 from $from: the $major of this Debian is an older minor release, which does not know what that one stores"
	else
		is "$status" 0 "pg_upgrade $1 from $from"
	fi
	if [ "$status" = 0 ]; then
		pg_ctl -D "$DATA" -l "$SERVER_LOG" -w start > /dev/null
		sql -c 'ALTER EXTENSION immiiq UPDATE' 2> /dev/null
		sql -c 'SELECT immiiq.grant_kind(kind, role) FROM immiiq.role_grant' > /dev/null
		sql -c 'ANALYZE'
		arrived "pg_upgrade $1: "
		goes_on "pg_upgrade $1: " $((2000000 + major))
		is "$(comm -23 "$CARRY/promises" <(promises))" '' "pg_upgrade $1: every promise that held before holds"
		is "$(members)" "$(cat "$CARRY/members")" "pg_upgrade $1: the extension has its objects"
		pg_ctl -D "$DATA" -m fast -w stop > /dev/null
	fi
	DATA=$data
	rm -rf "$area" "$SCRATCH/sock" "$SCRATCH/keys"
}

if [ ! -e "$CARRY/dump" ]; then
	start_server && test/roles.sh
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
	size=$(cat "$CARRY/size")
	upgrade --copy
	upgrade --link
	make_cluster
	cp "$CARRY/root-key" "$SCRATCH/keys/root"
	pg_ctl -D "$DATA" -l "$SERVER_LOG" -w start > /dev/null
	test/roles.sh
	createdb -T template0 carry
	quietly pg_restore -j2 -d carry --exit-on-error "$CARRY/dump" && status=0 || status=$?
	is "$status" 0 'the dump is restored, in parallel'
	is "$(sql -c 'SELECT * FROM immiiq.verify_references() WHERE missing > 0')" '' 'whole'
	arrived ''
fi
goes_on '' $((1000000 + major))
searches > "$CARRY/searches"
is "$(sort -u "$CARRY/searches" | wc -l)" 1 'indexes and scans agree'
envelopes > "$CARRY/envelopes"
sql -c 'SELECT max(size) FROM immiiq.tree_head' > "$CARRY/size"
cp "$SCRATCH/keys/root" "$CARRY/root-key"
pg_dump -Fc -d carry -f "$CARRY/dump.new" && mv "$CARRY/dump.new" "$CARRY/dump"
promises > "$CARRY/promises"
members > "$CARRY/members"
pg_ctl -D "$DATA" -m fast -w stop > /dev/null
pack_server
echo "1..$number"
exit "$failed"
