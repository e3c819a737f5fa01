"""`python -m steno.cli`, the same as `steno`."""

from __future__ import annotations

from steno.cli import main

if __name__ == "__main__":
    main()
