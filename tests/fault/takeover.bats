#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2034 # a test is a subshell
# Two that want the same destination file: a live one keeps it, one that is dead, frozen or cut off loses it to the
# next run, and what it does when it comes back changes nothing.

load ../e2e/helpers
load partial

PIECE=$((128 << 10))
SIZE=$((24 << 20))

journaled() {
	[ "$(find dst/.haul -name '*.j' -size +$((64 * $1 + 191))c 2>/dev/null | wc -l)" -eq 1 ]
}

# begin RATE ARGS...: FILE on its way to a new dst through the proxy with ARGS, some of it recorded; TWIN
begin() {
	mkdir -p old new
	random_file old/f "$SIZE"
	cp -p old/f new/f
	start_recv dst
	start_chaos "${@:2}"
	start twin "$HAUL" send --idle=6s --reconnect=20s --json=twin.json -z none --chunk="$PIECE" --bwlimit="$1" old/f "$CHAOS_ADDR"
	TWIN=$PID
	await journaled 8
}

rerun() {
	local begun=$SECONDS
	RECORDED=$(recorded dst "$PIECE")
	"$HAUL" send --json=again.json -z none --chunk="$PIECE" "$1" "$RECV_ADDR" 2>again.err
	# a probe and its proof, not an idle time
	[ $((SECONDS - begun)) -le 8 ] || fail "taken over after $((SECONDS - begun)) s"
	same_bytes "$1" dst/f
}

@test "the line of a sender turned into a black hole: the next run takes over and sends the rest" {
	begin 6M --cut-after 14000000 --cut-how blackhole
	await json_has chaos.json cut
	rerun old/f
	[ "$(json_field again.json 'done' bytes)" -le $((SIZE - RECORDED)) ]
	kill -KILL "$TWIN"
	reap "$TWIN" 137
	kill -KILL "$CHAOS_PID"
	stop "$RECV_PID" 143
	same_bytes old/f dst/f
	clean dst
}

@test "a sender that died while its connection stays open: the next run takes over" {
	begin 6M --freeze-after 14000000
	await json_has chaos.json freeze
	kill -KILL "$TWIN"
	reap "$TWIN" 137
	rerun old/f
	[ "$(json_field again.json 'done' bytes)" -le $((SIZE - RECORDED)) ]
	clean dst
}

@test "two live senders with different files for one name: the second gets 75, the first arrives" {
	begin 10M
	printf 'other' | dd of=new/f bs=1 seek=5000000 conv=notrunc status=none
	run "$HAUL" send -z none --chunk="$PIECE" new/f "$RECV_ADDR"
	[ "$status" -eq 75 ]
	reap "$TWIN" 0
	same_bytes old/f dst/f
	clean dst
}

@test "a frozen sender of an older version wakes up after the newer one has arrived: it changes nothing" {
	begin 6M
	kill -STOP "$TWIN"
	random_file new/f $((SIZE + 12345))
	rerun new/f
	touch -r dst/f stamp
	kill -CONT "$TWIN"
	reap "$TWIN" 75
	same_bytes new/f dst/f
	[ ! dst/f -nt stamp ]
	clean dst
}

# What the proxy and the sockets still hold of it goes on arriving for seconds.
@test "a sender that froze with much on its way: what still arrives is no sign of life" {
	begin 1G --rate 3000000
	kill -STOP "$TWIN"
	# 75 would say that it lives
	rerun new/f
	[ "$(json_field again.json 'done' bytes)" -lt "$SIZE" ]
	kill -CONT "$TWIN"
	reap "$TWIN" 75
	same_bytes new/f dst/f
	clean dst
}

@test "a sender of an older version that was cut off comes back after the newer one has arrived: it changes nothing" {
	begin 6M --cut-after 14000000 --down 3000
	await json_has chaos.json cut
	random_file new/f $((SIZE + 12345))
	rerun new/f
	touch -r dst/f stamp
	# its line comes back: it hears that it has lost
	reap "$TWIN" 75
	one_line twin.err superseded
	same_bytes new/f dst/f
	[ ! dst/f -nt stamp ]
	clean dst
}

@test "the receiver's process of a session is frozen: the next run ends it and goes on" {
	begin 6M
	local session
	session=$(pgrep -P "$RECV_PID")
	kill -STOP "$TWIN" "$session"
	rerun old/f
	await gone "$session"
	kill -CONT "$TWIN"
	reap "$TWIN"
	same_bytes old/f dst/f
	clean dst
}

@test "the receiver's process of an older version is frozen and ended for a newer one: its sender, back, changes nothing" {
	begin 6M
	local session
	session=$(pgrep -P "$RECV_PID")
	kill -STOP "$session"
	random_file new/f $((SIZE + 12345))
	rerun new/f
	await gone "$session"
	touch -r dst/f stamp
	# it was alive all the time, and hears that it has lost
	reap "$TWIN" 75
	one_line twin.err superseded
	same_bytes new/f dst/f
	[ ! dst/f -nt stamp ]
	clean dst
}
