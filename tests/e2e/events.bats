# What haul says about itself: JSON lines, and silence.
# shellcheck disable=SC2016,SC2030,SC2031 # $0 is for bash -c; a test is a subshell, and means to be

load helpers

# sound FILE ROLE: every line an object with type, t, ts and id; hello first, done last and once; time does not go back
sound() {
	local types='hello|plan|state|resume|connect|disconnect|retry|file|progress|pressure|level|gap|warn|error|done'
	local ts='[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z'
	not grep -vE "^\{\"type\":\"($types)\",\"t\":[0-9]+\.[0-9]+,\"ts\":\"$ts\",\"id\":\"[0-9a-f]{32}\"[,}].*}\$" "$1" >&2
	head -n 1 "$1" | grep -q "\"type\":\"hello\".*\"role\":\"$2\""
	tail -n 1 "$1" | grep -q '"type":"done"'
	[ "$(grep -c '"type":"done"' "$1")" -eq 1 ]
	[ "$(grep -o '"id":"[0-9a-f]*"' "$1" | sort -u | wc -l)" -eq 1 ]
	sed -E 's/^[^,]*,"t":([0-9.]+),.*/\1/' "$1" | sort -n -c
}

all_members() {
	local m
	for m in exit class files bytes wire skipped failed reconnects resent_bytes dup_bytes seconds; do
		json_field "$1" 'done' "$m" >/dev/null
	done
}

@test "every line is an event, done is the last and has all members, both sides agree" {
	make_tree src
	deliver 0 dst src/.
	sound send.json send
	sound recv.json recv
	all_members send.json
	all_members recv.json
	done_is send.json exit=0 class=ok failed=0 reconnects=0 resent_bytes=0 dup_bytes=0
	[ "$(json_field send.json 'done' id)" = "$(json_field recv.json 'done' id)" ]
	[ "$(json_field send.json 'done' files)" = "$(json_field recv.json 'done' files)" ]
	[ "$(json_field send.json 'done' wire)" = "$(json_field recv.json 'done' wire_in)" ]
	[ "$(json_count send.json connect)" -eq 1 ]
	[ "$(json_count send.json disconnect)" -eq 0 ]
	[ "$(json_count send.json plan '"final":true')" -ge 1 ]
}

@test "file events: one for each, by its path below DEST, with path_b64 where it is not UTF-8" {
	make_tree src
	deliver 0 dst src
	[ "$(json_count send.json file '"state":"committed"')" -eq "$(json_field send.json 'done' files)" ]
	[ "$(json_count recv.json file '"state":"committed"')" -eq "$(json_field recv.json 'done' files)" ]
	[ "$(json_count send.json file '"path":"src/sizes/text","size":500000,')" -eq 1 ]
	[ "$(json_count send.json file '"path":"src/names/new\\u000aline"')" -eq 1 ]
	[ "$(grep -cF "\"path_b64\":\"$(printf 'src/names/\xff\xfe bad' | base64)\"" send.json)" -eq 1 ]
	[ "$(json_count send.json file '"path":"src/names/quo\\"te","size"')" -eq 1 ]
	not grep -q $'[\x01-\x09\x0b-\x1f]' send.json
	iconv -f UTF-8 -t UTF-8 send.json >/dev/null
	iconv -f UTF-8 -t UTF-8 recv.json >/dev/null
}

@test "a failure: error with its code, side and class, then done" {
	echo x >src
	start_recv --once dst.file
	echo y >dst.file
	SENT=0
	"$HAUL" send --json=send.json src "$RECV_ADDR" 2>send.err || SENT=$?
	reap "$RECV_PID"
	[ "$SENT" -eq 11 ]
	sound send.json send
	sound recv.json recv
	done_is send.json exit=11 class=human
	json_has send.json error '"code":"IO".*"reason":".*"side":"peer","terminal":true,"again":false'
	json_has recv.json error '"side":"local"'
	[ "$(json_count send.json error)" -eq 1 ]
}

@test "23 and 24 are no terminal errors; 35 says again" {
	mkdir src
	mkfifo src/fifo
	echo ok >src/ok
	deliver 23 dst src/.
	json_has send.json error '"terminal":false,"again":false'
	sound send.json send
	SENT=0
	"$HAUL" send --json=send.json --connect=100ms src unix:nothing 2>/dev/null || SENT=$?
	json_has send.json error '"terminal":true,"again":true'
	done_is send.json exit=35 class=again
	sound send.json send
	SENT=0
	"$HAUL" send --json=send.json missing unix:nothing 2>/dev/null || SENT=$?
	done_is send.json exit=3 class=human files=0
	sound send.json send
}

@test "each lost connection is a disconnect with cause and side, each return a resume; done counts them" {
	random_file src 8000000
	start_recv --once --retry-delay=10ms..50ms dst
	start_chaos --cut-every 1000000 --cuts 5 --seed 7
	"$HAUL" send -z none --retry-delay=10ms..50ms --json=send.json src "$CHAOS_ADDR"
	reap "$RECV_PID" 0
	same_bytes src dst/src
	sound send.json send
	sound recv.json recv
	[ "$(json_count chaos.json cut)" -eq 5 ]
	[ "$(json_count send.json disconnect '"cause":".+","side":"(local|peer)"')" -eq 5 ]
	[ "$(json_count recv.json disconnect)" -eq 5 ]
	[ "$(json_count send.json resume '"from":[0-9]+,"replayed_bytes":[0-9]+,"verified":(true|false)')" -eq 5 ]
	done_is send.json reconnects=5
	done_is recv.json reconnects=5
	[ "$(json_field send.json 'done' resent_bytes)" -gt 0 ]
}

@test "a serving receiver writes one done a session" {
	echo x >src
	start_recv dst
	"$HAUL" send src "$RECV_ADDR"
	"$HAUL" send src "$RECV_ADDR"
	two_sessions() { [ "$(json_count recv.json 'done')" -ge 2 ]; }
	await two_sessions
	stop "$RECV_PID"
	[ "$(json_count recv.json 'done')" -eq 2 ]
	[ "$(json_count recv.json hello)" -eq 2 ]
}

@test "--json without a file is standard error, fd:N a descriptor" {
	echo x >src
	start_recv dst
	"$HAUL" send --json src "$RECV_ADDR" >send.out 2>send.err
	sound send.err send
	empty send.out
	"$HAUL" send --json=fd:5 src "$RECV_ADDR" >send.out 2>send.err 5>five
	sound five send
	empty send.out send.err
	"$HAUL" send --json=fd:1 src "$RECV_ADDR" >send.out 2>send.err
	sound send.out send
	empty send.err
}

@test "a dry run: the whole plan is on standard output" {
	mkdir src
	echo x >src/a
	echo yy >src/$'b\e[31m'
	start_recv dst
	"$HAUL" send -n src "$RECV_ADDR" >out 2>err
	empty err
	[ "$(sort out)" = "$(printf '%s\n' 'src/a' 'src/b\x1b[31m' 'would send 2 files, 5 B (5 bytes)')" ]
	"$HAUL" send -n -q src "$RECV_ADDR" >out 2>err
	empty out err
	"$HAUL" send src "$RECV_ADDR" >out 2>err
	empty out err
	"$HAUL" send -n src "$RECV_ADDR" >out 2>err
	[ "$(<out)" = 'would send 0 files, 0 B (0 bytes)' ]
}

@test "standard output of recv -o - holds the stream and nothing else, whatever is asked for" {
	random_file in 2000000
	start_on recv port "$HAUL" recv -vvv -P --stats --json -o - --listen=127.0.0.1:0 --port-file=port
	"$HAUL" send -vvv --stats --progress=plain --json - "$ADDR" <in >send.out 2>send.err
	reap "$PID" 0
	same_bytes in recv.out
	empty send.out
	[ -s recv.err ]
	[ -s send.err ]
}

@test "silence: success without -v, and -q in every case but failure" {
	make_tree src
	deliver 0 dst src/.
	empty send.out send.err recv.out recv.err
	echo more >src/more
	RECV_ARGS=-q deliver 0 dst -q -v -P src/.
	empty send.out send.err recv.out recv.err
	mkfifo src/fifo
	RECV_ARGS=-q deliver 23 dst -q src/.
	empty send.out recv.out recv.err
	one_line send.err
}

@test "-v names each file, -vv the skipped ones too, on standard error" {
	mkdir src
	echo one >src/one
	echo two >$'src/t\nwo\e'
	deliver 0 dst src
	deliver 0 dst2 -v src
	grep -qx 'src/one' send.err
	grep -qF 'src/t\nwo\e' send.err || grep -qE 'src/t.*wo' send.err
	not grep -q $'\e' send.err
	empty send.out
	deliver 0 dst -v src
	not grep -q one send.err
	deliver 0 dst -vv src
	grep -q 'src/one.*skipped' send.err
}

@test "a closed event descriptor, one that is full, and a FIFO without a reader stop nothing" {
	random_file src 3000000
	start_recv dst
	"$HAUL" send --json=fd:5 src "$RECV_ADDR" 5> >(exec 0<&-)
	same_bytes src dst/src
	rm dst/src
	"$HAUL" send --json=/dev/full src "$RECV_ADDR"
	same_bytes src dst/src
	mkfifo fifo
	exec 7<>fifo
	mkdir many
	(cd many && seq 2000 | split -l 1 -a 4 -)
	"$HAUL" send --grace=100ms --json=fd:6 src many "$RECV_ADDR" 6>fifo
	exec 7<&-
	[ "$(find dst/many -type f | wc -l)" -eq 2000 ]
	SENT=0
	"$HAUL" send --json=fifo src "$RECV_ADDR" 2>send.err || SENT=$?
	[ "$SENT" -eq 0 ] || one_line send.err
	stop "$RECV_PID" 143
}

@test "a reader that was slow hears of the gap, and gets done" {
	mkdir many
	(cd many && seq 2000 | split -l 1 -a 4 -)
	start_recv --once dst
	mkfifo fifo go
	# reads nothing until it is told to
	start reader bash -c 'exec 0<fifo; read -r <go; exec cat'
	start send bash -c 'exec "$0" send --grace=1m --json=fd:6 many "$1" 6>fifo' "$HAUL" "$RECV_ADDR"
	reap "$RECV_PID" 0
	echo now >go
	reap "$PID" 0
	await json_has reader.out 'done'
	sound reader.out send
	json_has reader.out gap '"dropped":[1-9]'
}
