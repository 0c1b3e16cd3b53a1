"""A name server with one name. `names.py serve ADDRESS NAME IP` answers each question about NAME with IP, others with "no such name"; prints
`ready` first. `names.py ask SERVER NAME` asks and prints the answer's address, or `nothing`."""

import secrets
import socket
import sys


def labels(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def serve(address, name, leads_to):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        print("ready", flush=True)
        wanted = labels(name) + b"\0\1\0\1"
        while True:
            question, client = server.recvfrom(512)
            known = question[12:] == wanted
            head = question[:2] + (b"\x85\x80\0\1\0\1\0\0\0\0" if known else b"\x85\x83\0\1\0\0\0\0\0\0")
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(leads_to) if known else b""
            server.sendto(head + question[12:] + answer, client)


def ask(server, name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.sendto(secrets.token_bytes(2) + b"\1\0\0\1\0\0\0\0\0\0" + labels(name) + b"\0\1\0\1", (server, 53))
        try:
            answer = client.recv(512)
        except TimeoutError:
            answer = b""
    print(socket.inet_ntoa(answer[-4:]) if answer[6:8] == b"\0\1" else "nothing")


serve(*sys.argv[2:]) if sys.argv[1] == "serve" else ask(*sys.argv[2:])
