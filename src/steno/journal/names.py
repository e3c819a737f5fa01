"""The names of the files in a journal's directory: what is not called so is not removed with it.

000000.seg                       a segment, hidden (.000000.seg) while it is made
alive                            locked by the writer as long as it lives
writer.json                      who the writer is, with a stamp that it renews
adopted-1  left-1                who has taken it over, and that this one has ended its work
side-HEX  value-HEX  raw-000001  bodies and media values too large for a segment
media-wanted  raw-000001.0.ref   a destination in the writer's process asks where its media have gone, and is told
owner.json                       whose the directory is, where it lies outside the run
"""

from __future__ import annotations

import re
from typing import Final

_LARGE: Final = r"(?:side-[0-9a-f]+|value-[0-9a-f]+|raw-\d+)"
_NAME: Final = re.compile(
    rf"\.?\d{{6,18}}\.seg|alive|left-\d+|{_LARGE}|\.?(?:media-wanted|adopted-\d+|(?:owner|writer)\.json|{_LARGE}\.\d+\.ref)(?:\.\d+-[0-9a-f]+)?"
)


def is_ours(name: str) -> bool:
    """Whether a file of that name in a journal's directory is the journal's."""
    return _NAME.fullmatch(name) is not None
