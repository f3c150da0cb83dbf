# One receiver, many senders: honest, too many, silent and hostile ones.
# shellcheck disable=SC2016,SC2030,SC2031 # $0 is for bash -c; a test is a subshell, and means to be

load helpers

# senders N ARGS...: N senders of src1 .. srcN at once; exit status I in sentI
senders() {
	local i pids=()
	for ((i = 1; i <= $1; i++)); do
		start "send$i" "$HAUL" send --connect=20s --json="send$i.json" "${@:2}" "src$i" "$RECV_ADDR"
		pids+=("$PID")
	done
	for ((i = 1; i <= $1; i++)); do
		reap "${pids[i - 1]}"
		echo "$REAPED" >"sent$i"
	done
}

@test "eight senders at once to one receiver" {
	local i
	for i in {1..8}; do
		mkdir "src$i"
		random_file "src$i/large" 3000000
		(cd "src$i" && seq $((i * 100)) $((i * 100 + 200)) | split -l 1 -)
	done
	start_recv dst
	senders 8
	for i in {1..8}; do
		[ "$(<"sent$i")" -eq 0 ]
		same_tree "src$i" "dst/src$i"
	done
	stop "$RECV_PID" 143
	[ "$(json_count recv.json 'done' '"exit":0')" -eq 8 ]
	clean dst
}

@test "--max-sessions=1: the next one is rejected with 75, and served afterwards" {
	mkfifo in
	echo second >second
	start_recv --max-sessions=1 dst
	STDIN=in start first "$HAUL" send --json=first.json --name=first - "$RECV_ADDR"
	exec 9>in
	printf x >&9
	await json_has first.json connect
	SENT=0
	"$HAUL" send --json=send.json second "$RECV_ADDR" >out 2>err || SENT=$?
	[ "$SENT" -eq 75 ]
	one_line err
	empty out
	done_is send.json exit=75 class=again
	[ ! -e dst/second ]
	exec 9>&-
	reap "$PID" 0
	# the listener needs a moment to see the end of a process
	await bash -c '"$0" send second "$1" 2>/dev/null' "$HAUL" "$RECV_ADDR"
	[ "$(<dst/first)" = x ]
	[ "$(<dst/second)" = second ]
	stop "$RECV_PID" 143
}

@test "--overload=queue: the next one waits and is served" {
	local first
	mkfifo in
	echo second >second
	echo third >third
	start_recv --max-sessions=1 --overload=queue:1 dst
	STDIN=in start first "$HAUL" send --json=first.json --name=first - "$RECV_ADDR"
	first=$PID
	exec 9>in
	printf x >&9
	await json_has first.json connect
	start second "$HAUL" send --json=second.json second "$RECV_ADDR" 9>&-
	await json_has second.json plan
	# whoever comes when one waits is told so
	await bash -c '"$0" send third "$1" 2>third.err; [ $? -eq 75 ]' "$HAUL" "$RECV_ADDR"
	[ ! -e dst/second ] || [ ! -e dst/third ]
	exec 9>&-
	reap "$first" 0
	reap "$PID" 0
	[ "$(<dst/second)" = second ]
	stop "$RECV_PID" 143
}

@test "--once: one session, its exit status, then gone" {
	mkfifo src
	echo ok >ok
	start_recv --once dst
	SENT=0
	"$HAUL" send src ok "$RECV_ADDR" 2>/dev/null || SENT=$?
	[ "$SENT" -eq 23 ]
	reap "$RECV_PID" 0
	SENT=0
	"$HAUL" send --connect=200ms --retry-delay=10ms..50ms ok "$RECV_ADDR" 2>err || SENT=$?
	[ "$SENT" -eq 35 ]
}

@test "--connect, not --reconnect, is the time to get the first link" {
	echo x >src
	start send "$HAUL" send --connect=20s --reconnect=0s --retry-delay=10ms..50ms --json=send.json src unix:sock
	await json_has send.json retry
	start recv "$HAUL" recv --once --listen=unix:sock dst
	reap "$PID" 0
	[ "$(<dst/src)" = x ]
}

@test "--port-file appears whole, holds HOST:PORT, and nobody is refused once it is there" {
	local i
	echo x >src
	for i in {1..10}; do
		rm -f port
		start recv "$HAUL" recv --once --listen=127.0.0.1:0 --port-file=port dst
		await_or_death "$PID" test -e port
		[[ "$(<port)" =~ ^127\.0\.0\.1:[0-9]+$ ]]
		"$HAUL" send --json=send.json src "$(<port)"
		[ "$(json_count send.json retry)" -eq 0 ]
		reap "$PID" 0
	done
	[ -z "$(find . -name 'port.*')" ]
}

@test "SIGTERM to an idle listener: dies by it, quietly" {
	start_recv dst
	stop "$RECV_PID" 143
	empty recv.out recv.err
	start_recv dst
	kill -INT "$RECV_PID"
	reap "$RECV_PID" 130
	empty recv.out recv.err
}

@test "SIGTERM drains: what a sender has finished is committed, nobody new is served" {
	local send
	mkfifo in
	echo x >src
	start_recv --grace=5s dst
	STDIN=in start send "$HAUL" send --reconnect=0s --json=send.json --name=stream - "$RECV_ADDR"
	send=$PID
	exec 9>in
	await json_has send.json connect
	kill -TERM "$RECV_PID"
	SENT=0
	"$HAUL" send --connect=200ms src "$RECV_ADDR" 2>err 9>&- || SENT=$?
	[ "$SENT" -ne 0 ]
	[ ! -e dst/src ]
	exec 9>&-
	reap "$RECV_PID" 143
	reap "$send"
	[ "$REAPED" -ne 0 ] || [ -e dst/stream ]
}

@test "200 connections with garbage while an honest sender gets through" {
	random_file src 20000000
	head -c 65536 /dev/urandom >garbage
	start_recv dst
	start send "$HAUL" send --bwlimit=20M --json=send.json src "$RECV_ADDR"
	# shellcheck disable=SC2016
	start hostile bash -c 'for i in {1..200}; do
			exec 7<>/dev/tcp/${0%:*}/${0##*:} || exit 1
			case $((i % 5)) in
			0) ;;
			1) printf "GET / HTTP/1.0\r\n\r\n" >&7 ;;
			2) head -c $((i * 300)) garbage >&7 ;;
			3) head -c 4 /dev/zero >&7 ;;
			4) printf "haul" >&7 ;;
			esac
			exec 7>&-
		done 2>/dev/null' "$RECV_ADDR"
	reap "$PID" 0
	await json_has send.json 'done'
	same_bytes src dst/src
	done_is send.json exit=0 reconnects=0
	echo y >again
	"$HAUL" send again "$RECV_ADDR"
	stop "$RECV_PID" 143
	empty recv.err
}

@test "40 silent connections and an honest sender still gets in" {
	local i
	echo x >src
	start_recv --once dst
	# shellcheck disable=SC2016
	start silent bash -c 'for i in {1..40}; do exec {fd}<>/dev/tcp/${0%:*}/${0##*:}; done; echo >ready
		exec tail -f /dev/null' "$RECV_ADDR"
	await test -e ready
	for i in 1 2 3; do
		[ "$i" -eq 1 ] || RECV_NAME=r$i start_recv --once dst
		"$HAUL" send --connect=5s src "$RECV_ADDR"
		reap "$RECV_PID" 0
	done
	[ "$(<dst/src)" = x ]
}

@test "silent connections are closed, descriptors and processes do not pile up" {
	local before
	echo x >src
	start_recv dst
	"$HAUL" send src "$RECV_ADDR"
	await bash -c '[ -z "$(pgrep -P "$0")" ]' "$RECV_PID"
	before=$(find "/proc/$RECV_PID/fd" -type l | wc -l)
	for _ in {1..20}; do
		exec 7<>"/dev/tcp/${RECV_ADDR%:*}/${RECV_ADDR##*:}"
		printf 'x' >&7
		exec 7>&-
		"$HAUL" send src "$RECV_ADDR"
	done
	await bash -c '[ -z "$(pgrep -P "$0")" ] && [ "$(ls /proc/$0/fd | wc -l)" -le "$1" ]' "$RECV_PID" "$before"
}

@test "the same destination file, twice at once: never a mixture" {
	mkdir a b
	yes a | head -c 6000000 >a/f
	yes b | head -c 6000000 >b/f
	start_recv dst
	start one "$HAUL" send -z none --bwlimit=20M a/f "$RECV_ADDR"
	local one=$PID
	start two "$HAUL" send -z none --bwlimit=20M b/f "$RECV_ADDR"
	reap "$PID"
	[ "$REAPED" -eq 0 ] || [ "$REAPED" -eq 75 ]
	reap "$one"
	[ "$REAPED" -eq 0 ] || [ "$REAPED" -eq 75 ]
	cmp -s a/f dst/f || same_bytes b/f dst/f
	stop "$RECV_PID"
	clean dst
}

@test "a sender that is killed leaves a listener that serves the next one" {
	random_file src 8000000
	start_recv --reconnect=100ms dst
	start send "$HAUL" send --bwlimit=2M -z none --json=send.json src "$RECV_ADDR"
	await json_has send.json progress '"acked":[1-9]'
	kill -KILL "$PID"
	reap "$PID"
	[ ! -e dst/src ]
	"$HAUL" send src "$RECV_ADDR"
	same_bytes src dst/src
	stop "$RECV_PID"
	clean dst
}

@test "an idle listener uses no processor time" {
	local ticks
	start_recv dst
	ticks=$(awk '{print $14 + $15}' "/proc/$RECV_PID/stat")
	[ "$ticks" -le 5 ]
	exec 7<>"/dev/tcp/${RECV_ADDR%:*}/${RECV_ADDR##*:}"
	[ "$(awk '{print $14 + $15}' "/proc/$RECV_PID/stat")" -le $((ticks + 5)) ]
	exec 7>&-
}
