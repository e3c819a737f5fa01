"""JAX arrays: read at the call where they are ready on the host, else when they are."""

from __future__ import annotations

import operator
import threading
import time
from typing import TYPE_CHECKING, Any, Final, cast

import jax
import numpy as np

from steno.devices.base import LATER, Refused, Traced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steno.devices.base import Late, Room

_NUMBERS: Final = frozenset({float, int, bool})
_KINDS: Final = "biuf"
NOW_BYTES: Final = 1 << 16
"""A larger array is copied by the worker, although it is ready."""
Tracer: Final = jax.core.Tracer
_SHARDINGS: Final = 1024
_on_host: dict[Any, bool] = {}
_GONE: Final = (
    "the array was deleted, or donated to a computation, before it could be read; "
    "log it before it is donated, or log a copy of it (x.copy())"
)


class JaxAdapter:
    """See `steno.devices.base.Adapter`. Never starts a collective: of a sharded array it reads its own shards."""

    def scalar(self, value: Any) -> float | int | bool:
        """A one-element array's number, if it is on the host already."""
        try:
            if value.size == 1 and has_come(value) and is_on_host(value):
                number = np.asarray(value).item()
                if number.__class__ in _NUMBERS:
                    return cast("float", number)
        except (RuntimeError, AttributeError) as error:
            raise Refused(str(error)) from None
        msg = "not a number on the host"
        raise Refused(msg)

    def now(self, value: Any) -> Any:
        """See `Adapter.now`. What is pending, or on a device, comes later; large arrays are held by reference."""
        if isinstance(value, Tracer):
            raise Traced
        if value.__class__.__name__ == "PRNGKeyArray":
            msg = "a random key is not recorded; log jax.random.key_data(key)"
            raise Refused(msg)
        if value.is_deleted():
            raise Refused(_GONE)
        dtype = value.dtype
        if dtype.kind not in _KINDS and (dtype.kind == "c" or dtype.type.__module__ != "ml_dtypes"):
            msg = f"an array of {dtype} cannot be recorded" + ("; log x.real and x.imag" if dtype.kind == "c" else "")
            raise Refused(msg)
        if value.size == 0:
            msg = f"the array is empty (shape {value.shape})"
            raise Refused(msg)
        if at_hand(value) and value.nbytes <= NOW_BYTES:
            plain = np.asarray(value)
            return plain.item() if plain.size == 1 and dtype.kind in _KINDS else plain
        return LATER

    def begin(self, values: Sequence[Any], room: Room) -> list[Late]:  # noqa: ARG002 - the queue bounds references
        """See `Adapter.begin`: copies to the host are asked for, references are kept."""
        small = [place for place, value in enumerate(values) if value.nbytes <= NOW_BYTES]
        large = [place for place, value in enumerate(values) if value.nbytes > NOW_BYTES]
        groups = [small] * bool(small) + [[place] for place in large]
        return [Arrays([values[place] for place in places], places) for places in groups]


class Arrays:
    """References to arrays that are on their way; see `steno.devices.base.Late`."""

    __slots__ = ("_waiting", "lane", "places", "size_bytes", "values")

    def __init__(self, values: Sequence[Any], places: Sequence[int], size_bytes: int | None = None) -> None:
        # With a size they are an output that nobody else has: nobody will delete them.
        self.values = [held(value) for value in values] if size_bytes is None else list(values)
        self.places = places
        # A thread's computations mostly finish in the order in which it started them.
        self.lane = ("jax", threading.get_ident())
        self.size_bytes = sum([value.nbytes for value in self.values]) if size_bytes is None else size_bytes
        for value in self.values:
            if not is_on_host(value):
                value.copy_to_host_async()
        self._waiting = list(self.values)

    def ready(self) -> bool:
        """Whether all have arrived, or are gone."""
        while self._waiting:
            if not has_come(self._waiting[-1]):
                return False
            self._waiting.pop()
        return True

    def read(self) -> list[Any]:
        """See `Late.read`."""
        values, self.values = self.values, []
        return [host(value) for value in values]

    def drop(self) -> None:
        """See `Late.drop`."""
        self.values = []
        self._waiting = []


def held(value: Any) -> Any:
    """The same memory under an object of our own.

    Reading an array while another thread calls its `delete` ends the process (jaxlib 0.10); reading ours, whose memory
    is gone then too, is an error that says so.
    """
    try:
        if len(value.sharding.device_set) == 1:
            return value.addressable_data(0)
        shards = [shard.data for shard in value.addressable_shards]
        return jax.make_array_from_single_device_arrays(value.shape, value.sharding, shards)
    except (RuntimeError, ValueError):
        return value


def at_hand(value: Any) -> bool:
    """Whether reading the array neither waits nor asks a device."""
    return has_come(value) and is_on_host(value) and bool(value.is_fully_addressable) and not value.is_deleted()


def has_come(value: Any) -> bool:
    """Whether the array is there, or gone.

    In one step that no other thread can interrupt: `is_ready` of an array that has just been deleted, or donated,
    ends the process (jaxlib 0.10), and so does `platform`.
    """
    try:
        return any(map(operator.call, (value.is_deleted, value.is_ready)))
    except RuntimeError:
        return True  # donated in between


def is_on_host(value: Any) -> bool:
    """Whether the array's memory is the host's."""
    sharding = value.sharding
    known = _on_host.get(sharding)
    if known is None:
        if len(_on_host) >= _SHARDINGS:
            _on_host.clear()
        known = _on_host[sharding] = all(device.platform == "cpu" for device in sharding.device_set)
    return known


def host(value: Any) -> Any:
    """An array that is ready as a numpy array, of a sharded one what this process has, flat; a `Refused` if gone."""
    try:
        if value.is_fully_addressable:
            return np.asarray(value)
        if value.is_fully_replicated:
            return np.asarray(value.addressable_data(0))
        mine = [np.asarray(shard.data).reshape(-1) for shard in value.addressable_shards if shard.replica_id == 0]
        return np.concatenate(mine) if mine else Refused("none of its shards belongs to this process")
    except RuntimeError as error:
        return Refused(_GONE if "deleted" in str(error) or "donated" in str(error) else str(error)[:200])


def wait_for_callbacks(deadline: float | None) -> bool:
    """Wait until the host callbacks of what this thread has started have run; False at the deadline.

    JAX keeps what it waits for by thread, and only offers a wait without end: another thread does that.
    """
    try:
        from jax._src.dispatch import runtime_tokens

        tokens = list(runtime_tokens.output_runtime_tokens.values())
    except (ImportError, AttributeError):
        return True
    if not tokens:
        return True
    done = threading.Event()

    def wait() -> None:
        for token in tokens:
            try:
                token.block_until_ready()
            except Exception:
                # The computation failed: it will call nothing any more.
                continue
        done.set()

    threading.Thread(target=wait, name="steno-settle", daemon=True).start()
    return done.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
