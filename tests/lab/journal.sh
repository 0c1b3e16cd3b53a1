#!/usr/bin/env bash
# What an administrator finds in the journal of a real systemd: each kind of entry with its fields as JSON and its explanation by -x, what the
# daemon may do as the kernel told it, the keys that the unit was given, and a stop that loses nothing.
# usage: journal.sh SLIPS; root. The last line has the figures; the exit code is 0, 1 with a reason, or 2 when something is missing.
set -uo pipefail

slips=$(realpath "$1") name=slips-journal-$$
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
command -v python3 >/dev/null || missing "needs python3"

make_machine
lib=$upper/usr/local/lib
install -D -m 0644 -t "$lib/systemd/system" "$repo"/systemd/slips*.service
install -D -m 0644 "$repo/systemd/sysusers.d/slips.conf" "$lib/sysusers.d/slips.conf"
install -D -m 0644 "$repo/systemd/tmpfiles.d/slips.conf" "$lib/tmpfiles.d/slips.conf"
install -D -m 0644 "$repo/systemd/slips.catalog" "$lib/systemd/catalog/slips.catalog"
mkdir -p "$upper/etc/slips" "$upper/etc/credstore"
printf 'interfaces: [wan0]\nfirewall:\n  never_block: [192.0.2.77]\n' >"$upper/etc/slips/slips.yaml"
printf '%064d\n' 7 >"$upper/etc/credstore/slips-virustotal-key"
chmod 0700 "$upper/etc/credstore"
boot_machine
inside sh -e -c '
    systemd-sysusers /usr/local/lib/sysusers.d/slips.conf
    systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/slips.conf
    chgrp slips /etc/slips /etc/slips/slips.yaml
    journalctl --update-catalog
    ip link set lo up
    ip netns add other
    ip link add wan0 type veth peer name eth0 netns other
    ip address add 192.0.2.1/24 dev wan0
    ip -n other address add 203.0.113.66/32 dev eth0
    ip -n other address add 192.0.2.77/24 dev eth0
    ip link set wan0 up
    ip -n other link set eth0 up
    ip route add 203.0.113.66/32 dev wan0' >"$dir/prepare.log" 2>&1 || fail "cannot prepare: $(tail -n 3 "$dir/prepare.log")"
inside systemctl start slips.service || fail "slips.service does not start"

# The keys: one is in the credential store, one is not, and both is fine. The thread that asks services runs for the first.
daemon=$(of_unit slips.service MainPID)
inside grep -qxs services "/proc/$daemon/task/"*/comm || inside sh -c "cat /proc/$daemon/task/*/comm" | grep -x services >/dev/null ||
    fail "the daemon does not find the key of VirusTotal among its credentials"

entries() { inside journalctl -t slips -o json --no-pager "$@"; }
# has MATCHES FIELD...: the last entry that matches has these.
has() {
    local kind=$1
    shift
    entries $kind -n 1 >"$dir/entry"
    python3 -c '
import json, sys
entry = json.loads(open(sys.argv[1]).read() or "{}")
print(*(field for field in ["MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER", *sys.argv[2:]] if not entry.get(field)))' \
        "$dir/entry" "$@" >"$dir/lacks"
    [ "$(cat "$dir/lacks")" = "" ] || fail "the entry of $kind lacks $(cat "$dir/lacks"): $(cut -c1-600 "$dir/entry")"
    kinds=$((${kinds:-0} + 1))
}
there_is() { [ -n "$(entries "SLIPS_EVENT=$1" ${2:+"$2"} -n 1)" ]; }

# As the kernel tells the daemon itself, and nobody else.
has 'SLIPS_EVENT=start SLIPS_MODE=enforce' SLIPS_VERSION SLIPS_INTERFACES SLIPS_MODE SLIPS_SANDBOX
sandbox="user=$(inside id -u slips) capabilities=net_admin,net_raw no-new-privileges=yes seccomp=filter read-only-system=yes"
told=$(inside journalctl -t slips -o cat --no-pager SLIPS_EVENT=start SLIPS_MODE=enforce --output-fields=SLIPS_SANDBOX -n 1)
[ "$told" = "$sandbox" ] || fail "the daemon is confined to '$told', and should be to '$sandbox'"

# One outside who knocks at all doors of the router (who is inside is blocked once the address is proven to be his), and one who must not be blocked.
for from in 203.0.113.66 192.0.2.77; do
    nsenter --net="/proc/$pid/root/run/netns/other" python3 -c '
import socket, sys
for port in range(1, 3000):
    knock = socket.socket()
    knock.settimeout(0.2)
    knock.bind((sys.argv[1], 0))
    try:
        knock.connect(("192.0.2.1", port))
    except TimeoutError:
        break
    except OSError:
        pass
    knock.close()' "$from"
done
until_so "nobody is alerted" there_is alert
until_so "nobody is blocked" there_is block
until_so "nobody is spared" there_is refusal
has SLIPS_EVENT=alert SLIPS_TIME SLIPS_SRC_IP SLIPS_ALERT_ID SLIPS_WINDOW SLIPS_CONFIDENCE SLIPS_ACCUMULATED SLIPS_CAUSE SLIPS_PROOF SLIPS_EVIDENCE_COUNT \
    SLIPS_EVIDENCE_TYPES SLIPS_EVIDENCE
has SLIPS_EVENT=block SLIPS_TARGET SLIPS_SRC_IP SLIPS_ALERT_ID SLIPS_UNTIL SLIPS_SECONDS SLIPS_ORIGIN SLIPS_REASON SLIPS_MODE
has SLIPS_EVENT=refusal SLIPS_TARGET SLIPS_REASON SLIPS_ORIGIN
inside slips block 198.51.100.7 --for 1h --why test >"$dir/block" 2>&1 || fail "block: $(cat "$dir/block")"
until_so "the journal has no block by hand" there_is block SLIPS_TARGET=198.51.100.7
has "SLIPS_EVENT=block SLIPS_TARGET=198.51.100.7" SLIPS_TARGET SLIPS_UNTIL SLIPS_SECONDS SLIPS_ORIGIN SLIPS_REASON SLIPS_MODE
inside slips unblock 198.51.100.7 >"$dir/block" 2>&1 || fail "unblock: $(cat "$dir/block")"
until_so "nobody is let in" there_is unblock
has SLIPS_EVENT=unblock SLIPS_TARGET SLIPS_REASON
inside systemctl reload slips.service || fail "no reload"
has SLIPS_EVENT=reload SLIPS_REASON
inside ip link set wan0 down
until_so "nobody minds that the interface is off" there_is degraded
has SLIPS_EVENT=degraded SLIPS_COMPONENT SLIPS_REASON
inside ip link set wan0 up
inside kill -KILL "$daemon"
until_so "nobody minds that the daemon was killed" there_is failure
has SLIPS_EVENT=failure SLIPS_REASON
is_watched() { [ "$(of_unit slips.service SubState)" = running ] && [ "$(of_unit slips.service MainPID)" != "$daemon" ]; }
until_so "no other daemon comes" is_watched
# With all its processes: then a newer systemd runs nothing after it, and the next daemon tells.
daemon=$(of_unit slips.service MainPID)
inside systemctl kill -s KILL slips.service || fail "slips.service cannot be killed"
until_so "no other daemon comes" is_watched
failures() { [ "$(entries SLIPS_EVENT=failure | wc -l)" = 2 ]; }
until_so "two kills are told as: $(inside journalctl -t slips -o cat --no-pager SLIPS_EVENT=failure | tr '\n' ';')" failures

# What it says of itself while it runs.
says() { [[ $(of_unit slips.service StatusText) =~ ^watching:\ [0-9]+\ flows,\ [0-9]+\ a\ second,\ [0-9]+\ blocks.*,\ lag\ [0-9]+\ ms ]]; }
until_so "the status says '$(of_unit slips.service StatusText)'" says

# Its end: in time, and with nothing lost.
began=${EPOCHREALTIME/./}
inside systemctl stop slips.service || fail "slips.service does not stop"
stopped=$(((${EPOCHREALTIME/./} - began) / 1000))
[ "$(of_unit slips.service Result)" = success ] || fail "the end of slips.service is $(of_unit slips.service Result)"
has SLIPS_EVENT=stop SLIPS_VERSION SLIPS_REASON SLIPS_FLOWS SLIPS_ALERTS SLIPS_DROPPED
lost=$(inside journalctl -t slips -o cat --no-pager SLIPS_EVENT=stop --output-fields=SLIPS_DROPPED -n 1)
[ "$lost" = 0 ] || fail "the stop lost $lost: $(inside journalctl -t slips -o cat --no-pager SLIPS_EVENT=stop -n 1)"

# Each is explained.
inside journalctl -t slips -x --no-pager >"$dir/explained"
for subject in "An attacker's evidence is enough" "An address is blocked" "A block has ended" "A block was refused" "Slips watches" \
    "Slips has stopped watching" "Slips has read its configuration again" "Slips works with less" "Slips ended otherwise"; do
    grep -q "Subject: $subject" "$dir/explained" || fail "nothing explains: $subject"
done
! grep -q 'Subject:.*192\.0\.2' "$dir/explained" || fail "a subject has an address"

echo "systemd $(inside systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'): $kinds entries with all their fields, each kind explained; the daemon has $told; stopped in $stopped ms, nothing lost"
