#!/usr/bin/env python3
"""What `server-migrate-forecast` tells beside what the migration then does (`script/bench forecast`), over guests from idle to such as
dirty memory faster than the bandwidth asked for carries it.

Each guest is forecast and then migrated with the same options, to and fro between two hosts. Compared: the time from submit to `ready`,
and whether memory converges. A migration without auto-converge that has not ended by the deadline asked for did not converge; the
forecast is right when it says so. Absolute times depend on the machine and on what else it does.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import bare  # noqa: E402
from beat import Beats  # noqa: E402
from fleet import Fleet  # noqa: E402

# Memory in MiB, dirtied MiB/s, in a set of MiB, bandwidth in MB/s (0: none). The last ones cannot converge without help.
GUESTS = [
    (256, 0, 16, 0),
    (256, 20, 64, 0),
    (256, 60, 64, 0),
    (512, 0, 16, 0),
    (512, 50, 128, 0),
    (512, 0, 16, 60),
    (512, 15, 128, 60),
    (512, 30, 128, 60),
    (512, 200, 8, 60),
    (512, 150, 128, 60),
    (512, 150, 160, 30),
]


def parameters(memory, dirty, dirty_set, port):
    still = max(0, memory // 2 - dirty_set - 8)
    return (
        f"godwit.dirty_mb_s={dirty} godwit.dirty_set_mb={dirty_set} godwit.still_mb={still} godwit.verify_mb_s=16"
        f" godwit.records_s=20 godwit.beat=10.0.2.2:{port}"
    )


def one(fleet, guest, image, row, deadline, rounds):
    """Forecast and outcome of one guest, once for each round, as they come."""
    memory, dirty, dirty_set, bandwidth = row
    name = "forecast"
    flags = ["--max-bandwidth-mb", str(bandwidth)] if bandwidth else []
    with Beats() as beats, open(os.path.join(guest, "cmdline")) as command_line:
        append = f"{command_line.read().strip()} {parameters(memory, dirty, dirty_set, beats.port)}"
        fleet.call(
            "server-create", name, "--memory-mb", str(memory), "--disk", f"image={image},format=qcow2", "--nic", "network=default",
            "--kernel", f"{guest}/vmlinuz", "--initrd", f"{guest}/initrd.gz", "--append", append, "--prefer-host", "host1",
        )
        try:
            fleet.call("server-start", name)
            if not beats.wait_for(2.0, 120):
                raise bare.Failure("the guest does not beat")
            for _ in range(rounds):
                asked = time.monotonic()
                told = fleet.ask("server-migrate-forecast", name, "--live-migrate", "--no-auto-converge", "--timeout", f"{deadline}s", *flags)
                took = time.monotonic() - asked
                estimate = told.get("estimate")
                if not estimate:
                    raise bare.Failure(f"no estimate: {told['notes']}")
                # That it fails is an outcome too.
                command = [fleet.godwit, "server-live-migrate", name, "--no-auto-converge", "--timeout", f"{deadline}s", "--wait", *flags]
                subprocess.run(command, env=fleet.environment, stdin=subprocess.DEVNULL, capture_output=True)
                migration = fleet.ask("migration-list", "--server", name)[0]
                states = {}
                for event in fleet.ask("migration-show", migration["id"])["history"]:
                    if event.get("from") and event["from"] != event["to"] and "ms" in (event.get("numbers") or {}):
                        states[event["from"]] = states.get(event["from"], 0) + event["numbers"]["ms"]
                yield {
                    "memory_mb": memory, "dirty_mb_s": dirty, "dirty_set_mb": dirty_set, "bandwidth_mb": bandwidth,
                    "forecast_s": estimate["total_ms"] / 1000, "asked_s": took, "estimate": estimate,
                    "told": estimate["converges"], "converged": migration["state"] == "ready" and migration["attempt"] == 1,
                    "total_s": migration["total_ms"] / 1000, "states": states, "migration": migration,
                }
                if not beats.wait_for(1.0, 60, since_ns=time.time_ns()):
                    raise bare.Failure("the guest beats no more")
        finally:
            if fleet.ask("server-show", name)["status"] != "ready":
                fleet.call("server-stop", name, "--force")
            fleet.call("server-delete", name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", help="folder of the built programs")
    parser.add_argument("--rounds", type=int, default=2, help="forecasts and migrations of each guest (default 2)")
    parser.add_argument("--deadline-s", type=int, default=60, help="after which a migration has not converged (default 60)")
    parser.add_argument("--disk-gb", type=int, default=2)
    parser.add_argument("--disk-data-mb", type=int, default=128)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the guests, from 0")
    parser.add_argument("--json", help="every run's figures are appended to this file, a line a run")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))

    guest = bare.guest_folder()
    fleet, runs = Fleet(arguments.programs), []
    try:
        image = os.path.join(fleet.folder, "image.qcow2")
        bare.make_disk(image, arguments.disk_gb, arguments.disk_data_mb)
        for number, row in enumerate(GUESTS):
            if arguments.only and number not in arguments.only:
                continue
            for run in one(fleet, guest, image, row, arguments.deadline_s, arguments.rounds):
                runs.append(run)
                if arguments.json:
                    with open(arguments.json, "a") as file:
                        file.write(json.dumps(run) + "\n")
                print(
                    "{memory_mb:4} MiB {dirty_mb_s:3} MiB/s in {dirty_set_mb:3} MiB at {bandwidth_mb:3} MB/s:"
                    " told {forecast_s:6.2f} s, {told_word:14}  took {total_s:6.2f} s, {word}".format(
                        told_word="converges" if run["told"] else "does not", word="converged" if run["converged"] else "did not", **run
                    ),
                    flush=True,
                )
    finally:
        fleet.close()

    errors = [abs(run["forecast_s"] - run["total_s"]) / run["total_s"] for run in runs if run["told"] and run["converged"]]
    wrong = sum(run["told"] != run["converged"] for run in runs)
    print(f"\n{len(runs)} migrations, {len(errors)} of them converged and were told to")
    if errors:
        within = sum(error <= 0.25 for error in errors)
        print(f"time within 25 %: {within} of {len(errors)}; median error {statistics.median(errors):.0%}, worst {max(errors):.0%}")
        for label, value in (("median", statistics.median(errors)), ("worst", max(errors))):
            print(f"figure forecast-time-error-{label} {value * 100:.0f} % aim <= 25 {'met' if value <= 0.25 else 'short'}")
    print(f"figure forecast-convergence-wrong {wrong} of-{len(runs)} aim <= 0 {'met' if wrong == 0 else 'short'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except bare.Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        sys.exit(1)
