#!/usr/bin/env python3
"""Five routers of one organisation on one link. Its key, which is on none of them, says that each is an authority: whom the first blocks,
all block.

usage: fleet.py SLIPS; root. SLIPS_ATTACKS (default 10) attacks are measured, SLIPS_PARTITION (default 10) is how many seconds a router is
cut off, SLIPS_IDLE how many seconds the idle node is watched (default none: only its memory is told). The exit code is 0 with the figures, or 1 with a reason.
"""

import os
import re
import signal
import sys
import time

import switch
from handbook import DEADLINE, Failed, until
from switch import connected, log, node_of

ATTACKS = int(os.environ.get("SLIPS_ATTACKS", "10"))
PARTITION = float(os.environ.get("SLIPS_PARTITION", "10"))
IDLE = float(os.environ.get("SLIPS_IDLE", "0"))
ROUTERS = ["r1", "r2", "r3", "r4", "r5"]


def address(n):
    return f"198.51.100.{n + 1}"


def says_who(blocked, by, journal):
    """Whether the journal names who had an address blocked."""
    return re.search(rf'msg="{blocked} blocked on the word of peer .*: order of {by}"', journal)


class Fleet:
    """The organisation, and what it is asked."""

    def __init__(self, stage):
        self.stage = stage
        self.all = list(stage.routers.values())
        self.first, self.second, _, self.cut, self.late = self.all
        self.early = self.all[:4]

    def found(self):
        """One administrator makes the organisation; each router trusts its roster, and knows where the first is."""
        self.stage.one_network()
        roster = self.stage.organisation("fleet", dict.fromkeys(ROUTERS, "authority"))
        for router in self.all:
            router.run(f"slips peers org trust {roster} --name fleet --max-role authority")
            for other in self.all:
                where = f"--address {other.address}" if other is self.first else ""
                if other is not router:
                    router.run(f"slips peers add {other.id} --name {other.name} {where}")

    def attack(self, n, others):
        """Guesses passwords from one address until the first router alerts; seconds from there until all the others blocked it."""
        guesser = self.stage.in_outside(f"handbook.guess({address(n)!r}, {self.first.outer!r})")
        try:
            alerted, blocked, end = None, {}, time.monotonic() + DEADLINE
            while len(blocked) < len(others):
                now = time.monotonic()
                if now > end:
                    raise Failed(f"{address(n)}: alert {alerted}, blocked on {sorted(blocked)}")
                if alerted is None and f'event=alert msg="{address(n)} ' in log(self.first):
                    alerted = now
                for router in others:
                    if router.name not in blocked and says_who(address(n), "r1", log(router)):
                        blocked[router.name] = now
                time.sleep(0.005)
            return max(blocked.values()) - (alerted or min(blocked.values()))
        finally:
            guesser.kill()
            guesser.wait()

    def equal(self):
        """Whether all block whom the first blocks."""
        blocked = {router.name: router.blocked() for router in self.all if router.daemon}
        return all(one == blocked["r1"] for one in blocked.values()) or blocked


def idle(router):
    """What the node of a router that has nothing to do costs: memory in MiB, of which what it allocated; a core's share; bytes per second
    in both directions."""
    pid = node_of(router)

    def spent():
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0]) / 1e9

    def carried():
        told = router.run("cat /sys/class/net/peer0/statistics/rx_bytes /sys/class/net/peer0/statistics/tx_bytes")[1]
        return sum(map(int, told.split()))

    def watch(seconds):
        began, cpu, bytes_ = time.monotonic(), spent(), carried()
        time.sleep(seconds)
        span = time.monotonic() - began
        return (spent() - cpu) / span, (carried() - bytes_) / span

    spends = ""
    if IDLE:
        # What was said a moment ago is still asked for.
        until("the node comes to rest", lambda: (rate := watch(1)[1]) <= 1000 or rate)
        share, rate = watch(IDLE)
        spends = f", {share:.2%} of a core, {rate:.0f} B/s"
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        memory = {line.split()[0]: int(line.split()[1]) / 1024 for line in file if line.startswith(("VmRSS", "RssAnon"))}
    print(f"an idle node: {memory['VmRSS:']:.1f} MiB, {memory['RssAnon:']:.1f} of them its own{spends}")
    if memory["RssAnon:"] > 12:
        raise Failed("the node holds more than 12 MiB")


def attacks(fleet):
    took = sorted(fleet.attack(n, fleet.early[1:]) for n in range(ATTACKS))
    p99 = took[int(len(took) * 0.99)]
    print(f"{ATTACKS} attacks: from the alert to the last block p50 {took[len(took) // 2]:.3f} s, p99 {p99:.3f} s")
    if p99 > 2:
        raise Failed(f"blocks came late: {took}")


def unblock(fleet):
    fleet.first.run(f"slips unblock {address(0)}")
    began = time.monotonic()
    until("the unblock is heard", lambda: all(address(0) not in router.blocked() for router in fleet.early))
    until("all are equal", fleet.equal)
    print(f"an unblock lifts it everywhere within {time.monotonic() - began:.1f} s")


def late_joiner(fleet):
    began = time.monotonic()
    fleet.late.start()
    until("a late joiner has the list", fleet.equal)
    joined = time.monotonic() - began
    print(f"a late joiner has the list {joined:.1f} s after its start")
    if joined > 5 or not fleet.late.blocked():
        raise Failed(f"a late joiner had the list after {joined:.1f} s: {fleet.late.blocked()}")
    until("all are connected with all", lambda: connected(fleet.all))


def deaths(fleet):
    before, killed = [router.blocked() for router in fleet.all], [node_of(router) for router in fleet.all]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    if [router.blocked() for router in fleet.all] != before:
        raise Failed("the death of the nodes changed blocks")
    began = time.monotonic()
    until("other nodes are there", lambda: not {node_of(router) for router in fleet.all} & {None, *killed})
    until("all are connected again", lambda: connected(fleet.all))
    print(f"{len(killed)} killed nodes change no rule, and others are connected after {time.monotonic() - began:.1f} s")


def partition(fleet):
    fleet.stage.port("r4", "down")
    fleet.attack(ATTACKS, [router for router in fleet.all[1:] if router is not fleet.cut])
    fleet.first.run(f"slips unblock {address(1)}")
    time.sleep(PARTITION)
    # A router that reaches nothing any more may lift what peers had it block; what it must not do is to hear of the new one.
    if address(ATTACKS) in fleet.cut.blocked():
        raise Failed(f"the partition is none: r4 blocks {fleet.cut.blocked()}")
    fleet.stage.port("r4", "up")
    began = time.monotonic()
    until("the partition is healed", fleet.equal)
    healed = time.monotonic() - began
    print(f"{healed:.1f} s after a partition of {PARTITION:.0f} s all are equal")
    if healed > 30 or not fleet.cut.blocked():
        raise Failed(f"after a partition of {PARTITION} s it took {healed:.1f} s: {fleet.cut.blocked()}")


def story(stage):
    fleet = Fleet(stage)
    fleet.found()
    for n in range(ATTACKS + 1):
        stage.attacker(address(n))
    stage.serve("r1")
    for router in fleet.early:
        router.start()
    until("four are connected", lambda: connected(fleet.early))
    attacks(fleet)
    unblock(fleet)
    late_joiner(fleet)
    idle(fleet.second)
    deaths(fleet)
    partition(fleet)
    fleet.cut.run("slips peers org distrust fleet && slips peers remove r1")
    until("whom nobody believes has nothing blocked", lambda: fleet.cut.blocked() == set() or fleet.cut.blocked())


if __name__ == "__main__":
    sys.exit(switch.play(switch.Switch(sys.argv[1], "fleet", ROUTERS, ["r1"]), story))
