# The ways two sides meet.
# shellcheck disable=SC2016,SC2030,SC2031 # $0 is for bash -c; a test is a subshell, and means to be

load helpers

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	make_tree src
}

@test "a unix socket" {
	start_on recv port "$HAUL" recv --once --listen="unix:$PWD/sock" --port-file=port dst
	[ "$ADDR" = "$PWD/sock" ]
	[ "$(stat -c %a sock)" = 600 ]
	"$HAUL" send src/. "unix:$PWD/sock"
	reap "$PID" 0
	same_tree src dst
	[ ! -e sock ]
}

@test "a stale unix socket is taken over, a live one is not" {
	start_on recv port "$HAUL" recv --listen=unix:sock --port-file=port dst
	kill -KILL "$PID"
	reap "$PID"
	[ -S sock ]
	start_on recv port "$HAUL" recv --listen=unix:sock --port-file=port dst
	local status=0
	"$HAUL" recv --listen=unix:sock dst2 2>err || status=$?
	[ "$status" -eq 11 ]
	one_line err sock
	"$HAUL" send src/. unix:sock
	stop "$PID" 143
	same_tree src dst
}

@test "exec: a child with a pipe on both sides" {
	"$HAUL" send src/. "exec:$HAUL recv --stdio dst" >out 2>err
	same_tree src dst
	empty out err
	"$HAUL" recv "exec:$HAUL send --listen=stdio: src/." dst2 >out 2>err
	same_tree src dst2
	empty out err
}

# one_of_two STATUS REGEX ARGS...: haul and the child that carries its connection say one line together
one_of_two() {
	local status=0
	"$HAUL" "${@:3}" --connect=2s >out 2>err || status=$?
	[ "$status" -eq "$1" ] || fail "haul ${*:3}: exit $status, want $1" "$(<err)"
	empty out
	one_line err "$2"
}

@test "exec: a failure is reported once, by the side that dialled" {
	(umask 077 && "$HAUL" key new k1 >key.out && "$HAUL" key new k2 >key.out)
	echo x >f
	mkdir -p dst/f
	one_of_two 11 'cannot open the directory: No such file' send f "exec:$HAUL recv --stdio no/such"
	one_of_two 11 'no/such: .*No such file' recv "exec:$HAUL send --listen=stdio: f" no/such
	one_of_two 23 'haul: f: .*Is a directory; 1 failed' send f "exec:$HAUL recv --stdio dst"
	one_of_two 23 'haul: f: .*Is a directory; 1 failed' recv "exec:$HAUL send --listen=stdio: f" dst
	one_of_two 4 quota send f "exec:$HAUL recv --stdio --quota=1 new"
	one_of_two 3 'nosuch: cannot be read: No such file' recv "exec:$HAUL send --listen=stdio: nosuch" dst
	one_of_two 4 'the same role' send f "exec:$HAUL send --listen=stdio: f"
	one_of_two 5 'wants a key' send f "exec:$HAUL recv --stdio --key=k1 dst"
	one_of_two 5 'another key or none' send --key=k2 f "exec:$HAUL recv --stdio --key=k1 dst"
	one_of_two 5 'another key or none' send --key=k2 f "exec:$HAUL recv --stdio dst"
	one_of_two 12 'does not speak haul' send f "exec:echo hello; exec $HAUL recv --stdio dst"
}

@test "exec: what the child alone knows is not lost" {
	local status=0
	echo x >f
	"$HAUL" send f "exec:$HAUL recv --stdio --frobnicate dst" --connect=300ms 2>err || status=$?
	[ "$status" -eq 35 ]
	grep -q -- '--frobnicate: no such option' err
	status=0
	"$HAUL" send f "exec:$HAUL recv -v --stdio no/such" 2>err || status=$?
	[ "$status" -eq 11 ]
	grep -q '^haul: no/such' err
	status=0
	"$HAUL" recv --stdio dst </dev/null >out 2>err || status=$?
	[ "$status" -eq 35 ]
	one_line err 'closed before the handshake'
}

@test "--port-file goes with the listener, unless it is another one's by then" {
	start_recv dst
	[ -s recv.port ]
	stop "$RECV_PID" 143
	[ ! -e recv.port ]
	start_recv dst
	echo other >recv.port.new
	mv recv.port.new recv.port
	stop "$RECV_PID" 143
	[ "$(<recv.port)" = other ]
	echo x >f
	start_on send send.port "$HAUL" send --listen=unix:sock --port-file=send.port f
	"$HAUL" recv "unix:$PWD/sock" dst
	reap "$PID" 0
	[ ! -e send.port ]
}

@test "stdio: two processes in a ring of FIFOs" {
	mkfifo there back
	start recv bash -c 'exec "$0" recv --stdio dst <there >back' "$HAUL"
	"$HAUL" send src/. stdio: >there <back
	reap "$PID" 0
	same_tree src dst
}

@test "stdio: a link that is lost cannot come back, so the receiver does not wait for it" {
	mkfifo there back
	random_file f 20000000
	start recv bash -c 'exec "$0" recv --stdio --reconnect=1h --json=recv.json dst <there >back' "$HAUL"
	local receiver=$PID
	start send bash -c 'exec "$0" send --bwlimit=4M -z none f stdio: >there <back' "$HAUL"
	await json_has recv.json progress '"bytes":[1-9]'
	kill -9 "$PID"
	reap "$receiver" 10
	[ "$(json_count recv.json disconnect)" -eq 1 ]
	# what came is kept
	"$HAUL" send f "exec:$HAUL recv --stdio dst" --json=send.json
	[ "$(json_field send.json 'done' kept_bytes)" -gt 0 ]
	same_bytes f dst/f
}

@test "ssh, with something that only looks like it" {
	mkdir bin
	# shellcheck disable=SC2016
	printf '#!/bin/bash\nprintf "%%s\\n" "$@" >ssh.args\nshift $(($# - 1))\nexec sh -c "$1"\n' >bin/ssh
	chmod +x bin/ssh
	"$HAUL" send -e "$PWD/bin/ssh" --haul-path="$HAUL" src/. "user@host:$PWD/d st" 2>err
	same_tree src 'd st'
	[ "$(sed -n 1p ssh.args)" = user@host ]
	PATH="$PWD/bin:$PATH" "$HAUL" send --haul-path="$HAUL" src/. "ssh://host:2222$PWD/dst2" 2>err
	same_tree src dst2
	[ "$(sed -n 1,3p ssh.args | tr '\n' ' ')" = '-p 2222 host ' ]
	HAUL_RSH=$PWD/bin/ssh "$HAUL" recv --haul-path="$HAUL" "host:$PWD/src" dst3 2>err
	same_tree src dst3/src
}

@test "pull: send --listen, recv FROM DIR" {
	start_on send port "$HAUL" send --listen=127.0.0.1:0 --port-file=port --json=send.json src/.
	"$HAUL" recv --json=recv.json "$ADDR" dst >out 2>err
	reap "$PID" 0
	same_tree src dst
	empty out err send.out send.err
	done_is send.json exit=0
	done_is recv.json exit=0
	clean dst
}

@test "pull of a stream to standard output" {
	random_file in 3000000
	STDIN=in start_on send port "$HAUL" send --listen=127.0.0.1:0 --port-file=port -
	"$HAUL" recv -o - "$ADDR" >out 2>err
	reap "$PID" 0
	same_bytes in out
	empty err
}

@test "the receiver waits for a sender that comes later, and the sender for a receiver" {
	start send "$HAUL" send --json=send.json --retry-delay=10ms..50ms src/. unix:sock
	await json_has send.json retry
	start recv "$HAUL" recv --once --listen=unix:sock dst
	reap "$PID" 0
	same_tree src dst
	start recv "$HAUL" recv --json=recv.json --retry-delay=10ms..50ms unix:sock2 dst2
	local recv=$PID
	await json_has recv.json retry
	start send "$HAUL" send --listen=unix:sock2 src/.
	reap "$PID" 0
	reap "$recv" 0
	same_tree src dst2
	done_is recv.json reconnects=0
}

@test "IPv6" {
	start_on recv port "$HAUL" recv --once --listen='[::1]:0' --port-file=port dst
	[[ $ADDR == '[::1]:'* ]]
	"$HAUL" send src/. "$ADDR"
	reap "$PID" 0
	same_tree src dst
}
