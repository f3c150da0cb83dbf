# Streams: standard input, producers and consumers.
# shellcheck disable=SC2016,SC2030,SC2031 # $0 is for bash -c; a test is a subshell, and means to be

load helpers

# A receiver of one stream on its standard output: recv.out.
start_sink() {
	start_on recv recv.port "$HAUL" recv -o - --listen=127.0.0.1:0 --port-file=recv.port --json=recv.json
	RECV_PID=$PID RECV_ADDR=$ADDR
}

# send_stream STATUS FILE ARGS...: FILE to standard input
send_stream() {
	SENT=0
	"$HAUL" send --connect=5s --json=send.json "${@:3}" - "$RECV_ADDR" <"$2" >send.out 2>send.err || SENT=$?
	[ "$SENT" -eq "$1" ] || fail "haul send: exit $SENT, want $1" "$(<send.err)"
}

@test "0, 1, a chunk and 64 MiB + 1 bytes, to -o -" {
	local size
	for size in 0 1 1048576 $((64 << 20 | 1)); do
		random_file in "$size"
		start_sink
		send_stream 0 in
		reap "$RECV_PID" 0
		same_bytes in recv.out
		done_is send.json exit=0 files=1 "bytes=$size"
		done_is recv.json exit=0 files=1 "bytes=$size"
		empty send.out send.err recv.err
	done
}

@test "a pipe that gives a byte, zeros and text, to -o FILE" {
	{
		printf x
		head -c 5000000 /dev/zero
		yes text | head -c 3000000
	} >in
	mkdir out
	start_recv -o out/file
	"$HAUL" send - "$RECV_ADDR" < <(cat in) >send.out 2>send.err
	reap "$RECV_PID" 0
	same_bytes in out/file
	[ "$(ls -A out)" = file ]
	empty send.out send.err recv.out recv.err
}

@test "-o FILE replaces what is there, and keeps it if the stream fails" {
	echo old >file
	random_file in 3000000
	start_recv -o file
	SENT=0
	"$HAUL" send --from-cmd='cat in; exit 3' "$RECV_ADDR" 2>send.err || SENT=$?
	[ "$SENT" -eq 15 ]
	reap "$RECV_PID" 15
	[ "$(<file)" = old ]
	[ ! -e .haul ]
	start_recv -o file
	send_stream 0 in
	reap "$RECV_PID" 0
	same_bytes in file
}

@test "a single file goes to -o FILE and -o - too" {
	random_file a 2000000
	start_recv -o b
	"$HAUL" send a "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes a b
	start_sink
	"$HAUL" send a "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes a recv.out
	echo small >a
	start_sink
	"$HAUL" send a "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes a recv.out
}

@test "a tree does not go to -o -" {
	mkdir -p src/dir
	echo a >src/a
	echo b >src/b
	start_sink
	SENT=0
	"$HAUL" send src "$RECV_ADDR" 2>send.err || SENT=$?
	[ "$SENT" -eq 4 ]
	one_line send.err 'src: .*takes one file or stream'
	reap "$RECV_PID" 4
	one_line recv.err 'src: .*takes one file or stream'
	empty recv.out
}

start_out() {
	start_on recv recv.port "$HAUL" recv -o out --listen=127.0.0.1:0 --port-file=recv.port
	RECV_PID=$PID RECV_ADDR=$ADDR
}

@test "a tree of one file does not go to -o FILE, and of two files the second does not" {
	mkdir src
	echo a >src/a
	echo b >b
	start_out
	SENT=0
	"$HAUL" send src "$RECV_ADDR" 2>send.err || SENT=$?
	[ "$SENT" -eq 4 ]
	one_line send.err 'src: .*takes one file or stream'
	reap "$RECV_PID" 4
	one_line recv.err 'src: .*takes one file or stream'
	[ ! -e out ]
	start_out
	SENT=0
	"$HAUL" send b src/a "$RECV_ADDR" 2>send.err || SENT=$?
	[ "$SENT" -eq 23 ]
	one_line send.err 'a: .*takes one file or stream.*1 committed'
	reap "$RECV_PID" 23
	one_line recv.err 'a: .*takes one file or stream.*1 committed'
	same_bytes b out
}

@test "--name that no receiver accepts: 4, and the name is what is said" {
	local name
	start_recv dst
	for name in ../e /abs .haul/x a//b ..; do
		SENT=0
		echo text | "$HAUL" send --name="$name" - "$RECV_ADDR" 2>send.err || SENT=$?
		[ "$SENT" -eq 4 ]
		one_line send.err "haul: ${name//./\\.}: not a name that a receiver accepts"
	done
	[ ! -e dst ] || [ -z "$(ls -A dst)" ]
	[ ! -e e ]
}

@test "a sparse file to a pipe: holes are zeros" {
	truncate -s 10M in
	printf middle | dd of=in bs=1 seek=5000000 conv=notrunc status=none
	start_recv --to-cmd='cat >copy'
	"$HAUL" send in "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes in copy
}

@test "a stream in a tree gets --name; without one it is stdin" {
	echo stream >in
	start_recv dst
	send_stream 0 in --name=dir/named
	same_bytes in dst/dir/named
	send_stream 0 in
	same_bytes in dst/stdin
	json_has send.json file '"path":"stdin".*"state":"committed"'
	for bad in ../out /abs '' .haul/x; do
		SENT=0
		"$HAUL" send --name="$bad" - "$RECV_ADDR" <in 2>send.err || SENT=$?
		[ "$SENT" -eq 1 ] || [ "$SENT" -eq 4 ] || fail "--name='$bad': exit $SENT"
		one_line send.err
	done
	[ ! -e out ]
	stop "$RECV_PID"
	clean dst
}

@test "--from-cmd: committed only if the command succeeds" {
	start_recv dst
	"$HAUL" send --from-cmd='yes line | head -n 100000' --name=good "$RECV_ADDR" >send.out 2>send.err
	same_bytes <(yes line | head -n 100000) dst/good
	empty send.out send.err
	SENT=0
	"$HAUL" send --from-cmd='yes line | head -n 100000; exit 7' --name=bad "$RECV_ADDR" 2>send.err || SENT=$?
	[ "$SENT" -eq 15 ]
	one_line send.err 'exit status 7'
	SENT=0
	"$HAUL" send --from-cmd='kill -9 $$' --name=bad "$RECV_ADDR" 2>send.err || SENT=$?
	[ "$SENT" -eq 15 ]
	one_line send.err 'signal 9'
	SENT=0
	"$HAUL" send --from-cmd='/does/not/exist 2>/dev/null' --name=bad "$RECV_ADDR" 2>send.err || SENT=$?
	[ "$SENT" -eq 15 ]
	one_line send.err
	[ ! -e dst/bad ]
	stop "$RECV_PID"
	clean dst
}

@test "--to-cmd: 0 only if the command succeeds, on both sides" {
	random_file in 3000000
	start_recv --to-cmd='cat >copy'
	send_stream 0 in
	reap "$RECV_PID" 0
	same_bytes in copy
	start_recv --to-cmd='cat >/dev/null; exit 9'
	send_stream 15 in
	reap "$RECV_PID" 15
	one_line recv.err 'exit status 9'
	one_line send.err 'exit status 9'
	empty recv.out
	start_recv --to-cmd='head -c 1 >/dev/null'
	random_file in 30000000
	send_stream 15 in
	reap "$RECV_PID" 15
}

@test "--size: more or less than promised is never committed" {
	random_file in 3000000
	start_recv dst
	send_stream 0 in --size=3000000 --name=right
	same_bytes in dst/right
	send_stream 15 in --size=3000001 --name=wrong
	one_line send.err 3000001
	send_stream 15 in --size=2999999 --name=wrong
	one_line send.err 2999999
	send_stream 15 in --size=1M --name=wrong
	[ ! -e dst/wrong ]
	stop "$RECV_PID"
	clean dst
}

@test "--size: one byte too many is refused here, before the end and before the receiver sees it" {
	mkfifo in
	start_recv dst
	exec 5<>in
	printf abc >&5
	STDIN=in start send "$HAUL" send --size=2 --name=wrong - "$RECV_ADDR"
	reap "$PID" 15
	exec 5>&-
	one_line send.err 'longer than 2 bytes'
	[ ! -e dst/wrong ]
}

@test "what a slow producer writes flows on while it is still open" {
	mkfifo in
	start_sink
	STDIN=in start send "$HAUL" send - "$RECV_ADDR"
	exec 9>in
	printf first >&9
	await grep -q first recv.out
	printf second >&9
	await grep -q firstsecond recv.out
	exec 9>&-
	reap "$PID" 0
	reap "$RECV_PID" 0
	[ "$(<recv.out)" = firstsecond ]
}

@test "a consumer that closes early: 15 on both sides, no signal, nothing to clean" {
	start_on recv port bash -c '"$0" recv -o - --listen=127.0.0.1:0 --port-file=port 2>haul.err | head -c 10 >head.out
		echo "${PIPESTATUS[0]}" >status' "$HAUL"
	RECV_ADDR=$ADDR
	random_file in 30000000
	send_stream 15 in
	reap "$PID" 0
	[ "$(<status)" -eq 15 ]
	[ "$(stat -c %s head.out)" -eq 10 ]
	one_line haul.err
	one_line send.err
}

@test "standard output closed from the start: refused before anybody is told" {
	start recv bash -c '"$0" recv -o - --listen=127.0.0.1:0 --port-file=port >&-' "$HAUL"
	reap "$PID" 11
	one_line recv.err 'standard output is closed'
	[ ! -e port ]
	start pull bash -c '"$0" recv -o - unix:sock >&-' "$HAUL"
	reap "$PID" 11
	one_line pull.err 'standard output is closed'
}

@test "standard input closed from the start: not success" {
	start_recv --once dst
	SENT=0
	"$HAUL" send - "$RECV_ADDR" <&- 2>send.err || SENT=$?
	[ "$SENT" -eq 3 ] || [ "$SENT" -eq 11 ]
	one_line send.err
	[ ! -e dst/stdin ]
}

@test "a full device: 13 on both sides" {
	random_file in 3000000
	start_recv -o /dev/full
	send_stream 13 in
	reap "$RECV_PID" 13
	one_line recv.err 'No space'
	one_line send.err
}

@test "-o /dev/null and into a FIFO" {
	random_file in 3000000
	start_recv -o /dev/null
	send_stream 0 in
	reap "$RECV_PID" 0
	[ -c /dev/null ]
	mkfifo fifo
	start reader bash -c 'cat fifo >copy'
	start_recv -o fifo
	send_stream 0 in
	reap "$RECV_PID" 0
	await cmp -s in copy
	[ -p fifo ]
}

@test "an endless producer against a receiver that does not read: memory is bounded" {
	mkfifo out
	exec 8<>out # a reader that never reads
	start_recv --window=8M -o out
	start send "$HAUL" send --window=8M --ring=8M -z none --json=send.json \
		--from-cmd='head -c 200000000 /dev/zero | tr "\0" x' "$RECV_ADDR"
	await json_has send.json progress '"blocked":"(credit|disk|link)"'
	[ "$(awk '/VmHWM/ {print $2}' "/proc/$PID/status")" -lt 204800 ]
	kill -TERM "$PID"
	kill -TERM "$RECV_PID"
	kill -TERM "$RECV_PID"
	reap "$PID"
	exec 8>&-
}

@test "a consumer slower than the link gets everything" {
	random_file in 5000000
	start_recv --window=1M --to-cmd='while head -c 300000 >part; [ -s part ]; do cat part >>copy; done'
	send_stream 0 in --window=1M
	reap "$RECV_PID" 0
	same_bytes in copy
}
