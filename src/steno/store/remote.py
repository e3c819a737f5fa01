"""A run in an object store, as a directory of this machine that is filled as it is read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shlex
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from steno import confirmed, edits, files, runfile
from steno.artifacts.content import key
from steno.errors import CorruptError, RunNotFoundError, StenoError, UsageError
from steno.ledger import live as live_
from steno.ledger import node_object, store_card, verify
from steno.ledger.bins_name import name_of
from steno.ledger.listed import MANIFEST, unusable
from steno.objects import url as urls
from steno.objects.sending import DifferentError
from steno.objects.store import ObjectStore, aside, sha256_of, sweep
from steno.record import node_name
from steno.secrecy import error_text, scrub
from steno.store.cache import cache_dir
from steno.store.engine import Covered, PartGone
from steno.store.image import WHOLE_BYTES, DiffersError, PartImage
from steno.store.news import LastNews
from steno.store.stretches import Stretches
from steno.store.together import each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from steno.ledger.snapshot import Part
    from steno.record import Ref
    from steno.store.image import Bytes

_FRESH_SECS: Final = 1.0
_QUIET_SECS: Final = 60.0
"""A run that is over, and of which not all ranks have recorded, may have nodes that are not listed yet, so long."""
_EDITS_SECS: Final = 5.0
"""People edit a run after it has ended too."""
_MOST_EDITS: Final = edits.MOST_BYTES // edits.LINE_BYTES
_TRIES: Final = 3
_RUN: Final = "run.json"
_OLD_SECS: Final = 300.0
"""Nobody still reads what was replaced so long ago."""
_SOME: Final = 0.5
"""A part of which more is wanted is fetched whole, for whoever reads the rest of it."""
_STRETCHES: Final = "ranges"
_KEPT: Final = ".kept"
"""Extension of a media value that could not be encoded."""


def copy_dir(url: str, run: str) -> Path:
    """Where the copy of the run at a URL is, by its id."""
    return cache_dir() / "runs" / hashlib.sha256(f"{url}\0{run}".encode(errors="replace")).hexdigest()[:32]


def _has_all_ranks(whole: Mapping[str, Any]) -> bool:
    ranks = {row.get("rank") for row in whole.get("streams") or ()}
    return len(ranks) >= (whole.get("world_size") or 1)


class Remote:
    """One run in a store. Thread-safe; processes may share the cache.

    Of a part the footer and the row groups are fetched that hold what is read, and compared with their checksums; the
    whole part where that is most of it, or for a query in SQL; media and artifacts one by one. What was fetched stays
    in the cache, which may be deleted whenever nobody reads.

    Args:
        url: of the run, as in "s3://bucket/prefix/project/name".

    Raises:
        RunNotFoundError: there is no run.
        UsageError: not a URL to be read, a package that is missing, or a store that refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = urls.check("run", url, writing=False)
        self._lock = threading.Lock()
        self._is_final = False
        self._artifacts: ObjectStore | None = None
        self._fresh_until = 0.0
        self._changed_at = time.monotonic()
        """When a node was heard last."""
        self._nodes: dict[str, tuple[str, dict[str, Any]]] = {}
        """By key, (version, content) of what each node said last."""
        self._spans: list[tuple[int, int, int, int, int]] = []
        """Of files of bins over many parts: node, ids of the first and the last part, bytes, those over ranks."""
        self._without: set[str] = set()
        """Files of bins that the store has not."""
        self._is_near: set[tuple[object, ...]] = set()
        """Parts of which keys and steps were fetched."""
        self._edited: dict[str, bytes] = {}
        self._edits_until = 0.0
        try:
            self.store = ObjectStore(self.url, patient=True)
            about = self._about()
        except (UsageError, RunNotFoundError):
            raise
        except Exception as error:
            raise UsageError(f"{self.url} cannot be read: {error_text(error)}") from None
        # By the run's identity too: one that was replaced by another is that one.
        self._id = str(about.get("id") or "")
        self.dir = copy_dir(self.url, self._id)
        try:
            self.dir.mkdir(parents=True, exist_ok=True)
            sweep(self.dir)
            self._keep(_RUN, about)
        except OSError as error:
            raise UsageError(
                f"copies of {self.url} cannot be kept in {self.dir}: {error.strerror}; set STENO_CACHE_DIR"
            ) from error
        self._news = LastNews(self.dir / "news.json")
        self.refresh()

    def __repr__(self) -> str:
        return f"<Remote {self.url}>"

    def __reduce__(self) -> tuple[type[Remote], tuple[str]]:
        return Remote, (self.url,)

    def _about(self) -> dict[str, Any]:
        try:
            data = self.store.read(_RUN)
        except FileNotFoundError as error:
            raise RunNotFoundError(
                f"no run at {self.url}: a run lies at <store>/<project>/<name>, where its run.json is "
                f"({scrub(str(error))[:200]})"
            ) from None
        found, wrong = runfile.parsed(data, f"{self.url}/{_RUN}")
        if not found and wrong:
            raise RunNotFoundError(f"what lies at {self.url} is no run: its run.json cannot be read")
        return found

    def _keep(self, name: str, value: Mapping[str, Any]) -> None:
        data = json.dumps(value).encode()
        path = self.dir / name
        if not path.exists() or path.read_bytes() != data:
            with aside(path) as hidden:
                hidden.write_bytes(data)

    def refresh(self) -> None:
        """Ask the store what the run has by now; of a run that is over once, of one that goes on once a second.

        How it was edited, every five seconds.
        """
        with self._lock:
            if time.monotonic() >= self._edits_until:
                self._read_edits()
            if self._is_final or time.monotonic() < self._fresh_until:
                return
            whole = self._manifest()
            why = unusable(whole)
            if why:
                raise CorruptError(f"the manifest of {self.url} cannot be used: {why}")
            if whole:
                self._keep(MANIFEST, whole)
            is_over = bool(whole) and whole.get("state") != "running" and not whole.get("silent")
            # A store that lists late may not tell of some nodes yet.
            is_quiet = time.monotonic() > self._changed_at + _QUIET_SECS
            self._is_final = is_over and (is_quiet or _has_all_ranks(whole))
            self._fresh_until = time.monotonic() + _FRESH_SECS

    def _manifest(self) -> dict[str, Any]:
        """What all nodes say together; of a run whose nodes are not there, its manifest."""
        seen = {key: one for key, one in self.store.seen(node_object.FOLDER).items() if node_object.is_name(key)}
        changed = [name for name, one in seen.items() if self._nodes.get(name, ("", {}))[0] != one.version]
        if changed:
            self._changed_at = time.monotonic()
        for name, piece in zip(changed, each(self._node, changed), strict=True):
            why = unusable(piece)
            if why:
                raise CorruptError(f"what a node says in {self.url} cannot be used: {why}")
            if isinstance(piece.get("node"), int):
                self._nodes[name] = (seen[name].version, piece)
        pieces = {key: piece for key, (_, piece) in self._nodes.items() if key in seen}
        self._spans = [span for piece in pieces.values() for span in _spans(piece)]
        if not pieces:
            return self._json(MANIFEST)
        live = {node_name(piece["node"]): name for piece in pieces.values() if (name := self._unsealed(piece))}
        ages = self._news.ages({key: seen[key] for key, piece in pieces.items() if not piece.get("ended")})
        known = {piece["node"]: ages.get(key, 0.0) for key, piece in pieces.items()}
        return {**node_object.united(pieces.values(), known), "live": live}

    def _unsealed(self, piece: Mapping[str, Any]) -> str:
        """The name of the file that has what no part has of a node; "": there is nothing.

        The manifest is replaced after it is there, and names it: whoever reads the copy meanwhile sees one moment.
        """
        text = piece.get("unsealed")
        if not isinstance(text, str) or not text:
            return ""
        name = f"{node_name(piece['node'])}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        folder = self.dir / live_.FOLDER
        if not (folder / name).exists():
            with aside(folder / name) as hidden:
                hidden.write_bytes(text.encode())
            for one in files.scan(folder):
                with contextlib.suppress(OSError):
                    if one.name.startswith(name[:16]) and time.time() - one.stat().st_mtime > _OLD_SECS:
                        files.unlink(one.path)
        return name

    def edit(self, made: Iterable[bytes]) -> None:
        """Write these lines, each as an object of its own.

        Raises:
            StenoError: the store refuses.
        """
        try:
            names = []
            for number, line in enumerate(made, time.time_ns()):
                names.append((f"{number:020d}-{secrets.token_hex(4)}", line))
                self.store.write(f"{edits.FOLDER}/{names[-1][0]}.json", line)
        except Exception as error:
            raise StenoError(f"the edit was not written to {self.url}: {error_text(error)}") from None
        with self._lock:
            self._read_edits()
        self._edit_cards(names)

    def _edit_cards(self, made: Iterable[tuple[str, bytes]]) -> None:
        """Put the edits next to the run's cards too, where lists of the store read them."""
        root, project, _ = self.url.rsplit("/", 2)
        try:
            store = ObjectStore(root, patient=True)
            for name, line in made:
                key = store_card.edit_key(project, self._id, name)
                if key is not None:
                    store.write(key, line)
        except Exception as error:
            raise StenoError(
                f"{self.url} is edited; lists of the store show it after `steno publish {root} --cards`: "
                f"{error_text(error)}"
            ) from None

    def _read_edits(self) -> None:
        """Have the lines of all edits in the file of the copy, in the order of their names, which is that of time."""
        sizes = self.store.listing(edits.FOLDER)
        names = sorted(name for name in sizes if name.endswith(".json") and sizes[name] <= edits.LINE_BYTES)
        names = names[-_MOST_EDITS:]
        missing = [name for name in names if name not in self._edited]
        self._edited.update(zip(missing, each(self._line, missing), strict=True))
        path = self.dir / edits.FILE
        data = b"".join(self._edited[name] for name in names)
        if data != (path.read_bytes() if path.exists() else b""):
            with aside(path) as hidden:
                hidden.write_bytes(data)
        self._edits_until = time.monotonic() + _EDITS_SECS

    def _line(self, name: str) -> bytes:
        try:
            return self.store.read(name).split(b"\n", 1)[0] + b"\n"
        except FileNotFoundError:
            return b"\n"

    def _node(self, key: str) -> dict[str, Any]:
        try:
            return node_object.parsed(self.store.read(key))
        except FileNotFoundError:
            return {}

    def _json(self, key: str) -> dict[str, Any]:
        try:
            found = json.loads(self.store.read(key))
        except (FileNotFoundError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    # -- what is read ------------------------------------------------------------------------------------

    def parts(self, wanted: Iterable[Part]) -> None:
        """Have these parts here, whole and as they were written.

        Raises:
            PartGone: one is no longer there; the manifest has been read anew.
            CorruptError: it is damaged in the store.
        """
        each(self._part, [part for part in wanted if not self._has(part)])

    def near(
        self, wanted: Iterable[Part], keys: Sequence[str], steps: tuple[int | None, int | None] = (None, None)
    ) -> None:
        """Have here what a reader of these keys and steps needs of the parts: footers and row groups, by ranges.

        Raises:
            As `parts`.
        """
        asked = (*keys, None, *steps)
        missing = [part for part in wanted if (part.name, asked) not in self._is_near and not self._has(part)]
        each(lambda part: self._near(part, keys, steps), missing)
        self._is_near.update((part.name, asked) for part in missing)

    def _near(self, part: Part, keys: Sequence[str], steps: tuple[int | None, int | None]) -> None:
        if part.crc and part.bytes > WHOLE_BYTES:
            # What is wrong with it is reported by whoever looks at all of it.
            with (
                contextlib.suppress(DiffersError, CorruptError, FileNotFoundError),
                PartImage(self.dir / part.name, part.crc, source=self._stretches(part)) as image,
            ):
                groups = image.groups_with(keys, steps)
                if image.share(groups) < _SOME:
                    image.load(groups)
                    return
        self._part(part)

    def source(self, part: Part) -> Bytes | None:
        """Where the bytes of a part are; None: in its file, which is here."""
        return None if self._has(part) else self._stretches(part)

    def _stretches(self, part: Part) -> Stretches:
        return Stretches(self.store, part.name, part.bytes, self.dir / _STRETCHES / part.name.replace("/", "-"))

    def overviews(self, wanted: Sequence[Part], *, over_ranks: bool) -> list[Covered]:
        """The files of bins over many of these parts, those over ranks where they may be and are there."""
        from steno.ledger.overview import as_part  # loads numpy, which a list of runs does without

        found: list[Covered] = []
        for node, first, last, size, ranks in self._spans:
            some = [part for part in wanted if part.node == node and first <= part.id <= last]
            if some and (some[0].id, some[-1].id) == (first, last):
                whole = as_part(some, over_ranks=over_ranks and ranks > 0)
                name = name_of(whole.name)
                folder = self.dir / _STRETCHES / name.replace("/", "-")
                source = Stretches(self.store, name, ranks if over_ranks and ranks else size, folder)
                found.append(Covered(whole, some, source, over_ranks and ranks > 0))
        return found

    def bins(self, wanted: Iterable[Part]) -> None:
        """Have the files of bins next to these parts here, of those that have one in the store.

        Whether it is intact and its part's is judged by whoever reads it.
        """
        names = [name_of(part.name) for part in wanted]
        each(self._bins, [name for name in names if name not in self._without and not (self.dir / name).exists()])

    def _bins(self, name: str) -> None:
        try:
            self._fetch(name, lambda _: "")
        except FileNotFoundError:
            self._without.add(name)

    def _has(self, part: Part) -> bool:
        try:
            return (self.dir / part.name).stat().st_size == part.bytes
        except OSError:
            return False

    def _part(self, part: Part) -> None:
        def wrong(path: Path) -> str:
            size = path.stat().st_size
            if size != part.bytes:
                return f"{size} bytes came instead of {part.bytes}"
            return "its checksum is another" if part.crc and verify.differing(path, part.crc) else ""

        try:
            self._fetch(part.name, wrong)
        except FileNotFoundError:
            with self._lock:
                self._is_final, self._fresh_until = False, 0.0
            self.refresh()
            raise PartGone(f"{self.url}/{part.name}") from None

    def media(self, ref: Ref) -> None:
        """Have a media value's file here, if the store has one."""
        if ref.file is None or (self.dir / ref.file).exists():
            return
        for name in (ref.file, os.path.splitext(ref.file)[0] + _KEPT):
            try:
                self._fetch(name, lambda _: "")
                return
            except FileNotFoundError:
                continue

    def content(self, digest: str) -> None:
        """Have an artifact's content here, as its digest says; from the artifacts' own store, where they have one.

        Raises:
            FileNotFoundError: no store of the run has it.
            CorruptError: it is damaged in the store.
        """

        def wrong(path: Path) -> str:
            found = sha256_of(path)
            return "" if found == digest else f"its digest is {found}"

        for store in (self.store, self._elsewhere):
            place = store() if callable(store) else store
            if place is not None:
                with contextlib.suppress(FileNotFoundError):
                    self._fetch(key(digest), wrong, place)
                    return
        msg = f"the content {digest} is not in {self.url}"
        raise FileNotFoundError(msg)

    def _elsewhere(self) -> ObjectStore | None:
        """Where the run's artifacts are, when not here."""
        if self._artifacts is None:
            place = self._json("artifacts-store.json").get("url")
            if isinstance(place, str):
                self._require_confirmed(place)
                self._artifacts = ObjectStore(urls.check("artifacts", place, writing=False), patient=True)
        return self._artifacts

    def _require_confirmed(self, place: str) -> None:
        """A run may come from a stranger, and this user's credentials may open more than his."""
        if not confirmed.covers(self._id, place):
            raise UsageError(
                f"{self.url} itself says that its artifacts are in {place}, and you have not: nothing is asked for "
                f"there. If it is right: steno get {shlex.quote(self.url)} NAME --confirm {shlex.quote(place)}"
            )

    def confirm(self, place: str) -> None:
        """Note that this user has named the store of the run's artifacts.

        Raises:
            UsageError: it cannot be noted.
        """
        wrong = confirmed.note(self._id, place)
        if wrong:
            raise UsageError(f"{place} is not asked for the artifact: your consent cannot be written down: {wrong}")

    def _fetch(self, name: str, wrong: Callable[[Path], str], store: ObjectStore | None = None) -> None:
        for left in reversed(range(_TRIES)):
            try:
                (store or self.store).fetch(name, self.dir / name, wrong)
                return
            except DifferentError as error:
                if not left:
                    raise CorruptError(f"{error}; upload it again with `steno sync` where the run was made") from None


def _spans(piece: Mapping[str, Any]) -> list[tuple[int, int, int, int, int]]:
    """What a node's object says of its files of bins over many parts."""
    rows = piece.get("overviews")
    return [
        (piece["node"], row[0], row[1], row[2], row[3])
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, list) and [type(one) for one in row] == [int] * 4
    ]
