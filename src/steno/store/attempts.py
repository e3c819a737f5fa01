"""The attempts of a run, and what a rewind hides."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from steno.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from steno.record import Entry


_LOOKS: Final = 3
"""A name that leads nowhere is in every look; files that were removed while they were read are not in the next one."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a run between resumes."""

    attempt: int
    started: int = 0
    """Nanoseconds since 1970, UTC; 0 when it was not written down."""
    rewind: int | None = None
    """Points of earlier attempts from this step on are hidden."""
    token: str = ""


def read_attempts(
    run_dir: Path, manifest: Callable[[], Mapping[str, Any]], starts: Callable[[], Iterable[Entry]]
) -> tuple[Attempt, ...]:
    """The attempts by number, from `.steno/attempts`, else the manifest, else the entries of starting processes.

    Args:
        run_dir: the run's directory.
        manifest: reads the run's, or gives an empty one. It is called only when `.steno` has been found to be gone:
            a run writes its manifest before it removes that, and one from before would lack the last attempt.
        starts: reads the entries of kind "start"; called only where nothing else tells.

    A torn file is passed over.
    """
    place = run_dir / ".steno" / "attempts"
    for _ in range(_LOOKS):
        found, names, gone = _of_files(place)
        if not gone:
            break
    knows_rewinds = bool(found)
    if not found:
        rows = manifest().get("attempts") or ()
        for row in rows:
            _add(found, row)
        knows_rewinds = bool(found) and all("rewind" in row for row in rows if isinstance(row, dict))
    if not knows_rewinds and not names:
        for entry in starts():
            known = found.get(entry.attempt)
            if known is None or known.rewind is None:
                row = {"attempt": entry.attempt, "started": entry.time, "rewind": entry.payload.get("rewind")}
                _add(found, row)
    return tuple(found[number] for number in sorted(found))


def _of_files(place: Path) -> tuple[dict[int, Attempt], list[str], bool]:
    """(the attempts that have a file there, the names of the files, whether some were removed meanwhile)."""
    found: dict[int, Attempt] = {}
    gone = False
    try:
        names = os.listdir(place)
    except OSError:
        return found, [], False
    for name in names:
        if name.endswith(".json"):
            try:
                _add(found, json.loads((place / name).read_bytes()))
            except FileNotFoundError:
                gone = True
            except (OSError, ValueError, RecursionError):
                continue
    return found, names, gone


def _add(found: dict[int, Attempt], row: Any) -> None:
    try:
        rewind = row.get("rewind")
        number = int(row["attempt"])
        started = _nanos(row.get("started"))
        found[number] = Attempt(number, started, None if rewind is None else int(rewind), str(row.get("token") or ""))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return


def _nanos(time: Any) -> int:
    """Seconds as a float or nanoseconds as an integer → nanoseconds."""
    if isinstance(time, float):
        return int(time * 1e9)
    return int(time or 0)


class Placed(Protocol):
    """Points, as far as a choice looks at them; arrays of shape (n,)."""

    @property
    def attempt(self) -> NDArray[np.int32]: ...
    @property
    def rank(self) -> NDArray[np.int32]: ...
    @property
    def step(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True, slots=True)
class Choice:
    """Which points of a run are meant: an attempt or what the rewinds leave, a rank, a range of steps."""

    hidden: tuple[tuple[int, int], ...] = ()
    """(attempt, step): points of attempts before it, from the step on, are hidden."""
    attempt: int | None = None
    rank: int | None = None
    first: int | None = None
    last: int | None = None

    def sql(self) -> str:
        """The choice as a condition on the columns of a part; `true` when all points are meant."""
        terms = [f"not (attempt < {number} and step >= {step})" for number, step in self.hidden]
        for column, sign, bound in self._terms():
            terms.append(f"{column} {sign} {bound}")
        return " and ".join(terms) or "true"

    def mask(self, points: Placed) -> NDArray[np.bool_] | None:
        """The choice over points as a boolean mask, shape (n,); None when all are meant."""
        mask: NDArray[np.bool_] | None = None
        for number, step in self.hidden:
            term = ~((points.attempt < number) & (points.step >= step))
            mask = term if mask is None else mask & term
        for column, sign, bound in self._terms():
            data = getattr(points, column)
            term = {"=": data.__eq__, ">=": data.__ge__, "<=": data.__le__}[sign](bound)
            mask = term if mask is None else mask & term
        return mask

    def _terms(self) -> list[tuple[str, str, int]]:
        whole = (
            ("attempt", "=", self.attempt),
            ("rank", "=", self.rank),
            ("step", ">=", self.first),
            ("step", "<=", self.last),
        )
        return [(column, sign, bound) for column, sign, bound in whole if bound is not None]


Choose = Callable[[Sequence[Attempt]], Choice]
"""Which points are meant, by the attempts that a run has at the moment it is read."""


def choose(
    attempts: Sequence[Attempt], attempt: int | str, rank: int | None = None, steps: tuple[Any, Any] | None = None
) -> Choice:
    """The choice that the arguments of `RunReader.series` describe.

    Raises:
        UsageError: an argument is not what it may be.
    """
    first, last = None, None
    if steps is not None:
        try:
            first, last = (None if bound is None else _whole("steps", bound) for bound in steps)
        except (TypeError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            msg = f"steps={steps!r}: give (first, last), both included; None leaves a side open"
            raise UsageError(msg) from error
    rank = None if rank is None else _whole("rank", rank)
    if attempt == "all":
        return Choice((), None, rank, first, last)
    if attempt == "latest":
        hidden = tuple((one.attempt, one.rewind) for one in attempts if one.rewind is not None)
        return Choice(hidden, None, rank, first, last)
    if isinstance(attempt, str):
        msg = f'attempt={attempt!r}: "latest" (what rewinds leave), "all", or an attempt\'s number'
        raise UsageError(msg)
    return Choice((), _whole("attempt", attempt), rank, first, last)


def _whole(name: str, value: Any) -> int:
    try:
        if not isinstance(value, str | float | bool):
            return int(value)
    except (TypeError, ValueError):
        pass
    msg = f"{name}={value!r}: an integer is needed"
    raise UsageError(msg)
