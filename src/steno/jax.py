"""JAX beyond `steno.log`: functions whose records are an extra output, so that no host callback is needed.

`steno.log` works in any function that JAX traces; by itself it calls back to the host each time the function
runs, which makes the device wait. Under `steno.jax.jit`, a drop-in for `jax.jit`, what is logged becomes an
output that nobody waits for; through `steno.jax.scan` the records of all steps are one copy.
"""

from __future__ import annotations

from steno.capture.late.compiled import jit, scan

__all__ = ["jit", "scan"]
