"""What a media class says to arguments that it does not take."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from steno.errors import UsageError
from steno.habits import MEDIA

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_Self = TypeVar("_Self")


def named(init: Callable[Concatenate[_Self, _P], None]) -> Callable[Concatenate[_Self, _P], None]:
    """A constructor that answers arguments it does not take by a UsageError, which names those that it takes."""
    code = init.__code__
    positional = code.co_varnames[1 : code.co_argcount]
    known = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    needed = positional[: len(positional) - len(init.__defaults__ or ())]

    @functools.wraps(init)
    def checked(self: _Self, /, *arguments: _P.args, **keywords: _P.kwargs) -> None:
        title = type(self).__name__
        takes = f"; it takes {', '.join(known)}"
        for name in keywords:
            if name not in known:
                instead = MEDIA.get(title, {}).get(name)
                also = f": {instead}" if instead else ""
                raise UsageError(f"steno.{title} has no argument {name!r}{also}{takes}")
        for name in needed[len(arguments) :]:
            if name not in keywords:
                raise UsageError(f"steno.{title} needs {name}=…{takes}")
        if len(arguments) > len(positional):
            most = f"{len(positional)} without its name" if len(positional) == 1 else f"{len(positional)} without names"
            raise UsageError(f"steno.{title} takes at most {most}, and {len(arguments)} were given{takes}")
        for name in positional[: len(arguments)]:
            if name in keywords:
                raise UsageError(f"steno.{title}: {name} is given twice{takes}")
        init(self, *arguments, **keywords)

    return checked
