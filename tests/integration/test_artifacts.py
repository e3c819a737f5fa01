"""Artifacts from the call to the reader, with the real collector."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from run_programs import no_further_run, no_launcher, ok, start, wait_for

import steno
from nodes import node_dir
from steno.artifacts import content
from steno.capture.recorder import Recorder
from steno.cli import main

SMALL = int(os.environ.get("STENO_SMALL_ARTIFACTS") or 240)
"""How many small artifacts; 10,000 in the full setting."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    yield
    if steno.current() is not None:
        steno.current().finish(0)
    no_further_run()
    wait_for(lambda: not any(map(collects, collectors(tmp_path))))


def collectors(base):
    # Not by rglob, which raises when a directory goes away under it.
    found = [Path(place, "status.json") for place, _, names in os.walk(base) if "status.json" in names]
    return [json.loads(path.read_text())["pid"] for path in found]


def collects(pid):
    try:
        return b"steno.collector" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def ended(run_dir):
    """The run as it is when its collector has left; nothing is left in staging."""
    no_further_run()
    wait_for(lambda: not any(map(collects, collectors(run_dir))))
    assert not (run_dir / content.STAGING).exists()
    return steno.open(run_dir)


def put(name, data=b"data"):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def sha(data):
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_kept_as_it_was_and_found_by_name_alias_and_digest(tmp_path):
    run = steno.init("p", "a")
    path = put("model.pt", b"first")
    handle = run.log_artifact(path, name="ckpt/{step:03d}", step=7, link="latest", level=2, metadata={"loss": 0.5})
    path.write_bytes(b"rewritten at once")
    path.unlink()
    assert handle.result(20) == handle.digest == sha(b"first")
    assert handle.done()
    assert handle.error is None
    assert handle.link.done()
    assert run.finish(60) is True
    book = ended(run.dir)
    found = book.artifact("latest")
    assert found == book.artifact("ckpt/007") == book.artifact(digest=sha(b"first")[:6])
    assert (found.name, found.kind, found.size, found.digest) == ("ckpt/007", "file", 5, sha(b"first"))
    assert (found.step, found.level, found.metadata, found.source) == (7, 2, {"loss": 0.5}, "model.pt")
    assert found.path == run.dir / "artifacts" / found.digest[:2] / found.digest
    assert found.path.read_bytes() == b"first"
    assert found.aliases == ("latest",)
    assert found.versions == [found]
    assert run.health()["artifacts"] == {"logged": 2, "stored": 2, "failed": 0, "waiting": 0}


def test_ten_versions_at_once_and_the_last_one_wins_while_old_ones_stay(tmp_path):
    run = steno.init("p", "a")
    for number in range(10):
        run.log_artifact(put("f", b"%d" % number), overwrite=True)
    assert run.finish(60)
    found = ended(run.dir).artifact("f")
    assert found.path.read_bytes() == b"9"
    assert [one.path.read_bytes() for one in found.versions] == [b"%d" % number for number in range(10)]
    assert ended(run.dir).artifact("f", digest=sha(b"3")[:12]).path.read_bytes() == b"3"


def test_equal_content_is_stored_once():
    run = steno.init("p", "a")
    for name in "abc":
        run.log_artifact(put("same"), name=name)
    assert run.finish(60)
    book = ended(run.dir)
    assert len({book.artifact(name).path for name in "abc"}) == 1
    status = json.loads((node_dir(run.dir) / "status.json").read_text())["artifacts"]
    assert (status["done"], status["duplicates"]) == (3, 2)


def test_a_taken_name_is_refused_at_the_call_by_any_process(tmp_path):
    run = steno.init("p", "a")
    run.log_artifact(put("f"))
    with pytest.raises(FileExistsError, match="overwrite=True"):
        run.log_artifact("f")
    run.log_artifact("f", name="g").result(20)
    # Another process of the run knows it by the run's index.
    code = f"""
    import steno
    from steno.errors import UsageError
    run = steno.init("p", "a", dir={str(tmp_path / "runs")!r})
    try:
        run.log_artifact({str(tmp_path / "f")!r}, name="g")
    except FileExistsError as error:
        print("refused", error)
    run.link_artifact("g", "alias").result(20)
    run.finish(20)
    """
    assert "refused" in ok(code, tmp_path, STENO_COLLECTOR="on")
    assert run.finish(60)
    assert ended(run.dir).artifact("alias").name == "g"


def test_two_processes_at_once_and_the_loser_is_told_on_its_handle(tmp_path):
    code = """
    import sys, steno
    from pathlib import Path
    run = steno.init("p", "a", dir="runs")
    Path(f"f{sys.argv[0][-4]}").write_text(sys.argv[0][-4])
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        handle = run.log_artifact(f"f{sys.argv[0][-4]}", name="one")
        error = handle.error if handle.wait(20) else "slow"
    except FileExistsError as known:
        error = known
    print(type(error).__name__, flush=True)
    for number in range(20):
        run.log({"x": number})
    assert run.finish(60)
    """
    processes = [start(code, tmp_path, STENO_COLLECTOR="on") for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(said) == ["FileExistsError", "FileExistsError", "NoneType"]
    book = ended(tmp_path / "runs/p/a")
    assert len(book.artifact("one").versions) == 1
    assert len(book.series("x").value) == 60
    winner = said.index("NoneType")
    assert book.artifact("one").path.read_text() == str(winner)


def test_aliases_are_checked_and_follow_their_targets():
    run = steno.init("p", "a")
    with pytest.raises(FileNotFoundError, match="log it first"):
        run.link_artifact("nothing", "alias")
    run.log_artifact(put("f", b"one"), name="a")
    run.link_artifact("a", "latest")
    run.link_artifact("latest", "best")
    with pytest.raises(steno.UsageError, match="cycle"):
        run.link_artifact("best", "a")
    with pytest.raises(steno.UsageError, match="same name"):
        run.link_artifact("a", "a")
    with pytest.raises(FileExistsError):
        run.link_artifact("a", "best", overwrite=False)
    with pytest.raises(FileExistsError):
        run.log_artifact("f", name="latest")
    run.log_artifact(put("f", b"two"), name="a", overwrite=True)
    run.log_artifact(put("f", b"three"), name="b", link="best")
    assert run.finish(60)
    book = ended(run.dir)
    assert book.artifact("latest").path.read_bytes() == b"two"
    assert book.artifact("best").path.read_bytes() == b"three"
    assert [one.name for one in book.artifacts()] == ["a", "b"]


def test_an_alias_is_published_only_when_its_target_is_complete():
    """A collector that must wait for the large target shows the old meaning, or the new one whole."""
    run = steno.init("p", "a")
    run.log_artifact(put("old", b"old"), link="latest").result(20)
    with open("large", "wb") as file:
        file.truncate(256 << 20)
    book = steno.open(run.dir)
    handle = run.log_artifact("large", link="latest")
    seen = set()
    while not handle.link.done():
        now = book.artifact("latest")
        assert now.digest is not None
        seen.add(now.name)
    assert handle.result(30)
    assert seen >= {"old"}
    assert book.artifact("latest").name == "large"
    assert run.finish(60)


def test_a_missing_target_is_told_on_the_handle_and_in_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_RANK", "0")
    monkeypatch.setenv("STENO_WORLD_SIZE", "2")  # another rank might have logged it
    run = steno.init("p", "a")
    handle = run.link_artifact("nothing", "alias")
    with pytest.raises(FileNotFoundError, match="'nothing'"):
        handle.result(20)
    assert run.finish(60)
    book = ended(run.dir)
    with pytest.raises(steno.UsageError, match="none at all"):
        book.artifact("alias")
    assert any("'nothing'" in note.payload.get("reason", "") for note in book.records("note"))


def test_a_directory_comes_back_as_it_was(tmp_path):
    top = tmp_path / "top"
    put(top / "a.txt", b"a")
    put(top / "sub/run.sh", b"#!/bin/sh").chmod(0o755)
    (top / "empty").mkdir()
    os.symlink("sub/run.sh", top / "link")
    run = steno.init("p", "a")
    digest = run.log_artifact(top, link="code").result(20)
    again = run.log_artifact(top, name="again").result(20)
    assert digest == again
    shutil.rmtree(top)
    assert run.finish(60)
    found = ended(run.dir).artifact("code")
    assert (found.kind, found.size, found.name) == ("dir", 10, "top")
    assert {name: path.read_bytes() for name, path in found.files.items()} == {
        "a.txt": b"a",
        "sub/run.sh": b"#!/bin/sh",
    }
    with pytest.raises(steno.UsageError, match="directory"):
        _ = found.path
    out = found.download(tmp_path / "out")
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == [
        "a.txt", "empty", "link", "sub", "sub/run.sh",
    ]  # fmt: skip
    assert (out / "link").readlink() == Path("sub/run.sh")
    assert os.access(out / "sub/run.sh", os.X_OK)
    with pytest.raises(steno.UsageError, match="there already"):
        found.download(out)
    put(out / "stale")
    found.download(out, overwrite=True)
    assert not (out / "stale").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]


def test_a_link_costs_nothing_and_shares_the_bytes():
    run = steno.init("p", "a")
    path = put("f", b"linked")
    run.log_artifact(path, snapshot="link").result(20)
    assert run.finish(60)
    assert ended(run.dir).artifact("f").path.samefile(path)


def test_misuse_is_an_error_at_the_call_and_leaves_no_trace(tmp_path):
    run = steno.init("p", "a")
    path = put("f")
    (tmp_path / "secret").write_bytes(b"")
    for wrong, error in [
        (lambda: run.log_artifact("missing"), FileNotFoundError),
        (lambda: run.log_artifact(path, name="{step}"), steno.UsageError),
        (lambda: run.log_artifact(path, name="{nonsense}"), steno.UsageError),
        (lambda: run.log_artifact(path, name="../f"), steno.UsageError),
        (lambda: run.log_artifact(path, link="/f"), steno.UsageError),
        (lambda: run.log_artifact(path, snapshot="magic"), steno.UsageError),
        (lambda: run.log_artifact(path, step=1.5), steno.UsageError),
        (lambda: run.log_artifact(path, link="f"), steno.UsageError),
        (lambda: run.log_artifact(path, level="high"), steno.UsageError),
        (lambda: run.log_artifact(path, metadata=3), TypeError),
        (lambda: run.link_artifact("f", "g", level="high"), steno.UsageError),
        (lambda: run.log_artifact(None), TypeError),
    ]:
        with pytest.raises(error):
            wrong()
    run.event("epoch_end", epoch=3)
    # Not by `rglob`, which fails when the collector removes an empty directory under it.
    staged = [name for _, below, files in os.walk(run.dir / content.STAGING) for name in (*below, *files)]
    assert not [name for name in staged if name[0].isdigit()]
    handle = run.log_artifact(path, name="{run_name}/{epoch}/{rank}of{world_size}/{{step}}", level="epoch")
    assert handle.name == "a/3/0of1/{step}"
    run.event("batch_end")
    run.event(steno.Event.EPOCH_END)
    assert run.link_artifact("a/3/0of1/{{step}}", "ep{epoch}-ba{batch:03d}", level="Fit").name == "ep4-ba001"
    assert run.finish(60)
    with pytest.raises(steno.ClosedError):
        run.log_artifact(path)
    with pytest.raises(steno.ClosedError):
        run.link_artifact("f", "g")
    (found,) = ended(run.dir).artifacts()
    assert (found.name, found.aliases, found.level) == ("a/3/0of1/{step}", ("ep4-ba001",), 2)


def test_a_run_that_records_nothing_takes_artifacts_too():
    run = steno.init("p", "a", mode="off")
    handle = run.log_artifact("missing", link="latest")
    assert handle.done()
    assert handle.result(1) is None
    assert run.link_artifact("x", "y").wait()
    assert run.finish()
    assert not Path("runs").exists()


def test_the_current_run_takes_them(tmp_path):
    steno.init("p", "a")
    steno.log_artifact(put("f"), name="{run_name}").result(20)
    steno.link_artifact("a", "b")
    assert steno.finish(60)
    assert ended(tmp_path / "runs/p/a").artifact("b").name == "a"


def test_a_run_without_a_collector_is_stored_by_sync():
    run = steno.init("p", "a", collector=False)
    handle = run.log_artifact(put("f", b"later"), link="latest")
    assert not handle.wait(0.1)
    with pytest.raises(TimeoutError):
        handle.result(0.1)
    Path("f").unlink()
    assert run.finish(0.5) is False
    assert steno.sync(run, timeout=30).complete
    assert ended(run.dir).artifact("latest").path.read_bytes() == b"later"
    assert handle.digest == sha(b"later")


def test_without_the_ledger_the_parts_tell_all():
    run = steno.init("p", "a")
    run.log_artifact(put("f", b"one"))
    run.log_artifact(put("f", b"two"), overwrite=True, link="latest")
    run.log_artifact(put("d/x", b"x").parent)
    assert run.finish(60)
    ended(run.dir)
    shutil.rmtree(run.dir / ".steno")
    book = steno.open(run.dir)
    assert book.artifact("latest").path.read_bytes() == b"two"
    assert [one.path.read_bytes() for one in book.artifact("f").versions] == [b"one", b"two"]
    assert book.artifact("d").files["x"].read_bytes() == b"x"


def test_a_lost_ledger_keeps_names_and_refusals():
    run = steno.init("p", "a")
    run.log_artifact(put("f", b"one"), link="latest")
    assert run.finish(60)
    ended(run.dir)
    (node_dir(run.dir) / "ledger.sqlite").unlink()
    run = steno.init("p", "a", resume=True)
    run.flush(20)
    with pytest.raises(FileExistsError):
        run.log_artifact("f")
    run.log_artifact(put("f", b"two"), overwrite=True)
    assert run.finish(60)
    assert ended(run.dir).artifact("latest").path.read_bytes() == b"two"


def test_a_rewind_frees_the_names_of_the_steps_it_hides():
    run = steno.init("p", "a")
    for step in (5, 10):
        run.log({"x": step}, step=step)
        run.log_artifact(put("f", b"old%d" % step), name="ckpt-{step}", step=step, link="latest")
    assert run.finish(60)
    ended(run.dir)
    run = steno.init("p", "a", rewind=8)
    assert run.flush(60)
    with pytest.raises(FileExistsError):
        run.log_artifact("f", name="ckpt-5", step=9)
    assert steno.open(run.dir).artifact("latest").name == "ckpt-5"
    run.log_artifact(put("f", b"new"), name="ckpt-{step}", step=10, link="latest")
    assert run.finish(60)
    found = ended(run.dir).artifact("latest")
    assert found.path.read_bytes() == b"new"
    assert [one.path.read_bytes() for one in found.versions] == [b"old10", b"new"]


def test_a_payload_leads_to_its_bytes_at_any_time():
    run = steno.init("p", "a", collector=False)
    run.log_artifact(put("f", b"bytes"))
    (staged,) = (run.dir / content.STAGING).rglob("[0-9]*")
    id = f"{staged.parent.name}/{staged.name}"
    payload = {"op": "file", "id": id, "file": str(staged.relative_to(run.dir))}
    before = content.find(run.dir, payload)
    assert before == staged
    os.link(before, "kept")
    run.finish(0)
    steno.sync(run, timeout=30)
    ended(run.dir)
    after = content.find(run.dir, payload)
    assert after == content.place(run.dir, sha(b"bytes"))
    assert after.read_bytes() == Path("kept").read_bytes() == b"bytes"
    assert content.find(run.dir, {**payload, "id": "nobody/1"}) is None


@pytest.mark.parametrize("how", ["auto", "link"])
def test_many_small_artifacts_from_eight_threads(how):
    run = steno.init("p", "a")
    errors = []

    def work(thread):
        try:
            for number in range(SMALL // 8):
                path = put(f"in/{thread}-{number}", b"%d %d" % (thread, number))
                run.log_artifact(path, step=number, link="latest", snapshot=how)
                path.unlink()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert run.finish(300)
    book = ended(run.dir)
    all_ = book.artifacts()
    found = {one.name: one.path.read_bytes() for one in all_}
    assert found == {f"{a}-{b}": b"%d %d" % (a, b) for a in range(8) for b in range(SMALL // 8)}
    assert all(one.digest == sha(found[one.name]) for one in all_)
    assert book.artifact("latest").name in found


def test_forked_and_spawned_children_log_their_own():
    code = """
    import multiprocessing, os
    from pathlib import Path
    import steno

    def child(number):
        path = f"child{number}"
        Path(path).write_text(path)
        steno.log_artifact(path).result(20)
        steno.finish(20)

    if __name__ == "__main__":
        run = steno.init("p", "a")
        Path("parent").write_text("parent")
        run.log_artifact("parent")
        spawned = multiprocessing.get_context("spawn").Process(target=child, args=(1,))
        spawned.start()
        pid = os.fork()
        if not pid:
            child(2)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        spawned.join()
        assert spawned.exitcode == 0
        assert run.finish(60)
    """
    ok(code, Path.cwd(), STENO_COLLECTOR="on")
    book = ended(Path.cwd() / "runs/p/a")
    assert {one.name: one.path.read_text() for one in book.artifacts()} == {
        name: name for name in ("parent", "child1", "child2")
    }


def test_a_living_process_is_never_swept(tmp_path):
    """A snapshot in the making lies in staging as long as its process lives, whatever collectors come and go."""
    code = """
    import sys, steno
    from pathlib import Path
    run = steno.init("p", "a", collector=False)
    Path("f").write_text("f")
    run.log_artifact("f")
    stream = next(Path(run.dir, ".steno/staging").iterdir())
    (stream / "99").write_text("in the making")
    print(stream, flush=True)
    sys.stdin.readline()
    """
    process = start(code, tmp_path)
    stream = Path(process.stdout.readline().strip())
    run_dir = tmp_path / "runs/p/a"
    steno.sync(run_dir, timeout=30)
    assert steno.open(run_dir).artifact("f").path.read_text() == "f"
    assert [path.name for path in stream.iterdir()] == ["99"]
    process.kill()
    process.communicate()
    steno.sync(run_dir, timeout=30)
    ended(run_dir)


def test_the_command_lists_and_copies(tmp_path, capfd):
    run = steno.init("p", "a")
    run.log_artifact(put("f", b"one"), name="dir/model.pt")
    run.log_artifact(put("f", b"two"), name="dir/model.pt", overwrite=True, link="latest")
    assert run.finish(60)
    ended(run.dir)

    def steno_(*arguments):
        """(exit status, stdout, stderr)"""
        status = 0
        try:
            main([*arguments])
        except SystemExit as leave:
            status = leave.code or 0
        return status, *capfd.readouterr()

    listed = json.loads(steno_("get", "a", "--json")[1])
    assert [(one["name"], one["aliases"], one["versions"]) for one in listed] == [("dir/model.pt", ["latest"], 2)]
    assert "dir/model.pt" in steno_("get", "p/a")[1]
    assert steno_("get", "a", "latest", "--to", "out")[0] == 0
    assert Path("out").read_bytes() == b"two"
    assert steno_("get", "a", "latest")[0] == 0
    assert Path("model.pt").read_bytes() == b"two"
    assert steno_("get", "a", "latest", "--to", "-")[1] == "two"
    again = steno_("get", "a", "latest", "--to", "out")
    assert (again[0], Path("out").read_bytes()) == (2, b"two")
    assert steno_("get", "a", "latest", "--to", "out", "--force", "--digest", sha(b"one")[:8])[0] == 0
    assert Path("out").read_bytes() == b"one"
    wrong = steno_("get", "a", "latst")
    assert (wrong[0], "did you mean 'latest'" in wrong[2]) == (2, True)
    book = steno.open(run.dir)
    found = book.artifact("latest").path
    found.chmod(0o644)
    found.write_bytes(b"tw0")
    damaged = steno_("get", "a", "latest", "--to", "new")
    assert (damaged[0], "damaged" in damaged[2], Path("new").exists()) == (1, True, False)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".new", ".out"))]


def test_a_killed_collector_is_succeeded_and_nothing_is_stored_twice():
    run = steno.init("p", "a")
    handles = []
    for number in range(30):
        handles.append(run.log_artifact(put("f", b"%d" % number * 100_000), name=f"f{number}"))
        if number % 10 == 5:
            for pid in collectors(run.dir):
                if collects(pid):
                    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    assert all(handle.wait(deadline - time.monotonic()) for handle in handles)
    assert run.finish(30)
    book = ended(run.dir)
    stored = [one.payload["id"] for one in book.records("artifact") if one.payload["op"] == "stored"]
    assert len(stored) == len(set(stored)) == 30
    for number, handle in enumerate(handles):
        assert handle.digest == sha(b"%d" % number * 100_000) == book.artifact(f"f{number}").digest


def test_a_run_in_an_object_store_gives_its_artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "store").mkdir()
    run = steno.init("p", "a", store=f"file://{tmp_path}/store")
    run.log_artifact(put("f", b"hello"), link="latest")
    run.log_artifact(put("d/x", b"x").parent)
    assert run.finish(30)
    ended(run.dir)
    shutil.rmtree(run.dir)
    book = steno.open(f"file://{tmp_path}/store/p/a")
    assert book.artifact("latest").path.read_bytes() == b"hello"
    assert (book.artifact("d").download("out") / "x").read_bytes() == b"x"
    (found,) = (tmp_path / "store").rglob(sha(b"hello"))
    found.chmod(0o644)
    found.write_bytes(b"hellO")
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(steno.CorruptError, match="digest"):
        _ = steno.open(f"file://{tmp_path}/store/p/a").artifact("f").path


def test_a_signal_handler_may_log_an_artifact_inside_a_call():
    code = """
    import itertools, signal, time
    from pathlib import Path
    import steno
    run = steno.init("p", "a")
    Path("f").write_text("f")
    counts = [0, 0]

    def handle(*_):
        if counts[0] < 100:
            counts[0] += 1
            run.log_artifact("f", name=f"handler/{counts[0]}", link="latest")

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.002)
    end = time.monotonic() + 60
    while counts[0] < 100 and time.monotonic() < end:
        counts[1] += 1
        run.log_artifact("f", name=f"main/{counts[1]}", link="latest")
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert run.finish(30)
    print(*counts)
    """
    counts = [int(word) for word in ok(code, Path.cwd(), STENO_COLLECTOR="on").split()]
    assert counts[0] == 100
    book = ended(Path.cwd() / "runs/p/a")
    assert len(book.artifacts()) == sum(counts)


def test_a_signal_handler_that_logs_while_the_first_call_begins_takes_another_number(monkeypatch):
    run = steno.init("p", "a", collector=False)
    begun, handler = Recorder.ensure_stream, [lambda: run.log_artifact(put("g"))]

    def interrupted(self):
        name = begun(self)
        if handler:
            handler.pop()()
        return name

    monkeypatch.setattr(Recorder, "ensure_stream", interrupted)
    run.log_artifact(put("f"))
    assert (run.health()["artifacts"]["logged"], run.health()["artifacts"]["failed"]) == (2, 0)
    run.finish()
    steno.sync(run.dir)
    assert {one.name for one in steno.open(run.dir).artifacts()} == {"f", "g"}


@pytest.mark.timing
def test_a_forked_child_does_not_wait_for_what_its_parent_logged():
    run = steno.init("p", "a", collector=False)
    run.log_artifact(put("f"))
    pid = os.fork()
    if not pid:
        code = 9
        try:
            began = time.monotonic()
            assert run.health()["artifacts"] == {"logged": 0, "stored": 0, "failed": 0, "waiting": 0}
            assert run._ending.artifacts.wait(time.monotonic() + 60)
            code = 0 if time.monotonic() - began < 10 else 8
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    run.finish(0)
    steno.sync(run, timeout=30)
    ended(run.dir)
