"""Where a run's nodes and parts lie, for tests that look at files: names hold the ids of nodes, which are drawn."""

from __future__ import annotations

from pathlib import Path

from steno import files
from steno.record import named_node, node_name


def node_dir(run_dir, node: int | None = None) -> Path:
    """The directory of the run's only node, or of that one; one that is not there where the run has none yet."""
    place = Path(run_dir) / ".steno" / "nodes"
    if node is not None:
        return place / node_name(node)
    found = [entry.name for entry in files.scan(place) if named_node(entry.name) is not None]
    if not place.exists():  # put away, and named by the card that stays
        found = [entry.name[5:-5] for entry in files.scan(run_dir) if entry.name.startswith("card-")]
    assert len(found) <= 1, found
    return place / (found[0] if found else "none")


def node_of(run_dir) -> int:
    """The id of the run's only node."""
    found = named_node(node_dir(run_dir).name)
    assert found is not None
    return found


def part_name(run_dir, number: int = 1, kind: str = "metrics", node: int | None = None) -> str:
    """A part's path from the run's directory, by its number; of the run's only node, or of that one."""
    return f"{kind}/{node_dir(run_dir, node).name}-part-{number:06d}.parquet"
