# shellcheck shell=bash
# A private sshd on the loopback interface for bench.sh, which sources this. Its keys and its configuration are below
# $work; nothing of ~/.ssh and /etc/ssh is read or written. The receiver decides the cipher: it offers one only.
#
# shellcheck disable=SC2034,SC2154 # work, port, set, data, dest, servers, sshd_dir are shared with bench.sh

sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) || sshd='' # run by its full path: it insists
sshd_as=()                                                     # what it must be run under
sshd_dir=''                                                    # the empty directory that was made for it

ssh_keys() {
	mkdir -p "$work/ssh" && (
		cd "$work/ssh" && rm -f ./* &&
			ssh-keygen -q -t ed25519 -N '' -C bench -f host && ssh-keygen -q -t ed25519 -N '' -C bench -f user &&
			cp user.pub authorized_keys && sed 's/^/bench /' host.pub >known_hosts
	)
}

# In a user namespace root is nobody who could change to other users, so sshd runs as the user one is outside.
ssh_unprivileged() {
	local uid gid
	read -r uid gid _ <<<"$BENCH_USER"
	[[ $(id -u) != "$uid" ]] && sshd_as=(unshare --user --map-user="$uid" --map-group="$gid")
	[[ $uid != 0 ]]
}

# ssh_ready: 0, or a line that says why sshd cannot be used
ssh_ready() {
	local why
	[[ -n $sshd ]] || return
	: >"$work/err"
	ssh_keys || return
	free_port
	ssh_config aes128-gcm@openssh.com
	if ! ssh_unprivileged; then
		why=$("$sshd" -t -f "$work/ssh/sshd_config" 2>&1)
		if [[ $why =~ 'Missing privilege separation directory: '(/[^[:space:]]*) ]]; then
			mkdir -m 755 "${BASH_REMATCH[1]}" && sshd_dir=${BASH_REMATCH[1]}
		fi
	fi
	servers=()
	measure='' recv_ssh aes128-gcm@openssh.com && measure='' send ssh -F "$work/ssh/config" bench true
	local status=$?
	kill "${servers[@]}" 2>/dev/null
	wait "${servers[@]}" 2>/dev/null
	((status == 0)) && return
	echo "sshd cannot be used here, and its contenders are left out: $(head -n 1 "$work/err")"
	sshd=''
}

ssh_config() { # CIPHER
	cat >"$work/ssh/sshd_config" <<-END
		ListenAddress 127.0.0.1
		Port $port
		HostKey $work/ssh/host
		AuthorizedKeysFile $work/ssh/authorized_keys
		AuthenticationMethods publickey
		PermitRootLogin prohibit-password
		StrictModes no
		UsePAM no
		PidFile none
		PermitUserRC no
		PrintMotd no
		SetEnv PATH=$PATH
		Subsystem sftp internal-sftp
		Compression no
		Ciphers $1
		LogLevel ERROR
	END
	cat >"$work/ssh/config" <<-END
		Host bench
		HostName 127.0.0.1
		Port $port
		User ${BENCH_USER##* }
		IdentityFile $work/ssh/user
		IdentitiesOnly yes
		IdentityAgent none
		UserKnownHostsFile $work/ssh/known_hosts
		GlobalKnownHostsFile /dev/null
		HostKeyAlias bench
		StrictHostKeyChecking yes
		PreferredAuthentications publickey
		BatchMode yes
		ControlPath none
		Compression no
		LogLevel ERROR
	END
}

recv_ssh() { # CIPHER
	free_port
	ssh_config "$1"
	recv "${sshd_as[@]}" "$sshd" -D -e -f "$work/ssh/sshd_config" &
	servers+=($!)
	await listening
}

send_rsync_ssh() { send rsync -a -e "ssh -F $work/ssh/config" "$@" "$data/$set" "bench:$dest/"; }

send_tar_ssh() { send tar c -C "$data" "$set" | send ssh -F "$work/ssh/config" bench tar x -C "$dest"; }

send_scp() { send scp -q -rp -F "$work/ssh/config" "$data/$set" "bench:$dest/"; }
