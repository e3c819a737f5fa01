"""The programs of the documentation we follow, with only the import changed, and their values in the store."""

from __future__ import annotations

import pytest
from async_programs import run, the_run, values

THREADING = """
import time

steno.init(project="my-project")

def fetch_score():
    time.sleep(2)
    return {"score": 0.95}

future = steno.async_log(fetch_score, step=1)
# Training continues without blocking...

steno.finish()
"""

ASYNCIO = """
import asyncio

steno.init(project="my-project")

async def slow_compute():
    await asyncio.sleep(2)
    return {"score": 0.95}

async def main():
    future = steno.async_log(slow_compute, step=1, mode="asyncio")

    await steno.current().afinish()

asyncio.run(main())
"""

SPAWN = """
def compute_loss():
    return {"loss": 0.123, "acc": 0.95}

if __name__ == "__main__":
    steno.init(project="my-project")

    future = steno.async_log(compute_loss, step=2, mode="spawn")

    steno.finish()
"""

UNGUARDED = """
steno.init(project="my-project")

def compute_loss():
    return {"loss": 0.123, "acc": 0.95}

future = steno.async_log(compute_loss, step=2, mode="spawn")

steno.finish()
print("the loop went on:", future.exception())
"""

TORCH = """
import torch

def compute():
    t = torch.randn(10)
    return {"value": t[0].item(), "arr": t.detach().cpu().numpy(), "tensor": t}

if __name__ == "__main__":
    steno.init(project="my-project")

    future = steno.async_log(compute, step=3, mode="spawn")
    assert future.result().keys() == {"value", "arr", "tensor"}

    steno.finish()
"""

FORK = """
steno.init(project="my-project")

scale = [2.0]

def compute():
    steno.log({"inside": scale[0]}, step=4)
    return {"loss": scale[0] * 2}

future = steno.async_log(compute, step=4, mode="fork")
scale[0] = 0.0

steno.finish()
"""


@pytest.mark.parametrize(
    ("code", "step", "wanted"),
    [
        pytest.param(THREADING, 1, {"score": 0.95}, id="threading"),
        pytest.param(ASYNCIO, 1, {"score": 0.95}, id="asyncio"),
        pytest.param(SPAWN, 2, {"loss": 0.123, "acc": 0.95}, id="spawn"),
        pytest.param(FORK, 4, {"loss": 4.0, "inside": 2.0}, id="fork"),
    ],
)
def test_program_records_what_it_says(tmp_path, code, step, wanted):
    done, _ = run(code, tmp_path, flags=())

    assert done.returncode == 0, done.stderr
    # A task of two seconds is just long enough for finish to say what it waits for.
    assert [line for line in done.stderr.splitlines() if "finish waits for 1 async_log tasks" not in line] == []
    for key, value in wanted.items():
        assert values(tmp_path, key) == ([step], [value])


def test_program_with_torch_records_tensors_too(tmp_path):
    pytest.importorskip("torch")
    done, _ = run(TORCH, tmp_path)

    assert done.returncode == 0, done.stderr
    steps, _ = values(tmp_path, "value")
    assert steps == [3]
    for index in range(10):
        assert values(tmp_path, f"arr/{index}") == values(tmp_path, f"tensor/{index}")


def test_without_a_main_guard_the_error_says_so_and_the_loop_goes_on(tmp_path):
    done, _ = run(UNGUARDED, tmp_path)

    assert done.returncode == 0, done.stderr
    assert "the loop went on:" in done.stdout
    assert 'if __name__ == "__main__":' in done.stdout
    assert "async_log: compute_loss" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(list((tmp_path / "runs").glob("*/*/run.json"))) == 1


MEDIA = """
import asyncio
import numpy as np

def picture():
    return {"img": steno.Image(np.zeros((8, 8, 3), np.uint8)), "n": 1.0}

async def apicture():
    return picture()

async def main(run):
    for step_at in ("complete", "submit"):
        await asyncio.wrap_future(run.async_log(apicture, mode="asyncio", step_at=step_at))

if __name__ == "__main__":
    run = steno.init(project="my-project")
    for mode in ("threading", "spawn", "fork"):
        for step_at in ("complete", "submit"):
            run.async_log(picture, mode=mode, step_at=step_at).result(20)
    asyncio.run(main(run))
    assert run.finish() is True
"""

JAX = """
import jax.numpy as jnp

def values():
    x = jnp.arange(4.0)
    return {"one": x.sum(), "row": x, "nested": {"list": [x[1], 2.0]}}

run = steno.init(project="my-project")
for step_at in ("complete", "submit"):
    run.async_log(values, step_at=step_at).result(60)
assert run.finish() is True
"""


def test_media_may_be_returned_in_every_mode(tmp_path):
    done, _ = run(MEDIA, tmp_path, flags=())

    assert done.returncode == 0, done.stderr
    assert len(values(tmp_path, "n")[0]) == 8
    assert [item.step for item in the_run(tmp_path).media("img")] == list(range(8))


def test_jax_arrays_may_be_returned_whenever_the_step_is_numbered(tmp_path):
    pytest.importorskip("jax")
    done, _ = run(JAX, tmp_path, flags=())

    assert done.returncode == 0, done.stderr
    assert values(tmp_path, "one") == ([0, 1], [6.0, 6.0])
    assert values(tmp_path, "row/3") == ([0, 1], [3.0, 3.0])
    assert values(tmp_path, "nested/list/0") == ([0, 1], [1.0, 1.0])
