"""A stream's segments are used in order of number, and none that is not used holds up its reader."""

from __future__ import annotations

from steno.capture.stream import SegmentMaker


def stream(tmp_path) -> SegmentMaker:
    return SegmentMaker(tmp_path, {"run": "x", "rank": 0, "attempt": 1, "primary": True, "arrays": "summary"})


def test_segments_are_taken_in_order_of_number(tmp_path):
    made = stream(tmp_path)
    for _ in range(3):
        made.stock()
    taken = [made.take() for _ in range(6)]
    assert [segment.number for segment in taken] == sorted(segment.number for segment in taken)
    assert made.late == 3
    made.close()
    for segment in taken:
        segment.close()


def test_a_spare_that_was_overtaken_is_taken_away_at_once(tmp_path):
    """The caller found none ready and made its own while the keeper was still making an older one."""
    made = stream(tmp_path)
    first = made.take()
    overtaken = made.make()  # the keeper's, not yet handed over
    own = made.take()
    assert own.number > overtaken.number
    made.spares.append(overtaken)
    while made.stock():
        pass
    assert not overtaken.path.exists()
    assert all(spare.number > own.number for spare in made.spares)
    made.close()
    for segment in (first, own):
        segment.close()
