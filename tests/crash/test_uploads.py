"""Collectors and uploaders killed in mid-upload, then `sync`: all is in the store, once and whole, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from urllib.parse import parse_qs, urlparse

import pytest

import object_stores
import steno

KILLS = int(os.environ.get("STENO_UPLOAD_KILLS", "3"))
LARGE = (17 << 20) + 12345
"""Three pieces."""

pytestmark = pytest.mark.timeout(180 + 30 * KILLS)


def _collect(run_dir):
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "steno.collector", str(run_dir), "--once"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _strike(rng, collector, run_dir):
    """kill -9 of the uploader, which its collector starts again, of the collector, or of both at once."""
    victim = rng.choice(["uploader", "collector", "group"])
    if victim == "uploader":
        object_stores.kill(object_stores.uploader_pids(run_dir))
    if victim == "group":
        os.killpg(collector.pid, signal.SIGKILL)
    else:
        time.sleep(rng.random() * 0.3 if victim == "uploader" else 0.0)
        collector.kill()
    collector.wait()


def test_uploads_killed_at_random_end_whole(monkeypatch, tmp_path):
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    print(f"seed {seed}")  # shown when it fails
    with object_stores.moto_server() as port:
        gate = object_stores.Gate(port)
        for name, value in object_stores.environment(gate.url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
        s3 = object_stores.client(port)
        s3.create_bucket(Bucket="besieged")
        gate.delay = 0.03
        run = steno.init("p", "r", dir=tmp_path / "runs", store="s3://besieged/x", collector=False)
        digests = {}
        struck = 0
        for number in range(KILLS):
            for name, size in ((f"large-{number}", LARGE), (f"small-{number}", rng.randrange(50_000))):
                data = rng.randbytes(size)
                path = tmp_path / "source"
                path.write_bytes(data)
                run.log_artifact(path, name)
                digests[name] = hashlib.sha256(data).hexdigest()
            run.log({"number": float(number)}, step=number)
            before, wanted = len(gate.sent()), rng.randrange(1, 7)
            collector = _collect(run.dir)
            deadline = time.monotonic() + 60
            while collector.poll() is None and len(gate.sent()) < before + wanted and time.monotonic() < deadline:
                time.sleep(0.005)
            struck += collector.poll() is None
            _strike(rng, collector, run.dir)
        assert struck >= KILLS / 2
        run.finish()
        report = steno.sync(run.dir, timeout=120)
        assert report.complete, report

        there = object_stores.objects(s3, "besieged")
        for name, digest in digests.items():
            assert hashlib.sha256(there[f"x/p/r/artifacts/{digest[:2]}/{digest}"]).hexdigest() == digest, name
        book = steno.open("s3://besieged/x/p/r")
        assert {one.name: one.digest for one in book.artifacts()} == digests
        assert book.artifact(f"large-{KILLS - 1}").path.stat().st_size == LARGE
        assert book.series("number").value.tolist() == list(map(float, range(KILLS)))
        # Nothing but the run is left: no pieces, no parts that were replaced, no snapshots on this side.
        assert not s3.list_multipart_uploads(Bucket="besieged").get("Uploads")
        listed = {row["name"] for row in json.loads(there["x/p/r/manifest.json"])["parts"]}
        kept = {key.removeprefix("x/p/r/") for key in there}
        assert {key for key in kept if key.startswith(("metrics/", "records/"))} == listed
        assert len([key for key in kept if key.startswith("artifacts/")]) == len(digests)
        staging = run.dir / ".steno" / "staging"
        assert not [path for path in staging.rglob("*") if path.is_file()]
        # A piece that arrived was not sent again: those of four transfers may be cut short by a strike.
        pieces = Counter()
        for _, path, _ in gate.sent(of="partNumber"):
            pieces[urlparse(path).path, parse_qs(urlparse(path).query)["partNumber"][0]] += 1
        assert len(pieces) == 3 * KILLS
        assert pieces.total() - len(pieces) <= 4 * KILLS
        gate.close()
