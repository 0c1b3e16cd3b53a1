#!/usr/bin/env bash
# The lab: a router that runs the real daemon, attackers with real tools and a client, in network namespaces of their own.
# usage: run.sh [TEST…]; root. SLIPS_BIN names the binary. Each test prints one line; the last line counts them.
set -u
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$lab/../.." && pwd)
passed=0 failed=0 skipped=0 why='' note=''

tests=(
    a_connect_scan_is_blocked_while_downloads_go_on
    a_syn_scan_is_blocked_while_downloads_go_on
    ssh_password_guessing_is_blocked_while_downloads_go_on
    a_scan_over_ipv6_is_blocked
    a_scan_from_inside_is_blocked
    who_visits_a_page_that_calls_closed_ports_is_not_blocked
    a_block_ends_by_itself
    no_connection_to_a_listed_address_that_is_ten_milliseconds_away_completes
    flush_lifts_blocks_while_the_daemon_runs
    blocks_outlive_the_daemon_and_flush_leaves_nothing_of_ours
    monitor_mode_alerts_and_blocks_nothing
    monitor_mode_lets_in_whom_the_last_daemon_blocked
    the_gateway_is_alerted_and_never_blocked
    an_allowed_net_is_alerted_and_never_blocked
    a_rule_that_is_written_lets_out_whom_it_is_about_and_holds_until_it_is_taken_away
    sigterm_ends_the_daemon_within_two_seconds
    who_takes_the_daemons_name_is_told_of_not_believed_and_waited_out
    blocks_stand_beside_ufw
    blocks_stand_beside_firewalld
    blocks_stand_beside_fail2ban
    after_every_kill_the_kernel_is_as_the_book_and_nothing_leaked
    two_administrators_do_what_the_handbook_tells_them
    a_fleet_blocks_whom_one_of_it_blocks_through_deaths_and_partitions
    owners_who_are_independent_block_together_whom_neither_would_alone
    routers_on_one_redis_see_each_other_and_one_takes_the_place_of_another
    systemd_runs_the_daemon_and_the_node_with_what_they_need_and_no_more
    a_newer_systemd_does_so_too
    systemd_keeps_the_capture_over_a_restart_and_a_crash_and_ends_what_stands_still
    a_newer_systemd_keeps_the_capture_too
    the_journal_of_a_real_systemd_tells_and_explains_all
    a_newer_journal_too
    what_the_control_api_answers_is_what_its_description_says
    the_package_is_installed_updated_and_removed_and_blocks_as_long_as_it_is_there
    the_tarball_too
    the_rpm_too
    who_has_never_seen_slips_follows_the_page_to_an_alert_and_a_block
)

complain() {
    why=${why:-$*}
    return 1
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || { why="needs $tool" && return 2; }
    done
}

# scan ADDRESS KIND: nmap over the first thousand ports, in the background.
scan() {
    need nmap || return
    attack_from "$1"
    local six=()
    case $1 in *:*) six=(-6) ;; esac
    start nmap "$A" nmap -n -p1-1000 "$2" "${six[@]}" -e out0 -S "$1" "$(victim_of "$1")"
    attack=$pid
}

# scan_is_blocked ADDRESS KIND
scan_is_blocked() {
    daemon_up && downloads_begin && dump_begin "$1" || return 1
    scan "$1" "$2" || return
    cut_off "$1" || return 1
    downloads_end || return 1
    note=$(dump_end "$1")
}

a_connect_scan_is_blocked_while_downloads_go_on() { scan_is_blocked 203.0.113.66 -sT; }

a_syn_scan_is_blocked_while_downloads_go_on() { scan_is_blocked 203.0.113.67 -sS; }

ssh_password_guessing_is_blocked_while_downloads_go_on() {
    local guesser=203.0.113.68 tool=hydra
    need hydra || { tool=ncrack && need ncrack; } || { why="needs hydra or ncrack" && return 2; }
    seq -f 'secret%g' 500 >"$dir/passwords"
    # A wrong password takes the server two seconds and a connection has six: more than ten seconds show little of it.
    daemon_up width=60 && downloads_begin && dump_begin $guesser || return 1
    attack_from $guesser
    case $tool in
        hydra) start hydra "$A" hydra -I -o /dev/null -l nobody-can-log-in -P "$dir/passwords" ssh://$client ;;
        ncrack) start ncrack "$A" ncrack --user nobody-can-log-in -P "$dir/passwords" ssh://$client ;;
    esac
    attack=$pid
    within 60 alerted $guesser || complain "no alert; evidence: $(kinds $guesser); $(tail -n 1 "$dir/$tool.log")" || return 1
    cut_off $guesser || return 1
    downloads_end || return 1
    note="$(kinds $guesser): $(dump_end $guesser)"
    case " $(kinds $guesser) " in
        *' PASSWORD_GUESSING '*) ;;
        *) complain "the evidence is only: $(kinds $guesser)" ;;
    esac
}

a_scan_over_ipv6_is_blocked() { scan_is_blocked 2001:db8:bad::66 -sT; }

a_scan_from_inside_is_blocked() {
    need nmap || return
    daemon_up && downloads_begin || return 1
    # Nobody is blocked inside before a whole connection shows that the address is the host's own: its sender could be forged.
    within 30 page_inside || complain "$inside gets no page before it attacks" || return 1
    start nmap "$I" sh -c "while :; do nmap -n -Pn -p1-1000 -sT $web; done"
    attack=$pid
    within 60 alerted $inside || complain "no alert; evidence: $(kinds $inside)"
    [ -n "$why" ] || within 60 no_page_inside || complain "$inside is alerted and still gets pages"
    end_attack
    [ -z "$why" ] && downloads_end
}
# As a browser does what a page asks for: from the system's own sockets, at ports that browsers call.
who_visits_a_page_that_calls_closed_ports_is_not_blocked() {
    local n
    daemon_up && downloads_begin || return 1
    within 30 page_inside || complain "$inside gets no page before it visits" || return 1
    start visit "$I" python3 -c "
import socket
while True:
    for port in range(8000, 8400):
        with socket.socket() as call:
            call.connect_ex(('$web', port))"
    attack=$pid
    within 60 alerted $inside || complain "nothing is told; evidence: $(kinds $inside)"
    for n in 1 2 3 4 5 6 7 8 9 10; do
        [ -n "$why" ] || page_inside || complain "$inside gets no page $n after the alert"
    done
    ! in_ns "$R" "$slips" firewall list 2>/dev/null | grep -qF $inside || complain "$inside is blocked"
    end_attack
    [ -z "$why" ] && note="told: $(kinds $inside)" && downloads_end
}
page_inside() { in_ns "$I" curl -s -o "$dir/page" --connect-timeout 2 --max-time 2 http://$web/; }
no_page_inside() { ! page_inside; }

a_block_ends_by_itself() {
    local attacker=203.0.113.69 began
    daemon_up term=20s || return 1
    scan $attacker -sT || return
    cut_off $attacker || return 1
    began=${EPOCHREALTIME/./}
    end_attack
    within 60 let_in $attacker || complain "still blocked after 60 s" || return 1
    note="$(((${EPOCHREALTIME/./} - began) / 1000)) ms after it was seen"
    within 30 grep -q 'no longer blocked' "$dir/daemon-$runs.log" || complain "the daemon does not tell that the block ended"
}

# The servers answer a SYN so many milliseconds later (SLIPS_DISTANCE): the block has to be there before, at the first packet. A machine
# that does other things, too, gives the daemon the processor first.
no_connection_to_a_listed_address_that_is_ten_milliseconds_away_completes() {
    local distance=${SLIPS_DISTANCE:-10} far said plain=$slips
    start far "$A" python3 "$lab/far.py" answer out0 198.19.0.0/16 "$distance"
    far=$pid
    within 10 grep -q answering "$dir/far.log" || complain "no far servers: $(tail -n 1 "$dir/far.log")" || return 1
    if chrt -f 20 true 2>/dev/null; then
        printf '#!/bin/sh\nexec chrt -f 20 "%s" "$@"\n' "$slips" >"$dir/first" && chmod +x "$dir/first"
        slips=$dir/first
    fi
    daemon_config() { echo '198.19.0.0/17,critical,a listed network' >"$out/lists/listed.csv"; }
    daemon_up width=60
    local status=$?
    unset -f daemon_config
    slips=$plain
    [ $status = 0 ] || return 1
    said=$(in_ns "$C" python3 "$lab/far.py" call $client 198.19.128.{1..5})
    [ "${said%% *}" = 5 ] || complain "of five connections to servers that nobody lists only ${said%% *} completed" || return 1
    said=$(in_ns "$C" python3 "$lab/far.py" call $client 198.19.0.{1..40})
    kill "$far" 2>/dev/null
    note="${said%% *} of 40 connections completed, $distance ms away"
    [ "${said%% *}" = 0 ] || complain "$note" || return 1
    within 10 alerted 198.19.0.40 || complain "no alert about the last one; $(kinds 198.19.0.40)"
}

flush_lifts_blocks_while_the_daemon_runs() {
    local attacker=203.0.113.70
    daemon_up term=300s || return 1
    scan $attacker -sT || return
    cut_off $attacker || return 1
    end_attack
    in_ns "$R" "$slips" firewall list >"$dir/list" 2>&1 || complain "firewall list: $(cat "$dir/list")" || return 1
    grep -q $attacker "$dir/list" || complain "firewall list does not show $attacker: $(cat "$dir/list")" || return 1
    in_ns "$R" "$slips" firewall flush >"$dir/flush" 2>&1 || complain "firewall flush: $(cat "$dir/flush")" || return 1
    within 20 let_in $attacker || complain "still blocked after flush" || return 1
    # The daemon goes on protecting.
    scan 203.0.113.74 -sT
    cut_off 203.0.113.74
}

blocks_outlive_the_daemon_and_flush_leaves_nothing_of_ours() {
    local attacker=203.0.113.71
    in_ns "$R" nft -f - <<'NFT'
table inet somebody_elses {
    set addresses { type ipv4_addr; elements = { 192.0.2.1 }; }
    chain forward { type filter hook forward priority 10; ip saddr @addresses drop; }
}
NFT
    in_ns "$R" nft list ruleset >"$dir/before"
    daemon_up term=300s || return 1
    scan $attacker -sT || return
    cut_off $attacker || return 1
    end_attack
    daemon_down || return 1
    silent $attacker || complain "the block ended with the daemon" || return 1
    in_ns "$R" "$slips" firewall flush >"$dir/flush" 2>&1 || complain "firewall flush: $(cat "$dir/flush")" || return 1
    within 20 let_in $attacker || complain "still blocked after flush" || return 1
    in_ns "$R" nft list ruleset >"$dir/after"
    cmp -s "$dir/before" "$dir/after" || complain "left behind: $(diff "$dir/before" "$dir/after" | head -n 5 | tr '\n' ' ')"
}

# stays ADDRESS: there is an alert about it, and it gets answers all the same.
stays() {
    within 30 alerted "$1" || complain "no alert about $1; evidence: $(kinds "$1")" || return 1
    # The decision to block follows its alert by milliseconds. It must not come.
    if within 2 surely_silent "$1"; then complain "$1 is blocked"; fi
}

monitor_mode_alerts_and_blocks_nothing() {
    local attacker=203.0.113.72
    daemon_up --monitor || return 1
    scan $attacker -sT || return
    stays $attacker || return 1
    ! in_ns "$R" nft list ruleset | grep -q $attacker || complain "$attacker is in the ruleset"
}

monitor_mode_lets_in_whom_the_last_daemon_blocked() {
    local attacker=203.0.113.73
    daemon_up term=300s || return 1
    scan $attacker -sT || return
    cut_off $attacker || return 1
    end_attack
    daemon_down || return 1
    silent $attacker || complain "the block ended with the daemon" || return 1
    daemon_up --monitor || return 1
    within 20 let_in $attacker || complain "still blocked while slips only watches" || return 1
}

the_gateway_is_alerted_and_never_blocked() {
    daemon_up || return 1
    scan $gateway -sT || return
    stays $gateway
}

an_allowed_net_is_alerted_and_never_blocked() {
    local attacker=203.0.113.193
    daemon_up never_block=203.0.113.192/26 || return 1
    scan $attacker -sT || return
    stays $attacker
}

# The whitelist, while the daemon runs and nobody tells it to read: a rule about an address, then one about a name.
a_rule_that_is_written_lets_out_whom_it_is_about_and_holds_until_it_is_taken_away() {
    local attacker=203.0.113.75 friend=203.0.113.76 resolver=203.0.113.53 before
    need nmap || return
    ip -n "$A" address add $resolver/32 dev lo 2>/dev/null
    ip -n "$A" address add $friend/32 dev lo 2>/dev/null
    start names "$A" python3 "$lab/names.py" serve $resolver friend.example.org $friend
    names=$pid
    within 10 grep -q ready "$dir/names.log" || complain "no name server: $(tail -n 1 "$dir/names.log")" || return 1
    daemon_config() {
        : >"$out/whitelist.conf"
        printf 'whitelists:\n  local_whitelist_path: %s\n  resolvers: [%s]\n' "$out/whitelist.conf" $resolver >>"$out/slips.yaml"
    }
    daemon_up term=300s
    local status=$?
    unset -f daemon_config
    [ $status = 0 ] || return 1
    within 20 leads_there || complain "the client's question has no answer" || return 1
    scan $attacker -sT || return
    cut_off $attacker || return 1
    end_attack
    echo "ip,$attacker,both,alerts # a friend" >"$out/whitelist.conf"
    within 60 let_in $attacker || complain "still blocked though $(cat "$out/whitelist.conf")" || return 1
    before=$(python3 "$lab/told.py" "$alerts" alerts $attacker)
    in_ns "$A" nmap -n -Pn -p1-1000 -sT -e out0 -S $attacker $client >/dev/null 2>&1
    let_in $attacker || complain "blocked in spite of the rule" || return 1
    [ "$(python3 "$lab/told.py" "$alerts" alerts $attacker)" = "$before" ] || complain "an alert in spite of the rule" || return 1

    scan $friend -sT || return
    cut_off $friend || return 1
    end_attack
    echo 'domain,example.org,both,alerts' >"$out/whitelist.conf"
    # What the name says is known of the address when its name is asked for again.
    within 60 let_in_by_name $friend || complain "still blocked though $(cat "$out/whitelist.conf")" || return 1
    # The rule about the other one is gone.
    scan $attacker -sT || return
    cut_off $attacker
    kill "$names" 2>/dev/null
}
leads_there() { [ "$(in_ns "$C" python3 "$lab/names.py" ask 203.0.113.53 friend.example.org)" = 203.0.113.76 ]; }
let_in_by_name() { leads_there && let_in "$1"; }

sigterm_ends_the_daemon_within_two_seconds() {
    daemon_up && downloads_begin || return 1
    scan 203.0.113.73 -sS || return
    within 30 alerted 203.0.113.73 || complain "no alert" || return 1
    daemon_down || return 1
    note="$took ms, under attack"
    downloads_end
}

who_takes_the_daemons_name_is_told_of_not_believed_and_waited_out() {
    local squatter
    start squatter "$R" python3 "$lab/squat.py"
    squatter=$pid
    within 30 grep -q ready "$dir/squatter.log" || complain "nobody takes the name: $(tail -n 1 "$dir/squatter.log")" || return 1
    daemon_up || return 1
    within 30 grep -q "slips-control is taken by process $squatter (python3) of user 65534" "$dir/daemon-$runs.log" ||
        complain "the daemon does not tell who has its name: $(tail -n 3 "$dir/daemon-$runs.log")" || return 1
    ! in_ns "$R" "$slips" firewall status >"$dir/status" 2>&1 || complain "a stranger is believed: $(cat "$dir/status")" || return 1
    grep -q 'runs as user 65534' "$dir/status" || complain "it is not said who answers: $(cat "$dir/status")" || return 1
    kill "$squatter"
    wait "$squatter" 2>/dev/null
    within 30 status || complain "the name is free and the daemon does not answer: $(cat "$dir/status")"
}
status() { in_ns "$R" "$slips" firewall status >"$dir/status" 2>&1; }

# company NAME PROGRAM: blocks stand and others pass before it comes, beside it, after its reload and for the next daemon, and nothing of
# it is changed by us.
company() {
    local attacker=203.0.113.95 other=203.0.113.96
    need "$2" || return
    for word in $attacker $other; do ip -n "$A" address add $word/32 dev lo 2>/dev/null; done
    daemon_up term=300s || return 1
    in_ns "$R" "$slips" block $attacker --for 300s >"$dir/blocked" 2>&1 || complain "block: $(cat "$dir/blocked")" || return 1
    apart "before $1 is there" || return 1
    beside "$1" up && apart "beside $1" || return 1
    beside "$1" reload && apart "after $1 reloaded" || return 1
    daemon_down || return 1
    apart "with the daemon gone" || return 1
    beside "$1" reload && apart "after $1 reloaded, with the daemon gone" || return 1
    daemon_up term=300s again || return 1
    apart "with the next daemon, after $1" || return 1
    theirs >"$dir/before"
    in_ns "$R" "$slips" firewall flush >"$dir/flush" 2>&1 || complain "flush: $(cat "$dir/flush")" || return 1
    theirs >"$dir/after"
    within 20 let_in $attacker || complain "still blocked after flush" || return 1
    cmp -s "$dir/before" "$dir/after" || complain "changed: $(diff "$dir/before" "$dir/after" | head -n 5 | tr '\n' ' ')" || return 1
    [ -s "$dir/after" ] || complain "$1 has no rules" || return 1
    beside "$1" down
}
apart() {
    silent $attacker || complain "$attacker gets answers $1" || return 1
    within 20 let_in $other || complain "$other is cut off $1"
}
beside() {
    in_ns "$R" bash "$lab/company.sh" "$1" "$2" "$dir" || complain "$1 $2: $(tail -n 3 "$dir/$1/log" | tr '\n' ' ')"
}
# The rules of others, without what they count.
theirs() {
    in_ns "$R" nft list ruleset 2>/dev/null | awk '/^#/ { next } /^table/ { ours = $3 == "slips" } !ours' | sed 's/packets [0-9]* bytes [0-9]*//; s/expires [0-9a-z]*//'
}

blocks_stand_beside_ufw() { company ufw ufw; }
blocks_stand_beside_firewalld() { company firewalld firewalld; }
blocks_stand_beside_fail2ban() { company fail2ban fail2ban-server; }

# SLIPS_KILLS says how often the daemon is killed: few times here, 1,000 by hand.
after_every_kill_the_kernel_is_as_the_book_and_nothing_leaked() {
    local attacker=203.0.113.90 storm before after status=0
    mkdir -p "$dir/kills"
    ip -n "$A" address add $attacker/32 dev lo
    ip -n "$A" route replace local 198.18.0.0/16 dev lo
    start kills "$R" env -u SSH_CONNECTION -u SSH_CLIENT python3 "$lab/kills.py" "$slips" "$dir/kills" "${SLIPS_KILLS:-20}" \
        $attacker "$dir/kills/storming" wan0 lan0 lan1
    attack=$pid
    within 60 test -e "$dir/kills/blocked" || complain "no first block: $(tail -n 1 "$dir/kills.log")" || return 1
    before=$(reached $attacker)
    start storm "$A" python3 "$lab/storm.py" $client $attacker 198.18.0.0/16 "$dir/kills/storming" 4000
    storm=$pid
    wait "$attack" || status=$?
    after=$(reached $attacker)
    kill "$storm" 2>/dev/null
    wait "$storm" 2>/dev/null
    # What it sent was there to be dropped.
    note="$(tail -n 1 "$dir/kills.log"); $(in_ns "$R" nft list table inet slips | sed -n 's/.*packets \([0-9]*\).*/\1/p' |
        sort -n | tail -n 1) packets dropped, $((after - before)) leaked"
    [ $status = 0 ] || complain "$(tail -n 3 "$dir/kills.log"); $((after - before)) leaked" || return 1
    [ "$after" = "$before" ] || complain "$((after - before)) packets leaked; $note"
}

# Routers of their own, which docs/peers.md is about.
two_administrators_do_what_the_handbook_tells_them() {
    local status=0
    env -u SSH_CONNECTION -u SSH_CLIENT python3 "$lab/handbook.py" "$slips" "$repo/docs/peers.md" >"$dir/handbook.log" 2>&1 || status=$?
    note=$(tail -n 1 "$dir/handbook.log")
    [ $status = 0 ] || why=$(head -n 3 "$dir/handbook.log")
    return $status
}

# SLIPS_ATTACKS, SLIPS_PARTITION and SLIPS_IDLE (seconds) make it longer: 50, 600 and 60 by hand.
a_fleet_blocks_whom_one_of_it_blocks_through_deaths_and_partitions() {
    local status=0
    env -u SSH_CONNECTION -u SSH_CLIENT python3 "$lab/fleet.py" "$slips" >"$dir/fleet.log" 2>&1 || status=$?
    note=$(tr '\n' ' ' <"$dir/fleet.log")
    [ $status = 0 ] || why=$(head -n 3 "$dir/fleet.log")
    return $status
}

owners_who_are_independent_block_together_whom_neither_would_alone() {
    local status=0
    env -u SSH_CONNECTION -u SSH_CLIENT python3 "$lab/neighbours.py" "$slips" >"$dir/neighbours.log" 2>&1 || status=$?
    note=$(tr '\n' ' ' <"$dir/neighbours.log")
    [ $status = 0 ] || why=$(head -n 3 "$dir/neighbours.log")
    return $status
}

routers_on_one_redis_see_each_other_and_one_takes_the_place_of_another() {
    local status=0
    need redis-server redis-cli || return
    env -u SSH_CONNECTION -u SSH_CLIENT python3 "$lab/standby.py" "$slips" >"$dir/standby.log" 2>&1 || status=$?
    note=$(tr '\n' ' ' <"$dir/standby.log")
    [ $status = 0 ] || why=$(head -n 3 "$dir/standby.log")
    return $status
}

# on_a_machine ROOT SCRIPT [ARGUMENT]: with a systemd of its own over the files of ROOT; SLIPS_BIN is what it starts.
on_a_machine() {
    local status=0 log=$dir/$2${3:-}.log
    SLIPS_ROOT=$1 bash "$lab/$2" "$slips" ${3:+"$3"} >"$log" 2>&1 || status=$?
    note=$(tail -n 1 "$log")
    [ $status = 0 ] || why=$(head -n 3 "$log")
    return $status
}

# on_debian_13 SCRIPT [ARGUMENT]: a Debian 13 of its own, whose systemd is newer than that of most machines that test.
on_debian_13() {
    local status=0 files
    files=$(bash "$lab/debian-root.sh" trixie) || { status=$? && why=$files && return $status; }
    on_a_machine "$files" "$@"
}

systemd_runs_the_daemon_and_the_node_with_what_they_need_and_no_more() { on_a_machine / systemd.sh; }

a_newer_systemd_does_so_too() { on_debian_13 systemd.sh; }

systemd_keeps_the_capture_over_a_restart_and_a_crash_and_ends_what_stands_still() { on_a_machine / restart.sh; }

a_newer_systemd_keeps_the_capture_too() { on_debian_13 restart.sh; }

the_journal_of_a_real_systemd_tells_and_explains_all() { on_a_machine / journal.sh; }

a_newer_journal_too() { on_debian_13 journal.sh; }

what_the_control_api_answers_is_what_its_description_says() {
    local status=0
    need curl python3 || return
    why=$(bash "$lab/schema.sh" "$slips" "${SCHEMATHESIS:-schemathesis}" 2>&1) || status=$?
    [ $status != 0 ] || note=$(tail -n 1 <<<"$why") why=''
    return $status
}

the_package_is_installed_updated_and_removed_and_blocks_as_long_as_it_is_there() { on_debian_13 package.sh deb; }

the_tarball_too() { on_debian_13 package.sh tarball; }

the_rpm_too() { on_a_machine / package.sh rpm; }

who_has_never_seen_slips_follows_the_page_to_an_alert_and_a_block() { on_debian_13 walkthrough.sh; }

run_test() {
    local name=$1 status=0 began=${EPOCHREALTIME/./} secs
    why='' note=''
    "$name" || status=$?
    clear_stage
    secs=$(((${EPOCHREALTIME/./} - began) / 100000))
    secs=${secs%?}.${secs: -1}
    case $status in
        0) passed=$((passed + 1)) && printf 'ok %s (%s s%s)\n' "$name" "${secs/#./0.}" "${note:+; $note}" ;;
        2) skipped=$((skipped + 1)) && printf 'skipped: %s: %s\n' "$name" "$why" ;;
        *)
            failed=$((failed + 1)) && printf 'FAILED %s: %s\n' "$name" "$why"
            [ -z "${SLIPS_LAB_KEEP:-}" ] || cp -r "$dir" "$SLIPS_LAB_KEEP/$name"
            ;;
    esac
}

finish() {
    local status=$?
    trap '' INT TERM HUP
    stage_down 2>/dev/null
    cd / && rm -rf "$dir"
    exit $status
}

all_skipped() {
    local name
    for name in "${tests[@]}"; do printf 'skipped: %s: %s\n' "$name" "$1"; done
    printf '0 passed, 0 failed, %d skipped\n' ${#tests[@]}
    exit 0
}

# shellcheck source-path=SCRIPTDIR source=attacks.sh
. "$lab/attacks.sh"
# shellcheck source-path=SCRIPTDIR source=faults.sh
. "$lab/faults.sh"
tests+=("${attack_tests[@]}" "${fault_tests[@]}")
[ $# = 0 ] || tests=("$@")
[ "$(id -u)" = 0 ] || all_skipped "needs root"
for tool in ip nft python3 curl sshd ssh-keygen tcpdump; do
    command -v "$tool" >/dev/null || all_skipped "needs $tool"
done
sshd=$(command -v sshd)
target=${CARGO_TARGET_DIR:-$repo/target}
slips=${SLIPS_BIN:-$target/debug/slips}
[ -n "${SLIPS_BIN:-}" ] || [ -x "$slips" ] || slips=$target/release/slips
slips=$(realpath -q "$slips")
if ! [ -x "$slips" ]; then
    echo "tests/lab/run.sh: no binary; build one with: cargo build --package slips, or set SLIPS_BIN" >&2
    exit 1
fi

dir=$(mktemp -d)
# shellcheck source-path=SCRIPTDIR source=stage.sh
. "$lab/stage.sh"
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkfifo "$dir/idle"
# Attackers leave files where they are started.
cd "$dir" || exit 1
if ! stage_up >"$dir/stage.log" 2>&1; then
    all_skipped "no network namespaces here: $(tail -n 1 "$dir/stage.log")"
fi
servers_up || {
    echo "tests/lab/run.sh: the servers of the lab do not answer: $(tail -n 2 "$dir/sshd.log" "$dir/web.log")" >&2
    exit 1
}
for name in "${tests[@]}"; do run_test "$name"; done
printf '%d passed, %d failed, %d skipped\n' $passed $failed $skipped
[ $failed = 0 ]
