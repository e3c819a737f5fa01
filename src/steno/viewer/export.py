"""`api/export` and `steno view --export`: the table and the charts of a view in one file that needs no viewer."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

import steno
from steno import runfile
from steno.errors import StenoError, UsageError
from steno.viewer import address, answers, asked, guarded, onefile
from steno.viewer.fitting import ExportProgress, Fitting, Size, joined
from steno.viewer.private import Private

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from starlette.requests import Request

    from steno.viewer.address import Address
    from steno.viewer.catalogue import Catalogue
    from steno.viewer.chart import Charts
    from steno.viewer.fitting import FittedChart
    from steno.viewer.run import OneRun
    from steno.viewer.runs import Runs

_PROGRESS: Final = "application/vnd.steno.export"
_SHOWN_BINS: Final = 450
"""As the page asks for at its usual size: with them the file shows what the page shows."""
_FEWEST_BINS: Final = 100
_MOST_CHARTS: Final = 1000
_PAGE_ROWS: Final = 1000


class Export:
    """Makes files of views. Thread-safe.

    Args:
        catalogue, table, one, charts: the resources that answer the page.
    """

    def __init__(self, catalogue: Catalogue, table: Runs, one: OneRun, charts: Charts) -> None:
        self._catalogue = catalogue
        self._table = table
        self._one = one
        self._charts = charts

    async def export(self, request: Request) -> Response:
        """`api/export`."""
        given = await asked.body(request)
        title, width = asked.text(given, "title"), asked.whole(given, "width", _SHOWN_BINS, _FEWEST_BINS, 4096)
        view = asked.text(given, "view") or ""
        if _PROGRESS in request.headers.get("accept", ""):
            steps = self.steps(view, title=title, width=width)
            first = await run_in_threadpool(next, steps)  # what is wrong with the view is an error like any other
            return StreamingResponse(_streamed(first, steps), media_type=_PROGRESS)
        made, _ = await run_in_threadpool(self.file, view, title=title, width=width)
        name = quote(f"{title or 'runs'}.html", safe="")
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
            "Content-Security-Policy": guarded.POLICY,
        }
        return Response(made, media_type="text/html; charset=utf-8", headers=headers)

    def file(
        self,
        view: str,
        *,
        title: str | None = None,
        width: int = _SHOWN_BINS,
        most_bytes: int = onefile.MOST_BYTES,
        on_progress: Callable[[ExportProgress], None] | None = None,
    ) -> tuple[bytes, list[str]]:
        """(the file, the keys whose charts found no room in it).

        Args:
            view: what stands behind the # in the page's address.
            title: what the document is called; None: by the projects of the runs.
            width: bins per chart, as the page asks for them.
            most_bytes: what the file may have.
            on_progress: called each time it is further.

        Raises:
            UsageError: the view cannot be understood, has no run, or does not fit into a file at all.
        """
        steps = self.steps(view, title=title, width=width, most_bytes=most_bytes)
        while True:
            try:
                now = next(steps)
            except StopIteration as end:
                made: tuple[bytes, list[str]] = end.value
                return made
            if on_progress is not None:
                on_progress(now)

    def steps(
        self, view: str, *, title: str | None, width: int, most_bytes: int = onefile.MOST_BYTES
    ) -> Generator[ExportProgress, None, tuple[bytes, list[str]]]:
        """As `file`, and says on its way how far it is; the first time when the runs of the view are known."""
        wanted = address.parse(view)
        rows, drawn = self._rows(wanted)
        if not drawn:
            raise UsageError("the view draws no run, so there is nothing to write: choose runs, or change the query")
        yield ExportProgress(0, 0, width)
        private = Private(self._hosts(drawn))
        ids = _new_ids(rows, private)
        head = self._head(wanted, rows, drawn, ids, private)
        keys = head["keys"]["keys"]
        made = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        projects = list(dict.fromkeys(row["project"] for row in head["runs"]["rows"] if row["project"]))
        head |= {"version": steno.__version__, "made": made, "title": title or ", ".join(projects[:3]) or "runs"}
        room = onefile.room(most_bytes) - len(_packed(head, [])) - 200 * len(keys)
        if room <= 0:
            raise _too_large("the table alone", most_bytes)
        sizes = [Size(*one) for one in zip(keys, head["keys"]["points"], head["keys"]["runs"], strict=True)]
        fitting = Fitting(self._charts, wanted, drawn, ids, private)
        levels, left = yield from fitting.fit(sizes[:_MOST_CHARTS], width, room)
        while keys and not levels and width > _FEWEST_BINS:  # not even one chart as it is shown
            width = max(width // 2, _FEWEST_BINS)
            levels, left = yield from fitting.fit(sizes[:_MOST_CHARTS], width, room)
        if keys and not levels:
            raise _too_large("the first chart alone", most_bytes)
        head["left_out"] = [*left, *keys[_MOST_CHARTS:]]
        return onefile.written(head["title"], _packed(head, levels)), head["left_out"]

    def _rows(self, wanted: Address) -> tuple[list[dict[str, Any]], list[str]]:
        """(the rows of the runs that are drawn and of the baseline, the ids of those that are drawn)."""
        listed = wanted.listed()
        rows: dict[str, dict[str, Any]] = {}
        for offset in range(0, wanted.most, _PAGE_ROWS):
            limit = min(_PAGE_ROWS, wanted.most - offset)
            found = self._table.rows({**listed, "offset": offset, "limit": limit})["rows"]
            rows |= {row["run"]: row for row in found if row["run"] not in wanted.minus}
            if len(found) < limit:
                break
        more = [*wanted.plus, *([wanted.baseline] if wanted.baseline else [])]
        others = [run for run in dict.fromkeys(more) if run not in rows and run not in wanted.minus]
        columns = listed["columns"]
        for at in range(0, len(others), _PAGE_ROWS):
            some = others[at : at + _PAGE_ROWS]
            found = self._table.rows({"ids": some, "columns": columns, "archived": True, "limit": _PAGE_ROWS})["rows"]
            rows |= {row["run"]: row for row in found}
        drawn = [run for run in rows if run not in others or run in wanted.plus]
        return list(rows.values()), drawn

    def _hosts(self, runs: Sequence[str]) -> Iterator[str]:
        for run in runs:
            try:
                found = runfile.read(self._catalogue.path(run))[0].get("host")
            except Exception:  # a damaged run names no machine
                continue
            if isinstance(found, str):
                yield found

    def _head(
        self, wanted: Address, rows: list[dict[str, Any]], drawn: list[str], ids: dict[str, str], private: Private
    ) -> dict[str, Any]:
        columns, keeps = wanted.columns, wanted.keeps()
        found = self._one.keys_of({"runs": drawn})
        kept = [at for at, key in enumerate(found["keys"]) if found["kinds"][at] == "number" and keeps(key)]
        table = [
            {
                **row, "run": ids[row["run"]], "project": private.text(row["project"]),
                "name": private.text(row["name"]),
                "problem": "it is damaged" if row["problem"] else "",
                "values": [private.value(name, value) for name, value in zip(columns, row["values"], strict=True)],
            }
            for row in rows
        ]  # fmt: skip
        hidden = [ids[row["run"]] for row in rows if row["run"] not in set(drawn)]
        return {
            "view": wanted.fixed(ids.get(wanted.baseline, ""), hidden),
            "runs": {"all": len(table), "total": len(table), "columns": columns, "rows": table},
            "keys": {
                **{name: [found[name][at] for at in kept] for name in ("keys", "sections", "kinds", "runs", "points")},
                "problems": [
                    {"run": ids.get(one["run"], ""), "error": "it could not be read", "remedy": ""}
                    for one in found["problems"]
                ],
            },
        }


def _streamed(
    first: ExportProgress, steps: Generator[ExportProgress, None, tuple[bytes, list[str]]]
) -> Iterator[bytes]:
    """A line of JSON each time it is further, then the file behind a line that says its bytes, or why there is none.

    A client that goes away ends it: the next step is not taken.
    """
    now = first
    while True:
        yield answers.encoded({"done": now.done, "of": now.of, "bins": now.bins}) + b"\n"
        try:
            now = next(steps)
        except StopIteration as end:
            made: bytes = end.value[0]
            yield answers.encoded({"bytes": len(made)}) + b"\n"
            yield made
            return
        except StenoError as error:
            yield answers.encoded(answers.said(error)) + b"\n"
            return


def _too_large(what: str, most_bytes: int) -> asked.TooMuchError:
    return asked.TooMuchError(
        f"{what} needs more than the {most_bytes / 1e6:g} MB that a file may have: "
        "draw fewer runs, or show fewer columns"
    )


def _new_ids(rows: list[dict[str, Any]], private: Private) -> dict[str, str]:
    """For each id, which is a path, one that is none: the run's project and name, once."""
    made: dict[str, str] = {}
    taken: set[str] = set()
    for row in rows:
        name = "/".join(private.text(one) for one in (row["project"], row["name"]) if one) or "run"
        found, count = name, 1
        while found in taken:
            count += 1
            found = f"{name} ({count})"
        taken.add(found)
        made[row["run"]] = found
    return made


def _packed(head: dict[str, Any], levels: list[FittedChart]) -> bytes:
    """uint32 length of the index, the index as JSON, and the charts, each compressed by itself."""
    charts, at = [], 0
    for one in levels:
        charts.append({**one.head(), "offset": at, "length": len(one.data)})
        at += len(one.data)
    return joined({**head, "charts": charts}, b"".join(one.data for one in levels))
