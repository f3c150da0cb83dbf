# What stands at the destination already, what is in the way, and what a sender may not reach.
# shellcheck disable=SC2016,SC2030,SC2031 # $0 is for bash -c; a test is a subshell, and means to be

load helpers

@test "a symlink under a final name is replaced; what it names is untouched" {
	mkdir src dst
	echo new >src/small
	random_file src/large 3000000
	echo precious >outside
	echo precious >dst/inside
	ln -s ../outside dst/small
	ln -s inside dst/large
	deliver 0 dst src/.
	same_bytes src/small dst/small
	same_bytes src/large dst/large
	[ ! -L dst/small ]
	[ ! -L dst/large ]
	[ "$(<outside)" = precious ]
	[ "$(<dst/inside)" = precious ]
}

@test "a parent that is a symlink is refused, whatever it names" {
	mkdir -p src/sub/deep outside dst/real
	echo x >src/sub/x
	echo y >src/sub/deep/y
	echo ok >src/ok
	ln -s ../outside dst/sub
	deliver 23 dst src/.
	[ -z "$(ls -A outside)" ]
	[ -L dst/sub ]
	[ "$(<dst/ok)" = ok ]
	rm dst/sub
	ln -s real dst/sub
	deliver 23 dst src/.
	[ -z "$(ls -A dst/real)" ]
	one_line send.err
	clean dst
}

@test "a file where a directory must be, a directory where a file must be: listed, the rest arrives" {
	mkdir -p src/dir dst/file/full
	echo x >src/dir/x
	echo f >src/file
	echo ok >src/ok
	echo blocker >dst/dir
	deliver 23 dst src/.
	[ "$(<dst/dir)" = blocker ]
	[ -d dst/file/full ]
	[ "$(<dst/ok)" = ok ]
	json_has send.json file '"path":"file".*"state":"failed"'
	json_has send.json file '"path":"dir/x".*"state":"failed"'
	one_line send.err
	clean dst
}

@test "an empty directory is not replaced by a file or a symlink either" {
	mkdir -p src dst/file dst/link
	echo f >src/file
	ln -s file src/link
	deliver 23 dst src/.
	[ -d dst/file ]
	[ -d dst/link ]
	[ ! -L dst/link ]
	done_is send.json failed=2
}

@test "a FIFO under a final name is neither opened nor replaced" {
	mkdir src dst
	echo x >src/fifo
	echo ok >src/ok
	mkfifo dst/fifo
	deliver 23 dst src/.
	[ -p dst/fifo ]
	[ "$(<dst/ok)" = ok ]
	rm src/ok
	deliver 4 dst src/fifo
	one_line send.err
}

@test "a socket and a device likewise" {
	mkdir src dst
	echo x >src/socket
	start listener nc -lU dst/socket
	await test -S dst/socket
	deliver 4 dst src/socket
	alive "$(pgrep -P $$ -x nc | head -n 1)"
	[ -S dst/socket ]
	if [ "$(id -u)" -eq 0 ]; then
		mknod dst/null c 1 3
		echo x >src/null
		deliver 23 dst src/.
		[ -c dst/null ]
	fi
}

@test "a read-only file is replaced, and keeps its directory's mode" {
	mkdir src dst
	echo new >src/f
	chmod 600 src/f
	echo old >dst/f
	chmod 400 dst/f
	chmod 750 dst
	deliver 0 dst src/f
	[ "$(<dst/f)" = new ]
	[ "$(stat -c %a dst)" = 750 ]
}

@test "a hard link at the destination is not written through" {
	mkdir src dst
	echo new >src/f
	echo old >dst/f
	touch -d 2010-01-01 dst/f
	ln dst/f other
	deliver 0 dst src/f
	[ "$(<dst/f)" = new ]
	[ "$(<other)" = old ]
}

@test "what else is at the destination stays" {
	mkdir -p src/dir dst/dir/kept
	echo x >src/dir/x
	echo mine >dst/dir/mine
	echo own >dst/own
	deliver 0 dst src/.
	[ "$(<dst/dir/mine)" = mine ]
	[ "$(<dst/own)" = own ]
	[ -d dst/dir/kept ]
}

@test "an entry that would land on .haul is refused by name" {
	mkdir -p src/.haul src/sub/deeper/.haul
	echo evil >src/.haul/x
	echo fine >src/sub/deeper/.haul/x
	deliver 23 dst -C src ./.haul sub
	[ ! -e dst/.haul ]
	[ "$(<dst/sub/deeper/.haul/x)" = fine ]
	echo evil >.haul
	SENT=0
	"$HAUL" send .haul 127.0.0.1:1 2>send.err || SENT=$?
	[ "$SENT" -eq 3 ]
	one_line send.err reserved
}

@test "a .haul that is a symlink is not followed" {
	mkdir -p src dst outside
	random_file src/f 2000000
	ln -s ../outside dst/.haul
	deliver - dst src/.
	[ "$SENT" -ne 0 ]
	[ -z "$(ls -A outside)" ]
	[ ! -e dst/f ]
	one_line send.err
}

@test "a dry run makes nothing at the receiver: no SUBDIR, no DIR, no FILE, no consumer" {
	local before
	mkdir -p src dst/.haul
	echo x >src/x
	touch -d '2001-01-01' dst dst/.haul
	start_recv dst
	"$HAUL" send --dry-run src "$RECV_ADDR/sub/deep" 2>send.err
	"$HAUL" send --dry-run src "$RECV_ADDR" 2>send.err
	stop "$RECV_PID" 143
	before=$(date -d '2001-01-01' +%s)
	[ "$(find dst -mindepth 1)" = dst/.haul ]
	[ "$(stat -c %Y dst)" -eq "$before" ]
	RECV_NAME=other start_recv new
	"$HAUL" send --dry-run src "$RECV_ADDR" 2>send.err
	"$HAUL" send --dry-run src "$RECV_ADDR/sub" 2>send.err
	stop "$RECV_PID" 143
	[ ! -e new ]
	"$HAUL" send --dry-run src "exec:$HAUL recv --stdio new" 2>send.err
	[ ! -e new ]
	echo x | "$HAUL" send --dry-run - "exec:$HAUL recv --stdio -o new/f" 2>send.err
	[ ! -e new ]
	echo x | "$HAUL" send --dry-run - "exec:$HAUL recv --stdio --to-cmd 'touch new'" 2>send.err
	[ ! -e new ]
	# what would fail does
	SENT=0
	"$HAUL" send --dry-run src "exec:$HAUL recv --stdio no/such" 2>send.err || SENT=$?
	[ "$SENT" -eq 11 ]
}

@test "few descriptors on both sides, and no way to get more: everything arrives" {
	local i n
	mkdir -p src
	for i in {1..8}; do
		truncate -s 9000000 "src/large$i"
		random_file "src/large$i.head" 10
		dd if="src/large$i.head" of="src/large$i" conv=notrunc status=none
	done
	for i in {1..90}; do
		mkdir "src/dir$i"
		random_file "src/middle$i" 300000
		echo "$i" >"src/dir$i/small"
	done
	for n in 64 32; do
		rm -rf dst
		start_recv_few "$n" dst
		(ulimit -n "$n" && "$HAUL" send --chunk=1M src/. "$RECV_ADDR") 2>send.err
		same_tree src dst
		for i in {1..8}; do
			printf %s "$n" | dd of="src/large$i" bs=1 seek=5000000 conv=notrunc status=none
		done
		(ulimit -n "$n" && "$HAUL" send src/. "$RECV_ADDR") 2>send.err
		same_tree src dst
		stop "$RECV_PID" 143
		clean dst
	done
}

# start_recv_few N ARGS...: start_recv with N descriptors, soft and hard
start_recv_few() {
	start_on recv recv.port bash -c 'ulimit -n "$1" && shift && exec "$0" recv --listen=127.0.0.1:0 --port-file=recv.port "$@"' \
		"$HAUL" "$@"
	RECV_PID=$PID RECV_ADDR=$ADDR
}

@test "DIR is made if only its last part is missing" {
	mkdir src
	echo x >src/x
	deliver 0 new src/.
	same_tree src new
	[ ! -e not ]
}

# cannot_receive STATUS REGEX ARGS...: a receiver that nobody is told of
cannot_receive() {
	local status=0
	# shellcheck disable=SC2086
	timeout 20 ${AS-} "$HAUL" recv --listen=127.0.0.1:0 --port-file=port "${@:3}" >out 2>err </dev/null || status=$?
	[ "$status" -eq "$1" ] || fail "haul recv ${*:3}: exit $status, want $1" "$(<err)"
	empty out
	one_line err "$2"
	[ ! -e port ]
}

@test "a DIR that cannot be, or cannot be written to: a listener says so and does not begin" {
	local closed
	echo x >file
	mkdir -m 0555 locked
	ln -s nowhere dangling
	cannot_receive 11 'not/there: .*No such file' not/there
	cannot_receive 11 'file: .*Not a directory' file
	cannot_receive 11 'file/d: .*Not a directory' file/d
	cannot_receive 11 'dangling: .*No such file' dangling
	cannot_receive 11 'not/there/f: .*No such file' -o not/there/f
	cannot_receive 11 'locked: .*Is a directory' -o locked
	cannot_receive 1 'dst/\.\.: ' -o dst/..
	AS=$POWERLESS cannot_receive 11 'locked: .*Permission denied' locked
	AS=$POWERLESS cannot_receive 11 'locked/d: .*Permission denied' locked/d
	AS=$POWERLESS cannot_receive 11 'locked/f: .*Permission denied' -o locked/f
	closed=0
	"$HAUL" recv --listen=127.0.0.1:0 --port-file=port -o - >&- 2>err || closed=$?
	[ "$closed" -eq 11 ]
	one_line err 'standard output is closed'
	[ ! -e port ]
	[ "$(find . -name dst -o -name not)" = '' ]
	# looked at, not made
	start_recv dst
	[ ! -e dst ]
	stop "$RECV_PID" 143
}

@test "a destination without permission: nothing arrives, one line on both sides" {
	mkdir src dst
	echo x >src/x
	# shellcheck disable=SC2086
	start_on recv port $POWERLESS "$HAUL" recv --once --listen=127.0.0.1:0 --port-file=port dst
	chmod 0555 dst
	SENT=0
	"$HAUL" send src/. "$ADDR" >send.out 2>send.err || SENT=$?
	reap "$PID"
	[ "$SENT" -eq 11 ] || [ "$SENT" -eq 23 ]
	[ "$REAPED" -ne 0 ]
	one_line send.err
	one_line recv.err
	empty send.out recv.out
	[ -z "$(ls -A dst)" ]
}

@test "a directory without permission at the destination: the rest arrives" {
	mkdir -p src/locked dst/locked
	echo x >src/locked/x
	echo ok >src/ok
	chmod 0555 src/locked dst/locked
	chown nobody dst/locked 2>/dev/null || :
	# shellcheck disable=SC2086
	start_on recv port $POWERLESS "$HAUL" recv --once --listen=127.0.0.1:0 --port-file=port dst
	SENT=0
	"$HAUL" send --json=send.json src/. "$ADDR" >send.out 2>send.err || SENT=$?
	reap "$PID"
	[ "$(<dst/ok)" = ok ]
	if [ "$SENT" -eq 0 ]; then # our own directory may be opened up for the time being
		same_tree src dst
	else
		[ "$SENT" -eq 23 ]
		[ ! -e dst/locked/x ]
		json_has send.json file '"path":"locked/x".*"state":"failed"'
	fi
}

@test "no space: 13, what is committed stays, nothing half written; more space and it goes on" {
	local flag=
	[ "$(id -u)" -eq 0 ] || flag=-r
	mkdir src dst
	echo small >src/a
	random_file src/b 6000000
	# shellcheck disable=SC2016,SC2086
	start_on recv port unshare -m $flag sh -c 'mount -t tmpfs -o size=4m none dst && "$0" recv --listen=127.0.0.1:0 \
		--port-file=port dst & child=$!; trap "kill -TERM $child" TERM; wait; ls -A dst; wait' "$HAUL"
	SENT=0
	"$HAUL" send -z none --json=send.json src/a src/b "$ADDR" >send.out 2>send.err || SENT=$?
	[ "$SENT" -eq 13 ]
	one_line send.err
	done_is send.json exit=13 class=human
	stop "$PID"
	[ "$(<recv.out)" = a ] || [ "$(sort recv.out | tr '\n' ' ')" = '.haul a ' ]
}

@test "a file larger than the limit of the receiver: 13" {
	random_file src 3000000
	trap '' XFSZ
	start_on recv port bash -c 'ulimit -f 1000; exec "$0" recv --once --listen=127.0.0.1:0 --port-file=port dst' "$HAUL"
	trap - XFSZ
	SENT=0
	"$HAUL" send -z none src "$ADDR" 2>send.err || SENT=$?
	reap "$PID" 13
	[ "$SENT" -eq 13 ]
	one_line send.err
	[ ! -e dst/src ]
}
