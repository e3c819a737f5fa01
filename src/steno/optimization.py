"""Lines and metrics of an iterative optimization, without waiting for the device that computes them.

`log_iteration_async` and `log_convergence_async` have the signatures and the two line formats of the functions of
those names in NLSQ. Lines go to the logger "steno.optimization" (level INFO) when their numbers are there; the same
numbers become metrics of the current run, if there is one.
"""

from __future__ import annotations

import atexit
import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from steno.capture.late.device_queue import QUEUE, Account
from steno.capture.late.when_there import host_now, when_there
from steno.capture.open_runs import RUNS
from steno.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger: Final = logging.getLogger("steno.optimization")
ITERATION_KEYS: Final = ("optimization/cost", "optimization/gradient_norm")
_EVERY: Final = 10
_account: Final = Account(full="oldest")


def is_jax_array(x: Any) -> bool:
    """Whether x is a JAX array or tracer. Does not import jax.

    Args:
        x: anything.

    Returns:
        True for an array on any device, and for a tracer.
    """
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(x, (jax.Array, jax.core.Tracer))


def log_iteration_async(iteration: Any, cost: Any, gradient_norm: Any, message: str = "", verbose: int = 0) -> None:
    """Log one iteration, eagerly or in a function that JAX traces; never waits for a device.

    Args:
        iteration: its number; int, or a JAX array or tracer.
        cost, gradient_norm: numbers, JAX arrays or tracers of one element.
        message: appended to the line.
        verbose: 0: nothing at all. 1: a line for every tenth iteration, and the last one at the latest by
            `log_convergence_async` or the end of the run. 2 and above: a line for each. The metrics
            `optimization/cost` and `optimization/gradient_norm` get every iteration unless it is 0.

    Raises:
        UsageError: verbose is not an integer.

    Thread-safe, and in a forked child, as `Run.log` is. If the process dies, values that are still on a device are
    lost, and lines that were not printed.
    """
    if verbose.__class__ is not int:
        verbose = _verbosity(verbose)
    if verbose == 0:
        return
    cost, gradient_norm = host_now(cost), host_now(gradient_norm)
    _record({ITERATION_KEYS[0]: cost, ITERATION_KEYS[1]: gradient_norm}, iteration)

    def callback(values: Sequence[Any]) -> None:
        number, shown_cost, shown_norm = values
        line = f"Optimization: iter={int(number)} | cost={shown_cost:.6e} | ‖∇f‖={shown_norm:.6e}"
        if message:
            line += f" | {message}"
        if verbose == 1 and int(number) % _EVERY:
            _held.keep(line)
        else:
            _held.drop()
            _emit(line)

    _when_there([iteration, cost, gradient_norm], callback)


def log_convergence_async(
    reason: str, iterations: Any, final_cost: Any, time_sec: float, final_gradient_norm: Any, verbose: int = 1
) -> None:
    """Log how an optimization ended; as `log_iteration_async`. Emits a suppressed last iteration first.

    Args:
        reason: why it ended.
        iterations: how many there were; int, JAX array or tracer.
        final_cost, final_gradient_norm: numbers, JAX arrays or tracers of one element.
        time_sec: seconds it took.
        verbose: 0: nothing.

    Raises:
        UsageError: verbose is not an integer.

    What `log_iteration_async` says of threads, forks and the death of the process holds here too.
    """
    if _verbosity(verbose) == 0:
        return
    metrics = {
        "optimization/final_cost": final_cost,
        "optimization/final_gradient_norm": final_gradient_norm,
        "optimization/time_sec": time_sec,
        "optimization/iterations": iterations,
    }
    _record(metrics, iterations)

    def callback(values: Sequence[Any]) -> None:
        count, cost, seconds, norm = values
        _held.release()
        _emit(
            f"Convergence: reason={reason} | iterations={int(count)} | final_cost={cost:.6e} | "
            f"time={seconds:.3f}s | final_gradient_norm={norm:.6e}"
        )

    _when_there([iterations, final_cost, time_sec, final_gradient_norm], callback)


def finish_lines(deadline: float | None = None) -> bool:
    """Wait for the lines that are on their way, then emit a suppressed last one; False at the deadline."""
    staged = sys.modules.get("steno.capture.late.traced_records")
    called = staged is None or staged.wait_for_callbacks(deadline)
    done = QUEUE.drain(_account, deadline) and called
    _held.release()
    return done


class _Held:
    """The last line that verbosity 1 has suppressed."""

    def __init__(self) -> None:
        self._line: str | None = None

    def keep(self, line: str) -> None:
        self._line = line

    def drop(self) -> None:
        self._line = None

    def release(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            _emit(line)


_held: Final = _Held()


def _verbosity(verbose: Any) -> int:
    if isinstance(verbose, (bool, int)):
        return int(verbose)
    msg = f"verbose={verbose!r}: 0 (nothing), 1 (every tenth iteration) or 2 (each) is needed"
    raise UsageError(msg)


def _record(metrics: dict[str, Any], step: Any) -> None:
    current = RUNS.current
    if current is not None:
        current.run.log(metrics, step)


def _emit(line: str) -> None:
    try:
        logger.info(line)
    except Exception as error:
        # A handler of the program's failed; the computation must not.
        _complain(error)


@atexit.register
def _at_exit() -> None:
    finish_lines(RUNS.exit_deadline())


_complained = False


def _complain(error: Exception) -> None:
    global _complained
    if not _complained:
        _complained = True
        print(f"steno: a handler of the logger steno.optimization failed: {error!r}", file=sys.stderr)


def _when_there(values: list[Any], callback: Callable[[Sequence[Any]], None]) -> None:
    """Call `callback` with the values as numbers: immediately, or on the device thread when they have come."""
    if not logger.isEnabledFor(logging.INFO):
        return

    def received(arrived: Sequence[Any]) -> None:
        try:
            for value in arrived:
                if isinstance(value, Exception):
                    raise value
            callback([_number(value) for value in arrived])
        except Exception as error:
            _emit(f"Optimization: a value could not be read: {error}")

    when_there(values, received, _account)


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
