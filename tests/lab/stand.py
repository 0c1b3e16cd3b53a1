"""Has one thread of a process stand still, as it would in a call that never ends; all others go on. It ends with the process.

usage: stand.py PROCESS THREAD; the exit code is 0, or 2 when the kernel does not allow it
"""

import ctypes
import os
import sys

SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000

process, name = sys.argv[1:]
tasks = f"/proc/{process}/task"
threads = [int(task) for task in os.listdir(tasks) if open(f"{tasks}/{task}/comm").read().strip() == name]
if len(threads) != 1:
    sys.exit(f"{len(threads)} threads of the name {name}")
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
for what in SEIZE, INTERRUPT:
    if ptrace(what, threads[0], None, None):
        print(f"no thread can be stopped here: {os.strerror(ctypes.get_errno())}")
        sys.exit(2)
while os.WIFSTOPPED(os.waitpid(threads[0], WALL)[1]):
    pass
