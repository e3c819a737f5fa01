"""MLflow, through its own client: a tracking server or a database."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import files, host
from steno.destinations.services import foreign
from steno.errors import Stop
from steno.record import ARTIFACT, CONFIG, FINISH, SUMMARY, Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steno.record import Batch, Entry, RunInfo

TAG: Final = "steno.run"
"""The tag by which a run's MLflow run is found again."""
_METRICS: Final = 1000
_PARAMS: Final = 100
_LONGEST: Final = 250
_LONGEST_TAG: Final = 5000
_BAD: Final = re.compile(r"[^/\w.\- :]")
_FILE: Final = "sqlite:///"
_SQLITE: Final = re.compile(r"sqlite(\+\w+)?:///(?!/)")


class Mlflow:
    """Numbers as metrics of one MLflow run, media and artifacts as its artifacts, the configuration as its parameters.

    MLflow keeps a metric by name, time (ms), step and value, and takes the same one twice as one: so a batch that is
    given again writes nothing twice. `write` returns when the store has answered. Used by one thread of a process of
    its own; nothing is lost if that dies.

    Args:
        tracking_uri: of the server or database; `MLFLOW_TRACKING_URI`, else `mlflow.db` next to the projects.
        experiment: its name; the run's project when left out.
        name: the MLflow run's name; the run's own when left out.
    """

    kinds = frozenset({"points", ARTIFACT, CONFIG, SUMMARY, FINISH})

    def __init__(
        self, *, tracking_uri: str | None = None, experiment: str | None = None, name: str | None = None
    ) -> None:
        foreign.need("mlflow", "mlflow")
        self._uri = foreign.text_option("tracking_uri", tracking_uri)
        if self._uri is not None and (problem := _relative(self._uri)):
            raise ValueError(f"tracking_uri={self._uri!r} {problem}")
        if _is_database(self._uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:"):
            foreign.need("mlflow", "sqlalchemy", "alembic")
        self._experiment = foreign.text_option("experiment", experiment)
        self._name = foreign.text_option("name", name)
        self._left_out = foreign.LeftOutCounts()
        self._run: RunInfo | None = None
        self._client: Any = None
        self._id = ""
        self._names: dict[str, str] = {}
        self._state: tuple[str, int] | None = None
        self._live = False

    @property
    def left_out(self) -> dict[str, int]:
        """What MLflow has no place for, and how often it came."""
        return self._left_out.counts

    def open(self, run: RunInfo) -> None:
        """Find the run's MLflow run by its tag, or make it. Raises Stop for a URI that means nothing here."""
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        from mlflow import MlflowClient

        self.close()
        self._run, self._state = run, None
        folder = run.dir if run.layout == "logdir" else run.dir.parents[1]
        uri = self._uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
        if problem := _relative(uri):
            raise Stop(f"MLFLOW_TRACKING_URI {problem}")
        if uri.startswith(_FILE) and not os.path.lexists(uri.removeprefix(_FILE)):
            _make(Path(uri.removeprefix(_FILE)))
        self._client = MlflowClient(tracking_uri=uri)
        experiment = self._experiment_id(self._experiment or run.project, _artifacts(uri, folder))
        key = foreign.run_key(run)
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{key}'", max_results=1)
        if found:
            self._id, self._live = found[0].info.run_id, found[0].info.status == "RUNNING"
            return
        tags = {TAG: key, **{metric_name(tag): "true" for tag in run.tags}}
        tags |= {name: text for name, text in (("mlflow.note.content", run.notes), ("steno.group", run.group)) if text}
        made = self._client.create_run(experiment, run_name=foreign.shown_name(run, self._name), tags=tags)
        self._id, self._live = made.info.run_id, True
        self._params(run.config)

    def _experiment_id(self, name: str, artifacts: str | None) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=artifacts))
            except MlflowException:  # another run has just made it
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def write(self, batch: Batch) -> None:
        """Log up to 1,000 metrics at a call; MlflowException when the store refuses or cannot be reached."""
        from mlflow.entities import Metric

        metrics: list[Any] = []
        for record, time, step, values in foreign.rows(batch):
            millis = max(time // 1_000_000, 0)
            for key, value in values.items():
                if isinstance(value, Ref):
                    self._media(key, value, step, record)
                elif isinstance(value, str):
                    self._left_out.add("text")
                else:
                    metrics.append(Metric(self._names.get(key) or self._named(key), float(value), millis, step))
        if len(batch) and not self._live:
            self._client.update_run(self._id, status="RUNNING")
            self._live = True
        for at in range(0, len(metrics), _METRICS):
            self._client.log_batch(self._id, metrics=metrics[at : at + _METRICS])
        for entry in batch.entries:
            self._take(entry)

    def flush(self) -> None:
        """Nothing: what `write` returned from is in the store."""

    def close(self) -> None:
        """Tell MLflow how the run ended, if it has."""
        client, self._client = self._client, None
        if client is not None and self._state is not None:
            status, millis = self._state
            client.set_terminated(self._id, status=status, end_time=millis)

    def _named(self, key: str) -> str:
        name = metric_name(key)
        if len(self._names) < 100_000:
            self._names[key] = name
        return name

    def _media(self, key: str, ref: Ref, step: int, record: int) -> None:
        from steno.destinations.services import media

        assert self._run is not None
        try:
            path = media.path_of(self._run.dir, ref)
            with tempfile.TemporaryDirectory(prefix="steno-") as place:
                if path is not None:
                    file = Path(place, f"{step:08d}-{record}{path.suffix}")
                    file.symlink_to(path)
                elif ref.file is None and ref.kind != "layout":
                    text = media.text_of(self._run.dir, ref) if ref.kind == "text" else json.dumps(dict(ref.meta))
                    file = Path(place, f"{step:08d}-{record}.{'md' if ref.kind == 'text' else 'json'}")
                    file.write_text(text, encoding="utf-8")
                else:
                    self._left_out.add(f"{ref.kind} without a file")
                    return
                self._client.log_artifact(self._id, str(file), f"media/{metric_name(key)}")
        except (ValueError, TypeError) as error:  # what was lost with its journal
            self._left_out.add(f"{ref.kind} ({type(error).__name__})")

    def _put(self, payload: Mapping[str, Any]) -> None:
        """The newest content of a name replaces the one before, as in MLflow every file does."""
        from steno.destinations.services.artifacts import files_of

        assert self._run is not None
        name = metric_name(str(payload["name"]))
        folder = f"artifacts/{name}" if payload.get("what") == "dir" else posixpath.dirname(f"artifacts/{name}")
        for inner, path in files_of(self._run.dir, payload):
            with tempfile.TemporaryDirectory(prefix="steno-") as place:
                file = Path(place, posixpath.basename(inner))
                file.symlink_to(path)
                target = posixpath.join(folder, posixpath.dirname(inner)).rstrip("/")
                self._client.log_artifact(self._id, str(file), target)

    def _take(self, entry: Entry) -> None:
        if entry.kind == ARTIFACT:
            if entry.payload.get("op") == "stored":
                self._put(entry.payload)
            elif entry.payload.get("op") == "linked":
                alias = metric_name(f"artifact/{entry.payload['name']}")
                self._client.set_tag(self._id, alias, str(entry.payload["target"])[:_LONGEST_TAG])
        elif entry.kind == CONFIG:
            self._params(entry.payload)
        elif entry.kind == SUMMARY:
            for key, value in entry.payload.items():
                self._client.set_tag(self._id, metric_name(f"summary/{key}"), str(value)[:_LONGEST_TAG])
        elif entry.kind == FINISH:
            failed = entry.payload.get("state") == "failed"
            self._state = "FAILED" if failed else "FINISHED", max(entry.time // 1_000_000, 0)

    def _params(self, config: Mapping[str, Any]) -> None:
        """Parameters cannot change: one that does is a tag of the same name from then on."""
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        flat = {metric_name(key): value[:_LONGEST_TAG] for key, value in _flat("", config)}
        params = [Param(key, value) for key, value in flat.items()]
        for at in range(0, len(params), _PARAMS):
            piece = params[at : at + _PARAMS]
            try:
                self._client.log_batch(self._id, params=piece)
            except MlflowException:
                for one in piece:
                    try:
                        self._client.log_batch(self._id, params=[one])
                    except MlflowException:
                        self._client.set_tag(self._id, one.key, one.value)


def metric_name(key: str) -> str:
    """The key as MLflow takes it: other characters become `_`, and a few digits keep apart what would be equal.

    MLflow's names have letters, digits and `_ - . / :` and spaces, are relative paths, and up to 250 characters long.
    """
    parts = [part for part in _BAD.sub("_", key).split("/") if part not in {"", ".", ".."}]
    name = "/".join(parts)
    if name == key and len(name) <= _LONGEST and posixpath.normpath(name) == name:
        return name
    digits = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{name[: _LONGEST - 9]}-{digits}" if name else f"_-{digits}"


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict) or (not prefix and hasattr(value, "items")):
        return [pair for key, one in value.items() for pair in _flat(f"{prefix}/{key}" if prefix else str(key), one)]
    return [(prefix, str(value))]


def _relative(uri: str) -> str:
    """What is wrong with a place that depends on the working directory; "" if nothing is."""
    a_file = ":" not in uri and not uri.startswith("/") and uri != "databricks"
    if a_file or (_SQLITE.match(uri) and ":memory:" not in uri):
        return "is relative, and the collector works elsewhere: give an absolute path, as sqlite:////data/mlflow.db"
    return ""


def _is_database(uri: str) -> bool:
    return uri.partition(":")[0].partition("+")[0] in {"sqlite", "postgresql", "mysql", "mssql"}


def _make(path: Path) -> None:
    """Make a database's tables in a hidden file and then give it its name.

    MLflow takes seconds for them, and cannot go on with a file in which it was killed meanwhile.
    """
    from mlflow import MlflowClient

    for entry in files.scan(path.parent):
        made_by = re.fullmatch(rf"\.{re.escape(path.name)}\.(\d+)-[0-9a-f]{{8}}(-journal)?", entry.name)
        if made_by and not host.is_running(int(made_by[1])):
            files.unlink(entry.path, missing_ok=True)
    hidden = files.temporary_path(path)
    try:
        MlflowClient(tracking_uri=f"{_FILE}{hidden}").search_experiments(max_results=1)
        with contextlib.suppress(FileExistsError):  # another run's has just made it
            files.rename_new(hidden, path)
    finally:
        files.unlink(hidden, missing_ok=True)


def _artifacts(uri: str, folder: Path) -> str | None:
    """Where a database without a server keeps artifacts: MLflow's default depends on the working directory."""
    if not _is_database(uri):
        return None
    base = Path(uri.partition(":///")[2]).parent if uri.startswith("sqlite") else folder
    return f"{base.as_uri()}/mlartifacts"
