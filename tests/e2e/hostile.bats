# Peers that mean no good (tests/tools/peer): the exit status, one line that says why, nothing outside DIR, no
# wrong content under a final name, and the receiver serves the next one.
# shellcheck disable=SC2016 # $0 is for bash -c

load helpers

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	mkdir outside dst
	echo outside >outside/file
	echo there >dst/there
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
