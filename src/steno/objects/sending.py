"""A file on its way to an object store, and the error when what arrived is not what went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class DifferentError(Exception):
    """What lies in the store, or came from it, is not what was meant: to be sent or fetched again."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A file on its way to the store."""

    key: str
    path: Path
    size: int
    sha256: str
    moved: Callable[[int], None] = lambda _: None
    """Told the bytes as they have gone."""
