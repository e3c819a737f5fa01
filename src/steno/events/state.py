"""What a callback or destination knows about the loop: a snapshot as of one record."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from steno.events.timestamp import Timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steno.events.event import Event
    from steno.events.time import Time


@dataclass(frozen=True, slots=True)
class State:
    """A training loop as it stood when a record or an event was logged. Immutable; any thread may read it.

    It is made from the events before that moment, in their order, and holds nothing of the program: no model, no
    tensors. What else the last event said (`run.event(Event.AFTER_LOSS, loss=0.5)`) can be read as an attribute.
    """

    run_name: str
    timestamp: Timestamp = field(default_factory=Timestamp)
    eval_timestamp: Timestamp = field(default_factory=Timestamp)
    """Within the evaluation that began last."""
    predict_timestamp: Timestamp = field(default_factory=Timestamp)
    max_duration: Time | None = None
    """As a FIT_START or INIT said it (`max_duration="10ep"`), or the run's configuration; None if nobody did."""
    event: Event | None = None
    """The last event."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    """What that event said."""
    rank: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "payload", MappingProxyType(dict(self.payload)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only mapping cannot be pickled or copied.
        values = {one.name: getattr(self, one.name) for one in fields(self)} | {"payload": dict(self.payload)}
        return _restored, (values,)

    @property
    def timer(self) -> Timestamp:
        """`timestamp`, by its earlier name."""
        return self.timestamp

    def get_elapsed_duration(self) -> Time | None:
        """The share of `max_duration` that is done, in "dur".

        Returns:
            A `Time` in "dur"; None: no `max_duration` is known that can be divided by.
        """
        if self.max_duration is None:
            return None
        if self.max_duration.unit == "dur" or not self.max_duration.value:
            return None
        return self.timestamp.get(self.max_duration.unit) / self.max_duration

    def __getattr__(self, name: str) -> Any:
        # Only asked for what is no field. Copying and pickling look for their own names before there are fields.
        if not name.startswith("_"):
            try:
                return self.payload[name]
            except KeyError:
                pass
        msg = (
            f"the state has no {name!r}: it is a snapshot of where the loop stood, without the program's objects. "
            f"Hand it over as run.event(..., {name}=...)"
        )
        raise AttributeError(msg)


def _restored(values: dict[str, Any]) -> State:
    return State(**values)
