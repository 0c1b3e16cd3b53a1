"""Takes the name under which the daemon is asked, as a user without rights, and says yes to everything."""

import os
import socket

with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as name:
    name.bind("\0slips-control")
    # Whose socket it is the kernel notes here. (The interpreter may be out of reach for that user, so it is changed only now.)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    name.listen()
    print("ready", flush=True)
    while True:
        client = name.accept()[0]
        try:
            with client:
                client.recv(512)
                client.sendall(b'ok {"mode": "enforce", "blocking": "works"}\n')
        except OSError:
            # Who only wants to know who this is hangs up.
            pass
