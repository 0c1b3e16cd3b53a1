#!/bin/bash
# What the daemon takes live: 300,000 small packets a second, then ten million SYNs from forged sources with an ordinary HTTP
# download in the middle. All detections run; capture is on one core.
#
#   sudo tests/bench/live.sh [SECONDS] [SYNS]          default: 10 s, 10,000,000
#
# Prints rate, drops of the kernel, CPU seconds and memory of each phase. Exit 1: packets were dropped, the download was not tracked
# and read, or memory passed the bar. On a machine that is busy with other work the rate means little; packets per CPU second do.
# Builds slips and the generator for release, unless $SLIPS and $LOAD name them. Network namespaces of its own, removed at the end.
set -u
cd "$(dirname "$0")/../.." || exit 2
seconds=${1:-10} syns=${2:-10000000}
target=${CARGO_TARGET_DIR:-target}
rate=300000
# Mebibytes of the daemon under the flood, with the default configuration.
most_memory=400
[ "$(id -u)" = 0 ] || { echo "skipped: live.sh: needs root for network namespaces"; exit 0; }
[ -n "${SLIPS:-}" ] || cargo build -q --release --bin slips || exit 2
[ -n "${LOAD:-}" ] || cargo build -q --release -p slips-input --example load || exit 2
slips=${SLIPS:-$target/release/slips} load=${LOAD:-$target/release/examples/load}

dir=$(mktemp -d) || exit 2
R=slips-live-$$-r S=slips-live-$$-s
started=()
clean() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null; done
    wait
    ip netns del "$R" 2>/dev/null
    ip netns del "$S" 2>/dev/null
    rm -rf "$dir"
}
trap clean EXIT
ip netns add "$R" && ip netns add "$S" || exit 2
ip -n "$R" link add rx0 type veth peer name tx0 netns "$S"
ip -n "$R" address add 10.7.0.2/24 dev rx0
ip -n "$S" address add 10.7.0.1/24 dev tx0
for end in "$R:rx0" "$R:lo" "$S:tx0" "$S:lo"; do ip -n "${end%:*}" link set "${end#*:}" up; done

# The last status that the daemon told: how many flows, and what was lost.
cat >"$dir/manager.py" <<'PY'
import os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
    manager.bind(sys.argv[1])
    while True:
        for line in manager.recv(4096).decode(errors="replace").split("\n"):
            if line == "READY=1" or line.startswith("STATUS="):
                with open(sys.argv[2] + ".new", "w") as told:
                    told.write(line)
                os.rename(sys.argv[2] + ".new", sys.argv[2])
PY
python3 "$dir/manager.py" "$dir/notify" "$dir/told" & started+=($!)
rest() { read -rt "$1" <> <(:); return 0; }
until_true() { # SECONDS COMMAND...
    local end=$((SECONDS + $1)); shift
    until "$@"; do [ $SECONDS -lt $end ] || return 1; rest 0.1; done
    return 0
}
until_true 10 test -S "$dir/notify" || exit 2

cores=$(nproc)
# Capture on the last core; the generator, which does the kernel's receive work too, on the first.
env NOTIFY_SOCKET="$dir/notify" ip netns exec "$R" taskset -c "0-$((cores - 1))" "$slips" run -i rx0 --monitor -o "$dir/out" \
    >"$dir/log" 2>&1 &
daemon=$!; started+=("$daemon")
until_true 20 test -s "$dir/told" || { cat "$dir/log"; exit 2; }
for task in "/proc/$daemon/task"/*; do
    [ "$(cat "$task/comm")" = capture-0 ] && taskset -pc $((cores - 1)) "${task##*/}" >/dev/null && capture=${task##*/}
done
ip netns exec "$R" python3 -m http.server -d "$dir" --bind 10.7.0.2 8080 >/dev/null 2>&1 & started+=($!)
echo "an ordinary page" >"$dir/page.txt"

cpu() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' "$1"; }
memory() { awk '/^VmHWM/ { hwm = $2 } /^VmRSS/ { rss = $2 } END { printf "%d MiB now, %d MiB at most", rss / 1024, hwm / 1024 }' /proc/$daemon/status; }
dropped() { grep -oE '[0-9]+ packets dropped' "$dir/told" | grep -oE '[0-9]+' || echo 0; }
settled() { # The capture thread has caught up: it rests for half a second.
    local before after
    before=$(cpu "/proc/$daemon/task/$capture/stat"); rest 0.5; after=$(cpu "/proc/$daemon/task/$capture/stat")
    awk -v a="$before" -v b="$after" 'BEGIN { exit !(b - a < 0.05) }'
}
threads() { # CPU seconds of each thread since the start.
    local task
    for task in "/proc/$daemon/task"/*; do echo -n "$(cat "$task/comm") $(cpu "$task/stat"), "; done
}
phase() { # NAME KIND RATE PACKETS
    local all thread drops sent
    all=$(cpu /proc/$daemon/stat) thread=$(cpu "/proc/$daemon/task/$capture/stat") drops=$(dropped)
    sent=$(ip netns exec "$S" taskset -c 0 "$load" tx0 "$2" "$3" "$4")
    until_true 60 settled
    rest 2 # the status is told twice a second, the drops counted once
    all=$(awk -v a="$all" -v b="$(cpu /proc/$daemon/stat)" 'BEGIN { print b - a }')
    thread=$(awk -v a="$thread" -v b="$(cpu "/proc/$daemon/task/$capture/stat")" 'BEGIN { print b - a }')
    phase_drops=$(($(dropped) - drops))
    echo "$1: $sent; $phase_drops dropped by the kernel"
    awk -v n="$4" -v all="$all" -v t="$thread" 'BEGIN {
        printf "    CPU: capture thread %.2f s (%d packets per CPU second), daemon %.2f s (%d)\n", t, n / (t + 1e-9), all, n / (all + 1e-9) }'
    echo "    threads, since the start: $(threads)"
    most=$(awk '/^VmHWM/ { printf "%d", $2 / 1024 }' /proc/$daemon/status)
    [ "$most" -le $most_memory ] || failed=1
    echo "    memory: $(memory); $(sed 's/STATUS=//' "$dir/told")"
}
tracked() { # Whether the downloads' user agent was read: evidence is never shed, rows of flows are.
    python3 - "$dir/out/flows.sqlite" <<'PY'
import sqlite3, sys
book = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
read = book.execute("select sum(count) from evidence where kind = 'SUSPICIOUS_USER_AGENT' and attacker = '10.7.0.1'").fetchone()[0]
kinds = book.execute("select kind, count(*) from evidence group by kind order by 2 desc limit 6").fetchall()
print(f"    the downloads' user agent was read {read or 0} times; evidence: {dict(kinds)}")
sys.exit(not read)
PY
}

echo "$(uname -r), $cores cores, load $(cut -d' ' -f1 /proc/loadavg)"
failed=0
phase "small packets" udp $rate $((rate * seconds))
[ "$phase_drops" = 0 ] || failed=1
(
    # In the middle of the flood.
    for _ in 1 2 3 4 5; do
        rest 2
        ip netns exec "$S" curl -s -m 20 -A httpsend http://10.7.0.2:8080/page.txt >>"$dir/got"
    done
) & middle=$!
phase "forged SYNs" syn $rate "$syns"
wait $middle
echo "    pages that arrived: $(grep -c 'an ordinary page' "$dir/got")"
kill $daemon
wait $daemon 2>/dev/null
echo "    $(grep -E 'stopped after' "$dir/log" | tail -1)"
tracked || failed=1
exit $failed
