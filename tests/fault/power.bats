#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2034,SC2154 # a test is a subshell; power.bash has variables
# The power fails: at any moment, and before each system call that changes something. The file system is an ext4 on
# a loop device; what was neither synced nor in its log is gone when it is mounted again.

load ../e2e/helpers
load power

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	mkfifo silence
	power_setup
}

teardown() {
	power_teardown
}

# A small run that has one of everything: new, replaced and unchanged files, a directory, a symlink, a large file.
small_run() {
	mkdir src/sub
	random_file src/large 9000000
	random_file src/replaced 5000
	random_file old/replaced 7000
	echo same >src/same
	cp -p src/same old/same
	echo new >src/new
	echo deep >src/sub/deep
	ln -s nowhere src/link
	model_new 64M
	cp -rp old "$mnt/dst/src"
	model_keep
}

# sweep STRIDE [-k]: one round for each STRIDE-th call of the run, and one after the last. With -k the receiver is only
# killed there, and the power fails after the run that follows: it must not take over as safe what was not.
sweep() {
	local stride=$1
	shift
	for _ in $(passes); do
		sweep_once "$stride" "$@"
	done
	calls=$(<count)
}

sweep_once() {
	local stride=$1 n rc=77
	shift
	for ((n = 1 + RANDOM % stride; rc == 77; n += stride)); do
		disk_fresh
		recv_under "$TOOLS/syscut" "$@" -n "$n" -c count "$mnt"
		[ -z "$RECV_ADDR" ] || send_it
		reap "$RECV_PID"
		rc=$REAPED
		[ "$rc" -eq 77 ] || [ "$rc" -eq 0 ] || fail "syscut: exit $rc" "$(<recv.err)"
		if [ "$rc" -eq 0 ]; then
			disk_cut
		elif [ "${1-}" != -k ]; then
			disk_again
		fi
		after_cut "call $n"
		disk_umount
	done
}

tell() {
	echo "# $cuts cuts at $calls calls, 0 lost, $told files were told durable (seed $seed)" >&3
}

@test "power fails before each system call of a small run" {
	small_run
	sweep "$(sometimes 2)"
	tell
	[ "$cuts" -gt 30 ]
}

@test "power fails before system calls of a small run with --sync=file" {
	small_run
	RECV_ARGS=--sync=file
	sweep "$(sometimes 6)"
	tell
	[ "$cuts" -gt 9 ]
}

@test "killed before a system call, run again to success, then the power fails: nothing is lost" {
	small_run
	sweep "$(sometimes 5)" -k
	tell
	[ "$cuts" -gt 10 ]
}

# Files only, in a directory that is there: a run that finds them all has nothing of its own to sync.
@test "killed before a system call, found unchanged by the next run, then the power fails" {
	random_file src/a 3000
	random_file src/b 2000000
	random_file src/c 9000000
	echo same >src/same
	cp -p src/same old/same
	model_new 64M
	cp -rp old "$mnt/dst/src"
	touch -r src "$mnt/dst/src"
	model_keep
	sweep "$(sometimes 3)" -k
	tell
	[ "$cuts" -gt 10 ]
}

@test "power fails while another version of an interrupted file is continued" {
	random_file src/large 16000000
	model_new 96M
	recv_under
	start send "$HAUL" send --bwlimit=30M --reconnect=0s -z none src "$RECV_ADDR"
	local sender=$PID
	half() { json_has recv.json progress '"bytes":([6-9]|1[0-9])[0-9]{6},'; }
	await half
	stop "$RECV_PID"
	reap "$sender"
	[ "$(stat -c %s "$mnt"/dst/.haul/*.j)" -gt 320 ]
	model_keep
	printf changed | dd of=src/large bs=1 seek=5000000 conv=notrunc status=none
	sweep "$(sometimes 5)"
	[ "$kept" -gt 0 ]
	tell
}

# In the middle of the run, from a seed that is told; what the receiver says while all its calls fail counts too.
@test "power fails at any moment while large, small and replaced files arrive" {
	random_file src/large 50000000
	cp -r /usr/include/linux/netfilter /usr/include/linux/can src/
	mkdir old/can
	for name in src/can/*; do echo "older $name" >"old/can/${name##*/}"; done
	random_file src/replaced 9000000
	random_file old/replaced 12000000
	model_new 192M
	cp -rp old "$mnt/dst/src"
	model_keep
	local round sender
	for ((round = 0; round < 4 * SCALE; round++)); do
		disk_fresh
		recv_under
		start send "$HAUL" send --bwlimit=80M --connect=2s --reconnect=0s --json=send.json -z none src "$RECV_ADDR"
		sender=$PID
		read -r -t "$(printf '0.%03d' $((RANDOM % 900)))" <>silence || true
		"$TOOLS/powercut" "$mnt"
		read -r -t "$(printf '0.%03d' $((RANDOM % 50)))" <>silence || true
		kill -9 "$RECV_PID" 2>/dev/null || true
		reap "$RECV_PID"
		reap "$sender"
		SENT=$REAPED
		disk_again
		after_cut "$round"
		disk_umount
	done
	echo "# $cuts cuts, 0 lost, $told files were told durable (seed $seed)" >&3
}

# Without syncs a cut may take names and bytes, but never what is said about them, nor the next run.
@test "power fails after a run with --sync=none: it said so, and the next run mends everything" {
	small_run
	truncate -s 3000000 src/hole
	printf end | dd of=src/hole bs=1 seek=2500000 conv=notrunc status=none
	random_file src/flat 2000000
	local round lost=0
	for ((round = 0; round < 3 * SCALE; round++)); do
		disk_fresh
		RECV_ARGS=--sync=none recv_under
		send_it -v
		reap "$RECV_PID" 0
		[ "$SENT" -eq 0 ]
		json_has send.json warn 'did not sync'
		grep -q 'did not sync' send.err
		# another writer has the log of the file system written, without the data
		[ $((round % 3)) -eq 0 ] || sync "$mnt/dst"
		[ $((round % 3)) -ne 2 ] || sync "$mnt/dst/src/sub"
		disk_cut
		diff -r --no-dereference src "$mnt/dst/src" >/dev/null 2>&1 || lost=$((lost + 1))
		converges
		disk_umount
	done
	[ "$lost" -gt 0 ]
	echo "# $lost of $round runs lost something in the cut, all were mended" >&3
}

# The sender lives on, as it does when the other machine starts again.
@test "power fails at the receiver of a pipe: every byte once, or a failure that is told" {
	random_file in 6000000
	model_new 64M
	model_keep
	local n rc=77 sender addr ends=0 target stride
	stride=$(sometimes 3)
	target="-o $mnt/dst/out"
	for ((n = 1 + RANDOM % stride; rc == 77; n += stride)); do
		disk_fresh
		recv_under "$TOOLS/syscut" -n "$n" -c count "$mnt"
		addr=$RECV_ADDR
		[ -n "$addr" ] || fail "no listener before call $n"
		STDIN=in start send "$HAUL" send --reconnect=5s --retry-delay=20ms..50ms --json=send.json -z none - "$addr"
		sender=$PID
		reap "$RECV_PID"
		rc=$REAPED
		[ "$rc" -ne 0 ] || { disk_cut && break; }
		disk_again
		start recv "$HAUL" recv --listen="$addr" --once --json=again.json -o "$mnt/dst/out"
		RECV_PID=$PID
		reap "$sender"
		SENT=$REAPED
		kill -TERM "$RECV_PID" 2>/dev/null || true
		reap "$RECV_PID"
		disk_cut
		cuts=$((cuts + 1))
		case $SENT in
		0) same_bytes in "$mnt/dst/out" && ends=$((ends + 1)) ;;
		*) one_line send.err ;;
		esac
		[ ! -e "$mnt/dst/out" ] || same_bytes in "$mnt/dst/out"
		disk_umount
	done
	same_bytes in "$mnt/dst/out"
	[ "$ends" -gt 0 ]
	echo "# $cuts cuts at $(<count) calls: $ends went on to the end, $((cuts - ends)) failed and said so (seed $seed)" >&3
}

# What a file system kept of bytes that nobody synced is anything; the size is there, the journal says they are.
@test "a pipe that was written without syncs is not continued after a boot" {
	local sender part addr
	random_file in 30000000
	mkdir dst
	target='-o dst/out' RECV_ARGS=--sync=none recv_under
	addr=$RECV_ADDR
	STDIN=in start send "$HAUL" send --bwlimit=8M --reconnect=5s --retry-delay=20ms..50ms -z none - "$addr"
	sender=$PID
	recorded() { [ -n "$(find dst/.haul -name '*.j' -size +319c 2>/dev/null)" ]; }
	await recorded
	kill -9 "$RECV_PID"
	reap "$RECV_PID"
	part=$(echo dst/.haul/*.part)
	head -c 100000 /dev/zero | dd of="$part" conv=notrunc status=none
	echo 00000000-1111-2222-3333-444444444444 >boot
	start recv unshare -m bash -c 'mount --bind boot /proc/sys/kernel/random/boot_id && exec "$@"' - \
		"$HAUL" recv --listen="$addr" --once -o dst/out
	RECV_PID=$PID
	reap "$sender"
	[ "$REAPED" -ne 0 ]
	one_line send.err
	kill -TERM "$RECV_PID" 2>/dev/null || true
	reap "$RECV_PID"
	grep -q 'cannot be taken up' recv.err
	[ ! -e dst/out ]
}
