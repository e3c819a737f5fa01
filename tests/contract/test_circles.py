"""No file of the source tree reaches itself by its imports, however late they are and whatever they are for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "steno"


def modules(root: Path) -> dict[str, Path]:
    """Every file by its module's name."""
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: set[str]) -> set[str]:
    """The files that one imports: at the top, in functions, for type checkers, and by a name in a string."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            whole = {f"{base}.{alias.name}" for alias in node.names} & known
            # From a package one of its files, or something that its own __init__ has.
            found |= whole if len(whole) == len(node.names) else whole | {base}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {ast.literal_eval(one) for one in node.args[:1] if isinstance(one, ast.Constant)}
        elif isinstance(node, ast.Constant) and re.match(r"steno\.[\w.]+:", str(node.value)):
            # "steno.x:Name" of a registry. A name alone is a command line's: another process.
            found.add(node.value.partition(":")[0])
    return (found & known) - {name}


def circles(root: Path) -> list[list[str]]:
    """Each set of files that all reach each other, by Tarjan's algorithm."""
    paths = modules(root)
    graph = {name: sorted(imports(name, path, set(paths))) for name, path in paths.items()}
    found: list[list[str]] = []
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in graph[name]:
            if other not in order:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == order[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                found.append(sorted(members))

    for name in graph:
        if name not in order:
            visit(name)
    return found


def test_no_file_reaches_itself():
    assert circles(SRC) == []


@pytest.mark.parametrize(
    "back",
    [
        "from steno.a import x",
        "from steno import a",
        "from .. import a",
        "import steno.a",
        "def f():\n    from steno.a import x",
        "if TYPE_CHECKING:\n    from steno.a import x",
        "import_module('steno.a')",
        "HOMES = {'x': 'steno.a:x'}",
    ],
)
def test_the_walk_sees_every_way_back(tmp_path, back):
    root = tmp_path / "steno"
    (root / "deep").mkdir(parents=True)
    for path, text in {
        "__init__.py": "", "deep/__init__.py": "", "a.py": "from steno.deep.b import y", "deep/b.py": "import steno.c",
        "c.py": "import os",
    }.items():  # fmt: skip
        (root / path).write_text(text)
    assert circles(root) == []
    (root / "deep" / "b.py").write_text(back)
    assert circles(root) == [["steno.a", "steno.deep.b"]]
