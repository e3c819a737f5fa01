"""Functions for JAX to compile whose records are an extra output of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def jit(fun: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """`jax.jit`, with what `fun` logs as an extra output of the compiled function.

    Args:
        fun: the function; without it, a decorator.
        options: those of `jax.jit`.

    Returns:
        A function with the signature of `fun`, and `clear_cache`. `lower`, `trace` and `eval_shape` are those of
        `jax.jit(fun, **options)`, in which logging calls back to the host. Thread-safe.

    What is logged inside an inner `scan`, `while_loop`, `cond` or `vmap` still goes by a callback; use
    `steno.jax.scan`. Values still on the device are lost if the process dies.
    JAX does not support forked children.
    """
    if fun is None:
        return functools.partial(jit, **options)
    import jax

    from steno.capture.late import traced_records
    from steno.devices._traced import Collector

    function: Callable[..., Any] = fun

    @functools.wraps(function)
    def collected(*args: Any, **kwargs: Any) -> Any:
        with Collector() as collector:
            out = function(*args, **kwargs)
            return out, collector.logged()

    inner = dict(options)
    if inner.get("out_shardings") is not None:
        # None: the compiler's choice, for what is logged.
        inner["out_shardings"] = (inner["out_shardings"], None)
    compiled = jax.jit(collected, **inner)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        out, logged = compiled(*args, **kwargs)
        if logged.parts:
            traced_records.deliver(logged)
        return out

    plain = jax.jit(function, **options)
    made: Any = call
    made.lower, made.trace, made.eval_shape = plain.lower, plain.trace, plain.eval_shape
    made.clear_cache = compiled.clear_cache
    return made


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any = None, length: int | None = None, **more: Any
) -> Any:
    """`jax.lax.scan`, with what `f` logs carried along and delivered once, for all steps together.

    Each step is a record; pass `step=` to `steno.log`, traced or not, to number it, else they are numbered in order.
    The arguments and what is returned are those of `jax.lax.scan`.

    Args:
        f: the step: (carry, x) to (carry, y); it may call `steno.log`.
        init: the first carry.
        xs: arrays that are scanned over their first axis; None: `length` says how often.
        length: how many steps.
        more: other options of `jax.lax.scan`.

    Returns:
        (the last carry, the stacked y).

    What `steno.jax.jit` says of threads, forks and the death of the process holds here too.
    """
    import jax

    from steno.capture.late import traced_records
    from steno.devices._traced import Collector

    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        with Collector() as collector:
            carry, y = f(carry, x)
            return carry, (y, collector.logged())

    carry, (ys, logged) = jax.lax.scan(body, init, xs, length, **more)
    if logged.parts:
        count = length if length is not None else len(jax.tree_util.tree_leaves(xs)[0])
        if count:
            traced_records.deliver(logged.stacked(count))
    return carry, ys
