"""Which form the hot path has: the native module where it is built and wanted, Python's own elsewhere."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from steno import settings
from steno.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_API: Final = 1
"""What `_native.c` has to say; it is raised there and here when the two no longer understand each other."""
_ON: Final = ("1", "on", "true", "yes")
_OFF: Final = ("0", "off", "false", "no")
_CODES: Final = {
    "f2": "e", "f4": "f", "f8": "d", "b1": "?",
    "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
}  # fmt: skip


class Core(Protocol):
    """What the calls of one recorder share; the native one is described in `_native.c`."""

    @property
    def last(self) -> int:
        """The newest sequence number given."""

    def next(self) -> int:
        """Take the next sequence number."""

    def use(self, token: object, write: Any, nonce: int) -> bool:
        """Go on with this `write`; the key sets learned under another token are forgotten."""

    def learn(self, token: object, scope: object, keys: tuple[str, ...], number: int) -> bool:
        """Know a key set by the number that was announced under this token, and under a scope's options or None."""

    def log(self, twin: Callable[..., None]) -> Callable[..., None]:
        """What stands before the Python path's `log`."""

    def add(self, twin: Callable[..., None], scope: object) -> Callable[..., None]:
        """What stands before the Python path's `add` of this scope."""


class Plain:
    """The core where nothing is native: a counter, and the Python path as it is."""

    def __init__(self, first: int) -> None:
        self._count = itertools.count(first)
        self.next: Callable[[], int] = self._count.__next__

    @property
    def last(self) -> int:
        """The newest number given, without using one up."""
        return int(repr(self._count)[len("count(") : -1]) - 1

    def use(self, token: object, write: Any, nonce: int) -> bool:  # noqa: ARG002 - the native core's signature
        """Nothing to do."""
        return False

    def learn(self, token: object, scope: object, keys: tuple[str, ...], number: int) -> bool:  # noqa: ARG002
        """Nothing to do."""
        return False

    def log(self, twin: Callable[..., None]) -> Callable[..., None]:
        """The twin itself."""
        return twin

    def add(self, twin: Callable[..., None], scope: object) -> Callable[..., None]:  # noqa: ARG002
        """The twin itself."""
        return twin


@functools.cache
def _loaded() -> tuple[ModuleType | None, str]:
    """(the native module, or why there is none)."""
    gil = getattr(sys, "_is_gil_enabled", None)
    if gil is not None and not gil():
        return None, "this interpreter runs without the GIL, on which the native module relies"
    try:
        from steno.journal import _native  # type: ignore[attr-defined]
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) or "cannot import name" in str(error):
            return None, (
                "it was not built, for want of a C compiler or of Python.h when steno was installed: "
                "install them (gcc and python3-dev, say), then steno again"
            )
        return None, f"it could not be loaded ({error}): install steno again"
    if _native.API != _API:
        return None, f"it is of another version of steno ({_native.API}, not {_API}): install steno again"
    _native.explain(_call)
    return _native, ""


def _call(self: Any, data: Any, step: Any = None, level: Any = None, arrays: Any = None, commit: Any = None) -> None:
    """Record what happens at this step."""
    self.__wrapped__(data, step, level, arrays, commit)


_call.__qualname__ = "Run.log"  # as a TypeError about its arguments calls it


def _requested() -> tuple[str, bool, bool]:
    """(what `STENO_NATIVE` is, whether the native module is not wanted, whether it has to be)."""
    word = settings.read("STENO_NATIVE")
    known = word.lower()
    if known not in {"", "require", *_ON, *_OFF}:
        msg = f"STENO_NATIVE={word!r} is not understood: give 0, 1 or require"
        raise UsageError(msg)
    return word, known in _OFF, known == "require"


def chosen() -> tuple[ModuleType | None, str]:
    """(the native module where it is to be used, or why it is not).

    Raises:
        UsageError: `STENO_NATIVE=require`, and it cannot be; or a word that is none.

    """
    word, unwanted, needed = _requested()
    if unwanted:
        return None, f"STENO_NATIVE={word}"
    module, why = _loaded()
    if module is None and needed:
        msg = f"STENO_NATIVE=require, and the native module is not to be had: {why}"
        raise UsageError(msg)
    return module, why


def core(first: int) -> Core:
    """A core that counts from `first`. Raises as `chosen` does."""
    module, _ = chosen()
    return Plain(first) if module is None else cast("Core", module.Core(first))


def health() -> dict[str, Any]:
    """Whether a recorder that is made now is native, and why not. Never raises."""
    try:
        module, why = chosen()
    except UsageError as error:
        module, why = None, str(error)
    return {"on": module is not None, "why": why}


def as_function(log: Any, twin: Callable[..., None]) -> Any:
    """The native `log`, saying of itself what its twin says."""
    if log is not twin:
        functools.update_wrapper(log, twin)
        log.__signature__ = inspect.signature(twin)
    return log


def meet(kind: type) -> None:
    """Let the native path take numpy scalars of a type, if their layout is as expected."""
    module, _ = _loaded()
    if module is None:
        return
    import numpy as np

    dtype = np.dtype(kind)
    code = _CODES.get(dtype.str[1:])
    if code is None or dtype.isnative is False:
        return
    if dtype.kind == "b":
        known: list[Any] = [False, True]
    elif dtype.kind == "f":
        info = np.finfo(dtype)
        known = [0.0, 1.0, -2.5, info.max, info.tiny, np.inf, -np.inf]
    else:
        bounds: Any = np.iinfo(kind)
        known = [0, 1, 100, bounds.min, bounds.max]
    scalars = [kind(value) for value in known]
    module.examine(kind, code, tuple((scalar, scalar.item()) for scalar in scalars))
