#!/usr/bin/env bats
# Peers and lines that stand still, or nearly so. The three clocks end what cannot go on, and nothing else.

load helpers

cpu_ticks() { # PID: user and system time so far
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

quiet_for() { # SECONDS in which nothing is said: what is tested is what happens in them
	[ -p silence ] || mkfifo silence
	read -r -t "$1" <>silence || true
}

@test "a line that freezes: 30 when --idle is over" {
	random_file src 30000000
	start_recv dst
	start_chaos --freeze-after 5M
	run timeout 20 "$HAUL" send --idle=1s -z none src "$CHAOS_ADDR"
	[ "$status" -eq 30 ]
	[ "${#lines[@]}" -eq 1 ]
	[ ! -e dst/src ]
}

@test "a receiver that is stopped: 30" {
	random_file src 300000000
	start_recv dst
	start send "$HAUL" send --json=send.json --credit-wait=3s --idle=3s --bwlimit=200M -z none src "$RECV_ADDR"
	local sender=$PID session
	await size_over send.json 600
	session=$(pgrep -P "$RECV_PID")
	kill -STOP "$session"
	reap "$sender" 30
	kill -CONT "$session"
}

@test "a stalled sender and receiver use next to no processor time" {
	mkfifo pipe
	start_recv -o out
	STDIN=pipe start send "$HAUL" send --json=send.json - "$RECV_ADDR"
	local sender=$PID session before after
	exec 8>pipe
	printf 'hello' >&8
	said() { [ -s out ] || json_has send.json progress '"acked":5'; }
	await said
	session=$(pgrep -P "$RECV_PID")
	before=$(($(cpu_ticks "$sender") + $(cpu_ticks "$session")))
	quiet_for 3 # three seconds of nothing, observed
	after=$(($(cpu_ticks "$sender") + $(cpu_ticks "$session")))
	[ $((after - before)) -le 6 ] # hundredths of a second, of both together, in three seconds
	exec 8>&-
	reap "$sender" 0
	reap "$RECV_PID" 0
	[ "$(<out)" = hello ]
}

@test "a producer slower than --idle is no error" {
	mkfifo pipe
	start_recv --idle=1s -o out
	STDIN=pipe start send "$HAUL" send --idle=1s - "$RECV_ADDR"
	local sender=$PID
	exec 8>pipe
	printf 'one ' >&8
	quiet_for 3
	printf 'two' >&8
	exec 8>&-
	reap "$sender" 0
	reap "$RECV_PID" 0
	[ "$(<out)" = 'one two' ]
}

@test "one byte at a time is slow, not wrong" {
	mkdir src
	random_file src/a 20000
	echo x >src/b
	start_recv dst
	start_chaos --trickle 1
	"$HAUL" send -z none src "$CHAOS_ADDR"
	same_tree src dst/src
}

@test "a consumer that takes nothing: the sender gives up with 30, the producer was held back" {
	mkfifo nobody_reads
	exec 8<>nobody_reads
	"$HAUL" recv --listen=127.0.0.1:0 --port-file=port -o - >nobody_reads 2>recv.err 3>&- &
	local receiver=$!
	await test -s port
	run bash -c 'yes | timeout 30 "$0" send --window=1M --credit-wait=1s --idle=2s - "$(<port)"' "$HAUL"
	[ "$status" -eq 30 ]
	kill "$receiver"
	wait "$receiver" || true
	exec 8>&-
}
