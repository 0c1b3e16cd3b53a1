"""Connects COUNT times from ADDRESS to HOST:PORT, one after the other; prints how many attempts got any answer.

An answer is an acceptance or a refusal by TCP; silence and ICMP errors are none."""

import socket
import sys


def main():
    address, host, port, count, patience = sys.argv[1:6]
    answered = 0
    for _ in range(int(count)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as knock:
            knock.settimeout(float(patience))
            knock.bind((address, 0))
            try:
                knock.connect((host, int(port)))
                answered += 1
            except ConnectionRefusedError:
                answered += 1
            except OSError:
                pass
    print(answered)


main()
