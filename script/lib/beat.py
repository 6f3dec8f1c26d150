#!/usr/bin/env python3
"""Receives the test guest's UDP heartbeats and tells the longest silence: the blackout as seen from outside.

As a module: `with Beats() as beats:` gives `beats.port` (for godwit.beat=10.0.2.2:PORT), `wait`, `longest_gap`. As a command:
`beat.py [--port P] [--seconds S]` prints its port on the first line of stderr, listens until S are over or it gets SIGTERM or
SIGINT, and prints one JSON line; `--log FILE` keeps every arrival as `TIME_NS BEAT RECORD`.

Times are the kernel's stamps of arrival (CLOCK_REALTIME, nanoseconds): a late Python thread adds nothing to a gap.
"""
import argparse
import json
import signal
import socket
import struct
import sys
import threading
import time

SO_TIMESTAMPNS = 35


def parsed(data):
    """`GODWIT beat=N boot=B mono_ms=N record=N memerr=N` as a dictionary, None when it is something else."""
    words = data.split(b" ")
    if words[0] != b"GODWIT":
        return None
    fields = dict(word.split(b"=", 1) for word in words[1:] if b"=" in word)
    try:
        beat = {key: int(fields[key.encode()]) for key in ("beat", "mono_ms", "record", "memerr")}
        beat["boot"] = fields[b"boot"].decode()
    except (KeyError, ValueError):
        return None
    return beat


class Beats:
    """A receiver thread on 127.0.0.1. `arrivals` grows by (time_ns, beat, boot, mono_ms, record, memerr)."""

    def __init__(self, port=0):
        self.arrivals = []
        self._news = threading.Condition()
        self._ended = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind(("127.0.0.1", port))
        self._socket.settimeout(0.2)
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.close()

    def close(self):
        self._ended = True
        self._thread.join()
        self._socket.close()

    def _receive(self):
        while not self._ended:
            try:
                data, extra, _, _ = self._socket.recvmsg(512, 64)
            except socket.timeout:
                continue
            stamp = time.time_ns()
            for level, kind, value in extra:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", value[:16])
                    stamp = seconds * 1_000_000_000 + nanoseconds
            beat = parsed(data)
            if beat is None:
                continue
            with self._news:
                self.arrivals.append((stamp, beat["beat"], beat["boot"], beat["mono_ms"], beat["record"], beat["memerr"]))
                self._news.notify_all()

    def wait(self, condition, seconds):
        """Waits until `condition(arrivals)` holds, asked at every arrival; False when `seconds` are over first."""
        end = time.monotonic() + seconds
        with self._news:
            while not condition(self.arrivals):
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._news.wait(min(left, 0.2))
            return True

    def wait_for(self, span, seconds, since_ns=0):
        """Waits until beats that came after `since_ns` span `span` seconds."""

        def enough(arrivals):
            if not arrivals or arrivals[-1][0] < since_ns:
                return False
            # The first after the instant is searched from the end: it is near.
            index = len(arrivals) - 1
            while index > 0 and arrivals[index - 1][0] >= since_ns and arrivals[-1][0] - arrivals[index][0] < span * 1e9:
                index -= 1
            return arrivals[-1][0] - arrivals[index][0] >= span * 1e9

        return self.wait(enough, seconds)

    def longest_gap(self, start_ns=0, end_ns=None):
        """The longest time between two beats that follow each other, of those that touch the window: {ms, from_ns, to_ns}.
        Silence that no beat has ended yet is no gap: wait for one first."""
        times = [arrival[0] for arrival in list(self.arrivals)]
        longest = {"ms": 0.0, "from_ns": None, "to_ns": None}
        for before, after in zip(times, times[1:]):
            if after < start_ns or (end_ns is not None and before > end_ns):
                continue
            if after - before > longest["ms"] * 1e6:
                longest = {"ms": (after - before) / 1e6, "from_ns": before, "to_ns": after}
        return longest

    def summary(self, start_ns=0, end_ns=None):
        arrivals = list(self.arrivals)
        missing = sum(max(0, b[1] - a[1] - 1) for a, b in zip(arrivals, arrivals[1:]) if a[2] == b[2])
        return {
            "beats": len(arrivals),
            "missing": missing,
            "boots": sorted({arrival[2] for arrival in arrivals}),
            "record": max((arrival[4] for arrival in arrivals), default=0),
            "memerr": max((arrival[5] for arrival in arrivals), default=0),
            "longest_gap_ms": round(self.longest_gap(start_ns, end_ns)["ms"], 1),
        }


def main():
    parser = argparse.ArgumentParser(description="Receives the test guest's heartbeats and prints the longest gap between two.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="default: until SIGTERM or SIGINT")
    parser.add_argument("--log", help="write every arrival there")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *ignored: ended.set())
    with Beats(arguments.port) as beats:
        print(beats.port, file=sys.stderr, flush=True)
        ended.wait(arguments.seconds)
        print(json.dumps(beats.summary()))
    if arguments.log:
        with open(arguments.log, "w") as log:
            for arrival in beats.arrivals:
                log.write(f"{arrival[0]} {arrival[1]} {arrival[4]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
