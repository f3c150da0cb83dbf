# Trees: what is sent arrives, all of it and unchanged.

load helpers

# count DIR FIND_TEST...: how many entries below DIR pass
count() {
	find "$1" -mindepth 1 "${@:2}" -printf . | wc -c
}

@test "a tree of odd names, sizes, modes, times, links and holes" {
	make_tree src
	deliver 0 dst src/.
	same_tree src dst
	clean dst
	done_is send.json exit=0 class=ok "files=$(count src -type f)" skipped=0 failed=0 \
		"entries=$(count src)"
	done_is recv.json exit=0 "files=$(count src -type f)"
	empty send.out send.err recv.out recv.err
}

@test "the same with chunks of 64 KiB and sizes around them" {
	CHUNK=65536 make_tree src
	deliver 0 dst --chunk=64k src/.
	same_tree src dst
	clean dst
}

@test "files around the size up to which files share a message" {
	local size
	mkdir src
	for size in 262143 262144 262145 524288 1048575; do
		random_file "src/r$size" "$size"
		yes "$size" | head -c "$size" >"src/y$size"
	done
	deliver 0 dst src/.
	same_tree src dst
}

@test "/usr/include" {
	deliver 0 dst /usr/include
	same_tree /usr/include dst/include
	clean dst
}

@test "a part of /usr/share/doc, once more with nothing to do" {
	local files
	mkdir src
	(cd /usr/share/doc && find . -maxdepth 1 -name 'lib[a-f]*' -print0 | xargs -0 cp -a -t "$OLDPWD/src")
	files=$(count src -type f)
	[ "$files" -gt 100 ]
	deliver 0 dst src
	same_tree src dst/src
	deliver 0 dst src
	same_tree src dst/src
	done_is send.json files=0 "skipped=$files" bytes=0
	[ "$(json_field send.json 'done' wire)" -lt $((files * 200 + 10000)) ]
}

@test "many small files" {
	local n letters=abc
	mkdir -p src/{a,b,c}/{1,2,3}
	for n in {1..3000}; do
		printf '%s' "$n" >"src/${letters:n % 3:1}/$((n % 3 + 1))/$n"
	done
	deliver 0 dst src/.
	same_tree src dst
	done_is send.json files=3000
}

@test "names: DIR, DIR/, DIR/., a file, a path, .. and several at once" {
	mkdir -p src/sub there
	echo one >src/sub/one
	echo two >there/two
	deliver 0 d1 src
	[ "$(cd d1 && find . -type f)" = ./src/sub/one ]
	deliver 0 d2 src/
	[ "$(cd d2 && find . -type f)" = ./src/sub/one ]
	deliver 0 d3 src/.
	[ "$(cd d3 && find . -type f)" = ./sub/one ]
	deliver 0 d4 src/sub/one
	[ "$(cd d4 && find . -type f)" = ./one ]
	deliver 0 d5 src/sub "$PWD/there/two" there
	[ "$(cd d5 && find . -type f | sort | tr '\n' ' ')" = './sub/one ./there/two ./two ' ]
	deliver 0 d6 -C src/sub ..
	[ "$(cd d6 && find . -type f)" = ./src/sub/one ]
}

@test "-C DIR, and a SRC that begins with a dash" {
	mkdir -p src/-x
	echo one >src/-x/one
	deliver 0 dst -C src -- -x
	same_tree src dst
}

@test "an empty directory, an empty file, nothing else" {
	mkdir -p src/empty
	: >src/zero
	deliver 0 dst src/.
	same_tree src dst
	done_is send.json files=1 bytes=0 entries=2
}

@test "an empty SRC/. is no failure" {
	mkdir src
	deliver 0 dst src/.
	[ -z "$(ls -A dst)" ]
	done_is send.json files=0 entries=0
}

@test "holes stay holes" {
	local f
	mkdir src
	truncate -s 64M src/hole
	truncate -s 40M src/both
	printf middle | dd of=src/both bs=1 seek=20000000 conv=notrunc status=none
	random_file src/start 100000
	truncate -s 30M src/start
	deliver 0 dst src/.
	same_tree src dst
	for f in hole both start; do
		[ "$(stat -c %b "dst/$f")" -le $(($(stat -c %b "src/$f") + 16)) ]
	done
	[ "$(json_field send.json 'done' wire)" -lt 1000000 ]
}

@test "a file that is longer or sparse at the receiver is replaced" {
	mkdir src dst
	truncate -s 3M src/hole
	random_file dst/hole 5000000
	random_file src/short 1000
	random_file dst/short 2000000
	: >src/zero
	random_file dst/zero 10
	deliver 0 dst src/.
	same_tree src dst
}

@test "a second run skips everything and moves next to nothing" {
	local files
	make_tree src
	files=$(count src -type f)
	deliver 0 dst src/.
	deliver 0 dst src/.
	same_tree src dst
	done_is send.json "skipped=$files" files=0 bytes=0
	done_is recv.json "skipped=$files" files=0 bytes=0
	[ "$(json_field send.json 'done' wire)" -lt 20000 ]
	[ "$(json_count send.json file '"state":"skipped"')" -eq "$files" ]
	clean dst
}

@test "only what changed is sent again; a mode alone moves no content" {
	make_tree src
	deliver 0 dst src/.
	echo changed >src/sizes/text
	deliver 0 dst src/.
	same_tree src dst
	done_is send.json files=1 bytes=8
	chmod 0604 src/sizes/3145728
	deliver 0 dst src/.
	same_tree src dst
	done_is send.json files=0 bytes=0
	touch -d '2001-02-03 04:05:06.123456789' src/sizes/1
	deliver 0 dst src/.
	same_tree src dst
	done_is send.json files=1
	rm src/links/relative
	ln -s elsewhere src/links/relative
	touch -d '2001-02-03 04:05:06.7' src/dirs
	deliver 0 dst src/.
	same_tree src dst
}

@test "a relative link is kept as it is, --links=follow sends what it names, --links=skip nothing" {
	mkdir -p src/dir
	echo target >src/file
	echo inside >src/dir/inside
	ln -s file src/link
	ln -s dir src/dirlink
	deliver 0 d1 src/.
	[ "$(readlink d1/link)" = file ]
	deliver 0 d2 --links=follow src/.
	[ ! -L d2/link ]
	[ "$(<d2/link)" = target ]
	[ "$(<d2/dirlink/inside)" = inside ]
	deliver 0 d3 --links=skip src/.
	[ ! -L d3/link ]
	[ ! -e d3/link ]
	[ -e d3/file ]
}

@test "links=follow ends in a loop" {
	mkdir -p src/dir
	ln -s .. src/dir/up
	echo x >src/dir/x
	deliver - dst --links=follow src/.
	[ "$SENT" -eq 23 ]
	[ "$(<dst/dir/x)" = x ]
}

@test "set-user, set-group and sticky bits do not arrive" {
	mkdir -p src/sticky
	install -m 4755 /dev/null src/setuid
	install -m 2755 /dev/null src/setgid
	chmod 3777 src/sticky
	random_file src/large 2000000
	chmod 6711 src/large
	deliver 0 dst src/.
	[ "$(stat -c %a dst/setuid)" = 755 ]
	[ "$(stat -c %a dst/setgid)" = 755 ]
	[ "$(stat -c %a dst/large)" = 711 ]
	[ "$(stat -c %a dst/sticky)" = 777 ]
}

@test "a FIFO and a socket in the source are listed and left out; the rest arrives" {
	mkdir src
	mkfifo src/fifo
	start listener nc -lU src/socket
	await test -S src/socket
	echo file >src/file
	deliver 23 dst src/.
	[ "$(ls dst)" = file ]
	[ "$(json_count send.json file '"path":"fifo".*"state":"failed"')" -eq 1 ]
	[ "$(json_count send.json file '"path":"socket".*"state":"failed"')" -eq 1 ]
	done_is send.json files=1 failed=2
	one_line send.err
}

@test "read-only directories and files" {
	mkdir -p src/ro/sub
	echo x >src/ro/sub/x
	chmod 0444 src/ro/sub/x
	chmod 0555 src/ro/sub src/ro
	mkdir dst
	# shellcheck disable=SC2086
	start recv $POWERLESS "$HAUL" recv --once --listen=127.0.0.1:0 --port-file=port dst
	await_or_death "$PID" test -s port
	"$HAUL" send src/. "$(<port)"
	reap "$PID" 0
	same_tree src dst
	clean dst
	chmod -R u+w src dst
}

@test "a tree 200 levels deep" {
	local path=src n
	for n in {1..200}; do
		path+=/d
	done
	mkdir -p "$path"
	echo deep >"$path/file"
	deliver 0 dst src/.
	same_tree src dst
}

@test "peak memory of a large tree stays under 200 MiB on both sides" {
	mkdir src
	random_file src/random 150000000
	yes "$(head -c 3000 "$HAUL" | base64)" | head -c 250000000 >src/text
	start_on recv recv.port "$TOOLS/../bench/run" recv.stats "$HAUL" recv --sync=none --once --listen=127.0.0.1:0 \
		--port-file=recv.port dst
	"$TOOLS/../bench/run" send.stats "$HAUL" send src/. "$ADDR"
	reap "$PID" 0
	same_tree src dst
	local limit=204800
	grep -q -e __asan_init -e __tsan_init "$HAUL" && limit=2097152 # a sanitizer's shadow memory is not haul's
	[ "$(awk '{print $3}' send.stats)" -lt "$limit" ]
	[ "$(awk '{print $3}' recv.stats)" -lt "$limit" ]
}
