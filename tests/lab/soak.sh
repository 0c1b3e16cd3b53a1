#!/usr/bin/env bash
# A soak, compressed: millions of flows with floods and scans in between go through a daemon that systemd runs. Its memory stays what it was
# after the warm-up, and the alerts in the journal, in alerts.json, in alerts.log and in the database are the same.
# usage: soak.sh SLIPS LOAD FLOWS [RATE]; root. LOAD is the example `load` of slips-input, RATE packets a second. The last line has the figures;
# the exit code is 0, 1 with a reason, or 2 when something is missing.
set -uo pipefail

slips=$(realpath "$1") load=$(realpath "$2") flows=$3 rate=${4:-20000} name=slips-soak-$$ rounds=10
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
patience=900
# Of each round's flows five tenths are questions with an answer, four a flood of forged senders, one scans of a thousand ports each.
part=$((flows / rounds / 10))

install_slips() {
    local lib=$upper/usr/local/lib
    install -D -m 0644 -t "$lib/systemd/system" "$repo"/systemd/slips.service "$repo"/systemd/slips-blocks.service "$repo"/systemd/slips.socket
    install -D -m 0644 "$repo/systemd/sysusers.d/slips.conf" "$lib/sysusers.d/slips.conf"
    install -D -m 0644 "$repo/systemd/tmpfiles.d/slips.conf" "$lib/tmpfiles.d/slips.conf"
    install -D -m 0755 "$load" "$upper/opt/load"
    mkdir -p "$upper/etc/systemd/system/slips.service.d" "$upper/etc/systemd/journald.conf.d" "$upper/etc/slips" "$upper/var/lib/slips"
    # Nobody here limits memory, and the log is to be whole.
    printf '[Service]\nLogRateLimitBurst=10000000\n' >"$upper/etc/systemd/system/slips.service.d/lab.conf"
    printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=800M\nRateLimitBurst=0\n' >"$upper/etc/systemd/journald.conf.d/lab.conf"
    # Tables that are full after the first rounds, as they are after days; windows that close meanwhile.
    cat >"$upper/etc/slips/slips.yaml" <<TEXT
interfaces: [wan0]
parameters:
  time_window_width: 60s
detection:
  evidence_detection_threshold: 15
limits:
  memory: 1GiB
  remote_profiles: $((flows / 100 > 100000 ? 100000 : flows / 100))
  local_profiles: 1024
  open_evidence: $((flows / 200 > 50000 ? 50000 : flows / 200))
  flows: $((flows / 100 > 131072 ? 131072 : flows / 100))
TEXT
}

prepare() {
    inside sh -e -c '
        systemd-sysusers /usr/local/lib/sysusers.d/slips.conf
        mount -t tmpfs -o size=6g,mode=750 slips /var/lib/slips
        systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/slips.conf
        chgrp -R slips /etc/slips
        chown slips:slips /var/lib/slips
        ip link set lo up
        ip netns add other
        ip link add wan0 type veth peer name eth0 netns other
        ip address add 192.0.2.1/24 dev wan0
        ip link set wan0 up
        ip -n other link set eth0 up' >"$dir/prepare.log" 2>&1 || fail "cannot prepare: $(tail -n 3 "$dir/prepare.log")"
}

send() { inside ip netns exec other /opt/load eth0 "$@" >>"$dir/load.log" 2>&1 || fail "load: $(tail -n 1 "$dir/load.log")"; }
cpu() { inside awk '{ print $14 + $15 }' "/proc/$daemon/stat"; }
rest() { read -r -t "$1" <>"$dir/idle" || true; }
# What was sent is looked at: the daemon does nothing more.
is_idle() {
    local before
    before=$(cpu)
    rest 1
    [ $(($(cpu) - before)) -lt 5 ]
}
resident() { inside awk '/^VmRSS/ { print $2 }' "/proc/$daemon/status"; }

make_machine
mount -o remount,size=4g "$dir"
install_slips
boot_machine
prepare
inside systemctl start slips.service || fail "slips.service does not start"
daemon=$(of_unit slips.service MainPID)
began=$SECONDS warm=0 most=0 memory=()
for round in $(seq 0 $((rounds - 1))); do
    send life "$rate" $((part * 5)) $((round * part * 10))
    send syn "$rate" $((part * 4)) $((round * part * 4))
    send life "$rate" $((part * 5)) $((round * part * 10 + part * 5))
    # Half of what is left; scans are slower, and whole attackers.
    send scan $((rate / 4)) $(((part + 999) / 1000 * 1000)) $((round * ((part + 999) / 1000 * 1000)))
    until_so "the daemon does not come to rest" is_idle
    # It gives free memory back each ten seconds at most: what it holds after that is what it uses.
    [ "$flows" -lt 1000000 ] || rest 12
    now=$(resident)
    memory+=($((now / 1024)))
    # The first three rounds fill the tables.
    if [ "$round" -lt 3 ]; then warm=$((now > warm ? now : warm)); else most=$((now > most ? now : most)); fi
    [ "$(of_unit slips.service MainPID)" = "$daemon" ] || fail "the daemon ended in round $round: $(of_unit slips.service Result)"
done
status=$(of_unit slips.service StatusText)
stopped=${EPOCHREALTIME/./}
inside systemctl stop slips.service || fail "slips.service does not stop"
stopped=$(((${EPOCHREALTIME/./} - stopped) / 1000))
[ "$(of_unit slips.service Result)" = success ] || fail "slips.service ended with $(of_unit slips.service Result)"
inside journalctl --sync 2>/dev/null
inside journalctl -u slips.service -o json --no-pager --output-fields=SLIPS_EVENT,SLIPS_ALERT_ID,SLIPS_SRC_IP,SLIPS_COMPONENT,SLIPS_DROPPED 2>/dev/null >"$dir/journal.json"
inside cat /var/lib/slips/alerts.json.1 /var/lib/slips/alerts.json 2>/dev/null >"$dir/alerts.json"
inside cat /var/lib/slips/alerts.log.1 /var/lib/slips/alerts.log 2>/dev/null >"$dir/alerts.log"
inside cat /var/lib/slips/flows.sqlite >"$dir/flows.sqlite"
compared=$(python3 - "$dir" <<'PY'
import collections, json, re, sqlite3, sys
dir = sys.argv[1]
journal = [json.loads(line) for line in open(f"{dir}/journal.json")]
told = [entry["SLIPS_ALERT_ID"] for entry in journal if entry.get("SLIPS_EVENT") == "alert"]
lost = sum(int(entry["SLIPS_DROPPED"]) for entry in journal if entry.get("SLIPS_COMPONENT") == "journal")
messages = (json.loads(line) for line in open(f"{dir}/alerts.json"))
filed = [message["ID"] for message in messages if message["Status"] == "Incident"]
logged = re.findall(r"Src IP (\S+) *\. Generated an alert", open(f"{dir}/alerts.log").read())
with sqlite3.connect(f"{dir}/flows.sqlite") as book:
    kept = dict(book.execute("select id, attacker from alerts"))
    rows = book.execute("select count(*) from flows").fetchone()[0]
known = set(kept)
for name, ids in (("journal", told), ("alerts.json", filed)):
    if set(ids) != known or len(ids) != len(known):
        sys.exit(f"{len(known)} alerts are in the database and {len(set(ids))} in {name} ({lost} entries were lost)")
if collections.Counter(logged) != collections.Counter(kept.values()):
    sys.exit(f"{len(known)} alerts are in the database and {len(logged)} in alerts.log, or about others")
if not known:
    sys.exit("there are no alerts at all")
print(f"{len(known)} alerts, the same in the journal, alerts.json, alerts.log and the database; {rows} rows of flows")
PY
) || fail "the alerts differ: $compared"
figures="$flows flows in $((SECONDS - began)) s; memory after each round ${memory[*]} MiB; $compared; stopped in $stopped ms; $status"
# KiB: five percent more than after the warm-up; in a short run some pieces that are free weigh more than that.
slack=0
[ "$flows" -ge 1000000 ] || slack=4096
[ $((most * 100)) -le $(((warm + slack) * 105)) ] || fail "memory grows: $figures"
echo "$figures"
