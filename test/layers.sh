#!/bin/bash
# layers.sh: prints every #include in src/ that goes upward, or to a folder that has no place in the order.
# One line a layer, the lowest first; within a layer both directions are allowed.
set -u
order='base
stat
crypto
keyring
envelope
context journal
search
types
policy firewall
hold
directory
audit
rekey
erasure export documents identity
worker hooks posture'

# Prints the layer's number of a capability; nothing for an unknown one.
layer() {
	grep -nw -- "$1" <<< "$order" | cut -d: -f1
}

for folder in src/*/; do
	[ -n "$(layer "$(basename "$folder")")" ] || echo "$folder: no place in the order"
done
grep -oE '^ *# *include +"[a-z_]+/[^"]+"' src/*/*.[ch] | sed -E 's/# *include +//; s/[ "]//g' |
	while IFS=: read -r file target; do
		[ -e "src/$target" ] || continue		# a header of the server
		from=$(layer "$(cut -d/ -f2 <<< "$file")")
		to=$(layer "$(cut -d/ -f1 <<< "$target")")
		[ "${to:-99}" -le "${from:-0}" ] || echo "$file includes $target, which is above it"
	done
# Includes by another path would not be seen above.
grep -nE '^ *# *include +"\.\.?/' src/*.[ch] src/*/*.[ch] 2>/dev/null
true
