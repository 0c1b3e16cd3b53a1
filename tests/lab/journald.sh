#!/usr/bin/env bash
# journald stands still, and then is gone, while there are alerts without end: nothing waits for it, and what it loses is counted.
# usage: journald.sh SLIPS SECONDS; root. A systemd of its own; each silence lasts SECONDS. The last line has the figures; the exit code is 0,
# 1 with a reason, or 2 when something is missing.
set -uo pipefail

slips=$(realpath "$1") name=slips-journald-$$ silence=$2
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

install_slips() {
    local lib=$upper/usr/local/lib
    install -D -m 0644 -t "$lib/systemd/system" "$repo"/systemd/slips.service "$repo"/systemd/slips-blocks.service "$repo"/systemd/slips.socket
    install -D -m 0644 "$repo/systemd/sysusers.d/slips.conf" "$lib/sysusers.d/slips.conf"
    install -D -m 0644 "$repo/systemd/tmpfiles.d/slips.conf" "$lib/tmpfiles.d/slips.conf"
    install -D -m 0644 "$repo/systemd/slips.catalog" "$lib/systemd/catalog/slips.catalog"
    install -D -m 0644 "$repo/tests/lab/storm.py" "$upper/opt/storm.py"
    # The limit of the journal is not what is looked at here.
    mkdir -p "$upper/etc/systemd/system/slips.service.d" "$upper/etc/systemd/journald.conf.d" "$upper/etc/slips/lists"
    printf '[Service]\nLogRateLimitBurst=10000000\n' >"$upper/etc/systemd/system/slips.service.d/lab.conf"
    printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=400M\nRateLimitBurst=0\n' >"$upper/etc/systemd/journald.conf.d/lab.conf"
    echo '198.18.0.0/16,critical,a listed network' >"$upper/etc/slips/lists/listed.csv"
    # Each alert is two entries: that it is one, and that nothing more is done.
    cat >"$upper/etc/slips/slips.yaml" <<'TEXT'
interfaces: [wan0]
threatintelligence:
  local_threat_intelligence_files: /etc/slips/lists
firewall:
  external: alert-only
TEXT
}

prepare() {
    inside sh -e -c '
        systemd-sysusers /usr/local/lib/sysusers.d/slips.conf
        systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/slips.conf
        chgrp -R slips /etc/slips
        ip link set lo up
        ip netns add other
        ip -n other link set lo up
        ip link add wan0 type veth peer name eth0 netns other
        ip address add 192.0.2.1/24 dev wan0
        ip -n other address add 192.0.2.2/24 dev eth0
        ip link set wan0 up
        ip -n other link set eth0 up
        ip route add 198.18.0.0/16 via 192.0.2.2
        ip -n other route replace local 198.18.0.0/16 dev lo' >"$dir/prepare.log" 2>&1 || fail "cannot prepare: $(tail -n 3 "$dir/prepare.log")"
}

rest() { read -r -t "$1" <>"$dir/idle" || true; }
# Alerts in the database, in alerts.json, and batches that came out of the detections, by the status.
alerts() {
    inside python3 - <<'PY'
import sqlite3
with sqlite3.connect("file:/var/lib/slips/flows.sqlite?mode=ro", uri=True, timeout=5) as book:
    print(book.execute("select count(*) from alerts").fetchone()[0])
PY
}
in_file() { inside grep -c '"Status": *"Incident"' /var/lib/slips/alerts.json; }
alerts_grow() { [ "$(alerts)" -gt "$1" ]; }
settled() {
    local before
    before=$(alerts)
    rest 2
    [ "$before" = "$(alerts)" ] && [ "$before" -gt 0 ]
}
# The journal as it is now: entries of alerts, the second entries of alerts, lines that came by stderr instead, and what was counted as lost.
read_journal() {
    inside journalctl --sync 2>/dev/null
    inside journalctl -u slips.service -o json --no-pager 2>/dev/null >"$dir/journal.json"
    python3 - "$dir/journal.json" <<'PY'
import json, sys
alerts = refusals = lines = lost = 0
for line in open(sys.argv[1]):
    entry = json.loads(line)
    message = entry.get("MESSAGE")
    if entry.get("SLIPS_EVENT") == "alert":
        alerts += 1
    elif entry.get("SLIPS_COMPONENT") == "journal":
        lost += int(entry["SLIPS_DROPPED"])
    elif isinstance(message, str) and (" event=alert " in message or " event=refusal " in message):
        lines += 1
    elif isinstance(message, str) and " event=degraded " in message and " component=journal " in message:
        lost += int(message.split(" dropped=")[1].split()[0])
    elif entry.get("SLIPS_EVENT") == "refusal":
        refusals += 1
print(alerts, refusals, lines, lost)
PY
}
storm() {
    inside touch /tmp/storming
    inside ip netns exec other python3 /opt/storm.py 192.0.2.1 192.0.2.2 198.18.0.0/16 /tmp/storming 400 >"$dir/storm.log" 2>&1 &
    storming=$!
    until_so "no alerts come" alerts_grow "$1"
}
calm() {
    inside pkill -f /opt/storm.py
    wait "$storming" 2>/dev/null
    until_so "alerts do not end" settled
}
# As at the start: the same process, alive and without a restart.
unharmed() {
    [ "$(of_unit slips.service MainPID)" = "$daemon" ] || fail "$1: another process runs ($(of_unit slips.service Result))"
    [ "$(of_unit slips.service NRestarts)" = 0 ] || fail "$1: systemd restarted the daemon"
}

make_machine
install_slips
boot_machine
prepare
inside systemctl start slips.service || fail "slips.service does not start"
daemon=$(of_unit slips.service MainPID)

# It stands still.
storm 0
journald=$(of_unit systemd-journald.service MainPID)
inside kill -STOP "$journald"
before=$(alerts)
rest "$silence"
during=$(($(alerts) - before))
[ "$(inside sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$journald/status")" = T ] || fail "journald did not stand still"
# Alerts go from the capture through all detections to the database.
[ $during -gt "$silence" ] || fail "only $during alerts were made in $silence s while journald stood still"
unharmed "journald stands still"
inside kill -CONT "$journald"
calm
told() {
    read -r entries refusals lines lost < <(read_journal)
    over=$((entries + refusals + lines + lost - 2 * $(alerts)))
    [ $over -ge 0 ]
}
until_so "what was lost is not told" told
unharmed "journald goes on"
all=$(alerts)
# Beside the alerts' own a few others may have been lost: of overload, of losses.
[ $over -le 5 ] || fail "$all alerts and as many refusals are $entries and $refusals entries, $lines lines and $lost that were lost"
[ "$lost" -gt 0 ] || fail "nothing was lost: journald did not stand still long enough to be looked at"
[ "$(in_file)" = "$all" ] || fail "$all alerts in the database are $(in_file) in alerts.json"
first="stopped for $silence s under $during alerts: $all alerts with a second entry each = $entries + $refusals entries + $lost counted as lost"

# It is gone, and comes again.
storm "$all"
inside systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service 2>"$dir/stop.log"
! inside systemctl -q is-active systemd-journald.service || fail "journald does not stop: $(cat "$dir/stop.log")"
before=$(alerts)
rest "$silence"
gone=$(($(alerts) - before))
[ $gone -gt "$silence" ] || fail "only $gone alerts were made in $silence s without a journald"
unharmed "without journald"
inside systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service || fail "journald does not start again"
calm
unharmed "journald is back"
now=$(alerts)
[ "$(in_file)" = "$now" ] || fail "$now alerts in the database are $(in_file) in alerts.json"
read -r had _ < <(read_journal)
storm "$now"
calm
has_more() { read -r entries _ < <(read_journal) && [ "$entries" -gt "$had" ]; }
until_so "the new journald gets no entries" has_more
unharmed "the end"
echo "$first; gone for $silence s under $gone alerts, all in the database"
