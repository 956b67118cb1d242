#!/bin/bash
# fresh.sh [GOAL…]: clones this tree's HEAD into a fresh minimal Debian 12 that has only git and make, and
# runs make demo and make check there (or the goals given), then looks for what they left behind. As root.
# RELEASE=trixie is Debian 13 with PostgreSQL 17, RELEASE=forky has PostgreSQL 18.
set -eu
tree=$(cd "$(dirname "$0")/.." && pwd)

if [ "$(id -u)" != 0 ]; then
	echo "fresh.sh needs root: it makes a chroot" >&2
	exit 3
fi
"$tree/test/packages.sh" check-slow
if [ "${FRESH_INSIDE:-}" != yes ]; then
	# Mounts and processes of the chroot end with this namespace.
	exec unshare --mount --pid --fork --kill-child --propagation private env FRESH_INSIDE=yes "$0" "$@"
fi

# The mirror that apt itself uses here.
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' | awk '$2 ~ /^bookworm$|^stable$|^12/ { print $1; exit }')
mirror=${mirror:-http://deb.debian.org/debian}

root=$(mktemp -d)
chmod 755 "$root"
clean_up() {
	cd /
	umount -l "$root/proc" "$root/dev/shm" 2>/dev/null || true
	rm -rf --one-file-system "$root"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

release=${RELEASE:-bookworm}
# debootstrap of Debian 12 has no script for what is younger than itself.
script=/usr/share/debootstrap/scripts/$release
[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
echo "== a fresh Debian $release from $mirror"
debootstrap --variant=minbase --include=git,make,ca-certificates "$release" "$root" "$mirror" "$script" > "$root.log" 2>&1 ||
	{ tail -n 20 "$root.log"; exit 1; }
rm -f "$root.log"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
[ ! -e /etc/apt/apt.conf.d ] || grep -rhiE 'proxy' /etc/apt/apt.conf.d > "$root/etc/apt/apt.conf.d/90proxy" 2>/dev/null || true
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm"
git -c safe.directory='*' clone -q --no-local "$tree" "$root/root/immiiq"

# Runs a command inside, with nothing of this environment.
inside() {
	chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin CI=true ${LIMIT:+"LIMIT=$LIMIT"} "$@" < /dev/null
}
# A cluster goes by pg_upgrade only to a minor release that is as young as its own: those come by security updates.
if [ -n "${CARRY:-}" ] && [ "$release" = trixie ]; then
	echo "deb $mirror-security $release-security main" >> "$root/etc/apt/sources.list"
	inside apt-get -q update > /dev/null
fi
failed=0
problem() {
	echo "PROBLEM: $*"
	failed=1
}

echo "== without root and sudo: a list, and nothing else"
cp -r "$root/root/immiiq" "$root/tmp/immiiq"
chown -R 1234 "$root/tmp/immiiq"
if inside setpriv --reuid=1234 --regid=1234 --clear-groups make -C /tmp/immiiq demo; then
	problem "make demo went on without its packages"
fi
rm -rf "$root/tmp/immiiq"

# What test/carry.sh takes from one major to the next.
if [ -n "${CARRY:-}" ]; then
	cp -R "$CARRY" "$root/root/carry"
	chmod 755 "$root/root"
fi

for goal in ${*:-demo check}; do
	echo "== make $goal"
	start=$(date +%s)
	inside ${CARRY:+env CARRY=/root/carry} make -C /root/immiiq "$goal" || problem "make $goal failed"
	echo "== make $goal took $(($(date +%s) - start)) s"
done

if [ $# = 0 ]; then
	echo "== both again, side by side"
	inside make -C /root/immiiq demo > "$root/root/demo.log" 2>&1 &
	demo=$!
	inside make -C /root/immiiq check > "$root/root/check.log" 2>&1 || { problem "make check failed"; cat "$root/root/check.log"; }
	wait $demo || { problem "make demo failed"; cat "$root/root/demo.log"; }
	tail -n 1 "$root/root/check.log"
fi

[ -z "${CARRY:-}" ] || cp "$root/root/carry/"* "$CARRY/"
echo "== what is left behind"
[ -z "$(inside git -C /root/immiiq status --porcelain --ignored)" ] || problem "files in the tree: $(inside git -C /root/immiiq status --porcelain --ignored)"
[ -z "$(inside find / -xdev -name '*immiiq*' -not -path '/root/*' -not -path '/var/lock/*' -not -path '/run/lock/*' -not -path '/proc/*')" ] ||
	problem "files of immiiq in the system"
# x11-common, which comes with a browser, makes a folder of its own.
left=$(inside find /tmp /var/tmp /dev/shm -mindepth 1 -not -name .X11-unix)
[ -z "$left" ] || problem "temporary files: $left"
[ -z "$(inside pg_lsclusters -h)" ] || problem "a cluster"
! inside grep -q '^create_main_cluster = false' /etc/postgresql-common/createcluster.conf || problem "createcluster.conf was not put back"
[ -z "$(inside find /proc -maxdepth 1 -user postgres 2>/dev/null)" ] || problem "processes"
[ "$failed" = 0 ] && echo "ok: a fresh Debian $release"
exit "$failed"
