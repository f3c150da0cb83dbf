#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2034 # a test is a subshell
# A source that changes while it is read, or between two runs: what arrives is one state of it, never a mixture, and
# what did not change is not sent twice between runs.

load ../e2e/helpers
load partial

SIZE=$((12 << 20))
PIECE=$((128 << 10))

# Each changes src; CHANGED is in how many chunks at most it differs then, EVEN if its size is the same.
grow() { head -c 300000 other >>src && CHANGED=4; }
shrink() { truncate -s $((SIZE - 3000000)) src && CHANGED=1; }
replace() { cp other new && mv new src && CHANGED=$((SIZE / PIECE)); }
write_early() { printf 'early' | dd of=src bs=1 seek=1000 conv=notrunc status=none && CHANGED=1; }
write_late() { printf 'late!' | dd of=src bs=1 seek=$((SIZE - 1000)) conv=notrunc status=none && CHANGED=1; }
# the same size, and the time put back
hide_early() { touch -r src stamp && write_early && touch -r stamp src; }
hide_all() { touch -r src stamp && cat other >src && touch -r stamp src && CHANGED=$((SIZE / PIECE)); }

CHANGES='grow shrink replace write_early write_late hide_early hide_all'

begin() {
	random_file whole "$SIZE"
	random_file other "$SIZE"
}

@test "a large file changes once while it is read: it arrives as it is afterwards" {
	begin
	mkdir dst
	start_recv --window=1M dst # it is not read far ahead
	local change
	for change in $CHANGES; do
		rm -f dst/src
		cp whole src
		start send "$HAUL" send --json=send.json -z none --chunk="$PIECE" --bwlimit=16M src "$RECV_ADDR"
		await occupies dst 3000000
		"$change"
		[ ! -e dst/src ]
		reap "$PID" 0
		same_bytes src dst/src || fail "$change"
		done_is send.json changed=0 files=1
		clean dst
	done
}

@test "a large file changes between two runs: what is the same is kept, the rest is as it is now" {
	begin
	local change most
	for change in $CHANGES; do
		cp whole src
		interrupted src "$PIECE"
		"$change"
		start_recv dst
		most=$(($(stat -c %s src) - RECORDED + CHANGED * PIECE))
		[ "$change" != shrink ] || most=$((SIZE - RECORDED))
		again $((most > 0 ? most : PIECE)) src --chunk="$PIECE" || fail "$change"
		stop "$RECV_PID" 143
	done
}

@test "a version that needs no journal, or one that is there already: nothing unfinished of the old one stays" {
	begin
	cp whole src
	interrupted src "$PIECE"
	head -c 100000 other >src
	start_recv dst
	again 100000 src
	stop "$RECV_PID" 143

	cp whole src
	interrupted src "$PIECE"
	cp -p src dst/src # by other means
	start_recv dst
	again 0 src
	stop "$RECV_PID" 143

	# what the options leave alone is left alone
	cp whole src
	interrupted src "$PIECE"
	cp -p src dst/src
	start_recv dst
	"$HAUL" send -q --ignore-existing src "$RECV_ADDR"
	[ "$(recorded dst "$PIECE")" -eq "$RECORDED" ]
}

@test "a version that changes between its second reading and a kill: the third one is what counts" {
	begin
	cp whole src
	interrupted src "$PIECE"
	write_early
	restore
	start_recv --once dst
	start send "$HAUL" send -q -z none --chunk="$PIECE" --bwlimit=4M src "$RECV_ADDR"
	await occupies dst $((RECORDED + 600000))
	hide_early
	cp other src
	kill -9 "$PID" "$RECV_PID"
	reap "$PID" 137
	reap "$RECV_PID" 137
	start_recv dst
	again "$SIZE" src --chunk="$PIECE"
}

# changes_for_ever PID: src is another one at every moment, with its old size and time, as long as PID lives
changes_for_ever() {
	local i=0
	touch -r src stamp
	while alive "$1"; do
		i=$((i + 1))
		printf '%08d' "$i" | dd of=src bs=1 seek=$((i % 90 * PIECE)) conv=notrunc status=none
		touch -r stamp src
	done
}

@test "a large file that changes at every moment: read three times, then 24; what was there stays" {
	begin
	mkdir dst
	echo old >dst/src
	cp whole src
	cp whole quiet
	start_recv dst
	start send "$HAUL" send --json=send.json -z none --chunk="$PIECE" src quiet "$RECV_ADDR"
	changes_for_ever "$PID"
	reap "$PID" 24
	[ "$(<dst/src)" = old ]
	same_bytes quiet dst/quiet
	json_has send.json file '"path":"src".*"state":"changed"'
	done_is send.json changed=1 files=1 failed=0
	# three readings, of which the later ones found much of it there already
	[ "$(json_field send.json 'done' bytes)" -le $((4 * SIZE)) ]
	# once it is quiet it arrives
	"$HAUL" send --json=again.json -z none --chunk="$PIECE" src "$RECV_ADDR"
	same_bytes src dst/src
	clean dst
}

@test "a file that is replaced by a shorter and then a longer one at every moment: one of them, or 24" {
	local i=0 seen=0
	head -c "$SIZE" /dev/zero | tr '\0' a >state.a
	head -c $((SIZE - 777777)) /dev/zero | tr '\0' b >state.b
	head -c $((SIZE + 777777)) /dev/zero | tr '\0' c >state.c
	mkdir dst
	start_recv dst
	for i in 1 2 3 4 5; do
		cp state.a src
		start send "$HAUL" send -q -z none --chunk="$PIECE" --bwlimit=90M src "$RECV_ADDR"
		local n=0 s
		while alive "$PID" && [ $((n += 1)) -lt $((i * 2)) ]; do
			for s in b c a; do
				cp "state.$s" next
				mv next src
			done
		done
		reap "$PID"
		[ "$REAPED" -eq 0 ] || [ "$REAPED" -eq 24 ]
		[ -e dst/src ] || continue
		seen=$((seen + 1))
		cmp -s state.a dst/src || cmp -s state.b dst/src || cmp -s state.c dst/src || fail "a mixture"
	done
	[ "$seen" -gt 0 ]
}
