"""docs/destinations.md: its examples run, and it leaves nothing out."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import steno.testing
from steno.destinations import registry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "destinations.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def run_example(place, code):
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.skipif(
    not (ROOT / "src/steno/collector/__main__.py").exists(), reason="there is no collector to deliver yet"
)
def test_example_of_recording_runs(tmp_path):
    run_example(tmp_path, EXAMPLES[0])
    (place,) = (path for path in (tmp_path / "runs" / "manual").iterdir() if path.is_dir())
    names = {path.name for path in place.iterdir()}
    assert {"tensorboard", "metrics.csv", "metrics.jsonl"} <= names


def test_example_destination_passes_its_exam(tmp_path):
    code = next(code for code in EXAMPLES if "class Sqlite" in code)
    assert "check_destination(Sqlite, read=read)" in code
    run_example(tmp_path, code)


def test_example_destination_is_twenty_lines():
    code = next(code for code in EXAMPLES if "class Sqlite" in code)
    example = code[code.index("class Sqlite") : code.index("def read")]
    assert len([line for line in example.splitlines() if line.strip()]) <= 20


def test_every_destination_and_option_is_described():
    for name in registry.BUILT_IN:
        (row,) = re.findall(rf"^\| `{name}` \|.*$", PAGE, re.MULTILINE)
        for option in inspect.signature(type(registry.create(name))).parameters:
            assert f"`{option}`" in row


def test_every_fake_is_described():
    for name in steno.testing.__all__:
        assert name in PAGE or name == "ExamError"
