"""`api/config` and `api/health`: what a run was started with, how its attempts went, and how its machinery is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool

from steno import examine
from steno.record import FINISH, START
from steno.viewer import answers, asked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from steno.record import Entry
    from steno.store.info import Info
    from steno.viewer.catalogue import Catalogue

_MOST_FAILURES: Final = 20
_MOST_HOSTS: Final = 100


class Overview:
    """What stands on the first tab of a run's page."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def config(self, request: Request) -> Response:
        """`api/config`."""
        run = asked.run(asked.of_query(request))
        return answers.data(await run_in_threadpool(self._config, run))

    def _config(self, run: str) -> dict[str, Any]:
        reader = self._catalogue.reader(run)
        info = reader.info
        starts, ends = reader.records(START), reader.records(FINISH)
        known = info.run
        return {
            "config": info.config,
            "summary": info.summary,
            "meta": {
                "command": info.command,
                "commit": (info.git or {}).get("commit"),
                "git": info.git,
                "host": known.get("host"),
                "python": known.get("python"),
                "ranks": list(info.ranks),
                "attempts": len(info.attempts),
                "started": answers.moment(info.started),
                "ended": answers.moment(info.ended),
                "error": info.error,
                "id": info.id,
                "records": info.records,
                "points": info.points,
            },
            "attempts": [_attempt(one.attempt, one.started, one.rewind, starts, ends) for one in info.attempts],
            "failures": _failures(info, ends),
            "project": info.project,
            "name": info.name,
            "tags": list(info.tags),
            "group": info.group,
            "notes": info.notes,
            "archived": info.archived,
            "state": info.state,
            "losses": [{**(loss := dataclasses.asdict(one)), "text": examine.loss_text(loss)} for one in info.losses],
            "unposted": [str(one) for one in info.unposted],
            "problem": "; ".join(f"{place}: {why}" for place, why in info.unreadable.items()),
        }

    async def health(self, request: Request) -> Response:
        """`api/health`."""
        run = asked.run(asked.of_query(request))
        return answers.data(await run_in_threadpool(self._health, run))

    def _health(self, run: str) -> dict[str, Any]:
        self._catalogue.path(run)  # of a run that has no files, this says so
        report = examine.report_of(self._catalogue.reader(run))
        said = dataclasses.asdict(report)
        del said["dir"]
        return {
            **said,
            "losses": [{**loss, "text": examine.loss_text(loss)} for loss in report.losses],
            "nodes": [
                {
                    **{name: node[name] for name in ("node", "host", "collector", "status_age_secs")},
                    **{name: node["status"].get(name) for name in ("error", "artifacts", "removed")},
                }
                for node in report.nodes
            ],
        }


def _attempt(
    number: int, started: int, rewind: int | None, starts: Iterable[Entry], ends: Iterable[Entry]
) -> dict[str, Any]:
    members = [one for one in starts if one.attempt == number]
    ended = [one for one in ends if one.attempt == number]
    hosts = sorted({str(one.payload.get("host") or "") for one in members} - {""})
    sizes = [size for one in members if isinstance(size := one.payload.get("world_size"), int)]
    return {
        "attempt": number,
        "started": answers.moment(started or min((one.time for one in members), default=None)),
        "rewind": rewind,
        "world_size": max(sizes, default=None),
        "processes": len(members),
        "hosts": hosts[:_MOST_HOSTS],
        "more_hosts": max(len(hosts) - _MOST_HOSTS, 0),
        "ended": answers.moment(max((one.time for one in ended), default=None)),
        "ends": len(ended),
        "failed": sum(one.payload.get("state") == "failed" for one in ended),
    }


def _failures(info: Info, ends: Sequence[Entry]) -> list[dict[str, Any]]:
    """Of the latest attempt, by time: the process that failed first is mostly the cause."""
    latest = max((one.attempt for one in info.attempts), default=max((one.attempt for one in ends), default=0))
    failed = [one for one in ends if one.attempt == latest and _why(one.payload)]
    failed.sort(key=lambda one: one.time)
    return [
        {"rank": one.rank, "time": answers.moment(one.time), "step": one.step, **_why(one.payload)}
        for one in failed[:_MOST_FAILURES]
    ]


def _why(payload: Mapping[str, Any]) -> dict[str, str]:
    said = {name: payload.get(name) for name in ("error", "traceback")}
    return {name: str(value) for name, value in said.items() if value}
