#!/bin/bash
# mutants.sh: the log's two verifiers with each of their checks gone in turn (mutants.pl). Changes the sources of the tree in which it runs.
set -u
status=0
for kind in ${KINDS:-unit server}; do
	rm -rf "$SCRATCH/$kind" && mkdir "$SCRATCH/$kind" && tar --exclude='*.[od]' -cf - . | tar -C "$SCRATCH/$kind" -xf - || exit 1
	(cd "$SCRATCH/$kind" && perl test/mutants.pl "$kind") || status=1
done
exit $status
