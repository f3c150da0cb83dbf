#!/bin/sh
# The systemd units are hardened: systemd's own judgement where it is installed, and what must be there in any case.
set -u
cd "$(dirname "$0")/../.." || exit 1
most=15 # tenths of systemd-analyze's exposure
bad=0
complain() {
	echo "units: packaging/haul@.service: $*"
	bad=1
}
for line in DynamicUser=yes NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes PrivateNetwork=yes \
	CapabilityBoundingSet= MemoryDenyWriteExecute=yes RestrictNamespaces=yes UMask=0077 Type=notify; do
	grep -qx -e "$line" 'packaging/haul@.service' || complain "lacks $line"
done
grep -q '^SystemCallFilter=@system-service' 'packaging/haul@.service' || complain 'does not filter system calls'
grep -q '^MemoryMax=[0-9]' 'packaging/haul@.service' || complain 'has no bound of memory'
if command -v systemd-analyze >/dev/null; then
	score=$(systemd-analyze security --offline=true 'packaging/haul@.service' 2>&1 |
		sed -n 's/.*Overall exposure level[^:]*: \([0-9]*\)\.\([0-9]\).*/\1\2/p')
	[ "${score:-100}" -le "$most" ] || complain "exposure is '${score:-unknown}' tenths, $most are allowed"
fi
exit $bad
