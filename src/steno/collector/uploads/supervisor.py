"""The collector's side of uploads: starts the process that makes them, again when it dies, and hears its state."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import IO, TYPE_CHECKING, Any, Final

from steno import runfile
from steno.collector import line_process
from steno.collector.uploads.files import STORE
from steno.collector.uploads.location import note_of
from steno.delivery.backoff import Backoff
from steno.destinations import asked
from steno.ledger import live
from steno.ledger.seal import PART_POINTS
from steno.secrecy import scrub

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from steno.collector.catalogue import Node

_LOOK_SECS: Final = 1.0
_FIRST_WAIT_SECS: Final = 0.25
_LAST_WAIT_SECS: Final = 60.0


class UploadSupervisor:
    """Use it from the collector's main thread. Costs nothing where no store was asked for.

    Args:
        run_dir: the run's directory.
        node: this node.
        say: tells a person, once per key.
    """

    def __init__(self, run_dir: Path, node: Node, say: Callable[[str, str], None]) -> None:
        self._run_dir = run_dir
        self._node = node
        self._say = say
        self._stores: dict[str, str] = {}
        self._facts: dict[str, Any] = {}
        self._asked = 0
        self._next_look = 0.0
        self._leave = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None

    @property
    def wanted(self) -> bool:
        """Whether the run is kept in a store."""
        return bool(self._stores)

    @property
    def part_points(self) -> int:
        """How many points a part is sealed at: few, where what no part has goes to a store again and again."""
        return live.PART_POINTS if STORE in self._stores and asked.live_secs(self._run_dir) else PART_POINTS

    @property
    def seeks_place(self) -> bool:
        """Whether it is still to be found where the run of a job lies in its store."""
        return (
            STORE in self._stores
            and "family" in runfile.read(self._run_dir)[0]
            and not note_of(self._node.dir, STORE).exists()
        )

    def look(self, now: float) -> None:
        """Begin when a store has been asked for; at most once a second."""
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECS
        stores = asked.stores(self._run_dir)
        if stores == self._stores:
            return
        if self._thread is not None:  # one more store: the process begins anew with both
            self._stores = stores
            self._end_process()
            return
        self._stores = stores
        self._thread = threading.Thread(target=self._work, name="steno-uploads", daemon=True)
        self._thread.start()

    def ask(self) -> int:
        """Have it look for what is new; the number by which `reached` tells that it has."""
        self._asked += 1
        self._send(self._process)
        return self._asked

    def reached(self, number: int) -> bool:
        """Whether everything that was there at `ask` is in the stores."""
        return int(self._facts.get("looked") or 0) >= number or self.stopped

    @property
    def stopped(self) -> bool:
        """Whether this machine can never upload, as its error says."""
        return self._facts.get("state") == "stopped"

    @property
    def complete(self) -> bool:
        """Whether all of a run that has ended is in the stores, or nobody asked for that."""
        return not self._stores or self._facts.get("state") == "complete"

    def progress(self) -> tuple[Any, ...]:
        """What changes as long as anything moves."""
        return tuple(self._facts.get(name) for name in ("files_left", "bytes_left", "files", "looked"))

    def health(self) -> dict[str, Any]:
        """State, numbers and the last error, for the status; empty where no store was asked for."""
        if not self._stores:
            return {}
        return {"state": "waiting", "stores": self._stores, **self._facts}

    def abandon(self) -> None:
        """End the process at once: what is on its way is sent again."""
        self._leave.set()
        self._end_process()
        if self._thread is not None:
            self._thread.join(2)

    def _end_process(self) -> None:
        process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()

    # -- the thread ----------------------------------------------------------------------------------------

    def _work(self) -> None:
        backoff = Backoff(_FIRST_WAIT_SECS, _LAST_WAIT_SECS)
        while not self._leave.is_set():
            began = time.monotonic()
            stores = self._stores
            try:
                code = self._upload()
            except OSError as error:
                code = -1
                self._say(f"upload {error}", f"the uploader could not be started: {error}")
            if self._leave.is_set() or self._stores != stores:
                continue
            self._facts = {**self._facts, "state": "retrying", "error": f"its process ended with exit status {code}"}
            self._say("upload died", f"the uploader ended with exit status {code}; started again")
            if time.monotonic() - began > _LAST_WAIT_SECS:
                backoff.reset()
            self._leave.wait(backoff.next())

    def _upload(self) -> int:
        """One life of the process; its exit status."""
        process = line_process.start("steno.upload", str(self._run_dir))
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        threading.Thread(target=self._quote, args=(process.stderr,), daemon=True).start()
        with contextlib.suppress(OSError, ValueError), process.stdin as pipe:
            pipe.write(json.dumps({"node": self._node.number, "stores": self._stores}) + "\n")
            pipe.flush()
            self._process = process
            if self._leave.is_set():
                process.kill()
            self._send(process)
            for line in process.stdout:
                with contextlib.suppress(ValueError):
                    self._receive(json.loads(line))
        self._process = None
        process.stdout.close()
        return process.wait()

    def _send(self, process: subprocess.Popen[str] | None) -> None:
        if process is None or process.stdin is None or not self._asked:
            return
        with contextlib.suppress(OSError, ValueError):
            process.stdin.write(json.dumps({"look": self._asked}) + "\n")
            process.stdin.flush()

    def _receive(self, facts: dict[str, Any]) -> None:
        self._facts = facts
        if facts.get("error"):
            # Once per kind of trouble: a key in a message would make each a new one.
            self._say(f"upload {facts['error'][-80:]}", f"upload to {_places(facts)}: {facts['error']}; tried again")

    def _quote(self, pipe: IO[str]) -> None:
        """What the process says on its stderr, without secrets: libraries print what they like."""
        for line in pipe:
            if line.strip():
                self._say(f"uploader {line[:60]}", f"uploader: {scrub(line.rstrip())[:1000]}")


def _places(facts: dict[str, Any]) -> str:
    return ", ".join(sorted(set((facts.get("stores") or {}).values())))
