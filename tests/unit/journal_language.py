"""A small language for journal tests: write records, tear bytes, read back."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

from steno.capture.snapshot import Snapshot
from steno.journal import format as fmt
from steno.journal.appender import Appender
from steno.journal.segment import Segment
from steno.journal.tailer import Tailer


class Book:
    """One process's journal in a directory, with its segments at hand."""

    def __init__(self, directory: Path, size: int = 1 << 20, nonce: int = 0x1234567) -> None:
        self.directory = directory
        self.size = size
        self.nonce = nonce
        self.numbers = itertools.count()
        self.segments: list[Segment] = []
        self.reports: list[tuple[str, str]] = []
        self.full = False
        snapshot = Snapshot(lambda key, message: self.reports.append((key, message)))

        def prepare(data, step, level, arrays):
            number, prepared = snapshot.step(step), snapshot.prepare(data)
            return None if prepared is None else (prepared[0], number, prepared[1])

        self.appender = Appender(
            next_segment=self._next,
            rolled=lambda left, taken: None,
            side=self._side,
            prepare=prepare,
            options=snapshot.options,
            fetch=lambda seq, pending, arrays: None,
            convert=snapshot.convert,
            failed=lambda error: self.reports.append(("journal", str(error))),
            closed=lambda: self.reports.append(("finish", "closed")),
        )
        self.log = self.appender.log

    def _next(self, _: int) -> Segment:
        if self.full:
            raise OSError(28, "No space left on device")
        number = next(self.numbers)
        identity = fmt.SegmentIdentity(
            nonce=self.nonce + number,
            size=self.size,
            number=number,
            stream="s",
            mono=time.monotonic_ns(),
            wall=time.time_ns(),
            pid=os.getpid(),
        )
        segment = Segment(self.directory / f"{number:06d}.seg", identity)
        self.segments.append(segment)
        return segment

    def _side(self, body: bytes) -> str:
        name = f"side-{len(list(self.directory.iterdir()))}"
        (self.directory / name).write_bytes(body)
        return name

    def all_segments(self) -> list[int]:
        """Numbers of the segments on disk, in order."""
        return sorted(int(path.stem) for path in self.directory.glob("[0-9]*.seg"))

    def bytes_of(self, number: int = 0) -> bytearray:
        """A copy of a segment's file."""
        return bytearray((self.directory / f"{number:06d}.seg").read_bytes())

    def frames(self, number: int = 0) -> list[tuple[int, int]]:
        """(start, end) of every frame, header included."""
        raw = self.bytes_of(number)
        at, out = fmt.HEADER_BYTES, []
        while at + 8 <= len(raw) and (length := int.from_bytes(raw[at : at + 4], "little")):
            out.append((at, at + 8 + length))
            at += 8 + length
        return out

    def close(self) -> None:
        self.appender.close()
        for segment in self.segments:
            segment.close()


class Reading:
    """Everything a tailer found in one file."""

    def __init__(self, path: Path, *, live: bool = False, limit_bytes: int = 8 << 20) -> None:
        self.records: list[tuple[int | None, dict]] = []
        self.entries: list = []
        self.fills: list = []
        self.refused: dict[str, str] = {}
        self.seqs: list[int] = []
        self.lost = 0
        tailer = Tailer(path)
        try:
            while (part := tailer.read(limit_bytes, live=live)) is not None:
                self.add(part)
            self.drained = tailer.drained
        finally:
            tailer.close()

    def add(self, part) -> None:
        self.lost += part.lost_bytes
        self.entries += part.entries
        self.fills += part.fills
        self.refused |= part.refused
        at = 0
        for row in range(len(part.mono)):
            keys = part.sets[part.set[row]].keys
            values = {
                key: part.special.get(at + place, float(part.value[at + place])) for place, key in enumerate(keys)
            }
            at += len(keys)
            self.records.append((None if part.auto[row] else int(part.step[row]), values))
            self.seqs.append(int(part.seq[row]))
        assert at == len(part.value)
