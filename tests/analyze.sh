#!/usr/bin/env bash
# What three analyzers find in cmd, lib and wire, but for tests/lint/analyze.known: tests/analyze.sh    (B=build/PROFILE)
#
#   gcc       gcc -fanalyzer           GCC=gcc
#   clang     clang --analyze          CLANG=clang
#   cppcheck  warnings, performance, portability
#
# A finding is "file:line: checker: message"; logs are in $B/analyze. A line of the table explains the findings of one
# checker at one line of code, which is given as text, so that it follows the code and goes with it:
#
#   TOOL CHECKER FILE | CODE | REASON
#
# One that explains nothing any more is a failure like a finding without a line.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
exec </dev/null
export LC_ALL=C.UTF-8

known=tests/lint/analyze.known
logs=${B:-build/release}/analyze
read -ra packages < <(pkg-config --cflags libzstd libsodium libxxhash)
flags=(-std=c17 -D_GNU_SOURCE -I. -pthread "${packages[@]}" '-DHAUL_RELEASE=""' '-DHAUL_COMMIT=""' '-DHAUL_CFLAGS=""')
sources=(cmd/*.c lib/*.c wire/*.c)
passed=0
failed=0
rm -rf "$logs"
mkdir -p "$logs"

# each COMMAND...: runs it with every source file in turn; all that was said, and whether it always succeeded
each() {
	printf '%s\0' "${sources[@]}" | xargs -0 -n 1 -P "$(nproc)" "$@" 2>&1
}

run_gcc() {
	each "${GCC:-gcc}" "${flags[@]}" -O1 -fanalyzer -fdiagnostics-plain-output -c -o /dev/null
}
run_clang() {
	each "${CLANG:-clang}" "${flags[@]}" --analyze --analyzer-output text -o /dev/null \
		-Xclang -analyzer-checker=nullability,valist,optin.portability
}
# without system headers it knows the functions of libc and POSIX from its own tables
run_cppcheck() {
	cppcheck -q -j "$(nproc)" -I. --std=c11 --library=posix,gnu --inline-suppr --enable=warning,performance,portability \
		--template='{file}:{line}:{column}: warning: {message} [{id}]' -D_GNU_SOURCE "${sources[@]}" 2>&1
}

# The findings in a log, a path that leads to them in several ways once: FILE:LINE CHECKER MESSAGE
findings() {
	sed -n -E -e 's/ \[CWE-[0-9]+\]//' \
		-e 's/^([^: ]+:[0-9]+):[0-9]+: (warning|error): (.*) \[(-Wanalyzer-)?([^]]*)\]$/\1 \5 \3/p' \
		-e 's/^([^: ]+:[0-9]+):[0-9]+: (fatal )?error: ([^[]*)$/\1 error \3/p' | sort -u
}

# unexplained TOOL: of the findings read, those that no line of the table explains; then the lines that explain none
unexplained() {
	awk -v tool="$1" -v known="$known" '
		function trim(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); return s }
		function code(at, part, line, text) {
			split(at, part, ":")
			for (line = 0; line < part[2] && (getline text < part[1]) > 0;) line++
			close(part[1])
			return trim(text)
		}
		BEGIN {
			while ((getline text < known) > 0) {
				if (text ~ /^#|^$/) continue
				if (split(text, part, / \| /) < 3 || part[3] == "") {
					print known ": no reason: " text
					continue
				}
				split(part[1], word, " ")
				if (word[1] == tool) reason[word[2] " " word[3] " | " trim(part[2])] = part[3]
			}
		}
		{
			key = $2 " " substr($1, 1, index($1, ":") - 1) " | " code($1)
			if (key in reason) met[key] = 1
			else print
		}
		END {
			for (key in reason)
				if (!(key in met)) print known ": explains nothing: " tool " " key
		}'
}

for tool in gcc clang cppcheck; do
	start=$SECONDS status=0
	"run_$tool" >"$logs/$tool.log" || status=$?
	found=$(findings <"$logs/$tool.log")
	bad=$(unexplained "$tool" <<<"$found" | grep .)
	if ((status != 0)); then
		bad+=$'\n'"exit status $status: $(tail -n 3 "$logs/$tool.log")"
	fi
	if [[ -z $bad ]]; then
		echo "  ok     $tool (${#sources[@]} files, $(grep -c . <<<"$found") findings, all explained, $((SECONDS - start)) s)"
		passed=$((passed + 1))
	else
		printf '%s\n' "  FAILED $tool ($((SECONDS - start)) s):" "  | ${bad//$'\n'/$'\n'  | }"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
((failed == 0))
