#!/usr/bin/env python3
"""Five routers of one owner on one link, each an authority to the others: whom the first blocks, all block. The last one also blocks, without
a packet of his, whom three others agree about.

usage: fleet.py SLIPS; root. SLIPS_ATTACKS (default 10) attacks are measured, SLIPS_PARTITION (default 10) is how many seconds a router is
cut off. The exit code is 0 with the figures, or 1 with a reason.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import handbook
from handbook import Failed, Router, sh, until

ATTACKS = int(os.environ.get("SLIPS_ATTACKS", "10"))
PARTITION = float(os.environ.get("SLIPS_PARTITION", "10"))


ACCUSED, CANARY = "45.83.64.10", "45.83.64.11"


def address(n):
    return f"198.51.100.{n + 1}"


class Fleet:
    """The routers, a switch between them, and the outside behind the first."""

    def __init__(self, slips):
        self.tag, self.dir = f"slips-fleet-{os.getpid()}", tempfile.mkdtemp(prefix="slips-fleet-")
        self.bin, self.desk = os.path.join(self.dir, "bin"), os.path.join(self.dir, "desk")
        for path in (self.bin, self.desk):
            os.makedirs(path)
        os.symlink(os.path.abspath(slips), os.path.join(self.bin, "slips"))
        self.made = [path for path in ("/etc/slips", "/var/lib/slips") if not os.path.isdir(path)]
        for path in self.made:
            os.mkdir(path)
        self.switch, self.outside, self.routers = f"{self.tag}-switch", f"{self.tag}-outside", []

    def up(self):
        for ns in (self.switch, self.outside):
            sh("ip", "netns", "add", ns)
        sh("ip", "-n", self.switch, "link", "add", "br0", "up", "type", "bridge")
        for n in range(1, 6):
            router = Router(f"r{n}", self, ["wan0", "peer0"] if n == 1 else ["peer0"])
            self.routers.append(router)
            sh("ip", "-n", router.ns, "link", "add", "peer0", "type", "veth", "peer", "name", f"port{n}", "netns", self.switch)
            sh("ip", "-n", self.switch, "link", "set", f"port{n}", "master", "br0", "up")
            sh("ip", "-n", router.ns, "address", "add", f"192.168.9.{n}/24", "dev", "peer0")
            sh("ip", "-n", router.ns, "link", "set", "peer0", "up")
        first = self.routers[0]
        sh("ip", "-n", first.ns, "link", "add", "wan0", "type", "veth", "peer", "name", "out0", "netns", self.outside)
        sh("ip", "-n", first.ns, "address", "add", "203.0.113.2/30", "dev", "wan0")
        sh("ip", "-n", self.outside, "address", "add", "203.0.113.1/30", "dev", "out0")
        for ns, device in ((first.ns, "wan0"), (self.outside, "out0"), (self.outside, "lo")):
            sh("ip", "-n", ns, "link", "set", device, "up")
        sh("ip", "-n", first.ns, "route", "add", "default", "via", "203.0.113.1")
        for n in range(ATTACKS + 2):
            sh("ip", "-n", self.outside, "address", "add", f"{address(n)}/32", "dev", "lo")
        self.introduce()

    def introduce(self):
        """All know all, before any daemon runs."""
        ids = {}
        for router in self.routers:
            ids[router.name] = json.loads(router.run("slips peers id --json")[1])["id"]
        self.routers[0].run("slips peers network new")
        key = self.routers[0].run("slips peers network show")[1].strip().splitlines()[-1]
        for router in self.routers:
            if router is not self.routers[0]:
                router.run(f"echo {key} | slips peers network set")
            for n, (name, id_) in enumerate(ids.items(), 1):
                if name != router.name:
                    router.run(f"slips peers add {id_} --name {name} --address 192.168.9.{n} --role authority")

    def connected(self, routers):
        for router in routers:
            up = {peer["name"] for peer in router.peers() if peer["connected"]}
            if not {other.name for other in routers if other is not router} <= up:
                return f"{router.name} has {up}"
        return True

    def down(self):
        for router in self.routers:
            router.stop()
        for ns in (self.switch, self.outside):
            subprocess.run(["ip", "netns", "delete", ns], check=False, stderr=subprocess.DEVNULL)
        for path in self.made:
            with contextlib.suppress(OSError):
                os.rmdir(path)
        shutil.rmtree(self.dir, ignore_errors=True)


def log(router):
    with open(os.path.join(router.root, "log"), errors="replace", encoding="utf-8") as file:
        return file.read()


def attack(fleet, n):
    """Guesses passwords from one address until the first router alerts; seconds until all the others blocked it."""
    first, others = fleet.routers[0], [router for router in fleet.routers[1:] if router.daemon]
    program = f"import handbook; handbook.ATTACKER = {address(n)!r}; handbook.guess()"
    guesser = subprocess.Popen(
        ["ip", "netns", "exec", fleet.outside, sys.executable, "-c", program], cwd=os.path.dirname(os.path.abspath(__file__))
    )
    try:
        alerted, blocked, end = None, {}, time.monotonic() + handbook.DEADLINE
        while len(blocked) < len(others):
            now = time.monotonic()
            if now > end:
                raise Failed(f"{address(n)}: alert {alerted}, blocked on {sorted(blocked)}")
            if alerted is None and f"event=alert msg=\"{address(n)} " in log(first):
                alerted = now
            for router in others:
                if router.name not in blocked and re.search(rf'msg="{address(n)} blocked on the word of peer .*: order of r1"', log(router)):
                    blocked[router.name] = now
            time.sleep(0.005)
        return max(blocked.values()) - (alerted or min(blocked.values()))
    finally:
        guesser.kill()
        guesser.wait()


def nodes(router):
    found = subprocess.run(["ip", "netns", "pids", router.ns], capture_output=True, text=True, check=True).stdout.split()
    is_node = []
    for pid in found:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if b"p2p-node" in file.read():
                is_node.append(int(pid))
    return is_node


def agree(fleet, judge):
    """Three peers, each its own group, name an address that no packet came from: two are not enough for one in mode preempt."""
    for n, router in enumerate(fleet.routers[1:4], 1):
        judge.run(f"slips peers trust {router.name} --weight 1 && slips peers follow {router.name} slow --policy score")
        router.run(f"echo {ACCUSED} >slow-{router.name}.txt && slips peers publish slow slow-{router.name}.txt")

        def heard():
            told = json.loads(judge.run(f"slips peers reports {ACCUSED} --json")[1])
            return told.get("groups") == n or told

        until(f"{n} say so", heard)
        if n < 3 and ACCUSED in judge.blocked():
            raise Failed(f"{n} were enough")
    until("three groups are enough", lambda: ACCUSED in judge.blocked() or judge.blocked())
    until("the journal names them", lambda: f'msg="{ACCUSED} blocked on the word of peer several ' in log(judge) or log(judge)[-500:])

    liar = fleet.routers[1]
    judge.run(f"slips peers trust {liar.name} --weight 0.6")
    liar.run(f"echo {CANARY} >>slow-{liar.name}.txt && slips peers publish slow slow-{liar.name}.txt")
    until("who names a canary is in quarantine", lambda: [p["name"] for p in judge.peers() if p["quarantined"]] == [liar.name] or judge.peers())


def story(fleet):
    first, early, late = fleet.routers[0], fleet.routers[:4], fleet.routers[4]
    for router in early:
        router.start()
    until("four are connected", lambda: fleet.connected(early))
    took = sorted(attack(fleet, n) for n in range(ATTACKS))
    print(f"{ATTACKS} attacks: from the alert to the last block p50 {took[len(took) // 2]:.3f} s, p99 {took[int(len(took) * 0.99)]:.3f} s")
    if took[int(len(took) * 0.99)] > 2:
        raise Failed(f"blocks came late: {took}")
    first.run(f"slips unblock {address(0)}")
    until("the unblock is heard", lambda: all(address(0) not in router.blocked() for router in early))
    expected = {address(n) for n in range(1, ATTACKS)}
    with open(os.path.join(late.root, "etc", "slips.yaml"), "a", encoding="utf-8") as file:
        file.write(f"  mode: preempt\n  canaries: [{CANARY}]\n")
    late.start()
    began = time.monotonic()
    until("a late joiner has the list", lambda: expected <= late.blocked() or late.blocked())
    joined = time.monotonic() - began
    if joined > 5 or address(0) in late.blocked():
        raise Failed(f"a late joiner had the list after {joined:.1f} s: {late.blocked()}")
    agree(fleet, late)
    second = early[1]
    before, killed = second.blocked(), nodes(second)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    if second.blocked() != before or not killed:
        raise Failed("the death of a node changed blocks")
    until("the node came back", lambda: nodes(second) not in ([], killed) and fleet.connected(fleet.routers) is True)
    sh("ip", "-n", fleet.switch, "link", "set", "port4", "down")
    cut = early[3]
    fleet.routers.remove(cut)
    attack(fleet, ATTACKS)
    fleet.routers.append(cut)
    time.sleep(PARTITION)
    if address(ATTACKS) in cut.blocked():
        raise Failed("the partition is none")
    sh("ip", "-n", fleet.switch, "link", "set", "port4", "up")
    began = time.monotonic()
    until("the partition is healed", lambda: address(ATTACKS) in cut.blocked())
    healed = time.monotonic() - began
    if healed > 30:
        raise Failed(f"after a partition of {PARTITION} s it took {healed:.1f} s")
    if not cut.blocked():
        raise Failed("nothing is blocked")
    cut.run("slips peers remove r1")
    until("who is removed has nothing blocked any more", lambda: cut.blocked() == set() or cut.blocked())
    print(f"a late joiner has the list after {joined:.1f} s; {healed:.1f} s after a partition of {PARTITION:.0f} s all are equal")


def main(slips):
    fleet = Fleet(slips)
    server = None
    try:
        fleet.up()
        server = subprocess.Popen(["ip", "netns", "exec", fleet.routers[0].ns, sys.executable, handbook.__file__, "serve"])
        story(fleet)
        return 0
    except (Failed, subprocess.SubprocessError) as error:
        print(error)
        for router in fleet.routers:
            with contextlib.suppress(OSError):
                print(f"--- {router.name}\n{log(router)[-2000:]}")
        return 1
    finally:
        if server:
            server.kill()
            server.wait()
        fleet.down()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
