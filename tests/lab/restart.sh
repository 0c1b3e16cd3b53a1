#!/usr/bin/env bash
# A restart and a crash in the midst of an attack: systemd keeps the sockets of the capture, so no frame is missed, and the kernel keeps the
# blocks, so none of a blocked attacker's comes through. Then each part of the daemon is made to stand still, which the watchdog ends.
# usage: restart.sh SLIPS; root. The last line has the figures; the exit code is 0, 1 with a reason, or 2 when something is missing.
set -uo pipefail

slips=$(realpath "$1") name=slips-restart-$$
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
command -v python3 >/dev/null || missing "needs python3"
lab=$repo/tests/lab
last=${SLIPS_NUMBERED:-16000} rate=${SLIPS_RATE:-2000}

install_slips() {
    local lib=$upper/usr/local/lib
    install -D -m 0644 -t "$lib/systemd/system" "$repo"/systemd/slips*.service
    install -D -m 0644 "$repo/systemd/sysusers.d/slips.conf" "$lib/sysusers.d/slips.conf"
    install -D -m 0644 "$repo/systemd/tmpfiles.d/slips.conf" "$lib/tmpfiles.d/slips.conf"
    install -D -m 0644 "$repo/systemd/slips.catalog" "$lib/systemd/catalog/slips.catalog"
    mkdir -p "$upper/etc/slips"
    # Who sends numbers is let be: it is the capture that is looked at.
    printf 'interfaces: [wan0]\nfirewall:\n  never_block: [192.0.2.2]\n' >"$upper/etc/slips/slips.yaml"
}

prepare() {
    inside sh -e -c '
        systemd-sysusers /usr/local/lib/sysusers.d/slips.conf
        systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/slips.conf
        chgrp slips /etc/slips /etc/slips/slips.yaml
        journalctl --update-catalog
        ip link set lo up
        ip netns add other
        ip link add wan0 type veth peer name eth0 netns other
        ip address add 192.0.2.1/24 dev wan0
        ip -n other address add 192.0.2.2/24 dev eth0
        ip -n other address add 192.0.2.66/24 dev eth0
        ip link set wan0 up
        ip -n other link set eth0 up' >"$dir/prepare.log" 2>&1 || fail "cannot prepare: $(tail -n 3 "$dir/prepare.log")"
}

# In the network of the router, and of those outside; the programs are this machine's.
at_router() { nsenter --net="/proc/$pid/ns/net" "$@"; }
outside() { nsenter --net="/proc/$pid/root/run/netns/other" "$@"; }
progress() { tr -d ' ' <"$dir/progress" 2>/dev/null; }
sent() { [ "$(progress)" -ge "$1" ]; }
blocked() { inside slips firewall list | grep -q '192\.0\.2\.66'; }
daemon() { of_unit slips.service MainPID; }
another_daemon() {
    local now
    now=$(daemon)
    [ "$now" != 0 ] && [ "$now" != "$1" ] && inside slips firewall status
}
keeps() { [ "$(of_unit slips.service NFileDescriptorStore)" = "$1" ]; }
ends() { inside journalctl -t slips -o cat --no-pager MESSAGE_ID=f0baf664e315422cbd30e83eb2f15763; }
begin_numbers() {
    from=192.0.2.2:$1
    : >"$dir/progress"
    outside python3 "$lab/numbered.py" send "$from" 192.0.2.1 "$last" "$rate" "$dir/progress" &
    numbers=$!
}
end_numbers() {
    wait "$numbers" || fail "the numbers cannot be sent"
    # What it holds in memory is written at its end. A stop would lift what is blocked.
    inside systemctl restart slips.service || fail "slips.service does not start again"
    lost=$(inside journalctl -u slips.service -o cat --no-pager MESSAGE_ID=1799ad13477c40fda7b525bca6193693 -n 1)
    read -r first final ports packets < <(python3 "$lab/numbered.py" seen "$root/var/lib/slips/flows.sqlite" "$from")
}

make_machine
install_slips
boot_machine
prepare

# Blocked, it sends all the while.
inside systemctl start slips.service || fail "slips.service does not start"
until_so "nothing is kept" keeps 2
inside slips block 192.0.2.66 --for 1h >"$dir/block" 2>&1 || fail "block: $(cat "$dir/block")"
at_router python3 "$lab/numbered.py" count 192.0.2.1 9000 192.0.2.66 "$dir/over" >"$dir/count" &
counter=$!
outside python3 "$lab/numbered.py" stream 192.0.2.66:40000 192.0.2.1 9000 500 "$dir/over" >"$dir/sent" &
attacker=$!

# A restart: each number is in the database, and once.
begin_numbers 40000
until_so "no numbers are sent" sent $((last / 3))
began=${EPOCHREALTIME/./}
inside systemctl restart slips.service || fail "slips.service does not start again"
restarted=$(((${EPOCHREALTIME/./} - began) / 1000))
[ "$(progress)" -lt "$last" ] || fail "the numbers were over before the restart was"
end_numbers
[ "$first $final $ports $packets" = "1 $last $last $last" ] ||
    fail "over a restart, of $last numbers $ports were seen, in $packets packets, from $first to $final; the end: $lost"
blocked || fail "a restart lifted a block"

# A crash while frames lie unread in the ring: what the dead one had taken is gone with it, all from there on is seen by the next.
begin_numbers 40001
until_so "no numbers are sent" sent $((last / 4))
dead=$(daemon)
inside kill -STOP "$dead"
stood=$(progress)
until_so "no numbers are sent" sent $((stood + rate / 2))
inside kill -KILL "$dead"
began=${EPOCHREALTIME/./}
until_so "no other daemon comes" another_daemon "$dead"
[[ $(ends | tail -n 1) == *": signal (killed by SIGKILL)" ]] || fail "the crash is told as: $(ends)"
crashed=$(((${EPOCHREALTIME/./} - began) / 1000))
[ "$(progress)" -lt "$last" ] || fail "the numbers were over before the crash was"
end_numbers
{ [ "$first" -le $((stood + 1)) ] && [ "$final" = "$last" ] && [ "$ports" = $((last - first + 1)) ]; } ||
    fail "over a crash at $stood, of $last numbers $ports were seen, from $first to $final; the end: $lost"
[ "$packets" = "$ports" ] || fail "after a crash $ports numbers were seen in $packets packets"
again=$ports

touch "$dir/over"
wait $attacker $counter
read -r through _ <"$dir/count"
[ "$(cat "$dir/sent")" -gt 1000 ] || fail "the attacker sent $(cat "$dir/sent") datagrams"
[ "$through" = 0 ] || fail "$through datagrams of a blocked attacker came through"

# The watchdog: whichever part stands still, the process is ended and another started, and the journal says which part it was.
mkdir -p "$root/etc/systemd/system/slips.service.d" "$root/etc/slips/on-failure.d"
printf '[Service]\nWatchdogSec=6s\n' >"$root/etc/systemd/system/slips.service.d/watchdog.conf"
printf '#!/bin/sh\necho "$1 $MONITOR_SERVICE_RESULT" >>/run/hooked\n' >"$root/etc/slips/on-failure.d/told"
chmod 0755 "$root/etc/slips/on-failure.d/told"
inside systemctl daemon-reload
inside systemctl restart slips.service || fail "slips.service does not start with another watchdog"
process_here() {
    local process
    for process in $(cat "$cgroup/system.slice/slips.service/cgroup.procs"); do
        [ "$(sed -n 's/^NSpid:.*[[:space:]]//p' "/proc/$process/status")" != "$1" ] || echo "$process"
    done
}
told() { inside journalctl -t slips -o cat --no-pager SLIPS_COMPONENT=watchdog | tail -n 1; }
parts=0
dead=$(daemon)
for part in $(cat /proc/"$(process_here "$dead")"/task/*/comm | grep -xE 'capture-0|router|shard-0|judge|engine|responder|sinks'); do
    dead=$(daemon)
    python3 "$lab/stand.py" "$(process_here "$dead")" "$part" >"$dir/stand" 2>&1 &
    standing=$!
    until_so "$part stands still and nobody minds" another_daemon "$dead"
    wait $standing || { [ $? = 2 ] && missing "$(cat "$dir/stand")" || fail "$part: $(cat "$dir/stand")"; }
    [[ $(told) == *": $part stands still; "* ]] || fail "$part stood still, and the journal says: $(told)"
    parts=$((parts + 1))
    [ "$(ends | wc -l)" = $((parts + 1)) ] || fail "ends of the daemon in the journal: $(ends | sort | uniq -c)"
    [[ $(ends | tail -n 1) == *": watchdog ("*SIGABRT* ]] || fail "the end is told as: $(ends | tail -n 1)"
done
[ $parts -ge 5 ] || fail "only $parts parts"
# The programs of an administrator: systemd before 254 calls them only when it gives up.
version=$(inside systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')
if [ "$version" -ge 254 ]; then
    grep -qx 'slips.service watchdog' <(inside cat /run/hooked) || fail "no program was called for the end by the watchdog"
fi
inside systemctl stop slips.service || fail "slips.service does not stop"
until_so "sockets are kept after a stop" keeps 0
echo "systemd $version: $last numbered datagrams, $rate a second: all seen, once, over a restart of $restarted ms; after a crash and $crashed ms all $again since; of $(cat "$dir/sent") datagrams of one that is blocked $through came through; $parts parts that stood still were each told and ended by the watchdog"
