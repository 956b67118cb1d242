#!/bin/bash
# s3.sh: a real S3 server takes the URLs that the database makes, and no others. Runs inside a scratch area ($SCRATCH).
# The server is the one at $S3_ENDPOINT (radosgw.sh starts one), or Swift, which has no browser forms and no Object Lock.
set -eu
. test/server.sh
. test/oracle/swift.sh
export SWIFT=$SCRATCH/swift
mkdir -p "$SWIFT"
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
# The block of docs/audit.md in which a text stands.
doc_block() {
	awk -v text="$1" '/^```/ { if (inside && found) { printf "%s", block; exit } inside = !inside; block = ""; found = 0; next }
		inside { block = block $0 "\n"; if (index($0, text)) found = 1 }' docs/audit.md
}
header() {
	tr -d '\r' < "$SWIFT/headers" | sed -n "s/^$1: //Ip"
}

# Debian's aws asks where S3 is at every call; the server's anchor command has only the one user's credentials.
printf '#!/bin/sh\nexec /usr/bin/aws --endpoint-url "$S3_ENDPOINT" "$@"\n' > "$SWIFT/aws"
chmod 755 "$SWIFT/aws"
PATH=$SWIFT:$PATH AWS_ACCESS_KEY_ID=anchor AWS_SECRET_ACCESS_KEY=${S3_ANCHOR_SECRET:-} AWS_DEFAULT_REGION=us-east-1 start_server
if [ -z "${S3_ENDPOINT:-}" ]; then
	start_swift
	key=test:tester forms=no unsigned=400
	auth=$(curl -s -i -H "X-Auth-User: $key" -H "X-Auth-Key: $S3_SECRET" "$S3_ENDPOINT/auth/v1.0" | tr -d '\r')
	is "$(status -X PUT -H "X-Auth-Token: $(sed -n 's/^X-Auth-Token: //Ip' <<< "$auth")" \
		"$(sed -n 's/^X-Storage-Url: //Ip' <<< "$auth")/papers")" 201 'a bucket is made'
else
	key=$S3_ACCESS_KEY forms=yes unsigned=403
	is "$(status -X PUT --aws-sigv4 aws:amz:us-east-1:s3 --user "$key:$S3_SECRET" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \
		"$S3_ENDPOINT/papers")" 200 'a bucket is made'
fi

token=$(psql -X -q -A -t -v ON_ERROR_STOP=1 -v key="$key" -v secret="$S3_SECRET" -v endpoint="$S3_ENDPOINT" <<-'SQL' | tail -n 1
	CREATE EXTENSION immiiq;
	CREATE ROLE web LOGIN;
	SELECT immiiq.grant_application('web');
	SELECT immiiq.create_org('Org') AS org \gset
	BEGIN;
	SELECT FROM immiiq.operate(:'org', 'test') \gset
	INSERT INTO immiiq.member (email, name, scope, modules) VALUES ('a@example', 'A', 'all', '{documents,settings}') RETURNING member_id AS member \gset
	INSERT INTO immiiq.object_store (name, endpoint, region, bucket, style) VALUES ('swift', :'endpoint', 'us-east-1', 'papers', 'path')
	    RETURNING object_store_id AS store \gset
	SELECT immiiq.set_store_credentials(:'store', :'key', :'secret');
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
is "$(status "${get%%\?*}")" $unsigned 'without one it is no request of S3'"'"'s'

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

# Sends the form that was asked for with a file, and with other fields in the place of those of their names.
form() {	# file, [name=value …]
	local file=$1 field other arguments=()
	shift
	while IFS= read -r -d '' field; do
		for other; do [ "${other%%=*}" != "${field%%=*}" ] || continue 2; done
		arguments+=(--form-string "$field")
	done < "$SWIFT/fields"
	for other; do arguments+=(--form-string "$other"); done
	status "${arguments[@]}" -F "file=@$SWIFT/$file" "$url"
}
# Asks for a form: its address goes to $url, its fields as name=value, each with a zero byte, to $SWIFT/fields.
ask_form() {	# arguments of presign_post
	sql "SELECT url, encode(convert_to(string_agg(key || '=' || value, E'\n'), 'UTF8'), 'base64') FROM immiiq.presign_post($1), jsonb_each_text(fields) GROUP BY url" \
		> "$SWIFT/form"
	url=$(head -n 1 "$SWIFT/form" | cut -d '|' -f 1)
	sed '1s/^[^|]*|//' "$SWIFT/form" | base64 -d | tr '\n' '\0' > "$SWIFT/fields"
	printf '\0' >> "$SWIFT/fields"
}
if [ "$forms" = yes ]; then
	printf 'a new passport' > "$SWIFT/new"
	printf 'a passport that is far too long' > "$SWIFT/long"
	ask_form "'$document', 'application/pdf', 1, 20"
	is "$(form new)" 204 'POST of a form'
	is "$(status "$get") $(cat "$SWIFT/body") $(header Content-Type)" '200 a new passport application/pdf' 'and the object is what was posted'
	is "$(form long)" 400 'a file that is too long is refused'
	is "$(form new Content-Type=text/html)" 403 'another type is refused'
	is "$(form new key=elsewhere.pdf)" 403 'another key is refused'
	is "$(form new x-amz-meta-immiiq-grant=0)" 403 'another grant is refused'
	is "$(form new "policy=$(printf '{"expiration": "2099-01-01T00:00:00.000Z", "conditions": []}' | base64 -w 0)")" 403 'another policy is refused'
	ask_form "'$document', 'image/*', 1, 20"
	is "$(form new Content-Type=image/png)" 204 'a family of types takes one of them'
	is "$(form new Content-Type=text/html)" 403 'and no other'
	ask_form "'$document', 'application/pdf', 1, 20, '1 second'"
	for ((tries = 0; tries < 100; tries++)); do
		[ "$(form new)" = 204 ] || break
		sleep 0.1
	done
	is "$(form new)" 403 'a form that has expired is refused'
fi

sql "SELECT immiiq.set_store_credentials(object_store_id, '$key', 'wrong') FROM immiiq.object_store" > /dev/null
is "$(status "$(sql "SELECT url FROM immiiq.presign_get('$document')")")" 403 'with the wrong credentials nothing is fetched'
psql -X -q -U web -v ON_ERROR_STOP=1 -v key="$key" -v secret="$S3_SECRET" -v token="$token" > /dev/null <<-'SQL'
	BEGIN;
	SELECT FROM immiiq.authenticate(:'token');
	SELECT immiiq.set_store_credentials(object_store_id, :'key', :'secret') FROM immiiq.object_store;
	COMMIT;
	SQL

delete=$(sql "SELECT url FROM immiiq.presign_delete('$document')")
is "$(status "$delete")" 403 'a URL to delete does not GET'
is "$(status -X DELETE "$delete")" 204 'DELETE'
is "$(status "$(sql "SELECT url FROM immiiq.presign_get('$document')")")" 404 'and it is gone'
# Anchors under Object Lock: the script of docs/audit.md, with credentials that may put and not delete.
if [ -n "${S3_ANCHOR_SECRET:-}" ]; then
	# aws as the user of a name and secret.
	as() {	# user, secret, arguments …
		env PATH="$SWIFT:$PATH" AWS_ACCESS_KEY_ID="$1" AWS_SECRET_ACCESS_KEY="$2" AWS_DEFAULT_REGION=us-east-1 AWS_PAGER= timeout 60 aws "${@:3}"
	}
	owner() { as "$S3_ACCESS_KEY" "$S3_SECRET" s3api "$@" --bucket anchors; }
	auditor() { as auditor "$S3_ANCHOR_SECRET" s3api "$@" --bucket anchors; }
	# The error that a signed request of a user gets.
	refused() {	# user, secret, options of curl …
		status --aws-sigv4 aws:amz:us-east-1:s3 --user "$1:$2" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -H 'x-amz-bypass-governance-retention: true' "${@:3}" > /dev/null
		sed -E 's#.*<Code>(.*)</Code><Message>(.*)</Message>.*#\1 \2#' "$SWIFT/body"
	}
	owner create-bucket --object-lock-enabled-for-bucket > /dev/null
	is "$(owner get-object-lock-configuration --query ObjectLockConfiguration.ObjectLockEnabled --output text)" Enabled 'a bucket with Object Lock is made'
	owner put-bucket-policy --policy "$(doc_block '"Version"')"
	doc_block 'aws s3api put-object' > "$SWIFT/anchor"
	chmod 755 "$SWIFT/anchor"
	psql -X -q -c "ALTER SYSTEM SET immiiq.anchor_command = '$SWIFT/anchor'" -c "ALTER SYSTEM SET immiiq.anchor_interval = 1" -c 'SELECT pg_reload_conf()' > /dev/null
	for ((tries = 0; tries < 300; tries++)); do
		[ "$(psql -X -A -t -c "SELECT status, batches_waiting FROM immiiq.anchor_status")" != 'ok|0' ] || break
		sleep 0.1
	done
	is "$(psql -X -A -t -c "SELECT status, batches_waiting, failure FROM immiiq.anchor_status")" 'ok|0|' 'the worker anchors'
	psql -X -q -c "ALTER SYSTEM RESET immiiq.anchor_command" -c 'SELECT pg_reload_conf()' > /dev/null
	read -r name version <<< "$(auditor list-object-versions --query 'sort_by(Versions, &LastModified)[-1].[Key, VersionId]' --output text)"
	is "$(auditor get-object-retention --key "$name" --query Retention.Mode --output text)" COMPLIANCE 'under retention'
	auditor get-object --key "$name" "$SWIFT/kept" > /dev/null
	is "$(cat "$SWIFT/kept")" "$(psql -X -A -t -c 'SELECT immiiq.checkpoint()')" 'what stands there is the checkpoint'
	is "$(psql -X -A -t -v kept="$(cat "$SWIFT/kept")"$'\n' <<< "SELECT count(*) FROM immiiq.verify_audit(since => :'kept')")" 0 'from which the log verifies'
	object=$S3_ENDPOINT/anchors/$name
	is "$(refused anchor "$S3_ANCHOR_SECRET" -X DELETE "$object?versionId=$version")" 'AccessDenied ' 'who anchors may not delete it'
	is "$(refused anchor "$S3_ANCHOR_SECRET" -X DELETE "$object")" 'AccessDenied ' 'nor hide it behind a marker'
	is "$(refused anchor "$S3_ANCHOR_SECRET" -X PUT "$object?retention=&versionId=$version" --data-binary \
		"<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>$(date -u -d '+1 day' +%FT%TZ)</RetainUntilDate></Retention>")" \
		'AccessDenied proposed retain-until date shortens an existing retention period and governance bypass check failed' 'nor shorten its retention'
	is "$(refused "$S3_ACCESS_KEY" "$S3_SECRET" -X DELETE "$object?versionId=$version")" 'AccessDenied forbidden by object lock' 'the owner of the bucket may not delete that version'
	is "$(refused "$S3_ACCESS_KEY" "$S3_SECRET" -X DELETE "$S3_ENDPOINT/anchors")" 'BucketNotEmpty ' 'nor the bucket'
	printf 'another checkpoint' | as anchor "$S3_ANCHOR_SECRET" s3 cp --quiet - "s3://anchors/$name"
	auditor get-object --key "$name" --version-id "$version" "$SWIFT/again" > /dev/null
	is "$(cat "$SWIFT/again")" "$(cat "$SWIFT/kept")" 'an object put over it leaves the version as it is'
fi

is "$(grep -cF "$S3_SECRET" "$SERVER_LOG")" 0 'the server log has no secret'
is "$(grep -c 'X-Amz-Signature' "$SERVER_LOG")" 0 'and no URL'
echo "1..$count"
pg_ctl -D "$DATA" -m fast -w stop > /dev/null
[ -z "$(jobs -p)" ] || kill $(jobs -p)
exit $failed
