"""What benchmarks of Godwit share: a fleet of `godwit dev`."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import bare  # noqa: E402


class Fleet:
    """`godwit dev` with two hosts in a folder of its own, used by the command line."""

    def __init__(self, programs):
        self.godwit = os.path.join(programs, "godwit")
        self.folder = tempfile.mkdtemp(prefix="godwit-bench.")
        self.state = os.path.join(self.folder, "state")
        self.log = open(os.path.join(self.folder, "dev.out"), "wb")
        self.dev = subprocess.Popen(
            [self.godwit, "dev", "--hosts", "2", "--state", self.state], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        self.environment = dict(os.environ)
        self.until("the environment of godwit dev", self.read_environment)
        self.until("two hosts", lambda: sum(host["host_status"] == "online" for host in self.ask("host-list")) == 2)

    def until(self, what, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end or self.dev.poll() is not None:
                raise bare.Failure(f"no {what}: {bare.tail(self.log.name)}")
            time.sleep(0.05)

    def read_environment(self):
        try:
            with open(os.path.join(self.state, "env")) as file:
                words = file.read().split()
        except OSError:
            return False
        self.environment.update(word.split("=", 1) for word in words if "=" in word)
        return "GODWIT_TOKEN" in self.environment

    def call(self, *arguments):
        done = subprocess.run([self.godwit, *arguments], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise bare.Failure(f"godwit {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def ask(self, *arguments):
        return json.loads(self.call(*arguments, "--output", "json"))

    def close(self):
        self.dev.send_signal(signal.SIGTERM)
        try:
            self.dev.wait(60)
        except subprocess.TimeoutExpired:
            self.dev.kill()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
