#!/bin/sh
# Makes sure that what the build and the tests need is installed. Says nothing and calls no package manager when
# nothing is missing. `deps.sh all` is for more than `make check`. gcc and make are taken for granted.
set -u

missing=
need() { # PACKAGE CHECK...
	package=$1
	shift
	"$@" >/dev/null 2>&1 || case " $missing " in
	*" $package "*) ;;
	*) missing="$missing $package" ;;
	esac
}
command_exists() { PATH=$PATH:/usr/sbin:/sbin command -v "$1"; }

need pkg-config command_exists "${PKG_CONFIG:-pkg-config}"
# without pkg-config the compiler still knows whether a header is there
header() {
	printf '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <%s>\n' "$1" |
		"${CC:-cc}" -E -x c -
}
need libzstd-dev header zstd.h
need libsodium-dev header sodium.h
need libxxhash-dev header xxhash.h
need libcmocka-dev header cmocka.h
need bats command_exists bats
need rsync command_exists rsync
need git command_exists git
need netcat-openbsd command_exists nc
need zstd command_exists zstd
need strace command_exists strace
need e2fsprogs command_exists mkfs.ext4
need python3 command_exists python3
need procps command_exists ps
need binutils command_exists nm
if [ "${1-}" = all ]; then # what lint, the profiles and the fuzzers need besides
	need clang command_exists clang
	need clang-format command_exists clang-format
	need cppcheck command_exists cppcheck
	need shellcheck command_exists shellcheck
	need mandoc command_exists mandoc
fi

[ -n "$missing" ] || exit 0
if ! command_exists apt-get >/dev/null; then
	echo "deps: missing:$missing (names of Debian packages); please install them" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
	sudo=sudo
	command_exists sudo >/dev/null || {
		echo "deps: missing:$missing; as root: apt-get install$missing" >&2
		exit 1
	}
fi
echo "deps: installing$missing"
$sudo apt-get update -qq || echo "deps: apt-get update failed, going on with the lists there are" >&2
# shellcheck disable=SC2086 # a list of words, and sudo or nothing
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
	echo "deps: could not install:$missing" >&2
	exit 1
}
