"""The seam between a library's device values and the recorder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

"""What gives way when too many values are on their way: see `Room`."""


class Refused(ValueError):  # noqa: N818 - never reaches the user as an exception
    """Why a device value cannot be recorded, and the remedy; the message is for the user."""


class Traced(Exception):  # noqa: N818 - another way to go on, not a fault
    """The value is a tracer: what is being logged happens each time the compiled function runs."""


class Later:
    """The one value of `LATER`."""

    def __repr__(self) -> str:
        return "LATER"


LATER: Final = Later()
"""Said by `Adapter.now`: the value is on a device, `begin` must fetch it."""


class Late(Protocol):
    """Values of one call on their way from a device.

    Made on the caller's thread, asked and read on the worker's. `ready` never waits and makes no call
    that a library forbids from another thread.
    """

    @property
    def lane(self) -> Hashable:
        """Values of one lane arrive in the order in which they were started."""

    @property
    def places(self) -> Sequence[int]:
        """Indices into the values that `begin` was given."""

    @property
    def size_bytes(self) -> int:
        """Host and device memory held until it is read or dropped."""

    def ready(self) -> bool:
        """Whether `read` will not wait (for devices that cannot be asked: True)."""

    def read(self) -> list[Any]:
        """One number, numpy array or `Refused` per place. Called once, then everything is let go."""

    def drop(self) -> None:
        """Let go without reading. Called from any thread."""


class Room(Protocol):
    """Makes room for another late value; applies the run's `device_full`."""

    def reuse(self, lane: Hashable) -> Late | None:
        """A late value that was given up, so that what it holds can be taken; None: `begin` must refuse.

        With "oldest" the oldest of this lane is given up; with "newest" none is; with "wait" the caller
        waits, its time is counted, and None means: try again, something may have become free.

        Raises:
            Refused: there is no room, and the newest value is the one to give up.
        """


class Adapter(Protocol):
    """One library's values. Thread-safe; made once per process, when its first value is met."""

    def scalar(self, value: Any) -> float | int | bool:
        """A host scalar by the shortest path.

        Raises:
            Refused: it is not one; `now` knows more.
        """

    def now(self, value: Any) -> Any:
        """A Python number or a numpy array (which may share the value's memory), or LATER.

        Raises:
            Refused: it cannot be recorded.
            Traced: it exists only while a function is compiled.
        """

    def begin(self, values: Sequence[Any], room: Room) -> list[Late]:
        """Start fetching values for which `now` said LATER, as they are at this moment. Never waits for a device."""
