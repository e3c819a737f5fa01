"""Output that cannot show every character: ASCII in place of what is drawn, escapes for the rest."""

from __future__ import annotations

import codecs
import contextlib
import sys
from typing import Final

_DRAWN: Final = {
    **dict.fromkeys("─━═╌╍┄┅╴╶╸╺", "-"),
    **dict.fromkeys("│┃║┆┇╎╏", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼┏┓┗┛┣┫┳┻╋╔╗╚╝╠╣╦╩╬╭╮╯╰╡╞", "+"),
    **dict.fromkeys("•●■▪▌▐█▀▄", "*"),
    "→": "->", "←": "<-", "…": "...", "\u2013": "-", "\u2014": "-", "\u00d7": "x",
    "µ": "u", "≤": "<=", "≥": ">=", "±": "+-",
}  # fmt: skip
NAME: Final = "steno-drawn"


def replaced(text: str) -> str:
    """The text in ASCII: what is drawn by what is like it, all else as Python writes it in a string."""
    return "".join(map(_replaced, text))


def _replaced(char: str) -> str:
    if char.isascii():
        return char
    if "\u2800" <= char <= "\u28ff":  # braille, of which charts are made
        return " " if char == "\u2800" else "*"
    return _DRAWN.get(char) or char.encode("ascii", "backslashreplace").decode()


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return replaced(error.object[error.start : error.end]), error.end


def make_safe() -> None:
    """Have standard output and standard error never raise for a character."""
    codecs.register_error(NAME, _handle)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(OSError, ValueError):
                reconfigure(errors=NAME)


def is_unicode() -> bool:
    """Whether standard output takes every character."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")
