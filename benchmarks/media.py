"""What a media call costs the caller, beside what it would cost to encode there.

    python benchmarks/media.py [--rounds 400] [--pause-ms 0]

Each round logs one value that is made anew; the median and the 99th percentile are given in µs, and beside them the
median of what the same value costs in the way of tensorboardX: encoding in the caller with Pillow. With `--pause-ms` the
caches and the clock of an idle core are cold, as in a training loop that logs now and then.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image as Pil

import steno


def percentiles(call, rounds, pause_secs):
    """(median, 99th percentile) of `call` in µs."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - began) / 1e3)
        if pause_secs:
            time.sleep(pause_secs)
    return np.percentile(taken, [50, 99])


def png(pixels):
    out = io.BytesIO()
    Pil.fromarray(pixels).save(out, "PNG")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--pause-ms", type=float, default=0.0)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    small, image = rng.integers(0, 255, (32, 32, 3), np.uint8), rng.integers(0, 255, (256, 256, 3), np.uint8)
    floats = rng.random((3, 256, 256), np.float32)
    frames = rng.integers(0, 255, (16, 3, 64, 64), np.uint8)
    weights = rng.normal(size=100_000).astype(np.float32)
    sound = rng.uniform(-1, 1, 16_000).astype(np.float32)
    cases = {
        "image 32 x 32 x 3 uint8": (lambda: steno.Image(small), lambda: png(small)),
        "image 256 x 256 x 3 uint8": (lambda: steno.Image(image), lambda: png(image)),
        "image 3 x 256 x 256 float32": (
            lambda: steno.Image(floats),
            lambda: png((floats * 255).astype(np.uint8).transpose(1, 2, 0)),
        ),
        "video 16 x 3 x 64 x 64 uint8": (lambda: steno.Video(frames), None),
        "audio 1 s at 16 kHz float32": (lambda: steno.Audio(sound, 16_000), None),
        "histogram of 100,000 float32": (lambda: steno.Histogram(weights), lambda: np.histogram(weights, 64)),
        "text": (lambda: steno.Text("hello"), None),
    }
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        run = steno.init(project="bench", name="media", dir=Path(place))
        run.log({"first": steno.Image(image)})
        time.sleep(0.5)
        print(f"{'value':32} {'median µs':>10} {'p99 µs':>10} {'encoded there':>14}")
        for name, (make, there) in cases.items():
            median, high = percentiles(
                lambda make=make, name=name: run.log({name: make()}), options.rounds, options.pause_ms / 1e3
            )
            other = f"{percentiles(there, 30, 0)[0]:14.0f}" if there else ""
            print(f"{name:32} {median:10.1f} {high:10.1f} {other}")
        run.finish(60)


if __name__ == "__main__":
    main()
