"""Curves of runs in a ClickHouse database: what `steno.bins` asks of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.store import points as points_
from steno.store.attempts import choose
from steno.store.bins.answer import LeftOut
from steno.store.bins.engine import Facts
from steno.store.bins.exact import chosen, with_x
from steno.store.bins.in_memory import InMemory
from steno.store.bins.moment import Moment
from steno.store.bins.sealed import rows_of
from steno.store.bins.spans import spans_of
from steno.store.clickhouse.run import OF_POINTS

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from steno.store.bins.engine import Reading, Shown
    from steno.store.bins.question import Question
    from steno.store.bins.rows import Rows
    from steno.store.clickhouse.database import Database, Listed


class DatabaseCurves:
    """See `bins.engine.Engine`: the points of all runs by one query, then as those of files."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def token(self, shown: Shown) -> Hashable | None:
        """See `Engine.token`."""
        del shown
        return None  # nothing says that a run is as it was

    def read(self, question: Question, shown: Sequence[Shown]) -> Reading:
        """See `Engine.read`."""
        known = {one.url: one for one in self._database.runs(None, archived=True)}
        cards = [known.get(one.url) for one in shown]
        keys = [*question.keys, *([question.x] if question.by_key else [])]
        points = self._points([card for card in cards if card is not None], keys)
        facts: list[Facts | None] = []
        left_out: list[LeftOut] = []
        pieces: list[Rows] = []
        where: list[tuple[int, int]] = []
        for number, (one, card) in enumerate(zip(shown, cards, strict=True)):
            if card is None:
                facts.append(None)
                left_out.append(LeftOut(one.name, "it is no longer in the database"))
                continue
            moment = _moment(card)
            by_key = {}
            for key, rows in points.get((card.project, card.id), {}).items():
                ranks = None if key == len(question.keys) else question.ranks
                by_key[key] = chosen(rows, moment, ranks)
            spans = spans_of(moment, by_key.values())
            facts.append(Facts(one.name, one.dir, spans, moment.running))
            found, said = with_x(by_key, spans, question)
            left_out.extend(LeftOut(one.name, why) for why in said)
            pieces.extend(found.values())
            where.extend((number, key) for key in found)
        return InMemory(question, facts, left_out, pieces, where, [None] * len(shown))

    def _points(self, cards: Sequence[Listed], keys: Sequence[str]) -> dict[tuple[str, str], dict[int, Rows]]:
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


def _moment(card: Listed) -> Moment:
    return Moment(
        parts=(),
        chunks=(),
        ids={},
        choice=choose(card.begun, "latest"),
        attempts=card.begun,
        streams=(),
        damage=(),
        running=card.state in {"", "running"},
    )
