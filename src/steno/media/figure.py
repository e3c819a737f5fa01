"""Figures: `steno.Figure`, drawn at the call, since its artists may change or be closed right after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.errors import UsageError
from steno.media import image
from steno.media.arguments import named
from steno.media.arrays import captioned
from steno.media.pixels import rendered
from steno.media.raw import Captured, Raw, capture, capture_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Figure:
    """A matplotlib or plotly figure for `run.log`.

    A matplotlib figure is drawn here, in the caller, for it can be drawn nowhere else: some 50 ms, while all
    encoding is the collector's. A plotly figure is kept as its JSON.

    Args:
        figure: a matplotlib figure, or anything with `to_json()` of plotly's kind.
        caption: shown with it.

    Raises:
        UsageError: it is neither.

    Use it from the thread that owns the figure. When `log` has returned, the picture survives the process.
    """

    __slots__ = ("_caption", "_json", "_pixels")

    @named
    def __init__(self, figure: Any, caption: str | None = None) -> None:
        self._caption = captioned(caption)
        self._json: bytes | None = None
        self._pixels: NDArray[Any] | None = None
        if hasattr(figure, "figure") and not hasattr(figure, "canvas"):
            figure = figure.figure  # axes, or a grid of them
        if hasattr(figure, "canvas") and hasattr(figure, "savefig"):
            self._pixels = rendered(figure)
        elif hasattr(figure, "to_json") and hasattr(figure, "to_plotly_json"):
            self._json = str(figure.to_json()).encode()
        else:
            msg = f"Figure takes a matplotlib or plotly figure, not {type(figure).__name__}"
            raise UsageError(msg)

    def __repr__(self) -> str:
        return "steno.Figure(plotly)" if self._pixels is None else f"steno.Figure({self._pixels.shape})"

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        if self._pixels is None:
            assert self._json is not None
            return capture_bytes("figure", {"ext": "json"}, self._json, {"ext": "json", **self._caption})
        meta = {"ext": "png", "shape": list(self._pixels.shape), **self._caption}
        return capture("figure", {"axes": "HWC"}, {"pixels": self._pixels}, meta)


def encode(raw: Raw, path: Path) -> None:
    """Write the PNG of drawn pixels."""
    image.encode(raw, path)


def from_raw(raw: Raw) -> Any:
    """The pixels, uint8 (H, W, 4), or a plotly figure's JSON as plain data."""
    if raw.ext == "json":
        return _plain(bytes(raw.body))
    return image.from_raw(raw)


def from_file(path: Path) -> Any:
    """The same, from the encoded file."""
    return _plain(path.read_bytes()) if path.suffix == ".json" else image.from_file(path)


def _plain(data: bytes) -> Any:
    import json

    return json.loads(data)
