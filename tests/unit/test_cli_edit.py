"""`steno tag`, `note`, `rename` and `archive` as real processes, and runs that are named by a part of their name."""

from __future__ import annotations

import json

import pytest
from cli_process import answer, steno
from store_runs import Writer


@pytest.fixture
def place(tmp_path):
    """Three runs of the project `tests`: warm-pine, warm-oak, cold-oak."""
    for name in ("20261130-100615-warm-pine", "20261130-100616-warm-oak", "20261130-100617-cold-oak"):
        with Writer(tmp_path / "tests" / name, tags=["recorded"]) as writer:
            writer.log((0, {"loss": 0.5}))
            writer.finish()
    return tmp_path


def test_tags_are_added_removed_and_shown(place):
    assert answer("tag", "warm-pine", "--dir", place)["tags"] == ["recorded"]
    done = steno("tag", "warm-pine", "a", "b", "--remove", "recorded", "--dir", place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "tests/20261130-100615-warm-pine: tags: a, b\n"
    assert answer("tag", "warm-pine", "--dir", place)["tags"] == ["a", "b"]


def test_notes_are_replaced_shown_and_read_from_standard_input(place):
    steno("note", "warm-pine", "first", "--dir", place)
    assert answer("note", "warm-pine", "--dir", place)["notes"] == "first"
    steno("note", "warm-pine", "-", "--dir", place, stdin="two\nlines\n")
    assert answer("note", "warm-pine", "--dir", place)["notes"] == "two\nlines"
    assert "notes: two\nlines\n" in steno("note", "warm-pine", "--dir", place).stdout
    steno("note", "warm-pine", "", "--dir", place)
    assert answer("note", "warm-pine", "--dir", place)["notes"] == ""


def test_a_renamed_run_is_found_by_both_names_and_shown_by_the_new_one(place):
    done = steno("rename", "warm-pine", "baseline", "--dir", place)
    assert done.returncode == 0
    assert "tests/baseline" in done.stdout
    for name in ("baseline", "tests/baseline", "warm-pine", "base"):
        assert answer("tag", name, "--dir", place)["name"] == "baseline"
    assert [one["name"] for one in answer("runs", "--dir", place, "--sort", "name")][-1] == "baseline"
    done = steno("rename", "baseline", "20261130-100616-warm-oak", "--dir", place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is a run already" in done.stderr


def test_archived_runs_are_left_out_of_the_list(place):
    assert "is archived" in steno("archive", "warm-pine", "warm-oak", "--dir", place).stdout
    assert [one["name"] for one in answer("runs", "--dir", place)] == ["20261130-100617-cold-oak"]
    assert len(answer("runs", "--dir", place, "--all")) == 3
    assert "is listed again" in steno("archive", "warm-oak", "--undo", "--dir", place).stdout
    assert len(answer("runs", "--dir", place)) == 2


def test_a_part_of_a_name_is_enough_where_one_run_has_it(place):
    for part in ("warm-pine", "20261130-100615", "pine", "5-warm"):
        assert answer("tag", part, "--dir", place)["name"] == "20261130-100615-warm-pine"
    for part in ("oak", "20261130"):
        done = steno("tag", part, "--dir", place)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert "tests/20261130-100617-cold-oak" in done.stderr
    done = steno("tag", "birch", "--dir", place)
    assert done.returncode == 2
    assert "no run 'birch'" in done.stderr


def test_the_beginning_of_a_name_goes_before_another_part_of_it(place):
    for name in ("pine-1", "1-pine-1"):
        with Writer(place / "tests" / name) as writer:
            writer.finish()
    assert answer("tag", "pine", "--dir", place)["name"] == "pine-1"


def test_an_ambiguous_part_names_ten_runs_and_counts_the_rest(place):
    for number in range(15):
        with Writer(place / "tests" / f"sweep-{number:02d}") as writer:
            writer.finish()
    said = steno("note", "sweep", "--dir", place).stderr
    assert "of 15 runs" in said
    assert said.rstrip().endswith("tests/sweep-09 and 5 more")


@pytest.mark.parametrize(
    "arguments",
    [
        ("tag", "warm-pine", " "),
        ("note", "warm-pine", "x" * 5000),
        ("rename", "warm-pine", "a/b"),
        ("rename", "warm-pine", "\x1b[2J"),
        ("archive",),
        ("tag",),
        ("rename", "warm-pine"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(place, arguments):
    done = steno(*arguments, "--dir", place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    if done.stderr.startswith("steno: "):
        assert done.stderr.count("\n") == 1


def test_escapes_are_shown_and_not_obeyed(place):
    assert steno("tag", "warm-pine", "\x1b]0;owned\x07", "--dir", place).returncode == 0
    assert steno("note", "warm-pine", "a\x1b[2Jb\u202e", "--dir", place).returncode == 0
    for command in ("tag", "note", "show"):
        done = steno(command, "warm-pine", "--dir", place)
        assert done.returncode == 0
        assert "\\x1b" in done.stdout
        assert "\x1b" not in done.stdout
        assert "\u202e" not in done.stdout
    text = steno("note", "warm-pine", "--dir", place, "--json").stdout
    assert "\x1b" not in text
    assert json.loads(text)["notes"] == "a\x1b[2Jb\u202e"


def test_notes_that_are_no_utf_8_or_endless_are_bounded(place):
    import subprocess
    import sys

    edit = [sys.executable, "-m", "steno", "note", "warm-pine", "-", "--dir", str(place)]
    assert subprocess.run(edit, input=b"caf\xe9\n", check=True, capture_output=True).stdout.endswith(b"caf\\udce9\n")
    with open("/dev/zero", "rb") as endless:
        done = subprocess.run(edit, stdin=endless, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "too long" in done.stderr


def test_a_configuration_of_any_depth_is_no_traceback(place):
    nested = "[" * 900 + "]" * 900
    for number, deep in enumerate(('{"a":' * 900 + "1" + "}" * 900, nested)):
        run_dir = place / "tests" / f"deep-{number}"
        with Writer(run_dir) as writer:
            writer.log((0, {"x": 1.0}))
            writer.finish()
        about = json.loads((run_dir / "run.json").read_text())
        text = json.dumps({**about, "config": {"x": "HERE"}}).replace('"HERE"', deep)
        (run_dir / "run.json").write_text(text)
    for command in (["show", "deep-0"], ["show", "deep-1"], ["compare", "deep-0", "deep-1"], ["runs", "--wide"]):
        for mode in ([], ["--json"]):
            done = steno(*command, *mode, "--dir", place)
            assert "Traceback" not in done.stderr, (command, mode)
            assert done.returncode in {0, 1}
            assert done.stderr.count("\n") <= 1
