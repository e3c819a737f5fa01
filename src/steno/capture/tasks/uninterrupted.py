"""Imports a module at its first use, so that a signal handler of that moment may use it too."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any


def import_module(name: str) -> Any:
    """The module, imported in a thread of its own.

    A handler that interrupted an import of its own thread would find the module half made, and may wait for another's.
    """
    known = sys.modules.get(name)
    if known is not None and not getattr(known.__spec__, "_initializing", False):
        return known
    bring = threading.Thread(target=_bring, args=(name,), name="steno-import", daemon=True)
    try:
        bring.start()
        bring.join()
    except RuntimeError:  # the process may have no more threads, or is ending
        pass
    return importlib.import_module(name)


def _bring(name: str) -> None:
    try:
        importlib.import_module(name)
    except BaseException:  # the caller's own import says what is wrong
        return
