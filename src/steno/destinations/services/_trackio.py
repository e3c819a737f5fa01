"""Trackio's local store, through its own storage module."""

from __future__ import annotations

import os
import zlib
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from steno.destinations.services import foreign, internals
from steno.errors import Stop
from steno.record import ARTIFACT, CONFIG, SUMMARY, Ref

if TYPE_CHECKING:
    from steno.record import Batch, RunInfo

_RESERVED: Final = frozenset({"project", "run", "timestamp", "step", "time", "metrics"})
_INT_LIMIT: Final = 2**63
_ROWS: Final = 1000


class Trackio:
    """Records as rows of one Trackio run in its SQLite store, each once and at its own step and time.

    A row has an id made from the run's and the record's, and Trackio ignores one whose id it has: so a batch that is
    given again writes nothing twice. `write` returns when the transaction has ended. Used by one thread of a process
    of its own; nothing is lost if that dies.

    Args:
        project: the Trackio project; the run's own when left out.
        name: the Trackio run's name; the run's own when left out.
        dir: Trackio's directory; `TRACKIO_DIR`, else Trackio's default, when left out.
    """

    kinds = frozenset({"points", ARTIFACT, CONFIG, SUMMARY})

    def __init__(self, *, project: str | None = None, name: str | None = None, dir: str | None = None) -> None:
        foreign.need("trackio", "trackio")
        self._project = foreign.text_option("project", project)
        self._name = foreign.text_option("name", name)
        self._dir = foreign.folder_option("dir", dir)
        self._left_out = foreign.LeftOutCounts()
        self._run: RunInfo | None = None
        self._config: dict[str, Any] = {}
        self._has_settings = False
        self._shown = self._into = self._id = self._last = ""

    @property
    def left_out(self) -> dict[str, int]:
        """What Trackio has no place for, and how often it came."""
        return self._left_out.counts

    def open(self, run: RunInfo) -> None:
        """Begin, or go on. Raises Stop when Trackio's directory is on a network file system."""
        if self._dir:
            os.environ["TRACKIO_DIR"] = self._dir
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        place, local = internals.trackio_directory()
        if not local:
            raise Stop(f"{place} is on a network file system: give a local one as dir=, or set TRACKIO_DIR")
        self._run, self._id = run, foreign.run_key(run)
        self._shown, self._into = foreign.shown_name(run, self._name), self._project or run.project
        self._config = {key: value for key, value in run.config.items() if not key.startswith("_")}
        self._has_settings = False
        self._last = str((run.position or {}).get("last", ""))

    @property
    def position(self) -> dict[str, Any]:
        """The id of the last row."""
        return {"last": self._last}

    def write(self, batch: Batch) -> None:
        """Insert the rows, a thousand in a transaction; sqlite3.Error when the store is locked or full."""
        rows = [
            (self._log_id(record, values), step, _iso(time), self._plain(values, step))
            for record, time, step, values in foreign.rows(batch)
        ]
        for entry in batch.entries:
            if entry.kind == ARTIFACT:
                if entry.payload.get("op") == "stored":
                    self._left_out.add("artifact")
                continue
            prefix = "" if entry.kind == CONFIG else "summary/"
            changed = {f"{prefix}{key}": one for key, one in entry.payload.items() if not key.startswith("_")}
            self._config |= changed
            self._has_settings = self._has_settings and not changed
        if not rows and not self._has_settings and self._last:
            # A configuration is taken with a row only; one whose id is there is ignored.
            rows = [(self._last, 0, _iso(0), {})]
        for at in range(0, len(rows), _ROWS):
            self._insert(rows[at : at + _ROWS])

    def flush(self) -> None:
        """Nothing: what `write` returned from is in the store."""

    def close(self) -> None:
        """Nothing is held open."""

    def _insert(self, rows: list[tuple[str, int, str, dict[str, Any]]]) -> None:
        assert self._run is not None
        config = None
        if not self._has_settings:
            config = {**self._config, "_Group": self._run.group, "_Created": rows[0][2]}
        internals.trackio_insert(self._into, self._shown, self._id, rows, config)
        self._has_settings, self._last = True, rows[-1][0]

    def _log_id(self, record: int, values: dict[str, Any]) -> str:
        """Late values repeat their record's number, with other keys."""
        keys = zlib.crc32("\0".join(values).encode("utf-8", "replace"))
        return f"{self._id}/{record}/{keys:08x}"

    def _plain(self, values: dict[str, Any], step: int) -> dict[str, Any]:
        row = {}
        for key, value in values.items():
            if isinstance(value, Ref):
                value = self._left_out.made(value, partial(self._made, value, step))
                if value is None:
                    continue
            elif isinstance(value, int) and not -_INT_LIMIT <= value < _INT_LIMIT:
                value = float(value)  # its JSON holds 64 bits
            # Its own names are renamed as `trackio.log` does it.
            row[f"__{key}" if key in _RESERVED or key.startswith("__") else key] = value
        return row

    def _made(self, ref: Ref, step: int) -> Any:
        """What Trackio keeps of this kind; None when it has nothing."""
        import trackio

        from steno.destinations.services import media

        assert self._run is not None
        run_dir, caption = self._run.dir, ref.meta.get("caption")
        if ref.kind == "text":
            return self._kept(trackio.Markdown(media.text_of(run_dir, ref)), step)
        if ref.kind == "histogram":
            return self._kept(trackio.Histogram(np_histogram=media.bins_of(run_dir, ref)), step)
        path = media.path_of(run_dir, ref)
        if path is None:
            return None
        kinds = {"image": trackio.Image, "figure": trackio.Image, "audio": trackio.Audio, "video": trackio.Video}
        if ref.kind not in kinds or path.suffix == ".json":
            return None
        return self._kept(kinds[ref.kind](str(path), caption=caption), step)

    def _kept(self, value: Any, step: int) -> Any:
        return internals.trackio_kept(value, self._into, self._shown, step)


def _iso(nanos: int) -> str:
    return datetime.fromtimestamp(nanos / 1e9, UTC).isoformat()
