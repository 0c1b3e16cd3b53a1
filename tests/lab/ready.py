"""Listens at SOCKET as a service manager does, until READY=1 comes or SECONDS are over."""

import socket
import sys

with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
    manager.bind(sys.argv[1])
    manager.settimeout(float(sys.argv[2]))
    try:
        while b"READY=1" not in manager.recv(4096).split(b"\n"):
            pass
    except TimeoutError:
        sys.exit(1)
