"""Attacks as fast as it may: `storm.py TARGET ALWAYS LISTED_NET FLAG RATE`. ALWAYS sends datagrams at RATE a second to the end; every
other one comes from another address of LISTED_NET while the file FLAG is there. FLAG.idle says that none of those is on its way.
`storm.py … RATE LOAD INTERFACE` has the program LOAD (of slips-input) send floods and scans there meanwhile, too."""

import ipaddress
import os
import random
import socket
import subprocess
import sys
import threading
import time


class Floods(threading.Thread):
    """Has LOAD send flows and scans of one attacker after the other, in short runs."""

    def __init__(self, flag, load, interface):
        super().__init__(daemon=True)
        self.flag, self.load, self.interface = flag, load, interface
        self.going, self.lock = False, threading.Lock()

    def run(self):
        scans, flows = 0, 0
        while True:
            with self.lock:
                self.going = os.path.exists(self.flag)
            if self.going:
                self.send("life", 12_000, 1_200, flows)
                self.send("scan", 12_000, 1_000, scans)
                scans, flows = scans + 1_000, flows + 1_200
                self.going = False
            else:
                time.sleep(0.002)

    def send(self, kind, rate, packets, first):
        command = [self.load, self.interface, kind, str(rate), str(packets), str(first)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def is_idle(self):
        with self.lock:
            return not self.going


def main():
    target, always, listed, flag, rate, *load = sys.argv[1:]
    floods = Floods(flag, *load) if load else None
    if floods:
        floods.start()
    net = ipaddress.ip_network(listed)
    known = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    known.bind((always, 0))
    pause, sent, began = 50 / float(rate), 0, time.monotonic()
    while True:
        storming = os.path.exists(flag)
        if not storming and (floods is None or floods.is_idle()):
            open(f"{flag}.idle", "w").close()
        elif storming and os.path.exists(f"{flag}.idle"):
            os.unlink(f"{flag}.idle")
        for _ in range(25):
            known.sendto(b"always", (target, 9))
            if not storming:
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind((str(net[random.randrange(1, net.num_addresses - 1)]), 0))
                other.sendto(b"listed", (target, 9))
        sent += 1
        rest = began + sent * pause - time.monotonic()
        if rest > 0:
            time.sleep(rest)


main()
