#!/usr/bin/env python3
"""The yardstick of `script/bench live`: one live migration of the test guest by bare QMP, with nothing around it.

Plain TCP sockets on 127.0.0.1, QEMU's default downtime limit of 300 ms, local disk mirrored over NBD, then memory, then the
switchover. Prints what it took and proves afterwards that the guest is whole. As a module: `migrate(Options(...))`;
`guest_parameters`, `make_disk` and `ram_argument` give another runner the very same guest.

bare.py [--memory-mb 128] [--dirty-mb-s 0] [--disk-gb 2] [--disk-data-mb 256] [--json]

Exit status 0: migrated and whole, 1: not. It leaves neither a process nor a file behind, also when interrupted.
"""
import argparse
import ctypes
import dataclasses
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
from beat import Beats  # noqa: E402

MIB = 1 << 20
DATA_START = 128 * MIB  # beyond the region of records


class Failure(Exception):
    """Something did not happen as it must; the text says what."""


@dataclasses.dataclass
class Options:
    memory_mb: int = 128
    dirty_mb_s: int = 0
    disk_gb: int = 2
    disk_data_mb: int = 256
    downtime_limit_ms: int = 300
    accel: str = "tcg"
    guest: str = ""  # folder of the test guest; default: script/bootstrap --print-guest
    folder: str = ""  # where the temporary folder is made
    verify: bool = True
    deadline_s: float = 180.0


def load_script(path):
    """A check script as a module (its name has no .py)."""
    loader = importlib.machinery.SourceFileLoader(os.path.basename(path).replace("-", "_"), path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


# ---- the guest ----


def guest_folder():
    return subprocess.run(
        [os.path.join(ROOT, "script", "bootstrap"), "--print-guest"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def ram_argument(memory_mb):
    """QEMU before 9.0 loses dirty pages under TCG when a RAM block is a multiple of 256 KiB: 8 KiB more avoid it."""
    return f"{memory_mb * 1024 + 8}k"


def guest_parameters(memory_mb, dirty_mb_s, beat_port):
    """godwit.* parameters: about half of the memory is filled with bytes that do not compress."""
    dirty_set = min(64, memory_mb // 4)
    still = max(0, memory_mb // 2 - dirty_set - 8)
    return (
        f"godwit.dirty_mb_s={dirty_mb_s} godwit.dirty_set_mb={dirty_set} godwit.still_mb={still} godwit.verify_mb_s=64"
        f" godwit.records_s=50 godwit.beat=10.0.2.2:{beat_port}"
    )


def make_disk(path, disk_gb, data_mb):
    """A qcow2 image with `data_mb` MiB of incompressible data beyond the region of records; returns their SHA-256."""
    source, digest = random.Random(20061), hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(os.path.abspath(path)), suffix=".raw") as raw:
        raw.truncate(disk_gb << 30)
        raw.seek(DATA_START)
        for _ in range(data_mb):
            block = source.randbytes(MIB)
            digest.update(block)
            raw.write(block)
        raw.flush()
        run("qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw.name, path)
    return digest.hexdigest()


# ---- processes ----

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def child_begins():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def spawn(command, output, keep):
    """Starts a process and hands it to `keep` before any signal can unwind the caller: none is started and forgotten."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, preexec_fn=child_begins
        )
        keep(process)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(*command):
    started = []
    try:
        spawn(command, subprocess.PIPE, started.append)
        output, _ = started[0].communicate()
    except BaseException:
        for process in started:
            process.kill()
            process.wait()
        raise
    if started[0].returncode != 0:
        raise Failure(f"{command[0]} failed: {output.decode(errors='replace').strip()}")


# ---- QEMU ----


class QEMU:
    """One QEMU process and its monitor. Events are kept with the process's own time stamps, seconds since the epoch."""

    def __init__(self, name, folder, deadline):
        self.name, self.deadline, self.process, self.events, self._data, self._serial = name, deadline, None, [], b"", 0
        self.log = os.path.join(folder, f"{name}.console")
        self._path = os.path.join(folder, f"{name}.qmp")
        self._socket = socket.socket(socket.AF_UNIX)
        self._errors = open(os.path.join(folder, f"{name}.stderr"), "wb+")

    def start(self, arguments):
        """Starts the process, waits for its monitor and enters command mode."""
        monitor = ["-serial", f"file:{self.log}", "-qmp", f"unix:{self._path},server=on,wait=off"]
        spawn(["qemu-system-x86_64", *arguments, *monitor], self._errors, lambda process: setattr(self, "process", process))
        while self._socket.connect_ex(self._path) != 0:
            if self.process.poll() is not None:
                raise Failure(f"{self.name} QEMU ended: {self.said()}")
            self.check_time("its monitor socket")
            time.sleep(0.002)
        self._message("its greeting")
        self.command("qmp_capabilities")

    def said(self):
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()

    def check_time(self, what):
        if time.monotonic() > self.deadline:
            raise Failure(f"{self.name}: no time left waiting for {what}")

    def _message(self, what):
        """The next message; an event is stored on the way."""
        while b"\n" not in self._data:
            self.check_time(what)
            if not select.select([self._socket], [], [], 0.2)[0]:
                continue
            try:
                more = self._socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                raise Failure(f"{self.name} QEMU closed its monitor waiting for {what}: {self.said()}")
            self._data += more
        line, self._data = self._data.split(b"\n", 1)
        message = json.loads(line)
        if "event" in message:
            message["at"] = message["timestamp"]["seconds"] + message["timestamp"]["microseconds"] / 1e6
            self.events.append(message)
        return message

    def command(self, name, /, **arguments):
        self._serial += 1
        request = {"execute": name, "id": self._serial, "arguments": {k.replace("_", "-"): v for k, v in arguments.items()}}
        try:
            self._socket.sendall(json.dumps(request).encode())
        except ConnectionError as error:
            raise Failure(f"{self.name} QEMU is gone at {name}: {self.said()}") from error
        while True:
            message = self._message(f"the reply to {name}")
            if message.get("id") == self._serial:
                if "error" in message:
                    raise Failure(f"{self.name}: {name}: {message['error']['desc']}")
                return message["return"]

    def event(self, what, wanted, unwanted=lambda event: False):
        """The first event for which `wanted` holds, past or to come."""
        seen = 0
        while True:
            while seen < len(self.events):
                event = self.events[seen]
                seen += 1
                if wanted(event):
                    return event
                if unwanted(event):
                    raise Failure(f"{self.name}: {event['event']} {event.get('data')} instead of {what}")
            self._message(what)

    def migration_status(self, status):
        failed = ("failed", "cancelled")
        return self.event(
            f"MIGRATION {status}",
            lambda e: e["event"] == "MIGRATION" and e["data"]["status"] == status,
            lambda e: e["event"] == "MIGRATION" and e["data"]["status"] in failed,
        )

    def end(self):
        if self.process:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
        self._socket.close()
        self._errors.close()


def arguments_of(options, guest, disk, parameters):
    with open(os.path.join(guest, "cmdline")) as file:
        base = file.read().strip()
    kernel = "vmlinuz" if options.memory_mb >= 80 else "vmlinux"
    # fmt: off
    return [
        "-nodefaults", "-machine", "pc", "-accel", options.accel, "-m", ram_argument(options.memory_mb), "-smp", "1", "-display", "none",
        "-kernel", os.path.join(guest, kernel), "-initrd", os.path.join(guest, "initrd.gz"), "-append", f"{base} {parameters}",
        "-blockdev", json.dumps({
            "driver": "qcow2", "node-name": "disk0", "discard": "unmap", "detect-zeroes": "unmap",
            "file": {"driver": "file", "filename": disk, "cache": {"direct": True}, "aio": "threads"}}),
        "-device", "virtio-blk-pci,drive=disk0,id=blk0", "-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,id=nic0,romfile=",
    ]
    # fmt: on


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- the migration ----


class Run:
    def __init__(self, options):
        self.options = options
        self.guest = options.guest or guest_folder()
        self.deadline = time.monotonic() + options.deadline_s
        self.machines = []
        self.folder = tempfile.mkdtemp(prefix="godwit-bare.", dir=options.folder or None)
        self.source_disk = os.path.join(self.folder, "source.qcow2")
        self.target_disk = os.path.join(self.folder, "target.qcow2")

    def launch(self, name, arguments):
        machine = QEMU(name, self.folder, self.deadline)
        self.machines.append(machine)
        machine.start(arguments)
        return machine

    def close(self):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for machine in self.machines:
            machine.end()
        shutil.rmtree(self.folder)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def whole(self):
        digest = make_disk(self.source_disk, self.options.disk_gb, self.options.disk_data_mb)
        with Beats() as beats:
            parameters = guest_parameters(self.options.memory_mb, self.options.dirty_mb_s, beats.port)
            source = self.launch("source", arguments_of(self.options, self.guest, self.source_disk, parameters))
            self.hear(source, beats, 2.0)
            target, figures = self.migrate(source, parameters)
            resumed_ns = int(figures.pop("resumed") * 1e9)
            stopped_ns = int(figures.pop("stopped") * 1e9)
            begun_ns = int(figures.pop("begun") * 1e9)
            self.hear(target, beats, 1.0, resumed_ns)
            around = beats.longest_gap(stopped_ns - 500_000_000, resumed_ns + 1_000_000_000)
            figures["blackout_ms"] = round(around["ms"], 1)
            figures["longest_gap_ms"] = round(beats.longest_gap(begun_ns, resumed_ns + 1_000_000_000)["ms"], 1)
            before = beats.longest_gap(begun_ns, min(stopped_ns, around["from_ns"]) - 1)
            figures["gap_before_stop_ms"] = round(before["ms"], 1)
            if self.options.verify:
                figures["proof"] = self.prove(target, beats, digest)
        return figures

    def hear(self, machine, beats, seconds, since_ns=0):
        """Waits until the guest has beaten for so long."""
        end = time.monotonic() + 60
        while not beats.wait_for(seconds, 0.5, since_ns):
            if time.monotonic() > min(end, self.deadline) or machine.process.poll() is not None:
                raise Failure(f"{machine.name}: no heartbeat; QEMU says: {machine.said()}; its console ends with: {tail(machine.log)}")

    def migrate(self, source, parameters):
        """From the first action to RESUME on the target. What follows is measured by nobody."""
        options = self.options
        begun = time.time()
        run("qemu-img", "create", "-q", "-f", "qcow2", self.target_disk, f"{options.disk_gb}G")
        target = self.launch(
            "target", [*arguments_of(options, self.guest, self.target_disk, parameters), "-S", "-incoming", "defer"]
        )
        spawned = time.time()
        wanted = [{"capability": name, "state": True} for name in ("events", "pause-before-switchover", "return-path")]
        for machine in (target, source):
            machine.command("migrate-set-capabilities", capabilities=wanted)
        source.command("migrate-set-parameters", max_bandwidth=0, downtime_limit=options.downtime_limit_ms)

        nbd = {"host": "127.0.0.1", "port": str(free_port())}
        target.command("nbd-server-start", addr={"type": "inet", "data": nbd})
        target.command("block-export-add", type="nbd", id="exp0", node_name="disk0", writable=True, name="disk0")
        adding = time.time()
        source.command(
            "blockdev-add",
            driver="nbd",
            node_name="nbd0",
            server={"type": "inet", **nbd},
            export="disk0",
            reconnect_delay=0,
            detect_zeroes="unmap",
            discard="unmap",
        )
        added = time.time()
        source.command("blockdev-mirror", job_id="mirror0", device="disk0", target="nbd0", sync="top")
        job = lambda event, name: event["event"] == name and event["data"]["device"] == "mirror0"  # noqa: E731
        source.event("BLOCK_JOB_READY", lambda e: job(e, "BLOCK_JOB_READY"), lambda e: job(e, "BLOCK_JOB_COMPLETED"))
        mirrored = time.time()
        disk_bytes = next(j["offset"] for j in source.command("query-block-jobs") if j["device"] == "mirror0")

        address = f"tcp:127.0.0.1:{free_port()}"
        target.command("migrate-incoming", uri=address)
        source.command("migrate", uri=address)
        paused = source.migration_status("pre-switchover")["at"]
        stopped = source.event("STOP", lambda e: e["event"] == "STOP")["at"]
        source.command("block-job-cancel", device="mirror0")
        drained = source.event("BLOCK_JOB_COMPLETED", lambda e: job(e, "BLOCK_JOB_COMPLETED"), lambda e: job(e, "BLOCK_JOB_CANCELLED"))
        if "error" in drained["data"]:
            raise Failure(f"the mirror failed: {drained['data']['error']}")
        target.command("block-export-del", id="exp0", mode="hard")
        target.event("BLOCK_EXPORT_DELETED", lambda e: e["event"] == "BLOCK_EXPORT_DELETED")
        source.command("migrate-continue", state="pre-switchover")
        target_completed = target.migration_status("completed")["at"]
        target.command("cont")
        resumed = target.event("RESUME", lambda e: e["event"] == "RESUME")["at"]

        source.migration_status("completed")
        memory = source.command("query-migrate")
        source.command("blockdev-del", node_name="nbd0")
        source.command("quit")
        source.process.wait(max(1, self.deadline - time.monotonic()))
        ms = lambda seconds: round(seconds * 1000, 1)  # noqa: E731
        return target, {
            "memory_mb": options.memory_mb,
            "dirty_mb_s": options.dirty_mb_s,
            "downtime_limit_ms": options.downtime_limit_ms,
            "total_s": round(resumed - begun, 3),
            "spawn_s": round(spawned - begun, 3),
            "disk_s": round(mirrored - spawned, 3),
            "memory_s": round(stopped - mirrored, 3),
            "stop_to_resume_ms": ms(resumed - stopped),
            "stop_to_pre_switchover_ms": ms(paused - stopped),
            "mirror_end_ms": ms(drained["at"] - paused),
            "device_state_ms": ms(target_completed - drained["at"]),
            "blockdev_add_ms": ms(added - adding),
            "qemu_downtime_ms": memory.get("downtime"),
            "iterations": memory["ram"]["dirty-sync-count"],
            # What QEMU counts: the mirror's bytes and the migration stream, without the frames around them.
            "wire_bytes": disk_bytes + memory["ram"]["transferred"],
            "disk_bytes": disk_bytes,
            "memory_bytes": memory["ram"]["transferred"],
            "begun": begun,
            "stopped": stopped,
            "resumed": resumed,
        }

    def prove(self, target, beats, digest):
        """Every page verified on the target, then power-off, console, records and the data that the guest never touched."""
        console = load_script(os.path.join(ROOT, "Tests", "Guest", "check-console"))
        records = load_script(os.path.join(ROOT, "Tests", "Guest", "check-records"))
        logs = [os.path.join(self.folder, "source.console"), target.log]
        while True:
            found = console.check(logs)
            if found["problems"]:
                raise Failure("console: " + "; ".join(found["problems"]))
            if found["files"][1]["swept_mb"] >= found["set_mb"] + 2 and found["files"][1]["ticks"] >= 5:
                break
            target.check_time("a verification of the guest's memory")
            time.sleep(0.1)
        target.command("system_powerdown")
        try:
            target.process.wait(60)
        except subprocess.TimeoutExpired:
            raise Failure(f"the guest does not power off; its console ends with: {tail(target.log)}") from None
        found = console.check(logs)
        seen = beats.summary()
        if found["problems"] or not found["stopped"] or seen["memerr"] or seen["boots"] != found["boots"]:
            raise Failure(f"console: {'; '.join(found['problems']) or 'no clean end, or beats of another boot'}")
        disk = records.check(self.target_disk, max(found["record"], seen["record"]))
        if disk["problems"]:
            raise Failure("records: " + "; ".join(disk["problems"]))
        data = records.read_range(self.target_disk, DATA_START, self.options.disk_data_mb * MIB)
        if hashlib.sha256(data).hexdigest() != digest:
            raise Failure("data that the guest never wrote differs on the target's disk")
        return {
            "boot": found["boots"][0],
            "ticks": found["ticks"],
            "records": disk["records"],
            "acknowledged": max(found["record"], seen["record"]),
            "memory_sweeps": found["sweeps"],
            "longest_guest_gap_ms": found["longest_gap_ms"],
            "beats": seen["beats"],
            "beats_missing": seen["missing"],
        }


def tail(path):
    try:
        with open(path, "rb") as file:
            return " / ".join(file.read().decode(errors="replace").split("\n")[-4:])
    except OSError as error:
        return str(error)


def migrate(options):
    """One migration, proven; its figures. Raises Failure; cleans up in any case."""
    task = Run(options)
    try:
        return task.whole()
    finally:
        task.close()


def main():
    parser = argparse.ArgumentParser(description="Migrates the test guest by bare QMP and prints what it took.")
    parser.add_argument("--memory-mb", type=int, default=128)
    parser.add_argument("--dirty-mb-s", type=int, default=0)
    parser.add_argument("--disk-gb", type=int, default=2)
    parser.add_argument("--disk-data-mb", type=int, default=256)
    parser.add_argument("--downtime-limit-ms", type=int, default=300)
    parser.add_argument("--accel", default="tcg")
    parser.add_argument("--guest", default="", help="folder of the test guest (default: script/bootstrap --print-guest)")
    parser.add_argument("--folder", default="", help="where disks are put (default: TMPDIR or /tmp)")
    parser.add_argument("--no-verify", dest="verify", action="store_false", help="do not prove that the guest is whole afterwards")
    parser.add_argument("--deadline-s", type=float, default=180.0)
    parser.add_argument("--json", action="store_true")
    arguments = vars(parser.parse_args())
    as_json = arguments.pop("json")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        figures = migrate(Options(**arguments))
    except Failure as failure:
        print(f"bare: {failure}", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:28} {json.dumps(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
