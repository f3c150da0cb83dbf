#!/bin/sh
# Arrows only go down: cmd -> lib -> wire. wire/ is pure: no files, sockets, threads, clocks, randomness.
# usage: tests/lint/layers.sh HAUL_BINARY     (its objects lie beside it)
set -u
cd "$(dirname "$0")/../.." || exit 1
objects=$(dirname "${1:-build/release/haul}")
bad=0
complain() { # WHAT: standard input lists the offenders; true if there are any
	sed "s|^|layers: $1: |" | grep .
}
includes() { grep -nE '^[[:space:]]*#[[:space:]]*include' "$@" /dev/null; }

includes wire/*.[ch] | grep '"' | grep -vE '"wire/[^"]*"' | complain 'wire/ includes only wire/' && bad=1
includes wire/*.[ch] | grep '<' |
	grep -vE '<(assert|limits|stdarg|stdbool|stddef|stdint|stdlib|string|sys/uio|xxhash|sodium)\.h>' |
	complain 'wire/ does no I/O' && bad=1
includes lib/*.[ch] | grep '"' | grep -vE '"(lib|wire)/[^"]*"' | complain 'lib/ includes only lib/ and wire/' && bad=1
includes cmd/*.[ch] | grep '"' | grep -vE '"(cmd|lib|wire)/[^"]*"' | complain 'cmd/ includes no other folder' && bad=1

for object in "$objects"/wire/*.o; do
	[ -e "$object" ] || continue
	nm -u "$object" | awk '{ print $2 }' |
		grep -E '^(__)?(open|openat|read|pread|write|pwrite|readv|writev|send|recv|sendmsg|recvmsg|socket|poll|ppoll|close|time|clock_gettime|gettimeofday|getrandom|random|rand|randombytes.*|pthread_.*|printf|fprintf|getenv|fork|syscall|mmap)(64)?(_chk|_2)?$' |
		sed "s|^|$(basename "$object"): |" | complain 'wire/ is pure, but calls' && bad=1
done
exit $bad
