"""Every environment variable steno reads: one table, one reader."""

from __future__ import annotations

import os

TABLE: dict[str, str] = {
    "STENO_RUN": "the run's name, for a program that a launcher starts many times",
    "STENO_RUN_DIR": "the run directory multiprocessing children join; exported by init",
    "STENO_RUN_AS": "rank, attempt and settings that those children take over; exported by init",
    "STENO_WRITER": "the global writer that multiprocessing children join; exported by GlobalSummaryWriter",
    "STENO_DIR": "where runs are kept (default: runs)",
    "STENO_MODE": "on or off, when init is not told",
    "STENO_COLLECTOR": "off: journal only, `steno sync` posts later",
    "STENO_JOURNAL_DIR": "where journals lie, instead of the run directory",
    "STENO_LINGER": "seconds the collector stays for destinations that cannot take their records (default 60)",
    "STENO_RANK": "this process's rank, before any launcher's variable",
    "STENO_WORLD_SIZE": "number of ranks, with STENO_RANK",
    "STENO_CACHE_DIR": "where copies of runs read from object stores are kept (default: ~/.cache/steno)",
    "STENO_SEGMENT_BYTES": "size of a full-grown journal segment (default 8 MiB)",
}


def read(name: str, default: str = "") -> str:
    """The value of a variable of the table, or the default when unset or empty."""
    if name not in TABLE:
        msg = f"{name} is not in steno.settings.TABLE"
        raise KeyError(msg)
    return os.environ.get(name) or default
