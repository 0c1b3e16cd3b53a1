# A machine with a systemd of its own: in namespaces, over the files of this machine or of another root, which stay as they are. To be sourced
# by what looks at units, with `name` set. What it is to hold before it starts is put below `$upper`; `boot_machine` starts it, `inside`
# runs things in it, and it goes when the script ends. SLIPS_ROOT names another root,
# which debian-root.sh makes.
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=/run/$name root=/run/$name/root upper=/run/$name/upper lower=${SLIPS_ROOT:-/}
patience=90

missing() { echo "$*" && exit 2; }
fail() {
    echo "$*"
    inside journalctl --no-pager -n 25 -o cat 2>/dev/null
    exit 1
}

[ "$(id -u)" = 0 ] || missing "needs root"
for tool in unshare nsenter setpriv systemctl ip; do command -v $tool >/dev/null || missing "needs $tool"; done
init=/usr/lib/systemd/systemd
[ -x "$lower$init" ] || missing "needs systemd"

# A directory of cgroup version 2 for all processes of the machine: by it they are found at the end, and no others.
make_cgroup() {
    local mount
    mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    if [ -z "$mount" ]; then
        mount=$dir/cgroup
        mkdir "$mount"
        mount -t cgroup2 none "$mount" || missing "no cgroup2 here"
    fi
    cgroup=$mount/$name
    mkdir "$cgroup" 2>/dev/null || missing "no cgroup of our own below $mount"
}

make_files() {
    local unit
    mkdir -p "$dir"
    mount -t tmpfs -o mode=755,size=1g "$name" "$dir" || missing "no tmpfs here"
    mkdir -p "$root" "$upper/etc/systemd/system" "$dir/work"
    tr -d - </proc/sys/kernel/random/uuid >"$upper/etc/machine-id"
    echo router >"$upper/etc/hostname"
    : >"$upper/etc/fstab"
    # Nothing that this machine has enabled is started.
    cat >"$upper/etc/systemd/system/lab.target" <<'UNIT'
[Unit]
Description=The lab
Requires=basic.target
After=basic.target
AllowIsolate=yes
UNIT
    ln -s lab.target "$upper/etc/systemd/system/default.target"
    for unit in systemd-timesyncd.service systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket \
        systemd-udev-trigger.service systemd-resolved.service systemd-networkd.service systemd-networkd.socket systemd-logind.service \
        getty.target systemd-sysctl.service systemd-binfmt.service systemd-modules-load.service proc-sys-fs-binfmt_misc.automount \
        dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
        sys-fs-fuse-connections.mount systemd-firstboot.service systemd-journald-audit.socket timers.target; do
        ln -s /dev/null "$upper/etc/systemd/system/$unit"
    done
    mount -t overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$dir/work" "$name" "$root" || missing "no overlay over $lower here"
}

# Becomes the first process of the machine, in namespaces of its own.
boot() {
    local part
    for part in proc sys dev run tmp; do mkdir -p "$root/$part"; done
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    # Settings of the whole kernel can only be read; those of its own network can be written.
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
    mount -o remount,bind,ro,nosuid,nodev,noexec "$root/proc/sys"
    [ ! -e "$root/proc/sysrq-trigger" ] || mount --bind /dev/null "$root/proc/sysrq-trigger"
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
    mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
    for part in null zero full random urandom tty; do
        touch "$root/dev/$part" && mount --bind "/dev/$part" "$root/dev/$part"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    mount -t tmpfs -o mode=1777,nosuid,nodev shm "$root/dev/shm"
    rm -f "$root/usr/sbin/policy-rc.d"
    if [ -n "${slips:-}" ]; then
        mkdir -p "$root/usr/bin" && touch "$root/usr/bin/slips"
        mount --bind "$slips" "$root/usr/bin/slips" && mount -o remount,bind,ro "$root/usr/bin/slips"
    fi
    hostname router
    mkdir "$root/run/before" && cd "$root" && pivot_root . run/before || exit 1
    # A service manager of a container leaves / private; credentials of units need it shared. Nothing in here can touch the clock, modules
    # or memory of this machine.
    exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -c "umount -l /run/before; mount --make-rshared /
        exec setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog $init --show-status=no"
}

first() { head -n 1 "$cgroup/init.scope/cgroup.procs" 2>/dev/null; }

inside() {
    (
        mkdir -p "$cgroup/inside" && echo "$BASHPID" >"$cgroup/inside/cgroup.procs"
        exec nsenter -t "$pid" -m -u -i -n -p -C -- env -i HOME=/root LANG=C.UTF-8 SYSTEMD_PAGER= SYSTEMD_COLORS=0 \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
    )
}

until_so() {
    local what=$1 end=$((SECONDS + patience))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "$what: not within $patience s"
        read -r -t 0.1 <>"$dir/idle" || true
    done
}

started() { pid=$(first) && [ -n "$pid" ]; }
# `degraded` is what it says when something of this machine's does not like it here.
is_up() { case $(inside systemctl is-system-running) in running | degraded) ;; *) return 1 ;; esac }

machine_down() {
    trap '' INT TERM HUP
    # Only what sits in our cgroup is ended.
    if [ -n "${cgroup:-}" ] && [ -d "$cgroup" ]; then
        echo 1 >"$cgroup/cgroup.kill" 2>/dev/null
        until grep -q 'populated 0' "$cgroup/cgroup.events"; do read -r -t 0.05 <>"$dir/idle" || true; done
        find "$cgroup" -depth -type d -exec rmdir {} +
    fi
    mountpoint -q "$root" && umount -l "$root"
    mountpoint -q "$dir/cgroup" 2>/dev/null && umount -l "$dir/cgroup"
    mountpoint -q "$dir" && umount -l "$dir"
    rmdir "$dir" 2>/dev/null
}

# Everything but the start.
make_machine() {
    make_files
    mkfifo "$dir/idle"
    make_cgroup
    trap machine_down EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# Its `booted` is the time that this took, in ms.
boot_machine() {
    local began=${EPOCHREALTIME/./}
    export -f boot
    export root init slips=${slips:-}
    (
        echo "$BASHPID" >"$cgroup/cgroup.procs"
        exec setsid unshare --mount --uts --ipc --net --cgroup --pid --fork --kill-child=KILL --propagation private bash -c boot
    ) </dev/null >"$dir/boot.log" 2>&1 &
    disown
    until_so "no systemd starts: $(tail -n 2 "$dir/boot.log" 2>/dev/null)" started
    until_so "systemd does not come up" is_up
    booted=$(((${EPOCHREALTIME/./} - began) / 1000))
}

of_unit() { inside systemctl show -P "$2" "$1"; }
status_of() { inside sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }

# confined PROCESS HAS COULD NAME: nobody may have anything that it does not need, nor get it. What a process has, the kernel says.
confined() {
    local process=$1 what
    for what in CapPrm CapEff CapAmb; do
        [ "$(status_of "$process" $what)" = "$2" ] || fail "$4 has $what $(status_of "$process" $what)"
    done
    [ "$(status_of "$process" CapBnd)" = "$3" ] || fail "$4 could have $(status_of "$process" CapBnd)"
    [ "$(status_of "$process" NoNewPrivs)" = 1 ] || fail "$4 can gain privileges"
    [ "$(status_of "$process" Seccomp)" = 2 ] || fail "$4 may make all system calls"
}
