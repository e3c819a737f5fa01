"""The wait for a run's object store, at its end."""

from __future__ import annotations

import json
import time

import steno
from steno.capture.start import uploading
from steno.collector.catalogue import claim


def test_a_collector_that_is_done_and_leaves_between_two_looks_has_done_it(tmp_path):
    """64 nodes that ended at once: two of them said that their upload was not done."""
    run = steno.init("p", "a", dir=tmp_path / "runs", store=f"file://{tmp_path}/store", collector=False)
    try:
        status = claim(run.dir).dir / "status.json"

        def leaves():
            """The collector writes its last status, and its lock is gone."""
            status.write_text(json.dumps({"uploads": {"state": "complete"}, "record": 1}))
            return False

        status.write_text(json.dumps({"uploads": {"state": "uploading"}, "record": 1}))
        assert uploading.lacking(run.dir, 1)["state"] == "uploading"
        assert uploading.wait(run.dir, 1, time.monotonic() + 30, leaves) == {}
    finally:
        run.finish(timeout=0)
