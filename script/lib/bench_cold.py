#!/usr/bin/env python3
"""Cold migration by Godwit beside `qemu-img convert -n -W --target-is-zero` to a `qemu-nbd`, alternately over the same link (loopback),
with the same disk on the same file system (`script/bench cold`).

Floor: convert's time, the target's empty image and its qemu-nbd (cache=none) being there already.
Godwit: from the disk's lending to its verified end (`syncing-disk` of the history), and within it until every byte stood on the target for
the first time, which is what convert does. After each migration the disk's content is compared with what was put into it.
A last migration is cut half-way: the target's agent and the worker are killed; what came over the wire in all tries is compared with
the disk's data.
"""
import argparse
import glob
import hashlib
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
from fleet import Fleet  # noqa: E402

MIB = 1 << 20


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise bare.Failure(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


def convert(source, folder):
    """Seconds that qemu-img takes to copy the image's content to a qemu-nbd."""
    target = os.path.join(folder, "floor.qcow2")
    size = json.loads(run("qemu-img", "info", "--output=json", source))["virtual-size"]
    run("qemu-img", "create", "-q", "-f", "qcow2", target, str(size))
    port = bare.free_port()
    server = subprocess.Popen(
        ["qemu-nbd", "-f", "qcow2", "--cache=none", "--aio=native", "--discard=unmap", "-b", "127.0.0.1", "-p", str(port), target],
        stdin=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 20
        # One client ends a qemu-nbd, so that the port is asked for in the kernel's table.
        while f":{port:04X} 00000000:0000 0A" not in open("/proc/net/tcp").read():
            if time.monotonic() > end or server.poll() is not None:
                raise bare.Failure("qemu-nbd does not listen")
            time.sleep(0.01)
        begun = time.monotonic()
        run(
            "qemu-img", "convert", "-n", "-W", "-m", "16", "--target-is-zero", "-f", "qcow2", "-O", "raw", source,
            f"nbd://127.0.0.1:{port}",
        )
        seconds = time.monotonic() - begun
        server.wait(60)
        return seconds
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
        os.unlink(target)


class Bench(Fleet):
    name = "bench"

    def create(self, image):
        self.call("server-create", self.name, "--memory-mb", "64", "--disk", f"image={image},format=qcow2", "--prefer-host", "host1")

    def disk(self):
        """Path of the server's disk on the host where it is."""
        server = self.ask("server-show", self.name)
        return glob.glob(f"{self.state}/**/{server['host']['name']}/**/{server['id']}/disk0.qcow2", recursive=True)[0]

    def prove(self, digest):
        raw = os.path.join(self.folder, "proof.raw")
        run("qemu-img", "convert", "-O", "raw", self.disk(), raw)
        try:
            sum = hashlib.sha256()
            with open(raw, "rb") as file:
                while block := file.read(8 * MIB):
                    sum.update(block)
            if sum.hexdigest() != digest:
                raise bare.Failure("the disk's content on the target differs")
        finally:
            os.unlink(raw)

    def numbers(self, migration):
        """The numbers of all rows of its history, later ones over earlier ones, and seconds in syncing-disk."""
        found = {}
        for row in self.ask("migration-show", migration)["history"]:
            found.update(row.get("numbers") or {})
            if row.get("from") == "syncing-disk" and row["to"] == "switching":
                found["syncingS"] = (row["numbers"]["ms"]) / 1000
        return found

    def migrate(self, target):
        self.call("server-migrate", self.name, "--prefer-host", target, "--wait")
        migration = self.ask("migration-list", "--server", self.name)[0]
        return migration, self.numbers(migration["id"])

    def cut(self, target):
        """A migration whose target agent and worker are killed half-way; its figures."""
        accepted = self.ask("server-migrate", self.name, "--prefer-host", target, "--max-bandwidth-mb", "200")
        show = lambda: self.ask("migration-show", accepted["id"])  # noqa: E731
        progress = lambda: show()["migration"].get("progress") or {}  # noqa: E731
        self.until("half of the disk", lambda: progress().get("disk_done_bytes", 0) * 2 >= (progress().get("disk_total_bytes") or 1e18))
        with open(os.path.join(self.state, "processes.json")) as file:
            pids = json.load(file)
        for process in ("worker1", target):
            os.kill(pids[process]["pid"], signal.SIGKILL)
        self.until("end of the migration", lambda: show()["migration"]["state"] in ("ready", "failed"), 300)
        ended = show()["migration"]
        if ended["state"] != "ready":
            raise bare.Failure(f"the migration that was cut half-way failed: {ended.get('reason')}")
        return ended, self.numbers(accepted["id"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", help="folder of the built programs")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs (default 5)")
    parser.add_argument("--disk-gb", type=int, default=4)
    parser.add_argument("--disk-data-mb", type=int, default=1024)
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))

    fleet = Bench(arguments.programs)
    floors, copies, wholes = [], [], []
    try:
        image = os.path.join(fleet.folder, "image.qcow2")
        bare.make_disk(image, arguments.disk_gb, arguments.disk_data_mb)
        raw = os.path.join(fleet.folder, "image.raw")
        run("qemu-img", "convert", "-O", "raw", image, raw)
        with open(raw, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.unlink(raw)
        fleet.create(image)
        os.unlink(image)
        targets = ["host2", "host1"]
        for pair in range(arguments.pairs):
            for who in ["floor", "godwit"] if pair % 2 == 0 else ["godwit", "floor"]:
                if who == "floor":
                    floors.append(convert(fleet.disk(), fleet.folder))
                    print(f"convert  {floors[-1]:6.2f} s", flush=True)
                    continue
                migration, numbers = fleet.migrate(targets[pair % 2])
                wholes.append(numbers["syncingS"])
                copies.append(numbers["copyMS"] / 1000)
                print(
                    f"godwit   {copies[-1]:6.2f} s copied, {wholes[-1]:6.2f} s copied and verified,"
                    f" {numbers['wireBytes'] / MIB:.0f} MiB on the wire", flush=True,
                )
                fleet.prove(digest)
        ended, numbers = fleet.cut(targets[arguments.pairs % 2])
        fleet.prove(digest)
        twice = 100 * (numbers["wireBytes"] - numbers["diskBytes"]) / numbers["diskBytes"]
        print(
            f"cut half-way: {numbers['wireBytes'] / MIB:.1f} MiB on the wire in all tries, for {numbers['diskBytes'] / MIB:.1f} MiB of data,"
            f" {ended['attempt']} attempt(s)"
        )
    finally:
        fleet.close()

    floor = statistics.median(floors)
    print("\nmedians of", arguments.pairs, "alternated pairs: convert {:.2f} s, copied {:.2f} s, copied and verified {:.2f} s".format(
        floor, statistics.median(copies), statistics.median(wholes)))
    for name, value, unit, aim in (
        ("cold-copy-ratio", statistics.median(copies) / floor, "x", 1.05),
        ("cold-verified-ratio", statistics.median(wholes) / floor, "x", 1.25),
        ("cold-sent-twice", twice, "%", 1.0),
    ):
        print(f"figure {name} {value:.2f} {unit} aim <= {aim:.2f} {'met' if value <= aim else 'short'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except bare.Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        sys.exit(1)
