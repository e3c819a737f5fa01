"""Who may import whom: every import of the source tree, function-level and TYPE_CHECKING ones too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "steno"
BASE = {
    "bounds",
    "confirmed",
    "distribution",
    "edits",
    "errors",
    "files",
    "habits",
    "histograms",
    "host",
    "inside",
    "moments",
    "names",
    "next_steps",
    "paths",
    "record",
    "runfile",
    "secrecy",
    "settings",
    "machinery",
    "statusfile",
    "utf8",
    "visible",
}
# A public face is `steno` itself, which loads the rest by name.
ALLOWED: dict[str, set[str]] = {
    "bounds": {"errors", "inside"},
    "confirmed": {"errors", "files", "inside"},
    "distribution": set(),
    "edits": {"errors", "files", "host", "inside", "names", "utf8"},
    "errors": {"visible"},
    "moments": set(),
    "names": {"errors"},
    "visible": set(),
    "files": {"errors", "inside"},
    "inside": {"errors", "record"},
    "habits": set(),
    "host": set(),
    "next_steps": set(),
    "paths": {"errors", "secrecy"},
    "record": set(),
    "runfile": {"errors", "host", "inside", "record"},
    "secrecy": {"errors"},
    "utf8": set(),
    "settings": {"errors", "paths"},
    "statusfile": {"errors", "inside"},
    "machinery": {"errors", "files", "inside"},
    "histograms": set(),
    "journal": BASE,
    "devices": BASE,
    "media": BASE,
    "artifacts": BASE,
    "events": BASE,
    "clickhouse": BASE,
    "destinations": BASE | {"clickhouse", "events"},
    "delivery": BASE | {"destinations"},
    "objects": BASE,
    "capture": BASE | {"artifacts", "journal", "devices", "media", "events", "delivery", "destinations", "objects"},
    "ledger": BASE | {"artifacts", "journal", "media"},
    "collector": BASE | {"artifacts", "journal", "ledger", "delivery", "destinations", "objects"},
    "store": BASE | {"artifacts", "clickhouse", "ledger", "objects"},
    "publish": BASE | {"clickhouse", "ledger", "objects", "store"},
    "run": BASE | {"capture"},
    "face": BASE | {"capture", "run"},
    "catchup": BASE | {"capture", "destinations", "journal", "objects", "store"},
    "testing": BASE | {"destinations", "steno"},
    # Writers' logdirs and loggers' runs stand beside the current one. The public face names the writers, so they
    # import what they use and not the face.
    "logdir": BASE | {"capture", "run"},
    "writers": BASE | {"face", "logdir", "media", "run"},
    "compat": BASE | {"events", "optimization", "writers"},
    "types": BASE | {"capture", "catchup", "ledger", "store", "viewer"},
    # An integration's own run stands beside the user's.
    "integrations": BASE | {"steno", "face"},
    "__main__": {"cli"},
    # It looks into journals itself: it has to tell what is there when nothing can post them.
    "examine": BASE | {"steno", "store", "destinations", "journal"},
    "viewer": BASE | {"steno", "store", "examine"},
    "cli": BASE | {"clickhouse", "steno", "store", "destinations", "examine", "publish", "viewer"},
    # One framework's own way to log: `steno.torch.log` in compiled code and the like.
    "torch": BASE | {"face"},
    "jax": BASE | {"capture"},
    "optimization": BASE | {"capture"},
    "follow": BASE | {"collector"},
    "upload": BASE | {"collector"},
}
EXCEPTIONS = {
    # Of all runs, those that owe something are told before a collector is started for each.
    "cli/sync.py": {"catchup"},
    # What is imported has times of its own, for which `run.log` has no argument.
    "cli/event_runs.py": {"capture"},
    # Encoded values are read back by those who encoded them.
    "destinations/tensorboard/media.py": {"media"},
    "destinations/services/media.py": {"media"},
    "destinations/services/artifacts.py": {"artifacts"},
    "destinations/tensorboard/subruns.py": {"media"},
    "destinations/tensorboard/projector.py": {"media"},
    "store/media.py": {"media"},
    # A reader starts the viewer of its run, by command line.
    "store/reader.py": {"viewer"},
}
FACE = {
    "capture",
    "catchup",
    "compat",
    "destinations",
    "errors",
    "face",
    "media",
    "run",
    "settings",
    "store",
    "viewer",
    "writers",
}


def files() -> list[Path]:
    return sorted(path for path in SRC.rglob("*.py") if path.name != "__init__.py" or path.parent != SRC)


def layer(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(path: Path, text: str | None = None) -> set[str]:
    """The layers of steno that a file imports; `steno` for the public face itself."""
    text = path.read_text(encoding="utf-8") if text is None else text
    package = ["steno", *path.relative_to(SRC).parts[:-1]]
    found = set()

    def add(dotted: str) -> None:
        parts = dotted.split(".")
        if parts[0] == "steno":
            found.add(parts[1] if len(parts) > 1 else "steno")

    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                add(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            if base == "steno":
                for alias in node.names:
                    module = (SRC / f"{alias.name}.py").exists() or (SRC / alias.name).is_dir()
                    add(f"steno.{alias.name}" if module else "steno")
            else:
                add(base)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # Lazily, by name: import_module("steno.x") or "steno.x:Name".
            dotted = node.value.partition(":")[0]
            if dotted.startswith("steno.") and all(part.isidentifier() for part in dotted.split(".")):
                head = dotted.split(".")[1]
                if ((SRC / f"{head}.py").exists() or (SRC / head).is_dir()) and ":" in node.value:
                    found.add(head)
    return found


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SRC)))
def test_a_file_imports_only_the_layers_below_it(path):
    own = layer(path)
    assert own in ALLOWED, f"{own} is a new layer: give it a row in the table"
    more = EXCEPTIONS.get(path.relative_to(SRC).as_posix(), set())
    assert imports(path) - {own} <= ALLOWED[own] | more


def test_the_face_loads_what_it_names():
    tree = ast.parse((SRC / "__init__.py").read_text(encoding="utf-8"))
    named = {
        node.module.split(".")[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("steno.")
    }
    assert named <= FACE


def test_capture_and_collector_do_not_know_each_other():
    for path in files():
        if layer(path) == "capture":
            assert "collector" not in imports(path)
        if layer(path) == "collector":
            assert "capture" not in imports(path)


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("def f():\n    import steno.ledger.post", {"ledger"}),
        ("from steno import store", {"store"}),
        ("from ..store import reader", {"store"}),
        ("if TYPE_CHECKING:\n    from steno.collector.service import run", {"collector"}),
        ("from steno import init", {"steno"}),
        ("import_module('steno.ledger.post:Poster')", {"ledger"}),
        ("import os", set()),
    ],
)
def test_the_walk_sees_every_way_to_import(text, layers):
    assert imports(SRC / "journal" / "x.py", text) == layers
