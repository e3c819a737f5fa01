"""One destination's worker: reads batches behind its cursor, in order, and tries until they are delivered."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steno.delivery import pieces
from steno.errors import CorruptError, DestinationError, Skip, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from steno.destinations.base import Destination
    from steno.record import Batch, RunInfo

FIRST_WAIT_SECS = 0.1
LAST_WAIT_SECS = 30.0
EQUAL_FAILURES = 10
_FLUSH_SECS = 1.0
_NUMBER = (1 << 44) - 1


@dataclass(frozen=True, slots=True)
class Progress:
    """What is saved with the cursor."""

    batch: int = 0
    record: int = 0
    """Number, without node bits, of the last record delivered or given up."""
    position: Mapping[str, Any] | None = None
    delivered: int = 0
    skipped: int = 0
    retries: int = 0


def describe(
    state: str,
    error: str | None,
    progress: Progress,
    newest: tuple[int, int],
    left_out: Mapping[str, int] | None = None,
    *,
    flushed: tuple[int, int],
) -> dict[str, Any]:
    """The health of a follower; delivered is what its readers see: up to the last flush, (batch, record)."""
    batch, record = newest
    delivered = record if flushed[0] >= batch else flushed[1]
    return {
        "state": state,
        "delivered": delivered,
        "lag": max(record - delivered, 0),
        "batch": progress.batch,
        "record": progress.record,
        "count": progress.delivered,
        "skipped": progress.skipped,
        "retries": progress.retries,
        "error": error,
        "position": progress.position,
        **({"left_out": dict(left_out)} if left_out else {}),
    }


class Follower:
    """Delivers to one destination on a thread of its own, so that it can hang and delay only itself.

    What was delivered and not saved when the process dies is delivered again from the saved cursor, with
    the same batches; destinations that write files keep from writing it twice by their `position`.

    Args:
        name: the destination's name.
        factory: makes the destination; raises DestinationError or Stop when misconfigured.
        run: what `open` is told; its `position` is filled in.
        fetch: a batch by its number; None when it is not there yet.
        newest: (number of the newest batch, number of the newest record), read at any time.
        save: keeps the progress, in one transaction.
        progress: as it was saved last.
        say: tells a person, once per key.
        first_wait_secs: the first pause after a failure; it doubles.
        last_wait_secs: the longest pause.

    """

    def __init__(
        self,
        name: str,
        factory: Callable[[], Destination],
        run: RunInfo,
        *,
        fetch: Callable[[int], Batch | None],
        newest: Callable[[], tuple[int, int]],
        save: Callable[[Progress], None],
        progress: Progress | None = None,
        say: Callable[[str, str], None] = lambda _key, _message: None,
        first_wait_secs: float = FIRST_WAIT_SECS,
        last_wait_secs: float = LAST_WAIT_SECS,
    ) -> None:
        self.name = name
        self.progress = progress or Progress()
        self.state = "waiting"
        """waiting, delivering, retrying, stopped (misconfigured) or closed."""
        self.closed = False
        """The destination has ended without an error, or was never opened."""
        self.error: str | None = None
        self._factory = factory
        self._run = run
        self._fetch = fetch
        self._newest = newest
        self._save = save
        self._say = say
        self._first_wait_secs = first_wait_secs
        self._last_wait_secs = last_wait_secs
        self._wake = threading.Event()
        self._leave = threading.Event()
        self._destination: Destination | None = None
        self._kinds: frozenset[str] = frozenset({pieces.POINTS})
        self._dirty_since: float | None = None
        self.flushed = (self.progress.batch, self.progress.record)
        """Up to where, as (batch, record), the destination's readers see what was delivered."""
        self._ahead: Batch | None = None
        self._thread = threading.Thread(target=self._work, name=f"steno-follow-{name}", daemon=True)

    # -- the owner's side --------------------------------------------------------------------------------

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
        """Wait for the worker to end; False when it hangs."""
        if self._thread.ident is not None:
            self._thread.join(timeout_secs)
        return not self._thread.is_alive()

    @property
    def caught_up(self) -> bool:
        """Everything there is is delivered, flushed and saved, or never will be."""
        if self.state == "stopped":
            return True
        return self.progress.batch >= self._newest()[0] and self.settled

    @property
    def settled(self) -> bool:
        """Everything delivered is flushed too."""
        return self._dirty_since is None

    def health(self) -> dict[str, Any]:
        """Delivered (record number), lag (records), error, skipped, retries, state, and the cursor itself."""
        return describe(self.state, self.error, self.progress, self._newest(), self.left_out, flushed=self.flushed)

    @property
    def opened(self) -> bool:
        """The destination has begun."""
        return self._destination is not None

    @property
    def left_out(self) -> dict[str, int]:
        """What the destination has no place for, by its own words, and how often that came."""
        return dict(getattr(self._destination, "left_out", None) or {})

    # -- the worker's side -------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            if self._open():
                while not self._leave.is_set():
                    if not self._step():
                        self._flush()
                        self._wake.wait(1.0)
                        self._wake.clear()
        except Stop as stop:
            self._stopped(stop)
        except Exception as error:  # our own fault: said, and only this destination is without its worker
            self.state, self.error = "stopped", f"follower failed: {error!r}"
            self._say(f"follower {self.name}", f"{self.name}: {self.error}")
        finally:
            self._close()

    def _open(self) -> bool:
        wait = self._first_wait_secs
        while not self._leave.is_set():
            try:
                made = self._factory()
                made.open(dataclasses.replace(self._run, position=self.progress.position))
            except (Stop, DestinationError) as error:
                self._stopped(error)
                return False
            except Exception as error:
                self._failed(error)
                self._pause(wait)
                wait = min(wait * 2, self._last_wait_secs)
                continue
            self._destination = made
            if getattr(made, "lost", False):
                self._say(f"lost {self.name}", f"{self.name} lacks what it had taken: the whole run is given again")
                self.progress = Progress(skipped=self.progress.skipped, retries=self.progress.retries)
                self.flushed = (0, 0)
            self._kinds = frozenset(getattr(made, "kinds", self._kinds))
            self.state, self.error = "waiting", None
            return True
        return False

    def _step(self) -> bool:
        """Deliver the next batch; False when there is none."""
        number = self.progress.batch + 1
        if number > self._newest()[0]:
            return False
        try:
            batch = self._fetch(number)
        except CorruptError as error:
            self.error = str(error)
            self._say(f"batch {number}", f"{self.name}: batch {number} is damaged and passed over ({error})")
            self._advance(number, self.progress.record, skipped=1)
            return True
        except Exception as error:  # the ledger is busy, or a part is being replaced
            self._failed(error)
            self._pause(self._first_wait_secs)
            return True
        if batch is None:
            return False
        self.state = "delivering"
        wanted = pieces.of_kinds(batch, self._kinds)
        last = max(pieces.numbers(batch), default=0) & _NUMBER
        given_up = self._deliver(wanted) if pieces.size(wanted) else 0
        if given_up is None:
            return True
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            # Another batch had to be delivered to know this one's record for bad: one cursor step for both.
            number, last = ahead.id, max(pieces.numbers(ahead)) & _NUMBER
        taken = pieces.size(wanted) - given_up + (pieces.size(ahead) if ahead is not None else 0)
        self._advance(number, max(last, self.progress.record), delivered=taken, skipped=given_up)
        self.state = "waiting"
        if not given_up:
            self.error = None
        return True

    def _advance(self, batch: int, record: int, *, delivered: int = 0, skipped: int = 0) -> None:
        position = getattr(self._destination, "position", None)
        following = dataclasses.replace(
            self.progress,
            batch=batch,
            record=record,
            position=dict(position) if position is not None else self.progress.position,
            delivered=self.progress.delivered + delivered,
            skipped=self.progress.skipped + skipped,
        )
        if self._dirty_since is None:
            self._dirty_since = time.monotonic()
        self._keep(following)
        self.progress = following
        if time.monotonic() - self._dirty_since >= _FLUSH_SECS:
            self._flush()

    def _keep(self, following: Progress) -> None:
        wait = self._first_wait_secs
        while True:
            try:
                self._save(following)
                return
            except Exception as error:  # a full disk: the destination has the batch, the cursor must not run on
                self._failed(error)
                if self._leave.is_set():
                    raise
                self._pause(wait)
                wait = min(wait * 2, self._last_wait_secs)

    def _deliver(self, batch: Batch) -> int | None:
        """Try until the batch is delivered; how many of it were given up, None when told to leave."""
        wait, equal, last = self._first_wait_secs, 0, ""
        while not self._leave.is_set():
            failure = self._write(batch)
            if failure is None:
                return 0
            if isinstance(failure, Skip):
                # The destination has dealt with the rest.
                everything = pieces.numbers(batch)
                named = [number for number in everything if number in failure.records] or everything
                self._give_up(set(named), failure)
                return len(named)
            equal = equal + 1 if repr(failure) == last else 1
            last = repr(failure)
            if equal >= EQUAL_FAILURES:
                equal = 0
                bad = self._sift(batch)
                if bad is not None:
                    return bad
            self._pause(wait)
            wait = min(wait * 2, self._last_wait_secs)
        return None

    def _sift(self, batch: Batch) -> int | None:
        """Deliver a stubborn batch by halves and give up the records that fail alone; how many.

        None when not one record was taken: then it is the destination that is down, not a record that is
        bad, and everything is tried again later.
        """
        stack, taken, failures = [batch], False, 0
        bad: list[tuple[int, Exception]] = []
        # Down to lone records with nothing taken on the way: no use in trying all the rest.
        patience = max(2 * pieces.size(batch).bit_length(), 8)
        while stack and not self._leave.is_set():
            piece = stack.pop()
            failure = self._write(piece)
            if failure is None:
                taken = True
            elif pieces.size(piece) > 1:
                first, second = pieces.halves(piece)
                stack += [second, first]
            else:
                bad.append((pieces.numbers(piece)[0], failure))
            failures += failure is not None
            if not taken and failures > patience:
                return None
        if stack or not (taken or self._probe(batch.id + 1)):
            return None
        if bad:
            self._give_up({number for number, _ in bad}, bad[-1][1])
        return len(bad)

    def _probe(self, number: int) -> bool:
        """Whether the destination takes the batch after a lone bad record; it is delivered then."""
        if number > self._newest()[0]:
            return False
        batch = self._fetch(number)
        wanted = None if batch is None else pieces.of_kinds(batch, self._kinds)
        if wanted is None or not pieces.size(wanted) or self._write(wanted) is not None:
            return False
        self._ahead = wanted
        return True

    def _write(self, batch: Batch) -> Exception | None:
        assert self._destination is not None
        try:
            self._destination.write(batch)
        except Stop:
            raise
        except Skip as skip:
            return skip
        except Exception as error:
            self._failed(error)
            return error
        finally:
            for what in self.left_out:
                self._say(
                    f"left out {self.name} {what}", f"{self.name} has no place for {what}: left out, the rest kept"
                )
        return None

    def _give_up(self, records: set[int], why: Exception) -> None:
        self.error = f"gave up {len(records)} records: {why!r}"
        self._say(f"skip {self.name}", f"{self.name} {self.error}; first: {min(records) & _NUMBER}")

    def _failed(self, error: Exception) -> None:
        self.state, self.error = "retrying", repr(error)
        self.progress = dataclasses.replace(self.progress, retries=self.progress.retries + 1)
        self._say(f"retry {self.name} {type(error).__name__}", f"{self.name}: {error!r}; trying again")

    def _stopped(self, error: Exception) -> None:
        self.state, self.error = "stopped", str(error) or repr(error)
        self._say(f"stop {self.name}", f"{self.name} is stopped: {self.error}")

    def _pause(self, seconds: float) -> None:
        self._leave.wait(seconds)

    def _flush(self) -> None:
        if self._dirty_since is None or self._destination is None:
            return
        try:
            self._destination.flush()
        except Stop:
            raise
        except Exception as error:
            self._failed(error)
            self._pause(self._first_wait_secs)
            if self._leave.is_set():
                self._dirty_since = None
            return
        self._dirty_since = None
        self.flushed = (self.progress.batch, self.progress.record)
        if self.state == "retrying":
            self.state = "waiting"

    def _close(self) -> None:
        if self._destination is not None:
            try:
                self._flush()
                self._destination.close()
                self.closed = True
            except Exception as error:
                self.error = repr(error)
        else:
            self.closed = True
        if self.state != "stopped":
            self.state = "closed"
