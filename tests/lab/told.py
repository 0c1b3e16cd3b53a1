"""Reads alerts.json: `told.py FILE alerts ADDRESS` prints the number of alerts about it, `told.py FILE decided ADDRESS` the
time stamp of the packet behind its first alert, `told.py FILE told ADDRESS` when that alert was made, `told.py FILE kinds ADDRESS` its types of evidence."""

import datetime
import json
import sys


def main():
    path, question, address = sys.argv[1:4]
    alerts, decided, told, latest, kinds = 0, None, None, None, []
    try:
        lines = open(path, encoding="utf-8")
    except FileNotFoundError:
        lines = []
    for line in lines:
        if not line.endswith("\n"):
            break
        message = json.loads(line)
        if message["Source"][0].get("IP") != address:
            continue
        if message["Status"] == "Incident":
            alerts += 1
            decided, told = decided or latest, told or message["CreateTime"]
            continue
        note = json.loads(message["Note"])
        latest = note.get("last_seen", message["StartTime"])
        if note["evidence_type"] not in kinds:
            kinds.append(note["evidence_type"])
    if question == "alerts":
        print(alerts)
    elif question == "kinds":
        print(" ".join(kinds))
    elif question == "told" and told:
        print(datetime.datetime.fromisoformat(told.replace("Z", "+00:00")).timestamp())
    elif decided:
        print(datetime.datetime.fromisoformat(decided.replace("Z", "+00:00")).timestamp())


main()
