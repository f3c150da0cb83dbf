#!/bin/sh
# Who may call what, read from the objects. Path system calls: on the receiver's side only lib/root*.c make them,
# with lib/beneath.c, lib/place.c and lib/strays.c, their hands; on the sender's the walk. Every other object is listed with what it needs and
# why. So is syscall(), which could be any of them. lib/ never prints, exits or aborts.
# usage: tests/lint/symbols.sh HAUL_BINARY     (its objects lie beside it)
set -u
cd "$(dirname "$0")/../.." || exit 1
objects=$(dirname "${1:-build/release/haul}")
bad=0

# OBJECT CALLS (extended regular expression): the reason is the comment
allowed() {
	case $1 in
	lib/root.o) echo '.*' ;;                                  # the destination, beneath DIR
	lib/root_state.o) echo 'mkdirat|unlinkat|renameat|fstatat' ;; # its .haul
	lib/place.o) echo 'renameat2?|linkat|unlinkat|fstatat|faccessat' ;; # its final names
	lib/destdir.o) echo 'open|mkdir|l?stat|faccessat' ;;      # DIR itself, as the user spelt it
	lib/beneath.o) echo 'openat|syscall|fchmodat' ;;          # openat2, and where there is none; a closed directory's mode
	lib/strays.o) echo 'fstatat|unlinkat' ;;                  # what --delete removes
	lib/walk.o) echo 'open|openat|readlinkat|fstatat|unlinkat' ;; # the source; --remove-source-files
	lib/walk_start.o) echo 'openat|fstatat' ;;                # where each source begins
	lib/walk_list.o) echo 'fstatat' ;;                        # names of --files-from
	lib/walk_ignore.o) echo 'openat' ;;                       # .gitignore
	lib/operand.o) echo 'realpath' ;;                         # the name of `..`
	lib/sink.o) echo 'open|stat' ;;                           # -o FILE that is a FIFO or a device
	lib/listen.o) echo 'open|l?stat|rename|renameat2|unlink' ;;   # unix socket, port file
	lib/conn.o) echo 'open' ;;                                # /dev/null for a child
	lib/porter.o) echo 'open' ;;                              # /dev/null for itself
	lib/boot.o) echo 'open' ;;                                # /proc: the boot's name, a process's start
	lib/idmap.o) echo 'open' ;;                               # /etc/passwd, /etc/group
	lib/metaset.o) echo 'fchownat' ;;                         # of a descriptor: AT_EMPTY_PATH
	lib/keyfile.o) echo 'openat|fstatat|unlinkat' ;;          # key files
	lib/lockfile.o) echo 'open' ;;                            # --lock
	lib/sandbox.o) echo 'open|l?stat|fstatat' ;;              # where sources lie
	lib/landlock.o) echo 'openat|syscall' ;;                  # O_PATH, for rules; Landlock itself
	lib/seccomp.o) echo 'syscall' ;;                          # seccomp
	lib/command.o | lib/holder.o) echo 'syscall' ;;           # pidfd
	cmd/*) echo 'open|fopen|access|rename|renameat2?|unlink|l?stat|realpath|mkdir' ;; # files named by options
	*) echo 'none' ;;
	esac
}

path_calls='open|openat|openat2|creat|fopen|freopen|opendir|scandir|ftw|nftw|l?stat|fstatat|statx|access|faccessat'
path_calls="$path_calls|rename|renameat|renameat2|link|linkat|symlink|symlinkat|unlink|unlinkat|remove|mkdir|mkdirat"
path_calls="$path_calls|rmdir|mknod|mknodat|mkfifo|mkfifoat|mk[a-z]*temp|chmod|fchmodat|chown|lchown|fchownat|truncate"
path_calls="$path_calls|utime|utimes|lutimes|utimensat|l?setxattr|l?removexattr|realpath|readlink|readlinkat|chdir|fchdir|chroot|syscall"
path_calls="$path_calls|name_to_handle_at|open_by_handle_at|inotify_add_watch|bindtextdomain|dlopen|popen|system|tmpfile|tempnam|tmpnam"

# symbols OBJECT: undefined ones, without the fortified and large-file spellings
symbols() {
	nm -u "$1" | awk '{ print $2 }' | sed -E 's/@.*//; s/^__//; s/_chk$//; s/64_2$//; s/_2$//; s/64$//; s/^isoc99_//'
}

count=0
for object in "$objects"/lib/*.o "$objects"/cmd/*.o "$objects"/wire/*.o; do
	[ -e "$object" ] || continue
	name=${object#"$objects"/}
	[ -e "${name%.o}.c" ] || continue
	count=$((count + 1))
	for call in $(symbols "$object" | grep -xE "$path_calls" | grep -vxE "$(allowed "$name")"); do
		echo "symbols: ${name%.o}.c calls $call: only lib/root.c may (or tests/lint/symbols.sh gives the reason)"
		bad=1
	done
	case $name in
	cmd/* | wire/*) continue ;;
	esac
	for call in $(symbols "$object" |
		grep -xE 'v?printf|puts|putchar|perror|psignal|v?(err|warn)x?|v?syslog|stdout|stderr|stdin|exit|quick_exit|_?_?exit|abort|assert_fail|assert|error|signal|longjmp'); do
		# between fork and exec there is nobody to return to; a handler is reset for the child there
		case $name:$call in
		lib/command.o:_exit | lib/command.o:signal | lib/serve_sessions.o:_exit | lib/porter.o:_exit) continue ;;
		esac
		echo "symbols: ${name%.o}.c uses $call: lib/ never prints, exits, aborts or installs handlers"
		bad=1
	done
done
[ "$count" -gt 0 ] || { echo "symbols: no objects in $objects" && bad=1; }
exit $bad
