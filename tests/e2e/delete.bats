#!/usr/bin/env bats
# --delete: the receiver becomes what the source is, and nothing that was not meant goes.
# shellcheck disable=SC2016,SC2030,SC2031,SC2317 # $0 is for bash -c; a test is a subshell; await calls functions

load helpers

# snapshot DIR: whatever could change below it
snapshot() {
	find "$1" -printf '%p\t%y\t%m\t%T@\t%s\t%l\n' | sort
}

# many DIR FIRST LAST: so many small files
many() {
	local i
	mkdir -p "$1"
	for ((i = $2; i <= $3; i++)); do
		echo "$i" >"$1/$i"
	done
}

# strays DIR: of every kind, in a tree that was sent
strays() {
	mkdir -p "$1/old/a/b" "$1/old/closed/in" "$1/old/.hidden"
	echo x >"$1/old/a/b/file"
	echo x >"$1/old/closed/in/file"
	echo x >"$1/old/.hidden/file"
	echo x >"$1/"$'new\nline'
	ln -s "$PWD/outside" "$1/link"
	ln -s "$PWD/outside" "$1/old/link"
	ln -s nowhere "$1/old/dangling"
	mkfifo "$1/fifo"
	chmod 0500 "$1/old/closed/in"
	chmod 0000 "$1/old/closed"
}

outside() {
	mkdir outside
	echo outside >outside/file
	snapshot outside >outside.before
}

untouched() {
	snapshot outside | diff outside.before -
}

# guarded REGEX: the last run was held up by the guard, says why in one line, and nothing was deleted
guarded() {
	one_line send.err "delete guard: $1"
	[ "$(json_field send.json 'done' deleted)" -eq 0 ]
	[ "$(json_count send.json file '"state":"deleted"')" -eq 0 ]
}

@test "what is not in the source goes: every kind of it, links themselves only" {
	make_tree src
	outside
	deliver 0 dst src/.
	strays dst
	deliver 0 dst --delete src/.
	same_tree src dst
	clean dst
	untouched
	done_is send.json files=0 deleted=14 failed=0 durable=true
	done_is recv.json deleted=14
	[ "$(json_count send.json file '"state":"deleted"')" -eq 14 ]
	[ "$(json_count recv.json file '"state":"deleted"')" -eq 14 ]
	empty send.out send.err recv.out recv.err
	deliver 0 dst --delete src/.
	done_is send.json files=0 deleted=0
	same_tree src dst
}

@test "the same without powers over files" {
	make_tree src
	outside
	if [ -n "$POWERLESS" ]; then
		mkdir dst
		chown -R 65534 .
		POWERLESS="$POWERLESS --reuid=65534 --regid=65534 --clear-groups"
	fi
	# shellcheck disable=SC2086 # words
	start_on recv port $POWERLESS "$HAUL" recv --listen=127.0.0.1:0 --port-file=port dst
	# shellcheck disable=SC2086
	$POWERLESS "$HAUL" send src/. "$ADDR"
	strays dst
	chown -Rh --reference=src dst/old dst/link dst/fifo dst/new*
	# shellcheck disable=SC2086
	$POWERLESS "$HAUL" send --delete src/. "$ADDR"
	same_tree src dst
	untouched
}

@test "directories of ours that were left closed: removed all the same" {
	mkdir -p src/a dst/src/mod/v1
	echo x >src/a/f
	echo x >dst/src/mod/v1/f
	chmod 0555 dst/src/mod/v1 dst/src/mod
	deliver 0 dst --delete src
	same_tree src dst/src
}

@test "only in directories that were sent" {
	mkdir -p a/sub b dst/a/old dst/other dst/.haul
	echo 1 >a/sub/f
	echo 2 >b/f
	echo 3 >file
	echo x >dst/a/old/f
	echo x >dst/stranger
	echo x >dst/other/f
	echo x >dst/.haul/state
	deliver 0 dst --delete a b file
	[ ! -e dst/a/old ]
	[ -e dst/stranger ]
	[ -e dst/other/f ]
	[ -e dst/.haul/state ]
	done_is send.json deleted=2
	# a file is no directory: nothing can be missing in it
	deliver 0 dst --delete file
	done_is send.json deleted=0
	# SUBDIR and the contents of two directories: what either has stays
	mkdir -p dst/sub/old
	start_recv --once dst
	"$HAUL" send --delete a/. b/. "$RECV_ADDR/sub"
	reap "$RECV_PID" 0
	[ ! -e dst/sub/old ]
	[ -e dst/sub/sub/f ]
	[ -e dst/sub/f ]
	[ -e dst/stranger ]
}

@test "a state directory below, of a session with a SUBDIR, stays" {
	mkdir -p src/sub src/other dst/src/sub/.haul dst/src/gone/.haul dst/src/gone/more
	echo x >src/f
	echo x >dst/src/sub/.haul/part
	echo x >dst/src/gone/.haul/part
	deliver 0 dst -v --delete src
	[ -e dst/src/sub/.haul/part ]
	[ -e dst/src/gone/.haul/part ]
	[ ! -e dst/src/gone/more ]
	done_is send.json deleted=1
	grep -q 'src/gone/.haul: not deleted: it holds the state' send.err
}

@test "the guard: more than N" {
	many src 1 60
	deliver 0 dst src
	many dst/src 61 64
	deliver 25 dst --delete --max-delete=3 src
	guarded '4 of 64 entries would be deleted, more than 3: nothing deleted; --max-delete=N,P% raises it$'
	[ -e dst/src/64 ]
	json_has send.json error '"code":"DELETE_GUARD"'
	deliver 25 dst --delete --max-delete=0 src
	guarded '4 of 64 entries would be deleted, more than 0'
	deliver 0 dst --delete --max-delete=4 src
	same_tree src dst/src
	deliver 0 dst --delete --max-delete=0 src
}

@test "the guard: a thousand, unless told otherwise; a long list" {
	many src 1 3500
	deliver 0 dst src
	many dst/src/deep/a 1 500
	many dst/src/deep 1 500
	deliver 25 dst --delete src
	guarded '1002 of 4502 entries would be deleted, more than 1000:'
	deliver 0 dst --delete --max-delete=1002 src
	same_tree src dst/src
	done_is send.json deleted=1002
}

@test "the guard: more than a quarter, unless there are only a few" {
	many src 1 60
	deliver 0 dst src
	many dst/src 61 81
	deliver 25 dst --delete src
	guarded '21 of 81 entries would be deleted, more than 25%:'
	deliver 25 dst --delete --max-delete=9999 src
	guarded '21 of 81 .* more than 25%:'
	[ -e dst/src/81 ]
	deliver 0 dst --delete --max-delete=26% src
	same_tree src dst/src
	many few 1 2
	mv few/2 moved
	many dst/few 1 21
	deliver 0 dst --delete few
	same_tree few dst/few
}

@test "an empty source: 25, and nothing is deleted" {
	mkdir empty full
	echo x >full/f
	many dst/empty 1 3
	deliver 25 dst --delete empty
	guarded 'the source is empty: nothing deleted'
	[ -e dst/empty/3 ]
	deliver 25 dst --delete empty/.
	[ -e dst/empty/3 ]
	deliver 25 dst --delete full empty
	[ -e dst/full/f ]
	[ -e dst/empty/3 ]
	deliver 25 dst -n --delete empty
	mkdir empty/.haul # ours, and not sent
	deliver 25 dst --delete empty/.
	rc=0
	"$HAUL" send --delete missing 127.0.0.1:1 2>send.err || rc=$?
	[ "$rc" -eq 3 ]
	one_line send.err missing
	[ -e dst/empty/3 ]
}

@test "a scan that is not complete: nothing is deleted" {
	mkdir -p src/closed src/open
	echo x >src/open/f
	echo x >src/closed/f
	deliver 0 dst src
	echo x >dst/src/open/stray
	# a directory that cannot be read; one SRC of two that is missing; something that cannot be sent
	chmod 0000 src/closed
	start_recv --once dst
	rc=0
	$POWERLESS "$HAUL" send -v --delete src "$RECV_ADDR" 2>send.err || rc=$?
	reap "$RECV_PID"
	[ "$rc" -eq 23 ]
	grep -q 'haul: --delete: nothing deleted: the scan was not complete' send.err
	[ -e dst/src/closed/f ]
	[ -e dst/src/open/stray ]
	chmod 0700 src/closed
	deliver 23 dst -v --delete src missing
	grep -q 'nothing deleted: the scan was not complete' send.err
	mkfifo src/fifo
	deliver 23 dst -v --delete src
	grep -q 'nothing deleted' send.err
	rm src/fifo
	[ -e dst/src/open/stray ]
	# something in the way at the receiver
	echo x >src/way
	mkdir dst/src/way
	deliver 23 dst -v --delete src
	grep -q 'nothing deleted' send.err
	[ -e dst/src/open/stray ]
	rmdir dst/src/way
	deliver 0 dst -v --delete src
	same_tree src dst/src
}

@test "symbolic links that are left out stay, others go" {
	mkdir src
	echo x >src/f
	ln -s f src/here
	ln -s f src/both
	mkdir -p dst/src
	ln -s elsewhere dst/src/both
	ln -s f dst/src/stray
	echo x >dst/src/here
	deliver 0 dst --links=skip --delete src
	[ "$(readlink dst/src/both)" = elsewhere ]
	[ -f dst/src/here ]
	[ ! -L dst/src/stray ]
	done_is send.json entries=2 deleted=1
}

@test "-n names what would go and changes nothing" {
	mkdir -p src/sub
	echo 1 >src/sub/f
	deliver 0 dst src
	outside
	strays dst/src
	echo 2 >src/new
	snapshot dst >before
	deliver 0 dst -n --delete src
	snapshot dst | diff before -
	untouched
	grep -v '^deleting ' send.out | diff - <(cat <<-END
		src/new
		would send 1 file, 2 B (2 bytes)
		would delete 14 entries
	END
	)
	grep -qx 'deleting src/old/a/b/file' send.out
	grep -qx 'deleting src/old' send.out
	[ "$(grep -c '^deleting ' send.out)" -eq 14 ]
	[ "$(json_count send.json file '"state":"stray"')" -eq 14 ]
	done_is send.json deleted=0
	done_is recv.json deleted=0
	# the guard is asked, too
	deliver 25 dst -n --delete --max-delete=2 src
	snapshot dst | diff before -
	grep -q 'haul: .*delete guard: 14 of' send.err
	# to an empty receiver
	deliver 0 fresh -n --delete src
	[ -z "$(ls -A fresh)" ]
}

@test "-v names each thing that goes" {
	mkdir -p src dst/src/old
	echo 1 >src/f
	echo 1 >dst/src/old/f
	deliver 0 dst -v --delete src
	[ "$(grep '^deleting' send.err)" = $'deleting src/old/f\ndeleting src/old' ]
	mkdir dst/src/old
	deliver 0 dst --log-file=log --metrics=metrics --stats --delete src
	grep -q 'src/old: deleted' log
	grep -q ', 1 deleted' log
	grep -q '^haul_entries_deleted.* 1$' metrics
	grep -q ', 1 deleted' send.err
}

@test "the receiver's policy: who may not overwrite may not delete" {
	local how
	mkdir -p src dst/src
	echo x >src/new
	echo x >dst/src/stray
	for how in no backup; do
		RECV_ARGS=--overwrite=$how deliver 4 dst --delete src
		one_line send.err 'lets nothing be deleted'
		[ -e dst/src/stray ]
		[ ! -e dst/src/new ]
		RECV_ARGS=--overwrite=$how deliver 4 dst -n --delete src
	done
	start_recv --once -o out
	rc=0
	"$HAUL" send --delete src/new "$RECV_ADDR" 2>send.err || rc=$?
	reap "$RECV_PID"
	[ "$rc" -eq 4 ]
	[ ! -e out ]
	"$HAUL" key new --identity=me 2>/dev/null
	"$HAUL" key new --identity=server 2>/dev/null
	printf '%s name=me dir=. no-overwrite\n' "$("$HAUL" key show me)" >peers
	RECV_ARGS='--identity=server --peers=peers' deliver 4 dst --identity=me --peer="$("$HAUL" key show server)" --delete src
	[ -e dst/src/stray ]
}

@test "words that are wrong" {
	local word
	for word in '' ',' '5,' ',5%' '5%,5' -1 1.5 101% 5%% 5,5 x 99999999999; do
		rc=0
		"$HAUL" send --delete --max-delete="$word" src 127.0.0.1:1 >out 2>err || rc=$?
		[ "$rc" -eq 1 ] || fail "$word: exit $rc"
		one_line err -- '--max-delete'
		empty out
	done
	rc=0
	"$HAUL" send --delete - 127.0.0.1:1 2>err </dev/null || rc=$?
	[ "$rc" -eq 1 ]
	one_line err 'a stream leaves nothing'
}

@test "together with filters: refused, whatever the order" {
	local option
	echo f >list
	make_tree src
	for option in --exclude=f --include=f --exclude-from=list --files-from=list --gitignore --max-size=1M \
		--min-size=0 --one-file-system -x; do
		rc=0
		"$HAUL" send --delete "$option" src 127.0.0.1:1 >out 2>err || rc=$?
		[ "$rc" -eq 1 ] || fail "$option: exit $rc"
		[ "$option" = -x ] && option=--one-file-system
		one_line err "--delete: cannot be given together with ${option%%=*}"
		empty out
	done
	rc=0
	"$HAUL" send --exclude=f -n src --delete 127.0.0.1:1 >out 2>err || rc=$?
	[ "$rc" -eq 1 ]
	one_line err '--delete: cannot be given together with --exclude$'
	rc=0
	HAUL_OPTIONS=--gitignore "$HAUL" send --delete src 127.0.0.1:1 >out 2>err || rc=$?
	[ "$rc" -eq 1 ]
	one_line err '--delete: cannot be given together with --gitignore$'
}

@test "mount points stay, and what is mounted" {
	local flag=
	[ "$(id -u)" -eq 0 ] || flag=-r
	mkdir -p src/sent elsewhere dst/src/old/tmpfs dst/src/old/bound dst/src/old/gone dst/src/sent
	echo x >src/sent/f
	echo x >elsewhere/keep
	# shellcheck disable=SC2086 # none is no word
	start_on recv port unshare -m $flag sh -c 'mount -t tmpfs none dst/src/old/tmpfs && echo x >dst/src/old/tmpfs/keep &&
		mount --bind elsewhere dst/src/old/bound && mount --bind elsewhere dst/src/sent &&
		exec "$0" recv --listen=127.0.0.1:0 --port-file=port dst' "$HAUL"
	cp -p src/sent/f elsewhere/f # else it could not be replaced there
	"$HAUL" send -v --delete src "$ADDR" 2>send.err
	grep -q 'src/old/tmpfs: not deleted: something is mounted there' send.err
	grep -q 'src/old/bound: not deleted: something is mounted there' send.err
	grep -q 'src/sent: not deleted: something is mounted there' send.err
	[ -e elsewhere/keep ]
	[ -e "/proc/$PID/root$PWD/dst/src/old/tmpfs/keep" ]
	[ ! -e dst/src/old/gone ]
	[ -d dst/src/old/bound ]
}

@test "what cannot be deleted is told, stays, and the rest goes" {
	mkdir -p src dst/src/sub
	echo x >src/f
	many dst/src/old 1 3
	start_on recv port strace -f -qq -o trace -e trace=unlinkat -P "$PWD/dst/src/old" -e inject=unlinkat:error=EPERM:when=1 \
		"$HAUL" recv --sandbox=off --listen=127.0.0.1:0 --port-file=port --json=recv.json dst
	rc=0
	"$HAUL" send --delete --json=send.json src "$ADDR" 2>send.err || rc=$?
	[ "$rc" -eq 23 ]
	one_line send.err 'src/old/[123]: cannot be deleted: Operation not permitted; 1 failed'
	done_is send.json deleted=3 failed=1
	done_is recv.json deleted=3 failed=1 exit=23
	[ "$(find dst/src/old | wc -l)" -eq 2 ]
	[ ! -e dst/src/sub ]
	kill -TERM "$(pgrep -P "$PID")"
	reap "$PID"
	deliver 0 dst --delete src
	same_tree src dst/src
}

@test "pulled: the sender's person decides" {
	mkdir -p src dst/src
	echo x >src/f
	echo x >dst/src/stray
	start_on send port "$HAUL" send --listen=127.0.0.1:0 --port-file=port --delete src
	"$HAUL" recv "$ADDR" dst
	reap "$PID" 0
	same_tree src dst/src
}

@test "cut again and again, also while it is deleted" {
	local seed
	many src 1 300
	for seed in 1 2 3; do
		rm -rf dst
		deliver 0 dst src
		many dst/src/old 1 900
		start_recv dst
		start_chaos --cut-every 3000 --cuts 12 --seed "$seed" --cut-dir both
		HAUL_OPTIONS='--retry-delay=10ms..50ms' "$HAUL" send --delete --max-delete=100% --json=send.json src "$CHAOS_ADDR" \
			2>send.err
		[ "$(json_count chaos.json cut)" -ge 3 ]
		same_tree src dst/src
		clean dst
		done_is send.json deleted=901
		stop "$CHAOS_PID"
		stop "$RECV_PID"
	done
}

@test "a session is killed in the middle: the run goes on with a new one" {
	many src 1 10
	many dst/src/old 1 1500
	start_recv dst
	start send "$HAUL" send --delete --max-delete=9999,100% --json=send.json src "$RECV_ADDR"
	some_gone() { [ "$(find dst/src/old 2>/dev/null | wc -l)" -lt 1501 ]; }
	await some_gone
	kill -9 "$(pgrep -P "$RECV_PID")"
	reap "$PID" 0
	same_tree src dst/src
	clean dst
}

@test "the receiver is killed at some removal: what is left goes the next time" {
	local n
	many src 1 10
	for n in 1 5 40; do
		rm -rf dst trace
		many dst/src/old 1 60
		start_on recv port strace -f -qq -o trace -e trace=unlinkat -e "inject=unlinkat:signal=KILL:when=$n" \
			"$HAUL" recv --sandbox=off --listen=127.0.0.1:0 --port-file=port dst
		rc=0
		"$HAUL" send --delete --max-delete=100% --reconnect=2s --retry-delay=10ms..50ms --json=send.json src "$ADDR" \
			2>send.err || rc=$?
		[ "$(grep -c SIGKILL trace)" -ge 1 ]
		kill -TERM "$(pgrep -P "$PID")"
		reap "$PID"
		deliver 0 dst --delete --max-delete=100% src
		same_tree src dst/src
		clean dst
	done
}

@test "the sender is killed when the first is gone: what is left goes the next time" {
	many src 1 10
	many dst/src/old 1 900
	start_recv dst
	start send "$HAUL" send -v --delete --max-delete=100% --bwlimit=20k src "$RECV_ADDR"
	some_gone() { [ "$(find dst/src/old | wc -l)" -lt 901 ]; }
	await some_gone
	kill -9 "$PID"
	reap "$PID"
	deliver 0 dst --delete --max-delete=100% src
	same_tree src dst/src
}

# swapped K: the receiver, with dst/src/old exchanged for a link to the outside at its K-th call with a path
swapped() {
	rm -rf dst total
	mkdir -p dst/src/old/sub dst/src/sub
	echo x >dst/src/old/file
	echo x >dst/src/old/sub/file
	ln -s "$PWD/outside" dst/link
	"$HAUL" send --jobs=1 --delete --connect=5s --reconnect=1s src "exec:exec '$TOOLS/swapper' $how $1 dst/src/$what dst/link total \
		'$HAUL' recv --jobs=1 --stdio dst" 2>send.err || true
	[ "$(<total)" -ge "$1" ]
}

@test "a directory becomes a link to the outside at each single call: nothing outside is touched" {
	local how what k
	mkdir -p src/sub outside/sub
	echo 1 >src/f
	echo 1 >src/sub/f
	echo keep >outside/file
	echo keep >outside/sub/file
	snapshot outside >before
	for what in old sub; do
		for how in once stay; do
			[ "$what$how" != subonce ] || continue
			for ((k = 1; k < 400; k++)); do
				swapped "$k" || break
				snapshot outside | diff before - || fail "$what, $how, call $k" "$(<send.err)"
			done
			[ "$k" -gt 30 ]
			[ "$k" -lt 400 ]
			same_tree src dst/src # the last one was spared
		done
	done
}
