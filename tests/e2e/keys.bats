# Keys: making and showing them, which files are believed, and that nothing goes unencrypted that should not.

load helpers

# refused WHY ARGS...: exit 1, one line that matches WHY, nothing on standard output
refused() {
	local why=$1 status=0
	shift
	timeout 20 "$HAUL" "$@" >refused.out 2>refused.err </dev/null || status=$?
	[ "$status" -eq 1 ] || fail "haul $*: exit $status, want 1" "$(<refused.err)" || return
	one_line refused.err "$why" || return
	empty refused.out
}

# believed ARGS...: whatever becomes of it, the key is not what is complained about
believed() {
	timeout 20 "$HAUL" "$@" >believed.out 2>believed.err </dev/null || true
	not grep -qE 'damaged|chmod|not a key|symbolic|version|cannot be (read|opened)|is needed' believed.err ||
		fail "haul $*:" "$(<believed.err)"
}

mode() {
	stat -c %a "$1"
}

# the options of a sender to nobody
to_nobody='--connect=50ms --retry-delay=10ms..20ms'

@test "key new: a file for nobody else, that is never overwritten" {
	[ "$("$HAUL" key new key 2>hint)" = key ]
	[ "$(mode key)" = 600 ]
	grep -qxE 'haul-psk-1 [A-Za-z0-9_-]{47}' key
	[ "$(wc -l <key)" -eq 1 ]
	grep -q -- --key hint
	not grep -qF "$(cut -c 12-40 key)" hint
	cp key before
	refused 'never overwritten' key new key
	same_bytes before key
	"$HAUL" key new other >/dev/null 2>&1
	not cmp -s key other
}

@test "key new: the default path and its directories" {
	export HOME=$PWD/home
	mkdir home
	(umask 000 && "$HAUL" key new >out 2>/dev/null)
	[ "$(<out)" = "$HOME/.config/haul/key" ]
	[ "$(mode home/.config)" = 700 ]
	[ "$(mode home/.config/haul)" = 700 ]
	[ "$(mode home/.config/haul/key)" = 600 ]
	refused 'never overwritten' key new
	[ "$("$HAUL" key show)" = "$("$HAUL" key show "$HOME/.config/haul/key")" ]
	XDG_CONFIG_HOME=$PWD/xdg/deep "$HAUL" key new >out 2>/dev/null
	[ "$(<out)" = "$PWD/xdg/deep/haul/key" ]
	HOME='' refused 'name a FILE' key new
}

@test "key new --identity: the secret, and its public half to give away" {
	[ "$("$HAUL" key new --identity=id 2>hint)" = id ]
	[ "$(mode id)" = 600 ]
	[ "$(mode id.pub)" = 644 ]
	grep -qxE 'haul-secret-1 [A-Za-z0-9_-]{47}' id
	grep -qxE 'haul-pub-1 [A-Za-z0-9_-]{47}' id.pub
	grep -qF "$(<id.pub)" hint
	[ "$("$HAUL" key show id)" = "$(<id.pub)" ]
	[ "$("$HAUL" key show id.pub)" = "$(<id.pub)" ]
	cp id before
	refused 'never overwritten' key new --identity=id
	same_bytes before id
	rm id
	refused 'id.pub.*never overwritten' key new --identity=id
	[ ! -e id ]
}

@test "key show: a fingerprint that both sides can compare, and nothing of the key" {
	"$HAUL" key new key >/dev/null 2>&1
	cp -p key copy
	"$HAUL" key new other >/dev/null 2>&1
	"$HAUL" key show key >shown
	grep -qxE 'fingerprint [0-9a-f]{32}' shown
	[ "$("$HAUL" key show copy)" = "$(<shown)" ]
	[ "$("$HAUL" key show other)" != "$(<shown)" ]
	[ "$(HAUL_KEY_FILE=key "$HAUL" key show)" = "$(<shown)" ]
	refused 'No such file' key show none
	refused 'symbolic link' key show <(cat key)
}

@test "key: usage" {
	refused 'new or show' key
	refused 'neither new nor show' key list
	refused 'one operand too many' key show a b
	refused 'one FILE too many' key new --identity=a b
	refused 'needs a value' key new --identity
	refused 'an option of haul send' key new --key=f
	"$HAUL" key --help | grep -q 'haul key new'
	[ "$("$HAUL" help key)" = "$("$HAUL" key --help)" ]
}

@test "a loose key file: exit 1 with the chmod to run, which mends it" {
	local loose command
	echo x >src
	"$HAUL" key new key >/dev/null 2>&1
	for loose in 0640 0604 0660 0601 0777; do
		chmod "$loose" key
		# shellcheck disable=SC2086 # words
		refused "^haul: key: open to others \(mode $loose\); run: chmod 600 key$" \
			send $to_nobody -k key src 127.0.0.1:1
		refused 'run: chmod 600 key$' recv --key=key --listen=127.0.0.1:0 dst
		refused 'run: chmod 600 key$' key show key
	done
	command=$(sed -n 's/.*run: //p' refused.err)
	eval "$command"
	# shellcheck disable=SC2086
	believed send $to_nobody -k key src 127.0.0.1:1
	[ ! -e dst ]
}

@test "a loose directory above a key: exit 1 with the chmod to run" {
	echo x >src
	mkdir -p loose/in
	"$HAUL" key new loose/in/key >/dev/null 2>&1
	chmod 0777 loose
	refused '^haul: loose: .*run: chmod go-w loose$' send -k loose/in/key src 127.0.0.1:1
	refused "^haul: $PWD/loose: .*run: chmod go-w $PWD/loose$" send -k "$PWD/loose/in/key" src 127.0.0.1:1
	refused '^haul: loose: .*chmod go-w loose$' key new loose/in/other
	[ ! -e loose/in/other ]
	chmod 1777 loose
	# shellcheck disable=SC2086
	believed send $to_nobody -k loose/in/key src 127.0.0.1:1
}

@test "what is no key file: missing, a link, a FIFO, a directory, damaged, of another kind or version" {
	echo x >src
	"$HAUL" key new key >/dev/null 2>&1
	"$HAUL" key new --identity=id >/dev/null 2>&1
	refused 'none: cannot be opened: No such file' send -k none src 127.0.0.1:1
	ln -s key link
	refused 'link: a symbolic link' send -k link src 127.0.0.1:1
	mkfifo -m 600 fifo
	refused 'fifo: not a regular file' send -k fifo src 127.0.0.1:1
	refused 'a directory' send -k . src 127.0.0.1:1
	(umask 077 && head -c 40 key >short)
	refused 'short: damaged pre-shared key' send -k short src 127.0.0.1:1
	(umask 077 && sed 's/-1/-2/' key >new)
	refused 'unknown version 2' send -k new src 127.0.0.1:1
	refused 'a secret key of an identity, but a pre-shared key' send -k id src 127.0.0.1:1
	refused 'a public key, but a pre-shared key' send -k id.pub src 127.0.0.1:1
	refused 'but a public key' send --identity=id --peer=key src 127.0.0.1:1
	refused 'of this side' send --identity=id --peer="$(<id.pub)" src 127.0.0.1:1
	HAUL_KEY_FILE=none refused 'none: cannot be opened' send src 127.0.0.1:1
}

# reachable DIR: others may pass through what leads there from the scratch space of this run
reachable() {
	local dir=$1
	while [ "$dir" != / ] && [ "$dir" != /tmp ]; do
		chmod go+x "$dir"
		dir=$(dirname "$dir")
	done
}

# as_service CMD...: as the user of a service that systemd runs, if that can be
as_service() {
	if [ "$(id -u)" -eq 0 ]; then
		setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
	else
		"$@"
	fi
}

# grant PATH UID PERMISSIONS: an access control list for PATH, with which its owner and this user may do that (a digit)
grant() {
	python3 -c 'import os, struct, sys
path, uid, may = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
none = 0xffffffff
entries = (1, may, none), (2, may, uid), (4, 0, none), (16, may, none), (32, 0, none)
os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries))
' "$@"
}

@test "LoadCredential=: what systemd makes of a key file is believed, and nothing looser" {
	local service=65534
	[ "$(id -u)" -eq 0 ] || service=$(id -u)
	mkdir credentials state
	reachable "$PWD"
	cp "$HAUL" haul
	chown "$service" state
	"$HAUL" key new key >/dev/null 2>&1
	cp -p key credentials/key
	echo x >src
	# since systemd 254: root's files with an entry for the user of the service, in a directory that has one, too
	grant credentials/key "$service" 4
	grant credentials "$service" 5
	[ "$(mode credentials/key)" = 440 ]
	[ "$(mode credentials)" = 550 ]
	start_on recv state/port as_service ./haul recv --key="$PWD/credentials/key" --listen=127.0.0.1:0 \
		--port-file="$PWD/state/port" "$PWD/state"
	"$HAUL" send -k key src "$ADDR"
	same_bytes src state/src
	stop "$PID" 143
	# before that: the files are the user's own
	rm -rf credentials
	mkdir credentials
	cp -p key credentials/key
	chmod 400 credentials/key
	chmod 500 credentials
	chown "$service" credentials/key credentials
	start_on recv state/port as_service ./haul recv --key="$PWD/credentials/key" --listen=127.0.0.1:0 \
		--port-file="$PWD/state/port" "$PWD/state"
	stop "$PID" 143
	# the same mode without the list is the group's to read; an entry for somebody else is his
	chown "$(id -u)" credentials credentials/key
	chmod 440 credentials/key
	refused 'open to others \(mode 0440\); run: chmod 600' recv --key=credentials/key --listen=127.0.0.1:0 dst
	grant credentials/key 65533 4
	refused 'open to others \(mode 0440\); run: chmod 600' recv --key=credentials/key --listen=127.0.0.1:0 dst
	chmod 700 credentials # for who cleans up
}

@test "--key-fd: the first line of a descriptor" {
	echo x >src
	"$HAUL" key new key >/dev/null 2>&1
	# shellcheck disable=SC2086
	believed send $to_nobody --key-fd=7 src 127.0.0.1:1 7<key
	# shellcheck disable=SC2086
	believed send $to_nobody --key-fd=7 src 127.0.0.1:1 7< <(cat key && echo more)
	refused 'fd:7: damaged pre-shared key: cut off' send --key-fd=7 src 127.0.0.1:1 7< <(head -c 30 key)
	refused 'fd:7: not a key' send --key-fd=7 src 127.0.0.1:1 7</dev/zero
	refused 'fd:7: not a key' send --key-fd=7 src 127.0.0.1:1 7</dev/null
	refused 'fd:7: cannot be read: Bad file descriptor' send --key-fd=7 src 127.0.0.1:1 7<&-
	refused 'no descriptor from 3 on' send --key-fd=0 src 127.0.0.1:1
}

@test "--peers: what is wrong is told with its line" {
	"$HAUL" key new --identity=id >/dev/null 2>&1
	"$HAUL" key new --identity=other >/dev/null 2>&1
	printf '# all of them\n%s name=other dir=../out\n' "$(<other.pub)" >peers
	refused '^haul: peers:2: dir=' recv --identity=id --peers=peers dst
	printf '%s name=me dir=in\n' "$(<id.pub)" >peers
	refused 'me has the public key of this side' recv --identity=id --peers=peers dst
	: >peers
	refused '^haul: peers: authorises nobody' recv --identity=id --peers=peers dst
	chmod 666 peers
	refused 'run: chmod go-w peers$' recv --identity=id --peers=peers dst
	[ ! -e dst ]
}

@test "a secret on the command line or in the environment is refused and not repeated" {
	local secret
	echo x >src
	"$HAUL" key new key >/dev/null 2>&1
	secret=$(<key)
	refused '^haul: --key: .*spoilt' send -k "$secret" src 127.0.0.1:1
	not grep -qF "${secret#* }" refused.err
	HAUL_KEY_FILE=$secret refused '^haul: HAUL_KEY_FILE: .*spoilt' send src 127.0.0.1:1
	not grep -qF "${secret#* }" refused.err
}

@test "with a key nothing goes to an unencrypted receiver" {
	local status=0
	echo secret >src
	"$HAUL" key new key >/dev/null 2>&1
	start_recv dst
	timeout 20 "$HAUL" send --connect=2s -k key src "$RECV_ADDR" 2>send.err || status=$?
	[ "$status" -eq 5 ]
	one_line send.err
	[ ! -e dst/src ]
	stop "$RECV_PID"
}

@test "listening beyond this machine needs --key or --insecure" {
	local address
	echo x >src
	for address in 0.0.0.0:0 '[::]:0' 192.0.2.1:0 some.host:0; do
		refused '--key, or --insecure' recv --listen="$address" dst
		refused '--key, or --insecure' send --listen="$address" src
	done
	[ ! -e dst ]
	start_on wide wide.port "$HAUL" recv --listen=0.0.0.0:0 --insecure --port-file=wide.port dst
	"$HAUL" send src "127.0.0.1:${ADDR##*:}"
	same_bytes src dst/src
	stop "$PID"
	start_on near near.port "$HAUL" recv --listen=localhost:0 --port-file=near.port dst
	stop "$PID"
}
