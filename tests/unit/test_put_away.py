"""A finished run keeps no ledger: its machinery is put away in the manifest, and made again where the run goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest
import run_programs
from run_programs import put_away

import steno
from durable_recorder import ALL, Recorder, drawn
from steno import files, host, machinery
from steno.capture.recorder import Recorder as Writer
from steno.collector.service import Service
from steno.journal import life
from steno.ledger import manifest
from steno.ledger.read import Reader


def eventually(holds, secs=60.0):
    deadline = time.monotonic() + secs
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def begin(place, **more):
    return steno.init(project="p", name="r", dir=place, config={"lr": 0.1}, **more)


def log(run, count, keys=5):
    for _ in range(count):
        run.log({f"k{number}": float(number) for number in range(keys)})


def files_of(run_dir):
    return [path for path in run_dir.rglob("*") if path.is_file()], [
        path for path in run_dir.rglob("*") if path.is_dir()
    ]


def state(run_dir):
    """All that a reader is told of a run."""
    with steno.open(run_dir) as reader:
        info = reader.info
        told = (info.state, info.config, info.summary, info.attempts, info.ranks, info.started, info.ended, info.tags)
        told += (info.records, info.points, info.error, info.losses, info.unposted, dict(info.unreadable))
        points = {key: reader.series(key).value.tolist() for key in reader.keys()}  # noqa: SIM118
        entries = [(entry.kind, entry.record) for entry in reader.records()]
        return repr((told, points, entries, reader.summary, [one.name for one in reader.artifacts()]))


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """A run that has ended with its machinery."""
    monkeypatch.setenv("STENO_KEEP_LEDGER", "1")
    run = begin(tmp_path, destinations=["csv"])
    log(run, 40)
    run.event("half")
    run.summary["best"] = 1.5
    (tmp_path / "note.txt").write_text("kept")
    run.log_artifact(tmp_path / "note.txt", name="note")
    assert run.finish(60)
    assert eventually(lambda: (run.dir / "manifest.json").exists() and left(run.dir))
    monkeypatch.delenv("STENO_KEEP_LEDGER")
    return run.dir


def left(run_dir):
    from steno.capture.start.collector_process import is_running

    return not is_running(run_dir) and not list((run_dir / ".steno" / "journal").iterdir())


def test_five_hundred_points_are_six_files_in_three_directories_and_40_kb(tmp_path):
    run = begin(tmp_path)
    log(run, 100)
    assert run.finish(30)
    put_away(run.dir)
    found, folders = files_of(run.dir)
    assert len(found) <= 6, found
    assert len(folders) + 1 <= 3, folders
    assert int(subprocess.check_output(["du", "-sk", str(run.dir)]).split()[0]) <= 40
    with steno.open(run.dir) as reader:
        assert reader.info.state == "finished"
        assert reader.info.unreadable == {}
        assert len(reader.series("k3")) == 100


def test_a_reader_is_told_the_same(ended):
    before = state(ended)
    assert manifest.put_away(ended)
    assert not (ended / ".steno").exists()
    assert state(ended) == before
    assert steno.runs(ended.parent)[0].state == "finished"


@pytest.mark.parametrize("when", ["before the ledger is opened", "as its file is copied", "after it was read"])
def test_what_is_put_away_while_it_is_read_is_read_once(ended, monkeypatch, when):
    if when == "as its file is copied":
        asked, owner, name = os.path.isfile, os.path, "isfile"  # the last look at it: its place is too long for SQLite
        monkeypatch.setattr("steno.journal.place.LEDGER_PATH_BYTES", 1)
    else:
        asked, owner, name = Reader._read_node, Reader, "_read_node"

    gone = []

    def away():
        if not gone:  # it looks at the ledger itself
            gone.append(True)
            assert manifest.put_away(ended)

    def put_away_about(*given):
        if when == "before the ledger is opened":
            away()
        found = asked(*given)
        if when != "before the ledger is opened" and (owner is Reader or "ledger" in str(given[0])):
            away()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, put_away_about)
        found = Reader(ended).snapshot()
    assert not (ended / ".steno").exists()
    names = [part.name for part in found.parts]
    assert len(names) == len(set(names)) == 2
    assert found.unreadable == {}


def test_a_run_goes_on_with_its_counters_destinations_and_artifacts(ended):
    assert manifest.put_away(ended)
    nodes = {path.name for path in ended.glob("card-*.json")}
    run = begin(ended.parent.parent, resume=True)
    log(run, 10)
    assert run.flush(60)
    with steno.open(ended) as reader:
        assert reader.info.state == "running"
        assert reader.series("k1").step.tolist() == list(range(50))
    assert run.finish(60)
    put_away(ended)
    with steno.open(ended) as reader:
        info = reader.info
        assert (info.state, [one.attempt for one in info.attempts], info.losses) == ("finished", [1, 2], ())
        assert reader.series("k1").step.tolist() == list(range(50))
        assert len(set(zip(reader.series("k1").record.tolist(), reader.series("k1").step.tolist(), strict=True))) == 50
        assert reader.summary["k1"]["count"] == 50
        assert [one.name for one in reader.artifacts()] == ["note"]
        assert info.summary == {"best": 1.5}
    lines = (ended / "metrics.csv").read_text().splitlines()
    assert len(lines) == 51
    assert {path.name for path in ended.glob("card-*.json")} == nodes
    run = begin(ended.parent.parent, resume=True, rewind=45)
    log(run, 1)
    assert run.finish(60)
    put_away(ended)
    with steno.open(ended) as reader:
        assert reader.series("k1").step.tolist() == list(range(46))
        assert [one.rewind for one in reader.info.attempts] == [None, None, 45]


def test_sync_has_nothing_to_do_and_a_new_destination_gets_all(ended):
    assert manifest.put_away(ended)
    report = steno.sync(ended)
    assert report.complete
    assert "csv" in report.destinations
    assert not (ended / ".steno").exists()
    report = steno.sync(ended, to="jsonl")
    assert report.complete
    assert {"csv", "jsonl"} <= set(report.destinations)
    values = [json.loads(line) for line in (ended / "metrics.jsonl").read_text().splitlines()]
    assert sum("k1" in one.get("values", {}) for one in values) == 40
    assert len((ended / "metrics.csv").read_text().splitlines()) == 41
    put_away(ended)


def test_a_run_whose_destination_lacks_something_keeps_its_ledger(tmp_path):
    run = begin(tmp_path, destinations=["csv"], settings=steno.Settings(linger=0.5))
    (run.dir / "metrics.csv").mkdir()  # before the collector has begun
    log(run, 3)
    run.finish(5)
    assert eventually(lambda: (run.dir / "manifest.json").exists() and left(run.dir))
    time.sleep(0.3)
    assert list((run.dir / ".steno" / "nodes").glob("*/ledger.sqlite"))


@pytest.mark.parametrize(
    "which", ["poison/frame", "staging/stream/file", "journal/stream/000000.seg", "attempts/0002.json"]
)
def test_what_is_left_to_do_keeps_the_machinery(ended, which):
    path = ended / ".steno" / which
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"attempt": 2}')
    assert not manifest.put_away(ended)
    assert path.exists()
    assert list((ended / ".steno" / "nodes").glob("*/ledger.sqlite"))


def test_a_writer_that_begins_at_the_last_moment_is_not_taken_away(ended):
    held = machinery.pack(ended)
    assert held is not None
    (ended / ".steno" / "journal" / "stream").mkdir()
    assert not machinery.remove(ended)
    assert (ended / ".steno" / "journal" / "stream").exists()
    assert list((ended / ".steno" / "nodes").glob("*/ledger.sqlite"))


@pytest.mark.parametrize("again", [False, True])
def test_a_writer_that_begins_while_the_machinery_is_taken_away_loses_nothing(ended, monkeypatch, again):
    """A child that was forked before the run's end, and logs for the first time now."""
    made, sync_dir, rename = [], files.sync_dir, files.rename

    def begin_recording(value):
        made.append(Writer(ended, run_id="r", report=lambda *line: pytest.fail(str(line)), primary=False))
        made[-1].log({"late": value})

    def sync(path):
        sync_dir(path)
        if path == ended / ".steno":
            begin_recording(1.0)

    def renamed(old, new):
        rename(old, new)
        if again and old == ended / ".steno":
            begin_recording(2.0)

    with monkeypatch.context() as patched:
        patched.setattr(files, "sync_dir", sync)
        patched.setattr(files, "rename", renamed)
        assert not manifest.put_away(ended)
    for one in made:
        one.close()
    machinery.restore(ended)
    assert Service(ended, once=True).run() == 0
    with steno.open(ended) as reader:
        assert sorted(reader.series("late").value) == [1.0, 2.0][: 1 + again]
        assert len(reader.series("k1")) == 40
        assert reader.info.losses == ()
    assert not list(ended.glob(".steno-*"))


def test_a_destination_that_is_added_while_the_machinery_is_taken_away_gets_the_run(ended, tmp_path, monkeypatch):
    code = f"import sys, steno; print('ready', flush=True); sys.stdin.readline(); print(steno.sync({str(ended)!r}, to='jsonl').complete)"
    adding = run_programs.start(code, tmp_path)
    assert adding.stdout.readline() == "ready\n"
    rename, seen = files.rename, []

    def renamed(old, new):
        if old == ended / ".steno" and not seen:
            adding.stdin.write("go\n")
            adding.stdin.flush()
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline and not (ended / ".steno" / "destinations" / "jsonl.json").exists():
                time.sleep(0.01)
            seen.append(new)
        rename(old, new)

    with adding:
        with monkeypatch.context() as patched:
            patched.setattr(files, "rename", renamed)
            assert Service(ended, once=True).run() == 0
        assert adding.communicate(timeout=60)[0] == "True\n"
    assert seen
    assert (ended / "metrics.jsonl").read_text().count("\n") >= 40


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_collector_that_takes_a_lock_which_is_put_away_begins_again(ended, monkeypatch, when):
    """As `steno sync` does, which waits for the run's own collector to leave."""
    hold, before = host.hold, state(ended)

    def put_away_meanwhile(path):
        monkeypatch.setattr(host, "hold", hold)
        held = hold(path) if when == "after" else None
        assert manifest.put_away(ended)
        return hold(path) if held is None else held

    monkeypatch.setattr(host, "hold", put_away_meanwhile)
    assert Service(ended, once=True).run() == 0
    assert not (ended / ".steno").exists()
    assert state(ended) == before


def test_a_journal_in_machinery_that_a_death_has_left_is_put_back(ended):
    recorder = Writer(ended, run_id="r", report=lambda *line: pytest.fail(str(line)), primary=False)
    recorder.log({"late": 1.0})
    recorder.close()
    (ended / ".steno").rename(ended / ".steno-gone-0123456789ab")
    machinery.restore(ended)
    assert Service(ended, once=True).run() == 0
    with steno.open(ended) as reader:
        assert reader.series("late").value.tolist() == [1.0]
        assert len(reader.series("k1")) == 40


def test_a_journal_whose_place_goes_away_while_it_is_made_is_begun_again(tmp_path, monkeypatch):
    sign = life.sign

    def lose(place, me):
        monkeypatch.setattr(life, "sign", sign)
        shutil.rmtree(tmp_path / ".steno")
        sign(place, me)

    monkeypatch.setattr(life, "sign", lose)
    recorder = Writer(tmp_path, run_id="r", report=lambda *line: pytest.fail(str(line)))
    recorder.log({"x": 1.0})
    assert recorder.unposted()
    recorder.close()


def test_a_journal_that_appears_beside_put_away_machinery_is_posted(ended):
    assert manifest.put_away(ended)
    (ended / ".steno" / "journal").mkdir(parents=True)
    assert Service(ended, once=True).run() == 0
    with steno.open(ended) as reader:
        assert len(reader.series("k1")) == 40
        assert reader.info.losses == ()
        assert reader.info.state == "finished"


def test_a_death_or_a_power_loss_at_any_step_leaves_the_run_whole(ended, tmp_path, monkeypatch):
    before = state(ended)
    recorder = Recorder(ended)
    with recorder:
        assert manifest.put_away(ended)
    states = list(recorder.states([*ALL, *map(drawn, range(3))]))
    assert len(states) > 5
    for number, (step, loss) in enumerate(states):
        after = recorder.power_loss(step, tmp_path / f"after{number}" / "p" / "r", loss)
        assert state(after) == before.replace(str(ended), str(after)), (step, loss, recorder.steps[:step])
        going_on(after, 40)


def test_a_death_or_a_power_loss_while_the_machinery_is_made_again(ended, tmp_path):
    assert manifest.put_away(ended)
    recorder = Recorder(ended)
    with recorder:
        assert machinery.restore(ended)
        for number in Reader(ended).nodes():
            manifest.begin_again(ended, number)
    for number, (step, loss) in enumerate(recorder.states([*ALL, *map(drawn, range(3))])):
        after = recorder.power_loss(step, tmp_path / f"after{number}" / "p" / "r", loss)
        going_on(after, 40)


def going_on(run_dir, count):
    """What the next collector makes of it: nothing is lost, doubled or said to be."""
    machinery.restore(run_dir)
    assert Service(run_dir, once=True).run() == 0
    with steno.open(run_dir) as reader:
        assert reader.info.losses == ()
        assert reader.info.unreadable == {}
        assert reader.series("k1").step.tolist() == list(range(count))
        assert reader.summary["k4"]["count"] == count
        assert reader.info.state == "finished"
    assert not (run_dir / ".steno").exists()
    assert not list(run_dir.glob(".steno-*"))


def test_another_machine_goes_on_with_it(ended):
    assert manifest.put_away(ended)
    held = json.loads((ended / "manifest.json").read_text())
    (name,) = [name for name in held["machinery"] if name.endswith("/node.json")]
    held["machinery"][name] = json.dumps({"host": "another", "machine": "0" * 16})
    (ended / "manifest.json").write_text(json.dumps(held))
    run = begin(ended.parent.parent, resume=True)
    run.log({"k1": -1.0})
    assert run.finish(60)
    put_away(ended)
    with steno.open(ended) as reader:
        assert reader.info.losses == ()
        assert len(reader.series("k1")) == 41
        assert len(np.unique(reader.series("k1").step)) >= 40
        assert len(reader.info.attempts) == 2
        assert reader.summary["k1"]["min"] == -1.0


def test_a_copy_of_it_is_a_run_like_any_other(ended, tmp_path):
    before = state(ended)
    assert manifest.put_away(ended)
    copy = tmp_path / "copies" / "p" / "r"
    shutil.copytree(ended, copy)
    assert state(copy) == before
    run = begin(tmp_path / "copies", resume=True)
    log(run, 1)
    assert run.finish(60)
    put_away(copy)
    with steno.open(copy) as reader:
        assert len(reader.series("k1")) == 41


def test_a_manifest_of_a_stranger_leads_nowhere_else(ended, tmp_path):
    assert manifest.put_away(ended)
    held = json.loads((ended / "manifest.json").read_text())
    for name in ("../outside", "/etc/outside", "nodes/../../../outside", "a/b/c/d/e/f"):
        (ended / "manifest.json").write_text(json.dumps({**held, "machinery": {name: "x"}}))
        with pytest.raises(steno.CorruptError):
            machinery.restore(ended)
        assert not (ended / ".steno").exists()
        assert not list(ended.glob(".steno-*"))
    assert not (tmp_path / "outside").exists()


def test_two_who_begin_at_once_have_one_machinery(ended):
    assert manifest.put_away(ended)
    wanted = json.loads((ended / "manifest.json").read_text())["machinery"]
    threads = [threading.Thread(target=machinery.restore, args=(ended,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there = {os.path.relpath(path, ended / ".steno") for path in files_of(ended / ".steno")[0]}
    assert there == set(wanted)
    assert not list(ended.glob(".steno-*"))
