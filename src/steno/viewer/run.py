"""`api/keys`: which keys runs have."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from steno.record import Ref
from steno.store.listing import RunSelection
from steno.viewer import answers, asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from steno.viewer.catalogue import Catalogue


class OneRun:
    """The resources of a run."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def keys(self, request: Request) -> Response:
        """`api/keys`."""
        given = asked.of_query(request, "runs") if request.method == "GET" else await asked.body(request)
        return answers.data(await run_in_threadpool(self.keys_of, given))

    def keys_of(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What `api/keys` answers."""
        ids, where = asked.texts(given, "runs"), asked.text(given, "where")
        listed = {
            self._catalogue.id_of(one.path): one for one in RunSelection(where, None).of(self._catalogue.listed())
        }
        if ids is None:
            archived = asked.yes(given, "archived")
            ids = [run for run, one in listed.items() if archived or not one.archived]
        runs: Counter[str] = Counter()
        points: Counter[str] = Counter()
        kinds: dict[str, str] = {}
        problems = []
        for run in ids:
            try:
                if run not in listed:
                    self._catalogue.source(run)
                    continue  # it is there, and `where` does not choose it
                found = dict(listed[run].metrics)
            except Exception as error:  # one damaged run costs its own keys alone
                problems.append({"run": run, **answers.said(error)})
                continue
            for key, one in found.items():
                runs[key] += 1
                points[key] += int(one.get("count") or 0)
                kinds.setdefault(key, _kind(one.get("last")))
        keys = sorted(runs)
        return {
            "keys": keys,
            "sections": [key.partition("/")[0] if "/" in key else "" for key in keys],
            "kinds": [kinds[key] for key in keys],
            "runs": [runs[key] for key in keys],
            "points": [points[key] for key in keys],
            "problems": problems,
        }


def _kind(last: Any) -> str:
    if isinstance(last, Ref):
        return last.kind
    return "text" if isinstance(last, str) else "number"
