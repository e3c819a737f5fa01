"""Integration tests look into the machinery of runs that have ended, so these keep it; `test_put_away.py` has the others."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="module")
def _kept_ledger():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STENO_KEEP_LEDGER", "1")
        yield
