"""What all `add_*` share: the tag, the step and the time of a value, what is said of them, and the writer's end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from steno.errors import UsageError
from steno.utf8 import brief
from steno.writers import values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from steno.run import Run
    from steno.writers.place import LogdirHandle


class WriterBase:
    """Records one value at a step in the writer's logdir; the methods `add_*` are in the classes that extend it."""

    _place: LogdirHandle
    _strict: bool
    _add: Callable[..., None]
    _first_add: Callable[..., None]

    def __repr__(self) -> str:
        return f"steno.{type(self).__name__}({self.logdir!r})"

    def _defaulted(self, step: Any, walltime: Any) -> tuple[Any, Any]:
        """The step and the time that hold for a value; a step of None counts itself."""
        raise NotImplementedError

    def _remember(self, main_tag: str, found: Mapping[str, Any], global_step: Any, walltime: Any) -> None:
        """Keep what `add_scalars` has recorded for an export, where there is one."""

    def _put(self, kind: str, tag: Any, value: Any, step: Any, walltime: Any, **options: Any) -> None:
        name = self._named(tag)
        if self._strict:
            self._say(name, getattr(value, "remark", ""))
        number, nanos = self._stamped(name, step, walltime)
        self._place.put(kind, name, value, number, nanos, **options)

    def _named(self, tag: Any) -> str:
        name = values.tag(tag)
        if not name or name != tag:
            self._say(name, f"the tag {brief(tag)} was recorded as {name!r}; pass one that can be found again")
        return name

    def _number(self, tag: str, value: Any) -> Any:
        number = values.scalar(value)
        if values.has_no_value(value):
            self._say(tag, "a meta tensor has no value: NaN was recorded")
        return number

    def _stamped(self, tag: str, step: Any, walltime: Any) -> tuple[int | None, int | None]:
        """(step, nanoseconds since 1970) of a value."""
        step, walltime = self._defaulted(step, walltime)
        number = step if step is None else values.step(step)
        if number is not None and not values.is_same(number, step):
            self._say(tag, f"global_step={brief(step)} was cut to {number}; pass int(...)")
        nanos = values.wall_nanos(walltime)
        if nanos is None and walltime is not None:
            self._say(tag, f"walltime={brief(walltime)} is not a time: the time of the call was taken")
        return number, nanos

    def _say(self, tag: str, why: str) -> None:
        """Say once per tag, and count, what was changed to be recorded.

        Raises:
            UsageError: the writer is strict.
        """
        if why and self._strict:
            raise UsageError(f"{tag!r}: {why}")
        if why:
            self._place.held().say(f"{tag} argument", f"{tag!r}: {why}")

    @property
    def logdir(self) -> str:
        """The logdir's absolute path."""
        return str(self._place.path)

    def get_logdir(self) -> str:
        """The logdir's absolute path.

        Returns:
            An absolute path.
        """
        return self.logdir

    @property
    def run(self) -> Run:
        """The run that the logdir is: `health()`, `config`, `log`."""
        return self._place.held().run

    # -- the end --------------------------------------------------------------------------------------------

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until TensorBoard and every other process can read what this process has added.

        Args:
            timeout: seconds at most.

        Returns:
            False: not within the time; nothing is lost, the collector goes on.
        """
        return self._place.flush(timeout)

    def close(self, timeout: float = 30.0) -> bool:
        """Flush, and end the recording when this is the process's last writer on the logdir; `add_*` opens it again.

        Args:
            timeout: seconds at most.

        Returns:
            False: not all was delivered within the time; nothing is lost, the collector goes on.
        """
        self._add = self._first_add
        return self._place.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
