# Helpers of the fault suites that work on what an interrupted transfer leaves; `load partial` after the others.
# shellcheck shell=bash disable=SC2017,SC2034

# interrupted FILE CHUNK ARGS...: FILE to dst over a line that stops at about its half, then SIGTERM of the receiver,
# which records what it has; dst is emptied first. RECORDED is how many bytes that is, and state/ a copy for restore.
interrupted() {
	local size name=${1##*/} proxy
	size=$(stat -c %s "$1")
	rm -rf dst
	start_recv --once dst || return
	start_chaos --freeze-after $((size / 2 + $2))
	proxy=$PID
	start send "$HAUL" send -q -z none --jobs=1 --chunk="$2" "${@:3}" "$1" "$CHAOS_ADDR"
	await occupies dst $((size * 7 / 16 - $2)) || return
	kill -KILL "$PID" "$proxy"
	reap "$PID" 137 || return
	reap "$proxy" 137 || return
	stop "$RECV_PID" 143 || return
	RECORDED=$(recorded dst "$2")
	[ "$RECORDED" -ge $((size / 4)) ] && [ "$RECORDED" -lt "$size" ] && [ ! -e "dst/$name" ] ||
		fail "$RECORDED of $size bytes recorded" || return
	rm -rf state
	cp -a --sparse=always dst/.haul state
}

# occupies DIR BYTES: a condition: its partial has that much on disk
occupies() {
	[ "$(stat -c '%b' "$1"/.haul/*.part 2>/dev/null | awk '{ n += $1 } END { print n * 512 + 0 }')" -ge "$2" ]
}

# recorded DIR CHUNK: the bytes its one journal has records of (whole chunks)
recorded() {
	local size
	size=$(stat -c %s "$1"/.haul/*.j)
	echo $(((size - 192) / 64 * $2))
}

# restore: dst as it was after the interruption; PART and JOURNAL are its files
restore() {
	rm -rf dst
	mkdir dst
	cp -a --sparse=always state dst/.haul
	PART=$(echo dst/.haul/*.part)
	JOURNAL=$(echo dst/.haul/*.j)
}

# again MOST FILE ARGS...: FILE goes to dst whole, and at most MOST bytes of it travel; SENT_BYTES
again() {
	local most=$1 file=$2
	shift 2
	"$HAUL" send -q -z none --reconnect=5s --json=again.json "$@" "$file" "$RECV_ADDR" >again.out 2>again.err ||
		fail "haul send: exit $?" "$(<again.err)" || return
	SENT_BYTES=$(json_field again.json 'done' bytes)
	cmp -- "$file" "dst/${file##*/}" >&2 || return
	[ "$SENT_BYTES" -le "$most" ] || fail "$SENT_BYTES bytes were sent, at most $most were missing" || return
	clean dst
}
