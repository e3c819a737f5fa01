"""Weights & Biases, through its own library."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno.destinations.services import foreign, internals
from steno.errors import Retry, Stop
from steno.record import ARTIFACT, CONFIG, FINISH, SUMMARY, Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steno.destinations.services.rowlog import Log
    from steno.record import Batch, Entry, RunInfo

_MODES: Final = ("online", "offline")
_OWN: Final = frozenset({"_step", "_timestamp", "_runtime", "_wandb"})
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]")
_FLUSH_SECS: Final = 0.2
_ROWS_SECS: Final = 10.0
AXIS: Final = "steno/step"
"""The key that holds each row's step, and is the x-axis of every chart."""


class Wandb:
    """Records as rows of one W&B run, each at its own step, whatever the order of steps.

    W&B drops a row whose `_step` is below the last one. So `_step` counts rows, and the step of a record is in the
    row under `steno/step`, which is the x-axis of all charts. For the same reason a batch that is given again writes
    nothing twice: a row's number depends on the records alone, and rows that W&B has are passed over.

    Used by one thread of a process of its own. Rows that W&B's own process has not written or sent when it is killed
    are noticed when the run is opened again, and the run is given anew from its first record.

    Args:
        project: the W&B project; the run's own when left out.
        entity: a user or team; the default one of the account when left out.
        name: the W&B run's name; the run's own when left out.
        group: of runs; the run's own when left out.
        job_type: as `wandb.init` has it.
        mode: "online" or "offline"; `WANDB_MODE`, else online, when left out.
        dir: the directory in which W&B keeps its `wandb/`; the run's directory when left out.
        id: the W&B run's id; made from the run's own when left out.
    """

    kinds = frozenset({"points", ARTIFACT, CONFIG, SUMMARY, FINISH})

    def __init__(
        self,
        *,
        project: str | None = None,
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        mode: str | None = None,
        dir: str | None = None,
        id: str | None = None,
    ) -> None:
        foreign.need("wandb", "wandb")
        if mode not in {None, *_MODES}:
            raise ValueError(f"mode is {' or '.join(map(repr, _MODES))}, not {mode!r}")
        self._mode = mode
        given = {"project": project, "entity": entity, "name": name, "group": group, "job_type": job_type}
        self._given = {key: foreign.text_option(key, value) for key, value in given.items()}
        self._dir, self._id = foreign.folder_option("dir", dir), foreign.text_option("id", id)
        self._left_out = foreign.LeftOutCounts()
        self._run: RunInfo | None = None
        self._open: Any = None
        self._rows = 0
        self._held = 0
        self._written = 0
        self._log: Log | None = None
        self._failed = False
        self._stored: dict[str, Mapping[str, Any]] = {}
        self.lost = False

    @property
    def left_out(self) -> dict[str, int]:
        """What W&B has no place for, and how often it came."""
        return self._left_out.counts

    @property
    def position(self) -> dict[str, Any]:
        """Rows that the delivered batches made."""
        return {"rows": self._rows}

    def open(self, run: RunInfo) -> None:
        """Begin the W&B run, or go on with it. Raises Stop when W&B refuses the account or the settings."""
        # A service that training itself uses, and hands down to its children, may have this very run open.
        os.environ.pop("WANDB_SERVICE", None)
        import wandb

        from steno.destinations.services.rowlog import Log, rows_held

        self.close()
        self._run, self._failed = run, False
        folder = Path(self._dir) if self._dir else run.dir
        folder.mkdir(parents=True, exist_ok=True)
        key = self._id or foreign.run_key(run)
        mode: Any = self._mode or ("offline" if os.environ.get("WANDB_MODE") in {"offline", "dryrun"} else "online")
        logs = sorted(folder.glob(f"wandb/offline-run-*-{key}*/run-{key}.wandb")) if mode == "offline" else []
        held = rows_held((Log(path, internals.wandb_row) for path in logs), _ROWS_SECS)
        try:
            self._open = wandb.init(
                project=self._given["project"] or run.project,
                entity=self._given["entity"],
                name=foreign.shown_name(run, self._given["name"]),
                group=self._given["group"] or run.group,
                job_type=self._given["job_type"],
                notes=run.notes or None,
                tags=run.tags or None,
                config=dict(run.config),
                id=key,
                resume="allow",
                settings=_settings(wandb, mode, folder, key),
            )
        except (wandb.errors.AuthenticationError, wandb.errors.UsageError) as error:
            remedy = "Set WANDB_API_KEY where the run is started or synced, or use mode='offline'"
            raise Stop(f"W&B refuses: {str(error).rstrip('.')}. {remedy}") from error
        self._log = Log(Path(self._open.settings.sync_file), internals.wandb_row) if mode == "offline" else None
        self._open.define_metric(AXIS, hidden=True)
        self._open.define_metric("*", step_metric=AXIS)
        self._held = max(held, int(self._open.starting_step or 0))
        saved = int((run.position or {}).get("rows", 0))
        self.lost = self._held < saved
        self._rows = 0 if self.lost else saved
        self._written = 0

    def write(self, batch: Batch) -> None:
        """Hand the rows to W&B's process, which writes or sends them."""
        assert self._open is not None
        for _record, time, step, values in foreign.rows(batch):
            if self._rows >= self._held:
                row = {self._name(key): self._value(value) for key, value in values.items()}
                row = {key: value for key, value in row.items() if value is not None}
                self._open.log({**row, AXIS: step, "_timestamp": time / 1e9}, step=self._rows, commit=True)
                self._written = self._rows + 1
            self._rows += 1
        for entry in batch.entries:
            self._take(entry)

    def flush(self) -> None:
        """Wait until the rows are in W&B's file. In online mode nothing: `close` waits until they are sent.

        Raises Retry when W&B's process has not written them in time.
        """
        self._await_rows()

    def close(self) -> None:
        """End W&B's run: in online mode, wait until all is sent."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.finish(exit_code=1 if self._failed else 0)
            self._await_rows()

    def _await_rows(self) -> None:
        if self._log is not None and not self._log.wait(self._written, _ROWS_SECS):
            raise Retry(f"W&B's process has written {self._log.rows} of {self._written} rows to {self._log.path}")

    def _put(self, payload: Mapping[str, Any], *aliases: str) -> None:
        """W&B knows content that it has, so an artifact that is given again is no second version."""
        import wandb

        from steno.destinations.services.artifacts import files_of

        assert self._run is not None
        made = wandb.Artifact(_NOT_IN_A_NAME.sub("_", str(payload["name"]))[:128], type="artifact")
        for inner, path in files_of(self._run.dir, payload):
            made.add_file(str(path), name=inner, policy="immutable")
        self._open.log_artifact(made, aliases=list(aliases) or None)
        self._stored[str(payload["name"])] = payload

    def _take(self, entry: Entry) -> None:
        if entry.kind == ARTIFACT:
            what, target = entry.payload.get("op"), self._stored.get(str(entry.payload.get("target")))
            if what == "stored":
                self._put(entry.payload)
            elif what == "linked" and target is not None:
                self._put(target, _NOT_IN_A_NAME.sub("_", str(entry.payload["name"]))[:128])
            elif what == "linked":
                self._left_out.add("an alias of another alias, or of an artifact from before a restart")
        elif entry.kind == CONFIG:
            self._open.config.update(dict(entry.payload), allow_val_change=True)
        elif entry.kind == SUMMARY:
            self._open.summary.update(dict(entry.payload))
        elif entry.kind == FINISH:
            self._failed = entry.payload.get("state") == "failed"

    @staticmethod
    def _name(key: str) -> str:
        """W&B's own keys, and the axis, must not be written over."""
        return f"steno/{key}" if key in _OWN or key == AXIS else key

    def _value(self, value: Any) -> Any:
        if not isinstance(value, Ref):
            return value
        assert self._run is not None
        run_dir = self._run.dir
        return self._left_out.made(value, lambda: _media(run_dir, value))


def _settings(wandb: Any, mode: str, folder: Path, key: str) -> Any:
    """Quiet, and only what is logged: no console, no machine's figures, no code, no packages."""
    wanted = {
        "mode": mode,
        "root_dir": str(folder),
        "silent": True,
        "console": "off",
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "symlink": False,
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_save_requirements": False,
        "x_transaction_log_flush_interval": _FLUSH_SECS,
    }
    # Directories are named by the second: a restart within one must not meet the last one's.
    taken = len(list(folder.glob(f"wandb/*run-*-{key}*")))
    if taken:
        wanted["x_sync_dir_suffix"] = str(taken)
    known = getattr(wandb.Settings, "model_fields", wanted)
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})


def _media(run_dir: Path, ref: Ref) -> Any:
    """What W&B has for this kind; None when it has nothing."""
    import wandb

    from steno.destinations.services import media

    caption = ref.meta.get("caption")
    if ref.kind == "text":
        return media.text_of(run_dir, ref)
    if ref.kind == "histogram":
        return wandb.Histogram(np_histogram=media.bins_of(run_dir, ref), num_bins=None)
    if ref.kind == "table":
        columns, rows = media.table_of(run_dir, ref)
        return wandb.Table(columns=columns, data=rows)
    if ref.kind == "html":
        return wandb.Html(media.text_of(run_dir, ref), inject=False)
    path = media.path_of(run_dir, ref)
    if path is None:
        return None
    if ref.kind in {"image", "figure"} and path.suffix != ".json":
        return wandb.Image(str(path), caption=caption)
    if ref.kind == "audio":
        return wandb.Audio(str(path), caption=caption)
    if ref.kind == "video":
        return wandb.Video(str(path), caption=caption, format=path.suffix.lstrip("."))
    return None
