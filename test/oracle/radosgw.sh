#!/bin/bash
# radosgw.sh: Ceph's S3 server, whose browser forms check their signature and policy, takes the URLs and forms that the
# database makes, and no others (s3.sh). Debian 12 has an older one: it comes from Debian 13, in a chroot of its own. As root.
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)

if [ "$(id -u)" != 0 ]; then
	echo "radosgw.sh needs root: it makes a chroot" >&2
	exit 3
fi
"$tree/test/packages.sh" check-slow
if [ "${RADOSGW_INSIDE:-}" != yes ]; then
	# Mounts and processes of the chroot end with this namespace.
	exec unshare --mount --pid --fork --mount-proc --kill-child --propagation private env RADOSGW_INSIDE=yes "$0"
fi

mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' | awk '$2 ~ /^bookworm$|^stable$|^12/ { print $1; exit }')
mirror=${mirror:-http://deb.debian.org/debian}
root=$(mktemp -d)
chmod 755 "$root"
clean_up() {
	cd /
	umount -l "$root/proc" "$root/dev/shm" 2>/dev/null || true
	rm -rf --one-file-system "$root" "$root.log"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
# Runs a command inside, with nothing of this environment.
inside() {
	chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@" < /dev/null
}
# The same in silence, unless it fails.
quietly() {
	"$@" > "$root.log" 2>&1 || { tail -n 20 "$root.log"; exit 1; }
}

echo "== radosgw of a Debian 13 from $mirror"
quietly debootstrap --variant=minbase --include=ca-certificates trixie "$root" "$mirror"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
[ ! -e /etc/apt/apt.conf.d ] || grep -rhiE 'proxy' /etc/apt/apt.conf.d > "$root/etc/apt/apt.conf.d/90proxy" 2>/dev/null || true
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm"
quietly inside apt-get install -y --no-install-recommends radosgw

# No cluster: one process that keeps everything in SQLite.
port=$((20000 + RANDOM % 40000))
mkdir -p "$root/rgw/data"
touch "$root/rgw/keyring"
cat > "$root/rgw/ceph.conf" <<-CONF
	[global]
	fsid = 00000000-0000-4000-8000-000000000000
	mon_host = 127.0.0.1:1
	auth_cluster_required = none
	auth_service_required = none
	auth_client_required = none
	[client]
	rgw_backend_store = dbstore
	rgw_config_store = dbstore
	dbstore_db_dir = /rgw/data
	dbstore_config_uri = file:///rgw/data/config.db
	rgw_data = /rgw/data
	keyring = /rgw/keyring
	log_file = /rgw/log
	run_dir = /rgw
	admin_socket = /rgw/socket
	rgw_frontends = beast endpoint=127.0.0.1:$port
	rgw_enable_apis = s3
CONF
export S3_ENDPOINT=http://127.0.0.1:$port S3_ACCESS_KEY=tester S3_SECRET='s3cret+/with=signs'
quietly inside radosgw-admin --no-mon-config -c /rgw/ceph.conf -n client.rgw user create --uid=tester --display-name=tester \
	--access-key="$S3_ACCESS_KEY" --secret="$S3_SECRET"
inside radosgw --no-mon-config -c /rgw/ceph.conf -n client.rgw -f > "$root/rgw/out" 2>&1 &
for ((tries = 0; tries < 300; tries++)); do
	! curl -s -o /dev/null "$S3_ENDPOINT/" || break
	sleep 0.1
done
"$tree/test/scratch.sh" s3 && status=0 || status=$?
[ "$status" = 0 ] || tail -n 20 "$root/rgw/log" "$root/rgw/out"
exit "$status"
