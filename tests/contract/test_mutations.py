"""Each line that `scripts/mutate` breaks stands in its file once, and each test that has to notice it is there."""

from __future__ import annotations

import pytest

import mutations


@pytest.mark.parametrize("one", mutations.MUTATIONS, ids=lambda one: one.rule)
def test_what_is_broken_and_who_notices_are_there(one):
    text = (mutations.ROOT / one.file).read_text(encoding="utf-8")
    assert text.count(one.line) == 1
    assert one.broken != one.line
    for test in one.tests:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (mutations.ROOT / file).read_text(encoding="utf-8")
