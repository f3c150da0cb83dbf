#!/usr/bin/env bats
# Somebody in the middle of an encrypted connection, and somebody at the door: records that are changed, moved, left out
# or cut off; openings that are changed; old recordings and garbage by the thousand.

load ../e2e/helpers

SCALE=${FAULT_SCALE:-1}

make_keys() (
	exec >/dev/null 2>&1
	"$HAUL" key new psk
	"$HAUL" key new other
	"$HAUL" key new --identity=alice
	"$HAUL" key new --identity=server
)

# sources: a session of some dozen records from the sender, and half as many to it
sources() {
	mkdir src
	echo one >src/a
	echo two >src/b
	random_file src/large 300000
}

# Everything that could change below $1: names, inodes, types, modes, sizes, both times, of the directory itself too.
snapshot() {
	find "$1" -printf '%p\t%i\t%y\t%m\t%T@\t%C@\t%s\n' | sort
}

# start_mitm ARGS...: tests/tools/mitm before $RECV_ADDR; MITM_PID, MITM_ADDR, what it did in mitm.out
start_mitm() {
	start_on mitm mitm.port "$TOOLS/mitm" --to "$RECV_ADDR" --port-file mitm.port "$@" || return
	MITM_PID=$PID MITM_ADDR=$ADDR
}

end_mitm() {
	kill -KILL "$MITM_PID"
	reap "$MITM_PID" 137
}

# keyed_recv MODE ARGS..., keyed_send MODE ARGS...: with the keys of that mode
keyed_recv() {
	case $1 in
	key) start_recv --key=psk "${@:2}" ;;
	peer) start_recv --identity=server --peer=alice.pub --key=psk "${@:2}" ;;
	code) start_recv --code-fd=4 "${@:2}" 4>code ;;
	esac
}

keyed_send() {
	local keys=(-k psk)
	[ "$1" = key ] || keys+=(--identity=alice --peer=server.pub)
	[ "$1" != code ] || keys=(--code-fd=4)
	timeout 20 "$HAUL" send "${keys[@]}" -z none --chunk=64k --connect=3s --json=send.json "${@:2}" 4<>code
}

# tampered MODE ACT DIR AT [ARGS...]: a session in which that happens once ends well, and not by the same connection
tampered() {

	rm -rf dst/src send.json
	start_mitm --mode "$1" --do "$2" --dir "$3" --at "$4" "${@:5}" || return
	HAUL_OPTIONS='--retry-delay=5ms..20ms' keyed_send "$1" src "$MITM_ADDR" 2>send.err ||
		fail "$1 $2 $3 $4: exit $?" "$(<send.err)" || return
	end_mitm || return
	[ "$(grep -c . mitm.out)" -eq 1 ] || fail "$1 $2 $3 $4: did not happen once: $(<mitm.out)" || return
	[ $(($(json_count send.json disconnect) + $(json_count send.json retry))) -ge 1 ] ||
		fail "$1 $2 $3 $4: was not noticed" "$(<send.json)" || return
	diff -r src dst/src || fail "$1 $2 $3 $4: not the same" || return
	happened=$((happened + 1))
}

@test "records changed, left out, repeated, swapped, sent back, or from another connection: that connection is over, each time" {
	local mode act at happened=0
	make_keys
	sources
	for mode in key peer; do
		RECV_NAME=$mode keyed_recv "$mode" dst
		for act in drop repeat swap flip reflect insert; do
			for at in 1 4; do
				tampered "$mode" "$act" c2s "$at" --bit 1000
			done
			tampered "$mode" "$act" s2c 1 --bit 300
		done
		tampered "$mode" flip c2s 0 --bit 100 # M3
		tampered "$mode" flip s2c 0 --bit 100 # WELCOME
		clean dst
		rm -rf dst
	done
	[ "$happened" -eq 40 ]
}

@test "the same with a code, a new one each time" {
	local act happened=0
	sources
	for act in drop repeat swap flip reflect insert; do
		keyed_recv code dst
		tampered code "$act" c2s 3 --bit 700
		reap "$RECV_PID" 0
	done
	[ "$happened" -eq 6 ]
}

@test "a record that is changed each time: byte-exact while anything gets through, else no success" {
	local rc=0
	make_keys
	sources
	keyed_recv key dst
	start_mitm --mode key --do flip --at 3 --bit 500 --every
	keyed_send key --retry-delay=5ms..20ms src "$MITM_ADDR"
	diff -r src dst/src
	[ "$(grep -c . mitm.out)" -ge 5 ]
	end_mitm
	rm -rf dst/src
	start_mitm --mode key --do flip --at 1 --bit 500 --every
	keyed_send key --reconnect=500ms --retry-delay=5ms..20ms src "$MITM_ADDR" 2>send.err || rc=$?
	[ "$rc" -eq 12 ]
	one_line send.err
	[ "$(grep -c . mitm.out)" -ge 3 ]
	[ ! -e dst/src ]
	end_mitm
	start_mitm --mode key --do flip --at 0 --bit 500 --every # M3: as if the key were another
	rc=0
	keyed_send key --connect=500ms --retry-delay=5ms..20ms src "$MITM_ADDR" 2>send.err || rc=$?
	[ "$rc" -eq 35 ]
	[ "$(grep -c . mitm.out)" -ge 3 ]
	[ ! -e dst/src ]
}

# cut_short MODE DIR AT: an orderly end of the connection before that record, and nobody to dial after it. What both
# sides say must be true: success only of what is there, and of the sender only after SUMMARY, the receiver's last word.
cut_short() {
	local rc=0 theirs committed
	rm -rf dst send.json
	keyed_recv "$1" --once --reconnect=40ms --connect=1s dst
	start_mitm --mode "$1" --do end --dir "$2" --at "$3" --once
	keyed_send "$1" --reconnect=40ms --connect=200ms --retry-delay=5ms..20ms src "$MITM_ADDR" 2>send.err || rc=$?
	if [ -s recv.json ]; then
		reap "$RECV_PID"
	else
		stop "$RECV_PID" 143 # it waits for its one session still
	fi
	theirs=$REAPED
	end_mitm
	[ "$(grep -c . mitm.out)" -eq 1 ] || return 1 # behind the last one: done
	committed=no
	! diff -r src dst/src >/dev/null 2>&1 || committed=yes
	if [ "$rc" -eq 0 ]; then
		json_has send.json state '"why":"SUMMARY"' && [ "$committed" = yes ] || fail "$*: the sender says 0" || return 2
		after=$((after + 1))
	else
		one_line send.err || return 2
		before=$((before + 1))
	fi
	if [ "$theirs" -eq 0 ]; then
		json_has recv.json state '"why":"FINISH"' && [ "$committed" = yes ] || fail "$*: the receiver says 0" || return 2
	else
		[ "$rc" -ne 0 ] || [ "$2" = s2c ] || fail "$*: 0 at the sender, $theirs at the receiver" || return 2
	fi
	# a file that has its name is whole
	[ ! -e dst/src/large ] || same_bytes src/large dst/src/large || return 2
}

@test "an end of file before each record, both ways: no success on either side but of what is there" {
	local dir at rc before=0 after=0
	make_keys
	sources
	for dir in c2s s2c; do
		for ((at = 0; ; at++)); do
			rc=0
			cut_short key "$dir" "$at" || rc=$?
			[ "$rc" -ne 2 ]
			[ "$rc" -eq 0 ] || break
		done
		[ "$at" -ge 5 ]
	done
	echo "# $((before + after)) ends of file: $before without success, $after with all of it" >&3
	[ "$before" -ge 12 ]
}

# ---- before anybody is known

# exits WANT CMD...: at once, and says why in one line
exits() {
	local want=$1 rc=0
	shift
	timeout 20 "$@" 2>exits.err || rc=$?
	[ "$rc" -eq "$want" ] || fail "exit $rc, want $want:" "$(<exits.err)" || return
	one_line exits.err
}

# there DIR: a destination with something in it, as it is, in the file before
there() {
	mkdir "$1"
	echo there >"$1/there"
	touch -d '2001-02-03 04:05:06.789' "$1/there" "$1"
	snapshot "$1" >before
}

untouched() {
	snapshot "$1" | diff before -
}

@test "each bit of the prefix, changed on the way: 5 at once, not a byte answered, nothing touched" {
	local byte bit flips=() n=0
	make_keys
	echo x >file
	there dst
	keyed_recv key dst
	for half in 0 8; do
		flips=() n=0
		for ((byte = half; byte < half + 8; byte++)); do
			for ((bit = 0; bit < 8; bit++)); do
				n=$((n + 1))
				flips+=(--flip "$byte:$bit:$n:c2s")
			done
		done
		CHAOS_NAME=chaos$half start_chaos "${flips[@]}"
		while [ "$n" -gt 0 ]; do
			exits 5 "$HAUL" send -k psk file "$CHAOS_ADDR"
			n=$((n - 1))
		done
		[ "$(json_count "chaos$half.json" flip)" -eq 64 ]
		not grep -Eq '"s2c":[1-9]' "chaos$half.json"
		not grep -Eq '"dir":"s2c","bytes":[1-9]' "chaos$half.json"
	done
	untouched dst
	empty recv.json
	"$HAUL" send -k psk file "$RECV_ADDR"
	same_bytes file dst/file
}

@test "downgrades: without the prefix, with an open mode in it, with an answer in the open, both ways: 5, nothing touched" {
	make_keys
	echo x >file
	there dst
	keyed_recv key dst
	start_mitm --mode key --do strip --every
	exits 5 "$HAUL" send -k psk file "$MITM_ADDR"
	end_mitm
	start_chaos --flip 9:0:1:c2s --flip 10:0:1:c2s # a proper prefix of mode 0: answered with 16 bytes, and 5 all the same
	exits 5 "$HAUL" send -k psk file "$CHAOS_ADDR"
	await json_has chaos.json close
	[ "$(sed -n 's/.*"type":"close".*"s2c":\([0-9]*\).*/\1/p' chaos.json | head -n 1)" -eq 16 ]
	exits 5 "$HAUL" send file "$RECV_ADDR"
	exits 5 "$HAUL" send -k other file "$RECV_ADDR"
	exits 5 "$HAUL" send --identity=alice --peer=server.pub file "$RECV_ADDR"
	untouched dst
	empty recv.json
	# whoever stands in for the listener, and answers in the open
	{ printf '\x89HAUL\r\n\x1a\x01\0\0\0\0\0\0\0' && head -c 200 /dev/zero; } >open.answer
	STDIN=open.answer start nc nc -l 127.0.0.1 0 -v -N
	await grep -Eq '[0-9]+$' nc.err
	exits 5 "$HAUL" send -k psk file "127.0.0.1:$(grep -Eo '[0-9]+$' nc.err | head -n 1)"
	[ "$(stat -c %s nc.out)" -eq 112 ]
	not grep -q file nc.out
	RECV_NAME=open start_recv open
	exits 5 "$HAUL" send -k psk file "$RECV_ADDR"
	[ ! -e open ]
}

# costs PID: descriptors and threads
costs() {
	echo "$(find "/proc/$1/fd" -mindepth 1 | wc -l) $(find "/proc/$1/task" -mindepth 1 -maxdepth 1 | wc -l)"
}

cost_as() {
	[ "$(costs "$RECV_PID")" = "$1" ]
}

resident_kb() {
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"
}

# knocks ANSWERED LONGEST ARGS...: so many connections (the last of ARGS), and neither memory, descriptors, processes nor
# DIR are different afterwards
knocks() {
	local kb before after
	"$TOOLS/knock" "$RECV_ADDR" "${@:3:2}" 100 >/dev/null # what the first ones cost stays
	await cost_as "$(costs "$RECV_PID")"
	before=$(costs "$RECV_PID")
	kb=$(resident_kb "$RECV_PID")
	"$TOOLS/knock" "$RECV_ADDR" "${@:3}" >knock.out
	[ "$(<knock.out)" = "$5 connections, $1 answered, $(($1 * $2)) bytes, $2 the longest" ] || fail "$(<knock.out)" || return
	await cost_as "$before" || return
	after=$(resident_kb "$RECV_PID")
	[ "$HAUL_PROFILE" != release ] || [ "$after" -le $((kb + 64)) ] || fail "$kb kB before, $after after" || return
	[ -z "$(pgrep -P "$RECV_PID")" ] || return
	untouched dst
}

# old_recording MODE: all that a sender said in a session that ended well, in rec
old_recording() {
	keyed_recv "$1" old
	start_mitm --mode "$1" --do none --record rec
	keyed_send "$1" src "$MITM_ADDR"
	same_tree src old/src
	end_mitm
	stop "$RECV_PID" 143
	size_over rec 300000
}

@test "an old recording, replayed ten thousand times: the answer to M1 and no more, nothing believed, nothing touched" {
	make_keys
	sources
	there dst
	old_recording key
	keyed_recv key --log-file=recv.log dst
	touch -d '2001-02-03 04:05:06.789' dst
	snapshot dst >before
	head -c 700 rec >said # M1, M3, BEGIN, OFFER: what comes behind a refusal is not read
	knocks $((10000 * SCALE)) 80 replay said $((10000 * SCALE))
	head -c 112 rec >m1
	knocks 1000 80 replay m1 1000
	knocks 20 80 replay rec 20
	empty recv.json
	not grep -q . recv.log
	keyed_send key src "$RECV_ADDR"
	same_tree src dst/src
}

@test "the same of a session between identities with a key on top" {
	make_keys
	sources
	there dst
	old_recording peer
	keyed_recv peer dst
	head -c 700 rec >said
	knocks $((2000 * SCALE)) 80 replay said $((2000 * SCALE))
	empty recv.json
	keyed_send peer src "$RECV_ADDR"
	same_tree src dst/src
}

@test "garbage from ten thousand connections: not a byte answered, nothing grows, nothing touched, the next one is served" {
	make_keys
	sources
	there dst
	keyed_recv key --log-file=recv.log dst
	knocks 0 0 garbage "${SEED:-4285}" $((10000 * SCALE))
	empty recv.json
	not grep -q . recv.log
	keyed_send key src "$RECV_ADDR"
	same_tree src dst/src
}
