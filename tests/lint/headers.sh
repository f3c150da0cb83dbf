#!/bin/sh
# Every header compiles alone, with gcc and with clang.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
for header in wire/*.h lib/*.h cmd/*.h; do
	for compiler in gcc clang; do
		$compiler -std=c17 -D_GNU_SOURCE -I. -Wall -Wextra -Werror -Wno-unused-function -fsyntax-only \
			-x c -include "$header" /dev/null || {
			echo "headers: $header: does not compile alone with $compiler"
			bad=1
		}
	done
done
exit $bad
