"""What every test of faults needs: no launcher's variables, and no collector that outlives it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import besieged
from run_programs import LAUNCHERS


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(LAUNCHERS):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    besieged.kill_collectors(tmp_path)
