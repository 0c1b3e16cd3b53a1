#!/usr/bin/env python3
"""Does what docs/peers.md tells two administrators to do, literally: the commands of its blocks `sh gate` and `sh attic`, in their order,
on two routers in network namespaces with real daemons. Beside the commands there is only an attacker, and what is looked at after each.

usage: handbook.py SLIPS DOCS/PEERS.MD; root. The exit code is 0, 1 with a reason, or 2 when something is missing.
"""

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ATTACKER, LISTED = "198.51.100.66", "45.83.64.9"
DEADLINE = 60
# One shell for each command: sudo is not needed, and the journal of a daemon that systemd did not start is its output.
PRELUDE = """
set -e
mount --bind {root}/etc /etc/slips
mount --bind {root}/lib /var/lib/slips
sudo() {{ "$@"; }}
journalctl() {{ cat {root}/log; }}
PATH={bin}:/usr/sbin:/sbin:$PATH
cd {desk}
"""


class Failed(Exception):
    """What went wrong."""


def sh(*words):
    subprocess.run(words, check=True)


def until(what, look):
    """Looks again and again, at most DEADLINE seconds; the last thing that it saw is told."""
    end, seen = time.monotonic() + DEADLINE, None
    while time.monotonic() < end:
        seen = look()
        if seen is True:
            return
        time.sleep(0.1)
    raise Failed(f"{what}: not within {DEADLINE} s; last seen: {seen}")


class Router:
    """A namespace with a daemon."""

    def __init__(self, name, stage, addresses):
        self.name, self.ns, self.root = name, f"{stage.tag}-{name}", os.path.join(stage.dir, name)
        self.prelude = PRELUDE.format(root=self.root, bin=stage.bin, desk=stage.desk)
        for part in ("etc", "lib"):
            os.makedirs(os.path.join(self.root, part))
        with open(os.path.join(self.root, "etc", "slips.yaml"), "w", encoding="utf-8") as file:
            file.write(f"interfaces: [{', '.join(addresses)}]\np2p:\n  name: {name}\n")
        sh("ip", "netns", "add", self.ns)
        sh("ip", "-n", self.ns, "link", "set", "lo", "up")
        self.daemon = None

    def start(self):
        # Its own output file, which `journalctl` shows.
        with open(os.path.join(self.root, "log"), "wb") as log:
            script = self.prelude + "exec slips run -c /etc/slips/slips.yaml"
            self.daemon = subprocess.Popen(
                ["ip", "netns", "exec", self.ns, "bash", "-c", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(f"the daemon on {self.name}", lambda: self.run("slips firewall status --json", check=False)[0] == 0)

    def run(self, script, check=True, answer=None):
        """Runs a script; `answer` is typed at a terminal. Gives the exit code and all output."""
        command = ["ip", "netns", "exec", self.ns, "bash", "-c", self.prelude + script]
        with contextlib.ExitStack() as stack:
            stdin = subprocess.DEVNULL
            if answer is not None:
                ours, stdin = pty.openpty()
                stack.callback(os.close, ours)
                stack.callback(os.close, stdin)
                os.write(ours, answer.encode())
            done = subprocess.run(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        if check and done.returncode != 0:
            raise Failed(f"{self.name}: `{script.strip()}` ended with {done.returncode}: {done.stdout}")
        return done.returncode, done.stdout

    def peers(self):
        return json.loads(self.run("slips peers list --json")[1])["peers"]

    def blocked(self):
        return {line["net"].split("/")[0] for line in json.loads(self.run("slips firewall list --json")[1])}

    def stop(self):
        for pid in subprocess.run(["ip", "netns", "pids", self.ns], capture_output=True, text=True).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if self.daemon:
            self.daemon.wait()
        subprocess.run(["ip", "netns", "delete", self.ns], check=False)


class MountPoints:
    """Directories of the machine over which routers mount what each has for itself. Runs may stand side by side: the last to go removes
    what they made, under nobody's feet."""

    PATHS = ("/etc/slips", "/var/lib/slips")

    def __init__(self):
        # Names what was made. Whoever has use of it shares the lock; who has it alone may remove.
        self.made = open("/run/slips-lab.made", "a+", encoding="utf-8")
        fcntl.flock(self.made, fcntl.LOCK_SH)
        for path in self.PATHS:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)
                self.made.write(path + "\n")
        self.made.flush()

    def release(self):
        with self.made, contextlib.suppress(BlockingIOError):
            fcntl.flock(self.made, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.made.seek(0)
            for path in self.made.read().split():
                with contextlib.suppress(OSError):
                    os.rmdir(path)
            self.made.truncate(0)


class Stage:
    """gate and attic on one link, and behind gate's other link the attacker."""

    def __init__(self, slips):
        self.tag, self.dir = f"slips-book-{os.getpid()}", tempfile.mkdtemp(prefix="slips-book-")
        self.bin, self.desk = os.path.join(self.dir, "bin"), os.path.join(self.dir, "desk")
        os.makedirs(self.bin)
        os.makedirs(self.desk)
        os.symlink(os.path.abspath(slips), os.path.join(self.bin, "slips"))
        self.mounts = MountPoints()
        self.routers, self.outside = {}, f"{self.tag}-outside"
        self.attacks = None

    def up(self):
        self.routers["gate"] = Router("gate", self, ["wan0", "peer0"])
        self.routers["attic"] = Router("attic", self, ["peer0"])
        gate, attic = (self.routers[name].ns for name in ("gate", "attic"))
        sh("ip", "netns", "add", self.outside)
        sh("ip", "-n", gate, "link", "add", "peer0", "type", "veth", "peer", "name", "peer0", "netns", attic)
        sh("ip", "-n", gate, "link", "add", "wan0", "type", "veth", "peer", "name", "out0", "netns", self.outside)
        for ns, device, address in (
            (gate, "peer0", "192.168.9.1/24"),
            (attic, "peer0", "192.168.9.2/24"),
            (gate, "wan0", "203.0.113.2/30"),
            (self.outside, "out0", "203.0.113.1/30"),
            (self.outside, "lo", f"{ATTACKER}/32"),
        ):
            sh("ip", "-n", ns, "address", "add", address, "dev", device)
            sh("ip", "-n", ns, "link", "set", device, "up")
        sh("ip", "-n", gate, "route", "add", "default", "via", "203.0.113.1")
        for router in self.routers.values():
            router.start()

    def attack(self):
        """Guesses passwords at a mail server on gate until gate blocks the guesser."""
        server = subprocess.Popen(["ip", "netns", "exec", self.routers["gate"].ns, sys.executable, __file__, "serve"])
        guesser = subprocess.Popen(["ip", "netns", "exec", self.outside, sys.executable, __file__, "guess"])
        try:
            until("the attacker is blocked on gate", lambda: ATTACKER in self.routers["gate"].blocked() or self.routers["gate"].blocked())
        finally:
            for process in (guesser, server):
                process.kill()
                process.wait()

    def down(self):
        for router in self.routers.values():
            router.stop()
        subprocess.run(["ip", "netns", "delete", self.outside], check=False, stderr=subprocess.DEVNULL)
        self.mounts.release()
        shutil.rmtree(self.dir, ignore_errors=True)


def serve(ports=(110,)):
    """A mail server that believes nobody."""

    def talk(client):
        # Who guesses goes when it likes; then closing fails, too.
        with contextlib.suppress(OSError):
            with client, client.makefile("rwb") as lines:
                lines.write(b"+OK ready\r\n")
                lines.flush()
                for line in lines:
                    lines.write(b"-ERR no such user or password\r\n" if line[:4].upper() == b"PASS" else b"+OK\r\n")
                    lines.flush()

    def listen(port):
        with socket.create_server(("0.0.0.0", port)) as server:
            while True:
                threading.Thread(target=talk, args=[server.accept()[0]], daemon=True).start()

    for port in ports[1:]:
        threading.Thread(target=listen, args=[port], daemon=True).start()
    listen(ports[0])


def three_guesses(attacker, server, port):
    """Tries three passwords in a connection, as guessing tools do; whether all were refused."""
    with contextlib.suppress(OSError):
        with socket.create_connection((server, port), timeout=2, source_address=(attacker, 0)) as connection:
            lines = connection.makefile("rwb")
            lines.readline()
            for n in range(3):
                for word in (b"USER ben\r\n", b"PASS guess%d\r\n" % n):
                    lines.write(word)
                    lines.flush()
                    answer = lines.readline()
            return answer.startswith(b"-ERR")
    return False


def guess(attacker=ATTACKER, server="203.0.113.2", port=110):
    """Tries one password after another, without end."""
    while True:
        three_guesses(attacker, server, port)


WORDS = re.compile(r"^ {4}([a-z]+(?: [a-z]+){5})$", re.MULTILINE)


class Story:
    """The commands, and what must be true after them."""

    def __init__(self, stage):
        self.stage, self.gate, self.attic = stage, stage.routers["gate"], stage.routers["attic"]
        self.words = set()

    def connected(self, router, name):
        return [peer["name"] for peer in router.peers() if peer["connected"]] == [name] or router.peers()

    def before(self, commands):
        if "peers reports" in commands:
            self.stage.attack()
            until("attic blocks whom gate blocks", lambda: ATTACKER in self.attic.blocked() or self.attic.blocked())

    def after(self, commands, told):
        if "peers join" in commands or "peers confirm" in commands:
            self.words.update(WORDS.findall(told))
            if len(self.words) != 1:
                raise Failed(f"the words differ, or there are none: {self.words} in {told}")
        if "peers join" in commands:
            until("gate has attic", lambda: self.connected(self.gate, "attic"))
            until("attic has gate", lambda: self.connected(self.attic, "gate"))
        if "peers confirm gate" in commands:
            self.must([peer["weight"] for router in (self.gate, self.attic) for peer in router.peers()], [0.6, 0.6])
        if "peers reports" in commands:
            # The report, the block, and the journal's word of who asked for it.
            if told.count(ATTACKER) < 3 or not re.search(r"gate[^\n]*orders a block|gate[^\n]*" + re.escape(ATTACKER), told):
                raise Failed(f"attic does not tell of the attacker: {told}")
        if "peers follow" in commands:
            until("gate blocks what attic lists", lambda: LISTED in self.gate.blocked() or self.gate.blocked())
        if "peers leave" in commands:
            until("attic is gone", lambda: not any(peer["connected"] for peer in self.gate.peers()))
            until("attic obeys no more", lambda: ATTACKER not in self.attic.blocked())
        if "peers remove" in commands:
            self.must(self.gate.peers(), [])
            until("the list is followed no more", lambda: LISTED not in self.gate.blocked())

    @staticmethod
    def must(is_, should):
        if is_ != should:
            raise Failed(f"{is_} instead of {should}")

    def run(self, doc):
        blocks = re.findall(r"^```sh (gate|attic)\n(.*?)^```$", doc, re.MULTILINE | re.DOTALL)
        if len(blocks) < 10:
            raise Failed(f"only {len(blocks)} blocks of commands in the handbook")
        for where, commands in blocks:
            self.before(commands)
            answer = "y\n" if "peers confirm" in commands else None
            told = self.stage.routers[where].run(commands, answer=answer)[1]
            self.after(commands, told)
        return len(blocks)


def main(slips, doc):
    if os.geteuid() != 0:
        print("needs root")
        return 2
    stage = Stage(slips)
    try:
        with open(doc, encoding="utf-8") as file:
            text = file.read()
        stage.up()
        print(f"{Story(stage).run(text)} blocks of commands")
        return 0
    except (Failed, subprocess.SubprocessError) as error:
        print(error)
        for router in stage.routers.values():
            with contextlib.suppress(OSError), open(os.path.join(router.root, "log"), errors="replace") as log:
                print(f"--- {router.name}\n{log.read()[-3000:]}")
        return 1
    finally:
        stage.down()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve([int(port) for port in sys.argv[2:]] or (110,))
    elif sys.argv[1:] == ["guess"]:
        guess()
    else:
        sys.exit(main(*sys.argv[1:]))
