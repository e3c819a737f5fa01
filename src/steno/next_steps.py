"""What people are shown of a run on a terminal: where it is, and the commands to look at it and take it away."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def beginning(name: str, project: str, run_dir: Path) -> tuple[str, str]:
    """Two lines when recording begins."""
    place = shown(run_dir)
    return (
        f"the run {name!r} of the project {project!r} is recorded in {place}",
        f"`{command('steno')} show {place}` shows it, also while it goes on",
    )


def ended(run_dir: Path, *, tensorboard: bool) -> tuple[tuple[str, str], ...]:
    """Five steps when it has ended, each (title, text).

    Args:
        run_dir: the run's directory.
        tensorboard: whether it has TensorBoard's files.
    """
    place, steno = shown(run_dir), command("steno")
    board = f"{command('tensorboard')} --logdir {shown(run_dir / 'tensorboard')}"
    return (
        ("where it is", place),
        ("look again", f"{steno} show {place}"),
        ("TensorBoard", board if tensorboard else f"{steno} sync {place} --to tensorboard"),
        ("take it away", f"{steno} export {place} --to csv --out {shlex.quote(run_dir.name)}.csv"),
        ("in a browser", f"{steno} view {shown(run_dir.parent)}"),
    )


def line(title: str, text: str) -> str:
    """One of the steps as it is printed: unbroken, to be copied."""
    return f"  {title:<13} {text}"


def shown(path: Path | str) -> str:
    """The path as a shell takes it, from the working directory if it lies below."""
    try:
        relative = os.path.relpath(path)
    except OSError:  # the working directory is gone
        relative = ".."
    return shlex.quote(str(path) if relative.startswith("..") else relative)


def command(name: str) -> str:
    """How to call a command of this environment: by name if the shell finds it, else by path."""
    installed = os.path.join(os.path.dirname(sys.executable), name)
    found = shutil.which(name)
    by_name = (found is not None and os.path.realpath(found) == os.path.realpath(installed)) or not os.path.exists(
        installed
    )
    return name if by_name else shown(installed)
