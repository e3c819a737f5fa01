"""How values look in a terminal, and in JSON for programs."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from steno import moments
from steno.cli.encoding import is_unicode
from steno.visible import in_json, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

LONGEST = 300


def console() -> Console:
    """Standard output, made at the call so that a redirected sys.stdout is respected.

    Where there is no terminal the width is 140 (or COLUMNS), so that a table in a log keeps its columns. Texts are
    taken literally, and what would steer the terminal is shown, whoever prints it.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or 140)
    made = Console(width=width, highlight=False, soft_wrap=False, markup=False, emoji=False)
    made.push_render_hook(cast("Any", _Visibly()))
    return made


class _Visibly:
    """Stands at the only door of a console: rich's own colours pass, and so do the moves of its live displays."""

    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        """Have each of them rendered visibly."""
        return [_Visible(one) for one in renderables]


class _Visible:
    """What another renderable shows, made visible."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: Any) -> Any:
        """Rich's protocol."""
        from rich.segment import Segment

        for one in console.render(self._inner, options):
            yield one if one.control else Segment(visible(one.text), one.style)


def say(line: str) -> None:
    """A line on standard output."""
    sys.stdout.write(visible(line) + "\n")


def complain(line: str) -> None:
    """A line on standard error."""
    sys.stderr.write(visible(line) + "\n")


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """How many of how many are done, on standard error where that is a terminal; it is cleared at the end.

    Args:
        what: what is counted.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    out = Console(stderr=True)
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=out, transient=True, disable=not out.is_interactive) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, of: shown.update(task, completed=done, total=of or None)


def table(*columns: str, numbers: tuple[str, ...] = (), title: str | None = None) -> Table:
    """A plain table; the columns named in `numbers` are aligned to the right."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def in_color() -> bool:
    """Whether standard output may be given colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def print_text(console: Console, text: str) -> None:
    """Text that is laid out already, its colours as escape sequences."""
    from rich.text import Text

    console.print(Text.from_ansi(text), soft_wrap=True)


def number(value: Any) -> str:
    """A number in at most about twelve characters, integers whole; a text cut at `LONGEST` ones, and visible."""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e9 else f"{value:.6g}"
    return "" if value is None else visible(cut(str(value)))


def quantity(key: str, value: Any) -> str:
    """A metric's value: of a key that ends in `_bytes` with its unit, else as `number`."""
    if key.endswith("_bytes") and isinstance(value, int | float) and math.isfinite(value):
        return size(value)
    return number(value)


def cut(text: str) -> str:
    """A text as far as a terminal can show it: a logged one may have megabytes."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def literal(value: Any) -> Text:
    """A value for a table, taken literally: rich follows no markup in it."""
    from rich.text import Text

    return Text(number(value))


def size(size_bytes: float) -> str:
    """`1536` as `1.5 KiB`."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def duration(seconds: float) -> str:
    """`3725` as `1 h 02 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60):02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def when(moment: Any) -> str:
    """A moment as local time to the second: a datetime, nanoseconds since 1970, or numpy's datetime64."""
    if moment is None:
        return ""
    if isinstance(moment, dt.datetime):
        return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    nanos = int(moment) if isinstance(moment, int | float) else int(moment.astype("datetime64[ns]").astype("int64"))
    return when(dt.datetime.fromtimestamp(nanos / 1e9, tz=dt.UTC))


def iso(nanos: int | None) -> str | None:
    """Nanoseconds since 1970 as ISO 8601 in UTC; None stays None."""
    return None if nanos is None else moments.iso(nanos)


def print_json(value: Any) -> None:
    """One JSON value on standard output, as `plain` gives it."""
    sys.stdout.write(in_json(json.dumps(plain(value), ensure_ascii=not is_unicode())) + "\n")


def plain(value: Any) -> Any:
    """What JSON can hold exactly: NaN and infinities as the strings NaN, Infinity, -Infinity; times in ISO 8601."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return _of_array(value) if hasattr(value, "dtype") else str(value)


def _of_array(value: Any) -> Any:
    if value.dtype.kind == "M":
        # ISO 8601 in UTC, with all nine digits.
        value = value.astype("datetime64[ns]").astype(str)
        return [f"{item}Z" for item in value.tolist()] if getattr(value, "ndim", 0) else f"{value}Z"
    return plain(value.tolist())


def uploads(facts: Mapping[str, Any]) -> str:
    """What a collector says of the run's object stores, in a line."""
    places = ", ".join(sorted(set((facts.get("stores") or {}).values())))
    left, all_files = facts.get("files_left") or 0, facts.get("files") or 0
    gone, all_bytes = (facts.get("bytes") or 0) - (facts.get("bytes_left") or 0), facts.get("bytes") or 0
    text = f"upload to {places}: {facts.get('state', 'not begun')}, {all_files - left} of {all_files} files, "
    text += f"{size(gone)} of {size(all_bytes)}"
    if facts.get("eta_secs") is not None:
        text += f", {size(facts['rate'])}/s, about {duration(facts['eta_secs'])} to go"
    if facts.get("retries"):
        text += f", {facts['retries']} retries"
    return text + (f"; last error: {facts['error']}" if facts.get("error") else "")
