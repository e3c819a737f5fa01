"""Fuzzes every file of a run: `python tests/fuzz/fuzz_run.py [--secs N] [--seed N]`; one seed is one changed run."""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import hostile_files
import run_uses

MAKE = """
import os, sys, numpy as np, steno
steno_settings = {"quiet": True}
for attempt in range(2):
    run = steno.init(project="p", name="r", dir="runs", resume="allow", config={"lr": 0.1, "deep": {"a": [1, "x"]}}, tags=["t"],
                     notes="n", destinations=["csv", "jsonl", "tensorboard", "text"], linger=0.5, system_metrics=0.2, settings=steno_settings)
    for step in range(60):
        run.log({"loss": 1 / (step + 1), "acc": step / 60, "n": step, "word": "w" if step % 2 else 2**70})
    run.log({"histogram": steno.Histogram(np.arange(100.0)), "image": steno.Image(np.zeros((8, 8, 3), np.uint8)),
             "sound": steno.Audio(np.zeros(800, np.float32), 8000), "table": steno.Table([[1, "a"], [2, "b"]], columns=["x", "y"]),
             "text": steno.Text("some text"), "film": steno.Video(np.zeros((3, 16, 16, 3), np.uint8), fps=4),
             "mesh": steno.Object3D(np.zeros((4, 3))), "page": steno.Html("<b>x</b>")})
    open("model.pt", "wb").write(b"weights" * 100)
    os.makedirs("d/e", exist_ok=True); open("d/e/f", "w").write("f")
    run.log_artifact("model.pt", overwrite=True); run.log_artifact("d", overwrite=True); run.link_artifact("model.pt", "latest", overwrite=True)
    run.event("checkpoint", step=3, path="x"); run.config["more"] = attempt; run.summary["best"] = 0.5
    if attempt == 0:
        assert run.finish(60)
    else:
        run.flush(20)
"""
LEAVE = """
import os, sys, numpy as np, steno
run = steno.init(project="p", name="r", dir="runs", resume="allow", settings={"collector": False, "quiet": True})
for step in range(200):
    run.log({"loss": float(step), "left": "text", "image": 3 if step % 50 else steno.Image(np.zeros((200, 200, 3), np.uint8))})
run.log_artifact("model.pt", overwrite=True)
os._exit(0)
"""


def make(place: Path) -> Path:
    """A run with everything in it: ended once, and gone on with twice, the last time posted by nobody."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "RANK", "WORLD"))}
    for code in (MAKE, LEAVE):
        subprocess.run([sys.executable, "-c", code], cwd=place, env=env, check=True, timeout=120)
    run_dir = place / "runs" / "p" / "r"
    from steno.capture.start.collector_process import is_running

    deadline = time.monotonic() + 60
    while is_running(run_dir) and time.monotonic() < deadline:
        time.sleep(0.1)
    import steno

    steno.open(run_dir).edit(tags=["more"])
    return run_dir


def tree(place: Path) -> dict[str, object]:
    """All that lies beside the runs."""
    found = {}
    for path in sorted(one for top in place.iterdir() if top.name != "runs" for one in (top, *top.rglob("*"))):
        facts = path.lstat()
        found[str(path)] = (
            path.read_bytes() if path.is_file() else None,
            facts.st_mtime_ns,
            facts.st_nlink,
            facts.st_mode,
        )
    return found


def one(seed: int, template: Path, place: Path, change=None) -> list[str]:
    """Change the run as the seed says and use it; a line and a traceback for each thing that must not be."""
    rng = random.Random(seed)
    case = place / str(seed)
    outside, run_dir, scratch = case / "outside", case / "outside" / "runs" / "p" / "r", case / "scratch"
    (outside / "thesis").mkdir(parents=True)
    (outside / "secret").write_text("PRIVATE KEY")
    (outside / "thesis" / "chapter.tex").write_text("years of work")
    found = []
    try:
        for use in run_uses.USES:
            shutil.rmtree(outside / "runs", ignore_errors=True)
            shutil.copytree(template, run_dir, symlinks=True)
            scratch.mkdir(exist_ok=True)
            rng = random.Random(seed)
            done = (
                [change(rng, run_dir, outside)]
                if change
                else [hostile_files.change(rng, run_dir, outside) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
            )
            before = tree(outside)
            what = run_uses.trouble(use, run_dir, scratch, outside)
            if tree(outside) != before:
                what += f"\n{use.__name__}: something outside of the run was changed"
            if b"PRIVATE KEY" in b"".join(
                path.read_bytes()
                for path in case.rglob("*")
                if path.is_file()
                and not path.is_symlink()
                and path.stat().st_size < 1 << 20
                and path != outside / "secret"
            ):
                what += f"\n{use.__name__}: a file outside of the run was copied"
            if what:
                found.append(f"seed {seed}: {', '.join(done)}\n{what}")
    finally:
        shutil.rmtree(case, ignore_errors=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--secs", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--also", default="", help="seeds that come first, whatever the time")
    given = parser.parse_args()
    failed = count = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = f"{folder}/state"
        template = make(Path(folder))
        first = [int(one) for one in given.also.split(",") if one]
        seeds = [given.seed] if given.seed is not None else itertools.chain(first, itertools.count(given.first))
        end = time.monotonic() + given.secs
        for seed in seeds:
            if time.monotonic() > end and count >= len(first):
                break
            for text in one(seed, template, Path(folder)):
                failed += 1
                print(text, flush=True)
            count += 1
    print(f"{count} changed runs, {failed} things that must not be")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
