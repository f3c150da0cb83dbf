# Helpers of the bats suites; `load helpers` (tests/fault: `load ../e2e/helpers`).
#
# A test runs in $BATS_TEST_TMPDIR. Whatever `start` began is killed in teardown; a suite with a teardown of
# its own calls stop_all there. Conditions are polled, every server binds port 0, nothing backgrounds `run`.
# shellcheck shell=bash disable=SC2034 # what the functions leave in variables is for the tests

root=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
HAUL=$(realpath -m "${HAUL:-$root/build/release/haul}")
TOOLS=$(realpath -m "${TOOLS:-$root/build/release/tests/tools}")
CHUNK=${CHUNK:-1048576}           # the default --chunk, for sizes around it
AWAIT_SECONDS=${AWAIT_SECONDS:-30} # how long a condition may take
export HAUL TOOLS LC_ALL=C
unset HAUL_OPTIONS HAUL_KEY_FILE HAUL_RSH NO_COLOR NOTIFY_SOCKET LISTEN_PID LISTEN_FDS

setup() {
	cd "$BATS_TEST_TMPDIR" || return
}

teardown() {
	stop_all
}

fail() {
	printf '%s\n' "$@" >&2
	return 1
}

# ---- processes

started=()

# start NAME CMD...: runs CMD in the background with NAME.out, NAME.err and standard input from $STDIN or
# /dev/null; PID is its process.
start() {
	local name=$1
	shift
	"$@" >"$name.out" 2>"$name.err" 3>&- <"${STDIN:-/dev/null}" &
	PID=$!
	started+=("$PID")
}

# start_on NAME PORT_FILE CMD...: start, and wait until PORT_FILE is there; ADDR is what it holds.
start_on() {
	local name=$1 port=$2
	shift 2
	rm -f "$port"
	start "$name" "$@"
	await_or_death "$PID" test -s "$port" || fail "$name did not listen" "$(tail -n 20 "$name.err")" || return
	ADDR=$(<"$port")
}

# start_recv ARGS...: `haul recv` on a port of its own; RECV_PID, RECV_ADDR, and recv.out, recv.err, recv.json.
# A second receiver in one test: RECV_NAME=other start_recv ...
start_recv() {
	local name=${RECV_NAME:-recv}
	start_on "$name" "$name.port" "$HAUL" recv --listen=127.0.0.1:0 --port-file="$name.port" \
		--json="$name.json" "$@" || return
	[[ $ADDR == *:* ]] || ADDR=unix:$ADDR
	RECV_PID=$PID RECV_ADDR=$ADDR
}

# start_chaos ARGS...: the fault proxy before $RECV_ADDR (unless ARGS hold --to); CHAOS_PID, CHAOS_ADDR, and its
# log in chaos.json.
start_chaos() {
	local name=${CHAOS_NAME:-chaos}
	start_on "$name" "$name.port" "$TOOLS/chaos" --to "${RECV_ADDR:-}" --port-file "$name.port" \
		--log "$name.json" "$@" || return
	CHAOS_PID=$PID CHAOS_ADDR=$ADDR
}

alive() {
	kill -0 "$1" 2>/dev/null
}

gone() {
	! alive "$1"
}

# reap PID [STATUS]: waits for its end (bounded); REAPED is its exit status, and must be STATUS if given.
reap() {
	await gone "$1" || return
	REAPED=0
	wait "$1" || REAPED=$?
	forget "$1"
	[ -z "${2-}" ] || [ "$REAPED" -eq "$2" ] || fail "process $1: exit $REAPED, want $2"
}

# stop PID [STATUS]: SIGTERM, then reap.
stop() {
	kill -TERM "$1" 2>/dev/null
	reap "$@"
}

forget() {
	local p rest=()
	for p in "${started[@]}"; do
		[ "$p" = "$1" ] || rest+=("$p")
	done
	started=("${rest[@]}")
}

# Kills what still runs; after a failed test shows what the processes said.
stop_all() {
	local p f
	for p in "${started[@]}"; do
		kill -KILL "$p" 2>/dev/null
		wait "$p" 2>/dev/null
	done
	started=()
	[ -z "${BATS_TEST_COMPLETED-}" ] || return 0
	for f in *.err *.json; do
		[ ! -s "$f" ] || printf -- '--- %s\n%s\n' "$f" "$(tail -n 15 "$f")"
	done
	return 0
}

# ---- waiting

# await CMD...: polls CMD until it succeeds, for AWAIT_SECONDS at most.
await() {
	local end=$((SECONDS + AWAIT_SECONDS))
	until "$@"; do
		[ "$SECONDS" -le "$end" ] || fail "gave up after $AWAIT_SECONDS s waiting for: $*" || return
		sleep 0.02
	done
}

dead_or() {
	local pid=$1
	shift
	"$@" || gone "$pid"
}

# await_or_death PID CMD...: like await, but fails as soon as the process is gone.
await_or_death() {
	local pid=$1
	shift
	await dead_or "$pid" "$@" && "$@"
}

# size_over FILE N: a condition for await
size_over() {
	[ -e "$1" ] && [ "$(stat -c %s "$1")" -gt "$2" ]
}

# ---- JSON lines

# json_count FILE TYPE [REGEX]: events of this type (whose line matches); 0 without a file
json_count() {
	[ -e "$1" ] || { echo 0 && return; }
	grep "\"type\":\"$2\"" "$1" | grep -Ec -- "${3:-}" || true
}

# json_has FILE TYPE [REGEX]: a condition for await
json_has() {
	[ "$(json_count "$@")" -gt 0 ]
}

# json_field FILE TYPE FIELD: its value in the last event of this type; strings lose their quotes
json_field() {
	local value
	value=$(grep "\"type\":\"$2\"" "$1" | tail -n 1 |
		grep -Eo "\"$3\":(\"([^\"\\\\]|\\\\.)*\"|[^][\",{}]+)" | head -n 1)
	[ -n "$value" ] || fail "$1: no field $3 in a $2 event" || return
	value=${value#"\"$3\":"}
	value=${value#\"}
	printf '%s\n' "${value%\"}"
}

# ---- trees

# random_file PATH SIZE
random_file() {
	head -c "$2" /dev/urandom >"$1"
}

odd_names() {
	local long
	printf -v long '%0255d' 0
	# shellcheck disable=SC2016 # a dollar is an odd name
	printf '%s\0' '-rf' '--help' ' lead' 'trail ' 'two  blanks' $'new\nline' $'tab\there' $'bell\a\e[31m' '*' '?' \
		'back\slash' "it's" 'quo"te' '$HOME' 'semi;colon' 'a:b' '#hash' '~' '.hidden' '...' '%s%n' $'caf\xc3\xa9' \
		$'cafe\xcc\x81' $'\xe2\x98\x83' $'\xf0\x9f\x9a\x9a' $'\xff\xfe bad' $'\xc3(' $'\xed\xa0\x80' \
		$'\xe2\x80\xaebidi' "$long"
}

# make_tree DIR: names, sizes, modes, times, links and holes that have broken copiers before
make_tree() {
	mkdir -p "$1" || return
	(
		cd "$1" || exit
		set -e
		make_names
		make_sizes
		make_modes
		make_links
		make_times
	)
}

make_names() {
	local name
	mkdir names
	while IFS= read -r -d '' name; do
		printf '%s' "$name" >"names/$name"
	done < <(odd_names)
	mkdir -p $'dirs/new\nline/\xff' 'dirs/-d' 'dirs/ ' empty 'dirs/empty too' deep/a/b/c/d/e/f/g/h
	echo deep >deep/a/b/c/d/e/f/g/h/file
	echo odd >$'dirs/new\nline/\xff/-n'
}

make_sizes() {
	local size
	mkdir sizes
	for size in 0 1 $((CHUNK - 1)) "$CHUNK" $((CHUNK + 1)) $((3 << 20)); do
		random_file "sizes/$size" "$size"
	done
	yes 'text compresses' | head -c 500000 >sizes/text
	mkdir sparse
	truncate -s $((8 << 20)) sparse/hole
	random_file sparse/middle 70000
	truncate -s $((5 << 20)) sparse/middle
	printf end | dd of=sparse/end bs=1 seek=$((6 << 20)) status=none
}

make_modes() {
	local mode
	mkdir modes
	for mode in 0400 0444 0600 0640 0755 0711; do
		echo "$mode" >"modes/$mode"
		chmod "$mode" "modes/$mode"
	done
	for mode in 0500 0700 0755 0711; do
		mkdir -m "$mode" "modes/d$mode"
	done
}

make_links() {
	mkdir links
	ln -s ../sizes/1 links/relative
	ln -s /etc/hostname links/absolute
	ln -s nowhere links/dangling
	ln -s loop links/loop
	ln -s ../dirs links/directory
	ln -s $'tar\nget \xff' $'links/\xfe name'
	ln -s "$(printf '%01000d' 0)" links/long
}

# Last, and directories deepest first: what is made inside changes the time of a directory.
make_times() {
	local n=100000000 path when
	while IFS= read -r -d '' path; do
		n=$(((n * 7 + 12345) % 1000000000))
		printf -v when '@%d.%09d' $((981173106 + n % 600000000)) "$n"
		touch -h -d "$when" -- "$path"
	done < <(find . -depth -mindepth 1 -print0)
	touch -d '1969-12-31 23:59:58.5 UTC' sizes/1
	touch -d '2100-01-01 00:00:00.000000001 UTC' sizes/0
}

# Everything but the content, one NUL-terminated record an entry: path, type, mode, mtime, target; files: size.
tree_meta() {
	find "$1" -mindepth 1 \( -type f -printf '%P\t%y\t%m\t%T@\t%l\t%s\0' \) -o -printf '%P\t%y\t%m\t%T@\t%l\0' |
		sort -z
}

# same_tree A B: content, type, mode, mtime to the nanosecond and symlink targets are equal; shows what is not.
same_tree() {
	[ -d "$1" ] && [ -d "$2" ] || fail "same_tree: $1 and $2 are not both directories" || return
	local meta differ=0
	meta=$(mktemp -d "$BATS_TEST_TMPDIR/meta.XXXXXX")
	tree_meta "$1" >"$meta/a"
	tree_meta "$2" >"$meta/b"
	cmp -s "$meta/a" "$meta/b" || {
		differ=1
		diff <(tr '\n\0' '?\n' <"$meta/a") <(tr '\n\0' '?\n' <"$meta/b") | cat -v | head -n 40 >&2
	}
	diff -r --no-dereference "$1" "$2" >"$meta/content" 2>&1 || {
		differ=1
		cat -v "$meta/content" | head -n 40 >&2
	}
	rm -rf "$meta"
	return "$differ"
}

# same_bytes A B
same_bytes() {
	cmp -- "$1" "$2" >&2
}

# ---- sessions

# deliver STATUS DIR ARGS...: `haul send ARGS...` to a receiver that serves one session into DIR with the words of
# $RECV_ARGS; the sender must exit with STATUS, or anything if that is -. SENT is its exit status, REAPED the
# receiver's; send.json, send.out, send.err, recv.json, recv.out, recv.err.
deliver() {
	local status=$1 dir=$2
	shift 2
	# shellcheck disable=SC2086 # words
	start_recv --once ${RECV_ARGS-} "$dir" || return
	SENT=0
	"$HAUL" send --connect=5s --reconnect=5s --json=send.json "$@" "$RECV_ADDR" >send.out 2>send.err </dev/null || SENT=$?
	reap "$RECV_PID" || return
	[ "$status" = - ] || [ "$SENT" -eq "$status" ] || fail "haul send: exit $SENT, want $status" "$(<send.err)"
}

# one_line FILE [REGEX]: FILE is one line, begins with "haul: " and matches
one_line() {
	if [ "$(wc -l <"$1")" -ne 1 ] || [ "$(head -c 6 "$1")" != 'haul: ' ] || ! grep -Eq -- "${2-}" "$1"; then
		fail "$1 is not one line of haul's that matches '${2-}':" "$(<"$1")"
	fi
}

# not CMD...: CMD fails. (Before a command, ! keeps a test from failing.)
not() {
	! "$@"
}

# empty FILE...: all of them are there and hold nothing
empty() {
	local f
	for f; do
		[ -e "$f" ] && [ ! -s "$f" ] || fail "$f should be empty:" "$(<"$f")" || return
	done
}

# done_is FILE FIELD=VALUE...: members of the last `done`
done_is() {
	local file=$1 pair value
	shift
	for pair; do
		value=$(json_field "$file" "done" "${pair%%=*}") || return
		[ "$value" = "${pair#*=}" ] || fail "$file: done.${pair%%=*} is $value, want ${pair#*=}" || return
	done
}

# clean DIR: no state is left there, only what was sent
clean() {
	[ ! -e "$1/.haul" ] || fail "$1/.haul is left:" "$(ls -la "$1/.haul")"
}

# powerless CMD...: the words of $POWERLESS before a command take root's powers over files away
if [ "$(id -u)" -eq 0 ]; then
	POWERLESS='setpriv --bounding-set=-all --inh-caps=-all'
else
	POWERLESS=
fi
