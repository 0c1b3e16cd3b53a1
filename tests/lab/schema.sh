#!/usr/bin/env bash
# The control API of a real daemon against its own description: schemathesis (PyPI) makes up requests, good and bad, and looks for answers that
# are errors of the server or not what docs/openapi.json says.
# usage: schema.sh SLIPS [SCHEMATHESIS]; root. The exit code is 0, 1 with a reason, or 2 when something is missing.
set -uo pipefail

slips=$(realpath "$1") tool=$(command -v "${2:-schemathesis}")
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(mktemp -d) space=slips-schema-$$
missing() { echo "$*" && exit 2; }
[ "$(id -u)" = 0 ] || missing "not root"
[ -n "$tool" ] || missing "schemathesis is not installed"

end() {
    [ -z "${door:-}" ] || kill "$door" 2>/dev/null
    [ -z "${daemon:-}" ] || kill "$daemon" 2>/dev/null
    wait 2>/dev/null
    ip netns delete "$space" 2>/dev/null
    rm -rf "$dir"
}
trap 'cd / && end' EXIT
fail() { echo "$*"; cat "$dir/said" 2>/dev/null; exit 1; }

ip netns add "$space" || missing "no network namespace"
ip -n "$space" link set lo up
ip -n "$space" link add wan0 type bridge
ip -n "$space" address add 192.0.2.1/24 dev wan0
ip -n "$space" link set wan0 up
mkdir "$dir/zeek"
printf 'output:\n  directory: %s/out\nfirewall:\n  internal_share: 100\n' "$dir" >"$dir/slips.yaml"
# Somebody who scans: there are alerts, evidence, flows and profiles to be asked for.
python3 - "$dir/zeek/conn.log" <<'PY'
import json, sys, time
at = time.time() - 60
with open(sys.argv[1], "w") as log:
    for port in range(1, 1500):
        log.write(json.dumps({
            "ts": at + port / 1000, "uid": f"C{port}", "id.orig_h": "203.0.113.77", "id.orig_p": 40000, "id.resp_h": "192.168.1.5",
            "id.resp_p": port, "proto": "tcp", "duration": 0.001, "orig_bytes": 0, "resp_bytes": 0, "conn_state": "REJ", "history": "Sr",
            "orig_pkts": 1, "resp_pkts": 1, "orig_ip_bytes": 60, "resp_ip_bytes": 40}) + "\n")
PY
ip netns exec "$space" "$slips" run -c "$dir/slips.yaml" --control "$dir/control.sock" --zeek-dir "$dir/zeek" --from-start >"$dir/daemon" 2>&1 &
daemon=$!
asked() { curl -s --max-time 10 --unix-socket "$dir/control.sock" "http://localhost$1"; }
for _ in $(seq 300); do
    asked /v1/alerts | grep -q 203.0.113.77 && break
    kill -0 $daemon 2>/dev/null || fail "the daemon ended: $(tail -n 3 "$dir/daemon")"
    sleep 0.2
done
asked /v1/alerts | grep -q 203.0.113.77 || fail "no alert came"

python3 "$lab/door.py" "$dir/control.sock" >"$dir/port" &
door=$!
for _ in $(seq 50); do [ -s "$dir/port" ] && break; sleep 0.1; done
# Where the next page begins no description tells, so that made-up ones may be refused (positive_data_acceptance).
# The stream of events has no end, and is no answer that could be looked at as a whole.
# It leaves what it found where it runs.
cd "$dir" || fail "no $dir"
"$tool" run "http://127.0.0.1:$(cat "$dir/port")/v1/openapi.json" --exclude-path /v1/events --phases examples,coverage,fuzzing \
    --max-examples "${EXAMPLES:-30}" --checks all --exclude-checks positive_data_acceptance --continue-on-failure --request-timeout 30 >"$dir/said" 2>&1 </dev/null || fail "schemathesis is not content"
kill -0 $daemon 2>/dev/null || fail "the daemon ended: $(tail -n 3 "$dir/daemon")"
echo "$(sed -n 's/^  *\([0-9]* generated\).*/\1/p' "$dir/said" | tail -n 1) requests, all answered as described"
