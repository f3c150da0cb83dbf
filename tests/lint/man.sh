#!/bin/sh
# The manual pages are clean, and the version they and the binary tell is the Makefile's.
# usage: tests/lint/man.sh HAUL_BINARY
set -u
cd "$(dirname "$0")/../.." || exit 1
haul=${1:-build/release/haul}
bad=0
for page in man/haul.1 man/haul-wire.5; do
	[ -e "$page" ] || {
		echo "man: $page: missing"
		bad=1
		continue
	}
	mandoc -T lint -W warning "$page" || bad=1
done
version=$(sed -n 's/^VERSION *:= *//p' Makefile)
"$haul" --version | head -n 1 | grep -qwF "$version" || {
	echo "man: haul --version does not tell $version"
	bad=1
}
exit $bad
