# What is left out and what is taken: --exclude and its like, --max-size, -x.

load helpers

# grow DIR: names for patterns to tell apart
grow() {
	local dir file
	local dirs=(. a a/b a/b/c b foo foo/bar bar/foo a/foo/bar cache src/cache .git src/.git 'two words' '[x]' 'x*y')
	mkdir "$1"
	(cd "$1" && mkdir -p "${dirs[@]}")
	for dir in "${dirs[@]}"; do
		for file in a b.o c.c foo foobar .hidden 'back\slash' '#hash' 'star*' 'q?' '[' 'ABC' 'file 1' é; do
			[ -d "$1/$dir/$file" ] || echo "$dir/$file" >"$1/$dir/$file"
		done
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
}
