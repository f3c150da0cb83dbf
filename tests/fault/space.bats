#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2017,SC2030,SC2031,SC2317 # a test is a subshell; await calls functions
# A disk without room: at the start, in the middle, by quota of the process, and one that turns read-only. The
# sender ends with 13 (11 when read-only), what is verified stays, and the same command ends it later.

load ../e2e/helpers

SCALE=${FAULT_SCALE:-1}
KB=1024

teardown() {
	stop_all
	umount -l disk 2>/dev/null || true
}

# disk KIND SIZE: an empty file system at ./disk
disk() {
	mkdir -p disk
	case $1 in
	tmpfs) mount -t tmpfs -o size="$2" none disk ;;
	ext4)
		truncate -s "$2" image
		mkfs.ext4 -q -m 0 -E lazy_itable_init=0 image
		mount -o loop image disk
		;;
	esac
}

room() {
	stat -f -c '%a %S' disk | (read -r blocks size && echo $((blocks * size)))
}

# leave BYTES: a filler takes all but this much of the disk
leave() {
	rm -f disk/filler
	sync -f disk
	fallocate -l $(($(room) - $1)) disk/filler
}

unfill() {
	rm disk/filler
	sync -f disk
}

# journaled N: a condition: the one journal on the disk has N chunk records
journaled() {
	[ "$(find disk/.haul -name '*.j' -size "+$(($1 * 64 + 191))c" 2>/dev/null | wc -l)" -eq 1 ]
}

# recorded CHUNK_BYTES: the bytes that the one journal on the disk has records of
recorded() {
	echo $((($(stat -c %s disk/.haul/*.j) - 192) / 64 * $1))
}

# push STATUS ARGS...: haul send ARGS to the receiver exits with STATUS
push() {
	local want=$1 got=0
	shift
	"$HAUL" send --reconnect=5s --json=send.json "$@" "$RECV_ADDR" >send.out 2>send.err || got=$?
	[ "$want" = any ] || [ "$got" -eq "$want" ] || fail "haul send $*: exit $got, want $want" "$(<send.err)" || return
	PUSHED=$got
}

# sweep FILE FROM TO STEP ARGS...: FILE onto a disk with FROM, FROM + STEP ... TO bytes of room. Either all of it
# arrives or 13, without its final name; once there is room, it arrives.
sweep() {
	local file=$1 from=$2 to=$3 step=$4 left full=0 fit=0
	shift 4
	for ((left = from; left <= to; left += step)); do
		leave "$left"
		push any "$@" "$file"
		case $PUSHED in
		0) fit=$((fit + 1)) ;;
		13)
			full=$((full + 1))
			[ ! -e "disk/$file" ] || fail "$left bytes of room: a final name after 13" || return
			unfill
			push 0 "$@" "$file"
			;;
		*) fail "$left bytes of room: exit $PUSHED" "$(<send.err)" || return ;;
		esac
		same_bytes "$file" "disk/$file" || return
		rm -f "disk/$file" disk/filler
		clean disk || return
	done
	[ "$full" -gt 0 ] && [ "$fit" -gt 0 ] || fail "$full times full, $fit times not" || return
	echo "# $file: $full steps without room, $fit with" >&3
}

@test "ext4, a small file: every 4 KiB of room" {
	disk ext4 8M
	random_file small $((40 * KB))
	start_recv disk
	sweep small 0 $((72 * KB)) 4096
}

@test "tmpfs, a file in chunks: every 4 KiB of room around its size and none, in steps between" {
	disk tmpfs 4m
	random_file middle $((1200 * KB))
	start_recv disk
	sweep middle 0 $((1280 * KB)) $((64 * KB)) -z none
	sweep middle $((1180 * KB)) $((1220 * KB)) 4096 -z none --chunk=64k
}

@test "ext4, a file with a journal: every 4 KiB of room around none and around its size" {
	disk ext4 24M
	random_file large $((9 << 20))
	start_recv disk
	local around=$((9 << 20))
	sweep large $((around - 16 * KB * SCALE)) $((around + 96 * KB * SCALE)) 4096 -z none --chunk=256k
}

# begin_large FILE RATE CHUNK: FILE on its way, with chunk records in its journal; SEND_PID
begin_large() {
	start send "$HAUL" send --json=send.json -z none --chunk="$3" --bwlimit="$2" "$1" "$RECV_ADDR"
	SEND_PID=$PID
	await journaled 4
}

@test "the disk fills up in mid-transfer: 13 at once, all that was written counts, only the rest is sent" {
	disk ext4 40M
	random_file large $((24 << 20))
	start_recv disk
	begin_large large 6M 64k
	leave $((200 * KB))
	local begun=$SECONDS kept
	reap "$SEND_PID" 13
	# nothing is sent in vain: the rest would take seconds
	[ $((SECONDS - begun)) -le 3 ]
	[ ! -e disk/large ]
	kept=$(recorded 65536)
	# up to the last chunk that fitted
	[ "$kept" -ge $(($(stat -c '%b * 512' disk/.haul/*.part) - 3 * 65536)) ]
	unfill
	push 0 -z none --chunk=64k large
	same_bytes large disk/large
	done_is send.json "bytes=$(((24 << 20) - kept))"
	clean disk
}

@test "a stream without end onto a disk with one: 13 at once" {
	disk tmpfs 20m
	start_recv disk
	start send bash -c 'timeout 10 "$0" send -z none --json=send.json --name=stream - "$1" </dev/zero' "$HAUL" "$RECV_ADDR"
	reap "$PID" 13
	[ ! -e disk/stream ]
	clean disk
}

@test "a file that cannot fit is refused before a byte of it moves, whatever is there already" {
	disk ext4 8M
	fallocate -l 1G huge
	start_recv disk
	push 13 huge
	done_is send.json bytes=0
	one_line send.err 'no space'
	clean disk
}

@test "room is counted with what an unfinished transfer occupies already" {
	disk ext4 24M
	random_file large $((12 << 20))
	start_recv disk
	begin_large large 4M 64k
	kill -9 "$SEND_PID"
	reap "$SEND_PID" 137
	stop "$RECV_PID" 143
	# written but not recorded: it is there all the same
	head -c $((11 << 20)) large | dd of="$(echo disk/.haul/*.part)" conv=notrunc status=none
	start_recv disk
	leave $((1200 * KB))
	push 0 -z none --chunk=64k large
	same_bytes large disk/large
	clean disk
}

@test "a limit on the size of files (EFBIG): 13, the session and others go on" {
	random_file large $((24 << 20))
	random_file middle $((3 << 20))
	(ulimit -f $((16 * KB)) && exec "$HAUL" recv --listen=127.0.0.1:0 --port-file=recv.port dst) 2>recv.err 3>&- &
	started+=("$!")
	await test -s recv.port
	RECV_ADDR=$(<recv.port)
	push 13 -z none large
	[ ! -e dst/large ]
	push 0 -z none middle
	same_bytes middle dst/middle
}

# No file system here has quotas of its own: the kernel's answer is put in its mouth.
# recv_over_quota STRACE_ARGS...: a receiver of one session into dst
recv_over_quota() {
	local options=${ASAN_OPTIONS-}
	export ASAN_OPTIONS=$options:detect_leaks=0 # does not work in a process that is traced
	start_on recv recv.port strace -f -qq -o trace -e trace=pwrite64 "$@" \
		"$HAUL" recv --listen=127.0.0.1:0 --port-file=recv.port --once dst || return
	ASAN_OPTIONS=$options RECV_PID=$PID RECV_ADDR=$ADDR
}

# kept: the bytes that the journal of dst/large has records of, in chunks of 64 KiB
kept() {
	echo $((($(stat -c %s dst/.haul/*.j) - 192) / 64 * 65536))
}

@test "over quota (EDQUOT) in mid-transfer: 13 and its name, what was written counts, only the rest is sent" {
	local first second
	random_file large $((24 << 20))
	mkdir dst
	recv_over_quota -e 'inject=pwrite64:error=EDQUOT:when=70+'
	push 13 -z none --chunk=64k large
	one_line send.err 'quota'
	reap "$RECV_PID" 13
	grep -q INJECTED trace
	[ ! -e dst/large ]
	first=$(kept)
	[ "$first" -gt 0 ]

	# the journal's turn: there is no room for the third record of a checkpoint
	recv_over_quota -P "$(echo dst/.haul/*.j)" -e 'inject=pwrite64:error=EDQUOT:when=3'
	push 13 -z none --chunk=64k --bwlimit=4M large
	reap "$RECV_PID" 13
	grep -q INJECTED trace
	second=$(kept)
	[ "$second" -gt $((first + 3 * 65536)) ]

	start_recv dst
	push 0 -z none --chunk=64k large
	same_bytes large dst/large
	done_is send.json "bytes=$(((24 << 20) - second))"
	clean dst
}

# A kernel that meets an error in the file system makes it read-only at once, under open files too.
break_disk() {
	local dev
	dev=$(findmnt -no SOURCE disk)
	echo fault >"/sys/fs/ext4/${dev##*/}/trigger_fs_error"
}

mend_disk() {
	umount disk
	e2fsck -fp image >fsck.out || [ $? -eq 1 ]
	mount -o loop image disk
}

@test "the disk turns read-only in mid-transfer: 11 at once, and when it is mended the rest is sent" {
	disk ext4 64M
	mount -o remount,errors=remount-ro disk
	random_file large $((40 << 20))
	start_recv disk
	begin_large large 8M 64k
	local kept
	kept=$(recorded 65536)
	break_disk
	reap "$SEND_PID" 11
	one_line send.err 'Read-only|Input/output'
	[ ! -e disk/large ]
	push 11 -z none --chunk=64k large
	stop "$RECV_PID" 143
	mend_disk
	start_recv disk
	push 0 -z none --chunk=64k large
	same_bytes large disk/large
	[ "$(json_field send.json 'done' bytes)" -le $(((40 << 20) - kept)) ]
	stop "$RECV_PID" 143
	clean disk
}

@test "small files onto a full disk: what fitted is committed and whole, the next run sends the others" {
	disk ext4 8M
	mkdir src
	local i
	for i in {1..400}; do
		random_file "src/$i" $((i * 20))
	done
	start_recv disk
	leave $((700 * KB))
	push 13 -z none src
	local kept=0 f
	for f in disk/src/*; do
		[ ! -f "$f" ] && continue
		same_bytes "src/${f##*/}" "$f"
		kept=$((kept + 1))
	done
	unfill
	push 0 -z none src
	done_is send.json "skipped=$kept" "files=$((400 - kept))"
	same_tree src disk/src
	clean disk
	echo "# $kept of 400 files fitted" >&3
}

@test "--quota is policy, 4: the next session may go on where it ended" {
	random_file large $((20 << 20))
	start_recv --quota=12M dst
	push 4 -z none --chunk=64k large
	[ ! -e dst/large ]
	push 0 -z none --chunk=64k large
	same_bytes large dst/large
	[ "$(json_field send.json 'done' bytes)" -le $((9 << 20)) ]
	clean dst
}
