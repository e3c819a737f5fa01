"""Going on with a run of which this disk has nothing and its object store all: identity, configuration, attempts.

The one case in which `init` waits: a process of its own asks the store, for ten seconds at most.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from steno import files, runfile
from steno.capture.start import attempt, naming
from steno.errors import StenoError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from steno.capture.start.request import Request

_WAIT_SECS: Final = 10.0


def bring(
    project_dir: Path, request: Request, family: Mapping[str, Any], turn: int, live_secs: float
) -> attempt.RecordingPlace | None:
    """Make the run here as its store has it, with a new attempt of it; None: that was not asked for, or is not there.

    Call under `attempt.exclusive(project_dir)`.

    Raises:
        StenoError: the store does not answer.
        OSError: the directory cannot be written.
    """
    url = request.stores.get("store")
    name = request.name or naming.of_job(request.launch)
    run_dir = project_dir / name
    if url is None or not (request.resume or request.rewind is not None) or run_dir.exists():
        return None
    launch = request.launch
    order = {
        "url": url, "project": request.project, "name": name, "family": dict(family), "rank": launch.rank,
        "world_size": launch.world_size, "rewind": request.rewind,
    }  # fmt: skip
    found = _ask(order, url, name)
    if not found:
        return None
    number, rewind = int(found["attempt"]), found["rewind"]
    place = attempt.RecordingPlace(run_dir, name, number, born=False, opened=True, rewind=rewind)
    token = f"{launch.token}#{turn}" if launch.token else ""
    facts = {**attempt.attempt_facts(number, token, launch, rewind), "step": found["step"]}
    about = {**found["run"], "name": name, "config": {**(found["run"].get("config") or {}), **found["config"]}}
    hidden = run_dir.with_name(f".new-{name[:100]}-{time.time_ns():x}")
    hidden.mkdir(parents=True)
    try:
        for part in ("journal", "attempts", "jobs", "destinations", "nodes", "stores"):
            (hidden / ".steno" / part).mkdir(parents=True)
        for row in found["attempts"]:
            if isinstance(row.get("attempt"), int) and row["attempt"] < number:
                files.create_json(attempt.attempt_path(hidden, row["attempt"]), row)
        files.create_json(attempt.attempt_path(hidden, number), facts)
        attempt.claim_token(hidden, token, number)
        stores = hidden / ".steno" / "stores"
        files.create_json(
            stores / "store.json", {"url": url, "live_secs": live_secs, "path": found["path"], "id": about["id"]}
        )
        files.create_json(stores / "resumed.json", {"attempt": number})
        files.write_json(hidden / runfile.FILE, about, sync=True)
        files.rename(hidden, run_dir)
        files.sync_dir(project_dir)
    finally:
        if hidden.exists():
            files.remove_tree(hidden)
    return place


def _ask(order: Mapping[str, Any], url: str, name: str) -> dict[str, Any]:
    words = [sys.executable, "-P", "-m", "steno.upload", "--resume"]
    try:
        done = subprocess.run(
            words, input=json.dumps(order), capture_output=True, text=True, timeout=_WAIT_SECS, check=False
        )
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        found = {"error": f"it has not answered within {_WAIT_SECS:.0f} s"}
    except ValueError:
        found = {"error": done.stderr.strip()[-300:] or "the process that asks it has ended"}
    if found.get("error"):
        raise StenoError(
            f"the run {name!r} is not on this disk, and whether {url} has it is not known: {found['error']}. "
            "Try again when the store answers, or leave out resume= and rewind= to begin a new run"
        )
    return dict(found)
