#!/usr/bin/env bash
# The main job on real data: a tree goes through a connection that keeps breaking, and arrives byte for byte.
#
#   make demo                  a tree made of this machine's own headers and documents, and one large file
#   make demo DEMO_SRC=DIR     any tree of yours; it is only read
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
exec </dev/null

B=$(realpath -m "${B:-build/release}")
haul=$B/haul
chaos=$B/tests/tools/chaos
work=$(mktemp -d "$B/demo.XXXXXX") || exit 1
pids=()
cleanup() {
	((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null
	wait 2>/dev/null
	chmod -R u+rwX "$work" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
export LC_ALL=C HAUL_OPTIONS=''

die() {
	echo "demo: $*" >&2
	tail -n 5 "$work"/*.err >&2 2>/dev/null
	exit 1
}
await() { # PID FILE: until FILE is there
	local i
	for ((i = 0; i < 500; i++)); do
		[[ -s $2 ]] && return
		kill -0 "$1" 2>/dev/null || return
		sleep 0.02
	done
	return 1
}
mib() { awk -v b="$1" 'BEGIN { printf "%.1f MiB", b / 1048576 }'; }
field() { grep '"type":"done"' "$work/send.json" | tail -n 1 | sed -n "s/.*\"$1\":\\([0-9.]*\\).*/\\1/p"; }

# ---- the tree

src=${DEMO_SRC-}
if [[ -z $src ]]; then
	src=$work/tree
	mkdir -p "$src/doc" "$src/include"
	cp -a /usr/include/. "$src/include/"
	find /usr/share/doc -maxdepth 1 -mindepth 1 -type d 2>/dev/null | sort | head -n 300 | xargs -r cp -at "$src/doc"
	head -c 192M /dev/urandom >"$src/large.bin"
	truncate -s 64M "$src/sparse.img" && printf end >>"$src/sparse.img"
fi
[[ -d $src ]] || die "$src: not a directory"
src=$(realpath "$src")
files=$(find "$src" -type f | wc -l)
links=$(find "$src" -type l | wc -l)
bytes=$(find "$src" -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%.0f", n }')
every=$((bytes / 12 + 65536))
echo "haul demo: one command, one tree, a connection that keeps breaking"
echo
echo "  the tree      $src"
echo "                $files files, $links symbolic links, $(mib "$bytes")"

# ---- receiver, and a proxy before it that cuts every connection

mkdir "$work/in"
"$haul" recv --listen=127.0.0.1:0 --port-file="$work/recv.port" "$work/in" 2>"$work/recv.err" &
pids+=($!)
await $! "$work/recv.port" || die 'the receiver did not start'
"$chaos" --listen 127.0.0.1:0 --to "$(<"$work/recv.port")" --port-file "$work/chaos.port" --cut-every "$every" \
	--cuts 8 --log "$work/chaos.log" 2>"$work/chaos.err" &
pids+=($!)
await $! "$work/chaos.port" || die 'the proxy did not start'
addr=$(<"$work/chaos.port")
echo "  receiver      haul recv --listen=127.0.0.1:0 DIR"
echo "  the network   a proxy that resets each connection after about $(mib "$every"), 8 times"
echo "  sender        haul send -z none TREE $addr"
echo

# ---- the transfer

status=0
"$haul" send -z none --retry-delay=50ms..500ms --json="$work/send.json" "$src" "$addr" 2>"$work/send.err" || status=$?
grep -E '"type":"(disconnect|resume)"' "$work/send.json" | awk '
	function value(name) {
		if (!match($0, "\"" name "\":[0-9.]+"))
			return 0
		return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3)
	}
	/"type":"disconnect"/ { n++; printf "  %6.2f s      cut %d: the connection is gone\n", value("t"), n }
	/"type":"resume"/ {
		printf "  %6.2f s      resumed at %.1f MiB, %.2f MiB sent again\n", value("t"), value("from") / 1048576,
			value("replayed_bytes") / 1048576
	}'
((status == 0)) || die "haul send ended with status $status"

# ---- the proof

cuts=$(grep -Ec '"(type|event|what)":"cut"' "$work/chaos.log")
got=$work/in/$(basename "$src")
diff -r --no-dereference "$src" "$got" >"$work/diff" 2>&1 || die "the trees differ: $(head -n 3 "$work/diff")"
state() { (cd "$1" && find . -printf '%P\t%y\t%m\t%T@\t%l\n' | sort); }
cmp -s <(state "$src") <(state "$got") || die "modes, times or links differ: $(diff <(state "$src") <(state "$got") | head -n 5)"
[[ ! -e $work/in/.haul ]] || die 'something was left in DIR/.haul'
(($(field reconnects) > 0)) || die 'the connection was never cut; is the tree too small?'
echo
echo "  arrived       $(field files) files in $(field seconds) s, $cuts cuts, $(field reconnects) resumes"
echo "  sent again    $(mib "$(field resent_bytes)") of $(mib "$(field bytes)")"
echo "  verified      diff -r: every byte; every mode, every mtime to the nanosecond, every link"

# ---- and once more: nothing to do

"$haul" send --json="$work/send.json" "$src" "$addr" 2>"$work/send.err" || die "the second run ended with status $?"
echo "  once more     the same command again: $(field skipped) files skipped, $(field wire) bytes on the wire, $(field seconds) s"
