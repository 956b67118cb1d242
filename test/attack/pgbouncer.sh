#!/bin/bash
# pgbouncer.sh: 10,000 transactions of 50 organisations, interleaved over 4 server connections of PgBouncer in transaction mode: whole
# ones, ones that fail midway, ones with savepoints and swallowed errors; statements of the extended protocol throughout. Each looks
# whether every row that it sees is its own organisation's; and between transactions nobody may see anything. Prints TAP.
set -eu
. test/attack/debian.sh
debian pgbouncer pgbouncer libevent-2.1-7 libc-ares2
database=regress_pgbouncer_$$
folder=$(mktemp -d "$SCRATCH/pgbouncer.XXXX")
createdb "$database"
pool=
trap '[ -z "$pool" ] || kill "$pool" 2>/dev/null; dropdb --force "$database" > /dev/null; rm -rf "$folder"' EXIT

psql -X -q -d "$database" -v ON_ERROR_STOP=1 > /dev/null <<'SQL'
CREATE EXTENSION immiiq;
SELECT immiiq.grant_application('regress_immiiq_app');
CREATE TABLE paper (org_id uuid, id uuid DEFAULT gen_random_uuid(), whose text, sealed enc_text(equality), PRIMARY KEY (org_id, id));
SELECT immiiq.protect('paper', 'clients');
-- Not protected: which token the tier has for whom.
CREATE TABLE token_of (o int PRIMARY KEY, token text);
GRANT SELECT, INSERT, UPDATE ON paper TO regress_immiiq_app;
GRANT SELECT ON token_of TO regress_immiiq_app;
DO $$
DECLARE org uuid; who uuid;
BEGIN
    FOR o IN 1..50 LOOP
        org := immiiq.create_org('Org ' || o);
        INSERT INTO immiiq.member (org_id, email, name, scope, modules) VALUES (org, 'm@example', 'M', 'all', '{clients}') RETURNING member_id INTO who;
        INSERT INTO token_of VALUES (o, immiiq.issue_session(who));
    END LOOP;
END
$$;
SELECT format('BEGIN; SELECT immiiq.operate(%L, ''rows''); INSERT INTO paper (whose, sealed) SELECT ''org %s'', ''org %s'' FROM generate_series(1, 20); COMMIT;',
    m.org_id, t.o, t.o) FROM token_of AS t JOIN immiiq.session AS s ON s.token_hash = sha256(convert_to(t.token, 'UTF8')) JOIN immiiq.member AS m USING (member_id) \gexec
VACUUM ANALYZE paper;
SQL
# A division by zero ends the client: that is how a script says that it saw what is not its own.
who="SELECT set_config('immiiq.token', (SELECT token FROM token_of WHERE o = :o), true);"
mine="SELECT 1 / (count(*) >= 20 AND bool_and(whose = 'org ' || :o) AND bool_and(sealed::text = 'org ' || :o) AND count(DISTINCT org_id) = 1)::int FROM paper;"
none="SELECT 1 / (count(*) = 0)::int FROM paper;"
write() { printf '%s\n' '\set o random(1, 50)' "${@:2}" > "$folder/$1"; }
write whole "BEGIN;" "$who" "$mine" "UPDATE paper SET whose = whose WHERE id = (SELECT id FROM paper LIMIT 1);" "COMMIT;"
write between "$none"
write fails "BEGIN;" "$who" "$mine" "DO 'BEGIN RAISE serialization_failure; END';" "COMMIT;"
write rolled_back "BEGIN;" "$who" "$mine" "SET work_mem = '5MB';" "ROLLBACK;"
write savepoints "BEGIN;" "SAVEPOINT a;" "$who" "$mine" "ROLLBACK TO a;" "$none" "$who" "$mine" \
	"DO 'BEGIN INSERT INTO paper (org_id) VALUES (gen_random_uuid()); EXCEPTION WHEN OTHERS THEN NULL; END';" "$mine" "COMMIT;"
write leaves "BEGIN;" "$who" "SET search_path = nowhere;" "COMMIT;" "BEGIN;" "$who" "$mine" "COMMIT;"

cat > "$folder/ini" <<INI
[databases]
pooled = host=$PGHOST dbname=$database
[pgbouncer]
unix_socket_dir = $folder
listen_addr =
listen_port = 6432
auth_type = any
auth_file = $folder/users
pool_mode = transaction
default_pool_size = 4
max_client_conn = 100
ignore_startup_parameters = extra_float_digits
INI
sed -i "s|^pooled = .*|& user=regress_immiiq_app|" "$folder/ini"
: > "$folder/users"
as=()
[ "$(id -u)" != 0 ] || { chmod -R a+rwX "$folder"; as=(-u postgres); }
pgbouncer "${as[@]}" "$folder/ini" > "$folder/log" 2>&1 &
pool=$!
for ((i = 0; i < 100; i++)); do ! pg_isready -q -h "$folder" -p 6432 || break; sleep 0.1; done

scripts=()
for name in whole@4 between@2 fails@1 rolled_back@1 savepoints@1 leaves@1; do scripts+=(-f "$folder/$name"); done
out=$(pgbench -n -h "$folder" -p 6432 -U regress_immiiq_app -M extended -c 20 -j 2 -t 500 "${scripts[@]}" pooled 2>&1) && status=0 || status=$?
done_=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' <<< "$out")
failed=$(sed -n 's/^number of failed transactions: \([0-9]*\).*/\1/p' <<< "$out")
servers=$(psql -X -A -t -d "$database" -c "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'regress_immiiq_app'")
verdict() { [ "$2" = 1 ] && echo "ok - $1" || { echo "not ok - $1"; sed 's/^/# /' <<< "$out"; tail -5 "$folder/log" | sed 's/^/# /'; }; }
verdict "nobody of 50 organisations saw a row of another's, or any without a token" $((status == 0))
verdict "10,000 transactions came to an end" $((${done_:-0} + ${failed:-0} == 10000))
verdict "some of them failed midway" $((${failed:-0} > 500))
verdict "over four server connections ($servers)" $((servers > 0 && servers <= 4))
echo 1..4
