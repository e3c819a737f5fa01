"""Levenberg-Marquardt on NIST's Misra1a data in JAX, with every iteration recorded, and what that costs.

    python examples/jax_curve_fit.py

The data are the Statistical Reference Dataset "Misra1a" of NIST (monomolecular adsorption, 14 observations,
y = b1 (1 - exp(-b2 x))), whose certified solution the fit is compared with.
"""

from __future__ import annotations

import tempfile
import time

import jax
import numpy as np

import steno
import steno.jax

jax.config.update("jax_enable_x64", True)
jnp = jax.numpy

X = [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]
Y = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]
START = (500.0, 1e-4)
CERTIFIED = (238.94212918, 5.5015643181e-4)
ITERATIONS = 60


def residuals(b, x, y):
    return b[0] * (1 - jnp.exp(-b[1] * x)) - y


def make_step(logging):
    """One iteration: (parameters, damping, number) to the same, as a plain function."""

    def step(b, damping, number, x, y):
        r = residuals(b, x, y)
        j = jax.jacobian(residuals)(b, x, y)
        gradient, normal = j.T @ r, j.T @ j
        scale = jnp.diag(jnp.diag(normal))
        trial = b - jnp.linalg.solve(normal + damping * scale, gradient)
        cost, after = 0.5 * r @ r, 0.5 * jnp.sum(residuals(trial, x, y) ** 2)
        better = after < cost
        if logging:
            norm = jnp.linalg.norm(gradient)
            steno.log({"fit/damping": damping, "fit/b": b, "fit/accepted": better}, step=number)
            steno.log_iteration_async(number, cost, norm, verbose=1)
        return jnp.where(better, trial, b), jnp.where(better, damping / 5, damping * 4), number + 1

    return step


def fit(step, x, y):
    b, damping, number = jnp.array(START), jnp.array(1e-2), jnp.array(0)
    for _ in range(ITERATIONS):
        b, damping, number = step(b, damping, number, x, y)
    return b


def main():
    x, y = jnp.array(X), jnp.array(Y)
    run = steno.init(project="curve-fit", dir=tempfile.mkdtemp(prefix="steno-"))
    quiet, recorded = jax.jit(make_step(logging=False)), steno.jax.jit(make_step(logging=True))
    ways = {"without logging": quiet, "recorded": recorded}
    best = dict.fromkeys(ways, float("inf"))
    for turn in range(8):
        for name, step in ways.items():
            began = time.perf_counter()
            b = jax.block_until_ready(fit(step, x, y))
            if turn:
                best[name] = min(best[name], (time.perf_counter() - began) / ITERATIONS * 1e6)
    r = residuals(b, x, y)
    steno.log_convergence_async(
        "damping", ITERATIONS, 0.5 * r @ r, best["recorded"] * ITERATIONS / 1e6, jnp.linalg.norm(r)
    )
    assert np.allclose(b, CERTIFIED, rtol=1e-7), b
    print(f"b = {b[0]:.8f}, {b[1]:.11f}   certified {CERTIFIED[0]:.8f}, {CERTIFIED[1]:.11f}")
    for name, took in best.items():
        print(f"{name:16} {took:6.1f} µs per iteration")
    over = best["recorded"] - best["without logging"]
    print(f"{'overhead':16} {over:6.1f} µs per iteration, {over / best['without logging']:.0%}")
    done = run.finish(10)
    cost = steno.open(run.dir).series("optimization/cost")
    print(f"recorded {len(cost.value)} costs, the last {cost.value[-1]:.10g}; all delivered: {done}")


if __name__ == "__main__":
    main()
