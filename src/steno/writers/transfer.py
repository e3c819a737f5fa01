"""Device tensors on their way to the host: one packed copy per device and dtype, read when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def started_fetches(tensors: Mapping[str, Any]) -> list[Callable[[], dict[str, Any]]]:
    """Start copying tensors, as they are now, to the host.

    Never waits for a CUDA device; the copies go behind what the current stream of each tensor's own device has to do.

    Args:
        tensors: detached, on any devices but the CPU.

    Returns:
        One function per device, which waits and gives {key: number, nested list, or None if it cannot be read}.
    """
    by_device: dict[Any, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        by_device.setdefault(tensor.device, {})[key] = tensor
    return [_started_on(device, group) for device, group in by_device.items()]


def _started_on(device: Any, tensors: Mapping[str, Any]) -> Callable[[], dict[str, Any]]:
    cuda = device.type == "cuda"
    if cuda and torch.cuda.is_current_stream_capturing():
        # Nothing runs while a graph is captured: there are no values yet.
        return lambda: dict.fromkeys(tensors)
    by_dtype: dict[Any, list[str]] = {}
    packed: list[tuple[list[str], Any]] = []
    whole: dict[str, Any] = {}
    event: Any = None
    with torch.no_grad():
        for key, tensor in tensors.items():
            if tensor.numel() == 1 and tensor.layout == torch.strided and not tensor.is_quantized:
                by_dtype.setdefault(tensor.dtype, []).append(key)
            else:
                whole[key] = _copied(tensor, cuda=cuda)
        for keys in by_dtype.values():
            together = torch.stack([tensors[key].reshape(()) for key in keys])
            # Packing has made a copy already; a device that cannot be asked is read later.
            packed.append((keys, together.to("cpu", non_blocking=True) if cuda else together))
        if cuda:
            # On that device's own current stream: an event of another device says nothing about these copies.
            with torch.cuda.device(device):
                event = torch.cuda.Event()
                event.record()

    def fetch() -> dict[str, Any]:
        if event is not None:
            event.synchronize()
        out: dict[str, Any] = {}
        for keys, together in packed:
            out.update(zip(keys, together.tolist(), strict=True))
        for key, copied in whole.items():
            try:
                out[key] = copied.item() if copied.numel() == 1 else copied.tolist()
            except Exception:
                out[key] = None
        return out

    return fetch


def _copied(tensor: Any, *, cuda: bool) -> Any:
    """A copy as the tensor is now; None for one that cannot be copied."""
    try:
        if tensor.layout != torch.strided:
            tensor = tensor.to_dense()
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        # The host's copy lies in pinned memory, so that asking for it does not wait.
        return tensor.to("cpu", non_blocking=True) if cuda else tensor.clone()
    except RuntimeError:
        return None
