"""`log_iteration_async` and its kin: the lines, the verbosity, and nobody waits."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time

import pytest

import steno

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

import steno.jax  # noqa: E402
from steno import optimization  # noqa: E402


@pytest.fixture
def lines(caplog):
    """The lines so far, once those on their way have come."""
    caplog.set_level(logging.INFO, "steno.optimization")

    def read():
        optimization.QUEUE.drain(optimization._account, time.monotonic() + 20)
        return [record.getMessage() for record in caplog.records if record.name == "steno.optimization"]

    yield read
    optimization.finish_lines()


def iterations(lines):
    return [int(line.split("iter=")[1].split(" ")[0]) for line in lines if "iter=" in line]


def test_the_two_line_formats(lines):
    steno.log_iteration_async(3, 0.5, jnp.float32(0.25), verbose=2)
    steno.log_iteration_async(4, jnp.float32(float("nan")), 1.0, message="step=1.0", verbose=2)
    steno.log_convergence_async("`gtol` is satisfied.", 42, 1.23e-10, 2.456, jnp.float32(0.5))
    assert lines() == [
        "Optimization: iter=3 | cost=5.000000e-01 | ‖∇f‖=2.500000e-01",
        "Optimization: iter=4 | cost=nan | ‖∇f‖=1.000000e+00 | step=1.0",
        (
            "Convergence: reason=`gtol` is satisfied. | iterations=42 | final_cost=1.230000e-10 | time=2.456s | "
            "final_gradient_norm=5.000000e-01"
        ),
    ]


@pytest.mark.parametrize("as_array", [False, True])
def test_verbosity_1_shows_every_tenth_and_the_last_one(lines, as_array):
    for i in range(24):
        steno.log_iteration_async(jnp.int32(i) if as_array else i, 1.0 / (i + 1), 2.0, verbose=1)
    assert iterations(lines()) == [0, 10, 20]
    steno.log_convergence_async("done", 24, 0.0, 1.0, 0.0, verbose=1)
    assert iterations(lines()) == [0, 10, 20, 23]
    assert "Convergence" in lines()[-1]


def test_the_last_suppressed_line_comes_at_the_end_of_the_run(lines, tmp_path):
    run = steno.init(dir=tmp_path, collector=False)
    for i in range(13):
        steno.log_iteration_async(i, jnp.float32(i), 1.0, verbose=1)
    assert iterations(lines()) == [0, 10]
    run.finish(0.5)
    assert iterations(lines()) == [0, 10, 12]


def test_verbosity_0_does_nothing_and_nonsense_is_refused(lines, tmp_path):
    run = steno.init(dir=tmp_path)
    steno.log_iteration_async(0, 1.0, 1.0)
    steno.log_convergence_async("x", 1, 1.0, 1.0, 1.0, verbose=0)
    with pytest.raises(steno.UsageError, match="verbose"):
        steno.log_iteration_async(0, 1.0, 1.0, verbose="high")
    assert lines() == []
    assert run.finish(60)
    assert steno.open(run.dir).keys() == []


@pytest.mark.parametrize("wrap", [jax.jit, steno.jax.jit])
def test_in_a_traced_loop_and_as_metrics_of_the_run(lines, tmp_path, wrap):
    run = steno.init(dir=tmp_path)

    @wrap
    def solve(x):
        def turn(state):
            i, x = state
            steno.log_iteration_async(i, x * x, jnp.abs(2 * x), verbose=2)
            return i + 1, x * 0.5

        i, x = jax.lax.while_loop(lambda state: state[0] < 5, turn, (0, x))
        steno.log_convergence_async("done", i, x * x, 0.5, jnp.abs(2 * x))
        return x

    solve(jnp.float32(4))
    assert run.finish(60)
    shown = lines()
    assert sorted(iterations(shown)) == [0, 1, 2, 3, 4]
    assert sum("Convergence: reason=done | iterations=5 | final_cost=1.562500e-02" in line for line in shown) == 1
    book = steno.open(run.dir)
    assert book.series("optimization/cost").step.tolist() == [0, 1, 2, 3, 4]
    assert book.series("optimization/cost").value.tolist() == [16.0, 4.0, 1.0, 0.25, 0.0625]
    assert book.series("optimization/gradient_norm").value.tolist() == [8.0, 4.0, 2.0, 1.0, 0.5]
    assert book.series("optimization/final_cost").value.tolist() == [0.015625]
    assert book.series("optimization/iterations").value.tolist() == [5.0]


@pytest.mark.timing
def test_it_never_waits_for_the_device_to_decide(lines, tmp_path):
    run = steno.init(dir=tmp_path)
    a = jnp.ones((500, 500)) * 0.01

    @jax.jit
    def work(a, i):
        c = jax.lax.fori_loop(0, 150, lambda _, y: jnp.tanh(y @ a), a).sum()
        return c, c * 2, i + (c * 0).astype(jnp.int32)

    jax.block_until_ready(work(a, 0))
    steno.log_iteration_async(0, jnp.float32(1), jnp.float32(1), verbose=1)
    cost, norm, iteration = work(a, 11)
    began = time.perf_counter()
    steno.log_iteration_async(iteration, cost, norm, verbose=1)
    took = time.perf_counter() - began
    assert not cost.is_ready()
    jax.block_until_ready(cost)
    assert took < (time.perf_counter() - began) / 5  # of its work, which takes as much longer on a busy machine
    steno.log_convergence_async("done", 12, cost, 0.1, norm, verbose=1)
    shown = lines()
    assert iterations(shown) == [0, 11]
    assert f"cost={float(cost):.6e}" in shown[1]
    assert run.finish(60)
    assert steno.open(run.dir).series("optimization/cost").step.tolist() == [0, 11]


def test_a_handler_that_raises_ends_neither_the_caller_nor_the_computation(lines, capfd):
    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("disk full")

    handler = Broken()
    optimization.logger.addHandler(handler)
    try:
        steno.log_iteration_async(1, 1.0, 1.0, verbose=2)
        f = jax.jit(lambda x: (steno.log_iteration_async(2, x, x, verbose=2), x + 1)[1])
        assert f(jnp.float32(1)) == 2
        jax.effects_barrier()
        lines()
        assert f(jnp.float32(2)) == 3
    finally:
        optimization.logger.removeHandler(handler)


def test_a_value_that_cannot_be_read_is_said_in_the_line(lines):
    gone = jnp.ones(()) + 1
    gone.delete()
    steno.log_iteration_async(1, gone, 1.0, verbose=2)
    (line,) = lines()
    assert "could not be read" in line


def test_is_jax_array():
    import numpy as np

    assert steno.is_jax_array(jnp.ones(2))
    assert jax.jit(lambda x: steno.is_jax_array(x) * x)(3) == 3
    for other in (np.ones(2), 1, 1.0, [1], None, "x"):
        assert not steno.is_jax_array(other)


def test_is_jax_array_imports_nothing():
    program = """
import sys, steno
assert steno.is_jax_array(1) is False
steno.log_iteration_async(1, 1.0, 2.0, verbose=2)
assert not {"jax", "torch", "numpy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=dict(os.environ))
