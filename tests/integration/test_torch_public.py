"""`steno.torch`: logging in compiled functions, and metrics that are needed now."""

from __future__ import annotations

import pytest

import steno

torch = pytest.importorskip("torch")

import steno.torch  # noqa: E402


@pytest.fixture
def run(tmp_path):
    torch._dynamo.utils.counters.clear()
    made = steno.init(dir=tmp_path)
    yield made
    made.finish()
    torch._dynamo.reset()


def points(run, key):
    assert run.finish(60)
    series = steno.open(run.dir).series(key)
    return dict(zip(series.step.tolist(), series.value.tolist(), strict=True))


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("grad", [True, False])
def test_log_in_a_compiled_function_breaks_no_graph(run, grad):
    weight = torch.ones(3, requires_grad=grad)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def step(x, i):
        loss = (weight * x).pow(2).mean()
        steno.torch.log({"loss": loss, "lr": 0.5, "in": {"twice": loss * 2}}, step=i)
        return loss * 0 + 7

    for i in range(5):
        out = step(torch.ones(3) * i, i)
        if grad:
            out.backward()
    with torch.no_grad():
        step(torch.ones(3) * 9, 9)
    assert not torch._dynamo.utils.counters["graph_break"]
    assert points(run, "loss") == {**{i: float(i * i) for i in range(5)}, 9: 81.0}
    assert points(run, "in/twice")[4] == 32.0
    assert points(run, "lr")[9] == 0.5


@pytest.mark.usefixtures("road")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("log", ["run", "steno"])
def test_plain_log_in_a_compiled_function_is_right_and_never_traced_into(run, log):
    call = run.log if log == "run" else steno.log

    @torch.compile(backend="eager")
    def step(x, i):
        loss = x.sum()
        call({"loss": loss, "k": 1.0}, step=i)
        return loss + 1

    for i in range(5):
        step(torch.ones(2) * i, i)
    breaks = torch._dynamo.utils.counters["graph_break"]
    assert all("steno.torch.log" in reason for reason in breaks)
    assert points(run, "loss") == {i: 2.0 * i for i in range(5)}


def test_log_outside_a_compiled_function_is_steno_log(run):
    steno.torch.log({"x": torch.tensor(2.0), "n": 3}, step=4)
    with pytest.raises(steno.UsageError, match="text is a str"):
        steno.torch.log({"text": "no"})
    assert points(run, "x") == {4: 2.0}
    assert points(run, "n") == {4: 3.0}


def test_metrics_safe_keeps_keys_order_and_nesting():
    import numpy as np

    given = {
        "t": torch.tensor(1.5, requires_grad=True), "plain": 2, "m": torch.arange(4).reshape(2, 2),
        "in": {"b": torch.tensor(True), "s": "text"}, "n": np.float32(3), "e": torch.empty(0),
        "bf": torch.tensor([3.140625], dtype=torch.bfloat16), "sparse": torch.eye(2).to_sparse(), "none": None,
    }  # fmt: skip
    got = steno.torch.metrics_safe(given)
    assert list(got) == list(given)
    assert got == {
        "t": 1.5, "plain": 2, "m": [[0, 1], [2, 3]], "in": {"b": True, "s": "text"}, "n": np.float32(3), "e": [],
        "bf": 3.140625, "sparse": [[1.0, 0.0], [0.0, 1.0]], "none": None,
    }  # fmt: skip
    assert got["n"] is given["n"]
    with pytest.raises(steno.UsageError, match="in/x is a meta tensor"):
        steno.torch.metrics_safe({"in": {"x": torch.empty(1, device="meta")}})


def test_metrics_safe_flattens_a_tensordict():
    tensordict = pytest.importorskip("tensordict")
    data = tensordict.TensorDict({"a": {"b": torch.tensor(1.0)}, "c": torch.arange(2)}, batch_size=[])
    assert steno.torch.metrics_safe(data) == {"a/b": 1.0, "c": [0, 1]}
    assert steno.torch.metrics_safe(data, keys_sep=".") == {"a.b": 1.0, "c": [0, 1]}
