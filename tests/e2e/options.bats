# Ways of working that lead to the same result, and options that change what is taken, replaced or compared.

load helpers

# newer_and_older: src and dst hold `same`, and `new` only src; `older` and `newer` differ, seen from src
newer_and_older() {
	mkdir -p src dst
	echo same >src/same
	cp -p src/same dst/same
	echo new >src/new
	echo 'from src' >src/older
	echo at-dst >dst/older
	touch -d 2010-01-01 src/older
	echo 'from src' >src/newer
	echo at-dst >dst/newer
	touch -d 2010-01-01 dst/newer
}

content() {
	(cd "$1" && grep -r . | sort | tr '\n' ';')
}

same_after() {
	make_tree src
	deliver 0 dst "$@" src/.
	same_tree src dst
	clean dst
}

@test "--jobs=1" {
	RECV_ARGS=--jobs=1 same_after --jobs=1
}

@test "--jobs=4" {
	RECV_ARGS=--jobs=4 same_after --jobs=4
}

@test "-z none" {
	same_after -z none
	[ "$(json_field send.json 'done' wire)" -gt 6500000 ]
}

@test "-z 1, -z 9, -z 3..5 and -z auto make less of text" {
	local z
	mkdir src
	find /usr/include -name '*.h' -print0 | sort -z | head -z -n 200 | xargs -0 cat >src/text
	for z in 1 9 3..5 auto; do
		deliver 0 "dst$z" -z "$z" src/.
		same_tree src "dst$z"
		[ "$(json_field send.json 'done' wire)" -lt $(($(stat -c %s src/text) / 2)) ]
	done
}

@test "--sync=file" {
	RECV_ARGS=--sync=file same_after
}

@test "--sync=batch" {
	RECV_ARGS=--sync=batch same_after
}

@test "--sync=none: both summaries say what it means, and so does done" {
	mkdir src
	echo safe >src/a
	RECV_ARGS='--sync=none --stats' deliver 0 dst --stats src
	grep -q 'not forced to stable storage' recv.err
	grep -q 'not forced to stable storage' send.err
	json_has send.json 'done' '"durable":false'
	RECV_ARGS=--stats deliver 0 safe --stats src
	not grep -q 'stable storage' recv.err send.err
	json_has send.json 'done' '"durable":true'
}

@test "--sync=none" {
	RECV_ARGS=--sync=none same_after
}

@test "--chunk=4k, --chunk=4M" {
	same_after --chunk=4k
	deliver 0 dst2 --chunk=4M src/.
	same_tree src dst2
}

@test "windows and rings smaller than a chunk are raised with a warning" {
	RECV_ARGS='--window=1 --ring=1' same_after --window=1 --ring=1 --chunk=256k
	local side option
	for side in send recv; do
		for option in --window --ring; do
			[ "$(json_count $side.json warn "raised to .*\"subject\":\"$option\"")" -eq 1 ]
		done
	done
	empty send.err recv.err
}

@test "--bwlimit is kept to, roughly" {
	random_file src 3000000
	deliver 0 dst -z none --bwlimit=3MB src
	same_bytes src dst/src
	[ "$(json_field send.json 'done' seconds | cut -d . -f 1)" -le 5 ]
	[ "$(json_field send.json 'done' seconds | tr -d .)" -ge 500 ]
}

@test "--checksum sees what size and time hide, and skips what is equal but for the time" {
	newer_and_older
	random_file src/hidden 3000000
	cp -p src/hidden dst/hidden
	printf x | dd of=dst/hidden bs=1 seek=1500000 conv=notrunc status=none
	touch -r src/hidden dst/hidden
	deliver 0 dst src/.
	not cmp -s src/hidden dst/hidden
	deliver 0 dst --checksum src/.
	same_tree src dst
}

@test "--size-only" {
	newer_and_older
	printf 'abcdefgh\n' >dst/older
	deliver 0 dst --size-only src/.
	[ "$(content dst)" = 'new:new;newer:from src;older:abcdefgh;same:same;' ]
}

@test "-u" {
	newer_and_older
	deliver 0 dst -u src/.
	[ "$(content dst)" = 'new:new;newer:from src;older:at-dst;same:same;' ]
	done_is send.json files=2 skipped=2
}

@test "--ignore-existing" {
	newer_and_older
	deliver 0 dst --ignore-existing src/.
	[ "$(content dst)" = 'new:new;newer:at-dst;older:at-dst;same:same;' ]
}

@test "--existing" {
	newer_and_older
	deliver 0 dst --existing src/.
	[ "$(content dst)" = 'newer:from src;older:from src;same:same;' ]
}

@test "--existing makes no directories and no links" {
	mkdir -p src/dir dst
	echo x >src/dir/x
	ln -s x src/link
	deliver 0 dst --existing src/.
	[ -z "$(ls -A dst)" ]
}

@test "-n changes nothing and says what would be sent" {
	newer_and_older
	mkdir -p src/dir
	ln -s new src/link
	cp -a dst before
	deliver 0 dst -n src/.
	same_tree before dst
	[ "$(stat -c %Y before)" = "$(stat -c %Y dst)" ]
	clean dst
	done_is send.json bytes=0 files=0
	empty send.err
	[ "$(head -n -1 send.out | sort | tr '\n' ' ')" = 'new newer older ' ]
	grep -q '3 files' send.out
	[ "$(json_count send.json file '"state":"planned"')" -eq 3 ]
	deliver 0 dst2 -n --name=s - <<<stream
	[ -z "$(ls -A dst2)" ]
}

@test "--overwrite=no: what differs is listed as failed, what is new or equal arrives" {
	newer_and_older
	RECV_ARGS=--overwrite=no deliver 23 dst src/.
	[ "$(content dst)" = 'new:new;newer:at-dst;older:at-dst;same:same;' ]
	done_is send.json failed=2 files=1 skipped=1
	[ "$(json_count send.json file '"path":"(newer|older)".*"state":"failed"')" -eq 2 ]
	one_line send.err
}

@test "--overwrite=no and --ignore-existing: a symlink from the sender replaces nothing" {
	mkdir src dst
	ln -s target src/link
	echo file >dst/link
	RECV_ARGS=--overwrite=no deliver - dst src/.
	[ "$(<dst/link)" = file ]
	[ "$SENT" -eq 23 ] || [ "$SENT" -eq 4 ]
	deliver 0 dst --ignore-existing src/.
	[ "$(<dst/link)" = file ]
	mkdir dst3
	cp -a src/link dst3/link
	RECV_ARGS=--overwrite=no deliver 0 dst3 src/.
}

@test "--overwrite=no: the only operand exists and differs" {
	newer_and_older
	RECV_ARGS=--overwrite=no deliver 4 dst src/older
	[ "$(<dst/older)" = at-dst ]
	one_line send.err
	RECV_ARGS=--overwrite=no deliver 0 dst src/same
}

@test "--overwrite=backup keeps NAME~" {
	newer_and_older
	RECV_ARGS=--overwrite=backup deliver 0 dst src/.
	[ "$(content dst)" = 'new:new;newer:from src;newer~:at-dst;older:from src;older~:at-dst;same:same;' ]
	clean dst
}

@test "two SRCs of one name: a usage error, nothing is sent or removed" {
	mkdir -p a b
	echo first >a/x
	echo second >b/x
	start_recv dst
	run "$HAUL" send --remove-source-files a/x b/x "$RECV_ADDR"
	[ "$status" -eq 1 ]
	[ "$output" = "haul: b/x: arrives under the same name as a/x" ]
	[ "$(<a/x)" = first ]
	run "$HAUL" send --remove-source-files a/. b/. "$RECV_ADDR"
	[ "$status" -eq 1 ]
	[ ! -e dst/x ]
	"$HAUL" send a b "$RECV_ADDR"
	[ "$(<dst/b/x)" = second ]
}

@test "--remove-source-files: what is safe at the receiver goes, directories stay" {
	newer_and_older
	mkdir src/dir
	echo deep >src/dir/deep
	cp -a src before
	RECV_ARGS=--overwrite=no deliver 23 dst --remove-source-files src/.
	[ ! -e src/new ]
	[ ! -e src/dir/deep ]
	[ -d src/dir ]
	[ "$(<src/older)" = 'from src' ]
}

@test "--quota" {
	mkdir src
	random_file src/large 3000000
	RECV_ARGS=--quota=1M deliver 4 dst src/.
	[ -z "$(ls -A dst)" ]
	one_line send.err quota
	RECV_ARGS=--quota=4M deliver 0 dst src/.
	same_tree src dst
}

@test "SUBDIR is made below DIR and never leads above it" {
	local bad
	mkdir src out
	echo x >src/x
	start_recv dst
	"$HAUL" send src "$RECV_ADDR/some/where"
	[ "$(<dst/some/where/src/x)" = x ]
	"$HAUL" send src "tcp://$RECV_ADDR/other"
	[ "$(<dst/other/src/x)" = x ]
	ln -s ../out dst/away
	for bad in 1:.. 1:../out 1:some/../../out 4:away 4:away/x 4:.haul; do
		SENT=0
		"$HAUL" send src "$RECV_ADDR/${bad#*:}" 2>send.err || SENT=$?
		[ "$SENT" -eq "${bad%%:*}" ] || fail "$bad: exit $SENT" "$(<send.err)"
		one_line send.err
	done
	[ -z "$(ls -A out)" ]
	stop "$RECV_PID"
}

@test "help TOPIC: every topic has a text, and who asks for another one is told which there are" {
	local topic topics
	SENT=0
	"$HAUL" help nonsense >out 2>err || SENT=$?
	[ "$SENT" -eq 1 ]
	empty out
	one_line err '^haul: nonsense: no such topic; there are: '
	topics=$(sed 's/.*there are: //' err)
	for topic in $topics; do
		[ "$("$HAUL" help "$topic" | wc -l)" -ge 5 ]
	done
	[[ " $topics " == *' cron resume '* ]]
	[ "$("$HAUL" help keys)" = "$("$HAUL" help key)" ]
	"$HAUL" help exit | grep -q '^ *10  again'
}

@test "the environment comes before argv" {
	mkdir src
	echo x >src/x
	HAUL_OPTIONS="-z 3 --json='in env.json'" deliver 0 dst src
	[ ! -e 'in env.json' ]
	HAUL_OPTIONS="-n" deliver 0 dst2 src
	[ ! -e dst2/src ]
	start_recv --once dst3
	HAUL_OPTIONS="--json='in env.json'" "$HAUL" send src "$RECV_ADDR"
	reap "$RECV_PID" 0
	json_has 'in env.json' 'done'
}
