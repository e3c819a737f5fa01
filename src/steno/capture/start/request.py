"""What `init` is asked for, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from steno import names, paths
from steno.capture.start import launcher
from steno.errors import UsageError
from steno.record import LAST_STEP
from steno.settings import read, taken
from steno.utf8 import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from steno.capture.start.launcher import Launch
    from steno.destinations.registry import Spec
    from steno.settings import Settings

Resume = bool | Literal["allow"] | None
"""Whether the run must be there, must not, may be, or steps aside for one that is."""

_IN_A_STORE: Final = "init(store='s3://bucket/prefix') keeps a run in an object store too"
_ARRAYS: Final = ("summary", "list", "histogram")
_MODES: Final = ("on", "off")
_CAPTURE: Final = ("both", "stdout", "stderr")
_SYSTEM_SECS: Final = 10.0
_LEAST_SYSTEM_SECS: Final = 0.1
_MOST_SYSTEM_SECS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Request:
    """What `init` was asked for, checked."""

    root: Path
    project: str
    name: str | None
    config: dict[str, Any]
    destinations: tuple[Spec, ...]
    resume: Resume
    rewind: int | None
    launch: Launch
    tags: tuple[str, ...]
    notes: str
    group: str | None
    mode: str
    strict: bool
    arrays: str
    settings: Settings
    capture: str | None
    system_secs: float | None
    version: str
    stores: Mapping[str, str]
    """Object stores by role, "store" and "artifacts"."""


def check(
    *,
    version: str,
    dir: Any,
    destinations: Any,
    project: Any = "default",
    name: Any = None,
    config: Mapping[str, Any] | None = None,
    settings: Any = None,
    resume: Any = None,
    rewind: Any = None,
    tags: Any = (),
    notes: Any = "",
    group: Any = None,
    mode: Any = None,
    strict: Any = False,
    arrays: Any = "summary",
    capture: Any = None,
    system_metrics: Any = None,
    store: Any = None,
) -> Request:
    """The arguments of `init`, each refused with what, why and the remedy.

    Raises:
        UsageError: an argument or an environment variable cannot be used.
        DestinationError: an unknown or misconfigured destination.
    """
    names.check(project, "project")
    settings = taken(settings)
    launch = launcher.detect(rank=settings.rank, world_size=settings.world_size)
    if name is None:
        name = read("STENO_RUN") or None
    if name is not None:
        names.check(name)
    asked_for, resume = resume, _resume(resume)
    if rewind is not None:
        rewind = _whole("rewind", rewind)
        if rewind > LAST_STEP:
            raise UsageError(f"rewind={rewind}: a step up to 2**62 is needed")
        if resume is False:
            msg = f"rewind goes on with a run that is there, so resume={asked_for!r} cannot be given with it"
            raise UsageError(msg)
    if (resume or rewind is not None) and name is None and not launch.job:
        asked = "rewind" if rewind is not None else f"resume={asked_for!r}"
        raise UsageError(f"{asked} needs the run: pass name='...'")
    mode = _choice("mode", read("STENO_MODE", "on") if mode is None else mode, _MODES)
    if isinstance(tags, str):
        tags = (tags,)
    return Request(
        root=Path(paths.absolute("dir", dir or read("STENO_DIR", "runs"), _IN_A_STORE)),
        project=project,
        name=name,
        config=dict(config or {}),
        destinations=_specs(destinations) if mode == "on" else (),
        resume=resume,
        rewind=rewind,
        launch=launch,
        tags=tuple(escaped(str(tag)) for tag in tags),
        notes=escaped(str(notes or "")),
        group=None if group is None else escaped(str(group)),
        mode=mode,
        strict=bool(strict),
        arrays=_choice("arrays", arrays, _ARRAYS),
        settings=settings,
        capture=None if capture in (None, False) else _choice("capture", capture, _CAPTURE),
        system_secs=_system(system_metrics) if mode == "on" else None,
        version=version,
        stores=_stores(store=store, artifacts=settings.artifacts) if mode == "on" else {},
    )


def _stores(**given: Any) -> dict[str, str]:
    asked = {role: url for role, url in given.items() if url is not None}
    if not asked:
        return {}
    from steno.objects import url as urls

    return {role: urls.check(role, url) for role, url in asked.items()}


def _resume(value: Any) -> Resume:
    # 1 and 0 too, as command lines give them.
    for given, meant in (("must", True), ("never", False), ("allow", "allow"), (True, True), (False, False)):
        if value == given:
            return meant  # type: ignore[return-value]
    if value is None:
        return None
    raise UsageError(
        f"resume={value!r}: 'allow' (go on with the run if it is there), 'must' or True (it must be there), 'never' or "
        "False (it must be new) or None is needed"
    )


def _whole(what: str, value: Any) -> int:
    try:
        number = value.__index__() if not isinstance(value, bool) else -1
    except (AttributeError, TypeError):
        number = -1
    if number < 0:
        raise UsageError(f"{what}={value!r}: an integer from 0 on is needed")
    return int(number)


def _choice(what: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise UsageError(f"{what}={value!r} is not known: use {' or '.join(map(repr, allowed))}")
    return str(value)


def _system(every_secs: Any) -> float | None:
    """Seconds between two samples."""
    if every_secs is None or every_secs is False:
        return None
    every_secs = _SYSTEM_SECS if every_secs is True else every_secs
    if not isinstance(every_secs, int | float) or not _LEAST_SYSTEM_SECS <= every_secs <= _MOST_SYSTEM_SECS:
        raise UsageError(
            f"system_metrics={every_secs!r}: a number of seconds from {_LEAST_SYSTEM_SECS} to {_MOST_SYSTEM_SECS} is "
            f"needed, or True for {_SYSTEM_SECS:.0f}"
        )
    return float(every_secs)


def _specs(destinations: Iterable[Any] | str) -> tuple[Spec, ...]:
    if destinations is None or destinations == ():
        return ()
    from steno.destinations import registry

    if isinstance(destinations, str):
        destinations = [destinations]
    try:
        wanted = list(destinations)
    except TypeError:
        raise UsageError(
            f"destinations={destinations!r}: a list of names, pairs (name, options) or objects is needed"
        ) from None
    return tuple(registry.normalise(item) for item in wanted)
