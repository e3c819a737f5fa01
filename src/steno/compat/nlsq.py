"""NLSQ's words: lines and metrics of an iterative optimization, without waiting for the device."""

from __future__ import annotations

from steno.optimization import is_jax_array, log_convergence_async, log_iteration_async

__all__ = ["is_jax_array", "log_convergence_async", "log_iteration_async"]

for _name in __all__:
    globals()[_name].__module__ = __name__
