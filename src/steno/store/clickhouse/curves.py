"""Curves of runs in a ClickHouse database: what `steno.bins` asks of an engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from steno.store import points as points_
from steno.store.attempts import choose
from steno.store.bins.answer import LeftOut
from steno.store.bins.engine import Facts
from steno.store.bins.exact import chosen, with_x
from steno.store.bins.in_memory import InMemory
from steno.store.bins.moment import Moment
from steno.store.bins.sealed import rows_of
from steno.store.bins.spans import spans_of
from steno.store.clickhouse.aggregated import Aggregated, spans
from steno.store.clickhouse.run import OF_POINTS

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import pyarrow as pa

    from steno.store.bins.engine import Reading, RunToRead
    from steno.store.bins.question import Question
    from steno.store.bins.rows import Rows
    from steno.store.clickhouse.database import Database, ListedDatabaseRun


MOST_POINTS: Final = 200_000
"""So many are fetched, and put into bins as those of files are; of more ClickHouse computes the bins."""
_Counted = tuple[int, int, int | None, int, int, int]


class DatabaseCurves:
    """See `bins.engine.Engine`: the points of all runs by one query, or their bins."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def most_series(self) -> int:
        """See `CurveEngine.most_series`: what ClickHouse computes is asked for each question anyway."""
        return 1

    def token(self, shown: RunToRead) -> Hashable | None:
        """See `CurveEngine.token`."""
        del shown
        return None  # nothing says that a run is as it was

    def read(self, question: Question, shown: Sequence[RunToRead]) -> Reading:
        """See `CurveEngine.read`."""
        known = {one.url: one for one in self._database.runs(None, archived=True)}
        cards = [known.get(one.url) for one in shown]
        if question.x == "step" and question.smooth is None and not question.edges:
            counted = self._counted(question, cards)
            if sum(one[3] for one in counted) > MOST_POINTS:
                return self._aggregated(question, shown, cards, counted)
        return self._in_memory(question, shown, cards)

    def _in_memory(
        self, question: Question, shown: Sequence[RunToRead], cards: Sequence[ListedDatabaseRun | None]
    ) -> InMemory:
        keys = [*question.keys, *([question.x] if question.by_key else [])]
        points = self._points([card for card in cards if card is not None], keys)
        facts: list[Facts | None] = []
        left_out: list[LeftOut] = []
        pieces: list[Rows] = []
        where: list[tuple[int, int]] = []
        for number, (one, card) in enumerate(zip(shown, cards, strict=True)):
            if card is None:
                facts.append(None)
                left_out.append(LeftOut(one.name, _GONE))
                continue
            moment = _moment(card)
            by_key = {}
            for key, rows in points.get((card.project, card.id), {}).items():
                ranks = None if key == len(question.keys) else question.ranks
                by_key[key] = chosen(rows, moment, ranks)
            when = spans_of(moment, by_key.values())
            facts.append(Facts(one.name, one.dir, when, moment.running))
            found, said = with_x(by_key, when, question)
            left_out.extend(LeftOut(one.name, why) for why in said)
            pieces.extend(found.values())
            where.extend((number, key) for key in found)
        return InMemory(question, facts, left_out, pieces, where, [None] * len(shown))

    def _points(
        self, cards: Sequence[ListedDatabaseRun], keys: Sequence[str]
    ) -> dict[tuple[str, str], dict[int, Rows]]:
        """By project and id of the run, and by number of the key, the points."""
        import numpy as np

        query = (
            f"select toString(project) as project, toString(run) as run, {OF_POINTS} from {{db}}.points final "
            "where project in {projects:Array(String)} and run in {runs:Array(String)} and key in {keys:Array(String)}"
        )
        values: dict[str, Any] = {
            "projects": sorted({one.project for one in cards}),
            "runs": sorted({one.id for one in cards}),
            "keys": list(keys),
        }
        table = self._database.rows(query, values)
        if not len(table):
            return {}
        found = points_.of_arrow(table, {key: number for number, key in enumerate(keys)})
        project, run = (table[name].combine_chunks().dictionary_encode() for name in ("project", "run"))
        label = np.asarray(project.indices) * len(run.dictionary) + np.asarray(run.indices)
        group = label * len(keys) + found.key
        order = np.argsort(group, kind="stable")
        edges = np.r_[0, np.flatnonzero(np.diff(group[order])) + 1, len(order)]
        by_run: dict[tuple[str, str], dict[int, Rows]] = {}
        for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            some = order[begin:end]
            its, key = divmod(int(group[some[0]]), len(keys))
            of_project, of_run = divmod(its, len(run.dictionary))
            name = (project.dictionary[of_project].as_py(), run.dictionary[of_run].as_py())
            by_run.setdefault(name, {})[key] = rows_of(found.take(some))
        return by_run

    def _counted(self, question: Question, cards: Sequence[ListedDatabaseRun | None]) -> list[_Counted]:
        """(run, key, rank or None, points, first step, last step) of each series with points in the range."""
        of_rank = "rank" if question.by_rank else "toInt32(0)"
        query = (
            f"select toString(project) as project, toString(run) as id, toString(key) as name, {of_rank} as of_rank, "
            "count() as n, min(step) as low, max(step) as high from {db}.points final "
            f"where {_where(question, cards)} group by project, id, name, of_rank"
        )
        places = {(one.project, one.id): at for at, one in enumerate(cards) if one is not None}
        numbers = {key: at for at, key in enumerate(question.keys)}
        return sorted(
            (
                places[row["project"], row["id"]],
                numbers[row["name"]],
                row["of_rank"] if question.by_rank else None,
                row["n"],
                row["low"],
                row["high"],
            )
            for row in self._database.rows(query, _values(question, cards)).to_pylist()
        )

    def _aggregated(
        self,
        question: Question,
        shown: Sequence[RunToRead],
        cards: Sequence[ListedDatabaseRun | None],
        counted: Sequence[_Counted],
    ) -> Aggregated:
        facts = [
            None if card is None else Facts(one.name, one.dir, spans(card.all_attempts), card.state in {"", "running"})
            for one, card in zip(shown, cards, strict=True)
        ]
        gone = [one.name for one, card in zip(shown, cards, strict=True) if card is None]

        def ask(members: Sequence[int], selected: str, rest: str) -> pa.Table:
            labels = []
            for member in members:
                run, key, rank, *_ = counted[member]
                card = cards[run]
                assert card is not None
                labels.append(f"{card.project}\n{card.id}\n{question.keys[key]}\n{rank or 0}")
            of_rank = "rank" if question.by_rank else "0"
            label = f"concat(project, '\\n', run, '\\n', key, '\\n', toString({of_rank}))"
            query = (
                f"select {selected} from (select *, indexOf({{labels:Array(String)}}, {label}) - 1 as series "
                f"from {{db}}.points final where {_where(question, cards)}) where series >= 0 {rest}"
            )
            return self._database.rows(query, {**_values(question, cards), "labels": labels})

        return Aggregated(
            facts,
            [LeftOut(name, _GONE) for name in gone],
            counted,
            ask,
            lambda: self._in_memory(question, shown, cards),
        )


_GONE: Final = "it is no longer in the database"


def _where(question: Question, cards: Sequence[ListedDatabaseRun | None]) -> str:
    """Which points are meant."""
    terms = [
        "project in {projects:Array(String)}", "run in {runs:Array(String)}", "key in {keys:Array(String)}",
    ]  # fmt: skip
    if question.ranks is not None:
        terms.append(f"rank in ({', '.join(map(str, map(int, question.ranks)))})")
    if question.low is not None:
        terms.append(f"step >= {math.ceil(question.low)}")
    if question.high is not None:
        terms.append(f"step <= {math.floor(question.high)}")
    for number, card in enumerate(cards):
        for attempt, step in () if card is None else choose(card.all_attempts, "latest").hidden:
            terms.append(f"not (run = {{run{number}:String}} and attempt < {attempt} and step >= {step})")
    return " and ".join(terms)


def _values(question: Question, cards: Sequence[ListedDatabaseRun | None]) -> dict[str, Any]:
    known = [one for one in cards if one is not None]
    return {
        "projects": sorted({one.project for one in known}),
        "runs": sorted({one.id for one in known}),
        "keys": list(question.keys),
        **{
            f"run{at}": one.id
            for at, one in enumerate(cards)
            if one is not None and choose(one.all_attempts, "latest").hidden
        },
    }


def _moment(card: ListedDatabaseRun) -> Moment:
    return Moment(
        parts=(),
        chunks=(),
        ids={},
        choice=choose(card.all_attempts, "latest"),
        attempts=card.all_attempts,
        streams=(),
        damage=(),
        running=card.state in {"", "running"},
    )
