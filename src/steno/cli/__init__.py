"""The command line: one file per command, put together here."""

from __future__ import annotations

import os
import sys

from steno.errors import StenoError, UsageError
from steno.visible import visible


def main(arguments: list[str] | None = None) -> None:
    """Run `steno`; ends by SystemExit: 0 done, 1 failed, 2 wrong usage or no such run, 130 interrupted."""
    from typer.main import get_command

    from steno.cli.commands import app_for
    from steno.cli.encoding import make_safe

    make_safe()
    try:
        # Not app(): that leaves an excepthook of typer's in the process.
        given = sys.argv[1:] if arguments is None else arguments
        get_command(app_for(given))(args=given, prog_name="steno")
    except UsageError as error:
        _say(error)
        sys.exit(2)
    except StenoError as error:
        _say(error)
        sys.exit(1)
    except RecursionError:
        _say("the run holds something that is nested too deeply to be shown")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # `steno tail … | head`: the reader left; the interpreter must not complain while flushing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _say(error: object) -> None:
    sys.stderr.write(f"steno: {visible(' '.join(str(error).split()))}\n")
