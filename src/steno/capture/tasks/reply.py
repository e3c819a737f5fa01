"""What a task's child sends back: its value, or why there is none; only plain data crosses the pipe."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno.capture.tasks.task import inside
from steno.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable

HEAVY_BYTES: Final = 64 << 10
"""A returned value larger than this is recorded by the child itself."""
_PROTOCOL: Final = 5
_VALUE: Final = "value"
_RECORDED: Final = "recorded"
_ERROR: Final = "error"
_REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class RecordedValue:
    """Stands in a Future's result for a large value that the child recorded: it did not cross the pipe."""

    what: str

    def __repr__(self) -> str:
        return f"<{self.what}, recorded by the child>"


@dataclass(frozen=True, slots=True)
class Reply:
    """A child's answer, read by the parent."""

    value: Any = None
    recorded: bool = False
    """The child has recorded the value; else it is the parent's to record."""
    error: BaseException | None = None


class ChildTraceback(Exception):  # noqa: N818 - the cause of an error, holding its text
    """The traceback of an error in a child process."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


# -- in the child -----------------------------------------------------------------------------------------


def run(
    load: Callable[[], tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]],
    record: Callable[[Mapping[str, Any]], None],
    *,
    whole: bool,
) -> bytes:
    """Run the task and make the reply; whatever `func` raises becomes part of it.

    Only while this runs does the caller count as a task.

    Args:
        load: gives func, args and kwargs.
        record: records a result in the run, from this process.
        whole: the parent needs the result as it is, for a reserved place.
    """
    before = inside.set(True)
    try:
        func, args, kwargs = load()
    except BaseException as error:
        hint = "functions and classes of a task must be importable: defined at the top level of a module or script"
        return _refusal(f"the child process could not read the task ({type(error).__name__}: {error}): {hint}")
    else:
        try:
            return _answer(func, func(*args, **kwargs), record, whole=whole)
        except BaseException as error:
            return _failure(error)
    finally:
        inside.reset(before)


def _answer(func: Any, value: Any, record: Callable[[Mapping[str, Any]], None], *, whole: bool) -> bytes:
    if not isinstance(value, Mapping):
        # The parent says what is wrong, as for every mode; it needs the value's type only.
        return _refusal(not_a_dict(func, value))
    try:
        body = b"" if _has_media(value) and not whole else pickle.dumps(value, _PROTOCOL)
    except Exception as error:
        return _refusal(
            f"what it returned cannot be sent from the child ({type(error).__name__}: {error}): return plain numbers, "
            "strings, arrays and media, or call steno.log inside the function"
        )
    if whole or (body and len(body) <= HEAVY_BYTES):
        return pickle.dumps((_VALUE, body, ""), _PROTOCOL)
    record(value)
    slim = {key: _slim(item) for key, item in value.items()}
    return pickle.dumps((_RECORDED, pickle.dumps(slim, _PROTOCOL), ""), _PROTOCOL)


def _slim(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _slim(item) for key, item in value.items()}
    try:
        if not _has_media(value) and len(pickle.dumps(value, _PROTOCOL)) <= HEAVY_BYTES // 16:
            return value
    except Exception:  # it cannot be pickled: the Future gets a description in its place
        pass
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    what = type(value).__name__
    return RecordedValue(f"{what} {dtype} {tuple(shape)}" if shape is not None and dtype is not None else what)


def _is_media(value: Any) -> bool:
    return hasattr(type(value), "__steno__")


def _has_media(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_media(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_has_media(item) for item in value)
    return _is_media(value)


def _refusal(text: str) -> bytes:
    return pickle.dumps((_REFUSED, b"", text), _PROTOCOL)


def _failure(error: BaseException) -> bytes:
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        body = pickle.dumps(error, _PROTOCOL)
        pickle.loads(body)
    except BaseException:
        body = b""
    return pickle.dumps((_ERROR, body, text), _PROTOCOL)


# -- in the parent ----------------------------------------------------------------------------------------


def read(raw: bytes) -> Reply:
    """The child's answer; one that cannot be read is an error of the task."""
    try:
        kind, body, text = pickle.loads(raw)
        if kind == _VALUE:
            return Reply(pickle.loads(body))
        if kind == _RECORDED:
            return Reply(pickle.loads(body), recorded=True)
        if kind == _REFUSED:
            return Reply(error=TypeError(text) if text.startswith(_RETURNED) else TaskError(text))
        error = pickle.loads(body) if body else TaskError(f"{text.strip().splitlines()[-1]} (in the child process)")
        error.__cause__ = ChildTraceback(text)
        return Reply(error=error)
    except BaseException as error:
        return Reply(error=TaskError(f"the child's answer could not be read: {type(error).__name__}: {error}"))


_RETURNED: Final = "async_log records what its function returns"


def not_a_dict(func: Any, value: Any) -> str:
    """Why a result cannot be recorded."""
    name = getattr(func, "__qualname__", None) or type(func).__name__
    if isinstance(value, Coroutine):
        value.close()  # else Python warns that nobody awaited it
        return f'{name} is an async def function, which only mode="asyncio" runs; call it inside a running event loop'
    return (
        f"{_RETURNED}, so it must return a dict: {name} returned {type(value).__name__}; "
        "return {} if it logs by itself"
    )
