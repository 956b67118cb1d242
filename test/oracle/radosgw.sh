#!/bin/bash
# radosgw.sh: Ceph's S3 server, whose browser forms check their signature and policy, takes the URLs and forms that the
# database makes, and no others, and keeps its anchors under Object Lock (s3.sh). Debian 12 has an older one: it comes from
# Debian 13, in a chroot of its own. As root.
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
quietly inside apt-get install -y --no-install-recommends ceph-mon ceph-osd radosgw

# The least cluster: one monitor, one OSD that keeps its objects in memory.
port=$((20000 + RANDOM % 40000))
classes=$(echo "$root"/usr/lib/*/rados-classes)
monitor="v2:127.0.0.1:$((port + 1))"
mkdir -p "$root/ceph/mon" "$root/ceph/osd" "$root/ceph/rgw"
touch "$root/ceph/keyring"
cat > "$root/etc/ceph/ceph.conf" <<-CONF
	[global]
	fsid = 00000000-0000-4000-8000-000000000000
	mon_host = $monitor
	ms_bind_msgr1 = false
	ms_mon_client_mode = crc
	auth_cluster_required = none
	auth_service_required = none
	auth_client_required = none
	public_addr = 127.0.0.1
	cluster_addr = 127.0.0.1
	keyring = /ceph/keyring
	mon_data = /ceph/mon
	osd_data = /ceph/osd
	rgw_data = /ceph/rgw
	run_dir = /ceph
	log_file = /ceph/\$name.log
	admin_socket = /ceph/\$name.\$pid
	mon_allow_pool_size_one = true
	osd_objectstore = memstore
	memstore_device_bytes = 268435456
	osd_class_dir = ${classes#"$root"}
	osd_crush_chooseleaf_type = 0
	osd_pool_default_size = 1
	osd_pool_default_min_size = 1
	osd_pool_default_pg_num = 1
	osd_pool_default_pg_autoscale_mode = off
	rgw_frontends = beast endpoint=127.0.0.1:$port
	rgw_enable_apis = s3
CONF
quietly inside monmaptool --create --fsid 00000000-0000-4000-8000-000000000000 --addv a "[$monitor]" /ceph/monmap
quietly inside ceph-mon -i a --mkfs --monmap /ceph/monmap
quietly inside ceph-mon -i a
quietly inside timeout 60 ceph osd create
quietly inside ceph-osd -i 0 --mkfs
quietly inside ceph-osd -i 0
export S3_ENDPOINT=http://127.0.0.1:$port S3_ACCESS_KEY=tester S3_SECRET='s3cret+/with=signs' S3_ANCHOR_SECRET=put-and-no-more
quietly inside timeout 120 radosgw-admin -n client.rgw user create --uid=tester --display-name=tester --access-key="$S3_ACCESS_KEY" --secret="$S3_SECRET"
for user in anchor auditor; do
	quietly inside timeout 60 radosgw-admin -n client.rgw user create --uid=$user --display-name=$user --access-key=$user --secret="$S3_ANCHOR_SECRET"
done
inside radosgw -n client.rgw -f > "$root/ceph/out" 2>&1 &
for ((tries = 0; tries < 300; tries++)); do
	! curl -s -o /dev/null "$S3_ENDPOINT/" || break
	sleep 0.1
done
"$tree/test/scratch.sh" s3 && status=0 || status=$?
[ "$status" = 0 ] || tail -n 20 "$root"/ceph/*.log "$root/ceph/out"
exit "$status"
