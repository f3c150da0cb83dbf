# What people and peers do wrong: the right exit status, one line, nothing half written.

load helpers

# refused STATUS REGEX ARGS...: haul ends with STATUS, says one line that matches, and nothing on standard output
refused() {
	local status=0
	"$HAUL" "${@:3}" >out 2>err </dev/null || status=$?
	[ "$status" -eq "$1" ] || fail "haul ${*:3}: exit $status, want $1" "$(<err)"
	empty out
	one_line err "$2"
}

@test "no subcommand, an unknown one, an unknown option, an option without its value" {
	refused 1 help
	refused 1 frobnicate frobnicate
	refused 1 '--frobnicate' send --frobnicate a b:1
	refused 1 '-Y' send -Y a b:1
	refused 1 '--chunk' send a b:1 --chunk
	refused 1 '--quiet' send --quiet=yes a b:1
	refused 1 frobnicate help frobnicate
}

@test "operands that are missing or too many" {
	refused 1 SRC send
	refused 1 DEST send a
	refused 1 SRC send localhost:1
	refused 1 address send a b
	refused 1 DIR recv
	refused 1 operand recv a:1 b c
	refused 1 empty send '' localhost:1
	refused 1 empty recv ''
	refused 1 'once' send - - localhost:1
	refused 1 'DIR' recv localhost:1
	refused 1 'localhost:1: DEST comes last' send localhost:1 a
	refused 1 'localhost:1: FROM comes before DIR' recv dst localhost:1
	refused 1 'standard output carries the connection' recv --stdio -o -
}

@test "values that make no sense" {
	local o
	for o in --window=0 --ring=0 --chunk=0 --chunk=1 --chunk=1G --chunk=1q --chunk=-1 --idle=0 --idle=0s --idle=x \
		--credit-wait=0s --connect=0s --jobs=0 --jobs=100000 --jobs=x --bwlimit=0 -z99 -z9..1 -zx --links=x \
		--retry-delay=2s..1s --size=x --vanished=x --progress=x --window=99999999999999999999 --window=2T --ring=2T; do
		refused 1 '' send "$o" a localhost:1
	done
	for o in --overwrite=x --sync=x --max-sessions=0 --overload=x --overload=queue:0 --quota=0 --listen=x \
		--listen=127.0.0.1 --listen=127.0.0.1:99999 --listen=127.0.0.1:x --listen=fd:x --listen=fd:77 --listen=systemd: \
		--listen=unix:; do
		refused 1 '' recv "$o" dst
	done
	refused 1 fd:77 send --json=fd:77 a localhost:1
	refused 1 fd:0 send --json=fd:0 a localhost:1
	[ ! -e dst ]
}

@test "an inherited descriptor that is none, a file, a pipe" {
	echo x >file
	refused 1 'fd:77: descriptor 77 is not open; .*listening' recv --listen=fd:77 dst
	refused 1 'fd:77: descriptor 77 is not open; .*listening' send --listen=fd:77 file
	refused 1 'fd:5: descriptor 5 is a file; .*listening' recv --listen=fd:5 dst 5<file
	refused 1 'fd:5: descriptor 5 is a file; .*listening' recv --listen=fd:5 dst 5<>file
	refused 1 'fd:5: descriptor 5 is not a socket; .*listening' recv --listen=fd:5 dst 5< <(:)
	refused 1 'systemd:: systemd passed no socket' recv --listen=systemd: dst
	[ ! -e dst ]
}

@test "where output goes: a descriptor that is none is usage, a file that cannot be written is a file error" {
	local status=0 o
	echo x >a
	refused 1 'fd:77: --json cannot use it: descriptor 77 is closed' send --json=fd:77 a localhost:1
	refused 1 'fd:5: --json cannot use it: it is open for reading only' send --json=fd:5 a localhost:1 5</dev/zero
	"$HAUL" send --json=fd:1 a localhost:1 2>err >&- || status=$?
	[ "$status" -eq 1 ]
	one_line err 'fd:1: --json cannot use it: descriptor 1 is closed'
	for o in json log-file metrics lock; do
		refused 11 'no/such: .*No such file' send --$o=no/such a localhost:1
	done
	refused 11 'no/such: .*No such file' recv --listen=127.0.0.1:0 --port-file=no/such dst
}

@test "addresses that make no sense" {
	local dest
	for dest in localhost: localhost:99999 localhost:0 '[::1' '[::1]' tcp:// tcp://localhost unix: exec: ssh:// ssh://host \
		:1 "unix:$(printf '%0200d' 0)" localhost:1/../x 'localhost:1//x/../..'; do
		refused 1 '' send --connect=1s . "$dest"
	done
}

@test "options that contradict each other" {
	refused 1 checksum send --checksum --size-only a localhost:1
	refused 1 existing send --existing --ignore-existing a localhost:1
	refused 1 from-cmd send --from-cmd=true a localhost:1
	refused 1 name send --name=x a b localhost:1
	refused 1 to-cmd recv -o x --to-cmd=true
	refused 1 port-file send --port-file=x a localhost:1
	refused 1 FROM recv --listen=127.0.0.1:0 localhost:1 dst
}

@test "an unquotable HAUL_OPTIONS" {
	HAUL_OPTIONS="'open" refused 1 HAUL_OPTIONS send a localhost:1
	HAUL_OPTIONS="operand" refused 1 HAUL_OPTIONS send a localhost:1
}

@test "DEST without a listener: 35 when --connect is over" {
	start_recv dst
	stop "$RECV_PID" 143
	echo x >src
	refused 35 "$RECV_ADDR" send --connect=500ms --retry-delay=10ms..50ms src "$RECV_ADDR"
	refused 35 '' send --connect=300ms --retry-delay=10ms..50ms src unix:nothing
	refused 35 '' recv --connect=300ms --retry-delay=10ms..50ms unix:nothing dst
	refused 35 '' send --connect=300ms --retry-delay=10ms..50ms src 'exec:/does/not/exist 2>/dev/null'
	refused 35 '' send --connect=300ms --retry-delay=10ms..50ms --json=send.json src exec:false
	json_has send.json retry
	[ "$(json_count send.json disconnect)" -eq 0 ]
	done_is send.json exit=35 class=again reconnects=0
}

@test "what no retry can cure is not retried" {
	local o
	echo x >file
	ln -s loop loop
	for o in unix:file/sub unix:loop/sub; do
		refused 35 "$o: could not connect" send --connect=1h --json=send.json file $o
		[ "$(json_count send.json retry)" -eq 1 ]
		refused 35 "$o: could not connect" recv --connect=1h $o dst
	done
	refused 35 'cannot run /not/there: No such file' send --connect=1h -e /not/there file host:dir
	refused 35 'cannot run /not/there: No such file' recv --connect=1h -e /not/there host:dir dst
}

@test "a host that does not exist" {
	echo x >src
	refused 35 nowhere.invalid send --connect=1s --retry-delay=10ms..50ms src nowhere.invalid:1
}

@test "a peer that is not haul: an HTTP server, random bytes, its own echo, a shell" {
	local cmd
	echo x >src
	head -c 100000 /dev/urandom >random
	refused 12 'neither WELCOME' send --connect=5s src 'exec:cat 2>/dev/null'
	for cmd in 'printf "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"; cat >/dev/null' 'cat random -' \
		'echo "-bash: haul: command not found"; cat >/dev/null' 'cat /dev/zero' 'yes'; do
		refused 12 'not speak haul' send --connect=5s src "exec:{ $cmd; } 2>/dev/null"
	done
	mkdir dst
	refused 12 'not speak haul' recv --connect=5s 'exec:cat random' dst
	[ -z "$(ls -A dst)" ]
}

@test "an HTTP server behind a socket" {
	echo x >src
	printf 'HTTP/1.1 400 Bad Request\r\n\r\n' >answer
	STDIN=answer start http nc -lU sock
	await test -S sock
	refused 12 'not speak haul' send --connect=5s src unix:sock
}

@test "silence: 35 when --connect is over" {
	echo x >src
	refused 35 '' send --connect=500ms src "exec:sleep 60"
	start silent nc -lkU sock
	await test -S sock
	refused 35 '' send --connect=500ms src unix:sock
}

@test "a peer that accepts and closes: failed attempts, 35" {
	echo x >src
	refused 35 '' send --connect=500ms --retry-delay=10ms..50ms --json=send.json src exec:true
	[ "$(json_count send.json retry)" -ge 2 ]
	[ "$(json_count send.json disconnect)" -eq 0 ]
	[ "$(json_count send.json connect)" -eq 0 ]
}

@test "two senders, two receivers" {
	echo x >src
	start_on other port "$HAUL" send --listen=127.0.0.1:0 --port-file=port src
	refused 4 '' send --connect=5s src "$(<port)"
	start_recv dst
	refused 4 '' recv --connect=5s "$RECV_ADDR" dst2
}

@test "the port is in use, the address is not ours, beyond loopback without --insecure" {
	start_recv dst
	refused 11 "${RECV_ADDR#*:}" recv --listen="$RECV_ADDR" dst2
	refused 11 '' recv --listen=192.0.2.1:0 --insecure dst2
	refused 1 insecure recv --listen=0.0.0.0:0 dst2
	refused 1 insecure recv --listen='[::]:0' dst2
	refused 1 insecure send --listen=0.0.0.0:0 src
	[ ! -e dst2 ]
	start_on wide wide.port "$HAUL" recv --listen=0.0.0.0:0 --insecure --port-file=wide.port dst2
	stop "$PID" 143
}

@test "--port-file, --json and -o that cannot be written" {
	refused 11 none/port recv --listen=127.0.0.1:0 --port-file=none/port dst
	echo x >src
	refused 11 none/json send --json=none/json src 127.0.0.1:1
	refused 11 none/such/out recv --listen=127.0.0.1:0 -o none/such/out
	mkdir -p none/such
	start_recv -o none/such/out
	rm -r none
	refused 11 '' send --connect=5s src "$RECV_ADDR"
	reap "$RECV_PID" 11
	one_line recv.err none
}

@test "DIR is a file" {
	echo x >src
	start_recv --once dst
	echo file >dst
	refused 11 '' send --connect=5s src "$RECV_ADDR"
	reap "$RECV_PID" 11
	[ "$(<dst)" = file ]
}

@test "garbage, and nothing else, at a receiver that serves once: it goes on waiting" {
	echo x >src
	start_recv --once dst
	bash -c "exec 7<>/dev/tcp/${RECV_ADDR/:/\/}; printf 'GET / HTTP/1.0\r\n\r\n' >&7; cat <&7" >answer 2>/dev/null || :
	alive "$RECV_PID"
	"$HAUL" send src "$RECV_ADDR"
	reap "$RECV_PID" 0
	[ "$(<dst/src)" = x ]
}

@test "garbage on standard input of recv --stdio" {
	local status=0
	head -c 100000 /dev/urandom | "$HAUL" recv --stdio dst >out 2>err || status=$?
	[ "$status" -eq 12 ]
	one_line err
	status=0
	"$HAUL" recv --stdio dst </dev/null >out 2>err || status=$?
	[ "$status" -eq 35 ]
	one_line err
	[ -z "$(ls -A dst 2>/dev/null)" ]
}

# signalled SIDE SIGNAL: a transfer held in the middle; SIDE (send, recv) gets SIGNAL and dies by it; then again.
signalled() {
	local pid other n
	n=$(kill -l "$2")
	random_file src 4000000
	start_recv --once --grace=1s dst
	start send "$HAUL" send --grace=1s --reconnect=1s --bwlimit=2M -z none --json=send.json src "$RECV_ADDR"
	pid=$PID other=$RECV_PID
	[ "$1" = send ] || pid=$RECV_PID other=$PID
	await json_has send.json progress '"acked":[1-9]'
	[ ! -e dst/src ]
	kill "-$2" "$pid"
	reap "$pid" $((128 + n))
	reap "$other"
	[ "$REAPED" -ne 0 ]
	[ "$1" = recv ] || done_is send.json "exit=$((128 + n))"
	[ ! -e dst/src ]
	one_line send.err
	deliver 0 dst src
	same_bytes src dst/src
	clean dst
}

@test "SIGTERM to the sender: ends by it, the state is kept, the next run completes" {
	signalled send TERM
}

@test "SIGINT to the sender" {
	signalled send INT
}

@test "SIGTERM to the receiver" {
	signalled recv TERM
}

@test "SIGINT to the receiver" {
	signalled recv INT
}

@test "a signal while nobody answers: at once" {
	echo x >src
	start send "$HAUL" send --connect=inf --json=send.json src unix:nothing
	await json_has send.json retry
	stop "$PID" 143
	done_is send.json exit=143
}

@test "standard error closed, standard output full" {
	local status=0
	"$HAUL" send nothing localhost:1 2>&- || status=$?
	[ "$status" -eq 3 ]
	status=0
	"$HAUL" --help >/dev/full 2>err || status=$?
	[ "$status" -eq 11 ] || [ "$status" -eq 13 ]
	one_line err
	status=0
	"$HAUL" --version >/dev/full 2>err || status=$?
	[ "$status" -ne 0 ]
}

@test "names on the terminal and in messages are escaped" {
	local name=$'evil\e[31m\nname\xff'
	refused 3 'evil.*name' send "$name" localhost:1
	not grep -q $'\e' err
}
