"""Runs kept in a real S3 API on loopback: read back from there, through outages, kills and refusals."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import files_below
import object_stores
import steno
import under_test
from nodes import node_dir, part_name
from object_stores import SECRETS, eventually
from steno import files
from steno.objects.sending import DifferentError, Sending
from steno.objects.store import ObjectStore, sha256_of
from steno.store import image, remote

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def s3(server):
    return object_stores.client(server)


@pytest.fixture
def bucket(s3, tmp_path):
    name = f"b-{os.urandom(8).hex()}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def store(monkeypatch, tmp_path):
    """One that needs no server."""
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    return f"file://{tmp_path}/store"


def status(run_dir):
    try:
        return json.loads((node_dir(run_dir) / "status.json").read_bytes())
    except (OSError, ValueError):
        return {}


def uploads(run_dir):
    return status(run_dir).get("uploads") or {}


def same_points(one, other, key):
    a, b = one.series(key), other.series(key)
    assert np.array_equal(a.step, b.step)
    assert np.array_equal(a.value, b.value, equal_nan=True)


def test_a_finished_run_is_read_from_its_store_as_from_its_directory(gate, s3, bucket, tmp_path, capfd):
    picture = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    run = steno.init("p", "there", {"lr": 0.5}, tmp_path / "runs", store=f"s3://{bucket}/some/where", tags=["x"])
    for step in range(200):
        run.log({"loss": step / 3, "odd": float("nan") if step % 7 == 0 else 2**60 + step}, step=step)
    run.log({"sample": steno.Image(picture)}, step=3)
    run.event("epoch_end", epoch=3)
    run.summary["best"] = 0.25
    eventually(lambda: uploads(run.dir).get("looked") is not None)
    assert object_stores.uploader_pids(run.dir)
    assert not any(secret.encode() in words for words in _command_lines() for secret in SECRETS.values())
    health = run.health()
    assert health["uploads"]["stores"]["store"].startswith(f"s3://{bucket}/some/where")
    assert not any(secret in f"{run!r} {health!r}" for secret in SECRETS.values())
    assert run.finish(timeout=60)
    url = f"s3://{bucket}/some/where/p/there"

    # What says that all is there came last.
    assert gate.sent()[-1][1].endswith("/p/there/manifest.json")
    with steno.open(run.dir) as here, steno.open(url) as there:
        for key in ("loss", "odd"):
            same_points(here, there, key)
        assert there.keys() == here.keys()
        assert (there.info.state, there.info.points, there.info.tags) == ("finished", here.info.points, ("x",))
        assert (there.info.config, there.info.summary) == ({"lr": 0.5}, {"best": 0.25})
        assert there.info.attempts == here.info.attempts
        assert there.frame(["loss"]).equals(here.frame(["loss"]))
        assert there.records() == here.records()
        query = "select key, count(*), sum(value) from metrics where not isnan(value) group by key order by key"
        assert there.sql(query).fetchall() == here.sql(query).fetchall()
        assert [batch.id for batch in there.batches()] == [batch.id for batch in here.batches()]
        assert np.array_equal(there.media("sample")[0].value, picture)
        assert url in repr(there)
    rows = steno.sql("select run, count(*) from metrics group by run", [url]).fetchall()
    assert rows == [("p/there", 401)]
    shown = subprocess.run([sys.executable, "-m", "steno", "show", url], capture_output=True, text=True, check=True)
    assert "loss" in shown.stdout

    # Nothing is sent twice, whatever is asked for again.
    (node_dir(run.dir) / "sent-store.jsonl").unlink()
    s3.create_multipart_upload(Bucket=bucket, Key="some/where/p/there/run.json")  # as of a process killed in the act
    gate.seen.clear()
    assert steno.sync(run.dir).complete
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
    every = [path.removeprefix(f"/{bucket}/some/where/") for _, path, _ in gate.sent()]
    cards = [path for path in every if path.startswith("_cards/")]
    assert cards in ([], [f"_cards/p/{run.id}.{node_dir(run.dir).name}"])  # a small object, as the node's is
    sent = [path.removeprefix("p/there/") for path in every if path not in cards]
    assert sent in (
        ["manifest.json"],
        [f"nodes/{node_dir(run.dir).name}.json", "manifest.json"],
    )  # the second while sync was at work

    # No secret in any file, in what was printed, or in what lies in the store.
    said = "".join(capfd.readouterr()) + shown.stdout + shown.stderr
    places = {"printed": said.encode(), **object_stores.objects(s3, bucket)}
    places |= {str(path): data for path, data in files_below.contents(tmp_path).items()}
    for where, data in places.items():
        for name, secret in SECRETS.items():
            assert secret.encode() not in data, f"{name} in {where}"


def _command_lines():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes()
        except OSError:
            continue


def test_a_live_run_is_read_up_to_its_sealed_parts(store, tmp_path):
    # Names that are new from batch to batch have a part sealed early.
    wide = [[f"{letter}{number}" for number in range(30_000)] for letter in "kx"]
    run = steno.init("p", "live", dir=tmp_path / "runs", store=store)
    url = f"{store}/p/live"
    eventually(lambda: _opened(url))
    assert (steno.open(url).info.state, steno.open(url).keys()) == ("running", [])
    assert len(steno.open(url).series("k0")) == 0
    book = steno.open(url)
    for step in range(6):
        run.log(dict.fromkeys(wide[step % 2], float(step)), step=step)
        run.flush(60)
    run.log({"late": 1.0}, step=6)
    seen = eventually(lambda: book.series("k0").value.tolist(), 90, 0.2)  # the same book sees what has come
    assert seen == [0.0, 2.0, 4.0][: len(seen)]
    assert book.info.state == "running"
    assert run.finish(timeout=90)
    with steno.open(url) as whole:
        assert whole.info.state == "finished"
        assert whole.series("k7").value.tolist() == [0.0, 2.0, 4.0]
        assert whole.series("late").value.tolist() == [1.0]
    # Small parts that a larger one has replaced are gone from the store too.
    listed = {row["name"] for row in json.loads((run.dir / "manifest.json").read_bytes())["parts"]}
    place = tmp_path / "store" / "p" / "live"
    assert {path.relative_to(place).as_posix() for path in place.glob("*/*.parquet")} == listed


def _opened(url):
    try:
        return steno.open(url).info.state
    except steno.RunNotFoundError:
        return None


@pytest.fixture
def large(tmp_path):
    """A file of three pieces, as it is sent."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(17 << 20))
    return Sending("a/large", path, path.stat().st_size, sha256_of(path))


def begin(s3, bucket, data, count):
    """As a killed process leaves an upload of which so many pieces are there."""
    digest = {"steno-sha256": hashlib.sha256(data).hexdigest()}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="x/a/large", Metadata=digest)["UploadId"]
    for number in range(count):
        piece = data[number * (8 << 20) : (number + 1) * (8 << 20)]
        s3.upload_part(Bucket=bucket, Key="x/a/large", UploadId=upload, PartNumber=number + 1, Body=piece)


@pytest.mark.parametrize(
    ("before", "sent"), [("two pieces of it", 1), ("another content", 3), ("nothing", 3), ("no right to ask", 3)]
)
def test_a_large_file_goes_on_from_the_pieces_that_are_there(gate, s3, bucket, large, before, sent):
    store = ObjectStore(f"s3://{bucket}/x")
    if before == "two pieces of it":
        begin(s3, bucket, large.path.read_bytes(), 2)
    elif before == "another content":
        begin(s3, bucket, os.urandom(17 << 20), 2)
    elif before == "no right to ask":
        gate.forbidden = "?uploads&prefix"
    store.send(large)
    assert len(gate.sent(of="partNumber")) == sent
    assert object_stores.objects(s3, bucket)["x/a/large"] == large.path.read_bytes()
    assert store.holds("a/large", large.size, large.sha256)
    assert store.unfinished() == set()
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


@pytest.mark.timing
def test_a_large_file_that_is_not_what_was_meant_leaves_nothing(gate, s3, bucket, large):
    store = ObjectStore(f"s3://{bucket}/x")
    with open(large.path, "r+b") as file:
        file.seek(9 << 20)
        file.write(b"changed")
    with pytest.raises(DifferentError, match="changed while it was sent"):
        store.send(large)
    assert object_stores.objects(s3, bucket) == {}
    assert store.unfinished() == set()


def test_an_artifact_that_is_damaged_here_is_sent_as_it_is_and_told_there(gate, s3, bucket, tmp_path):
    content = tmp_path / "content"
    content.write_bytes(os.urandom(1 << 16))
    run = steno.init("p", "damaged", dir=tmp_path / "runs")
    run.log_artifact(content, "weights")
    assert run.finish(timeout=60)
    kept = next(path for path in (run.dir / "artifacts").rglob("*") if path.is_file())
    data = bytearray(kept.read_bytes())
    data[5] ^= 1
    kept.write_bytes(data)
    assert steno.sync(run.dir, store=f"s3://{bucket}/y").complete
    with pytest.raises(steno.CorruptError, match="digest"):
        steno.open(f"s3://{bucket}/y/p/damaged").artifact("weights").path  # noqa: B018 - it is fetched then


def test_a_store_says_no_once_and_at_once(gate, bucket, large):
    store = ObjectStore(f"s3://{bucket}/x")
    gate.failing = 1
    began = time.monotonic()
    with pytest.raises(OSError, match="503|ServiceUnavailable|reduce"):
        store.write("a", b"x")
    assert time.monotonic() - began < 5
    assert len(gate.sent()) == 1  # nobody has tried again in secret
    store.write("a", b"x")
    gate.forbidden = "x/a"
    with pytest.raises(PermissionError):
        store.send(large)


@pytest.mark.timing
def test_a_store_that_is_down_delays_only_itself_and_sync_ends_it(gate, s3, bucket, tmp_path, capfd):
    gate.close()
    run = steno.init("p", "down", dir=tmp_path, store=f"s3://{bucket}/y", destinations=["jsonl"])
    for step in range(100):
        run.log({"a": float(step)}, step=step)
    assert run.flush(60)
    eventually(lambda: uploads(run.dir).get("error"))
    began = time.monotonic()
    assert run.finish(timeout=3) is False
    assert time.monotonic() - began < 6
    assert "steno sync" in capfd.readouterr().err
    object_stores.kill([status(run.dir)["pid"]])
    eventually(lambda: not object_stores.uploader_pids(run.dir))
    assert status(run.dir)["destinations"]["jsonl"]["lag"] == 0
    doctor = subprocess.run(
        [sys.executable, "-m", "steno", "doctor", str(run.dir)], capture_output=True, text=True, check=True
    ).stdout
    assert f"s3://{bucket}/y" in doctor
    assert "last error" in doctor
    assert "not all of the run is in its object store: steno sync" in doctor
    assert f"s3://{bucket}/y" in (node_dir(run.dir) / "collector.log").read_text()

    gate.open()
    gate.failing = 5
    report = steno.sync(run.dir, timeout=90)
    # A success after retries is a success.
    assert report.complete
    assert report.uploads["state"] == "complete"
    assert report.uploads["retries"] > 0
    assert report.uploads["error"] is None
    assert len(steno.open(f"s3://{bucket}/y/p/down").series("a")) == 100


def test_a_bucket_that_is_missing_is_waited_for_and_a_server_that_stops_in_mid_upload(gate, s3, large, tmp_path):
    bucket = f"b-{os.urandom(8).hex()}"
    run = steno.init("p", "patient", dir=tmp_path, store=f"s3://{bucket}/y")
    run.log({"a": 1.0}, step=0)
    error = eventually(lambda: uploads(run.dir).get("error"))
    assert "bucket does not exist" in error
    gate.delay = 0.1
    s3.create_bucket(Bucket=bucket)
    handle = run.log_artifact(large.path, "large")
    eventually(lambda: gate.sent(of="partNumber"))
    gate.close()
    eventually(lambda: "large" in (uploads(run.dir).get("error") or "") or uploads(run.dir).get("state") == "retrying")
    gate.open()
    assert run.finish(timeout=90)
    content = f"y/p/patient/artifacts/{handle.digest[:2]}/{handle.digest}"
    assert object_stores.objects(s3, bucket)[content] == large.path.read_bytes()
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
    log = (node_dir(run.dir) / "collector.log").read_text()
    assert log.count("bucket does not exist") == 1


def test_another_run_of_the_same_name_keeps_its_place(store, tmp_path):
    for where, value in (("one", 1.0), ("two", 2.0)):
        run = steno.init("p", "same", dir=tmp_path / where, store=store)
        run.log({"a": value}, step=0)
        assert run.finish(timeout=60)
    assert steno.open(f"{store}/p/same").series("a").value.tolist() == [1.0]
    aside = f"{store}/p/same-{run.id[-8:].lower()}"
    assert uploads(run.dir)["stores"]["store"] == aside
    assert steno.open(aside).series("a").value.tolist() == [2.0]


def test_a_run_can_be_put_into_a_store_later_and_goes_on_there(store, tmp_path):
    with steno.init("p", "later", dir=tmp_path / "runs") as run:
        run.log({"a": 1.0}, step=0)
    done = subprocess.run(
        [sys.executable, "-m", "steno", "sync", str(run.dir), "--store", store], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"upload to {store}/p/later: complete" in done.stdout
    assert steno.open(f"{store}/p/later").series("a").value.tolist() == [1.0]
    with pytest.raises(steno.UsageError, match="is kept in"):
        steno.sync(run.dir, store=f"{store}/other")
    run = steno.init("p", "later", dir=tmp_path / "runs", resume=True)
    run.log({"a": 2.0}, step=1)
    assert run.finish(timeout=60)
    assert steno.open(f"{store}/p/later").series("a").value.tolist() == [1.0, 2.0]
    assert len(steno.open(f"{store}/p/later").info.attempts) == 2


TWO_MACHINES = """
import sys, steno
run = steno.init(dir=sys.argv[1], store=sys.argv[2])
for i in range(500): run.log({"i": float(i)}, i)
run.log({f"of/{run.rank}": steno.Text(f"from {run.rank}")}, 1)
print(run.name, flush=True)
sys.stdin.readline()
assert run.finish(60), run.health()
"""


def test_two_machines_of_one_run_bring_it_to_one_place(store, tmp_path):
    """Another host name, given by a namespace of its own, makes another machine of this one."""
    if subprocess.run(["unshare", "--uts", "true"], capture_output=True, check=False).returncode:
        pytest.skip("another host name needs the right to make a namespace")
    job = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"}
    words = [sys.executable, "-c", TWO_MACHINES, str(tmp_path / "runs"), store]
    programs = [
        subprocess.Popen(
            ["unshare", "--uts", "sh", "-c", f'hostname node{rank}; exec "$@"', "sh", *words],
            env={**os.environ, **job, "SLURM_PROCID": str(rank)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        assert [program.stdout.readline() for program in programs] == ["slurm-7-0\n"] * 2
        for program in programs:
            _, err = program.communicate("\n", timeout=120)
            assert (program.returncode, under_test.without_waits(err)) == (0, "")
    finally:
        for program in programs:
            program.kill()
            program.communicate()
    url = f"{store}/default/slurm-7-0"
    place = tmp_path / "store/default/slurm-7-0"
    eventually((place / "manifest.json").exists)
    book = steno.open(url)
    assert book.info.state == "finished"
    assert [book.series("i", rank=rank).value.tolist() for rank in range(2)] == [list(map(float, range(500)))] * 2
    assert [book.media(f"of/{rank}")[0].value for rank in range(2)] == ["from 0", "from 1"]
    listed = {row["name"] for row in json.loads((place / "manifest.json").read_bytes())["parts"]}
    assert {path.relative_to(place).as_posix() for path in place.glob("*/*.parquet")} == listed


def test_opening_what_is_not_there_says_so(gate, bucket):
    with pytest.raises(steno.RunNotFoundError, match="no run at"):
        steno.open(f"s3://{bucket}/p/none")
    with pytest.raises(steno.RunNotFoundError, match="bucket does not exist"):
        steno.open("s3://no-such-bucket-at-all/p/none")
    with pytest.raises(steno.UsageError, match="is in an object store"):
        steno.sync(f"s3://{bucket}/p/none")


def test_a_damaged_object_is_told_and_not_read(store, tmp_path):
    run = steno.init("p", "damaged", dir=tmp_path / "runs", store=store)
    run.log({"a": 1.0}, step=0)
    assert run.finish(timeout=60)
    path = tmp_path / "store/p/damaged" / part_name(run.dir)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    with pytest.raises(steno.CorruptError, match="checksum"):
        steno.open(f"{store}/p/damaged").series("a")


def test_of_a_run_in_a_store_bins_alone_are_fetched_where_they_are_enough(store, tmp_path):
    value = np.random.default_rng(0).standard_normal(30_000)
    run = steno.init("p", "long", dir=tmp_path / "runs", store=store)
    for step, one in enumerate(value.tolist()):
        run.log({"a": one}, step=step)
    assert run.finish(timeout=60)
    there = tmp_path / "store/p/long/metrics"
    assert sorted(path.suffix for path in there.iterdir()) == [".bins", ".parquet"]
    reader = steno.open(f"{store}/p/long")
    few = reader.series("a", points=64)
    assert (few.value.min(), few.value.max()) == (value.min(), value.max())
    assert [path.suffix for path in (reader.dir / "metrics").iterdir()] == [".bins"]
    assert reader.series("a").value.tolist() == value.tolist()
    next(there.glob("*.bins")).unlink()
    files.remove_tree(reader.dir)
    assert steno.open(f"{store}/p/long").series("a", points=64).value.min() == value.min()


def test_of_a_large_part_in_a_store_the_row_groups_of_a_key_are_fetched(gate, bucket, tmp_path):
    value = np.random.default_rng(1).standard_normal((12_000, 24))
    url = f"s3://{bucket}/x"
    run = steno.init("p", "wide", dir=tmp_path / "runs", store=url, settings={"live_secs": 0})
    names = [f"k{number:02d}" for number in range(value.shape[1])]
    for step, row in enumerate(value.tolist()):
        run.log(dict(zip(names, row, strict=True)), step=step)
    assert run.finish(timeout=60)
    size = (run.dir / part_name(run.dir)).stat().st_size
    assert size > 2 << 20

    reader = steno.open(f"{url}/p/wide")
    gate.seen.clear()
    gate.answered = 0
    assert reader.series("k07").value.tolist() == value[:, 7].tolist()
    of_part = [path for _, path, _ in gate.seen if path.endswith(".parquet")]
    assert (len(of_part), gate.answered < size // 6) == (2, True)  # its footer, and a row group
    gate.seen.clear()
    assert reader.series("k07").value.tolist() == value[:, 7].tolist()
    assert steno.open(f"{url}/p/wide").series("k07").value.tolist() == value[:, 7].tolist()
    assert len(steno.bins("k07", f"{url}/p/wide", x="time", width=8000).curves) == 1
    assert not [path for _, path, _ in gate.seen if path.endswith(".parquet")]  # all of it was here


def test_a_damaged_row_group_in_a_store_is_told_by_whoever_reads_it(store, tmp_path):
    value = np.random.default_rng(2).standard_normal((12_000, 4))
    run = steno.init("p", "torn", dir=tmp_path / "runs", store=store, settings={"live_secs": 0})
    for step, row in enumerate(value.tolist()):
        run.log(dict(zip("abcd", row, strict=True)), step=step)
    assert run.finish(timeout=60)
    path = tmp_path / "store/p/torn" / part_name(run.dir)
    with pq.ParquetFile(path) as file:
        value_at = file.schema.names.index("value")
        place = file.metadata.row_group(2).column(value_at).data_page_offset + 2000
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    reader = steno.open(f"{store}/p/torn")
    assert reader.series("b").value.tolist() == value[:, 1].tolist()
    with pytest.raises(steno.CorruptError, match="checksum"):
        reader.series("c")
    with pytest.raises(steno.CorruptError, match="checksum"):
        reader.sql("select count(*) from metrics")
    data[place] ^= 1
    path.write_bytes(data)
    assert reader.series("c").value.tolist() == value[:, 2].tolist()


@pytest.mark.parametrize("whole", [True, False], ids=["as they come", "all by ranges"])
def test_curves_of_runs_in_a_store_are_those_of_their_directories(store, whole, tmp_path, monkeypatch):
    if not whole:
        monkeypatch.setattr(image, "WHOLE_BYTES", 64)
        monkeypatch.setattr(remote, "WHOLE_BYTES", 0)
        monkeypatch.setattr(remote, "_SOME", 2.0)
    rng = np.random.default_rng(3)
    urls, dirs = [], []
    for number, count in enumerate((30_000, 900)):
        value = rng.standard_normal(count)
        value[rng.integers(0, count, 20)] = rng.choice([math.nan, math.inf, -math.inf], 20)
        run = steno.init("p", f"r{number}", dir=tmp_path / "runs", store=store, config={"lr": number})
        for step, one in enumerate(value.tolist()):
            run.log({"a": one, "b": -one}, step=step)
        assert run.finish(timeout=60)
        urls.append(f"{store}/p/r{number}")
        dirs.append(run.dir)
    for asked in (
        {},
        {"range": (1000, 20_001)},
        {"x": "time"},
        {"smooth": ("ema", 50)},
        {"group": []},
        {"ranks": "all"},
    ):
        far, near = (steno.bins(["a", "b"], runs, width=50, **asked) for runs in (urls, dirs))
        assert (far.left_out, far.width, len(far)) == ((), near.width, len(near))
        assert far.frame("arrow").equals(near.frame("arrow"))
        assert [one.mean.tolist() for one in far.groups] == [one.mean.tolist() for one in near.groups]
    for url, run_dir in zip(urls, dirs, strict=True):
        with steno.open(url) as there, steno.open(run_dir) as here:
            assert whole or list(there.dir.glob("ranges/*/*-*"))
            for asked in ({}, {"points": 64}, {"steps": (100, 700)}):
                one, other = there.series("a", **asked), here.series("a", **asked)
                assert (one.step.tolist(), one.value.tobytes()) == (other.step.tolist(), other.value.tobytes())
    # An object that is damaged costs its run alone.
    files.remove_tree(steno.open(urls[1]).dir)
    for path in (tmp_path / "store/p/r1/metrics").iterdir():
        path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    found = steno.bins("a", urls, width=51)
    assert [one.run for one in found.curves] == ["p/r0"]
    assert [one.run for one in found.left_out] == ["p/r1"]


def test_a_run_in_a_mounted_directory_is_read_from_there(store, tmp_path):
    run = steno.init("p", "mounted", dir=tmp_path / "runs", store=store)
    run.log({"a": 1.0}, step=0)
    assert run.finish(timeout=60)
    with steno.open(f"{store}/p/mounted") as book:
        assert book.series("a").value.tolist() == [1.0]
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.put(f"{tmp_path}/store/p", "/steno-test/p", recursive=True)
    with steno.open("memory://steno-test/p/mounted") as book:
        assert book.series("a").value.tolist() == [1.0]
    fs.rm("/steno-test", recursive=True)
