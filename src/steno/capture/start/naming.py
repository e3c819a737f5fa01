"""Names of runs that nobody named: drawn at random, or derived from the launcher's job."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Final

from steno import runfile
from steno.capture.start.launcher import digest

if TYPE_CHECKING:
    from steno.capture.start.launcher import Launch, Named

_ADJECTIVES: Final = tuple(
    (  # noqa: SIM905 - words are read more easily than quotes
        "able amber ample azure bold brave bright brisk calm candid clear clever cosy crisp deft eager early fair "
        "fleet fond frank fresh gentle glad grand green handy hardy honest ideal jolly keen kind large light lively "
        "lucid lucky merry mild neat noble novel olive plain polite proud prime quick quiet rapid ready rosy round "
        "sage sharp shiny silent silver sleek smart smooth snug solar solid sound spry stable steady still sunny "
        "super sweet swift tidy true upper vivid warm wise witty young zesty"
    ).split()
)
_NOUNS: Final = tuple(
    (  # noqa: SIM905
        "acorn alder anchor apple arrow aspen badger basin beacon beaver birch bison bridge brook canyon cedar cliff "
        "cloud clover comet coral crane creek delta dune eagle ember falcon fern finch fjord forest fox garden gecko "
        "glade grove harbor hazel heron hill island ivy jay juniper lake lantern larch lark lemon lotus lynx maple "
        "marsh meadow mesa moon moss oak ocean olive orchid otter owl pebble pine planet plum pond quail quartz raven "
        "reef ridge river robin sparrow spruce star stone stream summit swan thicket tiger trail tulip valley walnut "
        "willow wren"
    ).split()
)


def words(seed: bytes) -> str:
    """An adjective and a noun chosen by the seed (at least four bytes)."""
    first, second = int.from_bytes(seed[:2], "big"), int.from_bytes(seed[2:4], "big")
    return f"{_ADJECTIVES[first % len(_ADJECTIVES)]}-{_NOUNS[second % len(_NOUNS)]}"


def fresh() -> str:
    """A new name: time to the second and two random words."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{words(os.urandom(4))}"


def of_job(launch: Launch) -> str:
    """The name at which all processes of a job meet; a fresh one when the job is not known."""
    job = launch.named.text if launch.named else launch.job
    if not job:
        return fresh()
    seed = digest(job)
    kind, _, rest = job.partition(":")
    safe = "".join(letter if letter.isalnum() else "-" for letter in rest)
    if kind == "slurm" and safe.isascii() and len(safe) <= 40:
        return f"slurm-{safe}"
    return f"{kind}-{words(seed)}-{seed[4:7].hex()}"


def new_id() -> str:
    """A run's identity: 26 characters that sort by time (the form of a ULID)."""
    return runfile.spelt((time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big"))


def family(named: Named, project: str, name: str | None, turn: int) -> str:
    """What all runs have in common that a job called so may have recorded, on any of its hosts."""
    known = json.dumps([named.text, named.cluster, project, name, turn])
    return runfile.spelt(int.from_bytes(digest(known)[:16], "big"))
