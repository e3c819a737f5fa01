"""`steno.Logger` converts JAX arrays; in a file of its own, since it brings a JAX backend to life."""

from __future__ import annotations

import pytest

from steno.writers.converted import converted


def test_jax_arrays_are_numbers_too():
    jax = pytest.importorskip("jax")
    ready = jax.numpy.arange(3.0).block_until_ready()
    found = converted({"a": ready, "b": jax.numpy.float32(2) * 3, "c": 1})
    assert dict(found) == {"a": [0.0, 1.0, 2.0], "b": 6.0, "c": 1}
    deleted = jax.numpy.ones(2)
    deleted.delete()
    assert dict(converted({"x": deleted, "y": 1})) == {"x": None, "y": 1}
