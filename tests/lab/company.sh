#!/usr/bin/env bash
# Other firewalls as Debian has them, inside the router's namespace: company.sh ufw|firewalld|fail2ban up|reload|down DIRECTORY.
# Their settings are copies in DIRECTORY; nothing of the machine's own is written.
set -eu
name=$1 step=$2 dir=$3/$1
mkdir -p "$dir"

quietly() { "$@" >>"$dir/log" 2>&1; }

# until_done SECONDS COMMAND…
until_done() {
    local tries=$(($1 * 10))
    shift
    until quietly "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        read -r -t 0.1 <>"$dir/idle" || true
    done
}
[ -p "$dir/idle" ] || mkfifo "$dir/idle"

ufw_() {
    [ -e "$dir/etc" ] || cp -a /etc/ufw "$dir/etc"
    [ -e "$dir/default" ] || cp /etc/default/ufw "$dir/default"
    # `ip netns exec` gave this process mounts of its own.
    mount --bind "$dir/etc" /etc/ufw
    mount --bind "$dir/default" /etc/default/ufw
    case $step in
        up) quietly ufw default allow routed && quietly ufw allow 22/tcp && quietly ufw --force enable ;;
        reload) quietly ufw reload ;;
        down) quietly ufw --force disable ;;
    esac
}

firewalld_() {
    export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$dir/bus
    case $step in
        up)
            cp -a /etc/firewalld "$dir/etc"
            cat >"$dir/bus.conf" <<XML
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=$dir/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
XML
            dbus-daemon --config-file="$dir/bus.conf" --nofork --nopidfile >>"$dir/log" 2>&1 </dev/null &
            echo $! >"$dir/bus.pid"
            until_done 10 test -S "$dir/bus"
            firewalld --nofork --nopid --system-config "$dir/etc" --log-file "$dir/daemon.log" >>"$dir/log" 2>&1 </dev/null &
            echo $! >"$dir/pid"
            until_done 30 firewall-cmd --state
            quietly firewall-cmd --set-default-zone=trusted
            ;;
        reload) quietly firewall-cmd --reload ;;
        down) kill "$(cat "$dir/pid")" "$(cat "$dir/bus.pid")" ;;
    esac
}

fail2ban_() {
    local files=(-s "$dir/socket" -p "$dir/pid" -c "$dir/etc")
    case $step in
        up)
            cp -a /etc/fail2ban "$dir/etc"
            rm -f "$dir/etc/jail.d/"*
            : >"$dir/watched"
            cat >"$dir/etc/jail.local" <<TEXT
[DEFAULT]
bantime = 1h
backend = polling
banaction = nftables[type=allports]
[lab]
enabled = true
filter = sshd
logpath = $dir/watched
TEXT
            printf '[Definition]\ndbfile = None\nlogtarget = %s\n' "$dir/daemon.log" >"$dir/etc/fail2ban.local"
            fail2ban-server -f "${files[@]}" >>"$dir/log" 2>&1 </dev/null &
            until_done 30 fail2ban-client "${files[@]}" status lab
            quietly fail2ban-client "${files[@]}" set lab banip 198.51.100.250
            ;;
        reload) quietly fail2ban-client "${files[@]}" reload ;;
        down) quietly fail2ban-client "${files[@]}" stop ;;
    esac
}

"${name}_"
