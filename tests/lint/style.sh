#!/bin/sh
# clang-format, shellcheck, and no source file over 600 lines (a table, *.def, may be longer).
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
if ! command -v clang-format >/dev/null || ! command -v shellcheck >/dev/null; then
	echo "style: clang-format and shellcheck are needed"
	exit 1
fi
find wire lib cmd tests -name '*.[ch]' -exec clang-format --dry-run -Werror {} + 2>&1 | grep 'error:' |
	awk -F: '{ n[$1]++; if (n[$1] == 1) at[$1] = $2 } END { for (f in n) print "style: " f ":" at[f] ": clang-format would change it (" n[f] " places)"; exit NR == 0 }' &&
	bad=1
find tests .ci \( -name '*.sh' -o -name '*.bash' -o -name '*.bats' -o -path .ci/run \) \
	-exec shellcheck -x -P SCRIPTDIR {} + || bad=1
wc -l wire/*.[ch] lib/*.[ch] cmd/*.[ch] |
	awk '$2 != "total" && $1 > 600 { print "style: " $2 ": " $1 " lines, 600 are allowed"; n++ } END { exit n > 0 }' || bad=1
exit $bad
