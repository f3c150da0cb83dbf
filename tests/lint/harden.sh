#!/bin/sh
# The release binary itself is hardened, whatever flags were asked for.
# usage: tests/lint/harden.sh HAUL_BINARY
# shellcheck disable=SC2317 # the functions are called by name
set -u
haul=${1:-build/release/haul}
bad=0
want() { # WHAT COMMAND...
	what=$1
	shift
	"$@" >/dev/null || {
		echo "harden: $haul: $what"
		bad=1
	}
}
elf() { readelf -W "$1" "$haul"; }
has() { elf "$1" | grep -qE -- "$2"; }
hasnt() { ! has "$1" "$2"; }

[ -x "$haul" ] || { echo "harden: $haul: missing" && exit 1; }
want 'not position independent' has -h 'Type:.*DYN'
want 'no interpreter, so not an executable' has -l INTERP
want 'no RELRO segment' has -l GNU_RELRO
want 'symbols are not bound at start (-z now)' has -d 'BIND_NOW|FLAGS.*NOW'
want 'no GNU_STACK header' has -l GNU_STACK
want 'the stack is executable' hasnt -l 'GNU_STACK.*RWE'
want 'a segment is writable and executable' hasnt -l 'LOAD.*RWE'
want 'no stack protector' has --dyn-syms '__stack_chk_fail'
want 'no fortified calls' has --dyn-syms '_chk(@|$)'
want 'text relocations' hasnt -d TEXTREL
want 'a run path' hasnt -d 'RPATH|RUNPATH'
# The linker drops the mark where the C library's own start files lack it (Debian), so it is our objects that count.
marked() { readelf -n "$(dirname "$haul")/cmd/main.o" | grep 'IBT.*SHSTK'; }
case $(uname -m) in
x86_64) want 'cmd/main.o has no IBT and SHSTK marks' marked ;;
esac
exit $bad
