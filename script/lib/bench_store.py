#!/usr/bin/env python3
"""The store on both engines, beside what the engines do without Godwit (`script/bench store`).

Floors are measured in the same run, in rounds that alternate with Godwit's; ratios are medians of rounds. What is measured runs in databases
that this program makes in a folder of its own and removes, PostgreSQL in a server of its own out of Debian's package, with its own settings
(fsync and synchronous_commit on), reached by a socket only.
"""
import argparse
import ctypes
import glob
import json
import os
import pwd
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

PARTS = ("life", "submit", "wake", "history", "claims", "running")


class Failure(Exception):
    pass


def die_with_parent(signal_number):
    def call():
        ctypes.CDLL(None).prctl(1, signal_number)
    return call


class SQLite:
    name = "sqlite"
    title = "SQLite"

    def __init__(self, folder):
        self.folder = os.path.join(folder, "sqlite")
        os.mkdir(self.folder)
        self.count = 0

    def new(self):
        self.count += 1
        return os.path.join(self.folder, f"{self.count}.db")

    def copy(self, store):
        made = self.new()
        shutil.copyfile(store, made)
        return made

    def cpu_seconds(self):
        """There is no server."""
        return 0.0

    def drop(self, store):
        for path in glob.glob(store + "*"):
            os.unlink(path)

    def close(self):
        pass


class Postgres:
    name = "postgres"
    title = "PostgreSQL"

    def __init__(self, folder):
        binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(re.search(r"/(\d+)/bin", path)[1]))
        if not binaries:
            raise Failure("PostgreSQL is not installed; script/bootstrap installs it")
        self.bin = binaries[-1]
        self.folder = os.path.join(folder, "postgres")
        os.mkdir(self.folder)
        # It runs under no root: as the user of Debian's package there.
        self.user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        if self.user:
            os.chmod(folder, 0o711)
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self.log = open(os.path.join(folder, "postgres.log"), "wb")
        self.call("initdb", "--pgdata=data", "--username=godwit", "--auth=trust", "--no-locale", "--encoding=UTF8")
        self.server = subprocess.Popen(
            [f"{self.bin}/postgres", "-D", "data", "-k", self.folder, "-c", "listen_addresses=", "-c", "max_connections=200"],
            **self.apart(signal.SIGQUIT))
        end = time.monotonic() + 60
        while subprocess.run([f"{self.bin}/pg_isready", "-q", "-h", self.folder]).returncode != 0:
            if self.server.poll() is not None or time.monotonic() > end:
                raise Failure(f"PostgreSQL does not start: {open(self.log.name, errors='replace').read()[-2000:]}")
            time.sleep(0.1)
        self.count = 0

    def apart(self, last_signal):
        options = dict(cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        if self.user:
            options.update(user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[])
        return dict(options, preexec_fn=die_with_parent(last_signal))

    def call(self, program, *arguments):
        done = subprocess.run([f"{self.bin}/{program}", *arguments], **self.apart(signal.SIGKILL))
        if done.returncode != 0:
            raise Failure(f"{program}: {open(self.log.name, errors='replace').read()[-2000:]}")

    def sql(self, statement):
        self.call("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", "godwit", "-d", "postgres", "-c", statement)

    def url(self, database):
        return f"postgres:///{database}?host={self.folder}&user=godwit"

    def new(self, template="template1"):
        self.count += 1
        self.sql(f"CREATE DATABASE bench{self.count} TEMPLATE {template}")
        return self.url(f"bench{self.count}")

    def copy(self, store):
        return self.new(re.search(r"///(\w+)", store)[1])

    def cpu_seconds(self):
        """Of the server's processes, those that have ended included."""
        def times(pid):
            with open(f"/proc/{pid}/stat") as file:
                return sum(int(word) for word in file.read().rpartition(")")[2].split()[11:15])
        total = times(self.server.pid)
        for path in glob.glob(f"/proc/{self.server.pid}/task/*/children"):
            with open(path) as file:
                for child in file.read().split():
                    try:
                        total += times(child)
                    except FileNotFoundError:
                        pass
        return total / os.sysconf("SC_CLK_TCK")

    def drop(self, store):
        self.sql("DROP DATABASE " + re.search(r"///(\w+)", store)[1])

    def close(self):
        self.server.send_signal(signal.SIGINT)
        try:
            self.server.wait(30)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()
        self.log.close()


class Bench:
    def __init__(self, options):
        self.options = options
        self.program = os.path.join(options.programs, "store-bench")
        self.tables = []
        self.figures = []

    def run(self, *arguments):
        """What the program told, a line each."""
        done = subprocess.run(
            [self.program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent(signal.SIGKILL))
        if done.returncode != 0:
            raise Failure(f"store-bench {arguments[0]} ended with {done.returncode}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def say(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def table(self, title, head, rows):
        self.tables.append((title, head, [[str(cell) for cell in row] for row in rows]))

    def figure(self, name, value, unit, comparison, aim):
        met = value >= aim if comparison == ">=" else value <= aim
        self.figures.append(f"figure {name} {value:.3f} {unit} aim {comparison} {aim} {'met' if met else 'short'}")

    def show(self):
        for title, head, rows in self.tables:
            print(f"\n{title}")
            widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
            for row in [head, *rows]:
                print("  " + "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                                       for column, (cell, width) in enumerate(zip(row, widths))).rstrip())
        print()
        for figure in self.figures:
            print(figure)

    # MARK: parts

    def life(self, engine):
        lives, many = self.options.lives, self.options.lives * 3
        base = engine.new()
        self.run("prepare", "--store", base, "--hosts", 100, "--servers", many, "--submitted", many)
        rounds = []
        for number in range(self.options.rounds):
            self.say(f"{engine.title}: lives, round {number + 1} of {self.options.rounds}")
            figures = {}
            for what in ("floor", "one", "many"):
                store = engine.copy(base)
                if what == "floor":
                    recorded = engine.copy(base)
                    figures[what] = self.run("floor", "--recorded", recorded, "--store", store, "--lives", lives)[0]
                    engine.drop(recorded)
                else:
                    count, width = (lives, 1) if what == "one" else (many, 64)
                    figures[what] = self.run("life", "--store", store, "--lives", count, "--in-flight", width)[0]
                engine.drop(store)
            rounds.append(figures)
        engine.drop(base)

        def median(of):
            return statistics.median(of(figures) for figures in rounds)
        one = median(lambda r: r["one"]["perSecond"] / r["floor"]["perSecond"])
        many_ratio = median(lambda r: r["many"]["perSecond"] / r["floor"]["perSecond"])
        floor = rounds[0]["floor"]
        self.table(
            f"{engine.title}: durable lives a second (a claim and 5 transitions with history; {floor['statementsPerLife']:.0f} statements, "
            f"{floor['commitsPerLife']:.0f} commits each)", ["", "median", "rounds", "of the floor"], [
                [title, f"{median(lambda r: r[what]['perSecond']):.0f}", " ".join(f"{r[what]['perSecond']:.0f}" for r in rounds), ratio]
                for title, what, ratio in [
                    ("the same statements by the C interface, a commit each", "floor", "1"), ("one in flight", "one", f"{one:.2f}"),
                    ("64 in flight", "many", f"{many_ratio:.2f}")]])
        self.figure(f"store_life_one_{engine.name}", one, "of-floor", ">=", 0.7)
        self.figure(f"store_life_64_{engine.name}", many_ratio, "of-floor", ">=", 4 if engine.name == "sqlite" else 2)

    def submit(self, engine):
        count = self.options.lines
        base = engine.new()
        self.run("prepare", "--store", base, "--hosts", 100, "--servers", count, "--submitted", 0)
        rounds = []
        for number in range(self.options.rounds):
            self.say(f"{engine.title}: a batch of {count:,}, round {number + 1} of {self.options.rounds}")
            taken, floor = engine.copy(base), engine.copy(base)
            submit = self.run("submit", "--store", taken)[0]
            if submit["lines"] != count:
                raise Failure(f"{submit['lines']:.0f} of {count} were taken")
            raw = self.run("submit-floor", "--recorded", taken, "--store", floor)[0]
            cancel = self.run("cancel", "--store", taken)[0]
            rounds.append((submit["seconds"], raw["seconds"], cancel["seconds"]))
            engine.drop(taken)
            engine.drop(floor)
        engine.drop(base)
        ratio = statistics.median(submit / floor for submit, floor, _ in rounds)
        self.table(
            f"{engine.title}: one batch of {count:,} migrations, one transaction, beside the raw rows", ["", "seconds of the rounds", "of the floor"], [
                ["COPY of the rows" if engine.name == "postgres" else "multi-row INSERT of the rows", " ".join(f"{floor:.2f}" for _, floor, _ in rounds), "1"],
                ["submit: judged, chained, servers marked", " ".join(f"{submit:.2f}" for submit, _, _ in rounds), f"{ratio:.2f}"],
                ["cancel of all of it, none begun", " ".join(f"{cancel:.2f}" for _, _, cancel in rounds),
                 f"{statistics.median(cancel / floor for _, floor, cancel in rounds):.2f}"]])
        self.figure(f"store_submit_{engine.name}", ratio, "of-floor", "<=", 2)

    def wake(self, engine):
        store = engine.new()
        self.run("prepare", "--store", store, "--hosts", 10, "--servers", 300, "--submitted", 0)
        self.say(f"{engine.title}: an idle queue")
        line = self.run("wake", "--store", store, "--times", 300)[0]
        engine.drop(store)
        self.table(f"{engine.title}: from a submit's return to the claim's in another process, idle queue", ["", "p50 ms", "p99 ms"],
                   [["", f"{line['p50']:.2f}", f"{line['p99']:.2f}"]])
        self.figure(f"store_wake_{engine.name}", line["p99"], "ms", "<=", 10)

    def running(self, engine):
        store = engine.new()
        count = 10_000
        self.run("prepare", "--store", store, "--hosts", 100, "--servers", count, "--submitted", count)
        self.say(f"{engine.title}: {count:,} that run")
        before, begun = engine.cpu_seconds(), time.monotonic()
        line = self.run("running", "--store", store, "--migrations", count)[0]
        server = (engine.cpu_seconds() - before) / (time.monotonic() - begun)
        engine.drop(store)
        cores = line["cores"] + server
        self.table(
            f"{engine.title}: {count:,} migrations run, each tells its progress every 2 s",
            ["", "wanted/s", "written/s", "cores of the process that writes", "of the server"],
            [["", f"{line['wanted']:.0f}", f"{line['writesPerSecond']:.0f}", f"{line['cores']:.2f}", f"{server:.2f}"]])
        self.figure(f"store_running_rate_{engine.name}", line["writesPerSecond"] / line["wanted"], "of-wanted", ">=", 0.95)
        self.figure(f"store_running_cores_{engine.name}", cores, "cores", "<=", 0.5)

    def history(self, engine):
        store = engine.new()
        self.run("prepare", "--store", store, "--hosts", 100, "--servers", 10_000, "--submitted", 0)
        claims = {0: self.claims_of(engine, store)} if "claims" in self.options.parts else {}
        self.say(f"{engine.title}: filling in {self.options.rows:,} rows of history")
        filled = self.run("fill", "--store", store, "--rows", self.options.rows)[0]
        if "history" in self.options.parts:
            self.say(f"{engine.title}: questions")
            rows = []
            for line in self.run("questions", "--store", store):
                rows.append([line["question"], f"{line['p50']:.2f}", f"{line['p99']:.2f}"])
                name = re.sub(r"[^a-z0-9]+", "_", line["question"].replace(",", "")).strip("_")
                self.figure(f"store_history_{name}_{engine.name}", line["p99"], "ms", "<=", 10)
            self.table(
                f"{engine.title}: questions to a history of {filled['rows']:,.0f} rows in the store (filled in {filled['seconds']:.0f} s)",
                ["", "p50 ms", "p99 ms"], rows)
        if claims:
            finished = self.options.rows // 6
            claims[finished] = self.claims_of(engine, store)
            self.table(
                f"{engine.title}: a claim beside finished migrations", ["finished", "p50 ms", "p99 ms", "none due: p50 ms", "p99 ms"],
                [[f"{count:,}", *(f"{line[key]:.2f}" for key in ("p50", "p99", "idleP50", "idleP99"))] for count, line in claims.items()])
            self.figure(f"store_claim_growth_{engine.name}", claims[finished]["p50"] / claims[0]["p50"], "ratio", "<=", 1.5)
            self.figure(f"store_idle_claim_growth_{engine.name}", claims[finished]["idleP50"] / claims[0]["idleP50"], "ratio", "<=", 1.5)
        engine.drop(store)

    def claims_of(self, engine, store):
        self.say(f"{engine.title}: claims")
        copy = engine.copy(store)
        try:
            return self.run("claims", "--store", copy)[0]
        finally:
            engine.drop(copy)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--engines", default="sqlite,postgres", help="which engines, with commas (default: %(default)s)")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, with commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of what is compared (default: %(default)s)")
    parser.add_argument("--lives", type=int, default=500, help="lives of a round with one in flight; three times as many with 64 (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=100_000, help="migrations of the submitted batch (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the history; the aims are for 10000000 (default: %(default)s)")
    parser.add_argument("--folder", help="where databases are made and removed, on the disk to be measured (default: a temporary one)")
    options = parser.parse_args()
    kinds = {kind.name: kind for kind in (SQLite, Postgres)}
    options.engines, options.parts = options.engines.split(","), options.parts.split(",")
    for given, known, what in ((options.engines, kinds, "engines"), (options.parts, PARTS, "parts")):
        for word in given:
            if word not in known:
                parser.error(f"--{what} names “{word}”; known are {', '.join(known)}")
    if min(options.rounds, options.lives, options.lines, options.rows // 6) < 1 or options.lines > 100_000:
        parser.error("--rounds, --lives and --lines must be at least 1, --rows at least 6, --lines at most 100000")

    # A shell's interrupt reaches this program, which then removes what it made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(options)
    folder = tempfile.mkdtemp(prefix="godwit-bench.", dir=options.folder)
    try:
        for name in options.engines:
            engine = kinds[name](folder)
            try:
                if "life" in options.parts:
                    bench.life(engine)
                if "submit" in options.parts:
                    bench.submit(engine)
                if "wake" in options.parts:
                    bench.wake(engine)
                if "history" in options.parts or "claims" in options.parts:
                    bench.history(engine)
                if "running" in options.parts:
                    bench.running(engine)
            finally:
                engine.close()
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        bench.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
