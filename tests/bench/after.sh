# shellcheck shell=bash
# After an interruption, and onto stable storage: what bench.sh, which sources this, measures of haul alone.
#
# shellcheck disable=SC2034,SC2154 # data, dest, gen, work, resume_mb, small, set, sides are shared with bench.sh

new_receiver() { # ARGS...
	sides=()
	recv_haul "$@"
}

part_has() { # BYTES: the partial at dest occupies that much
	[[ $(stat -c %b "$dest"/.haul/*.part 2>/dev/null || echo 0) -ge $(($1 / 512)) ]]
}

# A file of which nine tenths are at the receiver, recorded to the chunk.
interrupt_at_nine_tenths() {
	local chunks=$((resume_mb * 9 / 10)) journal sender i
	rm -rf "$dest" && mkdir -p "$dest"
	new_receiver || return
	send_haul -q -z none --reconnect=100ms --bwlimit=$((resume_mb / 16 + 1))M &
	sender=$!
	for ((i = 0; i < 60000; i++)); do
		part_has $(((chunks + 16) << 20)) && break
		sleep 0.01
	done
	kill -KILL "$sender"
	kill -TERM "${sides[0]}" # it records what it has
	wait "${sides[0]}" "$sender" 2>/dev/null
	journal=$(echo "$dest"/.haul/*.j)
	[[ $(stat -c %s "$journal") -ge $((192 + chunks * 64)) ]] && truncate -s $((192 + chunks * 64)) "$journal"
}

# Both sides are at rest; with `dropped`, what they have read and written is on the disk only.
settle() { # kept|dropped
	sync
	[[ $1 == kept ]] || { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null
}

# resumed_once CACHES ARGS...: whole, first MiB, rest, in milliseconds, of senders with ARGS
resumed_once() {
	local whole first total from before sender
	rm -rf "$dest" && mkdir -p "$dest"
	settle "$1" || return
	new_receiver || return
	whole=$(timed send_haul -z none "${@:2}")
	wait "${sides[@]}"
	interrupt_at_nine_tenths || { echo '  it could not be interrupted; take a larger BENCH_RESUME_MB' >&2 && return 1; }
	settle "$1"
	new_receiver || return
	before=$(lo_bytes) from=$EPOCHREALTIME
	send_haul -z none "${@:2}" &
	sender=$!
	until (($(lo_bytes) - before > 1 << 20)) || ! kill -0 "$sender" 2>/dev/null; do :; done
	first=$(ms "$from" "$EPOCHREALTIME")
	wait "$sender" "${sides[@]}" || echo "bench: resume: status $?" >&2
	total=$(ms "$from" "$EPOCHREALTIME")
	cmp "$data/resume" "$dest/resume" >&2 || return
	echo "$whole $first $total"
}

# resumed CACHES ROUNDS ARGS...: medians of all three, by new processes each time
resumed() {
	local i column text='' label=(whole 'first MiB of the rest' 'all of the rest')
	set=resume
	[[ -f $data/resume && $(stat -c %s "$data/resume") == $((resume_mb << 20)) ]] ||
		{ rm -f "$data/resume" && "$gen" rand "$data/resume" "$resume_mb"; } || return
	[[ $1 == dropped ]] || cat "$data/resume" >/dev/null
	for ((i = 0; i < $2; i++)); do
		resumed_once "$1" "${@:3}" || return
	done >"$work/resumed"
	rm -rf "$dest"
	for ((column = 1; column <= 3; column++)); do
		text+=", ${label[column - 1]} $(awk -v c=$column '{ print $c }' "$work/resumed" | median) ms"
	done
	echo "  page cache $1${3:+, $3}: ${text#, }; $(awk '{ printf "%.0f\n", $3 * 100 / $1 }' "$work/resumed" | median) % of the whole"
}

# synced NAME RECV_ARGS...: files a second of many small ones, 3 times
synced() {
	local i name=$1 sender_ms
	shift
	set=small
	[[ $(find "$data/small" -type f 2>/dev/null | wc -l) == "$small" ]] ||
		{ rm -rf "$data/small" && "$gen" tree "$data/small" "$small" $((small / 250 + 1)) "$data/corpus"; } || return
	for ((i = 0; i < 3; i++)); do
		rm -rf "$dest" && mkdir -p "$dest"
		sync
		new_receiver "$@" || return
		sender_ms=$(timed send_haul -z none)
		wait "${sides[@]}"
		echo $((small * 1000 / (sender_ms ? sender_ms : 1))) >>"$work/rate"
	done
	diff -r --no-dereference "$data/small" "$dest/small" || return
	printf '  %-24s %s files/s\n' "$name" "$(median <"$work/rate")"
	rm -rf "$work/rate" "$dest"
}
