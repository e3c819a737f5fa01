"""The order of tests: those that bring a JAX backend to life come last.

Its threads do not survive a fork, so a process that has one refuses to fork tasks, and rightly so.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: "jax" in item.nodeid.lower() or "nlsq" in item.nodeid)
