"""Attacks as fast as it may: `storm.py TARGET ALWAYS LISTED_NET FLAG RATE`. ALWAYS sends datagrams at RATE a second to the end; every
other one comes from another address of LISTED_NET while the file FLAG is there. FLAG.idle says that none of those is on its way."""

import ipaddress
import os
import random
import socket
import sys
import time


def main():
    target, always, listed, flag, rate = sys.argv[1:6]
    net = ipaddress.ip_network(listed)
    known = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    known.bind((always, 0))
    pause, sent, began = 50 / float(rate), 0, time.monotonic()
    while True:
        storming = os.path.exists(flag)
        if not storming:
            open(f"{flag}.idle", "w").close()
        elif os.path.exists(f"{flag}.idle"):
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
