#!/usr/bin/env python3
"""Follows docs/walkthrough.md line by line. usage: walkthrough.py PAGE COMMAND…; COMMAND runs a line of shell on the machine.

Lines of a `console` block that begin with `# ` are run, what follows is what they must print: `…` stands for anything in a line, a line
of its own for any lines. What only looks is looked at again until it is so or its patience ends: a person looks again, too.
"""
import re
import subprocess
import sys
import time

PATIENCE = 60
LOOKS = ("journalctl", "slips firewall", "slips profile", "systemctl is-active")


def steps(page):
    block = None
    for line in page.splitlines():
        if line.startswith("```"):
            block = [] if line == "```console" and block is None else None
        elif block is not None and line.startswith("# "):
            block.append(line)
            yield [line[2:]]
        elif block is not None:
            yield line


def told(page):
    """Each command with the lines that it must print."""
    last = None
    for step in steps(page):
        if isinstance(step, list):
            if last:
                yield last
            last = (step[0], [])
        else:
            last[1].append(step)
    if last:
        yield last


def pattern(lines):
    parts = []
    for line in lines:
        if line == "…":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append("[^\n]*".join(re.escape(part) for part in line.split("…")) + r"[ \t]*\n")
    return re.compile("".join(parts) + r"\Z")


def run(command, line):
    done = subprocess.run(command + [line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    text = done.stdout
    return text if not text or text.endswith("\n") else text + "\n"


def main():
    page, command = open(sys.argv[1], encoding="utf-8").read(), sys.argv[2:]
    began, count = time.monotonic(), 0
    for line, lines in told(page):
        wanted, end = pattern(lines), time.monotonic() + PATIENCE
        while True:
            text = run(command, line)
            if wanted.match(text):
                break
            if time.monotonic() > end or not line.startswith(LOOKS):
                print(f"`{line}` printed\n{text[-1500:]}\nwhere the page has\n" + "\n".join(lines))
                return 1
            time.sleep(0.2)
        count += 1
    if count < 15:
        print(f"only {count} commands on the page: is it still written this way?")
        return 1
    print(f"{count} commands as the page has them, {time.monotonic() - began:.0f} s")
    return 0


sys.exit(main())
