# bash completion for haul, printed by: haul __complete bash
_haul()
{
	local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} opts=
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'send recv status key help --help --version' -- "$cur")
		return
	fi
	# bash makes a word of its own of the equals sign
	if [[ $cur == = ]]; then
		option+="=" cur=
	elif [[ $option == = ]]; then
		option="${COMP_WORDS[COMP_CWORD - 2]}="
	fi
	case $option in
	--compress | --compress= | -z)
		mapfile -t COMPREPLY < <(compgen -W 'auto none' -- "$cur")
		return
		;;
	--chunk | --chunk=)
		return
		;;
	--owner | --owner=)
		mapfile -t COMPREPLY < <(compgen -W 'off try require' -- "$cur")
		return
		;;
	--links | --links=)
		mapfile -t COMPREPLY < <(compgen -W 'keep follow skip' -- "$cur")
		return
		;;
	--directory | --directory= | -C)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	--exclude | --exclude=)
		return
		;;
	--include | --include=)
		return
		;;
	--exclude-from | --exclude-from=)
		return
		;;
	--files-from | --files-from=)
		return
		;;
	--max-size | --max-size=)
		return
		;;
	--min-size | --min-size=)
		return
		;;
	--name | --name=)
		return
		;;
	--size | --size=)
		return
		;;
	--from-cmd | --from-cmd=)
		return
		;;
	--max-delete | --max-delete=)
		return
		;;
	--vanished | --vanished=)
		mapfile -t COMPREPLY < <(compgen -W 'warn error ignore' -- "$cur")
		return
		;;
	--deadline | --deadline=)
		return
		;;
	--lock=)
		return
		;;
	--lock-wait | --lock-wait=)
		return
		;;
	--output | --output= | -o)
		return
		;;
	--to-cmd | --to-cmd=)
		return
		;;
	--overwrite | --overwrite=)
		mapfile -t COMPREPLY < <(compgen -W 'yes no backup' -- "$cur")
		return
		;;
	--sync | --sync=)
		mapfile -t COMPREPLY < <(compgen -W 'batch file none' -- "$cur")
		return
		;;
	--quota | --quota=)
		return
		;;
	--recv-only-from | --recv-only-from=)
		return
		;;
	--max-sessions | --max-sessions=)
		return
		;;
	--overload | --overload=)
		mapfile -t COMPREPLY < <(compgen -W 'reject queue' -- "$cur")
		return
		;;
	--key | --key= | -k)
		return
		;;
	--key-fd | --key-fd=)
		return
		;;
	--code-fd | --code-fd=)
		return
		;;
	--identity | --identity=)
		return
		;;
	--peer | --peer=)
		return
		;;
	--peers | --peers=)
		return
		;;
	--listen | --listen=)
		return
		;;
	--port-file | --port-file=)
		return
		;;
	--rsh | --rsh= | -e)
		return
		;;
	--haul-path | --haul-path=)
		return
		;;
	--window | --window=)
		return
		;;
	--ring | --ring=)
		return
		;;
	--idle | --idle=)
		return
		;;
	--credit-wait | --credit-wait=)
		return
		;;
	--reconnect | --reconnect=)
		return
		;;
	--connect | --connect=)
		return
		;;
	--retry-delay | --retry-delay=)
		return
		;;
	--grace | --grace=)
		return
		;;
	--bwlimit | --bwlimit=)
		return
		;;
	--sandbox | --sandbox=)
		mapfile -t COMPREPLY < <(compgen -W 'off auto require' -- "$cur")
		return
		;;
	--user | --user=)
		return
		;;
	--jobs | --jobs=)
		return
		;;
	--discard | --discard=)
		return
		;;
	--progress=)
		mapfile -t COMPREPLY < <(compgen -W 'auto tty plain off' -- "$cur")
		return
		;;
	--json=)
		return
		;;
	--log-file | --log-file=)
		return
		;;
	--metrics | --metrics=)
		return
		;;
	esac
	case ${COMP_WORDS[1]} in
	send)
		opts='-z --compress= --chunk= -n --dry-run -a --archive --owner= --numeric-ids -H --hard-links -X --xattrs -A --acls -r --recursive --partial --links= -C --directory= --exclude= --include= --exclude-from= --files-from= -0 --from0 --gitignore --max-size= --min-size= -x --one-file-system -u --update --ignore-existing --existing -c --checksum --size-only -W --whole-file --name= --size= --from-cmd= --remove-source-files --delete --max-delete= --vanished= --deadline= --cron --lock --lock-wait= -k --key= --key-fd= --code --code-fd= --identity= --peer= --insecure --listen= --port-file= -e --rsh= --haul-path= --window= --ring= --idle= --credit-wait= --reconnect= --connect= --retry-delay= --grace= --bwlimit= --sandbox= --no-sandbox --jobs= -q --quiet -v --verbose -P --progress --json --log-file= --metrics= --stats -h --help'
		;;
	recv)
		opts='-o --output= --to-cmd= --overwrite= --sync= --quota= --recv-only-from= --once --max-sessions= --overload= -k --key= --key-fd= --code --code-fd= --identity= --peer= --peers= --insecure --listen= --stdio --port-file= -e --rsh= --haul-path= --window= --ring= --idle= --credit-wait= --reconnect= --connect= --retry-delay= --grace= --bwlimit= --sandbox= --no-sandbox --user= --jobs= -q --quiet -v --verbose -P --progress --json --log-file= --metrics= --stats -h --help'
		;;
	status)
		opts='--discard= --json -h --help'
		;;
	key)
		opts='--identity= -h --help'
		if ((COMP_CWORD == 2)) && [[ $cur != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W 'new show' -- "$cur")
			return
		fi
		;;
	help)
		mapfile -t COMPREPLY < <(compgen -W 'send recv status key exit sizes events addresses cron resume' -- "$cur")
		return
		;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$opts" -- "$cur")
		[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace
	fi
}
complete -o bashdefault -o default -F _haul haul
