# Sourced: a real S3 server, OpenStack Swift with s3api, on 127.0.0.1 inside the folder $SWIFT. start_swift makes a
# user whose access key is test:tester and secret is $S3_SECRET; $S3_ENDPOINT says where it listens.

S3_SECRET=${S3_SECRET:-s3cret+/with=signs}

start_swift() {
	local port=$((20000 + RANDOM % 40000)) number=0 name
	S3_ENDPOINT=http://127.0.0.1:$port
	mkdir -p "$SWIFT/devices/d1" "$SWIFT/cache"
	printf '[swift-hash]\nswift_hash_path_prefix = %s\nswift_hash_path_suffix = %s\n[storage-policy:0]\nname = gold\ndefault = yes\n' \
		"$RANDOM" "$RANDOM" > "$SWIFT/swift.conf"
	for name in account container object; do
		number=$((number + 1))
		cat > "$SWIFT/$name.conf" <<-CONF
			[DEFAULT]
			devices = $SWIFT/devices
			swift_dir = $SWIFT
			mount_check = false
			bind_ip = 127.0.0.1
			bind_port = $((port + number))
			workers = 0
			user = $(id -un)
			disable_fallocate = true
			[pipeline:main]
			pipeline = $name-server
			[app:$name-server]
			use = egg:swift#$name
			recon_cache_path = $SWIFT/cache
		CONF
		(cd "$SWIFT" && {
			swift-ring-builder "$name.builder" create 4 1 0
			swift-ring-builder "$name.builder" add "r1z1-127.0.0.1:$((port + number))/d1" 100
			swift-ring-builder "$name.builder" rebalance
		}) > "$SWIFT/ring.log"
		(cd "$SWIFT" && exec "swift-$name-server" "$SWIFT/$name.conf" > "$SWIFT/$name.log" 2>&1) &
	done
	(cd "$SWIFT" && exec memcached -l 127.0.0.1 -p $((port + 4)) > /dev/null 2>&1) &
	cat > "$SWIFT/proxy.conf" <<-CONF
		[DEFAULT]
		swift_dir = $SWIFT
		bind_ip = 127.0.0.1
		bind_port = $port
		workers = 0
		user = $(id -un)
		[pipeline:main]
		pipeline = catch_errors cache s3api tempauth proxy-server
		[app:proxy-server]
		use = egg:swift#proxy
		account_autocreate = true
		[filter:catch_errors]
		use = egg:swift#catch_errors
		[filter:cache]
		use = egg:swift#memcache
		memcache_servers = 127.0.0.1:$((port + 4))
		[filter:s3api]
		use = egg:swift#s3api
		location = us-east-1
		allow_multipart_uploads = no
		[filter:tempauth]
		use = egg:swift#tempauth
		user_test_tester = $S3_SECRET .admin
	CONF
	(cd "$SWIFT" && exec swift-proxy-server "$SWIFT/proxy.conf" > "$SWIFT/proxy.log" 2>&1) &
	for ((tries = 0; tries < 300; tries++)); do
		! curl -s -o /dev/null "$S3_ENDPOINT/" || return 0
		sleep 0.1
	done
	cat "$SWIFT"/*.log >&2
	return 1
}
