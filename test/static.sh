#!/bin/bash
# static.sh: what can be said of the files alone, as TAP.
set -u
. test/release.sh
count=0

# One test: passes when the command prints nothing.
silent() {	# name, command …
	local name=$1 out
	shift
	count=$((count + 1))
	out=$("$@" 2>&1)
	if [ -z "$out" ]; then
		echo "ok $count - $name"
	else
		echo "not ok $count - $name"
		sed 's/^/# /' <<< "$out"
	fi
}

# The version that every file must name is the one in the control file.
versions() {
	local version
	version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" immiiq.control)
	[ -n "$version" ] || echo "immiiq.control: no default_version"
	grep -qx "EXTVERSION = $version" Makefile || echo "Makefile: EXTVERSION is not $version"
	perl -MJSON::PP -0777 -e '
		my ($version, $meta) = (shift, decode_json(<STDIN>));
		for ($meta, $meta->{provides}{immiiq}) {
			print "META.json: $_->{version} is not $version\n" if $_->{version} ne $version;
		}' "$version.0" < META.json
	grep -q "immiiq--$version.sql" META.json || echo "META.json: file is not immiiq--$version.sql"
	[ -e "sql/immiiq--$version.sql" ] || echo "sql/immiiq--$version.sql was not built"
}

# META.json is JSON and has what the PGXN Meta Spec 1.0.0 wants.
meta() {
	perl -MJSON::PP -0777 -e '
		my $meta = eval { decode_json(<STDIN>) } or die "META.json: $@";
		for (qw(name version abstract maintainer license provides meta-spec)) {
			print "META.json: no $_\n" unless defined $meta->{$_};
		}' < META.json
}

# Every part is in the Makefile's list, and the list names nothing else.
parts() {
	diff <(sed -n '/^SQL_PARTS/,/[^\\]$/p' Makefile | grep -oE '[0-9]{2}_[a-z]+' | sort) \
		<(ls sql/parts | sed 's/\.sql$//' | sort)
}

# CREATE OR REPLACE in an install script adopts what an attacker put there first (CVE-2022-2625).
replaces() {
	grep -niE '^ *create +or +replace|^ *create +[a-z ]+ if +not +exists|add +column +if +not +exists' sql/parts/*.sql
}

# PGXS names dependency files by the basename alone.
basenames() {
	find src -name '*.c' -printf '%f\n' | sort | uniq -d
}

# Server-free code includes no server header, so that unit tests and fuzzers link it alone.
server_free() {
	grep -nE '#include "' src/crypto/*.[ch] src/envelope/*.[ch] | grep -vE '"(crypto|envelope)/'
}

# Headers leave postgres.h to the .c file, and every .c of the server begins with it.
headers() {
	grep -n '"postgres.h"' src/*/*.h
	for file in $(grep -l '"postgres.h"' src/*.c src/*/*.c); do
		[ "$(grep -m 1 '#include' "$file")" = '#include "postgres.h"' ] || echo "$file: postgres.h is not first"
	done
}

# Every function that the library exports to SQL is in an install part, and no part names one that is not there.
# Parts that make the sealed types in a loop write '@type@_…' (the seven names) and '@symbol@' (listed in quotes).
entry_points() {
	nm -D --defined-only immiiq.so | sed -n 's/.* pg_finfo_//p' | sort -u | perl -e '
		my %exported = map { chomp; $_ => 1 } <STDIN>;
		my ($text, %named) = join "", map { local (@ARGV, $/) = $_; <> } @ARGV;
		for my $name ($text =~ /\x27MODULE_PATHNAME\x27 *, *\x27([a-z0-9_@]+)\x27/g) {
			my @names = $name =~ /^\@symbol\@$/ ? $text =~ /\x27(enc_[a-z0-9]+_from_[a-z0-9]+)\x27/g
				: $name =~ /^\@type\@_(.*)$/ ? grep { /^enc_[a-z0-9]+_\Q$1\E$/ } keys %exported : $name;
			print "$name: stands for nothing\n" unless @names;
			$named{$_} = 1 for @names;
		}
		$exported{$_} or print "$_: not in the library\n" for sort keys %named;
		$named{$_} or print "$_: not in any part\n" for sort keys %exported;' sql/parts/*.sql
}

# docs/errors.md lists the SQLSTATEs of base.h, all of them and no other.
sqlstates() {
	diff <(sed -n "s/.*MAKE_SQLSTATE(\(.*\))/\1/p" src/base/base.h | tr -d "', " | sort) \
		<(grep -oE '\bIQ[0-9A-Z]{3}\b' docs/errors.md | sort -u)
}

# A capability has one name in four places.
rooms() {
	local part name
	for part in sql/parts/*.sql; do
		name=$(basename "$part" .sql)
		name=${name#*_}
		[ "$name" = base ] || [ -e "test/pgtap/$name.sql" ] || echo "$part: no test/pgtap/$name.sql"
		[ "$name" = base ] || [ -e "docs/$name.md" ] || echo "$part: no docs/$name.md"
	done
}

# Links between the documents lead somewhere, and their anchors to a heading.
links() {
	perl -e '
		use File::Basename;
		my %anchors;
		sub anchors {
			my ($file) = @_;
			return $anchors{$file} //= do {
				open my $in, "<:utf8", $file or die;
				my (%seen, $code);
				for (<$in>) {
					$code = !$code if /^\s*```/;
					next if $code || !/^#+ (.*)/;
					my $slug = lc $1;
					$slug =~ s/[^\w\s-]//g;
					$slug =~ s/\s/-/g;
					$seen{ $slug . ($seen{$slug} ? "-$seen{$slug}" : "") } = 1;
				}
				\%seen;
			};
		}
		for my $file (@ARGV) {
			open my $in, "<", $file or die;
			for (<$in>) {
				while (/\]\(([^)#\s]*)(?:#([^)\s]+))?\)/g) {
					my ($path, $anchor) = ($1, $2);
					next if $path =~ /^https?:/;
					my $target = length $path ? dirname($file) . "/$path" : $file;
					if (!-e $target) { print "$file: no $path\n" }
					elsif (defined $anchor && !anchors($target)->{$anchor}) { print "$file: no #$anchor in $target\n" }
				}
			}
		}' README.md SECURITY.md CHANGELOG.md docs/*.md docs/examples/*/*.md
}

# What the documents name exists: immiiq's functions, views, tables, types and settings, and this repository's files.
names() {
	local documents name path
	documents=$(ls README.md SECURITY.md CHANGELOG.md docs/*.md docs/examples/*/*.md)
	comm -23 <(grep -ohE '\bimmiiq\.[a-z][a-z_0-9]*' $documents | sort -u) \
		<({ sed -nE 's/^ *CREATE (UNLOGGED )?(FUNCTION|PROCEDURE|AGGREGATE|VIEW|TABLE|TYPE|SEQUENCE|DOMAIN) (immiiq\.[a-z_0-9]+).*/\3/p' sql/parts/*.sql
			grep -ohE '"immiiq\.[a-z_]+"' -r src | tr -d '"'; printf 'immiiq.%s\n' c control envelope wrap yaml; } | sort -u) | sed 's/$/: named in a document, and nowhere made/'
	grep -ohE '`(test|docs|sql|src|demo|verify|dist|debian)/[A-Za-z0-9_./-]+' $documents | tr -d '`' | sort -u | while read -r path; do
		[ -e "$path" ] || [[ $path = *N* ]] || echo "$path: named in a document, and not there"
	done
}

# The portal's server: few lines, and no decision in them who may do what. Outside of its SQL no line speaks of scope, module, permission, role
# or organisation; in its SQL no condition does; who is signed in goes to the template and nowhere else; one place gives a token to PostgreSQL.
portal() {
	local portal=docs/examples/portal lines
	local server="$portal/server.mjs $portal/sql.mjs $portal/proof.mjs $portal/html.mjs" pages="$portal/pages.mjs $portal/drawings.mjs"
	lines=$(cat $server | wc -l)
	[ "$lines" -lt 400 ] || echo "$lines lines of server code"
	awk 'length > 180 { print FILENAME ": " FNR ": a line of " length " characters" }' $server
	perl -0777 -ne '
		my $sql = "";
		s{//[^\n]*|\x27Permissions-Policy\x27}{}g;
		1 while s{sql`((?:[^`\$]|\$(?!\{)|\$\{[^`\{\}]*(?:\{[^`\{\}]*\}[^`\{\}]*)*\})*)`}{ $sql .= "$1;\n"; "SQL" }e;
		print "$ARGV: outside of SQL: $1\n" while /(.*\b(?:scopes?|modules?|\w*permi[st]\w*|roles?|org_\w+|organi\w+|owners?|\w*admin\w*|\w*allow\w*|\w*privileg\w*|\w*grant\w*)\b.*)/gi;
		$sql =~ s/USING \(.*?\)//g;
		print "$ARGV: asked in SQL: $1\n" while $sql =~ /(.*\b(?:current_org|has_permission|require_permission|visible|verify_access)\b.*)/g;
		print "$ARGV: in a condition: $1\n" while $sql =~ /((?:WHERE|HAVING|ON|AND)\b[^;]*\b(?:org_id|scope|modules|permissions)\b[^;]*)/g;
		my $me = () = /\bme\b/g;
		print "$ARGV: who is signed in is asked $me times\n" if $me > 2;' $server
	grep -noE '\bme(\?)?\.[a-z_]+.{6}|.{8}\bme &&' $pages | grep -vE 'me\??\.(name|practice)|me\.scope\]\}</?|\$\{me &&|scopes\[me'
	[ "$(grep -c 'immiiq.authenticate' $server | grep -v ':0$')" = "$portal/sql.mjs:1" ] || echo "more than one place gives a token to PostgreSQL"
	grep -nE '<script|style="|javascript:| on[a-z]+=' $pages
	grep -qx '    "dependencies": { "pg": "[0-9.]*" }' $portal/package.json || echo "the portal needs more than pg"
}

format() {
	local file
	for file in $(test/formatted.sh); do
		"$CLANG_FORMAT" "$file" | cmp -s "$file" - || echo "$file: run make format"
	done
}

silent "calls go one way: no include goes upward" test/layers.sh
silent "control file, Makefile, META.json and install script name one version" versions
silent "META.json is whole" meta
silent "the Makefile lists every install part" parts
silent "install parts create, never replace" replaces
silent "basenames of C files are unique" basenames
silent "crypto and envelope include no server header" server_free
silent "postgres.h is first, and never in a header" headers
silent "the library's SQL functions and the install parts agree" entry_points
silent "docs/errors.md and base.h list the same SQLSTATEs" sqlstates
silent "a capability has one name in four places" rooms
silent "the portal's server has under 400 lines, and no permission check in them" portal
silent "links between documents, and their anchors, lead somewhere" links
silent "what documents name exists" names
[ -z "$CLANG_FORMAT" ] || silent "C files keep to .clang-format" format
silent "shell scripts parse" bash -n test/*.sh test/attack/*.sh dist/*.sh demo/*.sh docs/examples/*/*.sh
echo "1..$count"
