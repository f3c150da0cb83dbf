#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2030,SC2031,SC2034 # a test is a subshell; $0 is for bash -c
# Signals end a transfer in order, outputs that nobody reads or that are closed hold nothing up, and a receiver whose
# process dies again and again is not tried for ever.

load ../e2e/helpers
load partial

SIZE=$((24 << 20))
PIECE=$((128 << 10))

# begin RATE ARGS...: a sender with ARGS on its way to a receiver with $RECV_ARGS; SENDER
begin() {
	[ -e big ] || random_file big "$SIZE"
	rm -rf dst
	# shellcheck disable=SC2086 # words
	start_recv ${RECV_ARGS-} dst
	start send "$HAUL" send --json=send.json -z none --chunk="$PIECE" --bwlimit="$1" "${@:2}" big "$RECV_ADDR"
	SENDER=$PID
	await occupies dst 3000000
}

# ended SIGNAL PID: its process died by that signal, as its shell sees it
ended() {
	local begun=$SECONDS
	reap "$2" $((128 + $1))
	[ $((SECONDS - begun)) -le 4 ] || fail "it took $((SECONDS - begun)) s"
}

finish() {
	local kept
	kept=$(recorded dst "$PIECE")
	[ "$kept" -ge 2000000 ] || fail "only $kept bytes are recorded"
	start_recv dst
	again $((SIZE - kept)) big --chunk="$PIECE"
	stop "$RECV_PID" 143
}

@test "SIGINT and SIGTERM of the sender: by the signal, with a word on how to go on, and it goes on" {
	local signal number
	for signal in INT:2 TERM:15; do
		number=${signal#*:}
		begin 6M
		kill -"${signal%:*}" "$SENDER"
		ended "$number" "$SENDER"
		one_line send.err "interrupted by SIG${signal%:*}; run the same command again to continue"
		done_is send.json exit=$((128 + number)) class=again
		stop "$RECV_PID" 143
		finish
	done
}

@test "SIGINT and SIGTERM of the receiver with a session under way: the same, on both sides" {
	local signal number
	for signal in INT:2 TERM:15; do
		number=${signal#*:}
		begin 6M --reconnect=1s
		kill -"${signal%:*}" "$RECV_PID"
		ended "$number" "$RECV_PID"
		grep -q "interrupted by SIG${signal%:*}; run the same command again to continue" recv.err
		reap "$SENDER" 10
		one_line send.err 'run (it|the same command)? ?again|again to continue'
		finish
	done
}

# A file that ends before the signal does, while its line is slow: the grace is for that.
@test "--grace: what is on its way may arrive within it, and no longer" {
	random_file big "$SIZE"
	RECV_ARGS=--grace=1s begin 4M --grace=1s
	start_chaos --stall 60000@0
	kill -STOP "$RECV_PID" "$(pgrep -P "$RECV_PID")"
	kill -TERM "$SENDER"
	ended 15 "$SENDER"
	kill -CONT "$RECV_PID" "$(pgrep -P "$RECV_PID")"
	stop "$RECV_PID" 143
	finish
}

@test "a second signal ends at once, however long the grace" {
	RECV_ARGS=--grace=5m begin 4M --grace=5m --window=1M
	local session
	session=$(pgrep -P "$RECV_PID")
	kill -STOP "$RECV_PID" "$session"
	kill -TERM "$SENDER"
	json_has send.json progress
	alive "$SENDER"
	kill -TERM "$SENDER"
	ended 15 "$SENDER"
	kill -CONT "$RECV_PID" "$session"
	stop "$RECV_PID" 143
}

@test "SIGTERM of a listener with sessions under way says how to go on, once a session" {
	begin 6M --reconnect=1s
	random_file other "$SIZE"
	start more "$HAUL" send --reconnect=1s -z none --bwlimit=6M other "$RECV_ADDR"
	local more=$PID
	await occupies dst 6000000
	stop "$RECV_PID" 143
	[ "$(grep -c 'run the same command again to continue' recv.err)" -eq 2 ]
	reap "$SENDER" 10
	reap "$more" 10
}

@test "a session that does not end in time is cut off by its listener, which says so; at once by a second signal" {
	local session
	RECV_ARGS=--grace=0.5s begin 6M --reconnect=1s
	session=$(pgrep -P "$RECV_PID")
	kill -STOP "$session"
	kill -TERM "$RECV_PID"
	ended 15 "$RECV_PID"
	one_line recv.err '^haul: 1 unfinished session cut off; run the same command again to continue$'
	reap "$SENDER"
	RECV_ARGS=--grace=5m begin 6M --reconnect=1s
	session=$(pgrep -P "$RECV_PID")
	kill -STOP "$session"
	kill -INT "$RECV_PID"
	taken() { grep -q "^SigPnd:\|^ShdPnd:" "/proc/$RECV_PID/status" && ! grep -Eq '^S(ig|hd)Pnd:.*[1-9a-f]' "/proc/$RECV_PID/status"; }
	await taken
	alive "$RECV_PID"
	kill -TERM "$RECV_PID"
	ended 15 "$RECV_PID"
	one_line recv.err 'cut off; run the same command again'
	await gone "$session"
	reap "$SENDER"
	start_recv dst
	again "$SIZE" big --chunk="$PIECE"
}

@test "a consumer that closes early: 15 on both sides, no signal is lost on it" {
	random_file big "$SIZE"
	start recv bash -c '"$0" recv --listen=127.0.0.1:0 --port-file=port -o - | head -c 1 >first; exit ${PIPESTATUS[0]}' "$HAUL"
	local receiver=$PID
	await test -s port
	run "$HAUL" send -z none - "$(<port)" <big
	[ "$status" -eq 15 ]
	reap "$receiver" 15
	[ "$(stat -c %s first)" -eq 1 ]
}

# full_pipe FD: descriptor FD is a pipe that holds all it can, and that nobody reads
full_pipe() {
	rm -f full
	mkfifo full
	eval "exec $1<>full"
	(dd if=/dev/zero of=full oflag=nonblock bs=4096 status=none 2>/dev/null || true)
	(dd if=/dev/zero of=full oflag=nonblock bs=1 status=none 2>/dev/null || true)
}

@test "a standard error that is full and that nobody reads holds nothing up" {
	random_file big "$SIZE"
	full_pipe 7
	"$HAUL" recv --listen=127.0.0.1:0 --port-file=port --grace=1s -v --progress=plain --once dst 2>&7 3>&- &
	local receiver=$!
	started+=("$receiver")
	await test -s port
	timeout 20 "$HAUL" send --grace=1s -v --progress=plain --json -z none big "$(<port)" 2>&7
	reap "$receiver" 0
	same_bytes big dst/big
}

@test "events into a pipe that is full and that nobody reads hold nothing up, on either side" {
	random_file big "$SIZE"
	mkdir many
	local i
	for i in {1..500}; do
		echo "$i" >"many/$i"
	done
	full_pipe 7
	"$HAUL" recv --listen=127.0.0.1:0 --port-file=port --json=fd:7 --grace=1s --once dst 3>&- &
	local receiver=$!
	started+=("$receiver")
	await test -s port
	timeout 20 "$HAUL" send --json=fd:7 --grace=1s -z none big many "$(<port)"
	reap "$receiver" 0
	same_bytes big dst/big
	same_tree many dst/many
}

@test "signals reach a sender whose outputs are all full" {
	full_pipe 7
	random_file big "$SIZE"
	start_recv dst
	"$HAUL" send --grace=1s -v --progress=plain --json=fd:7 -z none --bwlimit=4M big "$RECV_ADDR" 2>&7 3>&- &
	SENDER=$!
	started+=("$SENDER")
	await occupies dst 1000000
	kill -TERM "$SENDER"
	ended 15 "$SENDER"
}

# Nothing is recorded before the first checkpoint, two seconds in.
@test "a receiver whose process dies before anything is recorded, again and again: a few tries, then 10" {
	random_file big "$SIZE"
	start_recv dst
	start send "$HAUL" send --json=send.json --retry-delay=10ms..20ms -z none --bwlimit=8M big "$RECV_ADDR"
	local sender=$PID deaths=0
	while alive "$sender" && [ "$deaths" -lt 40 ]; do
		if pkill -KILL -P "$RECV_PID"; then
			deaths=$((deaths + 1))
		fi
		sleep 0.2
	done
	reap "$sender" 10
	[ "$deaths" -le 10 ]
	[ ! -e dst/big ]
	echo "# gave up after $deaths deaths" >&3
}
