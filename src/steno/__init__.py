"""steno: records what happens in a training run without slowing the step and without losing a record.

    import steno

    run = steno.init(project="digits", config={"lr": 0.1}, destinations=["tensorboard"])
    run.log({"train/loss": 0.5}, step=0)
    run.finish()

    reader = steno.open(run.dir)
    reader.series("train/loss").value

Public names are loaded at their first use: `import steno` alone costs next to nothing.
The distribution is `stenolog`: `pip install stenolog`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steno.capture.artifacts.handles import ArtifactHandle
    from steno.catchup import sync
    from steno.destinations.base import Destination
    from steno.errors import (
        ClosedError,
        CorruptError,
        DestinationError,
        NoRunError,
        RecordError,
        Retry,
        RunExistsError,
        RunNotFoundError,
        Skip,
        StenoError,
        Stop,
        TaskError,
        UsageError,
    )
    from steno.events.callback import Callback
    from steno.events.destination import LoggerDestination
    from steno.events.event import Event
    from steno.events.level import LogLevel
    from steno.events.state import State
    from steno.events.timestamp import Timestamp
    from steno.face import (
        async_log,
        config,
        current,
        event,
        finish,
        flush,
        init,
        link_artifact,
        log,
        log_artifact,
        summary,
    )
    from steno.media.audio import Audio
    from steno.media.figure import Figure
    from steno.media.histogram import Histogram
    from steno.media.image import Image
    from steno.media.mesh import Mesh
    from steno.media.table import Table
    from steno.media.text import Html, Text
    from steno.media.video import Video
    from steno.optimization import is_jax_array, log_convergence_async, log_iteration_async
    from steno.record import Batch, Entry, Record, Ref, RunInfo
    from steno.run import Run
    from steno.settings import Settings
    from steno.store.artifacts import Artifact
    from steno.store.bins.answer import Curves
    from steno.store.bins.curve import Curve
    from steno.store.bins.curves import bins
    from steno.store.info import Info
    from steno.store.listing import runs
    from steno.store.query import sql
    from steno.store.reader import RunReader
    from steno.store.reader import open_run as open
    from steno.store.series import Series
    from steno.viewer.started import view
    from steno.writers.everywhere import GlobalSummaryWriter
    from steno.writers.logger import Logger, RunLogger
    from steno.writers.summary import SummaryWriter

__version__ = "0.1.0"


def _look_beside() -> None:
    """Say so if another distribution owns files of this folder: either one's next change may break the other."""
    try:
        beside = os.listdir(os.path.dirname(__path__[0]))
    except OSError:
        return
    # Its metadata are named after it; what they hold is read only if there are any.
    if [name for name in beside if name[:6].lower() == "steno-"]:
        import_module("steno.distribution").warn(__path__[0])


_look_beside()

_HOMES = {
    "steno.capture.artifacts.handles": ("ArtifactHandle",),
    "steno.catchup": ("sync",),
    "steno.destinations.base": ("Destination",),
    "steno.errors": (
        "ClosedError", "CorruptError", "DestinationError", "NoRunError", "RecordError", "Retry", "RunExistsError",
        "RunNotFoundError", "Skip", "StenoError", "Stop", "TaskError", "UsageError",
    ),
    "steno.events.callback": ("Callback",),
    "steno.events.destination": ("LoggerDestination",),
    "steno.events.event": ("Event",),
    "steno.events.level": ("LogLevel",),
    "steno.events.state": ("State",),
    "steno.events.timestamp": ("Timestamp",),
    "steno.media.audio": ("Audio",),
    "steno.media.figure": ("Figure",),
    "steno.media.histogram": ("Histogram",),
    "steno.media.image": ("Image",),
    "steno.media.mesh": ("Mesh",),
    "steno.media.table": ("Table",),
    "steno.media.text": ("Html", "Text"),
    "steno.media.video": ("Video",),
    "steno.optimization": ("is_jax_array", "log_convergence_async", "log_iteration_async"),
    "steno.record": ("Batch", "Entry", "Record", "Ref", "RunInfo"),
    "steno.face": (
        "async_log", "config", "current", "event", "finish", "flush", "init", "link_artifact", "log", "log_artifact",
        "summary",
    ),
    "steno.run": ("Run",),
    "steno.settings": ("Settings",),
    "steno.store.artifacts": ("Artifact",),
    "steno.store.info": ("Info",),
    "steno.store.bins.answer": ("Curves",),
    "steno.store.bins.curve": ("Curve",),
    "steno.store.bins.curves": ("bins",),
    "steno.store.listing": ("runs",),
    "steno.store.query": ("sql",),
    "steno.store.reader": ("RunReader",),
    "steno.store.series": ("Series",),
    "steno.viewer.started": ("view",),
    "steno.writers.everywhere": ("GlobalSummaryWriter",),
    "steno.writers.logger": ("Logger", "RunLogger"),
    "steno.writers.summary": ("SummaryWriter",),
}  # fmt: skip
_HOME = {name: (home, name) for home, names in _HOMES.items() for name in names}
_HOME["open"] = ("steno.store.reader", "open_run")

__all__ = [
    "Artifact", "ArtifactHandle", "Audio", "Batch", "Callback", "ClosedError", "CorruptError", "Curve", "Curves",
    "Destination", "DestinationError", "Entry", "Event", "Figure", "GlobalSummaryWriter", "Histogram", "Html", "Image",
    "Info", "LogLevel", "Logger", "LoggerDestination", "Mesh", "NoRunError", "Record", "RecordError", "Ref", "Retry",
    "Run", "RunExistsError", "RunInfo", "RunLogger", "RunNotFoundError", "RunReader", "Series", "Settings", "Skip",
    "State", "StenoError", "Stop", "SummaryWriter", "Table", "TaskError", "Text", "Timestamp", "UsageError", "Video",
    "__version__", "async_log", "bins", "config", "current", "event", "finish", "flush", "init", "is_jax_array",
    "link_artifact", "log", "log_artifact", "log_convergence_async", "log_iteration_async", "open", "runs", "sql",
    "summary", "sync", "view",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in {"jax", "torch"}:
        return import_module(f"steno.{name}")
    if name not in _HOME:
        words = import_module("steno.habits")
        raise AttributeError(words.missing("module 'steno'", name, words.MODULE))
    home, own = _HOME[name]
    value = getattr(import_module(home), own)
    if getattr(value, "__module__", None) == home and callable(value):
        # An error or a repr names what the user can import, not the file it lives in.
        value.__module__ = "steno"
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
