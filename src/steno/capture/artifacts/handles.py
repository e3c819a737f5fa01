"""What `log_artifact` returns: what came of one artifact, as far as it is known."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_SECS: Final = 0.02
_GRACE_SECS: Final = 5.0


class ArtifactHandle:
    """An artifact on its way into the run. Need not be kept; thread-safe.

    When `log_artifact` has returned it, the snapshot and its entry survive the death of the process. It is done
    when the collector has stored the content under its digest, or when it came to nothing.
    """

    __slots__ = ("__weakref__", "_digest", "_done", "_error", "_hope", "_look", "id", "link", "name", "step")

    def __init__(
        self, id: str, name: str, step: int | None, look: Callable[[], None], hope: Callable[[], bool]
    ) -> None:
        self.id = id
        """Of the artifact's entry, unique in the run."""
        self.name = name
        """As formatted."""
        self.step = step
        self.link: ArtifactHandle | None = None
        """Of the alias that `link=` asked for."""
        self._look = look
        self._hope = hope
        self._done = False
        self._digest: str | None = None
        self._error: Exception | None = None

    def resolve(self, digest: str | None, error: Exception | None) -> None:
        """Say what came of it; steno calls this, once.

        Args:
            digest: the content's; None: it came to nothing, or is an alias.
            error: why it came to nothing.
        """
        self._digest, self._error = digest, error
        self._done = True

    def done(self) -> bool:
        """Whether it is stored, or came to nothing; with `link=` the alias too.

        Returns:
            True: stored, or it came to nothing; `error` tells which.
        """
        if not self._done:
            self._look()
        return self._done and (self.link is None or self.link.done())

    @property
    def digest(self) -> str | None:
        """SHA-256 of the content, 64 hexadecimal digits; of a directory, of its manifest.

        None: not stored (yet), or an alias.
        """
        self.done()
        return self._digest

    @property
    def error(self) -> Exception | None:
        """Why it came to nothing; None: it did not, or not yet.

        FileExistsError: another process had given the name first. FileNotFoundError: an alias's target is
        missing. UsageError: an alias would close a cycle. OSError: the disk.
        """
        self.done()
        return self._error or (None if self.link is None else self.link.error)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is done.

        Args:
            timeout: seconds; None waits as long as a collector is at work, or may begin within 5 seconds.

        Returns:
            False: not within the time, or there is no collector; the snapshot stays, `steno sync` stores it.
        """
        deadline = time.monotonic() + (_GRACE_SECS if timeout is None else timeout)
        while not self.done():
            if self._hope() and timeout is None:
                deadline = time.monotonic() + _GRACE_SECS
            if time.monotonic() >= deadline:
                return self.done()
            time.sleep(_POLL_SECS)
        return True

    def result(self, timeout: float | None = None) -> str | None:
        """Wait, and return the digest.

        Args:
            timeout: seconds, as for `wait`.

        Returns:
            The content's digest, hexadecimal; None for a run that records nothing.

        Raises:
            TimeoutError: not done within the time, or there is no collector.
            Exception: what `error` says.
        """
        if not self.wait(timeout):
            msg = f"the artifact {self.name!r} is not stored yet"
            raise TimeoutError(msg)
        error = self.error
        if error is not None:
            raise error
        return self._digest

    def __repr__(self) -> str:
        state = "on its way" if not self.done() else f"failed: {self.error!r}" if self.error else "stored"
        return f"<steno.ArtifactHandle {self.name!r}, {state}>"


def nothing(name: str, step: int | None) -> ArtifactHandle:
    """A handle that is done, of a run that records nothing."""
    handle = ArtifactHandle("", name, step, lambda: None, lambda: False)
    handle.resolve(None, None)
    return handle
