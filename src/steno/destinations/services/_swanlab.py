"""SwanLab, through its own library."""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno.destinations.services import foreign, internals
from steno.errors import Retry, Stop
from steno.record import ARTIFACT, CONFIG, FINISH, SUMMARY, Ref

if TYPE_CHECKING:
    from steno.destinations.services.rowlog import Log
    from steno.record import Batch, Entry, RunInfo

AXIS: Final = "steno/step"
"""The key that holds each row's step, and is the x-axis of every chart."""
_MODES: Final = ("online", "offline")
_LONGEST: Final = 255
_BAD: Final = re.compile(r"[\x00-\x1f\x7f]")
_SYSTEM: Final = "__swanlab__."
_APART: Final = 2.0**-10
"""SwanLab drops a point whose x is that of the one before: a repeated step is moved by so little for each repeat."""
_ROWS_SECS: Final = 10.0
_AT_ONCE: Final = 101
"""SwanLab writes a hundred points together, and the last one is a row's in part."""
_POLL_SECS: Final = 0.05


class Swanlab:
    """Numbers as points of one SwanLab run, each at its own step, whatever the order of steps; media with them.

    SwanLab keeps one point per key and step of its own, so its step counts rows, and the step of a record is in the
    row under `steno/step`, which is the x-axis of all charts. For the same reason a batch that is given again writes
    nothing twice: a row's number depends on the records alone, and rows that SwanLab has are passed over.

    Used by one thread of a process of its own. Rows that were not written or sent when that is killed are noticed when
    the run is opened again, and the run is given anew from its first record.

    Args:
        project: the SwanLab project; the run's own when left out.
        workspace: a user or organisation; the account's own when left out.
        name: the SwanLab run's name; the run's own when left out.
        group: of runs; the run's own when left out.
        mode: "online" or "offline"; `SWANLAB_MODE`, else online, when left out.
        dir: the directory for SwanLab's files; `swanlog/` in the run's directory when left out.
        id: the SwanLab run's id; made from the run's own when left out.
    """

    kinds = frozenset({"points", ARTIFACT, CONFIG, SUMMARY, FINISH})

    def __init__(
        self,
        *,
        project: str | None = None,
        workspace: str | None = None,
        name: str | None = None,
        group: str | None = None,
        mode: str | None = None,
        dir: str | None = None,
        id: str | None = None,
    ) -> None:
        foreign.need("swanlab", "swanlab")
        if mode not in {None, *_MODES}:
            raise ValueError(f"mode is {' or '.join(map(repr, _MODES))}, not {mode!r}")
        self._mode = mode
        given = {"project": project, "workspace": workspace, "name": name, "group": group, "id": id}
        self._given = {key: foreign.text_option(key, value) for key, value in given.items()}
        self._dir = foreign.folder_option("dir", dir)
        self._left_out = foreign.LeftOutCounts()
        self._run: RunInfo | None = None
        self._open: Any = None
        self._rows = 0
        self._held = 0
        self._log: Log | None = None
        self._written = 0
        self._axis: dict[str, float] = {}
        self._state: tuple[str, str | None] = ("success", None)
        self.lost = False

    @property
    def left_out(self) -> dict[str, int]:
        """What SwanLab has no place for, and how often it came."""
        return self._left_out.counts

    @property
    def position(self) -> dict[str, Any]:
        """Rows that the delivered batches made."""
        return {"rows": self._rows}

    def open(self, run: RunInfo) -> None:
        """Begin the SwanLab run, or go on with it. Raises Stop when there is no account to begin it with."""
        import swanlab

        from steno.destinations.services.rowlog import Log, rows_held

        self.close()
        self._run, self._axis, self._state = run, {}, ("success", None)
        folder = Path(self._dir) if self._dir else run.dir / "swanlog"
        folder.mkdir(parents=True, exist_ok=True)
        key = self._given["id"] or foreign.run_key(run)
        mode: Any = self._mode or ("offline" if os.environ.get("SWANLAB_MODE") in {"offline", "local"} else "online")
        paths = sorted(folder.glob(f"run-{key}-*/run-*.swanlab")) if mode == "offline" else []
        logs = [Log(path, internals.swanlab_row) for path in paths]
        held = rows_held(logs, _ROWS_SECS)
        if not all(log.ended for log in logs):
            # Points lie one by one, those of media behind: a row may be there in part. SwanLab drops a point it has.
            held = max(held - _AT_ONCE, 0)
        place = f"run-{key}-{len(list(folder.glob(f'run-{key}-*')))}"
        quiet: Any = {
            "interactive": False,
            "terminal": {"proxy_type": "none"},
            "probe": dict.fromkeys(("hardware", "requirements", "conda", "git", "swanlab", "monitor"), False),
            "run": {"dir": place},
        }
        try:
            self._open = swanlab.init(
                project=self._given["project"] or run.project,
                workspace=self._given["workspace"],
                name=foreign.shown_name(run, self._given["name"])[:100],
                description=run.notes or None,
                group=self._given["group"] or run.group,
                tags=list(run.tags) or None,
                config=dict(run.config),
                id=key,
                resume="allow",
                mode=mode,
                log_dir=str(folder),
                settings=swanlab.Settings(**quiet),
            )
        except (RuntimeError, AssertionError) as error:
            if "API key" not in str(error):
                raise
            raise Stop(
                f"SwanLab refuses: {error} Set SWANLAB_API_KEY where the run is started or synced, or mode='offline'"
            ) from error
        files = list((folder / place).glob("run-*.swanlab")) if mode == "offline" else []
        self._log = Log(files[0], internals.swanlab_row) if files else None
        self._open.define_metric(AXIS, x_axis="_step")
        self._open.define_metric("*", x_axis=AXIS)
        self._held = max(held, internals.swanlab_rows(self._open)) if mode == "online" else held
        saved = int((run.position or {}).get("rows", 0))
        self.lost = self._held < saved
        self._rows = 0 if self.lost else saved
        self._written = 0

    def write(self, batch: Batch) -> None:
        """Hand the rows to SwanLab's threads, which write or send them."""
        assert self._open is not None
        for _record, _time, step, values in foreign.rows(batch):
            if self._rows >= self._held:
                row = {metric_name(key): self._value(value) for key, value in values.items()}
                row = {key: value for key, value in row.items() if value is not None}
                self._open.log({AXIS: self._x(row, step), **row}, step=self._rows)
                self._written = self._rows + 1
            self._rows += 1
        for entry in batch.entries:
            self._take(entry)

    def flush(self) -> None:
        """Wait until the rows are in SwanLab's file. In online mode nothing: `close` waits until they are sent.

        Raises Retry when SwanLab's threads have not written them in time.
        """
        self._await_rows()

    def close(self) -> None:
        """End SwanLab's run: in online mode, wait until all is sent."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.finish(state=self._state[0], error=self._state[1])
            self._await_rows()

    def _await_rows(self) -> None:
        if self._log is None:
            return
        deadline = time.monotonic() + _ROWS_SECS
        while self._log.look() < self._written:
            if self._open is not None:
                internals.swanlab_to_disk(self._open)
            if time.monotonic() >= deadline:
                raise Retry(f"SwanLab has written {self._log.rows} of {self._written} rows to {self._log.path}")
            time.sleep(_POLL_SECS)

    def _x(self, row: dict[str, Any], step: int) -> float:
        """The step, moved a little where one of the row's keys had a value at it just before."""
        x = float(step)
        before = [self._axis[key] for key in row if x <= self._axis.get(key, x - 1) < x + 1]
        if before:
            x = max(before) + _APART
            if x in before:
                self._left_out.add("a second value at a step beyond 2**43")
        for key in row:
            self._axis[key] = x
        return x

    def _take(self, entry: Entry) -> None:
        if entry.kind == ARTIFACT and entry.payload.get("op") == "stored":
            self._left_out.add("artifact")
        elif entry.kind == CONFIG:
            self._open.config.update(dict(entry.payload))
        elif entry.kind == SUMMARY:
            self._open.config.update({f"summary/{key}": value for key, value in entry.payload.items()})
        elif entry.kind == FINISH:
            failed = entry.payload.get("state") == "failed"
            self._state = ("crashed", str(entry.payload.get("error") or "failed")) if failed else ("success", None)

    def _value(self, value: Any) -> Any:
        import swanlab

        if isinstance(value, str):
            return swanlab.Text(value)
        if not isinstance(value, Ref):
            return float(value)
        assert self._run is not None
        run_dir = self._run.dir
        return self._left_out.made(value, lambda: _media(run_dir, value))


def metric_name(key: str) -> str:
    """The key as SwanLab takes it: without control characters and outer dots, slashes and spaces, up to 255 long.

    A few digits keep apart what would be equal.
    """
    name = _BAD.sub("_", key).strip(" ./")
    if name == key and len(name) <= _LONGEST and key != AXIS and not key.startswith(_SYSTEM):
        return name
    digits = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:8]
    name = name.removeprefix(_SYSTEM)[: _LONGEST - 9]
    return f"{name}-{digits}" if name else f"_-{digits}"


def _media(run_dir: Path, ref: Ref) -> Any:
    """What SwanLab has for this kind; None when it has nothing."""
    import swanlab

    from steno.destinations.services import media

    caption = ref.meta.get("caption")
    if ref.kind == "text":
        return swanlab.Text(media.text_of(run_dir, ref), caption=caption)
    if ref.kind == "html":
        return swanlab.Html(media.text_of(run_dir, ref), caption=caption)
    path = media.path_of(run_dir, ref)
    if path is None:
        return None
    if ref.kind in {"image", "figure"} and path.suffix != ".json":
        return swanlab.Image(str(path), caption=caption)
    if ref.kind == "audio":
        return swanlab.Audio(str(path), caption=caption)
    if ref.kind == "video" and path.suffix == ".gif":
        return swanlab.Video(str(path), caption=caption)
    return None
