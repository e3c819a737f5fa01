"""An object store on loopback (moto's S3): how long opening and reading a run there takes, and how fast files go up.

The server, which is Python too, shares the machine: the figures say what steno adds, not what S3 is like.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import object_stores
import steno

POINTS = 1_000_000
KEYS = 20
FILE_BYTES = 256 << 20
TURNS = 5
READ = """
import sys, time
began = time.perf_counter()
import steno, s3fs
loaded = time.perf_counter()
reader = steno.open(sys.argv[1])
opened = time.perf_counter()
series = reader.series("k00")
read = time.perf_counter()
reader.series("k01")
print(loaded - began, opened - loaded, read - opened, time.perf_counter() - read, len(series))
"""
SEND = """
import os, sys, time
from pathlib import Path
who, path, digest = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
size, url = path.stat().st_size, os.environ["AWS_ENDPOINT_URL"]
if who == "boto3":
    import object_stores
    client = object_stores.client(int(url.rpartition(":")[2]))
    send = lambda key: client.upload_file(str(path), "bench", key)
elif who == "steno":
    from steno.objects.sending import Sending
    from steno.objects.store import ObjectStore
    store = ObjectStore("s3://bench/sent")
    send = lambda key: store.send(Sending(key, path, size, digest))
else:
    import obstore
    store = obstore.store.S3Store("bench", endpoint=url, region="us-east-1", client_options={"allow_http": True})
    send = lambda key: obstore.put(store, key, path, chunk_size=8 << 20, max_concurrency=8)
for number, _ in enumerate(sys.stdin):
    began, cpu = time.perf_counter(), time.process_time()
    send(f"{who}-{number}")
    print(time.perf_counter() - began, time.process_time() - cpu, flush=True)
"""


def _uploaded(run):
    began = time.perf_counter()
    assert run.finish(timeout=600)
    return time.perf_counter() - began


def main():
    with object_stores.moto_server() as port, tempfile.TemporaryDirectory() as place:
        os.environ.update(object_stores.environment(f"http://127.0.0.1:{port}"))
        os.environ["STENO_CACHE_DIR"] = f"{place}/cache"
        object_stores.client(port).create_bucket(Bucket="bench")

        run = steno.init("bench", "points", dir=place, store="s3://bench/x")
        names = [f"k{number:02d}" for number in range(KEYS)]
        for step in range(POINTS // KEYS):
            run.log(dict.fromkeys(names, step / 7), step=step)
        secs = _uploaded(run)
        size = sum(path.stat().st_size for path in (run.dir / "metrics").iterdir())
        print(f"{POINTS:,} points, {size / 1e6:.1f} MB of parts; load {os.getloadavg()[0]:.1f}")
        print(f"finish until all is in the store: {secs:.2f} s")
        for what in ("cold", "from the cache"):
            told = subprocess.run(
                [sys.executable, "-c", READ, "s3://bench/x/bench/points"], capture_output=True, text=True, check=True
            )
            load, opened, read, second, count = map(float, told.stdout.split())
            print(
                f"{what}: import steno and s3fs {load:.2f} s, open {opened:.3f} s, "
                f"first series ({count:,.0f} points) {read:.3f} s, second {second:.3f} s"
            )

        run = steno.init("bench", "file", dir=place, store="s3://bench/x")
        content = run.dir / "artifacts" / "be" / "bench"
        content.parent.mkdir(parents=True, exist_ok=True)
        with open(content, "wb") as file:
            file.writelines(os.urandom(1 << 20) for _ in range(FILE_BYTES >> 20))
        secs = _uploaded(run)
        print(f"a file of {FILE_BYTES >> 20} MiB, from `finish` until it is there: {secs:.2f} s")
        _paces(port, content)


def _paces(port, path):
    """The same file by steno, boto3 and obstore, each in a process of its own that is started already, in turns."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    words = [sys.executable, "-c", SEND]
    programs = {
        who: subprocess.Popen(
            [*words, who, str(path), digest], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for who in ("boto3", "steno", "obstore")
        if importlib.util.find_spec(who)
    }  # fmt: skip
    took = {who: [] for who in programs}
    for who in [*programs] * (1 + TURNS):  # the first turn opens connections
        programs[who].stdin.write("\n")
        programs[who].stdin.flush()
        took[who].append([float(word) for word in programs[who].stdout.readline().split()])
    best = {who: [min(column) for column in zip(*rows[1:], strict=True)] for who, rows in took.items()}
    for who, (secs, cpu) in best.items():
        print(
            f"{who}, best of {TURNS} in turns: {secs:.2f} s, {FILE_BYTES / secs / 1e6:.0f} MB/s, "
            f"{100 * best['boto3'][0] / secs:.0f} % of boto3's pace, {cpu:.2f} s of CPU"
        )
    for program in programs.values():
        program.communicate()


if __name__ == "__main__":
    main()
