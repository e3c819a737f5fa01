"""The run's configuration and the user's summary: mappings whose changes are journalled."""

from __future__ import annotations

import dataclasses
import enum
import math
import os
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from steno.errors import NoRunError, UsageError
from steno.secrecy import HIDDEN, is_secret, mask

__all__ = ["HIDDEN", "Borrowed", "Journalled", "as_config", "is_secret", "mask", "plain"]

if TYPE_CHECKING:
    from collections.abc import Callable

_DEPTH: Final = 32
_INT_LIMIT: Final = 2**63
_ON_DEVICES: Final = frozenset({"torch", "jax", "jaxlib"})


class Journalled(MutableMapping[str, Any]):
    """A mapping that tells each change to the run's journal.

    Thread-safe as a dict is. Only top-level assignment and `update` are seen: a change inside a nested
    value is not. What was set survives the death of the process, as `log` does.
    """

    def __init__(self, values: Mapping[str, Any], changed: Callable[[dict[str, Any]], None]) -> None:
        self._values = dict(values)
        self._changed = changed

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        msg = f"{key!r} cannot be deleted, for it is on record: set it to None"
        raise TypeError(msg)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def update(self, *others: Any, **more: Any) -> None:
        """Set several at once, journalled as one change."""
        changes = {str(key): value for key, value in dict(*others, **more).items()}
        if changes:
            self._values.update(changes)
            self._changed(changes)

    def __repr__(self) -> str:
        return repr(self._values)


class Borrowed(MutableMapping[str, Any]):
    """Another mapping, looked up at each use: `steno.config` is the current run's, whichever that is."""

    def __init__(self, find: Callable[[], MutableMapping[str, Any]]) -> None:
        self._find = find

    def __getitem__(self, key: str) -> Any:
        return self._find()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._find()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._find()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._find())

    def __len__(self) -> int:
        return len(self._find())

    def update(self, *others: Any, **more: Any) -> None:
        """Set several at once, journalled as one change."""
        self._find().update(*others, **more)

    def __repr__(self) -> str:
        try:
            return repr(self._find())
        except NoRunError as error:
            return f"<{error}>"


def as_config(config: Any) -> dict[str, Any]:
    """A configuration as a dict: from a mapping, an argparse namespace or a dataclass.

    Raises:
        UsageError: it is none of these.
    """
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return {str(key): value for key, value in config.items()}
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    if callable(getattr(config, "model_dump", None)) and not isinstance(config, type):
        return dict(config.model_dump())
    if type(config).__name__ == "Namespace":
        return dict(vars(config))
    kind = type(config).__name__
    msg = f"config must be a mapping, a dataclass or an argparse.Namespace, not {kind}: pass config={{...}}"
    raise UsageError(msg)


def plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON and msgpack hold it; what they cannot hold becomes text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value) if -_INT_LIMIT <= value < _INT_LIMIT else str(int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if depth > _DEPTH:
        return _text(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    try:
        if isinstance(value, Mapping):
            return {str(key): plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item, depth + 1) for item in value]
        if isinstance(value, (set, frozenset)):
            return sorted((plain(item, depth + 1) for item in value), key=repr)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain(getattr(value, field.name), depth + 1) for field in dataclasses.fields(value)}
        if type(value).__module__ == "numpy" and hasattr(value, "tolist") and getattr(value, "size", 0) <= 1024:
            return plain(value.tolist(), depth + 1)
        if type(value).__module__.partition(".")[0] in _ON_DEVICES:
            return _of_device(value, depth)
    except Exception:
        return _text(value)
    return _text(value)


def _of_device(value: Any, depth: int) -> Any:
    """A number of torch's or JAX's; text for what is larger, or would have to be waited for."""
    ready = getattr(value, "is_ready", None)
    if getattr(value, "is_cuda", False) or (ready is not None and not ready()):
        return f"<{type(value).__name__} on a device>"
    size = value.numel() if hasattr(value, "numel") else getattr(value, "size", 0)
    return plain(value.item(), depth + 1) if size == 1 else _text(value)


def _text(value: Any) -> str:
    try:
        return repr(value)[:1000]
    except Exception:
        return f"<{type(value).__name__}>"
