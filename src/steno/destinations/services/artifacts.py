"""The files of a stored artifact, as the libraries of other services are given them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.artifacts.content import Manifest, place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def files_of(run_dir: Path, payload: Mapping[str, Any]) -> list[tuple[str, Path]]:
    """(name within the artifact, path of the content) of a "stored" entry; a file's name is the artifact's last part.

    Raises OSError when the content is gone, ValueError when a directory's manifest is damaged.
    """
    digest, name = str(payload["digest"]), str(payload["name"])
    if payload.get("what") != "dir":
        return [(name.rsplit("/", 1)[-1], place(run_dir, digest))]
    manifest = Manifest.read(place(run_dir, digest))
    content = {one.name: one.content for one in manifest.files}
    content |= {alias: content[target] for alias, target in manifest.links if target in content}
    return [(inner, place(run_dir, held)) for inner, held in sorted(content.items())]
