"""Text that UTF-8 can hold: half a surrogate pair, as a file name that is not UTF-8 has it, becomes its escape."""

from __future__ import annotations


def escaped(text: str) -> str:
    r"""The text, with `\udce9` and the like written out: everywhere the same, so that what was written is found."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
