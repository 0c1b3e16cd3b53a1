#!/usr/bin/env python3
"""How soon the control API answers while flows go through.

usage: api.py SLIPS [FLOWS [HOSTS [RATE [SECONDS [STALLED]]]]]; root. Makes a database of FLOWS flows of HOSTS hosts (1,000,000 and 100,000), starts the
daemon on it in a network of its own, has a log of Zeek grow by RATE flows a second (100,000), and asks each read call over and over for
SECONDS (30), one after the other on one connection. Prints the times of each call in milliseconds, and what the daemon did meanwhile.
The log is written by a process of its own, which puts times and numbers into lines made beforehand: in the thread beside the one that asks it
would hold the interpreter up to 5 ms at a time, and a core most of the time. With STALLED, so many clients come and stall meanwhile: those who are
sent away or ended come again, 200 a second.
"""
import contextlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


def line(at, number, hosts):
    host = number % hosts
    return (
        f'{{"ts":{at:.6f},"uid":"C{number:09x}","id.orig_h":"10.{host >> 16 & 255}.{host >> 8 & 255}.{host & 255}","id.orig_p":{1024 + number % 60000},'
        f'"id.resp_h":"203.0.113.{number % 50}","id.resp_p":443,"proto":"tcp","service":"ssl","duration":0.2,"orig_bytes":800,"resp_bytes":4000,'
        f'"conn_state":"SF","history":"ShADadFf","orig_pkts":9,"orig_ip_bytes":1200,"resp_pkts":9,"resp_ip_bytes":4400}}\n'
    )


def grow(log, first, hosts, rate):
    """Appends `rate` lines a second, ten times a second."""
    part = rate // 10
    stamp, mark = "1111111111.111111", "Caaaa"
    # All hosts in turn, as many parts as it takes.
    parts = []
    for begin in range(0, max(hosts, part), part):
        text = "".join(line(float(stamp), first + begin + n, hosts) for n in range(part))
        # Its number in the part stays; which part it is takes the place of the rest.
        lines = text.splitlines(keepends=True)
        parts.append("".join(f'{one[:one.index("uid") + 6]}{mark}{n:05x}{one[one.index("uid") + 16:]}' for n, one in enumerate(lines)))
    number, due = 0, time.monotonic()
    with open(log, "a", buffering=1 << 20) as file:
        while True:
            text = parts[number % len(parts)].replace(stamp, f"{time.time():.6f}").replace(mark, f"D{number:04x}")
            file.write(text)
            file.flush()
            number += 1
            due += 0.1
            time.sleep(max(0, due - time.monotonic()))


def stall(path, clients):
    """Clients that say nothing, half of something, or do not read, without end."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (clients + 100, clients + 100))
    halves = [
        b"", b"GET /v1/status HTTP/1.1\r\nhost: x\r\n", b"POST /v1/blocks HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\n{",
        b"GET /v1/detections HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /v1/events?topics=flow HTTP/1.1\r\nhost: x\r\n\r\n",
    ]
    stalled, number = [], 0
    while True:
        for _ in range(20):
            if len(stalled) == clients:
                # The oldest, who is gone by now, makes room.
                stalled.pop(0).close()
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)
            with contextlib.suppress(OSError):
                client.connect(path)
                client.send(halves[number % len(halves)])
            stalled.append(client)
            number += 1
        time.sleep(0.1)


def main(slips, flows=1_000_000, hosts=100_000, rate=100_000, seconds=30, stalled=0):
    directory = tempfile.mkdtemp(prefix="slips-bench-")
    space = f"bench-{os.getpid()}"
    daemon = grower = staller = None
    try:
        log, out, zeek = (os.path.join(directory, name) for name in ("conn.log", "out", "zeek"))
        os.mkdir(zeek)
        began = time.time() - 3600
        with open(log, "w") as file:
            for number in range(flows):
                file.write(line(began + number * 3000 / flows, number, hosts))
        subprocess.run([slips, "analyze", log, "-o", out, "--json"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["ip", "netns", "add", space], check=True)
        subprocess.run(["ip", "-n", space, "link", "set", "lo", "up"], check=True)
        control = os.path.join(directory, "control.sock")
        config = os.path.join(directory, "slips.yaml")
        with open(config, "w") as file:
            file.write("firewall:\n  mode: monitor\n")
        command = ["ip", "netns", "exec", space, slips, "run", "-c", config, "-o", out, "--control", control, "--zeek-dir", zeek]
        daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.exists(control):
            time.sleep(0.1)

        asked = [sys.executable, __file__, "grow", os.path.join(zeek, "conn.log"), str(flows), str(hosts), str(rate)]
        grower = subprocess.Popen(asked)
        client = Unix(control)

        def ask(path):
            began = time.perf_counter()
            client.request("GET", path)
            answer = client.getresponse()
            body = answer.read()
            return (time.perf_counter() - began) * 1000, answer.status, body

        time.sleep(3)
        if stalled:
            staller = subprocess.Popen([sys.executable, __file__, "stall", control, str(stalled)])
            time.sleep(1 + stalled / 200)
        before = json.loads(ask("/v1/status")[2])
        calls = [
            "/v1/status", "/v1/statistics", "/v1/alerts", "/v1/evidence", "/v1/flows", "/v1/flows?profile=10.0.7.7", "/v1/profiles",
            "/v1/profiles/10.0.7.7", "/v1/profiles/10.0.7.7/windows", "/v1/blocks", "/v1/intel/lookup/203.0.113.9", "/metrics",
        ]
        times = {call: [] for call in calls}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for call in calls:
                took, status, body = ask(call)
                # An address may have no profile yet.
                assert status in (200, 404), (call, status, body[:200])
                times[call].append(took)
        after = json.loads(ask("/v1/status")[2])
        kept = json.loads(ask("/v1/statistics")[2])["kept"]
        print(f"{'call':<36}{'asked':>7}{'p50 ms':>9}{'p99 ms':>9}{'most ms':>9}")
        for call, took in times.items():
            took.sort()
            print(f"{call:<36}{len(took):>7}{took[len(took) // 2]:>9.2f}{took[int(len(took) * 0.99)]:>9.2f}{took[-1]:>9.2f}")
        together = sorted(one for took in times.values() for one in took)
        print(f"all: p99 {together[int(len(together) * 0.99)]:.2f} ms of {len(together)}")
        if stalled:
            ended = re.findall(r"^(slips_clients_\w+|slips_api_\w+)(?:\{.*\})? (\d+)", ask("/metrics")[2].decode(), re.M)
            print("clients:", ", ".join(f"{name} {count}" for name, count in ended))
        passed = after["uptime_seconds"] - before["uptime_seconds"] or 1
        print(f"meanwhile {(after['flows'] - before['flows']) // passed} flows a second; kept: {kept['flows']} flows, {kept['profiles']} profiles")
    finally:
        for other in filter(None, (grower, staller)):
            other.kill()
            other.wait()
        if daemon:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)
        subprocess.run(["ip", "netns", "delete", space], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(directory)


if sys.argv[1] == "grow":
    grow(sys.argv[2], *map(int, sys.argv[3:]))
elif sys.argv[1] == "stall":
    stall(sys.argv[2], int(sys.argv[3]))
else:
    main(sys.argv[1], *map(int, sys.argv[2:]))
