"""A run whose files a stranger has changed, each kind of them in many ways: only our own errors, nothing outside touched.

Eight seconds here; `scripts/torture` takes ten minutes.
`FUZZ_SECS=3600 python -m pytest tests/fuzz`, or `python tests/fuzz/fuzz_run.py --secs 3600`, goes on longer.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

SECS = float(os.environ.get("FUZZ_SECS") or 8.0)
FUZZER = Path(__file__).with_name("fuzz_run.py")
FIRST = 20_000
SEEN = (0, 1, 2, 3, 5, 6, 9, 1017, 916217053)
"""Changed runs that once found something."""


@pytest.mark.timeout(SECS + 400)
def test_a_changed_run_is_harmless(tmp_path):
    # Without FUZZ_SECS always the same, so that what fails is what was changed; with it, others each time.
    seed = random.SystemRandom().randrange(10**9) if "FUZZ_SECS" in os.environ else FIRST
    command = [
        sys.executable,
        str(FUZZER),
        "--secs",
        str(SECS),
        "--first",
        str(seed),
        "--also",
        ",".join(map(str, SEEN)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, f"first seed {seed}\n{done.stdout[-8000:]}{done.stderr[-3000:]}"
    assert int(done.stdout.split()[0]) >= len(SEEN), done.stdout
