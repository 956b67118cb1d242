# Sourced: debian NAME PACKAGE …: makes a program of Debian's callable without installing it: its packages are unpacked in $SCRATCH.
debian() {
	local name=$1 root=$SCRATCH/debian package
	shift
	! command -v "$name" > /dev/null || return 0
	mkdir -p "$root/packages"
	(cd "$root/packages" && apt-get download "$@" > log 2>&1 || { cat log >&2; exit 1; }) || return 1
	for package in "$root"/packages/*.deb; do dpkg -x "$package" "$root" || return 1; done
	PATH=$PATH:$root/usr/bin:$root/usr/sbin
	export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
	command -v "$name" > /dev/null
}
