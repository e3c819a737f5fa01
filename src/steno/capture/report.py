"""Tells the user something, once."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

from steno.visible import visible

_LIMIT: Final = 2000


class Reporter:
    """Says each thing once on stderr. Thread-safe; never raises, also when stderr is closed or broken."""

    __slots__ = ("_said", "counts")

    def __init__(self) -> None:
        self._said: set[str] = set()
        self.counts: dict[str, int] = {}
        """How often each key was reported, for the first keys."""

    def __call__(self, key: str, message: str) -> None:
        """Say the message unless something was said under this key."""
        try:
            if key in self.counts or len(self.counts) < _LIMIT:
                self.counts[key] = self.counts.get(key, 0) + 1
            if key in self._said or len(self._said) >= _LIMIT:
                return
            self._said.add(key)
            say(message)
        except Exception:  # a message that has no text, or no memory for it: reporting must not end the program
            pass


def is_terminal() -> bool:
    """Whether somebody sees what is said; never raises."""
    try:
        return sys.stderr.isatty()
    except Exception:  # the program may have put anything in the place of stderr
        return False


def show(line: str) -> None:
    """One line on stderr as it is; never raises. It is not recorded as the program's output."""
    observer = getattr(sys.stderr, "steno_observer", None)
    with contextlib.nullcontext() if observer is None else observer.muted():
        _write(f"{visible(line)}\n")


def say(message: str) -> None:
    """One line on stderr, with our name; never raises."""
    _write(f"steno: {visible(message)}\n")


def _write(text: str) -> None:
    try:
        stream = sys.stderr
        if stream is not None:
            stream.write(text)
            stream.flush()
    except Exception:  # stderr is closed, full or broken, and there is no other place to say it
        pass
