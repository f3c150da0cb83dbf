#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2030,SC2031,SC2317 # $0 is for bash -c; a test is a subshell; await calls functions
# kill -9 of either side, of both, and of a receiver of a pipe: the same command again ends it, byte for byte.

load ../e2e/helpers

SCALE=${FAULT_SCALE:-1}

# A moment between 0 and 0.4 s, from a seed that is told.
moment() {
	printf '0.%03d' $((RANDOM % 400))
}

pause() {
	[ -p silence ] || mkfifo silence
	read -r -t "$1" <>silence || true
}

# recorded_in DIR: the bytes that its one journal has chunk records of.
recorded_in() {
	local records
	records=$((($(stat -c %s "$1"/.haul/*.j) - 192) / 64))
	echo $((records * 1048576))
}

receiver_on() { # ADDR ARGS...: a receiver on a port that a dead one has left
	start recv "$HAUL" recv --listen="$1" --json=recv.json "${@:2}"
	RECV_PID=$PID
	until_open() { (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; }
	await until_open "$1"
}

@test "kill -9 of sender, receiver or both, again and again: converges byte-exact" {
	RANDOM=${SEED:-4711}
	mkdir src
	random_file src/large 96000000
	cp -r /usr/include/linux src/many
	start_recv dst
	local kills=0 round addr=$RECV_ADDR
	for ((round = 0; round < 12 * SCALE; round++)); do
		start send "$HAUL" send --bwlimit=120M --chunk=256k -z none src "$addr"
		pause "$(moment)"
		case $((round % 3)) in
		0) kill -9 "$PID" ;;
		1) kill -9 "$RECV_PID" ;;
		2) kill -9 "$PID" "$RECV_PID" ;;
		esac 2>/dev/null || true # it may have ended by itself
		kills=$((kills + 1))
		kill -9 "$PID" 2>/dev/null || true
		reap "$PID"
		if ! alive "$RECV_PID"; then
			reap "$RECV_PID"
			receiver_on "$addr" dst
		fi
		# what has its final name is whole, at any moment
		[ ! -e dst/src/large ] || same_bytes src/large dst/src/large
	done
	"$HAUL" send --json=last.json -z none src "$addr"
	same_tree src dst/src
	clean dst
	echo "# $kills kills, byte-exact; the last run sent $(json_field last.json 'done' bytes) of 100000000 bytes (seed ${SEED:-4711})" >&3
}

@test "a rerun sends what was not recorded, and no more" {
	mkdir src
	random_file src/large 200000000
	start_recv dst
	start send "$HAUL" send --bwlimit=60M -z none src "$RECV_ADDR"
	local sender=$PID recorded missing
	journal() { stat -c %s dst/.haul/*.j 2>/dev/null | awk '{ n += $1 } END { exit n < 100 * 64 }'; }
	await journal
	kill -9 "$sender" "$RECV_PID"
	reap "$sender"
	reap "$RECV_PID"
	recorded=$(recorded_in dst)
	receiver_on "$RECV_ADDR" dst
	"$HAUL" send --json=again.json -z none src "$RECV_ADDR"
	same_tree src dst/src
	missing=$((200000000 - recorded))
	[ "$(json_field again.json 'done' bytes)" -le $((missing + 1048576)) ]
	echo "# $recorded bytes were recorded, $(json_field again.json 'done' bytes) sent again of $missing that were not" >&3
}

@test "kill -9 of the sender alone: all that had arrived is kept, recorded or not" {
	random_file src 40000000
	start_recv dst
	start send "$HAUL" send --bwlimit=20M --chunk=64k -z none src "$RECV_ADDR"
	local sender=$PID had missing
	half() { [ "$(stat -c %b dst/.haul/*.part 2>/dev/null || echo 0)" -ge 40000 ]; }
	await half
	kill -9 "$sender"
	reap "$sender" 137
	had=$(($(stat -c %b dst/.haul/*.part) * 512))
	"$HAUL" send --json=again.json --chunk=64k -z none src "$RECV_ADDR"
	same_bytes src dst/src
	missing=$((40000000 - had))
	[ "$(json_field again.json 'done' bytes)" -le $((missing + 6 * 65536)) ] || fail "$(json_field again.json 'done' bytes) bytes were sent, $missing were missing"
	clean dst
}

@test "the receiver of a pipe is killed and started again: every byte once" {
	RANDOM=${SEED:-815}
	random_file in 150000000
	start_recv -o out
	local sender kills addr=$RECV_ADDR
	start send bash -c '"$0" send --bwlimit=80M -z none --json=send.json - "$1" <in' "$HAUL" "$addr"
	sender=$PID
	for ((kills = 0; kills < 4; kills++)); do
		pause 0.3
		kill -9 "$RECV_PID"
		reap "$RECV_PID"
		receiver_on "$addr" -o out
	done
	reap "$sender" 0
	reap "$RECV_PID" 0
	same_bytes in out
	echo "# $kills kills, $(json_field send.json 'done' resent_bytes) bytes sent again" >&3
}

@test "the receiver of a pipe is killed and what it had is removed: 16, and it says so" {
	random_file in 100000000
	start_recv -o out
	local sender addr=$RECV_ADDR
	start send bash -c '"$0" send --bwlimit=40M --ring=16M --window=16M -z none - "$1" <in' "$HAUL" "$addr"
	sender=$PID
	recorded() { [ -n "$(find .haul -name '*.j' -size +300c 2>/dev/null)" ]; }
	await recorded
	kill -9 "$RECV_PID"
	reap "$RECV_PID"
	rm -r .haul
	receiver_on "$addr" -o out
	reap "$sender" 16
	[[ $(<send.err) == "haul: $addr: the receiver no longer has this stream"* ]]
	[ "$(wc -l <send.err)" -eq 1 ]
	[ ! -e out ]
}

@test "a frozen twin is superseded, a live one is not" {
	random_file src 200000000
	start_recv dst
	start send "$HAUL" send --bwlimit=30M -z none src "$RECV_ADDR"
	local twin=$PID
	journal() { [ "$(find dst/.haul -name '*.j' -size +0 2>/dev/null | wc -l)" -eq 1 ]; }
	await journal
	run "$HAUL" send -z none src "$RECV_ADDR"
	[ "$status" -eq 75 ]
	kill -STOP "$twin"
	"$HAUL" send -z none src "$RECV_ADDR"
	same_bytes src dst/src
	kill -CONT "$twin"
	reap "$twin"
	same_bytes src dst/src
	clean dst
}

@test "a partial that was damaged between the runs: only the damaged chunks and the missing are sent" {
	random_file src 150000000
	start_recv dst
	start send "$HAUL" send --bwlimit=40M -z none src "$RECV_ADDR"
	local sender=$PID part recorded
	journal() { stat -c %s dst/.haul/*.j 2>/dev/null | awk '{ n += $1 } END { exit n < 30 * 64 }'; }
	await journal
	kill -9 "$sender" "$RECV_PID"
	reap "$sender"
	reap "$RECV_PID"
	part=$(echo dst/.haul/*.part)
	recorded=$(recorded_in dst)
	printf 'damage' | dd of="$part" bs=1 seek=3000000 conv=notrunc status=none
	printf 'damage' | dd of="$part" bs=1 seek=20000000 conv=notrunc status=none
	receiver_on "$RECV_ADDR" dst
	"$HAUL" send --json=again.json -z none src "$RECV_ADDR"
	same_bytes src dst/src
	[ "$(json_field again.json 'done' bytes)" -le $((150000000 - recorded + 3 * 1048576)) ]
}

@test "a full disk: 13, nothing under the final name, and the rest after space is freed" {
	mkdir small
	mount -t tmpfs -o size=48m none small
	random_file in 60000000
	random_file filler 20000000
	cp filler small/filler
	start_recv small
	run "$HAUL" send -z none - --name=stream "$RECV_ADDR" <in
	[ "$status" -eq 13 ]
	[ ! -e small/stream ]
	run "$HAUL" send -z none in "$RECV_ADDR"
	[ "$status" -eq 13 ]
	[ ! -e small/in ]
	stop "$RECV_PID"
	mount -o remount,size=100m small
	rm small/filler
	start_recv small
	"$HAUL" send -z none in "$RECV_ADDR"
	same_bytes in small/in
	stop "$RECV_PID"
	umount small
}
