#!/usr/bin/env bash
# haul beside tar | nc, rsync, ssh and cp: whole processes, both sides, one interleaved run.    make bench
#
#   BENCH_MB=1024 BENCH_FILES=38000 BENCH_TREE_MB=430   size of rand and text; files and size of tree
#   BENCH_ROUNDS=5  BENCH_SETS="rand text tree"  BENCH_ONLY=REGEX (contenders)  BENCH_EXTRAS=no
#   BENCH_RESUME_MB=4096  BENCH_SMALL=20000             the file of the resume, and the small files of the syncs
#
# Warm cache, an empty destination for every run, the result compared byte for byte afterwards (not timed). rand and
# text arrive on the file system of the sources, tree on /dev/shm if it has room. Wall time is from the start of the
# sender until both sides have ended (the daemons of rsync: until the client has). CPU is user + system of all
# processes of both sides. RSS is the sum of the peaks of a side's processes. Wire is what crossed the loopback
# device, headers included, in a network namespace of its own where that is allowed. Figures are medians (min-max).
# What ssh runs over is an sshd of our own (ssh.sh), where there is one; scp copies what links point to, and sends the
# tree in the first round only: it waits for the other side several times for every file.
# The machine's noise is in all of them: compare ratios within one table.
set -u -o pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here" || exit 1
B=$(realpath -m "${B:-build/release}")
haul=$B/haul
run=$B/tests/bench/run
gen=$B/tests/bench/gen
data=$here/build/bench/data
work=$here/build/bench/work
keys=$work/keys
results=$here/build/bench/results.tsv
mb=${BENCH_MB:-1024} files=${BENCH_FILES:-38000} tree_mb=${BENCH_TREE_MB:-430}
resume_mb=${BENCH_RESUME_MB:-4096} small=${BENCH_SMALL:-20000}
rounds=${BENCH_ROUNDS:-5} sets=${BENCH_SETS:-rand text tree} only=${BENCH_ONLY:-.}
export LC_ALL=C HAUL_OPTIONS=''
unset HAUL_KEY_FILE
exec </dev/null

# Before a user namespace: in there haul would not trust whoever owns the directories above the keys.
make_keys() {
	local id
	rm -rf "$keys" && mkdir -p "$keys" && "$haul" key new "$keys/psk" || return
	for id in sender receiver; do "$haul" key new --identity="$keys/$id" || return; done
}

# A network of our own keeps other traffic out of the wire figures.
if [[ -z ${BENCH_INSIDE-} ]]; then
	BENCH_USER="$(id -u) $(id -g) $(id -un)" && export BENCH_USER
	mkdir -p "$work"
	make_keys >/dev/null 2>"$work/err" || cat "$work/err" >&2
	for wrap in 'unshare -n' 'unshare -rn'; do
		if $wrap sh -c 'ip link set lo up' 2>/dev/null; then
			# shellcheck disable=SC2016 # for the inner shell
			BENCH_INSIDE=alone exec $wrap sh -c 'ip link set lo up; exec "$0" "$@"' "$here/tests/bench/bench.sh" "$@"
		fi
	done
	echo 'bench: no network namespace: the wire column counts everything on the loopback device' >&2
fi

# ---- data

make_data() {
	local stamp="$mb $files $tree_mb"
	[[ -f $data/stamp && $(<"$data/stamp") == "$stamp" ]] && return
	echo "making the data ($mb MiB rand, $mb MiB text, $files files of $tree_mb MiB) in build/bench/data"
	rm -rf "$data" && mkdir -p "$data" || exit 1
	find /usr/include /usr/share/doc /usr/share/common-licenses /usr/lib/python3 -type f -size -1024k \
		! -name '*.gz' ! -name '*.pyc' ! -name '*.so' ! -name '*.png' -print0 2>/dev/null |
		sort -z | xargs -0 cat 2>/dev/null | head -c 100M >"$data/corpus"
	"$gen" rand "$data/rand" "$mb" && "$gen" text "$data/text" "$mb" "$data/corpus" &&
		"$gen" tree "$data/tree" "$files" "$tree_mb" "$data/corpus" || exit 1
	echo "$stamp" >"$data/stamp"
}

# bytes_of SET: what it holds
bytes_of() {
	find "$data/$1" -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%.0f", n }'
}

# ---- the contenders: each sends $data/$set to $dest/$set; `sides` holds the receivers that end on their own

port=0
sides=()
servers=()

listening() {
	grep -qiE "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$port") 0+:0000 0A" /proc/net/tcp
}

await() {
	local i
	for ((i = 0; i < 500; i++)); do
		"$@" && return
		sleep 0.01
	done
	echo "bench: gave up waiting for: $*" >&2
	return 1
}

free_port() {
	port=$((20000 + RANDOM % 20000))
	while listening; do port=$((port + 1)); done
}

# send and recv: one process of that side, under `run` while measuring. In the background they become it.
measure=yes
send() { ${measure:+"$run" "$work/stats.send"} "$@" 2>>"$work/err"; }
recv() { exec ${measure:+"$run" "$work/stats.recv"} "$@" 2>>"$work/err"; }

recv_haul() {
	rm -f "$work/port"
	recv "$haul" recv --listen=127.0.0.1:0 --port-file="$work/port" --once "$@" "$dest" &
	sides+=($!)
	await test -s "$work/port" || return
	port=$(<"$work/port") && port=${port##*:}
}

send_haul() { send "$haul" send "$@" "$data/$set" "127.0.0.1:$port"; }

recv_tar() { # FILTER...: what stands between nc and tar
	free_port
	if (($#)); then
		{ recv nc -l 127.0.0.1 "$port" | recv "$@" | recv tar x -C "$dest"; } &
	else
		{ recv nc -l 127.0.0.1 "$port" | recv tar x -C "$dest"; } &
	fi
	sides+=($!)
	await listening
}

recv_rsync() {
	free_port
	cat >"$work/rsyncd.conf" <<-END
		use chroot = no
		address = 127.0.0.1
		port = $port
		reverse lookup = no
		[m]
		path = $dest
		read only = no
		munge symlinks = no
	END
	[[ $(id -u) != 0 ]] || printf 'uid = 0\ngid = 0\n' >>"$work/rsyncd.conf"
	recv rsync --daemon --no-detach --config="$work/rsyncd.conf" --log-file="$work/rsyncd.log" "$@" &
	servers+=($!)
	await listening
}

send_rsync() { send rsync -a "$@" "$data/$set" "rsync://127.0.0.1:$port/m/"; }

# shellcheck source=ssh.sh
source "$here/tests/bench/ssh.sh"
# shellcheck source=after.sh
source "$here/tests/bench/after.sh"

# name | group | sets, SET:N in N rounds only | programs that must be there | receiver | sender; the sender is timed
contenders() {
	cat <<-'END'
		haul -z none|plain|all|haul|recv_haul|send_haul -z none
		tar, nc|plain|all|tar nc|recv_tar|send tar c -C "$data" "$set" '|' send nc -N 127.0.0.1 "$port"
		rsync daemon|plain|all|rsync|recv_rsync|send_rsync
		cp (limit)|plain|all|cp|:|send cp -a "$data/$set" "$dest/"
		haul -z 1|zstd 1|all|haul|recv_haul|send_haul -z 1
		tar, zstd -1, nc|zstd 1|all|tar zstd nc|recv_tar zstd -dc|send tar c -C "$data" "$set" '|' send zstd -1 -c '|' send nc -N 127.0.0.1 "$port"
		rsync daemon -z zstd 1|zstd 1|all|rsync|recv_rsync|send_rsync -z --compress-choice=zstd --compress-level=1
		haul (defaults)|durable|all|haul|recv_haul|send_haul
		haul -z none, --sync=none|unsynced|all|haul|recv_haul --sync=none|send_haul -z none
		rsync daemon --fsync|durable|all|rsync|recv_rsync|send_rsync --fsync
		haul --key -z none|encrypted|all|haul psk|recv_haul --key-fd=7 7<"$keys/psk"|send_haul --key-fd=7 -z none 7<"$keys/psk"
		haul --identity -z none|encrypted|rand|haul identities|recv_haul --identity="$keys/receiver" --peer="$keys/sender.pub"|send_haul --identity="$keys/sender" --peer="$keys/receiver.pub" -z none
		tar, ssh aes128-gcm|encrypted|all|tar ssh sshd|recv_ssh aes128-gcm@openssh.com|send_tar_ssh
		rsync, ssh aes128-gcm|encrypted|all|rsync ssh sshd|recv_ssh aes128-gcm@openssh.com|send_rsync_ssh
		rsync, ssh chacha20-poly1305|encrypted|all|rsync ssh sshd|recv_ssh chacha20-poly1305@openssh.com|send_rsync_ssh
		scp aes128-gcm|encrypted|rand text tree:1|scp ssh sshd|recv_ssh aes128-gcm@openssh.com|send_scp
		haul --key -z 1|encrypted, zstd 1|text tree|haul psk|recv_haul --key-fd=7 7<"$keys/psk"|send_haul --key-fd=7 -z 1 7<"$keys/psk"
		rsync -z zstd 1, ssh aes128-gcm|encrypted, zstd 1|text tree|rsync ssh sshd|recv_ssh aes128-gcm@openssh.com|send_rsync_ssh -z --compress-choice=zstd --compress-level=1
	END
}

lo_bytes() { awk '$1 == "lo:" { print $2 }' /proc/net/dev; }

sum() { # FILE COLUMN
	[[ -f $1 ]] && awk -v c="$2" '{ n += $c } END { print n + 0 }' "$1" || echo 0
}

same() { # NAME
	if [[ $set == tree ]]; then
		local links=--no-dereference
		[[ $1 != scp* ]] || links=''
		diff -r ${links:+"$links"} "$data/tree" "$dest/tree" >"$work/diff" 2>&1
	else
		cmp "$data/$set" "$dest/$set" >"$work/diff" 2>&1
	fi
}

# A virtual machine gives free memory back to its host, and pays for it when it takes it again: every run
# begins with as much memory in hand as it is about to fill.
warm() {
	cp -a "$data/$set" "$dest/warm"
	rm -rf "$dest/warm"
}

# one_run NAME RECEIVER SENDER: appends set, name, wall, send CPU, recv CPU, send RSS, recv RSS, wire, ok to results
one_run() {
	local name=$1 ok=ok status=0 side from before
	rm -rf "$dest" "$work"/stats.* "$work/err" "$work/json" && mkdir -p "$dest"
	sync
	warm
	sides=() servers=()
	eval "$2" || ok='no receiver'
	before=$(lo_bytes)
	from=$EPOCHREALTIME
	if [[ $ok == ok ]]; then
		eval "${3//\'|\'/|}" || status=$?
		for side in "${sides[@]}"; do wait "$side" || status=$?; done
	fi
	local to=$EPOCHREALTIME after
	after=$(lo_bytes)
	for side in "${servers[@]}" "${sides[@]}"; do
		kill "$side" 2>/dev/null
		wait "$side" 2>/dev/null
	done
	((status == 0)) || ok="status $status"
	[[ $ok == ok ]] && { same "$name" || ok='differs'; }
	printf '%s\t%s\t%.3f\t%s\t%s\t%s\t%s\t%s\t%s\n' "$set" "$name" \
		"$(awk -v a="$from" -v b="$to" 'BEGIN { print b - a }')" \
		"$(sum "$work/stats.send" 2)" "$(sum "$work/stats.recv" 2)" \
		"$(sum "$work/stats.send" 3)" "$(sum "$work/stats.recv" 3)" $((after - before)) "$ok" >>"$results"
	if [[ $ok != ok ]]; then
		echo "  $set, $name: $ok" >&2
		head -n 3 "$work/err" "$work/diff" 2>/dev/null | sed 's/^/    /' >&2
	fi
}

present() {
	local program
	for program in $1; do
		case $program in
		haul) [[ -x $haul ]] ;;
		psk) [[ -s $keys/psk ]] ;;
		identities) [[ -s $keys/receiver.pub && $(id -u) == "${BENCH_USER%% *}" ]] ;; # see make_keys
		sshd) [[ -n $sshd ]] ;;
		*) command -v "$program" >/dev/null ;;
		esac || return 1
	done
}

# meant SETS ROUND: the contender has a part in $set, in that round
meant() {
	local entry
	for entry in $1; do
		[[ $entry == all || $entry == "$set" ]] && return
		[[ $entry == "$set:"* ]] && (($2 <= ${entry#*:})) && return
	done
	return 1
}

table() { # SET: the medians of all contenders
	local size
	size=$(bytes_of "$1")
	echo
	echo "$1: $(awk -v b="$size" 'BEGIN { printf "%.1f", b / 1e6 }') MB, $(find "$data/$1" -type f | wc -l) files"
	echo
	echo '| group | contender | wall s (min-max) | MB/s | CPU s send+recv | CPU s/GB (min-max) | wire MB | peak RSS MiB send/recv | runs ok |'
	echo '|---|---|---|---|---|---|---|---|---|'
	contenders | while IFS='|' read -r name group _; do
		awk -F'\t' -v set="$1" -v name="$name" -v group="$group" -v size="$size" '
			function order(a, n, i, j, t) {
				for (i = 2; i <= n; i++)
					for (j = i; j > 1 && a[j] < a[j - 1]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
			}
			function mid(a, n) { order(a, n); return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2 }
			$1 != set || $2 != name { next }
			{ runs++ }
			$9 == "ok" {
				n++; wall[n] = $3; s[n] = $4; r[n] = $5; cpu[n] = ($4 + $5) * 1e9 / size
				rs[n] = $6 / 1024; rr[n] = $7 / 1024; wire[n] = $8 / 1e6
			}
			END {
				if (!runs) exit
				if (!n) { printf "| %s | %s | - | - | - | - | - | - | 0/%d |\n", group, name, runs; exit }
				w = mid(wall, n); c = mid(cpu, n)
				printf "| %s | %s | %.2f (%.2f-%.2f) | %.0f | %.2f+%.2f | %.2f (%.2f-%.2f) | %.1f | %.0f/%.0f | %d/%d |\n",
					group, name, w, wall[1], wall[n], size / 1e6 / w, mid(s, n), mid(r, n), c, cpu[1], cpu[n],
					mid(wire, n), mid(rs, n), mid(rr, n), n, runs
			}' "$results"
	done
}

# shuffled N: the lines in the order of round N, so that nobody always follows the same one
shuffled() {
	awk -v n="$1" '{ line[NR] = $0 }
		END {
			srand(n)
			for (i = NR; i > 0; i--) { j = int(rand() * i) + 1; print line[j]; line[j] = line[i] }
		}'
}

compare() {
	local round name part need receiver sender
	: >"$results"
	for set in $sets; do
		dest=$work/dest
		if [[ $set == tree && $(df -m --output=avail /dev/shm 2>/dev/null | tail -n 1) -gt $((tree_mb * 3)) ]]; then
			dest=$(mktemp -d /dev/shm/haul-bench.XXXXXX)
		fi
		if [[ $set == tree ]]; then find "$data/tree" -type f -exec cat {} +; else cat "$data/$set"; fi >/dev/null
		for ((round = 1; round <= rounds; round++)); do
			printf '%s: round %d of %d\n' "$set" "$round" "$rounds" >&2
			while IFS='|' read -r -u 8 name _ part need receiver sender; do
				[[ $name =~ $only ]] && meant "$part" "$round" && present "$need" && one_run "$name" "$receiver" "$sender"
			done 8< <(contenders | shuffled "$round")
		done
		rm -rf "$dest"
		table "$set"
	done
}

# ---- what a table of throughput does not show

ms() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.0f\n", (b - a) * 1000 }'; }
median() { sort -n | awk '{ a[NR] = $1 } END { printf "%s (%s-%s)", a[int((NR + 1) / 2)], a[1], a[NR] }'; }

# timed SENDER...: milliseconds until it has ended
timed() {
	local from=$EPOCHREALTIME
	"$@" >/dev/null || echo "bench: $*: status $?" >&2
	ms "$from" "$EPOCHREALTIME"
}

# latency NAME RECEIVER SENDER: one byte, 11 times, each with a receiver of its own
latency() {
	local i
	for ((i = 0; i < 11; i++)); do
		rm -rf "$dest" && mkdir -p "$dest"
		sides=() servers=()
		eval "$2" || return
		timed eval "${3//\'|\'/|}" >>"$work/ms"
		kill "${servers[@]}" 2>/dev/null
		wait "${sides[@]}" "${servers[@]}" 2>/dev/null
	done
	printf '  %-24s %s ms\n' "$1" "$(median <"$work/ms")"
	rm -f "$work/ms"
}

# again NAME RECEIVER SENDER: the tree a second time, when nothing has changed
again() {
	rm -rf "$dest" && mkdir -p "$dest"
	sides=() servers=()
	eval "$2" && timed eval "$3" >/dev/null
	for ((i = 0; i < 3; i++)); do
		if ((${#servers[@]} == 0)); then
			wait "${sides[@]}"
			sides=()
			eval "$2"
		fi
		timed eval "$3" >>"$work/ms"
	done
	kill "${servers[@]}" 2>/dev/null
	wait "${sides[@]}" "${servers[@]}" 2>/dev/null
	printf '  %-24s %s ms\n' "$1" "$(median <"$work/ms")"
	rm -f "$work/ms"
}

# run_time PID: nanoseconds on a CPU and voluntary switches of all its threads
run_time() {
	cat /proc/"$1"/task/*/schedstat | awk '{ n += $1 } END { printf "%.0f ", n }'
	awk '/^voluntary/ { n += $2 } END { print n }' /proc/"$1"/task/*/status
}

# stalled NAME RECEIVER SENDER: the sender's CPU over 5 s while every process of the receiver is stopped
stalled() {
	local pid p p2 ns1 sw1 ns2 sw2
	rm -rf "$dest" && mkdir -p "$dest"
	sides=() servers=()
	rm -f "$work/port"
	set -m
	eval "$2" || return
	set +m
	p=${sides[0]-${servers[0]}}
	eval "$3" 2>/dev/null &
	pid=$!
	sleep 0.3
	kill -STOP -- "-$p"
	sleep 2
	while p2=$(pgrep -P "$pid" -n .); do pid=$p2; done
	if [[ -e /proc/$pid/task ]]; then
		read -r ns1 sw1 < <(run_time "$pid" | xargs)
		sleep 5
		read -r ns2 sw2 < <(run_time "$pid" | xargs)
		printf '  %-24s %.3f %% of a core, %.1f wake-ups/s\n' "$1" \
			"$(awk -v n=$((ns2 - ns1)) 'BEGIN { print n / 5e9 * 100 }')" \
			"$(awk -v n=$((sw2 - sw1)) 'BEGIN { print n / 5 }')"
	else
		echo "  $1: the sender had ended before it could be stalled; take a larger BENCH_MB"
	fi
	kill -KILL "$pid" 2>/dev/null
	kill -KILL -- "-$p" 2>/dev/null
	wait 2>/dev/null
}

# wall SET NAME: the median of the table
wall() {
	awk -F'\t' -v set="$1" -v name="$2" '$1 == set && $2 == name && $9 == "ok" { print $3 }' "$results" | sort -n |
		awk '{ a[NR] = $1 } END { if (NR) print (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2 }'
}

ciphers() {
	local plain sealed
	plain=$(wall rand 'haul -z none') sealed=$(wall rand 'haul --key -z none')
	if [[ -n $plain && -n $sealed ]]; then
		"$B/tests/bench/aead" --mb $((mb * 1048576 / 1000000)) --plain "$plain" --sealed "$sealed"
	else
		"$B/tests/bench/aead"
	fi
}

extras() {
	local nc_send
	nc_send=$(contenders | sed -n 's/^tar, nc|plain|all|tar nc|recv_tar|//p')
	dest=$work/dest
	measure=
	printf x >"$data/one"
	echo
	echo 'one byte, from the start of the sender to its end (11 runs):'
	set=one
	present haul && latency haul 'recv_haul' 'send_haul'
	present 'tar nc' && latency 'tar, nc' recv_tar "$nc_send"
	present rsync && latency 'rsync daemon' recv_rsync send_rsync
	# shellcheck disable=SC2016 # for eval
	present 'haul psk' && latency 'haul --key' 'recv_haul --key-fd=7 7<"$keys/psk"' 'send_haul --key-fd=7 7<"$keys/psk"'
	present 'rsync ssh sshd' && latency 'rsync, ssh' 'recv_ssh aes128-gcm@openssh.com' send_rsync_ssh
	if [[ " $sets " == *' tree '* ]]; then
		echo
		echo 'the tree again, nothing changed (3 runs):'
		set=tree
		present haul && again haul recv_haul send_haul
		present rsync && again 'rsync daemon' recv_rsync send_rsync
	fi
	echo
	echo 'sender while the receiver is stopped (5 s):'
	set=rand
	present haul && stalled haul 'recv_haul --sync=none' 'send_haul -z none'
	present rsync && stalled 'rsync daemon' recv_rsync send_rsync
	present haul || return
	echo
	echo "another cipher suite (haul speaks ChaCha20-Poly1305 only):"
	ciphers
	echo
	echo "a file of $resume_mb MiB, interrupted at nine tenths, gone on with by new processes:"
	resumed kept 1 --bwlimit=119MB # a Gbit/s
	resumed kept 3
	resumed dropped 1
	echo
	echo "$small small files on the file system of build/ (3 runs):"
	synced '--sync=batch' --sync=batch
	synced '--sync=none' --sync=none
}

cleanup() {
	local job
	for job in $(jobs -p); do kill "$job" 2>/dev/null; done
	rm -rf "$work"
	[[ -z $sshd_dir ]] || rmdir "$sshd_dir"
	[[ ${dest-} != /dev/shm/haul-bench.* ]] || rm -rf "$dest"
}

mkdir -p "$work"
trap cleanup EXIT
trap 'exit 130' INT TERM
make_data
missing=''
for program in haul tar nc rsync zstd ssh scp sshd; do present "$program" || missing+=" $program"; done
echo "$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r), $rounds rounds"
present haul && "$haul" --version | head -n 2
present rsync && rsync --version | head -n 1
present zstd && zstd --version
present ssh && ssh -V 2>&1
[[ -z $missing ]] || echo "missing, and left out:$missing"
ssh_ready
compare
[[ ${BENCH_EXTRAS:-yes} == no ]] || extras
