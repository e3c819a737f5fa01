"""Draws the latest values: in a terminal, in a notebook, or as plain lines."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from steno.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console


_LONGEST_SECS = 1000 * 3600
"""A longer time left is a guess that nobody needs."""


@dataclass(frozen=True, slots=True)
class ScreenState:
    """What is drawn: `latest` has by key the step and value last seen, `rate` is in steps per second."""

    title: str
    step: int
    latest: Mapping[str, tuple[int, Any]]
    rate: float | None = None
    left_out: int = 0
    total: int | None = None

    def speed(self) -> str:
        return "" if self.rate is None else f"{self.rate:,.4g} steps/s"

    def time_left(self) -> str:
        """How long the rest takes at this speed, as `1:02:03 left`; empty where that is not known."""
        left = 0 if self.total is None else self.total - self.step - 1
        if left <= 0 or not self.rate or not left / self.rate < _LONGEST_SECS:
            return ""
        minutes, seconds = divmod(round(left / self.rate), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{seconds:02d} left"

    def line(self) -> str:
        """One plain line."""
        head = f"step {self.step}" + (f"/{self.total}" if self.total else "")
        values = [f"{brief(key)} {brief(value)}" for key, (_, value) in self.latest.items()]
        more = [f"and {self.left_out} more keys"] if self.left_out else []
        return "  ".join([head, *values, *more, *filter(None, [self.speed(), self.time_left()])])

    def table(self) -> Any:
        """A rich renderable; its last line is empty, so that a progress bar of the program has a place."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        parts: list[Any] = [
            Text.assemble((on_one_line(self.title), "bold"), f"  step {self.step:,}", (f"  {self.speed()}", "dim"))
        ]
        if self.total:
            done = max(0, min(self.step + 1, self.total))
            bar = Table.grid(padding=(0, 2))  # a bar by itself ends no line
            bar.add_row(
                ProgressBar(total=self.total, completed=done, width=40),
                Text(f"{done:,}/{self.total:,}"),
                Text(self.time_left(), "dim"),
            )
            parts.append(bar)
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(overflow="ellipsis", no_wrap=True, style="cyan")
        table.add_column(overflow="ellipsis", no_wrap=True, justify="right")
        table.add_column(no_wrap=True, justify="right", style="dim")
        for key, (step, value) in self.latest.items():
            table.add_row(Text(brief(key)), Text(brief(value)), f"@{step:,}" if step != self.step else "")
        parts.append(table)
        if self.left_out:
            parts.append(Text(f"and {self.left_out:,} more keys", "dim"))
        return Group(*parts, Text(""))


class Screen(Protocol):
    """One kind of output."""

    pause_secs: float
    """Least time between two drawings."""

    def draw(self, state: ScreenState) -> None:
        """Show the state in place of the one before."""

    def close(self) -> None:
        """Leave the last state standing."""


def find_screen() -> Screen:
    """The best that the process's output can do."""
    from rich import get_console

    if in_notebook():
        return NotebookScreen()
    console = get_console()
    if console.is_terminal and not console.is_dumb_terminal:
        with contextlib.suppress(Exception):  # another live display that will not share the terminal
            return TerminalScreen(console)
    return PlainScreen(sys.stdout)


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this program, also between two cells.

    IPython puts `get_ipython` among the builtins only while a cell runs, where rich looks for it.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


class PlainScreen:
    """A line every two seconds, for files, pipes and logs."""

    pause_secs = 2.0

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._last: ScreenState | None = None

    def draw(self, state: ScreenState) -> None:
        """Write the line, unless it is the same again."""
        if state != self._last:
            self._last = state
            text = f"{state.line()}\n"
            encoding = getattr(self._file, "encoding", None) or "utf-8"
            with _unheard(self._file):
                self._file.write(text.encode(encoding, "replace").decode(encoding))
                self._file.flush()

    def close(self) -> None:
        """Nothing: the file is the program's."""


class NotebookScreen:
    """One output under the cell, replaced twice a second."""

    pause_secs = 0.5

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, state: ScreenState) -> None:
        """Show the table, or replace the one shown."""
        import io

        from rich.console import Console

        console = Console(file=io.StringIO(), record=True, force_jupyter=False, width=100)
        console.print(state.table())
        page = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
        data = {"text/html": page, "text/plain": state.line()}
        if self._handle is None:
            from importlib import import_module

            self._handle = import_module("IPython.display").display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def close(self) -> None:
        """Nothing: the output stays."""


class TerminalScreen:
    """A table that is redrawn in its place; what the program prints goes above it."""

    pause_secs = 0.5

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        with _unheard(console.file):
            self._live.start()
            console.show_cursor(True)  # a killed program must not leave the terminal without one
        _redirect(console)

    def draw(self, state: ScreenState) -> None:
        """Redraw the table."""
        with _unheard(self._live.console.file):
            self._live.update(state.table(), refresh=True)

    def close(self) -> None:
        """Stop redrawing and give the program its own output back."""
        _restore()
        with _unheard(self._live.console.file):
            self._live.stop()


class _Above:
    """Stands for stdout or stderr: whole lines go above the table, a progress bar below it.

    Thread-safe. Not for a forked child, whose copies of the locks may be held: it gets the real stream back.
    """

    def __init__(self, console: Console, stream: TextIO, *, bars: bool) -> None:
        self.rich_proxied_file = stream
        """Where rich itself writes; the name is rich's."""
        self.console: Console | None = console
        self._bars = bars
        self._waiting = ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        console = self.console
        if console is None or not isinstance(text, str):
            return self.rich_proxied_file.write(text)
        observer = _observer(self.rich_proxied_file)
        if observer is not None:  # the text as it was printed, not as it is drawn
            observer.notify(text)
        with _unheard(self.rich_proxied_file), self._lock:
            if self._bars and not self._waiting and not text.replace("\x1b[A", "").strip("\n"):
                return len(text)  # tqdm moving between its bars; all of them take the one empty line
            lines, newline, rest = (self._waiting + text).rpartition("\n")
            if newline:
                from rich.text import Text

                shown = [line.rpartition("\r")[2] for line in lines.split("\n")]
                console.print(Text.from_ansi("\n".join(shown)), soft_wrap=True)
            if "\r" in rest:
                self.rich_proxied_file.write(rest if newline else text)
                rest = "\r" + rest.rpartition("\r")[2]
            self._waiting = rest
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self.rich_proxied_file.flush()

    def give_back(self) -> None:
        """Pass everything through from now on."""
        self.console = None
        waiting, self._waiting = self._waiting, ""
        if waiting:
            with _unheard(self.rich_proxied_file):
                self.rich_proxied_file.write(waiting)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def _observer(stream: Any) -> Any:
    """What records the program's output on this stream, under `init(capture=…)`; else None."""
    return getattr(stream, "steno_observer", None)


@contextlib.contextmanager
def _unheard(stream: Any) -> Iterator[None]:
    """What is drawn is not the program's output, and is not recorded as such."""
    observer = _observer(stream)
    with contextlib.nullcontext() if observer is None else observer.muted():
        yield


_standing: dict[str, _Above] = {}


def _redirect(console: Console) -> None:
    if console.file is not sys.stdout:
        return
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream.isatty():
            _standing[name] = _Above(console, stream, bars=name == "stderr")
            setattr(sys, name, _standing[name])


def _restore(*, in_child: bool = False) -> None:
    for name, above in list(_standing.items()):
        if getattr(sys, name) is above:
            setattr(sys, name, above.rich_proxied_file)
        if in_child:
            above.console = None
        else:
            above.give_back()
    _standing.clear()


os.register_at_fork(after_in_child=lambda: _restore(in_child=True))


def brief(value: Any) -> str:
    """A few characters that tell the value, on one line and harmless to a terminal."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    text = on_one_line(text[:200])
    return text if len(text) <= 60 else text[:59] + "…"
