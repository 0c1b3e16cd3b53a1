"""Lives a capture again and again: `week.py CAPTURE COPIES SECONDS` writes a capture to standard output in which CAPTURE stands COPIES
times, each so many seconds after the other. Classic pcap, little-endian, microseconds, as tcpdump writes it here."""

import struct
import sys


def main():
    path, copies, every = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open(path, "rb") as file:
        data = file.read()
    if data[:4] != b"\xd4\xc3\xb2\xa1":
        sys.exit(f"{path}: no classic pcap of little-endian microseconds")
    packets, at = [], 24
    while at + 16 <= len(data):
        seconds, micros, kept, whole = struct.unpack_from("<IIII", data, at)
        end = at + 16 + kept
        if end > len(data):
            break
        packets.append((seconds, struct.pack("<III", micros, kept, whole) + data[at + 16 : end]))
        at = end
    out = sys.stdout.buffer
    out.write(data[:24])
    for copy in range(copies):
        later = copy * every
        out.write(b"".join(struct.pack("<I", seconds + later) + rest for seconds, rest in packets))


main()
