"""A follower in a process of its own, so that a hang, a crash or a full memory there touches nothing else.

The collector writes JSON lines to the child's stdin: first what to follow, then {"newest": [batch, record]}
and at last {"leave": seconds that it may take}. The child reads batches from the ledger itself, which it cannot
write, and answers on its stdout with {"state", "error", "dirty", "flushed", "opened", "left_out", "progress"}; the
collector saves the cursor. What the child and its libraries print goes to `collector.log`, without secrets.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from steno import files
from steno.collector import line_process
from steno.collector.follower import follow
from steno.delivery.backoff import Backoff
from steno.delivery.courier import FIRST_WAIT_SECS, LAST_WAIT_SECS
from steno.delivery.progress import DeliveryProgress, describe
from steno.destinations.asked import WantedDestination
from steno.secrecy import scrub
from steno.visible import visible

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from steno.collector.catalogue import Node

_SAY_SECS = 0.2
_DRAIN_SECS = 1.0
"""How long what a child has said last may take to come out of the pipe, once it has ended."""
_ORPHAN_SECS = 5.0
"""How long a write may go on when the collector has gone; one that hangs must not stay behind for ever."""


class ChildFollower:
    """The collector's side: starts the child, again when it dies, and saves what it reports.

    It has the face of a `Follower`. Thread-safe like one.

    Args:
        wanted: the destination.
        run_dir: the run's directory.
        node: this node.
        newest: (number of the newest batch, number of the newest record).
        save: keeps the progress.
        progress: as it was saved last.
        config: the run's configuration so far.
        say: tells a person, once per key.

    """

    def __init__(
        self,
        wanted: WantedDestination,
        run_dir: Path,
        node: Node,
        *,
        newest: Callable[[], tuple[int, int]],
        save: Callable[[DeliveryProgress], None],
        progress: DeliveryProgress,
        config: dict[str, Any],
        say: Callable[[str, str], None],
    ) -> None:
        self.name = wanted.name
        self.progress = progress
        self.state = "waiting"
        self.error: str | None = None
        self.deaths = 0
        self._wanted = wanted
        self._run_dir = run_dir
        self._node = node
        self._newest = newest
        self._save = save
        self._config = config
        self._say = say
        self._dirty = False
        self._flushed = (progress.batch, progress.record)
        self._opened = False
        self._left_out: dict[str, int] = {}
        # Services send behind our back: one that did not end in order may lack what it took, and tells when opened.
        self._mark = node.dir / f"open-{wanted.name.replace('/', '_')}"
        self._unclosed = self._mark.exists()
        self.patience_secs = 0.0
        """How long the child may take to end: set before `leave`."""
        self._leave = threading.Event()
        self._wake = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._work, name=f"steno-child-{self.name}", daemon=True)

    def start(self) -> None:
        """Begin following."""
        self._thread.start()

    def wake(self) -> None:
        """There may be a new batch."""
        self._wake.set()

    def leave(self) -> None:
        """Stop after the current write; saved progress stands."""
        self._leave.set()
        self._wake.set()

    def join(self, timeout_secs: float) -> bool:
        """Wait for the child to end, and kill it then; False when that was needed."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_secs)
        process = self._process
        if not self._thread.is_alive() or process is None:
            return not self._thread.is_alive()
        process.kill()
        self._thread.join(2)
        self._unclosed, self._opened = True, False
        self.error = "was killed as it did not end in time; what it had not sent is sent by `steno sync`"
        return False

    @property
    def caught_up(self) -> bool:
        """Everything there is is delivered and saved, or never will be."""
        if self.state == "stopped":
            return True
        known = self._opened or not self._unclosed
        return known and self.progress.batch >= self._newest()[0] and not self._dirty

    @property
    def _is_wanted(self) -> bool:
        """Whether the child has something to take, or to look after: a service makes something of each opening."""
        return self._unclosed or self.progress.batch < self._newest()[0]

    def health(self) -> dict[str, Any]:
        """As `Follower.health`."""
        found = describe(self.state, self.error, self.progress, self._newest(), self._left_out, flushed=self._flushed)
        if self._unclosed and not self._opened and found["lag"] == 0:
            found |= {"delivered": max(found["delivered"] - 1, 0), "lag": min(found["delivered"], 1)}
        return found

    def _work(self) -> None:
        backoff = Backoff(FIRST_WAIT_SECS, LAST_WAIT_SECS)
        while not self._leave.is_set() and self.state != "stopped":
            if not self._is_wanted:
                self._wake.wait(1.0)
                self._wake.clear()
                continue
            began = time.monotonic()
            try:
                code = self._follow()
            except OSError as error:
                code, self.error = -1, repr(error)
            if self._leave.is_set() or self.state == "stopped":
                break
            self.deaths += 1
            self.state, self.error = "retrying", f"its process ended with exit status {code}"
            self._say(f"death {self.name}", f"{self.name}: {self.error}; started again")
            if time.monotonic() - began > LAST_WAIT_SECS:
                backoff.reset()
            self._leave.wait(backoff.next())
        if self.state != "stopped":
            self.state = "closed"

    def _follow(self) -> int:
        """One life of the child; its exit status."""
        files.touch(self._mark)
        process = line_process.start("steno.follow", str(self._run_dir), self.name)
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        sender = threading.Thread(target=self._send, args=(process, process.stdin), daemon=True)
        sender.start()
        threading.Thread(target=self._copy, args=(process.stderr,), daemon=True).start()
        receiver = threading.Thread(target=self._receive_all, args=(process, process.stdout), daemon=True)
        receiver.start()
        code = process.wait()
        receiver.join(_DRAIN_SECS)
        self._opened, self._unclosed = self._opened and code == 0, code != 0
        if not self._unclosed:
            files.unlink(self._mark, missing_ok=True)
        self._wake.set()
        sender.join(5)
        return code

    def _receive_all(self, process: subprocess.Popen[str], pipe: IO[str]) -> None:
        """What the child reports. A process of its own that outlives it holds the pipe, and has nothing to say."""
        with pipe:
            for line in pipe:
                if self._process is process:
                    with contextlib.suppress(ValueError):
                        self._receive(json.loads(line))

    def _copy(self, pipe: IO[str]) -> None:
        """Into the log, up to the end of the last process that holds the pipe."""
        with contextlib.suppress(OSError, ValueError), pipe:
            for line in pipe:
                # A full disk loses the line. To leave the pipe would stop the destination at its next word.
                with contextlib.suppress(OSError), open(self._node.dir / "collector.log", "a", encoding="utf-8") as log:
                    log.write(visible(scrub(line)))

    def _send(self, process: subprocess.Popen[str], pipe: IO[str]) -> None:
        last: tuple[int, int] | None = None
        first = {
            "wanted": dataclasses.asdict(self._wanted),
            "node": self._node.number,
            "config": self._config,
            "progress": dataclasses.asdict(self.progress),
        }
        with contextlib.suppress(OSError, ValueError), pipe:
            pipe.write(json.dumps(first) + "\n")
            while process.poll() is None:
                newest = self._newest()
                if newest != last:
                    pipe.write(json.dumps({"newest": newest}) + "\n")
                    last = newest
                if self._leave.is_set():
                    pipe.write(json.dumps({"leave": self.patience_secs}) + "\n")
                    return
                pipe.flush()
                self._wake.wait(1.0)
                self._wake.clear()

    def _receive(self, report: dict[str, Any]) -> None:
        self.state, self.error, self._dirty = report["state"], report["error"], report["dirty"]
        self._opened, self._left_out = report["opened"], report["left_out"]
        self._flushed = tuple(report["flushed"])
        following = DeliveryProgress(**report["progress"])
        if following.batch != self.progress.batch:  # lower when the place has lost what it had taken
            try:
                self._save(following)
            except Exception as error:  # a full disk: saved with the next report, or delivered again
                self._say(f"cursor {self.name}", f"{self.name}: the cursor could not be saved: {error!r}")
                return
        self.progress = following


def main() -> int:
    """The child: follow what stdin says until it closes."""
    from steno.ledger.read import Reader

    # What third-party code prints must not get between our lines.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    run_dir = Path(sys.argv[1])
    order = json.loads(sys.stdin.readline())
    wanted = WantedDestination(**order["wanted"])
    node, newest = int(order["node"]), [0, 0]
    reader = Reader(run_dir)
    lock = threading.Lock()

    def report(progress: DeliveryProgress) -> None:
        line = {
            "state": follower.state,
            "error": scrub(follower.error) if follower.error else None,
            "dirty": not follower.is_flushed,
            "flushed": follower.flushed,
            "opened": follower.opened,
            "left_out": follower.left_out,
            "progress": dataclasses.asdict(progress),
        }
        with lock:
            pipe.write(json.dumps(line) + "\n")
            pipe.flush()

    said: set[str] = set()

    def say(key: str, message: str) -> None:
        if key not in said:
            said.add(key)
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}", file=sys.stderr, flush=True)

    follower = follow(
        wanted,
        run_dir,
        node,
        order["config"],
        fetch=lambda number: reader.next_batch(node, number),
        newest=lambda: (newest[0], newest[1]),
        save=report,
        progress=DeliveryProgress(**order["progress"]),
        say=say,
    )

    def listen() -> None:
        patience_secs = 0.0
        for line in sys.stdin:
            order = json.loads(line)
            if "newest" in order:
                newest[:] = order["newest"]
                follower.wake()
            if "leave" in order:
                patience_secs = order["leave"]
                break
        follower.leave()  # told to, or the collector is dead
        time.sleep(patience_secs + _ORPHAN_SECS)
        os._exit(1)  # a living collector would have killed it by now; a dead one cannot

    threading.Thread(target=listen, daemon=True).start()
    follower.start()
    last: Any = None
    while not follower.join(_SAY_SECS):
        current = (
            follower.state,
            follower.error,
            follower.is_flushed,
            follower.flushed,
            follower.opened,
            follower.left_out,
            follower.progress,
        )
        if current != last:
            report(follower.progress)
            last = current
    report(follower.progress)
    return 0 if follower.closed else 1
