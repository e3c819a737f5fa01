"""The name of the file of bins that lies next to a metrics part."""

from __future__ import annotations

from typing import Final

SUFFIX: Final = ".bins"
_PART: Final = ".parquet"


def name_of(part: str) -> str:
    """The name of the file of bins of the metrics part of that name."""
    return part.removesuffix(_PART) + SUFFIX


def part_named(name: str) -> str:
    """The name of the part that a file of bins lies next to; any other name as it is."""
    return name.removesuffix(SUFFIX) + _PART if name.endswith(SUFFIX) else name
