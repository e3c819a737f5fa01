"""Starts a process of the collector's own that is spoken to in lines of text."""

from __future__ import annotations

import subprocess
import sys


def start(module: str, *arguments: str) -> subprocess.Popen[str]:
    """`python -m module arguments`, with pipes as its three streams; what it sends that is no UTF-8 is replaced.

    Raises:
        OSError: no memory, no process, no file handle.
    """
    return subprocess.Popen(
        # -P: a file of the user's in the working directory must not pass for a library.
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
