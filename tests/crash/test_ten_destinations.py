"""Ten destinations, of which one hangs, one raises always, one loses its network, one fails three times of four."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from besieged import no_collector
from run_programs import environment, wait_for

import steno
import under_test
from nodes import node_dir

DESTINATIONS = '''
import json, os, socket, time

class Sink:
    """Writes down the batches it takes, one line each, in a file of its own."""

    kinds = frozenset({"points"})

    def __init__(self, name=""):
        self.name = name

    def open(self, run):
        self.path = os.path.join(os.path.dirname(__file__), self.name)
        with open(self.path + ".opened", "a") as file:
            file.write("opened\\n")

    def write(self, batch):
        with open(self.path, "a") as file:
            file.write(json.dumps([batch.id, batch.record.tolist(), time.time()]) + "\\n")

    def flush(self): pass
    def close(self): pass

class Hangs(Sink):
    def write(self, batch):
        time.sleep(3600)

class Raises(Sink):
    def write(self, batch):
        raise RuntimeError("never")

class Flaky(Sink):
    tries = 0
    def write(self, batch):
        Flaky.tries += 1
        if Flaky.tries % 4:
            raise OSError(f"try {Flaky.tries}")
        super().write(batch)

class Remote(Sink):
    """Sends a batch to a server, which answers when it has it; the server knows a batch by its id."""
    def write(self, batch):
        port = int(open(self.path + ".port").read())
        with socket.create_connection(("127.0.0.1", port), timeout=2) as line:
            line.sendall(json.dumps([batch.id, batch.record.tolist()]).encode() + b"\\n")
            if line.makefile().readline() != "taken\\n":
                raise ConnectionError("no answer")
'''
NAMES = {
    "hangs": "Hangs",
    "raises": "Raises",
    "remote": "Remote",
    "flaky": "Flaky",
    "good1": "Sink",
    "good2": "Sink",
    "good3": "Sink",
}
GOOD = ["good1", "good2", "good3"]
FILES = ["jsonl", "csv", "tensorboard"]
PROGRAM = """
import sys, time
import steno
names = sys.argv[1].split(",")
run = steno.init(name="a", linger=float(sys.argv[2]), destinations=[
    *((name, {"name": name}) for name in names), "jsonl", "csv", "tensorboard"])
calls = []
for step in range(int(sys.argv[3])):
    before = time.perf_counter_ns()
    run.log({"loss": step / 7}, step)
    calls.append(time.perf_counter_ns() - before)
    if step % 10 == 0: time.sleep(0.01)
    if step == int(sys.argv[3]) // 3: print("third", flush=True); sys.stdin.readline()
run.flush(60)
print(sorted(calls)[len(calls) // 2], flush=True)
sys.stdin.readline()
"""
STEPS = int(os.environ.get("STENO_TEN_STEPS", "1200"))


class Server:
    """Takes batches, each once by its id, and behind it a proxy that can be stopped: the network."""

    def __init__(self) -> None:
        self.taken: dict[int, list[int]] = {}
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        self._proxy: socket.socket | None = None
        self._pipes: list[socket.socket] = []
        self.port = 0
        self.start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            with line:
                try:
                    text = line.makefile().readline()
                    id, records = json.loads(text)
                except ValueError:
                    continue
                self.taken.setdefault(id, records)
                line.sendall(b"taken\n")

    def start(self) -> None:
        self._proxy = socket.create_server(("127.0.0.1", self.port), backlog=16)
        self.port = self._proxy.getsockname()[1]
        threading.Thread(target=self._forward, args=(self._proxy,), daemon=True).start()

    def stop(self) -> None:
        """The cable is pulled: nothing is accepted, what is under way is cut."""
        assert self._proxy is not None
        self._proxy.shutdown(socket.SHUT_RDWR)
        self._proxy.close()
        for pipe in self._pipes:
            pipe.close()
        self._pipes.clear()

    def close(self) -> None:
        """The server too is gone."""
        self.stop()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _forward(self, proxy: socket.socket) -> None:
        while True:
            try:
                near, _ = proxy.accept()
            except OSError:
                return
            far = socket.create_connection(self._server.getsockname())
            self._pipes += [near, far]
            threading.Thread(target=_carry, args=(near, far), daemon=True).start()


def _carry(near: socket.socket, far: socket.socket) -> None:
    try:
        while True:
            for one in select.select([near, far], [], [], 60)[0]:
                data = one.recv(1 << 16)
                if not data:
                    near.close()
                    far.close()
                    return
                (far if one is near else near).sendall(data)
    except (OSError, ValueError):
        pass


@pytest.fixture
def site(tmp_path):
    """Installed packages that add the destinations; the directory they lie and write in."""
    site = tmp_path / "site"
    (site / "ten-1.0.dist-info").mkdir(parents=True)
    (site / "ten-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: ten\nVersion: 1.0\n")
    entries = "".join(f"{name} = ten_destinations:{kind}\n" for name, kind in NAMES.items())
    (site / "ten-1.0.dist-info/entry_points.txt").write_text(f"[steno.destinations]\n{entries}")
    (site / "ten_destinations.py").write_text(DESTINATIONS)
    return site


@pytest.fixture
def server():
    with contextlib.closing(Server()) as made:
        yield made


def delivered(site: Path, name: str) -> list[int]:
    """Records, as often as they came."""
    try:
        lines = (site / name).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [record for line in lines for record in json.loads(line)[1]]


@pytest.mark.timeout(280)
def test_six_are_on_time_and_two_of_the_four_catch_up(site, tmp_path, server):
    (site / "remote.port").write_text(str(server.port))
    path = under_test.import_path(site)
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, ",".join(NAMES), "60", str(STEPS)],
        cwd=tmp_path, env=environment(STENO_COLLECTOR="on", PYTHONPATH=path), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    run_dir = tmp_path / "runs/default/a"
    health = lambda: json.loads((node_dir(run_dir) / "status.json").read_text())["destinations"]  # noqa: E731
    with program:
        assert program.stdout.readline() == "third\n"
        wait_for(lambda: server.taken, 60)
        server.stop()
        program.stdin.write("\n")
        program.stdin.flush()
        # Microseconds as a rule; wide, since the machine may be busy. A wait for a destination would be seconds.
        assert int(program.stdout.readline()) < 1_000_000
        # All six are complete while one hangs, one raises and one has no network.
        wait_for(lambda: all(len(delivered(site, name)) == STEPS for name in GOOD), 60)
        wait_for(lambda: all(health().get(name, {"lag": 1})["lag"] == 0 for name in [*GOOD, *FILES]), 60)
        assert all(health()[name]["lag"] > 0 for name in ("hangs", "raises", "remote"))
        assert "never" in health()["raises"]["error"]
        assert len(server.taken) < health()["jsonl"]["batch"]
        server.start()
        wait_for(lambda: sum(map(len, server.taken.values())) == STEPS, 90)
        wait_for(lambda: len(delivered(site, "flaky")) == STEPS, 90)
        out, err = program.communicate("\n", timeout=30)
        assert (program.returncode, under_test.without_waits(err)) == (0, ""), out
    remote = [record for id in sorted(server.taken) for record in server.taken[id]]
    for name, records in {"remote": remote, **{name: delivered(site, name) for name in [*GOOD, "flaky"]}}.items():
        assert records == sorted(set(records)), f"{name} has something twice, or out of order"
        assert len(records) == STEPS, name
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    assert sum('"values"' in line for line in lines) == STEPS
    assert len((run_dir / "metrics.csv").read_text().splitlines()) == STEPS + 1
    assert delivered(site, "hangs") == delivered(site, "raises") == []
    assert len((site / "hangs.opened").read_text().splitlines()) == 1
    assert steno.open(run_dir).info.state == "finished"
    from besieged import kill_collectors

    kill_collectors(tmp_path)  # it would linger for those two
    no_collector(tmp_path)
