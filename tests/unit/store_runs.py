"""A run written through the real ledger, without journals, for the tests of the store."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np

from nodes import node_dir
from steno.journal.decode import KeySet, RawEntry, Slice
from steno.journal.place import LEDGER
from steno.ledger import schema
from steno.ledger.incoming import StreamInfo
from steno.ledger.post import Poster
from steno.ledger.seal import Sealer
from steno.record import Ref

START_NS = 1_700_000_000_000_000_000


class Writer:
    """One node's poster and sealer; `log` is one posting."""

    def __init__(self, run_dir: Path, *, node: int = 0, name: str | None = None, **run) -> None:
        self.run_dir, self.node = Path(run_dir), node
        place = node_dir(self.run_dir, node)
        place.mkdir(parents=True, exist_ok=True)
        if not (self.run_dir / "run.json").exists():
            identity = {"name": name or self.run_dir.name, "project": "tests", "id": "R1", **run}
            (self.run_dir / "run.json").write_text(json.dumps(identity))
        self.ledger = place / LEDGER
        self.connection = schema.begin(self.ledger, node)
        self.lock = threading.RLock()
        self.poster = Poster(self.connection, node, self.lock)
        self.sealer = Sealer(self.run_dir, self.connection, self.lock, node)
        self.ends: dict[str, int] = {}
        self.mono = 0

    def log(self, *records, rank=0, attempt=1, entries=(), stream=None) -> None:
        """Post (step or None, {key: value}) records and (kind, payload) entries as one batch."""
        stream = stream or f"host-{self.node}-{rank}-{attempt}"
        info = StreamInfo(stream, 0, 1, "host", "", rank, attempt, True, START_NS)
        self.poster.post([(info, self._slice(records, entries, stream))])

    def _slice(self, records, entries, stream) -> Slice:
        sets: dict[tuple, int] = {}
        chosen, value, special = [], [], {}
        for _, row in records:
            chosen.append(sets.setdefault(tuple(row), len(sets)))
            for item in row.values():
                if isinstance(item, str | Ref) or isinstance(item, int) and abs(item) > 2**53:
                    special[len(value)] = item
                value.append(float("nan") if isinstance(item, str | Ref) else float(item))
        mono = self.mono + 1 + np.arange(len(records) + len(entries), dtype=np.int64) * 1_000_003
        self.mono = int(mono[-1])
        start = self.ends.get(stream, 4096)
        self.ends[stream] = end = start + 100
        n = len(records)
        return Slice(
            start=start,
            end=end,
            lost_bytes=0,
            mono=mono[:n],
            wall=mono[:n] + START_NS,
            seq=mono[:n],
            step=np.array([step or 0 for step, _ in records], np.int64),
            auto=np.array([step is None for step, _ in records], bool),
            set=np.array(chosen, np.int32),
            sets=[KeySet(keys) for keys in sets],
            value=np.array(value, np.float64),
            special=special,
            entries=[
                RawEntry(int(at), int(at) + START_NS, int(at), kind, payload, None)
                for at, (kind, payload) in zip(mono[n:], entries, strict=True)
            ],
        )

    def attempt(self, number: int, rewind: int | None = None) -> None:
        """Write down that an attempt began."""
        place = self.run_dir / ".steno" / "attempts"
        place.mkdir(parents=True, exist_ok=True)
        facts = {"attempt": number, "token": f"t{number}", "started": START_NS, "rewind": rewind}
        (place / f"{number:04d}.json").write_text(json.dumps(facts))

    def seal(self) -> None:
        """All there is into parts."""
        while self.sealer.seal():
            pass

    def finish(self) -> None:
        """Seal, merge, and close the ledger."""
        self.sealer.finish()
        self.close()

    def close(self) -> None:
        """Let go of the ledger as a collector does that leaves."""
        schema.end(self.connection)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_) -> None:
        self.connection.close()


def listing(run_dir: Path) -> dict[str, int]:
    """Every file below a directory and its size, to show that reading left nothing behind."""
    return {
        str(path.relative_to(run_dir)): path.stat().st_size for path in sorted(run_dir.rglob("*")) if path.is_file()
    }
