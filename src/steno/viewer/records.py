"""`api/records` and `api/output`: what a run said that is no curve, by pages, and all that it printed as a text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from steno.record import OUTPUT, Ref
from steno.viewer import answers, asked, guarded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from steno.record import Entry
    from steno.store.reader import RunReader
    from steno.store.series import Series
    from steno.viewer.catalogue import Catalogue

_MOST: Final = 10_000
_CONTROL: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])?")


class Records:
    """The entries of runs."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def records(self, request: Request) -> Response:
        """`api/records`."""
        given = asked.of_query(request)
        return answers.data(await run_in_threadpool(self._records, given))

    def _records(self, given: Mapping[str, Any]) -> dict[str, Any]:
        reader = self._catalogue.reader(asked.run(given))
        limit = asked.whole(given, "limit", 1000, 1, _MOST)
        after = asked.whole(given, "after", 0, 0, 2**53)
        last = asked.whole(given, "last", 0, 0, _MOST)
        match, key = asked.text(given, "match") or "", asked.text(given, "key")
        rank = asked.whole(given, "rank", -1, 0, 2**31 - 1) if given.get("rank") else None
        offset, limit = (-last, last) if last else (after, limit)
        if key is not None:
            return _of_key(reader, key, rank, match.casefold(), offset, limit)
        page = reader.entry_page(asked.text(given, "kind"), rank=rank, match=match, offset=offset, limit=limit)
        end = page.offset + len(page.entries)
        return {
            "records": [
                {**_of_entry(one), "number": number} for one, number in zip(page.entries, page.numbers, strict=True)
            ],
            "offset": page.offset,
            "next": str(end) if end < page.total else None,
            "total": page.total,
            "kinds": page.kinds,
            "ranks": list(reader.info.ranks),
        }

    async def output(self, request: Request) -> Response:
        """`api/output`."""
        given = asked.of_query(request)
        reader = await run_in_threadpool(self._catalogue.reader, asked.run(given))
        rank = asked.whole(given, "rank", -1, 0, 2**31 - 1) if given.get("rank") else None
        colours = asked.yes(given, "colours")
        headers = {
            "Content-Security-Policy": guarded.POLICY,
            "Content-Disposition": guarded.attachment(f"{reader.dir.name}.txt"),
        }
        return StreamingResponse(_lines(reader, rank, colours=colours), 200, headers, "text/plain; charset=utf-8")


def _lines(reader: RunReader, rank: int | None, *, colours: bool) -> Iterator[bytes]:
    """All that was printed, up to what there is when the last page is read."""
    offset = 0
    while True:
        page = reader.entry_page(OUTPUT, rank=rank, offset=offset, limit=_MOST)
        if not page.entries:
            return
        texts = (str(one.payload.get("text", "")) for one in page.entries)
        yield "".join(f"{text if colours else _CONTROL.sub('', text)}\n" for text in texts).encode(errors="replace")
        offset += len(page.entries)


def _of_key(reader: RunReader, key: str, rank: int | None, match: str, offset: int, limit: int) -> dict[str, Any]:
    rows = _of_series(reader.series(key, rank=rank))
    if match:
        rows = [row for row in rows if match in str(row["value"]).casefold()]
    begin = max(len(rows) + offset, 0) if offset < 0 else offset
    end = begin + limit
    after = str(end) if end < len(rows) else None
    return {"records": rows[begin:end], "offset": begin, "next": after, "total": len(rows)}


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
