#!/usr/bin/env python3
"""Two routers and one Redis: each sees the other, what one blocks for all the other blocks, and one takes the place of the other when that
is killed, without an alert that is told twice.

usage: standby.py SLIPS [PART…]; root. The exit code is 0 with the figures, or 1 with a reason.

    attackers 198.51.100.0/24 ── 203.0.113.1 ─┬─ 203.0.113.2 router a
                                              └─ 203.0.113.3 router b
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

DEADLINE = float(os.environ.get("SLIPS_DEADLINE", "60"))
SECRET = "0123456789abcdef0123"
OUT = "203.0.113.1"
KNOCK = """
import socket, sys
source, server, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for port in range(first, last):
    with socket.socket() as call:
        call.settimeout(0.3)
        call.bind((source, 0))
        call.connect_ex((server, port))
"""


class Failed(Exception):
    """The test fails, and why."""


def sh(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True)


def until(what, look, deadline=DEADLINE):
    """Asks again and again until it is so; seconds that it took."""
    began = time.monotonic()
    while True:
        got = look()
        if got is True:
            return time.monotonic() - began
        if time.monotonic() - began > deadline:
            raise Failed(f"{what}: not within {deadline:.0f} s: {got}")
        time.sleep(0.02)


class Router:
    """A namespace with a daemon."""

    def __init__(self, stage, name, address):
        self.stage, self.name, self.address = stage, name, address
        self.ns, self.dir = f"{stage.tag}-{name}", os.path.join(stage.dir, name)
        self.daemon, self.runs = None, 0
        os.makedirs(self.dir)

    def up(self):
        sh("ip", "netns", "add", self.ns)
        sh("ip", "-n", self.ns, "link", "add", "wan0", "type", "veth", "peer", "name", f"port-{self.name}", "netns", self.stage.outside)
        sh("ip", "-n", self.stage.outside, "link", "set", f"port-{self.name}", "master", "br0", "up")
        sh("ip", "-n", self.ns, "address", "add", f"{self.address}/24", "dev", "wan0")
        for link in ("wan0", "lo"):
            sh("ip", "-n", self.ns, "link", "set", link, "up")
        sh("ip", "-n", self.ns, "route", "add", "default", "via", OUT)

    def start(self, who, redis="", never=""):
        """Starts the daemon under this name, and waits until it watches."""
        self.runs += 1
        config = os.path.join(self.dir, "slips.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(
                f"""
parameters: {{time_window_width: 1d}}
detection: {{evidence_detection_threshold: {1 / 1440}}}
threatintelligence: {{local_threat_intelligence_files: {self.dir}}}
firewall: {{never_block: [{never}]}}
output: {{directory: {self.dir}/files}}
redis:
  url: unix://{self.stage.redis}
  name: {who}
  shared_secret_file: {self.stage.dir}/secret
{redis}
"""
            )
        with open(self.log_file(), "wb") as log:
            self.daemon = subprocess.Popen(
                ["ip", "netns", "exec", self.ns, self.stage.slips, "run", "-c", config, "-i", "wan0", "--control", self.control()],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if not name.startswith("SSH_")},
            )
        until(f"{self.name} answers", lambda: self.ask("/v1/status") is not None or self.log())
        return self

    def control(self):
        return os.path.join(self.dir, "control.sock")

    def log_file(self):
        return os.path.join(self.dir, f"log-{self.runs}")

    def log(self):
        with open(self.log_file(), errors="replace", encoding="utf-8") as file:
            return file.read()

    def logs(self):
        return "".join(open(os.path.join(self.dir, f"log-{n}"), errors="replace", encoding="utf-8").read() for n in range(1, self.runs + 1))

    def alerts(self, whom=r"\S+"):
        return len(re.findall(rf'event=alert msg="{whom} is an attacker', self.logs()))

    def ids(self):
        """Identities of the alerts in its journal."""
        return re.findall(r"event=alert .*?alert_id=\"?([0-9a-f-]{36})", self.logs())

    def ask(self, path):
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as call:
            call.settimeout(5)
            call.connect(self.control())
            call.sendall(f"GET {path} HTTP/1.1\r\nHost: slips\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: call.recv(65536), b""))
            head, _, body = answer.partition(b"\r\n\r\n")
            return json.loads(body) if b" 200 " in head.split(b"\r\n", 1)[0] else None
        return None

    def slips(self, *words):
        return sh("ip", "netns", "exec", self.ns, self.stage.slips, *words, check=False)

    def blocks(self, address):
        """Whether the kernel does."""
        told = self.slips("firewall", "list").stdout
        return address in told or f"{address} is not among {told.split()}"

    def fleet(self):
        told = self.ask("/v1/fleet") or {"routers": []}
        return {(router["router"], router["role"]): router["state"] for router in told["routers"]}

    def end(self, how=signal.SIGTERM):
        # The daemon is what `ip netns exec` has become.
        self.daemon.send_signal(how)
        self.daemon.wait()


class Stage:
    def __init__(self, slips):
        self.slips, self.tag = os.path.abspath(slips), f"slips-standby-{os.getpid()}"
        self.dir, self.outside = tempfile.mkdtemp(prefix="slips-standby-"), f"{self.tag}-out"
        self.redis, self.server = os.path.join(self.dir, "redis.sock"), None
        self.a, self.b = Router(self, "a", "203.0.113.2"), Router(self, "b", "203.0.113.3")

    def up(self):
        sh("ip", "netns", "add", self.outside)
        sh("ip", "-n", self.outside, "link", "add", "br0", "up", "type", "bridge")
        sh("ip", "-n", self.outside, "link", "set", "lo", "up")
        sh("ip", "-n", self.outside, "address", "add", f"{OUT}/24", "dev", "br0")
        for router in (self.a, self.b):
            router.up()
        path = os.path.join(self.dir, "secret")
        with open(path, "w", encoding="ascii") as file:
            file.write(SECRET + "\n")
        os.chmod(path, 0o600)
        self.redis_up()

    def redis_up(self):
        words = ["redis-server", "--port", "0", "--unixsocket", self.redis, "--save", "", "--dir", self.dir]
        self.server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("redis answers", lambda: self.cli("ping") == "PONG")

    def cli(self, *words):
        return sh("redis-cli", "-s", self.redis, *words, check=False).stdout.strip()

    def scan(self, source, router, ports):
        """Knocks at so many closed ports of a router."""
        sh("ip", "-n", self.outside, "address", "replace", f"{source}/32", "dev", "lo")
        sh("ip", "netns", "exec", self.outside, sys.executable, "-c", KNOCK, source, router.address, "2000", str(2000 + ports))

    def down(self):
        for process in (self.a.daemon, self.b.daemon, self.server):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        for ns in (self.a.ns, self.b.ns, self.outside):
            sh("ip", "netns", "delete", ns, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


def fleet_view(stage):
    """Each sees both; one that is gone is shown as such; what makes no sense is."""
    a, b = stage.a.start("gw1"), stage.b.start("gw2")
    both = {("gw1", "active"): "up", ("gw2", "active"): "up"}
    for router in (a, b):
        until("both are up", lambda router=router: router.fleet() == both or router.fleet())
    stage.cli("set", "slips:evil:member_active", '{"version":1,"router":"\x1b[2J"}')
    stage.cli("zadd", "slips:routers", str(int(time.time())), "evil", str(int(time.time())), "\x1b[2J")
    until("nonsense is shown as such", lambda: (a.ask("/v1/fleet") or {}).get("unread") == 2 or a.ask("/v1/fleet"))
    stage.cli("del", "slips:evil:member_active")
    stage.cli("zrem", "slips:routers", "evil", "\x1b[2J")
    b.end(signal.SIGKILL)
    until("the dead one is late", lambda: a.fleet().get(("gw2", "active")) == "late" or a.fleet())
    until("and then gone", lambda: a.fleet().get(("gw2", "active")) == "gone" or a.fleet())
    a.end()
    print("two routers see each other; one that is killed is late, then gone")


def shared(stage):
    """What one blocks for all the others block, under their own rules, and no longer than it does."""
    one, spared, forged, second, third = (f"198.51.100.{n}" for n in range(11, 16))
    stage.cli("flushall")
    a = stage.a.start("gw1", "  fleet: {share: hand}")
    b = stage.b.start("gw2", "  fleet: {share: proven, take: true, longest: 10m}", spared)
    until("both are up", lambda: len(b.fleet()) == 2 or b.fleet())
    for whom in (one, spared):
        if a.slips("block", whom, "--for", "1h", "--why", "seen at night").returncode != 0:
            raise Failed(f"{whom} cannot be blocked by hand")
    took = until("the other one blocks it", lambda: b.blocks(one))
    until("the other one says who is never blocked", lambda: (f"{spared} is not blocked on the word of fleet gw1" in b.log()) or b.log())
    if b.blocks(spared) is True:
        raise Failed("who is never blocked is blocked on the word of another router")
    if "on the word of fleet gw1" not in b.log() or "seen at night" not in b.log():
        raise Failed(f"nobody says on whose word: {b.log()}")
    told = json.loads(b.slips("firewall", "explain", one, "--json").stdout or "{}")
    if "fleet gw1" not in json.dumps(told):
        raise Failed(f"the explanation does not say on whose word: {told}")
    left = max((int(block.get("seconds_left", 0)) for block in json.loads(b.slips("firewall", "list", "--json").stdout) if one in block["net"]), default=0)
    if not 0 < left <= 600:
        raise Failed(f"it is taken over for {left} s, not ten minutes at most")
    # Somebody who reaches Redis but has no secret changes a word, and then adds one.
    def forge(net):
        told = {"version": 1, "net": net, "until": int(time.time()) + 600, "why": "", "alert": "", "signature": "00" * 32}
        stage.cli("hset", "slips:gw1:fleet_blocks", net, json.dumps(told))

    forge(spared)
    a.slips("block", second, "--for", "1h")
    until("the next one is taken over", lambda: b.blocks(second))
    until("what is not signed is counted", lambda: (b.ask("/v1/fleet") or {}).get("refused", 0) > 0 or b.ask("/v1/fleet"))
    forge(forged)
    a.slips("block", third, "--for", "1h")
    until("another one is taken over", lambda: b.blocks(third))
    if b.blocks(forged) is True:
        raise Failed("a block without a signature is believed")
    if stage.cli("hexists", "slips:gw1:fleet_blocks", forged) != "0":
        raise Failed("what the router did not tell stays among what it tells")
    # It does not come back to where it is from, and both know it after a restart.
    # The list of what it shares is there all the same.
    if set(stage.cli("hkeys", "slips:gw2:fleet_blocks").split()) - {"list"}:
        raise Failed("what was taken over is told again")
    stage.server.kill()
    stage.server.wait()
    b.end()
    a.slips("unblock", one)
    stage.redis_up()
    b.start("gw2", "  fleet: {take: true}", spared)
    until("what was lifted meanwhile is lifted", lambda: b.blocks(one) is not True)
    if b.blocks(second) is not True:
        raise Failed("a restart forgot what was taken over")
    a.slips("unblock", second)
    lifted = until("an unblock travels, too", lambda: b.blocks(second) is not True)
    for router in (a, b):
        router.end()
    print(f"a block by hand is taken over within {took:.2f} s, its end within {lifted:.2f} s")


def beat(stage):
    return json.loads(stage.cli("get", "slips:gw1:lease") or '{"beat": 0}')["beat"]


def goes_on(router, whom):
    """Whether what was evident before is seen again."""
    with open(os.path.join(router.dir, "files", "alerts.json"), encoding="utf-8") as file:
        told = [json.loads(line) for line in file if line.endswith("\n")]
    notes = [json.loads(message["Note"]) for message in told if message["Source"][0].get("IP") == whom and message["Status"] != "Incident"]
    return len({note.get("last_seen") for note in notes}) > 1 or notes


def standby(stage):
    whole, half, later = "198.51.100.1", "198.51.100.2", "198.51.100.3"
    stage.cli("flushall")
    for router in (stage.a, stage.b):
        shutil.rmtree(os.path.join(router.dir, "files"), ignore_errors=True)
    a = stage.a.start("gw1")
    b = stage.b.start("gw1", "  role: standby")
    both = {("gw1", "active"): "up", ("gw1", "standby"): "up"}
    until("both are up", lambda: (a.fleet() == b.fleet() == both) or b.fleet())
    # What the standby sees itself it keeps to itself.
    stage.scan(later, b, 120)
    stage.scan(whole, a, 120)
    until("the attacker is alerted on the active", lambda: a.alerts(whole) == 1 or a.log())
    until("and blocked", lambda: a.blocks(whole))
    stage.scan(half, a, 40)
    until(
        "half of an alert is in the mirror",
        lambda: any(half in name for name in stage.cli("zrange", "slips:gw1:accumulated_threat_levels", "0", "-1").split()) or "no",
    )
    until("the block is in the mirror", lambda: whole in stage.cli("zrange", "slips:gw1:blocked_ips", "0", "-1") or "no")
    if b.alerts() or b.blocks(whole) is True:
        raise Failed(f"the standby alerts or blocks: {b.log()}")
    # It does not begin to act because Redis is gone for a while.
    stage.server.send_signal(signal.SIGSTOP)
    time.sleep(6)
    stage.server.send_signal(signal.SIGCONT)
    until("both are up again", lambda: (a.fleet() == b.fleet() == both) or b.fleet())
    if "acts from now on" in b.log():
        raise Failed(f"the standby took the place of one that lives: {b.log()}")
    # After that who acts is heard again before he is believed dead at once.
    heard = beat(stage)
    until("the active speaks again", lambda: beat(stage) >= heard + 3 or beat(stage))
    a.end(signal.SIGKILL)
    took = until("the standby blocks whom the other blocked", lambda: b.blocks(whole), 20)
    until("it says so", lambda: "acts from now on" in b.log() or b.log())
    until("what it saw itself is told", lambda: b.alerts(later) == 1 or b.log())
    stage.scan(half, b, 40)
    until("half and half are one alert", lambda: b.alerts(half) == 1 or b.log())
    # The address of the router moves with its role: what the first alerted goes on, and is no other evidence.
    for ns, change in ((a.ns, "del"), (b.ns, "add")):
        sh("ip", "-n", ns, "address", change, f"{a.address}/24", "dev", "wan0")
    sh("ip", "-n", stage.outside, "neighbour", "flush", "all")
    stage.scan(whole, a, 120)
    stage.scan(later, b, 120)
    until("the scan that goes on is known", lambda: goes_on(b, whole))
    # The old one comes back.
    a.start("gw1")
    until("the old one stands by", lambda: "stands by" in a.log() or a.log())
    until("each has its role", lambda: (a.fleet() == both) or a.fleet())
    if a.blocks(whole) is True:
        raise Failed("the old one still blocks")
    # One that ends as it should is followed at once.
    began = time.monotonic()
    b.end()
    until("its blocks are taken back", lambda: a.blocks(half))
    orderly = time.monotonic() - began
    told = {whole: (1, 0), half: (0, 1), later: (0, 1)}
    for attacker, expected in told.items():
        if (a.alerts(attacker), b.alerts(attacker)) != expected:
            raise Failed(f"{attacker}: alerts on a and b {(a.alerts(attacker), b.alerts(attacker))}, not {expected}: {a.logs()}{b.logs()}")
    ids = a.ids() + b.ids()
    if len(ids) != 3 or len(set(ids)) != 3:
        raise Failed(f"identities of alerts: {ids}")
    # Who dies when Redis was away just before is followed as soon as any other.
    b.start("gw1", "  role: standby")
    until("both are up once more", lambda: (a.fleet() == b.fleet() == both) or b.fleet())
    # Who was never heard is given ten seconds, and not three.
    heard = beat(stage)
    until("the new standby hears the active", lambda: beat(stage) >= heard + 3 or beat(stage))
    stage.server.send_signal(signal.SIGSTOP)
    time.sleep(6)
    stage.server.send_signal(signal.SIGCONT)
    a.end(signal.SIGKILL)
    after = until("the standby blocks after an outage, too", lambda: b.blocks(half), 20)
    b.end()
    for what, seconds in (("", took), (" after an outage", after)):
        if seconds > 5:
            raise Failed(f"the standby took {seconds:.1f} s{what}")
    told = re.search(r"as number 2: ([^\"]*)", b.logs())
    print(f"from kill -9 to the blocks in the kernel of the standby {took:.2f} s; after an outage of Redis of 6 s {after:.2f} s; orderly {orderly:.2f} s; {told and told[1]}")


def copied(stage):
    """A standby whose disk is a copy of the first's takes no place of one that lives, and has an identity of its own from then on."""
    stage.cli("flushall")
    files = [os.path.join(router.dir, "files") for router in (stage.a, stage.b)]
    for directory in files:
        shutil.rmtree(directory, ignore_errors=True)
    a = stage.a.start("gw1")
    until("the first speaks", lambda: beat(stage) > 0)
    os.makedirs(files[1])
    identity = shutil.copy(os.path.join(files[0], "fleet-id"), files[1])
    b = stage.b.start("gw1", "  role: standby")
    until("the copy notices", lambda: "has the identity of this one" in b.log() or b.log())
    heard = beat(stage)
    until("the first speaks on", lambda: beat(stage) >= heard + 5 or beat(stage))
    ids = [open(path, encoding="ascii").read() for path in (os.path.join(files[0], "fleet-id"), identity)]
    holder = json.loads(stage.cli("get", "slips:gw1:lease"))["holder"]
    if "acts from now on" in b.log() or ids[0] == ids[1] or holder != ids[0]:
        raise Failed(f"the copy acts, or is one still: {ids} {holder} {b.log()}")
    a.end(signal.SIGKILL)
    took = until("the copy takes the place of the dead", lambda: "acts from now on" in b.log() or b.log(), 20)
    b.end()
    print(f"a copy of the first one's disk stands by under an identity of its own, and acts {took:.2f} s after kill -9")


def main():
    for tool in ("redis-server", "redis-cli", "ip", "nft"):
        if not shutil.which(tool):
            print(f"needs {tool}")
            return 2
    stage = Stage(sys.argv[1])
    try:
        stage.up()
        for part in [globals()[name] for name in sys.argv[2:]] or (fleet_view, shared, standby, copied):
            part(stage)
        return 0
    except (Failed, subprocess.CalledProcessError) as failed:
        print(str(failed)[-4000:])
        return 1
    finally:
        stage.down()


sys.exit(main())
