"""What the destinations of other services share: secrets refused, packages looked for, names, what is left out."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from steno.errors import DestinationError, Stop
from steno.secrecy import is_secret, mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from steno.record import Batch, Ref, RunInfo

_NOT_IN_AN_ID: Final = re.compile(r"[^A-Za-z0-9_-]+")

VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "wandb": ("WANDB_API_KEY",),
    "mlflow": ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    "swanlab": ("SWANLAB_API_KEY",),
    "trackio": ("HF_TOKEN",),
    "clickhouse": ("CLICKHOUSE_PASSWORD",),
}
"""By destination, the variables of the environment in which its service's library looks for secrets."""


def refuse_secrets(name: str, options: Mapping[str, Any]) -> None:
    """Options are written down with the run, so a secret must not be among them.

    Raises:
        DestinationError: an option is one by its name, or a URL with a password; the message does not repeat it.
    """
    where = " or ".join(VARIABLES.get(name, ())) or "a variable of the environment"
    for option, value in options.items():
        if is_secret(option):
            what = f"the option {option!r}"
        elif mask(option, value) != value:
            what = f"a password within the option {option!r}"
        else:
            continue
        raise DestinationError(
            f"destination {name!r}: {what} would be written down with the run. Leave it out and set {where}: "
            "it is read where it is used, and kept nowhere."
        )


def need(name: str, *packages: str) -> None:
    """Look whether the packages of a destination are installed; imports none.

    Raises:
        DestinationError: one is missing.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise DestinationError(
            f"destination {name!r} needs {' and '.join(missing)}, which is not installed: "
            f"pip install 'stenolog[{name}]'"
        )


def text_option(what: str, value: object) -> str | None:
    """An option that is text or left out.

    Raises:
        TypeError: it is something else.
    """
    if value is None or (isinstance(value, str) and value):
        return value
    raise TypeError(f"{what} is text, not {value!r}")


def folder_option(what: str, value: object) -> str | None:
    """An option that is a directory or left out, `~` taken for the home.

    Raises:
        TypeError: it is no text.
        ValueError: it depends on the working directory.
    """
    text = text_option(what, value)
    if text is None:
        return None
    text = os.path.expanduser(text)
    if not os.path.isabs(text):
        raise ValueError(f"{what}={text!r} is relative, and the collector works elsewhere: give an absolute path")
    return text


def run_key(run: RunInfo) -> str:
    """What a foreign run is found by again: the same after every restart and in every replay.

    Each node's records come from a ledger of its own, so a run on several machines is several foreign runs.
    """
    key = _NOT_IN_AN_ID.sub("-", run.id).strip("-") or "run"
    return f"{key[:90]}-node-{run.node_suffix}" if run.node_suffix else key[:100]


def shown_name(run: RunInfo, name: str | None) -> str:
    """The foreign run's name."""
    name = name or run.name
    return f"{name} (node {run.node_suffix})" if run.node_suffix else name


def rows(batch: Batch) -> Iterator[tuple[int, int, int, dict[str, float | int | str | Ref]]]:
    """(record, time in ns, step, values) of each record that has any; keys of rank N > 0 under `rank-N/`."""
    named: dict[tuple[int, str], str] = {}
    for record in batch.records():
        if not record.values:
            continue  # a part does not keep it
        values = record.values
        if record.rank:
            rank = record.rank
            values = {
                named.get((rank, key)) or named.setdefault((rank, key), f"rank-{rank}/{key}"): value
                for key, value in values.items()
            }
        yield record.record, record.time, record.step, values


class LeftOutCounts:
    """What a service has no place for, by kind, and how often: said once per kind, the neighbours are kept."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, what: str) -> None:
        """Count one more."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def made(self, ref: Ref, make: Callable[[], Any]) -> Any:
        """What a service has for a reference, by `make`; None, counted, when it has nothing or it cannot be made."""
        try:
            made = make()
        except Stop:
            raise
        except Exception as error:  # a lost value, a missing package: the neighbours are kept
            self.add(f"{ref.kind} ({type(error).__name__})")
            return None
        if made is None:
            self.add(ref.kind)
        return made
