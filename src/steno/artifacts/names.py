"""An artifact's name: fields filled in, and nothing in it that could lead out of the run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.utf8 import brief

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS: Final = (
    "run_name", "rank", "local_rank", "world_size", "local_world_size", "node_rank", "step", "epoch", "batch",
)  # fmt: skip
MAX_BYTES: Final = 1024
_FIELD: Final = re.compile(r"\{(\{[A-Za-z_]\w*(?::[^{}]*)?\})\}|\{([A-Za-z_]\w*)(?::([^{}]*))?\}", re.ASCII)


def formatted(template: str, values: Mapping[str, Any]) -> str:
    """The template with each `{field}` or `{field:format}` replaced, once: what is put in is not looked at again.

    `{{field}}` gives `{field}`. Braces around anything but a plain word stand for themselves.

    Args:
        template: text with fields out of FIELDS.
        values: by field; None is no value.

    Raises:
        UsageError: an unknown field, one without a value, or a format that does not fit its value.
    """

    def fill(found: re.Match[str]) -> str:
        literal, field, form = found.groups()
        if literal is not None:
            return str(literal)
        if field not in FIELDS:
            known = ", ".join(FIELDS)
            msg = f"{template!r} has the unknown field {{{field}}}, not of {known}; {{{{{field}}}}} is the text itself"
            raise UsageError(msg)
        value = values.get(field)
        if value is None:
            msg = f"{template!r} has the field {{{field}}}, which has no value here{_REMEDIES.get(field, '')}"
            raise UsageError(msg)
        try:
            return format(value, form or "")
        except (ValueError, TypeError) as error:
            msg = f"{template!r}: {value!r} cannot be formatted as {form!r}: {error}"
            raise UsageError(msg) from None

    return _FIELD.sub(fill, template) if isinstance(template, str) else template


_REMEDIES: Final = {
    "step": ": pass step=",
    "epoch": ": run.event(..., epoch=...) sets it, and run.event(steno.Event.EPOCH_END) counts it",
    "batch": ": run.event(..., batch=...) sets it, and run.event(steno.Event.BATCH_END) counts it",
    "local_world_size": ": the launcher does not tell it",
    "node_rank": ": the launcher does not tell it",
}


def is_one(name: str) -> bool:
    """Whether an artifact can be called so."""
    return not _fault(name)


def checked(name: str) -> str:
    """The name, if it may be one.

    Raises:
        UsageError: it is empty, too long, no text, or would lead out of a directory.
    """
    why = _fault(name) if isinstance(name, str) else f"a name is a str, not {type(name).__name__}"
    if why:
        msg = f"an artifact cannot be named {brief(name)}: {why}"
        raise UsageError(msg)
    return name


def _fault(name: str) -> str:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode; pass name="
    if not name or size > MAX_BYTES:
        return f"a name has 1 to {MAX_BYTES} bytes"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return "it has a control character in it"
    if "\\" in name:
        return 'it has a backslash in it; parts are set apart by "/"'
    if name.startswith("/"):
        return "it is an absolute path"
    parts = name.split("/")
    if "" in parts:
        return 'it has an empty part, before or behind a "/"'
    if "." in parts or ".." in parts:
        return 'it has "." or ".." as a part'
    return ""
