"""What programs that come from other loggers say to `init`, `log_artifact` and `finish`, in our words."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from steno.capture.report import say
from steno.errors import UsageError
from steno.habits import ARTIFACT, INIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_P = ParamSpec("_P")
_T = TypeVar("_T")
_OURS: Final = {"description": "notes", "experiment_name": "name", "id": "name", "log_dir": "dir", "logdir": "dir"}
_MODES: Final = {"disabled": "off", "local": "on", "offline": "on"}
_ALONE: Final = "a run is a directory on this machine, without an account"
_SERVICE: Final = "destinations=[('swanlab', {'workspace': '…'})] sends the run to SwanLab's service as well"
_PAGES: Final = f"destinations=['wandb'] sends the run to W&B as well, and {_SERVICE}"
_NOTHING: Final = {
    "workspace": _SERVICE,
    "public": _SERVICE,
    "color": "it is a page's own matter",
    "parallel": "processes of one program share a run by themselves",
    "callbacks": "destinations=[…] takes objects that are called with each record",
    "entity": _ALONE,
    "anonymous": _ALONE,
    "force": _ALONE,
    "save_code": "run.json has the commit, and run.log_artifact(path) keeps a file",
    "allow_val_change": "every value of run.config may change",
}
_STATES: Final = {
    "success": "finished", "finished": "finished", "crashed": "failed", "aborted": "failed", "failed": "failed",
}  # fmt: skip


def translated(named: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `init` in our words; those that mean nothing here are said and left out.

    Raises:
        UsageError: `mode="online"`, which would leave the user waiting for a page; what would change the record.
    """
    found = dict(named)
    for theirs, remedy in INIT.items():
        if found.pop(theirs, None):
            raise UsageError(f"steno.init has no {theirs!r}: {remedy}")
    for theirs, ours in _OURS.items():
        value = found.pop(theirs, None)
        if value is not None and found.get(ours) is None:
            found[ours] = value
    job_type = found.pop("job_type", None)
    if job_type is not None:
        tags = found.get("tags") or ()
        found["tags"] = (*((tags,) if isinstance(tags, str) else tags), str(job_type))
    for theirs, remedy in _NOTHING.items():
        if found.pop(theirs, None) is not None:
            say(f"init: {theirs}= means nothing here; {remedy}")
    mode = found.get("mode")
    if mode == "online":
        raise UsageError(f"mode='online': steno records on this machine, so leave mode out; {_PAGES}")
    if isinstance(mode, str) and mode in _MODES:
        found["mode"] = _MODES[mode]
    return found


def refusing(log_artifact: Callable[_P, _T]) -> Callable[_P, _T]:
    """`log_artifact` that answers arguments of other loggers' with ours, by a UsageError."""

    @functools.wraps(log_artifact)
    def checked(*arguments: _P.args, **named: _P.kwargs) -> _T:
        for theirs in named.keys() & ARTIFACT.keys():
            raise UsageError(f"log_artifact has no {theirs!r}: {ARTIFACT[theirs]}")
        return log_artifact(*arguments, **named)

    return checked


def understanding(finish: Callable[_P, bool]) -> Callable[_P, bool]:
    """`finish` that takes W&B's `exit_code`, not 0 for a failure, and its `quiet`, which means nothing."""

    @functools.wraps(finish)
    def checked(*arguments: _P.args, **named: _P.kwargs) -> bool:
        named.pop("quiet", None)
        code = named.pop("exit_code", None)
        if code:
            named.setdefault("error", f"exit code {code}")
        return finish(*arguments, **named)

    return checked


def end_of(timeout: Any, error: Any, state: Any) -> tuple[str, tuple[str, str] | None, float | None]:
    """(the run's state, why, the seconds) of a call of `finish`, which may say the state in the timeout's place.

    Raises:
        UsageError: another state, or no number of seconds.
    """
    if isinstance(timeout, str):
        state, timeout = timeout, None
    if state is None:
        state = "success" if error is None else "crashed"
    if state not in _STATES:
        raise UsageError(f"finish: state={state!r} is none of {', '.join(map(repr, _STATES))}")
    if timeout is not None and (isinstance(timeout, bool) or not hasattr(timeout, "__float__")):
        raise UsageError(f"finish: timeout={timeout!r} is not a number of seconds")
    failed = _STATES[state] == "failed"
    return _STATES[state], (str(state if error is None else error), "") if failed else None, timeout
