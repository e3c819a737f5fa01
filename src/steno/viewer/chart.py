"""`api/chart` and `api/series`: what the charts draw; the server computes nothing that `steno.bins` does not say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from steno.errors import StenoError, UsageError
from steno.store.bins.groups import names_of
from steno.store.bins.question import AXES, MOST_BINS, ask
from steno.store.bins.several import CurveRequest
from steno.store.bins.several import answers as several
from steno.viewer import answers, asked
from steno.viewer.drawn import Drawer
from steno.viewer.exact import lines
from steno.viewer.over_ranks import odd_lines
from steno.viewer.span import whole_bins
from steno.viewer.wire import MEDIA_TYPE, ColumnWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starlette.requests import Request

    from steno.store.bins.answer import Curves
    from steno.store.run_summary import RunSummary
    from steno.viewer.catalogue import Catalogue

_MOST_CARDS: Final = 64
_MOST_RUNS: Final = 10_000
_MOST_KEYS: Final = 100
_MOST_LINES: Final = 1000
_ARROW: Final = "application/vnd.apache.arrow.stream"
_OVER_RANKS: Final = ("band", "odd")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a card is drawn from."""

    curves: Curves
    problems: list[dict[str, str]]
    limit: int
    together: int
    """Curves that there are, each of all ranks; over ranks as many are drawn as the limit allows."""


class Charts:
    """The resources of curves."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def chart(self, request: Request) -> Response:
        """`api/chart`: a batch of cards."""
        given = await asked.body(request)
        accepted = request.headers.get("accept", "")
        for kind, as_ in ((_ARROW, "arrow"), ("text/csv", "csv")):
            if kind in accepted:
                return Response(await run_in_threadpool(self._table, given, as_), media_type=kind)
        return Response(await run_in_threadpool(self.batch, given), media_type=MEDIA_TYPE)

    def batch(self, given: Mapping[str, Any]) -> bytes:
        """What `api/chart` answers."""
        columns, cards = ColumnWriter(), _cards(given)
        answered = self._curves(cards, given)
        made = [self._card(card, found, columns) for card, found in zip(cards, answered, strict=True)]
        return columns.encode({"cards": made})

    def one_by_one(self, given: Mapping[str, Any]) -> Iterator[bytes]:
        """As `batch`, with an answer of its own for each card; the runs are read once for all of them."""
        cards = _cards(given)
        for card, found in zip(cards, self._curves(cards, given), strict=True):
            columns = ColumnWriter()
            yield columns.encode({"cards": [self._card(card, found, columns)]})

    def _card(self, card: Mapping[str, Any], found: _Answer | StenoError, columns: ColumnWriter) -> dict[str, Any]:
        id = card.get("id")
        if isinstance(found, StenoError):
            return {"id": id, **answers.said(found)}
        curves, problems = found.curves, found.problems
        drawer, ranks, why = Drawer(columns, self._catalogue.id_of), _over_ranks(card), ""
        if card.get("group") is not None:
            made = drawer.groups(curves)
        elif ranks == "band":
            made = drawer.bands(curves, found.limit)
        else:
            made, why = drawer.lines(curves, found.limit)
        lines, drawn = len(curves), sum(one["kind"] in {"points", "bins"} for one in made)
        if ranks is not None:
            lines, drawn = found.together, len(made)
            why = "" if lines <= found.limit else f"the first {found.limit:,} of {lines:,} are drawn"
        return {
            "id": id,
            "bin": curves.width,
            "lines": lines,
            "points": curves.total,
            "monotonic": all(one.is_monotonic for one in curves.curves),
            "left_out": {
                "lines": lines - drawn if why else 0,
                "runs": len({one["run"] for one in problems}),
                "why": why,
            },
            "series": made,
            "problems": problems,
        }

    def _curves(self, cards: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> list[_Answer | StenoError]:
        """The curves of each card, or why there are none; those of the same runs are read together."""
        found: list[_Answer | StenoError | None] = [None] * len(cards)
        alike: dict[tuple[str, ...], list[tuple[int, CurveRequest, int]]] = {}
        for at, card in enumerate(cards):
            try:
                ids = asked.texts(card if card.get("runs") is not None else given, "runs", _MOST_RUNS)
                if ids is None:
                    raise UsageError("runs is missing: say which runs are shown")
                limit = asked.whole(card, "limit", _MOST_LINES, 1, _MOST_LINES)
                alike.setdefault(tuple(ids), []).append((at, _question(card), limit))
            except StenoError as error:
                found[at] = error
        for shown, some in alike.items():
            problems, by_path, places = self._places(shown)
            made = _answered([one for _, one, _ in some], places)
            for (at, request, limit), answer in zip(some, made, strict=True):
                curves, together = answer, 0 if isinstance(answer, StenoError) else len(answer)
                if _over_ranks(cards[at]) == "odd":
                    curves = _odd(request, answer, limit, places)
                if isinstance(curves, StenoError):
                    found[at] = curves
                    continue
                said = [
                    {"run": by_path.get(one.run, one.run), "error": one.why, "remedy": ""} for one in curves.left_out
                ]
                found[at] = _Answer(curves, [*problems, *said], limit, together)
        return [one for one in found if one is not None]

    def _places(self, ids: Sequence[str]) -> tuple[list[dict[str, str]], dict[str, str], list[Path | RunSummary]]:
        """What is wrong with runs, the id of each by its path, and the runs as they are read."""
        places: dict[str, Path | RunSummary] = {}
        problems = []
        for run, found in self._catalogue.sources(ids):
            if isinstance(found, StenoError):
                problems.append({"run": run, **answers.said(found)})
            else:
                places[run] = found
        by_path = {str(found): run for run, found in places.items() if isinstance(found, Path)}
        return problems, by_path, list(places.values())

    def _table(self, given: Mapping[str, Any], as_: str) -> bytes:
        import pyarrow as pa

        cards = _cards(given)
        if len(cards) > 1:
            raise UsageError("Arrow and CSV answer one card: ask for each on its own")
        (found,) = self._curves(cards, given)
        if isinstance(found, StenoError):
            raise found
        table = found.curves.frame("arrow")
        sink = pa.BufferOutputStream()
        if as_ == "csv":
            import pyarrow.csv

            pyarrow.csv.write_csv(table, sink)
        else:
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
        return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]

    async def series(self, request: Request) -> Response:
        """`api/series`: each point of some keys of some runs, as CSV."""
        given = asked.of_query(request, "run", "key")
        runs, keys = asked.texts(given, "run", _MOST_RUNS) or [], asked.texts(given, "key", _MOST_KEYS) or []
        readers = await run_in_threadpool(lambda: [(run, self._catalogue.reader(run)) for run in runs])
        first, last = (asked.number(given, name) for name in ("from", "to"))
        headers = {"Content-Disposition": 'attachment; filename="series.csv"'}
        made = lines(readers, keys, asked.text(given, "x", "step") or "step", first, last)
        return StreamingResponse(made, media_type="text/csv; charset=utf-8", headers=headers)


def _cards(given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = given.get("cards")
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise UsageError("cards is missing: a list of objects, each with id and keys")
    if len(found) > _MOST_CARDS:
        raise asked.TooMuchError(
            f"{len(found):,} cards are asked for, and at most {_MOST_CARDS} are answered in one request"
        )
    return found


def _answered(questions: Sequence[CurveRequest], places: Sequence[Path | RunSummary]) -> list[Curves | StenoError]:
    """The curves of each question, or why there are none; what is wrong with one costs no other."""
    try:
        return [*several(questions, places)]
    except StenoError as error:
        if len(questions) == 1:
            return [error]
        return [found for one in questions for found in _answered([one], places)]


def _over_ranks(card: Mapping[str, Any]) -> str | None:
    """What is drawn of all ranks together; groups have them together anyway."""
    ranks: str | None = card.get("ranks")
    return ranks if ranks in _OVER_RANKS and card.get("group") is None else None


def _odd(
    request: CurveRequest, together: Curves | StenoError, limit: int, places: Sequence[Path | RunSummary]
) -> Curves | StenoError:
    """Of each run and key the rank that deviates most, or why there is none."""
    if isinstance(together, StenoError):
        return together
    try:
        return odd_lines(request, together, limit, lambda asked: several([asked], places)[0])
    except StenoError as error:
        return error


def _question(card: Mapping[str, Any]) -> CurveRequest:
    keys = asked.texts(card, "keys", _MOST_KEYS)
    if not keys:
        raise UsageError("keys is missing: say which key, or several in a list")
    x, width = _axis(card.get("x")), asked.whole(card, "width", 500, 1, MOST_BINS)
    span, edges = card.get("range"), asked.yes(card, "edges")
    question = ask(
        keys,
        x,
        whole_bins(span, width) if edges and x == "step" else span,
        width,
        None if _over_ranks(card) else card.get("ranks"),
        _smooth(card.get("smooth")),
        edges=edges,
    )
    return CurveRequest(question, names_of(asked.texts(card, "group", _MOST_KEYS)))


def _axis(given: Any) -> str:
    if given is None or (isinstance(given, str) and given in AXES):
        return given or "step"
    if isinstance(given, dict) and isinstance(given.get("key"), str):
        key: str = given["key"]
        return key
    raise UsageError(f'x={given!r}: "step", "time", "relative" or {{"key": KEY}} is needed')


def _smooth(given: Any) -> tuple[Any, Any] | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise UsageError(f'smooth={given!r}: {{"kind": …, "width": …}} is needed')
    return given.get("kind"), given.get("width")
