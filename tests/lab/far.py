"""Servers that are far away, and a client that calls them.

`far.py answer INTERFACE NETWORK MILLISECONDS` answers every SYN to an address of the network, whatever the port, so many milliseconds
later. Prints `answering` first.
`far.py call FROM HOST…` connects to port 443 of each and prints how many connections completed, and how long the others took to fail."""

import heapq
import ipaddress
import select
import socket
import struct
import sys
import time

SYN, ACK = 2, 16


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn_ack(source, target, to_port, from_port, seq):
    """From `source`, who was called, to `target`."""
    tcp = struct.pack("!HHIIBBHHH", from_port, to_port, 7000, (seq + 1) & 0xFFFFFFFF, 5 << 4, SYN | ACK, 64240, 0, 0)
    pseudo = source + target + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, source, target)
    return ip + tcp


def answer(interface, network, millis):
    network, later = ipaddress.ip_network(network), float(millis) / 1000
    frames = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    frames.bind((interface, 0x0800))
    out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    print("answering", flush=True)
    due = []
    while True:
        wait = max(0, due[0][0] - time.monotonic()) if due else None
        if select.select([frames], [], [], wait)[0]:
            packet, (_, _, kind, _, _) = frames.recvfrom(2048)
            if kind == socket.PACKET_HOST and packet[9] == 6 and ipaddress.ip_address(packet[16:20]) in network:
                tcp = packet[(packet[0] & 15) * 4 :]
                to_port, port, seq = struct.unpack("!HHI", tcp[:8])
                if tcp[13] & (SYN | ACK) == SYN:
                    reply = syn_ack(packet[16:20], packet[12:16], to_port, port, seq)
                    heapq.heappush(due, (time.monotonic() + later, reply, socket.inet_ntoa(packet[12:16])))
        while due and due[0][0] <= time.monotonic():
            _, reply, target = heapq.heappop(due)
            out.sendto(reply, (target, 0))


def call(source, hosts):
    completed, failed = 0, []
    for host in hosts:
        with socket.socket(socket.AF_INET) as connection:
            connection.settimeout(0.5)
            connection.bind((source, 0))
            began = time.monotonic()
            try:
                connection.connect((host, 443))
                completed += 1
            except OSError:
                failed.append((time.monotonic() - began) * 1000)
    print(completed, *(f"{ms:.1f}" for ms in sorted(failed)))


if sys.argv[1] == "answer":
    answer(*sys.argv[2:5])
else:
    call(sys.argv[2], sys.argv[3:])
