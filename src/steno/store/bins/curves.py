"""`steno.bins`: curves of many runs together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.store.bins.groups import names_of
from steno.store.bins.question import ask
from steno.store.bins.several import CurveRequest, answers

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from steno.store.bins.answer import Curves


def bins(
    keys: str | Iterable[str],
    runs: Any = None,
    *,
    x: str = "step",
    range: Sequence[Any] | None = None,
    width: int = 500,
    ranks: int | str | Iterable[int] | None = None,
    group: str | Iterable[str] | None = None,
    smooth: tuple[str, float] | None = None,
    edges: bool = False,
    dir: str | os.PathLike[str] | None = None,
) -> Curves:
    """Curves of many runs together: each as its points where they are few, else as bins with exact extremes.

    Bins are `[i * w, (i + 1) * w)`, with `w` a power of two of a step (of a second, from 1/512 s on, where x is a
    time), the same for all curves of an answer, the smallest that gives at most `width` bins. A series with at
    most `2 * width` points in the range comes as its points. Points that a rewind hides are in none.

    Args:
        keys: one or several.
        runs: what `steno.runs` gives, a run or several by name, directory or URL, a directory of runs, the URL of a
            store; None: all runs under `dir`.
        x: "step"; "time"; "relative": since the run's first record, without the gaps between attempts; or a key:
            its last value at or before each record. Such a curve is all its points in order of record, in which x
            may fall; `is_monotonic` says whether it does not.
        range: (first, last) in units of x, both included; None leaves a side open. Times are seconds since 1970,
            or datetimes; relative ones are seconds.
        width: at most so many bins, 1 to 8,192.
        ranks: None: the points of all ranks together; "all": a curve for each; a rank or a list of ranks: a curve
            for each of those.
        group: names of the `where` language such as "config.lr": for each of their values a mean over runs, in
            `groups`; []: one over all runs.
        smooth: (kind, width): a smoothed line for each curve, of the whole series, whatever `range` is. "ema":
            time-weighted and debiased, a point weighs exp(-d / width) at a distance d before; "gaussian": of that
            standard deviation; "mean": of all within half a width. The width is in units of x, of times in seconds.
        edges: each curve also has the nearest point on both sides of `range`, as `before` and `after`, so that its line
            can be drawn to the ends; one without a point in the range is there where it has both. Over a key there
            are none.
        dir: where runs are kept, for names; None: STENO_DIR, else `runs`.

    Returns:
        The curves by run, key and rank. A run that is damaged or gone costs no other; `left_out` names it.

    Raises:
        RunNotFoundError: there is no run at all.
        UsageError: an argument is not what it may be.

    Thread-safe, also in a forked child. It changes no run.
    """
    question = ask(keys, x, range, width, ranks, smooth, edges=edges)
    return answers([CurveRequest(question, names_of(group))], runs, dir)[0]
