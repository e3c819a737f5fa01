"""A framework's checkpoint as an artifact of a run; what goes wrong with it does not end the training."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from steno.errors import StenoError

if TYPE_CHECKING:
    import steno


def keep(run: steno.Run, path: str, *, step: int, best: str | None = None) -> None:
    """Keep a file or a directory as `checkpoints/<its name>`, a later version where there is one.

    A reflink, else a copy, before it returns: a checkpoint may be deleted in the next moment.

    Args:
        best: the metric by which it is the best so far: `best/<metric>` will stand for it.
    """
    # In a checkpoint's name, braces are braces.
    name = f"checkpoints/{os.path.basename(os.path.normpath(path))}".replace("{", "{{").replace("}", "}}")
    link = None if best is None else f"best/{best}".replace("{", "{{").replace("}", "}}")
    try:
        run.log_artifact(path, name, overwrite=True, link=link, step=step)
    except (OSError, StenoError) as error:
        warnings.warn(f"the checkpoint {path} was not kept with the run: {error}", RuntimeWarning, stacklevel=2)
