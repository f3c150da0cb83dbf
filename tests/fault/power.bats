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
	calls=$(<count)
}

tell() {
	echo "# $cuts cuts at $calls calls, 0 lost, $told files were told durable (seed $seed)" >&3
}

# A stride for what is not swept in full unless there is time.
sometimes() {
	echo $((SCALE > 1 ? 1 : $1))
}

@test "power fails before each system call of a small run" {
	small_run
	sweep 1
	tell
	[ "$cuts" -gt 40 ]
}

@test "power fails before system calls of a small run with --sync=file" {
	small_run
	RECV_ARGS=--sync=file
	sweep "$(sometimes 4)"
	tell
	[ "$cuts" -gt 10 ]
}

@test "killed before a system call, run again to success, then the power fails: nothing is lost" {
	small_run
	sweep "$(sometimes 2)" -k
	tell
	[ "$cuts" -gt 20 ]
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
	sweep "$(sometimes 2)" -k
	tell
	[ "$cuts" -gt 10 ]
}
