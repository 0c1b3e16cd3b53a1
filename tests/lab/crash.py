"""Kills the daemon with SIGKILL at random moments under load and asks each time what is left: whether the databases are whole, no alert that
the journal was told is missing in them, no acknowledged block or unblock, and the kernel is as the book.

`crash.py SLIPS DIRECTORY COUNT SEED FLAG INTERFACE…`, inside the router's namespace. Alerts come from storm.py, which sends while FLAG is
there; blocks, unblocks and reloads by hand from here. The journal's datagrams are received here, outside the process that is killed. Prints
one line of figures and ends with 0 if nothing was missing."""

import collections
import ipaddress
import json
import os
import random
import signal
import socket
import sqlite3
import sys
import threading
import time

from kills import Daemon, ask, book, calm, differences, kernel

# So much later than the wall clock said here an acknowledged block may end, in seconds.
BLUR = 2.0
# The smallest size that a database may be given, and by how much flows are more than that, a few times.
LEAST, SOME = 16 << 20, 4 << 20
# How a run ends, and how often of all.
MOMENTS = {
    "under load": 8,
    "while flows.sqlite is checkpointed": 3,
    "while blocks.sqlite is checkpointed": 3,
    "after a reload": 2,
    "while it starts": 4,
    "while it moves an old database to the new layout": 3,
    "while it deletes old rows": 8,
}


class Journal(threading.Thread):
    """Stands in for journald: keeps the identities of alerts that were told, with how much evidence each has."""

    def __init__(self, directory):
        super().__init__(daemon=True)
        os.makedirs(directory, exist_ok=True)
        # As many datagrams as a real journald lets wait. The number is this network namespace's.
        with open("/proc/sys/net/unix/max_dgram_qlen", "w") as queue:
            queue.write("8192")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self.socket.bind(os.path.join(directory, "socket"))
        self.alerts, self.entries, self.components = {}, 0, collections.Counter()

    def run(self):
        while True:
            fields = fields_of(self.socket.recv(1 << 20))
            self.entries += 1
            if fields.get("SLIPS_EVENT") == "alert":
                self.alerts[fields["SLIPS_ALERT_ID"]] = int(fields["SLIPS_EVIDENCE_COUNT"])
            elif fields.get("SLIPS_EVENT") == "degraded":
                self.components[fields.get("SLIPS_COMPONENT") + ": " + fields.get("SLIPS_REASON", "")[:100]] += 1

    def read_up(self):
        """Waits until all that was sent by who is dead now has been read."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            before = self.entries
            last.sendto(b"SLIPS_EVENT=none\n", self.socket.getsockname())
            # Datagrams of one socket are received in the order in which they were sent.
            while self.entries == before or self.waiting():
                time.sleep(0.001)

    def waiting(self):
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False


def fields_of(datagram):
    """The fields of an entry in journald's native form."""
    fields, at = {}, 0
    while at < len(datagram):
        end = datagram.index(b"\n", at)
        name, equals, value = datagram[at:end].partition(b"=")
        if not equals:
            size = int.from_bytes(datagram[end + 1 : end + 9], "little")
            value, end = datagram[end + 9 : end + 9 + size], end + 9 + size
        fields[name.decode()] = value.decode(errors="replace")
        at = end + 1
    return fields


class Hand(threading.Thread):
    """Blocks and unblocks by hand as fast as the daemon answers, and remembers what was acknowledged: of each address until when it is
    blocked at least, or that it is not."""

    def __init__(self, seed):
        super().__init__(daemon=True)
        self.going, self.idle, self.random = threading.Event(), threading.Event(), random.Random(seed)
        self.known, self.acknowledged = {}, 0

    def run(self):
        while True:
            if not self.going.is_set():
                self.idle.set()
                self.going.wait()
            self.idle.clear()
            self.turn()

    def turn(self):
        first = ipaddress.ip_address(f"100.64.{self.random.randrange(4)}.{self.random.randrange(64) * 4}")
        net = ipaddress.ip_network((first, self.random.choice([30, 32, 32])))
        seconds = self.random.choice([0, 0, 120, 600])
        sent = time.time()
        answer = ask(f"block {net} {seconds} load" if seconds else f"unblock {net}")
        for address in net:
            if not answer:
                # It may have been done, and the answer not sent.
                self.known.pop(address, None)
            elif not seconds:
                self.known[address] = 0
            elif answer.startswith("ok") and self.known.get(address) is not None:
                self.known[address] = max(self.known[address], sent + seconds)
            elif answer.startswith("ok"):
                self.known[address] = sent + seconds
        self.acknowledged += bool(answer)

    def rest(self):
        self.going.clear()
        self.idle.wait()

    def missing(self, in_book, wall):
        for address, until in self.known.items():
            left = in_book.get(address, 0)
            if until > wall + BLUR and left < until - wall - BLUR:
                yield f"{address} was blocked until {until - wall:.1f} s from now and the book says {left:.1f}"
            # Whoever is about to end may be in the book still.
            elif until == 0 and left > BLUR:
                yield f"{address} was let in and the book says {left:.1f}"


class Old:
    """A database of an old layout with alerts in it, put in the place of the one that the daemon has."""

    def __init__(self, path):
        self.path, self.rows, self.kept = path, 60_000, {}

    def make(self, number):
        for end in ("", "-wal", "-shm"):
            if os.path.exists(self.path + end):
                os.rename(self.path + end, f"{self.path}.before{end}")
        layout = os.path.join(os.path.dirname(os.path.abspath(__file__)), "layout-5.sql")
        with sqlite3.connect(self.path) as db, open(layout, encoding="utf-8") as text:
            db.executescript(text.read())
            uids = [f"C{number}x{row}" for row in range(self.rows)]
            db.executemany(
                "INSERT INTO flows (uid, start, seen, src, dst, proto, label) VALUES (?, ?, ?, ?, ?, 'tcp', 'benign')",
                ((uid, row, row, "192.0.2.1", f"198.51.100.{row % 250}") for row, uid in enumerate(uids)),
            )
            ids = [f"{number:08x}-0000-4000-8000-{row:012x}" for row in range(500)]
            now = int(time.time() * 1e6)
            for name in ids:
                db.execute(
                    "INSERT INTO evidence (id, kind, attacker, attacker_type, level, confidence, profile, window, at, last_seen,"
                    " description, proven, count, weight, accumulated, revision) VALUES"
                    " (?, 'VERTICAL_PORT_SCAN', '192.0.2.1', 'ip', 'high', 1, '192.0.2.1', 1, ?, ?, 'old', 1, 1, 0.8, 0.8, 0)",
                    (name, now, now),
                )
                db.execute("INSERT INTO evidence_flows VALUES (?, ?)", (name, uids[0]))
                db.execute(
                    "INSERT INTO alerts VALUES (?, '192.0.2.1', 1, ?, ?, ?, ?, 'critical', 1, 1, 'critical', 1, 0, 0)",
                    (name, now, now, now, now),
                )
                db.execute("INSERT INTO alert_evidence VALUES (?, 0, ?)", (name, name))
            # So many that its indexes are made later, while all else goes on.
            db.executemany(
                "INSERT INTO evidence (id, kind, attacker, attacker_type, level, confidence, profile, window, at, last_seen, description,"
                " proven, count, weight, accumulated, revision) VALUES (?, 'DNS_WITHOUT_CONNECTION', ?, 'ip', 'low', 0.5, '192.0.2.2', 1,"
                " ?, ?, 'old', 0, 1, 0.1, 0.1, 0)",
                ((f"{number:08x}-0001-4000-8000-{row:012x}", f"192.0.2.{row % 250}", now, now) for row in range(40_000)),
            )
        db.close()
        self.kept = dict.fromkeys(ids, 1)

    def put_back(self):
        for end in ("", "-wal", "-shm"):
            if os.path.exists(self.path + end):
                os.unlink(self.path + end)
            if os.path.exists(f"{self.path}.before{end}"):
                os.rename(f"{self.path}.before{end}", self.path + end)


def damage(path):
    """What is wrong with a database."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        found = [row[0] for row in db.execute("PRAGMA integrity_check")]
    db.close()
    return [] if found == ["ok"] else [f"{os.path.basename(path)}: {found[:3]}"]


def missing_alerts(path, told):
    """The alerts that the database does not have, or not with all their evidence."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        rows = db.execute(
            "SELECT alerts.id, count(evidence.id) FROM alerts LEFT JOIN alert_evidence ON alert_id = alerts.id"
            " LEFT JOIN evidence ON evidence.id = evidence_id GROUP BY alerts.id"
        )
        kept = dict(rows.fetchall())
    db.close()
    return [f"alert {name}: {kept.get(name)} of {count} findings" for name, count in told.items() if kept.get(name) != count]


def torn(path):
    """Lines of alerts.json that are none, of both files."""
    lines = 0
    for name in (f"{path}.1", path):
        if os.path.exists(name):
            with open(name, "rb") as file:
                for line in file:
                    try:
                        json.loads(line)
                    except ValueError:
                        lines += 1
    return lines


def until_written(path, at_most):
    """Waits until somebody writes to this file, which with a journal is a checkpoint."""
    until = time.monotonic() + at_most
    before = os.stat(path).st_mtime_ns
    while os.stat(path).st_mtime_ns == before and time.monotonic() < until:
        time.sleep(0.0002)


def used(db):
    """The bytes that a database makes use of."""
    pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


def first_and_used(path):
    """The first flow that the database has, and the bytes that it makes use of."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        found = db.execute("SELECT min(id) FROM flows").fetchone()[0], used(db)
    db.close()
    return found


def too_much(path):
    """A size of this database, of which nobody has it open, at which many flows make room and alerts do not: there are so many flows by then."""
    insert = """
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
        INSERT INTO flows (uid, start, seen, duration, src, src_port, dst, dst_port, proto, service, state, history, label)
        SELECT 'Cmade' || n, n, n, 1000000, '192.0.2.' || (n % 250), n, '198.51.100.' || (n % 250), 443, 'tcp', 'ssl', 'SF', 'ShADadFf', 'benign' FROM n
    """
    with sqlite3.connect(path) as db:
        size = max(LEAST, used(db)) + SOME
        while used(db) < size + 4 * SOME:
            db.execute(insert)
    db.close()
    return size


def write_config(directory, output, size=2_000_000_000):
    lists = os.path.join(directory, "lists")
    os.makedirs(lists, exist_ok=True)
    with open(os.path.join(lists, "listed.csv"), "w") as listed:
        listed.write("198.18.0.0/16,critical,a listed network\n")
    config = os.path.join(directory, "slips.yaml")
    with open(config, "w") as text:
        text.write(
            f"threatintelligence:\n  local_threat_intelligence_files: {lists}\n"
            "firewall:\n  unproven_term: 600s\n  shortest_term: 600s\n"
            # Flows end, and become rows, since others take their places.
            f"limits:\n  flows: 2048\ndatabase:\n  size: {size}B\n"
            f"output:\n  directory: {output}\n"
        )
    return config


class Crashes:
    def __init__(self, slips, directory, seed, flag, interfaces):
        self.slips, self.directory, self.flag, self.seed = slips, directory, flag, seed
        self.output = os.path.join(directory, "files")
        self.flows, self.blocks = (os.path.join(self.output, name) for name in ("flows.sqlite", "blocks.sqlite"))
        at = os.path.join(directory, "journal")
        self.journal, self.hand, self.old = Journal(at), Hand(seed), Old(self.flows)
        self.daemon = Daemon(slips, write_config(directory, self.output), directory, interfaces)
        # It finds this journal where it looks for journald's, and nobody else's files in /run.
        place = "mount -t tmpfs run /run && mkdir -p /run/systemd/journal && mount --bind %s /run/systemd/journal" % at
        self.daemon.command = [
            *["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{place} && exec "$@"', "sh"],
            *self.daemon.command,
        ]
        self.starts, self.moments = [], collections.Counter()
        # Kills between the deletion of the first row and that of the last, and rows that were deleted.
        self.amid = self.deleted = 0
        self.compared = self.kills = self.checked = 0
        for thread in (self.journal, self.hand):
            thread.start()

    def kill(self, group):
        if group:
            os.killpg(self.daemon.process.pid, signal.SIGKILL)
            self.daemon.process.wait()
        else:
            self.daemon.kill()
        self.kills += 1

    def end(self, moment, chance):
        """Lets the daemon, which is ready, come to its end at such a moment."""
        open(self.flag, "w").close()
        self.hand.going.set()
        # Each has alerts and blocks before. What is deleted goes in steps, at the beginning of each second.
        time.sleep(chance.uniform(0.05, 2.5 if moment == "while it deletes" else 1.2))
        if moment == "while flows.sqlite is checkpointed":
            until_written(self.flows, 4)
        elif moment == "while blocks.sqlite is checkpointed":
            until_written(self.blocks, 4)
        elif moment == "after a reload":
            os.kill(self.daemon.process.pid, signal.SIGHUP)
            time.sleep(chance.uniform(0, 0.1))
        self.kill(chance.random() < 0.3)
        self.hand.rest()
        calm(self.flag)

    def crash(self, number):
        """One run; what is wrong after it."""
        chance = random.Random(self.seed * 1000 + number)
        moment = chance.choices(list(MOMENTS), MOMENTS.values())[0]
        self.end(moment, chance)
        if moment == "while it deletes old rows":
            self.delete_rows(chance)
        self.moments[moment] += 1
        old = moment == "while it moves an old database to the new layout"
        before = set()
        if old:
            # So that the one which is put aside has all that was told.
            self.starts.append(self.daemon.start())
            self.kill(False)
            self.journal.read_up()
            before.update(self.journal.alerts)
            self.old.make(number)
        if old or moment == "while it starts":
            for _ in range(chance.randrange(1, 4)):
                usual = sorted(self.starts)[len(self.starts) // 2]
                self.daemon.spawn()
                # An old one gets its indexes one a second, from when the daemon is ready on.
                time.sleep(chance.uniform(0, usual * 1.2 + (5 if old else 0)))
                self.kill(chance.random() < 0.3)
        self.starts.append(self.daemon.start())
        self.journal.read_up()
        wrong = self.compare({**self.old.kept, **self.told_since(before)} if old else self.journal.alerts)
        if old:
            # What was told meanwhile was filed there, and is looked for no more.
            self.kill(False)
            self.journal.read_up()
            for name in self.told_since(before):
                self.checked += 1
                del self.journal.alerts[name]
            self.old.put_back()
            self.starts.append(self.daemon.start())
        return moment, wrong

    def delete_rows(self, chance):
        """The database may be no larger than some of it from now on: rows go, in steps, each second until it fits."""
        size = too_much(self.flows)
        write_config(self.directory, self.output, size)
        first, _ = first_and_used(self.flows)
        for _ in range(3):
            self.starts.append(self.daemon.start())
            self.end("while it deletes", chance)
            before, (first, bytes_used) = first, first_and_used(self.flows)
            # The rest is deleted by the next.
            self.amid += before < first and bytes_used > size
            self.deleted += first - before
        write_config(self.directory, self.output)

    def told_since(self, before):
        return {name: count for name, count in self.journal.alerts.items() if name not in before}

    def compare(self, told):
        wall = time.time()
        in_book, in_kernel = book(self.blocks, wall), kernel(self.slips)
        took = time.time() - wall
        self.compared += len(in_kernel)
        wrong = damage(self.flows) + damage(self.blocks) + missing_alerts(self.flows, dict(told))
        wrong += [f"{name} is there" for name in os.listdir(self.output) if "damaged" in name]
        wrong += differences(in_book, in_kernel, took) + list(self.hand.missing(in_book, wall))
        lines = torn(os.path.join(self.output, "alerts.json"))
        if lines > self.kills:
            wrong.append(f"{lines} lines of alerts.json are none after {self.kills} kills")
        return wrong


def main():
    slips, directory, count, seed, flag, *interfaces = sys.argv[1:]
    crashes = Crashes(slips, directory, int(seed), flag, interfaces)
    began = time.monotonic()
    crashes.starts.append(crashes.daemon.start())
    bad, number = 0, 0
    for number in range(int(count)):
        moment, wrong = crashes.crash(number)
        if wrong:
            bad += 1
            print(f"seed {seed}, run {number}, killed {moment}: {len(wrong)} wrong, {wrong[:3]}", file=sys.stderr)
    crashes.daemon.kill()
    if crashes.journal.components:
        print(f"degraded: {dict(crashes.journal.components)}", file=sys.stderr)
    told, starts = len(crashes.journal.alerts) + crashes.checked, sorted(crashes.starts)
    print(
        f"seed {seed}: {count} runs, {crashes.kills} kills ({', '.join(f'{n} {how}' for how, n in crashes.moments.items())})"
        f" in {time.monotonic() - began:.0f} s, {told} alerts told, {crashes.hand.acknowledged} blocks and unblocks acknowledged,"
        f" {crashes.compared} addresses compared, {crashes.deleted} old rows deleted and {crashes.amid} kills amid that, {bad} runs with something missing or different;"
        f" ready after {starts[len(starts) // 2] * 1000:.0f} ms (median), {starts[-1] * 1000:.0f} ms (worst)"
    )
    sys.exit(1 if bad or not told else 0)


main()
