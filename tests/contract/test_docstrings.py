"""What the docstring of a public name says: one sentence first, its parameters, what it returns and raises."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap

import pytest

import steno

MODULES = (
    "steno", "steno.types", "steno.destinations", "steno.testing", "steno.torch", "steno.jax", "steno.compat.composer",
    "steno.compat.nlsq", "steno.compat.tensorboardx", "steno.compat.torchrl",
)  # fmt: skip


def names(module):
    return [name for name in importlib.import_module(module).__all__ if name != "__version__"]


def methods(owner):
    """The methods and properties of a class of ours by name, the first along its bases."""
    found = {}
    for base in owner.__mro__:
        if base.__module__.startswith("steno"):
            for name in vars(base):
                if name[0] != "_":
                    one = inspect.getattr_static(owner, name)
                    one = one.__func__ if isinstance(one, (staticmethod, classmethod)) else one
                    if isinstance(one, property) or inspect.isfunction(one):
                        found.setdefault(name, one)
    return found


def doc(one):
    return inspect.getdoc(one) or ""


def referred(text, owner):
    """The docstrings that a docstring refers to: `add_scalar` of the same class, `Run.log`."""
    found = []
    for path in re.findall(r"`([A-Za-z_][\w.]*)`", text):
        for start in (owner, steno):
            one = start
            for part in path.removeprefix("steno.").split("."):
                one = getattr(one, part, None) if inspect.isclass(one) or inspect.ismodule(one) else None
            if callable(one):
                found.append(doc(one))
    return found


def faults(where, one, owner=None):
    """What the docstring of a function, method or property lacks."""
    one = inspect.unwrap(one.fget if isinstance(one, property) else one)
    text = doc(one)
    first = text.split("\n", 1)[0]
    if not first.endswith("."):
        yield f"{where}: its first line is no whole sentence: {first}"
    definition = ast.parse(textwrap.dedent(inspect.getsource(one))).body[0]
    is_property = any("property" in ast.unparse(mark) for mark in definition.decorator_list)
    classes = [doc(base) for base in owner.__mro__ if base.__module__.startswith("steno")] if owner else []
    everything = "\n".join([text, *classes, *referred(text, owner)])
    contract = "\n".join([text, *referred(text, owner)])
    returned = ast.unparse(definition.returns) if definition.returns else "None"
    if not is_property and returned not in {"None", "NoReturn", "Self"} and "Returns:" not in contract:
        yield f"{where}: it returns {returned}, and no `Returns:` says what that is"
    functions = [each for each in ast.walk(definition) if isinstance(each, ast.FunctionDef) and each is not definition]
    inner = {inside for each in functions for inside in ast.walk(each)}
    raises = [each for each in ast.walk(definition) if isinstance(each, ast.Raise) and each.exc and each not in inner]
    if raises and "Raises:" not in contract:
        yield f"{where}: it raises, and no `Raises:` says what"
    for name in inspect.signature(one).parameters:
        if name not in {"self", "cls"} and not re.search(rf"\b{name}\b", everything):
            yield f"{where}: nothing says what {name} is"


@pytest.mark.parametrize("module", MODULES)
def test_a_docstring_says_what_a_caller_must_know(module):
    found = []
    for name in names(module):
        value = getattr(importlib.import_module(module), name)
        if inspect.isfunction(value):
            found += faults(name, value)
        elif inspect.isclass(value):
            first = doc(value).split("\n", 1)[0]
            if not first.endswith("."):
                found.append(f"{name}: its first line is no whole sentence: {first}")
            for member, one in methods(value).items():
                found += faults(f"{name}.{member}", one, value)
    assert not found, "\n".join(found)


TRAINING = (
    "init", "log", "event", "log_artifact", "link_artifact", "async_log", "flush", "finish", "torch.log", "jax.jit", "jax.scan",
    "compat.nlsq.log_iteration_async", "compat.nlsq.log_convergence_async",
)  # fmt: skip
"""What a program calls while it trains; what is said of a method of `Run` is said of the function of its name."""
RECORDERS = (
    "Run", "SummaryWriter", "compat.tensorboardx.GlobalSummaryWriter", "compat.torchrl.RunLogger",
    "compat.composer.Callback", "compat.composer.LoggerDestination",
)  # fmt: skip
"""Classes whose methods a program calls, or steno in its process; the class says it for all of them."""
SAFETY = {
    "threads": r"\bthreads?\b|Thread-safe",
    "forks": r"\bfork",
    "what is lost when the process dies": r"\b(survives?|dies|death|lost|killed)\b",
}


def named(path):
    *modules, name = path.split(".")
    return getattr(importlib.import_module(".".join(["steno", *modules])), name)


@pytest.mark.parametrize("path", [*TRAINING, *RECORDERS])
def test_what_a_program_calls_in_training_says_how_safe_it_is(path):
    one = named(path)
    text = "\n".join([doc(one), *referred(doc(one), one), *referred(doc(one), None)])
    lacking = [what for what, words in SAFETY.items() if not re.search(words, text, re.IGNORECASE)]
    assert not lacking, f"steno.{path} says nothing of {', '.join(lacking)}"


def test_each_method_of_a_run_says_how_safe_it_is():
    """Of what does not record, threads alone."""
    for name, one in methods(steno.Run).items():
        if isinstance(one, property):
            continue
        text = "\n".join([doc(one), *referred(doc(one), steno.Run)])
        wanted = ["threads"] if name == "health" else list(SAFETY)
        lacking = [what for what in wanted if not re.search(SAFETY[what], text, re.IGNORECASE)]
        assert not lacking, f"Run.{name} says nothing of {', '.join(lacking)}"


@pytest.mark.parametrize("path", ["RunReader", "open", "runs", "sql", "bins", "sync"])
def test_what_reads_says_whether_threads_may_share_it(path):
    assert re.search(SAFETY["threads"], doc(named(path)), re.IGNORECASE)


class Wanting:
    """An example."""

    def one(self, left: int, right: int) -> int:
        """Add `left`
        and something."""
        if not left:
            raise ValueError
        return left + right


def test_each_lack_is_found():
    said = "\n".join(faults("one", Wanting.one, Wanting))
    assert [word in said for word in ("no whole sentence", "no `Returns:`", "no `Raises:`", "what right is")] == [
        True
    ] * 4
