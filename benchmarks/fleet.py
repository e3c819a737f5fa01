"""One run from many hosts: how late a reader elsewhere sees it, what a kill costs, how many helpers and requests.

    python benchmarks/fleet.py [hosts] [killed] [joining] [requests] [addresses]

`hosts` needs root, for network namespaces; `addresses` needs strace.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import _hosts
import _measure
import object_stores
import steno
from steno.objects.store import ObjectStore

LIVE_SECS = 5.0
WAIT_SECS = 900.0

TRAIN = """
import os, sys, time, torch, torch.distributed as dist, steno
run = steno.init("bench", dir=sys.argv[1], store=sys.argv[2])
dist.init_process_group("gloo")
for step in range(int(sys.argv[3])):
    loss = torch.tensor([float(run.rank)])
    dist.all_reduce(loss)
    run.log({"loss": loss.item(), "at": time.time()}, step=step)
    time.sleep(0.2)
ended = run.finish(timeout=120)
dist.destroy_process_group()
print("finished", run.rank, ended, flush=True)
"""
READ = """
import sys, time, steno
url, world, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
late, seen = [], [0] * world
deadline = time.monotonic() + 600
runs = []
while not runs:
    assert time.monotonic() < deadline, "no run"
    try:
        runs = list(steno.runs(url))
    except steno.StenoError:
        pass
    time.sleep(0.2)
reader = steno.open(f"{url}/bench/{runs[0].name}")
while min(seen) < steps and time.monotonic() < deadline:
    for rank in range(world):
        values = reader.series("at", rank=rank).value
        now = time.time()
        late += [now - at for at in values[seen[rank]:]]
        seen[rank] = len(values)
    time.sleep(0.1)
while reader.info.state == "running" and time.monotonic() < deadline:
    time.sleep(0.2)
late.sort()
info = reader.info
print(len(runs), info.ranks == tuple(range(world)), info.state, len(late), late[len(late) // 2], late[int(len(late) * 0.95)], late[-1])
"""


def hosts(steps: int = 150) -> None:
    """Two hosts that share no disk, one torchrun job, a reader on a third."""
    address = _hosts.network()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, object_stores.moto_server(address) as port:
        os.environ.update(object_stores.environment(f"http://{address}:{port}"))
        object_stores.client(port, address).create_bucket(Bucket="fleet")
        files = Path(place)
        (files / "train.py").write_text(TRAIN)
        (files / "read.py").write_text(READ)
        disk = files / "disk"
        disk.mkdir()
        first, second, third = (_hosts.Host(number, disk) for number in (2, 3, 4))
        store = "s3://fleet/runs"
        reading = third.start(sys.executable, f"{place}/read.py", store, "4", str(steps))
        torch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=2", "--rdzv-id=job77"]
        torch += ["--rdzv-backend=c10d", f"--rdzv-endpoint={first.address}:29400"]
        training = [
            one.start(*torch, f"--local-addr={one.address}", f"{place}/train.py", str(disk), store, str(steps))
            for one in (first, second)
        ]
        told = [one.communicate(timeout=WAIT_SECS)[0] for one in training]
        said = reading.communicate(timeout=WAIT_SECS)[0].split()
        runs, ranks, state, points, half, most, last = said
        ended = sum(text.count("True") for text in told)
    _measure.table(
        f"2 hosts, 2 ranks each, reader on a third; live_secs {LIVE_SECS:.0f}",
        ["runs", "all ranks", "state", "finish said True", "points seen", "log → readable median s", "p95 s", "max s"],
        [[runs, ranks, state, f"{ended} of 4", points, float(half), float(most), float(last)]],
    )


NODE = """
import os, signal, sys, time, steno
run = steno.init("bench", dir=sys.argv[1], store=sys.argv[2], live_secs=2)
print("begun", flush=True)
step = 0
while not os.path.exists(sys.argv[3]):
    run.log({"a": float(step), "b": float(step)}, step=step)
    step += 1
    time.sleep(0.05)
print("logged", step, flush=True)
print("finished", run.finish(timeout=600), flush=True)
"""


class Node:
    """A process with a directory of its own, as a host without a common disk has."""

    def __init__(self, place: Path, rank: int, world: int) -> None:
        self.rank, self.disk, self.is_killed = rank, place / f"disk{rank}", False
        torch = {"RANK": rank, "WORLD_SIZE": world, "GROUP_RANK": rank, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
        env = {name: str(value) for name, value in torch.items()} | {"TORCHELASTIC_RUN_ID": "job77", "STENO_COLOR": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", NODE, str(self.disk), f"file://{place}/store", str(place / "stop")],
            env={**os.environ, **env, "MASTER_ADDR": "x", "MASTER_PORT": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> list[str]:
        """What it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def kill(self) -> None:
        """As its power is cut: the program, its collector and what uploads."""
        self.is_killed = True
        for pid in [self.process.pid, *_hosts.processes_of(self.disk)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def killed(world: int = 64) -> None:
    """A tenth of the nodes vanish: what a reader could GET of them before is there, once."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        place = Path(name)
        os.environ["STENO_CACHE_DIR"] = f"{name}/cache"
        began = time.monotonic()
        nodes = [Node(place, rank, world) for rank in range(world)]
        assert all(node.line() == ["begun"] for node in nodes)
        store = ObjectStore(f"file://{name}/store")
        object_stores.eventually(lambda: any(key.endswith("/run.json") for key in store.listing()), secs=WAIT_SECS)
        (run,) = (key.removesuffix("/run.json") for key in store.listing() if key.endswith("/run.json"))
        url = f"file://{name}/store/{run}"
        with steno.open(url) as reader:
            object_stores.eventually(lambda: len(reader.info.ranks) == world, secs=WAIT_SECS, poll=0.5)
            time.sleep(5)
        lost = nodes[:: min(10, world)][: max(world // 10, 1)]
        with steno.open(url) as reader:
            before = {node.rank: reader.series("a", rank=node.rank).value.tolist() for node in lost}
        for node in lost:
            node.kill()
        (place / "stop").touch()
        logged = {}
        for node in nodes:
            if not node.is_killed:
                logged[node.rank] = int(node.line()[1])
                assert node.line() == ["finished", "True"]
            node.process.wait()
        with steno.open(url) as reader:
            found = {node.rank: reader.series("a", rank=node.rank).value.tolist() for node in nodes}
            doubled = sum(
                reader.sql("select count(*) - count(distinct (node, record, key)) from metrics").fetchall()[0]
            )
            state, silent = reader.info.state, len(reader.info.silent)
        missing = sum(len(set(before[rank]) - set(found[rank])) for rank in before)
        missing += sum(len(set(map(float, range(count))) - set(found[rank])) for rank, count in logged.items())
        twice = doubled + sum(len(one) - len(set(one)) for one in found.values())
        runs = sum(key.endswith("/run.json") for key in store.listing())
        secs = time.monotonic() - began
    _measure.table(
        f"{world} processes with a disk each, {len(lost)} killed; {secs:.0f} s",
        ["runs", "points of the killed that a reader had", "points of the others", "lost", "twice", "state", "silent"],
        [[runs, sum(map(len, before.values())), sum(logged.values()), missing, twice, state, silent]],
    )


JOIN = """
import os, sys, time, steno
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
run = steno.init("bench", dir=sys.argv[1], **eval(sys.argv[4]))
run.log({"a": 1.0}, step=0)
print("begun", flush=True)
while not os.path.exists(sys.argv[3]):
    run.log({"a": 1.0})
    time.sleep(0.2)
os._exit(0)
"""
COUNT = """
import os, sys
if "steno.collector" in sys.orig_argv:
    with open(os.environ["STENO_BENCH_COUNT"], "a") as file:
        file.write(f"{os.getpid()}\\n")
"""


@contextlib.contextmanager
def _at_once(count: int, arguments: str, *, one_job: bool) -> Iterator[tuple[Path, list[int]]]:
    """So many programs that call `init` at the same moment; (their directory, the collectors that were started)."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        place = Path(name)
        (place / "sitecustomize.py").write_text(COUNT)
        programs = []
        for rank in range(count):
            env = {**os.environ, "PYTHONPATH": f"{name}:{os.environ.get('PYTHONPATH', '')}"}
            env |= {"STENO_BENCH_COUNT": f"{name}/started"}
            if one_job:
                torch = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
                env |= {key: str(value) for key, value in torch.items()}
                env |= {"TORCHELASTIC_RUN_ID": "job9", "MASTER_ADDR": "x", "MASTER_PORT": "1"}
            words = [sys.executable, "-c", JOIN, f"{name}/runs", f"{name}/go", f"{name}/stop", arguments]
            programs.append(subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True))
        time.sleep(3)
        (place / "go").touch()
        for one in programs:
            assert one.stdout is not None
            assert one.stdout.readline() == "begun\n"
        time.sleep(10)
        yield place, [int(line) for line in (place / "started").read_text().split()]
        (place / "stop").touch()
        for one in programs:
            one.communicate()
        object_stores.eventually(lambda: not _hosts.processes_of(place), secs=WAIT_SECS, poll=0.2)


def joining(count: int = 64) -> None:
    """Ranks that join at once have one collector; runs that begin at once one each, which is small."""
    with _at_once(count, "{}", one_job=True) as (place, started):
        there = [pid for pid in _hosts.processes_of(place) if pid in started]
        ranks = [len(started), len(there)]
    with _at_once(count, "{}", one_job=False) as (place, started):
        sizes = sorted(_measure.private_mib(pid) for pid in _hosts.processes_of(place) if pid in started)
    _measure.table(
        f"{count} processes that call init at once",
        [
            "ranks of one run: collectors started",
            "at work",
            "runs of their own: collectors",
            "private MiB median",
            "max",
        ],
        [[*ranks, len(sizes), sizes[len(sizes) // 2], sizes[-1]]],
    )


RECORDING = """
import os, sys, time, steno
run = steno.init("bench", dir=sys.argv[1], store=sys.argv[2], live_secs=float(sys.argv[3]))
run.log({"a": 0.0}, step=0)
run.flush(60)
step = 0
while not os.path.exists(sys.argv[4]):
    step += 1
    if sys.argv[5] == "recording":
        run.log({"a": float(step)}, step=step)
    time.sleep(0.1)
run.finish(timeout=120)
"""


def requests(secs: float = 360.0) -> None:
    """What a node asks of a store, counted there while four of them record at once, in the words of docs/fleet.md."""
    nodes = (("recording", 5.0), ("recording", 40.0), ("recording", 0.0), ("nothing recorded", 5.0))
    with object_stores.moto_server() as port, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        gate = object_stores.Gate(port)
        os.environ.update(object_stores.environment(gate.url))
        programs = []
        for number, (what, live) in enumerate(nodes):
            object_stores.client(port).create_bucket(Bucket=f"fleet-{number}")
            words = [f"{name}/{number}", f"s3://fleet-{number}/runs", str(live), f"{name}/stop", what]
            programs.append(subprocess.Popen([sys.executable, "-c", RECORDING, *words]))
        for number in range(len(nodes)):
            object_stores.eventually(lambda of=f"fleet-{number}": gate.sent(of=of), secs=WAIT_SECS)
        time.sleep(60)  # beyond what the beginning takes, and the first card
        before, began = len(gate.seen), time.monotonic()
        time.sleep(secs)
        seen, hours = gate.seen[before:], (time.monotonic() - began) / 3600
        (Path(name) / "stop").touch()
        for one in programs:
            one.wait()
        gate.close()
    rows = []
    for number, (what, live) in enumerate(nodes):
        mine = [(method, path) for method, path, _ in seen if path.startswith(f"/fleet-{number}")]
        written = [path for method, path in mine if method in {"PUT", "POST"}]
        cards = sum("/_cards/" in path for path in written)
        rows.append([what, live, (len(written) - cards) / hours, cards / hours, (len(mine) - len(written)) / hours])
    _measure.table(
        f"requests of one node, from {secs:.0f} s",
        ["what", "live_secs", "that write, an hour", "cards, an hour", "others, an hour"],
        rows,
    )


TRACED = """
import sys, time, steno
run = steno.init("bench", dir=sys.argv[1], **eval(sys.argv[2]))
for step in range(3000):
    run.log({"a": float(step)}, step=step)
    time.sleep(0.0005)
run.flush(30)
print(run.finish(timeout=60))
"""
_CALL = re.compile(r"^(?:\d+ +)?(connect|bind|sendto|sendmsg)\((.*)$")
_ADDRESS = re.compile(r"\{sa_family=[^}]*\}")


def addresses() -> None:
    """To whom the training process speaks: the same as with `mode="off"`, and the collector's bell."""
    found = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, object_stores.moto_server() as port:
        os.environ.update(object_stores.environment(f"http://127.0.0.1:{port}"))
        object_stores.client(port).create_bucket(Bucket="fleet")
        for what, given in (("off", {"mode": "off"}), ("store", {"store": "s3://fleet/runs", "destinations": ["csv"]})):
            out = f"{name}/trace-{what}"
            # Its threads are followed, and let go where one becomes another program.
            trace = ["strace", "-f", "-b", "execve", "-e", "trace=connect,bind,sendto,sendmsg", "-o", out]
            subprocess.run([*trace, sys.executable, "-c", TRACED, f"{name}/{what}", json.dumps(given)], check=True)
            calls = [match for line in Path(out).read_text().splitlines() if (match := _CALL.match(line))]
            found[what] = sorted({f"{one[1]} {(_ADDRESS.findall(one[2]) or ['(connected)'])[0]}" for one in calls})
    more = [one for one in found["store"] if one not in found["off"]]
    bell = [one for one in more if 'sun_path=@"steno' in one]
    _measure.table(
        "addresses of connect, bind, sendto and sendmsg in the training process",
        ['with mode="off"', "more with a store and a destination", "of these the bell", "others"],
        [[len(found["off"]), len(more), len(bell), ", ".join(one for one in more if one not in bell) or "none"]],
    )


ALL = {one.__name__: one for one in (hosts, killed, joining, requests, addresses)}

if __name__ == "__main__":
    asked = sys.argv[1:] or list(ALL)
    if asked == ["hosts"]:
        _hosts.again_inside()
    print(_measure.machine())
    for word in asked:
        if word == "hosts" and len(asked) > 1:  # in a process of its own, which has the namespaces
            subprocess.run([sys.executable, __file__, word], check=False)
        else:
            ALL[word]()
