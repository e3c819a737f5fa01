"""Where records go whose values or step come late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from steno.capture.late.device_queue import Account
    from steno.capture.snapshot import PendingValue, Snapshot
    from steno.devices.base import Late


class RecordSink(Protocol):
    """What late records need of `steno.capture.recorder.Recorder`."""

    snapshot: Snapshot
    """Makes what `log` is given encodable."""
    account: Account
    """What device values have come to."""

    def report(self, key: str, message: str) -> None:
        """Tell the user, once per key."""

    def start_fetching(self, pending: Sequence[PendingValue]) -> list[tuple[Late, list[str]]]:
        """Start fetching device values, as they are now; (late values, their keys)."""

    def append(
        self, values: dict[str, Any], step: int | None, stamp: int, *, level: int | None, arrays: str | None
    ) -> int:
        """Append a record that was made at `stamp` (monotonic ns); its sequence number."""

    def fill(self, seq: int, keys: Sequence[str], arrays: str | None) -> Callable[[list[Any]], None]:
        """What takes the late values of these keys of a record."""

    def encodable(self, values: dict[str, Any], arrays: str | None = None) -> dict[str, Any]:
        """Values as adapters read them, encodable."""

    def successor(self) -> RecordSink:
        """This one, or after its end one that records now."""
