"""What logging torch and JAX values costs the caller, beside what others do; the table of docs/devices.md.

    python benchmarks/devices.py [torch] [cuda] [jax]

CUDA rows are left out, and said to be, where there is no CUDA device. TorchRL and wandb are measured if installed.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
import time

import _measure as measure
import steno

METRICS = 20


def interleaved(functions, calls, rounds=9):
    """Best round's microseconds per call of each function, the rounds interleaved; `calls` by name or for all."""
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            began = time.perf_counter()
            for _ in range(calls):
                function()
            best[name] = min(best[name], (time.perf_counter() - began) / calls * 1e6)
    return best


def started():
    return steno.init(dir=tempfile.mkdtemp(prefix="steno-devices-"), collector=False)


def settle(run):
    run._started.recorder.drain(None)


# -- torch -------------------------------------------------------------------------------------------------


def seed_metrics_safe(metrics):
    """What TorchRL does with a dict: one `.item()` each on the CPU, one event on CUDA."""
    import torch

    out, tensors, cuda = {}, {}, False
    for key, value in metrics.items():
        if isinstance(value, torch.Tensor):
            cuda = cuda or value.is_cuda
            tensors[key] = value.detach().to("cpu", non_blocking=True) if value.is_cuda else value.detach()
        else:
            out[key] = value
    if cuda:
        event = torch.cuda.Event()
        event.record()
        event.synchronize()
    for key, value in tensors.items():
        out[key] = value.item() if value.numel() == 1 else value.tolist()
    return out


def torch_on_the_host():
    import torch

    run = started()
    tensors = {f"m/{i}": torch.tensor(float(i)) for i in range(METRICS)}
    floats = {f"m/{i}": float(i) for i in range(METRICS)}
    mixed = {**floats, "m/0": torch.tensor(1.0)}
    got = interleaved(
        {
            "steno, 20 tensors": lambda: run.log(tensors, 1),
            "steno, 19 floats and a tensor": lambda: run.log(mixed, 1),
            "steno, 20 floats": lambda: run.log(floats, 1),
            "one wait per device, then a dict (TorchRL's way)": lambda: seed_metrics_safe(tensors),
            "x.item() 20 times": lambda: [value.item() for value in tensors.values()],
        },
        2000,
    )
    run.finish(5)
    measure.table("torch on the CPU, 20 scalars", ["way", "µs per call"], [[k, f"{v:.1f}"] for k, v in got.items()])


def torch_on_cuda():
    import torch

    if not torch.cuda.is_available():
        print("\ntorch on CUDA: not measured, there is no CUDA device")
        return
    import _cuda_claims

    claims = [[claim, measured, "yes" if holds else "**no**"] for claim, measured, holds in _cuda_claims.tried()]
    run = started()
    tensors = {f"m/{i}": torch.tensor(float(i), device="cuda") for i in range(METRICS)}
    for name, way in {
        "TorchRL's way, 20 scalars: one wait per device": lambda: seed_metrics_safe(tensors),
        "x.item() 20 times": lambda: [value.item() for value in tensors.values()],
        "wandb, offline, 20 scalars": wandb_offline(tensors),
    }.items():
        if way is not None:
            claims.append([name, f"{interleaved({name: way}, 200)[name]:.1f} µs", ""])
    claims += transformer(run)
    run.finish(5)
    measure.table(f"torch on {torch.cuda.get_device_name()}", ["claim", "measured", "holds"], claims)


def wandb_offline(metrics):
    """`wandb.log` of the same tensors; None if it is not installed."""
    try:
        import wandb
    except ImportError:
        return None
    other = wandb.init(mode="offline", dir=tempfile.mkdtemp(), settings=wandb.Settings(silent=True))
    return lambda: other.log(metrics)


def transformer(run):
    """Step time of a small transformer, logging its loss and norms, and not; interleaved."""
    import torch

    layer = torch.nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 4, enable_nested_tensor=False).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    x = torch.randn(32, 128, 256, device="cuda")

    def steps(log):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for step in range(50):
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if log is not None:
                log({"loss": loss, **{f"s/{i}": loss for i in range(METRICS - 1)}}, step)
        torch.cuda.synchronize()
        return (time.perf_counter() - began) / 50 * 1e3

    ways = {
        "no logging": None,
        "steno": run.log,
        "one wait per device": lambda metrics, step: seed_metrics_safe(metrics),
        "x.item()": lambda metrics, step: [value.item() for value in metrics.values()],
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(7):
        for name, log in ways.items():
            best[name] = min(best[name], steps(log))
    rows = [[f"transformer step, {name}", f"{took:.3f} ms", ""] for name, took in best.items()]
    over = (best["steno"] / best["no logging"] - 1) * 100
    return [
        *rows,
        ["a step of the transformer, at most 1 % longer", f"{over:+.2f} %", "yes" if over <= 1 else "**no**"],
    ]


# -- JAX ---------------------------------------------------------------------------------------------------


def jax_in_a_step():
    import jax
    import jax.numpy as jnp

    import steno.jax

    run = started()

    def metrics(x):
        return {f"m/{i}": (x * (i + 1)).sum() for i in range(METRICS)}

    def work(x):
        return x * 1.0001 + 0.1

    def stacked(x):
        return work(x), jnp.stack(list(metrics(x).values()))

    def operands(x):
        jax.debug.callback(lambda **values: None, **metrics(x))
        return work(x)

    def logged(x):
        run.log(metrics(x), 3)
        return work(x)

    functions = {
        "no metrics": jax.jit(work),
        "returned stacked, never read": jax.jit(stacked),
        "steno.jax.jit": steno.jax.jit(logged),
        "steno.log in jax.jit: one packed callback": jax.jit(logged),
        "jax.debug.callback, 20 operands": jax.jit(operands),
    }

    def loop(function):
        x = jnp.ones(1000)
        began = time.perf_counter()
        for _ in range(300):
            out = function(x)
            x = out[0] if isinstance(out, tuple) else out
        x.block_until_ready()
        return (time.perf_counter() - began) / 300 * 1e6

    best = dict.fromkeys(functions, float("inf"))
    for turn in range(10):
        for name, function in functions.items():
            took = loop(function)
            if turn:
                best[name] = min(best[name], took)
            jax.effects_barrier()
            settle(run)
    run.finish(5)
    least = best["jax.debug.callback, 20 operands"]
    rows = [[name, f"{took:.0f}", f"{took / least:.2f}"] for name, took in best.items()]
    measure.table("JAX on the CPU, a jitted step with 20 metrics", ["way", "µs per step", "of the 20 operands"], rows)
    over = best["steno.jax.jit"] - best["returned stacked, never read"]
    print(f"\nsteno.jax.jit over returning the metrics and never reading them: {over:.0f} µs")


def jax_eagerly():
    import jax
    import jax.numpy as jnp

    run = started()
    logging.getLogger("steno.optimization").setLevel(logging.INFO)
    logging.getLogger("steno.optimization").addHandler(logging.NullHandler())
    cost, norm = jnp.float32(1.5), jnp.float32(2.5)

    def line(i, cost, norm, _):
        text = f"iter={int(i)} | cost={float(cost):.6e} | {float(norm):.6e}"
        logging.getLogger("steno.optimization").info(text)

    def seed(i, cost, norm):
        jax.debug.callback(line, jnp.asarray(i), jnp.asarray(cost), jnp.asarray(norm), "")

    got = interleaved(
        {
            "steno.log_iteration_async, lines and metrics": lambda: steno.log_iteration_async(3, cost, norm, verbose=2),
            "steno.log_iteration_async, verbose=0": lambda: steno.log_iteration_async(3, cost, norm),
            "jax.debug.callback (NLSQ's way)": lambda: seed(3, cost, norm),
        },
        500,
    )
    rows = [[name, f"{took:.1f} µs"] for name, took in got.items()]

    a = jnp.ones((500, 500)) * 0.01

    def pending(rounds):
        @jax.jit
        def f(a):
            c = jax.lax.fori_loop(0, rounds, lambda _, y: jnp.tanh(y @ a), a).sum()
            return c, c * 2

        return f

    rounds = 20
    while True:
        f = pending(rounds)
        jax.block_until_ready(f(a))
        began = time.perf_counter()
        jax.block_until_ready(f(a))
        took = time.perf_counter() - began
        if took > 0.7:
            break
        rounds = int(rounds * max(1.5, 0.9 / took))
    for name, log in {
        "steno.log_iteration_async": lambda *v: steno.log_iteration_async(*v, verbose=2),
        "jax.debug.callback (NLSQ's way)": seed,
    }.items():
        spent = []
        for _ in range(5):
            values = f(a)
            began = time.perf_counter()
            log(1, *values)
            spent.append((time.perf_counter() - began) * 1e6)
            jax.block_until_ready(values)
        what = f"{name}, {took * 1e3:.0f} ms of work pending, median of 5"
        rows.append([what, f"{statistics.median(spent):,.0f} µs"])
    settle(run)
    run.finish(5)
    measure.table("JAX on the CPU, outside jit", ["way", "measured"], rows)


def main():
    wanted = set(sys.argv[1:]) or {"torch", "cuda", "jax"}
    print(measure.machine())
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if "torch" in wanted:
        torch_on_the_host()
    if "cuda" in wanted:
        torch_on_cuda()
    if "jax" in wanted:
        jax_in_a_step()
        jax_eagerly()


if __name__ == "__main__":
    main()
