"""How much code one posting of 8 records runs through: calls, functions and files of steno, stage by stage.

    python benchmarks/posting.py [--records 8] [--keys 20]

A posting like those before it, whose keys are known: the ledger's transaction, sealing what it has into Parquet with
its bins, and TensorBoard's event file. A call is one of a Python function of steno's own, by `sys.setprofile`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np

import _measure
from steno.destinations.tensorboard.destination import TensorBoard
from steno.journal.decode import KeySet, Slice
from steno.journal.place import LEDGER
from steno.ledger import schema
from steno.ledger.incoming import StreamInfo
from steno.ledger.post import Poster
from steno.ledger.seal import Sealer
from steno.record import RunInfo, node_name

OURS = str(Path(schema.__file__).parents[1])
START_NS = 1_700_000_000_000_000_000


class Count:
    """Calls of steno's functions while it is entered."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str], int] = {}

    def _seen(self, frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS):
            place = (code.co_filename, f"{code.co_qualname}:{code.co_firstlineno}")
            self.calls[place] = self.calls.get(place, 0) + 1

    def __enter__(self) -> Self:
        sys.setprofile(self._seen)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def row(self) -> list[int]:
        """Calls, functions, files."""
        return [sum(self.calls.values()), len(self.calls), len({path for path, _ in self.calls})]


def piece(number: int, records: int, keys: list[str]) -> Slice:
    """The records of one posting."""
    steps = np.arange(number * records, (number + 1) * records)
    mono = 1 + steps * 5_000_000
    return Slice(
        start=4096 + 100 * number, end=4196 + 100 * number, lost_bytes=0, mono=mono, wall=mono + START_NS, seq=steps,
        step=steps, auto=np.zeros(records, bool), set=np.zeros(records, np.int32), sets=[KeySet(tuple(keys))],
        value=np.random.default_rng(number).random(records * len(keys)),
    )  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=8)
    parser.add_argument("--keys", type=int, default=20)
    chosen = parser.parse_args()
    keys = [f"train/metric_{number:03d}" for number in range(chosen.keys)]
    with tempfile.TemporaryDirectory(prefix="steno-posting-") as base:
        run_dir = Path(base) / "bench" / "run"
        place = run_dir / ".steno" / "nodes" / node_name(0)
        place.mkdir(parents=True)
        (run_dir / "run.json").write_text(json.dumps({"name": "run", "project": "bench", "id": "bench"}))
        connection = schema.begin(place / LEDGER, 0)
        lock = threading.RLock()
        poster, sealer = Poster(connection, 0, lock), Sealer(run_dir, connection, lock, 0)
        board = TensorBoard()
        board.open(RunInfo(run_dir, "bench", "run", "bench"))
        stages = {name: Count() for name in ("journal → ledger", "ledger → Parquet and bins", "batch → TensorBoard")}
        for number in range(3):  # what the first ones make is there then
            post, seal, write = stages.values() if number == 2 else (Count(), Count(), Count())
            given = [(StreamInfo("bench-1-0", 0, 1, started=START_NS), piece(number, chosen.records, keys))]
            with post:
                batch = poster.post(given)
            assert batch is not None
            with seal:
                sealer.seal()
            with write:
                board.write(batch)
                board.flush()
        board.close()
        schema.end(connection)
    together = Count()
    for stage in stages.values():
        for where, count in stage.calls.items():
            together.calls[where] = together.calls.get(where, 0) + count
    rows = [[name, *(f"{one:,}" for one in count.row())] for name, count in {**stages, "together": together}.items()]
    _measure.table(f"{chosen.records} records of {chosen.keys} keys", ["stage", "calls", "functions", "files"], rows)


if __name__ == "__main__":
    main()
