#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2317 # a test is a subshell; await calls functions
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
