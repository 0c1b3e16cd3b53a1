"""Finds the first packet that is dropped: `probe.py FLAG FROM_NAMESPACE FROM TO_NAMESPACE TO SECONDS [connect]`.

Sends a numbered datagram every half millisecond and receives them at the other end. When 60 in a row are lost, the first of them was
the first that was dropped: prints when it was sent, in seconds of wall time, and how many came through before. With `connect` a TCP
connection to port 443 is begun first. Makes the file FLAG when it begins; prints
nothing when none is dropped in time."""

import ctypes
import os
import socket
import sys
import time

CLONE_NEWNET = 0x40000000
STEP = 0.0005
LOST_IN_A_ROW = 60
libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    with open(f"/run/netns/{namespace}", "rb") as handle:
        if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")


def main():
    flag, from_ns, source, to_ns, target, seconds = sys.argv[1:7]
    enter(to_ns)
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((target, 40999))
    receiver.setblocking(False)
    enter(from_ns)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind((source, 0))
    sent, last_seen = [], -1
    open(flag, "w").close()
    if "connect" in sys.argv[7:]:
        knock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        knock.setblocking(False)
        knock.bind((source, 0))
        knock.connect_ex((target, 443))
    began = time.monotonic()
    while time.monotonic() - began < float(seconds):
        number = len(sent)
        sent.append(time.time())
        try:
            sender.sendto(number.to_bytes(4, "big"), (target, 40999))
        except PermissionError:
            pass
        rest = began + (number + 1) * STEP - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        try:
            while True:
                last_seen = max(last_seen, int.from_bytes(receiver.recv(16), "big"))
        except BlockingIOError:
            pass
        if number - last_seen >= LOST_IN_A_ROW:
            print(f"{sent[last_seen + 1]:.6f} {last_seen + 1}")
            return


main()
