"""Words: `steno.Text` and `steno.Html`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from steno import files
from steno.errors import UsageError
from steno.media.arguments import named
from steno.media.arrays import captioned, text_of
from steno.media.raw import Captured, Raw, capture_bytes

if TYPE_CHECKING:
    from pathlib import Path

INLINE_BYTES: Final = 64 << 10
"""Longer texts have a file of their own."""


class Text:
    """Markdown for `run.log`.

    Args:
        text: what to show; may be empty.

    Raises:
        UsageError: not a str.

    When `log` has returned, the text survives the process.
    """

    __slots__ = ("_text",)

    @named
    def __init__(self, text: str) -> None:
        self._text = text_of(text, "Text")

    def __repr__(self) -> str:
        return f"steno.Text({self._text[:40]!r})"

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        data = self._text.encode()
        if len(data) <= INLINE_BYTES:
            return Captured("text", {"text": self._text})
        return capture_bytes("text", {"ext": "md"}, data, {"ext": "md"})


class Html:
    """A page of HTML for `run.log`, kept as it is; readers must not run it unless they trust the run.

    Args:
        data: the HTML; or the path of an .html file, as a `pathlib.Path`, read here; or an open text file.
        caption: shown with it.

    Raises:
        UsageError: neither, or empty.

    When `log` has returned, the page survives the process.
    """

    __slots__ = ("_caption", "_data")

    @named
    def __init__(self, data: Any, caption: str | None = None) -> None:
        self._caption = captioned(caption)
        if isinstance(data, os.PathLike):
            try:
                with open(data, encoding="utf-8", opener=files.regular) as file:
                    data = file.read()
            except (OSError, UnicodeDecodeError) as error:
                msg = f"Html: {os.fspath(data)} cannot be read: {getattr(error, 'strerror', None) or error}"
                raise UsageError(msg) from error
        elif hasattr(data, "read"):
            data = data.read()
        self._data = text_of(data, "Html").encode()
        if not self._data:
            msg = "Html: it is empty"
            raise UsageError(msg)

    def __repr__(self) -> str:
        return f"steno.Html({len(self._data)} bytes)"

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        return capture_bytes("html", {"ext": "html"}, self._data, {"ext": "html", **self._caption})


def from_raw(raw: Raw) -> str:
    """The text."""
    return str(raw.body, "utf-8")


def from_file(path: Path) -> str:
    """The text of its file."""
    return path.read_text(encoding="utf-8")
