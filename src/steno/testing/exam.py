"""The exam every destination should pass."""

from __future__ import annotations

import copy
import json
import math
import os
import struct
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steno import files
from steno.destinations.base import Destination
from steno.record import Entry, Ref, RunInfo
from steno.testing.batches import FIRST_TIME, make_batch
from steno.testing.fakes import EVERY_KIND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from steno.record import Batch

    Point = tuple[int, str, Any]

_STRANGE = {
    "nan": math.nan,
    "inf": math.inf,
    "minus inf": -math.inf,
    "minus zero": -0.0,
    "denormal": 5e-324,
    "beyond float32": 1e300,
    "2**53": 2**53,
    "2**63": 2**63,
    "-2**63": -(2**63),
    "2**100": 2**100,
    "text": 'a "text", with\nlines',
    "empty text": "",
    "ref": Ref("0" * 64, "image"),
}
_KEYS = (
    "loss",
    "train/loss",
    "λ/損失/🚂",
    "two\nlines",
    "car\rriage",
    'quo"te',
    "com,ma",
    "../../up",
    " ",
    "=1+1",
    "k" * 10_000,
)


class ExamError(AssertionError):
    """A destination failed; the message lists every check that it failed, and why."""


def check_destination(
    factory: Callable[[], Destination],
    *,
    read: Callable[[RunInfo], Iterable[Point]] | None = None,
    once: bool = True,
    named: Callable[[str], str] = str,
    kept_as: Callable[[float], float] = lambda number: number,
) -> list[str]:
    """Examine a destination; each check opens new objects on a new, empty run directory.

    Args:
        factory: makes a new destination, not opened yet.
        read: gives what has been delivered for a run as (step, key, value), in any order. Without it the exam
            sees only whether calls succeed. Numbers may come back rounded to float32; text and references may
            be left out, or come back as any text.
        once: the destination claims to deliver exactly once when it gets its old `position` back after a
            crash; False for a foreign service that takes some batches twice.
        named: the name under which the place has a key, where it does not take every key as it is.
        kept_as: the number that the place makes of one which it cannot hold, as its own documentation says it.

    Returns:
        The names of the checks that were passed.

    Raises:
        ExamError: with all failures.
    """
    passed: list[str] = []
    failures: list[str] = []
    for check in (*_ALWAYS, *(_WHERE_READ if read else ()), *(_WHERE_ONCE if read and once else ())):
        name = check.__name__.strip("_").replace("_", " ")
        place = Path(tempfile.mkdtemp(prefix="steno-exam-"))
        try:
            check(_Candidate(factory, read, place, named, kept_as))
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
        else:
            passed.append(name)
        finally:
            files.remove_tree(place)
    if failures:
        raise ExamError("the destination failed:\n  " + "\n  ".join(failures))
    return passed


@dataclass(frozen=True, slots=True)
class _Candidate:
    factory: Callable[[], Destination]
    read: Callable[[RunInfo], Iterable[Point]] | None
    place: Path
    named: Callable[[str], str]
    kept_as: Callable[[float], float]

    def run(self, position: Mapping[str, Any] | None = None) -> RunInfo:
        run_dir = self.place / "run"
        run_dir.mkdir(exist_ok=True)
        return RunInfo(run_dir, "exam-1", "exam", "steno", config={"lr": 0.1}, position=position)

    def opened(self, position: Mapping[str, Any] | None = None) -> Destination:
        destination = self.factory()
        destination.open(self.run(position))
        return destination

    def expect(self, batches: Iterable[Batch]) -> None:
        """What is delivered is exactly what the batches hold."""
        if self.read is None:
            return
        want: dict[tuple[int, str], list[Any]] = {}
        for batch in batches:
            for record in batch.records():
                for key, value in record.values.items():
                    kept = value if isinstance(value, str | Ref) else self.kept_as(value)
                    want.setdefault((record.step, self.named(key)), []).append(kept)
        have: dict[tuple[int, str], list[Any]] = {}
        for step, key, value in self.read(self.run()):
            have.setdefault((step, key), []).append(value)
        for point, values in want.items():
            found = have.pop(point, [])
            if not found and all(isinstance(value, str | Ref) for value in values):
                continue
            _demand(len(found) == len(values), f"{_said(point)} was delivered {len(found)} times, not {len(values)}")
            left = list(values)
            for one in found:
                match = next((at for at, value in enumerate(left) if _same(value, one)), None)
                _demand(match is not None, f"{_said(point)} came back as {one!r}, not {left[0]!r}")
                del left[match or 0]
        _demand(not have, f"{len(have)} points were never given, such as {[_said(point) for point in have][:3]}")


def _the_four_methods(candidate: _Candidate) -> None:
    destination = candidate.factory()
    _demand(isinstance(destination, Destination), "it lacks one of open, write, flush, close")
    kinds = getattr(destination, "kinds", frozenset({"points"}))
    _demand(isinstance(kinds, frozenset), f"kinds is a {type(kinds).__name__}, not a frozenset")
    _demand(kinds <= EVERY_KIND, f"kinds has unknown {sorted(kinds - EVERY_KIND)}")
    candidate.opened().close()


def _a_batch_is_delivered(candidate: _Candidate) -> None:
    batch = _steps(0, 10)
    destination = candidate.opened()
    destination.write(batch)
    destination.flush()
    candidate.expect([batch])
    _json_able(destination)
    destination.close()
    candidate.expect([batch])


def _close_may_be_called_again(candidate: _Candidate) -> None:
    candidate.factory().close()
    destination = candidate.opened()
    destination.write(_steps(0, 2))
    destination.close()
    destination.close()


def _flush_may_be_called_at_any_time(candidate: _Candidate) -> None:
    destination = candidate.opened()
    destination.flush()
    destination.write(_steps(0, 2))
    destination.flush()
    destination.flush()
    destination.close()


def _an_empty_batch_is_nothing(candidate: _Candidate) -> None:
    destination = candidate.opened()
    destination.write(make_batch([], id=1))
    destination.write(_steps(0, 3, id=2))
    destination.write(make_batch([], id=3, first=4))
    destination.write(make_batch([(5, {})], id=4, first=4))
    destination.close()
    candidate.expect([_steps(0, 3)])


def _strange_values_are_kept(candidate: _Candidate) -> None:
    _deliver(candidate, [make_batch([(0, _STRANGE), (1, {"text": "again", "nan": 1.0}), (2, {"2**63": 0.5})])])


def _strange_keys_are_kept(candidate: _Candidate) -> None:
    _deliver(candidate, [make_batch([(step, dict.fromkeys(_KEYS, step + 0.5)) for step in range(3)])])
    strangers = [path.name for path in candidate.place.iterdir() if path.name != "run"]
    _demand(not strangers, f"a key became a path: {strangers}")


def _ten_thousand_keys_are_kept(candidate: _Candidate) -> None:
    keys = [f"layer/{index}/norm" for index in range(10_000)]
    _deliver(candidate, [make_batch([(step, dict.fromkeys(keys, 0.5)) for step in range(2)])])


def _any_step_is_kept(candidate: _Candidate) -> None:
    steps = [0, 127, 128, -1, 2**31, 2**40, 5, 5, 2**63 - 1, -(2**63), 16_384, 3]
    _deliver(candidate, [make_batch([(step, {"loss": float(at)}) for at, step in enumerate(steps)])])


def _entries_are_taken(candidate: _Candidate) -> None:
    entries = [
        Entry(
            10 + at,
            FIRST_TIME,
            None if at % 2 else at,
            0,
            1,
            kind,
            {"name": "x", "number": 1.5, "nested": {"a": [1, math.nan]}},
        )
        for at, kind in enumerate(sorted(EVERY_KIND - {"points"}))
    ]
    destination = candidate.opened()
    kinds = getattr(destination, "kinds", frozenset({"points"}))
    mine = [entry for entry in entries if entry.kind in kinds]
    destination.write(make_batch([], entries=mine))
    batch = make_batch([(step, {"loss": 1.0}) for step in range(20)], id=2, first=5, entries=mine)
    destination.write(batch)
    destination.close()
    candidate.expect([batch])


def _many_batches_keep_their_order(candidate: _Candidate) -> None:
    _deliver(candidate, [_steps(5 * id, 5 * id + 5, id=id + 1) for id in range(200)])


def _ranks_are_taken(candidate: _Candidate) -> None:
    records = [(at // 4, {"loss": float(at)}) for at in range(40)]
    _deliver(candidate, [make_batch(records, ranks=[at % 4 for at in range(40)])])


def _another_thread_may_use_it(candidate: _Candidate) -> None:
    errors: list[BaseException] = []
    destination = candidate.factory()

    def work() -> None:
        try:
            destination.open(candidate.run())
            destination.write(_steps(0, 5))
            destination.flush()
            destination.close()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    _demand(not thread.is_alive(), "it hung")
    if errors:
        raise errors[0]
    candidate.expect([_steps(0, 5)])


def _it_goes_on_after_a_restart(candidate: _Candidate) -> None:
    first, second = _steps(0, 10), _steps(10, 20, id=2)
    destination = candidate.opened()
    destination.write(first)
    position = _position(destination)
    destination.close()
    destination = candidate.opened(position)
    destination.write(second)
    destination.close()
    candidate.expect([first, second])


def _a_batch_given_again_after_a_crash_is_delivered_once(candidate: _Candidate) -> None:
    for before in (0, 1):
        for again in ("as it was", "from a part", "halved"):
            given = [_steps(at * 10, at * 10 + 10, id=at + 1) for at in range(before + 2)]
            _after_a_crash(candidate, given, before, again, cuts=(None,))


def _a_torn_write_is_completed(candidate: _Candidate) -> None:
    destination = candidate.opened()
    destination.close()
    if getattr(destination, "position", None) is None:
        return  # its files, if any, are its own business
    for before in (0, 1):
        for again in ("as it was", "from a part", "halved"):
            given = [_steps(at * 10, at * 10 + 10, id=at + 1) for at in range(before + 3)]
            _after_a_crash(candidate, given, before, again, cuts=(0.0, 0.01, 0.3, 0.5, 0.77, 0.999))


def _after_a_crash(
    candidate: _Candidate, given: list[Batch], before: int, again: str, cuts: Iterable[float | None]
) -> None:
    """Deliver `before` batches and save the cursor; deliver more, crash, and give those again.

    A cut says how much of each file's new bytes the crash lets reach the file.
    """
    run_dir = candidate.run().dir
    for cut in cuts:
        files.remove_tree(run_dir)
        destination = candidate.opened()
        for batch in given[:before]:
            destination.write(batch)
        position = _position(destination) if before else None
        sizes = _sizes(run_dir)
        for batch in given[before:-1]:
            destination.write(batch)
        destination.close()
        if cut is not None:
            for path, size in _sizes(run_dir).items():
                os.truncate(path, sizes.get(path, 0) + int((size - sizes.get(path, 0)) * cut))
        destination = candidate.opened(position)
        for batch in given[0 if getattr(destination, "lost", False) else before :]:
            for piece in _again(batch, again):
                destination.write(piece)
        destination.close()
        try:
            candidate.expect(given)
        except ExamError as error:
            torn = "" if cut is None else f", {cut:.1%} of the bytes written"
            raise ExamError(f"{error} ({before} batches before, given again {again}{torn})") from error


def _again(batch: Batch, how: str) -> list[Batch]:
    if how == "as it was":
        return [batch]
    records = [(record.step, record.values) for record in batch.records()]
    first = int(batch.record[0])
    if how == "from a part":
        return [make_batch(records, id=batch.id, first=first, stored=True)]
    half = len(records) // 2
    return [
        make_batch(records[:half], id=batch.id, first=first),
        make_batch(records[half:], id=batch.id, first=first + half),
    ]


def _steps(start: int, stop: int, *, id: int = 1) -> Batch:
    """Records of two key sets, one with text, whose keys are not in order."""
    records: list[tuple[int, dict[str, Any]]] = []
    for step in range(start, stop):
        records.append((step, {"train/loss": 1 / (step + 1), "lr": 0.1 * step, "big": 2**60 + step}))
        if step % 5 == 0:
            records[-1] = (step, {"val/loss": step / 3, "note": f"step {step}", "acc": 0.5})
    return make_batch(records, id=id, first=start + 1)


def _deliver(candidate: _Candidate, batches: list[Batch]) -> None:
    destination = candidate.opened()
    for batch in batches:
        destination.write(batch)
    _json_able(destination)
    destination.flush()
    destination.close()
    candidate.expect(batches)


def _position(destination: Destination) -> Any:
    """As the ledger keeps it: through JSON, and apart from the living object."""
    position = copy.deepcopy(getattr(destination, "position", None))
    return None if position is None else json.loads(json.dumps(dict(position)))


def _json_able(destination: Destination) -> None:
    position = getattr(destination, "position", None)
    if position is None:
        return
    text = json.dumps(dict(position))
    _demand(json.loads(text) == dict(position), f"position does not survive JSON: {position!r}")
    _demand(len(text) < 100_000, f"position takes {len(text):,} bytes; it is saved with every cursor")


def _sizes(run_dir: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in run_dir.rglob("*") if path.is_file()}


def _same(want: Any, found: Any) -> bool:
    if isinstance(want, str | Ref) or isinstance(found, str):
        return isinstance(want, Ref) or want == found
    if isinstance(found, float) and found != found:  # noqa: PLR0124
        return bool(want != want)  # noqa: PLR0124
    return bool(found == want or found == _float32(want)) and _sign(found) == _sign(want)


def _float32(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _sign(value: float) -> float:
    return 1.0 if value > 0 else -1.0 if value < 0 else math.copysign(1.0, value)


def _said(point: tuple[int, str]) -> str:
    step, key = point
    return f"step {step} of {key[:40]!r}"


def _demand(condition: bool, why: str) -> None:
    if not condition:
        raise ExamError(why)


_ALWAYS = (
    _the_four_methods,
    _a_batch_is_delivered,
    _close_may_be_called_again,
    _flush_may_be_called_at_any_time,
    _an_empty_batch_is_nothing,
    _strange_values_are_kept,
    _strange_keys_are_kept,
    _ten_thousand_keys_are_kept,
    _any_step_is_kept,
    _entries_are_taken,
    _many_batches_keep_their_order,
    _ranks_are_taken,
    _another_thread_may_use_it,
)
_WHERE_READ = (_it_goes_on_after_a_restart,)
_WHERE_ONCE = (_a_batch_given_again_after_a_crash_is_delivered_once, _a_torn_write_is_completed)
