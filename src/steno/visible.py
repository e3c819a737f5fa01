"""Text on its way to a terminal: what would steer the terminal is shown instead of being obeyed.

Keys, texts, tags, notes and names come from a program, and a run may come from a stranger. An escape sequence among
them could retitle the window, hide a line, or write to the clipboard; a bidirectional override shows a path backwards.
"""

from __future__ import annotations

import re
from typing import Final

_STEERS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates of direction; separators
    "\U000e0001-\U000e007f\ufff9-\ufffb"  # tags and annotations, which nobody sees
    "\ud800-\udfff]"  # halves of surrogate pairs, which no stream takes
)


def visible(text: str) -> str:
    """The text with each character that steers a terminal as Python's source has it. Lines stay lines."""
    if text.isascii() and text.isprintable():
        return text
    return _STEERS.sub(_shown, text)


def on_one_line(text: str) -> str:
    """The same without tabs and line feeds: what comes next stands on a line of its own, whatever was logged."""
    return visible(text).replace("\t", " ").replace("\n", " ")


def in_json(text: str) -> str:
    """JSON text whose strings hold such characters as JSON's own escapes: the same value to a program."""
    if text.isascii() and text.isprintable():
        return text
    return _STEERS.sub(_escaped, text)


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"\\u{unit:04x}" for unit in memoryview(found[0].encode("utf-16-le", "surrogatepass")).cast("H"))
