"""What steno takes from the inside of services' packages, where they offer no public interface for it.

    wandb     `wandb.proto`: how a record of the transaction log is read
    swanlab   `swanlab.proto`, the same; a run's rows so far, when it goes on; the writing out of its file buffer
    trackio   `trackio.sqlite_storage`: rows with ids and times of their own; how a media value is kept with them

Any release of theirs may change it, so no other file may touch it, and `EXAMINED` says with which versions the tests
have seen it work.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from steno.errors import Stop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

EXAMINED: Final[Mapping[str, tuple[str, ...]]] = {
    "wandb": ("0.31.0",),
    "swanlab": ("0.10.3",),
    "trackio": ("0.43.0",),
}
"""By package, its versions with which the destination's tests have passed."""


@contextmanager
def within(package: str) -> Iterator[None]:
    """Use a package's inside.

    Raises:
        Stop: it is not there in the installed version; the message names one that has it.
    """
    try:
        yield
    except (AttributeError, ImportError) as error:
        from importlib.metadata import PackageNotFoundError, version

        try:
            installed = version(package)
        except PackageNotFoundError:
            installed = "of unknown version"
        known = EXAMINED[package]
        if installed in known:
            raise
        raise Stop(
            f"{package} {installed} lacks what steno needs of it ({error}); known to work: {', '.join(known)}. "
            f"Remedy: pip install '{package}=={known[-1]}', then steno sync"
        ) from error


def wandb_row(data: bytes) -> tuple[int, bool]:
    """Of a record in W&B's log: the rows up to it (0 if it is none), and whether it is the last one."""
    with within("wandb"):
        from wandb.proto import wandb_internal_pb2

        record = wandb_internal_pb2.Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            for item in record.history.item:
                if item.key == "_step" or list(item.nested_key) == ["_step"]:
                    return int(float(item.value_json)) + 1, False
        return 0, kind == "exit"


def swanlab_row(data: bytes) -> tuple[int, bool]:
    """The same of SwanLab's log: each point has its row's number as its step."""
    with within("swanlab"):
        from swanlab.proto.swanlab.record.v1.record_pb2 import Record

        record = Record.FromString(data)
        for kind in ("scalar", "media"):
            if record.HasField(kind):
                return int(getattr(record, kind).step) + 1, False
        return 0, bool(record.HasField("finish"))


def swanlab_rows(opened: Any) -> int:
    """Rows that SwanLab's server has of a run that goes on."""
    with within("swanlab"):
        return int(opened._ctx._global_step) + 1


def swanlab_to_disk(opened: Any) -> None:
    """Have a SwanLab run's file buffer written out."""
    with within("swanlab"):
        opened._ctx.core._store.ensure_flushed()


def trackio_directory() -> tuple[str, bool]:
    """Where Trackio keeps its store, and whether that is an SQLite one: on a network file system it is none."""
    with within("trackio"):
        from trackio import utils

        return str(utils.TRACKIO_DIR), utils.get_storage_mode() != "jsonl"


def trackio_insert(
    project: str,
    run: str,
    run_id: str,
    rows: Sequence[tuple[str, int, str, dict[str, Any]]],
    config: dict[str, Any] | None,
) -> None:
    """Insert rows of (id, step, time, values) into Trackio's store, in a transaction; those whose id is there are left.

    Raises sqlite3.Error when the store is locked or full.
    """
    with within("trackio"):
        from trackio import utils
        from trackio.sqlite_storage import SQLiteStorage

        SQLiteStorage.bulk_log(
            project=project,
            run=run,
            run_id=run_id,
            metrics_list=[row[3] for row in rows],
            steps=[row[1] for row in rows],
            timestamps=[row[2] for row in rows],
            log_ids=[row[0] for row in rows],
            config=None if config is None else utils.to_json_safe(config),
        )


def trackio_kept(value: Any, project: str, run: str, step: int) -> Any:
    """What stands in a row for a value of Trackio's; one that is a file is copied into its store."""
    with within("trackio"):
        if hasattr(value, "_save"):
            value._save(project, run, step)
        return value._to_dict()
