"""torch beyond `steno.log`: logging in a compiled function, and values that are needed now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from steno.errors import UsageError

if TYPE_CHECKING:
    import torch

    def log(data: Mapping[str, Any], step: int | None = None) -> None:
        """See `_log`, which it is."""


__all__ = ["log", "metrics_safe"]

_operator: Any = None


def __getattr__(name: str) -> Any:
    """`log` is made when first asked for, together with its operator: importing this module does not import torch."""
    if name != "log":
        msg = f"module 'steno.torch' has no attribute {name!r}"
        raise AttributeError(msg)
    _define()
    globals()["log"] = _log
    return _log


def _log(data: Mapping[str, Any], step: int | None = None) -> None:
    """`steno.log` for functions that `torch.compile` compiles: no break of the graph.

    Takes tensors and numbers, nested dicts too. It becomes the custom operator `steno::log`, which has an effect,
    so it is neither moved nor removed; outside a compiled function it does what `steno.log` does.

    Thread-safe; a forked child logs into a journal of its own. If the process dies, values that are still on a device
    are lost.

    Args:
        data: tensors and numbers by key; nested dicts flatten with "/".
        step: a whole number; None: the run's next automatic step.

    Raises:
        NoRunError: there was no `steno.init`.
        UsageError: a value is neither a tensor nor a number.
    """
    tensors: list[torch.Tensor] = []
    keys: list[str] = []
    numbers: list[float] = []
    names: list[str] = []
    _split("", data, tensors, keys, numbers, names)
    _operator(tensors, keys, numbers, names, step)


_log.__name__ = _log.__qualname__ = "log"


def _split(
    prefix: str, data: Mapping[str, Any], tensors: list[Any], keys: list[str], numbers: list[float], names: list[str]
) -> None:
    import torch

    for key, value in data.items():
        if isinstance(value, torch.Tensor):
            tensors.append(value.detach())
            keys.append(f"{prefix}{key}")
        elif isinstance(value, dict):
            _split(f"{prefix}{key}/", value, tensors, keys, numbers, names)
        elif isinstance(value, (int, float)):
            numbers.append(float(value))
            names.append(f"{prefix}{key}")
        else:
            msg = f"{prefix}{key} is a {type(value).__name__}: steno.torch.log takes tensors and numbers"
            raise UsageError(msg)


def _record(values: list[Any], keys: list[str], numbers: list[float], names: list[str], step: int | None) -> None:
    from steno.face import log as log_now

    log_now({**dict(zip(keys, values, strict=True)), **dict(zip(names, numbers, strict=True))}, step)


def _define() -> None:
    """Define the operator, once a process."""
    global _operator
    if _operator is not None:
        return
    import torch

    unsafe = getattr(torch.Tag, "cudagraph_unsafe", None)
    schema = "(Tensor[] values, str[] keys, float[] numbers, str[] names, SymInt? step) -> ()"
    made: Any = torch.library.custom_op(
        "steno::log", _record, mutates_args=(), schema=schema, tags=[unsafe] if unsafe is not None else []
    )
    made.register_fake(lambda *_: None)
    try:
        from torch._library.effects import EffectType

        made.register_effect(EffectType.ORDERED)
    except (ImportError, AttributeError):
        from torch._higher_order_ops.effects import _EffectType, _register_effectful_op

        _register_effectful_op(torch.ops.steno.log.default, _EffectType.ORDERED)
    _operator = torch.ops.steno.log.default


def metrics_safe(metrics: Any, *, keys_sep: str = "/") -> dict[str, Any]:
    """Metrics as Python numbers and lists, now: it waits for each device once.

    `steno.log` needs no such thing; this is for code that must have the numbers at once, or send them elsewhere.

    Args:
        metrics: dict of tensors, numbers and anything else, nested dicts too; or a TensorDict.
        keys_sep: joins the nested keys of a TensorDict. Plain dicts stay nested.

    Returns:
        The same keys in the same order. A tensor of one element is its number, a larger one a nested list;
        everything else is passed through.

    Raises:
        UsageError: a tensor has no values (meta).
    """
    import torch

    if not isinstance(metrics, dict) and hasattr(metrics, "flatten_keys"):
        metrics = metrics.flatten_keys(keys_sep).to_dict()
    moved: list[Any] = []
    events: list[Any] = []
    devices: dict[Any, None] = {}

    def move(value: Any, key: str) -> Any:
        if isinstance(value, Mapping):
            return {name: move(inner, f"{key}{name}/") for name, inner in value.items()}
        if not isinstance(value, torch.Tensor):
            return value
        # Of a distributed tensor this process's part, never a collective.
        value = getattr(value, "_local_tensor", value).detach()
        if value.is_meta:
            msg = f"{key.rstrip('/')} is a meta tensor, which has no values; leave it out"
            raise UsageError(msg)
        if value.layout is not torch.strided:
            value = value.to_dense()
        if not value.is_cpu:
            devices[value.device] = None
            value = value.to("cpu", non_blocking=value.is_cuda)
        moved.append(value)
        return _Moved(len(moved) - 1)

    shape = move(metrics, "")
    for device in devices:
        if device.type == "cuda":
            # On that device's own current stream: an event of another device says nothing about these copies.
            with torch.cuda.device(device):
                event = torch.cuda.Event()
                event.record()
                events.append(event)
    for event in events:
        event.synchronize()
    values = [value.item() if value.numel() == 1 else value.tolist() for value in moved]
    out: dict[str, Any] = _filled(shape, values)
    return out


class _Moved:
    """The place of a tensor among those being moved."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


def _filled(shape: Any, values: list[Any]) -> Any:
    if isinstance(shape, _Moved):
        return values[shape.index]
    return {key: _filled(value, values) for key, value in shape.items()} if isinstance(shape, dict) else shape
