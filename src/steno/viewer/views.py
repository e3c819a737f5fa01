"""`api/views`: views that were kept under names; all may open them, and where the viewer allows edits, change them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from steno.errors import UsageError
from steno.viewer import answers, asked
from steno.viewer.edit import refused
from steno.viewer.kept import TakenError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from steno.viewer.kept import KeptViews


class Views:
    """The resources.

    Args:
        kept: where they are.
        allowed: whether they may be changed.
        changed: called after one was.
    """

    def __init__(self, kept: KeptViews, *, allowed: bool, changed: Callable[[], None]) -> None:
        self._kept = kept
        self._allowed = allowed
        self._changed = changed

    async def list(self, _: Request) -> Response:
        """`api/views`."""
        found, left_out = await run_in_threadpool(self._kept.all)
        return answers.data({"views": [dataclasses.asdict(one) for one in found], "left_out": left_out})

    async def save(self, request: Request) -> Response:
        """`api/views/save`."""
        return await self._change(request, self._save)

    async def call(self, request: Request) -> Response:
        """`api/views/rename`."""
        return await self._change(request, lambda given: self._kept.call(_name(given), _name(given, "to")))

    async def drop(self, request: Request) -> Response:
        """`api/views/remove`."""
        return await self._change(request, lambda given: self._kept.drop(_name(given)))

    def _save(self, given: Mapping[str, Any]) -> None:
        self._kept.save(_name(given), given.get("view"), replace=asked.yes(given, "replace"))

    async def _change(self, request: Request, act: Callable[[Mapping[str, Any]], object]) -> Response:
        if not self._allowed:
            return refused()
        given = await asked.body(request)
        try:
            await run_in_threadpool(act, given)
        except TakenError as error:
            return answers.wrong(409, **answers.said(error))
        self._changed()
        return answers.data({})


def _name(given: Mapping[str, Any], of: str = "name") -> str:
    found = asked.text(given, of)
    if found is None:
        raise UsageError(f"{of} is missing: say which view")
    return found
