"""A torch tensor in host memory as a numpy array."""

from __future__ import annotations

from typing import Any

import torch

_NUMPY = frozenset(
    {torch.float32, torch.float64, torch.float16, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32}
    | {torch.int64, torch.uint16, torch.uint32, torch.uint64}
)


def array(value: Any) -> Any:
    """A host tensor as a numpy array; types numpy lacks become float32, exactly."""
    if value.is_quantized:
        value = value.dequantize()
    value = value.detach()
    if value.dtype not in _NUMPY:
        value = value.float()
    return value.resolve_neg().numpy()
