"""Thousands of mixed tasks with failures, deaths and cancellations: each success is recorded exactly once.

400 tasks by default; ASYNC_LOG_SOAK=10000 for the full exam.
"""

from __future__ import annotations

import json
import os
from collections import Counter

import pytest
from async_programs import run, the_run

TASKS = int(os.environ.get("ASYNC_LOG_SOAK", "400"))

PROGRAM = """
import asyncio, functools, json, os, random, signal, sys, time

def work(number, fate):
    if fate == "fail":
        raise ValueError(number)
    if fate == "leave":
        raise SystemExit(number)
    if fate == "exit":
        os._exit(5)
    if fate == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fate == "nothing":
        return None
    if fate == "chatter":
        steno.log({"chatter": float(number)})
    return {"id": float(number)}

async def awork(number, fate):
    await asyncio.sleep(random.random() * 0.05)
    return work(number, fate)

async def main(run, count):
    dice = random.Random(20)
    futures = []
    for number in range(count):
        mode = dice.choice(["threading", "asyncio", "spawn", "fork"])
        fate = dice.choices(["fine", "fail", "leave", "nothing", "chatter", "die"], [80, 5, 3, 3, 5, 2])[0]
        if fate == "die":
            fate = dice.choice(["exit", "kill"]) if mode in ("spawn", "fork") else "fail"
        step_at = dice.choice(["complete", "complete", "submit"])
        func = awork if mode == "asyncio" else work
        future = run.async_log(func, number, fate, mode=mode, step_at=step_at)
        futures.append((number, mode, fate, future))
        if dice.random() < 0.05:
            dice.choice(futures[-8:])[3].cancel()
        if number % 50 == 0:
            await asyncio.sleep(0)
    assert await run.afinish() is True
    return futures

if __name__ == "__main__":
    run = steno.init(async_full="wait", async_queue=20_000)
    futures = asyncio.run(main(run, int(sys.argv[1]) if len(sys.argv) > 1 else int(os.environ["TASKS"])))
    out = []
    for number, mode, fate, future in futures:
        assert future.done(), (number, mode, fate)
        state = "cancelled" if future.cancelled() else "failed" if future.exception() else "done"
        out.append((number, mode, fate, state))
    print(json.dumps({"tasks": out, "health": run.health()["tasks"]}))
"""


@pytest.mark.timeout(900)
def test_soak(tmp_path):
    done, secs = run(PROGRAM, tmp_path, timeout=850, TASKS=str(TASKS))
    assert done.returncode == 0, done.stderr[-4000:]
    said = json.loads(done.stdout)
    tasks = said["tasks"]
    book = the_run(tmp_path)
    recorded = Counter(book.series("id").value.tolist())

    wanted = {float(number) for number, _, _, state in tasks if state == "done"}
    assert recorded == Counter(dict.fromkeys(wanted, 1))
    for number, mode, fate, state in tasks:
        allowed = {"cancelled", "done" if fate in {"fine", "chatter"} else "failed"}
        assert state in allowed, (number, mode, fate)
    assert len(wanted) > TASKS * 0.6
    for mode, health in said["health"].items():
        ends = Counter(state for _, kind, _, state in tasks if kind == mode)
        assert (health["done"], health["failed"], health["cancelled"]) == (
            ends["done"], ends["failed"], ends["cancelled"],
        )  # fmt: skip
        assert health["queued"] == health["running"] == health["abandoned"] == health["dropped"] == 0
    entries = book.sql("select count(*) from records where kind = 'task'").fetchall()[0][0]
    assert entries == TASKS
    steps = Counter(book.series("id").step.tolist())
    assert max(steps.values()) == 1
    print(f"{TASKS} tasks in {secs:.1f} s: {said['health']}")
