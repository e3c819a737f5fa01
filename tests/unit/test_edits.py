"""Edits of a run: what they change and what they leave, several writers at once, torn and hostile files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from store_runs import Writer

import steno
from steno import edits
from steno.store.reader import RunReader

PROGRAM = """
import sys
import steno
reader = steno.open(sys.argv[1])
for number in range(int(sys.argv[3])):
    reader.edit(add_tags=f"{sys.argv[2]}-{number}", notes=f"{sys.argv[2]}-{number}")
"""


@pytest.fixture
def run_dir(tmp_path):
    place = tmp_path / "runs" / "tests" / "one"
    with Writer(place, tags=["recorded"], notes="as recorded") as writer:
        writer.log((0, {"loss": 0.5}))
        writer.finish()
    return place


def lines(run_dir):
    return [json.loads(line) for line in (run_dir / "edits.jsonl").read_text().splitlines() if line]


def info(run_dir):
    return RunReader(run_dir).info


def test_each_field_is_shown_and_what_was_recorded_stays(run_dir):
    before = (run_dir / "run.json").read_bytes()
    reader = RunReader(run_dir)
    reader.edit(name="better", tags=["a", "b", "a"], notes="two\nlines", archived=True, colour="#00AAff", by="me")
    found = reader.info
    assert (found.name, found.tags, found.notes) == ("better", ("a", "b"), "two\nlines")
    assert (found.archived, found.colour) == (True, "#00aaff")
    assert (found.run["name"], found.run["tags"]) == ("one", ["recorded"])
    assert (run_dir / "run.json").read_bytes() == before
    for line in lines(run_dir):
        assert set(line) == {"time", "by", "field", "value"}
        assert line["by"] == "me"
        assert line["time"].endswith("Z")
    [listed] = steno.runs(run_dir.parents[1], archived=True)
    assert (listed.name, listed.tags, listed.notes, listed.archived) == ("better", ("a", "b"), "two\nlines", True)
    assert listed.colour == "#00aaff"
    label = reader.sql("select distinct run from metrics").fetchall()
    assert label == [("tests/better",)]


def test_the_last_of_a_field_wins_and_an_empty_name_is_the_recorded_one(run_dir):
    reader = RunReader(run_dir)
    reader.edit(name="x", colour="#111111", notes="n")
    reader.edit(name="", colour="", notes="")
    assert (reader.info.name, reader.info.colour, reader.info.notes) == ("one", "", "")


def test_tags_are_added_and_removed(run_dir):
    reader = RunReader(run_dir)
    reader.edit(add_tags=["a", "b"], remove_tags="recorded")
    reader.edit(add_tags="c", remove_tags=["a", "not there"])
    assert reader.info.tags == ("b", "c")
    reader.edit(tags="only")
    assert reader.info.tags == ("only",)
    with pytest.raises(steno.UsageError, match="leave out"):
        reader.edit(tags=[], add_tags="x")


def test_who_edits_is_written_down(run_dir):
    RunReader(run_dir).edit(archived=True)
    assert lines(run_dir)[0]["by"] == edits._author()
    assert "@" in lines(run_dir)[0]["by"]


def test_archived_runs_are_listed_when_they_are_asked_for(run_dir):
    place = run_dir.parents[1]
    reader = RunReader(run_dir)
    reader.edit(archived=True)
    assert steno.runs(place) == []
    assert [one.name for one in steno.runs(place, archived=True, where="archived")] == ["one"]
    reader.edit(archived=False)
    assert [one.name for one in steno.runs(place)] == ["one"]


def test_a_renamed_run_is_found_under_each_of_its_names(run_dir):
    place = run_dir.parents[1]
    RunReader(run_dir).edit(name="better")
    for name in ("one", "tests/one", "better", "tests/better"):
        assert steno.open(name, dir=place).dir == run_dir
    RunReader(run_dir).edit(name="best")
    with pytest.raises(steno.RunNotFoundError, match="tests/best"):
        steno.open("better", dir=place)


def test_a_name_of_another_run_of_the_project_is_refused(run_dir):
    with Writer(run_dir.with_name("two")) as writer:
        writer.finish()
    with pytest.raises(steno.UsageError, match="is a run already"):
        RunReader(run_dir).edit(name="two", notes="not written either")
    assert not (run_dir / "edits.jsonl").exists()
    RunReader(run_dir).edit(name="one")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"name": "a/b"}, "path separator"),
        ({"name": ".hidden"}, "begins with a dot"),
        ({"name": "a\x1b[2Jb"}, "unprintable"),
        ({"name": "n" * 300}, "longer than"),
        ({"name": 7}, "must be a string"),
        ({"tags": [1]}, "list of texts"),
        ({"tags": 1}, "list of texts"),
        ({"add_tags": [" "]}, "1 to 200 characters"),
        ({"add_tags": ["t" * 201]}, "1 to 200 characters"),
        ({"notes": 7}, "notes are a text"),
        ({"notes": "x" * 5000}, "bytes too long"),
        ({"notes": "\u4e16" * 1400}, "bytes too long"),
        ({"archived": 1}, "true or false"),
        ({"colour": "red"}, "#rrggbb"),
        ({"colour": "#12345g"}, "#rrggbb"),
        ({"colour": "#123456\n"}, "#rrggbb"),
    ],
)
def test_a_value_that_cannot_be_is_one_clear_error_and_nothing_is_written(run_dir, wanted, said):
    with pytest.raises(steno.UsageError, match=said):
        RunReader(run_dir).edit(**{"archived": True, **wanted})
    assert not (run_dir / "edits.jsonl").exists()


def test_the_longest_note_is_one_line(run_dir):
    room = edits.LINE_BYTES - 1 - len(edits.lines({"notes": ""}, "me")[0])
    RunReader(run_dir).edit(notes="x" * room, by="me")
    assert (run_dir / "edits.jsonl").stat().st_size == edits.LINE_BYTES - 1
    assert info(run_dir).notes == "x" * room
    with pytest.raises(steno.UsageError, match="1 bytes too long"):
        RunReader(run_dir).edit(notes="x" * (room + 1), by="me")


def test_processes_that_edit_at_once_lose_nothing(run_dir):
    edit = [sys.executable, "-c", PROGRAM, str(run_dir)]
    writers = [subprocess.Popen([*edit, str(number), "40"]) for number in range(4)]
    assert [one.wait(120) for one in writers] == [0] * 4
    found = info(run_dir)
    assert set(found.tags) == {"recorded"} | {f"{writer}-{number}" for writer in range(4) for number in range(40)}
    said = [line["value"] for line in lines(run_dir) if line["field"] == "notes"]
    assert len(said) == 160
    assert found.notes == said[-1]


def test_a_torn_line_costs_itself_alone_wherever_it_is(run_dir):
    reader = RunReader(run_dir)
    reader.edit(notes="kept", by="me")
    path = run_dir / "edits.jsonl"
    whole = path.read_bytes()
    reader.edit(notes="torn", by="me")
    full = path.read_bytes()
    for end in range(len(whole), len(full) - 1):
        path.write_bytes(full[:end])
        assert reader.info.notes == "kept"
        reader.edit(add_tags="next")
        assert reader.info.notes == "kept"
        assert reader.info.tags == ("recorded", "next")


HOSTILE = [
    b"",
    b"null",
    b"[1]",
    b'"text"',
    b"[" * 4000,
    b'{"field": ["name"], "value": "x"}',
    b'{"field": "state", "value": "finished"}',
    b'{"field": "name", "value": ["x"]}',
    b'{"field": "name", "value": "../../etc"}',
    b'{"field": "name", "value": "a\\u001b[2Jb"}',
    b'{"field": "name", "value": "\\ud800"}',
    b'{"field": "tags", "value": {"add": 1}}',
    b'{"field": "tags", "value": {"more": ["x"]}}',
    b'{"field": "tags", "value": [{}]}',
    b'{"field": "archived", "value": "yes"}',
    b'{"field": "archived", "value": 1}',
    b'{"field": "colour", "value": "url(http://x)"}',
    b'{"field": "notes", "value": NaN}',
    b'{"field": "notes"}',
    b'{"value": "x"}',
    b'{"field": "notes", "value": "' + b"x" * 5000 + b'"}',
    b'{"field": "notes", "value": "\xff\xfe"}',
    b'{"field": "notes", "value": ' + b"9" * 4050 + b"}",
]


@pytest.mark.parametrize("line", HOSTILE)
def test_a_line_that_is_no_edit_costs_itself_alone(run_dir, line):
    good = b'{"time": 5, "by": {"x": 1}, "field": "notes", "value": "good"}\n'
    (run_dir / "edits.jsonl").write_bytes(good + line + b"\n" + good.replace(b"notes", b"name"))
    found = info(run_dir)
    assert (found.notes, found.name, found.tags, found.archived) == ("good", "good", ("recorded",), False)
    [listed] = steno.runs(run_dir.parents[1])
    assert (listed.notes, listed.name) == ("good", "good")


def test_text_that_is_no_unicode_is_escaped(run_dir):
    RunReader(run_dir).edit(notes="\udce9", add_tags="\udce9", by="\udce9")
    assert info(run_dir).notes == "\\udce9"
    (run_dir / "edits.jsonl").write_bytes(b'{"field": "notes", "value": "\\ud800x"}\n')
    assert info(run_dir).notes == "\\ud800x"


def test_a_file_of_any_size_takes_bounded_time_and_memory(run_dir):
    line = b'{"time":"t","by":"b","field":"tags","value":{"add":["t%07d"]}}\n'
    with open(run_dir / "edits.jsonl", "wb") as file:
        file.write(b'{"field": "name", "value": "early"}\n')
        file.write(b"".join(line % number for number in range(300_000)))
        file.truncate(1 << 36)  # a hole of 64 GiB
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"".join(line % number for number in range(270_000)))
        file.write(b'{"field": "notes", "value": "late"}\n')
    begin = time.process_time()
    found = info(run_dir)
    assert found.notes == "late"
    assert len(found.tags) < 300_000
    assert time.process_time() - begin < 10


def test_what_is_no_file_is_said_and_not_followed(run_dir, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text('{"field": "name", "value": "stolen"}\n')
    reader = RunReader(run_dir)
    path = run_dir / "edits.jsonl"
    for make in (lambda: path.symlink_to(elsewhere), lambda: os.mkfifo(path), path.mkdir):
        make()
        assert reader.info.name == "one"
        assert "edits.jsonl" in reader.info.unreadable
        [listed] = steno.runs(run_dir.parents[1])
        assert listed.name == "one"
        assert "edits.jsonl" in listed.problem
        with pytest.raises(steno.StenoError, match=r"edits\.jsonl"):
            reader.edit(name="x")
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert elsewhere.read_text() == '{"field": "name", "value": "stolen"}\n'


def test_a_run_that_is_gone_is_one_error(run_dir):
    reader = RunReader(run_dir)
    run_dir.rename(run_dir.with_name("moved"))
    with pytest.raises(steno.StenoError, match="the edit was not written"):
        reader.edit(notes="x")


def test_a_full_disk_is_one_error_and_the_next_edit_begins_a_line(run_dir):
    program = (
        "import resource, signal, steno, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: steno.open(sys.argv[1]).edit(notes='x' * 100)\n"
        "except steno.StenoError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, run_dir], capture_output=True, text=True, check=True)
    assert "the edit was not written" in done.stdout
    assert (run_dir / "edits.jsonl").stat().st_size == 100
    RunReader(run_dir).edit(notes="after")
    assert info(run_dir).notes == "after"


def test_a_live_run_is_edited_and_its_collector_leaves_the_file_alone(tmp_path):
    with steno.init(project="p", name="live", dir=tmp_path, tags=["t"]) as run:
        run.log({"x": 1.0})
        reader = steno.open(run.dir)
        reader.edit(name="edited", add_tags="during")
        before = (run.dir / "edits.jsonl").read_bytes()
        run.log({"x": 2.0})
        assert run.flush(30)
        assert reader.info.name == "edited"
    assert (run.dir / "edits.jsonl").read_bytes() == before
    assert steno.open(run.dir).info.tags == ("t", "during")
    with steno.init(project="p", name="live", dir=tmp_path, resume=True) as run:
        run.log({"x": 3.0})
    assert steno.open("p/edited", dir=tmp_path).info.tags == ("t", "during")


def test_a_run_in_a_store_has_an_object_for_each_edit(tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    with steno.init(project="p", name="one", dir=tmp_path / "runs", store=f"file://{tmp_path}/store") as run:
        run.log({"x": 1.0})
        assert run.finish(60)
    url = f"file://{tmp_path}/store/p/one"
    first, second = steno.open(url), steno.open(url)
    first.edit(name="there", add_tags="a")
    second.edit(add_tags="b", notes="n")
    assert (first.url, steno.open(run.dir).url) == (url, None)
    objects = sorted((tmp_path / "store/p/one/edits").iterdir())
    assert len(objects) == 4
    assert second.info.tags == ("a", "b")
    found = steno.open(url).info
    assert (found.name, found.tags, found.notes) == ("there", ("a", "b"), "n")
    assert not (run.dir / "edits.jsonl").exists()
    objects[0].write_bytes(b"{")
    objects[1].write_bytes(b"x" * 10_000_000)
    (objects[0].parent / "99999999999999999999-x.json").write_bytes(b'{"field": "notes", "value": "n2"}')
    assert (steno.open(url).info.name, steno.open(url).info.tags, steno.open(url).info.notes) == ("one", ("b",), "n2")
    deadline = time.monotonic() + 60
    while first.info.notes != "n2":  # an open reader looks again
        assert time.monotonic() < deadline
        time.sleep(0.1)
