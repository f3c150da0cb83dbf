# Helpers of the power cut suites: an ext4 of our own on a loop device, cut off from its power and mounted again.
# shellcheck shell=bash disable=SC2034,SC2119,SC2120 # what the functions leave in variables is for the tests

SCALE=${FAULT_SCALE:-1}
disk= # scratch directory: image, model (the image every round begins with), mnt
loop=

# sometimes N: the stride of a sweep that is full only where there is time for it
sometimes() {
	echo $((SCALE > 1 ? 1 : $1))
}

# How often a full sweep is made: the moments between the calls of other threads differ.
passes() {
	seq $(((SCALE + 9) / 10))
}

# Memory where there is some: a real disk would only make the real syncs below the image wait.
power_setup() {
	[ "$(id -u)" -eq 0 ] || skip "POWER CUTS NOT TESTED: needs root"
	[ -e /dev/loop-control ] || skip "POWER CUTS NOT TESTED: needs loop devices"
	RANDOM=${SEED:-$$}
	seed=${SEED:-$$}
	disk=$(mktemp -d /dev/shm/haul-power.XXXXXX 2>/dev/null || mktemp -d "$BATS_TEST_TMPDIR/power.XXXXXX")
	mkdir "$disk/mnt" old src
	mnt=$disk/mnt
	cuts=0 told=0 kept=0
}

power_teardown() {
	stop_all
	[ -n "$disk" ] || return 0
	umount "$disk/mnt" 2>/dev/null || umount -l "$disk/mnt" 2>/dev/null || true
	[ -z "$loop" ] || losetup -d "$loop" 2>/dev/null || true
	rm -rf --one-file-system "$disk"
	disk=
}

# model_new SIZE: an empty file system, mounted; model_keep makes it what every round begins with
model_new() {
	truncate -s "$1" "$disk/image"
	mkfs.ext4 -q -F -m 0 -J size=4 -E lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0 "$disk/image"
	disk_mount
	mkdir "$mnt/dst"
}

model_keep() {
	disk_umount
	mv "$disk/image" "$disk/model"
}

attach() {
	loop=$(losetup --find --show "$disk/image" 2>/dev/null)
}

detached() {
	[ -z "$(losetup -j "$disk/image")" ]
}

disk_mount() {
	await attach
	mount -o noatime "$loop" "$mnt"
}

# The dead let go of their files a moment after they are gone. The device goes too: whoever has copied our mounts,
# for a namespace of his own, keeps the file system without power alive, and it would be mounted again as it is.
disk_umount() {
	await umount -q "$mnt"
	losetup -d "$loop"
	await detached
	loop=
}

disk_fresh() {
	rm -f "$disk/image"
	cp --sparse=always "$disk/model" "$disk/image"
	disk_mount
}

disk_cut() {
	"$TOOLS/powercut" "$mnt"
	disk_again
}

disk_again() {
	disk_umount
	disk_mount
}

# recv_under CMD...: the receiver of one session as $RECV_ARGS and $target say, started by CMD (none: as it is).
# RECV_PID and RECV_ADDR; the address is empty when it ended before it listened.
recv_under() {
	rm -f port recv.json
	# the search for leaks does not work in a process that is traced
	(($# == 0)) || set -- env ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" "$@"
	# shellcheck disable=SC2086 # words
	start recv "$@" "$HAUL" recv --listen=127.0.0.1:0 --port-file=port --once --json=recv.json --reconnect=0s \
		${RECV_ARGS-} ${target:-$mnt/dst}
	RECV_PID=$PID RECV_ADDR=
	local end=$((SECONDS + AWAIT_SECONDS))
	while [ ! -s port ] && alive "$RECV_PID"; do
		[ "$SECONDS" -le "$end" ] || fail "the receiver does not listen" || return
		read -r -t 0.005 <>silence || true
	done
	[ ! -s port ] || RECV_ADDR=$(<port)
}

# send_it ARGS...: SENT is the exit status of the sender of src, its events are in send.json
send_it() {
	SENT=0
	rm -f send.json
	"$HAUL" send --connect=500ms --retry-delay=100ms..200ms --reconnect=0s --json=send.json -z none "$@" src "$RECV_ADDR" \
		>send.out 2>send.err </dev/null 3>&- || SENT=$?
}

# Every name in dst is whole: of the tree that is sent or of the one that was there; what was there still is.
names_whole() {
	local path was
	while IFS= read -r -d '' path; do
		was=${path#src/} # or its backup
		cmp -s "$mnt/dst/$path" "$path" || cmp -s "$mnt/dst/$path" "old/${was%\~}" ||
			fail "torn: $path, $(stat -c %s "$mnt/dst/$path") bytes" || return
	done < <(cd "$mnt/dst" && find . -path ./.haul -prune -o -type f -printf '%P\0')
	while IFS= read -r -d '' path; do
		[ -f "$mnt/dst/src/$path" ] || fail "gone: $path" || return
	done < <(cd old && find . -type f -printf '%P\0')
}

# Every file the receiver called committed is there, byte for byte.
told_is_true() {
	local path
	[ -e send.json ] || return 0
	while read -r path; do
		cmp -s "$mnt/dst/$path" "$path" || fail "told committed, but is not: $path" || return
		told=$((told + 1))
	done < <(grep '"state":"committed"' send.json | sed 's/.*"path":"\([^"]*\)".*/\1/')
	[ "$SENT" -ne 0 ] || same_tree src "$mnt/dst/src" || fail "the sender was told success"
}

# The same command again ends it, and what it ended survives the next cut.
converges() {
	recv_under
	send_it
	reap "$RECV_PID" 0 || return
	[ "$SENT" -eq 0 ] || fail "the run after the cut: exit $SENT" "$(<send.err)" || return
	kept=$((kept + $(json_field send.json 'done' kept_bytes)))
	disk_cut
	same_tree src "$mnt/dst/src" || return
	clean "$mnt/dst"
}

# A round that fails one of its checks ends the test and tells which it was.
after_cut() {
	cuts=$((cuts + 1))
	if ! { names_whole && told_is_true && converges; }; then
		fail "--- lost in round $* (seed $seed)"
	fi
}
