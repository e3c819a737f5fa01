"""One destination's worker: takes batches in order, and gives each until it is delivered."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from steno.delivery import pieces
from steno.delivery.backoff import Backoff
from steno.delivery.progress import DeliveryProgress, describe
from steno.delivery.retry import Handover
from steno.errors import CorruptError, DestinationError, Skip, Stop, safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable

    from steno.destinations.base import Destination
    from steno.record import Batch, RunInfo

FIRST_WAIT_SECS: Final = 0.1
LAST_WAIT_SECS: Final = 30.0
_FLUSH_SECS: Final = 1.0
_HURRIES: Final = 16
"""While somebody waits, no pause is longer than one part in so many of the time that he has left."""
_LEAST_WAIT_SECS: Final = 0.005


@dataclasses.dataclass(eq=False)
class Courier:
    """Delivers to one destination on a thread of its own, so that it can hang and delay only itself.

    What was delivered and not saved when the process dies is delivered again from the saved cursor, with the same
    batches; destinations that write files keep from writing it twice by their `position`.
    """

    name: str
    factory: Callable[[], Destination]
    """Makes the destination; raises DestinationError or Stop when misconfigured."""
    run: RunInfo
    """What `open` gets; its `position` is filled in."""
    _: dataclasses.KW_ONLY
    fetch: Callable[[int], Batch | None]
    """A batch by its number, counted from 1; None while it is not there, CorruptError if it never will be."""
    newest: Callable[[], tuple[int, int]]
    """(number of the newest batch, number of the newest record); called from any thread."""
    save: Callable[[DeliveryProgress], None]
    """Keeps the progress, in one transaction."""
    overrun: Callable[[], bool] = lambda: False
    """Whether more has come than is kept, since it was asked last: what is being given is given up then."""
    progress: DeliveryProgress = dataclasses.field(default_factory=DeliveryProgress)
    """As it was saved last."""
    say: Callable[[str, str], None] = lambda _key, _message: None
    """Tells a person, once per key."""
    first_wait_secs: float = FIRST_WAIT_SECS
    """The first pause after a failure; it doubles."""
    last_wait_secs: float = LAST_WAIT_SECS
    poll_secs: float = 1.0
    """How often there is a look for more, where nobody calls `wake`."""
    flush_secs: float = 0.0
    """How long what was delivered may wait for a flush when there is nothing else to do."""
    idle: Callable[[bool], None] = lambda _ending: None
    """Called when nothing is to be delivered now, with whether the end was asked for."""
    last: Callable[[], None] | None = None
    """Called at the end; what comes of it is delivered too, if there is time."""
    gone: Callable[[], None] = lambda: None
    """Called when nothing will be fetched any more."""

    def __post_init__(self) -> None:
        self.state = "waiting"
        """waiting, delivering, retrying, stopped (misconfigured) or closed."""
        self.ending = self.closed = self.complete = False
        """It was asked to end; the destination has ended without an error, or was never opened; it has everything."""
        self.flushed = (self.progress.batch, self.progress.record)
        """Up to where, as (batch, record), the destination's readers see what was delivered."""
        self._backoff = Backoff(self.first_wait_secs, self.last_wait_secs)
        self._destination: Destination | None = None
        self._kinds: frozenset[str] = frozenset({pieces.POINTS})
        self._dirty_since: float | None = None
        self._reached = self.flushed
        """The batch in hand, and the newest record of it: the next cursor."""
        self._damaged = 0
        self._failing: str | None = None
        self._failed_call: str | None = None
        self._wake, self._nudge = threading.Event(), threading.Event()
        self._leaving = False
        self.moves = 0
        """Changes as long as anything is taken."""
        self._due = self._deadline = float("inf")
        self._thread = threading.Thread(target=self._work, name=f"steno-deliver-{self.name}", daemon=True)

    # -- the owner's side --------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There may be a new batch."""
        self._wake.set()

    def leave(self) -> None:
        """Stop after the current write; saved progress stands."""
        self._leaving = True
        self.hurry(0.0)

    def join(self, timeout_secs: float) -> bool:
        """Wait for the worker to end; False when it hangs, or when it is the worker who asks."""
        if self._thread is threading.current_thread():
            return False
        if self._thread.ident is not None:
            self._thread.join(timeout_secs)
        return not self._thread.is_alive()

    def hurry(self, due: float) -> None:
        """Somebody waits until then (monotonic seconds): try more often."""
        self._due = due
        self._nudge.set()
        self._wake.set()

    def end(self, deadline: float, due: float = float("inf")) -> None:
        """Ask for the end when all is delivered, or by the deadline, without waiting for it.

        Args:
            deadline: monotonic seconds.
            due: as for `hurry`, where that is sooner.
        """
        self._deadline, self.ending = deadline, True
        self.hurry(min(deadline, due))

    def moved(self) -> None:
        """Something was done, be it in the middle of a batch."""
        self.moves += 1

    @property
    def caught_up(self) -> bool:
        """Everything there is is delivered, flushed and saved, or never will be."""
        if self.state == "stopped":
            return True
        return self.progress.batch >= self.newest()[0] and self.is_flushed

    @property
    def is_flushed(self) -> bool:
        """Everything delivered is flushed too."""
        return self._dirty_since is None

    @property
    def opened(self) -> bool:
        """The destination has started."""
        return self._destination is not None

    @property
    def error(self) -> str | None:
        """What is wrong now, or what a call that is not repeated raised last."""
        return self._failing or self._failed_call

    @property
    def left_out(self) -> dict[str, int]:
        """What the destination has no place for, by its own words, and how often that came."""
        try:
            found = dict(getattr(self._destination, "left_out", None) or {})
            return {str(what): int(count) for what, count in found.items()}
        except Exception:  # another attribute of that name, or a property that raises: delivery does not depend on it
            return {}

    def health(self) -> dict[str, Any]:
        """What `describe` says."""
        return describe(self.state, self.error, self.progress, self.newest(), self.left_out, flushed=self.flushed)

    # -- the worker's side -------------------------------------------------------------------------------

    def failed_call(self, error: BaseException, what: str) -> None:
        """A call of the destination's that is not repeated has raised: counted, and the first one is said."""
        self.progress = dataclasses.replace(self.progress, errors=self.progress.errors + 1)
        self._failed_call = safe_repr(error)
        self._say("error", f"{self.name}: {what}; more are only counted")

    def skip(self, records: int, why: str) -> None:
        """Records that are not kept for this destination: counted, and said once."""
        self.progress = dataclasses.replace(self.progress, skipped=self.progress.skipped + records)
        self._say("behind", f"{self.name} is skipping records: {why}")

    def _work(self) -> None:
        try:
            self._destination = self._opened()
            self._follow()
            self.complete = True
        except _Leave:
            pass
        except (Stop, DestinationError) as error:
            self._stopped(str(error) or safe_repr(error))
        except Exception as error:  # our own fault: said, and only this destination is without its worker
            self._stopped(f"the delivery failed: {safe_repr(error)}")
        finally:
            self._end()

    def _opened(self) -> Destination:
        while True:
            self._check()
            try:
                made = self.factory()
                made.open(dataclasses.replace(self.run, position=self.progress.position))
            except (Stop, DestinationError):
                raise
            except BaseException as error:
                self._failed(error)
                self._pause()
                continue
            if getattr(made, "lost", False) and self.progress.batch:
                self._say("lost", f"{self.name} lacks what it had taken: the whole run is given again")
                self.progress = dataclasses.replace(self.progress, batch=0, record=0, position=None, delivered=0)
                self.flushed = (0, 0)
            self._kinds = frozenset(getattr(made, "kinds", self._kinds))
            self._well()
            return made

    def _follow(self) -> None:
        while True:
            # Asked before looking: what was there before `end` is seen by this look.
            ending = self.ending
            self._check()
            if self._step():
                continue
            self.idle(ending)
            if not self._flush(0.0 if ending else self.flush_secs):
                continue
            if not ending:
                self._wake.wait(self.poll_secs)
                self._wake.clear()
            elif self.last is None:
                return
            else:
                last, self.last = self.last, None
                last()

    def _step(self) -> bool:
        """Deliver the next batch; False when there is none."""
        self._reached, self._damaged = (self.progress.batch, self.progress.record), 0
        batch = self._next()
        if batch is None and not self._damaged:
            return False
        taken, given_up = (0, []) if batch is None or not pieces.size(batch) else self._delivered(batch)
        self._advance(taken, len(given_up) + self._damaged)
        self.state = "waiting"
        if not given_up and not self._damaged:
            self._failing = None
        return True

    def _delivered(self, batch: Batch) -> tuple[int, list[int]]:
        """How many records were taken at last, and which were given up."""
        self.state = "delivering"
        handover = Handover(batch, write=self._write, wait=self._again, ahead=self._ahead, ending=lambda: self.ending)
        try:
            handover.finish()
            why = "" if handover.why is None else safe_repr(handover.why)
        except _Overrun:
            handover.abandon()
            why = "it is too far behind"
        lost = handover.given_up
        if lost:
            self._failing = f"gave up {len(lost)} record{'s' * (len(lost) > 1)}: {why}"
            self._say("skip", f"{self.name} {self._failing}; first: {min(lost)}")
        return handover.taken, lost

    def _next(self) -> Batch | None:
        """What the destination takes of the next batch, which may be nothing; None while there is none."""
        while True:
            number, record = self._reached[0] + 1, self._reached[1]
            try:
                batch = self.fetch(number)
            except CorruptError as error:
                self._failing = str(error)
                self._say(f"batch {number}", f"{self.name}: batch {number} is damaged and passed over ({error})")
                self._reached = (number, record)
                self._damaged += 1
                continue
            except Exception as error:  # the ledger is busy, or a part is being replaced
                self._failed(error)
                self._pause()
                continue
            if batch is None:
                return None
            number = max(number, batch.id)  # a later one where a lost ledger has taken some along
            self._reached = (number, max(record, max(pieces.numbers(batch), default=0)))
            return pieces.of_kinds(batch, self._kinds)

    def _ahead(self) -> Batch | None:
        while (batch := self._next()) is not None and not pieces.size(batch):
            pass
        return batch

    def _write(self, batch: Batch) -> BaseException | None:
        self._check()
        assert self._destination is not None
        try:
            self._destination.write(batch)
        except Stop:
            raise
        except Skip as skip:
            return skip
        except BaseException as error:
            self._failed(error)
            return error
        finally:
            for what in self.left_out:
                self._say(f"left out {what}", f"{self.name} has no place for {what}: left out, the rest kept")
        self.moved()
        self._backoff.reset()
        return None

    def _again(self) -> None:
        """Wait before a batch is given again."""
        self._pause()
        if self.overrun():
            raise _Overrun

    def _advance(self, taken: int, given_up: int) -> None:
        """Move the cursor to what was reached, and keep it."""
        position = getattr(self._destination, "position", None)
        batch, record = self._reached
        if self._dirty_since is None:
            self._dirty_since = time.monotonic()
        while True:
            following = dataclasses.replace(
                self.progress,
                batch=batch,
                record=record,
                position=self.progress.position if position is None else dict(position),
                delivered=self.progress.delivered + taken,
                skipped=self.progress.skipped + given_up,
            )
            try:
                self.save(following)
                break
            except Exception as error:  # a full disk: the destination has the batch, the cursor must not run on
                self._failed(error)
                self._pause()
        self.progress = following
        self._flush(_FLUSH_SECS)

    def _flush(self, patience_secs: float) -> bool:
        """Flush if anything has waited for it so long; False when that failed."""
        if self._dirty_since is None or time.monotonic() - self._dirty_since < patience_secs:
            return True
        try:
            self._flush_now()
        except Stop:
            raise
        except BaseException as error:
            self._failed(error)
            self._pause()
            return False
        if self.state == "retrying":
            self._well()
        return True

    def _flush_now(self) -> None:
        if self._destination is not None and self._dirty_since is not None:
            self._destination.flush()
            self._dirty_since, self.flushed = None, (self.progress.batch, self.progress.record)

    def _end(self) -> None:
        """Flush and close, whatever has happened before."""
        destination = self._destination
        self.closed = destination is None
        if destination is not None:
            for name, act in (("last", self.last), ("flush", self._flush_now), ("close", destination.close)):
                try:
                    if act is not None:
                        act()
                    self.closed = name == "close"
                except BaseException as error:
                    if self.state != "stopped":  # then it is said already what is wrong
                        self.failed_call(error, f"{name} raised {safe_repr(error)}")
        if self.state != "stopped":
            self.state = "closed"
        self.gone()

    # -- what is told --------------------------------------------------------------------------------------

    def _say(self, key: str, message: str) -> None:
        self.say(f"{key} {self.name}", message)

    def _failed(self, error: BaseException) -> None:
        self.state, self._failing = "retrying", safe_repr(error)
        counts = self.progress
        self.progress = dataclasses.replace(counts, retries=counts.retries + 1, errors=counts.errors + 1)
        self._say(f"retry {type(error).__name__}", f"{self.name}: {self._failing}; trying again")

    def _well(self) -> None:
        self.state, self._failing = "waiting", None
        self._backoff.reset()

    def _stopped(self, why: str) -> None:
        self.state, self._failing = "stopped", why
        self._say("stop", f"{self.name} is stopped: {why}")

    # -- waiting -------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._leaving or time.monotonic() >= self._deadline:
            raise _Leave

    def _pause(self) -> None:
        self._nudge.clear()
        self._check()
        secs, left = self._backoff.next(), self._due - time.monotonic()
        if left > 0:
            secs = min(secs, max(left / _HURRIES, _LEAST_WAIT_SECS))
        self._nudge.wait(secs)
        self._check()


class _Leave(Exception):  # noqa: N818 - control flow
    """Told to leave: what was not taken is given again from the cursor."""


class _Overrun(Exception):  # noqa: N818
    """What is being given is not kept any longer."""
