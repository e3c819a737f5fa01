"""The artifacts of a run as its reader sees them: names followed, versions kept, content where it lies."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from steno.artifacts import content
from steno.errors import CorruptError, UsageError
from steno.ledger.artifacts import is_valid
from steno.record import ARTIFACT
from steno.store import download as download_

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from steno.record import Entry

_LEAST_DIGITS: Final = 6
Fetch = Callable[[str], None] | None


@dataclass(frozen=True, slots=True)
class Artifact:
    """One version of a file or directory kept with a run.

    Content never changes, so an artifact may be kept and used from any thread or process.
    """

    name: str
    """The name that it was given; never an alias."""
    kind: str
    """"file" or "dir"."""
    size: int
    """Bytes of the content; of a directory, of all its files."""
    digest: str | None
    """SHA-256 of the content, 64 hexadecimal digits; of a directory, of its manifest. None: not stored yet."""
    step: int | None
    time: int
    """Of the call, nanoseconds since 1970, UTC."""
    rank: int
    attempt: int
    record: int
    """The number of its entry, in its node."""
    node: int
    """The id of the node that numbered it."""
    level: int | None
    source: str
    """The own name of the file or directory that was logged."""
    mode: int
    """Permission bits of the file."""
    metadata: Mapping[str, Any]
    aliases: tuple[str, ...] = ()
    """The aliases that stand for it now."""
    _run_dir: Path = field(repr=False, kw_only=True)
    _payload: Mapping[str, Any] = field(repr=False, kw_only=True)
    _versions: Sequence[Artifact] = field(repr=False, kw_only=True, compare=False)
    _fetch: Fetch = field(repr=False, kw_only=True, compare=False)

    @property
    def versions(self) -> list[Artifact]:
        """All versions of its name, the oldest first, those that rewinds hide included."""
        return list(self._versions)

    @property
    def path(self) -> Path:
        """The file with the content of a file; to be read, not written.

        Raises:
            UsageError: it is a directory.
            FileNotFoundError: the content is not in this copy of the run.
        """
        if self.kind == "dir":
            msg = f"{self.name!r} is a directory: use .files, or .download(to)"
            raise UsageError(msg)
        return self._found()

    @property
    def files(self) -> dict[str, Path]:
        """The files of a directory by relative name, with the path of each one's content. Of a file, that file.

        Raises:
            FileNotFoundError: the content is not in this copy of the run.
            CorruptError: the directory's manifest is damaged.
        """
        if self.kind == "file":
            return {self.source: self._found()}
        path, manifest = self._manifest()
        return {one.name: self._member(path, one) for one in manifest.files}

    def listing(self) -> list[tuple[str, int, str | None]]:
        """List the files of a directory by its manifest alone; of a file, that file.

        Returns:
            (relative name, bytes, digest) of each; the digest is hexadecimal SHA-256, or None where there
            is none.

        Raises:
            FileNotFoundError: the manifest is not in this copy of the run.
            CorruptError: it is damaged.
        """
        if self.kind == "file":
            return [(self.source, self.size, self.digest)]
        _, manifest = self._manifest()
        return [(one.name, one.size, one.content if content.is_digest(one.content) else None) for one in manifest.files]

    def download(self, to: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a copy to `to`, a file or a directory: whole or not at all, its digest verified.

        Args:
            to: the path of the copy; directories above it are made.
            overwrite: whether what is there is replaced.

        Returns:
            The path of the copy.

        Raises:
            UsageError: something is there, and `overwrite` is not given; or it cannot be written.
            FileNotFoundError: the content is not in this copy of the run.
            CorruptError: the content is damaged.
        """
        if self.kind == "file":
            return download_.file(self._found(), to, digest=self.digest, mode=self.mode, overwrite=overwrite)
        path, manifest = self._manifest()
        whole = [(one, self._member(path, one)) for one in manifest.files]
        verified = path.name != content.MANIFEST
        return download_.tree(manifest, whole, to, verified=verified, overwrite=overwrite)

    def _found(self) -> Path:
        found = content.find(self._run_dir, self._payload, self.digest)
        if found is None and self.digest is not None and self._fetch is not None:
            found = self._fetched(self.digest)
        if found is None:
            msg = f"the content of {self.name!r} is not in {self._run_dir}"
            raise FileNotFoundError(msg)
        return found

    def _manifest(self) -> tuple[Path, content.Manifest]:
        # A snapshot's manifest goes once the content has its place: then there is that.
        for last in (False, True):
            path = self._found()
            try:
                return path, content.Manifest.read(path)
            except FileNotFoundError:
                if last:
                    raise
            except ValueError as error:
                raise CorruptError(str(error)) from error
        raise AssertionError

    def _member(self, manifest: Path, one: content.DirectoryFile) -> Path:
        if manifest.name == content.MANIFEST:
            return manifest.parent / one.content
        return self._fetched(one.content)

    def _fetched(self, digest: str) -> Path:
        """The content's place, brought there from where the run lies if need be."""
        path = content.place(self._run_dir, digest)
        if self._fetch is not None and not path.exists():
            self._fetch(digest)
        return path


@dataclass(frozen=True, slots=True)
class ArtifactIndex:
    """All artifacts of a run at one moment."""

    by_name: Mapping[str, Sequence[Artifact]]
    """Versions of each name in order."""
    current: Mapping[str, Artifact | str]
    """What each name means now: a version, or the name that an alias stands for."""

    def find(self, name: str) -> Artifact | None:
        """The artifact that a name means, aliases followed; None: none."""
        seen = set()
        found: Artifact | str | None = self.current.get(name)
        while isinstance(found, str) and found not in seen:
            seen.add(found)
            found = self.current.get(found)
        return found if isinstance(found, Artifact) else None

    def of_digest(self, digest: str, name: str | None = None) -> list[Artifact]:
        """The artifacts whose digest begins so, one for each content; with a name, of its versions or its target's."""
        meant = None if name is None else self.find(name)
        names = self.by_name if name is None else {name} if meant is None else {name, meant.name}
        all_ = (one for own in names for one in self.by_name.get(own, ()))
        return list({one.digest: one for one in all_ if (one.digest or "").startswith(digest)}.values())


def index_artifacts(
    run_dir: Path, entries: Iterable[Entry], rewinds: Sequence[tuple[int, int]], fetch: Fetch = None
) -> ArtifactIndex:
    """Put the entries of kind "artifact" together.

    Args:
        run_dir: the run's directory.
        entries: of all nodes.
        rewinds: (attempt, the step it begins at): what earlier attempts gave later steps is a version, no meaning.
        fetch: brings the content of a digest to its place in `run_dir`, for a run that lies elsewhere; raises
            FileNotFoundError or CorruptError.
    """
    posted: list[Entry] = []
    came: dict[str, Mapping[str, Any]] = {}
    for one in entries:
        if one.kind == ARTIFACT and is_valid(one.payload):
            if one.payload.get("op") in {"file", "dir", "link"}:
                posted.append(one)
            else:
                came[one.payload["id"]] = one.payload
    # A ledger's numbers order what is in it; between machines there is only the clock.
    if len({one.node for one in posted}) > 1:
        posted.sort(key=lambda one: (one.time, one.node, one.record))
    current: dict[str, int | str] = {}
    made: list[tuple[Entry, Mapping[str, Any] | None]] = []
    for one in posted:
        payload, outcome = one.payload, came.get(one.payload["id"])
        name, is_link = str(payload["name"]), payload["op"] == "link"
        if (outcome is not None and outcome["op"] == "failed") or (is_link and outcome is None):
            continue
        hidden = one.step is not None and any(later > one.attempt and one.step >= start for later, start in rewinds)
        if outcome is None and not payload.get("overwrite") and name in current:
            continue  # about to be refused
        if not hidden:
            current[name] = str(payload["target"]) if is_link else len(made)
        if not is_link:
            made.append((one, outcome))
    aliases: dict[int, list[str]] = {}
    for name, meaning in current.items():
        number = _follow(current, name)
        if number is not None and isinstance(meaning, str):
            aliases.setdefault(number, []).append(name)
    by_name: dict[str, list[Artifact]] = {}
    versions: list[Artifact] = []
    for number, (one, outcome) in enumerate(made):
        of_name = by_name.setdefault(str(one.payload["name"]), [])
        own = tuple(sorted(aliases.get(number, ())))
        versions.append(_artifact(run_dir, one, outcome, own, versions=of_name, fetch=fetch))
        of_name.append(versions[-1])
    return ArtifactIndex(
        by_name, {name: one if isinstance(one, str) else versions[one] for name, one in current.items()}
    )


def _follow(current: Mapping[str, int | str], name: str) -> int | None:
    seen = {name}
    found = current[name]
    while isinstance(found, str):
        if found in seen or found not in current:
            return None
        seen.add(found)
        found = current[found]
    return found


def _artifact(
    run_dir: Path,
    one: Entry,
    outcome: Mapping[str, Any] | None,
    aliases: tuple[str, ...],
    *,
    versions: Sequence[Artifact],
    fetch: Fetch,
) -> Artifact:
    payload, facts = one.payload, outcome or {}
    return Artifact(
        name=str(payload["name"]),
        kind=str(payload["op"]),
        size=int(facts.get("size", payload.get("size", 0))),
        digest=facts.get("digest"),
        step=one.step,
        time=one.time,
        rank=one.rank,
        attempt=one.attempt,
        record=one.record,
        node=one.node,
        level=payload.get("level"),
        source=str(payload.get("source", "")),
        mode=int(payload.get("mode", 0o644)),
        metadata=payload.get("metadata") or {},
        aliases=aliases,
        _run_dir=run_dir,
        _payload=payload,
        _versions=versions,
        _fetch=fetch,
    )


def chosen(index: ArtifactIndex, run: str, name: str | None, digest: str | None) -> Artifact:
    """The artifact of a name, of a digest, or of both.

    Args:
        index: what there is.
        run: what the run is called in a message.
        name: or an alias.
        digest: its first 6 digits, or more.

    Raises:
        UsageError: there is none, or the digits fit several.
    """
    if digest is None:
        if name is None:
            msg = "name an artifact, or give its digest"
            raise UsageError(msg)
        return _named(index, run, name)
    if len(digest) < _LEAST_DIGITS:
        msg = f"the digest {digest!r} is too short: give {_LEAST_DIGITS} digits or more"
        raise UsageError(msg)
    found = index.of_digest(digest.lower(), name)
    if len(found) == 1:
        return found[0]
    what = f"the run {run} has {'no' if not found else 'more than one'} artifact whose digest begins with {digest!r}"
    raise UsageError(what if name is None else f"{what} among the versions of {name!r}")


def _named(index: ArtifactIndex, run: str, name: str) -> Artifact:
    found = index.find(name)
    if found is not None:
        return found
    known = sorted(index.current)
    if name in index.current:
        msg = f"the run {run} has the alias {name!r}, but what it stands for ({index.current[name]!r}) is not there"
    elif known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        few = ", ".join(known[:5]) + (" …" if len(known) > 5 else "")
        hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"it has {few}"
        msg = f"the run {run} has no artifact {name!r}: {hint}"
    else:
        msg = f"the run {run} has no artifact {name!r}; it has none at all"
    raise UsageError(msg)
