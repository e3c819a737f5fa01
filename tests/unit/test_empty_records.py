"""What has no point is no record: it takes no number and no automatic step."""

from __future__ import annotations

import steno


def test_records_without_points_take_no_automatic_step(tmp_path):
    with steno.init(project="p", name="empty", dir=tmp_path) as run:
        run.log({"a": 0.0})
        run.log({})
        run.log({"k": None})
        run.log({"k": b"raw"})
        run.log({"k": []})
        run.log({"a": 1.0})
        assert run.finish(timeout=60)
    series = steno.open(run.dir).series("a")
    assert series.step.tolist() == [0, 1]
    assert series.value.tolist() == [0.0, 1.0]
