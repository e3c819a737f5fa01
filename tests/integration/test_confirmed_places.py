"""What a run itself names as a place to send something to gets nothing before this user has named it too."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import under_test

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from run_programs import no_launcher, wait_for

from steno import confirmed
from steno.capture.start.collector_process import is_running
from steno.destinations import asked

SINK = """
import json, os
class Sink:
    def __init__(self, dir): self.dir = dir
    def open(self, run): os.makedirs(self.dir, exist_ok=True)
    def write(self, batch):
        with open(os.path.join(self.dir, "got.txt"), "a") as file:
            file.writelines(f"{record.step} {dict(record.values)}\\n" for record in batch.records())
    def flush(self): pass
    def close(self): pass
open(LOADED, "a").close()
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mine"))
    site = tmp_path / "site"
    (site / "sink-1.0.dist-info").mkdir(parents=True)
    (site / "sink-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: sink\nVersion: 1.0\n")
    (site / "sink-1.0.dist-info" / "entry_points.txt").write_text("[steno.destinations]\nsink = sink_of_a_test:Sink\n")
    (site / "sink_of_a_test.py").write_text(f"LOADED = {str(tmp_path / 'loaded')!r}\n{SINK}")
    monkeypatch.setenv("PYTHONPATH", under_test.import_path(site))


PROGRAM = """
import json, sys, steno
more = json.loads(sys.argv[1])
run = steno.init(project="p", name="r", dir="runs", linger=0.5, **more)
run.log({"loss": 1.0})
print(run.finish(20), run.dir)
"""


def program(state: str, **more) -> subprocess.CompletedProcess:
    """A training by whoever has that state directory; destinations are pairs, as JSON has them."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("**more", "**{k: [tuple(x) if isinstance(x, list) else x for x in v] "
         "if k == 'destinations' else v for k, v in more.items()}"), json.dumps(more)],
        env={**os.environ, "XDG_STATE_HOME": str(Path(state).absolute())}, capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip


def steno_(*arguments: str, **env: str) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-m", "steno", *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert "Traceback" not in done.stdout + done.stderr, done
    return done


RUN = Path("runs/p/r")


def command_of(text: str) -> list[str]:
    """The command that a line names."""
    (line,) = [line for line in text.splitlines() if "--confirm" in line]
    return shlex.split(line[line.index("steno ") :])[1:]


def owe_all_again():
    """Nothing has been delivered or sent, as the ledgers of the run know it."""
    wait_for(lambda: not is_running(RUN.absolute()))
    for path in RUN.glob(".steno/nodes/*/ledger.sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as ledger:
            ledger.execute("delete from cursors")
            ledger.commit()


def places(tmp_path):
    return {
        "sink": {"destinations": [["sink", {"dir": str(tmp_path / "out")}]]},
        "store": {"store": f"file://{tmp_path}/out"},
    }


@pytest.mark.parametrize("kind", ["sink", "store"])
def test_a_strangers_places_get_nothing_until_they_are_confirmed(tmp_path, kind):
    asked_for = places(tmp_path)[kind]
    assert program("theirs", **asked_for).stdout.startswith("True")
    assert (tmp_path / "out").exists()
    shutil.rmtree(tmp_path / "out")
    owe_all_again()
    (tmp_path / "loaded").unlink(missing_ok=True)

    for command in (("show",), ("doctor",), ("sync", "--timeout", "30"), ("sync",)):
        done = steno_(command[0], str(RUN), *command[1:])
        assert not (tmp_path / "out").exists(), command
        assert not (tmp_path / "loaded").exists(), command
        assert command[0] != "sync" or done.returncode == 1, done
    again = command_of(done.stdout)

    # Going on with the run names nothing either, and is held up by nothing.
    gone_on = program("mine", resume=True)
    assert gone_on.stdout.startswith("True")
    assert command_of(gone_on.stderr) == again
    assert not (tmp_path / "out").exists()

    done = steno_(*again)
    assert done.returncode == 0, done
    assert any((tmp_path / "out").rglob("*"))
    # From now on it is known, to this user alone.
    shutil.rmtree(tmp_path / "out")
    owe_all_again()
    assert steno_("sync", str(RUN), XDG_STATE_HOME=str(tmp_path / "another")).returncode == 1
    assert not (tmp_path / "out").exists()
    assert steno_("sync", str(RUN)).returncode == 0
    assert any((tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("kind", ["sink", "store"])
def test_what_another_user_syncs_is_not_put_away_as_if_all_were_delivered(tmp_path, monkeypatch, kind):
    """Say from a container with a home of its own: whoever was asked for the places still delivers there."""
    monkeypatch.delenv("STENO_KEEP_LEDGER", raising=False)
    (tmp_path / "out").write_text("in the way")
    program("theirs", **places(tmp_path)[kind])
    wait_for(lambda: not is_running(RUN.absolute()))
    for _ in range(2):
        done = steno_("sync", str(RUN))
        assert done.returncode == 1, done
        assert command_of(done.stdout)
    assert "--confirm" in steno_("doctor", str(RUN)).stdout
    (tmp_path / "out").unlink()
    assert steno_("sync", str(RUN), XDG_STATE_HOME=str(tmp_path / "theirs")).returncode == 0
    assert any((tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("kind", ["sink", "store"])
def test_another_place_than_the_one_that_was_named_is_another(tmp_path, kind):
    """The stranger has the victim's own run, and gives it back changed."""
    program("mine", **places(tmp_path)[kind])
    shutil.rmtree(tmp_path / "out")
    owe_all_again()
    for path in [*RUN.glob(".steno/destinations/*.json"), *RUN.glob(".steno/stores/*.json")]:
        path.write_text(path.read_text().replace("/out", "/evil"))
    done = steno_("sync", str(RUN))
    assert done.returncode == 1
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "evil").exists()
    # Naming it without its options does not take them from the run.
    if kind == "sink":
        assert "--confirm" in steno_("sync", str(RUN), "--to", "sink").stderr
    assert "does not ask for" in steno_("sync", str(RUN), "--confirm", "sink" if kind == "sink" else "file:///x").stderr
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "csv", "kind": "file", "options": {}, "destination": "sink"},
        {"name": "sink", "kind": "file", "options": {"dir": "/tmp"}},
        {"kind": "file", "options": {}},
    ],
)
def test_a_run_does_not_say_where_a_destination_runs(tmp_path, facts):
    program("mine")
    (RUN / ".steno/destinations/sink.json").write_text(json.dumps(facts))
    done = steno_("sync", str(RUN))
    assert done.returncode == 1, done
    assert command_of(done.stdout)[:2] == ["sync", str(RUN.absolute())]
    assert not (tmp_path / "loaded").exists()
    assert not (RUN / "metrics.csv").exists()


@pytest.mark.parametrize("kind", ["sink", "store"])
def test_who_has_no_home_that_can_be_written_sends_all_the_same(tmp_path, monkeypatch, kind):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o500)
    for name, value in (("HOME", str(home / "nobody")), ("XDG_RUNTIME_DIR", ""), ("TMPDIR", str(tmp_path / "tmp"))):
        monkeypatch.setenv(name, value)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "theirs").write_text("no directory")
    done = program("theirs", **places(tmp_path)[kind])
    assert done.stdout.startswith("True"), done
    assert any((tmp_path / "out").rglob("*"))


def test_the_notes_are_this_users_alone(tmp_path, monkeypatch):
    assert confirmed.note("r", "s3://bucket/p") == ""
    (path,) = (tmp_path / "mine/steno/confirmed").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.stat().st_mode & 0o777 for one in (path.parent, path.parent.parent)] == [0o700, 0o700]
    assert confirmed.has("r", "s3://bucket/p")
    assert not confirmed.has("r", "s3://bucket/p2")
    assert not confirmed.has("r2", "s3://bucket/p")
    assert not confirmed.has("", "s3://bucket/p")
    assert confirmed.note("", "s3://bucket/p") != ""
    # Under the store, and nowhere else.
    assert confirmed.covers("r", "s3://bucket/p/project/name")
    for url in ("s3://bucket/p2/x", "s3://bucket", "s3://bucket/p/../x", "s3://", ""):
        assert not confirmed.covers("r", url)
    # What others could have written says nothing.
    path.chmod(0o622)
    assert not confirmed.has("r", "s3://bucket/p")
    assert confirmed.note("r", "s3://bucket/p") == ""
    assert path.stat().st_mode & 0o777 == 0o600
    path.parent.chmod(0o777)
    assert not confirmed.has("r", "s3://bucket/p")
    path.parent.chmod(0o700)
    path.write_text("{}")
    assert not confirmed.has("r", "s3://bucket/p")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text(json.dumps({"run": "r", "place": "s3://bucket/p"}) + "\n")
    assert not confirmed.has("r", "s3://bucket/p")


def test_there_are_never_too_many_notes(tmp_path, monkeypatch):
    monkeypatch.setattr(confirmed, "MOST", 40)
    for number in range(100):
        assert confirmed.note(str(number), "wandb") == ""
    assert len(list((tmp_path / "mine/steno/confirmed").iterdir())) <= 40
    assert confirmed.has("99", "wandb")
    assert not confirmed.has("0", "wandb")


def test_processes_note_at_once():
    code = "import sys; from steno import confirmed\nfor i in range(100): assert confirmed.note(f'{i}', f'wandb {i % 7}') == ''"
    many = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(6)]
    assert [one.wait(60) for one in many] == [0] * 6
    assert all(confirmed.has(str(number), f"wandb {number % 7}") for number in range(100))


def test_a_place_is_written_one_way():
    assert confirmed.place_of(' wandb {"b":1,"a":  "x"}') == confirmed.text_of("wandb", {"a": "x", "b": 1})
    assert confirmed.place_of("s3://b/p/") == "s3://b/p"
    assert confirmed.place_of("wandb") == "wandb"
    with pytest.raises(asked.confirmed.UsageError, match="no destination with options"):
        confirmed.place_of("wandb a=b")


def test_artifacts_are_not_looked_for_where_the_run_in_a_store_says(tmp_path):
    (tmp_path / "model.pt").write_text("weights")
    code = (
        "import steno, sys\n"
        "run = steno.init(project='p', name='r', dir='runs', store=sys.argv[1], settings={'artifacts': sys.argv[2]})\n"
        "run.log_artifact('model.pt')\nrun.log({'loss': 1.0})\nassert run.finish(60)\n"
    )
    stores = [f"file://{tmp_path}/s", f"file://{tmp_path}/weights"]
    subprocess.run([sys.executable, "-c", code, *stores], check=True, timeout=90)
    cache = {"STENO_CACHE_DIR": str(tmp_path / "cache")}
    url = f"{stores[0]}/p/r"
    stranger = {**cache, "XDG_STATE_HOME": str(tmp_path / "another")}
    done = steno_("get", url, "model.pt", "--to", "copy", **stranger)
    assert done.returncode != 0
    assert not Path("copy").exists()
    again = command_of(done.stderr)
    again[again.index("NAME")] = "model.pt"
    assert steno_(*again, "--to", "copy", **stranger).returncode == 0
    assert Path("copy").read_text() == "weights"
    # Who made the run has named the store.
    assert (
        steno_("get", url, "model.pt", "--to", "own", "--force", STENO_CACHE_DIR=str(tmp_path / "c2")).returncode == 0
    )
