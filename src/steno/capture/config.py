"""The run's configuration and the user's summary: mappings whose changes are journalled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from steno.capture.plain import fields
from steno.errors import NoRunError, UsageError
from steno.habits import CONFIG
from steno.utf8 import escaped, text_of_any

if TYPE_CHECKING:
    from collections.abc import Callable


class _Named(MutableMapping[str, Any]):
    """A mapping whose keys are attributes as well: `config.lr = 0.1` is `config["lr"] = 0.1`."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            try:
                return self[name]
            except KeyError:
                pass
        remedy = CONFIG.get(name, f"set it by [{name!r}] = …, or look at what is there by list(…)")
        msg = f"there is no {name!r}: {remedy}"
        raise AttributeError(msg)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).__slots__:
            object.__setattr__(self, name, value)
        elif hasattr(type(self), name):
            msg = f"{name!r} is a method of this mapping: set the key by [{name!r}] = …"
            raise AttributeError(msg)
        else:
            self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *(key for key in self if key.isidentifier())})


class JournalledMapping(_Named):
    """A mapping that tells each change to the run's journal.

    Thread-safe as a dict is. Only top-level assignment, by key or attribute, and `update` are seen: a change inside a
    nested value is not. What was set survives the death of the process, as `log` does.
    """

    __slots__ = ("_changed", "_values")

    def __init__(self, values: Mapping[str, Any], changed: Callable[[dict[str, Any]], None]) -> None:
        self._values = dict(values)
        self._changed = changed

    def __getitem__(self, key: str) -> Any:
        return self._values[escaped(key) if isinstance(key, str) else key]

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
        """Set several values, journalled as one change; from all that `init` takes for a configuration, or from pairs.

        W&B's `allow_val_change` is understood, and means nothing: every value may change.

        Args:
            others: mappings, or pairs of key and value.
            more: keys given by name.
        """
        if isinstance(more.get("allow_val_change"), bool):
            del more["allow_val_change"]
        given = (one if isinstance(one, Iterable) else as_config(one) for one in others)
        changes = {text_of_any(key): value for key, value in dict(*given, **more).items()}
        if changes:
            self._values.update(changes)
            self._changed(changes)

    def __repr__(self) -> str:
        return repr(self._values)


class Borrowed(_Named):
    """Another mapping, looked up at each use: `steno.config` is the current run's, whichever that is."""

    __slots__ = ("_find",)

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
        """Set several values, journalled as one change."""
        self._find().update(*others, **more)

    def __repr__(self) -> str:
        try:
            return repr(self._find())
        except NoRunError as error:
            return f"<{error}>"


def as_config(config: Any) -> dict[str, Any]:
    """A configuration as a dict: from a mapping, a dataclass, a pydantic model, an argparse namespace and the like.

    Raises:
        UsageError: it is none of these.
    """
    if config is None:
        return {}
    found = fields(config)
    if found is None:
        known = "a mapping, a dataclass, a pydantic model or an argparse.Namespace"
        raise UsageError(f"config must be {known}, not {type(config).__name__}: pass config={{...}}")
    return {text_of_any(key): value for key, value in found}
