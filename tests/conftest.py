"""The order of tests: those that bring a JAX backend to life come last, and no other file may.

Its threads do not survive a fork, so a process that has one refuses to fork tasks, and rightly so.
"""

from __future__ import annotations

import sys

import pytest

_LIVE = ("test_jax", "test_nlsq")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name.startswith(_LIVE))


@pytest.fixture(autouse=True)
def _no_jax_backend_left_behind(request):
    yield
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and getattr(bridge, "_backends", None) and not request.path.name.startswith(_LIVE):
        pytest.fail(f"a JAX backend is live after this test: it belongs in a file whose name begins with {_LIVE[0]}")
