#!/bin/sh
# Fails when something made from the option table drifted from it, or a help line is too long.
# usage: tests/lint/sync.sh HAUL_BINARY      (from the top of the source tree)
set -u

haul=${1:?usage: sync.sh HAUL_BINARY}
bad=0
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# same FILE HOW-TO-MAKE-IT: compares FILE with standard input; fails, because what a pipe sets is lost
same() {
	cat >"$tmp/made"
	diff -u "$1" "$tmp/made" && return
	echo "sync: $1: differs from: $2" >&2
	return 1
}

"$haul" __complete bash | same completions/haul.bash 'haul __complete bash' || bad=1
"$haul" __complete zsh | same completions/_haul 'haul __complete zsh' || bad=1
"$haul" __complete fish | same completions/haul.fish 'haul __complete fish' || bad=1

sed -n '/^\.\\" begin generated/,/^\.\\" end generated/p' man/haul.1 >"$tmp/man"
"$haul" __options mdoc | same "$tmp/man" 'haul __options mdoc (the marked parts of man/haul.1)' || bad=1

# every option of the table is in one --help or another, and the man page lists no other
options() { sed -n 's/^ \{2,6\}\(-[^ ], \)\{0,1\}\(--[a-z-]*\).*/\2/p' | sort -u; }
{ "$haul" send --help; "$haul" recv --help; "$haul" status --help; "$haul" key --help; } | options >"$tmp/help"
sed -n 's/^\.It Fl .*Fl \(-[a-z-]*\).*/-\1/p; s/^\.It Fl \(-[a-z-]*\).*/-\1/p' "$tmp/man" | sort -u |
	same "$tmp/help" 'the options in man/haul.1' || bad=1

for topic in '' send recv status key exit sizes events addresses; do
	if [ -n "$topic" ]; then
		"$haul" help "$topic"
	else
		"$haul" --help
	fi >"$tmp/text" || bad=1
	[ -s "$tmp/text" ] || { echo "sync: haul help $topic: prints nothing" >&2; bad=1; }
	awk -v t="haul help $topic" 'length > 80 { print "sync: " t ": longer than 80 columns: " $0; n = 1 } END { exit n }' \
		"$tmp/text" >&2 || bad=1
done

if command -v mandoc >/dev/null; then
	mandoc -T lint -W warning man/haul.1 || bad=1
fi
exit $bad
