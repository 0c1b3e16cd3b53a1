"""Servers that let nobody in, for the tools that guess passwords: FTP at ADDRESS:21, HTTP with a basic login at ADDRESS:8081."""

import asyncio
import sys


async def ftp(reader, writer):
    writer.write(b"220 ready\r\n")
    try:
        while line := await reader.readline():
            verb = line.split(b" ", 1)[0].strip().upper()
            writer.write({b"USER": b"331 password\r\n", b"PASS": b"530 no\r\n", b"QUIT": b"221 bye\r\n"}.get(verb, b"500 what\r\n"))
            if verb == b"QUIT":
                break
    except ConnectionError:
        pass
    writer.close()


async def http(reader, writer):
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="lab"\r\nContent-Length: 0\r\n\r\n')
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def main():
    await asyncio.start_server(ftp, sys.argv[1], 21)
    await asyncio.start_server(http, sys.argv[1], 8081)
    await asyncio.Event().wait()


asyncio.run(main())
