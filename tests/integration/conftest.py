"""What integration tests share: machinery that is kept to be looked into, an S3 server and a ClickHouse, each behind a gate."""

from __future__ import annotations

import pytest

import clickhouse_front
import object_stores
from steno.clickhouse.place import place_of


@pytest.fixture(autouse=True, scope="module")
def _kept_ledger():
    """`test_put_away.py` has the runs whose machinery goes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STENO_KEEP_LEDGER", "1")
        yield


@pytest.fixture(scope="module")
def server():
    """The port of an S3 server."""
    with object_stores.moto_server() as port:
        yield port


@pytest.fixture
def gate(server, monkeypatch, tmp_path):
    """The way to that server, which this process and its children take."""
    with object_stores.gated(server, monkeypatch, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory):
    """(a ClickHouse, its gate)"""
    with clickhouse_front.front(tmp_path_factory.mktemp("clickhouse")) as found:
        yield found


@pytest.fixture
def database(clickhouse_gate, request):
    """Where a database of the test's own is."""
    name = "".join(char if char.isalnum() else "_" for char in request.node.name)
    return place_of(f"clickhouse://default@127.0.0.1:{clickhouse_gate.port}/{name}")


@pytest.fixture
def clickhouse_gate(clickhouse):
    """The gate of a ClickHouse, as it is before anything goes wrong."""
    gate = clickhouse[1]
    gate.cut = gate.deaf = 0
    gate.delay, gate.times, gate.away = 0.0, 1, False
    gate.inserts.clear()
    return gate
