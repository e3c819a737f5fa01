"""Nothing but `files.py` asks the system to sync, rename, link or remove a file, so that tests can stand in between."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "steno"
DOOR = "files.py"
OF_OS = {
    "fsync", "fdatasync", "sync", "rename", "renames", "replace", "link", "unlink", "remove", "rmdir", "removedirs",
}  # fmt: skip
OF_SHUTIL = {"rmtree", "move"}
OF_PATHS = {"unlink", "rename", "rmdir", "hardlink_to", "touch", "write_bytes", "write_text"}
"""Methods of `Path`; its `replace` cannot be told from a text's."""
OURS = {"files"}
EXCEPTIONS = {
    # What `objects` and `store` copy out of an object store: written into the hidden file of `files.aside`.
    ("objects/store.py", "hidden.write_bytes"),
    ("store/remote.py", "hidden.write_bytes"),
    # Passing files in a directory of tempfile's, for another product's upload or the next value's decoding.
    ("destinations/services/_mlflow.py", "file.write_text"),
    ("cli/event_runs.py", "path.write_bytes"),
}


def calls(text: str) -> set[str]:
    """The calls that belong in the door, as "receiver.name"; imports of such functions as "module.name"."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            found |= {f"os.{name}" for name in names & OF_OS if node.module == "os"}
            found |= {f"shutil.{name}" for name in names & OF_SHUTIL if node.module == "shutil"}
        elif isinstance(node, ast.Attribute):
            receiver = ast.unparse(node.value)
            if (receiver == "os" and node.attr in OF_OS) or (receiver == "shutil" and node.attr in OF_SHUTIL):
                found.add(f"{receiver}.{node.attr}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in OF_PATHS:
            receiver = ast.unparse(node.func.value)
            if receiver not in OURS:
                found.add(f"{receiver}.{node.func.attr}")
    return found


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: str(path.relative_to(SRC)))
def test_a_file_goes_through_the_door(path):
    name = path.relative_to(SRC).as_posix()
    if name != DOOR:
        assert calls(path.read_text(encoding="utf-8")) - {call for file, call in EXCEPTIONS if file == name} == set()


def test_each_exception_is_needed():
    for name, call in EXCEPTIONS:
        assert call in calls((SRC / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import os\nos.fsync(3)", {"os.fsync"}),
        ("from os import replace, sep", {"os.replace"}),
        ("callback(shutil.rmtree, place)", {"shutil.rmtree"}),
        ("path.parent.unlink(missing_ok=True)", {"path.parent.unlink"}),
        ("text.replace('a', 'b'); files.unlink(path); os.path.join(a)", set()),
    ],
)
def test_the_walk_sees_each_way_around_it(text, found):
    assert calls(text) == found
