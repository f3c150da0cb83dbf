#!/bin/sh
# The comment at the head of cmd/main.c is the map of all modules: it names every one, and none that is gone.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
head=$(awk '/\*\// { exit } { print }' cmd/main.c)
[ -e cmd/main.c ] || { echo 'map: cmd/main.c: missing' && exit 1; }
for file in wire/*.[ch] lib/*.[ch] cmd/*.c wire/*.def; do
	module=${file##*/}
	module=${module%.*}
	[ "$module" = main ] || echo "$head" | grep -qE "(^|[^a-z_])$module([^a-z_]|\$)" || {
		echo "map: cmd/main.c does not name $file"
		bad=1
	}
done
# lines of the map: folder at the margin, then "  module module   what they do"
echo "$head" | awk '
	match($0, /^ \*? ?[a-z]+\/ /) { folder = $2; next }
	folder != "" && match($0, /^ \*   [a-z][a-z_. ]*  /) {
		n = split(substr($0, 4), word, " ")
		for (i = 1; i <= n; i++) {
			print folder word[i]
			if (index($0, word[i] "  ")) break
		}
	}' | {
	gone=0
	while read -r path; do
		[ -e "$path" ] || [ -e "$path.c" ] || [ -e "$path.h" ] || {
			echo "map: cmd/main.c names $path, which does not exist"
			gone=1
		}
	done
	exit $gone
} || bad=1
exit $bad
