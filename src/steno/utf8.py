"""Text that UTF-8 can hold: half a surrogate pair, as a file name that is not UTF-8 has it, becomes its escape."""

from __future__ import annotations


def escaped(text: str) -> str:
    r"""The text, with `\udce9` and the like written out: everywhere the same, so that what was written is found."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def brief(value: object, chars: int = 80) -> str:
    """A value as an error's message has it: its repr, cut; something else where that raises."""
    try:
        return escaped(repr(value)[:chars])
    except Exception:
        # Python refuses to write integers of thousands of digits, since it takes long.
        return f"<an integer of {value.bit_length()} bits>" if isinstance(value, int) else f"<{type(value).__name__}>"


def text_of_any(value: object) -> str:
    """A value's own text; what `brief` says where that raises."""
    try:
        return escaped(str(value))
    except Exception:
        return brief(value)
