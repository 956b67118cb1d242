#!/bin/sh
# formatted.sh: lists the C files that keep to .clang-format; generated tables stand apart.
find src test -name '*.[ch]' ! -name '*_table.[ch]' | sort
