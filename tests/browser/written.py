"""Runs whose every value is known."""

from __future__ import annotations

import contextlib
import json
import math
import random
import time

import steno


def write(place, name, *, project="digits", steps=3000, config=None, seed=0, **options):
    """A run with spikes, NaN and infinities at known steps."""
    rng = random.Random(seed)
    run = steno.init(project=project, name=name, dir=str(place), config=config or {}, **options)
    for step in range(steps):
        loss = math.exp(-step / 800) + 0.05 * rng.random() + 0.02 * seed
        values = {"train/loss": loss, "lr": 0.1 * (1 - step / steps)}
        if step == 1234:
            values["train/loss"] = 9.0 + seed
        elif step == 2000:
            values["train/loss"] = math.nan
        elif step == 2400:
            values["train/loss"] = math.inf
        elif step == 2600:
            values["train/loss"] = -math.inf
        if step % 100 == 0:
            values |= {"val/acc": 1 - loss, "level": seed}
        run.log(values, step=step)
    assert run.finish(60)


def sealed(run):
    """The parts of a run that has ended, once its collector has written them and its manifest."""
    until = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, ValueError):
            if json.loads((run / "manifest.json").read_text()).get("state") == "finished":
                return [*run.rglob("*part*.parquet")]
        assert time.monotonic() < until, f"{run} has no manifest that says its end"
        time.sleep(0.05)


def copied(run, names):
    """The same run under other names beside it; what a process still holds of it is left."""
    sealed(run)
    content = {}
    for path in run.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and ".steno" not in path.parts:
                content[path.relative_to(run)] = path.read_bytes()
    for name in names:
        for inside, found in content.items():
            path = run.parent / name / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found)
