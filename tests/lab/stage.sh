# The lab's stage: three namespaces, servers in them, the daemon on the router. Sourced by run.sh, which sets dir and slips.
# shellcheck shell=bash disable=SC2154
#
#   attacker ── 203.0.113.0/30 ── wan0 router lan0 ── 192.168.77.0/24 ── client
#
# The attacker's namespace is all of the outside: the router's gateway, attackers, a web server. Nothing here touches the
# machine's own network.

tag=slips-lab-$$
A=$tag-attacker R=$tag-router C=$tag-client I=$tag-infected H=$tag-intruder G=$tag-glutton
gateway=203.0.113.1 web=203.0.113.80 client=192.168.77.10 client6=fd77::10 inside=192.168.77.66
started=() # processes of ours, by id

stage_up() {
    local ns
    for ns in "$A" "$R" "$C" "$I"; do ip netns add "$ns" || return 1; done
    ip -n "$R" link add wan0 type veth peer name out0 netns "$A"
    ip -n "$R" link add lan0 type veth peer name eth0 netns "$C"
    ip -n "$R" address add 203.0.113.2/30 dev wan0
    ip -n "$R" address add 192.168.77.1/24 dev lan0
    ip -n "$A" address add $gateway/30 dev out0
    ip -n "$A" address add $web/32 dev lo
    ip -n "$A" address add 2001:db8:1::1/64 dev out0 nodad
    ip -n "$R" address add 2001:db8:1::2/64 dev wan0 nodad
    ip -n "$R" address add fd77::1/64 dev lan0 nodad
    ip -n "$C" address add $client6/64 dev eth0 nodad
    ip -n "$C" address add $client/24 dev eth0
    # A second port of the inside, with a host of its own: its hardware address is nobody else's.
    ip -n "$R" link add lan1 type veth peer name eth0 netns "$I"
    ip -n "$R" address add 192.168.77.1/32 dev lan1
    ip -n "$I" address add $inside/32 dev eth0
    for ns in "$A:out0" "$R:wan0" "$R:lan0" "$C:eth0" "$R:lan1" "$I:eth0" "$A:lo" "$R:lo" "$C:lo" "$I:lo"; do
        ip -n "${ns%:*}" link set "${ns#*:}" up || return 1
    done
    ip -n "$R" route add default via $gateway
    ip -n "$C" route add default via 192.168.77.1 src $client
    ip -n "$R" route add $inside/32 dev lan1
    ip -n "$I" route add 192.168.77.1/32 dev eth0
    ip -n "$I" route add default via 192.168.77.1 dev eth0 src $inside
    ip -n "$A" route add 192.168.77.0/24 via 203.0.113.2 src $web
    ip -n "$R" route add default via 2001:db8:1::1
    ip -n "$C" route add default via fd77::1
    ip -n "$A" route add fd77::/64 via 2001:db8:1::2
    in_ns "$R" sh -c 'cd /proc/sys/net && echo 1 >ipv4/ip_forward && echo 1 >ipv6/conf/all/forwarding' || return 1
    # The client counts what reaches it, by sender, before anything else can decide about it.
    in_ns "$C" nft -f - <<'NFT'
table inet lab {
    set seen { type ipv4_addr; flags dynamic; counter; size 65535; }
    set seen6 { type ipv6_addr; flags dynamic; counter; size 65535; }
    chain seen {
        type filter hook prerouting priority -400
        iifname "eth0" add @seen { ip saddr }
        iifname "eth0" add @seen6 { ip6 saddr }
    }
}
NFT
}

stage_down() {
    local pid ns
    for pid in "${started[@]}"; do kill -TERM "$pid" 2>/dev/null; done
    for ns in "$A" "$R" "$C" "$I" "$H" "$G"; do
        # Whatever still runs in our namespaces was started by us: an nmap, a curl, a daemon.
        for pid in $(ip netns pids "$ns" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null; done
        ip netns delete "$ns" 2>/dev/null
    done
    return 0
}

in_ns() { ip netns exec "$@"; }

# start NAME NAMESPACE COMMAND…: in the background, output to $dir/NAME.log, its id in $pid.
start() {
    local name=$1
    shift
    ip netns exec "$@" >"$dir/$name.log" 2>&1 </dev/null &
    pid=$!
    started+=("$pid")
}

# attack_from ADDRESS: what starts in the attacker's namespace from now on has this address.
attack_from() {
    ip -n "$A" address add "$1" dev lo nodad 2>/dev/null
    case $1 in
        *:*) ip -n "$A" route replace fd77::/64 via 2001:db8:1::2 src "$1" ;;
        *) ip -n "$A" route replace 192.168.77.0/24 via 203.0.113.2 src "$1" ;;
    esac
}
router_of() { case $1 in *:*) echo 2001:db8:1::2 ;; *) echo 203.0.113.2 ;; esac; }
victim_of() { case $1 in *:*) echo $client6 ;; *) echo $client ;; esac; }

# within SECONDS COMMAND…: asks again and again until it is so. Where the time is no promise of the program it only bounds how long a
# broken run hangs, on a machine that does other things, too.
within() {
    local until=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@"; do
        [ "${EPOCHREALTIME/./}" -lt $until ] || return 1
        read -r -t 0.05 <>"$dir/idle" || true
    done
}

servers_up() {
    start web "$A" python3 "$lab/pages.py" $web 80
    mkdir -p "$dir/ssh" /run/sshd
    ssh-keygen -q -t ed25519 -N '' -f "$dir/ssh/host_key"
    cat >"$dir/ssh/config" <<TEXT
Port 22
ListenAddress $client
ListenAddress $client6
HostKey $dir/ssh/host_key
PidFile none
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
PermitRootLogin no
AllowUsers nobody-can-log-in
MaxStartups 200
TEXT
    # From OpenSSH 9.8 on sshd itself refuses who guesses; the router has to do it here.
    printf 'PerSourcePenalties no\n' | cat "$dir/ssh/config" - >"$dir/ssh/newer"
    "$sshd" -t -f "$dir/ssh/newer" 2>/dev/null && mv "$dir/ssh/newer" "$dir/ssh/config"
    start sshd "$C" "$sshd" -D -e -f "$dir/ssh/config"
    within 60 answers $web $client 22 && within 60 page
}

page() { in_ns "$C" curl -s -f -o "$dir/page" --max-time 5 http://$web/; }

# answers FROM HOST PORT: a connection from there gets an answer.
answers() { [ "$(in_ns "$A" python3 "$lab/knock.py" "$1" "$2" "$3" 1 0.5)" = 1 ]; }

# silent FROM [HOST]: three connections to the client, or to another host, get no answer.
silent() { [ "$(in_ns "$A" python3 "$lab/knock.py" "$1" "${2:-$(victim_of "$1")}" 22 3 0.4)" = 0 ]; }
let_in() { ! silent "$1"; }

# surely_silent FROM: nor with patience, as on a machine that is busy.
surely_silent() { silent "$1" && [ "$(in_ns "$A" python3 "$lab/knock.py" "$1" "$(victim_of "$1")" 22 3 3)" = 0 ]; }

# reached FROM: packets of this sender that have come to the client.
reached() {
    local set=seen
    case $1 in *:*) set=seen6 ;; esac
    in_ns "$C" nft get element inet lab $set "{ $1 }" 2>/dev/null | sed -n 's/.*counter packets \([0-9]*\).*/\1/p' |
        grep . || echo 0
}

# Downloads of the client go on from here to downloads_end, which fails if one failed or there were hardly any.
downloads_begin() {
    : >"$dir/pages"
    : >"$dir/failures"
    start downloads "$C" bash "$lab/downloads.sh" http://$web/ $client "$dir"
    downloads=$pid
    within 30 has_pages 3 || complain "the client gets no pages: $(tail -n 1 "$dir/failures")"
}
has_pages() { [ "$(wc -l <"$dir/pages")" -ge "$1" ]; }
downloads_end() {
    local before
    before=$(wc -l <"$dir/pages")
    within 30 has_pages $((before + 5)) || complain "downloads do not go on: $(tail -n 1 "$dir/failures")" || return 1
    kill "$downloads" 2>/dev/null
    [ ! -s "$dir/failures" ] || complain "$(wc -l <"$dir/failures") downloads failed: $(head -n 1 "$dir/failures")"
}

# daemon_up [KEY=VALUE…] [again] [OPTION…]: the daemon with short windows and blocks, and the alert bar of the defaults (15 a
# window); again with the files of the last one.
daemon_up() {
    local never=() term=60s width=10 options=() word same=''
    for word in "$@"; do
        case $word in
            width=*) width=${word#*=} ;;
            never_block=*) never+=("${word#*=}") ;;
            term=*) term=${word#*=} ;;
            again) same=$out ;;
            *) options+=("$word") ;;
        esac
    done
    runs=$((${runs:-0} + 1))
    out=${same:-$dir/out-$runs}
    mkdir -p "$out/lists"
    cat >"$out/slips.yaml" <<TEXT
parameters:
  time_window_width: ${width}s
detection:
  evidence_detection_threshold: $(awk -v width="$width" 'BEGIN { print 15 * 60 / width }')
threatintelligence:
  local_threat_intelligence_files: $out/lists
firewall:
  unproven_term: $term
  shortest_term: $term
  never_block: [${never[*]}]
output:
  directory: $out/files
TEXT
    # Whoever sources this may add lists and more.
    if declare -F daemon_config >/dev/null; then daemon_config; fi
    rm -f "$out/notify"
    alerts=$out/files/alerts.json
    python3 "$lab/ready.py" "$out/notify" 60 &
    local ready=$!
    within 30 test -S "$out/notify" || return 1
    NOTIFY_SOCKET=$out/notify start "daemon-$runs" "$R" \
        env -u SSH_CONNECTION -u SSH_CLIENT "$slips" run -c "$out/slips.yaml" -i wan0 -i lan0 -i lan1 --control "$out/control.sock" "${options[@]}"
    daemon=$pid
    if ! wait $ready; then
        complain "the daemon did not become ready: $(tail -n 3 "$dir/daemon-$runs.log")"
    fi
}

end_attack() {
    kill -KILL "$attack" 2>/dev/null
    wait "$attack" 2>/dev/null
    return 0
}

running() { kill -0 "$1" 2>/dev/null; }
gone() { ! running "$1"; }

# daemon_down: SIGTERM; fails if the end takes more than two seconds or is no success. The time is in $took, in ms.
daemon_down() {
    local began=${EPOCHREALTIME/./} status=0
    kill -TERM "$daemon" 2>/dev/null
    within 2 gone "$daemon" || complain "the daemon still runs two seconds after SIGTERM" || return 1
    # shellcheck disable=SC2034 # shown by the test
    took=$(((${EPOCHREALTIME/./} - began) / 1000))
    wait "$daemon" || status=$?
    [ $status = 0 ] || complain "the daemon ended with $status: $(tail -n 3 "$dir/daemon-$runs.log")"
}

# After each test: no daemon, no attack, no block.
clear_stage() {
    local pid
    for pid in "${daemon:-}" "${attack:-}" "${downloads:-}" "${dump:-}"; do
        [ -z "$pid" ] || ! running "$pid" || kill -KILL "$pid" 2>/dev/null
        [ -z "$pid" ] || wait "$pid" 2>/dev/null
    done
    daemon='' attack='' downloads='' dump=''
    in_ns "$R" nft flush ruleset
}

alerted() { [ "$(python3 "$lab/told.py" "$alerts" alerts "$1")" -gt 0 ]; }
kinds() { python3 "$lab/told.py" "$alerts" kinds "$1"; }

# Fails if ADDRESS is not cut off within a few seconds: no connection gets an answer, no packet of it reaches the client.
cut_off() {
    local before
    within 30 alerted "$1" || complain "no alert about $1; evidence: $(kinds "$1")" || return 1
    within 20 silent "$1" || complain "$1 is alerted and still gets answers: $(tail -n 3 "$dir/daemon-$runs.log")" || return 1
    before=$(reached "$1")
    silent "$1" || complain "$1 is blocked only now and then" || return 1
    [ "$(reached "$1")" = "$before" ] || complain "packets of $1 still reach the client" || return 1
    silent "$1" "$(router_of "$1")" || complain "the router itself still answers $1"
}

# Records what comes from ADDRESS to the client, for the time between the deciding packet and the last one that passed.
dump_begin() {
    : >"$dir/dump.log"
    in_ns "$C" tcpdump -i eth0 -n -tt -l --immediate-mode "src host $1" >"$dir/dump" 2>"$dir/dump.log" </dev/null &
    dump=$!
    started+=("$dump")
    within 30 grep -q listening "$dir/dump.log"
}
dump_end() {
    local last decided
    kill "$dump" 2>/dev/null
    wait "$dump" 2>/dev/null
    dump=''
    last=$(tail -n 1 "$dir/dump" | cut -d ' ' -f 1)
    decided=$(python3 "$lab/told.py" "$alerts" decided "$1")
    awk -v last="$last" -v decided="$decided" -v all="$(wc -l <"$dir/dump")" -v line="$(tail -n 1 "$dir/dump")" \
        'BEGIN {
            printf "%d packets passed, the last %.1f ms after the deciding one", all, (last - decided) * 1000
            if (last - decided > 0.2) printf ", late: %s", line
        }'
}
