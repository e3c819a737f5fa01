"""The order of tests: those that bring a JAX backend to life come last.

Its threads do not survive a fork, so a process that has one refuses to fork tasks, and rightly so.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name.startswith(("test_jax", "test_nlsq")))
