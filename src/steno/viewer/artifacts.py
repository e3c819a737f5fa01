"""`api/artifacts`: the files and directories kept with a run, their versions, and what is in a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool

from steno.errors import CorruptError
from steno.viewer import answers, asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from steno.store.artifacts import Artifact
    from steno.viewer.catalogue import Catalogue

_MOST: Final = 10_000


class ArtifactLists:
    """The lists of artifacts."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def artifacts(self, request: Request) -> Response:
        """`api/artifacts`."""
        given = asked.of_query(request)
        return answers.data(await run_in_threadpool(self._answer, given))

    def _answer(self, given: Mapping[str, Any]) -> dict[str, Any]:
        reader = self._catalogue.reader(asked.run(given))
        name, digest = asked.text(given, "name"), asked.text(given, "digest")
        offset = asked.whole(given, "offset", 0, 0, 2**53)
        limit = asked.whole(given, "limit", 1000, 0, _MOST)
        if name is not None or digest is not None:
            found = reader.artifact(name, digest=digest)
            if digest is not None:
                return _files(found, offset, limit)
            versions = found.versions
            return {
                "name": found.name,
                "versions": [_facts(one) for one in versions[::-1][offset : offset + limit]],
                "total": len(versions),
            }
        match = (asked.text(given, "match") or "").casefold()
        listed = [one for one in reader.artifacts() if match in f"{one.name} {' '.join(one.aliases)}".casefold()]
        rows = [{**_facts(one), "versions": len(one.versions)} for one in listed[offset : offset + limit]]
        return {"artifacts": rows, "total": len(listed)}


def _files(found: Artifact, offset: int, limit: int) -> dict[str, Any]:
    try:
        listed = found.listing()
    except FileNotFoundError as error:
        raise CorruptError(str(error)) from error
    rows = [{"path": path, "size": size, "digest": digest} for path, size, digest in listed[offset : offset + limit]]
    return {**_facts(found), "files": rows, "total": len(listed)}


def _facts(one: Artifact) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "digest": one.digest,
        "size": one.size,
        "step": one.step,
        "time": answers.moment(one.time),
        "rank": one.rank,
        "attempt": one.attempt,
        "level": one.level,
        "source": one.source,
        "metadata": one.metadata,
        "aliases": list(one.aliases),
    }
