"""Runs with media whose every pixel is known."""

from __future__ import annotations

import numpy as np

import steno

HOSTILE = "<img src=x onerror=alert(1)>"
HALF = 32


def picture(step, size=64):
    """Left half of one grey, right half of another, by the step."""
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[:, :HALF] = 40 + step
    pixels[:, HALF:] = 200 - step
    return pixels


def mask():
    """The upper half is class 1, the lower class 300: more than 8 bits."""
    made = np.ones((64, 64), int)
    made[HALF:] = 300
    return {"data": made, "classes": {1: "sky"}}


def write(place, name, *, every=1, steps=12, first=0, project="media", **options):
    """A run with an image each `every` steps, and a list of two."""
    run = steno.init(project=project, name=name, dir=str(place), **options)
    for step in range(first, first + steps):
        values = {"loss": 1.0 / (1 + step)}
        if step % every == 0:
            boxes = [
                {"box": (4, 4, 24, 24), "label": "cat", "score": 0.9},
                {"box": (36, 36, 60, 60), "label": HOSTILE, "score": 0.4},
            ]
            values["val/sample"] = steno.Image(picture(step), f"{HOSTILE} at {step}", boxes=boxes, masks={"m": mask()})
            values["more"] = [steno.Image(picture(step)), steno.Image(picture(step + 1))]
        run.log(values, step=step)
    assert run.finish(120)
    return run
