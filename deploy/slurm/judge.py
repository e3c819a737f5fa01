"""Waits until the store has what the job has recorded, and says what is wrong with it: `judge.py STORE begun|ended`."""

import sys
import time

import steno

store, moment = sys.argv[1:]
attempts = {"begun": 1, "ended": 2}[moment]
deadline = time.monotonic() + 120
wrong = ["nothing is there"]
while wrong and time.monotonic() < deadline:
    time.sleep(0.2)
    try:
        (one,) = steno.runs(store)
    except (ValueError, steno.StenoError):
        continue
    with steno.open(one.url) as run:
        wrong = []
        for attempt in range(1, attempts + 1):
            for rank in range(2):
                values = run.series("loss", rank=rank, attempt=attempt).value.tolist() if "loss" in run.keys() else []
                if values != [step + rank / 8 + 1000 * (attempt - 1) for step in range(100)]:
                    wrong.append(f"attempt {attempt}, rank {rank}: {len(values)} points")
        info = run.info
        if moment == "ended" and (info.state, len(info.attempts), info.points) != ("finished", 2, 400):
            wrong.append(f"{info.state}, {len(info.attempts)} attempts, {info.points} points")
print(f"{moment}: {one.name}, {info.state}, {len(info.attempts)} attempts, ranks {info.ranks} of {info.world_size}")
sys.exit("\n".join(wrong) or None)
