"""torch tensors: host scalars at the call, device values through the staging rows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import torch

from steno.devices._host import array
from steno.devices._staging import GATHERED, StagingRows
from steno.devices.base import LATER, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steno.devices.base import Late, Room

_PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})
_capturing = torch.cuda.is_current_stream_capturing
_functorch: Any = torch._C._functorch
_NUMBERS = frozenset({float, int, bool})


class TorchAdapter:
    """See `steno.devices.base.Adapter`. CUDA streams are the ones current on each tensor's own device."""

    def __init__(self) -> None:
        self._rows: dict[int, StagingRows] = {}
        self._lock = threading.Lock()

    def scalar(self, value: Any) -> float | int | bool:
        """A one-element CPU tensor's number."""
        if value.is_cpu:
            try:
                number = value.item()
            except RuntimeError as error:
                raise Refused(str(error)) from None
            if number.__class__ in _NUMBERS:
                return cast("float", number)
        msg = "not a number on the host"
        raise Refused(msg)

    def now(self, value: Any) -> Any:
        """See `Adapter.now`. A CPU tensor is read at once; a DTensor's local part, never a collective."""
        if value.__class__ not in _PLAIN:
            value = _local(value)
        if _transform() is not None:
            value = _unwrapped(value)
        if value.is_cuda:
            if _capturing():
                msg = (
                    "it was logged while a CUDA graph was being captured, when nothing has run yet; "
                    "log the graph's static output tensors after each replay()"
                )
                raise Refused(msg)
            if value.dtype in GATHERED and value.layout is torch.strided and value.numel() == 1:
                return LATER
        if value.is_meta:
            msg = "a meta tensor has no values; log a tensor on a device"
            raise Refused(msg)
        if value.is_nested:
            msg = "a nested tensor is not recorded; log x.unbind(), or its mean"
            raise Refused(msg)
        if value.layout is not torch.strided:
            msg = f"a {str(value.layout).removeprefix('torch.')} tensor is not recorded; log x.to_dense() or x.values()"
            raise Refused(msg)
        if value.is_complex():
            msg = "a complex tensor cannot be recorded; log x.real and x.imag"
            raise Refused(msg)
        size = value.numel()
        if size == 0:
            msg = f"the tensor is empty (shape {tuple(value.shape)})"
            raise Refused(msg)
        if value.is_cpu:
            try:
                return value.item() if size == 1 else array(value)
            except RuntimeError as error:
                msg = f"torch cannot read it here ({_first_line(error)})"
                raise Refused(msg) from None
        if value.is_quantized:
            msg = "a quantized tensor on a device is not recorded; log x.dequantize()"
            raise Refused(msg)
        return LATER

    def begin(self, values: Sequence[Any], room: Room) -> list[Late]:
        """See `Adapter.begin`: one launch per dtype and two small copies per device."""
        local = [value if value.__class__ in _PLAIN else _local(value) for value in values]
        if _transform() is None:
            return self._by_device(local, room)
        local = [_unwrapped(value) for value in local]
        with torch._C._DisableFuncTorch():
            return self._by_device(local, room)

    def _by_device(self, values: Sequence[Any], room: Room) -> list[Late]:
        by_device: dict[Any, list[int]] = {}
        for place, value in enumerate(values):
            by_device.setdefault(value.device, []).append(place)
        late: list[Late] = []
        for device, places in by_device.items():
            late += self._started(device, [values[place] for place in places], places, room)
        return late

    def _started(self, device: Any, values: Sequence[Any], places: Sequence[int], room: Room) -> list[Late]:
        """One device's; what cannot be fetched costs only itself."""
        try:
            if device.type == "cuda":
                return self._rows_of(device).begin(values, places, room)
            return [Cloned(values, places)]
        except Refused:
            return []  # there is no room: counted
        except Exception as error:
            if len(values) == 1:
                return [Lost(places, error)]
        late: list[Late] = []
        for value, place in zip(values, places, strict=True):
            late += self._started(device, [value], [place], room)
        return late

    def _rows_of(self, device: Any) -> StagingRows:
        rows = self._rows.get(device.index)
        if rows is None:
            from steno.devices._cuda import Cuda

            with self._lock:
                rows = self._rows.get(device.index)
                if rows is None:
                    rows = self._rows[device.index] = StagingRows(Cuda(device))
        return rows


class Cloned:
    """Values of a device whose progress cannot be asked (MPS, XPU): cloned there, read on the worker, which waits."""

    __slots__ = ("_values", "lane", "places", "size_bytes")

    def __init__(self, values: Sequence[Any], places: Sequence[int]) -> None:
        with torch.no_grad():
            self._values = [value.detach().clone() for value in values]
        self.lane = ("torch", str(values[0].device))
        self.places = places
        self.size_bytes = sum(value.numel() * value.element_size() for value in self._values)

    def ready(self) -> bool:
        """True: reading waits, on the worker's thread."""
        return True

    def read(self) -> list[Any]:
        """See `Late.read`."""
        values, self._values = self._values, []
        return [_read(value) for value in values]

    def drop(self) -> None:
        """See `Late.drop`."""
        self._values = []


class Lost:
    """A value that could not be fetched: tells why in its turn."""

    __slots__ = ("_why", "lane", "places")
    size_bytes = 0

    def __init__(self, places: Sequence[int], error: Exception) -> None:
        self.places = places
        self.lane = "lost"
        self._why = Refused(f"torch cannot copy it from its device ({_first_line(error)})")

    def ready(self) -> bool:
        """True."""
        return True

    def read(self) -> list[Any]:
        """See `Late.read`."""
        return [self._why] * len(self.places)

    def drop(self) -> None:
        """Nothing."""


def _read(value: Any) -> Any:
    try:
        return value.item() if value.numel() == 1 else array(value.cpu())
    except RuntimeError as error:
        return Refused(f"torch cannot read it ({_first_line(error)})")


def _local(value: Any) -> Any:
    """The values of this process in a tensor subclass.

    Raises:
        Refused: there are none.
    """
    kind = type(value)
    module = kind.__module__
    if module.startswith("torch._subclasses"):
        msg = f"a {kind.__name__} has no values; log outside the traced function, or through steno.torch.log"
        raise Refused(msg)
    if kind.__name__ == "AsyncCollectiveTensor":
        return value.trigger_wait()
    if kind.__name__ == "DTensor":
        # Not to_local(): that is a function of autograd, and would keep the graph.
        inner = value._local_tensor
        return inner if inner.__class__ in _PLAIN else _local(inner)
    return value


def _transform() -> Any:
    """The innermost transform of torch.func that is at work; None: there is none."""
    return _functorch.peek_interpreter_stack()


def _unwrapped(value: Any) -> Any:
    """The value itself within torch.func's grad, jvp, vjp.

    Raises:
        Refused: it is one of many, which vmap computes together.
    """
    while _functorch.is_functorch_wrapped_tensor(value):
        if _functorch.is_batchedtensor(value):
            msg = "within torch.func.vmap a tensor has no value of its own; return it, and log what vmap returns"
            raise Refused(msg)
        value = _functorch.get_unwrapped(value)
    return value


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]
