"""Finds a destination by its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from steno.errors import DestinationError
from steno.events.callback import Callback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import EntryPoint

    from steno.destinations.base import Destination

Placement = Literal["file", "process", "console"]

GROUP = "steno.destinations"
"""The entry-point group by which an installed package adds destinations."""

BUILT_IN: dict[str, tuple[str, Placement]] = {
    "tensorboard": ("steno.destinations.tensorboard.destination:TensorBoard", "file"),
    "csv": ("steno.destinations.csv:Csv", "file"),
    "jsonl": ("steno.destinations.jsonl:Jsonl", "file"),
    "text": ("steno.destinations.text:TextLog", "file"),
    "console": ("steno.destinations.console:Console", "console"),
    "wandb": ("steno.destinations.services._wandb:Wandb", "process"),
    "mlflow": ("steno.destinations.services._mlflow:Mlflow", "process"),
    "swanlab": ("steno.destinations.services._swanlab:Swanlab", "process"),
    "trackio": ("steno.destinations.services._trackio:Trackio", "process"),
    "clickhouse": ("steno.destinations.services._clickhouse:ClickHouse", "process"),
}
_METHODS = ("open", "write", "flush", "close")
_LISTENS = ("run_event", "close", "post_close")


@dataclass(frozen=True, slots=True)
class Spec:
    """One destination as the user asked for it.

    `placement` says where it runs: `file` in the collector, `process` in a child process of its own,
    `console` in rank 0's process, `object` in the process that passed `target`.
    """

    name: str
    placement: Placement | Literal["object"]
    options: Mapping[str, Any] = field(default_factory=dict)
    target: Destination | Callback | None = None


def names() -> list[str]:
    """All destinations that can be asked for by name: the built-in ones, then installed ones."""
    return [*BUILT_IN, *sorted({entry.name for entry in _installed()} - set(BUILT_IN))]


def placement(name: str) -> Placement:
    """Where the destination of this name runs; loads no third-party code.

    Raises:
        DestinationError: there is none of that name.
    """
    if name in BUILT_IN:
        return BUILT_IN[name][1]
    _entry_point(name)
    return "process"


def create(name: str, options: Mapping[str, Any] | None = None) -> Destination:
    """A new destination, not opened yet. Options are its constructor's keywords.

    Raises:
        DestinationError: unknown name, an option it does not take, or a package that does not load.
    """
    factory = _factory(name)
    try:
        made = factory(**dict(options or {}))
    except DestinationError:
        raise
    except (TypeError, ValueError) as error:
        raise DestinationError(
            f"destination {name!r} does not take the options {sorted(options or {})}: {error}. {_takes(factory)}"
        ) from error
    _check(made, f"what destination {name!r} made")
    return made


def normalise(spec: object) -> Spec:
    """What a user passes in `destinations=[...]`: a name, a pair of name and options, or an object of either sort.

    The options of built-in destinations are tried here, so that a mistake is said at once; an installed
    package is looked up, not loaded.

    Raises:
        DestinationError: none of the three, an unknown name, or options that are refused.
    """
    if isinstance(spec, Spec):
        return spec
    if isinstance(spec, str):
        return _named(spec, {})
    if isinstance(spec, tuple | list):
        if len(spec) == 2 and isinstance(spec[0], str) and isinstance(spec[1], dict):
            return _named(spec[0], spec[1])
        raise DestinationError(
            f'a destination with options is a pair such as ("csv", {{"format": "long"}}), not {spec!r}'
        )
    if isinstance(spec, type):
        raise DestinationError(f"pass an object, not the class: {spec.__name__}()")
    if not is_listener(spec):
        _check(spec, f"{type(spec).__name__} object")
    name = getattr(spec, "name", None)
    return Spec(name if isinstance(name, str) and name else type(spec).__name__, "object", {}, spec)  # type: ignore[arg-type]


def is_listener(candidate: object) -> bool:
    """Whether it gets each call by itself, as `Callback`s and `LoggerDestination`s are, Composer's among them."""
    four = all(callable(getattr(candidate, method, None)) for method in _METHODS)
    return isinstance(candidate, Callback) or (
        not four and all(callable(getattr(candidate, method, None)) for method in _LISTENS)
    )


def _named(name: str, options: dict[str, Any]) -> Spec:
    place = placement(name)
    if place == "process":
        from steno.destinations.services.foreign import refuse_secrets

        refuse_secrets(name, options)
    if name in BUILT_IN:
        create(name, options)
    try:
        import msgspec

        msgspec.json.encode(options)
    except (TypeError, ValueError) as error:
        raise DestinationError(
            f"the options of destination {name!r} must be plain values that JSON can hold: {error}"
        ) from error
    return Spec(name, place, dict(options))


def _factory(name: str) -> Callable[..., Destination]:
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name][0].partition(":")
        found: Callable[..., Destination] = getattr(import_module(module), attribute)
        return found
    entry = _entry_point(name)
    try:
        loaded: Callable[..., Destination] = entry.load()
    except Exception as error:
        package = entry.dist.name if entry.dist else "its package"
        raise DestinationError(
            f"destination {name!r} of {package} does not load: {type(error).__name__}: {error}"
        ) from error
    return loaded


def _installed() -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return list(entry_points(group=GROUP))


def _entry_point(name: str) -> EntryPoint:
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP, name=name):
        return entry
    known = names()
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    raise DestinationError(
        f"no destination is called {name!r}. {guess}There are {', '.join(known)}; an installed package adds more "
        f"by the entry-point group {GROUP!r}, and any object with the methods {', '.join(_METHODS)} can be passed."
    )


def _check(candidate: object, what: str) -> None:
    missing = [method for method in _METHODS if not callable(getattr(candidate, method, None))]
    if missing:
        raise DestinationError(
            f"{what} is no destination: it has no {', '.join(missing)}. Pass a name ({', '.join(BUILT_IN)}), "
            f"a pair (name, options), an object with the methods {', '.join(_METHODS)}, or a steno.LoggerDestination."
        )


def _takes(factory: Callable[..., Destination]) -> str:
    import inspect

    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return ""
    return f"It takes {', '.join(parameters)}." if parameters else "It takes none."
