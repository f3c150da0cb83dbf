#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2034,SC2154 # a test is a subshell; power.bash has variables
# One system call of the receiver fails, falls short or is its last: each of them in turn. strace does it, and marks in
# its log what it did, so a sweep ends with the first number that no thread reached.

load ../e2e/helpers
load power

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	mkfifo silence
	seed=${SEED:-$$}
	RANDOM=$seed
	mnt=$PWD cuts=0 told=0 kept=0
	mkdir old src src/sub
	random_file src/large 9000000
	random_file src/replaced 2500000
	random_file old/replaced 7000
	echo same >src/same
	cp -p src/same old/same
	echo new >src/new
	echo deep >src/sub/deep
	ln -s nowhere src/link
}

# outcome CALL:FAULT: what a sender may be told after it. How often each sender's exit status was seen, and what the statuses of a failure may be.
declare -A ends
allowed=' 10 11 13 23 35 '

outcome() {
	ends[$SENT]=$((${ends[$SENT]-0} + 1))
	case $1 in
	*sync*:error=*) [ "$SENT" -ne 0 ] || fail "a failed sync was called success" || return ;;
	esac
	names_whole || return
	told_is_true || return
	[ "$SENT" -ne 0 ] || return 0
	[[ $allowed == *" $SENT "* ]] || fail "exit $SENT" "$(<send.err)" || return
	head -n 1 send.err | grep -q '^haul: .' || fail "exit $SENT without a word" || return
}

# The same again without a fault ends it.
mended() {
	recv_under
	send_it
	reap "$RECV_PID" 0 || return
	[ "$SENT" -eq 0 ] || fail "the run after it: exit $SENT" "$(<send.err)" || return
	rm -f dst/src/*~
	same_tree src dst/src || return
	clean dst
}

# one_round CMD...: a run of the receiver under CMD; SENT is empty when it never listened
one_round() {
	rm -rf dst
	mkdir dst
	cp -rp old dst/src
	SENT=
	rm -f send.json
	recv_under "$@"
	[ -z "$RECV_ADDR" ] || send_it
	reap "$RECV_PID"
}

# sweep STRIDE FAULT CALL...: FAULT at the 1st, 2nd, ... of each CALL
sweep() {
	local stride=$1 fault=$2 call n before
	shift 2
	for call; do
		before=$cuts
		for ((n = 1 + RANDOM % stride; ; n += stride)); do
			one_round strace -f -qq -o trace -e "trace=$call" -e "inject=$call:$fault:when=$n"
			grep -Eq 'INJECTED|killed by SIGKILL' trace || break
			cuts=$((cuts + 1))
			if ! { [ -z "$SENT" ] || outcome "$call:$fault"; } || ! mended; then
				fail "--- $call:$fault:when=$n (seed $seed)" "$(grep INJECTED trace)"
			fi
		done
		[ "$stride" -gt 1 ] || [ "$cuts" -gt "$before" ] || fail "$call is never called"
	done
}

tell() {
	local s text=
	for s in "${!ends[@]}"; do
		text+=", exit $s: ${ends[$s]}"
	done
	echo "# $cuts faults, 0 false successes$text (seed $seed)" >&3
}

@test "EIO from whatever syncs, names, makes or removes: told, and the next run mends it" {
	sweep 1 error=EIO fsync syncfs renameat2
	sweep "$(sometimes 4)" error=EIO unlinkat mkdirat symlinkat utimensat fchmod ftruncate renameat
	tell
}

@test "EIO from what opens, writes and closes" {
	sweep "$(sometimes 3)" error=EIO pwrite64
	sweep "$(sometimes 12)" error=EIO openat openat2 close write
	tell
}

@test "no space from whatever takes space" {
	sweep "$(sometimes 3)" error=ENOSPC pwrite64 mkdirat symlinkat renameat2 ftruncate
	sweep "$(sometimes 12)" error=ENOSPC openat
	tell
}

@test "a backup is made and its calls fail" {
	RECV_ARGS='--overwrite=backup --sync=file'
	sweep 1 error=EIO linkat
	sweep "$(sometimes 3)" error=EIO renameat fsync
	tell
}

@test "killed inside each system call" {
	sweep "$(sometimes 6)" signal=KILL fsync syncfs renameat2 unlinkat mkdirat symlinkat utimensat fchmod ftruncate pwrite64
	tell
}

@test "a write falls short" {
	local n stride
	stride=$(sometimes 3)
	one_round "$TOOLS/syscut" -s 3 -c count dst
	for ((n = 1 + RANDOM % stride; n <= $(<count); n += stride)); do
		one_round "$TOOLS/syscut" -s 3 -n "$n" dst
		cuts=$((cuts + 1))
		outcome short
		mended
	done
	[ "$cuts" -gt 4 ]
	tell
}

# The first checkpoint of a pipe: its data, its journal.
@test "a checkpoint cannot be synced: nothing of it is believed" {
	local n
	mv src/large in
	for n in 1 2 3; do
		rm -rf dst
		mkdir dst
		target='-o dst/out' recv_under strace -f -qq -o trace -e trace=fdatasync -e "inject=fdatasync:error=EIO:when=$n"
		SENT=0
		"$HAUL" send --reconnect=0s -z none - "$RECV_ADDR" <in 2>send.err || SENT=$?
		reap "$RECV_PID"
		grep -q INJECTED trace || break
		cuts=$((cuts + 1))
		[ "$SENT" -eq 11 ]
		[ ! -e dst/out ]
		one_line send.err
	done
	[ "$cuts" -gt 0 ]
	echo "# $cuts faults" >&3
}
