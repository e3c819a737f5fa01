"""What `log_artifact` costs the caller, beside `shutil.copy2` of the same file in the same run; and many small ones.

    python benchmarks/artifacts.py [--dir PLACE] [--sizes 1e3 1e8 1e9] [--rounds 5] [--small 10000]

Sources and runs lie in a directory of their own in PLACE (default: the temporary directory), which is removed: on a file
system without reflinks those stand as "—". Each round takes each way once, in turn, so that all meet the
same disk. The figures are ms of one call, median and largest.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import _measure
import steno

WAYS = ("link", "reflink", "copy")
FICLONE = 0x40049409


def sizes(place: Path, wanted: list[int], rounds: int) -> None:
    rows = []
    for size in wanted:
        source = place / "source"
        write(source, size)
        os.sync()
        run = steno.init(project="bench", name=f"size-{size}", dir=place / "runs", collector=False)
        taken: dict[str, list[float]] = {way: [] for way in (*WAYS, "copy2")}
        ways = WAYS if has_reflinks(source, place) else ("link", "copy")
        for number in range(-1, 100 if size < 1 << 20 else rounds):
            for way in ways:
                # What is copied is written back while the next are timed, in a training run as well: not for those
                # that copy nothing.
                for again in range(20 if way != "copy" else 1):
                    began = time.perf_counter()
                    run.log_artifact(source, name=f"{way}-{number}-{again}", snapshot=way)
                    taken[way].append((time.perf_counter() - began) * 1e3)
                clear(run.dir / ".steno" / "staging")
            began = time.perf_counter()
            shutil.copy2(source, place / "copy2")
            taken["copy2"].append((time.perf_counter() - began) * 1e3)
            (place / "copy2").unlink()
            if size >= 1 << 20:
                os.sync()
        fresh = []
        for number in range(rounds if "reflink" in ways else 0):
            write(source, size)
            began = time.perf_counter()
            run.log_artifact(source, name=f"fresh-{number}", snapshot="reflink")
            fresh.append((time.perf_counter() - began) * 1e3)
        run.finish(0)
        source.unlink()
        shutil.rmtree(place / "runs")
        row: list[object] = [f"{size:,}"]
        for way, some in taken.items():
            row += [statistics.median(some[1:]), max(some[1:])] if some else ["—", "—"]
        rows.append([*row, statistics.median(fresh) if fresh else "—"])
    names = [f"{way}{what}" for way in (*WAYS, "shutil.copy2") for what in ("", " max")]
    _measure.table(
        "log_artifact, ms of the call, by the size of the file in bytes",
        ["bytes", *names, "reflink of a file just written"],
        rows,
    )


def write(source: Path, size: int) -> None:
    """Write a file of random bytes, as a training program does: what the kernel has not written to disk stays so."""
    block = os.urandom(1 << 20)
    with open(source, "wb") as file:
        left = size
        while left > 0:
            left -= file.write(block[:left])


def clear(staging: Path) -> None:
    for stream in staging.iterdir():
        for snapshot in stream.iterdir():
            snapshot.unlink()


def has_reflinks(source: Path, place: Path) -> bool:
    with open(source, "rb") as one, tempfile.TemporaryFile(dir=place) as two:
        try:
            fcntl.ioctl(two, FICLONE, one.fileno())
        except OSError:
            return False
    return True


def many(place: Path, count: int, threads: int) -> None:
    """As a program of its own: cold caches of ours, and nobody else's threads."""
    sources = place / "sources"
    sources.mkdir()
    for number in range(count):
        (sources / f"{number}").write_bytes(b"%d" % number * 100)
    run = steno.init(project="bench", name="many", dir=place / "runs")
    run.log_artifact(sources / "0", name="first").wait(30)
    taken: list[float] = []

    def work(first: int) -> None:
        for number in range(first, count, threads):
            began = time.perf_counter()
            run.log_artifact(sources / f"{number}", step=number)
            taken.append((time.perf_counter() - began) * 1e3)

    crew = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
    began = time.perf_counter()
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    logged = time.perf_counter() - began
    done = run.finish(600)
    stored = time.perf_counter() - began
    assert done, run.health()
    seen = _measure.wait_for_collector(run.dir)
    began = time.perf_counter()
    for number in range(count):
        shutil.copy2(sources / f"{number}", place / "copy2")
    copied = time.perf_counter() - began
    taken.sort()
    found = len(steno.open(run.dir).artifacts())
    assert found == count + 1, found
    rows = [[count, threads, logged, taken[count // 2], taken[int(count * 0.99)], stored, seen["cpu"], copied]]
    columns = [
        "artifacts",
        "threads",
        "logged, s",
        "call, ms",
        "p99, ms",
        "all stored, s",
        "collector CPU, s",
        "copy2 of all, s",
    ]
    _measure.table("many small artifacts", columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=None)
    parser.add_argument("--sizes", type=float, nargs="*", default=[1e3, 1e8, 1e9])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--many-in", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.many_in is not None:
        many(options.many_in, options.small, options.threads)
        return
    with tempfile.TemporaryDirectory(dir=options.dir, ignore_cleanup_errors=True) as name:
        place = Path(name)
        kind = subprocess.run(
            ["stat", "-f", "-c", "%T", name], capture_output=True, text=True, check=False
        ).stdout.strip()
        print(f"{_measure.machine()}, {kind}")
        sizes(place, [int(size) for size in options.sizes], options.rounds)
        if options.small:
            more = ["--small", str(options.small), "--threads", str(options.threads)]
            subprocess.run([sys.executable, __file__, "--many-in", name, *more], check=True)


if __name__ == "__main__":
    main()
