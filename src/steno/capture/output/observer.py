"""Lets listeners have what is written to a stream, which stays the object that it is."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Listener = Callable[[str | bytes], None]

NAME: Final = "steno_observer"
"""The stream's attribute by which a display that draws on it finds its observer."""
_lock = threading.RLock()
"""Guards the list of listeners; never held while something is written."""
_ABSENT: Final = object()


class _Here(threading.local):
    inside = 0
    """In a stream's own write or flush: what reaches a buffer was passed on as text."""
    muted = 0

    def __init__(self) -> None:
        self.writing: set[StreamObserver] = set()
        """Those whose cover is being called: another one below it has nothing to add."""


_here = _Here()


class StreamObserver:
    """Observes one stream: its `write`, and its buffer's, are covered by ones that call the listeners afterwards.

    The object is not replaced, so that whoever holds it already (a logging handler, say) is observed too, and
    whoever wraps it meanwhile keeps a stream that works. What is written below Python's streams, by C code on the
    file descriptor, is not observed. An listener must not block; what it raises is dropped. Thread-safe.

    Raises:
        TypeError: the stream's methods cannot be covered.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = getattr(stream, "buffer", None)
        self.listeners: tuple[Listener, ...] = ()
        self._covers: list[tuple[Any, str, Any, Any]] = []
        try:
            self._cover(stream, "write", self._text_write(stream.write))
            setattr(stream, NAME, self)
            self._shell = _shell()
            if self._shell is not None:
                self._shell.events.register("pre_run_cell", self._cover_again)
        except (AttributeError, TypeError) as error:
            msg = f"the write method of a {type(stream).__name__} cannot be covered: {error}"
            raise TypeError(msg) from error
        # Without a buffer, or with one that cannot be covered, only text is observed.
        with contextlib.suppress(AttributeError, TypeError):
            covered = self._bytes_write(self._buffer.write)  # type: ignore[union-attr]
            self._cover(stream, "flush", self._text_flush(stream.flush))
            self._cover(self._buffer, "write", covered)

    def notify(self, what: str | bytes) -> None:
        """Call the listeners."""
        if _here.muted:
            return
        for listener in self.listeners:
            try:
                listener(what)
            except Exception:  # a listener reports its own errors; a print must never raise because of one
                pass

    @contextlib.contextmanager
    def muted(self) -> Iterator[None]:
        """What this thread writes inside is not the program's: it is not passed on."""
        _here.muted += 1
        try:
            yield
        finally:
            _here.muted -= 1

    def remove(self) -> None:
        """Uncover what is covered by us; where somebody has covered it again, ours goes on as if it were not there."""
        self.listeners = ()
        if self._shell is not None:
            with contextlib.suppress(ValueError):
                self._shell.events.unregister("pre_run_cell", self._cover_again)
        for owner, name, before, ours in reversed(self._covers):
            if vars(owner).get(name) is ours:
                if before is _ABSENT:
                    delattr(owner, name)
                else:
                    setattr(owner, name, before)
        self._covers.clear()
        if vars(self._stream).get(NAME) is self:
            delattr(self._stream, NAME)

    def _cover_again(self, *_: Any) -> None:
        """Before each cell: IPython covers `write` itself while a cell runs, and then puts back what was there."""
        ours = next((ours for owner, name, _, ours in self._covers if (owner, name) == (self._stream, "write")), None)
        if self.listeners and ours is not None and vars(self._stream).get("write") is not ours:
            self._covers = [one for one in self._covers if one[3] is not ours]
            self._cover(self._stream, "write", self._text_write(self._stream.write))

    def _cover(self, owner: Any, name: str, ours: Any) -> None:
        before = vars(owner).get(name, _ABSENT)
        setattr(owner, name, ours)
        self._covers.append((owner, name, before, ours))

    def _text_write(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def observed(*args: Any, **kwargs: Any) -> Any:
            outermost = self not in _here.writing
            _here.writing.add(self)
            _here.inside += 1
            try:
                done = write(*args, **kwargs)
            finally:
                _here.inside -= 1
                if outermost:
                    _here.writing.discard(self)
            if outermost and args and self.listeners and isinstance(args[0], str):
                self.notify(args[0])
            return done

        return observed

    def _text_flush(self, flush: Callable[..., Any]) -> Callable[..., Any]:
        def passed(*args: Any, **kwargs: Any) -> Any:
            _here.inside += 1
            try:
                return flush(*args, **kwargs)
            finally:
                _here.inside -= 1

        return passed

    def _bytes_write(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def observed(*args: Any, **kwargs: Any) -> Any:
            done = write(*args, **kwargs)
            if args and self.listeners and not _here.inside:
                with contextlib.suppress(TypeError):  # bytes that lie scattered in memory
                    written = memoryview(args[0]).cast("B")
                    self.notify(bytes(written[:done] if isinstance(done, int) else written))
            return done

        return observed


def _shell() -> Any:
    """IPython's, where the program runs in one."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def listen(stream: Any, listener: Listener) -> StreamObserver:
    """Call the listener with what is written to the stream from now on.

    Raises:
        TypeError: the stream's methods cannot be covered.
    """
    with _lock:
        observer = getattr(stream, "__dict__", {}).get(NAME)
        if observer is None:
            observer = StreamObserver(stream)
        observer.listeners = (*observer.listeners, listener)
        return observer


def leave(observer: StreamObserver, listener: Listener) -> None:
    """Call this listener no more; the last one uncovers the stream."""
    with _lock:
        observer.listeners = tuple(one for one in observer.listeners if one is not listener)
        if not observer.listeners:
            observer.remove()


def after_fork() -> None:
    """In a forked child: the lock may have been held by a thread that is not here."""
    global _lock
    _lock = threading.RLock()
