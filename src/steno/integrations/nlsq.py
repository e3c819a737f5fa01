"""NLSQ's curve_fit recorded: one record per iteration, through the callback that NLSQ offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import steno

if TYPE_CHECKING:
    from collections.abc import Callable

_INFO = ("gradient_norm", "step_norm", "actual_reduction", "nfev")


def callback(
    *,
    prefix: str = "optimization",
    params: bool = True,
    verbose: int = 0,
    then: Callable[..., Any] | None = None,
) -> Callable[..., None]:
    """A callback for `nlsq.curve_fit(..., callback=callback())` that records into the current run.

    Each accepted iteration is a record at its own step: cost, gradient_norm, step_norm, actual_reduction, nfev and,
    with `params`, the parameters one by one. NLSQ itself brings the numbers to the host before it calls back, which
    waits for the device; recording them waits for nothing. Without a current run nothing is recorded.

    Args:
        prefix: before every key.
        params: record the parameters too.
        verbose: as `steno.log_iteration_async`: lines on the logger "steno.optimization".
        then: another callback, called afterwards with the same arguments; what it raises is passed on, so that
            `nlsq.callbacks.StopOptimization` stops the fit.
    """

    def record(iteration: int, cost: float, params_now: Any, info: dict[str, Any]) -> None:
        if steno.current() is not None:
            values: dict[str, Any] = {key: info.get(key) for key in _INFO}
            values["cost"] = cost
            if verbose and prefix == "optimization":
                # The line brings these two with it.
                del values["cost"], values["gradient_norm"]
            if params:
                values["params"] = {str(index): float(value) for index, value in enumerate(params_now)}
            steno.log({prefix: {key: value for key, value in values.items() if value is not None}}, step=int(iteration))
        if verbose:
            steno.log_iteration_async(int(iteration), cost, info.get("gradient_norm", float("nan")), verbose=verbose)

    def called(iteration: int, cost: float, params: Any, info: dict[str, Any]) -> None:
        record(iteration, cost, params, info)
        if then is not None:
            then(iteration=iteration, cost=cost, params=params, info=info)

    return called
