"""`steno get`: the artifacts of a run, listed or copied out of it."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno.cli import choosing, options, terminal
from steno.errors import CorruptError, UsageError

if TYPE_CHECKING:
    from steno.store.artifacts import Artifact


def get(
    run: options.Run,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="An artifact's name or alias; without one, all are listed.")
    ] = None,
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="PATH",
            help="Where to write it (default: the last part of its name, here); - prints a file.",
        ),
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option("--digest", metavar="DIGITS", help="The version with this digest, or its first 6 digits or more."),
    ] = None,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="URL", help="Also ask this store, which only the run itself names."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what exists.")] = False,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """List the artifacts of a run, or copy one out of it.

    A copy is either complete or absent, and its digest is verified.
    """
    if confirm is not None:
        from steno.store.remote import Remote

        Remote(run).confirm(confirm.rstrip("/"))
    with choosing.opened(run, dir) as reader:
        if name is None and digest is None:
            if to is not None:
                raise UsageError("name the artifact that is to be copied; without --to they are listed")
            _list(reader.artifacts(), json=json)
            return
        found = reader.artifact(name, digest=digest)
        try:
            if to == "-" and sys.stdout.isatty():
                raise UsageError("the content of a file could steer this terminal: give --to FILE, or pipe it on")
            if to == "-":
                with open(found.path, "rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
                return
            target = found.download(to or found.name.rpartition("/")[2], overwrite=force)
        except FileNotFoundError as error:
            raise CorruptError(str(error)) from error
    if json:
        terminal.print_json({"path": str(target.absolute()), **facts(found)})
    else:
        terminal.console().print(f"{found.name}: {terminal.size(found.size)} in {target}", markup=False, soft_wrap=True)


def facts(one: Artifact) -> dict[str, Any]:
    """An artifact for programs."""
    names = ("name", "kind", "digest", "size", "step", "rank", "attempt", "aliases", "level", "source", "metadata")
    facts = {name: getattr(one, name) for name in names}
    return {**facts, "time": terminal.iso(one.time), "versions": len(one.versions)}


def _list(found: list[Artifact], *, json: bool) -> None:
    if json:
        terminal.print_json([facts(one) for one in found])
        return
    numbers = ("size", "step", "versions")
    listed = terminal.table("name", "aliases", *numbers, "digest", numbers=numbers)
    for one in found:
        name = one.name + ("/" if one.kind == "dir" else "")
        cells = (", ".join(one.aliases), terminal.size(one.size), "" if one.step is None else str(one.step))
        listed.add_row(
            terminal.literal(name),
            terminal.literal(cells[0]),
            *cells[1:],
            str(len(one.versions)),
            (one.digest or "not stored yet")[:14],
        )
    terminal.console().print(listed)
