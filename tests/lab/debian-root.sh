#!/usr/bin/env bash
# The files of a minimal Debian, made once and kept. usage: debian-root.sh SUITE; root. Prints where they are; the exit code is 0, 1 with a
# reason, or 2 when mmdebstrap is missing or no mirror can be reached.
set -euo pipefail

suite=$1 root=${SLIPS_ROOTS:-/var/cache/slips-roots}/$1
if [ ! -e "$root/.whole" ]; then
    command -v mmdebstrap >/dev/null || { echo "needs mmdebstrap" && exit 2; }
    rm -rf "$root"
    mkdir -p "$root"
    # A mirror that does not answer is no fault of what is tested.
    timeout 900 mmdebstrap --quiet --variant=minbase \
        --include=systemd,systemd-sysv,dbus,libnss-systemd,iproute2,procps,adduser,libnftnl11,ca-certificates "$suite" "$root" >"$root.log" 2>&1 ||
        { echo "no $suite can be had from a mirror; $root.log says why" && exit 2; }
    touch "$root/.whole"
fi
echo "$root"
