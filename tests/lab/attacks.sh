# The tools of attackers as Debian has them, beside the life of a household. Sourced by run.sh.
# shellcheck shell=bash disable=SC2154,SC2034
#
#   attackers 192.0.2.x, sites, resolver, peers ── wan0 router lan0 ── client .10 (household) and .11-.13 (servers), intruder .20, lodger .21
#                                                          lan1 ── infected .66

intruder=192.168.77.20 lodger=192.168.77.21 resolver=203.0.113.53 far_end=203.0.113.54 other_end=203.0.113.55

attack_tests=(
    a_household_for_a_week_raises_no_alert
    scanners_in_five_timings_are_blocked_beside_a_household
    guessers_are_blocked_beside_a_household
    floods_are_blocked_beside_a_household
    tunnels_beacons_and_liars_inside_are_blocked_beside_a_household
    a_second_server_of_addresses_and_a_glutton_are_named
    nobody_is_blocked_in_whose_name_others_scan_and_flood
)

# The household and all it talks to; from here to household_down.
household_up() {
    local n lives=$((${SLIPS_SLOW:-0} ? 5400 : 600))
    need dnsmasq openssl || return
    for n in 51 53 54 55 81 82 83 84 85 86 87 123 200; do ip -n "$A" address add 203.0.113.$n/32 dev lo 2>/dev/null; done
    ip -n "$A" route replace local 198.51.100.0/24 dev lo
    ip -n "$A" route replace local 192.0.2.0/24 dev lo
    for n in 11 12 13; do ip -n "$C" address add 192.168.77.$n/24 dev eth0 2>/dev/null; done
    mkdir -p "$dir/house"
    rm -f "$dir"/house/*-ready
    : >"$dir/house/household-failures"
    : >"$dir/house/household-done"
    [ -e "$dir/house/site.crt" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 \
        -subj /CN=site0.example.net -addext "subjectAltName=$(seq -s, -f 'DNS:site%g.example.net' 0 5)" \
        -keyout "$dir/house/site.key" -out "$dir/house/site.crt" 2>"$dir/house/openssl.log" || complain "openssl: $(tail -n 1 "$dir/house/openssl.log")" || return 1
    local records=()
    for n in 0 1 2 3 4 5; do records+=(--host-record="site$n.example.net,203.0.113.$((81 + n))"); done
    start resolver "$A" dnsmasq -k -C /dev/null --no-hosts --no-resolv --user=root --pid-file= --bind-interfaces \
        --listen-address=$resolver "${records[@]}"
    household=("$pid")
    start sites "$A" python3 "$lab/household.py" servers "$dir/house"
    household+=("$pid")
    within 60 test -e "$dir/house/servers-ready" || complain "the sites: $(tail -n 1 "$dir/sites.log")" || return 1
    start hosts "$C" python3 "$lab/household.py" hosts "$dir/house" $client "$lives"
    household+=("$pid")
    within 60 test -e "$dir/house/hosts-ready" || complain "the hosts: $(tail -n 1 "$dir/hosts.log")" || return 1
    start guests "$A" python3 "$lab/household.py" guests "$dir/house" $client "$lives"
    household+=("$pid")
    within 60 done_things 20 || complain "the household does nothing: $(tail -n 1 "$dir/house/household-failures")"
}

# A host at the other port of the inside copies files from and to a share of the household's server, again and again.
copies_up() {
    local share="$dir/house/share" smb="$dir/house/samba"
    need smbd smbclient || return
    ip -n "$C" route replace $inside/32 via 192.168.77.1
    mkdir -p "$share" "$smb"
    chmod 0777 "$share"
    head -c 150000 /dev/urandom >"$share/photos"
    printf '[global]\ninterfaces = 192.168.77.13/24\nbind interfaces only = yes\nsmb ports = 445\nmap to guest = bad user\nserver role = standalone\nlog level = 0\ndisable netbios = yes\nload printers = no\nncalrpc dir = %s/rpc\n' "$smb" >"$smb/smb.conf"
    printf '%s directory = %s\n' private "$smb" lock "$smb" state "$smb" cache "$smb" pid "$smb" >>"$smb/smb.conf"
    printf '[share]\npath = %s\nguest ok = yes\nread only = no\nforce user = root\n' "$share" >>"$smb/smb.conf"
    start smbd "$C" smbd --foreground --no-process-group --debug-stdout -s "$smb/smb.conf"
    household+=("$pid")
    within 60 copy || complain "no copies: $(tail -n 2 "$dir/smbd.log") $(copy_said)" || return 1
    start copies "$I" sh -c "while :; do
        if smbclient -s $smb/smb.conf //192.168.77.13/share -N -c 'ls; get photos $dir/house/copied; put $dir/house/copied copied; rm copied'; then
            echo copies >>$dir/house/household-done
        else
            echo copies >>$dir/house/household-failures
        fi
        sleep 2
    done"
    household+=("$pid")
}
copy_said() { in_ns "$I" smbclient -s "$dir/house/samba/smb.conf" //192.168.77.13/share -N -c ls 2>&1; }
copy() { in_ns "$I" smbclient -s "$dir/house/samba/smb.conf" //192.168.77.13/share -N -c ls >/dev/null 2>&1; }
done_things() { [ "$(wc -l <"$dir/house/household-done")" -ge "$1" ]; }

# household_down: fails if anything failed or stood still.
household_down() {
    local before
    before=$(wc -l <"$dir/house/household-done")
    within 60 done_things $((before + 20)) || complain "the household stands still: $(tail -n 1 "$dir/house/household-failures")"
    for pid in "${household[@]}"; do
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    [ -z "$why" ] || return 1
    [ ! -s "$dir/house/household-failures" ] ||
        complain "$(wc -l <"$dir/house/household-failures") things failed in the household: $(head -n 1 "$dir/house/household-failures")"
}

# Nobody whom the household is or talks to may be accused.
household_unsuspected() {
    local who
    for who in $client $resolver $web 203.0.113.{81,82,83,84,85,86,87,123,51}; do
        ! alerted "$who" || complain "$who is alerted, who belongs to the household: $(kinds "$who")" || return 1
    done
}

# beside_a_household FUNCTION [daemon_up's words…]: what FUNCTION does, with the daemon and the household around it.
beside_a_household() {
    local act=$1 status=0
    shift
    household_up || status=$?
    [ $status = 0 ] && { daemon_up width=300 term=300s "$@" || status=1; }
    [ $status = 0 ] && { "$act" || status=$?; }
    for pid in "${attacks[@]}"; do
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    attacks=()
    household_down || [ $status != 0 ] || status=1
    # Who is accused in forged packets may be told of, but not blocked.
    [ $status != 0 ] || [ "$act" = forgers ] || household_unsuspected || status=1
    return $status
}

# assail NAME ADDRESS NAMESPACE COMMAND…: in the background; when it began is in begun[NAME].
declare -A begun=() of=() of_pid=()
attacks=()
assail() {
    local name=$1
    of[$name]=$2
    shift 2
    begun[$name]=$EPOCHREALTIME
    start "$name" "$@"
    of_pid[$name]=$pid
    attacks+=("$pid")
}

# named NAME EVIDENCE SECONDS: within so long its address has this evidence; adds to the note when it was alerted on.
named() {
    local address=${of[$1]}
    within "$3" alerted "$address" || complain "$1: no alert about $address; evidence: $(kinds "$address"); $(tail -n 1 "$dir/$1.log")" || return 1
    told_of "$address" "$2" || complain "$1: no $2 but $(kinds "$address")" || return 1
    note+="${note:+, }$1 $(awk -v a="${begun[$1]}" -v b="$(python3 "$lab/told.py" "$alerts" told "$address")" 'BEGIN { printf "%.1f s", b - a }')"
}

told_of() { case " $(kinds "$1") " in *" $2 "*) ;; *) return 1 ;; esac; }

# outsider_named NAME EVIDENCE SECONDS: and it gets no answer from then on.
outsider_named() {
    named "$@" || return 1
    within 20 silent "${of[$1]}" || complain "$1: ${of[$1]} is alerted and still gets answers"
}

a_household_for_a_week_raises_no_alert() {
    local record said
    household_up && copies_up || return
    in_ns "$R" tcpdump -i lan0 -s 0 -w "$dir/house/day.pcap" >"$dir/house/tcpdump.log" 2>&1 </dev/null &
    record=$!
    started+=("$record")
    within 180 done_things 150 || complain "the household does too little"
    kill "$record" 2>/dev/null
    wait "$record" 2>/dev/null
    household_down || return 1
    # A bit of the life, every ten minutes for seven days.
    python3 "$lab/week.py" "$dir/house/day.pcap" 1008 600 2>"$dir/house/week.log" |
        "$slips" analyze - --format pcap --json >"$dir/house/week.json" 2>>"$dir/house/week.log" ||
        complain "analyze: $(tail -n 1 "$dir/house/week.log")" || return 1
    said=$(jq -r '[.alerts[].ip] | unique | join(" ")' "$dir/house/week.json")
    note=$(jq -r '"\(.flows) flows; \(.evidence | to_entries | map("\(.key) \(.value)") | join(", "))"' "$dir/house/week.json")
    [ -z "$said" ] || complain "alerts about $said; $note"
}

scanners_in_five_timings_are_blocked_beside_a_household() {
    # Fifteen seconds between ports make a hundred in 25 minutes, in a window of an hour or in the next one: the default then.
    need nmap && beside_a_household scanners ${SLIPS_SLOW:+width=3600}
}
scanners() {
    local t slow=(--scan-delay 400ms --max-scan-delay 400ms)
    [ -z "${SLIPS_SLOW:-}" ] || slow=()
    for t in 5 4 3 2; do
        assail "nmap-T$t" 192.0.2.$t "$A" nmap -n -Pn -T$t -sS -p1-1000 -e out0 -S 192.0.2.$t $client
    done
    # -T1 tries a port every 15 s: a hundred take 25 minutes. Here with 0.4 s between them; SLIPS_SLOW=1 takes the 25 to 50 minutes.
    assail nmap-T1 192.0.2.1 "$A" nmap -n -Pn -T1 "${slow[@]}" -sS -p1-1000 -e out0 -S 192.0.2.1 $client
    for t in 5 4 3; do outsider_named nmap-T$t VERTICAL_PORT_SCAN 60 || return 1; done
    outsider_named nmap-T2 VERTICAL_PORT_SCAN 90 && outsider_named nmap-T1 VERTICAL_PORT_SCAN $((${SLIPS_SLOW:-0} ? 3300 : 120))
}

guessers_are_blocked_beside_a_household() {
    need hydra && beside_a_household guessers
}
guessers() {
    local n status
    seq -f 'secret%g' 2000 >"$dir/passwords"
    start logins-ftp "$C" python3 "$lab/logins.py" 192.168.77.11
    attacks+=("$pid")
    start logins-http "$C" python3 "$lab/logins.py" 192.168.77.12
    attacks+=("$pid")
    within 60 answers $web 192.168.77.11 21 && within 60 answers $web 192.168.77.12 8081 || complain "no servers to guess at" || return 1
    # Who calls which server has an address of its own.
    for n in 0 1 2; do ip -n "$A" route replace 192.168.77.1$n/32 via 203.0.113.2 src 192.0.2.3$n; done
    assail hydra-ssh 192.0.2.30 "$A" hydra -I -o /dev/null -l nobody-can-log-in -P "$dir/passwords" ssh://$client
    assail hydra-ftp 192.0.2.31 "$A" hydra -I -o /dev/null -l admin -P "$dir/passwords" ftp://192.168.77.11
    assail hydra-http 192.0.2.32 "$A" hydra -I -o /dev/null -l admin -P "$dir/passwords" -s 8081 http-get://192.168.77.12/
    outsider_named hydra-ftp PASSWORD_GUESSING 60 && outsider_named hydra-http PASSWORD_GUESSING 60 &&
        outsider_named hydra-ssh PASSWORD_GUESSING 120
    status=$?
    for n in 0 1 2; do ip -n "$A" route delete 192.168.77.1$n/32 2>/dev/null; done
    return $status
}

floods_are_blocked_beside_a_household() {
    need hping3 && beside_a_household floods
}
floods() {
    assail syn-flood 192.0.2.40 "$A" hping3 -q -a 192.0.2.40 -S -p 8080 -i u200 $client
    outsider_named syn-flood SYN_FLOOD 30 || return 1
    end_of syn-flood
    assail udp-flood 192.0.2.41 "$A" hping3 -q -a 192.0.2.41 --udp -p 9999 -i u40 192.168.77.11
    outsider_named udp-flood UDP_FLOOD 60 || return 1
    end_of udp-flood
    assail icmp-flood 192.0.2.42 "$A" hping3 -q -a 192.0.2.42 --icmp -C 13 -i u100 192.168.77.11
    outsider_named icmp-flood ICMP_FLOOD 60 || return 1
    end_of icmp-flood
}
# end_of NAME: of the attack that was begun last.
end_of() {
    local last=${attacks[-1]}
    kill -KILL "$last" 2>/dev/null
    wait "$last" 2>/dev/null
    unset 'attacks[-1]'
}

tunnels_beacons_and_liars_inside_are_blocked_beside_a_household() {
    need iodine iodined dns2tcpc dns2tcpd arpspoof dhcpstarv && [ -c /dev/net/tun ] || { why=${why:-needs /dev/net/tun}; return 2; }
    intruder_up && lodger_up || return 1
    ip -n "$G" address add $lodger/24 dev mac1 && ip -n "$G" route add default via 192.168.77.1 || return 1
    local status=0
    beside_a_household inside_attacks || status=$?
    ip netns delete "$H"
    ip netns delete "$G"
    return $status
}

# Another host of the client's segment, with a hardware address of its own.
intruder_up() {
    ip netns add "$H" && ip -n "$C" link add link eth0 name mac0 type macvlan mode bridge && ip -n "$C" link set mac0 netns "$H" || return 1
    ip -n "$H" address add $intruder/24 dev mac0
    ip -n "$H" link set mac0 up && ip -n "$H" link set lo up
    ip -n "$H" route add default via 192.168.77.1
}

# And a third one, without an IP address.
lodger_up() {
    ip netns add "$G" && ip -n "$C" link add link eth0 name mac1 type macvlan mode bridge && ip -n "$C" link set mac1 netns "$G" &&
        ip -n "$G" link set mac1 up && ip -n "$G" link set lo up
}

# page_from NAMESPACE: whether a host inside gets to the outside.
page_from() { in_ns "$1" curl -s -f -o /dev/null --connect-timeout 2 --max-time 2 http://$web/; }

# insider_named NAME EVIDENCE SECONDS NAMESPACE: and it does not get out any more.
insider_named() {
    named "$1" "$2" "$3" && within 30 no_page_from "$4" || complain "$1: ${of[$1]} is alerted and still gets pages"
}
no_page_from() { ! page_from "$1"; }

inside_attacks() {
    # Nobody is blocked inside before a whole connection shows that the address is the host's own.
    within 30 page_from "$I" && within 30 page_from "$H" && within 30 page_from "$G" || complain "the hosts get no page before they attack" || return 1
    # What leaves in the clear is told, whatever else its sender does.
    in_ns "$G" curl -s -o /dev/null --max-time 10 -d 'lat=50.0755&lon=14.4378' http://$web/ || complain "the leak gets no answer" || return 1
    # The rules are compiled when there is something to look at: seconds, in an unoptimised build on a busy machine.
    within 60 told_of $lodger NETWORK_GPS_LOCATION_LEAKED || complain "leak: only $(kinds $lodger)" || return 1
    note+="${note:+, }leak told"
    # The victim of the lie shows itself to the router, which has to ask for it, and the router talks with it.
    ip -n "$R" neighbour flush dev lan0
    in_ns "$C" curl -s -o /dev/null --interface 192.168.77.11 http://$web/ || complain "the victim gets no page" || return 1
    start victim-asked "$R" ping -q -i 0.5 192.168.77.11
    attacks+=("$pid")
    # A program that calls home every second or two. What only comes back like a clock is told, and nobody is cut off for it.
    start home "$A" python3 "$lab/pages.py" 203.0.113.200 4444
    attacks+=("$pid")
    assail beacon $inside "$I" sh -c 'while :; do curl -s -o page http://203.0.113.200:4444/; sleep 1.$(shuf -i 10-90 -n 1); done'
    assail arpspoof $intruder "$H" arpspoof -i mac0 -t 192.168.77.1 192.168.77.11
    within 60 told_of $inside COMMAND_AND_CONTROL_CHANNEL || complain "beacon: only $(kinds $inside)" || return 1
    note+="${note:+, }beacon told"
    start iodined "$A" iodined -f -c -P secret -l $far_end 10.53.53.1/24 t.tunnel-lab.com
    attacks+=("$pid")
    assail iodine $inside "$I" iodine -f -r -P secret -d dnstun $far_end t.tunnel-lab.com
    within 60 in_ns "$I" ping -q -c 1 -W 1 10.53.53.1 >/dev/null || complain "no tunnel: $(tail -n 1 "$dir/iodine.log")" || return 1
    start through-the-tunnel "$I" ping -q -i 0.02 -s 400 10.53.53.1
    attacks+=("$pid")
    # The other tunnel asks for texts; pages come through it.
    printf 'listen = %s\nport = 53\nuser = root\nchroot = %s\ndomain = d2t.other-lab.com\nkey = secret\nresources = web:%s:80\n' \
        $other_end "$dir/house" 203.0.113.82 >"$dir/dns2tcpd.conf"
    start dns2tcpd "$A" dns2tcpd -F -f "$dir/dns2tcpd.conf"
    attacks+=("$pid")
    assail dns2tcp $lodger "$G" dns2tcpc -z d2t.other-lab.com -k secret -r web -l 8888 -T TXT $other_end
    within 60 in_ns "$G" curl -s -f -o /dev/null --max-time 5 http://127.0.0.1:8888/500 || complain "no page through dns2tcp: $(tail -n 1 "$dir/dns2tcp.log")" || return 1
    # Small pages: one that waits for an answer that was lost is given up soon.
    start pages-through-names "$G" sh -c 'while :; do curl -s -o /dev/null --max-time 3 http://127.0.0.1:8888/2000; done'
    attacks+=("$pid")
    insider_named iodine DNS_TUNNEL 60 "$I" || return 1
    insider_named dns2tcp DNS_TUNNEL 90 "$G" || return 1
    insider_named arpspoof MITM_ARP_ATTACK 100 "$H"
}

a_second_server_of_addresses_and_a_glutton_are_named() {
    need dnsmasq dhcpstarv || return
    local status=0
    intruder_up && lodger_up || return 1
    daemon_up width=300 && servers_of_addresses || status=$?
    for pid in "${attacks[@]}"; do
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    attacks=()
    ip netns delete "$H"
    ip netns delete "$G"
    return $status
}
# Who offers an address or asks for one may be forged: it is told, and nobody of ours is cut off for it.
servers_of_addresses() {
    local lease="$dir/leases"
    start dhcp "$R" dnsmasq -k -C /dev/null -p 0 --user=root --pid-file= -i lan0 --bind-interfaces \
        --dhcp-range=192.168.77.100,192.168.77.240,1h --dhcp-leasefile="$lease-1" --dhcp-authoritative --no-ping
    attacks+=("$pid")
    assail rogue $intruder "$H" dnsmasq -k -C /dev/null -p 0 --user=root --pid-file= -i mac0 --bind-interfaces \
        --dhcp-range=192.168.77.30,192.168.77.90,1h --dhcp-leasefile="$lease-2" --dhcp-option=3,$intruder --no-ping
    start guests-of-rogue "$G" dhcpstarv -v -i mac1
    attacks+=("$pid")
    within 60 told_of $intruder ROGUE_DHCP_SERVER || complain "rogue: $(kinds $intruder); $(tail -n 1 "$dir/rogue.log")" || return 1
    # Answers to hardware addresses that are made up come to the port itself, not to what stands beside it.
    assail glutton '' "$C" dhcpstarv -v -i eth0
    note="rogue server told"
    within 60 grep -q DHCP_STARVATION "$alerts" || complain "glutton: $(tail -n 1 "$dir/glutton.log")" || return 1
    note+=", glutton told"
}

nobody_is_blocked_in_whose_name_others_scan_and_flood() {
    need nmap hping3 && beside_a_household forgers
}
forgers() {
    local name who before
    # Whom the household talks with since the daemon looks on.
    for who in 203.0.113.82 203.0.113.83; do
        in_ns "$C" curl -s -f -o /dev/null --max-time 10 --interface $client http://$who/ || complain "no page of $who" || return 1
    done
    before=$(wc -l <"$dir/house/household-done")
    within 90 done_things $((before + 100)) || complain "the household does too little" || return 1
    # In the names of a site, the resolver, the clock and a peer of the household; what answers, the real ones reset.
    assail forged-scan 203.0.113.82 "$A" nmap -n -Pn -T4 -sS -p1-1000 -e out0 -S 203.0.113.82 $client
    assail forged-syns 203.0.113.83 "$A" hping3 -q -a 203.0.113.83 -S -p 22 -i u500 -c 20000 $client
    assail forged-answers $resolver "$A" hping3 -q -a $resolver --udp -s 53 -k -p 9999 -i u500 -c 20000 $client
    assail forged-pings 203.0.113.123 "$A" hping3 -q -a 203.0.113.123 --icmp -i u500 -c 20000 $client
    assail anybody "$client" "$A" hping3 -q --rand-source -S -p 22 -i u500 -c 20000 192.168.77.11
    for name in forged-scan forged-syns forged-answers forged-pings anybody; do
        within 120 ended "${of_pid[$name]}" || complain "$name does not end" || return 1
    done
    for who in 203.0.113.82 203.0.113.83 $resolver 203.0.113.123 $web; do
        ! in_ns "$R" "$slips" firewall list 2>/dev/null | grep -qF "$who" || complain "$who is blocked, in whose name others attacked" || return 1
    done
    note="told: $(kinds 203.0.113.82) $(kinds 203.0.113.83) $(kinds $resolver) $(kinds 203.0.113.123)"
}
ended() { ! running "$1"; }
