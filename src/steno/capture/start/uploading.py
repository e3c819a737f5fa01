"""Object stores as the training process sees them: asked for once per run, waited for at the end."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any, Final

from steno import files
from steno.capture.collected import status
from steno.destinations import asked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_POLL_SECS: Final = 0.02


def enter(
    run_dir: Path, stores: Mapping[str, str], report: Callable[[str, str], None], live_secs: float | None = None
) -> None:
    """Ask the run's collectors for stores, by role; of one role the first stays, and how often it is sent to."""
    for role, url in stores.items():
        path = run_dir / ".steno" / "stores" / f"{role}.json"
        how = {} if live_secs is None or role != "store" else {"live_secs": live_secs}
        if not files.create_json(path, {"url": url, **how}):
            there = files.read_json(path).get("url")
            if there != url:
                report(f"store {role}", f"the run is kept in {there} already, which stays; {url} is not used")
                continue
        asked.confirm(run_dir, url, report)


def is_asked(run_dir: Path) -> bool:
    """Whether this user has the run kept in a store."""
    return bool(asked.stores(run_dir))


def lacking(run_dir: Path, record: int = 0) -> dict[str, Any]:
    """What the uploads of this machine say while they are not done: empty when all is in the stores, or none is.

    Args:
        run_dir: the run's directory.
        record: a status that does not know this record yet says nothing.
    """
    if not is_asked(run_dir):
        return {}
    current = status(run_dir)
    uploads: dict[str, Any] = current.get("uploads") or {}
    if uploads.get("state") == "complete" and int(current.get("record") or 0) >= record:
        return {}
    return {"state": "not begun", **uploads}


def wait(run_dir: Path, record: int, deadline: float, hopeful: Callable[[], bool]) -> dict[str, Any]:
    """Wait until all is in the stores; what `lacking` says at last.

    Other processes of the run may live on: then everything that can be sent by now is enough.
    """
    while True:
        goes_on = hopeful()  # asked first: a collector that leaves has said before what it has done
        left = lacking(run_dir, record)
        if not left or left["state"] == "stopped" or time.monotonic() >= deadline or not goes_on:
            return left
        time.sleep(_POLL_SECS)


def line(run_dir: Path, left: Mapping[str, Any], *, running: bool) -> str:
    """What a person is shown of uploads that are not done; `running`: a collector is at work on them."""
    places = ", ".join(sorted(set((left.get("stores") or {}).values()))) or "its object store"
    count, size = left.get("files_left") or 0, left.get("bytes_left") or 0
    amount = f"{count} of {left.get('files')} files ({size / 1e6:.1f} MB) are to go" if count else "the end is to go"
    pace = f" at {left['rate'] / 1e6:.1f} MB/s, about {left['eta_secs']:.0f} s" if left.get("eta_secs") else ""
    error = f"; last error: {left['error']}" if left.get("error") else ""
    quoted = shlex.quote(str(run_dir))
    rest = (
        f"It goes on in the background, `steno doctor {quoted}` shows it, finish(timeout=) waits for it; what a "
        f"machine that goes away leaves, `steno sync {quoted}` sends"
        if running and left["state"] != "stopped"
        else f"`steno sync {quoted}` sends it"
    )
    return f"the upload to {places} is not done: {amount}{pace}{error}. {rest}"
