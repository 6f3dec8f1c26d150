#!/usr/bin/env python3
"""Live migration by Godwit beside a bare QMP script doing the same on the same guest, alternately (`script/bench live`).

Total: from submit to `ready` (Godwit), from the first action to RESUME on the target (script), the target's start included in both.
Blackout: the longest gap between the guest's heartbeats around the switchover, seen from outside. Every guest is proven whole after
its migration. Absolute times depend on the machine; the ratios are what counts.
"""
import argparse
import datetime
import glob
import hashlib
import json
import os
import signal
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import bare  # noqa: E402
from beat import Beats  # noqa: E402
from fleet import Fleet  # noqa: E402


class Bench(Fleet):
    def migrate(self, options, guest):
        """One migration of a fresh guest from host1 to host2, proven; its figures."""
        image = os.path.join(self.folder, "image.qcow2")
        digest = bare.make_disk(image, options.disk_gb, options.disk_data_mb)
        name = "bench"
        with Beats() as beats, open(os.path.join(guest, "cmdline")) as command_line:
            append = f"{command_line.read().strip()} {bare.guest_parameters(options.memory_mb, options.dirty_mb_s, beats.port)}"
            self.call(
                "server-create", name, "--memory-mb", str(options.memory_mb), "--disk", f"image={image},format=qcow2",
                "--nic", "network=default", "--kernel", f"{guest}/vmlinuz", "--initrd", f"{guest}/initrd.gz", "--append", append,
                "--prefer-host", "host1",
            )
            os.unlink(image)
            try:
                self.call("server-start", name)
                if not beats.wait_for(2.0, 120):
                    raise bare.Failure("the guest does not beat")
                begun_ns = time.time_ns()
                self.call("server-live-migrate", name, "--prefer-host", "host2", "--wait")
                ended_ns = time.time_ns()
                if not beats.wait_for(1.0, 30, since_ns=ended_ns):
                    raise bare.Failure("no heartbeat from the target")
                migration = self.ask("migration-list", "--server", name)[0]
                # The window of bare.py: from half a second before the source stopped to a second after the target ran.
                finished_ns = int(datetime.datetime.fromisoformat(migration["finished_at"]).timestamp() * 1e9)
                stopped_ns = finished_ns - migration["blackout"]["total_us"] * 1000
                figures = {
                    "total_s": migration["total_ms"] / 1000,
                    "command_s": (ended_ns - begun_ns) / 1e9,
                    "blackout_ms": beats.longest_gap(stopped_ns - 500_000_000, finished_ns + 1_000_000_000)["ms"],
                    "longest_gap_ms": beats.longest_gap(begun_ns, ended_ns + 1_000_000_000)["ms"],
                    "stop_to_resume_ms": migration["blackout"]["total_us"] / 1000,
                }
                self.prove(name, options, beats, digest)
            finally:
                if self.ask("server-show", name)["status"] != "ready":
                    self.call("server-stop", name, "--force")
                self.call("server-delete", name)
        return figures

    def prove(self, name, options, beats, digest):
        console = bare.load_script(os.path.join(bare.ROOT, "Tests", "Guest", "check-console"))
        records = bare.load_script(os.path.join(bare.ROOT, "Tests", "Guest", "check-records"))
        server = self.ask("server-show", name)
        log = server["console_log"]
        # One sweep over all pages after the switchover.
        self.until("verification of the guest's memory", lambda: console.check([log], partial=True)["files"][0]["ticks"] >= 20)
        self.call("server-stop", name)
        found = console.check([log], partial=True)
        seen = beats.summary()
        if found["problems"] or not found["stopped"] or seen["memerr"] or len(seen["boots"]) != 1:
            raise bare.Failure(f"console: {found['problems']} {seen}")
        disk = glob.glob(f"{self.state}/**/{server['id']}/disk0.qcow2", recursive=True)[0]
        checked = records.check(disk, max(found["record"], seen["record"]))
        if checked["problems"]:
            raise bare.Failure("records: " + "; ".join(checked["problems"]))
        data = records.read_range(disk, bare.DATA_START, options.disk_data_mb * bare.MIB)
        if hashlib.sha256(data).hexdigest() != digest:
            raise bare.Failure("data that the guest never wrote differs on the target's disk")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", help="folder of the built programs")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs for each guest (default 5)")
    parser.add_argument("--memory-mb", type=int, nargs="+", default=[128, 512, 1024])
    parser.add_argument("--dirty-mb-s", type=int, nargs="+", default=[0, 50])
    parser.add_argument("--disk-gb", type=int, default=2)
    parser.add_argument("--disk-data-mb", type=int, default=256)
    parser.add_argument("--json", help="every run's figures are appended to this file, a line a run")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))

    guest = bare.guest_folder()
    fleet, rows, ratios = Bench(arguments.programs), [], {"total": [], "blackout": []}
    try:
        for memory in arguments.memory_mb:
            for dirty in arguments.dirty_mb_s:
                options = bare.Options(
                    memory_mb=memory, dirty_mb_s=dirty, disk_gb=arguments.disk_gb, disk_data_mb=arguments.disk_data_mb, guest=guest
                )
                runs = {"bare": [], "godwit": []}
                for pair in range(arguments.pairs):
                    order = ["bare", "godwit"] if pair % 2 == 0 else ["godwit", "bare"]
                    for who in order:
                        figures = bare.migrate(options) if who == "bare" else fleet.migrate(options, guest)
                        runs[who].append(figures)
                        if arguments.json:
                            with open(arguments.json, "a") as file:
                                file.write(json.dumps({"who": who, "memory_mb": memory, "dirty_mb_s": dirty, **figures}) + "\n")
                        print(
                            f"{memory:5} MB {dirty:3} MB/s {who:7} total {figures['total_s']:7.3f} s"
                            f"  blackout {figures['blackout_ms']:7.1f} ms",
                            flush=True,
                        )
                median = lambda who, key: statistics.median(run[key] for run in runs[who])  # noqa: E731
                row = [memory, dirty]
                for key, name in (("total_s", "total"), ("blackout_ms", "blackout")):
                    ours, floor = median("godwit", key), median("bare", key)
                    row += [floor, ours, ours / floor]
                    ratios[name].append(ours / floor)
                rows.append(row)
    finally:
        fleet.close()

    print("\nmedians of", arguments.pairs, "alternated pairs")
    print("guest         | total: bare   godwit  ratio | blackout: bare  godwit  ratio")
    for memory, dirty, *rest in rows:
        print("{:5} MB {:3}/s | {:8.2f} s {:6.2f} s {:6.2f} | {:9.0f} ms {:5.0f} ms {:6.2f}".format(memory, dirty, *rest))
    for name, values in ratios.items():
        for label, value in (("median", statistics.median(values)), ("worst", max(values))):
            print(f"figure live-{name}-ratio-{label} {value:.2f} x aim <= 1.10 {'met' if value <= 1.10 else 'short'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except bare.Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        sys.exit(1)
