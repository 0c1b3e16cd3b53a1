"""Kills the daemon with SIGKILL at random moments under load, starts it again, and compares the kernel with the book each time.

`kills.py SLIPS DIRECTORY COUNT ALWAYS FLAG INTERFACE…`, inside the router's namespace. ALWAYS is blocked before the first kill and stays
so; the load is alerts about listed addresses (storm.py sends while FLAG is there) and blocks by hand. Prints one line of figures
and ends with 0 if the kernel was equal to the book after every restart."""

import ipaddress
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

READY_AT_MOST = 20.0
# Ends are compared up to this, in seconds, and the time that the listing took: it gives whole seconds.
BLUR = 1.5


def ask(line):
    """Asks the daemon as the command line does; its answer, or nothing when it is gone."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(6)
            control.connect("\0slips-control")
            control.sendall(line.encode() + b"\n")
            return control.recv(512).decode()
    except OSError:
        return ""


class Daemon:
    def __init__(self, slips, config, directory, interfaces):
        self.command = [slips, "run", "-c", config, "--control", os.path.join(directory, "control.sock")]
        for interface in interfaces:
            self.command += ["-i", interface]
        self.log = open(os.path.join(directory, "daemon.log"), "ab")
        self.path = os.path.join(directory, "notify")
        self.process = None

    def spawn(self):
        """Starts it and waits for nothing."""
        environment = {**os.environ, "NOTIFY_SOCKET": self.path}
        self.process = subprocess.Popen(
            self.command, stdout=self.log, stderr=self.log, env=environment, start_new_session=True
        )

    def start(self):
        """Starts it and waits until it is ready; the time that took."""
        if os.path.exists(self.path):
            os.unlink(self.path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(self.path)
            notify.settimeout(READY_AT_MOST)
            began = time.monotonic()
            self.spawn()
            while b"READY=1" not in notify.recv(4096):
                pass
            return time.monotonic() - began

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Load(threading.Thread):
    """Blocks and unblocks by hand, as fast as the daemon answers."""

    def __init__(self):
        super().__init__(daemon=True)
        self.going, self.asked = threading.Event(), 0

    def run(self):
        while True:
            self.going.wait()
            net = f"100.64.{random.randrange(4)}.{random.randrange(256)}"
            verb = random.choice(["block %s 600 load", "block %s/30 600 load", "block %s 60 load", "unblock %s"])
            if ask(verb % (net.rsplit(".", 1)[0] + f".{random.randrange(64) * 4}" if "/30" in verb else net)):
                self.asked += 1


def book(path, wall):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT net, until FROM blocks WHERE state = 'live' AND until > ?", (wall * 1e6,))
        return covered((net, until / 1e6 - wall) for net, until in rows)


def kernel(slips):
    listed = subprocess.run([slips, "firewall", "list", "--json"], check=True, capture_output=True).stdout
    return covered((line["net"], line["seconds_left"]) for line in json.loads(listed))


def covered(blocks):
    """Each address with its longest time: the kernel keeps wide blocks as disjoint ranges, the book as they were asked."""
    left = {}
    for net, seconds in blocks:
        for address in ipaddress.ip_network(net):
            left[address] = max(left.get(address, 0), seconds)
    return left


def differences(in_book, in_kernel, took):
    wrong = []
    for address in sorted(set(in_book) | set(in_kernel)):
        booked, held = in_book.get(address), in_kernel.get(address)
        # Who is about to end may be in one of them only.
        if abs((booked or 0) - (held or 0)) > BLUR + took:
            wrong.append(f"{address}: book {booked}, kernel {held}")
    return wrong


def calm(flag):
    """Ends the storm: what is compared must stand still."""
    os.unlink(flag)
    idle, began = f"{flag}.idle", time.monotonic()
    if os.path.exists(idle):
        os.unlink(idle)
    while not os.path.exists(idle):
        if time.monotonic() - began > READY_AT_MOST:
            sys.exit("the storm does not end")
        time.sleep(0.001)


def main():
    slips, directory, count, always, flag, *interfaces = sys.argv[1:]
    random.seed(7)
    config = os.path.join(directory, "slips.yaml")
    lists, output = os.path.join(directory, "lists"), os.path.join(directory, "files")
    os.makedirs(lists, exist_ok=True)
    with open(os.path.join(lists, "listed.csv"), "w") as listed:
        listed.write("198.18.0.0/16,critical,a listed network\n")
    with open(config, "w") as text:
        text.write(
            f"threatintelligence:\n  local_threat_intelligence_files: {lists}\n"
            "firewall:\n  unproven_term: 600s\n  shortest_term: 600s\n"
            f"output:\n  directory: {output}\n"
        )
    daemon, load = Daemon(slips, config, directory, interfaces), Load()
    load.start()
    daemon.start()
    answer = ask(f"block {always} 86400 the one that must stay out")
    if not answer.startswith("ok"):
        sys.exit(f"the first block: {answer}")
    # From here on no packet of it may pass; whoever counts them is told by this file.
    open(os.path.join(directory, "blocked"), "w").close()
    bad, starts, compared = [], [], 0
    for number in range(int(count)):
        open(flag, "w").close()
        load.going.set()
        time.sleep(random.uniform(0.0, 0.3))
        daemon.kill()
        load.going.clear()
        calm(flag)
        starts.append(daemon.start())
        wall = time.time()
        in_book, in_kernel = book(os.path.join(output, "blocks.sqlite"), wall), kernel(slips)
        took = time.time() - wall
        compared += len(in_kernel)
        wrong = differences(in_book, in_kernel, took)
        if wrong:
            bad.append(number)
            print(f"kill {number}: {len(wrong)} differences, {wrong[:3]}", file=sys.stderr)
    daemon.kill()
    starts.sort()
    middle, last = starts[len(starts) // 2] * 1000, starts[-1] * 1000
    print(
        f"{count} kills, {load.asked} asked by hand, {len(in_kernel)} addresses blocked at the end, {compared} compared,"
        f" {len(bad)} restarts with differences, ready after {middle:.0f} ms (median), {last:.0f} ms (worst)"
    )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
