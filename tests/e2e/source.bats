# Sources that are missing, locked, or change while they are read.
# shellcheck disable=SC2016,SC2030,SC2031 # $0 is for bash -c; a test is a subshell, and means to be

load helpers

# held_up ARGS...: `haul send ARGS...` in the background, small windows, to dst, through a proxy that is stopped as
# soon as the first bytes of a file have arrived; SEND_PID. let_go lets it run.
held_up() {
	start_recv --once --window=128k dst
	start_chaos --rate 8000000
	start send "$HAUL" send --json=send.json -z none --chunk=64k --window=128k "$@" "$CHAOS_ADDR"
	SEND_PID=$PID
	await_or_death "$SEND_PID" something_arrived
	kill -STOP "$CHAOS_PID"
}

something_arrived() {
	[ -n "$(find dst/.haul -type f -size +1k 2>/dev/null)" ]
}

let_go() {
	kill -CONT "$CHAOS_PID"
	reap "$SEND_PID"
	SENT=$REAPED
	reap "$RECV_PID"
}

@test "one SRC of several is missing: 23, the rest arrives" {
	mkdir a b
	echo a >a/a
	echo b >b/b
	deliver 23 dst a missing b
	[ -e dst/a/a ]
	[ -e dst/b/b ]
	one_line send.err
	done_is send.json exit=23 files=2 failed=1
	json_has send.json file '"path":"missing".*"errno":2'
}

@test "no SRC can be read: 3, at once, without a receiver" {
	local status=0
	"$HAUL" send missing ./also-missing 127.0.0.1:1 >send.out 2>send.err || status=$?
	[ "$status" -eq 3 ]
	one_line send.err missing
	empty send.out
}

@test "files and directories that may not be read: 23, listed, the rest arrives" {
	mkdir -p src/locked
	echo ok >src/ok
	echo secret >src/secret
	random_file src/large 2000000
	echo hidden >src/locked/hidden
	chmod 000 src/secret src/large src/locked
	start_recv --once dst
	SENT=0
	# shellcheck disable=SC2086
	$POWERLESS "$HAUL" send --json=send.json src/. "$RECV_ADDR" 2>send.err || SENT=$?
	reap "$RECV_PID"
	chmod 700 src/locked
	[ "$SENT" -eq 23 ]
	[ "$(<dst/ok)" = ok ]
	[ ! -e dst/secret ]
	[ ! -e dst/large ]
	[ ! -e dst/locked/hidden ]
	[ "$(json_count send.json file '"path":"(secret|large|locked)".*"state":"failed".*"errno":13')" -eq 3 ]
	one_line send.err
	clean dst
}

@test "the only SRC may not be read: 3" {
	echo secret >secret
	chmod 000 secret
	start_recv dst
	SENT=0
	# shellcheck disable=SC2086
	$POWERLESS "$HAUL" send secret "$RECV_ADDR" 2>send.err || SENT=$?
	[ "$SENT" -eq 3 ]
	one_line send.err secret
}

@test "a file that vanishes before it is read: 24, the rest arrives" {
	mkdir src
	random_file a 3000000
	random_file b 3000000
	echo last >c
	held_up a b c
	rm b
	let_go
	[ "$SENT" -eq 24 ]
	same_bytes a dst/a
	same_bytes c dst/c
	[ ! -e dst/b ]
	json_has send.json file '"path":"b".*"state":"vanished"'
	done_is send.json exit=24 files=2 vanished=1
	one_line send.err
	clean dst
}

@test "--vanished=ignore: 0; --vanished=error: 23" {
	random_file a 3000000
	random_file b 3000000
	cp b keep
	held_up --vanished=ignore a b
	rm b
	let_go
	[ "$SENT" -eq 0 ]
	cp keep b
	rm -r dst
	held_up --vanished=error a b
	rm b
	let_go
	[ "$SENT" -eq 23 ]
}

@test "a file that changes once while it is read arrives as it is afterwards" {
	local how
	for how in append overwrite truncate replace; do
		rm -rf dst
		random_file a 2500000
		held_up a
		case $how in
		append) echo more >>a ;;
		overwrite) printf changed | dd of=a bs=1 seek=10 conv=notrunc status=none ;;
		truncate) truncate -s 1000000 a ;;
		replace) random_file new 2500000 && mv new a ;;
		esac
		let_go
		[ "$SENT" -eq 0 ] || [ "$SENT" -eq 24 ]
		# never a mixture: the new content, or nothing
		if [ "$SENT" -eq 0 ]; then
			same_bytes a dst/a
		else
			[ ! -e dst/a ]
		fi
	done
}

@test "a file that goes on changing: 24, the old content stays" {
	mkdir dst
	echo old >dst/a
	random_file a 4000000
	random_file b 100000
	start writer bash -c 'while :; do printf x >>a; done'
	RECV_ARGS=--window=256k deliver 24 dst -z none --window=256k --chunk=64k --bwlimit=20MB a b
	[ "$(<dst/a)" = old ]
	same_bytes b dst/b
	json_has send.json file '"path":"a".*"state":"changed"'
	done_is send.json exit=24 changed=1
	one_line send.err
	clean dst
}

@test "a small file that goes on changing is never a mixture" {
	local got
	mkdir src
	# every state of the file is 1000 times the same character
	start writer bash -c 'while :; do for c in a b c; do printf "%1000s" | tr " " $c >src/new; mv src/new src/f; done; done'
	await test -s src/f
	deliver - dst src/f
	[ "$SENT" -eq 0 ] || [ "$SENT" -eq 24 ]
	if [ -e dst/f ]; then
		got=$(fold -w 1 dst/f | sort -u | wc -l)
		[ "$got" -eq 1 ]
		[ "$(stat -c %s dst/f)" -eq 1000 ]
	fi
}

@test "a file swapped for a symlink after it was listed is not followed" {
	random_file a 3000000
	random_file b 3000000
	echo secret >secret
	held_up a b
	ln -sf secret b
	let_go
	[ "$SENT" -ne 0 ]
	[ ! -e dst/b ]
	same_bytes a dst/a
}
