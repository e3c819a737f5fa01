"""Array-likes to numpy without a copy, and the checks that all kinds share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def as_array(data: Any, what: str) -> NDArray[Any]:
    """The array's own memory where it can be shared: numpy, torch on the CPU, or anything numpy reads.

    A tensor on a device is copied to the host here, which waits for it.

    Raises:
        UsageError: not numbers, or empty.
    """
    import numpy as np

    module = type(data).__module__.partition(".")[0]
    if isinstance(data, np.ndarray):
        array = data
    elif module == "torch" and hasattr(data, "detach"):
        tensor = data.detach()
        if tensor.device.type != "cpu":
            tensor = tensor.cpu()
        if str(tensor.dtype) in {"torch.bfloat16", "torch.float8_e4m3fn", "torch.float8_e5m2"}:
            tensor = tensor.float()
        array = tensor.numpy()
    else:
        try:
            array = np.asarray(data)
        except (ValueError, TypeError) as error:
            msg = f"{what}: {type(data).__name__} is not an array of numbers: {error}"
            raise UsageError(msg) from error
    if array.dtype.kind == "V" and array.dtype.type.__module__ == "ml_dtypes":
        array = array.astype(np.float32)
    if array.dtype.kind not in "buif":
        msg = f"{what}: an array of dtype {array.dtype} holds no numbers; convert it to uint8 or float32"
        raise UsageError(msg)
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.size == 0:
        msg = f"{what}: the array is empty (shape {array.shape})"
        raise UsageError(msg)
    return array


def extent(array: NDArray[Any], what: str) -> tuple[float, float]:
    """(least, greatest) of all elements.

    Raises:
        UsageError: an element is NaN or infinite.
    """
    import numpy as np

    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        msg = f"{what}: NaN or infinite elements; replace them, for instance with np.nan_to_num"
        raise UsageError(msg)
    return low, high


def is_torch(data: Any) -> bool:
    """Whether it is a torch tensor, whose images have channels first."""
    return type(data).__module__.partition(".")[0] == "torch"


def text_of(value: Any, what: str) -> str:
    """A str that can be stored.

    Raises:
        UsageError: not a str, or not valid unicode.
    """
    if not isinstance(value, str):
        msg = f"{what} must be a str, not {type(value).__name__}"
        raise UsageError(msg)
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"{what} is not valid unicode ({error.reason} at {error.start})"
        raise UsageError(msg) from None
    return text


def captioned(caption: Any) -> dict[str, str]:
    """The meta a caption makes; none without one."""
    return {} if caption is None else {"caption": text_of(caption, "caption")}
