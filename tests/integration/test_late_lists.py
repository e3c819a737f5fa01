"""A store whose lists do not have what is new yet: nothing is lost, nothing is there twice, and hosts meet all the same."""

from __future__ import annotations

import json
import os
import time

import pytest
from test_fleet import Host, objects_of_nodes, runs_in, torchrun

import object_stores
import steno
from object_stores import eventually
from steno.collector.uploads import attempts, generations
from steno.objects.store import ObjectStore

pytestmark = pytest.mark.timeout(180)

NEVER = 1e9


@pytest.fixture
def store(gate, server):
    bucket = f"b-{os.urandom(8).hex()}"
    object_stores.client(server).create_bucket(Bucket=bucket)
    return f"s3://{bucket}/x"


def test_hosts_of_a_job_meet_though_no_list_has_them(gate, store, tmp_path):
    gate.late_secs = NEVER
    first = Host(tmp_path / "disk0", store, torchrun(0, 2), "{'live_secs': 0.5}").begun()
    path = f"p/{first.name}"
    # It opens the attempt, in which it is; then the other one comes, and both end while no list has either.
    eventually(lambda: gate.sent(of=f"{path}/attempts/0001/"))
    late = Host(tmp_path / "disk1", store, torchrun(1, 2), "{'live_secs': 0.5}").begun()
    for host in (first, late):
        host.process.stdin.write("77\n")
        host.process.stdin.flush()
        host.end()
    assert len(gate.sent(of=f"{path}/attempts/0002.json")) == 0
    asked = [one for one in gate.seen if one[0] == "PUT" and "/attempts/000" in one[1]]
    assert len(asked) <= 4  # nobody tries again and again to open what is open
    manifest = json.loads(ObjectStore(f"{store}/{path}").read("manifest.json"))
    assert (manifest["state"], len({row["node"] for row in manifest["parts"]})) == ("finished", 1)
    reader = steno.open(f"{store}/{path}")
    gate.late_secs = 0.0
    assert runs_in(store) == [path]
    # A reader of that time has all of it later, and so has a new one.
    for one in (reader, steno.open(f"{store}/{path}")):
        eventually(lambda one=one: one.info.ranks == (0, 1))
        assert (one.info.state, [row.attempt for row in one.info.attempts]) == ("finished", [1])
        for rank in range(2):
            found = one.series("loss", rank=rank)
            assert found.value.tolist() == [step + rank / 8 for step in range(20)]
        assert sorted(one.series("late", attempt="all").value) == [77.0, 77.0]
        one.close()
    assert sorted(str(one["shared"]) for one in objects_of_nodes(store, path)) == ["{'1': 1}"] * 2


def test_an_attempt_that_was_just_opened_is_news_of_a_run(tmp_path):
    """Its nodes have been silent for long, and the one that goes on is not listed yet."""
    store = ObjectStore(f"file://{tmp_path}/store/p/r")
    store.write("run.json", b"{}")
    store.write("nodes/000000000000000a.json", json.dumps({"node": 10, "ended": False}).encode())
    old = time.time() - 2 * generations.OVER_SECS
    for path in (tmp_path / "store/p/r").rglob("*.json"):
        os.utime(path, (old, old))
    assert generations.is_over(store, {"rank": 1, "world_size": 2})
    assert attempts.opened_at(store) is None
    store.create("attempts/0001.json", json.dumps({"attempt": 1, "world_size": 2}).encode())
    assert not generations.is_over(store, {"rank": 1, "world_size": 2})
    os.utime(tmp_path / "store/p/r/attempts/0001.json", (old, old))
    assert generations.is_over(store, {"rank": 1, "world_size": 2})


def test_a_host_with_the_run_on_its_disk_and_one_without_go_on_in_one_attempt(monkeypatch, tmp_path):
    """As after the loss of one of two: whoever comes first opens it, and the other one joins."""
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    disks, store = [tmp_path / "disk0", tmp_path / "disk1"], f"file://{tmp_path}/store"
    first = [Host(disks[rank], store, torchrun(rank, 2), "{'live_secs': 0.5}").begun() for rank in range(2)]
    path = f"p/{first[0].name}"
    eventually(lambda: all(one["streams"] for one in objects_of_nodes(store, path)))
    eventually(lambda: len([one for one in objects_of_nodes(store, path) if one["unsealed"]]) == 2)
    first[1].vanish()
    first[0].end()
    how = "{'resume': 'allow', 'rewind': 10, 'live_secs': 0.5}"
    stays = Host(disks[0], store, torchrun(0, 2, restart=1), how).begun()
    eventually((tmp_path / "store" / path / "attempts/0002").exists)
    comes = Host(tmp_path / "disk2", store, torchrun(1, 2), how).begun()
    for host in (stays, comes):
        host.end()
    assert runs_in(store) == [path]
    with steno.open(f"{store}/{path}") as reader:
        eventually(lambda: reader.info.state == "finished")
        assert [(one.attempt, one.rewind) for one in reader.info.attempts] == [(1, None), (2, 10)]
        for rank in range(2):
            again = [*range(10), *range(20)]  # the program begins at 0 each time
            assert reader.series("loss", rank=rank).value.tolist() == [step + rank / 8 for step in sorted(again)]
