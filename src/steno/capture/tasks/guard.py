"""Notices that a child process is running the main program again, for want of a `__main__` guard."""

from __future__ import annotations

import sys

from steno.errors import UsageError

MESSAGE = (
    "a child process imports the main program to find its functions, and the program starts its work at import. "
    'Put what it does under  if __name__ == "__main__":  so that importing it only defines functions'
)
refused = False
"""Whether something was refused in this process for that reason."""


def refuse_import(what: str) -> None:
    """Raise when the main program is only being imported by a child.

    Raises:
        UsageError: with the remedy.
    """
    global refused
    processes = sys.modules.get("multiprocessing.process")
    # Not by `current_process()`: another thread may be importing that module just now.
    if getattr(getattr(processes, "_current_process", None), "_inheriting", False):
        refused = True
        raise UsageError(f"{what} was called while {MESSAGE}")
