"""steno: records what happens in a training run without slowing the step and without losing a record.

    import steno

    run = steno.init(project="digits", config={"lr": 0.1}, destinations=["tensorboard"])
    run.log({"train/loss": 0.5}, step=0)
    run.finish()

    reader = steno.open(run.dir)
    reader.series("train/loss").value

Public names are loaded at their first use: `import steno` alone costs next to nothing. `steno.destinations` has the
words for those who write a destination, `steno.compat` those of other libraries, `steno.types` what functions return.
The distribution is `stenolog`: `pip install stenolog`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steno.capture.artifacts.handles import ArtifactHandle
    from steno.catchup import sync
    from steno.compat.composer import Callback as Callback
    from steno.compat.composer import Event as Event
    from steno.compat.composer import LoggerDestination as LoggerDestination
    from steno.compat.composer import LogLevel as LogLevel
    from steno.compat.composer import State as State
    from steno.compat.composer import Timestamp as Timestamp
    from steno.compat.nlsq import is_jax_array as is_jax_array
    from steno.compat.nlsq import log_convergence_async as log_convergence_async
    from steno.compat.nlsq import log_iteration_async as log_iteration_async
    from steno.compat.tensorboardx import GlobalSummaryWriter as GlobalSummaryWriter
    from steno.compat.torchrl import Logger as Logger
    from steno.compat.torchrl import RunLogger as RunLogger
    from steno.destinations import Batch as Batch
    from steno.destinations import Destination as Destination
    from steno.destinations import Entry as Entry
    from steno.destinations import Record as Record
    from steno.destinations import Ref as Ref
    from steno.destinations import Retry as Retry
    from steno.destinations import RunInfo as RunInfo
    from steno.destinations import Skip as Skip
    from steno.destinations import Stop as Stop
    from steno.errors import (
        ClosedError,
        CorruptError,
        DestinationError,
        NoRunError,
        RecordError,
        RunExistsError,
        RunNotFoundError,
        StenoError,
        TaskError,
        UsageError,
    )
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
    from steno.media.object3d import Object3D
    from steno.media.table import Table
    from steno.media.text import Html, Text
    from steno.media.video import Video
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
    from steno.writers.summary import SummaryWriter

    Mesh = Object3D

__version__ = "0.1.0"


def _look_for_another() -> None:
    """Say so if another distribution owns files of this folder: either one's next change may break the other."""
    try:
        installed = os.listdir(os.path.dirname(__path__[0]))
    except OSError:
        return
    # Its metadata are named after it; what they hold is read only if there are any.
    if [name for name in installed if name[:6].lower() == "steno-"]:
        import_module("steno.distribution").warn(__path__[0])


_look_for_another()

_HOMES = {
    "steno.capture.artifacts.handles": ("ArtifactHandle",),
    "steno.catchup": ("sync",),
    "steno.errors": (
        "ClosedError", "CorruptError", "DestinationError", "NoRunError", "RecordError", "RunExistsError",
        "RunNotFoundError", "StenoError", "TaskError", "UsageError",
    ),
    "steno.media.audio": ("Audio",),
    "steno.media.figure": ("Figure",),
    "steno.media.histogram": ("Histogram",),
    "steno.media.image": ("Image",),
    "steno.media.object3d": ("Object3D",),
    "steno.media.table": ("Table",),
    "steno.media.text": ("Html", "Text"),
    "steno.media.video": ("Video",),
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
    "steno.writers.summary": ("SummaryWriter",),
}  # fmt: skip
_ELSEWHERE = {
    "steno.compat.composer": ("Callback", "Event", "LogLevel", "LoggerDestination", "State", "Timestamp"),
    "steno.compat.nlsq": ("is_jax_array", "log_convergence_async", "log_iteration_async"),
    "steno.compat.tensorboardx": ("GlobalSummaryWriter",),
    "steno.compat.torchrl": ("Logger", "RunLogger"),
    "steno.destinations": ("Batch", "Destination", "Entry", "Record", "Ref", "Retry", "RunInfo", "Skip", "Stop"),
}
"""Words of one trade, public where they belong, and importable from here too."""
_HOME = {name: (home, name) for home, names in _HOMES.items() for name in names}
_HOME["open"] = ("steno.store.reader", "open_run")
_ALSO = {name: (home, name) for home, names in _ELSEWHERE.items() for name in names}
_ALSO["Mesh"] = ("steno", "Object3D")

__all__ = [
    "Artifact", "ArtifactHandle", "Audio", "ClosedError", "CorruptError", "Curve", "Curves", "DestinationError",
    "Figure", "Histogram", "Html", "Image", "Info", "NoRunError", "Object3D", "RecordError", "Run",
    "RunExistsError", "RunNotFoundError", "RunReader", "Series", "Settings", "StenoError", "SummaryWriter", "Table",
    "TaskError", "Text", "UsageError", "Video", "__version__", "async_log", "bins", "config", "current", "event",
    "finish", "flush", "init", "link_artifact", "log", "log_artifact", "open", "runs", "sql", "summary", "sync",
    "view",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in {"jax", "torch"}:
        return import_module(f"steno.{name}")
    home, own = _HOME.get(name) or _ALSO.get(name) or ("", "")
    if not home:
        words = import_module("steno.habits")
        raise AttributeError(words.missing("module 'steno'", name, words.MODULE))
    value = getattr(import_module(home), own)
    if name in _HOME and getattr(value, "__module__", None) == home and callable(value):
        # An error or a repr names what the user can import, not the file it lives in.
        value.__module__ = "steno"
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ALSO})
