"""The life of an ordinary household, for the lab: `household.py servers DIR` on the outside, `household.py hosts DIR SECONDS` inside.

Servers: web sites (plain and with TLS), an archive of packages, time, file-sharing peers, a far end of a VPN, all at addresses of
their own; names come from a name server beside. Hosts: a browser, package updates, names, time, discovery in the local network, file
sharing, a VPN, a server for guests. A failure of any of it is a line in DIR/household-failures; each thing done adds to DIR/household-done."""

import asyncio
import random
import socket
import ssl
import struct
import sys
import time

SITES = [f"203.0.113.{n}" for n in range(81, 87)]
NAMES = {f"site{n}.example.net": site for n, site in enumerate(SITES)}
ARCHIVE = "203.0.113.87"
RESOLVER = "203.0.113.53"
CLOCK = "203.0.113.123"
VPN = "203.0.113.51"
PEERS = [f"198.51.100.{n}" for n in range(10, 70)]
GUESTS = [f"198.51.100.{n}" for n in range(200, 206)]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PACKAGES = "Debian APT-HTTP/1.3 (2.6.1)"
GUEST_PORT = 8080


def peer_port(peer):
    return 20000 + int(peer.rsplit(".", 1)[1]) * 331


class Datagrams(asyncio.DatagramProtocol):
    """Hands each datagram to a function of (protocol, bytes, sender)."""

    def __init__(self, on_datagram):
        self.on_datagram = on_datagram

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, sender):
        self.on_datagram(self, data, sender)

    def error_received(self, exc):
        pass


async def datagrams(local, on_datagram, sock=None):
    loop = asyncio.get_running_loop()
    options = {"sock": sock} if sock else {"local_addr": local}
    return (await loop.create_datagram_endpoint(lambda: Datagrams(on_datagram), **options))[1]


async def serve_page(reader, writer):
    """HTTP/1.1 with persistent connections; /N is a page of N bytes."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            size = path.lstrip("/").split("?", 1)[0]
            body = b"." * (int(size) if size.isdigit() else 2000)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nServer: nginx\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


def certificate(directory):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/site.crt", f"{directory}/site.key")
    return context


async def servers(directory):
    context = certificate(directory)
    for site in SITES:
        await asyncio.start_server(serve_page, site, 80)
        await asyncio.start_server(serve_page, site, 443, ssl=context)
    await asyncio.start_server(serve_page, ARCHIVE, 80)
    await datagrams((CLOCK, 123), lambda self, data, sender: self.transport.sendto(answer_time(data), sender))
    await datagrams((VPN, 51820), lambda self, data, sender: self.transport.sendto(data[:16] + random.randbytes(len(data) - 16), sender))
    for peer in PEERS:
        # Every third has gone home.
        if int(peer.rsplit(".", 1)[1]) % 3:
            port = peer_port(peer)
            await datagrams((peer, port), lambda self, data, sender: self.transport.sendto(random.randbytes(300), sender))
    open(f"{directory}/servers-ready", "w").close()
    await asyncio.Event().wait()


def answer_time(ask):
    now = int(time.time()) + 2_208_988_800
    stamp = struct.pack(">II", now, 0)
    return struct.pack(">BBbb", 0x24, 2, 6, -20) + bytes(8) + b"LOCL" + stamp + ask[40:48] + stamp + stamp


class House:
    def __init__(self, directory, until):
        self.directory = directory
        self.until = until
        self.failures = open(f"{directory}/household-failures", "a", buffering=1)
        self.done = open(f"{directory}/household-done", "a", buffering=1)

    async def habit(self, name, pause, act):
        """Does `act` again and again, with pauses of about so many seconds."""
        while time.monotonic() < self.until:
            try:
                await asyncio.wait_for(act(), 4)
                self.done.write(f"{name}\n")
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, AssertionError) as error:
                self.failures.write(f"{time.time():.3f} {name}: {error!r}\n")
            await asyncio.sleep(random.expovariate(1 / pause))

    async def resolve(self, name):
        """Asks for A as a stub resolver does."""
        loop = asyncio.get_running_loop()
        answered = loop.create_future()
        number = random.randrange(65536)
        asked = await datagrams(("0.0.0.0", 0), lambda self, data, sender: answered.done() or answered.set_result(data))
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        question = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
        try:
            asked.transport.sendto(question, (RESOLVER, 53))
            data = await asyncio.wait_for(answered, 2)
        finally:
            asked.transport.close()
        assert data[:2] == question[:2] and data[3] & 15 == 0, f"{name}: {data[:4].hex()}"
        return socket.inet_ntoa(data[-4:])

    async def get(self, reader, writer, host, path, agent):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        assert len(await reader.readexactly(size)) == size

    async def browse(self):
        """A page and what belongs to it, over six connections at once."""
        name = random.choice(list(NAMES))
        address = await self.resolve(name)
        secure = ssl.create_default_context(cafile=f"{self.directory}/site.crt") if random.random() < 0.7 else None

        async def connection():
            options = {"ssl": secure, "server_hostname": name} if secure else {}
            reader, writer = await asyncio.open_connection(address, 443 if secure else 80, **options)
            for _ in range(random.randint(1, 4)):
                await self.get(reader, writer, name, f"/{random.randint(200, 9000)}", BROWSER)
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(connection() for _ in range(6)))

    async def update(self):
        reader, writer = await asyncio.open_connection(ARCHIVE, 80)
        for _ in range(5):
            await self.get(reader, writer, "archive.example.net", f"/{random.randint(1000, 60000)}", PACKAGES)
        writer.close()
        await writer.wait_closed()

    async def clock(self):
        loop = asyncio.get_running_loop()
        answered = loop.create_future()
        asked = await datagrams(("0.0.0.0", 0), lambda self, data, sender: answered.done() or answered.set_result(data))
        try:
            asked.transport.sendto(b"\x23" + bytes(39) + random.randbytes(8), (CLOCK, 123))
            assert len(await asyncio.wait_for(answered, 2)) == 48
        finally:
            asked.transport.close()

    async def discover(self, address):
        """What every phone and printer asks the room."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        sock.bind((address, 0))
        names = [b"_googlecast\4_tcp", b"_ipp\4_tcp", b"_airplay\4_tcp"]
        service = random.choice(names)
        labels = bytes([service.index(b"\4")]) + service + b"\5local\0"
        sock.sendto(bytes(4) + b"\0\1" + bytes(6) + labels + b"\0\x0c\0\1", ("224.0.0.251", 5353))
        search = 'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 2\r\nST: ssdp:all\r\n\r\n'
        sock.sendto(search.encode(), ("239.255.255.250", 1900))
        sock.sendto(random.randbytes(2) + b"\0\0\0\1" + bytes(6) + b"\4wpad\0\0\1\0\1", ("224.0.0.252", 5355))
        sock.close()

    async def share_files(self):
        for peer in random.sample(PEERS, 8):
            self.shared.transport.sendto(random.randbytes(100), (peer, peer_port(peer)))

    async def tunnel(self):
        for _ in range(10):
            self.vpn.transport.sendto(b"\4\0\0\0" + random.randbytes(12 + 16 * random.randint(2, 80)), (VPN, 51820))

    async def live(self, address):
        self.shared = await datagrams(("0.0.0.0", 6881), lambda *_: None)
        self.vpn = await datagrams(("0.0.0.0", 51820), lambda *_: None)
        await asyncio.start_server(serve_page, address, GUEST_PORT)
        open(f"{self.directory}/hosts-ready", "w").close()
        await asyncio.gather(
            self.habit("browse", 1.5, self.browse),
            self.habit("names", 0.7, lambda: self.resolve(random.choice(list(NAMES)))),
            self.habit("update", 8, self.update),
            self.habit("clock", 5, self.clock),
            self.habit("discover", 5, lambda: self.discover(address)),
            self.habit("share", 1, self.share_files),
            self.habit("tunnel", 0.5, self.tunnel),
        )


async def guests(directory, host, until):
    """Strangers who use the server that the household shows to the outside."""
    house = House(directory, until)

    async def visit():
        reader, writer = await asyncio.open_connection(host, GUEST_PORT, local_addr=(random.choice(GUESTS), 0))
        await house.get(reader, writer, "home.example.net", f"/{random.randint(100, 4000)}", BROWSER)
        writer.close()
        await writer.wait_closed()

    await house.habit("guest", 1, visit)


async def main():
    what, directory = sys.argv[1:3]
    if what == "servers":
        await servers(directory)
    elif what == "hosts":
        await House(directory, time.monotonic() + float(sys.argv[4])).live(sys.argv[3])
    else:
        await guests(directory, sys.argv[3], time.monotonic() + float(sys.argv[4]))


asyncio.run(main())
