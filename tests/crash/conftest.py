"""What every test of faults needs: no launcher's variables, and no collector that outlives it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import besieged
from run_programs import no_launcher


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    yield
    besieged.kill_collectors(tmp_path)
