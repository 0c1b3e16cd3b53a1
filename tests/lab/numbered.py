"""Numbered datagrams, and who got them.

usage: numbered.py send FROM:PORT TO LAST RATE PROGRESS   one datagram to each port from 1 to LAST, RATE a second; PROGRESS has the last number
       numbered.py stream FROM:PORT TO PORT RATE STOP     the same port until the file STOP is there; prints how many
       numbered.py count AT PORT FROM STOP           prints how many datagrams came from FROM, and how many from others
       numbered.py seen FLOWS FROM:PORT              prints what the database has: first and last port, ports, packets
"""

import os
import socket
import sqlite3
import sys
import time


def paced(rate):
    """Yields numbers from 1 on, as many as are due."""
    began, number = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * rate)
        while number < due:
            number += 1
            yield number
        time.sleep(0.002)


def is_over(stop):
    """The file is there, or the place where it would be is gone with the test."""
    return os.path.exists(stop) or not os.path.isdir(os.path.dirname(stop))


def sender(source):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    addr, port = source.split(":")
    udp.bind((addr, int(port)))
    return udp


def send(source, to, last, rate, progress):
    udp, last = sender(source), int(last)
    out = os.open(progress, os.O_WRONLY | os.O_CREAT)
    for number in paced(int(rate)):
        # Written before: what it says is never behind.
        os.pwrite(out, b"%9d" % number, 0)
        udp.sendto(b"numbered", (to, number))
        if number == last:
            return


def stream(source, to, port, rate, stop):
    udp, sent = sender(source), 0
    for _ in paced(int(rate)):
        try:
            udp.sendto(b"attack", (to, int(port)))
            sent += 1
        except OSError:
            pass
        if is_over(stop):
            break
    print(sent)


def count(at, port, source, stop):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((at, int(port)))
    udp.settimeout(0.2)
    got = [0, 0]
    while not is_over(stop):
        try:
            got[udp.recvfrom(64)[1][0] != source] += 1
        except TimeoutError:
            pass
    print(*got)


def seen(flows, source):
    rows = sqlite3.connect(f"file:{flows}?mode=ro", uri=True).execute(
        "SELECT min(dst_port), max(dst_port), count(DISTINCT dst_port), sum(orig_pkts) FROM flows"
        " WHERE src = ? AND src_port = ? AND proto = 'udp'",
        source.split(":"),
    )
    print(*rows.fetchone())


if __name__ == "__main__":
    {"send": send, "stream": stream, "count": count, "seen": seen}[sys.argv[1]](*sys.argv[2:])
