"""JAX beyond `steno.log`: functions whose records are an extra output, so that no host callback is needed."""

from __future__ import annotations
