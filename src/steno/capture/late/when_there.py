"""Hands values over when they are there: on the host immediately, else later or at each call of a traced function."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from steno.capture.late.device_queue import QUEUE
from steno.devices import found
from steno.devices.base import LATER, Refused, Traced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from steno.capture.late.device_queue import Account
    from steno.devices.base import Adapter


def when_there(values: Sequence[Any], callback: Callable[[Sequence[Any]], None], account: Account) -> None:
    """Have `tell` called with host numbers and arrays in the values' places, or a `Refused` in place of a bad one.

    On the device thread, in the order of the calls. In a function that JAX traces: each time it runs. Never waits;
    `tell` must not raise.
    """
    later: list[int] = []
    numbers = list(values)
    try:
        for place, value in enumerate(values):
            adapter = found.adapter_of(value.__class__)
            if adapter is None:
                continue
            numbers[place] = number = _now(adapter, value)
            if number is LATER:
                later.append(place)
    except Traced:
        from steno.capture.late import traced_records

        traced_records.call_with(values, callback, account)
        return
    if not later:
        QUEUE.submit(There(), lambda _: callback(numbers), account)
        return
    adapter = found.adapter_of(values[later[0]].__class__)
    assert adapter is not None
    lates = adapter.begin([values[place] for place in later], QUEUE.room(account))
    for late in lates:
        last = late is lates[-1]

        def sink(arrived: list[Any], places: Sequence[int] = late.places, last: bool = last) -> None:
            for place, value in zip(places, arrived, strict=True):
                numbers[later[place]] = value
            if last:
                callback(numbers)

        QUEUE.submit(late, sink, account)


def host_now(value: Any) -> Any:
    """The value as a Python number where that costs nothing, else itself."""
    adapter = found.adapter_of(value.__class__)
    if adapter is None:
        return value
    try:
        return adapter.scalar(value)
    except Refused:
        return value


def _now(adapter: Adapter, value: Any) -> Any:
    try:
        return adapter.scalar(value)
    except Refused:
        pass
    try:
        return adapter.now(value)
    except Refused as why:
        return why


class There:
    """A late value that is there already, in its turn among this thread's JAX values."""

    __slots__ = ("lane",)
    places = ()
    size_bytes = 0

    def __init__(self) -> None:
        self.lane = ("jax", threading.get_ident())

    def ready(self) -> bool:
        """True."""
        return True

    def read(self) -> list[Any]:
        """Nothing."""
        return []

    def drop(self) -> None:
        """Nothing."""
