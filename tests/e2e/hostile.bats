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

# start_victim ARGS...: a receiver that loses patience soon
start_victim() {
	start_recv --idle=1s --credit-wait=1s --reconnect=200ms --connect=5s "$@"
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
	timeout 30 "$HAUL" send -z none --idle=1s --credit-wait=1s --reconnect=300ms --connect=1s --retry-delay=10ms..50ms \
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
	for c in unknown twice short action dir done; do
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
	for c in unasked untold; do
		meets "take-need-$c" 12 'NEED for a chunk that was not kept'
	done
	meets take-summary-early 12 'SUMMARY while open'
	meets take-summary-more 12 'committed another number of files'
	meets take-begin 12 'BEGIN while open'
	meets take-frame 12 'unknown frame type'
}

@test "24000 files that all have to be sent again: what waits for that is bounded" {
	mkdir src
	(cd src && seq 24000 | split -a 4 -l 1 -)
	meets take-result-14 14 '24000 failed, .* 0 committed'
}
