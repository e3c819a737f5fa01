"""A quantity of training, in epochs, batches, samples, tokens or as a share of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Any, Final

UNITS: Final = ("ep", "ba", "sp", "tok", "dur")
"""Epochs, batches, samples, tokens, and the elapsed share of the whole duration (a float)."""
_NAMES: Final = {
    "epoch": "ep", "epochs": "ep", "batch": "ba", "batches": "ba", "sample": "sp", "samples": "sp",
    "token": "tok", "tokens": "tok", "duration": "dur",
}  # fmt: skip
_FORM: Final = re.compile(r"\s*([-+0-9._eE]+?)\s*(ep|ba|sp|tok|dur)\s*")


def unit_of(unit: Any) -> str:
    """The short name of a unit: "ep" for "ep", "EPOCH" or an enum whose value is one of them.

    Raises:
        ValueError: it is none.
    """
    text = str(getattr(unit, "value", unit)).lower()
    short = _NAMES.get(text, text)
    if short not in UNITS:
        msg = f"{unit!r} is no unit of time: use {', '.join(UNITS)}"
        raise ValueError(msg)
    return short


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Time:
    """A number with its unit; immutable.

    `int(time)` and `float(time)` give the number, and it serves as an index. It is compared and reckoned with
    another of its unit, a text such as "10ep", or a number, which is taken to be of its unit.

    Raises:
        ValueError: two units are mixed, or the text is no time.
    """

    value: int | float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Time:
        """The time of a text such as "10ep", "500ba" or "0.5dur".

        Args:
            text: a number and a unit: ep, ba, sp, tok or dur.

        Returns:
            The number with its unit.

        Raises:
            ValueError: it is none.
        """
        found = _FORM.fullmatch(text)
        try:
            if found is None:
                raise ValueError
            number = found[1].replace("_", "")
            return cls(float(number) if found[2] == "dur" else int(number), found[2])
        except ValueError:
            msg = f'{text!r} is no time: write a number and a unit, such as "10ep", "500ba", "4096sp" or "0.5dur"'
            raise ValueError(msg) from None

    def to_timestring(self) -> str:
        """Write it as text.

        Returns:
            Such as "10ep", which `parse` reads.
        """
        return f"{self.value}{self.unit}"

    def _number(self, other: Any) -> Any:
        if isinstance(other, str):
            other = Time.parse(other)
        unit = getattr(other, "unit", None)
        if unit is not None:
            if unit_of(unit) != self.unit:
                msg = f"{self} and {other} have different units"
                raise ValueError(msg)
            return other.value
        return other if isinstance(other, int | float) else None

    def __int__(self) -> int:
        return int(self.value)

    def __index__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return self.to_timestring()

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec else str(self)

    def __eq__(self, other: object) -> bool:
        try:
            number = self._number(other)
        except ValueError:
            return False
        return NotImplemented if number is None else bool(self.value == number)

    def __lt__(self, other: Any) -> bool:
        number = self._number(other)
        return NotImplemented if number is None else bool(self.value < number)

    def __add__(self, other: Any) -> Time:
        number = self._number(other)
        return NotImplemented if number is None else Time(self.value + number, self.unit)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Time:
        number = self._number(other)
        return NotImplemented if number is None else Time(self.value - number, self.unit)

    def __rsub__(self, other: Any) -> Time:
        number = self._number(other)
        return NotImplemented if number is None else Time(number - self.value, self.unit)

    def __mod__(self, other: Any) -> Time:
        number = self._number(other)
        return NotImplemented if number is None else Time(self.value % number, self.unit)

    def __mul__(self, other: Any) -> Time:
        if not isinstance(other, int | float):
            return NotImplemented
        return Time(self.value * other if self.unit == "dur" else int(self.value * other), self.unit)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Time:
        """By a time of the same unit: the share, in "dur"; by a number: a time of this unit."""
        if isinstance(other, Time | str):
            return Time(self.value / self._number(other), "dur")
        if not isinstance(other, int | float):
            return NotImplemented
        return Time(self.value / other if self.unit == "dur" else int(self.value / other), self.unit)
