"""Hosts that go and come: a torchrun job whose host is killed whole and replaced, a world that shrinks and grows.

    python benchmarks/fleet_faults.py [elastic] [rewound] [worlds]

Each prints what was found wrong, nothing at best, and ends with status 1 if anything was. `elastic` and `rewound` need
root, for network namespaces.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import _hosts
import _measure
import object_stores
import steno
from steno.ledger import node_object
from steno.objects.store import ObjectStore

WAIT_SECS = 600.0
STEPS = 300
CHECKPOINT = 50

ELASTIC = """
import os, sys, time, torch, torch.distributed as dist, steno
disk, store, steps, checkpoint, rewinds = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
dist.init_process_group("gloo")
rank, place = dist.get_rank(), f"{disk}/checkpoint"
first = torch.tensor([int(open(place).read()) if rank == 0 and os.path.exists(place) else 0])
dist.broadcast(first, 0)
first = int(first)
how = {"resume": "allow", "rewind": first} if first and rewinds else {}
run = steno.init("bench", dir=f"{disk}/runs", store=store, live_secs=1, **how)
for step in range(first, steps):
    loss = torch.tensor([step * 2.0 + rank])
    dist.all_reduce(loss)
    run.log({"loss": loss.item() + rank, "try": run.attempt}, step=step)
    if step == checkpoint and rank == 0:
        open(place, "w").write(str(checkpoint))
    time.sleep(0.1)
ended = run.finish(timeout=120)
dist.barrier()
dist.destroy_process_group()
print("finished", rank, ended, flush=True)
"""


def _truth(rank: int, steps: range) -> list[float]:
    return [step * 4.0 + 1 + rank for step in steps]


def elastic() -> list[str]:
    """A host of two is killed with all that it has, and another takes its place; each start is an attempt."""
    return _replaced(rewinds=False)


def rewound() -> list[str]:
    """The same, and the program goes on at its checkpoint with `rewind`: the series are those of one calm run."""
    return _replaced(rewinds=True)


def _replaced(*, rewinds: bool) -> list[str]:
    address = _hosts.network()
    wrong = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, object_stores.moto_server(address) as port:
        os.environ.update(object_stores.environment(f"http://{address}:{port}"))
        os.environ["STENO_CACHE_DIR"] = f"{place}/cache"
        object_stores.client(port, address).create_bucket(Bucket="fleet")
        (Path(place) / "train.py").write_text(ELASTIC)
        disk = Path(place) / "disk"
        disk.mkdir()
        first, second, third = (_hosts.Host(number, disk) for number in (2, 3, 4))
        store = "s3://fleet/runs"
        torch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2:2", "--nproc-per-node=1"]
        torch += ["--max-restarts=3", "--rdzv-id=job77", "--rdzv-backend=c10d", "--monitor-interval=1"]
        torch += [f"--rdzv-endpoint={first.address}:29400"]
        words = [f"{place}/train.py", str(disk), store, str(STEPS), str(CHECKPOINT), str(int(rewinds))]

        def begin(host: _hosts.Host) -> subprocess.Popen[str]:
            # torch 2.13 has a new host wait for an address that the first one says only once.
            own = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
            return host.start(*torch, f"--local-addr={host.address}", *words, **own)

        stays, goes = begin(first), begin(second)
        (path,) = object_stores.eventually(lambda: _runs(store), secs=WAIT_SECS, poll=0.5)
        url = f"{store}/{path}"
        with steno.open(url) as reader:
            object_stores.eventually(
                lambda: len(reader.series("loss", rank=1)) > 2 * CHECKPOINT, secs=WAIT_SECS, poll=0.5
            )
            before = {rank: reader.series("loss", rank=rank) for rank in range(2)}
        # As by a loss of power: whoever hears that a connection has ended would meet the dead one again.
        second.unplug()
        goes.kill()
        goes.wait()
        began = time.monotonic()
        comes = begin(third)
        told = [one.communicate(timeout=WAIT_SECS)[0] for one in (stays, comes)]
        said = sum(text.count("True") for text in told)
        with steno.open(url) as reader:
            object_stores.eventually(lambda: reader.info.state != "running", secs=90, poll=0.5)
            found = _judged(reader, before, rewinds=rewinds)
            if said != 2:
                found.append(f"finish said True {said} times of 2: {told}")
            if _runs(store) != [path]:
                found.append(f"runs {_runs(store)}")
            wrong += found
            _measure.table(
                f"torchrun, a host of two killed and replaced{', rewound' if rewinds else ''}; "
                f"{time.monotonic() - began:.0f} s after the kill",
                ["runs", "state", "ranks", "attempts (rewind)", "points", "wrong"],
                [[len(_runs(store)), reader.info.state, str(reader.info.ranks), _attempts(reader), reader.info.points,
                  len(found)]],
            )  # fmt: skip
    return wrong


def _attempts(reader: steno.RunReader) -> str:
    return ", ".join(f"{one.attempt} ({one.rewind})" for one in reader.info.attempts)


def _judged(reader: steno.RunReader, before: dict[int, steno.Series], *, rewinds: bool) -> list[str]:
    """What is not as it was logged."""
    found = []
    if (reader.info.state, reader.info.ranks) != ("finished", (0, 1)):
        found.append(f"state {reader.info.state}, ranks {reader.info.ranks}")
    latest = max(one.attempt for one in reader.info.attempts)
    if latest != 2:
        found.append(f"{latest} attempts where the job was started twice")
    for rank in range(2):
        every = {number: reader.series("loss", rank=rank, attempt=number) for number in range(1, latest + 1)}
        if rewinds:
            whole = reader.series("loss", rank=rank)
            if whole.step.tolist() != list(range(STEPS)) or whole.value.tolist() != _truth(rank, range(STEPS)):
                found.append(f"rank {rank} has {len(whole)} points, and not those of a calm run")
        else:
            one = every[1]
            if one.value.tolist() != _truth(rank, range(len(one))) or len(one) < len(before[rank]):
                found.append(f"rank {rank}, attempt 1: {len(one)} points, {len(before[rank])} before the kill")
        two = every.get(2)
        if two is None or two.value.tolist() != _truth(rank, range(CHECKPOINT, STEPS)):
            found.append(f"rank {rank}, attempt 2: {0 if two is None else len(two)} of {STEPS - CHECKPOINT} points")
    return found


def _runs(store: str) -> list[str]:
    keys = ObjectStore(store).listing()
    return sorted(key.removesuffix("/run.json") for key in keys if key.endswith("/run.json"))


LIGHT = """
import os, sys, time, steno
disk, store, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
run = steno.init("bench", dir=disk, store=store, live_secs=1)
for step in range(count):
    run.log({"a": step + run.rank / 128 + 1000 * int(os.environ["WORLD_SIZE"])}, step=step)
run.flush(300)
print("logged", run.attempt, flush=True)
if sys.stdin.readline() == "end\\n":
    print("finished", run.finish(timeout=300), flush=True)
"""
RANKS = 8
"""Of a host."""
POINTS = 100


def worlds() -> list[str]:
    """64 processes on eight hosts without a common disk, 48 on six of them, 64 with two new hosts; a store between."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, object_stores.moto_server() as port:
        os.environ.update(object_stores.environment(f"http://127.0.0.1:{port}"))
        os.environ["STENO_CACHE_DIR"] = f"{place}/cache"
        object_stores.client(port).create_bucket(Bucket="fleet")
        store = "s3://fleet/runs"
        began = time.monotonic()
        waves = [list(range(8)), list(range(6)), [*range(6), 8, 9]]
        for restart, disks in enumerate(waves):
            ranks = _wave(Path(place), store, disks, restart)
            (path,) = object_stores.eventually(lambda: _runs(store), secs=WAIT_SECS, poll=0.5)
            with steno.open(f"{store}/{path}") as reader:
                is_there = _arrived(reader, len(ranks), POINTS * sum(len(one) * RANKS for one in waves[: restart + 1]))
                object_stores.eventually(is_there, secs=WAIT_SECS, poll=1.0)
            if restart == len(waves) - 1:
                for one in ranks:
                    assert one.stdin is not None
                    one.stdin.write("end\n")
                    one.stdin.flush()
                told = [one.communicate(timeout=WAIT_SECS)[0] for one in ranks]
                if sum("finished True" in text for text in told) != len(ranks):
                    wrong.append(f"finish said {told}")
                continue
            # As an agent does with its workers; of hosts that leave everything goes.
            gone = [f"{place}/disk{number}" for number in set(disks) - set(waves[restart + 1])]
            for pid in [one.pid for one in ranks] + [pid for one in gone for pid in _hosts.processes_of(Path(one))]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for one in ranks:
                one.communicate()
        if _runs(store) != [path]:
            wrong.append(f"runs {_runs(store)}")
        with steno.open(f"{store}/{path}") as reader:
            object_stores.eventually(lambda: reader.info.state != "running", secs=120, poll=0.5)
            info = reader.info
            if (info.state, info.world_size, info.ranks) != ("finished", 64, tuple(range(64))):
                wrong.append(f"state {info.state}, world {info.world_size}, {len(info.ranks)} ranks")
            points = 0
            for attempt, disks in enumerate(waves, 1):
                world = len(disks) * RANKS
                for rank in range(world):
                    one = reader.series("a", rank=rank, attempt=attempt)
                    points += len(one)
                    if one.value.tolist() != [step + rank / 128 + 1000 * world for step in range(POINTS)]:
                        wrong.append(f"attempt {attempt}, rank {rank}: {len(one)} points")
            if reader.info.points != points:
                wrong.append(f"{reader.info.points} points, and {points} in the attempts that there were")
        there = ObjectStore(f"{store}/{path}")
        nodes = [node_object.parsed(there.read(key)) for key in there.listing("nodes") if node_object.is_name(key)]
        _measure.table(
            f"64 → 48 → 64 processes; {time.monotonic() - began:.0f} s",
            ["runs", "nodes", "state", "points", "wrong"],
            [[len(_runs(store)), len(nodes), info.state, points, len(wrong)]],
        )
    return wrong


def _arrived(reader: steno.RunReader, ranks: int, points: int) -> Callable[[], bool]:
    return lambda: len(reader.info.ranks) >= ranks and reader.info.points >= points


def _wave(place: Path, store: str, disks: list[int], restart: int) -> list[subprocess.Popen[str]]:
    """The processes of a start of the job, once all have logged what they have."""
    world, started = RANKS * len(disks), []
    for group, number in enumerate(disks):
        for local in range(RANKS):
            torch = {
                "RANK": group * RANKS + local, "WORLD_SIZE": world, "GROUP_RANK": group, "LOCAL_RANK": local,
                "LOCAL_WORLD_SIZE": RANKS, "MASTER_PORT": 1, "TORCHELASTIC_RESTART_COUNT": restart if number < 6 else 0,
            }  # fmt: skip
            env = {**os.environ, **{name: str(value) for name, value in torch.items()}, "STENO_COLOR": "0"}
            env |= {"TORCHELASTIC_RUN_ID": "job77", "MASTER_ADDR": f"host{restart}"}
            words = [sys.executable, "-c", LIGHT, f"{place}/disk{number}", store, str(POINTS)]
            started.append(subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline().startswith("logged")
    return started


ALL = {one.__name__: one for one in (elastic, rewound, worlds)}
INSIDE = {"elastic", "rewound"}


def main() -> int:
    asked = sys.argv[1:] or list(ALL)
    if len(asked) == 1:
        if asked[0] in INSIDE:
            _hosts.again_inside()
        print(_measure.machine(), flush=True)
        wrong = ALL[asked[0]]()
        print("\n".join(wrong), flush=True)
        return bool(wrong)
    # In processes of their own, which have the namespaces.
    return max([subprocess.run([sys.executable, __file__, word], check=False).returncode for word in asked])


if __name__ == "__main__":
    sys.exit(main())
