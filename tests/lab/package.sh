#!/usr/bin/env bash
# A package on a machine with a systemd of its own: installed, updated and removed, with an attacker blocked all the while that he is to be.
# usage: package.sh SLIPS [deb|rpm|tarball]; root. The last line has the figures; the exit code is 0, 1 with a reason, or 2 when something is missing.
set -uo pipefail

kind=${2:-deb} name=slips-package-${2:-deb}-$$ packed=$(realpath "$1")
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
# Where it cannot be built there is no package; tests/run.sh says so.
case $kind in
    deb) command -v cargo-deb >/dev/null || missing "no cargo-deb here" ;;
    rpm)
        command -v cargo-generate-rpm >/dev/null || missing "no cargo-generate-rpm here"
        command -v rpm >/dev/null || missing "needs rpm"
        ;;
esac
for tool in dpkg-shlibdeps strip; do command -v $tool >/dev/null || missing "needs $tool"; done

# Nobody updates to what is the same: two revisions.
pack() {
    case $kind in
        deb) packaging/deb.sh "$dir/$1" --fast --deb-revision "$1" ;;
        rpm) packaging/rpm.sh "$dir/$1" --set-metadata "release = '$1'" ;;
        tarball) packaging/tarball.sh "$dir/$1" ;;
    esac
}
does() { inside env DEBIAN_FRONTEND=noninteractive "$@" >"$dir/does.log" 2>&1 || fail "$*: $(tail -n 5 "$dir/does.log")"; }
unpacked() { echo "/opt/$1/slips-$(sed -n 's/^version = "\(.*\)"/\1/p' "$repo/Cargo.toml" | head -n 1)-$(uname -m)"; }
# put REVISION: the first is enabled and started by hand where the family of distributions wants it so.
put() {
    case $kind in
        deb) does dpkg -i "/opt/$1.deb" ;;
        rpm)
            # The machine's own files are Debian's, which no database of rpm knows.
            does rpm -U --nodeps "/opt/$1.rpm"
            [ "$1" = 2 ] || does systemctl enable --now slips.service
            ;;
        tarball)
            does sh -c "mkdir -p /opt/$1 && tar -xzf /opt/$1.tarball -C /opt/$1"
            does "$(unpacked "$1")/install.sh"
            ;;
    esac
}
take_away() {
    case $kind in
        deb) does dpkg -r slips ;;
        rpm) does rpm -e slips ;;
        tarball) does "$(unpacked 2)/install.sh" --uninstall ;;
    esac
}
# What belongs to nobody any more; rpm knows no such thing.
purge() {
    case $kind in
        deb) does dpkg -P slips ;;
        tarball) does "$(unpacked 2)/install.sh" --uninstall --purge ;;
    esac
}

make_machine
# Without what debuggers read it is packed in a tenth of the time.
strip -o "$dir/slips" "$packed" && packed=$dir/slips
[ ! -s "$upper/etc/slips" ] || fail "a machine that has slips already"
mkdir -p "$upper/opt"
for revision in 1 2; do
    (cd "$repo" && SLIPS_BIN=$packed pack $revision) >"$dir/pack.log" 2>&1 || fail "no package is made: $(tail -n 3 "$dir/pack.log")"
    for made in "$dir/$revision"/slips*; do
        case $made in *.sha256) ;; *) mv "$made" "$upper/opt/$revision.$kind" ;; esac
    done
done
if [ $kind = deb ] && command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error,warning "$upper/opt/1.deb" >"$dir/lintian" 2>&1 || fail "lintian: $(head -n 5 "$dir/lintian")"
fi
boot_machine
inside sh -e -c 'ip link set lo up
    ip link add wan0 type veth peer name eth0
    ip address add 192.0.2.1/24 dev wan0
    ip link set wan0 up' || fail "no interface"

blocked() { inside slips firewall list | grep -q '198\.51\.100\.7'; }
is() { [ "$(of_unit "$1" ActiveState)" = "$2" ]; }

put 1
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
    inside sh -c "ls /usr/share/man/$page* || ls /usr/local/share/man/$page*" >"$dir/pages" 2>&1 || inside grep -rqs man /etc/dpkg/dpkg.cfg.d || fail "no page $page"
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
put 2
until_so "slips.service does not run after the update" is slips.service active
touch "$dir/updated"
wait $looking
[ "$(of_unit slips.service MainPID)" != "$daemon" ] || fail "the old program runs on after the update"
[ ! -s "$dir/gaps" ] || fail "the update lifted a block: $(sort "$dir/gaps" | uniq -c | tail -n 3)"
blocked || fail "the update lifted a block for good"
inside grep -q '# mine' /etc/slips/slips.yaml || fail "the update took the administrator's configuration"

take_away
is slips.service inactive || is slips.service failed || fail "slips.service is $(of_unit slips.service ActiveState) after the removal"
inside test -e /var/lib/slips/blocks.sqlite || fail "the removal took the state"
# rpm gives what was changed another name.
inside sh -c 'grep -q "# mine" /etc/slips/slips.yaml*' || fail "the removal took the configuration"
# The program is gone; what the kernel has is looked at with one from outside.
inside sh -c 'cat >/opt/look && chmod +x /opt/look' <"$packed"
inside /opt/look firewall list | grep -q 'nothing is blocked' || fail "the removal left blocks"
purged=
if [ $kind != rpm ]; then
    purge && purged=', purged'
    for left in /etc/slips /var/lib/slips /usr/lib/systemd/system/slips.service /usr/local/lib/systemd/system/slips.service /usr/local/bin/slips; do
        ! inside test -e $left || fail "purge left $left"
    done
    ! inside getent passwd slips >/dev/null || fail "purge left the user"
fi
echo "systemd $(inside systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'), $kind: installed, updated under $(wc -l <"$dir/looks") looks at a block that stood in all, removed$purged"
