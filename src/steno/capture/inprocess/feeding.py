"""Starts the destinations that run in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from steno.record import RunInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steno.capture.inprocess.feed import Feed
    from steno.capture.recorder import Recorder
    from steno.capture.report import Reporter
    from steno.capture.start.request import Request
    from steno.capture.start.started import StartedRun
    from steno.destinations.base import Destination
    from steno.destinations.registry import Spec
    from steno.events.logger import EventLogger


def start(
    started: StartedRun, recorder: Recorder, request: Request, about: Mapping[str, Any], report: Reporter
) -> None:
    """Start the destinations that run in this process; `console` where rank 0 is."""
    names: set[str] = set()
    taken: list[Any] = []
    for spec in request.destinations:
        target = spec.target
        if spec.placement == "console" and started.rank == 0:
            from steno.destinations import registry

            target = registry.create(spec.name, spec.options)
        if target is None:
            continue
        if any(target is other for other in taken):
            report(f"twice {spec.name}", f"the destination {spec.name} was passed twice: it gets each record once")
            continue
        taken.append(target)
        info = RunInfo(
            dir=started.dir,
            id=started.id,
            name=started.name,
            project=started.project,
            config=started.config,
            tags=tuple(about.get("tags", ())),
            notes=str(about.get("notes", "")),
            group=about.get("group"),
            options=spec.options,
        )
        name = _distinct(spec.name, names)
        feed = _listening(started, recorder, spec, request, info, name, report)
        if feed is None:
            from steno.capture.inprocess.feed import Feed

            feed = Feed(recorder, cast("Destination", target), info, name=name, report=report)
        started.feeds.append(feed)
        feed.start()


def _distinct(name: str, taken: set[str]) -> str:
    """The name, with a number if it is taken: two objects of one class are two destinations."""
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name}-{count}"
    taken.add(found)
    return found


def _listening(
    started: StartedRun, recorder: Recorder, spec: Spec, request: Request, info: RunInfo, name: str, report: Reporter
) -> Feed | None:
    """The feed of an object that gets each call by itself; None for one that takes batches."""
    from steno.destinations import registry

    if spec.placement != "object" or not registry.is_listener(spec.target):
        return None
    from steno.capture.inprocess.feed import Feed
    from steno.capture.inprocess.listener import Listener
    from steno.events.logger import EventLogger

    def logger(run_name: str) -> EventLogger:
        return EventLogger(
            run_name,
            log=recorder.log,
            run=started.made,
            destinations=tuple(one.name if one.target is None else one.target for one in request.destinations),
        )

    def failed(error: BaseException, what: str) -> None:
        feed.courier.failed_call(error, what)

    def done() -> None:
        feed.courier.moved()

    listener = Listener(spec.target, rank=started.rank, logger=logger, failed=failed, done=done)
    if "points" in listener.kinds:
        recorder.want_media()
    feed = Feed(
        recorder, listener, info, name=name, report=report, exact=True, first="points" not in listener.kinds,
        idle=listener.advance, last=listener.end,
    )  # fmt: skip
    return feed
