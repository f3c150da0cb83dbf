#!/usr/bin/env bats
# Cut connections: an event, not an error. The proxy cuts at exact bytes; what arrives is compared byte for byte.

load helpers

tree_with_weight() {
	mkdir src
	cp -r /usr/include/linux src/many
	random_file src/large 40000000
	printf x >src/one
	: >src/none
}

# cuts_of: how often the proxy cut; resumes_of, disconnects_of: what the sender said of it.
cuts_of() { json_count chaos.json cut; }

# through_cuts SRC SEND_ARGS...: must end well, with a disconnect and a resume for every cut that hit a session.
through_cuts() {
	local src=$1
	shift
	HAUL_OPTIONS='--retry-delay=10ms..100ms' "$HAUL" send --json=send.json "$@" "$src" "$CHAOS_ADDR" 2>send.err
	[ "$(json_count send.json disconnect)" -eq "$(json_count send.json resume)" ]
	[ "$(json_field send.json 'done' reconnects)" -eq "$(json_count send.json resume)" ]
	local losses=$(($(json_count send.json disconnect) + $(json_count send.json retry)))
	[ "$losses" -eq "$(cuts_of)" ] || [ "$losses" -ge "${LOSSES_FROM:-1000000}" ]
	[ "$(json_field send.json 'done' exit)" -eq 0 ]
}

tree_through() {
	tree_with_weight
	start_recv dst
	start_chaos "$@"
	through_cuts src -z none
	same_tree src dst/src
	clean dst
}

@test "thirty resets, sender to receiver: a tree" {
	tree_through --cut-every 1M --cuts 30 --seed 1
	[ "$(cuts_of)" -eq 30 ]
}

@test "thirty orderly closes, sender to receiver: a tree" {
	tree_through --cut-every 1M --cuts 30 --seed 2 --cut-how fin
	[ "$(cuts_of)" -eq 30 ]
}

@test "resets counted on the way back: wants, acks and results are replayed too" {
	tree_through --cut-every 400 --cuts 20 --seed 3 --cut-dir s2c
	[ "$(cuts_of)" -ge 5 ]
}

@test "cuts in both directions, compressed, a window smaller than two chunks" {
	tree_with_weight
	start_recv --window=100k dst
	start_chaos --cut-every 700k --cuts 15 --seed 4 --cut-dir both
	through_cuts src -z 1 --chunk=64k --window=100k
	[ "$(cuts_of)" -eq 15 ]
	same_tree src dst/src
}

@test "a port that is gone for a while after each cut" {
	LOSSES_FROM=3 tree_through --cut-every 8M --cuts 3 --seed 5 --down 300 # refused attempts count as well
}

@test "a pipe into a file, thirty cuts" {
	random_file in 40000000
	start_recv -o out
	start_chaos --cut-every 1M --cuts 30 --seed 6
	HAUL_OPTIONS='--retry-delay=10ms..100ms' "$HAUL" send --json=send.json -z none - "$CHAOS_ADDR" <in
	reap "$RECV_PID" 0
	[ "$(cuts_of)" -eq 30 ]
	[ "$(json_count send.json disconnect)" -eq 30 ]
	same_bytes in out
}

@test "a pipe to a consumer: every byte once, thirty cuts" {
	random_file in 40000000
	start_recv -o -
	start_chaos --cut-every 1M --cuts 30 --seed 7 --cut-how fin
	HAUL_OPTIONS='--retry-delay=10ms..100ms' "$HAUL" send --json=send.json -z none - "$CHAOS_ADDR" <in
	reap "$RECV_PID" 0
	same_bytes in recv.out
}

# Every offset of a small transfer would be thousands of runs: a walk over them with a stride, through one receiver.
every_nth_offset() {
	local dir=$1 from=$2 to=$3 step=$4 k
	mkdir src
	echo one >src/a
	echo two >src/b
	random_file src/c 3000
	start_recv dst
	for ((k = from; k < to; k += step)); do
		rm -rf dst/src
		start_chaos --cut-after "$k" --cut-dir "$dir"
		HAUL_OPTIONS='--retry-delay=1ms..5ms' "$HAUL" send --json=send.json -z none src "$CHAOS_ADDR" 2>send.err ||
			fail "cut after $k bytes $dir: exit $?"
		diff -r src dst/src || fail "cut after $k bytes $dir: not the same"
		kill "$CHAOS_PID"
	done
	clean dst
}

@test "cut after every 37th byte, sender to receiver" {
	every_nth_offset c2s 0 4200 37
}

@test "cut after every 5th byte, receiver to sender" {
	every_nth_offset s2c 0 500 5
}

@test "a link that never comes back: 10 when the budget is spent, and the rerun goes on" {
	tree_with_weight
	start_recv dst
	start_chaos --cut-after 9M,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0
	run "$HAUL" send --reconnect=1s --retry-delay=100ms..200ms -z none src "$CHAOS_ADDR"
	[ "$status" -eq 10 ]
	[ "${#lines[@]}" -eq 1 ]
	"$HAUL" send src "$RECV_ADDR"
	same_tree src dst/src
}

@test "the receiver is killed and started again: files go on by themselves" {
	tree_with_weight
	start_recv dst
	start send "$HAUL" send --json=send.json --bwlimit=20M -z none src "$RECV_ADDR"
	local sender=$PID
	await size_over send.json 200
	kill -9 "$RECV_PID"
	reap "$RECV_PID"
	start again "$HAUL" recv --listen="$RECV_ADDR" --json=again.json dst
	reap "$sender" 0
	same_tree src dst/src
	local total
	total=$(find src -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')
	counts_once "$total"
	[ "$(json_field send.json 'done' files)" -eq "$(find src -type f | wc -l)" ]
}

# counts_once TOTAL: every byte of content is one that was moved, skipped or kept
counts_once() {
	local n=0 m
	for m in bytes skipped_bytes kept_bytes; do
		n=$((n + $(json_field send.json 'done' "$m")))
	done
	[ "$n" -eq "$1" ] || fail "$n bytes are counted, $1 were sent" "$(tail -n 1 send.json)"
}

@test "the receiver is killed in a file of which nothing is recorded: it is sent again, and counted as that" {
	mkdir src
	random_file src/a 20000000
	start_recv dst
	start send "$HAUL" send --json=send.json --bwlimit=20M -z none src "$RECV_ADDR"
	local sender=$PID lost
	await json_has send.json progress '"bytes":[1-9][0-9]{6}'
	kill -9 "$RECV_PID"
	reap "$RECV_PID"
	rm -rf dst/.haul
	start again "$HAUL" recv --listen="$RECV_ADDR" --json=again.json dst
	reap "$sender" 0
	same_tree src dst/src
	done_is send.json bytes=20000000 kept_bytes=0 skipped_bytes=0 files=1
	lost=$(json_field send.json 'done' resent_bytes)
	[ "$lost" -ge 1000000 ]
	[ "$lost" -le 20000000 ]
}
