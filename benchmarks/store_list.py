"""Ten thousand runs of one node each, in a directory and on S3 (moto): what a list asks of the store, how long it takes.

Requests are counted before the server, which is Python too: what it takes is no figure of S3.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import object_stores
import steno
from steno.ledger import store_card
from steno.objects.store import ObjectStore

LIST = """
import sys, time, steno
wall, began = time.perf_counter(), time.process_time()
runs = steno.runs(sys.argv[1])
print(len(runs), time.process_time() - began, time.perf_counter() - wall)
"""


def _filled(url, folder, runs):
    with steno.init("bench", "one", dir=folder, store=url, config={"lr": 1e-3, "layers": 12}) as run:
        for step in range(1000):
            run.log({f"metric/{number}": step / 7 for number in range(20)}, step=step)
        assert run.finish(timeout=120)
    store = ObjectStore(url)
    (key,) = store.listing("_cards")
    card = json.loads(store.read(key))
    card.pop("crc")
    for number in range(runs - 1):
        id = f"{number:026d}"
        about = {**card["run"], "id": id, "name": f"r{number}"}
        store.write(key.replace(run.id, id), store_card.encode({**card, "path": f"bench/r{number}", "run": about}))
    return len(store_card.encode(card))


def _say(what, url, seen=None):
    if seen is not None:
        seen.clear()
    told = subprocess.run([sys.executable, "-c", LIST, url], capture_output=True, text=True, check=True)
    count, cpu, wall = map(float, told.stdout.split())
    line = f"{what}: {count:,.0f} runs, {cpu:.2f} s of CPU, {wall:.2f} s"
    if seen is not None:
        lists = sum("list-type" in path for _, path, _ in seen)
        line += f"; {lists} list requests, {sum(method == 'GET' for method, _, _ in seen) - lists} objects fetched"
    print(line)


def main():
    with tempfile.TemporaryDirectory() as place, object_stores.moto_server() as port:
        os.environ["STENO_CACHE_DIR"] = f"{place}/cache"
        url = f"file://{place}/store"
        size = _filled(url, f"{place}/runs", 10_000)
        print(f"a card has {size:,} bytes; load {os.getloadavg()[0]:.1f}")
        _say("a directory, nothing known", url)
        _say("again, in a new process", url)
        gate = object_stores.Gate(port)
        os.environ.update(object_stores.environment(gate.url))
        object_stores.client(port).create_bucket(Bucket="bench")
        url = "s3://bench/x"
        _filled(url, f"{place}/s3-runs", 10_000)
        _say("S3, nothing known", url, gate.seen)
        _say("again, in a new process", url, gate.seen)
        store = ObjectStore(url)
        for key in sorted(store.listing("_cards"))[:7]:
            card = json.loads(store.read(key))
            card.pop("crc")
            store.write(key, store_card.encode({**card, "written": card["written"] + 1}))
        _say("again, seven have changed", url, gate.seen)
        gate.close()


if __name__ == "__main__":
    main()
