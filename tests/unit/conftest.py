"""What unit tests share: an empty directory without a collector, and what posts into a ledger in memory."""

from __future__ import annotations

import sqlite3

import pytest
import run_programs

import steno
from steno.ledger import schema
from steno.ledger.post import Poster


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """Runs of no launcher, recorded below an empty directory, which nobody collects; the current one ends."""
    run_programs.no_launcher(monkeypatch)
    monkeypatch.setenv("STENO_COLLECTOR", "off")
    monkeypatch.chdir(tmp_path)
    yield
    if steno.current() is not None:
        steno.current().finish(0)


@pytest.fixture
def poster():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(schema.TABLES)
    yield Poster(connection, 0)
    connection.close()
