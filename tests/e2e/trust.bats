#!/usr/bin/env bats
# Encryption and who may send: keys that fit carry trees and pipes through cuts; keys that do not are told apart at
# once, and leave nothing behind.

load helpers

make_keys() (
	exec >/dev/null 2>&1
	"$HAUL" key new psk
	"$HAUL" key new other
	"$HAUL" key new --identity=alice
	"$HAUL" key new --identity=bob
	"$HAUL" key new --identity=server
)

pub() {
	"$HAUL" key show "$1"
}

# Everything that could change below $1: names, inodes, types, modes, sizes, both times, of the directory itself too.
snapshot() {
	find "$1" -printf '%p\t%i\t%y\t%m\t%T@\t%C@\t%s\n' | sort
}

# refused_fast WANT CMD...: exits WANT within a second
refused_fast() {
	local want=$1 rc=0
	shift
	timeout 1 "$@" 2>refused.err || rc=$?
	[ "$rc" -eq "$want" ] || fail "exit $rc, want $want:" "$(<refused.err)"
}

# matching DIR SUFFIX N: a condition for await: a file there, over N bytes
matching() {
	[ -n "$(find "$1" -name "*$2" -size "+$3c" 2>/dev/null)" ]
}

@test "a tree, a pipe and an encrypted channel: no byte of it travels in the open" {
	make_keys
	mkdir src
	yes 'a line that must not be seen on the way' | head -c 3000000 >src/lines
	make_tree src/tree
	start_recv --key=psk dst
	ASAN_OPTIONS=detect_leaks=0 strace -f -qq -e trace=write,writev,sendmsg -s 4000000 -o trace "$HAUL" send -z none -k psk src "$RECV_ADDR"
	same_tree src dst/src
	not grep -q 'must not be seen' trace
	not grep -q 'lines' trace
	# the same question, asked where the answer is yes
	start_on plain plain.port "$HAUL" recv --listen=127.0.0.1:0 --port-file=plain.port dst2
	ASAN_OPTIONS=detect_leaks=0 strace -f -qq -e trace=write,writev,sendmsg -s 4000000 -o trace "$HAUL" send -z none src "$ADDR"
	grep -q 'must not be seen' trace
	head -c 5000000 /dev/urandom >bytes
	"$HAUL" send -k psk --name=piped - "$RECV_ADDR" <bytes
	same_bytes bytes dst/piped
	[ "$(json_field recv.json hello mode)" = key ]
}

@test "thirty cuts of an encrypted tree: new keys each time, nothing lost" {
	make_keys
	mkdir src
	cp -r /usr/include/linux src/many
	random_file src/large 40000000
	start_recv --key=psk dst
	start_chaos --cut-every 1M --cuts 30 --seed 1
	HAUL_OPTIONS='--retry-delay=10ms..100ms' "$HAUL" send -z none -k psk --json=send.json src "$CHAOS_ADDR"
	same_tree src dst/src
	clean dst
	[ "$(json_count chaos.json cut)" -eq 30 ]
	[ "$(json_count send.json resume)" -ge 20 ]
}

@test "an encrypted pipe through cuts in both directions" {
	make_keys
	random_file bytes 20000000
	start_recv --identity=server --peer="$(pub alice)" dst
	start_chaos --cut-every 700k --cuts 15 --seed 4 --cut-dir both
	HAUL_OPTIONS='--retry-delay=10ms..100ms' "$HAUL" send --identity=alice --peer=server.pub --name=piped - \
		"$CHAOS_ADDR" <bytes
	same_bytes bytes dst/piped
	[ "$(json_count chaos.json cut)" -ge 10 ]
}

@test "killed and run again: a key's own partial is continued, another key's is not" {
	make_keys
	random_file big 60000000
	printf '%s name=alice dir=a\n%s name=bob dir=a\n' "$(pub alice)" "$(pub bob)" >peers
	start_recv --identity=server --peers=peers dst
	start send "$HAUL" send --identity=alice --peer=server.pub --bwlimit=20M big "$RECV_ADDR"
	await matching dst/a/.haul .j 600
	kill -KILL "$PID"
	reap "$PID" 137
	"$HAUL" send --identity=bob --peer=server.pub -z none --json=bob.json --name=big - "$RECV_ADDR" <big
	[ "$(json_field bob.json 'done' bytes)" -eq 60000000 ]
	rm dst/a/big
	"$HAUL" send --identity=alice --peer=server.pub -z none --json=alice.json big "$RECV_ADDR"
	same_bytes big dst/a/big
	[ "$(json_field alice.json 'done' wire)" -lt 59000000 ]
}

@test "wrong keys: 5 at once, not a byte answered, nothing touched, still serving" {
	make_keys
	mkdir src dst
	echo there >dst/there
	touch -d '2001-02-03 04:05:06.789' dst/there dst
	echo x >src/file
	start_recv --key=psk dst
	start_chaos
	snapshot dst >before
	refused_fast 5 "$HAUL" send -k other src "$CHAOS_ADDR"
	one_line refused.err 'authentication failed'
	refused_fast 5 "$HAUL" send --identity=alice --peer=server.pub src "$CHAOS_ADDR"
	refused_fast 5 "$HAUL" send -k other - "$CHAOS_ADDR" </dev/null
	await json_has chaos.json close
	not grep -Eq '"dir":"s2c","bytes":[1-9]' chaos.json
	head -c 300 /dev/urandom >noise
	nc -N -w 1 "${RECV_ADDR%:*}" "${RECV_ADDR##*:}" <noise >answer || true
	{ printf '\x89HAUL\r\n\x1a\x01\x01\x01' && head -c 101 /dev/zero; } >forged
	nc -N -w 1 "${RECV_ADDR%:*}" "${RECV_ADDR##*:}" <forged >>answer || true
	empty answer
	snapshot dst | diff before -
	[ ! -s recv.json ]
	"$HAUL" send -k psk src "$RECV_ADDR"
	same_tree src dst/src
}

@test "keyed against unkeyed, both ways: 5 at once, and the listener goes on" {
	make_keys
	echo x >file
	start_recv --key=psk dst
	refused_fast 5 "$HAUL" send file "$RECV_ADDR"
	one_line refused.err 'authentication failed'
	"$HAUL" send -k psk file "$RECV_ADDR"
	same_bytes file dst/file
	RECV_NAME=open start_recv --once dst2
	refused_fast 5 "$HAUL" send -k psk file "$RECV_ADDR"
	alive "$RECV_PID"
	[ ! -e dst2 ]
	"$HAUL" send file "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes file dst2/file
}

@test "wrong peers: 5 at once, whichever side does not know the other" {
	make_keys
	echo x >file
	start_recv --identity=server --peer="$(pub alice)" dst
	refused_fast 5 "$HAUL" send --identity=bob --peer=server.pub file "$RECV_ADDR"
	refused_fast 5 "$HAUL" send --identity=alice --peer="$(pub bob)" file "$RECV_ADDR"
	refused_fast 5 "$HAUL" send --identity=server --peer="$(pub alice)" file "$RECV_ADDR" # its own listener, in place of alice
	refused_fast 5 "$HAUL" send -k psk file "$RECV_ADDR"
	[ ! -e dst ]
	"$HAUL" send --identity=alice --peer=server.pub file "$RECV_ADDR"
	same_bytes file dst/file
}

@test "a key on top of identities: both sides have it, or neither; listed peers share it" {
	make_keys
	echo x >file
	mkdir dst
	touch -d '2001-02-03 04:05:06.789' dst
	start_recv --identity=server --peer="$(pub alice)" --key=psk dst
	snapshot dst >before
	refused_fast 5 "$HAUL" send --identity=alice --peer=server.pub file "$RECV_ADDR"
	refused_fast 5 "$HAUL" send --identity=alice --peer=server.pub -k other file "$RECV_ADDR"
	refused_fast 5 "$HAUL" send --identity=bob --peer=server.pub -k psk file "$RECV_ADDR"
	refused_fast 5 "$HAUL" send -k psk file "$RECV_ADDR"
	snapshot dst | diff before -
	[ ! -s recv.json ]
	"$HAUL" send --identity=alice --peer=server.pub -k psk file "$RECV_ADDR"
	same_bytes file dst/file
	printf '%s name=alice dir=a\n%s name=bob dir=b\n' "$(pub alice)" "$(pub bob)" >peers
	RECV_NAME=many start_recv --identity=server --peers=peers --key-fd=7 many 7<psk
	"$HAUL" send --identity=alice --peer=server.pub -k psk file "$RECV_ADDR"
	"$HAUL" send --identity=bob --peer=server.pub --key-fd=7 file "$RECV_ADDR" 7<psk
	refused_fast 5 "$HAUL" send --identity=bob --peer=server.pub file "$RECV_ADDR"
	same_bytes file many/a/file
	same_bytes file many/b/file
	RECV_NAME=none start_recv --identity=server --peer="$(pub alice)" none
	refused_fast 5 "$HAUL" send --identity=alice --peer=server.pub -k psk file "$RECV_ADDR"
	[ ! -e none ]
}

@test "peers: each in its directory, with its rights" {
	make_keys
	echo one >file
	printf '# who may send\n\n%s name=alice dir=a max-bytes=1M\n%s name=bob dir=b no-overwrite\n' \
		"$(pub alice)" "$(pub bob)" >peers
	"$HAUL" key new --identity=carol
	printf '%s name=carol dir=. ro\n' "$(pub carol)" >>peers
	start_recv --identity=server --peers=peers dst
	"$HAUL" send --identity=alice --peer=server.pub file "$RECV_ADDR"
	same_bytes file dst/a/file
	"$HAUL" send --identity=bob --peer=server.pub file "$RECV_ADDR"
	same_bytes file dst/b/file
	echo another >file
	refused_fast 4 "$HAUL" send --identity=bob --peer=server.pub file "$RECV_ADDR"
	[ "$(<dst/b/file)" = one ]
	"$HAUL" send --identity=alice --peer=server.pub file "$RECV_ADDR"
	same_bytes file dst/a/file
	"$HAUL" send --identity=alice --peer=server.pub file "$RECV_ADDR/sub"
	same_bytes file dst/a/sub/file
	random_file large 2000000
	refused_fast 4 "$HAUL" send --identity=alice --peer=server.pub large "$RECV_ADDR"
	refused_fast 4 "$HAUL" send --identity=carol --peer=server.pub file "$RECV_ADDR"
	not "$HAUL" send --identity=alice --peer=server.pub file "$RECV_ADDR/../b" 2>out.err
	[ "$(ls dst)" = "$(printf 'a\nb')" ]
}

@test "flipped bits end in failure or in the right bytes, never in wrong ones" {
	make_keys
	random_file bytes 3000000
	local offset
	for offset in 3 20 60 100 111 115 130 200 5000 1500000; do
		rm -rf dst chaos.json
		start_recv --once --key=psk dst
		start_chaos --flip "$offset:3:1:c2s"
		local rc=0
		timeout 20 "$HAUL" send -z none -k psk --connect=2s --reconnect=2s --retry-delay=10ms..50ms bytes \
			"$CHAOS_ADDR" 2>send.err || rc=$?
		if [ "$rc" -eq 0 ]; then
			same_bytes bytes dst/bytes
		else
			[ "$rc" -eq 5 ]
			[ ! -e dst/bytes ]
		fi
		[ "$offset" -ge 112 ] || [ "$rc" -eq 5 ]
		[ "$offset" -lt 5000 ] || [ "$rc" -eq 0 ]
		kill -KILL "$RECV_PID" "$CHAOS_PID" 2>/dev/null || true
		await gone "$RECV_PID"
		await gone "$CHAOS_PID"
	done
}

@test "the mode in the prefix cannot be changed on the way" {
	make_keys
	echo x >file
	start_recv --key=psk dst
	local bit
	for bit in 0 1; do # 1 becomes 0 and 3
		CHAOS_NAME=chaos$bit start_chaos --flip "9:$bit:1:c2s"
		refused_fast 5 "$HAUL" send -k psk file "$CHAOS_ADDR"
	done
	[ ! -e dst ]
}

@test "secrets are not in command lines, environment values, events and logs" {
	make_keys
	random_file big 30000000
	secret=$(cut -d' ' -f2 psk)
	export HAUL_KEY_FILE=$PWD/psk
	start_recv --log-file=recv.log dst
	start send "$HAUL" send -vv --bwlimit=20M --json=send.json --log-file=send.log big "$RECV_ADDR"
	await matching dst/.haul .part 1000000
	for pid in "$PID" "$RECV_PID"; do
		not grep -qaF "${secret:0:20}" "/proc/$pid/cmdline"
		not grep -qaF "${secret:0:20}" "/proc/$pid/environ"
	done
	reap "$PID" 0
	same_bytes big dst/big
	not grep -qF "${secret:0:20}" send.json recv.json send.log recv.log send.err recv.err
	[ "$(json_field send.json hello mode)" = key ]
}

@test "keys from a descriptor; over unix sockets and standard streams; the receiver dials" {
	make_keys
	echo x >file
	start_on sock sock.port "$HAUL" recv --key-fd=9 --listen=unix:sock --port-file=sock.port dst 9<psk
	"$HAUL" send --key-fd=7 file unix:sock 7<psk
	same_bytes file dst/file
	"$HAUL" send -k psk file "exec:$HAUL recv --key=psk --stdio dst2"
	same_bytes file dst2/file
	rc=0
	"$HAUL" send -k psk file "exec:$HAUL recv --key=other --stdio dst3" 2>out.err || rc=$?
	[ "$rc" -eq 5 ]
	[ ! -e dst3 ]
	start_on send send.port "$HAUL" send --listen=127.0.0.1:0 --port-file=send.port --key=psk file
	"$HAUL" recv --key=psk "$ADDR" dst4
	same_bytes file dst4/file
}

@test "another's session is answered like one that there is not, and goes on undisturbed" {
	make_keys
	random_file big 12000000
	printf '%s name=alice dir=.\n%s name=bob dir=.\n' "$(pub alice)" "$(pub bob)" >peers
	start_recv --identity=server --peers=peers dst
	start send "$HAUL" send --identity=alice --peer=server.pub --bwlimit=4M -z none --json=send.json big "$RECV_ADDR"
	await matching dst/.haul .part 1000000
	local id
	id=$(json_field send.json hello id)
	for _ in 1 2 3 4 5; do
		"$TOOLS/asks" "$RECV_ADDR" bob server.pub "$id"
		"$TOOLS/asks" "$RECV_ADDR" bob server.pub "$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')"
	done >answers
	[ "$(sort -u answers | wc -l)" -eq 1 ]
	grep -Eq '^[0-9]+ bytes: REFUSE 256 no such session$' answers
	# not even a session of his own under that name is in the way of it
	alive "$PID"
	"$HAUL" send --identity=bob --peer=server.pub --name=own - "$RECV_ADDR" <peers
	same_bytes peers dst/own
	reap "$PID" 0
	same_bytes big dst/big
	[ "$(json_field send.json 'done' reconnects)" -eq 0 ]
	[ "$(json_count send.json disconnect)" -eq 0 ]
	# whose it is gets another answer, whatever it is
	start send "$HAUL" send --identity=alice --peer=server.pub --bwlimit=2M --name=more --json=more.json --from-cmd='cat big' \
		"$RECV_ADDR"
	await json_has more.json connect
	"$TOOLS/asks" "$RECV_ADDR" alice server.pub "$(json_field more.json hello id)" >answer || true
	grep -Eq '^[0-9]+ bytes: ' answer
	not grep -q 'no such session' answer
}

@test "over ssh no key is carried to the other side: it is named there, or the end is 5 and nothing is sent" {
	make_keys
	echo x >file
	mkdir bin dst
	touch -d '2001-02-03 04:05:06.789' dst
	snapshot dst >before
	# shellcheck disable=SC2016
	printf '#!/bin/bash\nprintf "%%s\\n" "$@" >>ssh.args\nshift $(($# - 1))\nexec env -u HAUL_KEY_FILE sh -c "$1"\n' >bin/ssh
	chmod +x bin/ssh
	export HAUL_RSH=$PWD/bin/ssh
	local secret there="env HAUL_KEY_FILE=$PWD/psk $HAUL" rc=0
	secret=$(cut -d' ' -f2 psk)
	timeout 20 "$HAUL" send -k psk --haul-path="$HAUL" file "host:$PWD/dst" 2>out.err || rc=$?
	[ "$rc" -eq 5 ]
	grep -q 'authentication failed' out.err
	rc=0
	timeout 20 "$HAUL" send -k other --haul-path="$there" file "host:$PWD/dst" 2>out.err || rc=$?
	[ "$rc" -eq 5 ]
	rc=0
	timeout 20 "$HAUL" send --haul-path="$there" file "host:$PWD/dst" 2>out.err || rc=$?
	[ "$rc" -eq 5 ]
	snapshot dst | diff before -
	"$HAUL" send -k psk --haul-path="$there" --json=send.json file "host:$PWD/dst"
	same_bytes file dst/file
	[ "$(json_field send.json hello mode)" = key ]
	HAUL_KEY_FILE=psk "$HAUL" recv --haul-path="$there" "host:$PWD/file" dst2
	same_bytes file dst2/file
	rc=0
	timeout 20 "$HAUL" recv -k psk --haul-path="$HAUL" "host:$PWD/file" dst3 2>out.err || rc=$?
	[ "$rc" -eq 5 ]
	[ -z "$(ls -A dst3 2>/dev/null)" ]
	not grep -qE "${secret:0:20}|--key| -k" ssh.args
}

@test "the other way round: a sender that waits, a receiver that dials with a wrong key or none" {
	make_keys
	echo x >file
	start_on send send.port "$HAUL" send --listen=127.0.0.1:0 --port-file=send.port --key=psk file
	refused_fast 5 "$HAUL" recv --key=other "$ADDR" dst
	refused_fast 5 "$HAUL" recv "$ADDR" dst
	refused_fast 5 "$HAUL" recv --identity=alice --peer=server.pub "$ADDR" dst
	[ -z "$(ls -A dst 2>/dev/null)" ]
	alive "$PID"
	"$HAUL" recv --key=psk "$ADDR" dst
	same_bytes file dst/file
	reap "$PID" 0
}

@test "the project's vectors, derived by another implementation" {
	python3 "$BATS_TEST_DIRNAME/../unit/vectors.py" >vectors
	[ "$(<vectors)" = '11 of 11 vectors' ]
}

@test "the receiver is killed and started anew behind a tunnel that stays: the key is not given up" {
	make_keys
	random_file big 40000000
	start_recv --key=psk dst
	start_chaos
	start send "$HAUL" send -k psk --bwlimit=20M --retry-delay=50ms..100ms --reconnect=20s --json=send.json big \
		"$CHAOS_ADDR"
	local sender=$PID
	await matching dst/.haul .part 1000000
	kill -KILL "$RECV_PID"
	reap "$RECV_PID" 137
	await json_has send.json retry
	start_on again again.port "$HAUL" recv --key=psk --listen="$RECV_ADDR" --port-file=again.port dst
	reap "$sender" 0
	same_bytes big dst/big
	# a tunnel that breaks and a port where nobody is say nothing of keys
	stop "$PID"
	refused_fast 35 "$HAUL" send -k psk --connect=300ms --retry-delay=50ms..100ms big "$CHAOS_ADDR"
	refused_fast 35 "$HAUL" send -k psk --connect=300ms --retry-delay=50ms..100ms big "$RECV_ADDR"
}
