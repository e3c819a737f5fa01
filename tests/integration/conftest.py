"""What integration tests share: machinery that is kept to be looked into, an S3 server and a ClickHouse, each behind a gate."""

from __future__ import annotations

import pytest

import clickhouse_front
import object_stores


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
    found = object_stores.Gate(server)
    for name, value in object_stores.environment(found.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    yield found
    found.close()


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory):
    """(a ClickHouse, its gate)"""
    with clickhouse_front.front(tmp_path_factory.mktemp("clickhouse")) as found:
        yield found


@pytest.fixture
def clickhouse_gate(clickhouse):
    """The gate of a ClickHouse, as it is before anything goes wrong."""
    gate = clickhouse[1]
    gate.cut = gate.deaf = 0
    gate.delay, gate.times, gate.away = 0.0, 1, False
    gate.inserts.clear()
    return gate
