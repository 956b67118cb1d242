#!/bin/bash
# unit.sh FILE…: compiles C unit tests with every source that needs no server, plain and under the address
# and undefined-behaviour sanitizers, and runs them. Each is a program that prints TAP.
set -eu

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
sources=$(grep -L '"postgres.h"' src/*/*.c)
warnings="-std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers"
tests=()

for mode in plain sanitized; do
	flags="-O2 -g"
	[ $mode = plain ] || flags="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
	mkdir "$build/$mode"
	for source in $sources "$@"; do
		object=$build/$mode/$(basename "$source" .c).o
		echo "$source -o $object"
	done | xargs -P 2 -L 1 gcc $warnings $flags -Isrc -Itest/unit -c
	for test in "$@"; do
		name=$(basename "$test" .c)
		gcc $flags "$build/$mode/$name.o" $(for s in $sources; do echo "$build/$mode/$(basename "$s" .c).o"; done) \
			-lsodium -lcrypto -lcrypt -o "$build/$mode/$name"
		tests+=("$build/$mode/$name")
	done
done
prove -v --exec '' "${tests[@]}"
