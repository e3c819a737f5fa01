"""A real nlsq.curve_fit, recorded. Needs nlsq, which needs Python 3.12: scripts/test-integrations nlsq."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import steno

nlsq = pytest.importorskip("nlsq")

from steno.integrations.nlsq import callback  # noqa: E402


@pytest.fixture
def data():
    import jax.numpy as jnp

    x = np.linspace(0, 4, 200)
    y = 2.5 * np.exp(-1.3 * x) + 0.01 * np.random.default_rng(0).normal(size=x.size)
    return (lambda x, a, b: a * jnp.exp(-b * x)), x, y


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("verbose", [0, 2])
def test_every_iteration_of_a_fit_is_a_record(tmp_path, data, caplog, verbose):
    caplog.set_level(logging.INFO, "steno.optimization")
    run = steno.init(dir=tmp_path)
    seen = []
    popt, _ = nlsq.curve_fit(
        *data, p0=[1.0, 0.5], callback=callback(verbose=verbose, then=lambda **given: seen.append(given))
    )
    assert np.allclose(popt, [2.5, 1.3], atol=0.05)
    assert run.finish(60)
    book = steno.open(run.dir)
    assert len(seen) > 2
    costs = book.series("optimization/cost")
    assert costs.step.tolist() == [given["iteration"] for given in seen]
    assert costs.value.tolist() == [given["cost"] for given in seen]
    assert book.series("optimization/gradient_norm").value.tolist() == [
        given["info"]["gradient_norm"] for given in seen
    ]
    assert book.series("optimization/params/0").value[-1] == pytest.approx(popt[0], rel=1e-3)
    lines = [record for record in caplog.records if record.name == "steno.optimization"]
    assert len(lines) == (len(seen) if verbose else 0)


@pytest.mark.filterwarnings("default")
def test_without_a_run_the_fit_is_left_alone_and_a_stop_stops_it(data):
    from nlsq.callbacks import StopOptimization

    calls = []

    def stop(**given):
        calls.append(given)
        if len(calls) == 2:
            raise StopOptimization

    nlsq.curve_fit(*data, p0=[1.0, 0.5], callback=callback(then=stop))
    assert len(calls) == 2
