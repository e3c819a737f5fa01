"""`steno demo`: train on real data in several processes, watched while it runs."""

from __future__ import annotations

import contextlib
import datetime as dt
import multiprocessing
import os
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno import next_steps, paths
from steno.cli import digits, options, terminal
from steno.errors import StenoError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import SpawnProcess

    from rich.console import Console
    from rich.table import Table

    from steno.store.reader import RunReader

KEYS = ("train/loss", "train/accuracy", "learning_rate", "gradient_norm")
REFRESH_SECS = 0.25
PLAIN_SECS = 2.0
"""Time between two lines where the output is no terminal."""
SETTLE_SECS = 10.0
"""How long the report waits for the collector to post the last records, on a machine that is very busy."""
LEAVE_SECS = 10.0
"""How long a worker may take to leave after Ctrl-C, before it is ended."""
MAX_WORKERS = 11
"""Each rank's shard of the training images must hold a batch."""


def demo(
    *,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=1, help="Number of training steps.")] = 300,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, max=MAX_WORKERS, help="Number of processes, one rank each.")
    ] = 4,
    view: Annotated[bool, typer.Option("--view", help="Also show it in a browser, until Ctrl-C.")] = False,
    dir: options.Dir = None,
) -> None:
    """Train on handwritten digits, to see steno at work.

    A small classifier is trained in several processes of one run, and shown live.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise UsageError("the demo's digits come with scikit-learn: pip install 'stenolog[demo]'") from error
    started = dt.datetime.now(dt.UTC).astimezone()
    # The process number keeps two demos that begin in the same second apart.
    name = f"{started:%Y%m%d-%H%M%S}-{os.getpid()}"
    place = paths.absolute("--dir", options.runs_dir(dir))
    plan = digits.Plan(place, "digits", name, steps, workers, ("tensorboard",))
    with _viewer(place) if view else contextlib.nullcontext():
        _train(terminal.console(), plan)


def _train(console: Console, plan: digits.Plan) -> None:
    """Train, show it, and say what came of it."""
    console.print(
        f"training on scikit-learn's digits: {plan.workers} processes, {plan.steps} steps, one run", markup=False
    )
    with _team(plan) as team:
        _watch(console, plan, team)
        failed = [f"rank {rank} ended with {code}" for rank, code in enumerate(team.codes()) if code != 0]
    if failed:
        raise StenoError(f"the demo did not train to its end: {', '.join(failed)}; see {plan.dir}/digits/{plan.name}")
    _report(console, plan)


@contextlib.contextmanager
def _viewer(place: str) -> Iterator[None]:
    """A browser that shows the runs, from the first step on and until Ctrl-C."""
    import steno
    from steno.cli.view import announce

    viewer = steno.view(place)
    try:
        yield
        terminal.say("")
        announce(next_steps.shown(place), viewer.address, viewer.url)
        with contextlib.suppress(KeyboardInterrupt):
            viewer.wait()
    finally:
        viewer.close()


@dataclass(frozen=True, slots=True)
class _Team:
    """The worker processes, one rank each."""

    processes: list[SpawnProcess]

    def busy(self) -> bool:
        """Whether any is still at work; when one has died, the others are ended: they would wait for it."""
        if any(process.exitcode not in {None, 0} for process in self.processes):
            for process in self.processes:
                process.terminate()  # not barrier.abort(): one that was killed may hold the barrier's lock for ever
        return any(process.exitcode is None for process in self.processes)

    def codes(self) -> list[int | None]:
        """Exit codes by rank, once all have ended."""
        for process in self.processes:
            process.join()
        return [process.exitcode for process in self.processes]


@contextlib.contextmanager
def _team(plan: digits.Plan) -> Any:
    """Start the workers; whatever happens here, none outlives it."""
    spawn = multiprocessing.get_context("spawn")
    gradients = spawn.RawArray("f", plan.workers * digits.parameter_count())
    barrier, stop = spawn.Barrier(plan.workers), spawn.RawValue("b", 0)
    team = _Team(
        [
            spawn.Process(target=digits.train, args=(plan, rank, gradients, barrier, stop), name=f"rank-{rank}")
            for rank in range(plan.workers)
        ]
    )
    try:
        # A worker keeps SIGINT blocked, which it inherits: train() says why.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for process in team.processes:
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        yield team
    except KeyboardInterrupt:
        # The workers mark the run as failed and leave.
        stop.value = 1
        barrier.abort()
        for process in team.processes:
            process.join(LEAVE_SECS)
        raise
    finally:
        for process in team.processes:
            if process.is_alive():
                process.terminate()
            process.join()
            process.close()


def _watch(console: Console, plan: digits.Plan, team: _Team) -> None:
    """Show the run, read from its directory while it is written, until the workers have ended."""
    live_run = _LiveRun(plan)
    if not console.is_terminal:
        _watch_plain(plan, team, live_run)
        return
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(TextColumn("training"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn(), console=console)
    task = bar.add_task("training", total=plan.steps)
    with Live(console=console, auto_refresh=False) as live:
        busy = True
        while busy:
            busy = team.busy()
            latest = live_run.latest()
            if len(latest) == plan.workers:
                bar.update(task, completed=min(row.step + 1 for row in latest.values()))
            live.update(Group(bar, _table(plan, latest)), refresh=True)
            if busy:
                time.sleep(REFRESH_SECS)


def _watch_plain(plan: digits.Plan, team: _Team, live_run: _LiveRun) -> None:
    said, due = -1, 0.0
    busy = True
    while busy:
        busy = team.busy()
        if not busy or time.monotonic() >= due:
            latest = live_run.latest()
            step = min((row.step for row in latest.values()), default=-1)
            if step > said:
                said, due = step, time.monotonic() + PLAIN_SECS
                row = latest[min(latest)]
                values = "  ".join(f"{key} {terminal.number(row.values.get(key))}" for key in KEYS)
                terminal.say(f"step {step + 1}/{plan.steps}  {values}")
                sys.stdout.flush()
        if busy:
            time.sleep(REFRESH_SECS)


@dataclass(frozen=True, slots=True)
class _Row:
    """A rank's newest values."""

    step: int
    values: dict[str, float]


class _LiveRun:
    """The run as another process sees it while it is written."""

    def __init__(self, plan: digits.Plan) -> None:
        self._place = Path(plan.dir, plan.project, plan.name)
        self._reader: RunReader | None = None

    def latest(self) -> dict[int, _Row]:
        """Each rank's newest values by rank, of the ranks that have any yet."""
        import numpy as np

        import steno

        if self._reader is None:
            try:
                self._reader = steno.open(self._place)
            except UsageError:
                # The first rank has not made it yet.
                return {}
        rows: dict[int, _Row] = {}
        for key in KEYS:
            series = self._reader.series(key)
            for rank in np.unique(series.rank).tolist():
                last = int(np.flatnonzero(series.rank == rank)[-1])
                row = rows.setdefault(rank, _Row(int(series.step[last]), {}))
                row.values[key] = float(series.value[last])
        return rows


def _table(plan: digits.Plan, latest: dict[int, _Row]) -> Table:
    values = terminal.table("rank", "step", *KEYS, numbers=("rank", "step", *KEYS))
    for rank in range(plan.workers):
        row = latest.get(rank)
        cells = [terminal.number(row.values.get(key)) for key in KEYS] if row else ["" for _ in KEYS]
        values.add_row(str(rank), str(row.step + 1) if row else "starting", *cells)
    return values


def _report(console: Console, plan: digits.Plan) -> None:
    """Where the run is, what it learned, and what to do next."""
    import steno
    from steno.cli.curves import chart_of

    reader = steno.open(Path(plan.dir, plan.project, plan.name))
    deadline = time.monotonic() + SETTLE_SECS
    while (state := reader.info.state) in {"", "running"} and time.monotonic() < deadline:
        time.sleep(REFRESH_SECS)
    if state in {"", "running"}:
        raise StenoError(
            f"the run is not posted to its end, see {reader.dir}/.steno; "
            f"steno sync {shlex.quote(str(reader.dir))} goes on with it"
        )
    console.print()
    terminal.print_text(console, chart_of(reader, "train/loss", ranks=None, points=400))
    accuracy = reader.series("test/accuracy").value
    reached = f"test accuracy {accuracy[-1]:.1%}; " if len(accuracy) else ""
    console.print(f"\n{reached}{reader.info.points:,} points recorded, run {state}\n", markup=False)
    for title, text in next_steps.ended(reader.dir, tensorboard=True):
        console.print(next_steps.line(title, text), markup=False, soft_wrap=True)
