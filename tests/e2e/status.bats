# haul status: what an interrupted transfer leaves, looking at it, giving it up; what nobody wants any more is swept.

load helpers

# begin_slowly FILE RATE ARGS...: FILE to a receiver into dst that shall not finish; SEND_PID
begin_slowly() {
	mkdir -p dst
	[ -n "${RECV_PID-}" ] || start_recv dst
	start send "$HAUL" send --json=send.json --bwlimit="$2" "${@:3}" "$1" "$RECV_ADDR"
	SEND_PID=$PID
}

# kill -9 of the listener with its sessions, and of the sender
kill_all() {
	local pids
	mapfile -t pids < <(pgrep -P "$RECV_PID")
	kill -KILL "$RECV_PID" "${pids[@]}" "$SEND_PID"
	reap "$RECV_PID" 137
	reap "$SEND_PID" 137
	await all_gone "${pids[@]}"
	RECV_PID=
}

all_gone() {
	local p
	for p; do
		gone "$p" || return
	done
}

# value FIELD: of the one transfer in dst
value() {
	"$HAUL" status --json dst >status.json && json_field status.json unfinished "$1" 2>/dev/null
}

# value_over FIELD N: a condition for await
value_over() {
	local v
	v=$(value "$1") && [ "$v" -gt "$2" ]
}

# refused STATUS REGEX ARGS...: haul status ends so, with one line and nothing on standard output
refused() {
	local status=0
	"$HAUL" status "${@:3}" >status.out 2>status.err || status=$?
	[ "$status" -eq "$1" ] || fail "exit $status, want $1"
	empty status.out
	one_line status.err "$2"
}

silent() {
	"$HAUL" status "$@" >status.out 2>status.err
	empty status.out status.err
}

@test "nothing unfinished: silence; no directory: 11, and it is not made" {
	mkdir dst
	silent dst
	silent --json dst
	(cd dst && "$HAUL" status) >out && empty out
	clean dst
	refused 11 'nosuch: .*No such file' nosuch
	[ ! -e nosuch ]
	echo x >file
	refused 11 'file: .*Not a directory' file
	refused 1 'one operand too many' dst dst
	refused 1 'takes no value' --json=file dst
	refused 1 'of haul recv' --once dst
	refused 1 'no such unfinished transfer' --discard=plain000-0123456789abcdef dst
	clean dst
}

@test "a file whose transfer was killed: numbers, path, then it goes on and nothing is left" {
	random_file $'odd\nname' $((40 << 20))
	begin_slowly $'odd\nname' 8M
	await value_over recorded 0
	[ "$(value active)" = true ]
	await value_over recorded $((20 << 20))
	kill_all
	[ "$(value active)" = false ]
	local recorded percent disk
	recorded=$(value recorded) percent=$(value percent) disk=$(value disk)
	[ "$recorded" -lt $((40 << 20)) ] && [ "$disk" -ge "$recorded" ]
	[ "${percent%.*}" -eq $((recorded * 100 / (40 << 20))) ]
	[ "$(value size)" -eq $((40 << 20)) ] && [ "$(value owner)" = plain000 ] && [ "$(value age)" -lt 60 ]
	value path | grep -qxF -e 'odd\nname' -e 'odd\u000aname'
	"$HAUL" status dst >table
	[ "$(wc -l <table)" -eq 2 ]
	grep -Eq "^ *${percent%.*}% .* plain000 +idle +$(value id) +odd[\\]x0aname\$" table || fail "$(<table)"
	start_recv --once dst
	"$HAUL" send --json=again.json $'odd\nname' "$RECV_ADDR"
	reap "$RECV_PID" 0
	same_bytes $'odd\nname' dst/$'odd\nname'
	[ "$(json_field again.json "done" bytes)" -le $(((40 << 20) - recorded)) ]
	clean dst
	silent dst
}

@test "--discard: refused with 75 while a session works on it, then it frees the bytes" {
	local id disk status=0
	random_file big $((40 << 20))
	begin_slowly big 8M
	await value_over recorded 0
	id=$(value id)
	refused 75 "$id: a session works on it" --discard="$id" dst
	[ "$(value active)" = true ]
	kill_all
	disk=$(value disk)
	echo other >dst/other
	[ "$("$HAUL" status --discard="$id" dst)" = "$id: $disk bytes freed" ]
	silent dst
	clean dst
	[ "$(ls -A dst)" = other ]
	refused 1 "$id: no such" --discard="$id" dst
}

@test "looking does not disturb: a transfer looked at all the time arrives whole, once" {
	random_file big $((24 << 20))
	begin_slowly big 16M
	while alive "$SEND_PID"; do
		"$HAUL" status dst >>table
	done
	reap "$SEND_PID" 0
	same_bytes big dst/big
	grep -q ' active  *plain000-' table
	done_is send.json "bytes=$((24 << 20))" reconnects=0
}

@test "several transfers, one of them old: each with its own path, percent, age, owner and size on disk" {
	mkdir dst src
	random_file src/first $((32 << 20))
	random_file src/second $((64 << 20))
	begin_slowly src/first 4M
	local first=$SEND_PID
	await value_over recorded $((4 << 20))
	start send2 "$HAUL" send --bwlimit=8M src/second "$RECV_ADDR"
	local second=$PID
	recorded_of() {
		"$HAUL" status --json dst | grep "\"path\":\"$1\"" | grep -Eo '"recorded":[0-9]+' | cut -d: -f2
	}
	second_too() { [ "$(recorded_of second | grep . || echo 0)" -gt $((8 << 20)) ]; }
	await second_too
	kill -KILL "$second"
	reap "$second" 137
	kill_all
	touch -d '-49 hours' dst/.haul/*-*.j
	"$HAUL" status dst >table
	[ "$(wc -l <table)" -eq 3 ]
	local path size percent
	for path in first:32 second:64; do
		size=$((${path#*:} << 20))
		percent=$(($(recorded_of "${path%:*}") * 100 / size))
		grep -Eq "^ *$percent% .* 2d01h +plain000 +idle +plain000-[0-9a-f]{16} +${path%:*}\$" table || fail "$path: $percent%" "$(<table)"
	done
	"$HAUL" status --json dst >status.json
	[ "$(json_count status.json unfinished)" -eq 2 ]
	[ "$(json_count status.json unfinished '"age":17640[0-9],"owner":"plain000","active":false')" -eq 2 ]
	[ "$(grep -Eo '"disk":[0-9]+' status.json | cut -d: -f2 | awk '{ n += $1 } END { print n }')" -le "$(du -s --block-size=1 dst/.haul | cut -f1)" ]
	alive "$first" || start_recv dst
	"$HAUL" send src/first src/second "$RECV_ADDR"
	same_bytes src/second dst/second
	clean dst
}

@test "a stream of unknown length: no size, no percent, its owner is its session" {
	mkfifo pipe
	exec 5<>pipe
	head -c 20000000 /dev/zero >&5 &
	started+=("$!")
	STDIN=pipe begin_slowly - 4M --name=s
	await value_over recorded 1000000
	[ "$(value owner)" = stream ] && [ "$(value path)" = s ]
	[ "$(grep -Ec 'size|percent' status.json)" -eq 0 ]
	"$HAUL" status dst | grep -Eq '^ +- .* stream    active'
	kill_all
	exec 5>&-
	[ "$("$HAUL" status --json --discard="$(value id)" dst | grep -Ec '^\{"type":"discarded",.*"freed":[0-9]+\}$')" -eq 1 ]
	clean dst
}

@test "temporary files of a killed session are not listed, and swept by the next one" {
	random_file small 4000000
	echo x >x
	begin_slowly small 1M
	await temp_there
	kill_all
	silent dst
	temp_there
	ls dst/.haul/*.session
	: >dst/.haul/plain000-0123456789abcdef.part
	: >dst/.haul/plain000-0123456789abcdee.j
	: >dst/.haul/plain000-0123456789abcded.j.pid
	deliver 0 dst x
	clean dst
	[ "$(ls -A dst)" = x ]
}

temp_there() {
	[ -n "$(find dst/.haul -name '*-0.part' -size +0 2>/dev/null)" ]
}

@test "a session that begins leaves another one's files alone" {
	random_file small 4000000
	random_file big $((16 << 20))
	mkdir many
	local i
	for i in {1..20}; do
		echo "$i" >"many/$i"
	done
	begin_slowly small 2M
	await temp_there
	"$HAUL" send many big "$RECV_ADDR"
	alive "$SEND_PID"
	reap "$SEND_PID" 0
	same_bytes small dst/small
	same_bytes big dst/big
	same_tree many dst/many
	stop "$RECV_PID" 143
	clean dst
}
