"""The programs of the documentation we follow, with only the import changed, and their values in the store."""

from __future__ import annotations

import pytest
from async_programs import run, values

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
