"""Kills trainers and collectors in the middle of copies and digests, and looks at every artifact after; seeded.

    python tests/crash/artifact_siege.py --kills 100 [--seed N] [--mode trainer|group|collector|all]

One round: a trainer logs files and directories, of nothing to some megabytes, by copy, reflink and link, in new names,
versions and aliases, from two threads, and notes in a shared map which calls have returned. Something is
killed with SIGKILL: the trainer; its group and the collector; or the collector alone, again and again. Collectors that catch up are killed too;
the last one may end. A round fails when an artifact whose call returned is missing or not stored, when any content is not
what was logged, when something is stored twice, or when a byte is left in staging or under `artifacts/` that nothing refers to.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from siege import _word, collector, collectors, concluded, end_collectors, ended, fork, kill, prepare, shared

MODES = ("trainer", "group", "collector")
THREADS = 2
BEGUN = THREADS


def data(seed: int, thread: int, i: int) -> bytes:
    """The content of call `i`; some contents come again."""
    rng = random.Random(f"{seed} {thread} {i if i % 7 else 0}")
    size = rng.choice((0, 1, 1000, 100_000, 100_000, 1_000_000, rng.randrange(8_000_000)))
    return rng.randbytes(min(size, 64_000)) * (size // 64_000 + 1)


def trainer(base: Path, seed: int, seconds: float) -> None:
    """Log until killed or the time is over."""
    import steno

    marks = shared(base / "marks")
    run = steno.init(project="siege", name="run", dir=base)
    _word.pack_into(marks, 8 * BEGUN, 1)
    end = time.monotonic() + seconds

    def work(thread: int) -> None:
        rng = random.Random(seed * 2 + thread)
        i = 0
        while time.monotonic() < end:
            source = base / f"source-{thread}"
            content = data(seed, thread, i)
            how = rng.choice(("auto", "copy", "link"))
            if i % 5 == 4:
                source.mkdir()
                for part in range(3):
                    (source / f"{part}").write_bytes(content[part::3])
                run.log_artifact(source, name=f"{thread}/{i}", snapshot=how, step=i)
                for part in range(3):
                    (source / f"{part}").unlink()
                source.rmdir()
            else:
                source.write_bytes(content)
                run.log_artifact(source, name=f"{thread}/{i}", link=f"{thread}/latest", snapshot=how, step=i)
                run.log_artifact(source, name=f"{thread}/versions", overwrite=True, snapshot=how, step=i)
                source.unlink()
            marks[8 * thread : 8 * thread + 8] = _word.pack(i + 1)
            i += 1

    crew = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    run.finish(timeout=0.2)


def check(run_dir: Path, seed: int, returned: list[int]) -> list[str]:
    """What is wrong with the run, in words; [] when nothing is."""
    import steno

    book = steno.open(run_dir)
    faults: list[str] = []
    found = {one.name: one for one in book.artifacts()}
    referred = set()
    for name, one in found.items():
        for version in one.versions:
            thread, i = int(name.partition("/")[0]), version.step
            content = data(seed, thread, i)
            if version.digest is None:
                faults.append(f"{name} at {i} is not stored")
                continue
            referred.add(version.digest)
            if version.kind == "dir":
                got = {part: path.read_bytes() for part, path in version.files.items()}
                wanted = {f"{part}": content[part::3] for part in range(3)}
                referred |= {path.name for path in version.files.values()}
            else:
                got, wanted = version.path.read_bytes(), content
                if hashlib.sha256(content).hexdigest() != version.digest:
                    faults.append(f"{name} at {i} has a wrong digest")
            if got != wanted:
                faults.append(f"{name} at {i} is not what was logged")
    for thread, calls in enumerate(returned):
        names = sorted(
            int(name.partition("/")[2]) for name in found if name.startswith(f"{thread}/") and name[-1:].isdigit()
        )
        if not calls <= len(names) <= calls + 1 or names != [*range(len(names))]:
            faults.append(f"thread {thread}: {calls} calls returned, artifacts are {names}")
        files = [i for i in range(calls) if i % 5 != 4]
        if files:
            latest = book.artifact(f"{thread}/latest")
            if latest.step < files[-1] or latest.step not in names:
                faults.append(f"thread {thread}: latest is {latest.step}, logged was {files[-1]}")
            steps = [one.step for one in found[f"{thread}/versions"].versions]
            if steps[: len(files)] != files:
                faults.append(f"thread {thread}: versions are {steps}, logged were {files}")
    entries = book.records("artifact")
    posted = [one.payload["id"] for one in entries if one.payload["op"] in {"file", "dir", "link"}]
    came = [one.payload["id"] for one in entries if one.payload["op"] in {"stored", "linked"}]
    if sorted(posted) != sorted(came) or len(set(came)) != len(came):
        faults.append(f"{len(posted)} entries and {len(came)} outcomes, {len(set(came))} different")
    if (run_dir / ".steno" / "staging").exists():
        left = [str(path) for path in (run_dir / ".steno" / "staging").rglob("*")]
        faults.append(f"staging is left: {left[:5]}")
    there = {path.name for path in (run_dir / "artifacts").rglob("*") if path.is_file()}
    if there != referred:
        faults.append(f"{len(there - referred)} contents that nothing refers to, {len(referred - there)} missing")
    return faults


def one_round(seed: int, mode: str, base: Path) -> tuple[list[str], int, int]:
    """One siege; what is wrong, the number of calls that returned, and of kills beyond the first."""
    rng = random.Random(seed)
    (base / "marks").write_bytes(bytes(4096))
    marks = shared(base / "marks")
    os.chdir(base)
    more = 0
    child = fork(lambda: trainer(base, seed, 1.0 if mode == "collector" else 30.0), session=True)
    try:
        deadline = time.monotonic() + 60
        while not _word.unpack_from(marks, 8 * BEGUN)[0]:
            if time.monotonic() > deadline or os.waitpid(child, os.WNOHANG)[0]:
                return ["the trainer did not begin"], 0, 0
            time.sleep(0.002)
        if mode == "collector":
            while (status := ended(child, rng.uniform(0.05, 0.6))) is None:
                for pid in collectors(base):
                    kill(pid)
                    more += 1
            if status:
                return [f"the trainer ended with exit status {status}"], 0, 0
        else:
            time.sleep(rng.uniform(0.1, 1.2))
            kill(child, group=mode == "group")
            if mode == "group":
                for pid in collectors(base):
                    kill(pid)
            os.waitpid(child, 0)
    finally:
        kill(child, group=True)
    returned = [_word.unpack_from(marks, 8 * thread)[0] for thread in range(THREADS)]
    run_dir = base / "siege" / "run"
    end_collectors(base, at_once=mode == "collector")
    for _ in range(0 if mode == "trainer" else rng.randrange(4)):
        one = fork(lambda: collector(run_dir, False))
        if ended(one, rng.uniform(0.0, 0.6)) is None:
            kill(one)
            os.waitpid(one, 0)
            more += 1
    faults = concluded(base, lambda: collector(run_dir, False), lambda: check(run_dir, seed, returned), 120)
    return faults, sum(returned), more


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--mode", default="all", choices=(*MODES, "all"))
    options = parser.parse_args()
    prepare()
    faults: list[str] = []
    calls = more = 0
    begun = time.monotonic()
    for number in range(options.kills):
        seed = options.seed + number
        mode = MODES[number % len(MODES)] if options.mode == "all" else options.mode
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as base:
            found, some, extra = one_round(seed, mode, Path(base).resolve())
            os.chdir("/")
            with contextlib.suppress(OSError):
                for pid in collectors(Path(base)):
                    kill(pid)
        calls, more = calls + some, more + extra
        faults += [f"seed {seed}, {mode}: {fault}" for fault in found]
        for fault in found:
            print(f"FAULT seed {seed}, {mode}: {fault}", flush=True)
    seconds = time.monotonic() - begun
    print(
        f"{options.kills} kills from seed {options.seed} and {more} more of collectors, {calls:,} acknowledged calls, "
        f"{len(faults)} faults, {seconds:.0f} s"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
