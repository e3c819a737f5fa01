"""Array-likes to numpy without a copy, and what all kinds ask of their numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.utf8 import escaped

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMPY_FLOATS: Final = frozenset({"torch.float16", "torch.float32", "torch.float64"})


def as_array(data: Any, what: str, *, may_be_empty: bool = False) -> NDArray[Any]:
    """The array's own memory where it can be shared: numpy, torch on the CPU, or anything numpy reads.

    A tensor on a device is copied to the host here, which waits for it. Of complex numbers the real part is taken
    (`left_out` says so), and numbers that are objects or text, such as a Decimal, become float64.

    Raises:
        UsageError: not numbers, or empty.
    """
    import numpy as np

    module = type(data).__module__.partition(".")[0]
    if isinstance(data, np.ndarray):
        array: NDArray[Any] = unmasked(data)
    elif module == "torch" and hasattr(data, "detach"):
        array = _of_torch(data, what)
    else:
        try:
            array = np.asarray(data)
        except Exception as error:
            msg = f"{what}: {type(data).__name__} is not an array of numbers: {error}"
            raise UsageError(msg) from error
    if array.dtype.kind == "V" and array.dtype.type.__module__ == "ml_dtypes":
        array = array.astype(np.float32)
    if array.dtype.kind == "c":
        array = array.real
    elif array.dtype.kind in "OUS" and data is not None:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            pass
    if array.dtype.kind not in "buif":
        msg = f"{what}: an array of dtype {array.dtype} holds no numbers; convert it to uint8 or float32"
        raise UsageError(msg)
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.size == 0 and not may_be_empty:
        msg = f"{what}: the array is empty (shape {array.shape})"
        raise UsageError(msg)
    return array


def _of_torch(tensor: Any, what: str) -> NDArray[Any]:
    """A tensor of any layout, type and device that has its values in one array."""
    reason = ""
    try:
        layout = str(tensor.layout).removeprefix("torch.")
        if tensor.is_meta:
            reason = "a meta tensor has no values; record a tensor on a device"
        elif tensor.is_nested:
            reason = "a nested tensor is no array; record x.to_padded_tensor(0.0), or each of x.unbind()"
        elif layout != "strided":
            reason = f"a {layout} tensor is no array; record x.to_dense() or x.values()"
        else:
            host = tensor.detach().cpu()
            if host.is_quantized:
                host = host.dequantize()
            if host.is_complex():
                host = host.real
            if host.is_floating_point() and str(host.dtype) not in _NUMPY_FLOATS:
                host = host.float()
            return host.resolve_neg().numpy()  # type: ignore[no-any-return]
    except Exception as error:
        raise UsageError(f"{what}: torch cannot read the tensor here: {error}") from error
    raise UsageError(f"{what}: {reason}")


def left_out(data: Any, what: str) -> str:
    """What `as_array` does not take of the data; "" when it takes all."""
    return f"{what}: of complex numbers the real part was taken" if "complex" in str(getattr(data, "dtype", "")) else ""


def unmasked(data: Any, instead: float | None = None) -> Any:
    """An array in which something stands for what its mask hides; NaN by default. Anything else as it is."""
    import numpy as np

    if data.__class__ is np.ndarray or not isinstance(data, np.ma.MaskedArray):
        return data
    if not np.ma.is_masked(data):
        return data.data
    return np.ma.filled(data.astype(np.float64), np.nan) if instead is None else data.filled(instead)


def seen(data: Any) -> Any:
    """The elements that a mask leaves, in one row. Anything without a mask as it is."""
    import numpy as np

    return data.compressed() if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data) else data


def joined(*remarks: str) -> str:
    """Remarks as one, without those that say nothing."""
    return "; ".join(filter(None, remarks))


def extent(array: NDArray[Any]) -> tuple[float, float, bool]:
    """(least and greatest of the finite elements, 0 where there are none; whether some are not finite)."""
    import numpy as np

    if not array.size:
        return 0.0, 0.0, False
    with np.errstate(invalid="ignore"):
        low, high = float(array.min()), float(array.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high, False
    return (*extent(array[np.isfinite(array)])[:2], True)


def is_torch(data: Any) -> bool:
    """Whether it is a torch tensor, whose images have channels first."""
    return type(data).__module__.partition(".")[0] == "torch"


def text_of(value: Any, what: str) -> str:
    """A str as it can be stored: what is no valid unicode is escaped.

    Raises:
        UsageError: not a str.
    """
    if not isinstance(value, str):
        msg = f"{what} must be a str, not {type(value).__name__}"
        raise UsageError(msg)
    return escaped(str.__str__(value))


def captioned(caption: Any) -> dict[str, str]:
    """The meta a caption makes; none without one."""
    return {} if caption is None else {"caption": text_of(caption, "caption")}
