"""One run from hosts that share a store and no disk."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import subprocess
import sys
import time

import pytest

import object_stores
import s3_policies
import steno
from nodes import node_dir, node_of
from object_stores import eventually
from steno import files
from steno.cli import about
from steno.collector.uploads import uploader
from steno.ledger import node_object
from steno.objects.store import ObjectStore

pytestmark = pytest.mark.timeout(180)

PROGRAM = """
import os, sys, steno
sys.stdout.reconfigure(line_buffering=True)
run = steno.init(project="p", dir=sys.argv[1], store=sys.argv[2], **eval(sys.argv[3]))
print("begun", run.id, run.name)
for step in range(20):
    run.log({"loss": step + run.rank / 8}, step=step)
run.flush(30)
for line in sys.stdin:
    if line == "end\\n":
        print("finished", run.finish(timeout=60))
        break
    run.log({"late": float(line)}, step=int(line))
    run.flush(30)
"""


class Host:
    """A program with a disk of its own."""

    def __init__(self, disk, store, environ, arguments="{}"):
        self.disk = disk
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(disk), store, arguments],
            env={**os.environ, "STENO_CACHE_DIR": f"{disk}-cache", **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begun(self):
        word, self.id, self.name = self.process.stdout.readline().split()
        assert word == "begun"
        return self

    def end(self):
        self.process.stdin.write("end\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "finished True\n"
        assert self.process.wait(60) == 0
        self.close()

    def close(self):
        self.process.kill()
        self.process.wait(30)
        self.process.stdin.close()
        self.process.stdout.close()

    def vanish(self):
        """As a machine whose power is cut: the program, its collector and the uploader."""
        run_dir = self.disk / "p" / self.name
        status = json.loads((node_dir(run_dir) / "status.json").read_bytes())
        object_stores.kill([status["pid"]])
        object_stores.kill([self.process.pid, *object_stores.uploader_pids(run_dir)])
        self.close()


def torchrun(rank, world, id="job77", restart=0, master="node0", **more):
    """What torchrun gives a process, one of each host's."""
    names = {"RANK": rank, "WORLD_SIZE": world, "GROUP_RANK": rank, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    torch = {"TORCHELASTIC_RUN_ID": id, "TORCHELASTIC_RESTART_COUNT": restart, "MASTER_ADDR": master}
    return {name: str(value) for name, value in {**names, **torch, "MASTER_PORT": 29500, **more}.items()}


@pytest.fixture(scope="module")
def server():
    with object_stores.moto_server() as port:
        yield port


@pytest.fixture(params=["file", "s3"])
def store(request, server, monkeypatch, tmp_path):
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    if request.param == "file":
        return f"file://{tmp_path}/store"
    for name, value in object_stores.environment(f"http://127.0.0.1:{server}").items():
        monkeypatch.setenv(name, value)
    bucket = f"b-{os.urandom(8).hex()}"
    object_stores.client(server).create_bucket(Bucket=bucket)
    return f"s3://{bucket}/x"


@pytest.fixture
def file_store(monkeypatch, tmp_path):
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    return f"file://{tmp_path}/store"


def runs_in(store):
    return sorted(key.removesuffix("/run.json") for key in ObjectStore(store).listing() if key.endswith("/run.json"))


def objects_of_nodes(store, path):
    there = ObjectStore(f"{store}/{path}")

    def read(key):
        # moto has no object for a moment while it is replaced; S3 has the old one or the new.
        with contextlib.suppress(FileNotFoundError):
            return there.read(key)

    return [node_object.parsed(eventually(lambda key=key: read(key))) for key in there.listing("nodes")]


def state(url):
    return steno.open(url).info.state


def test_ranks_on_hosts_without_a_common_disk_are_one_run(store, tmp_path):
    hosts = [Host(tmp_path / f"disk{rank}", store, torchrun(rank, 2, master=f"node{rank}")) for rank in range(2)]
    for host in hosts:
        host.begun()
    assert hosts[0].id == hosts[1].id
    (name,) = {host.name for host in hosts}
    url = f"{store}/p/{name}"
    eventually(lambda: len(objects_of_nodes(store, f"p/{name}")) == 2)
    hosts[0].end()
    assert state(url) == "running"
    hosts[1].end()
    assert runs_in(store) == [f"p/{name}"]
    with steno.open(url) as reader:
        eventually(lambda: reader.info.state == "finished")
        assert (reader.info.ranks, reader.info.world_size) == ((0, 1), 2)
        for rank in range(2):
            assert reader.series("loss", rank=rank).value.tolist() == [step + rank / 8 for step in range(20)]
        assert reader.sql("select distinct run from metrics").fetchall() == [(f"p/{name}",)]
    # All of them say so to who has no steno.
    manifest = json.loads(_read(store, f"p/{name}/manifest.json"))
    assert (manifest["state"], len({row["node"] for row in manifest["parts"]})) == ("finished", 2)


def _read(store, key):
    return ObjectStore(store).read(key)


def test_a_rendezvous_id_that_comes_back_is_another_run(store, tmp_path):
    names = []
    for turn in range(2):
        hosts = [Host(tmp_path / f"disk{turn}{rank}", store, torchrun(rank, 2)).begun() for rank in range(2)]
        for host in hosts:
            host.end()
        names.append(hosts[0].name)
    assert names[0] == names[1]  # each began on a disk of its own
    assert runs_in(store) == [f"p/{names[0]}", f"p/{names[0]}-2"]
    first, second = (json.loads(_read(store, f"{path}/run.json")) for path in runs_in(store))
    assert first["id"] != second["id"]
    assert second["name"] == f"{names[0]}-2"
    for path in runs_in(store):
        with steno.open(f"{store}/{path}") as reader:
            assert (reader.info.state, reader.info.ranks, len(reader.series("loss"))) == ("finished", (0, 1), 40)
            # What a part says of itself is the run that it lies in, wherever it began.
            (part, *_) = reader.dir.glob("metrics/*.parquet")
            import pyarrow.parquet as pq

            ids = set(pq.ParquetFile(part).read(["run"])["run"].to_pylist())
            assert ids == {json.loads(_read(store, f"{path}/run.json"))["id"]}


def test_an_elastic_host_that_is_replaced_is_of_the_same_run(file_store, tmp_path):
    hosts = [Host(tmp_path / f"disk{rank}", file_store, torchrun(rank, 2)).begun() for rank in range(2)]
    eventually(lambda: len(objects_of_nodes(file_store, f"p/{hosts[0].name}")) == 2)
    eventually(lambda: all(one["streams"] for one in objects_of_nodes(file_store, f"p/{hosts[0].name}")))
    hosts[1].vanish()
    hosts[0].end()
    # The agent of the first host counts a restart, the new one's none, and the rendezvous has moved.
    again = Host(tmp_path / "disk0", file_store, torchrun(0, 2, restart=1, master="node9")).begun()
    new = Host(tmp_path / "disk9", file_store, torchrun(1, 2, master="node9")).begun()
    url = f"{file_store}/p/{hosts[0].name}"
    eventually(lambda: len(objects_of_nodes(file_store, f"p/{hosts[0].name}")) == 3)
    again.end()
    new.end()
    assert runs_in(file_store) == [f"p/{hosts[0].name}"]
    assert state(url) == "finished"  # who was replaced is not waited for
    shared = sorted(str(one["shared"]) for one in objects_of_nodes(file_store, f"p/{hosts[0].name}"))
    assert shared == ["{'1': 1, '2': 2}", "{'1': 1}", "{'2': 2}"]
    with steno.open(url) as reader:
        assert reader.info.ranks == (0, 1)
        for rank in range(2):
            assert len(reader.series("loss", rank=rank, attempt=2)) == 20
        assert len(reader.series("loss", rank=0, attempt="all")) == 40
        assert len(reader.series("loss", rank=1, attempt="all")) >= 20


def test_a_world_that_shrinks_and_grows_has_an_attempt_for_each_size(file_store, tmp_path):
    """Three hosts, two of them, three."""
    disks = [tmp_path / f"disk{rank}" for rank in range(3)]
    for restart, world in enumerate([3, 2, 3]):
        hosts = [Host(disks[rank], file_store, torchrun(rank, world, restart=restart)) for rank in range(world)]
        for host in hosts:
            host.begun()
        for host in hosts:
            host.end()
    (path,) = runs_in(file_store)
    shared = sorted(str(one["shared"]) for one in objects_of_nodes(file_store, path))
    assert shared == ["{'1': 1, '2': 2, '3': 3}", "{'1': 1, '2': 2, '3': 3}", "{'1': 1, '3': 3}"]
    eventually(lambda: state(f"{file_store}/{path}") == "finished")
    with steno.open(f"{file_store}/{path}") as reader:
        assert reader.info.world_size == 3
        ranks = {
            one: {rank for rank in range(3) if len(reader.series("loss", rank=rank, attempt=one))} for one in (1, 2, 3)
        }
        assert ranks == {1: {0, 1, 2}, 2: {0, 1}, 3: {0, 1, 2}}
        assert len(reader.series("loss", attempt="all")) == 8 * 20


def slurm(rank, world, cluster="a", restart=0):
    names = {"SLURM_JOB_ID": 77, "SLURM_STEP_ID": 0, "SLURM_NTASKS": world, "SLURM_PROCID": rank, "SLURM_LOCALID": 0}
    return {name: str(value) for name, value in {**names, "SLURM_CLUSTER_NAME": cluster}.items()} | {
        "SLURM_RESTART_COUNT": str(restart)
    }


def test_two_clusters_with_one_job_number_are_two_runs_and_a_requeued_job_is_one(file_store, tmp_path):
    for cluster in "ab":
        hosts = [Host(tmp_path / f"{cluster}{rank}", file_store, slurm(rank, 2, cluster)).begun() for rank in range(2)]
        for host in hosts:
            host.end()
    assert runs_in(file_store) == ["p/slurm-77-0", "p/slurm-77-0-2"]
    assert [objects_of_nodes(file_store, path)[0]["host"] for path in runs_in(file_store)]
    # Requeued on other machines, when all of the first ones has ended.
    hosts = [Host(tmp_path / f"c{rank}", file_store, slurm(rank, 2, "b", restart=1)).begun() for rank in range(2)]
    for host in hosts:
        host.end()
    assert runs_in(file_store) == ["p/slurm-77-0", "p/slurm-77-0-2"]
    found = objects_of_nodes(file_store, "p/slurm-77-0-2")
    assert sorted(str(one["shared"]) for one in found) == ["{'1': 1}"] * 2 + ["{'2': 2}"] * 2
    with steno.open(f"{file_store}/p/slurm-77-0-2") as reader:
        eventually(lambda: [one.attempt for one in reader.info.attempts] == [1, 2])
        for attempt, rank in itertools.product((1, 2), (0, 1)):
            found = reader.series("loss", rank=rank, attempt=attempt)
            assert found.value.tolist() == [step + rank / 8 for step in range(20)]


@pytest.mark.parametrize(("minutes", "runs"), [(9, 1), (15, 2)])
def test_who_comes_late_joins_what_goes_on(file_store, tmp_path, minutes, runs):
    """A host gave news so many minutes ago; that the other has none is not waited for."""
    first = Host(tmp_path / "disk0", file_store, torchrun(0, 2)).begun()
    path = f"p/{first.name}"
    eventually(lambda: any(one["streams"] for one in objects_of_nodes(file_store, path)))
    first.vanish()
    before = time.time() - minutes * 60
    for place in (tmp_path / "store" / path).glob("*/*.json"):  # the attempt was opened before that
        os.utime(place, (before, before))
    late = Host(tmp_path / "disk1", file_store, torchrun(1, 2)).begun()
    late.end()
    assert len(runs_in(file_store)) == runs


def test_a_straggler_joins_a_run_that_goes_on(file_store, tmp_path):
    first = Host(tmp_path / "disk0", file_store, torchrun(0, 2)).begun()
    path = f"p/{first.name}"
    eventually(lambda: any(one["streams"] for one in objects_of_nodes(file_store, path)))
    # The run is 15 minutes old; its node gives news all the while.
    run_json = tmp_path / "store" / path / "run.json"
    os.utime(run_json, (time.time() - 900, time.time() - 900))
    late = Host(tmp_path / "disk1", file_store, torchrun(1, 2)).begun()
    late.end()
    first.end()
    assert runs_in(file_store) == [path]
    assert steno.open(f"{file_store}/{path}").info.ranks == (0, 1)


def test_a_launcher_that_names_no_job_gives_random_ids_and_says_so_once(file_store, tmp_path, capfd):
    hosts = [Host(tmp_path / f"disk{rank}", file_store, torchrun(rank, 2, id="none")).begun() for rank in range(2)]
    assert hosts[0].id != hosts[1].id
    for host in hosts:
        host.end()
    assert len(runs_in(file_store)) == 2
    assert capfd.readouterr().err.count("set STENO_JOB or STENO_RUN") == 1


def test_a_node_that_gives_no_news_is_silent_and_after_an_hour_its_run_has_crashed(file_store, tmp_path, monkeypatch):
    host = Host(tmp_path / "disk0", file_store, torchrun(0, 2)).begun()
    path = f"p/{host.name}"
    eventually(lambda: any(one["streams"] for one in objects_of_nodes(file_store, path)))
    host.vanish()
    url = f"{file_store}/{path}"
    assert (steno.open(url).info.state, steno.open(url).info.silent) == ("running", {})
    now = time.time()
    for later, found, silent in ((40, "running", 0), (180, "running", 1), (3500, "running", 1), (3700, "crashed", 0)):
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        info = steno.open(url).info
        assert (info.state, len(info.silent)) == (found, silent)
        if later == 180:
            assert about.silence(info).startswith(", 1 node silent for 3 min ")
            assert about.ranks(info) == "1 of 2 have recorded here"
    monkeypatch.undo()


LIVE = """
import sys, time, steno
run = steno.init(project="p", name="live", dir=sys.argv[1], store=sys.argv[2], live_secs=0.2)
print(run.id, flush=True)
for step in range(int(sys.argv[3])):
    run.log({"a": float(step), "b": -float(step)})
    if step % 2000 == 0:
        run.event("mark", at=step)
        run.flush(30)
        time.sleep(float(sys.argv[4]))
print("done", flush=True)
sys.stdin.readline()
print("finished", run.finish(timeout=60), flush=True)
"""


@pytest.fixture
def live(file_store, tmp_path):
    def begin(steps, pause=0.0):
        words = [sys.executable, "-c", LIVE, str(tmp_path / "disk"), file_store, str(steps), str(pause)]
        programs.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        programs[-1].stdout.readline()
        return programs[-1]

    programs = []
    yield begin
    for one in programs:
        one.kill()
        one.communicate()


def test_what_no_part_has_is_read_in_the_store_while_the_run_goes_on(live, file_store):
    program = live(300)
    url = f"{file_store}/p/live"
    eventually(lambda: runs_in(file_store))
    reader = steno.open(url)
    eventually(lambda: len(reader.series("a")) == 300, poll=0.2)
    assert not objects_of_nodes(file_store, "p/live")[0]["parts"]
    assert (reader.info.state, reader.info.points) == ("running", 600)
    assert reader.series("b").value.tolist() == [-float(step) for step in range(300)]
    assert reader.summary["a"]["last"] == 299
    (mark,) = [one for one in reader.records("event") if one.payload["name"] == "mark"]
    assert mark.step is None
    assert sum(len(batch.value) for batch in reader.batches()) == 600
    assert steno.sql("select count(*) from metrics", [url]).fetchall() == [(600,)]
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.stdout.readline() == "done\n"
    assert program.stdout.readline() == "finished True\n"
    eventually(lambda: reader.info.state == "finished", poll=0.2)
    assert len(reader.series("a")) == 300
    reader.close()


GOES_ON = """
import sys, time, steno
dir, store, first, count, how = sys.argv[1:]
run = steno.init(project="p", name="long", dir=dir, store=store, live_secs=0.2, **eval(how))
print(run.attempt, run.id, run.config.get("lr"), flush=True)
for step in range(int(first), int(first) + int(count)):
    run.log({"loss": step / 7}) if "auto" in how else run.log({"loss": step / 7, "try": run.attempt}, step=step)
run.flush(30)
print("logged", flush=True)
if sys.stdin.readline():
    print("finished", run.finish(timeout=60), flush=True)
"""


def goes_on(disk, store, first, count, **how):
    words = [sys.executable, "-c", GOES_ON, str(disk), store, str(first), str(count), repr(how)]
    program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    attempt, id, lr = program.stdout.readline().split()
    assert program.stdout.readline() == "logged\n"
    return program, int(attempt), id, lr


def lose(program, disk):
    """The machine and its disk."""
    run_dir = disk / "p" / "long"
    object_stores.kill([json.loads((node_dir(run_dir) / "status.json").read_bytes())["pid"]])
    object_stores.kill([program.pid, *object_stores.uploader_pids(run_dir)])
    program.communicate()
    files.remove_tree(disk)


@pytest.mark.parametrize(("store", "rewinds"), [("s3", True), ("file", False)], indirect=["store"])
def test_a_run_whose_disk_is_gone_goes_on_from_its_store(store, tmp_path, rewinds):
    url = f"{store}/p/long"
    program, attempt, id, lr = goes_on(tmp_path / "disk0", store, 0, 100, config={"lr": 0.5})
    assert (attempt, lr) == (1, "0.5")
    count = 100
    for life in range(1, 4):
        eventually(lambda: runs_in(store))
        with steno.open(url) as reader:  # all that was acknowledged there
            eventually(lambda: len(reader.series("loss")) == count, poll=0.2)
        lose(program, tmp_path / f"disk{life - 1}")
        first = count - 30 if rewinds else count
        how = {"rewind": first} if rewinds else {"resume": True}
        program, attempt, again, lr = goes_on(tmp_path / f"disk{life}", store, first, 100, **how)
        assert (attempt, again, lr) == (life + 1, id, "0.5")
        count = first + 100
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.stdout.readline() == "finished True\n"
    program.communicate()
    with steno.open(url) as reader:
        assert reader.info.state == "finished"
        assert reader.series("loss").step.tolist() == list(range(count))
        assert reader.series("loss").value.tolist() == [step / 7 for step in range(count)]
        assert [one.attempt for one in reader.info.attempts] == [1, 2, 3, 4]
        assert set(reader.series("try").value[-100:]) == {4.0}
    assert runs_in(store) == ["p/long"]


def test_automatic_steps_go_on_behind_those_in_the_store(file_store, tmp_path):
    program, *_ = goes_on(tmp_path / "disk0", file_store, 0, 40, tags=["auto"])
    url = f"{file_store}/p/long"
    eventually(lambda: runs_in(file_store))
    with steno.open(url) as reader:
        eventually(lambda: len(reader.series("loss")) == 40, poll=0.2)
    lose(program, tmp_path / "disk0")
    program, *_ = goes_on(tmp_path / "disk1", file_store, 40, 40, tags=["auto"], resume="allow")
    with steno.open(url) as reader:
        eventually(lambda: len(reader.series("loss")) == 80, poll=0.2)
        assert reader.series("loss").step.tolist() == list(range(80))
    lose(program, tmp_path / "disk1")


def test_hosts_that_go_on_at_once_are_in_one_attempt(file_store, tmp_path):
    first = [Host(tmp_path / f"a{rank}", file_store, torchrun(rank, 2)).begun() for rank in range(2)]
    for host in first:
        host.end()
    how = "{'resume': 'allow', 'rewind': 10}"
    later = [Host(tmp_path / f"b{rank}", file_store, torchrun(rank, 2), how) for rank in range(2)]
    for host in later:
        host.begun()
    assert {host.id for host in later} == {first[0].id}
    for host in later:
        host.end()
    (path,) = runs_in(file_store)
    with steno.open(f"{file_store}/{path}") as reader:
        eventually(lambda: reader.info.state == "finished")
        assert [(one.attempt, one.rewind) for one in reader.info.attempts] == [(1, None), (2, 10)]
        assert len(reader.series("loss", attempt="all")) == 80
        assert len(reader.series("loss")) == 60
        for rank in range(2):
            assert len(reader.series("loss", attempt=2, rank=rank)) == 20


def test_a_run_that_no_store_has_or_that_cannot_be_asked_for_is_one_error(server, file_store, tmp_path, monkeypatch):
    with pytest.raises(steno.RunNotFoundError, match="there is no run 'none'"):
        steno.init("p", "none", dir=tmp_path / "runs", store=file_store, resume=True)
    gate = object_stores.Gate(server)
    gate.close()
    for name, value in object_stores.environment(gate.url).items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with pytest.raises(steno.StenoError, match="is not known.*Try again") as caught:
        steno.init("p", "none", dir=tmp_path / "runs", store="s3://some-bucket/x", rewind=3)
    assert time.monotonic() - began < 15
    assert "s3cr3t" not in str(caught.value)


def test_a_store_that_does_not_answer_leaves_what_was_known_last(server, monkeypatch, tmp_path):
    gate = object_stores.Gate(server)
    for name, value in object_stores.environment(gate.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    bucket = f"b-{os.urandom(8).hex()}"
    object_stores.client(server).create_bucket(Bucket=bucket)
    run = steno.init("p", "known", dir=tmp_path / "runs", store=f"s3://{bucket}/x", live_secs=0.2)
    try:
        run.log({"a": 1.0}, step=0)
        eventually(lambda: runs_in(f"s3://{bucket}/x"))
        reader = steno.open(f"s3://{bucket}/x/p/known")
        eventually(lambda: len(reader.series("a")) == 1, poll=0.2)
        assert "store" not in reader.info.unreadable
        gate.close()
        eventually(lambda: "store" in reader.info.unreadable, poll=0.2)
        assert reader.info.unreadable["store"].startswith("not reached for ")
        assert (reader.info.state, reader.series("a").value.tolist()) == ("running", [1.0])
        gate.open()
        run.log({"a": 2.0}, step=1)
        eventually(lambda: len(reader.series("a")) == 2, poll=0.2)
        assert "store" not in reader.info.unreadable
        assert run.finish(timeout=60)
        reader.close()
    finally:
        run.finish(timeout=0)
        gate.close()


def test_a_node_that_sends_something_large_gives_news_meanwhile(file_store, tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_KEEP_LEDGER", "1")
    (tmp_path / "large").write_bytes(os.urandom(6 << 20))
    with steno.init("p", "large", dir=tmp_path / "runs") as run:
        run.log_artifact(tmp_path / "large", "large")
    monkeypatch.setattr(uploader, "_NEWS_SECS", 0.0)
    written, write = [], ObjectStore.write
    monkeypatch.setattr(ObjectStore, "write", lambda self, key, data: written.append(key) or write(self, key, data))
    one = uploader.Uploader(run.dir, node_of(run.dir), {"store": file_store})
    one._locations["store"] = uploader.Location("store", file_store, node_dir(run.dir), one._gate)
    assert one._sweep()
    assert written.count(node_object.key(node_of(run.dir))) >= 6


def test_a_node_and_a_reader_need_no_more_than_their_policies_allow(server, monkeypatch, tmp_path):
    """Those of docs/fleet.md: nobody may delete anything."""
    gate = object_stores.Gate(server)
    try:
        for name, value in object_stores.environment(gate.url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
        bucket = f"b-{os.urandom(8).hex()}"
        object_stores.client(server).create_bucket(Bucket=bucket)
        store = f"s3://{bucket}/deep/down"
        node, reader = (s3_policies.policy(one, bucket, "deep/down") for one in ("node", "reader"))
        gate.allows = functools.partial(s3_policies.allows, node)
        host = Host(tmp_path / "disk0", store, torchrun(0, 1), "{'live_secs': 0.5}").begun()
        eventually(lambda: any(one["unsealed"] for one in objects_of_nodes(store, f"p/{host.name}")))
        object_stores.kill(object_stores.uploader_pids(tmp_path / "disk0" / "p" / host.name))
        host.end()
        assert gate.denied == []
        gate.allows = functools.partial(s3_policies.allows, reader)
        written = len(gate.sent("PUT"))
        url = f"{store}/p/{host.name}"
        assert [one.name for one in steno.runs(store)] == [host.name]
        with steno.open(url) as opened:
            assert opened.info.state == "finished"
            assert len(opened.series("loss")) == 20
        assert gate.denied == []
        assert len(gate.sent("PUT")) == written
        # The policies do deny something.
        assert not s3_policies.allows(reader, "PUT", f"/{bucket}/deep/down/p/x")
        assert not s3_policies.allows(node, "DELETE", f"/{bucket}/deep/down/p/x")
        assert not s3_policies.allows(node, "POST", f"/{bucket}?delete")
        assert not s3_policies.allows(node, "PUT", f"/{bucket}/deep/other")
        assert not s3_policies.allows(node, "GET", f"/{bucket}?list-type=2&prefix=deep/")
        assert s3_policies.allows(
            s3_policies.policy("publisher", bucket, "d"), "PUT", f"/{bucket}/d/_iceberg/metrics/a"
        )
    finally:
        gate.close()


def test_each_moment_of_a_node_that_seals_is_a_prefix_without_a_gap(live, file_store, tmp_path):
    """Its object alone, again and again: the parts that it names, and what it has itself, follow each other."""
    import pyarrow.parquet as pq

    from steno.ledger.live import unpacked

    program = live(150_000, 0.2)
    nodes = tmp_path / "store/p/live/nodes"
    eventually(lambda: nodes.is_dir() and list(nodes.glob("*.json")))
    (path,) = nodes.glob("*.json")
    rows = {}
    reads, last, moments = 0, 0, set()
    deadline = time.monotonic() + 120
    program.stdin.write("\n")
    program.stdin.flush()
    while not (said := node_object.parsed(path.read_bytes())).get("ended"):
        assert time.monotonic() < deadline
        reads += 1
        parts = [part for part in said["parts"] if part["kind"] == "metrics"]
        for part in parts:
            if part["name"] not in rows:
                rows[part["name"]] = pq.ParquetFile(nodes.parent / part["name"]).metadata.num_rows
        ends = [(part["first_batch"], part["last_batch"]) for part in parts]
        assert all(one[1] + 1 == other[0] for one, other in itertools.pairwise(ends))
        batches = unpacked(said["unsealed"], said["node"]) if said["unsealed"] else ()
        ids = [batch.id for batch in batches]
        assert ids == list(range((ends[-1][1] if ends else 0) + 1, (ends[-1][1] if ends else 0) + 1 + len(ids)))
        points = sum(rows[part["name"]] for part in parts) + sum(len(batch.value) for batch in batches)
        assert points >= last
        assert sum(len(batch.value) for batch in batches) <= 2 * 65_536 + 10_000
        last = points
        moments.add((len(parts), points))
    assert said["ended"]
    assert reads > len(moments) > 3
    assert len([part for part in said["parts"] if part["kind"] == "metrics"]) >= 3
    with steno.open(f"{file_store}/p/live") as reader:
        assert reader.series("a").value.tolist() == [float(step) for step in range(150_000)]
    # Nothing that was there has gone.
    assert {part["name"] for part in said["parts"]} >= set(rows)


def test_artifacts_of_two_hosts_are_all_in_the_list_for_programs_without_steno(store, tmp_path):
    program = """
import sys, steno
run = steno.init(project="p", dir=sys.argv[1], store=sys.argv[2])
print("begun", run.id, run.name, flush=True)
for number in range(3):
    with open(f"{sys.argv[1]}-model", "w") as file:
        file.write(f"{run.rank} {number}")
    run.log_artifact(f"{sys.argv[1]}-model", f"model-{run.rank}-{number}")
print("finished", run.finish(timeout=90), flush=True)
"""
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / f"disk{rank}"), store],
            env={**os.environ, **torchrun(rank, 2)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [host.communicate(timeout=150)[0].splitlines() for host in hosts]
    assert [lines[-1] for lines in said] == ["finished True"] * 2
    (path,) = runs_in(store)
    every = [f"model-{rank}-{number}" for rank in range(2) for number in range(3)]
    names = json.loads(_read(store, f"{path}/artifacts.json"))["names"]
    assert sorted(names) == every
    for name, row in names.items():
        assert _read(store, f"{path}/{row['key']}").decode() == " ".join(name.split("-")[1:])
    with steno.open(f"{store}/{path}") as reader:
        assert sorted(one.name for one in reader.artifacts()) == every
