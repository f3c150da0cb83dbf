# The sandbox is on by default, so every suite runs in it. Here: that it really is, what it must not break, and who
# loses a race for a symbolic link.
# shellcheck disable=SC2016,SC2030,SC2031 # $0 is for bash -c; a test is a subshell, and means to be

load helpers

# What a kernel of the tests must have.
BOTH='Landlock ABI [0-9]+, [0-9]+ system calls'
# A build with sanitizers traces itself and has no filter.
case ${HAUL_PROFILE-} in asan | tsan | fuzz) BOTH='Landlock ABI [0-9]+, any system call' ;; esac

# confined PID: is bound to no new privileges
confined() {
	grep -q '^NoNewPrivs:[[:space:]]*1$' "/proc/$1/status"
}

# require: "require" where it can be, for the options of a test
require() {
	case $BOTH in
	*any*) echo --sandbox=auto ;;
	*) echo --sandbox=require ;;
	esac
}

@test "a real tree, both sides confined, and they say so" {
	RECV_ARGS="$(require) --stats" deliver 0 dst "$(require)" --stats /usr/include/linux
	same_tree /usr/include/linux dst/linux
	grep -Eq "^haul: sandbox: $BOTH\$" send.err
	grep -Eq "^haul: sandbox: $BOTH\$" recv.err
}

@test "the listener is confined before it accepts" {
	start_recv dst
	confined "$RECV_PID"
	stop "$RECV_PID"
	start_recv --no-sandbox dst
	not confined "$RECV_PID"
}

@test "--no-sandbox, and what contradicts it" {
	mkdir src
	echo 1 >src/f
	RECV_ARGS='--no-sandbox -v' deliver 0 dst --sandbox=off -v src
	grep -qx 'haul: sandbox: no Landlock, any system call' send.err
	grep -qx 'haul: sandbox: no Landlock, any system call' recv.err
	run "$HAUL" recv --no-sandbox --sandbox=require dst
	[ "$status" -eq 1 ]
	[[ $output == *contradicts* ]]
}

@test "-o FILE, -o - and --to-cmd from --from-cmd" {
	random_file in 3000000
	mkdir out
	start_recv "$(require)" -o out/file
	"$HAUL" send "$(require)" --from-cmd='cat in' "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes in out/file
	clean out
	start_recv "$(require)" -o -
	"$HAUL" send "$(require)" - "$RECV_ADDR" <in
	reap "$RECV_PID" 0
	same_bytes in recv.out
	start_on recv recv.port bash -c 'exec "$0" recv "$@" | cat' "$HAUL" "$(require)" -o /dev/stdout \
		--listen=127.0.0.1:0 --port-file=recv.port
	"$HAUL" send "$(require)" - "$ADDR" <in
	reap "$PID" 0
	same_bytes in recv.out
	start_recv "$(require)" --to-cmd='cat >consumed; touch beside'
	"$HAUL" send "$(require)" --from-cmd='cat in' "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes in consumed
	[ -e beside ]
}

@test "log, metrics, events and lock in directories of their own" {
	mkdir src log metrics events lock
	random_file src/f 100000
	RECV_ARGS="--log-file=log/r --metrics=metrics/r.prom" deliver 0 dst --log-file=log/s --metrics=metrics/s.prom \
		--lock=lock/l --json=events/s src
	same_tree src dst/src
	grep -q '^haul_exit_status 0$' metrics/r.prom
	grep -q '^haul_exit_status 0$' metrics/s.prom
	[ -s log/r ]
	[ -s log/s ]
	json_has events/s "done"
}

@test "a listener whose DIR is removed and made again goes on" {
	mkdir src
	random_file src/f 1000
	start_recv dst
	"$HAUL" send src "$RECV_ADDR"
	rm -r dst
	"$HAUL" send src "$RECV_ADDR"
	same_tree src dst/src
	rm -r dst
	mkdir dst
	"$HAUL" send src "$RECV_ADDR"
	same_tree src dst/src
	stop "$RECV_PID"
}

@test "DIR that is a symbolic link" {
	mkdir src else
	mkdir else/where
	random_file src/f 1000
	ln -s else/where dst
	deliver 0 dst src
	same_tree src else/where/src
}

@test "a lost connection is dialled again, by number and by name" {
	local host
	random_file in 8000000
	for host in 127.0.0.1 localhost; do
		rm -rf dst send.json
		start_recv --once dst
		start_chaos --cut-after 2M,2M
		"$HAUL" send "$(require)" --json=send.json in "$host:${CHAOS_ADDR##*:}"
		reap "$RECV_PID" 0
		same_bytes in dst/in
		json_has send.json resume
	done
}

@test "a program that carries the connection is started from outside, again and again" {
	mkdir src
	random_file src/f 1000
	"$HAUL" send "$(require)" --stats src "exec:touch unconfined; exec '$HAUL' recv --stdio dst" 2>err
	same_tree src dst/src
	[ -e unconfined ]
	grep -Eq "^haul: sandbox: $BOTH\$" err
	"$HAUL" recv "$(require)" "exec:touch again; exec '$HAUL' send --listen=stdio: src" pulled
	same_tree src pulled/src
	[ -e again ]

	random_file big 8000000
	start_recv --once far
	start_chaos --cut-after 2M,2M
	"$HAUL" send "$(require)" --json=send.json big \
		"exec:echo >>begun; exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/${CHAOS_ADDR##*:}; cat <&3 & cat >&3; wait'"
	reap "$RECV_PID" 0
	same_bytes big far/big
	[ "$(wc -l <begun)" -eq 3 ]
}

@test "a program that cannot be started, and one that outlives its connection" {
	echo 1 >f
	run "$HAUL" send -v --connect=1s -e ./no-such-ssh f host:dir
	[ "$status" -eq 35 ]
	[[ $output == *'no-such-ssh'* ]]
	"$HAUL" send f "exec:echo \$\$ >pid; trap '' TERM; '$HAUL' recv --stdio dst; while :; do sleep 1; done"
	same_bytes f dst/f
	not alive "$(<pid)"
}

@test "a source that is a file, replaced while it is being sent, arrives as it is in the end" {
	mkdir there
	random_file there/a 30000000
	random_file there/b 30000000
	start_recv --once dst
	start send "$HAUL" send --bwlimit=20M --json=send.json there/a "$RECV_ADDR"
	await json_has send.json progress '"bytes":[1-9]'
	mv there/b there/a
	reap "$PID"
	[ "$REAPED" -eq 0 ] || [ "$REAPED" -eq 24 ] || fail "exit $REAPED" "$(<send.err)"
	reap "$RECV_PID"
	[ "$REAPED" -ne 0 ] || same_bytes there/a dst/a
}

@test "--user: root is given up before the first sender" {
	mkdir -m 755 src
	random_file src/f 1000
	mkdir -m 777 open
	chmod 755 "$BATS_TEST_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_RUN_TMPDIR"
	if [ "$(id -u)" -ne 0 ]; then
		run "$HAUL" recv --user=nobody open
		[ "$status" -eq 1 ]
		[[ $output == *'only root'* ]]
		return
	fi
	start_recv --user=nobody:daemon open/dst
	grep -Eq '^Uid:([[:space:]]+65534){4}$' "/proc/$RECV_PID/status"
	grep -Eq '^Gid:([[:space:]]+1){4}$' "/proc/$RECV_PID/status"
	grep -Eq '^CapEff:[[:space:]]+0+$' "/proc/$RECV_PID/status"
	"$HAUL" send src "$RECV_ADDR"
	[ "$(stat -c %U:%G open/dst/src/f)" = nobody:daemon ]
	stop "$RECV_PID"
	run "$HAUL" recv --user=no-such-user open
	[ "$status" -eq 1 ]
	[[ $output == *'no such user'* ]]
}

# ---- symbolic links in a race

# snapshot DIR: everything there is to see below it
snapshot() {
	find "$1" -printf '%p %y %m %u %g %s %T@ %l\n' | sort
}

@test "10,000 files against a directory that keeps turning into a symbolic link: nothing gets outside" {
	local i options flipper
	mkdir -p src/victim outside dst/victim
	for ((i = 0; i < 100; i++)); do
		mkdir "src/victim/d$i" "outside/d$i"
		(cd "src/victim/d$i" && seq 100 | split -l 1 -a 3 -d - f)
	done
	echo keep >outside/keep
	ln -s "$PWD/outside" dst/link
	[ "$(find src -type f | wc -l)" -eq 10000 ]

	# the attack works: a careless writer is led astray
	start flipper "$TOOLS/flipper" dst/victim dst/link
	"$TOOLS/flipper" --naive dst/victim 5000000 outside/naive
	stop "$PID" 0
	[ -e outside/naive ]
	rm -f outside/naive dst/victim/naive
	snapshot outside >before

	# with the sandbox and, since it must not be needed for this, without
	for options in --sandbox=auto --no-sandbox; do
		start flipper "$TOOLS/flipper" dst/victim dst/link
		flipper=$PID
		RECV_ARGS=$options deliver - dst src/victim
		stop "$flipper" 0
		[ "$(<flipper.out)" -gt 1000 ]
		[ "$SENT" -eq 0 ] || [ "$SENT" -eq 23 ] || fail "haul send: exit $SENT" "$(<send.err)"
		snapshot outside | diff before -
		rm -rf dst/victim dst/.haul
		mkdir dst/victim
	done
}

# swapped HOW K CMD...: CMD, with dst/victim exchanged for a link to the outside at its K-th call with a path. False
# when it made fewer calls.
swapped() {
	local how=$1 k=$2
	shift 2
	rm -rf dst total
	mkdir -p dst/victim
	ln -s "$PWD/outside" dst/link
	"$@" || true
	[ "$(<total)" -ge "$k" ]
}

naive() {
	"$TOOLS/swapper" "$how" "$k" dst/victim dst/link total "$TOOLS/flipper" --naive dst/victim 1 none
}

# With one worker and one thread less the order of the calls is the same each time.
received() {
	"$HAUL" send --jobs=1 --connect=5s src/victim "exec:exec '$TOOLS/swapper' $how $k dst/victim dst/link total \
		'$HAUL' recv $options --jobs=1 --json=recv.json --stdio dst" 2>send.err
}

@test "a symbolic link in the way at each single call with a path: nothing gets outside" {
	local how k options led_astray=0
	mkdir -p src/victim/sub outside/sub
	echo 1 >src/victim/f
	echo 2 >src/victim/sub/f
	ln -s target src/victim/sub/l
	echo keep >outside/f

	# the attack works
	for ((k = 1; k < 100; k++)); do
		swapped stay "$k" naive || break
		if [ -e outside/naive ]; then
			led_astray=$((led_astray + 1))
			rm outside/naive
		fi
	done
	[ "$led_astray" -gt 0 ]
	snapshot outside >before

	for how in once stay; do
		for options in --sandbox=auto --no-sandbox; do
			for ((k = 1; k < 400; k++)); do
				swapped "$how" "$k" received || break
				snapshot outside | diff before - || fail "$how at call $k of $(<total), $options"
			done
			[ "$k" -gt 30 ]
			same_tree src/victim dst/victim # the last one was spared
		done
	done
}
