"""Finds a value's adapter by its type, without importing a library."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from steno.devices.base import Adapter

_ROOTS: Final = {"torch": "torch", "jax": "jax", "jaxlib": "jax"}
_KINDS: Final = 4096
_adapters: dict[str, Adapter] = {}
_libraries: dict[type, str | None] = {}
_concealed: dict[Any, None] = {}


def library_of(kind: type) -> str | None:
    """The library, torch or jax, whose array type this is or inherits from."""
    for base in kind.__mro__:
        module = base.__module__
        root = _ROOTS.get(module.partition(".")[0]) if module.__class__ is str else None
        if root == "torch" and base.__name__ == "Tensor":
            return root
        if root == "jax" and base.__name__.rpartition(".")[2] in {"Array", "ArrayImpl", "Tracer"}:
            return root
    return None


def adapter_of(kind: type) -> Adapter | None:
    """The adapter for values of this type; None for every other value.

    It loads the adapter's code when the library is loaded already, which it is if there is a value of it.
    """
    try:
        library = _libraries[kind]
    except KeyError:
        if len(_libraries) >= _KINDS:
            _libraries.clear()
        library = _libraries[kind] = library_of(kind)
    if library is None or library not in sys.modules:
        return None
    found = _adapters.get(library)
    if found is None:
        if library == "torch":
            from steno.devices._torch import TorchAdapter

            conceal_now()
            found = TorchAdapter()
        else:
            from steno.devices._jax import JaxAdapter

            found = JaxAdapter()
        # Two threads may meet the first value together: one adapter stays.
        found = _adapters.setdefault(library, found)
    return found


def conceal(function: Any) -> None:
    """Have torch.compile call this function as it is: one break of the graph, and never a look inside."""
    shown: Any = getattr(type(function), "__call__", None)  # noqa: B004 - of a native one
    marked: list[Any] = [function, shown] if isinstance(shown, FunctionType) else [function]
    for one in marked:
        one._torchdynamo_disable = True
        one._torchdynamo_disable_msg = "in a compiled function use steno.torch.log, which does not break the graph"
    _concealed[getattr(function, "__wrapped__", function).__code__] = None
    conceal_now()


def conceal_now() -> None:
    """Tell torch's frame hook, if torch is loaded: an attribute alone does not keep it from our frames."""
    if "torch" not in sys.modules or not _concealed:
        return
    try:
        from torch._C._dynamo import eval_frame as hook

        skip = hook._FrameAction.SKIP
        while _concealed:
            hook.set_code_exec_strategy(_concealed.popitem()[0], hook._FrameExecStrategy(skip, skip))
    except Exception:
        # Another version of torch: the attribute is what is left.
        _concealed.clear()


def forget() -> None:
    """In a forked child: devices cannot be used through what the parent made."""
    _adapters.clear()
