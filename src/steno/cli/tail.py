"""`steno tail`: the records of a live run as they come."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno.cli import choosing, options, terminal
from steno.record import OUTPUT, Record
from steno.visible import on_one_line

if TYPE_CHECKING:
    from steno.record import Entry

LONGEST_TEXT = 60


def tail(
    run: options.Run,
    *,
    last: Annotated[int, typer.Option("--last", "-n", metavar="N", min=0, help="Begin with the last N records.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for more until the run has ended.")] = True,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Print the latest records of a run, then each new one.

    It ends when the run has ended; Ctrl-C stops it sooner.
    """
    reader = choosing.opened(run, dir)
    for one in reader.tail(last=last, follow=follow):
        if json:
            terminal.print_json(_as_data(one))
        else:
            terminal.say(line(one))
        sys.stdout.flush()


def line(one: Record | Entry) -> str:
    """A record on one line, texts cut short."""
    head = f"{terminal.when(one.time)[11:]}  rank {one.rank}  step {'-' if one.step is None else one.step}"
    if isinstance(one, Record):
        return f"{head}  " + "  ".join(f"{_text(key)}={_text(value)}" for key, value in one.values.items())
    if one.kind == OUTPUT:
        return f"{head}  {printed(one)}"
    return f"{head}  [{one.kind}] " + "  ".join(f"{_text(name)}={_text(value)}" for name, value in one.payload.items())


def printed(entry: Entry) -> str:
    """A line that the program printed, as the destination `text` has it; control characters made harmless."""
    stream, text, left_out = (entry.payload.get(name) for name in ("stream", "text", "left_out"))
    return on_one_line(f"[{stream}] " + (f"({left_out} lines left out) " if left_out else "") + str(text or ""))


def _text(value: Any) -> str:
    text = terminal.number(value) if isinstance(value, float) else str(value)
    # A line stays a line, whatever was logged.
    text = on_one_line(" ".join(text.split()) if "\n" in text else text)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _as_data(one: Record | Entry) -> dict[str, Any]:
    facts = {name: getattr(one, name) for name in ("node", "record", "step", "rank", "attempt")}
    data = {**facts, "time": terminal.iso(one.time)}
    return {**data, "values": one.values} if isinstance(one, Record) else {**data, "kind": one.kind, **_payload(one)}


def _payload(entry: Entry) -> dict[str, Any]:
    return {"payload": dict(entry.payload)}
