"""Media values of a run, read back."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from steno import inside
from steno.errors import UsageError
from steno.media import files
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np

    from steno.store.series import Series


@dataclass(frozen=True, slots=True, eq=False)
class MediaItem:
    """One media value: where it stands in the run, what is known of it, and its file.

    A plain value; `value` reads the file each time.
    """

    key: str
    step: int
    time: np.datetime64
    rank: int
    attempt: int
    record: int
    node: int
    ref: Ref
    run_dir: Path
    fetch: Callable[[Ref], None] | None = field(default=None, repr=False, compare=False)
    """Brings the file here, where the run lies in an object store."""

    def __repr__(self) -> str:
        return f"<{self.kind} {self.key!r} at step {self.step}>"

    @property
    def kind(self) -> str:
        """image, mask, figure, audio, video, histogram, text, html, table or mesh."""
        return self.ref.kind

    @property
    def meta(self) -> Mapping[str, Any]:
        """What was said with it: shape, rate, boxes, ..."""
        return self.ref.meta

    @property
    def caption(self) -> str | None:
        """The caption, if it has one."""
        return self.ref.meta.get("caption")

    @property
    def path(self) -> Path | None:
        """Its encoded file; None when it has none, or none yet."""
        self._bring()
        return files.encoded(self.run_dir, self.ref)

    @property
    def value(self) -> Any:
        """The value, decoded; before it is encoded, from what was captured.

        image, mask, plotted figure: uint8 (H, W, C) · plotly figure: plain data · audio: float32 (frames, channels)
        in [-1, 1] · video: uint8 (T, H, W, C) · histogram: {"counts", "edges", "outside", "min", "max", "sum",
        "sum_squares"} · text, html: str · table: `pyarrow.Table` · mesh: {"vertices", "colors", "faces"}.

        Raises:
            UsageError: a package of `stenolog[media]` is missing, or the value was lost with its journal.
            FileNotFoundError: its file is gone.
            CorruptError: its file is damaged, or would unfold into more than 2 GiB.
        """
        self._bring()
        return files.value(self.run_dir, self.ref)

    def _bring(self) -> None:
        if self.fetch is not None:
            self.fetch(self.ref)

    @property
    def attached(self) -> dict[str, MediaItem]:
        """What belongs to it and has a file of its own: an image's masks, by name."""
        from dataclasses import replace

        found = self.ref.meta.get("attached") or {}
        return {name: replace(self, ref=Ref(one["digest"], one["kind"], one["meta"])) for name, one in found.items()}


def items(run_dir: Path, series: Series, fetch: Callable[[Ref], None] | None = None) -> Iterator[MediaItem]:
    """The media values among a key's points."""
    for row, found in sorted(series.special.items()):
        if isinstance(found, Ref):
            yield MediaItem(
                series.key,
                int(series.step[row]),
                series.time[row],
                int(series.rank[row]),
                int(series.attempt[row]),
                int(series.record[row]),
                int(series.node[row]),
                found,
                run_dir,
                fetch,
            )


def standing(run_dir: Path, ref: Ref) -> tuple[str, int | None]:
    """(how its file stands, bytes of it): "ready", "inline" (it needs no file), "waiting" (its encoder has not made it
    yet), "kept" (it could not be encoded), "lost", "gone".

    Raises:
        CorruptError: the reference leads out of the run.
    """
    if not ref.digest:
        return ("lost" if "lost" in ref.meta else "inline"), None
    for ext, name in ((None, "ready"), (files.WAITING, "waiting"), (files.KEPT, "kept"), (None, "ready")):
        place = files.found(run_dir, ref) if ext is None else files.place(run_dir, ref.digest, ext)
        try:
            return name, os.lstat(place).st_size
        except OSError:
            continue  # an encoder may rename the file between two looks, so the first is looked at again
    return "gone", None


def value_of(run_dir: Path, ref: Ref) -> Any:
    """The value of a reference, decoded. Raises as `MediaItem.value`."""
    return files.value(run_dir, ref)


def ref_of(file: str, kind: str) -> Ref:
    """The reference to a media file of a run: `file` is what `Ref.file` says.

    Raises:
        UsageError: it is no such place.
        CorruptError: it would lead out of a run.
    """
    digest, _, ext = inside.relative(file).rpartition("/")[2].partition(".")
    ref = Ref(digest, kind, {"ext": ext})
    if ref.file != file:
        raise UsageError(f"{file!r} is no media file of a run: api/media-index has them")
    return ref


def keys_of(key: str, known: Iterable[str]) -> list[str]:
    """The key itself, or the keys that a list logged under it has become."""
    names = list(known)
    if key in names:
        return [key]
    found = [name for name in names if name.startswith(f"{key}/") and inside.number(name[len(key) + 1 :]) is not None]
    return found or [key]


def order(item: MediaItem) -> tuple[Any, ...]:
    """By step, attempt, rank, node and record; within a record by place in the list."""
    place = item.key.rpartition("/")[2]
    return item.step, item.attempt, item.rank, item.node, item.record, inside.number(place) or 0, item.key
