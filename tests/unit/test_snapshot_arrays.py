"""Arrays and numpy scalars of one type in every order: what was met first decides nothing."""

from __future__ import annotations

import numpy as np
import pytest

from steno.capture.snapshot import Snapshot


@pytest.mark.parametrize("first", [np.array(1.0), np.array(1), np.float32(1), np.array([1.0])])
def test_array_without_dimensions_does_not_stand_for_all_arrays(first):
    said = []
    snapshot = Snapshot(lambda key, message: said.append(message))

    snapshot.prepare({"a": first})
    snapshot.prepare({"a": first})
    values, _ = snapshot.prepare({"b": np.arange(3.0), "c": np.array(2.0)})

    assert said == []
    assert values.keys() == {"b", "c"}
    assert values["c"] == 2.0
