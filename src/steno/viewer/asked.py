"""What a request asks, read and judged: each value has its type and its bounds, or the request is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

LARGEST_BODY: Final = 4 << 20
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


class TooMuchError(UsageError):
    """More is asked for than one answer may have."""


async def body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent.

    Raises:
        TooMuchError: it has more than 4 MiB.
        UsageError: it is none.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            raise TooMuchError(f"the request has more than {LARGEST_BODY >> 20} MiB: ask for fewer runs at a time")
        parts.append(part)
    try:
        found = msgspec.json.decode(b"".join(parts))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UsageError(f"the request is no JSON ({error}): send an object") from None
    if not isinstance(found, dict):
        raise UsageError("the request is no JSON object: send {…}")
    return found


def of_query(request: Request, *lists: str) -> dict[str, Any]:
    """The parameters of the address; those named in `lists` may be repeated."""
    return {
        name: request.query_params.getlist(name) if name in lists else value
        for name, value in request.query_params.items()
    }


def text(given: Mapping[str, Any], name: str, default: str | None = None) -> str | None:
    """A text, or `default` where there is none or an empty one.

    Raises:
        UsageError: it is something else.
    """
    found = given.get(name)
    if found is None or found == "":
        return default
    if not isinstance(found, str):
        raise UsageError(f"{name}={found!r} is no text")
    return found


def texts(given: Mapping[str, Any], name: str, most: int = 100_000) -> list[str] | None:
    """A list of texts, or None where there is none.

    Raises:
        UsageError: it is something else.
        TooMuchError: there are more than `most`.
    """
    found = given.get(name)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise UsageError(f"{name} is no list of texts")
    if len(found) > most:
        raise TooMuchError(f"{name} has {len(found):,} texts, and at most {most:,} are taken")
    return found


def whole(given: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    """A whole number from `low` to `high`, a text of digits too.

    Raises:
        UsageError: it is something else.
    """
    found = given.get(name, default)
    if isinstance(found, str) and found.isascii() and found.isdecimal() and len(found) < 19:
        found = int(found)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise UsageError(f"{name}={found!r}: a whole number from {low:,} to {high:,} is needed")
    return found


def number(given: Mapping[str, Any], name: str) -> float | None:
    """A finite number, a text of one too; None where there is none.

    Raises:
        UsageError: it is something else.
    """
    found = given.get(name)
    if found is None or found == "":
        return None
    try:
        made = float(found) if isinstance(found, str | int | float) and not isinstance(found, bool) else math.nan
    except (ValueError, OverflowError):
        made = math.nan
    if not math.isfinite(made):
        raise UsageError(f"{name}={found!r}: a number is needed")
    return made


def yes(given: Mapping[str, Any], name: str) -> bool:
    """A truth value; false where there is none.

    Raises:
        UsageError: it is something else.
    """
    found = given.get(name, False)
    found = _BOOLEANS.get(found.lower(), found) if isinstance(found, str) else found
    if not isinstance(found, bool):
        raise UsageError(f"{name}={found!r}: true or false is needed")
    return found


def run(given: Mapping[str, Any]) -> str:
    """The run's id.

    Raises:
        UsageError: there is none.
    """
    found = text(given, "run")
    if found is None:
        raise UsageError("run is missing: say which run's")
    return found
