"""`status.json` of a node: how far its collector has come; one that is not of this form says nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno import inside
from steno.errors import CorruptError

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "status.json"


class DestinationStatus(msgspec.Struct):
    """What a follower says of itself."""

    state: str = ""
    delivered: int = 0
    """The last record that the destination's readers see."""
    lag: int = 0
    batch: int = 0
    record: int = 0
    count: int = 0
    """Records handed over."""
    skipped: int = 0
    retries: int = 0
    error: str | None = None
    position: dict[str, Any] | None = None
    left_out: dict[str, int] = {}


class UploadStatus(msgspec.Struct):
    """What the uploader says of itself."""

    state: str = "waiting"
    stores: dict[str, str] = {}
    files: int = 0
    files_left: int = 0
    bytes: int = 0
    bytes_left: int = 0
    rate: float = 0.0
    eta_secs: float | None = None
    retries: int = 0
    error: str | None = None


class RefusedStatus(msgspec.Struct):
    """Values of the latest attempt that no column can hold."""

    attempt: int = 0
    values: int = 0
    keys: int = 0
    most: list[tuple[str, int, str]] = []
    """(key, values, reason) of the keys that have most."""


class Status(msgspec.Struct):
    """What a collector writes at least once a second while anything changes."""

    host: str = ""
    record: int = 0
    batch: int = 0
    attempt: int = 0
    counters: dict[str, int] = {}
    streams: dict[str, str] = {}
    destinations: dict[str, DestinationStatus] = {}
    artifacts: dict[str, int] = {}
    uploads: UploadStatus | None = None
    removed: int = 0
    """How often somebody has removed the ledger under this collector."""
    refused: RefusedStatus | None = None
    error: str | None = None


def read(node_dir: Path) -> dict[str, Any]:
    """The status as written; empty where there is none, or none that can be read."""
    try:
        return parsed(inside.read(node_dir / FILE))
    except (OSError, CorruptError):
        return {}


def parsed(data: bytes | str) -> dict[str, Any]:
    """What a status says; empty where it is none."""
    try:
        found = json.loads(data)
        msgspec.convert(found, Status)
    except (ValueError, RecursionError):
        return {}
    return dict(found)
