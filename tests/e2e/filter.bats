# What is left out and what is taken: --exclude and its like, --max-size, -x.
# shellcheck disable=SC2016 # $0 is for sh -c

load helpers

# grow DIR: names for patterns to tell apart
grow() {
	local dir file files=(a b.o c.c foo foobar .hidden 'back\slash' '#hash' 'star*' 'q?' '[' ABC 'file 1' é)
	local dirs=(. a a/b a/b/c b foo foo/bar bar/foo a/foo/bar cache src/cache .git src/.git 'two words' '[x]' 'x*y')
	mkdir "$1"
	(cd "$1" && mkdir -p "${dirs[@]}")
	for dir in "${dirs[@]}"; do
		for file in "${files[@]}"; do
			[ -d "$1/$dir/$file" ] || echo "$dir/$file" >"$1/$dir/$file"
		done
		files=(a b.o foo)
	done
	mkdir -p "$1/empty/b.o" "$1/src/foo"
	ln -s ../a "$1/src/link"
	ln -s a/b "$1/foo.o"
}

names() {
	find "$1" -mindepth 1 -printf '%P %y\n' | sort
}

# like_rsync OPTION...: `rsync -a` and `haul send` of src and of src/. take the same
like_rsync() {
	local what
	for what in src src/.; do
		rm -rf want
		mkdir want
		rsync -a "$@" "$what" want/
		n=$((n + 1))
		"$HAUL" send "$@" "$what" "$RECV_ADDR/$n" >send.out 2>send.err
		names want >want.names
		names "dst/$n" >got.names
		diff want.names got.names || fail "$what with $* is not what rsync takes" || return
	done
}

@test "the same tree as rsync's, for many sets of rules" {
	local rule n=0
	grow src
	start_recv --sync=none dst
	while IFS= read -r rule; do
		local rules=()
		IFS='|' read -ra rules <<<"$rule"
		like_rsync "${rules[@]}"
	done <<-'RULES'
		--exclude=*.o
		--exclude=foo
		--exclude=foo/
		--exclude=/foo
		--exclude=/foo/
		--exclude=/src/foo
		--exclude=/src/foo/
		--exclude=foo/bar
		--exclude=/a/foo
		--exclude=/src/a/foo
		--exclude=a/*/c
		--exclude=a/**/a
		--exclude=/a/**
		--exclude=/src/a/**
		--exclude=a/***
		--exclude=foo/***
		--exclude=**/foo
		--exclude=**/foo/
		--exclude=**foo
		--exclude=foo**
		--exclude=b/*
		--exclude=*/b.o
		--exclude=*/
		--exclude=?
		--exclude=[a-c].*
		--exclude=[!a-c]*
		--exclude=[^.]*
		--exclude=[[:upper:]]*
		--exclude=[[]
		--exclude=\[x\]
		--exclude=\[x\]*
		--exclude=star\*
		--exclude=star\**
		--exclude=back\slash
		--exclude=back\\slash*
		--exclude=x\*y/
		--exclude=file 1
		--exclude=two words/***
		--exclude=é
		--exclude=??
		--include=*/|--include=*.c|--exclude=*
		--include=foo/***|--exclude=*
		--include=/src|--include=/src/a/***|--exclude=*
		--include=/a/|--include=/a/**|--exclude=/*
		--exclude=*.c|--include=*.c
		--include=*.c|--exclude=*.c
		--include=+ b.o|--exclude=b.o
		--exclude=+ b.o|--exclude=*.o
		--include=- b.o
		--exclude=a|--exclude=!|--exclude=foo
		--exclude=.git|--exclude=cache/|--exclude=.*
		--max-size=10
		--min-size=10
		--min-size=5|--max-size=8
	RULES
	[ "$n" -eq 108 ]
}

@test "a SRC is filtered too, and what is left out is neither counted nor a problem" {
	mkdir dir
	echo a >a.o
	echo a >a.c
	echo a >dir/a.o
	mkfifo dir/pipe.o
	deliver 0 dst --exclude='*.o' --exclude=/none a.o a.c dir
	[ "$(names dst)" = "$(printf 'a.c f\ndir d')" ]
	empty send.err
	done_is send.json exit=0 files=1 failed=0 entries=2
}

@test "every SRC is left out: 0" {
	echo a >a.o
	mkdir d
	ln -s d l
	ln -s d l2
	deliver 0 dst --exclude='*' a.o d l l2/
	[ -z "$(names dst)" ]
	done_is send.json exit=0 files=0 entries=0
}

@test "rules from files stand among the others where they were given" {
	mkdir src
	touch src/{a,b,c,d}
	printf '# a\n\n+ b\r\n; c\n- c\n' >rules
	deliver 0 dst --include=c --exclude-from=rules --exclude='/b' --exclude='[ad]' src/.
	[ "$(names dst)" = "$(printf 'b f\nc f')" ]
	HAUL_OPTIONS='--include=d --exclude-from rules' deliver 0 dst2 --exclude='*' src/.
	[ "$(names dst2)" = "$(printf 'b f\nd f')" ]
	start_recv dst3
	printf '#a\0b\0' | "$HAUL" send -0 --exclude-from=- src/. "$RECV_ADDR"
	[ "$(names dst3)" = "$(printf 'a f\nc f\nd f')" ]
}

@test "-x: a mount point below SRC arrives as an empty directory" {
	local flag=
	[ "$(id -u)" -eq 0 ] || flag=-r
	mkdir -p src/mnt/deep src/dir
	echo a >src/dir/a
	start_recv --once dst
	# shellcheck disable=SC2086
	unshare -m $flag sh -c 'mount -t tmpfs -o size=1m none src/mnt && mkdir src/mnt/d && echo b >src/mnt/b &&
		"$0" send --json=send.json -x src "$1"' "$HAUL" "$RECV_ADDR" 2>send.err
	reap "$RECV_PID" 0
	[ "$(names dst)" = "$(printf 'src d\nsrc/dir d\nsrc/dir/a f\nsrc/mnt d')" ]
	empty send.err
}

# ---- --files-from

# listed STATUS DIR ARGS...: deliver with --files-from, the list from the arguments after --
listed() {
	local status=$1 dir=$2 args=()
	shift 2
	while [ "$1" != -- ]; do
		args+=("$1")
		shift
	done
	shift
	printf '%s\n' "$@" >list
	deliver "$status" "$dir" --files-from=list "${args[@]}"
}

forest() {
	mkdir -p src/a/b/c src/d/e src/x
	touch src/{top,a/1,a/2,a/b/3,a/b/c/4,d/5,d/e/6,x/7,other}
	touch -d 2001-02-03 src/a/b
	chmod 750 src/a/b
}

@test "--files-from: the names with the directories that lead to them; a directory is taken whole" {
	forest
	listed 0 dst src -- a/b/3 d top
	[ "$(names dst)" = "$(printf '%s\n' 'a d' 'a/b d' 'a/b/3 f' 'd d' 'd/5 f' 'd/e d' 'd/e/6 f' 'top f')" ]
	[ "$(stat -c '%a %Y' dst/a/b)" = "$(stat -c '%a %Y' src/a/b)" ]
	empty send.err
	done_is send.json exit=0 files=4 entries=8
}

@test "--files-from takes what rsync takes" {
	local n=0
	forest
	ln -s a src/link
	while IFS= read -r line; do
		rm -rf want
		mkdir want
		tr '|' '\n' <<<"$line" >list
		rsync -a -r --files-from=list src want/
		n=$((n + 1))
		deliver 0 "dst$n" --files-from=list src
		names want >want.names
		names "dst$n" >got.names
		diff want.names got.names || fail "not what rsync takes with $line"
	done <<-'LISTS'
		top
		a/1|a/2
		a/b/c/4|top|a/b/c/4|d/e
		./a/1|/a/2|a//b/3|d/
		a|a/b|a/b/3
		a/b|a/1
		link
		.
		/
		|top|
		x/7|x
	LISTS
}

@test "--files-from: names that are missing are listed, 23; the rest arrives" {
	forest
	ln -s a src/link
	listed 23 dst src -- top none a/none a/none/deep top/x d d/none link/1 ../src/top a/../top
	[ "$(names dst)" = "$(printf '%s\n' 'a d' 'd d' 'd/5 f' 'd/e d' 'd/e/6 f' 'top f')" ]
	[ "$(json_count send.json file '"state":"failed"')" -eq 8 ]
	json_has send.json file '"path":"a/none/deep".*"errno":2'
	json_has send.json file '"path":"top/x".*"errno":20'
	json_has send.json file '"path":"d/none".*"errno":2'
	json_has send.json file '"path":"link/1".*symbolic link'
	json_has send.json file '"path":"../src/top".*component'
	one_line send.err
	done_is send.json exit=23 files=3 failed=8
	printf 'none\na/none\n' >list
	SENT=0
	"$HAUL" send --files-from=list src 127.0.0.1:1 2>send.err || SENT=$?
	[ "$SENT" -eq 3 ]
	one_line send.err 'a/none.*No such file'
}

@test "--files-from: from standard input, with -0, without SRC, with -C, from a symlinked SRC" {
	forest
	printf 'new\nline' >$'src/new\nline'
	ln -s src ln
	start_recv dst
	(cd src && find . -newer top -type f -print0 -o -name '*line' -print0 |
		"$HAUL" send --files-from=- -0 "$RECV_ADDR/1")
	[ -e $'dst/1/new\nline' ]
	printf 'a/1\r\n' | "$HAUL" send --files-from=- -C src "$RECV_ADDR/2"
	[ "$(names dst/2)" = "$(printf 'a d\na/1 f')" ]
	echo a/1 | "$HAUL" send --files-from=- -C . ln "$RECV_ADDR/3"
	[ "$(names dst/3)" = "$(printf 'a d\na/1 f')" ]
	: | "$HAUL" send --files-from=- src "$RECV_ADDR/4"
	[ -z "$(names dst/4)" ]
}

@test "--files-from and rules: both must take it" {
	forest
	listed 0 dst --exclude=b/ --exclude=5 --exclude='no*' src -- a/1 a/b/3 a/b/none d none
	[ "$(names dst)" = "$(printf '%s\n' 'a d' 'a/1 f' 'd d' 'd/e d' 'd/e/6 f')" ]
	empty send.err
	listed 0 dst2 --exclude='*' src -- a/1 top none
	[ -z "$(names dst2)" ]
}

@test "--files-from: a directory that may only be searched, and links that are followed" {
	forest
	ln -s a src/link
	chmod 111 src/a
	start_recv dst
	# shellcheck disable=SC2086
	printf 'a/b/3\nd/5\n' | $POWERLESS "$HAUL" send --files-from=- src "$RECV_ADDR/1"
	chmod 755 src/a
	[ -e dst/1/a/b/3 ]
	printf 'link/1\n' | "$HAUL" send --links=follow --files-from=- src "$RECV_ADDR/2"
	[ "$(names dst/2)" = "$(printf 'link d\nlink/1 f')" ]
}

@test "lists and rules that are refused" {
	local want
	mkdir src
	printf 'a\0b' >nul
	printf 'a\n- \n' >bad
	truncate -s 17M huge
	printf '%05000d\n' 0 >long
	# status, regular expression, options
	while IFS='|' read -r want why options; do
		SENT=0
		# shellcheck disable=SC2086
		"$HAUL" send $options 127.0.0.1:1 </dev/null >send.out 2>send.err || SENT=$?
		[ "$SENT" -eq "$want" ] || fail "$options: exit $SENT, want $want" "$(<send.err)"
		one_line send.err "$why"
		empty send.out
	done <<-'TABLE'
		11|none.*No such file|--exclude-from=none src
		11|none.*No such file|--files-from=none src
		22|huge.*larger than 16|-0 --exclude-from=huge src
		1|bad:2.*empty|--exclude-from=bad src
		1|nul.*NUL byte|--exclude-from=nul src
		1|nul.*NUL byte|--files-from=nul src
		1|long:1.*longer than 4096|--exclude-from=long src
		1|long.*longer than 4096|--files-from=long src
		1|one SRC at most|--files-from=long src src
		1|from-cmd|--files-from=long --from-cmd=true
		1|standard input|--files-from=- --exclude-from=- src
		1|standard input|--files-from=long -
		1|standard input|--exclude-from=- -
		1|--min-size|--min-size=2 --max-size=1 src
		1|empty|--exclude= src
	TABLE
}

# ---- --gitignore

@test "--gitignore takes the files that git would add" {
	grow src
	mkdir -p src/a/build/keep src/deep/x/y
	touch src/a/build/{out,keep/out} src/deep/x/{1.log,keep.log} src/deep/x/y/2.log 'src/trailing ' src/a/local
	printf '%s\n' '*.o' '!/b/b.o' '/foo/' 'build/*' '!build/keep' '# foobar' '**/c/a' 'x?y/' '\#hash' '[[:upper:]]*' \
		'cache' '!src/cache/' 'trailing\ ' 'two words  ' 'bar/**/foo' >src/.gitignore
	printf '*.log\r\n!keep.log\r\n/y/\r\n' >src/deep/.gitignore
	printf '!*.o\n/local\nfoo\n' >src/a/.gitignore
	printf '*' >src/a/b/.gitignore
	ln -s ../../a/.gitignore src/a/foo/.gitignore
	rm -rf src/.git src/src/.git
	deliver 0 dst --gitignore src/.
	export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null XDG_CONFIG_HOME=$PWD
	git -c init.defaultBranch=x init -q src
	git -C src ls-files -z -o --exclude-standard | sort -z >want
	find dst -mindepth 1 ! -type d -printf '%P\0' | sort -z >got
	cmp want got || fail "$(diff <(tr '\0' '\n' <want) <(tr '\0' '\n' <got))"
	[ "$(tr -dc '\0' <got | wc -c)" -gt 20 ]
}

@test "--gitignore: rules come first, .git is sent, nothing above SRC counts" {
	mkdir -p repo/sub/.git repo/sub/in
	echo '*' >repo/.gitignore
	printf 'a\nb\n' >repo/sub/.gitignore
	touch repo/sub/{a,b,c,d,.git/config,in/a}
	printf 'a\nsub/in\nd\n' >list
	deliver 0 dst --gitignore --include=/sub/a --exclude=d repo/sub
	[ "$(names dst)" = "$(printf '%s\n' 'sub d' 'sub/.git d' 'sub/.git/config f' 'sub/.gitignore f' 'sub/a f' 'sub/c f' 'sub/in d')" ]
	deliver 0 dst2 --gitignore --files-from=list repo
	[ -z "$(names dst2)" ]
	rm repo/.gitignore
	deliver 23 dst3 --gitignore --files-from=list repo
	[ "$(names dst3)" = "$(printf '%s\n' 'sub d' 'sub/in d')" ]
}

@test "--gitignore: one that cannot be read is a problem, and nothing beside it is sent" {
	mkdir -p src/large src/locked src/fine
	yes secret | head -c 1100000 >src/large/.gitignore
	echo secret >src/locked/.gitignore
	chmod 000 src/locked/.gitignore
	touch src/{large,locked,fine}/secret
	start_recv --once dst
	SENT=0
	# shellcheck disable=SC2086
	$POWERLESS "$HAUL" send --json=send.json --gitignore src/. "$RECV_ADDR" 2>send.err || SENT=$?
	reap "$RECV_PID"
	[ "$SENT" -eq 23 ]
	[ "$(names dst)" = "$(printf '%s\n' 'fine d' 'fine/secret f' 'large d' 'locked d')" ]
	json_has send.json file '"path":"large".*"errno":27'
	json_has send.json file '"path":"locked".*"errno":13'
	one_line send.err gitignore
}
