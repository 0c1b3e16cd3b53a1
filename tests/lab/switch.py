"""Routers on one switch, each with a daemon of its own, and the outside behind some of them."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import handbook
from handbook import Failed, MountPoints, Router, sh, until


class Switch:
    """`names` are the routers; `wan` are those behind which the outside is, too."""

    def __init__(self, slips, what, names, wan):
        self.tag, self.dir = f"slips-{what}-{os.getpid()}", tempfile.mkdtemp(prefix=f"slips-{what}-")
        self.bin, self.desk = os.path.join(self.dir, "bin"), os.path.join(self.dir, "desk")
        for path in (self.bin, self.desk):
            os.makedirs(path)
        self.slips = os.path.join(self.bin, "slips")
        os.symlink(os.path.abspath(slips), self.slips)
        self.mounts = MountPoints()
        self.switch, self.outside = f"{self.tag}-switch", f"{self.tag}-outside"
        self.names, self.wan, self.routers, self.started = names, wan, {}, []

    def up(self):
        for ns in (self.switch, self.outside):
            sh("ip", "netns", "add", ns)
        sh("ip", "-n", self.switch, "link", "add", "br0", "up", "type", "bridge")
        sh("ip", "-n", self.outside, "link", "set", "lo", "up")
        for n, name in enumerate(self.names, 1):
            router = Router(name, self, ["wan0", "peer0"] if name in self.wan else ["peer0"])
            self.routers[name] = router
            # An address that could be on the internet: where a router is reached is told to peers only if it is public.
            router.address, router.outer = f"192.0.2.{n}", f"203.0.113.{4 * n + 2}"
            sh("ip", "-n", router.ns, "link", "add", "peer0", "type", "veth", "peer", "name", f"port{n}", "netns", self.switch)
            sh("ip", "-n", self.switch, "link", "set", f"port{n}", "master", "br0", "up")
            sh("ip", "-n", router.ns, "address", "add", f"{router.address}/24", "dev", "peer0")
            sh("ip", "-n", router.ns, "link", "set", "peer0", "up")
            if name in self.wan:
                out, gateway = f"out{n}", f"203.0.113.{4 * n + 1}"
                sh("ip", "-n", router.ns, "link", "add", "wan0", "type", "veth", "peer", "name", out, "netns", self.outside)
                sh("ip", "-n", router.ns, "address", "add", f"{router.outer}/30", "dev", "wan0")
                sh("ip", "-n", self.outside, "address", "add", f"{gateway}/30", "dev", out)
                sh("ip", "-n", router.ns, "link", "set", "wan0", "up")
                sh("ip", "-n", self.outside, "link", "set", out, "up")
                sh("ip", "-n", router.ns, "route", "add", "default", "via", gateway)

    def port(self, name, state):
        """Cuts a router off the others, or lets it back."""
        sh("ip", "-n", self.switch, "link", "set", f"port{self.names.index(name) + 1}", state)

    def attacker(self, address):
        sh("ip", "-n", self.outside, "address", "add", f"{address}/32", "dev", "lo")

    def in_outside(self, call):
        """Runs a line of Python with the handbook's functions outside."""
        program = f"import handbook; {call}"
        here = os.path.dirname(os.path.abspath(__file__))
        process = subprocess.Popen(["ip", "netns", "exec", self.outside, sys.executable, "-c", program], cwd=here)
        self.started.append(process)
        return process

    def serve(self, name, ports=(110,)):
        """A mail server on a router that believes nobody."""
        words = [sys.executable, handbook.__file__, "serve", *map(str, ports)]
        self.started.append(subprocess.Popen(["ip", "netns", "exec", self.routers[name].ns, *words]))

    def at_desk(self, *words):
        """What is done on no router: with the key of an organisation."""
        done = subprocess.run([self.slips, *words, "--json"], cwd=self.desk, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"slips {' '.join(words)}: {done.stderr}")
        return json.loads(done.stdout)

    def organisation(self, name, roles):
        """Makes an organisation and signs its roster; the file."""
        self.at_desk("peers", "org", "init", name, "--key", f"{name}.key")
        members = "".join(f"  - {{id: {self.routers[who].id}, role: {role}, name: {who}}}\n" for who, role in roles.items())
        with open(os.path.join(self.desk, f"{name}.yaml"), "w", encoding="utf-8") as file:
            file.write(f"members:\n{members}revoked: []\n")
        self.at_desk("peers", "org", "sign", "--key", f"{name}.key", "--members", f"{name}.yaml", "-o", f"{name}.roster")
        return f"{name}.roster"

    def one_network(self):
        """Gives all of them an identity and the key of one network."""
        first, *others = self.routers.values()
        for router in self.routers.values():
            router.id = json.loads(router.run("slips peers id --json")[1])["id"]
        first.run("slips peers network new")
        key = first.run("slips peers network show")[1].strip().splitlines()[-1]
        for router in others:
            router.run(f"echo {key} | slips peers network set")

    def down(self):
        for process in self.started:
            process.kill()
            process.wait()
        for router in self.routers.values():
            router.stop()
        for ns in (self.switch, self.outside):
            subprocess.run(["ip", "netns", "delete", ns], check=False, stderr=subprocess.DEVNULL)
        self.mounts.release()
        shutil.rmtree(self.dir, ignore_errors=True)


def log(router):
    with open(os.path.join(router.root, "log"), errors="replace", encoding="utf-8") as file:
        return file.read()


def configure(router, lines):
    """Adds lines to the end of a router's slips.yaml, where its section p2p stands."""
    with open(os.path.join(router.root, "etc", "slips.yaml"), "a", encoding="utf-8") as file:
        file.write(lines)


def connected(routers):
    """Whether each of them has a connection to each of the others."""
    for router in routers:
        up = {peer["id"] for peer in router.peers() if peer["connected"]}
        missing = [other.name for other in routers if other is not router and other.id not in up]
        if missing:
            return f"{router.name} has no connection to {missing}"
    return True


def node_of(router):
    """The process that talks with peers."""
    for pid in subprocess.run(["ip", "netns", "pids", router.ns], capture_output=True, text=True, check=True).stdout.split():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if b"p2p-node" in file.read():
                return int(pid)
    return None


def play(stage, story):
    """Sets the stage, plays, and clears it away; the exit code."""
    try:
        stage.up()
        story(stage)
        return 0
    except (Failed, subprocess.SubprocessError) as error:
        print(error)
        for router in stage.routers.values():
            with contextlib.suppress(OSError):
                print(f"--- {router.name}\n{log(router)[-2000:]}")
        return 1
    finally:
        stage.down()
