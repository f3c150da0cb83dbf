#!/bin/sh
# Fails when a generated part of man/haul-wire.5 drifted from the code. With --write it is made anew instead.
# usage: tests/lint/wireman.sh [--write]
set -u
cd "$(dirname "$0")/../.." || exit 1
page=man/haul-wire.5
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
${CC:-cc} -std=c17 -I. -o "$tmp/framedoc" tests/tools/framedoc.c || exit 1

# part NAME: what must stand between its markers
part() {
	case $1 in
	states)
		printf '.Bd -literal\n'
		cat tests/unit/session.matrix
		printf '.Ed\n'
		;;
	*) "$tmp/framedoc" "$1" ;;
	esac
}

cp "$page" "$tmp/page"
for name in states frames reasons limits; do
	part "$name" >"$tmp/part" || exit 1
	if [ "$(grep -cxE "\.\\\\\" (begin|end) $name" "$page")" != 2 ]; then
		echo "wireman: $page: needs one pair of markers for $name"
		exit 1
	fi
	awk -v part="$tmp/part" -v begin=".\\\\\" begin $name" -v end=".\\\\\" end $name" '
		$0 == end { inside = 0 }
		!inside { print }
		$0 == begin { inside = 1; while ((getline line <part) > 0) print line }' "$tmp/page" >"$tmp/next" || exit 1
	mv "$tmp/next" "$tmp/page"
done
if [ "${1-}" = --write ]; then
	cat "$tmp/page" >"$page"
elif ! diff -u "$page" "$tmp/page"; then
	echo "wireman: $page: run tests/lint/wireman.sh --write"
	exit 1
fi
