"""Answers that several resources give: JSON that keeps every number, errors, the page that asks for the token."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import FileResponse, Response

from steno.errors import CorruptError, RunNotFoundError, StenoError, UsageError

if TYPE_CHECKING:
    from starlette.types import Scope

_AS_IT_IS: Final = frozenset({bool, str, type(None)})
_ASK: Final = Path(__file__).parent / "ask"


def data(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(encoded(value), status, media_type="application/json")


def encoded(value: Any) -> bytes:
    """A value as JSON in UTF-8; what JSON has no number for is `{"$": "NaN"}` and its like."""
    return msgspec.json.encode(plain(value))


def plain(value: Any) -> Any:
    """The value as JSON can hold it, without loss.

    NaN, infinities and integers beyond 2**53, which JavaScript would round, are `{"$": TEXT}`; moments are ISO 8601.
    """
    kind = type(value)
    if kind in _AS_IT_IS or (kind is int and -(2**53) <= value <= 2**53):
        return value
    if kind is dict:
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return {"$": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, int):
        return int(value) if -(2**53) <= value <= 2**53 else {"$": str(int(value))}
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if hasattr(value, "items"):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    return plain(value.item()) if hasattr(value, "item") else str(value)


def moment(nanos: int | None) -> str | None:
    """A time in ns since 1970 as ISO 8601 in UTC, with microseconds."""
    if nanos is None:
        return None
    try:
        whole = dt.datetime.fromtimestamp(nanos // 1_000_000_000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{nanos // 1000 % 1_000_000:06d}Z"


def wrong(status: int, error: str, remedy: str = "", **more: Any) -> Response:
    """An error: what is wrong, and what can be done."""
    return data({"error": error, "remedy": remedy, **more}, status)


def said(error: Exception) -> dict[str, str]:
    """One of our own errors, whose message has its remedy in it, as {"error", "remedy"}."""
    return {"error": " ".join(str(error).split()), "remedy": ""}


def of_error(error: StenoError) -> Response:
    """What one of our own errors is in HTTP."""
    status = 500
    if isinstance(error, RunNotFoundError):
        status = 404
    elif isinstance(error, UsageError):
        status = 400
    elif isinstance(error, CorruptError):
        status = 422
    at = getattr(error, "at", None)
    return wrong(status, **said(error), **({} if at is None else {"at": at}))


def ask(scope: Scope) -> Response:
    """401: a page that asks for the token, or JSON where a program asks."""
    if scope["path"].startswith("/api/"):
        return wrong(401, "the token is missing or wrong", "open the address that `steno view` printed")
    return FileResponse(_ASK / "ask.html", 401, media_type="text/html; charset=utf-8")


def ask_script() -> Response:
    """The script of that page."""
    return FileResponse(_ASK / "ask.js", media_type="text/javascript; charset=utf-8")
