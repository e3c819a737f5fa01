"""Children of tests run the code under test: no test hands them the checkout's `src`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import steno
import under_test

TESTS = Path(__file__).resolve().parents[1]
OF_THEIR_OWN = {"mutations.py", "test_native_build.py"}
"""They make another copy of the code, and run that."""
SETS = re.compile(r"""(?:\[["']PYTHONPATH["']\] =|["']PYTHONPATH["'][:,]|[ (]PYTHONPATH=) ?(.*)""")


def test_no_test_sets_the_import_path_by_hand():
    found = []
    for path in sorted(TESTS.rglob("*.py")):
        if path.name in OF_THEIR_OWN or path == Path(__file__):
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            value = SETS.search(line)
            if value and not value[1].startswith(("under_test.import_path(", "path")):
                found.append(f"{path.relative_to(TESTS)}: {line.strip()}")
    assert found == []


@pytest.mark.parametrize("places", [(), ("/elsewhere",)])
def test_a_child_imports_the_code_under_test(tmp_path, places):
    env = under_test.environment(PYTHONPATH=under_test.import_path(*places))
    program = "import sys, steno; print(steno.__file__, '/elsewhere' in sys.path)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.split() == [steno.__file__, str(bool(places))]
