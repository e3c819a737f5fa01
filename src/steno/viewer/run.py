"""`api/keys`: which keys runs have."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool

from steno.store import stamps
from steno.store.bins.kept import WeightedCache
from steno.store.card_metrics import OfCard, RunKeys, keys_of
from steno.store.listing import RunSelection
from steno.viewer import answers, asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from steno.store.run_summary import RunSummary
    from steno.viewer.catalogue import Catalogue

_BYTES_KEPT: Final = 32 << 20


class OneRun:
    """The resources of a run."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._kept = WeightedCache[RunKeys](_BYTES_KEPT)
        self._alike = WeightedCache[tuple[str, ...]](_BYTES_KEPT)

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
        alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[RunKeys]] = {}
        problems = []
        for run in ids:
            try:
                if run not in listed:
                    self._catalogue.source(run)
                    continue  # it is there, and `where` does not choose it
                found = self._keys(listed[run])
            except Exception as error:  # one damaged run costs its own keys alone
                problems.append({"run": run, **answers.said(error)})
                continue
            alike.setdefault((found.names, found.kinds), []).append(found)
        runs: Counter[str] = Counter()
        points: Counter[str] = Counter()
        kinds: dict[str, str] = {}
        for (names, said), some in alike.items():
            totals = map(sum, zip(*(one.counts for one in some), strict=True))
            for key, kind, count in zip(names, said, totals, strict=True):
                runs[key] += len(some)
                points[key] += count
                kinds.setdefault(key, kind)
        keys = sorted(runs)
        return {
            "keys": keys,
            "sections": [key.partition("/")[0] if "/" in key else "" for key in keys],
            "kinds": [kinds[key] for key in keys],
            "runs": [runs[key] for key in keys],
            "points": [points[key] for key in keys],
            "problems": problems,
        }

    def _keys(self, run: RunSummary) -> RunKeys:
        """The run's keys, kept of one that has ended for as long as it stays as it is."""
        marks = None if run.url or run.ended is None else stamps.of_ended(run.path)
        found = None if marks is None else self._kept.get((run.path, marks))
        if found is None:
            metrics = run.metrics
            found = self._shared(keys_of(metrics))
            if marks is not None and isinstance(metrics, OfCard):
                self._kept.put((run.path, marks), found, found.counts.itemsize * len(found.counts) + 1000)
        return found

    def _shared(self, found: RunKeys) -> RunKeys:
        """The same with the texts that another run has already: most runs have the same keys."""
        shared = []
        for texts in (found.names, found.kinds):
            one = self._alike.get(texts)
            if one is None:
                one = texts
                self._alike.put(texts, texts, sum(map(len, texts)) + 60 * len(texts))
            shared.append(one)
        return RunKeys(shared[0], shared[1], found.counts)
