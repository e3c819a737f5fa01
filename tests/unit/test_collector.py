"""The collector as a real process: exactly once through kills, damage and hanging destinations."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

import under_test
from nodes import node_dir
from steno import confirmed
from steno.capture.recorder import Recorder
from steno.ledger.bins_name import name_of
from steno.ledger.read import Reader
from steno.ledger.snapshot import run_state

pytestmark = pytest.mark.usefixtures("kept_ledger")

KILLS = int(os.environ.get("STENO_KILLS", "8"))
DRIVER = """
import sys
import steno.ledger.seal as seal, steno.collector.sealing as sealing
seal.PART_POINTS = sealing.PART_POINTS = {points}
{faults}
from steno.collector.__main__ import main
main([sys.argv[1], "--linger", "{linger}", *["--once"][:{once}]])
"""


def driver(*, points=3000, linger=5, once=False, faults=""):
    """A program that is `python -m steno.collector`, with smaller parts, after some lines that make things fail."""
    return DRIVER.format(points=points, linger=linger, once=once, faults=faults)


class Run:
    def __init__(self, path, *destinations):
        self.dir = path
        (path / ".steno" / "destinations").mkdir(parents=True)
        for name in destinations:
            self.ask(name)
        self.processes = []

    def ask(self, name, kind="file", **options):
        text = json.dumps({"name": name, "kind": kind, "options": options})
        (self.dir / ".steno" / "destinations" / f"{name}.json").write_text(text)
        if kind == "process":
            (self.dir / "run.json").write_text(json.dumps({"id": "r"}))
            assert confirmed.note("r", confirmed.text_of(name, options)) == ""

    def record(self, **more):
        return Recorder(self.dir, run_id="r", report=lambda key, message: pytest.fail(f"{key}: {message}"), **more)

    def collector(self, *, points=3000, linger=20.0, once=False):
        command = [sys.executable, "-c", driver(points=points, linger=linger, once=once), str(self.dir)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def collect(self, **more):
        assert self.collector(once=True, **more).wait(60) == 0

    @property
    def node(self):
        return node_dir(self.dir)

    def status(self):
        try:
            return json.loads((self.node / "status.json").read_bytes())
        except FileNotFoundError:
            return {}

    def log(self):
        path = self.node / "collector.log"
        return path.read_text() if path.exists() else ""

    def series(self, key):
        """(record, step, value) of one key, everywhere, in order of record."""
        snapshot = Reader(self.dir).snapshot()
        rows = []
        for part in snapshot.parts:
            if part.kind == "metrics":
                table = pq.read_table(self.dir / part.name, filters=[("key", "=", key)])
                rows += zip(*(table[name].to_pylist() for name in ("record", "step", "value")), strict=True)
        for batch in snapshot.batches:
            rows += [(one.record, one.step, one.values[key]) for one in batch.records() if key in one.values]
        return sorted(rows)


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path / "run")
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def until(condition, timeout_secs=60.0):
    deadline = time.monotonic() + timeout_secs
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def test_a_run_is_posted_delivered_sealed_and_left(run):
    run.ask("jsonl")
    run.ask("csv")
    process = run.collector()
    recorder = run.record()
    for i in range(2000):
        recorder.log({"a": float(i), "b": i, "c": "text" if i % 100 == 0 else -i})
    recorder.entry("finish", {"state": "finished"})
    assert recorder.flush(60)
    recorder.close()

    assert process.wait(60) == 0

    assert [(i + 1, i, float(i)) for i in range(2000)] == run.series("a")
    assert [json.loads(line)["values"]["a"] for line in _points(run.dir / "metrics.jsonl")] == [
        float(i) for i in range(2000)
    ]
    snapshot = Reader(run.dir).snapshot()
    assert snapshot.batches == ()
    assert run_state(snapshot.streams) == "finished"
    assert {"state": snapshot.meta["done"]["state"]} == {"state": "finished"}
    assert os.listdir(run.dir / ".steno" / "journal") == []
    assert not (run.node / "ledger.sqlite-wal").exists()
    assert run.log() == ""
    manifest = json.loads((run.dir / "manifest.json").read_bytes())
    assert {part["name"] for part in manifest["parts"]} == {part.name for part in snapshot.parts}
    assert run.status()["destinations"]["jsonl"]["delivered"] == 2001


def _points(path):
    return [line for line in path.read_text().splitlines() if "values" in json.loads(line)]


def test_kills_at_random_moments_lose_and_double_nothing(run, monkeypatch):
    """The collector is killed while it posts, seals and delivers; every record comes through once, in order."""
    monkeypatch.setenv("STENO_SEGMENT_BYTES", str(64 << 10))
    seed = random.randrange(2**32)
    print("seed", seed)
    generator = random.Random(seed)
    run.ask("jsonl")
    run.ask("text", mode="exclusive")
    recorder = run.record()
    count = 0
    for _ in range(KILLS):
        process = run.collector(points=2000)
        deadline = time.monotonic() + 0.15 + generator.random() * 0.6
        while time.monotonic() < deadline:
            for _ in range(generator.randrange(1, 60)):
                recorder.log({"x": float(count), "y": count * 2, f"k{count % 7}": 1.0})
                count += 1
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _check(run, count, whole=False)
    recorder.entry("finish", {"state": "finished"})
    recorder.close()

    assert run.collector(points=2000).wait(60) == 0

    _check(run, count, whole=True)
    assert [float(i) for i in range(count)] == [
        json.loads(line)["values"]["x"] for line in _points(run.dir / "metrics.jsonl")
    ]
    text = (run.dir / "logs-rank0.txt").read_text().splitlines()
    assert text == [
        f'[BATCH][batch={i}]: {{ "k{i % 7}": 1.0, "x": {float(i)}, "y": {float(2 * i)}, }}' for i in range(count)
    ]
    assert Reader(run.dir).snapshot().losses == ()
    lie = {f"metrics/{name}" for name in os.listdir(run.dir / "metrics")}
    listed = {part.name for part in Reader(run.dir).snapshot().parts if part.kind == "metrics"}
    assert {name for name in lie if name.endswith(".parquet")} == listed
    assert lie - listed <= {name_of(name) for name in listed}, "bins go with their part"


def _check(run, count, *, whole):
    if not run.node.exists():
        return
    rows = run.series("x")
    assert len(rows) == count if whole else len(rows) <= count
    assert [(i, float(i)) for i in range(len(rows))] == [(step, value) for _, step, value in rows]
    assert len({record for record, _, _ in rows}) == len(rows)


def test_a_killed_trainer_is_read_back_and_crashed(run):
    program = (
        "import sys, os, signal; from pathlib import Path; from steno.capture.recorder import Recorder\n"
        "r = Recorder(Path(sys.argv[1]), run_id='r', report=print)\n"
        "for i in range(5000): r.log({'x': float(i)})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = run.collector()
    trainer = subprocess.run([sys.executable, "-c", program, str(run.dir)], check=False)
    assert trainer.returncode == -signal.SIGKILL

    assert process.wait(60) == 0

    assert [(i + 1, i, float(i)) for i in range(5000)] == run.series("x")
    assert run_state(Reader(run.dir).snapshot().streams) == "crashed"
    assert os.listdir(run.dir / ".steno" / "journal") == []


def test_a_second_collector_leaves_at_once(run):
    recorder = run.record()
    first = run.collector()
    until(lambda: run.status())

    assert run.collector().wait(60) == 0
    assert first.poll() is None

    recorder.close()
    assert first.wait(60) == 0


def test_sigterm_ends_after_the_current_posting_and_the_next_one_goes_on(run):
    recorder = run.record()
    for i in range(100):
        recorder.log({"x": float(i)})
    process = run.collector()
    until(lambda: run.status().get("record", 0) >= 100)
    process.terminate()

    assert process.wait(60) == 0

    recorder.log({"x": 100.0})
    recorder.close()
    run.collect()
    assert [float(i) for i in range(101)] == [value for _, _, value in run.series("x")]


@pytest.mark.parametrize("damage", ["header", "middle", "gone"])
def test_a_damaged_ledger_is_set_aside_and_the_run_goes_on(run, damage):
    run.ask("jsonl")
    recorder = run.record()
    for i in range(4000):
        recorder.log({"x": float(i), "y": 1.0})
    recorder.entry("finish", {"state": "finished"})
    recorder.close()
    run.collect(points=1000)
    sealed = run.series("x")
    ledger = run.node / "ledger.sqlite"
    if damage == "gone":
        ledger.unlink()
    else:
        raw = bytearray(ledger.read_bytes())
        if damage == "header":
            raw[:100] = bytes(100)
        else:
            for page in range(1, len(raw) // 8192):
                raw[page * 8192 : page * 8192 + 60] = b"\xff" * 60
        ledger.write_bytes(raw)
    again = run.record()
    again.log({"x": -1.0, "y": 2.0})
    again.close()

    run.collect()

    rows = run.series("x")
    assert sealed == rows[:-1]
    assert rows[-1][2] == -1.0
    assert rows[-1][0] > sealed[-1][0]
    assert rows[-1][1] == 4000
    snapshot = Reader(run.dir).snapshot()
    notes = [
        row
        for part in snapshot.parts
        if part.kind == "records"
        for row in pq.read_table(run.dir / part.name).to_pylist()
    ]
    assert any("lost_ledger" in row["payload"] for row in notes if row["kind"] == "note")
    lines = [json.loads(line)["values"]["x"] for line in _points(run.dir / "metrics.jsonl")]
    assert [float(i) for i in range(4000)] + [-1.0] == lines
    if damage != "gone":
        assert (run.node / "ledger.sqlite.corrupt-1").exists()
        assert "damaged" in run.log()


def test_records_that_no_part_has_are_posted_again_from_journals_after_a_lost_ledger(run):
    recorder = run.record()
    for i in range(500):
        recorder.log({"x": float(i)})
    process = run.collector(points=200)
    until(lambda: len(Reader(run.dir).snapshot().parts) > 0 and run.status().get("record") == 500)
    process.kill()
    process.wait()
    for path in run.node.glob("ledger.sqlite*"):
        path.unlink()
    recorder.log({"x": 500.0})
    recorder.close()

    run.collect()

    assert [float(i) for i in range(501)] == [value for _, _, value in run.series("x")]
    assert list(range(501)) == [step for _, step, _ in run.series("x")]


@pytest.mark.timing
def test_a_hanging_destination_does_not_keep_the_collector_longer_than_it_lingers(run, tmp_path):
    (tmp_path / "hang.py").write_text(
        "import time\nclass Hang:\n def open(self, run): pass\n def write(self, batch): time.sleep(3600)\n def flush(self): pass\n def close(self): pass\n"
    )
    program = driver(
        linger=0.3,
        faults="import steno.destinations.registry as registry\nregistry.BUILT_IN['hang'] = ('hang:Hang', 'file')",
    )
    run.ask("hang")
    run.ask("jsonl")
    recorder = run.record()
    recorder.log({"x": 1.0})
    recorder.close()
    began = time.monotonic()

    process = subprocess.run(
        [sys.executable, "-c", program, str(run.dir)],
        env={**os.environ, "PYTHONPATH": under_test.import_path(tmp_path)},
        timeout=30,
        check=False,
    )

    assert process.returncode == 1
    assert time.monotonic() - began < 12
    assert len(_points(run.dir / "metrics.jsonl")) == 1
    assert run.status()["destinations"]["hang"]["lag"] == 1
    assert "hangs" in run.log()


def test_a_frame_that_kills_the_collector_twice_is_set_aside(run):
    recorder = run.record()
    for i in range(50):
        recorder.log({"x": float(i)})
    recorder.entry("event", {"name": "deadly"})
    for i in range(50, 60):
        recorder.log({"x": float(i)})
    recorder.close()
    program = driver(
        once=True,
        faults="import os, steno.journal.columns as columns\nplain = columns._entry\n"
        "columns._entry = lambda message, offset: os._exit(9) if message[4].get('name') == 'deadly' else plain(message, offset)",
    )
    deaths = 0
    while deaths < 6:
        process = subprocess.run(
            [sys.executable, "-c", program, str(run.dir)],
            timeout=30,
            check=False,
        )
        if process.returncode == 0:
            break
        deaths += 1

    assert 2 <= deaths <= 4
    assert [float(i) for i in range(60)] == [value for _, _, value in run.series("x")]
    assert len(list((run.dir / ".steno" / "poison").glob("*.frame"))) == 1
    assert [loss.kind for loss in Reader(run.dir).snapshot().losses] == ["lost bytes"]


def test_two_processes_are_ordered_by_their_stamps(run):
    process = run.collector()
    left, right = run.record(rank=0), run.record(rank=1)
    for i in range(300):
        (left if i % 3 else right).log({"x": float(i)})
        if i % 50 == 0:
            time.sleep(0.03)
    left.close()
    right.close()
    assert process.wait(60) == 0

    rows = run.series("x")

    assert [float(i) for i in range(300)] == [value for _, _, value in rows]
    assert list(range(300)) == [step for _, step, _ in rows]


def test_a_side_file_is_read_and_removed(run):
    process = run.collector()
    recorder = run.record()
    recorder.log({"text": "x" * 10_000_000, "a": 1.0})
    recorder.log({"a": 2.0})
    recorder.close()
    assert process.wait(60) == 0

    parts = [part for part in Reader(run.dir).snapshot().parts if part.kind == "metrics"]
    texts = pq.read_table(run.dir / parts[0].name)["text"].to_pylist()

    assert [len(text) for text in texts if text is not None] == [10_000_000]
    assert os.listdir(run.dir / ".steno" / "journal") == []


def test_an_ended_run_goes_on(run):
    for attempt in (1, 2, 3):
        process = run.collector()
        recorder = run.record(attempt=attempt)
        for i in range(10):
            recorder.log({"x": float(i)})
        recorder.entry("finish", {"state": "finished"})
        recorder.close()
        assert process.wait(60) == 0

    rows = run.series("x")

    assert list(range(30)) == [step for _, step, _ in rows]
    assert len(set(np.array([record for record, _, _ in rows]))) == 30
    assert len(Reader(run.dir).snapshot().streams) == 3


def test_a_journal_elsewhere_is_followed_by_its_pointer_and_missed_when_gone(run, tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_JOURNAL_DIR", str(tmp_path / "elsewhere"))
    recorder = run.record()
    recorder.log({"x": 1.0})
    assert len(list((run.dir / ".steno" / "journal").glob("*.pointer"))) == 1
    recorder.close()
    run.collect()
    assert [value for _, _, value in run.series("x")] == [1.0]
    assert os.listdir(run.dir / ".steno" / "journal") == []
    assert os.listdir(tmp_path / "elsewhere") == []
    lost = run.record()
    lost.log({"x": 2.0})
    lost.close()
    os.rename(tmp_path / "elsewhere", tmp_path / "gone")

    run.collect()

    assert [loss.kind for loss in Reader(run.dir).snapshot().losses] == ["lost journal"]
    assert "is gone" in run.log()


def test_a_full_disk_is_said_once_and_nothing_is_lost(run):
    """SQLite's own limit stands in for the disk: the same error, at the same places."""
    recorder = run.record()
    for i in range(3000):
        recorder.log({"x": float(i), "text": "some text that does not compress away " * 3})
    recorder.close()
    program = driver(
        faults="import threading, steno.collector.service as service, steno.ledger.schema as schema\n"
        "begin = schema.begin\n"
        "def small(path, node):\n"
        "    connection = begin(path, node)\n"
        "    connection.execute('pragma max_page_count=16')\n"
        "    threading.Timer(1.5, lambda: connection.execute('pragma max_page_count=1000000')).start()\n"
        "    return connection\n"
        "schema.begin = small; service._DISK_SECS = 0.1",
    )
    process = subprocess.run([sys.executable, "-c", program, str(run.dir)], timeout=60, check=False)

    assert process.returncode == 0
    assert [float(i) for i in range(3000)] == [value for _, _, value in run.series("x")]
    assert run.log().count("posting failed") == 1


@pytest.mark.parametrize("leaves", [False, True])
def test_a_destination_with_foreign_code_has_a_process_of_its_own(run, leaves):
    """It dies in mid-delivery and is begun again behind its cursor; what it prints is in nobody's way.

    Nor is a process that it `leaves` behind, which holds its pipes.
    """
    run.ask("foreign", kind="process", dir=str(run.dir))
    package = run.dir.parent / "site"
    (package / "foreign-1.0.dist-info").mkdir(parents=True)
    (package / "foreign-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (package / "foreign-1.0.dist-info" / "entry_points.txt").write_text(
        "[steno.destinations]\nforeign = foreign:Foreign\n"
    )
    (package / "foreign.py").write_text(
        "import os, time\n"
        "class Foreign:\n"
        "    def __init__(self, dir): self.dir = dir\n"
        "    def open(self, run):\n"
        "        with open(os.path.join(self.dir, 'opened'), 'a') as file: file.write('o')\n"
        "    def write(self, batch):\n"
        "        print('noise')\n"
        "        once = os.path.join(self.dir, 'died')\n"
        "        if not os.path.exists(once):\n"
        f"            left = os.fork() if {leaves} else -1\n"
        "            if not left: time.sleep(600)\n"
        "            with open(once, 'w') as file: file.write(str(left))\n"
        "            os._exit(11)\n"
        "        with open(os.path.join(self.dir, 'out.txt'), 'a') as file:\n"
        "            file.writelines(f'{record.record} {record.values}\\n' for record in batch.records())\n"
        "    def flush(self): pass\n"
        "    def close(self): pass\n"
    )
    recorder = run.record()
    command = [sys.executable, "-m", "steno.collector", str(run.dir)]
    environment = {**os.environ, "PYTHONPATH": under_test.import_path(package), "STENO_KEEP_LEDGER": "1"}
    process = subprocess.Popen(command, env=environment)
    run.processes.append(process)
    for i in range(20):
        recorder.log({"x": float(i)})
    try:
        until(lambda: (run.dir / "out.txt").exists())
        for i in range(20, 40):
            recorder.log({"x": float(i)})
        recorder.close()
        assert process.wait(60) == 0
    finally:
        if leaves:
            os.kill(int((run.dir / "died").read_text()), signal.SIGKILL)

    assert [f"{i + 1} {{'x': {float(i)}}}" for i in range(40)] == (run.dir / "out.txt").read_text().splitlines()
    assert "exit status 11" in run.log()
    assert run.status()["destinations"]["foreign"]["lag"] == 0
    # One that has everything, and has ended in order, is not opened again for nothing: a service makes something of it.
    assert (run.dir / "opened").read_text() == "oo"
    stays = [*command, "--linger", "3"]  # so long, as nobody has begun to record
    assert subprocess.run(stays, env=environment, check=False, timeout=60).returncode == 0
    assert (run.dir / "opened").read_text() == "oo"
    assert run.status()["destinations"]["foreign"]["lag"] == 0
    (run.node / "open-foreign").touch()  # it may not have ended in order
    assert subprocess.run([*command, "--once"], env=environment, check=False, timeout=60).returncode == 0
    assert (run.dir / "opened").read_text() == "ooo"
