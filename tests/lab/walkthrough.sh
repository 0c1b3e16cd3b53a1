#!/usr/bin/env bash
# docs/walkthrough.md, followed by the letter on a fresh machine that has nothing but the package file.
# usage: walkthrough.sh SLIPS; root. The last line has the figures; the exit code is 0, 1 with a reason, or 2 when something is missing.
set -uo pipefail

name=slips-walk-$$ packed=$(realpath "$1")
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
command -v cargo-deb >/dev/null || missing "no cargo-deb here"
for tool in dpkg-shlibdeps strip python3; do command -v $tool >/dev/null || missing "needs $tool"; done

make_machine
strip -o "$dir/slips" "$packed" && packed=$dir/slips
(cd "$repo" && SLIPS_BIN=$packed packaging/deb.sh "$dir/deb" --fast) >"$dir/deb.log" 2>&1 || fail "no package is made: $(tail -n 3 "$dir/deb.log")"
mkdir -p "$upper/root" && cp "$dir"/deb/slips_*.deb "$upper/root/"
boot_machine
# A line to the outside, as every machine of its own has one.
inside sh -e -c 'ip link set lo up
    ip link add wan0 type veth peer name eth0
    ip address add 192.0.2.1/24 dev wan0
    ip link set wan0 up
    ip link set eth0 up
    ip route add default via 192.0.2.254' || fail "no line to the outside"
at_home() { inside env DEBIAN_FRONTEND=noninteractive bash -c "cd /root && $1"; }
export -f at_home inside
export cgroup pid
python3 "$repo/tests/lab/walkthrough.py" "$repo/docs/walkthrough.md" bash -c 'at_home "$1"' at_home || fail "the page and the machine differ"
