#!/usr/bin/env python3
"""A long outage of Redis while the load goes on: what the daemon's memory does meanwhile, what was not mirrored, and how long after the return
the mirror is equal to the databases. Fails where it does not become so, or where the memory grew by more than MOST MiB.

usage: outage.py SLIPS [SECONDS [FLOWS_A_SECOND [MOST]]]    (600, 500 and 64; as root: the daemon has a network of its own; redis-server is started here)
"""
import datetime, json, os, re, shutil, socket, sqlite3, subprocess, sys, tempfile, threading, time

slips = os.path.abspath(sys.argv[1])
outage, pace, most = (float(word) for word in (sys.argv[2:] + ["600", "500", "64"][len(sys.argv) - 2 :]))
base = tempfile.mkdtemp(prefix="slips-outage-")
redis_socket, log = os.path.join(base, "redis.sock"), os.path.join(base, "zeek", "conn.log")


class Redis:
    """As much of a client as is needed."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(redis_socket)
        self.file = self.socket.makefile("rb")

    def ask(self, *words):
        parts = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        return self.answer()

    def answer(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if int(rest) < 0 else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest.decode()
        raise OSError(f"redis says {line}")


def start_redis():
    server = subprocess.Popen(["redis-server", "--port", "0", "--save", "", "--dir", base, "--unixsocket", redis_socket], stdout=subprocess.DEVNULL)
    while True:
        try:
            if Redis().ask("PING") == "PONG":
                return server
        except OSError:
            time.sleep(0.05)


class Load(threading.Thread):
    """Two thousand clients and twenty scanners, at their pace, with the time of now."""

    def __init__(self):
        super().__init__(daemon=True)
        self.flows, self.over = 0, threading.Event()

    def run(self):
        with open(log, "a") as out:
            while not self.over.wait(0.1):
                now = time.time()
                for at in range(int(pace / 10)):
                    n = self.flows
                    scan = n % 10 == 0
                    client = f"203.0.113.{n // 10 % 20 + 1}" if scan else f"192.168.{n % 2000 // 250}.{n % 250 + 1}"
                    server, port = (f"192.168.9.{n // 2000 % 200 + 1}", n // 200 % 60000 + 1) if scan else (f"198.51.{n % 97}.{n % 199}", 443)
                    state, sizes = ("REJ", "0") if scan else ("SF", "1200")
                    out.write(f'{{"ts":{now + at / pace:.6f},"uid":"C{n:x}z","id.orig_h":"{client}","id.orig_p":{n % 60000 + 1024},"id.resp_h":"{server}",'
                              f'"id.resp_p":{port},"proto":"tcp","duration":0.01,"orig_bytes":{sizes},"resp_bytes":{sizes},"conn_state":"{state}","orig_pkts":5,"resp_pkts":5}}\n')
                    self.flows += 1
                out.flush()


def resident(pid):
    """MiB that the daemon has."""
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024


def iso(micros):
    return datetime.datetime.fromtimestamp(micros / 1e6, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def difference():
    """Of the mirror from the databases; none if they are equal. How much was compared."""
    redis, db = Redis(), sqlite3.connect(f"file:{base}/out/flows.sqlite?mode=ro", uri=True)
    rows = db.execute("SELECT id, attacker, window, count, last_seen, level, accumulated FROM evidence").fetchall()
    for name, attacker, window, count, last, level, sum_ in rows:
        told = redis.ask("HGET", f"slips:outage:profile_{attacker}_timewindow{window}_evidence", name)
        told = json.loads(told) if told else {}
        if (told.get("count"), told.get("last_seen"), told.get("threat_level")) != (count, iso(last), level) or abs(told["accumulated_threat_level"] - sum_) > 1e-9:
            return f"evidence {name}: {told}, and not {(count, iso(last), level, sum_)}", 0
    sizes = [len(rows)]
    for what, sql in (("alerts", "SELECT id FROM alerts"), ("profiles", "SELECT addr FROM profiles")):
        want, have = {row[0] for row in db.execute(sql)}, set(redis.ask("ZRANGE", f"slips:outage:{what}", 0, -1))
        if want != have:
            return f"{what}: {len(have)}, and not {len(want)}", 0
        sizes.append(len(want))
    for alert in redis.ask("ZRANGE", "slips:outage:alerts", 0, -1):
        if not redis.ask("GET", f"slips:outage:alert_{alert}"):
            return f"alert {alert} is missing", 0
    return None, "{} pieces of evidence, {} alerts, {} profiles".format(*sizes)


def becomes_equal(within):
    began = time.monotonic()
    while True:
        try:
            told, sizes = difference()
        except (OSError, sqlite3.Error) as error:
            told = str(error)
        if told is None:
            return time.monotonic() - began, sizes
        if time.monotonic() - began > within:
            sys.exit(f"not equal after {within} s: {told}\n{open(f'{base}/stderr').read()[-2000:]}")
        time.sleep(0.1)


daemon, server, load = None, start_redis(), Load()
try:
    os.mkdir(os.path.join(base, "zeek"))
    open(log, "w").close()
    with open(f"{base}/slips.yaml", "w") as config:
        config.write(f"firewall:\n  mode: monitor\nredis:\n  url: unix://{redis_socket}\n  name: outage\n")
    daemon = subprocess.Popen(["unshare", "-n", slips, "run", "--monitor", "-c", f"{base}/slips.yaml", "-o", f"{base}/out", "--control", f"{base}/control.sock", "--zeek-dir", f"{base}/zeek"],
                              stdout=subprocess.DEVNULL, stderr=open(f"{base}/stderr", "w"))
    load.start()
    time.sleep(60)
    before, flows = resident(daemon.pid), load.flows
    server.kill()
    server.wait()
    end, highest = time.monotonic() + outage, before
    while time.monotonic() < end:
        time.sleep(min(5, outage))
        highest = max(highest, resident(daemon.pid))
        if daemon.poll() is not None:
            sys.exit("the daemon ended")
    flows = load.flows - flows
    server = start_redis()
    # The load goes on while all is sent anew, and ends so that both can be compared.
    time.sleep(5)
    load.over.set()
    load.join()
    took, sizes = becomes_equal(180)
    missed = Redis().ask("HGET", "slips:outage:statistics", "not_mirrored")
    highest = max(highest, resident(daemon.pid))
    print(f"outage of {outage:.0f} s, {flows:,} flows meanwhile: resident {before:.1f} MiB before, {highest:.1f} at most; {missed} records were not mirrored when they came; "
          f"{took + 5:.1f} s after the return the mirror was equal: {sizes}; load {os.getloadavg()[1]:.1f}")
    if highest - before > most:
        sys.exit(f"memory grew by more than {most:.0f} MiB")
finally:
    load.over.set()
    for process in (daemon, server):
        if process:
            process.kill()
            process.wait()
    shutil.rmtree(base)
