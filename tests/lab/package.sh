#!/usr/bin/env bash
# The Debian package on a machine with a systemd of its own: installed, updated and removed, with an attacker blocked all the while that he is to be.
# usage: package.sh SLIPS; root. The last line has the figures; the exit code is 0, 1 with a reason, or 2 when something is missing.
set -uo pipefail

name=slips-package-$$ packed=$(realpath "$1")
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
# Where it cannot be built there is no package; tests/run.sh says so.
command -v cargo-deb >/dev/null || missing "no cargo-deb here"
for tool in dpkg-shlibdeps strip; do command -v $tool >/dev/null || missing "needs $tool"; done

make_machine
# Without what debuggers read it is packed in a tenth of the time.
strip -o "$dir/slips" "$packed" && packed=$dir/slips
for version in 1 2; do
    # Nobody updates to what is the same.
    (cd "$repo" && SLIPS_BIN=$packed packaging/deb.sh "$dir/$version" --fast --deb-revision $version) >"$dir/deb.log" 2>&1 ||
        fail "no package is made: $(tail -n 3 "$dir/deb.log")"
done
[ ! -s "$upper/etc/slips" ] || fail "a machine that has slips already"
mkdir -p "$upper/opt"
cp "$dir"/1/slips_*.deb "$upper/opt/1.deb" && cp "$dir"/2/slips_*.deb "$upper/opt/2.deb"
boot_machine
inside sh -e -c 'ip link set lo up
    ip link add wan0 type veth peer name eth0
    ip address add 192.0.2.1/24 dev wan0
    ip link set wan0 up' || fail "no interface"

dpkg() { inside env DEBIAN_FRONTEND=noninteractive dpkg "$@" >"$dir/dpkg.log" 2>&1 || fail "dpkg $1: $(tail -n 5 "$dir/dpkg.log")"; }
blocked() { inside slips firewall list | grep -q '198\.51\.100\.7'; }
is() { [ "$(of_unit "$1" ActiveState)" = "$2" ]; }

dpkg -i /opt/1.deb
until_so "slips.service does not run after the installation" is slips.service active
is slips-blocks.service active || fail "slips-blocks.service does not run after the installation"
inside systemctl is-enabled --quiet slips.service || fail "slips.service is not enabled"
daemon=$(of_unit slips.service MainPID) network=0000000000003000
confined "$daemon" $network $network "the daemon"
[ "$(inside stat -c %U "/proc/$daemon")" = slips ] || fail "the daemon is not of user slips"
[ "$(inside stat -c %a:%G /etc/slips/slips.yaml)" = 640:slips ] || fail "everybody may read the configuration"
inside sh -c 'journalctl --list-catalog | grep -q Slips' || fail "the catalog does not know slips"
! inside sh -c 'journalctl -u slips.service -o cat | grep -i denied' >"$dir/denied" || fail "the daemon may not: $(head -n 2 "$dir/denied")"
for page in man1/slips.1 man5/slips.yaml.5 man8/slips.service.8; do
    inside test -s "/usr/share/man/$page.gz" || inside grep -rqs man /etc/dpkg/dpkg.cfg.d || fail "no page $page"
done

# An update: the configuration of the administrator stays, and so do the blocks, at every moment.
inside sh -c 'echo "# mine" >>/etc/slips/slips.yaml'
inside slips block 198.51.100.7 --for 1h >"$dir/block" 2>&1 || fail "block: $(cat "$dir/block")"
(while [ ! -e "$dir/updated" ]; do
    inside slips firewall list >"$dir/look" 2>&1
    grep -q '198\.51\.100\.7' "$dir/look" || cat "$dir/look" >>"$dir/gaps"
    echo >>"$dir/looks"
done) &
looking=$!
dpkg -i /opt/2.deb
until_so "slips.service does not run after the update" is slips.service active
touch "$dir/updated"
wait $looking
[ "$(of_unit slips.service MainPID)" != "$daemon" ] || fail "the old program runs on after the update"
[ ! -s "$dir/gaps" ] || fail "the update lifted a block: $(sort "$dir/gaps" | uniq -c | tail -n 3)"
blocked || fail "the update lifted a block for good"
inside grep -q '# mine' /etc/slips/slips.yaml || fail "the update took the administrator's configuration"

dpkg -r slips
is slips.service inactive || is slips.service failed || fail "slips.service is $(of_unit slips.service ActiveState) after the removal"
inside test -e /var/lib/slips/blocks.sqlite || fail "the removal took the state"
inside test -e /etc/slips/slips.yaml || fail "the removal took the configuration"
# The program is gone; what the kernel has is looked at with one from outside.
inside sh -c 'cat >/opt/look && chmod +x /opt/look' <"$packed"
inside /opt/look firewall list | grep -q 'nothing is blocked' || fail "the removal left blocks"
dpkg -P slips
for left in /etc/slips /var/lib/slips /usr/lib/systemd/system/slips.service; do ! inside test -e $left || fail "purge left $left"; done
! inside getent passwd slips >/dev/null || fail "purge left the user"
echo "systemd $(inside systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'): installed, updated under $(wc -l <"$dir/looks") looks at a block that stood in all, removed, purged"
