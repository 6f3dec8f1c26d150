#!/usr/bin/env python3
"""Cold migration by Godwit beside `qemu-img convert -n -W --target-is-zero` to a `qemu-nbd`, alternately over the same link (the loopback
of a network namespace of its own, so root is needed), with the same disk on the same file system (`script/bench cold`).

Floor: convert's time, the target's empty image and its qemu-nbd (cache=none) being there already. Godwit: from the beginning of the
receipt until every byte stood on the target for the first time, which is what convert does; and all of `syncing-disk`, from the lending
to the verified end. Before each run the disk leaves the page cache, as a guest's disk is that had none. After each migration the
disk's content is compared with what was put into it.
Then migrations are cut half-way, each in another way: the target's agent killed, the worker killed, every connection of the copy reset.
What the link carried in all tries, control connections and all, is compared with the disk's data and with a migration that nothing befell.
"""
import argparse
import ctypes
import glob
import json
import os
import re
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
        raise bare.Failure(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def enter_own_network():
    """Moves this process, and with it all that it starts, into a network namespace with nothing but a loopback."""
    CLONE_NEWNET = 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise bare.Failure(f"no network namespace of its own: {os.strerror(ctypes.get_errno())}; run it as root")
    run("ip", "link", "set", "lo", "up")


def carried():
    """Bytes that the loopback has carried so far, headers included."""
    with open("/proc/net/dev") as file:
        for line in file:
            name, _, figures = line.partition(":")
            if name.strip() == "lo":
                return int(figures.split()[8])
    raise bare.Failure("/proc/net/dev has no lo")


def uncache(path):
    """Has the file's pages out of the host's cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def convert(source, folder):
    """Seconds that qemu-img takes to copy the image's content to a qemu-nbd."""
    target = os.path.join(folder, "floor.qcow2")
    size = json.loads(run("qemu-img", "info", "--output=json", source))["virtual-size"]
    run("qemu-img", "create", "-q", "-f", "qcow2", target, str(size))
    uncache(source)
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
        self.image = image
        self.call("server-create", self.name, "--memory-mb", "64", "--disk", f"image={image},format=qcow2", "--prefer-host", "host1")

    @property
    def host(self):
        return self.ask("server-show", self.name)["host"]["name"]

    def disk(self):
        """Path of the server's disk on the host where it is."""
        server = self.ask("server-show", self.name)
        return glob.glob(f"{self.state}/**/{server['host']['name']}/**/{server['id']}/disk0.qcow2", recursive=True)[0]

    def migration(self, *options):
        """A migration to the other host under way; its id and the bytes that the link has carried before."""
        target = "host2" if self.host == "host1" else "host1"
        uncache(self.disk())
        before = carried()
        return self.ask("server-migrate", self.name, "--prefer-host", target, *options)["id"], target, before

    def ended(self, migration, before):
        """Waits for its end and proves the disk; figures: seconds, bytes, attempts."""
        show = lambda: self.ask("migration-show", migration)  # noqa: E731
        self.until("end of the migration", lambda: show()["state"] in ("ready", "failed"), 300)
        link = carried() - before
        told = show()
        if told["state"] != "ready":
            raise bare.Failure(f"the migration failed: {told['migration'].get('reason')}")
        figures = {"link": link, "attempt": told["attempt"], "total_s": told["total_ms"] / 1000, "reasons": []}
        for row in told["history"]:
            numbers = row.get("numbers") or {}
            figures["reasons"] += [row["reason"]["code"]] if row.get("reason") else []
            figures.update({key: numbers[key] for key in ("wireBytes", "diskBytes", "copyMS") if key in numbers})
            if row.get("from") == "syncing-disk" and row["to"] == "switching":
                figures["whole_s"] = numbers["ms"] / 1000
        figures["copy_s"] = figures.pop("copyMS") / 1000
        run("qemu-img", "compare", "-q", self.image, self.disk())
        return figures

    def migrate(self):
        migration, _, before = self.migration()
        return self.ended(migration, before)

    def cut(self, how):
        """A migration that is cut half-way; its figures."""
        migration, target, before = self.migration("--max-bandwidth-mb", "200")

        def half():
            progress = self.ask("migration-show", migration).get("progress") or {}
            return progress.get("disk_total_bytes", 0) and progress["disk_done_bytes"] * 2 >= progress["disk_total_bytes"]

        self.until("half of the disk", half)
        if how == "connections":
            listening = re.search(r":(\d+)\s+\S+\s+users:\(\(\"qemu-storage", run("ss", "-Htnlp"))
            if not listening:
                raise bare.Failure("nobody lends the disk")
            run("ss", "-K", "state", "established", "sport", "=", f":{listening[1]}")
        else:
            with open(os.path.join(self.state, "processes.json")) as file:
                os.kill(json.load(file)[target if how == "agent" else "worker"]["pid"], signal.SIGKILL)
        figures = self.ended(migration, before)
        if how == "connections" and "connection-lost" not in figures["reasons"]:
            raise bare.Failure("the copy did not notice that its connections were reset")
        return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", help="folder of the built programs")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs (default 5)")
    parser.add_argument("--disk-gb", type=int, default=4, help="size of the disk in GiB (default 4)")
    parser.add_argument("--disk-data-mb", type=int, default=1024, help="of which so many MiB hold data (default 1024)")
    parser.add_argument("--json", help="every run's figures are appended to this file, a line a run")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))

    def keep(**figures):
        if arguments.json:
            with open(arguments.json, "a") as file:
                file.write(json.dumps(figures) + "\n")

    enter_own_network()
    fleet = Bench(arguments.programs)
    floors, runs, cuts = [], [], []
    try:
        image = os.path.join(fleet.folder, "image.qcow2")
        bare.make_disk(image, arguments.disk_gb, arguments.disk_data_mb)
        fleet.create(image)
        for pair in range(arguments.pairs):
            for who in ["floor", "godwit"] if pair % 2 == 0 else ["godwit", "floor"]:
                if who == "floor":
                    floors.append(convert(fleet.disk(), fleet.folder))
                    keep(who="convert", copy_s=floors[-1])
                    print(f"convert  {floors[-1]:6.2f} s", flush=True)
                    continue
                figures = fleet.migrate()
                runs.append(figures)
                keep(who="godwit", **figures)
                print(
                    "godwit   {copy_s:6.2f} s copied, {whole_s:6.2f} s copied and verified, {total_s:6.2f} s in all, {link:.1f} MiB on the link".format(
                        **{**figures, "link": figures["link"] / MIB}), flush=True,
                )
        for how, what in (("agent", "target's agent killed"), ("worker", "worker killed"), ("connections", "connections reset")):
            figures = fleet.cut(how)
            cuts.append(figures)
            keep(who=how, **figures)
            print(
                f"{what} half-way: {figures['link'] / MIB:.1f} MiB on the link in all tries for {figures['diskBytes'] / MIB:.1f} MiB of data,"
                f" {figures['attempt']} attempt(s)", flush=True,
            )
    finally:
        fleet.close()

    floor = statistics.median(floors)
    copied, whole = (statistics.median(run[key] for run in runs) for key in ("copy_s", "whole_s"))
    plain = statistics.median(run["link"] for run in runs)
    print(
        f"\nmedians of {arguments.pairs} alternated pairs: convert {floor:.2f} s, copied {copied:.2f} s, copied and verified {whole:.2f} s;"
        f" {plain / MIB:.1f} MiB on the link"
    )
    for name, value, unit, aim in (
        ("cold-copy-ratio", copied / floor, "x", 1.05),
        ("cold-verified-ratio", whole / floor, "x", 1.25),
        ("cold-cut-link-ratio", max(cut["link"] / cut["diskBytes"] for cut in cuts), "x", 1.05),
        ("cold-sent-twice", max(100 * (cut["link"] - plain) / cut["diskBytes"] for cut in cuts), "%", 1.0),
    ):
        print(f"figure {name} {value:.2f} {unit} aim <= {aim:.2f} {'met' if value <= aim else 'short'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except bare.Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        sys.exit(1)
