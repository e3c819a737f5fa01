"""A run of many ranks in a store: the band over them and the odd one, at the viewer, by few bytes and few waits."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import object_stores
import steno
import viewer_server
from steno.journal.decode import KeySet, Slice
from steno.ledger.incoming import StreamInfo
from steno.objects.s3 import READS_AT_ONCE
from steno.record import node_name

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from store_runs import START_NS  # noqa: E402 - as the unit tests have it
from test_overviews import Sent  # noqa: E402

pytestmark = pytest.mark.timeout(300)
NODES = int(os.environ.get("STENO_TEST_NODES", "3"))
"""With 64 there are 4,096 ranks, and it takes half a minute."""
RANKS, STEPS = 64, 1024
BYTES_A_NODE = 5_000_000 // 64
ODD = 5
"""Number of the node of the rank that stands out; it is the first one there."""


def posted(writer, rank, values):
    """One rank's points of a key, at the steps from 0 on."""
    count = len(values)
    mono = np.arange(1, count + 1, dtype=np.int64) * 1_000_003 + rank
    info = StreamInfo(f"host-{writer.node}-{rank}", 0, 1, "host", "", rank, 1, True, START_NS)
    some = Slice(
        start=4096, end=8192, lost_bytes=0, mono=mono, wall=mono + START_NS, seq=np.arange(count), step=np.arange(count),
        auto=np.zeros(count, bool), set=np.zeros(count, np.int32), sets=[KeySet(("loss",))], value=values, special={},
        entries=[],
    )  # fmt: skip
    writer.poster.post([(info, some)])


@pytest.fixture(scope="module")
def values():
    """By rank and step."""
    found = np.random.default_rng(0).normal(0.0, 1.0, (NODES * RANKS, STEPS))
    found[ODD % NODES] += 3.0
    return found


@pytest.fixture(scope="module")
def stored(values, server, tmp_path_factory):
    """The URL of the run's store, in which of the nodes' parts only those of the node with the odd rank are."""
    place = tmp_path_factory.mktemp("ranks")
    run_dir, local = place / "p" / "wide", place / "store"
    nodes = [Sent(run_dir, f"file://{local}", node + 1) for node in range(NODES)]
    for at, node in enumerate(nodes):
        for local_rank in range(RANKS):  # the ranks of a node do not lie side by side
            rank = local_rank * NODES + at
            posted(node.writer, rank, values[rank])
        node.writer.seal()
        node.end()
    s3 = object_stores.client(server)
    s3.create_bucket(Bucket="wide")
    mine = node_name(ODD % NODES + 1)
    for path in local.rglob("*"):
        is_of_a_part = path.parent.name == "metrics" and "-ranks-" not in path.name
        if path.is_file() and (not is_of_a_part or path.name.startswith(mine)):
            s3.put_object(Bucket="wide", Key=path.relative_to(local).as_posix(), Body=path.read_bytes())
    (run_file,) = local.rglob("run.json")
    return f"s3://wide/{run_file.parent.relative_to(local).as_posix()}"


def test_a_band_over_4096_ranks_on_64_nodes_reads_five_megabytes_and_its_odd_rank_one_node(stored, values, gate):
    with viewer_server.serving(stored.rpartition("/")[0].rpartition("/")[0]) as asker:
        (run,) = [row["run"] for row in asker.ask("/api/runs").json["rows"]]
        gate.seen.clear()
        gate.answered = 0
        card = asker.card(keys=["loss"], runs=[run], ranks="band", width=512)
        print({"bytes": gate.answered, "requests": len(gate.seen)})
        assert gate.answered <= NODES * BYTES_A_NODE
        assert not [path for method, path, _ in gate.seen if ".parquet" in path]
        (band,) = card["series"]
        columns, wide = band["columns"], values.reshape(len(values), 512, -1)
        assert (card["bin"], card["points"], band["rows"]) == (2.0, values.size, 512)
        assert set(columns["n"].tolist()) == {2 * NODES * RANKS}
        np.testing.assert_array_equal(columns["min"].astype(np.float32), wide.min((0, 2)).astype(np.float32))
        np.testing.assert_array_equal(columns["max"].astype(np.float32), wide.max((0, 2)).astype(np.float32))
        np.testing.assert_allclose(columns["mean"], wide.mean((0, 2)), rtol=1e-5, atol=1e-6)
        (line,) = asker.card(keys=["loss"], runs=[run], ranks="odd", width=512)["series"]
        assert (line["rank"], line["kind"]) == (ODD % NODES, "points")
        np.testing.assert_allclose(line["columns"]["y"], values[ODD % NODES], rtol=1e-6)


def test_bins_name_the_ranks_of_their_smallest_and_largest_values(stored, values, gate):
    (curve,) = steno.bins("loss", stored, width=64).curves
    assert curve.bins is not None
    wide = values.reshape(len(values), 64, -1)
    assert curve.bins.min.rank.tolist() == wide.min(2).argmin(0).tolist()
    assert curve.bins.max.rank.tolist() == wide.max(2).argmax(0).tolist()
    np.testing.assert_array_equal(curve.bins.max.value, wide.max((0, 2)))
    np.testing.assert_allclose(curve.bins.std, wide.transpose(1, 0, 2).reshape(64, -1).std(1), rtol=1e-12)


def test_what_many_nodes_say_is_asked_for_together(server, gate, tmp_path):
    count, local = 40, tmp_path / "store"
    s3 = object_stores.client(server)
    s3.create_bucket(Bucket="said")
    for number in range(count):
        node = Sent(tmp_path / "p" / "said", f"file://{local}", number + 1)
        node.writer.log((0, {"loss": 1.0}), rank=number)
        node.look()
        node.writer.close()
    for path in [*local.rglob("run.json"), *local.rglob("nodes/*")]:
        s3.put_object(Bucket="said", Key=path.relative_to(local).as_posix(), Body=path.read_bytes())
    gate.delay = 0.03
    began = time.monotonic()
    with steno.open("s3://said/tests/said") as run:
        asked, secs = len(gate.seen), time.monotonic() - began
        assert len(run.info.ranks) == count
    print({"requests": asked, "seconds": secs, "at once": gate.most_at_once})
    assert count < asked <= count + 10
    assert READS_AT_ONCE // 2 <= gate.most_at_once <= READS_AT_ONCE
