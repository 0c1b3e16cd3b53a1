#!/usr/bin/env python3
"""Routers of owners who are independent of each other. Two help each other, in the default mode, to block a slow attacker whom neither would
block alone; a third of the same setting has no peers and blocks nobody. Another one lets three groups have an attacker blocked before a
packet of his comes, and finds out a liar.

usage: neighbours.py SLIPS; root. The exit code is 0, or 1 with a reason.
"""

import json
import sys

import switch
from handbook import Failed, three_guesses, until
from switch import configure, connected, log

SLOW, HASTY, OTHER, CANARY = "198.51.100.31", "198.51.100.32", "198.51.100.33", "45.83.64.11"
OWNERS = ["east", "west", "hill"]
ROUTERS = [*OWNERS, "valley", "alone"]
# Behind how many doors the slow one guesses, and how often: twenty refusals of one door are told as high, 0.64 of the 15 that an alert
# needs, forty within ten minutes would be an alert by themselves.
DOORS = range(8101, 8122)
TRIES = 7


def slowly(server):
    """Knocks at each door a few times, and no more, for hours; here the pauses are left out. Whether all doors stayed open."""
    return all(three_guesses(SLOW, server, door) for door in DOORS for _ in range(TRIES))


def alert_about(router, address):
    found = [line for line in log(router).splitlines() if f'event=alert msg="{address} ' in line]
    return found[0] if found else None


def help_each_other(stage):
    east, west, alone = (stage.routers[name] for name in ("east", "west", "alone"))
    slow = [stage.in_outside(f"import neighbours; neighbours.slowly({router.outer!r})") for router in (east, west)]
    until("both block the slow one", lambda: [r.name for r in (east, west) if SLOW not in r.blocked()] or True)
    for process in slow:
        process.wait()
    control = stage.in_outside(f"import sys, neighbours; sys.exit(not neighbours.slowly({alone.outer!r}))")
    if control.wait() != 0 or SLOW in alone.blocked():
        raise Failed("who has no peers blocks the slow one, too")
    sums = []
    for router, other in ((east, west), (west, east)):
        alert = alert_about(router, SLOW) or ""
        if "cause=assisted" not in alert or f"peers say so, too: {other.name} " not in alert:
            raise Failed(f"{router.name} does not say who helped: {alert}")
        sums.append(alert.split("accumulated=")[1].split()[0])
    print(f"a slow attacker is blocked by both owners together, at {sums[0]} and {sums[1]} of the 15 of an alert, and not by one alone")


def before_he_comes(stage):
    valley = stage.routers["valley"]
    for n, name in enumerate(OWNERS, 1):
        owner = stage.routers[name]
        guesser = stage.in_outside(f"handbook.guess({HASTY!r}, {owner.outer!r})")
        until(f"{name} blocks the hasty one", lambda: HASTY in owner.blocked() or owner.blocked())
        guesser.kill()

        def heard():
            told = json.loads(valley.run(f"slips peers reports {HASTY} --json")[1])
            return told.get("groups") == n or told

        until(f"{n} groups say so", heard)
        if n < len(OWNERS) and HASTY in valley.blocked():
            raise Failed(f"{n} groups were enough")
    until("three groups are enough", lambda: HASTY in valley.blocked() or valley.blocked())
    until("the journal names them", lambda: f'msg="{HASTY} blocked on the word of peer several ' in log(valley))
    first = stage.in_outside(f"import sys; sys.exit(handbook.three_guesses({HASTY!r}, {valley.outer!r}, 110))")
    other = stage.in_outside(f"import sys; sys.exit(not handbook.three_guesses({OTHER!r}, {valley.outer!r}, 110))")
    if first.wait() != 0 or other.wait() != 0:
        raise Failed("the first packet of the hasty one passed, or nobody's does")
    print("three groups have an attacker blocked before his first packet, two do not")


def a_liar(stage):
    valley, liar = stage.routers["valley"], stage.routers["west"]
    liar.run(f"echo {CANARY} >lies.txt && slips peers publish lies lies.txt")
    valley.run("slips peers trust west --weight 0.6 && slips peers follow west lies --policy score")
    until("who names a canary is in quarantine", lambda: [p["name"] for p in valley.peers() if p["quarantined"]] == ["west"] or valley.peers())
    print("who names a canary is in quarantine")


def story(stage):
    east, west, hill, valley, _ = stage.routers.values()
    stage.one_network()
    for name in OWNERS:
        owner, roster = stage.routers[name], stage.organisation(f"{name}-ltd", {name: "blamer"})
        # A name and an address for each; what it may do, and how far it is believed, is its organisation's.
        for trusting in {"east": (west,), "west": (east,), "hill": ()}[name]:
            trusting.run(f"slips peers org trust {roster} --name {name}-ltd --weight 0.9 --max-role blamer")
            trusting.run(f"slips peers add {owner.id} --name {name} --weight 0.9 --address {owner.address}")
        valley.run(f"slips peers org trust {roster} --name {name}-ltd --weight 1 --max-role blamer")
        valley.run(f"slips peers add {owner.id} --name {name} --weight 1 --address {owner.address}")
        owner.run(f"slips peers add {valley.id} --name valley --role observer")
    configure(valley, f"  mode: preempt\n  canaries: [{CANARY}]\n")
    for attacker in (SLOW, HASTY, OTHER):
        stage.attacker(attacker)
    for router in stage.routers.values():
        stage.serve(router.name, (110, *DOORS))
        router.start()
    until("east and west are connected", lambda: connected([east, west]))
    for owner in (east, west, hill):
        until(f"{owner.name} is connected", lambda: connected([owner, valley]))
    help_each_other(stage)
    before_he_comes(stage)
    a_liar(stage)


if __name__ == "__main__":
    sys.exit(switch.play(switch.Switch(sys.argv[1], "neighbours", ROUTERS, ROUTERS), story))
