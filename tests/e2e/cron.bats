# --cron: silence, or one block that suits a mail. --lock and --deadline, which it brings along.
# shellcheck disable=SC2016,SC2030,SC2031,SC2086 # $0 is for bash -c; a test is a subshell; $POWERLESS is words

load helpers

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	export HAUL_OPTIONS='--retry-delay=10ms..50ms'
	mkdir src
	echo one >src/one
	echo two >src/two
}

# cron STATUS ARGS...: `haul send --cron ARGS...`, which must end with STATUS and print nothing to standard output;
# the lock is the test's own unless LOCK says otherwise
cron() {
	local status=$1
	shift
	SENT=0
	"$HAUL" send --cron ${LOCK---lock=lock} "$@" >cron.out 2>cron.err </dev/null || SENT=$?
	[ "$SENT" -eq "$status" ] || fail "exit $SENT, want $status" "$(<cron.err)" || return
	empty cron.out
}

# block STATUS CLASS WHY [FILE]: FILE (cron.err) is one block: `haul: ` first, what matches WHY, the rest indented
block() {
	local f=${4:-cron.err} key
	head -n 1 "$f" | grep -Eq "^haul: .*$3" || fail "first line:" "$(<"$f")" || return
	[ "$(grep -c '^  ' "$f")" -eq $(($(wc -l <"$f") - 1)) ] || fail "lines that are not indented:" "$(<"$f")" || return
	for key in command started ended seconds committed sent skipped failed link next; do
		[ "$(grep -c "^  $key  " "$f")" -eq 1 ] || fail "not one $key:" "$(<"$f")" || return
	done
	grep -Eq '^  started    [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z$' "$f" || fail "started:" "$(<"$f")" || return
	[ "$(grep -c "^  exit $1 ($2): " "$f")" -eq 1 ] || fail "no exit $1 ($2):" "$(<"$f")"
}

# holding ARGS...: a `send ARGS... --lock` that holds the lock until descriptor 9 is closed; HOLDER is its process
holding() {
	mkfifo in
	STDIN=in start holder "$HAUL" send --json=holder.json --name=held "$@" - "$RECV_ADDR"
	HOLDER=$PID
	exec 9>in
	printf x >&9
	await json_has holder.json connect
}

@test "success: not a byte on either stream, whatever else was asked for" {
	start_recv dst
	cron 0 src "$RECV_ADDR"
	empty cron.err
	same_tree src dst/src
	cron 0 -vv -P --progress=plain --stats src/. --window=1 "$RECV_ADDR"
	empty cron.err
	cron 0 --from-cmd='echo oh dear >&2; echo data' --name=n "$RECV_ADDR"
	empty cron.err
	[ "$(<dst/n)" = data ]
	cron 0 -n src "$RECV_ADDR"
	empty cron.err
	HAUL_OPTIONS="$HAUL_OPTIONS -v --progress=plain" cron 0 src "$RECV_ADDR"
	empty cron.err
}

@test "success at a terminal: silence, too" {
	start_recv dst
	script -qefc "'$HAUL' send --cron --lock=lock -vP src $RECV_ADDR" seen </dev/null >/dev/null
	same_tree src dst/src
	[ -z "$(grep -v '^Script ' seen | tr -d '\r\n')" ]
}

@test "lost connections that were regained are no news" {
	random_file src/large 8000000
	start_recv dst
	start_chaos --cut-every 1M --cuts 4 --seed 1
	cron 0 -z none --json=cron.json src "$CHAOS_ADDR"
	empty cron.err
	[ "$(json_count cron.json disconnect)" -gt 0 ]
	same_tree src dst/src
}

@test "nobody listens: one block, 35" {
	cron 35 --connect=300ms 'src' 127.0.0.1:1
	block 35 again 'could not connect: connection refused'
	grep -qx '  command    haul send --cron --lock=lock --connect=300ms src 127.0.0.1:1' cron.err
	grep -Eq '^  link       0 reconnects, 0 lost, [0-9]+ failed attempts?$' cron.err
	grep -qx '  committed  0 files, 0 bytes' cron.err
}

@test "the link is lost for good: what went before is in the block, and the next run continues" {
	random_file src/large 8000000
	start_recv dst
	start_chaos --cut-after 6000000 --refuse 1000000
	start cut "$HAUL" send --cron --lock=lock -z none --reconnect=500ms --json=cut.json src "$CHAOS_ADDR"
	reap "$PID" 10
	empty cut.out
	block 10 again 'link lost' cut.err
	grep -qx '  exit 10 (again): link lost and reconnect budget spent; run again to continue' cut.err
	[ "$(sed -n 's/^  link .* \([0-9]*\) lost, .*/\1/p' cut.err)" -eq "$(json_count cut.json disconnect)" ]
	[ "$(sed -n 's/^  sent  *\([0-9]*\) bytes.*/\1/p' cut.err)" -ge 1000000 ]
	done_is cut.json exit=10 class=again
	cron 0 src "$RECV_ADDR"
	same_tree src dst/src
}

@test "files that fail: the first ten by name, the others counted, what arrived counted too" {
	local i
	for i in {01..13}; do
		echo secret >"src/no-$i"
		chmod 000 "src/no-$i"
	done
	echo odd >$'src/no-\e[31m'
	chmod 000 $'src/no-\e[31m'
	mkdir open
	chmod 777 open
	start_recv dst
	cron 0 src/one src/two "$RECV_ADDR"
	SENT=0
	$POWERLESS "$HAUL" send --cron --lock=lock src/. "$RECV_ADDR" >cron.out 2>cron.err || SENT=$?
	[ "$SENT" -eq 23 ]
	empty cron.out
	block 23 human 'no-'
	grep -qx '  failed     14' cron.err
	[ "$(grep -Ec '^    no-.*: failed: .*Permission denied$' cron.err)" -eq 10 ]
	grep -qx '    and 4 more' cron.err
	grep -qx '  skipped    2 files' cron.err
	not grep -q $'\e' cron.err
	echo three >src/three
	SENT=0
	$POWERLESS "$HAUL" send --cron --lock=lock src/. "$RECV_ADDR" 2>cron.err || SENT=$?
	grep -qx '  committed  1 file, 6 bytes' cron.err
}

@test "a wrong command line: a block, and nothing on standard output" {
	cron 1 --chunk=1 src 127.0.0.1:1
	block 1 human '--chunk: must be from 4k to 4M'
	cron 1 src
	block 1 human 'DEST is missing'
	cron 1 --listen=unix:sock src
	block 1 human '--cron: is for sending to a DEST'
}

@test "the mail shows no secret" {
	cron 1 '--key=haul-psk-1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABCDE' src 127.0.0.1:1
	block 1 human 'a secret here'
	not grep -q AAAA cron.err
	cron 35 --connect=100ms --from-cmd='mysqldump --password=sesame' --name=x 127.0.0.1:1
	grep -q "'--from-cmd=mysqldump...'" cron.err
	not grep -q sesame cron.err
}

@test "what a producer or a remote shell says is kept back, and its end told on failure" {
	start_recv dst
	cron 15 --from-cmd='seq 1 20 >&2; exit 3' --name=x "$RECV_ADDR"
	block 15 human 'exit status 3'
	grep -A 5 '^  programs it started said, at the end:' cron.err | tail -n 5 | tr -d '\n ' | grep -qx 1617181920
	# more than any pipe holds: neither it nor we wait for ever
	cron 0 --from-cmd='head -c 5000000 /dev/zero | tr "\0" "\n" >&2; echo data' --name=x "$RECV_ADDR"
	empty cron.err
	[ "$(<dst/x)" = data ]
	cron 0 src/. "exec:echo banner >&2; '$HAUL' recv --stdio dst2"
	empty cron.err
	same_tree src dst2
	cron 35 --connect=300ms src/. 'exec:echo no route >&2; exit 255'
	block 35 again ''
	grep -qx '    no route' cron.err
}

@test "events, log and metrics are as ever" {
	start_recv dst
	cron 0 --json=e.json --log-file=log --metrics=m.prom src "$RECV_ADDR"
	empty cron.err
	done_is e.json exit=0 files=2
	grep -q 'src/one: committed' log
	grep -qx 'haul_exit_status 0' m.prom
	cron 35 --connect=100ms --json=e.json --log-file=log --metrics=m.prom src 127.0.0.1:1
	block 35 again 'could not connect'
	done_is e.json exit=35 class=again
	grep -q 'warn .*connection refused' log
	grep -qx 'haul_exit_status 35' m.prom
}

@test "events on standard error: nothing but events, done is the last word" {
	start_recv dst
	cron 0 --json src "$RECV_ADDR"
	not grep -vq '^{.*}$' cron.err
	cron 35 --connect=100ms --json src 127.0.0.1:1
	not grep -vq '^{.*}$' cron.err
	tail -n 1 cron.err | grep -q '"type":"done".*"exit":35'
}

@test "overlapping runs: the next one gets 75 and one block, and the lock dies with its process" {
	start_recv dst
	holding --lock=lock
	cron 75 src "$RECV_ADDR" 9>&-
	block 75 again 'lock: another run holds the lock'
	[ ! -e dst/src ]
	kill -KILL "$HOLDER"
	reap "$HOLDER" 137
	cron 0 src "$RECV_ADDR" 9>&-
	empty cron.err
	same_tree src dst/src
}

@test "without a name the lock is that of the destination, for cron and for a login alike" {
	local locks
	start_recv dst
	XDG_RUNTIME_DIR=$PWD holding --lock
	LOCK='' cron 75 src "$RECV_ADDR" 9>&-
	block 75 again 'another run holds the lock'
	STDIN=in start other "$HAUL" send --cron --json=other.json --name=o - "$RECV_ADDR/elsewhere" 9>&-
	await json_has other.json connect
	locks=$(readlink "/proc/$HOLDER/fd/"* "/proc/$PID/fd/"* | grep '^/tmp/haul-.*\.lock$')
	exec 9>&-
	reap "$HOLDER" 0
	reap "$PID" 0
	[ "$(wc -l <<<"$locks")" -eq 2 ]
	xargs rm <<<"$locks"
}

@test "--lock holds for a sender that listens, too" {
	start_on first port "$HAUL" send --lock=lock --listen=127.0.0.1:0 --port-file=port src
	SENT=0
	"$HAUL" send --lock=lock --listen=127.0.0.1:0 src >cron.out 2>cron.err || SENT=$?
	[ "$SENT" -eq 75 ]
	empty cron.out
	one_line cron.err 'lock: another run holds the lock'
	"$HAUL" recv "$ADDR" dst
	reap "$PID" 0
	same_tree src dst/src
}

@test "--lock-wait: the lock is waited for, but not past the deadline, and a signal ends it" {
	start_recv dst
	holding --lock=lock
	cron 75 --lock-wait=inf --deadline=300ms src "$RECV_ADDR" 9>&-
	block 75 again 'another run'
	start waiting "$HAUL" send --cron --lock=lock --lock-wait=inf --json=waiting.json src "$RECV_ADDR" 9>&-
	await json_has waiting.json hello
	kill -TERM "$PID"
	reap "$PID" 143
	block 143 again 'waiting for the lock' waiting.err
	start waiting "$HAUL" send --cron --lock=lock --lock-wait=inf --json=waiting.json src "$RECV_ADDR" 9>&-
	await json_has waiting.json hello
	kill -HUP "$PID" # a wake-up call, as everywhere
	exec 9>&-
	reap "$HOLDER" 0
	reap "$PID" 0
	empty waiting.err waiting.out
}

@test "the deadline: 26, one block, and the next run continues" {
	random_file src/large 30000000
	start_recv dst
	cron 26 --deadline=2s --bwlimit=5M -z none src/. "$RECV_ADDR"
	block 26 again 'the deadline has come'
	cron 0 --json=e.json src/. "$RECV_ADDR"
	same_tree src dst
	[ "$(json_field e.json 'done' bytes)" -lt 30000000 ]
}

@test "SIGTERM: 143 and one block" {
	random_file src/large 30000000
	start_recv dst
	start send "$HAUL" send --cron --lock=lock --grace=2s --bwlimit=2M -z none --json=e.json src/. "$RECV_ADDR"
	await json_has e.json progress '"acked":[1-9]'
	kill -TERM "$PID"
	reap "$PID" 143
	empty send.out
	block 143 again '' send.err
	grep -Eq '^  next       the same command goes on' send.err
}

@test "a lock that is another user's is none, and neither is a symbolic link" {
	ln -s elsewhere lock
	cron 11 src 127.0.0.1:1
	block 11 human 'lock: cannot be used as a lock'
	[ ! -e elsewhere ]
	[ "$(id -u)" -ne 0 ] || {
		: >theirs
		chown nobody theirs
		LOCK=--lock=theirs cron 1 src 127.0.0.1:1
		block 1 human "theirs: cannot be used as a lock: it is another user's"
	}
}
