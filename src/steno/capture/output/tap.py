"""Lets others hear what is written to a stream, which stays the object that it is."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ear = Callable[[str | bytes], None]

NAME: Final = "steno_tap"
"""The stream's attribute by which a display that draws on it finds the tap."""
_lock = threading.RLock()
"""Guards the coming and going of ears; never held while something is written."""
_ABSENT: Final = object()


class _Here(threading.local):
    inside = 0
    """In a stream's own write or flush: what reaches a buffer was heard as text."""
    deaf = 0


_here = _Here()


class Tap:
    """Observes one stream: its `write`, and its buffer's, are covered by ones that tell the ears afterwards.

    The object is not replaced, so that whoever holds it already (a logging handler, say) is heard too, and
    whoever wraps it meanwhile keeps a stream that works. What is written below Python's streams, by C code on the
    file descriptor, is not heard. An ear must not block; what it raises is dropped. Thread-safe.

    Raises:
        TypeError: the stream's methods cannot be covered.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = getattr(stream, "buffer", None)
        self.ears: tuple[Ear, ...] = ()
        self._covers: list[tuple[Any, str, Any, Any]] = []
        try:
            self._cover(stream, "write", self._text_write(stream.write))
            setattr(stream, NAME, self)
        except (AttributeError, TypeError) as error:
            msg = f"the write method of a {type(stream).__name__} cannot be covered: {error}"
            raise TypeError(msg) from error
        # Without a buffer, or with one that cannot be covered, only text is heard.
        with contextlib.suppress(AttributeError, TypeError):
            covered = self._bytes_write(self._buffer.write)  # type: ignore[union-attr]
            self._cover(stream, "flush", self._text_flush(stream.flush))
            self._cover(self._buffer, "write", covered)

    def hear(self, what: str | bytes) -> None:
        """Tell the ears."""
        if _here.deaf:
            return
        for ear in self.ears:
            try:
                ear(what)
            except Exception:
                pass

    @contextlib.contextmanager
    def deaf(self) -> Iterator[None]:
        """What this thread writes inside is not the program's: it is not heard."""
        _here.deaf += 1
        try:
            yield
        finally:
            _here.deaf -= 1

    def remove(self) -> None:
        """Uncover what is covered by us; where somebody has covered it again, ours goes on as if it were not there."""
        self.ears = ()
        for owner, name, before, ours in reversed(self._covers):
            if vars(owner).get(name) is ours:
                if before is _ABSENT:
                    delattr(owner, name)
                else:
                    setattr(owner, name, before)
        self._covers.clear()
        if vars(self._stream).get(NAME) is self:
            delattr(self._stream, NAME)

    def _cover(self, owner: Any, name: str, ours: Any) -> None:
        before = vars(owner).get(name, _ABSENT)
        setattr(owner, name, ours)
        self._covers.append((owner, name, before, ours))

    def _text_write(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def heard(*args: Any, **kwargs: Any) -> Any:
            _here.inside += 1
            try:
                done = write(*args, **kwargs)
            finally:
                _here.inside -= 1
            if args and self.ears and isinstance(args[0], str):
                self.hear(args[0])
            return done

        return heard

    def _text_flush(self, flush: Callable[..., Any]) -> Callable[..., Any]:
        def passed(*args: Any, **kwargs: Any) -> Any:
            _here.inside += 1
            try:
                return flush(*args, **kwargs)
            finally:
                _here.inside -= 1

        return passed

    def _bytes_write(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def heard(*args: Any, **kwargs: Any) -> Any:
            done = write(*args, **kwargs)
            if args and self.ears and not _here.inside:
                with contextlib.suppress(TypeError):  # bytes that lie scattered in memory
                    written = memoryview(args[0]).cast("B")
                    self.hear(bytes(written[:done] if isinstance(done, int) else written))
            return done

        return heard


def listen(stream: Any, ear: Ear) -> Tap:
    """Have the ear told of what is written to the stream from now on.

    Raises:
        TypeError: the stream's methods cannot be covered.
    """
    with _lock:
        tap = getattr(stream, "__dict__", {}).get(NAME)
        if tap is None:
            tap = Tap(stream)
        tap.ears = (*tap.ears, ear)
        return tap


def leave(tap: Tap, ear: Ear) -> None:
    """The ear hears no more; the last one uncovers the stream."""
    with _lock:
        tap.ears = tuple(one for one in tap.ears if one is not ear)
        if not tap.ears:
            tap.remove()


def after_fork() -> None:
    """In a forked child: the lock may have been held by a thread that is not here."""
    global _lock
    _lock = threading.RLock()
