"""`python -m steno.collector RUN_DIR [--linger SECS] [--adopt-secs SECS] [--adopt] [--once] [--more]`."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import sys
from pathlib import Path

from steno.settings import Settings

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # as <malloc.h> numbers them


def main(arguments: list[str] | None = None) -> int:
    """Collect one run here; exit status 0, 1: destinations lack records, 2: no run to work on, 3: a fault of ours."""
    parser = argparse.ArgumentParser(prog="python -m steno.collector", description="Post a run's journals and deliver.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--linger", type=float, default=None, help="seconds to stay for destinations that lag")
    parser.add_argument("--adopt-secs", type=float, default=None, help="see the setting adopt_secs")
    parser.add_argument("--adopt", action="store_true", help="post the journals of other machines immediately")
    parser.add_argument("--once", action="store_true", help="post and deliver what is there, then leave")
    parser.add_argument("--more", action="store_true", help="further runs are named on standard input")
    parser.add_argument("--door", type=int, default=None, help="a lock to be let go when the collector has its own")
    given = parser.parse_args(arguments)
    if not given.run_dir.is_dir():
        print(f"steno: no run at {given.run_dir}: give the directory that holds run.json", file=sys.stderr)
        return 2
    linger = given.linger if given.linger is not None else Settings().linger
    adopt_secs = given.adopt_secs if given.adopt_secs is not None else Settings().adopt_secs
    _keep_memory()
    from steno.collector.serving import Serving

    source = sys.stdin.fileno() if given.more else None
    serving = Serving(source, given.door)
    status = serving.run(given.run_dir.absolute(), linger, adopt_secs, adopt=given.adopt, once=given.once)
    sys.stdout.flush()
    sys.stderr.flush()
    # A destination that hangs in foreign code must not keep the process.
    os._exit(status)


def _keep_memory() -> None:
    """Have columns of a few MiB reuse memory: fresh pages for each cost the kernel more than the work on them.

    Nothing here multiplies matrices, so OpenBLAS needs no threads either, and Arrow's own pool would keep tens of MiB
    in addition to that memory. To be called before numpy and pyarrow are loaded.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        tune = ctypes.CDLL(None).mallopt
        tune(_ARENA_MAX, 1)
        tune(_MMAP_THRESHOLD, 32 << 20)
        tune(_TRIM_THRESHOLD, 64 << 20)


if __name__ == "__main__":
    main()
