"""The command line where the terminal does not show every character."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import steno
from steno.cli.encoding import replaced


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    run = steno.init(project="p", name="größe", dir=tmp_path_factory.mktemp("runs"), notes="→ 测试", tags=["ü"])
    for step in range(50):
        run.log({"⭐/genäu": step / 7, "txt": "😀", "bild": steno.Image(np.zeros((2, 2), np.uint8))}, step)
    assert run.finish(60)
    return run.dir


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
@pytest.mark.parametrize(
    "arguments",
    [["show"], ["show", "--json"], ["tail", "--no-follow"], ["tail", "--no-follow", "--json"], ["doctor"], ["runs"], ["runs", "--json"]],
)  # fmt: skip
def test_no_command_fails_for_a_character(run_dir, encoding, arguments):
    command, *rest = arguments
    target = ["--dir", str(run_dir.parents[1])] if command == "runs" else [str(run_dir)]
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "TERM": "dumb", "COLUMNS": "100"}
    done = subprocess.run([sys.executable, "-m", "steno", command, *target, *rest], capture_output=True, env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding)
    if "--json" in rest:
        found = [json.loads(line) for line in text.splitlines()]
        assert "größe" in json.dumps(found, ensure_ascii=False) or command == "tail"
        assert command != "tail" or "😀" in [one.get("values", {}).get("txt") for one in found]
    elif encoding == "ascii":
        assert text.isascii()


def test_a_wrong_use_is_told_in_ascii_too(tmp_path):
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "steno", "show", "größe", "--dir", str(tmp_path)], capture_output=True, env=env
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"steno: ")
    assert b"Traceback" not in done.stderr


def test_what_is_drawn_looks_alike():
    assert replaced("┌─┐│⣿⠀→…ä") == "+-+|* ->...\\xe4"


def test_show_says_what_texts_and_media_are_and_where(run_dir):
    done = subprocess.run(
        [sys.executable, "-m", "steno", "show", str(run_dir), "-k", "txt", "-k", "bild"], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert "txt: 50 texts, the last at step 49: '😀'" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("bild: 50 images, the last at step 49: ")]
    assert os.path.exists(line.rpartition(": ")[2])
    assert "NaN" not in done.stdout
