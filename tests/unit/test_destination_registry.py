"""Destinations by name: built in, installed, and passed by the user."""

from __future__ import annotations

import subprocess
import sys

import pytest

import under_test
from steno.destinations import registry
from steno.destinations.base import Destination
from steno.errors import DestinationError
from steno.testing import FailingDestination, HangingDestination, MemoryDestination, SlowDestination


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A real installed distribution, with one good and one broken destination."""
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[steno.destinations]\nacme = acme_destination:Acme\nbroken = acme_broken:Broken\nwrong = acme_destination:number\n"
    )
    (tmp_path / "acme_destination.py").write_text(
        "number = int\n\n\nclass Acme:\n    def __init__(self, url):\n        self.url = url\n"
        "    def open(self, run): ...\n    def write(self, batch): ...\n    def flush(self): ...\n    def close(self): ...\n"
    )
    (tmp_path / "acme_broken.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("acme_destination", "acme_broken"):
        sys.modules.pop(name, None)


def test_built_in_names_and_places():
    assert registry.names()[:5] == ["tensorboard", "csv", "jsonl", "text", "console"]
    places = [registry.placement(name) for name in registry.names()[:5]]
    assert places == ["file", "file", "file", "file", "console"]
    assert registry.names()[5:10] == ["wandb", "mlflow", "swanlab", "trackio", "clickhouse"]
    assert {registry.placement(name) for name in registry.names()[5:10]} == {"process"}
    for name in registry.BUILT_IN:
        assert isinstance(registry.create(name), Destination)


def test_installed_destination_is_found_and_only_it_is_loaded(installed):
    assert {"acme", "broken"} <= set(registry.names())
    assert registry.placement("acme") == "process"
    assert registry.normalise(("acme", {"url": "x"})) == registry.Spec("acme", "process", {"url": "x"})
    assert "acme_destination" not in sys.modules, "the training process loads no third-party code"
    assert registry.create("acme", {"url": "u"}).url == "u"
    assert "acme_broken" not in sys.modules


def test_installed_destination_that_does_not_load_is_one_clear_error(installed):
    with pytest.raises(DestinationError, match=r"'broken' of acme does not load: ModuleNotFoundError.*a_module_that"):
        registry.create("broken")
    with pytest.raises(
        DestinationError, match=r"what destination 'wrong' made is no destination: it has no open, write"
    ):
        registry.create("wrong")


def test_unknown_name_says_what_there_is():
    with pytest.raises(
        DestinationError, match=r"no destination is called 'tensorbord'. Did you mean 'tensorboard'\?"
    ) as caught:
        registry.normalise("tensorbord")
    assert "tensorboard, csv, jsonl, text, console" in str(caught.value)
    with pytest.raises(DestinationError, match=r"called 'zzz'. There are"):
        registry.placement("zzz")


def test_wrong_option_says_which_there_are():
    with pytest.raises(DestinationError, match=r"does not take the options \['fmt'\].*It takes format, max_columns"):
        registry.normalise(("csv", {"fmt": "long"}))
    with pytest.raises(DestinationError, match=r'format is "wide" or "long", not .wild.'):
        registry.create("csv", {"format": "wild"})
    with pytest.raises(DestinationError, match=r"It takes suffix\."):
        registry.create("tensorboard", {"a": 1})


def test_options_must_be_plain(installed):
    with pytest.raises(DestinationError, match="plain values that JSON can hold"):
        registry.normalise(("acme", {"url": object()}))


def test_normalise():
    assert registry.normalise("csv") == registry.Spec("csv", "file", {})
    assert registry.normalise(("csv", {"format": "long"})).options == {"format": "long"}
    assert registry.normalise(["jsonl", {}]).name == "jsonl"
    memory = MemoryDestination()
    spec = registry.normalise(memory)
    assert (spec.name, spec.placement, spec.target) == ("memory", "object", memory)
    assert registry.normalise(spec) is spec


@pytest.mark.parametrize(
    "wrong", [3, None, object(), ("csv",), ("csv", "long"), (1, {}), {"csv": {}}, MemoryDestination, b"csv"]
)
def test_what_is_no_destination_is_refused(wrong):
    with pytest.raises(DestinationError, match=r"pair|methods|pass an object"):
        registry.normalise(wrong)


def test_fakes_are_destinations():
    for fake in (MemoryDestination(), FailingDestination(), SlowDestination(), HangingDestination()):
        assert isinstance(fake, Destination)
        assert registry.normalise(fake).placement == "object"


def test_naming_destinations_costs_no_heavy_import():
    script = (
        "import sys; from steno.destinations import registry\n"
        "for name in registry.BUILT_IN: registry.normalise(name)\n"
        "heavy = {'numpy', 'rich', 'crc32c', 'pyarrow', 'tensorboard'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": under_test.import_path()}, timeout=60)
