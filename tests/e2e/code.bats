#!/usr/bin/env bats
# Two people and a short code: the right one transfers, through cuts too; wrong ones end with 5 and leave nothing; the
# code is seen by nobody but the one who is shown it.

load helpers

# start_coded ARGS...: a receiver that waits for its code; CODE is it, as shown
start_coded() {
	local name=${RECV_NAME:-recv}
	start_recv --code --code-fd=4 "$@" 4>"$name.code" || return
	CODE=$(<"$name.code")
	rm "$name.code"
	[[ $CODE =~ ^[0-9a-z]{3}-[0-9a-z]{3}-[0-9a-z]{3}$ ]] || fail "not a code: $CODE"
}

# code_send CODE ARGS...: haul send with the code typed into a descriptor
code_send() {
	local code=$1
	shift
	timeout 30 "$HAUL" send --code --code-fd=4 --connect=5s "$@" 4< <(printf '%s\n' "$code")
}

# one that is right in itself, and another than $CODE
wrong_code() {
	if [ "$CODE" = 000-000-000 ]; then echo 100-000-001; else echo 000-000-000; fi
}

# exits WANT CMD...
exits() {
	local want=$1 rc=0
	shift
	"$@" 2>exits.err || rc=$?
	[ "$rc" -eq "$want" ] || fail "exit $rc, want $want:" "$(<exits.err)"
}

# a terminal in which CMD runs, typing what is in $TYPE; what it shows is in FILE, its status that of script
at_terminal() { # FILE CMD
	script -qefc "$2" "$1" <"${TYPE:-/dev/null}" >/dev/null
}

# begun DIR: a condition for await: a journal there knows some chunks
begun() {
	[ -n "$(find "$1" -name '*.j' -size +600c 2>/dev/null)" ]
}

@test "the right code, however it is typed, carries a tree; then the receiver is done" {
	make_tree src
	start_coded dst
	typed=" $(tr 'a-z-' 'A-Z ' <<<"$CODE") "
	code_send "$typed" --json=send.json src "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_tree src dst/src
	clean dst
	[ "$(json_field recv.json hello mode)" = code ]
	[ "$(json_field send.json hello mode)" = code ]
}

@test "cuts: each connection makes a new key of the code" {
	random_file bytes 8000000
	start_coded dst
	start_chaos --cut-every 500k --cuts 10 --seed 3
	HAUL_OPTIONS='--retry-delay=10ms..100ms' code_send "$CODE" -z none --json=send.json bytes "$CHAOS_ADDR"
	reap "$RECV_PID" 0
	same_bytes bytes dst/bytes
	[ "$(json_count chaos.json cut)" -eq 10 ]
	[ "$(json_count send.json resume)" -ge 5 ]
}

@test "wrong codes: 5 each; the right one still transfers after two" {
	echo x >file
	start_coded dst
	exits 5 code_send "$(wrong_code)" file "$RECV_ADDR"
	one_line exits.err 'authentication failed'
	exits 5 code_send "$(wrong_code)" file "$RECV_ADDR"
	alive "$RECV_PID"
	[ ! -e dst ]
	[ ! -s recv.json ]
	code_send "$CODE" file "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes file dst/file
}

@test "three wrong codes end the receiver with 5, and nothing was written" {
	echo x >file
	mkdir dst
	touch -d '2001-02-03 04:05:06.789' dst
	start_coded dst
	for _ in 1 2 3; do
		alive "$RECV_PID"
		exits 5 code_send "$(wrong_code)" file "$RECV_ADDR"
	done
	reap "$RECV_PID" 5
	one_line recv.err '--code: .*3 wrong codes'
	[ ! -s recv.json ]
	[ -z "$(ls -A dst)" ]
	[ "$(stat -c %y dst | cut -c 1-23)" = '2001-02-03 04:05:06.789' ]
	exits 35 timeout 20 "$HAUL" send --code-fd=4 --connect=1s file "$RECV_ADDR" 4<<<"$CODE"
}

# us_since START: microseconds since $EPOCHREALTIME was START
us_since() {
	local now=${EPOCHREALTIME/./}
	echo $((now - ${1/./}))
}

@test "one guess a connection, however much comes in it; a second of silence after it; the third ends it" {
	local began guess
	echo x >file
	start_coded dst
	start_on mitm mitm.port "$TOOLS/mitm" --to "$RECV_ADDR" --port-file mitm.port --mode code --do none --record said
	exits 5 code_send "$(wrong_code)" file "$ADDR" # the first guess
	kill -KILL "$PID"
	reap "$PID" 137
	[ "$(stat -c %s said)" -eq $((64 + 112)) ]
	# its proof fits no other connection: said again, ten times over, it is one more guess
	for ((guess = 0; guess < 10; guess++)); do
		tail -c 112 said
	done | cat said - >guesses
	began=$EPOCHREALTIME
	"$TOOLS/knock" "$RECV_ADDR" replay guesses 1 >knock.out
	[ "$(<knock.out)" = '1 connections, 1 answered, 32 bytes, 32 the longest' ] # C2, and no word more
	alive "$RECV_PID"
	"$TOOLS/knock" "$RECV_ADDR" replay said 1 >knock.out
	reap "$RECV_PID" 5
	[ "$(us_since "$began")" -ge 1000000 ] # it can be more, never less
	[ ! -e dst ]
	[ ! -s recv.json ]
}

@test "not more than twenty connections a second may try" {
	local began
	echo x >file
	start_coded dst
	began=$EPOCHREALTIME
	"$TOOLS/knock" "$RECV_ADDR" garbage 1 41 >knock.out
	[ "$(us_since "$began")" -ge 2000000 ]
	[ "$(<knock.out)" = '41 connections, 0 answered, 0 bytes, 0 the longest' ]
	code_send "$CODE" file "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes file dst/file
}

@test "strangers, keys and no key at all are no guesses" {
	"$HAUL" key new psk
	echo x >file
	start_coded dst
	for _ in 1 2 3 4; do
		exits 5 timeout 20 "$HAUL" send -k psk file "$RECV_ADDR"
		exits 5 timeout 20 "$HAUL" send file "$RECV_ADDR"
		head -c 200 /dev/urandom | nc -N -w 1 "${RECV_ADDR%:*}" "${RECV_ADDR##*:}" || true
		# a share that is no point, and one that is never followed by a guess
		{ printf '\x89HAUL\r\n\x1a\x01\x03\x01\0\0\0\0\0' && head -c 48 /dev/zero; } |
			nc -N -w 1 "${RECV_ADDR%:*}" "${RECV_ADDR##*:}" >answer || true
		empty answer
	done
	[ ! -e dst ]
	code_send "$CODE" file "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes file dst/file
}

@test "a code against a listener with a key, or with none: 5 at once" {
	"$HAUL" key new psk
	echo x >file
	start_recv --key=psk dst
	exits 5 code_send 000-000-000 file "$RECV_ADDR"
	RECV_NAME=open start_recv dst
	exits 5 code_send 000-000-000 file "$RECV_ADDR"
	one_line exits.err 'another code or none'
	[ ! -e dst ]
}

@test "wrong codes beside a session under way do not end it" {
	random_file bytes 12000000
	start_coded dst
	start send "$HAUL" send --code-fd=4 -z none --bwlimit=1M bytes "$RECV_ADDR" 4<<<"$CODE"
	await json_has recv.json connect
	for _ in 1 2 3; do
		exits 5 code_send "$(wrong_code)" bytes "$RECV_ADDR"
	done
	# nor is the right one good for another session
	exits 75 code_send "$CODE" --name=second - "$RECV_ADDR"
	reap "$PID" 0
	reap "$RECV_PID" 0
	same_bytes bytes dst/bytes
	[ ! -e dst/second ]
}

@test "two people at terminals: shown there, asked for there, a slip is asked again" {
	echo x >file
	start recv at_terminal shown "$HAUL recv --code --listen=127.0.0.1:0 --port-file=port --json=recv.json dst"
	await test -s port
	code=$(sed -n 's/.*haul: code: \([0-9a-z-]*\).*/\1/p' shown)
	[ "${#code}" -eq 11 ]
	printf '%s\n' 000-000-001 "$code" >typed
	TYPE=typed at_terminal asked "$HAUL send --code file $(<port)"
	grep -q 'there is a slip in it' asked
	reap "$PID" 0
	same_bytes file dst/file
}

@test "no terminal, no code: one line, exit 1" {
	echo x >file
	exits 1 timeout 20 setsid -w "$HAUL" send --code file 127.0.0.1:1
	one_line exits.err 'no terminal'
	exits 1 timeout 20 "$HAUL" recv --code dst
	one_line exits.err 'no terminal'
	exits 1 code_send 000-000-001 file 127.0.0.1:1
	one_line exits.err 'slip'
	exits 1 code_send '' file 127.0.0.1:1
	exits 1 timeout 20 "$HAUL" send --code-fd=77 file 127.0.0.1:1
	one_line exits.err
	exits 1 timeout 20 "$HAUL" recv --code-fd=x dst
	one_line exits.err 'x is no descriptor'
	exits 1 timeout 20 "$HAUL" recv --code-fd=2 dst
	"$HAUL" key new psk
	exits 1 code_send 000-000-000 -k psk file 127.0.0.1:1
	one_line exits.err 'together with keys'
	[ ! -e dst ]
}

@test "a pull: the sender waits and shows the code" {
	echo x >file
	start_on send send.port "$HAUL" send --listen=127.0.0.1:0 --port-file=send.port --code-fd=4 file 4>code
	exits 5 timeout 20 "$HAUL" recv --code-fd=4 "$ADDR" dst 4<<<000-000-000
	[ ! -e dst/file ]
	"$HAUL" recv --code-fd=4 "$ADDR" dst 4<code
	reap "$PID" 0
	same_bytes file dst/file
}

@test "the code is in no argument, event, log, metric, nor in the clear on the way" {
	random_file bytes 3000000
	start_coded --log-file=recv.log --metrics=recv.prom -vv dst
	start_chaos
	# under strace the leak sanitizer does not work
	start send env ASAN_OPTIONS=detect_leaks=0 strace -f -qq -e trace=execve,write,writev,sendmsg,sendto -s 5000000 -o trace "$HAUL" send --code-fd=4 \
		-vv --bwlimit=2M --log-file=send.log --metrics=send.prom --json=send.json bytes "$CHAOS_ADDR" 4<<<"$CODE"
	await json_has recv.json connect
	plain=${CODE//-/}
	[ -n "$(pgrep -P "$PID")" ]
	for pid in "$RECV_PID" $(pgrep -P "$PID"); do
		not grep -aqE "$CODE|$plain" "/proc/$pid/cmdline" "/proc/$pid/environ"
	done
	reap "$PID" 0
	reap "$RECV_PID" 0
	same_bytes bytes dst/bytes
	for file in recv.log send.log recv.json send.json recv.prom send.prom recv.err send.err trace; do
		[ -e "$file" ]
		not grep -aqE "$CODE|$plain" "$file"
	done
	grep -q bytes send.log
}

@test "killed and run again: another code goes on with what the first one left" {
	random_file bytes 40000000
	start_coded --reconnect=1s --sync=file dst
	start send "$HAUL" send --code-fd=4 -z none --bwlimit=15M bytes "$RECV_ADDR" 4<<<"$CODE"
	await begun dst
	kill -KILL "$PID"
	reap "$PID" 137
	reap "$RECV_PID" 10
	[ ! -e dst/bytes ]
	RECV_NAME=again start_coded dst
	code_send "$CODE" -z none --json=again.send bytes "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes bytes dst/bytes
	clean dst
	[ "$(json_field again.send 'done' wire)" -lt 39000000 ]
}
