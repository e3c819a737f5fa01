"""The page as one HTML file with its data in it: no network, no script but the page's own."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from typing import Final

from steno.errors import StenoError
from steno.viewer.page import PAGE

MOST_BYTES: Final = 20_000_000
_POLICY: Final = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data: blob:; base-uri 'none'; "
    "form-action 'none'"
)


def _built(name: str) -> str:
    try:
        return (PAGE / name).read_text(encoding="utf-8")
    except OSError as error:
        raise StenoError(f"the page is not in this installation: {error.strerror}") from error


def room(most_bytes: int) -> int:
    """How many bytes of data such a file can have."""
    return (most_bytes - len(written("", b"")) - 4096) // 4 * 3


def written(title: str, data: bytes) -> bytes:
    """The file.

    Args:
        title: of the document, plain text.
        data: what `ui/src/wire/file.ts` reads.
    """
    script, style = _closed("script", _built("page.js")), _closed("style", _built("page.css"))
    policy = _POLICY.format(script=_hash(script), style=_hash(style))
    return "".join(
        (
            '<!doctype html><html lang="en" data-file><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f'<title>{html.escape(title)}</title><link rel="icon" href="data:,">',
            f'<style>{style}</style></head><body><div id="page"></div>',
            f'<script type="application/octet-stream" id="steno-data">{base64.b64encode(data).decode()}</script>',
            f'<script type="module">{script}</script></body></html>\n',
        )
    ).encode()


def _closed(element: str, text: str) -> str:
    """The text of an element that nothing in it ends: a backslash in a string changes nothing before these."""
    return re.sub(rf"<(?=/{element}|!--)", r"<\\", text, flags=re.IGNORECASE)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
