"""Places kept in the run for results to come: `step_at="submit"`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno.capture.nothing import Nothing
from steno.journal import format as fmt

if TYPE_CHECKING:
    from steno.capture.recorder import Recorder

_HOLE: Final = msgspec.msgpack.Ext(fmt.EXT_HOLE, b"")


def reserve(recorder: Recorder | Nothing) -> int | None:
    """Journal a record without values, numbered in its turn; returns its sequence number (mode="off": None)."""
    if isinstance(recorder, Nothing):
        return None
    appender = recorder.appender
    mono, seq = appender.stamp()
    appender.append((fmt.RICH, mono, seq, {fmt.RESERVED: _HOLE}, None, {}))
    return seq


def complete(recorder: Recorder | Nothing, seq: int, data: Mapping[str, Any]) -> None:
    """Journal the values that belong to a reserved place; none at all gives the place up.

    Off the training thread: a value still on its way from a device is waited for.
    """
    if isinstance(recorder, Nothing):
        return
    prepared = recorder.snapshot.prepare(_arrived(data)) if data else None
    recorder.fill_in(seq, {} if prepared is None else prepared[0])


def _arrived(value: Any) -> Any:
    """The value with device arrays brought to the host: a fill has no holes of its own."""
    if isinstance(value, Mapping):
        return {key: _arrived(item) for key, item in value.items()}
    if value.__class__ is list or value.__class__ is tuple:
        return [_arrived(item) for item in value]
    if type(value).__module__.partition(".")[0] in {"jax", "jaxlib"} and hasattr(value, "__array__"):
        import numpy as np

        return np.asarray(value)
    if type(value).__module__ == "torch" and getattr(value, "is_cuda", False):
        return value.detach().cpu()
    return value
