"""Whether another distribution has files in this package's folder.

Ours is `stenolog`. The name `steno` on the package index belongs to another program, of 2015, and its files lie in a
folder `steno/` too: whichever of the two is installed, upgraded or removed last takes files of the other with it.
"""

from __future__ import annotations

import os
import warnings
from typing import Final

REMEDY: Final = "pip uninstall steno; pip install --force-reinstall --no-deps stenolog"
_LISTS: Final = ("RECORD", "installed-files.txt", "SOURCES.txt")
"""Where metadata list files: of a wheel, of an old installation by setuptools, of a package's source."""


def strangers(package: str | None = None) -> list[str]:
    """The distributions next to this package that have files in its folder, such as `Steno 0.1b3`."""
    package = package or os.path.dirname(__file__)
    site, folder = os.path.split(package)
    try:
        names = sorted(os.listdir(site))
    except OSError:
        return []
    return [
        name.rpartition(".")[0].replace("-", " ")
        for name in names
        if name.lower().startswith("steno-")
        and name.endswith((".dist-info", ".egg-info"))
        and _has_files(os.path.join(site, name), folder)
    ]


def warn(package: str) -> None:
    """Warn the importing program, in one line."""
    for stranger in strangers(package):
        warnings.warn(said(stranger), RuntimeWarning, stacklevel=4)  # the line that imports steno


def said(stranger: str) -> str:
    """What is wrong, and its remedy."""
    return (
        f"the distribution {stranger!r} is another program with files in the same folder steno/ as this library, whose "
        f"distribution is 'stenolog': each may break the other. Remedy: {REMEDY}"
    )


def _has_files(metadata: str, folder: str) -> bool:
    for name in _LISTS:
        try:
            with open(os.path.join(metadata, name), encoding="utf-8", errors="replace") as file:
                # installed-files.txt is relative to the metadata.
                if any(line.removeprefix("../").startswith(f"{folder}/") for line in file):
                    return True
        except OSError:
            continue
    return False
