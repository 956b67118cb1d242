#!/bin/bash
# s3.sh: a real S3 server takes the URLs that the database makes, and no others. Runs inside a scratch area ($SCRATCH).
set -eu
. test/server.sh
. test/oracle/swift.sh
export SWIFT=$SCRATCH/swift
mkdir "$SWIFT"
failed=0 count=0

# One line of TAP: what was got against what was wanted.
is() {	# got, wanted, name
	count=$((count + 1))
	if [ "$1" = "$2" ]; then echo "ok $count - $3"; else echo "not ok $count - $3"; echo "# got $1, not $2"; failed=1; fi
}
# The status that the server answers with; the body is in $SWIFT/body, the headers in $SWIFT/headers.
status() {
	curl -s -m 20 -o "$SWIFT/body" -D "$SWIFT/headers" -w '%{http_code}' "$@"
}
# What a statement gives to the member who is signed in.
sql() {
	psql -X -q -A -t -U web -v ON_ERROR_STOP=1 -c "BEGIN" -c "SELECT FROM immiiq.authenticate('$token')" -c "$1" -c COMMIT |
		sed '/^$/d'
}
header() {
	tr -d '\r' < "$SWIFT/headers" | sed -n "s/^$1: //Ip"
}

start_server
start_swift
auth=$(curl -s -i -H 'X-Auth-User: test:tester' -H "X-Auth-Key: $S3_SECRET" "$S3_ENDPOINT/auth/v1.0" | tr -d '\r')
is "$(status -X PUT -H "X-Auth-Token: $(sed -n 's/^X-Auth-Token: //Ip' <<< "$auth")" \
	"$(sed -n 's/^X-Storage-Url: //Ip' <<< "$auth")/papers")" 201 'a bucket is made'

token=$(psql -X -q -A -t -v ON_ERROR_STOP=1 -v secret="$S3_SECRET" -v endpoint="$S3_ENDPOINT" <<-'SQL' | tail -n 1
	CREATE EXTENSION immiiq;
	CREATE ROLE web LOGIN;
	SELECT immiiq.grant_application('web');
	SELECT immiiq.create_org('Org') AS org \gset
	BEGIN;
	SELECT FROM immiiq.operate(:'org', 'test') \gset
	INSERT INTO immiiq.member (email, name, scope, modules) VALUES ('a@example', 'A', 'all', '{documents,settings}') RETURNING member_id AS member \gset
	INSERT INTO immiiq.object_store (name, endpoint, region, bucket, style) VALUES ('swift', :'endpoint', 'us-east-1', 'papers', 'path')
	    RETURNING object_store_id AS store \gset
	SELECT immiiq.set_store_credentials(:'store', 'test:tester', :'secret');
	INSERT INTO immiiq.document (document_id, object_store_id, key, filename, content_type) VALUES
	    ('d0000000-0000-4000-8000-000000000001', :'store', 'clients/Zoë Äß (1)+&=%2F日本/😀 ''x''.pdf', 'Zoë "Z".pdf', 'application/pdf'),
	    ('d0000000-0000-4000-8000-000000000002', :'store', 'page.html', 'page.html', 'text/html');
	SELECT immiiq.issue_session(:'member');
	COMMIT;
	SQL
)
document=d0000000-0000-4000-8000-000000000001
printf 'a passport' > "$SWIFT/file"

put=$(sql "SELECT url FROM immiiq.presign_put('$document', 'application/pdf', 10)")
is "$(status -X PUT -H 'Content-Type: application/pdf' --data-binary "@$SWIFT/file" "$put")" 200 'PUT'
is "$(status -X PUT -H 'Content-Type: text/html' --data-binary "@$SWIFT/file" "$put")" 403 'another type is refused'
is "$(status -X PUT -H 'Content-Type: application/pdf' --data-binary "a longer passport" "$put")" 403 'another length is refused'

get=$(sql "SELECT url FROM immiiq.presign_get('$document')")
is "$(status "$get") $(cat "$SWIFT/body")" '200 a passport' 'GET, of a key with every kind of character'
is "$(header Content-Disposition)" "attachment; filename=\"Zo_ _Z_.pdf\"; filename*=UTF-8''Zo%C3%AB%20%22Z%22.pdf" 'as an attachment with its name'
is "$(header Content-Type)" 'application/pdf' 'and type'
is "$(status -X PUT --data-binary x "$get")" 403 'the same URL does not PUT'
is "$(status -X DELETE "$get")" 403 'nor DELETE'
is "$(status "${get/x-immiiq-grant=/x-immiiq-grant=0}")" 403 'another grant is refused'
is "$(status "${get/X-Amz-Expires=3600/X-Amz-Expires=3601}")" 403 'a longer time is refused'
is "$(status "${get/response-content-disposition=attachment/response-content-disposition=inline}")" 403 'another disposition is refused'
is "$(status "${get/clients/client2}")" 403 'another key is refused'
is "$(status "$(sed -E 's/(X-Amz-Signature=)0/\11/; t; s/(X-Amz-Signature=)./\10/' <<< "$get")")" 403 'another signature is refused'
is "$(status "${get%%\?*}")" 400 'without one it is no request of S3'"'"'s'

head=$(sql "SELECT url FROM immiiq.presign_head('$document')")
is "$(status -I "$head") $(header Content-Length)" '200 10' 'HEAD'
is "$(status "$head")" 403 'its URL does not GET'

short=$(sql "SELECT url FROM immiiq.presign_get('$document', '1 second')")
for ((tries = 0; tries < 100; tries++)); do
	[ "$(status "$short")" = 200 ] || break
	sleep 0.1
done
is "$(status "$short")" 403 'an expired URL is refused'

html=$(sql "SELECT url FROM immiiq.presign_put('d0000000-0000-4000-8000-000000000002', 'text/html', 10)")
is "$(status -X PUT -H 'Content-Type: text/html' --data-binary "@$SWIFT/file" "$html")" 200 'HTML is uploaded'
is "$(status "$(sql "SELECT url FROM immiiq.presign_get('d0000000-0000-4000-8000-000000000002', shown => true)")") $(header Content-Type) $(header Content-Disposition)" \
	'200 application/octet-stream attachment; filename="page.html"' 'and comes back as an attachment only'

sql "SELECT immiiq.set_store_credentials(object_store_id, 'test:tester', 'wrong') FROM immiiq.object_store" > /dev/null
is "$(status "$(sql "SELECT url FROM immiiq.presign_get('$document')")")" 403 'with the wrong credentials nothing is fetched'
psql -X -q -U web -v ON_ERROR_STOP=1 -v secret="$S3_SECRET" -v token="$token" > /dev/null <<-'SQL'
	BEGIN;
	SELECT FROM immiiq.authenticate(:'token');
	SELECT immiiq.set_store_credentials(object_store_id, 'test:tester', :'secret') FROM immiiq.object_store;
	COMMIT;
	SQL

delete=$(sql "SELECT url FROM immiiq.presign_delete('$document')")
is "$(status "$delete")" 403 'a URL to delete does not GET'
is "$(status -X DELETE "$delete")" 204 'DELETE'
is "$(status "$(sql "SELECT url FROM immiiq.presign_get('$document')")")" 404 'and it is gone'
is "$(grep -cF "$S3_SECRET" "$SERVER_LOG")" 0 'the server log has no secret'
is "$(grep -c 'X-Amz-Signature' "$SERVER_LOG")" 0 'and no URL'
echo "1..$count"
pg_ctl -D "$DATA" -m fast -w stop > /dev/null
kill $(jobs -p)
exit $failed
