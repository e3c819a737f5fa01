"""What programs that come from other loggers say to `init` and `finish`, in our words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from steno.capture.report import say
from steno.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_OURS: Final = {"description": "notes", "experiment_name": "name", "id": "name", "log_dir": "dir", "logdir": "dir"}
_MODES: Final = {"disabled": "off", "local": "on", "offline": "on"}
_SERVICE: Final = "destinations=[('swanlab', {'workspace': '…'})] sends the run to SwanLab's service as well"
_NOTHING: Final = {
    "workspace": _SERVICE,
    "public": _SERVICE,
    "color": "it is a page's own matter",
    "parallel": "processes of one program share a run by themselves",
    "callbacks": "destinations=[…] takes objects that are told of each record",
}
_STATES: Final = {
    "success": "finished", "finished": "finished", "crashed": "failed", "aborted": "failed", "failed": "failed",
}  # fmt: skip


def translated(named: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `init` in our words; those that mean nothing here are said and left out.

    Raises:
        UsageError: `mode="online"`, which would leave the user waiting for a page.
    """
    found = dict(named)
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
        raise UsageError(f"mode='online': steno records on this machine, so leave mode out; {_SERVICE}")
    if isinstance(mode, str) and mode in _MODES:
        found["mode"] = _MODES[mode]
    return found


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
