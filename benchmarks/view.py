"""The viewer in a real Chromium: how long until a chart is painted, a zoom, a record on the screen; others beside it.

    python benchmarks/view.py [--runs 1000] [--points 1000000] [--long 10000000] [--soak SECONDS] [--only NAME]

Wall times are of the browser; CPU is the server's, from the request on. Each row says what its target is. The data are
recorded by steno, and runs that are alike are copies of one. TensorBoard gets event files with the same curves, Trackio
the same values; each is asked in turns with steno, where it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import _measure
import steno
from steno.journal.decode import KeySet, Slice
from steno.journal.place import LEDGER
from steno.ledger import schema
from steno.ledger.incoming import StreamInfo
from steno.ledger.post import Poster
from steno.ledger.seal import Sealer
from steno.record import node_name

PAINTED = """key => {
  const card = document.querySelector(`article[data-key="${key}"]`);
  return card !== null && !document.querySelector('article.loading') && card.querySelector('canvas') !== null;
}"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--listed", type=int, default=10_000, help="runs of the list")
    parser.add_argument(
        "--long", type=int, default=10_000_000, help="points of the run that is in no cache; 100,000,000 take minutes"
    )
    parser.add_argument(
        "--soak", type=float, default=0.0, help="seconds that a live page is watched for; 600 are the target's"
    )
    parser.add_argument("--only")
    given = parser.parse_args()
    print(_measure.machine())
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory(prefix="steno-view-") as folder, browser() as chromium:
        place = Path(folder)
        every = (
            ("many", many), ("zoom", zoom), ("keys", keys), ("live", live), ("listed", listed), ("long", long), ("soak", soak),
        )  # fmt: skip
        for name, measure in every:
            if given.only in {None, name}:
                rows += (found := measure(place / name, chromium, given))
                for row in found:  # a later one may fail
                    print(*row, sep=" · ", flush=True)
    _measure.table("The viewer", ["what", "wall", "server CPU", "target"], rows)


@contextlib.contextmanager
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield made
        made.close()


class Server:
    """A viewer, and what its process has used."""

    def __init__(self, place: Path) -> None:
        self.viewer = steno.view(place, browser=False)
        self.pid = self.viewer._process.pid

    def cpu(self) -> float:
        return cpu_of(self.pid)

    def read(self) -> int:
        """Bytes that came from a disk."""
        lines = Path(f"/proc/{self.pid}/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))

    def held(self) -> tuple[int, int]:
        """(threads, open files)."""
        return len(os.listdir(f"/proc/{self.pid}/task")), len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) >> 10


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(chromium, address: str, key: str, height: int = 900) -> tuple[float, object]:
    """(seconds from the call until the key's chart is painted, the page)."""
    page = chromium.new_context(viewport={"width": 1440, "height": height}).new_page()
    begun = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_function(PAINTED, arg=key, polling="raf")
    return time.perf_counter() - begun, page


def copies(place: Path, source: Path, count: int) -> None:
    """So many runs like one."""
    for number in range(count):
        target = place / "p" / f"r{number:05d}"
        shutil.copytree(source, target, copy_function=os.link, ignore=shutil.ignore_patterns(".steno*"))
        for path in target.iterdir():
            if path.is_file():  # hard links otherwise: what differs is written anew
                data = path.read_bytes()
                path.unlink()
                if path.name == "run.json":
                    data = json.dumps({**json.loads(data), "name": target.name, "id": target.name}).encode()
                path.write_bytes(data)


def recorded(place: Path, columns: dict[str, np.ndarray], **more) -> Path:
    run = steno.init(project="p", name="source", dir=place, **more)
    names = list(columns)
    for step, values in enumerate(zip(*columns.values(), strict=True)):
        run.log(dict(zip(names, map(float, values), strict=True)), step=step)
    assert run.finish(600)
    return put_away(Path(run.dir))


def posted(run_dir: Path, points: int, batch: int = 100_000) -> None:
    """A long run of one key, by what a collector does with it, without the journals: a million points a second."""
    node = run_dir / ".steno" / "nodes" / node_name(0)
    node.mkdir(parents=True)
    (run_dir / "run.json").write_text(json.dumps({"name": run_dir.name, "project": "p", "id": run_dir.name}))
    connection, lock = schema.begin(node / LEDGER, 0), threading.RLock()
    poster, sealer = Poster(connection, 0, lock), Sealer(run_dir, connection, lock, 0)
    stream = StreamInfo("bench-1-0", 0, 1, started=1_700_000_000_000_000_000)
    rng, last = np.random.default_rng(0), 0.0
    for at in range(0, points, batch):
        steps = np.arange(at, min(at + batch, points))
        count, mono = len(steps), 1 + steps * 1_000_000
        values = last + rng.normal(size=count).cumsum()
        last = values[-1]
        frames = Slice(
            start=4096 + at, end=4096 + at + count, lost_bytes=0, mono=mono, wall=mono + stream.started, seq=steps,
            step=steps, auto=np.zeros(count, bool), set=np.zeros(count, np.int32), sets=[KeySet(("loss",))], value=values,
        )  # fmt: skip
        poster.post([(stream, frames)])
        if (at // batch) % 15 == 14:
            sealer.seal()
    sealer.finish()
    schema.end(connection)
    subprocess.run([sys.executable, "-m", "steno.collector", str(run_dir), "--once"], check=True)
    assert not (run_dir / ".steno").exists()


def put_away(run_dir: Path) -> Path:
    """Wait until the collector of a run that ended has left: it puts the ledger away last."""
    while (run_dir / ".steno").exists():
        time.sleep(0.1)
    return run_dir


def many(place: Path, chromium, given) -> list[list[object]]:
    """Runs x 100 keys."""
    rng = np.random.default_rng(0)
    columns = {f"group{key // 10}/metric{key:03d}": rng.normal(size=200).cumsum() for key in range(100)}
    copies(place, recorded(place / "one", columns), given.runs)
    shutil.rmtree(place / "one")
    server = Server(place)
    try:
        begun = server.cpu()
        first = timed(chromium, server.viewer.url + "#runs=10", "group0/metric000")[0]
        used = server.cpu() - begun
        begun = server.cpu()
        again = min(timed(chromium, server.viewer.url + "#runs=10", "group0/metric000")[0] for _ in range(given.rounds))
        used_again = (server.cpu() - begun) / given.rounds
        begun = server.cpu()
        every, _ = timed(chromium, server.viewer.url + "#runs=all&filter=group0/metric000", "group0/metric000")
        used_every = server.cpu() - begun
        name = f"{given.runs} runs of 100 keys"
        rows = [
            [f"{name}: first chart, first time", f"{first:.2f} s", f"{used:.2f} s", "1 s, 0.5 s CPU"],
            [f"{name}: first chart, again", f"{again:.2f} s", f"{used_again:.2f} s", "1 s, 0.5 s CPU"],
            [f"one card, {given.runs} runs", f"{every:.2f} s", f"{used_every:.2f} s", "1 s"],
            [f"{name}: memory of the server", f"{server.memory()} MiB", "", "300 MiB for 10,000 runs"],
        ]
    finally:
        server.viewer.close()
    return rows + tensorboard(place, chromium, given, columns) + trackio(place, chromium, given, columns)


def tensorboard(place: Path, chromium, given, columns) -> list[list[object]]:
    """The same runs as event files."""
    from tensorboardX import SummaryWriter

    logs = place / "tb"
    writer = SummaryWriter(str(logs / "source"))
    for key, values in columns.items():
        for step, value in enumerate(values.tolist()):
            writer.add_scalar(key, value, step)
    writer.close()
    for number in range(given.runs):
        shutil.copytree(logs / "source", logs / f"r{number:05d}", copy_function=os.link)
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--port", "6123", "--load_fast=false"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
        while True:
            with contextlib.suppress(Exception):
                page.goto("http://127.0.0.1:6123/#timeseries", wait_until="commit")
                break
            time.sleep(0.1)
        try:
            page.wait_for_selector("line-chart svg path, line-chart canvas", timeout=180_000)
            took = f"{time.perf_counter() - begun:.2f} s"
        except Exception:
            took = "none in 180 s"
        return [["TensorBoard, the same runs, from its start: first chart", took, "", ""]]
    finally:
        process.terminate()
        process.wait()


def trackio(place: Path, chromium, given, columns) -> list[list[object]]:
    """The same values of a tenth of the runs in Trackio, and its dashboard's first chart."""
    name = f"Trackio, {given.runs // 10} of the runs: first chart"
    environment = {**os.environ, "TRACKIO_DIR": str(place / "trackio"), "HF_HUB_OFFLINE": "1"}
    fill = (
        "import json, sys, trackio\n"
        "columns = json.load(sys.stdin)\n"
        f"for number in range({given.runs // 10}):\n"
        "    run = trackio.init(project='p', name=f'r{number:05d}', embed=False)\n"
        "    for step, row in enumerate(zip(*columns.values())):\n"
        "        trackio.log(dict(zip(columns, row)), step=step)\n"
        "    trackio.finish()\n"
    )
    try:
        subprocess.run(
            [sys.executable, "-c", fill], input=json.dumps({key: one.tolist() for key, one in columns.items()}),
            text=True, env=environment, check=True, capture_output=True, timeout=1800,
        )  # fmt: skip
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        return [[name, f"not measured: {type(error).__name__}", "", ""]]
    show = "import trackio; trackio.show(project='p', open_browser=False, block_thread=True)"
    with (place / "trackio.txt").open("w+") as said:
        process = subprocess.Popen([sys.executable, "-u", "-c", show], env=environment, stdout=said, stderr=said)
        try:
            address = ""
            until = time.monotonic() + 60
            while not address and time.monotonic() < until and process.poll() is None:
                words = (place / "trackio.txt").read_text().split()
                address = next((word for word in words if word.startswith("http://")), "")
                time.sleep(0.1)
            if not address:
                return [[name, "no dashboard: " + (place / "trackio.txt").read_text()[-80:].strip(), "", ""]]
            used, begun = cpu_of(process.pid), time.perf_counter()
            page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.goto(address, wait_until="commit")
            try:
                page.wait_for_selector("svg.marks, .vega-embed canvas, svg path.line", timeout=180_000)
                took = f"{time.perf_counter() - begun:.2f} s"
            except Exception:
                took = "none in 180 s"
            return [[name, took, f"{cpu_of(process.pid) - used:.2f} s", ""]]
        finally:
            process.terminate()
            process.wait()


def zoom(place: Path, chromium, given) -> list[list[object]]:
    """12 cards x 20 runs."""
    rng = np.random.default_rng(0)
    columns = {f"m{key:02d}": rng.normal(size=given.points).cumsum() for key in range(12)}
    copies(place, recorded(place / "one", columns), 20)
    shutil.rmtree(place / "one")
    server = Server(place)
    try:
        took, page = timed(chromium, server.viewer.url + "#runs=all", "m00", 1500)
        cards = page.evaluate("document.querySelectorAll('article.card').length")
        name = f"{cards} cards x 20 runs of {given.points:,} points"
        rows: list[list[object]] = [[f"{name}: first chart", f"{took:.2f} s", "", ""]]
        for share, smooth, target in (
            (10, "", "150 ms"),
            (1000, "", "150 ms"),
            (10, f"&smooth=ema~{10_000}", "250 ms"),
        ):
            begun = server.cpu()
            zooms = []
            for number in range(given.rounds):
                low = given.points * (number + 1) // (given.rounds + 2)
                window = f"{low}~{low + given.points // share}"
                start = time.perf_counter()
                page.evaluate("hash => { location.hash = hash }", f"#runs=all{smooth}&zoom={window}")
                page.wait_for_timeout(20)
                page.wait_for_function("() => !document.querySelector('article.loading')", polling="raf")
                zooms.append(time.perf_counter() - start)
            used = (server.cpu() - begun) / len(zooms)
            what = f"zoom to 1/{share}" + (", smoothed over 10,000 steps" if smooth else "")
            rows.append([f"{name}: {what}", f"{min(zooms) * 1000:.0f} ms", f"{used:.2f} s", target])
        return rows
    finally:
        server.viewer.close()


def keys(place: Path, chromium, given) -> list[list[object]]:
    """10,000 keys: filter as typed, scrolling."""
    del given
    run = steno.init(project="p", name="wide", dir=place)
    for step in range(10):
        run.log({f"layer{key // 100:03d}/w{key:05d}": key * 0.5 + step for key in range(10_000)}, step=step)
    assert run.finish(120)
    server = Server(place)
    try:
        took, page = timed(chromium, server.viewer.url, "layer000/w00000")
        tasks = page.evaluate(
            """async () => {
              const long = [];
              new PerformanceObserver(list => long.push(...list.getEntries().map(one => one.duration)))
                .observe({type: "longtask"});
              const box = [...document.querySelectorAll("input")].find(one => /filter/.test(one.placeholder));
              const times = [];
              for (const text of ["w", "w0", "w09", "w099", "w0999", ""]) {
                const begun = performance.now();
                box.value = text;
                box.dispatchEvent(new Event("input", {bubbles: true}));
                await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
                times.push(performance.now() - begun);
              }
              const typed = long.length ? Math.max(...long) : 0;
              long.length = 0;
              const scroller = [...document.querySelectorAll("*")].filter(one => one.scrollHeight > one.clientHeight + 500)[0];
              for (let at = 0; at < 60 && scroller; at++) {
                scroller.scrollTop += 600;
                await new Promise(requestAnimationFrame);
              }
              return [Math.max(...times), typed, long.length ? Math.max(...long) : 0];
            }"""
        )
        return [
            ["10,000 keys: first chart", f"{took:.2f} s", "", ""],
            ["10,000 keys: filter as typed, the slowest of 6", f"{tasks[0]:.0f} ms", "", "50 ms"],
            ["10,000 keys: longest task, typing; scrolling", f"{tasks[1]:.0f}; {tasks[2]:.0f} ms", "", "50 ms"],
        ]
    finally:
        server.viewer.close()


@contextlib.contextmanager
def training(place: Path):
    """A run that logs 12 keys 100 times a second: (the run, by step the time at which its `log` returned)."""
    run = steno.init(project="p", name="live", dir=place)
    logged: dict[int, float] = {}
    over = threading.Event()

    def train() -> None:
        step = 0
        while not over.wait(0.01):
            run.log({f"k{key:02d}": math.sin(step / 50 + key) for key in range(12)}, step=step)
            logged[step] = time.time()
            step += 1

    thread = threading.Thread(target=train)
    thread.start()
    try:
        yield run, logged
    finally:
        over.set()
        thread.join()
        run.finish(600)
        put_away(Path(run.dir))


@contextlib.contextmanager
def viewing(place: Path):
    server = Server(place)
    try:
        yield server
    finally:
        server.viewer.close()


def live(place: Path, chromium, given) -> list[list[object]]:
    """From the return of `log` to the pixel: the newest step that a card says it has, looked at in each frame."""
    del given
    with training(place) as (run, logged), viewing(place) as server:
        _, page = timed(chromium, server.viewer.url, "k00")
        # What a chart draws comes in `api/chart`; the frame after the answer is the pixel's.
        page.evaluate(
            """() => {
              window.seen = [];
              const plain = window.fetch;
              window.fetch = async (...given) => {
                const answer = await plain(...given);
                if (String(given[0].url || given[0]).includes("api/chart")) {
                  const copy = await answer.clone().arrayBuffer();
                  const size = new DataView(copy).getUint32(0, true);
                  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(copy, 4, size)));
                  const one = head.cards[0].series?.[0];
                  const x = one && (one.columns.x || one.columns.last_x);
                  if (x && x.dtype === "<f8") {
                    const last = new Float64Array(copy, 4 + size + x.offset, x.length)[x.length - 1];
                    requestAnimationFrame(() => requestAnimationFrame(() => window.seen.push([last, Date.now()])));
                  }
                }
                return answer;
              };
            }"""
        )
        collector = collector_of(run.dir)
        used, begun = (server.cpu(), cpu_of(collector)), time.perf_counter()
        page.wait_for_timeout(20_000)
        took = time.perf_counter() - begun
        shares = [(now - before) / took for now, before in zip((server.cpu(), cpu_of(collector)), used, strict=True)]
        seen = page.evaluate("window.seen")
    # Each record waits until the first frame whose newest step is its own or later.
    waits, at = [], 0
    frames = sorted((step, when / 1000) for step, when in seen)
    for step, when in sorted(logged.items()):
        while at < len(frames) and frames[at][0] < step:
            at += 1
        if at < len(frames) and frames and step > frames[0][0]:
            waits.append(frames[at][1] - when)
    waits.sort()
    if not waits:
        return [["log returned to pixel", "nothing was seen", "", "0.6; 1.5 s"]]
    p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
    return [
        [
            "log returned to pixel, p50; p99, 100 records/s",
            f"{p50:.2f}; {p99:.2f} s",
            f"{shares[0]:.1%} of a core, collector {shares[1]:.1%}",
            "0.6; 1.5 s, 3 % with the collector",
        ]
    ]


def collector_of(run_dir: object) -> int:
    """The process that stores a run."""
    for one in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (one / "cmdline").read_bytes()
            if b"steno.collector" in words and str(run_dir).encode() in words:
                return int(one.name)
    raise LookupError("the run has no collector")


def listed(place: Path, chromium, given) -> list[list[object]]:
    """Many runs in the table."""
    copies(place, recorded(place / "one", {"loss": np.arange(20.0), "val/acc": np.arange(20.0)}), given.listed)
    shutil.rmtree(place / "one")
    server = Server(place)
    try:
        begun = server.cpu()
        took, page = timed(chromium, server.viewer.url + "#runs=10", "loss")
        rows: list[list[object]] = [
            [f"{given.listed:,} runs listed: first chart", f"{took:.2f} s", f"{server.cpu() - begun:.2f} s", ""]
        ]
        page.evaluate("location.hash = '#runs=10&sort=-loss.max'")
        page.wait_for_timeout(3000)
        return [*rows, [f"{given.listed:,} runs listed: memory of the server", f"{server.memory()} MiB", "", "300 MiB"]]
    finally:
        server.viewer.close()


def long(place: Path, chromium, given) -> list[list[object]]:
    """A long run of which nothing is in the system's cache."""
    posted(place / "p" / "long", given.long)
    server = Server(place)
    try:
        forgotten(place)
        read, begun = server.read(), server.cpu()
        took, _ = timed(chromium, server.viewer.url + "#runs=all", "loss")
        name = f"a run of {given.long:,} points, not in memory: first chart"
        took_read = (server.read() - read) / 1e6
        return [[name, f"{took:.2f} s, {took_read:.1f} MB read", f"{server.cpu() - begun:.2f} s", "100 M: 2 s, 30 MB"]]
    finally:
        server.viewer.close()


def forgotten(place: Path) -> None:
    """Let the system keep nothing of the files below a place."""
    for path in place.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def soak(place: Path, chromium, given) -> list[list[object]]:
    """A live page that is watched for long: what the server holds after a minute, and at the end."""
    if not given.soak:
        return []
    with training(place), viewing(place) as server:
        _, page = timed(chromium, server.viewer.url, "k00")
        page.wait_for_timeout(min(60_000, given.soak * 250))
        begun, used = time.perf_counter(), server.cpu()
        seen = [(0.0, server.memory())]
        held = server.held()
        while (at := time.perf_counter() - begun) < given.soak:
            page.wait_for_timeout(2000)
            seen.append((at / 60, server.memory()))
        share = (server.cpu() - used) / (time.perf_counter() - begun)
        slope = float(np.polyfit(*zip(*seen, strict=True), 1)[0])
        threads, files = (now - before for now, before in zip(server.held(), held, strict=True))
    said = f"{slope:+.2f} MiB/min, threads {threads:+}, files {files:+}"
    return [[f"a live page for {given.soak:.0f} s", said, f"{share:.1%} of a core", "1 MiB/min, +0, +0"]]


if __name__ == "__main__":
    main()
