#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2034 # a test is a subshell
# Every size around a chunk, times every state a partial or an older version may be in, times the options that change
# how it is met: byte-exact at the end, and what travels is at most what is missing, and one chunk.

load ../e2e/helpers
load partial

SCALE=${FAULT_SCALE:-1}
RANDOM=${SEED:-97}
MB=$((1 << 20))
PIECE=$((256 << 10)) # --chunk of the matrix

# Each state takes dst as restored, and says in MOST what may travel.
state_none() {
	rm -rf dst/.haul
	MOST=$SIZE
}

state_empty() {
	: >"$PART"
	MOST=$SIZE
}

state_short() {
	truncate -s $((RECORDED / 2)) "$PART"
	MOST=$((SIZE - RECORDED / 2 + 2 * PIECE))
}

state_exact() {
	MOST=$((SIZE - RECORDED))
}

state_longer() {
	truncate -s "$SIZE" "$PART"
	cat junk >>"$PART"
	MOST=$((SIZE - RECORDED))
}

state_garbage() {
	truncate -s 0 "$PART"
	head -c "$SIZE" junk >"$PART"
	MOST=$SIZE
}

# The source is a newer one, which differs in one chunk of what is there.
state_older() {
	printf 'newer' | dd of=src/big bs=1 seek=$((PIECE + 5)) conv=notrunc status=none
	touch -d "@$((1000000000 + RANDOM))" src/big
	MOST=$((SIZE - RECORDED + PIECE))
}

state_journal_missing() {
	rm "$JOURNAL"
	MOST=$SIZE
}

state_journal_of_another() {
	cp other.j "$JOURNAL"
	MOST=$SIZE
}

state_partial_missing() {
	rm "$PART"
	MOST=$SIZE
}

STATES='none empty short exact longer garbage older journal_missing journal_of_another partial_missing'

# matrix SIZE RECV_OPTIONS SEND_OPTIONS...: all states of this size; CELLS counts
matrix() {
	local state receive=$2
	SIZE=$1
	shift 2
	rm -rf src dst
	mkdir src
	head -c "$SIZE" pool >src/big
	cp src/big whole
	interrupted src/big "$PIECE"
	# shellcheck disable=SC2086 # words
	start_recv $receive dst
	for state in $STATES; do
		restore
		"state_$state"
		again "$MOST" src/big --chunk="$PIECE" "$@" || fail "size $SIZE, state $state, $receive $*" || return
		cp whole src/big
		CELLS=$((CELLS + 1))
	done
	stop "$RECV_PID" 143
}

# a journal that speaks of another path
make_other() {
	mkdir -p elsewhere
	head -c $((9 * MB)) pool >elsewhere/another
	interrupted elsewhere/another "$PIECE"
	cp state/*.j other.j
}

begin() {
	CELLS=0
	random_file pool $((70 * MB))
	random_file junk $((70 * MB))
	make_other
}

@test "sizes around chunks of a file with a journal, in every state" {
	begin
	local size
	for size in $((8 * MB)) $((8 * MB + 1)) $((9 * MB - 1)) $((8 * MB + 3 * PIECE + 17)); do
		matrix "$size" ''
	done
	echo "# $CELLS cells (seed ${SEED:-97})" >&3
}

@test "-W, --checksum, --sync=file and --sync=none, in every state" {
	begin
	matrix $((8 * MB + 17)) '' -W
	matrix $((8 * MB + 17)) '' --checksum
	matrix $((8 * MB + 17)) --sync=file
	matrix $((8 * MB + 17)) --sync=none
	echo "# $CELLS cells" >&3
}

@test "sizes around a checkpoint, in every state" {
	begin
	local size
	PIECE=$MB
	make_other
	for size in $((64 * MB)) $((64 * MB - 1)) $((64 * MB + 1)); do
		[ $((size % MB)) -eq 0 ] || [ "$SCALE" -gt 1 ] || [ "$size" -gt $((64 * MB)) ] || continue
		matrix "$size" ''
	done
	echo "# $CELLS cells" >&3
}

# ---- what has a final name already

# existing SIZE MTIME_SAME CHANGE OPTIONS...: dst/src/f is as the source but for CHANGE; SENT_BYTES
existing() {
	local size=$1 same=$2 change=$3
	shift 3
	rm -rf dst
	mkdir -p dst
	head -c "$size" pool >f
	cp -p f dst/f
	"$change" "$size"
	[ "$same" = no ] || touch -r f dst/f
	"$HAUL" send -q -z none --chunk="$PIECE" --json=again.json "$@" f "$RECV_ADDR"
	SENT_BYTES=$(json_field again.json 'done' bytes)
	CELLS=$((CELLS + 1))
}

nothing() { :; }
one_byte() {
	local at=$(($1 / 2)) byte
	[ "$1" -ne 0 ] || return 0
	byte=$(od -An -tu1 -j "$at" -N 1 dst/f)
	printf %b "\\x$(printf %02x $((255 - byte)))" | dd of=dst/f bs=1 seek="$at" conv=notrunc status=none
}
shorter() { truncate -s $(($1 / 2)) dst/f; }
longer() { cat junk >>dst/f; }
absent() { rm -f dst/f; }

@test "an older version under the final name: only chunks that differ travel, -W sends all" {
	CELLS=0
	random_file pool $((12 * MB))
	random_file junk $((3 * MB))
	start_recv dst
	local size change most
	for size in 0 1 $((PIECE - 1)) "$PIECE" $((PIECE + 1)) $((3 * PIECE + 17)) $((8 * MB - 1)) $((8 * MB + 1)) $((10 * MB)); do
		for change in one_byte shorter longer absent; do
			existing "$size" no "$change"
			same_bytes f dst/f
			case $change in
			one_byte) most=$PIECE ;;
			shorter) most=$((size - size / 2 + PIECE)) ;;
			longer) most=$PIECE ;;
			absent) most=$size ;;
			esac
			[ "$SENT_BYTES" -le "$most" ] || fail "$size $change: $SENT_BYTES sent, at most $most differ"
			existing "$size" no "$change" -W
			same_bytes f dst/f
			[ "$SENT_BYTES" -eq "$size" ] || [ "$(json_field again.json 'done' skipped)" -eq 1 ]
			clean dst
		done
	done
	echo "# $CELLS cells" >&3
}

@test "same size and time is skipped; --checksum finds what differs all the same" {
	CELLS=0
	random_file pool $((9 * MB))
	start_recv dst
	local size
	for size in 1 $((PIECE - 1)) "$PIECE" $((3 * PIECE + 17)) $((8 * MB)) $((8 * MB + 1)); do
		existing "$size" yes nothing
		done_is again.json skipped=1 bytes=0
		existing "$size" yes one_byte
		done_is again.json skipped=1 bytes=0
		not cmp -s f dst/f
		existing "$size" yes one_byte --checksum
		done_is again.json skipped=0 files=1
		same_bytes f dst/f
		[ "$SENT_BYTES" -le "$PIECE" ]
		existing "$size" yes nothing --checksum
		done_is again.json skipped=1 bytes=0
		same_bytes f dst/f
		existing "$size" no nothing --checksum
		done_is again.json skipped=1 bytes=0
		[ f -ot dst/f ] || [ ! f -nt dst/f ]
		[ "$(stat -c %Y f)" -eq "$(stat -c %Y dst/f)" ]
		clean dst
	done
	echo "# $CELLS cells" >&3
}
