# What goes wrong around the daemon, and what it does then: docs/troubleshooting.md, "What happens when ...". Sourced by run.sh.
# shellcheck shell=bash disable=SC2154,SC2034

fault_tests=(
    an_interface_that_goes_and_comes_back_is_watched_again
    a_full_disk_stops_no_block_and_what_it_refuses_is_written_later
    a_damaged_database_stops_no_block_and_is_begun_anew
    overload_is_answered_step_by_step_and_undone
    memory_that_becomes_short_is_given_back
    the_limits_of_its_control_group_are_found_told_and_kept
    a_journald_that_stands_still_holds_nothing_up_and_what_it_loses_is_counted
    memory_is_flat_and_every_alert_is_everywhere_after_a_soak
    what_the_journal_was_told_is_in_the_database_after_every_kill
)

said() { grep -q "$1" "$dir/daemon-$runs.log"; }
# last_words: what the daemon said last, for a complaint.
last_words() { tail -n 2 "$dir/daemon-$runs.log" | cut -c 1-200 | tr '\n' ' '; }
# rows SQL: the number that it gives, of flows.sqlite of this run.
rows() {
    python3 - "$out/files/flows.sqlite" "$1" <<'PY' 2>/dev/null || echo 0
import sqlite3, sys
with sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=2) as book:
    print(book.execute(sys.argv[2]).fetchone()[0])
PY
}
has_alert_row() { [ "$(rows "select count(*) from alerts where attacker = '$1'")" -gt 0 ]; }
has_more_records() { [ "$(rows "select count(*) from records")" -gt "$1" ]; }
stage_blocked() { within 60 said "event=block msg=\"$1 blocked" && within 20 silent "$1"; }

an_interface_that_goes_and_comes_back_is_watched_again() {
    daemon_up || return 1
    scan 203.0.113.97 -sT && cut_off 203.0.113.97 || return
    end_attack
    ip -n "$R" link delete wan0
    within 30 said 'interface wan0 is gone' || complain "nobody says that wan0 is gone: $(last_words)" || return 1
    ip -n "$R" link add wan0 type veth peer name out0 netns "$A"
    ip -n "$R" address add 203.0.113.2/30 dev wan0
    ip -n "$A" address add $gateway/30 dev out0
    ip -n "$A" address add 2001:db8:1::1/64 dev out0 nodad
    ip -n "$R" address add 2001:db8:1::2/64 dev wan0 nodad
    ip -n "$R" link set wan0 up
    ip -n "$A" link set out0 up
    ip -n "$R" route replace default via $gateway
    ip -n "$R" route replace default via 2001:db8:1::1
    ip -n "$A" route replace fd77::/64 via 2001:db8:1::2
    ip -n "$A" route replace 192.168.77.0/24 via 203.0.113.2 src $web
    within 30 said 'interface wan0 is up' || complain "nobody says that wan0 is back: $(last_words)" || return 1
    within 20 silent 203.0.113.97 || complain "who was blocked before gets answers" || return 1
    scan 203.0.113.98 -sT && cut_off 203.0.113.98
}

a_full_disk_stops_no_block_and_what_it_refuses_is_written_later() {
    local attacker=203.0.113.99 status=0
    daemon_config() { mkdir -p "$out/files" && mount -t tmpfs -o size=3m slips-lab "$out/files"; }
    daemon_up term=300s || status=1
    unset -f daemon_config
    [ $status != 0 ] || full_disk || status=$?
    end_attack
    [ -z "${daemon:-}" ] || { kill -KILL "$daemon" && wait "$daemon"; } 2>/dev/null
    umount "$out/files"
    return $status
}
full_disk() {
    dd if=/dev/zero of="$out/files/filler" bs=4k count=4096 status=none 2>/dev/null
    [ "$(df --output=avail "$out/files" | tail -n 1)" -lt 64 ] || complain "the disk is not full: $(df "$out/files" | tail -n 1)" || return 1
    scan $attacker -sT || return
    stage_blocked $attacker || complain "nobody is blocked: $(last_words)" || return 1
    within 60 said 'event=degraded msg="the files' || complain "nobody says that files cannot be written: $(last_words)" || return 1
    end_attack
    local before
    before=$(rows "select count(*) from records")
    rm "$out/files/filler"
    within 60 alerted $attacker || complain "the alert is not in alerts.json when there is room again" || return 1
    within 60 has_alert_row $attacker || complain "the alert is not in the database when there is room again: $(last_words)" || return 1
    within 60 has_more_records "$before" || complain "no record of a protocol was written when there was room again: $(last_words)" || return 1
    note=$(grep -o 'msg="the files[^"]*' "$dir/daemon-$runs.log" | head -n 1 | cut -c 6-150)
    within 20 silent $attacker || complain "the block ended"
}

# tear FILE: all behind its header.
tear() { head -c "$(($(stat -c %s "$1") - 100))" /dev/urandom | dd of="$1" bs=100 seek=1 conv=notrunc status=none; }
a_damaged_database_stops_no_block_and_is_begun_anew() {
    local attacker=203.0.113.100
    daemon_up term=300s || return 1
    scan $attacker -sT && cut_off $attacker || return
    end_attack
    # While it runs: another attack is entered into the new one.
    tear "$out/files/flows.sqlite"
    [ ! -s "$out/files/flows.sqlite-wal" ] || tear "$out/files/flows.sqlite-wal"
    scan 203.0.113.101 -sT && stage_blocked 203.0.113.101 || complain "nobody is blocked beside a torn database: $(last_words)" || return
    end_attack
    within 90 said 'flows.sqlite was damaged' || complain "nobody says that the database is damaged: $(last_words)" || return 1
    scan 203.0.113.102 -sT && cut_off 203.0.113.102 || return
    end_attack
    within 60 has_alert_row 203.0.113.102 || complain "the new database has no alert: $(last_words)" || return 1
    daemon_down || return 1
    # At the start: both.
    mv "$out/files/flows.sqlite.damaged" "$out/files/first.damaged" || complain "the damaged one was not kept" || return 1
    for file in flows blocks; do seq 9999 >"$out/files/$file.sqlite" && rm -f "$out/files/$file.sqlite-wal"; done
    daemon_up term=300s again || return 1
    within 20 said 'flows.sqlite was damaged' || complain "nobody says at the start that the database is damaged: $(last_words)" || return 1
    said 'blocks.sqlite was damaged' || complain "nobody says that the book is damaged: $(last_words)" || return 1
    for word in flows blocks; do
        [ -s "$out/files/$word.sqlite.damaged" ] || complain "$word.sqlite was not kept" || return 1
    done
    within 20 silent $attacker || complain "the block did not outlive its book" || return 1
    in_ns "$R" "$slips" firewall list 2>&1 | grep -c $attacker >"$dir/listed"
    [ "$(cat "$dir/listed")" -gt 0 ] || complain "the daemon does not know what the kernel blocks" || return 1
    scan 203.0.113.103 -sT && cut_off 203.0.113.103 || return
    within 60 has_alert_row 203.0.113.103 || complain "the next database has no alert: $(last_words)"
}

# flood: SYNs of forged senders as fast as it goes, till end_flood.
flood() {
    need hping3 || return
    start flood "$A" hping3 -q --flood --rand-source -S -p ++1 $client
    flood=$pid
}
end_flood() {
    kill -KILL "$flood" 2>/dev/null
    wait "$flood" 2>/dev/null
    return 0
}

overload_is_answered_step_by_step_and_undone() {
    local attacker=203.0.113.104 steps
    daemon_up term=300s || return 1
    flood || return
    within 60 said 'overload, step 1 of 4' || complain "a flood is no overload: $(last_words)"
    [ -n "$why" ] || { scan $attacker -sT && stage_blocked $attacker; } || complain "nobody is blocked under a flood: $(last_words)"
    end_flood
    end_attack
    [ -z "$why" ] || return 1
    within 180 said 'overload, back to step 0' || complain "it is calm and still something is left out: $(last_words)" || return 1
    steps=$(grep -o 'overload, [a-z ]*step [0-9]' "$dir/daemon-$runs.log" | grep -o '[0-9]' | tr '\n' ' ')
    note="steps $steps; $(grep -o 'event=overload msg="[^"]*' "$dir/daemon-$runs.log" | head -n 1 | cut -c 21-100)"
    awk -v steps="$steps" 'BEGIN { n = split("0 " steps, at, " "); for (i = 2; i <= n; i++) if ((at[i] - at[i - 1]) ^ 2 != 1) exit 1 }' ||
        complain "not step by step: $steps"
}

resident() { awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$daemon/status"; }
memory_that_becomes_short_is_given_back() {
    local attacker=203.0.113.105 before most
    daemon_config() { printf 'limits:\n  memory: 72MiB\n  remote_profiles: 200000\n  flows: 131072\n' >>"$out/slips.yaml"; }
    daemon_up term=300s
    local status=$?
    unset -f daemon_config
    [ $status = 0 ] || return 1
    said '72 MiB of memory may be used (limits.memory): room for 200000 remote' || complain "it does not tell what it chose: $(last_words)" || return 1
    before=$(resident)
    flood || return
    within 120 said 'tables may use 25 %' || complain "$(resident) MiB are in use and tables are as large as before: $(last_words)"
    end_flood
    [ -z "$why" ] || return 1
    most=$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$daemon/status")
    scan $attacker -sT && stage_blocked $attacker || complain "nobody is blocked while memory is short: $(last_words)" || return 1
    note="$before MiB before, $most at most, $(resident) after"
}

# The kernel's files of a control group with limits, as it is nowhere in the lab: the daemon finds a directory in their place.
the_limits_of_its_control_group_are_found_told_and_kept() {
    local plain=$slips status=0 own
    own=$dir/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
    mkdir -p "$own"
    : >"$dir/cgroup/cgroup.controllers"
    echo 134217728 >"$own/memory.high"
    echo max >"$own/memory.max"
    echo '150000 100000' >"$own/cpu.max"
    printf 'anon 20000000\nfile 900000000\nshmem 0\nkernel 1000000\nslab_reclaimable 0\n' >"$own/memory.stat"
    printf '#!/bin/sh\nmount --bind "%s" /sys/fs/cgroup && exec "%s" "$@"\n' "$dir/cgroup" "$slips" >"$dir/limited" && chmod +x "$dir/limited"
    slips=$dir/limited
    daemon_up || status=1
    slips=$plain
    [ $status = 0 ] || return 1
    said '128 MiB of memory may be used (.*/memory.high)' || complain "the limit is not found: $(last_words)" || return 1
    said 'of 1.5 processors (cpu.max)' || complain "the share of processors is not found: $(last_words)" || return 1
    note=$(grep -o 'room for [^;]*' "$dir/daemon-$runs.log")
    ! said 'tables may use' || complain "what is kept of files is taken for memory in use" || return 1
    # In one piece: the daemon reads it every second.
    printf 'anon 120000000\nkernel 1000000\n' >"$own/new" && mv "$own/new" "$own/memory.stat"
    within 30 said '90 % of 128 MiB are in use: tables may use 75 %' || complain "memory in use is not looked at: $(last_words)"
}

# A systemd and a journald of their own.
a_journald_that_stands_still_holds_nothing_up_and_what_it_loses_is_counted() {
    local status=0
    bash "$lab/journald.sh" "$slips" "${SLIPS_SILENCE:-8}" >"$dir/journald.log" 2>&1 || status=$?
    note=$(tail -n 1 "$dir/journald.log")
    [ $status = 0 ] || why=$(head -n 3 "$dir/journald.log")
    return $status
}

# SLIPS_SOAK says how many flows: few here, 10,000,000 by hand; SLIPS_LOAD names the generator, which cargo has built beside the tests.
memory_is_flat_and_every_alert_is_everywhere_after_a_soak() {
    local status=0 load=${SLIPS_LOAD:-$(dirname "$slips")/examples/load}
    [ -x "$load" ] || { why="no generator: cargo build --package slips-input --example load" && return 2; }
    bash "$lab/soak.sh" "$slips" "$load" "${SLIPS_SOAK:-300000}" "${SLIPS_RATE:-10000}" >"$dir/soak.log" 2>&1 || status=$?
    note=$(tail -n 1 "$dir/soak.log")
    [ $status = 0 ] || why=$(head -n 3 "$dir/soak.log")
    return $status
}

# SLIPS_CRASHES says how many runs: few here, 200 by hand; SLIPS_SEED repeats one that failed.
what_the_journal_was_told_is_in_the_database_after_every_kill() {
    local storm status=0 here=$dir/crash load=${SLIPS_LOAD:-$(dirname "$slips")/examples/load}
    [ -x "$load" ] || { why="no generator: cargo build --package slips-input --example load" && return 2; }
    mkdir -p "$here"
    ip -n "$A" address add 203.0.113.91/32 dev lo
    ip -n "$A" route replace local 198.18.0.0/16 dev lo
    start storm "$A" python3 "$lab/storm.py" $client 203.0.113.91 198.18.0.0/16 "$here/storming" 1000 "$load" out0
    storm=$pid
    start crash "$R" env -u SSH_CONNECTION -u SSH_CLIENT python3 "$lab/crash.py" "$slips" "$here" "${SLIPS_CRASHES:-8}" \
        "${SLIPS_SEED:-$RANDOM}" "$here/storming" wan0 lan0 lan1
    attack=$pid
    wait "$attack" || status=$?
    kill "$storm" 2>/dev/null
    wait "$storm" 2>/dev/null
    note=$(tail -n 1 "$dir/crash.log")
    [ $status = 0 ] || complain "$(head -n 3 "$dir/crash.log") $note"
}
