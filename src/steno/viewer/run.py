"""`api/keys` and `api/records`: what one run holds, beside its curves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool

from steno.record import Ref
from steno.store.listing import Asked
from steno.viewer import answers, asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from steno.record import Entry
    from steno.store.series import Series
    from steno.viewer.catalogue import Catalogue

_MOST_RECORDS: Final = 10_000


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
        listed = {self._catalogue.id_of(one.path): one for one in Asked(where, None).of(self._catalogue.listed())}
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
                    self._catalogue.path(run)
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

    async def records(self, request: Request) -> Response:
        """`api/records`."""
        given = asked.of_query(request)
        return answers.data(await run_in_threadpool(self._records, given))

    def _records(self, given: Mapping[str, Any]) -> dict[str, Any]:
        reader = self._catalogue.reader(asked.run(given))
        limit = asked.whole(given, "limit", 1000, 1, _MOST_RECORDS)
        after = asked.whole(given, "after", 0, 0, 2**53)
        match = (asked.text(given, "match") or "").casefold()
        key, kind = asked.text(given, "key"), asked.text(given, "kind")
        rank = asked.whole(given, "rank", -1, 0, 2**31) if given.get("rank") else None
        if key is not None:
            rows = _of_series(reader.series(key, rank=rank))
        else:
            rows = [_of_entry(one) for one in reader.records(kind) if rank is None or one.rank == rank]
        if match:
            rows = [row for row in rows if match in str(row["value"]).casefold()]
        last = after + limit
        return {"records": rows[after:last], "next": str(last) if last < len(rows) else None, "total": len(rows)}


def _kind(last: Any) -> str:
    if isinstance(last, Ref):
        return last.kind
    return "text" if isinstance(last, str) else "number"


def _of_series(series: Series) -> list[dict[str, Any]]:
    nanos = series.time.astype("int64").tolist()
    columns = (series.step.tolist(), nanos, series.rank.tolist(), series.attempt.tolist(), series.exact.tolist())
    return [
        {
            "step": step, "time": answers.moment(time), "rank": rank, "attempt": attempt, "key": series.key,
            "value": reference(value) if isinstance(value, Ref) else value,
        }
        for step, time, rank, attempt, value in zip(*columns, strict=True)
    ]  # fmt: skip


def reference(ref: Ref) -> dict[str, Any]:
    """A media value: its kind, its file in the run, what was said with it."""
    return {"kind": ref.kind, "file": ref.file, "meta": ref.meta}


def _of_entry(entry: Entry) -> dict[str, Any]:
    return {
        "step": entry.step,
        "time": answers.moment(entry.time),
        "rank": entry.rank,
        "attempt": entry.attempt,
        "key": entry.kind,
        "value": entry.payload,
    }
