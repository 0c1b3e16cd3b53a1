#!/usr/bin/env bash
# The units as systemd runs them: boots a systemd of its own, installs what install.sh installs, and looks at the daemon and at the process
# that talks with peers, as a unit and as a child.
# usage: systemd.sh SLIPS; root. The last line has the figures; the exit code is 0, 1 with a reason, or 2 when something is missing.
set -uo pipefail

slips=$(realpath "$1") name=slips-systemd-$$
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

install_slips() {
    local lib=$upper/usr/local/lib
    install -D -m 0644 -t "$lib/systemd/system" "$repo"/systemd/slips*.service "$repo"/systemd/slips.socket
    install -D -m 0644 "$repo/systemd/sysusers.d/slips.conf" "$lib/sysusers.d/slips.conf"
    install -D -m 0644 "$repo/systemd/tmpfiles.d/slips.conf" "$lib/tmpfiles.d/slips.conf"
    install -D -m 0644 "$repo/systemd/slips.catalog" "$lib/systemd/catalog/slips.catalog"
    mkdir -p "$upper/etc/slips"
    printf 'interfaces: [wan0]\np2p:\n  node: service\n  name: router\n' >"$upper/etc/slips/slips.yaml"
    # Another router, which is a process in a network of its own, and no unit of ours.
    mkdir -p "$upper/etc/other"
    printf 'interfaces: [eth0]\noutput:\n  directory: /tmp/other\np2p:\n  name: other\n' >"$upper/etc/other/slips.yaml"
}

# The user and the modes, as install.sh makes them, and a link to the other router.
prepare() {
    inside sh -e -c '
        systemd-sysusers /usr/local/lib/sysusers.d/slips.conf
        systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/slips.conf
        chgrp slips /etc/slips /etc/slips/slips.yaml
        journalctl --update-catalog
        ip link set lo up
        ip netns add other
        ip -n other link set lo up
        ip link add wan0 type veth peer name eth0 netns other
        ip address add 192.0.2.1/24 dev wan0
        ip -n other address add 192.0.2.2/24 dev eth0
        ip link set wan0 up
        ip -n other link set eth0 up
        mkdir -p /tmp/other' >"$dir/prepare.log" 2>&1 || fail "cannot prepare: $(tail -n 3 "$dir/prepare.log")"
}

other() { inside ip netns exec other "$@"; }
is_running() { inside slips peers list --json | grep -q '"node": *"running"'; }
blocked() { inside slips firewall list | grep -q '198\.51\.100\.7'; }
another_node() {
    local now
    now=$(node) && [ "$now" != 0 ] && [ "$now" != "$process" ] && is_running
}
unblocked() { ! blocked; }
another_daemon() {
    local now
    now=$(of_unit slips.service MainPID)
    [ "$now" != 0 ] && [ "$now" != "$1" ] && inside slips firewall status
}
is_inactive() { [ "$(of_unit "$1" ActiveState)" = inactive ]; }
other_is_connected() { inside slips peers list --json | grep -q '"connected": *true'; }
node() { inside systemctl show -P MainPID slips-p2p.service; }

make_machine
install_slips
boot_machine
prepare

# As the handbook says: the unit of its own, for `p2p: node: service`.
inside systemctl enable --quiet slips-p2p.service slips.service || fail "the units cannot be enabled"
inside systemctl start slips.service || fail "slips.service does not start"
[ "$(of_unit slips.service ActiveState)" = active ] || fail "slips.service is $(of_unit slips.service ActiveState)"
other systemd-run --quiet --unit=other -p NetworkNamespacePath=/run/netns/other slips run -c /etc/other/slips.yaml --control /run/other.sock || fail "no other router"
until_so "the other daemon does not answer" other slips firewall status

# Each names the other.
theirs=(--config /etc/other/slips.yaml)
id=$(inside slips peers id --json | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p')
other_id=$(other slips peers id --json "${theirs[@]}" | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p')
{ [ -n "$id" ] && [ -n "$other_id" ]; } || fail "the routers have no ids"
inside slips peers add "$other_id" --name other --address 192.0.2.2 >"$dir/add" 2>&1 || fail "add: $(cat "$dir/add")"
inside slips peers network show 2>/dev/null | tail -n 1 >"$dir/key"
other slips peers network set "${theirs[@]}" <"$dir/key" >"$dir/set" 2>&1 || fail "network set: $(cat "$dir/set")"
other slips peers add "$id" --name router "${theirs[@]}" >"$dir/add" 2>&1 || fail "add: $(cat "$dir/add")"

until_so "the daemon does not talk with the unit of the node" is_running
until_so "the node has no connection to the other router" other_is_connected
daemon=$(of_unit slips.service MainPID) process=$(node)
none=0000000000000000 network=0000000000003000
confined "$process" $none $none "the node"
confined "$daemon" $network $network "the daemon"
user=$(inside stat -c %u "/proc/$process")
{ [ "$user" -ge 61184 ] && [ "$user" -le 65519 ]; } || fail "the node is of user $user, which is no dynamic one"
[ "$(inside stat -c %U "/proc/$daemon")" = slips ] || fail "the daemon is not of user slips"
memory=$(status_of "$process" VmRSS) own=$(status_of "$process" RssAnon)

# Its death is nothing to the daemon, and systemd starts another.
inside slips block 198.51.100.7 --for 300s >"$dir/block" 2>&1 || fail "block: $(cat "$dir/block")"
inside kill -KILL "$process"
until_so "no other node comes" another_node
blocked || fail "the death of the node lifted a block"
until_so "the other node has no connection" other_is_connected
[ "$(of_unit slips.service MainPID)" = "$daemon" ] || fail "the death of the node was the daemon's, too"

# The same without the unit: a child of the daemon, in the unit of the daemon.
inside systemctl disable --quiet --now slips-p2p.service || fail "slips-p2p.service cannot be disabled"
inside sed -i 's/node: service/node: child/' /etc/slips/slips.yaml
inside systemctl restart slips.service || fail "slips.service does not start again"
until_so "the daemon starts no node" is_running
until_so "the child has no connection" other_is_connected
blocked || fail "a restart lifted a block"
process=$(inside pgrep -P "$(of_unit slips.service MainPID)" -f p2p-node) || fail "no process of a node"
# What bounds it is the unit's; without new privileges it gets none of that.
confined "$process" $none $network "the child"

# The configuration is read again by the same process; one that is wrong fails with its line, and changes nothing.
printf 'firewall:\n  never_block: [198.51.100.7]\n' >>"$root/etc/slips/slips.yaml"
inside systemctl reload slips.service || fail "a good configuration is not taken"
until_so "who must not be blocked by the new configuration stays blocked" unblocked
sed -i 's/never_block: .*/never_blok: []/' "$root/etc/slips/slips.yaml"
! inside systemctl reload slips.service 2>/dev/null || fail "a wrong configuration is taken"
inside journalctl -u slips.service -o cat --no-pager | grep -q 'slips.yaml:[0-9]*: .*never_blok' || fail "the journal does not say which line is wrong"
[ "$(of_unit slips.service ActiveState)" = active ] || fail "a wrong configuration ended the daemon"
! inside slips block 198.51.100.7 >"$dir/refused" 2>&1 && grep -q 'never blocked' "$dir/refused" || fail "a wrong configuration changed something"
sed -i '/^firewall:/d; /never_blok/d' "$root/etc/slips/slips.yaml"
inside systemctl reload slips.service || fail "the first configuration is not taken again"
until_so "who may be blocked again is not" inside slips block 198.51.100.7 --for 300s

# A crash and a restart keep what is blocked: the table is the kernel's, and the unit that made it first stays. Looked at while no daemon runs.
daemon=$(of_unit slips.service MainPID)
inside systemctl kill --signal=KILL slips.service
blocked || fail "the death of the daemon lifted a block"
until_so "no other daemon comes" another_daemon "$daemon"
blocked || fail "the next daemon lifted a block"
[ "$(of_unit slips-blocks.service ActiveState)" = active ] || fail "slips-blocks.service is $(of_unit slips-blocks.service ActiveState)"

# Who asks while it is restarted waits, and the next process answers. Members of the group may ask for all, others nothing.
# (The machine may have no curl.)
asks() { curl -sS --max-time 30 --unix-socket "/proc/$pid/root/run/slips/control.sock" "$@"; }
inside systemctl restart --no-block slips.service || fail "slips.service is not restarted"
for _ in $(seq 40); do
    asks -f http://localhost/v1/status >"$dir/asked" 2>&1 || fail "a request over a restart: $(cat "$dir/asked")"
done
another_daemon "$daemon" || until_so "no other daemon comes" another_daemon "$daemon"
inside setpriv --reuid nobody --regid slips --clear-groups slips status --json >"$dir/asked" 2>&1 || fail "a member of the group is not heard: $(cat "$dir/asked")"
grep -q '"uptime' "$dir/asked" || fail "a member of the group is not answered by the control API: $(cat "$dir/asked")"
! inside setpriv --reuid nobody --regid nogroup --clear-groups slips status --json >"$dir/asked" 2>&1 ||
    fail "a stranger is heard: $(cat "$dir/asked")"

# Who stops it lets everybody in, and who starts it again has them blocked before the daemon is there.
inside systemctl stop slips.service || fail "slips.service does not stop"
[ "$(of_unit slips.service Result)" = success ] || fail "slips.service ended with $(of_unit slips.service Result)"
until_so "slips-blocks.service does not stop with it" is_inactive slips-blocks.service
until_so "slips.socket does not stop with it" is_inactive slips.socket
! inside test -e /run/slips/control.sock || fail "a stop leaves the socket"
! blocked || fail "a stop left a block"
# The daemon holds the table itself: what is there without it was put there by the unit before it.
inside systemctl mask --quiet --runtime slips.service
inside systemd-run --quiet --unit=needs-it -p Wants=slips-blocks.service -p After=slips-blocks.service sleep infinity
until_so "slips-blocks.service does not put back what stands" blocked
inside systemctl unmask --quiet --runtime slips.service
inside systemctl start slips.service || fail "slips.service does not start beside restored blocks"
blocked || fail "the daemon lifted what had been restored for it"
inside systemctl stop needs-it.service slips.service

inside systemd-analyze verify --man=no slips.service slips.socket slips-blocks.service slips-p2p.service slips-failure@slips.service.service >"$dir/verify" 2>&1 || fail "verify: $(cat "$dir/verify")"
[ ! -s "$dir/verify" ] || fail "verify: $(cat "$dir/verify")"
exposed() { inside systemd-analyze security --no-pager "$1" 2>/dev/null | sed -n 's/.*level for .*: \([0-9.]*\) .*/\1/p'; }
for most in slips.service=1.8 slips-p2p.service=1.1 slips-blocks.service=1.4; do
    score=$(exposed "${most%=*}")
    awk -v score="$score" -v most="${most#*=}" 'BEGIN { exit !(score != "" && score <= most) }' || fail "${most%=*} is exposed by ${score:-nothing known}"
done
score=$(exposed slips-p2p.service)
echo "systemd $(inside systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p') up in $booted ms; the node as a unit: user $user, no capabilities, ${memory% kB} kB of which ${own% kB} its own, exposure ${score:-unknown}"
