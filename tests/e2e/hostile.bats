# Peers that mean no good (tests/tools/peer): the exit status, one line that says why, nothing outside DIR, no
# wrong content under a final name, and the receiver serves the next one.
# shellcheck disable=SC2016 # $0 is for bash -c

load helpers

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	mkdir outside dst
	echo outside >outside/file
	printf there >dst/there
	touch -d @1000000000 dst/there # as the tool would send it: it is skipped
}

# start_victim ARGS...: a receiver that loses patience soon; $IDLE: how soon
start_victim() {
	start_recv --idle="${IDLE:-5s}" --credit-wait="${IDLE:-5s}" --reconnect=200ms --connect=5s "$@"
}

sessions() {
	[ "$(json_count recv.json 'done')" -ge "$1" ]
}

# suffers CASE STATUS REGEX: the session with this peer ends with STATUS, and one line on standard error says why
suffers() {
	local n lines status
	n=$(json_count recv.json 'done')
	lines=$(wc -l <recv.err)
	timeout 40 "$TOOLS/peer" dial "$RECV_ADDR" "$1" >"$1.said" 2>&1 || fail "peer $1: exit $?" "$(<"$1.said")" || return
	await_or_death "$RECV_PID" sessions $((n + 1)) || fail "$1: no end" "$(<recv.err)" || return
	status=$(json_field recv.json 'done' exit)
	[ "$status" -eq "$2" ] || fail "$1: exit $status, want $2" "$(tail -n +$((lines + 1)) recv.err)" "$(<"$1.said")" || return
	tail -n +$((lines + 1)) recv.err >"$1.err"
	if [ "$2" -eq 0 ]; then
		empty "$1.err"
	else
		one_line "$1.err" "$3"
	fi || fail "$1"
}

# unharmed: nothing outside DIR, no final name but those of honest content, and the next sender is served
unharmed() {
	local f
	[ "$(<outside/file)" = outside ]
	[ "$(find outside | wc -l)" -eq 2 ] || fail "outside: $(find outside)" || return
	[ "$(<dst/there)" = there ]
	while IFS= read -r -d '' f; do
		case $f in
		dst/there) ;;
		*) [ "$(<"$f")" = hello ] || fail "$f holds $(stat -c %s "$f") bytes of something else" || return ;;
		esac
	done < <(find dst -name .haul -prune -o -type f -print0)
	echo hello >next
	"$HAUL" send --connect=5s next "$RECV_ADDR" || fail "the next sender: exit $?" || return
	[ "$(<dst/next)" = hello ]
	not grep -Eq 'Sanitizer|runtime error' recv.err
}

@test "names that are refused: nothing is made, inside or outside" {
	local name
	start_victim dst
	for name in up up-below up-inside up-last absolute empty dot dot-inside dot-first double-slash trailing-slash nul \
		state state-below component-256 depth-257; do
		suffers "name-$name" 23 '1 failed, 0 committed'
		grep -q '^WANT 0 2/4/22$' "name-$name.said"
	done
	for name in up state empty; do
		suffers "kinds-$name" 23 '5 failed, 0 committed'
	done
	suffers name-4097 12 'malformed ENTRY'
	[ "$(find dst -mindepth 1 -not -name there)" = '' ]
	unharmed
}

@test "an end for no reason, for a signal, with escapes: no success, and no state of the terminal" {
	start_victim dst
	suffers end-cancel-0 12 'the peer: all is well'
	suffers end-cancel-128 12 'the peer: a signal'
	suffers end-cancel-escape 4 'evil.x1b'
	unharmed
}

@test "content that does not belong: unknown, twice, beyond the end, behind the END, in the wrong wrapping" {
	local c
	head -c 9437184 /dev/zero >dst/old
	cp dst/old old
	start_victim dst
	for c in unknown too-long beyond overflow for-directory for-skipped; do
		suffers "data-$c" 12 'DATA for a file that is not wanted, or beyond its size'
	done
	for c in twice misaligned short-chunk; do
		suffers "data-$c" 12 'DATA for a chunk that is there or is none'
	done
	suffers data-stored-longer 12 'another size than announced'
	suffers data-cost 12 'malformed DATA'
	suffers data-codec 12 'an unknown codec'
	for c in beyond overflow empty stream; do
		suffers "hole-$c" 12 'HOLE in a file that is not wanted, or beyond its size'
	done
	suffers hole-part 12 'ends inside a chunk'
	for c in nothing overflow; do
		suffers "keep-$c" 12 'KEEP for chunks that were not offered'
	done
	suffers end-then-data 12 'DATA for a (chunk|file)'
	suffers end-twice 12 'END of a file that is not open'
	suffers untold-end 12 'END of a file that is not open'
	suffers untold-pack 12 'a PACK carries a file that is not wanted'
	for c in same-twice again after-data unknown large stream; do
		suffers "pack-$c" 12 'a PACK carries a file that is not wanted'
	done
	suffers data-after-pack 12 '(DATA for|a PACK carries) a file that is not wanted' # whichever worker is first
	suffers pack-none 12 'malformed PACK'
	suffers pack-groups 12 'a PACK is too short'
	suffers pack-short 12 'a PACK is too short'
	suffers pack-size 12 'a PACK is too short'
	suffers pack-long 12 'bytes behind the contents of a PACK'
	same_bytes old dst/old
	rm dst/old
	unharmed
}

@test "content that is not what its digest says is not committed" {
	local c
	start_victim dst
	for c in data-overlap data-digest end-short end-digest end-empty pack-digest; do
		suffers "$c" 23 '1 failed, 0 committed'
		grep -q '^RESULT 0=14/0$' "$c.said"
	done
	suffers pack-honest 0
	unharmed
}

@test "an end before all that was wanted has come is no success" {
	start_victim dst
	suffers finish-early 12 'FINISH while files are wanted that have not come'
	suffers finish-open 12 'FINISH while files are wanted that have not come'
	unharmed
}

@test "an end that counts other entries or files than came is no success" {
	local c
	start_victim dst
	for c in more-entries fewer-entries; do
		suffers "finish-$c" 12 'FINISH counts other entries than were offered'
	done
	for c in more-files fewer-files; do
		suffers "finish-$c" 12 'FINISH counts other files than were offered'
	done
	for c in short long; do
		suffers "finish-$c" 12 'malformed FINISH'
	done
	suffers finish-counted 0
	unharmed
}

@test "zstd frames that are not one plain frame of the announced size: unpacked never, committed never" {
	local c
	start_victim dst
	for c in bomb bomb-unsized unsized two; do
		suffers "zstd-$c" 12 'another size than announced'
	done
	suffers zstd-skippable 12 'a skippable zstd frame'
	suffers zstd-skippable-behind 12 'bytes behind a zstd frame'
	suffers zstd-trailing 12 'bytes behind a zstd frame'
	suffers zstd-cut 12 'bytes behind a zstd frame'
	suffers zstd-dictionary 12 'wants a dictionary'
	for c in magic empty tiny; do
		suffers "zstd-$c" 12 'not a zstd frame'
	done
	unharmed
	suffers zstd-honest 0
	[ "$(stat -c %s dst/zstd-honest)" -eq 4096 ]
}

# meets CASE STATUS REGEX SEND_ARGS...: `haul send` to this peer ends with STATUS and one line that says why
meets() {
	local status=0
	rm -f "$1.said"
	start "$1.peer" bash -c 'exec "$0" listen 127.0.0.1:0 "$1" >"$1.said" 2>&1' "$TOOLS/peer" "$1"
	await test -s "$1.said" || return
	timeout 30 "$HAUL" send -z none --idle="${IDLE:-5s}" --credit-wait="${IDLE:-5s}" --reconnect=300ms --connect=1s --retry-delay=10ms..50ms \
		--json=send.json "${@:4}" src "$(head -n 1 "$1.said")" >send.out 2>"$1.err" </dev/null || status=$?
	kill "$PID"
	reap "$PID"
	[ "$status" -eq "$2" ] || fail "$1: exit $status, want $2" "$(<"$1.err")" "$(<"$1.said")" || return
	if [ "$2" -eq 0 ]; then
		empty "$1.err"
	else
		one_line "$1.err" "$3"
	fi || fail "$1"
}

sources() {
	local i
	mkdir -p src/dir
	for i in 1 2 3; do
		echo "hello$i" >"src/f$i"
	done
	random_file src/large 3000000
}

@test "a receiver that answers what was not asked, or before it could know: no success, and nothing is sent on" {
	local c
	sources
	meets take-honest 0
	for c in unknown twice short action dir 'done'; do
		meets "take-want-$c" 12 'a verdict on an entry that was not offered'
	done
	meets take-want-long 12 'bytes behind the verdicts'
	meets take-want-empty 12 'malformed WANT'
	meets take-want-refused-0 23 '8 failed, .* 0 committed'
	for c in unknown early unwanted twice; do
		meets "take-result-$c" 12 'a result for a file that is not open'
	done
	meets take-result-empty 12 'malformed RESULT'
	meets take-result-14 14 '4 failed, .* 0 committed'
	for c in unasked twice many gap; do
		meets "take-have-$c" 12 'HAVE for a file or chunk that was not asked about'
	done
	meets take-have-empty 12 'malformed HAVE'
	meets take-have-gap 12 'a file to be compared in a dry run' --dry-run
	for c in unasked untold; do
		meets "take-need-$c" 12 'NEED for a chunk that was not kept'
	done
	meets take-need-again 12 'NEED for a chunk that was not kept, or once more'
	meets take-summary-early 12 'SUMMARY while open'
	meets take-summary-more 12 'committed another number of files'
	meets take-begin 12 'BEGIN while open'
	meets take-frame 12 'unknown frame type'
}

@test "18000 files that all have to be sent again: what waits for that is bounded" {
	mkdir src
	(cd src && seq 18000 | split -a 4 -l 1 -)
	meets take-result-14 14 '18000 failed, .* 0 committed'
}

@test "a listener with odd answers, and refusals for every reason" {
	local c pair
	sources
	for pair in 0:12 1:1 2:2 4:4 5:5 12:12 13:13 75:75 77:12 128:12 256:10 257:12 258:12 65535:12; do
		meets "refuse-${pair%:*}" "${pair#*:}" ''
	done
	meets answer-received 12 'an offset that was never sent'
	meets answer-inside 12 'an offset inside a message'
	IDLE=500ms meets answer-no-credit 30 'idle|credit-wait'
	meets answer-minor 2 'a version that was not offered'
	meets answer-feature 2 'a required feature is missing'
	meets answer-body 12 'only frames that are too small'
	meets answer-credit 12 'takes less before WELCOME than is sent'
	meets answer-twice 12 'after the handshake'
	meets raw-http 12 'does not speak haul'
	meets raw-random 12 'does not speak haul'
	meets raw-close 35 'could not connect'
	meets raw-half 35 'could not connect'
}

@test "a receiver that ends in the middle, goes silent, or says why it does: its status, never success" {
	local c
	sources
	meets take-cancel-0 12 'all is well'
	meets take-cancel-128 12 'a signal'
	meets take-cancel-escape 4 'evil.x1b'
	meets take-stop-0 12 'no reason'
	meets take-stop-13 13 'full'
	IDLE=500ms meets take-silent 30 'no progress'
	meets take-ack-beyond 12 'beyond what was sent'
	meets take-ack-stale 0
	meets take-ack-grants 0
	meets take-pings 0
	IDLE=500ms meets take-excused 30 'no progress'
	# what comes back after an end knows nothing of what it has acknowledged
	for c in fin close summary-none cancel-goaway; do
		meets "take-$c" 16 'no longer holds the offset'
	done
}

@test "links that lead out of DIR: nothing goes through them" {
	local c
	start_victim dst
	for c in absolute up dir; do
		suffers "link-$c" 23 '2 failed, 1 committed'
		[ ! -L dst/link ]
		rm dst/link
	done
	[ ! -e dst/sub ]
	unharmed
}

@test "entries that cannot be, and entries that are odd" {
	local c
	start_victim dst
	for c in type-0 fifo; do
		suffers "entry-$c" 12 'an entry of an unknown type'
	done
	suffers entry-nsec 12 'an impossible time'
	suffers entry-size-2-63 12 'an impossible size'
	suffers entry-shared 12 'malformed ENTRY'
	for c in target-nul target-empty; do
		suffers "entry-$c" 23 '1 failed, 0 committed'
	done
	suffers entry-sparse-2-63 13 'no space left'
	suffers entry-size-2-62 13 'no space'
	for c in setuid mode before-1970 first-second; do
		suffers "entry-$c" 0
	done
	[ "$(stat -c %a dst/entry-setuid)" = 777 ]
	[ "$(stat -c %a dst/entry-mode)" = 777 ]
	[ "$(stat -c %Y dst/entry-before-1970)" = -1000000 ]
	suffers offer-none 12 'malformed OFFER'
	for c in ids-twice ids-skipped 600 last-id; do
		suffers "offer-$c" 12 'malformed OFFER'
	done
	suffers offer-too-few 12 'malformed ENTRY'
	suffers offer-too-many 12 'bytes behind the entries'
	for c in newline escape c1 bidi invalid dots dash state-like component-255 depth-256; do
		suffers "name-$c" 0
	done
	unharmed
}

@test "frames that cannot be, and frames where they do not belong" {
	local pair
	start_victim dst
	for pair in 'unknown:unknown frame type' 'cost-max:costs more than a chunk' 'cost-0:costs nothing' \
		'cost-low:longer than its cost allows' 'body-length:not as long as its head says' \
		'control-offset:a control frame has a cost' 'control-long:a control frame is too long' \
		'ack-short:malformed ACK' 'attach:after the handshake' 'welcome:after the handshake' \
		'gap:a message is missing' 'again-longer:a repeated message is longer'; do
		suffers "frame-${pair%%:*}" 12 "${pair#*:}"
	done
	for pair in too-long length-max length-short length-0 tag; do # damage: replay might have cured it
		suffers "frame-$pair" 10 'link lost'
	done
	suffers ack-beyond 12 'beyond what was sent'
	suffers ack-durable 12 'durable beyond'
	suffers fin-sent 12 'FIN does not agree'
	suffers fin-received 12 'FIN does not agree'
	for pair in offer data end flush finish result; do
		suffers "before-begin-$pair" 12 "${pair^^} while init"
	done
	for pair in begin want have need result stop summary; do
		suffers "open-$pair" 12 "${pair^^} while open"
	done
	for pair in offer data finish; do
		suffers "finished-$pair" 12 "${pair^^} while (sender-)?closed"
	done
	for pair in chunk-1 chunk-max chunk-0 kind compare; do
		suffers "begin-$pair" 12 'malformed BEGIN'
	done
	unharmed
}

@test "a sender that stops in the middle: no final name, and what it left is no harm to the next" {
	local c
	IDLE=1s start_victim dst
	for c in close reset fin fin-and-more; do
		suffers "end-$c" 10 'link lost'
	done
	suffers end-silent 30 'no progress'
	suffers silent 30 'no progress'
	[ -z "$(find dst -name 'end-*' -not -path 'dst/.haul/*')" ]
	unharmed
}

# most_kb: the most memory any session of the receiver has had so far
most_kb() {
	local pid kb most=0
	for pid in $(pgrep -P "$RECV_PID"); do
		kb=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null)
		[ "${kb:-0}" -le "$most" ] || most=$kb
	done
	echo "$most"
}

# floods CASE STATUS REGEX KB: as suffers, and no session ever has more memory than KB
floods() {
	local n lines kb most=0
	n=$(json_count recv.json 'done')
	lines=$(wc -l <recv.err)
	start "$1.said" "$TOOLS/peer" dial "$RECV_ADDR" "$1"
	while alive "$PID" || not sessions $((n + 1)); do
		alive "$RECV_PID"
		kb=$(most_kb)
		[ "$kb" -le "$most" ] || most=$kb
		sleep 0.02
	done
	reap "$PID" 0
	tail -n +$((lines + 1)) recv.err >"$1.err"
	[ "$(json_field recv.json 'done' exit)" -eq "$2" ] || fail "$1: $(<"$1.err")" || return
	one_line "$1.err" "$3" || return
	[ "$most" -gt 0 ]
	[ "$HAUL_PROFILE" != release ] || [ "$most" -lt "$4" ] || fail "$1: a session took $most kB" || return
}

@test "floods: beyond the credit, bombs, pings, offers, large files: memory is bounded" {
	start_victim --window=64k dst
	floods flood-credit 12 'exceeds the credit' 100000
	stop "$RECV_PID" 143
	IDLE=1s start_victim dst
	floods flood-bombs 10 'link lost' 250000
	floods flood-pings 30 'no progress' 100000
	suffers flood-flushes 12 'FLUSH after FLUSH'
	suffers same-data 12 'DATA for a chunk that is there'
	floods flood-offers 12 'too many entries are open' 250000
	floods flood-directories 30 'no progress' 250000
	floods flood-large 10 'link lost' 250000
	floods flood-maps 10 'link lost' 250000
	unharmed
}

@test "openings that are none: dropped, refused by name, and never a session" {
	local c
	start_victim dst
	for c in raw-http raw-random raw-close opening-major opening-mode opening-body opening-credit opening-tag \
		opening-record-tag opening-record-length opening-record-type opening-role opening-fresh subdir-nul; do
		"$TOOLS/peer" dial "$RECV_ADDR" "$c" >"$c.said"
		not grep -q WELCOME "$c.said"
	done
	for c in 'opening-minor:2 no common protocol version' 'opening-feature:2 a required feature is missing' \
		'opening-same-role:4 this side only receives' 'opening-resume:256 no such session'; do
		"$TOOLS/peer" dial "$RECV_ADDR" "${c%%:*}" >"${c%%:*}.said"
		grep -q "^REFUSE ${c#*:}" "${c%%:*}.said"
	done
	[ "$(json_count recv.json 'done')" -eq 0 ]
	for c in up up-below absolute state; do
		suffers "subdir-$c" 4 'subdirectory refused'
	done
	[ -z "$(find dst -mindepth 1 -not -name there)" ]
	unharmed
}

@test "an opening that does not come, or a byte at a time, is cut by an absolute deadline" {
	local c pids=()
	start_victim dst
	for c in raw-nothing raw-half raw-trickle; do
		start "$c" "$TOOLS/peer" dial "$RECV_ADDR" "$c"
		pids+=("$PID")
	done
	for c in "${pids[@]}"; do
		reap "$c" 0
	done
	grep -q CLOSED raw-nothing.out
	grep -q CLOSED raw-half.out
	grep -Eq 'CUT after [567] s' raw-trickle.out
	unharmed
}

descriptors() {
	find "/proc/$RECV_PID/fd" -type l | wc -l
}

resident_kb() {
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$RECV_PID/status"
}

@test "1000 silent connections, 1000 with garbage: an honest sender gets in, descriptors and memory stay" {
	local before kb
	start_victim dst
	unharmed
	before=$(descriptors)
	kb=$(resident_kb)
	start crowd bash -c 'for i in {1..1000}; do exec {fd}<>/dev/tcp/${0%:*}/${0##*:} || exit 1; done 2>/dev/null
		echo >ready
		exec tail -f /dev/null' "$RECV_ADDR"
	await_or_death "$PID" test -e ready
	rm dst/next
	unharmed
	kill -KILL "$PID"
	reap "$PID"
	head -c 65536 /dev/urandom >garbage
	bash -c 'for i in {1..1000}; do
			exec 7<>/dev/tcp/${0%:*}/${0##*:} || exit 1
			head -c $((i * 5)) garbage >&7
			exec 7>&-
		done 2>/dev/null' "$RECV_ADDR"
	rm dst/next
	unharmed
	await bash -c '[ "$(ls "/proc/$0/fd" | wc -l)" -le "$1" ]' "$RECV_PID" "$before"
	[ "$HAUL_PROFILE" != release ] || [ "$(resident_kb)" -lt $((kb + 1000)) ]
	empty recv.err
}

@test "32 descriptors, and strangers on every place: an honest sender gets in" {
	ulimit -S -n 32
	start_victim dst
	ulimit -S -n "$(ulimit -H -n)"
	start crowd bash -c 'for i in {1..100}; do exec {fd}<>/dev/tcp/${0%:*}/${0##*:} || exit 1; done 2>/dev/null
		echo >ready
		exec tail -f /dev/null' "$RECV_ADDR"
	await_or_death "$PID" test -e ready
	unharmed
	mkdir many
	seq 300 | (cd many && split -l 1 -)
	"$HAUL" send many "$RECV_ADDR"
	same_tree many dst/many
	empty recv.err
}

@test "more large files than descriptors, as the user set them and as the system did: all arrive" {
	local i
	mkdir large
	for ((i = 0; i < 100; i++)); do
		truncate -s 9M "large/$i"
		printf '%s' "$i" | dd of="large/$i" conv=notrunc status=none
	done
	for i in -S -SH; do
		rm -rf dst/large
		start recv bash -c 'ulimit "$1" -n 128; exec "$0" recv --once --listen=unix:sock dst' "$HAUL" "$i"
		"$HAUL" send --connect=5s large unix:sock
		reap "$PID" 0
		diff -r large dst/large
	done
}

# single CASE STATUS REGEX ARGS...: `haul recv ARGS... --once` and this peer: the receiver's end
single() {
	start_recv --once --reconnect=200ms "${@:4}"
	"$TOOLS/peer" dial "$RECV_ADDR" "$1" >"$1.said"
	reap "$RECV_PID" "$2" || fail "$1: $(<recv.err)" || return
	[ "$2" -eq 0 ] || one_line recv.err "$3" || fail "$1"
}

@test "a single file, to a name and to a consumer: only what is complete arrives as such" {
	local c out
	for out in -oname --to-cmd='cat >consumed'; do
		for c in 'data-unknown 12 DATA.for.a.file' 'data-digest 23 1.failed' 'end-digest 23 1.failed' \
			'end-twice 12 END.of.a.file' 'end-then-data 12 DATA.for.a' 'finish-open 12 FINISH.while' \
			'hole-stream 12 HOLE.in.a.file' 'pack-stream 12 PACK.carries' 'zstd-unsized 12 another.size' \
			'end-close 10 link.lost'; do
			# shellcheck disable=SC2086 # words
			single $c "$out"
			[ ! -e name ]
		done
		single honest 0 '' "$out"
		[ ! -e name ] || mv name named
	done
	[ "$(<named)" = hello ]
	[ "$(<consumed)" = hello ]
}
