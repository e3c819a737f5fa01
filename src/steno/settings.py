"""Every setting and environment variable of steno: one schema for `init`, the environment and the documentation."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from steno import paths
from steno.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

_S = TypeVar("_S")
_ON: Final = ("on", "1", "true", "yes")
_OFF: Final = ("off", "0", "false", "no")
LEAST_SEGMENT_BYTES: Final = 64 << 10
_MOST_SEGMENT_BYTES: Final = 1 << 30

VARIABLES: Final[dict[str, str]] = {
    "STENO_RUN": "the run's name, for a program that a launcher starts many times",
    "STENO_JOB": "what names the job on all of its hosts and belongs to no other job, such as a Kubernetes job's uid",
    "STENO_RUN_DIR": "the run directory that multiprocessing children join; `init` exports it",
    "STENO_RUN_AS": "rank, attempt and settings that those children take over; `init` exports it",
    "STENO_WRITER": "the global writer that multiprocessing children join; `GlobalSummaryWriter` exports it",
    "STENO_DIR": "where runs are kept; `runs` where unset",
    "STENO_MODE": "`on` or `off`, when `init` has no `mode`",
    "STENO_NATIVE": "`0`: `log` is Python's; `require`: `init` fails where there is no native module; unset or `1`: "
    "the native `log` where it is built",
    "STENO_KEEP_LEDGER": "1: runs that have ended keep their machinery, `.steno`, to be looked into",
    "STENO_CACHE_DIR": "where copies of runs read from object stores are kept, and an index of runs that were "
    "listed (at most 2 GiB); `~/.cache/steno` where unset",
}
"""The variables that are no settings, and what each is."""


# -- what values a setting takes ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """The values that a setting takes.

    Args:
        needed: the values, in words.
        take: makes a value what is kept of it; raises ValueError or TypeError for any other.
        read: the same for an environment variable's text.
    """

    needed: str
    take: Callable[[Any], Any]
    read: Callable[[str], Any] = str


def _flag(value: Any) -> bool:
    word = value.lower() if isinstance(value, str) else value
    if word in (True, *_ON):
        return True
    if word in (False, *_OFF):
        return False
    raise ValueError(value)


def _whole(least: int, most: float = float("inf")) -> Callable[[Any], int]:
    def take(value: Any) -> int:
        number = index(value)
        if isinstance(value, bool) or not least <= number <= most:
            raise ValueError(number)
        return number

    return take


def _seconds(value: Any) -> float:
    if isinstance(value, bool | str | bytes) or not float(value) >= 0:
        raise ValueError(value)
    return float(value)


def _one_of(*allowed: str) -> Kind:
    def take(value: Any) -> str:
        if value not in allowed:
            raise ValueError(value)
        return str(value)

    return Kind(f"{', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}", take)


def _path(value: Any) -> Path:
    return Path(paths.absolute("the path", value))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(value)
    return value


def _count(least: int) -> Kind:
    return Kind(f"a whole number from {least} on", _whole(least), int)


# -- the settings ---------------------------------------------------------------------------------------------


def _setting(kind: Kind, default: Any, meaning: str, unset: str = "") -> Any:
    """A field of `Settings`; `unset` says what holds where the default is None."""
    return field(default=None, metadata={"kind": kind, "default": default, "meaning": meaning, "unset": unset})


def _refusing_unknown_names(cls: type[_S]) -> type[_S]:
    known = [one.name for one in fields(cls)]  # type: ignore[arg-type]
    made = cls.__init__

    @functools.wraps(made)
    def init(self: Any, *arguments: Any, **given: Any) -> None:
        refuse_unknown("steno.Settings", given, known)
        made(self, *arguments, **given)

    cls.__init__ = init  # type: ignore[method-assign]
    return cls


@_refusing_unknown_names
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What experts set about recording; `steno.init(settings=steno.Settings(linger=10))`.

    One that is not given is read from its environment variable, `STENO_` and its name in capitals, when the settings
    are made; where that is unset too, the default holds. None is as good as not given. Frozen, so thread-safe.

    Raises:
        UsageError: an unknown name, or a value or an environment variable that the setting does not take.
    """

    collector: bool = _setting(
        Kind("on or off", _flag),
        True,
        "whether a collector posts and delivers; else `steno sync` does it later",
    )
    linger: float = _setting(
        Kind("a number of seconds from 0 on", _seconds, float), 60.0,
        "seconds that the collector stays for destinations that cannot take their records",
    )  # fmt: skip
    adopt_secs: float = _setting(
        Kind("a number of seconds from 0 on", _seconds, float), 120.0,
        "seconds without a sign of life after which the journal of another machine's writer is posted by this one; "
        "0: only `steno sync --adopt` does",
    )  # fmt: skip
    journal_dir: Path | None = _setting(  # noqa: RUF009 - a field
        Kind("a path", _path), None, "directory that journals are kept in", "the run's directory"
    )
    segment_bytes: int = _setting(
        Kind(
            f"a whole number from {LEAST_SEGMENT_BYTES} to {_MOST_SEGMENT_BYTES}",
            _whole(LEAST_SEGMENT_BYTES, _MOST_SEGMENT_BYTES),
            int,
        ),
        8 << 20,
        "bytes of a full-grown journal segment",
    )
    device_full: str = _setting(
        _one_of("oldest", "newest", "wait"), "oldest",
        "which device value is given up, and counted, when thousands are on their way; `wait`: `log` waits for room",
    )  # fmt: skip
    async_workers: int = _setting(_count(1), 4, "threads of `async_log`")
    async_processes: int = _setting(
        _count(1), 2, "child processes of `async_log`, in mode `spawn` and at work in mode `fork`"
    )
    async_queue: int = _setting(_count(1), 10_000, "tasks of `async_log` that may be pending in each mode")
    async_full: str = _setting(
        _one_of("raise", "wait", "drop"), "raise",
        "what becomes of a task beyond them; `raise`: its Future has an error, the call raises nothing",
    )  # fmt: skip
    quiet: bool = _setting(
        Kind("on or off", _flag), False,
        "whether a terminal is spared the lines that say where the run is and how to look at it",
    )  # fmt: skip
    rank: int | None = _setting(
        _count(0), None, "index of this process among those of its job", "what the launcher says"
    )
    world_size: int | None = _setting(
        _count(1), None, "number of those processes, with `rank`", "what the launcher says"
    )
    live_secs: float | None = _setting(
        Kind("a number of seconds from 0 on", _seconds, float), None,
        "seconds between two sendings of what is new to the object store `store`; 0: only whole parts are sent",
        "5, and more for more than 64 nodes",
    )  # fmt: skip
    artifacts: str | None = _setting(
        Kind("a URL", _text), None, "URL of an object store that keeps the run's artifacts alone", "`store`, if given"
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            kind: Kind = one.metadata["kind"]
            value, what = getattr(self, one.name), one.name
            try:
                if value is not None:
                    value = kind.take(value)
                elif text := os.environ.get(variable(one.name)):
                    value, what = text, variable(one.name)
                    value = kind.take(kind.read(text))
                else:
                    value = one.metadata["default"]
            except (ValueError, TypeError, OverflowError):
                raise UsageError(f"{what}={_shown(value)}: {kind.needed} is needed") from None
            object.__setattr__(self, one.name, value)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"STENO_{name.upper()}"


def meanings() -> dict[str, str]:
    """Every environment variable that steno reads, and what it is."""
    return {**VARIABLES, **{variable(one.name): one.metadata["meaning"] for one in fields(Settings)}}


def taken(settings: Any, more: Mapping[str, Any] | None = None) -> Settings:
    """What `init` was given as settings: nothing, `Settings`, or a mapping; `more`: those that it was given by name.

    Raises:
        UsageError: it is none of these, or names and values that `Settings` does not take.
    """
    if isinstance(settings, Settings):
        if not more:
            return settings
        settings = {one.name: getattr(settings, one.name) for one in fields(Settings)}
    if not isinstance(settings, Mapping | None):
        raise UsageError(f"settings={_shown(settings)}: pass settings=steno.Settings(linger=10), or a mapping")
    return Settings(**{**{str(name): value for name, value in (settings or {}).items()}, **(more or {})})


def read(name: str, default: str = "") -> str:
    """The value of a variable that is no setting, or the default when unset or empty."""
    if name not in VARIABLES:
        msg = f"{name} is not in steno.settings.VARIABLES"
        raise KeyError(msg)
    return os.environ.get(name) or default


def refuse_unknown(what: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse the first name that is not known, with the nearest that is.

    Raises:
        UsageError: there is one.
    """
    for name in given:
        if name not in known:
            raise UsageError(f"{what} has no {name!r}: {nearest(name, known)}")


def nearest(name: str, known: Collection[str]) -> str:
    """The known name that a mistaken one may stand for, as advice; else all of them."""
    from difflib import get_close_matches

    # What one has more than the other, as a unit, says less than what is different.
    near = [one for one in known if name.lower().startswith(f"{one}_") or one.startswith(f"{name.lower()}_")]
    near = near or get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"


def _shown(value: Any) -> str:
    try:
        return repr(value)[:200]
    except Exception:
        return f"a {type(value).__name__}"


Settings.__doc__ = f"{(Settings.__doc__ or '').rstrip()}\n\n    Args:\n" + "\n".join(
    f"        {one.name}: {one.metadata['meaning']} ({one.metadata['unset'] or one.metadata['default']})."
    for one in fields(Settings)
)
