#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031 # a test is a subshell
# A journal that is cut, flipped, spliced or repeated, a partial that was written over: what is believed of them is
# checked again, so the file arrives byte for byte, and only what is not there any more travels. (What lib/journal
# believes of every single damage is in tests/unit/t_journal.c; here is what becomes of it.)

load ../e2e/helpers
load partial

SCALE=${FAULT_SCALE:-1}
RANDOM=${SEED:-20261}
KB=1024
SIZE=$(((9 << 20) + 17))
CHUNK_ARG=$((64 * KB))
HEAD=192 # header and path of these journals
RECORD=64

# One interrupted transfer serves all steps of a test.
begin() {
	random_file big "$SIZE"
	interrupted big "$CHUNK_ARG"
	start_recv dst
	RECORDS=$((RECORDED / CHUNK_ARG))
}

# flip FILE BYTE BIT
flip() {
	local was
	was=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\x$(printf %x $((was ^ (1 << $3))))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# left N: the most that may travel when the first N records are believed
left() {
	echo $((SIZE - $1 * CHUNK_ARG))
}

# Lengths around the header, the path, each of some records, and any.
cuts() {
	local i
	echo 0 1 127 128 129 $((HEAD - 1)) "$HEAD" $((HEAD + 1)) $((HEAD + RECORD - 1)) $((HEAD + RECORD))
	echo $((HEAD + (RECORDS - 1) * RECORD)) $((HEAD + RECORDS * RECORD - 1))
	for ((i = 0; i < 12 * SCALE; i++)); do
		echo $((RANDOM % (HEAD + RECORDS * RECORD)))
	done
}

@test "a journal cut anywhere: what its whole records say counts, the rest is sent" {
	begin
	local at whole n=0
	for at in $(cuts); do
		restore
		truncate -s "$at" "$JOURNAL"
		whole=$((at > HEAD ? (at - HEAD) / RECORD : 0))
		again "$(left "$whole")" big --chunk="$CHUNK_ARG"
		[ "$SENT_BYTES" -ge "$(left "$whole")" ]
		n=$((n + 1))
	done
	echo "# $n cuts, $RECORDS records (seed ${SEED:-20261})" >&3
}

@test "a flipped bit anywhere in the journal: it is believed up to there" {
	begin
	local at whole i n=0
	for ((i = 0; i < 24 * SCALE; i++)); do
		restore
		at=$((i < 4 ? i * 40 : RANDOM % (HEAD + RECORDS * RECORD)))
		flip "$JOURNAL" "$at" $((RANDOM % 8))
		whole=$((at >= HEAD ? (at - HEAD) / RECORD : at >= 131 ? RECORDS : 0))
		again "$(left "$whole")" big --chunk="$CHUNK_ARG"
		[ "$SENT_BYTES" -ge "$(left "$whole")" ]
		n=$((n + 1))
	done
	echo "# $n flips (seed ${SEED:-20261})" >&3
}

@test "blocks of an older journal behind the end of a new one, and the tail of it twice: not believed" {
	begin
	local half=$((RECORDS / 2)) old=old.j
	cp "$JOURNAL" "$old" 2>/dev/null || cp state/*.j "$old"
	# a second journal of the same file, with a salt of its own
	rm -rf dst
	stop "$RECV_PID" 143
	interrupted big "$CHUNK_ARG"
	start_recv dst
	RECORDS=$((RECORDED / CHUNK_ARG))
	half=$((half < RECORDS ? half : RECORDS - 1))
	restore
	truncate -s $((HEAD + half * RECORD)) "$JOURNAL"
	tail -c +$((HEAD + half * RECORD + 1)) "$old" >>"$JOURNAL"
	again "$(left "$half")" big --chunk="$CHUNK_ARG"
	[ "$SENT_BYTES" -ge "$(left "$half")" ]
	# the tail twice, and the whole again
	restore
	tail -c $((3 * RECORD)) "$JOURNAL" >tail.j
	cat tail.j >>"$JOURNAL"
	again "$(left "$RECORDS")" big --chunk="$CHUNK_ARG"
	restore
	tail -c +$((HEAD + 1)) "$JOURNAL" >all.j
	cat all.j >>"$JOURNAL"
	again "$(left "$RECORDS")" big --chunk="$CHUNK_ARG"
	# two records that changed places: the first of them ends it
	restore
	dd if=all.j of="$JOURNAL" bs=$RECORD skip=6 seek=$((HEAD / RECORD + 5)) count=1 conv=notrunc status=none
	again "$(left 5)" big --chunk="$CHUNK_ARG"
	[ "$SENT_BYTES" -ge "$(left 5)" ]
}

@test "one chunk of the partial was written over: it alone is sent again, wherever it is" {
	begin
	local chunk n=0
	for chunk in 0 1 $((RECORDS / 2)) $((RECORDS - 2)) $((RECORDS - 1)); do
		for at in 0 $((CHUNK_ARG / 2)) $((CHUNK_ARG - 1)); do
			restore
			flip "$PART" $((chunk * CHUNK_ARG + at)) 5
			again "$(left $((RECORDS - 1)))" big --chunk="$CHUNK_ARG"
			[ "$SENT_BYTES" -eq "$(left $((RECORDS - 1)))" ]
			n=$((n + 1))
		done
	done
	echo "# $n damaged chunks" >&3
}

@test "all of the partial is garbage, in more chunks than can be asked for at once: all of it is sent" {
	CHUNK_ARG=$((4 * KB))
	begin
	restore
	[ "$RECORDS" -gt 1100 ]
	random_file garbage "$(stat -c %s "$PART")"
	dd if=garbage of="$PART" conv=notrunc status=none
	again "$SIZE" big --chunk="$CHUNK_ARG"
}
