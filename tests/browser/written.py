"""Runs whose every value is known."""

from __future__ import annotations

import math
import random

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
