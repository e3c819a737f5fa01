"""Values inside a function that JAX is tracing: packed into few operands, as an extra output or for one callback."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_WORDS: Final = jnp.uint32
_open = threading.local()


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a value lies: `size` elements of a group, from `start`."""

    group: int
    start: int
    size: int


@dataclass(frozen=True, eq=False, slots=True)
class TracedPart:
    """What one trace logged: the calls, and where their values lie.

    `calls` are (anything, first slot, one past the last). Values of one dtype are a group; all groups but the last
    `alone` ones are one vector, as they are if there is one, else as 32-bit words. Those last ones are arrays by
    themselves, since they are sharded. With `lead` (T,) everything has a leading axis of T steps, and there is a
    record of each call for each of them.
    """

    calls: tuple[tuple[Any, int, int], ...]
    slots: tuple[Slot, ...]
    dtypes: tuple[Any, ...]
    alone: int = 0
    lead: tuple[int, ...] = ()

    @property
    def vectors(self) -> int:
        """How many vectors there are."""
        return self.alone + (len(self.dtypes) > self.alone)

    @property
    def size_bytes(self) -> int:
        """Size of all vectors together."""
        count = int(np.prod(self.lead)) if self.lead else 1
        return count * sum(slot.size * int(self.dtypes[slot.group].itemsize) for slot in self.slots)

    def rows(self, vectors: Sequence[Any]) -> Iterator[list[Any]]:
        """Host vectors to rows; a row has one number or array per slot."""
        if (
            not self.lead
            and len(self.dtypes) == 1
            and vectors[0].dtype.kind in "biuf"
            and all([slot.size == 1 for slot in self.slots])  # noqa: C419 - a generator costs more
        ):
            # The common case: scalars of one dtype, in order.
            yield vectors[0].reshape(-1).tolist()
            return
        count = int(np.prod(self.lead)) if self.lead else 1
        flat = self._groups([vector.reshape(count, -1) for vector in vectors])
        plain = [group.tolist() if group.dtype.kind in "biuf" else None for group in flat]
        for row in range(count):
            out: list[Any] = []
            for slot in self.slots:
                numbers = plain[slot.group]
                if slot.size == 1 and numbers is not None:
                    out.append(numbers[row][slot.start])
                else:
                    # Of an array that other processes have shards of too, there is less than its shape says.
                    out.append(flat[slot.group][row, slot.start : slot.start + slot.size])
            yield out

    def _groups(self, vectors: list[Any]) -> list[Any]:
        packed = len(self.dtypes) - self.alone
        if packed < 2:
            return vectors
        words, *alone = vectors
        out: list[Any] = []
        at = 0
        for number, dtype in enumerate(self.dtypes[:packed]):
            size = sum(slot.size for slot in self.slots if slot.group == number)
            end = at + size * max(1, np.dtype(dtype).itemsize // 4)
            out.append(_from_words(np.ascontiguousarray(words[:, at:end]), np.dtype(dtype)))
            at = end
        return [*out, *alone]


def pack(operands: Sequence[Any]) -> tuple[tuple[Slot, ...], tuple[Any, ...], int, list[Any]]:
    """(slots, dtypes, alone, vectors) as a `TracedPart` has them."""
    arrays = [jax.lax.stop_gradient(jnp.asarray(operand)) for operand in operands]
    groups: dict[Any, list[int]] = {}
    for index, array in enumerate(arrays):
        groups.setdefault(index if _is_sharded(array) else array.dtype, []).append(index)
    ordered = sorted(groups.items(), key=lambda item: isinstance(item[0], int))
    slots: list[Slot | None] = [None] * len(arrays)
    packed: list[Any] = []
    alone: list[Any] = []
    for number, (name, indices) in enumerate(ordered):
        start = 0
        for index in indices:
            size = int(arrays[index].size)
            slots[index] = Slot(number, start, size)
            start += size
        if isinstance(name, int):
            alone.append(arrays[name])
        else:
            packed.append(_joined([arrays[index] for index in indices]))
    if len(packed) > 1:
        packed = [_joined([_words(group) for group in packed])]
    dtypes = tuple(arrays[indices[0]].dtype for _, indices in ordered)
    return tuple(slot for slot in slots if slot is not None), dtypes, len(alone), [*packed, *alone]


def _joined(arrays: list[Any]) -> Any:
    flat = [jnp.ravel(array) for array in arrays]
    return jnp.concatenate(flat) if len(flat) > 1 else flat[0]


def _is_sharded(array: Any) -> bool:
    """Whether its type says that it is split over devices: joining it with others would move data between them."""
    try:
        return any(axis is not None for axis in jax.typeof(array).sharding.spec)
    except Exception:  # another version of JAX, or a type without a sharding
        return False


@jax.tree_util.register_pytree_node_class
class Logged:
    """What a function logged while it was traced, as an output of it: a pytree of vectors, the rest is static."""

    __slots__ = ("parts", "vectors")

    def __init__(self, vectors: Sequence[Any], parts: tuple[TracedPart, ...]) -> None:
        self.vectors = tuple(vectors)
        self.parts = parts

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[TracedPart, ...]]:
        """See JAX's pytrees."""
        return self.vectors, self.parts

    @classmethod
    def tree_unflatten(cls, parts: tuple[TracedPart, ...], vectors: Sequence[Any]) -> Self:
        """See JAX's pytrees."""
        return cls(vectors, parts)

    def __iter__(self) -> Iterator[tuple[TracedPart, tuple[Any, ...]]]:
        at = 0
        for part in self.parts:
            end = at + part.vectors
            yield part, self.vectors[at:end]
            at = end

    def stacked(self, count: int) -> Logged:
        """The same with a leading axis of `count` steps on every vector."""
        parts = tuple(replace(part, lead=(count, *part.lead)) for part in self.parts)
        return Logged(self.vectors, parts)


class Collector:
    """Takes what is logged while one function is traced, so that it can be an output of that function.

    Values of an inner trace (the body of a scan, a branch, vmap) are not its own and are left to a callback;
    under `grad` the value itself is, not its derivative.
    """

    def __init__(self) -> None:
        self._trace: Any = None
        self._calls: list[tuple[Any, list[Any]]] = []
        self._blocks: list[tuple[TracedPart, Sequence[Any]]] = []

    def __enter__(self) -> Self:
        self._trace = _current_trace()
        _stack().append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _stack().pop()

    def own(self, operands: Sequence[Any]) -> list[Any] | None:
        """The operands as values of this collector's trace; None if some are not."""
        if self._trace is None or not _is_within(_current_trace(), self._trace):
            return None
        out = []
        for operand in operands:
            while isinstance(operand, jax.core.Tracer) and operand._trace is not self._trace:
                operand = getattr(operand, "primal", None)
                if operand is None:
                    return None
            out.append(operand)
        return out

    def take(self, call: Any, operands: list[Any]) -> None:
        """One call's operands, as `own` returned them."""
        self._calls.append((call, operands))

    def take_block(self, part: TracedPart, vectors: list[Any]) -> None:
        """What an inner function logged, as `own` returned its vectors."""
        self._blocks.append((part, vectors))

    def logged(self) -> Logged:
        """All of it; called within the trace."""
        parts: list[TracedPart] = []
        vectors: list[Any] = []
        if self._calls:
            operands: list[Any] = []
            calls: list[tuple[Any, int, int]] = []
            for call, own in self._calls:
                calls.append((call, len(operands), len(operands) + len(own)))
                operands += own
            slots, dtypes, alone, vectors = pack(operands)
            parts.append(TracedPart(tuple(calls), slots, dtypes, alone))
        for part, own_vectors in self._blocks:
            parts.append(part)
            vectors = [*vectors, *own_vectors]
        return Logged(vectors, tuple(parts))


def collector() -> Collector | None:
    """The innermost collector of this thread."""
    stack = _stack()
    return stack[-1] if stack else None


def is_traced(vectors: Sequence[Any]) -> bool:
    """Whether any of them is a tracer."""
    return any([isinstance(vector, jax.core.Tracer) for vector in vectors])  # noqa: C419 - a generator costs more


def call_back(vectors: Sequence[Any], sink: Callable[[list[Any]], None]) -> None:
    """Hand `sink` the packed vectors each time the function runs: one operand, unordered.

    Only arrays that are sharded are operands of their own. The host's side only hands over references: touching JAX
    in a callback can lock up.
    """

    def arrived(*arrays: Any) -> None:
        try:
            sink(list(arrays))
        except Exception:
            # Nothing that goes wrong in logging may end the computation.
            return

    # Not partitioned: a function that JAX shards by itself would call once per device with the same values.
    jax.debug.callback(arrived, *vectors)


def _words(vector: Any) -> Any:
    """A vector's bits as 32-bit words, exactly."""
    flat = jnp.ravel(vector)
    dtype = flat.dtype
    if dtype == jnp.bool_:
        return flat.astype(_WORDS)
    if dtype.name in {"int4", "uint4", "int2", "uint2"}:
        return flat.astype(jnp.int32).view(_WORDS)
    if dtype.itemsize in {4, 8}:
        return jnp.ravel(jax.lax.bitcast_convert_type(flat, _WORDS))
    narrow = jnp.uint16 if dtype.itemsize == 2 else jnp.uint8
    return jax.lax.bitcast_convert_type(flat, narrow).astype(_WORDS)


def _from_words(words: Any, dtype: Any) -> Any:
    if dtype == np.bool_ or dtype.name in {"int4", "uint4", "int2", "uint2"}:
        return words.view(np.int32).astype(dtype)
    if dtype.itemsize in {4, 8}:
        return words.view(dtype)
    return words.astype(np.uint16 if dtype.itemsize == 2 else np.uint8).view(dtype)


def _stack() -> list[Collector]:
    try:
        return _open.stack  # type: ignore[no-any-return]
    except AttributeError:
        _open.stack = []
        return _open.stack  # type: ignore[no-any-return]


def _current_trace() -> Any:
    """JAX's innermost trace; None where this version of JAX does not tell: then everything goes by callback."""
    try:
        from jax._src import core

        return core.trace_ctx.trace
    except (ImportError, AttributeError):
        return None


def _is_within(trace: Any, ours: Any) -> bool:
    """Whether `trace` is ours, or differentiates ours: what happens in it happens once in ours."""
    while trace is not None and trace is not ours:
        if type(trace).__name__ not in {"JVPTrace", "LinearizeTrace"}:
            return False
        trace = getattr(trace, "parent_trace", None)
    return trace is not None
