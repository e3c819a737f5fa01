"""Records whose step is still on a device: journalled when the step has come."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from steno.capture.late.device_queue import QUEUE
from steno.devices.base import Refused

if TYPE_CHECKING:
    from steno.capture.late.sink import RecordSink


def postpone(recorder: RecordSink, data: Any, step: Any, *, level: Any, arrays: Any) -> None:
    """Journal a record when its step has come; its values are those of now. Without a step if it never comes."""
    stamp = time.monotonic_ns()
    prepared = recorder.snapshot.prepare(data)
    if prepared is None:
        return
    values, pending = prepared
    started = recorder.start_fetching(pending)

    def sink(arrived: list[Any]) -> None:
        number = None
        if isinstance(arrived[0], Exception):
            recorder.report("step", f"the step was not read: {arrived[0]}; the record was numbered automatically")
        else:
            number = recorder.snapshot.step(arrived[0])
        seq = recorder.append(values, number, stamp, level=level, arrays=arrays)
        for late, keys in started:
            QUEUE.submit(late, recorder.fill(seq, keys, arrays), recorder.account)

    adapter = recorder.snapshot.adapter(step.__class__)
    assert adapter is not None
    lates = adapter.begin([step], QUEUE.room(recorder.account))
    for late in lates:
        QUEUE.submit(late, sink, recorder.account)
    if not lates:
        sink([Refused("too many device values are on their way")])
