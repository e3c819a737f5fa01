"""What steno takes from the inside of other packages stands in few files, and is known for the versions installed."""

from __future__ import annotations

import ast
from importlib.metadata import version
from pathlib import Path

import pytest

from steno.destinations.services import internals
from steno.errors import Stop

SRC = Path(__file__).resolve().parents[2] / "src" / "steno"
EXAMINED = {
    **internals.EXAMINED,
    # Pinned too: capture of tensors that are traced or on a device, and graphs.
    "torch": ("2.13.0",),
}
INSIDE = ("PIL.GifImagePlugin", "wandb.proto", "swanlab.proto", "trackio.utils", "trackio.sqlite_storage")
"""What its makers do not document, though its name does not begin with an underscore."""
SERVICES = {"wandb", "swanlab", "trackio", "mlflow", "PIL", "av"}
HOME = SRC / "destinations/services/internals.py"


@pytest.mark.parametrize("package", EXAMINED)
def test_the_installed_version_was_examined(package):
    pytest.importorskip(package)
    installed = version(package).partition("+")[0]
    assert installed in EXAMINED[package], (
        f"{package} {installed} has not been examined: run the tests that use its inside (destinations/services/"
        f"internals.py for a service), read what changed there, then add it to the table"
    )


def reached(path: Path) -> set[str]:
    """Inner names of services' packages, and private attributes of objects that are not one's own."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] in SERVICES and (name.startswith(INSIDE) or any(part.startswith("_") for part in parts)):
                found.add(name)
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
            and path.is_relative_to(SRC / "destinations/services")
        ):
            found.add(node.attr)
    return found


def test_no_other_file_reaches_into_services():
    assert {path: reached(path) for path in SRC.rglob("*.py") if path != HOME and reached(path)} == {}
    assert {"wandb.proto.wandb_internal_pb2", "trackio.sqlite_storage.SQLiteStorage", "_ctx"} <= reached(HOME)


def test_another_version_that_lacks_it_is_said_with_the_remedy(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda package: "99.0")
    with pytest.raises(
        Stop, match=r"swanlab 99.0 lacks .*'_ctx'.*known to work: 0.10.3.*pip install 'swanlab==0.10.3'"
    ):
        internals.swanlab_rows(object())
    with pytest.raises(Stop, match="trackio 99.0"):
        internals.trackio_kept(object(), "p", "r", 0)
    monkeypatch.setattr("importlib.metadata.version", lambda package: internals.EXAMINED[package][0])
    with pytest.raises(AttributeError):
        internals.swanlab_rows(object())
