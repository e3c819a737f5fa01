"""A run directory from a stranger: what it names outside of itself is neither read, written nor removed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from run_programs import no_launcher, processes, wait_for

import steno
from nodes import node_dir
from steno import inside
from steno.artifacts.content import DirectoryFile, Manifest
from steno.capture.start.collector_process import is_running
from steno.journal import place as places
from steno.journal import pointers
from steno.record import ARTIFACT


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def home(tmp_path):
    """The victim's: nothing of it may change, and no name of it be read into the run."""
    place = tmp_path / "home"
    (place / "thesis").mkdir(parents=True)
    (place / "thesis" / "chapter1.tex").write_text("years of work")
    (place / "id_rsa").write_text("PRIVATE KEY")
    (place / "project").mkdir()
    (place / "project" / "data.csv").write_text("data")
    (place / "project" / "manifest.json").write_bytes(Manifest().encode())
    old = time.time() - 3600
    for path in (*place.rglob("*"), place):
        os.utime(path, (old, old))
    before = tree(place)
    yield place
    assert tree(place) == before


def tree(place: Path) -> dict[str, object]:
    found = {}
    for path in sorted(place.rglob("*")):
        facts = path.lstat()
        found[str(path)] = (
            path.read_bytes() if path.is_file() else None,
            facts.st_mtime_ns,
            facts.st_nlink,
            facts.st_mode,
        )
    return found


PLANT = """
import os, sys, steno
run = steno.init(project="p", name="evil", dir="runs", collector=False)
run.log({"loss": 1.0}, step=0)
recorder = run._started.recorder
for kind, payload in __import__("json").loads(sys.argv[1]):
    recorder.entry(kind, payload, None)
os._exit(0)
"""


def planted(*entries) -> Path:
    """A run whose process journalled these entries and died; nothing of it is posted."""
    subprocess.run([sys.executable, "-c", PLANT, json.dumps(entries)], check=True, timeout=60)
    return Path("runs/p/evil").absolute()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What a run is begun with → one that has ended; made when a test asks for the first such run."""
    found = {}

    def one(**more) -> Path:
        if repr(more) not in found:
            with steno.init(project="p", name="evil", dir=tmp_path_factory.mktemp("made"), **more) as run:
                run.log({"loss": 1.0}, step=0)
                run.log({"picture": steno.Text("x" * 2000)}, step=0)
            wait_for(lambda: (run.dir / "manifest.json").exists())
            wait_for(lambda: not is_running(run.dir))
            found[repr(more)] = Path(run.dir)
        return found[repr(more)]

    return one


@pytest.fixture
def ended(made):
    """Makes `runs/p/evil`, as it comes from a stranger: a copy of a run that has ended."""

    def copied(**more) -> Path:
        return Path(shutil.copytree(made(**more), Path("runs/p/evil").absolute(), symlinks=True))

    return copied


def sync(run_dir: Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "steno", "sync", str(run_dir), "--timeout", "30", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert "Traceback" not in done.stdout + done.stderr, done
    return done


def resume(run_dir: Path) -> str:
    code = "import steno\nrun = steno.init(project='p', name='evil', dir='runs', resume=True, linger=0.5)\nrun.log({'loss': 2.0})\nrun.finish(10)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90)
    wait_for(lambda: not processes("steno.collector", run_dir.parent))
    return done.stderr


@pytest.mark.parametrize("act", [sync, resume])
@pytest.mark.parametrize("where", ["home", "named", "link", "relative"])
def test_a_planted_pointer_leads_nowhere(ended, home, tmp_path, act, where):
    run_dir = ended()
    journal, stream = run_dir / ".steno/journal", "x-1-a"
    place = {
        "home": home,
        "named": tmp_path / "steno-x-1-a",
        "link": tmp_path / "steno-x-1-a",
        "relative": Path("home"),
    }[where]
    if where == "named":
        shutil.copytree(home, place)
        (place / "owner.json").write_text(json.dumps({"run": "/elsewhere", "place": [1, 2]}))
        (place / "000000.seg").write_bytes(b"STENOJ01")
    elif where == "link":
        place.symlink_to(home)
    before = tree(place) if where == "named" else None
    (journal / f"{stream}.pointer").write_text(
        json.dumps({"host": os.uname().nodename, "boot": "", "path": str(place)})
    )
    (journal / "y-1-a.pointer").write_text(json.dumps({"host": "", "boot": "", "path": str(place)}))
    act(run_dir)
    if where == "named":
        assert tree(place) == before
    doctor = subprocess.run([sys.executable, "-m", "steno", "doctor", str(run_dir)], capture_output=True, text=True)
    assert doctor.returncode == 0, doctor.stderr
    assert "x-1-a" in doctor.stdout


def test_a_copy_of_a_run_does_not_take_the_journal_of_the_original(tmp_path):
    (tmp_path / "local").mkdir()
    run = steno.init(project="p", name="evil", dir="runs", collector=False, journal_dir=tmp_path / "local")
    run.log({"loss": 1.0}, step=0)
    shutil.copytree(run.dir, tmp_path / "copy")
    assert sync(tmp_path / "copy").returncode == 1
    assert steno.open(tmp_path / "copy").keys() == []
    run.finish(0)
    assert sync(run.dir).returncode == 0
    assert steno.open(run.dir).keys() == ["loss"]
    assert not any((tmp_path / "local").iterdir())


def artifact(path: str, op: str = "file", **more) -> tuple[str, dict]:
    id = more.pop("id", "h-1-a/1")
    return ARTIFACT, {
        "op": op,
        "id": id,
        "name": f"{op}-{id[-1]}",
        "file": path,
        "size": 3,
        "mode": 0o600,
        "how": "copy",
        "overwrite": False,
        "source": "x",
        **more,
    }


def test_a_planted_artifact_takes_and_removes_nothing(home):
    up = "../" * 6
    run_dir = planted(
        artifact(str(home / "id_rsa")),
        artifact(str(home / "project/manifest.json"), "dir", id="h-1-a/2"),
        artifact(f"{up}{home}/id_rsa".replace("//", "/"), id="h-1-a/3"),
        artifact(f".steno/staging/h-1-a/{up}home/id_rsa", id="h-1-a/4"),
        artifact(".steno/staging/h-1-a/../../../run.json", id="h-1-a/5"),
        artifact(".steno/nodes", id="h-1-a/6"),
        artifact(".steno/staging/h-1-a/8", "dir", id="h-1-a/8"),
        artifact(".steno/staging/h-1-a/9", id="h-1-a/9", name="../../evil"),
        artifact(".steno/staging/link/1", id="link/1"),
    )
    staging = run_dir / ".steno/staging"
    staging.mkdir(exist_ok=True)
    (staging / "link").symlink_to(home)
    assert sync(run_dir).returncode != 0  # a link has no place there
    (staging / "link").unlink()
    assert sync(run_dir).returncode == 0
    book = steno.open(run_dir)
    assert [one.digest for one in book.artifacts()] == []
    assert not (run_dir / "artifacts").exists()
    assert len(book.records("note")) >= 6


def test_links_in_a_snapshot_are_not_followed(home):
    run_dir = planted(
        artifact(".steno/staging/h-1-a/1", id="h-1-a/1"), artifact(".steno/staging/h-1-a/2/manifest.json", "dir", id="h-1-a/2"),
        artifact(".steno/staging/h-1-a/3/manifest.json", "dir", id="h-1-a/3"),
    )  # fmt: skip
    staging = run_dir / ".steno/staging/h-1-a"
    (staging / "2").mkdir(parents=True)
    (staging / "1").symlink_to(home / "id_rsa")
    (staging / "2" / "0").symlink_to(home / "id_rsa")
    (staging / "2" / "manifest.json").write_bytes(Manifest((DirectoryFile("key", "0", 11, 0o600),)).encode())
    (staging / "3").symlink_to(home / "project")
    assert sync(run_dir).returncode == 0
    assert steno.open(run_dir).artifacts() == []
    assert b"PRIVATE KEY" not in b"".join(
        path.read_bytes() for path in run_dir.rglob("*") if path.is_file() and not path.is_symlink()
    )


@pytest.mark.parametrize(
    "manifest",
    [
        {"files": [["../../out", "DIGEST", 1, 420]]},
        {"files": [["/tmp/steno-evil-out", "DIGEST", 1, 420]]},
        {"files": [["a/b", "DIGEST", 1, 420]], "links": [["a", ".."]]},
        {"files": [["a/b", "DIGEST", 1, 420]], "links": [["a", "x"]]},
        {"links": [["a", "/etc"]]},
        {"links": [["a", "../x"]]},
        {"links": [["d/l", ".."], ["a", "d/l/../x"]]},
        {"links": [["l1", "l2"], ["l2", "l1"]]},
        {"dirs": ["../out"]},
        {"files": [["a", "../../../home/id_rsa", 1, 420]]},
        {"files": [["a", "DIGEST", -1, 420]]},
        {"files": 3},
        {"files": [["a\0b", "DIGEST", 1, 420]]},
    ],
)
def test_a_directorys_manifest_stays_in_the_directory(home, manifest):
    with steno.init(project="p", name="evil", dir="runs") as run:
        Path("d").mkdir()
        Path("d/f").write_text("f")
        run.log_artifact("d")
    wait_for(lambda: (run.dir / "manifest.json").exists())
    book = steno.open(run.dir)
    (kept,) = book.artifacts()
    content = hashlib.sha256(b"f").hexdigest()
    text = json.dumps({"format": 1, "files": [], "links": [], "dirs": [], "skipped": [], **manifest}).replace(
        "DIGEST", content
    )
    path = run.dir / "artifacts" / kept.digest[:2] / kept.digest
    path.chmod(0o644)
    path.write_text(text)
    # Nothing but SQLite's own, which its collector may be closing still.
    before = {path for path in Path().rglob("*") if "ledger.sqlite-" not in path.name}
    with pytest.raises((steno.StenoError, FileNotFoundError)):
        book.artifact("d").download("out")
    with contextlib.suppress(steno.StenoError):
        assert all(one.is_relative_to(run.dir) for one in book.artifact("d").files.values())
    assert {path for path in Path().rglob("*") if "ledger.sqlite-" not in path.name} == before


@pytest.mark.parametrize(
    "what",
    [
        ".steno", ".steno/journal", ".steno/nodes", ".steno/nodes/NODE", ".steno/nodes/NODE/ledger.sqlite", ".steno/nodes/NODE/collector.log",
        ".steno/nodes/NODE/reading", ".steno/nodes/NODE/collector.lock", ".steno/nodes/NODE/status.json", ".steno/attempts", ".steno/collector.log",
        ".steno/poison", ".steno/staging", ".steno/destinations", "metrics", "records", "media", "artifacts", "run.json", "manifest.json",
    ],
)  # fmt: skip
def test_a_link_in_the_machinery_is_one_clear_error(ended, home, what):
    run_dir = ended()
    place = run_dir / what.replace("NODE", node_dir(run_dir).name)
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    place.symlink_to(home / "thesis" / "chapter1.tex" if "." in place.name[1:] or place.name == "reading" else home)
    for command in (["sync", run_dir], ["show", run_dir], ["doctor", run_dir]):
        done = subprocess.run(
            [sys.executable, "-m", "steno", *map(str, command)], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done
        assert "is a symbolic link" in done.stderr
    assert "is a symbolic link" in resume(run_dir)


@pytest.mark.parametrize(
    "what",
    [
        ".steno/destinations/x.json",
        ".steno/nodes/NODE/node.json",
        "run.json",
        "manifest.json",
        ".steno/attempts/0001.json",
    ],
)
def test_a_pipe_in_the_machinery_holds_up_nobody(ended, what):
    run_dir = ended()
    place = run_dir / what.replace("NODE", node_dir(run_dir).name)
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    for command in (
        ["sync", run_dir],
        ["show", run_dir],
        ["runs", "--dir", "runs"],
        ["doctor", run_dir],
        ["tail", run_dir, "--no-follow"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "steno", *map(str, command)], capture_output=True, text=True, timeout=60
        )
        assert "Traceback" not in done.stderr, done


@pytest.mark.parametrize(
    "what", ["000000.seg", "raw-000001", "side-00", "value-0000000000000000", "alive", "owner.json"]
)
def test_a_link_in_a_journal_is_not_followed(home, what):
    run_dir = planted()
    (stream,) = (run_dir / ".steno/journal").iterdir()
    (stream / what).unlink(missing_ok=True)
    (stream / what).symlink_to(home / "id_rsa")
    (stream / "keep.txt").write_text("not the journal's")
    sync(run_dir)
    assert (stream / "keep.txt").read_text() == "not the journal's"
    assert not (stream / what).is_symlink() or what == "000000.seg"


def test_a_ledger_is_looked_for_where_this_user_keeps_it_and_nowhere_else(ended, home, tmp_path):
    run_dir = ended()
    node = node_dir(run_dir)
    elsewhere = home.parent / "other" / places.LEDGER
    elsewhere.parent.mkdir()
    sqlite3.connect(elsewhere).execute("create table mine(x)").connection.close()
    before = tree(elsewhere.parent)
    for place in (elsewhere, elsewhere.parent / "new.sqlite", home / "id_rsa"):
        (node / places.POINTER).write_text(json.dumps({"host": os.uname().nodename, "path": str(place)}))
        assert sync(run_dir).returncode == 0
        assert steno.open(run_dir).keys() == ["loss", "picture"]
    assert tree(elsewhere.parent) == before


@pytest.mark.parametrize(
    "code",
    [
        "create view evil as with recursive n(x) as (select 1 union all select x + 1 from n) select * from n",
        "create trigger evil after insert on streams begin delete from batches; end",
        "create virtual table evil using fts5(x)",
        ("drop table losses; create view losses as with recursive n(kind, name, count, reason) as (select 'a', 'b', 1, 'c' union all "
        "select kind, name, count + 1, reason from n) select * from n"),
        "drop table losses; create table losses(kind text, name text, count integer, reason text generated always as (hex(randomblob(1000000000))))",
    ],
)  # fmt: skip
def test_a_ledger_that_runs_code_is_no_ledger(ended, code):
    run_dir = ended()
    with (
        contextlib.closing(sqlite3.connect(node_dir(run_dir) / places.LEDGER)) as connection,
        contextlib.suppress(sqlite3.OperationalError),
    ):
        connection.executescript(code)
    done = subprocess.run(
        [sys.executable, "-m", "steno", "show", str(run_dir)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done
    assert sync(run_dir).returncode == 0
    assert steno.open(run_dir).keys() == ["loss", "picture"]


@pytest.mark.parametrize(
    "code",
    [
        "alter table streams rename column unfilled to zz", "alter table counters rename column next to zz", "drop table batches",
        "alter table parts rename column bytes to zz", "drop table losses; create table losses(a)", "drop table cursors; create table cursors(a)",
    ],
)  # fmt: skip
def test_a_ledger_with_other_tables_is_set_aside(ended, code):
    run_dir = ended(destinations=["csv"], linger=0.5)
    with contextlib.closing(sqlite3.connect(node_dir(run_dir) / places.LEDGER)) as connection:
        connection.executescript(code)
    assert sync(run_dir).returncode == 0
    assert steno.open(run_dir).keys() == ["loss", "picture"]


@pytest.mark.parametrize("what", ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"])
def test_a_list_of_runs_waits_for_no_pipe(ended, what):
    run_dir = ended()
    path = node_dir(run_dir) / what
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    (run_dir / "manifest.json").unlink()
    code = "import steno; print(len(steno.runs(dir='runs')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "1\n"), done


@pytest.mark.parametrize(
    "name",
    [
        "../../home/thesis/chapter1.tex",
        "/etc/hostname",
        "metrics/../../../../home/id_rsa",
        "metrics/0000000000000000-part-000001.parquet/x",
        "run.json",
    ],
)
def test_a_part_is_where_parts_are(ended, home, name):
    run_dir = ended()
    ledger = node_dir(run_dir) / places.LEDGER
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        connection.execute(
            "insert into parts select 99, kind, ?, first_batch, last_batch, first, last, 10, 10, null from parts limit 1",
            (name,),
        )
        connection.commit()
    done = sync(run_dir)
    assert done.returncode == 0, done
    steno.open(run_dir).series("loss")
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["parts"][0]["name"] = name
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(run_dir / ".steno")
    book = steno.open(run_dir)
    assert "manifest.json" in book.info.unreadable
    assert (run_dir / "run.json").exists()


@pytest.mark.parametrize("digest", ["../../../home/id_rsa", "/etc/hostname", "ab/../../x", "", "zz", 7])
@pytest.mark.parametrize("ext", ["txt", "/../../x", "../../home/id_rsa", None])
def test_a_media_value_is_where_media_are(home, digest, ext):
    from steno.media import files as media_files
    from steno.record import Ref

    with contextlib.suppress(steno.StenoError, FileNotFoundError, TypeError, KeyError):
        media_files.value(Path("runs"), Ref(digest, "text", {"ext": ext}))
        pytest.fail("read")
    with contextlib.suppress(steno.StenoError, TypeError):
        assert media_files.encoded(Path("runs"), Ref(digest, "text", {"ext": ext})) is None


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("csv", {"sizes": {"../../../home/id_rsa": 3}}), ("csv", {"sizes": {"/etc/hostname": 3}}), ("jsonl", {"size": -5}),
        ("text", {"sizes": {"../x": 3}}), ("tensorboard", {"files": {"0": {"name": "../../../home/id_rsa", "size": 3}}}),
    ],
)  # fmt: skip
def test_a_cursor_leads_no_destination_out_of_the_run(ended, home, name, position):
    run_dir = ended(destinations=[name], linger=0.5)
    ledger = node_dir(run_dir) / places.LEDGER
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        connection.execute("update cursors set position=?, batch=0, record=0", (json.dumps(position),))
        connection.commit()
    done = sync(run_dir)
    assert done.returncode == 1, done
    assert f"{name} is behind" in done.stdout


@pytest.mark.parametrize(
    ("name", "file"),
    [("csv", "metrics.csv"), ("jsonl", "metrics.jsonl"), ("text", "logs-rank0.txt"), ("tensorboard", "tensorboard")],
)
def test_a_destination_writes_through_no_link(ended, home, name, file):
    run_dir = ended(destinations=[])
    (run_dir / file).symlink_to(home / "id_rsa" if "." in file else home)
    done = sync(run_dir, "--to", name)
    assert done.returncode == 1, done
    assert "is a symbolic link" in done.stdout


def test_names_and_paths():
    for good in ("a", "a b", "a.b", "..a", "ä", "a\\b", "-"):
        assert inside.name(good) == good
        assert inside.path(Path("/nowhere"), "x", f"{good}/{good}") == Path(f"/nowhere/x/{good}/{good}")
    for bad in ("", ".", "..", "a/b", "/", "a\0b", None, 3, b"a", ["a"]):
        with pytest.raises(steno.CorruptError):
            inside.name(bad)
    for bad in ("", "/a", "a//b", "a/", "../a", "a/../b", "./a", "a/.", "a\0b", None, 3):
        with pytest.raises(steno.CorruptError):
            inside.path(Path("/nowhere"), bad)
    assert inside.number("0012") == 12
    assert [inside.number(text) for text in ("", "-1", "1.0", "²", "٣", "1" * 30, "x")] == [None] * 7
    assert (inside.node("00"), inside.node("007"), inside.node("0"), inside.node("262143"), inside.node("262144")) == (
        0,
        None,
        None,
        262143,
        None,
    )


def test_a_directory_outside_says_whose_it_is(tmp_path):
    run_dir, place = tmp_path / "run", tmp_path / pointers.directory("s-1-a")
    (run_dir / ".steno").mkdir(parents=True)
    place.mkdir()
    assert not inside.is_own(place, run_dir)
    pointer = pointers.write(run_dir, "s-1-a", place)
    assert inside.is_own(place, run_dir)
    assert pointers.read(run_dir, pointer).problem == ""
    (tmp_path / "link").symlink_to(place)
    assert not inside.is_own(tmp_path / "link", run_dir)
    shutil.copytree(run_dir, tmp_path / "copy")
    assert not inside.is_own(place, tmp_path / "copy")
    assert "remove it" in pointers.read(tmp_path / "copy", tmp_path / "copy" / pointer.relative_to(run_dir)).problem
    run_dir.rename(tmp_path / "moved")
    assert inside.is_own(place, tmp_path / "moved")
    for wrong in ("[]", "{}", "null", "7", "{torn", '{"run": 3}'):
        (place / inside.OWNER).write_text(wrong)
        assert not inside.is_own(place, tmp_path / "moved")
