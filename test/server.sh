# Sourced: the private server of a scratch area ($SCRATCH). Everything is inside it; there is no port and
# no name that another run could meet.

export PGHOST=$SCRATCH/sock PGDATABASE=postgres PGUSER=postgres
DATA=$SCRATCH/data
SERVER_LOG=$SCRATCH/server.log

# Runs a command in silence; shows what it said only when it fails.
quietly() {
	local log status
	log=$(mktemp)
	"$@" > "$log" 2>&1 && status=0 || status=$?
	[ "$status" = 0 ] || cat "$log" >&2
	rm -f "$log"
	return "$status"
}

# Builds the tree without a warning and installs it into the private copy of PostgreSQL; SANITIZE has more options for the compiler.
build_and_install() {
	quietly make -j2 COPT="-Werror ${SANITIZE:-}" install
}

# Makes a cluster in $DATA with immiiq preloaded and a root key made for this run.
make_cluster() {	# options of initdb
	initdb -A trust -N -E UTF8 --locale=C.UTF-8 -U postgres "$@" -D "$DATA" > /dev/null
	mkdir -m 700 "$SCRATCH/sock" "$SCRATCH/keys"
	(umask 077; echo "scratch-1 $(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" > "$SCRATCH/keys/root")
	cat >> "$DATA/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$PGHOST'
		fsync = off
		wal_level = logical
		max_worker_processes = 16
		max_prepared_transactions = 10
		shared_preload_libraries = 'immiiq'
		immiiq.root_key_file = '$SCRATCH/keys/root'
		immiiq.databases = '*'
		immiiq.coverage_interval = 0
	CONF
}

# Starts a server on a new cluster.
start_server() {	# [a line of its configuration]
	make_cluster
	echo "${1:-}" >> "$DATA/postgresql.conf"
	pg_ctl -D "$DATA" -l "$SERVER_LOG" -w start > /dev/null || { cat "$SERVER_LOG" >&2; return 1; }
}

# The same under valgrind: many times slower; what it finds is in $SCRATCH/valgrind.PID.
start_server_under_valgrind() {
	make_cluster
	valgrind --quiet --trace-children=yes --trace-children-skip='/bin/*,/usr/bin/*' --leak-check=no \
		--fullpath-after= --log-file="$SCRATCH/valgrind.%p" postgres -D "$DATA" > "$SERVER_LOG" 2>&1 &
	for ((tries = 0; tries < 600; tries++)); do
		! pg_isready -q || return 0
		sleep 0.2
	done
	cat "$SERVER_LOG" >&2
	return 1
}
