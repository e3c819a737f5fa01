"""Which file to read for a part: the part itself, or what is good of a damaged one."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import warnings
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from steno import bounds, files, inside
from steno.errors import CorruptError
from steno.ledger import format1, verify
from steno.ledger.snapshot import Loss
from steno.store.image import DiffersError, PartImage, require_texts
from steno.visible import visible

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow.parquet as pq

    from steno.ledger.snapshot import Part
    from steno.store.image import Bytes

DAMAGED = "damaged part"
"""Kind of the loss that stands for the rows of a damaged part."""
WILD = "*?["
"""What a pattern of DuckDB's gives a meaning; in brackets they stand for themselves."""


@dataclass(slots=True)
class _Seen:
    mark: tuple[int, int, str]
    """Size, mtime in ns and checksum that it was compared by."""
    path: Path | None
    """What is read in place of the part."""
    footer: pq.FileMetaData | None = None
    """None: all of the part is compared."""
    compared: set[int] = field(default_factory=set)
    """Row groups."""
    keys: set[str] = field(default_factory=set)
    """Those whose row groups are all compared."""

    def holds(self, mark: tuple[int, int, str], keys: Collection[str] | None) -> bool:
        """Whether nothing is left to compare for these keys."""
        return self.mark == mark and (self.footer is None or (keys is not None and self.keys.issuperset(keys)))


class IntactParts:
    """Compares what is read of each part with its checksums once, and keeps copies of what is good of damaged ones.

    The copies lie in a temporary directory until this is dropped or the process ends. Thread-safe; a forked
    child makes its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}
        self._place: str | None = None
        self._links: dict[Path, Path] = {}
        """By directory of parts, the link that it is read through."""
        self.losses: dict[str, Loss] = {}
        """By path, what the damaged parts have lost."""

    def path(self, run_dir: Path, part: Part, keys: Collection[str] | None = None) -> Path | None:
        """The file to read; None when nothing of the part is good. Without a checksum it is the part itself.

        Args:
            run_dir: the run's directory.
            part: the part.
            keys: only the row groups that can have these keys are compared, for who reads no other; None: all.

        Raises:
            FileNotFoundError: the part is gone.
        """
        path = self._compared(run_dir, part, keys)
        return None if path is None else self._nameable(path)

    def image(self, run_dir: Path, part: Part, source: Bytes | None = None) -> PartImage | None:
        """What reads a few row groups of the part and compares just them; None: it is to be read as `path` says.

        Args:
            run_dir: the run's directory.
            part: the part.
            source: where its bytes are; None: in its file.

        Raises:
            FileNotFoundError: the part is gone.
        """
        path = run_dir / part.name
        name, crc = str(path), part.crc or ""
        seen = self._seen.get(name)
        if not crc or (seen is not None and seen.path != path):
            return None
        try:
            if seen is None:
                inside.path(run_dir, part.name)
            if source is None:
                stat = os.lstat(path)
                mark = (stat.st_size, stat.st_mtime_ns, crc)
            else:
                mark = (source.size, 0, crc)  # what is in a store never changes
            known = seen if seen is not None and seen.mark == mark else None
            image = PartImage(path, crc, None if known is None else known.footer, source)
        except FileNotFoundError:
            raise
        except (OSError, CorruptError, DiffersError):
            return None
        if known is None or known.footer is None:
            if format1.is_of(image.footer.schema.names):
                image.close()
                return None
            if known is None:
                with self._lock:
                    self._seen[name] = _Seen(mark, path, image.footer)
        return image

    def _compared(self, run_dir: Path, part: Part, keys: Collection[str] | None) -> Path | None:
        path = run_dir / part.name
        stat = os.lstat(path)
        name, crc = str(path), part.crc or ""
        mark = (stat.st_size, stat.st_mtime_ns, crc)
        seen = self._seen.get(name)
        if seen is None or not seen.holds(mark, keys):
            with self._lock:
                seen = self._seen.get(name)  # another thread may have checked it meanwhile
                if seen is None or not seen.holds(mark, keys):
                    same = seen if seen is not None and seen.mark == mark else None
                    some = None if keys is None else self._some(run_dir, path, part, mark, same, keys)
                    seen = some or _Seen(mark, self._check(run_dir, path, part, crc))
                self._seen[name] = seen
        return seen.path

    def _some(
        self,
        run_dir: Path,
        path: Path,
        part: Part,
        mark: tuple[int, int, str],
        seen: _Seen | None,
        keys: Collection[str],
    ) -> _Seen | None:
        """What is compared once the row groups of these keys are too; None: all of it is to be compared."""
        if not part.crc or (seen is not None and seen.footer is None):
            return None
        try:
            if seen is None:
                inside.path(run_dir, part.name)
            with PartImage(path, part.crc, None if seen is None else seen.footer) as image:
                if format1.is_of(image.footer.schema.names):
                    return None
                seen = seen or _Seen(mark, path, image.footer)
                missing = {at for key in keys for at, _ in image.groups_of(key)} - seen.compared
                image.compare(sorted(missing))
        except FileNotFoundError:
            raise
        except (OSError, CorruptError, DiffersError):
            return None
        seen.compared |= missing
        seen.keys.update(keys)
        return seen

    def _check(self, run_dir: Path, path: Path, part: Part, crc: str) -> Path | None:
        copy = path
        try:
            inside.path(run_dir, part.name)
            bad = verify.differing(path, crc) if crc else []
            if not bad:
                with contextlib.suppress(ValueError):  # no Parquet at all: reported by whoever reads it
                    footer = bounds.parquet(path)
                    require_texts(path, footer)
                    if format1.is_of(footer.schema.names):
                        copy = self._copy(path)
                        format1.copy(path, copy)
                self.losses.pop(str(path), None)
                return copy
            copy = self._copy(path)
            damage = verify.salvage(path, bad, copy)
        except FileNotFoundError:
            raise
        except (OSError, CorruptError) as error:
            damage = verify.Damage(None, part.bytes, 0, f"it cannot be read: {error}")
        rows = part.rows if damage.rows is None else damage.rows
        self.losses[str(path)] = Loss(part.node, DAMAGED, part.name, rows, str(damage), damage.bytes)
        said = "damaged" if damage.kept else "damaged and left out"
        warnings.warn(visible(f"the part {path} is {said}: {damage}"), RuntimeWarning, stacklevel=7)
        return copy if damage.kept else None

    def _copy(self, path: Path) -> Path:
        return Path(self._copies()) / f"{len(os.listdir(self._copies())):06d}-{path.name}"

    def _nameable(self, path: Path) -> Path:
        """The file itself, or through a link where DuckDB has no words for it: a backslash next to a wildcard.

        In a pattern a backslash parts directories, and cannot stand for itself.
        """
        text = str(path)
        if "\\" not in text or not any(sign in text for sign in WILD):
            return path
        with self._lock:
            place = path.parent.absolute()
            link = self._links.get(place)
            if link is None:
                link = self._links[place] = Path(self._copies()) / f"dir-{len(self._links)}"
                link.symlink_to(place, target_is_directory=True)
        return link / path.name

    def _copies(self) -> str:
        if self._place is None:
            self._place = tempfile.mkdtemp(prefix="steno-salvaged-")
            weakref.finalize(self, _remove, self._place, os.getpid())
        return self._place


def _remove(place: str, pid: int) -> None:
    if os.getpid() == pid:  # a forked child inherits the finalizer, not the copies
        files.remove_tree(place)
