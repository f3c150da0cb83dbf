#!/bin/sh
# Installs into an empty place, runs what arrived there, removes it, and expects that no file is left.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${B:=build/release}"
root=$(mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT
bad=0
complain() {
	echo "install: $*"
	bad=1
}
run_make() { ${MAKE:-make} -s --no-print-directory B="$B" PREFIX=/usr DESTDIR="$root" "$@"; }

run_make install || complain 'make install failed'
for file in bin/haul share/man/man1/haul.1 share/man/man5/haul-wire.5 share/bash-completion/completions/haul \
	share/zsh/site-functions/_haul share/fish/vendor_completions.d/haul.fish; do
	[ -s "$root/usr/$file" ] || complain "usr/$file did not arrive"
done
[ "$(find "$root" -type f | wc -l)" -eq 6 ] || complain "other files arrived: $(find "$root" -type f)"
run_make install SYSTEMDDIR=/lib/systemd/system || complain 'make install with units failed'
grep -q '^ExecStart=/usr/bin/haul recv' "$root/lib/systemd/system/haul@.service" || complain 'the unit starts another haul'
[ -s "$root/lib/systemd/system/haul.socket" ] || complain 'haul.socket did not arrive'
"$root/usr/bin/haul" --version >/dev/null || complain 'the installed binary does not run'
# something that is not ours must survive
mkdir -p "$root/usr/bin" && : >"$root/usr/bin/other"
run_make uninstall SYSTEMDDIR=/lib/systemd/system || complain 'make uninstall failed'
[ "$(find "$root" -type f)" = "$root/usr/bin/other" ] || complain "left or lost: $(find "$root" -type f)"
exit $bad
