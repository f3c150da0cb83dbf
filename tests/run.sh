#!/usr/bin/env bash
# Runs tests and counts them: tests/run.sh SUITE...    (B=build/PROFILE; from anywhere)
#
#   unit sim        every executable below $B/tests/SUITE
#   e2e fault       executables of the suite, then every tests/SUITE/*.bats; HAUL_FILES=a.bats,b.bats picks some
#   lint            every tests/lint/*.sh, called with the binary
#   fuzz            every target below $B/tests/fuzz (or FUZZ_TARGETS=a,b) for FUZZ_SECONDS (20) or FUZZ_RUNS, from tests/fuzz/corpus
#   replay          every fuzz target once over its files in tests/fuzz/corpus
#   FAULT_SCALE=N   makes the fault suite N times as long (make soak)
#   profiles        builds and runs everything under each of PROFILES, then lint
#
# An executable counts as many tests as it prints "ok" and "not ok" lines (TAP), or one by its exit status. Whatever
# fails is shown in full. A skipped test is a failed one. The last line is "N passed, N failed"; the exit status is 0
# only if something passed and nothing failed.
#
# Tests see: B, HAUL (the binary, absolute), TOOLS ($B/tests/tools), HAUL_PROFILE (release, asan, ...).
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
exec </dev/null

B=${B:-build/${PROFILE:-release}}
B=$(realpath -m "$B")
export B HAUL="$B/haul" TOOLS="$B/tests/tools" HAUL_PROFILE="${B##*/}"
export CMOCKA_MESSAGE_OUTPUT=TAP LC_ALL=C.UTF-8 BATS_TEST_TIMEOUT=$((300 * ${FAULT_SCALE:-1}))
export ASAN_OPTIONS="${ASAN_OPTIONS-detect_leaks=1}" UBSAN_OPTIONS="${UBSAN_OPTIONS-print_stacktrace=1}"
export TSAN_OPTIONS="${TSAN_OPTIONS-halt_on_error=1 second_deadlock_stack=1}"
case $HAUL_PROFILE in asan | tsan | integer | coverage) TEST_SECONDS=${TEST_SECONDS:-900} ;; esac # they run up to fifteen times as long
unset HAUL_OPTIONS HAUL_KEY_FILE HAUL_RSH MAKEFLAGS MAKELEVEL MFLAGS MAKEOVERRIDES
mkdir -p "$B/log"

jobs=${TEST_JOBS:-$(nproc)} # programs and files of one suite that run at a time
passed=0
failed=0
tallies=()

# tally NAME LOG STATUS SECONDS: counts what one program printed into LOG.tally, and says so
tally() {
	local name=$1 log=$2 status=$3 ok bad skip planned
	ok=$(grep -c '^ok' "$log")
	skip=$(grep -ci '^ok.*# *skip' "$log")
	bad=$(grep -c '^not ok' "$log")
	planned=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
	((planned > ok + bad)) && bad=$((planned - ok))
	((status != 0 && bad == 0)) && bad=1
	((status == 0 && ok + bad == 0)) && ok=1
	ok=$((ok - skip)) bad=$((bad + skip))
	echo "$ok $bad" >"$log.tally"
	if ((bad == 0)); then
		echo "  ok     $name ($ok, $4 s)"
	else
		printf '%s\n' "  FAILED $name ($bad of $((ok + bad)), status $status, $4 s):" "$(sed 's/^/  | /' "$log")"
	fi
}

# beside NAME FUNCTION ARGS...: runs one program in the background, as soon as fewer than $jobs do
beside() {
	local log="$B/log/${1//\//-}.log"
	while (($(jobs -rp | wc -l) >= jobs)); do wait -n; done
	rm -f "$log.tally"
	tallies+=("$log.tally")
	"$2" "$1" "$log" "${@:3}" &
}

# all_done: waits for those, and adds their tallies up; one that left none has failed
all_done() {
	local file ok bad
	wait
	for file in "${tallies[@]}"; do
		ok=0 bad=1
		[[ -f $file ]] && read -r ok bad <"$file"
		passed=$((passed + ok)) failed=$((failed + bad))
	done
	tallies=()
}

# program NAME LOG COMMAND...: runs one program, five minutes at most
program() {
	local name=$1 log=$2 start=$SECONDS status=0
	shift 2
	timeout -k 5 "${TEST_SECONDS:-300}" "$@" >"$log" 2>&1 || status=$?
	((status == 124)) && echo "timed out" >>"$log"
	tally "$name" "$log" "$status" $((SECONDS - start))
}

# bats_file NAME LOG FILE: one line a test as it ends; bats itself limits each test
bats_file() {
	local name=$1 log=$2 start=$SECONDS status=0 said
	timeout -k 5 $((1800 * ${FAULT_SCALE:-1})) bats --formatter tap --timing "$3" 3>&- 2>&1 | tee "$log" |
		sed -u -E -e '/^1\.\./d' -e "s|^ok [0-9]* (.*# skip)|  SKIPPED $name: \1|" -e "s|^ok [0-9]*|  ok     $name:|" -e "s|^not ok [0-9]*|  FAILED $name:|" -e "s|^#|  \| $name:|" ||
		status=$?
	said=$(tally "$name" "$log" "$status" $((SECONDS - start)))
	grep -q '^not ok' "$log" || grep -v '^  ok ' <<<"$said"
}

run_suite() {
	local suite=$1 exe file name
	echo "== $suite ($HAUL_PROFILE)"
	for exe in "$B/tests/$suite"/*; do
		[[ -f $exe && -x $exe && -f tests/$suite/${exe##*/}.c ]] && beside "$suite/${exe##*/}" program "$exe"
	done
	for file in tests/"$suite"/*.bats; do
		[[ -f $file ]] || continue
		name=${file#tests/}
		[[ -z ${HAUL_FILES-} || ,$HAUL_FILES, == *,${file##*/},* ]] && beside "${name%.bats}" bats_file "$file"
	done
	all_done
}

run_lint() {
	local script
	echo "== lint"
	for script in tests/lint/*.sh; do
		[[ -x $script ]] && beside "${script#tests/}" program "$script" "$HAUL"
	done
	all_done
}

# Ends at FUZZ_SECONDS or FUZZ_RUNS a target, whichever comes first; only a limit that was given counts.
run_fuzz() {
	local exe name seconds=${FUZZ_SECONDS:-}
	[[ -n $seconds ]] || seconds=$([[ -n ${FUZZ_RUNS:-} ]] && echo 0 || echo 20)
	echo "== fuzz ($HAUL_PROFILE, $( ((seconds)) && echo "$seconds s" || echo "$FUZZ_RUNS executions") each)"
	for exe in "$B"/tests/fuzz/*; do
		name=${exe##*/}
		[[ -f $exe && -x $exe && -d tests/fuzz/corpus/$name ]] || continue
		[[ -z ${FUZZ_TARGETS-} || ,$FUZZ_TARGETS, == *,$name,* ]] || continue
		mkdir -p "$B/corpus/$name"
		TEST_SECONDS=$((seconds ? seconds + 60 : 1000000)) beside "fuzz/$name" program "$exe" -max_total_time="$seconds" \
			-runs="${FUZZ_RUNS:--1}" -timeout=20 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
			-artifact_prefix="$B/log/$name-" "$B/corpus/$name" "tests/fuzz/corpus/$name"
	done
	fuzz_table "${tallies[@]}"
	all_done
}

# fuzz_table TALLY...: waits for the targets, and tells what each has done; an input that broke one is kept, and named
fuzz_table() {
	local log name row stat tally
	wait
	printf '  %-10s %12s %8s %10s %8s\n' target executions exec/s 'new inputs' crashes
	for tally in "$@"; do
		log=${tally%.tally}
		name=${log##*/fuzz-}
		row=()
		for stat in number_of_executed_units average_exec_per_sec new_units_added; do
			row+=("$(sed -n "s/^stat::$stat: *//p" "$log" | grep . || echo -)")
		done
		printf '  %-10s %12s %8s %10s %8s\n' "${name%.log}" "${row[@]}" "$(grep -c 'Test unit written to' "$log")"
		sed -n 's/.*Test unit written to /  broken by /p' "$log"
	done
}

run_replay() {
	local exe name
	echo "== replay ($HAUL_PROFILE)"
	for exe in "$B"/tests/fuzz/*; do
		name=${exe##*/}
		[[ -f $exe && -x $exe && -f tests/fuzz/$name.c ]] && beside "replay/$name" program "$exe" "tests/fuzz/corpus/$name"
	done
	all_done
}

# The sub-runs print their own totals, which are added up here.
run_profiles() {
	local profile log compiler
	for profile in ${PROFILES:-debug release asan tsan integer clang}; do
		log="build/$profile.log"
		compiler=()
		[[ $profile == clang ]] && compiler=(CC=clang PROFILE=release)
		echo "==== $profile"
		if ! make -k -j"$(nproc)" --no-print-directory WERROR=1 PROFILE="$profile" B="build/$profile" "${compiler[@]}" tests; then
			echo "  FAILED build ($profile)"
			failed=$((failed + 1))
			continue
		fi
		# shellcheck disable=SC2086 # a list of suites
		B="build/$profile" tests/run.sh ${SUITES:-unit sim replay e2e fault} | tee "$log"
		add_totals "$log"
	done
	echo "==== lint"
	if make -j"$(nproc)" --no-print-directory PROFILE=release B=build/release all; then
		B=build/release tests/run.sh lint | tee build/lint.log
		add_totals build/lint.log
	else
		failed=$((failed + 1))
	fi
}

add_totals() {
	local p f
	read -r p f < <(sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$1")
	passed=$((passed + ${p:-0})) failed=$((failed + ${f:-1}))
}

(($# > 0)) || set -- unit sim replay e2e fault
for suite in "$@"; do
	case $suite in
	lint | fuzz | replay | profiles) "run_$suite" ;;
	*) run_suite "$suite" ;;
	esac
done
echo "$passed passed, $failed failed"
((passed > 0 && failed == 0))
