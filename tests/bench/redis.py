#!/usr/bin/env python3
"""What a mirror in Redis costs: the same made-up log through the daemon without and with it, by turns; prints flows a second and seconds of
processor (which other work does not change as much), and the ratio of both.

usage: redis.py SLIPS [FLOWS [TURNS]]    (as root: each daemon has a network of its own; redis-server is started here)
"""
import os, shutil, socket, subprocess, sys, tempfile, time

slips, flows, turns = os.path.abspath(sys.argv[1]), int((sys.argv[2:] or ["300000"])[0]), int((sys.argv[3:] or ["3"])[0])
base = tempfile.mkdtemp(prefix="slips-redis-")
log = os.path.join(base, "rows")
with open(log, "w") as out:
    for n in range(flows):
        # Two thousand clients; a hundredth of the connections is one of fifty scans.
        scan = n % 100 == 0
        client = f"203.0.113.{n // 100 % 50}" if scan else f"192.168.{n % 2000 // 250}.{n % 250 + 1}"
        server, port = ("192.168.9.9", n // 5000 % 60000 + 1) if scan else (f"198.51.{n % 97}.{n % 199}", 443)
        state, sizes = ("REJ", "0") if scan else ("SF", "1200")
        out.write(f'{{"ts":{1.7e9 + n / 1000:.6f},"uid":"C{n:x}z","id.orig_h":"{client}","id.orig_p":{n % 60000 + 1024},"id.resp_h":"{server}",'
                  f'"id.resp_p":{port},"proto":"tcp","duration":0.5,"orig_bytes":{sizes},"resp_bytes":{sizes},"conn_state":"{state}","orig_pkts":5,"resp_pkts":5}}\n')
redis_socket = os.path.join(base, "redis.sock")
redis = subprocess.Popen(["redis-server", "--port", "0", "--save", "", "--dir", base, "--unixsocket", redis_socket], stdout=subprocess.DEVNULL)

def run(with_redis):
    here = tempfile.mkdtemp(dir=base)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(os.path.join(here, "notify"))
    notify.settimeout(600)
    with open(os.path.join(here, "slips.yaml"), "w") as config:
        config.write("firewall:\n  mode: monitor\n" + (f"redis:\n  url: unix://{redis_socket}\n  name: bench\n" if with_redis else ""))
    os.mkdir(os.path.join(here, "zeek"))
    daemon = subprocess.Popen(
        ["unshare", "-n", slips, "run", "--monitor", "-c", f"{here}/slips.yaml", "-o", f"{here}/out", "--control", f"{here}/control.sock", "--zeek-dir", f"{here}/zeek"],
        env={**os.environ, "NOTIFY_SOCKET": os.path.join(here, "notify")}, stdout=subprocess.DEVNULL, stderr=open(os.path.join(here, "stderr"), "w"))
    def until(words):
        while True:
            said = notify.recv(4096).decode()
            if words(said):
                return
    until(lambda said: "READY=1" in said)
    os.link(log, os.path.join(here, "zeek", "conn.log"))
    began = time.monotonic()
    def done(said):
        found = [line for line in said.splitlines() if "watching: " in line]
        return found and int(found[0].split("watching: ")[1].split(" flows")[0]) >= flows
    until(done)
    took = time.monotonic() - began
    daemon.terminate()
    # Until it has ended: what is written and mirrored later costs, too.
    used = os.wait4(daemon.pid, 0)[2]
    daemon.returncode = 0
    shutil.rmtree(here)
    return took, used.ru_utime + used.ru_stime

try:
    spent, cost = {False: 0.0, True: 0.0}, {False: 0.0, True: 0.0}
    for turn in range(turns):
        for with_redis in (False, True) if turn % 2 == 0 else (True, False):
            took, used = run(with_redis)
            spent[with_redis] += took
            cost[with_redis] += used
            print(f"{'with' if with_redis else 'without'} redis: {flows / took:,.0f} flows/s, {used:.2f} s of processor", flush=True)
    rate = {with_redis: turns * flows / took for with_redis, took in spent.items()}
    print(f"all {turns} turns: {rate[False]:,.0f} flows/s without, {rate[True]:,.0f} with, ratio {rate[True] / rate[False]:.3f}; "
          f"{cost[False] / turns:.2f} s of processor without, {cost[True] / turns:.2f} with; load {os.getloadavg()[0]:.1f}")
finally:
    redis.kill()
    shutil.rmtree(base)
