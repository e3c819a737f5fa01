"""`steno tag`, `note`, `rename` and `archive`: what people call a run and say of it, changed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno.cli import choosing, options, terminal
from steno.edits import LINE_BYTES
from steno.errors import UsageError
from steno.visible import visible

if TYPE_CHECKING:
    from steno.store.reader import RunReader


def tag(
    run: options.Run,
    tags: Annotated[list[str] | None, typer.Argument(metavar="TAG", help="Tags to add.")] = None,
    *,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="TAG", help="A tag to remove; may be repeated.")
    ] = None,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Add tags to a run, or remove some.

    Without a tag, show those that it has.
    """
    with choosing.opened(run, dir) as reader:
        if tags or remove:
            reader.edit(add_tags=tags or (), remove_tags=remove or ())
        _report(reader, json, "tags", ", ".join(reader.info.tags))


def note(
    run: options.Run,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The new notes; - reads them from standard input.")
    ] = None,
    *,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Show or replace the notes of a run.

    The new text takes the place of the old one; '' removes it.
    """
    with choosing.opened(run, dir) as reader:
        if text is not None:
            reader.edit(notes=_standard_input() if text == "-" else text)
        _report(reader, json, "notes", reader.info.notes)


def rename(
    run: options.Run,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name to show; '' restores the recorded one.")],
    *,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Show a run under another name.

    Its directory keeps its own name, and commands find the run under either.
    """
    with choosing.opened(run, dir) as reader:
        reader.edit(name=name)
        _report(reader, json, "name", f"is shown as {reader.info.project}/{reader.info.name}")


def archive(
    runs: options.Runs,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="List them again.")] = False,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Leave runs out of lists; nothing is removed.

    `steno runs --all` shows them.
    """
    readers = [choosing.opened(run, dir) for run in runs or ()]
    if not readers:
        raise UsageError("which runs? Name them, as in steno archive digits/my-run")
    for reader in readers:
        reader.edit(archived=not undo)
        _report(reader, json, "archived", "is listed again" if undo else "is archived")


def _standard_input() -> str:
    """All of it, or more than any note may have."""
    return sys.stdin.buffer.read(2 * LINE_BYTES).decode("utf-8", "surrogateescape").rstrip("\n")


def _report(reader: RunReader, json: bool, field: str, text: str) -> None:
    info = reader.info
    if json:
        found: dict[str, Any] = {"dir": str(reader.dir), "project": info.project, "name": info.name}
        terminal.print_json({**found, field: getattr(info, field)})
    else:
        said = {"tags": f"tags: {text or 'none'}", "notes": f"notes: {text or 'none'}"}.get(field, text)
        label = info.run.get("name") if field == "name" else f"{info.project}/{info.name}"
        terminal.say(visible(f"{label}: {said}" if field in {"tags", "notes"} else f"{label} {said}"))
