"""Metrics as plain Python values: at once from the host; from a device when they are read."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from steno.errors import UsageError

Fetch = Callable[[], dict[str, Any]]
_MAX_DEPTH: Final = 32
_LATE: Final = object()
_NUMBERS: Final = frozenset({float, int, bool})


def flattened(metrics: Any, sep: str = "/") -> dict[str, Any]:
    """Nested dicts and TensorDicts as one dict, in their own order; of two values of one name the last stays.

    Raises:
        UsageError: neither a dict nor a TensorDict.
    """
    if not isinstance(metrics, Mapping) and not _is_collection(metrics):
        msg = f"log_metrics takes a dict or a TensorDict of metrics, not {type(metrics).__name__}"
        raise UsageError(msg)
    out: dict[str, Any] = {}
    _flatten("", metrics, sep, out, 0)
    return out


def _flatten(prefix: str, metrics: Any, sep: str, out: dict[str, Any], depth: int) -> None:
    leaves = _leaves()
    for key in list(metrics.keys()):
        name = prefix + (sep.join(map(str, key)) if isinstance(key, tuple) else str(key))
        try:
            value = metrics.get(key)
            if value.__class__ in leaves:
                out[name] = value
                continue
            value = _plain(value)
        except Exception as error:
            out[name] = Unreadable(error)
            continue
        if depth < _MAX_DEPTH and (isinstance(value, Mapping) or _is_collection(value)):
            _flatten(name + sep, value, sep, out, depth + 1)
        else:
            out[name] = value


def _leaves() -> frozenset[type]:
    """The commonest types that nothing is nested in, recognised without asking TensorDict."""
    torch = sys.modules.get("torch")
    return _NUMBERS if torch is None else _NUMBERS | {torch.Tensor}


def _is_collection(value: Any) -> bool:
    """Whether it is a TensorDict or a tensorclass with values by key."""
    tensordict = sys.modules.get("tensordict")
    return tensordict is not None and tensordict.is_tensor_collection(value)


def _plain(value: Any) -> Any:
    """What a TensorDict wraps because it is no tensor, unwrapped."""
    tensordict = sys.modules.get("tensordict")
    if tensordict is None or not tensordict.is_tensor_collection(value) or not tensordict.is_non_tensor(value):
        return value
    return value.tolist() if hasattr(value, "tensordicts") else value.data


class Unreadable:
    """Stands for a value that could not be taken out of its TensorDict; `log` tells why."""

    __slots__ = ("_error",)

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __steno__(self) -> Any:
        """Raise why."""
        raise self._error


class LateMetrics(Mapping[str, Any]):
    """Metrics of which some are on their way from a device: reading one of those waits, once, for all of them.

    Their names, their number and the values that were on the host are there at once. A value that could not be
    fetched is None. Thread-safe; pickled as a dict, which waits.
    """

    __slots__ = ("_fetches", "_lock", "known")

    def __init__(self, values: dict[str, Any], fetches: list[Fetch]) -> None:
        self.known = values
        self._fetches = fetches
        self._lock = threading.Lock()

    def __getitem__(self, key: str) -> Any:
        value = self.known[key]
        return self._arrived()[key] if value is _LATE else value

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)

    def __contains__(self, key: object) -> bool:
        return key in self.known

    def __repr__(self) -> str:
        late = sum(value is _LATE for value in self.known.values())
        return f"<{len(self)} metrics, {late} of them on a device>" if late else repr(self.known)

    def __reduce__(self) -> Any:
        return dict, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """A real dict of all values, in order; waits for the device.

        Returns:
            A new dict of Python numbers and lists; None for a value that could not be fetched.
        """
        return dict(self._arrived())

    def _arrived(self) -> dict[str, Any]:
        with self._lock:
            while self._fetches:
                fetched = self._fetches[-1]()
                # Only now, so that an interrupted wait can be taken up again.
                self.known.update(fetched)
                self._fetches.pop()
            return self.known


def converted(metrics: Mapping[str, Any]) -> dict[str, Any] | LateMetrics:
    """Metrics as Python numbers and lists, with the same keys in the same order.

    A tensor of one element becomes its number, a larger one a nested list, and None one that cannot be read;
    what is no tensor or JAX array is passed through.

    Returns:
        A dict when nothing is on a device, else a `LateMetrics`. The copies from the device are under way when
        this returns: what becomes of the tensors later does not show.
    """
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    values: dict[str, Any] = {}
    remote: dict[str, Any] = {}
    fetches: list[Fetch] = []
    for key, value in metrics.items():
        if torch is not None and isinstance(value, torch.Tensor):
            values[key] = _tensor(key, value, remote, torch)
        elif jax is not None and isinstance(value, jax.Array):
            values[key] = _jax_array(key, value, jax, fetches)
        else:
            values[key] = None if value.__class__ is Unreadable else value
    if remote:
        from steno.writers.transfer import started_fetches

        fetches += started_fetches(remote)
    if not fetches:
        return {key: None if value is _LATE else value for key, value in values.items()}
    return LateMetrics(values, fetches)


def at_hand(metrics: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics to log: numbers as `converted` has read them, so that they are not read twice; else as they are."""
    known = values.known if isinstance(values, LateMetrics) else values
    return {key: known[key] if known[key].__class__ in _NUMBERS else value for key, value in metrics.items()}


def _tensor(key: str, value: Any, remote: dict[str, Any], torch: Any) -> Any:
    """A host tensor's value; None for one that has none; `_LATE`, and an item in `remote`, for one on a device."""
    try:
        if value.__class__ is not torch.Tensor:
            # Of a distributed tensor this process's part, never a collective.
            value = getattr(value, "_local_tensor", value)
        if value.is_cpu:
            if value.numel() == 1:
                return value.item()
            if value.layout != torch.strided:
                value = value.to_dense()
            return value.tolist()
        if value.is_meta:
            return None
        remote[key] = value.detach()
        return _LATE
    except Exception:  # freed memory, or a dtype without numbers: None stands for what cannot be read
        return None


def _jax_array(key: str, value: Any, jax: Any, fetches: list[Fetch]) -> Any:
    """The same for a JAX array, which is on its way, on a CPU too, until it is ready."""
    # Asking a deleted array where it is ends the process.
    if isinstance(value, jax.core.Tracer) or value.is_deleted():
        return None

    def fetch() -> dict[str, Any]:
        try:
            return {key: value.item() if value.size == 1 else value.tolist()}
        except Exception:  # deleted meanwhile, or donated to a computation
            return {key: None}

    try:
        if value.platform() == "cpu" and value.is_ready():
            return fetch()[key]
        if value.platform() != "cpu":
            value.copy_to_host_async()
    except Exception:  # deleted meanwhile: None stands for what cannot be read
        return None
    fetches.append(fetch)
    return _LATE
