"""Where a training loop stands: how many epochs, batches, samples and tokens are done, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, Final

from steno.events.time import Time, unit_of

_UNITS: Final = {"epoch": "ep", "batch": "ba", "sample": "sp", "token": "tok"}
_ZERO: Final = timedelta()


def _of_unit(name: str, value: Any) -> Time:
    unit = _UNITS[name.removesuffix("_in_epoch")]
    if isinstance(value, str):
        value = Time.parse(value)
    if isinstance(value, Time) and value.unit != unit:
        msg = f"{name} is counted in {unit!r}, not as {value}"
        raise ValueError(msg)
    return Time(int(value), unit)


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A loop's position; immutable, so that it can be kept. Any thread may read it.

    What is counted is done: in the first batch `batch` is 0, and 1 at its BATCH_END. Each field is given as an int,
    a `Time` or a text ("3ep"), and read as a `Time`; wall-clock times are timedeltas, or seconds when given.

    Raises:
        ValueError: a value of another unit.
    """

    epoch: Time = 0  # type: ignore[assignment]
    batch: Time = 0  # type: ignore[assignment]
    sample: Time = 0  # type: ignore[assignment]
    token: Time = 0  # type: ignore[assignment]
    batch_in_epoch: Time = 0  # type: ignore[assignment]
    sample_in_epoch: Time = 0  # type: ignore[assignment]
    token_in_epoch: Time = 0  # type: ignore[assignment]
    total_wct: timedelta = _ZERO
    """Time spent in batches since the loop began."""
    epoch_wct: timedelta = _ZERO
    """Of it, since the epoch began."""
    batch_wct: timedelta = _ZERO
    """Of it, in the last batch: from the end of the one before to its own."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_wct"):
                made: Any = value if isinstance(value, timedelta) else timedelta(seconds=value)
            else:
                made = _of_unit(field.name, value)
            object.__setattr__(self, field.name, made)

    def get(self, unit: Any) -> Time:
        """The count in a unit.

        Args:
            unit: "ep", "ba", "sp" or "tok", or the name of one.

        Returns:
            The count since the beginning.

        Raises:
            ValueError: another unit; the share of the duration is `State.get_elapsed_duration`.
        """
        short = unit_of(unit)
        for name, known in _UNITS.items():
            if known == short:
                found: Time = getattr(self, name)
                return found
        msg = "a timestamp does not know the duration: ask state.get_elapsed_duration()"
        raise ValueError(msg)

    def copy(self, **changes: Any) -> Timestamp:
        """Another one with these fields changed.

        Args:
            changes: fields by name, as the constructor takes them.

        Returns:
            A new one.
        """
        return replace(self, **changes)

    def to_next_batch(
        self, samples: int | Time = 0, tokens: int | Time = 0, duration: timedelta | float = _ZERO
    ) -> Timestamp:
        """The position when a batch of that many samples and tokens, that took so long, is done.

        Args:
            samples, tokens: how many the batch had.
            duration: a timedelta, or seconds.

        Returns:
            A new one.
        """
        spent = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
        return replace(
            self,
            batch=self.batch + 1,
            batch_in_epoch=self.batch_in_epoch + 1,
            sample=self.sample + samples,
            sample_in_epoch=self.sample_in_epoch + samples,
            token=self.token + tokens,
            token_in_epoch=self.token_in_epoch + tokens,
            total_wct=self.total_wct + spent,
            epoch_wct=self.epoch_wct + spent,
            batch_wct=spent,
        )

    def to_next_epoch(self) -> Timestamp:
        """The position when the epoch is done: what is counted within it begins again at 0.

        Returns:
            A new one.
        """
        return self.in_epoch(int(self.epoch) + 1)

    def in_epoch(self, epoch: int) -> Timestamp:
        """The position at the beginning of that epoch.

        Args:
            epoch: counted from 0.

        Returns:
            A new one.
        """
        return self.copy(
            epoch=epoch, batch_in_epoch=0, sample_in_epoch=0, token_in_epoch=0, epoch_wct=_ZERO, batch_wct=_ZERO
        )

    def get_state(self) -> dict[str, Time | timedelta]:
        """The fields by name, as they are.

        Returns:
            Every field, as `Time` or timedelta.
        """
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def state_dict(self) -> dict[str, Any]:
        """The fields as plain values: ints, and timedeltas.

        Returns:
            What `load_state_dict` takes, and pickle and torch.save.
        """
        return {name: int(one) if isinstance(one, Time) else one for name, one in self.get_state().items()}

    def load_state_dict(self, state: dict[str, Any]) -> Timestamp:
        """The position that `state_dict` gave; this one stays as it is.

        Args:
            state: what `state_dict` gave.

        Returns:
            A new one.
        """
        return replace(self, **state)

    def _against(self, other: Any) -> tuple[Time, Time]:
        if isinstance(other, str):
            other = Time.parse(other)
        if not isinstance(other, Time):
            msg = f"a timestamp is compared with a time such as '3ep', not with a {type(other).__name__}"
            raise TypeError(msg)
        return self.get(other.unit), other

    def __lt__(self, other: Any) -> bool:
        mine, its = self._against(other)
        return mine < its

    def __le__(self, other: Any) -> bool:
        mine, its = self._against(other)
        return mine <= its

    def __gt__(self, other: Any) -> bool:
        mine, its = self._against(other)
        return mine > its

    def __ge__(self, other: Any) -> bool:
        mine, its = self._against(other)
        return mine >= its
