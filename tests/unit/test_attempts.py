"""The attempts of a run are read whole, also in the moment in which it puts its machinery away."""

from __future__ import annotations

import json
import os

import pytest

from steno.store import attempts

ROWS = [{"attempt": number, "started": 0, "rewind": 10 * number} for number in (1, 2, 3)]


@pytest.mark.parametrize("after", ["the list", "the first file"])
def test_machinery_that_is_put_away_while_attempts_are_read(tmp_path, monkeypatch, after):
    """The manifest of the end before lacks the last attempt; so would files of which some are gone."""
    place = tmp_path / ".steno" / "attempts"
    place.mkdir(parents=True)
    for row in ROWS:
        (place / f"{row['attempt']}.json").write_text(json.dumps(row))
    manifest = {"attempts": ROWS[:2]}

    def put_away(result):
        if place.exists():
            manifest["attempts"] = ROWS
            place.parent.rename(tmp_path / ".gone")
        return result

    if after == "the list":
        listed = os.listdir
        monkeypatch.setattr(attempts.os, "listdir", lambda path: put_away(listed(path)))
    else:
        loads = json.loads
        monkeypatch.setattr(attempts.json, "loads", lambda data: put_away(loads(data)))
    found = attempts.read_attempts(tmp_path, lambda: dict(manifest), list)
    assert [(one.attempt, one.rewind) for one in found] == [(1, 10), (2, 20), (3, 30)]


def test_a_file_that_leads_nowhere_costs_no_other(tmp_path):
    place = tmp_path / ".steno" / "attempts"
    place.mkdir(parents=True)
    (place / "1.json").write_text(json.dumps(ROWS[0]))
    (place / "2.json").symlink_to("nowhere")
    (place / "3.json").write_text('{"attempt": ')
    assert [one.attempt for one in attempts.read_attempts(tmp_path, dict, list)] == [1]
