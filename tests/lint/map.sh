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
for path in $(echo "$head" | grep -oE '(wire|lib|cmd)/[a-z_]+(\.[a-z]+)?' | sort -u); do
	[ -e "$path" ] || [ -e "$path.c" ] || [ -e "$path.h" ] || {
		echo "map: cmd/main.c names $path, which does not exist"
		bad=1
	}
done
exit $bad
