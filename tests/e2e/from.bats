# --recv-only-from: who may connect at all. Every address of 127/8 is this machine's, so a sender can have several.
# shellcheck disable=SC2016,SC2030,SC2031 # $0 is for bash -c; a test is a subshell, and means to be

load helpers

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	export HAUL_OPTIONS='--retry-delay=10ms..50ms'
	echo x >src
}

# refused STATUS ARGS...: a sender that cannot get in
refused() {
	local status=$1
	shift
	SENT=0
	"$HAUL" send --connect=300ms --json=send.json "$@" 2>send.err || SENT=$?
	[ "$SENT" -eq "$status" ] || fail "exit $SENT, want $status" "$(<send.err)" || return
	one_line send.err
}

@test "who is in the list is served, who is not is closed on: 35" {
	start_recv --recv-only-from=127.0.0.0/8,192.0.2.0/24 dst
	"$HAUL" send src "$RECV_ADDR"
	[ "$(<dst/src)" = x ]
	stop "$RECV_PID" 143
	start_recv --recv-only-from=192.0.2.0/24,::1 dst2
	refused 35 src "$RECV_ADDR"
	[ ! -e dst2/src ]
	[ "$(json_count send.json retry)" -ge 2 ]
	[ "$(json_count send.json disconnect)" -eq 0 ]
	done_is send.json exit=35 class=again
	stop "$RECV_PID" 143
	[ "$(json_count recv.json hello)" -eq 0 ]
}

@test "a sender with a key is not told that its key is wrong: 35, not 5" {
	"$HAUL" key new k 2>/dev/null
	start_recv --key=k --recv-only-from=192.0.2.1 dst
	refused 35 --key=k src "$RECV_ADDR"
	[ ! -e dst/src ]
}

@test "IPv6, and IPv4 on an IPv6 socket" {
	start_on recv recv.port "$HAUL" recv --listen='[::1]:0' --port-file=recv.port --recv-only-from=::1 dst
	"$HAUL" send src "$ADDR"
	stop "$PID" 143
	start_on recv recv.port "$HAUL" recv --listen='[::1]:0' --port-file=recv.port --recv-only-from=127.0.0.1,2001:db8::/32 dst2
	refused 35 src "$ADDR"
	stop "$PID" 143
	[ ! -e dst2/src ]
	# [::] takes both kinds
	start_on recv recv.port "$HAUL" recv --insecure --listen='[::]:0' --port-file=recv.port --recv-only-from=127.0.0.1 dst3
	refused 35 src "[::1]:${ADDR##*:}"
	"$HAUL" send src "127.0.0.1:${ADDR##*:}"
	[ "$(<dst3/src)" = x ]
	stop "$PID" 143
}

@test "nothing is read from whoever is refused, and he takes no place" {
	start_recv --recv-only-from=192.0.2.1 --log-file=log dst
	# more than sockets hold: it would be answered, or wait, if anybody read or kept it
	start hostile bash -c 'for i in {1..100}; do
			exec 7<>/dev/tcp/${0%:*}/${0##*:} || exit 1
			head -c 100000 /dev/zero >&7
			exec 7>&-
		done 2>/dev/null; :' "$RECV_ADDR"
	reap "$PID" 0
	[ "$(find "/proc/$RECV_PID/fd" -type l | wc -l)" -le 12 ]
	await grep -q 'closed (--recv-only-from)' log
	stop "$RECV_PID" 143
	empty recv.err recv.json
	# one line at the first, one at the end: not a hundred
	[ "$(wc -l <log)" -eq 2 ]
	grep -q 'warn 00000000 1 connection from elsewhere closed (--recv-only-from), the last from 127.0.0.1; 1 so far$' log
	grep -q 'warn 00000000 99 connections from elsewhere closed .*; 100 so far$' log
}

@test "-v says so on standard error, -q does not" {
	start_on recv port "$HAUL" recv -v --listen=127.0.0.1:0 --port-file=port --recv-only-from=192.0.2.1 dst
	refused 35 src "$ADDR"
	await grep -q '^haul: 1 connection from elsewhere closed' recv.err
	stop "$PID" 143
	start_on recv port "$HAUL" recv -v -q --listen=127.0.0.1:0 --port-file=port --recv-only-from=192.0.2.1 dst
	refused 35 src "$ADDR"
	stop "$PID" 143
	empty recv.err
}

@test "unix sockets and pipes have no address and are not judged" {
	start recv "$HAUL" recv --once --listen=unix:sock --recv-only-from=192.0.2.1 dst
	"$HAUL" send --connect=10s src unix:sock
	reap "$PID" 0
	[ "$(<dst/src)" = x ]
	"$HAUL" send src "exec:$HAUL recv --stdio --recv-only-from=192.0.2.1 dst2"
	[ "$(<dst2/src)" = x ]
}

@test "inherited sockets are judged like our own, listening or connected" {
	cat >inherit.py <<-'END'
		import os, socket, sys
		s = socket.create_server(("127.0.0.1", 0))
		open("port.tmp", "w").write("127.0.0.1:%d\n" % s.getsockname()[1])
		os.rename("port.tmp", "port")
		if sys.argv[1] == "connected":
		    s = s.accept()[0]
		os.dup2(s.fileno(), 5)
		os.set_inheritable(5, True)
		os.execv(sys.argv[2], sys.argv[2:])
	END
	start_on recv port python3 inherit.py listening "$HAUL" recv --listen=fd:5 --recv-only-from=192.0.2.1 dst
	refused 35 src "$ADDR"
	stop "$PID" 143
	start_on recv port python3 inherit.py connected "$HAUL" recv --listen=fd:5 --recv-only-from=192.0.2.1 dst
	refused 35 src "$ADDR"
	reap "$PID" 4
	one_line recv.err recv-only-from
	start_on recv port python3 inherit.py connected "$HAUL" recv --listen=fd:5 --recv-only-from=127.0.0.1 dst
	"$HAUL" send src "$ADDR"
	reap "$PID" 0
	[ "$(<dst/src)" = x ]
}

@test "a network that is none: 1, and it is named" {
	local bad
	for bad in 10.0.0.1/8 10.0.0.0/33 ::/129 host.example 10.0.0.0/8,nonsense; do
		SENT=0
		"$HAUL" recv --recv-only-from="$bad" dst >out 2>err || SENT=$?
		[ "$SENT" -eq 1 ]
		empty out
		one_line err "recv-only-from: ${bad##*,}"
	done
	SENT=0
	"$HAUL" recv --recv-only-from=10.0.0.0/8 host:1 dst 2>err || SENT=$?
	[ "$SENT" -eq 1 ]
	one_line err 'is for listening'
}
