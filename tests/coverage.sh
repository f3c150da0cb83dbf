#!/usr/bin/env bash
# Lines and branches that a build with --coverage has run, by file: tests/coverage.sh    (B=build/coverage)
# `make coverage` builds, runs unit, sim and replay, and calls this. A branch is one way out of one condition of the
# machine code, so `a && b` has four. Fails if a part with a target has less than 95 % of its lines or 90 % of its
# branches.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
B=${B:-build/coverage}

# FILE LINES% LINES BRANCHES% BRANCHES of each source; what was never run has no counts, and is all missing
counts() {
	local source object
	for source; do
		object=$B/${source%.c}.o
		gcov -n -b -o "$object" "$source" 2>/dev/null | awk -v file="$source" '
			/^File / { mine = $0 == "File \x27" file "\x27" }
			mine && /^Lines executed:/ { split($2, p, ":"); lines = p[2]; nl = $4 }
			mine && /^Taken at least once:/ { split($4, p, ":"); branches = p[2]; nb = $6 }
			END {
				if (!nl) print file ": no counts: run the tests of a coverage build first" >"/dev/stderr"
				printf "%s %s %d %s %d\n", file, lines, nl, branches, nb
			}'
	done
}

# part NAME TARGET FILE...: its files and their sum, which must reach the target (yes, no)
part() {
	counts "${@:3}" | awk -v part="$1" -v target="$2" '
		function row(name, lines, nl, branches, nb, said) {
			printf "%-24s %9.2f %% of %4d %9.2f %% of %4d%s\n", name, lines, nl, branches, nb, said
		}
		{
			row($1, $2, $3, $4, $5, "")
			l += $2 * $3; nl += $3; b += $4 * $5; nb += $5
			if (!$3) missing = 1
		}
		END {
			l /= nl ? nl : 1
			b /= nb ? nb : 1
			bad = missing || (target == "yes" && (l < 95 || b < 90))
			row("= " part, l, nl, b, nb, bad ? "  FAILED" : target == "yes" ? "  ok" : "")
			exit bad
		}'
}

status=0
printf '%-24s %18s %18s\n' file lines branches
part wire yes wire/*.c || status=1
part journal yes lib/journal.c || status=1
part root yes lib/root.c lib/root_state.c || status=1
part keys yes lib/keys.c lib/keytext.c lib/keyfile.c || status=1
part others no lib/{peers,partial,names,beneath,place,dircache}.c || status=1
exit $status
