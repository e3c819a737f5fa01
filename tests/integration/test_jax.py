"""JAX values in real runs: eager, and in every kind of traced function."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

import steno

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

import steno.jax  # noqa: E402
from steno.devices.base import Refused  # noqa: E402


@pytest.fixture
def run(tmp_path):
    made = steno.init(dir=tmp_path)
    yield made
    made.finish()


def read(run):
    assert run.finish(60)
    return steno.open(run.dir)


def points(book, key):
    series = book.series(key)
    return dict(zip(series.step.tolist(), series.value.tolist(), strict=True))


@pytest.fixture(scope="module")
def busy():
    """A compiled function that keeps the CPU backend busy for a good while, and its argument."""
    n = 500
    a = jnp.ones((n, n)) * 0.01

    def work(rounds):
        return jax.jit(lambda a: jax.lax.fori_loop(0, rounds, lambda _, y: jnp.tanh(y @ a), a).sum())

    rounds = 10
    while True:
        f = work(rounds)
        f(a).block_until_ready()
        began = time.perf_counter()
        f(a).block_until_ready()
        took = time.perf_counter() - began
        if took > 0.3:
            return f, a
        rounds = int(rounds * max(2, 0.5 / took))


# -- outside a traced function ------------------------------------------------------------------------------


def test_arrays_anywhere_in_the_dict(run):
    run.log(
        {
            "f": jnp.float32(0.5),
            "in": {"i": jnp.int32(7), "b": jnp.array(True)},
            "bf": jnp.bfloat16(1.5),
            "one": jnp.ones((1, 1)),
            "few": jnp.arange(3.0),
            "many": jnp.arange(100, dtype=jnp.bfloat16),
            "list": [jnp.float32(1), 2.0],
        },
        step=jnp.int32(5),
    )
    book = read(run)
    for key, value in {
        "f": 0.5,
        "in/i": 7,
        "in/b": 1,
        "bf": 1.5,
        "one": 1,
        "few/2": 2,
        "list/0": 1,
        "many/max": 99,
    }.items():
        assert points(book, key) == {5: value}
    assert run.health()["reports"] == 0


def test_what_cannot_be_recorded_is_reported_and_its_neighbours_are_kept(run, capfd):
    gone = jnp.ones(3) + 1
    gone.delete()
    run.log({"c": jnp.complex64(1j), "key": jax.random.key(0), "empty": jnp.zeros(0), "gone": gone, "k": 1.0})
    shown = capfd.readouterr().err
    for key, remedy in {
        "c": "x.real",
        "key": "key_data",
        "empty": "empty",
        "gone": "log it before it is donated",
    }.items():
        assert f"'{key}' was left out" in shown
        assert remedy in shown
    assert read(run).keys() == ["k"]


@pytest.mark.timing
def test_a_pending_array_is_not_waited_for_and_comes_under_its_record(run, busy):
    f, a = busy
    run.log({"warm": jnp.float32(1).block_until_ready(), "host": 0.0}, step=0)
    value = f(a)
    double = value * 2
    pending = not value.is_ready()
    began = time.perf_counter()
    run.log({"value": value, "double": double, "host": 1.0}, step=1)
    took = time.perf_counter() - began
    assert pending
    assert not value.is_ready()
    assert took < 0.01
    expected = float(value)
    book = read(run)
    assert points(book, "value") == {1: expected}
    assert points(book, "double") == {1: expected * 2}
    assert points(book, "host") == {0: 0.0, 1: 1.0}
    assert run.health()["device"]["arrived"] == 1


@pytest.mark.timing
def test_a_pending_step_is_not_waited_for_either(run, busy):
    f, a = busy

    def step_of(value):
        return (value * 0).astype(jnp.int32) + 9

    run.log({"warm": 1.0}, step=step_of(f(a)))
    assert run.flush(60)
    step = step_of(f(a))
    began = time.perf_counter()
    run.log({"x": jnp.float32(2), "host": 1.0}, step=step)
    took = time.perf_counter() - began
    assert not step.is_ready()
    assert took < 0.05
    book = read(run)
    assert points(book, "x") == {9: 2.0}
    assert points(book, "host") == {9: 1.0}


def test_an_event_waits_for_no_device(run, busy):
    f, a = busy
    run.log({"warm": f(a)})
    assert run.flush(60)
    batch = jnp.int32(7).block_until_ready()
    value = f(a)
    run.event("after_loss", loss=value, batch=batch)
    assert not value.is_ready()
    value.block_until_ready()
    run.event("after_loss", loss=value)
    run.flush(20)
    first, second = [entry.payload for entry in read(run).records("event")]
    assert (first["loss"].endswith("on a device>"), first["batch"]) == (True, 7)
    assert second["loss"] == float(value)


def test_an_array_that_is_deleted_while_pending_is_a_clear_report(run, busy, capfd):
    f, a = busy
    value = f(a)
    run.log({"value": value, "host": 1.0})
    value.delete()
    assert run.flush(60)
    assert "donated" in capfd.readouterr().err
    assert run.health()["device"]["failed"] == 1
    assert read(run).keys() == ["host"]


def test_a_record_whose_step_never_comes_is_kept(run, monkeypatch, capfd):
    monkeypatch.setattr("steno.devices._jax.at_hand", lambda value: False)
    monkeypatch.setattr("steno.devices._jax.host", lambda value: Refused("it is gone") if value.dtype == "i4" else 2.0)
    run.log({"host": 1.0, "x": jnp.float32(2)}, step=jnp.int32(9))
    assert run.flush(60)
    assert "step was not read: it is gone" in capfd.readouterr().err
    book = read(run)
    assert points(book, "host") == {0: 1.0}
    assert points(book, "x") == {0: 2.0}


def test_arrays_deleted_or_donated_right_after_the_call_crash_nothing(tmp_path):
    """jaxlib ends the process when one thread asks an array that another one is deleting; the worker must not."""
    program = """
import sys, threading, time, steno, jax, jax.numpy as jnp
sys.setswitchinterval(1e-6)
from steno.capture.late import device_queue
device_queue._LOOK_SECS = device_queue._HURRY_SECS = 0
run = steno.init(dir=sys.argv[1], collector=False)
a = jnp.ones((100, 100))
f = jax.jit(lambda a, i: (a @ a @ a).sum() * 0 + i)
eat = jax.jit(lambda x: x + 1, donate_argnums=0)
for step in range(3000):
    value = f(a, step)
    run.log({"x": value, "k": 1.0}, step=step)
    if step % 2:
        value.delete()
    else:
        eat(value)
assert run._started.recorder.drain(time.monotonic() + 60)
print(run.health()["device"])
run.finish(0)
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=100)


def test_a_donated_array_is_right_or_reported_and_never_wrong(run):
    bump = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jnp.zeros(())
    for step in range(300):
        run.log({"x": x}, step=step)
        x = bump(x)
    book = read(run)
    got = points(book, "x")
    assert all(value == step for step, value in got.items())
    assert len(got) + run.health()["device"]["failed"] >= 300


def test_beyond_the_bound_the_oldest_is_given_up_and_counted(tmp_path, busy, monkeypatch):
    from steno.capture.late import device_queue

    monkeypatch.setattr(device_queue, "MOST", 10)
    run = steno.init(dir=tmp_path)
    f, a = busy
    value = f(a)
    for step in range(30):
        run.log({"value": value}, step=step)
    account = run.health()["device"]
    assert account["given_up"] == 20
    assert sorted(points(read(run), "value")) == list(range(20, 30))


# -- inside ---------------------------------------------------------------------------------------------------


def test_in_jit_with_traced_steps_constants_and_nested_values(run):
    @jax.jit
    def f(x, i):
        steno.log({"x": x, "in": {"y": x * 2, "k": 1.5}, "i": i, "b": x > 2, "h": x.astype(jnp.bfloat16)}, step=i)
        return x + 1

    for i in range(5):
        f(jnp.float32(i), i)
    book = read(run)
    assert points(book, "x") == {i: i for i in range(5)}
    assert points(book, "in/y") == {i: 2 * i for i in range(5)}
    assert points(book, "in/k") == dict.fromkeys(range(5), 1.5)
    assert points(book, "i") == {i: i for i in range(5)}
    assert points(book, "b") == {0: 0, 1: 0, 2: 0, 3: 1, 4: 1}
    assert points(book, "h") == {i: i for i in range(5)}


@pytest.mark.parametrize("compiled", [jax.jit, steno.jax.jit])
def test_an_array_beside_scalars_of_its_dtype_is_whole(run, compiled):
    @compiled
    def step(x):
        steno.log({"sum": x.sum(), "all": x}, step=1)
        steno.log({"none": x[:0], "two": x[:2], "one": x[2]}, step=2)
        return x

    step(jnp.arange(1.0, 4.0))
    book = read(run)
    assert points(book, "sum") == {1: 6.0}
    assert [points(book, f"all/{i}") for i in range(3)] == [{1: 1.0}, {1: 2.0}, {1: 3.0}]
    assert [points(book, key) for key in ("two/0", "two/1", "one")] == [{2: 1.0}, {2: 2.0}, {2: 3.0}]
    assert "none" in run.health()["reported_keys"]
    assert "all" not in book.keys()


@pytest.mark.parametrize("under", ["plain", "jit", "steno"])
def test_in_grad_scan_while_cond_and_vmap(run, under):
    wrap = {"plain": lambda f: f, "jit": jax.jit, "steno": steno.jax.jit}[under]

    def loss(w):
        value = (w * w).sum()
        steno.log({"grad": value}, step=1)
        return value

    def body(carry, t):
        steno.log({"scan": carry * 2.0}, step=t)
        return carry + 1, carry

    def turn(carry):
        steno.log({"while": carry}, step=carry.astype(jnp.int32))
        return carry + 1

    def branch(x):
        steno.log({"cond": x}, step=3)
        return x

    def each(x):
        steno.log({"vmap": x}, step=x.astype(jnp.int32))
        return x

    def everything(x):
        value, gradient = jax.value_and_grad(loss)(x)
        steno.log({"gradient": gradient}, step=2)
        jax.lax.scan(body, x, jnp.arange(4))
        jax.lax.while_loop(lambda c: c < 5, turn, x)
        jax.lax.cond(x > 0, branch, lambda x: x, x)
        jax.vmap(each)(jnp.arange(3.0))
        return value

    assert wrap(everything)(jnp.float32(2.0)) == 4.0
    book = read(run)
    assert points(book, "grad") == {1: 4.0}
    assert points(book, "gradient") == {2: 4.0}
    assert points(book, "scan") == {0: 4.0, 1: 6.0, 2: 8.0, 3: 10.0}
    assert points(book, "while") == {2: 2.0, 3: 3.0, 4: 4.0}
    assert points(book, "cond") == {3: 2.0}
    assert points(book, "vmap") == {0: 0.0, 1: 1.0, 2: 2.0}
    assert run.health()["reports"] == 0


def test_a_callback_has_one_operand_however_many_metrics():
    from steno.devices import _traced

    def f(x, i, h):
        slots, dtypes, alone, vectors = _traced.pack([x, i, x * 2, h, h > 0])
        _traced.call_back(vectors, lambda arrays: None)
        return x

    (eqn,) = [eqn for eqn in jax.make_jaxpr(f)(1.0, 2, jnp.bfloat16(3)).eqns if "callback" in eqn.primitive.name]
    assert len(eqn.invars) == 1


@pytest.mark.parametrize(
    "dtype", ["float32", "bfloat16", "float16", "int8", "uint8", "int16", "int32", "uint32", "bool", "int4"]
)
def test_packing_is_exact_for_every_dtype(dtype):
    from steno.devices import _traced

    given = [jnp.array([1, 0, 3, 5], dtype), jnp.float32(1 / 3), jnp.array([[1], [0]], dtype)]
    got = []

    @jax.jit
    def f(*values):
        slots, dtypes, alone, vectors = _traced.pack(values)
        part = _traced.TracedPart((), slots, dtypes, alone)
        _traced.call_back(vectors, lambda arrays: got.append((part, arrays)))

    f(*given)
    jax.effects_barrier()
    ((part, arrays),) = got
    (row,) = part.rows([np.asarray(array) for array in arrays])
    for one, other in zip(row, given, strict=True):
        assert np.array_equal(np.asarray(one).reshape(-1), np.asarray(other).reshape(-1))


def test_x64_values_are_exact_in_both_roads(tmp_path):
    program = """
import sys, steno, steno.jax, jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
run = steno.init(dir=sys.argv[1], name="r")
def f(x, i):
    steno.log({"x": x / 3, "i": i, "f": x.astype(jnp.float32)}, step=i)
    return x
jax.jit(f)(jnp.float64(1), jnp.int64(2**53 + 1))
steno.jax.jit(f)(jnp.float64(1), jnp.int64(2**53 + 3))
assert run.finish(60)
book = steno.open(run.dir)
assert book.series("x").value.tolist() == [1 / 3] * 2
assert book.series("i").step.tolist() == [2**53 + 1, 2**53 + 3]
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=100)


def test_an_exception_in_logging_does_not_end_the_computation(run, monkeypatch):
    from steno.capture.late import traced_records

    def broken(*_):
        raise RuntimeError("a fault in logging")

    @jax.jit
    def f(x):
        steno.log({"x": x})
        return x + 1

    monkeypatch.setattr(traced_records, "_arrived", broken)
    assert f(jnp.float32(1)) == 2
    jax.effects_barrier()
    monkeypatch.undo()
    assert f(jnp.float32(2)) == 3
    assert list(points(read(run), "x").values()) == [2.0]


# -- steno.jax -----------------------------------------------------------------------------------------------


def callbacks(function, *args):
    """Host callbacks in what is really compiled."""
    return function.lower(*args).as_text().count("callback")


def test_jit_makes_records_an_output_and_calls_nothing_back(run, monkeypatch):
    from steno.devices import _traced

    def never(*_):
        raise AssertionError("a callback")

    monkeypatch.setattr(_traced, "call_back", never)

    @steno.jax.jit
    def f(x, i):
        def loss(w):
            value = (w * w).sum()
            steno.log({"loss": value, "lr": 0.5}, step=i)
            return value

        value, gradient = jax.value_and_grad(loss)(x)
        steno.log({"g": gradient}, step=7)
        steno.log({"auto": value})
        return {"value": value, "gradient": gradient}

    for i in range(4):
        out = f(jnp.float32(i), i)
        assert (out["value"], out["gradient"]) == (i * i, 2 * i)
    book = read(run)
    assert points(book, "loss") == {i: i * i for i in range(4)}
    assert points(book, "lr") == dict.fromkeys(range(4), 0.5)
    assert book.series("g").value.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert book.series("auto").value.tolist() == [0.0, 1.0, 4.0, 9.0]


def test_jit_is_a_drop_in(run):
    @steno.jax.jit
    def plain(x):
        """Says something."""
        return x * 2

    assert plain(3) == 6
    assert plain.__doc__ == "Says something."

    @steno.jax.jit(static_argnames="n", donate_argnums=0)
    def options(x, n):
        steno.log({f"n{n}": x.sum()}, step=n)
        return x + n

    assert options(jnp.zeros(2), n=1).tolist() == [1.0, 1.0]
    assert options(jnp.zeros(3), n=2).tolist() == [2.0, 2.0, 2.0]
    assert options(jnp.ones(3), n=2).tolist() == [3.0, 3.0, 3.0]

    with pytest.raises(ValueError, match="mine"):
        steno.jax.jit(lambda x: (_ for _ in ()).throw(ValueError("mine")))(1.0)
    assert plain.lower(3.0).compile()(3.0) == 6

    cpu = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    assert steno.jax.jit(lambda x: x + 1, out_shardings=cpu)(1.0) == 2.0
    with jax.disable_jit():
        assert options(jnp.zeros(2), n=3).tolist() == [3.0, 3.0]
    book = read(run)
    assert book.series("n2").value.tolist() == [0.0, 3.0]
    assert points(book, "n3") == {3: 0.0}


def test_jit_inside_jit_grad_and_vmap(run):
    @steno.jax.jit
    def inner(x):
        steno.log({"inner": x * x}, step=x.astype(jnp.int32))
        return x * x

    assert steno.jax.jit(lambda x: inner(x) + 1)(jnp.float32(1)) == 2
    assert jax.jit(lambda x: inner(x) + 1)(jnp.float32(2)) == 5
    assert jax.grad(inner)(jnp.float32(3)) == 6
    assert steno.jax.jit(jax.grad(inner))(jnp.float32(4)) == 8
    assert jax.vmap(inner)(jnp.array([5.0, 6.0])).tolist() == [25.0, 36.0]
    book = read(run)
    assert points(book, "inner") == {i: i * i for i in range(1, 7)}


def test_a_value_closed_over_by_an_inner_loop_is_logged_at_each_turn(run):
    @steno.jax.jit
    def f(x):
        def body(carry, t):
            steno.log({"outer": x}, step=t)
            return carry, t

        return jax.lax.scan(body, 0, jnp.arange(3))[1]

    f(jnp.float32(5))
    assert points(read(run), "outer") == {0: 5.0, 1: 5.0, 2: 5.0}


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, steno.jax.jit])
def test_scan_delivers_all_steps_at_once(run, wrap):
    def body(carry, t):
        steno.log({"c": carry, "v": jnp.stack([carry, carry])}, step=t)
        return carry + 1, carry * 2

    def f(x):
        return steno.jax.scan(body, x, jnp.arange(50))

    carry, ys = wrap(f)(jnp.float32(0))
    assert carry == 50
    assert ys.tolist() == [2.0 * i for i in range(50)]
    book = read(run)
    assert points(book, "c") == {i: i for i in range(50)}
    assert points(book, "v/1") == {i: i for i in range(50)}


def test_a_nested_scan_keeps_every_step(run):
    @steno.jax.jit
    def f(x):
        def outer(carry, i):
            def inner(c, j):
                steno.log({"n": c}, step=i * 10 + j)
                return c + 1, None

            return steno.jax.scan(inner, carry, jnp.arange(3))[0], None

        return steno.jax.scan(outer, x, jnp.arange(4))[0]

    assert f(jnp.float32(0)) == 12
    assert points(read(run), "n") == {i * 10 + j: i * 3 + j for i in range(4) for j in range(3)}


def test_scan_without_steps_numbers_them_in_order_and_takes_a_length(run):
    def body(carry, _):
        steno.log({"x": carry})
        return carry + 1, None

    steno.jax.scan(body, jnp.float32(0), None, length=5)
    assert read(run).series("x").value.tolist() == [0, 1, 2, 3, 4]


def test_a_compiled_function_that_outlives_its_run_logs_into_the_next(tmp_path):
    first = steno.init(dir=tmp_path, name="first")
    plain = jax.jit(lambda x: (steno.log({"a": x}, step=1), x)[1])
    extra = steno.jax.jit(lambda x: (steno.log({"b": x}, step=1), x)[1])
    plain(1.0), extra(1.0)
    assert first.finish(60)
    second = steno.init(dir=tmp_path, name="second")
    plain(2.0), extra(2.0)
    book = read(second)
    assert points(book, "a") == {1: 2.0}
    assert points(book, "b") == {1: 2.0}


SHARDED = """
import sys, steno, steno.jax, jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P
run = steno.init(dir=sys.argv[1], name="r")
mesh = jax.make_mesh((4,), ("x",))
x = jax.device_put(jnp.arange(8.0), NamedSharding(mesh, P("x")))
r = jax.device_put(jnp.float32(3), NamedSharding(mesh, P()))
run.log({"sharded": x, "replicated": r}, step=0)
def f(x):
    steno.log({"sum": x.sum(), "x": x}, step=1)
    return x
jax.jit(f)(x)
steno.jax.jit(f)(x)
def g(x):
    steno.log({"local": x.sum()}, step=jax.lax.axis_index("x"))
    return x
jax.jit(jax.shard_map(g, mesh=mesh, in_specs=P("x"), out_specs=P("x")))(x)
assert run.finish(60), run.health()
book = steno.open(run.dir)
assert [book.series(f"sharded/{i}").value[0] for i in range(8)] == list(range(8))
assert book.series("replicated").value.tolist() == [3.0]
assert book.series("sum").value.tolist() == [28.0, 28.0], book.series("sum").value
assert book.series("x/7").value.tolist() == [7.0, 7.0]
assert dict(zip(book.series("local").step.tolist(), book.series("local").value.tolist())) == {0: 1, 1: 5, 2: 9, 3: 13}
"""


def test_sharded_arrays_and_shard_map(tmp_path):
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    subprocess.run([sys.executable, "-c", SHARDED, str(tmp_path)], check=True, timeout=110, env=env)


def test_a_program_with_jax_never_imports_torch(tmp_path):
    program = """
import sys, jax, steno, steno.torch, steno.jax
run = steno.init(dir=sys.argv[1], collector=False)
run.log({"x": jax.numpy.ones(())})
run.finish(0)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)
