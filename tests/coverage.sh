#!/usr/bin/env bash
# Lines and branches that a build with --coverage has run, by file: tests/coverage.sh    (B=build/coverage)
# `make coverage` builds, runs unit, sim and replay, and calls this.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
B=${B:-build/coverage}

printf '%-24s %18s %18s\n' file lines branches
for source in wire/*.c lib/journal.c lib/partial.c lib/root.c; do
	object=$B/${source%.c}.o
	[[ -f ${object%.o}.gcda ]] || continue
	gcov -n -b -o "$object" "$source" 2>/dev/null | awk -v file="$source" '
		/^File / { mine = $0 == "File \x27" file "\x27" }
		mine && /^Lines executed:/ { split($2, p, ":"); lines = p[2]; nl = $4 }
		mine && /^Taken at least once:/ { split($4, p, ":"); branches = p[2]; nb = $6 }
		END { printf "%s %s %d %s %d\n", file, lines, nl, branches, nb }'
done | awk '
	{ printf "%-24s %9.2f %% of %4d %9.2f %% of %4d\n", $1, $2, $3, $4, $5 }
	/^wire/ { l += $2 * $3; nl += $3; b += $4 * $5; nb += $5 }
	END { if (!nl || !nb) exit 1; printf "%-24s %9.2f %% of %4d %9.2f %% of %4d\n", "wire/", l / nl, nl, b / nb, nb }'
