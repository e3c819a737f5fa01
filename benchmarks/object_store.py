"""An object store on loopback (moto's S3): how long opening and reading a run there takes, and how fast files go up.

The server, which is Python too, shares the machine: the figures say what steno adds, not what S3 is like.
"""

from __future__ import annotations

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
        print(f"a file of {FILE_BYTES >> 20} MiB, in pieces: {secs:.2f} s, {FILE_BYTES / secs / 1e6:.0f} MB/s")
        began = time.perf_counter()
        object_stores.client(port).upload_file(str(content), "bench", "reference")
        secs = time.perf_counter() - began
        print(f"the same by boto3's upload_file: {secs:.2f} s, {FILE_BYTES / secs / 1e6:.0f} MB/s")


if __name__ == "__main__":
    main()
