"""`api/edit`: what people call runs and say of them, changed through the page where the viewer allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool

from steno import edits
from steno.errors import UsageError
from steno.viewer import answers, asked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from steno.viewer.catalogue import Catalogue

_MOST_RUNS: Final = 1000


def refused() -> Response:
    """403: this viewer was started to look, not to change."""
    return answers.wrong(403, "this viewer shows runs and changes nothing", "start it with `steno view --allow-edit`")


class EditResource:
    """The resource.

    Args:
        catalogue: the runs.
        allowed: whether they may be changed.
        changed: called after at least one was.
    """

    def __init__(self, catalogue: Catalogue, *, allowed: bool, changed: Callable[[], None]) -> None:
        self._catalogue = catalogue
        self._allowed = allowed
        self._changed = changed

    async def edit(self, request: Request) -> Response:
        """One field of some runs gets a value. Each run is changed, or said to be not, by itself."""
        if not self._allowed:
            return refused()
        given = await asked.body(request)
        return answers.data(await run_in_threadpool(self._edit, given))

    def _edit(self, given: Mapping[str, Any]) -> dict[str, Any]:
        runs = asked.texts(given, "runs", _MOST_RUNS)
        if not runs:
            raise UsageError("runs is missing: give the ids of the runs to change")
        field = asked.text(given, "field") or ""
        if "value" not in given:
            raise UsageError("value is missing: give the new value of the field")
        wanted = edits.checked(field, given["value"])
        edits.lines({field: wanted})  # one that is too long is so for every run
        runs = list(dict.fromkeys(runs))
        if field == "name" and wanted and len(runs) > 1:
            raise UsageError("a name is one run's: give it to one run")
        values = _arguments(field, wanted)
        done, problems = [], []
        for run in runs:
            try:
                self._catalogue.reader(run).edit(**values)
                done.append(run)
            except Exception as error:  # a run that cannot be written, or is gone, costs itself alone
                problems.append({"run": run, **answers.said(error)})
        if done:
            self._changed()
        return {"edited": done, "problems": problems}


def _arguments(field: str, value: Any) -> dict[str, Any]:
    """The arguments of a reader's `edit`."""
    if field == "tags" and isinstance(value, dict):
        return {f"{kind}_tags": tags for kind, tags in value.items()}
    return {field: value}
