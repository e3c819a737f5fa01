"""Records of functions that JAX compiles: described while tracing, journalled each time they run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno.capture.late.device_queue import QUEUE, Account
from steno.capture.snapshot import HOLE
from steno.devices import _jax as arrays_of_jax
from steno.devices import _traced as traced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from steno.capture.late.sink import RecordSink
    from steno.devices._traced import Logged, TracedPart

_TRACED: Final = object()
_calls_back = False


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """One `log` in a traced function: what is known of its record while tracing.

    `paths` name the operands in order; if the step is one of them it is the last, and `step` is `_TRACED`.
    """

    recorder: RecordSink
    template: dict[str, Any]
    paths: tuple[str, ...]
    step: Any
    level: int | None
    arrays: str | None
    promised: dict[str, Any]
    """The template with holes in it."""

    @property
    def account(self) -> Account:
        """Where its late values are counted."""
        return self.recorder.successor().account

    def journal(self, values: Sequence[Any], stamp: int) -> None:
        """Append the record with the values of one execution."""
        recorder = self.recorder.successor()
        step = self.step
        if step is _TRACED:
            *values, step = values
            step = recorder.snapshot.step(step)
        late = recorder.encodable(dict(zip(self.paths, values, strict=True)), self.arrays)
        self._append(recorder, {**self.template, **late}, step, stamp)

    def promise(self, stamp: int) -> Callable[[list[Any]], None]:
        """Append the record with holes; returns what takes its values."""
        recorder = self.recorder.successor()
        seq = self._append(recorder, self.promised, self.step, stamp)
        return recorder.fill(seq, self.paths, self.arrays)

    def _append(self, recorder: RecordSink, values: dict[str, Any], step: int | None, stamp: int) -> int:
        return recorder.append(values, step, stamp, level=self.level, arrays=self.arrays)


@dataclass(frozen=True, eq=False, slots=True)
class Line:
    """Something else than a record that wants a traced function's values each time it runs."""

    callback: Callable[[Sequence[Any]], None]
    account: Account
    step: None = None

    def journal(self, values: Sequence[Any], stamp: int) -> None:  # noqa: ARG002 - as Call's
        """Tell the values of one execution."""
        self.callback(values)

    def promise(self, stamp: int) -> Callable[[list[Any]], None]:  # noqa: ARG002 - as Call's
        """What takes the values."""
        return self.callback


def stage(recorder: RecordSink, data: Any, step: Any, *, level: Any, arrays: Any) -> None:
    """Have a record with tracers in it journalled at each execution, not now. Bad values are reported now."""
    prepared = recorder.snapshot.prepare(data, traced=True)
    if prepared is None:
        return
    values, pending = prepared
    template = _flat(values, {one.key for one in pending})
    operands = [one.value for one in pending]
    known: Any = step
    if isinstance(step, arrays_of_jax.Tracer):
        if step.shape != () or step.dtype.kind not in "iu":
            recorder.report("step", f"the traced step is a {step.dtype}{list(step.shape)}, not an integer")
            known = None
        else:
            known = _TRACED
            operands.append(step)
    else:
        known = recorder.snapshot.step(step)
    paths = tuple(one.key for one in pending)
    call = Call(recorder, template, paths, known, level, arrays, {**template, **dict.fromkeys(paths, HOLE)})
    _emit(call, operands)


def call_with(values: Sequence[Any], callback: Callable[[Sequence[Any]], None], account: Account) -> None:
    """Have `tell` called with the values, some of which are traced, at each execution, on the device thread."""
    _emit(Line(callback, account), list(values))


def wait_for_callbacks(deadline: float | None) -> bool:
    """Wait for the callbacks of this thread's computations; False at the deadline (monotonic seconds)."""
    return not _calls_back or arrays_of_jax.wait_for_callbacks(deadline)


def _emit(call: Call | Line, operands: list[Any]) -> None:
    collector = traced.collector()
    own = collector.own(operands) if collector is not None else None
    if collector is not None and own is not None:
        collector.take(call, own)
        return
    slots, dtypes, alone, vectors = traced.pack(operands)
    _call_back(traced.TracedPart(((call, 0, len(operands)),), slots, dtypes, alone), vectors)


def _call_back(part: TracedPart, vectors: Sequence[Any]) -> None:
    global _calls_back
    _calls_back = True
    traced.call_back(vectors, lambda arrays: _arrived(part, arrays))


def deliver(logged: Logged) -> None:
    """Journal what a function logged, which came as an output of it; inside another traced function, pass it on."""
    for part, vectors in logged:
        if not traced.is_traced(vectors):
            _submit(part, vectors)
            continue
        collector = traced.collector()
        own = collector.own(vectors) if collector is not None else None
        if collector is not None and own is not None:
            collector.take_block(part, own)
        else:
            _call_back(part, vectors)


def _arrived(part: TracedPart, arrays: list[Any]) -> None:
    """In a callback: only hand it over."""
    stamp = time.monotonic_ns()
    late = arrays_of_jax.Arrays(arrays, range(len(arrays)), _known(part)[0])

    def sink(values: list[Any]) -> None:
        _journal(part, values, stamp)

    QUEUE.submit(late, sink, part.calls[0][0].account)


def _submit(part: TracedPart, vectors: Sequence[Any]) -> None:
    stamp = time.monotonic_ns()
    size_bytes, stepped = _known(part)
    late = arrays_of_jax.Arrays(vectors, range(len(vectors)), size_bytes)
    account = part.calls[0][0].account
    if stepped:

        def sink(values: list[Any]) -> None:
            _journal(part, values, stamp)

    else:
        keeps = [(call.promise(stamp), first, last) for call, first, last in part.calls]

        def sink(values: list[Any]) -> None:
            _raise_refused(values)
            for row in part.rows(values):
                for keep, first, last in keeps:
                    keep(row[first:last])

    QUEUE.submit(late, sink, account)


_parts: dict[TracedPart, tuple[int, bool]] = {}


def _known(part: TracedPart) -> tuple[int, bool]:
    """(its size in bytes, whether its records are journalled only when their steps have come)."""
    known = _parts.get(part)
    if known is None:
        if len(_parts) >= 1024:
            _parts.clear()
        stepped = bool(part.lead) or any(call.step is _TRACED for call, _, _ in part.calls)
        known = _parts[part] = (part.size_bytes, stepped)
    return known


def _journal(part: TracedPart, vectors: Sequence[Any], stamp: int) -> None:
    _raise_refused(vectors)
    for row in part.rows(vectors):
        for call, first, last in part.calls:
            call.journal(row[first:last], stamp)


def _raise_refused(values: Sequence[Any]) -> None:
    for value in values:
        if isinstance(value, Exception):
            raise value


def _flat(values: dict[str, Any], holes: set[str], prefix: str = "") -> dict[str, Any]:
    """Nested values by their path, without the holes; a list with holes in it element by element."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        if path in holes:
            continue
        if value.__class__ is dict:
            out |= _flat(value, holes, f"{path}/")
        elif value.__class__ is list and any(hole.startswith(f"{path}/") for hole in holes):
            out |= _flat({str(index): item for index, item in enumerate(value)}, holes, f"{path}/")
        else:
            out[path] = value
    return out
