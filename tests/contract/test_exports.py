"""The public lists are exact and sorted, their names say where they live, and no public annotation names what is private."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pydoc
import re
import sys
import types
from pathlib import Path

import pytest

import steno
from steno.capture.start.collector_process import environment

SRC = Path(steno.__file__).parent
COMPAT = [f"steno.compat.{path.stem}" for path in sorted((SRC / "compat").glob("[a-z]*.py"))]
PUBLIC = ["steno", "steno.destinations", "steno.types", "steno.testing", *COMPAT]
NAMES = [(module, name) for module in PUBLIC for name in importlib.import_module(module).__all__]
MADE_BY_US = {"Artifact", "ArtifactHandle", "EntryPage", "MediaItem", "JournalledMapping", "Run", "RunReader"}
"""What nobody else makes: the parameters of their `__init__` are ours."""


def public(module, name):
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", PUBLIC)
def test_a_list_is_sorted_and_has_no_duplicates(module):
    listed = importlib.import_module(module).__all__
    assert list(listed) == sorted(set(listed))


def test_the_list_is_what_can_be_loaded():
    assert set(steno.__all__) == {*steno._HOME, "__version__"}


@pytest.mark.parametrize("name", steno.__all__)
def test_each_name_loads_and_says_steno(name):
    value = getattr(steno, name)
    assert getattr(steno, name) is value
    if isinstance(value, type) or callable(value):
        assert value.__module__ == "steno"


@pytest.mark.parametrize(("module", "name"), [one for one in NAMES if one[0] != "steno"])
def test_a_word_of_one_trade_says_where_it_lives(module, name):
    value = public(module, name)
    if (isinstance(value, type) or callable(value)) and module != "steno.testing":
        assert value.__module__ == ("steno" if name in steno.__all__ else module)


@pytest.mark.parametrize(
    "name",
    ["Batch", "Callback", "Destination", "Entry", "Event", "GlobalSummaryWriter", "LogLevel", "Logger", "LoggerDestination", "Record", "Ref", "Retry", "RunInfo", "RunLogger", "Skip", "State", "Stop", "Timestamp", "is_jax_array", "log_convergence_async", "log_iteration_async"],
)  # fmt: skip
def test_words_of_one_trade_come_from_steno_too_but_are_not_in_its_list(name):
    module, own = steno._ALSO[name]
    assert getattr(steno, name) is public(module, own)
    assert name not in steno.__all__
    assert name in dir(steno)


def test_a_mesh_is_an_object_of_three_dimensions():
    assert steno.Mesh is steno.Object3D
    assert steno.Mesh.__module__ == "steno"


def sources():
    """For each class and function of ours its annotations' names, and where these come from."""
    found = {}
    for path in SRC.rglob("*.py"):
        parts = ["steno", *path.relative_to(SRC).with_suffix("").parts]
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        names = {}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("steno."):
                names.update({alias.asname or alias.name: (node.module, alias.name) for alias in node.names})
            elif isinstance(node, ast.ClassDef):
                names[node.name] = (module, node.name)
        found[str(path)] = names
    return found


SOURCES = sources()


def annotated(value, name):
    """The annotations that users of a public name see: (where, the text, the file that it stands in)."""
    if isinstance(value, types.FunctionType):
        for text in value.__annotations__.values():
            yield name, text, value.__code__.co_filename
    if not isinstance(value, type):
        return
    for base in value.__mro__:
        functions = {
            member: function
            for member, one in vars(base).items()
            if isinstance(function := getattr(one, "fget", None) or getattr(one, "__func__", one), types.FunctionType)
        }
        files = [function.__globals__.get("__file__", "") for function in functions.values()]
        own = next((file for file in files if file.startswith(str(SRC))), None)
        if own is None:
            continue
        for member, function in functions.items():
            if member[0] != "_" or (member == "__init__" and name not in MADE_BY_US):
                for parameter, text in function.__annotations__.items():
                    if parameter[0] != "_":
                        yield f"{name}.{member}", text, own
        for field, text in vars(base).get("__annotations__", {}).items():
            if field[0] != "_":
                yield f"{name}.{field}", text, own


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_each_type_in_a_public_annotation_is_public(module, name):
    public_types = {name for _, name in NAMES}
    for where, text, path in annotated(public(module, name), name):
        for word in re.findall(r"[A-Za-z_]\w*", str(text)):
            home, own = SOURCES.get(path, {}).get(word, ("", ""))
            if home and isinstance(getattr(sys.modules.get(home) or importlib.import_module(home), own, None), type):
                assert own in public_types, f"{where} has {own} of {home}, which nobody can import"


@pytest.mark.parametrize(
    ("function", "given"),
    [("open", "RunReader"), ("bins", "Curves"), ("runs", "RunList"), ("sync", "SyncReport"), ("init", "Run")],
)
def test_what_the_annotations_name_can_be_imported(function, given):
    assert inspect.signature(getattr(steno, function)).return_annotation == given
    assert any(name == given for _, name in NAMES)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_help_and_signature_work_on_each_public_name_and_its_methods(module, name):
    value = public(module, name)
    if name == "__version__":
        return
    shown = [(name, value)]
    if isinstance(value, type):
        shown += [
            (f"{name}.{member}", getattr(value, member))
            for base in value.__mro__
            if base.__module__.startswith("steno")
            for member, one in vars(base).items()
            if member[0] != "_" and (callable(one) or hasattr(one, "__func__") or isinstance(one, property))
        ]
    for where, one in shown:
        assert (inspect.getdoc(one) or "").strip(), f"{where} says nothing"
        if callable(one) and not (isinstance(one, type) and issubclass(one, BaseException)):
            for parameter in inspect.signature(one).parameters.values():
                starred = parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
                named = parameter.name == "self" or starred or isinstance(one, type)
                assert parameter.annotation is not parameter.empty or named, where


def test_a_runs_log_is_shown_as_a_method():
    assert list(inspect.signature(steno.Run.log).parameters) == ["self", "data", "step", "level", "arrays"]
    text = pydoc.plain(pydoc.render_doc(steno.Run.log))
    assert "Args:" in text
    assert "Raises:" in text
    assert "log(self, data" in text


def test_a_runs_own_log_has_its_signature(road, tmp_path):
    with steno.init(dir=tmp_path, settings={"collector": False}) as run:
        assert run.health()["native"]["on"] is (road == "native")
        assert list(inspect.signature(run.log).parameters)[:4] == ["data", "step", "level", "arrays"]
        assert inspect.getdoc(run.log)
        assert run.log.__doc__


def test_no_public_name_is_a_module_as_well():
    """A submodule of that name would hide it as soon as it is imported."""
    from importlib.util import find_spec

    assert [name for name in steno.__all__ if find_spec(f"steno.{name}") is not None] == []


def test_a_process_of_stenos_own_finds_the_package_and_not_its_files_as_modules():
    """`steno/torch.py` and `steno/types.py` would else be what `import torch` and `import types` find there."""
    places = environment()["PYTHONPATH"].split(os.pathsep)
    assert Path(places[0]) == SRC.parent
    assert str(SRC) not in places


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        steno.nonsense  # noqa: B018


def test_dir_lists_the_public_names():
    assert set(steno.__all__) <= set(dir(steno))


def test_errors_say_the_name_that_users_can_import():
    assert str(steno.UsageError) == "<class 'steno.UsageError'>"
