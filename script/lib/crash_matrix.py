#!/usr/bin/env python3
"""Writes docs/crash-matrix.md from the outcomes of `script/test crash-matrix`.

crash_matrix.py RESULTS... [--points FILE] > docs/crash-matrix.md

RESULTS have an outcome a line (JSON, as CrashOutcome in Tests/EndToEndTests/CrashMatrix); FILE names all failure points, as
`godwit failpoints --output json` lists them. Exit status 1 when an outcome has a flaw.
"""
import argparse
import collections
import datetime
import json
import statistics
import sys

WAYS = {
    "live": "live",
    "live-cancelled": "live, cancelled while memory is on its way",
    "cold": "cold",
    "cold-cancelled": "cold, cancelled while files are copied",
    "rescue": "rescue",
}
STORES = {"sqlite": "", "postgres": " (PostgreSQL)"}
VICTIMS = ["controller", "worker", "source-agent", "target-agent", "source-qemu", "target-qemu", "everything", "store"]


def cell(outcome):
    if outcome is None:
        return ""
    if outcome["flaws"]:
        return "**flaw**"
    if outcome.get("end") is None:
        return "–"
    text = "ready" if outcome["end"] == "ready" else outcome.get("reason") or outcome["end"]
    return text + (f" ({outcome['attempts']})" if outcome["attempts"] > 1 else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+")
    parser.add_argument("--points", help="JSON list of all failure points")
    arguments = parser.parse_args()
    outcomes = {}
    for path in arguments.results:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                outcome = json.loads(line)
                crash = outcome["crash"]
                outcomes[crash["way"], crash["store"], crash["point"], crash["victim"]] = outcome
    happened = [outcome for outcome in outcomes.values() if outcome.get("end") is not None]
    flawed = [outcome for outcome in happened if outcome["flaws"]]
    points = json.load(open(arguments.points, encoding="utf-8")) if arguments.points else []
    print("# The crash matrix\n")
    print(
        "What happens when each of Godwit's processes, and each QEMU, dies at each failure point of a migration. Made on real QEMU by\n"
        "`script/test crash-matrix`, which holds whoever reaches the point, kills the victim (SIGKILL), lets go, and starts the victim\n"
        "again (a QEMU is not started again). `everything` is all of Godwit's processes on all hosts at once; `store` is the end of all of\n"
        "PostgreSQL's connections, and a SQLite store that cannot be written for 6 s. The tables are of SQLite where they do not say PostgreSQL.\n"
        "In a rescue the source host has no power; `source-agent` there is its return at that moment.\n"
    )
    print(
        "After each case it is checked from outside: the migration is finished with a reason if it failed; exactly the guest that the store\n"
        "knows runs, on the host that it names (or none); the guest ticks on and was not booted again, unless its QEMU was the victim; every\n"
        "record that it had acknowledged is on its disk, whole; the other hosts keep nothing; nothing is reserved, nothing waits for cleanup;\n"
        "the history is unbroken and ends where the migration did. The server of one case is that of the next, so that each also shows that\n"
        "a further migration works.\n"
    )
    print("A cell says how it ended: `ready`, or the reason of the failure, after which the server is where it was; attempts beyond the first")
    print("in brackets. `–`: the victim was not there at that moment. Empty: not run yet.\n")
    seconds = sorted(outcome["milliseconds"] / 1000 for outcome in happened)
    print(f"**{len(happened)} cases, {len(flawed)} with a flaw.** Written on {datetime.date.today().isoformat()}", end="")
    print(f"; a case took {statistics.median(seconds):.0f} s in the middle, {seconds[-1]:.0f} s at most.\n" if seconds else ".\n")
    ends = collections.Counter((o["crash"]["way"], o["crash"]["store"], o["end"] if o["end"] == "ready" else o.get("reason") or o["end"]) for o in happened)
    print("| way | end | cases |\n|---|---|---|")
    for (way, store, end), count in sorted(ends.items()):
        print(f"| {WAYS.get(way, way)}{STORES[store]} | {end} | {count} |")
    for way, store in ((way, store) for way in WAYS for store in STORES):
        reached = sorted({key[2] for key in outcomes if key[:2] == (way, store)})
        if not reached:
            continue
        victims = [victim for victim in VICTIMS if any(key[:2] == (way, store) and key[3] == victim for key in outcomes)]
        print(f"\n## {WAYS[way][0].upper()}{WAYS[way][1:]}{STORES[store]}\n")
        print("| point | " + " | ".join(victims) + " |")
        print("|---|" + "---|" * len(victims))
        for point in reached:
            cells = [cell(outcomes.get((way, store, point, victim))) for victim in victims]
            if any(text not in ("", "–") for text in cells):
                print(f"| `{point}` | " + " | ".join(cells) + " |")
    if flawed:
        print("\n## Flaws\n")
        for outcome in flawed:
            crash = outcome["crash"]
            print(f"- {crash['way']}{STORES[crash['store']]} at `{crash['point']}`, {crash['victim']}: " + "; ".join(outcome["flaws"]))
    if points:
        reached = {key[2] for key in outcomes}
        missing = [point for point in points if point not in reached]
        print(f"\n## Not reached\n\nBy none of these ways, or not yet, of {len(points)} failure points: {len(missing)}.\n")
        print(", ".join(f"`{point}`" for point in missing) + ("." if missing else ""))
    return 1 if flawed else 0


if __name__ == "__main__":
    sys.exit(main())
