# Owners, extended attributes and access control lists: kept on demand, never otherwise, and never what a peer
# has no business with. The suite runs as root; what others may do is tried without root's powers.
# shellcheck disable=SC2016,SC2030,SC2031,SC2086 # $0 is for bash -c; a test is a subshell, and means to be; words

load helpers

# what FILE...: mode, owner, attributes and lists of each, one line a file
what() {
	python3 -c 'import os, sys
for p in sys.argv[1:]:
	s = os.lstat(p)
	x = sorted((n, os.getxattr(p, n, follow_symlinks=False)) for n in os.listxattr(p, follow_symlinks=False))
	print(oct(s.st_mode), s.st_uid, s.st_gid, [i for i in x if i[0].startswith(("user.", "system.posix_acl"))])' "$@"
}

# mark PATH: two attributes; acl PATH KIND PERM: a list with a named user
mark() {
	python3 -c 'import os, sys
os.setxattr(sys.argv[1], "user.origin", b"\0\1\2\xff")
os.setxattr(sys.argv[1], "user.empty", b"")' "$1"
}
acl() {
	python3 -c 'import os, struct, sys
path, kind, perm = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = [(1, 6, 2**32 - 1), (2, perm, 4321), (4, 4, 2**32 - 1), (16, perm | 4, 2**32 - 1), (32, 0, 2**32 - 1)]
os.setxattr(path, "system.posix_acl_" + kind, struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *r) for r in rows))' "$@"
}

make_src() {
	mkdir -p src/dir/deep
	echo small >src/small
	random_file src/dir/large 9000000
	: >src/dir/deep/empty
	ln -s small src/link
	truncate -s 3M src/sparse
	echo read-only >src/dir/closed
	mark src/small
	mark src/dir/large
	mark src/dir
	acl src/small access 6
	acl src/dir/large access 4
	acl src/dir default 7
	chmod 400 src/dir/closed
	chown 12345:23456 src/small src/dir/deep
	chown nobody:daemon src/dir src/dir/large src/dir/closed
	chown -h 34567:34568 src/link
}

ALL='. small link sparse dir dir/large dir/closed dir/deep dir/deep/empty'

# as_source DIR: it is all as at the source; SRC/. leaves DIR itself alone
as_source() {
	local f
	for f in ${ALL#. }; do
		[ "$(what "$1/$f")" = "$(what "src/$f")" ] || fail "$f:" "$(what "$1/$f")" "$(what "src/$f")" || return
	done
	same_tree src/. "$1"
}

@test "-a: owners, attributes and lists as at the source; again, and nothing is touched" {
	local before
	make_src
	deliver 0 dst -a src/.
	as_source dst
	before=$(find dst ! -type l ! -type d -printf '%p %i %C@\n' | sort)
	deliver 0 dst -a src/.
	[ "$(find dst ! -type l ! -type d -printf '%p %i %C@\n' | sort)" = "$before" ]
	[ "$(json_field send.json 'done' skipped)" = 5 ]
	as_source dst
	clean dst
}

@test "without an option: nothing of it; a file is the receiver's own" {
	make_src
	deliver 0 dst src/.
	[ "$(stat -c %u:%g dst/small dst/dir/large dst/dir dst/link | sort -u)" = "$(id -u):$(id -g)" ]
	what dst/* dst/dir/* | not grep -E 'user\.|posix_acl'
	deliver 0 dst -a --owner=off src/.
	[ "$(stat -c %u:%g dst/small dst/dir/large dst/dir dst/link | sort -u)" = "$(id -u):$(id -g)" ]
	[[ $(what dst/small) == *user.origin*  ]]
}

@test "what differs is mended, and what the source has no more goes; no content is sent for it" {
	local inode
	make_src
	deliver 0 dst -a src/.
	inode=$(stat -c %i dst/dir/large)
	chown 1:2 dst/small dst/dir dst/dir/large
	chown -h 1:2 dst/link
	python3 -c 'import os
os.setxattr("dst/small", "user.more", b"x")
os.setxattr("dst/dir/large", "user.origin", b"other")
os.removexattr("dst/dir/large", "user.empty")
os.removexattr("dst/dir/large", "system.posix_acl_access")
os.removexattr("dst/dir", "system.posix_acl_default")
os.removexattr("src/small", "user.empty")'
	acl dst/sparse access 7
	deliver 0 dst -a src/.
	as_source dst
	done_is send.json files=0 bytes=0
	[ "$(stat -c %i dst/dir/large)" = "$inode" ]
}

@test "--overwrite=no: what is there keeps its owner and attributes" {
	make_src
	deliver 0 dst src/.
	RECV_ARGS=--overwrite=no deliver 0 dst -a src/small src/dir
	[ "$(stat -c %u dst/small)" = "$(id -u)" ]
	what dst/small | not grep -E 'user\.|posix_acl'
}

@test "one option at a time: -X, -A, --owner" {
	make_src
	deliver 0 x -X src/.
	[[ $(what x/small) == *user.origin*  ]]
	what x/small | not grep posix_acl
	[ "$(stat -c %u x/small)" = "$(id -u)" ]
	deliver 0 a -A src/.
	what a/small | not grep 'user\.'
	[[ $(what a/small) == *posix_acl_access*  ]]
	deliver 0 o --owner=require src/.
	what o/small | not grep -E 'user\.|posix_acl'
	[ "$(stat -c %u:%g o/small)" = 12345:23456 ]
	[ "$(stat -c %u:%g o/link)" = 34567:34568 ]
}

@test "owners go by name, and with --numeric-ids by number" {
	echo x >f
	chown nobody:daemon f
	{
		grep -v '^nobody:' /etc/passwd
		echo 'nobody:x:54321:1::/:/bin/false'
	} >passwd
	cat >elsewhere <<-'EOF'
		mount --bind passwd /etc/passwd && exec "$@"
	EOF
	start_on recv recv.port unshare -m bash elsewhere "$HAUL" recv --listen=127.0.0.1:0 --port-file=recv.port dst
	"$HAUL" send --owner=require f "$ADDR"
	[ "$(stat -c %u:%G dst/f)" = 54321:daemon ]
	"$HAUL" send --owner=require --numeric-ids f "$ADDR"
	[ "$(stat -c %U:%G dst/f)" = nobody:daemon ]
}

@test "a receiver without root's powers: try leaves it and says so, require fails the file" {
	make_src
	mkdir dst dst2 dst3
	start_on recv recv.port $POWERLESS "$HAUL" recv --listen=127.0.0.1:0 --port-file=recv.port dst
	"$HAUL" send -v --owner=try src/. "$ADDR" >send.out 2>send.err
	grep -E 'haul: 6 owners or attributes could not be set' send.err
	[ "$(stat -c %u dst/small)" = "$(id -u)" ]
	same_tree src dst
	start_on recv2 recv2.port $POWERLESS "$HAUL" recv --listen=127.0.0.1:0 --port-file=recv2.port dst2
	not "$HAUL" send --owner=require --json=send.json src/. "$ADDR" 2>send.err
	[ "$(json_field send.json 'done' exit)" = 23 ]
	[ "$(json_field send.json 'done' files)" = 2 ]
	[ ! -e dst2/small ]
	[ -e dst2/sparse ]
	grep -F '"path":"small"' send.json | grep -F failed
	start_on recv3 recv3.port $POWERLESS "$HAUL" recv --listen=127.0.0.1:0 --port-file=recv3.port dst3
	"$HAUL" send -X -A src/. "$ADDR"
	[[ $(what dst3/small) == *user.origin*posix_acl_access* || $(what dst3/small) == *posix_acl_access*user.origin* ]]
	clean dst2
}

@test "set-ID and sticky bits, and attributes of other name spaces, do not travel" {
	mkdir src
	echo x >src/f
	chmod 6755 src/f
	python3 -c 'import os
os.setxattr("src/f", "trusted.a", b"x")
os.setxattr("src/f", "security.b", b"x")
os.setxattr("src/f", "user.c", b"x")'
	chown 12345:12345 src/f
	chmod 6755 src/f
	deliver 0 dst -a src/.
	[ "$(stat -c %a:%u dst/f)" = 755:12345 ]
	[ "$(python3 -c 'import os; print(os.listxattr("dst/f"))')" = "['user.c']" ]
}

@test "more than travels: named, the rest is there, 23" {
	mkdir src
	echo x >src/f
	python3 -c 'import os
for i in range(70):
	os.setxattr("src/f", "user.%03d" % i, b"x")'
	deliver 23 dst -X src/.
	[ "$(<dst/f)" = x ]
	[ "$(python3 -c 'import os; print(len(os.listxattr("dst/f")))')" = 64 ]
	json_has send.json warn
	grep -F 'sent without 6 attributes that do not fit' send.json
	deliver 23 dst -X src/.
}

@test "killed and started again: owners and attributes of what was under way are right, too" {
	make_src
	random_file src/huge 60000000
	chown 12345:23456 src/huge
	mark src/huge
	start_recv dst
	start send "$HAUL" send -a --bwlimit=20M src/. "$RECV_ADDR"
	await grep -Eq '"acked":[2-9][0-9]{7}' recv.json
	kill -KILL "$RECV_PID" "$PID"
	await gone "$RECV_PID"
	await gone "$PID"
	deliver 0 dst -a src/.
	as_source dst
	[ "$(what dst/huge)" = "$(what src/huge)" ]
	clean dst
}

@test "a peer that tells what is not taken: refused by name or ended, and nothing is set" {
	local c lines
	start_recv --idle=5s --reconnect=200ms dst
	peer() {
		lines=$(wc -l <recv.err)
		timeout 40 "$TOOLS/peer" dial "$RECV_ADDR" "$1" >"$1.said" 2>&1
		await grown
		tail -n +$((lines + 1)) recv.err >"$1.err"
	}
	grown() { [ "$(wc -l <recv.err)" -gt "$lines" ]; }
	for c in capability trusted acl-cut acl-zeros acl-default; do
		peer "meta-$c"
		one_line "meta-$c.err" '1 failed, 0 committed'
		[ ! -e "dst/meta-$c" ]
	done
	for c in name-256 value-8193 unannounced uid-none half-owner twice cut; do
		peer "meta-$c"
		one_line "meta-$c.err" 'META'
		[ ! -e "dst/meta-$c" ]
	done
	peer begin-tells
	one_line begin-tells.err 'malformed BEGIN'
	timeout 40 "$TOOLS/peer" dial "$RECV_ADDR" meta-owner
	[ "$(stat -c %u:%g dst/meta-owner)" = 1:1 ]
}

# inodes DIR: which names below DIR are one file
inodes() {
	(cd "$1" && find . -name .haul -prune -o -type f -printf '%i %p\n') | sort | awk '
		$1 != last { if (names != "") print names; names = "" }
		{ last = $1; names = names " " $2 }
		END { print names }' | sort
}

make_linked() {
	local i
	mkdir -p src/a/deep src/b
	echo one >src/a/1
	ln src/a/1 src/a/2
	ln src/a/1 src/b/3
	random_file src/large 9000000
	ln src/large src/a/deep/large
	random_file src/b/alone 100000
	for i in {1..300}; do
		echo "$i" >"src/a/f$i"
		ln "src/a/f$i" "src/b/g$i"
	done
	: >src/empty
	ln src/empty src/b/empty
}

@test "-H: names of one file are names of one file, within and across directories; again, and nothing is sent" {
	make_linked
	deliver 0 dst -H src/.
	same_tree src/. dst
	[ "$(inodes src)" = "$(inodes dst)" ]
	done_is send.json files=304 skipped=0
	deliver 0 dst -H src/.
	[ "$(inodes src)" = "$(inodes dst)" ]
	done_is send.json files=0 skipped=304 bytes=0
	clean dst
	deliver 0 dst2 src/.
	[ "$(inodes src)" != "$(inodes dst2)" ]
	deliver 0 dst2 -a src/.
	[ "$(inodes src)" = "$(inodes dst2)" ]
	same_tree src/. dst2
}

@test "-H: names that are there already give way as files do, and are left alone as files are" {
	make_linked
	mkdir -p dst/b dst/a/deep
	echo other >dst/b/3
	echo other >dst/a/2
	echo other >dst/a/1
	deliver 0 dst -H -n src/.
	[ "$(<dst/b/3)" = other ]
	[ ! -e dst/large ]
	RECV_ARGS=--overwrite=no deliver 23 dst -H src/.
	[ "$(<dst/b/3)" = other ]
	[ "$(<dst/a/1)" = other ]
	[ dst/large -ef dst/a/deep/large ]
	RECV_ARGS=--overwrite=backup deliver 0 dst -H src/.
	[ "$(<dst/b/3~)" = other ]
	rm dst/a/?~ dst/b/3~
	[ "$(inodes src)" = "$(inodes dst)" ]
	rm dst/b/3 && mkdir dst/b/3
	deliver 23 dst -H src/.
	[ -d dst/b/3 ]
	grep -F '"path":"b/3"' send.json | grep -F failed
	clean dst
}

@test "-H: the name that brings the content cannot be read, or is refused: another one brings it" {
	mkdir -p src dst
	echo content >src/x1
	ln src/x1 src/x2
	ln src/x1 src/x3
	# whichever comes first is in the way at the receiver
	mkdir "dst/$(find src -type f -printf '%f\n' | head -n 1)"
	deliver 23 dst -H src/.
	[ "$(find dst -type f -links 2 | wc -l)" -eq 2 ]
	[ "$(cat "$(find dst -type f | head -n 1)")" = content ]
	done_is send.json files=1 failed=1 entries=2
	clean dst
}

@test "-H: killed and started again" {
	make_linked
	random_file src/huge 60000000
	ln src/huge src/a/huge
	start_recv dst
	start send "$HAUL" send -H --bwlimit=20M src/. "$RECV_ADDR"
	await grep -Eq '"acked":[2-9][0-9]{7}' recv.json
	kill -KILL "$RECV_PID" "$PID"
	await gone "$RECV_PID"
	await gone "$PID"
	deliver 0 dst -H src/.
	same_tree src/. dst
	[ "$(inodes src)" = "$(inodes dst)" ]
	clean dst
}

@test "-H --remove-source-files: all names go once all are there" {
	make_linked
	cp -a src before
	deliver 0 dst -H --remove-source-files src/.
	[ "$(inodes before)" = "$(inodes dst)" ]
	[ -z "$(find src -type f)" ]
}

@test "-H where no link can be made: files of their own" {
	make_linked
	start_on recv recv.port env ASAN_OPTIONS=detect_leaks=0 strace -f -qq -o trace -e trace=linkat \
		-e inject=linkat:error=EPERM "$HAUL" recv --once --listen=127.0.0.1:0 --port-file=recv.port dst
	"$HAUL" send -H --json=send.json src/. "$ADDR"
	reap "$PID" 0
	grep -q INJECTED trace
	same_tree src/. dst
	[ "$(find dst -type f -links 1 | wc -l)" -eq 608 ]
	done_is send.json failed=0 files=608
}

@test "a peer that links what is not its own: refused, or ended, and nothing is made" {
	local c
	mkdir outside dst
	echo hello >outside/file
	touch -d @1000000000 outside/file
	ln -s ../outside dst/out
	ln -s ../outside/file dst/leaves
	start_recv --idle=5s --reconnect=200ms dst
	for c in up absolute nul state through symlink unannounced; do
		timeout 40 "$TOOLS/peer" dial "$RECV_ADDR" "hard-link-$c" >"$c.said" 2>&1
		[ ! -e "dst/hard-link-$c" ]
		[ ! -L "dst/hard-link-$c" ]
	done
	[ "$(stat -c %h outside/file)" = 1 ]
	[ "$(json_count recv.json 'done')" -ge 6 ]
}
