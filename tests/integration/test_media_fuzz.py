"""Odd values of every kind of media through a real collector: one that cannot be kept costs itself alone."""

from __future__ import annotations

import numpy as np
import pytest

import steno

WIDE = float(np.finfo(np.float64).max)
ODD = {
    "nan": np.full((6, 8), np.nan),
    "inf": np.full((6, 8), np.inf),
    "mixed": np.array([[np.nan, 1.0, np.inf, -np.inf], [0.0, -0.0, 5e-324, WIDE]]),
    "equal": np.full((6, 8), 1e16),
    "ulp": np.array([[1.0, np.nextafter(1.0, 2.0)]] * 4),
    "nanoseconds": 1_796_034_119_000_000_000 + np.arange(0, 1000, 20).reshape(5, 10),
    "wide": np.array([[-WIDE, WIDE], [0.0, 1.0]]),
    "int64": np.array([[-(2**63), 2**63 - 1], [0, 1]]),
    "uint64": np.array([[0, 2**64 - 1], [1, 2]], np.uint64),
    "bool": np.array([[True, False], [False, False]]),
    "float16": np.array([[6e4, 1e-7], [0, 1]], np.float16),
    "one": np.array([[3.0]]),
    "strided": np.arange(4096.0).reshape(64, 64)[::7, ::-5],
    "big-endian": np.arange(12.0).reshape(3, 4).astype(">f8"),
}
TEXTS = ["", "\0", "\x1b[31m", "𝕏" * 1000, "a\nb\r\n", "<script>", "\u202e", "x" * 200_000]
KINDS = {
    "histogram": lambda value: steno.Histogram(value),
    "histogram_auto": lambda value: steno.Histogram(value, bins="auto"),
    "histogram_fd": lambda value: steno.Histogram(value, bins="fd"),
    "image": lambda value: steno.Image(value),
    "image_bytes": lambda value: steno.Image(value.astype(np.uint8)),
    "audio": lambda value: steno.Audio(value.reshape(-1), 8000),
    "video": lambda value: steno.Video(np.stack([value.astype(np.uint8)] * 3)[..., None].repeat(3, -1), 4),
    "mesh": lambda value: steno.Object3D(np.resize(value, (1, 9, 3))),
    "table": lambda value: steno.Table(columns=[str(i) for i in range(value.shape[1])], data=value.tolist()),
    "text": lambda value: steno.Text(repr(value.tolist())),
    "array": lambda value: value,
    "list": lambda value: value.tolist(),
}


@pytest.mark.parametrize("arrays", ["summary", "histogram", "list"])
def test_no_value_costs_its_neighbours(tmp_path, arrays):
    run = steno.init(project="fuzz", name="run", dir=tmp_path, arrays=arrays)
    wanted, refused, step = {}, 0, 0
    for name, value in ODD.items():
        for kind, make in KINDS.items():
            try:
                with np.errstate(all="ignore"):
                    made = make(value)
            except steno.StenoError:
                made, refused = None, refused + 1  # said to the user at the call
            run.log({"before": float(step), f"{kind}/{name}": made, "after": float(step)}, step=step)
            wanted[step] = float(step)
            step += 1
    for text in TEXTS:
        for made in (text, steno.Text(text), steno.Table(columns=["a"], data=[[text]]), [text, 1.0]):
            run.log({"before": float(step), "text": made, "after": float(step)}, step=step)
            wanted[step] = float(step)
            step += 1
    assert run.finish(60)

    assert refused < step / 3
    log = next(run.dir.glob(".steno/**/collector.log"))
    assert "Traceback" not in log.read_text()
    with steno.open(run.dir) as book:
        for key in ("before", "after"):
            series = book.series(key)
            assert dict(zip(series.step.tolist(), series.value.tolist(), strict=True)) == wanted
        assert [loss for loss in book.info.losses if loss.kind != "refused"] == []
        for name, value in ODD.items():
            finite = np.isfinite(value.astype(np.float64)).sum()
            (item,) = book.media(f"histogram/{name}")
            assert sum(item.value["counts"]) == finite
