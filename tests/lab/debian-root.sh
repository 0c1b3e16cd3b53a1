#!/usr/bin/env bash
# The files of a minimal Debian, made once and kept. usage: debian-root.sh SUITE; root. Prints where they are; the exit code is 0, 1 with a
# reason, or 2 when mmdebstrap is missing or no mirror can be reached.
set -euo pipefail

suite=$1 root=${SLIPS_ROOTS:-/var/cache/slips-roots}/$1
if [ ! -e "$root/.whole" ]; then
    command -v mmdebstrap >/dev/null || { echo "needs mmdebstrap" && exit 2; }
    rm -rf "$root"
    mkdir -p "$root"
    mmdebstrap --quiet --variant=minbase \
        --include=systemd,systemd-sysv,dbus,libnss-systemd,iproute2,procps,adduser,libnftnl11,ca-certificates "$suite" "$root" >"$root.log" 2>&1 ||
        { echo "no $suite: $(tail -n 1 "$root.log")" && exit 2; }
    touch "$root/.whole"
fi
echo "$root"
