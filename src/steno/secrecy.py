"""Tells secrets by their names and forms, and keeps them out of what is written down."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

_SECRET_WORDS: Final = frozenset(
    {"password", "passwd", "passphrase", "secret", "secrets", "credential", "credentials", "apikey"}
)
_SECRET_PAIRS: Final = frozenset(
    {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("auth", "key")}
    | {
        (first, "token")
        for first in ("access", "api", "auth", "bearer", "bot", "hf", "hub", "github", "gitlab", "refresh", "session")
    }
)
_KNOWN_TOKENS: Final = re.compile(
    r"\b(hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|sk-[\w-]{20,}"
    r"|AKIA[0-9A-Z]{16}|xox[abpr]-[\w-]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})"
)
_URL_PASSWORD: Final = re.compile(r"(\b[a-zA-Z][\w+.-]*://)[^/\s:@]*:[^/\s@]*@")
_URL_QUERY: Final = re.compile(r"(?i)([?&](?:[\w-]*token|[\w-]*key|[\w-]*secret|password|sig|signature)=)[^&\s#]+")
_VARIABLES: Final = re.compile(r"(?i)(^|_)(key|token|secret|password|passwd|credentials?|connection_string|sas)(_|$)")
"""Environment variables that hold a secret, by their names: wider than `is_secret`, since hiding one loses nothing."""
HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 8
"""A shorter value of a secret variable may be part of any text."""


def mask(key: str, value: Any) -> Any:
    """The value without what looks like a secret, by its key or its form."""
    if isinstance(value, Mapping):
        return {name: mask(str(name), item) for name, item in value.items()}
    if isinstance(value, list):
        return [mask(key, item) for item in value]
    if not isinstance(value, str) or not value:
        return value
    if is_secret(key):
        return HIDDEN
    value = _URL_PASSWORD.sub(rf"\1{HIDDEN}@", value)
    value = _URL_QUERY.sub(rf"\1{HIDDEN}", value)
    return _KNOWN_TOKENS.sub(HIDDEN, value)


def is_secret(key: str) -> bool:
    """Whether a key of this name holds a secret; `pad_token` and `tokenizer` do not."""
    parts = [part for part in re.split(r"[^a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", key).lower()) if part]
    return (
        parts == ["token"]
        or any(part in _SECRET_WORDS for part in parts)
        or any(pair in _SECRET_PAIRS for pair in pairwise(parts))
    )


def scrub(text: str, environment: Mapping[str, str] | None = None) -> str:
    """A foreign library's words without secrets: those that look like one, and the values of secret variables."""
    for name, value in (os.environ if environment is None else environment).items():
        if len(value) < _SHORTEST_SECRET or value not in text:
            continue
        if (is_secret(name) or _VARIABLES.search(name)) and not os.path.exists(value):  # a path to a key is no key
            text = text.replace(value, HIDDEN)
    return str(mask("", text))
